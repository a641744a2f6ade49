//! Mails as large as the provider takes them: they run, and what waits takes no memory.

use std::time::Duration;

use latch_ipc::contract::SettingsSet;
use latch_ipc::view::HoldView;
use latch_tests::engine::{Engine, Start, memory_kib};
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::upstream::{Reply, Upstream};
use latch_tests::{Agent, Answer};
use serde_json::json;
use tokio::task::JoinHandle;

const MIB: usize = 1024 * 1024;
/// Large mails take their time in a build without optimisation.
const PATIENCE: Duration = Duration::from_secs(80);
const CANARY: &str = "attachment-canary-90125";

/// A mail with one attachment of about so many bytes.
fn mail(to: &str, bytes: usize) -> String {
    let head = format!(
        "From: me@example.com\r\nTo: {to}\r\nSubject: Large\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nSee below.\r\n--b\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=a.bin\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"
    );
    let line = format!("{CANARY} {}\r\n", "x".repeat(80));
    format!("{head}{}--b--\r\n", line.repeat(bytes / line.len()))
}

fn upload(agent: &Agent, route: &str, mail: String) -> JoinHandle<Answer> {
    let agent = agent.clone();
    let path = format!("/upload/gmail/v1/users/me/{route}?uploadType=media");
    tokio::spawn(
        async move { agent.send(hyper::Method::POST, &path, &[("content-type", "message/rfc822")], mail).await },
    )
}

async fn house(preset: &str) -> (Upstream, Engine, Agent, tempfile::TempDir) {
    let upstream = Upstream::start(|_| Reply::json(200, &json!({ "id": "m1", "message": { "id": "m1" } })));
    let home = tempfile::tempdir().unwrap();
    // The allocator gives back what is not used, so that what the engine holds can be seen from outside.
    let engine = Start::at(home.path()).in_memory().env("MALLOC_MMAP_THRESHOLD_", "65536").start().await;
    add_account(&engine, "mail", &upstream.url, "the-credential").await;
    connect(&engine, "claw", "mail", preset).await;
    engine.call(SettingsSet, json!({ "http_wait_seconds": 60 })).await;
    let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
    (upstream, engine, agent, home)
}

fn below(folder: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        if entry.path().is_dir() {
            all.extend(below(&entry.path()));
        } else {
            all.extend(std::fs::read(entry.path()).unwrap_or_default());
        }
    }
    all
}

/// The mail as it arrived.
fn arrived<'a>(body: &'a [u8], sent: &str) -> &'a [u8] {
    let at = body.windows(6).position(|window| window == b"From: ").expect("a mail");
    &body[at..at + sent.len()]
}

/// What was sent; whom the person wrote to before is looked up beside it.
fn sent(upstream: &Upstream) -> Vec<latch_tests::upstream::Seen> {
    upstream.seen().into_iter().filter(|seen| seen.target.contains("messages/send")).collect()
}

#[tokio::test]
async fn a_mail_of_the_largest_size_goes_through() {
    let (upstream, _engine, agent, _home) = house("organize").await;
    let sent = mail("friend@example.org", 35 * MIB);
    upload(&agent, "drafts", sent.clone()).await.unwrap().expect(200);
    let seen = upstream.seen();
    assert_eq!(seen.len(), 1);
    assert!(arrived(&seen[0].body, &sent) == sent.as_bytes());
}

#[tokio::test]
async fn large_mails_are_put_aside_while_they_wait_and_sent_as_they_were_shown() {
    let (upstream, engine, agent, home) = house("ask-everything").await;
    upload(&agent, "drafts", mail("friend@example.org", 6 * MIB));
    engine.deny(&engine.hold_within(PATIENCE).await).await;
    let before = memory_kib(engine.pid());
    let mails: Vec<String> = (0..4).map(|n| mail(&format!("friend{n}@example.org"), 6 * MIB)).collect();
    let asked: Vec<_> = mails.iter().map(|mail| upload(&agent, "messages/send", mail.clone())).collect();
    let holds = engine.holds_within(4, PATIENCE).await;
    // A hold is shown while its body is still on its way to the disk.
    let limit = before + 12 * 1024;
    let settled = async {
        while memory_kib(engine.pid()) > limit {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let waiting = tokio::time::timeout(PATIENCE, settled).await;
    assert!(waiting.is_ok(), "{before} KiB before, {} KiB while 24 MiB wait", memory_kib(engine.pid()));
    let files = below(home.path());
    assert!(!files.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()), "it is on the disk in the clear");
    for (n, task) in asked.into_iter().enumerate() {
        let reaches = |hold: &&HoldView| format!("{:?}", hold.audience).contains(&format!("friend{n}@"));
        let hold = holds.iter().find(reaches).expect("its hold");
        assert!(hold.facts.iter().any(|fact| fact.value.contains("a.bin")), "{:?}", hold.facts);
        if n % 2 == 0 {
            engine.allow(hold).await;
            task.await.unwrap().expect(200);
            let seen = sent(&upstream).pop().expect("it arrived");
            assert!(arrived(&seen.body, &mails[n]) == mails[n].as_bytes());
        } else {
            engine.deny(hold).await;
            task.await.unwrap().expect(403);
        }
    }
    assert_eq!(sent(&upstream).len(), 2);
}

#[tokio::test]
async fn more_than_the_provider_takes_is_too_large() {
    let (upstream, _engine, agent, _home) = house("ask-everything").await;
    let answer = upload(&agent, "messages/send", "x".repeat(51 * MIB)).await.unwrap();
    assert!(matches!(answer.status, 0 | 413), "{}", answer.text());
    assert!(upstream.asked().is_empty());
}
