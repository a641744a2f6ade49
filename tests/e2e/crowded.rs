//! What an agent can bring about at a mail server must not put the phone stop to sleep, nor be told as the person's doing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use latch_ipc::contract::{AccountList, Empty};
use latch_ipc::phone::PhoneState;
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::emulator::{Emulator, Mail};
use latch_tests::engine::Start;
use latch_tests::mail::{Client, Post, add};
use latch_tests::ports::free_port;
use latch_tests::scene::{ACCOUNT, AGENT, add_account, connect, issue};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::phone::{runs, switch, until_state};

/// Passes everything on to a server; while it is full, it says so to whoever logs in.
struct Crowd {
    port: u16,
    full: Arc<AtomicBool>,
}

impl Crowd {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let full = Arc::new(AtomicBool::new(true));
        let is_full = Arc::clone(&full);
        tokio::spawn(async move {
            while let Ok((guest, _)) = listener.accept().await {
                if is_full.load(Ordering::SeqCst) {
                    tokio::spawn(turn_away(guest));
                } else {
                    tokio::spawn(pass_on(guest, server));
                }
            }
        });
        Self { port, full }
    }
}

async fn pass_on(mut guest: TcpStream, server: u16) {
    let mut upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("it listens");
    let _ = tokio::io::copy_bidirectional(&mut guest, &mut upstream).await;
}

async fn turn_away(guest: TcpStream) {
    let mut guest = BufReader::new(guest);
    guest.write_all(b"* OK ready\r\n").await.expect("it listens");
    let mut line = String::new();
    while matches!(guest.read_line(&mut line).await, Ok(1..)) {
        let (tag, command) = line.trim_end().split_once(' ').expect("a tag");
        let said = if command == "CAPABILITY" {
            format!("* CAPABILITY IMAP4rev1\r\n{tag} OK done\r\n")
        } else {
            format!("{tag} NO [UNAVAILABLE] Too many simultaneous connections\r\n")
        };
        if guest.write_all(said.as_bytes()).await.is_err() {
            return;
        }
        line.clear();
    }
}

#[tokio::test]
async fn too_many_connections_are_no_wrong_password_and_the_watch_goes_on_within_a_minute() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(2), Start::at(home.path()).in_memory().imap().start());
    let crowd = Crowd::before(dovecot.port).await;
    add(&engine, crowd.port, PASSWORD).await;
    connect(&engine, AGENT, ACCOUNT, "assistant").await;
    let view = switch(&engine, true).await;
    assert_eq!(view.state, PhoneState::Offline, "{view:?}");
    assert!(view.text.contains("does not let us in at present: Too many simultaneous connections"), "{view:?}");
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
    let tag = client.send(&format!("LOGIN {ACCOUNT} {}", issue(&engine, AGENT).await)).await;
    let said = client.end(&tag).await.end;
    assert!(said.contains("Too many simultaneous connections") && said.contains("try again later"), "{said}");
    assert_eq!(engine.call(AccountList, Empty {}).await[0].failing, None, "nobody is told to remove the account");
    crowd.full.store(false, Ordering::SeqCst);
    let since = Instant::now();
    until_state(&engine, PhoneState::Watching).await;
    assert!(since.elapsed() < Duration::from_secs(60));
    assert!(runs(&engine).await);
}

#[tokio::test]
async fn agents_leave_a_connection_for_the_watch() {
    let post = Post::new(1, "organize").await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(post.client().await);
    }
    let token = issue(&post.engine, AGENT).await;
    let mut late = Client::connect(&post.door()).await;
    let tag = late.send(&format!("LOGIN {ACCOUNT} {token}")).await;
    let said = late.end(&tag).await.end;
    assert!(said.starts_with("NO [UNAVAILABLE] Agents have 6 connections"), "{said}");
    clients.pop().expect("one").ok("LOGOUT").await;
    let came_in = async {
        loop {
            let mut late = Client::connect(&post.door()).await;
            let tag = late.send(&format!("LOGIN {ACCOUNT} {token}")).await;
            if late.end(&tag).await.end.starts_with("OK") {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), came_in).await.expect("there is room again");
}

#[tokio::test]
async fn a_stop_mail_that_never_left_is_not_missed() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let mails = Mail::box_of(2);
    let (gmail, engine) = tokio::join!(Emulator::start(&mails), Start::at(home.path()).in_memory().start());
    // Nobody listens there yet.
    let address = format!("127.0.0.1:{}", free_port());
    add_account(&engine, ACCOUNT, &format!("http://{address}"), &gmail.token).await;
    connect(&engine, AGENT, ACCOUNT, "assistant").await;
    let view = switch(&engine, true).await;
    assert_eq!(view.state, PhoneState::Offline, "{view:?}");
    let server = gmail.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let listener = TcpListener::bind(&address).await.expect("it is free again");
    tokio::spawn(async move {
        while let Ok((guest, _)) = listener.accept().await {
            tokio::spawn(pass_on(guest, server));
        }
    });
    until_state(&engine, PhoneState::Watching).await;
    assert!(runs(&engine).await, "the person did nothing");
}
