//! From 2.0 on.

use latch_ipc::contract::{Empty, HoldList, Verdict};
use latch_ipc::view::Class;
use latch_tests::dovecot::{Dovecot, Stored};
use latch_tests::engine::decision;

use crate::both;
use crate::house::{Dialect, House, SAID_NO, numbers, words};

#[tokio::test]
async fn with_the_settings_that_are_printed_it_reads_sorts_and_writes() {
    let house = House::new(Dialect::Two, 12, "organize").await;
    let start = house.mailboxes();
    house.himalaya(&["account", "check"]).await.ok();
    let listed = house.himalaya(&["mailbox", "list", "--counts"]).await.ok();
    assert!(["Inbox", "Trash", "Archive", "Sent"].iter().all(|name| listed.contains(name)), "{listed}");
    let listed = house.himalaya(&["envelope", "list"]).await.ok();
    assert!(listed.contains("Mail number 1 ") && listed.contains("Mail number 12"), "{listed}");
    let found = house.himalaya(&["envelope", "search", "from", "alice", "order", "by", "date", "desc"]).await.ok();
    assert!(found.contains("Mail number 9") && !found.contains("Mail number 8"), "{found}");
    let read = house.himalaya(&["message", "read", "3"]).await.ok();
    assert!(read.contains("Subject: Mail number 3") && read.contains("Grüße 3"), "{read}");
    // Not even where it asks for the read mark: reading over IMAP marks nothing.
    house.himalaya(&["message", "read", "6", "--seen"]).await.ok();
    assert_eq!(house.mailboxes(), start, "reading leaves no trace");

    house.himalaya(&["flag", "add", "3", "--flag", "seen", "--flag", "flagged"]).await.ok();
    assert!(house.dovecot.messages("INBOX").iter().any(|one| one.subject == "Mail number 3" && one.flags == "FS"));
    house.himalaya(&["flag", "remove", "3", "--flag", "seen", "--flag", "flagged"]).await.ok();
    house.himalaya(&["imap", "create", "Projects"]).await.ok();
    let copied = house.himalaya(&["message", "copy", "--to", "Projects", "1", "2"]).await.ok();
    assert!(copied.contains("2 messages successfully copied"), "{copied}");
    let moved = house.himalaya(&["message", "move", "--to", "Archive", "4"]).await.ok();
    assert!(moved.contains("1 message successfully moved"), "{moved}");
    let mail = "From: erin@example.com\r\nTo: bob@friends.example\r\nSubject: A draft\r\n\r\nNot yet.\r\n";
    house.himalaya_with(&["message", "add", "--mailbox", "Archive", "--flag", "draft"], mail).await.ok();
    assert_eq!(house.dovecot.messages("Projects").len(), 2);
    assert_eq!(house.counts(), [11, 0, 2]);
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty(), "all of it is within the budgets");
    let undone = house.undo_everything().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(house.dovecot.messages("INBOX"), start[0]);
}

#[tokio::test]
async fn a_bulk_deletion_is_held_shown_allowed_in_part_and_undone() {
    let house = House::new(Dialect::Two, 40, "organize").await;
    let start = house.mailboxes();
    let all = numbers(1, 40);
    let (ran, ()) =
        house
            .while_decided(&words(&["message", "delete"], &all), async |hold| {
                assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Trash", Class::Remove, 40));
                assert_eq!(hold.objects.len(), 40);
                assert!(hold.objects.iter().any(|object| object.title == "Mail number 17"
                    && object.from.as_deref() == Some("Bob <bob@example.net>")));
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
        .while_decided(&words(&["message", "move", "--to", "Archive"], &rest), async |hold| {
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
async fn deleting_in_the_trash_is_for_ever_asked_and_comes_back_from_the_quarantine() {
    let house = House::new(Dialect::Two, 6, "organize").await;
    house.himalaya(&["message", "delete", "1", "2", "3"]).await.ok();
    assert_eq!(house.counts(), [3, 3, 0]);
    let before = house.mailboxes();
    // It marks them, then expunges them: two questions.
    let person = async {
        let hold = house.engine.hold().await;
        assert_eq!((hold.verb.as_str(), hold.count), ("Mark as deleted", 3));
        house.engine.allow(&hold).await;
        let hold = loop {
            let hold = house.engine.hold().await;
            if hold.verb != "Mark as deleted" {
                break hold;
            }
        };
        assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Delete for ever", Class::Destroy, 3));
        // There is no Trash below the Trash: to allow it is to allow it for ever.
        assert!(!hold.forever);
        house.engine.allow(&hold).await;
    };
    let (ran, ()) = tokio::join!(house.himalaya(&["message", "delete", "-m", "trash", "1", "2", "3"]), person);
    ran.ok();
    assert_eq!(house.counts(), [3, 0, 0]);
    let undone = house.undo_everything().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    let after = house.mailboxes();
    let whole = |mailboxes: &[Vec<Stored>; 3]| {
        let mut all: Vec<Stored> = mailboxes.iter().flatten().cloned().collect();
        all.sort();
        all
    };
    assert_eq!(whole(&after), whole(&before), "bytes, flags and dates");
}

#[tokio::test]
async fn the_inbox_incident_one_by_one_with_a_login_each() {
    both::one_by_one(Dialect::Two, |uid| ["imap", "store", uid, "-f", "\\Deleted"].map(str::to_owned).to_vec()).await;
}

#[tokio::test]
async fn stopped_while_it_waits_nothing_is_done_and_the_next_call_gets_no_token() {
    both::stopped_while_it_waits(Dialect::Two).await;
}

#[tokio::test]
async fn it_reads_mail_filters_and_every_change_of_one_is_shown_first() {
    let house = House::with(Dialect::Two, Dovecot::with_filters(false), "ask-everything").await;
    let file = house.folder.path().join("filters.sieve");
    std::fs::write(&file, "redirect \"x@evil.example\";\r\n").expect("a file");
    let file = file.to_string_lossy().into_owned();
    house.himalaya(&["sieve", "list"]).await.ok();
    house.himalaya(&["sieve", "check", "--script-file", &file]).await.ok();
    let put = ["sieve", "put", "main", "--script-file", &file];
    let (ran, ()) = house
        .while_decided(&put, async |hold| {
            assert_eq!((hold.verb.as_str(), hold.class), ("Change the mail filter", Class::Divert));
            assert!(hold.facts.iter().any(|fact| fact.value.contains("x@evil.example")), "{:?}", hold.facts);
            house.engine.deny(&hold).await;
        })
        .await;
    let said = ran.refused();
    assert!(said.contains(SAID_NO), "{said}");
    assert_eq!(house.dovecot.script("main"), None);
    std::fs::write(&file, "keep;\r\n").expect("a file");
    for change in [&put[..], &["sieve", "activate", "main"]] {
        let (ran, ()) = house
            .while_decided(change, async |hold| {
                let mut allow = decision(&hold, Verdict::Allow);
                allow.retyped_count = Some(hold.count);
                house.engine.decide(allow).await.expect("allowed");
            })
            .await;
        ran.ok();
    }
    assert_eq!(house.dovecot.script("main").as_deref(), Some("keep;\r\n"));
    assert_eq!(house.dovecot.running().as_deref(), Some("main"));
    assert!(house.himalaya(&["sieve", "list"]).await.ok().contains("main"));
    assert!(house.himalaya(&["sieve", "get", "main"]).await.ok().contains("keep;"));
    let undone = house.undo_everything().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!((house.dovecot.script("main"), house.dovecot.running()), (None, None));
}

#[tokio::test]
async fn it_sends_what_the_person_allowed_and_hears_of_a_denial() {
    let house = House::new(Dialect::Two, 1, "assistant").await;
    let send = |subject: &'static str| {
        let to = ["--to", "bob@friends.example", "--from", "erin@example.com", "--body", "Hello", "--subject"];
        [&["message", "compose", "--send"][..], &to[..], &[subject][..]].concat()
    };
    let (ran, ()) = house
        .while_decided(&send("No"), async |hold| {
            assert_eq!((hold.verb.as_str(), hold.class, hold.count), ("Send", Class::Send, 1));
            house.engine.deny(&hold).await;
        })
        .await;
    let said = ran.refused();
    assert!(said.contains(SAID_NO), "{said}");
    let (ran, _) = house.while_decided(&send("Yes"), async |hold| house.engine.allow(&hold).await).await;
    ran.ok();
    let arrived = house.sink.arrived(1).await;
    assert_eq!((arrived.len(), arrived[0].recipients.as_slice()), (1, &["bob@friends.example".to_owned()][..]));
    assert!(arrived[0].text().contains("Subject: Yes") && arrived[0].text().contains("Hello"));
}
