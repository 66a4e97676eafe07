//! The node's limit on memory, as accounts charge it.

use std::sync::Arc;

use lunatic_jit::TotalMemory;
use lunatic_resources::MemoryTotal;

/// The engine's count of linear memories, to which accounts add what the host keeps.
#[derive(Debug)]
pub(crate) struct Total(pub(crate) Arc<TotalMemory>);

impl MemoryTotal for Total {
    fn charge(&self, bytes: u64) -> bool {
        self.0.charge(bytes)
    }

    fn charge_beyond_limit(&self, bytes: u64) {
        self.0.charge_beyond_limit(bytes);
    }

    fn give_back(&self, bytes: u64) {
        self.0.give_back(bytes);
    }
}
