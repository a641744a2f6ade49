//! Who answers a hold: the owner channel's front end, a terminal, or nobody.
//!
//! A terminal and nobody are front ends of the owner channel like the tray, inside the engine's own process:
//! [`tty::run`] and [`deny::run`] take the two halves of a [`latch_ipc::Client`] on an in-process pipe. When `tty::run` returns, the owner is gone.

pub mod deny;
pub mod owner;
pub mod tty;
