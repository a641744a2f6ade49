#![allow(missing_docs)]
#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
//! The program itself against a control socket with canned answers: what people read, and the exit codes of the contract.

use std::fmt::Write;
use std::path::Path;
use std::process::Stdio;

use latch_daemon::control::Control;
use latch_ipc::rpc::{ErrorCode, RpcError};
use serde_json::{Value, json};
use tokio::process::Command;

struct Ran {
    exit: i32,
    out: String,
    err: String,
}

async fn latch(home: &Path, arguments: &[&str]) -> Ran {
    let mut command = Command::new(env!("CARGO_BIN_EXE_latch"));
    command
        .args(arguments)
        .env_clear()
        .env("LATCHSTRING_HOME", home)
        .env("PAIRING", "pairing-canary")
        .stdin(Stdio::null());
    let output = command.output().await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap().replace(home.to_str().unwrap(), "HOME");
    Ran { exit: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}

async fn transcript(home: &Path, calls: &[&[&str]]) -> String {
    let mut text = String::new();
    for arguments in calls {
        let ran = latch(home, arguments).await;
        let _ = writeln!(text, "$ latch {}\n{}{}[exit {}]\n", arguments.join(" "), ran.out, ran.err, ran.exit);
    }
    text
}

fn hold() -> Value {
    json!({
        "id": "h1", "digest": "d1", "agent": "mia", "agent_name": "Mia", "class": "remove", "account": "work",
        "verb": "Trash", "keep": "Keep them", "noun": ["message", "messages"], "count": 12,
        "objects": [{"id": "m1", "title": "SUBJECT-CANARY"}],
        "summary": {"senders": [], "oldest": null, "newest": null, "starred": 0, "unread": 0, "important": 0},
        "reversible": "yes", "undo_text": "Undo moves them back out of the Trash.",
        "why": "over its budget of 5 in 10 minutes", "partial": true, "task_scope": true, "forever": false, "retype": false,
        "state": "open", "opened_at": "2026-11-22T08:00:00Z", "expires_at": "2026-11-22T08:10:00Z", "waiting": true,
        "recent": {"last_hour": [], "denied": 0}
    })
}

fn status(panicked: bool) -> Value {
    json!({
        "version": "0.1.0", "home": "/data/latchstring",
        "doors": {"http": "http://127.0.0.1:4711", "control": "/data/latchstring/control.sock"},
        "vault": "keyring", "vault_locked": false, "panicked": panicked, "owner": "tray", "accounts": 1, "agents": 2, "waiting": 1,
        "starts": ["[latch] < /bin/bash"], "warnings": ["LD_PRELOAD was set and has been removed from the environment"]
    })
}

fn answer(method: &str, params: &Value, panicked: bool) -> Result<Value, RpcError> {
    let not_found = || RpcError::new(ErrorCode::NotFound, "There is no such hold; it may have been decided.");
    match method {
        "status" => Ok(status(panicked)),
        "hold.list" => Ok(json!([hold()])),
        "hold.get" if params["id"] == "h1" => Ok(hold()),
        "hold.deny" if params["id"] == "h1" => Ok(json!({"state": "denied"})),
        "hold.get" | "hold.deny" => Err(not_found()),
        "panic" => Ok(json!({"epoch": 2, "cut": {"connections": 3, "tokens": 1, "holds": 0}})),
        "account.list" => Ok(
            json!([{"id": "work", "provider": "gmail", "origin": "https://gmail.googleapis.com:443", "credential": "oauth2"}]),
        ),
        "agent.list" => Ok(json!([{
            "id": "mia", "client_id": "c1", "name": "Mia\u{1b}[2J", "program": "/opt/mia",
            "grants": [{"id": "g1", "agent": "mia", "account": "work", "preset": "organize", "summary": "reads, sorts, asks before it removes"}],
            "tokens": 1, "stopped": false, "recent": {"last_hour": [], "denied": 0}
        }])),
        "agent.revoke" | "grant.revoke" => Ok(json!({})),
        "token.issue" if params["pairing_secret"] == "pairing-canary" => {
            Ok(json!({"access_token": "token-1", "token_type": "Bearer", "expires_in": 900}))
        }
        "token.issue" => Err(RpcError::new(ErrorCode::AskOwner, "No agent was recognised; the person was asked.")),
        "agent.connect" | "grant.put" | "undo.run" => {
            Err(RpcError::new(ErrorCode::AskOwner, "The person was asked; nothing has changed yet."))
        }
        other => panic!("{other} must not arrive"),
    }
}

async fn with_engine(panicked: bool, calls: &[&[&str]]) -> String {
    let home = tempfile::tempdir().unwrap();
    let control = Control::bind(home.path()).unwrap();
    let serving =
        tokio::spawn(control.serve(move |method, params, _| async move { answer(&method, &params, panicked) }));
    let text = transcript(home.path(), calls).await;
    serving.abort();
    text
}

#[tokio::test]
async fn a_running_engine() {
    let text = with_engine(
        false,
        &[
            &["status"],
            &["status", "--json"],
            &["hold", "list"],
            &["hold", "show", "h1"],
            &["hold", "show", "h9"],
            &["hold", "deny", "h1"],
            &["hold", "allow", "h1"],
            &["account", "list"],
            &["account", "add", "work"],
            &["account", "remove", "work"],
            &["agent", "list"],
            &["agent", "connect", "zoe"],
            &["agent", "revoke", "mia"],
            &["grant", "list"],
            &["grant", "put", "mia", "work", "organize"],
            &["grant", "put", "mia", "work", "organize", "--details", "{"],
            &["grant", "revoke", "g1", "--json"],
            &["token"],
            &["token", "--pairing-secret-env", "PAIRING"],
            &["token", "--pairing-secret-env", "NOT_SET"],
            &["undo", "u1"],
            &["undo", "--agent", "mia", "--since", "2h", "--json"],
            &["panic"],
        ],
    )
    .await;
    assert!(!text.contains("CANARY") && !text.contains("pairing-canary") && !text.contains('\u{1b}'));
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn a_panicked_engine() {
    insta::assert_snapshot!(with_engine(true, &[&["status"]]).await);
}

#[tokio::test]
async fn no_engine() {
    let home = tempfile::tempdir().unwrap();
    let calls: &[&[&str]] = &[
        &["status"],
        &["status", "--json"],
        &["panic"],
        &["token"],
        &["journal", "verify"],
        &["journal", "--vault", "memory", "tail"],
        &["demo", "--home", "x"],
        &["hold", "allow", "h1"],
        &["undo"],
        &["nonsense"],
    ];
    insta::assert_snapshot!(transcript(home.path(), calls).await);
}

#[tokio::test]
async fn every_shell_has_completions() {
    let home = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ran = latch(home.path(), &["completions", shell]).await;
        assert!(ran.exit == 0 && ran.out.contains("panic"), "{shell}");
    }
}
