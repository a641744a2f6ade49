//! The HTTP door over real sockets, with a counter behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::request::Parts;
use http::{Response, StatusCode};
use latch_core::catalog::ErrorShape;
use latch_daemon::door::http::{
    self as door, AgentBody, AnswerBody, Inside, Introspection, OAuthError, TokenAnswer, TokenRequest, Unauthorized,
};
use latch_daemon::net::Connections;
use latch_ipc::Secret;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Counts what gets inside, and answers with what it saw.
#[derive(Default)]
struct Counter {
    requests: AtomicUsize,
    given_up: Arc<AtomicUsize>,
    revoked: Mutex<Vec<String>>,
}

struct Waiting(Arc<AtomicUsize>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Inside for Counter {
    type Session = String;

    fn authenticate(&self, token: &str, _: SocketAddr) -> Result<String, Unauthorized> {
        match token {
            "good" | "other" => Ok(token.to_owned()),
            "stopped" => Err(Unauthorized::Stopped("all agents are stopped".to_owned())),
            _ => Err(Unauthorized::Invalid("not known here".to_owned())),
        }
    }

    fn shape(&self, account: &str) -> ErrorShape {
        if account == "work" { ErrorShape::Google } else { ErrorShape::Plain }
    }

    async fn http(self: &Arc<Self>, _: String, account: &str, head: Parts, body: AgentBody) -> Response<AnswerBody> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        if head.uri.path() == "/wait" {
            let _waiting = Waiting(Arc::clone(&self.given_up));
            std::future::pending::<()>().await;
        }
        if head.uri.path() == "/there" {
            let mut response = Response::new(AnswerBody::empty());
            *response.status_mut() = StatusCode::FOUND;
            response.headers_mut().insert("location", "/work/upload?id=1".parse().unwrap());
            return response;
        }
        let body = match body.collect(1024).await {
            Ok(body) => body,
            Err(error) => {
                return door::problem(
                    ErrorShape::Plain,
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "Too large",
                    &error.to_string(),
                    Value::Null,
                );
            }
        };
        let seen = json!({ "account": account, "method": head.method.as_str(), "target": head.uri.to_string(), "body": body.len() });
        Response::new(AnswerBody::whole(Bytes::from(seen.to_string())))
    }

    async fn token(self: &Arc<Self>, request: TokenRequest, _: SocketAddr) -> Result<TokenAnswer, OAuthError> {
        let secret = match &request {
            TokenRequest::Paired { secret, .. } => secret,
            TokenRequest::Exchange { subject, .. } => subject,
        };
        if secret.expose() != "pairing" {
            return Err(OAuthError::InvalidGrant("unknown pairing secret".to_owned()));
        }
        Ok(TokenAnswer { access_token: Secret::new("good".to_owned()), expires_in: 900, details: vec![] })
    }

    async fn revoke(self: &Arc<Self>, token: &str) {
        self.revoked.lock().unwrap().push(token.to_owned());
    }

    fn introspect(&self, caller: &String, token: &str) -> Option<Introspection> {
        (caller == token).then(|| Introspection {
            client_id: "c".to_owned(),
            subject: "a".to_owned(),
            expires_in: 60,
            expires_at: 4_000_000_000,
            details: vec![],
        })
    }
}

struct Door {
    address: SocketAddr,
    inside: Arc<Counter>,
    connections: Connections,
}

async fn open() -> Door {
    let listener = door::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (inside, connections) = (Arc::<Counter>::default(), Connections::new());
    tokio::spawn(door::serve(listener, Arc::clone(&inside), connections.clone(), latch_daemon::door::Lanes::here()));
    Door { address, inside, connections }
}

impl Door {
    /// Sends bytes, closes the sending side, and returns everything that comes back.
    async fn raw(&self, bytes: &[u8]) -> String {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        let _ = socket.write_all(bytes).await;
        let _ = socket.shutdown().await;
        let mut answer = Vec::new();
        let _ = tokio::time::timeout(Duration::from_secs(5), socket.read_to_end(&mut answer)).await.expect("no answer");
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// `{port}` stands for the door's port.
    async fn ask(&self, request: &str) -> (u16, String) {
        let answer = self.raw(request.replace("{port}", &self.address.port().to_string()).as_bytes()).await;
        let status = answer.get(9..12).and_then(|status| status.parse().ok()).unwrap_or(0);
        (status, answer)
    }

    fn requests(&self) -> usize {
        self.inside.requests.load(Ordering::SeqCst)
    }
}

fn json_of(answer: &str) -> Value {
    serde_json::from_str(answer.split_once("\r\n\r\n").expect("a body").1)
        .unwrap_or_else(|error| panic!("{error}: {answer}"))
}

const GET: &str = "GET /work/x?q=1 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n";

#[tokio::test]
async fn a_request_gets_inside_with_its_target_untouched() {
    let door = open().await;
    let (status, answer) = door
        .ask("POST /work/a//b/%2e%2e;x?q=%41 HTTP/1.1\r\nhost: localhost:{port}\r\nauthorization: Bearer good\r\ncontent-length: 3\r\n\r\nabc")
        .await;
    assert_eq!(status, 200, "{answer}");
    let seen = json!({ "account": "work", "method": "POST", "target": "/a//b/%2e%2e;x?q=%41", "body": 3 });
    assert_eq!(json_of(&answer), seen);
}

#[tokio::test]
async fn attack_10_hosts_and_pages() {
    let door = open().await;
    for (line, expected) in [
        ("host: evil.com", 421),
        ("host: localhost.:{port}", 421),
        ("host: 127.0.0.1.nip.io:{port}", 421),
        ("host: 127.0.0.1", 421),
        ("host: null", 421),
        ("host:", 421),
        ("x-no-host: 1", 421),
        ("host: localhost:{port}\r\nhost: evil.com", 421),
        ("host: localhost:{port}\r\norigin: https://evil.com", 403),
        ("host: localhost:{port}\r\norigin: null", 403),
        ("host: localhost:{port}\r\nsec-fetch-site: cross-site", 403),
    ] {
        for path in ["/work/x", "/oauth2/token", "/.well-known/oauth-authorization-server"] {
            let request =
                format!("POST {path} HTTP/1.1\r\n{line}\r\nauthorization: Bearer good\r\ncontent-length: 0\r\n\r\n");
            let (status, answer) = door.ask(&request).await;
            assert_eq!(status, expected, "{line} {path}: {answer}");
            assert!(!answer.to_ascii_lowercase().contains("access-control-"), "{answer}");
        }
    }
    assert_eq!(door.requests(), 0);
}

#[tokio::test]
async fn attack_22_framing() {
    let head = "POST /work/x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n";
    let smuggled = "GET /work/smuggled HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n\r\n";
    for rest in [
        format!("content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\ncontent-length: 4\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("content-length: 0\r\ncontent-length: 60\r\n\r\n{smuggled}"),
        format!("content-length: 0, 60\r\n\r\n{smuggled}"),
        format!("content-length: +0\r\n\r\n{smuggled}"),
        format!("content-length: -1\r\n\r\n{smuggled}"),
        format!("content-length: 0x0\r\n\r\n{smuggled}"),
        format!("content-length : 0\r\n\r\n{smuggled}"),
        format!("content-length: 99999999999999999999\r\n\r\n{smuggled}"),
        format!("transfer-encoding: xchunked\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked, identity\r\n\r\n{smuggled}"),
        format!("transfer-encoding: identity\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("transfer-encoding:\x0bchunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("transfer-encoding : chunked\r\n\r\n0\r\n\r\n{smuggled}"),
        format!("x: 1\r\n transfer-encoding: chunked\r\n\r\n{smuggled}"),
        format!("x: 1\r\n\tfolded\r\n\r\n{smuggled}"),
        format!("x: a\rb\r\n\r\n{smuggled}"),
        format!("x: a\0b\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\n\r\nzz\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\n\r\n-1\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\n\r\n0;\n\r\n{smuggled}"),
        format!("transfer-encoding: chunked\r\n\r\n3\r\nabcXX0\r\n\r\n{smuggled}"),
    ] {
        let door = open().await;
        let (status, answer) = door.ask(&format!("{head}{rest}")).await;
        // Either the first request was refused and nothing after it was looked at, or it was the only one.
        assert!(door.requests() <= 1, "{rest:?}: {answer}");
        assert!(!answer.contains("smuggled"), "{rest:?}: {answer}");
        assert!(answer.matches("HTTP/1.1 ").count() <= 1, "{rest:?}: {answer}");
        assert!(status == 0 || status == 200 || (400..=501).contains(&status), "{rest:?}: {answer}");
    }
    // What is one well-formed request after another is two.
    let door = open().await;
    let (_, answer) = door.ask(&format!("{head}content-length: 3\r\n\r\nabc{smuggled}")).await;
    assert_eq!((door.requests(), answer.matches("HTTP/1.1 200").count()), (2, 2), "{answer}");
}

#[tokio::test]
async fn attack_22_bare_line_feeds_make_no_second_request() {
    let door = open().await;
    let request = "POST /work/x HTTP/1.1\nhost: 127.0.0.1:{port}\nauthorization: Bearer good\ncontent-length: 0\n\n";
    let (status, answer) = door.ask(request).await;
    assert!(status == 400 || (status == 200 && door.requests() == 1), "{answer}");
}

#[tokio::test]
async fn attack_29_other_protocols() {
    let door = open().await;
    for request in [
        format!("{GET}upgrade: websocket\r\nconnection: upgrade\r\n\r\n"),
        format!("{GET}upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\nconnection: upgrade, http2-settings\r\n\r\n"),
        "CONNECT gmail.googleapis.com:443 HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n\r\n"
            .to_owned(),
        "TRACE /work/x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n\r\n".to_owned(),
    ] {
        let (status, answer) = door.ask(&request).await;
        assert_eq!(status, 403, "{request:?}: {answer}");
    }
    let (_, answer) = door.ask("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    assert!(!answer.contains(" 200 "), "{answer}");
    let (status, answer) = door
        .ask("GET http://evil.com/work/x HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer good\r\n\r\n")
        .await;
    assert_eq!(status, 400, "{answer}");
    assert_eq!(door.requests(), 0);
}

#[tokio::test]
async fn attack_30_heads_are_bounded() {
    let door = open().await;
    let many: String = (0..200).map(|n| format!("x-{n}: y\r\n")).collect();
    assert_eq!(door.ask(&format!("{GET}{many}\r\n")).await.0, 431);
    assert_eq!(door.ask(&format!("{GET}x: {}\r\n\r\n", "y".repeat(1 << 20))).await.0, 431);
    let long = GET.replace("q=1", &"q".repeat(20_000));
    assert_eq!(door.ask(&format!("{long}\r\n")).await.0, 414);
    assert_eq!(door.requests(), 0);
}

#[tokio::test]
async fn attack_30_the_silent_make_room() {
    let door = open().await;
    let mut silent = Vec::new();
    for n in 0..door::MAX_CONNECTIONS + 40 {
        let mut socket = TcpStream::connect(door.address).await.unwrap();
        if n % 2 == 0 {
            let _ = socket.write_all(b"GET /work/x HTTP/1.1\r\nx: ").await;
        }
        silent.push(socket);
    }
    let start = Instant::now();
    assert_eq!(door.ask(&format!("{GET}\r\n")).await.0, 200);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(door.connections.count() <= door::MAX_CONNECTIONS + 1, "{}", door.connections.count());
}

#[tokio::test(start_paused = true)]
async fn attack_30_slow_bodies_end() {
    let door = open().await;
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    let request = format!("{GET}content-length: 10\r\n\r\nabc").replace("{port}", &door.address.port().to_string());
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("did not arrive in time"), "{answer}");
}

#[tokio::test]
async fn tokens() {
    let door = open().await;
    let with = |authorization: &str| format!("GET /work/x HTTP/1.1\r\nhost: 127.0.0.1:{{port}}\r\n{authorization}\r\n");
    let (status, answer) = door.ask(&with("")).await;
    assert_eq!(status, 401);
    assert!(answer.contains("www-authenticate: Bearer realm=\"latchstring\"\r\n"), "{answer}");
    assert_eq!(json_of(&answer)["error"]["status"], "UNAUTHENTICATED");
    let (status, answer) = door.ask(&with("authorization: Bearer bad\r\n")).await;
    assert_eq!(status, 401);
    assert!(answer.contains("error=\"invalid_token\""), "{answer}");
    assert_eq!(door.ask(&with("authorization: Basic Z29vZA==\r\n")).await.0, 401);
    let (status, answer) = door.ask(&with("authorization: Bearer stopped\r\n")).await;
    assert_eq!((status, json_of(&answer)["type"].as_str()), (403, Some("urn:latchstring:stopped")));
    assert_eq!(door.requests(), 0);

    let (status, answer) =
        door.ask(&GET.replace("q=1", "access_token=good").replace("authorization: Bearer good\r\n", "\r\n")).await;
    assert_eq!(status, 400, "{answer}");
    assert!(!answer.contains("good"), "{answer}");
    assert_eq!(*door.inside.revoked.lock().unwrap(), ["good"]);
}

#[tokio::test]
async fn bodies_too_large_are_refused_before_they_arrive() {
    let door = open().await;
    let (status, answer) = door.ask(&format!("{GET}content-length: 5000000\r\nexpect: 100-continue\r\n\r\n")).await;
    assert_eq!(status, 413, "{answer}");
    assert!(!answer.contains("100 Continue"), "{answer}");
    let chunk = format!("400\r\n{}\r\n", "x".repeat(1024));
    let (status, answer) = door.ask(&format!("{GET}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n")).await;
    assert_eq!(status, 413, "{answer}");
}

#[tokio::test]
async fn expectations_and_head() {
    let door = open().await;
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    let port = door.address.port().to_string();
    socket
        .write_all(
            format!("{GET}content-length: 3\r\nexpect: 100-continue\r\n\r\n").replace("{port}", &port).as_bytes(),
        )
        .await
        .unwrap();
    let mut buffer = [0; 1024];
    let n = socket.read(&mut buffer).await.unwrap();
    assert!(buffer[..n].starts_with(b"HTTP/1.1 100 Continue"));
    socket.write_all(b"abc").await.unwrap();
    let n = socket.read(&mut buffer).await.unwrap();
    assert!(buffer[..n].starts_with(b"HTTP/1.1 200"));

    let (status, answer) = door.ask(&format!("{}\r\n", GET.replace("GET", "HEAD"))).await;
    assert_eq!(status, 200);
    assert!(answer.ends_with("\r\n\r\n") && answer.contains("content-length: "), "{answer}");
}

#[tokio::test]
async fn a_location_on_the_door_is_absolute() {
    let door = open().await;
    let (status, answer) = door.ask(&format!("{}\r\n", GET.replace("/x?q=1", "/there"))).await;
    assert_eq!(status, 302);
    assert!(
        answer.contains(&format!("location: http://127.0.0.1:{}/work/upload?id=1\r\n", door.address.port())),
        "{answer}"
    );
}

#[tokio::test]
async fn whoever_hangs_up_stops_waiting() {
    let door = open().await;
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    let request = format!("{GET}content-length: 0\r\n\r\n")
        .replace("/x?q=1", "/wait")
        .replace("{port}", &door.address.port().to_string());
    socket.write_all(request.as_bytes()).await.unwrap();
    while door.requests() == 0 {
        tokio::task::yield_now().await;
    }
    drop(socket);
    let gone = async {
        while door.inside.given_up.load(Ordering::SeqCst) == 0 {
            tokio::task::yield_now().await
        }
    };
    tokio::time::timeout(Duration::from_secs(5), gone).await.expect("it still waits");
}

#[tokio::test]
async fn cutting_ends_agents_connections() {
    let door = open().await;
    let mut socket = TcpStream::connect(door.address).await.unwrap();
    socket
        .write_all(format!("{GET}\r\n").replace("{port}", &door.address.port().to_string()).as_bytes())
        .await
        .unwrap();
    let mut buffer = [0; 1024];
    assert!(socket.read(&mut buffer).await.unwrap() > 0);
    assert_eq!(door.connections.cut_all(), 1);
    assert!(!matches!(socket.read(&mut buffer).await, Ok(1..)));
}

fn form(path: &str, extra: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{{port}}\r\n{extra}content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

#[tokio::test]
async fn the_token_endpoint() {
    let door = open().await;
    let exchange = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange";
    let access = "urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token";
    for (extra, body, status, error) in [
        (
            "",
            "grant_type=refresh_token&refresh_token=pairing&client_id=c&client_secret=unused&scope=mail".to_owned(),
            200,
            "",
        ),
        ("", "grant_type=refresh_token&refresh_token=wrong".to_owned(), 400, "invalid_grant"),
        ("", "grant_type=refresh_token".to_owned(), 400, "invalid_request"),
        ("", "grant_type=refresh_token&refresh_token=pairing&refresh_token=pairing".to_owned(), 400, "invalid_request"),
        ("", "grant_type=client_credentials&client_id=c&client_secret=pairing".to_owned(), 200, ""),
        ("authorization: Basic YzpwYWlyaW5n\r\n", "grant_type=client_credentials".to_owned(), 200, ""),
        ("authorization: Basic !!\r\n", "grant_type=client_credentials".to_owned(), 401, "invalid_client"),
        ("", "grant_type=client_credentials&client_id=c".to_owned(), 401, "invalid_client"),
        ("", format!("{exchange}&subject_token=pairing&subject_token_type={access}"), 200, ""),
        ("", format!("{exchange}&subject_token=pairing&subject_token_type=x"), 400, "invalid_request"),
        ("", format!("{exchange}&subject_token=pairing&audience=x"), 400, "invalid_target"),
        ("", format!("{exchange}&subject_token=pairing&authorization_details=x"), 400, "invalid_authorization_details"),
        ("", "grant_type=password&username=a&password=b".to_owned(), 400, "unsupported_grant_type"),
        ("", String::new(), 400, "invalid_request"),
    ] {
        let (found, answer) = door.ask(&form("/oauth2/token", extra, &body)).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer.contains("cache-control: no-store\r\n"), "{answer}");
        let value = json_of(&answer);
        if error.is_empty() {
            assert_eq!((value["access_token"].as_str(), value["expires_in"].as_u64()), (Some("good"), Some(900)));
            assert_eq!(value["token_type"], "Bearer");
            assert_eq!(value.get("issued_token_type").is_some(), body.starts_with(exchange));
        } else {
            assert_eq!(value["error"], error, "{body}");
        }
    }
    assert_eq!(door.ask("GET /oauth2/token HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n").await.0, 405);
    let json = "POST /oauth2/token HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
    assert_eq!(door.ask(json).await.0, 400);
}

#[tokio::test]
async fn revocation_introspection_and_metadata() {
    let door = open().await;
    assert_eq!(door.ask(&form("/oauth2/revoke", "", "token=whatever&token_type_hint=access_token")).await.0, 200);
    assert_eq!(*door.inside.revoked.lock().unwrap(), ["whatever"]);
    assert_eq!(door.ask(&form("/oauth2/revoke", "", "")).await.0, 400);

    let own = "authorization: Bearer good\r\n";
    let (status, answer) = door.ask(&form("/oauth2/introspect", own, "token=good")).await;
    assert_eq!((status, &json_of(&answer)["active"]), (200, &json!(true)), "{answer}");
    let (_, answer) = door.ask(&form("/oauth2/introspect", own, "token=other")).await;
    assert_eq!(json_of(&answer), json!({ "active": false }));
    assert_eq!(door.ask(&form("/oauth2/introspect", "", "token=good")).await.0, 401);

    let base = format!("http://127.0.0.1:{}", door.address.port());
    for suffix in ["", "/work"] {
        let (status, answer) = door
            .ask(&format!(
                "GET /.well-known/oauth-authorization-server{suffix} HTTP/1.1\r\nhost: 127.0.0.1:{{port}}\r\n\r\n"
            ))
            .await;
        assert_eq!(status, 200, "{answer}");
        let value = json_of(&answer);
        assert_eq!(value["issuer"], format!("{base}{suffix}"));
        assert_eq!(value["token_endpoint"], format!("{base}/oauth2/token"));
    }
    assert_eq!(door.ask("GET /oauth2/other HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n").await.0, 404);
}

#[tokio::test]
async fn only_loopback_is_bound() {
    door::bind("0.0.0.0:0".parse().unwrap()).await.unwrap_err();
    door::bind("[::]:0".parse().unwrap()).await.unwrap_err();
}
