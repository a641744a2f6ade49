//! How fast Panic is while 64 connections are busy, and what an idle engine costs.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use latch_ipc::contract::{Empty, PanicCall, Resume, ResumeParams};
use latch_tests::engine::{Start, memory_kib};
use latch_tests::ports::free_port;
use latch_tests::scene::{add_account, connect, issue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::peers::{listening, nginx};
use crate::table::{Row, median, quantile, time};

const ROUNDS: usize = 100;
const STREAMS: usize = 64;

/// An upstream that answers at once and notes when the last byte came.
struct Noting {
    url: String,
    start: Instant,
    /// Nanoseconds after `start`.
    last: Arc<AtomicU64>,
    received: Arc<AtomicU64>,
}

impl Noting {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let start = Instant::now();
        let (last, received) = (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let (noted, counted) = (Arc::clone(&last), Arc::clone(&received));
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (last, received) = (Arc::clone(&noted), Arc::clone(&counted));
                tokio::spawn(async move {
                    let mut buffer = [0; 4096];
                    while let Ok(1..) = socket.read(&mut buffer).await {
                        last.fetch_max(start.elapsed().as_nanos() as u64, Ordering::SeqCst);
                        received.fetch_add(1, Ordering::SeqCst);
                        // Each request is one small segment.
                        let answer =
                            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                        if socket.write_all(answer).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        Self { url, start, last, received }
    }
}

/// Asks again and again until the connection ends.
async fn ask_on(address: String, token: String) {
    let Ok(mut socket) = TcpStream::connect(&address).await else { return };
    let request = format!(
        "GET /mail/gmail/v1/users/me/labels HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    let mut buffer = [0; 4096];
    loop {
        if socket.write_all(request.as_bytes()).await.is_err() {
            return;
        }
        match socket.read(&mut buffer).await {
            Ok(1..) => {}
            Ok(0) | Err(_) => return,
        }
    }
}

/// From the call to the last byte that reached the upstream, and to the answer.
pub async fn rows() -> Vec<Row> {
    let upstream = Noting::start().await;
    let home = tempfile::tempdir().expect("a temporary folder");
    let engine = Start::at(home.path()).in_memory().start().await;
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", "organize").await;
    let address = engine.door().trim_start_matches("http://").to_owned();
    let (mut last, mut returned, mut late) = (Vec::new(), Vec::new(), 0);
    for _ in 0..ROUNDS {
        let token = issue(&engine, "claw").await;
        let agents: Vec<_> = (0..STREAMS).map(|_| tokio::spawn(ask_on(address.clone(), token.clone()))).collect();
        let before = upstream.received.load(Ordering::SeqCst);
        while upstream.received.load(Ordering::SeqCst) < before + 20 * STREAMS as u64 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let called = upstream.start.elapsed();
        engine.call(PanicCall, Empty {}).await;
        let answered = upstream.start.elapsed();
        let at_answer = upstream.received.load(Ordering::SeqCst);
        for agent in agents {
            let _ = agent.await;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        late += upstream.received.load(Ordering::SeqCst) - at_answer;
        let noted = Duration::from_nanos(upstream.last.load(Ordering::SeqCst));
        last.push(noted.saturating_sub(called).as_secs_f64());
        returned.push((answered - called).as_secs_f64());
        engine.call(Resume, ResumeParams { agent: Some("claw".to_owned()), preset: Some("organize".to_owned()) }).await;
    }
    let worst = quantile(last.clone(), 0.99);
    vec![
        Row::new(format!("Panic, {STREAMS} busy connections: call to last byte upstream, p99"))
            .ours(format!("{} (median {})", time(worst), time(median(last))))
            .target("<= 5 ms", worst <= 0.005),
        Row::new("the same: requests that reach the upstream after the answer")
            .ours(late.to_string())
            .target("0", late == 0),
        Row::new("the same: call to durable and answered, p99").ours(format!(
            "{} (median {})",
            time(quantile(returned.clone(), 0.99)),
            time(median(returned))
        )),
    ]
}

/// Memory and start of an engine that nobody uses.
pub async fn idle() -> Vec<Row> {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..10 {
        let home = tempfile::tempdir().expect("a temporary folder");
        let started = Instant::now();
        let engine = Start::at(home.path()).in_memory().start().await;
        starts.push(started.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(200)).await;
        memory.push(memory_kib(engine.pid()) as f64 * 1024.0 / 1e6);
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let port = free_port();
    let nginx = nginx(folder.path(), "idle", &format!("server {{ listen 127.0.0.1:{port}; }}"));
    listening(port).await;
    let peer = nginx.memory_kib() as f64 * 1024.0 / 1e6;
    let (start, memory) = (median(starts), median(memory));
    vec![
        Row::new("engine: start to ready").ours(time(start)).target("<= 150 ms", start <= 0.15),
        Row::new("engine: memory when idle")
            .ours(format!("{memory:.1} MB"))
            .peer(format!("{peer:.1} MB (nginx, its processes together)"))
            .target("<= 25 MB", memory <= 25.0),
    ]
}
