//! From a protocol to operations.

pub mod http;
