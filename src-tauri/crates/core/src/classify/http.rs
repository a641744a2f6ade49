//! From an HTTP request to operations.

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::Refusal;
use crate::catalog::Provider;
use crate::operation::Request;

/// A request's head as it arrived at the door.
#[derive(Debug, Clone, Copy)]
pub struct Head<'a> {
    /// The request method.
    pub method: &'a Method,
    /// Path and query after the `/{account}` prefix, as received.
    pub target: &'a str,
    /// All headers as received; only an allow-list of them is forwarded.
    pub headers: &'a HeaderMap,
    /// The account's prefix, `/{account}`, which calls inside a batch may repeat; empty if there is none.
    pub mount: &'a str,
}

/// Whether the body must be read before the operation is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BodyNeed {
    /// The Class ignores the body: classify with an empty one; the call's body is [`crate::call::CallBody::Streamed`].
    Stream,
    /// Read all of it, at most so many bytes (more is answered 413), then classify.
    Buffer {
        /// The limit in bytes.
        limit: usize,
    },
}

/// A request whose route is known.
#[derive(Debug, Clone)]
pub struct Routed<'a> {
    provider: &'a Provider,
}

/// Finds the route, or says why the request can't be interpreted.
pub fn route<'a>(provider: &'a Provider, head: Head<'_>) -> Result<Routed<'a>, Refusal> {
    let _ = head;
    Ok(Routed { provider })
}

impl Routed<'_> {
    /// What must be read before [`Routed::classify`].
    #[must_use]
    pub fn body(&self) -> BodyNeed {
        BodyNeed::Buffer { limit: 0 }
    }

    /// Says what the request would do.
    pub fn classify(&self, _body: &Bytes) -> Result<Request, Refusal> {
        Err(Refusal::new(404, "Unknown", self.provider.id.clone()))
    }
}
