//! The house with a mail server in it, and a client that says exactly what a test tells it.

use std::time::Duration;

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnected, CredentialParams, MailServerParams, MailTls, UndoResult, UndoRun,
    UndoRunParams, UpstreamParams,
};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use crate::dovecot::{Dovecot, PASSWORD, USER};
use crate::engine::{Engine, Start};
use crate::scene::{ACCOUNT, AGENT, connect, issue};

/// A mail server, an engine with an IMAP door and an agent.
pub struct Post {
    /// The mail server.
    pub dovecot: Dovecot,
    /// The engine.
    pub engine: Engine,
    /// What `agent.connect` answered.
    pub connected: AgentConnected,
    /// The engine's home.
    pub home: TempDir,
}

impl Post {
    /// So many mails; the agent has the preset on the account.
    pub async fn new(mails: usize, preset: &str) -> Self {
        Self::with(Dovecot::start(mails), preset, Start::in_memory).await
    }

    /// With this mail server, and an engine started like this.
    pub async fn with(server: impl Future<Output = Dovecot>, preset: &str, how: impl FnOnce(Start) -> Start) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let (dovecot, engine) = tokio::join!(server, how(Start::at(home.path())).imap().start());
        add(&engine, dovecot.port, PASSWORD).await;
        let connected = connect(&engine, AGENT, ACCOUNT, preset).await;
        Self { dovecot, engine, connected, home }
    }

    /// Where the IMAP door is.
    #[must_use]
    pub fn door(&self) -> String {
        self.engine.welcome.doors.imap.clone().expect("an IMAP door")
    }

    /// The agent's client, logged in with a fresh token.
    pub async fn client(&self) -> Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = Client::connect(&self.door()).await;
        client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        client
    }

    /// The person's own client, straight to the mail server.
    pub async fn phone(&self) -> Client {
        let mut client = Client::connect(&format!("127.0.0.1:{}", self.dovecot.port)).await;
        client.ok(&format!("LOGIN {USER} {PASSWORD}")).await;
        client
    }

    /// Everything that the agent did is taken back, newest first.
    pub async fn undo(&self) -> UndoResult {
        let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
        self.engine.call(UndoRun, params).await
    }
}

/// Adds the mail server as an account.
pub async fn add(engine: &Engine, port: u16, password: &str) {
    let server =
        MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls: MailTls::None, username: None };
    let params = AccountAddParams {
        address: None,
        check: false,
        id: ACCOUNT.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(server), ..UpstreamParams::default() },
        credential: CredentialParams::Password {
            username: USER.to_owned(),
            password: Secret::new(password.to_owned()),
        },
    };
    engine.call(AccountAdd, params).await;
}

/// A client without any wit of its own.
pub struct Client {
    stream: BufReader<TcpStream>,
    tags: u32,
    /// Everything that was ever said to it.
    pub heard: Vec<u8>,
}

/// What a command brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The untagged lines; literals stand where they came.
    pub untagged: Vec<String>,
    /// The last line without its tag.
    pub end: String,
}

impl Client {
    /// Connects and reads the greeting.
    pub async fn connect(address: &str) -> Self {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let mut client = Self { stream: BufReader::new(stream), tags: 0, heard: Vec::new() };
        let greeting = client.line().await;
        assert!(greeting.starts_with("* OK"), "{greeting}");
        client
    }

    /// One line without its CRLF; empty at the end.
    pub async fn line(&mut self) -> String {
        let mut line = Vec::new();
        let read = self.stream.read_until(b'\n', &mut line);
        tokio::time::timeout(Duration::from_secs(60), read).await.expect("a line within a minute").unwrap_or_default();
        self.heard.extend_from_slice(&line);
        String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()
    }

    /// Says something without waiting.
    pub async fn say(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("it listens");
    }

    /// Sends a command and returns its tag.
    pub async fn send(&mut self, command: &str) -> String {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.say(format!("{tag} {command}\r\n").as_bytes()).await;
        tag
    }

    /// Reads to the end of a command.
    pub async fn end(&mut self, tag: &str) -> Said {
        let mut untagged: Vec<String> = Vec::new();
        loop {
            let mut line = self.line().await;
            if line.is_empty() {
                return Said { untagged, end: "(gone)".to_owned() };
            }
            if let Some(end) = line.strip_prefix(tag).and_then(|rest| rest.strip_prefix(' ')) {
                return Said { untagged, end: end.to_owned() };
            }
            while let Some(size) = literal(&line) {
                let mut bytes = vec![0; size];
                self.stream.read_exact(&mut bytes).await.expect("a whole literal");
                self.heard.extend_from_slice(&bytes);
                line.push_str(&String::from_utf8_lossy(&bytes));
                line.push_str(&self.line().await);
            }
            untagged.push(line);
        }
    }

    /// A command and all that it brings.
    pub async fn command(&mut self, command: &str) -> Said {
        let tag = self.send(command).await;
        self.end(&tag).await
    }

    /// A command that must succeed.
    pub async fn ok(&mut self, command: &str) -> Said {
        let said = self.command(command).await;
        assert!(said.end.starts_with("OK"), "{command}: {said:?}");
        said
    }

    /// A command that must be refused.
    pub async fn no(&mut self, command: &str) -> Said {
        let said = self.command(command).await;
        assert!(said.end.starts_with("NO") || said.end.starts_with("BAD"), "{command}: {said:?}");
        said
    }

    /// Waits for what begins a literal or IDLE.
    pub async fn go_ahead(&mut self) {
        loop {
            let line = self.line().await;
            if line.starts_with('+') {
                return;
            }
            assert!(line.starts_with('*'), "no go-ahead: {line}");
        }
    }
}

fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}
