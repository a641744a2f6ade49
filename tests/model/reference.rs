//! What should be decided, written down a second time and as simply as possible.

use latch_core::grant::{AuthorizationDetail, Preset};
use latch_core::operation::{Class, Meter, Operation};
use latch_core::pdp::Outcome;
use latch_core::time::{Span, Time};

/// Objects that ran, or may run, and when.
#[derive(Debug, Clone)]
pub struct Spent {
    pub time: Time,
    pub agent: String,
    pub account: String,
    pub counts: Vec<(Meter, u64)>,
    /// Ran without the person being asked.
    pub unasked: bool,
    /// A byte left, or its intent is durable.
    pub durable: bool,
}

/// Whether the budgets have room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// However the windows are cut.
    Surely,
    /// Only if something has just left a window.
    Perhaps,
    /// In no case.
    No,
}

/// The presets' table of the design.
pub fn table(preset: Preset, class: Class, fits: bool, known: bool, named: bool) -> Outcome {
    use Class::{Destroy, Divert, Modify, Publish, Read, Remove, Send, Share, Spend, Unclassified};
    use Outcome::{Confirm, Forbid, Permit};
    match (preset, class) {
        (_, Read) if fits => Permit,
        (_, Read) => Confirm,
        (Preset::ReadOnly, _) => Forbid,
        (Preset::AskEverything, _) => Confirm,
        (_, Modify | Remove) if fits => Permit,
        (_, Modify | Remove | Destroy | Unclassified) => Confirm,
        (_, Divert | Spend) if named => Confirm,
        (_, Divert | Spend) => Forbid,
        (Preset::Organize, Send | Publish | Share) => Forbid,
        (Preset::Assistant, Send) if fits && known => Permit,
        (Preset::Assistant, Send | Publish | Share) => Confirm,
    }
}

fn numbers(preset: Preset, meter: Meter, is_new: bool) -> [u64; 2] {
    let half = |[short, day]: [u64; 2]| if is_new { [short.div_ceil(2), day.div_ceil(2)] } else { [short, day] };
    match (meter, preset) {
        (Meter::Read, _) => [500, 5_000],
        (_, Preset::ReadOnly | Preset::AskEverything) | (Meter::Send, Preset::Organize) => [0, 0],
        (Meter::Modify, _) => [200, 2_000],
        (Meter::LeaveInbox, _) => half([20, 200]),
        (Meter::Remove, _) => half([5, 50]),
        (Meter::Send, Preset::Assistant) => [5, 20],
    }
}

/// What a request counts.
pub fn counts(operations: &[&Operation]) -> Vec<(Meter, u64)> {
    let sum = |meter: Meter| {
        let of = |operation: &&Operation| {
            let counted =
                operation.meters.contains(&meter) || (operation.class == Class::Remove && meter == Meter::LeaveInbox);
            let objects = if meter == Meter::Send {
                operation.audience.as_ref().map_or(1, |audience| audience.members.len())
            } else {
                operation.objects.ids().len().max(1)
            };
            if counted { objects as u64 } else { 0 }
        };
        (meter, operations.iter().map(of).sum())
    };
    Meter::ALL.into_iter().map(sum).filter(|(_, count)| *count > 0).collect()
}

/// Who asks for how much under what.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    pub agent: &'a str,
    pub account: &'a str,
    pub preset: Preset,
    pub is_new: bool,
    pub counts: &'a [(Meter, u64)],
    pub now: Time,
}

/// Whether a request fits what is spent.
pub fn fits(spent: &[Spent], claim: Claim<'_>) -> Fits {
    let mut verdict = Fits::Surely;
    for (meter, asked) in claim.counts {
        for (at, (window, slack)) in
            [(Span::minutes(10), Span::seconds(5)), (Span::hours(24), Span::minutes(1))].into_iter().enumerate()
        {
            for all_agents in [false, true] {
                let is_new = claim.is_new && !all_agents;
                let limit = numbers(claim.preset, *meter, is_new)[at] * if all_agents { 2 } else { 1 };
                let used = |window: Span, durable_only: bool| -> u64 {
                    let counts = |one: &&Spent| {
                        one.account == claim.account
                            && (all_agents || one.agent == claim.agent)
                            && (one.durable || !durable_only)
                            && one.time + window > claim.now
                    };
                    let of = |one: &Spent| {
                        one.counts.iter().filter(|(of, _)| of == meter).map(|(_, count)| count).sum::<u64>()
                    };
                    spent.iter().filter(counts).map(of).sum()
                };
                if used(window, true) + asked > limit {
                    return Fits::No;
                }
                if used(Span(window.0 + slack.0), false) + asked > limit {
                    verdict = Fits::Perhaps;
                }
            }
        }
    }
    verdict
}

/// I10, looked at from outside: what ran unasked is within the numbers in every window that ends now.
pub fn overspent(spent: &[Spent], claim: Claim<'_>) -> Option<String> {
    let unasked: Vec<Spent> = spent.iter().filter(|one| one.unasked && one.durable).cloned().collect();
    let nothing: Vec<(Meter, u64)> = Meter::ALL.into_iter().map(|meter| (meter, 0)).collect();
    let over = fits(&unasked, Claim { counts: &nothing, ..claim }) == Fits::No;
    over.then(|| format!("{} ran more unasked on {} than its budget", claim.agent, claim.account))
}

/// The decision on a whole request, where the budget is clear.
pub fn outcome(
    details: &[&AuthorizationDetail],
    operations: &[&Operation],
    fits: bool,
    known: bool,
    forbidden: &[Class],
) -> Outcome {
    let of = |detail: &&AuthorizationDetail, operation: &&Operation| {
        if forbidden.contains(&operation.class) {
            return Outcome::Forbid;
        }
        let named = detail.preset() == Preset::AskEverything;
        let outcome = table(detail.preset(), operation.class, fits, known, named);
        if operation.opaque { outcome.max(Outcome::Confirm) } else { outcome }
    };
    details
        .iter()
        .flat_map(|detail| operations.iter().map(move |operation| of(detail, operation)))
        .max()
        .unwrap_or(Outcome::Forbid)
}
