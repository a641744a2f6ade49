#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod cedar;
mod words;

use serde_json::json;

use super::*;
use crate::budget::{Reach, Window};
use crate::call::Digest;
use crate::operation::{Audience, Member, Objects};

const NOW: Time = Time(1_000_000);
const FILTER: &str = "gmail.users.settings.filters.create";

const OVER: Room =
    Room::Over { meter: Meter::Remove, limit: 5, window: Window::TenMinutes, used: 5, asked: 1, reach: Reach::Agent };

fn grant(detail: AuthorizationDetail) -> Grant {
    Grant { id: "g1".to_owned(), agent: "claude".to_owned(), detail, created_at: Time(0), expires_at: None }
}

fn detail(preset: Preset, fields: serde_json::Value) -> AuthorizationDetail {
    AuthorizationDetail::for_grant("work", preset.name(), Some(&fields), None).unwrap()
}

fn operation(class: Class) -> Operation {
    let (action, meters): (&str, &[Meter]) = match class {
        Class::Read => ("gmail.users.messages.get", &[Meter::Read]),
        Class::Modify => ("gmail.users.messages.modify", &[Meter::Modify]),
        Class::Remove => ("gmail.users.messages.trash", &[Meter::Remove, Meter::LeaveInbox]),
        Class::Unclassified => ("gmail.unclassified", &[]),
        Class::Send => ("gmail.users.messages.send", &[Meter::Send]),
        Class::Publish => ("github.issues.createComment", &[]),
        Class::Share => ("drive.permissions.create", &[]),
        Class::Destroy => ("gmail.users.messages.delete", &[]),
        Class::Spend => ("stripe.charges.create", &[]),
        Class::Divert => (FILTER, &[]),
    };
    let member = |address: &str| Member { address: address.to_owned(), role: "to".to_owned() };
    Operation {
        action: action.to_owned(),
        class,
        verb: "Do".to_owned(),
        objects: Objects::Listed { kind: "message".to_owned(), ids: vec!["m1".to_owned()] },
        meters: meters.to_vec(),
        audience: (class == Class::Send).then(|| Audience { members: vec![member("ann@example.org")], place: None }),
        facts: Vec::new(),
        undo: (class <= Class::Remove).then(|| "labels".to_owned()),
        soften: None,
        content: Digest::of(&[]),
        opaque: false,
    }
}

fn question<'a>(grant: &'a Grant, operation: &'a Operation) -> Question<'a> {
    Question { grant, narrowed: None, operation, room: Room::Within, known_recipients: true, places: None, now: NOW }
}

fn pdp(rules: &str, grants: &[Grant]) -> Pdp {
    let mut pdp = Pdp::new(rules).unwrap();
    pdp.set_grants(grants).unwrap();
    pdp
}

fn decided<'a>(rules: &str, grant: &'a Grant, class: Class, change: impl FnOnce(&mut Question<'a>)) -> Decision {
    let mut question = question(grant, Box::leak(Box::new(operation(class))));
    change(&mut question);
    pdp(rules, std::slice::from_ref(grant)).decide(&question)
}

/// The table of the design, cell by cell: in the budget, over it, and to somebody new.
#[test]
fn the_table_of_decisions_is_the_designs() {
    let mut table = String::new();
    for class in Class::ALL {
        table.push_str(class.name());
        for preset in Preset::ALL {
            let grant = grant(AuthorizationDetail::new("work", preset));
            let of = |room, known_recipients| {
                decided("", &grant, class, |question| {
                    question.room = room;
                    question.known_recipients = known_recipients;
                })
                .outcome()
                .name()
            };
            let (calm, over, stranger) = (of(Room::Within, true), of(OVER, true), of(Room::Within, false));
            table.push_str(&format!(" | {calm}"));
            if over != calm {
                table.push_str(&format!(", over {over}"));
            }
            if stranger != calm {
                table.push_str(&format!(", new {stranger}"));
            }
        }
        table.push('\n');
    }
    insta::assert_snapshot!(table, @r"
    read | permit, over confirm | permit, over confirm | permit, over confirm | permit, over confirm
    modify | forbid | permit, over confirm | permit, over confirm | confirm
    remove | forbid | permit, over confirm | permit, over confirm | confirm
    unclassified | forbid | confirm | confirm | confirm
    send | forbid | forbid | permit, over confirm, new confirm | confirm
    publish | forbid | forbid | confirm | confirm
    share | forbid | forbid | confirm | confirm
    destroy | forbid | confirm | confirm | confirm
    spend | forbid | forbid | forbid | confirm
    divert | forbid | forbid | forbid | confirm
    ");
}

#[test]
fn a_mail_waits_in_the_outbox() {
    let grant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    assert_eq!(decided("", &grant, Class::Send, |_| {}), Decision::Permit { delay: Some(Span::seconds(60)) });
    assert_eq!(decided("", &grant, Class::Remove, |_| {}), Decision::Permit { delay: None });
    let mut pdp = pdp("", std::slice::from_ref(&grant));
    pdp.set_outbox_delay(Span(0));
    assert_eq!(pdp.decide(&question(&grant, &operation(Class::Send))), Decision::Permit { delay: None });
}

#[test]
fn what_diverts_must_be_named_and_is_asked_even_then() {
    for preset in [Preset::Organize, Preset::Assistant] {
        let of = |named: &[&str]| {
            decided("", &grant(detail(preset, json!({"named": named}))), Class::Divert, |_| {}).outcome()
        };
        assert_eq!(of(&[]), Outcome::Forbid);
        assert_eq!(of(&["gmail.users.settings.updateImap"]), Outcome::Forbid);
        assert_eq!(of(&[FILTER]), Outcome::Confirm);
    }
}

#[test]
fn a_detail_narrows_by_action_class_and_place() {
    fn of(fields: serde_json::Value, places: Option<&[String]>) -> Outcome {
        let grant = grant(detail(Preset::Organize, fields));
        decided("", &grant, Class::Remove, |question| question.places = places).outcome()
    }
    assert_eq!(of(json!({"actions": ["gmail.users.messages.*"]}), None), Outcome::Permit);
    assert_eq!(of(json!({"actions": ["gmail.users.threads.*"]}), None), Outcome::Forbid);
    assert_eq!(of(json!({"actions": []}), None), Outcome::Forbid);
    assert_eq!(of(json!({"classes": ["read", "remove"]}), None), Outcome::Permit);
    assert_eq!(of(json!({"classes": ["read"]}), None), Outcome::Forbid);
    let [upstream, door] = ["https://mail.example", "http://127.0.0.1:8600/work"].map(str::to_owned);
    let only = json!({"locations": ["https://mail.example:443/"]});
    assert_eq!(of(only.clone(), Some(&[upstream, door.clone()])), Outcome::Permit, "one of its addresses is named");
    assert_eq!(of(only.clone(), Some(&[door])), Outcome::Forbid);
    assert_eq!(of(json!({"locations": []}), Some(&["https://mail.example".to_owned()])), Outcome::Forbid);
    assert_eq!(of(only, None), Outcome::Forbid, "an account whose addresses nobody knows");
}

#[test]
fn only_the_grant_in_force_counts() {
    let standing = grant(AuthorizationDetail::new("work", Preset::Organize));
    let forbids = |grant: &Grant, now: Time| {
        let operation = operation(Class::Read);
        let decision =
            pdp("", std::slice::from_ref(&standing)).decide(&Question { now, ..question(grant, &operation) });
        decision.outcome() == Outcome::Forbid
    };
    assert!(!forbids(&standing, NOW));
    assert!(forbids(&Grant { id: "g0".to_owned(), ..standing.clone() }, NOW), "an older grant");
    assert!(forbids(&Grant { agent: "other".to_owned(), ..standing.clone() }, NOW), "another agent");
    assert!(
        forbids(&Grant { detail: AuthorizationDetail::new("home", Preset::Organize), ..standing.clone() }, NOW),
        "another account"
    );
    assert!(forbids(&Grant { expires_at: Some(NOW), ..standing.clone() }, NOW), "nothing from the end on");
    assert!(!forbids(&Grant { expires_at: Some(NOW), ..standing.clone() }, NOW - Span(1)));
    let error = Pdp::new("").unwrap().set_grants(&[standing.clone(), standing]).unwrap_err();
    insta::assert_snapshot!(error, @"`claude` has two grants on `work`; revoke one");
}

#[test]
fn an_exchanged_token_gets_the_stricter_of_two() {
    let assistant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    fn of(grant: &Grant, narrowed: &AuthorizationDetail, rules: &str, class: Class) -> Outcome {
        decided(rules, grant, class, |question| question.narrowed = Some(narrowed)).outcome()
    }
    let read_only = AuthorizationDetail::new("work", Preset::ReadOnly);
    assert_eq!(of(&assistant, &read_only, "", Class::Read), Outcome::Permit);
    assert_eq!(of(&assistant, &read_only, "", Class::Remove), Outcome::Forbid);
    assert_eq!(
        of(&grant(read_only.clone()), &assistant.detail, "", Class::Remove),
        Outcome::Forbid,
        "the grant was narrowed later"
    );
    let generous = "permit (principal, action, resource);";
    assert_eq!(
        of(&assistant, &read_only, generous, Class::Modify),
        Outcome::Forbid,
        "rules don't widen a narrowed token"
    );
    assert_eq!(of(&assistant, &AuthorizationDetail::new("home", Preset::Assistant), "", Class::Read), Outcome::Forbid);
}

#[test]
fn a_rule_widens_within_the_floor_only() {
    let read_only = grant(AuthorizationDetail::new("work", Preset::ReadOnly));
    let generous = "permit (principal, action, resource);";
    let outcomes = Class::ALL.map(|class| {
        let over = decided(generous, &read_only, class, |question| question.room = OVER);
        format!("{} {}", class.name(), over.outcome().name())
    });
    insta::assert_snapshot!(outcomes.join(", "), @"read permit, modify permit, remove permit, unclassified confirm, send permit, publish permit, share permit, destroy confirm, spend forbid, divert forbid");
}

#[test]
fn a_rule_may_ask_forbid_and_permit() {
    let assistant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    let asks = r#"forbid (principal, action, resource) when { context.leaves_inbox } unless { context.confirmed };"#;
    assert_eq!(decided(asks, &assistant, Class::Remove, |_| {}).outcome(), Outcome::Confirm);
    assert_eq!(decided(asks, &assistant, Class::Modify, |_| {}).outcome(), Outcome::Permit);
    let forbids = r#"forbid (principal == Agent::"claude", action == Action::"send", resource) when { context.recipients.contains("ann@example.org") };"#;
    assert_eq!(decided(forbids, &assistant, Class::Send, |_| {}).outcome(), Outcome::Forbid);
    let permits = r#"permit (principal, action == Action::"send", resource) when { context.recipients.contains("ann@example.org") };"#;
    assert_eq!(
        decided(permits, &assistant, Class::Send, |question| question.known_recipients = false).outcome(),
        Outcome::Permit
    );
}

#[test]
fn a_rule_that_cant_be_evaluated_forbids() {
    let assistant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    for effect in ["permit", "forbid"] {
        let rule =
            format!("{effect} (principal, action, resource) when {{ context.count + 9223372036854775807 > 5 }};");
        assert_eq!(decided(&rule, &assistant, Class::Read, |_| {}).outcome(), Outcome::Forbid);
    }
}

#[test]
fn rules_that_are_wrong_leave_the_earlier_ones() {
    let grant = grant(AuthorizationDetail::new("work", Preset::Organize));
    let mut pdp = pdp(r#"forbid (principal, action == Action::"remove", resource);"#, std::slice::from_ref(&grant));
    let operation = operation(Class::Remove);
    assert_eq!(pdp.decide(&question(&grant, &operation)).outcome(), Outcome::Forbid);
    assert!(pdp.set_rules("permit everything").is_err());
    assert_eq!(pdp.decide(&question(&grant, &operation)).outcome(), Outcome::Forbid);
    pdp.set_rules("").unwrap();
    assert_eq!(pdp.decide(&question(&grant, &operation)).outcome(), Outcome::Permit, "a new generation of tables");
}

#[test]
fn each_preset_says_beforehand_what_it_would_do() {
    let pdp = Pdp::new("").unwrap();
    let bulk = Operation {
        objects: Objects::Listed { kind: "message".to_owned(), ids: (0..6).map(|id| id.to_string()).collect() },
        ..operation(Class::Remove)
    };
    let of = |operation: &Operation| pdp.by_preset(operation).map(|(_, outcome)| outcome.name()).join(" ");
    assert_eq!(of(&operation(Class::Remove)), "forbid permit permit confirm");
    assert_eq!(of(&bulk), "forbid confirm confirm confirm");
    assert_eq!(of(&operation(Class::Send)), "forbid forbid confirm confirm");
    assert_eq!(of(&operation(Class::Divert)), "forbid forbid forbid confirm");
}

#[test]
fn what_goes_to_nobody_knows_whom_is_asked_whatever_a_rule_says_of_the_others() {
    let grant = grant(AuthorizationDetail::new("work", Preset::Assistant));
    let rule = r#"permit (principal, action == Action::"send", resource);"#;
    assert_eq!(decided(rule, &grant, Class::Send, |_| {}).outcome(), Outcome::Permit);
    let mut somewhere = operation(Class::Send);
    somewhere.audience.as_mut().unwrap().place = Some("whoever the stored text names".to_owned());
    let asked = pdp(rule, std::slice::from_ref(&grant)).decide(&question(&grant, &somewhere));
    assert_eq!(asked.outcome(), Outcome::Confirm, "{asked:?}");
}
