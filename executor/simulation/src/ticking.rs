//! The clock of a simulated node.

use std::sync::Arc;

use lunatic_scheduler::{Clock, SimulatedClock};

/// Each reading advances the clock by a nanosecond, so no two readings are equal. As on a real machine, timers that
/// were set first are due first, and a process that polls the clock makes progress.
pub(super) struct Ticking(pub(super) Arc<SimulatedClock>);

impl Clock for Ticking {
    fn now(&self) -> u64 {
        self.0.tick()
    }

    fn wall(&self) -> u64 {
        self.0.tick();
        self.0.wall()
    }
}
