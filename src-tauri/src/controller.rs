//! Owns the state. Everything that happens arrives here as a message, panic and quit before all else; what is to be done
//! is done by tasks that send their outcome back.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use latch_ipc::Client;
use latch_ipc::client::CallError;
use latch_ipc::contract::{
    AccountList, AgentList, AgentRevoke, AskDecide, AskDecideParams, AskList, Empty, HoldDecide, HoldGet,
    HoldGetParams, HoldList, HoldTouch, HoldTouched, Id, OutboxList, PanicCall, SettingsGet, StatusCall, UndoList,
    UndoListParams, UndoRun, UndoRunParams,
};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use crate::confirm::{Choice, ConfirmView, PAINT_LIMIT, Refused};
use crate::desktop::Desktop;
use crate::engine_link::EngineLink;
use crate::notify::Notices;
use crate::state::{Effect, Input, State};
use crate::tray;
use crate::world::{Snapshot, World};

/// Polled first.
#[derive(Debug)]
pub(crate) enum Urgent {
    Panic,
    Quit,
}

/// What waits for an answer.
#[derive(Debug)]
pub(crate) enum Question {
    Snapshot(oneshot::Sender<Snapshot>),
    Confirm { number: u64, reply: oneshot::Sender<Option<ConfirmView>> },
    Choose { number: u64, choice: Choice, reply: oneshot::Sender<Result<(), Refused>> },
}

/// How others reach the controller.
#[derive(Debug, Clone)]
pub(crate) struct Inbox {
    pub(crate) urgent: UnboundedSender<Urgent>,
    pub(crate) inputs: UnboundedSender<Input>,
    pub(crate) questions: UnboundedSender<Question>,
}

/// The receiving ends.
pub(crate) struct Outlets {
    urgent: UnboundedReceiver<Urgent>,
    inputs: UnboundedReceiver<Input>,
    questions: UnboundedReceiver<Question>,
}

/// Makes both ends.
pub(crate) fn channels() -> (Inbox, Outlets) {
    let (urgent, urgent_out) = unbounded_channel();
    let (inputs, inputs_out) = unbounded_channel();
    let (questions, questions_out) = unbounded_channel();
    (Inbox { urgent, inputs, questions }, Outlets { urgent: urgent_out, inputs: inputs_out, questions: questions_out })
}

/// Runs what the state decides.
pub(crate) struct Controller {
    pub(crate) state: State,
    pub(crate) desktop: Desktop,
    pub(crate) engine: EngineLink,
    pub(crate) notices: Notices,
    pub(crate) inbox: Inbox,
    pub(crate) loads: Loads,
}

/// One reading of the engine at a time, and one more when something happened meanwhile.
#[derive(Clone, Default)]
pub(crate) struct Loads(Arc<Mutex<Load>>);

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Load {
    #[default]
    Idle,
    Running,
    RunningAgainAfter,
}

/// An engine that does not confirm a panic by then is killed.
const PANIC_LIMIT: Duration = Duration::from_secs(1);
/// By then most allowed operations have run and can be undone.
const RUN_TIME: Duration = Duration::from_secs(1);
/// Times left in the menu, and dialogs that waited for their turn.
const TICK: Duration = Duration::from_secs(10);

impl Controller {
    /// Until quit.
    pub(crate) async fn run(mut self, mut outlets: Outlets) {
        let mut tick = tokio::time::interval(TICK);
        self.draw();
        loop {
            let effects = tokio::select! {
                biased;
                Some(urgent) = outlets.urgent.recv() => match urgent {
                    Urgent::Panic => self.state.panic(),
                    Urgent::Quit => break,
                },
                Some(question) = outlets.questions.recv() => self.answer(question),
                Some(input) = outlets.inputs.recv() => self.state.handle(input, Instant::now()),
                _ = tick.tick() => {
                    // What agents do unasked causes no event; it is in the undo list and the counts all the same.
                    self.refresh();
                    self.state.handle(Input::Tick, Instant::now())
                }
                else => break,
            };
            for effect in effects {
                if effect == Effect::Quit {
                    let _ = self.inbox.urgent.send(Urgent::Quit);
                } else {
                    self.perform(effect);
                }
            }
            self.draw();
        }
        self.engine.quit();
        self.notices.close_all().await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        self.desktop.exit();
    }

    fn draw(&mut self) {
        let snapshot = self.state.snapshot();
        self.desktop.draw(tray::tray(&snapshot, jiff::Timestamp::now()), snapshot);
    }

    fn answer(&mut self, question: Question) -> Vec<Effect> {
        match question {
            Question::Snapshot(reply) => {
                let _ = reply.send(self.state.snapshot());
                Vec::new()
            }
            Question::Confirm { number, reply } => {
                let _ = reply.send(self.state.confirm_view(number));
                Vec::new()
            }
            Question::Choose { number, choice, reply } => {
                let (result, effects) = match self.state.choose(number, &choice, Instant::now()) {
                    Ok(effects) => (Ok(()), effects),
                    Err(refused) => (Err(refused), Vec::new()),
                };
                let _ = reply.send(result);
                effects
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Panic => self.panic(),
            Effect::KillEngine => self.engine.kill(),
            Effect::Refresh => self.refresh(),
            Effect::Fetch(id) => self.with_engine(async move |client, inbox| {
                let params = HoldGetParams { id: id.clone(), offset: None, limit: None };
                let hold = client.call(HoldGet, params).await.ok().map(Box::new);
                Some(inbox.inputs.send(Input::Fetched { id, hold }))
            }),
            Effect::Decide { params, number } => self.with_engine(async move |client, inbox| {
                let id = params.0.id.clone();
                let error = client.call(HoldDecide, params.0).await.err().map(|error| error.to_string());
                let sent = inbox.inputs.send(Input::DecideDone { id, number, error });
                tokio::time::sleep(RUN_TIME).await;
                let _ = inbox.inputs.send(Input::Changed);
                Some(sent)
            }),
            Effect::AnswerAsk { id, verdict } => self.with_engine(async move |client, inbox| {
                let answer = client.call(AskDecide, AskDecideParams { id: id.clone(), verdict }).await;
                let error = answer.err().map(|error| error.to_string());
                Some(inbox.inputs.send(Input::DecideDone { id, number: None, error }))
            }),
            Effect::Revoke(id) => self.with_engine(async move |client, inbox| {
                Some(inbox.inputs.send(match client.call(AgentRevoke, Id { id }).await {
                    Ok(_) => Input::Changed,
                    Err(error) => Input::Failed(format!("Not revoked: {error}")),
                }))
            }),
            Effect::Undo(entry) => self.with_engine(async move |client, inbox| {
                let done = client.call(UndoRun, UndoRunParams::Entry { entry }).await;
                Some(inbox.inputs.send(Input::UndoDone(done.map_err(|error| error.to_string()))))
            }),
            Effect::OpenDialog(number) => self.open_dialog(number),
            Effect::UpdateDialog(number) => self.desktop.update_dialog(number, self.state.confirm_view(number)),
            Effect::RaiseDialog(number) => self.desktop.raise_dialog(number),
            Effect::CloseDialog(number) => self.desktop.close_dialog(number),
            Effect::OpenFallback(number) => {
                if let Some(dialog) = self.state.dialog(number) {
                    self.desktop.open_fallback(dialog, self.inbox.inputs.clone());
                }
            }
            Effect::Notify(notice) => self.notices.show(notice),
            Effect::CloseNotice(id) => self.notices.close(id),
            Effect::Touch(id) => self.with_engine(async move |client, inbox| {
                let HoldTouched { expires_at } = client.call(HoldTouch, Id { id: id.clone() }).await.ok()?;
                Some(inbox.inputs.send(Input::Ends { id, at: expires_at }))
            }),
            Effect::TellEnd { number, at } => self.desktop.tell_end(number, &at),
            Effect::SetKey(keys) => self.desktop.set_key(keys, &self.inbox),
            Effect::OpenUrl(page) => {
                let inputs = self.inbox.inputs.clone();
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = open::that_detached(&page) {
                        let _ = inputs
                            .send(Input::Note(format!("No browser could be started ({error}). The page is {page}")));
                    }
                });
            }
            Effect::OpenMain(page) => self.desktop.open_main(page),
            Effect::Quit => {}
        }
    }

    fn open_dialog(&mut self, number: u64) {
        self.desktop.open_dialog(number, &self.inbox.inputs);
        let inputs = self.inbox.inputs.clone();
        tokio::spawn(async move {
            tokio::time::sleep(paint_limit()).await;
            let _ = inputs.send(Input::PaintLimit { number });
        });
    }

    fn panic(&self) {
        let (engine, inputs) = (self.engine.clone(), self.inbox.inputs.clone());
        tokio::spawn(async move {
            let done = match engine.client() {
                Some(client) => tokio::time::timeout(PANIC_LIMIT, client.call(PanicCall, Empty {})).await,
                None => Ok(Err(CallError::Closed)),
            };
            let _ = inputs.send(Input::PanicDone(done.ok().and_then(Result::ok)));
        });
    }

    fn with_engine<F, Done>(&self, work: F)
    where
        F: FnOnce(Client, Inbox) -> Done,
        Done: Future<Output = Option<Result<(), tokio::sync::mpsc::error::SendError<Input>>>> + Send + 'static,
    {
        match self.engine.client() {
            Some(client) => {
                tokio::spawn(work(client, self.inbox.clone()));
            }
            None => {
                let why = "The engine is not running at the moment; nothing was done.".to_owned();
                let _ = self.inbox.inputs.send(Input::Note(why));
            }
        }
    }

    fn refresh(&self) {
        if !self.loads.begin() {
            return;
        }
        let (engine, inputs, loads) = (self.engine.clone(), self.inbox.inputs.clone(), self.loads.clone());
        tokio::spawn(async move {
            loop {
                let Some(client) = engine.client() else {
                    loads.stop();
                    return;
                };
                match load(&client).await {
                    Ok(world) => {
                        let _ = inputs.send(Input::Loaded(Box::new(world)));
                    }
                    Err(error) => {
                        let _ = inputs.send(Input::Note(format!("The engine could not be read: {error}")));
                    }
                }
                if !loads.again() {
                    return;
                }
            }
        });
    }
}

/// Tests on a crowded machine may give windows more time.
fn paint_limit() -> Duration {
    let named = if cfg!(feature = "e2e") { std::env::var("LATCHSTRING_PAINT_SECONDS").ok() } else { None };
    named.and_then(|seconds| seconds.parse().ok()).map_or(PAINT_LIMIT, Duration::from_secs)
}

impl Loads {
    fn begin(&self) -> bool {
        let mut load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = *load == Load::Idle;
        *load = if idle { Load::Running } else { Load::RunningAgainAfter };
        idle
    }

    fn again(&self) -> bool {
        let mut load = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let again = *load == Load::RunningAgainAfter;
        *load = if again { Load::Running } else { Load::Idle };
        again
    }

    fn stop(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Load::Idle;
    }
}

async fn load(client: &Client) -> Result<World, CallError> {
    let status = client.call(StatusCall, Empty {}).await?;
    if status.vault_locked {
        return Ok(World { status: Some(status), ..World::default() });
    }
    let undo = client.call(UndoList, UndoListParams { limit: Some(100) });
    let (accounts, agents, holds, asks, undo, outbox, settings) = tokio::join!(
        client.call(AccountList, Empty {}),
        client.call(AgentList, Empty {}),
        client.call(HoldList, Empty {}),
        client.call(AskList, Empty {}),
        undo,
        client.call(OutboxList, Empty {}),
        client.call(SettingsGet, Empty {}),
    );
    Ok(World {
        status: Some(status),
        accounts: accounts?,
        agents: agents?,
        holds: holds?,
        asks: asks?,
        undo: undo?,
        outbox: outbox?,
        panic_keys: Some(settings?.panic_keys),
    })
}
