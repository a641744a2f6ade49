#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};

use super::{ExplainError, explain};
use crate::catalog::Catalog;
use crate::pdp::Pdp;

fn ask(line: &Value) -> Result<Value, ExplainError> {
    explain(&Catalog::shipped().unwrap(), &Pdp::new("").unwrap(), &line.to_string())
}

fn decisions(value: &Value) -> Vec<String> {
    ["read-only", "organize", "assistant", "ask-everything"]
        .iter()
        .map(|preset| format!("{preset} {}", value["default_decision"][preset].as_str().unwrap()))
        .collect()
}

#[test]
fn a_request_is_told_with_each_presets_default() {
    let base = "https://gmail.googleapis.com/gmail/v1/users/me";
    let check = |method: &str, path: &str, body: Value, class: &str, expected: [&str; 4]| {
        let line = json!({"provider": "gmail", "method": method, "url": format!("{base}{path}"), "body": body});
        let told = ask(&line).unwrap();
        assert_eq!(told["class"], class, "{method} {path}");
        let presets = ["read-only", "organize", "assistant", "ask-everything"];
        let expected: Vec<String> =
            presets.iter().zip(expected).map(|(preset, outcome)| format!("{preset} {outcome}")).collect();
        assert_eq!(decisions(&told), expected, "{method} {path}");
    };
    check("GET", "/messages/m1", Value::Null, "read", ["permit"; 4]);
    check("post", "/messages/m1/trash", Value::Null, "remove", ["forbid", "permit", "permit", "confirm"]);
    let many = json!({"ids": (0..50).map(|id| format!("m{id}")).collect::<Vec<_>>(), "addLabelIds": ["TRASH"]});
    check("POST", "/messages/batchModify", many, "remove", ["forbid", "confirm", "confirm", "confirm"]);
    check("DELETE", "/messages/m1", Value::Null, "destroy", ["forbid", "confirm", "confirm", "confirm"]);
    check(
        "POST",
        "/settings/delegates",
        json!({"delegateEmail": "x@evil.example"}),
        "divert",
        ["forbid", "forbid", "forbid", "confirm"],
    );
    check("POST", "/unheard", Value::Null, "unclassified", ["forbid", "confirm", "confirm", "confirm"]);
}

#[test]
fn fifty_trashes_in_a_batch_are_one_of_fifty() {
    let mut body = String::new();
    for id in 0..50 {
        body += &format!(
            "--b\nContent-Type: application/http\n\nPOST /gmail/v1/users/me/messages/m{id}/trash HTTP/1.1\n\n\n"
        );
    }
    body += "--b--";
    let line = json!({"provider": "gmail", "method": "POST", "url": "/batch/gmail/v1", "headers": {"Content-Type": "multipart/mixed; boundary=b"}, "body": body});
    let told = ask(&line).unwrap();
    assert_eq!(told["operations"].as_array().unwrap().len(), 50);
    assert_eq!(told["default_decision"]["organize"], "confirm");
}

#[test]
fn what_is_refused_says_why() {
    let line = json!({"provider": "gmail", "method": "GET", "url": "/gmail/v1/users/me/../x"});
    let told = ask(&line).unwrap();
    assert_eq!((&told["refused"]["status"], &told["default_decision"]["organize"]), (&json!(400), &json!("refuse")));
}

#[test]
fn a_wrong_line_is_an_error_in_words() {
    let check = |line: Value, expected: &str| {
        let error = ask(&line).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    };
    check(json!({"provider": "gmail", "method": "GET"}), "url");
    check(json!({"provider": "nobody", "method": "GET", "url": "/"}), "gmail");
    check(
        json!({"provider": "gmail", "method": "GET", "url": "https://evil.example/gmail/v1"}),
        "https://gmail.googleapis.com",
    );
    check(
        json!({"provider": "gmail", "method": "GET", "url": "https://gmail.googleapis.com.evil.example/"}),
        "no address",
    );
    check(json!({"protocol": "imap", "command": "a EXPUNGE"}), "imap");
    check(json!([1]), "line is not");
    check(json!({"provider": "gmail", "method": "G T", "url": "/"}), "no method");
}
