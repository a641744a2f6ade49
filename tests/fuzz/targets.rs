//! What is fuzzed.

use crate::{imap_agent, imap_server, sieve, smtp};

/// Something that must keep its promises for whatever bytes come.
pub struct Target {
    /// Its name: that of its corpus and its dictionary, too.
    pub name: &'static str,
    /// Panics if a promise is broken.
    pub check: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 4] = [
    Target { name: "imap-agent", check: imap_agent::check },
    Target { name: "imap-server", check: imap_server::check },
    Target { name: "sieve", check: sieve::check },
    Target { name: "smtp", check: smtp::check },
];
