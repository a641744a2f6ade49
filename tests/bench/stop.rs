//! Panic with 64 busy streams, and what an idle engine costs.

use std::time::{Duration, Instant};

use latch_ipc::contract::{Empty, PanicCall, Resume, ResumeParams};
use latch_tests::Agent;
use latch_tests::engine::Start;
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Upstream};

use crate::{Row, median, time};

const ROUNDS: usize = 20;

/// All of them.
pub async fn rows() -> Vec<Row> {
    let upstream = Upstream::start(|_| {
        Reply::text(200, "application/octet-stream", &"x".repeat(100_000))
            .in_chunks_of(100)
            .after(Duration::from_millis(10))
    });
    let home = tempfile::tempdir().expect("a temporary folder");
    let started = Instant::now();
    let engine = Start::at(home.path()).in_memory().start().await;
    let ready = started.elapsed().as_secs_f64();
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", "organize").await;
    let rss = latch_tests::engine::memory_kib(engine.pid());
    let (mut returned, mut late) = (Vec::new(), 0);
    for _ in 0..ROUNDS {
        let token = issue(&engine, "claw").await;
        let base = format!("{}/mail", engine.door());
        let before = upstream.seen().len();
        let streams: Vec<_> = (0..64)
            .map(|n| {
                let agent = Agent::new(&base, &token);
                tokio::spawn(async move { agent.get(&format!("/gmail/v1/users/me/labels?n={n}")).await.status })
            })
            .collect();
        while upstream.seen().len() < before + 64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        let start = Instant::now();
        engine.call(PanicCall, Empty {}).await;
        returned.push(start.elapsed().as_secs_f64());
        let returned_at = Instant::now();
        for stream in streams {
            let _ = stream.await;
        }
        late += upstream.seen().iter().filter(|seen| seen.at > returned_at).count();
        engine.call(Resume, ResumeParams { agent: Some("claw".to_owned()), preset: Some("organize".to_owned()) }).await;
    }
    let worst = returned.iter().copied().fold(0.0, f64::max);
    vec![
        Row::new(
            "panic: call to durable and done, 64 busy streams",
            format!("{} (worst of {ROUNDS}: {}), {late} requests later", time(median(returned)), time(worst)),
            "-",
            "-",
            "p99 <= 5 ms, 0 later",
        ),
        Row::new("engine: start to ready", time(ready), "-", "-", "<= 150 ms"),
        Row::new("engine: idle memory", format!("{:.1} MB", rss as f64 / 1000.0), "-", "-", "<= 25 MB"),
    ]
}
