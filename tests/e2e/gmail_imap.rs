//! Gmail's labels over IMAP: what a command does there is what is decided, shown and taken back.

use std::time::Duration;

use latch_ipc::contract::{Empty, HoldList, UndoResult, UndoRun, UndoRunParams};
use latch_ipc::phone::PhoneState;
use latch_tests::engine::{Engine, Start};
use latch_tests::gmail_imap::{GmailImap, GmailMessage};
use latch_tests::mail::{Client, add};
use latch_tests::scene::{ACCOUNT, AGENT, connect, issue, narrow};
use tempfile::TempDir;

use crate::phone::{SUBJECT, runs, switch, until_state, until_stopped};

const ALL: &str = "[Gmail]/All Mail";
const TRASH: &str = "[Gmail]/Trash";

struct House {
    gmail: GmailImap,
    engine: Engine,
    _home: TempDir,
}

impl House {
    async fn new() -> Self {
        Self::with(GmailImap::start().await).await
    }

    async fn with(gmail: GmailImap) -> Self {
        let home = tempfile::tempdir().expect("a temporary folder");
        let engine = Start::at(home.path()).in_memory().imap().start().await;
        add(&engine, gmail.port, "canary-gmail-31c0").await;
        connect(&engine, AGENT, ACCOUNT, "organize").await;
        Self { gmail, engine, _home: home }
    }

    async fn client(&self) -> Client {
        let token = issue(&self.engine, AGENT).await;
        let mut client = Client::connect(self.engine.welcome.doors.imap.as_deref().expect("a door")).await;
        client.ok(&format!("LOGIN {ACCOUNT} {token}")).await;
        client
    }

    /// Mails in the inbox, with X-GM-MSGID.
    fn fill(&self, count: usize) -> Vec<u64> {
        (1..=count).map(|n| self.gmail.deliver("me@gmail.example", &format!("Mail {n}"), &["Home"])).collect()
    }

    fn labels(&self, id: u64) -> Vec<String> {
        self.gmail.message(id).map(|one| one.labels.into_iter().collect()).unwrap_or_default()
    }

    fn place(&self, id: u64) -> &'static str {
        self.gmail.message(id).map_or("", |one| one.place)
    }

    async fn undo(&self) -> UndoResult {
        let params = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
        self.engine.call(UndoRun, params).await
    }
}

#[tokio::test]
async fn taking_the_inbox_label_away_is_archiving_and_is_taken_back() {
    let house = House::new().await;
    let ids = house.fill(14);
    let mut client = house.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1:2 -X-GM-LABELS (\\Inbox)").await;
    assert_eq!((house.labels(ids[0]), house.place(ids[0])), (vec!["Home".to_owned()], ALL));
    assert_eq!(client.ok("UID SEARCH ALL").await.untagged, ["* SEARCH 3 4 5 6 7 8 9 10 11 12 13 14"]);
    // 20 in ten minutes, halved in an agent's first week: leaving the inbox counts, however it is spelled.
    let tag = client.send("UID STORE 3:13 -X-GM-LABELS.SILENT (\"\\\\Inbox\")").await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count, hold.objects[0].title.as_str()), ("Archive", 11, "Mail 3"));
    assert_eq!(house.labels(ids[2]).len(), 2, "nothing before the person has spoken");
    house.engine.deny(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("NO [NOPERM]"));
    let tag = client.send("UID STORE 3:13 X-GM-LABELS (Work)").await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count), ("Change labels", 11));
    assert!(hold.facts.iter().any(|fact| fact.label == "Replace all by" && fact.value == "Work"), "{:?}", hold.facts);
    house.engine.deny(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("NO [NOPERM]"));
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!(house.labels(ids[0]), ["Home", "\\Inbox"]);
}

#[tokio::test]
async fn every_way_into_the_trash_is_trashing_and_comes_back() {
    let house = House::new().await;
    let ids = house.fill(4);
    let mut client = house.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID STORE 1 +X-GM-LABELS (\\Trash)").await;
    client.ok(&format!("UID COPY 2 \"{TRASH}\"")).await;
    client.ok(&format!("UID MOVE 3 \"{TRASH}\"")).await;
    for id in &ids[..3] {
        assert_eq!(house.place(*id), TRASH);
    }
    // Three in ten minutes, in an agent's first week. Whether a label of that name is the Trash is not known.
    for spelled in ["Trash", "[Gmail]/Trash"] {
        let tag = client.send(&format!("UID STORE 4 +X-GM-LABELS (\"{spelled}\" Home)")).await;
        let hold = house.engine.hold().await;
        assert_eq!((hold.verb.as_str(), hold.count), ("Trash", 1), "{spelled}");
        house.engine.deny(&hold).await;
        assert!(client.end(&tag).await.end.starts_with("NO"), "{spelled}");
    }
    assert_eq!(house.place(ids[3]), ALL);
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (3, 0), "{undone:?}");
    for id in ids {
        assert_eq!((house.place(id), house.labels(id)), (ALL, vec!["Home".to_owned(), "\\Inbox".to_owned()]));
    }
}

#[tokio::test]
async fn a_mark_that_could_delete_for_ever_is_asked_and_becomes_the_trash() {
    for gmail in [GmailImap::start().await, GmailImap::start_deleting().await] {
        let house = House::with(gmail).await;
        let ids = house.fill(2);
        let mut client = house.client().await;
        client.ok("SELECT INBOX").await;
        let tag = client.send("UID STORE 1 +FLAGS (\\Seen \\Deleted)").await;
        let hold = house.engine.hold().await;
        assert_eq!((hold.verb.as_str(), hold.count, hold.forever), ("Mark as deleted", 1, true));
        assert_eq!(house.place(ids[0]), ALL, "nothing before the person has spoken");
        house.engine.allow(&hold).await;
        assert!(client.end(&tag).await.end.starts_with("OK Moved to the Trash instead"));
        assert_eq!(house.place(ids[0]), TRASH);
        assert!(house.gmail.heard().iter().all(|line| !line.contains("Deleted)")), "{:?}", house.gmail.heard());
        let undone = house.undo().await;
        assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
        assert_eq!((house.place(ids[0]), house.labels(ids[0])), (ALL, vec!["Home".to_owned(), "\\Inbox".to_owned()]));
    }
}

#[tokio::test]
async fn marking_in_the_trash_is_deleting_for_ever_and_is_asked() {
    let house = House::new().await;
    let ids = house.fill(2);
    for id in &ids {
        house.gmail.change(*id, |one| one.place = "[Gmail]/Trash");
    }
    let mut client = house.client().await;
    client.ok(&format!("SELECT \"{TRASH}\"")).await;
    let tag = client.send("UID STORE 1 +FLAGS (\\Deleted)").await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count, hold.forever), ("Mark as deleted", 1, false));
    assert!(house.gmail.message(ids[0]).is_some());
    house.engine.allow(&hold).await;
    assert!(client.end(&tag).await.end.starts_with("OK"));
    assert!(house.gmail.message(ids[0]).is_none() && house.gmail.message(ids[1]).is_some());
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    let back = house.gmail.messages().into_iter().find(|one| one.text.contains("Mail 1")).expect("it is back");
    assert_eq!(back.place, TRASH);
}

#[tokio::test]
async fn a_copy_is_a_label_and_taking_it_back_trashes_nothing() {
    let house = House::new().await;
    let ids = house.fill(2);
    let mut client = house.client().await;
    client.ok("SELECT INBOX").await;
    client.ok("UID COPY 1:2 Work").await;
    assert_eq!(house.labels(ids[1]), ["Home", "Work", "\\Inbox"]);
    let seen = client.ok("UID FETCH 1 (X-GM-LABELS X-GM-MSGID X-GM-THRID)").await;
    assert!(seen.untagged[0].contains("\"Work\"") && seen.untagged[0].contains(&ids[0].to_string()), "{seen:?}");
    assert_eq!(client.ok(&format!("UID SEARCH X-GM-MSGID {}", ids[1])).await.untagged, ["* SEARCH 2"]);
    assert_eq!(client.ok("UID SEARCH X-GM-LABELS work").await.untagged, ["* SEARCH 1 2"]);
    house.gmail.change(ids[1], |one| {
        one.labels.remove("\\Inbox");
    });
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (2, 0), "{undone:?}");
    assert_eq!((house.labels(ids[0]), house.place(ids[0])), (vec!["Home".to_owned(), "\\Inbox".to_owned()], ALL));
    assert_eq!((house.labels(ids[1]), house.place(ids[1])), (vec!["Home".to_owned()], ALL), "archived since: left so");
    assert!(house.engine.call(HoldList, Empty {}).await.is_empty());
}

#[tokio::test]
async fn a_move_out_of_all_mail_is_a_label_and_taking_it_back_trashes_nothing() {
    let house = House::new().await;
    let ids = house.fill(2);
    let mut client = house.client().await;
    client.ok(&format!("SELECT \"{ALL}\"")).await;
    client.ok("UID MOVE 1:2 Work").await;
    assert!(house.labels(ids[0]).contains(&"Work".to_owned()), "{:?}", house.labels(ids[0]));
    let undone = house.undo().await;
    for id in &ids {
        assert_eq!(
            (house.place(*id), house.labels(*id)),
            (ALL, vec!["Home".to_owned(), "\\Inbox".to_owned()]),
            "{undone:?}"
        );
    }
}

#[tokio::test]
async fn a_mailbox_that_is_deleted_is_a_label_that_goes_and_comes_back() {
    let house = House::new().await;
    let ids = house.fill(2);
    house.gmail.change(ids[0], |one| {
        one.labels.insert("Work".to_owned());
    });
    let mut client = house.client().await;
    let tag = client.send("DELETE Work").await;
    let hold = house.engine.hold().await;
    assert_eq!((hold.verb.as_str(), hold.count, hold.forever), ("Delete a mailbox of", 1, false));
    assert!(hold.facts.iter().any(|fact| fact.label == "On Gmail" && fact.value.contains("stay")), "{:?}", hold.facts);
    house.engine.allow(&hold).await;
    let said = client.end(&tag).await;
    assert!(said.end.starts_with("OK"), "{said:?}");
    assert_eq!((house.place(ids[0]), house.labels(ids[0])), (ALL, vec!["Home".to_owned(), "\\Inbox".to_owned()]));
    let undone = house.undo().await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(house.labels(ids[0]), ["Home", "Work", "\\Inbox"]);
    assert_eq!(house.gmail.messages().len(), 2, "none is there twice");
}

#[tokio::test]
async fn undoing_what_was_stored_trashes_nothing_that_was_there_before() {
    let house = House::new().await;
    let ids = house.fill(2);
    let archived = house.gmail.message(ids[1]).expect("it is there").text;
    house.gmail.change(ids[1], |one| one.labels.clear());
    let known = house.gmail.message(ids[0]).expect("it is there").text;
    let mut client = house.client().await;
    let own = ["Subject: Alone\r\n\r\nx\r\n", "Subject: Filed since\r\n\r\nx\r\n"].map(str::to_owned);
    for mail in [&known, &archived, &own[0], &own[1]] {
        let tag = client.send(&format!("APPEND Work {{{}}}", mail.len())).await;
        client.go_ahead().await;
        client.say(format!("{mail}\r\n").as_bytes()).await;
        assert!(client.end(&tag).await.end.starts_with("OK"));
    }
    assert_eq!(house.gmail.messages().len(), 4, "Gmail takes what it has for the same");
    let by = |subject: &str| {
        let is = |one: &&GmailMessage| one.text.contains(subject);
        house.gmail.messages().iter().find(is).expect("it is there").id
    };
    let (alone, filed) = (by("Alone"), by("Filed since"));
    house.gmail.change(filed, |one| {
        one.labels.insert("Home".to_owned());
    });
    let undone = house.undo().await;
    assert_eq!((undone.restored, undone.not_restored.len()), (4, 0), "{undone:?}");
    assert_eq!((house.place(ids[0]), house.labels(ids[0])), (ALL, vec!["Home".to_owned(), "\\Inbox".to_owned()]));
    assert_eq!((house.place(ids[1]), house.labels(ids[1]).len()), (ALL, 0), "archived, as before");
    assert_eq!((house.place(filed), house.labels(filed)), (ALL, vec!["Home".to_owned()]), "the person's by now");
    assert_eq!(house.place(alone), TRASH, "nobody else's");
}

#[tokio::test]
async fn the_mail_that_stops_everything_is_out_of_reach_in_every_mailbox() {
    let house = House::new().await;
    let ids = house.fill(2);
    switch(&house.engine, true).await;
    until_state(&house.engine, PhoneState::Watching).await;
    let stop = house.gmail.messages().into_iter().find(|one| one.text.contains(SUBJECT)).expect("it is there").id;
    let mut client = house.client().await;
    for mailbox in ["INBOX", ALL] {
        let uid = house.gmail.uid(stop, mailbox).expect("it is there, too");
        client.ok(&format!("SELECT \"{mailbox}\"")).await;
        let found = client.ok("UID SEARCH ALL").await.untagged;
        assert_eq!(found, ["* SEARCH 1 2"], "{mailbox}");
        assert!(client.ok(&format!("UID FETCH {uid} (X-GM-LABELS ENVELOPE)")).await.untagged.is_empty(), "{mailbox}");
        assert_eq!(client.ok("FETCH 1:* (UID)").await.untagged.len(), 2, "{mailbox}");
        for reach in [
            format!("UID STORE {uid} -X-GM-LABELS (\\Inbox)"),
            format!("UID STORE {uid} +X-GM-LABELS (\\Trash)"),
            format!("UID STORE {uid} +FLAGS (\\Deleted)"),
            format!("UID MOVE {uid} \"{TRASH}\""),
            format!("UID COPY {uid} \"{TRASH}\""),
        ] {
            let said = client.ok(&reach).await;
            assert_eq!(said.end, "OK There is none of these, so nothing was changed", "{reach}");
        }
        client.ok("UID STORE 1:* -X-GM-LABELS (Home)").await;
    }
    assert!(house.labels(ids[0]).iter().all(|one| one != "Home"));
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(runs(&house.engine).await, "an agent stops nothing with it");
    house.gmail.change(stop, |one| {
        one.labels.remove("\\Inbox");
    });
    let why = until_stopped(&house.engine).await;
    assert!(why.contains(ACCOUNT), "{why}");
}

#[tokio::test]
async fn a_grant_for_some_mailboxes_holds_for_labels() {
    let house = House::new().await;
    let ids = house.fill(3);
    narrow(&house.engine, &["inbox", "Work"]).await;
    let mut client = house.client().await;
    client.ok("SELECT INBOX").await;
    for reach in [
        "UID STORE 1 +X-GM-LABELS (Other)",
        "UID STORE 1 +X-GM-LABELS (Work Other)",
        "UID STORE 1 +X-GM-LABELS (\\Trash)",
        "UID STORE 1 +X-GM-LABELS (\\Starred)",
        "UID STORE 1 +X-GM-LABELS (\\Sent)",
        "UID STORE 1 -X-GM-LABELS (Home)",
        "UID STORE 1 X-GM-LABELS (\\Inbox Work)",
        "UID STORE 1 X-GM-LABELS ()",
        "UID FETCH 1 (FLAGS X-GM-LABELS)",
        "UID SEARCH X-GM-LABELS Home",
        "UID SEARCH NOT (X-GM-LABELS Home)",
        "UID SEARCH X-GM-RAW \"label:home\"",
    ] {
        let said = client.no(reach).await;
        assert!(said.end.starts_with("NO [NOPERM]") && said.untagged.is_empty(), "{reach}: {said:?}");
    }
    assert_eq!(house.labels(ids[0]), ["Home", "\\Inbox"]);
    client.ok("UID FETCH 1 (FLAGS X-GM-MSGID)").await;
    client.ok("UID STORE 1 +X-GM-LABELS (Work)").await;
    client.ok("UID STORE 1 -X-GM-LABELS (\\Inbox)").await;
    assert_eq!(house.labels(ids[0]), ["Home", "Work"]);
}
