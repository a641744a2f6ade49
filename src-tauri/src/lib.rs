//! Latchstring's tray: shows what the engine knows and carries the person's answers to it.
//!
//! ```text
//!   tray menu, windows, notifications ── messages ──> controller ── owner channel ──> engine (latch serve)
//!                                                       │  ^
//!                                        state (pure) ──┘  └── what happened
//! ```
//! [`environment`] comes before everything else. `state`, `confirm`, `tray`, `world` and `text` are plain functions over plain
//! data; `desktop`, `shortcut`, `notify`, `session`, `presence` and `engine_link` touch the world.

mod commands;
mod confirm;
mod controller;
mod desktop;
mod drill;
mod engine_link;
pub mod environment;
mod notify;
mod presence;
#[cfg(test)]
mod samples;
mod session;
mod shortcut;
mod state;
mod text;
mod tray;
mod world;

use std::ffi::OsString;
use std::process::ExitCode;

use controller::{Controller, Inbox, Loads, Outlets};
use desktop::Desktop;
use engine_link::{EngineLink, Launch};
use notify::Notices;
use state::{Input, State};
use tray::Action;

const USAGE: &str = "Usage: latchstring [OPTIONS OF `latch serve`]\n\n\
    Latchstring's tray program. It starts the engine, asks you before an agent does harm, and stops everything with one \
    click.\nWithout a desktop use `latch serve` in a terminal: it asks there.";

/// Runs the tray until the person quits. `removed` names the variables that were taken out of the environment.
#[must_use]
pub fn run(removed: Vec<String>) -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match arguments.first().and_then(|first| first.to_str()) {
        Some("--version" | "-V") => {
            println!("latchstring {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Some("--help" | "-h") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    if !environment::has_display() {
        eprintln!(
            "latchstring: there is no screen here (neither DISPLAY nor WAYLAND_DISPLAY is set), so no window could ask \
             you anything. Run `latch serve` in a terminal instead: it asks there."
        );
        return ExitCode::FAILURE;
    }
    match start(arguments, &removed) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("latchstring: {error}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: Vec<OsString>, removed: &[String]) -> Result<(), Box<dyn std::error::Error>> {
    let home = home(&arguments);
    let drill = desktop::is_drill();
    let launch = Launch::new(arguments)?;
    let (inbox, outlets) = controller::channels();
    let bus = match tauri::async_runtime::block_on(session::claim(&home, &inbox.inputs)) {
        Ok(None) => {
            eprintln!("latchstring: it runs already; its window was opened.");
            return Ok(());
        }
        Ok(bus) => bus,
        Err(error) => {
            let note = format!(
                "The session bus is out of reach ({error}): no notifications, and the tray icon may be missing."
            );
            let _ = inbox.inputs.send(Input::Note(note));
            let _ = inbox.inputs.send(Input::TrayHost(false));
            None
        }
    };
    let engine = EngineLink::new();
    let menu_inbox = inbox.clone();
    let app = shortcut::listening(tauri::Builder::default())
        .manage(inbox.clone())
        .manage(engine.clone())
        .invoke_handler(tauri::generate_handler![
            commands::confirm_view,
            commands::confirm_painted,
            commands::confirm_touch,
            commands::confirm_decide,
            commands::snapshot,
            commands::act,
            commands::engine_call,
            commands::account_add,
            commands::vault_unlock,
            commands::open_sign_out_page,
            commands::start_drill,
        ])
        .on_menu_event(move |_, event| {
            if let Some(action) = Action::from_id(event.id().as_ref()) {
                commands::choose(&menu_inbox, action);
            }
        })
        .build(tauri::generate_context!())?;
    if cfg!(feature = "e2e") {
        // WebDriver sees only the webviews that share a session with the first one.
        desktop::main_window(app.handle(), false)?;
    }
    spawn(app.handle().clone(), Parts { launch, engine, inbox, outlets, bus, notes: notes(removed), drill });
    app.run(|_, event| {
        if let tauri::RunEvent::ExitRequested { code: None, api, .. } = event {
            // The last window was closed; the tray stays.
            api.prevent_exit();
        }
    });
    Ok(())
}

struct Parts {
    launch: Launch,
    engine: EngineLink,
    inbox: Inbox,
    outlets: Outlets,
    bus: Option<zbus::Connection>,
    notes: Vec<String>,
    drill: bool,
}

fn spawn(app: tauri::AppHandle, parts: Parts) {
    let Parts { launch, engine, inbox, outlets, bus, notes, drill } = parts;
    let notices = Notices::start();
    let inputs = inbox.inputs.clone();
    tauri::async_runtime::spawn(engine.clone().run(launch, inputs.clone()));
    tauri::async_runtime::spawn(notices.clone().listen(inputs.clone()));
    tauri::async_runtime::spawn(presence::watch(bus.clone(), inputs.clone()));
    if let Some(bus) = bus {
        tauri::async_runtime::spawn(session::watch(bus, inputs));
    }
    let controller = Controller {
        state: State::new(notes, drill),
        desktop: Desktop::new(app),
        engine,
        notices,
        inbox,
        loads: Loads::default(),
    };
    tauri::async_runtime::spawn(controller.run(outlets));
}

fn notes(removed: &[String]) -> Vec<String> {
    if removed.is_empty() {
        return Vec::new();
    }
    vec![format!(
        "Removed from the environment that Latchstring was started with, because it could press buttons or read along: {}.",
        removed.join(", ")
    )]
}

/// The home that the engine will use: two trays on one home are one too many.
fn home(arguments: &[OsString]) -> String {
    let given =
        arguments.iter().position(|argument| argument == "--home").and_then(|at| arguments.get(at + 1)).cloned();
    given
        .or_else(|| std::env::var_os("LATCHSTRING_HOME"))
        .map(|home| home.to_string_lossy().into_owned())
        .unwrap_or_default()
}
