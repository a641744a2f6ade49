//! ATTACKS 35 for submitted mail: kill -9 while it is held, while it waits, while it is sent. It leaves at most once, and nobody is left in doubt.

use std::sync::Arc;
use std::time::Duration;

use latch_daemon::runtime::{Engine as Inside, OnEof, Options, Origin, OwnerKind};
use latch_daemon::vault::VaultKind;
use latch_ipc::contract::{
    Empty, HoldList, JournalTail, JournalTailParams, JournalVerify, OutboxList, SettingsSet, StatusCall,
};
use latch_tests::engine::{PASSPHRASE, Start};
use latch_tests::sink::{Outgoing, USER, mail};
use serde_json::json;

use crate::smtp::{BOB, budget, make_known};

async fn lasting(outbox_seconds: u32) -> Outgoing {
    let out = Outgoing::lasting("assistant").await;
    out.engine.call(SettingsSet, json!({ "outbox_seconds": outbox_seconds })).await;
    make_known(&out, &[BOB]).await;
    out
}

async fn unknown_is_told(out: &Outgoing) -> bool {
    let status = out.engine.call(StatusCall, Empty {}).await;
    status.warnings.iter().any(|warning| warning.contains("unknown"))
}

#[tokio::test]
async fn attack_35_killed_while_held_nothing_leaves() {
    let mut out = lasting(0).await;
    let mut client = out.client().await;
    client.hand_in(USER, &["stranger@x.example"], &mail("stranger@x.example", "Held")).await;
    out.engine.hold().await;
    out.crash().await;
    assert_eq!(client.reply().await, "", "no answer is no yes");
    assert!(out.engine.call(HoldList, Empty {}).await.is_empty());
    assert!(!unknown_is_told(&out).await);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(out.sink.mails().len(), 1);
}

#[tokio::test]
async fn attack_35_killed_while_it_waits_a_mail_is_asked_about_and_leaves_once() {
    let mut out = lasting(2).await;
    let said = out.client().await.submit(USER, &[BOB], &mail(BOB, "Waits")).await;
    assert!(said.starts_with("250 "), "{said}");
    out.crash().await;
    assert!(!unknown_is_told(&out).await, "nothing was under way");
    assert_eq!(out.engine.call(OutboxList, Empty {}).await.len(), 1);
    let hold = out.engine.hold().await;
    assert!(!hold.why.contains("may have left"), "{}", hold.why);
    assert_eq!(out.sink.mails().len(), 1);
    // Another crash while it is asked about loses nothing.
    out.crash().await;
    let hold = out.engine.hold().await;
    out.engine.allow(&hold).await;
    assert!(out.sink.arrived(2).await[1].text().contains("Subject: Waits"));
    crate::classes::wait_until(|| async { out.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
    out.crash().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(out.sink.mails().len(), 2);
    out.engine.no_holds().await;
}

#[tokio::test]
async fn where_the_terminal_is_missing_nobodys_no_drops_no_waiting_mail() {
    let mut out = lasting(1).await;
    assert!(out.client().await.submit(USER, &[BOB], &mail(BOB, "Waits")).await.starts_with("250 "));
    let pid = rustix::process::Pid::from_raw(out.engine.pid() as i32).expect("a process");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    out.engine.ended().await;
    // The restart froze it, so it is to be asked about; but this process has no terminal.
    let options = Options {
        home: Some(out.home.path().to_owned()),
        http: None,
        imap: None,
        smtp: None,
        sieve: None,
        optional: false,
        nameserver: None,
        roots: Vec::new(),
        vault: VaultKind::Passphrase,
        owner: OwnerKind::Terminal,
        on_eof: OnEof::Exit,
        started_by: Vec::new(),
        warnings: Vec::new(),
    };
    // On threads of its own, so that it lets go of the home when they end.
    let inside = tokio::task::spawn_blocking(move || {
        let threads = tokio::runtime::Runtime::new().expect("threads");
        threads.block_on(async {
            let engine = Inside::start(options).await.expect("it starts");
            let runtime = Arc::clone(engine.runtime());
            let nobody = async {
                let open = json!({ "passphrase": PASSPHRASE });
                runtime.call("vault.unlock", open, Origin::Owner).await.expect("it opens");
                tokio::time::sleep(Duration::from_secs(4)).await;
                let waiting = runtime.call("outbox.list", json!({}), Origin::Owner).await.expect("a list");
                runtime.end();
                waiting
            };
            tokio::join!(engine.run(), nobody).1
        })
    });
    let waiting = inside.await.expect("it ran");
    assert_eq!(waiting.as_array().map(Vec::len), Some(1), "{waiting}");
    assert_eq!(out.sink.mails().len(), 1, "and a silence is no yes");
    out.engine = Start::at(out.home.path()).smtp().start().await;
    let hold = out.engine.hold().await;
    assert_eq!(out.sink.mails().len(), 1);
    out.engine.allow(&hold).await;
    assert!(out.sink.arrived(2).await[1].text().contains("Subject: Waits"));
}

#[tokio::test]
async fn attack_35_killed_while_it_is_sent_a_mail_is_not_sent_again_by_itself() {
    for outbox in [0, 1] {
        let mut out = lasting(outbox).await;
        out.sink.mood("hang").await;
        let mut client = out.client().await;
        client.hand_in(USER, &[BOB], &mail(BOB, "Sending")).await;
        out.sink.arrived(2).await;
        out.crash().await;
        out.sink.mood("take").await;
        assert!(unknown_is_told(&out).await, "outbox {outbox}");
        if outbox == 0 {
            assert_eq!(client.reply().await, "");
        } else {
            let hold = out.engine.hold().await;
            assert!(hold.why.contains("may have left already"), "{}", hold.why);
            // The person allows it, and again it is killed on the way.
            out.sink.mood("hang").await;
            out.engine.allow(&hold).await;
            out.sink.arrived(3).await;
            out.crash().await;
            out.sink.mood("take").await;
            let hold = out.engine.hold().await;
            assert!(hold.why.contains("may have left already"), "{}", hold.why);
            out.engine.deny(&hold).await;
            crate::classes::wait_until(|| async { out.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert_eq!(out.sink.mails().len(), 2 + usize::try_from(outbox).unwrap(), "outbox {outbox}");
        assert!(out.engine.call(JournalVerify, Empty {}).await.ok);
    }
}

/// Each point, how many mails had arrived when the engine died there, and whether the journal must say that the outcome is unknown.
const POINTS: [(&str, usize, bool); 7] = [
    ("before-intent", 0, false),
    ("in-transaction", 0, false),
    ("after-commit", 0, true),
    ("after-intent", 0, true),
    ("before-outcome", 1, true),
    ("in-transaction:2", 1, true),
    ("after-commit:2", 1, false),
];

#[tokio::test]
async fn attack_35_killed_at_every_point_a_permitted_mail_leaves_at_most_once() {
    let mut out = lasting(0).await;
    budget(&out, 100).await;
    for (point, left, unknown) in POINTS {
        let home = out.home.path().to_owned();
        out.restart_as(Start::at(&home).failing(point)).await;
        let before = out.sink.mails().len();
        let said = out.client().await.submit(USER, &[BOB], &mail(BOB, point)).await;
        assert_eq!(said, "", "{point}: it was to die");
        out.engine.ended().await;
        out.engine = Start::at(&home).smtp().start().await;
        assert_eq!(unknown_is_told(&out).await, unknown, "{point}");
        assert!(out.engine.call(JournalVerify, Empty {}).await.ok, "{point}");
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(out.sink.mails().len() - before, left, "{point}");
        let params = JournalTailParams { limit: Some(20), ..JournalTailParams::default() };
        let records = out.engine.call(JournalTail, params).await;
        let outcome = records
            .iter()
            .find(|record| record.kind == "outcome" && record.text.starts_with("the mail server answered 250"));
        if point == "after-commit:2" {
            assert!(outcome.is_some(), "{point}: {records:#?}");
        }
    }
    out.engine.no_holds().await;
}
