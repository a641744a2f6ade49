//! The guard's own look at a server: which properties it asks for, and what the answers say.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};

use super::hrefs::Here;
use super::request::place;
use super::xml::{self, APPLE, CALDAV, CARDDAV, DAV, Node};
use crate::call::{Call, CallBody};

/// What every look asks for.
const PROPS: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"utf-8\"?><propfind xmlns=\"DAV:\" xmlns:C=\"urn:ietf:params:xml:ns:caldav\" ",
    "xmlns:R=\"urn:ietf:params:xml:ns:carddav\" xmlns:A=\"http://apple.com/ns/ical/\"><prop><resourcetype/><getetag/>",
    "<getcontenttype/><displayname/><C:calendar-description/><C:calendar-timezone/><C:supported-calendar-component-set/>",
    "<A:calendar-color/><A:calendar-order/><R:addressbook-description/></prop></propfind>"
);
/// Properties with a text that a collection is made with, and that can be set again.
pub(crate) const SETTINGS: [(&str, &str); 6] = [
    (DAV, "displayname"),
    (CALDAV, "calendar-description"),
    (CALDAV, "calendar-timezone"),
    (APPLE, "calendar-color"),
    (APPLE, "calendar-order"),
    (CARDDAV, "addressbook-description"),
];

/// What a collection holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Holds {
    /// Events and tasks.
    Events,
    /// Contacts.
    Contacts,
    /// Other collections, or what is not known.
    Else,
}

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Collection {
    /// Its path, with a trailing slash.
    pub path: String,
    /// What it holds.
    pub holds: Holds,
    /// Its version, if the server gives it one.
    pub etag: Option<String>,
    /// Its settings: namespace and name in one, and text.
    pub settings: Vec<(String, String)>,
    /// `VEVENT`, `VTODO`, ...
    pub components: Vec<String>,
}

impl Collection {
    /// Its name for people.
    #[must_use]
    pub fn name(&self) -> String {
        let own = self.settings.iter().find(|(name, _)| *name == clark(DAV, "displayname"));
        own.map(|(_, name)| name.trim().to_owned()).filter(|name| !name.is_empty()).unwrap_or_else(|| last(&self.path))
    }
}

/// An entry: its path and version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// Its path.
    pub path: String,
    /// Its version.
    pub etag: String,
}

/// What is at a place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// A collection; what is in it is not known yet.
    Collection(Collection),
    /// An entry.
    Member(Member),
}

/// What an answer lists: the place itself and what is directly in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Listing {
    /// Collections, the place itself among them if it is one.
    pub collections: Vec<Collection>,
    /// Entries.
    pub members: Vec<Member>,
}

impl Listing {
    /// What is at this path itself.
    #[must_use]
    pub fn at(&self, path: &str) -> Option<Found> {
        let same = |other: &str| other.trim_end_matches('/') == path.trim_end_matches('/');
        let collection = self.collections.iter().find(|one| same(&one.path)).cloned().map(Found::Collection);
        collection.or_else(|| self.members.iter().find(|one| same(&one.path)).cloned().map(Found::Member))
    }
}

/// The first status in an answer of several that is no success.
pub fn refusals(body: &[u8]) -> Result<Option<String>, String> {
    let root = xml::parse_answer(body)?;
    let mut found = Vec::new();
    root.below(DAV, "status", &mut found);
    let fine = |status: &str| status.split(' ').nth(1).is_some_and(|code| code.starts_with('2'));
    Ok(found
        .iter()
        .map(|one| one.trimmed())
        .find(|status| !fine(status))
        .map(|status| status.chars().take(80).collect()))
}

/// Asks what is at a place, and with `inside` also what is directly in it.
#[must_use]
pub fn look(path: &str, inside: bool) -> Option<Call> {
    Some(Call {
        method: Method::from_str("PROPFIND").ok()?,
        target: path.to_owned(),
        headers: vec![
            ("content-type".to_owned(), "application/xml; charset=utf-8".to_owned()),
            ("depth".to_owned(), if inside { "1" } else { "0" }.to_owned()),
        ],
        body: CallBody::Bytes(Bytes::from_static(PROPS.as_bytes())),
    })
}

/// Whether a call is such a look, which changes nothing.
#[must_use]
pub fn only_looks(call: &Call) -> bool {
    let ours = matches!(&call.body, CallBody::Bytes(bytes) if *bytes == PROPS.as_bytes());
    call.method.as_str() == "PROPFIND" && ours
}

/// Reads the answer to [`look`]; the error says what is wrong with it.
pub fn listing(here: &Here, answer: &[u8]) -> Result<Listing, String> {
    let root = xml::parse_answer(answer)?;
    if !root.is(DAV, "multistatus") {
        return Err("it is no list".to_owned());
    }
    let mut listing = Listing::default();
    for response in root.all(DAV, "response") {
        // Some servers answer so instead of with their own 404.
        let gone = response.child(DAV, "status").is_some_and(|status| code(status) == Some("404"));
        if gone {
            continue;
        }
        let href = response.child(DAV, "href").ok_or("an entry has no address")?;
        let path = here
            .servers(href.trimmed())
            .ok_or_else(|| format!("{} is not below this account's address", href.trimmed()))?;
        let path = place(&path).map_err(|refusal| format!("{}: {}", href.trimmed(), refusal.detail))?;
        let props = properties(response);
        let Some(kind) = props.get(&clark(DAV, "resourcetype")) else {
            return Err(format!("it does not say what {path} is"));
        };
        let etag = props.get(&clark(DAV, "getetag")).map(|etag| etag.trimmed().to_owned()).filter(|etag| strong(etag));
        if kind.child(DAV, "collection").is_none() {
            let etag =
                etag.ok_or_else(|| format!("it gives {path} no version (ETag) that a change could be bound to"))?;
            listing.members.push(Member { path, etag });
            continue;
        }
        let holds = if kind.child(CALDAV, "calendar").is_some() {
            Holds::Events
        } else if kind.child(CARDDAV, "addressbook").is_some() {
            Holds::Contacts
        } else {
            Holds::Else
        };
        let settings = SETTINGS.iter().filter_map(|(space, name)| {
            let text = props.get(&clark(space, name))?;
            (text.children.is_empty() && !text.text.is_empty()).then(|| (clark(space, name), text.text.clone()))
        });
        let components = props.get(&clark(CALDAV, "supported-calendar-component-set")).map(|set| {
            let named = set.all(CALDAV, "comp").filter_map(|comp| comp.attribute("name"));
            named.map(str::to_owned).collect()
        });
        listing.collections.push(Collection {
            path: format!("{}/", path.trim_end_matches('/')),
            holds,
            etag,
            settings: settings.collect(),
            components: components.unwrap_or_default(),
        });
    }
    Ok(listing)
}

fn code(status: &Node) -> Option<&str> {
    status.trimmed().split(' ').nth(1)
}

/// The properties that are there (status 200).
fn properties(response: &Node) -> BTreeMap<String, &Node> {
    let there = |propstat: &&Node| propstat.child(DAV, "status").is_none_or(|status| code(status) == Some("200"));
    response
        .all(DAV, "propstat")
        .filter(there)
        .filter_map(|propstat| propstat.child(DAV, "prop"))
        .flat_map(|prop| &prop.children)
        .map(|node| (clark(&node.space, &node.name), node))
        .collect()
}

/// An entity tag that If-Match can use (RFC 9110 section 8.8.3).
fn strong(etag: &str) -> bool {
    let inner = etag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inner.is_some_and(|inner| inner.bytes().all(|byte| byte == 0x21 || (0x23..=0x7e).contains(&byte)))
}

/// The version in an answer's headers, if it can be used.
#[must_use]
pub fn etag_of(headers: &[(String, String)]) -> Option<String> {
    let etag = headers.iter().find(|(name, _)| name == "etag").map(|(_, value)| value.trim().to_owned());
    etag.filter(|etag| strong(etag))
}

/// Namespace and local name in one: `{DAV:}displayname`.
#[must_use]
pub(crate) fn clark(space: &str, name: &str) -> String {
    format!("{{{space}}}{name}")
}

/// The last segment of a path, decoded.
#[must_use]
pub(crate) fn last(path: &str) -> String {
    let raw = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    percent_encoding::percent_decode_str(raw).decode_utf8_lossy().into_owned()
}

/// The collection that a place lies in, with a trailing slash.
#[must_use]
pub fn parent(path: &str) -> String {
    match path.trim_end_matches('/').rsplit_once('/') {
        Some((above, _)) => format!("{above}/"),
        None => "/".to_owned(),
    }
}
