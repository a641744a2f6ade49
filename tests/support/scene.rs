//! The usual house: a mailbox, an engine in front of it, one agent with a grant.

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnect, AgentConnectParams, AgentConnected, CredentialParams, GrantPut,
    GrantPutParams, SettingsSet, TokenIssue, TokenIssueParams, UpstreamParams,
};
use serde_json::json;
use tempfile::TempDir;

use crate::agent::Agent;
use crate::emulator::{Emulator, Mail};
use crate::engine::{Engine, Start};
use crate::python::PythonAgent;

/// The account's id.
pub const ACCOUNT: &str = "mail";
/// The agent's id.
pub const AGENT: &str = "claw";

/// A mailbox, an engine and an agent.
pub struct Scene {
    /// The mailbox.
    pub gmail: Emulator,
    /// The engine.
    pub engine: Engine,
    /// What `agent.connect` answered.
    pub connected: AgentConnected,
    /// The engine's home.
    pub home: TempDir,
}

impl Scene {
    /// So many mails; the agent has the preset on the account. The vault is in memory.
    pub async fn new(mails: usize, preset: &str) -> Self {
        Self::with(&Mail::box_of(mails), preset, Start::in_memory).await
    }

    /// The same with a vault that survives a restart.
    pub async fn lasting(mails: usize, preset: &str) -> Self {
        Self::with(&Mail::box_of(mails), preset, |start| start).await
    }

    /// These mails, and an engine started like this.
    pub async fn with(mails: &[Mail], preset: &str, how: impl FnOnce(Start) -> Start) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let (gmail, engine) = tokio::join!(Emulator::start(mails), how(Start::at(home.path())).start());
        add_account(&engine, ACCOUNT, &gmail.url, &gmail.token).await;
        let connected = connect(&engine, AGENT, ACCOUNT, preset).await;
        // A test that wants the wait says so itself.
        engine.call(SettingsSet, json!({ "http_wait_seconds": 20 })).await;
        Self { gmail, engine, connected, home }
    }

    /// The agent over raw HTTP, at the account.
    pub async fn agent(&self) -> Agent {
        let token = issue(&self.engine, AGENT).await;
        Agent::new(&format!("{}/{ACCOUNT}", self.engine.door()), &token)
    }

    /// The agent as Google's own library.
    pub async fn python(&self) -> PythonAgent {
        let secret = self.connected.pairing_secret.as_ref().expect("a pairing secret");
        PythonAgent::start(self.engine.door(), ACCOUNT, &self.connected.client_id, secret.expose()).await
    }

    /// Kills the engine as a crash would and starts it again on the same home.
    pub async fn crash(&mut self) {
        self.restart_as(Start::at(self.home.path())).await;
    }

    /// The same, started differently.
    pub async fn restart_as(&mut self, start: Start) {
        // SAFETY of the data is what is tested, so no goodbye.
        let pid = rustix::process::Pid::from_raw(self.engine.pid() as i32).expect("a process");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
        self.engine.ended().await;
        self.engine = start.start().await;
    }
}

/// Adds a Gmail account with a bearer credential.
pub async fn add_account(engine: &Engine, id: &str, url: &str, token: &str) {
    let params = AccountAddParams {
        address: None,
        check: false,
        id: id.to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(url.to_owned()), ..UpstreamParams::default() },
        credential: CredentialParams::Bearer { token: Secret::new(token.to_owned()) },
    };
    engine.call(AccountAdd, params).await;
}

/// Connects an agent and grants it a preset.
pub async fn connect(engine: &Engine, agent: &str, account: &str, preset: &str) -> AgentConnected {
    let params = AgentConnectParams { id: agent.to_owned(), name: format!("The {agent}"), program: None };
    let connected = engine.call(AgentConnect, params).await;
    grant(engine, agent, account, preset).await;
    connected
}

/// Grants a preset.
pub async fn grant(engine: &Engine, agent: &str, account: &str, preset: &str) {
    let params = GrantPutParams {
        agent: agent.to_owned(),
        account: account.to_owned(),
        preset: preset.to_owned(),
        authorization_details: None,
        budgets: None,
        expires_in: None,
    };
    engine.call(GrantPut, params).await;
}

/// Lets the agent organize these mailboxes and no others.
pub async fn narrow(engine: &Engine, mailboxes: &[&str]) {
    let params = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: Some(json!({ "mailboxes": mailboxes })),
        budgets: None,
        expires_in: None,
    };
    engine.call(GrantPut, params).await;
}

/// An access token.
pub async fn issue(engine: &Engine, agent: &str) -> String {
    let params = TokenIssueParams { agent: Some(agent.to_owned()), ..TokenIssueParams::default() };
    engine.call(TokenIssue, params).await.access_token.expose().to_owned()
}
