//! Whether something listens where a server is said to be.

use latch_core::call::Call;
use latch_core::lease::Lease;
use latch_core::servers::{Security, Server};

use super::http::{dial, not_permitted, resolve};
use super::{Fault, Origin, Upstream, UpstreamError};

impl Upstream {
    /// Connects, and where TLS is spoken from the first byte has the certificate prove the name. Nothing else is sent.
    pub async fn reach(&self, lease: Lease, call: &Call, account: &str, server: &Server) -> Result<(), UpstreamError> {
        let redeemed = lease.redeem(account, call, &self.gate).map_err(not_permitted)?;
        let host = format!("{}:{}", server.host, server.port);
        let reached = tokio::time::timeout(self.options.connect, async {
            let unreachable =
                |error: std::io::Error| Fault::Unreachable { host: host.clone(), reason: error.to_string() }.unsent();
            let scheme = if server.security == Security::None { "http" } else { "https" };
            let (origin, _) = Origin::parse(&format!("{scheme}://{host}"))
                .map_err(|error| Fault::Unsendable(error.to_string()).unsent())?;
            let opening = self.connections.open(&self.gate);
            let socket = dial(resolve(&origin).await.map_err(unreachable)?).await.map_err(unreachable)?;
            let stream = opening.connected(socket).map_err(|_| Fault::Stopped.unsent())?;
            if !redeemed.stands() {
                return Err(Fault::Stopped.unsent());
            }
            if server.security == Security::Implicit {
                let agreed = self.mail_tls.connect(origin.bare_host(), stream).await;
                agreed.map_err(|error| Fault::Tls { host: host.clone(), reason: error.to_string() }.unsent())?;
            }
            Ok(())
        });
        reached.await.unwrap_or_else(|_| Err(Fault::Timeout { host: host.clone(), doing: "connecting" }.unsent()))
    }
}
