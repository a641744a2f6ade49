use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use latch_ipc::Secret;
use latch_ipc::contract::CredentialParams;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use zeroize::Zeroizing;

use super::{Key, SealError};

/// What opens an account upstream: wiped on drop, never printed, written only to be sealed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Credential {
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
    OAuth2 {
        /// The person's own client.
        client_id: String,
        /// Its secret, where it has one.
        client_secret: Option<Secret>,
        /// The refresh token.
        refresh_token: Secret,
        /// Where to refresh it.
        token_endpoint: String,
    },
}

impl Credential {
    /// Seals it for one account and one origin; the text is what belongs on [`latch_core::journal::Shelf::Credential`].
    pub fn seal(&self, key: &Key, account: &str, origin: &str) -> Result<Value, SealError> {
        // A growing buffer would leave unwiped copies behind.
        let mut plain = Zeroizing::new(Vec::with_capacity(self.room()));
        serde_json::to_writer(&mut *plain, self).map_err(|_| SealError::Opened)?;
        let sealed = key.seal(&["credential", account, origin], &plain)?;
        Ok(Value::String(URL_SAFE_NO_PAD.encode(sealed)))
    }

    /// Opens it, for exactly the account and origin that it was sealed for.
    pub fn open(key: &Key, account: &str, origin: &str, sealed: &Value) -> Result<Self, SealError> {
        let text = sealed.as_str().ok_or(SealError::Opened)?;
        let sealed = URL_SAFE_NO_PAD.decode(text).map_err(|_| SealError::Opened)?;
        let plain = key.open(&["credential", account, origin], &sealed)?;
        serde_json::from_slice(&plain).map_err(|_| SealError::Opened)
    }

    /// Everything in it that must never be seen outside: for scrubbing responses.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let secrets: [Option<&Secret>; 2] = match self {
            Self::Bearer { token } => [Some(token), None],
            Self::Password { password, .. } => [Some(password), None],
            Self::OAuth2 { client_secret, refresh_token, .. } => [Some(refresh_token), client_secret.as_ref()],
        };
        secrets.into_iter().flatten().map(Secret::expose)
    }

    /// Enough for its JSON, every character escaped.
    fn room(&self) -> usize {
        let plain = match self {
            Self::Bearer { .. } => 0,
            Self::Password { username, .. } => username.len(),
            Self::OAuth2 { client_id, token_endpoint, .. } => client_id.len() + token_endpoint.len(),
        };
        256 + 6 * (plain + self.secrets().map(str::len).sum::<usize>())
    }
}

impl From<CredentialParams> for Credential {
    fn from(params: CredentialParams) -> Self {
        match params {
            CredentialParams::Bearer { token } => Self::Bearer { token },
            CredentialParams::Password { username, password } => Self::Password { username, password },
            CredentialParams::OAuth2 { client_id, client_secret, refresh_token, token_endpoint } => {
                Self::OAuth2 { client_id, client_secret, refresh_token, token_endpoint }
            }
        }
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bearer { .. } => "Bearer(..)",
            Self::Password { .. } => "Password(..)",
            Self::OAuth2 { .. } => "OAuth2(..)",
        })
    }
}
