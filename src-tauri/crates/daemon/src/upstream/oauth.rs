//! Access tokens for OAuth 2 accounts: refreshed at the sealed token endpoint (RFC 6749 section 6), revoked at the provider (RFC 7009).
//!
//! The [`Call`]s that leases are minted for hold no secret; it is put in when the call leaves.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderValue, Method};
use latch_core::call::{Call, CallBody};
use latch_ipc::Secret;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::scrub::Scrub;
use super::{AccountTarget, Fault, Origin, OriginError};
use crate::vault::Credential;

/// A token that ends sooner than this is refreshed first.
const MARGIN: Duration = Duration::from_secs(30);

/// What opens an account right now, and what must be taken out of its answers.
pub(super) struct Access {
    header: HeaderValue,
    scrub: Scrub,
    until: Option<Instant>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(..)")
    }
}

impl Access {
    /// `None` if the token can't stand in a header.
    pub(super) fn bearer(token: &Secret) -> Option<Self> {
        let header = Zeroizing::new(format!("Bearer {}", token.expose()));
        Some(Self { header: sensitive(&header)?, scrub: Scrub::new(&[token.expose().as_bytes()]), until: None })
    }

    pub(super) fn basic(username: &str, password: &Secret) -> Option<Self> {
        let pair = Zeroizing::new(format!("{username}:{}", password.expose()));
        let encoded = Zeroizing::new(BASE64_STANDARD.encode(pair.as_bytes()));
        let header = Zeroizing::new(format!("Basic {}", *encoded));
        let scrub = Scrub::new(&[password.expose().as_bytes(), encoded.as_bytes()]);
        Some(Self { header: sensitive(&header)?, scrub, until: None })
    }

    fn until(mut self, life: Option<u64>) -> Self {
        self.until = life.map(|seconds| Instant::now() + Duration::from_secs(seconds));
        self
    }

    pub(super) fn header(&self) -> &HeaderValue {
        &self.header
    }

    pub(super) fn scrub(&self) -> &Scrub {
        &self.scrub
    }

    pub(super) fn is_fresh(&self) -> bool {
        self.until.is_none_or(|until| until > Instant::now() + MARGIN)
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What opens an account right now. It outlives whoever asks for a fresh token: what a provider hands out is kept, whoever is still there to use it.
#[derive(Debug)]
pub struct SignIn {
    /// Replaced when the provider hands out a new one (RFC 6749 section 6).
    pub(super) refresh_token: Mutex<Option<Secret>>,
    pub(super) access: Mutex<Option<Arc<Access>>>,
    pub(super) refreshing: Arc<tokio::sync::Mutex<()>>,
}

impl SignIn {
    pub(super) fn new(access: Option<Access>, refresh_token: Option<Secret>) -> Self {
        let access = Mutex::new(access.map(Arc::new));
        Self { refresh_token: Mutex::new(refresh_token), access, refreshing: Arc::default() }
    }
}

/// Why there is no fresh access token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefreshError {
    /// The provider ended the person's sign-in.
    #[error("the provider no longer accepts the stored sign-in ({0}): the account must be removed and added again")]
    SignedOut(String),
    /// The provider refused for another reason.
    #[error("the provider's token endpoint answered {status} ({code})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// RFC 6749 section 5.2.
        code: String,
    },
    /// No usable answer.
    #[error("no new access token could be got: {0}")]
    Unreachable(String),
    /// The credential can't be refreshed, or stands in no header.
    #[error("the stored credential can't be used: it must be removed and added again")]
    Unusable,
    /// No lease was given.
    #[error("refreshing the sign-in is not allowed at present")]
    NotPermitted,
}

impl RefreshError {
    pub(super) fn fault(self) -> Fault {
        Fault::Refresh(self)
    }
}

/// The call that a lease of [`latch_core::lease::Purpose::Refresh`] is minted for.
pub(super) fn refresh_call(credential: &Credential) -> Result<(Origin, Call), RefreshError> {
    let Credential::OAuth2 { token_endpoint, .. } = credential else { return Err(RefreshError::Unusable) };
    let (origin, target) = Origin::endpoint(token_endpoint).map_err(|_| RefreshError::Unusable)?;
    Ok((origin, form_call(target, Bytes::from_static(b"grant_type=refresh_token"))))
}

/// Where an account's credential may be revoked: only where it is sealed to. An OAuth sign-in goes to the listed path beside its own
/// sealed token endpoint, a bare token to the listed endpoint if it is for that provider's own servers.
#[must_use]
pub fn revocation_endpoint(account: &AccountTarget, listed: &str, provider: &str) -> Option<String> {
    match &*account.credential {
        Credential::OAuth2 { token_endpoint, .. } => {
            let (origin, _) = Origin::endpoint(token_endpoint).ok()?;
            let (_, path) = Origin::endpoint(listed).ok()?;
            Some(format!("{origin}{path}"))
        }
        Credential::Bearer { .. } => {
            let (origin, _) = Origin::parse(provider).ok()?;
            (origin == *account.origin()).then(|| listed.to_owned())
        }
        Credential::Password { .. } => None,
    }
}

/// The call that a lease of [`latch_core::lease::Purpose::Revocation`] is minted for.
pub fn revocation_call(revocation_endpoint: &str) -> Result<Call, OriginError> {
    let (_, target) = Origin::endpoint(revocation_endpoint)?;
    Ok(form_call(target, Bytes::new()))
}

fn form_call(target: String, body: Bytes) -> Call {
    let headers = [("content-type", "application/x-www-form-urlencoded"), ("accept", "application/json")];
    Call {
        method: Method::POST,
        target,
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        body: CallBody::Bytes(body),
    }
}

/// The form that leaves for a refresh.
pub(super) fn refresh_form(credential: &Credential, refresh_token: &Secret) -> Bytes {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "refresh_token").append_pair("refresh_token", refresh_token.expose());
    client(&mut form, credential);
    owned(form.finish())
}

/// The form that leaves for a revocation; `None` for a password, which has no token to revoke.
pub(super) fn revocation_form(credential: &Credential, refresh_token: Option<&Secret>) -> Option<Bytes> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    match credential {
        Credential::Bearer { token } => form.append_pair("token", token.expose()),
        Credential::Password { .. } => return None,
        Credential::OAuth2 { refresh_token: stored, .. } => form
            .append_pair("token", refresh_token.unwrap_or(stored).expose())
            .append_pair("token_type_hint", "refresh_token"),
    };
    client(&mut form, credential);
    Some(owned(form.finish()))
}

fn client(form: &mut form_urlencoded::Serializer<'_, String>, credential: &Credential) {
    if let Credential::OAuth2 { client_id, client_secret, .. } = credential {
        form.append_pair("client_id", client_id);
        if let Some(secret) = client_secret {
            form.append_pair("client_secret", secret.expose());
        }
    }
}

/// Wiped when the last copy is gone.
fn owned(form: String) -> Bytes {
    Bytes::from_owner(Zeroizing::new(form.into_bytes()))
}

#[derive(Deserialize)]
struct Granted {
    access_token: Secret,
    token_type: Option<String>,
    expires_in: Option<u64>,
    refresh_token: Option<Secret>,
}

#[derive(Deserialize)]
struct Denied {
    error: String,
}

/// What the token endpoint said: the new access, and the refresh token that replaces the old one, if it sent one.
pub(super) fn refreshed(status: u16, body: &[u8]) -> Result<(Access, Option<Secret>), RefreshError> {
    if status != 200 {
        let code = serde_json::from_slice::<Denied>(body).map(|denied| denied.error).unwrap_or_default();
        let code: String = code.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '_').take(64).collect();
        return Err(match code.as_str() {
            "invalid_grant" | "invalid_client" | "unauthorized_client" => RefreshError::SignedOut(code),
            _ => RefreshError::Refused { status, code },
        });
    }
    let granted: Granted = serde_json::from_slice(body)
        .map_err(|_| RefreshError::Unreachable("the token endpoint's answer is not a token".to_owned()))?;
    if granted.token_type.is_some_and(|kind| !kind.eq_ignore_ascii_case("bearer")) {
        return Err(RefreshError::Unreachable("the token endpoint gave a token of an unknown type".to_owned()));
    }
    let access = Access::bearer(&granted.access_token).ok_or(RefreshError::Unusable)?;
    Ok((access.until(granted.expires_in), granted.refresh_token))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn credential() -> Credential {
        Credential::OAuth2 {
            client_id: "id".to_owned(),
            client_secret: Some(Secret::new("s3cret&".to_owned())),
            refresh_token: Secret::new("1//refresh".to_owned()),
            token_endpoint: "https://oauth2.example.com/token?x=1".to_owned(),
        }
    }

    #[test]
    fn the_leased_call_holds_no_secret_and_the_form_does() {
        let (origin, call) = refresh_call(&credential()).unwrap();
        assert_eq!(
            (origin.to_string().as_str(), call.target.as_str()),
            ("https://oauth2.example.com:443", "/token?x=1")
        );
        assert!(!format!("{call:?}").contains("refresh\"") && !format!("{call:?}").contains("s3cret"));
        let form = refresh_form(&credential(), &Secret::new("1//new".to_owned()));
        assert_eq!(form, "grant_type=refresh_token&refresh_token=1%2F%2Fnew&client_id=id&client_secret=s3cret%26");
    }

    #[test]
    fn answers_of_token_endpoints() {
        let (access, rotated) =
            refreshed(200, br#"{"access_token":"at-1234","expires_in":3600,"token_type":"bearer"}"#).unwrap();
        assert!(access.is_fresh() && rotated.is_none());
        let (access, rotated) =
            refreshed(200, br#"{"access_token":"at-1234","expires_in":10,"refresh_token":"rt2"}"#).unwrap();
        assert!(!access.is_fresh());
        assert_eq!(rotated.unwrap().expose(), "rt2");
        let denied = |status, body: &[u8]| refreshed(status, body).unwrap_err();
        assert_eq!(denied(400, br#"{"error":"invalid_grant"}"#), RefreshError::SignedOut("invalid_grant".to_owned()));
        assert_eq!(denied(500, b"<html>"), RefreshError::Refused { status: 500, code: String::new() });
        assert!(matches!(denied(200, b"{}"), RefreshError::Unreachable(_)));
        assert!(matches!(denied(200, br#"{"access_token":"a\nb"}"#), RefreshError::Unusable));
    }
}
