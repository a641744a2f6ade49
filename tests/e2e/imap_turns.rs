//! One change after another on an account: who must wait, for how long, and what can come in between.

use std::time::{Duration, Instant};

use latch_ipc::contract::{Empty, QuarantineList, UndoList, UndoListParams, UndoRun, UndoRunParams};
use latch_tests::mail::{Client, Post};

use crate::imap_bad::{lied_to, login};

/// A mailbox with copies of these.
async fn work(post: &Post, set: &str) -> Client {
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("SELECT INBOX").await;
    phone.ok(&format!("COPY {set} Work")).await;
    phone
}

#[tokio::test]
async fn nobody_waits_while_a_mailbox_is_copied_before_it_goes() {
    let (liar, post) = lied_to(4).await;
    let mut phone = work(&post, "1:4").await;
    let (mut one, mut two) = (post.client().await, post.client().await);
    two.ok("CREATE Notes").await;
    let entry = post.engine.call(UndoList, UndoListParams::default()).await[0].entry.clone();
    let tag = one.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    liar.slow("BODY.PEEK", Duration::from_secs(1));
    post.engine.allow_forever(&hold).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let begun = Instant::now();
    two.ok("CREATE Lists").await;
    let undone = post.engine.call(UndoRun, UndoRunParams::Entry { entry }).await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
    phone.ok("STATUS Work (MESSAGES)").await;
    let said = one.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
}

#[tokio::test]
async fn whoever_waits_for_the_mail_server_hears_of_it_and_whoever_leaves_gives_up_its_seat() {
    let (liar, post) = lied_to(1).await;
    let (mut one, mut two, mut gone) = (post.client().await, post.client().await, post.client().await);
    liar.slow("CREATE", Duration::from_secs(12));
    let first = one.send("CREATE One").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    let second = two.send("CREATE Two").await;
    gone.send("CREATE Three").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(gone);
    // All of the seats but those two.
    let mut seats = Vec::new();
    for _ in 0..4 {
        let (client, said) = login(&post).await;
        assert!(said.end.starts_with("OK"), "{said:?}");
        seats.push(client);
    }
    let said = two.end(&second).await;
    assert!(said.end.starts_with("NO [INUSE]"), "{said:?}");
    assert!(said.untagged.iter().any(|line| line.contains("INPROGRESS")), "{said:?}");
    let said = one.end(&first).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert!(said.untagged.iter().any(|line| line.contains("INPROGRESS")), "{said:?}");
    let there = post.dovecot.mailboxes();
    assert!(there.contains(&"One".to_owned()) && !there.contains(&"Two".to_owned()), "{there:?}");
}

#[tokio::test]
async fn what_comes_after_the_last_look_does_not_go_with_its_mailbox() {
    let (liar, post) = lied_to(3).await;
    let mut phone = work(&post, "1:2").await;
    let mut client = post.client().await;
    let tag = client.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    // The end of each look: one before the copies are made, one after.
    liar.slow("Work/*", Duration::from_millis(1500));
    post.engine.allow_forever(&hold).await;
    tokio::time::sleep(Duration::from_millis(2500)).await;
    phone.ok("COPY 3 Work").await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [CANNOT] since it was shown"), "{said:?}");
    assert_eq!(post.dovecot.messages("Work").len(), 3);
    assert_eq!(post.engine.call(QuarantineList, Empty {}).await.items, 0);
    client.ok("CREATE Notes").await;
    liar.slow("Notes/*", Duration::from_millis(1500));
    let (undone, ()) = tokio::join!(post.undo(), async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        phone.ok("COPY 3 Notes").await;
    });
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert_eq!(post.dovecot.messages("Notes").len(), 1);
}

#[tokio::test]
async fn sent_mails_are_stored_two_at_a_time() {
    let (liar, post) = lied_to(1).await;
    let mut clients = Vec::new();
    for _ in 0..6 {
        clients.push(post.client().await);
    }
    liar.slow("APPEND", Duration::from_millis(700));
    let mail = "From: erin@example.org\r\nTo: erin@example.org\r\nSubject: kept\r\n\r\nText\r\n";
    let mut tags = Vec::new();
    for client in &mut clients {
        let tag = client.send(&format!("APPEND Sent {{{}}}", mail.len())).await;
        client.go_ahead().await;
        client.say(format!("{mail}\r\n").as_bytes()).await;
        tags.push(tag);
    }
    for (client, tag) in clients.iter_mut().zip(&tags) {
        let said = client.end(tag).await;
        assert!(said.end.starts_with("OK"), "{said:?}");
    }
    assert_eq!(post.dovecot.messages("Sent").len(), 6);
    assert!(liar.most() <= 6 + 2 + 2, "{} connections", liar.most());
}

#[tokio::test]
async fn what_had_left_before_was_not_kept_by_the_person() {
    let post = Post::new(4, "organize").await;
    let (mut client, mut phone) = (post.client().await, post.phone().await);
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
    for (command, uids, gone) in [("UID EXPUNGE 1:2", 2, "1"), ("CLOSE", 2, "2")] {
        if command == "CLOSE" {
            phone.ok("SELECT INBOX").await;
            phone.ok("UID STORE 4 +FLAGS.SILENT (\\Deleted)").await;
        }
        let tag = client.send(command).await;
        let hold = post.engine.hold().await;
        assert_eq!(hold.count, uids, "{command}: {hold:?}");
        phone.ok("SELECT INBOX").await;
        phone.ok(&format!("UID EXPUNGE {gone}")).await;
        post.engine.allow_forever(&hold).await;
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("OK") && !said.end.contains("person allowed"), "{said:?}");
    }
}

#[tokio::test]
async fn a_flag_needs_no_list_of_all_mailboxes() {
    let (liar, post) = lied_to(2).await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    liar.counts("LIST");
    client.ok("UID STORE 1 +FLAGS (\\Flagged)").await;
    assert_eq!(liar.counted(), 0);
    client.ok("UID COPY 1 Archive").await;
    assert!(liar.counted() > 0);
}
