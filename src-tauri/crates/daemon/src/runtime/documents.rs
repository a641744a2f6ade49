//! The stored documents as what they stand for.

use std::cell::Cell;

use latch_core::journal::Shelf;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What was stored, by shelf. What can't be read counts: without it the guard would know less than it did, so nothing may start as if it were not there.
pub(super) struct Documents<'a> {
    all: &'a [(Shelf, String, Value)],
    unread: Cell<u32>,
}

impl<'a> Documents<'a> {
    pub(super) const fn of(all: &'a [(Shelf, String, Value)]) -> Self {
        Self { all, unread: Cell::new(0) }
    }

    /// Ids and values of a shelf, as stored.
    pub(super) fn shelf(&self, shelf: Shelf) -> impl Iterator<Item = (&'a str, &'a Value)> + use<'a> {
        self.all.iter().filter(move |(one, _, _)| *one == shelf).map(|(_, id, value)| (id.as_str(), value))
    }

    /// One document; `None` too if it can't be read.
    pub(super) fn one<T: DeserializeOwned>(&self, shelf: Shelf, id: &str) -> Option<T> {
        let (_, value) = self.shelf(shelf).find(|(one, _)| *one == id)?;
        self.read(T::deserialize(value).ok())
    }

    /// All readable documents of a shelf, except the one with this id.
    pub(super) fn all_but<T: DeserializeOwned>(&self, shelf: Shelf, but: &str) -> Vec<T> {
        self.shelf(shelf)
            .filter(|(id, _)| *id != but)
            .filter_map(|(_, value)| self.read(T::deserialize(value).ok()))
            .collect()
    }

    /// All readable documents of a shelf.
    pub(super) fn all<T: DeserializeOwned>(&self, shelf: Shelf) -> Vec<T> {
        self.all_but(shelf, "")
    }

    /// Counts what could not be read.
    pub(super) fn read<T>(&self, found: Option<T>) -> Option<T> {
        if found.is_none() {
            self.unread.set(self.unread.get().saturating_add(1));
        }
        found
    }

    /// Why nothing may run until the person has seen it, if anything could not be read.
    pub(super) fn alarm(&self) -> Option<String> {
        let unread = self.unread.get();
        (unread > 0).then(|| {
            format!("{unread} stored documents could not be understood; was a newer version of Latchstring used here? Look at accounts, agents, grants and rules")
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use serde_json::json;

    use super::*;

    #[test]
    fn what_can_not_be_read_is_counted_and_said() {
        let all = [
            (Shelf::Setting, "a".to_owned(), json!(1)),
            (Shelf::Setting, "b".to_owned(), json!("x")),
            (Shelf::Setting, "c".to_owned(), json!(3)),
            (Shelf::State, "guard".to_owned(), json!([])),
        ];
        let documents = Documents::of(&all);
        assert_eq!(documents.all_but::<u32>(Shelf::Setting, "b"), [1, 3]);
        assert_eq!(documents.alarm(), None);
        assert_eq!(documents.one::<u32>(Shelf::State, "missing"), None);
        assert_eq!(documents.alarm(), None);
        assert_eq!(documents.all::<u32>(Shelf::Setting), [1, 3]);
        assert_eq!(documents.one::<u32>(Shelf::State, "guard"), None);
        assert!(documents.alarm().unwrap().starts_with("2 stored documents"));
    }
}
