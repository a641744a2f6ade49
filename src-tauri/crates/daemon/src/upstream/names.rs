//! What a domain says of itself in DNS: its mail servers (RFC 6186) and who takes its mail.
//!
//! Answers are not proven: they only lead to names that the person is shown.

use std::net::SocketAddr;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::{RData, RecordType};
use latch_core::servers::Srv;

/// How long one question may take; it is asked twice.
const PATIENCE: Duration = Duration::from_secs(3);

/// Asks name servers. Made anew for each search: a machine moves from network to network.
pub struct Names(TokioResolver);

/// Why a name server could not be asked, or gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no name server answered ({0}): look at this machine's network")]
pub struct NoAnswer(String);

impl Names {
    /// The system's name servers, or this one.
    pub fn open(nameserver: Option<SocketAddr>) -> Result<Self, NoAnswer> {
        let failed = |error: &dyn std::fmt::Display| NoAnswer(error.to_string());
        let mut builder = match nameserver {
            None => TokioResolver::builder_tokio().map_err(|error| failed(&error))?,
            Some(address) => {
                let mut connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
                connections.iter_mut().for_each(|connection| connection.port = address.port());
                let server = NameServerConfig::new(address.ip(), true, connections.into());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                TokioResolver::builder_with_config(config, TokioRuntimeProvider::default())
            }
        };
        let options: &mut ResolverOpts = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = 1;
        builder.build().map(Self).map_err(|error| failed(&error))
    }

    /// The SRV records of a name; none is an answer, too.
    pub async fn srv(&self, name: &str) -> Result<Vec<Srv>, NoAnswer> {
        let found = self.ask(name, RecordType::SRV).await?;
        let records = found.into_iter().filter_map(|data| match data {
            RData::SRV(srv) => {
                Some(Srv { priority: srv.priority, weight: srv.weight, port: srv.port, target: srv.target.to_ascii() })
            }
            _ => None,
        });
        Ok(records.collect())
    }

    /// Who takes a domain's mail, the most wanted first.
    pub async fn exchangers(&self, domain: &str) -> Result<Vec<String>, NoAnswer> {
        let found = self.ask(domain, RecordType::MX).await?;
        let mut exchangers: Vec<(u16, String)> = found
            .into_iter()
            .filter_map(|data| match data {
                RData::MX(mx) => Some((mx.preference, mx.exchange.to_ascii())),
                _ => None,
            })
            .collect();
        exchangers.sort();
        Ok(exchangers.into_iter().map(|(_, host)| host).collect())
    }

    async fn ask(&self, name: &str, kind: RecordType) -> Result<Vec<RData>, NoAnswer> {
        // The dot at the end keeps the system's search domains out of it.
        match self.0.lookup(format!("{}.", name.trim_end_matches('.')), kind).await {
            Ok(found) => Ok(found.answers().iter().map(|record| record.data.clone()).collect()),
            Err(error) if error.is_no_records_found() => Ok(Vec::new()),
            Err(error) => Err(NoAnswer(error.to_string())),
        }
    }
}
