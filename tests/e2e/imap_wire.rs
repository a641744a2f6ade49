//! ATTACKS 18: however a client cuts and piles up what it says, the mail server hears exactly the commands that were understood.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::engine::Start;
use latch_tests::mail::{Client, Post, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Passes everything on to a mail server and keeps what is said to it.
struct Tap {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
}

impl Tap {
    async fn before(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((agent, _)) = listener.accept().await {
                let upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("it listens");
                let (mut from_agent, mut to_agent) = agent.into_split();
                let (mut from_server, mut to_server) = upstream.into_split();
                tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_agent).await });
                let kept = Arc::clone(&kept);
                tokio::spawn(async move {
                    let mut bytes = vec![0; 4096];
                    while let Ok(read @ 1..) = from_agent.read(&mut bytes).await {
                        kept.lock().unwrap().extend_from_slice(&bytes[..read]);
                        if to_server.write_all(&bytes[..read]).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { port, heard }
    }

    /// What was said since the last time, without tags, and without what the engine says for itself.
    fn commands(&self) -> Vec<String> {
        let bytes = std::mem::take(&mut *self.heard.lock().unwrap());
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let commands = text.lines().filter_map(|line| line.split_once(' ').map(|(_, command)| command.to_owned()));
        let said = |command: &String| ["FETCH", "SEARCH", "STATUS", "EXAMINE"].iter().any(|one| command.contains(one));
        commands.filter(said).collect()
    }
}

const SAID: &[u8] = b"s1 SELECT {5+}\r\nINBOX\r\n\
s2 uid FETCH 1:2 (flags ENVELOPE)\r\n\
s3 UID SEARCH SUBJECT {4+}\r\nMail UNSEEN\r\n\
s4 XUNKNOWN {19+}\r\nx UID EXPUNGE 1:*\r\n\r\n\
s5 FETCH 1 (BODY[TEXT] {3+}\r\nabc)\r\n\
s6 STATUS \"INBOX\" (MESSAGES)\r\n";

#[tokio::test]
async fn attack_18_split_at_every_byte_and_pipelined_the_same_commands_arrive() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(3), Start::at(home.path()).in_memory().imap().start());
    let tap = Tap::before(dovecot.port).await;
    add(&engine, tap.port, PASSWORD).await;
    connect(&engine, AGENT, ACCOUNT, "organize").await;
    let token = issue(&engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    tap.commands();
    let mut first: Option<(Vec<String>, Vec<String>)> = None;
    for at in 0..SAID.len() {
        client.say(&SAID[..at]).await;
        if at > 0 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        client.say(&SAID[at..]).await;
        let mut answers = Vec::new();
        for tag in ["s1", "s2", "s3", "s4", "s5", "s6"] {
            let said = client.end(tag).await;
            answers.push(format!("{tag} {}", said.end.split(' ').next().unwrap_or_default()));
        }
        let commands = tap.commands();
        let (wanted, answered) = first.get_or_insert_with(|| (commands.clone(), answers.clone()));
        assert_eq!((&commands, &answers), (&*wanted, &*answered), "split at {at}");
    }
    let (commands, answers) = first.expect("some");
    assert_eq!(answers, ["s1 OK", "s2 OK", "s3 OK", "s4 BAD", "s5 BAD", "s6 OK"]);
    assert_eq!(
        commands,
        [
            "EXAMINE \"INBOX\"",
            "UID FETCH 1:2 (flags ENVELOPE)",
            "UID SEARCH SUBJECT \"Mail\" UNSEEN",
            "STATUS \"INBOX\" (MESSAGES)"
        ]
    );
    assert_eq!(dovecot.messages("INBOX").len(), 3);
}

/// Whatever the grant: nothing that the server hears would mark a mail as read, even if it did not obey EXAMINE.
#[tokio::test]
async fn what_a_reader_asks_for_is_asked_so_that_it_leaves_no_mark() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(2), Start::at(home.path()).in_memory().imap().start());
    let tap = Tap::before(dovecot.port).await;
    add(&engine, tap.port, PASSWORD).await;
    connect(&engine, AGENT, ACCOUNT, "read-only").await;
    let token = issue(&engine, AGENT).await;
    let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    client.ok("SELECT INBOX").await;
    tap.commands();
    let said = client.ok("UID FETCH 1 (UID body[header.fields (subject)] BINARY[1] BODY[1]<0.4> BODYSTRUCTURE)").await;
    for item in ["BODY[HEADER.FIELDS (SUBJECT)]", "BINARY[1]", "BODY[1]<0>", "BODYSTRUCTURE ("] {
        assert!(said.untagged[0].to_uppercase().contains(item), "{item}: {said:?}");
    }
    let heard = tap.commands();
    let fetch = heard.iter().find(|line| line.contains("BODYSTRUCTURE")).expect("it was asked");
    assert_eq!(
        fetch,
        "UID FETCH 1 (UID BODY.PEEK[header.fields (subject)] BINARY.PEEK[1] BODY.PEEK[1]<0.4> BODYSTRUCTURE)"
    );
    assert!(client.ok("FETCH 2 RFC822").await.untagged[0].starts_with("* 2 FETCH (RFC822 {"));
}

#[tokio::test]
async fn what_is_said_before_a_login_takes_little_room() {
    let post = Post::new(1, "organize").await;
    let mut client = Client::connect(&post.door()).await;
    let said = client.command(&format!("SEARCH {}ALL", "NOT ".repeat(1_900))).await;
    assert!(said.end.starts_with("BAD ") || said.end.starts_with("NO "), "{said:?}");
    let long = vec![b'x'; 7_000];
    client.say(b"a X {0+}\r\n").await;
    for _ in 0..3 {
        client.say(&[&long[..], b" {0+}\r\n"].concat()).await;
    }
    assert!(client.line().await.starts_with("a BAD This command is too long"));
    let mut client = Client::connect(&post.door()).await;
    let said = client.command(&format!("SEARCH {}ALL", "NOT ".repeat(16_000))).await;
    assert!(said.end.starts_with("BAD This is no line: it is too long"), "{said:?}");
}

#[tokio::test]
async fn a_mailbox_may_come_as_a_literal_and_a_second_mail_is_never_read_as_commands() {
    let post = Post::new(1, "organize").await;
    let mut client = post.client().await;
    client.say(b"w1 APPEND {7+}\r\nArchive (\\Seen) {15+}\r\nSubject: x\r\n\r\n\n\r\n").await;
    let said = client.end("w1").await;
    assert!(said.end.starts_with("OK [APPENDUID"), "{said:?}");
    assert_eq!(post.dovecot.messages("Archive")[0].flags, "S");
    // Two mails in one APPEND (RFC 3502) are not offered; a text of the second one must not be taken for what the agent says.
    client.say(b"w2 APPEND Archive {3+}\r\nabc {20+}\r\nw3 CREATE Smuggled\r\n\r\n").await;
    let said = client.end("w2").await;
    assert!(!said.end.starts_with("OK"), "{said:?}");
    assert_eq!(client.line().await, "", "nobody knows where the next command begins");
    assert_eq!(post.dovecot.messages("Archive").len(), 1);
    assert!(!post.dovecot.mailboxes().contains(&"Smuggled".to_owned()));
}
