//! The database file: its tables, its forward-only migrations, and the checks before anything in it is touched.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use rusqlite_migration::{M, Migrations};

use super::StoreError;
use crate::home;

/// `PRAGMA application_id`: "Latc".
const APPLICATION: u32 = 0x4c61_7463;
/// Written once and never edited: a change is a new entry.
const MIGRATIONS: &[M<'static>] = &[M::up(include_str!("v1.sql")), M::up(include_str!("v2.sql"))];
const QUARANTINE: &[M<'static>] = &[M::up(include_str!("quarantine.sql"))];
/// What a write-ahead log that grew during a long check shrinks to.
const LOG_LIMIT: u32 = 8 * 1024 * 1024;
const BUSY: Duration = Duration::from_secs(2);

/// Opens, checks and migrates the database for its one writer.
pub(super) fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    open(path, MIGRATIONS)
}

/// Opens, checks and migrates the quarantine's database.
pub(super) fn open_quarantine(path: &Path) -> Result<Connection, StoreError> {
    open(path, QUARANTINE)
}

fn open(path: &Path, migrations: &[M<'_>]) -> Result<Connection, StoreError> {
    let fresh = check_header(path, migrations.len())?;
    let made = home::private_file(path).and_then(|_file| if fresh { home::sync_folder(path) } else { Ok(()) });
    made.map_err(|error| StoreError::Io { path: path.to_owned(), error: error.to_string() })?;
    let mut connection = connect(path).map_err(damaged(path))?;
    prepare(&mut connection, path, fresh, migrations)?;
    Ok(connection)
}

/// A second connection that can only read.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    connection.pragma_update(None, "query_only", true)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    // Never SQLITE_OPEN_CREATE: files are made before, private.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_prepared_statement_cache_capacity(32);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update_and_check(None, "journal_size_limit", LOG_LIMIT, |_| Ok(()))?;
    Ok(connection)
}

fn prepare(connection: &mut Connection, path: &Path, fresh: bool, migrations: &[M<'_>]) -> Result<(), StoreError> {
    let damaged = damaged(path);
    if !fresh {
        // The header says the same unless the newest state is still in the write-ahead log.
        let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).map_err(&damaged)?;
        check_version(path, found, migrations.len())?;
    }
    if fresh {
        // Before the first page is written: later it would be ignored.
        connection.pragma_update(None, "auto_vacuum", "incremental").map_err(&damaged)?;
        connection.pragma_update(None, "application_id", APPLICATION).map_err(&damaged)?;
    }
    let mode: String =
        connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0)).map_err(&damaged)?;
    if mode != "wal" {
        return Err(StoreError::Io {
            path: path.to_owned(),
            error: "this file system can't hold a write-ahead log".to_owned(),
        });
    }
    connection.pragma_update(None, "synchronous", "full").map_err(&damaged)?;
    Migrations::from_slice(migrations).to_latest(connection).map_err(|error| match error {
        rusqlite_migration::Error::RusqliteError { err, .. } => damaged(err),
        other => StoreError::Damaged { path: path.to_owned(), what: other.to_string() },
    })
}

/// Reads the file's first 100 bytes, so that what is not ours is not even opened. True for a new file.
fn check_header(path: &Path, known: usize) -> Result<bool, StoreError> {
    let io = |error: std::io::Error| StoreError::Io { path: path.to_owned(), error: error.to_string() };
    let strange = |what: &str| StoreError::Damaged { path: path.to_owned(), what: what.to_owned() };
    let mut header = Vec::with_capacity(100);
    match File::open(path) {
        Ok(file) => file.take(100).read_to_end(&mut header).map_err(io)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(io(error)),
    };
    if header.is_empty() {
        return Ok(true);
    }
    let field =
        |at: usize| header.get(at..at + 4).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()).map(u32::from_be_bytes);
    let (Some(version), Some(application), true) = (field(60), field(68), header.starts_with(b"SQLite format 3\0"))
    else {
        return Err(strange("it is not a SQLite database"));
    };
    // A crash during the very first write leaves both in the write-ahead log.
    if application != APPLICATION && application != 0 {
        return Err(strange("it belongs to another program"));
    }
    check_version(path, version, known)?;
    Ok(version == 0)
}

fn check_version(path: &Path, found: u32, known: usize) -> Result<(), StoreError> {
    let known = u32::try_from(known).unwrap_or(u32::MAX);
    if found > known { Err(StoreError::Newer { path: path.to_owned(), found, known }) } else { Ok(()) }
}

/// What SQLite says while opening, in our words.
pub(super) fn damaged(path: &Path) -> impl Fn(rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    move |error| match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DatabaseCorrupt | rusqlite::ErrorCode::NotADatabase) => {
            StoreError::Damaged { path: path.clone(), what: error.to_string() }
        }
        Some(_) => StoreError::Io { path: path.clone(), error: error.to_string() },
        None => StoreError::Damaged { path: path.clone(), what: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_migrations_are_sound() {
        Migrations::from_slice(MIGRATIONS).validate().unwrap();
        Migrations::from_slice(QUARANTINE).validate().unwrap();
    }
}
