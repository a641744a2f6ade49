//! Stop from the phone: one mail of the guard's own in the person's mailbox. When it leaves the inbox, everything stops.
//!
//! ```text
//!   on ── Leave ──> mail stored ── anchored ──> Look, again and again ── There ──> nothing
//!                      ^   Find, after a crash        │                  Renewed ──> found once: anchored anew, else stop
//!                      └── Resume <── everything stops └──────────────── Left ──> stop; a new mail, with a new name, comes after Resume
//! ```
//! The mail is known by what the server named it when it was stored (UIDVALIDITY and UID, or an API's id), never by its subject or any other
//! text that somebody else could write. Its Message-ID, 128 random bits, only finds it again after a crash or where the mailbox was made anew.

use serde::{Deserialize, Serialize};

use crate::classify::imap::deed::object;
use crate::classify::imap::name::INBOX;
use crate::time::Span;

/// What the person reads in their list of mails.
pub const SUBJECT: &str = "Delete or move this mail to stop all agents";
/// The domain of the mail's own name: reserved, so that nobody else's mail has it (RFC 2606).
const DOMAIN: &str = "latchstring.invalid";
/// The longest pause between two attempts to reach the mailbox.
const LONGEST_PAUSE: Span = Span::seconds(60);
/// The longest name of a machine that is told.
const LONGEST_NAME: usize = 64;

/// Which mail it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "lowercase")]
pub enum Anchor {
    /// A message in a mail server's INBOX.
    Imap {
        /// The INBOX's UIDVALIDITY.
        uidvalidity: u32,
        /// The message's UID.
        uid: u32,
        /// Its X-GM-MSGID where the server has that: there the same message is in other mailboxes, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        everywhere: Option<u64>,
    },
    /// A message of an API.
    Api {
        /// Its id.
        id: String,
        /// Its thread's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        thread: Option<String>,
    },
}

impl Anchor {
    /// The id under which operations name it.
    #[must_use]
    pub fn object(&self) -> String {
        match self {
            Self::Imap { uidvalidity, uid, .. } => object(INBOX, *uidvalidity, *uid),
            Self::Api { id, .. } => id.clone(),
        }
    }

    /// Whether an operation that names this id is about it.
    #[must_use]
    pub fn is(&self, named: &str) -> bool {
        match self {
            Self::Imap { .. } => named == self.object(),
            Self::Api { id, thread } => named == id || thread.as_deref() == Some(named),
        }
    }
}

/// What is stored about an account whose stop mail is on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The random part of its Message-ID; `None`: a new mail is to be left.
    #[serde(default)]
    pub secret: Option<String>,
    /// Which mail it is; `None` with a secret: it may or may not have been stored.
    #[serde(default)]
    pub anchor: Option<Anchor>,
    /// The provider took it and does not say which one it is: no further one is left by itself.
    #[serde(default)]
    pub nameless: bool,
}

/// What is to be done next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Leave a mail with a new name.
    Leave,
    /// Find the one with this name: whether it was stored is not known.
    Find,
    /// See whether it is still there.
    Look,
    /// Nothing, until the person switches it off and on.
    Rest,
}

/// What a look at the inbox showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// It is there.
    There,
    /// It is not in the inbox any more, or marked as deleted.
    Left,
    /// The inbox was made anew (another UIDVALIDITY), so its UID means nothing any more: what a search for its own name found in it.
    Renewed(Vec<Anchor>),
}

/// What a look means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing happened.
    Stays,
    /// It is known by another anchor now: to be stored.
    Anchored,
    /// The person stopped everything.
    Stop,
}

impl Kept {
    /// What is to be done next.
    #[must_use]
    pub fn step(&self) -> Step {
        match (&self.secret, &self.anchor) {
            _ if self.nameless => Step::Rest,
            (None, _) => Step::Leave,
            (Some(_), None) => Step::Find,
            (Some(_), Some(_)) => Step::Look,
        }
    }

    /// A mail of this name is about to be left. Must be durable before it is.
    pub fn begin(&mut self, secret: String) {
        *self = Self { secret: Some(secret), ..Self::default() };
    }

    /// What a search found for the name of a mail that may have been stored. Not exactly one: the person may have moved it while nobody looked, or
    /// somebody made a copy, so everything stops.
    pub fn found(&mut self, mut found: Vec<Anchor>) -> Meaning {
        match (found.pop(), found.is_empty()) {
            (Some(anchor), true) => {
                self.anchor = Some(anchor);
                Meaning::Anchored
            }
            _ => {
                *self = Self::default();
                Meaning::Stop
            }
        }
    }

    /// Takes in what was seen. After [`Meaning::Stop`] nothing of the former mail is left: the next one has another name.
    pub fn saw(&mut self, look: Look) -> Meaning {
        match look {
            Look::There => Meaning::Stays,
            Look::Renewed(found) => self.found(found),
            Look::Left => self.found(Vec::new()),
        }
    }

    /// The mail's Message-ID, without its brackets.
    #[must_use]
    pub fn name(&self) -> Option<String> {
        self.secret.as_ref().map(|secret| format!("stop.{secret}@{DOMAIN}"))
    }
}

/// Why everything stopped, for the journal and the person: which account, and which of their machines.
#[must_use]
pub fn reason(account: &str, machine: &str) -> String {
    format!(
        "phone: the mail in {account} was moved or deleted, so every agent on {} was stopped",
        machine_name(machine)
    )
}

/// How long to wait before the mailbox is tried again: longer each time, and never quite as long as others do.
#[must_use]
pub fn pause(failures: u32, random: u32) -> Span {
    let whole = Span::seconds(1).0.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(LONGEST_PAUSE.0);
    // Between three and five quarters of it.
    let share = whole / 2;
    Span(whole - share / 2 + share.saturating_mul(u64::from(random % 1024)) / 1023)
}

/// A machine's name as far as it is plain.
#[must_use]
pub fn machine_name(name: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '-' | '.' | '_');
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) {
        return "this computer".to_owned();
    }
    name.to_owned()
}

/// The mail itself, with CRLF. `date`: RFC 2822.
#[must_use]
pub fn mail(kept: &Kept, account: &str, machine: &str, date: &str) -> Option<String> {
    let name = kept.name()?;
    let machine = machine_name(machine);
    let lines = [
        format!("From: Latchstring on {machine} <stop@{DOMAIN}>"),
        "To: undisclosed-recipients:;".to_owned(),
        format!("Subject: {SUBJECT}"),
        format!("Date: {date}"),
        format!("Message-ID: <{name}>"),
        "Auto-Submitted: auto-generated".to_owned(),
        "MIME-Version: 1.0".to_owned(),
        "Content-Type: text/plain; charset=us-ascii".to_owned(),
        String::new(),
        "Delete this mail, archive it, or move it to another folder: then every AI".to_owned(),
        format!("agent that works through Latchstring on {machine} is stopped."),
        String::new(),
        "As long as it stays in the inbox, nothing happens. Answering it, marking".to_owned(),
        "it as read or taking off its star does nothing, and neither does any".to_owned(),
        "other mail that looks like this one.".to_owned(),
        String::new(),
        "It works while that computer is on and connected. If the mail goes while".to_owned(),
        "it is not, agents are stopped as soon as it is again.".to_owned(),
        String::new(),
        format!("To go on, use Latchstring on {machine}: Resume. It then leaves a new"),
        "mail here. Your own access to your mail is never touched.".to_owned(),
        String::new(),
        format!("Account: {account}"),
        String::new(),
    ];
    Some(lines.join("\r\n"))
}

#[cfg(test)]
mod tests;
