//! Cut in the middle: panic and kill -9 while something is under way over IMAP. Nothing goes on by itself, nothing is lost, and what was done can be undone.

use std::time::Duration;

use latch_ipc::contract::{
    Empty, JournalVerify, PanicCall, QuarantineList, TokenRevoke, TokenRevokeParams, UndoRun, UndoRunParams, Verdict,
};
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::engine::{Engine, Start, decision};
use latch_tests::mail::{Client, Post, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

use crate::imap_bad::lied_to;

async fn panic(engine: &Engine) {
    let params = serde_json::from_value(serde_json::json!({ "reason": "test" })).expect("params");
    engine.call(PanicCall, params).await;
}

#[tokio::test]
async fn panic_in_the_middle_of_5000_marks_stops_there_and_can_be_undone() {
    let (liar, post) = lied_to(10_000).await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    // Every second one: as sets of numbers they take many commands.
    let sets: Vec<String> = (1..=5_000).map(|n| (2 * n).to_string()).collect();
    let literal = sets.join(",");
    assert!(literal.len() < 60_000, "one command");
    let tag = client.send(&format!("UID STORE {literal} +FLAGS.SILENT (\\Deleted)")).await;
    let hold = post.engine.hold_within(Duration::from_secs(60)).await;
    assert_eq!(hold.count, 5_000);
    let marks = || {
        let folder = post.dovecot.messages("INBOX");
        folder.iter().filter(|one| one.flags.contains('T')).count()
    };
    let mut allow = decision(&hold, Verdict::Allow);
    allow.retyped_count = Some(5_000);
    // So that it would take half a minute and more if nobody stopped it.
    liar.slow("UID STORE", Duration::from_secs(1));
    post.engine.decide(allow).await.expect("allowed");
    while marks() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic(&post.engine).await;
    // One that is on the slow line already arrives.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let marked = marks();
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(marks(), marked, "nothing goes on after a panic");
    assert!(marked > 0 && marked < 1_000, "{marked} are marked");
    assert_eq!(client.end(&tag).await.end, "(gone)");
    liar.mend();
    let undone =
        post.engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await;
    assert!(undone.restored as usize >= marked, "{} of {marked}", undone.restored);
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

/// One command that is under way: nobody hears from the server where its messages went.
#[tokio::test]
async fn panic_in_the_middle_of_moving_2000_mails_to_the_trash_can_be_undone() {
    let (liar, post) = lied_to(2_000).await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    let tag = client.send("UID MOVE 1:* Trash").await;
    let hold = post.engine.hold_within(Duration::from_secs(60)).await;
    let mut allow = decision(&hold, Verdict::Allow);
    allow.retyped_count = Some(2_000);
    // Its answer would come, but later.
    liar.slow("COPYUID", Duration::from_secs(5));
    post.engine.decide(allow).await.expect("allowed");
    let trashed = || post.dovecot.messages("Trash").len();
    while trashed() == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic(&post.engine).await;
    assert_eq!(client.end(&tag).await.end, "(gone)", "the panic was before the answer");
    liar.mend();
    // The server goes on with what it had heard.
    let mut before = 0;
    while before != trashed() {
        before = trashed();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let undone =
        post.engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await;
    assert_eq!((undone.restored as usize, undone.not_restored.len()), (before, 0), "{:?}", undone.notes);
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert_eq!(trashed(), 0);
}

#[tokio::test]
async fn panic_in_the_middle_of_a_mail_of_100_mb_ends_it_there() {
    const SIZE: usize = 100_000_000;
    let post = Post::new(1, "organize").await;
    let mut phone = post.phone().await;
    let tag = phone.send(&format!("APPEND INBOX {{{SIZE}}}")).await;
    phone.go_ahead().await;
    let line = [b'x'; 78];
    let mut chunk = Vec::with_capacity(80 * 12_500);
    for _ in 0..12_500 {
        chunk.extend_from_slice(&line);
        chunk.extend_from_slice(b"\r\n");
    }
    for _ in 0..SIZE / chunk.len() {
        phone.say(&chunk).await;
    }
    phone.say(b"\r\n").await;
    let stored = phone.end(&tag).await.end;
    let uid = stored.split_once(']').and_then(|(code, _)| code.rsplit(' ').next()).expect("an APPENDUID").to_owned();
    let before = latch_tests::engine::memory_kib(post.engine.pid());
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.send(&format!("UID FETCH {uid} BODY[]")).await;
    let mut lines = 0;
    while lines < 10_000 {
        let line = client.line().await;
        assert!(!line.is_empty());
        lines += 1;
    }
    let grown = latch_tests::engine::memory_kib(post.engine.pid()).saturating_sub(before);
    assert!(grown < 32 * 1024, "{grown} KiB more for a mail of 100 MB");
    panic(&post.engine).await;
    while !client.line().await.is_empty() {
        lines += 1;
    }
    assert!(lines < SIZE / 80, "{lines} lines came");
}

/// Each point, and whether the engine surely did nothing before it died there.
const POINTS: [(&str, bool); 5] = [
    ("before-intent", true),
    ("in-transaction", true),
    ("after-intent", true),
    ("before-outcome", false),
    ("after-commit:2", false),
];

async fn logged_in(engine: &Engine) -> Client {
    let token = issue(engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    client
}

#[tokio::test]
async fn killed_while_expunging_no_mail_is_lost_and_nothing_is_repeated() {
    for (point, nothing) in POINTS {
        let home = tempfile::tempdir().expect("a temporary folder");
        let dovecot = Dovecot::start(6).await;
        let engine = Start::at(home.path()).imap().start().await;
        add(&engine, dovecot.port, PASSWORD).await;
        connect(&engine, AGENT, ACCOUNT, "organize").await;
        engine.kill().await;
        let mut phone = Client::connect(&format!("127.0.0.1:{}", dovecot.port)).await;
        phone.ok(&format!("LOGIN {} {PASSWORD}", latch_tests::dovecot::USER)).await;
        phone.ok("SELECT INBOX").await;
        phone.ok("STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
        let start = dovecot.messages("INBOX");
        let mut engine = Start::at(home.path()).imap().failing(point).start().await;
        let mut client = logged_in(&engine).await;
        client.ok("SELECT INBOX").await;
        let tag = client.send("EXPUNGE").await;
        let hold = engine.hold().await;
        // It may die before it can answer.
        let _ = engine.decide(decision(&hold, Verdict::Allow)).await;
        engine.ended().await;
        assert!(!client.end(&tag).await.end.starts_with("OK"), "{point}");
        let there = || {
            let mut all = dovecot.messages("INBOX");
            all.extend(dovecot.messages("Trash"));
            all.sort();
            all
        };
        let at_death = there();
        assert_eq!(at_death.len(), 6, "{point}: every mail is somewhere");
        if nothing {
            assert_eq!(dovecot.messages("INBOX"), start, "{point}");
        }
        let engine = Start::at(home.path()).imap().start().await;
        assert!(!engine.welcome.panicked, "{point}: a crash is not a panic");
        assert!(engine.call(JournalVerify, Empty {}).await.ok, "{point}");
        tokio::time::sleep(Duration::from_millis(500)).await;
        assert_eq!(there(), at_death, "{point}: nothing is repeated by itself");
        let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
        let undone = engine.call(UndoRun, params).await;
        assert!(undone.not_restored.is_empty(), "{point}: {undone:?}");
        assert_eq!(dovecot.messages("INBOX"), start, "{point}");
    }
}

#[tokio::test]
async fn whoever_stalls_in_the_middle_of_something_goes_when_the_token_does() {
    let post = Post::new(1, "organize").await;
    let (mut idle, mut append) = (post.client().await, post.client().await);
    idle.ok("SELECT INBOX").await;
    idle.send("IDLE").await;
    idle.go_ahead().await;
    idle.say(b"D").await;
    append.send("APPEND INBOX {1000}").await;
    append.go_ahead().await;
    append.say(b"From: half a mail").await;
    post.engine.call(TokenRevoke, TokenRevokeParams { agent: AGENT.to_owned() }).await;
    for mut client in [idle, append] {
        let end = async { while !client.line().await.is_empty() {} };
        tokio::time::timeout(Duration::from_secs(20), end).await.expect("it is over");
    }
    assert_eq!(post.dovecot.messages("INBOX").len(), 1);
}

#[tokio::test]
async fn of_what_a_crash_kept_from_being_expunged_no_copies_stay() {
    let post = Post::with(Dovecot::start(2), "organize", |start| start.failing("before-intent:2")).await;
    let start = post.dovecot.messages("INBOX").len();
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    client.send("UID EXPUNGE 1").await;
    let hold = post.engine.hold().await;
    let mut forever = decision(&hold, Verdict::Allow);
    (forever.forever, forever.retyped_count) = (Some(true), Some(1));
    let _ = post.engine.decide(forever).await;
    let Post { mut engine, home, dovecot, .. } = post;
    engine.ended().await;
    let engine = Start::at(home.path()).imap().start().await;
    assert_eq!(engine.call(QuarantineList, Empty {}).await.items, 0);
    assert_eq!(dovecot.messages("INBOX").len(), start);
}
