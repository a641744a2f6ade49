//! The engine: doors, upstreams, vault, store and the owner channel around `latch-core`.

pub mod clock;
pub mod confirm;
pub mod control;
pub mod door;
pub mod fail;
pub mod home;
pub mod net;
pub mod runtime;
pub mod seal;
pub mod spool;
pub mod store;
pub mod upstream;
pub mod vault;
