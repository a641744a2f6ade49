//! The proof of permission for one upstream call (invariants I1 and I3).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::call::{Call, Digest};

/// Raised by panic; everything older is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Epoch(pub u64);

/// The current epoch, readable without the Guard's lock at every chunk that would leave.
#[derive(Debug, Clone)]
pub struct EpochGate(Arc<AtomicU64>);

impl EpochGate {
    /// A gate at an epoch.
    #[must_use]
    pub fn new(epoch: Epoch) -> Self {
        Self(Arc::new(AtomicU64::new(epoch.0)))
    }

    /// The epoch now.
    #[must_use]
    pub fn current(&self) -> Epoch {
        Epoch(self.0.load(Ordering::SeqCst))
    }

    /// Moves on by one and returns the new epoch: the first thing that panic does.
    pub fn raise(&self) -> Epoch {
        Epoch(self.0.fetch_add(1, Ordering::SeqCst).wrapping_add(1))
    }

    /// Whether something of this epoch may still leave.
    #[must_use]
    pub fn admits(&self, epoch: Epoch) -> bool {
        self.current() == epoch
    }
}

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The agent's operation itself.
    Operation,
    /// The guard's own reading for the person or for undo.
    Preview,
    /// Putting back, for the owner.
    Undo,
    /// A fresh access token at the provider.
    Refresh,
    /// Signing out at the provider.
    Revocation,
}

/// Permission for exactly one call. Not `Clone`, made only by the [`crate::guard::Guard`], consumed by the upstream.
///
/// ```compile_fail
/// let lease = latch_core::lease::Lease { purpose: latch_core::lease::Purpose::Operation };
/// ```
#[derive(Debug)]
#[must_use = "a lease that is not redeemed is a call that was not made"]
pub struct Lease {
    purpose: Purpose,
    account: String,
    call: Digest,
    epoch: Epoch,
}

/// Why a lease does not fit. The call must not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Panic came in between.
    #[error("stopped by panic before it left")]
    Stopped,
    /// The call is not the one that was permitted: our own fault.
    #[error("the call is not the permitted one")]
    OtherCall,
    /// The account is not the permitted one: our own fault.
    #[error("the account is not the permitted one")]
    OtherAccount,
}

/// A redeemed lease: what remains is to ask, at every chunk, whether its epoch still stands.
#[derive(Debug)]
pub struct Redeemed {
    purpose: Purpose,
    epoch: Epoch,
    gate: EpochGate,
}

impl Lease {
    pub(crate) fn mint(purpose: Purpose, account: String, call: Digest, epoch: Epoch) -> Self {
        Self { purpose, account, call, epoch }
    }

    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Consumes the lease if it is for this call, this account and the present epoch.
    pub fn redeem(self, account: &str, call: &Call, gate: &EpochGate) -> Result<Redeemed, LeaseError> {
        if self.account != account {
            return Err(LeaseError::OtherAccount);
        }
        if self.call != call.digest() {
            return Err(LeaseError::OtherCall);
        }
        if !gate.admits(self.epoch) {
            return Err(LeaseError::Stopped);
        }
        Ok(Redeemed { purpose: self.purpose, epoch: self.epoch, gate: gate.clone() })
    }
}

impl Redeemed {
    /// What it is for.
    #[must_use]
    pub fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// The epoch that it was minted in; what its call needs besides, such as a fresh access token, is leased in the same one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Asked before every chunk that leaves.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.gate.admits(self.epoch)
    }
}
