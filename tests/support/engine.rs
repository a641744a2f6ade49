//! An engine as the tray starts it: `latch serve --owner stdio`, driven over the pipe.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use latch_ipc::client::CallError;
use latch_ipc::contract::{
    Empty, Event, Hello, HelloCall, HoldDecide, HoldDecideParams, HoldDecided, HoldGet, HoldGetParams, HoldList,
    Method, Unlock, VaultUnlock, Verdict, Welcome,
};
use latch_ipc::view::{HoldState, HoldView};
use latch_ipc::{Client, Secret};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc::UnboundedReceiver;

use crate::paths;

/// The passphrase of every test's vault that has one.
pub const PASSPHRASE: &str = "correct horse battery staple";

/// How long a test waits for what must come.
pub const SOON: Duration = Duration::from_secs(20);

/// How to start an engine.
pub struct Start {
    prefix: Vec<String>,
    program: PathBuf,
    home: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

/// A running engine and its owner's end of the pipe. Killed when dropped.
pub struct Engine {
    /// The owner channel.
    pub client: Client,
    /// What `hello` answered.
    pub welcome: Welcome,
    events: tokio::sync::Mutex<UnboundedReceiver<Event>>,
    log: Arc<Mutex<String>>,
    child: Child,
}

impl Start {
    /// The shipped program on this home with a passphrase vault, which a restart can open again.
    #[must_use]
    pub fn at(home: &Path) -> Self {
        let arguments = ["serve", "--owner", "stdio", "--http", "127.0.0.1:0", "--vault", "passphrase"];
        Self {
            prefix: Vec::new(),
            program: paths::latch(),
            home: home.to_owned(),
            arguments: arguments.map(str::to_owned).into(),
            environment: Vec::new(),
        }
    }

    /// With a vault that lives in memory: faster, and gone with the engine.
    #[must_use]
    pub fn in_memory(mut self) -> Self {
        if let Some(vault) = self.arguments.last_mut() {
            *vault = "memory".to_owned();
        }
        self
    }

    /// With an IMAP door. Call this after [`Start::in_memory`].
    #[must_use]
    pub fn imap(mut self) -> Self {
        self.arguments.extend(["--imap".to_owned(), "127.0.0.1:0".to_owned()]);
        self
    }

    /// With a submission door. Call this after [`Start::in_memory`].
    #[must_use]
    pub fn smtp(mut self) -> Self {
        self.arguments.extend(["--smtp".to_owned(), "127.0.0.1:0".to_owned()]);
        self
    }

    /// With a door to mail filters. Call this after [`Start::in_memory`].
    #[must_use]
    pub fn sieve(mut self) -> Self {
        self.arguments.extend(["--sieve".to_owned(), "127.0.0.1:0".to_owned()]);
        self
    }

    /// With its HTTP door there.
    #[must_use]
    pub fn http(mut self, address: &str) -> Self {
        if let Some(http) = self.arguments.iter_mut().find(|argument| *argument == "127.0.0.1:0") {
            *http = address.to_owned();
        }
        self
    }

    /// With the program that can be told to die at a failpoint, told so.
    #[must_use]
    pub fn failing(mut self, point: &str) -> Self {
        self.program = paths::latch_failpoints();
        self.env("LATCHSTRING_FAILPOINT", point)
    }

    /// With another argument.
    #[must_use]
    pub fn arg(mut self, argument: &str) -> Self {
        self.arguments.push(argument.to_owned());
        self
    }

    /// With another environment variable.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Run by an ordinary user, from a copy of the program in a folder of that user's.
    #[must_use]
    pub fn by_a_user(mut self, folder: &Path) -> Self {
        let name = self.program.file_name().expect("a program").to_owned();
        let copy = folder.join(name);
        // One that runs can be unlinked, not overwritten.
        let _ = std::fs::remove_file(&copy);
        std::fs::copy(&self.program, &copy).expect("a copy");
        self.program = copy;
        self.prefix.extend(crate::user::prefix());
        self
    }

    /// Started by a shell that stays its parent.
    #[must_use]
    pub fn by_a_shell(mut self) -> Self {
        self.prefix.extend(["sh", "-c", "\"$@\"; exit $?", "sh"].map(str::to_owned));
        self
    }

    /// Told by a refused write, not killed, when a file grows beyond its limit: as on a full or read-only disk.
    #[must_use]
    pub fn survives_file_limits(mut self) -> Self {
        self.prefix.extend(["sh", "-c", "trap '' XFSZ; exec \"$@\"", "sh"].map(str::to_owned));
        self
    }

    /// The command, for tests that expect it to fail.
    #[must_use]
    pub fn command(&self) -> Command {
        let mut command = match self.prefix.split_first() {
            None => Command::new(&self.program),
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(&self.program);
                command
            }
        };
        command.args(&self.arguments).arg("--home").arg(&self.home);
        command.env("HOME", &self.home).env_remove("LATCHSTRING_HOME").env_remove("DBUS_SESSION_BUS_ADDRESS");
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    /// Starts it, says hello, and unlocks the vault.
    pub async fn start(self) -> Engine {
        let mut child = self.command().spawn().expect("latch starts");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = child.stdout.take().expect("a pipe");
        let mut errors = BufReader::new(child.stderr.take().expect("a pipe")).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let lines = Arc::clone(&log);
        tokio::spawn(async move {
            while let Ok(Some(line)) = errors.next_line().await {
                let mut text = lines.lock().expect("not poisoned");
                text.push_str(&line);
                text.push('\n');
            }
        });
        let (client, events) = Client::start(BufReader::new(stdout), stdin);
        let hello = || client.call(HelloCall, Hello { protocol: latch_ipc::PROTOCOL });
        let mut welcome = match tokio::time::timeout(SOON, hello()).await {
            Ok(Ok(welcome)) => welcome,
            other => panic!("no hello: {other:?}\n{}", log.lock().expect("not poisoned")),
        };
        if welcome.vault_locked {
            let passphrase = Secret::new(PASSPHRASE.to_owned());
            client.call(VaultUnlock, Unlock { passphrase }).await.expect("the vault opens");
            welcome = hello().await.expect("hello");
        }
        Engine { client, welcome, events: tokio::sync::Mutex::new(events), log, child }
    }
}

impl Engine {
    /// Calls a method that must succeed.
    pub async fn call<M: Method>(&self, method: M, params: M::Params) -> M::Result {
        match self.client.call(method, params).await {
            Ok(result) => result,
            Err(error) => panic!("{}: {error}\n{}", M::NAME, self.log()),
        }
    }

    /// The HTTP door: `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn door(&self) -> &str {
        self.welcome.doors.http.as_deref().expect("an HTTP door")
    }

    /// What it wrote to stderr so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.log.lock().expect("not poisoned").clone()
    }

    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().expect("it runs")
    }

    /// Notifications that came so far.
    pub async fn events(&self) -> Vec<Event> {
        let mut receiver = self.events.lock().await;
        std::iter::from_fn(|| receiver.try_recv().ok()).collect()
    }

    /// The next hold that the person could decide, whole.
    pub async fn hold(&self) -> HoldView {
        self.holds(1).await.remove(0)
    }

    /// The same for one that takes long to open.
    pub async fn hold_within(&self, patience: Duration) -> HoldView {
        self.holds_within(1, patience).await.remove(0)
    }

    /// Waits until so many holds can be decided, and returns them whole.
    pub async fn holds(&self, count: usize) -> Vec<HoldView> {
        self.holds_within(count, SOON).await
    }

    /// The same for many.
    pub async fn holds_within(&self, count: usize, patience: Duration) -> Vec<HoldView> {
        let wait = async {
            loop {
                let holds = self.call(HoldList, Empty {}).await;
                let open = |hold: &&HoldView| matches!(hold.state, HoldState::Open | HoldState::Proposal);
                let open: Vec<_> = holds.iter().filter(open).map(|hold| hold.id.clone()).collect();
                if open.len() >= count {
                    let mut whole = Vec::new();
                    for id in open {
                        whole.push(self.call(HoldGet, HoldGetParams { id, offset: None, limit: None }).await);
                    }
                    if !whole.iter().flat_map(|hold| &hold.objects).any(|object| object.pending) {
                        return whole;
                    }
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        match tokio::time::timeout(patience, wait).await {
            Ok(holds) => holds,
            Err(_) => panic!("{count} holds did not open\n{}", self.log()),
        }
    }

    /// Waits until nothing waits for the person.
    pub async fn no_holds(&self) {
        let wait = async {
            while !self.call(HoldList, Empty {}).await.is_empty() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, wait).await.expect("every hold closes");
    }

    /// Allows a hold whole.
    pub async fn allow(&self, hold: &HoldView) -> HoldDecided {
        self.decide(decision(hold, Verdict::Allow)).await.expect("allowed")
    }

    /// Allows a hold for these objects.
    pub async fn allow_only(&self, hold: &HoldView, objects: &[&str]) -> HoldDecided {
        let objects = Some(objects.iter().map(|&id| id.to_owned()).collect());
        self.decide(HoldDecideParams { objects, ..decision(hold, Verdict::Allow) }).await.expect("allowed in part")
    }

    /// Allows a hold for ever, past the Trash; the count is typed again.
    pub async fn allow_forever(&self, hold: &HoldView) -> HoldDecided {
        let (forever, retyped_count) = (Some(true), Some(hold.count));
        let params = HoldDecideParams { forever, retyped_count, ..decision(hold, Verdict::Allow) };
        self.decide(params).await.expect("allowed for ever")
    }

    /// Denies a hold.
    pub async fn deny(&self, hold: &HoldView) -> HoldDecided {
        self.decide(decision(hold, Verdict::Deny)).await.expect("denied")
    }

    /// Decides a hold.
    pub async fn decide(&self, params: HoldDecideParams) -> Result<HoldDecided, CallError> {
        self.client.call(HoldDecide, params).await
    }

    /// Kills it as a crash would.
    pub async fn kill(mut self) {
        self.child.kill().await.expect("killed");
    }

    /// Waits for it to end by itself.
    pub async fn ended(&mut self) -> ExitStatus {
        tokio::time::timeout(SOON, self.child.wait()).await.expect("it ends").expect("it ran")
    }

    /// Closes its stdin and waits for its end, as when the tray quits.
    pub async fn quit(self) -> ExitStatus {
        let Self { client, mut child, .. } = self;
        drop(client);
        tokio::time::timeout(SOON, child.wait()).await.expect("it ends").expect("it ran")
    }
}

/// What a decision of this hold looks like before a test changes something about it.
#[must_use]
pub fn decision(hold: &HoldView, verdict: Verdict) -> HoldDecideParams {
    HoldDecideParams {
        id: hold.id.clone(),
        digest: hold.digest.clone(),
        verdict,
        objects: None,
        scope: None,
        rule: None,
        remember: None,
        forever: None,
        retyped_count: None,
        by: Some("script".to_owned()),
    }
}

/// Resident memory of a process.
#[must_use]
pub fn memory_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("its memory");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}
