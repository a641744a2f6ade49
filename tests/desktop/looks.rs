//! Every window and state, as a picture to be looked at.

use std::time::Duration;

use serde_json::json;

use crate::ASKS;
use crate::rig::{Kind, Rig};
use crate::script::{agent, destroy, trash};

#[tokio::test]
async fn ten_thousand_rows_wait_for_a_look_at_all_of_them() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    rig.script.hold(&[trash("h1", 10_000)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.picture("confirm-10000");
    let rows = driver.count("[role=listitem]").await;
    assert!((50..1000).contains(&rows), "{rows} rows are drawn");
    assert_eq!(driver.count("#allow:disabled").await, 1, "the list was not seen");
    let scroll = "const s = document.querySelector('.scroller'); s.scrollTop = s.scrollHeight;";
    for _ in 0..5 {
        driver.client.execute(scroll, vec![]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    driver.until("!document.querySelector('#allow').disabled").await;
    let last = "document.querySelector('[aria-posinset=\"10000\"]') !== null";
    driver.until(last).await;
    let sideways = "document.documentElement.scrollWidth <= document.documentElement.clientWidth";
    driver.until(sideways).await;
    rig.picture("confirm-10000-end");
}

#[tokio::test]
async fn pictures_of_the_confirm_window() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    rig.script.hold(&[trash("h1", 12)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.picture("confirm-trash-unfocused");
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(1500)).await;
    rig.picture("confirm-trash");
    driver.client.execute("document.documentElement.style.fontSize = '28px';", vec![]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for button in ["keep", "allow"] {
        let seen = format!("document.getElementById('{button}').getBoundingClientRect().bottom <= innerHeight");
        driver.until(&seen).await;
    }
    driver.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth").await;
    rig.picture("confirm-trash-200");
    driver
        .client
        .execute("document.documentElement.style.fontSize = ''; document.documentElement.dir = 'rtl';", vec![])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.picture("confirm-trash-rtl");
    rig.script.hold(&[destroy("h2", 214)]);
    driver.page("confirm.html", "#retype").await;
    let window = rig.window(ASKS).await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.picture("confirm-destroy");
    rig.script.hold(&[]);
    rig.script.set(
        "ask.list",
        json!([{"id": "a1", "kind": "connect", "text": "openclaw wants to connect as “OpenClaw”.",
            "program": ["/usr/bin/node /opt/openclaw/cli.js", "/usr/bin/bash"], "expires_at": "2099-01-01T00:00:00Z"}]),
    );
    driver.page("confirm.html", ".chain").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("confirm-ask");
}

#[tokio::test]
async fn pictures_of_the_main_window() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    let mut paused = agent("openclaw", "OpenClaw");
    paused.paused_until = Some("2099-01-01T00:00:00Z".to_owned());
    rig.script.set("agent.list", json!([agent("claude", "Claude"), paused]));
    let proposal = latch_ipc::view::HoldView { state: latch_ipc::view::HoldState::Proposal, ..trash("h2", 40) };
    rig.script.hold(&[proposal]);
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", "#agents").await;
    rig.window("Latchstring").await;
    for page in ["Overview", "Agents", "Accounts", "Activity", "Settings"] {
        let script =
            "[...document.querySelectorAll('nav button')].find(b => b.innerText.startsWith(arguments[0])).click();";
        driver.client.execute(script, vec![page.into()]).await.unwrap();
        tokio::time::sleep(Duration::from_millis(400)).await;
        rig.picture(&format!("main-{}", page.to_lowercase()));
        driver.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth").await;
    }
    rig.script.set("account.list", json!([]));
    rig.script.touch("die");
    rig.script.heard("hello", 2).await;
    let overview = "document.querySelector('nav button').click();";
    driver.client.execute(overview, vec![]).await.unwrap();
    driver.until("document.querySelector('.first') !== null").await;
    rig.picture("main-first-start");
}

#[tokio::test]
async fn pictures_in_the_dark() {
    let mut rig = Rig::start(Kind::default()).await;
    rig.launch(&[("GTK_THEME", "Adwaita:dark")]);
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", "#agents").await;
    driver.until("matchMedia('(prefers-color-scheme: dark)').matches").await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    rig.picture("dark-main");
    rig.script.hold(&[destroy("h1", 4)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.picture("dark-confirm");
}
