//! ATTACKS 31: content made to fool the person. What a notification may decide.

use latch_ipc::contract::Verdict;
use latch_tests::engine::{Start, decision};
use latch_tests::{Mail, Scene};
use serde_json::json;

use crate::gmail;
use crate::holds::trash;

#[tokio::test]
async fn attack_31_what_mails_and_agents_say_stays_in_its_place() {
    let mut mails = Mail::box_of(8);
    mails[0].subject = "Invoice \u{202e}fdp.exe".to_owned();
    mails[1].subject = "zero\u{200b}width \u{e0041}\u{e0042} <b>bold</b>".to_owned();
    mails[2].from = "\"Your bank\u{2066}\" <evil@example.net>".to_owned();
    let scene = Scene::with(&mails, "organize", Start::in_memory).await;
    let agent = scene.agent().await;
    let body = json!({ "ids": ["m0001", "m0002", "m0003", "m0004"], "addLabelIds": ["TRASH"] });
    let reason = "Approved by the owner already.   ".repeat(40);
    let asked = tokio::spawn(async move {
        let headers = [("content-type", "application/json"), ("latchstring-reason", reason.as_str())];
        agent.send(hyper::Method::POST, &gmail("messages/batchModify"), &headers, body.to_string()).await
    });
    let hold = scene.engine.hold().await;
    // The view carries the text as it is, in its own fields; windows and terminals escape it when they show it.
    assert_eq!(hold.count, 4);
    assert_eq!(hold.objects.len(), 4);
    assert!(hold.agent_reason.as_deref().unwrap_or_default().chars().count() <= 200);
    assert!(!hold.verb.contains("Approved") && !hold.why.contains("Approved"), "{hold:#?}");
    for text in [&hold.verb, &hold.keep, &hold.why, &hold.undo_text, &hold.agent_name] {
        assert!(
            !text.chars().any(|c| c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')),
            "{text:?}"
        );
    }
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn attack_31_an_agents_name_cannot_carry_tricks() {
    let scene = Scene::new(1, "organize").await;
    for name in ["Clau\u{202e}de", "a\nb", "zero\u{200b}width", &"x".repeat(81), ""] {
        let params =
            latch_ipc::contract::AgentConnectParams { id: "odd".to_owned(), name: name.to_owned(), program: None };
        let connected = scene.engine.client.call(latch_ipc::contract::AgentConnect, params).await;
        assert!(connected.is_err(), "{name:?} was taken");
    }
    for id in ["../x", "a/b", "", "a b", &"x".repeat(65), "oauth2", ".well-known"] {
        let params = latch_ipc::contract::AccountAddParams {
            address: None,
            check: false,
            id: id.to_owned(),
            provider: "gmail".to_owned(),
            upstream: latch_ipc::contract::UpstreamParams {
                base_url: Some(scene.gmail.url.clone()),
                ..Default::default()
            },
            credential: latch_ipc::contract::CredentialParams::Bearer { token: latch_ipc::Secret::new("x".to_owned()) },
        };
        assert!(scene.engine.client.call(latch_ipc::contract::AccountAdd, params).await.is_err(), "{id:?} was taken");
    }
}

#[tokio::test]
async fn attack_32_three_denials_in_a_row_pause_the_agent() {
    let scene = Scene::new(12, "ask-everything").await;
    let agent = scene.agent().await;
    for ids in [["m0001"], ["m0002"], ["m0003"]] {
        let asked = trash(&agent, &ids);
        scene.engine.deny(&scene.engine.hold().await).await;
        asked.await.unwrap().expect(403);
    }
    let paused = trash(&agent, &["m0004"]).await.unwrap();
    assert_eq!(paused.status, 429, "{}", paused.text());
    assert!(!paused.header("retry-after").is_empty());
    scene.engine.no_holds().await;
    // What needs nobody's consent still works.
    agent.get(&gmail("messages")).await.expect(200);
}

#[tokio::test]
async fn attack_02_a_notification_decides_only_what_is_small_and_reversible() {
    let scene = Scene::new(30, "ask-everything").await;
    let agent = scene.agent().await;
    let by_notification = |hold: &latch_ipc::view::HoldView| latch_ipc::contract::HoldDecideParams {
        by: Some("notification".to_owned()),
        ..decision(hold, Verdict::Allow)
    };
    let ids: Vec<String> = (1..=21).map(|n| format!("m{n:04}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let many = trash(&agent, &ids);
    let hold = scene.engine.hold().await;
    assert!(scene.engine.decide(by_notification(&hold)).await.is_err(), "21 mails by a click on a notification");
    scene.engine.deny(&hold).await;
    many.await.unwrap().expect(403);
    let agent_again = agent.clone();
    let destroy = tokio::spawn(async move { agent_again.delete(&gmail("messages/m0001")).await });
    let hold = scene.engine.hold().await;
    assert!(scene.engine.decide(by_notification(&hold)).await.is_err(), "deleted by a click on a notification");
    scene.engine.allow(&hold).await;
    destroy.await.unwrap().expect(204);
    let few = trash(&agent, &["m0002", "m0003"]);
    let hold = scene.engine.hold().await;
    scene.engine.decide(by_notification(&hold)).await.unwrap();
    few.await.unwrap().expect(204);
    let records =
        scene.engine.call(latch_ipc::contract::JournalTail, latch_ipc::contract::JournalTailParams::default()).await;
    let by_it = records.iter().filter(|record| record.text.contains("by notification"));
    assert_eq!(by_it.count(), 1, "{records:#?}");
    let before = scene.gmail.labels().await;
    assert!(before["m0002"].contains(&"TRASH".to_owned()));
    crate::undo::undo_all(&scene).await;
    assert!(
        !scene.gmail.labels().await["m0002"].contains(&"TRASH".to_owned()),
        "what a notification allowed can be undone"
    );
}
