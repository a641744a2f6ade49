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
    driver.accessible().await;
    driver.client.execute("document.documentElement.style.fontSize = '28px';", vec![]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    for button in ["keep", "allow"] {
        let seen = format!("document.getElementById('{button}').getBoundingClientRect().bottom <= innerHeight");
        driver.until(&seen).await;
    }
    driver.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth").await;
    driver.until("document.querySelector('.scroller').clientHeight > 5 * 28").await;
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
    driver.accessible().await;
    rig.script.hold(&[]);
    rig.script.set(
        "ask.list",
        json!([{"id": "a1", "kind": "connect", "text": "openclaw wants to connect as “OpenClaw”.",
            "program": ["/usr/bin/node /opt/openclaw/cli.js", "/usr/bin/bash"], "expires_at": "2099-01-01T00:00:00Z"}]),
    );
    driver.page("confirm.html", ".chain").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("confirm-ask");
    driver.accessible().await;
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
        driver.accessible().await;
        driver.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth").await;
    }
    rig.script.set("account.list", json!([]));
    rig.script.touch("die");
    rig.script.heard("hello", 2).await;
    let overview = "document.querySelector('nav button').click();";
    driver.client.execute(overview, vec![]).await.unwrap();
    driver.until("document.querySelector('.first') !== null").await;
    rig.picture("main-first-start");
    driver.accessible().await;
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
    driver.accessible().await;
    rig.script.hold(&[destroy("h1", 4)]);
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    rig.x(&["windowactivate", "--sync", &window]);
    tokio::time::sleep(Duration::from_millis(2500)).await;
    rig.picture("dark-confirm");
    driver.accessible().await;
}

#[tokio::test]
async fn pictures_of_the_stopped_page_in_every_state() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    let account = |id: &str| {
        json!({"id": id, "provider": "gmail", "origin": "https://gmail.googleapis.com:443", "credential": "oauth2",
               "sign_out_page": "https://myaccount.google.com/connections"})
    };
    rig.script.set("account.list", json!([account("home"), account("work")]));
    rig.script.set(
        "account.sign_out",
        json!({
            "home": {"done": true, "state": "revoked", "text": "Signed out. Add the account again to use it."},
            "work": {"done": true, "state": "accepted", "text": "The provider took it and does not tell whether it is in \
                     force. Make sure on the provider's own page."},
        }),
    );
    rig.script.set(
        "outbox.list",
        json!([{"id": "o1", "agent": "claude", "account": "work", "subject": "The offer that you asked for",
                "recipients": ["bob@example.org"], "sends_at": "2099-01-01T00:00:00Z", "frozen": true}]),
    );
    rig.services.click("Panic").await;
    rig.window("Latchstring").await;
    driver.page("index.html", "#sign-out-all").await;
    driver.until("document.querySelector('#outbox') !== null").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    rig.picture("stopped-top");
    driver.client.execute("document.querySelector('#sign-out-all').click();", vec![]).await.unwrap();
    driver.until("document.querySelector('main').innerText.includes('Accepted, not confirmed')").await;
    assert_eq!(rig.script.heard("account.sign_out", 2).await, [json!({"id": "home"}), json!({"id": "work"})]);
    driver.client.execute("window.scrollTo(0, document.body.scrollHeight);", vec![]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    rig.picture("stopped-signed-out");
    driver.accessible().await;
    driver
        .client
        .execute("document.documentElement.style.fontSize = '28px'; window.scrollTo(0, 0);", vec![])
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    driver.until("document.documentElement.scrollWidth <= document.documentElement.clientWidth").await;
    rig.picture("stopped-200");
}

#[tokio::test]
async fn pictures_without_an_engine() {
    let mut rig = Rig::start(Kind::default()).await;
    rig.launch(&[("LATCH_BIN", "/nonexistent/latch")]);
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    rig.window("Latchstring").await;
    driver.page("index.html", "section.bad").await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    rig.picture("main-offline");
    driver.accessible().await;
}
