//! The inbox, February 2026: 200 mails, and this time it ends well.

use std::time::Duration;

use latch_ipc::contract::{Empty, HoldList, PanicCall};
use latch_ipc::view::HoldState;
use latch_tests::python::PythonAgent;
use latch_tests::{Mail, Scene};
use serde_json::json;

use crate::undo::undo_all;

const MAILS: usize = 200;

async fn scene() -> Scene {
    let scene = Scene::with(&Mail::box_of(MAILS), "organize", latch_tests::engine::Start::in_memory).await;
    // An agent that does not wait: it goes on to the next mail.
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    scene
}

async fn trash_one_by_one(python: &mut PythonAgent) -> usize {
    let mut trashed = 0;
    for n in 1..=MAILS {
        let id = format!("m{n:04}");
        match python.call("users.messages.trash", json!({ "userId": "me", "id": id })).await {
            Ok(_) => trashed += 1,
            Err(error) => assert!(matches!(error.status, 403 | 429), "{error:?}"),
        }
    }
    trashed
}

#[tokio::test]
async fn one_by_one_nothing_beyond_the_budget_and_one_undo_puts_it_back() {
    let scene = scene().await;
    let before = scene.gmail.labels().await;
    let mut python = scene.python().await;
    assert_eq!(trash_one_by_one(&mut python).await, 3);
    assert_eq!(scene.gmail.trashed().await, 3);
    // The person is not buried in questions either.
    let waiting = scene.engine.call(HoldList, Empty {}).await;
    assert!(!waiting.is_empty());
    let undone = undo_all(&scene).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{undone:?}");
    assert_eq!(scene.gmail.labels().await, before);
}

#[tokio::test]
async fn in_bulk_nothing_changes_until_the_person_says_so_and_one_undo_puts_it_back() {
    let scene = scene().await;
    let before = scene.gmail.labels().await;
    let mut python = scene.python().await;
    let ids: Vec<String> = before.keys().cloned().collect();
    let trash =
        json!({ "userId": "me", "body": { "ids": ids, "addLabelIds": ["TRASH"], "removeLabelIds": ["INBOX"] } });
    let archive = json!({ "userId": "me", "body": { "ids": ids, "removeLabelIds": ["INBOX"] } });
    let delete = json!({ "userId": "me", "body": { "ids": ids } });
    for (call, arguments) in [
        ("users.messages.batchModify", &trash),
        ("users.messages.batchModify", &archive),
        ("users.messages.batchDelete", &delete),
    ] {
        assert_eq!(python.call(call, arguments.clone()).await.unwrap_err().status, 429, "{call}");
    }
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    assert_eq!(scene.gmail.labels().await, before);
    let holds = scene.engine.holds(3).await;
    assert!(holds.iter().all(|hold| hold.count == 200 && hold.objects.len() == 200 && hold.state == HoldState::Open));
    // The person allows the archiving, denies the rest.
    for hold in &holds {
        if hold.class == latch_ipc::view::Class::Modify {
            scene.engine.allow(hold).await;
        } else {
            scene.engine.deny(hold).await;
        }
    }
    python.call("users.messages.batchModify", archive).await.unwrap();
    assert!(scene.gmail.labels().await.values().all(|labels| !labels.contains(&"INBOX".to_owned())));
    assert_eq!(scene.gmail.trashed().await, 0);
    let undone = undo_all(&scene).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (200, 0));
    assert_eq!(scene.gmail.labels().await, before);
}

#[tokio::test]
async fn stopped_in_the_middle_and_put_back() {
    let scene = scene().await;
    let before = scene.gmail.labels().await;
    let mut python = scene.python().await;
    let runaway = tokio::spawn(async move {
        let mut statuses = Vec::new();
        for n in 1..=MAILS {
            let asked = python.call("users.messages.trash", json!({ "userId": "me", "id": format!("m{n:04}") })).await;
            statuses.push(asked.err().map_or(200, |error| error.status));
        }
        statuses
    });
    tokio::time::sleep(Duration::from_millis(700)).await;
    scene.engine.call(PanicCall, Empty {}).await;
    let calls = scene.gmail.changes().await.len();
    let statuses = runaway.await.unwrap();
    assert!(statuses.iter().filter(|status| **status == 200).count() <= 3, "{statuses:?}");
    assert_eq!(scene.gmail.changes().await.len(), calls, "something ran after the stop");
    undo_all(&scene).await;
    assert_eq!(scene.gmail.labels().await, before);
}
