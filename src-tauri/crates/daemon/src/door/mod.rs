//! The listeners that agents talk to.

pub mod http;
pub mod imap;
mod sasl;
pub mod smtp;
