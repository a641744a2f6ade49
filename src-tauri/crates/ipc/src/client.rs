//! The calling side of the owner channel and of the control socket.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncWrite};
use tokio::sync::{mpsc, oneshot};

use crate::codec;
use crate::contract::{Event, Method};
use crate::rpc::{ErrorCode, Message, Outcome, Request, Response, RpcError, Version};

type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Outcome>>>>>;

/// A caller. Cheap to clone; every clone shares the channel.
#[derive(Clone)]
pub struct Client {
    lines: mpsc::UnboundedSender<Request>,
    waiting: Waiting,
    next_id: Arc<AtomicU64>,
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The engine said no.
    #[error(transparent)]
    Refused(#[from] RpcError),
    /// The engine is gone; whether the call took effect is unknown.
    #[error("the engine is not there any more")]
    Closed,
    /// The engine answered something that this version does not understand.
    #[error("the engine's answer does not fit: {0}")]
    Shape(#[from] serde_json::Error),
}

impl Client {
    /// Starts the reading and writing tasks on the current tokio runtime. The second value yields the engine's
    /// notifications until the channel closes.
    pub fn start<R, W>(mut reader: R, mut writer: W) -> (Self, mpsc::UnboundedReceiver<Event>)
    where
        R: AsyncBufRead + Unpin + Send + 'static,
        W: AsyncWrite + Unpin + Send + 'static,
    {
        let (lines, mut outgoing) = mpsc::unbounded_channel::<Request>();
        let (events, incoming) = mpsc::unbounded_channel();
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        tokio::spawn(async move {
            while let Some(request) = outgoing.recv().await {
                if codec::write_line(&mut writer, &request).await.is_err() {
                    break;
                }
            }
        });
        let answers = Arc::clone(&waiting);
        tokio::spawn(async move {
            let mut line = Vec::new();
            while let Ok(Some(())) = codec::read_line(&mut reader, &mut line).await {
                match serde_json::from_slice::<Message>(&line) {
                    Ok(Message::Response(Response { id: Some(id), outcome, .. })) => {
                        let caller = lock(&answers).as_mut().and_then(|waiting| waiting.remove(&id));
                        if let Some(caller) = caller {
                            let _ = caller.send(outcome);
                        }
                    }
                    Ok(Message::Request(Request { method, params, .. })) if method == Event::METHOD => {
                        if let Ok(event) = serde_json::from_value(params) {
                            let _ = events.send(event);
                        }
                    }
                    Ok(_) | Err(_) => {}
                }
            }
            lock(&answers).take();
        });
        (Self { lines, waiting, next_id: Arc::new(AtomicU64::new(1)) }, incoming)
    }

    /// Calls a method of the contract.
    pub async fn call<M: Method>(&self, _method: M, params: M::Params) -> Result<M::Result, CallError> {
        let result = self.call_raw(M::NAME, serde_json::to_value(params)?).await?;
        Ok(serde_json::from_value(result)?)
    }

    /// Calls a method by name.
    pub async fn call_raw(&self, method: &str, params: Value) -> Result<Value, CallError> {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        lock(&self.waiting).as_mut().ok_or(CallError::Closed)?.insert(id, sender);
        let request = Request { jsonrpc: Version::V2, id: Some(id), method: method.to_owned(), params };
        self.lines.send(request).map_err(|_| CallError::Closed)?;
        match answer.await.map_err(|_| CallError::Closed)? {
            Outcome::Result(value) => Ok(value),
            Outcome::Error(error) => Err(error.into()),
        }
    }
}

impl CallError {
    /// Whether the engine refused with this code.
    #[must_use]
    pub fn is(&self, code: ErrorCode) -> bool {
        matches!(self, Self::Refused(error) if error.code == code as i32)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
