#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! The console against an engine that is a table of answers; the terminal is a channel.

use std::io::Write;
use std::sync::{Arc, Mutex};

use latch_ipc::codec;
use latch_ipc::contract::MailTls;
use latch_ipc::discovery::{DiscoveredView, FoundBy, FoundServer, PasswordKind};
use latch_ipc::rpc::{Message, Outcome, Request, Response, Version};
use latch_ipc::view::{AccountView, DoorsView};
use serde_json::{Value, json};
use tokio::io::BufReader;
use tokio::sync::mpsc;

use super::*;

fn hold_of(count: u32) -> HoldView {
    let objects: Vec<Value> = (1..=count)
        .map(|n| {
            json!({"id": format!("m{n}"), "title": format!("Subject {n}"), "from": "Alice <alice@example.org>",
                   "date": "2026-11-03T10:00:00Z", "flags": if n == 2 { vec!["starred", "unread"] } else { vec![] }})
        })
        .collect();
    serde_json::from_value(json!({
        "id": "h1", "digest": "d1", "agent": "mia", "agent_name": "Mia", "program": ["/usr/bin/mia", "/bin/bash"],
        "class": "remove", "account": "work", "verb": "Trash", "keep": "Keep them", "noun": ["message", "messages"],
        "count": count, "objects": objects,
        "summary": {"senders": [{"sender": "Alice <alice@example.org>", "count": count}],
                    "oldest": "2026-01-03T10:00:00Z", "newest": "2026-11-03T10:00:00Z", "starred": 1, "unread": 1, "important": 0},
        "reversible": "yes", "undo_text": "Undo moves them back out of the Trash.", "agent_reason": "cleaning \u{202e}up",
        "why": "over its budget of 5 in 10 minutes", "partial": true, "task_scope": true, "forever": false, "retype": false,
        "state": "open", "opened_at": "2026-11-22T08:00:00Z", "expires_at": "2026-11-22T08:10:00Z", "waiting": true,
        "recent": {"last_hour": [{"class": "modify", "count": 8}], "denied": 1}
    }))
    .unwrap()
}

fn quarantine() -> Value {
    let undo = json!({"entry": "u7", "agent": "mia", "account": "work", "text": "Deleted 2 messages for ever", "at": "2026-11-22T08:00:00Z",
                      "count": 2, "undone": false});
    json!({"items": 3, "bytes": 1_450_000, "limit": 536_870_912,
           "entries": [{"undo": undo, "items": 2, "bytes": 1_400_000}, {"items": 1, "bytes": 50_000}]})
}

struct Stage {
    typed: mpsc::UnboundedSender<Line>,
    shown: Arc<Mutex<Vec<u8>>>,
    decided: mpsc::UnboundedReceiver<(String, Value)>,
    running: tokio::task::JoinHandle<End>,
}

#[derive(Clone)]
struct Screen(Arc<Mutex<Vec<u8>>>);

impl Write for Screen {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Its one hold is put off, so that something else can be typed.
async fn put_off() -> Stage {
    let stage = stage(hold_of(1));
    stage.wait_for("Only Enter").await;
    stage.kind("later");
    stage.wait_for("It waits until").await;
    stage
}

/// An engine in which one hold waits until it is decided.
fn stage(hold: HoldView) -> Stage {
    stage_with(hold, 1)
}

/// An engine in which the same hold waits until it was decided so many times.
fn stage_with(hold: HoldView, mut times: u32) -> Stage {
    let (ours, theirs) = tokio::io::duplex(1 << 20);
    let (reader, writer) = tokio::io::split(ours);
    let (client, events) = Client::start(BufReader::new(reader), writer);
    let (said, decided) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (reader, mut writer) = tokio::io::split(theirs);
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        while let Ok(Some(())) = codec::read_line(&mut reader, &mut line).await {
            let Ok(Message::Request(Request { id, method, params, .. })) = serde_json::from_slice(&line) else {
                continue;
            };
            let result = match method.as_str() {
                "ask.list" => json!([]),
                "hold.list" if times > 0 => json!([hold.clone()]),
                "hold.list" => json!([]),
                "hold.get" => json!(hold.clone()),
                "hold.decide" => {
                    times -= 1;
                    let state = if params["verdict"] == "allow" { "allowed" } else { "denied" };
                    json!({ "state": state })
                }
                "panic" => {
                    times = 0;
                    json!({"epoch": 2, "cut": {"connections": 3, "tokens": 1, "holds": 1}})
                }
                "account.add" => json!({"id": params["id"].clone()}),
                "account.discover" => json!(found_at_the_domain()),
                "account.list" => {
                    json!([{"id": "erin", "provider": "imap", "origin": "imaps://imap.example.net:993", "credential": "password"}])
                }
                "status" => {
                    json!({"version": "0.1.0", "home": "/h", "doors": {"imap": "127.0.0.1:7143"}, "vault": "memory", "vault_locked": false,
                                   "panicked": false, "owner": "terminal", "accounts": 0, "agents": 0, "waiting": 1})
                }
                "quarantine.list" => json!(quarantine()),
                "quarantine.clear" => json!({"items": 0, "bytes": 0, "limit": 1}),
                _ => json!({}),
            };
            if method.contains("decide") || method == "quarantine.clear" || method == "panic" || method == "account.add"
            {
                let _ = said.send((method, params));
            }
            let answer = Response { jsonrpc: Version::V2, id, outcome: Outcome::Result(result) };
            codec::write_line(&mut writer, &answer).await.unwrap();
        }
    });
    let (typed, lines) = mpsc::unbounded_channel();
    let shown = Arc::new(Mutex::new(Vec::new()));
    let terminal = Terminal::from_parts(lines, Box::new(Screen(Arc::clone(&shown))));
    Stage { typed, shown, decided, running: tokio::spawn(run(client, events, terminal)) }
}

impl Stage {
    fn kind(&self, line: &str) {
        self.typed.send(Line::new(line.to_owned())).unwrap();
    }

    fn screen(&self) -> String {
        String::from_utf8(self.shown.lock().unwrap().clone()).unwrap()
    }

    fn clear(&self) {
        self.shown.lock().unwrap().clear();
    }

    async fn wait_for(&self, text: &str) {
        for _ in 0..400 {
            if self.screen().contains(text) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("never shown: {text}\n{}", self.screen());
    }

    async fn decision(&mut self) -> (String, Value) {
        tokio::time::timeout(Duration::from_secs(5), self.decided.recv()).await.unwrap().unwrap()
    }
}

#[tokio::test]
async fn only_enter_denies() {
    let mut stage = stage(hold_of(3));
    stage.wait_for("Only Enter: Keep them.").await;
    stage.kind("");
    let (method, params) = stage.decision().await;
    assert_eq!((method.as_str(), &params["verdict"]), ("hold.decide", &json!("deny")));
    stage.kind("quit");
    assert_eq!(stage.running.await.unwrap(), End::Quit);
}

#[tokio::test]
async fn an_allow_typed_too_fast_does_not_count_and_one_in_time_does() {
    let mut stage = stage(hold_of(3));
    stage.wait_for("Only Enter").await;
    stage.kind("allow");
    stage.wait_for("does not count").await;
    assert!(stage.decided.try_recv().is_err());
    tokio::time::sleep(TOO_FAST).await;
    stage.kind("allow 1,3");
    let (_, params) = stage.decision().await;
    assert_eq!(params["objects"], json!(["m1", "m3"]));
    assert_eq!(
        (&params["digest"], &params["by"], &params["scope"]),
        (&json!("d1"), &json!("terminal"), &json!("once"))
    );
}

#[tokio::test]
async fn what_was_typed_before_the_question_does_not_answer_it() {
    let (typed, lines) = mpsc::unbounded_channel();
    let mut terminal = Terminal::from_parts(lines, Box::new(std::io::sink()));
    typed.send(Line::new("allow".to_owned())).unwrap();
    terminal.forget_typed();
    typed.send(Line::new("later".to_owned())).unwrap();
    assert_eq!(terminal.line().await.unwrap().as_str(), "later");
}

#[tokio::test]
async fn end_of_file_denies_what_is_asked() {
    let Stage { typed, shown, mut decided, running } = stage(hold_of(3));
    while !String::from_utf8_lossy(&shown.lock().unwrap()).contains("Only Enter") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    drop(typed);
    assert_eq!(running.await.unwrap(), End::TerminalGone);
    assert_eq!(decided.recv().await.unwrap().1["verdict"], json!("deny"));
}

#[tokio::test]
async fn panic_works_while_something_is_asked() {
    let mut stage = stage(hold_of(3));
    stage.wait_for("Only Enter").await;
    stage.kind("panic");
    assert_eq!(stage.decision().await.0, "panic");
    stage.wait_for("Stopped. Cut: 3 connections, 1 token, 1 waiting request.").await;
}

#[tokio::test]
async fn a_long_list_is_seen_before_it_can_be_allowed() {
    let mut stage = stage(hold_of(60));
    stage.wait_for("and 40 more; type list").await;
    tokio::time::sleep(TOO_FAST).await;
    stage.kind("allow");
    stage.wait_for("You have seen 20 of 60 messages").await;
    stage.kind("list");
    stage.wait_for("60. Subject 60").await;
    stage.kind("allow");
    assert_eq!(stage.decision().await.1["verdict"], json!("allow"));
}

#[tokio::test]
async fn for_ever_needs_the_number_and_a_wrong_number_denies() {
    for (number, verdict) in [("3", "allow"), ("yes", "deny")] {
        let hold = HoldView { class: Class::Destroy, forever: true, retype: true, task_scope: false, ..hold_of(3) };
        let mut stage = stage(hold);
        stage.wait_for("for ever.").await;
        tokio::time::sleep(TOO_FAST_GRAVE).await;
        stage.kind("for ever");
        stage.wait_for("Type the number, 3,").await;
        stage.kind(number);
        let (_, params) = stage.decision().await;
        assert_eq!(params["verdict"], json!(verdict));
        assert_eq!(params.get("forever").is_some(), verdict == "allow");
    }
}

#[tokio::test]
async fn a_typed_token_goes_in_and_is_never_shown() {
    let mut stage = put_off().await;
    for line in ["account add", "work", "gmail", "", "token", "canary-4711"] {
        stage.kind(line);
    }
    let (method, params) = stage.decision().await;
    assert_eq!((method.as_str(), &params["credential"]["token"]), ("account.add", &json!("canary-4711")));
    stage.wait_for("Added work.").await;
    assert!(!stage.screen().contains("canary-4711"));
}

#[tokio::test]
async fn a_flood_of_questions_waits_until_the_person_wants_more() {
    let mut stage = stage_with(hold_of(1), 10);
    for _ in 0..3 {
        stage.wait_for("Only Enter").await;
        stage.clear();
        stage.kind("");
        stage.decision().await;
    }
    stage.wait_for("type next to see it now").await;
    assert!(!stage.screen().contains("Only Enter"));
    stage.kind("next");
    stage.wait_for("Only Enter").await;
}

#[test]
fn nothing_but_the_words_for_it_allows() {
    let hold = hold_of(5);
    for line in [
        "y",
        "yes",
        "ok",
        "allo",
        "Allow",
        "ALLOW",
        "allow 0",
        "allow 6",
        "allow 2-1",
        "allow x",
        "for ever",
        "trash 5",
        "1",
    ] {
        assert!(matches!(answer(&hold, line), Answer::Unclear(_)), "{line}");
    }
    for line in ["", "   ", "no", "deny", "keep"] {
        assert_eq!(answer(&hold, line), Answer::Deny(None), "{line}");
    }
    let whole = HoldView { partial: false, task_scope: false, ..hold };
    assert!(matches!(answer(&whole, "allow 1"), Answer::Unclear(_)));
    assert!(matches!(answer(&whole, "allow task"), Answer::Unclear(_)));
}

#[test]
fn rows_are_chosen_once_each() {
    let hold = hold_of(5);
    assert_eq!(chosen(&hold, "1,3-5 4").unwrap(), ["m1", "m3", "m4", "m5"]);
    assert_eq!(chosen(&hold, "99999999999999999999"), None);
    assert_eq!(chosen(&hold, ","), None);
}

#[test]
fn text_from_outside_can_not_move_the_cursor_or_hide() {
    assert_eq!(
        show::plain("a\x1b[2Jb\u{202e}c\u{200b}d\ne\u{e0041}"),
        "a\\u{1b}[2Jb\\u{202e}c\\u{200b}d\\ne\\u{e0041}"
    );
    assert_eq!(show::plain(&"x".repeat(500)).chars().count(), 201);
    assert_eq!(show::plain("Bank <a@аpple.com>, über"), "Bank <a@xn--pple-43d.com>, über");
    let mut hold = hold_of(1);
    hold.objects[0].title = "Win\x07\r\nOnly Enter: allow".to_owned();
    hold.agent_name = "Mia\u{202e}".to_owned();
    assert!(!show::hold(&hold).contains(['\x07', '\r', '\u{202e}']));
    assert_eq!(show::hold(&hold).lines().filter(|line| line.starts_with("Only Enter")).count(), 0);
}

#[test]
fn a_hold_reads_like_this() {
    insta::assert_snapshot!(format!("{}{}", show::hold(&hold_of(3)), show::choices(&hold_of(3))));
}

fn found_at_the_domain() -> DiscoveredView {
    serde_json::from_value(json!({
        "address": "erin@example.org", "id": "erin", "provider": "imap", "username": "erin@example.org", "password": "unknown",
        "imap": {"host": "imap.example.net", "port": 993, "tls": "implicit", "by": "domain", "outside": true},
        "smtp": {"host": "smtp.example.org", "port": 587, "tls": "starttls", "by": "domain", "outside": false,
                 "problem": "smtp.example.org:587 can't be reached: connection refused"},
        "caldav": "https://dav.example.org"
    }))
    .unwrap()
}

#[tokio::test]
async fn a_mailbox_is_added_only_after_its_servers_were_agreed_to() {
    let mut stage = put_off().await;
    stage.kind("account add erin@example.org");
    stage.wait_for("not under example.org").await;
    stage.wait_for("Is this where your mail is?").await;
    assert!(!stage.screen().contains("Password of"), "no password is asked for before");
    stage.kind("yes");
    stage.wait_for("Password of erin@example.org at imap.example.net").await;
    stage.kind("canary-4712");
    let (method, params) = stage.decision().await;
    assert_eq!(method, "account.add");
    assert_eq!(
        params,
        json!({"id": "erin", "provider": "imap", "address": "erin@example.org", "check": true,
               "upstream": {"imap": {"host": "imap.example.net", "port": 993, "tls": "implicit"}},
               "credential": {"kind": "password", "username": "erin@example.org", "password": "canary-4712"}})
    );
    stage.wait_for("Added erin.").await;
    stage.wait_for("IMAP server 127.0.0.1, port 7143").await;
    assert!(!stage.screen().contains("canary-4712"));
}

#[tokio::test]
async fn whoever_types_the_servers_is_asked_for_the_one_of_mail_filters_too() {
    let mut stage = put_off().await;
    stage.kind("account add erin@example.org");
    stage.wait_for("Is this where your mail is?").await;
    for line in ["no", "mail.example.org", "", "", "", "sieve.example.org", "", "4191"] {
        stage.kind(line);
    }
    stage.wait_for("ManageSieve; Enter: it has none").await;
    stage.wait_for("Enter: starttls").await;
    stage.wait_for("at mail.example.org and sieve.example.org").await;
    stage.kind("canary-4713");
    let (method, params) = stage.decision().await;
    assert_eq!(method, "account.add");
    assert_eq!(
        params["upstream"],
        json!({"imap": {"host": "mail.example.org", "tls": "implicit"},
               "sieve": {"host": "sieve.example.org", "port": 4191, "tls": "starttls"}})
    );
}

#[tokio::test]
async fn whoever_does_not_agree_adds_nothing() {
    for answers in [["", ""], ["no", ""], ["y", ""]] {
        let mut stage = put_off().await;
        stage.kind("account add erin@example.org");
        stage.wait_for("Is this where your mail is?").await;
        answers.iter().for_each(|line| stage.kind(line));
        stage.wait_for("Nothing was added.").await;
        assert!(stage.decided.try_recv().is_err());
    }
}

#[test]
fn what_was_found_reads_like_this() {
    let known = DiscoveredView {
        name: Some("iCloud Mail".to_owned()),
        username: "erin".to_owned(),
        password: PasswordKind::App,
        help: Some("Apple takes an app-specific password here.".to_owned()),
        link: Some("https://account.apple.com".to_owned()),
        imap: Some(FoundServer {
            host: "imap.mail.me.com".to_owned(),
            port: 993,
            tls: MailTls::Implicit,
            by: FoundBy::Known,
            outside: false,
            problem: None,
        }),
        smtp: None,
        ..found_at_the_domain()
    };
    let signed_in = DiscoveredView { password: PasswordKind::OAuth, ..known.clone() };
    let nothing = DiscoveredView {
        imap: None,
        smtp: None,
        caldav: None,
        notes: vec![
            "example.org does not say where its mail servers are, and no usual name answered.\u{1b}[2J".to_owned(),
        ],
        ..found_at_the_domain()
    };
    let texts = [found_at_the_domain(), known, signed_in, nothing].map(|view| account::discovered(&view));
    insta::assert_snapshot!(texts.join("\n"));
}

#[test]
fn mail_programs_are_told_this() {
    let doors = |imap: Option<&str>, smtp: Option<&str>| DoorsView {
        http: Some("http://127.0.0.1:4711".to_owned()),
        imap: imap.map(str::to_owned),
        smtp: smtp.map(str::to_owned),
        sieve: smtp.map(|_| "127.0.0.1:7190".to_owned()),
        control: None,
    };
    let account = |id: &str, provider: &str| AccountView {
        id: id.to_owned(),
        provider: provider.to_owned(),
        address: id.contains('.').then(|| "erin@example.org".to_owned()),
        origin: "imaps://imap.example.net:993".to_owned(),
        sends_through: Some("smtps://smtp.example.net:465".to_owned()),
        trash: id.contains('.').then(|| "Gel&APY-scht".to_owned()),
        sent: id.contains('.').then(|| "Objets envoy&AOk-s".to_owned()),
        filters_at: Some("sieve+starttls://imap.example.net:4190".to_owned()),
        credential: "password".to_owned(),
        failing: None,
        sign_out_page: None,
    };
    let mut text = String::new();
    for (id, provider, doors) in [
        ("erin", "imap", doors(Some("127.0.0.1:7143"), None)),
        ("erin.home", "imap", doors(Some("127.0.0.1:7143"), Some("127.0.0.1:7025"))),
        ("erin", "imap", doors(None, None)),
        ("work", "gmail", doors(Some("127.0.0.1:7143"), None)),
    ] {
        let account = account(id, provider);
        text.push_str(&format!("== {id}\n{}", connect::how(&account, &doors)));
        for program in [connect::Program::Himalaya, connect::Program::Himalaya1] {
            let settings = connect::settings(program, &account, &doors, Some("mia"));
            if let Ok(settings) = &settings {
                settings.parse::<toml::Table>().unwrap();
            }
            text.push_str(&format!("-- {program:?}\n{}\n", settings.unwrap_or_else(|why| why)));
        }
    }
    insta::assert_snapshot!(text);
}

#[tokio::test]
async fn copies_are_shown_and_erased_only_when_their_number_is_typed() {
    let mut stage = stage_with(hold_of(1), 0);
    stage.kind("copies");
    stage.wait_for("3 in all").await;
    let shown = stage.screen();
    assert!(
        shown.contains("    2,    1.4 MB  u7  2026-11-22T08:00:00Z  mia: Deleted 2 messages for ever in work"),
        "{shown}"
    );
    assert!(shown.contains("    1,    0.0 MB  nobody knows of what any more"), "{shown}");
    assert!(shown.contains("3 in all, 1.4 MB of 536.8 MB"), "{shown}");
    stage.kind("copies erase");
    stage.wait_for("Type 3 to erase").await;
    stage.kind("yes");
    stage.wait_for("Nothing was erased.").await;
    stage.clear();
    stage.kind("copies erase");
    stage.wait_for("Type 3 to erase").await;
    stage.kind("3");
    stage.wait_for("Erased.").await;
    assert_eq!(stage.decided.recv().await.unwrap().0, "quarantine.clear");
    assert!(stage.decided.try_recv().is_err());
}
