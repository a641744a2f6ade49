//! Rows of the list of attacks that need a desktop; named after their numbers.

use std::time::{Duration, Instant};

use latch_tests::ports::free_port;

use crate::ASKS;
use crate::rig::{Build, Kind, Rig};
use crate::script::{destroy, send, trash};

#[tokio::test]
async fn attack_01_forged_answers_change_nothing() {
    let mut rig = Rig::running(Kind::default()).await;
    rig.script.hold(&[trash("h1", 12)]);
    rig.services.notifications(1).await;
    rig.services.forge(1..=1000, &["allow", "deny", "panic", "review", "default"]).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(rig.script.calls("hold.decide").is_empty());
    assert!(rig.script.calls("panic").is_empty());
}

#[tokio::test]
async fn attack_02_a_daemon_that_presses_everything_allows_nothing_but_what_can_be_put_back() {
    for (number, hold) in [trash("small", 12), trash("many", 21), destroy("ever", 3), send("mail")].iter().enumerate() {
        let mut rig = Rig::running(Kind { daemon: "presses", ..Kind::default() }).await;
        rig.script.hold(std::slice::from_ref(hold));
        rig.script.heard("panic", 1).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        let allowed: Vec<_> =
            rig.script.calls("hold.decide").into_iter().filter(|decided| decided["verdict"] == "allow").collect();
        assert!(allowed.len() <= usize::from(number == 0), "{allowed:?}");
        assert!(allowed.iter().all(|decided| decided["by"] == "notification"), "{allowed:?}");
    }
}

#[tokio::test]
async fn attack_02_a_daemon_that_others_can_press_is_offered_no_allow() {
    let mut rig = Rig::running(Kind { daemon: "dunst", ..Kind::default() }).await;
    rig.script.hold(&[trash("h1", 12)]);
    let shown = rig.services.notifications(1).await;
    assert!(!shown[0].actions.contains(&"allow".to_owned()), "{shown:?}");
    rig.services.press(shown[0].id, "allow").await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(rig.script.calls("hold.decide").is_empty());
}

#[tokio::test]
async fn attack_03_random_input_executes_nothing_irreversible() {
    let mut rig = Rig::running(Kind::default()).await;
    let mut made = 1;
    rig.script.hold(&[destroy("h1", 214)]);
    let started = Instant::now();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let keys = ["Return", "space", "Tab", "y", "a", "1", "2", "4", "Down", "Page_Down", "alt+a", "shift+Tab"];
    while started.elapsed() < Duration::from_secs(15) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let (x, y) = ((random % 1280).to_string(), (random / 1280 % 900).to_string());
        let key = keys[(random / 7 % keys.len() as u64) as usize];
        rig.x(&["mousemove", &x, &y, "click", "1", "key", key]);
        if rig.script.calls("hold.decide").len() >= made {
            made += 1;
            rig.script.hold(&[destroy(&format!("h{made}"), 214)]);
        }
    }
    let allowed = rig.script.calls("hold.decide").iter().filter(|decided| decided["verdict"] == "allow").count();
    assert_eq!(allowed, 0);
}

#[tokio::test]
async fn attack_08_what_the_starter_brings_in_is_removed_and_reported() {
    let mut rig = Rig::start(Kind { build: Build::Plain, ..Kind::default() }).await;
    let inspector = format!("127.0.0.1:{}", free_port());
    let hostile =
        ["LD_PRELOAD", "GTK_MODULES", "WEBKIT_INSPECTOR_SERVER", "TAURI_WEBVIEW_AUTOMATION", "LD_LIBRARY_PATH"];
    let variables = [
        (hostile[4], "/nonexistent"),
        (hostile[0], "/nonexistent/evil.so"),
        (hostile[1], "evil"),
        (hostile[2], &inspector),
        (hostile[3], "true"),
    ];
    rig.launch_with(&["--vault", "memory", "--http", "127.0.0.1:0"], &variables);
    let started = Instant::now();
    rig.services.click("Open Latchstring").await;
    rig.window("Latchstring").await;
    let process = format!("/proc/{}", rig.pid());
    while rig.web_processes().is_empty() || !rig.children().contains(&"latch".to_owned()) {
        assert!(started.elapsed() < Duration::from_secs(30), "no web process or engine");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let environments = rig.environments();
    assert!(environments.len() >= 3, "the tray, the engine and a web process: {environments:?}");
    for (pid, environment) in environments {
        for name in hostile {
            assert!(!environment.split('\0').any(|one| one.starts_with(&format!("{name}="))), "{name} in {pid}");
        }
    }
    assert!(std::net::TcpStream::connect(inspector).is_err(), "nobody listens for an inspector");
    let owner = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata(format!("{process}/mem")).unwrap());
    assert_eq!(owner, 0, "not dumpable: its memory belongs to root");
    tokio::time::sleep(Duration::from_secs(1)).await;
    rig.picture("main-environment");
}

#[tokio::test]
async fn attack_31_what_hides_or_reorders_is_shown() {
    let mut rig = Rig::running(Kind::default()).await;
    let driver = rig.driver().await;
    rig.script.hold(&[send("h1")]);
    rig.window(ASKS).await;
    driver.page("confirm.html", "#allow").await;
    let text = driver.text("[role=alertdialog]").await;
    for shown in
        ["Invoice ‹U+202E›fdp.exe ‹U+200B›attached", "billing@xn--pypal-4ve.com", "<b>please</b>", "first time"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    assert_eq!(driver.count("dl b").await, 0, "markup stays text");
    tokio::time::sleep(Duration::from_millis(800)).await;
    rig.picture("confirm-send");
}

#[test]
fn without_a_screen_it_says_what_to_do() {
    let program = crate::rig::present("LATCHSTRING_E2E_BIN", "target/programs/tests/latchstring");
    let out = std::process::Command::new(program).env_clear().output().unwrap();
    assert_eq!(out.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&out.stderr).contains("latch serve"), "{out:?}");
}
