//! Time, injected: nothing in this crate reads a clock of the machine except through [`Clock`].

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Where a node gets its time from.
pub trait Clock: Send + Sync {
    /// Nanoseconds since some moment before the node started; never goes back.
    fn now(&self) -> u64;
    /// Nanoseconds since the Unix epoch, by the wall clock.
    fn wall(&self) -> u64;
}

/// The machine's clocks.
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

/// A clock that moves only when told to, and that is set to the same date at the beginning of every run.
#[derive(Debug, Default)]
pub struct SimulatedClock {
    nanoseconds: AtomicU64,
}

/// The first second of 2026, in seconds since the Unix epoch: what a simulated wall clock reads at first.
const SIMULATED_EPOCH: u64 = 1_767_225_600;

impl SimulatedClock {
    /// What it reads a nanosecond later.
    pub fn tick(&self) -> u64 {
        self.nanoseconds.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Moves the clock to a later moment; an earlier one changes nothing.
    pub fn advance_to(&self, nanoseconds: u64) {
        // Relaxed: a reading is a number and orders nothing else.
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
