//! What a person is shown of a change: titles, facts, what is different, how many of what.

use std::collections::{BTreeMap, BTreeSet};

use super::deed::Tree;
use super::ical::{self, Extent, Format, LONGEST_SHOWN, Text, WITH, cut};
use super::look::{Collection, Holds, last};
use super::refused;
use super::request::Asked;
use crate::classify::Refusal;
use crate::operation::Fact;
use crate::recipe::View;

/// Who is told of a change to a text that can't be read.
pub(super) const UNKNOWN_GUESTS: &str = "whoever the stored text names";
/// Fields of one text that are shown.
const MOST_TOLD: usize = 300;
/// The same of what is different, before and after.
const MOST_DIFFERENT: usize = 1_200;

/// What the guard read of one text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glimpse {
    /// For the dialog.
    pub view: View,
    /// Whom a server may write to about it; of what can't be read, words for that.
    pub people: BTreeSet<String>,
}

/// Whether a text that can't be read is a contact all the same: nobody is invited by those. Its address says nothing: an agent can choose that.
pub(super) fn is_contact(body: &[u8]) -> bool {
    const BEGIN: &[u8] = b"BEGIN:VCARD";
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    body.get(..BEGIN.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(BEGIN))
}

/// What a text is about, for a list. Of what can't be read, its path is the title.
#[must_use]
pub fn glimpse(path: &str, body: &[u8]) -> Glimpse {
    match ical::parse(body) {
        Ok(text) => {
            let summary = text.summary();
            let title = if summary.title.is_empty() { last(path) } else { summary.title };
            let view = View { title, from: summary.organizer, date: summary.start, flags: Vec::new(), size: None };
            Glimpse { view, people: summary.people }
        }
        Err(_) => {
            let unknown = (!is_contact(body)).then(|| UNKNOWN_GUESTS.to_owned());
            Glimpse { view: View { title: last(path), ..View::default() }, people: unknown.into_iter().collect() }
        }
    }
}

/// A text that was sent, for telling whether what a server has by now came from it: servers write texts anew, and somebody else may have been faster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    uids: BTreeSet<String>,
    /// Title and start, if it is about one thing.
    one: Option<(String, Option<String>)>,
}

impl Sent {
    /// `None`: nobody could tell.
    #[must_use]
    pub fn of(body: &[u8]) -> Option<Self> {
        let text = ical::parse(body).ok()?;
        let uids: BTreeSet<String> = text.uids().into_iter().map(|uid| uid.trim().to_owned()).collect();
        let one = (uids.len() == 1).then(|| text.summary()).map(|summary| (summary.title, summary.start));
        (!uids.is_empty()).then_some(Self { uids, one })
    }

    /// Whether this is it, or a part of it.
    #[must_use]
    pub fn holds(&self, body: &[u8]) -> bool {
        Self::of(body)
            .is_some_and(|now| now.uids.is_subset(&self.uids) && (self.one.is_none() || (now.one == self.one)))
    }
}

pub(super) fn kind_of(text: &Text) -> &'static str {
    match text.format {
        Format::Contact => "contact",
        Format::Calendar if text.are_tasks() => "task",
        Format::Calendar => "event",
    }
}

pub(super) fn kind_at(body: &[u8]) -> (&'static str, Option<Text>) {
    match ical::parse(body) {
        Ok(text) => (kind_of(&text), Some(text)),
        Err(_) if is_contact(body) => ("contact", None),
        Err(_) => ("entry", None),
    }
}

pub(super) fn media(format: Format) -> (String, String) {
    let value = match format {
        Format::Calendar => "text/calendar; charset=utf-8",
        Format::Contact => "text/vcard; charset=utf-8",
    };
    ("content-type".to_owned(), value.to_owned())
}

/// Verb, kind and objects of what is done to all of a collection.
pub(super) fn whole(tree: &Tree, verb: &str) -> (String, &'static str, Vec<String>) {
    let ids: Vec<String> = tree.members.iter().map(|member| member.path.clone()).collect();
    let holds = |wanted: Holds| tree.collections.iter().filter(|one| one.holds == wanted).count();
    let (one, kind) = match (holds(Holds::Events), holds(Holds::Contacts)) {
        (1, 0) => ("a calendar", "event"),
        (0, 1) => ("an address book", "contact"),
        (0, 0) if tree.collections.len() == 1 => ("a collection", "entry"),
        (0, 0) => ("collections", "entry"),
        (_, 0) => ("calendars", "event"),
        (0, _) => ("address books", "contact"),
        (_, _) => ("calendars and address books", "entry"),
    };
    if ids.is_empty() {
        let kind = match (holds(Holds::Events), holds(Holds::Contacts)) {
            (_, 0) if holds(Holds::Events) > 0 => "calendar",
            (0, contacts) if contacts > 0 => "address-book",
            _ => "collection",
        };
        return (verb.to_owned(), kind, tree.collections.iter().map(|one| one.path.clone()).collect());
    }
    (format!("{verb} {one} of"), kind, ids)
}

pub(super) fn names(tree: &Tree) -> Vec<Fact> {
    let named = |wanted: Holds| -> String {
        let names: Vec<String> =
            tree.collections.iter().filter(|one| one.holds == wanted).map(Collection::name).collect();
        names.join(", ")
    };
    let labels = [(Holds::Events, "Calendar"), (Holds::Contacts, "Address book"), (Holds::Else, "Collection")];
    let facts = labels.map(|(holds, label)| Fact { label: label.to_owned(), value: cut(&named(holds)) });
    facts.into_iter().filter(|fact| !fact.value.is_empty()).collect()
}

/// All that a text says.
pub(super) fn told(text: &Text) -> Vec<Fact> {
    bounded(text.told(Extent::Said).into_iter().map(|(label, value)| Fact { label, value }), MOST_TOLD)
}

/// Nothing is sent that readers could take for something else than what the person read, or that nobody could read here.
pub(super) fn check_invitation(text: &Text) -> Result<(), Refusal> {
    if let Some(why) = text.ambiguity() {
        let detail = format!(
            "The server would write to people, and {why}: they could read something else than what was approved. Send one, and say each thing once."
        );
        return Err(refused(409, "An invitation that can be read in more than one way", detail));
    }
    let told = text.told(Extent::Said);
    // Who is written to is listed besides.
    let is_cut = |label: &str, value: &str| label != WITH && value.chars().count() > LONGEST_SHOWN;
    if told.len() > MOST_TOLD || told.iter().any(|(label, value)| is_cut(label, value)) {
        let detail = format!(
            "The server would write to people, and it says more than can be shown before: at most {MOST_TOLD} fields of {LONGEST_SHOWN} letters. Nothing was sent."
        );
        return Err(refused(409, "An invitation that says too much", detail));
    }
    Ok(())
}

fn bounded(facts: impl Iterator<Item = Fact>, most: usize) -> Vec<Fact> {
    let mut facts: Vec<Fact> = facts.collect();
    let beyond = facts.len().saturating_sub(most);
    facts.truncate(most);
    if beyond > 0 {
        facts.push(Fact { label: "Not shown".to_owned(), value: format!("{beyond} more fields") });
    }
    facts
}

/// What is different, before and after.
pub(super) fn between(old: Option<&Text>, new: &Text) -> Vec<Fact> {
    let Some(old) = old else {
        let mut facts = told(new);
        facts.push(Fact { label: "Before".to_owned(), value: "what is there now can't be read".to_owned() });
        return facts;
    };
    let titles = (old.summary().title, new.summary().title);
    let mut facts = Vec::new();
    if titles.0 == titles.1 && !titles.0.is_empty() {
        facts.push(Fact { label: "Title".to_owned(), value: cut(&titles.0) });
    }
    let (before, after) = (old.told(Extent::All), new.told(Extent::All));
    let mut labels: Vec<&String> = after.iter().chain(&before).map(|(label, _)| label).collect();
    let mut known = BTreeSet::new();
    labels.retain(|label| known.insert(*label));
    let by_label = |shown: &'_ [(String, String)]| shown.iter().cloned().collect::<BTreeMap<String, String>>();
    let (was, will) = (by_label(&before), by_label(&after));
    for label in labels {
        if was.get(label) != will.get(label) {
            let text = |side: &BTreeMap<String, String>| side.get(label).map_or("(nothing)", String::as_str).to_owned();
            facts.push(Fact { label: format!("{label} before"), value: text(&was) });
            facts.push(Fact { label: format!("{label} after"), value: text(&will) });
        }
    }
    let mut facts = bounded(facts.into_iter(), MOST_DIFFERENT);
    let different: Vec<String> = old.differs(new).into_iter().collect();
    let value = if different.is_empty() { "nothing but the time of saving".to_owned() } else { different.join(", ") };
    facts.push(Fact { label: "Fields that change".to_owned(), value: cut(&value) });
    facts
}

pub(super) fn kind_of_collection(collection: &Collection) -> &'static str {
    match collection.holds {
        Holds::Events => "calendar",
        Holds::Contacts => "address-book",
        Holds::Else => "collection",
    }
}

/// Texts of another kind or in another coding could be read differently by the server.
pub(super) fn check_type(asked: &Asked) -> Result<(), Refusal> {
    let Some(kind) = &asked.content_type else { return Ok(()) };
    let lower = kind.to_ascii_lowercase();
    let mut pieces = lower.split(';').map(str::trim);
    let fits = matches!(pieces.next(), Some("text/calendar" | "text/vcard" | "text/x-vcard" | "text/directory"));
    let coding = pieces.find_map(|piece| piece.strip_prefix("charset="));
    if fits && coding.is_none_or(|coding| matches!(coding.trim_matches('"'), "utf-8" | "utf8" | "us-ascii")) {
        return Ok(());
    }
    let detail = format!("{kind} is not accepted. Send text/calendar or text/vcard in UTF-8.");
    Err(refused(415, "Neither a calendar nor a contact", detail))
}
