//! Door and client together: what an agent sees of an upstream.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::request::Parts;
use http::{Response, StatusCode};
use latch_core::call::{Call, CallBody};
use latch_core::catalog::ErrorShape;
use latch_core::guard::{Guard, Lifetimes, Loaded};
use latch_core::pdp::Pdp;
use latch_daemon::door::http::{
    self as door, AgentBody, AnswerBody, Inside, Introspection, OAuthError, TokenAnswer, TokenRequest, Unauthorized,
};
use latch_daemon::net::Connections;
use latch_daemon::upstream::{AccountTarget, Upstream};
use latch_daemon::vault::Credential;
use latch_ipc::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Permits everything, streaming both ways.
struct Relay {
    guard: Mutex<Guard>,
    upstream: Upstream,
    account: AccountTarget,
}

impl Inside for Relay {
    type Session = ();

    fn authenticate(&self, _: &str, _: SocketAddr) -> Result<(), Unauthorized> {
        Ok(())
    }

    fn shape(&self, _: &str) -> ErrorShape {
        ErrorShape::Plain
    }

    async fn http(self: &Arc<Self>, (): (), _: &str, head: Parts, body: AgentBody) -> Response<AnswerBody> {
        let call =
            Call { method: head.method, target: head.uri.to_string(), headers: vec![], body: CallBody::Streamed };
        let lease = {
            let guard = self.guard.lock().unwrap();
            guard.lease_refresh("work", &call, guard.gate().current()).unwrap()
        };
        match self.upstream.send(lease, &self.account, call, Some(body.stream())).await {
            Ok(response) => response.map(AnswerBody::from),
            Err(error) => {
                let detail = error.to_string();
                door::problem(ErrorShape::Plain, StatusCode::BAD_GATEWAY, "No answer", &detail, serde_json::Value::Null)
            }
        }
    }

    async fn token(self: &Arc<Self>, _: TokenRequest, _: SocketAddr) -> Result<TokenAnswer, OAuthError> {
        Err(OAuthError::Unavailable(String::new()))
    }

    async fn revoke(self: &Arc<Self>, _: &str) {}

    fn introspect(&self, (): &(), _: &str) -> Option<Introspection> {
        None
    }
}

/// An agent's connection and the upstream's end of the other one.
struct Rig {
    agent: TcpStream,
    listener: TcpListener,
    relay: Arc<Relay>,
    connections: Connections,
    port: u16,
}

impl Rig {
    async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
        let connections = Connections::new();
        let upstream = Upstream::new(connections.clone(), guard.gate().clone());
        let credential = Credential::Bearer { token: Secret::new("canary-0123456789".to_owned()) };
        let account = AccountTarget::new("work", &url, Arc::new(credential)).unwrap();
        let relay = Arc::new(Relay { guard: Mutex::new(guard), upstream, account });
        let door = door::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = door.local_addr().unwrap();
        tokio::spawn(door::serve(door, Arc::clone(&relay), connections.clone(), latch_daemon::door::Lanes::here()));
        let agent = TcpStream::connect(address).await.unwrap();
        Self { agent, listener, relay, connections, port: address.port() }
    }

    async fn ask(&mut self, request: &str) {
        let request =
            request.replace("{head}", &format!("host: localhost:{}\r\nauthorization: Bearer t\r\n", self.port));
        self.agent.write_all(request.as_bytes()).await.unwrap();
    }

    async fn upstream(&self) -> TcpStream {
        tokio::time::timeout(Duration::from_secs(5), self.listener.accept()).await.expect("no call").unwrap().0
    }
}

/// Everything up to and including `end`.
async fn until(socket: &mut TcpStream, end: &str) -> String {
    let mut received = Vec::new();
    let read = async {
        while !received.ends_with(end.as_bytes()) {
            assert!(socket.read_buf(&mut received).await.unwrap() > 0, "ended before {end:?}");
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(5), read).await;
    let text = String::from_utf8_lossy(&received).into_owned();
    in_time.unwrap_or_else(|_| panic!("{end:?} did not come after {text:?}"));
    text
}

#[tokio::test]
async fn every_piece_goes_on_at_once() {
    let mut rig = Rig::new().await;
    rig.ask("GET /work/events HTTP/1.1\r\n{head}\r\n").await;
    let mut upstream = rig.upstream().await;
    until(&mut upstream, "\r\n\r\n").await;
    upstream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await
        .unwrap();
    until(&mut rig.agent, "\r\n\r\n").await;
    for n in 0..3 {
        upstream.write_all(format!("8\r\ndata: {n}\n\r\n").as_bytes()).await.unwrap();
        until(&mut rig.agent, &format!("data: {n}\n\r\n")).await;
    }
    upstream.write_all(b"0\r\n\r\n").await.unwrap();
    until(&mut rig.agent, "0\r\n\r\n").await;
    // The same connections serve the next request.
    rig.ask("GET /work/next HTTP/1.1\r\n{head}\r\n").await;
    assert!(until(&mut upstream, "\r\n\r\n").await.starts_with("GET /next "));
}

#[tokio::test]
async fn an_upload_streams_and_the_expectation_is_kept() {
    let mut rig = Rig::new().await;
    rig.ask("PUT /work/up HTTP/1.1\r\n{head}content-length: 6\r\nexpect: 100-continue\r\n\r\n").await;
    let mut upstream = rig.upstream().await;
    until(&mut rig.agent, "HTTP/1.1 100 Continue\r\n\r\n").await;
    rig.agent.write_all(b"abc").await.unwrap();
    until(&mut upstream, "abc").await;
    rig.agent.write_all(b"def").await.unwrap();
    until(&mut upstream, "def").await;
    upstream.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\nok").await.unwrap();
    assert!(until(&mut rig.agent, "\r\n\r\nok").await.starts_with("HTTP/1.1 201"));
}

#[tokio::test]
async fn head_keeps_the_length_and_has_no_body() {
    let mut rig = Rig::new().await;
    rig.ask("HEAD /work/x HTTP/1.1\r\n{head}\r\n").await;
    let mut upstream = rig.upstream().await;
    assert!(until(&mut upstream, "\r\n\r\n").await.starts_with("HEAD /x "));
    upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1234\r\n\r\n").await.unwrap();
    assert!(until(&mut rig.agent, "\r\n\r\n").await.contains("content-length: 1234\r\n"));
    rig.ask("GET /work/y HTTP/1.1\r\n{head}\r\n").await;
    assert!(until(&mut upstream, "\r\n\r\n").await.starts_with("GET /y "));
    upstream.write_all(b"HTTP/1.1 304 Not Modified\r\netag: \"a\"\r\n\r\n").await.unwrap();
    let answer = until(&mut rig.agent, "\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 304") && answer.contains("etag: \"a\""), "{answer}");
}

#[tokio::test]
async fn an_answer_that_breaks_off_does_not_look_complete() {
    let mut rig = Rig::new().await;
    rig.ask("GET /work/x HTTP/1.1\r\n{head}\r\n").await;
    let mut upstream = rig.upstream().await;
    until(&mut upstream, "\r\n\r\n").await;
    upstream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\n!!!\r\n").await.unwrap();
    until(&mut rig.agent, "3\r\n!!!\r\n").await;
    drop(upstream);
    let mut rest = Vec::new();
    let _ = rig.agent.read_to_end(&mut rest).await;
    assert!(!rest.ends_with(b"0\r\n\r\n"), "{:?}", String::from_utf8_lossy(&rest));
}

#[tokio::test]
async fn an_agent_that_leaves_ends_the_call() {
    let mut rig = Rig::new().await;
    rig.ask("GET /work/x HTTP/1.1\r\n{head}\r\n").await;
    let mut upstream = rig.upstream().await;
    until(&mut upstream, "\r\n\r\n").await;
    rig.agent.shutdown().await.unwrap();
    let gone = tokio::time::timeout(Duration::from_secs(5), upstream.read(&mut [0; 1])).await;
    assert!(!matches!(gone.expect("the call goes on"), Ok(1..)));
}

#[tokio::test]
async fn panic_ends_both_sides_of_many_streams() {
    let mut rig = Rig::new().await;
    let (done, mut ended) = mpsc::unbounded_channel();
    for _ in 0..16 {
        let mut agent = TcpStream::connect(("127.0.0.1", rig.port)).await.unwrap();
        let request =
            format!("GET /work/x HTTP/1.1\r\nhost: localhost:{}\r\nauthorization: Bearer t\r\n\r\n", rig.port);
        agent.write_all(request.as_bytes()).await.unwrap();
        let mut upstream = rig.upstream().await;
        let done = done.clone();
        tokio::spawn(async move {
            until(&mut upstream, "\r\n\r\n").await;
            let _ = upstream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n").await;
            while upstream.write_all(&[b'.'; 1024]).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let _ = done.send(());
        });
        tokio::spawn(async move {
            let mut buffer = vec![0; 65536];
            while matches!(agent.read(&mut buffer).await, Ok(1..)) {}
        });
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    rig.relay.guard.lock().unwrap().gate().raise();
    assert_eq!(rig.connections.cut_all(), 33);
    for _ in 0..16 {
        tokio::time::timeout(Duration::from_secs(5), ended.recv()).await.expect("a stream goes on").unwrap();
    }
    assert!(!matches!(rig.agent.read(&mut [0; 1]).await, Ok(1..)));
}
