//! ManageSieve (RFC 5804): what a change of the server's mail filters would do.
//!
//! ```text
//!   bytes ── imap::token ──> Command ──┬─ reads: passed on
//!                                      └─ Change + what is stored now ──> part: always divert, with the difference of the scripts
//! ```
//! A script forwards, throws away and answers mail while nobody looks, so every change of one is shown whole: what it would do, and which lines are new.

mod command;
pub mod reply;
pub mod response;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr as _;

use bytes::Bytes;
use http::Method;
use similar::{ChangeTag, TextDiff};
use unicode_normalization::UnicodeNormalization as _;

pub use command::{Command, Refused, command_line, explained, parse};
pub use scan::{Effects, effects};

use crate::call::{Call, CallBody, Digest};
use crate::classify::normalise::encode as percent;
use crate::operation::{Audience, Class, Fact, Member, Objects, Operation, Part};

/// The longest script, in bytes.
pub const MAX_SCRIPT: usize = 256 * 1024;
/// What begins every target of a call that goes over ManageSieve (RFC 5804 section 3).
const SCHEME: &str = "sieve:/";
/// The most lines of a difference that are shown on each side.
const MOST_LINES: usize = 1000;
/// Texts with more lines than this together are shown as taken away and as new: finding what they share takes time that grows with the square.
const MOST_COMPARED: usize = 3000;
/// Stands before what a script does to mail that filing is not; front ends make it stand out.
pub const LOOK_OUT: &str = "Look out";

/// A change of the stored scripts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// PUTSCRIPT.
    Put {
        /// Its name.
        name: String,
        /// Its text.
        script: Vec<u8>,
    },
    /// SETACTIVE; `None`: no script runs.
    Activate {
        /// Which.
        name: Option<String>,
    },
    /// DELETESCRIPT.
    Delete {
        /// Its name.
        name: String,
    },
    /// RENAMESCRIPT.
    Rename {
        /// Its name.
        name: String,
        /// Its new name.
        to: String,
    },
}

/// What the server has now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// Every script that the change is about, with its text, and whatever those include.
    pub scripts: BTreeMap<String, Vec<u8>>,
    /// The one that runs.
    pub active: Option<String>,
    /// The names of all that there are.
    pub names: Vec<String>,
}

impl Stored {
    fn text(&self, name: &str) -> Option<&[u8]> {
        self.scripts.get(name).map(Vec::as_slice)
    }

    /// Whether there is another script whose name some servers take for this one.
    fn has_alike(&self, name: &str) -> bool {
        let folded = fold(name);
        self.names.iter().any(|known| known != name && fold(known) == folded)
    }

    fn is_active(&self, name: &str) -> bool {
        self.active.as_deref() == Some(name)
    }

    /// All of it, for telling whether it changed.
    fn digest(&self) -> Digest {
        let active = self.active.as_deref();
        let mut fields: Vec<&[u8]> = vec![if active.is_some() { b"runs" } else { b"none" }];
        fields.push(active.unwrap_or_default().as_bytes());
        for (name, text) in &self.scripts {
            fields.push(name.as_bytes());
            fields.push(text);
        }
        Digest::of(&fields)
    }

    /// The names that a script includes, and what is included by these in turn, as far as they are known.
    fn included_by(&self, script: &[u8]) -> BTreeSet<String> {
        let mut included = BTreeSet::new();
        let mut waiting: Vec<String> = effects(script).includes.into_iter().collect();
        while let Some(name) = waiting.pop() {
            let alike = self.scripts.iter().filter(|(known, _)| fold(known) == fold(&name));
            let further: Vec<String> = alike.flat_map(|(_, text)| effects(text).includes).collect();
            if included.insert(name) {
                waiting.extend(further);
            }
        }
        included
    }

    /// Whether a script runs, for people.
    fn state(&self, name: &str) -> &'static str {
        let running = self.active.as_deref().and_then(|active| self.text(active));
        let included = running.map(|script| self.included_by(script)).unwrap_or_default();
        match &self.active {
            None => "no script runs now",
            Some(active) if active == name => "it runs on all new mail",
            Some(_) if included.iter().any(|one| fold(one) == fold(name)) => {
                "it runs on new mail: the script that runs includes it"
            }
            Some(_) if !included.is_empty() => "it does not run by itself, but the script that runs includes others",
            Some(_) => "it does not run now",
        }
    }
}

impl Change {
    /// The scripts whose text must be known before it can be shown or taken back: its own, and the one that runs.
    #[must_use]
    pub fn about(&self, active: Option<&str>) -> BTreeSet<String> {
        let own: Vec<&String> = match self {
            Self::Put { name, .. } | Self::Delete { name } => vec![name],
            Self::Activate { name } => name.iter().collect(),
            Self::Rename { name, to } => vec![name, to],
        };
        own.into_iter().cloned().chain(active.map(str::to_owned)).collect()
    }

    /// The scripts whose text must be read, too, beside those that are known: [`Self::about`], then what they include, until none is left. A name that the server
    /// makes up while it runs may be any of them.
    #[must_use]
    pub fn unread(&self, stored: &Stored) -> Vec<String> {
        let about = self.about(stored.active.as_deref());
        let own = match self {
            Self::Put { script, .. } => Some(script),
            Self::Activate { .. } | Self::Delete { .. } | Self::Rename { .. } => None,
        };
        let included: BTreeSet<String> =
            stored.scripts.values().chain(own).flat_map(|text| effects(text).includes).collect();
        let any = included.iter().any(|name| name.contains("${"));
        let included: BTreeSet<String> = included.iter().map(|name| fold(name)).collect();
        let wanted = |name: &&String| any || about.contains(*name) || included.contains(&fold(name));
        stored.names.iter().filter(|name| stored.text(name).is_none()).filter(wanted).cloned().collect()
    }

    /// Why it can't be done whatever the person says, as servers say it too: nobody needs to be asked.
    #[must_use]
    pub fn impossible(&self, stored: &Stored) -> Option<Refused> {
        let missing = |name: &str| stored.text(name).is_none();
        match self {
            Self::Activate { name: Some(name) } | Self::Delete { name } | Self::Rename { name, .. }
                if missing(name) =>
            {
                Some(Refused("(NONEXISTENT) \"There is no script of this name.\""))
            }
            Self::Delete { name } if stored.is_active(name) => {
                Some(Refused("(ACTIVE) \"This script runs: a script that runs can't be deleted.\""))
            }
            Self::Rename { to, .. } if !missing(to) => {
                Some(Refused("(ALREADYEXISTS) \"There is a script of the new name already.\""))
            }
            Self::Put { name: new, .. } | Self::Rename { to: new, .. } if stored.has_alike(new) => Some(Refused(
                "(ALREADYEXISTS) \"A present script's name differs from this one in letter case or white space only, so servers may take them for the same. Use another name, or exactly that one.\"",
            )),
            _ => None,
        }
    }

    /// The command that leaves.
    #[must_use]
    pub fn call(&self) -> Call {
        let (verb, name, headers, body) = match self {
            Self::Put { name, script } => ("PUTSCRIPT", name.as_str(), Vec::new(), Bytes::from(script.clone())),
            Self::Activate { name } => ("SETACTIVE", name.as_deref().unwrap_or_default(), Vec::new(), Bytes::new()),
            Self::Delete { name } => ("DELETESCRIPT", name.as_str(), Vec::new(), Bytes::new()),
            Self::Rename { name, to } => {
                ("RENAMESCRIPT", name.as_str(), vec![("to".to_owned(), to.clone())], Bytes::new())
            }
        };
        Call {
            method: Method::from_str(verb).unwrap_or_default(),
            target: format!("{SCHEME}{}", percent(name)),
            headers,
            body: CallBody::Bytes(body),
        }
    }

    /// The operation that the Guard decides.
    #[must_use]
    pub fn part(&self, stored: &Stored) -> Part {
        let (name, verb) = match self {
            Self::Put { .. } => ("put", "Change the mail filter"),
            Self::Activate { name: Some(_) } => ("setactive", "Turn on the mail filter"),
            Self::Activate { name: None } => ("setactive", "Turn off the mail filter"),
            Self::Delete { .. } => ("delete", "Delete the mail filter"),
            Self::Rename { .. } => ("rename", "Rename the mail filter"),
        };
        let call = self.call();
        let (before, after) = self.texts(stored);
        let found = after.map(effects).unwrap_or_default();
        let already = before.map(effects).unwrap_or_default();
        let operation = Operation {
            action: format!("sieve.{name}"),
            class: Class::Divert,
            verb: verb.to_owned(),
            objects: Objects::None,
            meters: Vec::new(),
            audience: audience(&found),
            facts: self.facts(stored, (before, after), (&already, &found)),
            undo: Some("script".to_owned()),
            soften: None,
            // What is stored belongs to it: the answer is about this difference.
            content: Digest::of(&[&call.digest().0, &stored.digest().0]),
            // Nobody can allow what nobody has seen.
            opaque: after.is_some_and(|script| std::str::from_utf8(script).is_err())
                || difference(before.unwrap_or_default(), after.unwrap_or_default()).0.len() > MOST_LINES,
        };
        Part { operation, call, params: Vec::new(), content_id: None }
    }

    /// The text that runs or is stored now, and the one afterwards.
    fn texts<'a>(&'a self, stored: &'a Stored) -> (Option<&'a [u8]>, Option<&'a [u8]>) {
        match self {
            Self::Put { name, script } => (stored.text(name), Some(script)),
            Self::Activate { name } => (
                stored.active.as_deref().and_then(|active| stored.text(active)),
                name.as_deref().and_then(|name| stored.text(name)),
            ),
            Self::Delete { name } => (stored.text(name), None),
            Self::Rename { name, .. } => (stored.text(name), stored.text(name)),
        }
    }

    fn facts(
        &self,
        stored: &Stored,
        (before, after): (Option<&[u8]>, Option<&[u8]>),
        (already, found): (&Effects, &Effects),
    ) -> Vec<Fact> {
        let mut facts = Vec::new();
        let state = |name: &str| stored.state(name);
        match self {
            Self::Put { name, .. } | Self::Delete { name } => {
                facts.push(fact("Script", &format!("{name} ({})", state(name))));
            }
            Self::Rename { name, to } => {
                facts.push(fact("Script", &format!("{name} ({})", state(name))));
                facts.push(fact("New name", &format!("{to} ({})", state(to))));
            }
            Self::Activate { name } => {
                facts.push(fact("Runs from now on", name.as_deref().unwrap_or("no script")));
                facts.push(fact("Ran until now", stored.active.as_deref().unwrap_or("no script")));
            }
        }
        let known: Vec<String> = already.grave().into_iter().chain(already.filing()).collect();
        let will: Vec<String> = found.grave().into_iter().chain(found.filing()).collect();
        let filing = |words: Vec<String>| {
            let tell = |word: String| if known.contains(&word) { format!("{word}, as before") } else { word };
            words.into_iter().map(tell).collect::<Vec<_>>().join("\n")
        };
        let no_more: Vec<&str> = known.iter().filter(|word| !will.contains(word)).map(String::as_str).collect();
        for (label, text) in [
            // With which mail, and whether under the same condition as before, its words do not tell.
            (LOOK_OUT, found.grave().join("\n")),
            ("What it does", filing(found.filing())),
            ("What it does no more", no_more.join("\n")),
        ] {
            if !text.is_empty() {
                facts.push(fact(label, &text));
            }
        }
        let (added, removed) = difference(before.unwrap_or_default(), after.unwrap_or_default());
        for (label, lines) in [("New lines", added), ("Lines taken away", removed)] {
            if !lines.is_empty() {
                facts.push(fact(label, &shown(&lines)));
            }
        }
        facts
    }
}

/// A name without what servers are seen to leave out of a comparison (RFC 5804 section 1.6 wants Net-Unicode, so NFC).
fn fold(name: &str) -> String {
    name.nfkc().collect::<String>().trim().to_lowercase()
}

/// Who would get the person's mail.
fn audience(found: &Effects) -> Option<Audience> {
    let member =
        |role: &'static str| move |address: &String| Member { address: address.clone(), role: role.to_owned() };
    let members: Vec<Member> =
        found.redirects.iter().map(member("forward")).chain(found.notified.iter().map(member("notify"))).collect();
    let place = (found.answers || found.rejects || found.notifies).then(|| "everybody who writes".to_owned());
    (!members.is_empty() || place.is_some()).then_some(Audience { members, place })
}

fn difference(before: &[u8], after: &[u8]) -> (Vec<String>, Vec<String>) {
    let (before, after) = (String::from_utf8_lossy(before), String::from_utf8_lossy(after));
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    if before.lines().count() + after.lines().count() > MOST_COMPARED {
        let lines =
            |text: &str| text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
        return (lines(&after), lines(&before));
    }
    for change in TextDiff::from_lines(&*before, &*after).iter_all_changes() {
        let line = change.value().trim_end().to_owned();
        match change.tag() {
            ChangeTag::Insert if !line.is_empty() => added.push(line),
            ChangeTag::Delete if !line.is_empty() => removed.push(line),
            ChangeTag::Equal | ChangeTag::Insert | ChangeTag::Delete => {}
        }
    }
    (added, removed)
}

fn shown(lines: &[String]) -> String {
    let left = lines.len().saturating_sub(MOST_LINES);
    let mut text = lines.iter().take(MOST_LINES).map(String::as_str).collect::<Vec<_>>().join("\n");
    if left > 0 {
        text.push_str(&format!("\n… and {left} more lines"));
    }
    text
}

/// The change that a call stands for; `None` if it is none.
#[must_use]
pub fn change_of(call: &Call) -> Option<Change> {
    let name = name_of(call)?;
    let CallBody::Bytes(script) = &call.body else { return None };
    match call.method.as_str() {
        "PUTSCRIPT" => Some(Change::Put { name, script: script.to_vec() }),
        "SETACTIVE" => Some(Change::Activate { name: Some(name).filter(|name| !name.is_empty()) }),
        "DELETESCRIPT" => Some(Change::Delete { name }),
        "RENAMESCRIPT" => {
            let (_, to) = call.headers.iter().find(|(label, _)| label == "to")?;
            Some(Change::Rename { name, to: to.clone() })
        }
        _ => None,
    }
}

/// A call that only reads: CAPABILITY, LISTSCRIPTS, GETSCRIPT, HAVESPACE, CHECKSCRIPT, NOOP.
#[must_use]
pub fn reading(verb: &str, name: &str, headers: Vec<(String, String)>, body: Bytes) -> Option<Call> {
    READING.contains(&verb).then(|| Call {
        method: Method::from_str(verb).unwrap_or_default(),
        target: format!("{SCHEME}{}", percent(name)),
        headers,
        body: CallBody::Bytes(body),
    })
}

/// Such a read as the Guard decides it. It reads no mail, so it counts on no meter.
#[must_use]
pub fn reading_part(call: Call) -> Part {
    let operation = Operation {
        action: format!("sieve.{}", call.method.as_str().to_ascii_lowercase()),
        class: Class::Read,
        verb: "Read the mail filters".to_owned(),
        objects: Objects::None,
        meters: Vec::new(),
        audience: None,
        facts: Vec::new(),
        undo: None,
        soften: None,
        content: call.digest(),
        opaque: false,
    };
    Part { operation, call, params: Vec::new(), content_id: None }
}

/// A call as it goes over the wire, without its CRLF; `None` if it is none of ManageSieve.
#[must_use]
pub fn wire(call: &Call) -> Option<Vec<u8>> {
    if let Some(change) = change_of(call) {
        return Some(match &change {
            Change::Put { name, script } => command_line("PUTSCRIPT", &[name.as_bytes(), script], None),
            Change::Activate { name } => {
                command_line("SETACTIVE", &[name.as_deref().unwrap_or_default().as_bytes()], None)
            }
            Change::Delete { name } => command_line("DELETESCRIPT", &[name.as_bytes()], None),
            Change::Rename { name, to } => command_line("RENAMESCRIPT", &[name.as_bytes(), to.as_bytes()], None),
        });
    }
    if !only_reads(call) {
        return None;
    }
    let verb = call.method.as_str();
    let CallBody::Bytes(body) = &call.body else { return None };
    let name = name_of(call)?;
    Some(match verb {
        "GETSCRIPT" => command_line(verb, &[name.as_bytes()], None),
        "CHECKSCRIPT" => command_line(verb, &[body], None),
        "HAVESPACE" => {
            let (_, size) = call.headers.iter().find(|(label, _)| label == "size")?;
            command_line(verb, &[name.as_bytes()], Some(size.parse().ok()?))
        }
        _ => command_line(verb, &[], None),
    })
}

fn name_of(call: &Call) -> Option<String> {
    let name = call.target.strip_prefix(SCHEME)?;
    Some(percent_encoding::percent_decode_str(name).decode_utf8().ok()?.into_owned())
}

const READING: [&str; 6] = ["CAPABILITY", "LISTSCRIPTS", "GETSCRIPT", "HAVESPACE", "CHECKSCRIPT", "NOOP"];

/// Whether a call goes over ManageSieve.
#[must_use]
pub fn is_about(call: &Call) -> bool {
    call.target.starts_with(SCHEME)
}

/// Whether a call goes over ManageSieve and can change nothing there.
#[must_use]
pub fn only_reads(call: &Call) -> bool {
    call.target.starts_with(SCHEME) && READING.contains(&call.method.as_str())
}

fn fact(label: &str, value: &str) -> Fact {
    Fact { label: label.to_owned(), value: value.to_owned() }
}
