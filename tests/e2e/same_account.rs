//! What is under way for one account never becomes another's, also where both have one name.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use latch_ipc::contract::{AccountAdd, AccountAddParams, AccountRemove, CredentialParams, Id, UpstreamParams};
use latch_ipc::rpc::ErrorCode;
use latch_tests::Agent;
use latch_tests::engine::{Engine, Start};
use latch_tests::ports::free_port;
use latch_tests::scene::{connect, grant, issue};
use latch_tests::upstream::{Reply, Upstream};
use serde_json::json;

use crate::classes::wait_until;

const ID: &str = "mail";

/// A provider that hands out a new refresh token each time, slowly, and lets in whoever has an access token.
fn provider(name: &'static str) -> Upstream {
    let count = AtomicUsize::new(1);
    Upstream::start(move |seen| {
        if seen.target != "/token" {
            return Reply::json(200, &json!({}));
        }
        let next = count.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = json!({ "access_token": format!("at-{name}-{next}"), "token_type": "Bearer", "expires_in": 3600,
                             "refresh_token": format!("rt-{name}-{next}") });
        Reply::json(200, &answer).after(Duration::from_secs(1))
    })
}

fn signed_in(id: &str, name: &str, provider: &Upstream, check: bool) -> AccountAddParams {
    AccountAddParams {
        address: None,
        check,
        id: id.to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(provider.url.clone()), ..UpstreamParams::default() },
        credential: CredentialParams::OAuth2 {
            client_id: "client".to_owned(),
            client_secret: None,
            refresh_token: latch_ipc::Secret::new(format!("rt-{name}-1")),
            token_endpoint: format!("{}/token", provider.url),
        },
    }
}

/// Every refresh token that was shown there, in order.
fn shown(provider: &Upstream) -> Vec<String> {
    let forms = provider.seen().into_iter().filter(|seen| seen.target == "/token");
    let token = |form: &str| form.split('&').find_map(|pair| pair.strip_prefix("refresh_token=").map(str::to_owned));
    forms.filter_map(|seen| token(&String::from_utf8_lossy(&seen.body))).collect()
}

fn is_asked(provider: &Upstream) -> bool {
    provider.seen().iter().any(|seen| seen.target == "/token")
}

/// What was stored is what counts from here on.
async fn started_again(mut engine: Engine, home: &Path) -> Engine {
    let pid = rustix::process::Pid::from_raw(engine.pid() as i32).expect("a process");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    engine.ended().await;
    Start::at(home).start().await
}

async fn agent(engine: &Engine) -> Agent {
    Agent::new(&format!("{}/{ID}", engine.door()), &issue(engine, "claw").await)
}

#[tokio::test]
async fn of_two_that_are_added_at_once_under_one_name_one_is_added_with_its_own_token() {
    let (first, second) = (provider("first"), provider("second"));
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).start().await;
    let (one, other) = tokio::join!(engine.client.call(AccountAdd, signed_in(ID, "first", &first, true)), async {
        wait_until(|| async { is_asked(&first) }).await;
        engine.client.call(AccountAdd, signed_in(ID, "second", &second, false)).await
    });
    let engine = started_again(engine, home.path()).await;
    connect(&engine, "claw", ID, "read-only").await;
    assert_eq!(agent(&engine).await.get("/gmail/v1/users/me/labels").await.status, 200);
    assert!(!shown(&second).iter().any(|token| token.contains("first")), "{:?}", shown(&second));
    one.expect("the first is added");
    assert!(other.expect_err("the name is taken").is(ErrorCode::Conflict));
    assert_eq!(shown(&first), ["rt-first-1", "rt-first-2"]);
}

#[tokio::test]
async fn a_token_that_comes_late_is_not_kept_for_the_account_that_has_the_name_by_now() {
    let (old, new) = (provider("old"), provider("new"));
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).start().await;
    engine.call(AccountAdd, signed_in(ID, "old", &old, false)).await;
    connect(&engine, "claw", ID, "read-only").await;
    let agent_of_old = agent(&engine).await;
    tokio::join!(agent_of_old.get("/gmail/v1/users/me/labels"), async {
        wait_until(|| async { is_asked(&old) }).await;
        engine.call(AccountRemove, Id { id: ID.to_owned() }).await;
        engine.call(AccountAdd, signed_in(ID, "new", &new, false)).await;
    });
    let engine = started_again(engine, home.path()).await;
    grant(&engine, "claw", ID, "read-only").await;
    assert_eq!(agent(&engine).await.get("/gmail/v1/users/me/labels").await.status, 200);
    assert_eq!(shown(&new), ["rt-new-1"]);
}

#[tokio::test]
async fn one_sign_in_that_is_tried_twice_at_once_shows_each_refresh_token_once() {
    let provider = provider("only");
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).in_memory().start().await;
    // Nobody listens at its API: the login fails after the provider replaced the token.
    let gone = free_port();
    let nowhere = |id: &str| {
        let mut params = signed_in(id, "only", &provider, true);
        params.upstream.base_url = Some(format!("http://127.0.0.1:{gone}"));
        params
    };
    let (one, other) =
        tokio::join!(engine.client.call(AccountAdd, nowhere("one")), engine.client.call(AccountAdd, nowhere("other")));
    assert!(one.is_err() && other.is_err());
    let tokens = shown(&provider);
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), tokens.len(), "{tokens:?}");
    assert_eq!(tokens.len(), 2);
}
