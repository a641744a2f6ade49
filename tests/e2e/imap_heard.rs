//! What an agent and a mail server say at moments when the other does not wait for it: which mailbox is open, what the numbers mean, and whether
//! anything may pass still, are what both of them take them for.

use std::time::Duration;

use latch_ipc::contract::{TokenRevoke, TokenRevokeParams, UndoRun, UndoRunParams};
use latch_tests::mail::Post;
use latch_tests::scene::AGENT;

use crate::imap_hostile::{client_of, lied_to};

#[tokio::test]
async fn what_was_sent_ahead_for_a_mailbox_that_does_not_open_reaches_no_other() {
    let post = Post::new(5, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    let mut client = post.client().await;
    for select in [
        "SELECT Newsleters",
        "SELECT \"\"",
        "SELECT",
        "EXAMINE Work (NONSENSE",
        "select Work (QRESYNC (x))",
        "SELECT Work/",
        "SELECT {6}",
    ] {
        client.ok("SELECT INBOX").await;
        let (select, rest) = if select.ends_with('}') { (select, "Work \0\r\n") } else { (select, "") };
        let first = client.send(select).await;
        if !rest.is_empty() {
            client.go_ahead().await;
            client.say(rest.as_bytes()).await;
        }
        let store = client.send("STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
        let fetch = client.send("UID FETCH 1 BODY.PEEK[]").await;
        let noop = client.send("NOOP").await;
        let said = client.end(&first).await;
        assert!(said.end.starts_with("NO") || said.end.starts_with("BAD"), "{select}: {said:?}");
        for tag in [store, fetch] {
            let said = client.end(&tag).await;
            assert!(said.end.starts_with("BAD Open a mailbox first"), "{select}: {said:?}");
        }
        // Of the mailbox that is closed the client hears nothing more.
        phone.ok("SELECT INBOX").await;
        phone.ok("STORE 1 FLAGS ($Other)").await;
        client.end(&noop).await;
        let said = client.ok("NOOP").await;
        assert!(said.untagged.is_empty(), "{select}: {said:?}");
    }
    assert_eq!(post.dovecot.marked("INBOX"), 0);
}

#[tokio::test]
async fn what_leaves_while_a_command_waits_to_go_on_is_told() {
    let (liar, post) = lied_to(3).await;
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    liar.says("+ idling", "* 1 EXPUNGE\r\n+ idling\r\n");
    let tag = client.send("IDLE").await;
    let mut heard = Vec::new();
    while !heard.last().is_some_and(|line: &String| line.starts_with('+')) {
        heard.push(client.line().await);
    }
    assert_eq!(heard[0], "* 1 EXPUNGE", "{heard:?}");
    client.say(b"DONE\r\n").await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    liar.mend();
    // A word this long goes as a literal, which the server asks for.
    liar.says("+ OK", "* 1 EXPUNGE\r\n+ OK\r\n");
    let said = client.ok(&format!("SEARCH SUBJECT \"{}\"", "x".repeat(600))).await;
    assert_eq!(said.untagged, ["* 1 EXPUNGE", "* SEARCH"], "{said:?}");
}

#[tokio::test]
async fn undo_waits_for_a_mailbox_that_can_not_be_opened_for_a_while() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    client.ok("UID MOVE 1:2 Archive").await;
    liar.says("Examine completed", "{tag} NO [UNAVAILABLE] Try again later\r\n");
    let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
    let error = post.engine.client.call(UndoRun, params).await.expect_err("nothing is put back").to_string();
    assert!(error.contains("nothing was put back: the mailbox Archive can't be opened"), "{error}");
    assert_eq!(post.dovecot.messages("Archive").len(), 2);
    liar.mend();
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_mail_on_its_way_stops_when_its_token_is_revoked() {
    const SIZE: usize = 40_000_000;
    let post = Post::new(0, "organize").await;
    let mut phone = post.phone().await;
    let tag = phone.send(&format!("APPEND INBOX {{{SIZE}}}")).await;
    phone.go_ahead().await;
    let line = format!("{}\r\n", "x".repeat(78));
    phone.say(line.repeat(SIZE / line.len()).as_bytes()).await;
    phone.say(b"\r\n").await;
    phone.end(&tag).await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.send("UID FETCH 1 BODY[]").await;
    let mut lines = 0;
    let mut read = async |client: &mut latch_tests::mail::Client, count: usize| {
        for _ in 0..count {
            if client.line().await.is_empty() {
                return lines;
            }
            lines += 1;
        }
        lines
    };
    read(&mut client, 1_000).await;
    post.engine.call(TokenRevoke, TokenRevokeParams { agent: AGENT.to_owned() }).await;
    for _ in 0..40 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        read(&mut client, 1_000).await;
    }
    let lines = read(&mut client, usize::MAX).await;
    assert!(lines < SIZE / line.len(), "all of it came");
}

#[tokio::test]
async fn who_is_not_logged_in_says_little() {
    let post = Post::new(0, "organize").await;
    for said in [format!("a LOGIN x {}\r\n", "y".repeat(9_000)), "a LOGIN {9000}\r\n".to_owned()] {
        let mut client = latch_tests::mail::Client::connect(&post.door()).await;
        client.say(said.as_bytes()).await;
        let line = client.line().await;
        assert!(line.contains("BAD"), "{line}");
    }
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok(&format!("SEARCH SUBJECT \"{}\"", "y".repeat(9_000))).await;
}

#[tokio::test]
async fn what_was_done_before_a_server_said_no_can_be_taken_back() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    let mut phone = post.phone().await;
    let status = phone.ok("STATUS Archive (UIDVALIDITY)").await.untagged.remove(0);
    let archive = status.rsplit(' ').next().and_then(|last| last.strip_suffix(')')).expect("a number").to_owned();
    let mut client = client_of(&post, AGENT).await;
    client.ok("SELECT INBOX").await;
    liar.says("Store completed", "{tag} NO Not all of these\r\n");
    liar.says("Copy completed", format!("{{tag}} NO [COPYUID {archive} 1:2 1:2] Not all of these\r\n"));
    client.no("UID STORE 1:2 +FLAGS.SILENT (\\Flagged)").await;
    client.no("UID COPY 1:3 Archive").await;
    assert_eq!((post.dovecot.messages("INBOX") == start, post.dovecot.messages("Archive").len()), (false, 3));
    liar.mend();
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (4, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert_eq!(post.dovecot.messages("Archive").len(), 1, "the one of which nothing was said");
    // Where nothing was done there is nothing to take back.
    liar.hears("UID STORE", "UID NOTHING");
    client.no("UID STORE 1:2 +FLAGS.SILENT (\\Flagged)").await;
    liar.mend();
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 0), "{undone:?}");
}

#[tokio::test]
async fn what_nobody_said_to_be_copied_stays_where_it_is() {
    let (liar, post) = lied_to(3).await;
    let start = post.dovecot.messages("INBOX");
    for said in ["{tag} OK [COPYUID 7 1 1] Done\r\n", "{tag} OK Done\r\n"] {
        liar.mend();
        liar.says(
            "* CAPABILITY",
            "* CAPABILITY IMAP4rev1 SASL-IR AUTH=PLAIN UIDPLUS UNSELECT SPECIAL-USE LIST-EXTENDED\r\n",
        );
        liar.says("Copy completed", said);
        let mut client = client_of(&post, AGENT).await;
        client.ok("SELECT INBOX").await;
        let said = client.no("UID MOVE 1:2 Archive").await;
        assert!(said.end.contains("did not say that it copied all"), "{said:?}");
        assert_eq!(post.dovecot.messages("INBOX"), start);
    }
    liar.mend();
    post.undo().await;
    assert_eq!(post.dovecot.messages("INBOX"), start);
}
