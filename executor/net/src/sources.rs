//! From the reactor's tokens to sources: slot and generation, as identifiers of processes are, so that ready of a
//! descriptor that was closed reaches nobody else's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use smallvec::SmallVec;

use super::Source;

/// See the module.
#[derive(Default)]
pub(super) struct Sources {
    slots: Mutex<Slots>,
    /// How many are in use, readable without the lock.
    used: AtomicUsize,
}

#[derive(Default)]
struct Slots {
    // As many as descriptors were ever open at a time: the system limits those.
    all: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Default)]
struct Slot {
    generation: u32,
    source: Option<Arc<Source>>,
}

impl Sources {
    /// Enters a source; its token.
    pub(super) fn add(&self, source: Arc<Source>) -> u64 {
        let mut slots = self.lock();
        let index = slots.free.pop().unwrap_or_else(|| {
            slots.all.push(Slot::default());
            (slots.all.len() - 1) as u32
        });
        let slot = &mut slots.all[index as usize];
        slot.source = Some(source);
        // Relaxed: whoever has it wrong looks once in vain, or a moment later.
        self.used.fetch_add(1, Ordering::Relaxed);
        u64::from(slot.generation) << 32 | u64::from(index)
    }

    /// What has these tokens, if it has not been closed.
    pub(super) fn get_all(
        &self,
        tokens: impl Iterator<Item = u64> + Clone,
    ) -> SmallVec<[Option<Arc<Source>>; 16]> {
        let slots = self.lock();
        // To take one is to count it, which waits for it to be fetched.
        tokens.clone().filter_map(|token| slots.find(token)).for_each(|source| {
            lunatic_scheduler::prefetch(Arc::as_ptr(source).addr());
        });
        tokens.map(|token| slots.find(token).cloned()).collect()
    }

    /// Takes a source out; its token names nothing from now on.
    pub(super) fn remove(&self, token: u64) {
        let mut slots = self.lock();
        let index = token as u32;
        let slot = &mut slots.all[index as usize];
        debug_assert_eq!(u64::from(slot.generation), token >> 32, "who removes it has added it");
        let source = slot.source.take();
        // The last generation is never given: the reactor's waker has the largest token.
        if slot.generation < u32::MAX - 1 {
            slot.generation += 1;
            slots.free.push(index);
        }
        self.used.fetch_sub(1, Ordering::Relaxed);
        drop(slots);
        drop(source);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Slots> {
        // Under it only the two vectors change, a slot at a time.
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
