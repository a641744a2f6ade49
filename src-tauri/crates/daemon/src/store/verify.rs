//! Checking the whole journal: every record against its predecessor's hash, the end against the sealed head.
//!
//! ```text
//!   1 ......... n/k ......... 2n/k ......... n = head.seq     k threads; each starts from the stored hash before its part
//! ```

use std::path::Path;

use latch_core::call::Digest;
use latch_core::journal::chain_with_text;
use rusqlite::{Connection, OptionalExtension, params};

use super::row::{self, COLUMNS};
use super::{Prepared, Store, StoreError, head, schema};
use crate::seal::Key;

/// What became of the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Records that fit.
    pub records: u64,
    /// Where and why it does not hold; `None` when all of it does.
    pub broken: Option<Broken>,
}

/// The first record that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Its number.
    pub at: u64,
    /// A sentence.
    pub why: String,
}

/// Few enough to leave the machine usable.
const THREADS: u64 = 4;
/// Below this one thread is quicker.
const SMALL: u64 = 20_000;

/// Checked at every start; the rest when asked.
const RECENT: u64 = 200;

impl Store {
    /// Checks the whole journal beside the writer, which goes on.
    pub async fn verify(&self) -> Result<Verified, StoreError> {
        if self.failed().is_none() {
            self.write(Prepared::default()).await?;
        }
        let (path, key) = (self.0.home.database(), self.0.key.clone());
        let checked = tokio::task::spawn_blocking(move || verify_now(&path, &key));
        checked.await.unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }
}

/// Checks the database as it is on disk; blocks.
pub(super) fn verify_now(path: &Path, key: &Key) -> Result<Verified, StoreError> {
    let first = schema::open_reader(path)?;
    first.execute_batch("BEGIN")?;
    let (end, last) = match head::read(&first, key)? {
        Some(Some(head)) => (head.seq, head.hash.0),
        Some(None) | None => return Ok(broken(0, 1, "the journal's seal was removed or changed")),
    };
    let parts =
        if end < SMALL { 1 } else { std::thread::available_parallelism().map_or(1, |n| n.get() as u64).min(THREADS) };
    let bounds: Vec<(u64, u64)> = (0..parts).map(|part| (end * part / parts, end * (part + 1) / parts)).collect();
    let results: Vec<Result<Verified, StoreError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = bounds
            .iter()
            .map(|&(after, to)| scope.spawn(move || check(&schema::open_reader(path)?, key, after, to)))
            .collect();
        let fault = || StoreError::Database("a checking thread stopped".to_owned());
        threads.into_iter().map(|thread| thread.join().unwrap_or_else(|_| Err(fault()))).collect()
    });
    let mut records = 0;
    for result in results {
        let part = result?;
        records += part.records;
        if part.broken.is_some() {
            return Ok(Verified { records, broken: part.broken });
        }
    }
    Ok(check_end(&first, records, end, &last)?.unwrap_or(Verified { records, broken: None }))
}

/// The last records, at every start: a sentence about what is wrong with them.
pub(super) fn recent(connection: &Connection, key: &Key, end: u64) -> Result<Option<String>, StoreError> {
    let checked = check(connection, key, end.saturating_sub(RECENT), end)?;
    Ok(checked.broken.map(|Broken { at, why }| format!("journal record {at}: {why}")))
}

/// Records `after + 1 ..= to`.
fn check(connection: &Connection, key: &Key, after: u64, to: u64) -> Result<Verified, StoreError> {
    let mut records = 0;
    let mut at = after;
    match walk(connection, key, to, &mut at, &mut records) {
        Ok(None) if at == to => Ok(Verified { records, broken: None }),
        Ok(None) => Ok(broken(records, at + 1, "the record is missing")),
        Ok(Some(why)) => Ok(broken(records, at + 1, why)),
        // A row that can't even be read is the same finding; an unreachable disk is not.
        Err(error) => match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) | None => {
                Ok(broken(records, at + 1, &format!("the record can't be read: {error}")))
            }
            Some(_) => Err(error.into()),
        },
    }
}

fn walk(
    connection: &Connection,
    key: &Key,
    to: u64,
    at: &mut u64,
    records: &mut u64,
) -> rusqlite::Result<Option<&'static str>> {
    let mut previous = Digest([0; 32]);
    if *at > 0 {
        let sql = "SELECT hash FROM journal WHERE seq = ?1";
        let hash: Option<[u8; 32]> = connection.query_row(sql, [row::signed(*at)], |row| row.get(0)).optional()?;
        match hash {
            Some(hash) => previous = Digest(hash),
            // Its own part reports it as well; this one can't go on without it.
            None => {
                *at -= 1;
                return Ok(Some("the record is missing"));
            }
        }
    }
    let sql = format!("SELECT {COLUMNS}, object_text FROM journal WHERE seq > ?1 AND seq <= ?2 ORDER BY seq");
    let mut statement = connection.prepare(&sql)?;
    let mut rows = statement.query(params![row::signed(*at), row::signed(to)])?;
    let nothing = row::text_hash(None);
    let mut record = row::blank();
    while let Some(next) = rows.next()? {
        let chain = row::fill(next, &mut record)?;
        if chain.seq != *at + 1 {
            return Ok(Some("the record is missing"));
        }
        let text_hash = chain.text_hash.unwrap_or(nothing);
        if chain_with_text(&previous, chain.seq, &record, &text_hash) != chain.hash {
            return Ok(Some("the record was changed"));
        }
        if !text_fits(next, key, &text_hash)? {
            return Ok(Some("the record's object text was changed"));
        }
        previous = chain.hash;
        *at = chain.seq;
        *records += 1;
    }
    Ok(None)
}

/// An object text that is still there is the one that was hashed.
fn text_fits(row: &rusqlite::Row<'_>, key: &Key, hash: &Digest) -> rusqlite::Result<bool> {
    const OBJECT_TEXT: usize = 15;
    let Some(sealed) = row.get_ref(OBJECT_TEXT)?.as_blob_or_null()? else { return Ok(true) };
    let plain = key.open(&row::text_place(&hash.to_string()), sealed);
    Ok(plain.is_ok_and(|plain| Digest::of(&[plain.as_slice()]) == *hash))
}

/// The newest row is the head's.
fn check_end(connection: &Connection, records: u64, end: u64, last: &Digest) -> Result<Option<Verified>, StoreError> {
    let sql = "SELECT seq, hash FROM journal ORDER BY seq DESC LIMIT 1";
    let found: Option<(i64, [u8; 32])> =
        connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    let (seq, hash) =
        found.map_or((0, Digest([0; 32])), |(seq, hash)| (u64::try_from(seq).unwrap_or_default(), Digest(hash)));
    Ok(if seq > end {
        Some(broken(records, end + 1, "the record was not written by Latchstring"))
    } else if hash != *last {
        Some(broken(records, end, "the newest record is not the one that was sealed"))
    } else {
        None
    })
}

fn broken(records: u64, at: u64, why: &str) -> Verified {
    Verified { records, broken: Some(Broken { at, why: why.to_owned() }) }
}
