//! Calendar programs that people use, unmodified: Python's caldav, vdirsyncer, curl.

use std::path::{Path, PathBuf};
use std::process::Output;

use latch_ipc::view::Class;
use latch_tests::paths;
use latch_tests::programs::run;
use latch_tests::radicale::{ACCOUNT, Diary, event};
use latch_tests::scene::{AGENT, issue};
use serde_json::json;
use tokio::process::Command;

const CALDAV: &str = r#"
import caldav, datetime, json, sys
url, user, token = sys.argv[1:]
said = {}
with caldav.DAVClient(url=url, username=user, password=token) as client:
    calendars = client.principal().calendars()
    said['calendars'] = sorted(str(calendar.name) for calendar in calendars)
    work = [calendar for calendar in calendars if str(calendar.name).startswith('Work')][0]
    said['url'] = str(work.url)
    said['events'] = sorted(str(event.icalendar_component['summary']) for event in work.events())
    found = work.search(start=datetime.datetime(2026, 3, 2), end=datetime.datetime(2026, 3, 3), event=True, expand=False)
    said['found'] = [str(event.icalendar_component['summary']) for event in found]
    made = work.save_event(dtstart=datetime.datetime(2026, 5, 1, 8), dtend=datetime.datetime(2026, 5, 1, 9), summary='Made by a library')
    made.icalendar_component['summary'] = 'Changed by a library'
    made.save()
    said['again'] = str(work.event_by_uid(made.id).icalendar_component['summary'])
    try:
        work.delete()
        said['denied'] = False
    except caldav.lib.error.DAVError as error:
        said['denied'] = str(error)
    found[0].delete()
    said['left'] = len(work.events())
print(json.dumps(said))
"#;

async fn with_caldav(diary: &Diary, url: &str) -> serde_json::Value {
    let token = issue(&diary.engine, AGENT).await;
    let mut command = Command::new(paths::python());
    command.args(["-c", CALDAV, url, ACCOUNT, &token]);
    let client = async { run(&mut command).await };
    let person = async {
        let hold = diary.engine.hold().await;
        assert_eq!((hold.count, hold.class), (5, Class::Destroy));
        diary.engine.deny(&hold).await;
        let hold = diary.engine.hold().await;
        assert_eq!((hold.count, hold.class, hold.verb.as_str()), (1, Class::Destroy, "Delete"));
        diary.engine.allow(&hold).await;
    };
    let (output, ()) = tokio::join!(client, person);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn pythons_caldav_works_unchanged_and_is_told_of_a_denial() {
    let diary = Diary::new(4, "organize").await;
    let said = with_caldav(&diary, &format!("{}/{ACCOUNT}/", diary.engine.door())).await;
    assert_eq!(said["calendars"], json!(["Work & more"]));
    assert_eq!(said["url"], format!("{}/{ACCOUNT}/erin/work/", diary.engine.door()));
    assert_eq!(said["events"], json!(["Meeting 1", "Meeting 2", "Meeting 3", "Meeting 4"]));
    assert_eq!((&said["found"], &said["again"]), (&json!(["Meeting 1"]), &json!("Changed by a library")));
    assert!(said["denied"].as_str().is_some_and(|why| !why.is_empty()), "{said}");
    assert_eq!(said["left"], 4);
}

async fn vdirsyncer(folder: &Path, verb: &str) -> Output {
    let program = paths::python().with_file_name("vdirsyncer");
    run(Command::new(program).arg("--config").arg(folder.join("config")).arg(verb).current_dir(folder)).await
}

#[tokio::test]
async fn vdirsyncer_copies_a_calendar_brings_new_events_and_its_deletions_are_asked_about() {
    let diary = Diary::new(5, "organize").await;
    let token = issue(&diary.engine, AGENT).await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let door = diary.engine.door();
    let here = folder.path().display();
    let config = format!(
        "[general]\nstatus_path = \"{here}/status/\"\n\n\
         [pair calendars]\na = \"far\"\nb = \"near\"\ncollections = [[\"work\", \"work\", \"work\"]]\n\n\
         [storage far]\ntype = \"caldav\"\nurl = \"{door}/{ACCOUNT}/\"\nusername = \"{ACCOUNT}\"\npassword = \"{token}\"\n\n\
         [storage near]\ntype = \"filesystem\"\npath = \"{here}/near/\"\nfileext = \".ics\"\n"
    );
    std::fs::write(folder.path().join("config"), config).expect("a file");
    std::fs::create_dir_all(folder.path().join("near/work")).expect("a folder");
    let found = vdirsyncer(folder.path(), "discover").await;
    assert!(found.status.success(), "{found:?}");
    let copied = vdirsyncer(folder.path(), "sync").await;
    assert!(copied.status.success(), "{copied:?}");
    let events = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(folder.path().join("near/work")).expect("a folder");
        let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        found.sort();
        found
    };
    assert_eq!(events().len(), 5);
    let before = diary.server.stored();
    // A second look changes nothing, and a new event is within the budget.
    assert!(vdirsyncer(folder.path(), "sync").await.status.success());
    assert_eq!(diary.server.stored(), before);
    std::fs::write(folder.path().join("near/work/new.ics"), event(9, "New", &[])).expect("a file");
    let brought = vdirsyncer(folder.path(), "sync").await;
    assert!(brought.status.success(), "{brought:?}");
    let count = |title: &str| diary.server.stored().values().filter(|text| text.contains(title)).count();
    assert_eq!((count("SUMMARY:New 9"), count("SUMMARY:Meeting")), (1, 5));
    diary.engine.no_holds().await;
    let titled = |path: &PathBuf| std::fs::read_to_string(path).expect("an event").contains("SUMMARY:Meeting");
    for path in events().into_iter().filter(titled).take(2) {
        std::fs::remove_file(path).expect("removed");
    }
    let person = async {
        let hold = diary.engine.hold().await;
        assert_eq!((hold.count, hold.class, hold.verb.as_str()), (1, Class::Destroy, "Delete"));
        diary.engine.allow(&hold).await;
        let other = loop {
            let holds = diary.engine.holds(1).await;
            if let Some(other) = holds.into_iter().find(|other| other.id != hold.id) {
                break other;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        };
        diary.engine.deny(&other).await;
    };
    let (synced, ()) = tokio::join!(vdirsyncer(folder.path(), "sync"), person);
    assert!(!synced.status.success(), "it is told of the denial: {synced:?}");
    assert_eq!(count("SUMMARY:Meeting"), 4);
}

#[tokio::test]
async fn curl_is_led_from_the_doors_top_to_the_account() {
    let diary = Diary::new(2, "read-only").await;
    let token = issue(&diary.engine, AGENT).await;
    let user = format!("{ACCOUNT}:{token}");
    let url = format!("{}/.well-known/caldav", diary.engine.door());
    let found =
        run(Command::new("curl").args(["-sS", "-L", "-u", &user, "-X", "PROPFIND", "-H", "Depth: 1", &url])).await;
    let text = String::from_utf8_lossy(&found.stdout);
    assert!(text.contains("multistatus") && text.contains(">/cal/erin/<"), "{found:?}");
    let url = format!("{}/{ACCOUNT}/erin/work/e1.ics", diary.engine.door());
    let one = run(Command::new("curl").args(["-sS", "--anyauth", "-u", &user, &url])).await;
    assert!(String::from_utf8_lossy(&one.stdout).contains("SUMMARY:Meeting 1"), "{one:?}");
}
