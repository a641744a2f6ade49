//! Beyond the budget: held, shown, decided.

use std::time::Duration;

use latch_ipc::contract::{Empty, HoldDecideParams, HoldDeny, HoldList, HoldTouch, Id, Scope, SettingsSet, Verdict};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::view::{Class, HoldState, Reversible};
use latch_tests::engine::decision;
use latch_tests::{Agent, Answer, Scene};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use crate::gmail;

/// Asks for all of these to be moved to the Trash at once, in the background.
pub(crate) fn trash(agent: &Agent, ids: &[&str]) -> JoinHandle<Answer> {
    let body = json!({ "ids": ids, "addLabelIds": ["TRASH"] });
    let agent = agent.clone();
    tokio::spawn(async move { agent.post(&gmail("messages/batchModify"), &body).await })
}

const SIX: [&str; 6] = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0010"];

#[tokio::test]
async fn a_hold_shows_what_would_happen() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.state), (Class::Remove, 6, HoldState::Open));
    assert_eq!((hold.agent.as_str(), hold.account.as_str()), ("claw", "mail"));
    assert_eq!(hold.objects.iter().map(|object| object.id.as_str()).collect::<Vec<_>>(), SIX);
    let tenth = hold.objects.iter().find(|object| object.id == "m0010").unwrap();
    assert_eq!(tenth.title, "Mail number 10");
    assert!(tenth.from.as_deref().unwrap().contains("notice@bank.example"), "{tenth:?}");
    assert!(tenth.date.is_some());
    assert!(tenth.flags.iter().any(|flag| flag == "starred"), "{tenth:?}");
    assert_eq!((hold.summary.starred, hold.summary.unread), (1, 1));
    assert_eq!(hold.summary.senders.iter().map(|sender| sender.count).sum::<u32>(), 6);
    assert_eq!(hold.reversible, Reversible::Yes);
    assert!(hold.partial && hold.waiting, "{hold:#?}");
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
    assert_eq!(scene.gmail.trashed().await, 6);
    assert_eq!(scene.gmail.changes().await.len(), 1);
}

#[tokio::test]
async fn denied_changes_nothing_and_says_so() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    assert_eq!(scene.engine.deny(&hold).await.state, HoldState::Denied);
    let answer = asked.await.unwrap().expect(403);
    assert_eq!(answer.header("content-type"), "application/problem+json");
    let problem = answer.json();
    assert_eq!(problem["status"], 403);
    assert_eq!(problem["error"]["code"], 403);
    assert_eq!(problem["error"]["status"], "PERMISSION_DENIED");
    assert_eq!(problem["latchstring"]["hold"], hold.id);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene.engine.no_holds().await;
}

#[tokio::test]
async fn allowed_in_part_runs_exactly_that_part() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let decided = scene.engine.allow_only(&hold, &["m0002", "m0005"]).await;
    assert_eq!(decided.state, HoldState::AllowedInPart);
    asked.await.unwrap().expect(204);
    let labels = scene.gmail.labels().await;
    let trashed: Vec<_> =
        labels.iter().filter(|(_, labels)| labels.contains(&"TRASH".to_owned())).map(|(id, _)| id).collect();
    assert_eq!(trashed, ["m0002", "m0005"]);
}

#[tokio::test]
async fn nobody_answers_and_nothing_happens() {
    let scene = Scene::new(12, "organize").await;
    scene.engine.call(SettingsSet, json!({ "hold_seconds": 1, "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    // Never a proposal: what is for ever expires.
    let answer = agent.delete(&gmail("messages/m0001")).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    tokio::time::sleep(Duration::from_secs(2)).await;
    scene.engine.no_holds().await;
    let answer = agent.delete(&gmail("messages/m0001")).await;
    assert!(matches!(answer.status, 403 | 429), "{}", answer.text());
    let text = answer.text().to_lowercase();
    assert!(!text.contains("said no") && !text.contains("rejected"), "{text}");
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn a_retry_joins_the_hold_and_the_answer_is_replayed() {
    let scene = Scene::new(12, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    let first = trash(&agent, &SIX).await.unwrap().expect(429);
    assert!(!first.header("retry-after").is_empty());
    let hold = scene.engine.hold().await;
    assert_eq!(first.json()["latchstring"]["hold"], hold.id);
    let second = trash(&agent, &SIX).await.unwrap().expect(429);
    assert_eq!(second.json()["latchstring"]["hold"], hold.id);
    assert_eq!(scene.engine.call(HoldList, Empty {}).await.len(), 1);
    // Nobody is on the line: it runs when the agent asks again, once.
    let hold = scene.engine.hold().await;
    assert!(!hold.waiting, "{hold:#?}");
    scene.engine.allow(&hold).await;
    trash(&agent, &SIX).await.unwrap().expect(204);
    trash(&agent, &SIX).await.unwrap().expect(204);
    assert_eq!(scene.gmail.changes().await, ["POST /gmail/v1/users/me/messages/batchModify"]);
    assert_eq!(scene.gmail.trashed().await, 6);
}

#[tokio::test]
async fn joiners_get_the_same_answer_of_one_execution() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked: Vec<_> = (0..4).map(|_| trash(&agent, &SIX)).collect();
    let hold = scene.engine.hold().await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(scene.engine.call(HoldList, Empty {}).await.len(), 1);
    scene.engine.allow(&scene.engine.hold().await).await;
    for answer in asked {
        answer.await.unwrap().expect(204);
    }
    assert_eq!(scene.gmail.changes().await.len(), 1, "{hold:#?}");
}

#[tokio::test]
async fn a_decision_needs_the_digest_that_was_shown() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let other = HoldDecideParams { digest: "0".repeat(64), ..decision(&hold, Verdict::Allow) };
    assert!(scene.engine.decide(other).await.unwrap_err().is(ErrorCode::Conflict));
    let stranger = Some(vec!["m0011".to_owned()]);
    let beyond = HoldDecideParams { objects: stranger, ..decision(&hold, Verdict::Allow) };
    assert!(scene.engine.decide(beyond).await.is_err());
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene.engine.call(HoldDeny, Id { id: hold.id.clone() }).await;
    asked.await.unwrap().expect(403);
    assert!(scene.engine.decide(decision(&hold, Verdict::Allow)).await.unwrap_err().is(ErrorCode::Conflict));
}

#[tokio::test]
async fn an_allow_for_the_task_spares_the_next_questions_about_the_same_mails() {
    let scene = Scene::new(12, "ask-everything").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    assert!(hold.task_scope, "{hold:#?}");
    let params = HoldDecideParams { scope: Some(Scope::Task), ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(params).await.unwrap();
    asked.await.unwrap().expect(204);
    // The same verb on what was listed: unasked. On another mail: asked.
    agent.post(&gmail("messages/m0002/trash"), &Value::Null).await.expect(200);
    let agent_again = agent.clone();
    let other = tokio::spawn(async move { agent_again.post(&gmail("messages/m0007/trash"), &Value::Null).await });
    let hold = scene.engine.hold().await;
    assert_eq!(hold.objects[0].id, "m0007");
    scene.engine.deny(&hold).await;
    other.await.unwrap().expect(403);
}

#[tokio::test]
async fn a_proposal_of_the_night_can_be_run_in_the_morning() {
    let scene = Scene::new(12, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 1, "hold_seconds": 1 })).await;
    let agent = scene.agent().await;
    trash(&agent, &SIX).await.unwrap();
    let wait = async {
        loop {
            let hold = scene.engine.hold().await;
            if hold.state == HoldState::Proposal {
                return hold;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let hold = tokio::time::timeout(Duration::from_secs(15), wait).await.expect("it becomes a proposal");
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene.engine.allow(&hold).await;
    let ran = async {
        while scene.gmail.trashed().await < 6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(15), ran).await.expect("the person's own Allow runs it");
}

#[tokio::test]
async fn the_owner_leaves_and_what_waits_is_denied() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    scene.engine.hold().await;
    let Scene { gmail, engine, home, .. } = scene;
    assert!(engine.quit().await.success());
    let answer = asked.await.unwrap();
    assert_ne!(answer.status, 204);
    assert_eq!(gmail.changes().await, Vec::<String>::new());
    drop(home);
}

#[tokio::test]
async fn a_hold_that_is_looked_at_gets_time() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let id = || Id { id: hold.id.clone() };
    let mut end = hold.expires_at.clone();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let touched = scene.engine.call(HoldTouch, id()).await.expires_at;
        assert!(touched > end, "{touched} {end}");
        end = touched;
    }
    let shown = scene.engine.hold().await;
    assert_eq!(shown.digest, hold.digest);
    scene.engine.allow(&shown).await;
    asked.await.unwrap().expect(204);
    assert!(scene.engine.client.call(HoldTouch, id()).await.unwrap_err().is(ErrorCode::Conflict));
}
