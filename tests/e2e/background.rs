//! What goes on while nobody looks: mails that are due, clocks, plans that outlive their owner, what a resolution costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latch_ipc::contract::{
    AgentRevoke, Empty, GrantPut, GrantPutParams, Id, JournalTail, JournalTailParams, OutboxCancel, OutboxList,
    PanicCall, Resume, ResumeParams, SettingsSet, StatusCall, UndoRun, UndoRunParams,
};
use latch_tests::engine::{Engine, Start};
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Agent, Scene};
use serde_json::{Value, json};

use crate::classes::{post, raw, wait_until};
use crate::gmail;

async fn journal_says(engine: &Engine, text: &str) -> bool {
    let records = engine.call(JournalTail, JournalTailParams { limit: Some(200), ..Default::default() }).await;
    records.iter().any(|record| record.text.contains(text))
}

/// Makes a recipient known: the person allows the first mail to it.
async fn allow_first_mail(engine: &Engine, agent: &Agent) {
    let asked = post(agent, "messages/send", json!({ "raw": raw("friend@example.org", "First") }));
    let hold = engine.hold().await;
    engine.allow(&hold).await;
    asked.await.unwrap().expect(200);
}

/// A house whose provider takes the first mail and answers nothing to those after it; how many it has heard of.
async fn silent(settings: Value) -> (Upstream, Engine, Agent, Arc<AtomicUsize>, tempfile::TempDir) {
    let sends = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&sends);
    let upstream = Upstream::start(move |seen| {
        if seen.target.ends_with("/drafts") {
            return Reply::json(200, &json!({ "id": "d1", "message": { "id": "m9", "threadId": "t9" } }));
        }
        if seen.target.contains("messages/send") && count.fetch_add(1, Ordering::SeqCst) > 0 {
            return Reply::json(200, &json!({ "id": "m9" })).after(Duration::from_secs(300));
        }
        Reply::json(200, &json!({ "id": "m9", "labelIds": ["INBOX"], "payload": { "headers": [] } }))
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", "assistant").await;
    engine.call(SettingsSet, settings).await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    allow_first_mail(&engine, &agent).await;
    let due = post(&agent, "messages/send", json!({ "raw": raw("friend@example.org", "Second") })).await.unwrap();
    due.expect(200);
    (upstream, engine, agent, sends, home)
}

#[tokio::test]
async fn a_provider_that_is_silent_when_a_mail_is_due_stops_no_clock() {
    let settings = json!({ "outbox_seconds": 1, "hold_seconds": 4, "http_wait_seconds": 20 });
    let (_upstream, engine, agent, sends, _home) = silent(settings).await;
    wait_until(|| async { sends.load(Ordering::SeqCst) == 2 }).await;
    engine.call(SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    agent.delete(&gmail("messages/m0001")).await.expect(429);
    wait_until(|| journal_says(&engine, "nobody answered in time")).await;
    assert!(engine.call(OutboxList, Empty {}).await.is_empty(), "it is on its way");
}

#[tokio::test]
async fn a_mail_that_may_have_left_is_asked_about_and_not_called_unsent() {
    let (upstream, engine, _agent, sends, _home) = silent(json!({ "outbox_seconds": 2 })).await;
    let id = engine.call(OutboxList, Empty {}).await[0].id.clone();
    wait_until(|| async { sends.load(Ordering::SeqCst) == 2 }).await;
    let leaving = engine.client.call(OutboxCancel, Id { id }).await.expect_err("it is leaving");
    assert!(leaving.to_string().contains("being sent at this moment"), "{leaving}");
    drop(upstream);
    let hold = engine.hold().await;
    assert!(hold.why.contains("may have left already"), "{}", hold.why);
    assert_eq!(engine.call(OutboxList, Empty {}).await.len(), 1);
    assert!(!journal_says(&engine, "could not be sent").await);
    engine.deny(&hold).await;
    wait_until(|| journal_says(&engine, "a mail that may have left is not tried again")).await;
}

#[tokio::test]
async fn a_frozen_mail_that_is_denied_waits_no_longer() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    allow_first_mail(&scene.engine, &agent).await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 3 })).await;
    post(&agent, "messages/send", json!({ "raw": raw("friend@example.org", "Frozen") })).await.unwrap().expect(200);
    scene.engine.call(PanicCall, Empty {}).await;
    let resume = ResumeParams { agent: None, preset: Some("assistant".to_owned()) };
    scene.engine.call(Resume, resume.clone()).await;
    let hold = scene.engine.hold().await;
    assert_eq!(scene.engine.call(OutboxList, Empty {}).await.len(), 1, "it is asked about");
    // Another panic is no answer: it is asked about again.
    scene.engine.call(PanicCall, Empty {}).await;
    scene.engine.call(Resume, resume).await;
    let again = scene.engine.hold().await;
    assert_ne!(hold.id, again.id);
    scene.engine.deny(&again).await;
    wait_until(|| async { scene.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.engine.no_holds().await;
    let sends = scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count();
    assert_eq!(sends, 1, "{:?}", scene.gmail.changes().await);
}

#[tokio::test]
async fn a_frozen_mail_that_is_allowed_leaves_though_its_agent_does_not_ask_again() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    allow_first_mail(&scene.engine, &agent).await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 2 })).await;
    post(&agent, "messages/send", json!({ "raw": raw("friend@example.org", "Frozen") })).await.unwrap().expect(200);
    scene.engine.call(PanicCall, Empty {}).await;
    scene.engine.call(Resume, ResumeParams { agent: None, preset: Some("assistant".to_owned()) }).await;
    let hold = scene.engine.hold().await;
    scene.engine.allow(&hold).await;
    wait_until(|| async { scene.engine.call(OutboxList, Empty {}).await.is_empty() }).await;
    let sends = scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count();
    assert_eq!(sends, 2, "{:?}", scene.gmail.changes().await);
}

#[tokio::test]
async fn what_an_agent_would_still_send_ends_with_it() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    allow_first_mail(&scene.engine, &agent).await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 2 })).await;
    post(&agent, "messages/send", json!({ "raw": raw("friend@example.org", "Too late") })).await.unwrap().expect(200);
    let held = post(&agent, "messages/send", json!({ "raw": raw("stranger@example.org", "Held") }));
    scene.engine.hold().await;
    scene.engine.call(AgentRevoke, Id { id: "claw".to_owned() }).await;
    assert!(scene.engine.call(OutboxList, Empty {}).await.is_empty());
    assert!(matches!(held.await.unwrap().status, 0 | 403));
    scene.engine.no_holds().await;
    tokio::time::sleep(Duration::from_secs(4)).await;
    scene.engine.no_holds().await;
    let sends = scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count();
    assert_eq!(sends, 1, "{:?}", scene.gmail.changes().await);
    assert!(journal_says(&scene.engine, "still among the drafts").await);
}

#[tokio::test]
async fn an_owner_who_leaves_cuts_no_undo_in_half() {
    let labels = json!({ "id": "m1", "labelIds": ["TRASH"], "payload": { "headers": [] } });
    let slow = Arc::new(AtomicUsize::new(0));
    let pause = Arc::clone(&slow);
    let upstream = Upstream::start(move |seen| {
        let millis = if seen.method == "POST" { pause.load(Ordering::SeqCst) as u64 } else { 0 };
        let before = json!({ "id": "m1", "labelIds": ["INBOX"], "payload": { "headers": [] } });
        let answer =
            if millis == 0 && seen.method == "GET" && pause.load(Ordering::SeqCst) == 0 { &before } else { &labels };
        Reply::json(200, answer).after(Duration::from_millis(millis))
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).start().await;
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    for n in 1..=3 {
        agent.post(&gmail(&format!("messages/m{n}/trash")), &Value::Null).await.expect(200);
    }
    let posts = || upstream.asked().iter().filter(|line| line.starts_with("POST")).count();
    assert_eq!(posts(), 3);
    slow.store(1_500, Ordering::SeqCst);
    let client = engine.client.clone();
    let undoing = tokio::spawn(async move {
        client.call(UndoRun, UndoRunParams::Agent { agent: "claw".to_owned(), since: "1h".to_owned() }).await
    });
    wait_until(|| async { posts() == 4 }).await;
    // The undo has been told to the provider, but is not answered yet: the owner's pipe closes now.
    undoing.abort();
    let _ = undoing.await;
    assert!(engine.quit().await.success());
    assert_eq!(posts(), 4, "no further call begins");
    let engine = Start::at(home.path()).start().await;
    let status = engine.call(StatusCall, Empty {}).await;
    assert!(!status.warnings.iter().any(|warning| warning.contains("under way")), "{:?}", status.warnings);
    assert!(journal_says(&engine, "put back").await);
    // What was not begun can still be put back, and what was is not put back twice.
    slow.store(0, Ordering::SeqCst);
    let again = engine.call(UndoRun, UndoRunParams::Agent { agent: "claw".to_owned(), since: "1h".to_owned() }).await;
    assert!(again.restored <= 2, "{again:?}");
}

#[tokio::test]
async fn finding_out_what_is_inside_costs_reads() {
    let scene = Scene::new(8, "organize").await;
    let put = GrantPutParams {
        agent: "claw".to_owned(),
        account: "mail".to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("read".to_owned(), [2, 10])].into()),
        expires_in: None,
    };
    scene.engine.call(GrantPut, put).await;
    let agent = scene.agent().await;
    for thread in ["t0001", "t0002"] {
        agent.post(&gmail(&format!("threads/{thread}/trash")), &Value::Null).await.expect(200);
    }
    let refused = agent.post(&gmail("threads/t0003/trash"), &Value::Null).await.expect(429);
    assert!(refused.text().contains("read 2 objects in 10 minutes"), "{}", refused.text());
    assert_eq!(scene.gmail.trashed().await, 2);
    // By its own name it needs no reading by the agent.
    agent.post(&gmail("messages/m0003/trash"), &Value::Null).await.expect(200);
}

#[tokio::test]
async fn a_grant_for_one_address_is_good_there_alone() {
    let scene = Scene::new(1, "organize").await;
    let agent = scene.agent().await;
    let door = scene.engine.door().to_owned();
    for (location, status) in [
        (scene.gmail.url.clone(), 200),
        (format!("{}/", scene.gmail.url.to_uppercase().replace("HTTP", "http")), 200),
        (format!("{door}/mail"), 200),
        (door.clone(), 200),
        (format!("{door}/other"), 403),
        ("https://gmail.googleapis.com".to_owned(), 403),
    ] {
        let put = GrantPutParams {
            agent: "claw".to_owned(),
            account: "mail".to_owned(),
            preset: "organize".to_owned(),
            authorization_details: Some(json!({ "locations": [location] })),
            budgets: None,
            expires_in: None,
        };
        scene.engine.call(GrantPut, put).await;
        let answer = agent.get(&gmail("messages")).await;
        assert_eq!(answer.status, status, "{location}: {}", answer.text());
    }
}
