//! Undo over IMAP that does not succeed at once: what a passing trouble kept from being put back can be put back later, and nothing comes back twice.

use latch_ipc::contract::{
    Empty, QuarantineList, StatusCall, UndoList, UndoListParams, UndoResult, UndoRun, UndoRunParams,
};
use latch_tests::copied::Copied;
use latch_tests::dovecot::{Dovecot, PASSWORD, Stored};
use latch_tests::engine::{Engine, Start};
use latch_tests::mail::{Client, Post, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue};

use crate::classes::wait_until;
use crate::imap_bad::lied_to_as;
use crate::liar::Cut;

/// Carries a command out, with a yes where it is asked about.
async fn done(post: &Post, client: &mut Client, command: &str) {
    let tag = client.send(command).await;
    let said = loop {
        tokio::select! {
            said = client.end(&tag) => break said,
            hold = post.engine.hold() => {
                post.engine.allow(&hold).await;
            }
        }
    };
    assert!(said.end.starts_with("OK"), "{command}: {said:?}");
}

async fn newest(engine: &Engine) -> Vec<String> {
    let entries = engine.call(UndoList, UndoListParams::default()).await;
    entries.into_iter().filter(|entry| !entry.undone).map(|entry| entry.entry).collect()
}

async fn all_undone(engine: &Engine) -> UndoResult {
    engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await
}

/// Names of all mailboxes, and who gets into the Archive.
async fn arrangement(phone: &mut Client) -> (Vec<String>, Vec<String>) {
    let mut names = phone.ok("LIST \"\" *").await.untagged;
    names.sort();
    (names, phone.ok("GETACL Archive").await.untagged)
}

#[tokio::test]
async fn a_mailbox_that_can_not_be_looked_at_just_now_can_be_put_back_later() {
    for command in ["CREATE Notes", "RENAME Work Done", "DELETE Work", "SETACL Archive eve lr"] {
        let (liar, post) = lied_to_as(1, "assistant").await;
        let mut phone = post.phone().await;
        phone.ok("CREATE Work").await;
        let start = arrangement(&mut phone).await;
        let mut client = post.client().await;
        done(&post, &mut client, command).await;
        let after = arrangement(&mut phone).await;
        assert_ne!(after, start, "{command}");
        let about = if command.starts_with("SETACL") { "GETACL" } else { "STATUS" };
        for refused in [false, true] {
            match refused {
                // What it does not understand it answers with BAD, as it would with NO what it can't do just now.
                true => liar.hears(about, "XNOTNOW"),
                false => liar.cut(about, Cut::Before),
            }
            let undone = post.undo().await;
            assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{command}: {undone:?}");
            liar.mend();
            assert_eq!(arrangement(&mut phone).await, after, "{command}");
        }
        let undone = post.undo().await;
        assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{command}: {undone:?}");
        assert_eq!(arrangement(&mut phone).await, start, "{command}");
        assert!(newest(&post.engine).await.is_empty(), "{command}");
    }
}

#[tokio::test]
async fn what_lies_in_a_mailbox_that_was_renamed_since_can_be_put_back_later() {
    let post = Post::new(4, "organize").await;
    let start = post.dovecot.messages("INBOX");
    let (mut client, mut phone) = (post.client().await, post.phone().await);
    phone.ok("CREATE Work").await;
    client.ok("SELECT INBOX").await;
    client.ok("UID MOVE 1 Work").await;
    client.ok("RENAME Work Done").await;
    let entries = newest(&post.engine).await;
    let moved = UndoRunParams::Entry { entry: entries.last().expect("the move").clone() };
    let undone = post.engine.call(UndoRun, moved).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
    assert!(post.dovecot.mailboxes().contains(&"Work".to_owned()));
}

/// These leave for ever: copies of them are kept.
async fn expunged(engine: &Engine, client: &mut Client, uids: &str) {
    client.ok("SELECT INBOX").await;
    client.ok(&format!("UID STORE {uids} +FLAGS.SILENT (\\Deleted)")).await;
    let tag = client.send(&format!("UID EXPUNGE {uids}")).await;
    let hold = engine.hold().await;
    engine.allow_forever(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
}

/// What there is in the INBOX, the agent's marks aside.
fn unmarked(dovecot: &Dovecot) -> Vec<Stored> {
    let mut all = dovecot.messages("INBOX");
    for one in &mut all {
        one.flags = one.flags.replace('T', "");
    }
    all.sort();
    all
}

#[tokio::test]
async fn a_copy_that_can_not_be_read_keeps_no_other_from_coming_back_and_none_comes_twice() {
    let post = Post::new(6, "organize").await;
    let start = unmarked(&post.dovecot);
    let mut client = post.client().await;
    expunged(&post.engine, &mut client, "1:3").await;
    let copy = Copied::nth(post.home.path(), 1);
    copy.spoil();
    for _ in 0..2 {
        let undone = all_undone(&post.engine).await;
        assert!(undone.not_restored.iter().any(|one| one.why.contains("can't be read")), "{undone:?}");
        assert_eq!(unmarked(&post.dovecot).len(), 5, "all but the one");
    }
    assert_eq!(post.engine.call(QuarantineList, Empty {}).await.items, 1);
    copy.mend();
    all_undone(&post.engine).await;
    assert_eq!(unmarked(&post.dovecot), start);
    assert_eq!(post.engine.call(QuarantineList, Empty {}).await.items, 0);
}

#[tokio::test]
async fn an_undo_that_is_killed_in_the_middle_brings_nothing_back_twice() {
    // The third copy is on its way, is back, and is noted as back.
    for point in ["before-intent:3", "before-outcome:2", "after-commit:6"] {
        let home = tempfile::tempdir().expect("a temporary folder");
        let dovecot = Dovecot::start(4).await;
        let engine = Start::at(home.path()).imap().start().await;
        add(&engine, dovecot.port, PASSWORD).await;
        connect(&engine, AGENT, ACCOUNT, "organize").await;
        let token = issue(&engine, AGENT).await;
        let mut client = Client::connect(engine.welcome.doors.imap.as_deref().expect("an IMAP door")).await;
        client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        let start = unmarked(&dovecot);
        expunged(&engine, &mut client, "1:3").await;
        let removed = newest(&engine).await.first().expect("an entry").clone();
        engine.kill().await;
        let mut engine = Start::at(home.path()).imap().failing(point).start().await;
        let params = UndoRunParams::Entry { entry: removed.clone() };
        let cut = engine.client.call(UndoRun, params.clone()).await;
        assert!(cut.is_err(), "{point}: {cut:?}");
        engine.ended().await;
        let back = unmarked(&dovecot).len();
        assert!((3..=4).contains(&back), "{point}: {back}");
        let engine = Start::at(home.path()).imap().start().await;
        let undone = engine.call(UndoRun, params).await;
        assert!(undone.not_restored.is_empty(), "{point}: {undone:?}");
        let end = unmarked(&dovecot);
        match point {
            // Nobody could know that this one was back.
            "before-outcome:2" => assert_eq!(end.len(), start.len() + 1, "{point}"),
            _ => assert_eq!(end, start, "{point}"),
        }
        assert_eq!(engine.call(QuarantineList, Empty {}).await.items, 0, "{point}");
        // The entry of the marks has followed all of them.
        let undone = all_undone(&engine).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{point}: {undone:?}");
    }
}

#[tokio::test]
async fn a_mark_that_does_not_come_back_is_told() {
    let (liar, post) = lied_to_as(2, "organize").await;
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    done(&post, &mut client, "UID EXPUNGE 1").await;
    assert_eq!(post.dovecot.messages("INBOX").len(), 1);
    liar.hears("+FLAGS", "XFLAGS");
    let entry = newest(&post.engine).await.first().expect("an entry").clone();
    let undone = post.engine.call(UndoRun, UndoRunParams::Entry { entry }).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 1), "{undone:?}");
    assert!(undone.not_restored[0].why.starts_with("it is back, but not marked as deleted"), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX").len(), 2);
}

#[tokio::test]
async fn rights_are_not_given_back_in_another_mailbox_of_that_name() {
    let post = Post::new(0, "assistant").await;
    let (mut client, mut phone) = (post.client().await, post.phone().await);
    phone.ok("CREATE Team").await;
    phone.ok("SETACL Team bob lrswi").await;
    done(&post, &mut client, "DELETEACL Team bob").await;
    phone.ok("DELETE Team").await;
    // UIDVALIDITY is made from seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    phone.ok("CREATE Team").await;
    let undone = post.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert!(undone.not_restored[0].why.starts_with("another mailbox has its name"), "{undone:?}");
    let rights = phone.ok("GETACL Team").await.untagged;
    assert!(!rights[0].contains("bob"), "{rights:?}");
}

#[tokio::test]
async fn what_panic_stops_before_it_leaves_keeps_no_copy_and_is_nothing_to_undo() {
    for command in ["UID EXPUNGE 1:2", "UID STORE 3 +FLAGS (\\Flagged)", "CREATE Made"] {
        let post =
            Post::with(Dovecot::start(4), "ask-everything", |start| start.in_memory().failing("panic-after-intent"))
                .await;
        let mut phone = post.phone().await;
        phone.ok("SELECT INBOX").await;
        phone.ok("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
        let start = post.dovecot.messages("INBOX");
        let mut client = post.client().await;
        client.ok("SELECT INBOX").await;
        let tag = client.send(command).await;
        let hold = post.engine.hold().await;
        if command.contains("EXPUNGE") {
            post.engine.allow_forever(&hold).await;
        } else {
            post.engine.allow(&hold).await;
        }
        client.end(&tag).await;
        wait_until(|| async { post.engine.call(StatusCall, Empty {}).await.panicked }).await;
        wait_until(|| async { post.engine.call(QuarantineList, Empty {}).await.items == 0 }).await;
        wait_until(|| async { post.engine.call(UndoList, UndoListParams::default()).await.is_empty() }).await;
        assert_eq!(post.dovecot.messages("INBOX"), start, "{command}");
        let warnings = post.engine.call(StatusCall, Empty {}).await.warnings;
        assert!(!warnings.iter().any(|warning| warning.contains("unknown")), "{command}: {warnings:?}");
    }
}

#[tokio::test]
async fn what_is_skipped_behind_a_step_that_failed_can_be_put_back_later() {
    let (liar, post) = lied_to_as(4, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID STORE 1:4 FLAGS.SILENT ()").await;
    phone.ok("UID STORE 2:3 FLAGS.SILENT (\\Flagged)").await;
    let start = post.dovecot.messages("INBOX");
    let mut client = post.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1:4 FLAGS (\\Seen)").await;
    liar.hears("+FLAGS", "XFLAGS");
    let undone = all_undone(&post.engine).await;
    assert_eq!(undone.not_restored.len(), 4, "{undone:?}");
    liar.hears("+FLAGS", "+FLAGS");
    let undone = all_undone(&post.engine).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (4, 0), "{undone:?}");
    assert_eq!(post.dovecot.messages("INBOX"), start);
}
