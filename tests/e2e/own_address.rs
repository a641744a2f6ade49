//! An account whose user name is not the person's mail address.

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AccountList, CredentialParams, Empty, MailServerParams, MailTls, SettingsSet,
    UpstreamParams,
};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::view::HoldView;
use latch_tests::engine::{Engine, Start};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use latch_tests::sink::{Client, PASSWORD, Sink, mail};
use serde_json::json;

use crate::smtp::{BOB, first_times};

const LOGIN: &str = "u123";
const ALICE: &str = "alice@example.org";

fn mailbox(port: u16, address: Option<&str>) -> AccountAddParams {
    let server =
        |port| MailServerParams { host: "127.0.0.1".to_owned(), port: Some(port), tls: MailTls::None, username: None };
    AccountAddParams {
        id: ACCOUNT.to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams { imap: Some(server(9)), smtp: Some(server(port)), ..UpstreamParams::default() },
        address: address.map(str::to_owned),
        credential: CredentialParams::Password {
            username: LOGIN.to_owned(),
            password: Secret::new(PASSWORD.to_owned()),
        },
        check: false,
    }
}

async fn question(engine: &Engine, from: &str, other: &str) -> (HoldView, Client) {
    let token = issue(engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.smtp.as_deref().expect("a submission door")).await;
    client.login(&token).await;
    client.hand_in(from, &[BOB, other], &mail(BOB, from)).await;
    (engine.hold().await, client)
}

fn others(hold: &HoldView) -> Option<&str> {
    hold.facts.iter().find(|fact| fact.label == "Other domains").map(|fact| fact.value.as_str())
}

fn bounces(hold: &HoldView) -> Vec<&str> {
    let members = hold.audience.iter().flat_map(|audience| &audience.members);
    members.filter(|member| member.role == "bounces").map(|member| member.address.as_str()).collect()
}

#[tokio::test]
async fn the_persons_own_address_is_no_stranger_where_the_login_is_none() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let sink = Sink::with(json!({ "user": LOGIN })).await;
    let mut engine = Start::at(home.path()).smtp().start().await;
    for bad in ["alice", "alice@", "a b@example.org", "alice@example.org\r\nRCPT"] {
        let refused = engine.client.call(AccountAdd, mailbox(sink.port, Some(bad))).await.expect_err(bad);
        assert!(refused.is(ErrorCode::InvalidParams), "{bad}: {refused}");
    }
    engine.call(AccountAdd, mailbox(sink.port, Some("alice@Example.ORG"))).await;
    connect(&engine, AGENT, ACCOUNT, "assistant").await;
    engine.call(SettingsSet, json!({ "outbox_seconds": 0 })).await;
    // Also after a restart: it is kept.
    let pid = rustix::process::Pid::from_raw(engine.pid() as i32).expect("a process");
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    engine.ended().await;
    let engine = Start::at(home.path()).smtp().start().await;
    assert_eq!(engine.call(AccountList, Empty {}).await[0].address.as_deref(), Some(ALICE));
    let (hold, mut client) = question(&engine, ALICE, "dora@example.org").await;
    assert_eq!(first_times(&hold), [BOB, "dora@example.org"]);
    assert_eq!((bounces(&hold).len(), others(&hold)), (0, Some("friends.example")));
    engine.allow(&hold).await;
    assert!(client.reply().await.starts_with("250 "));
    assert_eq!(sink.arrived(1).await[0].login.as_deref(), Some(LOGIN));
    // Whoever lets bounces go elsewhere hides neither that nor where the mail goes.
    for (from, seen) in [("eve@friends.example", vec!["eve@friends.example"]), ("", vec![])] {
        let (hold, mut client) = question(&engine, from, "new@friends.example").await;
        assert_eq!((bounces(&hold), others(&hold)), (seen, Some("friends.example")), "{from}");
        engine.deny(&hold).await;
        assert!(client.reply().await.starts_with("550 "));
    }
}

#[tokio::test]
async fn as_long_as_nobody_said_it_the_own_address_is_asked_about() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let sink = Sink::with(json!({ "user": LOGIN })).await;
    let engine = Start::at(home.path()).in_memory().smtp().start().await;
    engine.call(AccountAdd, mailbox(sink.port, None)).await;
    assert_eq!(engine.call(AccountList, Empty {}).await[0].address, None);
    connect(&engine, AGENT, ACCOUNT, "assistant").await;
    let (hold, mut client) = question(&engine, ALICE, "dora@example.org").await;
    assert_eq!((bounces(&hold), others(&hold)), (vec![ALICE], Some("friends.example")));
    engine.deny(&hold).await;
    assert!(client.reply().await.starts_with("550 "));
}
