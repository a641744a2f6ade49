//! One after the other: what is about the same thing waits for its turn.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use tokio::sync::OwnedMutexGuard;

/// Who has a turn, by what it is about. Names that nobody waits for are forgotten.
#[derive(Debug, Default)]
pub(crate) struct Turns(Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>);

impl Turns {
    /// The turn for everything of this name, until it is dropped.
    pub(crate) async fn take(&self, name: &str) -> OwnedMutexGuard<()> {
        let turn = {
            let mut all = super::lock(&self.0);
            all.retain(|_, one| one.strong_count() > 0);
            let known = all.get(name).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                all.insert(name.to_owned(), Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_name_waits_and_another_does_not() {
        let turns = Turns::default();
        let first = turns.take("erin").await;
        drop(turns.take("bob").await);
        let waits = tokio::time::timeout(Duration::from_secs(1), turns.take("erin"));
        assert!(waits.await.is_err());
        drop(first);
        drop(turns.take("erin").await);
        drop(turns.take("carol").await);
        assert_eq!(super::super::lock(&turns.0).len(), 1, "what is over is forgotten");
    }
}
