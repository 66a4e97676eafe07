//! The number of pooled instances that an engine may keep.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::vm::slots::WARM;

/// Pooled instances in all free lists of an engine: as many as the number of slots that may be free and
/// resident.
pub(crate) const MAX_POOLED: usize = WARM;

/// The capacity that the free lists of an engine have not taken.
#[derive(Debug)]
pub(crate) struct PoolCapacity(AtomicUsize);

impl Default for PoolCapacity {
    fn default() -> PoolCapacity {
        PoolCapacity(AtomicUsize::new(MAX_POOLED))
    }
}

impl PoolCapacity {
    /// The capacity that is left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, instances: usize) -> bool {
        // Relaxed, here and below: the counter orders no other memory accesses.
        let less = |left: usize| left.checked_sub(instances);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    pub(crate) fn give_back(&self, instances: usize) {
        self.0.fetch_add(instances, Ordering::Relaxed);
    }
}
