use serde_json::json;

use super::{ask, one, post, refused, sent};
use crate::call::CallBody;
use crate::classify::mail::{decode, from_base64, to_base64};
use crate::classify::upload;
use crate::operation::{Class, Part};

const SEND: &str = "/gmail/v1/users/me/messages/send";
const UPLOAD: &str = "/upload/gmail/v1/users/me/messages/send";
const MAIL: &str = "From: Me <me@example.com>\r\nTo: Alice <alice@Example.com>, \"b, c\" <bc@example.org>\r\nCc: group: d@x.org, e@x.org;\r\nBcc: hidden@evil.example\r\nReply-To: other@evil.example\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nDate: Sun, 22 Nov 2026 08:00:00 +0000\r\nMessage-ID: <1@x>\r\n\r\nHello\r\n";

fn send(mail: &str) -> Part {
    post("/messages/send", &json!({ "raw": to_base64(mail.as_bytes()) }))
}

fn reached(part: &Part) -> Vec<String> {
    let members = part.operation.audience.iter().flat_map(|audience| &audience.members);
    members.map(|member| format!("{}:{}", member.role, member.address)).collect()
}

fn fact(part: &Part, label: &str) -> Option<String> {
    part.operation.facts.iter().find(|fact| fact.label == label).map(|fact| fact.value.clone())
}

#[test]
fn everybody_who_gets_the_mail_is_shown() {
    let part = send(MAIL);
    assert_eq!(part.operation.class, Class::Send);
    let all = ["to:alice@example.com", "to:bc@example.org", "cc:d@x.org", "cc:e@x.org", "bcc:hidden@evil.example"];
    assert_eq!(reached(&part), all);
    let shown = ["Replies go to", "Subject", "Text"].map(|label| fact(&part, label).unwrap());
    assert_eq!(shown, ["other@evil.example", "Grüße", "Hello\n"]);
}

#[test]
fn no_recipient_can_hide() {
    for (hidden, at) in [
        ("To: a@x.org\r\nbcc : z@evil.example", "z@evil.example"),
        ("To: a@x.org\r\nTo: z@evil.example", "z@evil.example"),
        ("To: a@x.org\r\nBcc:\r\n z@evil.example", "z@evil.example"),
        ("To: a@x.org\r\nResent-Bcc: z@evil.example", "z@evil.example"),
        ("To: a@x.org (z@evil.example)", "z@evil.example"),
        ("To: a@x.org z@evil.example", "z@evil.example"),
        ("To: a@x.org; z@evil.example", "z@evil.example"),
        ("To: <a@x.org>z@evil.example", "z@evil.example"),
        ("To: \"a@x.org\" <z@evil.example>", "z@evil.example"),
        ("TO: a@x.org\nBCC: z@EVIL.example", "z@evil.example"),
    ] {
        let part = send(&format!("From: me@x.org\r\n{hidden}\r\nSubject: s\r\n\r\nt"));
        assert!(reached(&part).iter().any(|one| one.ends_with(at)), "{hidden}: {:?}", reached(&part));
    }
}

#[test]
fn what_can_be_read_in_two_ways_can_only_be_denied() {
    for mail in [
        "To: a@x.org\r\nSubject: s\rBcc: z@evil.example\r\n\r\nt",
        "To: a@x.org\r\nno colon here\r\n\r\nt",
        " To: a@x.org\r\n\r\nt",
        "To: a@x.org\0\r\n\r\nt",
        "From me Mon Nov 22\r\nTo: a@x.org\r\n\r\nt",
        "To: a@x.org\r\nSubject: s\r\nSubject: t\r\n\r\nt",
        "To: \"a@x.org, z@evil.example\r\n\r\nt",
    ] {
        let part = send(mail);
        assert!(part.operation.opaque, "{mail:?}");
        assert_eq!(part.operation.class, Class::Unclassified, "{mail:?}");
    }
    let part = post("/messages/send", &json!({"payload": {"headers": []}}));
    assert!(part.operation.opaque && part.operation.class == Class::Unclassified);
    let part = post("/messages/send", &json!({"raw": to_base64(MAIL.as_bytes()), "payload": {}}));
    assert!(part.operation.opaque && part.operation.class == Class::Unclassified);
    refused("POST", SEND, &super::JSON, b"{}");
    refused("POST", SEND, &super::JSON, br#"{"raw":"%%%"}"#);
    refused("POST", SEND, &super::JSON, br#"{"raw":7}"#);
    refused("POST", SEND, &super::JSON, json!({"raw": to_base64(b"Subject: s\r\n\r\nt")}).to_string().as_bytes());
}

#[test]
fn a_mail_to_thousands_is_not_understood() {
    let all: Vec<String> = (0..300_000).map(|at| format!("u{at}@x.org")).collect();
    assert!(send(&format!("To: {}\r\n\r\nt", all.join(", "))).operation.opaque);
    let part = send(&format!("To: {}\r\n\r\nt", all[..900].join(", ")));
    assert_eq!(reached(&part).len(), 900);
}

#[test]
fn html_that_says_something_else_is_shown() {
    let mail = "To: a@x.org\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nharmless\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>wire <b>money</b></p>\r\n--b--\r\n";
    let part = send(mail);
    assert_eq!(fact(&part, "Text").unwrap().trim(), "harmless");
    assert_eq!(fact(&part, "Text in HTML, which most readers show").unwrap().trim(), "wire money");
    let same = mail.replace("wire <b>money</b>", "harmless");
    assert_eq!(fact(&send(&same), "Text in HTML, which most readers show"), None);
}

#[test]
fn every_text_is_shown() {
    let mail = "To: a@x.org\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nfirst\r\n--b\r\nContent-Type: text/plain\r\n\r\nsecond\r\n--b--\r\n";
    let text = fact(&send(mail), "Text").unwrap();
    assert!(text.contains("first") && text.contains("second"), "{text}");
}

#[test]
fn attachments_and_invitations_are_named() {
    let mail = "To: a@x.org\r\nSubject: s\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nsee below\r\n--b\r\nContent-Type: text/calendar; method=REQUEST\r\n\r\nBEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=\"taxes.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\r\nAAECAwQ=\r\n--b--\r\n";
    let part = send(mail);
    assert_eq!(fact(&part, "Invitation").as_deref(), Some("REQUEST"));
    let attachments: Vec<&str> =
        part.operation.facts.iter().filter(|fact| fact.label == "Attachment").map(|fact| fact.value.as_str()).collect();
    assert!(attachments.contains(&"taxes.pdf (application/pdf, 5 bytes)"), "{attachments:?}");
    let changed = send(&mail.replace("AAECAwQ=", "AAECAwU="));
    assert_ne!(part.operation.content, changed.operation.content, "an attachment's bytes count");
    let again = send(&mail.replace("boundary=b", "boundary=\"cc\"").replace("--b", "--cc"));
    assert_eq!(part.operation.content, again.operation.content, "a boundary does not");
}

#[test]
fn a_second_try_is_the_same_mail() {
    let first = send(MAIL).operation.content;
    let again = MAIL.replace("08:00:00", "08:00:31").replace("<1@x>", "<2@x>").replace("\r\n", "\n");
    assert_eq!(first, send(&again).operation.content);
    for other in [("Hello", "Hello!"), ("hidden@", "hidden2@"), ("Subject: ", "Subject: x"), ("To: Alice", "To: Bob")] {
        assert_ne!(first, send(&MAIL.replace(other.0, other.1)).operation.content, "{other:?}");
    }
    let threaded = post("/messages/send", &json!({"raw": to_base64(MAIL.as_bytes()), "threadId": "t1"}));
    assert_ne!(first, threaded.operation.content);
}

#[test]
fn uploads_are_the_same_mail_and_leave_as_what_was_understood() {
    let json = send(MAIL);
    let media =
        one("POST", &format!("{UPLOAD}?uploadType=media"), &[("content-type", "message/rfc822")], MAIL.as_bytes());
    let (kind, body) = upload::write(&json!({}), MAIL.as_bytes());
    let related =
        one("POST", &format!("/resumable{UPLOAD}?upload_protocol=multipart"), &[("content-type", &kind)], &body);
    for part in [&media, &related] {
        assert_eq!(part.operation.content, json.operation.content);
        assert_eq!(reached(part), reached(&json));
        assert_eq!(part.call.target, SEND);
        assert_eq!(from_base64(sent(part)["raw"].as_str().unwrap()).unwrap(), MAIL.as_bytes());
    }
    let encoded = String::from_utf8(body.to_vec()).unwrap();
    let base64 = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(MAIL)
    };
    let encoded = encoded
        .replace("message/rfc822\r\n", "message/rfc822\r\nContent-Transfer-Encoding: base64\r\n")
        .replace(MAIL, &base64);
    let part = one("POST", &format!("{UPLOAD}?uploadType=multipart"), &[("content-type", &kind)], encoded.as_bytes());
    assert_eq!(part.operation.content, json.operation.content);
    for (kind, body) in [
        ("multipart/related", "x"),
        ("multipart/related; boundary=b", "--b\r\n\r\n{}\r\n--b--"),
        ("multipart/related; boundary=b", "--b\r\n\r\n{}\r\n--b\r\n\r\nTo: a@x.org\r\n\r\n"),
        ("multipart/related; boundary=b", "--b\r\n\r\n{\"raw\":\"eA\"}\r\n--b\r\n\r\nTo: a@x.org\r\n\r\n\r\n--b--"),
        ("application/json", "{}"),
    ] {
        assert!(ask("POST", UPLOAD, &[("content-type", kind)], body.as_bytes()).is_err(), "{kind} {body}");
    }
}

#[test]
fn a_large_mail_leaves_by_the_upload_path() {
    let mail = format!("To: a@x.org\r\nSubject: s\r\n\r\n{}", "x".repeat(upload::MOST_IN_JSON));
    let part = send(&mail);
    assert_eq!(part.call.target, format!("{UPLOAD}?uploadType=multipart"));
    let CallBody::Bytes(body) = &part.call.body else { panic!("streamed") };
    let kind = &part.call.headers[0].1;
    let value = upload::read(body, kind, "/raw", crate::classify::json::Names::Camel).unwrap();
    assert_eq!(from_base64(value["raw"].as_str().unwrap()).unwrap(), mail.as_bytes());
}

#[test]
fn both_alphabets_of_base64_are_one() {
    let bytes: Vec<u8> = (0..=255).collect();
    let text = to_base64(&bytes);
    for spelling in [
        text.clone(),
        text.replace('-', "+").replace('_', "/"),
        format!("{text}="),
        format!("{}\n{}", &text[..80], &text[80..]),
    ] {
        assert_eq!(from_base64(&spelling).unwrap(), bytes);
    }
    assert!(decode(b"").is_err() || decode(b"").unwrap().audience.members.is_empty());
}
