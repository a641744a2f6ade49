//! One upstream call, as it will be sent.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// A SHA-256 value, shown as lower-case hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Digest(pub [u8; 32]);

impl Digest {
    /// Hashes length-prefixed fields, so that no two lists of fields collide.
    #[must_use]
    pub fn of(fields: &[&[u8]]) -> Self {
        const SMALL: usize = 4096;
        let length = fields.iter().map(|field| field.len() + 8).sum();
        if length > SMALL {
            let mut hash = Sha256::new();
            for field in fields {
                hash.update((field.len() as u64).to_be_bytes());
                hash.update(field);
            }
            return Self(hash.finalize().into());
        }
        // One update instead of two a field: a journal check hashes millions of these.
        let mut joined = Vec::with_capacity(length);
        for field in fields {
            joined.extend_from_slice(&(field.len() as u64).to_be_bytes());
            joined.extend_from_slice(field);
        }
        Self(Sha256::digest(&joined).into())
    }

    /// Reads lower- or upper-case hex.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::fmt::Debug for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl Serialize for Digest {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_hex(&text).ok_or_else(|| serde::de::Error::custom("not a SHA-256 in hex"))
    }
}

/// Method, target, headers and body of one upstream call. The credential is not in it: the vault adds it when the call leaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// The request method.
    pub method: Method,
    /// Normalised path and query, starting with `/`, relative to the account's sealed origin.
    pub target: String,
    /// Lower-case names; only those that the guard forwards. Never `authorization`, `host`, `content-length` or a hop-by-hop header.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: CallBody,
}

/// A call's body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallBody {
    /// Fully known; covered by the digest.
    Bytes(Bytes),
    /// Put aside by the daemon while the call waits; it must be read again before the call can be leased.
    Aside(Aside),
    /// Passed through from the agent while it arrives: only for routes whose Class ignores the body. Not covered by the digest.
    Streamed,
}

/// A body that somebody else keeps. It lives as long as this, or a clone of it.
#[derive(Clone)]
pub struct Aside {
    keeper: Arc<dyn Any + Send + Sync>,
    length: usize,
    digest: Digest,
}

impl Aside {
    /// What stands for these bytes from now on.
    #[must_use]
    pub fn new(bytes: &[u8], keeper: Arc<dyn Any + Send + Sync>) -> Self {
        Self { keeper, length: bytes.len(), digest: Digest::of(&[bytes]) }
    }

    /// In bytes.
    #[must_use]
    pub fn length(&self) -> usize {
        self.length
    }

    /// Whoever keeps it, to be asked for it.
    #[must_use]
    pub fn keeper<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.keeper.downcast_ref()
    }
}

impl PartialEq for Aside {
    fn eq(&self, other: &Self) -> bool {
        self.length == other.length && self.digest == other.digest
    }
}

impl Eq for Aside {}

impl std::fmt::Debug for Aside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Aside({} bytes)", self.length)
    }
}

impl CallBody {
    /// In bytes; 0 for one that passes through.
    #[must_use]
    pub fn length(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Aside(aside) => aside.length(),
            Self::Streamed => 0,
        }
    }
}

impl Call {
    /// A call without headers and body.
    #[must_use]
    pub fn get(target: String) -> Self {
        Self { method: Method::GET, target, headers: Vec::new(), body: CallBody::Bytes(Bytes::new()) }
    }

    /// A call with a JSON body.
    #[must_use]
    pub fn json(method: Method, target: String, body: &serde_json::Value) -> Self {
        Self {
            method,
            target,
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: CallBody::Bytes(Bytes::from(body.to_string())),
        }
    }

    /// What a [`crate::lease::Lease`] is bound to.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let mut fields: Vec<&[u8]> = vec![self.method.as_str().as_bytes(), self.target.as_bytes()];
        for (name, value) in &self.headers {
            fields.push(name.as_bytes());
            fields.push(value.as_bytes());
        }
        match &self.body {
            CallBody::Bytes(bytes) => {
                fields.push(b"bytes");
                fields.push(bytes);
            }
            CallBody::Aside(aside) => {
                fields.push(b"aside");
                fields.push(&aside.digest.0);
            }
            CallBody::Streamed => fields.push(b"streamed"),
        }
        Digest::of(&fields)
    }
}
