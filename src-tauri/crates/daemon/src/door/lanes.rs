//! The threads that carry agents' connections.
//!
//! A connection, its calls to the upstream and its answers stay on one thread with an event loop of its own: no request is handed between threads, and
//! however many agents ask, the owner's channel and panic have threads that none of them can occupy.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

/// More than this many gain nothing on a person's machine.
const MOST: usize = 4;

/// Some event loops. Dropping them ends what runs on them.
#[derive(Debug)]
pub struct Lanes(Vec<Lane>);

#[derive(Debug)]
struct Lane {
    handle: Handle,
    /// One copy for each connection.
    load: Arc<()>,
    /// Dropped to end the thread; the caller's own event loop is nobody's to end.
    thread: Option<oneshot::Sender<()>>,
}

/// An accepted connection on its way to a lane.
#[derive(Debug)]
pub(super) struct Handed {
    socket: Accepted,
    place: Place,
}

#[derive(Debug)]
enum Accepted {
    /// Its event loop knows it already.
    Here(TcpStream),
    /// Its event loop is another one.
    Loose(std::net::TcpStream),
}

/// A connection's place on a lane; given back when dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "counted by its existence")] Arc<()>);

impl Handed {
    /// The connection, to be called on its lane.
    pub(super) fn take(self) -> io::Result<(TcpStream, Place)> {
        let socket = match self.socket {
            Accepted::Here(socket) => socket,
            Accepted::Loose(socket) => TcpStream::from_std(socket)?,
        };
        Ok((socket, self.place))
    }
}

impl Lanes {
    /// One for each processor, four at most.
    pub fn start() -> io::Result<Self> {
        let count = std::thread::available_parallelism().map_or(1, usize::from).min(MOST);
        (0..count).map(|_| Lane::start()).collect::<io::Result<_>>().map(Self)
    }

    /// The caller's own event loop alone.
    #[must_use]
    pub fn here() -> Self {
        Self(vec![Lane { handle: Handle::current(), load: Arc::default(), thread: None }])
    }

    /// Chooses the lane with the fewest connections; `None` for a connection that is gone already.
    pub(super) fn hand(&self, socket: TcpStream) -> Option<(&Handle, Handed)> {
        let lane = self.0.iter().min_by_key(|lane| Arc::strong_count(&lane.load))?;
        let socket = match &lane.thread {
            None => Accepted::Here(socket),
            Some(_) => Accepted::Loose(socket.into_std().ok()?),
        };
        Some((&lane.handle, Handed { socket, place: Place(Arc::clone(&lane.load)) }))
    }
}

impl Lane {
    fn start() -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (sender, ended) = oneshot::channel();
        std::thread::Builder::new().name("door".to_owned()).spawn(move || {
            // Nothing is ever sent: the sender's end is the sign.
            let _ = runtime.block_on(ended);
            runtime.shutdown_background();
        })?;
        Ok(Self { handle, load: Arc::default(), thread: Some(sender) })
    }
}
