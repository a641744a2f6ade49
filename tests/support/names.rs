//! A name server of others' making (dnslib), on this machine only, with a zone of the test's.

use std::net::SocketAddr;
use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::paths;

/// A running name server; ends with the test.
pub struct NameServer {
    /// Where it answers.
    pub address: SocketAddr,
    _child: Child,
}

impl NameServer {
    /// Starts with a zone in the usual text form; names that are not in it have no records.
    pub async fn start(zone: &str) -> Self {
        let mut child = Command::new(paths::python())
            .arg(paths::support("names.py"))
            .arg(zone)
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python starts");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        let line = lines.next_line().await.expect("readable").expect("dnslib is installed: run `cargo xtask setup`");
        let port: u16 = line.parse().expect("a port");
        Self { address: SocketAddr::from(([127, 0, 0, 1], port)), _child: child }
    }
}
