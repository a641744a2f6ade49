//! What stands behind the HTTP door: who asks, tokens (RFC 6749, 8693, 7009, 7662), requests.

use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64URL;
use http::Response;
use http::request::Parts;
use latch_core::call::Digest;
use latch_core::catalog::ErrorShape;
use latch_core::grant::AuthorizationDetail;
use latch_core::guard::{Session, TokenError};
use latch_core::journal::Commit;
use latch_core::time::Span;
use latch_ipc::Secret;
use latch_ipc::rpc::{ErrorCode, RpcError};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::Runtime;
use super::stop::{locked, storage};
use crate::door::http::{
    AgentBody, AnswerBody, Inside, Introspection, OAuthError, TokenAnswer, TokenRequest, Unauthorized,
};

/// 256 random bits, base64url, without a dash at the front.
pub(crate) fn random_secret() -> Option<Secret> {
    let mut bytes = Zeroizing::new([0_u8; 32]);
    loop {
        getrandom::fill(bytes.as_mut()).ok()?;
        let text = BASE64URL.encode(*bytes);
        // Command lines take what begins with a dash for an option.
        if !text.starts_with('-') {
            return Some(Secret::new(text));
        }
    }
}

/// What is kept of a token or a pairing secret: both have 256 random bits, so a plain hash is enough.
pub(crate) fn hash(secret: &str) -> Digest {
    Digest(Sha256::digest(secret.as_bytes()).into())
}

/// Who asks, and from which socket.
#[derive(Debug)]
pub struct Caller {
    pub(super) session: Session,
    pub(super) peer: SocketAddr,
}

impl Inside for Runtime {
    type Session = Caller;

    fn authenticate(&self, token: &str, peer: SocketAddr) -> Result<Caller, Unauthorized> {
        let opened = self.opened().ok_or_else(|| {
            Unauthorized::Stopped("Latchstring's vault is locked: the person must unlock it first".to_owned())
        })?;
        let now = opened.now();
        let session = opened.guard().authenticate(&hash(token), now);
        session.map(|session| Caller { session, peer }).map_err(|error| match error {
            TokenError::Stopped => Unauthorized::Stopped(error.to_string()),
            TokenError::Unknown
            | TokenError::Expired
            | TokenError::NoAgent
            | TokenError::Pairing
            | TokenError::Exchange(_)
            | TokenError::TooMany => Unauthorized::Invalid(error.to_string()),
        })
    }

    fn shape(&self, _account: &str) -> ErrorShape {
        super::problem::STRANGER
    }

    async fn http(
        self: &Arc<Self>,
        caller: Caller,
        account: &str,
        head: Parts,
        body: AgentBody,
    ) -> Response<AnswerBody> {
        self.answer(caller, account, head, body).await
    }

    async fn token(self: &Arc<Self>, request: TokenRequest, _peer: SocketAddr) -> Result<TokenAnswer, OAuthError> {
        let unavailable = |text: &str| OAuthError::Unavailable(text.to_owned());
        let opened = self
            .opened()
            .ok_or_else(|| unavailable("Latchstring's vault is locked: the person must unlock it first"))?;
        let token = random_secret().ok_or_else(|| unavailable("the operating system gave no random numbers"))?;
        let requested = match &request {
            TokenRequest::Paired { details, .. } | TokenRequest::Exchange { details, .. } => details.clone(),
        };
        let requested = requested
            .map(|details| AuthorizationDetail::parse(&Value::Array(details)))
            .transpose()
            .map_err(|error| OAuthError::InvalidDetails(error.to_string()))?;
        let now = opened.now();
        let (life, commit) = {
            let mut guard = opened.guard();
            let new = hash(token.expose());
            match &request {
                TokenRequest::Paired { client_id, secret, .. } => {
                    let agent =
                        guard.paired(client_id.as_deref(), hash(secret.expose())).map_err(|error| oauth(&error))?;
                    let agent = agent.id.clone();
                    guard.issue(&agent, new, requested.as_deref(), None, now)
                }
                TokenRequest::Exchange { subject, .. } => {
                    guard.exchange(&hash(subject.expose()), requested.as_deref(), new, None, now)
                }
            }
            .map_err(|error| oauth(&error))?
        };
        if let Err(error) = opened.store.commit(commit).await {
            let _ = opened.guard().revoke_token(&hash(token.expose()), opened.now());
            return Err(unavailable(&format!("it could not be recorded, so no token was issued: {error}")));
        }
        let details =
            opened.guard().introspect(&hash(token.expose()), now).map(|live| live.details).unwrap_or_default();
        let details = details.iter().filter_map(|detail| serde_json::to_value(detail).ok()).collect();
        Ok(TokenAnswer { access_token: token, expires_in: life.0 / 1000, details })
    }

    async fn revoke(self: &Arc<Self>, token: &str) {
        let Some(opened) = self.opened() else { return };
        let commit = opened.guard().revoke_token(&hash(token), opened.now());
        if commit != Commit::default() {
            let _ = opened.store.commit(commit).await;
        }
    }

    fn introspect(&self, caller: &Caller, token: &str) -> Option<Introspection> {
        let opened = self.opened()?;
        let now = opened.now();
        let live = opened.guard().introspect(&hash(token), now)?;
        if live.agent != caller.session.agent {
            return None;
        }
        Some(Introspection {
            client_id: live.client_id,
            subject: live.agent,
            expires_in: live.remaining.0 / 1000,
            expires_at: now.wall.saturating_add(live.remaining.0) / 1000,
            details: live.details.iter().filter_map(|detail| serde_json::to_value(detail).ok()).collect(),
        })
    }
}

impl Runtime {
    /// The owner's, or a recognised peer's, way to a token.
    pub(crate) async fn issue(&self, agent: &str, expires_in: Option<u64>) -> Result<(Secret, u64), RpcError> {
        let opened = self.opened().ok_or_else(locked)?;
        let token = random_secret()
            .ok_or_else(|| RpcError::new(ErrorCode::Internal, "the operating system gave no random numbers"))?;
        let (life, commit) = opened
            .guard()
            .issue(agent, hash(token.expose()), None, expires_in.map(Span::seconds), opened.now())
            .map_err(|error| refusal(&error))?;
        if let Err(error) = opened.store.commit(commit).await {
            let _ = opened.guard().revoke_token(&hash(token.expose()), opened.now());
            return Err(storage(&error));
        }
        Ok((token, life.0 / 1000))
    }
}

fn oauth(error: &TokenError) -> OAuthError {
    let text = error.to_string();
    match error {
        TokenError::Unknown | TokenError::Expired | TokenError::Pairing => OAuthError::InvalidGrant(text),
        TokenError::NoAgent => OAuthError::InvalidClient(text),
        TokenError::Exchange(_) => OAuthError::InvalidDetails(text),
        TokenError::Stopped => OAuthError::Stopped(text),
        TokenError::TooMany => OAuthError::Unavailable(text),
    }
}

pub(crate) fn refusal(error: &TokenError) -> RpcError {
    let code = match error {
        TokenError::NoAgent => ErrorCode::NotFound,
        TokenError::Stopped => ErrorCode::Panicked,
        TokenError::Unknown
        | TokenError::Expired
        | TokenError::Pairing
        | TokenError::Exchange(_)
        | TokenError::TooMany => ErrorCode::Forbidden,
    };
    RpcError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::random_secret;

    #[test]
    fn no_token_looks_like_an_option() {
        for _ in 0..2_000 {
            let secret = random_secret().unwrap();
            assert!(secret.expose().len() == 43 && !secret.expose().starts_with('-'));
        }
    }
}
