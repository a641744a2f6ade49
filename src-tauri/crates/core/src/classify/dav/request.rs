//! What an agent asks for: method, place, conditions.

use http::header::HOST;
use http::{HeaderMap, Method};

use super::hrefs::Here;
use super::refused;
use crate::classify::Refusal;
use crate::classify::normalise::Target;

/// Headers that go along with a request that only reads.
const READING: [&str; 8] =
    ["accept-language", "depth", "if-match", "if-modified-since", "if-none-match", "prefer", "user-agent", "brief"];
/// Headers by which some servers replace method or path.
const OTHERS: [&str; 8] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-method",
    "x-original-method",
    "x-original-url",
    "x-rewrite-url",
    "x-forwarded-path",
];
/// Bodies of documents, in bytes.
const MOST_XML: usize = 1024 * 1024;

/// A request's head as it arrived at the door.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The request method.
    pub method: &'a Method,
    /// What follows the account's prefix, as received.
    pub target: &'a str,
    /// All headers as received.
    pub headers: &'a HeaderMap,
    /// Where the account is.
    pub here: &'a Here,
}

/// The methods that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// What a server can do.
    Options,
    /// An entry, or all of a collection.
    Get,
    /// Its head.
    Head,
    /// Properties.
    Propfind,
    /// Many entries.
    Report,
    /// Makes or replaces an entry, or a whole collection.
    Put,
    /// Removes an entry, or a collection with all that is in it.
    Delete,
    /// Moves an entry.
    Move,
    /// Copies an entry.
    Copy,
    /// Makes a calendar.
    MkCalendar,
    /// Makes a collection, such as an address book.
    MkCol,
    /// Changes properties.
    Proppatch,
    /// Changes who has access.
    Acl,
    /// Sends invitations, or shares.
    Post,
}

impl Verb {
    fn of(method: &Method) -> Option<Self> {
        Some(match method.as_str() {
            "OPTIONS" => Self::Options,
            "GET" => Self::Get,
            "HEAD" => Self::Head,
            "PROPFIND" => Self::Propfind,
            "REPORT" => Self::Report,
            "PUT" => Self::Put,
            "DELETE" => Self::Delete,
            "MOVE" => Self::Move,
            "COPY" => Self::Copy,
            "MKCALENDAR" => Self::MkCalendar,
            "MKCOL" => Self::MkCol,
            "PROPPATCH" => Self::Proppatch,
            "ACL" => Self::Acl,
            "POST" => Self::Post,
            _ => return None,
        })
    }

    /// Whether it changes nothing.
    #[must_use]
    pub fn reads(self) -> bool {
        matches!(self, Self::Options | Self::Get | Self::Head | Self::Propfind | Self::Report)
    }
}

/// A request whose head is understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// What is to be done.
    pub verb: Verb,
    /// Where: its one spelling, with a trailing slash if the agent wrote one.
    pub path: String,
    /// Where to, for MOVE and COPY.
    pub to: Option<String>,
    /// Whether something that is there already may be overwritten by MOVE or COPY.
    pub overwrite: bool,
    /// Whether nothing of what is deeper was meant (Depth: 0 or 1).
    pub shallow: bool,
    /// Only if it is still this.
    pub if_match: Option<String>,
    /// Only if there is nothing.
    pub if_absent: bool,
    pub(super) content_type: Option<String>,
    pub(super) headers: Vec<(String, String)>,
    pub(super) method: Method,
}

/// One spelling for a path below an account, or a refusal. A trailing slash stays: servers give it to collections.
pub fn place(text: &str) -> Result<String, Refusal> {
    let (text, query) = text.split_once('?').unwrap_or((text, ""));
    if !query.is_empty() {
        return Err(refused(
            400,
            "The address has a query",
            "Calendars and contacts have none here: what a server makes of it is not known. Ask without it.",
        ));
    }
    // Nothing here tells an encoded colon from a plain one, and UIDs have them.
    let text = text.replace("%3A", ":").replace("%3a", ":");
    if text.is_empty() || text == "/" {
        return Ok("/".to_owned());
    }
    let slash = if text.ends_with('/') { "/" } else { "" };
    let rest = text.strip_suffix('/').unwrap_or(&text);
    let target = Target::parse(rest)?;
    if rest == "/" || target.segments.iter().any(|segment| segment == "." || segment == "..") {
        return Err(refused(
            400,
            "The address can be read in more than one way",
            "It has dots or empty segments. Ask with the plain path.",
        ));
    }
    Ok(format!("{}{slash}", target.path()))
}

/// Reads the head, or says why it can't be interpreted.
pub fn ask(head: Head<'_>) -> Result<Asked, Refusal> {
    let path = place(head.target)?;
    if let Some(name) = OTHERS.iter().find(|name| head.headers.contains_key(**name)) {
        let detail = format!("{name} is not accepted. Use the method and the path themselves.");
        return Err(refused(400, "A header asks for something else", detail));
    }
    if single(head.headers, "content-encoding")?.is_some_and(|coding| !coding.eq_ignore_ascii_case("identity")) {
        return Err(refused(
            415,
            "The body is compressed",
            "The guard must read it. Send it without Content-Encoding.",
        ));
    }
    let verb = verb(head.method)?;
    if !verb.reads() {
        refuse_conditions(head.headers)?;
    }
    let shallow = check_depth(head.headers, verb)?;
    let to = match verb {
        Verb::Move | Verb::Copy => Some(destination(head)?),
        _ => None,
    };
    let overwrite = match single(head.headers, "overwrite")?.as_deref().map(str::trim) {
        None | Some("T" | "t") => true,
        Some("F" | "f") => false,
        Some(_) => return Err(refused(400, "Unknown Overwrite", "Overwrite is T or F.")),
    };
    let if_absent = match single(head.headers, "if-none-match")?.as_deref().map(str::trim) {
        None => false,
        Some("*") => true,
        Some(_) if verb.reads() => false,
        Some(_) => return Err(refused(400, "A condition that is not understood", "If-None-Match is * for a change.")),
    };
    let mut headers = Vec::new();
    for name in READING {
        let wanted = verb.reads() || matches!(name, "user-agent" | "accept-language" | "prefer");
        if wanted && let Some(value) = single(head.headers, name)? {
            headers.push((name.to_owned(), value));
        }
    }
    Ok(Asked {
        verb,
        path,
        to,
        overwrite,
        shallow,
        if_match: single(head.headers, "if-match")?.map(|value| value.trim().to_owned()),
        if_absent,
        content_type: single(head.headers, "content-type")?,
        headers,
        method: head.method.clone(),
    })
}

fn verb(method: &Method) -> Result<Verb, Refusal> {
    match method.as_str() {
        "LOCK" | "UNLOCK" => {
            let detail = "Locks are not offered: a change is bound to the version that was looked at, by If-Match.";
            Err(refused(405, "No locks here", detail))
        }
        other => Verb::of(method).ok_or_else(|| {
            let detail = format!("{other} is not understood for calendars and contacts, so it is not sent.");
            refused(405, "The method is not accepted", detail)
        }),
    }
}

/// Of a change.
fn refuse_conditions(headers: &HeaderMap) -> Result<(), Refusal> {
    for (name, why) in [
        ("if", "locks and state tokens are not offered"),
        ("if-unmodified-since", "a time is no version"),
        ("content-range", "a part of an entry can't be judged"),
    ] {
        if headers.contains_key(name) {
            let detail = format!("{name} is not accepted: {why}. Use If-Match with an ETag.");
            return Err(refused(400, "A condition that is not understood", detail));
        }
    }
    Ok(())
}

/// Whether it says that nothing deeper is meant.
fn check_depth(headers: &HeaderMap, verb: Verb) -> Result<bool, Refusal> {
    let depth = single(headers, "depth")?.map(|depth| depth.trim().to_ascii_lowercase());
    match (depth.as_deref(), verb) {
        (None, _) => Ok(false),
        (Some("0" | "1"), _) => Ok(true),
        (Some("infinity"), Verb::Delete | Verb::Move | Verb::Propfind | Verb::Report) => Ok(false),
        (Some("infinity"), _) => {
            let detail = "Depth: infinity is accepted for reading, DELETE and MOVE only. Change entries one by one.";
            Err(refused(400, "Everything below is too much", detail))
        }
        (Some(_), _) => Err(refused(400, "Unknown depth", "Depth is 0, 1 or infinity.")),
    }
}

fn destination(head: Head<'_>) -> Result<String, Refusal> {
    let to = single(head.headers, "destination")?
        .ok_or_else(|| refused(400, "No destination", "Say where to in the Destination header."))?;
    // The door has checked that this is a name of its own.
    let host = single(head.headers, HOST.as_str())?.map(|host| format!("http://{host}"));
    let here = Here { doors: head.here.doors.iter().cloned().chain(host).collect(), ..head.here.clone() };
    let below = here.agents(to.trim()).ok_or_else(|| {
        let detail =
            "The Destination is not below this account. Nothing is moved or copied from one account to another.";
        refused(403, "Another server's address", detail)
    })?;
    place(&below)
}

fn single(headers: &HeaderMap, name: &str) -> Result<Option<String>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(refused(400, "A header stands there twice", format!("{name} must stand there once.")));
    }
    first
        .map(|value| value.to_str().map(str::to_owned))
        .transpose()
        .map_err(|_| refused(400, "A header can't be read", format!("{name} has letters outside ASCII.")))
}

impl Asked {
    /// The most bytes that its body may have.
    #[must_use]
    pub fn limit(&self) -> usize {
        match self.verb {
            Verb::Put | Verb::Post => super::ical::MOST_BYTES,
            _ => MOST_XML,
        }
    }
}
