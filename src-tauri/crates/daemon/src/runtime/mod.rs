//! One request's way, and everything that the owner may ask for.
//!
//! ```text
//!   door ── authenticate, http ──> Runtime ── Guard (lock, no await) ──> Ruling
//!                                     │          Store (intent, outcome)
//!                                     └────────> Upstream (lease) ──> answer
//!   owner, control socket ── call ──> Runtime
//! ```
//! The Guard's lock is never held across an await.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use latch_core::catalog::Catalog;
use latch_core::guard::{Guard, Now};
use latch_core::lease::EpochGate;
use latch_core::servers::Servers;
use latch_ipc::contract::{Event, EventKind, Settings};
use latch_ipc::view::DoorsView;
use tokio::sync::{broadcast, watch};

use crate::clock::Clock;
use crate::net::Connections;
use crate::spool::Spool;
use crate::store::Store;
use crate::upstream::{CertificateDer, Upstream};
use crate::vault::Vault;

mod accounts;
mod aside;
mod ask;
mod call;
mod check;
mod dav;
mod decide;
mod discover;
mod documents;
mod execute;
mod http;
mod inside;
mod insist;
mod mail;
mod open;
mod outbox;
mod owner_calls;
mod phone;
mod problem;
mod read;
mod refresh;
mod renewals;
mod sieve;
mod single;
mod smtp;
mod starts;
mod stop;
mod tasks;
mod turns;
mod undo;
mod views;
mod visit;

pub use accounts::Account;
pub use call::Origin;
pub use open::{End, Engine, OnEof, Options, StartError};

/// What every door, the owner channel and the control socket share.
pub struct Runtime {
    home: PathBuf,
    catalog: Catalog,
    servers: Servers,
    nameserver: Option<SocketAddr>,
    roots: Vec<CertificateDer<'static>>,
    connections: Connections,
    owner: OwnerKind,
    unattended: AtomicBool,
    doors: OnceLock<DoorsView>,
    opened: OnceLock<Opened>,
    vault: Arc<Vault>,
    events: broadcast::Sender<Event>,
    settings: RwLock<Settings>,
    warnings: Mutex<Vec<String>>,
    ended: watch::Sender<bool>,
    taken: crate::home::Home,
    opening: tokio::sync::Mutex<()>,
    started_by: Vec<String>,
    /// Where plans run: they outlive the requester's connection, and the lane that the connection was on.
    pub(crate) tasks: tasks::Tasks,
}

/// Who answers holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OwnerKind {
    /// Whoever holds the pipe on stdin and stdout.
    Stdio,
    /// The person at the terminal.
    Terminal,
    /// Nobody: whatever needs the person is denied.
    Nobody,
}

/// What exists once the vault is unlocked.
pub(crate) struct Opened {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) gate: EpochGate,
    pub(crate) upstream: Upstream,
    guard: Mutex<Guard>,
    pub(crate) accounts: RwLock<BTreeMap<String, Arc<Account>>>,
    pub(crate) answers: Mutex<HashMap<String, Arc<latch_core::recipe::Answer>>>,
    /// Held while something is put back.
    pub(crate) undoing: tokio::sync::Mutex<()>,
    /// Where large bodies wait.
    pub(crate) spool: Spool,
    /// Mails that are read before they are decided.
    pub(crate) ahead: mail::Ahead,
    pub(crate) asks: Mutex<ask::Asks>,
    /// Holds whose objects are being read.
    pub(crate) preparing: Mutex<std::collections::HashSet<String>>,
    /// Accounts that do not work, and why.
    pub(crate) failing: Mutex<HashMap<String, String>>,
    /// The person's rules.
    pub(crate) rules: Mutex<String>,
    /// How the engine was started.
    pub(crate) starts: Vec<String>,
    /// Mails that wait.
    pub(crate) outbox: Mutex<BTreeMap<u64, outbox::Waiting>>,
    /// Mails that the person took back while they were being sent.
    pub(crate) recalled: Mutex<BTreeSet<u64>>,
    /// Accounts and sign-ins that are being added or removed, or whose credential is being replaced: one at a time of each.
    pub(crate) turns: turns::Turns,
    /// Sign-ins that were tried and not kept.
    pub(crate) renewals: Mutex<renewals::Renewals>,
    /// Mails that are leaving now.
    pub(crate) sending: Mutex<smtp::Leaving>,
    /// Mails that were refused just now.
    pub(crate) insisting: Mutex<insist::Insisting>,
    /// The mails whose leaving stops everything.
    pub(crate) phones: phone::Phones,
    /// Reads that count but are not charged durably yet.
    pub(crate) unsaved: Mutex<Vec<latch_core::journal::Charge>>,
    /// Moves on whenever a hold may have changed: whoever waits looks again.
    pub(crate) changed: watch::Sender<u64>,
}

impl Opened {
    /// The Guard. Never held across an await.
    pub(crate) fn guard(&self) -> MutexGuard<'_, Guard> {
        lock(&self.guard)
    }

    pub(crate) fn now(&self) -> Now {
        Now { time: self.clock.now(), wall: self.clock.wall() }
    }

    pub(crate) fn account(&self, id: &str) -> Option<Arc<Account>> {
        self.accounts.read().unwrap_or_else(PoisonError::into_inner).get(id).cloned()
    }

    /// Whether this very account is still there, and not another one that has its name by now.
    pub(crate) fn still_has(&self, account: &Arc<Account>) -> bool {
        self.account(&account.id).is_some_and(|known| Arc::ptr_eq(&known, account))
    }
}

impl Runtime {
    /// What exists once the vault is unlocked; `None` before.
    pub(crate) fn opened(&self) -> Option<&Opened> {
        self.opened.get()
    }

    /// Every notification from now on.
    #[must_use]
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// The registry that panic cuts.
    #[must_use]
    pub fn connections(&self) -> &Connections {
        &self.connections
    }

    /// Where agents connect.
    #[must_use]
    pub fn doors(&self) -> DoorsView {
        self.doors.get().cloned().unwrap_or_default()
    }

    /// Becomes true when the engine should end.
    #[must_use]
    pub fn ended(&self) -> watch::Receiver<bool> {
        self.ended.subscribe()
    }

    /// Whether there is nobody to ask, whoever was to answer.
    pub(crate) fn is_unattended(&self) -> bool {
        self.owner == OwnerKind::Nobody || self.unattended.load(Ordering::SeqCst)
    }

    /// Asks the engine to end.
    pub fn end(&self) {
        self.ended.send_replace(true);
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn tell(&self, kind: EventKind, id: Option<String>, text: Option<String>) {
        let _ = self.events.send(Event { kind, id, text });
    }

    /// Passes on what the Guard noticed, and wakes whoever waits. Called after every change of the Guard.
    pub(crate) fn settle(&self, opened: &Opened) {
        use latch_core::guard::Notice;
        loop {
            let notice = opened.guard().poll_notice();
            let Some(notice) = notice else { break };
            match notice {
                Notice::HoldOpened(id) => self.tell(EventKind::HoldOpened, Some(id), None),
                Notice::HoldChanged(id) => self.tell(EventKind::HoldChanged, Some(id), None),
                Notice::HoldClosed(id) => self.tell(EventKind::HoldClosed, Some(id), None),
                Notice::AgentPaused(id) => self.tell(EventKind::AgentPaused, Some(id), None),
                Notice::MayComeUp(id) if id.starts_with('h') => self.tell(EventKind::HoldChanged, Some(id), None),
                Notice::MayComeUp(id) => self.tell(EventKind::AskOpened, Some(id), None),
            }
        }
        opened.changed.send_modify(|count| *count = count.wrapping_add(1));
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
