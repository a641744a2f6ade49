//! The one owner of authority: who may do what, what waits, what may leave.
//!
//! ```text
//!   token ── authenticate ──> Session ── handle_request ──> Ruling: Forbid | Resolve | Permit | Held | Paused
//!                                                             │ decide (owner)        │
//!                                                             └──> take_allowed ──> Permit ── begin ──> Plan ── intent, lease ──> Lease
//!   panic ── epoch + 1 ──> every older token, lease, hold and allowance is dead
//! ```
//! No IO: time is handed in, what must become durable is handed out as a [`Commit`], what others should know as a [`Notice`].
//! A commit must be durable before what it speaks of is done.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use serde::{Deserialize, Serialize};

use self::tokens::Tokens;
use crate::budget::Meters;
use crate::call::Digest;
use crate::grant::{AuthorizationDetail, Grant};
use crate::hold::{Allowance, Hold};
use crate::journal::{Charge, Kind, Put, Record, Shelf};
use crate::lease::{Epoch, EpochGate};
use crate::operation::Class;
use crate::pdp::Pdp;
use crate::scope::Denial;
use crate::time::{Span, Time};

mod decide;
mod execute;
mod judge;
mod known;
mod phone;
mod prompt;
mod session;
mod standing;
mod stop;
mod tokens;
mod touch;

pub use decide::{BY_CONTROL, BY_NOTIFICATION, DecideError, Decided, Scope, Verdict, retypes};
pub use execute::Stopped;
pub use judge::{Context, Ruling, Unread, Waits};
pub use known::{Doubt, History, MOST_LOOKED_UP, Written};
pub use prompt::{A_MINUTE as PROMPTS_A_MINUTE, AN_HOUR as PROMPTS_AN_HOUR};
pub use session::{GrantError, Introspection, MAX_TOKENS_EACH, TokenError};
pub use standing::EVERYTHING;
pub use standing::Remember;
pub use stop::Cut;
pub use touch::TOUCHED_AT_MOST;

/// The two clocks of a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// The guard's clock, for lifetimes.
    pub time: Time,
    /// Wall time in milliseconds since the Unix epoch, for records.
    pub wall: u64,
}

/// A connected client program, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Agent {
    /// Chosen by the person.
    pub id: String,
    /// Its OAuth client id here.
    pub client_id: String,
    /// For people.
    pub name: String,
    /// The program it was connected with.
    #[serde(default)]
    pub program: Option<String>,
    /// SHA-256 of its pairing secret.
    #[serde(default)]
    pub pairing: Option<Digest>,
    /// When it was connected.
    pub since: Time,
}

/// Who asks, as far as the token says. Valid until it expires or the epoch moves on; both are checked again at every use.
#[derive(Debug, Clone)]
pub struct Session {
    /// The agent.
    pub agent: String,
    /// The token's epoch.
    pub epoch: Epoch,
    /// The token's end.
    pub expires_at: Time,
    /// What an exchange narrowed it to; `None`: everything that is granted to the agent.
    pub details: Option<std::sync::Arc<Vec<AuthorizationDetail>>>,
}

/// What others should know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// A hold waits for the person.
    HoldOpened(String),
    /// A hold's preview grew, or a requester came or left.
    HoldChanged(String),
    /// A hold was decided, or ended by itself.
    HoldClosed(String),
    /// An agent was paused after repeated denials, or for asking too much.
    AgentPaused(String),
    /// A hold or another question that was only in the list may come up by itself now.
    MayComeUp(String),
}

/// What survives a restart besides accounts and rules. Loaded from the store, stored with every change.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persistent {
    /// The epoch.
    pub epoch: u64,
    /// Stopped by a panic, with the reason as a sentence.
    pub panicked: Option<String>,
    /// Agents that wait for Resume.
    pub stopped: BTreeSet<String>,
    /// The last hold's number.
    pub holds: u64,
    /// The last grant's number.
    pub grants: u64,
    /// The last undo entry's number.
    pub undos: u64,
    /// The last number of [`Written`].
    #[serde(default)]
    pub written: u64,
    /// The last remembered denial's number.
    #[serde(default)]
    pub denials: u64,
}

/// Everything that the Guard is started from.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Its own state.
    pub state: Persistent,
    /// Connected programs.
    pub agents: Vec<Agent>,
    /// What they may do.
    pub grants: Vec<Grant>,
    /// Charges of the last 24 hours.
    pub charges: Vec<Charge>,
    /// Holds of modify and remove that were never run: they become proposals.
    pub proposals: Vec<Hold>,
    /// Addresses that the person, or an allowed send, wrote to: account and address.
    pub known: HashSet<(String, String)>,
    /// What agents put among the sent mail, by id.
    pub written: BTreeMap<String, Written>,
    /// Remembered denials.
    pub denials: Vec<Denial>,
    /// The mails whose leaving stops everything, by account.
    pub stop_mails: BTreeMap<String, crate::phone::Anchor>,
}

#[derive(Debug, Clone, Default)]
struct Conduct {
    denials: u32,
    paused_until: Option<Time>,
    /// What ran or was denied lately, oldest first: moment, Class (`None`: denied), objects.
    lately: VecDeque<(Time, Option<Class>, u32)>,
    /// Recipients that were looked up for it, and since when they are counted.
    looked_up: (u32, Time),
}

/// What an agent did in the last hour.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recent {
    /// Objects by Class, reads left out.
    pub counts: BTreeMap<Class, u32>,
    /// Denied requests.
    pub denied: u32,
}

/// Adjustable lifetimes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// Of an access token.
    pub token: Span,
    /// Of a hold.
    pub hold: Span,
    /// Of a proposal.
    pub proposal: Span,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { token: Span::minutes(15), hold: Span::minutes(10), proposal: Span::hours(24) }
    }
}

/// See the module.
pub struct Guard {
    gate: EpochGate,
    pdp: Pdp,
    meters: Meters,
    state: Persistent,
    lifetimes: Lifetimes,
    agents: BTreeMap<String, Agent>,
    grants: BTreeMap<String, Grant>,
    tokens: Tokens,
    holds: BTreeMap<u64, Hold>,
    allowances: Vec<Allowance>,
    conduct: BTreeMap<String, Conduct>,
    known: known::Known,
    denials: Vec<Denial>,
    /// What no rule covers, and until when: account and object.
    spared: HashMap<(String, String), Time>,
    /// The last task allowance's number.
    given: u64,
    places: BTreeMap<String, Vec<String>>,
    stop_mails: BTreeMap<String, crate::phone::Anchor>,
    notices: VecDeque<Notice>,
    prompts: prompt::Prompts,
    /// How many changes began on each account.
    changes: HashMap<String, u64>,
}

impl Guard {
    /// Starts from what was stored. Every token of the former engine is dead: they were kept in memory only.
    #[must_use]
    pub fn new(mut pdp: Pdp, loaded: Loaded, lifetimes: Lifetimes) -> Self {
        let meters = Meters::load(loaded.charges);
        let grants: BTreeMap<String, Grant> =
            loaded.grants.into_iter().map(|grant| (grant.id.clone(), grant)).collect();
        session::link(&mut pdp, &grants);
        let epoch = Epoch(loaded.state.epoch);
        let holds = loaded
            .proposals
            .into_iter()
            .filter_map(|mut hold| {
                hold.state = crate::hold::State::Proposal;
                hold.waiting = 0;
                hold.epoch = epoch;
                number(&hold.id).map(|number| (number, hold))
            })
            .collect();
        Self {
            gate: EpochGate::new(epoch),
            pdp,
            meters,
            state: loaded.state,
            lifetimes,
            agents: loaded.agents.into_iter().map(|agent| (agent.id.clone(), agent)).collect(),
            grants,
            tokens: Tokens::default(),
            holds,
            allowances: Vec::new(),
            conduct: BTreeMap::new(),
            known: known::Known::new(loaded.known, loaded.written),
            denials: loaded.denials,
            spared: HashMap::new(),
            given: 0,
            places: BTreeMap::new(),
            stop_mails: loaded.stop_mails,
            notices: VecDeque::new(),
            prompts: prompt::Prompts::default(),
            changes: HashMap::new(),
        }
    }

    /// The epoch, readable without the Guard.
    #[must_use]
    pub fn gate(&self) -> &EpochGate {
        &self.gate
    }

    /// Why it is stopped; `None` while it works.
    #[must_use]
    pub fn panicked(&self) -> Option<&str> {
        self.state.panicked.as_deref()
    }

    /// Changes lifetimes for what is made from now on.
    pub fn set_lifetimes(&mut self, lifetimes: Lifetimes) {
        self.lifetimes = lifetimes;
    }

    /// The policy decision point, for rules.
    pub fn pdp(&mut self) -> &mut Pdp {
        &mut self.pdp
    }

    /// What each agent did in the last hour, and what is left.
    #[must_use]
    pub fn meters(&self) -> &Meters {
        &self.meters
    }

    /// What an agent did in the last hour.
    #[must_use]
    pub fn recent(&self, agent: &str, now: Now) -> Recent {
        let mut recent = Recent::default();
        let lately = self.conduct.get(agent).into_iter().flat_map(|conduct| &conduct.lately);
        for (_, class, count) in lately.filter(|(time, _, _)| now.time.since(*time) < Span::hours(1)) {
            match class {
                Some(class) => *recent.counts.entry(*class).or_default() += count,
                None => recent.denied += 1,
            }
        }
        recent
    }

    fn note(&mut self, agent: &str, class: Option<Class>, count: u32, now: Now) {
        let lately = &mut self.conduct.entry(agent.to_owned()).or_default().lately;
        match lately.back_mut() {
            Some((time, last, sum))
                if *last == class && class.is_some() && now.time.since(*time) < Span::minutes(1) =>
            {
                *sum = sum.saturating_add(count);
            }
            _ => lately.push_back((now.time, class, count)),
        }
        while lately.front().is_some_and(|(time, _, _)| now.time.since(*time) >= Span::hours(1)) || lately.len() > 600 {
            lately.pop_front();
        }
    }

    /// All agents.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// One agent.
    #[must_use]
    pub fn agent(&self, id: &str) -> Option<&Agent> {
        self.agents.get(id)
    }

    /// All grants.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// Whether an agent waits for Resume.
    #[must_use]
    pub fn is_stopped(&self, agent: &str) -> bool {
        self.state.stopped.contains(agent)
    }

    /// Until when an agent is paused.
    #[must_use]
    pub fn paused_until(&self, agent: &str, now: Now) -> Option<Time> {
        self.conduct.get(agent).and_then(|conduct| conduct.paused_until).filter(|until| *until > now.time)
    }

    /// An agent's live tokens, and when the last one ends.
    #[must_use]
    pub fn live_tokens(&self, agent: &str, now: Now) -> (u32, Option<Time>) {
        let ends = self
            .tokens
            .of(agent)
            .filter(|token| token.expires_at > now.time && self.gate.admits(token.epoch))
            .map(|token| token.expires_at);
        let last = ends.clone().max();
        (u32::try_from(ends.count()).unwrap_or(u32::MAX), last)
    }

    /// All holds, oldest first.
    pub fn holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.values()
    }

    /// One hold.
    #[must_use]
    pub fn hold(&self, id: &str) -> Option<&Hold> {
        self.holds.get(&number(id)?)
    }

    fn hold_mut(&mut self, id: &str) -> Option<&mut Hold> {
        self.holds.get_mut(&number(id)?)
    }

    /// Whether a hold or another question may come up by itself; all others only wait in the list.
    #[must_use]
    pub fn may_come_up(&self, id: &str, now: Now) -> bool {
        self.prompts.is_up(id, now.time)
    }

    /// Something else than a hold waits for the person, until it ends by itself. `asker`: whom it is counted for.
    pub fn handle_asked(&mut self, id: &str, asker: &str, until: Option<Time>, now: Now) {
        self.prompts.enter(id, asker, until, now.time);
        // Whoever asks says itself that it did.
        let others = self.prompts.poll(now.time).into_iter().filter(|came| came != id);
        self.notices.extend(others.map(Notice::MayComeUp));
    }

    /// It was answered.
    pub fn handle_answered(&mut self, id: &str, now: Now) {
        self.prompts.leave(id, now.time);
        self.give_places(now);
    }

    /// Lets questions come up for which there is a place by now; whether there were any. To be called once a second or so.
    pub fn give_places(&mut self, now: Now) -> bool {
        let came = self.prompts.poll(now.time);
        let any = !came.is_empty();
        self.notices.extend(came.into_iter().map(Notice::MayComeUp));
        any
    }

    /// At which addresses an account is: its own and the door's. Grants may be for some of them only.
    pub fn set_places(&mut self, account: &str, places: &[String]) {
        let places = places.iter().filter_map(|place| crate::grant::location::normal(place)).collect();
        self.places.insert(account.to_owned(), places);
    }

    /// The next thing that others should know.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    /// A new undo entry's id, and what makes it unique across restarts.
    pub fn next_undo(&mut self) -> (String, Put) {
        self.state.undos = self.state.undos.saturating_add(1);
        (format!("u{}", self.state.undos), self.state_put())
    }

    fn state_put(&self) -> Put {
        let value = serde_json::to_value(&self.state).unwrap_or_default();
        Put { shelf: Shelf::State, id: "guard".to_owned(), value }
    }
}

/// A record with nothing but its kind, its moment and a sentence.
#[must_use]
pub fn record(now: Now, kind: Kind, text: impl Into<String>) -> Record {
    Record {
        wall: now.wall,
        time: now.time,
        kind,
        agent: None,
        account: None,
        action: None,
        class: None,
        count: 0,
        text: text.into(),
        refers: None,
        digest: None,
        undo: None,
        object_text: None,
    }
}

/// The number in `h12`.
fn number(id: &str) -> Option<u64> {
    id.strip_prefix('h')?.parse().ok()
}

#[cfg(test)]
mod tests;
