//! The one-click stop.

use std::time::{Duration, Instant};

use latch_ipc::contract::{AccountAdd, Empty, Hello, HelloCall, PanicCall, Resume, ResumeParams, StatusCall};
use latch_tests::engine::Start;
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Agent, Scene};
use serde_json::{Value, json};

use crate::gmail;
use crate::holds::trash;

#[tokio::test]
async fn with_64_busy_connections_nothing_leaves_after_panic_returned() {
    // 32 agents read endless answers, 32 ask one thing after the other.
    let upstream = Upstream::start(|seen| {
        if seen.target.contains("attachments") {
            Reply::text(200, "application/octet-stream", &"x".repeat(200_000))
                .in_chunks_of(100)
                .after(Duration::from_millis(20))
        } else {
            Reply::json(200, &json!({ "messages": [] })).after(Duration::from_millis(5))
        }
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", "organize").await;
    let token = issue(&engine, "claw").await;
    let base = format!("{}/mail", engine.door());
    let mut busy = Vec::new();
    for n in 0..64 {
        let agent = Agent::new(&base, &token);
        busy.push(tokio::spawn(async move {
            if n % 2 == 0 {
                return agent.get(&gmail(&format!("messages/m{n}/attachments/a"))).await.status;
            }
            loop {
                let status = agent.get(&gmail("messages")).await.status;
                if status != 200 {
                    return status;
                }
            }
        }));
    }
    let streaming = || upstream.asked().iter().filter(|line| line.contains("attachments")).count();
    let wait = async {
        while streaming() < 32 || upstream.asked().len() < 200 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), wait).await.expect("all of them are busy");
    let before = Instant::now();
    let panicked = engine.call(PanicCall, Empty {}).await;
    let took = before.elapsed();
    // What was sent before may still be on its way from the kernel to the recorder's thread.
    let returned = Instant::now() + Duration::from_millis(50);
    assert!(panicked.cut.connections >= 64, "{panicked:?}");
    assert!(panicked.cut.tokens >= 1, "{panicked:?}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    for (n, task) in busy.into_iter().enumerate() {
        let status = tokio::time::timeout(Duration::from_secs(5), task).await.expect("the agent is cut off").unwrap();
        assert!(matches!(status, 0 | 401 | 403), "agent {n} got {status}");
    }
    let agent = Agent::new(&base, &token);
    for _ in 0..10 {
        assert!(matches!(agent.get(&gmail("messages")).await.status, 0 | 401 | 403));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let late: Vec<_> = upstream.seen().into_iter().filter(|seen| seen.at > returned).collect();
    assert!(late.is_empty(), "{} requests arrived after panic had returned: {late:?}", late.len());
    println!("panic took {took:?} and cut {:?}", panicked.cut);
}

#[tokio::test]
async fn calls_that_wait_for_a_sign_in_ask_for_none_after_panic() {
    let upstream = Upstream::start(|seen| {
        if seen.target == "/token" {
            let token = json!({ "access_token": "at-1", "token_type": "Bearer", "expires_in": 3600 });
            return Reply::json(200, &token).after(Duration::from_secs(2));
        }
        Reply::json(200, &json!({}))
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    engine.call(AccountAdd, crate::upstreams::signed_in(&upstream.url)).await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    let asking: Vec<_> = (0..8)
        .map(|n| {
            let agent = agent.clone();
            tokio::spawn(async move { agent.get(&gmail(&format!("messages?q={n}"))).await.status })
        })
        .collect();
    let wait = async {
        while upstream.asked().is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), wait).await.expect("a token is asked for");
    engine.call(PanicCall, Empty {}).await;
    for task in asking {
        let status = tokio::time::timeout(Duration::from_secs(20), task).await.expect("it is cut off").unwrap();
        assert!(matches!(status, 0 | 403), "{status}");
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(upstream.asked(), ["POST /token"], "what was asked for before panic, and nothing after it");
}

#[tokio::test]
async fn panic_denies_what_waits_and_survives_a_restart() {
    let mut scene = Scene::lasting(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &["m0001", "m0002", "m0003", "m0004"]);
    scene.engine.hold().await;
    let panicked = scene.engine.call(PanicCall, Empty {}).await;
    assert_eq!(panicked.cut.holds, 1);
    assert_ne!(asked.await.unwrap().status, 204);
    assert!(scene.engine.call(StatusCall, Empty {}).await.panicked);
    // Again does no harm.
    scene.engine.call(PanicCall, Empty {}).await;
    scene.crash().await;
    assert!(scene.engine.welcome.panicked);
    let refused = scene.engine.client.call(
        latch_ipc::contract::TokenIssue,
        latch_ipc::contract::TokenIssueParams { agent: Some("claw".to_owned()), ..Default::default() },
    );
    assert!(refused.await.is_err(), "no tokens while panicked");
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn resume_is_per_agent_and_read_only_first() {
    let scene = Scene::new(6, "organize").await;
    let old = scene.agent().await;
    scene.engine.call(PanicCall, Empty {}).await;
    scene.engine.call(Resume, ResumeParams { agent: Some("claw".to_owned()), preset: None }).await;
    let welcome = scene.engine.call(HelloCall, Hello { protocol: latch_ipc::PROTOCOL }).await;
    assert!(!welcome.panicked);
    // The token from before stays dead.
    old.get(&gmail("messages")).await.expect(401);
    let agent = scene.agent().await;
    agent.get(&gmail("messages")).await.expect(200);
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(403);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene
        .engine
        .call(Resume, ResumeParams { agent: Some("claw".to_owned()), preset: Some("organize".to_owned()) })
        .await;
    let agent = scene.agent().await;
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
}
