//! What a request would do, whether it may, and how to take it back: pure, without sockets, files, clocks, randomness or a runtime.

pub mod budget;
pub mod call;
pub mod catalog;
pub mod classify;
pub mod exchange;
pub mod grant;
pub mod guard;
pub mod hold;
pub mod journal;
pub mod lease;
pub mod operation;
pub mod pdp;
pub mod phone;
pub mod plan;
pub mod policy;
pub mod recipe;
pub mod scope;
pub mod servers;
pub mod time;
pub mod undo;
