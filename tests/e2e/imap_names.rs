//! What a mailbox is called, and what an agent can make of that: one mailbox under two names, a Trash of its own, a mailbox that is called like a message.

use latch_tests::dovecot::Dovecot;
use latch_tests::mail::Post;

#[tokio::test]
async fn the_inbox_has_one_name_though_the_server_knows_it_by_more() {
    let post = Post::with(Dovecot::start_below_inbox(6), "organize", |start| start).await;
    let start = post.dovecot.messages("INBOX");
    let mut phone = post.phone().await;
    // Else this proves nothing.
    for alias in ["INBOX/Trash", "INBOX/INBOX", "INBOX/", "inbox/", "mail/INBOX", "mail/Trash"] {
        phone.ok(&format!("SELECT {alias}")).await;
    }
    let listed = phone.ok("LIST \"\" *").await.untagged.join("\n");
    assert!(!listed.contains("INBOX/INBOX") && !listed.contains("mail/"), "{listed}");
    let mut client = post.client().await;
    assert_eq!(client.ok("LIST \"\" \"\"").await.untagged.len(), 1, "what stands between names");
    for alias in ["INBOX/INBOX", "INBOX/", "inbox/", "inbox/inbox", "mail/INBOX", "mail/inbox", "mail/Archive", "mail/"]
    {
        for command in ["SELECT", "EXAMINE", "DELETE"] {
            client.no(&format!("{command} {alias}")).await;
        }
        client.no(&format!("RENAME {alias} INBOX/Gone")).await;
        client.no(&format!("STATUS {alias} (MESSAGES)")).await;
        client.no(&format!("SETACL {alias} eve lr")).await;
    }
    client.no("RENAME INBOX INBOX/Gone").await;
    client.ok("SELECT inbox").await;
    for alias in ["INBOX/INBOX", "mail/Archive", "Archive/"] {
        let said = client.no(&format!("UID MOVE 1:* {alias}")).await;
        assert!(said.end.contains("[TRYCREATE]") || said.end.starts_with("BAD"), "{said:?}");
    }
    let said = client.no("APPEND mail/Archive {3+}\r\nabc").await;
    assert!(said.end.contains("[TRYCREATE]"), "{said:?}");
    client.no("CREATE INBOX/New/").await;
    client.no("CREATE INBOX/../New").await;
    client.ok("CREATE INBOX/New").await;
    let said = client.ok("UID MOVE 1 INBOX/New").await;
    assert!(said.untagged.iter().any(|line| line.ends_with("EXPUNGE")), "{said:?}");
    client.ok("SELECT INBOX/New").await;
    phone.ok("CREATE INBOX/Newer").await;
    client.ok("SELECT INBOX/Newer").await;
    assert_eq!(post.dovecot.messages("INBOX").len(), start.len() - 1);
    post.engine.no_holds().await;
}

#[tokio::test]
async fn a_second_trash_changes_nothing_about_the_first() {
    let post = Post::with(Dovecot::start_below_inbox(8), "organize", |start| start).await;
    let mut client = post.client().await;
    client.ok("CREATE INBOX/AAA/Trash").await;
    client.ok("SELECT INBOX").await;
    for (set, trash) in [("1:4", "INBOX/AAA/Trash"), ("5:8", "INBOX/Trash")] {
        let tag = client.send(&format!("UID MOVE {set} {trash}")).await;
        let hold = post.engine.hold().await;
        assert_eq!((hold.count, hold.verb.as_str()), (4, "Trash"), "{trash}");
        post.engine.deny(&hold).await;
        assert!(client.end(&tag).await.end.starts_with("NO [NOPERM]"));
    }
    assert_eq!(post.dovecot.messages("INBOX").len(), 8);
    client.ok("UID MOVE 1:2 INBOX/AAA/Trash").await;
    client.ok("SELECT INBOX/AAA/Trash").await;
    client.ok("STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("EXPUNGE").await;
    let hold = post.engine.hold().await;
    post.engine.allow(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK Moved to the Trash"));
    assert_eq!((post.dovecot.messages("AAA/Trash").len(), post.dovecot.messages("Trash").len()), (1, 1));
}

#[tokio::test]
async fn a_mailbox_that_is_called_like_a_message_is_shown_and_taken_back_as_a_mailbox() {
    let post = Post::new(3, "assistant").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    let opened = client.ok("SELECT INBOX").await;
    let known = opened.untagged.iter().find_map(|line| line.split_once("[UIDVALIDITY ")?.1.split_once(']'));
    let name = format!("INBOX;{};2", known.expect("a UIDVALIDITY").0);
    client.ok(&format!("CREATE {name}")).await;
    let tag = client.send(&format!("SETACL {name} eve lr")).await;
    let hold = post.engine.hold().await;
    assert_eq!(hold.objects[0].title, format!("{name} (0 messages)"));
    assert!(hold.facts.iter().any(|fact| fact.label == "Mailbox" && fact.value == name), "{hold:?}");
    post.engine.deny(&hold).await;
    client.end(&tag).await;
    assert!(post.dovecot.mailboxes().contains(&name));
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert!(!post.dovecot.mailboxes().contains(&name));
    assert_eq!(post.dovecot.messages("INBOX"), start);
}

#[tokio::test]
async fn a_whole_mailbox_does_not_go_to_the_trash_unasked() {
    let post = Post::new(3, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 1:3 Archive").await;
    let start = post.dovecot.messages("Archive");
    let mut client = post.client().await;
    // A Trash is what could be one, not only what the server calls so.
    for to in ["Trash/Archive", "trash", "Junk/Archive", "Work/Bin", "Deleted Items/x"] {
        assert!(client.no(&format!("RENAME Archive \"{to}\"")).await.end.starts_with("NO [CANNOT]"), "{to}");
    }
    assert_eq!(post.dovecot.messages("Archive"), start);
    // Whatever is in a mailbox, it is one object: so it is asked.
    phone.ok("RENAME Archive Trash/Archive").await;
    let tag = client.send("RENAME Trash/Archive Trash/Kept").await;
    let hold = post.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.objects[0].title.as_str()), ("Trash", "Trash/Archive (3 messages)"));
    assert!(!hold.forever && !hold.task_scope, "{hold:?}");
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.messages("Trash/Kept").len(), 3);
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("Trash/Archive"), start);
}
