//! A mailbox, an engine, and himalaya as the agent.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnect, AgentConnectParams, CredentialParams, MailServerParams, MailTls,
    SettingsSet, UndoResult, UndoRun, UndoRunParams, UpstreamParams,
};
use latch_ipc::view::HoldView;
use latch_tests::dovecot::{Dovecot, PASSWORD, Stored, USER};
use latch_tests::engine::{Engine, Start};
use latch_tests::paths;
use latch_tests::scene::{ACCOUNT, AGENT, grant};
use latch_tests::sink::Sink;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;

/// What himalaya says when the person said no.
pub(crate) const SAID_NO: &str = "The person said no";

/// Which himalaya, and so which settings.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Dialect {
    One,
    Two,
}

impl Dialect {
    fn program(self) -> PathBuf {
        match self {
            Self::One => paths::himalaya_1(),
            Self::Two => paths::himalaya(),
        }
    }

    fn client(self) -> &'static str {
        match self {
            Self::One => "himalaya-1",
            Self::Two => "himalaya",
        }
    }
}

/// A mailbox with a server for sending, an engine, and himalaya as the agent.
pub(crate) struct House {
    pub(crate) dovecot: Dovecot,
    pub(crate) sink: Sink,
    pub(crate) engine: Engine,
    pub(crate) folder: TempDir,
    home: TempDir,
    dialect: Dialect,
}

/// A program that ran.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) good: bool,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    pub(crate) fn ok(self) -> String {
        assert!(self.good, "{self:?}");
        self.out
    }

    #[track_caller]
    pub(crate) fn refused(self) -> String {
        assert!(!self.good, "{self:?}");
        format!("{}{}", self.out, self.err)
    }
}

async fn run(command: &mut Command, input: &str) -> Ran {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    // One that reads nothing has closed it by now.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(Duration::from_secs(60), child.wait_with_output());
    let output = output.await.expect("it ends").expect("it ran");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { good: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}

impl House {
    pub(crate) async fn new(dialect: Dialect, mails: usize, preset: &str) -> Self {
        Self::with(dialect, Dovecot::start(mails), preset).await
    }

    pub(crate) async fn with(dialect: Dialect, server: impl Future<Output = Dovecot>, preset: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let login = json!({ "user": USER, "password": PASSWORD });
        let start = Start::at(home.path()).in_memory().imap().smtp().sieve().start();
        let (dovecot, sink, engine) = tokio::join!(server, Sink::with(login), start);
        let server = |port| MailServerParams {
            host: "127.0.0.1".to_owned(),
            port: Some(port),
            tls: MailTls::None,
            username: None,
        };
        let params = AccountAddParams {
            address: None,
            check: true,
            id: ACCOUNT.to_owned(),
            provider: "imap".to_owned(),
            upstream: UpstreamParams {
                imap: Some(server(dovecot.port)),
                smtp: Some(server(sink.port)),
                sieve: (dovecot.sieve_port != 0).then(|| server(dovecot.sieve_port)),
                ..UpstreamParams::default()
            },
            credential: CredentialParams::Password {
                username: USER.to_owned(),
                password: Secret::new(PASSWORD.to_owned()),
            },
        };
        engine.call(AccountAdd, params).await;
        // The tokens are for this program, and for what it starts: no secret is written into its settings.
        let program = Some(dialect.program().to_string_lossy().into_owned());
        let params = AgentConnectParams { id: AGENT.to_owned(), name: "Himalaya".to_owned(), program };
        engine.call(AgentConnect, params).await;
        grant(&engine, AGENT, ACCOUNT, preset).await;
        engine.call(SettingsSet, json!({ "outbox_seconds": 0 })).await;
        let folder = tempfile::tempdir().expect("a temporary folder");
        let house = Self { dovecot, sink, engine, folder, home, dialect };
        let shown = ["account", "show", ACCOUNT, "--client", dialect.client(), "--agent", AGENT];
        let settings = run(house.command(&paths::latch()).args(shown), "").await.ok();
        std::fs::write(house.folder.path().join("config.toml"), settings).expect("a file");
        house
    }

    /// A program in the environment of an agent: `latch` is found, and finds the engine.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let latch = paths::latch();
        let folder = latch.parent().expect("a folder").display();
        command.env_clear().env("PATH", format!("{folder}:/usr/bin:/bin"));
        command.env("LATCHSTRING_HOME", self.home.path()).env("HOME", self.folder.path());
        command
    }

    pub(crate) async fn himalaya(&self, words: &[&str]) -> Ran {
        self.himalaya_with(words, "").await
    }

    pub(crate) async fn himalaya_with(&self, words: &[&str], input: &str) -> Ran {
        let mut command = self.command(&self.dialect.program());
        command.arg("-c").arg(self.folder.path().join("config.toml")).args(words);
        let ran = run(&mut command, input).await;
        assert!(!format!("{ran:?}").contains(PASSWORD));
        ran
    }

    /// The same while the person decides.
    pub(crate) async fn while_decided<T>(&self, words: &[&str], person: impl AsyncFnOnce(HoldView) -> T) -> (Ran, T) {
        let decided = async {
            let hold = self.engine.hold().await;
            person(hold).await
        };
        tokio::join!(self.himalaya(words), decided)
    }

    pub(crate) async fn undo_everything(&self) -> UndoResult {
        let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
        self.engine.call(UndoRun, params).await
    }

    pub(crate) fn mailboxes(&self) -> [Vec<Stored>; 3] {
        ["INBOX", "Trash", "Archive"].map(|name| self.dovecot.messages(name))
    }

    pub(crate) fn counts(&self) -> [usize; 3] {
        self.mailboxes().map(|messages| messages.len())
    }
}

pub(crate) fn numbers(from: usize, to: usize) -> Vec<String> {
    (from..=to).map(|number| number.to_string()).collect()
}

pub(crate) fn words<'a>(first: &[&'a str], rest: &'a [String]) -> Vec<&'a str> {
    first.iter().copied().chain(rest.iter().map(String::as_str)).collect()
}
