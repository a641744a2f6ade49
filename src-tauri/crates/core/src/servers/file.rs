//! The form of `servers/servers.toml`. Every name below is a key in it.

use serde::Deserialize;

use super::{Password, Server, UserName};

/// All of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) provider: Vec<Provider>,
}

/// A provider of mailboxes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    /// For tests and messages; unique.
    pub(super) id: String,
    /// For people.
    pub(super) name: String,
    /// Addresses that are always its own.
    #[serde(default)]
    pub(super) domains: Vec<String>,
    /// Ends of the names of hosts that take mail for its customers' domains; the longest that fits counts.
    #[serde(default)]
    pub(super) mx: Vec<String>,
    /// Its servers.
    pub(super) imap: Option<Server>,
    pub(super) smtp: Option<Server>,
    pub(super) sieve: Option<Server>,
    /// Its calendars' and address books' addresses.
    pub(super) caldav: Option<String>,
    pub(super) carddav: Option<String>,
    /// What the user name is.
    #[serde(default)]
    pub(super) user: UserName,
    /// Which password it takes.
    pub(super) password: Password,
    /// How the person gets that password.
    pub(super) help: String,
    /// The page for it.
    pub(super) link: String,
}
