//! Who started an engine here as owner, told to the person at the next start (ATTACKS 41).
//!
//! A start that opened the vault is a record of the journal. One that did not is kept in a small file until somebody opens the vault.

use latch_core::guard::Now;
use latch_core::journal::{Put, Shelf};
use latch_core::time::Span;
use serde::{Deserialize, Serialize};

use super::views::rfc3339;
use crate::home::{self, Home};

/// The document that remembers them.
const DOCUMENT: &str = "starts";
/// The file of those that did not open the vault.
const FILE: &str = "starts";
/// How long one is shown.
const SHOWN: Span = Span::days(7);
/// The most different ones that are remembered.
const MOST: usize = 20;
/// The longest description of one, in letters.
const LONGEST: usize = 2_000;

/// One way in which engines were started here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Start {
    /// The last time, in milliseconds since the Unix epoch.
    wall: u64,
    text: String,
}

/// What is remembered, the newest last.
#[derive(Debug, Default)]
pub(super) struct Starts(Vec<Start>);

impl Starts {
    /// What the last engine that opened the vault remembered.
    pub(super) fn restore<'a>(mut state: impl Iterator<Item = (&'a str, &'a serde_json::Value)>) -> Self {
        let found = state.find(|(id, _)| *id == DOCUMENT).map(|(_, value)| value.clone());
        Self(found.and_then(|value| serde_json::from_value(value).ok()).unwrap_or_default())
    }

    /// Adds one; what is the same but for its time is one.
    pub(super) fn add(&mut self, wall: u64, text: &str) {
        self.0.retain(|one| one.text != text);
        self.0.push(Start { wall, text: text.chars().take(LONGEST).collect() });
        let surplus = self.0.len().saturating_sub(MOST);
        self.0.drain(..surplus);
    }

    /// For the person: the present one, and what else started an engine in the last days.
    pub(super) fn shown(&self, present: &str, now: Now) -> Vec<String> {
        let recent = |one: &&Start| one.text != present && one.wall.saturating_add(SHOWN.0) > now.wall;
        let former = self.0.iter().rev().filter(recent).map(|one| format!("{}: {}", rfc3339(one.wall), one.text));
        std::iter::once(present.to_owned()).chain(former).collect()
    }

    pub(super) fn put(&self) -> Put {
        let value = serde_json::to_value(&self.0).unwrap_or_default();
        Put { shelf: Shelf::State, id: DOCUMENT.to_owned(), value }
    }
}

/// Notes a start whose vault is still locked. A failure is no reason not to start: the person may be about to unlock it.
pub(super) fn note_locked(home: &Home, wall: u64, text: &str) {
    let mut noted = locked(home);
    noted.add(wall, text);
    if let Ok(content) = serde_json::to_vec(&noted.0) {
        let _ = home::write_private(&home.join(FILE), &content);
    }
}

/// What is noted of a start that did not open the vault.
pub(super) fn locked_text(started: &str) -> String {
    format!("{started}, its vault locked")
}

/// The starts that were noted while the vault was locked, the present one left out: time and text.
pub(super) fn taken_over(home: &Home, present: &str) -> Vec<(u64, String)> {
    let present: String = locked_text(present).chars().take(LONGEST).collect();
    let noted = locked(home).0.into_iter().filter(|one| one.text != present);
    noted.map(|one| (one.wall, one.text.chars().take(LONGEST).collect())).collect()
}

/// They are in the journal now.
pub(super) fn forget_locked(home: &Home) {
    let _ = std::fs::remove_file(home.join(FILE));
}

fn locked(home: &Home) -> Starts {
    let content = home::read_small(&home.join(FILE)).ok().flatten().unwrap_or_default();
    Starts(serde_json::from_slice(&content).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use latch_core::time::Time;

    use super::*;

    const DAY: u64 = 24 * 3_600_000;

    #[test]
    fn what_else_started_an_engine_is_shown_for_a_week() {
        let now = |day: u64| Now { time: Time(0), wall: day * DAY };
        let mut starts = Starts::default();
        starts.add(DAY, "by the tray");
        starts.add(2 * DAY, "by sh");
        starts.add(3 * DAY, "by the tray");
        assert_eq!(starts.shown("by the tray", now(3)), ["by the tray", "1970-01-03T00:00:00Z: by sh"]);
        assert_eq!(starts.shown("by the tray", now(10)), ["by the tray"]);
        let again = Starts::restore([("starts", &starts.put().value)].into_iter());
        assert_eq!(again.0, starts.0);
    }

    #[test]
    fn many_starts_take_no_room() {
        let mut starts = Starts::default();
        (0..1_000).for_each(|n| starts.add(n, &format!("{n} {}", "x".repeat(9_000))));
        assert_eq!(starts.0.len(), MOST);
        assert!(starts.0.iter().all(|one| one.text.chars().count() <= LONGEST));
    }

    #[test]
    fn starts_of_a_locked_vault_wait_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::take(&folder.path().join("home")).unwrap();
        assert_eq!(taken_over(&home, "by me"), []);
        note_locked(&home, 5, &locked_text("by sh"));
        note_locked(&home, 6, &locked_text("by tmux"));
        note_locked(&home, 7, &locked_text("by me"));
        let both = [(5, locked_text("by sh")), (6, locked_text("by tmux"))];
        assert_eq!(taken_over(&home, "by me"), both, "the present one is told as opened");
        std::fs::write(home.join(FILE), "not what we wrote").unwrap();
        assert_eq!(taken_over(&home, "by me"), []);
        forget_locked(&home);
        assert!(!home.join(FILE).exists());
    }
}
