//! Answers that go on: the rule of an Allow, a denial that is remembered.

use latch_ipc::contract::{
    AnswerForget, AnswerList, Empty, HoldDecideParams, HoldList, Id, JournalTail, JournalTailParams, Remember, Scope,
    Verdict,
};
use latch_ipc::rpc::ErrorCode;
use latch_tests::emulator::Mail;
use latch_tests::engine::{Start, decision};
use latch_tests::{Agent, Scene};
use serde_json::json;

use crate::gmail;
use crate::holds::trash;

/// Twelve mails of a shop, in the inbox; the tenth is starred, the eleventh archived, the twelfth from somebody else.
fn mails() -> Vec<Mail> {
    let mut mails = Mail::box_of(12);
    for mail in &mut mails {
        mail.from = "The Shop <news@shop.example>".to_owned();
        mail.labels = vec!["INBOX".to_owned()];
    }
    mails[9].labels.push("STARRED".to_owned());
    mails[10].labels = vec!["Label_1".to_owned()];
    mails[11].from = "\"news@shop.example\" <boss@work.example>".to_owned();
    mails
}

const SIX: [&str; 6] = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0006"];

async fn one(agent: &Agent, id: &str) -> u16 {
    let body = json!({ "ids": [id], "addLabelIds": ["TRASH"] });
    agent.post(&gmail("messages/batchModify"), &body).await.status
}

#[tokio::test]
async fn a_rule_covers_what_it_says_and_nothing_else() {
    let scene = Scene::with(&mails(), "ask-everything", Start::in_memory).await;
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let [rule] = hold.rules.as_slice() else { panic!("{:?}", hold.rules) };
    assert!(rule.text.starts_with("any mail from news@shop.example, in the Inbox, older than "), "{}", rule.text);
    let params = |scope, rule: &str| HoldDecideParams {
        scope: Some(scope),
        rule: Some(rule.to_owned()),
        ..decision(&hold, Verdict::Allow)
    };
    for (params, code) in [
        (params(Scope::Once, &rule.id), ErrorCode::InvalidParams),
        (params(Scope::Task, "any"), ErrorCode::InvalidParams),
        (params(Scope::Task, &"0".repeat(64)), ErrorCode::Conflict),
    ] {
        assert!(scene.engine.decide(params).await.unwrap_err().is(code));
    }
    scene.engine.decide(params(Scope::Task, &rule.id)).await.unwrap();
    asked.await.unwrap();
    // Not listed, but what the rule says: at once.
    assert_eq!(one(&agent, "m0007").await, 204);
    assert_eq!(one(&agent, "m0008").await, 204);
    let listed = scene.engine.call(AnswerList, Empty {}).await;
    assert!(
        listed.iter().any(|answer| answer.verdict == Verdict::Allow && answer.text.contains(&rule.text)),
        "{listed:?}"
    );
    // Starred, archived, from somebody else: asked.
    for id in ["m0010", "m0011", "m0012"] {
        assert_eq!(one(&agent, id).await, 429, "{id}");
    }
    let both = json!({ "ids": ["m0009", "m0010"], "addLabelIds": ["TRASH"] });
    assert_eq!(
        agent.post(&gmail("messages/batchModify"), &both).await.status,
        429,
        "one that is not covered is enough"
    );
    assert_eq!(scene.gmail.trashed().await, 8);
    // Taken back, it covers nothing.
    for answer in scene.engine.call(AnswerList, Empty {}).await {
        scene.engine.call(AnswerForget, Id { id: answer.id }).await;
    }
    assert_eq!(one(&agent, "m0009").await, 429);
}

#[tokio::test]
async fn an_agent_that_takes_the_star_off_first_gains_nothing() {
    let scene = Scene::with(&mails(), "organize", Start::in_memory).await;
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    let unstar = json!({ "ids": ["m0010"], "removeLabelIds": ["STARRED"] });
    agent.post(&gmail("messages/batchModify"), &unstar).await.expect(204);
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let rule = Some(hold.rules[0].id.clone());
    let params = HoldDecideParams { scope: Some(Scope::Task), rule, ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(params).await.unwrap();
    asked.await.unwrap();
    let many = json!({ "ids": ["m0007", "m0008", "m0009"], "addLabelIds": ["TRASH"] });
    agent.post(&gmail("messages/batchModify"), &many).await.expect(204);
    let with_it = json!({ "ids": ["m0010"], "addLabelIds": ["TRASH"] });
    assert_eq!(agent.post(&gmail("messages/batchModify"), &with_it).await.status, 429);
}

#[tokio::test]
async fn an_agent_that_moves_it_to_the_inbox_first_gains_nothing() {
    let scene = Scene::with(&mails(), "organize", Start::in_memory).await;
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let rule = Some(hold.rules[0].id.clone());
    let params = HoldDecideParams { scope: Some(Scope::Task), rule, ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(params).await.unwrap();
    asked.await.unwrap();
    let to_inbox = json!({ "ids": ["m0011"], "addLabelIds": ["INBOX"] });
    agent.post(&gmail("messages/batchModify"), &to_inbox).await.expect(204);
    assert_eq!(one(&agent, "m0011").await, 429);
    assert_eq!(one(&agent, "m0007").await, 204);
}

#[tokio::test]
async fn a_rule_does_not_cover_what_the_person_unticked() {
    let scene = Scene::with(&mails(), "ask-everything", Start::in_memory).await;
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let rule = Some(hold.rules[0].id.clone());
    let objects = Some(SIX[..5].iter().map(|&id| id.to_owned()).collect());
    let params = HoldDecideParams { scope: Some(Scope::Task), rule, objects, ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(params).await.unwrap();
    asked.await.unwrap();
    assert_eq!(one(&agent, "m0006").await, 429, "the person said no to this one");
    assert_eq!(one(&agent, "m0007").await, 204, "what the rule says, and nobody unticked");
}

#[tokio::test]
async fn no_rule_without_one_sender_and_none_for_what_is_for_ever() {
    let scene = Scene::with(&mails(), "ask-everything", Start::in_memory).await;
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = scene.agent().await;
    trash(&agent, &["m0001", "m0012"]).await.unwrap();
    agent.delete(&gmail("messages/m0001")).await;
    for hold in scene.engine.holds(2).await {
        assert!(hold.rules.is_empty(), "{:?}", hold.rules);
    }
}

#[tokio::test]
async fn a_no_that_is_remembered_answers_at_once_until_it_is_taken_back() {
    let mut scene = Scene::lasting(12, "ask-everything").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    assert!(hold.memorable);
    let allow = HoldDecideParams { remember: Some(Remember::Always), ..decision(&hold, Verdict::Allow) };
    assert!(scene.engine.decide(allow).await.unwrap_err().is(ErrorCode::InvalidParams), "an Allow has a scope");
    let deny = HoldDecideParams { remember: Some(Remember::Always), ..decision(&hold, Verdict::Deny) };
    scene.engine.decide(deny).await.unwrap();
    asked.await.unwrap().expect(403);
    for round in 0..2 {
        let agent = scene.agent().await;
        let again = trash(&agent, &["m0007"]).await.unwrap().expect(403);
        let text = again.text();
        assert!(text.contains("said no") && text.contains("won't help"), "{text}");
        // Another spelling of the same, and in a batch beside something else.
        agent.post(&gmail("messages/m0007/trash"), &json!(null)).await.expect(403);
        assert!(scene.engine.call(HoldList, Empty {}).await.is_empty());
        if round == 0 {
            scene.crash().await;
        }
    }
    let answers = scene.engine.call(AnswerList, Empty {}).await;
    assert_eq!((answers.len(), answers[0].verdict, answers[0].verb.as_str()), (1, Verdict::Deny, "Trash"));
    assert_eq!(answers[0].expires_at, None);
    let records = scene.engine.call(JournalTail, JournalTailParams::default()).await;
    let denied = records.iter().filter(|record| record.text.contains("denied by the remembered answer")).count();
    assert_eq!(denied, 4, "{records:#?}");
    scene.engine.call(AnswerForget, Id { id: answers[0].id.clone() }).await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &["m0007"]);
    let hold = scene.engine.hold().await;
    scene.engine.allow(&hold).await;
    asked.await.unwrap().expect(204);
}

#[tokio::test]
async fn a_remembered_no_leaves_the_budget_alone() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &SIX);
    let hold = scene.engine.hold().await;
    let deny = HoldDecideParams { remember: Some(Remember::Task), ..decision(&hold, Verdict::Deny) };
    scene.engine.decide(deny).await.unwrap();
    asked.await.unwrap().expect(403);
    agent.post(&gmail("messages/m0007/trash"), &json!(null)).await.expect(200);
    trash(&agent, &SIX[1..]).await.unwrap().expect(403);
    assert!(scene.engine.call(AnswerList, Empty {}).await[0].expires_at.is_some());
}
