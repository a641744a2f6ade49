//! Dovecot as the mail server: unmodified, unprivileged, on this machine only. Its mailboxes are Maildirs that a test reads for itself.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_daemon::upstream::CertificateDer;
use tempfile::TempDir;

use crate::ports::free_port;

/// Its only password, for whoever logs in.
pub const PASSWORD: &str = "canary-imap-7c9e1d";
/// Whose mailbox it is.
pub const USER: &str = "erin";

/// A running server; ends with the test.
pub struct Dovecot {
    /// Where it listens, without encryption.
    pub port: u16,
    /// Where it listens with TLS from the first byte; on `port` it offers STARTTLS then. 0: it has no TLS.
    pub tls_port: u16,
    /// Where mail filters are changed (Pigeonhole's ManageSieve), with STARTTLS if it has TLS. 0: they are not.
    pub sieve_port: u16,
    /// The same with TLS from the first byte; 0 without TLS or filters.
    pub sieve_tls_port: u16,
    /// What must be trusted for that: its own certificate, for `localhost`.
    pub certificate: Option<CertificateDer<'static>>,
    folder: TempDir,
}

/// A message in a Maildir.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stored {
    /// Its subject, for tests to know it by.
    pub subject: String,
    /// Its Maildir flags, such as `FS`.
    pub flags: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its file's time, which is its INTERNALDATE, in seconds.
    pub date: i64,
}

impl std::fmt::Debug for Stored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} ({} bytes, {:?}, {})", self.subject, self.bytes.len(), self.flags, self.date)
    }
}

impl Dovecot {
    /// Starts with so many messages in INBOX: every third unread, every tenth starred.
    pub async fn start(mails: usize) -> Self {
        Self::start_as(mails, How::default()).await
    }

    /// With mail filters, and with TLS or without. No mails.
    pub async fn with_filters(tls: bool) -> Self {
        Self::start_as(0, How { tls, filters: true, ..How::default() }).await
    }

    /// With mail filters, and taking OAuth tokens: it asks at this address whose one is (RFC 7662).
    pub async fn with_sign_in(introspection: &str) -> Self {
        Self::start_as(0, How { filters: true, introspection, ..How::default() }).await
    }

    /// The same with every mailbox below `INBOX/`, also below `mail/` where nothing is listed, and forgiving to clients: servers that grew old are like this.
    pub async fn start_below_inbox(mails: usize) -> Self {
        let imap = "imap_client_workarounds = tb-extra-mailbox-sep";
        Self::start_as(mails, How { imap, prefix: "INBOX/", ..How::default() }).await
    }

    /// The same with TLS.
    pub async fn with_tls(mails: usize) -> Self {
        Self::start_as(mails, How { tls: true, ..How::default() }).await
    }

    /// The same for a server that can't report changes (RFC 2177) and does not say what it stored where (RFC 4315).
    pub async fn start_plain(mails: usize) -> Self {
        let imap = "imap_capability = IMAP4rev1 SASL-IR ID ENABLE UNSELECT NAMESPACE SPECIAL-USE ACL";
        Self::start_as(mails, How { imap, ..How::default() }).await
    }

    /// The same with notes on mailboxes (RFC 5464).
    pub async fn with_metadata(mails: usize) -> Self {
        let imap = "imap_metadata = yes\n  mail_attribute_dict = file:%h/dovecot-attributes";
        Self::start_as(mails, How { imap, ..How::default() }).await
    }

    async fn start_as(mails: usize, how: How<'_>) -> Self {
        let folder = tempfile::Builder::new().prefix("latch-dovecot").tempdir().expect("a temporary folder");
        let (user, group) = account();
        let root = folder.path();
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)).expect("permissions");
        for below in ["run", "state", "mail"] {
            std::fs::create_dir(root.join(below)).expect("a folder");
        }
        let port = free_port();
        let tls_port = if how.tls { free_port() } else { 0 };
        let sieve_port = if how.filters { free_port() } else { 0 };
        let sieve_tls_port = if how.tls && how.filters { free_port() } else { 0 };
        let certificate = how.tls.then(|| certify(root));
        let text = config(root, [port, tls_port, sieve_port, sieve_tls_port], (&user, &group), &how);
        if !how.introspection.is_empty() {
            let asks = "introspection_mode = post\nforce_introspection = yes\nusername_attribute = username\n\
                        active_attribute = active\nactive_value = true\n";
            let text = format!("introspection_url = {}\n{asks}", how.introspection);
            std::fs::write(root.join("oauth2.conf"), text).expect("a file");
        }
        std::fs::write(root.join("dovecot.conf"), text).expect("a file");
        fill(&root.join("mail").join(USER), mails);
        own(root, &user);
        let server = Self { port, tls_port, sieve_port, sieve_tls_port, certificate, folder };
        server.begin().await;
        server
    }

    /// Starts it again after [`Self::stop`].
    pub async fn begin(&self) {
        let (user, group) = account();
        let config = self.folder.path().join("dovecot.conf");
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("setpriv");
            command.arg(format!("--reuid={user}")).arg(format!("--regid={group}")).args(["--clear-groups", "dovecot"]);
            command
        } else {
            Command::new("dovecot")
        };
        command.arg("-c").arg(config).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        // It keeps what it inherits: a pipe would never end.
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = command.status().expect("dovecot is installed: run `cargo xtask setup`");
        assert!(status.success(), "dovecot: {}", self.log());
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("dovecot does not listen: {}", self.log());
    }

    /// Ends it and every connection to it.
    pub async fn stop(&self) {
        self.end();
        for _ in 0..400 {
            let gone = !self.folder.path().join("run/master.pid").exists();
            if gone && tokio::net::TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("dovecot does not end: {}", self.log());
    }

    /// While it is stopped: forgets every UID of the INBOX, so that it has another UIDVALIDITY the next time.
    pub fn forget_uids(&self) {
        self.forget_uids_of(".");
    }

    /// The same for another mailbox.
    pub fn forget_uids_of(&self, mailbox: &str) {
        let home = self.folder.path().join("mail").join(USER).join(mailbox);
        for entry in std::fs::read_dir(home).expect("a Maildir").filter_map(Result::ok) {
            if entry.path().is_file() {
                std::fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    /// While it is stopped: a message of the INBOX is not there any more.
    pub fn lose(&self, subject: &str) {
        let home = self.folder.path().join("mail").join(USER);
        let files = ["cur", "new"].iter().filter_map(|part| std::fs::read_dir(home.join(part)).ok());
        for entry in files.flat_map(|entries| entries.filter_map(Result::ok)) {
            let text = String::from_utf8_lossy(&std::fs::read(entry.path()).expect("a message")).into_owned();
            if text.contains(&format!("Subject: {subject}")) {
                std::fs::remove_file(entry.path()).expect("removed");
            }
        }
    }

    fn end(&self) {
        let pid = std::fs::read_to_string(self.folder.path().join("run/master.pid"));
        let pid = pid.ok().and_then(|pid| pid.trim().parse().ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }

    /// What it wrote to its log.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("dovecot.log")).unwrap_or_default()
    }

    /// The messages of a mailbox as they lie on the disk, sorted.
    #[must_use]
    pub fn messages(&self, mailbox: &str) -> Vec<Stored> {
        let home = self.folder.path().join("mail").join(USER);
        let maildir = if mailbox == "INBOX" { home } else { home.join(mailbox) };
        let mut found: Vec<Stored> = ["cur", "new"]
            .iter()
            .filter_map(|part| std::fs::read_dir(maildir.join(part)).ok())
            .flat_map(|entries| entries.filter_map(Result::ok))
            .filter_map(|entry| {
                use std::os::unix::fs::MetadataExt;
                let name = entry.file_name().to_string_lossy().into_owned();
                // One that is renamed just now stands under its other name, too, or at the next look.
                let bytes = std::fs::read(entry.path()).ok()?;
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let subject =
                    text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap_or_default().to_owned();
                let flags = name.split_once(":2,").map(|(_, flags)| flags.to_owned()).unwrap_or_default();
                Some(Stored { subject, flags, bytes, date: entry.metadata().ok()?.mtime() })
            })
            .collect();
        found.sort();
        found
    }

    /// Puts a mail into the INBOX as the postman does: nobody has looked at it yet.
    pub fn deliver(&self, subject: &str) {
        let home = self.folder.path().join("mail").join(USER);
        let file = home.join("new").join("1800000000.M1P1.host");
        std::fs::write(&file, mail(0).replace("Mail number 0", subject)).expect("a message");
        own(&home.join("new"), &account().0);
    }

    /// How many mails of the INBOX lie where the postman put them.
    #[must_use]
    pub fn unseen_by_anybody(&self) -> usize {
        let new = self.folder.path().join("mail").join(USER).join("new");
        std::fs::read_dir(new).expect("a Maildir").count()
    }

    /// A script of the mail filters as it lies on the disk.
    #[must_use]
    pub fn script(&self, name: &str) -> Option<String> {
        let file = self.folder.path().join("mail").join(USER).join("sieve").join(format!("{name}.sieve"));
        std::fs::read_to_string(file).ok()
    }

    /// The script that runs.
    #[must_use]
    pub fn running(&self) -> Option<String> {
        let link = std::fs::read_link(self.folder.path().join("mail").join(USER).join(".dovecot.sieve")).ok()?;
        Some(link.file_stem()?.to_string_lossy().into_owned())
    }

    /// How often somebody logged in to change mail filters.
    #[must_use]
    pub fn filter_logins(&self) -> usize {
        self.log().lines().filter(|line| line.contains("managesieve-login: Info: Login")).count()
    }

    /// How many messages of a mailbox are marked as deleted.
    #[must_use]
    pub fn marked(&self, mailbox: &str) -> usize {
        self.messages(mailbox).iter().filter(|one| one.flags.contains('T')).count()
    }

    /// Names of the mailboxes beside INBOX.
    #[must_use]
    pub fn mailboxes(&self) -> Vec<String> {
        let home = self.folder.path().join("mail").join(USER);
        let mut names: Vec<String> = std::fs::read_dir(home)
            .expect("a Maildir")
            .filter_map(Result::ok)
            .filter(|entry| entry.path().join("cur").is_dir())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

impl Drop for Dovecot {
    fn drop(&mut self) {
        self.end();
    }
}

/// Under whom it runs: never as root.
fn account() -> (String, String) {
    if rustix::process::geteuid().is_root() {
        return ("nobody".to_owned(), "nogroup".to_owned());
    }
    let id = |flag: &str| {
        let out = Command::new("id").arg(flag).output().expect("id");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    (id("-un"), id("-gn"))
}

fn own(root: &Path, user: &str) {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let id = |flag: &str| -> u32 {
        let out = Command::new("id").args([flag, user]).output().expect("id");
        String::from_utf8_lossy(&out.stdout).trim().parse().expect("a number")
    };
    let (uid, gid) = (id("-u"), id("-g"));
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        chown(&folder, Some(uid), Some(gid)).expect("owned");
        for entry in std::fs::read_dir(&folder).expect("a folder").filter_map(Result::ok) {
            if entry.path().is_dir() {
                folders.push(entry.path());
            } else {
                chown(entry.path(), Some(uid), Some(gid)).expect("owned");
            }
        }
    }
}

/// A certificate for `localhost` and its key, for the configuration below.
fn certify(root: &Path) -> CertificateDer<'static> {
    let key = rcgen::KeyPair::generate().expect("a key");
    let params = rcgen::CertificateParams::new(["localhost".to_owned()]).expect("a name");
    let certificate = params.self_signed(&key).expect("a certificate");
    let pem = |name: &str, bytes: &[u8]| {
        format!("-----BEGIN {name}-----\n{}\n-----END {name}-----\n", BASE64_STANDARD.encode(bytes))
    };
    std::fs::write(root.join("cert.pem"), pem("CERTIFICATE", certificate.der())).expect("a file");
    std::fs::write(root.join("key.pem"), pem("PRIVATE KEY", &key.serialize_der())).expect("a file");
    certificate.der().clone()
}

/// The n-th message of INBOX as Dovecot would store it, with 8-bit text.
#[must_use]
pub fn mail(n: usize) -> String {
    let senders = ["Alice <alice@example.org>", "Your bank <notice@bank.example>", "Bob <bob@example.net>"];
    let from = senders.get(n % senders.len()).copied().unwrap_or_default();
    format!(
        "Return-Path: <x@example.org>\nDate: Fri, 2 Jan 2026 10:00:{:02} +0545\nFrom: {from}\nTo: erin@example.com\nSubject: Mail number {n}\nMessage-ID: <{n}@example.org>\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nGr\u{fc}\u{df}e {n}\n",
        n % 60
    )
}

fn fill(home: &Path, mails: usize) {
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(home.join(part)).expect("a Maildir");
    }
    for n in 1..=mails {
        let mut flags = String::new();
        if n.is_multiple_of(10) {
            flags.push('F');
        }
        if !n.is_multiple_of(3) {
            flags.push('S');
        }
        let file = home.join("cur").join(format!("{}.M{n}P1.host:2,{flags}", 1_700_000_000 + n));
        std::fs::write(&file, mail(n)).expect("a message");
        let time = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000 + n as u64);
        let times = std::fs::FileTimes::new().set_modified(time).set_accessed(time);
        std::fs::File::options().write(true).open(&file).and_then(|file| file.set_times(times)).expect("a date");
    }
}

/// What a server is like.
#[derive(Default)]
struct How<'a> {
    tls: bool,
    filters: bool,
    /// Among the settings of IMAP.
    imap: &'a str,
    /// Before every mailbox's name.
    prefix: &'a str,
    /// Where it asks about tokens.
    introspection: &'a str,
}

fn config(
    root: &Path,
    [port, tls_port, sieve_port, sieve_tls_port]: [u16; 4],
    (user, group): (&str, &str),
    How { imap: more, prefix, introspection, .. }: &How<'_>,
) -> String {
    let root = root.display();
    let (mechanisms, sign_in) = if introspection.is_empty() {
        ("", String::new())
    } else {
        let passdb = "driver = oauth2\n  mechanisms = oauthbearer xoauth2";
        (" oauthbearer xoauth2", format!("passdb {{\n  {passdb}\n  args = {root}/oauth2.conf\n}}"))
    };
    let tls_filters = if sieve_tls_port == 0 {
        String::new()
    } else {
        format!(
            "  inet_listener sieves {{\n    address = 127.0.0.1\n    port = {sieve_tls_port}\n    ssl = yes\n  }}\n"
        )
    };
    // With a prefix it would be a folder of that name.
    let inbox = if prefix.is_empty() { String::new() } else { format!(":INBOX={root}/mail/%u") };
    let alias = if prefix.is_empty() {
        String::new()
    } else {
        format!(
            "namespace alias {{\n  separator = /\n  prefix = mail/\n  hidden = yes\n  list = no\n  alias_for = {prefix}\n}}"
        )
    };
    let ssl = if tls_port == 0 {
        "ssl = no".to_owned()
    } else {
        format!("ssl = yes\nssl_cert = <{root}/cert.pem\nssl_key = <{root}/key.pem")
    };
    let (protocols, filters) = if sieve_port == 0 {
        ("imap", String::new())
    } else {
        let service = format!(
            "service managesieve-login {{
  chroot =
  inet_listener sieve {{
    address = 127.0.0.1
    port = {sieve_port}
  }}
{tls_filters}}}
service managesieve {{
  chroot =
}}
plugin {{
  sieve = file:{root}/mail/%u/sieve;active={root}/mail/%u/.dovecot.sieve
}}
"
        );
        ("imap sieve", service)
    };
    format!(
        "protocols = {protocols}
listen = 127.0.0.1
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/dovecot.log
{ssl}
disable_plaintext_auth = no
auth_mechanisms = plain login{mechanisms}
default_internal_user = {user}
default_internal_group = {group}
default_login_user = {user}
mail_location = maildir:{root}/mail/%u:LAYOUT=fs{inbox}
mail_plugins = acl quota
first_valid_uid = 1
mail_uid = {user}
mail_gid = {group}
first_valid_gid = 1
protocol imap {{
  mail_plugins = $mail_plugins imap_acl imap_quota
  mail_max_userip_connections = 100
  {more}
}}
plugin {{
  acl = vfile
  quota = maildir:User quota
  quota_rule = *:storage=1G
}}
{sign_in}
passdb {{
  driver = static
  mechanisms = plain login
  args = password={PASSWORD}
}}
userdb {{
  driver = static
  args = uid={user} gid={group} home={root}/mail/%u
}}
namespace inbox {{
  inbox = yes
  separator = /
  prefix = {prefix}
  mailbox Trash {{
    auto = subscribe
    special_use = \\Trash
  }}
  mailbox Sent {{
    auto = subscribe
    special_use = \\Sent
  }}
  mailbox Junk {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Archive {{
    auto = subscribe
    special_use = \\Archive
  }}
}}
{alias}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    address = 127.0.0.1
    port = {tls_port}
    ssl = yes
  }}
}}
service anvil {{
  chroot =
}}
service imap {{
  chroot =
}}
service stats {{
  chroot =
}}
{filters}"
    )
}
