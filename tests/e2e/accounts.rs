//! Accounts from their address: servers found, the login tried before anything is kept, a mail program connected with a token.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use latch_daemon::runtime::{Engine as Inside, OnEof, Options, Origin, OwnerKind, Runtime};
use latch_daemon::vault::VaultKind;
use latch_ipc::Secret;
use latch_ipc::client::CallError;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, AccountList, CredentialParams, Empty, JournalTail, JournalTailParams,
    MailServerParams, MailTls, PanicCall, StatusCall, UpstreamParams,
};
use latch_ipc::discovery::{DiscoveredView, FoundBy, PasswordKind};
use latch_ipc::rpc::{ErrorCode, RpcError};
use latch_tests::canary::Canaries;
use latch_tests::dovecot::{Dovecot, PASSWORD, USER};
use latch_tests::engine::{Engine, PASSPHRASE, Start};
use latch_tests::mail::Client;
use latch_tests::names::NameServer;
use latch_tests::paths;
use latch_tests::ports::free_port;
use latch_tests::scene::{AGENT, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Emulator, Mail};
use serde_json::json;
use tokio::process::Command;

fn mailbox(host: &str, port: u16, tls: MailTls, password: &str) -> AccountAddParams {
    AccountAddParams {
        address: None,
        id: "erin".to_owned(),
        provider: "imap".to_owned(),
        upstream: UpstreamParams {
            imap: Some(MailServerParams { host: host.to_owned(), port: Some(port), tls, username: None }),
            ..UpstreamParams::default()
        },
        credential: CredentialParams::Password {
            username: USER.to_owned(),
            password: Secret::new(password.to_owned()),
        },
        check: true,
    }
}

fn refused(result: Result<latch_ipc::contract::Id, CallError>) -> RpcError {
    match result {
        Err(CallError::Refused(error)) => error,
        other => panic!("not refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_good_password_is_kept_and_a_wrong_one_is_not() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(2), Start::at(home.path()).in_memory().start());
    let port = dovecot.port;
    let wrong = engine.client.call(AccountAdd, mailbox("127.0.0.1", port, MailTls::None, "canary-wrong-1")).await;
    let error = refused(wrong);
    assert_eq!(
        (error.code, &error.data.as_ref().expect("data")["kind"]),
        (ErrorCode::Upstream as i32, &json!("sign_in"))
    );
    assert!(error.message.contains("so nothing was saved"), "{}", error.message);
    assert!(!error.message.contains("canary-wrong-1"), "{}", error.message);
    assert!(engine.call(AccountList, Empty {}).await.is_empty());
    engine.call(AccountAdd, mailbox("127.0.0.1", port, MailTls::None, PASSWORD)).await;
    assert_eq!(engine.call(AccountList, Empty {}).await.len(), 1);
    let params = JournalTailParams { limit: Some(20), ..JournalTailParams::default() };
    let texts: Vec<String> = engine.call(JournalTail, params).await.into_iter().map(|record| record.text).collect();
    assert_eq!(texts.iter().filter(|text| *text == "trying the login of a new account").count(), 2, "{texts:?}");
    assert!(texts.iter().any(|text| text == "it works"), "{texts:?}");
    assert_eq!(texts.iter().filter(|text| text.contains("account added")).count(), 1, "{texts:?}");
}

#[tokio::test]
async fn who_can_not_be_asked_or_is_not_who_it_should_be_gets_no_password_and_nothing_is_kept() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::with_tls(1), Start::at(home.path()).in_memory().start());
    let gone = free_port();
    for (port, tls, said) in [
        (gone, MailTls::None, "can't be reached"),
        (dovecot.tls_port, MailTls::Implicit, "could not prove its identity"),
        (dovecot.port, MailTls::StartTls, "could not prove its identity"),
    ] {
        let host = if tls == MailTls::None { "127.0.0.1" } else { "localhost" };
        let error = refused(engine.client.call(AccountAdd, mailbox(host, port, tls, PASSWORD)).await);
        assert!(error.message.contains(said) && error.message.contains("nothing was saved"), "{}", error.message);
        assert_eq!(error.data.expect("data")["kind"], "unreachable");
    }
    assert!(!dovecot.log().contains("Login"), "{}", dovecot.log());
    assert!(engine.call(AccountList, Empty {}).await.is_empty());
    let untried = AccountAddParams { check: false, ..mailbox("127.0.0.1", gone, MailTls::None, PASSWORD) };
    engine.call(AccountAdd, untried).await;
    assert_eq!(engine.call(AccountList, Empty {}).await.len(), 1);
}

#[tokio::test]
async fn nothing_is_tried_while_everything_is_stopped() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(1), Start::at(home.path()).in_memory().start());
    engine.call(PanicCall, Empty {}).await;
    let params = mailbox("127.0.0.1", dovecot.port, MailTls::None, PASSWORD);
    let error = refused(engine.client.call(AccountAdd, params).await);
    assert_eq!(error.code, ErrorCode::Panicked as i32, "{error:?}");
    let found = engine.client.call_raw("account.discover", json!({ "address": "erin@example.org" })).await;
    assert!(found.expect_err("it is stopped").is(ErrorCode::Panicked));
    assert!(!dovecot.log().contains("Login"), "{}", dovecot.log());
}

#[tokio::test]
async fn a_token_for_an_api_is_tried_with_a_cheap_read() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).in_memory().start().await;
    let gmail = Upstream::start(|seen| {
        let good = seen.headers.get("authorization").is_some_and(|value| value == "Bearer good-token");
        Reply::text(if good { 200 } else { 401 }, "application/json", "{}")
    });
    let params = |token: &str| AccountAddParams {
        address: None,
        id: "gmail".to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(gmail.url.clone()), ..UpstreamParams::default() },
        credential: CredentialParams::Bearer { token: Secret::new(token.to_owned()) },
        check: true,
    };
    let error = refused(engine.client.call(AccountAdd, params("bad-token")).await);
    assert!(error.message.contains("does not accept this token, so nothing was saved"), "{}", error.message);
    engine.call(AccountAdd, params("good-token")).await;
    assert_eq!(gmail.asked(), ["GET /gmail/v1/users/me/labels"; 2]);
}

/// A provider that hands out a new refresh token each time and knows only the newest, and whose API opens when it is told to.
fn rotating(opens: Arc<AtomicBool>) -> Upstream {
    let newest = AtomicUsize::new(1);
    Upstream::start(move |seen| {
        let count = newest.load(Ordering::SeqCst);
        if seen.target != "/token" {
            let good =
                seen.header("authorization") == format!("Bearer at-canary-{count}") && opens.load(Ordering::SeqCst);
            return Reply::json(if good { 200 } else { 401 }, &json!({}));
        }
        let form = String::from_utf8_lossy(&seen.body).into_owned();
        if !form.contains(&format!("refresh_token=rt-canary-{count}&")) {
            return Reply::json(400, &json!({ "error": "invalid_grant" }));
        }
        let next = newest.fetch_add(1, Ordering::SeqCst) + 1;
        let answer = json!({ "access_token": format!("at-canary-{next}"), "token_type": "Bearer", "expires_in": 3600,
                             "refresh_token": format!("rt-canary-{next}") });
        Reply::json(200, &answer)
    })
}

#[tokio::test]
async fn a_login_that_fails_does_not_lose_the_token_that_its_provider_handed_out_instead() {
    let opens = Arc::new(AtomicBool::new(false));
    let provider = rotating(Arc::clone(&opens));
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).start().await;
    let params = |endpoint: &str| AccountAddParams {
        address: None,
        id: "gmail".to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(provider.url.clone()), ..UpstreamParams::default() },
        credential: CredentialParams::OAuth2 {
            client_id: "latch".to_owned(),
            client_secret: None,
            refresh_token: Secret::new("rt-canary-1".to_owned()),
            token_endpoint: format!("{}{endpoint}", provider.url),
        },
        check: true,
    };
    for _ in 0..2 {
        let error = refused(engine.client.call(AccountAdd, params("/token")).await);
        assert!(error.message.contains("try again with the one that you have"), "{}", error.message);
        assert!(!error.message.contains("canary"), "{}", error.message);
        assert!(engine.call(AccountList, Empty {}).await.is_empty());
    }
    // It goes nowhere but where the first one was for.
    let error = refused(engine.client.call(AccountAdd, params("/elsewhere")).await);
    assert!(!error.message.contains("try again with the one that you have"), "{}", error.message);
    let strays = provider.seen().into_iter().filter(|seen| seen.target == "/elsewhere");
    let forms: Vec<String> = strays.map(|seen| String::from_utf8_lossy(&seen.body).into_owned()).collect();
    assert!(!forms.is_empty() && forms.iter().all(|form| form.contains("rt-canary-1&")), "{forms:?}");
    opens.store(true, Ordering::SeqCst);
    engine.call(AccountAdd, params("/token")).await;
    assert_eq!(engine.call(AccountList, Empty {}).await.len(), 1);
    let canaries = Canaries::of((1..9).map(|n| format!("rt-canary-{n}")));
    assert!(canaries.assert_absent_below(home.path()) > 0);
    canaries.assert_absent("the log", engine.log().as_bytes());
}

/// An engine in this process, which asks the test's name server and trusts the test's certificate.
async fn inside(names: &NameServer, dovecot: &Dovecot, home: &std::path::Path) -> (Arc<Runtime>, Inside) {
    let options = Options {
        home: Some(home.to_owned()),
        http: None,
        imap: None,
        smtp: None,
        sieve: None,
        optional: false,
        nameserver: Some(names.address),
        roots: dovecot.certificate.iter().cloned().collect(),
        vault: VaultKind::Memory,
        owner: OwnerKind::Nobody,
        on_eof: OnEof::Exit,
        started_by: Vec::new(),
        warnings: Vec::new(),
    };
    let engine = Inside::start(options).await.expect("it starts");
    (Arc::clone(engine.runtime()), engine)
}

async fn discover(runtime: &Arc<Runtime>, address: &str) -> DiscoveredView {
    let found = runtime.call("account.discover", json!({ "address": address }), Origin::Owner).await;
    serde_json::from_value(found.expect("an answer")).expect("a view")
}

#[tokio::test]
async fn a_domains_own_words_lead_to_its_servers_and_strangers_are_marked() {
    let dovecot = Dovecot::with_tls(1).await;
    let (tls, plain) = (dovecot.tls_port, dovecot.port);
    let gone = free_port();
    let zone = format!(
        "$ORIGIN example.org.\n$TTL 60\n\
         _imaps._tcp IN SRV 0 1 {gone} localhost.\n\
         _imaps._tcp IN SRV 10 1 {tls} localhost.\n\
         _submission._tcp IN SRV 0 1 {plain} localhost.\n\
         _sieve._tcp IN SRV 0 1 {plain} localhost.\n\
         _caldavs._tcp IN SRV 0 1 443 dav.example.org.\n\
         _imap._tcp.starttls.example.org. IN SRV 0 1 {plain} localhost.\n\
         _imaps._tcp.nomail.example.org. IN SRV 0 0 0 .\n\
         _imaps._tcp.broken.example.org. IN SRV 0 1 {gone} localhost.\n\
         hosted.example.org. IN MX 10 in1-smtp.messagingengine.com.\n\
         hosted.example.org. IN MX 20 in2-smtp.messagingengine.com.\n\
         self.example.org. IN MX 10 mail.self.example.org.\n"
    );
    let names = NameServer::start(&zone).await;
    let home = tempfile::tempdir().expect("a temporary folder");
    let (runtime, _engine) = inside(&names, &dovecot, home.path()).await;

    let found = discover(&runtime, "erin@example.org").await;
    let imap = found.imap.expect("a server");
    assert_eq!(
        (imap.host.as_str(), imap.port, imap.tls, imap.by),
        ("localhost", tls, MailTls::Implicit, FoundBy::Domain)
    );
    assert!(imap.outside && imap.problem.is_none(), "the second one answers, and is not under the domain: {imap:?}");
    let smtp = found.smtp.expect("a server");
    assert_eq!((smtp.port, smtp.tls, smtp.problem), (plain, MailTls::StartTls, None));
    let sieve = found.sieve.expect("a server");
    assert_eq!((sieve.host.as_str(), sieve.outside), ("localhost", true));
    assert_eq!(found.caldav.as_deref(), Some("https://dav.example.org"));
    assert_eq!((found.id.as_str(), found.username.as_str()), ("erin", "erin@example.org"));

    let found = discover(&runtime, "erin@starttls.example.org").await;
    let imap = found.imap.expect("a server");
    assert_eq!((imap.port, imap.tls, imap.problem), (plain, MailTls::StartTls, None));

    let found = discover(&runtime, "erin@nomail.example.org").await;
    assert!(found.imap.is_none() && found.notes[0].contains("no server for reading mail"), "{:?}", found.notes);

    let found = discover(&runtime, "erin@broken.example.org").await;
    assert!(found.imap.expect("it is shown").problem.expect("and why not").contains("can't be reached"));

    let found = discover(&runtime, "erin@hosted.example.org").await;
    let imap = found.imap.expect("a server");
    assert_eq!((imap.host.as_str(), imap.by, imap.outside), ("imap.fastmail.com", FoundBy::Exchanger, true));
    assert_eq!((found.name.as_deref(), found.password), (Some("Fastmail"), PasswordKind::App));
    assert!(found.help.is_some_and(|help| help.contains("app password")));

    let found = discover(&runtime, "erin@self.example.org").await;
    assert!(found.imap.is_none() && found.notes[0].contains("no usual name answered"), "{:?}", found.notes);

    let found = discover(&runtime, "erin@fastmail.com").await;
    assert!(!found.imap.expect("a server").outside);

    // What was found is what works: over TLS, with the certificate proven.
    let add = serde_json::to_value(mailbox("localhost", tls, MailTls::Implicit, PASSWORD)).expect("JSON");
    runtime.call("account.add", add, Origin::Owner).await.expect("it is added");
}

#[tokio::test]
async fn name_servers_that_are_silent_are_said_to_be() {
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let dovecot = Dovecot::start(1).await;
    let mut names = NameServer::start("").await;
    names.address = silent.local_addr().expect("a port");
    let home = tempfile::tempdir().expect("a temporary folder");
    let (runtime, _engine) = inside(&names, &dovecot, home.path()).await;
    let found = discover(&runtime, "erin@example.org").await;
    assert!(found.imap.is_none() && found.notes[0].contains("no name server answered"), "{:?}", found.notes);
    let known = discover(&runtime, "erin@gmail.com").await;
    assert!(known.imap.is_some(), "what is shipped needs no name server");
}

async fn at_a_terminal(lines: serde_json::Value, arguments: &[&str]) -> String {
    let mut command = Command::new(paths::python());
    command.arg(paths::support("typist.py")).arg(lines.to_string()).arg(paths::latch()).args(arguments);
    command.env_remove("LATCHSTRING_HOME").env_remove("DBUS_SESSION_BUS_ADDRESS").kill_on_drop(true);
    let output = tokio::time::timeout(std::time::Duration::from_secs(90), command.output());
    let output = output.await.expect("it ends").expect("python starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[tokio::test]
async fn a_person_adds_a_mailbox_at_a_terminal_and_a_mail_program_reads_it_with_a_token() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let dovecot = Dovecot::start(3).await;
    let server = format!("127.0.0.1:{}", dovecot.port);
    let folder = home.path().to_str().expect("UTF-8");
    let arguments = [
        "account",
        "add",
        "erin@example.org",
        "--home",
        folder,
        "--vault",
        "passphrase",
        "--id",
        "erin",
        "--imap",
        &server,
        "--tls",
        "none",
        "--user",
        USER,
    ];
    let lines = json!([
        ["Passphrase (not shown)", PASSPHRASE],
        ["Password of erin at 127.0.0.1", "canary-wrong-2"],
        ["Password of erin at 127.0.0.1", PASSWORD],
    ]);
    let shown = at_a_terminal(lines, &arguments).await;
    assert!(shown.contains("does not accept this user name and password, so nothing was saved"), "{shown}");
    assert!(shown.contains("Added erin.") && shown.contains("[exit 0, 0 not asked]"), "{shown}");
    for secret in [PASSWORD, PASSPHRASE, "canary-wrong-2"] {
        assert!(!shown.contains(secret), "{shown}");
    }
    let engine: Engine = Start::at(home.path()).imap().start().await;
    connect(&engine, AGENT, "erin", "read-only").await;
    let token = issue(&engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
    client.ok(&format!("LOGIN erin {token}")).await;
    assert!(client.ok("EXAMINE INBOX").await.untagged.contains(&"* 3 EXISTS".to_owned()));
}

#[tokio::test]
async fn beside_a_running_engine_an_account_is_not_added_from_elsewhere() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let _engine = Start::at(home.path()).in_memory().start().await;
    let folder = home.path().to_str().expect("UTF-8");
    let shown = at_a_terminal(json!([]), &["account", "add", "erin@gmail.com", "--home", folder]).await;
    assert!(shown.contains("A credential is typed only where you decide") && shown.contains("[exit 3"), "{shown}");
}

#[tokio::test]
async fn a_taken_port_closes_the_mail_door_only_where_the_door_is_optional() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("a port").to_string();
    let with_door = |home| Start::at(home).in_memory().arg("--imap").arg(&address);
    let refused = with_door(home.path()).command().output().await.expect("it ends");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("the IMAP door can't listen"), "{refused:?}");
    let engine = with_door(home.path()).arg("--optional-doors").start().await;
    let status = engine.call(StatusCall, Empty {}).await;
    assert!(status.doors.imap.is_none() && status.doors.http.is_some(), "{:?}", status.doors);
    assert!(status.warnings.iter().any(|warning| warning.contains("There is no IMAP door")), "{:?}", status.warnings);
}

#[tokio::test]
async fn what_is_read_to_try_a_token_is_there_in_an_api_of_others_making() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mails = Mail::box_of(2);
    let (gmail, engine) = tokio::join!(Emulator::start(&mails), Start::at(home.path()).in_memory().start());
    let params = AccountAddParams {
        address: None,
        id: "gmail".to_owned(),
        provider: "gmail".to_owned(),
        upstream: UpstreamParams { base_url: Some(gmail.url.clone()), ..UpstreamParams::default() },
        credential: CredentialParams::Bearer { token: Secret::new(gmail.token.clone()) },
        check: true,
    };
    engine.call(AccountAdd, params).await;
    assert_eq!(gmail.asked().await, ["GET /gmail/v1/users/me/labels"]);
}
