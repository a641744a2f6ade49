//! An operation that waits for the person, and what an Allow may leave behind.
//!
//! ```text
//!              preview read        allow               plan starts
//!   Preparing ─────────────> Open ───────> Allowed ───────────────> Running ──> Done
//!       │                      │  └ deny ─> Denied                   (at most once, I2)
//!       │ upstream unreadable  │ time over
//!       └──────> Failed        ├──────────────> Proposal (modify, remove) ── allow ──> Allowed
//!                              └──────────────> Expired
//! ```

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::call::{Call, CallBody, Digest};
use crate::lease::Epoch;
use crate::operation::{Class, Fact, Member, Objects, Operation, Part, Request};
use crate::recipe::View;
use crate::scope::Rule;
use crate::time::{Span, Time};

/// How long an Allow's response answers retries, and how long an Allow waits to be asked for again.
pub const KEEP: Span = Span::minutes(10);
/// How long a task allowance lives.
pub const ALLOWANCE: Span = Span::minutes(15);
/// The most holds that one agent may have waiting; one more pauses it.
pub const MAX_WAITING: usize = 32;
/// A body above this many bytes is put aside while its hold waits, and is not stored: a crash forgets such a hold.
pub const LARGE_BODY: usize = 1024 * 1024;
/// What one agent's holds may take in memory: bodies that are not large, ids, texts. In bytes.
pub const MAX_MEMORY_EACH: usize = 16 * 1024 * 1024;
/// The same for all agents.
pub const MAX_MEMORY: usize = 64 * 1024 * 1024;
/// What the large bodies of one agent's holds may take, in bytes.
pub const MAX_ASIDE_EACH: usize = 128 * 1024 * 1024;
/// The same for all agents.
pub const MAX_ASIDE: usize = 256 * 1024 * 1024;
/// Denials in a row that pause an agent.
pub const DENIALS_TO_PAUSE: u32 = 3;
/// How long such a pause lasts.
pub const PAUSE: Span = Span::minutes(5);

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// The guard still reads what it is about.
    Preparing,
    /// Waiting for the person.
    Open,
    /// Its requester left; the person can still run it.
    Proposal,
    /// Allowed; its plan has not started.
    Allowed,
    /// Its plan started: it is consumed.
    Running,
    /// Its plan ended.
    Done,
    /// The person said no, or panic did.
    Denied,
    /// Nobody answered in time.
    Expired,
    /// The guard could not read what it is about.
    Failed,
}

impl State {
    /// Whether the person can still decide it.
    #[must_use]
    pub const fn waits(self) -> bool {
        matches!(self, Self::Preparing | Self::Open | Self::Proposal)
    }

    /// Whether it may still run: it waits, or was allowed and has not started.
    #[must_use]
    pub const fn can_run(self) -> bool {
        self.waits() || matches!(self, Self::Allowed)
    }
}

/// One object as the person sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldObject {
    /// The upstream's id.
    pub id: String,
    /// What the guard itself read; `None` while it reads.
    pub view: Option<View>,
}

/// How much a request takes while it waits, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Weight {
    /// In memory.
    pub memory: usize,
    /// Large bodies.
    pub aside: usize,
}

impl Weight {
    /// What a request would take.
    #[must_use]
    pub fn of(request: &Request) -> Self {
        request.parts.iter().fold(Self::default(), |sum, part| {
            let body = part.call.body.length();
            let (small, large) = if body > LARGE_BODY { (0, body) } else { (body, 0) };
            let texts: usize = part.operation.facts.iter().map(|fact| fact.value.len()).sum();
            let ids: usize = part.operation.objects.ids().iter().map(String::len).sum();
            let params: usize = part.params.iter().map(|(name, value)| name.len() + value.len()).sum();
            let memory = small.saturating_add(texts).saturating_add(ids).saturating_add(params);
            sum + Self { memory, aside: large }
        })
    }
}

impl std::ops::Add for Weight {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { memory: self.memory.saturating_add(other.memory), aside: self.aside.saturating_add(other.aside) }
    }
}

/// How an Allow was given.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Allowed {
    /// Only these objects; `None`: all.
    pub objects: Option<BTreeSet<String>>,
    /// Do not soften.
    pub forever: bool,
}

/// An operation that waits for the person.
#[derive(Debug, Clone)]
pub struct Hold {
    /// `h1`, `h2`, ...
    pub id: String,
    /// Over agent, account and the canonical operations with their exact objects.
    pub digest: Digest,
    /// Who asks.
    pub agent: String,
    /// Where.
    pub account: String,
    /// The frozen request: what is shown and what is executed.
    pub request: Request,
    /// The strictest Class of its parts.
    pub class: Class,
    /// Why it is asked.
    pub why: String,
    /// The agent's own words; untrusted.
    pub agent_reason: Option<String>,
    /// Program and parent chain, as far as the engine saw them.
    pub program: Vec<String>,
    /// All objects of all parts, without duplicates.
    pub objects: Vec<HeldObject>,
    /// Who is reached for the first time.
    pub first_time: BTreeSet<String>,
    /// Where it stands.
    pub state: State,
    /// When it opened.
    pub opened_at: Time,
    /// When it ends by itself.
    pub expires_at: Time,
    /// Requests that wait on the line.
    pub waiting: u32,
    /// A requester was given its answer.
    pub heard: bool,
    /// How many changes had begun on its account when it began to run.
    pub began: u64,
    /// How it was allowed.
    pub allowed: Option<Allowed>,
    /// The person said no, themselves: not a program for them, nor the end of a grant.
    pub refused: bool,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
}

impl Hold {
    /// What a hold is bound to.
    #[must_use]
    pub fn digest_of(agent: &str, account: &str, request: &Request) -> Digest {
        let parts: Vec<Digest> = request.parts.iter().map(|part| part.operation.canonical()).collect();
        let mut fields: Vec<&[u8]> = vec![b"hold", agent.as_bytes(), account.as_bytes()];
        fields.extend(parts.iter().map(|digest| digest.0.as_slice()));
        Digest::of(&fields)
    }

    /// Whether it may live on as a proposal, and may leave a task allowance: modify and remove only.
    #[must_use]
    pub fn is_gentle(&self) -> bool {
        self.request
            .parts
            .iter()
            .all(|part| matches!(part.operation.class, Class::Read | Class::Modify | Class::Remove))
    }

    /// Whether every object's view is there.
    #[must_use]
    pub fn is_prepared(&self) -> bool {
        self.objects.iter().all(|object| object.view.is_some())
    }

    /// How many objects the person is shown: the objects, or the number of parts that have none.
    #[must_use]
    pub fn count(&self) -> u32 {
        let bare = self.request.parts.iter().filter(|part| part.operation.objects == Objects::None).count();
        u32::try_from(self.objects.len() + bare).unwrap_or(u32::MAX)
    }

    /// Lets go of the bodies: what is over, or has been handed on, needs none.
    pub(crate) fn drop_bodies(&mut self) {
        for part in &mut self.request.parts {
            part.call.body = CallBody::Bytes(bytes::Bytes::new());
        }
    }

    /// What can be ticked: the objects, or the recipients of a mail.
    #[must_use]
    pub fn choices(&self) -> BTreeSet<&String> {
        match self.recipients() {
            Some(members) => members.into_iter().map(|member| &member.address).collect(),
            None => self.objects.iter().map(|object| &object.id).collect(),
        }
    }

    /// Of whom some may be left out.
    fn recipients(&self) -> Option<Vec<&Member>> {
        match self.request.parts.as_slice() {
            [part] => crate::classify::smtp::divisible(part),
            _ => None,
        }
    }

    /// Whether the objects, or a mail's recipients, can be ticked one by one.
    #[must_use]
    pub fn is_divisible(&self) -> bool {
        if self.recipients().is_some() {
            return true;
        }
        let whole =
            |part: &Part| crate::classify::dav::deed::is_whole(part) || crate::classify::imap::deed::is_whole(part);
        let splits = |part: &Part| !part.operation.objects.ids().is_empty() && !whole(part);
        self.objects.len() > 1 && self.request.parts.iter().all(splits)
    }
}

/// What an allowed hold may leave behind: the same agent may do the same to the objects that the person saw, or to what a rule matches that the person
/// read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Allowance {
    /// `t1`, `t2`, ...
    pub id: String,
    /// Who.
    pub agent: String,
    /// Where.
    pub account: String,
    /// The verb that the person read.
    pub verb: String,
    /// The Class that the person read.
    pub class: Class,
    /// What else the person read, such as which labels.
    pub facts: Vec<Fact>,
    /// The listed objects; each is used up by the operation that it allows.
    pub objects: BTreeSet<String>,
    /// Also whatever this matches.
    pub rule: Option<Rule>,
    /// The epoch that it belongs to.
    pub epoch: Epoch,
    /// When it ends.
    pub expires_at: Time,
}

impl Allowance {
    /// Whether the operation is what the person read, whatever its objects. One without facts does no more than its verb says.
    #[must_use]
    pub fn is_for(&self, operation: &Operation) -> bool {
        self.verb == operation.verb
            && self.class == operation.class
            && (operation.facts.is_empty() || self.facts == operation.facts)
    }

    /// Whether the operation is what the person read, on no other objects than the listed ones and those that `matched` says the rule matches.
    #[must_use]
    pub fn allows(&self, operation: &Operation, matched: impl Fn(&Rule, &String) -> bool) -> bool {
        let covers =
            |id: &String| self.objects.contains(id) || self.rule.as_ref().is_some_and(|rule| matched(rule, id));
        self.is_for(operation) && operation.objects.ids().iter().all(covers)
    }
}

/// A hold as stored: what is needed to propose it again after a restart. Sealed at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stored {
    id: String,
    digest: Digest,
    agent: String,
    account: String,
    parts: Vec<StoredPart>,
    batch: bool,
    class: Class,
    why: String,
    agent_reason: Option<String>,
    program: Vec<String>,
    opened_at: Time,
}

/// A part as stored. Sealed at rest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StoredPart {
    operation: Operation,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
    params: Vec<(String, String)>,
    content_id: Option<String>,
}

impl Stored {
    /// `None` if a part streams or has a large body: such a request is not kept.
    #[must_use]
    pub fn of(hold: &Hold) -> Option<Self> {
        if hold.request.parts.iter().any(|part| part.call.body.length() > LARGE_BODY) {
            return None;
        }
        let parts = hold.request.parts.iter().map(StoredPart::of).collect::<Option<Vec<_>>>()?;
        Some(Self {
            id: hold.id.clone(),
            digest: hold.digest,
            agent: hold.agent.clone(),
            account: hold.account.clone(),
            parts,
            batch: hold.request.batch,
            class: hold.class,
            why: hold.why.clone(),
            agent_reason: hold.agent_reason.clone(),
            program: hold.program.clone(),
            opened_at: hold.opened_at,
        })
    }

    /// The proposal it becomes; `None` when the stored bytes do not fit each other.
    #[must_use]
    pub fn into_proposal(self, proposal: Span, epoch: Epoch) -> Option<Hold> {
        let parts = self.parts.into_iter().map(StoredPart::into_part).collect::<Option<Vec<_>>>()?;
        let request = Request { parts, batch: self.batch };
        if Hold::digest_of(&self.agent, &self.account, &request) != self.digest {
            return None;
        }
        let objects = objects_of(&request.parts);
        Some(Hold {
            id: self.id,
            digest: self.digest,
            agent: self.agent,
            account: self.account,
            request,
            class: self.class,
            why: self.why,
            agent_reason: self.agent_reason,
            program: self.program,
            objects,
            first_time: BTreeSet::new(),
            state: State::Proposal,
            opened_at: self.opened_at,
            expires_at: self.opened_at + proposal,
            waiting: 0,
            heard: false,
            began: 0,
            allowed: None,
            refused: false,
            epoch,
        })
    }
}

impl StoredPart {
    /// `None` if the part streams, or its body was put aside: such a part can't be kept.
    #[must_use]
    pub fn of(part: &Part) -> Option<Self> {
        let CallBody::Bytes(body) = &part.call.body else { return None };
        Some(Self {
            operation: part.operation.clone(),
            method: part.call.method.to_string(),
            target: part.call.target.clone(),
            headers: part.call.headers.clone(),
            body: BASE64.encode(body),
            params: part.params.clone(),
            content_id: part.content_id.clone(),
        })
    }

    /// The part again; `None` when the stored bytes are not one.
    #[must_use]
    pub fn into_part(self) -> Option<Part> {
        let body = CallBody::Bytes(BASE64.decode(self.body).ok()?.into());
        let call = Call { method: self.method.parse().ok()?, target: self.target, headers: self.headers, body };
        Some(Part { operation: self.operation, call, params: self.params, content_id: self.content_id })
    }
}

/// All objects of all parts, without duplicates, not yet read.
#[must_use]
pub fn objects_of(parts: &[Part]) -> Vec<HeldObject> {
    let mut seen = BTreeSet::new();
    parts
        .iter()
        .flat_map(|part| part.operation.objects.ids())
        .filter(|id| seen.insert((*id).clone()))
        .map(|id| HeldObject { id: id.clone(), view: None })
        .collect()
}
