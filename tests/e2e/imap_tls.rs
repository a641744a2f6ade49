//! The mail server behind TLS, of both kinds: whoever can't prove who it is hears nothing of the credential.

use std::path::Path;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use latch_ipc::contract::{AccountAdd, AccountAddParams, CredentialParams, MailServerParams, MailTls, UpstreamParams};
use latch_tests::dovecot::{Dovecot, PASSWORD, USER};
use latch_tests::engine::{Engine, Start};
use latch_tests::mail::{Client, Said};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use tempfile::TempDir;

/// An engine in front of a mail server, and what its agent heard when it logged in.
struct Behind {
    client: Client,
    said: Said,
    engine: Engine,
    _home: TempDir,
}

impl Behind {
    async fn new(host: &str, port: u16, tls: MailTls, trusted: Option<&Path>) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let start = Start::at(home.path()).in_memory().imap();
        let engine = match trusted {
            Some(path) => start.env("SSL_CERT_FILE", &path.to_string_lossy()).start().await,
            None => start.start().await,
        };
        let server = MailServerParams { host: host.to_owned(), port: Some(port), tls, username: None };
        let params = AccountAddParams {
            address: None,
            check: false,
            id: ACCOUNT.to_owned(),
            provider: "imap".to_owned(),
            upstream: UpstreamParams { imap: Some(server), ..UpstreamParams::default() },
            credential: CredentialParams::Password {
                username: USER.to_owned(),
                password: latch_ipc::Secret::new(PASSWORD.to_owned()),
            },
        };
        engine.call(AccountAdd, params).await;
        connect(&engine, AGENT, ACCOUNT, "organize").await;
        let token = issue(&engine, AGENT).await;
        let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
        let said = client.command(&format!("LOGIN {ACCOUNT} {token}")).await;
        Self { client, said, engine, _home: home }
    }
}

/// The server's certificate as a file that can be trusted.
pub(crate) fn trust(dovecot: &Dovecot, folder: &Path) -> std::path::PathBuf {
    let text = BASE64_STANDARD.encode(dovecot.certificate.as_ref().expect("a certificate"));
    let lines: Vec<String> =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()).collect();
    let path = folder.join("trusted.pem");
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"));
    std::fs::write(&path, pem).expect("written");
    path
}

#[tokio::test]
async fn a_mail_server_is_reached_through_tls_of_both_kinds() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let dovecot = Dovecot::with_tls(3).await;
    let trusted = trust(&dovecot, folder.path());
    for (port, tls) in [(dovecot.tls_port, MailTls::Implicit), (dovecot.port, MailTls::StartTls)] {
        let mut behind = Behind::new("localhost", port, tls, Some(&trusted)).await;
        assert!(behind.said.end.starts_with("OK [CAPABILITY"), "{tls:?}: {:?}", behind.said);
        let client = &mut behind.client;
        client.ok("SELECT INBOX").await;
        let fetched = client.ok("UID FETCH 2 BODY[]").await;
        assert!(fetched.untagged[0].contains("Mail number 2"), "{fetched:?}");
        // A change goes over a connection of its own.
        client.ok("UID STORE 2 +FLAGS (\\Answered)").await;
        assert!(dovecot.messages("INBOX").iter().any(|one| one.flags.contains('R')), "{tls:?}");
        client.ok("UID STORE 2 -FLAGS (\\Answered)").await;
        behind.engine.no_holds().await;
    }
    let log = dovecot.log();
    let logins: Vec<&str> = log.lines().filter(|line| line.contains("Login: user=")).collect();
    assert!(logins.len() >= 4 && logins.iter().all(|line| line.contains(", TLS")), "{log}");
}

#[tokio::test]
async fn who_can_not_prove_who_it_is_hears_nothing_of_the_credential() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, plain) = tokio::join!(Dovecot::with_tls(1), Dovecot::start(1));
    let trusted = trust(&dovecot, folder.path());
    let refused = [
        // Nobody vouches for its certificate.
        ("localhost", dovecot.tls_port, MailTls::Implicit, None, "could not prove its identity"),
        ("localhost", dovecot.port, MailTls::StartTls, None, "could not prove its identity"),
        // The certificate is for another name.
        ("127.0.0.1", dovecot.tls_port, MailTls::Implicit, Some(&trusted), "could not prove its identity"),
        ("127.0.0.1", dovecot.port, MailTls::StartTls, Some(&trusted), "could not prove its identity"),
        // It has no TLS, or begins without.
        ("localhost", plain.port, MailTls::StartTls, Some(&trusted), "does not start TLS"),
        ("localhost", plain.port, MailTls::Implicit, Some(&trusted), "could not prove its identity"),
    ];
    for (host, port, tls, roots, why) in refused {
        let behind = Behind::new(host, port, tls, roots.map(|path| path.as_path())).await;
        let end = &behind.said.end;
        assert!(end.starts_with("NO [UNAVAILABLE] ") && end.contains(why), "{host} {tls:?}: {end}");
        assert!(!end.contains(PASSWORD), "{end}");
    }
    for server in [&dovecot, &plain] {
        let log = server.log();
        assert!(!log.contains(&format!("user=<{USER}>")) && !log.contains("auth failed"), "{log}");
    }
}
