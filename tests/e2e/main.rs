//! The whole path: an agent's program, the engine as it ships, a stateful Gmail.
//!
//! What is from ATTACKS.md is named after its number.

#[cfg(unix)]
mod accounts;
mod answers;
mod attacks_crash;
mod attacks_disk;
mod attacks_flood;
mod attacks_http;
mod attacks_memory;
mod attacks_paths;
mod attacks_state;
mod attacks_text;
mod background;
mod classes;
mod crash;
#[cfg(unix)]
mod crowded;
#[cfg(unix)]
mod dav;
#[cfg(unix)]
mod dav_between;
#[cfg(unix)]
mod dav_clients;
#[cfg(unix)]
mod dav_crash;
#[cfg(unix)]
mod dav_moving;
#[cfg(unix)]
mod gmail_imap;
mod holds;
#[cfg(unix)]
mod imap;
#[cfg(unix)]
mod imap_arranged;
#[cfg(unix)]
mod imap_bad;
#[cfg(unix)]
mod imap_clients;
#[cfg(unix)]
mod imap_close;
#[cfg(unix)]
mod imap_cut;
#[cfg(unix)]
mod imap_extensions;
#[cfg(unix)]
mod imap_heard;
#[cfg(unix)]
mod imap_history;
#[cfg(unix)]
mod imap_hostile;
#[cfg(unix)]
mod imap_mailboxes;
mod imap_names;
#[cfg(unix)]
mod imap_scope;
#[cfg(unix)]
mod imap_tls;
#[cfg(unix)]
mod imap_truth;
#[cfg(unix)]
mod imap_turns;
#[cfg(unix)]
mod imap_undo;
mod imap_wire;
mod incident;
#[cfg(unix)]
mod incident_imap;
mod inputs;
mod large;
#[cfg(unix)]
mod liar;
mod library;
mod outbox;
#[cfg(unix)]
mod own_address;
mod panic;
mod peers;
#[cfg(unix)]
mod phone;
#[cfg(unix)]
mod phone_api;
mod recipients;
#[cfg(unix)]
mod removed;
#[cfg(unix)]
mod same_account;
#[cfg(unix)]
mod sieve;
#[cfg(unix)]
mod sieve_at_once;
#[cfg(unix)]
mod sieve_clients;
#[cfg(unix)]
mod sieve_crash;
#[cfg(unix)]
mod sieve_login;
mod signing_out;
#[cfg(unix)]
mod smtp;
#[cfg(unix)]
mod smtp_again;
#[cfg(unix)]
mod smtp_clients;
#[cfg(unix)]
mod smtp_crash;
#[cfg(unix)]
mod smtp_part;
mod thin;
mod undo;
mod upstreams;

/// A path below an account.
pub(crate) fn gmail(below: &str) -> String {
    format!("/gmail/v1/users/me/{below}")
}
