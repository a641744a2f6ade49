use std::path::PathBuf;

use rusqlite::ErrorCode;

use crate::seal::SealError;

/// Why the store can't do something, and who can help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// A write failed; everything is refused until the engine starts again.
    #[error("{0}")]
    Failed(String),
    /// Made by a later version.
    #[error("{} was written by a newer Latchstring (format {found}, this one knows {known}): update this program. Nothing was changed", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// Ours.
        known: u32,
    },
    /// Not a database, or a broken one.
    #[error("{} is damaged ({what}). Nothing was changed: put back a copy of it, or move it away to start anew", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
    /// Sealed with a key that the vault does not have.
    #[error("{} was sealed with another key than the vault's: start with the vault that it was set up with, or with an empty --home. Nothing was changed", .0.display())]
    OtherKey(PathBuf),
    /// The quarantine has no room left.
    #[error(
        "the quarantine is full ({used} of {limit} bytes used, {needed} more needed), so nothing was deleted: clear it, or raise its limit in the settings"
    )]
    QuarantineFull {
        /// Bytes in use.
        used: u64,
        /// Bytes allowed.
        limit: u64,
        /// Bytes asked for.
        needed: u64,
    },
    /// Reading, or a write outside the journal, did not work.
    #[error("the database can't be used: {0}")]
    Database(String),
    /// The operating system said no.
    #[error("can't use {}: {error}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// What it said.
        error: String,
    },
    /// Sealing failed.
    #[error(transparent)]
    Seal(#[from] SealError),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error.to_string())
    }
}

/// The sentence that everybody hears after a failed write.
pub(super) fn refusal(error: &rusqlite::Error) -> String {
    let what = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "the disk is full. Make room, then start Latchstring again",
        Some(ErrorCode::ReadOnly) => {
            "the database can't be written to. Make its folder writable, then start Latchstring again"
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "the database is damaged. Stop Latchstring and put back a copy of it, or move it away to start anew"
        }
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another program keeps the database locked. Close it, then start Latchstring again"
        }
        Some(_) | None => {
            return format!(
                "Nothing can be recorded any more, so nothing is let through: {error}. Start Latchstring again once that is mended"
            );
        }
    };
    format!("Nothing can be recorded any more, so nothing is let through: {what}")
}
