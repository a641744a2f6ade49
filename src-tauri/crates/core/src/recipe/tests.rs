#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::sync::LazyLock;

use http::{HeaderMap, Method};
use proptest::prelude::*;

use super::*;
use crate::catalog::Catalog;
use crate::classify::http::{Head, route};
use crate::classify::mail::to_base64;

fn gmail() -> &'static Provider {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::shipped().unwrap());
    CATALOG.provider("gmail").unwrap()
}

fn part(method: &str, path: &str, body: Value) -> Part {
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let target = format!("/gmail/v1/users/me{path}");
    let head = Head { method: &method, target: &target, headers: &headers, mount: "" };
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    route(gmail(), head).unwrap().classify(&body).unwrap().parts.remove(0)
}

fn done(part: &Part, answers: &[(String, Value)]) -> Part {
    match resolved(gmail(), part, answers).unwrap() {
        Resolution::Done(part) => *part,
        Resolution::More(calls) => panic!("more: {calls:?}"),
    }
}

fn thread(ids: &[&str]) -> Vec<(String, Value)> {
    let messages: Vec<Value> = ids.iter().map(|id| json!({ "id": id, "threadId": "t1" })).collect();
    vec![("t1".to_owned(), json!({ "id": "t1", "messages": messages }))]
}

#[test]
fn a_thread_is_its_messages() {
    let asked = part("POST", "/threads/t1/trash", Value::Null);
    let reads = resolve(gmail(), &asked);
    assert_eq!(
        (reads[0].0.as_str(), reads[0].1.target.as_str()),
        ("t1", "/gmail/v1/users/me/threads/t1?format=minimal")
    );
    let known = done(&asked, &thread(&["a", "b", "a"]));
    assert_eq!(known.operation.objects.ids(), ["a", "b"]);
    assert!(resolve(gmail(), &known).is_empty());
    let softened = soften(gmail(), &known).unwrap();
    assert_eq!(softened.calls.len(), 1);
    assert_eq!(
        body(&softened.calls[0].1).unwrap(),
        json!({"ids": ["a", "b"], "addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX"]})
    );
    let answer: Value = serde_json::from_slice(&softened.answer.body).unwrap();
    assert_eq!((softened.answer.status, answer), (200, json!({"id": "t1", "messages": [{"id": "a"}, {"id": "b"}]})));
    assert!(resolved(gmail(), &asked, &[]).is_err());
    assert!(resolved(gmail(), &asked, &[("t1".to_owned(), json!({"messages": [{"no": "id"}]}))]).is_err());
}

#[test]
fn a_thread_deleted_for_ever_is_frozen_to_what_was_read() {
    let known = done(&part("DELETE", "/threads/t1?fields=id", Value::Null), &thread(&["a", "b"]));
    assert_eq!(known.call.target, "/gmail/v1/users/me/messages/batchDelete");
    assert_eq!(body(&known.call).unwrap(), json!({"ids": ["a", "b"]}));
}

#[test]
fn a_label_is_read_page_by_page() {
    let asked = part("DELETE", "/labels/Label_1", Value::Null);
    let page = |ids: &[String], next: Option<&str>| {
        let messages: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        ("Label_1".to_owned(), json!({ "messages": messages, "nextPageToken": next }))
    };
    let ids = |from: usize| (from..from + 3).map(|id| format!("m{id}")).collect::<Vec<_>>();
    let mut answers = vec![page(&ids(0), Some("p&2"))];
    let Resolution::More(calls) = resolved(gmail(), &asked, &answers).unwrap() else { panic!("one page only") };
    assert!(calls[0].1.target.ends_with("&maxResults=500&pageToken=p%262"), "{}", calls[0].1.target);
    answers.push(page(&ids(3), None));
    assert_eq!(done(&asked, &answers).operation.objects.count(), 6);
    let many: Vec<String> = (0..=MOST_OBJECTS).map(|id| format!("m{id}")).collect();
    assert_eq!(resolved(gmail(), &asked, &[page(&many, None)]), Err(RecipeError::TooMany { limit: MOST_OBJECTS }));
    assert!(done(&asked, &[page(&[], None)]).operation.objects.ids().is_empty());
}

#[test]
fn a_stored_draft_is_sent_as_it_was_read() {
    let asked = part("POST", "/drafts/send", json!({"id": "r1"}));
    assert_eq!(resolve(gmail(), &asked)[0].1.target, "/gmail/v1/users/me/drafts/r1?format=raw");
    let raw = to_base64(b"To: a@x.org\r\nBcc: b@x.org\r\nSubject: s\r\n\r\ntext");
    let known = done(&asked, &[("r1".to_owned(), json!({"id": "r1", "message": {"raw": raw, "threadId": "t"}}))]);
    assert_eq!(known.operation.objects.ids(), ["r1"]);
    assert_eq!(known.operation.audience.as_ref().unwrap().members.len(), 2);
    assert_eq!(body(&known.call).unwrap(), json!({"id": "r1", "message": {"raw": raw, "threadId": "t"}}));
    let (send, tidy) = send_stored(gmail(), &known).unwrap();
    assert_eq!((&send.method, send.target.as_str()), (&Method::POST, "/gmail/v1/users/me/messages/send"));
    assert_eq!(body(&send).unwrap(), json!({"raw": raw, "threadId": "t"}));
    assert_eq!(tidy.unwrap().target, "/gmail/v1/users/me/drafts/r1");
    let inline = part("POST", "/drafts/send", json!({"id": "r1", "message": {"raw": raw}}));
    assert_eq!(body(&send_stored(gmail(), &inline).unwrap().0).unwrap(), json!({"raw": raw}));
    assert!(send_stored(gmail(), &part("POST", "/messages/send", json!({"raw": raw}))).is_none());
    let other = to_base64(b"To: z@x.org\r\nSubject: s\r\n\r\ntext");
    let changed = done(&asked, &[("r1".to_owned(), json!({"id": "r1", "message": {"raw": other, "threadId": "t"}}))]);
    assert_ne!(known.operation.content, changed.operation.content);
    let broken = done(
        &asked,
        &[("r1".to_owned(), json!({"id": "r1", "message": {"raw": to_base64(b"To: a@x\rBcc: b@x\r\n\r\n")}}))],
    );
    assert!(broken.operation.opaque && broken.operation.class == Class::Unclassified);
    assert!(resolved(gmail(), &asked, &[("r1".to_owned(), json!({"id": "r1"}))]).is_err());
}

#[test]
fn the_dialog_sees_subject_sender_date_and_flags() {
    let asked = part("POST", "/messages/a/trash", Value::Null);
    let call = preview(gmail(), &asked, "a").unwrap();
    assert_eq!(
        call.target,
        "/gmail/v1/users/me/messages/a?format=metadata&metadataHeaders=From&metadataHeaders=Subject&metadataHeaders=Date"
    );
    let answer = json!({"labelIds": ["INBOX", "STARRED"], "internalDate": "1763798400000", "payload": {"headers": [
        {"name": "subject", "value": "Hi"}, {"name": "From", "value": "Alice <a@x.org>"}]}});
    let seen = view(gmail(), "message", "a", &answer);
    assert_eq!((seen.title.as_str(), seen.from.as_deref()), ("Hi", Some("Alice <a@x.org>")));
    assert_eq!(
        (seen.date.as_deref(), seen.flags),
        (Some("2025-11-22T08:00:00Z"), vec!["inbox".to_owned(), "starred".to_owned()])
    );
    assert_eq!(view(gmail(), "message", "a", &json!({})).title, "a");
    assert_eq!(view(gmail(), "message", "a", &json!({"internalDate": "-9e99", "payload": 3})).date, None);
    assert!(preview(gmail(), &part("GET", "/profile", Value::Null), "a").is_none());
    assert!(preview(gmail(), &asked, "../x").is_none());
}

#[test]
fn a_part_of_a_thread_is_a_bulk_call() {
    let keep = ["b".to_owned()];
    let of = |method: &str, path: &str, body: Value| {
        restrict(gmail(), &done(&part(method, path, body), &thread(&["a", "b"])), &keep).unwrap()
    };
    let deleted = of("DELETE", "/threads/t1", Value::Null);
    assert_eq!(deleted.call.target, "/gmail/v1/users/me/messages/batchDelete");
    assert_eq!(body(&deleted.call).unwrap(), json!({"ids": ["b"]}));
    let archived = of("POST", "/threads/t1/modify", json!({"removeLabelIds": ["INBOX"]}));
    assert_eq!(body(&archived.call).unwrap(), json!({"ids": ["b"], "addLabelIds": [], "removeLabelIds": ["INBOX"]}));
    assert_eq!(body(&soften(gmail(), &archived).unwrap().calls[0].1).unwrap()["removeLabelIds"], json!(["INBOX"]));
    let label = done(
        &part("DELETE", "/labels/L", Value::Null),
        &[("L".to_owned(), json!({"messages": [{"id": "a"}, {"id": "b"}]}))],
    );
    assert!(restrict(gmail(), &label, &keep).is_none(), "a label is deleted whole");
}

#[test]
fn a_mail_waits_as_a_draft_with_its_own_text() {
    let raw = to_base64(b"To: a@x.org\r\nSubject: s\r\n\r\ntext");
    let asked = part("POST", "/messages/send", json!({"raw": raw, "threadId": "t"}));
    let create = divert_to_draft(gmail(), &asked).unwrap();
    assert_eq!((&create.method, create.target.as_str()), (&Method::POST, "/gmail/v1/users/me/drafts"));
    assert_eq!(body(&create).unwrap(), json!({"message": {"threadId": "t", "raw": raw}}));
    let answer = json!({"id": "r1", "message": {"id": "m1", "threadId": "t"}});
    let (draft, told) = diverted(gmail(), &asked, &answer).unwrap();
    assert_eq!(
        (draft.as_str(), serde_json::from_slice::<Value>(&told.body).unwrap()),
        ("r1", json!({"id": "m1", "threadId": "t"}))
    );
    let cancel = cancel_draft(gmail(), &asked.params, "r1").unwrap();
    assert_eq!((&cancel.method, cancel.target.as_str()), (&Method::DELETE, "/gmail/v1/users/me/drafts/r1"));
    assert!(divert_to_draft(gmail(), &part("POST", "/drafts/send", json!({"id": "r1"}))).is_none());
}

#[test]
fn a_large_mail_waits_too() {
    let text = format!("To: a@x.org\r\nSubject: s\r\n\r\n{}", "x".repeat(5 * 1024 * 1024));
    let asked = part("POST", "/messages/send", json!({"raw": to_base64(text.as_bytes())}));
    let create = divert_to_draft(gmail(), &asked).unwrap();
    assert_eq!(create.target, "/upload/gmail/v1/users/me/drafts?uploadType=multipart");
    let value = upload::value_of(&create, "/message/raw", gmail().file.json_names).unwrap();
    assert_eq!(mail::from_base64(value["message"]["raw"].as_str().unwrap()).unwrap(), text.as_bytes());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn what_is_allowed_in_part_is_exactly_that_part(ids in prop::collection::btree_set("[a-f0-9]{1,4}", 1..20), mask in any::<u32>()) {
        let ids: Vec<String> = ids.into_iter().collect();
        let keep: Vec<String> = ids.iter().enumerate().filter(|(at, _)| mask & (1 << at) != 0).map(|(_, id)| id.clone()).collect();
        let asked = part("POST", "/messages/batchModify", json!({"ids": ids, "addLabelIds": ["TRASH"]}));
        match restrict(gmail(), &asked, &keep) {
            None => prop_assert!(keep.is_empty()),
            Some(part) => {
                prop_assert_eq!(part.operation.objects.ids(), &keep[..]);
                prop_assert_eq!(&body(&part.call).unwrap()["ids"], &json!(keep));
                prop_assert_eq!(part.operation.content, asked.operation.content);
            }
        }
        prop_assert!(restrict(gmail(), &asked, &["not-there".to_owned()]).is_none());
    }
}

const SENT: &str = "/gmail/v1/users/me/messages";

fn me() -> Vec<(String, String)> {
    vec![("userId".to_owned(), "me".to_owned())]
}

#[test]
fn sent_mail_is_searched_for_plain_addresses_only() {
    let call = sent::search(gmail(), &me(), "bob.b+x@shop-1.example").unwrap();
    assert_eq!(call.target, format!("{SENT}?labelIds=SENT&maxResults=500&q=to%3Abob.b%2Bx@shop-1.example"));
    for address in [
        "bob",
        "@b.example",
        "bob@",
        "-bob@b.example",
        "a b@b.example",
        "\"a\"@b.example",
        "a@b.example OR from:me",
        "a@b.example)",
        "{a}@b.example",
        "a&q=x@b.example",
        "b\u{f6}b@b.example",
        "from:a@b.example",
        "a@-b.example",
        "a@b_c.example",
        &format!("{}@b.example", "a".repeat(300)),
    ] {
        assert_eq!(sent::search(gmail(), &me(), address), None, "{address}");
    }
}

#[test]
fn mail_servers_of_the_same_mailboxes_are_known() {
    assert!(sent::also_at(gmail(), "IMAP.gmail.com."));
    assert!(!sent::also_at(gmail(), "imap.gmail.com.evil.example"));
}

#[test]
fn only_a_sent_mail_to_exactly_this_address_proves_anything() {
    let mail = |labels: Value, name: &str, value: &str| json!({ "id": "s1", "labelIds": labels, "payload": { "headers": [{ "name": name, "value": value }] } });
    let went = |answer: &Value| sent::went_to(gmail(), answer, "bob@b.example");
    for value in ["bob@b.example", "Bob <BOB@b.example>, c@c.example", "\"Bob, B\" <bob@B.example>"] {
        for name in ["To", "Cc", "bcc"] {
            assert!(went(&mail(json!(["SENT"]), name, value)), "{name}: {value}");
        }
    }
    for answer in [
        mail(json!(["INBOX"]), "To", "bob@b.example"),
        mail(json!(["SENT", "DRAFT"]), "To", "bob@b.example"),
        mail(json!(["SENT"]), "From", "bob@b.example"),
        mail(json!(["SENT"]), "To", "xbob@b.example"),
        mail(json!(["SENT"]), "To", "bob@b.example.evil.example"),
        mail(json!(["SENT"]), "To", "\"bob@b.example\" <evil@evil.example>"),
        json!({ "labelIds": ["SENT"] }),
        Value::Null,
    ] {
        assert!(!went(&answer), "{answer}");
    }
    assert_eq!(sent::found(gmail(), &json!({ "messages": [{ "id": "a" }, { "id": "../x" }, {}] })), ["a"]);
    assert!(sent::found(gmail(), &json!({})).is_empty());
}

#[test]
fn what_an_agent_puts_among_the_sent_mail_is_known_for_what_it_is() {
    let raw = to_base64(b"From: me@example.com\r\nTo: Bob <bob@B.example>\r\nSubject: Hi\r\n\r\nText");
    let send = part("POST", "/messages/send", json!({ "raw": raw }));
    let to_bob = sent::Writes::New(Some(vec!["bob@b.example".to_owned()]));
    assert_eq!(sent::writes(gmail(), &send), Some(to_bob.clone()));
    assert_eq!(sent::made(gmail(), &send, &json!({ "id": "n1" })), Some(Some("n1".to_owned())));
    assert_eq!(sent::made(gmail(), &send, &json!({ "labelIds": [] })), None, "no id: nobody knows");
    for path in ["/messages", "/messages/import"] {
        let insert = part("POST", path, json!({ "raw": raw, "labelIds": ["SENT"] }));
        assert_eq!(sent::writes(gmail(), &insert), Some(to_bob.clone()), "{path}");
        let made = |labels: Value| sent::made(gmail(), &insert, &json!({ "id": "n1", "labelIds": labels }));
        let n1 = Some(Some("n1".to_owned()));
        assert_eq!((made(json!(["SENT"])), made(json!(["INBOX"]))), (n1.clone(), Some(None)));
        assert_eq!(sent::made(gmail(), &insert, &json!({ "id": "n1" })), n1, "when in doubt");
    }
    let relabel = part("POST", "/messages/batchModify", json!({ "ids": ["a", "b"], "addLabelIds": ["SENT"] }));
    assert_eq!(sent::writes(gmail(), &relabel), Some(sent::Writes::Messages(vec!["a".to_owned(), "b".to_owned()])));
    for harmless in [
        part("POST", "/drafts", json!({ "message": { "raw": raw } })),
        part("POST", "/messages/batchModify", json!({ "ids": ["a"], "addLabelIds": ["Label_1"] })),
        part("POST", "/messages/m1/trash", Value::Null),
        part("GET", "/messages/m1", Value::Null),
    ] {
        assert_eq!(sent::writes(gmail(), &harmless), None, "{}", harmless.operation.action);
    }
}

#[test]
fn taking_the_star_off_and_moving_to_the_inbox_is_noticed() {
    for (body, expected) in [
        (json!({ "ids": ["a"], "removeLabelIds": ["STARRED"] }), true),
        (json!({ "ids": ["a"], "removeLabelIds": ["UNREAD", "starred"] }), true),
        (json!({ "ids": ["a"], "addLabelIds": ["STARRED"] }), false),
        (json!({ "ids": ["a"], "addLabelIds": ["inbox"] }), true),
        (json!({ "ids": ["a"], "removeLabelIds": ["INBOX"] }), false),
        (json!({ "ids": ["a"], "removeLabelIds": ["UNREAD"] }), false),
    ] {
        assert_eq!(sways(gmail(), &part("POST", "/messages/batchModify", body.clone())), expected, "{body}");
    }
}
