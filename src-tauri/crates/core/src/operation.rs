//! What one request would do.
//!
//! ```text
//!   Request ── parts ──> Part { Operation, Call }        one part, or one for each call of a batch
//!   Operation: action, Class, objects, meters, audience, facts, undo
//! ```

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::call::{Call, Digest};

/// What kind of effect an operation has, in rising order of care: the Class shown for several operations is their maximum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    /// Looks, changes nothing.
    Read,
    /// Changes something that the journal can put back.
    Modify,
    /// Takes out of sight; the upstream still has it.
    Remove,
    /// No route matches, or the body can't be read: never auto-permitted (I6).
    Unclassified,
    /// Mail to a person.
    Send,
    /// Text that others can read.
    Publish,
    /// Somebody gains access.
    Share,
    /// Gone for ever, or nearly.
    Destroy,
    /// Costs money.
    Spend,
    /// Redirects the future: forwarding, filters, delegates, keys.
    Divert,
}

impl Class {
    /// Every Class, in order.
    pub const ALL: [Self; 10] = [
        Self::Read,
        Self::Modify,
        Self::Remove,
        Self::Unclassified,
        Self::Send,
        Self::Publish,
        Self::Share,
        Self::Destroy,
        Self::Spend,
        Self::Divert,
    ];

    /// Its lower-case name, as in provider files, policies and the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Modify => "modify",
            Self::Remove => "remove",
            Self::Unclassified => "unclassified",
            Self::Send => "send",
            Self::Publish => "publish",
            Self::Share => "share",
            Self::Destroy => "destroy",
            Self::Spend => "spend",
            Self::Divert => "divert",
        }
    }
}

/// What a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Meter {
    /// Message bodies and files read.
    Read,
    /// Labels, read marks, stars, drafts.
    Modify,
    /// Leaving INBOX; every remove counts here too.
    LeaveInbox,
    /// Trashed, marked as spam.
    Remove,
    /// Sent, counted by recipients.
    Send,
}

impl Meter {
    /// Every meter.
    pub const ALL: [Self; 5] = [Self::Read, Self::Modify, Self::LeaveInbox, Self::Remove, Self::Send];

    /// Its kebab-case name, as in provider files, settings and the journal.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Modify => "modify",
            Self::LeaveInbox => "leave-inbox",
            Self::Remove => "remove",
            Self::Send => "send",
        }
    }
}

/// What an operation is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub enum Objects {
    /// Nothing that could be counted; meters count it as one.
    None,
    /// Exactly these, without duplicates, in the request's order.
    Listed {
        /// A kind of the provider file: `message`, `draft`, `label`, ...
        kind: String,
        /// The upstream's ids.
        ids: Vec<String>,
    },
    /// Everything inside a container; must be resolved by reading before it can be decided or allowed.
    Within {
        /// The kind of the objects inside.
        kind: String,
        /// The container's kind: `thread`, `label`, `draft`.
        container: String,
        /// The containers' ids.
        ids: Vec<String>,
    },
}

impl Objects {
    /// How many objects a meter counts: at least one for anything that acts.
    #[must_use]
    pub fn count(&self) -> u32 {
        match self {
            Self::None => 1,
            Self::Listed { ids, .. } | Self::Within { ids, .. } => u32::try_from(ids.len()).unwrap_or(u32::MAX).max(1),
        }
    }

    /// The provider file's kind of the objects.
    #[must_use]
    pub fn kind(&self) -> Option<&str> {
        match self {
            Self::Listed { kind, .. } | Self::Within { kind, .. } => Some(kind),
            Self::None => None,
        }
    }

    /// The resolved ids; empty for the other states.
    #[must_use]
    pub fn ids(&self) -> &[String] {
        match self {
            Self::Listed { ids, .. } => ids,
            Self::None | Self::Within { .. } => &[],
        }
    }
}

/// Who will see or gain what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Audience {
    /// Everyone reached, in the request's order: address and role (`to`, `cc`, `bcc`, `forward`, `delegate`).
    pub members: Vec<Member>,
    /// A place instead of persons.
    pub place: Option<String>,
}

/// One who is reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The bare address, lower-case domain.
    pub address: String,
    /// `to`, `cc`, `bcc`, `forward`, `delegate`, ...
    pub role: String,
}

/// The role of who does not get a mail, but what comes back of it (RFC 5321 section 4.4: its reverse path).
pub const BOUNCES: &str = "bounces";

impl Member {
    /// How much there is to read of it, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.role.len().saturating_add(self.address.len())
    }

    /// Under what name it is remembered that the person wrote to it. Whoever was let have bounces is not thereby one to write to.
    #[must_use]
    pub fn known_as(&self) -> Cow<'_, str> {
        if self.role == BOUNCES {
            Cow::Owned(format!("{BOUNCES}:{}", self.address))
        } else {
            Cow::Borrowed(&self.address)
        }
    }
}

/// A fact of the decoded request that the person sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// `Subject`, `Text`, `Forward to`, ...
    pub label: String,
    /// Plain text, unescaped; escaping is the display's task.
    pub value: String,
}

impl Fact {
    /// How much there is to read, in bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.label.len().saturating_add(self.value.len())
    }
}

/// What one request, or one part of a batch, would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// `provider.method`, e.g. `gmail.users.messages.trash`; `gmail.unclassified` where no route matches.
    pub action: String,
    /// Its Class, the body taken into account.
    pub class: Class,
    /// For people, present tense: `Trash`, `Archive`, `Delete for ever`.
    pub verb: String,
    /// What it is about.
    pub objects: Objects,
    /// What it counts on; empty for what is always asked.
    pub meters: Vec<Meter>,
    /// Who is reached, for send, publish, share, divert.
    pub audience: Option<Audience>,
    /// What else the request says, for the dialog.
    pub facts: Vec<Fact>,
    /// The provider file's undo recipe for it.
    pub undo: Option<String>,
    /// The provider file's softening recipe for it.
    pub soften: Option<String>,
    /// Canonical content beyond objects (a mail's decoded parts, a body's sorted JSON), hashed: two requests with equal `action`, `objects` and
    /// `content` are the same request.
    pub content: Digest,
    /// It could not be decoded: the person can only deny it.
    #[serde(default)]
    pub opaque: bool,
}

impl Operation {
    /// What a hold is bound to, together with agent and account: action, exact objects, canonical content.
    #[must_use]
    pub fn canonical(&self) -> Digest {
        let mut fields: Vec<&[u8]> = vec![self.action.as_bytes(), self.class.name().as_bytes()];
        match &self.objects {
            Objects::None => fields.push(b"none"),
            Objects::Listed { kind, ids } => {
                fields.push(b"listed");
                fields.push(kind.as_bytes());
                fields.extend(ids.iter().map(String::as_bytes));
            }
            Objects::Within { kind, container, ids } => {
                fields.push(b"within");
                fields.push(kind.as_bytes());
                fields.push(container.as_bytes());
                fields.extend(ids.iter().map(String::as_bytes));
            }
        }
        fields.push(b"content");
        fields.push(&self.content.0);
        Digest::of(&fields)
    }
}

/// An operation with the upstream call that would do it as asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What it would do.
    pub operation: Operation,
    /// How it would be asked upstream.
    pub call: Call,
    /// The path parameters that the route matched, e.g. `userId` -> `me`; recipes fill their templates from them.
    pub params: Vec<(String, String)>,
    /// The part's `Content-ID` in a batch.
    pub content_id: Option<String>,
}

/// A decoded request: one part, or one for each call of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Never empty.
    pub parts: Vec<Part>,
    /// Whether the answer must be put together as a batch.
    pub batch: bool,
}

/// The most text of one request that a dialog shows, in bytes.
pub const MAX_SHOWN: usize = 1024 * 1024;

impl Request {
    /// The facts and recipients that a person is to read, in bytes.
    #[must_use]
    pub fn text_length(&self) -> usize {
        let operations = || self.parts.iter().map(|part| &part.operation);
        let facts = operations().flat_map(|operation| &operation.facts).map(Fact::length);
        let audiences = operations().filter_map(|operation| operation.audience.as_ref());
        facts.chain(audiences.flat_map(|audience| &audience.members).map(Member::length)).sum()
    }

    /// Whether the person can only deny it: something in it can't be decoded, or there is more to read than a dialog shows.
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.parts.iter().any(|part| part.operation.opaque) || self.text_length() > MAX_SHOWN
    }

    /// The Class shown: the maximum.
    #[must_use]
    pub fn class(&self) -> Class {
        self.parts.iter().map(|part| part.operation.class).max().unwrap_or(Class::Unclassified)
    }
}
