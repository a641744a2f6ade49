//! Agents and mail servers that mean harm at the IMAP door: what they say too slowly, too much or at the wrong moment costs others nothing, and undo takes back no
//! more than was done.

use std::time::Duration;

use latch_ipc::contract::{Empty, QuarantineList};
use latch_tests::dovecot::{Dovecot, PASSWORD};
use latch_tests::engine::{Start, memory_kib};
use latch_tests::mail::{Client, Post, Said, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

use crate::liar::{Cut, Liar};

const MIB: usize = 1024 * 1024;

pub(crate) async fn lied_to(mails: usize) -> (Liar, Post) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (dovecot, engine) = tokio::join!(Dovecot::start(mails), Start::at(home.path()).in_memory().imap().start());
    let liar = Liar::before(dovecot.port).await;
    add(&engine, liar.port, PASSWORD).await;
    let connected = connect(&engine, AGENT, ACCOUNT, "organize").await;
    (liar, Post { dovecot, engine, connected, home })
}

pub(crate) async fn client_of(post: &Post, agent: &str) -> Client {
    let token = issue(&post.engine, agent).await;
    let mut client = Client::connect(&post.door()).await;
    client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
    client
}

/// What a command brings if the person allows whatever is asked.
pub(crate) async fn allowed(post: &Post, client: &mut Client, command: &str) -> Said {
    let tag = client.send(command).await;
    loop {
        tokio::select! {
            said = client.end(&tag) => return said,
            hold = post.engine.hold() => {
                post.engine.allow(&hold).await;
            }
        }
    }
}

/// Stores a mail of three mebibytes among the sent ones.
async fn sent(client: &mut Client) -> Said {
    let mail = format!("From: a@example.org\r\nTo: b@example.org\r\nSubject: now\r\n\r\n{}", "x\r\n".repeat(MIB));
    let tag = client.send(&format!("APPEND Sent {{{}}}", mail.len())).await;
    client.go_ahead().await;
    client.say(mail.as_bytes()).await;
    client.say(b"\r\n").await;
    client.end(&tag).await
}

#[tokio::test]
async fn a_large_mail_that_is_only_announced_keeps_nobody_from_storing_theirs() {
    let post = Post::new(0, "assistant").await;
    connect(&post.engine, "other", ACCOUNT, "assistant").await;
    let mut slow = post.client().await;
    slow.send(&format!("APPEND Sent {{{}}}", 64 * MIB)).await;
    slow.go_ahead().await;
    slow.say(b"Subject: I take my time").await;
    let mut second = post.client().await;
    let mut other = client_of(&post, "other").await;
    let (said, told) =
        tokio::join!(tokio::time::timeout(Duration::from_secs(20), sent(&mut other)), second.no("APPEND Sent {5}"));
    assert!(said.is_ok_and(|said| said.end.starts_with("OK")), "another agent's mail is stored");
    assert!(told.end.starts_with("NO [LIMIT] Another mail of this agent"), "{told:?}");
    drop(slow);
    let said = sent(&mut second).await;
    assert!(said.end.starts_with("OK"), "once the slow one is over: {said:?}");
    assert_eq!(post.dovecot.messages("Sent").len(), 2);
}

#[tokio::test]
async fn a_search_that_finds_the_same_message_millions_of_times_takes_little_memory() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    let mut client = client_of(&post, AGENT).await;
    client.ok("CREATE Old").await;
    client.ok("SELECT INBOX").await;
    let before = memory_kib(post.engine.pid());
    liar.says("* SEARCH", format!("* SEARCH{}\r\n", " 1".repeat(2_000_000)).repeat(10));
    // The engine's own look into a mailbox, then the agent's connection.
    for command in ["DELETE Old", "UID STORE 1:* +FLAGS.SILENT (\\Deleted)"] {
        let tag = client.send(command).await;
        let (mut most, end) = (0, client.end(&tag));
        tokio::pin!(end);
        let said = loop {
            tokio::select! {
                said = &mut end => break said,
                () = tokio::time::sleep(Duration::from_millis(2)) => most = most.max(memory_kib(post.engine.pid())),
            }
        };
        assert!(said.end.starts_with("NO [") || said.end == "(gone)", "{command}: {said:?}");
        assert!(most < before + 96 * 1024, "{command}: {before} KiB became {most} KiB");
    }
    liar.mend();
    assert_eq!(post.dovecot.messages("INBOX"), start);
    client_of(&post, AGENT).await.ok("SELECT INBOX").await;
}

#[tokio::test]
async fn a_header_that_can_not_be_read_keeps_nothing_from_moving_and_undo_takes_the_rest_back() {
    let (liar, post) = lied_to(4).await;
    let start = post.dovecot.messages("INBOX");
    let subject = &start[0].subject;
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    liar.says(&format!("\"{subject}\""), "* 1 FETCH (UID 1 ENVELOPE ({99999999999}\r\n");
    let said = client.command("UID MOVE 1:2 Archive").await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.messages("Archive").len(), 2);
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    liar.mend();
    // The same where nobody heard where they went.
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    liar.cut("UID MOVE", Cut::After);
    let said = allowed(&post, &mut client, "UID MOVE 1:* Archive").await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]"), "{said:?}");
    liar.mend();
    assert_eq!(post.dovecot.messages("Archive").len(), 4);
    liar.says(&format!("\"{subject}\""), "* 1 FETCH (UID 1 ENVELOPE ({99999999999}\r\n");
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (3, 1), "{undone:?}");
    assert!(undone.not_restored[0].why.contains("try again later"), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX").len(), 3);
    liar.mend();
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_twin_that_lay_there_before_is_not_taken_for_what_was_moved() {
    let (liar, post) = lied_to(3).await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 1 Trash").await;
    let twin = post.dovecot.messages("Trash");
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    liar.cut("UID MOVE", Cut::After);
    let said = allowed(&post, &mut client, "MOVE 1 Trash").await;
    assert!(said.end.starts_with("NO [UNAVAILABLE]"), "{said:?}");
    liar.mend();
    assert_eq!(post.dovecot.messages("Trash").len(), 2);
    // What the agent moved is gone for ever; the person did it.
    phone.ok("SELECT Trash").await;
    phone.ok("STORE 2 +FLAGS.SILENT (\\Deleted)").await;
    phone.ok("EXPUNGE").await;
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert_eq!(post.dovecot.messages("Trash"), twin);
    assert_eq!(post.dovecot.messages("INBOX").len(), 2);
}

#[tokio::test]
async fn what_a_move_left_marked_at_home_is_not_marked_after_undo() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    // A server that can't move, and fails at the last of the three steps that stand for it.
    liar.says(
        "* CAPABILITY",
        "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT SPECIAL-USE LIST-EXTENDED\r\n",
    );
    liar.hears("UID EXPUNGE", "UID XEXPUNGE");
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    let said = allowed(&post, &mut client, "UID MOVE 1 Archive").await;
    assert!(said.end.starts_with("NO"), "{said:?}");
    assert_eq!((post.dovecot.marked("INBOX"), post.dovecot.messages("Archive").len()), (1, 1));
    liar.mend();
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert_eq!(post.dovecot.messages("Archive").len(), 0);
    assert_eq!(post.dovecot.messages("Trash").len(), 1, "the copy, where the person finds it");
}

#[tokio::test]
async fn numbers_that_mean_others_by_now_are_not_used() {
    let (liar, post) = lied_to(5).await;
    let start = post.dovecot.messages("INBOX");
    for gone in ["* 1 EXPUNGE", "* VANISHED 1", "* VANISHED 1:2"] {
        for command in ["FETCH 3 (BODY.PEEK[])", "FETCH 3:* RFC822", "STORE 3 +FLAGS.SILENT ($Looked)"] {
            let mut client = client_of(&post, AGENT).await;
            client.ok("SELECT INBOX").await;
            // Somebody else's client removes mail just now, and the server says so where it must not.
            liar.says("FETCH (UID 3)", format!("{gone}\r\n* 3 FETCH (UID 3)\r\n"));
            let said = client.no(command).await;
            assert!(said.end.starts_with("NO [EXPUNGEISSUED]"), "{command}: {said:?}");
            assert!(said.untagged.contains(&gone.to_owned()), "the client is told: {said:?}");
            assert!(!said.untagged.iter().any(|line| line.contains("FETCH")), "{said:?}");
            // By UID it is that message whatever number it has.
            client.ok("UID FETCH 3 (FLAGS)").await;
            client.ok("UID FETCH 3 (BODY.PEEK[])").await;
            liar.mend();
            client.ok("FETCH 3 (BODY.PEEK[])").await;
        }
    }
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn numbers_stay_what_they_are_while_they_are_stored_to() {
    let (liar, post) = lied_to(5).await;
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    phone.ok("EXPUNGE").await;
    // A client that goes by numbers, and may have sent the next before it hears the last.
    for number in [3, 4] {
        for silent in ["", ".SILENT"] {
            let said = client.ok(&format!("STORE {number} +FLAGS{silent} ($Looked)")).await;
            assert!(!said.untagged.iter().any(|line| line.contains("EXPUNGE")), "{said:?}");
        }
        client.ok(&format!("FETCH {number} (BODY.PEEK[])")).await;
    }
    phone.ok("NOOP").await;
    assert_eq!(phone.ok("UID SEARCH KEYWORD $Looked").await.untagged, ["* SEARCH 3 4"]);
    assert!(client.ok("NOOP").await.untagged.contains(&"* 1 EXPUNGE".to_owned()));
    // Servers tell of other messages, too, with their UIDs (RFC 7162): nobody named those.
    liar.says("FETCH (UID 4)", "* 1 FETCH (UID 2 FLAGS (\\Seen))\r\n* 3 FETCH (UID 4)\r\n");
    client.ok("STORE 3 +FLAGS.SILENT ($Named)").await;
    liar.mend();
    phone.ok("NOOP").await;
    assert_eq!(phone.ok("UID SEARCH KEYWORD $Named").await.untagged, ["* SEARCH 4"]);
    let looked = client.ok("FETCH 2 (UID FLAGS)").await;
    assert!(looked.untagged.iter().any(|line| line.contains("UID 3") && line.contains("$Looked")), "{looked:?}");
}

/// Marks the first and the third of three, and expunges them for ever.
async fn expunged(post: &Post) -> Said {
    let mut client = client_of(post, AGENT).await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1,3 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("UID EXPUNGE 1:*").await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.count, 2);
    post.engine.allow_forever(&hold).await;
    client.end(&tag).await
}

async fn copies(post: &Post) -> u32 {
    post.engine.call(QuarantineList, Empty {}).await.items
}

#[tokio::test]
async fn of_what_the_server_refused_to_expunge_no_copies_stay() {
    let (liar, post) = lied_to(3).await;
    liar.hears("UID EXPUNGE", "UID NOTHING");
    let said = expunged(&post).await;
    assert!(said.end.starts_with("NO"), "{said:?}");
    liar.mend();
    assert_eq!((post.dovecot.messages("INBOX").len(), copies(&post).await), (3, 0));
    assert_eq!(post.undo().await.restored, 2, "the marks");
}

#[tokio::test]
async fn what_was_expunged_before_the_server_refused_comes_back_and_the_rest_only_stays() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    liar.hears("UID EXPUNGE 1,3", "UID EXPUNGE 1");
    liar.says("Expunge completed", "{tag} NO Not all of these\r\n");
    let said = expunged(&post).await;
    assert!(said.end.starts_with("NO"), "{said:?}");
    liar.mend();
    assert_eq!((post.dovecot.messages("INBOX").len(), copies(&post).await), (2, 2));
    let kept = post.engine.call(QuarantineList, Empty {}).await.entries;
    let of: Vec<_> = kept.iter().map(|one| (one.items, one.undo.as_ref().map(|undo| undo.agent.as_str()))).collect();
    assert_eq!(of, [(2, Some(AGENT))]);
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!((post.dovecot.messages("INBOX"), copies(&post).await), (start, 0));
}

#[tokio::test]
async fn what_nobody_knows_to_be_expunged_is_not_put_back_twice() {
    for cut in [Cut::Before, Cut::After] {
        let (liar, post) = lied_to(3).await;
        let start = post.dovecot.messages("INBOX");
        liar.cut("UID EXPUNGE", cut);
        let said = expunged(&post).await;
        assert!(!said.end.starts_with("OK"), "{said:?}");
        liar.mend();
        let left = if cut == Cut::Before { 3 } else { 1 };
        assert_eq!((post.dovecot.messages("INBOX").len(), copies(&post).await), (left, 2));
        let undone = post.undo().await;
        assert!(undone.not_restored.is_empty(), "{undone:?}");
        assert_eq!((post.dovecot.messages("INBOX"), copies(&post).await), (start, 0), "{cut:?}");
    }
}
