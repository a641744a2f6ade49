//! CalDAV (RFC 4791, 6638) and CardDAV (RFC 6352) over WebDAV (RFC 4918, 3744, 5689): what an agent's requests would do.
//!
//! ```text
//!   head ── ask ──> Asked ──┬─ reads ── reading ──> Part, its addresses rewritten on the way out and back
//!                           └─ changes: the guard looks (look, listing) ──> Seen ── classify ──> Part, bound to the versions that were seen
//!   Part ── frozen ──> what must still be so when it runs; the call carries If-Match or If-None-Match besides
//! ```
//! What is not understood has no way upstream.

pub mod deed;
mod documents;
pub mod hrefs;
mod ical;
pub mod look;
pub mod request;
mod shown;
#[cfg(test)]
mod tests;
mod xml;

use std::collections::BTreeSet;

use bytes::Bytes;

use super::Refusal;
use crate::call::{Call, CallBody};
use crate::operation::{Class, Meter, Objects, Operation, Part};
use deed::{At, PROVIDER, Seen, Tree, classify};
use hrefs::{Here, Way, rewrite};
use look::{Collection, Holds, Member};
use request::{Asked, Verb};
use xml::{CALDAV, CARDDAV, DAV};

const EVENT: &[u8] = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260101T000000Z\r\nSUMMARY:x\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n";
const CONTACT: &[u8] = b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:1\r\nFN:x\r\nN:x;;;;\r\nEND:VCARD\r\n";

/// Reports that only read.
const REPORTS: [(&str, &str); 11] = [
    (CALDAV, "calendar-query"),
    (CALDAV, "calendar-multiget"),
    (CALDAV, "free-busy-query"),
    (CARDDAV, "addressbook-query"),
    (CARDDAV, "addressbook-multiget"),
    (DAV, "sync-collection"),
    (DAV, "expand-property"),
    (DAV, "principal-match"),
    (DAV, "principal-property-search"),
    (DAV, "principal-search-property-set"),
    (DAV, "acl-principal-prop-set"),
];

fn refused(status: u16, title: &str, detail: impl Into<String>) -> Refusal {
    Refusal { status, title: title.to_owned(), detail: detail.into() }
}

pub(crate) use xml::escaped;

/// What a request would be, without any server: `there` is the entry at its address, if it is known. Otherwise something is taken to be there.
pub fn explained(asked: &Asked, body: &Bytes, there: Option<&Bytes>, here: &Here) -> Result<Part, Refusal> {
    if asked.verb.reads() {
        return reading(asked, body, here);
    }
    let named = asked.if_match.as_deref().and_then(|tags| tags.split(',').next()).map(str::trim);
    let etag = named.filter(|tag| *tag != "*").unwrap_or("\"1\"").to_owned();
    let contacts = String::from_utf8_lossy(body).contains("BEGIN:VCARD") || asked.path.ends_with(".vcf");
    let holds = if contacts { Holds::Contacts } else { Holds::Events };
    let entry = |text: &Bytes| At::Entry(Member { path: asked.path.clone(), etag: etag.clone() }, text.clone());
    let collection = || {
        let one = Collection {
            path: asked.path.clone(),
            holds,
            etag: Some(etag.clone()),
            settings: Vec::new(),
            components: Vec::new(),
        };
        At::Tree(Box::new(Tree { collections: vec![one], members: Vec::new() }), BTreeSet::new())
    };
    let at = match (asked.verb, there) {
        (Verb::Post | Verb::MkCalendar | Verb::MkCol, _) => At::Nothing,
        (_, Some(text)) => entry(text),
        (_, None) if asked.if_absent => At::Nothing,
        (Verb::Proppatch | Verb::Acl, None) => collection(),
        (_, None) if asked.path.ends_with('/') => collection(),
        (Verb::Put, None) => entry(body),
        (_, None) => entry(&Bytes::from_static(if contacts { CONTACT } else { EVENT })),
    };
    // A collection that moves goes where others are.
    let around = if asked.verb == Verb::Move { Holds::Else } else { holds };
    classify(asked, body, &Seen { at, to: At::Nothing, around: Some(around), own: Vec::new() }, here)
}

/// Whether a document asks for texts of entries.
fn names_data(root: &xml::Node) -> bool {
    let mut named = Vec::new();
    root.below(CALDAV, "calendar-data", &mut named);
    root.below(CARDDAV, "address-data", &mut named);
    !named.is_empty()
}

/// How many entries of an answer count when the request is permitted.
#[must_use]
pub fn charged(part: &Part) -> u32 {
    if part.operation.meters.contains(&Meter::Read) { part.operation.objects.count() } else { 0 }
}

/// A request that only reads.
pub fn reading(asked: &Asked, body: &Bytes, here: &Here) -> Result<Part, Refusal> {
    let unread = |why: String| {
        refused(
            400,
            "A body that is not understood",
            format!("It can't be read with certainty: {why}. Nothing was sent."),
        )
    };
    let mut objects = Objects::None;
    let mut meters = Vec::new();
    if !body.is_empty() && !matches!(asked.verb, Verb::Propfind | Verb::Report) {
        return Err(unread("this request has none".to_owned()));
    }
    match asked.verb {
        Verb::Get => {
            objects = Objects::Listed { kind: "entry".to_owned(), ids: vec![asked.path.clone()] };
            meters = vec![Meter::Read];
        }
        Verb::Report => {
            let root = xml::parse(body).map_err(unread)?;
            if !REPORTS.iter().any(|(space, name)| root.is(space, name)) {
                let detail = format!("{} is not among the reports that are known to read only.", root.name);
                return Err(refused(403, "An unknown report", detail));
            }
            // What it returns is counted when it has passed.
            meters = vec![Meter::Read];
            let mut wanted = Vec::new();
            root.below(DAV, "href", &mut wanted);
            if root.name.ends_with("-multiget") {
                let ids = wanted.iter().map(|href| {
                    let inside = here.agents(href.trimmed()).ok_or_else(|| {
                        refused(403, "Not in this account", "An address in the report is outside of the account.")
                    })?;
                    request::place(&inside)
                });
                let ids = ids.collect::<Result<std::collections::BTreeSet<String>, Refusal>>()?;
                objects = Objects::Listed { kind: "entry".to_owned(), ids: ids.into_iter().collect() };
            }
        }
        Verb::Propfind if !body.is_empty() => {
            let root = xml::parse(body).map_err(unread)?;
            if !root.is(DAV, "propfind") {
                return Err(unread("it is no propfind".to_owned()));
            }
            if names_data(&root) {
                meters = vec![Meter::Read];
            }
        }
        _ => {}
    }
    let body = if body.is_empty() {
        body.clone()
    } else {
        rewrite(here, Way::Outward, body).map(Bytes::from).map_err(unread)?
    };
    let mut headers = asked.headers.clone();
    if !body.is_empty() {
        headers.push(("content-type".to_owned(), "application/xml; charset=utf-8".to_owned()));
    }
    let call = Call { method: asked.method.clone(), target: asked.path.clone(), headers, body: CallBody::Bytes(body) };
    let operation = Operation {
        action: format!("{PROVIDER}.{}", asked.method.as_str().to_ascii_lowercase()),
        class: Class::Read,
        verb: "Read".to_owned(),
        objects,
        meters,
        audience: None,
        facts: Vec::new(),
        undo: None,
        soften: None,
        content: call.digest(),
        opaque: false,
    };
    Ok(Part { operation, call, params: Vec::new(), content_id: None })
}
