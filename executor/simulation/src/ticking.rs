//! The clock as a simulated node sees it.

use std::sync::Arc;

use lunatic_scheduler::{Clock, SimulatedClock};

/// Every look takes a nanosecond, so no two readings are the same: as on a machine, what is due first was set first,
/// and whoever waits by looking at the clock gets on.
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
