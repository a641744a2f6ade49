#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use latch_ipc::contract::Scope;

use super::*;
use latch_ipc::view::HoldState;

use crate::samples::{destroy, hold, world};

fn up(holds: Vec<HoldView>, now: Instant) -> (State, Vec<Effect>) {
    let mut state = State::new(Vec::new(), false);
    state.handle(Input::EngineUp { vault_locked: false }, now);
    let effects = state.handle(Input::Loaded(Box::new(world(holds))), now);
    (state, effects)
}

/// A state whose dialog 1 asks about `hold`, painted and focused at `now`.
fn asking(hold: HoldView, now: Instant) -> State {
    let (mut state, effects) = up(vec![hold.clone()], now);
    assert!(effects.contains(&Effect::Fetch(hold.id.clone())), "{effects:?}");
    let opened = state.handle(Input::Fetched { id: hold.id.clone(), hold: Some(Box::new(hold)) }, now);
    assert_eq!(opened, [Effect::OpenDialog(1)]);
    state.handle(Input::Painted { number: 1, revision: 1 }, now);
    state.handle(Input::Focused { number: 1, gained: true }, now);
    state
}

fn allow(digest: &str) -> Choice {
    Choice {
        verdict: Verdict::Allow,
        revision: 1,
        digest: digest.to_owned(),
        objects: None,
        scope: Scope::Once,
        rule: None,
        remember: None,
        forever: false,
        retyped_count: None,
    }
}

fn decided(effects: &[Effect]) -> Vec<&HoldDecideParams> {
    effects
        .iter()
        .filter_map(|effect| match effect {
            Effect::Decide { params, .. } => Some(&params.0),
            _ => None,
        })
        .collect()
}

fn after(now: Instant, milliseconds: u64) -> Instant {
    now + Duration::from_millis(milliseconds)
}

#[test]
fn an_allow_counts_only_after_the_delay_on_what_was_shown() {
    let now = Instant::now();
    let digest = "digest of h1";
    let mut state = asking(hold("h1", "claude", 3), now);
    assert_eq!(state.choose(1, &allow(digest), after(now, 999)).unwrap_err(), Refused::TooSoon);
    assert_eq!(state.choose(1, &allow("other"), after(now, 1100)).unwrap_err(), Refused::Changed);
    assert_eq!(state.choose(2, &allow(digest), after(now, 1100)).unwrap_err(), Refused::Answered);
    state.handle(Input::Focused { number: 1, gained: false }, after(now, 1100));
    assert_eq!(state.choose(1, &allow(digest), after(now, 1200)).unwrap_err(), Refused::NotFocused);
    state.handle(Input::Focused { number: 1, gained: true }, after(now, 1200));
    assert_eq!(state.choose(1, &allow(digest), after(now, 2100)).unwrap_err(), Refused::TooSoon);
    let effects = state.choose(1, &allow(digest), after(now, 2200)).unwrap();
    assert_eq!(decided(&effects)[0].verdict, Verdict::Allow);
    assert_eq!(state.choose(1, &allow(digest), after(now, 2300)).unwrap_err(), Refused::Answered);
}

#[test]
fn changed_content_starts_the_clock_again() {
    let now = Instant::now();
    let mut state = asking(hold("h1", "claude", 3), now);
    let grown = HoldView { count: 4, ..hold("h1", "claude", 4) };
    let effects = state.handle(Input::Loaded(Box::new(world(vec![grown.clone()]))), after(now, 1500));
    assert!(effects.contains(&Effect::Fetch("h1".to_owned())));
    let effects = state.handle(Input::Fetched { id: "h1".to_owned(), hold: Some(Box::new(grown)) }, after(now, 1500));
    assert_eq!(effects, [Effect::UpdateDialog(1)]);
    assert_eq!(state.choose(1, &allow("digest of h1"), after(now, 1600)).unwrap_err(), Refused::Changed);
    let second = Choice { revision: 2, ..allow("digest of h1") };
    assert_eq!(state.choose(1, &second, after(now, 1600)).unwrap_err(), Refused::Changed, "not painted yet");
    state.handle(Input::Painted { number: 1, revision: 2 }, after(now, 1700));
    assert_eq!(state.choose(1, &second, after(now, 2600)).unwrap_err(), Refused::TooSoon);
    assert!(state.choose(1, &second, after(now, 2700)).is_ok());
}

#[test]
fn what_can_t_be_undone_wants_its_count_and_two_seconds() {
    let now = Instant::now();
    let mut state = asking(destroy("h1", 214), now);
    let digest = "digest of h1";
    let with = |count| Choice { retyped_count: count, ..allow(digest) };
    assert_eq!(state.choose(1, &with(Some(214)), after(now, 1500)).unwrap_err(), Refused::TooSoon);
    assert_eq!(state.choose(1, &with(None), after(now, 2100)).unwrap_err(), Refused::Retype);
    assert_eq!(state.choose(1, &with(Some(213)), after(now, 2100)).unwrap_err(), Refused::Retype);
    let task = Choice { scope: Scope::Task, ..with(Some(214)) };
    assert_eq!(state.choose(1, &task, after(now, 2100)).unwrap_err(), Refused::NoTask);
    let some = Choice { objects: Some(vec!["m0".to_owned(), "m7".to_owned()]), ..with(Some(2)) };
    let effects = state.choose(1, &some, after(now, 2100)).unwrap();
    assert_eq!(decided(&effects)[0].objects.as_ref().unwrap().len(), 2);
}

#[test]
fn objects_that_were_not_shown_can_t_be_allowed() {
    let now = Instant::now();
    let mut state = asking(hold("h1", "claude", 3), now);
    let later = after(now, 1500);
    for (objects, refused) in [(vec![], Refused::Nothing), (vec!["m9".to_owned()], Refused::Changed)] {
        let choice = Choice { objects: Some(objects), ..allow("digest of h1") };
        assert_eq!(state.choose(1, &choice, later).unwrap_err(), refused);
    }
    state.handle(Input::Locked(true), later);
    assert_eq!(state.choose(1, &allow("digest of h1"), later).unwrap_err(), Refused::Locked);
}

#[test]
fn a_window_that_goes_away_denies_once() {
    let now = Instant::now();
    let mut state = asking(hold("h1", "claude", 3), now);
    let effects = state.handle(Input::DialogGone { number: 1 }, now);
    assert_eq!(decided(&effects)[0].verdict, Verdict::Deny);
    assert_eq!(state.handle(Input::DialogGone { number: 1 }, now), []);
}

#[test]
fn an_engine_that_goes_away_allows_nothing() {
    let now = Instant::now();
    let mut state = asking(hold("h1", "claude", 3), now);
    let effects = state.handle(Input::EngineDown { why: "it ended".to_owned() }, now);
    assert!(effects.contains(&Effect::CloseDialog(1)) && decided(&effects).is_empty(), "{effects:?}");
    assert_eq!(state.choose(1, &allow("digest of h1"), after(now, 2000)).unwrap_err(), Refused::Answered);
}

#[test]
fn a_panic_that_the_engine_missed_comes_first_when_it_is_back() {
    let now = Instant::now();
    let mut state = State::new(Vec::new(), false);
    assert!(state.panic().contains(&Effect::KillEngine));
    let effects = state.handle(Input::EngineUp { vault_locked: false }, now);
    assert_eq!(effects[0], Effect::Panic);
    state.handle(Input::PanicDone(None), now);
    let effects = state.handle(Input::EngineUp { vault_locked: false }, now);
    assert_eq!(effects[0], Effect::Panic, "until it is confirmed");
}

#[test]
fn what_may_not_come_up_by_itself_waits_until_it_may_or_the_person_looks() {
    let now = Instant::now();
    let waits = HoldView { prompt: false, ..hold("h1", "claude", 3) };
    let (mut state, effects) = up(vec![waits.clone()], now);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fetch(_))), "{effects:?}");
    let looked = state.handle(Input::Chosen(Action::Review("h1".to_owned())), now);
    assert_eq!(looked, [Effect::Fetch("h1".to_owned())]);
    let (mut state, _) = up(vec![waits.clone()], now);
    let may = world(vec![HoldView { prompt: true, ..waits }]);
    let effects = state.handle(Input::Loaded(Box::new(may)), after(now, 60_000));
    assert!(effects.contains(&Effect::Fetch("h1".to_owned())), "{effects:?}");
}

#[test]
fn dialogs_are_fair_and_few() {
    let now = Instant::now();
    let holds = vec![hold("h1", "loud", 1), hold("h22", "loud", 1), hold("h333", "quiet", 1)];
    let (mut state, _) = up(holds.clone(), now);
    let mut order = Vec::new();
    for number in 1..=3 {
        let id = state.fetching.clone().unwrap();
        let found = holds.iter().find(|hold| hold.id == id).unwrap().clone();
        order.push(found.agent.clone());
        state.handle(Input::Fetched { id, hold: Some(Box::new(found)) }, now);
        state.handle(Input::DialogGone { number }, now);
        state.handle(Input::Tick, now);
    }
    assert_eq!(order, ["loud", "quiet", "loud"]);
    let effects = state.handle(Input::Loaded(Box::new(world(vec![hold("h4444", "loud", 1)]))), now);
    assert!(!effects.iter().any(|effect| matches!(effect, Effect::Fetch(_))), "a fourth within a minute waits");
    let effects = state.handle(Input::Tick, after(now, 61_000));
    assert_eq!(effects, [Effect::Fetch("h4444".to_owned())]);
}

#[test]
fn notifications_allow_only_what_is_small_and_never_twice() {
    let now = Instant::now();
    let press = |state: &mut State, digest: &str, pressed| {
        state.handle(Input::Pressed { hold: "h1".to_owned(), digest: digest.to_owned(), pressed }, now)
    };
    let (mut state, effects) = up(vec![hold("h1", "claude", 12)], now);
    assert!(effects.iter().any(|effect| matches!(effect, Effect::Notify(notice) if notice.actions.len() == 4)));
    assert_eq!(press(&mut state, "another", Pressed::Allow), []);
    let effects = press(&mut state, "digest of h1", Pressed::Allow);
    assert_eq!(decided(&effects)[0].by.as_deref(), Some("notification"));
    assert_eq!(press(&mut state, "digest of h1", Pressed::Allow), []);
    for held in [destroy("h1", 3), hold("h1", "claude", 21)] {
        let (mut state, effects) = up(vec![held], now);
        assert!(effects.iter().any(|effect| matches!(effect, Effect::Notify(notice) if notice.actions.len() == 3)));
        assert!(decided(&press(&mut state, "digest of h1", Pressed::Allow)).is_empty());
    }
}

#[test]
fn the_message_box_allows_only_what_is_small_and_not_at_once() {
    let now = Instant::now();
    for (held, allowed) in
        [(hold("h1", "claude", 3), true), (destroy("h1", 3), false), (hold("h1", "claude", 21), false)]
    {
        let (mut state, _) = up(vec![held.clone()], now);
        state.handle(Input::Fetched { id: "h1".to_owned(), hold: Some(Box::new(held)) }, now);
        let effects = state.handle(Input::PaintLimit { number: 1 }, after(now, 3000));
        assert_eq!(effects, [Effect::CloseDialog(1), Effect::OpenFallback(1)]);
        assert_eq!(state.handle(Input::DialogGone { number: 1 }, after(now, 3000)), []);
        state.handle(Input::FallbackShown { number: 1 }, after(now, 3100));
        if allowed {
            let early = state.handle(Input::FallbackAnswer { number: 1, allow: true }, after(now, 3200));
            assert_eq!(early, [Effect::OpenFallback(1)], "too soon: it asks again");
        }
        let effects = state.handle(Input::FallbackAnswer { number: 1, allow: true }, after(now, 4200));
        let verdict = if allowed { Verdict::Allow } else { Verdict::Deny };
        assert_eq!(decided(&effects)[0].verdict, verdict);
    }
}

#[test]
fn while_nobody_is_there_nothing_is_allowed_and_coming_back_starts_the_clock_again() {
    for (gone, back, refused) in [
        (Input::Away(true), Input::Away(false), Refused::Away),
        (Input::Locked(true), Input::Locked(false), Refused::Locked),
    ] {
        let now = Instant::now();
        let mut state = asking(hold("h1", "claude", 3), now);
        assert_eq!(state.handle(gone, after(now, 1500)), [Effect::UpdateDialog(1)]);
        assert_eq!(state.confirm_view(1).unwrap().absent, Some(refused.to_string()));
        let second = |revision| Choice { revision, ..allow("digest of h1") };
        state.handle(Input::Painted { number: 1, revision: 2 }, after(now, 1600));
        assert_eq!(state.choose(1, &second(2), after(now, 9000)).unwrap_err(), refused);
        let pressed =
            Input::Pressed { hold: "h1".to_owned(), digest: "digest of h1".to_owned(), pressed: Pressed::Allow };
        assert_eq!(state.handle(pressed, after(now, 9000)), [Effect::RaiseDialog(1)], "a notification leads there");
        assert_eq!(state.handle(back, after(now, 9500)), [Effect::UpdateDialog(1)]);
        assert_eq!(state.choose(1, &second(2), after(now, 9600)).unwrap_err(), Refused::Changed);
        state.handle(Input::Painted { number: 1, revision: 3 }, after(now, 9600));
        assert_eq!(state.choose(1, &second(3), after(now, 10_500)).unwrap_err(), Refused::TooSoon);
        assert!(state.choose(1, &second(3), after(now, 10_600)).is_ok());
    }
}

#[test]
fn a_message_box_does_not_allow_while_nobody_is_there() {
    let now = Instant::now();
    let held = hold("h1", "claude", 3);
    let (mut state, _) = up(vec![held.clone()], now);
    state.handle(Input::Fetched { id: "h1".to_owned(), hold: Some(Box::new(held)) }, now);
    state.handle(Input::PaintLimit { number: 1 }, after(now, 3000));
    state.handle(Input::FallbackShown { number: 1 }, after(now, 3100));
    state.handle(Input::Away(true), after(now, 3200));
    let effects = state.handle(Input::FallbackAnswer { number: 1, allow: true }, after(now, 9000));
    assert_eq!(effects, [Effect::OpenFallback(1)], "it asks again");
    state.handle(Input::PanicDone(None), after(now, 9100));
    assert!(
        state.handle(Input::Loaded(Box::new(world(Vec::new()))), after(now, 9200)).contains(&Effect::CloseDialog(1))
    );
    assert_eq!(state.handle(Input::FallbackAnswer { number: 1, allow: true }, after(now, 9300)), []);
}

#[test]
fn using_the_window_moves_the_end_and_nothing_else() {
    let now = Instant::now();
    let mut state = asking(hold("h1", "claude", 3), now);
    let touch = |state: &mut State, at| state.handle(Input::Touched { number: 1 }, after(now, at));
    assert_eq!(touch(&mut state, 100), [Effect::Touch("h1".to_owned())]);
    assert_eq!(touch(&mut state, 1900), [], "not at every movement");
    assert_eq!(touch(&mut state, 2200), [Effect::Touch("h1".to_owned())]);
    assert_eq!(state.handle(Input::Touched { number: 2 }, after(now, 9000)), []);
    let at = "2026-11-22T08:14:00Z".to_owned();
    let told = Effect::TellEnd { number: 1, at: at.clone() };
    assert_eq!(state.handle(Input::Ends { id: "h1".to_owned(), at: at.clone() }, now), [told]);
    let moved = HoldView { expires_at: at, ..hold("h1", "claude", 3) };
    let effects = state.handle(Input::Loaded(Box::new(world(vec![moved]))), after(now, 1000));
    assert!(!effects.contains(&Effect::Fetch("h1".to_owned())), "{effects:?}");
    assert!(state.choose(1, &allow("digest of h1"), after(now, 1100)).is_ok(), "the clock was not started again");
}

#[test]
fn the_panic_key_is_set_once_and_a_failure_is_told() {
    let now = Instant::now();
    let keyed = |keys: &str| World { panic_keys: Some(keys.to_owned()), ..world(Vec::new()) };
    let mut state = State::new(Vec::new(), false);
    state.handle(Input::EngineUp { vault_locked: false }, now);
    let set = |state: &mut State, keys| state.handle(Input::Loaded(Box::new(keyed(keys))), now);
    assert_eq!(set(&mut state, "Ctrl+Alt+P"), [Effect::SetKey("Ctrl+Alt+P".to_owned())]);
    assert_eq!(set(&mut state, "Ctrl+Alt+P"), []);
    assert_eq!(set(&mut state, ""), [Effect::SetKey(String::new())]);
    let taken = |tell| Shortcut { keys: "Ctrl+Alt+P".to_owned(), why: Some("taken".to_owned()), tell };
    state.handle(Input::KeySet(taken(false)), now);
    assert_eq!(state.snapshot().notes, Vec::<String>::new());
    state.handle(Input::KeySet(taken(true)), now);
    assert_eq!(state.snapshot().notes, ["The Panic key Ctrl+Alt+P does not work here: taken"]);
}

#[test]
fn only_an_account_s_own_page_is_opened() {
    let now = Instant::now();
    let account = |page: &str| {
        let account = serde_json::json!({
            "id": "work", "provider": "gmail", "origin": "o", "credential": "oauth2", "sign_out_page": page,
        });
        World { accounts: vec![serde_json::from_value(account).unwrap()], ..world(Vec::new()) }
    };
    let open = |page: &str, id: &str| {
        let mut state = State::new(Vec::new(), false);
        state.handle(Input::EngineUp { vault_locked: false }, now);
        state.handle(Input::Loaded(Box::new(account(page))), now);
        state.handle(Input::OpenPage { account: id.to_owned() }, now)
    };
    let page = "https://provider.example/sessions";
    assert_eq!(open(page, "work"), [Effect::OpenUrl(page.to_owned())]);
    assert_eq!(open(page, "other"), []);
    assert_eq!(open("file:///etc/passwd", "work"), []);
}

#[test]
fn a_notification_gets_its_allow_when_everything_is_read() {
    let now = Instant::now();
    let offered = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::Notify(notice) => Some(notice.actions.len()),
            _ => None,
        })
    };
    let (mut state, effects) = up(vec![HoldView { state: HoldState::Preparing, ..hold("h1", "claude", 1) }], now);
    assert_eq!(offered(&effects), Some(3));
    let read = |state: &mut State| state.handle(Input::Loaded(Box::new(world(vec![hold("h1", "claude", 1)]))), now);
    assert_eq!(offered(&read(&mut state)), Some(4));
    assert_eq!(offered(&read(&mut state)), None, "only once");
}
