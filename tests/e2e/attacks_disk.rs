//! ATTACKS 36: disk full, corrupt page, read-only. Changes fail closed, Panic works. The engine is an ordinary user's: root may write anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use latch_ipc::contract::{Empty, JournalTail, JournalTailParams, PanicCall, StatusCall};
use latch_tests::engine::{Engine, Start};
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::{Agent, Emulator, Mail, Scene, user};
use serde_json::{Value, json};

use crate::gmail;

async fn at(engine: &Engine) -> Agent {
    Agent::new(&format!("{}/mail", engine.door()), &issue(engine, "claw").await)
}

async fn label(agent: &Agent, id: &str) -> latch_tests::Answer {
    agent.post(&gmail(&format!("messages/{id}/modify")), &json!({ "addLabelIds": ["Label_1"] })).await
}

/// Labels until something goes wrong; how often it went well, and how it went wrong.
async fn label_until_refused(agent: &Agent) -> (usize, latch_tests::Answer) {
    for ran in 0..150 {
        let answer = label(agent, "m0001").await;
        if answer.status != 200 {
            return (ran, answer);
        }
    }
    panic!("nothing ever goes wrong");
}

/// What was refused was not made; what could not be recorded afterwards was made once and said to be unknown.
async fn assert_fails_closed(gmail_peer: &Emulator, agent: &Agent, before: usize) {
    let (ran, refused) = label_until_refused(agent).await;
    let made = match refused.status {
        503 => ran,
        502 => {
            assert!(refused.text().contains("how it ended is not known"), "{}", refused.text());
            ran + 1
        }
        other => panic!("{other}: {}", refused.text()),
    };
    let changes = gmail_peer.changes().await.len();
    assert_eq!(changes - before, made, "{}", refused.text());
    for _ in 0..3 {
        agent.post(&gmail("messages/m0002/trash"), &Value::Null).await.expect(503);
        label(agent, "m0003").await.expect(503);
    }
    assert_eq!(gmail_peer.changes().await.len(), changes);
}

async fn assert_stopped(engine: &Engine, agent: &Agent) {
    for path in ["messages", "messages/m0001"] {
        let after = agent.get(&gmail(path)).await;
        assert!(matches!(after.status, 0 | 401 | 403), "{}", after.text());
    }
    assert!(engine.call(StatusCall, Empty {}).await.panicked);
}

#[tokio::test]
async fn attack_36_a_full_disk_stops_changes_but_not_panic() {
    // Full at the intent, at the outcome, and in between.
    for writes in 8..12 {
        let mut scene = Scene::with(&Mail::box_of(3), "organize", |start| start).await;
        let home = scene.home.path().to_owned();
        scene.restart_as(Start::at(&home).failing(&format!("disk-full:{writes}"))).await;
        let agent = at(&scene.engine).await;
        assert_fails_closed(&scene.gmail, &agent, 0).await;
        let _ = scene.engine.client.call(PanicCall, Empty {}).await;
        assert_stopped(&scene.engine, &agent).await;
    }
}

/// An engine of an ordinary user's on a home that lasts, with an agent that may organize.
async fn house(folder: &Path, home: &Path) -> (Emulator, Engine) {
    let start = Start::at(home).survives_file_limits().by_a_user(folder);
    let mails = Mail::box_of(3);
    let (gmail_peer, engine) = tokio::join!(Emulator::start(&mails), start.start());
    add_account(&engine, "mail", &gmail_peer.url, &gmail_peer.token).await;
    connect(&engine, "claw", "mail", "organize").await;
    (gmail_peer, engine)
}

fn limit_files(pid: u32, bytes: u64) {
    let limit = format!("--fsize={bytes}:{bytes}");
    let limited = user::command(Path::new("prlimit")).arg("--pid").arg(pid.to_string()).arg(limit).status().unwrap();
    assert!(limited.success());
}

#[tokio::test]
async fn attack_36_no_file_grows_any_more() {
    // The second: not even the flag beside the database can be written.
    for (bytes, durable) in [(4096, true), (0, false)] {
        let folder = user::folder(&[]);
        let home = folder.path().join("home");
        let (gmail_peer, engine) = house(folder.path(), &home).await;
        let agent = at(&engine).await;
        label(&agent, "m0001").await.expect(200);
        limit_files(engine.pid(), bytes);
        assert_fails_closed(&gmail_peer, &agent, 1).await;
        let panicked = engine.client.call(PanicCall, Empty {}).await;
        match (&panicked, durable) {
            (Ok(_), true) => {}
            (Err(error), _) => assert!(error.to_string().contains("everything is stopped"), "{error}"),
            (Ok(_), false) => panic!("it was said to be durable, and can't be"),
        }
        assert_stopped(&engine, &agent).await;
        let changes = gmail_peer.changes().await.len();
        engine.kill().await;
        let engine = Start::at(&home).by_a_user(folder.path()).start().await;
        if panicked.is_ok() {
            assert!(engine.welcome.panicked, "the stop survives");
        }
        assert_eq!(gmail_peer.changes().await.len(), changes);
    }
}

#[tokio::test]
async fn attack_36_a_really_full_disk_stops_changes_but_not_panic() {
    assert!(rustix::process::geteuid().is_root(), "the test mounts a small file system: run it as root");
    let mount = tempfile::tempdir().unwrap();
    let options = ["-t", "tmpfs", "-o", "size=48m,mode=0755", "latch-test"];
    assert!(Command::new("mount").args(options).arg(mount.path()).status().unwrap().success());
    user::give(mount.path());
    let result = tokio::spawn(on_a_small_disk(mount.path().to_owned())).await;
    let _ = Command::new("umount").arg("-l").arg(mount.path()).status();
    result.unwrap();
}

async fn on_a_small_disk(disk: PathBuf) {
    let programs = user::folder(&[]);
    let home = disk.join("home");
    let (gmail_peer, engine) = house(programs.path(), &home).await;
    let agent = at(&engine).await;
    agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    fill(&disk.join("ballast"));
    assert_fails_closed(&gmail_peer, &agent, 1).await;
    engine.client.call(PanicCall, Empty {}).await.expect("the space for a panic is reserved");
    assert_stopped(&engine, &agent).await;
    engine.kill().await;
    std::fs::remove_file(disk.join("ballast")).unwrap();
    let engine = Start::at(&home).by_a_user(programs.path()).start().await;
    assert!(engine.welcome.panicked, "the stop survives");
}

fn fill(path: &Path) {
    use std::io::Write as _;
    let mut file = std::fs::File::create(path).unwrap();
    let block = [0_u8; 4096];
    while file.write_all(&block).is_ok() {}
}

fn database(home: &Path) -> PathBuf {
    home.join("latchstring.db")
}

/// What an engine on this home says when it does not open, or the engine.
async fn opens(home: &Path, folder: &Path) -> Result<Engine, String> {
    let child = Start::at(home).by_a_user(folder).command().spawn().unwrap();
    let ended = tokio::spawn(probe(child));
    match ended.await.unwrap() {
        Ok(()) => Ok(Start::at(home).by_a_user(folder).start().await),
        Err(said) => Err(said),
    }
}

/// Tries to unlock; what was said if that fails.
async fn probe(mut child: tokio::process::Child) -> Result<(), String> {
    let (client, _events) =
        latch_ipc::Client::start(tokio::io::BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
    let passphrase = latch_ipc::Secret::new(latch_tests::engine::PASSPHRASE.to_owned());
    let unlock = latch_ipc::contract::Unlock { passphrase };
    let answer = tokio::time::timeout(latch_tests::engine::SOON, client.call(latch_ipc::contract::VaultUnlock, unlock))
        .await
        .expect("an answer or an end");
    drop(client);
    let output = child.wait_with_output().await.unwrap();
    answer.map(|_| ()).map_err(|error| format!("{error} {}", String::from_utf8_lossy(&output.stderr)))
}

#[tokio::test]
async fn attack_36_a_home_that_cannot_be_written_changes_nothing() {
    let folder = user::folder(&[]);
    let home = folder.path().join("home");
    let (gmail_peer, engine) = house(folder.path(), &home).await;
    label(&at(&engine).await, "m0001").await.expect(200);
    assert!(engine.quit().await.success());
    let changes = gmail_peer.changes().await.len();
    for (what, mode) in [("a-w", "u+w"), ("a-rw", "u+rw")] {
        let chmod = |mode: &str| {
            let status = Command::new("chmod").args(["-R", mode]).arg(&home).status().unwrap();
            assert!(status.success());
        };
        chmod(what);
        // Folders must be entered to be told about.
        let said = opens(&home, folder.path()).await.err();
        chmod(mode);
        let said = said.unwrap_or_else(|| panic!("{what}: it opened what it can't write"));
        let told = ["read", "write", "permission", "opened"].iter().any(|word| said.to_lowercase().contains(word));
        assert!(told, "{what}: {said}");
    }
    assert_eq!(gmail_peer.changes().await.len(), changes);
    // Nothing is broken by it.
    let engine = Start::at(&home).by_a_user(folder.path()).start().await;
    label(&at(&engine).await, "m0001").await.expect(200);
}

#[tokio::test]
async fn attack_36_a_corrupt_page_executes_nothing_that_is_not_recorded() {
    let folder = user::folder(&[]);
    let home = folder.path().join("home");
    let (gmail_peer, engine) = house(folder.path(), &home).await;
    for _ in 0..5 {
        label(&at(&engine).await, "m0001").await.expect(200);
    }
    assert!(engine.quit().await.success());
    let path = database(&home);
    let whole = std::fs::read(&path).unwrap();
    let page = usize::from(u16::from_be_bytes([whole[16], whole[17]]));
    let pages = whole.len() / page;
    assert!(pages > 8, "{pages} pages");
    let (mut refused, mut stopped, mut worked) = (0, 0, 0);
    for broken in (1..pages).step_by(pages.div_ceil(8)) {
        let mut bytes = whole.clone();
        bytes[broken * page..(broken + 1) * page].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&path, &bytes).unwrap();
        for beside in ["latchstring.db-wal", "latchstring.db-shm"] {
            let _ = std::fs::remove_file(home.join(beside));
        }
        let before = gmail_peer.changes().await.len();
        let Ok(engine) = opens(&home, folder.path()).await else {
            refused += 1;
            assert_eq!(gmail_peer.changes().await.len(), before, "page {broken}");
            continue;
        };
        if engine.welcome.panicked {
            stopped += 1;
        } else if let Ok(token) = token(&engine).await {
            let agent = Agent::new(&format!("{}/mail", engine.door()), &token);
            let answer = label(&agent, "m0002").await;
            let made = gmail_peer.changes().await.len() - before;
            if answer.status == 200 {
                worked += 1;
                let records =
                    engine.call(JournalTail, JournalTailParams { limit: Some(5), ..Default::default() }).await;
                assert!(records.iter().any(|record| record.kind == "intent"), "page {broken}: {records:#?}");
            } else {
                assert!(matches!(answer.status, 401 | 403 | 404 | 502 | 503), "page {broken}: {}", answer.text());
                assert!(made == 0 || answer.status == 502, "page {broken}: {}", answer.text());
            }
        }
        let _ = engine.client.call(PanicCall, Empty {}).await;
        assert!(engine.call(StatusCall, Empty {}).await.panicked, "page {broken}: Panic works");
    }
    assert!(refused + stopped > 0, "nothing was noticed: {refused} refused, {stopped} stopped, {worked} worked");
}

async fn token(engine: &Engine) -> Result<String, latch_ipc::client::CallError> {
    let params = latch_ipc::contract::TokenIssueParams { agent: Some("claw".to_owned()), ..Default::default() };
    let issued = engine.client.call(latch_ipc::contract::TokenIssue, params).await?;
    Ok(issued.access_token.expose().to_owned())
}
