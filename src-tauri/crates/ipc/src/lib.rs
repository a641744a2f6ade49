//! What the engine and whoever drives it say to each other.
//!
//! ```text
//!   tray, tests ── owner channel (inherited stdin/stdout) ──┐
//!                                                           ├─ JSON-RPC 2.0, one message a line ── engine
//!   latch, agents ─ control socket (may only reduce) ───────┘
//! ```
//!
//! [`contract`] names every method with its parameters and result, [`view`] holds what a person is shown,
//! [`discovery`] what was found for a mail address, [`words`] how counts and acts are said, [`rpc`] the envelope, [`codec`] the framing and [`client`] the calling side.
//! Methods and optional fields may be added; nothing changes its meaning.

pub mod client;
pub mod codec;
pub mod contract;
pub mod discovery;
/// What is asked of the journal.
pub mod journal;
/// Stop from the phone.
pub mod phone;
pub mod rpc;
/// Credentials on their way in.
pub mod secret;
pub mod view;
pub mod words;

pub use client::Client;
pub use secret::Secret;

/// The owner channel's protocol number, sent in `hello`.
pub const PROTOCOL: u32 = 1;
