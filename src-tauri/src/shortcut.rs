//! The key that stops everything from anywhere (UX 26). It is offered only where the desktop gave it to us (UX 28).

use tauri::{AppHandle, Builder, Wry};
use tauri_plugin_global_shortcut::{GlobalShortcutExt, ShortcutState};

use crate::controller::{Inbox, Urgent};
use crate::state::Input;
use crate::world::Shortcut;

/// The app with a listener for such keys, where the desktop lets programs listen.
pub(crate) fn listening(app: Builder<Wry>) -> Builder<Wry> {
    if crate::environment::is_wayland() {
        app
    } else {
        app.plugin(tauri_plugin_global_shortcut::Builder::new().build())
    }
}

/// Takes these keys instead of the ones before; empty: none. Says how it went as [`Input::KeySet`].
pub(crate) fn set(app: &AppHandle, keys: String, inbox: &Inbox) {
    let (app, inbox) = (app.clone(), inbox.clone());
    tauri::async_runtime::spawn_blocking(move || {
        let (why, tell) = if crate::environment::is_wayland() {
            (Some("this desktop lets no program listen for a key from anywhere".to_owned()), false)
        } else {
            // The drill's own tray leaves the key to the real one.
            (take(&app, &keys, &inbox).err(), !crate::desktop::is_drill())
        };
        let why = why.filter(|_| !keys.is_empty());
        let _ = inbox.inputs.send(Input::KeySet(Shortcut { keys, why, tell }));
    });
}

fn take(app: &AppHandle, keys: &str, inbox: &Inbox) -> Result<(), String> {
    let listener = app.global_shortcut();
    listener.unregister_all().map_err(|error| error.to_string())?;
    if keys.is_empty() {
        return Ok(());
    }
    let urgent = inbox.urgent.clone();
    let pressed = listener.on_shortcut(keys, move |_, _, event| {
        if event.state == ShortcutState::Pressed {
            let _ = urgent.send(Urgent::Panic);
        }
    });
    pressed.map_err(|_| "another program has taken it, or this keyboard has no such keys".to_owned())
}
