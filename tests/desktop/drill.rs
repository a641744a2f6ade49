//! The first run's drill, whole: offered by the window, a runaway agent, real questions, Panic in the tray's menu, Undo, the end.

use std::time::{Duration, Instant};

use latch_tests::paths;

use crate::rig::{Driver, Kind, Rig};
use crate::{ASKS, allow};

#[tokio::test]
async fn from_the_first_start_to_every_message_back_in_its_place() {
    let mut rig = Rig::start(Kind::default()).await;
    let inspector = rig.more_inspector();
    let latch = paths::latch();
    let address = format!("127.0.0.1:{inspector}");
    rig.launch_with(
        &["--vault", "memory", "--http", "127.0.0.1:0"],
        &[("LATCH_BIN", latch.to_str().unwrap()), ("LATCHSTRING_DRILL_INSPECTOR", &address)],
    );
    let driver = rig.driver().await;
    rig.services.click("Open Latchstring").await;
    driver.page("index.html", ".first").await;
    rig.window("Latchstring").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("drill-offered");
    let started = Instant::now();
    let start = "[...document.querySelectorAll('button')].find(b => b.innerText === 'Start the drill').click();";
    driver.client.execute(start, vec![]).await.unwrap();

    let drill = rig.driver_at(inspector).await;
    drill.page("index.html", "#story").await;
    rig.window("Latchstring drill").await;
    drill.until("document.querySelector('#story').innerText.includes('I only look')").await;
    rig.picture("drill-begins");
    drill.accessible().await;
    // One by one is still one deletion: after its budget each is asked about.
    assert_eq!(question(&rig, &drill, "Trash 1 message?").await, "Trash 1 message");
    allow(&rig, &drill).await;
    question(&rig, &drill, "Trash 1 message?").await;
    rig.press(&drill, &rig.window(ASKS).await, "#keep").await;
    question(&rig, &drill, "Trash 120 messages?").await;
    rig.picture("drill-asks");
    drill.accessible().await;
    rig.services.click("Panic").await;
    drill.page("index.html", "#stopped").await;
    drill.until("document.querySelector('#stopped').innerText === 'Everything is stopped'").await;
    rig.no_window(ASKS).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    rig.picture("drill-stopped");
    drill.accessible().await;
    let undo = "[...document.querySelectorAll('button')].find(b => b.innerText.startsWith('Undo what')).click();";
    drill.client.execute(undo, vec![]).await.unwrap();
    let whole = "All 300 messages are where they were at the start";
    drill.until(&format!("document.querySelector('#story').innerText.includes('{whole}')")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    rig.picture("drill-undone");
    println!("the drill took {:?}", started.elapsed());
    let end = "[...document.querySelectorAll('button')].find(b => b.innerText === 'End the drill').click();";
    let _ = drill.client.execute(end, vec![]).await;
    rig.no_window("Latchstring drill").await;
    driver.page("index.html", "#panic").await;
    driver.until("document.querySelector('header [role=status]').innerText === 'Running'").await;
}

/// Waits for this question, brings it to the front, and returns what its Allow says.
async fn question(rig: &Rig, drill: &Driver, headline: &str) -> String {
    let started = Instant::now();
    loop {
        let window = rig.window(ASKS).await;
        drill.page("confirm.html", "#headline").await;
        if drill.text("#headline").await == headline {
            rig.x(&["windowactivate", "--sync", &window]);
            tokio::time::sleep(Duration::from_millis(600)).await;
            return drill.text("#allow").await;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "{headline} is not asked");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
