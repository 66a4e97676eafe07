//! How many spare stores an engine may keep.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::runtime::vm::slots::WARM;

/// Spares that all shelves of an engine may have: as many slots may be free and resident.
pub(crate) const MAX_POOLED: usize = WARM;

/// How many more spares the shelves of an engine may have room for.
#[derive(Debug)]
pub(crate) struct PoolCapacity(AtomicUsize);

impl Default for PoolCapacity {
    fn default() -> PoolCapacity {
        PoolCapacity(AtomicUsize::new(MAX_POOLED))
    }
}

impl PoolCapacity {
    /// How many are left.
    #[cfg(test)]
    pub(crate) fn left(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn take(&self, spares: usize) -> bool {
        // Relaxed, here and below: a count, which orders nothing else.
        let less = |left: usize| left.checked_sub(spares);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    pub(crate) fn give_back(&self, spares: usize) {
        self.0.fetch_add(spares, Ordering::Relaxed);
    }
}
