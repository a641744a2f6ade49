//! From the core's plain data to what a person is shown.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use latch_core::catalog::Provider;
use latch_core::classify::sieve::LOOK_OUT;
use latch_core::guard::{Guard, Now};
use latch_core::hold::{Allowance, Hold, State};
use latch_core::operation::{Class, MAX_SHOWN, Operation};
use latch_core::recipe::cut;
use latch_core::scope::{Denial, Rule};
use latch_core::time::Time;
use latch_ipc::contract::Verdict;
use latch_ipc::view::{
    AgentView, AnswerView, AudienceMember, AudienceView, ClassCount, Fact, GrantView, HoldState, HoldView, ObjectView,
    RecentView, Reversible, RuleView, SenderCount, Summary,
};

/// The most senders that a summary names.
const MAX_SENDERS: usize = 50;
/// Labels of what is too long to be shown whole, in characters.
const LONGEST_LABEL: usize = 100;

/// RFC 3339 in UTC of milliseconds since the Unix epoch.
pub(crate) fn rfc3339(millis: u64) -> String {
    i64::try_from(millis)
        .ok()
        .and_then(|millis| Timestamp::from_millisecond(millis).ok())
        .unwrap_or_default()
        .to_string()
}

/// A moment of the guard's clock as wall time.
pub(crate) fn wall(time: Time, now: Now) -> String {
    let wall = if time >= now.time {
        now.wall.saturating_add(time.since(now.time).0)
    } else {
        now.wall.saturating_sub(now.time.since(time).0)
    };
    rfc3339(wall)
}

pub(crate) fn class(class: Class) -> latch_ipc::view::Class {
    use latch_ipc::view::Class as View;
    match class {
        Class::Read => View::Read,
        Class::Modify => View::Modify,
        Class::Remove => View::Remove,
        Class::Unclassified => View::Unclassified,
        Class::Send => View::Send,
        Class::Publish => View::Publish,
        Class::Share => View::Share,
        Class::Destroy => View::Destroy,
        Class::Spend => View::Spend,
        Class::Divert => View::Divert,
    }
}

pub(crate) fn state(hold: &Hold) -> HoldState {
    let in_part = hold.allowed.as_ref().is_some_and(|allowed| allowed.objects.is_some());
    match hold.state {
        State::Preparing => HoldState::Preparing,
        State::Open => HoldState::Open,
        State::Proposal => HoldState::Proposal,
        State::Allowed | State::Running | State::Done if in_part => HoldState::AllowedInPart,
        State::Allowed | State::Running | State::Done => HoldState::Allowed,
        State::Denied => HoldState::Denied,
        State::Expired | State::Failed => HoldState::Expired,
    }
}

/// What of a hold is told.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page {
    /// Objects before this one are not.
    pub(crate) offset: usize,
    /// The most objects.
    pub(crate) limit: usize,
    /// Whether what the request says is.
    pub(crate) facts: bool,
}

impl Page {
    pub(crate) const ALL: Self = Self { offset: 0, limit: usize::MAX, facts: true };
}

pub(crate) fn hold(hold: &Hold, provider: &Provider, guard: &Guard, page: Page, now: Now) -> HoldView {
    let operations = || hold.request.parts.iter().map(|part| &part.operation);
    let chief = operations().max_by_key(|operation| operation.class);
    let noun = noun(provider, chief.and_then(|operation| operation.objects.kind()), hold.class);
    let retypes = latch_core::guard::retypes(hold.class);
    let softened = operations().any(|operation| operation.soften.is_some() && operation.class == Class::Destroy);
    let (reversible, undo_text) = reversible(hold, chief, softened);
    HoldView {
        id: hold.id.clone(),
        digest: hold.digest.to_string(),
        agent: hold.agent.clone(),
        agent_name: guard.agent(&hold.agent).map_or_else(|| hold.agent.clone(), |agent| agent.name.clone()),
        program: hold.program.clone(),
        class: class(hold.class),
        account: hold.account.clone(),
        verb: chief.map(|operation| operation.verb.clone()).unwrap_or_default(),
        keep: chief
            .map(|operation| latch_ipc::words::keep(&provider.keep(operation), hold.count()))
            .unwrap_or_default(),
        noun,
        count: hold.count(),
        objects: hold.objects.iter().skip(page.offset).take(page.limit).map(object).collect(),
        summary: summary(hold),
        facts: if page.facts { facts(hold) } else { Vec::new() },
        audience: audience(hold),
        reversible,
        undo_text,
        agent_reason: hold.agent_reason.clone(),
        why: hold.why.clone(),
        partial: hold.is_divisible(),
        task_scope: hold.is_gentle() && !hold.objects.is_empty(),
        rules: Rule::offered(hold, now.wall)
            .iter()
            .map(|rule| RuleView { id: rule.id().to_string(), text: rule.text() })
            .collect(),
        memorable: Denial::kind(&hold.request).is_some(),
        forever: softened,
        retype: retypes,
        state: state(hold),
        opened_at: wall(hold.opened_at, now),
        expires_at: wall(hold.expires_at, now),
        waiting: hold.waiting > 0,
        prompt: guard.may_come_up(&hold.id, now),
        recent: recent(guard, &hold.agent, now),
    }
}

fn object(held: &latch_core::hold::HeldObject) -> ObjectView {
    match &held.view {
        Some(view) => ObjectView {
            id: held.id.clone(),
            title: view.title.clone(),
            from: view.from.clone(),
            date: view.date.clone(),
            flags: view.flags.clone(),
            pending: false,
        },
        None => ObjectView { id: held.id.clone(), pending: true, ..ObjectView::default() },
    }
}

fn summary(hold: &Hold) -> Summary {
    let mut senders: BTreeMap<&str, u32> = BTreeMap::new();
    let mut summary = Summary::default();
    for view in hold.objects.iter().filter_map(|held| held.view.as_ref()) {
        if let Some(from) = &view.from {
            *senders.entry(from).or_default() += 1;
        }
        if let Some(date) = &view.date {
            if summary.oldest.as_ref().is_none_or(|oldest| date < oldest) {
                summary.oldest = Some(date.clone());
            }
            if summary.newest.as_ref().is_none_or(|newest| date > newest) {
                summary.newest = Some(date.clone());
            }
        }
        let has = |flag: &str| u32::from(view.flags.iter().any(|one| one == flag));
        summary.starred += has("starred");
        summary.unread += has("unread");
        summary.important += has("important");
    }
    let mut senders: Vec<SenderCount> =
        senders.into_iter().map(|(sender, count)| SenderCount { sender: sender.to_owned(), count }).collect();
    senders.sort_by_key(|sender| std::cmp::Reverse(sender.count));
    senders.truncate(MAX_SENDERS);
    summary.senders = senders;
    summary
}

fn facts(hold: &Hold) -> Vec<Fact> {
    let mut facts: Vec<Fact> = Vec::new();
    if hold.request.batch {
        let mut verbs: BTreeMap<&str, u32> = BTreeMap::new();
        for part in &hold.request.parts {
            *verbs.entry(&part.operation.verb).or_default() += 1;
        }
        let text: Vec<String> = verbs.into_iter().map(|(verb, count)| format!("{verb}: {count}")).collect();
        facts.push(Fact { label: "Batch of".to_owned(), value: text.join(", ") });
    }
    let all = hold.request.parts.iter().flat_map(|part| &part.operation.facts);
    let length = hold.request.text_length();
    if length <= MAX_SHOWN {
        facts.extend(all.map(|fact| Fact { label: fact.label.clone(), value: fact.value.clone() }));
        facts.extend(size(hold));
        return facts;
    }
    let value = format!("There is too much to read in this ({} KB), so it can only be denied", length / 1000);
    facts.insert(0, Fact { label: LOOK_OUT.to_owned(), value });
    let mut room = MAX_SHOWN / 2;
    for fact in all {
        let label = cut(fact.label.clone(), LONGEST_LABEL);
        let value = cut(fact.value.clone(), room / 4);
        room = room.saturating_sub(label.len() + value.len() + LONGEST_LABEL);
        if room == 0 {
            break;
        }
        facts.push(Fact { label, value });
    }
    facts
}

/// How large the objects are together, once that is known of each.
fn size(hold: &Hold) -> Option<Fact> {
    let sizes = hold.objects.iter().map(|held| held.view.as_ref()?.size);
    let total = sizes.reduce(|all, one| Some(all?.saturating_add(one?)))??;
    let value = match total {
        0..1000 => format!("{total} bytes"),
        1000..1_000_000 => format!("{} KB", total.div_ceil(1000)),
        _ => format!("{}.{} MB", total / 1_000_000, total % 1_000_000 / 100_000),
    };
    Some(Fact { label: "Size".to_owned(), value })
}

fn audience(hold: &Hold) -> Option<AudienceView> {
    let mut seen = BTreeSet::new();
    let mut view = AudienceView::default();
    let (mut any, mut room) = (false, MAX_SHOWN);
    for audience in hold.request.parts.iter().filter_map(|part| part.operation.audience.as_ref()) {
        any = true;
        view.place = view.place.or_else(|| audience.place.clone());
        for member in audience.members.iter().take_while(|member| {
            room = room.saturating_sub(member.length());
            room > 0
        }) {
            if seen.insert(member.clone()) {
                view.members.push(AudienceMember {
                    address: member.address.clone(),
                    role: member.role.clone(),
                    first_time: hold.first_time.contains(&*member.known_as()),
                });
            }
        }
    }
    any.then_some(view)
}

fn reversible(hold: &Hold, chief: Option<&Operation>, softened: bool) -> (Reversible, String) {
    if chief.is_none() {
        return (Reversible::Unknown, String::new());
    }
    let undoable = hold.request.parts.iter().all(|part| part.operation.undo.is_some());
    let (kind, text) = match hold.class {
        Class::Unclassified => (Reversible::Unknown, "Nobody knows what this does, or whether it can be taken back."),
        Class::Send => (Reversible::No, "Once sent, it can't be called back."),
        Class::Publish => (Reversible::No, "Once published, others may have read it."),
        Class::Destroy if softened => {
            (Reversible::Softened, "They are moved to the Trash instead, and Undo moves them back.")
        }
        Class::Read => (Reversible::Yes, "Reading changes nothing."),
        Class::Divert if undoable => {
            (Reversible::Yes, "Undo takes it back. What it did to mail until then can't be undone.")
        }
        Class::Share if undoable => (Reversible::Yes, "Undo takes it back. Others may have read things until then."),
        Class::Modify | Class::Remove | Class::Destroy | Class::Spend if undoable => {
            let partly = chief.and_then(latch_core::undo::dav::promise);
            return (Reversible::Yes, partly.unwrap_or_else(|| "Undo puts everything back as it was.".to_owned()));
        }
        Class::Modify | Class::Remove | Class::Share | Class::Destroy | Class::Spend | Class::Divert => {
            (Reversible::No, "This can't be undone.")
        }
    };
    (kind, text.to_owned())
}

/// What the objects are called; without objects it is the mail that is sent, or the change that is made.
pub(crate) fn noun(provider: &Provider, kind: Option<&str>, class: Class) -> [String; 2] {
    match (kind, class) {
        (Some(kind), _) => provider.noun(kind),
        (None, Class::Send) => ["message".to_owned(), "messages".to_owned()],
        (None, _) => ["change".to_owned(), "changes".to_owned()],
    }
}

/// A denial that is remembered.
pub(crate) fn denial(denial: &Denial, now: Now) -> AnswerView {
    AnswerView {
        id: denial.id.clone(),
        verdict: Verdict::Deny,
        agent: denial.agent.clone(),
        account: denial.account.clone(),
        verb: denial.verb.clone(),
        text: "whenever it would be asked".to_owned(),
        expires_at: denial.expires_at.map(|end| wall(end, now)),
    }
}

/// What an Allow left behind.
pub(crate) fn allowance(allowance: &Allowance, now: Now) -> AnswerView {
    let listed = match allowance.objects.len() {
        0 => None,
        1 => Some("1 that you saw".to_owned()),
        count => Some(format!("{count} that you saw")),
    };
    let rule = allowance.rule.as_ref().map(latch_core::scope::Rule::text);
    AnswerView {
        id: allowance.id.clone(),
        verdict: Verdict::Allow,
        agent: allowance.agent.clone(),
        account: allowance.account.clone(),
        verb: allowance.verb.clone(),
        text: listed.into_iter().chain(rule).collect::<Vec<_>>().join(", and "),
        expires_at: Some(wall(allowance.expires_at, now)),
    }
}

/// What an agent did lately.
pub(crate) fn recent(guard: &Guard, agent: &str, now: Now) -> RecentView {
    let recent = guard.recent(agent, now);
    RecentView {
        last_hour: recent.counts.into_iter().map(|(one, count)| ClassCount { class: class(one), count }).collect(),
        denied: recent.denied,
    }
}

pub(crate) fn grant(grant: &latch_core::grant::Grant, now: Now) -> GrantView {
    GrantView {
        id: grant.id.clone(),
        agent: grant.agent.clone(),
        account: grant.account().to_owned(),
        preset: grant.preset().name().to_owned(),
        summary: grant.detail.summary(),
        expires_at: grant.expires_at.map(|end| wall(end, now)),
    }
}

pub(crate) fn agent(agent: &latch_core::guard::Agent, guard: &Guard, now: Now) -> AgentView {
    let (tokens, last) = guard.live_tokens(&agent.id, now);
    AgentView {
        id: agent.id.clone(),
        client_id: agent.client_id.clone(),
        name: agent.name.clone(),
        program: agent.program.clone(),
        grants: guard.grants().filter(|one| one.agent == agent.id).map(|one| grant(one, now)).collect(),
        tokens,
        token_expires_at: last.map(|end| wall(end, now)),
        stopped: guard.is_stopped(&agent.id),
        paused_until: guard.paused_until(&agent.id, now).map(|until| wall(until, now)),
        recent: recent(guard, &agent.id, now),
    }
}
