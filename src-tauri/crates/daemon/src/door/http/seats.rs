//! How many connections there are, and who makes room when there are too many.
//!
//! ```text
//!   accepted ── first request ──> busy ── answer sent ──> idle ── next request ──> busy
//!       └ HEAD at most                                      └ IDLE at most
//! ```
//! A client that opens connections and says nothing, or drips a head byte by byte, never gets busy: it is the first to go.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::net::Shears;

/// The most connections at once.
pub const MAX_CONNECTIONS: usize = 256;
/// How long a new connection may take for its first complete head.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may rest, or take for a further head.
const IDLE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(super) struct Seats {
    start: Instant,
    most: usize,
    seats: Mutex<HashMap<u64, Arc<Seat>>>,
}

/// One connection's state.
#[derive(Debug)]
pub(super) struct Seat {
    start: Instant,
    shears: Shears,
    busy: AtomicBool,
    greeted: AtomicBool,
    /// Milliseconds after `start` at which it became idle.
    since: AtomicU64,
}

/// Keeps a seat busy until the answer was sent.
#[derive(Debug)]
pub(super) struct Busy(Arc<Seat>);

impl Seats {
    pub(super) fn new(most: usize) -> Self {
        Self { start: Instant::now(), most, seats: Mutex::default() }
    }

    /// A seat for a new connection. When all are taken, the one that has been idle longest makes room; when none is idle there is no seat.
    pub(super) fn take(&self, key: u64, shears: Shears) -> Option<Arc<Seat>> {
        let mut seats = self.lock();
        if seats.len() >= self.most {
            let idlest = seats
                .iter()
                .filter(|(_, seat)| !seat.busy.load(Ordering::Acquire))
                .min_by_key(|(_, seat)| seat.since.load(Ordering::Acquire))
                .map(|(key, _)| *key)?;
            if let Some(seat) = seats.remove(&idlest) {
                seat.shears.cut();
            }
        }
        let seat = Arc::new(Seat {
            start: self.start,
            shears,
            busy: AtomicBool::new(false),
            greeted: AtomicBool::new(false),
            since: AtomicU64::new(millis(self.start)),
        });
        seats.insert(key, Arc::clone(&seat));
        Some(seat)
    }

    pub(super) fn leave(&self, key: u64) {
        self.lock().remove(&key);
    }

    /// Closes what was idle for too long.
    pub(super) fn sweep(&self) {
        let now = millis(self.start);
        for seat in self.lock().values() {
            let limit = if seat.greeted.load(Ordering::Acquire) { IDLE } else { HEAD };
            let idle = now.saturating_sub(seat.since.load(Ordering::Acquire));
            if !seat.busy.load(Ordering::Acquire) && u128::from(idle) > limit.as_millis() {
                seat.shears.close();
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<u64, Arc<Seat>>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Called when a complete head has arrived.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Release);
        self.greeted.store(true, Ordering::Release);
        Busy(Arc::clone(self))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.since.store(millis(self.0.start), Ordering::Release);
        self.0.busy.store(false, Ordering::Release);
    }
}

fn millis(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
}
