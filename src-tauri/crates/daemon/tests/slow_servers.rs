//! Servers that say a byte now and then, for ever: nobody waits for them for ever. And those that are slower than whoever asks is patient.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use latch_core::call::Call;
use latch_core::classify::imap::deed::command;
use latch_core::classify::sieve::reading;
use latch_core::guard::{Guard, Lifetimes, Loaded};
use latch_core::lease::{Epoch, Lease};
use latch_core::pdp::Pdp;
use latch_daemon::net::Connections;
use latch_daemon::upstream::oauth::RefreshError;
use latch_daemon::upstream::{AccountTarget, Fault, Hooks, Options, SignIn, Upstream, UpstreamError};
use latch_daemon::vault::Credential;
use latch_ipc::Secret;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const ID: &str = "mail";
const SILENCE: Duration = Duration::from_millis(200);

/// Says the first at once and one more for each line that it hears; from then on it drips.
async fn dripping(script: &'static [&'static str], drips: &'static [u8]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (socket, _) = listener.accept().await.unwrap();
        let mut stream = BufReader::new(socket);
        let mut line = Vec::new();
        for (turn, said) in script.iter().enumerate() {
            if turn > 0 {
                stream.read_until(b'\n', &mut line).await.unwrap();
            }
            stream.write_all(said.as_bytes()).await.unwrap();
        }
        stream.read_until(b'\n', &mut line).await.unwrap();
        for byte in drips.iter().cycle() {
            if stream.write_all(&[*byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    port
}

struct Rig {
    guard: Arc<Mutex<Guard>>,
    upstream: Upstream,
    kept: Kept,
}

impl Hooks for Minting {
    fn mint_refresh<'a>(&'a self, account: &'a str, call: &'a Call, epoch: Epoch) -> BoxFuture<'a, Option<Lease>> {
        Box::pin(async move { self.0.lock().unwrap().lease_refresh(account, call, epoch).ok() })
    }

    fn rotated<'a>(&'a self, _: &'a str, _: &'a SignIn, refresh_token: Secret) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.1.lock().unwrap().push(refresh_token.expose().to_owned()) })
    }
}

/// Mints, and remembers new refresh tokens.
struct Minting(Arc<Mutex<Guard>>, Kept);

type Kept = Arc<Mutex<Vec<String>>>;

impl Rig {
    /// Not patient at all.
    fn new() -> Self {
        Self::with(Options { silence: SILENCE, ..Options::default() })
    }

    fn with(options: Options) -> Self {
        let guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
        let upstream = Upstream::with(Connections::new(), guard.gate().clone(), options);
        let guard = Arc::new(Mutex::new(guard));
        let kept = Kept::default();
        upstream.hook(Arc::new(Minting(Arc::clone(&guard), Arc::clone(&kept))));
        Self { guard, upstream, kept }
    }

    fn lease(&self, call: &Call) -> Lease {
        let guard = self.guard.lock().unwrap();
        let epoch = guard.gate().current();
        guard.lease_refresh(ID, call, epoch).unwrap()
    }
}

fn account(url: &str) -> AccountTarget {
    let credential = Credential::Password { username: "erin".to_owned(), password: Secret::new("canary".to_owned()) };
    AccountTarget::new(ID, url, Arc::new(credential)).unwrap()
}

fn signed_in(port: u16) -> AccountTarget {
    let credential = Credential::OAuth2 {
        client_id: "client".to_owned(),
        client_secret: None,
        refresh_token: Secret::new("rt-canary-1".to_owned()),
        token_endpoint: format!("http://127.0.0.1:{port}/token"),
    };
    AccountTarget::new(ID, "http://127.0.0.1:1", Arc::new(credential)).unwrap()
}

async fn soon<T: std::fmt::Debug>(work: impl Future<Output = Result<T, UpstreamError>>) -> Fault {
    let error = tokio::time::timeout(SILENCE * 10, work).await.expect("it ends").unwrap_err();
    assert!(!error.sent, "{error:?}");
    error.fault
}

#[tokio::test]
async fn a_login_to_a_mail_server_ends() {
    const HELLO: &[&str] = &["* OK hello\r\n"];
    const CAN: &[&str] = &["* OK hello\r\n", "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN\r\nc OK\r\n"];
    for (script, drips) in [(HELLO, &b"* X y\r\n"[..]), (CAN, b"* X y\r\n"), (CAN, b"x")] {
        let port = dripping(script, drips).await;
        let (rig, account) = (Rig::new(), account(&format!("imap://erin@127.0.0.1:{port}")));
        let call = command("NOOP", None, &[]).unwrap();
        let fault = soon(rig.upstream.mail_capabilities(rig.lease(&call), &account, &call)).await;
        assert!(matches!(fault, Fault::Timeout { .. }), "{fault}");
    }
}

#[tokio::test]
async fn a_login_to_a_submission_server_ends() {
    for (script, drips) in [
        (&["220 hello\r\n"][..], &b"250-x\r\n"[..]),
        (&["220 hello\r\n", "250-x\r\n250 AUTH PLAIN\r\n"][..], b"235-x\r\n"),
        (&["220 hello\r\n", "250-x\r\n250 AUTH PLAIN\r\n"][..], b"2"),
    ] {
        let port = dripping(script, drips).await;
        let account = account("imap://erin@127.0.0.1:1");
        let account = account.with_submission(&format!("smtp://erin@127.0.0.1:{port}")).unwrap();
        let (rig, call) = (Rig::new(), command("NOOP", None, &[]).unwrap());
        let fault = soon(rig.upstream.submission_check(rig.lease(&call), &account, &call)).await;
        assert!(matches!(fault, Fault::Timeout { .. } | Fault::Malformed { .. }), "{fault}");
    }
}

#[tokio::test]
async fn a_login_to_a_server_of_mail_filters_ends() {
    let port = dripping(&["\"SASL\" \"PLAIN\"\r\nOK\r\n"], b"\"").await;
    let account = account("imap://erin@127.0.0.1:1");
    let account = account.with_filters(&format!("sieve://erin@127.0.0.1:{port}")).unwrap();
    let (rig, call) = (Rig::new(), reading("CAPABILITY", "", Vec::new(), Bytes::new()).unwrap());
    let fault = soon(rig.upstream.sieve(rig.lease(&call), &account, &call)).await;
    assert!(matches!(fault, Fault::Timeout { .. }), "{fault}");
}

#[tokio::test]
async fn a_refresh_of_a_token_ends() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n";
    let script: &'static [&'static str] = Box::leak(Box::new([head]));
    for port in [dripping(script, b" ").await, dripping(&["HTTP/1.1 200 OK\r\n"], b"x-a: b\r\n").await] {
        let account = signed_in(port);
        let (rig, call) = (Rig::new(), Call::get("/x".to_owned()));
        let fault = soon(rig.upstream.fetch(rig.lease(&call), &account, call, 1024)).await;
        assert!(matches!(fault, Fault::Refresh(RefreshError::Unreachable(_))), "{fault}");
    }
}

#[tokio::test]
async fn a_refresh_token_that_comes_after_whoever_asked_has_left_is_kept() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let account = signed_in(listener.local_addr().unwrap().port());
    let (rig, call) = (Rig::with(Options::default()), Call::get("/x".to_owned()));
    let asking = rig.upstream.fetch(rig.lease(&call), &account, call, 1024);
    let (left, accepted) = tokio::join!(tokio::time::timeout(SILENCE, asking), listener.accept());
    assert!(left.is_err(), "it left");
    let mut stream = accepted.unwrap().0;
    assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    let body = r#"{"access_token":"at-canary-2","token_type":"Bearer","refresh_token":"rt-canary-2"}"#;
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
    tokio::time::timeout(SILENCE * 10, account.settled()).await.unwrap();
    assert_eq!(*rig.kept.lock().unwrap(), ["rt-canary-2"]);
    assert_eq!(account.refresh_token().unwrap().expose(), "rt-canary-2");
}
