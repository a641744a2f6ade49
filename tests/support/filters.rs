//! The house whose mail server keeps filters: Dovecot's Pigeonhole, an engine with a ManageSieve door, and a client that says exactly what a test tells it.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnected, CredentialParams, HoldDecided, MailServerParams, MailTls, UndoResult,
    UndoRun, UndoRunParams, UpstreamParams, Verdict,
};
use latch_ipc::view::HoldView;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::dovecot::{Dovecot, PASSWORD, USER};
use crate::engine::{Engine, Start, decision};
use crate::scene::{ACCOUNT, AGENT, connect, issue};

/// A mail server with filters, an engine in front of them, and an agent.
pub struct Filters {
    /// The mail server.
    pub dovecot: Dovecot,
    /// The engine.
    pub engine: Engine,
    /// What `agent.connect` answered.
    pub connected: AgentConnected,
    /// The engine's home.
    pub home: TempDir,
}

impl Filters {
    /// The agent has the preset on the account. The vault is in memory.
    pub async fn new(preset: &str) -> Self {
        Self::with(preset, Start::in_memory).await
    }

    /// The same with a vault that survives a restart.
    pub async fn lasting(preset: &str) -> Self {
        Self::with(preset, |start| start).await
    }

    async fn with(preset: &str, how: impl FnOnce(Start) -> Start) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let server = Dovecot::with_filters(false);
        let (dovecot, engine) = tokio::join!(server, how(Start::at(home.path())).sieve().start());
        add(&engine, &dovecot, PASSWORD).await;
        let connected = connect(&engine, AGENT, ACCOUNT, preset).await;
        Self { dovecot, engine, connected, home }
    }

    /// Where the door is.
    #[must_use]
    pub fn door(&self) -> String {
        self.engine.welcome.doors.sieve.clone().expect("a ManageSieve door")
    }

    /// The agent's client, logged in with a fresh token.
    pub async fn client(&self) -> Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = Client::connect(&self.door()).await;
        client.login(ACCOUNT, &token).await;
        client
    }

    /// The person's own client, straight to the mail server.
    pub async fn person(&self) -> Client {
        let mut client = Client::connect(&format!("127.0.0.1:{}", self.dovecot.sieve_port)).await;
        client.login(USER, PASSWORD).await;
        client
    }

    /// The person stores a script and lets it run.
    pub async fn runs(&self, name: &str, script: &str) {
        let mut person = self.person().await;
        person.ok(&put(name, script)).await;
        person.ok(&format!("SETACTIVE \"{name}\"")).await;
    }

    /// Allows a hold as the dialog does: its count is typed.
    pub async fn allow(&self, hold: &HoldView) -> HoldDecided {
        let mut allow = decision(hold, Verdict::Allow);
        allow.retyped_count = Some(hold.count);
        self.engine.decide(allow).await.expect("allowed")
    }

    /// Everything that the agent did is taken back, newest first.
    pub async fn undo(&self) -> UndoResult {
        let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
        self.engine.call(UndoRun, params).await
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
        self.engine = start.sieve().start().await;
    }
}

/// Adds the mail server as an account.
pub async fn add(engine: &Engine, dovecot: &Dovecot, password: &str) {
    engine.call(AccountAdd, account(dovecot, MailTls::None, password)).await;
}

/// What adds it.
#[must_use]
pub fn account(dovecot: &Dovecot, tls: MailTls, password: &str) -> AccountAddParams {
    let server = |port| {
        let host = if tls == MailTls::None { "127.0.0.1" } else { "localhost" };
        Some(MailServerParams { host: host.to_owned(), port: Some(port), tls, username: None })
    };
    AccountAddParams {
        address: None,
        check: false,
        id: ACCOUNT.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams {
            imap: server(dovecot.port),
            sieve: server(match tls {
                MailTls::Implicit if dovecot.sieve_tls_port != 0 => dovecot.sieve_tls_port,
                _ => dovecot.sieve_port,
            }),
            ..UpstreamParams::default()
        },
        credential: CredentialParams::Password {
            username: USER.to_owned(),
            password: Secret::new(password.to_owned()),
        },
    }
}

/// A PUTSCRIPT without its CRLF.
#[must_use]
pub fn put(name: &str, script: &str) -> String {
    format!("PUTSCRIPT \"{name}\" {{{}+}}\r\n{script}", script.len())
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
        assert!(greeting.contains("\nOK"), "{greeting}");
        client
    }

    /// AUTHENTICATE PLAIN.
    pub async fn login(&mut self, user: &str, secret: &str) {
        let response = BASE64_STANDARD.encode(format!("\0{user}\0{secret}"));
        self.ok(&format!("AUTHENTICATE \"PLAIN\" \"{response}\"")).await;
    }

    /// A whole answer, its lines joined by a line feed and literals in their place; empty at the end.
    pub async fn reply(&mut self) -> String {
        let mut said = String::new();
        loop {
            let mut line = self.line().await;
            let is_end = line.is_empty() || ["OK", "NO", "BYE"].iter().any(|end| line.starts_with(end));
            while let Some(size) = line.strip_suffix('}').and_then(|rest| rest.rsplit_once('{')?.1.parse().ok()) {
                let mut bytes: Vec<u8> = vec![0; size];
                self.stream.read_exact(&mut bytes).await.expect("a whole literal");
                self.heard.extend_from_slice(&bytes);
                line.push('\n');
                line.push_str(&String::from_utf8_lossy(&bytes));
                line.push_str(&self.line().await);
            }
            said.push_str(&line);
            if is_end {
                return said;
            }
            said.push('\n');
        }
    }

    async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("within a minute").unwrap_or_default();
        self.heard.extend_from_slice(&line);
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Says something without waiting.
    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it listens");
    }

    /// A command, without waiting for its answer.
    pub async fn send(&mut self, command: &str) {
        self.say(format!("{command}\r\n").as_bytes()).await;
    }

    /// A command and its answer.
    pub async fn command(&mut self, command: &str) -> String {
        self.send(command).await;
        self.reply().await
    }

    /// A command that must succeed.
    pub async fn ok(&mut self, command: &str) -> String {
        let said = self.command(command).await;
        let last = said.lines().rev().find(|line| line.starts_with("OK"));
        assert!(last.is_some(), "{command}: {said}");
        said
    }

    /// A command that must be refused.
    pub async fn no(&mut self, command: &str) -> String {
        let said = self.command(command).await;
        assert!(said.starts_with("NO"), "{command}: {said}");
        said
    }
}
