//! A deletion of 10,000 mails: how long until the person sees it, beside what the upstream itself needs for the same reads.

use std::time::Instant;

use http::Method;
use latch_ipc::contract::{Empty, HoldGet, HoldGetParams, HoldList};
use latch_tests::engine::{Engine, Start};
use latch_tests::scene::{add_account, connect, issue};
use latch_tests::{Agent, Answer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::table::{Row, median, time};

const MAILS: usize = 10_000;
/// Gmail's limit for one deletion.
const EACH: usize = 1_000;
/// What the dialog shows first.
const PAGE: u32 = 50;
/// As many as the guard reads at once.
const AT_ONCE: usize = 24;
const ROUNDS: usize = 5;

/// All of them.
pub async fn rows() -> Vec<Row> {
    let url = mailbox().await;
    let (mut first, mut whole, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        bare.push(read_bare(&url).await);
        let home = tempfile::tempdir().expect("a temporary folder");
        let engine = Start::at(home.path()).in_memory().start().await;
        add_account(&engine, "mail", &url, "the-credential").await;
        connect(&engine, "claw", "mail", "organize").await;
        let agent = Agent::new(&format!("{}/mail", engine.door()), &issue(&engine, "claw").await);
        let start = Instant::now();
        let asking = tokio::spawn(async move { delete_all(&agent).await });
        first.push(shown(&engine, &asking, start, Some(PAGE)).await);
        whole.push(shown(&engine, &asking, start, None).await);
        asking.abort();
    }
    let beyond = median(whole.iter().zip(&bare).map(|(whole, bare)| whole - bare).collect());
    let (first, whole, bare) = (median(first), median(whole), median(bare));
    vec![
        Row::new("deletion of 10,000 mails: first page shown")
            .ours(time(first))
            .target("at once (<= 300 ms)", first <= 0.3),
        Row::new("deletion of 10,000 mails: every mail shown")
            .ours(time(whole))
            .peer(format!("{} (the same reads without Latchstring)", time(bare)))
            .ratio(format!("{} more", time(beyond)))
            .target("<= 1 s more", beyond <= 1.0),
    ]
}

/// Ten deletions of a thousand in one batch: one request, one hold.
async fn delete_all(agent: &Agent) -> Answer {
    let mut body = String::new();
    for part in 0..MAILS / EACH {
        let ids: Vec<String> = (part * EACH..(part + 1) * EACH).map(|n| format!("\"m{n:05}\"")).collect();
        let ids = format!("{{\"ids\":[{}]}}", ids.join(","));
        body.push_str(&format!(
            "--x\r\nContent-Type: application/http\r\nContent-ID: <{part}>\r\n\r\n\
             POST /gmail/v1/users/me/messages/batchDelete HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{ids}\r\n",
            ids.len()
        ));
    }
    body.push_str("--x--\r\n");
    agent.send(Method::POST, "/batch/gmail/v1", &[("content-type", "multipart/mixed; boundary=x")], body).await
}

/// Seconds until so many objects, or all, can be read by the person.
async fn shown(engine: &Engine, asking: &JoinHandle<Answer>, start: Instant, limit: Option<u32>) -> f64 {
    loop {
        assert!(!asking.is_finished(), "it was answered although nobody decided it");
        if let Some(hold) = engine.call(HoldList, Empty {}).await.into_iter().next() {
            let params = HoldGetParams { id: hold.id, offset: None, limit };
            let hold = engine.call(HoldGet, params).await;
            assert_eq!(hold.count as usize, MAILS);
            if !hold.objects.is_empty() && hold.objects.iter().all(|object| !object.pending) {
                return start.elapsed().as_secs_f64();
            }
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A mailbox in which every id is a mail.
async fn mailbox() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 8192];
                while let Ok(n @ 1..) = socket.read(&mut buffer).await {
                    let head = String::from_utf8_lossy(&buffer[..n]);
                    let id = head.split(['/', '?', ' ']).find(|part| part.starts_with('m') && part.len() == 6);
                    let mail = serde_json::json!({
                        "id": id, "threadId": id, "labelIds": ["INBOX"], "internalDate": "1790000000000", "sizeEstimate": 2000,
                        "snippet": "Dear reader, this is what happened in the last week at our shop and around it",
                        "payload": { "headers": [
                            { "name": "Subject", "value": format!("News of the week {}", id.unwrap_or_default()) },
                            { "name": "From", "value": "The shop <news@shop.example>" },
                            { "name": "Date", "value": "Mon, 21 Sep 2026 14:13:20 +0000" },
                        ] },
                    })
                    .to_string();
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{mail}",
                        mail.len()
                    );
                    if socket.write_all(answer.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// The same reads, one after the other on as many connections as the guard uses.
async fn read_bare(url: &str) -> f64 {
    let address = url.trim_start_matches("http://").to_owned();
    let start = Instant::now();
    let readers: Vec<_> = (0..AT_ONCE)
        .map(|reader| {
            let address = address.clone();
            tokio::spawn(async move {
                let mut socket = TcpStream::connect(&address).await.expect("a connection");
                let mut buffer = [0; 8192];
                for n in (reader..MAILS).step_by(AT_ONCE) {
                    let request = format!(
                        "GET /gmail/v1/users/me/messages/m{n:05}?format=metadata HTTP/1.1\r\nhost: {address}\r\n\r\n"
                    );
                    socket.write_all(request.as_bytes()).await.expect("sent");
                    // Each answer is one small segment.
                    assert!(socket.read(&mut buffer).await.expect("an answer") > 0);
                }
            })
        })
        .collect();
    for reader in readers {
        reader.await.expect("read");
    }
    start.elapsed().as_secs_f64()
}
