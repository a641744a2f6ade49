//! What happens between the engine and a calendar server: who else writes there, and how much is read for a request.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use latch_ipc::contract::{GrantPut, GrantPutParams, UndoList, UndoListParams, UndoResult, UndoRun, UndoRunParams};
use latch_ipc::view::Class;
use latch_tests::diary::{CalendarServer, PASSWORD, USER, add_account};
use latch_tests::engine::Start;
use latch_tests::radicale::{ACCOUNT, Dav, Diary, Radicale, WORK, event};
use latch_tests::scene::AGENT;
use latch_tests::xandikos::{self, Xandikos};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What is shared by all connections.
#[derive(Default)]
struct Heard {
    /// Every request.
    bytes: Mutex<Vec<u8>>,
    /// What somebody else stores as soon as the server has answered a PUT or a MOVE: a path and a text.
    meanwhile: Mutex<Option<(String, String)>>,
    /// How often something was moved.
    moves: AtomicUsize,
}

/// Passes everything on to a server that gives no versions in its headers, and new ones to what is moved; keeps the requests.
struct Between {
    port: u16,
    heard: Arc<Heard>,
}

impl Between {
    async fn before(server: u16, person: Dav) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let heard = Arc::new(Heard::default());
        let all = Arc::clone(&heard);
        tokio::spawn(async move {
            while let Ok((engine, _)) = listener.accept().await {
                let upstream = TcpStream::connect(("127.0.0.1", server)).await.expect("it listens");
                tokio::spawn(pass(engine, upstream, Arc::clone(&all), person.clone()));
            }
        });
        Self { port, heard }
    }

    /// How often an entry of the calendar was read.
    fn reads(&self) -> usize {
        String::from_utf8_lossy(&self.heard.bytes.lock().unwrap()).matches(&format!("GET {WORK}")).count()
    }

    fn then(&self, path: &str, text: String) {
        *self.heard.meanwhile.lock().unwrap() = Some((path.to_owned(), text));
    }
}

async fn pass(engine: TcpStream, server: TcpStream, heard: Arc<Heard>, person: Dav) {
    let (mut from_engine, mut to_engine) = engine.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let stored = Arc::new(Mutex::new(false));
    let (stores, all) = (Arc::clone(&stored), Arc::clone(&heard));
    tokio::spawn(async move {
        let mut bytes = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = from_engine.read(&mut bytes).await {
            all.bytes.lock().unwrap().extend_from_slice(&bytes[..read]);
            let moves = bytes.starts_with(b"MOVE ");
            all.moves.fetch_add(usize::from(moves), Ordering::SeqCst);
            *stores.lock().unwrap() |= moves || bytes.starts_with(b"PUT ");
            if to_server.write_all(&bytes[..read]).await.is_err() {
                return;
            }
        }
    });
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
        let mut answer = bytes[..read].to_vec();
        while let Some(at) = answer.windows(8).position(|window| window == b"\r\nETag: ") {
            answer[at + 2] = b'X';
        }
        if heard.moves.load(Ordering::SeqCst) % 2 == 1 {
            renew(&mut answer);
        }
        let next =
            if std::mem::take(&mut *stored.lock().unwrap()) { heard.meanwhile.lock().unwrap().take() } else { None };
        if let Some((path, text)) = next {
            person.put(&path, &text).await;
        }
        if to_engine.write_all(&answer).await.is_err() {
            return;
        }
    }
}

/// Other versions of everything, always the same. They are forty hexadecimal digits.
fn renew(answer: &mut [u8]) {
    let tags: Vec<usize> = (0..answer.len().saturating_sub(41))
        .filter(|&at| answer[at] == b'"' && answer[at + 41] == b'"')
        .filter(|&at| answer[at + 1..at + 41].iter().all(u8::is_ascii_hexdigit))
        .collect();
    for at in tags {
        answer[at + 1..at + 41].reverse();
    }
}

async fn diary(events: usize, preset: &str) -> (Diary, Between) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (radicale, engine) = tokio::join!(Radicale::start(events), Start::at(home.path()).in_memory().start());
    let port = radicale.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let between = Between::before(port, radicale.person()).await;
    add_account(&engine, &format!("http://127.0.0.1:{}", between.port), preset).await;
    (Diary { server: radicale, engine, home }, between)
}

async fn undo_latest<S>(diary: &Diary<S>) -> UndoResult {
    let entries = diary.engine.call(UndoList, UndoListParams::default()).await;
    let entry = entries.into_iter().find(|entry| !entry.undone).expect("something to undo").entry;
    diary.engine.call(UndoRun, UndoRunParams::Entry { entry }).await
}

#[tokio::test]
async fn where_an_answer_has_no_version_what_is_there_is_compared_with_what_was_sent() {
    let (diary, between) = diary(2, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    agent.put("/erin/work/e1.ics", &event(1, "Agent", &[])).await.expect(204);
    assert_ne!(diary.server.stored(), before);
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (1, 0), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
    // Somebody was faster than the look at the new version.
    between.then("/erin/work/e1.ics", event(1, "Person", &[]));
    agent.put("/erin/work/e1.ics", &event(1, "Agent", &[])).await.expect(204);
    let stored = diary.server.stored();
    assert!(stored.values().any(|text| text.contains("Person 1")), "{stored:?}");
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (0, 1), "{undone:?}");
    assert_eq!(diary.server.stored(), stored);
}

#[tokio::test]
async fn undoing_a_replaced_calendar_leaves_what_somebody_else_put_into_it() {
    let (diary, between) = diary(3, "organize").await;
    let before = diary.server.stored();
    let agent = diary.agent().await;
    between.then("/erin/work/mine.ics", event(90, "Person", &[]));
    let asked = tokio::spawn({
        let agent = agent.clone();
        async move { agent.put("/erin/work", &event(77, "Agent", &[])).await }
    });
    let hold = diary.engine.hold().await;
    diary.engine.allow(&hold).await;
    asked.await.unwrap().expect(201);
    let undone = undo_latest(&diary).await;
    assert!(undone.not_restored.is_empty(), "{undone:?}");
    let mut after = diary.server.stored();
    after.retain(|_, text| !text.contains("Person 90"));
    assert_eq!(after.len() + 1, diary.server.stored().len(), "the person's own event stays");
    assert_eq!(after, before);
}

#[tokio::test]
async fn nothing_is_read_for_a_deletion_that_is_refused_anyway_and_what_is_read_for_the_person_costs_no_budget() {
    let (diary, between) = diary(12, "read-only").await;
    let agent = diary.agent().await;
    let before = diary.server.stored();
    agent.delete(WORK).await.expect(403);
    assert_eq!(between.reads(), 0);
    let put = GrantPutParams {
        agent: AGENT.to_owned(),
        account: ACCOUNT.to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: Some([("read".to_owned(), [1, 1])].into()),
        expires_in: None,
    };
    diary.engine.call(GrantPut, put).await;
    // The list of what is in it is one read; the entries are read for the person, and the agent gets nothing of them.
    let asked = tokio::spawn({
        let agent = agent.clone();
        async move { agent.delete(WORK).await }
    });
    let hold = diary.engine.hold().await;
    assert_eq!((hold.class, hold.count), (Class::Destroy, 12));
    assert!(hold.objects.iter().all(|object| !object.title.is_empty()), "{:?}", hold.objects);
    assert_eq!((between.reads(), diary.server.stored() == before), (12, true));
    diary.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    let answer = agent.delete(WORK).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(between.reads(), 12);
    assert_eq!(diary.server.stored(), before);
}

#[tokio::test]
async fn a_calendar_that_gets_new_versions_by_moving_is_known_by_its_texts() {
    let home = tempfile::tempdir().expect("a temporary folder");
    let (server, engine) = tokio::join!(Xandikos::start(3), Start::at(home.path()).in_memory().start());
    let port = server.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let person = Dav::new(server.url(), USER, PASSWORD);
    let between = Between::before(port, person.clone()).await;
    add_account(&engine, &format!("http://127.0.0.1:{}", between.port), "organize").await;
    let diary = Diary { server, engine, home };
    let (agent, before) = (diary.agent().await, diary.server.stored());
    let moved = async || {
        let agent = agent.clone();
        let to = [("destination", "/cal/erin/calendars/moved/")];
        let asked = tokio::spawn(async move { agent.dav("MOVE", xandikos::WORK, &to, "").await });
        let hold = diary.engine.hold().await;
        diary.engine.allow(&hold).await;
        asked.await.unwrap().expect(201);
    };
    moved().await;
    let undone = undo_latest(&diary).await;
    assert_eq!((undone.restored, undone.not_restored.len()), (4, 0), "{undone:?}");
    assert_eq!(diary.server.stored(), before);
    // Somebody was faster than the look at the new versions.
    between.then("/erin/calendars/moved/e2.ics", event(2, "Person", &[]));
    moved().await;
    let stored = diary.server.stored();
    assert!(stored["erin/calendars/moved/e2.ics"].contains("Person"), "{stored:?}");
    let undone = undo_latest(&diary).await;
    assert!(undone.not_restored[0].why.contains("1 with another version (e2.ics)"), "{undone:?}");
    assert_eq!((undone.restored, diary.server.stored()), (0, stored));
}
