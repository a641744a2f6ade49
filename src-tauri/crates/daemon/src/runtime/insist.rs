//! Programs that take no answer for one: they log in again and hand in the refused mail again, as fast as they can and for as long as their token lives
//! (himalaya 1 does). Only a login that fails ends that.

use std::collections::HashMap;
use std::time::Duration;

use latch_core::call::{Call, Digest};
use latch_core::classify::smtp::Reply;
use tokio::time::Instant;

/// How often a mail is refused before its agent is sent away.
const MOST: u32 = 3;
/// For how long; and what is further apart is no insisting.
const REST: Duration = Duration::from_secs(60);

/// What the same mail has in common with itself, cheaply: its envelope and its length.
pub(super) fn likeness(call: &Call) -> Digest {
    let mut fields: Vec<&[u8]> = call.headers.iter().map(|(_, value)| value.as_bytes()).collect();
    let length = call.body.length().to_be_bytes();
    fields.push(&length);
    Digest::of(&fields)
}

/// The last refused mail of each agent and account.
#[derive(Debug, Default)]
pub(crate) struct Insisting(HashMap<(String, String), Again>);

#[derive(Debug)]
struct Again {
    mail: Digest,
    times: u32,
    last: Instant,
    answer: Reply,
}

impl Insisting {
    /// Notes what became of a mail.
    pub(super) fn note(&mut self, who: (String, String), mail: Digest, answer: &Reply, now: Instant) {
        self.0.retain(|_, again| now.duration_since(again.last) < REST);
        if answer.code < 400 {
            self.0.remove(&who);
            return;
        }
        let before = self.0.get(&who).filter(|again| again.mail == mail).map_or(0, |again| again.times);
        let again = Again { mail, times: before.saturating_add(1), last: now, answer: answer.clone() };
        self.0.insert(who, again);
    }

    /// Why an agent can't log in now.
    pub(super) fn rests(&self, who: &(String, String), now: Instant) -> Option<Reply> {
        let again = self.0.get(who).filter(|again| again.times >= MOST)?;
        let left = REST.checked_sub(now.duration_since(again.last)).filter(|left| !left.is_zero())?;
        let answer = again.answer.lines.join(" ");
        let text = format!(
            "The same mail was handed in {MOST} times in a row, so you can't log in for {} s. Sending it again does not help; it was answered: {} {answer}",
            left.as_secs() + 1,
            again.answer.code
        );
        Some(Reply::new(454, "4.7.0", &text))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use super::*;

    fn who() -> (String, String) {
        ("claw".to_owned(), "mail".to_owned())
    }

    #[test]
    fn only_the_same_mail_at_once_and_refused_each_time_sends_its_agent_away_and_not_for_long() {
        let (no, yes) = (Reply::new(550, "5.7.1", "The person said no"), Reply::new(250, "2.0.0", "Sent"));
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let (one, other) = (Digest([1; 32]), Digest([2; 32]));
        let mut insisting = Insisting::default();
        for (mail, answer, seconds, away) in [
            (one, &no, 0, false),
            (one, &no, 1, false),
            (other, &no, 2, false),
            (one, &no, 3, false),
            (one, &no, 4, false),
            (one, &yes, 5, false),
            (one, &no, 6, false),
            (one, &no, 7, false),
            (one, &no, 68, false),
            (one, &no, 69, false),
            (one, &no, 70, true),
        ] {
            insisting.note(who(), mail, answer, after(seconds));
            assert_eq!(insisting.rests(&who(), after(seconds)).is_some(), away, "{seconds}");
        }
        let said = insisting.rests(&who(), after(129)).unwrap().wire();
        assert!(said.starts_with("454 4.7.0 ") && said.ends_with("550 5.7.1 The person said no\r\n"), "{said}");
        assert!(insisting.rests(&("other".to_owned(), "mail".to_owned()), after(71)).is_none());
        assert!(insisting.rests(&who(), after(130)).is_none());
    }
}
