//! CLOSE would remove for ever, and silently, whatever is marked as deleted, by whomever: it is asked like EXPUNGE, and closes whatever the answer.

use latch_ipc::contract::{Empty, HoldList, UndoRun, UndoRunParams};
use latch_tests::mail::{Post, Said};
use latch_tests::scene::{ACCOUNT, AGENT, grant};

fn told(said: &Said, wanted: &str) {
    assert!(said.end.starts_with("OK Closed") && said.end.contains(wanted), "{wanted}: {said:?}");
    assert!(!said.untagged.iter().any(|line| line.contains("EXPUNGE")), "CLOSE says of none that it went: {said:?}");
}

#[tokio::test]
async fn what_the_person_allows_goes_into_the_trash_and_comes_back() {
    let post = Post::new(4, "organize").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    // Another program's mark is removed by it, too, so it is shown.
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID STORE 3 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("CLOSE").await;
    let hold = post.engine.hold().await;
    let titles: Vec<&str> = hold.objects.iter().map(|one| one.title.as_str()).collect();
    assert_eq!((hold.verb.as_str(), &titles[..]), ("Delete for ever", &["Mail number 1", "Mail number 3"][..]));
    assert_eq!(post.dovecot.messages("INBOX").len(), 4, "nothing before the person has spoken");
    post.engine.allow(&hold).await;
    told(&client.end(&tag).await, "Moved to the Trash instead of being removed for ever");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (2, 2));
    assert!(client.no("FETCH 1 FLAGS").await.end.starts_with("BAD Open a mailbox first"));
    let undone =
        post.engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    let mut end = post.dovecot.messages("INBOX");
    let others: Vec<_> = end.iter_mut().filter(|one| one.flags.contains('T')).collect();
    assert_eq!(others.len(), 1, "the other program's mark is back");
    for one in others {
        one.flags = one.flags.replace('T', "");
    }
    assert_eq!(end, start);
}

#[tokio::test]
async fn without_a_yes_it_closes_and_says_that_nothing_was_removed() {
    let post = Post::new(5, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("CLOSE").await;
    let hold = post.engine.hold().await;
    post.engine.deny(&hold).await;
    told(&client.end(&tag).await, "Nothing was removed, what is marked as deleted stays so. The person said no");
    assert!(client.no("UID SEARCH ALL").await.end.starts_with("BAD"));
    // The same again has the same answer, without a question.
    client.ok("SELECT INBOX").await;
    told(&client.ok("CLOSE").await, "Nothing was removed");
    // Neither another mailbox nor the end of the connection removes anything, and who only looks is not asked.
    for commands in [&["SELECT INBOX", "SELECT Trash"][..], &["SELECT INBOX", "UNSELECT"], &["EXAMINE INBOX", "CLOSE"]]
    {
        for command in commands {
            client.ok(command).await;
        }
    }
    client.ok("SELECT INBOX").await;
    client.command("LOGOUT").await;
    grant(&post.engine, AGENT, ACCOUNT, "read-only").await;
    let mut reader = post.client().await;
    reader.ok("SELECT INBOX").await;
    assert_eq!(reader.ok("CLOSE").await.end, "OK Closed");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.marked("INBOX")), (5, 2));
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn a_part_is_a_part_and_one_question_answers_whoever_asks_the_same() {
    let post = Post::new(5, "organize").await;
    let (mut one, mut two) = (post.client().await, post.client().await);
    one.ok("SELECT INBOX").await;
    two.ok("SELECT INBOX").await;
    one.ok("UID STORE 1:3 +FLAGS.SILENT (\\Deleted)").await;
    let expunging = one.send("EXPUNGE").await;
    let hold = post.engine.hold().await;
    let closing = two.send("CLOSE").await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    assert_eq!(post.engine.call(HoldList, Empty {}).await.len(), 1, "it joins the question");
    post.engine.allow_only(&hold, &[&hold.objects[0].id]).await;
    let said = one.end(&expunging).await;
    assert!(said.end.starts_with("NO [NOPERM] The person allowed this for 1 of 3"), "{said:?}");
    told(&two.end(&closing).await, "The person allowed to remove 1 of 3 messages");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.messages("Trash").len()), (4, 1));
    assert_eq!(post.dovecot.marked("INBOX"), 2);
}

#[tokio::test]
async fn a_panic_while_it_waits_removes_nothing() {
    let post = Post::new(3, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    let tag = client.send("CLOSE").await;
    post.engine.hold().await;
    post.engine.call(latch_ipc::contract::PanicCall, Empty {}).await;
    assert_eq!(client.end(&tag).await.end, "(gone)");
    assert_eq!((post.dovecot.messages("INBOX").len(), post.dovecot.marked("INBOX")), (3, 1));
}
