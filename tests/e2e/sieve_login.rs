//! How the engine logs in where mail filters are changed: TLS of both kinds, tokens instead of passwords.

use std::sync::atomic::{AtomicUsize, Ordering};

use latch_ipc::Secret;
use latch_ipc::contract::{AccountAdd, AccountAddParams, CredentialParams, MailTls, Verdict};
use latch_tests::dovecot::{Dovecot, PASSWORD, USER};
use latch_tests::engine::{Start, decision};
use latch_tests::filters::{Client, account, put};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use serde_json::json;

#[tokio::test]
async fn a_server_without_tls_hears_no_password() {
    let dovecot = Dovecot::with_filters(false).await;
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).in_memory().sieve().start().await;
    for tls in [MailTls::StartTls, MailTls::Implicit] {
        let mut params = account(&dovecot, tls, PASSWORD);
        params.check = false;
        params.id = format!("{tls:?}").to_lowercase();
        let id = params.id.clone();
        engine.call(AccountAdd, params).await;
        connect(&engine, &format!("agent-{id}"), &id, "read-only").await;
        let token = issue(&engine, &format!("agent-{id}")).await;
        let door = engine.welcome.doors.sieve.clone().expect("a door");
        let mut client = Client::connect(&door).await;
        client.login(&id, &token).await;
        let said = client.no("LISTSCRIPTS").await;
        assert!(said.starts_with("NO (TRYLATER)"), "{tls:?}: {said}");
    }
    assert_eq!(dovecot.filter_logins(), 0);
    assert!(!dovecot.log().contains("auth failed"), "{}", dovecot.log());
}

#[tokio::test]
async fn tls_of_both_kinds_is_spoken_with_a_server_that_proves_its_name() {
    let dovecot = Dovecot::with_filters(true).await;
    let cases = [
        (MailTls::StartTls, false, 0),
        (MailTls::Implicit, false, 0),
        (MailTls::StartTls, true, 1),
        (MailTls::Implicit, true, 2),
    ];
    for (tls, trusted, logins) in cases {
        let home = tempfile::tempdir().expect("a temporary folder");
        let mut start = Start::at(home.path()).in_memory().sieve();
        if trusted {
            start = start.env("SSL_CERT_FILE", &crate::imap_tls::trust(&dovecot, home.path()).to_string_lossy());
        }
        let engine = start.start().await;
        let mut params = account(&dovecot, tls, PASSWORD);
        params.check = false;
        engine.call(AccountAdd, params).await;
        connect(&engine, AGENT, ACCOUNT, "read-only").await;
        let token = issue(&engine, AGENT).await;
        let door = engine.welcome.doors.sieve.clone().expect("a door");
        let mut client = Client::connect(&door).await;
        client.login(ACCOUNT, &token).await;
        let said = client.command("LISTSCRIPTS").await;
        assert_eq!(said.contains("OK"), trusted, "{tls:?}: {said}");
        assert_eq!(dovecot.filter_logins(), logins, "{tls:?}: {}", dovecot.log());
    }
    let log = dovecot.log();
    let mut logins = log.lines().filter(|line| line.contains("managesieve-login: Info: Login"));
    assert!(logins.all(|line| line.contains(", TLS")), "{log}");
}

/// Asks for tokens at `/token`, and tells whose they are at `/introspect`: as good are those that were handed out.
fn sign_in() -> Upstream {
    let handed_out = AtomicUsize::new(0);
    Upstream::start(move |seen| {
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        if seen.target == "/token" {
            assert!(form.contains("refresh_token=rt-canary-51d0"), "{form}");
            let number = handed_out.fetch_add(1, Ordering::SeqCst) + 1;
            let token = format!("at-canary-51d0-{number}");
            return Reply::json(200, &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 3600 }));
        }
        let good = handed_out.load(Ordering::SeqCst) > 0 && form.contains("token=at-canary-51d0-");
        Reply::json(200, &json!({ "active": good, "username": USER }))
    })
}

#[tokio::test]
async fn a_token_opens_the_filters_where_a_password_would() {
    let provider = sign_in();
    let dovecot = Dovecot::with_sign_in(&format!("{}/introspect", provider.url)).await;
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).in_memory().imap().sieve().start().await;
    let mut params = account(&dovecot, MailTls::None, PASSWORD);
    for server in params.upstream.imap.iter_mut().chain(&mut params.upstream.sieve) {
        server.username = Some(USER.to_owned());
    }
    params.check = true;
    // Nobody handed this one out: the server explains why before it refuses (RFC 7628), and is heard to the end.
    params.credential = CredentialParams::Bearer { token: Secret::new("stolen-canary-51d0".to_owned()) };
    let untried = AccountAddParams { check: false, id: "stolen".to_owned(), ..params.clone() };
    engine.call(AccountAdd, untried).await;
    let refused = engine.client.call(AccountAdd, params.clone()).await.expect_err("it is not good");
    assert!(refused.to_string().contains("does not accept this token"), "{refused}");
    params.credential = CredentialParams::OAuth2 {
        client_id: "latch".to_owned(),
        client_secret: None,
        refresh_token: Secret::new("rt-canary-51d0".to_owned()),
        token_endpoint: format!("{}/token", provider.url),
    };
    engine.call(AccountAdd, params).await;
    for (id, good) in [("stolen", false), (ACCOUNT, true)] {
        let agent = format!("agent-{id}");
        connect(&engine, &agent, id, "ask-everything").await;
        let token = issue(&engine, &agent).await;
        let mut client = Client::connect(&engine.welcome.doors.sieve.clone().expect("a door")).await;
        client.login(id, &token).await;
        let said = client.command("LISTSCRIPTS").await;
        assert_eq!(said.contains("OK"), good, "{id}: {said}\n{}", dovecot.log());
        for canary in ["at-canary-51d0", "rt-canary-51d0", "stolen-canary-51d0"] {
            assert!(!String::from_utf8_lossy(&client.heard).contains(canary), "{said}");
        }
        if good {
            client.send(&put("main", "keep;\r\n")).await;
            let mut allow = decision(&engine.hold().await, Verdict::Allow);
            allow.retyped_count = Some(1);
            engine.decide(allow).await.expect("allowed");
            assert!(client.reply().await.starts_with("OK "));
            assert_eq!(dovecot.script("main").as_deref(), Some("keep;\r\n"));
        }
    }
    assert!(dovecot.log().contains("method=OAUTHBEARER"), "{}", dovecot.log());
}
