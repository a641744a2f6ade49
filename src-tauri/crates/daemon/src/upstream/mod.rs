//! Calls to upstreams: the only place where a credential meets a connection.
//!
//! ```text
//!   Lease + AccountTarget + Call ── send ──> redeem ── credential ── connection of this epoch ── response, scrubbed
//!                                              │           └ OAuth 2: refreshed when needed, under a lease of its own
//!                                              └ other account, other call, older epoch: nothing leaves
//! ```
//! A credential goes to the origin that it was sealed with and nowhere else: redirects are handed on, never followed.

pub mod body;
mod dial;
mod headers;
pub mod http;
pub mod imap;
pub mod names;
pub mod oauth;
mod origin;
mod pool;
mod probe;
mod sasl;
pub mod scrub;
pub mod sieve;
pub mod smtp;
mod tls;
mod told;

/// A certificate that is trusted beside the platform's.
pub use rustls::pki_types::CertificateDer;

pub use body::{StreamedBody, UpstreamBody};
pub use http::{Fetched, Hooks, Options, Upstream};
pub use oauth::SignIn;
pub use origin::{AccountTarget, Origin, OriginError};
pub use pool::Stream;

/// Why a call has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{fault}")]
pub struct UpstreamError {
    /// What happened.
    pub fault: Fault,
    /// The upstream may have acted on the call: its outcome is unknown.
    pub sent: bool,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// No connection.
    #[error("{host} can't be reached: {reason}")]
    Unreachable {
        /// Host and port.
        host: String,
        /// The operating system's words.
        reason: String,
    },
    /// No trust.
    #[error("{host} could not prove its identity (TLS): {reason}")]
    Tls {
        /// Host and port.
        host: String,
        /// What is wrong with the certificate or the handshake.
        reason: String,
    },
    /// No answer in time.
    #[error("{host} did not answer in time while {doing}")]
    Timeout {
        /// Host and port.
        host: String,
        /// `connecting`, `waiting for its answer`, ...
        doing: &'static str,
    },
    /// Panic came in between.
    #[error("stopped by the person")]
    Stopped,
    /// The lease is for something else: our own fault.
    #[error("the call was not the permitted one; nothing was sent")]
    NotPermitted,
    /// The connection broke.
    #[error("the connection to {host} broke before its answer was complete")]
    Lost {
        /// Host and port.
        host: String,
    },
    /// Not HTTP as it should be.
    #[error("{host} sent an answer that can't be used: {reason}")]
    Malformed {
        /// Host and port.
        host: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A call that can't be put into HTTP: our own fault.
    #[error("the call can't be sent: {0}")]
    Unsendable(String),
    /// Larger than what the guard reads for itself.
    #[error("{host} sent more than {limit} bytes")]
    TooLarge {
        /// Host and port.
        host: String,
        /// In bytes.
        limit: usize,
    },
    /// The agent's body broke off.
    #[error("the agent's body did not arrive completely: {0}")]
    AgentBody(String),
    /// No fresh access token.
    #[error("{0}")]
    Refresh(oauth::RefreshError),
    /// A mail server does not take the stored credential.
    #[error("{host} does not accept the account's user name and password or token: {text}")]
    SignIn {
        /// Host and port.
        host: String,
        /// The server's words.
        text: String,
    },
    /// A mail server lets nobody in for now, and says nothing about the credential.
    #[error("{host} does not let us in at present: {text}")]
    Busy {
        /// Host and port.
        host: String,
        /// The server's words.
        text: String,
    },
    /// A mail server takes none of the logins that are known here.
    #[error("{host} offers no login that we know")]
    NoLogin {
        /// Host and port.
        host: String,
    },
    /// A mailbox is not the one that was looked at (RFC 9051 section 2.3.1.1).
    #[error("the mailbox {mailbox} was made anew since it was looked at, so nothing was done in it")]
    Changed {
        /// Its name.
        mailbox: String,
    },
    /// A mailbox can't be opened at present, for whatever reason: it may be there.
    #[error("the mailbox {mailbox} can't be opened: {text}")]
    NotOpened {
        /// Its name.
        mailbox: String,
        /// The server's words.
        text: String,
    },
    /// There is no such mailbox.
    #[error("the mailbox {mailbox} can't be opened: {text}")]
    NotThere {
        /// Its name.
        mailbox: String,
        /// The server's words.
        text: String,
    },
}

impl Fault {
    fn unsent(self) -> UpstreamError {
        UpstreamError { fault: self, sent: false }
    }

    /// After something was sent.
    pub(crate) fn sent(self) -> UpstreamError {
        UpstreamError { fault: self, sent: true }
    }
}
