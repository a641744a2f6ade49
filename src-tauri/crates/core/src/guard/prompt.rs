//! Which questions may come up by themselves: few enough that the person still reads them. The others wait in the list.
//!
//! ```text
//!   enter ──> in the list ── poll: a place is free, the fairest first ──> may come up ── leave ──> its place is free a minute later
//! ```
//! A place is taken from the moment at which a question may come up until a minute after its end, so however a front end shows
//! what may come up, it never shows more in a minute than there are places.

use std::collections::{BTreeMap, VecDeque};

use crate::time::{Span, Time};

/// Questions that may come up in any minute, over all agents.
pub const A_MINUTE: usize = 3;
/// Questions that may come up in any hour, over all agents.
pub const AN_HOUR: usize = 20;
/// Open questions of one agent that may have come up; one place is always left for the others.
const OF_ONE: usize = 2;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Prompts {
    listed: VecDeque<Question>,
    up: Vec<Question>,
}

#[derive(Debug)]
struct Question {
    id: String,
    asker: String,
    /// When it ended, or will end by itself; `None` while nobody knows.
    ended: Option<Time>,
}

impl Question {
    fn is_open(&self, now: Time) -> bool {
        self.ended.is_none_or(|ended| ended > now)
    }

    fn takes_place(&self, span: Span, now: Time) -> bool {
        self.ended.is_none_or(|ended| ended + span > now)
    }
}

impl Prompts {
    /// A question is there. `until`: when it ends by itself without a word.
    pub(super) fn enter(&mut self, id: &str, asker: &str, until: Option<Time>, now: Time) {
        self.leave(id, now);
        self.listed.push_back(Question { id: id.to_owned(), asker: asker.to_owned(), ended: until });
    }

    /// It is answered, or over.
    pub(super) fn leave(&mut self, id: &str, now: Time) {
        self.listed.retain(|one| one.id != id);
        for one in self.up.iter_mut().filter(|one| one.id == id && one.is_open(now)) {
            one.ended = Some(now);
        }
    }

    /// Whether a question may come up by itself.
    pub(super) fn is_up(&self, id: &str, now: Time) -> bool {
        self.up.iter().any(|one| one.id == id && one.is_open(now))
    }

    /// Gives free places away; the ids of those that may come up from now on.
    pub(super) fn poll(&mut self, now: Time) -> Vec<String> {
        self.up.retain(|one| one.takes_place(Span::hours(1), now));
        self.listed.retain(|one| one.is_open(now));
        let mut came = Vec::new();
        while self.has_place(now) {
            let mut served: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
            for one in &self.up {
                let (open, all) = served.entry(&one.asker).or_default();
                *open += usize::from(one.is_open(now));
                *all += 1;
            }
            let turn = |one: &Question| served.get(one.asker.as_str()).copied().unwrap_or_default();
            let fairest = self
                .listed
                .iter()
                .enumerate()
                .filter(|(_, one)| turn(one).0 < OF_ONE)
                .min_by_key(|(at, one)| (turn(one).1, *at))
                .map(|(at, _)| at);
            let Some(next) = fairest.and_then(|at| self.listed.remove(at)) else { break };
            came.push(next.id.clone());
            self.up.push(next);
        }
        came
    }

    fn has_place(&self, now: Time) -> bool {
        self.up.len() < AN_HOUR
            && self.up.iter().filter(|one| one.takes_place(Span::minutes(1), now)).count() < A_MINUTE
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use proptest::prelude::*;

    use super::*;

    const NOW: Time = Time(1_000_000_000);

    fn asked(count: usize, asker: &str) -> Prompts {
        let mut prompts = Prompts::default();
        (0..count).for_each(|n| prompts.enter(&format!("{asker}{n}"), asker, None, NOW));
        prompts
    }

    #[test]
    fn three_a_minute_come_up_however_fast_they_are_answered() {
        let mut prompts = asked(10, "a");
        assert_eq!(prompts.poll(NOW), ["a0", "a1"], "one place is left for the others");
        prompts.leave("a0", NOW);
        assert_eq!(prompts.poll(NOW), ["a2"]);
        prompts.leave("a1", NOW);
        prompts.leave("a2", NOW);
        assert_eq!(prompts.poll(NOW), Vec::<String>::new());
        assert!(!prompts.is_up("a2", NOW), "it is answered");
        assert_eq!(prompts.poll(NOW + Span(59_999)), Vec::<String>::new());
        assert_eq!(prompts.poll(NOW + Span::minutes(1)), ["a3", "a4"]);
        assert!(prompts.is_up("a3", NOW + Span::minutes(1)));
    }

    #[test]
    fn who_asked_less_comes_first() {
        let mut prompts = asked(5, "a");
        assert_eq!(prompts.poll(NOW), ["a0", "a1"]);
        prompts.enter("b0", "b", None, NOW);
        assert_eq!(prompts.poll(NOW), ["b0"]);
        prompts.enter("b1", "b", None, NOW);
        prompts.leave("a0", NOW);
        assert_eq!(prompts.poll(NOW + Span::minutes(1)), ["b1"]);
    }

    #[test]
    fn what_ends_by_itself_makes_room() {
        let mut prompts = Prompts::default();
        (0..5).for_each(|n| prompts.enter(&n.to_string(), &n.to_string(), Some(NOW + Span::minutes(10)), NOW));
        assert_eq!(prompts.poll(NOW).len(), 3);
        assert_eq!(prompts.poll(NOW + Span::minutes(9)), Vec::<String>::new());
        assert!(!prompts.is_up("0", NOW + Span::minutes(10)));
        assert_eq!(prompts.poll(NOW + Span::minutes(11)), Vec::<String>::new(), "the others are over, too");
        prompts.enter("6", "6", None, NOW + Span::minutes(11));
        assert_eq!(prompts.poll(NOW + Span::minutes(11)), ["6"]);
    }

    proptest! {
        /// However the answers come, no minute sees more than three and no hour more than twenty.
        #[test]
        fn no_minute_and_no_hour_sees_more(steps in prop::collection::vec((0u64..40, 0usize..4, any::<bool>()), 1..400)) {
            let mut prompts = Prompts::default();
            let (mut now, mut shown, mut open) = (NOW, Vec::<Time>::new(), Vec::<String>::new());
            for (number, (seconds, asker, answers)) in steps.into_iter().enumerate() {
                now = now + Span::seconds(seconds);
                prompts.enter(&number.to_string(), &asker.to_string(), None, now);
                open.extend(prompts.poll(now));
                // The person looks at the first one, as late as can be, and may answer at once.
                if answers && !open.is_empty() {
                    shown.push(now);
                    prompts.leave(&open.remove(0), now);
                }
                for (span, most) in [(Span::minutes(1), A_MINUTE), (Span::hours(1), AN_HOUR)] {
                    prop_assert!(shown.iter().filter(|at| **at + span > now).count() <= most);
                }
            }
        }
    }
}
