//! Each class of the Gmail API that this agent could reach for.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::Method;
use latch_ipc::contract::{Empty, HoldDecideParams, HoldList, OutboxCancel, OutboxList, SettingsSet, Verdict};
use latch_ipc::view::{Class, Reversible};
use latch_tests::engine::decision;
use latch_tests::{Agent, Answer, Mail, Scene};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gmail;

pub(crate) fn post(agent: &Agent, path: &str, body: Value) -> JoinHandle<Answer> {
    let (agent, path) = (agent.clone(), gmail(path));
    tokio::spawn(async move { agent.post(&path, &body).await })
}

fn delete(agent: &Agent, path: &str) -> JoinHandle<Answer> {
    let (agent, path) = (agent.clone(), gmail(path));
    tokio::spawn(async move { agent.delete(&path).await })
}

fn ids(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("m{n:04}")).collect()
}

#[tokio::test]
async fn archiving_in_bulk_is_held() {
    let scene = Scene::new(40, "organize").await;
    let agent = scene.agent().await;
    // 20 in ten minutes, halved in the first week.
    post(&agent, "messages/batchModify", json!({ "ids": ids(1..=10), "removeLabelIds": ["INBOX"] }))
        .await
        .unwrap()
        .expect(204);
    let asked = post(&agent, "messages/batchModify", json!({ "ids": ids(11..=12), "removeLabelIds": ["INBOX"] }));
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Modify, 2));
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!(scene.gmail.labels_of("m0011").await, ["INBOX"]);
}

#[tokio::test]
async fn the_spam_label_is_a_removal_too() {
    let scene = Scene::new(8, "organize").await;
    let agent = scene.agent().await;
    let asked = post(&agent, "messages/batchModify", json!({ "ids": ids(1..=4), "addLabelIds": ["SPAM"] }));
    let hold = scene.engine.hold().await;
    assert_eq!(hold.class, Class::Remove);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn delete_is_held_and_softened_to_the_trash() {
    let scene = Scene::new(5, "organize").await;
    let agent = scene.agent().await;
    let asked = delete(&agent, "messages/m0003");
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.reversible), (Class::Destroy, Reversible::Softened));
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
    assert!(scene.gmail.labels_of("m0003").await.contains(&"TRASH".to_owned()));
    assert_eq!(scene.gmail.labels().await.len(), 5);
}

#[tokio::test]
async fn batch_delete_is_held_and_softened() {
    let scene = Scene::new(30, "organize").await;
    let agent = scene.agent().await;
    let asked = post(&agent, "messages/batchDelete", json!({ "ids": ids(1..=25) }));
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Destroy, 25));
    assert_eq!(hold.objects.len(), 25);
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
    assert_eq!(scene.gmail.labels().await.len(), 30);
    assert_eq!(scene.gmail.trashed().await, 25);
}

#[tokio::test]
async fn for_ever_keeps_a_sealed_copy_that_undo_brings_back() {
    let scene = Scene::new(3, "organize").await;
    let agent = scene.agent().await;
    let before = scene.gmail.labels_of("m0002").await;
    let asked = delete(&agent, "messages/m0002");
    let hold = scene.engine.hold().await;
    assert!(hold.forever, "{hold:#?}");
    let forever = HoldDecideParams { forever: Some(true), ..decision(&hold, Verdict::Allow) };
    assert!(scene.engine.decide(forever.clone()).await.is_err(), "the count was not retyped");
    scene.engine.decide(HoldDecideParams { retyped_count: Some(1), ..forever }).await.unwrap();
    asked.await.unwrap().expect(204);
    assert!(!scene.gmail.labels().await.contains_key("m0002"));
    let undone = crate::undo::undo_all(&scene).await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    let labels = scene.gmail.labels().await;
    assert_eq!(labels.len(), 3);
    let (_, restored) = labels.iter().find(|(id, _)| !id.starts_with("m00")).expect("it has a new id");
    assert_eq!(restored, &before);
}

#[tokio::test]
async fn a_thread_counts_its_messages() {
    let mut mails = Mail::box_of(9);
    for mail in &mut mails[..6] {
        mail.thread = "t-long".to_owned();
    }
    let scene = Scene::with(&mails, "organize", latch_tests::engine::Start::in_memory).await;
    let agent = scene.agent().await;
    let asked = post(&agent, "threads/t-long/trash", Value::Null);
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Remove, 6));
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    let asked = delete(&agent, "threads/t-long");
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Destroy, 6));
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
    assert_eq!(scene.gmail.trashed().await, 6);
    assert_eq!(scene.gmail.labels().await.len(), 9);
    assert_eq!(crate::undo::undo_all(&scene).await.restored, 6);
    assert_eq!(scene.gmail.trashed().await, 0);
    let asked = post(&agent, "threads/t-long/modify", json!({ "addLabelIds": ["Label_1"] }));
    asked.await.unwrap().expect(200);
    assert_eq!(scene.gmail.labels_of("m0006").await, ["INBOX", "Label_1", "UNREAD"]);
}

pub(crate) fn raw(to: &str, subject: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!(
        "From: me@example.com\r\nTo: {to}\r\nBcc: hidden@example.net\r\nSubject: {subject}\r\n\r\nThe text.\r\n"
    ))
}

#[tokio::test]
async fn sending_a_draft_shows_what_is_in_it() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    let draft = json!({ "message": { "raw": raw("stranger@example.org", "The offer") } });
    let draft = agent.post(&gmail("drafts"), &draft).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let asked = post(&agent, "drafts/send", json!({ "id": draft }));
    let hold = scene.engine.hold().await;
    assert_eq!(hold.class, Class::Send);
    let audience = hold.audience.clone().expect("recipients");
    assert!(
        audience.members.iter().any(|member| member.address == "stranger@example.org" && member.first_time),
        "{audience:?}"
    );
    assert!(audience.members.iter().any(|member| member.address == "hidden@example.net"), "{audience:?}");
    assert!(hold.facts.iter().any(|fact| fact.value.contains("The offer")), "{:?}", hold.facts);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!(scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count(), 0);
}

#[tokio::test]
async fn a_draft_rewritten_while_it_is_held_is_sent_as_it_was_shown() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    let shown = json!({ "message": { "raw": raw("stranger@example.org", "The offer") } });
    let draft = agent.post(&gmail("drafts"), &shown).await.expect(200).json()["id"].as_str().unwrap().to_owned();
    let asked = post(&agent, "drafts/send", json!({ "id": draft }));
    let hold = scene.engine.hold().await;
    let other = json!({ "id": draft, "message": { "raw": raw("thief@example.org", "The secret") } }).to_string();
    let path = gmail(&format!("drafts/{draft}"));
    agent.send(Method::PUT, &path, &[("content-type", "application/json")], other).await.expect(200);
    scene.engine.allow(&hold).await;
    let sent = asked.await.unwrap().expect(200).json();
    let id = sent["id"].as_str().unwrap();
    let read = scene.gmail.direct().get(&gmail(&format!("messages/{id}?format=metadata"))).await.expect(200).json();
    let headers = read["payload"]["headers"].to_string();
    assert!(headers.contains("stranger@example.org") && !headers.contains("thief@example.org"), "{headers}");
    scene.gmail.direct().get(&path).await.expect(404);
}

#[tokio::test]
async fn sending_to_a_stranger_is_held_whole() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    let asked = post(&agent, "messages/send", json!({ "raw": raw("stranger@example.org", "Hello") }));
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.partial, hold.task_scope), (Class::Send, false, false));
    assert_eq!(hold.audience.as_ref().unwrap().members.len(), 2);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    // An agent that may only organize can't even ask.
    let organizer = Scene::new(1, "organize").await;
    post(&organizer.agent().await, "messages/send", json!({ "raw": raw("a@example.org", "x") }))
        .await
        .unwrap()
        .expect(403);
    assert!(organizer.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn an_allowed_mail_waits_in_the_outbox_and_can_be_taken_back() {
    let scene = Scene::new(2, "assistant").await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 3 })).await;
    let agent = scene.agent().await;
    for subject in ["Sent", "Taken back"] {
        let asked = post(&agent, "messages/send", json!({ "raw": raw("stranger@example.org", subject) }));
        // The second time the recipient is known: unasked, but delayed.
        if subject == "Sent" {
            let hold = scene.engine.hold().await;
            scene.engine.allow(&hold).await;
            asked.await.unwrap().expect(200);
            wait_until(|| async { scene.gmail.changes().await.iter().any(|line| line.contains("/send")) }).await;
        } else {
            let asked =
                tokio::time::timeout(std::time::Duration::from_secs(10), asked).await.expect("answered at once");
            asked.unwrap().expect(200);
            let waiting = scene.engine.call(OutboxList, Empty {}).await;
            let mail = waiting.iter().find(|mail| mail.subject == "Taken back").expect("it waits");
            scene.engine.call(OutboxCancel, latch_ipc::contract::Id { id: mail.id.clone() }).await;
        }
    }
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let sends = scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count();
    assert_eq!(sends, 1, "{:?}", scene.gmail.changes().await);
}

pub(crate) async fn wait_until<F: Future<Output = bool>>(what: impl Fn() -> F) {
    let wait = async {
        while !what().await {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(15), wait).await.expect("it happens");
}

#[tokio::test]
async fn standing_orders_are_forbidden_unless_granted_by_name() {
    let scene = Scene::new(2, "assistant").await;
    let agent = scene.agent().await;
    let filter = json!({ "criteria": { "from": "bank" }, "action": { "addLabelIds": ["TRASH"] } });
    let forbidden = [
        ("settings/filters", filter),
        ("settings/forwardingAddresses", json!({ "forwardingEmail": "thief@example.net" })),
        ("settings/delegates", json!({ "delegateEmail": "thief@example.net" })),
        ("settings/sendAs", json!({ "sendAsEmail": "me2@example.net" })),
    ];
    for (path, body) in forbidden {
        let answer = agent.post(&gmail(path), &body).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    let settings = [
        ("settings/autoForwarding", json!({ "enabled": true, "emailAddress": "thief@example.net" })),
        ("settings/imap", json!({ "enabled": true, "autoExpunge": true, "expungeBehavior": "deleteForever" })),
        ("settings/vacation", json!({ "enableAutoReply": true, "responseSubject": "x" })),
    ];
    for (path, body) in settings {
        let json = [("content-type", "application/json")];
        let answer = agent.send(hyper::Method::PUT, &gmail(path), &json, body.to_string()).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text());
    }
    assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}
