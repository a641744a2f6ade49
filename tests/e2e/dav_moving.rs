//! MOVE of whole calendars and address books, on a real Xandikos, and on a Radicale that does not do it.

use std::collections::BTreeMap;

use latch_ipc::contract::{
    Empty, GrantPut, GrantPutParams, HoldList, JournalTail, JournalTailParams, QuarantineList, SettingsSet, UndoList,
    UndoListParams, UndoResult, UndoRun, UndoRunParams,
};
use latch_ipc::view::{Class, HoldView, Reversible};
use latch_tests::Answer;
use latch_tests::diary::{ACCOUNT, CalendarServer, Diary};
use latch_tests::radicale::{Dav, contact, event};
use latch_tests::scene::AGENT;
use latch_tests::xandikos::{FRIENDS, WORK, Xandikos};
use serde_json::json;
use tokio::task::JoinHandle;

const MOVED: &str = "/erin/calendars/moved/";

fn moves(agent: &Dav, from: &str, to: &str) -> JoinHandle<Answer> {
    let (agent, from, to) = (agent.clone(), from.to_owned(), format!("/{ACCOUNT}{to}"));
    tokio::spawn(async move { agent.dav("MOVE", &from, &[("destination", &to)], "").await })
}

/// Has the agent ask for it, and allows it.
async fn moved(diary: &Diary<Xandikos>, agent: &Dav, from: &str, to: &str) {
    let asked = moves(agent, from, to);
    let hold = diary.engine.hold().await;
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
}

fn fact<'h>(hold: &'h HoldView, label: &str) -> &'h str {
    hold.facts.iter().find(|fact| fact.label == label).map_or("", |fact| fact.value.as_str())
}

async fn undo_latest<S>(diary: &Diary<S>) -> UndoResult {
    let entries = diary.engine.call(UndoList, UndoListParams::default()).await;
    let entry = entries.into_iter().find(|entry| !entry.undone).expect("something to undo").entry;
    diary.engine.call(UndoRun, UndoRunParams::Entry { entry }).await
}

/// What a program gets to see of the events of a calendar.
async fn bodies(person: &Dav, calendar: &str, events: usize) -> Vec<String> {
    let mut texts = Vec::new();
    for number in 1..=events {
        texts.push(person.get(&format!("{calendar}e{number}.ics")).await.expect(200).text());
    }
    texts
}

#[tokio::test]
async fn a_whole_calendar_is_one_question_with_every_title_and_comes_back_byte_by_byte() {
    let diary = Diary::movable(12, "organize").await;
    let (agent, person) = (diary.agent().await, diary.person());
    let (before, texts) = (diary.server.stored(), bodies(&person, WORK, 12).await);
    let asked = moves(&agent, WORK, MOVED);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 12, "Move a calendar of"));
    assert_eq!((hold.keep.as_str(), hold.partial, hold.reversible), ("Leave them", false, Reversible::Yes));
    let facts = ["Calendar", "From", "To"].map(|label| fact(&hold, label));
    assert_eq!(facts, ["Work & more", WORK, MOVED]);
    let mut titles: Vec<&str> = hold.objects.iter().map(|object| object.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!((titles.len(), titles[0], titles[11]), (12, "Meeting 1", "Meeting 9"));
    assert!(hold.undo_text.contains("back to its address as a whole"), "{}", hold.undo_text);
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!((diary.server.stored(), diary.server.heard("MOVE")), (before.clone(), 0));
    // Asked otherwise, it is another question: a denial is repeated for the same one only.
    let to = "/erin/calendars/elsewhere/";
    moved(&diary, &agent, WORK, to).await;
    assert_eq!(bodies(&person, to, 12).await, texts);
    person.get(&format!("{WORK}e1.ics")).await.expect(404);
    assert!(agent.propfind(to, "1").await.expect(207).text().contains("/cal/erin/calendars/elsewhere/e12.ics"));
    let listed = diary.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!((listed[0].count, listed[0].text.as_str()), (12, "Moved a calendar of 12 events"));
    let limits = listed[0].limits.clone().unwrap_or_default();
    assert!(limits.contains("nothing came in") && limits.contains("access"), "{limits}");
    assert!(diary.engine.call(QuarantineList, Empty {}).await.entries.is_empty(), "nothing was destroyed");
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (13, 0), "{undone:?}");
    assert!(!undone.notes.iter().any(|note| note.contains("new versions")), "{undone:?}");
    assert_eq!((diary.server.stored(), bodies(&person, WORK, 12).await), (before, texts));
    assert!(diary.engine.call(UndoList, UndoListParams::default()).await[0].undone);
}

#[tokio::test]
async fn an_address_book_and_an_empty_calendar_are_asked_too() {
    let diary = Diary::movable(0, "organize").await;
    let (agent, before) = (diary.agent().await, diary.server.stored());
    let asked = moves(&agent, FRIENDS.trim_end_matches('/'), "/erin/contacts/people");
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 3, "Move an address book of"));
    assert!(hold.objects.iter().any(|object| object.title == "Friend 2"), "{hold:?}");
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
    assert_eq!(diary.person().get("/erin/contacts/people/c3.vcf").await.expect(200).text(), contact(3));
    let asked = moves(&agent, WORK, MOVED);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 1, "Move"));
    assert_eq!((hold.objects[0].title.as_str(), hold.noun[0].as_str()), ("Work & more", "calendar"));
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
    assert_eq!(undo_latest(&diary).await.restored, 1);
    assert_eq!(undo_latest(&diary).await.restored, 4);
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn where_it_can_not_go_it_is_refused_unasked() {
    let diary = Diary::movable(2, "organize").await;
    let (agent, before) = (diary.agent().await, diary.server.stored());
    let taken = "/cal/erin/calendars/calendar/";
    for (headers, status, why) in [
        (vec![("destination", taken)], 403, "replaces nothing"),
        (vec![("destination", taken), ("overwrite", "F")], 412, "Overwrite: F"),
        (vec![("destination", "/cal/erin/calendars/calendar")], 403, "replaces nothing"),
        (vec![("destination", "/cal/erin/calendars/work")], 403, "itself"),
        (vec![("destination", "/cal/erin/calendars/work/inner/")], 403, "inside"),
        (vec![("destination", "/cal/erin/calendars/")], 403, "around"),
        (vec![("destination", "/cal/erin/calendars/calendar/inner/")], 409, "collection of such"),
        (vec![("destination", "/cal/erin/nowhere/moved/")], 409, "collection of such"),
        (vec![("destination", "/erin/calendars/moved/")], 403, "not below this account"),
        (vec![("destination", "http://evil.example/cal/erin/calendars/moved/")], 403, "not below this account"),
        (vec![("destination", "/cal/erin/calendars/../moved/")], 400, "more than one way"),
        (vec![("destination", "/cal/erin/calendars/moved/"), ("depth", "1")], 400, "Depth is infinity"),
        (vec![("destination", "/cal/erin/calendars/moved/"), ("if-match", "\"x\"")], 412, "another version"),
        (vec![], 400, "Destination header"),
    ] {
        let answer = agent.dav("MOVE", WORK, &headers, "").await;
        assert_eq!(answer.status, status, "{headers:?}: {}", answer.text());
        assert!(answer.text().contains(why), "{headers:?}: {}", answer.text());
    }
    agent.dav("COPY", WORK, &[("destination", "/cal/erin/calendars/moved/")], "").await.expect(403);
    assert!(diary.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!((diary.server.stored(), diary.server.heard("MOVE")), (before, 0));
}

#[tokio::test]
async fn who_may_only_read_moves_nothing_and_has_nothing_read() {
    let diary = Diary::movable(2, "read-only").await;
    let before = diary.server.stored();
    let reads = diary.server.heard("GET");
    diary.agent().await.dav("MOVE", WORK, &[("destination", "/cal/erin/calendars/moved/")], "").await.expect(403);
    assert_eq!((diary.server.heard("GET"), diary.server.heard("MOVE")), (reads, 0));
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn what_changed_between_question_and_answer_stays_where_it_is() {
    let diary = Diary::movable(2, "organize").await;
    let (agent, person) = (diary.agent().await, diary.person());
    for (number, (path, text)) in [
        (format!("{WORK}e1.ics"), event(1, "Changed", &[])),
        (format!("{WORK}new.ics"), event(20, "New", &[])),
        ("/erin/calendars/moved-2/mine.ics".to_owned(), event(21, "Mine", &[])),
    ]
    .into_iter()
    .enumerate()
    {
        let to = format!("/erin/calendars/moved-{number}/");
        let asked = moves(&agent, WORK, &to);
        let hold = diary.engine.hold().await;
        if path.contains("moved") {
            person.dav("MKCALENDAR", &to, &[], "").await.expect(201);
        }
        person.put(&path, &text).await;
        let stored = diary.server.stored();
        diary.engine.allow(&hold).await;
        let answer = asked.await.unwrap().expect(412);
        let said = answer.text();
        assert!(said.contains("Nothing was done") && said.contains("not a denial"), "{said}");
        assert_eq!(diary.server.stored(), stored, "{path}");
    }
    assert_eq!(diary.server.heard("MOVE"), 0);
    assert!(diary.engine.call(UndoList, UndoListParams::default()).await.is_empty());
}

#[tokio::test]
async fn undo_tells_what_is_different_leaves_it_and_can_be_tried_again() {
    let diary = Diary::movable(3, "organize").await;
    let (agent, person, before) = (diary.agent().await, diary.person(), diary.server.stored());
    moved(&diary, &agent, WORK, MOVED).await;
    let stays = async |said: &str| {
        let (stored, moves) = (diary.server.stored(), diary.server.heard("MOVE"));
        let undone = undo_latest(&diary).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
        assert!(undone.not_restored[0].why.contains(said), "{said}: {undone:?}");
        assert_eq!((diary.server.stored(), diary.server.heard("MOVE")), (stored, moves), "{said}");
    };
    let mine = format!("{MOVED}mine.ics");
    person.put(&mine, &event(30, "Mine", &[])).await.expect(201);
    stays("1 came in (mine.ics)").await;
    person.delete(&mine).await;
    let second = format!("{MOVED}e2.ics");
    let text = person.get(&second).await.text();
    person.put(&second, &event(2, "Changed", &[])).await;
    stays("1 with another version (e2.ics)").await;
    person.delete(&second).await;
    stays("1 went (e2.ics)").await;
    person.put(&second, &text).await;
    person.dav("MKCALENDAR", WORK, &[], "").await.expect(201);
    stays("something is at its old address, too").await;
    person.delete(WORK).await;
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (4, 0), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
    // Gone meanwhile: there is nothing to move, and nothing is made.
    moved(&diary, &agent, WORK, "/erin/calendars/away/").await;
    person.delete("/erin/calendars/away/").await;
    stays("not there any more").await;
}

#[tokio::test]
async fn all_that_moved_counts_on_the_budget_of_changes() {
    let diary = Diary::movable(8, "organize").await;
    let budgets = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("modify".to_owned(), [9, 100])].into()),
        expires_in: None,
    };
    diary.engine.call(GrantPut, budgets).await;
    diary.engine.call(SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let agent = diary.agent().await;
    let asked = moves(&agent, WORK, MOVED);
    let hold = diary.engine.hold().await;
    diary.engine.allow(&hold).await;
    let _ = asked.await.unwrap();
    agent.put(&format!("{MOVED}n1.ics"), &event(21, "New", &[])).await.expect(201);
    agent.put(&format!("{MOVED}n2.ics"), &event(22, "New", &[])).await.expect(429);
}

#[tokio::test]
async fn guests_are_named() {
    let diary = Diary::movable(1, "assistant").await;
    let (agent, person) = (diary.agent().await, diary.person());
    person.put(&format!("{WORK}e9.ics"), &event(9, "Talk", &["bob@example.org"])).await.expect(201);
    let asked = moves(&agent, WORK, MOVED);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Destroy, 2));
    assert!(fact(&hold, "The server may tell").contains("bob@example.org"), "{hold:#?}");
    assert!(hold.undo_text.contains("can't be called back"), "{}", hold.undo_text);
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn a_server_that_moves_no_collections_is_believed() {
    let diary = Diary::new(3, "organize").await;
    let before: BTreeMap<String, String> = diary.server.stored();
    let agent = diary.agent().await;
    let asked = moves(&agent, latch_tests::radicale::WORK, "/erin/moved/");
    let hold = diary.engine.hold().await;
    assert_eq!((hold.count, fact(&hold, "To")), (3, "/erin/moved/"));
    diary.engine.allow(&hold).await;
    let answer = asked.await.unwrap().expect(405);
    assert!(!answer.text().contains("moved"), "{}", answer.text());
    assert_eq!(diary.server.stored(), before);
    assert!(diary.engine.call(UndoList, UndoListParams::default()).await.is_empty());
    assert!(diary.engine.call(QuarantineList, Empty {}).await.entries.is_empty());
    let records = diary.engine.call(JournalTail, JournalTailParams::default()).await;
    assert!(records.iter().any(|record| format!("{record:?}").contains("the server answered 405")), "{records:?}");
}

#[tokio::test]
async fn what_was_changed_before_can_be_put_back_once_the_calendar_is_at_home() {
    let diary = Diary::movable(2, "organize").await;
    let (agent, person) = (diary.agent().await, diary.person());
    let before = bodies(&person, WORK, 2).await;
    agent.put(&format!("{WORK}e1.ics"), &event(1, "Changed", &[])).await.expect(204);
    moved(&diary, &agent, WORK, MOVED).await;
    let own = format!("{MOVED}own.ics");
    person.put(&own, &event(9, "Mine", &[])).await.expect(201);
    let all = UndoRunParams::Agent { agent: AGENT.to_owned(), since: "1h".to_owned() };
    let undone = diary.engine.call(UndoRun, all.clone()).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 2), "{undone:?}");
    person.delete(&own).await;
    let undone = diary.engine.call(UndoRun, all).await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(bodies(&person, WORK, 2).await, before);
}
