//! Mailboxes that are deleted for ever: only with what was shown, and back from the quarantine.

use latch_ipc::contract::{HoldDecideParams, QuarantineList, SettingsSet, Verdict};
use latch_ipc::view::HoldView;
use latch_tests::engine::decision;
use latch_tests::mail::{Client, Post};
use serde_json::json;

fn for_ever(hold: &HoldView) -> HoldDecideParams {
    HoldDecideParams { forever: Some(true), retyped_count: Some(hold.count), ..decision(hold, Verdict::Allow) }
}

/// A mailbox with two mails, one of them starred and with a word of its own, which the person's programs show.
async fn work(post: &Post) -> Client {
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("SUBSCRIBE Work").await;
    phone.ok("SELECT INBOX").await;
    phone.ok("STORE 1 +FLAGS (\\Flagged todo)").await;
    phone.ok("COPY 1:2 Work").await;
    phone.ok("UNSELECT").await;
    phone
}

#[tokio::test]
async fn a_mailbox_deleted_for_ever_comes_back_with_everything() {
    let post = Post::new(2, "organize").await;
    let mut phone = work(&post).await;
    let start = post.dovecot.messages("Work");
    let mut client = post.client().await;
    let tag = client.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count), ("Delete a mailbox of", 2));
    assert!(hold.facts.iter().any(|fact| fact.label == "Mailbox" && fact.value == "Work"), "{:?}", hold.facts);
    let part = HoldDecideParams { objects: Some(vec![hold.objects[0].id.clone()]), ..decision(&hold, Verdict::Allow) };
    assert!(post.engine.decide(part).await.is_err(), "whole or not at all");
    post.engine.decide(for_ever(&hold)).await.expect("allowed");
    assert!(client.end(&tag).await.end.starts_with("OK"));
    assert!(!post.dovecot.mailboxes().contains(&"Work".to_owned()));
    assert!(post.dovecot.messages("Trash").is_empty());
    let _ = phone.command("UNSUBSCRIBE Work").await;
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(undone.restored, 3, "the mailbox and two mails");
    assert_eq!(post.dovecot.messages("Work"), start);
    phone.ok("SELECT Work").await;
    assert!(phone.ok("FETCH 1 FLAGS").await.untagged[0].contains("todo"));
    assert_eq!(phone.ok("LSUB \"\" Work").await.untagged.len(), 1, "subscribed again");
    assert_eq!(post.engine.call(QuarantineList, latch_ipc::contract::Empty {}).await.items, 0);
}

#[tokio::test]
async fn what_came_or_was_made_anew_since_is_not_deleted() {
    let post = Post::new(3, "organize").await;
    let mut phone = work(&post).await;
    let mut client = post.client().await;
    let tag = client.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("COPY 3 Work").await;
    post.engine.decide(for_ever(&hold)).await.expect("allowed");
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [CANNOT] since it was shown, other messages came"), "{said:?}");
    assert_eq!(post.dovecot.messages("Work").len(), 3);
    let tag = client.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    phone.ok("DELETE Work").await;
    // UIDVALIDITY is made from seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    phone.ok("CREATE Work").await;
    phone.ok("COPY 1:3 Work").await;
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(!said.end.starts_with("OK"), "{said:?}");
    assert_eq!(post.dovecot.messages("Work").len(), 3, "not into the Trash either");
    assert_eq!(post.engine.call(QuarantineList, latch_ipc::contract::Empty {}).await.items, 0);
}

#[tokio::test]
async fn without_room_for_copies_nothing_is_deleted() {
    let post = Post::new(2, "organize").await;
    work(&post).await;
    post.engine.call(SettingsSet, json!({ "quarantine_mib": 1 })).await;
    let mut phone = post.phone().await;
    let large = "x".repeat(1_200_000);
    let tag = phone.send(&format!("APPEND Work {{{}}}", large.len())).await;
    phone.go_ahead().await;
    phone.say(format!("{large}\r\n").as_bytes()).await;
    phone.end(&tag).await;
    let mut client = post.client().await;
    let tag = client.send("DELETE Work").await;
    let hold = post.engine.hold().await;
    post.engine.decide(for_ever(&hold)).await.expect("allowed");
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("NO [CANNOT]"), "{said:?}");
    assert_eq!(post.dovecot.messages("Work").len(), 3);
    assert_eq!(post.engine.call(QuarantineList, latch_ipc::contract::Empty {}).await.items, 0, "no half copies");
}

#[tokio::test]
async fn in_the_trash_there_is_only_for_ever_and_a_parent_stays() {
    let post = Post::new(2, "organize").await;
    let mut phone = work(&post).await;
    phone.ok("CREATE Work/Sub").await;
    let mut client = post.client().await;
    let said = client.no("DELETE Work").await;
    assert!(said.end.starts_with("NO [HASCHILDREN]"), "{said:?}");
    phone.ok("DELETE Work/Sub").await;
    phone.ok("RENAME Work Trash/Work").await;
    let start = post.dovecot.messages("Trash/Work");
    let tag = client.send("DELETE Trash/Work").await;
    let hold = post.engine.hold().await;
    assert!(!hold.forever, "there is no other way");
    post.engine.allow(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    assert!(post.dovecot.messages("Trash/Work").is_empty());
    // Somebody made it again: it takes its mails back.
    phone.ok("CREATE Trash/Work").await;
    let undone = post.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(post.dovecot.messages("Trash/Work"), start);
    let said = client.no("DELETE Nowhere").await;
    assert!(said.end.starts_with("NO [NONEXISTENT]"), "{said:?}");
}
