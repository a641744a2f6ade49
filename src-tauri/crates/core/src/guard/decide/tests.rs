#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::*;
use crate::catalog::Catalog;
use crate::classify::http::{Head, route};
use crate::grant::{AuthorizationDetail, Grant, Preset};
use crate::guard::{Agent, Context, Lifetimes, Loaded, Ruling};
use crate::pdp::Pdp;

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
    guard.issue("a", token, None, None, NOW).unwrap();
    let session = guard.authenticate(&token, NOW).unwrap();
    let Ruling::Held { id, .. } = guard.handle_request(&session, "mine", &request, Context::default(), NOW) else {
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
    let catalog = Catalog::shipped().unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let target = "/gmail/v1/users/me/messages/batchModify";
    let head = Head { method: &Method::POST, target, headers: &headers, mount: "" };
    let routed = route(catalog.provider("gmail").unwrap(), head).unwrap();
    let request = routed.classify(&Bytes::from(body.to_owned())).unwrap();
    let session = guard.authenticate(&Digest::of(&[b"token"]), NOW).unwrap();
    guard.handle_request(&session, "mine", &request, Context::default(), NOW)
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
