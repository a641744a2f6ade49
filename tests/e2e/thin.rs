//! What an agent may do unasked, through Google's own library.

use latch_ipc::contract::{Empty, HoldList, JournalTail, JournalTailParams};
use latch_tests::Scene;
use serde_json::{Value, json};

#[tokio::test]
async fn lists_reads_and_labels_through_googles_library() {
    let scene = Scene::new(20, "organize").await;
    let mut python = scene.python().await;
    let list = python.call("users.messages.list", json!({ "userId": "me", "labelIds": ["INBOX"] })).await.unwrap();
    assert_eq!(list["messages"].as_array().unwrap().len(), 20);
    let mail = python.call("users.messages.get", json!({ "userId": "me", "id": "m0007" })).await.unwrap();
    assert_eq!(mail["id"], "m0007");
    let label = json!({ "userId": "me", "id": "m0007", "body": { "addLabelIds": ["Label_1"] } });
    let labelled = python.call("users.messages.modify", label).await.unwrap();
    assert!(labelled["labelIds"].as_array().unwrap().contains(&json!("Label_1")));
    assert_eq!(scene.gmail.labels_of("m0007").await, ["INBOX", "Label_1"]);
    assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn trashes_within_the_budget_and_no_further() {
    let scene = Scene::new(10, "organize").await;
    let mut python = scene.python().await;
    // 5 in ten minutes, halved in an agent's first week, rounded up.
    for id in ["m0001", "m0002", "m0003"] {
        let trashed = python.call("users.messages.trash", json!({ "userId": "me", "id": id })).await.unwrap();
        assert!(trashed["labelIds"].as_array().unwrap().contains(&json!("TRASH")), "{trashed}");
    }
    assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
    let fourth =
        tokio::spawn(
            async move { python.call("users.messages.trash", json!({ "userId": "me", "id": "m0004" })).await },
        );
    let hold = scene.engine.hold().await;
    assert_eq!((hold.count, hold.objects[0].id.as_str()), (1, "m0004"));
    assert_eq!(scene.gmail.trashed().await, 3);
    scene.engine.deny(&hold).await;
    assert_eq!(fourth.await.unwrap().unwrap_err().status, 403);
    assert_eq!(scene.gmail.trashed().await, 3);
}

#[tokio::test]
async fn a_read_only_agent_changes_nothing() {
    let scene = Scene::new(3, "read-only").await;
    let before = scene.gmail.labels().await;
    let mut python = scene.python().await;
    python.call("users.messages.list", json!({ "userId": "me" })).await.unwrap();
    for (call, arguments) in [
        ("users.messages.trash", json!({ "userId": "me", "id": "m0001" })),
        ("users.messages.delete", json!({ "userId": "me", "id": "m0001" })),
        ("users.messages.modify", json!({ "userId": "me", "id": "m0001", "body": { "removeLabelIds": ["INBOX"] } })),
        ("users.messages.batchDelete", json!({ "userId": "me", "body": { "ids": ["m0001"] } })),
        ("users.drafts.create", json!({ "userId": "me", "body": { "message": { "raw": "QQ" } } })),
    ] {
        let refused = python.call(call, arguments).await.unwrap_err();
        assert_eq!(refused.status, 403, "{call}: {refused:?}");
        assert!(!refused.reason.is_empty(), "{call}: the library shows its reader nothing");
    }
    assert_eq!(scene.gmail.labels().await, before);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn the_mailbox_never_sees_the_agents_token_nor_the_agent_the_credential() {
    let scene = Scene::new(2, "organize").await;
    let agent = scene.agent().await;
    let answer = agent.get(&crate::gmail("messages")).await.expect(200);
    assert!(!answer.text().contains(&scene.gmail.token));
    let log = scene.engine.log();
    assert!(!log.contains(&scene.gmail.token), "{log}");
}

#[tokio::test]
async fn everything_is_in_the_journal_and_its_chain_holds() {
    let scene = Scene::new(5, "organize").await;
    let agent = scene.agent().await;
    agent.get(&crate::gmail("messages")).await.expect(200);
    agent.post(&crate::gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    let records = scene.engine.call(JournalTail, JournalTailParams::default()).await;
    let trash = |kind: &str| {
        records
            .iter()
            .any(|record| record.kind == kind && record.action.as_deref() == Some("gmail.users.messages.trash"))
    };
    assert!(trash("intent"), "{records:#?}");
    assert!(trash("outcome"), "{records:#?}");
    let verified = scene.engine.call(latch_ipc::contract::JournalVerify, Empty {}).await;
    assert!(verified.ok && verified.records as usize >= records.len(), "{verified:?}");
}
