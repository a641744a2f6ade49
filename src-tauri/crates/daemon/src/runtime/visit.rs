//! A client of a protocol that speaks in lines: how it gets in, and how it waits for the person where the protocol has no word to say meanwhile.

use std::sync::Arc;
use std::time::Duration;

use latch_core::call::Digest;
use latch_core::guard::{Ruling, Session, TokenError, Waits};
use latch_core::hold::State;
use latch_core::recipe::Answer;

use super::accounts::Account;
use super::{Opened, Runtime, inside};
use crate::upstream::{Fault, UpstreamError};

/// One answer for an account that does not exist and for a token that does not fit: an agent can't find out which accounts there are.
pub(super) const WRONG: &str = "No such account for this access token, or the token is over. The person at this machine issues tokens; 'latch token' hands them out";
/// A client of submission waits 10 minutes for the answer to its mail (RFC 5321 section 4.5.3.2.6); ManageSieve says nothing of it.
const PATIENCE: Duration = Duration::from_secs(570);

/// Why nobody comes in.
pub(super) enum Turned {
    /// Token or account: [`WRONG`].
    Away,
    /// Nobody comes in now, and why.
    Now(String),
}

/// Why nothing came of what was asked for.
pub(super) enum Nothing {
    Stopped,
    Unrecorded,
    /// The person could not be asked.
    Unreadable,
    /// The person said no to this hold.
    Denied(String),
    /// The person has not answered in time.
    Nobody,
    Paused {
        seconds: u64,
    },
    Crowded,
    Forbidden(String),
    Unclear,
}

/// A door's words for what it does.
pub(super) struct Words {
    /// `sent`.
    pub(super) done: &'static str,
    /// `send the same again`.
    pub(super) again: &'static str,
    /// `sending the same again`.
    pub(super) doing_it_again: &'static str,
}

impl Nothing {
    /// What the Guard does not let run.
    pub(super) async fn of(opened: &Opened, ruling: Ruling) -> Self {
        match ruling {
            Ruling::Forbid { why, instead, commit } => match opened.store.commit(*commit).await {
                Ok(_) => Self::Forbidden(format!("{why} {instead}")),
                Err(_) => Self::Unrecorded,
            },
            Ruling::Paused { until } => Self::Paused { seconds: until.since(opened.clock.now()).0 / 1000 + 1 },
            Ruling::Crowded { .. } => Self::Crowded,
            Ruling::Stopped => Self::Stopped,
            Ruling::Resolve
            | Ruling::LookUp(_)
            | Ruling::View
            | Ruling::ReadFirst
            | Ruling::Permit(_)
            | Ruling::Held { .. } => Self::Unclear,
        }
    }

    /// What the agent is told.
    pub(super) fn said(&self, &Words { done, again, doing_it_again }: &Words) -> String {
        match self {
            Self::Stopped => format!("Stopped by the person. Nothing was {done}"),
            Self::Unrecorded => format!("It could not be recorded. Nothing was {done}"),
            Self::Unreadable => format!(
                "What this is about could not be read or kept, so the person could not be asked. Nothing was {done}"
            ),
            Self::Denied(id) => format!(
                "The person said no ({id}). Nothing was {done}, and {doing_it_again} won't help; ask them what they would like instead"
            ),
            Self::Nobody => format!(
                "The person has not answered in time. Nothing was {done}, and it is no denial: {again} when they are there"
            ),
            Self::Paused { seconds } => format!(
                "The person denied several requests in a row, or too many are waiting. Nothing that needs their consent is accepted for {seconds} s; nothing was {done}"
            ),
            Self::Crowded => format!(
                "What waits for the person already takes all the room there is. Nothing was {done}; try again when the person has decided"
            ),
            Self::Forbidden(why) => format!("{why} Nothing was {done}"),
            Self::Unclear => format!("It is not known what this is about. Nothing was {done}"),
        }
    }
}

impl Runtime {
    /// Who it is, by an account's id and an access token.
    pub(super) fn log_in(&self, user: &str, token: &str) -> Result<(Arc<Account>, Digest, Session), Turned> {
        let locked = || Turned::Now("Latchstring's vault is locked: the person must unlock it first".to_owned());
        let opened = self.opened().ok_or_else(locked)?;
        let token = inside::hash(token);
        let now = opened.now();
        let session = opened.guard().authenticate(&token, now).map_err(|error| match error {
            TokenError::Stopped => Turned::Now(error.to_string()),
            TokenError::Unknown
            | TokenError::Expired
            | TokenError::NoAgent
            | TokenError::Pairing
            | TokenError::Exchange(_)
            | TokenError::TooMany => Turned::Away,
        })?;
        let account = opened.account(user).ok_or(Turned::Away)?;
        opened.guard().granted(&session, &account.id, now).ok_or(Turned::Away)?;
        Ok((account, token, session))
    }

    /// Waits for the person: for the answer to what ran, or did not.
    pub(super) async fn wait_for_person(
        self: &Arc<Self>,
        opened: &Opened,
        account: &Arc<Account>,
        id: &str,
    ) -> Result<Arc<Answer>, Nothing> {
        self.settle(opened);
        let _waiting = Waiting::enter(self, id);
        let mut changed = opened.changed.subscribe();
        // As long as somebody waits the hold lives on: whoever joins late waits as long as whoever came first.
        let life = Duration::from_secs(u64::from(self.settings().hold_seconds));
        let deadline = tokio::time::Instant::now() + life.min(PATIENCE);
        loop {
            changed.borrow_and_update();
            let state = opened.guard().hold(id).map(|hold| hold.state);
            match state {
                Some(State::Allowed) => self.run_allowed_soon(account, id),
                Some(State::Denied) => return Err(Nothing::Denied(id.to_owned())),
                Some(State::Failed) => return Err(Nothing::Unreadable),
                Some(State::Done | State::Expired) | None => {
                    let answer = super::lock(&opened.answers).get(id).cloned();
                    return answer.ok_or(Nothing::Nobody);
                }
                Some(State::Preparing | State::Open | State::Proposal | State::Running) => {}
            }
            tokio::select! {
                moved = changed.changed() => if moved.is_err() { return Err(Nothing::Stopped) },
                // What was allowed already needs the server's time, not the person's.
                () = tokio::time::sleep_until(deadline), if !matches!(state, Some(State::Allowed | State::Running)) => {
                    return Err(Nothing::Nobody);
                }
            }
        }
    }

    /// The person hears when a server does not take the stored credential.
    pub(super) fn note_login<T>(&self, opened: &Opened, account: &Account, answer: &Result<T, UpstreamError>) {
        match answer {
            Ok(_) => self.note_account(opened, &account.id, None),
            Err(UpstreamError { fault: fault @ (Fault::SignIn { .. } | Fault::Refresh(_)), .. }) => {
                let text = format!("{fault}. Remove the account and add it again with the present password.");
                self.note_account(opened, &account.id, Some(text));
            }
            Err(_) => {}
        }
    }
}

/// Counts a requester that waits for a hold, as long as it does.
pub(super) struct Waiting {
    runtime: Arc<Runtime>,
    id: String,
}

impl Waiting {
    pub(super) fn enter(runtime: &Arc<Runtime>, id: &str) -> Self {
        if let Some(opened) = runtime.opened() {
            opened.guard().set_waiting(id, Waits::Comes);
        }
        Self { runtime: Arc::clone(runtime), id: id.to_owned() }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(opened) = self.runtime.opened() {
            opened.guard().set_waiting(&self.id, Waits::Leaves);
        }
    }
}
