//! What the guard knows about providers: one TOML file each, no Rust.
//!
//! ```text
//!   Catalog ── Provider ── Route: method + path -> Class, objects, meters, undo, examples
//!                      ├── Kind: nouns, how to preview one
//!                      └── recipes: undo, softening, outbox
//! ```

use serde::Deserialize;

use crate::operation::Operation;

/// The form in which a provider's own errors come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ErrorShape {
    /// `{"error": {"code", "message", "status", "errors": [..]}}`
    Google,
    /// Nothing beyond RFC 9457.
    Plain,
}

/// Why a provider file can't be used: our own fault, or that of whoever wrote the file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("provider file {file}: {reason}")]
pub struct CatalogError {
    /// The file's name.
    pub file: String,
    /// What is wrong and where.
    pub reason: String,
}

/// One provider.
#[derive(Debug, Clone)]
pub struct Provider {
    /// Its id: `gmail`.
    pub id: String,
    /// For people: `Gmail`.
    pub name: String,
    /// Where it lives, without a trailing slash.
    pub base_url: String,
    /// The form of its errors.
    pub error_shape: ErrorShape,
    /// Where OAuth access tokens are refreshed.
    pub token_endpoint: Option<String>,
    /// Where OAuth tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
}

impl Provider {
    /// Singular and plural for people: `message`, `messages`. The kind itself if the file has no noun.
    #[must_use]
    pub fn noun(&self, kind: &str) -> [String; 2] {
        [kind.to_owned(), kind.to_owned()]
    }

    /// The deny button's text: `Keep them`, `Don't send`.
    #[must_use]
    pub fn keep(&self, operation: &Operation) -> String {
        operation.verb.clone()
    }
}

/// All providers.
#[derive(Debug, Clone)]
pub struct Catalog {
    providers: Vec<Provider>,
}

impl Catalog {
    /// The providers that are built in.
    pub fn shipped() -> Result<Self, CatalogError> {
        Self::parse(&[])
    }

    /// Reads provider files: name and TOML text.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let _ = files;
        Ok(Self { providers: Vec::new() })
    }

    /// The provider with this id.
    #[must_use]
    pub fn provider(&self, id: &str) -> Option<&Provider> {
        self.providers.iter().find(|provider| provider.id == id)
    }

    /// All of them.
    #[must_use]
    pub fn providers(&self) -> &[Provider] {
        &self.providers
    }
}
