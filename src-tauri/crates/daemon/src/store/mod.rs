//! The store: the journal, the documents, the budget charges and the quarantine of one home.
//!
//! ```text
//!   commit, commit_blocking, append_read ──> writer thread ──> latchstring.db (WAL, synchronous=FULL)
//!   tail, verify, object_text <── connections that only read
//!   quarantine_* <──> quarantine.db
//! ```
//! Architecture invariants: what [`Store::commit`] returned for survives a power cut; after a failed write everything is refused; every document is sealed
//! for its shelf and id; the journal can't lose its end or its middle without [`Store::verify`] saying so.

mod codes;
mod error;
mod flag;
mod head;
mod load;
mod quarantine;
mod read;
mod reserve;
mod row;
mod schema;
mod verify;
mod writer;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use latch_core::call::Digest;
use latch_core::journal::{Charge, Commit, Put, Record, Shelf};
use latch_core::time::Time;
use rusqlite::Connection;
use serde_json::Value;
use tokio::sync::oneshot;

pub use self::error::StoreError;
pub use self::quarantine::{Copied, QuarantineSize, Quarantined};
pub use self::read::{Page, Stored};
pub use self::verify::{Broken, Verified};
use self::writer::{Answer, Job, Prepared, Shared, guard};
use crate::home::Home;
use crate::seal::Key;

/// How long a panic waits for the disk before it falls back to its flag file.
const PANIC_PATIENCE: Duration = Duration::from_secs(2);

/// One home's store. Clones share it; the last one to go writes what waits.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    home: Home,
    key: Key,
    shared: Arc<Shared>,
    reader: Mutex<Connection>,
    quarantine: quarantine::Quarantine,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// A store and what it holds.
pub struct Opened {
    /// The store.
    pub store: Store,
    /// What it held when it was opened.
    pub loaded: Loaded,
}

/// What a home held when it was opened.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Loaded {
    /// The newest record's number; zero in a new home.
    pub seq: u64,
    /// The newest record's hash; zeros in a new home.
    pub hash: Option<Digest>,
    /// The largest guard's time ever recorded, for [`crate::clock::Clock::start`].
    pub high_water: Time,
    /// Every document but undo entries, which are read when they are asked for: shelf, id, value.
    pub documents: Vec<(Shelf, String, Value)>,
    /// Budget charges of the last 24 hours.
    pub charges: Vec<Charge>,
    /// Intents without an outcome: calls that may or may not have been made.
    pub open_intents: Vec<Stored>,
    /// Why the engine must start panicked, a sentence each: the panic flag is up, or the database was changed behind our back.
    pub alarms: Vec<String>,
}

/// What became of a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// The first record's number; the others follow without a gap.
    pub seq: u64,
}

/// How a panic was made durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In the journal.
    Journal(Receipt),
    /// By the flag file alone, which makes the next start a panicked one.
    Flag {
        /// Why the journal could not.
        why: String,
    },
}

impl Store {
    /// Opens the home's database, or makes it. Reads everything that the engine needs to start; changes nothing that is not ours, newer or damaged.
    pub fn open(home: &Home, key: &Key) -> Result<Opened, StoreError> {
        load::open(home, key)
    }

    /// Durable when it returns: everything in it, or nothing. Waits for its turn and one fsync, shared with whoever else waits.
    /// Dropping the future does not take it back.
    pub async fn commit(&self, commit: Commit) -> Result<Receipt, StoreError> {
        let prepared = self.prepare(commit)?;
        self.write(prepared).await
    }

    /// [`Store::commit`] for where nothing can be awaited. Blocks for one fsync.
    pub fn commit_now(&self, commit: Commit) -> Result<Receipt, StoreError> {
        let (sender, answer) = mpsc::sync_channel(1);
        let prepared = self.prepare(commit)?;
        if let Some(failure) = self.0.shared.failure() {
            return Err(failure);
        }
        self.0.shared.push(Job { prepared, answer: Answer::Blocking(sender), _room: None });
        answer.recv().unwrap_or_else(|_| Err(self.stopped()))
    }

    /// For panic: durable when it returns, ahead of everything that waits, also after the store has failed. Where the journal can't be written it raises
    /// the flag file instead. An error means that not even that worked.
    pub fn commit_blocking(&self, commit: Commit) -> Result<Kept, StoreError> {
        let reason =
            commit.records.first().map_or("the journal could not be written", |record| record.text.as_str()).to_owned();
        let why = match self.commit_urgent(commit) {
            Ok(receipt) => return Ok(Kept::Journal(receipt)),
            Err(error) => error.to_string(),
        };
        let path = self.0.home.join("panic.flag");
        let raised = self.0.shared.flag.raise(&reason);
        raised.map(|()| Kept::Flag { why }).map_err(|error| StoreError::Io { path, error: error.to_string() })
    }

    fn commit_urgent(&self, commit: Commit) -> Result<Receipt, StoreError> {
        let (sender, answer) = mpsc::sync_channel(1);
        let prepared = self.prepare(commit)?;
        self.0.shared.push_urgent(Job { prepared, answer: Answer::Blocking(sender), _room: None });
        match answer.recv_timeout(PANIC_PATIENCE) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(StoreError::Database("the disk did not answer in time".to_owned())),
            Err(RecvTimeoutError::Disconnected) => Err(self.stopped()),
        }
    }

    /// Records a read. Waits for room in a bounded queue, not for the disk; an error means that the read must not happen.
    pub async fn append_read(&self, record: Record) -> Result<(), StoreError> {
        match self.0.shared.read_room.acquire().await {
            Ok(room) => room.forget(),
            Err(_) => return Err(self.stopped()),
        }
        self.0.shared.push_read(record);
        Ok(())
    }

    /// Why nothing can be recorded any more, once a write has failed.
    #[must_use]
    pub fn failed(&self) -> Option<String> {
        self.0.shared.failed.get().cloned()
    }

    /// The newest durable record's number and hash, for the vault's anchor.
    #[must_use]
    pub fn head(&self) -> (u64, Digest) {
        *guard(&self.0.shared.head)
    }

    /// Forgets the object texts (subjects, senders) of records older than this wall time, in milliseconds; their hashes stay.
    pub async fn erase_object_text(&self, older_than: u64) -> Result<(), StoreError> {
        self.write(Prepared { erase_before: Some(older_than), ..Prepared::default() }).await.map(|_| ())
    }

    /// Writes what waits and stops.
    pub fn close(&self) {
        self.0.stop();
    }

    async fn write(&self, prepared: Prepared) -> Result<Receipt, StoreError> {
        let room = Arc::clone(&self.0.shared.commit_room).acquire_owned().await.map_err(|_| self.stopped())?;
        let (sender, answer) = oneshot::channel();
        self.0.shared.push(Job { prepared, answer: Answer::Async(sender), _room: Some(room) });
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Seals the documents, on the caller's time rather than the writer's.
    fn prepare(&self, commit: Commit) -> Result<Prepared, StoreError> {
        let key = &self.0.key;
        let state = commit.puts.iter().any(|put| put.shelf == Shelf::State);
        let puts = commit
            .puts
            .iter()
            .map(|Put { shelf, id, value }| load::seal(key, *shelf, id, value))
            .collect::<Result<_, _>>()?;
        let deletes = commit.deletes.iter().map(|(shelf, id)| load::place(key, *shelf, id)).collect();
        Ok(Prepared { records: commit.records, charges: commit.charges, puts, deletes, state, erase_before: None })
    }

    fn stopped(&self) -> StoreError {
        let failure = self.0.shared.failure();
        failure.unwrap_or_else(|| StoreError::Failed("The recorder has stopped, so nothing is let through".to_owned()))
    }
}

impl Inner {
    fn stop(&self) {
        self.shared.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            let _ = thread.join();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("home", &self.0.home.path())
            .field("failed", &self.failed())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
