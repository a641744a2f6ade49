//! The person looks, goes away, comes back, and stops everything from the keyboard.

use std::time::Duration;

use serde_json::json;

use crate::rig::{Kind, Rig};
use crate::script::{destroy, trash};
use crate::{ASKS, allow, freeze};

const AWAY: &str = "document.querySelector('[role=alert]')?.innerText.startsWith('Nobody used this computer')";

#[tokio::test]
async fn using_the_dialog_gives_it_time() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    let soon = jiff::Timestamp::now() + Duration::from_secs(600);
    rig.script.set("hold.touch", json!({"expires_at": (soon + Duration::from_secs(1230)).to_string()}));
    rig.script.hold(&[latch_ipc::view::HoldView { expires_at: soon.to_string(), ..trash("h1", 3) }]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#left").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.press(&driver, &window, ".scroller").await;
    let touched = rig.script.heard("hold.touch", 1).await;
    assert_eq!(touched[0], json!({"id": "h1"}));
    driver.until("document.querySelector('#left').innerText === '30 min'").await;
    rig.picture("confirm-touched");
    allow(&rig, &driver).await;
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!(decided[0]["verdict"], "allow");
}

#[tokio::test]
async fn while_nobody_is_there_nothing_can_be_allowed() {
    let mut rig = Rig::start(Kind::default()).await;
    rig.launch(&[("LATCHSTRING_AWAY_SECONDS", "6")]);
    let driver = rig.driver().await;
    rig.script.hold(&[trash("h1", 3)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    driver.until(AWAY).await;
    driver.until("document.querySelector('#allow').disabled && !document.querySelector('#keep').disabled").await;
    rig.picture("confirm-away");
    driver.accessible().await;
    let choice = "const done = arguments[arguments.length - 1]; const call = window.__TAURI_INTERNALS__.invoke; \
                  call('confirm_view').then(view => call('confirm_decide', {choice: {verdict: 'allow', \
                  revision: view.revision, digest: view.subject.hold.digest}})).then(() => done('allowed'), e => done(e.message));";
    let said = driver.client.execute_async(choice, vec![]).await.unwrap();
    assert!(said.as_str().unwrap().starts_with("Nobody used this computer"), "{said}");
    let shown = rig.services.notifications(1).await;
    rig.services.press(shown[0].id, "allow").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(rig.script.calls("hold.decide").is_empty());
    rig.nudge();
    driver.until(&format!("!({AWAY})")).await;
    allow(&rig, &driver).await;
    assert_eq!(rig.script.heard("hold.decide", 1).await[0]["verdict"], "allow");
}

#[tokio::test]
async fn a_locked_screen_allows_nothing() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    rig.script.hold(&[trash("h1", 3)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    let locker = rig.services.lock().await;
    driver.until("document.querySelector('[role=alert]')?.innerText.startsWith('The screen is locked')").await;
    driver.until("document.querySelector('#allow').disabled").await;
    rig.picture("confirm-locked");
    locker.unlock().await;
    driver.until("document.querySelector('[role=alert]') === null").await;
    allow(&rig, &driver).await;
    assert_eq!(rig.script.heard("hold.decide", 1).await[0]["verdict"], "allow");
}

#[tokio::test]
async fn the_panic_key_works_from_anywhere_until_it_is_switched_off() {
    let mut rig = Rig::running(Kind::default()).await;
    let labels = |menu: Vec<(i32, String)>| menu.into_iter().map(|(_, label)| label).collect::<Vec<_>>();
    let started = std::time::Instant::now();
    while !labels(rig.services.menu().await).contains(&"Panic: revoke everything (Ctrl+Alt+Shift+P)".to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", rig.services.menu().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.script.hold(&[trash("h1", 3)]);
    rig.window(ASKS).await;
    rig.x(&["key", "ctrl+alt+shift+p"]);
    rig.script.heard("panic", 1).await;
    rig.no_window(ASKS).await;
    rig.window("Latchstring").await;
    let panics = rig.script.calls("panic").len();
    let off = latch_ipc::contract::Settings { panic_keys: String::new(), ..Default::default() };
    rig.script.set("settings.get", serde_json::to_value(off).unwrap());
    let started = std::time::Instant::now();
    while !labels(rig.services.menu().await).contains(&"Panic: revoke everything".to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", rig.services.menu().await);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    rig.x(&["key", "ctrl+alt+shift+p"]);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.script.calls("panic").len(), panics);
}

#[tokio::test]
async fn a_notification_that_comes_too_late_does_not_stay() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.services.slow(Duration::from_secs(5));
    rig.script.hold(&[destroy("h1", 3)]);
    rig.window(ASKS).await;
    rig.script.hold(&[]);
    rig.no_window(ASKS).await;
    rig.services.were_shown(1).await;
    rig.services.notifications(0).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.services.notifications(0).await;
}

#[tokio::test]
async fn quitting_takes_notifications_along() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[trash("h1", 3)]);
    rig.services.notifications(1).await;
    rig.services.click("Quit").await;
    rig.services.notifications(0).await;
}

#[tokio::test]
async fn panic_takes_the_message_box_away() {
    let mut rig = Rig::running(Kind { paint_seconds: 3, ..Kind::default() }).await;
    let driver = rig.driver().await;
    driver.page("index.html", "body").await;
    rig.script.hold(&[trash("h1", 3)]);
    let started = std::time::Instant::now();
    while rig.windows(ASKS).is_empty() {
        freeze(&rig);
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    freeze(&rig);
    tokio::time::sleep(Duration::from_secs(5)).await;
    rig.window(ASKS).await;
    rig.picture("message-box-before-panic");
    rig.services.click("Panic").await;
    rig.script.heard("panic", 1).await;
    rig.no_window(ASKS).await;
    assert!(rig.script.calls("hold.decide").is_empty(), "no answer is invented");
}
