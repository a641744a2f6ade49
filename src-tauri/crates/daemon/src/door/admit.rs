//! Who is let in: programs on this machine only, and so many at once.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::net::{Connections, CutStream};

/// The most connections at once of a door that speaks in lines.
const MAX_CONNECTIONS: usize = 64;
/// How long it may take to log in there.
pub(super) const LOGIN: Duration = Duration::from_secs(60);
/// Out of descriptors, most likely: until some connections have ended.
pub(super) const LATER: Duration = Duration::from_millis(50);

/// Refuses every address that others can reach.
pub(super) fn loopback(address: SocketAddr) -> io::Result<()> {
    if address.ip().is_loopback() {
        return Ok(());
    }
    let reason = format!("{address} is not a loopback address: the doors serve programs on this machine only");
    Err(io::Error::new(io::ErrorKind::InvalidInput, reason))
}

/// Carries each connection until dropped; dropping ends them all.
pub(super) async fn serve<F>(
    protocol: &str,
    listener: TcpListener,
    connections: Connections,
    client: impl Fn(CutStream, SocketAddr) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + Send + 'static,
{
    loopback(listener.local_addr()?)?;
    let seats = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((socket, peer)) => {
                    let _ = socket.set_nodelay(true);
                    let Ok(seat) = Arc::clone(&seats).try_acquire_owned() else {
                        tracing::warn!("the {protocol} door refused a connection: all {MAX_CONNECTIONS} are taken");
                        continue;
                    };
                    let Ok(stream) = connections.register(socket) else { continue };
                    let carried = client(stream, peer);
                    tasks.spawn(async move {
                        let _seat = seat;
                        carried.await
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the {protocol} door could not accept a connection");
                    tokio::time::sleep(LATER).await;
                }
            },
            Some(ended) = tasks.join_next() => {
                if let Ok(Err(error)) = ended {
                    tracing::debug!(%error, "a connection of the {protocol} door ended");
                }
            }
        }
    }
}
