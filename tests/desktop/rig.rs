//! A whole desktop of its own for each test: X server, session bus, window manager, tray host, notification daemon.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use latch_tests::paths::workspace;
use latch_tests::ports::free_port;
use tempfile::TempDir;

use crate::bus::Daemons;
use crate::script::Script;

/// What kind of desktop, and which of the two builds of the tray.
#[derive(Clone, Copy)]
pub struct Kind {
    pub tray_host: bool,
    pub daemon: &'static str,
    pub build: Build,
    /// How long a window may take to paint before a message box replaces it; a crowded machine needs long.
    pub paint_seconds: u32,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// With the feature `e2e`: WebDriver may attach.
    Tests,
    /// As it ships.
    Plain,
}

impl Default for Kind {
    fn default() -> Self {
        Self { tray_host: true, daemon: "played", build: Build::Tests, paint_seconds: 60 }
    }
}

/// Ends when dropped.
pub struct Rig {
    pub script: Script,
    pub services: Daemons,
    display: String,
    address: String,
    kind: Kind,
    inspector: u16,
    app: Option<Kill>,
    folder: TempDir,
    others: Vec<Kill>,
}

struct Kill(Child);

impl Drop for Kill {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Rig {
    /// A frozen web process outlives its tray, and keeps the test runner's streams open.
    fn drop(&mut self) {
        if self.app.is_some() {
            for process in self.web_processes() {
                let _ = Command::new("kill").args(["-KILL", &process.to_string()]).status();
            }
        }
    }
}

impl Rig {
    pub async fn start(kind: Kind) -> Self {
        let folder = tempfile::Builder::new().prefix("latch-desktop").tempdir().unwrap();
        for name in ["home", "run", "script"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let (screen, display) = x_server();
        let (bus, address) = session_bus(folder.path());
        let manager = spawn(
            Command::new("openbox")
                .arg("--sm-disable")
                .env("DISPLAY", &display)
                .env("HOME", folder.path().join("home"))
                .stderr(Stdio::null()),
        );
        let services = Daemons::start(&address, kind.tray_host, kind.daemon).await;
        let script = Script::new(folder.path().join("script"));
        let others = vec![manager, bus, screen];
        Self { script, services, display, address, kind, inspector: free_port(), app: None, folder, others }
    }

    /// A rig whose tray runs.
    pub async fn running(kind: Kind) -> Self {
        let mut rig = Self::start(kind).await;
        rig.launch(&[]);
        rig
    }

    /// Starts an unlocked keyring on this desktop.
    pub async fn keyring(&mut self) {
        use std::io::Write;
        let mut daemon = Command::new("gnome-keyring-daemon")
            .args(["--unlock", "--foreground", "--components=secrets"])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("HOME", self.folder.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("gnome-keyring-daemon is installed by `cargo xtask setup`");
        daemon.stdin.take().unwrap().write_all(b"a test's password").unwrap();
        self.others.push(Kill(daemon));
        self.services.appears("org.freedesktop.secrets").await;
    }

    /// Starts the tray with more variables in its environment.
    pub fn launch(&mut self, variables: &[(&str, &str)]) {
        self.launch_with(&[], variables);
    }

    /// The same with arguments for the engine.
    pub fn launch_with(&mut self, arguments: &[&str], variables: &[(&str, &str)]) {
        let mut command = self.tray();
        command.args(arguments).envs(variables.iter().copied());
        self.app = Some(spawn(&mut command));
    }

    fn tray(&self) -> Command {
        let program = match self.kind.build {
            Build::Tests => present("LATCHSTRING_E2E_BIN", "target/programs/tests/latchstring"),
            Build::Plain => present("LATCHSTRING_BIN", "target/programs/plain/latchstring"),
        };
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("DISPLAY", &self.display)
            .env("DBUS_SESSION_BUS_ADDRESS", &self.address)
            .env("HOME", self.folder.path().join("home"))
            .env("XDG_RUNTIME_DIR", self.folder.path().join("run"))
            .env("XDG_SESSION_TYPE", "x11")
            .env("GDK_BACKEND", "x11")
            .env("NO_AT_BRIDGE", "1")
            .env("LANG", "C.UTF-8")
            .env("LATCHSTRING_PAINT_SECONDS", self.kind.paint_seconds.to_string())
            .env("LATCHSTRING_SCRIPT", self.script.folder())
            .env("LATCH_BIN", env!("CARGO_BIN_EXE_scripted-engine"));
        if self.kind.build == Build::Tests {
            command
                .env("TAURI_WEBVIEW_AUTOMATION", "true")
                .env("WEBKIT_INSPECTOR_SERVER", format!("127.0.0.1:{}", self.inspector));
        }
        command
    }

    pub fn pid(&self) -> u32 {
        self.app.as_ref().unwrap().0.id()
    }

    /// The tray's web processes.
    pub fn web_processes(&self) -> Vec<u32> {
        let out = Command::new("pgrep").args(["-P", &self.pid().to_string(), "WebKitWebProces"]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().filter_map(|line| line.trim().parse().ok()).collect()
    }

    /// Attaches WebDriver to the running tray.
    pub async fn driver(&self) -> Driver {
        self.driver_at(self.inspector).await
    }

    /// A port for the inspector of another tray.
    pub fn more_inspector(&self) -> u16 {
        free_port()
    }

    /// Attaches WebDriver to the tray with this inspector.
    pub async fn driver_at(&self, inspector: u16) -> Driver {
        let at = free_port();
        let process = spawn(
            Command::new("WebKitWebDriver")
                .arg(format!("--port={at}"))
                .arg(format!("--target=127.0.0.1:{inspector}"))
                .stderr(Stdio::null()),
        );
        let mut wanted = serde_json::Map::new();
        wanted.insert("browserName".to_owned(), "wry".into());
        let started = Instant::now();
        let client = loop {
            let mut builder = ClientBuilder::new(HttpConnector::new());
            match builder.capabilities(wanted.clone()).connect(&format!("http://127.0.0.1:{at}")).await {
                Ok(client) => break client,
                Err(error) => assert!(started.elapsed() < Duration::from_secs(30), "WebDriver: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(150)).await;
        };
        Driver { client, _process: process }
    }

    /// Runs xdotool on this display; what it says.
    pub fn x(&self, arguments: &[&str]) -> String {
        let out = Command::new("xdotool").args(arguments).env("DISPLAY", &self.display).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    }

    /// The X id of the visible window with this title, once it is there.
    pub async fn window(&self, title: &str) -> String {
        let started = Instant::now();
        loop {
            let found = self.windows(title);
            if let Some(id) = found.lines().last() {
                return id.to_owned();
            }
            assert!(started.elapsed() < Duration::from_secs(30), "no window is called {title}: {}", self.state());
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// What a failing test tells about the tray.
    fn state(&self) -> String {
        let runs = Path::new(&format!("/proc/{}", self.pid())).join("exe").canonicalize().is_ok();
        let heard = self.script.calls("hold.list").len();
        format!("tray runs: {runs}, its children: {:?}, holds were listed {heard} times", self.children())
    }

    pub async fn no_window(&self, title: &str) {
        let started = Instant::now();
        while !self.windows(title).is_empty() {
            assert!(started.elapsed() < Duration::from_secs(30), "the window {title} stays");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    pub fn windows(&self, title: &str) -> String {
        self.x(&["search", "--onlyvisible", "--name", &format!("^{title}$")])
    }

    /// Presses the left button in the middle of an element, as a hand would.
    pub async fn press(&self, driver: &Driver, window: &str, selector: &str) {
        let script = "const r = document.querySelector(arguments[0]).getBoundingClientRect(); \
                      return [Math.round(r.x + r.width / 2), Math.round(r.y + r.height / 2)];";
        let at = driver.client.execute(script, vec![selector.into()]).await.unwrap();
        let (x, y) = (at[0].to_string(), at[1].to_string());
        self.x(&["mousemove", "--sync", "--window", window, &x, &y, "click", "1"]);
    }

    /// Moves the mouse, as somebody who comes back does.
    pub fn nudge(&self) {
        self.x(&["mousemove_relative", "--", "3", "3"]);
        self.x(&["mousemove_relative", "--", "-3", "-3"]);
    }

    /// The names of the processes that the tray started.
    pub fn children(&self) -> Vec<String> {
        let out = Command::new("ps").args(["-o", "comm=", "--ppid", &self.pid().to_string()]).output().unwrap();
        String::from_utf8(out.stdout).unwrap().lines().map(|line| line.trim().to_owned()).collect()
    }

    /// The variables in the environment of the tray and of what it started, one set a process.
    pub fn environments(&self) -> Vec<(u32, String)> {
        let out = Command::new("pgrep").args(["-P", &self.pid().to_string()]).output().unwrap();
        let children = String::from_utf8(out.stdout).unwrap();
        let children = children.lines().filter_map(|line| line.trim().parse().ok());
        std::iter::once(self.pid())
            .chain(children)
            .filter_map(|pid| {
                Some((pid, String::from_utf8_lossy(&std::fs::read(format!("/proc/{pid}/environ")).ok()?).into_owned()))
            })
            .collect()
    }

    /// Keeps a picture of the screen.
    pub fn picture(&self, name: &str) {
        // What a page says is there can take a moment to be painted.
        std::thread::sleep(Duration::from_millis(400));
        let folder = workspace().join("target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let status = Command::new("import")
            .args(["-window", "root"])
            .arg(folder.join(format!("{name}.png")))
            .env("DISPLAY", &self.display)
            .status()
            .unwrap();
        assert!(status.success());
    }
}

/// An attached WebDriver session.
pub struct Driver {
    pub client: Client,
    _process: Kill,
}

impl Driver {
    /// Switches to the window of this page (`confirm.html`, `index.html`) and waits for an element.
    pub async fn page(&self, page: &str, selector: &str) {
        let started = Instant::now();
        loop {
            let mut seen = Vec::new();
            for handle in self.client.windows().await.unwrap_or_default() {
                if self.client.switch_to_window(handle).await.is_err() {
                    continue;
                }
                let url = self.client.current_url().await.map(|url| url.to_string()).unwrap_or_default();
                let here = url.ends_with(page) || (page == "index.html" && url == "tauri://localhost");
                if here && self.count(selector).await > 0 {
                    return;
                }
                seen.push(url);
            }
            assert!(started.elapsed() < Duration::from_secs(90), "no window shows {selector} of {page}: {seen:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// How many elements there are.
    pub async fn count(&self, selector: &str) -> u64 {
        let script = "return document.querySelectorAll(arguments[0]).length;";
        self.client.execute(script, vec![selector.into()]).await.ok().and_then(|count| count.as_u64()).unwrap_or(0)
    }

    pub async fn text(&self, selector: &str) -> String {
        let script = "return document.querySelector(arguments[0]).innerText;";
        let text = self.client.execute(script, vec![selector.into()]).await.unwrap();
        text.as_str().unwrap_or_default().to_owned()
    }

    /// axe-core finds nothing in the page as it is drawn, its colours included.
    pub async fn accessible(&self) {
        let axe = std::fs::read_to_string(workspace().join("ui/node_modules/axe-core/axe.min.js")).unwrap();
        self.client.execute(&axe, vec![]).await.unwrap();
        let run = "const done = arguments[arguments.length - 1]; window.axe.run(document).then(found => \
                   done(found.violations.map(one => one.id + ': ' + one.nodes.map(node => node.html).join(' | '))), \
                   error => done([String(error)]));";
        let found = self.client.execute_async(run, vec![]).await.unwrap();
        assert_eq!(found.as_array().unwrap(), &Vec::<serde_json::Value>::new());
    }

    /// Waits until JavaScript's `condition` holds.
    pub async fn until(&self, condition: &str) {
        let started = Instant::now();
        while self.client.execute(&format!("return Boolean({condition});"), vec![]).await.ok() != Some(true.into()) {
            assert!(started.elapsed() < Duration::from_secs(30), "it never came true: {condition}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

fn x_server() -> (Kill, String) {
    let mut server = Command::new("Xvfb")
        .args(["-displayfd", "1", "-screen", "0", "1280x900x24", "-nolisten", "tcp", "-noreset"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("Xvfb is installed by `cargo xtask setup`");
    let number = first_line(&mut server);
    (Kill(server), format!(":{number}"))
}

/// A bus on which nothing is started but what the test starts.
fn session_bus(folder: &Path) -> (Kill, String) {
    let config = folder.join("bus.conf");
    let socket = folder.join("run/bus");
    let text = format!(
        r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>session</type><keep_umask/><listen>unix:path={}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>"#,
        socket.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut bus = Command::new("dbus-daemon")
        .arg(format!("--config-file={}", config.display()))
        .args(["--nofork", "--nopidfile", "--print-address=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("dbus-daemon is installed by `cargo xtask setup`");
    let address = first_line(&mut bus);
    (Kill(bus), address)
}

fn first_line(child: &mut Child) -> String {
    use std::io::BufRead;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn spawn(command: &mut Command) -> Kill {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
    Kill(child.unwrap_or_else(|error| panic!("{command:?}: {error}")))
}

pub fn present(variable: &str, below: &str) -> PathBuf {
    let path = std::env::var_os(variable).map_or_else(|| workspace().join(below), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo xtask test desktop`, or set {variable}", path.display());
    path
}
