//! From an origin to a connection of the present epoch, with or without TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use latch_core::lease::Epoch;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::pool::Stream;
use super::tls::Tls;
use super::{Fault, Origin, Upstream, UpstreamError};
use crate::net::CutStream;

/// How long one address may take before the next one is tried beside it (RFC 8305).
const STAGGER: Duration = Duration::from_millis(250);

impl Upstream {
    /// Connected, and cut when the epoch that is returned ends. Nothing was said.
    pub(super) async fn dial(&self, origin: &Origin) -> Result<(CutStream, Epoch), UpstreamError> {
        let unreachable =
            |error: io::Error| Fault::Unreachable { host: origin.authority(), reason: error.to_string() }.unsent();
        let opening = self.connections.open(&self.gate);
        let epoch = opening.epoch();
        let socket = race(resolve(origin).await.map_err(unreachable)?).await.map_err(unreachable)?;
        let _ = socket.set_nodelay(true);
        let stream = opening.connected(socket).map_err(|_| Fault::Stopped.unsent())?;
        Ok((stream, epoch))
    }

    /// TLS with whoever proves the origin's name.
    pub(super) async fn encrypt(
        &self,
        tls: &Tls,
        origin: &Origin,
        (stream, epoch): (CutStream, Epoch),
    ) -> Result<Stream, UpstreamError> {
        let agreed = tls.connect(origin.bare_host(), stream).await;
        agreed.map(|stream| Stream::Tls(Box::new(stream))).map_err(|error| {
            let fault = if self.gate.admits(epoch) {
                Fault::Tls { host: origin.authority(), reason: error.to_string() }
            } else {
                Fault::Stopped
            };
            fault.unsent()
        })
    }
}

async fn resolve(origin: &Origin) -> io::Result<Vec<SocketAddr>> {
    let host = origin.bare_host();
    let mut addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, origin.port)],
        Err(_) => tokio::net::lookup_host((host, origin.port)).await?.collect(),
    };
    addresses.retain(|address| origin.accepts(address.ip()));
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, "the name has no usable address"));
    }
    Ok(addresses)
}

/// Tries the addresses in the resolver's order, each a little after the one before; the first that answers is taken.
async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut waiting = addresses.into_iter();
    let mut tries = JoinSet::new();
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no usable address");
    loop {
        if let Some(address) = waiting.next() {
            if waiting.len() == 0 && tries.is_empty() {
                return TcpStream::connect(address).await;
            }
            tries.spawn(TcpStream::connect(address));
        } else if tries.is_empty() {
            return Err(failed);
        }
        let pause = if waiting.len() == 0 { Duration::MAX } else { STAGGER };
        match tokio::time::timeout(pause, tries.join_next()).await {
            Ok(Some(Ok(Ok(socket)))) => return Ok(socket),
            Ok(Some(Ok(Err(error)))) => failed = error,
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
}
