//! A crash and what survives it. Death at every failpoint is ATTACKS 35, in its own file.

use latch_ipc::contract::{Empty, JournalVerify};
use latch_tests::scene::issue;
use latch_tests::{Agent, Scene};
use serde_json::Value;

use crate::gmail;
use crate::holds::trash;

async fn again(scene: &Scene) -> Agent {
    Agent::new(&format!("{}/mail", scene.engine.door()), &issue(&scene.engine, "claw").await)
}

#[tokio::test]
async fn killed_while_held_nothing_runs_and_the_question_can_be_asked_again() {
    let mut scene = Scene::lasting(12, "organize").await;
    let agent = scene.agent().await;
    let six = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0006"];
    let asked = trash(&agent, &six);
    scene.engine.hold().await;
    scene.crash().await;
    assert_eq!(asked.await.unwrap().status, 0);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    assert!(!scene.engine.welcome.panicked, "a crash is not a panic");
    assert!(scene.engine.call(JournalVerify, Empty {}).await.ok);
    // Tokens die with the engine.
    let stale = Agent::new(&format!("{}/mail", scene.engine.door()), "whatever");
    stale.get(&gmail("messages")).await.expect(401);
    let asked = trash(&again(&scene).await, &six);
    let hold = scene.engine.hold().await;
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
    assert_eq!(scene.gmail.trashed().await, 6);
    assert_eq!(scene.gmail.changes().await.len(), 1);
}

#[tokio::test]
async fn a_restart_forgets_no_budget() {
    let mut scene = Scene::lasting(12, "organize").await;
    let agent = scene.agent().await;
    for id in ["m0001", "m0002", "m0003"] {
        agent.post(&gmail(&format!("messages/{id}/trash")), &Value::Null).await.expect(200);
    }
    scene.crash().await;
    let agent = again(&scene).await;
    let fourth = tokio::spawn(async move { agent.post(&gmail("messages/m0004/trash"), &Value::Null).await });
    let hold = scene.engine.hold().await;
    assert_eq!(hold.count, 1);
    scene.engine.deny(&hold).await;
    fourth.await.unwrap().expect(403);
    assert_eq!(scene.gmail.trashed().await, 3);
}

#[tokio::test]
async fn accounts_agents_grants_and_undo_survive() {
    let mut scene = Scene::lasting(3, "organize").await;
    let before = scene.gmail.labels().await;
    scene.agent().await.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    scene.crash().await;
    let mut python = scene.python().await;
    python.call("users.messages.list", serde_json::json!({ "userId": "me" })).await.unwrap();
    assert_eq!(crate::undo::undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels().await, before);
}
