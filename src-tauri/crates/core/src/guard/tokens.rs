//! Live access tokens: found by hash, counted by agent, dropped when their time is over. None of it walks over all of them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use crate::call::Digest;
use crate::grant::AuthorizationDetail;
use crate::lease::Epoch;
use crate::time::Time;

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) agent: String,
    pub(super) epoch: Epoch,
    pub(super) expires_at: Time,
    pub(super) details: Option<Arc<Vec<AuthorizationDetail>>>,
}

/// In the order in which they end.
type Ends = BTreeSet<(Time, Digest)>;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    live: HashMap<Digest, Token>,
    ends: Ends,
    each: HashMap<String, Ends>,
}

impl Tokens {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    pub(super) fn get(&self, hash: &Digest) -> Option<&Token> {
        self.live.get(hash)
    }

    /// An agent's tokens.
    pub(super) fn of<'a>(&'a self, agent: &str) -> impl Iterator<Item = &'a Token> + Clone + use<'a> {
        self.each.get(agent).into_iter().flatten().filter_map(|(_, hash)| self.live.get(hash))
    }

    pub(super) fn insert(&mut self, hash: Digest, token: Token) {
        self.remove(&hash);
        self.ends.insert((token.expires_at, hash));
        self.each.entry(token.agent.clone()).or_default().insert((token.expires_at, hash));
        self.live.insert(hash, token);
    }

    pub(super) fn remove(&mut self, hash: &Digest) -> Option<Token> {
        let token = self.live.remove(hash)?;
        let end = (token.expires_at, *hash);
        self.ends.remove(&end);
        if let Some(own) = self.each.get_mut(&token.agent) {
            own.remove(&end);
            if own.is_empty() {
                self.each.remove(&token.agent);
            }
        }
        Some(token)
    }

    /// Drops an agent's tokens; how many there were.
    pub(super) fn remove_all_of(&mut self, agent: &str) -> usize {
        let own = self.each.get(agent).cloned().unwrap_or_default();
        own.iter().filter_map(|(_, hash)| self.remove(hash)).count()
    }

    /// Makes room for one more of an agent's: those that end soonest go.
    pub(super) fn leave_room(&mut self, agent: &str, most: usize) {
        while let Some(own) = self.each.get(agent).filter(|own| own.len() >= most) {
            let Some((_, soonest)) = own.first().copied() else { return };
            self.remove(&soonest);
        }
    }

    /// Drops those whose time is over.
    pub(super) fn expire(&mut self, now: Time) {
        while let Some((_, hash)) = self.ends.first().copied().filter(|(end, _)| *end <= now) {
            self.remove(&hash);
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    fn token(agent: u8, end: u64) -> Token {
        Token { agent: format!("a{agent}"), epoch: Epoch(0), expires_at: Time(end), details: None }
    }

    proptest! {
        /// Against a plain list.
        #[test]
        fn every_way_in_and_out_keeps_the_count(steps in proptest::collection::vec((0u8..5, 0u8..3, 0u8..20, 0u64..50), 0..80)) {
            let (mut tokens, mut plain) = (Tokens::default(), Vec::<(Digest, String, u64)>::new());
            for (step, agent, which, end) in steps {
                let (hash, name) = (Digest::of(&[&[which]]), format!("a{agent}"));
                match step {
                    0 => {
                        tokens.insert(hash, token(agent, end));
                        plain.retain(|(one, ..)| *one != hash);
                        plain.push((hash, name.clone(), end));
                    }
                    1 => {
                        let had = tokens.remove(&hash).is_some();
                        prop_assert_eq!(had, plain.iter().any(|(one, ..)| *one == hash));
                        plain.retain(|(one, ..)| *one != hash);
                    }
                    2 => {
                        tokens.expire(Time(end));
                        plain.retain(|(_, _, ends)| *ends > end);
                    }
                    3 => {
                        let gone = tokens.remove_all_of(&name);
                        prop_assert_eq!(gone, plain.iter().filter(|(_, one, _)| *one == name).count());
                        plain.retain(|(_, one, _)| *one != name);
                    }
                    _ => {
                        tokens.leave_room(&name, 2);
                        let mut own: Vec<_> = plain.iter().filter(|(_, one, _)| *one == name).cloned().collect();
                        own.sort_by_key(|(hash, _, end)| (*end, *hash));
                        let gone = own.len().saturating_sub(1);
                        plain.retain(|one| !own[..gone].contains(one));
                    }
                }
                prop_assert_eq!(tokens.len(), plain.len());
                prop_assert_eq!(tokens.ends.len(), plain.len());
                prop_assert_eq!(tokens.of(&name).count(), plain.iter().filter(|(_, one, _)| *one == name).count());
            }
        }
    }
}
