//! aiosmtpd as the server that mail is sent through, and the house with it.

use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnected, CredentialParams, MailServerParams, MailTls, UpstreamParams,
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, ChildStdin, Command};
use tokio::sync::watch;

use crate::engine::{Engine, SOON, Start};
use crate::paths;
use crate::scene::{ACCOUNT, AGENT, connect, issue};

/// Whose mail it is.
pub const USER: &str = "erin@example.com";
/// What opens the server.
pub const PASSWORD: &str = "canary-smtp-5f1c8a";

/// A mail that arrived, answered or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrived {
    /// As MAIL said.
    pub sender: String,
    /// As every RCPT said.
    pub recipients: Vec<String>,
    /// Its bytes, dots taken off.
    pub content: Vec<u8>,
    /// Whether it came through TLS.
    pub tls: bool,
    /// Who had logged in.
    pub login: Option<String>,
}

impl Arrived {
    /// Its text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }
}

/// A running server; ends with the test.
pub struct Sink {
    /// Where it listens.
    pub port: u16,
    events: Arc<Mutex<Vec<Value>>>,
    changed: watch::Receiver<usize>,
    stdin: tokio::sync::Mutex<ChildStdin>,
    _child: Child,
}

impl Sink {
    /// Plain, with a login.
    pub async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// With more of what `sink.py` reads.
    pub async fn with(more: Value) -> Self {
        let mut how = json!({ "user": USER, "password": PASSWORD });
        how.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        let mut child = Command::new(paths::python())
            .arg(paths::support("sink.py"))
            .arg(how.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let stdin = child.stdin.take().expect("a pipe");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let first = tokio::time::timeout(SOON, lines.next_line()).await.expect("in time").expect("readable");
        let first = first.expect("aiosmtpd is installed: run `cargo xtask setup`");
        let ready: Value = serde_json::from_str(&first).expect("a JSON line");
        let port = ready["port"].as_u64().and_then(|port| u16::try_from(port).ok()).expect("a port");
        let events: Arc<Mutex<Vec<Value>>> = Arc::default();
        let (sender, changed) = watch::channel(0);
        let all = Arc::clone(&events);
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let Ok(event) = serde_json::from_str(&line) else { continue };
                all.lock().expect("not poisoned").push(event);
                sender.send_modify(|count| *count += 1);
            }
        });
        Self { port, events, changed, stdin: tokio::sync::Mutex::new(stdin), _child: child }
    }

    /// What it does with mails from now on: `take`, `late`, `hang`, `slow`, `drop`, `busy`, `spam`, `refuse`, `parrot`.
    pub async fn mood(&self, mood: &str) {
        let before = self.events("mood").len();
        let line = format!("{}\n", json!({ "mood": mood }));
        self.stdin.lock().await.write_all(line.as_bytes()).await.expect("it runs");
        self.until(|sink| sink.events("mood").len() > before).await;
    }

    /// Every mail that arrived, in order.
    #[must_use]
    pub fn mails(&self) -> Vec<Arrived> {
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let mail = |event: Value| Arrived {
            sender: text(&event["sender"]).unwrap_or_default(),
            recipients: event["recipients"].as_array().into_iter().flatten().filter_map(text).collect(),
            content: BASE64_STANDARD.decode(event["content"].as_str().unwrap_or_default()).expect("base64"),
            tls: event["tls"] == true,
            login: text(&event["login"]),
        };
        self.events("mail").into_iter().map(mail).collect()
    }

    /// Waits until so many mails have arrived.
    pub async fn arrived(&self, count: usize) -> Vec<Arrived> {
        self.until(|sink| sink.events("mail").len() >= count).await;
        self.mails()
    }

    /// Logins, and whether they succeeded.
    #[must_use]
    pub fn logins(&self) -> Vec<(String, bool)> {
        let login = |event: Value| (event["mechanism"].as_str().unwrap_or_default().to_owned(), event["good"] == true);
        self.events("login").into_iter().map(login).collect()
    }

    fn events(&self, kind: &str) -> Vec<Value> {
        self.events.lock().expect("not poisoned").iter().filter(|event| event["event"] == kind).cloned().collect()
    }

    async fn until(&self, met: impl Fn(&Self) -> bool) {
        let mut changed = self.changed.clone();
        let wait = async {
            while !met(self) {
                changed.changed().await.expect("it runs");
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("it happens");
    }
}

/// An engine with a submission door, a server behind it, and an agent.
pub struct Outgoing {
    /// The server.
    pub sink: Sink,
    /// The engine.
    pub engine: Engine,
    /// What `agent.connect` answered.
    pub connected: AgentConnected,
    /// The engine's home.
    pub home: TempDir,
}

impl Outgoing {
    /// The agent has the preset on the account. The vault is in memory.
    pub async fn new(preset: &str) -> Self {
        Self::with(preset, Start::in_memory, Sink::start().await, MailTls::None).await
    }

    /// The same with a vault that survives a restart.
    pub async fn lasting(preset: &str) -> Self {
        Self::with(preset, |start| start, Sink::start().await, MailTls::None).await
    }

    /// With another server, and an engine started like this.
    pub async fn with(preset: &str, how: impl FnOnce(Start) -> Start, sink: Sink, tls: MailTls) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let engine = how(Start::at(home.path())).smtp().start().await;
        add(&engine, ACCOUNT, sink.port, tls, PASSWORD).await;
        let connected = connect(&engine, AGENT, ACCOUNT, preset).await;
        Self { sink, engine, connected, home }
    }

    /// Where the submission door is.
    #[must_use]
    pub fn door(&self) -> String {
        self.engine.welcome.doors.smtp.clone().expect("a submission door")
    }

    /// The agent's client, logged in with a fresh token.
    pub async fn client(&self) -> Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = Client::connect(&self.door()).await;
        client.login(&token).await;
        client
    }

    /// Kills the engine as a crash would, and starts it again on the same home.
    pub async fn crash(&mut self) {
        self.restart_as(Start::at(self.home.path())).await;
    }

    /// The same, started differently.
    pub async fn restart_as(&mut self, start: Start) {
        let pid = rustix::process::Pid::from_raw(self.engine.pid() as i32).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        self.engine.ended().await;
        self.engine = start.smtp().start().await;
    }
}

/// Adds an account whose mail goes out there. Its mailboxes are never asked for.
pub async fn add(engine: &Engine, id: &str, port: u16, tls: MailTls, password: &str) {
    let server = |port| MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls, username: None };
    let nowhere = MailServerParams { tls: MailTls::None, ..server(9) };
    let params = AccountAddParams {
        address: None,
        id: id.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(nowhere), smtp: Some(server(port)), ..UpstreamParams::default() },
        credential: CredentialParams::Password {
            username: USER.to_owned(),
            password: Secret::new(password.to_owned()),
        },
        check: false,
    };
    engine.call(AccountAdd, params).await;
}

/// A client without any wit of its own.
pub struct Client {
    stream: BufReader<TcpStream>,
    /// Everything that was ever said to it.
    pub heard: Vec<u8>,
}

impl Client {
    /// Connects and reads the greeting.
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut client = Self { stream: BufReader::new(stream), heard: Vec::new() };
        let greeting = client.reply().await;
        assert!(greeting.starts_with("220 "), "{greeting}");
        client
    }

    /// EHLO and AUTH PLAIN with the account's id and this token.
    pub async fn login(&mut self, token: &str) {
        self.login_as(ACCOUNT, token).await;
    }

    /// The same with another account's id.
    pub async fn login_as(&mut self, account: &str, token: &str) {
        self.ok("EHLO client.example").await;
        let response = BASE64_STANDARD.encode(format!("\0{account}\0{token}"));
        let said = self.command(&format!("AUTH PLAIN {response}")).await;
        assert!(said.starts_with("235 "), "{said}");
    }

    /// A whole reply, its lines joined by a line feed; empty at the end.
    pub async fn reply(&mut self) -> String {
        let mut lines: Vec<String> = Vec::new();
        loop {
            let mut line = Vec::new();
            let read = self.stream.read_until(b'\n', &mut line);
            tokio::time::timeout(Duration::from_secs(60), read).await.expect("within a minute").unwrap_or_default();
            self.heard.extend_from_slice(&line);
            let line = String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned();
            let more = line.as_bytes().get(3) == Some(&b'-');
            lines.push(line);
            if !more {
                return lines.join("\n");
            }
        }
    }

    /// Says something without waiting.
    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it listens");
    }

    /// A command and its reply.
    pub async fn command(&mut self, command: &str) -> String {
        self.say(format!("{command}\r\n").as_bytes()).await;
        self.reply().await
    }

    /// A command that must succeed.
    pub async fn ok(&mut self, command: &str) -> String {
        let said = self.command(command).await;
        assert!(said.starts_with('2') || said.starts_with('3'), "{command}: {said}");
        said
    }

    /// Everything up to the go-ahead for a mail.
    pub async fn begin(&mut self, from: &str, to: &[&str]) {
        self.ok(&format!("MAIL FROM:<{from}>")).await;
        for recipient in to {
            self.ok(&format!("RCPT TO:<{recipient}>")).await;
        }
        self.ok("DATA").await;
    }

    /// Hands in a mail up to its final dot; [`Client::reply`] waits for what becomes of it.
    pub async fn hand_in(&mut self, from: &str, to: &[&str], mail: &str) {
        self.begin(from, to).await;
        self.say(format!("{mail}\r\n.\r\n").as_bytes()).await;
    }

    /// The same, and the reply.
    pub async fn submit(&mut self, from: &str, to: &[&str], mail: &str) -> String {
        self.hand_in(from, to, mail).await;
        self.reply().await
    }
}

/// As AUTH LOGIN wants it.
#[must_use]
pub fn base64(text: &str) -> String {
    BASE64_STANDARD.encode(text)
}

/// A mail to somebody with a subject.
#[must_use]
pub fn mail(to: &str, subject: &str) -> String {
    format!("From: Erin <{USER}>\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nA text for {to}.")
}
