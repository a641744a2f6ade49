//! The targets for libFuzzer: `LATCH_FUZZ` names one. `cargo xtask fuzz` builds and runs this.
#![no_main]

mod eyes;
mod imap_agent;
mod imap_server;
mod script;
mod sieve;
mod smtp;
mod targets;

use std::sync::LazyLock;

static CHECK: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("LATCH_FUZZ").unwrap_or_default();
    targets::TARGETS.iter().find(|target| target.name == name).map_or_else(
        || panic!("LATCH_FUZZ names none of {:?}", targets::TARGETS.map(|target| target.name)),
        |target| target.check,
    )
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| CHECK(bytes));
