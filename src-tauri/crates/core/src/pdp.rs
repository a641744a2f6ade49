//! The decision: permit, confirm or forbid.
//!
//! ```text
//!   Question ──> flags ──> policy cell of (agent, account, Class) ──> Outcome ──> Decision, with the reason in words
//! ```
//! An exchanged token is decided twice, under the grant as it stands and under what the token was narrowed to; the stricter wins, and the person's
//! rules permit it nothing that it was not narrowed to.

mod words;

use std::collections::HashMap;
use std::sync::OnceLock;

use crate::budget::{Asked, Meters, Room, counts};
use crate::grant::{AuthorizationDetail, Grant, NEW_FOR, Preset};
use crate::operation::{Class, Meter, Operation};
use crate::policy::{Cell, Facts, Flags, PolicyError, Rules, Shipped};
use crate::time::{Span, Time};

pub use crate::policy::Outcome;

/// How long a mail waits in the outbox unless set otherwise.
pub const OUTBOX_DELAY: Span = Span::seconds(60);

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The agent's grant on the account, as it stands.
    pub grant: &'a Grant,
    /// What the token was narrowed to, if it came by exchange.
    pub narrowed: Option<&'a AuthorizationDetail>,
    /// One operation of the request.
    pub operation: &'a Operation,
    /// Whether the whole request fits the budgets.
    pub room: Room,
    /// Whether the person's own mail, or an allowed send, went to everyone of the audience before.
    pub known_recipients: bool,
    /// The account's addresses, see [`AuthorizationDetail::covers`].
    pub places: Option<&'a [String]>,
    /// When.
    pub now: Time,
}

/// What is to be done with an operation, from mild to strict: of several operations the strictest wins.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Decision {
    /// It runs; a mail only after the delay, until when it can be cancelled.
    Permit {
        /// How long it waits in the outbox.
        delay: Option<Span>,
    },
    /// The person is asked.
    Confirm {
        /// Why, for the person.
        why: String,
    },
    /// It is refused.
    Forbid {
        /// Why, for the agent.
        why: String,
        /// What would be possible instead, for the agent.
        instead: String,
    },
}

impl Decision {
    /// Without the words.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        match self {
            Self::Permit { .. } => Outcome::Permit,
            Self::Confirm { .. } => Outcome::Confirm,
            Self::Forbid { .. } => Outcome::Forbid,
        }
    }
}

/// Decides. Changing the grants or rules starts a new generation of tables.
#[derive(Debug)]
pub struct Pdp {
    shipped: &'static Shipped,
    rules: Rules,
    agents: HashMap<String, HashMap<String, Holding>>,
    presets: HashMap<Preset, Cells>,
    outbox: Span,
}

/// A grant that is in force, with its cells.
#[derive(Debug)]
struct Holding {
    grant: String,
    preset: Preset,
    cells: Cells,
}

/// One cell for each Class, made when first needed.
type Cells = [OnceLock<Option<Cell>>; Class::ALL.len()];

impl Pdp {
    /// The shipped policies and the person's rules; no grants yet.
    pub fn new(rules: &str) -> Result<Self, PolicyError> {
        let shipped = Shipped::get()?;
        let rules = shipped.rules(rules)?;
        let presets = Preset::ALL.into_iter().map(|preset| (preset, Cells::default())).collect();
        Ok(Self { shipped, rules, agents: HashMap::new(), presets, outbox: OUTBOX_DELAY })
    }

    /// Checks rules without taking them over.
    pub fn check_rules(&self, text: &str) -> Result<(), PolicyError> {
        self.shipped.rules(text).map(|_| ())
    }

    /// Takes over the person's rules; on an error the earlier ones stay.
    pub fn set_rules(&mut self, text: &str) -> Result<(), PolicyError> {
        self.rules = self.shipped.rules(text)?;
        for holding in self.agents.values_mut().flat_map(HashMap::values_mut) {
            holding.cells = Cells::default();
        }
        Ok(())
    }

    /// Takes over all grants in force; what is not among them is refused. On an error the earlier ones stay.
    pub fn set_grants(&mut self, grants: &[Grant]) -> Result<(), PolicyError> {
        let mut agents: HashMap<String, HashMap<String, Holding>> = HashMap::new();
        for grant in grants {
            let holding = Holding { grant: grant.id.clone(), preset: grant.preset(), cells: Cells::default() };
            let earlier = agents.entry(grant.agent.clone()).or_default().insert(grant.account().to_owned(), holding);
            if earlier.is_some() {
                return Err(PolicyError::TwoGrants { agent: grant.agent.clone(), account: grant.account().to_owned() });
            }
        }
        self.agents = agents;
        Ok(())
    }

    /// Sets how long a mail waits in the outbox.
    pub fn set_outbox_delay(&mut self, delay: Span) {
        self.outbox = delay;
    }

    /// Decides one operation.
    #[must_use]
    pub fn decide(&self, question: &Question<'_>) -> Decision {
        let grant = question.grant;
        let holding =
            self.agents.get(&grant.agent).and_then(|accounts| accounts.get(grant.account())).filter(|holding| {
                holding.grant == grant.id && holding.preset == grant.preset() && grant.stands(question.now)
            });
        let Some(holding) = holding else { return words::no_grant(question) };
        let own = self.judge(&grant.detail, question, self.cell(&holding.cells, grant, question.operation.class));
        let Some(narrowed) = question.narrowed else { return own };
        if narrowed.account() != grant.account() {
            return words::no_grant(question);
        }
        let child = self.judge(narrowed, question, self.preset_cell(narrowed.preset(), question.operation.class));
        if child.outcome() > own.outcome() { child } else { own }
    }

    /// What each preset would say to an operation: nothing used of its budgets, nobody addressed known, nothing named.
    #[must_use]
    pub fn by_preset(&self, operation: &Operation) -> [(Preset, Outcome); 4] {
        let counts = counts([operation]);
        Preset::ALL.map(|preset| {
            let detail = AuthorizationDetail::new("", preset);
            let grant =
                Grant { id: String::new(), agent: String::new(), detail, created_at: Time(0), expires_at: None };
            let asked =
                Asked { grant: &grant, narrowed: None, agent_since: Time(0), counts: &counts, now: Time(0) + NEW_FOR };
            let room = Meters::new().room(&asked);
            let question = Question {
                grant: &grant,
                narrowed: None,
                operation,
                room,
                known_recipients: false,
                places: None,
                now: asked.now,
            };
            (preset, self.judge(&grant.detail, &question, self.preset_cell(preset, operation.class)).outcome())
        })
    }

    fn cell<'c>(&self, cells: &'c Cells, grant: &Grant, class: Class) -> Option<&'c Cell> {
        let make = || self.shipped.cell(grant.preset(), &grant.agent, grant.account(), class, &self.rules).ok();
        cells.get(class as usize)?.get_or_init(make).as_ref()
    }

    /// A preset without the person's rules.
    fn preset_cell(&self, preset: Preset, class: Class) -> Option<&Cell> {
        let make = || self.shipped.cell(preset, "", "", class, &Rules::default()).ok();
        self.presets.get(&preset)?.get(class as usize)?.get_or_init(make).as_ref()
    }

    fn judge(&self, detail: &AuthorizationDetail, question: &Question<'_>, cell: Option<&Cell>) -> Decision {
        let Some(cell) = cell else { return words::broken() };
        let operation = question.operation;
        let in_scope = detail.covers(operation, question.places);
        // Who gets it can't be told from the request, so no rule about recipients speaks for all of them.
        let sends_somewhere = operation.class == Class::Send
            && operation.audience.as_ref().is_some_and(|audience| audience.place.is_some());
        let flags = Flags::new([
            question.room == Room::Within,
            question.known_recipients,
            detail.names(&operation.action),
            in_scope,
            operation.class == Class::Remove || operation.meters.contains(&Meter::LeaveInbox),
            operation.undo.is_some(),
            !operation.opaque && !sends_somewhere,
        ]);
        let recipients = operation.audience.as_ref().map_or(&[][..], |audience| &audience.members);
        let facts = Facts { flags, operation: &operation.action, count: operation.objects.count(), recipients };
        let (outcome, flags) = cell.outcome(facts, self.shipped.entities());
        let facts = Facts { flags, ..facts };
        match outcome {
            Outcome::Permit if operation.class == Class::Send && self.outbox > Span(0) => {
                Decision::Permit { delay: Some(self.outbox) }
            }
            Outcome::Permit => Decision::Permit { delay: None },
            Outcome::Confirm => {
                let against = cell.against(false, facts, self.shipped.entities());
                Decision::Confirm { why: words::confirm(detail, question, &against) }
            }
            Outcome::Forbid => {
                let mut against = cell.against(true, facts, self.shipped.entities());
                against
                    .extend(cell.against(false, facts, self.shipped.entities()).into_iter().filter(|one| one.broken));
                words::forbid(detail, question, &against)
            }
        }
    }
}

#[cfg(test)]
mod tests;
