//! What the guard knows about providers: one TOML file each, no Rust.
//!
//! ```text
//!   Catalog ── Provider ── Route: method + path -> Class, objects, meters, undo, examples
//!                      ├── Kind: nouns, how to preview and copy one
//!                      └── recipes: undo, softening, bulk writes, outbox
//! ```

mod check;
pub(crate) mod file;
pub(crate) mod template;
#[cfg(test)]
mod tests;

use serde::Deserialize;

use crate::operation::Operation;
use file::{File, Route};

/// The provider files that are built in.
const SHIPPED: [(&str, &str); 3] = [
    ("dav.toml", include_str!("../../providers/dav.toml")),
    ("gmail.toml", include_str!("../../providers/gmail.toml")),
    ("imap.toml", include_str!("../../providers/imap.toml")),
];

/// How a provider is spoken to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// By the routes of its file.
    #[default]
    Http,
    /// By [`crate::classify::imap`].
    Imap,
    /// By [`crate::classify::dav`].
    Dav,
}

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
    /// How it is spoken to.
    pub protocol: Protocol,
    /// The form of its errors.
    pub error_shape: ErrorShape,
    /// Where OAuth access tokens are refreshed.
    pub token_endpoint: Option<String>,
    /// Where OAuth tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// The page on which the person ends access by hand.
    pub sign_out_page: Option<String>,
    /// Path of a cheap read that only a good credential opens.
    pub check: Option<String>,
    pub(crate) file: File,
}

impl Provider {
    fn read(name: &str, text: &str) -> Result<Self, CatalogError> {
        let wrong = |reason: String| CatalogError { file: name.to_owned(), reason };
        let mut file: File = toml::from_str(text).map_err(|error| wrong(error.to_string()))?;
        check::check(&file).map_err(wrong)?;
        for route in &mut file.routes {
            route.pieces = template::pieces(&format!("{}{}", file.base, route.call.path));
        }
        Ok(Self {
            id: file.id.clone(),
            name: file.name.clone(),
            base_url: file.base_url.clone(),
            protocol: file.protocol,
            error_shape: file.error_shape,
            token_endpoint: file.token_endpoint.clone(),
            revocation_endpoint: file.revocation_endpoint.clone(),
            sign_out_page: file.sign_out_page.clone(),
            check: file.check.clone(),
            file,
        })
    }

    /// Singular and plural for people: `message`, `messages`. The kind itself if the file has no noun.
    #[must_use]
    pub fn noun(&self, kind: &str) -> [String; 2] {
        self.file.kinds.get(kind).map_or_else(|| [kind.to_owned(), kind.to_owned()], |kind| kind.noun.clone())
    }

    /// The deny button's text: `Keep them`, `Don't send`.
    #[must_use]
    pub fn keep(&self, operation: &Operation) -> String {
        let keep = &self.file.keep;
        let text = keep.get(&operation.verb).or_else(|| keep.get(operation.class.name()));
        text.cloned().unwrap_or_else(|| "Don't".to_owned())
    }

    /// Every action of the provider, for policies and people.
    pub fn actions(&self) -> impl Iterator<Item = String> + '_ {
        self.file.routes.iter().map(|route| self.action(&route.id))
    }

    pub(crate) fn action(&self, id: &str) -> String {
        format!("{}.{id}", self.id)
    }

    /// The route of an action.
    pub(crate) fn route(&self, action: &str) -> Option<&Route> {
        let id = action.strip_prefix(&self.id)?.strip_prefix('.')?;
        self.file.routes.iter().find(|route| route.id == id)
    }

    /// The target of a recipe's path template for one object.
    pub(crate) fn target(&self, path: &str, params: &[(String, String)], object: &str) -> Option<String> {
        template::fill(&self.full(path), |name| match name {
            "object" => Some(object.to_owned()),
            _ => params.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()),
        })
    }

    /// The path template of a route or recipe below `base`.
    pub(crate) fn full(&self, path: &str) -> String {
        format!("{}{path}", self.file.base)
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
        Self::parse(&SHIPPED)
    }

    /// Reads provider files: name and TOML text.
    pub fn parse(files: &[(&str, &str)]) -> Result<Self, CatalogError> {
        let providers = files.iter().map(|(name, text)| Provider::read(name, text)).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { providers })
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
