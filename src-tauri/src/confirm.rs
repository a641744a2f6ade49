//! The rules of the one dialog, without any window: when an answer counts.
//!
//! ```text
//!   opened ── painted(revision) ──┐
//!                                 ├─ visible, focused and unchanged for `delay` ── Allow counts
//!   focused ──────────────────────┘
//! ```
//! The window disables its button by the same rules, but what counts is decided here.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use latch_ipc::contract::{HoldDecideParams, Remember, Scope, Verdict};
use latch_ipc::view::{AskView, Class, HoldState, HoldView};
use serde::{Deserialize, Serialize};

use crate::world::retype_always;

/// A window that has not painted by then is replaced by the operating system's message dialog.
pub(crate) const PAINT_LIMIT: Duration = Duration::from_secs(3);
/// Input this soon after opening or focusing is not meant for the dialog.
pub(crate) const SWALLOW: Duration = Duration::from_millis(350);

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Subject {
    /// May this operation run?
    Hold {
        /// All of it.
        hold: Box<HoldView>,
    },
    /// May this program have what it asked for?
    Ask {
        /// All of it.
        ask: AskView,
    },
}

/// What a confirm window shows.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct ConfirmView {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) subject: Subject,
    pub(crate) delay_ms: u64,
    pub(crate) swallow_ms: u64,
    /// Questions after this one.
    pub(crate) more: usize,
    /// Why the last answer did not count.
    pub(crate) error: Option<String>,
    /// Why nothing can be allowed at the moment: nobody is taken to be there.
    pub(crate) absent: Option<String>,
}

/// What the person chose.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Choice {
    pub(crate) verdict: Verdict,
    /// What the window showed.
    pub(crate) revision: u64,
    /// The hold's digest as shown; empty for an ask.
    #[serde(default)]
    pub(crate) digest: String,
    #[serde(default)]
    pub(crate) objects: Option<Vec<String>>,
    #[serde(default)]
    pub(crate) scope: Scope,
    /// One of the hold's rules.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// For a denial.
    #[serde(default)]
    pub(crate) remember: Option<Remember>,
    #[serde(default)]
    pub(crate) forever: bool,
    #[serde(default)]
    pub(crate) retyped_count: Option<u32>,
}

/// Why an answer did not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("This question is already answered.")]
    Answered,
    #[error("What is shown has changed. Look again.")]
    Changed,
    #[error("Too soon: look at it for a moment first.")]
    TooSoon,
    #[error("The window must be in front and in use.")]
    NotFocused,
    #[error("It is still being read what this would do. Only “no” counts until then.")]
    Preparing,
    #[error("Nothing is ticked.")]
    Nothing,
    #[error("This can't be allowed in part.")]
    Whole,
    #[error("This can't be allowed for a whole task.")]
    NoTask,
    #[error("This can't be done for ever.")]
    NotForEver,
    #[error("Type the number of objects first.")]
    Retype,
    #[error("The screen is locked: nothing can be allowed.")]
    Locked,
    #[error("Nobody used this computer for 5 minutes: nothing can be allowed until somebody does.")]
    Away,
}

/// The open dialog.
#[derive(Debug)]
pub(crate) struct Dialog {
    pub(crate) number: u64,
    pub(crate) revision: u64,
    pub(crate) subject: Subject,
    pub(crate) error: Option<String>,
    pub(crate) answered: bool,
    pub(crate) fallback: bool,
    /// When the engine was told last that somebody uses the window.
    pub(crate) touched: Option<Instant>,
    painted: Option<(u64, Instant)>,
    focused: Option<Instant>,
}

impl Dialog {
    pub(crate) fn new(number: u64, subject: Subject) -> Self {
        Self {
            number,
            revision: 1,
            subject,
            error: None,
            answered: false,
            fallback: false,
            touched: None,
            painted: None,
            focused: None,
        }
    }

    pub(crate) fn id(&self) -> &str {
        match &self.subject {
            Subject::Hold { hold } => &hold.id,
            Subject::Ask { ask } => &ask.id,
        }
    }

    pub(crate) fn hold(&self) -> Option<&HoldView> {
        match &self.subject {
            Subject::Hold { hold } => Some(hold),
            Subject::Ask { .. } => None,
        }
    }

    /// How long it must be looked at before Allow counts.
    pub(crate) fn delay(&self) -> Duration {
        let Subject::Hold { hold } = &self.subject else { return Duration::from_secs(1) };
        match hold.class {
            Class::Read | Class::Modify | Class::Remove | Class::Send => Duration::from_secs(1),
            Class::Unclassified | Class::Publish | Class::Share | Class::Destroy | Class::Spend | Class::Divert => {
                Duration::from_secs(2)
            }
        }
    }

    /// The question ends at another time, which changes nothing of what is asked; whether it does.
    pub(crate) fn ends(&mut self, at: &str) -> bool {
        let shown = match &mut self.subject {
            Subject::Hold { hold } => &mut hold.expires_at,
            Subject::Ask { ask } => &mut ask.expires_at,
        };
        let moved = shown != at;
        at.clone_into(shown);
        moved
    }

    /// Other content: the clock starts again.
    pub(crate) fn change(&mut self, subject: Subject) {
        if self.subject != subject {
            self.subject = subject;
            self.revision += 1;
        }
    }

    pub(crate) fn painted(&mut self, revision: u64, now: Instant) {
        if revision == self.revision && self.painted.is_none_or(|(before, _)| before != revision) {
            self.painted = Some((revision, now));
        }
    }

    pub(crate) fn has_painted(&self) -> bool {
        self.painted.is_some()
    }

    pub(crate) fn focus(&mut self, gained: bool, now: Instant) {
        self.focused = match (gained, self.focused) {
            (true, None) => Some(now),
            (true, before) => before,
            (false, _) => None,
        };
    }

    /// Whether this Allow counts, and as what.
    pub(crate) fn allow(&self, choice: &Choice, now: Instant) -> Result<Answer, Refused> {
        if self.answered {
            return Err(Refused::Answered);
        }
        if choice.revision != self.revision {
            return Err(Refused::Changed);
        }
        let (painted, at) = self.painted.ok_or(Refused::TooSoon)?;
        if painted != self.revision {
            return Err(Refused::Changed);
        }
        let focused = self.focused.ok_or(Refused::NotFocused)?;
        if now.duration_since(at.max(focused)) < self.delay() {
            return Err(Refused::TooSoon);
        }
        match &self.subject {
            Subject::Ask { .. } => Ok(Answer::Ask),
            Subject::Hold { hold } => allow_hold(hold, choice).map(Answer::Hold),
        }
    }

    /// The answer from the operating system's message dialog, shown since `painted`.
    pub(crate) fn fallback_allows(&self, now: Instant) -> Result<(), Refused> {
        let (_, at) = self.painted.ok_or(Refused::TooSoon)?;
        if now.duration_since(at) < self.delay() { Err(Refused::TooSoon) } else { Ok(()) }
    }
}

/// What an accepted Allow becomes.
#[derive(Debug)]
pub(crate) enum Answer {
    Hold(HoldDecideParams),
    Ask,
}

fn allow_hold(hold: &HoldView, choice: &Choice) -> Result<HoldDecideParams, Refused> {
    if choice.digest != hold.digest {
        return Err(Refused::Changed);
    }
    if hold.state == HoldState::Preparing {
        return Err(Refused::Preparing);
    }
    if choice.scope == Scope::Task && !hold.task_scope {
        return Err(Refused::NoTask);
    }
    if let Some(rule) = &choice.rule
        && (choice.scope != Scope::Task || !hold.rules.iter().any(|offered| offered.id == *rule))
    {
        return Err(Refused::Changed);
    }
    if choice.forever && !hold.forever {
        return Err(Refused::NotForEver);
    }
    let objects = match &choice.objects {
        None => None,
        Some(ids) if ids.is_empty() => return Err(Refused::Nothing),
        Some(ids) => {
            let shown: HashSet<&str> = latch_ipc::words::choices(hold).into_iter().collect();
            if ids.iter().any(|id| !shown.contains(id.as_str())) {
                return Err(Refused::Changed);
            }
            let all = ids.len() == shown.len();
            if !all && !hold.partial {
                return Err(Refused::Whole);
            }
            (!all).then(|| ids.clone())
        }
    };
    let counted = objects.as_ref().filter(|_| !hold.objects.is_empty());
    let count = counted.map_or(hold.count, |ids| u32::try_from(ids.len()).unwrap_or(u32::MAX));
    let retype = retype_always(hold) || (hold.retype && choice.forever);
    if retype && choice.retyped_count != Some(count) {
        return Err(Refused::Retype);
    }
    Ok(HoldDecideParams {
        id: hold.id.clone(),
        digest: hold.digest.clone(),
        verdict: Verdict::Allow,
        objects,
        scope: Some(choice.scope),
        rule: choice.rule.clone(),
        remember: None,
        forever: choice.forever.then_some(true),
        retyped_count: choice.retyped_count.filter(|_| retype),
        by: Some("dialog".to_owned()),
    })
}

/// A plain no, once.
pub(crate) fn deny(hold: &HoldView, by: &str) -> HoldDecideParams {
    HoldDecideParams {
        id: hold.id.clone(),
        digest: hold.digest.clone(),
        verdict: Verdict::Deny,
        objects: None,
        scope: None,
        rule: None,
        remember: None,
        forever: None,
        retyped_count: None,
        by: Some(by.to_owned()),
    }
}
