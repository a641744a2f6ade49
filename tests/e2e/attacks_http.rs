//! ATTACKS, "Local HTTP".

use std::fmt::Write as _;
use std::time::Duration;

use hyper::Method;
use latch_ipc::contract::{Empty, HoldList};
use latch_ipc::view::Class;
use latch_tests::engine::memory_kib;
use latch_tests::scene::issue;
use latch_tests::upstream::Reply;
use latch_tests::{Agent, Scene};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::gmail;
use crate::upstreams::{CREDENTIAL, house};

/// Says these bytes to the door and returns everything that comes back until it closes or is silent.
async fn say(door: &str, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(door.trim_start_matches("http://")).await.unwrap();
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let mut chunk = [0; 4096];
    while let Ok(Ok(read)) = tokio::time::timeout(Duration::from_millis(700), stream.read(&mut chunk)).await {
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
        None,
    ];
    for host in hosts {
        let answer = say(&door, ask(host.clone(), "").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{host:?}: {answer}");
    }
    let browsers = [
        "Origin: https://evil.com\r\n",
        "Origin: null\r\n",
        "Origin: http://localhost.evil.com\r\n",
        "Origin: file://\r\n",
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
    let fine = say(&door, ask(Some(format!("localhost:{port}")), "").as_bytes()).await;
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
            "an absolute target elsewhere",
            format!("POST http://evil.com{path} HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{label}", label.len()),
        ),
    ];
    for (name, bytes) in tricks {
        let before = upstream.asked().len();
        let answer = say(&door, bytes.as_bytes()).await;
        let reached: Vec<_> = upstream.asked().split_off(before);
        // What the attacker hid must not have been taken for a request of its own.
        assert!(!reached.iter().any(|line| line.contains("/m9/trash")), "{name}: {reached:?}");
        if !reached.is_empty() {
            assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{name}: {answer}");
        } else {
            assert!(
                answer.starts_with("HTTP/1.1 4") || answer.starts_with("HTTP/1.0 4") || answer.is_empty(),
                "{name}: {answer}"
            );
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
    // On a read, it must not arrive.
    let (upstream, _engine, agent, _home) = house(|_| Reply::json(200, &json!({}))).await;
    let answer = agent.send(Method::GET, &gmail("messages"), &[("X-HTTP-Method-Override", "DELETE")], "").await;
    if answer.status == 200 {
        assert!(upstream.seen().iter().all(|seen| seen.header("x-http-method-override").is_empty()));
    } else {
        assert!((400..500).contains(&answer.status));
        assert!(upstream.seen().is_empty());
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
                    assert!(matches!(hold.class, Class::Destroy | Class::Remove | Class::Unclassified | Class::Divert), "{what}: {hold:?}");
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
    assert!(hold.objects.iter().any(|object| object.id == "m0100"), "{hold:#?}");
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
    let target = thief.url.clone();
    let (upstream, _engine, agent, _home) = house(move |seen| {
        let status = seen.target.rsplit("q=").next().and_then(|status| status.parse().ok()).unwrap_or(302);
        Reply::text(status, "text/plain", "elsewhere").header("location", &format!("{target}/stolen"))
    })
    .await;
    for status in [301_u16, 302, 303, 307, 308] {
        let answer = agent.get(&gmail(&format!("messages?q={status}"))).await;
        assert!(answer.status == status || answer.status >= 500, "{}", answer.status);
        assert!(!answer.text().contains(CREDENTIAL));
    }
    assert!(upstream.asked().len() >= 5);
    assert_eq!(thief.asked(), Vec::<String>::new());
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
    let echoed = encodings.clone();
    let (_upstream, engine, agent, _home) = house(move |seen| {
        let mut numbers = seen.target.rsplit("q=").next().unwrap_or_default().split('-');
        let encoding: usize = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(0);
        let size: usize = numbers.next().and_then(|n| n.parse().ok()).unwrap_or(1);
        let text = format!("{{\"before\": 1, \"echo\": \"{}\", \"after\": 2}}", echoed[encoding]);
        Reply::text(200, "application/json", &text)
            .header("x-echo", if encoding == 0 { &echoed[0] } else { "none" })
            .in_chunks_of(size)
            .after(Duration::from_micros(200))
    })
    .await;
    for (encoding, text) in encodings.iter().enumerate() {
        for size in [1, 3, 7, 16, 64] {
            let answer = agent.get(&gmail(&format!("messages?q={encoding}-{size}"))).await.expect(200);
            assert!(
                !answer.text().contains(text.as_str()),
                "encoding {encoding} in chunks of {size}: {}",
                answer.text()
            );
            assert!(answer.text().contains("before") && answer.text().contains("after"), "{}", answer.text());
            assert!(!format!("{:?}", answer.headers).contains(CREDENTIAL), "{:?}", answer.headers);
        }
    }
    assert!(!engine.log().contains(CREDENTIAL));
}

#[tokio::test]
async fn attack_30_floods_stay_bounded() {
    let (_upstream, engine, agent, _home) = house(|_| Reply::json(200, &json!({}))).await;
    let door = engine.door().trim_start_matches("http://").to_owned();
    agent.get(&gmail("messages")).await.expect(200);
    let before = memory_kib(engine.pid());
    // A megabyte of headers.
    let huge = format!(
        "GET /mail/gmail/v1/users/me/messages HTTP/1.1\r\nHost: {door}\r\nX-Big: {}\r\n\r\n",
        "a".repeat(1_000_000)
    );
    let answer = say(&door, huge.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{}", answer.len());
    let many: String = (0..2000).map(|n| format!("X-{n}: a\r\n")).collect();
    let answer = say(&door, format!("GET / HTTP/1.1\r\nHost: {door}\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{answer}");
    // Slowloris: 300 that never finish their heads.
    let mut slow = Vec::new();
    for _ in 0..300 {
        let mut stream = TcpStream::connect(&door).await.unwrap();
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: {door}\r\nX-A: ").as_bytes()).await.unwrap();
        slow.push(stream);
    }
    let started = std::time::Instant::now();
    agent.get(&gmail("messages")).await.expect(200);
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // A body that would be far too large for what must be understood.
    let body = vec![b' '; 40 << 20];
    let answer =
        agent.send(Method::POST, &gmail("messages/batchModify"), &[("content-type", "application/json")], body).await;
    assert!(matches!(answer.status, 0 | 413), "{}", answer.status);
    let after = memory_kib(engine.pid());
    assert!(after < before + 32 * 1024, "{before} KiB became {after} KiB");
    drop(slow);
    agent.get(&gmail("messages")).await.expect(200);
}

#[tokio::test]
async fn attack_30_a_compression_bomb_is_not_unpacked() {
    let (upstream, engine, agent, _home) = house(|_| {
        // Claims to be compressed although it was asked not to.
        Reply::text(200, "application/json", &"\u{1f}".repeat(1000)).header("content-encoding", "gzip")
    })
    .await;
    let before = memory_kib(engine.pid());
    let answer = agent.send(Method::GET, &gmail("messages"), &[("accept-encoding", "gzip, br")], "").await;
    assert!(matches!(answer.status, 200 | 502), "{}", answer.status);
    assert!(
        upstream.seen().iter().all(|seen| !seen.header("accept-encoding").contains("gzip")),
        "{:?}",
        upstream.seen()
    );
    // Towards us: refused, whatever it would unpack to.
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let answer = agent.send(Method::POST, &gmail("messages/batchModify"), &headers, vec![0x1f, 0x8b, 8, 0]).await;
    assert!((400..500).contains(&answer.status), "{}", answer.status);
    assert!(memory_kib(engine.pid()) < before + 32 * 1024);
}
