#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
//! Everything here happens in temporary homes with random keys.

use std::path::Path;

use latch_core::call::Digest;
use latch_core::journal::{Charge, Commit, Kind, Put, Record, Shelf};
use latch_core::operation::{Class, Meter};
use latch_core::time::{Span, Time};
use serde_json::json;

use super::*;
use crate::clock;
use crate::home::{Home, HomeError};
use crate::seal::Key;

mod canary;
mod crash;
mod failing;
mod journal;

/// A home of its own, its key, and the store opened in it.
struct Rig {
    folder: tempfile::TempDir,
    key: Key,
}

impl Rig {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), key: Key::random().unwrap() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn database(&self) -> std::path::PathBuf {
        self.path().join("latchstring.db")
    }

    fn try_open(&self) -> Result<Opened, StoreError> {
        Store::open(&Home::take(self.path()).unwrap(), &self.key)
    }

    fn open(&self) -> Opened {
        self.try_open().unwrap()
    }

    /// What a kill -9 at this moment would leave, with the same key.
    fn crashed(&self) -> Self {
        let copy = tempfile::tempdir().unwrap();
        for entry in std::fs::read_dir(self.path()).unwrap() {
            let entry = entry.unwrap();
            if !entry.file_name().to_string_lossy().ends_with("-shm") {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).unwrap();
            }
        }
        Self { folder: copy, key: self.key.clone() }
    }

    /// Another program's hand in the database.
    fn tamper(&self, sql: &str) -> usize {
        let connection = Connection::open(self.database()).unwrap();
        connection.pragma_update(None, "writable_schema", false).unwrap();
        connection.execute(sql, []).unwrap()
    }
}

fn record(kind: Kind, text: &str) -> Record {
    Record {
        wall: clock::wall(),
        time: Time(clock::wall()),
        kind,
        agent: Some("claude".to_owned()),
        account: Some("work".to_owned()),
        action: Some("gmail.users.messages.trash".to_owned()),
        class: Some(Class::Remove),
        count: 3,
        text: text.to_owned(),
        refers: None,
        digest: Some(Digest::of(&[text.as_bytes()])),
        undo: None,
        object_text: None,
    }
}

fn read() -> Record {
    let action = Some("gmail.users.messages.get".to_owned());
    Record { class: Some(Class::Read), count: 1, action, ..record(Kind::Read, "Read 1 message") }
}

fn records(records: Vec<Record>) -> Commit {
    Commit { records, ..Commit::default() }
}

fn put(shelf: Shelf, id: &str, value: Value) -> Commit {
    Commit { puts: vec![Put { shelf, id: id.to_owned(), value }], ..Commit::default() }
}

impl Store {
    /// Runs on the writer's connection, before the next commit.
    async fn poke(&self, poke: impl FnOnce(&Connection) + Send + 'static) {
        let answer = Answer::Poke(Box::new(poke));
        self.0.shared.push(Job { prepared: Prepared::default(), answer, _room: None });
        let _ = self.write(Prepared::default()).await;
    }
}
