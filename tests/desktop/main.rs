//! The tray on real desktops: X server, session bus, window manager, tray menu, notifications and windows, all driven from
//! outside. Pictures of every window are kept in `target/screenshots`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attacks;
mod bus;
mod drill;
mod looks;
mod mailbox;
mod presence;
mod rig;
mod script;
mod whole;

use std::time::Duration;

use rig::{Kind, Rig};
use script::{destroy, trash};
use serde_json::json;

const ASKS: &str = "Latchstring asks";

/// Brings the confirm window to the front, waits until Allow is active, and presses it.
async fn allow(rig: &Rig, driver: &rig::Driver) {
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    driver.until("!document.querySelector('#allow').disabled").await;
    rig.press(driver, &window, "#allow").await;
}

#[tokio::test]
async fn panic_in_the_tray_menu_stops_everything() {
    let mut rig = Rig::running(Kind::default()).await;
    // The item that was in the menu before the hold came still works.
    let before = rig.services.menu().await;
    let (panic, _) = before.iter().find(|(_, label)| label.starts_with("Panic")).unwrap();
    rig.script.hold(&[trash("h1", 12)]);
    rig.window(ASKS).await;
    rig.services.click_item(*panic).await.unwrap();
    rig.script.heard("panic", 1).await;
    rig.no_window(ASKS).await;
    rig.window("Latchstring").await;
    let driver = rig.driver().await;
    driver.page("index.html", "#stopped").await;
    driver.until("document.querySelector('main').innerText.includes('3 connections')").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("main-stopped");
    let menu: Vec<String> = rig.services.menu().await.into_iter().map(|(_, label)| label).collect();
    assert!(menu.contains(&"Stopped. No agent has access.".to_owned()), "{menu:?}");
    assert!(rig.script.calls("hold.decide").is_empty(), "panic itself denies; no answer is invented");
    driver.accessible().await;
    driver.until("[...document.querySelectorAll('button')].some(b => b.innerText === 'Resume')").await;
    driver
        .client
        .execute("[...document.querySelectorAll('button')].find(b => b.innerText === 'Resume').click();", vec![])
        .await
        .unwrap();
    assert_eq!(rig.script.heard("resume", 1).await, [json!({"agent": "claude", "preset": "read-only"})]);
}

#[tokio::test]
async fn allow_deny_and_allow_in_part_in_the_window() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    rig.script.hold(&[trash("h1", 3)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    assert_eq!(driver.text("#headline").await, "Trash 3 messages?");
    assert_eq!(driver.text("#allow").await, "Trash 3 messages");
    let focused = driver.client.execute("return document.activeElement.id;", vec![]).await.unwrap();
    assert_eq!(focused, "keep", "focus starts on the button that denies");
    // Right after it appears a click on Allow does nothing, a call of the command neither.
    rig.press(&driver, &window, "#allow").await;
    let early = "const done = arguments[arguments.length - 1]; window.__TAURI_INTERNALS__.invoke('confirm_decide', \
                 {choice: {verdict: 'allow', revision: 1, digest: arguments[0]}}) \
                 .then(() => done('allowed'), e => done(e.message));";
    let digest = format!("{:0>64}", "h1");
    let said = driver.client.execute_async(early, vec![digest.clone().into()]).await.unwrap();
    assert!(said.as_str().unwrap().starts_with("Too soon") || said.as_str().unwrap().contains("in front"), "{said}");
    assert!(rig.script.calls("hold.decide").is_empty());
    allow(&rig, &driver).await;
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!(decided[0], json!({"id": "h1", "digest": digest, "verdict": "allow", "scope": "once", "by": "dialog"}));
    rig.no_window(ASKS).await;

    rig.script.hold(&[trash("h2", 4)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "input[type=checkbox]").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.press(&driver, &window, "[role=listitem]:nth-child(2) input").await;
    driver.until("document.querySelector('#allow').innerText === 'Trash 3 messages'").await;
    allow(&rig, &driver).await;
    let decided = rig.script.heard("hold.decide", 2).await;
    assert_eq!(decided[1]["objects"], json!(["m0", "m2", "m3"]));
    rig.no_window(ASKS).await;

    rig.script.hold(&[trash("h3", 5)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#keep").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.x(&["key", "Escape"]);
    let decided = rig.script.heard("hold.decide", 3).await;
    assert_eq!((&decided[2]["id"], &decided[2]["verdict"]), (&json!("h3"), &json!("deny")));
    rig.no_window(ASKS).await;
}

#[tokio::test]
async fn closing_the_window_denies_once() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[trash("h1", 12)]);
    let window = rig.window(ASKS).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    // What the title bar's cross does: the window manager asks the window to close.
    rig.x(&["windowactivate", "--sync", &window, "key", "alt+F4"]);
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!(decided[0]["verdict"], "deny");
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(rig.script.calls("hold.decide").len(), 1);
}

#[tokio::test]
async fn a_dead_web_process_denies() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[trash("h1", 12)]);
    rig.window(ASKS).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    for process in rig.web_processes() {
        kill(process, "-KILL");
    }
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!(decided[0]["verdict"], "deny");
}

#[tokio::test]
async fn a_dead_engine_is_started_again_and_nothing_is_allowed() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[trash("h1", 12)]);
    rig.window(ASKS).await;
    rig.script.hold(&[]);
    rig.script.hold(&[trash("h2", 12)]);
    rig.script.touch("die");
    rig.script.heard("hello", 2).await;
    assert!(rig.script.calls("hold.decide").iter().all(|decided| decided["verdict"] == "deny"));
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", "#notes").await;
    let notes = driver.text("main").await;
    assert!(notes.contains("The engine stopped") && notes.contains("told to die"), "{notes}");
}

#[tokio::test]
async fn a_deaf_engine_is_killed_by_panic_and_stopped_again_when_it_is_back() {
    let rig = Rig::running(Kind::default()).await;
    rig.script.heard("status", 1).await;
    rig.script.touch("deaf");
    rig.services.click("Panic").await;
    rig.script.heard("panic", 1).await;
    rig.script.heard("hello", 2).await;
    std::fs::remove_file(rig.script.folder().join("deaf")).unwrap();
    let panics = rig.script.heard("panic", 2).await.len();
    assert!(panics >= 2);
}

#[tokio::test]
async fn without_a_tray_host_the_window_opens_at_once() {
    let rig = Rig::running(Kind { tray_host: false, ..Kind::default() }).await;
    rig.window("Latchstring").await;
    let driver = rig.driver().await;
    driver.page("index.html", "#panic").await;
    driver.until("document.querySelector('main').innerText.includes('no tray icons')").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("main-no-tray");
}

#[tokio::test]
async fn a_notification_allows_only_what_is_small_and_can_be_put_back() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[destroy("h1", 3)]);
    let shown = rig.services.notifications(1).await;
    assert_eq!(shown[0].actions.iter().step_by(2).collect::<Vec<_>>(), ["review", "deny", "panic"]);
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.services.press(shown[0].id, "allow").await;
    rig.services.press(shown[0].id, "deny").await;
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!((&decided[0]["verdict"], &decided[0]["by"]), (&json!("deny"), &json!("notification")));
    rig.services.notifications(0).await;

    rig.script.hold(&[trash("h2", 12)]);
    let shown = rig.services.notifications(1).await;
    assert_eq!(shown[0].summary, "Trash 12 messages?");
    assert_eq!(shown[0].body, "Claude asks, on work. Undo moves them back out of the Trash.");
    assert_eq!(shown[0].actions.last().unwrap(), "Allow: trash 12 messages");
    assert_eq!(shown[0].actions[0], "review", "Allow is never first");
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.services.press(shown[0].id, "allow").await;
    let decided = rig.script.heard("hold.decide", 2).await;
    assert_eq!((&decided[1]["verdict"], &decided[1]["by"]), (&json!("allow"), &json!("notification")));
    rig.services.press(shown[0].id, "allow").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(rig.script.calls("hold.decide").len(), 2, "a late press does nothing");
}

#[tokio::test]
async fn a_window_that_does_not_paint_is_replaced_by_a_message_box() {
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
    rig.picture("message-box");
    let window = rig.window(ASKS).await;
    rig.x(&["windowactivate", "--sync", &window]);
    rig.x(&["key", "Return"]);
    let decided = rig.script.heard("hold.decide", 1).await;
    assert_eq!(decided[0]["verdict"], "deny", "Return is the default button");
}

pub(crate) fn freeze(rig: &Rig) {
    for process in rig.web_processes() {
        kill(process, "-STOP");
    }
}

fn kill(process: u32, signal: &str) {
    assert!(std::process::Command::new("kill").args([signal, &process.to_string()]).status().unwrap().success());
}
