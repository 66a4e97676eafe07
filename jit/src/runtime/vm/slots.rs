//! Slots of one size, cut from a few large mappings (*slabs*). With a mapping for each slot, the system's
//! limit would be reached at some 65,000.
//!
//! The lowest slab with a free slot is used first, so that the others become empty. An empty slab is
//! unmapped, with its page tables, if there are enough free slots without it. A free slot may stay partly
//! resident for its next user, as long as not too many slots are free.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::runtime::sys::Mapping;

/// The free slots that may stay resident, and that keep an empty slab: as many as a program may spawn and
/// lose at once.
pub(crate) const WARM: usize = if cfg!(miri) { 128 } else { 2048 };

/// Of these, the number that each has to itself where several [share](Slots::sharing) it.
const OWN_WARM: usize = 64;

/// All slots of one size. `K` is what is known of a slot that is free and may be resident ("warm").
#[derive(Debug)]
pub(crate) struct Slots<K = ()> {
    slot_size: usize,
    slab_size: usize,
    /// A copy of `State::warm`, to be read without the lock.
    warm: AtomicUsize,
    /// The number of warm slots of all that share the limit.
    shared: Option<Arc<AtomicUsize>>,
    state: Mutex<State<K>>,
}

#[derive(Debug)]
struct State<K> {
    /// `None` where a slab was unmapped.
    slabs: Vec<Option<Slab<K>>>,
    /// The slabs that have free slots.
    available: BTreeSet<usize>,
    /// The free slots of all slabs.
    free: usize,
    /// The free slots that may be resident. The others were never used, or were discarded.
    warm: usize,
}

#[derive(Debug)]
struct Slab<K> {
    /// The mapping of the slots, unmapped with the slab.
    mapping: Mapping,
    /// The addresses of free slots that may be resident, and what is known of them.
    warm: Vec<(usize, K)>,
    /// The addresses of the other free slots.
    cold: Vec<usize>,
}

impl<K> Slab<K> {
    fn free(&self) -> usize {
        self.warm.len() + self.cold.len()
    }
}

/// A slot on loan. Its owner gives it back with [`Slots::give`].
#[derive(Debug)]
pub(crate) struct Slot {
    address: usize,
    /// The offset from the start of its slab.
    offset: usize,
    slab: usize,
}

impl Slot {
    /// Returns its lowest address.
    pub(crate) fn address(&self) -> usize {
        self.address
    }

    /// Returns its offset from the start of its slab.
    pub(crate) fn offset(&self) -> usize {
        self.offset
    }
}

impl<K> Slots<K> {
    /// Creates slots of this size, cut from slabs of a size that is a multiple of it.
    pub(crate) fn new(slot_size: usize, slab_size: usize) -> Slots<K> {
        let state = State { slabs: Vec::new(), available: BTreeSet::new(), free: 0, warm: 0 };
        Slots { slot_size, slab_size, warm: AtomicUsize::new(0), shared: None, state: Mutex::new(state) }
    }

    /// As [`Slots::new`], with a count that several share: together they have hardly more warm slots than one
    /// alone.
    pub(crate) fn sharing(slot_size: usize, slab_size: usize, shared: Arc<AtomicUsize>) -> Slots<K> {
        let mut slots = Slots::new(slot_size, slab_size);
        slots.shared = Some(shared);
        slots
    }

    /// Takes a slot: one that was given back, with what is known of it if it is warm, or a new one, which is
    /// zeroed.
    pub(crate) fn take(&self) -> io::Result<(Slot, Option<K>)> {
        self.take_from(Mapping::new)
    }

    /// As [`Slots::take`], with `map` to map new slabs. A new slot reads as what `map` has mapped.
    pub(crate) fn take_from(
        &self,
        map: impl FnOnce(usize) -> io::Result<Mapping>,
    ) -> io::Result<(Slot, Option<K>)> {
        let mut state = self.lock();
        if state.available.is_empty() {
            let mapping = map(self.slab_size)?.without_huge_pages();
            // In descending order, so that the lowest is taken first.
            let slots = (0..mapping.size() / self.slot_size).rev();
            let cold: Vec<usize> = slots.map(|i| mapping.address() + i * self.slot_size).collect();
            state.add(Slab { mapping, warm: Vec::new(), cold });
        }
        let slot = state.take();
        self.publish(&state);
        Ok(slot)
    }

    /// Takes a slot back. `clean` is told whether it may leave the slot resident, and returns what is known
    /// of it.
    pub(crate) fn give(&self, slot: Slot, clean: impl FnOnce(bool) -> K) {
        // Relaxed: the number decides about memory only, and may be slightly wrong.
        let warm = self.warm.load(Ordering::Relaxed);
        let others = self.shared.as_ref().map_or(0, |shared| shared.load(Ordering::Relaxed));
        let stays_warm = warm < WARM && (warm < OWN_WARM || others < WARM);
        let known = clean(stays_warm);
        let mut state = self.lock();
        let empty = state.give(slot, stays_warm.then_some(known), self.slab_size / self.slot_size);
        self.publish(&state);
        drop(state);
        drop(empty);
    }

    /// Publishes the number of warm slots for readers without the lock.
    fn publish(&self, state: &State<K>) {
        let before = self.warm.load(Ordering::Relaxed);
        self.warm.store(state.warm, Ordering::Relaxed);
        if let Some(shared) = &self.shared {
            // The difference may be negative: it wraps around, and the sum wraps back.
            shared.fetch_add(state.warm.wrapping_sub(before), Ordering::Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().expect("nothing panics while the lock is held")
    }
}

impl<K> Drop for Slots<K> {
    fn drop(&mut self) {
        if let Some(shared) = &self.shared {
            shared.fetch_sub(self.warm.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }
}

impl<K> State<K> {
    fn add(&mut self, slab: Slab<K>) {
        self.free += slab.free();
        let index = self.slabs.iter().position(Option::is_none).unwrap_or(self.slabs.len());
        if index == self.slabs.len() {
            self.slabs.push(None);
        }
        self.slabs[index] = Some(slab);
        self.available.insert(index);
    }

    fn take(&mut self) -> (Slot, Option<K>) {
        let index = *self.available.first().expect("there is a free slot");
        let slab = self.slabs[index].as_mut().expect("an available slab is mapped");
        self.warm -= usize::from(!slab.warm.is_empty());
        self.free -= 1;
        let (address, known) = match slab.warm.pop() {
            Some((address, known)) => (address, Some(known)),
            None => (slab.cold.pop().expect("an available slab has a free slot"), None),
        };
        let offset = address - slab.mapping.address();
        if slab.free() == 0 {
            self.available.remove(&index);
        }
        (Slot { address, offset, slab: index }, known)
    }

    /// Takes a slot back. Returns its slab, of `slots` slots, if it is now empty and not needed.
    fn give(&mut self, slot: Slot, warm: Option<K>, slots: usize) -> Option<Slab<K>> {
        let slab = self.slabs[slot.slab].as_mut().expect("a slab with a slot on loan is mapped");
        if slab.free() == 0 {
            self.available.insert(slot.slab);
        }
        self.warm += usize::from(warm.is_some());
        match warm {
            Some(known) => slab.warm.push((slot.address, known)),
            None => slab.cold.push(slot.address),
        }
        self.free += 1;
        if slab.free() < slots || self.free - slots < WARM {
            return None;
        }
        self.free -= slots;
        self.warm -= slab.warm.len();
        self.available.remove(&slot.slab);
        self.slabs[slot.slab].take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: usize = 64 << 10;
    const SLAB: usize = 16 * SLOT;

    fn mapped(slots: &Slots) -> usize {
        slots.lock().slabs.iter().flatten().count()
    }

    #[test]
    fn slots_do_not_overlap_and_are_reused() {
        let slots = Slots::<()>::new(SLOT, SLAB);
        let taken: Vec<Slot> = (0..100).map(|_| slots.take().unwrap().0).collect();
        let mut addresses: Vec<usize> = taken.iter().map(Slot::address).collect();
        addresses.sort_unstable();
        assert!(addresses.windows(2).all(|pair| pair[1] - pair[0] >= SLOT));
        assert_eq!(mapped(&slots), 7);
        taken.into_iter().for_each(|slot| slots.give(slot, |_| {}));
        assert_eq!(mapped(&slots), 7, "so few are kept");
        let again: Vec<Slot> = (0..100).map(|_| slots.take().unwrap().0).collect();
        let mut same: Vec<usize> = again.iter().map(Slot::address).collect();
        same.sort_unstable();
        assert_eq!(same, addresses);
    }

    #[test]
    fn many_free_slots_are_given_back() {
        let slots = Slots::<()>::new(SLOT, SLAB);
        let taken: Vec<Slot> = (0..3 * WARM).map(|_| slots.take().unwrap().0).collect();
        assert_eq!(mapped(&slots), 3 * WARM / 16);
        let mut warm = 0;
        taken.into_iter().for_each(|slot| slots.give(slot, |keep| warm += usize::from(keep)));
        assert_eq!(warm, WARM, "the rest is not to stay resident");
        assert_eq!(mapped(&slots), WARM / 16);
        assert_eq!(slots.lock().free, WARM);
        // And take them again.
        let again: Vec<Slot> = (0..2 * WARM).map(|_| slots.take().unwrap().0).collect();
        assert_eq!(mapped(&slots), 2 * WARM / 16);
        again.into_iter().for_each(|slot| slots.give(slot, |_| {}));
    }

    #[test]
    fn slots_that_were_never_used_are_not_warm() {
        // Small slots: a new slab has more than may stay resident.
        let slots = Slots::<()>::new(SLOT, 2 * WARM * SLOT);
        let mut last = None;
        for _ in 0..3 {
            let (slot, _) = slots.take().unwrap();
            assert!(last.is_none_or(|last| last == slot.address()), "the warm one is taken again");
            last = Some(slot.address());
            slots.give(slot, |stays_warm| assert!(stays_warm));
        }
        let state = slots.lock();
        assert_eq!((state.free, state.warm), (2 * WARM, 1));
    }

    #[test]
    fn the_lowest_slabs_are_used_first() {
        let slots = Slots::<()>::new(SLOT, SLAB);
        let mut taken: Vec<Slot> = (0..48).map(|_| slots.take().unwrap().0).collect();
        // A slot of the last slab, then one of the first are free: the first slab's is taken.
        slots.give(taken.pop().unwrap(), |_| {});
        slots.give(taken.swap_remove(0), |_| {});
        assert_eq!(slots.take().unwrap().0.slab, 0);
        assert_eq!(slots.take().unwrap().0.slab, 2);
    }
}
