//! What the tray knows: a copy of the engine's views, and of the engine itself.

use latch_ipc::contract::PanicResult;
use latch_ipc::view::{
    AccountView, AgentView, AskView, Class, HoldState, HoldView, OutboxView, Reversible, StatusView, UndoView,
};
use serde::Serialize;

/// The engine process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "state", rename_all = "lowercase")]
pub(crate) enum Engine {
    /// Not answering yet.
    Starting,
    /// Answering.
    Up,
    /// Gone; it is started again after a while.
    Down {
        /// In a sentence.
        why: String,
    },
}

/// What the engine answered last.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct World {
    pub(crate) status: Option<StatusView>,
    pub(crate) accounts: Vec<AccountView>,
    pub(crate) agents: Vec<AgentView>,
    pub(crate) holds: Vec<HoldView>,
    pub(crate) asks: Vec<AskView>,
    pub(crate) undo: Vec<UndoView>,
    pub(crate) outbox: Vec<OutboxView>,
    /// The key combination that stops everything from anywhere; empty: none is wanted.
    pub(crate) panic_keys: Option<String>,
}

/// The key that stops everything from anywhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Shortcut {
    /// `Ctrl+Alt+Shift+P`; empty: none.
    pub(crate) keys: String,
    /// Why it does not work; `None`: it does, or there is none.
    pub(crate) why: Option<String>,
    /// The reason is worth telling without being asked.
    #[serde(skip)]
    pub(crate) tell: bool,
}

impl Shortcut {
    /// The keys, if they work.
    pub(crate) fn offered(&self) -> Option<&str> {
        (self.why.is_none() && !self.keys.is_empty()).then_some(self.keys.as_str())
    }
}

/// All that the main window shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) engine: Engine,
    #[serde(flatten)]
    pub(crate) world: World,
    /// What the last panic cut.
    pub(crate) cut: Option<PanicResult>,
    /// A panic was asked for and the engine has not confirmed it yet.
    pub(crate) stopping: bool,
    /// What the person should know, newest last.
    pub(crate) notes: Vec<String>,
    /// This desktop shows no tray icons.
    pub(crate) no_tray: bool,
    /// The drill: nothing here is real.
    pub(crate) drill: bool,
    /// What happened in the drill so far.
    pub(crate) story: Vec<String>,
    /// The key that stops everything, once it was tried.
    pub(crate) panic_key: Option<Shortcut>,
}

impl World {
    pub(crate) fn panicked(&self) -> bool {
        self.status.as_ref().is_some_and(|status| status.panicked)
    }

    /// Holds that can still be decided, proposals included.
    pub(crate) fn waiting(&self) -> impl Iterator<Item = &HoldView> {
        self.holds.iter().filter(|hold| is_waiting(hold))
    }

    pub(crate) fn hold(&self, id: &str) -> Option<&HoldView> {
        self.waiting().find(|hold| hold.id == id)
    }
}

pub(crate) fn is_waiting(hold: &HoldView) -> bool {
    match hold.state {
        HoldState::Preparing | HoldState::Open | HoldState::Proposal => true,
        HoldState::Allowed | HoldState::AllowedInPart | HoldState::Denied | HoldState::Expired => false,
    }
}

/// What may be allowed outside the confirm window: a known, small change that undo puts back (UX 16, 19).
pub(crate) fn is_small(hold: &HoldView) -> bool {
    let back = match hold.reversible {
        Reversible::Yes | Reversible::Softened => true,
        Reversible::ByCopy | Reversible::UntilSent | Reversible::No | Reversible::Unknown => false,
    };
    let light = match hold.class {
        Class::Modify | Class::Remove => true,
        Class::Read
        | Class::Unclassified
        | Class::Send
        | Class::Publish
        | Class::Share
        | Class::Destroy
        | Class::Spend
        | Class::Divert => false,
    };
    back && light && (1..=20).contains(&hold.count) && hold.state == HoldState::Open && !retype_always(hold)
}

/// The Class itself demands the count, whether or not `for ever` is chosen.
pub(crate) fn retype_always(hold: &HoldView) -> bool {
    hold.retype && !hold.forever
}
