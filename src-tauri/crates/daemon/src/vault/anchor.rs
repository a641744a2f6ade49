use latch_core::call::Digest;
use latch_core::lease::Epoch;
use serde::{Deserialize, Serialize};

/// How far the database was, kept where a copy of the home folder does not reach (invariant I11).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Anchor {
    /// The newest durable record.
    pub seq: u64,
    /// Its hash.
    pub hash: Digest,
    /// The epoch.
    pub epoch: Epoch,
    /// Everything was stopped.
    pub panicked: bool,
}

/// The database as it is found at start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// The newest record; zero in a new database.
    pub seq: u64,
    /// The hash of the record with the anchor's number, if there is one.
    pub hash_at_anchor: Option<Digest>,
    /// The stored epoch.
    pub epoch: Epoch,
    /// The stored panic flag.
    pub panicked: bool,
}

impl Anchor {
    /// Why an engine that finds this database must start panicked; `None` when the database is the anchor's own or a continuation of it.
    #[must_use]
    pub fn contradicts(&self, present: &Present) -> Option<String> {
        if present.seq < self.seq {
            return Some(format!(
                "the database is older than what the vault remembers ({} records, the vault saw {}): an older copy was put back, or records were lost",
                present.seq, self.seq
            ));
        }
        if self.seq > 0 && present.hash_at_anchor != Some(self.hash) {
            return Some(format!(
                "record {} is not the one that the vault remembers: the database was replaced or changed",
                self.seq
            ));
        }
        if present.epoch < self.epoch {
            return Some("the last panic was not recorded in the database".to_owned());
        }
        if self.panicked && !present.panicked && present.seq == self.seq {
            return Some("the vault remembers a panic that the database does not".to_owned());
        }
        None
    }
}
