//! Who is known: whom an allowed send went to, and whom the person's own sent mail went to before.
//!
//! ```text
//!   is_known? ── learned: an allowed send, kept ──────────────> yes
//!            ├── heard: the account's own history, for a while > yes, no
//!            └── neither ──> Ruling::LookUp, answered by Guard::heard
//! ```
//! What an agent puts among the sent mail is kept apart ([`Written`]) and proves nothing. Whatever is in doubt is not known.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};

use super::{Guard, Now};
use crate::call::Digest;
use crate::classify::imap::deed::place_of;
use crate::journal::{Commit, Put, Shelf};
use crate::operation::{BOUNCES, Class, Request};
use crate::recipe::sent::Writes;
use crate::time::{Span, Time};

/// How long the history's yes is good for.
const YES: Span = Span::hours(1);
/// How long its no is good for: the person may write to somebody meanwhile.
const NO: Span = Span::minutes(10);
/// How long nobody asks again after the history could not be read.
const NO_ANSWER: Span = Span::seconds(30);
/// The most answers that are remembered.
const MOST_HEARD: usize = 10_000;
/// The most recipients of one request that are looked up; the others are not known.
pub const MOST_LOOKED_UP: usize = 100;
/// The most look-ups for one agent in an hour; beyond, nobody new is known.
pub(super) const LOOKED_UP_AN_HOUR: u32 = 500;
/// The most messages of agents that are kept apart on one account; beyond, no history proves anything any more.
const MOST_WRITTEN: usize = 10_000;

/// What an agent put among an account's sent mail. Stored before it happens and again when its outcome is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// The account.
    pub account: String,
    /// The messages, once they are known.
    #[serde(default)]
    pub messages: Vec<String>,
    /// Under way, or its outcome is unknown: whom it names. The history proves nothing about these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub doubt: Option<Doubt>,
}

/// About whom the history proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Doubt {
    /// About these addresses.
    Addresses(Vec<String>),
    /// About anybody.
    Everybody,
}

/// What an account's own sent mail says about an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum History {
    /// The person wrote to it in this message.
    WroteIn(String),
    /// Nothing was found.
    Nothing,
    /// It could not be read: counts as nothing, for a short while.
    Unreadable,
}

/// What the history said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Yes,
    No,
    /// Nothing: it could not be read.
    Silence,
}

#[derive(Debug, Default)]
pub(super) struct Known {
    learned: HashSet<(String, String)>,
    heard: HashMap<(String, String), (Heard, Time)>,
    written: BTreeMap<String, Written>,
}

impl Known {
    pub(super) fn new(learned: HashSet<(String, String)>, written: BTreeMap<String, Written>) -> Self {
        Self { learned, heard: HashMap::new(), written }
    }

    pub(super) fn forget_account(&mut self, account: &str) -> Vec<(Shelf, String)> {
        let gone = |(one, _): &(String, String)| one == account;
        let learned = self.learned.iter().filter(|entry| gone(entry)).map(|(one, address)| place(one, address));
        // The same mailbox may be added again: the agents' messages in it stay theirs. What may be about anybody must not outlive the account.
        let anybody =
            |one: &Written| one.account == account && one.messages.is_empty() && one.doubt == Some(Doubt::Everybody);
        let doubts = self.written.iter().filter(|(_, one)| anybody(one)).map(|(id, _)| id.clone());
        let deletes = learned.chain(doubts).map(|id| (Shelf::Known, id)).collect();
        self.written.retain(|_, one| !anybody(one));
        self.learned.retain(|entry| !gone(entry));
        self.heard.retain(|entry, _| !gone(entry));
        deletes
    }
}

/// What two names of one message have in common: over IMAP the same mailbox may be reached by several names.
fn same(message: &str) -> Cow<'_, str> {
    match place_of(message) {
        Some((_, uidvalidity, uid)) => Cow::Owned(format!(";{uidvalidity};{uid}")),
        None => Cow::Borrowed(message),
    }
}

fn place(account: &str, address: &str) -> String {
    format!("{account}/{}", Digest::of(&[address.as_bytes()]))
}

fn entry(account: &str, address: &str) -> (String, String) {
    (account.to_owned(), address.to_ascii_lowercase())
}

impl Guard {
    /// Whether somebody had mail from the person before, as far as is known now.
    #[must_use]
    pub fn is_known(&self, account: &str, address: &str, now: Now) -> bool {
        let entry = entry(account, address);
        self.known.learned.contains(&entry)
            || self.known.heard.get(&entry).is_some_and(|(said, until)| *said == Heard::Yes && *until > now.time)
    }

    /// Whether the history could not be asked about one of these.
    pub(super) fn unreadable(
        &self,
        account: &str,
        addresses: impl IntoIterator<Item = impl AsRef<str>>,
        now: Now,
    ) -> bool {
        addresses.into_iter().any(|address| {
            let heard = self.known.heard.get(&entry(account, address.as_ref()));
            heard.is_some_and(|(said, until)| *said == Heard::Silence && *until > now.time)
        })
    }

    /// Whom of a request's recipients nothing is known about: neither yes nor no.
    pub(super) fn unheard(&self, account: &str, request: &Request, now: Now) -> Vec<String> {
        let sends = request.parts.iter().filter(|part| part.operation.class == Class::Send);
        let members = sends.filter_map(|part| part.operation.audience.as_ref()).flat_map(|audience| &audience.members);
        let mut unheard: Vec<String> = Vec::new();
        // Sent mail does not tell where its bounces went.
        let members = members.filter(|member| member.role != BOUNCES);
        for address in members.map(|member| member.address.to_ascii_lowercase()) {
            let entry = entry(account, &address);
            let answered = self.known.heard.get(&entry).is_some_and(|(_, until)| *until > now.time);
            if !answered && !self.known.learned.contains(&entry) && !unheard.contains(&address) {
                unheard.push(address);
            }
        }
        unheard
    }

    /// Remembers that the person, or a send that the person allowed, wrote to these.
    pub fn learn(&mut self, account: &str, addresses: &[String]) -> Commit {
        let mut commit = Commit::default();
        for address in addresses {
            let entry = entry(account, address);
            if self.known.learned.insert(entry.clone()) {
                let id = place(&entry.0, &entry.1);
                let value = serde_json::json!({ "account": entry.0, "address": entry.1 });
                commit.puts.push(Put { shelf: Shelf::Known, id, value });
            }
        }
        commit
    }

    /// What the account's own sent mail says about an address.
    pub fn heard(&mut self, account: &str, address: &str, history: History, now: Now) {
        let (said, life) = match history {
            // Asked again here: an agent may have put it there while the history was read.
            History::WroteIn(message) => {
                let proves = self.history_counts(address) && !self.by_the_person(vec![message]).is_empty();
                if proves { (Heard::Yes, YES) } else { (Heard::No, NO_ANSWER) }
            }
            History::Nothing => (Heard::No, NO),
            History::Unreadable => (Heard::Silence, NO_ANSWER),
        };
        let heard = &mut self.known.heard;
        if heard.len() >= MOST_HEARD {
            heard.retain(|_, (_, until)| *until > now.time);
        }
        if heard.len() >= MOST_HEARD {
            heard.clear();
        }
        heard.insert(entry(account, address), (said, now.time + life));
    }

    /// Whether sent mail can prove anything about an address. What was written through any account counts: two of them may be the same mailbox.
    #[must_use]
    pub fn history_counts(&self, address: &str) -> bool {
        let doubtful = |one: &Written| match &one.doubt {
            Some(Doubt::Everybody) => true,
            Some(Doubt::Addresses(named)) => named.iter().any(|other| other.eq_ignore_ascii_case(address)),
            None => false,
        };
        let mut full: HashMap<&str, usize> = HashMap::new();
        for one in self.known.written.values() {
            *full.entry(&one.account).or_default() += one.messages.len().max(1);
        }
        !self.known.written.values().any(doubtful) && full.values().all(|count| *count < MOST_WRITTEN)
    }

    fn written_on(&self, account: &str) -> usize {
        let written = self.known.written.values().filter(|one| one.account == account);
        written.map(|one| one.messages.len().max(1)).sum()
    }

    /// Those messages that no agent put among the sent mail, through whatever account: two of them may be the same mailbox.
    #[must_use]
    pub fn by_the_person(&self, messages: Vec<String>) -> Vec<String> {
        let agents: HashSet<Cow<'_, str>> =
            self.known.written.values().flat_map(|one| &one.messages).map(|id| same(id)).collect();
        messages.into_iter().filter(|id| !agents.contains(&same(id))).collect()
    }

    /// Whether messages of this mailbox can be told from those that agents put there: not once it got another UIDVALIDITY. `elsewhere`: accounts that are
    /// surely other mailboxes. `by_api`: the same mailbox may be reached by ids of another kind, too.
    #[must_use]
    pub fn tells_apart(&self, mailbox: &str, uidvalidity: u32, elsewhere: &[String], by_api: bool) -> bool {
        let here = self.known.written.values().filter(|one| !elsewhere.contains(&one.account));
        !here.flat_map(|one| &one.messages).any(|id| match place_of(id) {
            Some((place, then, _)) => place == mailbox && then != uidvalidity,
            None => by_api,
        })
    }

    /// To be stored with the intent of a call that puts something among the sent mail; the id names it in [`Guard::wrote`].
    pub fn writing(&mut self, account: &str, writes: Writes) -> (String, Vec<Put>) {
        if self.written_on(account) >= MOST_WRITTEN {
            return (String::new(), Vec::new());
        }
        self.state.written = self.state.written.saturating_add(1);
        let id = format!("w{}", self.state.written);
        let (messages, doubt) = match writes {
            Writes::Messages(ids) => (ids, None),
            Writes::New(Some(addresses)) => (Vec::new(), Some(Doubt::Addresses(addresses))),
            Writes::New(None) => (Vec::new(), Some(Doubt::Everybody)),
        };
        let written = Written { account: account.to_owned(), messages, doubt };
        let put = put(&id, &written);
        self.known.written.insert(id.clone(), written);
        (id, vec![put, self.state_put()])
    }

    /// To be stored with the outcome of such a call, if it is known: the messages that were made, if any.
    pub fn wrote(&mut self, id: &str, made: impl IntoIterator<Item = String>) -> Commit {
        let mut commit = Commit::default();
        let Some(written) = self.known.written.get_mut(id) else { return commit };
        written.doubt = None;
        written.messages.extend(made);
        if written.messages.is_empty() {
            self.known.written.remove(id);
            commit.deletes.push((Shelf::Known, id.to_owned()));
        } else {
            commit.puts.push(put(id, written));
        }
        commit
    }
}

fn put(id: &str, written: &Written) -> Put {
    Put { shelf: Shelf::Known, id: id.to_owned(), value: serde_json::to_value(written).unwrap_or_default() }
}

#[cfg(test)]
mod tests;
