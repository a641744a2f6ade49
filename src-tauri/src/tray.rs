//! The tray as data: from what is known to an icon and a menu. What draws it is in [`crate::desktop`].

use jiff::Timestamp;
use latch_ipc::phone::PhoneState;
use latch_ipc::view::AgentView;
use serde::{Deserialize, Serialize};

use crate::text::{act, ago, left, visible};
use crate::world::{Engine, Shortcut, Snapshot};
use latch_ipc::words::counted;

/// One of four shapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub(crate) enum Icon {
    /// A closed latch.
    Calm,
    /// Two bars in a disc.
    Holding,
    /// A stop sign.
    Panicked,
    /// A broken ring.
    Offline,
}

/// Everything that can be chosen in the menu or in the main window without more words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Action {
    Panic,
    Review(String),
    Deny(String),
    ReviewAsk(String),
    Revoke(String),
    Undo(String),
    Open,
    OpenResume,
    Quit,
}

impl Action {
    /// The menu item's id: an old menu's click must never mean something else.
    pub(crate) fn id(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(crate) fn from_id(id: &str) -> Option<Self> {
        serde_json::from_str(id).ok()
    }
}

/// A line of the menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) enum Item {
    Choice(Action, String),
    Note(String),
    Menu(String, Vec<Item>),
    Line,
}

/// Icon, hover text and menu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Tray {
    pub(crate) icon: Icon,
    pub(crate) hover: String,
    /// The first line of the menu; it is always there and always does the same.
    pub(crate) panic: String,
    /// All lines after it.
    pub(crate) menu: Vec<Item>,
}

/// At most this many holds, asks and undo entries stand in the menu; the window has all.
const LISTED: usize = 10;

/// The whole tray for what is known now.
pub(crate) fn tray(known: &Snapshot, now: Timestamp) -> Tray {
    let waiting = known.world.waiting().count() + known.world.asks.len();
    let (icon, hover) = face(known, waiting);
    let key = known.panic_key.as_ref().and_then(Shortcut::offered).map(|keys| format!(" ({})", visible(keys)));
    let panic = format!("Panic: revoke everything{}", key.unwrap_or_default());
    let mut menu = vec![Item::Line];
    if known.drill {
        menu.push(Item::Note("This is the drill: nothing here is real".to_owned()));
    }
    menu.push(state_line(known));
    menu.extend(phone_notes(known, now));
    if known.world.panicked() {
        menu.push(Item::Choice(Action::OpenResume, "See what was stopped, undo, resume…".to_owned()));
    }
    menu.push(waiting_menu(known, waiting));
    menu.push(Item::Line);
    if known.world.agents.is_empty() {
        menu.push(Item::Note("No agents connected".to_owned()));
    }
    menu.extend(known.world.agents.iter().map(|agent| agent_menu(agent, now)));
    menu.push(Item::Line);
    menu.push(undo_menu(known));
    menu.push(Item::Choice(Action::Open, "Open Latchstring".to_owned()));
    menu.push(Item::Choice(Action::Quit, "Quit: agents lose access until it runs again".to_owned()));
    let hover = if known.drill { format!("Drill. {hover}") } else { hover };
    Tray { icon, hover, panic, menu }
}

fn face(known: &Snapshot, waiting: usize) -> (Icon, String) {
    match &known.engine {
        Engine::Starting => (Icon::Offline, "Latchstring is starting".to_owned()),
        Engine::Down { .. } => (Icon::Offline, "Latchstring is offline: no agent has access".to_owned()),
        Engine::Up if known.world.panicked() || known.stopping => {
            (Icon::Panicked, "Latchstring is stopped: no agent has access".to_owned())
        }
        Engine::Up if waiting > 0 => (Icon::Holding, format!("Latchstring: {waiting} waiting for you")),
        Engine::Up => (Icon::Calm, "Latchstring".to_owned()),
    }
}

fn state_line(known: &Snapshot) -> Item {
    Item::Note(match &known.engine {
        Engine::Starting => "Starting…".to_owned(),
        Engine::Down { why } => format!("Offline: {}", visible(why)),
        Engine::Up if known.world.panicked() => "Stopped. No agent has access.".to_owned(),
        Engine::Up if known.stopping => "Stopping…".to_owned(),
        Engine::Up => "Running".to_owned(),
    })
}

/// A phone stop that would not be seen is said where the person looks; the icon stays what it is about agents.
fn phone_notes(known: &Snapshot, now: Timestamp) -> Vec<Item> {
    let phones = known.world.status.iter().filter(|_| known.engine == Engine::Up).flat_map(|status| &status.phone);
    let offline = phones.filter(|phone| phone.state == PhoneState::Offline);
    offline
        .map(|phone| {
            let since = phone.since.as_deref().and_then(|since| ago(since, now));
            let since = since.map(|ago| format!(" for {ago}")).unwrap_or_default();
            Item::Note(format!("Phone stop offline{since}: {}", visible(&phone.account)))
        })
        .collect()
}

fn waiting_menu(known: &Snapshot, waiting: usize) -> Item {
    if waiting == 0 {
        return Item::Note("Waiting (0)".to_owned());
    }
    let holds = known.world.waiting().map(|hold| {
        let title = format!("{}? {} on {}", act(hold), visible(&hold.agent_name), visible(&hold.account));
        let choices = vec![
            Item::Choice(Action::Review(hold.id.clone()), "Review…".to_owned()),
            Item::Choice(Action::Deny(hold.id.clone()), visible(&hold.keep)),
        ];
        Item::Menu(title, choices)
    });
    let asks = known.world.asks.iter().map(|ask| {
        Item::Menu(visible(&ask.text), vec![Item::Choice(Action::ReviewAsk(ask.id.clone()), "Review…".to_owned())])
    });
    let mut items: Vec<Item> = holds.chain(asks).take(LISTED).collect();
    if waiting > LISTED {
        items.push(Item::Choice(Action::Open, format!("{} more…", waiting - LISTED)));
    }
    Item::Menu(format!("Waiting ({waiting})"), items)
}

fn agent_menu(agent: &AgentView, now: Timestamp) -> Item {
    let name = visible(&agent.name);
    let time = agent.token_expires_at.as_deref().and_then(|until| left(until, now));
    let state = if agent.stopped {
        "stopped".to_owned()
    } else if let Some(pause) = agent.paused_until.as_deref().and_then(|until| left(until, now)) {
        format!("paused, {pause}")
    } else if agent.tokens == 0 {
        "no access now".to_owned()
    } else {
        time.unwrap_or_else(|| "has access".to_owned())
    };
    let mut items: Vec<Item> = agent
        .grants
        .iter()
        .map(|grant| {
            let until = grant.expires_at.as_deref().and_then(|until| left(until, now));
            let until = until.map(|left| format!(", {left}")).unwrap_or_default();
            Item::Note(format!("{} on {}{until}", visible(&grant.preset), visible(&grant.account)))
        })
        .collect();
    if items.is_empty() {
        items.push(Item::Note("May do nothing".to_owned()));
    }
    items.push(Item::Choice(Action::Revoke(agent.id.clone()), format!("Revoke {name}")));
    Item::Menu(format!("{name}: {state}"), items)
}

fn undo_menu(known: &Snapshot) -> Item {
    let entries: Vec<Item> = known
        .world
        .undo
        .iter()
        .filter(|entry| !entry.undone)
        .take(LISTED)
        .map(|entry| {
            let label = format!("Put back: {} ({})", visible(&entry.text), visible(&entry.agent));
            Item::Choice(Action::Undo(entry.entry.clone()), label)
        })
        .collect();
    if entries.is_empty() {
        Item::Note("Nothing to undo".to_owned())
    } else {
        Item::Menu("Undo last…".to_owned(), entries)
    }
}

/// `3 more are waiting for you`, for one notice about many.
pub(crate) fn crowd(count: u32) -> String {
    format!("{} waiting for you", counted(count, &["more is".to_owned(), "more are".to_owned()]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::samples::{destroy, hold, snapshot, world};
    use crate::world::World;

    fn shown(known: &Snapshot) -> String {
        let tray = tray(known, "2026-11-22T08:00:00Z".parse().unwrap());
        let mut text = format!("{:?}: {}\n  [{}]\n", tray.icon, tray.hover, tray.panic);
        lines(&tray.menu, 1, &mut text);
        text
    }

    fn lines(items: &[Item], depth: usize, text: &mut String) {
        let indent = "  ".repeat(depth);
        for item in items {
            match item {
                Item::Choice(action, label) => text.push_str(&format!("{indent}[{label}] {}\n", action.id())),
                Item::Note(label) => text.push_str(&format!("{indent}{label}\n")),
                Item::Line => text.push_str(&format!("{indent}---\n")),
                Item::Menu(label, items) => {
                    text.push_str(&format!("{indent}{label} >\n"));
                    lines(items, depth + 1, text);
                }
            }
        }
    }

    #[test]
    fn the_drill_says_what_it_is() {
        let drill = Snapshot { drill: true, ..snapshot(Engine::Up, world(Vec::new())) };
        let tray = tray(&drill, Timestamp::UNIX_EPOCH);
        assert_eq!(tray.hover, "Drill. Latchstring");
        assert!(tray.menu.contains(&Item::Note("This is the drill: nothing here is real".to_owned())));
    }

    #[test]
    fn four_states() {
        let mut panicked = world(Vec::new());
        panicked.status.as_mut().unwrap().panicked = true;
        panicked.agents.iter_mut().for_each(|agent| agent.stopped = true);
        let hostile = crate::samples::agent("\u{202e}evil\u{200b} & co");
        let holding = World { agents: vec![hostile], ..world(vec![hold("h1", "claude", 12), destroy("h2", 1)]) };
        insta::assert_snapshot!("calm", shown(&snapshot(Engine::Up, world(Vec::new()))));
        insta::assert_snapshot!("holding", shown(&snapshot(Engine::Up, holding)));
        insta::assert_snapshot!("panicked", shown(&snapshot(Engine::Up, panicked)));
        let down = Engine::Down { why: "it ended".to_owned() };
        insta::assert_snapshot!("offline", shown(&snapshot(down, World::default())));
    }

    #[test]
    fn a_phone_stop_that_is_offline_is_said() {
        let phone = |state: PhoneState| latch_ipc::phone::PhoneView {
            account: "work".to_owned(),
            state,
            since: Some("2026-11-22T07:55:00Z".to_owned()),
            text: String::new(),
        };
        let noted = |engine, state| {
            let mut world = world(Vec::new());
            world.status.as_mut().unwrap().phone = vec![phone(state)];
            phone_notes(&snapshot(engine, world), "2026-11-22T08:00:00Z".parse().unwrap())
        };
        let said = Item::Note("Phone stop offline for 5 min: work".to_owned());
        assert_eq!(noted(Engine::Up, PhoneState::Offline), [said]);
        assert!(noted(Engine::Up, PhoneState::Watching).is_empty());
        assert!(noted(Engine::Starting, PhoneState::Offline).is_empty());
    }

    #[test]
    fn only_a_key_that_works_is_shown() {
        let key = |why: Option<&str>| Shortcut {
            keys: "Ctrl+Alt+Shift+P".to_owned(),
            why: why.map(str::to_owned),
            tell: true,
        };
        let shown = |key| {
            let known = Snapshot { panic_key: key, ..snapshot(Engine::Up, world(Vec::new())) };
            tray(&known, Timestamp::UNIX_EPOCH).panic
        };
        assert_eq!(shown(Some(key(None))), "Panic: revoke everything (Ctrl+Alt+Shift+P)");
        assert_eq!(shown(Some(key(Some("taken")))), "Panic: revoke everything");
        assert_eq!(shown(None), "Panic: revoke everything");
    }

    #[test]
    fn ids_come_back() {
        for action in [Action::Panic, Action::Deny("h\"1".to_owned()), Action::Revoke("a b".to_owned()), Action::Quit] {
            assert_eq!(Action::from_id(&action.id()), Some(action));
        }
        assert_eq!(Action::from_id("17"), None);
    }
}
