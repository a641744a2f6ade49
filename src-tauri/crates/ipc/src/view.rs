//! What a person is shown: plain data, generated as TypeScript for the windows. No credential ever stands here.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::contract::Verdict;

/// What kind of effect an operation has, in rising order of care.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum Class {
    /// Looks, changes nothing.
    Read,
    /// Changes something that the journal can put back.
    Modify,
    /// Takes out of sight; the upstream still has it.
    Remove,
    /// No route matches or the body can't be read.
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

/// One object of an operation, as the guard itself read it from the upstream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct ObjectView {
    /// The upstream's id.
    pub id: String,
    /// A mail's subject, a file's name.
    pub title: String,
    /// Who it is from, as the upstream has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// When, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date: Option<String>,
    /// `starred`, `unread`, `important`, `replied`, `attachment`, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Filled while the preview is still being read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pending: bool,
}

/// Who will see or gain what.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AudienceView {
    /// Everyone who is reached.
    pub members: Vec<AudienceMember>,
    /// A place instead of persons: `#general, 512 members`, `anyone with the link`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<String>,
}

/// One who is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AudienceMember {
    /// The address or account name.
    pub address: String,
    /// `to`, `cc`, `bcc`, `forward`, `delegate`, ...
    pub role: String,
    /// Nobody there had mail from the person before.
    pub first_time: bool,
}

/// How an operation could be taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum Reversible {
    /// Undo puts it back.
    Yes,
    /// It is softened first (to the Trash); undo puts it back.
    Softened,
    /// Only a sealed copy brings it back, under a new id.
    ByCopy,
    /// It can be cancelled until the delay has passed.
    UntilSent,
    /// Not at all.
    No,
    /// Nobody knows what it does.
    Unknown,
}

/// A fact of the decoded request, shown line by line (a filter's criteria, a new setting, a mail's text).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Fact {
    /// What it is: `Subject`, `Text`, `Forward to`, ...
    pub label: String,
    /// Its value, plain text.
    pub value: String,
}

/// Counts over all objects of a hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Summary {
    /// Senders with their number of objects, most first, at most 50.
    pub senders: Vec<SenderCount>,
    /// Earliest date, RFC 3339.
    pub oldest: Option<String>,
    /// Latest date, RFC 3339.
    pub newest: Option<String>,
    /// How many are starred.
    pub starred: u32,
    /// How many are unread.
    pub unread: u32,
    /// How many are marked important.
    pub important: u32,
}

/// A sender and how many objects are theirs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct SenderCount {
    /// As the mails say.
    pub sender: String,
    /// Objects.
    pub count: u32,
}

/// What an agent did lately.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct RecentView {
    /// Objects touched by Class in the last hour, reads left out.
    pub last_hour: Vec<ClassCount>,
    /// Denied in the last hour.
    pub denied: u32,
}

/// A Class and a number of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct ClassCount {
    /// The Class.
    pub class: Class,
    /// Objects.
    pub count: u32,
}

/// Where a hold stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum HoldState {
    /// The guard still reads what it is about; Allow is refused.
    Preparing,
    /// Waiting for the person.
    Open,
    /// Its requester left; the person can still run it (modify and remove only).
    Proposal,
    /// Allowed whole.
    Allowed,
    /// Allowed for some of the objects.
    AllowedInPart,
    /// Denied.
    Denied,
    /// Nobody answered in time.
    Expired,
}

/// A held operation, for the list and the dialog.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct HoldView {
    /// `h1`, `h2`, ...
    pub id: String,
    /// Lower-case hex SHA-256 over agent, account and the canonical operation; a decision must repeat it.
    pub digest: String,
    /// The agent's id.
    pub agent: String,
    /// The agent's name as the person gave it.
    pub agent_name: String,
    /// Program and parent chain, as far as the engine could see them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub program: Vec<String>,
    /// The Class shown.
    pub class: Class,
    /// The account's id.
    pub account: String,
    /// What happens, a verb: `Trash`, `Delete for ever`, `Send`, `Forward`.
    pub verb: String,
    /// What is not allowed then, for the other button: `Keep them`, `Don't send`.
    pub keep: String,
    /// What the objects are called, for one and for several: `message`, `messages`.
    pub noun: [String; 2],
    /// How many objects.
    pub count: u32,
    /// The objects asked for; all of them, or one page.
    pub objects: Vec<ObjectView>,
    /// Counts over all objects.
    pub summary: Summary,
    /// What else the request says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub facts: Vec<Fact>,
    /// Who is reached or gains access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceView>,
    /// Whether and how it can be taken back.
    pub reversible: Reversible,
    /// The same in a sentence: `Undo moves them back out of the Trash.`
    pub undo_text: String,
    /// The agent's own words, at most 200 characters; untrusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_reason: Option<String>,
    /// Why the guard asks: `over its budget of 5 in 10 minutes`.
    pub why: String,
    /// May be allowed for a part of the objects. Where there are none, of the audience: `objects` of the answer are addresses then.
    pub partial: bool,
    /// May leave a task allowance.
    pub task_scope: bool,
    /// Rules that a task allowance may have besides the objects; for the owner only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleView>,
    /// A denial can be remembered.
    #[serde(default)]
    pub memorable: bool,
    /// `for ever` may be chosen.
    pub forever: bool,
    /// The count must be retyped when `for ever` is chosen or the Class demands it.
    pub retype: bool,
    /// Where it stands.
    pub state: HoldState,
    /// RFC 3339.
    pub opened_at: String,
    /// RFC 3339.
    pub expires_at: String,
    /// Somebody waits on the line; otherwise it runs when the agent asks again.
    pub waiting: bool,
    /// A front end may ask the person by itself now; otherwise it waits in the list until it may, or until the person looks.
    #[serde(default = "yes")]
    pub prompt: bool,
    /// What this agent did lately.
    pub recent: RecentView,
}

/// A rule that an Allow may have.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct RuleView {
    /// To be repeated in the decision.
    pub id: String,
    /// `any mail from news@shop.example, in the Inbox, older than 30 days`; never starred ones.
    pub text: String,
}

/// An answer of the person that goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AnswerView {
    /// `t1`, ... for an allowance, `d1`, ... for a denial.
    pub id: String,
    /// What was answered.
    pub verdict: Verdict,
    /// To whom.
    pub agent: String,
    /// Where.
    pub account: String,
    /// To which request: its verb, such as `Trash`.
    pub verb: String,
    /// On what, in words.
    pub text: String,
    /// RFC 3339; absent: until taken back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// An account, without its credential.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AccountView {
    /// Chosen by the person.
    pub id: String,
    /// The provider file's id.
    pub provider: String,
    /// The person's own mail address there, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// `scheme://host:port` that the credential is sealed to.
    pub origin: String,
    /// The same for the server that its mail is sent through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sends_through: Option<String>,
    /// Its mailbox for deleted mail, as the mail server names it; absent as long as that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trash: Option<String>,
    /// The same for sent mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent: Option<String>,
    /// Where its mail filters live, if they are within reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filters_at: Option<String>,
    /// `bearer`, `password` or `oauth2`.
    pub credential: String,
    /// Why it does not work at the moment, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing: Option<String>,
    /// The provider's own page for ending access by hand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_out_page: Option<String>,
}

/// A connected client program.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AgentView {
    /// Chosen by the person.
    pub id: String,
    /// Its OAuth client id here.
    pub client_id: String,
    /// For people.
    pub name: String,
    /// The program it was connected with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
    /// What it may do.
    pub grants: Vec<GrantView>,
    /// Live tokens.
    pub tokens: u32,
    /// When its last token ends, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<String>,
    /// Waits for Resume after a panic.
    pub stopped: bool,
    /// Paused until, after repeated denials; RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused_until: Option<String>,
    /// What it did lately.
    pub recent: RecentView,
}

/// What an agent may do with one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct GrantView {
    /// `g1`, `g2`, ...
    pub id: String,
    /// The agent.
    pub agent: String,
    /// The account.
    pub account: String,
    /// `read-only`, `organize`, `assistant`, `ask-everything`.
    pub preset: String,
    /// The same in a sentence.
    pub summary: String,
    /// RFC 3339; absent: until revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<String>,
}

/// A line of the activity view.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct RecordView {
    /// The journal's sequence number.
    pub seq: u64,
    /// RFC 3339, wall time.
    pub at: String,
    /// `decision`, `intent`, `outcome`, `hold`, `verdict`, `panic`, `resume`, `grant`, `undo`, ...
    pub kind: String,
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
    pub count: u32,
    /// A plain sentence without object text.
    pub text: String,
    /// The undo entry, where it can be undone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<String>,
}

/// Something that undo can put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct UndoView {
    /// `u1`, `u2`, ...
    pub entry: String,
    /// Who did it.
    pub agent: String,
    /// Where.
    pub account: String,
    /// What was done, in past tense: `Trashed 12 messages`.
    pub text: String,
    /// RFC 3339.
    pub at: String,
    /// Objects.
    pub count: u32,
    /// Already undone, wholly or in part.
    pub undone: bool,
    /// What undo can't bring back, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<String>,
}

/// Something that arrived over the control socket and needs the owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct AskView {
    /// `a1`, `a2`, ...
    pub id: String,
    /// `connect`, `access`, `undo`, `phone`.
    pub kind: String,
    /// A plain sentence.
    pub text: String,
    /// Program and parent chain of the asking process.
    pub program: Vec<String>,
    /// RFC 3339.
    pub expires_at: String,
    /// As for a hold.
    #[serde(default = "yes")]
    pub prompt: bool,
}

const fn yes() -> bool {
    true
}

/// A mail that waits in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct OutboxView {
    /// `o1`, `o2`, ...
    pub id: String,
    /// Who sends.
    pub agent: String,
    /// From where.
    pub account: String,
    /// Its subject.
    pub subject: String,
    /// Its recipients.
    pub recipients: Vec<String>,
    /// When it leaves, RFC 3339.
    pub sends_at: String,
    /// Held back by a panic, or overdue after a restart.
    pub frozen: bool,
}

/// The quarantine: its size, and what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct QuarantineView {
    /// Sealed copies.
    pub items: u32,
    /// Bytes used.
    pub bytes: u64,
    /// Bytes allowed; when full, destroying is refused.
    pub limit: u64,
    /// What they are of, newest first.
    #[serde(default)]
    pub entries: Vec<QuarantineEntry>,
}

/// The copies that one undo would put back.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct QuarantineEntry {
    /// What was done, if that is still known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undo: Option<UndoView>,
    /// Copies.
    pub items: u32,
    /// What they take, in bytes.
    pub bytes: u64,
}

/// What a panic cut.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct CutView {
    /// Agents' and upstreams' connections.
    pub connections: u32,
    /// Access tokens.
    pub tokens: u32,
    /// Holds and task allowances.
    pub holds: u32,
}

/// Where the engine's doors are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct DoorsView {
    /// `http://127.0.0.1:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<String>,
    /// `127.0.0.1:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<String>,
    /// `127.0.0.1:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<String>,
    /// `127.0.0.1:PORT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sieve: Option<String>,
    /// The control socket's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub control: Option<String>,
}

/// What `status` tells anybody who may ask; no object text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct StatusView {
    /// The program's version.
    pub version: String,
    /// Where its state lives.
    pub home: String,
    /// Where agents connect.
    pub doors: DoorsView,
    /// `keyring`, `passphrase` or `memory`.
    pub vault: String,
    /// The vault needs its passphrase, or the keyring is locked.
    pub vault_locked: bool,
    /// Why it is locked, and what to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault_why: Option<String>,
    /// Stopped by a panic, or started as such.
    pub panicked: bool,
    /// Why it is panicked, in a sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub panicked_why: Option<String>,
    /// `tray`, `terminal` or `none`: who answers holds.
    pub owner: String,
    /// Number of accounts.
    pub accounts: u32,
    /// Number of agents.
    pub agents: u32,
    /// Holds that wait.
    pub waiting: u32,
    /// Every account in which a mail can stop everything, and whether it is watched.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phone: Vec<crate::phone::PhoneView>,
    /// Who started an engine here as owner: the present one first, then what else did in the last week, with parent chains.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub starts: Vec<String>,
    /// What the person should know: a variable removed from the environment, a rule not used, ...
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}
