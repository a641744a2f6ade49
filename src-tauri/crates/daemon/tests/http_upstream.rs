//! The HTTP client over real sockets, against scripted upstreams.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use http::Method;
use http_body_util::{BodyExt, Full, StreamBody};
use latch_core::call::{Call, CallBody};
use latch_core::guard::{Guard, Lifetimes, Loaded};
use latch_core::lease::{Epoch, Lease};
use latch_core::pdp::Pdp;
use latch_daemon::net::Connections;
use latch_daemon::upstream::oauth::{self, RefreshError};
use latch_daemon::upstream::{AccountTarget, Fault, Hooks, Options, SignIn, StreamedBody, Upstream, UpstreamError};
use latch_daemon::vault::Credential;
use latch_ipc::Secret;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const CANARY: &str = "ya29.canary/+\"secret\"&0123456789";

/// One request as it arrived.
#[derive(Debug, Clone)]
struct Seen {
    head: String,
    body: Vec<u8>,
}

/// What to do with a request.
enum Reply {
    /// These pieces, one write each, and keep the connection.
    Send(Vec<Vec<u8>>),
    /// These pieces, then close.
    SendAndClose(Vec<Vec<u8>>),
    /// Nothing, ever.
    Silence,
}

fn ok(body: &str) -> Reply {
    Reply::Send(vec![format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes()])
}

fn raw(text: &str) -> Reply {
    Reply::SendAndClose(vec![text.as_bytes().to_vec()])
}

struct Peer {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<AtomicUsize>,
}

impl Peer {
    async fn start(reply: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (seen, connections) = (Arc::<Mutex<Vec<Seen>>>::default(), Arc::<AtomicUsize>::default());
        let (reply, all, count) = (Arc::new(reply), Arc::clone(&seen), Arc::clone(&connections));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(talk(socket, Arc::clone(&reply), Arc::clone(&all)));
            }
        });
        Self { address, seen, connections }
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn talk(mut socket: TcpStream, reply: Arc<impl Fn(&Seen) -> Reply>, all: Arc<Mutex<Vec<Seen>>>) {
    let mut buffer = Vec::new();
    while let Some(seen) = request(&mut socket, &mut buffer).await {
        all.lock().unwrap().push(seen.clone());
        let (pieces, close) = match reply(&seen) {
            Reply::Send(pieces) => (pieces, false),
            Reply::SendAndClose(pieces) => (pieces, true),
            Reply::Silence => return std::future::pending().await,
        };
        for piece in pieces {
            if socket.write_all(&piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        if close {
            return;
        }
    }
}

async fn request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Seen> {
    let end = loop {
        if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(buffer.drain(..end).collect()).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")).map_or(0, |length| length.parse().unwrap());
    while buffer.len() < length {
        if socket.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
    Some(Seen { head, body: buffer.drain(..length).collect() })
}

struct Rig {
    guard: Guard,
    upstream: Arc<Upstream>,
    connections: Connections,
}

impl Rig {
    fn new() -> Self {
        Self::with(Options::default())
    }

    fn with(options: Options) -> Self {
        let guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
        let connections = Connections::new();
        let upstream = Arc::new(Upstream::with(connections.clone(), guard.gate().clone(), options));
        Self { guard, upstream, connections }
    }

    fn lease(&self, call: &Call) -> Lease {
        let epoch = self.guard.gate().current();
        if call.method == Method::GET {
            self.guard.lease_preview("work", call, epoch).unwrap()
        } else {
            self.guard.lease_refresh("work", call, epoch).unwrap()
        }
    }

    async fn get(&self, account: &AccountTarget, target: &str) -> Result<(u16, String, String), UpstreamError> {
        self.call(account, Call::get(target.to_owned())).await
    }

    /// Status, headers as text, body.
    async fn call(&self, account: &AccountTarget, call: Call) -> Result<(u16, String, String), UpstreamError> {
        let lease = self.lease(&call);
        let (parts, body) = self.upstream.send(lease, account, call, None).await?.into_parts();
        let headers: Vec<String> = parts
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value.as_bytes())))
            .collect();
        let body = body.collect().await?.to_bytes();
        Ok((parts.status.as_u16(), headers.join("\n"), String::from_utf8_lossy(&body).into_owned()))
    }
}

fn bearer(url: &str) -> AccountTarget {
    AccountTarget::new("work", url, Arc::new(Credential::Bearer { token: Secret::new(CANARY.to_owned()) })).unwrap()
}

#[tokio::test]
async fn a_call_carries_the_credential_and_its_connection_is_used_again() {
    let peer = Peer::start(|_| ok("fine")).await;
    let (rig, account) = (Rig::new(), bearer(&format!("{}/base", peer.url())));
    for _ in 0..3 {
        assert_eq!(rig.get(&account, "/x?q=%41").await.unwrap().2, "fine");
    }
    assert_eq!(peer.connections(), 1);
    let head = &peer.seen()[0].head;
    assert!(head.starts_with("GET /base/x?q=%41 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("authorization: Bearer {CANARY}\r\n")), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", peer.address)) && head.contains("accept-encoding: identity\r\n"));
    let password = Credential::Password { username: "me".to_owned(), password: Secret::new("pass word".to_owned()) };
    let account = AccountTarget::new("work", &peer.url(), Arc::new(password)).unwrap();
    rig.call(&account, Call::json(Method::POST, "/y".to_owned(), &serde_json::json!({ "a": 1 }))).await.unwrap();
    let last = peer.seen().pop().unwrap();
    assert!(last.head.contains(&format!("authorization: Basic {}\r\n", BASE64_STANDARD.encode("me:pass word"))));
    assert_eq!(last.body, b"{\"a\":1}");
}

#[tokio::test]
async fn a_lease_for_something_else_sends_nothing() {
    let peer = Peer::start(|_| ok("")).await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    let lease = rig.lease(&Call::get("/one".to_owned()));
    let error = rig.upstream.send(lease, &account, Call::get("/two".to_owned()), None).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::NotPermitted, false));
    let call = Call::get("/one".to_owned());
    let lease = rig.guard.lease_preview("other", &call, rig.guard.gate().current()).unwrap();
    let error = rig.upstream.send(lease, &account, call, None).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::NotPermitted, false));
    let call = Call::get("/one".to_owned());
    let lease = rig.lease(&call);
    rig.guard.gate().raise();
    let error = rig.upstream.send(lease, &account, call, None).await.unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::Stopped, false));
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn attack_27_the_credential_does_not_follow_a_redirect() {
    let thief = Peer::start(|_| ok("")).await;
    let elsewhere = thief.url();
    let peer = Peer::start(move |seen| {
        let status = &seen.head[5..8];
        raw(&format!(
            "HTTP/1.1 {status} Moved\r\nlocation: {elsewhere}/take\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
        ))
    })
    .await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    for status in [301, 302, 303, 307, 308] {
        let (found, headers, _) = rig.get(&account, &format!("/{status}")).await.unwrap();
        assert_eq!(found, status);
        assert!(headers.contains(&format!("location: {}/take", thief.url())), "{headers}");
    }
    assert_eq!((thief.connections(), peer.seen().len()), (0, 5));
}

#[tokio::test]
async fn attack_28_an_echo_in_any_encoding_and_any_pieces() {
    let hex = |text: &[u8]| text.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let percent = |text: &[u8]| text.iter().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let token = CANARY.as_bytes();
    let wide: Vec<u8> = CANARY.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let echoes: Vec<Vec<u8>> = vec![
        token.to_vec(),
        token.iter().rev().copied().collect(),
        BASE64_STANDARD.encode(token).into_bytes(),
        BASE64_STANDARD.encode(format!("x{CANARY}")).into_bytes(),
        BASE64_STANDARD.encode(format!("Authorization: Bearer {CANARY}")).into_bytes(),
        base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(token).into_bytes(),
        hex(token).into_bytes(),
        hex(token).to_uppercase().into_bytes(),
        percent(token).into_bytes(),
        form_urlencoded::byte_serialize(token).collect::<String>().into_bytes(),
        serde_json::to_vec(CANARY).unwrap(),
        CANARY.chars().map(|c| format!("&#{};", c as u32)).collect::<String>().into_bytes(),
        wide,
    ];
    for (n, echo) in echoes.into_iter().enumerate() {
        let body = Arc::new([b"<", &echo[..], b"> and <", &echo[..], b">"].concat());
        let sent = Arc::clone(&body);
        let peer = Peer::start(move |seen| {
            let size: usize = seen.head[5..].split(' ').next().unwrap().parse().unwrap();
            let mut pieces = vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
            pieces.extend(
                sent.chunks(size).map(|piece| [format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat()),
            );
            pieces.push(b"0\r\n\r\n".to_vec());
            Reply::Send(pieces)
        })
        .await;
        let (rig, account) = (Rig::new(), bearer(&peer.url()));
        for size in [1, 13, 64] {
            let call = Call::get(format!("/{size}"));
            let lease = rig.lease(&call);
            let response = rig.upstream.send(lease, &account, call, None).await.unwrap();
            let found = response.into_body().collect().await.unwrap().to_bytes();
            assert_eq!(found.len(), body.len());
            let middle = &echo[8..echo.len() - 8];
            assert!(!found.windows(middle.len()).any(|window| window == middle), "echo {n} in pieces of {size}");
        }
    }
    let peer =
        Peer::start(|_| raw(&format!("HTTP/1.1 200 OK\r\nx-echo: Bearer {CANARY}\r\ncontent-length: 0\r\n\r\n"))).await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    let (_, headers, _) = rig.get(&account, "/").await.unwrap();
    assert!(headers.contains("x-echo: Bearer ***") && !headers.contains("canary"), "{headers}");
}

#[tokio::test]
async fn answers_that_cannot_be_used() {
    for (answer, expected) in [
        ("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nxx", "compressed"),
        ("HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer coding"),
        ("HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", ""),
        ("HTTP/1.1 2x0 OK\r\n\r\n", ""),
        ("not http at all\r\n\r\n", ""),
        ("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx", ""),
    ] {
        let peer = Peer::start(move |_| raw(answer)).await;
        let (rig, account) = (Rig::new(), bearer(&peer.url()));
        let error = rig.get(&account, "/").await.unwrap_err();
        assert!(
            matches!(&error.fault, Fault::Malformed { reason, .. } if reason.contains(expected)),
            "{answer}: {error:?}"
        );
        assert!(error.sent);
    }
    let peer = Peer::start(|_| raw("HTTP/1.1 304 Not Modified\r\ncontent-encoding: gzip\r\netag: x\r\n\r\n")).await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    assert_eq!(rig.get(&account, "/").await.unwrap().0, 304, "there is nothing in it to be taken out");
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let peer = Peer::start(move |_| raw(answer)).await;
        let (rig, account) = (Rig::new(), bearer(&peer.url()));
        let error = rig.get(&account, "/").await.unwrap_err();
        assert!(matches!(error.fault, Fault::Lost { .. }) && error.sent, "{answer}: {error:?}");
    }
}

#[tokio::test]
async fn an_upstreams_own_errors_are_handed_on() {
    let peer = Peer::start(|seen| {
        let status = &seen.head[5..8];
        raw(&format!("HTTP/1.1 {status} X\r\nretry-after: 3\r\nconnection: close\r\nwww-authenticate: Bearer\r\ncontent-length: 2\r\n\r\nno"))
    })
    .await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    for status in [401, 403, 404, 429, 500, 503] {
        let (found, headers, body) = rig.get(&account, &format!("/{status}")).await.unwrap();
        assert_eq!((found, body.as_str()), (status, "no"));
        assert!(headers.contains("retry-after: 3") && !headers.contains("www-authenticate"), "{headers}");
    }
}

#[tokio::test]
async fn what_cannot_be_reached() {
    let unused = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let rig = Rig::new();
    let error = rig.get(&bearer(&format!("http://{unused}")), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Unreachable { .. }) && !error.sent, "{error:?}");

    let silent = Peer::start(|_| Reply::Silence).await;
    let rig = Rig::with(Options {
        silence: Duration::from_millis(50),
        connect: Duration::from_millis(200),
        ..Options::default()
    });
    let error = rig.get(&bearer(&silent.url()), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Timeout { doing: "waiting for its answer", .. }) && error.sent, "{error:?}");
    let error = rig.get(&bearer(&silent.url().replace("http:", "https:")), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Timeout { .. } | Fault::Tls { .. }) && !error.sent, "{error:?}");
    let stalling =
        Peer::start(|_| Reply::Send(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc".to_vec()])).await;
    let error = rig.get(&bearer(&stalling.url()), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Timeout { doing: "sending its answer", .. }) && error.sent, "{error:?}");
}

#[tokio::test]
async fn a_connection_that_the_upstream_closed_is_replaced() {
    let peer =
        Peer::start(|_| Reply::SendAndClose(vec![b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok".to_vec()])).await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    for _ in 0..5 {
        assert_eq!(
            rig.call(&account, Call::json(Method::POST, "/".to_owned(), &serde_json::json!({}))).await.unwrap().2,
            "ok"
        );
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((peer.connections(), peer.seen().len()), (5, 5));
}

#[tokio::test]
async fn bodies_stream_both_ways() {
    let peer = Peer::start(|seen| ok(&seen.body.iter().map(|byte| u64::from(*byte)).sum::<u64>().to_string())).await;
    let (rig, account) = (Rig::new(), bearer(&peer.url()));
    let call = Call { method: Method::PUT, target: "/".to_owned(), headers: vec![], body: CallBody::Streamed };
    let lease = rig.lease(&call);
    let body = StreamedBody::new(Full::new(Bytes::from(vec![1; 3 << 20])));
    let response = rig.upstream.send(lease, &account, call, Some(body)).await.unwrap();
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), (3 << 20).to_string());
    assert!(peer.seen()[0].head.contains("content-length: 3145728\r\n"));

    let call = Call { method: Method::PUT, target: "/".to_owned(), headers: vec![], body: CallBody::Streamed };
    let lease = rig.lease(&call);
    let broken = StreamBody::new(futures_util::stream::iter([
        Ok(http_body::Frame::data(Bytes::from_static(b"abc"))),
        Err(std::io::Error::other("the agent left")),
    ]));
    let error = rig.upstream.send(lease, &account, call, Some(StreamedBody::new(broken))).await.unwrap_err();
    assert!(matches!(&error.fault, Fault::AgentBody(why) if why.contains("the agent left")), "{error:?}");
}

#[tokio::test]
async fn panic_stops_streams_both_ways() {
    let endless = Peer::start(|_| {
        let mut pieces = vec![b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".to_vec()];
        pieces.resize(1000, b"3\r\nabc\r\n".to_vec());
        Reply::Send(pieces)
    })
    .await;
    let (rig, account) = (Rig::new(), bearer(&endless.url()));
    let call = Call::get("/".to_owned());
    let lease = rig.lease(&call);
    let mut body = rig.upstream.send(lease, &account, call, None).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().slice(..3), "abc");
    rig.guard.gate().raise();
    rig.connections.cut_all();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::Stopped, true));

    // A new epoch does not use the old one's connections, and works.
    let (_, _, text) = rig.get(&bearer(&Peer::start(|_| ok("again")).await.url()), "/").await.unwrap();
    assert_eq!(text, "again");
}

#[tokio::test]
async fn i3_no_byte_of_an_older_epoch_leaves() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (rig, account) = (Rig::new(), Arc::new(bearer(&url)));
    let (feed, mut feeding) = tokio::sync::mpsc::unbounded_channel::<Bytes>();
    let body = StreamBody::new(futures_util::stream::poll_fn(move |cx| {
        feeding.poll_recv(cx).map(|piece| piece.map(|piece| Ok::<_, std::io::Error>(http_body::Frame::data(piece))))
    }));
    let call = Call { method: Method::POST, target: "/".to_owned(), headers: vec![], body: CallBody::Streamed };
    let lease = rig.lease(&call);
    let (upstream, target) = (Arc::clone(&rig.upstream), Arc::clone(&account));
    let sending =
        tokio::spawn(
            async move { upstream.send(lease, &target, call, Some(StreamedBody::new(body))).await.map(|_| ()) },
        );
    let (mut socket, _) = listener.accept().await.unwrap();
    feed.send(Bytes::from_static(b"before")).unwrap();
    let mut received = Vec::new();
    while !received.ends_with(b"before\r\n") {
        assert!(socket.read_buf(&mut received).await.unwrap() > 0);
    }
    let before = received.len();
    rig.guard.gate().raise();
    feed.send(Bytes::from_static(b"after the gate")).unwrap();
    let error = sending.await.unwrap().unwrap_err();
    assert_eq!((error.fault, error.sent), (Fault::Stopped, true));
    let _ = socket.read_to_end(&mut received).await;
    assert_eq!(received.len(), before, "{:?}", String::from_utf8_lossy(&received[before..]));
}

/// Mints leases, counts, and remembers rotated tokens.
struct Mint {
    guard: Arc<Mutex<Guard>>,
    minted: AtomicUsize,
    rotated: Mutex<Vec<String>>,
    open: bool,
}

impl Hooks for Mint {
    fn mint_refresh<'a>(&'a self, account: &'a str, call: &'a Call, epoch: Epoch) -> BoxFuture<'a, Option<Lease>> {
        Box::pin(async move {
            self.minted.fetch_add(1, Ordering::SeqCst);
            let guard = self.guard.lock().unwrap();
            assert!(!format!("{call:?}").contains("rt-"), "a lease's call holds no secret");
            if self.open { guard.lease_refresh(account, call, epoch).ok() } else { None }
        })
    }

    fn rotated<'a>(&'a self, _: &'a str, _: &'a SignIn, refresh_token: Secret) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.rotated.lock().unwrap().push(refresh_token.expose().to_owned()) })
    }
}

fn mint(upstream: &Upstream, open: bool) -> Arc<Mint> {
    let guard = Guard::new(Pdp::new("").unwrap(), Loaded::default(), Lifetimes::default());
    let mint = Arc::new(Mint {
        guard: Arc::new(Mutex::new(guard)),
        minted: AtomicUsize::new(0),
        rotated: Mutex::default(),
        open,
    });
    upstream.hook(Arc::clone(&mint) as Arc<dyn Hooks>);
    mint
}

fn signed_in(url: &str) -> AccountTarget {
    let credential = Credential::OAuth2 {
        client_id: "client".to_owned(),
        client_secret: Some(Secret::new("cs-canary".to_owned())),
        refresh_token: Secret::new("rt-canary-1".to_owned()),
        token_endpoint: format!("{url}/token"),
    };
    AccountTarget::new("work", url, Arc::new(credential)).unwrap()
}

/// Hands out at-canary-1, -2, ...; accepts the newest only.
async fn provider(expires_in: u32, rotate: bool) -> Peer {
    let issued = AtomicUsize::new(0);
    Peer::start(move |seen| {
        if seen.head.starts_with("POST /token ") {
            let n = issued.fetch_add(1, Ordering::SeqCst) + 1;
            let rotated = if rotate { format!(",\"refresh_token\":\"rt-canary-{}\"", n + 1) } else { String::new() };
            return ok(&format!(
                "{{\"access_token\":\"at-canary-{n}\",\"token_type\":\"Bearer\",\"expires_in\":{expires_in}{rotated}}}"
            ));
        }
        if seen.head.starts_with("GET /forget ") {
            issued.fetch_add(1, Ordering::SeqCst);
            return ok("forgotten");
        }
        let good = format!("authorization: Bearer at-canary-{}\r\n", issued.load(Ordering::SeqCst));
        if seen.head.contains(&good) {
            ok("in: at-canary-1")
        } else {
            Reply::Send(vec![b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 2\r\n\r\nno".to_vec()])
        }
    })
    .await
}

#[tokio::test]
async fn sign_ins_are_refreshed_when_needed_and_once() {
    let peer = provider(3600, true).await;
    let (rig, account) = (Rig::new(), signed_in(&peer.url()));
    let mint = mint(&rig.upstream, true);
    let (status, _, body) = rig.get(&account, "/x").await.unwrap();
    assert_eq!((status, body.as_str()), (200, "in: ***********"));
    let form = String::from_utf8(peer.seen()[0].body.clone()).unwrap();
    assert_eq!(form, "grant_type=refresh_token&refresh_token=rt-canary-1&client_id=client&client_secret=cs-canary");
    assert_eq!(*mint.rotated.lock().unwrap(), ["rt-canary-2"]);
    rig.get(&account, "/x").await.unwrap();
    assert_eq!(mint.minted.load(Ordering::SeqCst), 1);

    // The provider forgets the token: refreshed once for all that ask at the same time, with the rotated refresh token.
    rig.get(&account, "/forget").await.unwrap();
    let all = join_all((0..8).map(|_| rig.get(&account, "/x"))).await;
    assert!(all.iter().all(|answer| answer.as_ref().unwrap().0 == 200));
    assert_eq!(mint.minted.load(Ordering::SeqCst), 2);
    let forms: Vec<String> = peer
        .seen()
        .iter()
        .filter(|seen| seen.head.starts_with("POST /token "))
        .map(|seen| String::from_utf8(seen.body.clone()).unwrap())
        .collect();
    assert!(forms.len() == 2 && forms[1].contains("rt-canary-2"), "{forms:?}");
}

#[tokio::test]
async fn a_body_that_is_gone_is_not_sent_twice() {
    let peer = provider(3600, false).await;
    let (rig, account) = (Rig::new(), signed_in(&peer.url()));
    let mint = mint(&rig.upstream, true);
    rig.get(&account, "/forget").await.unwrap();
    let call = || Call { method: Method::POST, target: "/up".to_owned(), headers: vec![], body: CallBody::Streamed };
    let body = || Some(StreamedBody::new(Full::new(Bytes::from_static(b"once"))));
    let first = rig.upstream.send(rig.lease(&call()), &account, call(), body()).await.unwrap();
    assert_eq!(first.status(), 401);
    assert_eq!(peer.seen().iter().filter(|seen| seen.head.starts_with("POST /up ")).count(), 1);
    let second = rig.upstream.send(rig.lease(&call()), &account, call(), body()).await.unwrap();
    assert_eq!((second.status().as_u16(), mint.minted.load(Ordering::SeqCst)), (200, 2));
}

#[tokio::test]
async fn refreshing_fails_for_reasons_that_are_told_apart() {
    let refused = |answer: &'static str| async move {
        let peer = Peer::start(move |_| raw(answer)).await;
        let (rig, account) = (Rig::new(), signed_in(&peer.url()));
        mint(&rig.upstream, true);
        let error = rig.get(&account, "/x").await.unwrap_err();
        assert!(!error.sent && !error.to_string().contains("canary"), "{error:?}");
        error.fault
    };
    let body = r#"{"error":"invalid_grant","error_description":"rt-canary-1 expired"}"#;
    let answer: &'static str = format!("HTTP/1.1 400 Bad\r\ncontent-length: {}\r\n\r\n{body}", body.len()).leak();
    assert_eq!(refused(answer).await, Fault::Refresh(RefreshError::SignedOut("invalid_grant".to_owned())));
    let Fault::Refresh(RefreshError::Refused { status: 503, .. }) =
        refused("HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n").await
    else {
        panic!("503 is no sign-out")
    };
    assert!(matches!(refused("").await, Fault::Refresh(RefreshError::Unreachable(_))));

    let peer = provider(3600, false).await;
    let (rig, account) = (Rig::new(), signed_in(&peer.url()));
    mint(&rig.upstream, false);
    let error = rig.get(&account, "/x").await.unwrap_err();
    assert_eq!(error.fault, Fault::Refresh(RefreshError::NotPermitted));
    assert_eq!(peer.connections(), 0);
}

#[tokio::test]
async fn signing_out_at_the_provider() {
    let peer = Peer::start(|_| ok("{}")).await;
    let (rig, account) = (Rig::new(), signed_in(&peer.url()));
    let endpoint = format!("{}/revoke", peer.url());
    let call = oauth::revocation_call(&endpoint).unwrap();
    let lease = rig.guard.lease_revocation("work", &call);
    assert_eq!(rig.upstream.revoke(lease, &account, &endpoint).await.unwrap(), 200);
    let seen = peer.seen().pop().unwrap();
    assert!(seen.head.starts_with("POST /revoke ") && !seen.head.contains("authorization"));
    assert!(String::from_utf8(seen.body).unwrap().starts_with("token=rt-canary-1&token_type_hint=refresh_token"));
}

#[tokio::test]
async fn encrypted_upstreams_must_prove_who_they_are() {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let root = made.cert.der().clone();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![root.clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(socket).await else { return };
                let mut buffer = [0; 4096];
                while matches!(stream.read(&mut buffer).await, Ok(1..)) {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe").await;
                }
            });
        }
    });
    let trusting = Rig::with(Options { extra_roots: vec![root], ..Options::default() });
    let account = bearer(&format!("https://localhost:{port}"));
    assert_eq!(trusting.get(&account, "/").await.unwrap().2, "safe");
    assert_eq!(trusting.get(&account, "/").await.unwrap().2, "safe");
    let error = Rig::new().get(&bearer(&format!("https://localhost:{port}")), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Tls { .. }) && !error.sent, "{error:?}");
    let error = trusting.get(&bearer(&format!("https://127.0.0.1:{port}")), "/").await.unwrap_err();
    assert!(matches!(error.fault, Fault::Tls { .. }) && !error.sent, "{error:?}");
}
