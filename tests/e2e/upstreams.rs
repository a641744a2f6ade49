//! An upstream that is down, slow or odd: passed on truthfully, never read as a denial.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latch_ipc::Secret;
use latch_ipc::contract::{AccountAdd, AccountAddParams, CredentialParams, UpstreamParams};
use latch_tests::engine::{Engine, Start};
use latch_tests::ports::free_port;
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Seen, Upstream};
use latch_tests::{Agent, canary::Canaries};
use serde_json::{Value, json};

use crate::gmail;

/// An engine in front of an upstream that answers like this.
pub(crate) async fn house(
    answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
) -> (Upstream, Engine, Agent, tempfile::TempDir) {
    let upstream = Upstream::start(answer);
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    add_account(&engine, "mail", &upstream.url, CREDENTIAL).await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    (upstream, engine, agent, home)
}

/// An account with an OAuth sign-in whose token endpoint is `/token` of the same upstream.
pub(crate) fn signed_in(url: &str) -> AccountAddParams {
    AccountAddParams {
        address: None,
        check: false,
        id: "mail".to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(url.to_owned()), ..UpstreamParams::default() },
        credential: CredentialParams::OAuth2 {
            client_id: "client".to_owned(),
            client_secret: Some(Secret::new("client-secret-canary-77".to_owned())),
            refresh_token: Secret::new("refresh-canary-88".to_owned()),
            token_endpoint: format!("{url}/token"),
        },
    }
}

pub(crate) const CREDENTIAL: &str = "ya29.A0canary-credential-4f1c9e77";

#[tokio::test]
async fn its_errors_are_passed_on_as_they_are() {
    let (upstream, _engine, agent, _home) = house(|seen| {
        let status = seen.target.rsplit("q=").next().and_then(|status| status.parse().ok()).unwrap_or(200);
        Reply::json(status, &json!({ "error": { "code": status, "message": "theirs" } })).header("retry-after", "17")
    })
    .await;
    for status in [400_u16, 401, 403, 404, 409, 412, 429, 500, 502, 503] {
        let answer = agent.get(&gmail(&format!("messages?q={status}"))).await.expect(status);
        assert_eq!(answer.json()["error"]["message"], "theirs");
        assert_eq!(answer.header("retry-after"), "17");
    }
    assert!(upstream.seen().iter().all(|seen| seen.header("authorization") == format!("Bearer {CREDENTIAL}")));
}

#[tokio::test]
async fn down_is_said_as_down() {
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    let gone = free_port();
    add_account(&engine, "mail", &format!("http://127.0.0.1:{gone}"), CREDENTIAL).await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    for answer in [agent.get(&gmail("messages")).await, agent.post(&gmail("messages/m1/trash"), &Value::Null).await] {
        assert!(matches!(answer.status, 502 | 503), "{}", answer.text());
        let text = answer.text();
        assert!(!text.contains(CREDENTIAL) && text.contains("not a denial"), "{text}");
    }
}

#[tokio::test]
async fn a_slow_upstream_does_not_hold_up_others() {
    let (_upstream, _engine, agent, _home) = house(|seen| {
        let pause = if seen.target.contains("slow") { Duration::from_secs(3) } else { Duration::ZERO };
        Reply::json(200, &json!({})).after(pause)
    })
    .await;
    let slow: Vec<_> = (0..20)
        .map(|_| {
            let agent = agent.clone();
            tokio::spawn(async move { agent.get(&gmail("messages?q=slow")).await.status })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = std::time::Instant::now();
    agent.get(&gmail("messages?q=quick")).await.expect(200);
    assert!(before.elapsed() < Duration::from_secs(2), "{:?}", before.elapsed());
    for asked in slow {
        assert_eq!(asked.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn a_401_refreshes_once() {
    let refreshed = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&refreshed);
    let upstream = Upstream::start(move |seen| {
        if seen.target == "/token" {
            let n = count.fetch_add(1, Ordering::SeqCst) + 1;
            return Reply::json(
                200,
                &json!({ "access_token": format!("fresh-{n}"), "token_type": "Bearer", "expires_in": 3600 }),
            );
        }
        let good = seen.header("authorization") == "Bearer fresh-2"
            || (seen.target.contains("first") && seen.header("authorization") == "Bearer fresh-1");
        if good { Reply::json(200, &json!({})) } else { Reply::json(401, &json!({ "error": { "code": 401 } })) }
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    engine.call(AccountAdd, signed_in(&upstream.url)).await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    agent.get(&gmail("messages?q=first")).await.expect(200);
    assert_eq!(refreshed.load(Ordering::SeqCst), 1);
    agent.get(&gmail("messages?q=second")).await.expect(200);
    assert_eq!(refreshed.load(Ordering::SeqCst), 2);
    let body = upstream.seen().iter().find(|seen| seen.target == "/token").unwrap().body.clone();
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(body.contains("grant_type=refresh_token") && body.contains("refresh_token=refresh-canary-88"), "{body}");
    // The refresh token goes nowhere else.
    let canaries = Canaries::of(["refresh-canary-88", "client-secret-canary-77"].map(str::to_owned));
    for seen in upstream.seen().iter().filter(|seen| seen.target != "/token") {
        canaries.assert_absent("a request", format!("{seen:?}").as_bytes());
    }
    canaries.assert_absent("the log", engine.log().as_bytes());
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_is_not_repeated() {
    let upstream = Upstream::start(|seen| {
        if seen.method == "POST" {
            // Announces more than it sends, then closes.
            Reply::text(200, "application/json", "{")
                .header("content-length", "1000")
                .in_chunks_of(1)
                .after(Duration::from_millis(1))
        } else {
            Reply::json(200, &json!({ "id": "m1", "labelIds": ["INBOX"], "payload": { "headers": [] } }))
        }
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    add_account(&engine, "mail", &upstream.url, CREDENTIAL).await;
    connect(&engine, "claw", "mail", "organize").await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    let answer = agent.post(&gmail("messages/m1/trash"), &Value::Null).await;
    assert!(answer.status >= 500, "{} {}", answer.status, answer.text());
    assert!(answer.text().to_lowercase().contains("unknown"), "{}", answer.text());
    assert_eq!(upstream.asked().iter().filter(|line| line.starts_with("POST")).count(), 1);
}
