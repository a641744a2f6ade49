//! Notifications (UX 19-21): shown by notify-rust; on Linux their answers are read by our own match, from the daemon that
//! showed them only. No failure here ever allows anything.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use latch_ipc::view::HoldView;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::state::Input;
use crate::text::{act, escaped};
use crate::world::is_small;

/// A notification as data.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Notice {
    /// The hold it is about, or a name of our own.
    pub(crate) id: String,
    /// The hold's digest: an answer to something else is void.
    pub(crate) digest: String,
    pub(crate) summary: String,
    /// Markup is escaped already.
    pub(crate) body: String,
    pub(crate) actions: Vec<(Pressed, String)>,
}

/// A button of a notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub(crate) enum Pressed {
    Review,
    Deny,
    Panic,
    Allow,
}

impl Pressed {
    fn key(self) -> &'static str {
        match self {
            Self::Review => "review",
            Self::Deny => "deny",
            Self::Panic => "panic",
            Self::Allow => "allow",
        }
    }

    fn from_key(key: &str) -> Option<Self> {
        match key {
            "review" | "default" => Some(Self::Review),
            "deny" => Some(Self::Deny),
            "panic" => Some(Self::Panic),
            "allow" => Some(Self::Allow),
            _ => None,
        }
    }
}

impl Notice {
    pub(crate) fn plain(id: &str, summary: &str, text: &str) -> Self {
        let (summary, body) = (summary.to_owned(), escaped(text));
        Self { id: id.to_owned(), digest: String::new(), summary, body, actions: Vec::new() }
    }
}

/// What is said about a hold. While the screen is locked: only that something waits.
pub(crate) fn notice(hold: &HoldView, locked: bool) -> Notice {
    let mut actions = vec![
        (Pressed::Review, "Review".to_owned()),
        (Pressed::Deny, "Deny".to_owned()),
        (Pressed::Panic, "Panic: stop everything".to_owned()),
    ];
    if locked {
        return Notice {
            id: hold.id.clone(),
            digest: hold.digest.clone(),
            summary: "Latchstring".to_owned(),
            body: "Something is waiting for you.".to_owned(),
            actions: Vec::new(),
        };
    }
    if is_small(hold) {
        actions.push((Pressed::Allow, format!("Allow: {}", lower_first(&act(hold)))));
    }
    Notice {
        id: hold.id.clone(),
        digest: hold.digest.clone(),
        summary: format!("{}?", act(hold)),
        body: format!(
            "{} asks, on {}. {}",
            escaped(&hold.agent_name),
            escaped(&hold.account),
            escaped(&hold.undo_text)
        ),
        actions,
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_lowercase().chain(letters).collect()).unwrap_or_default()
}

/// A notification on the screen.
#[derive(Debug, Clone)]
struct Shown {
    id: u32,
    digest: String,
    /// The unique bus name that owned the service when it was shown.
    daemon: Option<String>,
    offered: Vec<Pressed>,
}

/// What is to be done with notifications, one after the other: a notice that is closed while it is being shown must not stay.
#[derive(Debug)]
enum Order {
    Show(Notice),
    Close(String),
    CloseAll(tokio::sync::oneshot::Sender<()>),
}

/// What is shown now, by notice id.
#[derive(Clone)]
pub(crate) struct Notices {
    shown: Arc<Mutex<HashMap<String, Shown>>>,
    orders: UnboundedSender<Order>,
}

const LIMIT: Duration = Duration::from_secs(3);

impl Notices {
    /// Starts carrying out orders.
    pub(crate) fn start() -> Self {
        let (orders, mut todo) = unbounded_channel();
        let notices = Self { shown: Arc::default(), orders };
        let worker = notices.clone();
        tauri::async_runtime::spawn(async move {
            while let Some(order) = todo.recv().await {
                match order {
                    Order::Show(notice) => worker.show_now(notice).await,
                    Order::Close(name) => worker.close_now(&name).await,
                    Order::CloseAll(done) => {
                        let names: Vec<String> = worker.lock().keys().cloned().collect();
                        for name in names {
                            worker.close_now(&name).await;
                        }
                        let _ = done.send(());
                    }
                }
            }
        });
        notices
    }

    /// Shows or updates one. Failing to show means that the dialog and the tray do without.
    pub(crate) fn show(&self, notice: Notice) {
        let _ = self.orders.send(Order::Show(notice));
    }

    /// Takes one off the screen.
    pub(crate) fn close(&self, name: String) {
        let _ = self.orders.send(Order::Close(name));
    }

    /// Takes all off the screen.
    pub(crate) async fn close_all(&self) {
        let (done, closed) = tokio::sync::oneshot::channel();
        let _ = self.orders.send(Order::CloseAll(done));
        let _ = tokio::time::timeout(LIMIT, closed).await;
    }

    async fn show_now(&self, notice: Notice) {
        let before = self.lock().get(&notice.id).map(|shown| shown.id);
        let daemon = bus::daemon().await;
        let mut actions = notice.actions.clone();
        match &daemon {
            Some(daemon) if daemon.checkable => {}
            Some(_) => actions.retain(|(pressed, _)| *pressed != Pressed::Allow),
            None => actions.clear(),
        }
        let name = notice.id.clone();
        let offered = actions.iter().map(|(pressed, _)| *pressed).collect();
        let digest = notice.digest.clone();
        let mut task = tokio::task::spawn_blocking(move || {
            let mut out = notify_rust::Notification::new();
            out.appname("Latchstring").summary(&notice.summary).body(&notice.body).auto_icon();
            if let Some(id) = before {
                out.id(id);
            }
            for (pressed, label) in &actions {
                out.action(pressed.key(), label);
            }
            #[cfg(all(unix, not(target_os = "macos")))]
            {
                out.timeout(notify_rust::Timeout::Never);
                out.show().map(|handle| handle.id())
            }
            #[cfg(not(all(unix, not(target_os = "macos"))))]
            out.show().map(|_| 0)
        });
        let id = match tokio::time::timeout(LIMIT, &mut task).await {
            Ok(Ok(Ok(id))) => id,
            Ok(_) => return,
            Err(_) => {
                // It may still appear, when nobody remembers it any more.
                tokio::spawn(async move {
                    if let Ok(Ok(late)) = task.await {
                        let _ = tokio::time::timeout(LIMIT, bus::close(late)).await;
                    }
                });
                return;
            }
        };
        // A daemon that was replaced meanwhile is not the one that was looked at: its answers are not read.
        let after = bus::daemon().await;
        let daemon = daemon.filter(|daemon| after.is_some_and(|after| after.name == daemon.name)).map(|it| it.name);
        self.lock().insert(name, Shown { id, digest, daemon, offered });
    }

    async fn close_now(&self, name: &str) {
        let Some(shown) = self.lock().remove(name) else { return };
        let _ = tokio::time::timeout(LIMIT, bus::close(shown.id)).await;
    }

    /// The notice that `sender` may answer with this id and key, and the button.
    fn answered(&self, sender: &str, id: u32, key: &str) -> Option<(String, String, Pressed)> {
        let pressed = Pressed::from_key(key)?;
        let shown = self.lock();
        let (name, found) = shown.iter().find(|(_, shown)| shown.id == id)?;
        if found.daemon.as_deref() != Some(sender) {
            return None;
        }
        let default = pressed == Pressed::Review;
        (default || found.offered.contains(&pressed)).then(|| (name.clone(), found.digest.clone(), pressed))
    }

    /// Reads answers until the bus goes away.
    pub(crate) async fn listen(self, inputs: UnboundedSender<Input>) {
        let _ = bus::listen(&self, &inputs).await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Shown>> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(all(unix, not(target_os = "macos")))]
mod bus {
    use futures_util::StreamExt;
    use tokio::sync::mpsc::UnboundedSender;
    use zbus::{Connection, MatchRule, MessageStream, message};

    use super::Notices;
    use crate::state::Input;

    const SERVICE: &str = "org.freedesktop.Notifications";
    const PATH: &str = "/org/freedesktop/Notifications";

    pub(super) struct Daemon {
        pub(super) name: String,
        /// Nobody but the person makes it send an answer.
        pub(super) checkable: bool,
    }

    async fn session() -> zbus::Result<Connection> {
        static BUS: tokio::sync::OnceCell<Connection> = tokio::sync::OnceCell::const_new();
        BUS.get_or_try_init(Connection::session).await.cloned()
    }

    /// Who shows notifications now; `None` without a bus, a daemon or action buttons.
    pub(super) async fn daemon() -> Option<Daemon> {
        tokio::time::timeout(super::LIMIT, ask_daemon()).await.ok()?.ok()?
    }

    async fn ask_daemon() -> zbus::Result<Option<Daemon>> {
        let bus = session().await?;
        let reply = bus.call_method(Some(SERVICE), PATH, Some(SERVICE), "GetServerInformation", &()).await?;
        let (product, vendor, _, _): (String, String, String, String) = reply.body().deserialize()?;
        let Some(name) = reply.header().sender().map(ToString::to_string) else { return Ok(None) };
        let reply = bus.call_method(Some(name.as_str()), PATH, Some(SERVICE), "GetCapabilities", &()).await?;
        let can: Vec<String> = reply.body().deserialize()?;
        if !can.iter().any(|one| one == "actions") {
            return Ok(None);
        }
        let remote = [product, vendor].iter().any(|name| name.to_lowercase().contains("dunst"));
        Ok(Some(Daemon { name, checkable: !remote }))
    }

    pub(super) async fn close(id: u32) -> zbus::Result<()> {
        session().await?.call_method(Some(SERVICE), PATH, Some(SERVICE), "CloseNotification", &id).await?;
        Ok(())
    }

    pub(super) async fn listen(notices: &Notices, inputs: &UnboundedSender<Input>) -> zbus::Result<()> {
        let rule = MatchRule::builder()
            .msg_type(message::Type::Signal)
            .interface(SERVICE)
            .member("ActionInvoked")
            .path(PATH)
            .build()?;
        let bus = session().await?;
        let mut signals = MessageStream::for_match_rule(rule, &bus, std::num::NonZero::new(256)).await?;
        while let Some(signal) = signals.next().await {
            let Ok(signal) = signal else { continue };
            let header = signal.header();
            let (Some(sender), Ok((id, key))) = (header.sender(), signal.body().deserialize::<(u32, String)>()) else {
                continue;
            };
            if let Some((hold, digest, pressed)) = notices.answered(sender.as_str(), id, &key) {
                let _ = inputs.send(Input::Pressed { hold, digest, pressed });
            }
        }
        Ok(())
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
mod bus {
    use tokio::sync::mpsc::UnboundedSender;

    use super::Notices;
    use crate::state::Input;

    pub(super) struct Daemon {
        pub(super) name: String,
        pub(super) checkable: bool,
    }

    pub(super) async fn daemon() -> Option<Daemon> {
        None
    }

    pub(super) async fn close(_id: u32) {}

    pub(super) async fn listen(_notices: &Notices, _inputs: &UnboundedSender<Input>) -> Result<(), ()> {
        Ok(())
    }
}
