//! The upstream calls that a decision leads to.
//!
//! ```text
//!   Permit (only the Guard makes one) ── begin ──> Plan ── intent ──> record ── lease ──> Lease ── redeemed by the upstream
//! ```
//! Neither is `Clone`; a call of a plan is leased at most once.

use crate::call::{Call, Digest};
use crate::journal::Charge;
use crate::lease::Epoch;
use crate::operation::Class;
use crate::time::Span;

/// The Guard's word that a request may run. Consumed by [`crate::guard::Guard::begin`].
#[derive(Debug)]
#[must_use = "a permit that is dropped is a request that never ran"]
pub struct Permit {
    pub(crate) agent: String,
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) class: Class,
    pub(crate) count: u32,
    pub(crate) digest: Digest,
    pub(crate) epoch: Epoch,
    pub(crate) hold: Option<String>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) delay: Option<Span>,
    pub(crate) forever: bool,
}

impl Permit {
    /// The Class that was decided.
    #[must_use]
    pub fn class(&self) -> Class {
        self.class
    }

    /// For whom it runs.
    #[must_use]
    pub fn agent(&self) -> &str {
        &self.agent
    }

    /// The epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The hold that it came from.
    #[must_use]
    pub fn hold(&self) -> Option<&str> {
        self.hold.as_deref()
    }

    /// The obligation to wait in the outbox.
    #[must_use]
    pub fn delay(&self) -> Option<Span> {
        self.delay
    }

    /// The person chose not to soften.
    #[must_use]
    pub fn forever(&self) -> bool {
        self.forever
    }
}

/// The calls that may still leave under a permit.
#[derive(Debug)]
pub struct Plan {
    pub(crate) agent: Option<String>,
    pub(crate) account: String,
    pub(crate) action: String,
    pub(crate) class: Class,
    pub(crate) count: u32,
    pub(crate) digest: Digest,
    pub(crate) epoch: Epoch,
    pub(crate) hold: Option<String>,
    pub(crate) charges: Vec<Charge>,
    pub(crate) undo: bool,
    /// Call digests in order; `None` once leased.
    pub(crate) calls: Vec<Option<Digest>>,
}

impl Plan {
    pub(crate) fn digests(calls: &[Call]) -> Vec<Option<Digest>> {
        calls.iter().map(|call| Some(call.digest())).collect()
    }

    /// For whom it runs; `None`: for the owner.
    #[must_use]
    pub fn agent(&self) -> Option<&str> {
        self.agent.as_deref()
    }

    /// The epoch that it belongs to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// What the person or the agent knows it as.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }
}
