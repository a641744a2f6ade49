//! Taking back: what to read before, what to remember, and the calls that put it back (invariant I9).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Provider;
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
    /// It was deleted for ever; a copy is in quarantine.
    Copied,
    /// Something with a fixed opposite was done.
    Done,
}

/// The calls that put back, and what they can't.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Inverse {
    /// Calls with the objects that each covers.
    pub calls: Vec<(Vec<String>, Call)>,
    /// Object and why.
    pub not_restored: Vec<(String, String)>,
}

/// What to read before the operation runs: object and call. Empty if nothing must be remembered.
#[must_use]
pub fn snapshot(_provider: &Provider, _part: &Part) -> Vec<(String, Call)> {
    Vec::new()
}

/// What to remember, from the snapshot's answers (an object that is missing among them is left out) and, once it is there, the operation's own
/// answer. `None` if nothing can be taken back.
#[must_use]
pub fn entry(
    _provider: &Provider,
    _part: &Part,
    _before: &[(String, Value)],
    _answer: Option<&Value>,
) -> Option<Entry> {
    None
}

/// What to read before undoing: object and call; 404 and 410 are answers too (the object is gone).
#[must_use]
pub fn inspect(_provider: &Provider, _entry: &Entry) -> Vec<(String, Call)> {
    Vec::new()
}

/// The calls that reverse the entry's own difference, given what [`inspect`] found (`None`: gone).
#[must_use]
pub fn inverse(_provider: &Provider, _entry: &Entry, _now: &[(String, Option<Value>)]) -> Inverse {
    Inverse::default()
}

/// The calls that put quarantined copies back: object and the answer that [`crate::recipe::quarantine`]'s call gave.
#[must_use]
pub fn reinsert(_provider: &Provider, _entry: &Entry, _copies: &[(String, Value)]) -> Inverse {
    Inverse::default()
}

/// What remains to be done once the calls of [`inverse`] were answered: a recreated container gets its members back.
#[must_use]
pub fn follow(_provider: &Provider, _entry: &Entry, _answers: &[(Vec<String>, Value)]) -> Inverse {
    Inverse::default()
}
