//! ATTACKS 30 and 32: too much of everything. Memory stays bounded, others are served, the person is asked little.

use std::collections::BTreeSet;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::Method;
use latch_ipc::contract::{Empty, EventKind, HoldList, PanicCall, SettingsSet, StatusCall, Verdict};
use latch_tests::engine::{Engine, decision, memory_kib};
use latch_tests::scene::{connect, issue};
use latch_tests::sink::{USER, mail};
use latch_tests::upstream::Reply;
use latch_tests::{Agent, Scene};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::attacks_http::say;
use crate::gmail;
use crate::smtp::BOB;
use crate::upstreams::house;

/// The most that an attack may add to the engine's memory.
const ROOM_KIB: u64 = 32 * 1024;
/// Requests of the flood.
const FLOOD: usize = 10_000;

/// Asks to delete 10,000 different messages, over 16 connections. Each one's status.
fn flood(agent: &Agent, stop: &Arc<AtomicBool>) -> Vec<JoinHandle<Vec<u16>>> {
    (0..16)
        .map(|lane| {
            let (agent, stop) = (agent.clone(), Arc::clone(stop));
            tokio::spawn(async move {
                let mut statuses = Vec::new();
                for n in (lane..FLOOD).step_by(16) {
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    statuses.push(agent.delete(&gmail(&format!("messages/x{n:05}"))).await.status);
                }
                statuses
            })
        })
        .collect()
}

async fn all(lanes: Vec<JoinHandle<Vec<u16>>>) -> Vec<u16> {
    let mut statuses = Vec::new();
    for lane in lanes {
        statuses.extend(lane.await.unwrap());
    }
    statuses
}

/// The holds that may come up by themselves now.
async fn prompts(engine: &Engine) -> Vec<latch_ipc::view::HoldView> {
    engine.call(HoldList, Empty {}).await.into_iter().filter(|hold| hold.prompt).collect()
}

#[tokio::test]
async fn attack_32_nobody_answers_ten_thousand_deletions() {
    let scene = Scene::new(20, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    let agent = scene.agent().await;
    agent.get(&gmail("messages")).await.expect(200);
    let before = memory_kib(scene.engine.pid());
    let lanes = flood(&agent, &Arc::default());
    let mut shown = BTreeSet::new();
    let started = Instant::now();
    while lanes.iter().any(|lane| !lane.is_finished()) {
        shown.extend(prompts(&scene.engine).await.into_iter().map(|hold| hold.id));
        assert!(started.elapsed() < Duration::from_secs(200), "the flood never ends");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let statuses = all(lanes).await;
    assert_eq!(statuses.len(), FLOOD, "every request has an answer");
    assert!(
        statuses.iter().all(|status| matches!(status, 404 | 429 | 502 | 503)),
        "{:?}",
        statuses.iter().collect::<BTreeSet<_>>()
    );
    assert!(!shown.is_empty() && shown.len() <= 3, "{} dialogs: {shown:?}", shown.len());
    let waiting = scene.engine.call(HoldList, Empty {}).await;
    assert!(waiting.len() <= 64, "{} wait in the list", waiting.len());
    let events = scene.engine.events().await;
    assert!(events.iter().any(|event| event.kind == EventKind::AgentPaused), "the person is told that it is paused");
    let paused = agent.delete(&gmail("messages/m0001")).await.expect(429);
    assert!(!paused.header("retry-after").is_empty());
    let after = memory_kib(scene.engine.pid());
    assert!(after < before + ROOM_KIB, "{before} KiB became {after} KiB");
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn attack_32_each_question_is_denied_at_once_and_three_are_all() {
    let scene = Scene::new(20, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    let lanes = flood(&scene.agent().await, &Arc::default());
    let mut denied = 0;
    while lanes.iter().any(|lane| !lane.is_finished()) {
        for hold in prompts(&scene.engine).await {
            let id = latch_ipc::contract::Id { id: hold.id };
            denied += usize::from(scene.engine.client.call(latch_ipc::contract::HoldDeny, id).await.is_ok());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(all(lanes).await.len(), FLOOD);
    // The third denial pauses the agent for five minutes, and the minute has no fourth place.
    assert_eq!(denied, 3);
    assert_eq!(prompts(&scene.engine).await, []);
    assert!(scene.engine.events().await.iter().any(|event| event.kind == EventKind::AgentPaused));
}

#[tokio::test]
async fn attack_32_panic_in_the_middle_of_the_flood() {
    let scene = Scene::new(20, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    let stop = Arc::new(AtomicBool::new(false));
    let lanes = flood(&scene.agent().await, &stop);
    while scene.engine.call(HoldList, Empty {}).await.len() < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let panicked = scene.engine.call(PanicCall, Empty {}).await;
    assert!(panicked.cut.holds >= 10, "{panicked:?}");
    assert_eq!(scene.engine.call(HoldList, Empty {}).await, []);
    stop.store(true, Ordering::SeqCst);
    let statuses = all(lanes).await;
    assert!(statuses.iter().any(|status| matches!(status, 0 | 401 | 403)), "{statuses:?}");
    assert!(scene.engine.call(StatusCall, Empty {}).await.panicked);
    assert_eq!(scene.gmail.changes().await, Vec::<String>::new());
}

#[tokio::test]
async fn attack_32_another_agent_still_gets_its_question_through() {
    let scene = Scene::new(20, "organize").await;
    scene.engine.call(SettingsSet, json!({ "http_wait_seconds": 0 })).await;
    connect(&scene.engine, "calm", "mail", "organize").await;
    let lanes = flood(&scene.agent().await, &Arc::default());
    while scene.engine.call(HoldList, Empty {}).await.len() < 10 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let calm = Agent::new(&format!("{}/mail", scene.engine.door()), &issue(&scene.engine, "calm").await);
    calm.delete(&gmail("messages/m0001")).await.expect(429);
    let holds = prompts(&scene.engine).await;
    assert!(holds.iter().any(|hold| hold.agent == "calm"), "{holds:#?}");
    assert!(holds.len() <= 3, "{holds:#?}");
    all(lanes).await;
}

/// Another agent that reads on, one request after the other.
struct Reader {
    stop: Arc<AtomicBool>,
    /// How long each of its requests took.
    took: Arc<Mutex<Vec<Duration>>>,
    task: JoinHandle<()>,
}

impl Reader {
    fn start(agent: Agent) -> Self {
        let (stop, took) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (until, measured) = (Arc::clone(&stop), Arc::clone(&took));
        let task = tokio::spawn(async move {
            while !until.load(Ordering::SeqCst) {
                let asked = Instant::now();
                agent.get(&gmail("messages")).await.expect(200);
                measured.lock().unwrap().push(asked.elapsed());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
        Self { stop, took, task }
    }

    fn count(&self) -> usize {
        self.took.lock().unwrap().len()
    }

    /// The slowest hundredth of the requests from one number on to another.
    fn p99(&self, from: usize, to: usize) -> Duration {
        let mut took = self.took.lock().unwrap()[from..to].to_vec();
        took.sort();
        took[took.len() * 99 / 100]
    }
}

/// 100 MB of zeros, compressed to a thousandth.
fn bomb() -> Bytes {
    let made = Command::new("sh").args(["-c", "head -c 100000000 /dev/zero | gzip -9"]).output().unwrap();
    assert!(made.stdout.len() > 50_000, "gzip makes a bomb");
    Bytes::from(made.stdout)
}

#[tokio::test]
async fn attack_30_floods_stay_bounded_and_others_are_served() {
    let bomb = bomb();
    let answer = bomb.clone();
    let (_upstream, engine, agent, _home) = house(move |seen| {
        let reply = Reply::json(200, &json!({}));
        if seen.target.contains("bomb") {
            // Compressed although it was asked not to.
            return Reply { chunks: vec![answer.clone()], ..reply }.header("content-encoding", "gzip");
        }
        reply
    })
    .await;
    connect(&engine, "calm", "mail", "organize").await;
    let calm = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "calm").await);
    let door = engine.door().trim_start_matches("http://").to_owned();
    agent.get(&gmail("messages")).await.expect(200);
    let before = memory_kib(engine.pid());
    let reader = Reader::start(calm);
    let most = || {
        assert!(memory_kib(engine.pid()) < before + ROOM_KIB, "{before} KiB became {} KiB", memory_kib(engine.pid()))
    };
    let go_on = async |what: &str| {
        most();
        let so_far = reader.count();
        let wait = async {
            while reader.count() < so_far + 100 {
                assert!(!reader.task.is_finished(), "{what}: the other agent got something else than its mails");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), wait).await.unwrap_or_else(|_| panic!("{what}: others wait"));
        most();
    };
    go_on("at rest").await;
    let at_rest = reader.count();
    // Megabytes of headers, and thousands of them, from many at once.
    for _ in 0..3 {
        let huge = format!("GET / HTTP/1.1\r\nHost: {door}\r\nX-Big: {}\r\n\r\n", "a".repeat(1_000_000));
        let many: String = (0..20_000).map(|n| format!("X-{n}: a\r\n")).collect();
        let many = format!("GET / HTTP/1.1\r\nHost: {door}\r\n{many}\r\n");
        for bytes in [huge, many] {
            let answer = say(&door, bytes.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 4") || answer.is_empty(), "{}", answer.len());
        }
    }
    go_on("large heads").await;
    // Slowloris: 600 that never finish their heads, and 60 that never finish a body.
    let token = issue(&engine, "claw").await;
    let mut slow = Vec::new();
    for n in 0..660 {
        let Ok(mut stream) = TcpStream::connect(&door).await else { continue };
        let begun = if n < 600 {
            format!("GET / HTTP/1.1\r\nHost: {door}\r\nX-A: ")
        } else {
            format!(
                "POST /mail{} HTTP/1.1\r\nHost: {door}\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{{\"ids\": [",
                gmail("messages/batchModify")
            )
        };
        let _ = stream.write_all(begun.as_bytes()).await;
        slow.push(stream);
    }
    go_on("slowloris").await;
    for stream in &mut slow {
        let _ = stream.write_all(b"a").await;
    }
    go_on("slowloris, a byte later").await;
    // HTTP/2 rapid reset: a protocol that this door does not speak.
    for _ in 0..50 {
        let mut rapid = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec();
        for stream in (1..400_u32).step_by(2) {
            let id = stream.to_be_bytes();
            rapid.extend([0, 0, 1, 1, 5, id[0], id[1], id[2], id[3], 0x82]);
            rapid.extend([0, 0, 4, 3, 0, id[0], id[1], id[2], id[3], 0, 0, 0, 8]);
        }
        let Ok(mut stream) = TcpStream::connect(&door).await else { continue };
        let _ = stream.write_all(&rapid).await;
        slow.push(stream);
    }
    go_on("rapid reset").await;
    // Bombs in both directions.
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    for _ in 0..3 {
        let answer = agent.send(Method::POST, &gmail("messages/batchModify"), &headers, bomb.clone()).await;
        assert!((400..500).contains(&answer.status), "{}", answer.status);
        // On a connection of its own: the other one was closed with its body unread.
        let agent = Agent::new(&format!("{}/mail", engine.door()), &token);
        let answer = agent.get(&gmail("messages?q=bomb")).await;
        assert!(answer.status == 502 && answer.body.len() < 10_000, "{} {}", answer.status, answer.text());
    }
    go_on("bombs").await;
    // Bodies that are far too large for what must be understood.
    let bodies: Vec<_> = (0..8)
        .map(|_| {
            let agent = agent.clone();
            let body = vec![b' '; 40 << 20];
            tokio::spawn(async move {
                let json = [("content-type", "application/json")];
                agent.send(Method::POST, &gmail("messages/batchModify"), &json, body).await.status
            })
        })
        .collect();
    go_on("large bodies").await;
    for body in bodies {
        let status = body.await.unwrap();
        assert!(matches!(status, 0 | 413 | 503), "{status}");
    }
    go_on("large bodies, afterwards").await;
    let attacked = reader.count();
    drop(slow);
    reader.stop.store(true, Ordering::SeqCst);
    println!("others' p99: {:?} at rest, {:?} attacked", reader.p99(0, at_rest), reader.p99(at_rest, attacked));
    reader.task.await.expect("every request of the other agent was answered");
    agent.get(&gmail("messages")).await.expect(200);
}

/// More to read than fits into a dialog, or on the owner's channel: it can only be denied, and nothing else stops because of it.
#[tokio::test]
async fn attack_32_what_nobody_could_read_to_its_end_takes_nobody_the_owner_channel() {
    let out = crate::smtp::house(&[]).await;
    let mut clients = Vec::new();
    for number in 0..2 {
        let mut client = out.client().await;
        let text = format!("{}\r\n", "\"".repeat(76)).repeat(7_000_000 / 78);
        client.hand_in(USER, &[BOB], &mail(BOB, &format!("Number {number}\r\n\r\n{text}"))).await;
        clients.push(client);
    }
    let holds = out.engine.holds_within(2, Duration::from_secs(60)).await;
    for hold in &holds {
        assert_eq!(hold.facts[0].label, "Look out", "{:?}", hold.facts[0]);
        assert!(hold.facts[0].value.contains("can only be denied"), "{:?}", hold.facts[0]);
        assert!(hold.facts.iter().any(|fact| fact.label == "Subject" && fact.value.starts_with("Number")));
        let told: usize = hold.facts.iter().map(|fact| fact.value.len()).sum();
        assert!(told < 1024 * 1024, "{told} bytes");
        let error = out.engine.decide(decision(hold, Verdict::Allow)).await.expect_err("nobody has read it");
        assert!(error.to_string().contains("only be denied"), "{error}");
    }
    assert!(out.engine.call(HoldList, Empty {}).await.iter().all(|hold| hold.facts.is_empty()));
    out.engine.decide(decision(&holds[0], Verdict::Deny)).await.expect("denied");
    assert!(clients[0].reply().await.starts_with("5"));
    out.engine.call(PanicCall, serde_json::from_value(json!({ "reason": "test" })).expect("params")).await;
    assert!(out.sink.mails().is_empty());
}
