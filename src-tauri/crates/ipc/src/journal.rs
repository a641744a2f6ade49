//! What is asked of the journal.

use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::secret::Secret;

/// `journal.tail`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JournalTailParams {
    /// Only records before this sequence number: the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Leave reads out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reads: Option<bool>,
}

/// `journal.own`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct JournalOwnParams {
    /// Whose; over the control socket it may be left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<String>,
    /// Over the control socket, where the peer can't be recognised by its process chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pairing_secret: Option<Secret>,
    /// Only records before this sequence number: the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most this many, and at most 1000; 100 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Leave reads out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub skip_reads: Option<bool>,
}

/// What `journal.verify` answers.
#[derive(Debug, Clone, Serialize, Deserialize, TS)]
#[ts(export)]
pub struct JournalVerified {
    /// The chain holds.
    pub ok: bool,
    /// Records checked.
    pub records: u64,
    /// The first record that does not fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_at: Option<u64>,
}
