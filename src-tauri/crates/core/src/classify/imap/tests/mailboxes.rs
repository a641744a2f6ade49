//! What a mailbox is called and what it is for, where an agent has a say in it.

use std::collections::BTreeMap;

use super::super::command::{Command, selects};
use super::super::deed::{Deed, On, Server, mailbox_named, mailbox_object, mailboxes, object, place_of};
use super::super::reply::{Fetched, fetched_uid, untagged};
use super::super::steps::written;
use super::super::token::Token;
use super::{inbox, lists, read, sent, server, split, written_call};
use crate::operation::{Class, Meter};
use crate::undo::imap as undo;

#[test]
fn an_agent_can_not_choose_what_the_trash_is() {
    let of = |mailboxes: &[&str]| Server::of(&lists(mailboxes, '/'), |_| true);
    let class = |to: &str, server: &Server| Deed::Move { to: to.to_owned() }.part(&inbox(&[1]), server).operation.class;
    // There was none, and one was made just now.
    let none = of(&["INBOX"]);
    for made in ["Trash", "trash", "Deleted Items", "Gel&APY-scht", "Old/Bin", "Trash/Old", "Spam", "Junk E-mail/1"] {
        assert_eq!(class(made, &none), Class::Remove, "{made}");
    }
    assert_eq!((class("Trashy", &none), class("Bins", &none)), (Class::Modify, Class::Modify));
    // A second one comes first in the list, and first by its name.
    let two = of(&["AAA/Trash", "INBOX", "Deleted_Items", "Junk", "Z/Junk"]);
    assert_eq!((two.trash.as_deref(), two.junk.as_deref()), (Some("Deleted Items"), Some("Junk")));
    for trash in ["AAA/Trash", "Deleted Items", "Deleted Items/Old", "Z/Junk", "junk"] {
        assert_eq!(class(trash, &two), Class::Remove, "{trash}");
    }
    let in_second = On { mailbox: "AAA/Trash".to_owned(), ..inbox(&[4]) };
    assert!(Deed::Expunge.part(&in_second, &two).operation.soften.is_some());
    assert_eq!(sent(&Deed::Expunge, &in_second, &two, true)[1], "[AAA/Trash 7] UID MOVE 4 \"Deleted Items\"");
    // The server says which it is; a name alone still counts.
    let marked = of(&["INBOX", "Trash", "Mine \\Trash", "Mine/Old", "Gone \\Noselect \\Trash"]);
    assert_eq!(marked.trash.as_deref(), Some("Mine"));
    for trash in ["Trash", "Mine", "mine/Old", "Gone/x"] {
        assert_eq!(class(trash, &marked), Class::Remove, "{trash}");
    }
    let dots = Server::of(&lists(&["INBOX", "INBOX.Trash", "INBOX.a.Trash"], '.'), |_| false);
    assert_eq!((dots.trash.as_deref(), class("INBOX.Trash.x", &dots)), (Some("INBOX.Trash"), Class::Remove));
}

#[test]
fn a_mailbox_has_the_name_that_is_listed() {
    let server = Server::of(&lists(&["INBOX", "INBOX.Trash", "INBOX.Work"], '.'), |_| true);
    let reaches = |command: &str| server.reaches(&read(command).unwrap());
    for good in [
        "a SELECT inbox",
        "a EXAMINE inbox.Work",
        "a RENAME INBOX.Work INBOX.Play",
        "a UID MOVE 1 INBOX.Trash",
        "a CREATE INBOX.New",
        "a STATUS INBOX.Work (MESSAGES)",
        "a UNSUBSCRIBE Gone",
        "a NOOP",
    ] {
        assert_eq!(reaches(good), Ok(()), "{good}");
    }
    // `Trash`, `mail/Trash`: what a hidden namespace calls the same mailbox.
    for alias in ["SELECT Work", "RENAME mail/Work X", "DELETE INBOX.Gone", "SETACL x eve lr", "STATUS Work (MESSAGES)"]
    {
        assert!(reaches(&format!("a {alias}")).unwrap_err().starts_with("NO [NONEXISTENT]"), "{alias}");
    }
    for alias in ["COPY 1 Trash", "UID MOVE 1:* mail/Trash"] {
        assert!(reaches(&format!("a {alias}")).unwrap_err().starts_with("NO [TRYCREATE]"), "{alias}");
    }
    for odd in ["SELECT INBOX.Work.", "RENAME INBOX.Work INBOX..x", "CREATE .x", "SUBSCRIBE x.", "DELETE INBOX.Work."] {
        assert!(reaches(&format!("a {odd}")).unwrap_err().starts_with("BAD"), "{odd}");
    }
    let part =
        Deed::Move { to: "Archive".to_owned() }.part(&On { mailbox: "mail/inbox".to_owned(), ..inbox(&[1]) }, &server);
    assert_eq!(part.operation.meters, [Meter::LeaveInbox]);
}

#[test]
fn a_mailbox_that_is_called_like_a_message_is_none() {
    for name in ["INBOX;7;45", "a;b;7;2", "INBOX;7;", ";1;1"] {
        let on = On { mailbox: name.to_owned(), uidvalidity: None, uids: Vec::new() };
        let share = Deed::SetAcl { who: "eve".to_owned(), rights: Some("lr".to_owned()) };
        for deed in [Deed::Create, Deed::Delete { messages: 1 }, share] {
            let operation = deed.part(&on, &server()).operation;
            let [id] = operation.objects.ids() else { panic!("{operation:?}") };
            assert_eq!((place_of(id), mailbox_named(id)), (None, name));
            let named = operation.facts.iter().any(|fact| fact.label == "Mailbox" && fact.value == name);
            assert!(named || matches!(deed, Deed::Create), "{operation:?}");
        }
    }
    // What is made is taken back as a mailbox, not as the message that it is called like.
    let on = On { mailbox: "INBOX;7;45".to_owned(), uidvalidity: None, uids: Vec::new() };
    let undo = |deed: &Deed| {
        let part = deed.part(&on, &server());
        let entry = undo::entry(&part, deed, &on, (&BTreeMap::new(), None), &undo::End::Plain).unwrap();
        assert!(undo::whereabouts(&entry).is_empty());
        let there = BTreeMap::from([(object("INBOX", 7, 45), undo::Present::default())]);
        let back = undo::inverse(&entry, &there, &server());
        back.steps.iter().map(|one| written_call(&one.step.call)).collect::<Vec<_>>()
    };
    assert_eq!(undo(&Deed::Create), ["DELETE \"INBOX;7;45\""]);
    let to = "Old;1;2".to_owned();
    assert_eq!(undo(&Deed::Rename { to }), ["RENAME \"Old;1;2\" \"INBOX;7;45\""]);
    assert_eq!(mailbox_object("a"), "a;");
}

#[test]
fn a_setting_is_of_one_mailbox_or_of_all() {
    let setting = |text: &str| {
        let Ok(Command::Setting { mailbox, verb, args }) = read(text) else { panic!("{text}: {:?}", read(text)) };
        let deed = Deed::Setting { verb, args: written(&args).unwrap() };
        let on = On { mailbox: mailbox.unwrap_or_default(), uidvalidity: None, uids: Vec::new() };
        let part = deed.part(&on, &server());
        mailboxes(&part).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(setting("a SETMETADATA Private (/private/comment \"x\")"), ["Private"]);
    assert_eq!(setting("a SETMETADATA {5}\r\ninbox (/private/comment NIL)"), ["INBOX"]);
    assert_eq!(setting("a SETMETADATA \"\" (/private/comment \"x\")"), ["*"]);
    assert_eq!(setting("a SETQUOTA \"user.erin\" (STORAGE 1)"), ["*"]);
    for odd in ["a SETMETADATA Private", "a SETMETADATA (Private) (/x y)", "a SETQUOTA"] {
        assert!(read(odd).is_err(), "{odd}");
    }
}

#[test]
fn a_mailbox_leaves_in_the_spelling_that_was_decided() {
    for text in ["a STATUS inBox (MESSAGES)", "a GETMETADATA (MAXSIZE 9) iNBOX (/private/comment)", "a MYRIGHTS inbox"]
    {
        let Ok(Command::Look { mailbox, args, .. }) = read(text) else { panic!("{text}") };
        assert_eq!(mailbox.as_deref(), Some("INBOX"), "{text}");
        assert!(args.contains(&Token::text("INBOX")), "{text}: {args:?}");
    }
    for text in ["a SELECT", "a  SELECT (x)", "a   examine INBOX ("] {
        assert!(selects(text.as_bytes()), "{text}");
    }
}

#[test]
fn what_comes_in_several_responses_is_one_message() {
    let mut one = Fetched::default();
    for text in [
        "* 5 FETCH (UID 7 FLAGS () ENVELOPE (NIL \"Plan\" NIL NIL NIL NIL NIL NIL NIL NIL) X-GM-LABELS (work))",
        "* 5 FETCH (UID 7 FLAGS (\\Seen))",
        "* 5 FETCH (UID 7 RFC822.SIZE 3 X-GM-MSGID 12)",
    ] {
        let tokens = untagged(&split(text)).unwrap();
        assert_eq!(fetched_uid(&tokens), Some(7));
        one.absorb(&tokens).unwrap();
    }
    assert_eq!((one.view().title.as_str(), one.size, one.present.id), ("Plan", Some(3), Some(12)));
    assert!(one.present.flags.contains("\\Seen") && one.present.labels.contains("work") && one.present.print.is_some());
}
