//! What a change would do: an [`Operation`] for the Guard, the call that does it bound to what was seen, and what must still be so when it runs.

mod elsewhere;

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::hrefs::{Here, Way, rewrite};
use super::ical::{self, Format, Text, cut};
use super::look::{Collection, Holds, Member, last, parent};
use super::request::{Asked, Verb};
pub use super::shown::{Glimpse, Sent, glimpse};
use super::shown::{
    UNKNOWN_GUESTS, between, check_invitation, check_type, is_contact, kind_at, kind_of, kind_of_collection, media,
    names, told, whole,
};
use super::{documents, refused};
use crate::call::{Call, CallBody, Digest};
use crate::classify::Refusal;
use crate::operation::{Audience, Class, Fact, Member as Reached, Meter, Objects, Operation, Part};
use crate::undo::dav::{SETTINGS, SETTINGS_IN_PART};

/// The provider's id.
pub const PROVIDER: &str = "dav";
/// The parameter of a part that holds its [`Frozen`] state.
const FROZEN: &str = "dav";

/// A kind of change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Deed {
    /// Puts an entry where there is none.
    Create,
    /// Puts an entry over one.
    Replace,
    /// Removes an entry.
    Delete,
    /// Removes a collection with all that is in it.
    DeleteAll,
    /// Puts other entries into a collection, instead of all that is in it.
    ReplaceAll,
    /// Moves an entry.
    Move,
    /// Moves a collection with all that is in it.
    MoveAll,
    /// Copies an entry.
    Copy,
    /// Makes a collection.
    Make,
    /// Changes a collection's settings.
    Settings,
    /// Changes who has access.
    Access,
    /// Sends a message, shares or publishes.
    Post,
}

/// A collection with all that is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tree {
    /// Itself first.
    pub collections: Vec<Collection>,
    /// Every entry, however deep.
    pub members: Vec<Member>,
}

/// What was seen when a change was decided: it runs only while this is so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frozen {
    /// What is done.
    pub deed: Deed,
    /// Where.
    pub path: String,
    /// Where to.
    pub to: Option<String>,
    /// Places with the version that was there, or nothing.
    pub expects: Vec<(String, Option<String>)>,
    /// A collection's content.
    pub tree: Option<Tree>,
    /// Settings that are changed: name, and the text before.
    pub before: Vec<(String, Option<String>)>,
    /// The same, and the text after.
    pub after: Vec<(String, Option<String>)>,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum At {
    /// Nothing.
    Nothing,
    /// An entry with its text.
    Entry(Member, Bytes),
    /// A collection.
    Tree(Box<Tree>, BTreeSet<String>),
}

/// What was looked at before a change is classified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// At the path itself.
    pub at: At,
    /// Where it is to go.
    pub to: At,
    /// What the collection around the place where something new, or a collection that moves, is to be holds.
    pub around: Option<Holds>,
    /// The account's own addresses: nobody is written to there.
    pub own: Vec<String>,
}

/// The frozen state of a part; `None` for reads and for parts of other providers.
#[must_use]
pub fn frozen(part: &Part) -> Option<Frozen> {
    let (_, text) = part.params.iter().find(|(name, _)| name == FROZEN)?;
    part.operation.action.starts_with("dav.").then(|| serde_json::from_str(text).ok())?
}

/// Whether a part can only be done to all of its objects or to none.
#[must_use]
pub fn is_whole(part: &Part) -> bool {
    part.operation.action.starts_with("dav.") && part.params.iter().any(|(name, _)| name == FROZEN)
}

/// A change in the making.
struct Draft {
    deed: Deed,
    action: &'static str,
    class: Class,
    verb: String,
    kind: String,
    ids: Vec<String>,
    facts: Vec<Fact>,
    /// With what becomes of each.
    people: BTreeMap<String, &'static str>,
    place: Option<String>,
    undo: Option<&'static str>,
    expects: Vec<(String, Option<String>)>,
    tree: Option<Tree>,
    before: Vec<(String, Option<String>)>,
    after: Vec<(String, Option<String>)>,
    said: Vec<String>,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Draft {
    fn new(deed: Deed, action: &'static str, class: Class, verb: &str) -> Self {
        Self {
            deed,
            action,
            class,
            verb: verb.to_owned(),
            kind: String::new(),
            ids: Vec::new(),
            facts: Vec::new(),
            people: BTreeMap::new(),
            place: None,
            undo: None,
            expects: Vec::new(),
            tree: None,
            before: Vec::new(),
            after: Vec::new(),
            said: Vec::new(),
            headers: Vec::new(),
            body: Bytes::new(),
        }
    }

    fn fact(&mut self, label: &str, value: impl Into<String>) {
        self.facts.push(Fact { label: label.to_owned(), value: value.into() });
    }

    /// Whoever is written to by the server itself makes a change one that sends.
    fn invites(&mut self, mut people: BTreeSet<String>, own: &[String], what: &str) {
        if people.remove(UNKNOWN_GUESTS) {
            self.invites_unknown();
        }
        let own = |one: &String| own.iter().any(|own| own.eq_ignore_ascii_case(one));
        self.people = people.into_iter().filter(|one| !own(one)).map(|one| (one, "to")).collect();
        if self.people.is_empty() {
            return;
        }
        let told: Vec<&str> = self.people.keys().map(String::as_str).collect();
        let told = cut(&told.join(", "));
        self.fact(what, told);
        if self.class < Class::Send {
            self.class = Class::Send;
        }
    }

    /// What a text says, all of it, where the server writes to people: they get the whole of it.
    fn tells_all(&mut self, text: &Text) {
        if !self.people.is_empty() || self.place.is_some() {
            let news: Vec<Fact> = told(text).into_iter().filter(|fact| !self.facts.contains(fact)).collect();
            self.facts.extend(news);
        }
    }

    /// What is stored there can't be read: nobody knows whom the server tells, so whoever else it tells, they are not all known.
    fn invites_unknown(&mut self) {
        self.place = Some(UNKNOWN_GUESTS.to_owned());
        self.fact("Guests", "What is stored there can't be read, so it is not known whom the server tells".to_owned());
        self.class = self.class.max(Class::Unclassified);
    }

    /// What is at the destination goes; whom the server may tell of that.
    fn overwrites(&mut self, target: &Member, body: &Bytes) -> BTreeSet<String> {
        self.class = Class::Destroy;
        self.verb = "Overwrite".to_owned();
        self.expects.push((target.path.clone(), Some(target.etag.clone())));
        self.fact("Overwritten", glimpse(&target.path, body).view.title);
        self.headers.push(("overwrite".to_owned(), "T".to_owned()));
        match ical::parse(body) {
            Ok(text) => text.summary().people,
            Err(_) => {
                self.invites_unknown();
                BTreeSet::new()
            }
        }
    }

    fn part(self, asked: &Asked) -> Part {
        let frozen = Frozen {
            deed: self.deed,
            path: asked.path.clone(),
            to: asked.to.clone(),
            expects: self.expects,
            tree: self.tree,
            before: self.before,
            after: self.after,
        };
        let state = serde_json::to_string(&frozen).unwrap_or_default();
        let mut fields: Vec<&[u8]> = vec![state.as_bytes(), asked.method.as_str().as_bytes()];
        fields.extend(self.said.iter().map(String::as_bytes));
        let content = Digest::of(&fields);
        let audience = (!self.people.is_empty() || self.place.is_some()).then(|| Audience {
            members: self
                .people
                .into_iter()
                .map(|(address, role)| Reached { address, role: role.to_owned() })
                .collect(),
            place: self.place,
        });
        let counts = matches!(self.class, Class::Modify | Class::Send) || self.deed == Deed::MoveAll;
        let meters = if counts { vec![Meter::Modify] } else { Vec::new() };
        let objects =
            if self.ids.is_empty() { Objects::None } else { Objects::Listed { kind: self.kind, ids: self.ids } };
        let headers = asked.headers.iter().cloned().chain(self.headers).collect();
        Part {
            operation: Operation {
                action: format!("{PROVIDER}.{}", self.action),
                class: self.class,
                verb: self.verb,
                objects,
                meters,
                audience,
                facts: self.facts,
                undo: self.undo.map(str::to_owned),
                soften: None,
                content,
                opaque: false,
            },
            call: Call {
                method: asked.method.clone(),
                target: asked.path.clone(),
                headers,
                body: CallBody::Bytes(self.body),
            },
            params: vec![(FROZEN.to_owned(), state)],
            content_id: None,
        }
    }
}

/// Classifies a change, bound to what was seen.
pub fn classify(asked: &Asked, body: &Bytes, seen: &Seen, here: &Here) -> Result<Part, Refusal> {
    conditions(asked, &seen.at)?;
    match asked.verb {
        Verb::Put => put(asked, body, seen),
        Verb::Delete => delete(asked, seen),
        Verb::Move | Verb::Copy => transfer(asked, seen, here),
        Verb::MkCalendar | Verb::MkCol => make(asked, body, seen),
        Verb::Proppatch => settings(asked, body, seen, here),
        Verb::Acl => access(asked, body, seen, here),
        Verb::Post => post(asked, body, seen, here),
        Verb::Options | Verb::Get | Verb::Head | Verb::Propfind | Verb::Report => {
            Err(refused(500, "Not a change", "This is our own fault: a read was taken for a change. Nothing was sent."))
        }
    }
}

fn conditions(asked: &Asked, at: &At) -> Result<(), Refusal> {
    let etag = match at {
        At::Nothing => None,
        At::Entry(member, _) => Some(member.etag.clone()),
        At::Tree(tree, _) => tree.collections.first().map(|one| one.etag.clone().unwrap_or_default()),
    };
    if asked.if_absent && etag.is_some() {
        return Err(stale("There is something at this address already (If-None-Match: *)."));
    }
    let Some(wanted) = &asked.if_match else { return Ok(()) };
    let fits =
        etag.is_some_and(|etag| wanted == "*" || wanted.split(',').any(|one| one.trim() == etag && !etag.is_empty()));
    if fits { Ok(()) } else { Err(stale("What is there now has another version than your If-Match says.")) }
}

fn stale(why: &str) -> Refusal {
    refused(412, "It is not as you think", format!("{why} Nothing was done. Read it again, then decide again."))
}

fn missing(what: &str) -> Refusal {
    refused(404, "Not there", format!("There is nothing at {what}. Nothing was done."))
}

fn put(asked: &Asked, body: &Bytes, seen: &Seen) -> Result<Part, Refusal> {
    check_type(asked)?;
    let text = ical::parse(body).map_err(|why| {
        let detail =
            format!("The text can't be read with certainty: {why}. Nothing was sent. Send plain iCalendar or vCard.");
        refused(415, "Neither a calendar nor a contact", detail)
    })?;
    let mut draft = match &seen.at {
        At::Nothing => {
            create_fits(asked, seen, &text)?;
            let mut draft = Draft::new(Deed::Create, "create", Class::Modify, "Create");
            draft.facts = told(&text);
            draft.invites(text.summary().people, &seen.own, "The server invites");
            draft.undo = Some("created");
            draft.expects = vec![(asked.path.clone(), None)];
            draft.headers.push(("if-none-match".to_owned(), "*".to_owned()));
            draft
        }
        At::Entry(member, before) => {
            if text.uids().len() > 1 {
                return Err(refused(409, "Several entries at once", "One entry stands at one address. Send one."));
            }
            let old = ical::parse(before).ok();
            let unread = old.is_none();
            let mut draft = Draft::new(Deed::Replace, "replace", Class::Modify, "Change");
            draft.facts = between(old.as_ref(), &text);
            let mut people = text.summary().people;
            people.extend(old.map(|old| old.summary().people).unwrap_or_default());
            draft.invites(people, &seen.own, "The server tells");
            if unread && !is_contact(before) {
                draft.invites_unknown();
            }
            draft.tells_all(&text);
            draft.undo = Some("replaced");
            draft.expects = vec![(asked.path.clone(), Some(member.etag.clone()))];
            draft.headers.push(("if-match".to_owned(), member.etag.clone()));
            draft
        }
        At::Tree(tree, people) => {
            let mut draft = Draft::new(Deed::ReplaceAll, "replace-collection", Class::Destroy, "");
            let (verb, kind, ids) = whole(tree, "Replace");
            (draft.verb, draft.kind, draft.ids) = (verb, kind.to_owned(), ids);
            draft.facts = names(tree);
            draft.fact("Entries that come instead", text.uids().len().max(text.entries()).to_string());
            let invited = text.summary().people;
            if invited.iter().any(|one| !seen.own.iter().any(|own| own.eq_ignore_ascii_case(one))) {
                let detail = "The server would write to people, and what all of these entries say can't be shown before. Send those with guests one by one. Nothing was sent.";
                return Err(refused(409, "Invitations among a whole calendar", detail));
            }
            draft.invites(people.clone(), &seen.own, "The server may tell");
            draft.undo = Some("replaced-all");
            draft.headers.extend(bound(tree));
            draft.tree = Some((**tree).clone());
            draft
        }
    };
    if draft.deed != Deed::ReplaceAll {
        if !draft.people.is_empty() || draft.place.is_some() {
            check_invitation(&text)?;
        }
        draft.kind = kind_of(&text).to_owned();
        draft.ids = vec![asked.path.clone()];
    }
    draft.said = text.canonical();
    draft.headers.push(media(text.format));
    draft.body = body.clone();
    Ok(draft.part(asked))
}

fn create_fits(asked: &Asked, seen: &Seen, text: &Text) -> Result<(), Refusal> {
    let fits = match (seen.around, text.format) {
        (Some(Holds::Events), Format::Calendar) | (Some(Holds::Contacts), Format::Contact) => true,
        (Some(Holds::Events | Holds::Contacts | Holds::Else) | None, _) => false,
    };
    if !fits || asked.path.ends_with('/') {
        let detail = "New events and tasks go into a calendar, new contacts into an address book, one at an address. To make a calendar, use MKCALENDAR.";
        return Err(refused(409, "It does not belong there", detail));
    }
    if text.uids().len() > 1 {
        return Err(refused(409, "Several entries at once", "One entry stands at one address. Send one."));
    }
    Ok(())
}

fn delete(asked: &Asked, seen: &Seen) -> Result<Part, Refusal> {
    match &seen.at {
        At::Nothing => Err(missing(&asked.path)),
        At::Entry(member, body) => {
            let mut draft = Draft::new(Deed::Delete, "delete", Class::Destroy, "Delete");
            let (kind, text) = kind_at(body);
            (draft.kind, draft.ids) = (kind.to_owned(), vec![asked.path.clone()]);
            match &text {
                Some(text) => {
                    draft.facts = told(text);
                    draft.invites(text.summary().people, &seen.own, "The server tells of the cancellation");
                }
                None if is_contact(body) => {}
                None => draft.invites_unknown(),
            }
            draft.undo = Some("deleted");
            draft.expects = vec![(asked.path.clone(), Some(member.etag.clone()))];
            draft.headers.push(("if-match".to_owned(), member.etag.clone()));
            Ok(draft.part(asked))
        }
        At::Tree(tree, people) => {
            let mut draft = Draft::new(Deed::DeleteAll, "delete-collection", Class::Destroy, "");
            let (verb, kind, ids) = whole(tree, "Delete");
            (draft.verb, draft.kind, draft.ids) = (verb, kind.to_owned(), ids);
            draft.facts = names(tree);
            draft.invites(people.clone(), &seen.own, "The server may tell of cancellations");
            draft.undo = Some("deleted-all");
            draft.headers.extend(bound(tree));
            draft.tree = Some((**tree).clone());
            Ok(draft.part(asked))
        }
    }
}

/// A collection is bound to its version, where the server gives it one.
fn bound(tree: &Tree) -> Option<(String, String)> {
    tree.collections.first()?.etag.clone().map(|etag| ("if-match".to_owned(), etag))
}

fn transfer(asked: &Asked, seen: &Seen, here: &Here) -> Result<Part, Refusal> {
    let to = asked.to.clone().ok_or_else(|| refused(400, "No destination", "Say where to."))?;
    let (member, body) = match &seen.at {
        At::Nothing => return Err(missing(&asked.path)),
        At::Tree(tree, people) if asked.verb == Verb::Move => {
            return elsewhere::whole_move(asked, (tree, people), &to, seen, here);
        }
        At::Tree(..) => {
            let detail = "A whole collection is not copied here. Copy its entries one by one.";
            return Err(refused(403, "A whole collection", detail));
        }
        At::Entry(member, body) => (member, body),
    };
    if to == asked.path || to.ends_with('/') {
        return Err(refused(403, "It can't go there", "The Destination must be the address of another entry."));
    }
    let moves = asked.verb == Verb::Move;
    let (deed, action, verb) = if moves { (Deed::Move, "move", "Move") } else { (Deed::Copy, "copy", "Copy") };
    let mut draft = Draft::new(deed, action, Class::Modify, verb);
    let (kind, text) = kind_at(body);
    let title = glimpse(&asked.path, body).view.title;
    (draft.kind, draft.ids) = (kind.to_owned(), vec![asked.path.clone()]);
    draft.undo = Some(if moves { "moved" } else { "copied" });
    draft.expects = vec![(asked.path.clone(), Some(member.etag.clone()))];
    let mut people = BTreeSet::new();
    let destination = format!("{}{to}", here.base);
    match &seen.to {
        At::Nothing => {
            draft.expects.push((to.clone(), None));
            draft.fact("Title", title);
            draft.headers.push(("overwrite".to_owned(), "F".to_owned()));
        }
        At::Tree(..) => {
            let detail = "The Destination is a collection: it would be replaced with all that is in it.";
            return Err(refused(403, "It can't go there", detail));
        }
        At::Entry(..) if !asked.overwrite => {
            return Err(stale("There is something at the Destination already (Overwrite: F)."));
        }
        At::Entry(target, target_body) => {
            draft.action = if moves { "move-over" } else { "copy-over" };
            draft.ids = vec![to.clone()];
            people.extend(draft.overwrites(target, target_body));
            draft.fact(if moves { "By moving" } else { "By a copy of" }, title);
            // If-Match is about what goes; this is about what it goes over (RFC 4918 section 10.4).
            draft.headers.push(("if".to_owned(), format!("<{destination}> ([{}])", target.etag)));
        }
    }
    draft.fact("From", last(&parent(&asked.path)));
    draft.fact("To", last(&parent(&to)));
    if parent(&asked.path) != parent(&to) {
        // A server can take leaving a calendar for a cancellation.
        match &text {
            Some(text) => people.extend(text.summary().people),
            None if is_contact(body) => {}
            None => draft.invites_unknown(),
        }
    }
    draft.invites(people, &seen.own, "The server may tell");
    if let Some(text) = &text {
        draft.tells_all(text);
    }
    draft.headers.push(("if-match".to_owned(), member.etag.clone()));
    draft.headers.push(("destination".to_owned(), destination));
    Ok(draft.part(asked))
}

fn make(asked: &Asked, body: &Bytes, seen: &Seen) -> Result<Part, Refusal> {
    if seen.at != At::Nothing {
        return Err(refused(405, "There is something already", "Nothing was made: the address is taken."));
    }
    let made = documents::made(asked.verb, body).map_err(|why| unread(&why))?;
    let class = if made.known { Class::Modify } else { Class::Unclassified };
    let action = if asked.verb == Verb::MkCalendar { "mkcalendar" } else { "mkcol" };
    let mut draft = Draft::new(Deed::Make, action, class, "Create");
    (draft.kind, draft.ids) = (made.kind.to_owned(), vec![asked.path.clone()]);
    draft.fact("Name", made.name.unwrap_or_else(|| last(&asked.path)));
    draft.facts.extend(made.facts);
    draft.undo = made.known.then_some("made");
    draft.expects = vec![(asked.path.clone(), None)];
    document(&mut draft, body.clone());
    Ok(draft.part(asked))
}

fn settings(asked: &Asked, body: &Bytes, seen: &Seen, here: &Here) -> Result<Part, Refusal> {
    let (path, known, kind, name) = match &seen.at {
        At::Nothing => return Err(missing(&asked.path)),
        At::Entry(member, _) => (member.path.clone(), Vec::new(), "entry", last(&asked.path)),
        At::Tree(tree, _) => {
            let first = tree.collections.first().ok_or_else(|| missing(&asked.path))?;
            (first.path.clone(), first.settings.clone(), kind_of_collection(first), first.name())
        }
    };
    let changed = documents::changed(body).map_err(|why| unread(&why))?;
    let mut draft = Draft::new(Deed::Settings, "proppatch", changed.class, "Change the settings of");
    (draft.kind, draft.ids) = (kind.to_owned(), vec![path]);
    draft.fact("Name", name);
    draft.facts.extend(changed.facts);
    // What an entry's were is not looked at.
    if !changed.texts.is_empty() && changed.class < Class::Share && matches!(seen.at, At::Tree(..)) {
        draft.undo = Some(if changed.plain { SETTINGS } else { SETTINGS_IN_PART });
        let was = |name: &String| known.iter().find(|(one, _)| one == name).map(|(_, text)| text.clone());
        draft.before = changed.texts.iter().map(|(name, _)| (name.clone(), was(name))).collect();
        draft.after = changed.texts;
    }
    document(&mut draft, outward(here, body)?);
    Ok(draft.part(asked))
}

fn access(asked: &Asked, body: &Bytes, seen: &Seen, here: &Here) -> Result<Part, Refusal> {
    let (kind, name) = match &seen.at {
        At::Nothing => return Err(missing(&asked.path)),
        At::Entry(..) => ("entry", last(&asked.path)),
        At::Tree(tree, _) => {
            let first = tree.collections.first().ok_or_else(|| missing(&asked.path))?;
            (kind_of_collection(first), first.name())
        }
    };
    let rules = documents::rules(body).map_err(|why| unread(&why))?;
    let mut draft = Draft::new(Deed::Access, "acl", Class::Share, "Share");
    (draft.kind, draft.ids) = (kind.to_owned(), vec![asked.path.clone()]);
    draft.fact("Name", name);
    draft.facts.extend(rules.facts);
    draft.people = rules.people;
    draft.place = rules.place;
    document(&mut draft, outward(here, body)?);
    Ok(draft.part(asked))
}

fn post(asked: &Asked, body: &Bytes, seen: &Seen, here: &Here) -> Result<Part, Refusal> {
    let kind = asked.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if essence == "text/calendar" {
        check_type(asked)?;
        let text = ical::parse(body).map_err(|why| unread(&why))?;
        if text.method().is_none() {
            let detail = "A POST of a calendar must be a message (METHOD). To store an event, use PUT.";
            return Err(refused(403, "No message", detail));
        }
        check_invitation(&text)?;
        let mut draft = Draft::new(Deed::Post, "schedule", Class::Send, "Send");
        draft.facts = told(&text);
        draft.invites(text.summary().people, &seen.own, "The server writes to");
        if draft.people.is_empty() {
            return Err(refused(403, "Nobody to write to", "The message names no attendee. Nothing was sent."));
        }
        draft.said = text.canonical();
        draft.headers.push(media(text.format));
        draft.body = body.clone();
        return Ok(draft.part(asked));
    }
    if !matches!(essence, "application/davsharing+xml" | "application/xml" | "text/xml") {
        let detail = "Only calendar messages and sharing are understood as POST. To store an entry, use PUT.";
        return Err(refused(403, "A POST that is not understood", detail));
    }
    let shared = documents::shared(body).map_err(|why| unread(&why))?;
    let mut draft = Draft::new(Deed::Post, shared.action, shared.class, shared.verb);
    (draft.kind, draft.ids) = ("collection".to_owned(), vec![asked.path.clone()]);
    draft.fact("Name", last(&asked.path));
    draft.facts.extend(shared.facts);
    draft.people = shared.people;
    draft.place = shared.place;
    let kind = ("content-type".to_owned(), format!("{essence}; charset=utf-8"));
    draft.body = outward(here, body)?;
    draft.said = vec![String::from_utf8_lossy(&draft.body).into_owned()];
    draft.headers.push(kind);
    Ok(draft.part(asked))
}

fn document(draft: &mut Draft, body: Bytes) {
    draft.said = vec![String::from_utf8_lossy(&body).into_owned()];
    if !body.is_empty() {
        draft.headers.push(("content-type".to_owned(), "application/xml; charset=utf-8".to_owned()));
    }
    draft.body = body;
}

fn outward(here: &Here, body: &Bytes) -> Result<Bytes, Refusal> {
    rewrite(here, Way::Outward, body).map(Bytes::from).map_err(|why| unread(&why))
}

fn unread(why: &str) -> Refusal {
    let detail = format!("The body can't be read with certainty: {why}. Nothing was sent.");
    refused(400, "A body that is not understood", detail)
}
