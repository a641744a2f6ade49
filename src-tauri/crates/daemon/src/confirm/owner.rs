//! The owner channel: JSON-RPC 2.0, one message a line, on a pipe that was inherited and has no name.

use std::sync::Arc;

use latch_ipc::codec::{self, CodecError};
use latch_ipc::contract::Event;
use latch_ipc::rpc::{ErrorCode, Message, Outcome, Request, Response, RpcError, Version};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinSet;

/// Answers and notifications that may wait for a slow reader.
const WAITING_LINES: usize = 1024;

/// What the channel leads to.
pub trait Inside: Send + Sync + 'static {
    /// What to tell the owner without being asked.
    fn events(&self) -> broadcast::Receiver<Event>;

    /// Answers the owner's call.
    fn call(self: Arc<Self>, method: &str, params: Value) -> impl Future<Output = Result<Value, RpcError>> + Send;
}

/// Serves the owner until the pipe ends. Calls run side by side, so that nothing stands before a panic.
pub async fn serve<I, R, W>(inside: Arc<I>, mut reader: R, writer: W) -> Result<(), CodecError>
where
    I: Inside,
    R: AsyncBufRead + Unpin,
    W: AsyncWrite + Unpin + Send + 'static,
{
    let (lines, outgoing) = mpsc::channel(WAITING_LINES);
    let writing = tokio::spawn(write(writer, outgoing));
    let telling = tokio::spawn(tell(inside.events(), lines.clone()));
    let mut calls = JoinSet::new();
    let mut line = Vec::new();
    let ended = loop {
        match codec::read_line(&mut reader, &mut line).await {
            Ok(Some(())) => {}
            Ok(None) => break Ok(()),
            Err(error) => break Err(error),
        }
        while calls.try_join_next().is_some() {}
        let (inside, lines) = (Arc::clone(&inside), lines.clone());
        match serde_json::from_slice::<Request>(&line) {
            Ok(request) => {
                calls.spawn(async move {
                    let result = inside.call(&request.method, request.params).await;
                    if let Some(id) = request.id {
                        answer(&lines, Some(id), result).await;
                    }
                });
            }
            Err(_) => {
                let message = "the line is not a JSON-RPC 2.0 call";
                let code = if serde_json::from_slice::<Value>(&line).is_ok() {
                    ErrorCode::InvalidRequest
                } else {
                    ErrorCode::Parse
                };
                answer(&lines, None, Err(RpcError::new(code, message))).await;
            }
        }
    };
    telling.abort();
    drop(lines);
    calls.abort_all();
    while calls.join_next().await.is_some() {}
    writing.abort();
    ended
}

async fn answer(lines: &mpsc::Sender<Message>, id: Option<u64>, result: Result<Value, RpcError>) {
    let outcome = match result {
        Ok(value) => Outcome::Result(value),
        Err(error) => Outcome::Error(error),
    };
    let _ = lines.send(Message::Response(Response { jsonrpc: Version::V2, id, outcome })).await;
}

async fn tell(mut events: broadcast::Receiver<Event>, lines: mpsc::Sender<Message>) {
    loop {
        match events.recv().await {
            Ok(event) => {
                let params = serde_json::to_value(event).unwrap_or_default();
                let request = Request { jsonrpc: Version::V2, id: None, method: Event::METHOD.to_owned(), params };
                if lines.send(Message::Request(request)).await.is_err() {
                    return;
                }
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => return,
        }
    }
}

async fn write<W: AsyncWrite + Unpin>(mut writer: W, mut lines: mpsc::Receiver<Message>) {
    while let Some(message) = lines.recv().await {
        let written = match &message {
            Message::Response(response) => codec::write_response(&mut writer, response).await,
            Message::Request(request) => codec::write_line(&mut writer, request).await,
        };
        if written.is_err() {
            return;
        }
    }
}
