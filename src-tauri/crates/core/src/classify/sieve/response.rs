//! What an agent is told over ManageSieve. Nothing of it is a server's own bytes: all is written anew from what was understood.

use std::collections::BTreeMap;

use super::reply::{Kind, Status};
use super::{Change, Refused};

/// The longest quoted string (RFC 5804 section 4).
const LONGEST_QUOTED: usize = 1024;
/// As much as is told of a server's words, in characters.
const LONGEST_SAID: usize = 4096;
/// Response codes that are passed on: the others are about the connection to the server, which is not the agent's.
const CODES: [&str; 8] =
    ["ACTIVE", "ALREADYEXISTS", "NONEXISTENT", "QUOTA", "QUOTA/MAXSCRIPTS", "QUOTA/MAXSIZE", "TRYLATER", "WARNINGS"];
/// Capabilities of the server that an agent hears of.
const PASSED: [&str; 4] = ["SIEVE", "NOTIFY", "MAXREDIRECTS", "EXTLISTS"];

/// A whole answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    wire: Vec<u8>,
    closes: bool,
}

impl Response {
    /// An answer that was put together before.
    #[must_use]
    pub fn of_wire(wire: Vec<u8>) -> Self {
        Self { wire, closes: false }
    }

    /// It was done.
    #[must_use]
    pub fn ok(text: &str) -> Self {
        Self::said("OK", "", text)
    }

    /// It was not done. `code`: of RFC 5804 section 1.3, or empty.
    #[must_use]
    pub fn no(code: &str, text: &str) -> Self {
        Self::said("NO", code, text)
    }

    /// The connection is closed.
    #[must_use]
    pub fn bye(code: &str, text: &str) -> Self {
        Self { closes: true, ..Self::said("BYE", code, text) }
    }

    /// A command that goes nowhere.
    #[must_use]
    pub fn refused(refused: &Refused) -> Self {
        Self::of_wire(format!("NO {refused}\r\n").into_bytes())
    }

    /// NOOP, which repeats what it was told (RFC 5804 section 2.13).
    #[must_use]
    pub fn noop(tag: Option<&str>) -> Self {
        match tag {
            None => Self::ok("Still here"),
            Some(tag) => {
                let mut wire = b"OK (TAG ".to_vec();
                string(tag.as_bytes(), &mut wire);
                wire.extend_from_slice(b") \"Still here\"\r\n");
                Self::of_wire(wire)
            }
        }
    }

    /// What this door can do. `server`: what the server behind it said, once somebody is logged in.
    #[must_use]
    pub fn capabilities(server: Option<&BTreeMap<String, String>>, mechanisms: &[&str], text: &str) -> Self {
        let mut wire = Vec::new();
        let mut line = |name: &str, value: &str| {
            string(name.as_bytes(), &mut wire);
            wire.push(b' ');
            string(value.as_bytes(), &mut wire);
            wire.extend_from_slice(b"\r\n");
        };
        line("IMPLEMENTATION", "Latchstring");
        line("VERSION", "1.0");
        match server {
            None => {
                line("SASL", &mechanisms.join(" "));
                line("SIEVE", "");
            }
            Some(server) => {
                line("SASL", "");
                if !server.contains_key("SIEVE") {
                    line("SIEVE", "");
                }
                for name in PASSED {
                    if let Some(value) = server.get(name) {
                        line(name, value);
                    }
                }
            }
        }
        wire.extend(Self::ok(text).wire);
        Self::of_wire(wire)
    }

    /// LISTSCRIPTS.
    #[must_use]
    pub fn list(scripts: &[(String, bool)]) -> Self {
        let mut wire = Vec::new();
        for (name, active) in scripts {
            string(name.as_bytes(), &mut wire);
            wire.extend_from_slice(if *active { b" ACTIVE\r\n" } else { b"\r\n" });
        }
        wire.extend(Self::ok("That is all").wire);
        Self::of_wire(wire)
    }

    /// GETSCRIPT.
    #[must_use]
    pub fn script(text: &[u8]) -> Self {
        let mut wire = format!("{{{}}}\r\n", text.len()).into_bytes();
        wire.extend_from_slice(text);
        wire.extend_from_slice(b"\r\n");
        wire.extend(Self::ok("That is all").wire);
        Self::of_wire(wire)
    }

    /// A server's own answer.
    #[must_use]
    pub fn passed(status: &Status, lead: &str) -> Self {
        let verb = if status.kind == Kind::Ok { "OK" } else { "NO" };
        let code = if CODES.contains(&status.code.as_str()) { status.code.as_str() } else { "" };
        let said: String = status.text.chars().take(LONGEST_SAID).collect();
        let text = if said.is_empty() { lead.to_owned() } else { format!("{lead}: {said}") };
        Self::said(verb, code, &text)
    }

    /// What goes over the wire.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.wire
    }

    /// Whether the connection ends with it.
    #[must_use]
    pub fn closes(&self) -> bool {
        self.closes
    }

    fn said(verb: &str, code: &str, text: &str) -> Self {
        let mut wire = verb.as_bytes().to_vec();
        if !code.is_empty() {
            wire.extend_from_slice(format!(" ({code})").as_bytes());
        }
        wire.push(b' ');
        let clean = |c: char| if c.is_control() && !matches!(c, '\n' | '\t') { ' ' } else { c };
        string(text.replace("\r\n", "\n").chars().map(clean).collect::<String>().as_bytes(), &mut wire);
        wire.extend_from_slice(b"\r\n");
        Self { wire, closes: false }
    }
}

/// A string, quoted where that is possible and as a literal otherwise.
fn string(text: &[u8], wire: &mut Vec<u8>) {
    let plain = text.len() <= LONGEST_QUOTED && !text.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n'));
    if !plain {
        wire.extend_from_slice(format!("{{{}}}\r\n", text.len()).as_bytes());
        wire.extend_from_slice(text);
        return;
    }
    wire.push(b'"');
    for byte in text {
        if matches!(byte, b'"' | b'\\') {
            wire.push(b'\\');
        }
        wire.push(*byte);
    }
    wire.push(b'"');
}

/// What the agent hears of a change that was made.
#[must_use]
pub fn done(change: &Change) -> &'static str {
    match change {
        Change::Put { .. } => "Stored",
        Change::Activate { name: Some(_) } => "It runs now",
        Change::Activate { name: None } => "No script runs now",
        Change::Delete { .. } => "Deleted",
        Change::Rename { .. } => "Renamed",
    }
}
