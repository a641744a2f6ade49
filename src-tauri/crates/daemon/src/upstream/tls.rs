//! TLS to upstreams: the platform's trust, HTTP/1.1.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::ClientConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls_platform_verifier::Verifier;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::net::CutStream;

/// Made at the first encrypted connection: reading the platform's roots takes time and memory.
#[derive(Debug)]
pub(super) struct Tls {
    extra_roots: Vec<CertificateDer<'static>>,
    protocols: &'static [&'static [u8]],
    config: OnceLock<Arc<ClientConfig>>,
}

impl Tls {
    pub(super) fn new(extra_roots: Vec<CertificateDer<'static>>, protocols: &'static [&'static [u8]]) -> Self {
        Self { extra_roots, protocols, config: OnceLock::new() }
    }

    pub(super) async fn connect(&self, host: &str, stream: CutStream) -> io::Result<TlsStream<CutStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let config = match self.config.get() {
            Some(config) => Arc::clone(config),
            None => {
                let config = Arc::new(self.configure().map_err(io::Error::other)?);
                Arc::clone(self.config.get_or_init(|| config))
            }
        };
        TlsConnector::from(config).connect(name, stream).await
    }

    fn configure(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let verifier = Verifier::new_with_extra_roots(self.extra_roots.clone(), Arc::clone(&provider))?;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        config.alpn_protocols = self.protocols.iter().map(|protocol| protocol.to_vec()).collect();
        Ok(config)
    }
}
