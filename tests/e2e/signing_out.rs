//! Ending an account's access at its provider, and how far that came.

use std::sync::atomic::{AtomicUsize, Ordering};

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AccountList, AccountSignOut, CredentialParams, Empty, Id, PanicCall, SignOutState,
    UpstreamParams,
};
use latch_tests::engine::{Engine, Start};
use latch_tests::upstream::{Reply, Upstream};
use serde_json::json;

const REFRESH: &str = "refresh-canary-91";

async fn account(engine: &Engine, url: &str, credential: CredentialParams) {
    let upstream = UpstreamParams { base_url: Some(url.to_owned()), ..UpstreamParams::default() };
    let params = AccountAddParams {
        address: None,
        id: "mail".to_owned(),
        provider: "gmail".to_owned(),
        upstream,
        credential,
        check: false,
    };
    engine.call(AccountAdd, params).await;
}

fn signed_in(url: &str) -> CredentialParams {
    CredentialParams::OAuth2 {
        client_id: "client".to_owned(),
        client_secret: None,
        refresh_token: Secret::new(REFRESH.to_owned()),
        token_endpoint: format!("{url}/token"),
    }
}

async fn signed_out(statuses: &'static [u16]) -> (SignOutState, bool, Vec<String>) {
    let asked = AtomicUsize::new(0);
    let provider = Upstream::start(move |_| {
        let status = statuses.get(asked.fetch_add(1, Ordering::SeqCst)).copied().unwrap_or(500);
        Reply::json(status, &json!({}))
    });
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    account(&engine, &provider.url, signed_in(&provider.url)).await;
    engine.call(PanicCall, Empty {}).await;
    let said = engine.call(AccountSignOut, Id { id: "mail".to_owned() }).await;
    assert!(!said.text.contains(REFRESH) && !engine.log().contains(REFRESH));
    for seen in provider.seen() {
        assert!(String::from_utf8_lossy(&seen.body).contains(&format!("token={REFRESH}")), "{seen:?}");
    }
    (said.state, said.done, provider.asked())
}

#[tokio::test]
async fn a_provider_that_no_longer_knows_the_token_has_ended_it() {
    let (state, done, asked) = signed_out(&[200, 400]).await;
    assert_eq!((state, done), (SignOutState::Revoked, true));
    assert_eq!(asked, ["POST /revoke", "POST /revoke"], "beside the sealed token endpoint, also while stopped");
}

#[tokio::test]
async fn a_provider_that_says_yes_to_everything_is_not_believed() {
    let (state, done, _) = signed_out(&[200, 200]).await;
    assert_eq!((state, done), (SignOutState::Accepted, true));
}

#[tokio::test]
async fn a_provider_that_refuses_leaves_it_to_the_person() {
    let (state, done, asked) = signed_out(&[503]).await;
    assert_eq!((state, done, asked.len()), (SignOutState::ByHand, false, 1));
}

#[tokio::test]
async fn a_token_for_another_server_is_not_shown_to_the_provider() {
    let other = Upstream::start(|_| Reply::json(200, &json!({})));
    let home = tempfile::tempdir().unwrap();
    let engine = Start::at(home.path()).in_memory().start().await;
    account(&engine, &other.url, CredentialParams::Bearer { token: Secret::new(REFRESH.to_owned()) }).await;
    let said = engine.call(AccountSignOut, Id { id: "mail".to_owned() }).await;
    assert_eq!((said.state, said.done), (SignOutState::ByHand, false));
    assert_eq!(other.asked(), Vec::<String>::new());
    let accounts = engine.call(AccountList, Empty {}).await;
    assert_eq!(accounts[0].sign_out_page.as_deref(), Some("https://myaccount.google.com/connections"));
}
