//! Whether something listens where a server is said to be.

use latch_core::call::Call;
use latch_core::lease::Lease;
use latch_core::servers::{Security, Server};

use super::http::not_permitted;
use super::{Fault, Origin, Upstream, UpstreamError};

impl Upstream {
    /// Connects, and where TLS is spoken from the first byte has the certificate prove the name. Nothing else is sent.
    pub async fn reach(&self, lease: Lease, call: &Call, account: &str, server: &Server) -> Result<(), UpstreamError> {
        let redeemed = lease.redeem(account, call, &self.gate).map_err(not_permitted)?;
        let host = format!("{}:{}", server.host, server.port);
        let reached = tokio::time::timeout(self.options.connect, async {
            let scheme = if server.security == Security::None { "http" } else { "https" };
            let (origin, _) = Origin::parse(&format!("{scheme}://{host}"))
                .map_err(|error| Fault::Unsendable(error.to_string()).unsent())?;
            let dialled = self.dial(&origin).await?;
            if !redeemed.stands() {
                return Err(Fault::Stopped.unsent());
            }
            if server.security == Security::Implicit {
                self.encrypt(&self.mail_tls, &origin, dialled).await?;
            }
            Ok(())
        });
        reached.await.unwrap_or_else(|_| Err(Fault::Timeout { host: host.clone(), doing: "connecting" }.unsent()))
    }
}
