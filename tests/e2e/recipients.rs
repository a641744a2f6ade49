//! Who is known: by the person's own sent mail, and never by what an agent wrote.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latch_ipc::contract::{
    AccountRemove, Empty, HoldDecideParams, HoldList, Id, OutboxList, Resume, ResumeParams, SettingsSet, UndoList,
    UndoListParams, UndoRun, UndoRunParams, Verdict,
};
use latch_ipc::view::HoldView;
use latch_tests::engine::decision;
use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Agent, Answer, Scene};
use serde_json::json;
use tokio::task::JoinHandle;

use crate::gmail;

const BOB: &str = "bob@friends.example";

fn raw(to: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("From: me@example.com\r\nTo: {to}\r\nSubject: Hello\r\n\r\nA text for {to}."))
}

fn send(agent: &Agent, to: &str) -> JoinHandle<Answer> {
    let (agent, body) = (agent.clone(), json!({ "raw": raw(to) }));
    tokio::spawn(async move { agent.post(&gmail("messages/send"), &body).await })
}

/// The person's other client sends a mail, past the guard.
async fn person_wrote(scene: &Scene, to: &str) -> String {
    let sent = scene.gmail.direct().post(&gmail("messages/send"), &json!({ "raw": raw(to) })).await.expect(200).json();
    sent["id"].as_str().unwrap().to_owned()
}

async fn scene() -> Scene {
    let scene = Scene::new(2, "assistant").await;
    scene.engine.call(SettingsSet, json!({ "outbox_seconds": 3600 })).await;
    scene
}

/// Whether a mail to these goes out unasked.
async fn goes(scene: &Scene, agent: &Agent, to: &str) -> bool {
    let before = scene.engine.call(OutboxList, Empty {}).await.len();
    let asked = send(agent, to);
    let hold = async {
        loop {
            if let Some(hold) = scene.engine.call(HoldList, Empty {}).await.into_iter().next() {
                return hold;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let mut asked = asked;
    tokio::select! {
        answer = &mut asked => {
            answer.unwrap().expect(200);
            assert_eq!(scene.engine.call(OutboxList, Empty {}).await.len(), before + 1);
            true
        }
        hold = hold => {
            scene.engine.deny(&hold).await;
            asked.await.unwrap().expect(403);
            // Three denials in a row would pause the agent.
            let preset = Some("assistant".to_owned());
            scene.engine.call(Resume, ResumeParams { agent: Some("claw".to_owned()), preset }).await;
            false
        }
    }
}

#[tokio::test]
async fn whom_the_person_wrote_to_before_is_known() {
    let scene = scene().await;
    person_wrote(&scene, "Bob B <Bob@Friends.example>, carol@friends.example").await;
    let agent = scene.agent().await;
    assert!(goes(&scene, &agent, BOB).await, "known: unasked, into the outbox");
    assert!(!goes(&scene, &agent, "stranger@friends.example").await);
    assert!(!goes(&scene, &agent, &format!("{BOB}, stranger@friends.example")).await, "all of them must be");
    assert!(!goes(&scene, &agent, "bob@friends.example.evil.example").await);
    assert!(!goes(&scene, &agent, "ob@friends.example").await, "a part of an address is another address");
}

#[tokio::test]
async fn the_dialog_marks_exactly_the_first_times() {
    let scene = scene().await;
    person_wrote(&scene, BOB).await;
    let agent = scene.agent().await;
    let asked = send(&agent, &format!("{BOB}, stranger@x.example"));
    let hold = scene.engine.hold().await;
    let first = |hold: &HoldView| -> Vec<String> {
        let members = hold.audience.as_ref().unwrap().members.iter();
        members.filter(|member| member.first_time).map(|member| member.address.clone()).collect()
    };
    assert_eq!(first(&hold), ["stranger@x.example"]);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn what_an_agent_wrote_or_appended_makes_nobody_known() {
    let scene = scene().await;
    let agent = scene.agent().await;
    for (path, body) in [
        ("messages", json!({ "raw": raw("inserted@evil.example"), "labelIds": ["SENT"] })),
        ("messages/import", json!({ "raw": raw("imported@evil.example"), "labelIds": ["SENT"] })),
        ("messages", json!({ "raw": raw("labelled@evil.example"), "labelIds": ["INBOX"] })),
        ("drafts", json!({ "message": { "raw": raw("drafted@evil.example") } })),
    ] {
        let made = agent.post(&gmail(path), &body).await.expect(200).json();
        if path == "messages" {
            let ids = json!({ "ids": [made["id"]], "addLabelIds": ["SENT"] });
            let _ = agent.post(&gmail("messages/batchModify"), &ids).await;
        }
    }
    for who in ["inserted", "imported", "labelled", "drafted"] {
        assert!(!goes(&scene, &agent, &format!("{who}@evil.example")).await, "{who}");
    }
}

/// The same mailbox as two accounts, and as one that was removed and added again.
#[tokio::test]
async fn what_an_agent_wrote_through_another_account_makes_nobody_known() {
    let scene = scene().await;
    let agent = scene.agent().await;
    let sent = |to: &str| json!({ "raw": raw(to), "labelIds": ["SENT"] });
    agent.post(&gmail("messages"), &sent("first@evil.example")).await.expect(200);
    scene.engine.call(AccountRemove, Id { id: "mail".to_owned() }).await;
    for account in ["mail", "twin"] {
        latch_tests::scene::add_account(&scene.engine, account, &scene.gmail.url, &scene.gmail.token).await;
        latch_tests::scene::grant(&scene.engine, "claw", account, "assistant").await;
    }
    let token = latch_tests::scene::issue(&scene.engine, "claw").await;
    let twin = Agent::new(&format!("{}/twin", scene.engine.door()), &token);
    twin.post(&gmail("messages"), &sent("second@evil.example")).await.expect(200);
    let agent = scene.agent().await;
    for who in ["first", "second"] {
        assert!(!goes(&scene, &agent, &format!("{who}@evil.example")).await, "{who}");
    }
}

#[tokio::test]
async fn what_an_agent_wrote_is_its_own_when_an_undo_brings_it_back() {
    let scene = scene().await;
    let agent = scene.agent().await;
    let body = json!({ "raw": raw("back@evil.example"), "labelIds": ["SENT"] });
    let made = agent.post(&gmail("messages"), &body).await.expect(200).json();
    let path = gmail(&format!("messages/{}", made["id"].as_str().unwrap()));
    let deleting = tokio::spawn({
        let agent = agent.clone();
        async move { agent.delete(&path).await }
    });
    let hold = scene.engine.hold().await;
    let params = HoldDecideParams { forever: Some(true), retyped_count: Some(1), ..decision(&hold, Verdict::Allow) };
    scene.engine.decide(params).await.unwrap();
    deleting.await.unwrap().expect(204);
    let entry = scene.engine.call(UndoList, UndoListParams::default()).await.remove(0).entry;
    let undone = scene.engine.call(UndoRun, UndoRunParams::Entry { entry }).await;
    assert_eq!(undone.restored, 1);
    assert!(!goes(&scene, &agent, "back@evil.example").await);
}

#[tokio::test]
async fn what_an_agent_wrote_is_remembered_across_a_restart() {
    let mut scene = Scene::lasting(2, "assistant").await;
    let agent = scene.agent().await;
    let body = json!({ "raw": raw("inserted@evil.example"), "labelIds": ["SENT"] });
    agent.post(&gmail("messages"), &body).await.expect(200);
    scene.crash().await;
    let agent = scene.agent().await;
    assert!(!goes(&scene, &agent, "inserted@evil.example").await);
}

#[tokio::test]
async fn an_insert_whose_outcome_is_unknown_makes_nobody_known() {
    let mut scene = Scene::lasting(2, "assistant").await;
    scene.restart_as(latch_tests::engine::Start::at(scene.home.path()).failing("before-outcome")).await;
    let agent = scene.agent().await;
    let body = json!({ "raw": raw("inserted@evil.example"), "labelIds": ["SENT"] });
    assert_eq!(agent.post(&gmail("messages"), &body).await.status, 0, "it died");
    scene.crash().await;
    let agent = scene.agent().await;
    assert!(scene.gmail.asked().await.iter().any(|line| line.starts_with("POST") && line.contains("messages")));
    assert!(!goes(&scene, &agent, "inserted@evil.example").await);
}

#[tokio::test]
async fn a_search_that_fails_or_lies_makes_nobody_known() {
    let answers: [fn(&str) -> Reply; 5] = [
        |_| Reply::json(500, &json!({})),
        |_| Reply::text(200, "text/plain", "not json"),
        |_| Reply::json(200, &json!({ "messages": "m1" })),
        |target| match target.contains("q=") {
            true => Reply::json(200, &json!({ "messages": [{ "id": "m1" }] })),
            false => Reply::json(404, &json!({})),
        },
        |target| match target.contains("q=") {
            true => Reply::json(200, &json!({ "messages": [{ "id": "m1" }] })),
            false => Reply::json(
                200,
                &json!({ "id": "m1", "labelIds": ["INBOX"], "payload": { "headers": [{ "name": "To", "value": BOB }] } }),
            ),
        },
    ];
    for (number, answer) in answers.into_iter().enumerate() {
        let upstream = Upstream::start(move |seen| answer(&seen.target));
        let home = tempfile::tempdir().unwrap();
        let engine = latch_tests::engine::Start::at(home.path()).in_memory().start().await;
        latch_tests::scene::add_account(&engine, "mail", &upstream.url, "token").await;
        latch_tests::scene::connect(&engine, "claw", "mail", "assistant").await;
        let token = latch_tests::scene::issue(&engine, "claw").await;
        let agent = Agent::new(&format!("{}/mail", engine.door()), &token);
        let asked = send(&agent, BOB);
        let hold = engine.hold().await;
        assert!(hold.audience.as_ref().unwrap().members[0].first_time, "answer {number}");
        assert!(upstream.asked().iter().all(|line| line.starts_with("GET ")), "{:?}", upstream.asked());
        engine.deny(&hold).await;
        let answer = asked.await.unwrap().expect(403);
        let text = answer.text();
        assert!(!text.contains("500") && !text.contains("m1"), "the agent learns nothing of it: {text}");
    }
}

#[tokio::test]
async fn an_address_is_never_a_search() {
    let scene = scene().await;
    person_wrote(&scene, BOB).await;
    let agent = scene.agent().await;
    let quoted = "\"x OR to:bob\"@friends.example";
    assert!(!goes(&scene, &agent, quoted).await);
    let searched: Vec<String> = scene.gmail.asked().await.into_iter().filter(|line| line.contains("q=to")).collect();
    assert!(searched.iter().all(|line| !line.contains("OR") && !line.contains("%20")), "{searched:?}");
}

#[tokio::test]
async fn a_panic_ends_the_look_up_too() {
    let upstream = Upstream::start(|_| Reply::json(200, &json!({})).after(std::time::Duration::from_secs(30)));
    let home = tempfile::tempdir().unwrap();
    let engine = latch_tests::engine::Start::at(home.path()).in_memory().start().await;
    latch_tests::scene::add_account(&engine, "mail", &upstream.url, "token").await;
    latch_tests::scene::connect(&engine, "claw", "mail", "assistant").await;
    let token = latch_tests::scene::issue(&engine, "claw").await;
    let asked = send(&Agent::new(&format!("{}/mail", engine.door()), &token), BOB);
    while upstream.asked().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    engine.call(latch_ipc::contract::PanicCall, Empty {}).await;
    let answer = asked.await.unwrap();
    assert!(matches!(answer.status, 0 | 403), "{}", answer.text());
    assert!(engine.call(HoldList, Empty {}).await.is_empty());
}
