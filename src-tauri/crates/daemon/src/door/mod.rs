//! The listeners that agents talk to.

mod admit;
pub mod http;
pub mod imap;
mod lanes;
mod sasl;
pub mod sieve;
pub mod smtp;

pub use lanes::Lanes;
