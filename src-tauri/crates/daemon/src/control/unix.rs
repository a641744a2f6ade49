//! The control socket on Unix: a socket file of mode 0600 in the home folder; another user's process is turned away.

use std::collections::VecDeque;
use std::fs;
use std::future::Future;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use latch_ipc::codec;
use latch_ipc::rpc::{ErrorCode, Message, Outcome, Request, Response, RpcError, Version};
use serde_json::Value;
use tokio::io::BufReader;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::{AbortHandle, JoinSet};

use super::{MAX_MESSAGE, Peer, SOCKET, admit, without_object_text};

/// Connections served at once; one more closes the oldest, so that nobody can keep `latch panic` out by holding connections.
const MAX_CONNECTIONS: usize = 64;
/// A silent connection is closed after this long.
const IDLE: Duration = Duration::from_secs(30);

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The path does not fit into a socket address.
    #[error("the home folder's path is too long for a socket ({path}); choose a shorter --home", path = .0.display())]
    TooLong(PathBuf),
    /// The file system refused.
    #[error("the control socket {path} can't be made: {why}", path = .path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        why: std::io::Error,
    },
}

/// A bound control socket; its file goes when this is dropped.
#[derive(Debug)]
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
}

impl Control {
    /// Binds the socket. The caller holds the home's lock, so a file of that name is a dead engine's and is replaced.
    pub fn bind(home: &Path) -> Result<Self, ControlError> {
        let path = home.join(SOCKET);
        let fresh = home.join(format!("{SOCKET}.new"));
        if fresh.as_os_str().len() >= 104 {
            return Err(ControlError::TooLong(path));
        }
        let bound = || -> std::io::Result<UnixListener> {
            if fresh.symlink_metadata().is_ok() {
                fs::remove_file(&fresh)?;
            }
            let listener = UnixListener::bind(&fresh)?;
            // Nobody reaches the socket under its own name before its mode is set.
            fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600))?;
            fs::rename(&fresh, &path)?;
            Ok(listener)
        };
        match bound() {
            Ok(listener) => Ok(Self { listener, path }),
            Err(why) => Err(ControlError::Io { path, why }),
        }
    }

    /// The socket's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Serves until dropped. `answer` gets only methods that [`admit`] lets through; a call that has begun is never cut off by its caller's leaving.
    pub async fn serve<F, A>(self, answer: F)
    where
        F: Fn(String, Value, Peer) -> A + Clone + Send + Sync + 'static,
        A: Future<Output = Result<Value, RpcError>> + Send + 'static,
    {
        let own = rustix::process::geteuid().as_raw();
        let mut connections = JoinSet::new();
        let mut oldest: VecDeque<AbortHandle> = VecDeque::new();
        loop {
            let stream = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
            };
            let Ok((stream, _)) = stream else {
                // Out of file descriptors: wait for some to come back.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            };
            let Some(peer) = credentials(&stream).filter(|peer| peer.uid == own) else {
                tracing::warn!("a process of another user was turned away from the control socket");
                continue;
            };
            oldest.retain(|handle| !handle.is_finished());
            if oldest.len() >= MAX_CONNECTIONS
                && let Some(handle) = oldest.pop_front()
            {
                handle.abort();
            }
            oldest.push_back(connections.spawn(connection(stream, peer, answer.clone())));
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn credentials(stream: &UnixStream) -> Option<Peer> {
    let credentials = stream.peer_cred().ok()?;
    let pid = credentials.pid().and_then(|pid| u32::try_from(pid).ok());
    Some(Peer::of(pid, credentials.uid()))
}

async fn connection<F, A>(stream: UnixStream, peer: Peer, answer: F)
where
    F: Fn(String, Value, Peer) -> A,
    A: Future<Output = Result<Value, RpcError>> + Send + 'static,
{
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        let read = tokio::time::timeout(IDLE, codec::read_line_within(&mut reader, &mut line, MAX_MESSAGE)).await;
        let (id, outcome) = match read {
            Ok(Ok(Some(()))) => match serde_json::from_slice::<Message>(&line) {
                Ok(Message::Request(Request { id, method, params, .. })) => {
                    (id, called(&answer, method, params, peer.clone()).await)
                }
                Ok(Message::Response(_)) => continue,
                Err(_) => (None, Err(RpcError::new(ErrorCode::Parse, "A line is not a JSON-RPC 2.0 call."))),
            },
            Ok(Err(codec::CodecError::TooLong)) => {
                let error = RpcError::new(ErrorCode::InvalidRequest, "A message is longer than 64 KiB.");
                let _ = codec::write_line(&mut writer, &response(None, Err(error))).await;
                return;
            }
            Ok(Ok(None) | Err(_)) | Err(_) => return,
        };
        if codec::write_response(&mut writer, &response(id, outcome)).await.is_err() {
            return;
        }
    }
}

async fn called<F, A>(answer: &F, method: String, params: Value, peer: Peer) -> Result<Value, RpcError>
where
    F: Fn(String, Value, Peer) -> A,
    A: Future<Output = Result<Value, RpcError>> + Send + 'static,
{
    admit(&method)?;
    let running = tokio::spawn(answer(method.clone(), params, peer));
    match running.await {
        Ok(result) => result.map(|value| without_object_text(&method, value)),
        Err(_) => Err(RpcError::new(ErrorCode::Internal, "The engine failed at this call. Look at its log.")),
    }
}

fn response(id: Option<u64>, outcome: Result<Value, RpcError>) -> Response {
    let outcome = match outcome {
        Ok(value) => Outcome::Result(value),
        Err(error) => Outcome::Error(error),
    };
    Response { jsonrpc: Version::V2, id, outcome }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};

    use latch_ipc::Client;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    async fn connect(home: &Path) -> Client {
        let stream = UnixStream::connect(home.join(SOCKET)).await.unwrap();
        let (reader, writer) = stream.into_split();
        Client::start(BufReader::new(reader), writer).0
    }

    async fn echo(method: String, params: Value, peer: Peer) -> Result<Value, RpcError> {
        Ok(serde_json::json!({ "method": method, "params": params, "pid": peer.pid }))
    }

    #[tokio::test]
    async fn the_file_is_private_and_goes_with_the_engine() {
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join(SOCKET), "left behind").unwrap();
        let control = Control::bind(home.path()).unwrap();
        let mode = fs::metadata(control.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        let path = control.path().to_owned();
        drop(control);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_long_home_is_refused_with_what_to_do() {
        let home = tempfile::tempdir().unwrap();
        let deep = home.path().join("d".repeat(100));
        fs::create_dir(&deep).unwrap();
        assert!(Control::bind(&deep).unwrap_err().to_string().contains("shorter --home"));
    }

    #[tokio::test]
    async fn reducing_calls_arrive_with_the_peer_and_widening_ones_never() {
        let home = tempfile::tempdir().unwrap();
        let control = Control::bind(home.path()).unwrap();
        let seen = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&seen);
        let serving = tokio::spawn(control.serve(move |method, params, peer| {
            count.fetch_add(1, Ordering::SeqCst);
            echo(method, params, peer)
        }));
        let client = connect(home.path()).await;
        let answer = client.call_raw("status", Value::Null).await.unwrap();
        assert_eq!(answer["pid"], serde_json::json!(std::process::id()));
        for widening in ["hold.decide", "resume", "account.add", "journal.tail", "ask.decide", "vault.unlock"] {
            let refused = client.call_raw(widening, serde_json::json!({"id": "h1"})).await.unwrap_err();
            assert!(refused.is(ErrorCode::Forbidden), "{widening}: {refused}");
        }
        assert_eq!(seen.load(Ordering::SeqCst), 1);
        serving.abort();
    }

    #[tokio::test]
    async fn an_endless_line_ends_the_connection_after_64_kib() {
        let home = tempfile::tempdir().unwrap();
        let serving = tokio::spawn(Control::bind(home.path()).unwrap().serve(echo));
        let mut stream = UnixStream::connect(home.path().join(SOCKET)).await.unwrap();
        let _ = stream.write_all(&vec![b'x'; MAX_MESSAGE + 1]).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        assert!(String::from_utf8_lossy(&answer).contains("64 KiB"));
        serving.abort();
    }

    #[tokio::test]
    async fn held_connections_keep_nobody_out() {
        let home = tempfile::tempdir().unwrap();
        let serving = tokio::spawn(Control::bind(home.path()).unwrap().serve(echo));
        let mut held = Vec::new();
        for _ in 0..MAX_CONNECTIONS + 8 {
            held.push(UnixStream::connect(home.path().join(SOCKET)).await.unwrap());
        }
        let client = connect(home.path()).await;
        assert!(client.call_raw("panic", Value::Null).await.is_ok());
        serving.abort();
    }

    #[tokio::test]
    async fn a_call_that_began_is_finished_though_its_caller_left() {
        let home = tempfile::tempdir().unwrap();
        let done = Arc::new(tokio::sync::Notify::new());
        let finished = Arc::clone(&done);
        let serving = tokio::spawn(Control::bind(home.path()).unwrap().serve(move |_, _, _| {
            let finished = Arc::clone(&finished);
            async move {
                tokio::time::sleep(Duration::from_millis(30)).await;
                finished.notify_one();
                Ok(Value::Null)
            }
        }));
        let mut stream = UnixStream::connect(home.path().join(SOCKET)).await.unwrap();
        stream.write_all(b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"panic\"}\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(stream);
        tokio::time::timeout(Duration::from_secs(5), done.notified()).await.unwrap();
        serving.abort();
    }
}
