//! Radicale as the calendar server: unmodified, on this machine only. What it stores is files that a test reads for itself.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyper::Method;
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::agent::{Agent, Answer};
use crate::diary::CalendarServer;
use crate::ports::free_port;

pub use crate::diary::{ACCOUNT, Diary, PASSWORD, USER};

/// The calendar below the account.
pub const WORK: &str = "/erin/work/";
/// The address book below the account.
pub const FRIENDS: &str = "/erin/friends/";

/// A running server; ends with the test.
pub struct Radicale {
    /// `http://127.0.0.1:PORT`
    pub url: String,
    folder: TempDir,
    _child: Child,
}

impl CalendarServer for Radicale {
    fn url(&self) -> &str {
        &self.url
    }

    fn stored(&self) -> BTreeMap<String, String> {
        Self::stored(self)
    }
}

impl Radicale {
    /// Starts with a calendar of so many events, and an address book of three contacts.
    pub async fn start(events: usize) -> Self {
        let folder = tempfile::Builder::new().prefix("latch-radicale").tempdir().expect("a temporary folder");
        let users = folder.path().join("users");
        std::fs::write(&users, format!("{USER}:{PASSWORD}\n")).expect("a file");
        let port = free_port();
        let storage = folder.path().join("storage");
        let log = std::fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(crate::paths::python())
            .args(["-m", "radicale", "--config", "", "--auth-type", "htpasswd", "--auth-htpasswd-encryption", "plain"])
            .args(["--auth-delay", "0", "--logging-level", "warning", "--server-hosts", &format!("127.0.0.1:{port}")])
            .arg("--auth-htpasswd-filename")
            .arg(&users)
            .arg("--storage-filesystem-folder")
            .arg(&storage)
            .env_remove("PYTHONPATH")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("radicale is installed: run `cargo xtask setup`");
        let server = Self { url: format!("http://127.0.0.1:{port}"), folder, _child: child };
        assert!(listens(port).await, "radicale does not listen: {}", server.log());
        server.person().fill(WORK, FRIENDS, events).await;
        server
    }

    /// The person's own client, straight to the server.
    #[must_use]
    pub fn person(&self) -> Dav {
        Dav::new(&self.url, USER, PASSWORD)
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// Every file that it stores, but for its own notes: what belongs to the person, byte by byte.
    #[must_use]
    pub fn stored(&self) -> BTreeMap<String, String> {
        let mut found =
            gathered(&self.folder.path().join("storage/collection-root"), &[".Radicale.cache", ".Radicale.lock"]);
        for (_, text) in found.iter_mut().filter(|(path, _)| path.ends_with(".Radicale.props")) {
            let props: BTreeMap<String, serde_json::Value> = serde_json::from_str(text).expect("JSON");
            *text = serde_json::to_string(&props).expect("JSON");
        }
        found
    }
}

/// Waits until somebody listens at a port.
pub(crate) async fn listens(port: u16) -> bool {
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err() {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), up).await.is_ok()
}

/// Every file below a folder, but for those of these names.
pub(crate) fn gathered(root: &Path, without: &[&str]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    gather(root, root, without, &mut found);
    found
}

fn gather(root: &Path, folder: &Path, without: &[&str], found: &mut BTreeMap<String, String>) {
    let entries: Vec<PathBuf> = std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()).collect())
        .unwrap_or_default();
    for path in entries {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if without.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            gather(root, &path, without, found);
        } else {
            let below = path.strip_prefix(root).expect("below").to_string_lossy().into_owned();
            found.insert(below, std::fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

/// An event of an hour; with guests it is a meeting that Erin invites to.
#[must_use]
pub fn event(number: usize, title: &str, guests: &[&str]) -> String {
    let mut lines = vec![
        "BEGIN:VCALENDAR".to_owned(),
        "VERSION:2.0".to_owned(),
        "PRODID:-//latchstring//tests//EN".to_owned(),
        "BEGIN:VEVENT".to_owned(),
        format!("UID:e{number}@example.com"),
        "DTSTAMP:20260101T000000Z".to_owned(),
        format!("DTSTART:202603{:02}T090000Z", number % 28 + 1),
        format!("DTEND:202603{:02}T100000Z", number % 28 + 1),
        format!("SUMMARY:{title} {number}"),
    ];
    if !guests.is_empty() {
        lines.push("ORGANIZER:mailto:erin@example.com".to_owned());
        lines.extend(guests.iter().map(|guest| format!("ATTENDEE;CN=\"Guest: one\";RSVP=TRUE:mailto:{guest}")));
    }
    lines.extend(["END:VEVENT".to_owned(), "END:VCALENDAR".to_owned(), String::new()]);
    lines.join("\r\n")
}

/// A contact.
#[must_use]
pub fn contact(number: usize) -> String {
    format!(
        "BEGIN:VCARD\r\nVERSION:3.0\r\nUID:c{number}\r\nFN:Friend {number}\r\nN:{number};Friend;;;\r\nEMAIL:f{number}@example.com\r\nEND:VCARD\r\n"
    )
}

/// A client that says exactly what a test tells it.
#[derive(Clone)]
pub struct Dav {
    agent: Agent,
    authorization: String,
}

impl Dav {
    /// With user name and password.
    #[must_use]
    pub fn new(base: &str, user: &str, password: &str) -> Self {
        let encoded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        Self { agent: Agent::anonymous(base), authorization: format!("Basic {encoded}") }
    }

    /// Any request.
    pub async fn dav(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("authorization", self.authorization.as_str())];
        if !body.is_empty() && !headers.iter().any(|(name, _)| *name == "content-type") {
            all.push(("content-type", "application/xml; charset=utf-8"));
        }
        all.extend(headers);
        self.agent.send(Method::from_bytes(method.as_bytes()).expect("a method"), path, &all, body.to_owned()).await
    }

    /// `PUT` of an event or a contact.
    pub async fn put(&self, path: &str, text: &str) -> Answer {
        let kind = if text.starts_with("BEGIN:VCARD") { "text/vcard" } else { "text/calendar; charset=utf-8" };
        self.dav("PUT", path, &[("content-type", kind)], text).await
    }

    /// `GET`
    pub async fn get(&self, path: &str) -> Answer {
        self.dav("GET", path, &[], "").await
    }

    /// `DELETE`
    pub async fn delete(&self, path: &str) -> Answer {
        self.dav("DELETE", path, &[], "").await
    }

    /// Makes a calendar of so many events and an address book of three contacts.
    pub async fn fill(&self, work: &str, friends: &str, events: usize) {
        let calendar = concat!(
            "<C:mkcalendar xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav' xmlns:A='http://apple.com/ns/ical/'><set><prop>",
            "<displayname>Work &amp; more</displayname><A:calendar-color>#3366ccff</A:calendar-color>",
            "<C:supported-calendar-component-set><C:comp name='VEVENT'/><C:comp name='VTODO'/></C:supported-calendar-component-set>",
            "</prop></set></C:mkcalendar>"
        );
        self.dav("MKCALENDAR", work, &[], calendar).await.expect(201);
        let book = concat!(
            "<mkcol xmlns='DAV:' xmlns:R='urn:ietf:params:xml:ns:carddav'><set><prop><resourcetype><collection/><R:addressbook/>",
            "</resourcetype><displayname>Friends</displayname></prop></set></mkcol>"
        );
        self.dav("MKCOL", friends, &[], book).await.expect(201);
        for number in 1..=events {
            self.put(&format!("{work}e{number}.ics"), &event(number, "Meeting", &[])).await.expect(201);
        }
        for number in 1..=3 {
            self.put(&format!("{friends}c{number}.vcf"), &contact(number)).await.expect(201);
        }
    }

    /// `PROPFIND` of name, kind and version.
    pub async fn propfind(&self, path: &str, depth: &str) -> Answer {
        let asked = "<propfind xmlns='DAV:'><prop><displayname/><resourcetype/><getetag/><current-user-principal/></prop></propfind>";
        self.dav("PROPFIND", path, &[("depth", depth)], asked).await
    }
}
