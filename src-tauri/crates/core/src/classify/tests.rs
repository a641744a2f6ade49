#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod batches;
mod mails;
mod properties;

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Method};
use serde_json::{Value, json};

use super::Refusal;
use super::http::{BodyNeed, Head, route};
use crate::call::CallBody;
use crate::catalog::{Catalog, Provider};
use crate::operation::{Class, Objects, Part, Request};

/// Read once: a debug build takes its time.
fn gmail() -> &'static Provider {
    static CATALOG: LazyLock<Catalog> = LazyLock::new(|| Catalog::shipped().unwrap());
    CATALOG.provider("gmail").unwrap()
}

fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        map.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
    }
    map
}

fn ask(method: &str, target: &str, pairs: &[(&str, &str)], body: &[u8]) -> Result<Request, Refusal> {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    let headers = headers(pairs);
    let head = Head { method: &method, target, headers: &headers, mount: "/mine" };
    route(gmail(), head)?.classify(&Bytes::copy_from_slice(body))
}

fn one(method: &str, target: &str, pairs: &[(&str, &str)], body: &[u8]) -> Part {
    ask(method, target, pairs, body).unwrap_or_else(|refusal| panic!("{method} {target}: {refusal}")).parts.remove(0)
}

fn refused(method: &str, target: &str, pairs: &[(&str, &str)], body: &[u8]) -> Refusal {
    let Err(refusal) = ask(method, target, pairs, body) else { panic!("{method} {target}: not refused") };
    assert!((400..500).contains(&refusal.status), "{method} {target}: {refusal}");
    refusal
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json; charset=UTF-8")];

fn post(target: &str, body: &Value) -> Part {
    one("POST", &format!("/gmail/v1/users/me{target}"), &JSON, body.to_string().as_bytes())
}

fn sent(part: &Part) -> Value {
    let CallBody::Bytes(bytes) = &part.call.body else { panic!("streamed") };
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn a24_a_path_has_one_spelling_or_none() {
    let trash = "/gmail/v1/users/me/messages/m1/trash";
    for same in [
        trash,
        "/gmail/v1/users/me/%6dessages/m1/trash",
        "/gmail/v1/users/me/messages/m1/tr%61sh",
        "/%67mail/v1/users/%6D%65/messages/m1/trash",
        "/gmail/v1/users/me/messages/m1/trash?key=AIza&access_token=ya29.x&oauth_token=t&callback=f",
    ] {
        let part = one("POST", same, &[], b"");
        assert_eq!((part.operation.class, part.call.target.as_str()), (Class::Remove, trash), "{same}");
    }
    for hidden in [
        "/gmail/v1/users/me/messages%2Fm1/trash",
        "/gmail/v1/users/me/messages/m1%252ftrash",
        "/gmail/v1/users/me/labels/x/%2e%2e/%2e%2e/messages/m1/trash",
        "/gmail/v1/users/me/labels/../messages/m1/trash",
        "/gmail/v1/users/me/labels/..;/messages/m1/trash",
        "/gmail/v1/users/me/labels/%252e%252e/messages/m1/trash",
        "/gmail/v1/users/me/messages;v=1/m1/trash",
        "/gmail/v1/users/me/messages\\m1\\trash",
        "/gmail/v1/users/me/messages/m1%5ctrash",
        "//gmail/v1/users/me/messages/m1/trash",
        "/gmail/v1/users/me//messages/m1/trash",
        "/gmail/v1/users/me/messages/m1/trash/",
        "/gmail/v1/users/me/messages/m1/trash.",
        "/gmail/v1/users/me/messages/m1/trash%20",
        "/gmail/v1/users/me/messages/m1/trash%00",
        "/gmail/v1/users/me/messages/m1/trash#x",
        "/gmail/v1/users/me/messages/m1/trash%3F",
        "/gmail/v1/users/me/messages/%zz/trash",
        "/gmail/v1/users/me/messages/%ff/trash",
        "/Gmail/v1/users/me/messages/m1/trash",
        "/gmail/v1/users/me/messages/m1/TRASH",
        "gmail/v1/users/me/messages/m1/trash",
        "/gmail/v1/users/me/settings/cse/keypairs/k1%3Aobliterate",
    ] {
        refused("POST", hidden, &[], b"");
    }
}

#[test]
fn a_list_is_a_list_and_one_id_is_one() {
    for body in [
        json!({ "ids": "m0001", "addLabelIds": ["TRASH"] }),
        json!({ "ids": ["m1"], "addLabelIds": "TRASH" }),
        json!({ "ids": ["m1"], "removeLabelIds": { "0": "INBOX" } }),
        json!({ "ids": 1 }),
        json!({ "ids": [["m1"]], "addLabelIds": ["TRASH"] }),
    ] {
        let target = "/gmail/v1/users/me/messages/batchModify";
        assert_eq!(refused("POST", target, &JSON, body.to_string().as_bytes()).status, 400, "{body}");
    }
    refused("POST", "/gmail/v1/users/me/messages/batchDelete", &JSON, br#"{"ids":"m0001"}"#);
    refused("POST", "/gmail/v1/users/me/messages/m1/modify", &JSON, br#"{"add_label_ids":"TRASH"}"#);
    refused("POST", "/gmail/v1/users/me/drafts/send", &JSON, br#"{"id":["d1"]}"#);
    let filter = br#"{"criteria":{"from":"a@b.c"},"action":{"addLabelIds":"TRASH"}}"#;
    refused("POST", "/gmail/v1/users/me/settings/filters", &JSON, filter);
    let draft = post("/drafts/send", &json!({ "id": "d1" }));
    assert!(matches!(draft.operation.objects, Objects::Within { .. }));
    post("/messages/batchModify", &json!({ "ids": ["m1"], "addLabelIds": null, "removeLabelIds": ["INBOX"] }));
}

#[test]
fn the_user_may_be_an_address_and_ids_keep_their_letters() {
    let part = one("POST", "/gmail/v1/users/a%2Bb%40example.com/messages/M-1_x/trash", &[], b"{}");
    assert_eq!(part.call.target, "/gmail/v1/users/a%2Bb@example.com/messages/M-1_x/trash");
    assert_eq!(part.operation.objects.ids(), ["M-1_x"]);
    assert_eq!(part.params[0], ("userId".to_owned(), "a+b@example.com".to_owned()));
}

#[test]
fn what_no_route_knows_is_unclassified() {
    for (method, target) in [
        ("POST", "/gmail/v1/users/me/messages/m1/explode"),
        ("GET", "/gmail/v1/users/me/messages/m1/explode"),
        ("PATCH", "/gmail/v1/users/me/messages/m1"),
        ("GET", "/gmail/v2/users/me/profile"),
        ("GET", "/"),
        ("POST", "/personal/gmail/v1/users/me/messages/m1/trash"),
    ] {
        let part = one(method, target, &[], b"");
        assert_eq!(part.operation.class, Class::Unclassified, "{method} {target}");
        assert_eq!(part.operation.action, "gmail.unclassified");
        assert!(!part.operation.opaque);
    }
    let part = one("POST", "/gmail/v9/x", &JSON, b"\xff\xfe");
    assert!(part.operation.opaque, "nobody can judge bytes that are not text");
}

#[test]
fn a23_a_method_override_is_the_method_or_refused() {
    let over = |name: &'static str, value: &'static str| [(name, value)];
    let delete = one("POST", "/gmail/v1/users/me/messages/m1", &over("X-HTTP-Method-Override", "DELETE"), b"");
    assert_eq!((delete.operation.class, &delete.call.method), (Class::Destroy, &Method::DELETE));
    assert!(delete.call.headers.is_empty(), "the header is not forwarded");
    for (method, name, value) in [
        ("POST", "x-http-method", "DELETE"),
        ("POST", "x-method-override", "DELETE"),
        ("GET", "x-http-method-override", "DELETE"),
        ("POST", "x-http-method-override", "D E"),
        ("POST", "x-http-method-override", "CONNECT"),
        ("POST", "x-original-url", "/gmail/v1/users/me/profile"),
    ] {
        refused(method, "/gmail/v1/users/me/messages/m1", &over(name, value), b"");
    }
    for query in
        ["_method=DELETE", "$method=DELETE", "$httpMethod=DELETE", "X-HTTP-Method-Override=DELETE", "%5Fmethod=DELETE"]
    {
        refused("POST", &format!("/gmail/v1/users/me/messages/m1?{query}"), &[], b"");
    }
    let twice = [("x-http-method-override", "GET"), ("x-http-method-override", "DELETE")];
    refused("POST", "/gmail/v1/users/me/messages/m1", &twice, b"");
}

#[test]
fn a_long_get_may_come_as_an_overridden_form() {
    let pairs = [("x-http-method-override", "GET"), ("content-type", "application/x-www-form-urlencoded")];
    let part = one("POST", "/gmail/v1/users/me/messages", &pairs, b"q=from%3Aalice&labelIds=INBOX");
    assert_eq!((&part.call.method, part.operation.class), (&Method::GET, Class::Read));
    assert_eq!(part.call.target, "/gmail/v1/users/me/messages?q=from%3Aalice&labelIds=INBOX");
    refused("POST", "/gmail/v1/users/me/messages", &pairs, b"q=x&_method=DELETE");
    refused("POST", "/gmail/v1/users/me/messages", &pairs, b"raw=x");
}

#[test]
fn the_query_is_known_or_refused() {
    let list = |query: &str| ask("GET", &format!("/gmail/v1/users/me/messages?{query}"), &[], b"");
    let target = |query: &str| list(query).unwrap().parts[0].call.target.clone();
    assert_eq!(
        target("include_spam_trash=true&alt=json"),
        "/gmail/v1/users/me/messages?includeSpamTrash=true&alt=json"
    );
    assert_eq!(target("%24fields=messages&$key=k"), "/gmail/v1/users/me/messages?fields=messages");
    assert_eq!(target("q=a;b%26c&uploadType=media"), "/gmail/v1/users/me/messages?q=a%3Bb%26c");
    for query in ["alt=proto", "alt=media", "q=1&q=2", "$httpHeaders=X", "$req=1", "unheard=1", "q=%00", "q=a%0d%0ab"] {
        assert_eq!(list(query).unwrap_err().status, 400, "{query}");
    }
    let destroyed =
        |value: &str| post(&format!("/messages?deleted={value}"), &json!({"raw": "RnJvbTogYQ0KDQo"})).operation.class;
    assert_eq!([destroyed("TRUE"), destroyed("1"), destroyed("yes")], [Class::Destroy; 3]);
    assert_eq!(destroyed("false"), Class::Modify);
}

#[test]
fn only_listed_headers_go_on() {
    let part = one(
        "GET",
        "/gmail/v1/users/me/profile",
        &[
            ("authorization", "Bearer x"),
            ("cookie", "a=b"),
            ("proxy-authorization", "Basic x"),
            ("x-forwarded-for", "1.2.3.4"),
            ("x-goog-iam-authorization-token", "t"),
            ("x-goog-api-key", "k"),
            ("connection", "keep-alive"),
            ("te", "trailers"),
            ("accept-encoding", "gzip"),
            ("user-agent", "gog/0.40"),
            ("if-none-match", "\"e\""),
        ],
        b"",
    );
    let names: Vec<&str> = part.call.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["if-none-match", "user-agent"]);
    refused("GET", "/gmail/v1/users/me/profile", &[("content-encoding", "gzip")], b"");
    refused(
        "POST",
        "/gmail/v1/users/me/labels",
        &[("content-type", "application/json"), ("content-type", "text/plain")],
        b"{}",
    );
}

#[test]
fn a_json_body_is_understood_whole_or_not_at_all() {
    let batch = "/gmail/v1/users/me/messages/batchModify";
    let ids = |count: usize| json!({ "ids": (0..count).map(|id| format!("m{id}")).collect::<Vec<_>>(), "addLabelIds": ["TRASH"] });
    assert_eq!(post("/messages/batchModify", &ids(1000)).operation.objects.count(), 1000);
    assert_eq!(refused("POST", batch, &JSON, ids(1001).to_string().as_bytes()).title, "Too many ids");
    let same = json!({ "ids": vec!["a"; 200_000] });
    assert_eq!(refused("POST", batch, &JSON, same.to_string().as_bytes()).title, "Too many ids");
    for body in [
        r#"{"ids":["a"],"ids":["b"]}"#,
        r#"{"ids":["a"],"addLabelIds":[],"add_label_ids":["TRASH"]}"#,
        r#"{"ids":[1,2]}"#,
        r#"{"ids":{"a":1}}"#,
        r#"{"ids":["../x"]}"#,
        r#"{"ids":[".."]}"#,
        r#"["a"]"#,
        r#"{"ids":["a"]"#,
        "not json",
    ] {
        refused("POST", batch, &JSON, body.as_bytes());
    }
    let kinds = ["text/plain", "application/x-www-form-urlencoded", "application/x-protobuf"];
    for kind in kinds {
        let refusal = refused("POST", batch, &[("content-type", kind)], ids(2).to_string().as_bytes());
        assert_eq!(refusal.status, 415);
        assert!(refusal.detail.contains("application/json"), "{refusal}");
    }
    refused("POST", "/gmail/v1/users/me/messages/m1/trash", &JSON, br#"{"id":"m2"}"#);
    refused("DELETE", "/gmail/v1/users/me/messages/m1", &JSON, br#"{"id":"m2"}"#);
    refused("POST", batch, &JSON, format!("{{\"ids\":{}1{}}}", "[".repeat(99), "]".repeat(99)).as_bytes());
}

#[test]
fn the_forwarded_body_is_what_was_understood() {
    let part = one(
        "POST",
        "/gmail/v1/users/me/messages/batchModify",
        &JSON,
        b" {\"ids\": [\"b\",\"a\"] , \"remove_label_ids\" : [\"INBOX\"] } ",
    );
    assert_eq!(sent(&part), json!({"ids": ["b", "a"], "removeLabelIds": ["INBOX"]}));
    assert_eq!(part.call.headers, [("content-type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn an_unknown_field_makes_the_effect_unknown() {
    let part = post("/messages/m1/modify", &json!({"addLabelIds": ["Label_1"], "purge": true}));
    assert_eq!(part.operation.class, Class::Unclassified);
    assert!(part.operation.undo.is_none() && part.operation.meters.is_empty() && !part.operation.opaque);
    assert!(part.operation.facts.iter().any(|fact| fact.value == "purge"));
    let part = one("PUT", "/gmail/v1/users/me/settings/imap", &JSON, br#"{"autoExpunge":true,"more":1}"#);
    assert_eq!(part.operation.class, Class::Divert, "never lower than the route");
}

#[test]
fn same_content_same_request() {
    let content = |body: Value| post("/messages/batchModify", &body).operation.content;
    let base = content(json!({"ids": ["a"], "addLabelIds": ["X"], "removeLabelIds": []}));
    assert_eq!(
        base,
        content(json!({"removeLabelIds": [], "addLabelIds": ["X"], "ids": ["b", "c"]})),
        "ids are the objects"
    );
    assert_ne!(base, content(json!({"ids": ["a"], "addLabelIds": ["Y"], "removeLabelIds": []})));
    let trash = |id: &str| post(&format!("/messages/{id}/trash"), &json!({})).operation.canonical();
    assert_ne!(trash("a"), trash("b"));
}

#[test]
fn a_setting_shows_what_it_does() {
    let part = post(
        "/settings/filters",
        &json!({"criteria": {"from": "bank@example.com", "hasAttachment": true}, "action": {"forward": "x@Evil.example", "removeLabelIds": ["INBOX"]}}),
    );
    let facts: Vec<(&str, &str)> =
        part.operation.facts.iter().map(|fact| (fact.label.as_str(), fact.value.as_str())).collect();
    assert_eq!(
        facts,
        [
            ("Mail from", "bank@example.com"),
            ("With attachment", "yes"),
            ("Then forward to", "x@Evil.example"),
            ("Then take labels off", "Inbox"),
        ]
    );
    assert_eq!(part.operation.audience.unwrap().members[0].address, "x@evil.example");
}

#[test]
fn threads_and_labels_name_what_must_still_be_read() {
    let part = one("DELETE", "/gmail/v1/users/me/threads/t1", &[], b"");
    let Objects::Within { kind, container, ids } = &part.operation.objects else { panic!("resolved") };
    assert_eq!((kind.as_str(), container.as_str(), ids.as_slice()), ("message", "thread", &["t1".to_owned()][..]));
}

#[test]
fn an_insertion_may_stream_but_not_a_deleted_one() {
    let headers = headers(&[("content-type", "message/rfc822")]);
    let need = |target: &str| {
        let head = Head { method: &Method::POST, target, headers: &headers, mount: "" };
        route(gmail(), head).unwrap().body()
    };
    assert_eq!(need("/upload/gmail/v1/users/me/messages?uploadType=media"), BodyNeed::Stream);
    assert!(matches!(
        need("/upload/gmail/v1/users/me/messages?uploadType=media&deleted=true"),
        BodyNeed::Buffer { .. }
    ));
    assert!(matches!(need("/upload/gmail/v1/users/me/messages/send?uploadType=media"), BodyNeed::Buffer { .. }));
    let part =
        one("POST", "/upload/gmail/v1/users/me/messages?uploadType=media", &[("content-type", "message/rfc822")], b"");
    assert_eq!((part.operation.class, &part.call.body), (Class::Modify, &CallBody::Streamed));
    refused(
        "POST",
        "/upload/gmail/v1/users/me/messages?uploadType=resumable",
        &[("content-type", "message/rfc822")],
        b"",
    );
    refused("PUT", "/upload/gmail/v1/users/me/messages?upload_id=abc", &[("content-type", "message/rfc822")], b"x");
}
