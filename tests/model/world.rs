//! The Guard, what it runs on, and what should be true of both after every step.

use std::collections::{BTreeMap, BTreeSet};

use latch_core::call::{Call, Digest};
use latch_core::catalog::Provider;
use latch_core::exchange;
use latch_core::grant::{AuthorizationDetail, Grant, NEW_FOR, Preset};
use latch_core::guard::{Agent, Guard, Now, Session};
use latch_core::hold::State;
use latch_core::lease::{Epoch, Lease};
use latch_core::operation::{Class, Meter, Operation, Part, Request};
use latch_core::pdp::Pdp;
use latch_core::plan::Plan;
use latch_core::time::{Span, Time};
use latch_core::undo::Entry;
use latch_daemon::vault::Anchor;

use crate::disk::Disk;
use crate::mailbox::{KNOWN, Mailbox, gmail};
use crate::reference::{Claim, Spent, overspent};

/// The agents.
pub const AGENTS: [&str; 2] = ["claude", "other"];
/// The accounts.
pub const ACCOUNTS: [&str; 2] = ["work", "home"];
/// Stands in every raw token; must never be seen again.
pub const CANARY: &str = "canary-5f1e";

/// A token as its agent has it.
#[derive(Debug, Clone)]
pub struct Token {
    pub hash: Digest,
    pub agent: String,
    pub session: Session,
}

/// A hold as the model remembers it, over restarts.
#[derive(Debug, Clone)]
pub struct Held {
    pub digest: Digest,
    pub agent: String,
    pub account: String,
    pub request: Request,
    pub prepared: bool,
    pub allow: Option<Allow>,
    pub taken: bool,
    /// Its plan's intent is durable: never again.
    pub consumed: bool,
}

/// A person's yes.
#[derive(Debug, Clone)]
pub struct Allow {
    pub objects: BTreeSet<String>,
    pub forever: bool,
    pub epoch: Epoch,
    pub until: Time,
}

/// What a yes left behind.
#[derive(Debug, Clone)]
pub struct Allowance {
    pub agent: String,
    pub account: String,
    pub verb: String,
    pub class: Class,
    pub objects: BTreeSet<String>,
    pub epoch: Epoch,
    pub until: Time,
}

/// Why a plan may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Basis {
    Unasked,
    Allowance,
    Hold(String),
}

/// A plan under way.
#[derive(Debug)]
pub struct Flight {
    pub plan: Plan,
    pub account: String,
    pub calls: Vec<(Call, Part)>,
    pub next: usize,
    pub basis: Basis,
    pub objects: BTreeSet<String>,
    pub epoch: Epoch,
    pub spent: usize,
}

/// An operation that can be taken back.
#[derive(Debug, Clone)]
pub struct Done {
    pub account: String,
    pub entry: Entry,
    pub before: Mailbox,
}

/// Everything.
pub struct World {
    pub gmail: Provider,
    pub guard: Guard,
    pub disk: Disk,
    pub vault: Anchor,
    pub older: Option<Disk>,
    pub time: Time,
    pub wall: u64,
    pub mailboxes: BTreeMap<String, Mailbox>,
    pub tokens: Vec<Token>,
    pub grants: BTreeMap<(String, String), (Preset, Option<Time>)>,
    pub since: BTreeMap<String, Time>,
    pub forbidden: Vec<Class>,
    pub generous: bool,
    pub holds: BTreeMap<String, Held>,
    pub allowances: Vec<Allowance>,
    pub flights: Vec<Flight>,
    pub spent: Vec<Spent>,
    pub done: Vec<Done>,
    pub panicked: bool,
    pub stopped: BTreeSet<String>,
    pub epoch: Epoch,
    pub drawn: u64,
    /// Old leases that were never redeemed.
    pub leases: Vec<(Lease, String, Call, Epoch)>,
    pub tally: BTreeMap<&'static str, u64>,
}

impl World {
    /// Two agents, two accounts, three grants, one person known.
    pub fn new() -> Self {
        let mut disk = Disk::default();
        let time = Time(1_760_000_000_000);
        let guard = disk.start(None, time);
        disk.commit(latch_core::journal::Commit::default());
        let mut world = Self {
            gmail: gmail(),
            guard,
            vault: disk.anchor(),
            disk,
            older: None,
            time,
            wall: time.0,
            mailboxes: ACCOUNTS.map(|account| (account.to_owned(), Mailbox::new())).into(),
            tokens: Vec::new(),
            grants: BTreeMap::new(),
            since: BTreeMap::new(),
            forbidden: Vec::new(),
            generous: false,
            holds: BTreeMap::new(),
            allowances: Vec::new(),
            flights: Vec::new(),
            spent: Vec::new(),
            done: Vec::new(),
            panicked: false,
            stopped: BTreeSet::new(),
            epoch: Epoch(0),
            drawn: 0,
            leases: Vec::new(),
            tally: BTreeMap::new(),
        };
        for (agent, age) in AGENTS.into_iter().zip([NEW_FOR, Span(0)]) {
            let since = world.time - age;
            let pairing = Some(Digest::of(&[format!("{CANARY} {agent}").as_bytes()]));
            let connected = Agent {
                id: agent.to_owned(),
                client_id: agent.to_owned(),
                name: agent.to_owned(),
                program: None,
                pairing,
                since,
            };
            let commit = world.guard.connect(connected, world.now()).unwrap();
            world.disk.commit(commit);
            world.since.insert(agent.to_owned(), since);
        }
        for account in ACCOUNTS {
            let commit = world.guard.learn(account, &[KNOWN.to_owned()]);
            world.disk.commit(commit);
        }
        world.put_grant("claude", "work", Preset::Organize, None);
        world.put_grant("claude", "home", Preset::Assistant, None);
        world.put_grant("other", "work", Preset::Assistant, None);
        world
    }

    /// Both clocks.
    pub fn now(&self) -> Now {
        Now { time: self.time, wall: self.wall }
    }

    /// Notes that something happened, so that a run which only ever refuses is noticed.
    pub fn tally(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// The owner gives or replaces a grant.
    pub fn put_grant(&mut self, agent: &str, account: &str, preset: Preset, life: Option<Span>) {
        let expires_at = life.map(|life| self.time + life);
        let detail = AuthorizationDetail::new(account, preset);
        let grant = Grant { id: String::new(), agent: agent.to_owned(), detail, created_at: self.time, expires_at };
        let (_, commit) = self.guard.grant(grant, self.now()).unwrap();
        self.disk.commit(commit);
        self.grants.insert((agent.to_owned(), account.to_owned()), (preset, expires_at));
    }

    /// The owner takes a grant away.
    pub fn revoke_grant(&mut self, agent: &str, account: &str) {
        let id = self
            .guard
            .grants()
            .find(|grant| grant.agent == agent && grant.account() == account)
            .map(|grant| grant.id.clone());
        let known = self.grants.remove(&(agent.to_owned(), account.to_owned()));
        let over = known.is_some_and(|(_, end)| end.is_some_and(|end| end <= self.time));
        assert!(id.is_some() == known.is_some() || over, "{id:?} {known:?}");
        if let Some(id) = id {
            let commit = self.guard.revoke_grant(&id, self.now()).unwrap();
            self.disk.commit(commit);
        }
    }

    fn draw(&mut self) -> Digest {
        self.drawn += 1;
        Digest::of(&[format!("{CANARY} {}", self.drawn).as_bytes()])
    }

    fn keep(&mut self, hash: Digest, agent: &str) {
        let session = self.guard.authenticate(&hash, self.now()).unwrap();
        assert_eq!(session.agent, agent);
        self.tokens.push(Token { hash, agent: agent.to_owned(), session });
    }

    /// A token for an agent, whole or narrowed.
    pub fn issue(&mut self, agent: &str, requested: Option<Vec<AuthorizationDetail>>) {
        let hash = self.draw();
        match self.guard.issue(agent, hash, requested.as_deref(), None, self.now()) {
            Ok((_, commit)) => {
                assert!(!self.panicked && !self.stopped.contains(agent), "I3: a token while stopped");
                self.disk.commit(commit);
                self.keep(hash, agent);
                self.tally("token");
            }
            Err(error) => assert!(self.panicked || self.stopped.contains(agent) || requested.is_some(), "{error}"),
        }
    }

    /// A child of a token.
    pub fn exchange(&mut self, token: usize, requested: Option<Vec<AuthorizationDetail>>, life: Span) {
        let Some(parent) = self.tokens.get(token).cloned() else { return };
        let hash = self.draw();
        let Ok((_, commit)) = self.guard.exchange(&parent.hash, requested.as_deref(), hash, Some(life), self.now())
        else {
            return;
        };
        assert!(self.is_alive(&parent), "a dead token had a child");
        self.disk.commit(commit);
        let agent = parent.agent.clone();
        if self.guard.authenticate(&hash, self.now()).is_err() {
            assert_eq!(life, Span(0));
            return;
        }
        self.keep(hash, &agent);
        let child = self.tokens.last().unwrap().session.clone();
        assert!(child.expires_at <= parent.session.expires_at, "a child outlives its parent");
        if let (Some(above), Some(own)) = (&parent.session.details, &child.details) {
            assert!(own.is_empty() || exchange::narrow(above, own).is_ok(), "a child exceeds its parent");
        }
        self.tally("exchange");
    }

    /// Whether a token is good for anything.
    pub fn is_alive(&self, token: &Token) -> bool {
        self.guard.panicked().is_none()
            && token.session.epoch == self.epoch
            && token.session.expires_at > self.time
            && !self.stopped.contains(&token.agent)
    }

    /// The details that a request is decided under: the grant's, then the token's.
    pub fn details(&self, session: &Session, account: &str) -> Option<Vec<AuthorizationDetail>> {
        let (preset, end) = self.grants.get(&(session.agent.clone(), account.to_owned()))?;
        if end.is_some_and(|end| end <= self.time) {
            return None;
        }
        let mut details = vec![AuthorizationDetail::new(account, *preset)];
        if let Some(narrowed) = &session.details {
            details.push(narrowed.iter().find(|detail| detail.account() == account)?.clone());
        }
        Some(details)
    }

    /// Who asks for how much.
    pub fn claim<'a>(&self, agent: &'a str, account: &'a str, preset: Preset, counts: &'a [(Meter, u64)]) -> Claim<'a> {
        let is_new = self.time < self.since[agent] + NEW_FOR;
        Claim { agent, account, preset, is_new, counts, now: self.time }
    }

    /// The engine is killed: all that is left is the disk and the vault.
    pub fn crash(&mut self) {
        self.guard = self.disk.start(Some(&self.vault), self.time);
        self.tokens.clear();
        self.flights.clear();
        self.allowances.clear();
        for held in self.holds.values_mut() {
            held.allow = None;
            held.taken = false;
            held.prepared = false;
        }
        assert_eq!(
            self.guard.panicked().is_some(),
            self.panicked,
            "a panic survives a restart, and nothing else panics"
        );
        assert_eq!(self.guard.gate().current(), self.epoch, "the epoch survives a restart");
        self.vault = self.disk.anchor();
        self.tally("crash");
    }

    /// I11: an older copy of the database starts stopped and lets nothing through.
    pub fn put_older_copy_back(&mut self) {
        let Some(older) = self.older.clone() else { return };
        let mut guard = older.start(Some(&self.vault), self.time);
        let is_older = (older.records.len() as u64) < self.vault.seq;
        assert!(!is_older || guard.panicked().is_some(), "I11: an older database worked");
        if is_older {
            let hash = self.draw();
            assert!(
                guard.issue(AGENTS[0], hash, None, None, self.now()).is_err(),
                "I11: a token from an older database"
            );
            self.tally("older copy");
        }
    }

    /// The person's rules.
    pub fn set_rules(&mut self, forbidden: Vec<Class>, generous: bool) {
        let mut rules: String = forbidden
            .iter()
            .map(|class| format!("forbid (principal, action == Action::\"{}\", resource);\n", class.name()))
            .collect();
        if generous {
            rules.push_str("permit (principal, action, resource);\n");
        }
        self.guard.pdp().set_rules(&rules).unwrap();
        Pdp::new(&rules).unwrap();
        self.disk.rules = rules;
        self.forbidden = forbidden;
        self.generous = generous;
    }

    /// Every invariant that can be seen without a step.
    pub fn check(&mut self) {
        assert_eq!(self.guard.panicked().is_some(), self.panicked);
        assert_eq!(self.guard.gate().current(), self.epoch);
        for token in self.tokens.clone() {
            let session = self.guard.authenticate(&token.hash, self.now());
            assert_eq!(session.is_ok(), self.is_alive(&token), "I3, I4: {token:?} at {:?}: {session:?}", self.time);
        }
        for flight in self.flights.iter_mut().filter(|flight| flight.epoch != self.epoch) {
            assert!(self.guard.lease(&mut flight.plan, flight.next).is_err(), "I3: a lease of an older epoch");
        }
        for hold in self.guard.holds() {
            let held = self.holds.get(&hold.id).unwrap_or_else(|| panic!("{} was never announced", hold.id));
            assert_eq!((hold.digest, &hold.agent, &hold.account), (held.digest, &held.agent, &held.account));
            assert!(
                !(held.consumed && (hold.state.waits() || hold.state == State::Allowed)),
                "I2: {} lives again",
                hold.id
            );
            if hold.state == State::Allowed {
                assert!(held.allow.is_some(), "I2: {} was never allowed", hold.id);
            }
            if self.panicked {
                assert!(!hold.state.waits() && hold.state != State::Allowed, "I3: {} waits through a panic", hold.id);
            }
        }
        let now = self.now();
        let up = self.guard.holds().filter(|hold| hold.state.waits() && self.guard.may_come_up(&hold.id, now)).count();
        assert!(up <= latch_core::guard::PROMPTS_A_MINUTE, "{up} dialogs at once");
        while let Some(notice) = self.guard.poll_notice() {
            assert!(!format!("{notice:?}").contains(CANARY), "I7: a secret in {notice:?}");
        }
        for (id, held) in self.holds.iter().filter(|(_, held)| held.consumed) {
            assert!(!self.disk.keeps_hold(id), "I2: {id} of {} could be proposed again", held.agent);
        }
        if !self.generous {
            for (agent, account) in self.grants.keys() {
                // No preset has larger numbers, and none are larger than those of an agent that is not new.
                let claim = Claim { is_new: false, ..self.claim(agent, account, Preset::Assistant, &[]) };
                assert_eq!(overspent(&self.spent, claim), None, "I10");
            }
        }
        assert!(!self.disk.text().contains(CANARY), "I7: a secret on the disk");
    }

    /// The operations of a request.
    pub fn operations(request: &Request) -> Vec<&Operation> {
        request.parts.iter().map(|part| &part.operation).collect()
    }
}
