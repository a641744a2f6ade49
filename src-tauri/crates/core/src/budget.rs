//! How much an agent has done lately (I10): objects counted per agent x account x meter, and per account over all agents.
//!
//! ```text
//!   counts(operations) ──> [(Meter, n)] ──> Meters::room ──> Within | Over     charges(..) ──> Commit ──> Meters::charge
//! ```
//! Two sliding windows a meter. A charge is kept in the bucket of its time and counts until the bucket's end has left the window: up to one bucket
//! too long, never too short. A meter without a number has no room.

use std::collections::{HashMap, VecDeque};

use crate::grant::{AuthorizationDetail, Budget, Grant};
use crate::journal::Charge;
use crate::operation::{Class, Meter, Objects, Operation};
use crate::time::{Span, Time};

/// The account's sum over all agents may reach this many times the grant's number.
pub const ACCOUNT_FACTOR: u32 = 2;

/// A window in which objects are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Window {
    /// Any 10 minutes.
    TenMinutes,
    /// Any 24 hours.
    Day,
}

impl Window {
    const fn span(self) -> Span {
        match self {
            Self::TenMinutes => Span::minutes(10),
            Self::Day => Span::hours(24),
        }
    }

    const fn bucket(self) -> Span {
        match self {
            Self::TenMinutes => Span::seconds(5),
            Self::Day => Span::minutes(1),
        }
    }

    const fn number(self, budget: Budget) -> u32 {
        match self {
            Self::TenMinutes => budget.ten_minutes,
            Self::Day => budget.day,
        }
    }

    /// `10 minutes`, `24 hours`.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Self::TenMinutes => "10 minutes",
            Self::Day => "24 hours",
        }
    }
}

/// Whose number was reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reach {
    /// The agent's own.
    Agent,
    /// That of a token narrowed by exchange.
    Exchanged,
    /// All agents of the account together.
    Account,
}

/// Whether a request fits what is left, as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Room {
    /// It fits on every meter and window.
    Within,
    /// It doesn't.
    Over {
        /// The first meter that it doesn't fit.
        meter: Meter,
        /// The number; zero where the grant has none.
        limit: u32,
        /// In which window.
        window: Window,
        /// Objects counted there already.
        used: u32,
        /// Objects that the request would add.
        asked: u32,
        /// Whose number.
        reach: Reach,
    },
}

/// A question to the meters.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The grant that it would run under.
    pub grant: &'a Grant,
    /// What the token was narrowed to, if it came by exchange.
    pub narrowed: Option<&'a AuthorizationDetail>,
    /// When the agent was connected.
    pub agent_since: Time,
    /// What the whole request counts; see [`counts`].
    pub counts: &'a [(Meter, u32)],
    /// When.
    pub now: Time,
}

/// What a whole request counts, over all its operations.
///
/// Every remove also counts as leaving INBOX, a send counts its recipients, and a change without a meter counts as modify. What is not resolved to
/// objects counts without bound, unless it only reads.
#[must_use]
pub fn counts<'a>(operations: impl IntoIterator<Item = &'a Operation>) -> Vec<(Meter, u32)> {
    let mut counts: Vec<(Meter, u32)> = Vec::new();
    for operation in operations {
        let objects = match (&operation.objects, operation.class) {
            (Objects::Within { .. }, class) if class != Class::Read => u32::MAX,
            (objects, _) => objects.count(),
        };
        let recipients = || operation.audience.as_ref().map_or(1, |audience| saturate(audience.members.len()).max(1));
        let own: &[Meter] = match operation.class {
            Class::Modify if operation.meters.is_empty() => &[Meter::Modify],
            Class::Remove => &[Meter::Remove, Meter::LeaveInbox],
            Class::Send => &[Meter::Send],
            Class::Read
            | Class::Modify
            | Class::Unclassified
            | Class::Publish
            | Class::Share
            | Class::Destroy
            | Class::Spend
            | Class::Divert => &[],
        };
        for (at, meter) in own.iter().chain(&operation.meters).enumerate() {
            if own.iter().chain(&operation.meters).take(at).any(|earlier| earlier == meter) {
                continue;
            }
            let count = if *meter == Meter::Send { recipients() } else { objects };
            match counts.iter_mut().find(|(known, _)| known == meter) {
                Some((_, sum)) => *sum = sum.saturating_add(count),
                None => counts.push((*meter, count)),
            }
        }
    }
    counts
}

/// The counts as charges, to be committed with what they pay for and then given to [`Meters::charge`].
#[must_use]
pub fn charges(agent: &str, account: &str, counts: &[(Meter, u32)], now: Time) -> Vec<Charge> {
    with_inbox(counts)
        .map(|(meter, count)| Charge { agent: agent.to_owned(), account: account.to_owned(), meter, time: now, count })
        .collect()
}

/// Every remove also leaves INBOX, whether the caller said so or not.
fn with_inbox(counts: &[(Meter, u32)]) -> impl Iterator<Item = (Meter, u32)> + '_ {
    let of = |wanted: Meter| {
        counts
            .iter()
            .filter(move |(meter, _)| *meter == wanted)
            .fold(0u32, |sum, (_, count)| sum.saturating_add(*count))
    };
    let unsaid = of(Meter::Remove).saturating_sub(of(Meter::LeaveInbox));
    let said = of(Meter::LeaveInbox);
    counts
        .iter()
        .copied()
        .filter(move |(meter, _)| unsaid == 0 || *meter != Meter::LeaveInbox)
        .chain((unsaid > 0).then_some((Meter::LeaveInbox, said.saturating_add(unsaid))))
}

fn saturate(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Every count that still matters.
#[derive(Debug, Clone, Default)]
pub struct Meters {
    agents: HashMap<String, HashMap<String, Gauges>>,
    accounts: HashMap<String, Gauges>,
}

impl Meters {
    /// Nothing counted yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The meters after a restart, from the charges of the last 24 hours.
    #[must_use]
    pub fn load(charges: impl IntoIterator<Item = Charge>) -> Self {
        let mut charges: Vec<Charge> = charges.into_iter().collect();
        charges.sort_by_key(|charge| charge.time);
        let mut meters = Self::new();
        for charge in &charges {
            meters.charge(charge);
        }
        meters
    }

    /// Whether the request fits. Beyond the room it is held whole.
    #[must_use]
    pub fn room(&self, asked: &Asked<'_>) -> Room {
        let Asked { grant, narrowed, agent_since, now, .. } = *asked;
        let own = self.agents.get(&grant.agent).and_then(|accounts| accounts.get(grant.account()));
        let all = self.accounts.get(grant.account());
        for (meter, count) in with_inbox(asked.counts) {
            let number = grant.detail.budget_for(meter, agent_since, now);
            let doubled = grant.detail.budget(meter).map(|budget| {
                Budget::new(
                    budget.ten_minutes.saturating_mul(ACCOUNT_FACTOR),
                    budget.day.saturating_mul(ACCOUNT_FACTOR),
                )
            });
            let child = narrowed.map(|detail| (detail.budget_for(meter, agent_since, now), own, Reach::Exchanged));
            for (budget, gauges, reach) in
                [Some((number, own, Reach::Agent)), child, Some((doubled, all, Reach::Account))].into_iter().flatten()
            {
                for window in [Window::TenMinutes, Window::Day] {
                    let limit = budget.map_or(0, |budget| window.number(budget));
                    let used = gauges.map_or(0, |gauges| gauges.used(meter, window, now));
                    if budget.is_none() || used.saturating_add(u64::from(count)) > u64::from(limit) {
                        return Room::Over {
                            meter,
                            limit,
                            window,
                            used: u32::try_from(used).unwrap_or(u32::MAX),
                            asked: count,
                            reach,
                        };
                    }
                }
            }
        }
        Room::Within
    }

    /// Counts what was charged.
    pub fn charge(&mut self, charge: &Charge) {
        if !self.agents.contains_key(&charge.agent) {
            self.agents.insert(charge.agent.clone(), HashMap::new());
        }
        if let Some(accounts) = self.agents.get_mut(&charge.agent) {
            accounts.entry(charge.account.clone()).or_default().add(charge);
        }
        self.accounts.entry(charge.account.clone()).or_default().add(charge);
    }

    /// Forgets what has left every window.
    pub fn prune(&mut self, now: Time) {
        for accounts in self.agents.values_mut() {
            accounts.retain(|_, gauges| gauges.prune(now));
        }
        self.agents.retain(|_, accounts| !accounts.is_empty());
        self.accounts.retain(|_, gauges| gauges.prune(now));
    }

    /// What an agent did in the last hour on all accounts; meters without a count are left out.
    #[must_use]
    pub fn last_hour(&self, agent: &str, now: Time) -> Vec<(Meter, u32)> {
        let accounts = self.agents.get(agent);
        Meter::ALL
            .into_iter()
            .map(|meter| {
                let sum: u64 = accounts
                    .into_iter()
                    .flat_map(HashMap::values)
                    .map(|gauges| gauges.since(meter, now - Span::hours(1)))
                    .sum();
                (meter, u32::try_from(sum).unwrap_or(u32::MAX))
            })
            .filter(|(_, count)| *count > 0)
            .collect()
    }
}

/// One account's meters, of one agent or of all.
#[derive(Debug, Clone, Default)]
struct Gauges(HashMap<Meter, Gauge>);

#[derive(Debug, Clone, Default)]
struct Gauge {
    ten_minutes: Slide,
    day: Slide,
}

impl Gauges {
    fn used(&self, meter: Meter, window: Window, now: Time) -> u64 {
        let Some(gauge) = self.0.get(&meter) else { return 0 };
        match window {
            Window::TenMinutes => gauge.ten_minutes.used(window, now),
            Window::Day => gauge.day.used(window, now),
        }
    }

    fn since(&self, meter: Meter, start: Time) -> u64 {
        self.0.get(&meter).map_or(0, |gauge| gauge.day.since(Window::Day, start))
    }

    fn add(&mut self, charge: &Charge) {
        let gauge = self.0.entry(charge.meter).or_default();
        gauge.ten_minutes.add(Window::TenMinutes, charge.time, charge.count);
        gauge.day.add(Window::Day, charge.time, charge.count);
    }

    fn prune(&mut self, now: Time) -> bool {
        self.0.retain(|_, gauge| {
            gauge.ten_minutes.prune(Window::TenMinutes, now);
            gauge.day.prune(Window::Day, now);
            gauge.day.sum > 0 || gauge.ten_minutes.sum > 0
        });
        !self.0.is_empty()
    }
}

/// A sliding window: bucket number and count, oldest first.
#[derive(Debug, Clone, Default)]
struct Slide {
    buckets: VecDeque<(u64, u64)>,
    sum: u64,
}

impl Slide {
    /// Whether all that a bucket may hold has left the window.
    fn left(window: Window, bucket: u64, now: Time) -> bool {
        let end = Time(bucket.saturating_add(1).saturating_mul(window.bucket().0));
        end + window.span() <= now
    }

    fn used(&self, window: Window, now: Time) -> u64 {
        let left = self.buckets.iter().take_while(|(bucket, _)| Self::left(window, *bucket, now));
        self.sum.saturating_sub(left.map(|(_, count)| count).sum())
    }

    fn since(&self, window: Window, start: Time) -> u64 {
        let first = start.0.checked_div(window.bucket().0).unwrap_or(0);
        self.buckets.iter().rev().take_while(|(bucket, _)| *bucket >= first).map(|(_, count)| count).sum()
    }

    fn add(&mut self, window: Window, time: Time, count: u32) {
        let bucket = time.0.checked_div(window.bucket().0).unwrap_or(0);
        let count = u64::from(count);
        self.sum = self.sum.saturating_add(count);
        match self.buckets.back_mut() {
            Some((last, sum)) if *last >= bucket => *sum = sum.saturating_add(count),
            _ => self.buckets.push_back((bucket, count)),
        }
        self.prune(window, time);
    }

    fn prune(&mut self, window: Window, now: Time) {
        while let Some((bucket, count)) = self.buckets.front().copied() {
            if !Self::left(window, bucket, now) {
                break;
            }
            self.sum = self.sum.saturating_sub(count);
            self.buckets.pop_front();
        }
    }
}

#[cfg(test)]
mod tests;
