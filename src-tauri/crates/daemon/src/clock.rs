//! The guard's clock: it counts suspended time, never runs backwards, and does not believe a wall clock that was turned back (invariant I4).
//!
//! ```text
//!   now = max(wall time at start, journalled high-water mark) + suspend-aware time since start
//! ```

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use latch_core::time::Time;

/// Started once an engine; cheap to clone and to read.
#[derive(Debug, Clone)]
pub struct Clock {
    base: Time,
    started: Tick,
}

impl Clock {
    /// Starts above everything that the journal has seen.
    #[must_use]
    pub fn start(high_water: Time) -> Self {
        Self { base: high_water.max(Time(wall())), started: Tick::now() }
    }

    /// The guard's time.
    #[must_use]
    pub fn now(&self) -> Time {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time(self.base.0.saturating_add(elapsed))
    }

    /// Wall time for records, milliseconds since the Unix epoch.
    #[must_use]
    pub fn wall(&self) -> u64 {
        wall()
    }
}

/// Wall time, milliseconds since the Unix epoch; zero before it.
#[must_use]
pub fn wall() -> u64 {
    let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

/// A reading of a clock that goes on while the machine sleeps. `Instant` does so on Windows only.
#[cfg(unix)]
#[derive(Debug, Clone, Copy)]
struct Tick(Duration);

#[cfg(unix)]
impl Tick {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const ID: rustix::time::ClockId = rustix::time::ClockId::Monotonic;

    fn now() -> Self {
        let read = rustix::time::clock_gettime(Self::ID);
        Self(Duration::try_from(read).unwrap_or_default())
    }

    fn elapsed(self) -> Duration {
        Self::now().0.saturating_sub(self.0)
    }
}

#[cfg(not(unix))]
#[derive(Debug, Clone, Copy)]
struct Tick(std::time::Instant);

#[cfg(not(unix))]
impl Tick {
    fn now() -> Self {
        Self(std::time::Instant::now())
    }

    fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use latch_core::time::Span;

    use super::*;

    #[test]
    fn a_wall_clock_turned_back_extends_nothing() {
        let year_ahead = Time(wall()) + Span::days(365);
        let clock = Clock::start(year_ahead);
        assert!(clock.now() >= year_ahead, "the high-water mark stands");
        assert!(clock.wall() < year_ahead.0, "records still carry wall time");
    }

    #[test]
    fn it_moves_on_and_never_back() {
        let clock = Clock::start(Time::default());
        let first = clock.now();
        std::thread::sleep(Duration::from_millis(5));
        assert!(clock.now() > first);
        assert!(first.0 >= 1_700_000_000_000, "without a mark it starts at wall time");
    }
}
