//! Sequence sets (RFC 9051 section 9, `sequence-set`; RFC 5182 `$`).

use std::fmt;

/// Messages by number or UID, as an agent named them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Set {
    /// Ranges; `None` is `*`, the last one.
    Ranges(Vec<(Option<u32>, Option<u32>)>),
    /// `$`: what the last search saved.
    Saved,
}

impl Set {
    /// Reads one; `None` if it is none. Zero is no number.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text == "$" {
            return Some(Self::Saved);
        }
        let bound = |text: &str| match text {
            "*" => Some(None),
            _ if text.bytes().all(|byte| byte.is_ascii_digit()) => {
                text.parse().ok().filter(|number| *number > 0).map(Some)
            }
            _ => None,
        };
        let range = |text: &str| match text.split_once(':') {
            Some((from, to)) => Some((bound(from)?, bound(to)?)),
            None => bound(text).map(|one| (one, one)),
        };
        text.split(',').map(range).collect::<Option<Vec<_>>>().map(Self::Ranges)
    }

    /// Exactly these UIDs, neighbours joined; `None` for an empty list.
    #[must_use]
    pub fn of(uids: &[u32]) -> Option<Self> {
        let mut sorted = uids.to_vec();
        sorted.sort_unstable();
        sorted.dedup();
        let mut ranges: Vec<(Option<u32>, Option<u32>)> = Vec::new();
        for uid in sorted {
            match ranges.last_mut() {
                Some((_, Some(last))) if last.checked_add(1) == Some(uid) => *last = uid,
                _ => ranges.push((Some(uid), Some(uid))),
            }
        }
        (!ranges.is_empty()).then_some(Self::Ranges(ranges))
    }

    /// The same without what lies beyond the last message, or arrives later; `None` if nothing is left.
    #[must_use]
    pub fn bounded(&self, exists: u32) -> Option<Self> {
        let Self::Ranges(ranges) = self else { return Some(Self::Saved) };
        let ends = |(from, to): &(Option<u32>, Option<u32>)| {
            let (from, to) = (from.unwrap_or(exists), to.unwrap_or(exists));
            (from.min(to), from.max(to).min(exists))
        };
        let there = ranges.iter().map(ends).filter(|(low, high)| *low > 0 && low <= high);
        let there: Vec<_> = there.map(|(low, high)| (Some(low), Some(high))).collect();
        (!there.is_empty()).then_some(Self::Ranges(there))
    }

    /// Whether it names this number. Without its last message it names no `*`, and nobody knows what was saved.
    #[must_use]
    pub fn holds(&self, number: u32) -> bool {
        let Self::Ranges(ranges) = self else { return false };
        let within = |(from, to): &(Option<u32>, Option<u32>)| match (*from, *to) {
            (Some(from), Some(to)) => (from.min(to)..=from.max(to)).contains(&number),
            _ => false,
        };
        ranges.iter().any(within)
    }

    /// The same with `*` as the number of the last message; of an empty mailbox it stays what it is.
    #[must_use]
    pub fn at(&self, exists: u32) -> Self {
        match self {
            Self::Ranges(ranges) if exists > 0 => {
                let fixed = |bound: &Option<u32>| Some(bound.unwrap_or(exists));
                Self::Ranges(ranges.iter().map(|(from, to)| (fixed(from), fixed(to))).collect())
            }
            same => same.clone(),
        }
    }

    /// The same without one number; `last` is what `*` stands for. `None` if nothing is left.
    #[must_use]
    pub fn without(&self, number: u32, last: u32) -> Option<Self> {
        let Self::Ranges(ranges) = self else { return Some(Self::Saved) };
        let mut left = Vec::new();
        for (from, to) in ranges {
            let (from, to) = (from.unwrap_or(last), to.unwrap_or(last));
            let (from, to) = (from.min(to), from.max(to));
            if !(from..=to).contains(&number) {
                left.push((Some(from), Some(to)));
                continue;
            }
            if from < number {
                left.push((Some(from), Some(number - 1)));
            }
            if number < to {
                left.push((Some(number.saturating_add(1)), Some(to)));
            }
        }
        (!left.is_empty()).then_some(Self::Ranges(left))
    }

    /// Whether it can name one message at most.
    #[must_use]
    pub fn is_single(&self) -> bool {
        matches!(self, Self::Ranges(ranges) if matches!(ranges.as_slice(), [(from, to)] if from == to))
    }

    /// Every number that it lists; `None` if `*` or `$` stands in it or it lists more than `most`.
    #[must_use]
    pub fn numbers(&self, most: usize) -> Option<Vec<u32>> {
        let Self::Ranges(ranges) = self else { return None };
        let mut numbers = Vec::new();
        for (from, to) in ranges {
            let (from, to) = ((*from)?, (*to)?);
            let (from, to) = (from.min(to), from.max(to));
            if (to - from) as usize >= most.saturating_sub(numbers.len()) {
                return None;
            }
            numbers.extend(from..=to);
        }
        numbers.sort_unstable();
        numbers.dedup();
        Some(numbers)
    }
}

impl fmt::Display for Set {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ranges(ranges) = self else { return f.write_str("$") };
        let bound = |f: &mut fmt::Formatter<'_>, bound: &Option<u32>| match bound {
            Some(number) => write!(f, "{number}"),
            None => f.write_str("*"),
        };
        for (index, (from, to)) in ranges.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            bound(f, from)?;
            if from != to {
                f.write_str(":")?;
                bound(f, to)?;
            }
        }
        Ok(())
    }
}
