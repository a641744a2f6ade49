//! ManageSieve (RFC 5804): what a change of the server's mail filters would do.
//!
//! ```text
//!   bytes ── imap::token ──> Command ──┬─ reads: passed on
//!                                      └─ Change + what is stored now ──> part: always divert, with the difference of the scripts
//! ```
//! A script forwards, throws away and answers mail while nobody looks, so every change of one is shown whole: what it would do, and which lines are new.

mod command;
mod include;
pub mod reply;
pub mod response;
mod scan;
mod stored;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::str::FromStr as _;

use bytes::Bytes;
use http::Method;
use similar::{ChangeTag, TextDiff};
use unicode_normalization::UnicodeNormalization as _;

pub use command::{Command, Refused, command_line, explained, parse};
pub(crate) use include::Whole;
pub use scan::{Effects, Include, effects};
pub use stored::Stored;

use crate::call::{Call, CallBody, Digest};
use crate::classify::normalise::encode as percent;
use crate::operation::{Audience, Class, Fact, Member, Objects, Operation, Part};

/// The longest script, in bytes.
pub const MAX_SCRIPT: usize = 256 * 1024;
/// What begins every target of a call that goes over ManageSieve (RFC 5804 section 3).
const SCHEME: &str = "sieve:/";
/// The most lines of a difference that are shown on each side.
const MOST_LINES: usize = 1000;
const TOO_MANY: &str = "it has more lines, or does more, than is shown";
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

impl Change {
    /// The scripts whose text must be read, too, before it can be shown or taken back: its own, the one that runs, and what they include.
    #[must_use]
    pub fn unread(&self, stored: &Stored) -> Vec<String> {
        let own: Vec<&[u8]> = match self {
            Self::Put { script, .. } => vec![script],
            Self::Activate { .. } | Self::Delete { .. } | Self::Rename { .. } => Vec::new(),
        };
        stored.unread(&self.about(), &own)
    }

    /// The scripts that it names.
    fn about(&self) -> BTreeSet<String> {
        match self {
            Self::Put { name, .. } | Self::Delete { name } => [name.clone()].into(),
            Self::Activate { name } => name.iter().cloned().collect(),
            Self::Rename { name, to } => [name.clone(), to.clone()].into(),
        }
    }

    /// What is stored after it.
    pub(crate) fn applied(&self, stored: &Stored) -> Stored {
        let mut after = stored.clone();
        let mut put = |name: &String, text: &Vec<u8>| {
            after.scripts.insert(name.clone(), text.clone());
            after.names.retain(|known| known != name);
            after.names.push(name.clone());
        };
        match self {
            Self::Put { name, script } => put(name, script),
            Self::Activate { name } => after.active.clone_from(name),
            Self::Delete { name } => after.remove(name),
            Self::Rename { name, to } => {
                if let Some(text) = stored.scripts.get(name) {
                    put(to, text);
                }
                after.remove(name);
                if stored.is_active(name) {
                    after.active = Some(to.clone());
                }
            }
        }
        after
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
        let (already, found) = (Whole::of(before, stored), Whole::of(after, &self.applied(stored)));
        let bytes = |script: Option<(&'_ str, &[u8])>| script.map_or_else(String::new, |(_, text)| lossy(text));
        let (added, removed) = difference(&bytes(before), &bytes(after));
        let too_many = added.len().max(found.grave().len()) > MOST_LINES;
        let doubt = after.and_then(|(_, text)| doubt(text)).or(too_many.then_some(TOO_MANY));
        let mut facts = self.names(stored);
        facts.extend(doubt.map(|why| fact("It can't be shown as it is", why)));
        facts.extend(does(&already, &found));
        for (label, lines) in [("New lines", added), ("Lines taken away", removed)] {
            if !lines.is_empty() {
                facts.push(fact(label, &shown(&lines)));
            }
        }
        let operation = Operation {
            action: format!("sieve.{name}"),
            class: Class::Divert,
            verb: verb.to_owned(),
            objects: Objects::None,
            meters: Vec::new(),
            audience: audience(&found),
            facts,
            undo: Some("script".to_owned()),
            soften: None,
            // What is stored belongs to it: the answer is about this difference.
            content: Digest::of(&[&call.digest().0, &stored.digest().0]),
            // Nobody can allow what nobody has seen.
            opaque: doubt.is_some(),
        };
        Part { operation, call, params: Vec::new(), content_id: None }
    }

    /// What runs or is stored now, and what does afterwards: its name and its text.
    fn texts<'a>(&'a self, stored: &'a Stored) -> (Option<Script<'a>>, Option<Script<'a>>) {
        let there = |name: &'a str| Some((name, stored.text(name)?));
        match self {
            Self::Put { name, script } => (there(name), Some((name, script))),
            Self::Activate { name } => (stored.active.as_deref().and_then(there), name.as_deref().and_then(there)),
            Self::Delete { name } => (there(name), None),
            Self::Rename { name, to } => (there(name), stored.text(name).map(|text| (to.as_str(), text))),
        }
    }

    /// Which scripts it is about.
    fn names(&self, stored: &Stored) -> Vec<Fact> {
        let known = |label, name: &str| fact(label, &format!("{name} ({})", stored.state(name)));
        match self {
            Self::Put { name, .. } | Self::Delete { name } => vec![known("Script", name)],
            Self::Rename { name, to } => vec![known("Script", name), known("New name", to)],
            Self::Activate { name } => vec![
                fact("Runs from now on", name.as_deref().unwrap_or("no script")),
                fact("Ran until now", stored.active.as_deref().unwrap_or("no script")),
            ],
        }
    }
}

/// What new mail would meet, beside what it meets now.
fn does(already: &Whole, found: &Whole) -> Vec<Fact> {
    let known: Vec<String> = already.grave().into_iter().chain(already.filing()).collect();
    let will: BTreeSet<String> = found.grave().into_iter().chain(found.filing()).collect();
    let tell = |word: String| if known.contains(&word) { format!("{word}, as before") } else { word };
    // In whichever script.
    let anywhere: BTreeSet<String> = found.each().flat_map(|one| [one.grave(), one.filing()].concat()).collect();
    let is_over = |word: &&String| !will.contains(*word) && !anywhere.contains(*word);
    let no_more: Vec<&str> = known.iter().filter(is_over).map(String::as_str).collect();
    let facts = [
        // With which mail, and whether under the same condition as before, its words do not tell.
        (LOOK_OUT, found.grave().join("\n")),
        ("What it does", found.filing().into_iter().map(tell).collect::<Vec<_>>().join("\n")),
        ("What it does no more", no_more.join("\n")),
    ];
    facts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(label, text)| fact(label, &text)).collect()
}

/// A script's name and text.
type Script<'a> = (&'a str, &'a [u8]);

/// Why nobody can tell what a server makes of a script.
fn doubt(script: &[u8]) -> Option<&'static str> {
    let alone = |at: usize| script.get(at) == Some(&b'\r') && script.get(at + 1) != Some(&b'\n');
    if std::str::from_utf8(script).is_err() {
        Some("it is not all UTF-8")
    } else if (0..script.len()).any(alone) {
        Some("it has a carriage return that stands alone, where servers may see the end of a line")
    } else {
        None
    }
}

/// A name without what servers are seen to leave out of a comparison (RFC 5804 section 1.6 wants Net-Unicode, so NFC).
pub(crate) fn fold(name: &str) -> String {
    name.nfkc().collect::<String>().trim().to_lowercase()
}

/// Who would get the person's mail.
fn audience(found: &Whole) -> Option<Audience> {
    let all = |get: fn(&Effects) -> &BTreeSet<String>| found.each().flat_map(get).collect::<BTreeSet<_>>();
    let member =
        |role: &'static str| move |address: &String| Member { address: address.clone(), role: role.to_owned() };
    let forward = all(|each| &each.redirects).into_iter().map(member("forward"));
    let notify = all(|each| &each.notified).into_iter().map(member("notify"));
    let members: Vec<Member> = forward.chain(notify).collect();
    let anybody = |each: &Effects| each.answers || each.rejects || (each.notifies && each.notified.is_empty());
    let place = found.each().any(anybody).then(|| "everybody who writes".to_owned());
    (!members.is_empty() || place.is_some()).then_some(Audience { members, place })
}

fn lossy(text: &[u8]) -> String {
    String::from_utf8_lossy(text).into_owned()
}

fn difference(before: &str, after: &str) -> (Vec<String>, Vec<String>) {
    let (mut added, mut removed) = (Vec::new(), Vec::new());
    if before.lines().count() + after.lines().count() > MOST_COMPARED {
        let lines =
            |text: &str| text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect();
        return (lines(after), lines(before));
    }
    for change in TextDiff::from_lines(before, after).iter_all_changes() {
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
