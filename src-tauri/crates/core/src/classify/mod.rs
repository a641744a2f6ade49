//! From a protocol to operations.

pub(crate) mod batch;
mod body;
pub mod dav;
pub mod http;
pub mod imap;
pub(crate) mod json;
pub(crate) mod mail;
pub(crate) mod normalise;
pub mod sieve;
pub mod smtp;
pub(crate) mod upload;

#[cfg(test)]
mod tests;

pub use batch::{Answered, batch_answer};

/// Why a request can't be interpreted safely. It is answered with a 4xx status and nothing goes upstream.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{title}: {detail}")]
pub struct Refusal {
    /// The HTTP status, 4xx.
    pub status: u16,
    /// One short sentence: what is wrong.
    pub title: String,
    /// Who is to blame and what to do next.
    pub detail: String,
}

impl Refusal {
    pub(crate) fn new(status: u16, title: &str, detail: impl Into<String>) -> Self {
        Self { status, title: title.to_owned(), detail: detail.into() }
    }
}
