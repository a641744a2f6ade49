//! Bad input, each with a precise answer, nothing lost and nothing executed.

use hyper::Method;
use latch_ipc::Secret;
use latch_ipc::contract::{AgentRevoke, Empty, HoldList, Id, Unlock, VaultUnlock};
use latch_tests::engine::Start;
use latch_tests::scene::{connect, issue};
use latch_tests::{Agent, Scene};
use serde_json::{Value, json};

use crate::gmail;

#[tokio::test]
async fn an_unknown_route_is_never_run_unasked() {
    let scene = Scene::new(2, "organize").await;
    let agent = scene.agent().await;
    for (method, path) in [
        (Method::POST, gmail("messages/purge")),
        (Method::GET, gmail("nonsense")),
        (Method::PATCH, gmail("messages/m0001")),
    ] {
        let (agent_again, path_again) = (agent.clone(), path.clone());
        let asked = tokio::spawn(async move { agent_again.send(method, &path_again, &[], "").await });
        let hold = scene.engine.hold().await;
        assert_eq!(hold.class, latch_ipc::view::Class::Unclassified, "{path}");
        scene.engine.deny(&hold).await;
        asked.await.unwrap().expect(403);
    }
    assert_eq!(scene.gmail.asked().await, Vec::<String>::new());
}

#[tokio::test]
async fn bodies_that_cannot_be_understood_are_refused_or_asked_about() {
    let scene = Scene::new(2, "organize").await;
    let agent = scene.agent().await;
    let path = gmail("messages/batchModify");
    let json_type = [("content-type", "application/json")];
    let many: Vec<String> = (0..1001).map(|n| format!("m{n}")).collect();
    let cases: [(&[(&str, &str)], String); 5] = [
        (&json_type, "{\"ids\": [\"m0001\"".to_owned()),
        (&json_type, "[]".to_owned()),
        (&json_type, "{\"ids\": [\"m0001\"], \"ids\": [\"m0002\"], \"addLabelIds\": [\"TRASH\"]}".to_owned()),
        (&[("content-type", "text/plain")], "{\"ids\": [\"m0001\"], \"addLabelIds\": [\"TRASH\"]}".to_owned()),
        (&json_type, json!({ "ids": many, "addLabelIds": ["TRASH"] }).to_string()),
    ];
    for (headers, body) in cases {
        let (agent, path) = (agent.clone(), path.clone());
        let headers: Vec<(String, String)> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let said: String = body.chars().take(60).collect();
        let mut asked = tokio::spawn(async move {
            let headers: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            agent.send(Method::POST, &path, &headers, body).await
        });
        let answer = loop {
            tokio::select! {
                answer = &mut asked => break answer.unwrap(),
                () = tokio::time::sleep(std::time::Duration::from_millis(200)) => {
                    for hold in scene.engine.call(HoldList, Empty {}).await {
                        scene.engine.call(latch_ipc::contract::HoldDeny, Id { id: hold.id }).await;
                    }
                }
            }
        };
        assert!((400..500).contains(&answer.status), "{said}: {} {}", answer.status, answer.text());
        assert!(answer.json()["detail"].as_str().is_some_and(|detail| detail.len() > 10), "{said}: {}", answer.text());
    }
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn ids_of_another_mailbox_change_nothing() {
    let scene = Scene::new(2, "organize").await;
    let agent = scene.agent().await;
    let answer = agent.post(&gmail("messages/x9999/trash"), &Value::Null).await;
    assert_eq!(answer.status, 404, "{}", answer.text());
    assert_eq!(scene.gmail.trashed().await, 0);
}

#[tokio::test]
async fn tokens_that_are_not_good_are_told_apart_from_denials() {
    let scene = Scene::new(1, "organize").await;
    let base = format!("{}/mail", scene.engine.door());
    let good = issue(&scene.engine, "claw").await;
    for bad in [
        "",
        "garbage",
        "latch_0000000000000000000000000000000000000000000",
        &good[..good.len() - 1],
        "test_token_admin",
    ] {
        let answer = Agent::new(&base, bad).get(&gmail("messages")).await.expect(401);
        assert!(answer.header("www-authenticate").starts_with("Bearer"), "{bad}");
    }
    Agent::anonymous(&base).get(&gmail("messages")).await.expect(401);
    let params = latch_ipc::contract::TokenIssueParams {
        agent: Some("claw".to_owned()),
        expires_in: Some(1),
        pairing_secret: None,
    };
    let short = scene.engine.call(latch_ipc::contract::TokenIssue, params).await;
    let short = Agent::new(&base, short.access_token.expose());
    short.get(&gmail("messages")).await.expect(200);
    tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
    short.get(&gmail("messages")).await.expect(401);
    let revoked = Agent::new(&base, &good);
    revoked.get(&gmail("messages")).await.expect(200);
    scene.engine.call(AgentRevoke, Id { id: "claw".to_owned() }).await;
    revoked.get(&gmail("messages")).await.expect(401);
}

#[tokio::test]
async fn another_agents_token_opens_only_what_that_agent_was_granted() {
    let scene = Scene::new(2, "organize").await;
    latch_tests::scene::add_account(&scene.engine, "work", &scene.gmail.url, &scene.gmail.token).await;
    connect(&scene.engine, "other", "work", "organize").await;
    let token = issue(&scene.engine, "other").await;
    Agent::new(&format!("{}/work", scene.engine.door()), &token).get(&gmail("messages")).await.expect(200);
    let foreign = Agent::new(&format!("{}/mail", scene.engine.door()), &token);
    let nowhere = Agent::new(&format!("{}/nosu", scene.engine.door()), &token);
    let anonymous = ["mail", "nosu"].map(|account| Agent::anonymous(&format!("{}/{account}", scene.engine.door())));
    let told = |answer: &latch_tests::Answer| {
        let mut headers = answer.headers.clone();
        headers.remove("date");
        (answer.status, headers, answer.text())
    };
    for (method, path, body) in [
        (Method::GET, gmail("messages"), String::new()),
        (Method::GET, "/".to_owned(), String::new()),
        (Method::GET, "/nothing/of/the/kind?x=1".to_owned(), String::new()),
        (Method::HEAD, gmail("messages"), String::new()),
        (Method::PUT, gmail("drafts/d1"), "{".to_owned()),
        (Method::DELETE, gmail("messages/m0001"), String::new()),
        (Method::POST, gmail("messages/batchModify"), "not json".to_owned()),
        (Method::POST, "/batch".to_owned(), String::new()),
    ] {
        let headers: &[(&str, &str)] = &[("content-type", "application/json"), ("x-http-method", "GET")];
        for headers in [&headers[..1], headers] {
            let one = foreign.send(method.clone(), &path, headers, body.clone()).await;
            let other = nowhere.send(method.clone(), &path, headers, body.clone()).await;
            assert_eq!(told(&one), told(&other), "{method} {path}");
            one.expect(403);
        }
        let [one, other] = &anonymous;
        let one = one.send(method.clone(), &path, headers, body.clone()).await;
        assert_eq!(
            told(&one),
            told(&other.send(method.clone(), &path, headers, body.clone()).await),
            "{method} {path}"
        );
    }
    assert_eq!(scene.gmail.asked().await.len(), 1);
}

#[tokio::test]
async fn a_token_in_the_query_is_no_token_and_goes_nowhere() {
    let scene = Scene::new(1, "organize").await;
    let token = issue(&scene.engine, "claw").await;
    let anonymous = Agent::anonymous(&format!("{}/mail", scene.engine.door()));
    for name in ["access_token", "oauth_token", "key"] {
        let answer = anonymous.get(&gmail(&format!("messages?{name}={token}"))).await;
        assert!(matches!(answer.status, 400 | 401), "{}", answer.text());
    }
    // Whatever was in a query may be in somebody's log: it is dead.
    Agent::new(&format!("{}/mail", scene.engine.door()), &token).get(&gmail("messages")).await.expect(401);
    let agent = scene.agent().await;
    let _ = agent.get(&gmail(&format!("messages?access_token={token}&oauth_token={token}&key={token}&q=x"))).await;
    assert!(!scene.gmail.asked().await.join("\n").contains(&token), "{:?}", scene.gmail.asked().await);
}

async fn refuses_to_start(start: Start) -> String {
    let child = start.command().spawn().unwrap();
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait_with_output());
    let output = output.await.expect("it ends by itself").unwrap();
    assert!(!output.status.success());
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test]
async fn a_second_engine_on_the_home_is_refused() {
    let scene = Scene::new(1, "organize").await;
    let said = refuses_to_start(Start::at(scene.home.path()).in_memory()).await;
    assert!(said.to_lowercase().contains("already"), "{said}");
    scene.agent().await.get(&gmail("messages")).await.expect(200);
}

#[tokio::test]
async fn a_taken_port_is_said() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let home = tempfile::tempdir().unwrap();
    let said = refuses_to_start(Start::at(home.path()).in_memory().http(&address)).await;
    assert!(said.contains(&address.rsplit(':').next().unwrap().to_owned()), "{said}");
    assert!(said.to_lowercase().contains("in use") || said.to_lowercase().contains("taken"), "{said}");
}

#[tokio::test]
async fn a_door_open_to_others_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let said = refuses_to_start(Start::at(home.path()).in_memory().http("0.0.0.0:0")).await;
    assert!(said.contains("this machine only"), "{said}");
}

fn database(home: &std::path::Path) -> std::path::PathBuf {
    let entries = std::fs::read_dir(home).unwrap().map(|entry| entry.unwrap().path());
    let is_sqlite =
        |path: &std::path::PathBuf| std::fs::read(path).is_ok_and(|bytes| bytes.starts_with(b"SQLite format 3"));
    entries.filter(is_sqlite).max_by_key(|path| std::fs::metadata(path).unwrap().len()).expect("a database")
}

/// A home that was used and left in peace.
async fn used_home() -> tempfile::TempDir {
    let scene = Scene::lasting(2, "organize").await;
    scene.agent().await.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(200);
    let Scene { engine, home, .. } = scene;
    assert!(engine.quit().await.success());
    home
}

/// Starts on a spoiled home; returns what it said, on stderr or over the channel.
async fn opens_with_complaint(home: &std::path::Path) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt};
    let mut child = Start::at(home).command().spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let unlock = json!({ "jsonrpc": "2.0", "id": 1, "method": "vault.unlock", "params": { "passphrase": latch_tests::engine::PASSPHRASE } });
    let _ = stdin.write_all(format!("{unlock}\n").as_bytes()).await;
    let mut stdout = tokio::io::BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(std::time::Duration::from_secs(20), stdout.next_line())
        .await
        .expect("an answer or an end");
    drop(stdin);
    let output = tokio::time::timeout(std::time::Duration::from_secs(20), child.wait_with_output())
        .await
        .expect("an end")
        .unwrap();
    line.unwrap().unwrap_or_default() + &String::from_utf8_lossy(&output.stderr)
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let home = used_home().await;
    let path = database(home.path());
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 9999).unwrap();
    drop(connection);
    let said = opens_with_complaint(home.path()).await;
    assert!(said.contains("newer"), "{said}");
    let connection = rusqlite::Connection::open(&path).unwrap();
    let version: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 9999);
}

#[tokio::test]
async fn a_corrupt_database_is_refused_and_left_alone() {
    let home = used_home().await;
    let path = database(home.path());
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[200..] {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, &bytes).unwrap();
    let log = home.path().join(format!("{}-wal", path.file_name().unwrap().to_string_lossy()));
    if log.exists() {
        std::fs::write(&log, vec![0x5a; 8192]).unwrap();
    }
    let said = opens_with_complaint(home.path()).await.to_lowercase();
    assert!(said.contains("corrupt") || said.contains("damaged") || said.contains("malformed"), "{said}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_wrong_passphrase_opens_nothing() {
    let home = used_home().await;
    let mut child = Start::at(home.path()).command().spawn().unwrap();
    let (client, _events) =
        latch_ipc::Client::start(tokio::io::BufReader::new(child.stdout.take().unwrap()), child.stdin.take().unwrap());
    let wrong = client.call(VaultUnlock, Unlock { passphrase: Secret::new("wrong".to_owned()) }).await;
    assert!(wrong.unwrap_err().is(latch_ipc::rpc::ErrorCode::Vault));
    assert!(client.call(latch_ipc::contract::AccountList, Empty {}).await.is_err());
    client
        .call(VaultUnlock, Unlock { passphrase: Secret::new(latch_tests::engine::PASSPHRASE.to_owned()) })
        .await
        .unwrap();
    assert_eq!(client.call(latch_ipc::contract::AccountList, Empty {}).await.unwrap().len(), 1);
}

#[tokio::test]
async fn an_uploaded_mail_arrives_and_can_be_taken_back() {
    let scene = Scene::new(1, "organize").await;
    let agent = scene.agent().await;
    let path = "/upload/gmail/v1/users/me/messages?uploadType=media";
    let mail = "From: a@example.com\r\nTo: me@example.com\r\nSubject: Uploaded\r\n\r\nText\r\n";
    let answer = agent.send(Method::POST, path, &[("content-type", "message/rfc822")], mail).await.expect(200).json();
    let id = answer["id"].as_str().unwrap();
    let read = scene.gmail.direct().get(&gmail(&format!("messages/{id}?format=metadata"))).await.expect(200).json();
    assert!(read["payload"]["headers"].to_string().contains("Uploaded"), "{read}");
    assert_eq!(crate::undo::undo_all(&scene).await.restored, 1);
}
