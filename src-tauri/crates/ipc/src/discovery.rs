//! What was found for a mail address. The person sees it, host by host, before a password goes anywhere.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::contract::MailTls;

/// `account.discover`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AccountDiscoverParams {
    /// `you@example.org`.
    pub address: String,
}

/// The servers of a mail address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct DiscoveredView {
    /// The address, its domain as it is looked up.
    pub address: String,
    /// A short free name for the account.
    pub id: String,
    /// The provider file's id for `account.add`.
    pub provider: String,
    /// The provider for people: `Fastmail`; absent where it is nobody known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The user name that the servers most likely want.
    pub username: String,
    /// Which password is wanted.
    pub password: PasswordKind,
    /// How the person gets it, in sentences.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
    /// The page for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Where mail is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imap: Option<FoundServer>,
    /// Where it is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<FoundServer>,
    /// Where filters live.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sieve: Option<FoundServer>,
    /// Where calendars are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caldav: Option<String>,
    /// Where address books are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub carddav: Option<String>,
    /// What the person should know of how it was found, in sentences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A server that was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct FoundServer {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is encrypted.
    pub tls: MailTls,
    /// How it was found.
    pub by: FoundBy,
    /// It is not under the address's own domain: only the person can say that it is the right one (RFC 6186 section 6).
    pub outside: bool,
    /// Why it does not answer as it should, if it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
}

/// How a server was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum FoundBy {
    /// Latchstring ships with it.
    Known,
    /// The domain says so itself (RFC 6186).
    Domain,
    /// Who takes the domain's mail is known.
    Exchanger,
    /// A usual name, which answered.
    Guess,
}

/// Which password a provider takes from a mail program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "lowercase")]
#[ts(export)]
pub enum PasswordKind {
    /// Nobody knows.
    Unknown,
    /// The account's own.
    Own,
    /// One made for this program.
    App,
    /// The own one, or one made for this program where sign-in has two steps.
    Either,
    /// That of a program on this machine.
    Bridge,
    /// None: a sign-in by OAuth 2.0.
    OAuth,
    /// No mail program can get in.
    None,
}
