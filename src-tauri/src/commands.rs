//! What the windows may ask for. Each command only sends a message; none decides.

use latch_ipc::contract::{AccountAdd, AccountAddParams, Empty, Id, Unlock, VaultUnlock};
use serde::Serialize;
use serde_json::Value;
use tauri::{State, WebviewWindow};
use tokio::sync::oneshot;

use crate::confirm::{Choice, ConfirmView};
use crate::controller::{Inbox, Question, Urgent};
use crate::desktop;
use crate::engine_link::EngineLink;
use crate::state::Input;
use crate::tray::Action;
use crate::world::Snapshot;

/// A sentence for the person.
#[derive(Debug, Serialize)]
pub(crate) struct Failure {
    message: String,
}

impl<E: std::fmt::Display> From<E> for Failure {
    fn from(error: E) -> Self {
        Self { message: error.to_string() }
    }
}

/// Methods that the main window may call; whatever decides a hold is not among them.
const READS: &[&str] = &[
    "account.discover",
    "journal.tail",
    "journal.verify",
    "settings.get",
    "rules.get",
    "quarantine.list",
    "hold.get",
    "answer.list",
];
const CHANGES: &[&str] = &[
    "account.remove",
    "account.sign_out",
    "phone.stop",
    "answer.forget",
    "agent.connect",
    "agent.revoke",
    "grant.put",
    "grant.revoke",
    "undo.run",
    "resume",
    "outbox.cancel",
    "quarantine.clear",
    "rules.put",
    "settings.set",
];

const STOPPING: &str = "Latchstring is quitting";
const OFFLINE: &str = "The engine is not running at the moment. Latchstring starts it again; try in a few seconds.";

#[tauri::command]
pub(crate) async fn confirm_view(
    window: WebviewWindow,
    inbox: State<'_, Inbox>,
) -> Result<Option<ConfirmView>, Failure> {
    let Some(number) = desktop::number(&window) else { return Ok(None) };
    let (reply, answer) = oneshot::channel();
    let _ = inbox.questions.send(Question::Confirm { number, reply });
    answer.await.map_err(|_| STOPPING.into())
}

#[tauri::command]
pub(crate) fn confirm_painted(window: WebviewWindow, inbox: State<'_, Inbox>, revision: u64) {
    if let Some(number) = desktop::number(&window) {
        let gained = window.is_focused().unwrap_or(false);
        let _ = inbox.inputs.send(Input::Painted { number, revision });
        let _ = inbox.inputs.send(Input::Focused { number, gained });
    }
}

/// Somebody scrolls, ticks, types or points in the window.
#[tauri::command]
pub(crate) fn confirm_touch(window: WebviewWindow, inbox: State<'_, Inbox>) {
    if let Some(number) = desktop::number(&window) {
        let _ = inbox.inputs.send(Input::Touched { number });
    }
}

#[tauri::command]
pub(crate) async fn confirm_decide(
    window: WebviewWindow,
    inbox: State<'_, Inbox>,
    choice: Choice,
) -> Result<(), Failure> {
    let Some(number) = desktop::number(&window) else { return Err("not a confirm window".into()) };
    let (reply, answer) = oneshot::channel();
    let _ = inbox.questions.send(Question::Choose { number, choice, reply });
    answer.await.map_err(|_| Failure::from(STOPPING))??;
    Ok(())
}

#[tauri::command]
pub(crate) async fn snapshot(inbox: State<'_, Inbox>) -> Result<Snapshot, Failure> {
    let (reply, answer) = oneshot::channel();
    let _ = inbox.questions.send(Question::Snapshot(reply));
    answer.await.map_err(|_| STOPPING.into())
}

#[tauri::command]
pub(crate) fn act(inbox: State<'_, Inbox>, action: Action) {
    choose(&inbox, action);
}

/// From a menu or a window: panic and quit overtake everything.
pub(crate) fn choose(inbox: &Inbox, action: Action) {
    match action {
        Action::Panic => {
            let _ = inbox.urgent.send(Urgent::Panic);
        }
        Action::Quit => {
            let _ = inbox.urgent.send(Urgent::Quit);
        }
        other => {
            let _ = inbox.inputs.send(Input::Chosen(other));
        }
    }
}

#[tauri::command]
pub(crate) async fn engine_call(
    engine: State<'_, EngineLink>,
    inbox: State<'_, Inbox>,
    method: String,
    params: Value,
) -> Result<Value, Failure> {
    let changes = CHANGES.contains(&method.as_str());
    if !changes && !READS.contains(&method.as_str()) {
        return Err(format!("{method} can't be called from this window").into());
    }
    let client = engine.client().ok_or(OFFLINE)?;
    let result = client.call_raw(&method, params).await;
    if changes {
        let _ = inbox.inputs.send(Input::Changed);
    }
    Ok(result?)
}

#[tauri::command]
pub(crate) async fn account_add(
    engine: State<'_, EngineLink>,
    inbox: State<'_, Inbox>,
    params: AccountAddParams,
) -> Result<String, Failure> {
    let client = engine.client().ok_or(OFFLINE)?;
    let Id { id } = client.call(AccountAdd, params).await?;
    let _ = inbox.inputs.send(Input::Changed);
    Ok(id)
}

#[tauri::command]
pub(crate) async fn vault_unlock(
    engine: State<'_, EngineLink>,
    inbox: State<'_, Inbox>,
    params: Unlock,
) -> Result<(), Failure> {
    let client = engine.client().ok_or(OFFLINE)?;
    let Empty {} = client.call(VaultUnlock, params).await?;
    let _ = inbox.inputs.send(Input::Changed);
    Ok(())
}

/// Opens the provider's own page for ending access, in the browser. The window names the account, not the page.
#[tauri::command]
pub(crate) fn open_sign_out_page(inbox: State<'_, Inbox>, account: String) {
    let _ = inbox.inputs.send(Input::OpenPage { account });
}

/// Starts the drill: a made-up mailbox and a runaway agent, with windows of their own.
#[tauri::command]
pub(crate) async fn start_drill() -> Result<(), Failure> {
    crate::drill::start().map_err(|error| {
        Failure::from(format!("The drill could not be started: {error}. Is latch beside latchstring?"))
    })
}
