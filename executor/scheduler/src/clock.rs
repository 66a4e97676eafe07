//! Time, injected: the executor reads the clocks of the machine only through [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The source of a node's time.
pub trait Clock: Send + Sync {
    /// Returns nanoseconds since some moment before the node started. It never decreases.
    fn now(&self) -> u64;
    /// Returns nanoseconds since the Unix epoch, by the wall clock.
    fn wall(&self) -> u64;
}

/// The clocks of the machine.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl Default for SystemClock {
    fn default() -> SystemClock {
        SystemClock { start: Instant::now() }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> u64 {
        // 584 years fit.
        self.start.elapsed().as_nanos() as u64
    }

    fn wall(&self) -> u64 {
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as u64)
    }
}

/// A clock that advances only when told to, and begins with the same date in every run.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    nanoseconds: AtomicU64,
}

/// The beginning of 2026, in seconds since the Unix epoch: the first date of a simulated wall clock.
const SIMULATED_EPOCH: u64 = 1_767_225_600;

impl SimulatedClock {
    /// Advances the clock by a nanosecond. Returns the new time.
    pub fn tick(&self) -> u64 {
        self.nanoseconds.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Advances the clock to a later moment. An earlier one changes nothing.
    pub fn advance_to(&self, nanoseconds: u64) {
        // Relaxed: a number that orders nothing else.
        self.nanoseconds.fetch_max(nanoseconds, Ordering::Relaxed);
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> u64 {
        self.nanoseconds.load(Ordering::Relaxed)
    }

    fn wall(&self) -> u64 {
        SIMULATED_EPOCH * 1_000_000_000 + self.now()
    }
}
