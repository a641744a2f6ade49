//! What a desktop has on its session bus: a tray host and a notification daemon, played by the test.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use zbus::object_server::SignalEmitter;
use zbus::{Connection, connection, fdo, interface, message::Header};
use zbus::{OwnedVariant, Variant};

/// The watcher that tray icons register with.
#[derive(Default, Clone)]
struct Watcher {
    items: Arc<Mutex<Vec<String>>>,
}

#[interface(name = "org.kde.StatusNotifierWatcher")]
impl Watcher {
    fn register_status_notifier_item(&self, service: String, #[zbus(header)] header: Header<'_>) {
        let sender = header.sender().map(ToString::to_string).unwrap_or_default();
        let item = if service.starts_with('/') {
            format!("{sender}{service}")
        } else {
            format!("{service}/StatusNotifierItem")
        };
        self.items.lock().unwrap().push(item);
    }

    fn register_status_notifier_host(&self, _service: String) {}

    #[zbus(property)]
    fn registered_status_notifier_items(&self) -> Vec<String> {
        self.items.lock().unwrap().clone()
    }

    #[zbus(property)]
    fn is_status_notifier_host_registered(&self) -> bool {
        true
    }

    #[zbus(property)]
    fn protocol_version(&self) -> i32 {
        0
    }
}

/// A shown notification.
#[derive(Debug, Clone)]
pub struct Shown {
    pub id: u32,
    pub summary: String,
    pub body: String,
    /// Keys and labels in turn.
    pub actions: Vec<String>,
}

#[derive(Clone, Default)]
struct Daemon {
    shown: Arc<Mutex<Vec<Shown>>>,
    last: Arc<Mutex<u32>>,
    pause: Arc<Mutex<Duration>>,
    product: &'static str,
    /// Where it presses everything by itself, what is offered and what isn't; `None`: it doesn't.
    presses: Option<tokio::runtime::Handle>,
}

#[interface(name = "org.freedesktop.Notifications")]
impl Daemon {
    #[allow(clippy::too_many_arguments)]
    async fn notify(
        &self,
        _app: String,
        replaces: u32,
        _icon: String,
        summary: String,
        body: String,
        actions: Vec<String>,
        _hints: HashMap<String, OwnedVariant>,
        _timeout: i32,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> u32 {
        let pause = *self.pause.lock().unwrap();
        if !pause.is_zero() {
            // The bus has threads of its own, without a timer.
            let (done, over) = tokio::sync::oneshot::channel();
            std::thread::spawn(move || {
                std::thread::sleep(pause);
                let _ = done.send(());
            });
            let _ = over.await;
        }
        let mut last = self.last.lock().unwrap();
        let id = if replaces == 0 {
            *last += 1;
            *last
        } else {
            replaces
        };
        let mut shown = self.shown.lock().unwrap();
        shown.retain(|one| one.id != id);
        shown.push(Shown { id, summary, body, actions });
        if let Some(runtime) = &self.presses {
            let emitter = emitter.to_owned();
            runtime.spawn(async move {
                for pause in [0, 700, 1500] {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    for key in ["allow", "default", "review", "deny", "panic"] {
                        let _ = Self::action_invoked(&emitter, id, key).await;
                    }
                }
            });
        }
        id
    }

    fn close_notification(&self, id: u32) {
        self.shown.lock().unwrap().retain(|one| one.id != id);
    }

    fn get_capabilities(&self) -> Vec<String> {
        ["actions", "body", "body-markup"].map(str::to_owned).into()
    }

    fn get_server_information(&self) -> (String, String, String, String) {
        (self.product.to_owned(), "example".to_owned(), "1".to_owned(), "1.2".to_owned())
    }

    #[zbus(signal)]
    async fn action_invoked(emitter: &SignalEmitter<'_>, id: u32, key: &str) -> zbus::Result<()>;
}

const LOCKER: &str = "/org/freedesktop/ScreenSaver";

struct Lock(Arc<Mutex<bool>>);

#[interface(name = "org.freedesktop.ScreenSaver")]
impl Lock {
    fn get_active(&self) -> bool {
        *self.0.lock().unwrap()
    }
}

/// A played screen locker.
pub struct Locker {
    connection: Connection,
}

impl Locker {
    async fn tell(&self, locked: bool) {
        let (to, interface) = (None::<&str>, "org.freedesktop.ScreenSaver");
        self.connection.emit_signal(to, LOCKER, interface, "ActiveChanged", &locked).await.unwrap();
    }

    /// The person is back.
    pub async fn unlock(self) {
        let lock = self.connection.object_server().interface::<_, Lock>(LOCKER).await.unwrap();
        *lock.get().await.0.lock().unwrap() = false;
        self.tell(false).await;
        // The answer to the question that follows has to come from here too.
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
}

/// The played desktop daemons.
pub struct Daemons {
    connection: Connection,
    address: String,
    watcher: Watcher,
    daemon: Daemon,
}

const NOTIFICATIONS: &str = "/org/freedesktop/Notifications";

impl Daemons {
    /// `tray`: whether this desktop shows tray icons; `product`: what the notification daemon calls itself.
    /// One called `presses` presses everything by itself.
    pub async fn start(address: &str, tray: bool, product: &'static str) -> Self {
        let watcher = Watcher::default();
        let presses = (product == "presses").then(tokio::runtime::Handle::current);
        let daemon = Daemon { product, presses, ..Daemon::default() };
        let mut builder = connection::Builder::address(address)
            .serve_at(NOTIFICATIONS, daemon.clone())
            .name("org.freedesktop.Notifications");
        if tray {
            builder = builder.serve_at("/StatusNotifierWatcher", watcher.clone()).name("org.kde.StatusNotifierWatcher");
        }
        let connection = builder.build().await.unwrap();
        Self { connection, address: address.to_owned(), watcher, daemon }
    }

    /// Waits until a program owns this name.
    pub async fn appears(&self, name: &str) {
        let dbus = fdo::DBusProxy::new(&self.connection).await.unwrap();
        let started = Instant::now();
        while !dbus.name_has_owner(name.try_into().unwrap()).await.unwrap() {
            assert!(started.elapsed() < Duration::from_secs(20), "{name} does not appear");
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }

    /// The notifications on the screen, once there are `count`.
    pub async fn notifications(&self, count: usize) -> Vec<Shown> {
        let started = Instant::now();
        loop {
            let shown = self.daemon.shown.lock().unwrap().clone();
            if shown.len() == count {
                return shown;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "{count} notifications expected: {shown:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Locks the screen, as a locker on this bus says it.
    pub async fn lock(&self) -> Locker {
        let connection = connection::Builder::address(self.address.as_str())
            .serve_at(LOCKER, Lock(Arc::new(Mutex::new(true))))
            .name("org.freedesktop.ScreenSaver")
            .build()
            .await
            .unwrap();
        let locker = Locker { connection };
        locker.tell(true).await;
        locker
    }

    /// Makes the notification daemon take this long to show one.
    pub fn slow(&self, pause: Duration) {
        *self.daemon.pause.lock().unwrap() = pause;
    }

    /// Waits until so many notifications were shown since the start.
    pub async fn were_shown(&self, count: u32) {
        let started = Instant::now();
        while *self.daemon.last.lock().unwrap() < count {
            assert!(started.elapsed() < Duration::from_secs(30), "{count} notifications expected");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The person presses a button of a notification.
    pub async fn press(&self, id: u32, key: &str) {
        let emitter = SignalEmitter::new(&self.connection, NOTIFICATIONS).unwrap();
        Daemon::action_invoked(&emitter, id, key).await.unwrap();
    }

    /// Another program on the bus claims that buttons were pressed.
    pub async fn forge(&self, ids: std::ops::RangeInclusive<u32>, keys: &[&str]) {
        let forger = connection::Builder::address(self.address.as_str()).build().await.unwrap();
        for id in ids {
            for key in keys {
                let signal = "ActionInvoked";
                forger
                    .emit_signal(None::<&str>, NOTIFICATIONS, "org.freedesktop.Notifications", signal, &(id, *key))
                    .await
                    .unwrap();
            }
        }
    }

    /// All labels of the tray menu with their ids, submenus' items included.
    pub async fn menu(&self) -> Vec<(i32, String)> {
        let started = Instant::now();
        loop {
            if let Ok(items) = self.read_menu().await
                && !items.is_empty()
            {
                return items;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "no tray icon registered");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn read_menu(&self) -> zbus::Result<Vec<(i32, String)>> {
        let (name, path) = self.item().ok_or(fdo::Error::Failed("no item".to_owned()))?;
        let reply = self
            .connection
            .call_method(
                Some(name.as_str()),
                format!("{path}/Menu").as_str(),
                Some("com.canonical.dbusmenu"),
                "GetLayout",
                &(0, -1, Vec::<String>::new()),
            )
            .await?;
        type Node = (i32, HashMap<String, OwnedVariant>, Vec<OwnedVariant>);
        let (_, root): (u32, Node) = reply.body().deserialize()?;
        let mut items = Vec::new();
        walk(root.2.into_iter().map(Variant::from).collect(), &mut items);
        Ok(items)
    }

    /// Clicks the first menu item whose label starts so.
    pub async fn click(&self, label: &str) {
        let started = Instant::now();
        loop {
            let menu = self.menu().await;
            let found = menu.iter().find(|(_, text)| text.starts_with(label));
            // A menu that changes meanwhile has no such item any more: look again.
            if let Some((id, _)) = found
                && self.click_item(*id).await.is_ok()
            {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(20), "{label} can't be clicked in {menu:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Clicks a menu item by its number.
    pub async fn click_item(&self, id: i32) -> zbus::Result<()> {
        let (name, path) = self.item().ok_or(fdo::Error::Failed("no item".to_owned()))?;
        let event = (id, "clicked", Variant::from(""), 0_u32);
        let path = format!("{path}/Menu");
        self.connection
            .call_method(Some(name.as_str()), path.as_str(), Some("com.canonical.dbusmenu"), "Event", &event)
            .await?;
        Ok(())
    }

    fn item(&self) -> Option<(String, String)> {
        let items = self.watcher.items.lock().unwrap();
        let (name, path) = items.last()?.split_once('/')?;
        Some((name.to_owned(), format!("/{path}")))
    }
}

fn walk(nodes: Vec<Variant<'_>>, items: &mut Vec<(i32, String)>) {
    for node in nodes {
        let node = match node {
            Variant::Variant(inner) => *inner,
            other => other,
        };
        let Variant::Structure(node) = node else { continue };
        let fields = node.into_fields();
        let [Variant::I32(id), Variant::Dict(properties), Variant::Array(children)] = fields.as_slice() else {
            continue;
        };
        let label: String = properties.get::<&str, String>(&"label").ok().flatten().unwrap_or_default();
        items.push((*id, label.replace('_', "")));
        walk(children.iter().map(|child| child.try_clone().unwrap()).collect(), items);
    }
}
