//! What the demo is played on: a temporary home, a real engine as a child process, the made-up mailbox, and the agent with its grant.

use std::collections::HashMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AgentConnect, AgentConnectParams, CredentialParams, Empty, Event, GrantPut,
    GrantPutParams, Hello, HelloCall, HoldList, UpstreamParams,
};
use latch_ipc::{Client, PROTOCOL, Secret};
use tokio::io::BufReader;
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;

use super::agent::{Agent, Answer, Step};
use super::mailbox::Mailbox;
use super::report::{self, Row};
use super::server::{self, Shared};
use crate::exit::{Exit, Failure};

/// The account's id.
pub(crate) const ACCOUNT: &str = "demo-mail";
/// The agent's id.
pub(crate) const AGENT: &str = "tidybot";

/// How often the demo looks for new holds.
const LOOK: Duration = Duration::from_millis(40);

/// Everything that the demo runs on. The engine dies with it.
pub(crate) struct Stage {
    pub(crate) client: Client,
    pub(crate) start: Mailbox,
    pub(crate) mailbox: Shared,
    pub(crate) seen: Seen,
    engine: Child,
    serving: tokio::task::JoinHandle<()>,
}

/// Holds that were seen, with their number of objects.
#[derive(Clone, Default)]
pub(crate) struct Seen(Arc<Mutex<HashMap<String, u32>>>);

impl Seen {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn note(&self, id: &str, count: u32) {
        self.lock().insert(id.to_owned(), count);
    }

    fn objects(&self) -> usize {
        self.lock().values().map(|count| *count as usize).sum()
    }
}

/// The mailbox at the start and as it is.
pub(crate) struct Comparison {
    start: Mailbox,
    mailbox: Shared,
}

impl Comparison {
    /// What differs now.
    pub(crate) fn text(&self) -> String {
        report::verdict(&self.start, &report::differences(&self.start, &self.mailbox.copy()))
    }
}

impl Stage {
    /// Sets the stage in an empty home as its owner, over the engine's owner channel.
    pub(crate) async fn set(home: &Path) -> Result<(Self, Agent, UnboundedReceiver<Event>), Failure> {
        let start = Mailbox::new();
        let mailbox = Shared::new(start.clone());
        let credential = random()?;
        let (address, serving) = server::start(mailbox.clone(), credential.clone()).await.map_err(Failure::failed)?;
        let mut engine = Command::new(std::env::current_exe().map_err(Failure::failed)?)
            .args(["serve", "--owner", "stdio", "--http", "127.0.0.1:0", "--vault", "memory", "--home"])
            .arg(home)
            .env_remove("LATCHSTRING_HOME")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Failure::failed)?;
        let (Some(stdin), Some(stdout)) = (engine.stdin.take(), engine.stdout.take()) else {
            return Err(Failure::new(Exit::Failed, "the engine has no pipe."));
        };
        let (client, events) = Client::start(BufReader::new(stdout), stdin);
        let hello = client.call(HelloCall, Hello { protocol: PROTOCOL });
        let welcome = tokio::time::timeout(Duration::from_secs(20), hello).await;
        let welcome = welcome.map_err(|_| Failure::new(Exit::Failed, "the engine did not answer in 20 s."))??;
        let Some(door) = welcome.doors.http else {
            return Err(Failure::new(Exit::Failed, "the engine has no HTTP door."));
        };
        let account = AccountAddParams {
            check: false,
            address: None,
            id: ACCOUNT.to_owned(),
            provider: "gmail".to_owned(),
            upstream: UpstreamParams { base_url: Some(format!("http://{address}")), ..UpstreamParams::default() },
            credential: CredentialParams::Bearer { token: Secret::new(credential) },
        };
        client.call(AccountAdd, account).await?;
        let agent = AgentConnectParams { id: AGENT.to_owned(), name: "Tidybot".to_owned(), program: None };
        let connected = client.call(AgentConnect, agent).await?;
        let grant = GrantPutParams {
            agent: AGENT.to_owned(),
            account: ACCOUNT.to_owned(),
            preset: "organize".to_owned(),
            authorization_details: None,
            budgets: None,
            expires_in: None,
        };
        client.call(GrantPut, grant).await?;
        let Some(secret) = connected.pairing_secret else {
            return Err(Failure::new(Exit::Failed, "the engine gave the agent no pairing secret."));
        };
        let agent = Agent::new(door, ACCOUNT, connected.client_id, secret);
        let stage = Self { client, start, mailbox, seen: Seen::default(), engine, serving };
        Ok((stage, agent, events))
    }

    /// Notes every hold that appears, until it is dropped.
    pub(crate) fn watch(&self) -> tokio::task::JoinHandle<()> {
        let (client, seen) = (self.client.clone(), self.seen.clone());
        tokio::spawn(async move {
            while let Ok(holds) = client.call(HoldList, Empty {}).await {
                holds.iter().for_each(|hold| seen.note(&hold.id, hold.count));
                tokio::time::sleep(LOOK).await;
            }
        })
    }

    /// Lets the agent do one step, and counts.
    pub(crate) async fn step(&self, agent: &mut Agent, step: Step) -> (Row, Vec<Answer>) {
        let (before, held) = (self.mailbox.copy(), self.seen.objects());
        let asked = agent.targets(step).len();
        let answers = agent.act(step).await;
        let changed = report::changed(&before, &self.mailbox.copy());
        (Row { step, asked, held: self.seen.objects() - held, changed }, answers)
    }

    /// What the mailbox will be compared with.
    pub(crate) fn comparison(&self) -> Comparison {
        Comparison { start: self.start.clone(), mailbox: self.mailbox.clone() }
    }

    /// The closing table and the comparison, and whether everything is as it was.
    pub(crate) fn report(&self, rows: &[Row]) -> (String, bool) {
        let end = self.mailbox.copy();
        let differences = report::differences(&self.start, &end);
        let text =
            format!("\n{}\n{}", report::table(rows, &self.start, &end), report::verdict(&self.start, &differences));
        (text, differences.is_empty())
    }

    /// Ends the engine as its owner does: by closing the pipe.
    pub(crate) async fn strike(self) {
        let Self { client, mut engine, serving, .. } = self;
        drop(client);
        if tokio::time::timeout(Duration::from_secs(5), engine.wait()).await.is_err() {
            let _ = engine.kill().await;
        }
        serving.abort();
    }
}

/// 128 random bits as hex: the mailbox's credential, which the agent never gets.
fn random() -> Result<String, Failure> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(Failure::failed)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
