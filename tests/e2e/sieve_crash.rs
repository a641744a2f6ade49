//! ATTACKS 35 for mail filters: kill -9 at every point. A change is made at most once, never without its record, and undo knows of it.

use latch_ipc::contract::{
    AccountAdd, AccountList, AccountRemove, Empty, HoldList, Id, JournalTail, JournalTailParams, JournalVerify,
    MailTls, StatusCall, UndoList, UndoListParams,
};
use latch_tests::canary::Canaries;
use latch_tests::dovecot::PASSWORD;
use latch_tests::engine::Start;
use latch_tests::filters::{Filters, account, put};
use latch_tests::ports::free_port;
use latch_tests::scene::{ACCOUNT, AGENT, grant};

use crate::sieve::{EVIL, OWN};

async fn lasting() -> Filters {
    let house = Filters::lasting("ask-everything").await;
    house.runs("main", OWN).await;
    house
}

async fn unknown_is_told(house: &Filters) -> bool {
    let status = house.engine.call(StatusCall, Empty {}).await;
    status.warnings.iter().any(|warning| warning.contains("unknown"))
}

#[tokio::test]
async fn attack_35_killed_while_held_nothing_is_changed() {
    let mut house = lasting().await;
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    house.engine.hold().await;
    house.crash().await;
    assert_eq!(client.reply().await, "", "no answer is no yes");
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
    assert!(!unknown_is_told(&house).await);
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
}

/// Each point, whether the change was made when the engine died there, and whether the journal must say that the outcome is unknown.
const POINTS: [(&str, bool, bool); 7] = [
    ("before-intent", false, false),
    ("in-transaction", false, false),
    ("after-commit", false, true),
    ("after-intent", false, true),
    ("before-outcome", true, true),
    ("in-transaction:2", true, true),
    ("after-commit:2", true, false),
];

#[tokio::test]
async fn attack_35_killed_at_every_point_a_change_is_made_at_most_once_and_comes_back() {
    let mut house = lasting().await;
    for (point, made, unknown) in POINTS {
        let home = house.home.path().to_owned();
        house.restart_as(Start::at(&home).failing(point)).await;
        let mut client = house.client().await;
        let script = format!("{EVIL}# {point}\r\n");
        client.send(&put("main", &script)).await;
        let hold = house.engine.hold().await;
        let mut allow = latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow);
        allow.retyped_count = Some(1);
        let _ = house.engine.decide(allow).await;
        assert_eq!(client.reply().await, "", "{point}: it was to die");
        house.engine.ended().await;
        house.engine = Start::at(&home).sieve().start().await;
        assert_eq!(unknown_is_told(&house).await, unknown, "{point}");
        assert!(house.engine.call(JournalVerify, Empty {}).await.ok, "{point}");
        let stored = house.dovecot.script("main").expect("a script");
        assert_eq!(stored == script, made, "{point}: {stored}");
        let undone = house.undo().await;
        assert!(undone.not_restored.is_empty(), "{point}: {undone:?}");
        assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN), "{point}");
    }
    house.engine.no_holds().await;
}

#[tokio::test]
async fn a_wrong_password_is_the_persons_to_mend_and_no_password_stands_anywhere() {
    let wrong = "canary-sieve-0ldp4ss";
    let canaries = Canaries::of([PASSWORD.to_owned(), wrong.to_owned()]);
    let house = lasting().await;
    let mut client = house.client().await;
    client.ok("GETSCRIPT \"main\"").await;
    canaries.assert_absent("the answers", &client.heard);
    house.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    latch_tests::filters::add(&house.engine, &house.dovecot, wrong).await;
    grant(&house.engine, AGENT, ACCOUNT, "ask-everything").await;
    let mut client = house.client().await;
    for command in ["LISTSCRIPTS", "SETACTIVE \"\""] {
        let said = client.no(command).await;
        assert!(said.starts_with("NO (TRYLATER) \"The mail server does not accept the person's own login"), "{said}");
    }
    let accounts = house.engine.call(AccountList, Empty {}).await;
    assert!(accounts[0].failing.as_ref().is_some_and(|why| why.contains("does not accept")), "{accounts:?}");
    let records =
        house.engine.call(JournalTail, JournalTailParams { limit: Some(500), ..JournalTailParams::default() }).await;
    canaries.assert_absent("the journal", format!("{records:?}").as_bytes());
    canaries.assert_absent("the answers", &client.heard);
    canaries.assert_absent("the log", house.engine.log().as_bytes());
    assert!(canaries.assert_absent_below(house.home.path()) > 0);
    // A login that is tried first is tried there, too.
    house.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    let mut params = account(&house.dovecot, MailTls::None, PASSWORD);
    params.check = true;
    let nobody = free_port();
    let mut elsewhere = params.clone();
    elsewhere.upstream.sieve.as_mut().expect("a server").port = Some(nobody);
    assert!(house.engine.client.call(AccountAdd, elsewhere).await.is_err(), "nobody listens there");
    house.engine.call(AccountAdd, params).await;
}

#[tokio::test]
async fn what_panic_stops_before_it_leaves_was_not_done_and_is_nothing_to_undo() {
    let mut house = lasting().await;
    let home = house.home.path().to_owned();
    house.restart_as(Start::at(&home).failing("panic-after-intent")).await;
    let mut client = house.client().await;
    client.send(&put("main", EVIL)).await;
    house.allow(&house.engine.hold().await).await;
    assert_eq!(client.reply().await, "", "cut");
    crate::classes::wait_until(|| async { house.engine.call(StatusCall, Empty {}).await.panicked }).await;
    let not_done = || async {
        let records = house.engine.call(JournalTail, JournalTailParams { limit: Some(50), ..Default::default() }).await;
        records.iter().any(|record| record.kind == "outcome" && record.text == "not done: stopped before it left")
    };
    crate::classes::wait_until(not_done).await;
    assert!(!unknown_is_told(&house).await);
    assert!(house.engine.call(UndoList, UndoListParams::default()).await.is_empty());
    assert_eq!(house.dovecot.script("main").as_deref(), Some(OWN));
}
