use bytes::Bytes;
use http::Method;

use super::{ask, refused};
use crate::classify::batch::{Answered, batch_answer};
use crate::classify::upload;
use crate::operation::{Class, Request};

const KIND: (&str, &str) = ("content-type", "multipart/mixed; boundary=\"===1==\"");

/// As google-api-python-client writes it: line feeds alone, an id of its own, the account's prefix.
fn body(calls: &[&str]) -> String {
    let mut body = String::new();
    for (at, call) in calls.iter().enumerate() {
        body.push_str(&format!(
            "--===1==\nContent-Type: application/http\nMIME-Version: 1.0\nContent-Transfer-Encoding: binary\nContent-ID: <uuid + {at}>\n\n{call}\n"
        ));
    }
    body + "--===1==--\n"
}

fn batch(calls: &[&str]) -> Request {
    ask("POST", "/batch/gmail/v1", &[KIND], body(calls).as_bytes()).unwrap()
}

#[test]
fn a25_ninety_nine_reads_do_not_hide_one_delete() {
    let mut calls: Vec<String> =
        (0..99).map(|id| format!("GET /gmail/v1/users/me/messages/m{id}?alt=json HTTP/1.1\nHost: x\n\n")).collect();
    calls.insert(
        50,
        "POST /mine/gmail/v1/users/me/messages/m50 HTTP/1.1\r\nAuthorization: Bearer inner\r\nX-HTTP-Method-Override: DELETE\r\n\r\n".to_owned(),
    );
    let calls: Vec<&str> = calls.iter().map(String::as_str).collect();
    let request = batch(&calls);
    assert!(request.batch);
    assert_eq!((request.parts.len(), request.class()), (100, Class::Destroy));
    let part = &request.parts[50];
    assert_eq!((&part.call.method, part.call.target.as_str()), (&Method::DELETE, "/gmail/v1/users/me/messages/m50"));
    assert!(part.call.headers.is_empty(), "inner credentials stay here");
    assert_eq!(part.content_id.as_deref(), Some("<uuid + 50>"));
    let more: Vec<&str> = calls.iter().copied().chain(["GET /gmail/v1/users/me/profile HTTP/1.1\n\n"]).collect();
    assert_eq!(refused("POST", "/batch", &[KIND], body(&more).as_bytes()).title, "Too many calls in one batch");
}

#[test]
fn a_call_may_have_a_body() {
    let json = r#"{"ids":["a","b"],"addLabelIds":["TRASH"]}"#;
    let call = format!(
        "POST https://gmail.googleapis.com/gmail/v1/users/me/messages/batchModify HTTP/1.1\nContent-Type: application/json\nMIME-Version: 1.0\ncontent-length: {}\n\n{json}",
        json.len()
    );
    let request = batch(&[&call]);
    assert_eq!(request.class(), Class::Remove);
    assert_eq!(request.parts[0].operation.objects.count(), 2);
}

#[test]
fn a25_what_cannot_be_taken_apart_is_unclassified_as_a_whole() {
    let nested = "POST /batch/gmail/v1 HTTP/1.1\nContent-Type: multipart/mixed; boundary=z\n\n--z--";
    let good = "GET /gmail/v1/users/me/profile HTTP/1.1\n\n";
    let cases = [
        body(&[good, nested]),
        body(&[good, "GARBAGE\n\n"]),
        body(&[good, "GET /a b HTTP/1.1\n\n"]),
        body(&[good, "GET /a SPDY/3\n\n"]),
        body(&[good, "GET /a HTTP/1.1\nno colon\n\n"]),
        body(&[good]).replace("application/http", "text/plain"),
        body(&[good]).replace("binary", "base64"),
        body(&[good]).replace("--===1==--", ""),
        body(&[]),
        String::new(),
    ];
    for text in cases {
        let request = ask("POST", "/batch", &[KIND], text.as_bytes()).unwrap();
        assert_eq!((request.parts.len(), request.class()), (1, Class::Unclassified), "{text}");
        assert!(request.parts[0].operation.opaque, "{text}");
    }
    let request = ask("POST", "/batch", &[("content-type", "application/json")], b"{}").unwrap();
    assert!(request.parts[0].operation.opaque);
}

#[test]
fn a_refused_call_says_which_it_was() {
    let text = body(&["GET /gmail/v1/users/me/profile HTTP/1.1\n\n", "GET /gmail/v1/users/me/../x HTTP/1.1\n\n"]);
    assert!(refused("POST", "/batch", &[KIND], text.as_bytes()).detail.starts_with("Call 2 of the batch"));
    let upload =
        "POST /upload/gmail/v1/users/me/messages/send HTTP/1.1\nContent-Type: message/rfc822\n\nTo: a@x.org\n\n";
    refused("POST", "/batch", &[KIND], body(&[upload]).as_bytes());
    refused("GET", "/batch", &[KIND], b"");
}

#[test]
fn answers_are_put_together_as_clients_read_them() {
    let answers = [
        Answered {
            content_id: Some("<uuid + 0>".to_owned()),
            status: 200,
            headers: vec![
                ("content-type".to_owned(), "application/json".to_owned()),
                ("x".to_owned(), "a\r\nb".to_owned()),
            ],
            body: Bytes::from_static(b"{\"id\":\"m1\"}"),
        },
        Answered {
            content_id: Some("<uuid + 1>".to_owned()),
            status: 403,
            headers: Vec::new(),
            body: Bytes::from_static(b"{}"),
        },
        Answered { content_id: None, status: 204, headers: Vec::new(), body: Bytes::new() },
    ];
    let (kind, body) = batch_answer(&answers);
    let parts = upload::multipart(&body, &upload::parameter(&kind, "boundary").unwrap()).unwrap();
    assert_eq!(parts.len(), 3);
    assert_eq!(parts[0].header("content-id"), Some("<response-uuid + 0>"));
    assert_eq!(
        parts[0].content,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nContent-Length: 11\r\n\r\n{\"id\":\"m1\"}"
    );
    assert!(parts[1].content.starts_with(b"HTTP/1.1 403 Forbidden\r\n"));
    assert_eq!(parts[2].header("content-id"), None);
}
