//! ATTACKS 35: kill -9 at every failpoint. At most one execution, never a silent retry; an unknown outcome is shown as unknown.
//!
//! ```text
//!   before-intent  [ in-transaction  after-commit ]  after-intent  the call  before-outcome  [ in-transaction:2  after-commit:2 ]
//!       nothing was made, nothing recorded  |  recorded, not made: unknown  |  made: unknown            |  made and known
//! ```

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use latch_ipc::contract::{
    Empty, HoldList, JournalTail, JournalTailParams, JournalVerify, SettingsSet, UndoRun, UndoRunParams, Verdict,
};
use latch_ipc::view::{HoldState, RecordView};
use latch_tests::engine::{Start, decision};
use latch_tests::scene::issue;
use latch_tests::{Agent, Mail, Scene};
use serde_json::{Value, json};

use crate::gmail;
use crate::holds::trash;

/// What is known after the next start about a call that was cut at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Nothing,
    Unknown,
    Outcome,
}

/// Each point, how many calls were made when the engine died there at the first call, and what the journal says about it.
const POINTS: [(&str, usize, Known); 7] = [
    ("before-intent", 0, Known::Nothing),
    ("in-transaction", 0, Known::Nothing),
    ("after-commit", 0, Known::Unknown),
    ("after-intent", 0, Known::Unknown),
    ("before-outcome", 1, Known::Unknown),
    ("in-transaction:2", 1, Known::Unknown),
    ("after-commit:2", 1, Known::Outcome),
];

/// Does not kill: `attack_36_...` uses it.
const OTHER: &str = "disk-full";

/// The names in `fail::point("...")` and `fail::asked("...")` below a folder.
fn named(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            named(&entry, names);
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&entry).unwrap();
            for call in ["fail::point(\"", "fail::asked(\""] {
                names.extend(text.split(call).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
            }
        }
    }
}

#[test]
fn attack_35_every_failpoint_is_one_that_is_tested_here() {
    let mut found = BTreeSet::new();
    named(&latch_tests::paths::workspace().join("src-tauri"), &mut found);
    let here = POINTS.iter().map(|(point, _, _)| point.split(':').next().unwrap()).chain([OTHER]);
    assert_eq!(found, here.map(str::to_owned).collect(), "a failpoint came or went: say here what must hold there");
}

async fn journal(scene: &Scene) -> Vec<RecordView> {
    scene.engine.call(JournalTail, JournalTailParams { limit: Some(500), ..JournalTailParams::default() }).await
}

async fn again(scene: &Scene) -> Agent {
    Agent::new(&format!("{}/mail", scene.engine.door()), &issue(&scene.engine, "claw").await)
}

/// A home whose set-up is done; the engine on it will die at the point.
async fn will_die_at(point: &str, mails: usize, preset: &str) -> Scene {
    let mut scene = Scene::with(&Mail::box_of(mails), preset, |start| start).await;
    let home = scene.home.path().to_owned();
    scene.restart_as(Start::at(&home).failing(point)).await;
    scene
}

/// Waits for the death and starts plainly; looks at what must hold wherever it died.
async fn found_again(scene: &mut Scene, point: &str) {
    scene.engine.ended().await;
    let at_death = scene.gmail.changes().await;
    let home = scene.home.path().to_owned();
    scene.engine = Start::at(&home).start().await;
    assert!(!scene.engine.welcome.panicked, "{point}: a crash is not a panic");
    assert!(scene.engine.call(JournalVerify, Empty {}).await.ok, "{point}");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert_eq!(scene.gmail.changes().await, at_death, "{point}: something was repeated by itself");
    let ready = |hold: &&latch_ipc::view::HoldView| {
        !matches!(hold.state, HoldState::Preparing | HoldState::Open | HoldState::Proposal)
    };
    let holds = scene.engine.call(HoldList, Empty {}).await;
    assert!(holds.iter().find(ready).is_none(), "{point}: an Allow lives on: {holds:?}");
}

/// The newest intent and whatever refers to it.
async fn assert_known(scene: &Scene, point: &str, action: &str, known: Known) {
    let records = journal(scene).await;
    let of = |kind: &str| records.iter().find(|record| record.kind == kind && record.action.as_deref() == Some(action));
    let said = match (of("intent"), of("outcome")) {
        (None, None) => Known::Nothing,
        (Some(_), Some(outcome)) if outcome.text.starts_with("unknown") => Known::Unknown,
        (Some(_), Some(_)) => Known::Outcome,
        other => panic!("{point}: {other:?} in {records:#?}"),
    };
    assert_eq!(said, known, "{point}: {records:#?}");
    let status = scene.engine.call(latch_ipc::contract::StatusCall, Empty {}).await;
    let warned = status.warnings.iter().any(|warning| warning.contains("unknown"));
    assert_eq!(warned, known == Known::Unknown, "{point}: the person is told: {:?}", status.warnings);
}

#[tokio::test]
async fn attack_35_a_removal_within_the_budget() {
    for (point, made, known) in POINTS {
        let mut scene = will_die_at(point, 3, "organize").await;
        let before = scene.gmail.labels().await;
        let answer = again(&scene).await.post(&gmail("messages/m0001/trash"), &Value::Null).await;
        assert_eq!(answer.status, 0, "{point}: the engine was to die, but answered {}", answer.text());
        found_again(&mut scene, point).await;
        assert_eq!(scene.gmail.changes().await.len(), made, "{point}");
        assert_known(&scene, point, "gmail.users.messages.trash", known).await;
        assert_eq!(crate::undo::undo_all(&scene).await.restored as usize, made, "{point}");
        assert_eq!(scene.gmail.labels().await, before, "{point}");
        // Whether it was made is unknown, so it counts.
        if known != Known::Nothing {
            let agent = again(&scene).await;
            for id in ["m0002", "m0003"] {
                agent.post(&gmail(&format!("messages/{id}/trash")), &Value::Null).await.expect(200);
            }
            let fourth = tokio::spawn(async move { agent.post(&gmail("messages/m0001/trash"), &Value::Null).await });
            let hold = scene.engine.hold().await;
            scene.engine.deny(&hold).await;
            fourth.await.unwrap().expect(403);
        }
    }
}

#[tokio::test]
async fn attack_35_an_allowed_hold_runs_at_most_once() {
    let six = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0006"];
    for (point, made, known) in POINTS {
        let mut scene = will_die_at(point, 8, "organize").await;
        let asked = trash(&again(&scene).await, &six);
        let hold = scene.engine.hold().await;
        let _ = scene.engine.decide(decision(&hold, Verdict::Allow)).await;
        assert_eq!(asked.await.unwrap().status, 0, "{point}");
        found_again(&mut scene, point).await;
        assert_eq!(scene.gmail.changes().await.len(), made, "{point}");
        assert_known(&scene, point, "gmail.users.messages.batchModify", known).await;
        // The same request is a new question: the Allow went with the engine.
        let asked = trash(&again(&scene).await, &six);
        let hold = scene.engine.hold().await;
        assert_eq!(scene.gmail.changes().await.len(), made, "{point}");
        scene.engine.deny(&hold).await;
        asked.await.unwrap().expect(403);
    }
}

#[tokio::test]
async fn attack_35_an_undo_puts_back_once_and_can_be_finished() {
    for (point, made, known) in POINTS {
        let mut scene = Scene::with(&Mail::box_of(3), "organize", |start| start).await;
        let before = scene.gmail.labels().await;
        scene.agent().await.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
        let home = scene.home.path().to_owned();
        scene.restart_as(Start::at(&home).failing(point)).await;
        let undo = UndoRunParams::Agent { agent: "claw".to_owned(), since: "1h".to_owned() };
        assert!(scene.engine.client.call(UndoRun, undo).await.is_err(), "{point}");
        found_again(&mut scene, point).await;
        assert_eq!(scene.gmail.changes().await.len(), 1 + made, "{point}");
        let status = scene.engine.call(latch_ipc::contract::StatusCall, Empty {}).await;
        let warned = status.warnings.iter().any(|warning| warning.contains("unknown"));
        assert_eq!(warned, known == Known::Unknown, "{point}: {:?}", status.warnings);
        crate::undo::undo_all(&scene).await;
        assert_eq!(scene.gmail.labels().await, before, "{point}");
    }
}

fn mail(subject: &str) -> Value {
    let text = format!("From: me@example.com\r\nTo: friend@example.org\r\nSubject: {subject}\r\n\r\nThe text.\r\n");
    json!({ "raw": base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text) })
}

async fn sends(scene: &Scene) -> usize {
    scene.gmail.changes().await.iter().filter(|line| line.contains("/send")).count()
}

/// The first call makes the draft, the second sends it, the third tidies up; each has two transactions.
#[tokio::test]
async fn attack_35_a_delayed_mail_leaves_at_most_once_killed_around_its_calls() {
    killed_at_each(&["before-intent", "after-intent", "before-outcome"], 3).await;
}

#[tokio::test]
async fn attack_35_a_delayed_mail_leaves_at_most_once_killed_in_its_transactions() {
    killed_at_each(&["in-transaction", "after-commit"], 5).await;
}

async fn killed_at_each(names: &[&str], times: u32) {
    let points: Vec<String> = (1..=times).flat_map(|n| names.iter().map(move |name| format!("{name}:{n}"))).collect();
    let mut scene = Scene::with(&Mail::box_of(1), "assistant", |start| start).await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 1 })).await;
    let many = latch_ipc::contract::GrantPutParams {
        agent: "claw".to_owned(),
        account: "mail".to_owned(),
        preset: "assistant".to_owned(),
        authorization_details: None,
        budgets: Some([("send".to_owned(), [100, 100])].into()),
        expires_in: None,
    };
    scene.engine.call(latch_ipc::contract::GrantPut, many).await;
    let agent = scene.agent().await;
    let asked = tokio::spawn(async move { agent.post(&gmail("messages/send"), &mail("Hello")).await });
    scene.engine.allow(&scene.engine.hold().await).await;
    asked.await.unwrap().expect(200);
    let home = scene.home.path().to_owned();
    let mut asked = 0;
    for point in points {
        let before = sends(&scene).await;
        scene.restart_as(Start::at(&home).failing(&point)).await;
        let subject = format!("Killed at {point}");
        let _ = again(&scene).await.post(&gmail("messages/send"), &mail(&subject)).await;
        found_again(&mut scene, &point).await;
        let left = sends(&scene).await - before;
        assert!(left <= 1, "{point}: it left {left} times");
        // It is asked about, never sent by itself; what may have left already is said so.
        tokio::time::sleep(Duration::from_millis(1200)).await;
        assert_eq!(sends(&scene).await - before, left, "{point}");
        for hold in scene.engine.call(HoldList, Empty {}).await {
            let hold = scene
                .engine
                .call(
                    latch_ipc::contract::HoldGet,
                    latch_ipc::contract::HoldGetParams { id: hold.id, offset: None, limit: None },
                )
                .await;
            // What was denied a moment before the kill may ask again; it is not what this is about.
            if hold.facts.iter().any(|fact| fact.value == subject) {
                let is_said = hold.why.contains("may have left");
                assert!(is_said || left == 0, "{point}: {}", hold.why);
                assert!(!is_said || point != "after-commit:2", "{point}: only its draft was made: {}", hold.why);
                asked += 1;
            }
            scene.engine.deny(&hold).await;
        }
    }
    assert!(asked > 2, "{asked} of them were asked about");
}
