//! The tray's mind: what happened goes in, what to do comes out. No window, bus or process is touched here.

mod dialogs;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::{Duration, Instant};

use latch_ipc::contract::{EventKind, HoldDecideParams, PanicResult, UndoResult, Verdict};
use latch_ipc::view::HoldView;
use latch_ipc::words::put_back;

use crate::confirm::{Answer, Choice, ConfirmView, Dialog, Refused, SWALLOW, deny};
use crate::notify::{Notice, Pressed, notice};
use crate::presence::Presence;
use crate::text::visible;
use crate::tray::{Action, crowd};
use crate::world::{Engine, Shortcut, Snapshot, World, is_small};

/// Dialogs that open by themselves (UX 12); what the person opens is not counted.
const PER_MINUTE: usize = 3;
const PER_HOUR: usize = 20;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// Notes kept for the main window.
const NOTES: usize = 20;

/// Where the main window starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    /// As it was.
    Last,
    /// After a panic.
    Stopped,
}

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    EngineUp {
        vault_locked: bool,
    },
    EngineDown {
        why: String,
    },
    EngineSaid(latch_ipc::contract::Event),
    Loaded(Box<World>),
    Fetched {
        id: String,
        hold: Option<Box<HoldView>>,
    },
    PanicDone(Option<PanicResult>),
    DecideDone {
        id: String,
        number: Option<u64>,
        error: Option<String>,
    },
    UndoDone(Result<UndoResult, String>),
    /// Something was done; the engine has to be read again.
    Changed,
    Failed(String),
    Painted {
        number: u64,
        revision: u64,
    },
    PaintLimit {
        number: u64,
    },
    Focused {
        number: u64,
        gained: bool,
    },
    DialogGone {
        number: u64,
    },
    FallbackShown {
        number: u64,
    },
    FallbackAnswer {
        number: u64,
        allow: bool,
    },
    Chosen(Action),
    Pressed {
        hold: String,
        digest: String,
        pressed: Pressed,
    },
    Locked(bool),
    Away(bool),
    /// Somebody uses the window of dialog `number`.
    Touched {
        number: u64,
    },
    /// A hold's time was moved.
    Ends {
        id: String,
        at: String,
    },
    /// The Panic key was set, or why not.
    KeySet(Shortcut),
    /// The page where the person ends an account's access by hand.
    OpenPage {
        account: String,
    },
    TrayHost(bool),
    Note(String),
    Tick,
}

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Refresh,
    Fetch(String),
    Panic,
    Decide { params: Box<HoldDecideKey>, number: Option<u64> },
    AnswerAsk { id: String, verdict: Verdict },
    Revoke(String),
    Undo(String),
    OpenDialog(u64),
    UpdateDialog(u64),
    RaiseDialog(u64),
    CloseDialog(u64),
    OpenFallback(u64),
    Notify(Notice),
    CloseNotice(String),
    OpenMain(Page),
    Touch(String),
    TellEnd { number: u64, at: String },
    SetKey(String),
    OpenUrl(String),
    KillEngine,
    Quit,
}

/// [`HoldDecideParams`], comparable.
#[derive(Debug, Clone)]
pub(crate) struct HoldDecideKey(pub(crate) HoldDecideParams);

impl PartialEq for HoldDecideKey {
    fn eq(&self, other: &Self) -> bool {
        serde_json::to_string(&self.0).ok() == serde_json::to_string(&other.0).ok()
    }
}

impl Eq for HoldDecideKey {}

/// Everything the tray remembers.
#[derive(Debug)]
pub(crate) struct State {
    engine: Engine,
    world: World,
    stopping: bool,
    cut: Option<PanicResult>,
    notes: Vec<String>,
    no_tray: bool,
    drill: bool,
    story: Vec<String>,
    presence: Presence,
    key_asked: Option<String>,
    key: Option<Shortcut>,
    dialog: Option<Dialog>,
    dialogs_made: u64,
    fetching: Option<String>,
    asked_for: VecDeque<String>,
    answered: HashSet<String>,
    served: HashMap<String, u64>,
    opened: VecDeque<Instant>,
    noticed: HashMap<String, Notice>,
}

impl State {
    /// `drill`: everything it will show is made up.
    pub(crate) fn new(notes: Vec<String>, drill: bool) -> Self {
        Self {
            engine: Engine::Starting,
            world: World::default(),
            stopping: false,
            cut: None,
            notes,
            no_tray: false,
            drill,
            story: Vec::new(),
            presence: Presence::default(),
            key_asked: None,
            key: None,
            dialog: None,
            dialogs_made: 0,
            fetching: None,
            asked_for: VecDeque::new(),
            answered: HashSet::new(),
            served: HashMap::new(),
            opened: VecDeque::new(),
            noticed: HashMap::new(),
        }
    }

    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            engine: self.engine.clone(),
            world: self.world.clone(),
            cut: self.cut.clone(),
            stopping: self.stopping,
            notes: self.notes.clone(),
            no_tray: self.no_tray,
            drill: self.drill,
            story: self.story.clone(),
            panic_key: self.key.clone(),
        }
    }

    /// What window `number` shows; `None` when it is not the open one.
    pub(crate) fn confirm_view(&self, number: u64) -> Option<ConfirmView> {
        let dialog = self.dialog.as_ref().filter(|dialog| dialog.number == number)?;
        let others = self.open_holds().filter(|hold| hold.id != dialog.id()).count()
            + self.world.asks.iter().filter(|ask| ask.id != dialog.id() && !self.answered.contains(&ask.id)).count();
        Some(ConfirmView {
            number,
            revision: dialog.revision,
            subject: dialog.subject.clone(),
            delay_ms: u64::try_from(dialog.delay().as_millis()).unwrap_or(u64::MAX),
            swallow_ms: u64::try_from(SWALLOW.as_millis()).unwrap_or(u64::MAX),
            more: others,
            error: dialog.error.clone(),
            absent: self.presence.refusal().map(|refused| refused.to_string()),
        })
    }

    /// The open dialog, for the fallback.
    pub(crate) fn dialog(&self, number: u64) -> Option<&Dialog> {
        self.dialog.as_ref().filter(|dialog| dialog.number == number)
    }

    /// The one click. Works in every state; what can't be told to the engine now is told first when it is back.
    pub(crate) fn panic(&mut self) -> Vec<Effect> {
        self.stopping = true;
        match self.engine {
            Engine::Up => vec![Effect::Panic, Effect::OpenMain(Page::Stopped)],
            Engine::Starting | Engine::Down { .. } => vec![Effect::KillEngine, Effect::OpenMain(Page::Stopped)],
        }
    }

    /// The answer of a confirm window.
    pub(crate) fn choose(&mut self, number: u64, choice: &Choice, now: Instant) -> Result<Vec<Effect>, Refused> {
        let absent = self.presence.refusal();
        let dialog = self.dialog.as_mut().filter(|dialog| dialog.number == number).ok_or(Refused::Answered)?;
        if choice.verdict == Verdict::Deny {
            return Ok(self.deny_dialog_for("dialog", choice.remember));
        }
        if let Some(absent) = absent {
            return Err(absent);
        }
        let answer = dialog.allow(choice, now)?;
        dialog.answered = true;
        let id = dialog.id().to_owned();
        self.answered.insert(id.clone());
        Ok(vec![match answer {
            Answer::Hold(params) => Effect::Decide { params: Box::new(HoldDecideKey(params)), number: Some(number) },
            Answer::Ask => Effect::AnswerAsk { id, verdict: Verdict::Allow },
        }])
    }

    pub(crate) fn handle(&mut self, input: Input, now: Instant) -> Vec<Effect> {
        match input {
            Input::EngineUp { vault_locked } => self.engine_up(vault_locked),
            Input::EngineDown { why } => self.engine_down(why),
            Input::EngineSaid(event) => self.engine_said(event),
            Input::Loaded(world) => self.loaded(*world, now),
            Input::Fetched { id, hold } => self.fetched(&id, hold, now),
            Input::PanicDone(result) => self.panic_done(result),
            Input::DecideDone { id, number, error } => self.decide_done(&id, number, error),
            Input::UndoDone(result) => self.undo_done(result),
            Input::Changed => vec![Effect::Refresh],
            Input::Failed(why) => {
                self.note(why);
                vec![Effect::Refresh]
            }
            Input::Painted { number, revision } => {
                if let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.number == number) {
                    dialog.painted(revision, now);
                }
                Vec::new()
            }
            Input::PaintLimit { number } => self.paint_limit(number),
            Input::Focused { number, gained } => {
                if let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.number == number) {
                    dialog.focus(gained, now);
                }
                Vec::new()
            }
            Input::DialogGone { number } => match self.dialog(number) {
                Some(dialog) if !dialog.fallback => self.deny_dialog("dialog"),
                Some(_) | None => Vec::new(),
            },
            Input::FallbackShown { number } => {
                if let Some(dialog) = self.dialog.as_mut().filter(|dialog| dialog.number == number) {
                    dialog.painted(dialog.revision, now);
                }
                Vec::new()
            }
            Input::FallbackAnswer { number, allow } => self.fallback_answer(number, allow, now),
            Input::Chosen(action) => self.chosen(action, now),
            Input::Pressed { hold, digest, pressed } => self.pressed(&hold, &digest, pressed, now),
            Input::Locked(locked) => self.presence_is(Presence { locked, ..self.presence }, now),
            Input::Away(away) => self.presence_is(Presence { away, ..self.presence }, now),
            Input::Touched { number } => self.touched(number, now),
            Input::Ends { id, at } => {
                if let Some(hold) = self.world.holds.iter_mut().find(|hold| hold.id == id) {
                    hold.expires_at.clone_from(&at);
                }
                self.ends(&id, at)
            }
            Input::KeySet(key) => {
                if let Some(why) = key.why.as_ref().filter(|_| key.tell) {
                    self.note(format!("The Panic key {} does not work here: {why}", key.keys));
                }
                self.key = Some(key);
                Vec::new()
            }
            Input::OpenPage { account } => {
                let account = self.world.accounts.iter().find(|known| known.id == account);
                let page = account.and_then(|account| account.sign_out_page.clone());
                page.filter(|page| page.starts_with("https://")).map(Effect::OpenUrl).into_iter().collect()
            }
            Input::TrayHost(there) => {
                let appeared_without = !there && !self.no_tray;
                self.no_tray = !there;
                if appeared_without { vec![Effect::OpenMain(Page::Last)] } else { Vec::new() }
            }
            Input::Note(note) => {
                self.note(note);
                Vec::new()
            }
            Input::Tick => self.next_dialog(now),
        }
    }

    fn engine_up(&mut self, vault_locked: bool) -> Vec<Effect> {
        self.engine = Engine::Up;
        self.answered.clear();
        let mut effects = Vec::new();
        if self.stopping {
            effects.push(Effect::Panic);
        }
        if vault_locked || self.drill {
            effects.push(Effect::OpenMain(Page::Last));
        }
        effects.push(Effect::Refresh);
        effects
    }

    /// What waited is denied by the engine's end; nothing is allowed because of it.
    fn engine_down(&mut self, why: String) -> Vec<Effect> {
        if self.engine == Engine::Up {
            self.note(format!("The engine stopped: {why}. What waited was denied; it is started again."));
        }
        self.engine = Engine::Down { why };
        self.world.holds.clear();
        self.world.asks.clear();
        self.fetching = None;
        let mut effects = self.close_dialog();
        effects.extend(self.noticed.drain().map(|(id, _)| Effect::CloseNotice(id)));
        effects
    }

    fn engine_said(&mut self, event: latch_ipc::contract::Event) -> Vec<Effect> {
        match event.kind {
            EventKind::Panic => return vec![Effect::Refresh, Effect::OpenMain(Page::Stopped)],
            EventKind::Told => {
                self.story.extend(event.text);
                return Vec::new();
            }
            EventKind::AccountFailing | EventKind::AgentPaused | EventKind::PhoneChanged => {
                if let Some(text) = event.text {
                    self.note(text);
                }
            }
            EventKind::HoldOpened
            | EventKind::HoldChanged
            | EventKind::HoldClosed
            | EventKind::AskOpened
            | EventKind::Resumed
            | EventKind::VaultOpened
            | EventKind::OutboxChanged => {}
        }
        vec![Effect::Refresh]
    }

    fn loaded(&mut self, world: World, now: Instant) -> Vec<Effect> {
        if self.engine != Engine::Up {
            return Vec::new();
        }
        self.world = world;
        let mut effects = self.refresh_dialog();
        if let Some(keys) = self.world.panic_keys.clone().filter(|keys| self.key_asked.as_ref() != Some(keys)) {
            self.key_asked = Some(keys.clone());
            effects.push(Effect::SetKey(keys));
        }
        let gone: Vec<String> = self.noticed.keys().filter(|id| !self.still_waits(id)).cloned().collect();
        for id in gone {
            self.noticed.remove(&id);
            effects.push(Effect::CloseNotice(id));
        }
        effects.extend(self.next_dialog(now));
        effects.extend(self.notices());
        effects
    }

    fn still_waits(&self, id: &str) -> bool {
        id == CROWD || self.world.hold(id).is_some() || self.world.asks.iter().any(|ask| ask.id == id)
    }

    fn notices(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        let mut more = 0;
        let notices: Vec<Notice> = self.open_holds().map(|hold| notice(hold, self.presence.locked)).collect();
        for notice in notices {
            match self.noticed.get(&notice.id) {
                Some(before) if *before == notice => {}
                None if self.noticed.len() >= PER_MINUTE => more += 1,
                Some(_) | None => {
                    self.noticed.insert(notice.id.clone(), notice.clone());
                    effects.push(Effect::Notify(notice));
                }
            }
        }
        let crowd = Notice::plain(CROWD, "Latchstring", &crowd(more));
        if more > 0 && self.noticed.get(CROWD) != Some(&crowd) {
            self.noticed.insert(CROWD.to_owned(), crowd.clone());
            effects.push(Effect::Notify(crowd));
        } else if more == 0 && self.noticed.remove(CROWD).is_some() {
            effects.push(Effect::CloseNotice(CROWD.to_owned()));
        }
        effects
    }

    fn panic_done(&mut self, result: Option<PanicResult>) -> Vec<Effect> {
        match result {
            Some(result) => {
                self.stopping = false;
                self.cut = Some(result);
                vec![Effect::Refresh]
            }
            None => {
                self.note(
                    "The engine did not answer to Panic, so it was killed: every connection is cut. It is \
                           stopped again before anything else when it is back."
                        .to_owned(),
                );
                vec![Effect::KillEngine]
            }
        }
    }

    fn decide_done(&mut self, id: &str, number: Option<u64>, error: Option<String>) -> Vec<Effect> {
        let mut effects = Vec::new();
        if let Some(error) = error {
            self.answered.remove(id);
            self.note(format!("Your answer did not count: {error}"));
            if let Some(dialog) = self.dialog.as_mut().filter(|dialog| Some(dialog.number) == number) {
                dialog.answered = false;
                dialog.error = Some(error);
                dialog.revision += 1;
                effects.push(Effect::UpdateDialog(dialog.number));
            }
        } else if let Some(number) = number
            && self.dialog(number).is_some()
        {
            effects.extend(self.close_dialog());
        }
        effects.push(Effect::Refresh);
        effects
    }

    fn undo_done(&mut self, result: Result<UndoResult, String>) -> Vec<Effect> {
        let body = match result {
            Ok(result) => visible(&put_back(&result)),
            Err(error) => format!("Nothing was put back: {error}"),
        };
        self.note(body.clone());
        vec![Effect::Notify(Notice::plain("undo", "Undo", &body)), Effect::Refresh]
    }

    fn chosen(&mut self, action: Action, now: Instant) -> Vec<Effect> {
        match action {
            Action::Panic => self.panic(),
            Action::Review(id) | Action::ReviewAsk(id) => self.review(id, now),
            Action::Deny(id) => self.deny_hold(&id, "dialog"),
            Action::Revoke(agent) => vec![Effect::Revoke(agent)],
            Action::Undo(entry) => vec![Effect::Undo(entry)],
            Action::Open => vec![Effect::OpenMain(Page::Last)],
            Action::OpenResume => vec![Effect::OpenMain(Page::Stopped)],
            Action::Quit => vec![Effect::Quit],
        }
    }

    /// Answers from a notification: a late or forged one finds no hold with its digest and does nothing.
    fn pressed(&mut self, id: &str, digest: &str, pressed: Pressed, now: Instant) -> Vec<Effect> {
        if pressed == Pressed::Panic {
            return self.panic();
        }
        if id == CROWD {
            return vec![Effect::OpenMain(Page::Last)];
        }
        let Some(hold) = self.world.hold(id).filter(|hold| hold.digest == digest && !self.answered.contains(id)) else {
            return Vec::new();
        };
        match pressed {
            Pressed::Panic => Vec::new(),
            Pressed::Review => self.review(id.to_owned(), now),
            Pressed::Deny => self.deny_hold(id, "notification"),
            Pressed::Allow if is_small(hold) && self.presence.refusal().is_none() => {
                let params = HoldDecideParams { verdict: Verdict::Allow, ..deny(hold, "notification") };
                self.answer(id, params)
            }
            Pressed::Allow => self.review(id.to_owned(), now),
        }
    }

    fn deny_hold(&mut self, id: &str, by: &str) -> Vec<Effect> {
        let Some(params) = self.world.hold(id).map(|hold| deny(hold, by)) else { return Vec::new() };
        self.answer(id, params)
    }

    fn answer(&mut self, id: &str, params: HoldDecideParams) -> Vec<Effect> {
        self.answered.insert(id.to_owned());
        let mut effects = vec![Effect::Decide { params: Box::new(HoldDecideKey(params)), number: None }];
        if self.dialog.as_ref().is_some_and(|dialog| dialog.id() == id) {
            effects.extend(self.close_dialog());
        }
        effects
    }

    fn note(&mut self, note: String) {
        if self.notes.last() != Some(&note) {
            self.notes.push(note);
        }
        if self.notes.len() > NOTES {
            self.notes.remove(0);
        }
    }
}

/// The one notice about all that did not get its own.
const CROWD: &str = "more";

#[cfg(test)]
#[path = "state_tests.rs"]
mod tests;
