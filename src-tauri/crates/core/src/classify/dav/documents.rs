//! What the documents of changes say: new collections, settings, access, sharing.

use std::collections::BTreeMap;

use super::look::{SETTINGS, clark};
use super::request::Verb;
use super::xml::{self, APPLE, CALDAV, CARDDAV, DAV, Node, SERVER};
use crate::operation::{Class, Fact};

/// Properties that change nothing but how a collection looks and behaves for its owner, besides the plain settings.
const HARMLESS: [(&str, &str); 2] =
    [(CALDAV, "schedule-calendar-transp"), (CALDAV, "supported-calendar-component-set")];
/// Properties by which somebody gains access.
const OPENING: [(&str, &str); 5] = [
    (DAV, "group-member-set"),
    (DAV, "acl"),
    (SERVER, "invite"),
    (SERVER, "publish-url"),
    (SERVER, "calendar-proxy-write-for"),
];

fn is_one_of(node: &Node, known: &[(&str, &str)]) -> bool {
    known.iter().any(|(space, name)| node.is(space, name))
}

fn fact(label: &str, value: impl Into<String>) -> Fact {
    Fact { label: label.to_owned(), value: value.into() }
}

/// What a person reads for a property.
fn label(node: &Node) -> String {
    match (&*node.space, node.name.as_str()) {
        (DAV, "displayname") => "Name".to_owned(),
        (CALDAV, "calendar-description") | (CARDDAV, "addressbook-description") => "Description".to_owned(),
        (CALDAV, "calendar-timezone") => "Time zone".to_owned(),
        (APPLE, "calendar-color") => "Colour".to_owned(),
        (APPLE, "calendar-order") => "Order".to_owned(),
        (_, name) => name.to_owned(),
    }
}

fn value(node: &Node) -> String {
    let mut text = node.trimmed().to_owned();
    for child in &node.children {
        let inner = value(child);
        let name = child.attribute("name").unwrap_or(&child.name);
        let said = if inner.is_empty() { name.to_owned() } else { format!("{name}: {inner}") };
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(&said);
    }
    text
}

/// A collection to be made.
pub(super) struct Made {
    pub(super) kind: &'static str,
    pub(super) name: Option<String>,
    pub(super) facts: Vec<Fact>,
    /// Everything in it is understood.
    pub(super) known: bool,
}

pub(super) fn made(verb: Verb, body: &[u8]) -> Result<Made, String> {
    let calendar = verb == Verb::MkCalendar;
    let kind = if calendar { "calendar" } else { "collection" };
    let mut made = Made { kind, name: None, facts: Vec::new(), known: true };
    if body.is_empty() {
        return Ok(made);
    }
    let root = xml::parse(body)?;
    let fits = if calendar { root.is(CALDAV, "mkcalendar") } else { root.is(DAV, "mkcol") };
    if !fits {
        return Err(format!("its root is {}", clark(&root.space, &root.name)));
    }
    for child in &root.children {
        if !child.is(DAV, "set") {
            made.known = false;
        }
    }
    for node in root.all(DAV, "set").flat_map(|set| set.all(DAV, "prop")).flat_map(|prop| &prop.children) {
        if node.is(DAV, "displayname") {
            made.name = Some(node.trimmed().to_owned()).filter(|name| !name.is_empty());
        } else if node.is(DAV, "resourcetype") {
            let plain = [(DAV, "collection"), (CALDAV, "calendar"), (CARDDAV, "addressbook")];
            made.known &= node.children.iter().all(|kind| is_one_of(kind, &plain));
            if node.child(CARDDAV, "addressbook").is_some() {
                made.kind = "address-book";
            } else if node.child(CALDAV, "calendar").is_some() {
                made.kind = "calendar";
            }
        } else {
            made.known &= is_one_of(node, &SETTINGS) || is_one_of(node, &HARMLESS);
            made.facts.push(fact(&label(node), value(node)));
        }
    }
    Ok(made)
}

/// Settings to be changed.
pub(super) struct Changed {
    pub(super) class: Class,
    pub(super) facts: Vec<Fact>,
    /// Names and new texts of those that can be set again; `None`: taken away.
    pub(super) texts: Vec<(String, Option<String>)>,
    /// There is nothing else.
    pub(super) plain: bool,
}

pub(super) fn changed(body: &[u8]) -> Result<Changed, String> {
    let root = xml::parse(body)?;
    if !root.is(DAV, "propertyupdate") {
        return Err(format!("its root is {}", clark(&root.space, &root.name)));
    }
    let mut changed = Changed { class: Class::Modify, facts: Vec::new(), texts: Vec::new(), plain: true };
    for update in &root.children {
        let sets = update.is(DAV, "set");
        if !sets && !update.is(DAV, "remove") {
            return Err("it does more than set and remove".to_owned());
        }
        for node in update.all(DAV, "prop").flat_map(|prop| &prop.children) {
            let text = is_one_of(node, &SETTINGS) && node.children.is_empty();
            let class = if is_one_of(node, &OPENING) {
                Class::Share
            } else if text || is_one_of(node, &HARMLESS) {
                Class::Modify
            } else {
                Class::Unclassified
            };
            changed.class = changed.class.max(class);
            changed.plain &= text;
            changed.facts.push(fact(&label(node), if sets { value(node) } else { "(taken away)".to_owned() }));
            let name = clark(&node.space, &node.name);
            changed.texts.retain(|(known, _)| *known != name);
            if text {
                changed.texts.push((name, sets.then(|| node.text.clone())));
            }
        }
    }
    if changed.facts.is_empty() {
        return Err("it changes nothing".to_owned());
    }
    Ok(changed)
}

/// Rules of access.
#[derive(Default)]
pub(super) struct Rules {
    pub(super) people: BTreeMap<String, &'static str>,
    pub(super) place: Option<String>,
    pub(super) facts: Vec<Fact>,
}

/// Whom a rule is for, the widest last.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Whom {
    Named(String),
    /// The owner, whoever asks, a group: only the server knows who that is.
    Somebody,
    LoggedIn,
    EveryoneBut(String),
    Everyone,
}

impl Whom {
    /// Of a `principal`, or of an `invert` around one (RFC 3744 section 5.5.1).
    fn of(node: &Node) -> Self {
        if node.name == "invert" {
            let inner = node.child(DAV, "principal").map_or(Self::Somebody, Self::of);
            return Self::EveryoneBut(inner.words());
        }
        match node.children.first() {
            Some(href) if href.is(DAV, "href") => Self::Named(href.trimmed().to_owned()),
            Some(kind) if kind.is(DAV, "all") || kind.is(DAV, "unauthenticated") => Self::Everyone,
            Some(kind) if kind.is(DAV, "authenticated") => Self::LoggedIn,
            Some(_) | None => Self::Somebody,
        }
    }

    fn words(&self) -> String {
        match self {
            Self::Named(href) => href.clone(),
            Self::Somebody => "somebody whom only the server knows".to_owned(),
            Self::LoggedIn => "everyone who can log in there".to_owned(),
            Self::EveryoneBut(whom) => format!("everyone but {whom}"),
            Self::Everyone => "everyone".to_owned(),
        }
    }
}

pub(super) fn rules(body: &[u8]) -> Result<Rules, String> {
    let root = xml::parse(body)?;
    if !root.is(DAV, "acl") {
        return Err(format!("its root is {}", clark(&root.space, &root.name)));
    }
    let mut rules = Rules::default();
    let mut widest: Option<Whom> = None;
    for ace in &root.children {
        if !ace.is(DAV, "ace") {
            return Err("it has something else than rules".to_owned());
        }
        let known = ["principal", "invert", "grant", "deny"];
        if ace.children.iter().any(|one| !known.iter().any(|name| one.is(DAV, name))) {
            return Err("a rule says more than is known".to_owned());
        }
        let mut whom = ace.children.iter().filter(|one| one.is(DAV, "principal") || one.is(DAV, "invert"));
        let (Some(whom), None) = (whom.next(), whom.next()) else {
            return Err("a rule is not for exactly one".to_owned());
        };
        if whom.children.len() != 1 {
            return Err("a rule is not for exactly one".to_owned());
        }
        let whom = Whom::of(whom);
        let who = whom.words();
        let mut grants = false;
        for (name, verb) in [("grant", "may"), ("deny", "may not")] {
            let mut privileges = Vec::new();
            for granted in ace.all(DAV, name) {
                for privilege in granted.all(DAV, "privilege") {
                    privileges.extend(privilege.children.iter().map(|one| one.name.clone()));
                }
            }
            grants |= name == "grant" && ace.child(DAV, name).is_some();
            if !privileges.is_empty() {
                rules.facts.push(fact("Rule", format!("{who} {verb}: {}", privileges.join(", "))));
            }
        }
        match whom {
            _ if !grants => {}
            Whom::Named(href) => {
                rules.people.insert(href, "gains access");
            }
            other => widest = widest.max(Some(other)),
        }
    }
    rules.place = widest.map(|whom| whom.words());
    rules.facts.push(fact("Rules that were there before", "are replaced by these"));
    Ok(rules)
}

/// Sharing by POST.
pub(super) struct Shared {
    pub(super) action: &'static str,
    pub(super) class: Class,
    pub(super) verb: &'static str,
    pub(super) people: BTreeMap<String, &'static str>,
    pub(super) place: Option<String>,
    pub(super) facts: Vec<Fact>,
}

pub(super) fn shared(body: &[u8]) -> Result<Shared, String> {
    let root = xml::parse(body)?;
    let mut shared = Shared {
        action: "share",
        class: Class::Share,
        verb: "Share",
        people: BTreeMap::new(),
        place: None,
        facts: Vec::new(),
    };
    if root.is(SERVER, "publish-calendar") {
        (shared.action, shared.class, shared.verb) = ("publish", Class::Publish, "Publish");
        shared.place = Some("everyone with the link".to_owned());
        return Ok(shared);
    }
    if root.is(SERVER, "unpublish-calendar") {
        (shared.action, shared.verb) = ("unpublish", "Stop publishing");
        return Ok(shared);
    }
    let ways: [(&str, &str, &str); 3] =
        [(SERVER, "set", "gains"), (SERVER, "remove", "loses"), (DAV, "sharee", "gains")];
    let fits = root.is(SERVER, "share") || root.is(DAV, "share-resource");
    if !fits
        || root.children.is_empty()
        || root.children.iter().any(|child| !ways.iter().any(|(space, name, _)| child.is(space, name)))
    {
        return Err(format!("{} is no way to share that is known", clark(&root.space, &root.name)));
    }
    for child in &root.children {
        if child.all(DAV, "href").count() > 1 {
            return Err("it names more than one at once".to_owned());
        }
        let who = child.child(DAV, "href").map(|href| href.trimmed().to_owned()).filter(|who| !who.is_empty());
        let who = who.ok_or("it is shared with nobody")?;
        let who = who.strip_prefix("mailto:").map(str::to_owned).unwrap_or(who);
        let way = ways.iter().find(|(space, name, _)| child.is(space, name)).map_or("gains", |(_, _, way)| way);
        let ends = child.child(DAV, "share-access").is_some_and(|access| access.child(DAV, "no-access").is_some());
        let way = if ends { "loses" } else { way };
        let rights: Vec<String> = child
            .children
            .iter()
            .filter(|one| one.name != "href")
            .map(|one| {
                let inner = value(one);
                if inner.is_empty() { one.name.clone() } else { format!("{}: {inner}", one.name) }
            })
            .collect();
        shared.facts.push(fact("Access", format!("{who} {way} access ({})", rights.join(", "))));
        let role = if way == "gains" { "gains access" } else { "loses access" };
        // Whichever of two the server heeds: the wider is shown.
        if shared.people.get(&who) != Some(&"gains access") {
            shared.people.insert(who, role);
        }
    }
    Ok(shared)
}
