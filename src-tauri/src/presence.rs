//! Whether somebody is in front of the screen (UX 14): locked, or nobody there for five minutes, and nothing can be allowed.
//!
//! Under X11 the server counts the time since the last input; GNOME's compositor does so on Wayland too. Other desktops keep it
//! to themselves: then the person is told, once.

use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;
use zbus::Connection;

use crate::confirm::Refused;
use crate::state::Input;

/// Without input for this long nobody is taken to be there.
const AWAY: Duration = Duration::from_secs(300);
/// While nobody is there, somebody's return is noticed this soon.
const LOOK: Duration = Duration::from_secs(1);
/// Until a source that gave no answer is asked again.
const SILENT: Duration = Duration::from_secs(10);

const MUTTER: &str = "org.gnome.Mutter.IdleMonitor";
const MUTTER_PATH: &str = "/org/gnome/Mutter/IdleMonitor/Core";

/// What is known about the person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Presence {
    pub(crate) locked: bool,
    pub(crate) away: bool,
}

impl Presence {
    /// Why nothing can be allowed; `None` while somebody is there.
    pub(crate) fn refusal(self) -> Option<Refused> {
        match self {
            Self { locked: true, .. } => Some(Refused::Locked),
            Self { away: true, .. } => Some(Refused::Away),
            Self { locked: false, away: false } => None,
        }
    }
}

/// Who counts the time since the last input.
enum Source {
    Display(display::Display),
    Mutter(Connection),
}

impl Source {
    /// The first one that answers.
    async fn find(bus: Option<Connection>) -> Option<Self> {
        let found = if crate::environment::is_wayland() {
            Self::Mutter(bus?)
        } else {
            Self::Display(tokio::task::spawn_blocking(display::open).await.ok()??)
        };
        found.idle().await.is_some().then_some(found)
    }

    /// How long nobody touched anything.
    async fn idle(&self) -> Option<Duration> {
        let milliseconds = match self {
            Self::Display(display) => {
                let display = display.clone();
                tokio::task::spawn_blocking(move || display::idle(&display)).await.ok()?.map(u64::from)?
            }
            Self::Mutter(bus) => {
                let reply = bus.call_method(Some(MUTTER), MUTTER_PATH, Some(MUTTER), "GetIdletime", &()).await.ok()?;
                reply.body().deserialize::<u64>().ok()?
            }
        };
        Some(Duration::from_millis(milliseconds))
    }
}

#[cfg(target_os = "linux")]
mod display {
    use std::sync::Arc;

    use x11rb::connection::Connection;
    use x11rb::protocol::screensaver::ConnectionExt;
    use x11rb::rust_connection::RustConnection;

    pub(super) type Display = Arc<RustConnection>;

    pub(super) fn open() -> Option<Display> {
        RustConnection::connect(None).ok().map(|(display, _)| Arc::new(display))
    }

    /// Milliseconds since the last input.
    pub(super) fn idle(display: &Display) -> Option<u32> {
        let root = display.setup().roots.first()?.root;
        Some(display.screensaver_query_info(root).ok()?.reply().ok()?.ms_since_user_input)
    }
}

#[cfg(not(target_os = "linux"))]
mod display {
    #[derive(Clone)]
    pub(super) enum Display {}

    pub(super) fn open() -> Option<Display> {
        None
    }

    pub(super) fn idle(display: &Display) -> Option<u32> {
        match *display {}
    }
}

/// Reports when the person goes and comes back, for as long as the desktop tells.
pub(crate) async fn watch(bus: Option<Connection>, inputs: UnboundedSender<Input>) {
    let Some(source) = Source::find(bus).await else {
        let note = "This desktop does not tell Latchstring whether somebody is there. Let the screen lock itself while \
                    you are away: on a locked screen nothing can be allowed.";
        let _ = inputs.send(Input::Note(note.to_owned()));
        return;
    };
    let limit = away_after();
    let mut away = false;
    loop {
        let next = match source.idle().await {
            Some(idle) => {
                if away != (idle >= limit) {
                    away = !away;
                    let _ = inputs.send(Input::Away(away));
                }
                limit.saturating_sub(idle).max(LOOK)
            }
            // Whoever counts may be starting again; until then what was known last holds.
            None => SILENT,
        };
        tokio::time::sleep(next).await;
    }
}

/// Tests don't wait for five minutes.
fn away_after() -> Duration {
    let named = if cfg!(feature = "e2e") { std::env::var("LATCHSTRING_AWAY_SECONDS").ok() } else { None };
    named.and_then(|seconds| seconds.parse().ok()).map_or(AWAY, Duration::from_secs)
}
