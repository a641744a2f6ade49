//! Nothing scripted: the tray, the real engine, a real keyring, a mailbox played by others, and the person's hand.

use std::time::Duration;

use latch_tests::agent::Agent;
use latch_tests::emulator::{Emulator, Mail};
use latch_tests::paths;
use serde_json::json;

use crate::rig::{Driver, Kind, Rig};
use crate::{ASKS, allow};

#[tokio::test]
async fn the_incident_from_the_first_account_to_panic() {
    let mut rig = Rig::start(Kind::default()).await;
    rig.keyring().await;
    let gmail = Emulator::start(&Mail::box_of(30)).await;
    let latch = paths::latch();
    rig.launch(&[("LATCH_BIN", latch.to_str().unwrap())]);
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", ".first").await;

    page(&driver, "Accounts").await;
    fill(&driver, "Credential", "bearer").await;
    fill(&driver, "Name, used", "mail").await;
    fill(&driver, "Access token", &gmail.token).await;
    fill(&driver, "Other server", &gmail.url).await;
    press(&driver, "Add account").await;
    driver.until("document.querySelector('main').innerText.includes('used only for')").await;
    page(&driver, "Agents").await;
    fill(&driver, "Id", "claw").await;
    press(&driver, "Connect").await;
    driver.until("document.querySelector('#connected') !== null").await;
    let codes = "return [...document.querySelectorAll('section.warn code')].map(code => code.innerText);";
    let codes = driver.client.execute(codes, vec![]).await.unwrap();
    let (client, secret) = (codes[0].as_str().unwrap().to_owned(), codes[1].as_str().unwrap().to_owned());
    let door = codes[2].as_str().unwrap().split("/ACCOUNT").next().unwrap().to_owned();
    fill(&driver, "Agent", "claw").await;
    fill(&driver, "Account", "mail").await;
    driver.client.execute("document.querySelector('input[value=organize]').click();", vec![]).await.unwrap();
    press(&driver, "Allow").await;
    driver.until("document.querySelector('.said') !== null").await;
    rig.picture("whole-agent");

    let token = Agent::anonymous(&door).refreshed(&client, &secret).await;
    let agent = Agent::new(&format!("{door}/mail"), &token);
    let ids: Vec<String> = (1..=12).map(|n| format!("m{n:04}")).collect();
    let body = json!({"ids": ids, "addLabelIds": ["TRASH"]});
    let before = gmail.labels().await;
    let (answer, ()) = tokio::join!(agent.post("/gmail/v1/users/me/messages/batchModify", &body), async {
        rig.window(ASKS).await;
        driver.page("confirm.html", "#allow").await;
        driver.until("document.querySelectorAll('[role=listitem]').length === 12").await;
        let text = driver.text("[role=alertdialog]").await;
        assert!(text.contains("12 messages?") && text.contains("Mail number 7"), "{text}");
        assert_eq!(gmail.trashed().await, 0, "held");
        seen_enough(&driver).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        rig.picture("whole-confirm");
        allow(&rig, &driver).await;
    });
    assert!((200..300).contains(&answer.status), "{}", answer.text());
    assert_eq!(gmail.trashed().await, 12);
    rig.no_window(ASKS).await;

    rig.services.click("Put back").await;
    let started = std::time::Instant::now();
    while gmail.labels().await != before {
        assert!(started.elapsed() < Duration::from_secs(30), "undo restores every label");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }

    rig.services.click("Panic").await;
    driver.page("index.html", "#stopped").await;
    driver.until("document.querySelector('#stopped').innerText === 'Everything is stopped'").await;
    let answer = agent.get("/gmail/v1/users/me/messages").await.expect(403);
    assert_eq!(answer.json()["type"], "urn:latchstring:stopped");
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("whole-stopped");
}

/// Chooses "I've seen enough", once the swallowing is over and if there is more than fits.
pub async fn seen_enough(driver: &Driver) {
    tokio::time::sleep(Duration::from_millis(600)).await;
    let script = "[...document.querySelectorAll('button')].find(b => b.innerText.includes('seen enough'))?.click();";
    driver.client.execute(script, vec![]).await.unwrap();
}

pub async fn page(driver: &Driver, name: &str) {
    let script =
        "[...document.querySelectorAll('nav button')].find(b => b.innerText.startsWith(arguments[0])).click();";
    driver.client.execute(script, vec![name.into()]).await.unwrap();
    driver.until(&format!("document.querySelector('main h1')?.innerText === '{name}'")).await;
}

pub async fn press(driver: &Driver, name: &str) {
    let there = format!("[...document.querySelectorAll('main button')].some(b => b.innerText.trim() === {name:?})");
    driver.until(&there).await;
    let script =
        "[...document.querySelectorAll('main button')].find(b => b.innerText.trim() === arguments[0]).click();";
    driver.client.execute(script, vec![name.into()]).await.unwrap();
}

/// Fills the field whose label starts so, as typing or choosing does.
pub async fn fill(driver: &Driver, label: &str, value: &str) {
    let there =
        format!("[...document.querySelectorAll('main label')].some(l => l.innerText.trim().startsWith({label:?}))");
    driver.until(&there).await;
    let script = "const label = [...document.querySelectorAll('main label')].find(l => l.innerText.trim().startsWith(arguments[0])); \
                  const field = label.querySelector('input, select'); field.value = arguments[1]; \
                  field.dispatchEvent(new Event(field.tagName === 'SELECT' ? 'change' : 'input', {bubbles: true}));";
    driver.client.execute(script, vec![label.into(), value.into()]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
}
