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
async fn attack_06_another_process_of_the_same_user_cannot_look_inside() {
    // Root may read everything, so the reader is an ordinary user, as is the engine.
    let scene = Scene::new(1, "organize").await;
    let status = std::fs::read_to_string(format!("/proc/{}/status", scene.engine.pid())).unwrap();
    assert!(status.contains("Name:"), "{status}");
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", scene.engine.pid())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    // A process that is not dumpable belongs to root in /proc, whoever runs it.
    use std::os::unix::fs::MetadataExt as _;
    let home = tempfile::tempdir().unwrap();
    std::process::Command::new("chown").arg("65534:65534").arg(home.path()).status().unwrap();
    let program = home.path().join("latch");
    std::fs::copy(latch_tests::paths::latch(), &program).unwrap();
    let mut child = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["serve", "--owner", "stdio", "--http", "127.0.0.1:0", "--vault", "memory", "--home"])
        .arg(home.path().join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (client, _events) =
        latch_ipc::Client::start(tokio::io::BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
    client
        .call(latch_ipc::contract::HelloCall, latch_ipc::contract::Hello { protocol: latch_ipc::PROTOCOL })
        .await
        .unwrap();
    let pid = child.id().unwrap();
    for file in ["mem", "environ", "maps"] {
        let owner = std::fs::metadata(format!("/proc/{pid}/{file}")).unwrap().uid();
        assert_eq!(owner, 0, "/proc/PID/{file} belongs to the user");
        let read = std::process::Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "cat"])
            .arg(format!("/proc/{pid}/{file}"))
            .output()
            .unwrap();
        assert!(!read.status.success(), "/proc/PID/{file} was read");
    }
    let traced = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--bounding-set=-all", "gdb", "-batch", "-p"])
        .arg(pid.to_string())
        .output()
        .expect("gdb");
    let said = String::from_utf8_lossy(&traced.stderr).into_owned() + &String::from_utf8_lossy(&traced.stdout);
    assert!(said.contains("Operation not permitted") || said.contains("ptrace"), "{said}");
}

#[tokio::test]
async fn attack_07_forty_canaries_are_nowhere() {
    let canaries = Canaries::new(40);
    let scene = Scene::with(&Mail::box_of(12), "organize", |start| start).await;
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
            id: format!("a{n}"),
            provider: "gmail".to_owned(),
            upstream: UpstreamParams { base_url: Some(url) },
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
    // While it runs, after it was killed, and after it went in peace.
    assert!(canaries.assert_absent_below(scene.home.path()) > 1);
    canaries.assert_absent("the log", scene.engine.log().as_bytes());
    let Scene { engine, home, .. } = scene;
    engine.quit().await;
    canaries.assert_absent_below(home.path());
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

/// The journal's table and a column of it that holds text or bytes, found by looking.
fn tamper(path: &std::path::Path, sql: &str) -> usize {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute(sql, []).unwrap()
}

#[tokio::test]
async fn attack_33_a_changed_record_and_a_dropped_tail_are_noticed() {
    for sql in [
        "UPDATE journal SET agent = 'other' WHERE seq = (SELECT max(seq) - 2 FROM journal)",
        "DELETE FROM journal WHERE seq = (SELECT max(seq) - 3 FROM journal)",
        "DELETE FROM journal WHERE seq > (SELECT max(seq) - 4 FROM journal)",
    ] {
        let mut scene = some_history().await;
        assert!(scene.engine.call(JournalVerify, Empty {}).await.ok);
        let path = database(&scene);
        let pid = rustix::process::Pid::from_raw(scene.engine.pid() as i32).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        scene.engine.ended().await;
        assert!(tamper(&path, sql) > 0, "{sql}");
        scene.engine = Start::at(scene.home.path()).start().await;
        let verified = scene.engine.call(JournalVerify, Empty {}).await;
        let noticed = !verified.ok || scene.engine.welcome.panicked;
        assert!(noticed, "{sql}: {verified:?}");
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
    let params = latch_ipc::contract::GrantPutParams {
        agent: "claw".to_owned(),
        account: "mail".to_owned(),
        preset: "organize".to_owned(),
        authorization_details: None,
        budgets: None,
        expires_in: Some(2),
    };
    scene.engine.call(latch_ipc::contract::GrantPut, params).await;
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    let path = scene.home.path().to_owned();
    let library = faketime();
    scene
        .restart_as(
            Start::at(&path)
                .env("LD_PRELOAD", &library)
                .env("FAKETIME", "-365d")
                .env("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        )
        .await;
    let agent = Agent::new(&format!("{}/mail", scene.engine.door()), &issue_or_none(&scene).await);
    let answer = agent.get(&gmail("messages")).await;
    assert!(matches!(answer.status, 401 | 403 | 404), "{}", answer.text());
}

async fn issue_or_none(scene: &Scene) -> String {
    let params = latch_ipc::contract::TokenIssueParams { agent: Some("claw".to_owned()), ..Default::default() };
    match scene.engine.client.call(latch_ipc::contract::TokenIssue, params).await {
        Ok(issued) => issued.access_token.expose().to_owned(),
        Err(_) => "none".to_owned(),
    }
}

fn faketime() -> String {
    let places =
        ["/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1", "/usr/lib/aarch64-linux-gnu/faketime/libfaketime.so.1"];
    let found = places.iter().find(|place| std::path::Path::new(place).exists());
    (*found.expect("libfaketime is missing: run `cargo xtask setup`")).to_owned()
}

#[tokio::test]
async fn attack_36_a_read_only_home_changes_nothing() {
    let mut scene = some_history().await;
    let path = database(&scene);
    let calls = scene.gmail.changes().await.len();
    let pid = rustix::process::Pid::from_raw(scene.engine.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    scene.engine.ended().await;
    // Not even root writes to an immutable file.
    let immutable = std::process::Command::new("chattr").arg("+i").arg(&path).status().unwrap();
    let child = Start::at(scene.home.path()).command().spawn().unwrap();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), async {
        let mut child = child;
        let (client, _events) = latch_ipc::Client::start(
            tokio::io::BufReader::new(child.stdout.take().unwrap()),
            child.stdin.take().unwrap(),
        );
        let passphrase = Secret::new(latch_tests::engine::PASSPHRASE.to_owned());
        let unlocked = client.call(latch_ipc::contract::VaultUnlock, latch_ipc::contract::Unlock { passphrase }).await;
        drop(client);
        let _ = child.wait().await;
        unlocked.is_err()
    })
    .await;
    if immutable.success() {
        std::process::Command::new("chattr").arg("-i").arg(&path).status().unwrap();
        assert!(output.expect("an answer or an end"), "it opened what it can't write");
    }
    assert_eq!(scene.gmail.changes().await.len(), calls);
}

#[tokio::test]
async fn attack_41_an_engine_started_by_the_agent_gains_no_authority_and_is_shown() {
    let mut scene = some_history().await;
    let pid = rustix::process::Pid::from_raw(scene.engine.pid() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    scene.engine.ended().await;
    let calls = scene.gmail.changes().await.len();
    // The agent's own engine, as owner: without the passphrase it can do nothing.
    {
        let mut child = Start::at(scene.home.path()).command().spawn().unwrap();
        let (client, _events) = latch_ipc::Client::start(
            tokio::io::BufReader::new(child.stdout.take().unwrap()),
            child.stdin.take().unwrap(),
        );
        let grant = json!({ "agent": "claw", "account": "mail", "preset": "assistant" });
        assert!(client.call_raw("grant.put", grant).await.is_err());
        assert!(client.call_raw("token.issue", json!({ "agent": "claw" })).await.is_err());
        assert!(client.call_raw("undo.run", json!({ "agent": "claw", "since": "1h" })).await.is_err());
        assert!(client.call_raw("resume", json!({})).await.is_err());
        child.kill().await.unwrap();
    }
    assert_eq!(scene.gmail.changes().await.len(), calls);
    scene.engine = Start::at(scene.home.path()).start().await;
    let status = scene.engine.call(StatusCall, Empty {}).await;
    let records = scene.engine.call(JournalTail, JournalTailParams { limit: Some(200), ..Default::default() }).await;
    let starts = records.iter().filter(|record| record.kind == "start").count();
    assert!(starts >= 2 || !status.starts.is_empty(), "{status:?} {records:#?}");
}
