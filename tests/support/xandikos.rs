//! Xandikos as the calendar server that moves whole collections, which Radicale does not: unmodified, on this machine only. It asks for no password over plain
//! HTTP, so who may do what is Radicale's to prove.

use std::collections::BTreeMap;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::diary::{CalendarServer, PASSWORD, USER};
use crate::ports::free_port;
use crate::radicale::{Dav, gathered, listens};

/// The calendar below the account.
pub const WORK: &str = "/erin/calendars/work/";
/// The address book below the account.
pub const FRIENDS: &str = "/erin/contacts/friends/";

/// A running server; ends with the test.
pub struct Xandikos {
    url: String,
    folder: TempDir,
    _child: Child,
}

impl Xandikos {
    /// Starts with a calendar of so many events, and an address book of three contacts.
    pub async fn start(events: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("latch-xandikos").tempdir().expect("a temporary folder");
        let port = free_port();
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(crate::paths::python())
            .args(["-m", "xandikos", "serve", "--defaults", "--current-user-principal", &format!("/{USER}/")])
            .args(["--no-detect-systemd", "-l", "127.0.0.1", "-p", &port.to_string(), "-d"])
            .arg(folder.path().join("storage"))
            .arg("--state-dir")
            .arg(folder.path().join("state"))
            // It keeps its collections by git, which has settings there.
            .env("HOME", folder.path())
            .env_remove("PYTHONPATH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("xandikos is installed: run `cargo xtask setup`");
        let server = Self { url: format!("http://127.0.0.1:{port}"), folder, _child: child };
        assert!(listens(port).await, "xandikos does not listen: {}", server.log());
        Dav::new(&server.url, USER, PASSWORD).fill(WORK, FRIENDS, events).await;
        server
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// How often it was asked for this.
    #[must_use]
    pub fn heard(&self, method: &str) -> usize {
        self.log().matches(&format!("\"{method} /")).count()
    }
}

impl CalendarServer for Xandikos {
    fn url(&self) -> &str {
        &self.url
    }

    fn stored(&self) -> BTreeMap<String, String> {
        gathered(&self.folder.path().join("storage"), &[".git"])
    }
}
