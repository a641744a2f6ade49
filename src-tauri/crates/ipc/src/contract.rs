//! Every method of the owner channel and of the control socket.
//!
//! The control socket serves only those whose [`Method::REDUCES`] is true; anything else asked there ends as an ask to the owner or is refused.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use ts_rs::TS;

use crate::discovery::{AccountDiscoverParams, DiscoveredView};
pub use crate::journal::{JournalOwnParams, JournalTailParams, JournalVerified};
use crate::phone::{PhoneStopParams, PhoneView};
use crate::secret::Secret;
use crate::view::{
    AccountView, AgentView, AnswerView, AskView, CutView, DoorsView, GrantView, HoldState, HoldView, OutboxView,
    QuarantineView, RecordView, StatusView, UndoView,
};

/// A method: its name, parameters and result.
pub trait Method {
    /// The JSON-RPC method name.
    const NAME: &'static str;
    /// May be called over the control socket: it reads status or reduces authority.
    const REDUCES: bool;
    /// By-name parameters.
    type Params: Serialize + DeserializeOwned + Send;
    /// What it returns.
    type Result: Serialize + DeserializeOwned + Send;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $marker:ident = $name:literal $reach:ident: $params:ty => $result:ty;)*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy)]
            pub struct $marker;
            impl Method for $marker {
                const NAME: &'static str = $name;
                const REDUCES: bool = methods!(@ $reach);
                type Params = $params;
                type Result = $result;
            }
        )*
        /// Every method's name with whether the control socket serves it.
        pub const METHODS: &[(&str, bool)] = &[$(($name, methods!(@ $reach))),*];
    };
    (@ owner) => { false };
    (@ anyone) => { true };
}

methods! {
    /// First call on a channel.
    HelloCall = "hello" anyone: Hello => Welcome;
    /// Status without object text.
    StatusCall = "status" anyone: Empty => StatusView;
    /// Opens a passphrase vault, or creates it at first use; for a keyring vault: looks again whether the keyring is open.
    VaultUnlock = "vault.unlock" owner: Unlock => Empty;
    /// Seals a credential and its origin.
    AccountAdd = "account.add" owner: AccountAddParams => Id;
    /// Looks for the servers of a mail address; no password is needed, none is sent.
    AccountDiscover = "account.discover" owner: AccountDiscoverParams => DiscoveredView;
    /// Every account, without credentials.
    AccountList = "account.list" anyone: Empty => Vec<AccountView>;
    /// Forgets an account and its credential.
    AccountRemove = "account.remove" owner: Id => Empty;
    /// Signs out at the provider: its tokens end there, where the provider has a way (RFC 7009). Works while panicked.
    AccountSignOut = "account.sign_out" owner: Id => SignedOut;
    /// Leaves a mail in an account's inbox whose leaving it stops everything, or takes it away.
    PhoneStop = "phone.stop" owner: PhoneStopParams => PhoneView;
    /// Connects a client program.
    AgentConnect = "agent.connect" owner: AgentConnectParams => AgentConnected;
    /// Every agent; over the control socket without programs and history.
    AgentList = "agent.list" anyone: Empty => Vec<AgentView>;
    /// Ends an agent: its tokens, grants and pairing secret. Reduces.
    AgentRevoke = "agent.revoke" anyone: Id => Empty;
    /// What waits for the owner besides holds.
    AskList = "ask.list" owner: Empty => Vec<AskView>;
    /// Answers an ask.
    AskDecide = "ask.decide" owner: AskDecideParams => Value;
    /// Gives or replaces a grant.
    GrantPut = "grant.put" owner: GrantPutParams => GrantPutResult;
    /// Takes a grant away.
    GrantRevoke = "grant.revoke" anyone: Id => Empty;
    /// An access token; over the control socket only for the agent that the peer is paired as.
    TokenIssue = "token.issue" anyone: TokenIssueParams => TokenIssued;
    /// Revokes all tokens of an agent, or one token.
    TokenRevoke = "token.revoke" anyone: TokenRevokeParams => Empty;
    /// Every hold that waits, without facts and with at most 20 objects each; over the control socket without object text.
    HoldList = "hold.list" anyone: Empty => Vec<HoldView>;
    /// One hold with all objects, or a page; over the control socket without object text.
    HoldGet = "hold.get" anyone: HoldGetParams => HoldView;
    /// Decides a hold.
    HoldDecide = "hold.decide" owner: HoldDecideParams => HoldDecided;
    /// Denies a hold; all that the control socket may do with one.
    HoldDeny = "hold.deny" anyone: Id => HoldDecided;
    /// The person is looking at a hold: its time starts again, for at most 30 minutes more in all.
    HoldTouch = "hold.touch" owner: Id => HoldTouched;
    /// What the person answered for longer: task allowances and remembered denials.
    AnswerList = "answer.list" owner: Empty => Vec<AnswerView>;
    /// Takes such an answer back: what it allowed or denied is asked about again.
    AnswerForget = "answer.forget" owner: Id => Empty;
    /// What can be undone, newest first.
    UndoList = "undo.list" owner: UndoListParams => Vec<UndoView>;
    /// Puts back.
    UndoRun = "undo.run" owner: UndoRunParams => UndoResult;
    /// Stops everything.
    PanicCall = "panic" anyone: Empty => PanicResult;
    /// Lets one agent, or the owner's own work, go on.
    Resume = "resume" owner: ResumeParams => Empty;
    /// What waits to be sent.
    OutboxList = "outbox.list" owner: Empty => Vec<OutboxView>;
    /// Takes a mail back before it leaves.
    OutboxCancel = "outbox.cancel" owner: Id => Empty;
    /// The quarantine: how full it is and of what.
    QuarantineList = "quarantine.list" owner: Empty => QuarantineView;
    /// Erases all sealed copies.
    QuarantineClear = "quarantine.clear" owner: Empty => QuarantineView;
    /// The person's rules, as Cedar text.
    RulesGet = "rules.get" owner: Empty => RulesText;
    /// Checks and stores the person's rules.
    RulesPut = "rules.put" owner: RulesText => Empty;
    /// The newest records.
    JournalTail = "journal.tail" owner: JournalTailParams => Vec<RecordView>;
    /// One agent's own records, newest first; over the control socket only those of the agent that the peer is paired as. No object text.
    JournalOwn = "journal.own" anyone: JournalOwnParams => Vec<RecordView>;
    /// Checks the hash chain.
    JournalVerify = "journal.verify" owner: Empty => JournalVerified;
    /// Everything adjustable.
    SettingsGet = "settings.get" owner: Empty => Settings;
    /// Replaces the given fields.
    SettingsSet = "settings.set" owner: Value => Settings;
}

/// Nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Empty {}

/// An id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id {
    /// Of what the method is about.
    pub id: String,
}

/// `hello`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Hello {
    /// [`crate::PROTOCOL`].
    pub protocol: u32,
}

/// What `hello` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Welcome {
    /// The engine's protocol number.
    pub protocol: u32,
    /// The engine's version.
    pub version: String,
    /// Its home folder.
    pub home: String,
    /// Its doors.
    pub doors: DoorsView,
    /// Whether it is stopped.
    pub panicked: bool,
    /// The vault needs a passphrase (`vault.unlock`).
    #[serde(default)]
    pub vault_locked: bool,
}

/// `vault.unlock`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Unlock {
    /// The person's passphrase; not needed for a keyring vault.
    #[serde(default)]
    pub passphrase: Secret,
}

/// `account.add`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountAddParams {
    /// Letters, digits, `-`, `_`, `.`; at most 64. Stands in agents' URLs.
    pub id: String,
    /// A provider file's id.
    pub provider: String,
    /// Where it is.
    #[serde(default)]
    pub upstream: UpstreamParams,
    /// The person's own mail address there, where it is known: agents' mails are seen from it. When absent the user name, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What opens it.
    pub credential: CredentialParams,
    /// Whether it is tried first: what does not open the account is not kept. Front ends for people say true.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub check: bool,
}

/// Where an account is. Plain upstreams are accepted on loopback only.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UpstreamParams {
    /// Replaces the provider's own base URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// The mail server of an account that is reached over IMAP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<MailServerParams>,
    /// The submission server of such an account; without one it sends no mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<MailServerParams>,
    /// The server of its mail filters (ManageSieve); without one they are out of reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sieve: Option<MailServerParams>,
}

/// A mail server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct MailServerParams {
    /// Its name or address.
    pub host: String,
    /// Its port; when absent 993 for implicit TLS and 143 otherwise, for submission 465 and 587, for
    /// mail filters 4190.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// How it is encrypted.
    #[serde(default)]
    pub tls: MailTls,
    /// Who logs in there with a token; a password credential has its own user name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// How a connection to a mail server is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum MailTls {
    /// From the first byte.
    #[default]
    Implicit,
    /// STARTTLS, or nothing is said.
    StartTls,
    /// Not at all: on this machine only.
    None,
}

/// A credential on its way in.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum CredentialParams {
    /// Sent as `Authorization: Bearer`.
    Bearer {
        /// The token.
        token: Secret,
    },
    /// A user name and password.
    Password {
        /// The user name.
        username: String,
        /// The password.
        password: Secret,
    },
    /// Refreshed at the provider (RFC 6749 section 6).
    #[serde(rename = "oauth2")]
    OAuth2 {
        /// The person's own client.
        client_id: String,
        /// Its secret, where it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        client_secret: Option<Secret>,
        /// The refresh token.
        refresh_token: Secret,
        /// Where to refresh it; sealed beside the credential.
        token_endpoint: String,
    },
}

/// What `account.sign_out` did.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct SignedOut {
    /// The provider took it: the credential is no longer good, or soon won't be.
    pub done: bool,
    /// What is known of it.
    pub state: SignOutState,
    /// The same, or what the person can do instead, in a sentence.
    pub text: String,
}

/// How far signing out came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "snake_case")]
#[ts(export)]
pub enum SignOutState {
    /// Asked again, the provider no longer knew the credential.
    Revoked,
    /// The provider took it, and does not tell whether it is in force (RFC 7009 section 2.2 lets it).
    Accepted,
    /// The person has to end it on the provider's own page.
    ByHand,
}

/// `agent.connect`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentConnectParams {
    /// Letters, digits, `-`, `_`, `.`; at most 64.
    pub id: String,
    /// For people; at most 80 characters.
    pub name: String,
    /// Its program's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<String>,
}

/// What `agent.connect` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AgentConnected {
    /// The agent.
    pub id: String,
    /// Its OAuth client id here.
    pub client_id: String,
    /// Buys only this agent's tokens; shown once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_secret: Option<Secret>,
}

/// `ask.decide`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AskDecideParams {
    /// The ask.
    pub id: String,
    /// Yes or no.
    pub verdict: Verdict,
}

/// The person's answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum Verdict {
    /// Let it happen.
    Allow,
    /// Don't.
    Deny,
}

/// How far an Allow reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum Scope {
    /// This operation.
    #[default]
    Once,
    /// Also what the agent does for the same objects in the next 15 minutes.
    Task,
}

/// How long a denial is remembered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum Remember {
    /// 15 minutes.
    Task,
    /// Until the person takes it back (`answer.forget`).
    Always,
}

/// `grant.put`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantPutParams {
    /// To whom.
    pub agent: String,
    /// On what.
    pub account: String,
    /// `read-only`, `organize`, `assistant`, `ask-everything`.
    pub preset: String,
    /// RFC 9396 details that narrow or name more; see latch-core's `grant`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization_details: Option<Value>,
    /// Meter name to `[per 10 minutes, per 24 hours]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budgets: Option<BTreeMap<String, [u32; 2]>>,
    /// Seconds; absent: until revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
}

/// What `grant.put` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GrantPutResult {
    /// The grant as it stands now.
    pub grant: GrantView,
}

/// `token.issue`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct TokenIssueParams {
    /// For whom; over the control socket it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Seconds, at most 3600; 900 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<u64>,
    /// Over the control socket, where the peer can't be recognised by its process chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_secret: Option<Secret>,
}

/// An access token (RFC 6749 section 5.1).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenIssued {
    /// Opaque.
    pub access_token: Secret,
    /// Always `Bearer`.
    pub token_type: String,
    /// Seconds.
    pub expires_in: u64,
}

/// `token.revoke`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct TokenRevokeParams {
    /// All of this agent's tokens.
    pub agent: String,
}

/// `hold.get`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldGetParams {
    /// The hold.
    pub id: String,
    /// First object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u32>,
    /// How many objects; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `hold.decide`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldDecideParams {
    /// The hold.
    pub id: String,
    /// What the person saw; refused when it is not the hold's digest any more.
    pub digest: String,
    /// The answer.
    pub verdict: Verdict,
    /// Only these objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Vec<String>>,
    /// How far it reaches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// With `scope` `task`: the id of a rule that the hold offers; the allowance then covers what the rule says, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// With `deny`, where the hold is `memorable`: requests of the same kind are denied at once from now on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remember: Option<Remember>,
    /// Do not soften.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forever: Option<bool>,
    /// Demanded where the view says `retype`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retyped_count: Option<u32>,
    /// `dialog` (default), `notification`, `terminal`, `script`: said in the journal; a notification can decide less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// What a decision led to.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldDecided {
    /// The hold's state now.
    pub state: HoldState,
}

/// What `hold.touch` answers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct HoldTouched {
    /// When it ends by itself now; RFC 3339.
    pub expires_at: String,
}

/// `undo.list`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct UndoListParams {
    /// At most this many; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// `undo.run`: one entry, or all of an agent since a while ago.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UndoRunParams {
    /// One entry.
    Entry {
        /// `u1`, ...
        entry: String,
    },
    /// All of an agent's.
    Agent {
        /// The agent.
        agent: String,
        /// `30m`, `1h`, `2d`.
        since: String,
    },
}

/// What undo did.
#[derive(Debug, Clone, Default, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct UndoResult {
    /// Objects put back.
    pub restored: u32,
    /// Objects left alone, and why.
    pub not_restored: Vec<NotRestored>,
    /// What is not as before although it was put back (a new id), a sentence each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An object that undo left alone.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct NotRestored {
    /// Its id.
    pub object: String,
    /// A sentence.
    pub why: String,
}

/// What panic did.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct PanicResult {
    /// The new epoch.
    pub epoch: u64,
    /// What was cut.
    pub cut: CutView,
}

/// `resume`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ResumeParams {
    /// One agent; absent: every agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// With which preset; `read-only` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<String>,
}

/// `rules.get`, `rules.put`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RulesText {
    /// Cedar policies.
    pub text: String,
}

/// Everything adjustable, with its default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(default, deny_unknown_fields)]
#[ts(export)]
pub struct Settings {
    /// Seconds that an HTTP request waits inline for the person; 25.
    pub http_wait_seconds: u32,
    /// Seconds that a hold lives; 600.
    pub hold_seconds: u32,
    /// Hours that a proposal stays; 24.
    pub proposal_hours: u32,
    /// Seconds that a sent mail can be cancelled; 60.
    pub outbox_seconds: u32,
    /// Seconds that an access token lives; 900.
    pub token_seconds: u32,
    /// Quarantine bound in MiB; 512.
    pub quarantine_mib: u32,
    /// Days after which object text in the journal is erased; 90.
    pub object_text_days: u32,
    /// The keys that stop everything from anywhere on the desktop, such as `Ctrl+Alt+Shift+P`; empty: none.
    pub panic_keys: String,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            http_wait_seconds: 25,
            hold_seconds: 600,
            proposal_hours: 24,
            outbox_seconds: 60,
            token_seconds: 900,
            quarantine_mib: 512,
            object_text_days: 90,
            panic_keys: "Ctrl+Alt+Shift+P".to_owned(),
        }
    }
}

/// What the engine tells without being asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct Event {
    /// What happened.
    pub kind: EventKind,
    /// To which hold, ask or account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// A plain sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl Event {
    /// The notification's method name.
    pub const METHOD: &'static str = "event";
}

/// The kinds of notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub enum EventKind {
    /// A hold waits.
    #[serde(rename = "hold.opened")]
    HoldOpened,
    /// A hold changed: its preview grew, a joiner came or left.
    #[serde(rename = "hold.changed")]
    HoldChanged,
    /// A hold waits no longer.
    #[serde(rename = "hold.closed")]
    HoldClosed,
    /// An ask waits.
    #[serde(rename = "ask.opened")]
    AskOpened,
    /// Everything was stopped.
    #[serde(rename = "panic")]
    Panic,
    /// Something goes on.
    #[serde(rename = "resumed")]
    Resumed,
    /// The vault is open now.
    #[serde(rename = "vault.opened")]
    VaultOpened,
    /// An account does not work.
    #[serde(rename = "account.failing")]
    AccountFailing,
    /// A mail waits in, or left, the outbox.
    #[serde(rename = "outbox.changed")]
    OutboxChanged,
    /// The mail that stops everything is watched, or can't be at the moment.
    #[serde(rename = "phone.changed")]
    PhoneChanged,
    /// An agent was paused after repeated denials.
    #[serde(rename = "agent.paused")]
    AgentPaused,
    /// The drill's story goes on.
    #[serde(rename = "told")]
    Told,
}
