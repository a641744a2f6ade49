//! Stop from the phone where the account is an API.

use std::time::Duration;

use latch_ipc::contract::{AccountRemove, Id};
use latch_ipc::phone::PhoneState;
use latch_tests::scene::{ACCOUNT, Scene};
use serde_json::{Value, json};

use crate::gmail;
use crate::phone::{SUBJECT, resume, runs, switch, until_state, until_stopped};

/// The id of the mail, as the mailbox itself has it.
async fn mine(scene: &Scene) -> String {
    let all = scene.gmail.direct().get(&gmail("messages?labelIds=INBOX&maxResults=500")).await.json();
    for message in all["messages"].as_array().into_iter().flatten() {
        let id = message["id"].as_str().unwrap_or_default();
        let read = scene.gmail.direct().get(&gmail(&format!("messages/{id}"))).await.json();
        let headers = read["payload"]["headers"].as_array().cloned().unwrap_or_default();
        if headers.iter().any(|header| header["name"] == "Subject" && header["value"] == SUBJECT) {
            return id.to_owned();
        }
    }
    panic!("no such mail: {all}");
}

#[tokio::test]
async fn archiving_or_trashing_it_stops_everything() {
    let scene = Scene::new(3, "assistant").await;
    let view = switch(&scene.engine, true).await;
    assert_eq!(view.state, PhoneState::Watching, "{view:?}");
    assert!(view.text.contains("Every 5 seconds"), "{view:?}");
    let mut former = String::new();
    for (add, remove) in [(vec![], vec!["INBOX"]), (vec!["TRASH"], vec!["INBOX"]), (vec!["SPAM"], vec!["INBOX"])] {
        let id = mine(&scene).await;
        assert_ne!(id, former);
        scene.gmail.relabel(&id, &["UNREAD"], &["STARRED"]).await;
        scene.gmail.relabel(&id, &add, &remove).await;
        assert!(until_stopped(&scene.engine).await.contains("phone: the mail in mail"));
        resume(&scene.engine).await;
        until_state(&scene.engine, PhoneState::Watching).await;
        former = id;
    }
    let id = mine(&scene).await;
    scene.gmail.direct().delete(&gmail(&format!("messages/{id}"))).await;
    until_stopped(&scene.engine).await;
}

#[tokio::test]
async fn an_agent_is_told_that_there_is_no_such_mail() {
    let scene = Scene::new(3, "assistant").await;
    switch(&scene.engine, true).await;
    let id = mine(&scene).await;
    let thread = scene.gmail.direct().get(&gmail(&format!("messages/{id}"))).await.json()["threadId"].clone();
    let thread = thread.as_str().expect("a thread").to_owned();
    let agent = scene.agent().await;
    for list in ["messages", "threads", "messages?q=stop", "messages?labelIds=STARRED"] {
        let answer = agent.get(&gmail(list)).await;
        assert_eq!(answer.status, 200, "{list}");
        assert!(!answer.text().contains(&id) && !answer.text().contains(&thread), "{list}: {}", answer.text());
    }
    assert_eq!(agent.get(&gmail("messages")).await.json()["messages"].as_array().map(Vec::len), Some(3));
    let before = scene.gmail.labels_of(&id).await;
    let body = json!({ "removeLabelIds": ["INBOX"] });
    let many = json!({ "ids": ["m0001", id], "removeLabelIds": ["INBOX"] });
    let asked: Vec<(String, Option<Value>)> = vec![
        (format!("messages/{id}"), None),
        (format!("threads/{thread}"), None),
        (format!("messages/{id}/modify"), Some(body.clone())),
        (format!("messages/{id}/trash"), Some(json!({}))),
        (format!("threads/{thread}/modify"), Some(body)),
        (format!("threads/{thread}/trash"), Some(json!({}))),
        ("messages/batchModify".to_owned(), Some(many.clone())),
        ("messages/batchDelete".to_owned(), Some(json!({ "ids": [id] }))),
    ];
    for (below, body) in asked {
        let answer = match body {
            None => agent.get(&gmail(&below)).await,
            Some(body) => agent.post(&gmail(&below), &body).await,
        };
        assert_eq!(answer.status, 404, "{below}: {}", answer.text());
    }
    assert_eq!(agent.delete(&gmail(&format!("messages/{id}"))).await.status, 404);
    assert_eq!(scene.gmail.labels_of(&id).await, before);
    assert_eq!(scene.gmail.labels_of("m0001").await, ["INBOX"], "refused whole");
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(runs(&scene.engine).await);
}

#[tokio::test]
async fn an_account_that_goes_takes_its_mail_along() {
    let scene = Scene::new(2, "assistant").await;
    switch(&scene.engine, true).await;
    let id = mine(&scene).await;
    scene.engine.call(AccountRemove, Id { id: ACCOUNT.to_owned() }).await;
    assert!(scene.gmail.labels_of(&id).await.contains(&"TRASH".to_owned()));
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(runs(&scene.engine).await);
}
