//! The quarantine: sealed copies of what is about to be destroyed, in a database of their own, bounded by bytes. When it is full nothing more is
//! destroyed; nothing is evicted early.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::writer::guard;
use super::{Store, StoreError, schema};
use crate::home::Home;
use crate::seal::Key;

const DEFAULT_LIMIT: u64 = 512 * 1024 * 1024;

/// A copy to keep.
#[derive(Clone, PartialEq, Eq)]
pub struct Copied {
    /// The undo entry that it belongs to.
    pub entry: String,
    /// The upstream's id of the object.
    pub object: String,
    /// What is needed to put it back.
    pub content: Vec<u8>,
}

/// A copy that is kept, without its content.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// The undo entry that it belongs to.
    pub entry: String,
    /// The upstream's id of the object.
    pub object: String,
    /// Its size.
    pub bytes: u64,
}

/// How full the quarantine is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuarantineSize {
    /// Copies.
    pub items: u32,
    /// Bytes used.
    pub bytes: u64,
    /// Bytes allowed.
    pub limit: u64,
}

pub(super) struct Quarantine {
    path: PathBuf,
    key: Key,
    connection: Mutex<Connection>,
    limit: AtomicU64,
}

impl Store {
    /// Sets the bound in bytes; what is already kept stays.
    pub fn set_quarantine_limit(&self, bytes: u64) {
        self.0.quarantine.limit.store(bytes, Ordering::SeqCst);
    }

    /// Keeps copies, all or none; durable when it returns. An error means: do not destroy.
    pub async fn quarantine_put(&self, copies: Vec<Copied>) -> Result<(), StoreError> {
        self.quarantine(move |quarantine| quarantine.put(&copies)).await
    }

    /// Every copy, without its content.
    pub async fn quarantine_list(&self) -> Result<Vec<Quarantined>, StoreError> {
        self.quarantine(Quarantine::list).await
    }

    /// A copy's content, to put it back. It stays until [`Store::quarantine_forget`] says that it is back.
    pub async fn quarantine_take(&self, entry: &str, object: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let (entry, object) = (entry.to_owned(), object.to_owned());
        self.quarantine(move |quarantine| quarantine.take(&entry, &object)).await
    }

    /// Erases the copies of these objects.
    pub async fn quarantine_forget(&self, entry: &str, objects: Vec<String>) -> Result<(), StoreError> {
        let entry = entry.to_owned();
        self.quarantine(move |quarantine| quarantine.forget(&entry, &objects)).await
    }

    /// Erases all copies; on the person's word only.
    pub async fn quarantine_clear(&self) -> Result<(), StoreError> {
        self.quarantine(Quarantine::clear).await
    }

    /// How full it is.
    pub async fn quarantine_size(&self) -> Result<QuarantineSize, StoreError> {
        self.quarantine(Quarantine::size).await
    }

    async fn quarantine<T: Send + 'static>(
        &self,
        act: impl FnOnce(&Quarantine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        tokio::task::spawn_blocking(move || act(&store.0.quarantine))
            .await
            .unwrap_or_else(|error| Err(StoreError::Database(error.to_string())))
    }
}

impl Quarantine {
    pub(super) fn open(home: &Home, key: &Key) -> Result<Self, StoreError> {
        let path = home.join("quarantine.db");
        let connection = schema::open_quarantine(&path)?;
        Ok(Self { path, key: key.clone(), connection: Mutex::new(connection), limit: AtomicU64::new(DEFAULT_LIMIT) })
    }

    fn put(&self, copies: &[Copied]) -> Result<(), StoreError> {
        let mut connection = guard(&self.connection);
        let transaction = connection.transaction().map_err(|error| self.explain(error))?;
        let limit = self.limit.load(Ordering::SeqCst);
        let (_, used) = usage(&transaction)?;
        let needed: u64 = copies.iter().map(|copy| copy.content.len() as u64).sum();
        if used.saturating_add(needed) > limit {
            return Err(StoreError::QuarantineFull { used, limit, needed });
        }
        for copy in copies {
            self.insert(&transaction, copy)?;
        }
        transaction.commit().map_err(|error| self.explain(error))
    }

    fn insert(&self, connection: &Connection, copy: &Copied) -> Result<(), StoreError> {
        let bytes = copy.content.len() as u64;
        let label = Quarantined { entry: copy.entry.clone(), object: copy.object.clone(), bytes };
        let label = serde_json::to_vec(&label).map_err(|error| StoreError::Database(error.to_string()))?;
        let place = self.place(&copy.entry, &copy.object);
        let sql =
            "INSERT INTO copy VALUES (?1, ?2, ?3, ?4) ON CONFLICT DO UPDATE SET bytes = ?2, label = ?3, content = ?4";
        let label = self.key.seal(&["quarantine label"], &label)?;
        let content = self.key.seal(&["quarantine", &copy.entry, &copy.object], &copy.content)?;
        connection
            .prepare_cached(sql)?
            .execute(params![place, super::row::signed(bytes), label, content])
            .map_err(|error| self.explain(error))?;
        Ok(())
    }

    fn list(&self) -> Result<Vec<Quarantined>, StoreError> {
        let connection = guard(&self.connection);
        let mut statement = connection.prepare_cached("SELECT label FROM copy ORDER BY rowid")?;
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            let label: Vec<u8> = row.get(0)?;
            let plain = self.key.open(&["quarantine label"], &label)?;
            found.push(serde_json::from_slice(&plain).map_err(|error| StoreError::Database(error.to_string()))?);
        }
        Ok(found)
    }

    fn take(&self, entry: &str, object: &str) -> Result<Option<Zeroizing<Vec<u8>>>, StoreError> {
        let connection = guard(&self.connection);
        let sealed: Option<Vec<u8>> = connection
            .prepare_cached("SELECT content FROM copy WHERE place = ?1")?
            .query_row([self.place(entry, object)], |row| row.get(0))
            .optional()?;
        Ok(sealed.map(|sealed| self.key.open(&["quarantine", entry, object], &sealed)).transpose()?)
    }

    fn forget(&self, entry: &str, objects: &[String]) -> Result<(), StoreError> {
        let mut connection = guard(&self.connection);
        let transaction = connection.transaction()?;
        for object in objects {
            transaction.prepare_cached("DELETE FROM copy WHERE place = ?1")?.execute([self.place(entry, object)])?;
        }
        transaction.commit()?;
        shrink(&connection)
    }

    fn clear(&self) -> Result<(), StoreError> {
        let connection = guard(&self.connection);
        connection.execute("DELETE FROM copy", [])?;
        shrink(&connection)
    }

    fn size(&self) -> Result<QuarantineSize, StoreError> {
        let (items, bytes) = usage(&guard(&self.connection))?;
        Ok(QuarantineSize { items, bytes, limit: self.limit.load(Ordering::SeqCst) })
    }

    fn place(&self, entry: &str, object: &str) -> [u8; 16] {
        self.key.place(&["quarantine", entry, object])
    }

    fn explain(&self, error: rusqlite::Error) -> StoreError {
        StoreError::Io { path: self.path.clone(), error: error.to_string() }
    }
}

fn usage(connection: &Connection) -> Result<(u32, u64), StoreError> {
    let sql = "SELECT count(*), coalesce(sum(bytes), 0) FROM copy INDEXED BY copy_bytes";
    let (items, bytes): (u32, i64) =
        connection.prepare_cached(sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok((items, u64::try_from(bytes).unwrap_or_default()))
}

/// Gives the disk its room back.
fn shrink(connection: &Connection) -> Result<(), StoreError> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum")?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(())
}

impl std::fmt::Debug for Copied {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Copied").field("entry", &self.entry).field("bytes", &self.content.len()).finish_non_exhaustive()
    }
}
