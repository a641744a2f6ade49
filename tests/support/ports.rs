//! Ports for programs that can't be told to take any free one and say which.
//!
//! A port that was bound, read and given back can be handed by the kernel to any of the many engines that tests start beside this one, before
//! the program that it was meant for listens. These are ports that the kernel hands to nobody, each kept by a lock on a file until the test's
//! process ends.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 10_000;

/// A port of 127.0.0.1 where nobody listens, and that no other test is given while this process lives.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn free_port() -> u16 {
    static TRIED: AtomicU16 = AtomicU16::new(0);
    let end = first_that_the_kernel_hands_out();
    let count = end.checked_sub(FIRST).filter(|count| *count > 0).expect("ports below those that the kernel hands out");
    let folder = std::env::temp_dir().join(format!("latch-test-ports-{}", user()));
    std::fs::create_dir_all(&folder).expect("a folder for locks");
    // Each process begins elsewhere, so that a port isn't taken again at once by the next test.
    let start = u16::try_from(std::process::id().wrapping_mul(97) % u32::from(count)).expect("below the count");
    for _ in 0..count {
        let tried = TRIED.fetch_add(1, Ordering::Relaxed) % count;
        let port =
            FIRST + u16::try_from((u32::from(start) + u32::from(tried)) % u32::from(count)).expect("below the count");
        if kept(folder.join(port.to_string())) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of 127.0.0.1 from {FIRST} to {end} is free");
}

/// ip(7), `ip_local_port_range`.
fn first_that_the_kernel_hands_out() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768)
}

#[cfg(unix)]
fn user() -> u32 {
    rustix::process::geteuid().as_raw()
}

#[cfg(not(unix))]
fn user() -> u32 {
    0
}

fn kept(path: PathBuf) -> bool {
    let Ok(file) = File::options().create(true).truncate(false).write(true).open(path) else { return false };
    if file.try_lock().is_err() {
        return false;
    }
    // The lock ends with the process, not before.
    std::mem::forget(file);
    true
}
