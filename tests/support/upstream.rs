//! An upstream that misbehaves on purpose, where the emulator is too well-behaved. It records what reaches it.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::combinators::BoxBody;
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// A request as it arrived.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When its head was complete.
    pub at: Instant,
}

/// What to answer.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The headers.
    pub headers: Vec<(String, String)>,
    /// The body, in chunks.
    pub chunks: Vec<Bytes>,
    /// Between chunks, and before the first.
    pub pause: Duration,
}

/// A running upstream.
pub struct Upstream {
    /// `http://127.0.0.1:PORT`.
    pub url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    bytes: Arc<AtomicU64>,
    // Its own threads, so that a busy test doesn't delay what it records.
    _runtime: Background,
}

struct Background(Option<tokio::runtime::Runtime>);

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Reply {
    /// JSON.
    #[must_use]
    pub fn json(status: u16, body: &serde_json::Value) -> Self {
        Self::text(status, "application/json", &body.to_string())
    }

    /// Text.
    #[must_use]
    pub fn text(status: u16, kind: &str, body: &str) -> Self {
        Self {
            status,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            chunks: vec![Bytes::copy_from_slice(body.as_bytes())],
            pause: Duration::ZERO,
        }
    }

    /// With another header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Slowly.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// In chunks of this size.
    #[must_use]
    pub fn in_chunks_of(mut self, size: usize) -> Self {
        let whole: Vec<u8> = self.chunks.iter().flatten().copied().collect();
        self.chunks = whole.chunks(size).map(Bytes::copy_from_slice).collect();
        self
    }
}

impl Upstream {
    /// Starts one that answers like this.
    pub fn start(answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("non-blocking");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let bytes = Arc::new(AtomicU64::new(0));
        let answer = Arc::new(answer);
        let (log, count) = (Arc::clone(&seen), Arc::clone(&bytes));
        runtime.spawn(async move {
            let listener = TcpListener::from_std(listener).expect("a listener");
            while let Ok((stream, _)) = listener.accept().await {
                let (answer, log, count) = (Arc::clone(&answer), Arc::clone(&log), Arc::clone(&count));
                tokio::spawn(async move {
                    let service = service_fn(move |request| {
                        let (answer, log, count) = (Arc::clone(&answer), Arc::clone(&log), Arc::clone(&count));
                        async move {
                            let seen = receive(request, &count).await;
                            log.lock().expect("not poisoned").push(seen.clone());
                            Ok::<_, Infallible>(respond(answer(&seen)))
                        }
                    });
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { url, seen, bytes, _runtime: Background(Some(runtime)) }
    }

    /// Everything that arrived.
    #[must_use]
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("not poisoned").clone()
    }

    /// `METHOD /target` of everything that arrived.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.seen().iter().map(|seen| format!("{} {}", seen.method, seen.target)).collect()
    }

    /// Body bytes that arrived, also of requests that never ended.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::SeqCst)
    }
}

impl Seen {
    /// A header as text; empty if absent.
    #[must_use]
    pub fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
    }
}

async fn receive(request: Request<Incoming>, count: &AtomicU64) -> Seen {
    let at = Instant::now();
    let (head, mut body) = request.into_parts();
    let mut whole = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            count.fetch_add(data.len() as u64, Ordering::SeqCst);
            whole.extend_from_slice(&data);
        }
    }
    Seen {
        method: head.method.to_string(),
        target: head.uri.path_and_query().map(ToString::to_string).unwrap_or_default(),
        headers: head.headers,
        body: Bytes::from(whole),
        at,
    }
}

fn respond(reply: Reply) -> Response<BoxBody<Bytes, Infallible>> {
    let Reply { status, headers, chunks, pause } = reply;
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(name, value);
    }
    let body = if pause.is_zero() && chunks.len() == 1 {
        http_body_util::Full::new(chunks.into_iter().next().unwrap_or_default()).boxed()
    } else {
        let (mut sender, body) = http_body_util::channel::Channel::<Bytes, Infallible>::new(1);
        tokio::spawn(async move {
            for chunk in chunks {
                tokio::time::sleep(pause).await;
                if sender.send(Frame::data(chunk)).await.is_err() {
                    return;
                }
            }
        });
        body.boxed()
    };
    response.body(body).expect("a response")
}
