//! The proxies that stand beside Latchstring, each with as many workers as there are processors.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running peer; ended when dropped.
pub struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let _ = self.0.wait();
    }
}

impl Running {
    /// Memory of the process and its children together, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let pid = self.0.id();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
        let children = children.split_whitespace().filter_map(|child| child.parse().ok());
        children.chain([pid]).map(latch_tests::engine::memory_kib).sum()
    }
}

/// `nginx 1.22.1, haproxy 2.6.12, mitmproxy 11.0.2`.
pub fn versions() -> String {
    let nginx = said(Command::new("nginx").arg("-v")).split('/').nth(1).map(str::to_owned).unwrap_or_default();
    let haproxy = said(Command::new("haproxy").arg("-v")).split_whitespace().nth(2).map(str::to_owned);
    let haproxy = haproxy.unwrap_or_default();
    let mitmproxy = said(Command::new(mitmdump()).arg("--version"));
    let mitmproxy = mitmproxy.split_whitespace().nth(1).unwrap_or_default();
    let haproxy = haproxy.split('-').next().unwrap_or_default();
    format!("nginx {}, haproxy {haproxy}, mitmproxy {mitmproxy}", nginx.trim())
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask bench`"));
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// nginx with these servers.
pub fn nginx(folder: &Path, name: &str, servers: &str) -> Running {
    let prefix = folder.join(name);
    std::fs::create_dir_all(prefix.join("logs")).expect("a folder");
    let conf = prefix.join("nginx.conf");
    // As root it would serve files as somebody who may not read the temporary folder.
    let user = if rustix::process::getuid().is_root() { "user root;" } else { "" };
    let text = format!(
        "daemon off; {user} worker_processes {workers}; pid {0}/pid; error_log {0}/logs/error.log;
         events {{ worker_connections 1024; }}
         http {{ access_log off; sendfile on; keepalive_requests 100000000; proxy_max_temp_file_size 0;
                 client_body_temp_path {0}/b; proxy_temp_path {0}/p; fastcgi_temp_path {0}/f; uwsgi_temp_path {0}/u;
                 scgi_temp_path {0}/s; {servers} }}",
        prefix.display(),
        workers = workers(),
    );
    std::fs::write(&conf, text).expect("written");
    start(Command::new("nginx").arg("-p").arg(&prefix).arg("-c").arg(&conf))
}

/// nginx as a reverse proxy in front of an nginx.
pub fn nginx_proxy(folder: &Path, port: u16, upstream: u16) -> Running {
    nginx(
        folder,
        "proxy",
        &format!(
            "upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 100000000; }}
             server {{ listen 127.0.0.1:{port};
                       location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection \"\"; }} }}"
        ),
    )
}

/// Where Debian puts nginx's mail module; elsewhere it may be built in.
const MAIL_MODULE: &str = "/usr/lib/nginx/modules/ngx_mail_module.so";

/// Whether nginx can be a mail proxy here.
pub fn has_mail_proxy() -> bool {
    Path::new(MAIL_MODULE).exists() || said(Command::new("nginx").arg("-V")).contains(" --with-mail ")
}

/// nginx as a mail proxy that asks on the port `auth` for the mail server.
pub fn nginx_mail(folder: &Path, port: u16, auth: u16) -> Running {
    let prefix = folder.join("mail");
    std::fs::create_dir_all(prefix.join("logs")).expect("a folder");
    let conf = prefix.join("nginx.conf");
    let module = if Path::new(MAIL_MODULE).exists() { format!("load_module {MAIL_MODULE};") } else { String::new() };
    let text = format!(
        "{module} daemon off; worker_processes {workers}; pid {0}/pid; error_log {0}/logs/error.log;
         events {{ worker_connections 1024; }}
         mail {{ auth_http 127.0.0.1:{auth}/auth; imap_capabilities IMAP4rev1 UIDPLUS;
                 server {{ listen 127.0.0.1:{port}; protocol imap; imap_auth plain; }} }}",
        prefix.display(),
        workers = workers(),
    );
    std::fs::write(&conf, text).expect("written");
    start(Command::new("nginx").arg("-p").arg(&prefix).arg("-c").arg(&conf))
}

/// haproxy as a reverse proxy.
pub fn haproxy(folder: &Path, port: u16, upstream: u16) -> Running {
    let conf = folder.join("haproxy.cfg");
    let text = format!(
        "global\n  nbthread {}\n  maxconn 4096\n\
         defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n  http-reuse always\n\
         frontend in\n  bind 127.0.0.1:{port}\n  default_backend out\n\
         backend out\n  server one 127.0.0.1:{upstream}\n",
        workers()
    );
    std::fs::write(&conf, text).expect("written");
    start(Command::new("haproxy").args(["-db", "-q", "-f"]).arg(&conf))
}

/// mitmproxy without a window, as a reverse proxy.
pub fn mitmproxy(folder: &Path, port: u16, upstream: u16) -> Running {
    start(
        Command::new(mitmdump())
            .args(["-q", "--mode", &format!("reverse:http://127.0.0.1:{upstream}"), "--listen-host", "127.0.0.1"])
            .args(["--listen-port", &port.to_string(), "--set", "stream_large_bodies=1m", "--set"])
            .arg(format!("confdir={}", folder.join("mitm").display())),
    )
}

fn mitmdump() -> PathBuf {
    std::env::var_os("LATCH_MITMDUMP")
        .map_or_else(|| latch_tests::paths::workspace().join("target/bench-venv/bin/mitmdump"), PathBuf::from)
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn start(command: &mut Command) -> Running {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Running(child.unwrap_or_else(|error| panic!("{command:?}: {error}: run `cargo xtask bench`")))
}

/// Waits until somebody listens.
pub async fn listening(port: u16) {
    for _ in 0..200 {
        if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("nobody listens on {port}");
}

/// What wrk measured, in seconds and requests a second.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Half of the answers came within this time.
    pub p50: f64,
    /// 99 of 100 did.
    pub p99: f64,
    /// Requests a second.
    pub rate: f64,
}

/// Asks for `url` over so many connections for `seconds`.
pub fn wrk(url: &str, token: &str, connections: u32, seconds: u32) -> Load {
    let threads = connections.min(2).to_string();
    let output = Command::new("wrk")
        .args(["-t", &threads, "-c", &connections.to_string(), "-d", &format!("{seconds}s"), "--latency", "-H"])
        .arg(format!("Authorization: Bearer {token}"))
        .arg(url)
        .output()
        .expect("wrk is missing: run `cargo xtask bench`");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{url}: {text}");
    let after = |word: &str| {
        let line = text.lines().find(|line| line.trim_start().starts_with(word)).unwrap_or_else(|| panic!("{text}"));
        line.split_whitespace().last().unwrap_or_default().to_owned()
    };
    Load {
        p50: duration(&after("50%")),
        p99: duration(&after("99%")),
        rate: after("Requests/sec:").parse().expect("a rate"),
    }
}

/// `43.00us`, `1.20ms`, `2.00s`.
fn duration(text: &str) -> f64 {
    let (number, factor) = match text {
        text if text.ends_with("us") => (text.trim_end_matches("us"), 1e-6),
        text if text.ends_with("ms") => (text.trim_end_matches("ms"), 1e-3),
        text => (text.trim_end_matches('s'), 1.0),
    };
    number.parse::<f64>().expect("a number") * factor
}
