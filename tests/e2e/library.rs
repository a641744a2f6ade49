//! Google's own library, unmodified, for every kind of change: what is asked, what is forbidden, and what one Undo puts back.

use latch_ipc::contract::{Empty, HoldList};
use latch_ipc::view::Class;
use latch_tests::Scene;
use latch_tests::python::{HttpError, PythonAgent};
use serde_json::{Value, json};

/// Calls, and answers what the person is asked with Allow; the Class that was asked about, and what the library returned.
async fn allowed(
    scene: &Scene,
    python: &mut PythonAgent,
    call: &str,
    arguments: Value,
) -> (Class, u32, Result<Value, HttpError>) {
    let deciding = async {
        let hold = scene.engine.hold().await;
        scene.engine.allow(&hold).await;
        (hold.class, hold.count)
    };
    let (answer, (class, count)) = tokio::join!(python.call(call, arguments), deciding);
    (class, count, answer)
}

fn ids(range: std::ops::RangeInclusive<usize>) -> Vec<String> {
    range.map(|n| format!("m{n:04}")).collect()
}

#[tokio::test]
async fn every_bulk_change_is_asked_about_and_one_undo_restores_every_label() {
    let scene = Scene::new(40, "organize").await;
    let before = scene.gmail.labels().await;
    let mut python = scene.python().await;
    let me = |more: Value| {
        let mut arguments = json!({ "userId": "me" });
        arguments.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        arguments
    };
    let batch = |ids: Vec<String>, added: &[&str], removed: &[&str]| {
        me(json!({ "body": { "ids": ids, "addLabelIds": added, "removeLabelIds": removed } }))
    };
    let cases = [
        ("users.messages.batchModify", batch(ids(1..=6), &["TRASH"], &[]), Class::Remove, 6),
        ("users.messages.batchModify", batch(ids(7..=18), &[], &["INBOX"]), Class::Modify, 12),
        ("users.messages.batchModify", batch(ids(19..=23), &["SPAM"], &[]), Class::Remove, 5),
        ("users.messages.delete", me(json!({ "id": "m0024" })), Class::Destroy, 1),
        ("users.messages.batchDelete", me(json!({ "body": { "ids": ids(25..=27) } })), Class::Destroy, 3),
        ("users.threads.delete", me(json!({ "id": "t0028" })), Class::Destroy, 1),
    ];
    for (call, arguments, class, count) in cases {
        let (asked, objects, answer) = allowed(&scene, &mut python, call, arguments.clone()).await;
        assert_eq!((asked, objects), (class, count), "{call} {arguments}");
        answer.unwrap_or_else(|error| panic!("{call}: {error:?}"));
    }
    let now = scene.gmail.labels().await;
    assert_eq!(now.len(), before.len(), "nothing is gone for ever");
    let changed = now.iter().filter(|(id, labels)| before[*id] != **labels).count();
    assert_eq!(changed, 6 + 12 + 5 + 1 + 3 + 1);
    let undone = crate::undo::undo_all(&scene).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (28, 0), "{undone:?}");
    assert_eq!(scene.gmail.labels().await, before);
}

#[tokio::test]
async fn threads_drafts_and_standing_orders_through_the_library() {
    let scene = Scene::new(6, "assistant").await;
    let mut python = scene.python().await;
    // Within the budget a thread goes unasked, as its message would.
    python.call("users.threads.trash", json!({ "userId": "me", "id": "t0001" })).await.unwrap();
    assert!(scene.gmail.labels_of("m0001").await.contains(&"TRASH".to_owned()));
    let mail = "From: me@example.com\r\nTo: stranger@example.org\r\nSubject: Hello\r\n\r\nThe text.\r\n";
    use base64::Engine as _;
    let raw = base64::engine::general_purpose::URL_SAFE.encode(mail);
    let body = json!({ "message": { "raw": raw } });
    let draft = python.call("users.drafts.create", json!({ "userId": "me", "body": body })).await.unwrap();
    let send = json!({ "userId": "me", "body": { "id": draft["id"] } });
    let (class, _, sent) = allowed(&scene, &mut python, "users.drafts.send", send).await;
    assert_eq!(class, Class::Send);
    assert!(sent.unwrap()["id"].is_string());
    let filter = json!({ "criteria": { "from": "bank" }, "action": { "addLabelIds": ["TRASH"] } });
    let orders = [
        ("users.settings.filters.create", json!({ "userId": "me", "body": filter })),
        (
            "users.settings.forwardingAddresses.create",
            json!({ "userId": "me", "body": { "forwardingEmail": "thief@example.net" } }),
        ),
        (
            "users.settings.updateAutoForwarding",
            json!({ "userId": "me", "body": { "enabled": true, "emailAddress": "thief@example.net" } }),
        ),
        ("users.settings.updateImap", json!({ "userId": "me", "body": { "enabled": true, "autoExpunge": true } })),
        (
            "users.settings.delegates.create",
            json!({ "userId": "me", "body": { "delegateEmail": "thief@example.net" } }),
        ),
    ];
    let before = scene.gmail.changes().await.len();
    for (call, arguments) in orders {
        let refused = python.call(call, arguments).await.unwrap_err();
        assert_eq!(refused.status, 403, "{call}: {refused:?}");
    }
    assert_eq!(scene.engine.call(HoldList, Empty {}).await, []);
    assert_eq!(scene.gmail.changes().await.len(), before);
}
