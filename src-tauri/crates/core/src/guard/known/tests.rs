#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use super::*;
use crate::guard::{Lifetimes, Loaded};
use crate::pdp::Pdp;

const NOW: Now = Now { time: Time(1_000), wall: 1_000 };
const BOB: &str = "bob@b.example";

fn guard() -> Guard {
    Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default())
}

fn later(span: Span) -> Now {
    Now { time: NOW.time + span, wall: NOW.wall }
}

fn wrote_in(id: &str) -> History {
    History::WroteIn(id.to_owned())
}

#[test]
fn the_persons_own_mail_makes_known_for_a_while() {
    let mut guard = guard();
    assert!(!guard.is_known("mine", BOB, NOW));
    guard.heard("mine", BOB, wrote_in("s1"), NOW);
    assert!(guard.is_known("mine", "BOB@b.example", NOW));
    assert!(!guard.is_known("other", BOB, NOW));
    assert!(!guard.is_known("mine", BOB, later(YES)));
    guard.heard("mine", BOB, History::Nothing, NOW);
    assert!(!guard.is_known("mine", BOB, NOW));
    guard.heard("mine", BOB, History::Unreadable, NOW);
    assert!(!guard.is_known("mine", BOB, NOW));
}

#[test]
fn what_an_agent_wrote_makes_nobody_known() {
    let mut guard = guard();
    let (id, _) = guard.writing("mine", Writes::New(Some(vec![BOB.to_owned()])));
    assert!(!guard.history_counts(BOB), "while it is under way");
    assert!(guard.history_counts("other@b.example"));
    guard.heard("mine", BOB, wrote_in("n1"), NOW);
    assert!(!guard.is_known("mine", BOB, NOW));
    let commit = guard.wrote(&id, Some("n1".to_owned()));
    assert_eq!(commit.puts.len(), 1);
    assert!(guard.history_counts(BOB));
    assert_eq!(guard.by_the_person(vec!["n1".to_owned(), "s1".to_owned()]), ["s1"]);
    guard.heard("mine", BOB, wrote_in("n1"), NOW);
    assert!(!guard.is_known("mine", BOB, NOW), "its own mail is no proof");
    guard.heard("mine", BOB, wrote_in("s1"), NOW);
    assert!(guard.is_known("mine", BOB, NOW), "the person's is");
}

#[test]
fn an_unknown_outcome_stays_a_doubt_and_a_refusal_is_none() {
    let mut guard = guard();
    let (refused, _) = guard.writing("mine", Writes::New(Some(vec![BOB.to_owned()])));
    assert_eq!(guard.wrote(&refused, None).deletes, [(Shelf::Known, refused)]);
    assert!(guard.history_counts(BOB));
    let (_, puts) = guard.writing("mine", Writes::New(None));
    assert!(!guard.history_counts("anybody@b.example"));
    let stored: Written = serde_json::from_value(puts[0].value.clone()).unwrap();
    let written = BTreeMap::from([(puts[0].id.clone(), stored)]);
    let loaded = Loaded { written, ..Loaded::default() };
    let restarted = Guard::new(Pdp::new("").unwrap(), loaded, Lifetimes::default());
    assert!(!restarted.history_counts(BOB), "also after a restart");
}

#[test]
fn an_account_full_of_agents_mail_proves_nothing() {
    let mut guard = guard();
    let ids = (0..MOST_WRITTEN).map(|number| number.to_string()).collect();
    guard.writing("mine", Writes::Messages(ids));
    assert!(!guard.history_counts(BOB));
    assert!(guard.writing("mine", Writes::Messages(vec!["x".to_owned()])).1.is_empty(), "and takes no more room");
}

#[test]
fn what_an_agent_wrote_stays_its_own_when_the_mailbox_is_added_again() {
    let mut guard = guard();
    let (id, _) = guard.writing("mine", Writes::New(Some(vec![BOB.to_owned()])));
    guard.wrote(&id, Some("n1".to_owned()));
    let (anybody, _) = guard.writing("mine", Writes::New(None));
    let commit = guard.forget_account("mine", NOW);
    assert!(commit.deletes.contains(&(Shelf::Known, anybody)) && !commit.deletes.contains(&(Shelf::Known, id)));
    for account in ["mine", "the same mailbox under another name"] {
        assert!(guard.history_counts(BOB));
        guard.heard(account, BOB, wrote_in("n1"), NOW);
        assert!(!guard.is_known(account, BOB, NOW), "{account}");
    }
}

#[test]
fn a_message_over_imap_is_the_same_by_every_name_of_its_mailbox() {
    let mut guard = guard();
    let (id, _) = guard.writing("mine", Writes::New(Some(vec![BOB.to_owned()])));
    guard.wrote(&id, Some("Sent;7;1".to_owned()));
    let both = ["shared/me/Sent;7;1", "Sent;7;2", "Sent;8;1"].map(str::to_owned).to_vec();
    assert_eq!(guard.by_the_person(both), ["Sent;7;2", "Sent;8;1"]);
    guard.heard("mine", BOB, wrote_in("Sent;7;1"), NOW);
    assert!(!guard.is_known("mine", BOB, NOW));
    guard.heard("mine", BOB, wrote_in("Sent;7;2"), NOW);
    assert!(guard.is_known("mine", BOB, NOW));
}

#[test]
fn a_mailbox_that_was_numbered_anew_proves_nothing_any_more() {
    let mut guard = guard();
    assert!(guard.tells_apart("Sent", 8, &[], true), "no agent put anything there");
    guard.writing("mine", Writes::Messages(vec!["Sent;7;1".to_owned()]));
    assert!(guard.tells_apart("Sent", 7, &[], false));
    assert!(!guard.tells_apart("Sent", 8, &[], false), "which of it was the agent's?");
    assert!(guard.tells_apart("Other", 8, &[], false));
    assert!(guard.tells_apart("Sent", 8, &["mine".to_owned()], false), "another person's mailbox");
    guard.writing("api", Writes::Messages(vec!["18c2".to_owned()]));
    assert!(guard.tells_apart("Sent", 7, &[], false) && !guard.tells_apart("Sent", 7, &[], true));
}

#[test]
fn a_history_that_can_not_be_read_is_said() {
    let mut guard = guard();
    assert!(!guard.unreadable("mine", [BOB], NOW));
    guard.heard("mine", BOB, History::Unreadable, NOW);
    assert!(guard.unreadable("mine", ["other@b.example", "BOB@b.example"], NOW));
    assert!(!guard.unreadable("mine", [BOB], later(NO_ANSWER)));
}
