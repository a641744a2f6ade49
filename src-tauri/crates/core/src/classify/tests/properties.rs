use bytes::Bytes;
use http::Method;
use proptest::prelude::*;

use super::{ask, gmail, headers};
use crate::classify::http::{Head, route};
use crate::classify::{json, mail};

/// What a plain origin does: split the path, decode every percent sign once.
fn reference(path: &str) -> Vec<String> {
    let decode = |segment: &str| percent_encoding::percent_decode_str(segment).decode_utf8_lossy().into_owned();
    path.trim_start_matches('/').split('/').map(decode).collect()
}

/// A path with some letters percent-encoded, in either case.
fn spelling() -> impl Strategy<Value = String> {
    let paths = prop::sample::select(vec![
        "/gmail/v1/users/me/messages/m1/trash",
        "/gmail/v1/users/me/messages/m1",
        "/gmail/v1/users/me/labels/Label_1",
        "/gmail/v1/users/me/threads/t1/untrash",
        "/gmail/v1/users/me/settings/cse/keypairs/k1:disable",
        "/gmail/v1/users/me/unheard/of",
    ]);
    (paths, prop::collection::vec(0u8..8, 80)).prop_map(|(path, dice)| {
        let encode = |(letter, die): (char, &u8)| match die {
            0 if letter != '/' => format!("%{:02x}", letter as u32),
            1 if letter != '/' => format!("%{:02X}", letter as u32),
            _ => letter.to_string(),
        };
        path.chars().zip(&dice).map(encode).collect()
    })
}

fn classes(method: &str, target: &str) -> Option<String> {
    ask(method, target, &[], b"")
        .ok()
        .map(|request| format!("{:?} {}", request.class(), request.parts[0].operation.action))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn a24_a_spelling_never_changes_the_class(path in spelling(), method in prop::sample::select(vec!["GET", "POST", "DELETE"])) {
        let plain = format!("/{}", reference(&path).join("/"));
        if let Some(class) = classes(method, &path) {
            prop_assert_eq!(Some(class), classes(method, &plain));
            let forwarded = ask(method, &path, &[], b"").unwrap().parts.remove(0).call.target;
            prop_assert_eq!(reference(&forwarded), reference(&path), "the origin sees the same");
        }
    }

    #[test]
    fn nothing_panics(
        method in prop::sample::select(vec!["GET", "POST", "PUT", "PATCH", "DELETE"]),
        target in prop_oneof!["/[ -~]{0,40}", "/gmail/v1/users/me/(messages|drafts|threads|settings/filters)(/[a-z%.;0-9]{0,6}){0,3}(\\?[a-z$=&%]{0,20})?", "/batch", "/upload/gmail/v1/users/me/messages/send"],
        kind in prop::sample::select(vec!["application/json", "multipart/mixed; boundary=b", "multipart/related; boundary=b", "message/rfc822", "text/plain"]),
        body in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            "(--b(--)?\r?\n|[A-Za-z-]{1,12}: ?[a-z/]{0,16}\r?\n|(GET|POST) /[a-z/]{0,10} HTTP/1.1\r?\n|\r?\n|application/http){0,20}".prop_map(String::into_bytes),
            "\\{(\"(ids|raw|id|message|addLabelIds)\":(\"[A-Za-z_-]{0,12}\"|\\[\\]|1|null|\\{\\}),?){0,4}\\}".prop_map(String::into_bytes),
        ],
        over in prop::option::of("[A-Z]{3,6}"),
    ) {
        let mut map = headers(&[("content-type", kind)]);
        if let Some(over) = over {
            map.insert("x-http-method-override", over.parse().unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let head = Head { method: &method, target: &target, headers: &map, mount: "/mine" };
        if let Ok(routed) = route(gmail(), head)
            && let Ok(request) = routed.classify(&Bytes::from(body)) {
            prop_assert!(!request.parts.is_empty());
            for part in request.parts {
                prop_assert!(part.call.target.starts_with('/'));
                prop_assert!(part.call.headers.iter().all(|(name, _)| name != "authorization" && !name.contains("override")));
            }
        }
    }

    #[test]
    fn no_mail_panics(mail in prop_oneof![
        prop::collection::vec(any::<u8>(), 0..300),
        "((To|Cc|bcc|From|Content-Type|X): ?[a-z@<>,;:\"()=/ ]{0,30}\r?\n){0,8}\r?\n[ -~]{0,40}".prop_map(String::into_bytes),
    ]) {
        let _ = mail::decode(&mail);
    }

    #[test]
    fn json_reads_what_serde_reads_or_refuses(text in "[\\[\\]{}:,\"a-c0-9_ ]{0,40}") {
        if let Ok(value) = json::parse(text.as_bytes(), json::Names::Exact) {
            prop_assert_eq!(value, serde_json::from_str::<serde_json::Value>(&text).unwrap());
        }
    }
}
