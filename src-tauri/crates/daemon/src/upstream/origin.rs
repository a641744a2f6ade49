//! Where an account is, and what opens it there.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use latch_ipc::Secret;
use url::{Host, Url};

use super::oauth::{Access, SignIn};
use super::pool::Idle;
use crate::vault::Credential;

/// How an origin is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Scheme {
    Http,
    Https,
    /// Plain, on this machine only.
    Imap,
    /// TLS is agreed on before anything else is said, or nothing is (RFC 8314 section 3.3 prefers the implicit kind).
    ImapStartTls,
    /// TLS from the first byte.
    Imaps,
    /// Submission: plain, on this machine only.
    Smtp,
    /// Submission: TLS is agreed on before anything else is said, or nothing is.
    SmtpStartTls,
    /// Submission: TLS from the first byte.
    Smtps,
    /// Mail filters: plain, on this machine only.
    Sieve,
    /// Mail filters: TLS is agreed on before anything else is said, or nothing is.
    SieveStartTls,
    /// Mail filters: TLS from the first byte.
    Sieves,
}

/// What is spoken there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Web,
    Mailboxes,
    Submission,
    Filters,
}

impl Scheme {
    const ALL: [Self; 11] = [
        Self::Http,
        Self::Https,
        Self::Imap,
        Self::ImapStartTls,
        Self::Imaps,
        Self::Smtp,
        Self::SmtpStartTls,
        Self::Smtps,
        Self::Sieve,
        Self::SieveStartTls,
        Self::Sieves,
    ];

    const fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Imap => "imap",
            Self::ImapStartTls => "imap+starttls",
            Self::Imaps => "imaps",
            Self::Smtp => "smtp",
            Self::SmtpStartTls => "smtp+starttls",
            Self::Smtps => "smtps",
            Self::Sieve => "sieve",
            Self::SieveStartTls => "sieve+starttls",
            Self::Sieves => "sieves",
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
            Self::Imap | Self::ImapStartTls => 143,
            Self::Imaps => 993,
            Self::Smtp | Self::SmtpStartTls => 587,
            Self::Smtps => 465,
            Self::Sieve | Self::SieveStartTls | Self::Sieves => 4190,
        }
    }

    const fn is_encrypted(self) -> bool {
        match self {
            Self::Http | Self::Imap | Self::Smtp | Self::Sieve => false,
            Self::Https
            | Self::ImapStartTls
            | Self::Imaps
            | Self::SmtpStartTls
            | Self::Smtps
            | Self::SieveStartTls
            | Self::Sieves => true,
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Http | Self::Https => Kind::Web,
            Self::Imap | Self::ImapStartTls | Self::Imaps => Kind::Mailboxes,
            Self::Smtp | Self::SmtpStartTls | Self::Smtps => Kind::Submission,
            Self::Sieve | Self::SieveStartTls | Self::Sieves => Kind::Filters,
        }
    }
}

/// Scheme, host and port (RFC 6454): what a credential is sealed with. Plain ones only on loopback.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub(super) scheme: Scheme,
    /// As in a URL: IPv6 in brackets.
    pub(super) host: String,
    pub(super) port: u16,
}

/// Why a base URL can't be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// Not an absolute http or https URL.
    #[error("'{0}' is not an https URL")]
    NotHttp(String),
    /// A plain upstream that is not on this machine.
    #[error("'{0}' is not encrypted: that is accepted for this machine (127.0.0.1, [::1], localhost) only")]
    Plain(String),
    /// User name, password, query or fragment.
    #[error("a base URL has no user name, password, query or fragment")]
    Extra,
}

impl Origin {
    /// The origin of a base URL, and its path without a trailing slash.
    pub fn parse(base_url: &str) -> Result<(Self, String), OriginError> {
        let (origin, url) = Self::of(base_url, Kind::Web)?;
        if url.query().is_some() {
            return Err(OriginError::Extra);
        }
        Ok((origin, url.path().trim_end_matches('/').to_owned()))
    }

    /// The origin of an endpoint, and its path and query.
    pub(super) fn endpoint(url: &str) -> Result<(Self, String), OriginError> {
        let (origin, url) = Self::of(url, Kind::Web)?;
        Ok((origin, url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))))
    }

    /// The origin of a mail server, and the user name in its URL (RFC 5092: `imaps://user@host:993`).
    pub(super) fn mail(url: &str) -> Result<(Self, String), OriginError> {
        Self::with_user(url, Kind::Mailboxes)
    }

    /// The same for where mail is sent from (`smtps://user@host:465`).
    pub(super) fn submission(url: &str) -> Result<(Self, String), OriginError> {
        Self::with_user(url, Kind::Submission)
    }

    /// The same for where mail filters live (`sieve+starttls://user@host:4190`).
    pub(super) fn filters(url: &str) -> Result<(Self, String), OriginError> {
        Self::with_user(url, Kind::Filters)
    }

    fn with_user(url: &str, kind: Kind) -> Result<(Self, String), OriginError> {
        let (origin, url) = Self::of(url, kind)?;
        let user =
            percent_encoding::percent_decode_str(url.username()).decode_utf8().map_err(|_| OriginError::Extra)?;
        if !matches!(url.path(), "" | "/") || url.query().is_some() {
            return Err(OriginError::Extra);
        }
        Ok((origin, user.into_owned()))
    }

    fn of(text: &str, kind: Kind) -> Result<(Self, Url), OriginError> {
        let not_http = || OriginError::NotHttp(text.to_owned());
        let url = Url::parse(text).map_err(|_| not_http())?;
        let scheme = Scheme::ALL.into_iter().find(|scheme| scheme.name() == url.scheme()).ok_or_else(not_http)?;
        if scheme.kind() != kind {
            return Err(not_http());
        }
        if (kind == Kind::Web && !url.username().is_empty()) || url.password().is_some() || url.fragment().is_some() {
            return Err(OriginError::Extra);
        }
        let host = url.host().ok_or_else(not_http)?;
        // Only well-known schemes have their IPv4 addresses read by the URL parser.
        let address = match &host {
            Host::Domain(name) => name.parse::<IpAddr>().ok(),
            Host::Ipv4(address) => Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => Some(IpAddr::V6(*address)),
        };
        let local = address.map_or_else(|| host == Host::Domain("localhost"), |address| address.is_loopback());
        if !scheme.is_encrypted() && !local {
            return Err(OriginError::Plain(text.to_owned()));
        }
        let port = url.port().unwrap_or_else(|| scheme.port());
        Ok((Self { scheme, host: host.to_string(), port }, url))
    }

    /// The spellings of it in URLs: without a default port, and with it.
    #[must_use]
    pub fn spellings(&self) -> Vec<String> {
        let scheme = self.scheme.name();
        vec![format!("{scheme}://{}", self.authority()), format!("{scheme}://{}", self.host_header())]
    }

    /// The host's name or address.
    #[must_use]
    pub fn name(&self) -> &str {
        self.bare_host()
    }

    /// `host:port`, for people.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The `Host` header: without the scheme's default port.
    pub(super) fn host_header(&self) -> String {
        if self.port == self.scheme.port() { self.host.clone() } else { self.authority() }
    }

    /// For name resolution and TLS: IPv6 without brackets.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// A plain origin's address must be on this machine whatever the resolver says.
    pub(super) fn accepts(&self, address: IpAddr) -> bool {
        self.scheme.is_encrypted() || address.is_loopback()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme.name(), self.host, self.port)
    }
}

/// A server that an account has beside its first one.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) origin: Origin,
    pub(super) user: String,
}

/// An account as the upstream sees it: where it is, what opens it, and the connections that are open to it.
#[derive(Debug)]
pub struct AccountTarget {
    /// The account's id.
    pub id: String,
    pub(super) origin: Origin,
    pub(super) host: ::http::HeaderValue,
    pub(super) base_path: String,
    pub(super) credential: Arc<Credential>,
    pub(super) sign_in: Arc<SignIn>,
    pub(super) idle: Arc<Idle>,
    /// The user name of a mail server.
    pub(super) user: String,
    /// Connections to a mail server that wait for the next command.
    pub(super) wires: Mutex<Vec<super::imap::Wire>>,
    /// Places for commands to a mail server: each has a connection of its own.
    pub(super) lines: tokio::sync::Semaphore,
    /// Where its mail is sent from.
    pub(super) submission: Option<Server>,
    /// Where its mail filters live.
    pub(super) filters: Option<Server>,
    /// Connections to that server that wait for the next command.
    pub(super) filter_wires: Mutex<Vec<super::sieve::Wire>>,
}

impl AccountTarget {
    /// An account at a base URL. The caller opened the credential for exactly this URL's [`Origin`].
    pub fn new(id: impl Into<String>, base_url: &str, credential: Arc<Credential>) -> Result<Self, OriginError> {
        let (origin, base_path, user) = match Origin::parse(base_url) {
            Err(OriginError::NotHttp(_)) => {
                Origin::mail(base_url).map(|(origin, user)| (origin, String::new(), user))?
            }
            other => other.map(|(origin, path)| (origin, path, String::new()))?,
        };
        let host = ::http::HeaderValue::from_str(&origin.host_header())
            .map_err(|_| OriginError::NotHttp(base_url.to_owned()))?;
        let (access, refresh_token) = match &*credential {
            Credential::Bearer { token } => (Access::bearer(token), None),
            Credential::Password { username, password } => (Access::basic(username, password), None),
            Credential::OAuth2 { refresh_token, token_endpoint, .. } => {
                Origin::endpoint(token_endpoint)?;
                (None, Some(refresh_token.clone()))
            }
        };
        Ok(Self {
            id: id.into(),
            origin,
            host,
            base_path,
            credential,
            sign_in: Arc::new(SignIn::new(access, refresh_token)),
            idle: Arc::default(),
            user,
            wires: Mutex::default(),
            lines: tokio::sync::Semaphore::new(super::imap::MOST_AT_ONCE),
            submission: None,
            filters: None,
            filter_wires: Mutex::default(),
        })
    }

    /// Also a submission server (`smtps://user@host:465`). The caller opened the credential for it, too.
    pub fn with_submission(self, url: &str) -> Result<Self, OriginError> {
        let (origin, user) = Origin::submission(url)?;
        Ok(Self { submission: Some(Server { origin, user }), ..self })
    }

    /// Where its mail is sent from, if it can send any.
    #[must_use]
    pub fn submission(&self) -> Option<&Origin> {
        self.submission.as_ref().map(|server| &server.origin)
    }

    /// The user name of a mail server; empty for what is none.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Also a server for mail filters (`sieve+starttls://user@host:4190`). The caller opened the credential for it, too.
    pub fn with_filters(self, url: &str) -> Result<Self, OriginError> {
        let (origin, user) = Origin::filters(url)?;
        Ok(Self { filters: Some(Server { origin, user }), ..self })
    }

    /// Where its mail filters live, if they are within reach.
    #[must_use]
    pub fn filters(&self) -> Option<&Origin> {
        self.filters.as_ref().map(|server| &server.origin)
    }

    /// Whether a text holds what opens the account: no agent gets to see it then.
    #[must_use]
    pub fn is_told_in(&self, text: &[u8]) -> bool {
        let within =
            |secret: &str| !secret.is_empty() && text.windows(secret.len()).any(|part| part == secret.as_bytes());
        let access = self.access();
        access.is_some_and(|access| access.scrub().text(text).is_some()) || self.credential.secrets().any(within)
    }

    /// What its credential is sealed with.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The path of its base URL, without a trailing slash.
    #[must_use]
    pub fn base_path(&self) -> &str {
        &self.base_path
    }

    /// The user name of its credential, if it has one.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        match &*self.credential {
            Credential::Password { username, .. } => Some(username),
            Credential::Bearer { .. } | Credential::OAuth2 { .. } => None,
        }
    }

    /// Whether it is a mail server, spoken to over IMAP.
    #[must_use]
    pub fn is_mail(&self) -> bool {
        self.origin.scheme.kind() == Kind::Mailboxes
    }

    /// The refresh token that stands now, where it has one.
    #[must_use]
    pub fn refresh_token(&self) -> Option<Secret> {
        self.sign_in.refresh_token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether this is what opens it, and not what opens another account of its name.
    #[must_use]
    pub fn is_opened_by(&self, sign_in: &SignIn) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.sign_in), sign_in)
    }

    /// Resolves when no fresh token is being asked for.
    pub async fn settled(&self) {
        let _turn = self.sign_in.refreshing.lock().await;
    }

    pub(super) fn access(&self) -> Option<Arc<Access>> {
        self.sign_in.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn mail_servers() {
        let check = |url: &str, expected: Option<(&str, &str)>| {
            let found = Origin::mail(url).ok().map(|(origin, user)| (origin.to_string(), user));
            assert_eq!(found, expected.map(|(origin, user)| (origin.to_owned(), user.to_owned())), "{url}");
        };
        check("imaps://a%40b.example@mail.b.example", Some(("imaps://mail.b.example:993", "a@b.example")));
        check("imap+starttls://me@mail.b.example:1143", Some(("imap+starttls://mail.b.example:1143", "me")));
        check("imap://me@127.0.0.1:1143", Some(("imap://127.0.0.1:1143", "me")));
        check("imap://me@[::1]", Some(("imap://[::1]:143", "me")));
        for bad in [
            "imap://me@mail.b.example",
            "imap://me@127.0.0.1.nip.io",
            "imaps://me:secret@x",
            "https://x",
            "imaps://x/INBOX",
        ] {
            check(bad, None);
        }
    }

    #[test]
    fn submission_servers() {
        let found = |url: &str| Origin::submission(url).ok().map(|(origin, user)| (origin.to_string(), user));
        let is = |origin: &str, user: &str| Some((origin.to_owned(), user.to_owned()));
        assert_eq!(found("smtps://a%40b.example@mail.b.example"), is("smtps://mail.b.example:465", "a@b.example"));
        assert_eq!(found("smtp+starttls://me@mail.b.example"), is("smtp+starttls://mail.b.example:587", "me"));
        assert_eq!(found("smtp://me@127.0.0.1:1025"), is("smtp://127.0.0.1:1025", "me"));
        for bad in ["smtp://me@mail.b.example", "smtps://me:secret@x", "imaps://me@x", "https://x", "smtps://x/y"] {
            assert_eq!(found(bad), None, "{bad}");
        }
        assert!(Origin::mail("smtps://me@x").is_err());
        assert!(Origin::parse("smtps://x").is_err());
    }

    #[test]
    fn servers_of_mail_filters() {
        let found = |url: &str| Origin::filters(url).ok().map(|(origin, user)| (origin.to_string(), user));
        let is = |origin: &str, user: &str| Some((origin.to_owned(), user.to_owned()));
        assert_eq!(found("sieve+starttls://me@mail.b.example"), is("sieve+starttls://mail.b.example:4190", "me"));
        assert_eq!(found("sieves://a%40b.example@mail.b.example:1"), is("sieves://mail.b.example:1", "a@b.example"));
        assert_eq!(found("sieve://me@127.0.0.1:4190"), is("sieve://127.0.0.1:4190", "me"));
        for bad in ["sieve://me@mail.b.example", "sieves://me:secret@x", "smtps://me@x", "https://x", "sieves://x/y"] {
            assert_eq!(found(bad), None, "{bad}");
        }
        assert!(Origin::mail("sieves://me@x").is_err() && Origin::submission("sieves://me@x").is_err());
    }

    #[test]
    fn base_urls() {
        let check = |url: &str, expected: Option<(&str, &str, &str)>| {
            let parsed = Origin::parse(url).ok();
            let shown = parsed.as_ref().map(|(origin, path)| (origin.to_string(), path.clone(), origin.host_header()));
            let expected = expected.map(|(origin, path, host)| (origin.to_owned(), path.to_owned(), host.to_owned()));
            assert_eq!(shown, expected, "{url}");
        };
        check("https://gmail.googleapis.com", Some(("https://gmail.googleapis.com:443", "", "gmail.googleapis.com")));
        check("https://Example.COM:8443/api/v3/", Some(("https://example.com:8443", "/api/v3", "example.com:8443")));
        check("http://127.0.0.1:4000", Some(("http://127.0.0.1:4000", "", "127.0.0.1:4000")));
        check("http://[::1]:4000/x", Some(("http://[::1]:4000", "/x", "[::1]:4000")));
        check("http://localhost", Some(("http://localhost:80", "", "localhost")));
        for bad in [
            "http://example.com",
            "http://localhost.evil.com",
            "http://127.0.0.1.nip.io",
            "ftp://x",
            "gmail",
            "https://u:p@x",
            "https://x/#f",
            "https://x/?q",
            "file:///etc/passwd",
            "",
        ] {
            check(bad, None);
        }
    }
}
