//! What the desktop session tells: whether tray icons are shown, whether the screen is locked, whether a tray runs already.

use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedSender;
use zbus::fdo::DBusProxy;
use zbus::names::BusName;
use zbus::{Connection, MatchRule, MessageStream, message};

use crate::state::Input;
use crate::tray::Action;

const WATCHER: &str = "org.kde.StatusNotifierWatcher";
const PATH: &str = "/org/latchstring/Tray";
const INTERFACE: &str = "org.latchstring.Tray";
const LOCKERS: &[(&str, &str)] = &[
    ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"),
    ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver"),
    ("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver"),
];

struct Door {
    inputs: UnboundedSender<Input>,
}

#[zbus::interface(name = "org.latchstring.Tray")]
impl Door {
    /// Shows the main window. Anybody on the bus may ask for that.
    fn open(&self) {
        let _ = self.inputs.send(Input::Chosen(Action::Open));
    }
}

/// Whether this is the only tray for `home` in the session; else the other one is asked to show its window.
pub(crate) async fn claim(home: &str, inputs: &UnboundedSender<Input>) -> zbus::Result<Option<Connection>> {
    let hex: String = home.bytes().map(|byte| format!("{byte:02x}")).collect();
    let name: String = format!("{INTERFACE}.home{hex}").chars().take(255).collect();
    let bus = zbus::connection::Builder::session().serve_at(PATH, Door { inputs: inputs.clone() }).build().await?;
    let flags = zbus::fdo::RequestNameFlags::DO_NOT_QUEUE;
    match bus.request_name_with_flags(name.as_str(), flags).await {
        Ok(_) => Ok(Some(bus)),
        Err(zbus::Error::NameTaken) => {
            bus.call_method(Some(name.as_str()), PATH, Some(INTERFACE), "Open", &()).await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// Reports tray hosts that come and go, and the screen's lock, until the bus is gone.
pub(crate) async fn watch(bus: Connection, inputs: UnboundedSender<Input>) -> zbus::Result<()> {
    let dbus = DBusProxy::new(&bus).await?;
    let mut owners = dbus.receive_name_owner_changed_with_args(&[(0, WATCHER)]).await?;
    let rule = MatchRule::builder().msg_type(message::Type::Signal).member("ActiveChanged").build()?;
    let mut locks = MessageStream::for_match_rule(rule, &bus, std::num::NonZero::new(16)).await?;
    let _ = inputs.send(Input::TrayHost(dbus.name_has_owner(BusName::try_from(WATCHER)?).await?));
    let _ = inputs.send(Input::Locked(is_locked(&bus).await));
    loop {
        let input = tokio::select! {
            Some(change) = owners.next() => Input::TrayHost(change.args()?.new_owner().is_some()),
            Some(_) = locks.next() => Input::Locked(is_locked(&bus).await),
            else => return Ok(()),
        };
        let _ = inputs.send(input);
    }
}

/// Asks every known locker itself: a signal alone may be forged.
async fn is_locked(bus: &Connection) -> bool {
    for (name, path) in LOCKERS {
        let Ok(reply) = bus.call_method(Some(*name), *path, Some(*name), "GetActive", &()).await else { continue };
        if reply.body().deserialize::<bool>().unwrap_or(false) {
            return true;
        }
    }
    false
}
