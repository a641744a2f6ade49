//! The form of a provider file. Every name below is a key in it.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::template::{Endpoint, Piece};
use crate::classify::json::Names;
use crate::operation::{Class, Meter};

/// A route: one method of the provider's API.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Route {
    /// The provider's own name for it, without the provider.
    pub id: String,
    /// Method and path below `base`.
    pub call: Endpoint,
    /// The whole path, taken apart when the file is read.
    #[serde(skip)]
    pub pieces: Vec<Piece>,
    /// Its Class, unless a case says otherwise.
    pub class: Class,
    /// For people, present tense: `Trash`.
    pub verb: String,
    /// What it is about.
    #[serde(default)]
    pub objects: ObjectRule,
    /// What it counts on.
    #[serde(default)]
    pub meters: Vec<Meter>,
    /// The undo recipe; `none` where there is none. Reads have no undo.
    pub undo: Option<String>,
    /// The softening recipe.
    pub soften: Option<String>,
    /// The bulk recipe that acts on some of a container's objects.
    pub split: Option<String>,
    /// Whether the split call runs in any case, so that nothing is touched that came in after reading. Its answer must be the same.
    #[serde(default)]
    pub freeze: bool,
    /// What to copy before it is gone: a kind's `copy`.
    #[serde(default)]
    pub copied: bool,
    /// The top-level fields of the JSON body; without any, there is no body.
    #[serde(default)]
    pub fields: Vec<String>,
    /// Query parameters beside the provider's; `name*` may repeat.
    #[serde(default)]
    pub query: Vec<String>,
    /// Where the body holds a mail as base64url.
    pub mail: Option<String>,
    /// Whether a mail may come by the upload prefixes.
    #[serde(default)]
    pub upload: bool,
    /// Whether an upload may pass through while it arrives: its Class ignores the mail.
    #[serde(default)]
    pub stream: bool,
    /// A named list of cases.
    pub cases: Option<String>,
    /// What the person sees of the request.
    #[serde(default)]
    pub facts: Vec<FactRule>,
    /// Who is reached.
    #[serde(default)]
    pub audience: Vec<AudienceRule>,
    /// Requests with what they are.
    pub examples: Vec<Example>,
}

/// Where a request names its objects.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ObjectRule {
    /// Their kind; empty if there are none.
    #[serde(default)]
    pub kind: String,
    /// The path parameter with the id.
    pub param: Option<String>,
    /// The JSON pointer to an id or an array of ids.
    pub at: Option<String>,
    /// The most ids that the provider takes.
    pub most: Option<usize>,
    /// The ids are those of containers; what is inside must be read.
    pub container: Option<String>,
}

/// Overrides a route for some requests; the first that fits counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Case {
    /// JSON pointer into the body.
    pub at: Option<String>,
    /// Or a query parameter.
    pub query: Option<String>,
    /// Fits if one of the values there is one of these, letters' case aside.
    #[serde(default)]
    pub any: Vec<String>,
    /// Fits if one of the values there is none of these.
    #[serde(default)]
    pub except: Vec<String>,
    /// Fits only if these pointers hold one value together.
    #[serde(default)]
    pub alone: Vec<String>,
    /// Its Class then.
    pub class: Option<Class>,
    /// Its verb then.
    pub verb: Option<String>,
    /// Its meters then.
    pub meters: Option<Vec<Meter>>,
    /// Its undo then.
    pub undo: Option<String>,
}

/// A fact for the dialog.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FactRule {
    /// Its label.
    pub label: String,
    /// JSON pointer into the body.
    pub at: Option<String>,
    /// Or a path parameter.
    pub param: Option<String>,
    /// Or a query parameter.
    pub query: Option<String>,
    /// A table of `words` for its values.
    pub words: Option<String>,
}

/// Somebody who is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AudienceRule {
    /// `forward`, `delegate`, ...
    pub role: String,
    /// JSON pointer into the body.
    pub at: Option<String>,
    /// Or a path parameter.
    pub param: Option<String>,
    /// It is a place, not a person.
    #[serde(default)]
    pub place: bool,
}

/// A request and what it is.
#[cfg_attr(not(test), expect(dead_code, reason = "the test that runs every example reads them"))]
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Example {
    /// Method and target below `base`, its holes filled by `example`.
    pub call: Endpoint,
    /// The JSON body.
    pub body: Option<serde_json::Value>,
    /// A mail, put where the route's `mail` points.
    pub mail: Option<String>,
    /// The expected Class; the route's if missing.
    pub class: Option<Class>,
    /// The expected verb; the route's if missing.
    pub verb: Option<String>,
    /// The expected number of objects or containers.
    #[serde(default)]
    pub count: u32,
    /// The expected meters; the route's if missing.
    pub meters: Option<Vec<Meter>>,
    /// Expected members of the audience.
    #[serde(default)]
    pub audience: Vec<String>,
}

/// A kind of object.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kind {
    /// Singular and plural.
    pub noun: [String; 2],
    /// What to read for the dialog; `#/list` at the end: the entry of that list whose `id` it is. All `read`s below may have it.
    pub preview: Option<String>,
    /// What to read to copy it before it is gone.
    pub copy: Option<String>,
    /// How to show it.
    #[serde(default)]
    pub view: ViewRule,
}

/// Where a preview's answer holds what is shown.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ViewRule {
    /// Pointers or `header:Name`; the first that holds text is the title.
    #[serde(default)]
    pub title: Vec<String>,
    /// Pointer or `header:Name`.
    pub from: Option<String>,
    /// Pointer to milliseconds since 1970.
    pub date: Option<String>,
    /// Pointer to an array of `{name, value}`.
    pub headers: Option<String>,
    /// Pointer to an array of words.
    pub flags_at: Option<String>,
    /// Which of them are flags, and their names for people.
    #[serde(default)]
    pub flags: BTreeMap<String, String>,
}

/// How to read what is inside a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Container {
    /// What to read.
    pub read: String,
    /// Pointer to the array of objects.
    pub list: Option<String>,
    /// Pointer to an object's id.
    pub id: Option<String>,
    /// Pointer to the next page's token.
    pub next: Option<String>,
    /// The query parameter that takes it.
    pub page: Option<String>,
    /// Pointer to a mail as base64url: the container is the object itself and its content is what counts.
    pub mail: Option<String>,
    /// What of the answer goes into the call: body pointer from answer pointer.
    #[serde(default)]
    pub fix: BTreeMap<String, String>,
}

/// A set that objects have, such as labels.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Members {
    /// What to read of one object.
    pub read: String,
    /// Pointer to its set.
    pub at: String,
    /// Pointers to arrays of objects in an operation's answer; the answer itself is looked at too.
    #[serde(default)]
    pub answers: Vec<String>,
    /// The bulk write.
    pub write: Endpoint,
    /// Pointer to the ids in its body.
    pub ids: String,
    /// Pointer to what is added.
    pub add: String,
    /// Pointer to what is removed.
    pub remove: String,
    /// The most ids of one write.
    pub most: usize,
    /// What the upstream takes away by itself when something is added.
    #[serde(default)]
    pub drops: BTreeMap<String, Vec<String>>,
    /// What the upstream may put back by itself when something is removed.
    #[serde(default)]
    pub regains: BTreeMap<String, Vec<String>>,
    /// What can't be written.
    #[serde(default)]
    pub fixed: Vec<String>,
}

/// A change of a set: fixed words, or pointers into the operation's body.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetChange {
    /// Added always.
    #[serde(default)]
    pub adds: Vec<String>,
    /// Removed always.
    #[serde(default)]
    pub removes: Vec<String>,
    /// Pointer to what is added.
    pub add: Option<String>,
    /// Pointer to what is removed.
    pub remove: Option<String>,
}

/// How to take an operation back.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "strategy", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Undo {
    /// Reverses what it really changed in the objects' sets.
    SetDifference {
        /// Which set.
        set: String,
        /// What the operation does to it.
        change: SetChange,
    },
    /// Puts overwritten fields back.
    PutBack {
        /// What to read before and at undo.
        read: String,
        /// Pointers to the fields.
        fields: Vec<String>,
        /// Pointer to what changes with every change; without it the fields themselves are compared.
        marker: Option<String>,
        /// The write; it gets all fields.
        write: Endpoint,
    },
    /// Deletes what it created.
    DeleteCreated {
        /// Pointer to the new id in the answer.
        id: String,
        /// What to read at undo.
        read: String,
        /// Pointer to what changes with every change.
        marker: Option<String>,
        /// Pointer to a number that must be zero.
        unless: Option<String>,
        /// The deletion.
        write: Endpoint,
    },
    /// Creates again what it deleted.
    Recreate {
        /// What to read before.
        read: String,
        /// Pointers to what the creation takes.
        fields: Vec<String>,
        /// The creation.
        write: Endpoint,
        /// Pointer to the new id in its answer.
        id: Option<String>,
        /// The set through which objects belonged to it.
        members: Option<String>,
        /// What is not as before, for people.
        but: Option<String>,
    },
    /// Inserts the quarantined copy.
    Reinsert {
        /// Pointers to what the insertion takes.
        fields: Vec<String>,
        /// The insertion.
        write: Endpoint,
        /// What tells that it still exists.
        read: String,
        /// What is not as before, for people.
        but: Option<String>,
    },
    /// Does the fixed opposite.
    Opposite {
        /// The opposite.
        write: Endpoint,
    },
}

/// What runs instead of an operation.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Soften {
    /// The set that is written instead.
    pub set: String,
    /// The change.
    pub change: SetChange,
    /// The undo recipe for it.
    pub undo: String,
    /// The answer's status.
    pub status: u16,
    /// The answer's body names the container here and lists the objects there.
    pub body: Option<SoftenBody>,
}

/// The body that a softened call answers with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftenBody {
    /// The path parameter whose value is its `id`.
    pub param: String,
    /// The field that lists the objects.
    pub list: String,
}

/// A call that acts on listed objects.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bulk {
    /// The call.
    pub write: Endpoint,
    /// Pointer to the ids in its body.
    pub ids: String,
    /// The most ids.
    pub most: usize,
    /// The set change that it carries, with the set's pointers.
    pub change: Option<SetChange>,
    /// The set.
    pub set: Option<String>,
}

/// How mail waits as a draft before it is sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Outbox {
    /// The route ids that can wait so.
    pub routes: Vec<String>,
    /// Creates the draft.
    pub create: Endpoint,
    /// Sends a mail by itself: a draft could be changed until it leaves.
    pub send: Endpoint,
    /// Deletes it.
    pub cancel: Endpoint,
    /// Where a draft's body holds its message.
    pub message: String,
    /// Pointer to the draft's id in the creation's answer.
    pub id: String,
}

/// How to find out whether the person's own mail went to an address.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sent {
    /// Lists sent mail to `{address}`; what it finds is read and compared.
    pub find: String,
    /// Pointer to the list in its answer.
    pub list: String,
    /// Pointer to a message's id, in an entry of the list and in the answer to a message's creation.
    pub id: String,
    /// Reads one message's recipients.
    pub read: String,
    /// Pointer to its list of headers.
    pub headers: String,
    /// The headers that name recipients.
    pub names: Vec<String>,
    /// Pointer to its labels.
    pub labels: String,
    /// The label of sent mail.
    pub label: String,
    /// Labels that sent mail never has.
    #[serde(default)]
    pub never: Vec<String>,
    /// The set that the labels are.
    pub set: String,
    /// Mail servers that reach the same mailboxes: what an agent puts there over IMAP has no id that could be kept apart.
    #[serde(default)]
    pub also_at: Vec<String>,
}

/// How a mail of the guard's own is left, looked at and removed: the one whose leaving the inbox stops everything.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Stop {
    /// Values for the holes of `base`.
    #[serde(default)]
    pub params: BTreeMap<String, String>,
    /// Stores the mail.
    pub leave: Endpoint,
    /// Where its body holds the mail.
    pub mail: String,
    /// What else stands in the body.
    #[serde(default)]
    pub with: serde_json::Value,
    /// Pointer to its id in the answer, and in an entry of the list that `find` gives.
    pub id: String,
    /// Pointer to its thread's id in the same.
    pub thread: Option<String>,
    /// Reads its labels.
    pub look: String,
    /// Pointer to them.
    pub labels: String,
    /// The label that it has as long as it is in the inbox.
    pub inbox: String,
    /// Labels that take it out of the inbox all the same.
    #[serde(default)]
    pub never: Vec<String>,
    /// Takes it away.
    pub remove: Endpoint,
    /// Lists those in the inbox with the Message-ID `{name}`.
    pub find: String,
    /// Pointer to the list in its answer.
    pub list: String,
    /// How often it is looked at, in seconds.
    pub poll_seconds: u32,
}

/// Where batches go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Batch {
    /// The paths.
    pub paths: Vec<String>,
    /// The most calls of one batch.
    pub most: usize,
}

/// A provider file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) base_url: String,
    /// The prefix of all routes.
    pub base: String,
    /// Values for the holes of `base` in examples.
    #[cfg_attr(not(test), expect(dead_code, reason = "the test that runs every example reads them"))]
    #[serde(default)]
    pub example: BTreeMap<String, String>,
    #[serde(default)]
    pub(super) protocol: super::Protocol,
    pub(super) error_shape: super::ErrorShape,
    pub(super) token_endpoint: Option<String>,
    pub(super) revocation_endpoint: Option<String>,
    pub(super) sign_out_page: Option<String>,
    /// What is read to see whether a credential opens the account: cheap, and of class read.
    pub(super) check: Option<String>,
    /// Whether a GET without a route is a read.
    #[serde(default)]
    pub safe_methods: bool,
    /// The header by which a POST becomes another method here.
    pub method_override: Option<String>,
    /// How the names of JSON fields are read.
    #[serde(default)]
    pub json_names: Names,
    /// Query parameters of every route.
    #[serde(default)]
    pub query: Vec<String>,
    /// The only values that some of them may have.
    #[serde(default)]
    pub query_values: BTreeMap<String, Vec<String>>,
    /// Those that leave fields out of the answer: dropped where undo reads the answer.
    #[serde(default)]
    pub query_shapes: Vec<String>,
    /// The fields that may stand beside a mail.
    #[serde(default)]
    pub mail_fields: Vec<String>,
    /// Fields, however deep, that hold a list: anything else there is refused, because a provider may take it for another list, or for an error.
    #[serde(default)]
    pub lists: Vec<String>,
    /// Prefixes before `base` for routes with `upload`.
    #[serde(default)]
    pub upload_prefixes: Vec<String>,
    /// Where batches go.
    pub batch: Option<Batch>,
    /// The routes.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Cases by name.
    #[serde(default)]
    pub cases: BTreeMap<String, Vec<Case>>,
    /// Words for values, by table.
    #[serde(default)]
    pub words: BTreeMap<String, BTreeMap<String, String>>,
    /// The deny button by verb or Class.
    #[serde(default)]
    pub keep: BTreeMap<String, String>,
    /// Kinds of objects.
    #[serde(default)]
    pub kinds: BTreeMap<String, Kind>,
    /// Containers by kind.
    #[serde(default)]
    pub containers: BTreeMap<String, Container>,
    /// Sets by name.
    #[serde(default)]
    pub sets: BTreeMap<String, Members>,
    /// Undo recipes.
    #[serde(default)]
    pub undo: BTreeMap<String, Undo>,
    /// Softening recipes.
    #[serde(default)]
    pub soften: BTreeMap<String, Soften>,
    /// Bulk recipes.
    #[serde(default)]
    pub bulk: BTreeMap<String, Bulk>,
    /// How mail waits.
    pub outbox: Option<Outbox>,
    /// Whom the person wrote to.
    pub sent: Option<Sent>,
    /// The mail that stops everything.
    pub stop: Option<Stop>,
}
