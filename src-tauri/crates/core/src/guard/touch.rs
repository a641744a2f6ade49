//! A hold that the person is looking at does not end under their eyes.

use super::{DecideError, Guard, Now};
use crate::hold::State;
use crate::time::{Span, Time};

/// What all touches together may add to a hold's own lifetime.
pub const TOUCHED_AT_MOST: Span = Span::minutes(30);

impl Guard {
    /// The person uses the window that shows this hold: its lifetime starts again, at most [`TOUCHED_AT_MOST`] beyond its own end and
    /// never shorter than before. Nothing else changes, its digest included. Returns the new end; refused when it does not wait any more.
    pub fn touch(&mut self, id: &str, now: Now) -> Result<Time, DecideError> {
        let lifetimes = self.lifetimes;
        let hold = self.hold_mut(id).ok_or(DecideError::Unknown)?;
        if !hold.state.waits() || hold.expires_at <= now.time {
            return Err(DecideError::NotWaiting(if hold.state.waits() { State::Expired } else { hold.state }));
        }
        let own = if hold.state == State::Proposal { lifetimes.proposal } else { lifetimes.hold };
        let last = hold.opened_at + own + TOUCHED_AT_MOST;
        hold.expires_at = hold.expires_at.max(last.min(now.time + lifetimes.hold));
        Ok(hold.expires_at)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::call::Digest;
    use crate::guard::Verdict;
    use crate::guard::decide::tests::{LABEL, NOW, held};

    fn after(minutes: u64) -> Now {
        Now { time: NOW.time + Span::minutes(minutes), wall: NOW.wall + Span::minutes(minutes).0 }
    }

    fn labelled() -> (Guard, String, Digest) {
        held("/gmail/v1/users/me/messages/batchModify", "application/json", LABEL)
    }

    #[test]
    fn its_time_starts_again_but_not_for_ever() {
        let (mut guard, id, digest) = labelled();
        let end = |guard: &Guard| guard.hold(&id).unwrap().expires_at;
        assert_eq!(end(&guard), after(10).time);
        for (at, until) in [(0, 10), (4, 14), (13, 23), (22, 32), (31, 40), (39, 40)] {
            assert_eq!(guard.touch(&id, after(at)), Ok(after(until).time), "touched after {at} minutes");
        }
        assert_eq!(guard.hold(&id).unwrap().digest, digest);
        assert_eq!(guard.touch(&id, after(40)), Err(DecideError::NotWaiting(State::Expired)));
        assert_eq!(
            guard.decide(&id, &digest, Verdict::Deny, "dialog", after(40)).unwrap_err(),
            DecideError::NotWaiting(State::Expired)
        );
    }

    #[test]
    fn what_does_not_wait_is_left_alone() {
        let (mut guard, id, digest) = labelled();
        assert_eq!(guard.touch("h99", NOW), Err(DecideError::Unknown));
        guard.decide(&id, &digest, Verdict::Deny, "dialog", NOW).unwrap();
        let end = guard.hold(&id).unwrap().expires_at;
        assert_eq!(guard.touch(&id, after(1)), Err(DecideError::NotWaiting(State::Denied)));
        assert_eq!(guard.hold(&id).unwrap().expires_at, end);
    }

    #[test]
    fn a_proposal_keeps_its_day() {
        let (mut guard, id, _) = labelled();
        guard.handle_views(&id, ["a", "b"].map(|id| (id.to_owned(), crate::recipe::View::default())).into());
        let end = guard.hold(&id).unwrap().expires_at;
        guard.handle_timeout(Now { time: end, wall: end.0 });
        assert_eq!(guard.hold(&id).unwrap().state, State::Proposal);
        assert_eq!(guard.touch(&id, after(60)), Ok(after(24 * 60).time), "never shorter");
        assert_eq!(guard.touch(&id, after(24 * 60 - 1)), Ok(after(24 * 60 + 9).time));
    }
}
