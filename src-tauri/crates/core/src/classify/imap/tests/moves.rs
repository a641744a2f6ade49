//! Moves that were cut short, and what of them is taken back; and how much of an answer there is room for.

use std::collections::BTreeMap;

use super::{inbox, server, split};
use crate::classify::imap::command::{Mode, Refused, parse};
use crate::classify::imap::deed::{Deed, On, Server, object};
use crate::classify::imap::reply::{fetched, untagged, untagged_within, vanished};
use crate::classify::imap::set::Set;
use crate::classify::imap::token::Crowded;
use crate::undo::imap::{End, Present, entry, homes, inverse, rights_after, same_rights, stayed, untouched};
use crate::undo::{Difference, Entry, Next};

const NEXT: Next = Next { uidvalidity: 3, uid: 40 };

fn present(flags: &[&str]) -> Present {
    Present {
        flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        print: Some("print".to_owned()),
        ..Present::default()
    }
}

/// The entry of a MOVE of message 1 to the Archive, which was like this before.
fn moved(before: &Present) -> Entry {
    let (deed, on) = (Deed::Move { to: "Archive".to_owned() }, inbox(&[1]));
    let part = deed.part(&on, &server());
    let entry = entry(&part, &deed, &on, (&BTreeMap::from([(1, before.clone())]), Some(NEXT)), &End::Plain).unwrap();
    // As it is kept.
    serde_json::from_str(&serde_json::to_string(&entry).unwrap()).unwrap()
}

/// The commands that take it back when it is at home like this.
fn back(mut entry: Entry, home: &Present) -> Vec<String> {
    let at_home = BTreeMap::from([(object("INBOX", 7, 1), home.clone())]);
    let copy = object("Archive", 3, 44);
    stayed(&mut entry, &at_home, &server());
    let now = at_home.into_iter().chain([(copy, Present::default())]).collect();
    let back = inverse(&entry, &now, &server());
    assert!(back.not_restored.is_empty(), "{:?}", back.not_restored);
    let one = |step: &crate::undo::imap::BackStep| super::written_call(&step.step.call);
    back.steps.iter().map(one).collect()
}

#[test]
fn what_a_move_leaves_behind_says_where_to_look_for_it() {
    let entry = moved(&present(&["\\Seen"]));
    let Difference::Moved { to: None, marked: false, trace: Some(trace), .. } = &entry.changes[0].difference else {
        panic!("{entry:?}");
    };
    assert_eq!((trace.mailbox.as_str(), trace.print.as_deref(), trace.next), ("Archive", Some("print"), Some(NEXT)));
    assert!(trace.unmarked);
    let old: crate::undo::Trace = serde_json::from_str("{\"mailbox\":\"Trash\",\"print\":\"x\"}").unwrap();
    assert_eq!((old.print.as_deref(), old.next, old.unmarked), (Some("x"), None, false), "as it was kept before");
}

#[test]
fn a_message_that_stayed_at_home_loses_the_mark_that_it_had_not() {
    let (plain, marked) = (present(&["\\Seen"]), present(&["\\deleted"]));
    assert_eq!(back(moved(&plain), &marked), ["[INBOX 7] UID STORE 1 -FLAGS.SILENT (\\deleted)"]);
    assert!(back(moved(&marked), &marked).is_empty(), "it was marked before");
    assert!(back(moved(&plain), &plain).is_empty());
    // Its copy is there already, and it itself was never removed.
    let mut copied = moved(&plain);
    let Difference::Moved { to, .. } = &mut copied.changes[0].difference else { panic!() };
    *to = Some(object("Archive", 3, 44));
    let both = ["[INBOX 7] UID STORE 1 -FLAGS.SILENT (\\deleted)", "[Archive 3] UID MOVE 44 \"Trash\""];
    assert_eq!(back(copied.clone(), &marked), both);
    let Difference::Moved { to, .. } = &mut copied.changes[0].difference else { panic!() };
    *to = Some(object("Trash", 3, 44));
    assert_eq!(back(copied, &marked), both[..1], "what is in the Trash stays there");
}

#[test]
fn many_short_words_take_the_room_that_they_need() {
    let line = split("* X 1 1 1 1 (1 1)");
    let mut room = 10 * 64;
    assert_eq!(untagged_within(&line, &mut room), Ok(untagged(&line)));
    assert_eq!(room, 64);
    let before = room;
    assert_eq!(untagged_within(&line, &mut room), Err(Crowded));
    assert!(room <= before);
    let flood = split(&format!("* X {}", "1 ".repeat(100_000)));
    assert_eq!(untagged_within(&flood, &mut 100_000), Err(Crowded));
    assert_eq!(untagged_within(&split("* X \"never ends"), &mut 1000), Ok(None));
    let search = |words: usize| parse(&split(&format!("a SEARCH {}", "SEEN ".repeat(words).trim_end())));
    assert!(search(10_000).is_ok());
    assert!(matches!(search(200_000), Err(Refused::Bad(why)) if why.contains("too many words")));
}

#[test]
fn what_was_refused_in_the_middle_is_as_before_only_if_nothing_of_it_shows() {
    let on = On { mailbox: "INBOX".to_owned(), uidvalidity: Some(7), uids: vec![1, 2] };
    let flags =
        |flags: &[&str]| Present { flags: flags.iter().map(|flag| (*flag).to_owned()).collect(), ..Present::default() };
    let deed =
        Deed::Store { mode: Mode::Replace, labels: false, words: vec!["\\Seen".to_owned()], unchanged_since: None };
    let part = deed.part(&on, &Server::default());
    let before = BTreeMap::from([(1, flags(&["\\Flagged"])), (2, flags(&["\\Answered"]))]);
    let entry = entry(&part, &deed, &on, (&before, None), &End::Plain).unwrap();
    let now = |one: &[&str], two: Option<&[&str]>| -> BTreeMap<String, Present> {
        let two = two.map(|two| ("INBOX;7;2".to_owned(), flags(two)));
        std::iter::once(("INBOX;7;1".to_owned(), flags(one))).chain(two).collect()
    };
    assert!(untouched(&entry, &now(&["\\Flagged"], Some(&["\\Answered", "other"]))));
    assert!(!untouched(&entry, &now(&["\\Seen"], Some(&["\\Answered"]))));
    assert!(!untouched(&entry, &now(&[], Some(&["\\Answered"]))));
    assert!(!untouched(&entry, &now(&["\\Flagged"], None)));
}

#[test]
fn rights_are_the_same_in_whatever_order_and_become_what_was_asked() {
    let share = |rights: &str, before: Option<&str>| {
        let on = On { mailbox: "Work".to_owned(), uidvalidity: Some(7), uids: Vec::new() };
        let deed = Deed::SetAcl { who: "eve".to_owned(), rights: Some(rights.to_owned()) };
        let part = deed.part(&on, &Server::default());
        let end = End::Shared { rights: before.map(str::to_owned) };
        let entry = entry(&part, &deed, &on, (&BTreeMap::new(), None), &end).unwrap();
        rights_after(&entry).unwrap().1.map(str::to_owned)
    };
    for (rights, before, after) in [
        ("lr", None, Some("rl")),
        ("lr", Some("lrswi"), Some("lr")),
        ("+s", Some("lr"), Some("lrs")),
        ("-r", Some("lr"), Some("l")),
        ("-lr", Some("lr"), None),
        ("lrc", Some("l"), Some("cdlr")),
    ] {
        assert!(same_rights(share(rights, before).as_deref(), after), "{rights}");
    }
    assert!(!same_rights(Some("lr"), Some("lrs")) && !same_rights(None, Some("l")));
}

#[test]
fn what_leaves_is_counted_and_numbers_stay_what_they_were() {
    for (said, count) in [
        ("* VANISHED 4", Some(1)),
        ("* vanished 1:3,9:7,5", Some(7)),
        ("* VANISHED x", Some(0)),
        ("* VANISHED 1:4294967295,1:4294967295", Some(u32::MAX)),
        ("* VANISHED (EARLIER) 1:3", None),
        ("* 4 EXPUNGE", None),
        ("* VANISHED", None),
    ] {
        assert_eq!(vanished(said.as_bytes()), count, "{said}");
    }
    let at = |set: &str, exists| Set::parse(set).unwrap().at(exists).to_string();
    assert_eq!((at("3:*,*,9", 7), at("$", 7), at("1:*", 0)), ("3:7,7,9".to_owned(), "$".to_owned(), "1:*".to_owned()));
}

#[test]
fn a_header_of_any_length_is_shown_in_a_bounded_one() {
    let (subject, name) = ("s".repeat(300_000), "n".repeat(300_000));
    let line = format!(
        "* 1 FETCH (UID 1 ENVELOPE (NIL \"{subject}\" ((\"{name}\" NIL \"al\" \"x.org\")) NIL NIL NIL NIL NIL NIL NIL))"
    );
    let view = fetched(&untagged(&split(&line)).unwrap()).unwrap().view();
    assert_eq!(view.title.chars().count(), 1001);
    assert!(view.from.is_some_and(|from| from.len() < 300 && from.ends_with("n… <al@x.org>")));
}

#[test]
fn what_a_server_moved_by_itself_is_not_looked_for_at_home() {
    let mut moved = moved(&present(&[]));
    let (gmail, in_steps) = (Server { gmail: true, ..server() }, Server { moves: false, gmail: false, ..server() });
    assert_eq!(homes(&moved, &gmail).len(), 1, "nobody knows where it went");
    let Difference::Moved { to, .. } = &mut moved.changes[0].difference else { panic!() };
    *to = Some(object("Archive", 3, 44));
    assert!(homes(&moved, &gmail).is_empty(), "All Mail keeps what is moved out of it");
    assert!(homes(&moved, &Server { moves: true, ..server() }).is_empty());
    assert_eq!(homes(&moved, &in_steps).len(), 1);
    // Even if it were: nothing that was there before goes into Gmail's Trash.
    stayed(&mut moved, &BTreeMap::from([(object("INBOX", 7, 1), present(&[]))]), &gmail);
    let now = BTreeMap::from([(object("Archive", 3, 44), Present::default())]);
    assert!(inverse(&moved, &now, &gmail).steps.is_empty());
}
