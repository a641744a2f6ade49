#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! Each test holds one condition of the Guard in place: without it, the test fails.

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::call::{Call, CallBody};
use crate::catalog::Catalog;
use crate::classify::http::{Head, route};
use crate::grant::Preset;
use crate::hold::{MAX_WAITING, State, Stored};
use crate::lease::LeaseError;
use crate::operation::{Audience, Member, Request};
use crate::plan::Permit;

mod kept;

use crate::recipe::View;
const START: Time = Time(1_700_000_000_000);

fn at(span: Span) -> Now {
    Now { time: START + span, wall: START.0 }
}

const NOW: Now = Now { time: START, wall: START.0 };

struct Rig {
    guard: Guard,
    session: Session,
}

fn token() -> Digest {
    Digest::of(&[b"token"])
}

fn connect(guard: &mut Guard, agent: &str, since: Time) {
    let agent = Agent {
        id: agent.to_owned(),
        client_id: agent.to_owned(),
        name: agent.to_owned(),
        program: None,
        pairing: None,
        since,
    };
    guard.connect(agent, NOW).unwrap();
}

fn grant(guard: &mut Guard, agent: &str, account: &str, preset: Preset, expires_at: Option<Time>) {
    let detail = AuthorizationDetail::new(account, preset);
    let grant = Grant { id: String::new(), agent: agent.to_owned(), detail, created_at: START, expires_at };
    guard.grant(grant, NOW).unwrap();
}

impl Rig {
    /// One agent that is not new, with a preset on two accounts.
    fn new(preset: Preset) -> Self {
        let mut guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
        connect(&mut guard, "a", START - crate::grant::NEW_FOR);
        for account in ["mine", "work"] {
            grant(&mut guard, "a", account, preset, None);
        }
        guard.issue("a", token(), None, Some(Span::hours(1)), NOW).unwrap();
        let session = guard.authenticate(&token(), NOW).unwrap();
        Self { guard, session }
    }

    fn ask_at(&mut self, account: &str, request: &Request, now: Now) -> Ruling {
        let context = Context { looked_up: true, ..Context::default() };
        self.guard.handle_request(&self.session, account, request, context, now)
    }

    fn ask(&mut self, request: &Request) -> Ruling {
        self.ask_at("mine", request, NOW)
    }

    fn held(&mut self, request: &Request) -> String {
        match self.ask(request) {
            Ruling::Held { id, .. } => id,
            other => panic!("not held: {other:?}"),
        }
    }

    fn prepare(&mut self, id: &str) -> Digest {
        let hold = self.guard.hold(id).unwrap();
        let views = hold.objects.iter().map(|object| (object.id.clone(), View::default())).collect();
        let digest = hold.digest;
        self.guard.handle_views(id, views);
        digest
    }

    fn decide_at(&mut self, id: &str, verdict: Verdict, now: Now) -> Result<Decided, DecideError> {
        let digest = self.prepare(id);
        self.guard.decide(id, &digest, verdict, "dialog", now)
    }

    fn allowed(&mut self, request: &Request, scope: Scope) -> String {
        let id = self.held(request);
        self.decide_at(&id, allow(None, scope), NOW).unwrap();
        id
    }

    fn permitted(&mut self, request: &Request) -> Permit {
        match self.ask(request) {
            Ruling::Permit(permit) => permit,
            other => panic!("not permitted: {other:?}"),
        }
    }
}

fn allow(objects: Option<&[&str]>, scope: Scope) -> Verdict {
    let objects = objects.map(|objects| objects.iter().map(|id| (*id).to_owned()).collect());
    Verdict::Allow { objects, scope, forever: false, retyped_count: None }
}

fn request(method: Method, below: &str, body: Value) -> Request {
    let catalog = Catalog::shipped().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let target = format!("/gmail/v1/users/me/{below}");
    let head = Head { method: &method, target: &target, headers: &headers, mount: "" };
    let routed = route(catalog.provider("gmail").unwrap(), head).unwrap();
    routed.classify(&Bytes::from(if body.is_null() { String::new() } else { body.to_string() })).unwrap()
}

fn change(ids: &[&str], added: &[&str], removed: &[&str]) -> Request {
    let body = json!({ "ids": ids, "addLabelIds": added, "removeLabelIds": removed });
    request(Method::POST, "messages/batchModify", body)
}

fn trash(ids: &[&str]) -> Request {
    change(ids, &["TRASH"], &[])
}

fn delete(ids: &[&str]) -> Request {
    request(Method::POST, "messages/batchDelete", json!({ "ids": ids }))
}

fn read(id: &str) -> Request {
    request(Method::GET, &format!("messages/{id}"), Value::Null)
}

fn batch(all: impl IntoIterator<Item = Request>) -> Request {
    Request { parts: all.into_iter().flat_map(|one| one.parts).collect(), batch: true }
}

fn mail(recipients: &str) -> Request {
    use base64::Engine as _;
    let raw =
        base64::engine::general_purpose::URL_SAFE.encode(format!("To: {recipients}\r\nSubject: Hi\r\n\r\nHi\r\n"));
    request(Method::POST, "messages/send", json!({ "raw": raw }))
}

fn call(target: &str) -> Call {
    Call { method: Method::POST, target: target.to_owned(), headers: Vec::new(), body: CallBody::Bytes(Bytes::new()) }
}

#[test]
fn a_session_of_another_epoch_of_another_time_or_stopped_is_not_heard() {
    let mut rig = Rig::new(Preset::Organize);
    assert!(matches!(rig.ask_at("mine", &read("m"), at(Span::hours(1))), Ruling::Stopped));
    let mut raised = Rig::new(Preset::Organize);
    raised.guard.gate().raise();
    assert!(matches!(raised.ask(&read("m")), Ruling::Stopped), "before the Guard itself heard of the panic");
    assert_eq!(raised.guard.authenticate(&token(), NOW).unwrap_err(), TokenError::Stopped);
    let mut stopped = Rig::new(Preset::Organize);
    stopped.guard.state.stopped.insert("a".to_owned());
    assert!(matches!(stopped.ask(&read("m")), Ruling::Stopped));
    assert_eq!(stopped.guard.authenticate(&token(), NOW).unwrap_err(), TokenError::Stopped);
    stopped.guard.state.stopped.clear();
    stopped.guard.state.panicked = Some("why".to_owned());
    assert!(matches!(stopped.ask(&read("m")), Ruling::Stopped));
    assert!(matches!(rig.ask(&read("m")), Ruling::Permit(_)));
}

#[test]
fn a_container_is_resolved_before_it_is_decided() {
    let mut rig = Rig::new(Preset::Assistant);
    let thread = request(Method::POST, "threads/t1/trash", Value::Null);
    assert!(matches!(rig.ask(&thread), Ruling::Resolve));
    let mut forbidden = Rig::new(Preset::ReadOnly);
    assert!(matches!(forbidden.ask(&thread), Ruling::Forbid { .. }), "what is forbidden need not be read");
}

#[test]
fn a_batch_is_as_strict_as_its_strictest_part() {
    let mut rig = Rig::new(Preset::Assistant);
    let id = rig.held(&batch([read("m1"), delete(&["m2"]), read("m3")]));
    assert_eq!(rig.guard.hold(&id).unwrap().class, Class::Destroy);
    let mut forbidden = Rig::new(Preset::Organize);
    assert!(matches!(forbidden.ask(&batch([read("m1"), mail("eve@example.org")])), Ruling::Forbid { .. }));
}

#[test]
fn one_stranger_among_known_recipients_is_enough_to_ask() {
    let mut rig = Rig::new(Preset::Assistant);
    rig.guard.learn("mine", &["ann@example.org".to_owned()]);
    assert_eq!(rig.permitted(&mail("ANN@example.org")).delay(), Some(crate::pdp::OUTBOX_DELAY));
    rig.held(&mail("ann@example.org, eve@example.org"));
    // Known on one account is a stranger on the other.
    assert!(matches!(rig.ask_at("work", &mail("ann@example.org"), NOW), Ruling::Held { .. }));
    // A place may hold anybody.
    let mut place = mail("ann@example.org");
    for part in &mut place.parts {
        let members = vec![Member { address: "ann@example.org".to_owned(), role: "to".to_owned() }];
        part.operation.audience = Some(Audience { members, place: Some("#general".to_owned()) });
        part.operation.content = Digest::of(&[b"another"]);
    }
    rig.held(&place);
}

#[test]
fn a_new_agent_has_half_of_what_removes() {
    let removed = |since: Time| {
        let mut guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
        connect(&mut guard, "a", since);
        grant(&mut guard, "a", "mine", Preset::Organize, None);
        guard.issue("a", token(), None, None, NOW).unwrap();
        let session = guard.authenticate(&token(), NOW).unwrap();
        let mut rig = Rig { guard, session };
        (0..9).filter(|n| matches!(rig.ask(&trash(&[&n.to_string()])), Ruling::Permit(_))).count()
    };
    assert_eq!((removed(START), removed(START - crate::grant::NEW_FOR)), (3, 5));
}

#[test]
fn an_exchanged_token_is_held_to_what_it_was_narrowed_to() {
    let mut rig = Rig::new(Preset::Organize);
    let asked = AuthorizationDetail::parse(&json!([
        { "type": "latchstring_account", "account": "mine", "preset": "read-only" }
    ]));
    let child = Digest::of(&[b"child"]);
    rig.guard.exchange(&token(), Some(&asked.unwrap()), child, None, NOW).unwrap();
    rig.session = rig.guard.authenticate(&child, NOW).unwrap();
    assert!(matches!(rig.ask(&trash(&["1"])), Ruling::Forbid { .. }));
    assert!(matches!(rig.ask_at("work", &read("1"), NOW), Ruling::Forbid { .. }), "not for the other account");
    let _ = rig.permitted(&read("1"));
}

#[test]
fn only_several_objects_can_be_ticked() {
    let mut rig = Rig::new(Preset::AskEverything);
    let divisible = |rig: &mut Rig, request: &Request| {
        let id = rig.held(request);
        rig.guard.hold(&id).unwrap().is_divisible()
    };
    assert!(divisible(&mut rig, &trash(&["1", "2"])));
    assert!(!divisible(&mut rig, &trash(&["1"])));
    assert!(!divisible(&mut rig, &batch([trash(&["1", "2"]), mail("eve@example.org")])));
}

#[test]
fn what_ran_counts_at_once_and_what_was_allowed_counts_too() {
    let mut rig = Rig::new(Preset::Organize);
    let _ = rig.permitted(&trash(&["m1", "m2", "m3"]));
    rig.held(&trash(&["m4", "m5", "m6"]));
    let id = rig.allowed(&trash(&["n1", "n2", "n3"]), Scope::Once);
    let (permit, ..) = rig.guard.take_allowed(&id, NOW).unwrap();
    let removed = permit.charges.iter().find(|charge| charge.meter == crate::operation::Meter::Remove).unwrap();
    assert_eq!(removed.count, 3, "it is charged in the transaction of its intent");
    rig.held(&trash(&["m7"]));
}

#[test]
fn an_agent_with_too_many_questions_is_paused_and_may_still_read() {
    let mut rig = Rig::new(Preset::Organize);
    for n in 0..MAX_WAITING {
        rig.held(&delete(&[&n.to_string()]));
    }
    let Ruling::Paused { until } = rig.ask(&delete(&["more"])) else { panic!("not paused") };
    assert_eq!(until, START + crate::hold::PAUSE);
    assert!(matches!(rig.ask_at("mine", &delete(&["more"]), at(Span::minutes(4))), Ruling::Paused { .. }));
    let _ = rig.permitted(&read("m"));
    // Only its own questions count.
    connect(&mut rig.guard, "b", START);
    grant(&mut rig.guard, "b", "mine", Preset::Organize, None);
    let hash = Digest::of(&[b"b"]);
    rig.guard.issue("b", hash, None, None, NOW).unwrap();
    let session = rig.guard.authenticate(&hash, NOW).unwrap();
    let ruling = rig.guard.handle_request(&session, "mine", &delete(&["m"]), Context::default(), NOW);
    assert!(matches!(ruling, Ruling::Held { .. }));
}

#[test]
fn three_denials_in_a_row_pause_and_an_allow_between_starts_anew() {
    let mut rig = Rig::new(Preset::Organize);
    let deny = |rig: &mut Rig, n: &str| {
        let id = rig.held(&delete(&[n]));
        rig.decide_at(&id, Verdict::Deny, NOW).unwrap();
    };
    deny(&mut rig, "1");
    deny(&mut rig, "2");
    rig.allowed(&delete(&["3"]), Scope::Once);
    deny(&mut rig, "4");
    deny(&mut rig, "5");
    assert_eq!(rig.guard.paused_until("a", NOW), None);
    deny(&mut rig, "6");
    assert_eq!(rig.guard.paused_until("a", NOW), Some(START + crate::hold::PAUSE));
    assert!(matches!(rig.ask(&delete(&["7"])), Ruling::Paused { .. }));
    assert!(matches!(rig.ask_at("mine", &delete(&["7"]), at(crate::hold::PAUSE)), Ruling::Held { .. }));
}

#[test]
fn holds_of_another_epoch_or_agent_or_account_are_not_joined() {
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.held(&delete(&["m"]));
    assert_eq!(rig.held(&delete(&["m"])), id);
    let Ruling::Held { id: elsewhere, .. } = rig.ask_at("work", &delete(&["m"]), NOW) else { panic!("not held") };
    assert_ne!(elsewhere, id);
    connect(&mut rig.guard, "b", START);
    grant(&mut rig.guard, "b", "mine", Preset::Organize, None);
    let hash = Digest::of(&[b"b"]);
    rig.guard.issue("b", hash, None, None, NOW).unwrap();
    let session = rig.guard.authenticate(&hash, NOW).unwrap();
    let ruling = rig.guard.handle_request(&session, "mine", &delete(&["m"]), Context::default(), NOW);
    assert!(!matches!(ruling, Ruling::Held { id: joined, .. } if joined == id));
    // Denied: answers its repetitions for a while, then it is asked anew.
    rig.decide_at(&id, Verdict::Deny, NOW).unwrap();
    assert_eq!(rig.held(&delete(&["m"])), id);
    let Ruling::Held { id: later, .. } = rig.ask_at("mine", &delete(&["m"]), at(crate::hold::KEEP)) else {
        panic!("not held")
    };
    assert_ne!(later, id);
    // Across a panic nothing is joined, whatever became of it.
    let old = rig.held(&trash(&["1", "2", "3", "4", "5", "6"]));
    rig.guard.gate().raise();
    rig.guard.handle_panic("why", NOW);
    rig.guard.resume(None, Preset::Organize, NOW);
    rig.guard.issue("a", token(), None, None, NOW).unwrap();
    rig.session = rig.guard.authenticate(&token(), NOW).unwrap();
    assert_ne!(rig.held(&trash(&["1", "2", "3", "4", "5", "6"])), old);
}

#[test]
fn a_task_allowance_is_for_its_agent_account_time_epoch_verb_class_and_objects() {
    let six = ["1", "2", "3", "4", "5", "6"];
    let asked = |change: &dyn Fn(&mut crate::hold::Allowance), now: Now| {
        let mut rig = Rig::new(Preset::AskEverything);
        rig.allowed(&trash(&six), Scope::Task);
        rig.guard.allowances.iter_mut().for_each(change);
        matches!(rig.ask_at("mine", &trash(&["1"]), now), Ruling::Permit(_))
    };
    assert!(asked(&|_| {}, NOW));
    assert!(!asked(&|one| one.agent = "b".to_owned(), NOW));
    assert!(!asked(&|one| one.account = "work".to_owned(), NOW));
    assert!(!asked(&|one| one.epoch = Epoch(7), NOW));
    assert!(!asked(&|one| one.verb = "Label".to_owned(), NOW));
    assert!(!asked(&|one| one.class = Class::Modify, NOW));
    assert!(!asked(&|_| {}, at(crate::hold::ALLOWANCE)));
    assert!(asked(&|_| {}, at(Span(crate::hold::ALLOWANCE.0 - 1))));
    let mut rig = Rig::new(Preset::AskEverything);
    rig.allowed(&trash(&six), Scope::Task);
    rig.held(&trash(&["1", "7"]));
    rig.held(&batch([trash(&["1"]), trash(&["7"])]));
    let _ = rig.permitted(&trash(&["1", "2"]));
    rig.held(&trash(&["2", "3"]));
    let mut once = Rig::new(Preset::AskEverything);
    once.allowed(&trash(&six), Scope::Once);
    assert!(once.guard.allowances.is_empty());
    let mut part = Rig::new(Preset::AskEverything);
    let id = part.held(&trash(&six));
    part.decide_at(&id, allow(Some(&["1", "2"]), Scope::Task), NOW).unwrap();
    let _ = part.permitted(&trash(&["1"]));
    part.held(&trash(&["3"]));
}

/// Even if such an allowance came to be: never for these classes, never for what has no objects.
#[test]
fn no_task_allowance_reaches_what_is_not_gentle_or_has_no_objects() {
    let mut rig = Rig::new(Preset::AskEverything);
    for request in [delete(&["1"]), request(Method::POST, "labels", json!({ "name": "x" }))] {
        let operation = &request.parts[0].operation;
        rig.guard.allowances.push(crate::hold::Allowance {
            id: String::new(),
            rule: None,
            agent: "a".to_owned(),
            account: "mine".to_owned(),
            verb: operation.verb.clone(),
            class: operation.class,
            facts: operation.facts.clone(),
            objects: ["1".to_owned()].into(),
            epoch: rig.guard.gate().current(),
            expires_at: START + Span::hours(1),
        });
        rig.held(&request);
    }
}

#[test]
fn a_decision_is_about_a_hold_that_waits_and_was_shown_whole() {
    let six = ["1", "2", "3", "4", "5", "6"];
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.held(&trash(&six));
    let digest = rig.guard.hold(&id).unwrap().digest;
    let of = |rig: &mut Rig, digest: &Digest, verdict: Verdict, now: Now| {
        rig.guard.decide(&id, digest, verdict, "dialog", now).unwrap_err()
    };
    let whole = || allow(None, Scope::Once);
    assert_eq!(of(&mut rig, &digest, whole(), NOW), DecideError::Preparing);
    rig.prepare(&id);
    assert_eq!(of(&mut rig, &Digest::of(&[b"another"]), whole(), NOW), DecideError::OtherDigest);
    assert_eq!(of(&mut rig, &Digest::of(&[b"another"]), Verdict::Deny, NOW), DecideError::OtherDigest);
    assert_eq!(of(&mut rig, &digest, whole(), at(Span::minutes(10))), DecideError::NotWaiting(State::Expired));
    assert_eq!(of(&mut rig, &digest, allow(Some(&["7"]), Scope::Once), NOW), DecideError::OtherObjects);
    assert_eq!(of(&mut rig, &digest, allow(Some(&[]), Scope::Once), NOW), DecideError::Nothing);
    let typed = |forever, retyped_count| Verdict::Allow { objects: None, scope: Scope::Once, forever, retyped_count };
    assert_eq!(of(&mut rig, &digest, typed(true, Some(6)), NOW), DecideError::NotForever);
    assert_eq!(of(&mut rig, &digest, typed(false, Some(5)), NOW), DecideError::Retype(6));
    rig.guard.gate().raise();
    assert_eq!(of(&mut rig, &digest, whole(), NOW), DecideError::Stopped);

    let mut rig = Rig::new(Preset::Organize);
    let id = rig.held(&delete(&["1", "2"]));
    assert_eq!(rig.decide_at(&id, allow(None, Scope::Task), NOW).unwrap_err(), DecideError::OnceOnly);
    assert_eq!(rig.decide_at(&id, typed(true, None), NOW).unwrap_err(), DecideError::Retype(2));
    assert_eq!(rig.decide_at(&id, typed(true, Some(3)), NOW).unwrap_err(), DecideError::Retype(2));
    assert_eq!(rig.decide_at(&id, typed(true, Some(2)), NOW).unwrap().state, State::Allowed);
    assert_eq!(rig.decide_at(&id, typed(true, Some(2)), NOW).unwrap_err(), DecideError::NotWaiting(State::Allowed));

    // A mail has no objects to untick.
    let mut rig = Rig::new(Preset::Assistant);
    let both = batch([mail("eve@example.org"), trash(&six)]);
    let id = rig.held(&both);
    assert_eq!(rig.decide_at(&id, allow(Some(&["1"]), Scope::Once), NOW).unwrap_err(), DecideError::NotDivisible);
}

#[test]
fn a_notification_allows_what_is_small_and_gentle() {
    let decide = |request: &Request| {
        let mut rig = Rig::new(Preset::AskEverything);
        let id = rig.held(request);
        let digest = rig.prepare(&id);
        rig.guard.decide(&id, &digest, allow(None, Scope::Once), BY_NOTIFICATION, NOW).map(|decided| decided.state)
    };
    let ids: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    assert_eq!(decide(&trash(&ids[..20])), Ok(State::Allowed));
    assert_eq!(decide(&trash(&ids)), Err(DecideError::NotByNotification));
    assert_eq!(decide(&delete(&["1"])), Err(DecideError::NotByNotification));
    assert_eq!(decide(&mail("eve@example.org")), Err(DecideError::NotByNotification));
}

#[test]
fn an_allowed_hold_is_taken_once_in_time_and_in_its_epoch() {
    let six = trash(&["1", "2", "3", "4", "5", "6"]);
    let mut rig = Rig::new(Preset::Organize);
    let waits = rig.held(&delete(&["9"]));
    assert!(rig.guard.take_allowed(&waits, NOW).is_none());
    let id = rig.allowed(&six, Scope::Once);
    assert!(rig.guard.take_allowed(&id, at(crate::hold::KEEP)).is_none());
    assert!(rig.guard.take_allowed(&id, NOW).is_some());
    assert!(rig.guard.take_allowed(&id, NOW).is_none());
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.allowed(&six, Scope::Once);
    rig.guard.gate().raise();
    assert!(rig.guard.take_allowed(&id, NOW).is_none());
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.allowed(&six, Scope::Once);
    rig.guard.handle_unreadable(&id, "the mailbox is gone", NOW);
    assert!(rig.guard.take_allowed(&id, NOW).is_none(), "allowed and then unreadable");
    assert_eq!(rig.guard.hold(&id).unwrap().state, State::Failed);
}

#[test]
fn a_lease_is_for_one_call_of_a_plan_once_and_in_its_epoch() {
    let mut rig = Rig::new(Preset::Organize);
    let permit = rig.permitted(&trash(&["1"]));
    let call = call("/a");
    let mut plan = rig.guard.begin(permit, std::slice::from_ref(&call), NOW);
    let intent = rig.guard.intent(&mut plan, 0, NOW);
    assert!(!intent.charges.is_empty());
    assert_eq!(rig.guard.intent(&mut plan, 0, NOW).charges, [], "charged once");
    let lease = rig.guard.lease(&mut plan, 0).unwrap();
    assert!(rig.guard.lease(&mut plan, 0).is_err(), "leased once");
    assert!(rig.guard.lease(&mut plan, 1).is_err(), "not of the plan");
    let gate = rig.guard.gate().clone();
    assert_eq!(lease.redeem("work", &call, &gate).unwrap_err(), LeaseError::OtherAccount);
    let mut again = || {
        let permit = rig.permitted(&trash(&["1"]));
        let mut plan = rig.guard.begin(permit, std::slice::from_ref(&call), NOW);
        rig.guard.lease(&mut plan, 0).unwrap()
    };
    assert_eq!(again().redeem("mine", &self::call("/b"), &gate).unwrap_err(), LeaseError::OtherCall);
    let redeemed = again().redeem("mine", &call, &gate).unwrap();
    assert!(redeemed.stands());
    let late = again();
    let permit = rig.permitted(&trash(&["1"]));
    let mut plan = rig.guard.begin(permit, std::slice::from_ref(&call), NOW);
    gate.raise();
    assert!(!redeemed.stands());
    assert_eq!(late.redeem("mine", &call, &gate).unwrap_err(), LeaseError::Stopped);
    assert!(rig.guard.lease(&mut plan, 0).is_err());
    assert!(rig.guard.lease_preview("mine", &Call { method: Method::GET, ..self::call("/a") }, Epoch(0)).is_err());
    assert!(rig.guard.lease_refresh("mine", &call, Epoch(0)).is_err());
    let epoch = gate.current();
    assert!(rig.guard.lease_preview("mine", &call, epoch).is_err(), "reading for the person is a GET");
    assert!(rig.guard.lease_preview("mine", &Call { method: Method::GET, ..self::call("/a") }, epoch).is_ok());
    assert!(rig.guard.lease_refresh("mine", &call, epoch).is_ok());
}

#[test]
fn while_panicked_only_undo_is_leased() {
    let mut rig = Rig::new(Preset::Organize);
    let permit = rig.permitted(&trash(&["1"]));
    let call = call("/a");
    let mut plan = rig.guard.begin(permit, std::slice::from_ref(&call), NOW);
    // Stopped at the start of an engine: the epoch is the present one, and still nothing leaves.
    rig.guard.state.panicked = Some("an older database".to_owned());
    assert!(rig.guard.lease(&mut plan, 0).is_err());
    let mut undo = rig.guard.begin_undo("mine", "x", Class::Modify, 1, std::slice::from_ref(&call));
    assert!(rig.guard.lease(&mut undo, 0).is_ok());
}

#[test]
fn the_intent_of_a_hold_takes_it_out_of_the_store() {
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.allowed(&trash(&["1", "2", "3", "4", "5", "6"]), Scope::Once);
    let (permit, ..) = rig.guard.take_allowed(&id, NOW).unwrap();
    let mut plan = rig.guard.begin(permit, &[call("/a")], NOW);
    assert_eq!(rig.guard.intent(&mut plan, 0, NOW).deletes, [(Shelf::Hold, id)]);
    let id = rig.held(&trash(&["1", "2", "3", "4", "5", "7"]));
    let denied = rig.decide_at(&id, Verdict::Deny, NOW).unwrap();
    assert!(denied.commit.deletes.contains(&(Shelf::Hold, id)));
}

#[test]
fn a_delayed_mail_needs_its_grant_its_epoch_and_its_agent_still() {
    let mail = mail("ann@example.org");
    let rig = || {
        let mut rig = Rig::new(Preset::Assistant);
        rig.guard.learn("mine", &["ann@example.org".to_owned()]);
        rig
    };
    let permit = |rig: &mut Rig, now| rig.guard.permit_delayed("a", "mine", &mail, Epoch(0), now).is_ok();
    assert!(permit(&mut rig(), NOW));
    let stops: [fn(&mut Guard); 5] = [
        |guard| _ = guard.gate().raise(),
        |guard| _ = guard.state.stopped.insert("a".to_owned()),
        |guard| guard.state.panicked = Some("why".to_owned()),
        |guard| grant(guard, "a", "mine", Preset::Organize, None),
        |guard| grant(guard, "a", "mine", Preset::AskEverything, None),
    ];
    for stop in stops {
        let mut stopped = rig();
        stop(&mut stopped.guard);
        assert!(!permit(&mut stopped, NOW));
    }
    let mut over = rig();
    grant(&mut over.guard, "a", "mine", Preset::Assistant, Some(START + Span::seconds(9)));
    assert!(permit(&mut over, NOW));
    assert!(!permit(&mut over, at(Span::seconds(9))));
}

#[test]
fn a_panic_ends_tokens_holds_allowances_and_is_stored() {
    let mut rig = Rig::new(Preset::AskEverything);
    rig.allowed(&trash(&["1", "2"]), Scope::Task);
    let waits = rig.held(&trash(&["3"]));
    let epoch = rig.guard.gate().raise();
    let (_, cut, commit) = rig.guard.handle_panic("why", NOW);
    assert_eq!((cut.tokens, cut.holds), (1, 3));
    assert!(rig.guard.tokens.len() == 0 && rig.guard.allowances.is_empty());
    assert_eq!(rig.guard.hold(&waits).unwrap().state, State::Denied);
    let stored = commit.puts.iter().find(|put| put.id == "guard").expect("the stop is stored");
    let stored: Persistent = serde_json::from_value(stored.value.clone()).unwrap();
    assert_eq!((stored.epoch, stored.panicked.as_deref()), (epoch.0, Some("why")));
    assert!(stored.stopped.contains("a"));
    assert_eq!(rig.guard.issue("a", token(), None, None, NOW).unwrap_err(), TokenError::Stopped);
}

#[test]
fn resume_is_for_one_agent_and_with_what_was_chosen() {
    let mut rig = Rig::new(Preset::Assistant);
    connect(&mut rig.guard, "b", START);
    grant(&mut rig.guard, "b", "mine", Preset::Assistant, None);
    rig.guard.gate().raise();
    rig.guard.handle_panic("why", NOW);
    rig.guard.resume(Some("a"), Preset::ReadOnly, NOW);
    assert!(rig.guard.is_stopped("b") && !rig.guard.is_stopped("a"));
    assert_eq!(rig.guard.issue("b", Digest::of(&[b"b"]), None, None, NOW).unwrap_err(), TokenError::Stopped);
    rig.guard.issue("a", token(), None, None, NOW).unwrap();
    rig.session = rig.guard.authenticate(&token(), NOW).unwrap();
    assert!(matches!(rig.ask(&trash(&["1"])), Ruling::Forbid { .. }), "read-only first");
    let _ = rig.permitted(&read("1"));
    rig.guard.resume(Some("a"), Preset::Assistant, NOW);
    let _ = rig.permitted(&trash(&["1"]));
}

#[test]
fn whoever_leaves_takes_everything_along() {
    let gone = |rig: &Rig, id: &str| {
        let waits = rig.guard.hold(id).is_some_and(|hold| hold.state.waits());
        !waits && rig.guard.allowances.is_empty()
    };
    let mut rig = Rig::new(Preset::AskEverything);
    rig.allowed(&trash(&["1", "2"]), Scope::Task);
    let id = rig.held(&trash(&["3"]));
    let commit = rig.guard.disconnect("a", NOW).unwrap();
    assert!(gone(&rig, &id) && rig.guard.grants().count() == 0);
    assert_eq!(rig.guard.authenticate(&token(), NOW).unwrap_err(), TokenError::Unknown);
    assert!(commit.deletes.iter().filter(|(shelf, _)| *shelf == Shelf::Grant).count() == 2);
    let mut rig = Rig::new(Preset::AskEverything);
    rig.allowed(&trash(&["1", "2"]), Scope::Task);
    let id = rig.held(&trash(&["3"]));
    rig.guard.forget_account("mine", NOW);
    assert!(gone(&rig, &id));
    assert!(matches!(rig.ask(&read("1")), Ruling::Forbid { .. }));
    assert!(matches!(rig.ask_at("work", &read("1"), NOW), Ruling::Permit(_)));
    let mut left = Rig::new(Preset::Organize);
    let id = left.held(&delete(&["3"]));
    left.guard.deny_all("nobody is there", NOW);
    assert_eq!(left.guard.hold(&id).unwrap().state, State::Denied);
}

#[test]
fn time_ends_what_it_should_and_forgets_it() {
    let mut rig = Rig::new(Preset::AskEverything);
    rig.allowed(&trash(&["1"]), Scope::Task);
    let gentle = rig.held(&trash(&["3"]));
    let hard = rig.held(&delete(&["4"]));
    rig.prepare(&gentle);
    rig.prepare(&hard);
    rig.guard.handle_timeout(at(Span::minutes(10)));
    assert_eq!(rig.guard.hold(&gentle).unwrap().state, State::Proposal);
    assert_eq!(rig.guard.hold(&hard).unwrap().state, State::Expired);
    rig.guard.handle_timeout(at(Span::hours(1)));
    assert!(rig.guard.allowances.is_empty() && rig.guard.tokens.len() == 0);
}

#[test]
fn a_stored_hold_comes_back_as_a_proposal_of_the_same_bytes() {
    let mut rig = Rig::new(Preset::Organize);
    let id = rig.held(&trash(&["1", "2", "3", "4", "5", "6"]));
    let stored = Stored::of(rig.guard.hold(&id).unwrap()).unwrap();
    let proposal = |change: &dyn Fn(&mut Value)| {
        let mut value = serde_json::to_value(&stored).unwrap();
        change(&mut value);
        serde_json::from_value::<Stored>(value).unwrap().into_proposal(Span::hours(24), Epoch(0))
    };
    let whole = proposal(&|_| {}).unwrap();
    assert!(proposal(&|value| value["agent"] = json!("b")).is_none());
    assert!(proposal(&|value| value["account"] = json!("work")).is_none());
    assert!(proposal(&|value| value["parts"][0]["operation"]["action"] = json!("gmail.x")).is_none());
    let loaded = Loaded { proposals: vec![whole], ..Loaded::default() };
    let mut guard = Guard::new(Pdp::new("").unwrap(), loaded, Lifetimes::default());
    assert_eq!(guard.hold(&id).unwrap().state, State::Proposal);
    assert!(guard.take_allowed(&id, NOW).is_none());
}

#[test]
fn tokens_live_an_hour_at_most_and_are_bounded() {
    let mut rig = Rig::new(Preset::Organize);
    let hash = Digest::of(&[b"long"]);
    let (life, _) = rig.guard.issue("a", hash, None, Some(Span::days(3)), NOW).unwrap();
    assert_eq!(life, Span::hours(1));
    assert!(rig.guard.authenticate(&hash, at(Span::hours(1))).is_err());
    let asked = AuthorizationDetail::parse(&json!([
        { "type": "latchstring_account", "account": "mine", "preset": "assistant" }
    ]));
    let more = rig.guard.issue("a", Digest::of(&[b"more"]), Some(&asked.unwrap()), None, NOW);
    assert!(matches!(more, Err(TokenError::Exchange(_))), "{more:?}");
}

/// I4: only what is deleted stays over when the clock is turned back at the next start.
#[test]
fn a_grant_that_is_over_is_deleted_and_recorded() {
    let mut rig = Rig::new(Preset::Organize);
    let end = Span::seconds(5);
    grant(&mut rig.guard, "a", "mine", Preset::Organize, Some(START + end));
    assert!(rig.guard.poll_timeout().is_some_and(|due| due <= START + end));
    assert_eq!(rig.guard.handle_timeout(at(Span::seconds(4))), crate::journal::Commit::default());
    let commit = rig.guard.handle_timeout(at(end));
    assert!(matches!(commit.deletes.as_slice(), [(Shelf::Grant, _)]), "{commit:?}");
    assert_eq!(commit.records[0].time, START + end, "the high-water mark is past its end");
    assert_eq!(rig.guard.grants().count(), 1);
    assert!(matches!(rig.ask(&read("1")), Ruling::Forbid { .. }), "also at an earlier time");
}

#[test]
fn a_grant_that_is_over_or_anothers_opens_nothing() {
    let mut rig = Rig::new(Preset::Organize);
    grant(&mut rig.guard, "a", "mine", Preset::Organize, Some(START + Span::seconds(5)));
    let _ = rig.permitted(&read("1"));
    assert!(matches!(rig.ask_at("mine", &read("1"), at(Span::seconds(5))), Ruling::Forbid { .. }));
    connect(&mut rig.guard, "b", START);
    grant(&mut rig.guard, "b", "other", Preset::Organize, None);
    assert!(matches!(rig.ask_at("other", &read("1"), NOW), Ruling::Forbid { .. }));
}
