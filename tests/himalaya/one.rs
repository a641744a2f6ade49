//! Up to 1.x, whose settings agents' instructions still name.

use latch_ipc::contract::{Empty, HoldList};
use latch_ipc::view::Class;
use latch_tests::dovecot::Stored;

use crate::both;
use crate::house::{Dialect, House, SAID_NO, numbers, words};

const DRAFT: &str = "From: erin@example.com\r\nTo: bob@friends.example\r\nSubject: A draft\r\n\r\nNot yet.\r\n";

#[tokio::test]
async fn with_the_settings_that_are_printed_it_reads_sorts_and_writes() {
    let house = House::new(Dialect::One, 12, "organize").await;
    let start = house.mailboxes();
    let said = house.himalaya(&["account", "doctor"]).await.ok();
    assert!(said.contains("Checking IMAP integrity") && said.contains("Checking SMTP integrity"), "{said}");
    let listed = house.himalaya(&["folder", "list"]).await.ok();
    assert!(["INBOX", "Trash", "Archive", "Sent"].iter().all(|name| listed.contains(name)), "{listed}");
    let listed = house.himalaya(&["envelope", "list", "--page-size", "20"]).await.ok();
    assert!(listed.contains("Mail number 1 ") && listed.contains("Mail number 12"), "{listed}");
    let found = house.himalaya(&["envelope", "list", "from", "alice", "order", "by", "date", "desc"]).await.ok();
    assert!(found.contains("Mail number 9") && !found.contains("Mail number 8"), "{found}");
    let read = house.himalaya(&["message", "read", "3"]).await.ok();
    assert!(read.contains("Subject: Mail number 3") && read.contains("Grüße 3"), "{read}");
    house.himalaya(&["message", "read", "--preview", "6"]).await.ok();
    assert_eq!(house.mailboxes(), start, "reading leaves no trace");

    house.himalaya(&["flag", "add", "3", "seen", "flagged"]).await.ok();
    assert!(house.dovecot.messages("INBOX").iter().any(|one| one.subject == "Mail number 3" && one.flags == "FS"));
    house.himalaya(&["flag", "remove", "3", "seen", "flagged"]).await.ok();
    house.himalaya(&["folder", "add", "Projects"]).await.ok();
    house.himalaya(&["message", "copy", "Projects", "1", "2"]).await.ok();
    house.himalaya(&["message", "move", "Archive", "4"]).await.ok();
    house.himalaya_with(&["message", "save", "--folder", "Archive"], DRAFT).await.ok();
    assert_eq!(house.dovecot.messages("Projects").len(), 2);
    assert_eq!(house.counts(), [11, 0, 2]);
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty(), "all of it is within the budgets");
    let undone = house.undo_everything().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(house.dovecot.messages("INBOX"), start[0]);
}

#[tokio::test]
async fn a_bulk_deletion_is_held_shown_allowed_in_part_and_undone() {
    let house = House::new(Dialect::One, 40, "organize").await;
    let start = house.mailboxes();
    let all = numbers(1, 40);
    let (ran, ()) = house
        .while_decided(&words(&["message", "delete"], &all), async |hold| {
            assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Trash", Class::Remove, 40));
            assert_eq!(house.mailboxes(), start, "nothing before the person has spoken");
            let keep: Vec<&str> = hold.objects.iter().take(5).map(|object| object.id.as_str()).collect();
            house.engine.allow_only(&hold, &keep).await;
        })
        .await;
    let said = ran.refused();
    assert!(said.contains("The person allowed this for 5 of 40 messages"), "{said}");
    assert_eq!(house.counts(), [35, 5, 0]);

    let rest = numbers(6, 40);
    let (ran, ()) = house
        .while_decided(&words(&["message", "move", "Archive"], &rest), async |hold| {
            assert_eq!((hold.verb.as_str(), hold.count), ("Move", 35));
            house.engine.deny(&hold).await;
        })
        .await;
    let said = ran.refused();
    assert!(said.contains(SAID_NO), "{said}");
    assert_eq!(house.counts(), [35, 5, 0]);
    let undone = house.undo_everything().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (5, 0), "{undone:?}");
    assert_eq!(house.mailboxes(), start, "byte by byte");
}

#[tokio::test]
async fn emptying_is_asked_and_comes_back_from_the_quarantine() {
    let house = House::new(Dialect::One, 20, "organize").await;
    house.himalaya(&["message", "delete", "1", "2", "3"]).await.ok();
    assert_eq!(house.counts(), [17, 3, 0]);
    let before = house.mailboxes();
    // In the Trash it only marks them.
    let (ran, ()) = house
        .while_decided(&["message", "delete", "--folder", "Trash", "1", "2", "3"], async |hold| {
            assert_eq!((hold.verb.as_str(), hold.count), ("Mark as deleted", 3));
            house.engine.allow(&hold).await;
        })
        .await;
    ran.ok();
    assert_eq!(house.dovecot.marked("Trash"), 3);
    let (ran, ()) = house
        .while_decided(&["folder", "expunge", "Trash"], async |hold| {
            assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Delete for ever", Class::Destroy, 3));
            house.engine.allow(&hold).await;
        })
        .await;
    ran.ok();
    assert_eq!(house.counts(), [17, 0, 0]);
    for (call, verb, count) in [
        (["folder", "purge", "--yes", "INBOX"], "Mark as deleted", 17),
        (["folder", "delete", "--yes", "Archive"], "Delete", 1),
    ] {
        let (ran, ()) = house
            .while_decided(&call, async |hold| {
                assert_eq!((hold.verb.as_str(), hold.count), (verb, count));
                house.engine.deny(&hold).await;
            })
            .await;
        let said = ran.refused();
        assert!(said.contains(SAID_NO), "{said}");
    }
    let undone = house.undo_everything().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    let whole = |mailboxes: [Vec<Stored>; 3]| {
        let mut all: Vec<Stored> = mailboxes.into_iter().flatten().collect();
        all.sort();
        all
    };
    assert_eq!(whole(house.mailboxes()), whole(before), "bytes, flags and dates");
}

#[tokio::test]
async fn the_inbox_incident_one_by_one_with_a_login_each() {
    both::one_by_one(Dialect::One, |uid| ["flag", "add", uid, "deleted"].map(str::to_owned).to_vec()).await;
}

#[tokio::test]
async fn stopped_while_it_waits_nothing_is_done_and_the_next_call_gets_no_token() {
    both::stopped_while_it_waits(Dialect::One).await;
}

#[tokio::test]
async fn it_sends_what_the_person_allowed_keeps_a_copy_and_takes_a_denial_for_an_answer() {
    let house = House::new(Dialect::One, 1, "assistant").await;
    let mail = |subject: &str| DRAFT.replace("A draft", subject);
    let sending = ["message", "send"];
    let person = async {
        let hold = house.engine.hold().await;
        assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Send", Class::Send, 1));
        house.engine.allow(&hold).await;
    };
    let (ran, ()) = tokio::join!(async { house.himalaya_with(&sending, &mail("Yes")).await }, person);
    ran.ok();
    let arrived = house.sink.arrived(1).await;
    assert_eq!(arrived[0].recipients, ["bob@friends.example"]);
    assert!(arrived[0].text().contains("Subject: Yes") && arrived[0].text().contains("Not yet."));
    let sent = house.dovecot.messages("Sent");
    assert_eq!((sent.len(), sent[0].subject.as_str(), sent[0].flags.as_str()), (1, "Yes", "S"));
    house.himalaya_with(&["template", "send"], &mail("Known")).await.ok();
    assert_eq!(house.dovecot.messages("Sent").len(), 2);

    // Whatever it is answered it connects and sends again at once, until it can't log in.
    let stranger = mail("No").replace("bob@", "eve@");
    let person = async { house.engine.deny(&house.engine.hold().await).await };
    let (ran, _) = tokio::join!(async { house.himalaya_with(&sending, &stranger).await }, person);
    let said = ran.refused();
    assert!(said.contains(SAID_NO) && said.contains("you can't log in for"), "{said}");
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!(house.sink.mails().len(), 2);
}
