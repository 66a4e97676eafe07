//! The table from tokens of the reactor to sources. A token is a slot and a generation, as identifiers of processes
//! are, so that events of a closed descriptor reach no other one.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::Source;

/// A table of sources.
#[derive(Default)]
pub(super) struct Sources {
    slots: Mutex<Slots>,
    /// The number of sources, readable without the lock.
    used: AtomicUsize,
}

#[derive(Default)]
struct Slots {
    // As many as descriptors were ever open at a time, which the system limits.
    all: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    source: Option<Arc<Source>>,
}

impl Sources {
    /// Adds a source. Returns its token.
    pub(super) fn add(&self, source: Arc<Source>) -> u64 {
        let mut slots = self.lock();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot::default());
            (slots.all.len() - 1) as u32
        });
        let slot = &mut slots.all[index as usize];
        slot.source = Some(source);
        // Relaxed: a wrong number leads to one useless poll, or to one that is a moment late.
        self.used.fetch_add(1, Ordering::Relaxed);
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    /// Returns the sources with these tokens that have not been closed.
    pub(super) fn get_all(
        &self,
        tokens: impl Iterator<Item = u64> + Clone,
    ) -> SmallVec<[Option<Arc<Source>>; 16]> {
        let slots = self.lock();
        // Cloning a source touches its reference count, so all of them are prefetched first.
        tokens.clone().filter_map(|token| slots.find(token)).for_each(|source| {
            lunatic_scheduler::prefetch(Arc::as_ptr(source).addr());
        });
        tokens.map(|token| slots.find(token).cloned()).collect()
    }

    /// Removes a source. Its token is invalid from now on.
    pub(super) fn remove(&self, token: u64) {
        let mut slots = self.lock();
        let index = token as u32;
        let slot = &mut slots.all[index as usize];
        debug_assert_eq!(u64::from(slot.generation), token >> 32, "who removes it has added it");
        let source = slot.source.take();
        // The last generation is never used: the waker of the reactor has the largest token.
        if slot.generation < u32::MAX - 1 {
            slot.generation += 1;
            slots.free.push(index);
        }
        self.used.fetch_sub(1, Ordering::Relaxed);
        drop(slots);
        drop(source);
    }

    /// Returns the number of sources.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Under the lock, only the two vectors change, one slot at a time.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slots {
    fn find(&self, token: u64) -> Option<&Arc<Source>> {
        let slot = self.all.get(token as u32 as usize)?;
        if u64::from(slot.generation) == token >> 32 { slot.source.as_ref() } else { None }
    }
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
