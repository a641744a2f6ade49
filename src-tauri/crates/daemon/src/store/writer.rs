//! The one thread that writes. Whatever waits becomes one transaction and one fsync.
//!
//! ```text
//!   panic ──> urgent ─┐
//!   commit ─> commits ┼─ take ──> BEGIN, rows, documents, charges, head, COMMIT (fsync) ──> answer
//!   read ───> reads ──┘           at once for the first two; reads wait up to 50 ms or for 512 of them
//! ```
//! Architecture invariant: after a failed write nothing is accepted any more, except a panic.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use latch_core::call::Digest;
use latch_core::journal::{Charge, Kind, Record};
use latch_core::time::Span;
use rusqlite::{Connection, params};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::error::refusal;
use super::flag::Flag;
use super::head::{self, Chained, Head, Place, Sum, Sums, WriteError};
use super::reserve::Reserve;
use super::{Receipt, StoreError, codes, load, row};
use crate::fail;
use crate::seal::Key;

/// Reads that may wait at once; further ones wait for room.
pub(super) const READS: usize = 4096;
/// Commits that may wait at once.
pub(super) const COMMITS: usize = 1024;
const FLUSH_AT: usize = 512;
const FLUSH_AFTER: Duration = Duration::from_millis(50);
const PRUNE_EVERY: Duration = Duration::from_secs(3600);
/// The longest budget window.
pub(super) const CHARGES_KEPT: Span = Span::hours(24);

/// One commit, its documents already sealed.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    pub(super) records: Vec<Record>,
    pub(super) charges: Vec<Charge>,
    pub(super) puts: Vec<SealedDoc>,
    pub(super) deletes: Vec<Place>,
    /// Holds what [`super::Flag`] stands in for.
    pub(super) state: bool,
    /// Erase object texts recorded before this wall time.
    pub(super) erase_before: Option<u64>,
}

#[derive(Debug)]
pub(super) struct SealedDoc {
    pub(super) place: Place,
    pub(super) shelf: u8,
    pub(super) sealed: Vec<u8>,
}

/// A commit with whoever waits for it.
pub(super) struct Job {
    pub(super) prepared: Prepared,
    pub(super) answer: Answer,
    pub(super) _room: Option<OwnedSemaphorePermit>,
}

/// Whom to tell.
pub(super) enum Answer {
    Async(oneshot::Sender<Result<Receipt, StoreError>>),
    Blocking(std::sync::mpsc::SyncSender<Result<Receipt, StoreError>>),
    #[cfg(test)]
    Poke(Box<dyn FnOnce(&Connection) + Send>),
}

impl Answer {
    fn tell(self, result: Result<Receipt, StoreError>) {
        // Whoever does not wait any more needs no answer.
        match self {
            Self::Async(sender) => drop(sender.send(result)),
            Self::Blocking(sender) => drop(sender.try_send(result)),
            #[cfg(test)]
            Self::Poke(_) => {}
        }
    }
}

#[derive(Default)]
pub(super) struct Queue {
    urgent: VecDeque<Job>,
    commits: Vec<Job>,
    reads: Vec<Record>,
    oldest_read: Option<Instant>,
    closing: bool,
    /// The thread is gone: what came now would wait for ever.
    ended: bool,
}

/// What handles and the thread share.
pub(super) struct Shared {
    queue: Mutex<Queue>,
    wake: Condvar,
    pub(super) head: Mutex<(u64, Digest)>,
    pub(super) failed: OnceLock<String>,
    pub(super) read_room: Semaphore,
    pub(super) commit_room: Arc<Semaphore>,
    pub(super) flag: Flag,
}

impl Shared {
    pub(super) fn new(head: &Head, flag: Flag) -> Self {
        Self {
            queue: Mutex::default(),
            wake: Condvar::new(),
            head: Mutex::new((head.seq, head.hash.0)),
            failed: OnceLock::new(),
            read_room: Semaphore::new(READS),
            commit_room: Arc::new(Semaphore::new(COMMITS)),
            flag,
        }
    }

    pub(super) fn push_read(&self, record: Record) {
        let mut queue = guard(&self.queue);
        queue.reads.push(record);
        if queue.oldest_read.is_none() {
            queue.oldest_read = Some(Instant::now());
            self.wake.notify_one();
        } else if queue.reads.len() == FLUSH_AT {
            self.wake.notify_one();
        }
    }

    /// Dropping a job tells whoever waits for it that the recorder has stopped.
    pub(super) fn push(&self, job: Job) {
        let mut queue = guard(&self.queue);
        if !queue.ended {
            queue.commits.push(job);
            self.wake.notify_one();
        }
    }

    pub(super) fn push_urgent(&self, job: Job) {
        let mut queue = guard(&self.queue);
        if !queue.ended {
            queue.urgent.push_back(job);
            self.wake.notify_one();
        }
    }

    pub(super) fn close(&self) {
        guard(&self.queue).closing = true;
        self.wake.notify_one();
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failed.get().map(|why| StoreError::Failed(why.clone()))
    }

    fn fail(&self, why: String) {
        let _ = self.failed.set(why);
        self.read_room.close();
        self.commit_room.close();
    }

    /// What to write next; `None` once closed and empty.
    fn next(&self) -> Option<Batch> {
        let mut queue = guard(&self.queue);
        loop {
            if let Some(job) = queue.urgent.pop_front() {
                return Some(Batch::Urgent(job));
            }
            let waited = queue.oldest_read.map(|since| since.elapsed());
            let due = waited.is_some_and(|waited| waited >= FLUSH_AFTER) || queue.reads.len() >= FLUSH_AT;
            if !queue.commits.is_empty() || due || (queue.closing && !queue.reads.is_empty()) {
                queue.oldest_read = None;
                return Some(Batch::Group(std::mem::take(&mut queue.reads), std::mem::take(&mut queue.commits)));
            }
            if queue.closing {
                return None;
            }
            queue = match waited {
                Some(waited) => {
                    let rest = FLUSH_AFTER.saturating_sub(waited);
                    self.wake.wait_timeout(queue, rest).unwrap_or_else(PoisonError::into_inner).0
                }
                None => self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

enum Batch {
    Urgent(Job),
    Group(Vec<Record>, Vec<Job>),
}

/// The thread's own state.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) key: Key,
    pub(super) head: Head,
    pub(super) sums: Sums,
    pub(super) shared: Arc<Shared>,
    pub(super) reserve: Reserve,
    pub(super) pruned: Option<Instant>,
}

impl Writer {
    pub(super) fn run(mut self) {
        let _stopped = Stopped(Arc::clone(&self.shared));
        self.reserve.keep();
        while let Some(batch) = self.shared.next() {
            match batch {
                Batch::Urgent(job) => self.urgent(job),
                Batch::Group(reads, jobs) => self.group(reads, jobs),
            }
        }
        if self.shared.failed.get().is_none() {
            // An orderly end leaves one file, so that a copy of it is whole; if this fails the next start reads the log instead.
            let _ = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        }
    }

    fn group(&mut self, reads: Vec<Record>, jobs: Vec<Job>) {
        if let Some(error) = self.shared.failure() {
            jobs.into_iter().for_each(|job| job.answer.tell(Err(error.clone())));
            return;
        }
        #[cfg(test)]
        let jobs = self.poke(jobs);
        let room = reads.len();
        let reads = Prepared { records: reads, ..Prepared::default() };
        let written = self.write(std::iter::once(&reads).chain(jobs.iter().map(|job| &job.prepared)));
        match written {
            Ok(firsts) => {
                self.shared.read_room.add_permits(room);
                for (job, seq) in jobs.into_iter().zip(firsts.into_iter().skip(1)) {
                    job.answer.tell(Ok(Receipt { seq }));
                }
            }
            Err(error) => {
                self.shared.fail(sentence(&error));
                let error = self.shared.failure().unwrap_or_else(|| StoreError::Database(error.to_string()));
                jobs.into_iter().for_each(|job| job.answer.tell(Err(error.clone())));
            }
        }
    }

    /// A panic is tried even after a failure, with the reserved room released.
    fn urgent(&mut self, job: Job) {
        let mut written = self.write(std::iter::once(&job.prepared));
        if let Err(WriteError::Database(error)) = &written
            && error.sqlite_error_code() == Some(rusqlite::ErrorCode::DiskFull)
            && self.reserve.release()
        {
            self.shared.fail(refusal(error));
            written = self.write(std::iter::once(&job.prepared));
        }
        let result =
            written.map(|firsts| Receipt { seq: firsts.first().copied().unwrap_or_default() }).map_err(|error| {
                self.shared.fail(sentence(&error));
                StoreError::Failed(sentence(&error))
            });
        job.answer.tell(result);
    }

    /// Writes everything in one transaction, or nothing. Answers each one's first sequence number.
    fn write<'a>(&mut self, all: impl Iterator<Item = &'a Prepared> + Clone) -> Result<Vec<u64>, WriteError> {
        let mut next = self.head.clone();
        let mut moved = HashMap::new();
        let of_a_call = |record: &Record| matches!(record.kind, Kind::Intent | Kind::Undo | Kind::Outcome);
        let of_a_call = all.clone().any(|one| one.records.iter().any(of_a_call));
        if fail::asked("disk-full") {
            return Err(WriteError::Database(rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(13), None)));
        }
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let filled = self.fill(all.clone(), &mut next, &mut moved);
        if of_a_call {
            fail::point("in-transaction");
        }
        let done = filled.and_then(|firsts| {
            self.connection.prepare_cached("COMMIT")?.execute([])?;
            Ok(firsts)
        });
        if done.is_err() {
            // A failed COMMIT may have rolled back already; either way nothing of it stays.
            let _ = self.connection.execute_batch("ROLLBACK");
            return done;
        }
        self.head = next;
        for (place, sum) in moved {
            match sum {
                Some(sum) => self.sums.insert(place, sum),
                None => self.sums.remove(&place),
            };
        }
        *guard(&self.shared.head) = (self.head.seq, self.head.hash.0);
        if all.clone().any(|one| one.state) {
            self.shared.flag.lower();
        }
        if of_a_call {
            fail::point("after-commit");
        }
        done
    }

    fn fill<'a>(
        &mut self,
        all: impl Iterator<Item = &'a Prepared>,
        next: &mut Head,
        moved: &mut HashMap<Place, Option<Sum>>,
    ) -> Result<Vec<u64>, WriteError> {
        let mut firsts = Vec::new();
        for one in all {
            firsts.push(next.seq + 1);
            for record in &one.records {
                self.append(record, next)?;
            }
            for charge in &one.charges {
                self.connection.prepare_cached("INSERT INTO charge VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
                    row::signed(charge.time.0),
                    charge.agent,
                    charge.account,
                    codes::meter_code(charge.meter),
                    charge.count,
                ])?;
                next.charges.get_or_insert_default().add(Sum::of_charge(&self.key, charge));
            }
            for doc in &one.puts {
                let sql = "INSERT INTO doc VALUES (?1, ?2, ?3) ON CONFLICT DO UPDATE SET sealed = ?3";
                self.connection.prepare_cached(sql)?.execute(params![doc.place.as_slice(), doc.shelf, doc.sealed])?;
                let sum = Sum::of(&doc.place, &doc.sealed);
                self.forget(&doc.place, next, moved);
                next.documents.add(sum);
                moved.insert(doc.place, Some(sum));
            }
            for place in &one.deletes {
                self.connection.prepare_cached("DELETE FROM doc WHERE place = ?1")?.execute([place.as_slice()])?;
                self.forget(place, next, moved);
                moved.insert(*place, None);
            }
            if let Some(wall) = one.erase_before {
                let sql = "UPDATE journal INDEXED BY journal_texts SET object_text = NULL WHERE object_text IS NOT NULL AND wall < ?1";
                self.connection.prepare_cached(sql)?.execute([row::signed(wall)])?;
            }
        }
        self.prune(next)?;
        head::write(&self.connection, &self.key, next)?;
        Ok(firsts)
    }

    fn append(&self, record: &Record, next: &mut Head) -> Result<(), WriteError> {
        let seq = next.seq + 1;
        next.hash = Chained(row::insert(&self.connection, &self.key, seq, &next.hash.0, record)?);
        next.seq = seq;
        next.time = next.time.max(record.time);
        // Putting back is a call, too; an undo without a call's digest is none.
        if record.kind == Kind::Intent || (record.kind == Kind::Undo && record.digest.is_some()) {
            next.open.insert(seq);
        } else if record.kind == Kind::Outcome
            && let Some(intent) = record.refers
        {
            next.open.remove(&intent);
        }
        Ok(())
    }

    /// Takes a document's present sum away: the newest of this transaction, else the stored one.
    fn forget(&self, place: &Place, next: &mut Head, moved: &HashMap<Place, Option<Sum>>) {
        let present = moved.get(place).copied().unwrap_or_else(|| self.sums.get(place).copied());
        if let Some(sum) = present {
            next.documents.remove(sum);
        }
    }

    fn prune(&mut self, next: &mut Head) -> Result<(), WriteError> {
        if self.pruned.is_some_and(|at| at.elapsed() < PRUNE_EVERY) {
            return Ok(());
        }
        let until = next.time - CHARGES_KEPT;
        for charge in load::charges(&self.connection, Some(until))? {
            next.charges.get_or_insert_default().remove(Sum::of_charge(&self.key, &charge));
        }
        self.connection.execute("DELETE FROM charge WHERE time < ?1", [row::signed(until.0)])?;
        self.pruned = Some(Instant::now());
        Ok(())
    }

    #[cfg(test)]
    fn poke(&self, jobs: Vec<Job>) -> Vec<Job> {
        let mut rest = Vec::new();
        for mut job in jobs {
            match std::mem::replace(&mut job.answer, Answer::Poke(Box::new(|_| {}))) {
                Answer::Poke(poke) => poke(&self.connection),
                answer => rest.push(Job { answer, ..job }),
            }
        }
        rest
    }
}

/// A thread that ends by a fault of ours must not leave anybody believing that it still records.
struct Stopped(Arc<Shared>);

impl Drop for Stopped {
    fn drop(&mut self) {
        self.0.fail("The recorder has stopped, so nothing is let through: start Latchstring again".to_owned());
        let mut queue = guard(&self.0.queue);
        queue.ended = true;
        queue.urgent.clear();
        queue.commits.clear();
    }
}

fn sentence(error: &WriteError) -> String {
    match error {
        WriteError::Database(error) => refusal(error),
        WriteError::Unsealed => {
            "Nothing can be recorded any more, so nothing is let through: the operating system gave no random bytes"
                .to_owned()
        }
    }
}

pub(super) fn guard<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}
