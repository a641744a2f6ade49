//! ATTACKS on the owner channel, the vault and the state.

use std::process::Stdio;

use latch_ipc::Secret;
use latch_ipc::contract::{
    AccountAdd, AccountAddParams, CredentialParams, Empty, HoldList, JournalTail, JournalTailParams, JournalVerify,
    StatusCall, UpstreamParams,
};
use latch_tests::canary::Canaries;
use latch_tests::engine::Start;
use latch_tests::scene::issue;
use latch_tests::{Agent, Mail, Scene};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::gmail;
use crate::holds::trash;

/// Runs a `latch` verb as an agent with a shell would.
async fn latch(scene: &Scene, arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new(latch_tests::paths::latch());
    command.args(arguments).arg("--home").arg(scene.home.path()).stdin(Stdio::null()).kill_on_drop(true);
    let output =
        tokio::time::timeout(std::time::Duration::from_secs(40), command.output()).await.expect("it ends").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap_or(-1), text)
}

#[tokio::test]
async fn attack_05_verbs_from_an_agents_shell_gain_nothing() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    agent.post(&gmail("messages/m0012/trash"), &Value::Null).await.expect(200);
    let asked = trash(&agent, &["m0001", "m0002", "m0003", "m0004"]);
    let hold = scene.engine.hold().await;
    let widening: &[&[&str]] = &[
        &["hold", "allow", &hold.id],
        &["account", "add", "evil", "--provider", "gmail"],
        &["grant", "put", "claw", "mail", "assistant"],
        &["agent", "connect", "evil"],
        &["resume"],
        &["vault", "unlock"],
        &["journal", "tail"],
        &["journal", "show", "1"],
        &["journal", "export"],
        &["journal", "verify"],
        &["undo", "--agent", "claw"],
    ];
    for arguments in widening {
        let (code, said) = latch(&scene, arguments).await;
        assert_ne!(code, 0, "{arguments:?}: {said}");
    }
    // Not over the socket itself either, whatever the verbs offer.
    let socket = scene.engine.welcome.doors.control.clone().expect("a control socket");
    let (reader, writer) = tokio::net::UnixStream::connect(socket).await.unwrap().into_split();
    let (client, _events) = latch_ipc::Client::start(tokio::io::BufReader::new(reader), writer);
    for (method, is_reducing) in latch_ipc::contract::METHODS {
        if !is_reducing {
            let said = client
                .call_raw(
                    method,
                    json!({ "id": hold.id, "digest": hold.digest, "verdict": "allow", "agent": "claw", "since": "1h" }),
                )
                .await;
            assert!(said.is_err(), "{method}: {said:?}");
        }
    }
    let (_, status) = latch(&scene, &["status", "--json"]).await;
    assert!(!status.contains("Mail number"), "status shows object text: {status}");
    assert_eq!(scene.engine.call(HoldList, Empty {}).await.len(), 1);
    assert_eq!(scene.gmail.trashed().await, 1);
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
}

#[tokio::test]
async fn attack_05_reducing_is_free() {
    let scene = Scene::new(12, "organize").await;
    let agent = scene.agent().await;
    let asked = trash(&agent, &["m0001", "m0002", "m0003", "m0004"]);
    let hold = scene.engine.hold().await;
    let (code, said) = latch(&scene, &["hold", "deny", &hold.id]).await;
    assert_eq!(code, 0, "{said}");
    asked.await.unwrap().expect(403);
    let (code, said) = latch(&scene, &["panic"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(scene.engine.call(StatusCall, Empty {}).await.panicked);
    assert!(matches!(agent.get(&gmail("messages")).await.status, 0 | 401 | 403));
}

#[tokio::test]
async fn attack_07_forty_canaries_are_nowhere() {
    let canaries = Canaries::new(40);
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().to_string_lossy().into_owned();
    let scene = Scene::with(&Mail::box_of(12), "organize", |start| start.env("TMPDIR", &folder)).await;
    for n in 0..38 {
        let (secret, url) = (Secret::new(canaries.get(n).to_owned()), scene.gmail.url.clone());
        let credential = match n % 3 {
            0 => CredentialParams::Bearer { token: secret },
            1 => CredentialParams::Password { username: "me".to_owned(), password: secret },
            _ => CredentialParams::OAuth2 {
                client_id: "client".to_owned(),
                client_secret: None,
                refresh_token: secret,
                token_endpoint: format!("{url}/oauth2/token"),
            },
        };
        let params = AccountAddParams {
            address: None,
            check: false,
            id: format!("a{n}"),
            provider: "gmail".to_owned(),
            upstream: UpstreamParams { base_url: Some(url), ..UpstreamParams::default() },
            credential,
        };
        let added = scene.engine.client.call(AccountAdd, params).await;
        if let Err(refused) = added {
            canaries.assert_absent("a refusal", refused.to_string().as_bytes());
        }
        latch_tests::scene::grant(&scene.engine, "claw", "mail", "organize").await;
    }
    // Bad calls must not repeat what they were given.
    for n in 38..40 {
        let bad = json!({ "id": "x", "provider": "nosuch", "credential": { "kind": "bearer", "token": canaries.get(n) }, "upstream": { "base_url": canaries.get(n) } });
        let refused = scene.engine.client.call_raw("account.add", bad).await.unwrap_err();
        canaries.assert_absent("a refusal", format!("{refused} {refused:?}").as_bytes());
    }
    let agent = scene.agent().await;
    for n in 0..38 {
        let answer = Agent::new(&format!("{}/a{n}", scene.engine.door()), "x").get(&gmail("messages")).await;
        canaries.assert_absent("an answer", &answer.body);
    }
    let asked = trash(&agent, &["m0001", "m0002", "m0003", "m0004"]);
    scene.engine.deny(&scene.engine.hold().await).await;
    canaries.assert_absent("a denial", &asked.await.unwrap().body);
    let accounts = scene.engine.call(latch_ipc::contract::AccountList, Empty {}).await;
    canaries.assert_absent("the list of accounts", format!("{accounts:?}").as_bytes());
    let records = scene.engine.call(JournalTail, JournalTailParams { limit: Some(1000), ..Default::default() }).await;
    canaries.assert_absent("the journal", format!("{records:?}").as_bytes());
    // Nor what else opens something here: tokens, the pairing secret, the passphrase.
    let token = issue(&scene.engine, "claw").await;
    agent.get(&gmail("messages")).await.expect(200);
    let pairing = scene.connected.pairing_secret.as_ref().unwrap().expose().to_owned();
    let others = Canaries::of([token, pairing, latch_tests::engine::PASSPHRASE.to_owned()]);
    let path = database(&scene);
    let look = |log: &str, when: &str| {
        for canaries in [&canaries, &others] {
            assert!(canaries.assert_absent_below(scene.home.path()) > 1);
            canaries.assert_absent_below(temporary.path());
            canaries.assert_absent(&format!("the log {when}"), log.as_bytes());
        }
    };
    // While it runs, with its write-ahead log, and what a backup program would copy.
    let log = std::path::PathBuf::from(format!("{}-wal", path.display()));
    assert!(std::fs::metadata(&log).unwrap().len() > 0, "there is a write-ahead log to look at");
    look(&scene.engine.log(), "while it runs");
    let backup = temporary.path().join("backup");
    rusqlite::Connection::open(&path).unwrap().execute("VACUUM INTO ?1", [backup.to_string_lossy()]).unwrap();
    assert!(std::fs::metadata(&backup).unwrap().len() > 10_000);
    look(&scene.engine.log(), "with a backup");
    // After it was killed, and after it went in peace.
    let mut engine = scene.engine;
    let pid = rustix::process::Pid::from_raw(engine.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    engine.ended().await;
    look_below(&[&canaries, &others], &[scene.home.path(), temporary.path()]);
    let engine = Start::at(scene.home.path()).env("TMPDIR", &folder).start().await;
    let said = engine.log();
    assert!(engine.quit().await.success());
    canaries.assert_absent("the log", said.as_bytes());
    look_below(&[&canaries, &others], &[scene.home.path(), temporary.path()]);
}

fn look_below(canaries: &[&Canaries], folders: &[&std::path::Path]) {
    for canaries in canaries {
        for folder in folders {
            canaries.assert_absent_below(folder);
        }
    }
}

fn database(scene: &Scene) -> std::path::PathBuf {
    let entries = std::fs::read_dir(scene.home.path()).unwrap().map(|entry| entry.unwrap().path());
    let is_sqlite =
        |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"));
    entries.filter(is_sqlite).max_by_key(|path| std::fs::metadata(path).unwrap().len()).expect("a database")
}

async fn some_history() -> Scene {
    let scene = Scene::with(&Mail::box_of(6), "organize", |start| start).await;
    let agent = scene.agent().await;
    for id in ["m0001", "m0002", "m0003"] {
        agent.post(&gmail(&format!("messages/{id}/trash")), &Value::Null).await.expect(200);
    }
    scene
}

/// Changes the database behind the engine's back; how many rows.
fn tamper(path: &std::path::Path, sql: &str) -> usize {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute(sql, []).unwrap()
}

/// `latch journal verify` as the person runs it, in a terminal, with the passphrase typed: its exit code and what it says.
fn verify_in_a_terminal(home: &std::path::Path) -> (i32, String) {
    use std::io::Write as _;
    let verb = format!(
        "{} journal --vault passphrase verify --home {}",
        latch_tests::paths::latch().display(),
        home.display()
    );
    let mut terminal = std::process::Command::new("script")
        .args(["-q", "-e", "-c", &verb, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = terminal.stdin.take().unwrap();
    // Typed before it is asked for would be thrown away.
    std::thread::sleep(std::time::Duration::from_millis(1500));
    keyboard.write_all(format!("{}\n", latch_tests::engine::PASSPHRASE).as_bytes()).unwrap();
    let waiting = std::thread::spawn(move || terminal.wait_with_output().unwrap());
    let output = waiting.join().unwrap();
    drop(keyboard);
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&output.stdout).into_owned())
}

#[tokio::test]
async fn attack_33_a_changed_record_and_a_dropped_tail_are_said_by_journal_verify() {
    let scene = some_history().await;
    let path = database(&scene);
    assert!(scene.engine.call(JournalVerify, Empty {}).await.ok);
    let Scene { engine, home, .. } = scene;
    assert!(engine.quit().await.success());
    let (code, said) = verify_in_a_terminal(home.path());
    assert_eq!(code, 0, "{said}");
    let whole = std::fs::read(&path).unwrap();
    let columns: Vec<(String, String)> = {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let sql = "SELECT name, type FROM pragma_table_info('journal') WHERE name <> 'seq'";
        let mut statement = connection.prepare(sql).unwrap();
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
    };
    assert!(columns.len() > 5, "{columns:?}");
    let flip = |(column, kind): &(String, String)| {
        let other = match kind.as_str() {
            "INTEGER" => format!("coalesce({column}, 0) + 1"),
            "TEXT" => format!("coalesce(substr({column}, 1, length({column}) - 1), '') || '!'"),
            _ => format!("CAST(coalesce(substr({column}, 1, length({column}) - 1), x'') || x'21' AS BLOB)"),
        };
        format!("UPDATE journal SET {column} = {other} WHERE seq = (SELECT max(seq) - 2 FROM journal)")
    };
    let mut tricks: Vec<String> = columns.iter().map(flip).collect();
    tricks.push("DELETE FROM journal WHERE seq = (SELECT max(seq) - 3 FROM journal)".to_owned());
    tricks.push("DELETE FROM journal WHERE seq > (SELECT max(seq) - 4 FROM journal)".to_owned());
    tricks.push("DELETE FROM journal WHERE seq = (SELECT max(seq) FROM journal)".to_owned());
    for sql in tricks {
        std::fs::write(&path, &whole).unwrap();
        for beside in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{beside}", path.display()));
        }
        assert!(tamper(&path, &sql) > 0, "{sql}");
        let (code, said) = verify_in_a_terminal(home.path());
        assert_ne!(code, 0, "{sql}: {said}");
        assert!(!said.contains("The journal is whole"), "{sql}: {said}");
    }
}

#[tokio::test]
async fn attack_33_an_older_copy_of_the_database_starts_panicked() {
    let mut scene = some_history().await;
    let kept = tempfile::tempdir().unwrap();
    let path = database(&scene);
    let Scene { engine, .. } = scene;
    assert!(engine.quit().await.success());
    let copy = kept.path().join("copy");
    std::fs::copy(&path, &copy).unwrap();
    let home = scene.home;
    scene =
        Scene { engine: Start::at(home.path()).start().await, home, gmail: scene.gmail, connected: scene.connected };
    let agent = Agent::new(&format!("{}/mail", scene.engine.door()), &issue(&scene.engine, "claw").await);
    agent.post(&gmail("messages/m0005/modify"), &json!({ "addLabelIds": ["Label_1"] })).await.expect(200);
    let Scene { engine, home, gmail: peer, connected } = scene;
    assert!(engine.quit().await.success());
    for name in std::fs::read_dir(home.path()).unwrap().map(|entry| entry.unwrap().path()) {
        let name_text = name.to_string_lossy().into_owned();
        if name_text.ends_with("-wal") || name_text.ends_with("-shm") {
            std::fs::remove_file(name).unwrap();
        }
    }
    std::fs::copy(&copy, &path).unwrap();
    let scene = Scene { engine: Start::at(home.path()).start().await, home, gmail: peer, connected };
    assert!(scene.engine.welcome.panicked, "the budgets of the older copy would be fresh again");
    let status = scene.engine.call(StatusCall, Empty {}).await;
    assert!(status.panicked_why.is_some(), "{status:?}");
}

#[tokio::test]
async fn attack_34_the_wall_clock_turned_back_extends_nothing() {
    let mut scene = some_history().await;
    let path = scene.home.path().to_owned();
    let params = latch_ipc::contract::GrantPutParams {
        agent: "claw".to_owned(),
        account: "mail".to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: None,
        expires_in: Some(4),
    };
    scene.engine.call(latch_ipc::contract::GrantPut, params).await;
    scene.agent().await.get(&gmail("messages")).await.expect(200);
    let six = ["m0001", "m0002", "m0003", "m0004", "m0005", "m0006"];
    scene.engine.call(latch_ipc::contract::SettingsSet, json!({ "http_wait_seconds": 0, "hold_seconds": 1 })).await;
    trash(&scene.agent().await, &six).await.unwrap().expect(429);
    tokio::time::sleep(std::time::Duration::from_millis(6000)).await;
    let year_back = |start: Start| {
        // It says that it is there already, or the engine would take it out of its environment (ATTACKS 8).
        let start = start.env("LD_PRELOAD", &faketime()).env("LATCH_REMOVED", "LD_PRELOAD");
        start.env("FAKETIME", "-365d").env("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    };
    scene.restart_as(year_back(Start::at(&path))).await;
    let tail = JournalTailParams { limit: Some(100), ..Default::default() };
    let records = scene.engine.call(JournalTail, tail).await;
    let start = records.iter().find(|record| record.kind == "start").unwrap();
    let before = records.iter().find(|record| record.kind == "intent").unwrap();
    assert!(start.at < before.at, "the clock was not turned back: {start:?} {before:?}");
    let agent = Agent::new(&format!("{}/mail", scene.engine.door()), &issue(&scene.engine, "claw").await);
    let answer = agent.get(&gmail("messages")).await;
    assert!(matches!(answer.status, 403 | 404), "the grant is over: {} {}", answer.status, answer.text());
    // Budgets are as used up as before, and a token still lives no longer than it may.
    latch_tests::scene::grant(&scene.engine, "claw", "mail", "organize").await;
    agent.get(&gmail("messages")).await.expect(200);
    agent.post(&gmail("messages/m0004/trash"), &Value::Null).await.expect(429);
    let short = latch_ipc::contract::TokenIssueParams {
        agent: Some("claw".to_owned()),
        expires_in: Some(1),
        pairing_secret: None,
    };
    let short = scene.engine.call(latch_ipc::contract::TokenIssue, short).await;
    let short = Agent::new(&format!("{}/mail", scene.engine.door()), short.access_token.expose());
    short.get(&gmail("messages")).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    short.get(&gmail("messages")).await.expect(401);
}

fn faketime() -> String {
    let places =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let found = places.iter().find(|place| std::path::Path::new(place).exists());
    (*found.expect("libfaketime is missing: run `cargo xtask setup`")).to_owned()
}

#[tokio::test]
async fn attack_41_an_engine_started_by_the_agent_gains_no_authority_and_is_shown() {
    let mut scene = some_history().await;
    let own = scene.engine.call(StatusCall, Empty {}).await.starts;
    assert_eq!(own.len(), 1, "{own:?}");
    let pid = rustix::process::Pid::from_raw(scene.engine.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    scene.engine.ended().await;
    let calls = scene.gmail.changes().await.len();
    // The agent's own engine, as owner over a pipe: without the passphrase it can do nothing.
    {
        let mut child = Start::at(scene.home.path()).by_a_shell().command().spawn().unwrap();
        let (client, _events) = latch_ipc::Client::start(
            tokio::io::BufReader::new(child.stdout.take().unwrap()),
            child.stdin.take().unwrap(),
        );
        for (method, _) in latch_ipc::contract::METHODS {
            if matches!(*method, "hello" | "status" | "settings.get" | "vault.unlock") {
                continue;
            }
            let params = json!({
                "agent": "claw", "account": "mail", "preset": "assistant", "since": "1h", "id": "claw", "name": "x",
                "provider": "gmail", "credential": { "kind": "bearer", "token": "x" }, "text": "", "digest": "d", "verdict": "allow",
            });
            let said = client.call_raw(method, params).await;
            assert!(said.is_err(), "{method}: {said:?}");
        }
        drop(client);
        tokio::time::timeout(latch_tests::engine::SOON, child.wait()).await.expect("it ends").unwrap();
    }
    // And on a terminal of its own.
    let terminal = format!(
        "{} serve --vault passphrase --http 127.0.0.1:0 --home {}",
        latch_tests::paths::latch().display(),
        scene.home.path().display()
    );
    let mut on_terminal = std::process::Command::new("script")
        .args(["-q", "-e", "-c", &terminal, "/dev/null"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keyboard = on_terminal.stdin.take().unwrap();
    for line in ["resume", "unlock", "guessed", "agents", "quit"] {
        use std::io::Write as _;
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
        let _ = keyboard.write_all(format!("{line}\n").as_bytes());
    }
    drop(keyboard);
    let said = tokio::task::spawn_blocking(move || on_terminal.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(scene.gmail.changes().await.len(), calls);
    scene.engine = Start::at(scene.home.path()).start().await;
    let status = scene.engine.call(StatusCall, Empty {}).await;
    assert_eq!(status.starts[0], own[0], "the present one comes first");
    let is_shown = |starts: &[String], what: &str| starts[1..].iter().any(|start| start.contains(what));
    assert_eq!(status.starts.len(), 3, "{:#?}", status.starts);
    assert!(status.starts[1..].iter().all(|start| start.contains("its vault locked")), "{:#?}", status.starts);
    let typed = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(is_shown(&status.starts, "/script"), "{:#?} {typed}", status.starts);
    let records = scene.engine.call(JournalTail, JournalTailParams { limit: Some(200), ..Default::default() }).await;
    let journalled = records.iter().filter(|record| record.kind == "start" && record.text.contains("its vault locked"));
    assert_eq!(journalled.count(), 2, "{records:#?}");

    // One that opens the vault, as where the keyring is unlocked: the limit that is said aloud. It is shown, too.
    let Scene { engine, home, .. } = scene;
    assert!(engine.quit().await.success());
    let theirs = Start::at(home.path()).by_a_shell().start().await;
    let opened = theirs.call(StatusCall, Empty {}).await.starts;
    assert_ne!(opened[0], own[0]);
    assert!(theirs.quit().await.success());
    for _ in 0..2 {
        // Nobody clears it by looking at it.
        let engine = Start::at(home.path()).start().await;
        let starts = engine.call(StatusCall, Empty {}).await.starts;
        assert_eq!((&starts[0], starts.len()), (&own[0], 4), "{starts:#?}");
        assert!(is_shown(&starts, &opened[0]), "{opened:?} {starts:#?}");
        assert!(engine.quit().await.success());
    }
}
