//! A calendar server, an engine and an agent.

use std::collections::BTreeMap;

use latch_ipc::Secret;
use latch_ipc::contract::{AccountAdd, AccountAddParams, CredentialParams, UpstreamParams};
use tempfile::TempDir;

use crate::engine::{Engine, Start};
use crate::radicale::{Dav, Radicale};
use crate::scene::{AGENT, connect, issue};
use crate::xandikos::Xandikos;

/// The servers' only password.
pub const PASSWORD: &str = "canary-dav-51f0ab";
/// Whose calendars they are.
pub const USER: &str = "erin";
/// The account's id.
pub const ACCOUNT: &str = "cal";

/// A server of calendars and address books.
pub trait CalendarServer {
    /// `http://127.0.0.1:PORT`
    fn url(&self) -> &str;
    /// Every file that it stores, but for its own notes: what belongs to the person, byte by byte.
    fn stored(&self) -> BTreeMap<String, String>;
}

/// A calendar server, an engine and an agent.
pub struct Diary<S = Radicale> {
    /// The server.
    pub server: S,
    /// The engine.
    pub engine: Engine,
    /// The engine's home.
    pub home: TempDir,
}

impl Diary<Radicale> {
    /// So many events; the agent has the preset on the account.
    pub async fn new(events: usize, preset: &str) -> Self {
        Self::with(Radicale::start(events), preset, Start::in_memory).await
    }

    /// The same with a vault that survives a restart.
    pub async fn lasting(events: usize, preset: &str) -> Self {
        Self::with(Radicale::start(events), preset, |start| start).await
    }
}

impl Diary<Xandikos> {
    /// On a server that moves whole collections.
    pub async fn movable(events: usize, preset: &str) -> Self {
        Self::with(Xandikos::start(events), preset, Start::in_memory).await
    }

    /// The same with a vault that survives a restart.
    pub async fn movable_and_lasting(events: usize, preset: &str) -> Self {
        Self::with(Xandikos::start(events), preset, |start| start).await
    }
}

impl<S: CalendarServer> Diary<S> {
    async fn with(server: impl Future<Output = S>, preset: &str, how: impl FnOnce(Start) -> Start) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let start = how(Start::at(home.path())).start();
        let (server, engine) = tokio::join!(server, start);
        add_account(&engine, server.url(), preset).await;
        Self { server, engine, home }
    }

    /// Kills the engine as a crash would and starts it again on the same home, differently.
    pub async fn restart_as(&mut self, start: Start) {
        let pid = rustix::process::Pid::from_raw(self.engine.pid() as i32).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        self.engine.ended().await;
        self.engine = start.start().await;
    }

    /// The agent's client: the account's id as user name, a fresh token as password.
    pub async fn agent(&self) -> Dav {
        let token = issue(&self.engine, AGENT).await;
        Dav::new(&format!("{}/{ACCOUNT}", self.engine.door()), ACCOUNT, &token)
    }

    /// The person's own client, straight to the server.
    #[must_use]
    pub fn person(&self) -> Dav {
        Dav::new(self.server.url(), USER, PASSWORD)
    }
}

/// Adds a calendar server's account to an engine, with an agent that has the preset on it.
pub async fn add_account(engine: &Engine, url: &str, preset: &str) {
    let params = AccountAddParams {
        address: None,
        id: ACCOUNT.to_owned(),
        provider: "dav".to_owned(),
        upstream: UpstreamParams { base_url: Some(url.to_owned()), ..UpstreamParams::default() },
        credential: CredentialParams::Password {
            username: USER.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        },
        check: true,
    };
    engine.call(AccountAdd, params).await;
    connect(engine, AGENT, ACCOUNT, preset).await;
}
