//! Taking back: what to read before, what to remember, and the calls that put it back (invariant I9).
//!
//! ```text
//!   snapshot ──> reads ── entry(before, answer) ──> Entry, kept by the journal
//!   inspect  ──> reads ── inverse(now) ──> calls, then follow(answers) ──> calls
//! ```
//! Only the operation's own difference is reversed. What others changed since is left alone and reported.

pub mod dav;
mod difference;
pub mod imap;
mod inverse;
pub mod sieve;
#[cfg(test)]
mod tests;

pub use inverse::{follow, inspect, inverse, reinsert};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Provider;
use crate::catalog::file::Undo;
use crate::operation::Part;

/// What is remembered of one operation so that its own difference can be reversed. The account is its keeper's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The provider file.
    pub provider: String,
    /// The undo recipe in it.
    pub recipe: String,
    /// The action, for people and the journal.
    pub action: String,
    /// The path parameters of the operation.
    pub params: Vec<(String, String)>,
    /// The own difference, object by object.
    pub changes: Vec<Change>,
}

/// The own difference on one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// The object's id.
    pub object: String,
    /// What the operation did to it.
    #[serde(flatten)]
    pub difference: Difference,
}

/// What an operation did to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "kebab-case")]
pub enum Difference {
    /// Members of a set, such as labels, were really added or removed.
    Set {
        /// Not there before.
        added: Vec<String>,
        /// There before.
        removed: Vec<String>,
        /// There before, and probably taken away by the upstream itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        presumed: Vec<String>,
    },
    /// Fields were overwritten.
    Fields {
        /// As they were: JSON pointer and value.
        before: Vec<(String, Value)>,
        /// As the operation left them.
        after: Vec<(String, Value)>,
    },
    /// It was created.
    Created {
        /// What it looked like then, if that tells later changes apart.
        marker: Option<Value>,
    },
    /// It was deleted; what recreates it.
    Deleted {
        /// The body to create it with.
        body: Value,
        /// The objects that belonged to it.
        members: Vec<String>,
    },
    /// It was moved.
    Moved {
        /// Where to, as an object's id; `None` while nobody has said.
        to: Option<String>,
        /// It was marked as deleted before.
        #[serde(default)]
        marked: bool,
        /// What finds it where nobody said where it went.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        trace: Option<Trace>,
        /// Its version there, where others could put something else into its place.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<String>,
    },
    /// It was deleted for ever; a copy is in quarantine.
    Copied,
    /// Something with a fixed opposite was done.
    Done,
}

/// A message on its way: the answer that says where it arrived may be lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trace {
    /// The mailbox that it was to go to.
    pub mailbox: String,
    /// A digest of what moving does not change about it, if that could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub print: Option<String>,
    /// Where that mailbox stood just before: nothing older in it is this message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Next>,
    /// It was surely not marked as deleted.
    #[serde(default)]
    pub unmarked: bool,
}

/// The UID that the next message of a mailbox would get (RFC 9051 section 2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Next {
    /// While the mailbox has this UIDVALIDITY.
    pub uidvalidity: u32,
    /// At least this one.
    pub uid: u32,
}

/// The calls that put back, and what they can't.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inverse {
    /// Calls with the objects that each covers.
    pub calls: Vec<(Vec<String>, Call)>,
    /// Object and why.
    pub not_restored: Vec<(String, String)>,
    /// Object and what is not as before although it is restored: a new id, a confirmation that is due again.
    pub notes: Vec<(String, String)>,
}

/// What to read before the operation runs: object and call. Empty if nothing must be remembered.
#[must_use]
pub fn snapshot(provider: &Provider, part: &Part) -> Vec<(String, Call)> {
    let read = |template: &str, object: &str| {
        provider.target(template, &part.params, object).map(|target| (object.to_owned(), Call::get(target)))
    };
    match recipe(provider, part) {
        Some(Undo::SetDifference { set, .. }) => {
            let Some(set) = provider.file.sets.get(set) else { return Vec::new() };
            part.operation.objects.ids().iter().filter_map(|id| read(&set.read, id)).collect()
        }
        Some(Undo::PutBack { read: template, .. } | Undo::Recreate { read: template, .. }) => {
            read(template, &primary(provider, part)).into_iter().collect()
        }
        Some(Undo::DeleteCreated { .. } | Undo::Reinsert { .. } | Undo::Opposite { .. }) | None => Vec::new(),
    }
}

/// What to remember, from the snapshot's answers (an object that is missing among them is left out) and, once it is there, the operation's own
/// answer: ask without it before the call leaves and again with it. `None` if nothing can be taken back.
#[must_use]
pub fn entry(provider: &Provider, part: &Part, before: &[(String, Value)], answer: Option<&Value>) -> Option<Entry> {
    let changes = difference::changes(provider, part, recipe(provider, part)?, before, answer);
    (!changes.is_empty()).then(|| Entry {
        provider: provider.id.clone(),
        recipe: part.operation.undo.clone().unwrap_or_default(),
        action: part.operation.action.clone(),
        params: part.params.clone(),
        changes,
    })
}

fn recipe<'a>(provider: &'a Provider, part: &Part) -> Option<&'a Undo> {
    provider.file.undo.get(part.operation.undo.as_ref()?)
}

/// The one thing that an operation is about: the path's id, the only object, or the setting itself.
fn primary(provider: &Provider, part: &Part) -> String {
    let route = provider.route(&part.operation.action);
    let param = route.and_then(|route| route.objects.param.as_ref());
    let named = param.and_then(|name| part.params.iter().find(|(known, _)| known == name)).map(|(_, value)| value);
    named.or(part.operation.objects.ids().first()).unwrap_or(&part.operation.action).clone()
}
