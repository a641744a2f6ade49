//! What of all policies can matter to one agent, account and Class.

use std::sync::atomic::{AtomicU8, Ordering};

use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, Policy, PolicySet, PolicySetError, Request,
    RestrictedExpression,
};

use super::rules::{BEYOND, FLAGS, Rule, Sight};
use crate::operation::Member;

/// What follows from all policies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// It runs.
    Permit,
    /// The person is asked.
    Confirm,
    /// It is refused.
    Forbid,
}

impl Outcome {
    /// Its lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Confirm => "confirm",
            Self::Forbid => "forbid",
        }
    }
}

/// The flags of a request, one bit for each of [`FLAGS`], in that order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub(crate) struct Flags(u8);

impl Flags {
    pub(crate) const COMBINATIONS: u8 = 1 << FLAGS.len();

    pub(crate) fn new(values: [bool; FLAGS.len()]) -> Self {
        Self(values.iter().rev().fold(0, |bits, value| bits << 1 | u8::from(*value)))
    }

    /// These, and every set that has more of the flags that a wider grant could set.
    fn raised(self, swaying: u8) -> impl Iterator<Item = Self> {
        let unset = swaying & !self.0;
        (0..=unset).filter(move |more| more & !unset == 0).map(move |more| Self(self.0 | more))
    }

    pub(crate) fn each(self) -> impl Iterator<Item = (&'static str, bool)> {
        FLAGS.into_iter().enumerate().map(move |(bit, name)| (name, self.0 & (1 << bit) != 0))
    }
}

/// What a request says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) flags: Flags,
    pub(crate) operation: &'a str,
    pub(crate) count: u32,
    pub(crate) recipients: &'a [Member],
}

/// What some policies say, mild to strict; together they say the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Vote {
    Nothing,
    Permit,
    Forbid,
    Error,
}

impl Vote {
    const fn bits(self) -> u8 {
        match self {
            Self::Nothing => 0,
            Self::Permit => 1,
            Self::Forbid => 2,
            Self::Error => 3,
        }
    }

    const fn of(bits: u8) -> Self {
        match bits & 3 {
            0 => Self::Nothing,
            1 => Self::Permit,
            2 => Self::Forbid,
            _ => Self::Error,
        }
    }
}

/// The votes before the person is asked, and after a yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Votes {
    unasked: Vote,
    confirmed: Vote,
}

impl Votes {
    fn and(self, other: Self) -> Self {
        Self { unasked: self.unasked.max(other.unasked), confirmed: self.confirmed.max(other.confirmed) }
    }

    const fn outcome(self) -> Outcome {
        match (self.unasked, self.confirmed) {
            (Vote::Permit, _) => Outcome::Permit,
            (Vote::Nothing | Vote::Forbid, Vote::Permit) => Outcome::Confirm,
            (Vote::Nothing | Vote::Forbid, Vote::Nothing | Vote::Forbid | Vote::Error) | (Vote::Error, _) => {
                Outcome::Forbid
            }
        }
    }

    /// Whether other policies can't change the outcome.
    const fn settled(self) -> bool {
        matches!(self.unasked, Vote::Error)
            || (matches!(self.unasked, Vote::Forbid) && matches!(self.confirmed, Vote::Forbid | Vote::Error))
    }
}

const KNOWN: u8 = 1 << 7;

/// The policies of a cell.
#[derive(Debug)]
pub(crate) struct Cell {
    agent: EntityUid,
    action: EntityUid,
    account: EntityUid,
    flagged: PolicySet,
    table: Vec<AtomicU8>,
    rest: PolicySet,
    sight: Sight,
    /// The flags that a grant sets and a rule of the person's looks at.
    swaying: u8,
    has_rules: bool,
}

impl Cell {
    pub(super) fn build<'r>(
        agent: EntityUid,
        action: EntityUid,
        account: EntityUid,
        links: PolicySet,
        rules: impl Iterator<Item = &'r Rule>,
    ) -> Result<Self, Box<PolicySetError>> {
        let (mut flagged, mut rest, mut sight, mut has_rules) = (links, PolicySet::new(), Sight::default(), false);
        let mut swaying = 0;
        for rule in rules {
            let set = if rule.sight.beyond_flags() { &mut rest } else { &mut flagged };
            set.add(rule.policy.clone()).map_err(Box::new)?;
            if rule.sight.beyond_flags() {
                sight = sight.and(rule.sight);
            }
            if is_the_persons(&rule.policy) {
                has_rules = true;
                swaying |= rule.sight.of_the_grant();
            }
        }
        let table = (0..Flags::COMBINATIONS).map(|_| AtomicU8::new(0)).collect();
        Ok(Self { agent, action, account, flagged, table, rest, sight, swaying, has_rules })
    }

    /// The outcome, with the flags under which it follows. A rule may forbid, or not permit, what a wider grant would bring: then a narrower one is
    /// not better off (I5), so the strictest outcome of all wider ones counts.
    pub(crate) fn outcome(&self, facts: Facts<'_>, entities: &Entities) -> (Outcome, Flags) {
        let all = facts.flags.raised(self.swaying).map(|flags| (self.under(Facts { flags, ..facts }, entities), flags));
        all.reduce(|worst, one| if one.0 > worst.0 { one } else { worst }).unwrap_or((Outcome::Forbid, facts.flags))
    }

    fn under(&self, facts: Facts<'_>, entities: &Entities) -> Outcome {
        let tabled = self.tabled(facts, entities);
        if self.rest.is_empty() || tabled.settled() {
            return tabled.outcome();
        }
        let unasked = self.vote(&self.rest, self.sight, false, facts, entities);
        let votes = Votes { unasked, confirmed: unasked };
        if !self.sight.sees_confirmed() || matches!(tabled.and(votes).unasked, Vote::Permit | Vote::Error) {
            return tabled.and(votes).outcome();
        }
        tabled.and(Votes { confirmed: self.vote(&self.rest, self.sight, true, facts, entities), ..votes }).outcome()
    }

    fn tabled(&self, facts: Facts<'_>, entities: &Entities) -> Votes {
        let entry = self.table.get(usize::from(facts.flags.0));
        let known = entry.map_or(0, |entry| entry.load(Ordering::Relaxed));
        if known & KNOWN != 0 {
            return Votes { unasked: Vote::of(known), confirmed: Vote::of(known >> 2) };
        }
        let [unasked, confirmed] =
            [false, true].map(|confirmed| self.vote(&self.flagged, Sight::ALL, confirmed, facts, entities));
        if let Some(entry) = entry {
            entry.store(KNOWN | confirmed.bits() << 2 | unasked.bits(), Ordering::Relaxed);
        }
        Votes { unasked, confirmed }
    }

    fn vote(&self, set: &PolicySet, sight: Sight, confirmed: bool, facts: Facts<'_>, entities: &Entities) -> Vote {
        let Some(request) = self.request(sight, confirmed, facts) else {
            return Vote::Error;
        };
        let response = Authorizer::new().is_authorized(&request, set, entities);
        let diagnostics = response.diagnostics();
        match response.decision() {
            _ if diagnostics.errors().next().is_some() => Vote::Error,
            Decision::Allow => Vote::Permit,
            Decision::Deny if diagnostics.reason().next().is_some() => Vote::Forbid,
            Decision::Deny => Vote::Nothing,
        }
    }

    /// `None` where Cedar takes no such request, which counts as an error. What no policy looks at is left out.
    fn request(&self, sight: Sight, confirmed: bool, facts: Facts<'_>) -> Option<Request> {
        let beyond = |name: &'static str| match name {
            "operation" => RestrictedExpression::new_string(facts.operation.to_owned()),
            "count" => RestrictedExpression::new_long(i64::from(facts.count)),
            _ => {
                let address = |member: &Member| RestrictedExpression::new_string(member.address.clone());
                RestrictedExpression::new_set(facts.recipients.iter().map(address))
            }
        };
        let flags = facts.flags.each().chain([("confirmed", confirmed)]).filter(|(name, _)| sight.sees(name));
        let pairs = flags
            .map(|(name, value)| (name.to_owned(), RestrictedExpression::new_bool(value)))
            .chain(BEYOND.into_iter().filter(|name| sight.sees(name)).map(|name| (name.to_owned(), beyond(name))));
        let context = Context::from_pairs(pairs).ok()?;
        Request::new(self.agent.clone(), self.action.clone(), self.account.clone(), context, None).ok()
    }

    /// Where the person has rules: the policies that forbid, or can't be evaluated, with and without the person's yes.
    pub(crate) fn against(&self, confirmed: bool, facts: Facts<'_>, entities: &Entities) -> Vec<Against<'_>> {
        let request = self.request(Sight::ALL, confirmed, facts);
        let Some(request) = request.filter(|_| self.has_rules) else { return Vec::new() };
        let mut against = Vec::new();
        for set in [&self.flagged, &self.rest] {
            let response = Authorizer::new().is_authorized(&request, set, entities);
            let diagnostics = response.diagnostics();
            let errors = diagnostics
                .errors()
                .map(|cedar_policy::AuthorizationError::PolicyEvaluationError(error)| (error.policy_id(), true));
            let reasons = diagnostics.reason().filter(|_| response.decision() == Decision::Deny).map(|id| (id, false));
            against.extend(
                errors
                    .chain(reasons)
                    .filter_map(|(id, broken)| set.policy(id).map(|policy| Against { policy, broken })),
            );
        }
        against.sort_by_key(|one| (!one.broken, one.policy.id().to_string()));
        against
    }
}

fn is_the_persons(policy: &Policy) -> bool {
    AsRef::<str>::as_ref(policy.id()).starts_with("rule:")
}

/// A policy that stands against a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Against<'a> {
    policy: &'a Policy,
    pub(crate) broken: bool,
}

impl Against<'_> {
    /// Whether the person wrote it.
    pub(crate) fn is_the_persons(&self) -> bool {
        is_the_persons(self.policy)
    }

    /// Its `@reason`, else its `@id`, else its place among the rules.
    pub(crate) fn name(&self) -> String {
        match (self.policy.annotation("reason"), self.policy.annotation("id")) {
            (Some(words), _) | (None, Some(words)) => words.to_owned(),
            (None, None) => {
                let id = self.policy.id().to_string();
                let number: u32 = id.rsplit(':').next().and_then(|number| number.parse().ok()).unwrap_or_default();
                format!("rule {}", number.saturating_add(1))
            }
        }
    }
}
