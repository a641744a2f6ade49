//! What runs, what protects, what is missing.

use std::fmt::Write;
use std::path::Path;

use latch_daemon::confirm::tty::show;
use latch_ipc::contract::{Empty, StatusCall};
use latch_ipc::view::StatusView;
use serde::Serialize;

use super::Call;
use crate::exit::{Exit, Failure};

/// The doctor's findings.
#[derive(Debug, Serialize)]
struct Findings {
    home: String,
    engine: Option<StatusView>,
    /// Why the engine can't be asked.
    engine_absent: Option<String>,
    /// Every agent's tier: T0, beside it as the same user.
    tier: &'static str,
    checks: Vec<Check>,
}

/// One thing that should be there.
#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    /// What it means and what to do.
    text: String,
}

const TIER: &str = "\
Tier T0: agents run beside Latchstring as the same user. It holds back accidents and over-eagerness and gives agents no credential.
It does not stop a determined program of yours: that could read the unlocked keyring or press keys in your desktop.
";

pub(super) async fn run(call: &Call) -> Result<Exit, Failure> {
    let home = call.home()?;
    let (engine, engine_absent) = match call.engine().await {
        Ok(client) => match client.call(StatusCall, Empty {}).await {
            Ok(status) => (Some(status), None),
            Err(error) => (None, Some(error.to_string())),
        },
        Err(failure) => (None, Some(failure.message)),
    };
    let findings =
        Findings { home: home.display().to_string(), engine, engine_absent, tier: "T0", checks: checks(&home).await };
    call.print(&findings, text)
}

fn text(findings: &Findings) -> String {
    let mut text = match (&findings.engine, &findings.engine_absent) {
        (Some(status), _) => show::status(status),
        (None, Some(why)) => format!("{}\n", show::plain_lines(why)),
        (None, None) => String::new(),
    };
    text.push('\n');
    text.push_str(TIER);
    text.push('\n');
    for check in &findings.checks {
        let mark = if check.ok { "ok     " } else { "missing" };
        let _ = writeln!(text, "{mark}  {}: {}", check.name, show::plain_lines(&check.text));
    }
    text
}

async fn checks(home: &Path) -> Vec<Check> {
    let mut checks = vec![folder(home), display(), tray()];
    checks.extend(desktop().await);
    checks
}

fn check(name: &'static str, ok: bool, good: &str, bad: &str) -> Check {
    Check { name, ok, text: if ok { good } else { bad }.to_owned() }
}

#[cfg(unix)]
fn folder(home: &Path) -> Check {
    use std::os::unix::fs::PermissionsExt;
    match home.metadata() {
        Ok(metadata) => check(
            "home folder",
            metadata.permissions().mode() & 0o077 == 0,
            "only you can read it.",
            "others can read it; the next start of the engine closes it.",
        ),
        Err(_) => check("home folder", true, "not made yet; the first start of the engine makes it.", ""),
    }
}

#[cfg(not(unix))]
fn folder(home: &Path) -> Check {
    check("home folder", true, if home.exists() { "there." } else { "not made yet." }, "")
}

fn display() -> Check {
    check(
        "display",
        has_display(),
        "there: questions can appear as windows.",
        "none: run latch serve in a terminal, it asks you there; or let your desk's tray own ssh HOST latch serve --owner stdio.",
    )
}

/// Whether windows can be shown.
pub(crate) fn has_display() -> bool {
    !cfg!(all(unix, not(target_os = "macos")))
        || ["DISPLAY", "WAYLAND_DISPLAY"]
            .iter()
            .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()))
}

/// The tray program, if it stands beside this one.
pub(crate) fn tray_program() -> Option<std::path::PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name(format!("latchstring{}", std::env::consts::EXE_SUFFIX));
    beside.is_file().then_some(beside)
}

fn tray() -> Check {
    check(
        "tray program",
        tray_program().is_some(),
        "latchstring stands beside latch.",
        "latchstring does not stand beside latch: install it, or use latch serve in a terminal.",
    )
}

#[cfg(target_os = "linux")]
async fn desktop() -> Vec<Check> {
    let wanted = [
        (
            "tray host",
            "org.kde.StatusNotifierWatcher",
            "there.",
            "none (stock GNOME has none): the tray program opens a small window instead.",
        ),
        (
            "notifications",
            "org.freedesktop.Notifications",
            "there.",
            "no notification daemon: watch the tray icon, or the terminal.",
        ),
        (
            "keyring",
            "org.freedesktop.secrets",
            "there.",
            "no Secret Service (gnome-keyring, KWallet, KeePassXC): use latch serve --vault passphrase.",
        ),
    ];
    let names = names_on_the_bus().await;
    wanted
        .iter()
        .map(|(name, service, good, bad)| check(name, names.iter().any(|found| found == service), good, bad))
        .collect()
}

#[cfg(not(target_os = "linux"))]
async fn desktop() -> Vec<Check> {
    Vec::new()
}

/// Services on the session bus, running or startable; none when there is no bus.
#[cfg(target_os = "linux")]
async fn names_on_the_bus() -> Vec<String> {
    let asked = async {
        let connection = zbus::Connection::session().await?;
        let bus = zbus::fdo::DBusProxy::new(&connection).await?;
        let mut names: Vec<String> = bus.list_names().await?.iter().map(ToString::to_string).collect();
        names.extend(bus.list_activatable_names().await?.iter().map(ToString::to_string));
        zbus::Result::Ok(names)
    };
    match tokio::time::timeout(std::time::Duration::from_secs(3), asked).await {
        Ok(Ok(names)) => names,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_read_like_this() {
        let findings = Findings {
            home: "/data/ann/latchstring".to_owned(),
            engine: None,
            engine_absent: Some("No engine runs.".to_owned()),
            tier: "T0",
            checks: vec![
                check("home folder", true, "only you can read it.", ""),
                check("display", false, "", "none: run latch serve in a terminal."),
            ],
        };
        insta::assert_snapshot!(text(&findings));
    }
}
