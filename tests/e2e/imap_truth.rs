//! What an agent is told of a change, and what the person is promised of it, is what happens.

use latch_ipc::contract::{Empty, HoldList, UndoList, UndoListParams, UndoResult, UndoRun, UndoRunParams};
use latch_ipc::view::{Class, Reversible};
use latch_tests::dovecot::Dovecot;
use latch_tests::engine::Start;
use latch_tests::mail::{Client, Post, Said};
use latch_tests::scene::AGENT;

async fn undo_everything(post: &Post) -> UndoResult {
    post.engine.call(UndoRun, UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() }).await
}

/// HIGHESTMODSEQ of an open mailbox.
async fn open(client: &mut Client) -> u64 {
    let opened = client.ok("SELECT INBOX (CONDSTORE)").await;
    let line = opened.untagged.iter().find_map(|line| line.split_once("HIGHESTMODSEQ ")).expect("it has CONDSTORE").1;
    line.chars().take_while(char::is_ascii_digit).collect::<String>().parse().expect("a number")
}

fn fetched(said: &Said) -> Vec<&String> {
    said.untagged.iter().filter(|line| line.contains("FETCH")).collect()
}

/// RFC 7162 section 3.1.3: what failed is named as it was asked for, by UID or by number.
#[tokio::test]
async fn a_change_on_condition_fails_for_exactly_what_changed() {
    let post = Post::new(7, "organize").await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID STORE 1 +FLAGS.SILENT (\\Deleted)").await;
    phone.ok("UID EXPUNGE 1").await;
    let mut client = post.client().await;
    let modseq = open(&mut client).await;
    phone.ok("UID STORE 3 +FLAGS.SILENT (\\Flagged)").await;
    let start = post.dovecot.messages("INBOX");
    let by_uid = client.ok(&format!("UID STORE 2:4 (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Flagged)")).await;
    assert!(by_uid.end.starts_with("OK [MODIFIED 3] "), "{by_uid:?}");
    assert!(fetched(&by_uid).iter().any(|line| line.contains("UID 2 ") && line.contains("MODSEQ (")), "{by_uid:?}");
    let by_number = client.ok(&format!("STORE 2,4:5 (UNCHANGEDSINCE {modseq}) +FLAGS ($Looked)")).await;
    assert!(by_number.end.starts_with("OK [MODIFIED 2] "), "UID 3 is number 2: {by_number:?}");
    assert!(fetched(&by_number).iter().any(|line| line.starts_with("* 4 FETCH") && line.contains("$Looked")));
    assert!(!by_number.untagged.iter().any(|line| line.starts_with("* 2 FETCH") && line.contains("$Looked")));
    let saved = client.ok("SEARCH RETURN (SAVE) UID 3").await;
    assert!(saved.end.starts_with("OK"));
    let by_search = client.ok(&format!("STORE $ (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT (\\Answered)")).await;
    assert!(by_search.end.starts_with("OK [MODIFIED 2] "), "{by_search:?}");
    let entries = post.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!(entries.len(), 2, "there is nothing to undo of what changed nothing: {entries:?}");
    let fine = client.ok("UID STORE 5 (UNCHANGEDSINCE 99999999) +FLAGS.SILENT ($Looked)").await;
    assert!(!fine.end.contains("MODIFIED"), "{fine:?}");
    undo_everything(&post).await;
    assert_eq!(post.dovecot.messages("INBOX"), start, "the star that the person gave meanwhile is not taken back");
}

#[tokio::test]
async fn conflicts_of_a_change_in_several_commands_are_told_together() {
    let post = Post::new(400, "organize").await;
    let mut client = post.client().await;
    let modseq = open(&mut client).await;
    let mut phone = post.phone().await;
    phone.ok("SELECT INBOX").await;
    phone.ok("UID STORE 4,378 +FLAGS.SILENT ($Mine)").await;
    let every_second: Vec<String> = (1..=190).map(|n| (2 * n).to_string()).collect();
    let set = every_second.join(",");
    let said = client.ok(&format!("UID STORE {set} (UNCHANGEDSINCE {modseq}) +FLAGS.SILENT ($Looked)")).await;
    assert!(said.end.starts_with("OK [MODIFIED 4,378] "), "{}", said.end);
    let told = |uid: &String| {
        fetched(&said).iter().any(|line| line.contains(&format!("UID {uid} ")) && line.contains("MODSEQ"))
    };
    assert!(every_second.iter().all(told), "{:?}", said.untagged);
}

#[tokio::test]
async fn undo_is_promised_only_where_the_server_says_what_it_made() {
    for (server, undoable) in [(Dovecot::start(2).await, true), (Dovecot::start_plain(2).await, false)] {
        let post = Post::with(std::future::ready(server), "ask-everything", Start::in_memory).await;
        let mut client = post.client().await;
        client.ok("SELECT INBOX").await;
        let mail = "Subject: mine\r\n\r\nx";
        for copies in [true, false] {
            let tag = if copies {
                client.send("COPY 1:2 Archive").await
            } else {
                let tag = client.send(&format!("APPEND Archive {{{}}}", mail.len())).await;
                client.go_ahead().await;
                client.say(format!("{mail}\r\n").as_bytes()).await;
                tag
            };
            let hold = post.engine.hold().await;
            let (promised, text) = if undoable {
                (Reversible::Yes, "Undo puts everything back as it was.")
            } else {
                (Reversible::No, "This can't be undone.")
            };
            assert_eq!((hold.reversible, hold.undo_text.as_str()), (promised, text));
            post.engine.allow(&hold).await;
            let said = client.end(&tag).await;
            assert!(said.end.starts_with("OK"), "{said:?}");
        }
        assert_eq!(post.dovecot.messages("Archive").len(), 3);
        let entries = post.engine.call(UndoList, UndoListParams::default()).await;
        assert_eq!(entries.len(), if undoable { 2 } else { 0 }, "{entries:?}");
    }
}

#[tokio::test]
async fn who_may_use_a_mailbox_is_shown_done_and_taken_back() {
    let post = Post::new(1, "assistant").await;
    let mut phone = post.phone().await;
    phone.ok("SETACL Archive carol lrs").await;
    let rights = async |phone: &mut Client| phone.ok("GETACL Archive").await.untagged[0].clone();
    let start = rights(&mut phone).await;
    assert!(start.contains("carol lrs"), "{start}");
    let mut client = post.client().await;
    for (command, verb, who, role) in [
        ("SETACL Archive bob lr", "Share", "bob", "gains access"),
        ("SETACL Archive carol lrswipkxtea", "Share", "carol", "gains access"),
        ("DELETEACL Archive carol", "Change access to", "carol", "loses access"),
    ] {
        let tag = client.send(command).await;
        let hold = post.engine.hold().await;
        assert_eq!((hold.class, hold.verb.as_str()), (Class::Share, verb), "{command}");
        let member = &hold.audience.as_ref().expect("who it is about").members[0];
        assert_eq!((member.address.as_str(), member.role.as_str()), (who, role), "{command}");
        assert_eq!(rights(&mut phone).await, start, "{command}: nothing before the person has spoken");
        post.engine.allow(&hold).await;
        let said = client.end(&tag).await;
        assert!(said.end.starts_with("OK"), "{command}: {said:?}");
        let now = client.ok("GETACL Archive").await.untagged[0].clone();
        match command.split(' ').collect::<Vec<_>>()[..] {
            ["SETACL", _, who, rights] => {
                let given = now.split_once(&format!(" {who} ")).expect("listed").1;
                let given = given.split(' ').next().unwrap_or_default();
                assert!(rights.chars().all(|right| given.contains(right)), "{command}: {now}");
            }
            _ => assert!(!now.contains("carol"), "{command}: {now}"),
        }
        let undone = undo_everything(&post).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{command}: {undone:?}");
        assert_eq!(rights(&mut phone).await, start, "{command}");
    }
    assert!(post.engine.call(HoldList, Empty {}).await.is_empty());
}
