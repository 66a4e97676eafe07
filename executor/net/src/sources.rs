//! The table from tokens of the reactor to sources. A token is a slot and a generation, as identifiers of processes
//! are, so that events of a closed descriptor reach no other one.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use lunatic_resources::sync::Mutex;
use lunatic_resources::{SlotKey, SlotTable};
use smallvec::SmallVec;

use super::Source;

/// A table of sources.
pub(super) struct Sources {
    // As many as descriptors were ever open at a time, which the system limits.
    slots: Mutex<SlotTable<Arc<Source>>>,
    /// The number of sources, readable without the lock.
    used: AtomicUsize,
}

impl Default for Sources {
    fn default() -> Sources {
        // No slot has the index `u32::MAX`: the waker of the reactor has the largest token.
        Sources { slots: Mutex::new(SlotTable::new(u32::MAX)), used: AtomicUsize::new(0) }
    }
}

impl Sources {
    /// Adds a source. Returns its token.
    pub(super) fn add(&self, source: Arc<Source>) -> u64 {
        let key = self.slots.lock().insert_with(|_| source).expect("there are more slots than descriptors");
        // Relaxed: a wrong number leads to one useless poll, or to one that is a moment late.
        self.used.fetch_add(1, Ordering::Relaxed);
        u64::from(key.generation) << 32 | u64::from(key.index)
    }

    /// Returns the sources with these tokens that have not been closed.
    pub(super) fn get_all(
        &self,
        tokens: impl Iterator<Item = u64> + Clone,
    ) -> SmallVec<[Option<Arc<Source>>; 16]> {
        let slots = self.slots.lock();
        // Cloning a source touches its reference count, so all of them are prefetched first.
        tokens.clone().filter_map(|token| slots.get(key(token))).for_each(|source| {
            lunatic_scheduler::prefetch(Arc::as_ptr(source).addr());
        });
        tokens.map(|token| slots.get(key(token)).cloned()).collect()
    }

    /// Removes a source. Its token is invalid from now on.
    pub(super) fn remove(&self, token: u64) {
        // Drops the source after the lock is free: closing a descriptor can take long.
        let source = self.slots.lock().remove(key(token));
        debug_assert!(source.is_some(), "only the owner of a token removes it");
        self.used.fetch_sub(1, Ordering::Relaxed);
    }

    /// Returns the number of sources.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }
}

/// Returns the key that a token consists of.
fn key(token: u64) -> SlotKey {
    SlotKey { index: token as u32, generation: (token >> 32) as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_not_given_twice() {
        let sources = Sources::default();
        let is_there = |token| sources.get_all(std::iter::once(token))[0].is_some();
        let first = sources.add(Arc::default());
        assert!(is_there(first));
        sources.remove(first);
        let second = sources.add(Arc::default());
        assert_eq!(first as u32, second as u32, "the slot is used again");
        assert!(!is_there(first) && is_there(second));
        assert_eq!(sources.len(), 1);
        assert!(!is_there(u64::MAX));
    }
}
