//! Reading the journal, beside the writer.

use latch_core::call::Digest;
use latch_core::journal::Record;
use rusqlite::{Connection, OptionalExtension, params};

use super::row::{self, COLUMNS};
use super::writer::guard;
use super::{Prepared, Store, StoreError};

/// Records that are searched for one agent's: it has no index, and whoever asks must not keep the disk busy.
const SEARCHED: u64 = 100_000;

/// A record as it is stored; its object text is fetched on its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Its number.
    pub seq: u64,
    /// The record, without object text.
    pub record: Record,
}

impl Store {
    /// The newest records before `before`, newest first, at most `limit`. What waits is written first, so that nothing recent is missing.
    pub async fn tail(&self, before: Option<u64>, limit: u32, skip_reads: bool) -> Result<Vec<Stored>, StoreError> {
        if before.is_none() && self.failed().is_none() {
            self.write(Prepared::default()).await?;
        }
        self.reading(move |connection| tail(connection, before, limit, skip_reads)).await
    }

    /// One agent's newest records before `before`, newest first, at most `limit`, among the newest 100,000 before `before`.
    pub async fn tail_of(
        &self,
        agent: &str,
        before: Option<u64>,
        limit: u32,
        skip_reads: bool,
    ) -> Result<Vec<Stored>, StoreError> {
        if before.is_none() && self.failed().is_none() {
            self.write(Prepared::default()).await?;
        }
        let agent = agent.to_owned();
        let before = before.unwrap_or(u64::MAX).min(self.head().0.saturating_add(1));
        self.reading(move |connection| tail_of(connection, &agent, before, limit, skip_reads)).await
    }

    /// One record.
    pub async fn record(&self, seq: u64) -> Result<Option<Stored>, StoreError> {
        self.reading(move |connection| one(connection, seq)).await
    }

    /// A record's object text, unless it has none or it was erased.
    pub async fn object_text(&self, seq: u64) -> Result<Option<String>, StoreError> {
        let key = self.0.key.clone();
        self.reading(move |connection| {
            let sql = "SELECT text_hash, object_text FROM journal WHERE seq = ?1 AND object_text IS NOT NULL";
            let found: Option<(Vec<u8>, Vec<u8>)> = connection
                .prepare_cached(sql)?
                .query_row([row::signed(seq)], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((hash, sealed)) = found else { return Ok(None) };
            let hash = Digest(<[u8; 32]>::try_from(hash.as_slice()).unwrap_or_default()).to_string();
            let plain = key.open(&row::text_place(&hash), &sealed)?;
            Ok(Some(String::from_utf8_lossy(&plain).into_owned()))
        })
        .await
    }

    /// A record's hash, for the comparison with the vault's anchor at start. Blocks for one small read.
    pub fn hash_at(&self, seq: u64) -> Result<Option<Digest>, StoreError> {
        let reader = guard(&self.0.reader);
        let found: Option<Vec<u8>> = reader
            .prepare_cached("SELECT hash FROM journal WHERE seq = ?1")?
            .query_row([row::signed(seq)], |row| row.get(0))
            .optional()?;
        Ok(found.and_then(|hash| <[u8; 32]>::try_from(hash.as_slice()).ok()).map(Digest))
    }

    async fn reading<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || read(&guard(&store.0.reader)))
            .await
            .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }
}

fn tail(connection: &Connection, before: Option<u64>, limit: u32, skip_reads: bool) -> Result<Vec<Stored>, StoreError> {
    // The planner would rather walk all rows than use the partial index.
    let from = if skip_reads { "journal INDEXED BY journal_acts WHERE kind <> 5 AND" } else { "journal WHERE" };
    let sql = format!("SELECT {COLUMNS} FROM {from} seq < ?1 ORDER BY seq DESC LIMIT ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![row::signed(before.unwrap_or(u64::MAX)), limit])?;
    let mut found = Vec::new();
    while let Some(next) = rows.next()? {
        let mut record = row::blank();
        let seq = row::fill(next, &mut record)?.seq;
        found.push(Stored { seq, record });
    }
    Ok(found)
}

fn tail_of(
    connection: &Connection,
    agent: &str,
    before: u64,
    limit: u32,
    skip_reads: bool,
) -> Result<Vec<Stored>, StoreError> {
    let reads = if skip_reads { "AND kind <> 5" } else { "" };
    let sql = format!(
        "SELECT {COLUMNS} FROM journal WHERE seq < ?1 AND seq >= ?2 AND agent = ?3 {reads} ORDER BY seq DESC LIMIT ?4"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let from = before.saturating_sub(SEARCHED);
    let mut rows = statement.query(params![row::signed(before), row::signed(from), agent, limit])?;
    let mut found = Vec::new();
    while let Some(next) = rows.next()? {
        let mut record = row::blank();
        let seq = row::fill(next, &mut record)?.seq;
        found.push(Stored { seq, record });
    }
    Ok(found)
}

pub(super) fn one(connection: &Connection, seq: u64) -> Result<Option<Stored>, StoreError> {
    let sql = format!("SELECT {COLUMNS} FROM journal WHERE seq = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([row::signed(seq)])?;
    let Some(next) = rows.next()? else { return Ok(None) };
    let mut record = row::blank();
    let seq = row::fill(next, &mut record)?.seq;
    Ok(Some(Stored { seq, record }))
}
