//! How to read, rewrite and soften what a provider file describes: pure, calls go out as data and answers come in as JSON.

use bytes::Bytes;
use serde_json::Value;

use crate::call::Call;
use crate::catalog::Provider;
use crate::operation::Part;

/// Why an answer could not be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecipeError {
    /// More objects than one operation may name.
    #[error("more than {limit} objects: ask for fewer at a time")]
    TooMany {
        /// The limit.
        limit: usize,
    },
    /// The upstream's answer is not what the provider file expects.
    #[error("the provider's answer could not be understood: {0}")]
    Answer(String),
}

/// How far resolving has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Resolution {
    /// Every id is known.
    Done(Box<Part>),
    /// Further pages: make these calls too, append their answers to all earlier ones and ask again.
    More(Vec<(String, Call)>),
}

/// What to read before the part can be decided: container id and call. Empty if nothing is missing.
#[must_use]
pub fn resolve(_provider: &Provider, _part: &Part) -> Vec<(String, Call)> {
    Vec::new()
}

/// The part with its exact objects (and, for a stored draft, its audience, facts and content), from all answers so far, in the order of the calls.
pub fn resolved(_provider: &Provider, part: &Part, _answers: &[(String, Value)]) -> Result<Resolution, RecipeError> {
    Ok(Resolution::Done(Box::new(part.clone())))
}

/// The call that reads what the dialog shows of one object.
#[must_use]
pub fn preview(_provider: &Provider, _part: &Part, _id: &str) -> Option<Call> {
    None
}

/// One object for the dialog.
#[derive(Debug, Clone, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct View {
    /// A subject, a name; the id if there is none.
    pub title: String,
    /// Who it is from.
    pub from: Option<String>,
    /// When, RFC 3339.
    pub date: Option<String>,
    /// `starred`, `unread`, `important`, ...
    pub flags: Vec<String>,
}

/// Reads a [`View`] from the answer to [`preview`].
#[must_use]
pub fn view(_provider: &Provider, _kind: &str, id: &str, _answer: &Value) -> View {
    View { title: id.to_owned(), ..View::default() }
}

/// The part on exactly `keep` of its objects; `None` if it can't be split or `keep` is not a non-empty subset.
#[must_use]
pub fn restrict(_provider: &Provider, _part: &Part, _keep: &[String]) -> Option<Part> {
    None
}

/// An answer that the agent gets without the upstream's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// Lower-case names.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

/// What runs instead of the call as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Softened {
    /// The calls with the ids that each covers.
    pub calls: Vec<(Vec<String>, Call)>,
    /// What the API would have answered.
    pub answer: Answer,
    /// The undo recipe for it: put it into the operation's `undo` before asking [`crate::undo`].
    pub undo: Option<String>,
}

/// The milder calls with the same effect for the agent; `None` if the call runs as asked. Ask it for every part whose operation has `soften`,
/// whatever its Class: a thread's operation becomes one on the exact messages that were resolved.
#[must_use]
pub fn soften(_provider: &Provider, _part: &Part) -> Option<Softened> {
    None
}

/// What to copy before it is gone for ever: id and call. Empty where nothing can be copied.
#[must_use]
pub fn quarantine(_provider: &Provider, _part: &Part) -> Vec<(String, Call)> {
    Vec::new()
}

/// Puts a mail into the upstream's drafts instead of sending it.
#[must_use]
pub fn divert_to_draft(_provider: &Provider, _part: &Part) -> Option<Call> {
    None
}

/// What the agent is told when its mail waits as a draft: the draft's message, as if sent. `None` if the answer names no draft.
#[must_use]
pub fn diverted(_provider: &Provider, _part: &Part, _answer: &Value) -> Option<(String, Answer)> {
    None
}

/// Sends a draft that [`divert_to_draft`] made.
#[must_use]
pub fn send_draft(_provider: &Provider, _part: &Part, _draft: &str) -> Option<Call> {
    None
}

/// Deletes a draft that [`divert_to_draft`] made.
#[must_use]
pub fn cancel_draft(_provider: &Provider, _part: &Part, _draft: &str) -> Option<Call> {
    None
}
