//! What happened can be put back, exactly.

use latch_ipc::contract::{
    Empty, HoldDecideParams, QuarantineList, StatusCall, UndoList, UndoListParams, UndoResult, UndoRun, UndoRunParams,
    Verdict,
};
use latch_tests::Scene;
use latch_tests::copied::Copied;
use latch_tests::engine::{Start, decision};
use serde_json::{Value, json};

use crate::classes::wait_until;
use crate::gmail;
use crate::holds::trash;

/// Everything that the scene's agent did in the last hour.
pub(crate) async fn undo_all(scene: &Scene) -> UndoResult {
    let params = UndoRunParams::Agent { agent: "claw".to_owned(), since: "1h".to_owned() };
    scene.engine.call(UndoRun, params).await
}

#[tokio::test]
async fn one_undo_restores_every_label_exactly() {
    let scene = Scene::new(30, "organize").await;
    let before = scene.gmail.labels().await;
    let agent = scene.agent().await;
    let held = trash(&agent, &["m0010", "m0020", "m0003", "m0006", "m0009"]);
    scene.engine.allow(&scene.engine.hold().await).await;
    held.await.unwrap().expect(204);
    let read = json!({ "ids": ["m0012", "m0015"], "removeLabelIds": ["UNREAD"], "addLabelIds": ["Label_1"] });
    agent.post(&gmail("messages/batchModify"), &read).await.expect(204);
    agent.post(&gmail("messages/m0030/modify"), &json!({ "removeLabelIds": ["INBOX", "STARRED"] })).await.expect(200);
    assert_ne!(scene.gmail.labels().await, before);
    let undone = undo_all(&scene).await;
    assert_eq!(undone.restored, 8, "{undone:?}");
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(scene.gmail.labels().await, before);
}

#[tokio::test]
async fn an_untrash_would_not_do_but_undo_does() {
    let scene = Scene::new(4, "organize").await;
    let agent = scene.agent().await;
    // Archived before: a plain untrash would put it into INBOX.
    scene.gmail.relabel("m0003", &[], &["INBOX"]).await;
    let before = scene.gmail.labels_of("m0003").await;
    agent.post(&gmail("messages/m0003/trash"), &Value::Null).await.expect(200);
    assert_eq!(undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels_of("m0003").await, before);
}

#[tokio::test]
async fn what_others_changed_since_is_left_alone_and_reported() {
    let scene = Scene::new(6, "organize").await;
    let agent = scene.agent().await;
    for id in ["m0001", "m0002", "m0003"] {
        agent.post(&gmail(&format!("messages/{id}/trash")), &Value::Null).await.expect(200);
    }
    // The person took one out of the Trash and deleted another for good, elsewhere.
    scene.gmail.relabel("m0002", &["INBOX"], &["TRASH"]).await;
    scene.gmail.direct().delete(&gmail("messages/m0003")).await.expect(204);
    let undone = undo_all(&scene).await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    let reported: Vec<_> = undone.not_restored.iter().map(|left| left.object.as_str()).collect();
    assert!(reported.contains(&"m0003"), "{undone:?}");
    assert_eq!(scene.gmail.labels_of("m0001").await, ["INBOX"]);
    assert_eq!(scene.gmail.labels_of("m0002").await, ["INBOX"]);
}

#[tokio::test]
async fn undo_takes_back_its_own_difference_only() {
    let scene = Scene::new(3, "organize").await;
    let agent = scene.agent().await;
    agent.post(&gmail("messages/m0001/modify"), &json!({ "removeLabelIds": ["INBOX"] })).await.expect(200);
    scene.gmail.relabel("m0001", &["STARRED", "Label_1"], &[]).await;
    assert_eq!(undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels_of("m0001").await, ["INBOX", "Label_1", "STARRED"]);
}

#[tokio::test]
async fn an_entry_can_be_undone_by_itself_and_only_once() {
    let scene = Scene::new(6, "organize").await;
    let agent = scene.agent().await;
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    agent.post(&gmail("messages/m0002/trash"), &Value::Null).await.expect(200);
    let entries = scene.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!(entries.len(), 2, "{entries:#?}");
    // Newest first.
    let newest = entries[0].entry.clone();
    let result = scene.engine.call(UndoRun, UndoRunParams::Entry { entry: newest.clone() }).await;
    assert_eq!(result.restored, 1);
    assert_eq!(scene.gmail.labels_of("m0002").await, ["INBOX"]);
    assert!(scene.gmail.labels_of("m0001").await.contains(&"TRASH".to_owned()));
    let again = scene.engine.client.call(UndoRun, UndoRunParams::Entry { entry: newest }).await;
    assert!(again.is_err() || again.unwrap().restored == 0);
    assert_eq!(undo_all(&scene).await.restored, 1);
}

#[tokio::test]
async fn two_undos_at_once_put_copies_back_once() {
    let scene = Scene::new(6, "organize").await;
    let agent = scene.agent().await;
    let path = gmail("messages/batchDelete");
    let asked = tokio::spawn(async move { agent.post(&path, &json!({ "ids": ["m0001", "m0002"] })).await });
    let hold = scene.engine.hold().await;
    let allow = HoldDecideParams { forever: Some(true), retyped_count: Some(2), ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(allow).await.unwrap();
    asked.await.unwrap().expect(204);
    let entry = scene.engine.call(UndoList, UndoListParams::default()).await[0].entry.clone();
    let undo = || scene.engine.client.call(UndoRun, UndoRunParams::Entry { entry: entry.clone() });
    let (one, two, three) = tokio::join!(undo(), undo(), undo());
    let restored: u32 = [one, two, three].into_iter().flatten().map(|result| result.restored).sum();
    assert_eq!(restored, 2);
    assert_eq!(scene.gmail.labels().await.len(), 6);
}

#[tokio::test]
async fn a_copy_that_can_not_be_read_keeps_no_other_from_coming_back() {
    let scene = Scene::new(6, "organize").await;
    let before = scene.gmail.labels().await.len();
    let agent = scene.agent().await;
    let path = gmail("messages/batchDelete");
    let asked = tokio::spawn(async move { agent.post(&path, &json!({ "ids": ["m0001", "m0002", "m0003"] })).await });
    let hold = scene.engine.hold().await;
    scene.engine.allow_forever(&hold).await;
    asked.await.unwrap().expect(204);
    let copy = Copied::nth(scene.home.path(), 0);
    copy.spoil();
    for restored in [2, 0] {
        let undone = undo_all(&scene).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (restored, 1), "{undone:?}");
        assert!(undone.not_restored[0].why.contains("can't be read"), "{undone:?}");
    }
    copy.mend();
    assert_eq!(undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels().await.len(), before);
}

#[tokio::test]
async fn an_undo_that_is_killed_in_the_middle_brings_no_copy_back_twice() {
    for point in ["before-intent:2", "after-intent:2", "before-outcome:2"] {
        let mut scene = Scene::lasting(6, "organize").await;
        let agent = scene.agent().await;
        let path = gmail("messages/batchDelete");
        let ids = json!({ "ids": ["m0001", "m0002", "m0003"] });
        let asked = tokio::spawn(async move { agent.post(&path, &ids).await });
        let hold = scene.engine.hold().await;
        scene.engine.allow_forever(&hold).await;
        asked.await.unwrap().expect(204);
        assert_eq!(scene.gmail.labels().await.len(), 3);
        let entry = scene.engine.call(UndoList, UndoListParams::default()).await[0].entry.clone();
        let home = scene.home.path().to_owned();
        scene.restart_as(Start::at(&home).failing(point)).await;
        let undo = UndoRunParams::Entry { entry };
        assert!(scene.engine.client.call(UndoRun, undo.clone()).await.is_err(), "{point}");
        scene.restart_as(Start::at(&home)).await;
        assert!((4..=5).contains(&scene.gmail.labels().await.len()), "{point}");
        let undone = scene.engine.call(UndoRun, undo).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{point}: {undone:?}");
        // Nobody could know that the second one was back.
        let twice = usize::from(point == "before-outcome:2");
        assert_eq!(scene.gmail.labels().await.len(), 6 + twice, "{point}");
        assert_eq!(scene.engine.call(QuarantineList, Empty {}).await.items, 0, "{point}");
    }
}

#[tokio::test]
async fn what_panic_stops_before_it_leaves_keeps_no_copy_and_is_nothing_to_undo() {
    let mut scene = Scene::lasting(6, "organize").await;
    let before = scene.gmail.labels().await;
    let home = scene.home.path().to_owned();
    scene.restart_as(Start::at(&home).failing("panic-after-intent")).await;
    let agent = scene.agent().await;
    let path = gmail("messages/batchDelete");
    let asked = tokio::spawn(async move { agent.post(&path, &json!({ "ids": ["m0001", "m0002"] })).await });
    let hold = scene.engine.hold().await;
    scene.engine.allow_forever(&hold).await;
    assert_ne!(asked.await.unwrap().status, 204);
    wait_until(|| async { scene.engine.call(StatusCall, Empty {}).await.panicked }).await;
    wait_until(|| async { scene.engine.call(QuarantineList, Empty {}).await.items == 0 }).await;
    wait_until(|| async { scene.engine.call(UndoList, UndoListParams::default()).await.is_empty() }).await;
    let warnings = scene.engine.call(StatusCall, Empty {}).await.warnings;
    assert!(!warnings.iter().any(|warning| warning.contains("unknown")), "{warnings:?}");
    assert_eq!(scene.gmail.labels().await, before);
}

#[tokio::test]
async fn undo_works_while_panicked_and_after_a_restart() {
    let mut scene = Scene::lasting(6, "organize").await;
    let before = scene.gmail.labels().await;
    let agent = scene.agent().await;
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    scene.engine.call(latch_ipc::contract::PanicCall, Empty {}).await;
    scene.crash().await;
    assert!(scene.engine.welcome.panicked);
    assert_eq!(undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels().await, before);
}
