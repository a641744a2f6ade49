//! Mails to submission servers over real sockets, against scripted ones that lie, break off, or say too much.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use latch_core::call::Call;
use latch_core::classify::smtp::{Envelope, submission};
use latch_core::guard::{Guard, Lifetimes, Loaded};
use latch_core::pdp::Pdp;
use latch_daemon::net::Connections;
use latch_daemon::upstream::smtp::Submitted;
use latch_daemon::upstream::{AccountTarget, Fault, Options, Upstream, UpstreamError};
use latch_daemon::vault::Credential;
use latch_ipc::Secret;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

const PASSWORD: &str = "canary-password";

/// A server that answers each line as a script says; `None`: it hangs up.
struct Peer {
    port: u16,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    async fn start(greeting: &'static str, answer: impl Fn(&str) -> Option<String> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let heard: Arc<Mutex<Vec<String>>> = Arc::default();
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let mut stream = BufReader::new(socket);
                stream.write_all(greeting.as_bytes()).await.unwrap();
                let (mut in_mail, mut line) = (false, Vec::new());
                while matches!(stream.read_until(b'\n', &mut line).await, Ok(1..)) {
                    let text = String::from_utf8_lossy(&line).trim_end().to_owned();
                    line.clear();
                    all.lock().unwrap().push(text.clone());
                    if in_mail && text != "." {
                        continue;
                    }
                    let Some(said) = answer(&text) else { break };
                    in_mail = text == "DATA" && said.starts_with('3');
                    if stream.write_all(said.as_bytes()).await.is_err() {
                        break;
                    }
                }
            }
        });
        Self { port, heard }
    }

    fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// What a server in order answers.
fn usual(extensions: &'static str) -> impl Fn(&str) -> Option<String> + Send + 'static {
    move |line| {
        let verb = line.split_whitespace().next().unwrap_or_default();
        Some(match verb {
            "EHLO" => format!("250-localhost\r\n{extensions}250 HELP\r\n"),
            "AUTH" => "235 2.7.0 Welcome\r\n".to_owned(),
            "DATA" => "354 Go on\r\n".to_owned(),
            "." => "250 2.0.0 Taken\r\n".to_owned(),
            "QUIT" => return None,
            _ => "250 2.1.0 OK\r\n".to_owned(),
        })
    }
}

fn password() -> Credential {
    Credential::Password { username: "erin".to_owned(), password: Secret::new(PASSWORD.to_owned()) }
}

fn call(mail: &str, change: impl FnOnce(&mut Envelope)) -> Call {
    let recipients = vec!["bob@x.example".to_owned(), "carol@x.example".to_owned()];
    let mut envelope = Envelope { from: "erin@x.example".to_owned(), recipients, ..Envelope::default() };
    change(&mut envelope);
    submission(&envelope, &Bytes::from(mail.to_owned())).call
}

async fn submit_as(peer: &Peer, scheme: &str, credential: Credential, call: &Call) -> Result<Submitted, UpstreamError> {
    let guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
    let upstream = Upstream::with(Connections::new(), guard.gate().clone(), Options::default());
    let account = AccountTarget::new("mail", "imap://erin@127.0.0.1:1", Arc::new(credential)).unwrap();
    let account = account.with_submission(&format!("{scheme}://erin@127.0.0.1:{}", peer.port)).unwrap();
    let lease = guard.lease_refresh("mail", call, guard.gate().current()).unwrap();
    upstream.submit(lease, &account, call).await
}

async fn submit(peer: &Peer, call: &Call) -> Result<Submitted, UpstreamError> {
    submit_as(peer, "smtp", password(), call).await
}

const MAIL: &str = "Subject: x\r\n\r\n.dot\r\nend\r\n";

#[tokio::test]
async fn a_mail_goes_out_written_anew_with_what_the_server_understands() {
    let peer =
        Peer::start("220 localhost\r\n", usual("250-AUTH PLAIN LOGIN\r\n250-SIZE 1000\r\n250-8BITMIME\r\n")).await;
    let said = submit(&peer, &call("Subject: x\r\n\r\n.dot gr\u{fc}n\r\n", |_| {})).await.unwrap();
    assert_eq!(said, Submitted { code: 250, status: "2.0.0".to_owned(), text: "Taken".to_owned() });
    let plain = BASE64_STANDARD.encode(format!("\0erin\0{PASSWORD}"));
    let expected = [
        "EHLO localhost",
        &format!("AUTH PLAIN {plain}"),
        "MAIL FROM:<erin@x.example> SIZE=26 BODY=8BITMIME",
        "RCPT TO:<bob@x.example>",
        "RCPT TO:<carol@x.example>",
        "DATA",
        "Subject: x",
        "",
        "..dot gr\u{fc}n",
        ".",
    ];
    assert_eq!(peer.heard()[..expected.len()], expected);
}

#[tokio::test]
async fn what_the_server_does_not_understand_is_not_sent_to_it() {
    let peer = Peer::start("220 localhost\r\n", usual("250-AUTH PLAIN\r\n250-SIZE 20\r\n")).await;
    for (mail, change, code) in [
        ("Subject: x\r\n\r\ngr\u{fc}n\r\n", None, 554),
        ("Subject: x\r\n\r\na longer text\r\n", None, 552),
        ("Subject: x\r\n\r\n", Some(()), 550),
    ] {
        let said = submit(&peer, &call(mail, |envelope| envelope.utf8 = change.is_some())).await.unwrap();
        assert_eq!(said.code, code, "{said:?}");
        assert!(said.text.ends_with("nothing was sent"), "{said:?}");
    }
    assert!(!peer.heard().iter().any(|line| line.starts_with("MAIL")), "{:?}", peer.heard());
}

#[tokio::test]
async fn starttls_or_nothing() {
    let refused = async |peer: &Peer| {
        let error = submit_as(peer, "smtp+starttls", password(), &call(MAIL, |_| {})).await.unwrap_err();
        assert!(matches!(error.fault, Fault::Tls { .. }) && !error.sent, "{error:?}");
        let heard = peer.heard();
        assert!(heard.iter().all(|line| ["EHLO localhost", "STARTTLS"].contains(&line.as_str())), "{heard:?}");
    };
    // It does not offer it, whatever it would say if asked.
    refused(&Peer::start("220 localhost\r\n", usual("250-AUTH PLAIN\r\n")).await).await;
    // It refuses.
    let answers = usual("250-STARTTLS\r\n250-AUTH PLAIN\r\n");
    let refuses = move |line: &str| if line == "STARTTLS" { Some("454 No\r\n".to_owned()) } else { answers(line) };
    refused(&Peer::start("220 localhost\r\n", refuses).await).await;
    // Somebody in between says what only the server inside TLS may say.
    let answers = usual("250-STARTTLS\r\n250-AUTH PLAIN\r\n");
    let injects = move |line: &str| match line {
        "STARTTLS" => Some("220 Go\r\n250-evil\r\n250 AUTH PLAIN\r\n".to_owned()),
        other => answers(other),
    };
    refused(&Peer::start("220 localhost\r\n", injects).await).await;
}

#[tokio::test]
async fn tokens_are_said_in_the_servers_way_and_a_failure_is_heard_to_its_end() {
    for (offer, mechanism, lead) in [
        ("XOAUTH2", "XOAUTH2", "user=erin\x01"),
        ("XOAUTH2 OAUTHBEARER", "OAUTHBEARER", "n,a=erin,\x01host=127.0.0.1\x01"),
    ] {
        let extension: &'static str =
            if offer == "XOAUTH2" { "250-AUTH XOAUTH2\r\n" } else { "250-AUTH XOAUTH2 OAUTHBEARER\r\n" };
        let answers = usual(extension);
        let refuses = move |line: &str| match line.split_whitespace().next() {
            Some("AUTH") => Some("334 eyJzdGF0dXMiOiI0MDEifQ==\r\n".to_owned()),
            None | Some("AQ==") => Some(format!("535 5.7.8 No, not with {PASSWORD}\r\n")),
            Some(_) => answers(line),
        };
        let peer = Peer::start("220 localhost\r\n", refuses).await;
        let token = Credential::Bearer { token: Secret::new(PASSWORD.to_owned()) };
        let error = submit_as(&peer, "smtp", token, &call(MAIL, |_| {})).await.unwrap_err();
        assert!(matches!(error.fault, Fault::SignIn { .. }) && !error.sent, "{error:?}");
        assert!(!error.to_string().contains(PASSWORD), "{error}");
        let heard = peer.heard();
        let said = heard[1].strip_prefix(&format!("AUTH {mechanism} ")).unwrap();
        let text = String::from_utf8(BASE64_STANDARD.decode(said).unwrap()).unwrap();
        assert!(text.starts_with(lead) && text.ends_with(&format!("auth=Bearer {PASSWORD}\x01\x01")), "{text:?}");
        assert_eq!(heard.len(), 3, "{heard:?}");
    }
}

#[tokio::test]
async fn only_login_where_there_is_nothing_else() {
    let answers = usual("250-AUTH LOGIN\r\n");
    let asks = move |line: &str| match line {
        "AUTH LOGIN" => Some("334 VXNlcm5hbWU6\r\n".to_owned()),
        "ZXJpbg==" => Some("334 UGFzc3dvcmQ6\r\n".to_owned()),
        other if other == BASE64_STANDARD.encode(PASSWORD) => Some("235 Welcome\r\n".to_owned()),
        other => answers(other),
    };
    let peer = Peer::start("220 localhost\r\n", asks).await;
    assert_eq!(submit(&peer, &call(MAIL, |_| {})).await.unwrap().code, 250);
}

#[tokio::test]
async fn whether_it_left_is_told_apart() {
    let breaking = |at: &'static str, said: Option<&'static str>| {
        let answers = usual("250-AUTH PLAIN\r\n");
        move |line: &str| if line.starts_with(at) { said.map(str::to_owned) } else { answers(line) }
    };
    for (at, said, sent) in [
        ("EHLO", None, false),
        ("EHLO", Some("500 What?\r\n"), false),
        ("AUTH", None, false),
        ("MAIL", None, false),
        ("RCPT TO:<carol", None, false),
        ("DATA", None, false),
        ("DATA", Some("garbage\r\n"), false),
        (".", None, true),
        (".", Some("garbage\r\n"), true),
        (".", Some("354 Go on\r\n"), true),
    ] {
        let peer = Peer::start("220 localhost\r\n", breaking(at, said)).await;
        let error = submit(&peer, &call("Subject: x\r\n\r\nend\r\n", |_| {})).await.unwrap_err();
        assert_eq!(error.sent, sent, "{at} {said:?}: {error}");
    }
    for (at, said, code) in [
        ("MAIL", "550 5.7.1 Not you\r\n", 550),
        ("RCPT TO:<carol", "550 5.1.1 Not there\r\n", 550),
        ("DATA", "451 4.3.0 Later\r\n", 451),
        (".", "554-5.7.1 Spam\r\n554 5.7.1 indeed\r\n", 554),
    ] {
        let peer = Peer::start("220 localhost\r\n", breaking(at, Some(said))).await;
        let answer = submit(&peer, &call("Subject: x\r\n\r\nend\r\n", |_| {})).await.unwrap();
        assert_eq!(answer.code, code, "{answer:?}");
        assert_eq!(peer.heard().contains(&"end".to_owned()), at == ".", "{at}: {:?}", peer.heard());
    }
    let peer = Peer::start("554 We are closed\r\n", usual("")).await;
    let error = submit(&peer, &call(MAIL, |_| {})).await.unwrap_err();
    assert!(matches!(error.fault, Fault::Malformed { .. }) && !error.sent, "{error:?}");
    assert!(peer.heard().is_empty());
}

#[tokio::test]
async fn plain_text_needs_no_eight_bit_server_whatever_a_client_says_of_it() {
    let peer = Peer::start("220 localhost\r\n", usual("250-AUTH PLAIN\r\n")).await;
    let said = submit(&peer, &call(MAIL, |envelope| envelope.eight_bit = true)).await.unwrap();
    assert_eq!(said.code, 250, "{said:?}");
    assert!(peer.heard().contains(&"MAIL FROM:<erin@x.example>".to_owned()), "{:?}", peer.heard());
}

#[tokio::test]
async fn only_what_is_about_the_credential_is_called_a_wrong_password() {
    for (said, kind) in [
        ("535 5.7.8 Bad credentials", "sign-in"),
        ("534 5.7.9 Application-specific password required", "sign-in"),
        ("530 5.7.0 Authentication required", "sign-in"),
        ("538 5.7.11 Encryption required", "sign-in"),
        ("454 4.7.0 Temporary authentication failure", "busy"),
        ("421 4.7.0 Too many concurrent connections", "busy"),
        ("432 4.7.12 A password transition is needed", "busy"),
        ("502 5.5.1 Not implemented", "no-login"),
        ("504 5.5.4 Unrecognized authentication type", "no-login"),
        ("554 5.7.0 Go away", "malformed"),
    ] {
        let answers = usual("250-AUTH PLAIN\r\n");
        let refuses =
            move |line: &str| if line.starts_with("AUTH") { Some(format!("{said}\r\n")) } else { answers(line) };
        let peer = Peer::start("220 localhost\r\n", refuses).await;
        let error = submit(&peer, &call(MAIL, |_| {})).await.unwrap_err();
        let found = match &error.fault {
            Fault::SignIn { .. } => "sign-in",
            Fault::Busy { .. } => "busy",
            Fault::NoLogin { .. } => "no-login",
            Fault::Malformed { .. } => "malformed",
            _ => "else",
        };
        assert_eq!((found, error.sent), (kind, false), "{said}: {error}");
    }
}

#[tokio::test]
async fn nothing_is_said_to_a_server_that_takes_no_login_of_ours() {
    let peer = Peer::start("220 localhost\r\n", usual("250-AUTH GSSAPI XOAUTH2\r\n")).await;
    let error = submit(&peer, &call(MAIL, |_| {})).await.unwrap_err();
    assert!(matches!(error.fault, Fault::NoLogin { .. }) && !error.sent, "{error:?}");
    assert_eq!(peer.heard(), ["EHLO localhost"]);
}
