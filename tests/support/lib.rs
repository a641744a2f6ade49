//! What the tests across crates share.
//!
//! ```text
//!   Google's Python client ─┐                                  ┌─ emulate (npm), a stateful Gmail
//!   a raw HTTP agent ───────┴─► latch serve --owner stdio ─────┴─ Upstream, ours, where Gmail must misbehave
//!                                      ▲ owner channel
//!                                    the test
//! ```
//!
//! Nothing here is found missing silently: a peer that isn't there fails the test that needs it.

pub mod agent;
pub mod canary;
pub mod copied;
#[cfg(unix)]
pub mod diary;
#[cfg(unix)]
pub mod dovecot;
pub mod emulator;
pub mod engine;
#[cfg(unix)]
pub mod filters;
#[cfg(unix)]
pub mod gmail_imap;
#[cfg(unix)]
pub mod mail;
pub mod names;
pub mod paths;
pub mod ports;
pub mod programs;
pub mod python;
#[cfg(unix)]
pub mod radicale;
pub mod scene;
pub mod sink;
pub mod upstream;
pub mod user;
#[cfg(unix)]
pub mod xandikos;

pub use agent::{Agent, Answer};
pub use emulator::{Emulator, Mail};
pub use engine::Engine;
pub use scene::Scene;
