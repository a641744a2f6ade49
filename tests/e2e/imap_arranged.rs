//! Mailboxes whose names stand for something else by the time that something is done to them: what was asked about one is not done to another.

use std::time::Duration;

use latch_tests::mail::Post;
use latch_tests::scene::narrow;

/// Newsletter and Private, made far enough apart to have UIDVALIDITYs of their own.
async fn two(post: &Post) {
    let mut phone = post.phone().await;
    phone.ok("CREATE Newsletter").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    phone.ok("CREATE Private").await;
}

#[tokio::test]
async fn what_was_asked_about_a_mailbox_is_not_done_to_another_that_took_its_name() {
    for command in ["SETACL Newsletter eve lr", "DELETEACL Newsletter erin", "RENAME Newsletter Public"] {
        let post = Post::new(0, "ask-everything").await;
        two(&post).await;
        let mut client = post.client().await;
        let tag = client.send(command).await;
        let hold = post.engine.hold().await;
        let mut phone = post.phone().await;
        phone.ok("RENAME Newsletter Elsewhere").await;
        phone.ok("RENAME Private Newsletter").await;
        let rights = phone.ok("GETACL Newsletter").await;
        post.engine.allow(&hold).await;
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("NO [CANNOT] since this was asked, another mailbox"), "{command}: {said:?}");
        assert_eq!(phone.ok("GETACL Newsletter").await.untagged, rights.untagged, "{command}");
        assert!(!post.dovecot.mailboxes().contains(&"Public".to_owned()), "{command}");
    }
}

#[tokio::test]
async fn a_mailbox_that_holds_only_others_is_renamed_and_what_can_not_be_told_apart_is_not_shared() {
    let post = Post::new(0, "assistant").await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work/Old").await;
    let mut client = post.client().await;
    client.ok("RENAME Work Done").await;
    phone.ok("STATUS Done/Old (MESSAGES)").await;
    let tag = client.send("SETACL Done/Old eve lr").await;
    let hold = post.engine.hold().await;
    post.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert!(phone.ok("GETACL Done/Old").await.untagged[0].contains("eve lr"));
}

#[tokio::test]
async fn a_mailbox_is_not_renamed_with_what_the_agent_may_not_use() {
    let post = Post::new(0, "organize").await;
    narrow(&post.engine, &["Work", "Old"]).await;
    let mut phone = post.phone().await;
    phone.ok("CREATE Work").await;
    phone.ok("CREATE Work/Secret").await;
    let mut client = post.client().await;
    let said = client.no("RENAME Work Old").await;
    assert!(said.end.starts_with("NO [NOPERM] There are mailboxes below it"), "{said:?}");
    phone.ok("STATUS Work/Secret (MESSAGES)").await;
    phone.ok("DELETE Work/Secret").await;
    client.ok("RENAME Work Old").await;
}

#[tokio::test]
async fn undo_removes_no_mailbox_but_the_one_that_was_made() {
    let post = Post::new(0, "organize").await;
    let (mut client, mut phone) = (post.client().await, post.phone().await);
    client.ok("CREATE Notes").await;
    phone.ok("DELETE Notes").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    phone.ok("CREATE Notes").await;
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert!(undone.not_restored[0].why.starts_with("another mailbox has its name"), "{undone:?}");
    client.ok("CREATE Lists").await;
    phone.ok("CREATE Lists/Mine").await;
    let undone = post.undo().await;
    assert!(undone.not_restored.iter().any(|one| one.why.starts_with("there are mailboxes below")), "{undone:?}");
    client.ok("CREATE Own").await;
    let undone = post.undo().await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    let there = post.dovecot.mailboxes();
    assert!(["Notes", "Lists"].iter().all(|one| there.contains(&(*one).to_owned())), "{there:?}");
    assert!(!there.contains(&"Own".to_owned()), "{there:?}");
}

#[tokio::test]
async fn undo_renames_no_mailbox_but_the_one_that_was_renamed() {
    let post = Post::new(0, "organize").await;
    let (mut client, mut phone) = (post.client().await, post.phone().await);
    client.ok("RENAME Archive Old").await;
    phone.ok("RENAME Old Kept").await;
    tokio::time::sleep(Duration::from_millis(1100)).await;
    phone.ok("CREATE Old").await;
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    let there = post.dovecot.mailboxes();
    assert!(there.contains(&"Old".to_owned()) && there.contains(&"Kept".to_owned()), "{there:?}");
    client.ok("RENAME Kept Done").await;
    let undone = post.undo().await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    assert!(post.dovecot.mailboxes().contains(&"Kept".to_owned()));
}

#[tokio::test]
async fn undo_of_sharing_leaves_what_the_person_has_changed_since() {
    for since in ["", "SETACL Archive eve lrswi", "DELETEACL Archive eve"] {
        let post = Post::new(0, "assistant").await;
        let (mut client, mut phone) = (post.client().await, post.phone().await);
        let tag = client.send("SETACL Archive eve lrc").await;
        let hold = post.engine.hold().await;
        post.engine.allow(&hold).await;
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("OK"), "{said:?}");
        if !since.is_empty() {
            phone.ok(since).await;
        }
        let rights = phone.ok("GETACL Archive").await.untagged;
        let undone = post.undo().await;
        let now = phone.ok("GETACL Archive").await.untagged;
        if since.is_empty() {
            assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
            assert!(rights[0].contains("eve") && !now[0].contains("eve"), "{now:?}");
        } else {
            assert_eq!((undone.restored, undone.not_restored.len(), now), (0, 1, rights), "{undone:?}");
        }
    }
}
