//! Where the mail lies.

use std::future::Future;
use std::time::Duration;

use latch_core::call::Call;
use latch_core::journal::Commit;
use latch_core::lease::Lease;
use latch_core::phone::{Anchor, Look};
use latch_core::plan::Plan;

use crate::runtime::read::ReadError;
use crate::runtime::{Opened, Runtime};
use crate::upstream::oauth::RefreshError;
use crate::upstream::{Fault, UpstreamError};

/// How changes are noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// The mail server reports them at once.
    Pushed,
    /// It is looked at so often.
    Looked(Duration),
}

/// Why nothing is watched any more.
#[derive(Debug)]
pub(super) enum Over {
    /// Everything is stopped, or it was switched off.
    Rest,
    /// The mailbox can't be reached, in the words of whoever knows why.
    Lost(String),
    /// It was reached and said no: trying again soon would only make it worse.
    Refused(String),
    /// The mail surely was not stored.
    Unstored(String),
}

impl Over {
    /// The same where it is certain that nothing was stored: what was drawn for the mail is forgotten, so nobody misses it.
    pub(super) fn unstored(self) -> Self {
        Self::Unstored(match self {
            Self::Rest => "everything is stopped".to_owned(),
            Self::Lost(why) | Self::Refused(why) | Self::Unstored(why) => why,
        })
    }
}

/// As much as is told of a server's words, in characters.
const LONGEST_SAID: usize = 200;

/// The beginning of a server's words.
pub(super) fn cut(text: &str) -> String {
    text.chars().take(LONGEST_SAID).collect()
}

/// A mailbox with the guard's own mail in it.
pub(super) trait Place: Send {
    /// The mails in the inbox that have this Message-ID.
    fn find(&mut self, name: &str) -> impl Future<Output = Result<Vec<Anchor>, Over>> + Send;

    /// Stores the mail. `None`: the answer does not say which one it is. [`Over::Refused`] and [`Over::Unstored`]: it surely was not stored.
    fn leave(&mut self, mail: &str) -> impl Future<Output = Result<Option<Anchor>, Over>> + Send;

    /// Looks at it.
    fn look(&mut self, name: &str, anchor: &Anchor) -> impl Future<Output = Result<Look, Over>> + Send;

    /// Until it is worth looking again.
    fn wait(&mut self) -> impl Future<Output = Result<(), Over>> + Send;

    /// Takes the mail away; what is left to say of it.
    fn remove(&mut self, anchor: &Anchor) -> impl Future<Output = Result<(), Over>> + Send;

    /// How changes are noticed.
    fn how(&self) -> How;
}

impl From<UpstreamError> for Over {
    fn from(error: UpstreamError) -> Self {
        match error.fault {
            Fault::Stopped => Self::Rest,
            fault @ (Fault::SignIn { .. } | Fault::Refresh(RefreshError::SignedOut(_))) => {
                Self::Refused(cut(&fault.to_string()))
            }
            fault => Self::Lost(cut(&fault.to_string())),
        }
    }
}

impl From<ReadError> for Over {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Stopped => Self::Rest,
            ReadError::Upstream(error) if error.fault == Fault::Stopped => Self::Rest,
            other => Self::Lost(cut(&other.to_string())),
        }
    }
}

impl Runtime {
    /// Records that the guard is about to change something of its own.
    pub(super) async fn begin_own(
        &self,
        opened: &Opened,
        account: &str,
        action: &str,
        call: &Call,
    ) -> Result<(Lease, Ending), Over> {
        let mut plan = opened.guard().begin_own(account, action, std::slice::from_ref(call)).map_err(|_| Over::Rest)?;
        let commit = opened.guard().intent(&mut plan, 0, opened.now());
        let receipt = opened.store.commit(commit).await.map_err(|error| Over::Lost(error.to_string()))?;
        let lease = opened.guard().lease(&mut plan, 0).map_err(|_| Over::Rest)?;
        Ok((lease, Ending { plan, intent: receipt.seq }))
    }

    /// Records what became of it.
    pub(super) async fn end_own(&self, opened: &Opened, ending: &Ending, text: String) -> Result<(), Over> {
        let commit: Commit = opened.guard().outcome(&ending.plan, ending.intent, None, text, opened.now());
        opened.store.commit(commit).await.map(|_| ()).map_err(|error| Over::Lost(error.to_string()))
    }
}

/// What the record of its end needs.
pub(super) struct Ending {
    plan: Plan,
    intent: u64,
}
