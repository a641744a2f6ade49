//! Mails that wait as drafts upstream and can't be sent when they are due, or allowed: nobody but the person drops one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use latch_ipc::contract::{
    AccountList, AgentList, Empty, GrantRevoke, Id, JournalTail, JournalTailParams, OutboxCancel, OutboxList,
    PanicCall, Resume, ResumeParams, SettingsSet, StatusCall,
};
use latch_ipc::view::HoldView;
use latch_tests::Agent;
use latch_tests::engine::{Engine, Start};
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use serde_json::json;

use crate::classes::{post, raw, wait_until};

/// A provider that answers every sending with a status that a test chooses, and an agent that may write to a friend.
struct House {
    upstream: Upstream,
    engine: Engine,
    agent: Agent,
    status: Arc<AtomicU16>,
    _home: tempfile::TempDir,
}

impl House {
    async fn new(how: impl FnOnce(Start) -> Start) -> Self {
        let status = Arc::new(AtomicU16::new(200));
        let answer = Arc::clone(&status);
        let upstream = Upstream::start(move |seen| {
            if seen.target.ends_with("/drafts") {
                return Reply::json(200, &json!({ "id": "d1", "message": { "id": "m9", "threadId": "t9" } }));
            }
            let sends = seen.target.contains("messages/send");
            let status = if sends { answer.load(Ordering::SeqCst) } else { 200 };
            Reply::json(status, &json!({ "id": "m9", "labelIds": ["INBOX"], "payload": { "headers": [] } }))
        });
        let home = tempfile::tempdir().unwrap();
        let engine = how(Start::at(home.path()).in_memory()).start().await;
        add_account(&engine, "mail", &upstream.url, "the-credential").await;
        connect(&engine, "claw", "mail", "assistant").await;
        engine.call(SettingsSet, json!({ "outbox_seconds": 1, "http_wait_seconds": 20 })).await;
        let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
        let house = Self { upstream, engine, agent, status, _home: home };
        let asked = house.hand_in("First");
        house.engine.allow(&house.engine.hold().await).await;
        asked.await.unwrap().expect(200);
        house
    }

    fn hand_in(&self, subject: &str) -> tokio::task::JoinHandle<latch_tests::Answer> {
        post(&self.agent, "messages/send", json!({ "raw": raw("friend@example.org", subject) }))
    }

    /// One that everything is stopped for before it is due, and the question about it.
    async fn frozen(&self) -> HoldView {
        self.engine.call(SettingsSet, json!({ "outbox_seconds": 2 })).await;
        self.hand_in("Frozen").await.unwrap().expect(200);
        self.engine.call(PanicCall, Empty {}).await;
        self.resume().await;
        let hold = self.engine.hold().await;
        assert!(hold.why.contains("when everything was stopped"), "{}", hold.why);
        hold
    }

    async fn resume(&self) {
        self.engine.call(Resume, ResumeParams { agent: None, preset: Some("assistant".to_owned()) }).await;
    }

    /// The question that comes after this one.
    async fn next(&self, hold: &HoldView) -> HoldView {
        loop {
            let next = self.engine.hold().await;
            if next.id != hold.id {
                return next;
            }
        }
    }

    async fn waiting(&self) -> usize {
        self.engine.call(OutboxList, Empty {}).await.len()
    }

    fn sends(&self) -> usize {
        self.upstream.asked().iter().filter(|line| line.contains("messages/send")).count()
    }

    async fn journal_says(&self, text: &str) -> bool {
        let params = JournalTailParams { limit: Some(200), ..JournalTailParams::default() };
        self.engine.call(JournalTail, params).await.iter().any(|record| record.text.contains(text))
    }
}

#[tokio::test]
async fn a_draft_that_is_due_and_not_taken_goes_on_waiting_and_can_be_taken_back() {
    let house = House::new(|start| start).await;
    house.status.store(429, Ordering::SeqCst);
    house.hand_in("Second").await.unwrap().expect(200);
    let failing = || async { house.engine.call(AccountList, Empty {}).await[0].failing.clone().unwrap_or_default() };
    wait_until(|| async { failing().await.contains("the provider answered 429. It waits in the outbox") }).await;
    wait_until(|| async { house.waiting().await == 1 }).await;
    house.engine.no_holds().await;
    assert_eq!(house.sends(), 2);
    let id = house.engine.call(OutboxList, Empty {}).await[0].id.clone();
    house.engine.call(OutboxCancel, Id { id }).await;
    assert!(house.upstream.asked().iter().any(|line| line.starts_with("DELETE") && line.ends_with("/drafts/d1")));
    assert_eq!(house.waiting().await, 0);
}

#[tokio::test]
async fn a_provider_that_fails_may_have_sent_it_and_the_person_is_asked() {
    let house = House::new(|start| start).await;
    house.status.store(503, Ordering::SeqCst);
    house.hand_in("Second").await.unwrap().expect(200);
    let hold = house.engine.hold().await;
    assert!(hold.why.contains("may have left already"), "{}", hold.why);
    assert_eq!((house.sends(), house.waiting().await), (2, 1));
    house.status.store(200, Ordering::SeqCst);
    house.engine.allow(&hold).await;
    wait_until(|| async { house.waiting().await == 0 }).await;
    assert_eq!(house.sends(), 3);
    house.engine.no_holds().await;
}

#[tokio::test]
async fn an_allowed_frozen_draft_is_dropped_by_no_answer() {
    let house = House::new(|start| start).await;
    let mut hold = house.frozen().await;
    for (status, why) in [
        (429, "it could not be sent: the provider answered 429"),
        (400, "the mail server refused it: the provider answered 400"),
        (503, "it may have left already"),
        (429, "it may have left already"),
    ] {
        house.status.store(status, Ordering::SeqCst);
        house.engine.allow(&hold).await;
        hold = house.next(&hold).await;
        assert!(hold.why.contains(why), "{status}: {}", hold.why);
        assert_eq!(house.waiting().await, 1, "{status}");
    }
    assert_eq!(house.sends(), 5);
    house.engine.deny(&hold).await;
    wait_until(|| async { house.waiting().await == 0 }).await;
    wait_until(|| house.journal_says("a mail that may have left is not tried again")).await;
}

/// The first mail is the first call that is sent here, the frozen one the second: a draft is made elsewhere.
#[tokio::test]
async fn an_allowed_frozen_draft_that_panic_stops_is_frozen_again() {
    let house = House::new(|start| start.failing("panic-after-intent:2")).await;
    let hold = house.frozen().await;
    house.engine.allow(&hold).await;
    wait_until(|| async { house.engine.call(StatusCall, Empty {}).await.panicked }).await;
    wait_until(|| async { house.waiting().await == 1 }).await;
    assert_eq!(house.sends(), 1);
    house.resume().await;
    let again = house.next(&hold).await;
    assert!(again.why.contains("when everything was stopped"), "{}", again.why);
    house.engine.allow(&again).await;
    wait_until(|| async { house.waiting().await == 0 }).await;
    assert_eq!(house.sends(), 2);
    house.engine.no_holds().await;
}

#[tokio::test]
async fn what_its_agent_may_no_longer_send_says_so_until_it_may_again() {
    let house = House::new(|start| start).await;
    house.hand_in("Second").await.unwrap().expect(200);
    let agents = house.engine.call(AgentList, Empty {}).await;
    house.engine.call(GrantRevoke, Id { id: agents[0].grants[0].id.clone() }).await;
    let hold = house.engine.hold().await;
    assert!(hold.why.contains("its agent may no longer use this account"), "{}", hold.why);
    house.engine.allow(&hold).await;
    let again = house.next(&hold).await;
    assert!(again.why.contains("give it the account back before you allow it"), "{}", again.why);
    assert_eq!((house.sends(), house.waiting().await), (1, 1));
    latch_tests::scene::grant(&house.engine, "claw", "mail", "assistant").await;
    house.engine.allow(&again).await;
    wait_until(|| async { house.waiting().await == 0 }).await;
    assert_eq!(house.sends(), 2);
}
