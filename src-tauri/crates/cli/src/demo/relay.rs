//! The demo as the tray's engine: the tray starts it as `latch serve --owner stdio --demo`, and it passes the owner channel on to the real
//! engine. The story goes along as events.

use latch_ipc::client::CallError;
use latch_ipc::codec;
use latch_ipc::contract::{Event, EventKind, Method, UndoRun};
use latch_ipc::rpc::{ErrorCode, Message, Outcome, Request, Response, RpcError, Version};
use tokio::io::{BufReader, Stdout};
use tokio::sync::Mutex;

use super::stage::Stage;
use super::{Rows, rampage};
use crate::exit::{Exit, Failure};

/// Plays the demo in this home for the owner at stdin and stdout; the story goes there and to stderr.
pub(crate) async fn run(home: &std::path::Path) -> Result<Exit, Failure> {
    let (stage, agent, mut events) = Stage::set(home).await?;
    let watching = stage.watch();
    let out = std::sync::Arc::new(Mutex::new(tokio::io::stdout()));
    let rows = Rows::default();
    let (story, mut lines) = tokio::sync::mpsc::unbounded_channel();
    let tell = |line: String| {
        eprintln!("{line}");
        let _ = story.send(line);
    };
    let playing = async {
        rampage(&stage, agent, &rows, "with the button below, then end the drill", &tell).await;
        std::future::pending::<()>().await;
    };
    let telling = async {
        loop {
            let event = tokio::select! {
                Some(event) = events.recv() => event,
                Some(line) = lines.recv() => told(&line),
                else => break,
            };
            write(&out, &notification(&event)).await;
        }
    };
    let calling = async {
        let mut reader = BufReader::new(tokio::io::stdin());
        let mut line = Vec::new();
        while let Ok(Some(())) = codec::read_line(&mut reader, &mut line).await {
            let Ok(Message::Request(request)) = serde_json::from_slice(&line) else { continue };
            let (client, out) = (stage.client.clone(), std::sync::Arc::clone(&out));
            let compared = (request.method == UndoRun::NAME).then(|| (stage.comparison(), story.clone()));
            tokio::spawn(async move {
                let outcome = match client.call_raw(&request.method, request.params).await {
                    Ok(value) => Outcome::Result(value),
                    Err(CallError::Refused(error)) => Outcome::Error(error),
                    Err(error) => Outcome::Error(RpcError::new(ErrorCode::Internal, error.to_string())),
                };
                write(&out, &Response { jsonrpc: Version::V2, id: request.id, outcome }).await;
                if let Some((comparison, story)) = compared {
                    let _ = story.send(comparison.text());
                }
            });
        }
    };
    tokio::select! {
        () = playing => {}
        () = telling => {}
        () = calling => {}
    }
    watching.abort();
    let (text, _) = stage.report(&rows.take());
    eprintln!("{text}");
    stage.strike().await;
    Ok(Exit::Done)
}

fn told(line: &str) -> Event {
    Event { kind: EventKind::Told, id: None, text: Some(line.trim().to_owned()) }
}

fn notification(event: &Event) -> Request {
    let params = serde_json::to_value(event).unwrap_or_default();
    Request { jsonrpc: Version::V2, id: None, method: Event::METHOD.to_owned(), params }
}

async fn write(out: &Mutex<Stdout>, message: &impl serde::Serialize) {
    // A tray that has gone away is noticed by the reading side.
    let _ = codec::write_line(&mut *out.lock().await, message).await;
}
