//! Where an account is, and what opens it there.

use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use latch_ipc::Secret;
use url::{Host, Url};

use super::oauth::Access;
use super::pool::Idle;
use crate::vault::Credential;

/// Scheme, host and port (RFC 6454): what a credential is sealed with. Plain HTTP only on loopback.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin {
    pub(super) tls: bool,
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
    #[error("'{0}' is not encrypted: plain http is accepted for this machine (127.0.0.1, [::1], localhost) only")]
    Plain(String),
    /// User name, password, query or fragment.
    #[error("a base URL has no user name, password, query or fragment")]
    Extra,
}

impl Origin {
    /// The origin of a base URL, and its path without a trailing slash.
    pub fn parse(base_url: &str) -> Result<(Self, String), OriginError> {
        let (origin, url) = Self::of(base_url)?;
        if url.query().is_some() {
            return Err(OriginError::Extra);
        }
        Ok((origin, url.path().trim_end_matches('/').to_owned()))
    }

    /// The origin of an endpoint, and its path and query.
    pub(super) fn endpoint(url: &str) -> Result<(Self, String), OriginError> {
        let (origin, url) = Self::of(url)?;
        Ok((origin, url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))))
    }

    fn of(text: &str) -> Result<(Self, Url), OriginError> {
        let not_http = || OriginError::NotHttp(text.to_owned());
        let url = Url::parse(text).map_err(|_| not_http())?;
        let tls = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return Err(not_http()),
        };
        if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
            return Err(OriginError::Extra);
        }
        let host = url.host().ok_or_else(not_http)?;
        let local = match &host {
            Host::Domain(name) => *name == "localhost",
            Host::Ipv4(address) => address.is_loopback(),
            Host::Ipv6(address) => address.is_loopback(),
        };
        if !tls && !local {
            return Err(OriginError::Plain(text.to_owned()));
        }
        let port = url.port_or_known_default().ok_or_else(not_http)?;
        Ok((Self { tls, host: host.to_string(), port }, url))
    }

    /// `host:port`, for people.
    pub(super) fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The `Host` header: without the scheme's default port.
    pub(super) fn host_header(&self) -> String {
        let default = if self.tls { 443 } else { 80 };
        if self.port == default { self.host.clone() } else { self.authority() }
    }

    /// For name resolution and TLS: IPv6 without brackets.
    pub(super) fn bare_host(&self) -> &str {
        self.host.trim_start_matches('[').trim_end_matches(']')
    }

    /// A plain origin's address must be on this machine whatever the resolver says.
    pub(super) fn accepts(&self, address: IpAddr) -> bool {
        self.tls || address.is_loopback()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
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
    /// Replaced when the provider hands out a new one (RFC 6749 section 6).
    pub(super) refresh_token: Mutex<Option<Secret>>,
    pub(super) access: Mutex<Option<Arc<Access>>>,
    pub(super) refreshing: tokio::sync::Mutex<()>,
    pub(super) idle: Arc<Idle>,
}

impl AccountTarget {
    /// An account at a base URL. The caller opened the credential for exactly this URL's [`Origin`].
    pub fn new(id: impl Into<String>, base_url: &str, credential: Arc<Credential>) -> Result<Self, OriginError> {
        let (origin, base_path) = Origin::parse(base_url)?;
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
            refresh_token: Mutex::new(refresh_token),
            access: Mutex::new(access.map(Arc::new)),
            refreshing: tokio::sync::Mutex::new(()),
            idle: Arc::default(),
        })
    }

    /// What its credential is sealed with.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    pub(super) fn access(&self) -> Option<Arc<Access>> {
        self.access.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

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
