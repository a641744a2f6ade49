//! kill -9 at the worst moments: at most one execution, never without its record, never a silent retry.

use std::path::Path;
use std::time::Duration;

use latch_ipc::contract::{Empty, HoldList, JournalTail, JournalTailParams, JournalVerify};
use latch_ipc::view::RecordView;
use latch_tests::engine::Start;
use latch_tests::scene::issue;
use latch_tests::{Agent, Mail, Scene};
use serde_json::Value;

use crate::gmail;
use crate::holds::trash;

async fn journal(scene: &Scene) -> Vec<RecordView> {
    scene.engine.call(JournalTail, JournalTailParams { limit: Some(500), ..JournalTailParams::default() }).await
}

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

/// Starts with a failpoint, asks for one removal within the budget, waits for the death, starts again plainly.
async fn dies_at(point: &str) -> Scene {
    // The home is prepared by an engine that does not die: its own set-up writes too.
    let mut scene = Scene::with(&Mail::box_of(3), "organize", |start| start).await;
    let home = scene.home.path().to_owned();
    scene.restart_as(Start::at(&home).failing(point)).await;
    let answer = again(&scene).await.post(&gmail("messages/m0001/trash"), &Value::Null).await;
    assert_eq!(answer.status, 0, "{point}: the engine was to die, but answered {}", answer.text());
    scene.engine.ended().await;
    scene.engine = Start::at(&home).start().await;
    scene
}

#[tokio::test]
async fn attack_35_killed_before_the_intent_nothing_left() {
    let scene = dies_at("before-intent").await;
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    assert!(scene.engine.call(JournalVerify, Empty {}).await.ok);
    assert!(crate::undo::undo_all(&scene).await.restored == 0);
}

#[tokio::test]
async fn attack_35_killed_after_the_intent_it_is_said_and_not_repeated() {
    let scene = dies_at("after-intent").await;
    let changes = scene.gmail.changes().await.len();
    assert!(changes <= 1, "{changes} calls");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(scene.gmail.changes().await.len(), changes, "repeated by itself");
    let records = journal(&scene).await;
    assert!(records.iter().any(|record| record.kind == "intent"), "{records:#?}");
    let says_unknown = records.iter().any(|record| record.text.to_lowercase().contains("unknown"));
    assert!(says_unknown, "an unknown outcome is shown as unknown: {records:#?}");
}

#[tokio::test]
async fn attack_35_killed_before_the_outcome_it_happened_once_and_undo_knows() {
    let scene = dies_at("before-outcome").await;
    assert_eq!(scene.gmail.changes().await.len(), 1);
    assert!(scene.gmail.labels_of("m0001").await.contains(&"TRASH".to_owned()));
    let records = journal(&scene).await;
    assert!(records.iter().any(|record| record.text.to_lowercase().contains("unknown")), "{records:#?}");
    assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!(crate::undo::undo_all(&scene).await.restored, 1);
    assert_eq!(scene.gmail.labels_of("m0001").await, ["INBOX"]);
}

#[tokio::test]
async fn attack_35_an_allowed_hold_is_not_run_twice_across_a_crash() {
    let mut scene = Scene::with(&Mail::box_of(12), "organize", |start| start).await;
    let home = scene.home.path().to_owned();
    scene.restart_as(Start::at(&home).failing("before-outcome")).await;
    let six = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0006"];
    let asked = trash(&again(&scene).await, &six);
    let hold = scene.engine.hold().await;
    let _ = scene.engine.decide(latch_tests::engine::decision(&hold, latch_ipc::contract::Verdict::Allow)).await;
    assert_eq!(asked.await.unwrap().status, 0);
    scene.engine.ended().await;
    scene.engine = Start::at(&home).start().await;
    assert_eq!(scene.gmail.changes().await.len(), 1);
    // The same request is a new question; the old Allow is spent.
    scene.gmail.relabel("m0001", &["INBOX"], &["TRASH"]).await;
    let direct = scene.gmail.changes().await.len();
    let asked = trash(&again(&scene).await, &six);
    let hold = scene.engine.hold().await;
    assert_eq!(scene.gmail.changes().await.len(), direct);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn attack_36_a_full_disk_stops_changes_but_not_panic() {
    let mut scene = Scene::with(&Mail::box_of(3), "organize", |start| start).await;
    let home = scene.home.path().to_owned();
    // Not at once: the start and the token are recorded too.
    scene.restart_as(Start::at(&home).failing("disk-full:8")).await;
    let agent = again(&scene).await;
    let mut ran = 0;
    let answer = loop {
        let label = serde_json::json!({ "addLabelIds": ["Label_1"] });
        let answer = agent.post(&gmail("messages/m0001/modify"), &label).await;
        if answer.status != 200 {
            break answer;
        }
        ran += 1;
        assert!(ran < 50, "the disk is never full");
    };
    let changes = scene.gmail.changes().await.len();
    // Full before the intent: not made. Full before the outcome: made once, and said to be unknown.
    let made = match answer.status {
        503 => ran,
        502 => ran + 1,
        other => panic!("{other}: {}", answer.text()),
    };
    assert_eq!(changes, made, "{}", answer.text());
    agent.post(&gmail("messages/m0002/trash"), &Value::Null).await.expect(503);
    assert_eq!(scene.gmail.changes().await.len(), changes);
    let panicked = scene.engine.client.call(latch_ipc::contract::PanicCall, Empty {}).await;
    let after = agent.get(&gmail("messages")).await;
    assert!(matches!(after.status, 0 | 401 | 403), "{panicked:?} {}", after.text());
}

#[tokio::test]
async fn attack_36_a_really_full_disk_stops_changes_but_not_panic() {
    // A small file system of its own.
    let mount = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=24m", "latch-test"])
        .arg(mount.path())
        .status()
        .unwrap();
    assert!(mounted.success(), "the test needs to mount a tmpfs: run it as root");
    let result = tokio::spawn(on_a_small_disk(mount.path().to_owned())).await;
    let _ = std::process::Command::new("umount").arg("-l").arg(mount.path()).status();
    result.unwrap();
}

async fn on_a_small_disk(disk: std::path::PathBuf) {
    let home = disk.join("home");
    let gmail_peer = latch_tests::Emulator::start(&Mail::box_of(3)).await;
    let engine = Start::at(&home).in_memory().start().await;
    latch_tests::scene::add_account(&engine, "mail", &gmail_peer.url, &gmail_peer.token).await;
    latch_tests::scene::connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    fill(&disk.join("ballast"));
    let mut refused = None;
    for _ in 0..200 {
        let answer =
            agent.post(&gmail("messages/m0002/modify"), &serde_json::json!({ "addLabelIds": ["Label_1"] })).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
    }
    let refused = refused.expect("a full disk is noticed");
    assert_eq!(refused.status, 503, "{}", refused.text());
    let calls = gmail_peer.changes().await.len();
    agent.post(&gmail("messages/m0003/trash"), &Value::Null).await.expect(503);
    assert_eq!(gmail_peer.changes().await.len(), calls);
    engine.client.call(latch_ipc::contract::PanicCall, Empty {}).await.expect("the space for a panic is reserved");
    let after = agent.get(&gmail("messages")).await;
    assert!(matches!(after.status, 0 | 401 | 403), "{}", after.text());
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let block = [0_u8; 4096];
    while file.write_all(&block).is_ok() {}
}
