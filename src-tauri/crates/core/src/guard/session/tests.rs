#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use bytes::Bytes;
use http::{HeaderMap, Method};
use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;
use crate::classify::http::{Head, route};
use crate::grant::Preset;
use crate::guard::judge::Judged;
use crate::guard::{Lifetimes, Loaded};
use crate::operation::Request;
use crate::time::Time;

const NOW: Now = Now { time: Time(5_000_000), wall: 5_000_000 };

fn guard(presets: &[(&str, Preset)]) -> Guard {
    let mut guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
    let since = NOW.time;
    let agent = Agent { id: "a".into(), client_id: "a".into(), name: "A".into(), program: None, pairing: None, since };
    guard.connect(agent, NOW).unwrap();
    for (account, preset) in presets {
        let detail = AuthorizationDetail::new(*account, *preset);
        let grant = Grant { id: String::new(), agent: "a".into(), detail, created_at: since, expires_at: None };
        guard.grant(grant, NOW).unwrap();
    }
    guard
}

fn requests() -> Vec<Request> {
    let catalog = Catalog::shipped().unwrap();
    let gmail = catalog.provider("gmail").unwrap();
    let request = |method: Method, below: &str, body: Value| {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", "application/json".parse().unwrap());
        let target = format!("/gmail/v1/users/me/{below}");
        let routed = route(gmail, Head { method: &method, target: &target, headers: &headers, mount: "" }).unwrap();
        routed.classify(&Bytes::from(if body.is_null() { String::new() } else { body.to_string() })).unwrap()
    };
    use base64::Engine as _;
    let raw = base64::engine::general_purpose::URL_SAFE.encode("To: eve@example.org\r\nSubject: Hi\r\n\r\nHi\r\n");
    vec![
        request(Method::GET, "messages/m1", Value::Null),
        request(Method::POST, "messages/batchModify", json!({ "ids": ["m1", "m2"], "addLabelIds": ["STARRED"] })),
        request(
            Method::POST,
            "messages/batchModify",
            json!({ "ids": ["m1", "m2", "m3"], "removeLabelIds": ["INBOX"] }),
        ),
        request(Method::POST, "messages/m1/trash", Value::Null),
        request(Method::POST, "messages/batchDelete", json!({ "ids": ["m1"] })),
        request(Method::POST, "messages/send", json!({ "raw": raw })),
        request(Method::POST, "settings/filters", json!({ "criteria": {}, "action": {} })),
        request(Method::POST, "unheard", json!({})),
    ]
}

/// 0: runs unasked; 1: asked; 2: forbidden.
fn strictness(guard: &Guard, token: &Digest, account: &str, request: &Request, now: Now) -> u8 {
    let Ok(session) = guard.authenticate(token, now) else { return 2 };
    let Some((grant, narrowed)) = guard.effective(&session, account, now) else { return 2 };
    match guard.judge(grant, narrowed, request, now) {
        Judged::Permit { .. } => 0,
        Judged::Confirm { .. } => 1,
        Judged::Forbid { .. } => 2,
    }
}

/// ATTACKS 14 as the Guard decides it: whatever a token's descendant asks, it is decided no more leniently than for the token, and it never
/// outlives it; also when the grant is narrowed meanwhile.
#[test]
fn a14_no_descendant_is_decided_more_leniently() {
    let mut random = 0x1234_5678_9abc_def1_u64;
    let mut draw = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let presets = [Preset::ReadOnly, Preset::Organize, Preset::Assistant, Preset::AskEverything];
    let families =
        ["gmail.*", "gmail.users.messages.*", "gmail.users.messages.trash", "gmail.users.messages.batchModify"];
    let requests = requests();
    let (mut children, mut narrower) = (0, 0);
    for chain in 0..120_u64 {
        let pick = presets[usize::try_from(draw(4)).unwrap()];
        let mut guard = guard(&[("work", pick), ("home", Preset::Assistant)]);
        let mut token = Digest::of(&[b"token", &chain.to_be_bytes()]);
        guard.issue("a", token, None, Some(Span::minutes(10)), NOW).unwrap();
        for link in 0..5_u64 {
            let account = if draw(4) == 0 { "home" } else { "work" };
            let mut detail = json!({
                "type": "latchstring_account", "account": account,
                "preset": presets[usize::try_from(draw(4)).unwrap()].name(),
            });
            if draw(2) == 0 {
                detail["actions"] = json!([families[usize::try_from(draw(4)).unwrap()]]);
            }
            if draw(3) == 0 {
                detail["budgets"] = json!({ "remove": [draw(6), draw(60)] });
            }
            let Ok(asked) = AuthorizationDetail::parse(&json!([detail])) else { continue };
            let asked = (draw(6) > 0).then_some(asked);
            let child = Digest::of(&[b"child", &chain.to_be_bytes(), &link.to_be_bytes()]);
            let life = Span::minutes(draw(30));
            if guard.exchange(&token, asked.as_deref(), child, Some(life), NOW).is_err() {
                continue;
            }
            children += 1;
            if draw(10) == 0 {
                let detail = AuthorizationDetail::new("work", Preset::ReadOnly);
                let grant =
                    Grant { id: String::new(), agent: "a".into(), detail, created_at: NOW.time, expires_at: None };
                guard.grant(grant, NOW).unwrap();
            }
            for now in [NOW, Now { time: NOW.time + Span::minutes(draw(12)), ..NOW }] {
                for (at, request) in requests.iter().enumerate() {
                    for account in ["work", "home", "nowhere"] {
                        let of_child = strictness(&guard, &child, account, request, now);
                        let of_parent = strictness(&guard, &token, account, request, now);
                        assert!(of_child >= of_parent, "chain {chain}, link {link}, request {at} on {account}");
                        narrower += u32::from(of_child > of_parent);
                    }
                }
            }
            token = child;
        }
    }
    assert!(children > 80 && narrower > 300, "{children} children, {narrower} narrower decisions");
}

#[test]
fn a_token_that_was_never_issued_or_is_over_opens_nothing() {
    let mut guard = guard(&[("work", Preset::Organize)]);
    let token = Digest::of(&[b"token"]);
    assert_eq!(guard.authenticate(&token, NOW).unwrap_err(), TokenError::Unknown);
    guard.issue("a", token, None, Some(Span::seconds(5)), NOW).unwrap();
    let at = |seconds| Now { time: NOW.time + Span::seconds(seconds), ..NOW };
    assert!(guard.authenticate(&token, at(4)).is_ok());
    assert_eq!(guard.authenticate(&token, at(5)).unwrap_err(), TokenError::Expired);
    // A wall clock that goes back, or forth, changes nothing.
    assert!(guard.authenticate(&token, Now { wall: 0, ..at(4) }).is_ok());
    assert_eq!(guard.authenticate(&token, Now { wall: 0, ..at(5) }).unwrap_err(), TokenError::Expired);
}

#[test]
fn a_pairing_secret_is_its_own_agents_only() {
    let mut guard = guard(&[]);
    let secret = Digest::of(&[b"secret"]);
    let since = NOW.time;
    let agent =
        Agent { id: "b".into(), client_id: "cb".into(), name: "B".into(), program: None, pairing: Some(secret), since };
    guard.connect(agent, NOW).unwrap();
    assert_eq!(guard.paired(None, secret).unwrap().id, "b");
    assert_eq!(guard.paired(Some("cb"), secret).unwrap().id, "b");
    assert_eq!(guard.paired(Some("a"), secret).unwrap_err(), TokenError::Pairing);
    assert_eq!(guard.paired(None, Digest::of(&[b"guessed"])).unwrap_err(), TokenError::Pairing);
    guard.disconnect("b", NOW).unwrap();
    assert_eq!(guard.paired(None, secret).unwrap_err(), TokenError::Pairing);
}
