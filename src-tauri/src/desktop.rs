//! Draws: the tray icon and its menu, the windows, the message box. Decides nothing.

use std::time::Duration;

use tauri::image::Image;
use tauri::menu::{IsMenuItem, Menu, MenuItem, PredefinedMenuItem, Submenu};
use tauri::tray::{TrayIcon, TrayIconBuilder};
use tauri::{
    AppHandle, Emitter, Manager, UserAttentionType, WebviewUrl, WebviewWindow, WebviewWindowBuilder, WindowEvent, Wry,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::confirm::{ConfirmView, Dialog, Subject};
use crate::controller::Inbox;
use crate::state::{Input, Page};
use crate::text::{act, visible};
use crate::tray::{Action, Icon, Item, Tray};
use crate::world::{Snapshot, is_small};

/// The main window's label.
pub(crate) const MAIN: &str = "main";

/// What is drawn now.
pub(crate) struct Desktop {
    app: AppHandle,
    icon: Option<(TrayIcon, Menu<Wry>, MenuItem<Wry>)>,
    shown: Option<Tray>,
    snapshot: Option<String>,
}

/// The message box as data.
#[derive(Debug, PartialEq, Eq)]
struct MessageBox {
    number: u64,
    headline: String,
    details: String,
    keep: String,
    /// The other button and when it can be pressed; only for what is small and can be put back.
    allow: Option<(String, Duration)>,
}

impl Desktop {
    pub(crate) fn new(app: AppHandle) -> Self {
        Self { app, icon: None, shown: None, snapshot: None }
    }

    /// Shows the tray if it changed, and tells an open main window.
    pub(crate) fn draw(&mut self, tray: Tray, snapshot: Snapshot) {
        if self.shown.as_ref() != Some(&tray) {
            if let Err(error) = self.draw_tray(&tray) {
                eprintln!("latchstring: the tray could not be drawn: {error}");
            }
            self.shown = Some(tray);
        }
        let text = serde_json::to_string(&snapshot).ok();
        if self.snapshot != text {
            self.snapshot = text;
            let _ = self.app.emit_to(MAIN, "changed", ());
        }
    }

    /// Panic is made once and stays first: a click on it must not get lost because the menu changes meanwhile.
    fn draw_tray(&mut self, tray: &Tray) -> tauri::Result<()> {
        let items = tray.menu.iter().map(|item| build(&self.app, item)).collect::<tauri::Result<Vec<_>>>()?;
        let items: Vec<_> = items.iter().map(AsRef::as_ref).collect();
        if let Some((icon, menu, panic)) = &self.icon {
            panic.set_text(literal(&tray.panic))?;
            while menu.remove_at(1)?.is_some() {}
            menu.append_items(&items)?;
            if self.shown.as_ref().is_none_or(|shown| shown.icon != tray.icon) {
                icon.set_icon(Some(image(tray.icon)?))?;
            }
            return icon.set_tooltip(Some(&tray.hover));
        }
        let panic = MenuItem::with_id(&self.app, Action::Panic.id(), literal(&tray.panic), true, None::<&str>)?;
        let menu = Menu::with_items(&self.app, &[&panic])?;
        menu.append_items(&items)?;
        let icon = TrayIconBuilder::with_id("latchstring")
            .icon(image(tray.icon)?)
            .tooltip(&tray.hover)
            .menu(&menu)
            .show_menu_on_left_click(true)
            .build(&self.app)?;
        self.icon = Some((icon, menu, panic));
        Ok(())
    }

    pub(crate) fn open_main(&self, page: Page) {
        match main_window(&self.app, true) {
            Ok(window) => {
                let _ = window.show().and_then(|()| window.unminimize()).and_then(|()| window.set_focus());
                if page == Page::Stopped {
                    let _ = window.emit_to(MAIN, "page", "overview");
                }
            }
            Err(error) => eprintln!("latchstring: the main window did not open: {error}"),
        }
    }

    /// Opens the window of dialog `number`, above others and without taking the keyboard from them.
    pub(crate) fn open_dialog(&self, number: u64, inputs: &UnboundedSender<Input>) {
        let window = WebviewWindowBuilder::new(&self.app, label(number), WebviewUrl::App("confirm.html".into()))
            .title("Latchstring asks")
            .inner_size(640.0, 680.0)
            .min_inner_size(420.0, 420.0)
            .center()
            .always_on_top(true)
            .visible_on_all_workspaces(true)
            .focused(false)
            .minimizable(false)
            .devtools(cfg!(feature = "e2e"))
            .on_navigation(is_ours)
            .build();
        let window = match window {
            Ok(window) => window,
            Err(error) => {
                eprintln!("latchstring: the confirm window did not open: {error}");
                let _ = inputs.send(Input::PaintLimit { number });
                return;
            }
        };
        let sender = inputs.clone();
        window.on_window_event(move |event| match event {
            WindowEvent::Focused(gained) => {
                let _ = sender.send(Input::Focused { number, gained: *gained });
            }
            WindowEvent::Destroyed => {
                let _ = sender.send(Input::DialogGone { number });
            }
            _ => {}
        });
        if window.is_focused().unwrap_or(false) {
            let _ = inputs.send(Input::Focused { number, gained: true });
        }
        watch_crash(&window, number, inputs.clone());
        let _ = window.request_user_attention(Some(UserAttentionType::Informational));
    }

    pub(crate) fn update_dialog(&self, number: u64, view: Option<ConfirmView>) {
        if view.is_some() {
            let _ = self.app.emit_to(label(number), "confirm", ());
        }
    }

    /// The question that dialog `number` shows ends at another time.
    pub(crate) fn tell_end(&self, number: u64, at: &str) {
        let _ = self.app.emit_to(label(number), "ends", at);
    }

    pub(crate) fn set_key(&self, keys: String, inbox: &Inbox) {
        crate::shortcut::set(&self.app, keys, inbox);
    }

    pub(crate) fn raise_dialog(&self, number: u64) {
        if let Some(window) = self.app.get_webview_window(&label(number)) {
            let _ = window.show().and_then(|()| window.set_focus());
        }
    }

    pub(crate) fn close_dialog(&self, number: u64) {
        if let Some(window) = self.app.get_webview_window(&label(number)) {
            let _ = window.destroy();
        }
        let _ = self.app.run_on_main_thread(move || close_box(number));
    }

    /// Asks in the operating system's own message box.
    pub(crate) fn open_fallback(&self, dialog: &Dialog, inputs: UnboundedSender<Input>) {
        let number = dialog.number;
        let message = message_box(dialog);
        let failed = inputs.clone();
        if self.app.run_on_main_thread(move || show_box(message, inputs)).is_err() {
            let _ = failed.send(Input::FallbackAnswer { number, allow: false });
        }
    }

    pub(crate) fn exit(&self) {
        self.app.exit(0);
    }
}

/// The main window, made when there is none.
pub(crate) fn main_window(app: &AppHandle, show: bool) -> tauri::Result<WebviewWindow> {
    if let Some(window) = app.get_webview_window(MAIN) {
        return Ok(window);
    }
    let window = WebviewWindowBuilder::new(app, MAIN, WebviewUrl::App("index.html".into()))
        .title(if is_drill() { "Latchstring drill" } else { "Latchstring" })
        .inner_size(880.0, 640.0)
        .min_inner_size(420.0, 420.0)
        .visible(show)
        .devtools(cfg!(feature = "e2e"))
        .on_navigation(is_ours)
        .build()?;
    Ok(window)
}

/// Whether this is the drill's tray, whose windows must not be taken for the real ones.
pub(crate) fn is_drill() -> bool {
    std::env::args_os().any(|argument| argument == "--demo")
}

/// A confirm window's label; its number is what it may answer.
pub(crate) fn label(number: u64) -> String {
    format!("confirm-{number}")
}

/// The number of a confirm window.
pub(crate) fn number(window: &WebviewWindow) -> Option<u64> {
    window.label().strip_prefix("confirm-")?.parse().ok()
}

fn is_ours(url: &tauri::Url) -> bool {
    url.scheme() == "tauri" || url.host_str() == Some("tauri.localhost") || url.as_str() == "about:blank"
}

fn image(icon: Icon) -> tauri::Result<Image<'static>> {
    Image::from_bytes(match icon {
        Icon::Calm => include_bytes!("../../icons/calm.png"),
        Icon::Holding => include_bytes!("../../icons/holding.png"),
        Icon::Panicked => include_bytes!("../../icons/panicked.png"),
        Icon::Offline => include_bytes!("../../icons/offline.png"),
    })
}

fn build(app: &AppHandle, item: &Item) -> tauri::Result<Box<dyn IsMenuItem<Wry>>> {
    Ok(match item {
        Item::Choice(action, text) => Box::new(MenuItem::with_id(app, action.id(), literal(text), true, None::<&str>)?),
        Item::Note(text) => Box::new(MenuItem::new(app, literal(text), false, None::<&str>)?),
        Item::Line => Box::new(PredefinedMenuItem::separator(app)?),
        Item::Menu(text, items) => {
            let items = items.iter().map(|item| build(app, item)).collect::<tauri::Result<Vec<_>>>()?;
            let items: Vec<_> = items.iter().map(AsRef::as_ref).collect();
            Box::new(Submenu::with_items(app, literal(text), true, &items)?)
        }
    })
}

/// In a menu `&` marks the next letter as its key.
fn literal(text: &str) -> String {
    text.replace('&', "&&")
}

fn message_box(dialog: &Dialog) -> MessageBox {
    let number = dialog.number;
    let later = "The confirm window did not appear, so this plain box asks.";
    match &dialog.subject {
        Subject::Ask { ask } => MessageBox {
            number,
            headline: visible(&ask.text),
            details: format!("{later} It can only be denied here; ask again later to allow it."),
            keep: "Don't allow it".to_owned(),
            allow: None,
        },
        Subject::Hold { hold } => {
            let small = is_small(hold);
            let mut details = format!(
                "{} asks, on {}. {}\n",
                visible(&hold.agent_name),
                visible(&hold.account),
                visible(&hold.undo_text)
            );
            for object in hold.objects.iter().take(20) {
                let from = object.from.as_deref().unwrap_or("");
                details.push_str(&format!("\n• {}  {}", visible(&object.title), visible(from)));
            }
            let limit = if small { "" } else { " It can only be denied here." };
            details.push_str(&format!("\n\n{later}{limit}"));
            MessageBox {
                number,
                headline: format!("{}?", act(hold)),
                details,
                keep: visible(&hold.keep),
                allow: small.then(|| (act(hold), dialog.delay())),
            }
        }
    }
}

#[cfg(target_os = "linux")]
thread_local! {
    /// The message box on the screen and the dialog that it stands for.
    static BOX: std::cell::RefCell<Option<(u64, gtk::glib::WeakRef<gtk::MessageDialog>)>> = const { std::cell::RefCell::new(None) };
}

/// Takes the message box of dialog `number` away, if it is that one. On the main thread only.
#[cfg(target_os = "linux")]
fn close_box(number: u64) {
    use gtk::prelude::GtkWindowExt;
    let shown = BOX.with_borrow_mut(|shown| shown.take_if(|(of, _)| *of == number));
    if let Some(window) = shown.and_then(|(_, window)| window.upgrade()) {
        window.close();
    }
}

#[cfg(not(target_os = "linux"))]
fn close_box(_number: u64) {}

#[cfg(target_os = "linux")]
fn show_box(message: MessageBox, inputs: UnboundedSender<Input>) {
    use gtk::prelude::*;
    use gtk::{ButtonsType, DialogFlags, MessageDialog, MessageType, ResponseType};

    let number = message.number;
    let window = MessageDialog::new(
        None::<&gtk::Window>,
        DialogFlags::empty(),
        MessageType::Question,
        ButtonsType::None,
        &message.headline,
    );
    window.set_title("Latchstring asks");
    window.set_secondary_text(Some(&message.details));
    let keep = window.add_button(&message.keep, ResponseType::Reject);
    if let Some((text, delay)) = &message.allow {
        window.add_button(text, ResponseType::Accept);
        window.set_response_sensitive(ResponseType::Accept, false);
        let waiting = window.downgrade();
        gtk::glib::timeout_add_local_once(*delay, move || {
            if let Some(window) = waiting.upgrade() {
                window.set_response_sensitive(ResponseType::Accept, true);
            }
        });
    }
    window.set_default_response(ResponseType::Reject);
    keep.grab_focus();
    window.set_keep_above(true);
    window.set_focus_on_map(false);
    let answered = std::cell::Cell::new(false);
    let sender = inputs.clone();
    window.connect_response(move |window, response| {
        if !answered.replace(true) {
            let _ = sender.send(Input::FallbackAnswer { number, allow: response == ResponseType::Accept });
            window.close();
        }
    });
    BOX.set(Some((number, window.downgrade())));
    window.show_all();
    let _ = inputs.send(Input::FallbackShown { number });
}

/// Without a message box of its own here yet, the answer is the default one: no.
#[cfg(not(target_os = "linux"))]
fn show_box(message: MessageBox, inputs: UnboundedSender<Input>) {
    let _ = inputs.send(Input::FallbackAnswer { number: message.number, allow: false });
}

/// A web process that dies can't be asked any more: that is a no.
#[cfg(target_os = "linux")]
fn watch_crash(window: &WebviewWindow, number: u64, inputs: UnboundedSender<Input>) {
    use webkit2gtk::WebViewExt;
    let _ = window.with_webview(move |webview| {
        webview.inner().connect_web_process_terminated(move |_, _| {
            let _ = inputs.send(Input::DialogGone { number });
        });
    });
}

#[cfg(not(target_os = "linux"))]
fn watch_crash(_window: &WebviewWindow, _number: u64, _inputs: UnboundedSender<Input>) {}
