//! Why, in words: to the person who is asked, and to the agent that is refused.

use super::{Decision, Question};
use crate::budget::{Reach, Room};
use crate::grant::{AuthorizationDetail, Preset};
use crate::operation::{Class, Meter};
use crate::policy::Against;

const NO_RETRY: &str = "Trying again will not help.";

/// What an agent would do, after "may" or "to".
const fn deed(class: Class) -> &'static str {
    match class {
        Class::Read => "read",
        Class::Modify => "change anything",
        Class::Remove => "remove anything",
        Class::Unclassified => "make requests whose effect is unknown",
        Class::Send => "send mail",
        Class::Publish => "publish anything",
        Class::Share => "give others access",
        Class::Destroy => "delete anything for ever",
        Class::Spend => "spend money",
        Class::Divert => "redirect mail or change who has access",
    }
}

/// What a meter counts.
const fn counted(meter: Meter) -> [&'static str; 2] {
    match meter {
        Meter::Read => ["read", "reads"],
        Meter::Modify => ["change", "changes"],
        Meter::LeaveInbox => ["move out of the inbox", "moves out of the inbox"],
        Meter::Remove => ["removal", "removals"],
        Meter::Send => ["mail address", "mail addresses"],
    }
}

pub(super) fn confirm(detail: &AuthorizationDetail, question: &Question<'_>, against: &[Against<'_>]) -> String {
    if let Some(rule) = against.iter().find(|one| one.is_the_persons()) {
        return format!("One of your rules asks first: {}.", rule.name());
    }
    let preset_asks = detail.preset() == Preset::AskEverything && question.operation.class != Class::Read;
    if question.operation.opaque {
        return "What it contains can't be read, so it can only be refused.".to_owned();
    }
    match question.operation.class {
        Class::Unclassified => "Its effect is unknown, and that is always asked.".to_owned(),
        Class::Destroy => "Deleting for ever is always asked.".to_owned(),
        Class::Divert => "It redirects mail or changes who has access later, and that is always asked.".to_owned(),
        Class::Spend => "It spends money, and that is always asked.".to_owned(),
        _ if preset_asks => "You chose to be asked for everything but reading.".to_owned(),
        Class::Publish => "Others could read it, and that is asked each time.".to_owned(),
        Class::Share => "Somebody gains access, and that is asked each time.".to_owned(),
        Class::Send if !question.known_recipients => "It goes to somebody you have not written to before.".to_owned(),
        Class::Read | Class::Modify | Class::Remove | Class::Send => match question.room {
            Room::Over { meter, limit, window, used, asked, reach } => {
                let [one, many] = counted(meter);
                let noun = if limit == 1 { one } else { many };
                let whose = match reach {
                    Reach::Agent => "Over its budget",
                    Reach::Exchanged => "Over the budget of its narrowed token",
                    Reach::Account => "Over the budget of all agents of this account together",
                };
                let asked = if asked == u32::MAX { "an unknown number".to_owned() } else { asked.to_string() };
                format!("{whose} of {limit} {noun} in {}: {used} used, {asked} more asked for.", window.words())
            }
            Room::Within => "The grant asks for it.".to_owned(),
        },
    }
}

pub(super) fn forbid(detail: &AuthorizationDetail, question: &Question<'_>, against: &[Against<'_>]) -> Decision {
    let operation = question.operation;
    let (why, instead) = if let Some(rule) = against.iter().find(|one| one.broken) {
        (
            format!("A rule of the person ({}) can't be evaluated, which counts as a no.", rule.name()),
            "Tell the person, who can mend the rule.".to_owned(),
        )
    } else if let Some(rule) = against.iter().find(|one| one.is_the_persons()) {
        (
            format!("A rule of the person forbids it: {}.", rule.name()),
            "Tell the person what you wanted to do; only they can do it or change the rule.".to_owned(),
        )
    } else if !detail.covers(operation, question.places) {
        (
            format!("{} does not include {}.", subject(detail, question), operation.action),
            format!("What it includes: {} Ask the person for more if you need it.", detail.summary()),
        )
    } else if matches!(operation.class, Class::Divert | Class::Spend) && detail.preset() != Preset::ReadOnly {
        (
            format!("{} does not name {}, so you may not {}.", subject(detail, question), operation.action, deed(operation.class)),
            "Ask the person to do it themselves, or to name this action in the grant; then they will be asked each time.".to_owned(),
        )
    } else {
        let preset = detail.preset();
        let instead = match (preset, operation.class) {
            (Preset::Organize, Class::Send) => "Leave a draft and tell the person, who can send it.",
            (Preset::Organize, _) => "Tell the person what you wanted to do, or leave a draft.",
            (Preset::ReadOnly, _) => "Tell the person what you would change; they can do it, or widen the grant.",
            (Preset::Assistant | Preset::AskEverything, _) => "Tell the person what you wanted to do.",
        };
        (
            format!("{} is {preset}: you may not {}.", subject(detail, question), deed(operation.class)),
            instead.to_owned(),
        )
    };
    Decision::Forbid { why, instead: format!("{NO_RETRY} {instead}") }
}

fn subject(detail: &AuthorizationDetail, question: &Question<'_>) -> String {
    let of_token = question.narrowed.is_some_and(|narrowed| std::ptr::eq(narrowed, detail));
    format!("{} on {}", if of_token { "The narrowed token" } else { "The grant" }, detail.account())
}

pub(super) fn no_grant(question: &Question<'_>) -> Decision {
    let account = question.grant.account();
    let why = match question.grant.expires_at {
        Some(end) if end <= question.now => format!("The grant on {account} has ended."),
        _ => format!("There is no grant on {account} for this token."),
    };
    Decision::Forbid { why, instead: format!("{NO_RETRY} Ask the person for a new grant.") }
}

pub(super) fn broken() -> Decision {
    Decision::Forbid {
        why: "The guard can't evaluate its own policies, so it refuses everything.".to_owned(),
        instead: format!("{NO_RETRY} Tell the person to reinstall Latchstring."),
    }
}
