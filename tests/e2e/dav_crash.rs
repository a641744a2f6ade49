//! ATTACKS 35 for calendars: kill -9 while something is changed, deleted, or a whole calendar goes. It is done at most once, and what went can come back.

use std::collections::BTreeMap;
use std::time::Duration;

use latch_ipc::contract::{
    Empty, HoldList, JournalVerify, QuarantineList, StatusCall, UndoList, UndoListParams, UndoResult, UndoRun,
    UndoRunParams, Verdict,
};
use latch_tests::diary::{CalendarServer, Diary};
use latch_tests::engine::{Start, decision};
use latch_tests::radicale::{WORK, event};
use latch_tests::xandikos;

/// Each point, whether the server had heard of it when the engine died there, and whether nobody knows what became of it.
const POINTS: [(&str, bool, bool); 7] = [
    ("before-intent", false, false),
    ("in-transaction", false, false),
    ("after-commit", false, true),
    ("after-intent", false, true),
    ("before-outcome", true, true),
    ("in-transaction:2", true, true),
    ("after-commit:2", true, false),
];

async fn undo_latest<S: CalendarServer>(diary: &Diary<S>) -> Option<UndoResult> {
    let entries = diary.engine.call(UndoList, UndoListParams::default()).await;
    let entry = entries.into_iter().find(|entry| !entry.undone)?.entry;
    Some(diary.engine.call(UndoRun, UndoRunParams::Entry { entry }).await)
}

/// Has the agent ask for it, allows it if it is asked about, and waits for the engine's death.
async fn killed<S: CalendarServer>(diary: &mut Diary<S>, point: &str, method: &'static str, path: &str, text: &str) {
    let home = diary.home.path().to_owned();
    diary.restart_as(Start::at(&home).failing(point)).await;
    let agent = diary.agent().await;
    let (path, text) = (path.to_owned(), text.to_owned());
    // Its answer is cut off with the engine.
    let asked = tokio::spawn(async move {
        match method {
            "PUT" => agent.put(&path, &text).await,
            "MOVE" => agent.dav("MOVE", &path, &[("destination", &text)], "").await,
            _ => agent.delete(&path).await,
        }
    });
    if method != "PUT" {
        let hold = diary.engine.hold().await;
        let _ = diary.engine.decide(decision(&hold, Verdict::Allow)).await;
    }
    diary.engine.ended().await;
    asked.abort();
    diary.engine = Start::at(&home).start().await;
}

async fn found_again<S: CalendarServer>(diary: &Diary<S>, point: &str, unknown: bool) -> BTreeMap<String, String> {
    let at_death = diary.server.stored();
    assert!(!diary.engine.welcome.panicked, "{point}: a crash is not a panic");
    assert!(diary.engine.call(JournalVerify, Empty {}).await.ok, "{point}");
    let warnings = diary.engine.call(StatusCall, Empty {}).await.warnings;
    assert_eq!(warnings.iter().any(|warning| warning.contains("unknown")), unknown, "{point}: {warnings:?}");
    assert!(diary.engine.call(HoldList, Empty {}).await.is_empty(), "{point}: an Allow lives on");
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert_eq!(diary.server.stored(), at_death, "{point}: nothing is repeated by itself");
    at_death
}

#[tokio::test]
async fn attack_35_an_event_that_is_changed() {
    for (number, (point, heard, unknown)) in POINTS.into_iter().enumerate() {
        let mut diary = Diary::lasting(2, "organize").await;
        let before = diary.server.stored();
        killed(&mut diary, point, "PUT", "/erin/work/e1.ics", &event(1, &format!("Changed {number}"), &[])).await;
        let at_death = found_again(&diary, point, unknown).await;
        assert_eq!(at_death != before, heard, "{point}");
        match undo_latest(&diary).await {
            Some(undone) if undone.not_restored.is_empty() => assert_eq!(diary.server.stored(), before, "{point}"),
            // What it left is not known for certain: it is said, and left alone.
            _ => assert_eq!(diary.server.stored(), at_death, "{point}"),
        }
    }
}

#[tokio::test]
async fn attack_35_an_event_that_is_deleted_comes_back() {
    for (point, heard, unknown) in POINTS {
        let mut diary = Diary::lasting(2, "organize").await;
        let before = diary.server.stored();
        killed(&mut diary, point, "DELETE", "/erin/work/e1.ics", "").await;
        let at_death = found_again(&diary, point, unknown).await;
        assert_eq!(at_death.contains_key("erin/work/e1.ics"), !heard, "{point}");
        undo_latest(&diary).await;
        assert_eq!(diary.server.stored(), before, "{point}");
    }
}

#[tokio::test]
async fn attack_35_a_whole_calendar_that_is_deleted_comes_back() {
    for (point, heard, unknown) in POINTS {
        let mut diary = Diary::lasting(4, "organize").await;
        let events = |stored: BTreeMap<String, String>| -> BTreeMap<String, String> {
            stored.into_iter().filter(|(path, _)| path.ends_with(".ics")).collect()
        };
        let before = events(diary.server.stored());
        killed(&mut diary, point, "DELETE", WORK, "").await;
        let at_death = events(found_again(&diary, point, unknown).await);
        assert_eq!(at_death.is_empty(), heard, "{point}");
        undo_latest(&diary).await;
        assert_eq!(events(diary.server.stored()), before, "{point}");
    }
}

#[tokio::test]
async fn attack_35_a_whole_calendar_that_is_moved_comes_back() {
    for (point, heard, unknown) in POINTS {
        let mut diary = Diary::movable_and_lasting(4, "organize").await;
        let before = diary.server.stored();
        killed(&mut diary, point, "MOVE", xandikos::WORK, "/cal/erin/calendars/moved/").await;
        let at_death = found_again(&diary, point, unknown).await;
        assert_eq!(diary.server.heard("MOVE"), usize::from(heard), "{point}");
        assert_eq!(at_death == before, !heard, "{point}");
        let undone = undo_latest(&diary).await;
        assert_eq!(diary.server.stored(), before, "{point}: {undone:?}");
    }
}

#[tokio::test]
async fn what_panic_stops_before_it_leaves_keeps_no_copy_and_is_nothing_to_undo() {
    let mut diary = Diary::lasting(2, "organize").await;
    let before = diary.server.stored();
    let home = diary.home.path().to_owned();
    diary.restart_as(Start::at(&home).failing("panic-after-intent")).await;
    let agent = diary.agent().await;
    let asked = tokio::spawn(async move { agent.delete("/erin/work/e1.ics").await });
    let hold = diary.engine.hold().await;
    diary.engine.decide(decision(&hold, Verdict::Allow)).await.expect("allowed");
    assert_ne!(asked.await.expect("an answer").status, 204);
    crate::classes::wait_until(|| async { diary.engine.call(StatusCall, Empty {}).await.panicked }).await;
    crate::classes::wait_until(|| async { diary.engine.call(QuarantineList, Empty {}).await.items == 0 }).await;
    crate::classes::wait_until(|| async { diary.engine.call(UndoList, UndoListParams::default()).await.is_empty() })
        .await;
    assert_eq!(diary.server.stored(), before);
}
