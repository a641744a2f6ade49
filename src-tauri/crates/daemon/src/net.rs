//! TCP connections that panic can cut.
//!
//! ```text
//!   Connections ── register ──> CutStream (an agent's)
//!               ── open ──────> Opening ── connected ──> CutStream (an upstream's, bound to the epoch in which it was opened)
//!               ── cut_all ───> every one of them reset; no byte that was queued leaves
//! ```
//! A connection to an upstream never outlives its epoch: each write compares the epoch first, and the cut takes the connection away from
//! whoever compared just before (invariant I3).

use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use latch_core::lease::{Epoch, EpochGate};
use socket2::{SockRef, Socket};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How long sent bytes may stay unacknowledged.
#[cfg(target_os = "linux")]
const UNREAD: Duration = Duration::from_secs(60);

/// Every TCP connection of the engine: agents' and upstreams'.
#[derive(Debug, Clone, Default)]
pub struct Connections(Arc<Mutex<Open>>);

#[derive(Debug, Default)]
struct Open {
    next: u64,
    cuts: u64,
    /// A second handle on each socket, so that it can be cut whatever its task is doing.
    sockets: HashMap<u64, Socket>,
}

impl Connections {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes in an agent's connection.
    pub fn register(&self, socket: TcpStream) -> io::Result<CutStream> {
        let place = self.place(&mut self.lock(), &socket)?;
        Ok(CutStream { socket, place, bound: None })
    }

    /// Begins a connection to an upstream: take this before the first packet leaves.
    #[must_use]
    pub fn open(&self, gate: &EpochGate) -> Opening {
        let cuts = self.lock().cuts;
        Opening { connections: self.clone(), cuts, epoch: gate.current(), gate: gate.clone() }
    }

    /// Resets every connection at once and returns how many there were. What was queued in them does not leave.
    pub fn cut_all(&self) -> u32 {
        let mut open = self.lock();
        open.cuts = open.cuts.wrapping_add(1);
        let mut count = 0;
        for socket in open.sockets.values() {
            cut(&SockRef::from(socket));
            count += 1;
        }
        open.sockets.clear();
        count
    }

    /// How many are open.
    #[must_use]
    pub fn count(&self) -> usize {
        self.lock().sockets.len()
    }

    fn place(&self, open: &mut Open, socket: &TcpStream) -> io::Result<Place> {
        let handle = SockRef::from(socket).try_clone()?;
        // A peer that stops reading does not hold a connection for ever.
        #[cfg(target_os = "linux")]
        handle.set_tcp_user_timeout(Some(UNREAD))?;
        let key = open.next;
        open.next = open.next.wrapping_add(1);
        open.sockets.insert(key, handle);
        Ok(Place { connections: self.clone(), key })
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection to an upstream that is not established yet.
#[derive(Debug)]
pub struct Opening {
    connections: Connections,
    cuts: u64,
    epoch: Epoch,
    gate: EpochGate,
}

impl Opening {
    /// The established connection; refused if everything was cut since it was begun.
    pub fn connected(self, socket: TcpStream) -> io::Result<CutStream> {
        let mut open = self.connections.lock();
        if open.cuts != self.cuts || !self.gate.admits(self.epoch) {
            cut(&SockRef::from(&socket));
            return Err(stopped());
        }
        let place = self.connections.place(&mut open, &socket)?;
        drop(open);
        Ok(CutStream { socket, place, bound: Some((self.gate, self.epoch)) })
    }

    /// The epoch that the connection will belong to.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }
}

/// A registered connection. Dropping it closes the socket and frees its place.
#[derive(Debug)]
pub struct CutStream {
    socket: TcpStream,
    place: Place,
    bound: Option<(EpochGate, Epoch)>,
}

/// Frees the registry's place.
#[derive(Debug)]
struct Place {
    connections: Connections,
    key: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.lock().sockets.remove(&self.key);
    }
}

/// Looks at one connection, and ends it, from outside of the task that serves it.
#[derive(Debug, Clone)]
pub struct Shears {
    connections: Connections,
    key: u64,
}

impl Shears {
    /// Resets the connection.
    pub fn cut(&self) {
        if let Some(socket) = self.connections.lock().sockets.get(&self.key) {
            cut(&SockRef::from(socket));
        }
    }

    /// Whether the other side has neither closed the connection nor sent anything that was not read yet.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        let connections = self.connections.lock();
        let Some(socket) = connections.sockets.get(&self.key) else { return false };
        let peeked = socket.peek(&mut [std::mem::MaybeUninit::uninit()]);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    /// Ends the connection in order: what was sent still arrives.
    pub fn close(&self) {
        if let Some(socket) = self.connections.lock().sockets.get(&self.key) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl CutStream {
    /// Whether its epoch still stands; an agent's connection has none.
    #[must_use]
    pub fn stands(&self) -> bool {
        self.bound.as_ref().is_none_or(|(gate, epoch)| gate.admits(*epoch))
    }

    /// The other end.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.peer_addr()
    }

    /// What ends this one connection.
    #[must_use]
    pub fn shears(&self) -> Shears {
        Shears { connections: self.place.connections.clone(), key: self.place.key }
    }
}

impl AsyncRead for CutStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl AsyncWrite for CutStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if !self.stands() {
            return Poll::Ready(Err(stopped()));
        }
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if !self.stands() {
            return Poll::Ready(Err(stopped()));
        }
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

fn stopped() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionAborted, "stopped by panic")
}

/// Best effort by design: a socket whose peer is gone answers with an error, and that is as good as cut.
fn cut(socket: &SockRef<'_>) {
    let _ = socket.set_linger(Some(Duration::ZERO));
    // Connecting to AF_UNSPEC resets the connection and empties the send queue now, whoever else holds the socket.
    #[cfg(target_os = "linux")]
    let _ = rustix::net::connect_unspec(&**socket);
    let _ = socket.shutdown(Shutdown::Both);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
    use std::time::Instant;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (ours, theirs) = tokio::join!(TcpStream::connect(address), listener.accept());
        (ours.unwrap(), theirs.unwrap().0)
    }

    #[cfg(unix)]
    fn arrived(socket: &TcpStream) -> usize {
        usize::try_from(rustix::io::ioctl_fionread(socket).unwrap()).unwrap()
    }

    #[cfg(not(unix))]
    fn arrived(_: &TcpStream) -> usize {
        0
    }

    #[tokio::test]
    async fn what_was_queued_does_not_arrive_after_the_cut() {
        let (connections, gate) = (Connections::new(), EpochGate::new(Epoch(1)));
        let (ours, mut theirs) = pair().await;
        let mut stream = connections.open(&gate).connected(ours).unwrap();
        let mut written = 0;
        let filled = async {
            while let Ok(n) = stream.write(&[b'x'; 65536]).await {
                written += n;
            }
        };
        assert!(tokio::time::timeout(Duration::from_millis(200), filled).await.is_err(), "the queues never filled");
        assert_eq!(connections.cut_all(), 1);
        assert_eq!(connections.count(), 0);
        let arrived = arrived(&theirs);
        assert!(arrived < written, "nothing was queued");
        let mut received = 0;
        let mut buffer = vec![0; 65536];
        let ended = loop {
            match theirs.read(&mut buffer).await {
                Ok(0) => break "end",
                Ok(n) => received += n,
                Err(_) => break "reset",
            }
        };
        if cfg!(target_os = "linux") {
            assert_eq!((ended, received), ("reset", arrived), "bytes arrived after the cut");
        }
        stream.write_all(b"more").await.unwrap_err();
    }

    #[tokio::test]
    async fn an_upstream_connection_ends_with_its_epoch() {
        let (connections, gate) = (Connections::new(), EpochGate::new(Epoch(1)));
        let (ours, _theirs) = pair().await;
        let mut stream = connections.open(&gate).connected(ours).unwrap();
        stream.write_all(b"x").await.unwrap();
        gate.raise();
        let error = stream.write_all(b"x").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
    }

    #[tokio::test]
    async fn a_connection_begun_before_the_cut_is_not_taken_in() {
        let (connections, gate) = (Connections::new(), EpochGate::new(Epoch(1)));
        let (ours, mut theirs) = pair().await;
        let opening = connections.open(&gate);
        connections.cut_all();
        opening.connected(ours).unwrap_err();
        assert!(!matches!(theirs.read(&mut [0; 1]).await, Ok(1..)));
    }

    #[tokio::test]
    async fn a_dropped_connection_frees_its_place_and_closes() {
        let connections = Connections::new();
        let (ours, mut theirs) = pair().await;
        let stream = connections.register(ours).unwrap();
        assert_eq!(connections.count(), 1);
        drop(stream);
        assert_eq!(connections.count(), 0);
        assert_eq!(theirs.read(&mut [0; 1]).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn cutting_wakes_whoever_reads() {
        let connections = Connections::new();
        let (ours, _theirs) = pair().await;
        let mut stream = connections.register(ours).unwrap();
        let reader = tokio::spawn(async move { matches!(stream.read(&mut [0; 1]).await, Ok(1..)) });
        tokio::time::sleep(Duration::from_millis(20)).await;
        connections.cut_all();
        assert!(!tokio::time::timeout(Duration::from_secs(5), reader).await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn sixty_four_are_cut_at_once() {
        let (connections, gate) = (Connections::new(), EpochGate::new(Epoch(1)));
        let mut streams = Vec::new();
        for _ in 0..64 {
            let (ours, theirs) = pair().await;
            let mut stream = connections.open(&gate).connected(ours).unwrap();
            stream.write_all(&[b'x'; 4096]).await.unwrap();
            streams.push((stream, theirs));
        }
        let start = Instant::now();
        assert_eq!(connections.cut_all(), 64);
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    }
}
