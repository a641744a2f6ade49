#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::catalog::Catalog;
use crate::classify::http::{Head, route};
use crate::grant::{AuthorizationDetail, Grant, Preset};
use crate::guard::{Agent, Context, Lifetimes, Loaded, Remember, Ruling};
use crate::pdp::Pdp;
use crate::scope::Rule;

pub(in crate::guard) const NOW: Now = Now { time: Time(1_000), wall: 1_000 };

pub(in crate::guard) fn held(target: &str, kind: &str, body: &str) -> (Guard, String, Digest) {
    let catalog = Catalog::shipped().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", kind.parse().unwrap());
    let head = Head { method: &Method::POST, target, headers: &headers, mount: "" };
    let routed = route(catalog.provider("gmail").unwrap(), head).unwrap();
    let request = routed.classify(&Bytes::from(body.to_owned())).unwrap();
    let mut guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
    let since = NOW.time;
    let agent = Agent { id: "a".into(), client_id: "a".into(), name: "A".into(), program: None, pairing: None, since };
    guard.connect(agent, NOW).unwrap();
    let detail = AuthorizationDetail::new("mine", Preset::AskEverything);
    let grant = Grant { id: String::new(), agent: "a".into(), detail, created_at: since, expires_at: None };
    guard.grant(grant, NOW).unwrap();
    let token = Digest::of(&[b"token"]);
    guard.issue("a", token, None, Some(crate::time::Span::hours(1)), NOW).unwrap();
    let session = guard.authenticate(&token, NOW).unwrap();
    let context = Context { looked_up: true, ..Context::default() };
    let Ruling::Held { id, .. } = guard.handle_request(&session, "mine", &request, context, NOW) else {
        panic!("not held")
    };
    guard.handle_views(&id, Vec::new());
    let digest = guard.hold(&id).unwrap().digest;
    (guard, id, digest)
}

fn allow(forever: bool, retyped_count: Option<u32>) -> Verdict {
    Verdict::Allow { objects: None, scope: Scope::Once, forever, retyped_count }
}

#[test]
fn what_cannot_be_decoded_can_only_be_denied() {
    let (mut guard, id, digest) = held("/batch", "multipart/mixed; boundary=b", "garbage");
    assert_eq!(guard.decide(&id, &digest, allow(false, None), "dialog", NOW).unwrap_err(), DecideError::Opaque);
    assert_eq!(guard.decide(&id, &digest, Verdict::Deny, "dialog", NOW).unwrap().state, State::Denied);
}

#[test]
fn what_is_known_but_unheard_of_can_be_allowed() {
    let (mut guard, id, digest) = held("/gmail/v1/users/me/unheard", "application/json", "{}");
    assert_eq!(guard.decide(&id, &digest, allow(true, Some(1)), "dialog", NOW).unwrap_err(), DecideError::NotForever);
    assert_eq!(guard.decide(&id, &digest, allow(false, None), "dialog", NOW).unwrap().state, State::Allowed);
}

pub(in crate::guard) const LABEL: &str = r#"{"ids":["a","b"],"addLabelIds":["Label_1"]}"#;

fn asked(guard: &mut Guard, body: &str) -> Ruling {
    asked_at(guard, body, NOW)
}

fn asked_at(guard: &mut Guard, body: &str, now: Now) -> Ruling {
    let session = guard.authenticate(&Digest::of(&[b"token"]), NOW).unwrap();
    guard.handle_request(&session, "mine", &request(body), Context::default(), now)
}

fn request(body: &str) -> Request {
    let catalog = Catalog::shipped().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let target = "/gmail/v1/users/me/messages/batchModify";
    let head = Head { method: &Method::POST, target, headers: &headers, mount: "" };
    let routed = route(catalog.provider("gmail").unwrap(), head).unwrap();
    routed.classify(&Bytes::from(body.to_owned())).unwrap()
}

#[test]
fn a_task_allowance_is_for_what_was_read_and_for_each_object_once() {
    let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
    guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), View::default())).into());
    let allow = Verdict::Allow { objects: None, scope: Scope::Task, forever: false, retyped_count: None };
    guard.decide(&id, &digest, allow, "dialog", NOW).unwrap();
    let other_label = r#"{"ids":["a"],"addLabelIds":["Label_2"]}"#;
    assert!(matches!(asked(&mut guard, other_label), Ruling::Held { .. }));
    let other_object = r#"{"ids":["a","c"],"addLabelIds":["Label_1"]}"#;
    assert!(matches!(asked(&mut guard, other_object), Ruling::Held { .. }));
    let the_same = r#"{"ids":["a"],"addLabelIds":["Label_1"]}"#;
    assert!(matches!(asked(&mut guard, the_same), Ruling::Permit(_)));
    assert!(matches!(asked(&mut guard, the_same), Ruling::Held { .. }));
}

fn asked_with(guard: &mut Guard, body: &str, views: &[(&str, View)], now: Now) -> Ruling {
    let session = guard.authenticate(&Digest::of(&[b"token"]), now).unwrap();
    let views = views.iter().map(|(id, view)| ((*id).to_owned(), view.clone())).collect();
    let context = Context { views: Some(std::sync::Arc::new(views)), ..Context::default() };
    guard.handle_request(&session, "mine", &request(body), context, now)
}

const WALL: u64 = 1_790_000_000_000;
const LATER: Now = Now { time: Time(2_000), wall: WALL };

fn news(flags: &[&str]) -> View {
    View {
        title: "News".into(),
        from: Some("Shop <news@shop.example>".into()),
        date: Some("2026-01-01T00:00:00Z".into()),
        flags: flags.iter().map(|&flag| flag.to_owned()).collect(),
        size: None,
    }
}

/// A hold on `a` and `b`, both news, allowed with the one rule that it offers.
fn with_rule() -> Guard {
    let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
    guard.handle_views(&id, vec![("a".into(), news(&["inbox"])), ("b".into(), news(&["inbox", "starred"]))]);
    let offered = Rule::offered(guard.hold(&id).unwrap(), LATER.wall);
    let [rule] = offered.as_slice() else { panic!("{offered:?}") };
    assert_eq!(rule.text(), "any mail from news@shop.example, in the Inbox, older than 180 days");
    let scope = Scope::Rule(rule.id());
    let by_notification = Verdict::Allow { objects: None, scope, forever: false, retyped_count: None };
    let refused = guard.decide(&id, &digest, by_notification.clone(), BY_NOTIFICATION, LATER).unwrap_err();
    assert_eq!(refused, DecideError::NotByNotification);
    let other = Rule { days: 1, ..rule.clone() };
    let not_offered =
        Verdict::Allow { objects: None, scope: Scope::Rule(other.id()), forever: false, retyped_count: None };
    assert_eq!(guard.decide(&id, &digest, not_offered, "dialog", LATER).unwrap_err(), DecideError::NoRule);
    guard.decide(&id, &digest, by_notification, "dialog", LATER).unwrap();
    guard
}

const C: &str = r#"{"ids":["c"],"addLabelIds":["Label_1"]}"#;

#[test]
fn a_rule_is_for_what_it_says_again_and_again_until_its_end() {
    let mut guard = with_rule();
    assert!(matches!(asked_at(&mut guard, C, LATER), Ruling::View));
    for _ in 0..2 {
        assert!(matches!(asked_with(&mut guard, C, &[("c", news(&["inbox"]))], LATER), Ruling::Permit(_)));
    }
    let end = Now { time: LATER.time + hold::ALLOWANCE, wall: WALL };
    assert!(!matches!(asked_at(&mut guard, C, end), Ruling::View | Ruling::Permit(_)));
}

#[test]
fn a_rule_covers_nothing_else() {
    let other = |change: &dyn Fn(&mut View)| {
        let mut view = news(&["inbox"]);
        change(&mut view);
        view
    };
    let views = [
        other(&|view| view.flags.push("starred".into())),
        other(&|view| view.flags.clear()),
        other(&|view| view.from = Some("bank@bank.example".into())),
        other(&|view| view.from = None),
        other(&|view| view.date = Some("2026-09-20T00:00:00Z".into())),
        other(&|view| view.date = None),
    ];
    for view in views {
        let mut guard = with_rule();
        let ruling = asked_with(&mut guard, C, &[("c", view.clone())], LATER);
        assert!(matches!(ruling, Ruling::Held { .. }), "{view:?}");
    }
    let mut guard = with_rule();
    assert!(matches!(asked_with(&mut guard, C, &[], LATER), Ruling::Held { .. }), "what could not be read");
    let mut guard = with_rule();
    let other_label = r#"{"ids":["c"],"addLabelIds":["Label_2"]}"#;
    let ruling = asked_with(&mut guard, other_label, &[("c", news(&["inbox"]))], LATER);
    assert!(matches!(ruling, Ruling::Held { .. }), "another change");
}

#[test]
fn a_listed_starred_object_is_covered_once_and_not_by_the_rule() {
    let mut guard = with_rule();
    let listed = r#"{"ids":["b"],"addLabelIds":["Label_1"]}"#;
    let starred = [("b", news(&["inbox", "starred"]))];
    assert!(matches!(asked_with(&mut guard, listed, &starred, LATER), Ruling::Permit(_)));
    assert!(matches!(asked_with(&mut guard, listed, &starred, LATER), Ruling::Held { .. }));
}

#[test]
fn taking_the_star_off_first_opens_no_way() {
    let mut guard = with_rule();
    guard.spare("mine", &["c".to_owned()], LATER);
    assert!(matches!(asked_with(&mut guard, C, &[("c", news(&["inbox"]))], LATER), Ruling::Held { .. }));
}

#[test]
fn a_rule_taken_back_or_panicked_is_gone() {
    let mut guard = with_rule();
    let id = guard.allowances(LATER).next().unwrap().id.clone();
    guard.forget_answer(&id, LATER).unwrap();
    assert!(matches!(asked_at(&mut guard, C, LATER), Ruling::Held { .. }));
    assert!(guard.forget_answer(&id, LATER).is_none());
    let mut guard = with_rule();
    guard.gate().raise();
    guard.handle_panic("stop", LATER);
    assert_eq!(guard.allowances(LATER).count(), 0);
}

#[test]
fn a_remembered_no_answers_at_once_until_it_ends_or_is_taken_back() {
    let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
    let Ruling::Held { id: waiting, .. } = asked(&mut guard, C) else { panic!("not held") };
    guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), View::default())).into());
    guard.decide(&id, &digest, Verdict::Deny, "dialog", NOW).unwrap();
    let commit = guard.remember_denial(&id, Remember::Task, "dialog", NOW).unwrap();
    assert!(commit.records.iter().any(|record| record.text.contains("denial remembered for 15 minutes")));
    assert_eq!(guard.hold(&waiting).unwrap().state, State::Denied, "what waits already is answered too");
    let again = r#"{"ids":["d"],"addLabelIds":["Label_1"]}"#;
    let Ruling::Forbid { why, commit, .. } = asked(&mut guard, again) else { panic!("asked again") };
    assert!(why.contains("said no"), "{why}");
    assert!(commit.records[0].text.contains("d1"));
    let trash = r#"{"ids":["d"],"addLabelIds":["TRASH"]}"#;
    assert!(matches!(asked(&mut guard, trash), Ruling::Held { .. }), "another kind is asked");
    let end = Now { time: NOW.time + hold::ALLOWANCE, wall: NOW.wall };
    let ended = guard.handle_timeout(end);
    assert!(ended.deletes.contains(&(Shelf::Rules, "d1".to_owned())));
    assert!(!matches!(asked_at(&mut guard, again, end), Ruling::Forbid { .. }));
}

#[test]
fn a_no_for_good_outlives_a_panic_and_ends_when_it_is_taken_back() {
    let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
    guard.decide(&id, &digest, Verdict::Deny, "dialog", NOW).unwrap();
    let commit = guard.remember_denial(&id, Remember::Always, "dialog", NOW).unwrap();
    assert!(commit.puts.iter().any(|put| put.shelf == Shelf::Rules && put.id == "d1"));
    guard.gate().raise();
    guard.handle_panic("stop", NOW);
    assert_eq!(guard.denials(Now { time: Time(u64::MAX), wall: 0 }).count(), 1);
    assert!(guard.forget_answer("d1", NOW).unwrap().deletes.contains(&(Shelf::Rules, "d1".to_owned())));
    assert_eq!(guard.denials(NOW).count(), 0);
}

/// I5: whatever is asked, with a remembered no it is never permitted where it was not.
#[test]
fn a_remembered_no_only_narrows() {
    let bodies = [
        LABEL,
        C,
        r#"{"ids":["a","b"],"addLabelIds":["TRASH"]}"#,
        r#"{"ids":["a"],"removeLabelIds":["INBOX"]}"#,
        r#"{"ids":["c"],"removeLabelIds":["UNREAD"]}"#,
    ];
    let strict = |ruling: &Ruling| match ruling {
        Ruling::Permit(_) => 0,
        Ruling::View | Ruling::Resolve | Ruling::LookUp(_) => 1,
        Ruling::Held { .. } | Ruling::Paused { .. } | Ruling::Crowded { .. } => 2,
        Ruling::Forbid { .. } | Ruling::Stopped | Ruling::ReadFirst => 3,
    };
    for remembered in bodies {
        for body in bodies {
            for preset in [Preset::AskEverything, Preset::Organize] {
                let with = |remember: bool| {
                    let mut guard = with_rule();
                    guard.forget_answers("mine");
                    let Ruling::Held { id, .. } = asked_at(&mut guard, remembered, LATER) else { return None };
                    let digest = guard.hold(&id).unwrap().digest;
                    guard.decide(&id, &digest, Verdict::Deny, "dialog", LATER).ok()?;
                    if remember {
                        guard.remember_denial(&id, Remember::Always, "dialog", LATER).unwrap();
                    }
                    let detail = AuthorizationDetail::new("mine", preset);
                    let grant =
                        Grant { id: String::new(), agent: "a".into(), detail, created_at: NOW.time, expires_at: None };
                    guard.grant(grant, LATER).unwrap();
                    let views = ["a", "b", "c"].map(|id| (id, news(&["inbox"])));
                    Some(strict(&asked_with(&mut guard, body, &views, LATER)))
                };
                assert!(with(true) >= with(false), "{remembered} then {body} as {preset:?}");
            }
        }
    }
}

#[test]
fn an_allowance_is_for_the_verb_that_was_read() {
    let catalog = Catalog::shipped().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let operation = |body: &str| {
        let target = "/gmail/v1/users/me/messages/batchModify";
        let head = Head { method: &Method::POST, target, headers: &headers, mount: "" };
        let routed = route(catalog.provider("gmail").unwrap(), head).unwrap();
        routed.classify(&Bytes::from(body.to_owned())).unwrap().parts.remove(0).operation
    };
    let mut star = operation(r#"{"ids":["a"],"addLabelIds":["STARRED"]}"#);
    let mut read = operation(r#"{"ids":["a"],"removeLabelIds":["UNREAD"]}"#);
    assert_eq!(star.class, read.class);
    assert_ne!(star.verb, read.verb);
    // The verb alone tells them apart.
    star.facts.clear();
    read.facts.clear();
    let allowance = Allowance {
        id: "t1".into(),
        agent: "a".into(),
        account: "mine".into(),
        verb: star.verb.clone(),
        class: star.class,
        facts: Vec::new(),
        objects: ["a".to_owned()].into(),
        rule: None,
        epoch: crate::lease::Epoch(0),
        expires_at: NOW.time + hold::ALLOWANCE,
    };
    assert!(allowance.is_for(&star));
    assert!(!allowance.is_for(&read));
}

fn later(hours: u64) -> Now {
    let time = NOW.time + crate::time::Span::hours(hours);
    Now { time, wall: time.0 }
}

#[test]
fn one_call_after_a_long_sleep_brings_everything_up_to_date() {
    for hours in [1, 30] {
        let (mut guard, id, _) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
        guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), View::default())).into());
        guard.handle_timeout(later(hours));
        let state = guard.hold(&id).unwrap().state;
        assert_eq!(state, if hours < 24 { State::Proposal } else { State::Expired }, "after {hours} h");
        assert!(guard.poll_timeout().is_none_or(|due| due > later(hours).time), "after {hours} h");
    }
}

#[test]
fn what_was_allowed_dies_with_its_agent_grant_or_account() {
    for end in ["agent", "grant", "account"] {
        let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
        guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), View::default())).into());
        let allow = Verdict::Allow { objects: None, scope: Scope::Task, forever: false, retyped_count: None };
        guard.decide(&id, &digest, allow, "dialog", NOW).unwrap();
        let commit = match end {
            "agent" => guard.disconnect("a", NOW).unwrap(),
            "grant" => guard.revoke_grant("g1", NOW).unwrap(),
            _ => guard.forget_account("mine", NOW),
        };
        assert_eq!(guard.hold(&id).unwrap().state, State::Denied, "{end}");
        assert!(commit.deletes.contains(&(Shelf::Hold, id.clone())), "{end}");
        assert!(guard.take_allowed(&id, NOW).is_none(), "{end}");
        assert_eq!(guard.sizes()["allowances"], 0, "{end}");
    }
}

#[test]
fn an_agents_live_tokens_are_bounded() {
    let (mut guard, ..) = held("/gmail/v1/users/me/unheard", "application/json", "{}");
    let token = |n: u64| Digest::of(&[&n.to_be_bytes()]);
    for n in 0..2 * super::super::MAX_TOKENS_EACH as u64 {
        // Number 7 ends soonest of all.
        let life = Some(crate::time::Span::minutes(if n == 7 { 1 } else { 20 }));
        guard.issue("a", token(n), None, life, NOW).unwrap();
        let live = guard.live_tokens("a", NOW).0 as usize;
        assert!(live <= super::super::MAX_TOKENS_EACH, "{live} after {n}");
        let full = live == super::super::MAX_TOKENS_EACH;
        assert!(
            n < 7 || guard.authenticate(&token(7), NOW).is_ok() || full,
            "it dies only when another needs its place"
        );
    }
    assert!(guard.authenticate(&token(7), NOW).is_err());
    assert!(guard.authenticate(&token(2 * super::super::MAX_TOKENS_EACH as u64 - 1), NOW).is_ok());
}

#[test]
fn what_is_read_to_resolve_counts_and_stops() {
    let (mut guard, ..) = held("/gmail/v1/users/me/unheard", "application/json", "{}");
    let session = guard.authenticate(&Digest::of(&[b"token"]), NOW).unwrap();
    assert!(guard.charge_resolving(&session, "mine", 499, NOW).is_ok());
    assert!(guard.charge_resolving(&session, "mine", 1, NOW).is_ok());
    let spent = guard.charge_resolving(&session, "mine", 1, NOW).unwrap_err();
    assert!(matches!(spent, super::super::Unread::Spent { limit: 500, .. }), "{spent:?}");
    let rested = Now { time: NOW.time + crate::time::Span::minutes(11), wall: NOW.wall };
    assert!(guard.charge_resolving(&session, "mine", 1, rested).is_ok());
    guard.pause("a", rested);
    let paused = guard.charge_resolving(&session, "mine", 1, rested).unwrap_err();
    assert!(matches!(paused, super::super::Unread::Paused { .. }), "{paused:?}");
    guard.gate().raise();
    assert_eq!(guard.charge_resolving(&session, "mine", 1, rested), Err(super::super::Unread::Stopped));
}

fn wide(guard: &mut Guard, n: usize, body: usize) -> Ruling {
    let catalog = Catalog::shipped().unwrap();
    let headers = HeaderMap::new();
    let target = format!("/gmail/v1/users/me/unheard/{n}");
    let head = Head { method: &Method::POST, target: &target, headers: &headers, mount: "" };
    let mut request = route(catalog.provider("gmail").unwrap(), head).unwrap().classify(&Bytes::new()).unwrap();
    request.parts[0].call.body = CallBody::Bytes(vec![b'x'; body].into());
    let session = guard.authenticate(&Digest::of(&[b"token"]), NOW).unwrap();
    guard.handle_request(&session, "mine", &request, Context::default(), NOW)
}

#[test]
fn what_waits_has_so_much_room_and_no_more() {
    for body in [hold::LARGE_BODY, 32 * hold::LARGE_BODY] {
        let (mut guard, first, digest) = held("/gmail/v1/users/me/unheard", "application/json", "{}");
        let most = if body > hold::LARGE_BODY { hold::MAX_ASIDE_EACH } else { hold::MAX_MEMORY_EACH } / body;
        let mut ids = Vec::new();
        for n in 0..most - 1 {
            let Ruling::Held { id, .. } = wide(&mut guard, n, body) else { panic!("number {n} of {body} bytes") };
            ids.push(id);
        }
        guard.decide(&first, &digest, Verdict::Deny, "dialog", NOW).unwrap();
        let last = wide(&mut guard, most - 1, body);
        let crowded = wide(&mut guard, most, body);
        assert!(matches!(last, Ruling::Held { .. }) || body <= hold::LARGE_BODY, "{last:?}");
        assert!(matches!(crowded, Ruling::Crowded { own: true }), "{crowded:?}");
        // What is over takes none.
        let id = ids.pop().unwrap();
        let digest = guard.hold(&id).unwrap().digest;
        guard.decide(&id, &digest, Verdict::Deny, "dialog", NOW).unwrap();
        assert_eq!(guard.hold(&id).unwrap().request.parts[0].call.body.length(), 0);
        guard.conduct.clear();
        assert!(matches!(wide(&mut guard, most + 1, body), Ruling::Held { .. }));
    }
}

#[test]
fn a_large_body_is_put_aside_and_given_back_when_it_runs() {
    let (mut guard, ..) = held("/gmail/v1/users/me/unheard", "application/json", "{}");
    let Ruling::Held { id, commit } = wide(&mut guard, 1, 2 * hold::LARGE_BODY) else { panic!("not held") };
    assert!(commit.puts.iter().all(|put| put.shelf != Shelf::Hold), "it is not stored");
    let bytes = vec![b'x'; 2 * hold::LARGE_BODY];
    let aside = || crate::call::Aside::new(&bytes, std::sync::Arc::new("kept".to_owned()));
    guard.put_bodies_aside(&id, vec![CallBody::Aside(aside()), CallBody::Aside(aside())]);
    assert!(matches!(guard.hold(&id).unwrap().request.parts[0].call.body, CallBody::Bytes(_)), "not for this request");
    guard.put_bodies_aside(&id, vec![CallBody::Aside(aside())]);
    let digest = guard.hold(&id).unwrap().digest;
    guard.decide(&id, &digest, allow(false, None), "dialog", NOW).unwrap();
    let (_, request, _) = guard.take_allowed(&id, NOW).unwrap();
    let CallBody::Aside(given) = &request.parts[0].call.body else { panic!("{:?}", request.parts[0].call.body) };
    assert_eq!((given.length(), given.keeper::<String>().unwrap().as_str()), (bytes.len(), "kept"));
    assert_eq!(guard.hold(&id).unwrap().request.parts[0].call.body.length(), 0);
}

#[test]
fn an_allowed_mail_counts_each_of_its_recipients() {
    let raw = crate::classify::mail::to_base64(b"To: a@x.example, b@x.example, c@x.example\r\nSubject: Hi\r\n\r\nText");
    let body = format!("{{\"raw\":\"{raw}\"}}");
    let (mut guard, id, digest) = held("/gmail/v1/users/me/messages/send", "application/json", &body);
    guard.decide(&id, &digest, allow(false, None), "dialog", NOW).unwrap();
    let (permit, ..) = guard.take_allowed(&id, NOW).unwrap();
    let counts: Vec<_> = permit.charges.iter().map(|charge| (charge.meter, charge.count)).collect();
    assert_eq!(counts, [(crate::operation::Meter::Send, 3)]);
}

/// What waits in the outbox is dropped by the person alone.
#[test]
fn only_the_persons_own_no_is_a_refusal() {
    let fresh = || held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL);
    for (by, refused) in [("dialog", true), (BY_NOTIFICATION, true), (crate::guard::BY_CONTROL, false)] {
        let (mut guard, id, digest) = fresh();
        guard.decide(&id, &digest, Verdict::Deny, by, NOW).unwrap();
        assert_eq!(guard.hold(&id).unwrap().refused, refused, "{by}");
    }
    let (mut guard, id, _) = fresh();
    guard.deny_all("the owner's pipe closed", NOW);
    assert_eq!(guard.hold(&id).map(|hold| (hold.state, hold.refused)), Some((State::Denied, false)));
}
