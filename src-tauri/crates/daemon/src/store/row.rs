//! A journal record as a row, both ways.

use latch_core::call::Digest;
use latch_core::journal::{self, Record};
use latch_core::time::Time;
use rusqlite::types::{FromSqlError, Type};
use rusqlite::{Connection, Row, params};

use super::codes;
use super::head::WriteError;
use crate::seal::Key;

/// The columns that [`fill`] reads, in its order.
pub(super) const COLUMNS: &str =
    "seq, hash, text_hash, wall, time, kind, agent, account, action, class, count, text, refers, digest, undo";

const INSERT: &str = "INSERT INTO journal (seq, wall, time, kind, agent, account, action, class, count, text, refers, digest, undo, hash, text_hash, \
                      object_text) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";

/// Appends one record after `previous`; returns its hash.
pub(super) fn insert(
    connection: &Connection,
    key: &Key,
    seq: u64,
    previous: &Digest,
    record: &Record,
) -> Result<Digest, WriteError> {
    let text = record.object_text.as_deref();
    let text_hash = text_hash(text);
    let hash = journal::chain_with_text(previous, seq, record, &text_hash);
    let sealed = match text {
        Some(text) => {
            Some(key.seal(&text_place(&text_hash.to_string()), text.as_bytes()).map_err(|_| WriteError::Unsealed)?)
        }
        None => None,
    };
    connection.prepare_cached(INSERT)?.execute(params![
        signed(seq),
        signed(record.wall),
        signed(record.time.0),
        codes::kind_code(record.kind),
        record.agent,
        record.account,
        record.action,
        record.class.map(codes::class_code),
        record.count,
        record.text,
        record.refers.map(signed),
        record.digest.as_ref().map(|digest| digest.0.as_slice()),
        record.undo,
        hash.0.as_slice(),
        text.map(|_| text_hash.0.as_slice()),
        sealed,
    ])?;
    Ok(hash)
}

/// Where an object text is sealed for: it opens beside its own hash only, and the chain covers that.
pub(super) fn text_place(hash: &str) -> [&str; 2] {
    ["journal", hash]
}

/// The hash that the chain covers.
pub(super) fn text_hash(text: Option<&str>) -> Digest {
    Digest::of(&[text.unwrap_or_default().as_bytes()])
}

/// What stands beside a record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chain {
    pub(super) seq: u64,
    pub(super) hash: Digest,
    /// `None` where there was never an object text.
    pub(super) text_hash: Option<Digest>,
}

/// Reads a row of [`COLUMNS`] into a record, whose buffers it reuses.
pub(super) fn fill(row: &Row<'_>, record: &mut Record) -> rusqlite::Result<Chain> {
    let chain =
        Chain { seq: unsigned(row, 0)?, hash: digest(row, 1)?.unwrap_or(Digest([0; 32])), text_hash: digest(row, 2)? };
    record.wall = unsigned(row, 3)?;
    record.time = Time(unsigned(row, 4)?);
    record.kind = code(row, 5, codes::kind_of)?;
    text(row, 6, &mut record.agent)?;
    text(row, 7, &mut record.account)?;
    text(row, 8, &mut record.action)?;
    record.class = match row.get_ref(9)?.as_i64_or_null()? {
        Some(_) => Some(code(row, 9, codes::class_of)?),
        None => None,
    };
    record.count = row.get(10)?;
    record.text.clear();
    record.text.push_str(row.get_ref(11)?.as_str()?);
    record.refers = match row.get_ref(12)?.as_i64_or_null()? {
        Some(_) => Some(unsigned(row, 12)?),
        None => None,
    };
    record.digest = digest(row, 13)?;
    text(row, 14, &mut record.undo)?;
    record.object_text = None;
    Ok(chain)
}

/// A record to [`fill`].
pub(super) fn blank() -> Record {
    Record {
        wall: 0,
        time: Time(0),
        kind: journal::Kind::Read,
        agent: None,
        account: None,
        action: None,
        class: None,
        count: 0,
        text: String::new(),
        refers: None,
        digest: None,
        undo: None,
        object_text: None,
    }
}

/// SQLite's integers are signed; our times and numbers stay far below.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    u64::try_from(value).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, value))
}

pub(super) fn code<T>(row: &Row<'_>, column: usize, of: fn(u8) -> Option<T>) -> rusqlite::Result<T> {
    let number: i64 = row.get(column)?;
    let strange = || rusqlite::Error::IntegralValueOutOfRange(column, number);
    of(u8::try_from(number).map_err(|_| strange())?).ok_or_else(strange)
}

fn digest(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<Digest>> {
    let Some(bytes) = row.get_ref(column)?.as_blob_or_null()? else { return Ok(None) };
    let wrong = || FromSqlError::InvalidBlobSize { expected_size: 32, blob_size: bytes.len() };
    let bytes = <[u8; 32]>::try_from(bytes)
        .map_err(|_| rusqlite::Error::FromSqlConversionFailure(column, Type::Blob, Box::new(wrong())))?;
    Ok(Some(Digest(bytes)))
}

fn text(row: &Row<'_>, column: usize, into: &mut Option<String>) -> rusqlite::Result<()> {
    match row.get_ref(column)?.as_str_or_null()? {
        Some(value) => {
            let into = into.get_or_insert_default();
            into.clear();
            into.push_str(value);
        }
        None => *into = None,
    }
    Ok(())
}
