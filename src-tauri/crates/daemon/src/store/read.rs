//! Reading the journal, beside the writer.

use latch_core::call::Digest;
use latch_core::journal::{Record, Shelf};
use rusqlite::{Connection, OptionalExtension, params};
use serde_json::Value;

use super::head::Place;
use super::row::{self, COLUMNS};
use super::writer::guard;
use super::{Prepared, Store, StoreError, codes, load};
use crate::seal::Key;

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

/// Where a page of a shelf begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Newest first, before this position; `i64::MAX` for the first page.
    Before(i64),
    /// Oldest first, after this position; 0 for the first page.
    After(i64),
}

impl Store {
    /// One document.
    pub async fn document(&self, shelf: Shelf, id: &str) -> Result<Option<Value>, StoreError> {
        let (key, id) = (self.0.key.clone(), id.to_owned());
        self.reading(move |connection| {
            let place = load::place(&key, shelf, &id);
            let sealed: Option<Vec<u8>> = connection
                .prepare_cached("SELECT sealed FROM doc WHERE place = ?1")?
                .query_row([place.as_slice()], |row| row.get(0))
                .optional()?;
            let found = sealed.and_then(|sealed| load::unseal(&key, shelf, &place, &sealed));
            Ok(found.filter(|found| found.id == id).map(|found| found.value))
        })
        .await
    }

    /// Whether there is a document of this name, be it one that can't be opened.
    pub async fn is_stored(&self, shelf: Shelf, id: &str) -> Result<bool, StoreError> {
        let (key, id) = (self.0.key.clone(), id.to_owned());
        self.reading(move |connection| {
            let place = load::place(&key, shelf, &id);
            Ok(connection.prepare_cached("SELECT 1 FROM doc WHERE place = ?1")?.exists([place.as_slice()])?)
        })
        .await
    }

    /// A page of a shelf's documents in the order in which they were first stored, and where the next one begins. Documents that can't be opened are
    /// left out: the next start says so.
    pub async fn page(&self, shelf: Shelf, from: Page, limit: u32) -> Result<(Vec<Value>, Option<Page>), StoreError> {
        let key = self.0.key.clone();
        self.reading(move |connection| page(connection, &key, shelf, from, limit)).await
    }

    /// How many documents a shelf has.
    pub async fn count(&self, shelf: Shelf) -> Result<u64, StoreError> {
        self.reading(move |connection| {
            let count: i64 = connection
                .prepare_cached("SELECT count(*) FROM doc WHERE shelf = ?1")?
                .query_row([codes::shelf_code(shelf)], |row| row.get(0))?;
            Ok(u64::try_from(count).unwrap_or_default())
        })
        .await
    }

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
    stored(statement.query(params![row::signed(before.unwrap_or(u64::MAX)), limit])?)
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
    stored(statement.query(params![row::signed(before), row::signed(from), agent, limit])?)
}

fn stored(mut rows: rusqlite::Rows<'_>) -> Result<Vec<Stored>, StoreError> {
    let mut found = Vec::new();
    while let Some(next) = rows.next()? {
        let mut record = row::blank();
        let seq = row::fill(next, &mut record)?.seq;
        found.push(Stored { seq, record });
    }
    Ok(found)
}

fn page(
    connection: &Connection,
    key: &Key,
    shelf: Shelf,
    from: Page,
    limit: u32,
) -> Result<(Vec<Value>, Option<Page>), StoreError> {
    let (sql, start) = match from {
        Page::Before(at) => {
            ("SELECT rowid, place, sealed FROM doc WHERE shelf = ?1 AND rowid < ?2 ORDER BY rowid DESC LIMIT ?3", at)
        }
        Page::After(at) => {
            ("SELECT rowid, place, sealed FROM doc WHERE shelf = ?1 AND rowid > ?2 ORDER BY rowid LIMIT ?3", at)
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![codes::shelf_code(shelf), start, limit])?;
    let (mut values, mut seen, mut last) = (Vec::new(), 0, start);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = row.get(0)?;
        let place: Vec<u8> = row.get(1)?;
        let place = Place::try_from(place.as_slice()).unwrap_or_default();
        let sealed = row.get_ref(2)?.as_blob().map_err(|error| StoreError::Database(error.to_string()))?;
        values.extend(load::unseal(key, shelf, &place, sealed).map(|found| found.value));
    }
    let next = (seen == limit).then_some(match from {
        Page::Before(_) => Page::Before(last),
        Page::After(_) => Page::After(last),
    });
    Ok((values, next))
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
