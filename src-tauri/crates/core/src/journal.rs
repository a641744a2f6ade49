//! The append-only, hash-chained record, and the writes that go with it.
//!
//! ```text
//!   Commit { records, charges, puts, deletes }  ── one SQLite transaction ──> Receipt { seq }
//!   hash(n) = SHA-256(hash(n-1), seq, fields of record n, SHA-256(object text of record n))
//! ```
//! The chain covers the hash of the object text and not the text, so that the text can be erased later.

use serde::{Deserialize, Serialize};

use crate::call::Digest;
use crate::operation::{Class, Meter};
use crate::time::Time;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The engine started; its parent chain is in the text.
    Start,
    /// The engine stopped in order.
    Stop,
    /// A request was refused by policy.
    Forbidden,
    /// A request was refused for another reason (bad token, bad request).
    Refused,
    /// A read that ran.
    Read,
    /// A hold opened.
    Hold,
    /// A hold was decided or expired.
    Verdict,
    /// A call is about to leave.
    Intent,
    /// What became of an intent.
    Outcome,
    /// Something was put back.
    Undo,
    /// Everything was stopped.
    Panic,
    /// Something goes on.
    Resume,
    /// An account, agent, grant, rule or setting changed.
    Change,
    /// An access token was issued or revoked.
    Token,
    /// Something the person should know.
    Alert,
}

/// One record. Credentials never stand in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Wall time, milliseconds since the Unix epoch.
    pub wall: u64,
    /// The guard's clock; the largest one stored is the high-water mark.
    pub time: Time,
    /// What it is about.
    pub kind: Kind,
    /// Who.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Where.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The provider's action name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    /// Its Class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<Class>,
    /// Objects.
    #[serde(default)]
    pub count: u32,
    /// A plain sentence without object text.
    pub text: String,
    /// The record that it answers: an outcome's intent, a verdict's hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refers: Option<u64>,
    /// The digest of the operation or call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// The undo entry that it made possible.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
    /// Object text (subjects, senders): sealed at rest, erased after some days. Not in exports without the vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_text: Option<String>,
}

/// Objects counted on a meter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Who.
    pub agent: String,
    /// Where.
    pub account: String,
    /// On what.
    pub meter: Meter,
    /// When, on the guard's clock.
    pub time: Time,
    /// How many objects.
    pub count: u32,
}

/// The kinds of stored documents; each is a name space of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shelf {
    /// Accounts with their origins, without credentials.
    Account,
    /// Credentials: always sealed.
    Credential,
    /// Agents with the hash of their pairing secret.
    Agent,
    /// Grants.
    Grant,
    /// Settings and the approved digest of the rules.
    Setting,
    /// The person's rules.
    Rules,
    /// Holds and proposals that survive a restart.
    Hold,
    /// Undo entries: sealed.
    Undo,
    /// Mails that wait: sealed.
    Outbox,
    /// Addresses that the person wrote to before.
    Known,
    /// The panic flag, the epoch and who is stopped.
    State,
    /// The mails whose leaving stops everything, by account.
    Phone,
}

/// A document to store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Put {
    /// Where.
    pub shelf: Shelf,
    /// Under which id.
    pub id: String,
    /// JSON. Sealed at rest on the shelves that say so.
    pub value: serde_json::Value,
}

/// Everything that becomes durable together, or not at all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Commit {
    /// Appended to the chain in this order.
    pub records: Vec<Record>,
    /// Budget charges.
    pub charges: Vec<Charge>,
    /// Documents to store or replace.
    pub puts: Vec<Put>,
    /// Documents to forget.
    pub deletes: Vec<(Shelf, String)>,
}

impl Commit {
    /// Adds another commit's writes after its own.
    pub fn extend(&mut self, other: Self) {
        self.records.extend(other.records);
        self.charges.extend(other.charges);
        self.puts.extend(other.puts);
        self.deletes.extend(other.deletes);
    }
}

/// The chain's next hash.
#[must_use]
pub fn chain(previous: &Digest, seq: u64, record: &Record) -> Digest {
    let text = Digest::of(&[record.object_text.as_deref().unwrap_or_default().as_bytes()]);
    chain_with_text(previous, seq, record, &text)
}

/// The chain's next hash where the object text was erased and only its hash is left.
#[must_use]
pub fn chain_with_text(previous: &Digest, seq: u64, record: &Record, text: &Digest) -> Digest {
    let wall = record.wall.to_be_bytes();
    let time = record.time.0.to_be_bytes();
    let count = record.count.to_be_bytes();
    let seq = seq.to_be_bytes();
    let refers = record.refers.unwrap_or_default().to_be_bytes();
    let digest = record.digest.map(|digest| digest.0).unwrap_or_default();
    let agent = record.agent.as_deref().unwrap_or_default();
    let account = record.account.as_deref().unwrap_or_default();
    let action = record.action.as_deref().unwrap_or_default();
    let undo = record.undo.as_deref().unwrap_or_default();
    Digest::of(&[
        &previous.0,
        &seq,
        &wall,
        &time,
        kind_name(record.kind).as_bytes(),
        agent.as_bytes(),
        account.as_bytes(),
        action.as_bytes(),
        record.class.map_or("", Class::name).as_bytes(),
        &count,
        record.text.as_bytes(),
        &refers,
        &digest,
        undo.as_bytes(),
        &text.0,
    ])
}

/// A kind's kebab-case name.
#[must_use]
pub const fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Start => "start",
        Kind::Stop => "stop",
        Kind::Forbidden => "forbidden",
        Kind::Refused => "refused",
        Kind::Read => "read",
        Kind::Hold => "hold",
        Kind::Verdict => "verdict",
        Kind::Intent => "intent",
        Kind::Outcome => "outcome",
        Kind::Undo => "undo",
        Kind::Panic => "panic",
        Kind::Resume => "resume",
        Kind::Change => "change",
        Kind::Token => "token",
        Kind::Alert => "alert",
    }
}
