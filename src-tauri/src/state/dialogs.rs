//! The one dialog: which question it shows next, and when it goes.

use std::time::{Duration, Instant};

use latch_ipc::contract::{HoldDecideParams, Remember, Verdict};
use latch_ipc::view::{HoldState, HoldView};

use super::{Effect, HOUR, HoldDecideKey, MINUTE, PER_HOUR, PER_MINUTE, State};
use crate::confirm::{Dialog, Subject, deny};
use crate::presence::Presence;
use crate::world::{Engine, is_small};

/// The engine is not told more often that somebody uses the window.
const TOUCH_PAUSE: Duration = Duration::from_secs(2);

impl State {
    /// Closes the dialog whose question is gone, and reads a changed one again.
    pub(super) fn refresh_dialog(&mut self) -> Vec<Effect> {
        let Some(dialog) = &self.dialog else { return Vec::new() };
        let id = dialog.id().to_owned();
        if !self.still_waits(&id) {
            return self.close_dialog();
        }
        match (dialog.hold(), self.world.hold(&id)) {
            (Some(shown), Some(now)) if !same_but_objects(shown, now) => vec![Effect::Fetch(id)],
            (Some(_), Some(now)) => {
                let at = now.expires_at.clone();
                self.ends(&id, at)
            }
            _ => Vec::new(),
        }
    }

    /// Nobody is taken to be there, or somebody is again: the question has to be looked at anew.
    pub(super) fn presence_is(&mut self, presence: Presence, now: Instant) -> Vec<Effect> {
        let changed = presence.refusal() != self.presence.refusal();
        self.presence = presence;
        let mut effects = Vec::new();
        if let Some(dialog) = self.dialog.as_mut().filter(|_| changed) {
            dialog.revision += 1;
            effects.push(Effect::UpdateDialog(dialog.number));
        }
        if changed && self.presence.refusal().is_none() {
            effects.extend(self.next_dialog(now));
        }
        effects
    }

    /// Somebody uses the window: the hold is given time.
    pub(super) fn touched(&mut self, number: u64, now: Instant) -> Vec<Effect> {
        let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.number == number) else { return Vec::new() };
        let Some(id) = dialog.hold().map(|hold| hold.id.clone()) else { return Vec::new() };
        if dialog.touched.is_some_and(|before| now.duration_since(before) < TOUCH_PAUSE) {
            return Vec::new();
        }
        dialog.touched = Some(now);
        vec![Effect::Touch(id)]
    }

    /// The open dialog's question ends at another time than shown.
    pub(super) fn ends(&mut self, id: &str, at: String) -> Vec<Effect> {
        let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.id() == id) else { return Vec::new() };
        if dialog.ends(&at) { vec![Effect::TellEnd { number: dialog.number, at }] } else { Vec::new() }
    }

    pub(super) fn open_holds(&self) -> impl Iterator<Item = &HoldView> {
        self.world.waiting().filter(|hold| hold.state != HoldState::Proposal && !self.answered.contains(&hold.id))
    }

    /// The next question, if none is open: what the person asked for first, then fair between agents.
    pub(super) fn next_dialog(&mut self, now: Instant) -> Vec<Effect> {
        if self.dialog.is_some() || self.fetching.is_some() || self.engine != Engine::Up {
            return Vec::new();
        }
        while let Some(id) = self.asked_for.pop_front() {
            if let Some(effects) = self.open(&id) {
                return effects;
            }
        }
        while self.opened.front().is_some_and(|at| now.duration_since(*at) > HOUR) {
            self.opened.pop_front();
        }
        let lately = self.opened.iter().filter(|at| now.duration_since(**at) < MINUTE).count();
        if lately >= PER_MINUTE || self.opened.len() >= PER_HOUR || self.presence.locked {
            return Vec::new();
        }
        let next = self
            .open_holds()
            .filter(|hold| hold.prompt)
            .min_by_key(|hold| (self.served.get(&hold.agent).copied().unwrap_or(0), hold.opened_at.clone()))
            .map(|hold| hold.id.clone())
            .or_else(|| {
                let ask = self.world.asks.iter().find(|ask| ask.prompt && !self.answered.contains(&ask.id))?;
                Some(ask.id.clone())
            });
        let Some(id) = next else { return Vec::new() };
        self.opened.push_back(now);
        self.open(&id).unwrap_or_default()
    }

    fn open(&mut self, id: &str) -> Option<Vec<Effect>> {
        if self.world.hold(id).is_some() {
            self.fetching = Some(id.to_owned());
            return Some(vec![Effect::Fetch(id.to_owned())]);
        }
        let ask = self.world.asks.iter().find(|ask| ask.id == id)?.clone();
        Some(self.show(Subject::Ask { ask }))
    }

    fn show(&mut self, subject: Subject) -> Vec<Effect> {
        self.dialogs_made += 1;
        let dialog = Dialog::new(self.dialogs_made, subject);
        if let Some(hold) = dialog.hold() {
            self.served.insert(hold.agent.clone(), self.dialogs_made);
        }
        self.dialog = Some(dialog);
        vec![Effect::OpenDialog(self.dialogs_made)]
    }

    pub(super) fn fetched(&mut self, id: &str, hold: Option<Box<HoldView>>, now: Instant) -> Vec<Effect> {
        let opening = self.fetching.take_if(|fetching| fetching == id).is_some();
        let waits = hold.filter(|hold| crate::world::is_waiting(hold) && self.world.hold(id).is_some());
        match (&mut self.dialog, waits) {
            (Some(dialog), Some(hold)) if dialog.id() == id => {
                let (before, at) = (dialog.revision, hold.expires_at.clone());
                let moved = dialog.ends(&at);
                dialog.change(Subject::Hold { hold });
                if dialog.fallback || (dialog.revision == before && !moved) {
                    return Vec::new();
                }
                if dialog.revision == before {
                    return vec![Effect::TellEnd { number: dialog.number, at }];
                }
                vec![Effect::UpdateDialog(dialog.number)]
            }
            (None, Some(hold)) if opening => self.show(Subject::Hold { hold }),
            (None, None) if opening => self.next_dialog(now),
            _ => Vec::new(),
        }
    }

    pub(super) fn paint_limit(&mut self, number: u64) -> Vec<Effect> {
        match self.dialog.as_mut().filter(|dialog| dialog.number == number) {
            Some(dialog) if !dialog.has_painted() => {
                dialog.fallback = true;
                self.note("A confirm window did not appear in time; a plain message box asked instead.".to_owned());
                vec![Effect::CloseDialog(number), Effect::OpenFallback(number)]
            }
            Some(_) | None => Vec::new(),
        }
    }

    pub(super) fn fallback_answer(&mut self, number: u64, allow: bool, now: Instant) -> Vec<Effect> {
        let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.number == number && dialog.fallback) else {
            return Vec::new();
        };
        let Some(hold) = dialog.hold().filter(|hold| allow && is_small(hold)) else {
            return self.deny_dialog("dialog");
        };
        if dialog.fallback_allows(now).is_err() || self.presence.refusal().is_some() {
            return vec![Effect::OpenFallback(number)];
        }
        let params = HoldDecideParams { verdict: Verdict::Allow, ..deny(hold, "dialog") };
        self.answered.insert(params.id.clone());
        dialog.answered = true;
        self.dialog = None;
        vec![Effect::Decide { params: Box::new(HoldDecideKey(params)), number: Some(number) }]
    }

    pub(super) fn review(&mut self, id: String, now: Instant) -> Vec<Effect> {
        if let Some(dialog) = &self.dialog {
            if dialog.id() != id && !self.asked_for.contains(&id) {
                self.asked_for.push_back(id);
            }
            return vec![Effect::RaiseDialog(dialog.number)];
        }
        self.asked_for.push_front(id);
        self.next_dialog(now)
    }

    /// Denies what the open dialog asks, unless it is answered, and closes it.
    pub(super) fn deny_dialog(&mut self, by: &str) -> Vec<Effect> {
        self.deny_dialog_for(by, None)
    }

    /// The same; the engine remembers the no where the hold says that it can.
    pub(super) fn deny_dialog_for(&mut self, by: &str, remember: Option<Remember>) -> Vec<Effect> {
        let Some(dialog) = &self.dialog else { return Vec::new() };
        let mut effects = Vec::new();
        if !dialog.answered {
            let id = dialog.id().to_owned();
            effects.push(match &dialog.subject {
                Subject::Hold { hold } => {
                    let params = HoldDecideParams { remember: remember.filter(|_| hold.memorable), ..deny(hold, by) };
                    Effect::Decide { params: Box::new(HoldDecideKey(params)), number: None }
                }
                Subject::Ask { .. } => Effect::AnswerAsk { id: id.clone(), verdict: Verdict::Deny },
            });
            self.answered.insert(id);
        }
        effects.extend(self.close_dialog());
        effects
    }

    pub(super) fn close_dialog(&mut self) -> Vec<Effect> {
        self.dialog.take().map(|dialog| vec![Effect::CloseDialog(dialog.number)]).unwrap_or_default()
    }
}

/// The list carries at most 20 objects of each hold, and no facts, which its digest stands for; all else but its end tells whether the hold changed.
fn same_but_objects(shown: &HoldView, listed: &HoldView) -> bool {
    let first = shown.objects.iter().zip(&listed.objects).all(|(one, other)| one == other);
    let mut rest = listed.clone();
    rest.objects.clone_from(&shown.objects);
    rest.facts.clone_from(&shown.facts);
    rest.expires_at.clone_from(&shown.expires_at);
    rest.prompt = shown.prompt;
    first && *shown == rest
}
