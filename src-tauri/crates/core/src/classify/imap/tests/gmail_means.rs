//! What Gmail makes of IMAP.

use std::collections::BTreeMap;

use super::super::command::Mode;
use super::super::deed::{Deed, On, Server, deed_of, object};
use super::super::steps::{Unable, steps};
use super::{inbox, lists, sent, server, written_call};
use crate::operation::Class;
use crate::undo::imap as undo;

fn gmail_server() -> Server {
    let mailboxes = [
        "INBOX",
        "Work",
        "[Gmail] \\Noselect",
        "[Gmail]/All_Mail \\All",
        "[Gmail]/Bin \\Trash",
        "[Gmail]/Spam \\Junk",
        "[Gmail]/Starred \\Flagged",
    ];
    Server::of(&lists(&mailboxes, '/'), |_| true)
}

fn add(labels: bool, words: &[&str]) -> Deed {
    let words = words.iter().map(|word| (*word).to_owned()).collect();
    Deed::Store { mode: Mode::Add, labels, words, unchanged_since: None }
}

#[test]
fn on_gmail_the_same_words_mean_something_else() {
    let (gmail, other) = (gmail_server(), Server { gmail: false, ..gmail_server() });
    let copy = |to: &str| Deed::Copy { to: to.to_owned() };
    let about = |deed: &Deed, server: &Server| {
        let operation = deed.part(&inbox(&[1]), server).operation;
        (operation.class, operation.undo, operation.soften.is_some())
    };
    let undo = |recipe: &str| Some(recipe.to_owned());
    // A copy to the Trash trashes.
    for to in ["[Gmail]/Bin", "[Gmail]/Spam", "[Gmail]/Bin/x", "[Gmail]/Trash"] {
        assert_eq!(about(&copy(to), &gmail), (Class::Remove, undo("moved"), false), "{to}");
        let part = copy(to).part(&inbox(&[1]), &gmail);
        assert_eq!(deed_of(&part).unwrap().0, Deed::Move { to: to.to_owned() });
        assert_eq!(about(&copy(to), &other), (Class::Modify, undo("copied"), false), "{to}");
    }
    assert_eq!(about(&copy("Work"), &gmail), (Class::Modify, undo("labels"), false));
    assert_eq!(about(&copy("[Gmail]/All Mail"), &gmail), (Class::Modify, None, false));
    // A mark is what it leads to.
    let mark = add(false, &["\\Seen", "\\Deleted"]);
    assert_eq!(about(&mark, &gmail), (Class::Destroy, undo("expunged"), true));
    assert_eq!(about(&mark, &other), (Class::Remove, undo("flags"), false));
    assert_eq!(
        sent(&mark, &inbox(&[1]), &gmail, true),
        ["[INBOX 7] UID STORE 1 +FLAGS.SILENT (\\Seen)", "[INBOX 7] UID MOVE 1 \"[Gmail]/Bin\""]
    );
    assert_eq!(sent(&add(false, &["\\Deleted"]), &inbox(&[1]), &gmail, true), ["[INBOX 7] UID MOVE 1 \"[Gmail]/Bin\""]);
    assert_eq!(steps(&mark, &inbox(&[1]), &Server { trash: None, ..gmail.clone() }, true, "u1"), Err(Unable::NoTrash));
    let trash = On { mailbox: "[Gmail]/Bin".to_owned(), ..inbox(&[1]) };
    let operation = mark.part(&trash, &gmail).operation;
    assert_eq!((operation.class, operation.soften), (Class::Destroy, None), "there it is for ever");
}

/// What takes back `deed` on UID 1, where the message has these labels before, and after that is where `now` says.
fn back(deed: &Deed, on: &On, before: &[&str], now: &[(&str, &[&str])]) -> (Vec<String>, Vec<String>) {
    let present = |labels: &[&str]| undo::Present {
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
        id: Some(99),
        ..undo::Present::default()
    };
    let part = deed.part(on, &gmail_server());
    let before = BTreeMap::from([(1, present(before))]);
    let Some(entry) = undo::entry(&part, deed, on, (&before, None), &undo::End::Plain) else {
        return (Vec::new(), Vec::new());
    };
    let home = object(&on.mailbox, 7, 1);
    assert_eq!(entry.params, [(home.clone(), "99".to_owned())]);
    // Where a copy arrived is no message of its own.
    assert_eq!(undo::arrived(Some(entry.clone()), &part, on, "Work", 3, &[(1, 5)]), Some(entry.clone()));
    let found = |(at, labels): &(&str, &[&str])| {
        let elsewhere = (*at != home).then(|| (*at).to_owned());
        (home.clone(), undo::Present { at: elsewhere, ..present(labels) })
    };
    let back = undo::inverse(&entry, &now.iter().map(found).collect(), &gmail_server());
    let steps = back.steps.iter().map(|one| written_call(&one.step.call)).collect();
    (steps, back.not_restored.into_iter().map(|(_, why)| why).collect())
}

#[test]
fn on_gmail_taking_back_a_copy_takes_its_label_off_and_nothing_to_the_trash() {
    let copy = Deed::Copy { to: "Work".to_owned() };
    let (here, all) = ("INBOX;7;1", "[Gmail]/All Mail;2;40");
    let off =
        |place: &str, uid: u32| (vec![format!("[{place}] UID STORE {uid} -X-GM-LABELS.SILENT (\"Work\")")], vec![]);
    assert_eq!(back(&copy, &inbox(&[1]), &["\\Inbox"], &[(here, &["\\Inbox", "Work"])]), off("INBOX 7", 1));
    // Archived since.
    assert_eq!(back(&copy, &inbox(&[1]), &[], &[(all, &["Work"])]), off("[Gmail]/All Mail 2", 40));
    // It had the label before: nothing was changed, and nothing is taken back.
    assert_eq!(back(&copy, &inbox(&[1]), &["Work"], &[(here, &["Work"])]), (vec![], vec![]));
    let part = copy.part(&inbox(&[1]), &gmail_server());
    assert_eq!(undo::arrived(None, &part, &inbox(&[1]), "Work", 3, &[(1, 5)]), None);
    // An entry of an earlier version.
    let plain = copy.part(&inbox(&[1]), &server());
    let entry = undo::arrived(None, &plain, &inbox(&[1]), "Work", 3, &[(1, 5)]).unwrap();
    let there = BTreeMap::from([(object("Work", 3, 5), undo::Present::default())]);
    assert!(undo::inverse(&entry, &there, &gmail_server()).steps.is_empty());
    assert_eq!(undo::inverse(&entry, &there, &server()).steps.len(), 1);
}

#[test]
fn on_gmail_what_was_stored_goes_to_the_trash_only_if_it_is_new_and_nowhere_else() {
    let call = crate::classify::imap::deed::append_call("Work", &[], 1).unwrap();
    let part = crate::classify::imap::deed::appending(call, "Work", &[], 1, (0, true));
    let on = On { mailbox: "Work".to_owned(), ..inbox(&[]) };
    let stored = undo::arrived(None, &part, &on, "Work", 7, &[(0, 5)]).unwrap();
    let mut known = stored.clone();
    undo::note_all(&mut known, 2, 40);
    let back = |entry: &crate::undo::Entry, at: Option<&str>, labels: &[&str]| {
        let labels = labels.iter().map(|label| (*label).to_owned()).collect();
        let present = undo::Present { labels, id: Some(99), at: at.map(str::to_owned), ..undo::Present::default() };
        let back = undo::inverse(entry, &BTreeMap::from([("Work;7;5".to_owned(), present)]), &gmail_server());
        assert!(back.not_restored.is_empty(), "{back:?}");
        back.steps.iter().map(|one| written_call(&one.step.call)).collect::<Vec<_>>()
    };
    let trashed = ["[Work 7] UID MOVE 5 \"[Gmail]/Bin\""];
    let off = ["[Work 7] UID STORE 5 -X-GM-LABELS.SILENT (\"Work\")"];
    let (new, old) = (Some("[Gmail]/All_Mail;2;40"), Some("[Gmail]/All_Mail;2;39"));
    assert_eq!(back(&known, new, &["Work", "\\Important"]), trashed);
    assert_eq!(back(&known, new, &["Work", "Home"]), off, "somebody has filed it since");
    assert_eq!(back(&known, old, &["Work"]), off, "it was there before");
    assert_eq!(back(&known, Some("[Gmail]/All_Mail;3;40"), &["Work"]), off, "another UIDVALIDITY says nothing");
    assert_eq!(back(&known, None, &["Work"]), off);
    assert_eq!(back(&stored, new, &["Work"]), off, "it is not known what was there before");
    let drafts = undo::arrived(None, &part, &on, "[Gmail]/Drafts", 7, &[(0, 5)]).unwrap();
    let present = BTreeMap::from([("[Gmail]/Drafts;7;5".to_owned(), undo::Present::default())]);
    assert_eq!(undo::inverse(&drafts, &present, &gmail_server()).not_restored.len(), 1);
    assert_eq!(undo::inverse(&drafts, &present, &Server { gmail: false, ..gmail_server() }).steps.len(), 1);
}

#[test]
fn on_gmail_a_label_that_could_be_the_trash_is_asked_like_it_and_a_mailbox_goes_nowhere() {
    for label in ["\\Trash", "Trash", "[Gmail]/Bin", "Spam"] {
        assert_eq!(add(true, &[label]).part(&inbox(&[1]), &gmail_server()).operation.class, Class::Remove, "{label}");
    }
    let work = add(true, &["Work"]).part(&inbox(&[1]), &gmail_server()).operation;
    assert_eq!(
        (work.class, work.verb.as_str(), work.facts[0].value.as_str()),
        (Class::Modify, "Change labels", "Work")
    );
    let delete = Deed::Delete { messages: 1 };
    let work = On { mailbox: "Work".to_owned(), ..inbox(&[1]) };
    let operation = delete.part(&work, &gmail_server()).operation;
    assert_eq!((operation.class, operation.soften), (Class::Destroy, None));
    assert_eq!(sent(&delete, &work, &gmail_server(), false), ["DELETE \"Work\""]);
}

#[test]
fn on_gmail_what_lost_its_mailbox_by_a_label_is_found_again() {
    let archive =
        Deed::Store { mode: Mode::Remove, labels: true, words: vec!["\\Inbox".to_owned()], unchanged_since: None };
    // The label of the open mailbox is told by nobody.
    assert_eq!(
        back(&archive, &inbox(&[1]), &["Work"], &[("[Gmail]/All Mail;2;40", &["Work"])]),
        (vec!["[[Gmail]/All Mail 2] UID STORE 40 +X-GM-LABELS.SILENT (\\Inbox)".to_owned()], vec![])
    );
    let again = (vec![], vec!["it was changed again since".to_owned()]);
    assert_eq!(back(&archive, &inbox(&[1]), &[], &[("INBOX;7;1", &[])]), again);
    assert_eq!(
        back(&add(true, &["\\Trash"]), &inbox(&[1]), &[], &[("[Gmail]/Bin;4;6", &[])]),
        (vec!["[[Gmail]/Bin 4] UID MOVE 6 \"INBOX\"".to_owned()], vec![])
    );
    let gone = (vec![], vec!["it is not there any more".to_owned()]);
    assert_eq!(back(&archive, &inbox(&[1]), &[], &[]), gone);
}

#[test]
fn on_gmail_a_condition_is_not_kept_by_a_move_to_the_trash_so_it_is_refused() {
    let gmail = gmail_server();
    assert!(gmail.bare.contains("[Gmail]") && !gmail.bare.contains("INBOX"));
    let on = inbox(&[7]);
    for words in [&["\\Deleted"][..], &["\\Deleted", "\\Seen"]] {
        let Deed::Store { mode, labels, words, .. } = add(false, words) else { return };
        let deed = Deed::Store { mode, labels, words, unchanged_since: Some(5) };
        assert_eq!(steps(&deed, &on, &gmail, true, "u1"), Err(Unable::Conditional));
    }
}
