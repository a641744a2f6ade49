//! ATTACKS, "Local HTTP".

use std::fmt::Write as _;
use std::time::Duration;

use hyper::Method;
use latch_ipc::contract::{Empty, HoldList};
use latch_ipc::view::Class;
use latch_tests::scene::issue;
use latch_tests::upstream::Reply;
use latch_tests::{Agent, Scene};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gmail;
use crate::upstreams::{CREDENTIAL, house};

/// Says these bytes to the door and returns everything that comes back until it closes or is silent.
pub(crate) async fn say(door: &str, bytes: &[u8]) -> String {
    hear(door, bytes, Duration::from_millis(700)).await
}

/// The same where an answer must come, however busy the machine is.
async fn told(door: &str, bytes: &[u8]) -> String {
    hear(door, bytes, Duration::from_secs(20)).await
}

async fn hear(door: &str, bytes: &[u8], silence: Duration) -> String {
    let mut stream = TcpStream::connect(door.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(silence, stream.read(&mut chunk)).await {
        if read == 0 {
            break;
        }
        heard.extend_from_slice(&chunk[..read]);
    }
    String::from_utf8_lossy(&heard).into_owned()
}

#[tokio::test]
async fn attack_10_foreign_hosts_and_origins() {
    let scene = Scene::new(3, "organize").await;
    let token = issue(&scene.engine, "claw").await;
    let door = scene.engine.door().trim_start_matches("http://").to_owned();
    let port = door.rsplit(':').next().unwrap().to_owned();
    let ask = |host: Option<String>, extra: &str| {
        let host = host.map(|host| format!("Host: {host}\r\n")).unwrap_or_default();
        format!(
            "POST /mail/gmail/v1/users/me/messages/m0001/trash HTTP/1.1\r\n{host}Authorization: Bearer {token}\r\n{extra}Content-Length: 0\r\nConnection: close\r\n\r\n"
        )
    };
    let hosts = [
        Some("evil.com".to_owned()),
        Some(format!("evil.com:{port}")),
        Some(format!("127.0.0.1.evil.com:{port}")),
        Some(format!("localhost.evil.com:{port}")),
        Some("127.0.0.1:1".to_owned()),
        Some(format!("127.0.0.1:{port}@evil.com")),
        Some(String::new()),
        Some(format!("[::ffff:7f00:1].evil.com:{port}")),
        Some(format!("localhost.:{port}")),
        Some(format!("127.0.0.1.:{port}")),
        Some(format!("127.1:{port}")),
        Some(format!("2130706433:{port}")),
        Some(format!("0.0.0.0:{port}")),
        Some(format!("7f000001.c0a80001.rbndr.us:{port}")),
        Some(format!("127.0.0.1.nip.io:{port}")),
        Some("localhost".to_owned()),
        Some("null".to_owned()),
        None,
    ];
    for host in hosts {
        let answer = say(&door, ask(host.clone(), "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{host:?}: {answer}");
        // An older protocol changes nothing about it.
        let older = ask(host.clone(), "").replace(" HTTP/1.1\r\n", " HTTP/1.0\r\n");
        let answer = say(&door, older.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.0 4") || answer.starts_with("HTTP/1.1 4"), "{host:?}: {answer}");
    }
    let two = ask(Some(format!("{door}\r\nHost: evil.com")), "");
    assert!(say(&door, two.as_bytes()).await.starts_with("HTTP/1.1 4"), "two hosts");
    let browsers = [
        "Origin: https://evil.com\r\n",
        "Origin: null\r\n",
        "Origin: http://localhost.evil.com\r\n",
        "Origin: file://\r\n",
        "Origin: http://127.0.0.1\r\n",
        "Origin: \r\n",
        "Sec-Fetch-Site: same-origin\r\n",
        "Sec-Fetch-Site: cross-site\r\n",
        "Sec-Fetch-Site: same-site\r\n",
        "Sec-Fetch-Mode: no-cors\r\nSec-Fetch-Site: cross-site\r\n",
    ];
    for extra in browsers {
        let answer = say(&door, ask(Some(door.clone()), extra).as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{extra}: {answer}");
        assert!(!answer.to_lowercase().contains("access-control-allow-origin"), "{answer}");
    }
    let preflight = format!(
        "OPTIONS /mail/gmail/v1/users/me/messages HTTP/1.1\r\nHost: {door}\r\nOrigin: https://evil.com\r\nAccess-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
    );
    let answer = say(&door, preflight.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    // The same for the endpoints that hand out tokens.
    for path in ["/oauth2/token", "/oauth2/revoke", "/oauth2/introspect"] {
        let post = format!(
            "POST {path} HTTP/1.1\r\nHost: evil.com\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 3\r\nConnection: close\r\n\r\na=b"
        );
        let answer = say(&door, post.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{path}: {answer}");
    }
    assert_eq!(scene.gmail.asked().await, Vec::<String>::new());
    assert_eq!(scene.engine.call(HoldList, Empty {}).await, []);
    // The token of all these is as good as before.
    let fine = told(&door, ask(Some(format!("localhost:{port}")), "").as_bytes()).await;
    assert!(fine.starts_with("HTTP/1.1 200"), "{fine}");
}

#[tokio::test]
async fn attack_13_scopes_that_an_agent_gives_itself() {
    let scene = Scene::new(2, "read-only").await;
    let secret = scene.connected.pairing_secret.as_ref().unwrap().expose().to_owned();
    let door = Agent::anonymous(scene.engine.door());
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let client = &scene.connected.client_id;
    let wide = "%5B%7B%22type%22%3A%22gmail%22%2C%22actions%22%3A%5B%22*%22%5D%7D%5D";
    for extra in [
        "&scope=https://mail.google.com/",
        &format!("&authorization_details={wide}"),
        "&preset=assistant",
        "&agent=other",
    ] {
        let body = format!("grant_type=refresh_token&client_id={client}&client_secret=x&refresh_token={secret}{extra}");
        let answer = door.send(Method::POST, "/oauth2/token", &form, body).await;
        if answer.status == 200 {
            let token = answer.json()["access_token"].as_str().unwrap().to_owned();
            let agent = Agent::new(&format!("{}/mail", scene.engine.door()), &token);
            agent.post(&gmail("messages/m0001/trash"), &Value::Null).await.expect(403);
        } else {
            assert!((400..500).contains(&answer.status), "{extra}: {}", answer.text());
        }
    }
    for garbage in
        ["refresh_token=garbage", "refresh_token=", "grant_type=client_credentials", "refresh_token=test_token_admin"]
    {
        let body = format!("grant_type=refresh_token&client_id={client}&{garbage}");
        let answer = door.send(Method::POST, "/oauth2/token", &form, body).await;
        assert!(matches!(answer.status, 400 | 401), "{garbage}: {}", answer.text());
        assert!(answer.json()["error"].is_string(), "RFC 6749 section 5.2: {}", answer.text());
    }
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn attack_22_request_smuggling() {
    let (upstream, engine, _agent, _home) = house(|_| Reply::json(200, &json!({}))).await;
    let door = engine.door().trim_start_matches("http://").to_owned();
    let token = issue(&engine, "claw").await;
    let head = format!("Host: {door}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n");
    let path = "/mail/gmail/v1/users/me/messages/batchModify";
    let label = r#"{"ids":["m1"],"addLabelIds":["X"]}"#;
    let smuggled = format!(
        "POST /mail/gmail/v1/users/me/messages/m9/trash HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {token}\r\nContent-Length: 0\r\n\r\n"
    );
    let tricks = [
        (
            "CL and TE",
            format!(
                "POST {path} HTTP/1.1\r\n{head}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}",
                label.len()
            ),
        ),
        (
            "two lengths",
            format!(
                "POST {path} HTTP/1.1\r\n{head}Content-Length: 0\r\nContent-Length: {}\r\n\r\n{smuggled}",
                smuggled.len()
            ),
        ),
        (
            "a list of lengths",
            format!("POST {path} HTTP/1.1\r\n{head}Content-Length: 0, {}\r\n\r\n{smuggled}", smuggled.len()),
        ),
        ("a signed length", format!("POST {path} HTTP/1.1\r\n{head}Content-Length: +{}\r\n\r\n{label}", label.len())),
        (
            "odd encodings",
            format!("POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "chunked twice",
            format!("POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        (
            "space before the colon",
            format!("POST {path} HTTP/1.1\r\n{head}Transfer-Encoding : chunked\r\nContent-Length: 0\r\n\r\n{smuggled}"),
        ),
        (
            "obs-fold",
            format!(
                "POST {path} HTTP/1.1\r\n{head}X-A: b\r\n Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "bare CR",
            format!(
                "POST {path} HTTP/1.1\r\n{head}X-A: b\rTransfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n{smuggled}"
            ),
        ),
        ("a NUL", format!("POST {path} HTTP/1.1\r\n{head}X-A: b\0c\r\nContent-Length: 0\r\n\r\n{smuggled}")),
        (
            "two hosts",
            format!("POST {path} HTTP/1.1\r\n{head}Host: evil.com\r\nContent-Length: {}\r\n\r\n{label}", label.len()),
        ),
        (
            "bare LF after the head",
            format!("POST {path} HTTP/1.1\n{}Content-Length: {}\n\n{label}", head.replace("\r\n", "\n"), label.len()),
        ),
        (
            "bare LF within a header",
            format!(
                "POST {path} HTTP/1.1\r\n{head}X-A: b\nTransfer-Encoding: chunked\r\nContent-Length: {}\r\n\r\n0\r\n\r\n{smuggled}",
                5 + smuggled.len()
            ),
        ),
        (
            "a chunk size that is none",
            format!(
                "POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a chunk size that overflows",
            format!("POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\n{smuggled}"),
        ),
        (
            "a chunk without its end",
            format!("POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n2\r\n{{}}0\r\n\r\n{smuggled}"),
        ),
        (
            "a bare LF in a chunk extension",
            format!(
                "POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\n\r\n2;a\nx\r\n{{}}\r\n0\r\n\r\n{smuggled}"
            ),
        ),
        (
            "a trailer that frames",
            format!(
                "POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x}\r\n{label}\r\n0\r\nContent-Length: 500\r\n\r\n",
                label.len()
            ),
        ),
        (
            "TE in an older protocol",
            format!("POST {path} HTTP/1.0\r\n{head}Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        ),
        ("a hexadecimal length", format!("POST {path} HTTP/1.1\r\n{head}Content-Length: 0x0\r\n\r\n{smuggled}")),
        (
            "an absolute target elsewhere",
            format!("POST http://evil.com{path} HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{label}", label.len()),
        ),
    ];
    for (name, bytes) in tricks {
        let before = upstream.asked().len();
        let answer = say(&door, bytes.as_bytes()).await;
        let reached: Vec<_> = upstream.asked().split_off(before);
        // Exactly one request upstream, or 400 and close: what was hidden is never one of its own.
        assert!(!reached.iter().any(|line| line.contains("/m9/trash")), "{name}: {reached:?}");
        let posts = reached.iter().filter(|line| line.starts_with("POST")).count();
        let answers = answer.matches("HTTP/1.1 ").count();
        if posts > 0 {
            assert_eq!((posts, answers), (1, 1), "{name}: {reached:?} {answer}");
        } else {
            assert_eq!(reached, Vec::<String>::new(), "{name}: {answer}");
            let refused =
                ["400", "421", "501", "431"].iter().any(|code| answer.starts_with(&format!("HTTP/1.1 {code}")));
            assert!(refused, "{name}: {answer}");
            assert_eq!(answers, 1, "{name}: what follows on the connection was answered, too: {answer}");
        }
        assert_eq!(engine.call(HoldList, Empty {}).await, [], "{name} is waiting");
    }
    // Chunk extensions are legal: one request, forwarded with a length or chunks of our own.
    let chunked = format!(
        "POST {path} HTTP/1.1\r\n{head}Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n{:x};a=b\r\n{label}\r\n0\r\n\r\n",
        label.len()
    );
    let before = upstream.asked().len();
    let answer = say(&door, chunked.as_bytes()).await;
    let posts = upstream.seen().split_off(before).into_iter().filter(|seen| seen.method == "POST").count();
    assert!(posts == 1 || (posts == 0 && answer.starts_with("HTTP/1.1 4")), "{posts}: {answer}");
}

#[tokio::test]
async fn attack_23_method_overrides() {
    let scene = Scene::new(3, "organize").await;
    let agent = scene.agent().await;
    let headers = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "x-http-method-override"];
    for header in headers {
        let agent_again = agent.clone();
        let mut asked = tokio::spawn(async move {
            agent_again.send(Method::POST, &gmail("messages/m0001"), &[(header, "DELETE")], "").await
        });
        assert_held_or_refused(&scene, &mut asked, header).await;
    }
    for query in
        ["_method=DELETE", "$method=DELETE", "%24method=delete", "%5Fmethod=DELETE", "X-HTTP-Method-Override=DELETE"]
    {
        let agent_again = agent.clone();
        let path = gmail(&format!("messages/m0001?{query}"));
        let mut asked = tokio::spawn(async move { agent_again.send(Method::POST, &path, &[], "").await });
        assert_held_or_refused(&scene, &mut asked, query).await;
    }
    // In a form or a JSON body it is only a field of that name.
    for (kind, body) in
        [("application/x-www-form-urlencoded", "_method=DELETE"), ("application/json", "{\"_method\":\"DELETE\"}")]
    {
        let agent_again = agent.clone();
        let mut asked = tokio::spawn(async move {
            agent_again.send(Method::POST, &gmail("messages/m0001"), &[("content-type", kind)], body).await
        });
        assert_held_or_refused(&scene, &mut asked, body).await;
    }
    // Where the origin would not look at it, it is taken out or the request is refused: it never arrives.
    let (upstream, _engine, agent, _home) = house(|_| Reply::json(200, &json!({}))).await;
    let spellings = ["X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override", "X_HTTP_METHOD_OVERRIDE"];
    for header in spellings {
        for value in ["DELETE", "GET", "delete", "", "POST, DELETE"] {
            let answer = agent.send(Method::GET, &gmail("messages"), &[(header, value)], "").await;
            assert!(answer.status == 200 || (400..500).contains(&answer.status), "{header}: {}", answer.status);
        }
    }
    for query in ["_method=DELETE", "%5Fmethod=DELETE", "$method=DELETE", "%24Method=DELETE", "_METHOD=delete"] {
        agent.get(&gmail(&format!("messages?{query}&q=x"))).await;
    }
    for seen in upstream.seen() {
        assert_eq!(seen.method, "GET", "{seen:?}");
        let carries = |text: &str| text.to_lowercase().replace(['-', '_'], "").contains("method");
        assert!(!seen.headers.keys().any(|name| carries(name.as_str())), "{seen:?}");
        assert!(!carries(&seen.target.replace("%5F", "_").replace("%24", "$")), "{seen:?}");
    }
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

/// Denies what is held; fails if it ran, or was permitted unasked.
async fn assert_held_or_refused(scene: &Scene, asked: &mut tokio::task::JoinHandle<latch_tests::Answer>, what: &str) {
    let answer = loop {
        tokio::select! {
            answer = &mut *asked => break answer.unwrap(),
            () = tokio::time::sleep(Duration::from_millis(50)) => {
                for hold in scene.engine.call(HoldList, Empty {}).await {
                    assert!(matches!(hold.class, Class::Destroy | Class::Unclassified), "{what}: {hold:?}");
                    let id = latch_ipc::contract::Id { id: hold.id };
                    let _ = scene.engine.client.call(latch_ipc::contract::HoldDeny, id).await;
                }
            }
        }
    };
    // A pause after three denials is fine too.
    assert!((400..500).contains(&answer.status), "{what}: {} {}", answer.status, answer.text());
}

#[tokio::test]
async fn attack_24_paths_that_mean_something_else() {
    let scene = Scene::new(3, "organize").await;
    let agent = scene.agent().await;
    let before = scene.gmail.labels().await;
    let paths = [
        "/gmail/v1/users/me/messages/m0001%2ftrash",
        "/gmail/v1/users/me/messages/m0001%252Ftrash",
        "/gmail/v1/users/me/messages/x/..;/m0001/trash",
        "/gmail/v1/users/me/messages/x/../m0001/trash",
        "/gmail/v1/users/me/messages/x/%2e%2e/m0001/trash",
        "/gmail/v1/users/me/messages/x/%252e%252e/m0001/trash",
        "/gmail/v1/users/me/messages//m0001/trash",
        "//gmail/v1/users/me/messages/m0001/trash",
        "/gmail/v1/users/me/messages\\m0001\\trash",
        "/gmail/v1/users/me/messages/m0001/trash/",
        "/gmail/v1/users/me/messages/m0001/trash;x=y",
        "/gmail/v1/users/me/messages/m0001/tr%61sh%00",
        "/gmail/v1/users/me/messages/m0001/trash.",
        "/Gmail/V1/Users/me/Messages/m0001/Trash",
        "/gmail/v1/users/me/messages/m0001/trash%20",
        "/gmail/v1/users/me/messages/m0001/%74rash/../../m0001",
    ];
    for path in paths {
        let (agent, path_again) = (agent.clone(), path.to_owned());
        let mut asked = tokio::spawn(async move { agent.send(Method::DELETE, &path_again, &[], "").await });
        assert_held_or_refused(&scene, &mut asked, path).await;
    }
    assert_eq!(scene.gmail.labels().await, before);
    // What is only spelled differently is what it is.
    let agent = scene.agent().await;
    let spelled = agent.post("/gmail/v1/users/me/messages/m0002/tr%61sh", &Value::Null).await;
    assert!(matches!(spelled.status, 200 | 400 | 403 | 429), "{}", spelled.text());
}

fn batch(parts: &[(&str, &str, &str)]) -> String {
    let mut body = String::new();
    for (n, (line, headers, content)) in parts.iter().enumerate() {
        let _ = write!(
            body,
            "--part\r\nContent-Type: application/http\r\nContent-ID: <{n}>\r\n\r\n{line}\r\n{headers}\r\n{content}\r\n"
        );
    }
    body + "--part--\r\n"
}

#[tokio::test]
async fn attack_25_a_delete_hidden_in_a_batch() {
    let scene = Scene::new(120, "organize").await;
    let agent = scene.agent().await;
    let gets: Vec<String> =
        (1..=99).map(|n| format!("GET /gmail/v1/users/me/messages/m{n:04}?format=minimal")).collect();
    let mut parts: Vec<(&str, &str, &str)> =
        gets.iter().map(|line| (line.as_str(), "Authorization: Bearer inner-token\r\n", "")).collect();
    parts.insert(50, ("DELETE /gmail/v1/users/me/messages/m0100", "Authorization: Bearer inner-token\r\n", ""));
    let body = batch(&parts);
    let kind = [("content-type", "multipart/mixed; boundary=part")];
    let asked = tokio::spawn(async move { agent.send(Method::POST, "/batch/gmail/v1", &kind, body).await });
    let hold = scene.engine.hold().await;
    assert_eq!(hold.class, Class::Destroy);
    let shown: std::collections::BTreeSet<_> = hold.objects.iter().map(|object| object.id.clone()).collect();
    assert_eq!(shown, (1..=100).map(|n| format!("m{n:04}")).collect(), "all parts are shown");
    assert!(hold.objects.iter().all(|object| object.title.starts_with("Mail number")), "{hold:#?}");
    assert!(hold.facts.iter().any(|fact| fact.label == "Batch of" && fact.value.contains("99")), "{:?}", hold.facts);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
    scene.engine.deny(&hold).await;
    asked.await.unwrap().expect(403);
    assert_eq!(scene.gmail.labels().await.len(), 120);
}

#[tokio::test]
async fn attack_25_a_harmless_batch_is_forwarded_part_by_part_without_inner_credentials() {
    let (upstream, _engine, agent, _home) = house(|seen| Reply::json(200, &json!({ "id": seen.target }))).await;
    let body = batch(&[
        (
            "GET /gmail/v1/users/me/messages/m1?format=minimal",
            "Authorization: Bearer inner-token\r\nCookie: a=b\r\n",
            "",
        ),
        ("GET /gmail/v1/users/me/labels HTTP/1.1", "", ""),
    ]);
    let kind = [("content-type", "multipart/mixed; boundary=part")];
    let answer = agent.send(Method::POST, "/batch/gmail/v1", &kind, body).await.expect(200);
    assert!(answer.header("content-type").starts_with("multipart/mixed"), "{}", answer.header("content-type"));
    assert_eq!(answer.text().matches("HTTP/1.1 200").count(), 2, "{}", answer.text());
    assert!(answer.text().contains("response-0"), "{}", answer.text());
    let mut asked = upstream.asked();
    asked.sort();
    assert_eq!(asked, ["GET /gmail/v1/users/me/labels", "GET /gmail/v1/users/me/messages/m1?format=minimal"]);
    for seen in upstream.seen() {
        assert_eq!(seen.header("authorization"), format!("Bearer {CREDENTIAL}"));
        assert_eq!(seen.header("cookie"), "");
    }
}

#[tokio::test]
async fn attack_25_an_override_inside_a_part() {
    let scene = Scene::new(3, "organize").await;
    let agent = scene.agent().await;
    let body = batch(&[("POST /gmail/v1/users/me/messages/m0001", "X-HTTP-Method-Override: DELETE\r\n", "")]);
    let kind = [("content-type", "multipart/mixed; boundary=part")];
    let mut asked = tokio::spawn(async move { agent.send(Method::POST, "/batch/gmail/v1", &kind, body).await });
    assert_held_or_refused(&scene, &mut asked, "an inner override").await;
    assert_eq!(scene.gmail.labels().await.len(), 3);
}

#[tokio::test]
async fn attack_27_redirects_do_not_take_the_credential_along() {
    let thief = latch_tests::upstream::Upstream::start(|_| Reply::json(200, &json!({})));
    let (host, port) = thief.url.trim_start_matches("http://").split_once(':').unwrap();
    // Another port, another name for the same host, another scheme, another host, without a scheme, with a user.
    let targets = [
        format!("{}/stolen", thief.url),
        format!("http://localhost:{port}/stolen"),
        format!("https://{host}:{port}/stolen"),
        format!("//{host}:{port}/stolen"),
        format!("http://me@{host}:{port}/stolen"),
        format!("\\\\{host}:{port}\\stolen"),
    ];
    let elsewhere = targets.clone();
    let (upstream, engine, agent, _home) = house(move |seen| {
        let read = json!({ "id": "m1", "labelIds": ["INBOX"], "payload": { "headers": [] } });
        // The guard's own reading before a change is answered.
        let named = if seen.method == "POST" { "/messages/r" } else { "q=" };
        let which = seen.target.split(named).nth(1).and_then(|which| which.split('/').next()?.split_once('-'));
        let parsed = which.and_then(|(status, target)| Some((status.parse().ok()?, target.parse::<usize>().ok()?)));
        let Some((status, target)) = parsed else { return Reply::json(200, &read) };
        Reply::text(status, "text/plain", "elsewhere").header("location", &elsewhere[target])
    })
    .await;
    for status in [300_u16, 301, 302, 303, 305, 307, 308] {
        for target in 0..targets.len() {
            let which = format!("{status}-{target}");
            let answer = agent.get(&gmail(&format!("messages?q={which}"))).await;
            assert!(answer.status == status || answer.status >= 500, "{which}: {}", answer.status);
            let label = json!({ "addLabelIds": ["L"] });
            let changed = agent.post(&gmail(&format!("messages/r{which}/modify")), &label).await;
            assert!(changed.status == status || changed.status >= 400, "{which}: {}", changed.status);
            for answer in [answer, changed] {
                assert!(!format!("{:?} {}", answer.headers, answer.text()).contains(CREDENTIAL));
            }
        }
    }
    let asked = upstream.asked();
    assert_eq!(asked.iter().filter(|line| line.starts_with("POST")).count(), 7 * targets.len(), "each went out once");
    assert_eq!(thief.asked(), Vec::<String>::new());
    assert!(!engine.log().contains(CREDENTIAL));
}

fn in_twelve_encodings(secret: &str) -> Vec<String> {
    use base64::Engine as _;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
    let bytes = secret.as_bytes();
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    vec![
        secret.to_owned(),
        hex.to_uppercase(),
        hex,
        STANDARD.encode(bytes),
        STANDARD_NO_PAD.encode(bytes),
        URL_SAFE.encode(bytes),
        URL_SAFE_NO_PAD.encode(bytes),
        bytes.iter().map(|byte| format!("%{byte:02X}")).collect(),
        bytes.iter().map(|byte| format!("%{byte:02x}")).collect(),
        secret.chars().map(|c| format!("\\u{:04x}", c as u32)).collect(),
        bytes.iter().map(|byte| format!("&#{byte};")).collect(),
        format!("Bearer {secret}"),
    ]
}

#[tokio::test]
async fn attack_28_an_origin_that_echoes_the_credential() {
    let encodings = in_twelve_encodings(CREDENTIAL);
    assert_eq!(encodings.len(), 12);
    let echoed = encodings.clone();
    let (_upstream, engine, agent, _home) = house(move |seen| {
        let mut numbers = seen.target.rsplit("q=").next().unwrap_or_default().split('-');
        let encoding: usize = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let size: usize = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        let text = format!("{{\"before\": 1, \"echo\": \"{}\", \"after\": 2}}", echoed[encoding]);
        Reply::text(200, "application/json", &text).header("x-echo", &echoed[encoding]).in_chunks_of(size)
    })
    .await;
    for (encoding, text) in encodings.iter().enumerate() {
        for size in 1..=64 {
            let answer = agent.get(&gmail(&format!("messages?q={encoding}-{size}"))).await.expect(200);
            let body = answer.text();
            assert!(body.starts_with("{\"before\": 1, \"echo\": \""), "{body}");
            assert!(body.ends_with("\", \"after\": 2}"), "{body}");
            // Nothing of it: no six letters of it in a row, in the body or in a header.
            let everything = format!("{body} {:?}", answer.headers);
            let secret = text.strip_prefix("Bearer ").unwrap_or(text);
            for part in secret.as_bytes().windows(6) {
                let part = std::str::from_utf8(part).unwrap();
                assert!(!everything.contains(part), "encoding {encoding} in chunks of {size}: {part} in {everything}");
            }
        }
    }
    assert!(!engine.log().contains(CREDENTIAL));
}
