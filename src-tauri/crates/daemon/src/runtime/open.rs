//! Starting and ending an engine.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};
use std::time::Duration;

use latch_core::call::Digest;
use latch_core::catalog::{Catalog, CatalogError};
use latch_core::guard::{self, Guard, Lifetimes, Now, Persistent, record};
use latch_core::hold::Stored;
use latch_core::journal::{Commit, Kind, Put, Shelf};
use latch_core::lease::Epoch;
use latch_core::pdp::Pdp;
use latch_core::servers::Servers;
use latch_core::time::Span;
use latch_ipc::contract::{EventKind, Settings};
use latch_ipc::view::DoorsView;
use latch_ipc::{Client, Secret};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::TcpListener;
use tokio::sync::{broadcast, watch};

use super::documents::Documents;
use super::phone::Phones;
use super::refresh::Refreshing;
use super::starts::Starts;
use super::tasks::Tasks;
use super::{Opened, OwnerKind, Runtime, accounts, outbox, starts};
use crate::clock::Clock;
use crate::confirm;
use crate::control::{Control, ControlError};
use crate::door;
use crate::home::{self, Home, HomeError};
use crate::net::Connections;
use crate::spool::Spool;
use crate::store::{Store, StoreError, Stored as Unfinished};
use crate::upstream::{CertificateDer, Options as UpstreamOptions, Upstream};
use crate::vault::{Anchor, Present, Vault, VaultError, VaultKind};

/// How long the end waits for the calls that are under way.
const LAST_CALL: Duration = Duration::from_secs(5);
/// How long it waits, their connections cut, for what became of them to be recorded.
const LAST_RECORD: Duration = Duration::from_secs(5);
/// Notifications that a slow owner may lag behind.
const EVENTS: usize = 4096;
/// How often a keyring that did not answer is looked at again.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_secs(3);

/// What the engine does when its owner's pipe ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEof {
    /// It ends.
    #[default]
    Exit,
    /// It goes on permitting within budgets and denies the rest.
    Keep,
}

/// How to start an engine.
#[derive(Debug, Clone)]
pub struct Options {
    /// Where its state lives; the platform's data folder when absent.
    pub home: Option<PathBuf>,
    /// Where the HTTP door listens; loopback only. Port 0 picks one. No door when absent.
    pub http: Option<SocketAddr>,
    /// Where the IMAP door listens, likewise.
    pub imap: Option<SocketAddr>,
    /// Where the submission door listens, likewise.
    pub smtp: Option<SocketAddr>,
    /// Where the door to mail filters (ManageSieve) listens, likewise.
    pub sieve: Option<SocketAddr>,
    /// A mail door whose port is taken stays closed and says so; otherwise the engine does not start.
    pub optional: bool,
    /// Which name server is asked for mail servers; the system's when absent.
    pub nameserver: Option<SocketAddr>,
    /// Certificates that are trusted beside the platform's.
    pub roots: Vec<CertificateDer<'static>>,
    /// Where the key lives.
    pub vault: VaultKind,
    /// Who answers.
    pub owner: OwnerKind,
    /// What happens when the owner's pipe ends.
    pub on_eof: OnEof,
    /// The parent chain of whoever started it, for the journal.
    pub started_by: Vec<String>,
    /// What the person should know about how it was started.
    pub warnings: Vec<String>,
}

/// Why an engine did not start, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home can't be used.
    #[error(transparent)]
    Home(#[from] HomeError),
    /// The vault can't be used.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The database can't be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A provider file is broken.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The list of mail servers is broken: our fault.
    #[error(transparent)]
    Servers(#[from] latch_core::servers::Broken),
    /// The shipped policy is broken: our fault.
    #[error("the shipped policy does not load: {0}")]
    Policy(String),
    /// The control socket can't be made.
    #[error(transparent)]
    Control(#[from] ControlError),
    /// The port is taken, or the address is not ours.
    #[error(
        "the {door} door can't listen on {address}: {why}. Choose another with --{} 127.0.0.1:PORT, or port 0 to pick a free one", door.to_lowercase()
    )]
    Listen {
        /// `HTTP`, `IMAP`, `SMTP` or `Sieve`.
        door: &'static str,
        /// Where.
        address: SocketAddr,
        /// What the system said.
        why: std::io::Error,
    },
    /// A door is for this machine only.
    #[error("the doors listen on this machine only: use 127.0.0.1 or [::1], not {0}")]
    NotLoopback(SocketAddr),
}

/// Why an engine ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// It was asked to.
    Asked,
    /// Its owner's pipe ended.
    OwnerGone,
}

/// A running engine.
pub struct Engine {
    runtime: Arc<Runtime>,
    options: Options,
    listener: Option<TcpListener>,
    mail_listener: Option<TcpListener>,
    submission_listener: Option<TcpListener>,
    filter_listener: Option<TcpListener>,
    control: Option<Control>,
}

impl Engine {
    /// Takes the home, opens the vault and the store, binds the doors. Nothing is served before [`Engine::run`].
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let path = match &options.home {
            Some(path) => path.clone(),
            None => home::default_path()?,
        };
        let catalog = Catalog::shipped()?;
        let servers = Servers::shipped()?;
        let taken = Home::take(&path)?;
        let vault = {
            let (kind, taken) = (options.vault, taken.clone());
            tokio::task::spawn_blocking(move || Vault::open(kind, &taken))
                .await
                .map_err(|_| VaultError::Locked)
                .flatten()?
        };
        let listener = listen("HTTP", options.http).await?;
        let mut warnings = options.warnings.clone();
        let mail_listener = mail_door("IMAP", options.imap, options.optional, &mut warnings).await?;
        let submission_listener = mail_door("SMTP", options.smtp, options.optional, &mut warnings).await?;
        let filter_listener = mail_door("Sieve", options.sieve, options.optional, &mut warnings).await?;
        let control = Control::bind(taken.path())?;
        let address = |listener: &Option<TcpListener>| listener.as_ref().and_then(|one| one.local_addr().ok());
        let doors = DoorsView {
            http: address(&listener).map(|address| format!("http://{address}")),
            imap: address(&mail_listener).map(|address| address.to_string()),
            smtp: address(&submission_listener).map(|address| address.to_string()),
            sieve: address(&filter_listener).map(|address| address.to_string()),
            control: Some(control.path().display().to_string()),
        };
        let runtime = Arc::new(Runtime {
            home: taken.path().to_owned(),
            catalog,
            servers,
            nameserver: options.nameserver,
            roots: options.roots.clone(),
            connections: Connections::new(),
            owner: options.owner,
            unattended: AtomicBool::new(false),
            doors: OnceLock::from(doors),
            opened: OnceLock::new(),
            opening: tokio::sync::Mutex::new(()),
            vault: Arc::new(vault),
            events: broadcast::Sender::new(EVENTS),
            settings: RwLock::new(Settings::default()),
            warnings: Mutex::new(warnings),
            ended: watch::Sender::new(false),
            started_by: options.started_by.clone(),
            taken,
            tasks: Tasks::on(tokio::runtime::Handle::current()),
        });
        if runtime.vault.locked() {
            starts::note_locked(&runtime.taken, crate::clock::wall(), &starts::locked_text(&runtime.started()));
        } else {
            runtime.open().await?;
        }
        let control = Some(control);
        Ok(Self { runtime, options, listener, mail_listener, submission_listener, filter_listener, control })
    }

    /// What the doors and channels share.
    #[must_use]
    pub fn runtime(&self) -> &Arc<Runtime> {
        &self.runtime
    }

    /// Serves until it is asked to end, or its owner is gone.
    pub async fn run(mut self) -> End {
        let runtime = Arc::clone(&self.runtime);
        let mut background = tokio::task::JoinSet::new();
        background.spawn(Arc::clone(&runtime).keep_time());
        background.spawn(Arc::clone(&runtime).keep_anchor());
        background.spawn(Arc::clone(&runtime).keep_looking());
        background.spawn(Arc::clone(&runtime).erase_old_texts());
        if let Some(listener) = self.listener.take() {
            let (inside, connections) = (Arc::clone(&runtime), runtime.connections().clone());
            background.spawn(async move {
                let served = match door::Lanes::start() {
                    Ok(lanes) => door::http::serve(listener, inside, connections, lanes).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    tracing::error!(%error, "the HTTP door closed");
                }
            });
        }
        if let Some(listener) = self.mail_listener.take() {
            let (inside, connections) = (Arc::clone(&runtime), runtime.connections().clone());
            background.spawn(async move {
                let served = match door::Lanes::start() {
                    Ok(lanes) => door::imap::serve(listener, inside, connections, lanes).await,
                    Err(error) => Err(error),
                };
                if let Err(error) = served {
                    tracing::error!(%error, "the IMAP door closed");
                }
            });
        }
        if let Some(listener) = self.submission_listener.take() {
            let (inside, connections) = (Arc::clone(&runtime), runtime.connections().clone());
            background.spawn(async move {
                if let Err(error) = door::smtp::serve(listener, inside, connections).await {
                    tracing::error!(%error, "the SMTP door closed");
                }
            });
        }
        if let Some(listener) = self.filter_listener.take() {
            let (inside, connections) = (Arc::clone(&runtime), runtime.connections().clone());
            background.spawn(async move {
                if let Err(error) = door::sieve::serve(listener, inside, connections).await {
                    tracing::error!(%error, "the ManageSieve door closed");
                }
            });
        }
        if let Some(control) = self.control.take() {
            let runtime = Arc::clone(&runtime);
            background.spawn(control.serve(move |method, params, peer| {
                let runtime = Arc::clone(&runtime);
                async move { runtime.call_apart(&method, params, super::Origin::Control(peer)).await }
            }));
        }
        let mut ended = runtime.ended();
        let end = tokio::select! {
            end = self.owner() => end,
            _ = ended.wait_for(|ended| *ended) => End::Asked,
        };
        background.shutdown().await;
        runtime.close().await;
        end
    }

    /// Serves the owner; when they are gone, denies what waits, and goes on or ends as the options say.
    async fn owner(&self) -> End {
        let runtime = Arc::clone(&self.runtime);
        match self.options.owner {
            OwnerKind::Stdio => {
                let input = BufReader::new(tokio::io::stdin());
                let _ = confirm::owner::serve(Arc::clone(&runtime), input, tokio::io::stdout()).await;
            }
            OwnerKind::Terminal | OwnerKind::Nobody => {
                let (ours, theirs) = tokio::io::duplex(1 << 20);
                let (input, output) = tokio::io::split(ours);
                let serving = tokio::spawn(async move {
                    let _ = confirm::owner::serve(runtime, BufReader::new(input), output).await;
                });
                let (input, output) = tokio::io::split(theirs);
                let (client, events) = Client::start(BufReader::new(input), output);
                if self.options.owner == OwnerKind::Nobody {
                    confirm::deny::run(client, events).await;
                } else {
                    match confirm::tty::Terminal::open() {
                        Some(terminal) => {
                            if confirm::tty::run(client, events, terminal).await == confirm::tty::End::Quit {
                                serving.abort();
                                self.runtime.tasks.stop();
                                self.runtime.owner_gone().await;
                                return End::Asked;
                            }
                        }
                        None => {
                            self.runtime.unattended.store(true, Ordering::SeqCst);
                            confirm::deny::run(client, events).await;
                        }
                    }
                }
                serving.abort();
            }
        }
        let runtime = &self.runtime;
        if self.options.on_eof == OnEof::Exit {
            runtime.tasks.stop();
        }
        runtime.owner_gone().await;
        if self.options.on_eof == OnEof::Keep {
            std::future::pending::<()>().await;
        }
        End::OwnerGone
    }
}

impl Runtime {
    /// Opens the store with the unlocked vault's key and puts everything together. Does nothing the second time.
    pub(crate) async fn open(self: &Arc<Self>) -> Result<(), StartError> {
        let _one = self.opening.lock().await;
        if self.opened.get().is_some() {
            return Ok(());
        }
        let runtime = Arc::clone(self);
        let opened = tokio::task::spawn_blocking(move || runtime.load())
            .await
            .map_err(|_| StartError::Policy("loading did not end in order".to_owned()))??;
        if let Err(error) = self.forget_stray_copies(&opened).await {
            tracing::warn!(%error, "copies of what never went stay in the quarantine");
        }
        opened.upstream.hook(Arc::new(Refreshing(Arc::downgrade(self))));
        let _ = self.opened.set(opened);
        self.watch_phones();
        Ok(())
    }

    /// Who started this engine, in a sentence.
    fn started(&self) -> String {
        match self.started_by.as_slice() {
            [] => "engine started".to_owned(),
            chain => format!("engine started by {}", chain.join(" < ")),
        }
    }

    fn load(&self) -> Result<Opened, StartError> {
        let key = self.vault.key()?;
        let crate::store::Opened { store, loaded } = Store::open(&self.taken, &key)?;
        let spool =
            Spool::open(&self.taken).map_err(|error| HomeError::Io { path: self.taken.join("spool"), error })?;
        let clock = Clock::start(loaded.high_water);
        let now = Now { time: clock.now(), wall: clock.wall() };
        let mut warnings = Vec::new();
        let documents = Documents::of(&loaded.documents);
        let mut state: Persistent = documents.one(Shelf::State, "guard").unwrap_or_default();
        let settings: Settings = documents.one(Shelf::Setting, "settings").unwrap_or_default();
        let agents: Vec<guard::Agent> = documents.all(Shelf::Agent);
        let grants = documents.all(Shelf::Grant);
        let denials = documents.all_but(Shelf::Rules, "rules");
        let holds: Vec<Stored> = documents.all(Shelf::Hold);
        let (known, written) = known_and_written(&documents);
        let waiting = documents.shelf(Shelf::Outbox).filter_map(|(_, value)| documents.read(outbox::restore(value)));
        let waiting: BTreeMap<_, _> = waiting.collect();
        let phones = Phones::load(&documents, now.wall);
        let alarms: Vec<String> = loaded.alarms.iter().cloned().chain(documents.alarm()).collect();
        if !alarms.is_empty() {
            state.epoch = state.epoch.saturating_add(1);
            state.panicked = Some(alarms.join("; "));
        }
        let anchor = self.vault.anchor()?;
        if anchor.is_none() && loaded.seq > 0 {
            state.epoch = state.epoch.saturating_add(1);
            state.panicked = Some("the vault remembers nothing of this database: it was put here from elsewhere, or the keyring was cleared".to_owned());
        }
        if let Some(anchor) = anchor {
            let present = Present {
                seq: loaded.seq,
                hash_at_anchor: store.hash_at(anchor.seq)?,
                epoch: Epoch(state.epoch),
                panicked: state.panicked.is_some(),
            };
            if let Some(why) = anchor.contradicts(&present) {
                state.epoch = state.epoch.max(anchor.epoch.0).saturating_add(1);
                state.panicked = Some(why);
            }
        }
        let rules = documents.shelf(Shelf::Rules).find(|(id, _)| *id == "rules");
        let rules =
            rules.and_then(|(_, value)| value.get("text").and_then(Value::as_str)).unwrap_or_default().to_owned();
        let rules = self.approved(rules, &mut warnings)?;
        let pdp = Pdp::new(&rules).map_err(|error| StartError::Policy(error.to_string()))?;
        if state.panicked.is_some() {
            state.stopped = agents.iter().map(|agent| agent.id.clone()).collect();
        }
        let epoch = Epoch(state.epoch);
        let proposal = Span::hours(u64::from(settings.proposal_hours));
        let lifetimes = Lifetimes {
            token: Span::seconds(u64::from(settings.token_seconds)),
            hold: Span::seconds(u64::from(settings.hold_seconds)),
            proposal,
        };
        let mut guard = Guard::new(
            pdp,
            guard::Loaded {
                state: state.clone(),
                agents,
                grants,
                charges: loaded.charges.clone(),
                proposals: holds
                    .into_iter()
                    .filter_map(|stored| stored.into_proposal(proposal, epoch))
                    .filter(|hold| hold.expires_at > now.time)
                    .collect(),
                known,
                written,
                denials,
                stop_mails: phones.anchors(),
            },
            lifetimes,
        );
        let mut accounts = BTreeMap::new();
        for (id, value) in documents.shelf(Shelf::Account) {
            let sealed = documents.shelf(Shelf::Credential).find(|(one, _)| *one == id).map(|(_, value)| value);
            match accounts::restore(&self.catalog, &key, value, sealed) {
                Ok(account) => {
                    guard.set_places(&account.id, &self.places(&account));
                    accounts.insert(account.id.clone(), Arc::new(account));
                }
                Err(why) => warnings.push(why),
            }
        }
        let started = self.started();
        let mut known = Starts::restore(documents.shelf(Shelf::State));
        let mut commit = Commit::default();
        for (wall, text) in starts::taken_over(&self.taken, &started) {
            known.add(wall, &text);
            commit.records.push(record(Now { wall, ..now }, Kind::Start, text));
        }
        known.add(now.wall, &started);
        commit.records.push(record(now, Kind::Start, started.clone()));
        commit.puts.push(known.put());
        commit.records.extend(loaded.open_intents.iter().map(|Unfinished { seq, record: former }| {
            let mut outcome = record(now, Kind::Outcome, "unknown: the engine ended while this was under way");
            outcome.refers = Some(*seq);
            outcome.agent.clone_from(&former.agent);
            outcome.account.clone_from(&former.account);
            outcome.action.clone_from(&former.action);
            outcome.class = former.class;
            outcome.count = former.count;
            outcome
        }));
        if !loaded.open_intents.is_empty() {
            warnings.push(format!(
                "{} operations were under way when the engine ended last time; how they ended is unknown. Look at the journal.",
                loaded.open_intents.len()
            ));
        }
        if state.panicked.is_some() {
            // Why it starts stopped is seen once only: it must outlive this start too.
            let value = serde_json::to_value(&state).map_err(|error| StartError::Policy(error.to_string()))?;
            commit.puts.push(Put { shelf: Shelf::State, id: "guard".to_owned(), value });
        }
        store.commit_now(commit)?;
        starts::forget_locked(&self.taken);
        let (seq, hash) = store.head();
        self.vault.set_anchor(&Anchor { seq, hash, epoch: Epoch(state.epoch), panicked: state.panicked.is_some() })?;
        super::lock(&self.warnings).extend(warnings);
        let gate = guard.gate().clone();
        let opened = Opened {
            clock,
            upstream: Upstream::with(
                self.connections.clone(),
                gate.clone(),
                UpstreamOptions { extra_roots: self.roots.clone(), ..UpstreamOptions::default() },
            ),
            gate,
            guard: Mutex::new(guard),
            accounts: RwLock::new(accounts),
            answers: Mutex::new(HashMap::new()),
            sending: Mutex::default(),
            insisting: Mutex::default(),
            undoing: tokio::sync::Mutex::default(),
            spool,
            asks: Mutex::default(),
            preparing: Mutex::new(HashSet::new()),
            failing: Mutex::default(),
            rules: Mutex::new(rules),
            starts: known.shown(&started, now),
            outbox: Mutex::new(waiting),
            recalled: Mutex::default(),
            turns: super::turns::Turns::default(),
            renewals: Mutex::default(),
            phones,
            ahead: super::mail::Ahead::default(),
            unsaved: Mutex::default(),
            changed: watch::Sender::new(0),
            store,
        };
        self.use_settings(&opened, settings);
        Ok(opened)
    }

    /// The rules, if they are the ones that the person approved; otherwise none, and the person is told.
    fn approved(&self, rules: String, warnings: &mut Vec<String>) -> Result<String, StartError> {
        let approved = self.vault.rules_digest()?;
        let found = Digest::of(&[rules.as_bytes()]);
        match approved {
            None if rules.is_empty() => Ok(rules),
            Some(approved) if approved == found => Ok(rules),
            None | Some(_) => {
                warnings.push(
                    "Your rules are not the ones that you approved last, so they are not used and everything above reading is asked."
                        .to_owned(),
                );
                Ok("forbid (principal, action, resource) unless { context.confirmed || action == Action::\"read\" };"
                    .to_owned())
            }
        }
    }

    /// The owner's pipe ended: whatever waits is denied.
    async fn owner_gone(&self) {
        let Some(opened) = self.opened() else { return };
        let commit = opened.guard().deny_all("nobody is there to answer: the owner's pipe closed", opened.now());
        if commit != Commit::default() {
            let _ = opened.store.commit(commit).await;
        }
        self.settle(opened);
    }

    /// A keyring that asks the person just now is looked at again until it has an answer. One that said no is left alone: looking would ask again.
    async fn keep_looking(self: Arc<Self>) {
        while self.opened().is_none() {
            tokio::time::sleep(LOOK_AGAIN).await;
            if !self.vault.may_be_asking() {
                continue;
            }
            let vault = Arc::clone(&self.vault);
            let found = tokio::task::spawn_blocking(move || vault.unlock(&Secret::default())).await;
            if !matches!(found, Ok(Ok(()))) {
                continue;
            }
            match self.open().await {
                Ok(()) => self.tell(EventKind::VaultOpened, None, None),
                Err(error) => {
                    tracing::error!(%error, "the vault is open, but the rest is not");
                    super::lock(&self.warnings).push(error.to_string());
                    return;
                }
            }
        }
    }

    /// The vault learns how far the database is, at most once a minute.
    async fn keep_anchor(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_secs(60)).await;
            self.anchor().await;
        }
    }

    /// Subjects and senders in the journal go after as many days as the settings say; their hashes stay.
    async fn erase_old_texts(self: Arc<Self>) {
        let mut pause = Duration::from_secs(60);
        loop {
            tokio::time::sleep(pause).await;
            let Some(opened) = self.opened() else { continue };
            let days = self.settings().object_text_days;
            let older_than = opened.clock.wall().saturating_sub(Span::days(u64::from(days)).0);
            if let Err(error) = opened.store.erase_object_text(older_than).await {
                tracing::warn!(%error, "old object texts could not be erased");
            }
            if let Err(error) = self.forget_old_undos(opened, older_than).await {
                tracing::warn!(%error, "old undo entries could not be forgotten");
            }
            pause = Duration::from_secs(3600);
        }
    }

    async fn anchor(&self) {
        let Some(opened) = self.opened() else { return };
        let panicked = opened.guard().panicked().is_some();
        let anchor = anchor(opened, opened.gate.current(), panicked);
        let vault = Arc::clone(&self.vault);
        let kept = tokio::task::spawn_blocking(move || vault.set_anchor(&anchor)).await;
        if !matches!(kept, Ok(Ok(()))) {
            tracing::warn!("the vault could not remember how far the journal is");
        }
    }

    /// Ends in order: running calls and their outcomes, connections, journal, anchor.
    async fn close(&self) {
        self.tasks.stop();
        if !self.tasks.over(LAST_CALL).await {
            tracing::warn!("the engine ends while calls are under way: what becomes of them is recorded as unknown");
        }
        self.connections.cut_all();
        if !self.tasks.over(LAST_RECORD).await {
            tracing::error!("the engine ends although not everything is recorded");
        }
        let Some(opened) = self.opened() else { return };
        let commit = Commit { records: vec![record(opened.now(), Kind::Stop, "engine stopped")], ..Commit::default() };
        let _ = opened.store.commit(commit).await;
        self.anchor().await;
        opened.store.close();
    }
}

async fn listen(door: &'static str, address: Option<SocketAddr>) -> Result<Option<TcpListener>, StartError> {
    match address {
        None => Ok(None),
        Some(address) if !address.ip().is_loopback() => Err(StartError::NotLoopback(address)),
        Some(address) => {
            let bound = TcpListener::bind(address).await;
            Ok(Some(bound.map_err(|why| StartError::Listen { door, address, why })?))
        }
    }
}

/// Whom the person has written to, as account and address, and what agents put among the sent mail.
fn known_and_written(documents: &Documents<'_>) -> (HashSet<(String, String)>, BTreeMap<String, guard::Written>) {
    let (mut known, mut written) = (HashSet::new(), BTreeMap::new());
    for (id, value) in documents.shelf(Shelf::Known) {
        if value.get("address").is_some() {
            let text = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
            known.extend(documents.read(text("account").zip(text("address"))));
        } else {
            let read = documents.read(serde_json::from_value(value.clone()).ok());
            written.extend(read.map(|one| (id.to_owned(), one)));
        }
    }
    (known, written)
}

/// The same for a door that may stay closed where it is `optional`.
async fn mail_door(
    door: &'static str,
    address: Option<SocketAddr>,
    optional: bool,
    warnings: &mut Vec<String>,
) -> Result<Option<TcpListener>, StartError> {
    match listen(door, address).await {
        Err(error @ StartError::Listen { .. }) if optional => {
            warnings.push(format!("There is no {door} door: {error}"));
            Ok(None)
        }
        other => other,
    }
}

/// How far the database is, for the vault.
pub(super) fn anchor(opened: &Opened, epoch: Epoch, panicked: bool) -> Anchor {
    let (seq, hash) = opened.store.head();
    Anchor { seq, hash, epoch, panicked }
}
