//! Calendars and contacts: what is read, held, changed and put back on a real Radicale.

use latch_ipc::contract::{
    Empty, GrantPut, GrantPutParams, HoldList, PanicCall, Resume, SettingsSet, UndoList, UndoListParams, UndoRun,
    UndoRunParams, Verdict,
};
use latch_ipc::rpc::ErrorCode;
use latch_ipc::view::{Class, HoldState, HoldView, Reversible};
use latch_tests::Answer;
use latch_tests::copied::Copied;
use latch_tests::engine::decision;
use latch_tests::radicale::{Dav, Diary, FRIENDS, PASSWORD, WORK, contact, event};
use latch_tests::scene::AGENT;
use serde_json::json;
use tokio::task::JoinHandle;

fn asks(
    agent: &Dav,
    method: &'static str,
    path: &str,
    headers: &[(&'static str, &str)],
    body: &str,
) -> JoinHandle<Answer> {
    let (agent, path, body) = (agent.clone(), path.to_owned(), body.to_owned());
    let headers: Vec<(&'static str, String)> =
        headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    tokio::spawn(async move {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        agent.dav(method, &path, &headers, &body).await
    })
}

const ICS: (&str, &str) = ("content-type", "text/calendar; charset=utf-8");

fn fact<'h>(hold: &'h HoldView, label: &str) -> &'h str {
    hold.facts.iter().find(|fact| fact.label == label).map_or("", |fact| fact.value.as_str())
}

async fn undo_latest(diary: &Diary) -> latch_ipc::contract::UndoResult {
    let entries = diary.engine.call(UndoList, UndoListParams::default()).await;
    let entry = entries.into_iter().find(|entry| !entry.undone).expect("something to undo").entry;
    diary.engine.call(UndoRun, UndoRunParams::Entry { entry }).await
}

#[tokio::test]
async fn reading_stays_below_the_account_and_shows_no_credential() {
    let diary = Diary::new(3, "read-only").await;
    let agent = diary.agent().await;
    let listed = agent.propfind(WORK, "1").await.expect(207);
    let text = listed.text();
    for href in
        ["<href>/cal/erin/work/</href>", "/cal/erin/work/e1.ics", "/cal/erin/work/e3.ics", "<href>/cal/erin/</href>"]
    {
        assert!(text.contains(href), "{href}: {text}");
    }
    assert!(!text.contains(">/erin/"), "{text}");
    let one = agent.get("/erin/work/e2.ics").await.expect(200);
    assert!(one.text().contains("SUMMARY:Meeting 2"), "{}", one.text());
    let asked = "<C:calendar-multiget xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><prop><getetag/><C:calendar-data/></prop>\
                 <href>/cal/erin/work/e1.ics</href><href>/cal/erin/work/e2.ics</href></C:calendar-multiget>";
    let many = agent.dav("REPORT", WORK, &[("depth", "1")], asked).await.expect(207).text();
    assert!(many.contains("SUMMARY:Meeting 1") && many.contains("SUMMARY:Meeting 2"), "{many}");
    let options = agent.dav("OPTIONS", "/erin/", &[], "").await.expect(200);
    assert!(options.header("dav").contains("calendar-access") && !options.header("dav").contains("2,"), "{options:?}");
    assert!(!options.header("allow").contains("LOCK"), "{options:?}");
    for answer in [&listed, &one, &options] {
        let all = format!("{:?}{}", answer.headers, answer.text());
        assert!(!all.contains(PASSWORD) && !all.contains("ZXJpbjpjYW5hcnk"), "{all}");
    }
    assert!(!diary.engine.log().contains(PASSWORD));
    // Nothing may be changed under this preset.
    agent.put("/erin/work/new.ics", &event(9, "New", &[])).await.expect(403);
    agent.delete("/erin/work/e1.ics").await.expect(403);
}

#[tokio::test]
async fn a_token_fits_its_account_as_user_name_only() {
    let diary = Diary::new(1, "read-only").await;
    let agent = diary.agent().await;
    agent.propfind("/erin/", "0").await.expect(207);
    let base = format!("{}/cal", diary.engine.door());
    for (user, token) in [("erin", PASSWORD), ("cal", PASSWORD), ("mail", "x"), ("cal", "")] {
        let answer = Dav::new(&base, user, token).propfind("/erin/", "0").await.expect(401);
        let challenges: Vec<_> = answer.headers.get_all("www-authenticate").iter().collect();
        assert!(challenges.iter().any(|one| one.as_bytes().starts_with(b"Basic ")), "{challenges:?}");
    }
}

#[tokio::test]
async fn creating_and_changing_count_and_beyond_that_are_asked() {
    let diary = Diary::new(2, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let new = event(7, "Lunch", &[]);
    let created = agent.put("/erin/work/e7.ics", &new).await.expect(201);
    assert!(!created.header("etag").is_empty());
    // The agent's own conditions are kept.
    agent.dav("PUT", "/erin/work/e7.ics", &[ICS, ("if-none-match", "*")], &new).await.expect(412);
    agent.dav("PUT", "/erin/work/e7.ics", &[ICS, ("if-match", "\"old\"")], &new).await.expect(412);
    let changed = agent.put("/erin/work/e7.ics", &new.replace("Lunch", "Dinner")).await;
    assert!(matches!(changed.status, 201 | 204), "{}", changed.text());
    assert!(diary.server.stored()["erin/work/e7.ics"].contains("Dinner"));
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert!(agent.get("/erin/work/e7.ics").await.expect(200).text().contains("SUMMARY:Lunch 7"));
    undo_latest(&diary).await;
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn what_is_changed_is_shown_before_and_after() {
    let diary = Diary::new(2, "ask-everything").await;
    let agent = diary.agent().await;
    let text = event(1, "Meeting", &[])
        .replace("SUMMARY:Meeting 1", "SUMMARY:Party\\, big\r\nLOCATION:Roof\r\nRRULE:FREQ=DAILY");
    let asked = asks(&agent, "PUT", "/erin/work/e1.ics", &[ICS], &text);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Modify, 1, "Change"));
    assert_eq!((fact(&hold, "Title before"), fact(&hold, "Title after")), ("Meeting 1", "Party, big"));
    assert_eq!((fact(&hold, "Where before"), fact(&hold, "Where after")), ("(nothing)", "Roof"));
    assert_eq!(fact(&hold, "Repeats after"), "FREQ=DAILY");
    assert_eq!(fact(&hold, "Fields that change"), "LOCATION, RRULE, SUMMARY");
    assert_eq!(hold.objects[0].title, "Meeting 1");
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert!(agent.get("/erin/work/e1.ics").await.text().contains("SUMMARY:Meeting 1"));
}

#[tokio::test]
async fn a_deletion_is_always_asked_and_undo_restores_it_byte_by_byte() {
    let diary = Diary::new(3, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let asked = asks(&agent, "DELETE", "/erin/work/e2.ics", &[], "");
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 1, "Delete"));
    assert_eq!(
        (hold.objects[0].title.as_str(), hold.objects[0].date.as_deref()),
        ("Meeting 2", Some("2026-03-03T09:00:00Z"))
    );
    assert_eq!(hold.reversible, Reversible::Yes);
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!(diary.server.stored(), before);
    let asked = asks(&agent, "DELETE", &format!("{FRIENDS}c1.vcf"), &[], "");
    let hold = diary.engine.hold().await;
    assert_eq!((hold.objects[0].title.as_str(), hold.noun[0].as_str()), ("Friend 1", "contact"));
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(200);
    assert_eq!(diary.server.stored().len(), before.len() - 1);
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn a_whole_calendar_is_one_question_with_every_title_and_comes_back() {
    let diary = Diary::new(12, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let asked = asks(&agent, "DELETE", WORK, &[], "");
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 12, "Delete a calendar of"));
    assert_eq!(fact(&hold, "Calendar"), "Work & more");
    let mut titles: Vec<&str> = hold.objects.iter().map(|object| object.title.as_str()).collect();
    titles.sort_unstable();
    assert_eq!((titles.len(), titles[0], titles[11]), (12, "Meeting 1", "Meeting 9"));
    // It can be allowed whole or not at all.
    assert!(!hold.partial, "{hold:#?}");
    let part = Some(vec![hold.objects[0].id.clone()]);
    let params = latch_ipc::contract::HoldDecideParams { objects: part, ..decision(&hold, Verdict::Allow) };
    assert!(
        diary
            .engine
            .decide(params)
            .await
            .is_err_and(|error| error.is(ErrorCode::Conflict) || error.is(ErrorCode::InvalidParams))
    );
    assert_eq!(diary.server.stored(), before);
    assert!(hold.undo_text.contains("Who else has access"), "{}", hold.undo_text);
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(200);
    let listed = diary.engine.call(UndoList, UndoListParams::default()).await;
    assert_eq!(listed[0].text, "Deleted a calendar of 12 events");
    let limits = listed[0].limits.clone().unwrap_or_default();
    assert!(limits.contains("same addresses") && limits.contains("Who else has access"), "{limits}");
    assert!(!diary.server.stored().keys().any(|file| file.contains("work")));
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (13, 0), "{undone:?}");
    assert!(undone.notes.iter().any(|note| note.contains("access")), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn a_copy_that_can_not_be_read_keeps_no_other_from_coming_back() {
    let diary = Diary::new(4, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let asked = asks(&agent, "DELETE", WORK, &[], "");
    diary.engine.allow(&diary.engine.hold().await).await;
    asked.await.unwrap().expect(200);
    let copy = Copied::nth(diary.home.path(), 2);
    copy.spoil();
    let entry = diary.engine.call(UndoList, UndoListParams::default()).await[0].entry.clone();
    for restored in [4, 0] {
        let undone = diary.engine.call(UndoRun, UndoRunParams::Entry { entry: entry.clone() }).await;
        assert_eq!((undone.restored, undone.not_restored.len()), (restored, 1), "{undone:?}");
        assert!(undone.not_restored[0].why.contains("can't be read"), "{undone:?}");
        assert_eq!(diary.server.stored().len(), before.len() - 1);
    }
    copy.mend();
    let undone = diary.engine.call(UndoRun, UndoRunParams::Entry { entry }).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn a_put_on_a_calendar_replaces_it_and_is_held_as_that() {
    let diary = Diary::new(5, "assistant").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let text = event(77, "Only", &[]);
    let asked = asks(&agent, "PUT", "/erin/work", &[ICS], &text);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count, hold.verb.as_str()), (Class::Destroy, 5, "Replace a calendar of"));
    assert_eq!(fact(&hold, "Entries that come instead"), "1");
    assert_eq!(diary.server.stored(), before);
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
    let after = diary.server.stored();
    assert_ne!(after, before);
    // Nothing is taken away for what can't come back.
    let copy = Copied::nth(diary.home.path(), 1);
    copy.spoil();
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert_eq!(diary.server.stored(), after);
    copy.mend();
    let undone = undo_latest(&diary).await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn what_changed_between_question_and_answer_is_left_alone() {
    let diary = Diary::new(3, "organize").await;
    let agent = diary.agent().await;
    let person = diary.server.person();
    for (path, changes) in [("/erin/work/e1.ics", "/erin/work/e1.ics"), (WORK, "/erin/work/e2.ics")] {
        let asked = asks(&agent, "DELETE", path, &[], "");
        let hold = diary.engine.hold().await;
        let number = if changes.ends_with("e1.ics") { 1 } else { 2 };
        person.put(changes, &event(number, "Changed", &[])).await;
        let stored = diary.server.stored();
        diary.engine.allow(&hold).await;
        let answer = asked.await.unwrap().expect(412);
        assert!(
            answer.text().contains("Nothing was done") && answer.text().contains("not a denial"),
            "{}",
            answer.text()
        );
        assert_eq!(diary.server.stored(), stored);
    }
    assert!(diary.engine.call(UndoList, UndoListParams::default()).await.is_empty());
}

#[tokio::test]
async fn settings_that_the_person_changed_meanwhile_are_left_alone() {
    let diary = Diary::new(1, "organize").await;
    let one = GrantPutParams {
        agent: AGENT.to_owned(),
        account: "cal".to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("modify".to_owned(), [1, 1])].into()),
        expires_in: None,
    };
    diary.engine.call(GrantPut, one).await;
    let (agent, person) = (diary.agent().await, diary.server.person());
    let name = |name| {
        format!(
            "<propertyupdate xmlns='DAV:'><set><prop><displayname>{name}</displayname></prop></set></propertyupdate>"
        )
    };
    agent.dav("PROPPATCH", WORK, &[], &name("Mine")).await.expect(207);
    let asked = asks(&agent, "PROPPATCH", WORK, &[], &name("Ours"));
    let hold = diary.engine.hold().await;
    person.dav("PROPPATCH", WORK, &[], &name("Family")).await.expect(207);
    let stored = diary.server.stored();
    diary.engine.allow(&hold).await;
    let answer = asked.await.unwrap().expect(412);
    assert!(answer.text().contains("settings of /erin/work/ are no longer"), "{}", answer.text());
    assert_eq!(diary.server.stored(), stored);
}

#[tokio::test]
async fn guests_make_an_event_a_letter() {
    let diary = Diary::new(2, "organize").await;
    let agent = diary.agent().await;
    let invitation = event(8, "Talk", &["bob@Example.org", "eve@evil.example"]);
    let refused = agent.put("/erin/work/e8.ics", &invitation).await.expect(403);
    assert!(refused.text().contains("send"), "{}", refused.text());
    // Folded and in lower case it is the same.
    let hidden = invitation.replace("ATTENDEE;", "att\r\n endee;");
    agent.put("/erin/work/e8.ics", &hidden).await.expect(403);

    let diary = Diary::new(2, "assistant").await;
    let agent = diary.agent().await;
    let asked = asks(&agent, "PUT", "/erin/work/e8.ics", &[ICS], &invitation);
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.verb.as_str(), hold.reversible), (Class::Send, "Create", Reversible::No));
    let audience: Vec<(String, bool)> = hold
        .audience
        .as_ref()
        .expect("an audience")
        .members
        .iter()
        .map(|one| (one.address.clone(), one.first_time))
        .collect();
    let wanted = ["bob@example.org", "erin@example.com", "eve@evil.example"].map(|one| (one.to_owned(), true));
    assert_eq!(audience, wanted);
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
    // What readers could take for something else is not sent, and what it says of a single date is shown.
    let single = "BEGIN:VEVENT\r\nUID:e9@example.com\r\nDTSTAMP:20260101T000000Z\r\nDTSTART:20260402T090000Z\r\nSUMMARY:Invoice\r\nEND:VEVENT\r\n";
    let two = event(9, "Talk", &["bob@example.org"]).replace("END:VCALENDAR", &format!("{single}END:VCALENDAR"));
    let refused = agent.put("/erin/work/e9.ics", &two).await.expect(409);
    assert!(refused.text().contains("RECURRENCE-ID"), "{}", refused.text());
    let series = two
        .replace("SUMMARY:Talk 9", "SUMMARY:Talk 9\r\nRRULE:FREQ=DAILY;COUNT=90\r\nX-ALT-DESC:<b>Pay</b>")
        .replace("SUMMARY:Invoice", "SUMMARY:Invoice\r\nRECURRENCE-ID:20260402T090000Z");
    let asked = asks(&agent, "PUT", "/erin/work/e9.ics", &[ICS], &series);
    let hold = diary.engine.hold().await;
    assert_eq!(fact(&hold, "Title on 2026-04-02 09:00 UTC"), "Invoice");
    assert_eq!((fact(&hold, "Title"), fact(&hold, "X-ALT-DESC")), ("Talk 9", "<b>Pay</b>"));
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    // Taking it away tells them.
    let asked = asks(&agent, "DELETE", "/erin/work/e8.ics", &[], "");
    let hold = diary.engine.hold().await;
    assert_eq!(hold.class, Class::Destroy);
    assert!(fact(&hold, "The server tells of the cancellation").contains("eve@evil.example"), "{hold:#?}");
    assert!(hold.undo_text.contains("can't be called back"), "{}", hold.undo_text);
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn moving_is_a_change_and_moving_over_something_destroys_it() {
    let diary = Diary::new(3, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let door = diary.engine.door().to_owned();
    let to = format!("{door}/cal/erin/work/moved.ics");
    agent.dav("MOVE", "/erin/work/e1.ics", &[("destination", &to)], "").await.expect(201);
    agent.get("/erin/work/moved.ics").await.expect(200);
    undo_latest(&diary).await;
    assert_eq!(diary.server.stored(), before);
    // What somebody else put there since is not taken for what was moved.
    agent.dav("MOVE", "/erin/work/e1.ics", &[("destination", &to)], "").await.expect(201);
    let person = diary.server.person();
    person.delete("/erin/work/moved.ics").await.expect(200);
    person.put("/erin/work/moved.ics", &event(40, "Mine", &[])).await.expect(201);
    let stored = diary.server.stored();
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored[0].why.as_str()), (0, "somebody changed it since"), "{undone:?}");
    assert_eq!(diary.server.stored(), stored);
    person.delete("/erin/work/moved.ics").await.expect(200);
    person.put("/erin/work/e1.ics", &event(1, "Meeting", &[])).await.expect(201);
    // Another event of the same UID would be needed to get past the server: that it is asked is what counts.
    let asked = asks(&agent, "MOVE", "/erin/work/e1.ics", &[("destination", "/cal/erin/work/e2.ics")], "");
    let hold = diary.engine.hold().await;
    assert_eq!(
        (hold.class, hold.verb.as_str(), hold.objects[0].title.as_str()),
        (Class::Destroy, "Overwrite", "Meeting 2")
    );
    assert_eq!(fact(&hold, "By moving"), "Meeting 1");
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    let careful = [("destination", "/cal/erin/work/e2.ics"), ("overwrite", "F")];
    agent.dav("MOVE", "/erin/work/e1.ics", &careful, "").await.expect(412);
    for elsewhere in
        ["/erin/work/x.ics", "http://evil.example/cal/erin/work/x.ics", "/mail/x", "//evil.example/cal/x", "/cal/../x"]
    {
        let answer = agent.dav("MOVE", "/erin/work/e1.ics", &[("destination", elsewhere)], "").await;
        assert!(matches!(answer.status, 400 | 403), "{elsewhere}: {}", answer.text());
    }
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn calendars_are_made_renamed_and_taken_back() {
    let diary = Diary::new(1, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let rename = "<propertyupdate xmlns='DAV:' xmlns:A='http://apple.com/ns/ical/'><set><prop><displayname>Mine</displayname></prop></set>\
                  <remove><prop><A:calendar-color/></prop></remove></propertyupdate>";
    agent.dav("PROPPATCH", WORK, &[], rename).await.expect(207);
    assert!(agent.propfind(WORK, "0").await.text().contains("Mine"));
    agent.dav("MKCALENDAR", "/erin/new/", &[], "").await.expect(201);
    assert_ne!(diary.server.stored(), before);
    // Another one in its place is not it.
    let person = diary.server.person();
    person.delete("/erin/new/").await.expect(200);
    let own = "<C:mkcalendar xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><set><prop><displayname>Own</displayname></prop></set></C:mkcalendar>";
    person.dav("MKCALENDAR", "/erin/new/", &[], own).await.expect(201);
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    person.delete("/erin/new/").await.expect(200);
    agent.dav("MKCALENDAR", "/erin/new/", &[], "").await.expect(201);
    let undone = undo_latest(&diary).await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    let undone = undo_latest(&diary).await;
    assert_eq!(undone.restored, 1, "{undone:?}");
    assert_eq!(diary.server.stored(), before);
    // A property that nobody knows is asked about, and one that lets others in is sharing.
    let asked = asks(
        &agent,
        "PROPPATCH",
        WORK,
        &[],
        "<propertyupdate xmlns='DAV:'><set><prop><x xmlns='urn:x'>1</x></prop></set></propertyupdate>",
    );
    let hold = diary.engine.hold().await;
    assert_eq!(hold.class, Class::Unclassified);
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    let delegates = "<propertyupdate xmlns='DAV:'><set><prop><group-member-set><href>/cal/eve/</href></group-member-set></prop></set></propertyupdate>";
    agent.dav("PROPPATCH", WORK, &[], delegates).await.expect(403);
}

#[tokio::test]
async fn what_is_not_understood_has_no_way_upstream() {
    let diary = Diary::new(2, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let one = "/erin/work/e1.ics";
    let over = |name: &'static str| vec![(name, "DELETE")];
    for (method, path, headers, body, status) in [
        ("LOCK", one, vec![], "", 405),
        ("PATCH", one, vec![], "x", 405),
        ("BIND", one, vec![], "", 405),
        ("DELETE", "/erin/work/e1.ics?x=1", vec![], "", 400),
        ("DELETE", "/erin/work/%2e%2e/work/e1.ics", vec![], "", 400),
        ("DELETE", "/erin//work/e1.ics", vec![], "", 400),
        ("DELETE", "/erin/work;x/e1.ics", vec![], "", 400),
        ("DELETE", "/erin/work%2Fe1.ics", vec![], "", 400),
        ("GET", one, over("x-http-method-override"), "", 400),
        ("POST", one, over("x-method-override"), "", 400),
        ("DELETE", one, vec![("if", "(<urn:x>)")], "", 400),
        ("PUT", one, vec![("depth", "infinity"), ICS], "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", 400),
        ("PUT", one, vec![ICS], "not a calendar", 415),
        ("PUT", one, vec![ICS], "BEGIN:VCALENDAR\rBEGIN:VEVENT\rATTENDEE:mailto:a@b\rEND:VEVENT\rEND:VCALENDAR\r", 415),
        (
            "PUT",
            one,
            vec![("content-type", "text/calendar; charset=utf-16")],
            "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n",
            415,
        ),
        ("PUT", "/erin/elsewhere/x.ics", vec![ICS], "BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n", 409),
        ("POST", WORK, vec![], "<x xmlns='urn:x'/>", 400),
        ("POST", WORK, vec![("content-type", "text/plain")], "x", 403),
        ("REPORT", WORK, vec![], "<x xmlns='urn:x'/>", 403),
        (
            "PROPFIND",
            WORK,
            vec![],
            "<!DOCTYPE x [<!ENTITY e SYSTEM 'file:///etc/passwd'>]><propfind xmlns='DAV:'>&e;</propfind>",
            400,
        ),
        ("COPY", WORK, vec![("destination", "/cal/erin/other/")], "", 403),
        ("DELETE", "/erin/work/nothing.ics", vec![], "", 404),
    ] {
        let answer = agent.dav(method, path, &headers, body).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?} {body}: {}", answer.text());
    }
    assert!(diary.engine.call(HoldList, Empty {}).await.is_empty());
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn what_a_report_returns_counts_as_read() {
    let diary = Diary::new(30, "read-only").await;
    let budgets =
        json!({ "agent": "claw", "account": "cal", "preset": "read-only", "budgets": { "read": [50, 1000] } });
    diary.engine.call(latch_ipc::contract::GrantPut, serde_json::from_value(budgets).expect("params")).await;
    let agent = diary.agent().await;
    let query = "<C:calendar-query xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><prop><C:calendar-data/></prop>\
                 <C:filter><C:comp-filter name='VCALENDAR'/></C:filter></C:calendar-query>";
    for _ in 0..2 {
        agent.dav("REPORT", WORK, &[("depth", "1")], query).await.expect(207);
    }
    diary.engine.call(SettingsSet, json!({ "http_wait_seconds": 1 })).await;
    let beyond = agent.get("/erin/work/e1.ics").await;
    assert_eq!(beyond.status, 429, "{}", beyond.text());
    let sync = "<sync-collection xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><sync-token/><sync-level>1</sync-level>\
                <prop><C:calendar-data/></prop></sync-collection>";
    let contacts = "<R:addressbook-query xmlns='DAV:' xmlns:R='urn:ietf:params:xml:ns:carddav'><prop><R:address-data/></prop>\
                    <R:filter/></R:addressbook-query>";
    let properties =
        "<propfind xmlns='DAV:' xmlns:C='urn:ietf:params:xml:ns:caldav'><prop><C:calendar-data/></prop></propfind>";
    for (method, path, body) in
        [("REPORT", WORK, query), ("REPORT", WORK, sync), ("REPORT", FRIENDS, contacts), ("PROPFIND", WORK, properties)]
    {
        let beyond = agent.dav(method, path, &[("depth", "1")], body).await;
        assert_eq!(beyond.status, 429, "{method} {body}: {}", beyond.text());
    }
    // What shows no text is not bounded by it.
    agent.propfind(WORK, "1").await.expect(207);
}

#[tokio::test]
async fn panic_stops_what_waits_and_what_comes() {
    let diary = Diary::new(4, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let asked = asks(&agent, "DELETE", WORK, &[], "");
    let hold = diary.engine.hold().await;
    diary.engine.call(PanicCall, Empty {}).await;
    let answer = asked.await.unwrap();
    assert_ne!(answer.status, 200, "{}", answer.text());
    assert!(diary.engine.decide(decision(&hold, Verdict::Allow)).await.is_err());
    assert_ne!(agent.propfind(WORK, "1").await.status, 207);
    assert_eq!(diary.server.stored(), before);
    diary.engine.call(Resume, latch_ipc::contract::ResumeParams::default()).await;
    assert_eq!(diary.server.stored(), before);
    assert_eq!(hold.state, HoldState::Open);
}

#[tokio::test]
async fn contacts_are_changed_and_put_back() {
    let diary = Diary::new(0, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    let path = format!("{FRIENDS}c2.vcf");
    let changed = agent.put(&path, &contact(2).replace("Friend 2", "Enemy")).await;
    assert!(changed.status < 300, "{}", changed.text());
    assert!(agent.get(&path).await.text().contains("FN:Enemy"));
    // Whoever changes it since is left alone.
    diary.server.person().put(&path, &contact(2).replace("Friend 2", "Sister")).await;
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    diary.server.person().put(&path, &contact(2)).await;
    assert_eq!(diary.server.stored(), before);
}
