//! Timers: what is due when.
//!
//! A heap per shard ([`Deadlines`]), of which an entry can be taken back at once: nearly every receive timeout is
//! cancelled, and a heap with lazy deletion would keep a million dead ones. The order of timers that are due together is
//! defined, which the simulation needs. An ordered map does the same in nine times the time with a thousand timers set; a
//! wheel is not faster, since the earliest deadline has to be known exactly and after each change, and what is due in
//! one of its slots has to be sorted (ARCHITECTURE.md has the figures).
//!
//! # Invariants
//!
//! - A timer is never early: it fires when the clock reads its deadline or later.
//! - A timer fires or is cancelled, never both: either takes it out of the heap under the shard's lock.
//! - `next` is never later than the shard's earliest deadline while the lock is free.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::deadlines::{Deadlines, MAX_SLOTS, Ticket};

/// Shards keep workers from meeting at one lock. A power of two, told apart by the low bits of a timer's id.
const SHARDS: usize = 8;

const _: () = assert!(MAX_SLOTS * SHARDS <= 1 << 32, "the lower half of an id has room for both");

/// No timer is set.
const NEVER: u64 = u64::MAX;

/// A timer that was set; unique for the life of the node. The upper half is the generation of its slot in its shard, the
/// lower half which slot of which shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u64);

impl TimerId {
    /// A timer that nothing can be done about any more. The first that is set has a larger number.
    pub const NEVER: TimerId = TimerId(0);

    fn new(ticket: Ticket, shard: usize) -> TimerId {
        let low = u64::from(ticket.slot) * SHARDS as u64 + shard as u64;
        TimerId(u64::from(ticket.generation) << 32 | low)
    }

    fn shard(self) -> usize {
        self.0 as usize % SHARDS
    }

    fn ticket(self) -> Ticket {
        Ticket { slot: self.0 as u32 / SHARDS as u32, generation: (self.0 >> 32) as u32 }
    }
}

/// See the module. `T` is what is due.
pub struct Timers<T> {
    shards: Box<[Shard<T>]>,
    turn: AtomicUsize,
}

struct Shard<T> {
    /// The earliest deadline, readable without the lock.
    next: AtomicU64,
    // Unbounded here: a process has one timer while it waits, and those of `send_after` hold a message that
    // counts against whoever set them.
    deadlines: Mutex<Deadlines<T>>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers::new()
    }
}

impl<T> Timers<T> {
    /// No timers.
    pub fn new() -> Timers<T> {
        let shard = || Shard { next: AtomicU64::new(NEVER), deadlines: Mutex::new(Deadlines::new()) };
        Timers { shards: (0..SHARDS).map(|_| shard()).collect(), turn: AtomicUsize::new(0) }
    }

    /// Sets a timer for a reading of the clock.
    pub fn set(&self, deadline: u64, due: T) -> TimerId {
        // Relaxed: it only spreads the load.
        let index = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let shard = &self.shards[index];
        let mut deadlines = shard.lock();
        let ticket = deadlines.set(deadline, due);
        shard.publish(&deadlines);
        TimerId::new(ticket, index)
    }

    /// Takes a timer back: what would have been due and when, or `None` when it has fired, was cancelled, or
    /// never was.
    pub fn cancel(&self, id: TimerId) -> Option<(u64, T)> {
        let shard = &self.shards[id.shard()];
        let mut deadlines = shard.lock();
        let cancelled = deadlines.cancel(id.ticket())?;
        shard.publish(&deadlines);
        Some(cancelled)
    }

    /// Takes a timer back if `may` says so of what is due. When it was to fire, if that was done.
    pub fn cancel_if(&self, id: TimerId, may: impl FnOnce(&T) -> bool) -> Option<u64> {
        let allowed = self.shards[id.shard()].lock().get(id.ticket()).is_some_and(may);
        if !allowed {
            return None;
        }
        self.cancel(id).map(|(deadline, _)| deadline)
    }

    /// Runs `fire` for what is due, `most` timers at most and the earliest first: a process that sets two timers and is
    /// late for both sees them in their order, unless two workers fire at once. No lock is held meanwhile.
    /// Returns how many it took out.
    pub fn fire(&self, now: u64, most: usize, mut fire: impl FnMut(T)) -> usize {
        // Acquire pairs with the release in `publish`: whoever sees the deadline finds the entry.
        let next = |shard: &&Shard<T>| shard.next.load(Ordering::Acquire);
        for fired in 0..most {
            let earliest = self.shards.iter().min_by_key(next).filter(|shard| next(shard) <= now);
            let Some(shard) = earliest else { return fired };
            // If somebody else has taken it, the shard's next deadline is another one now.
            if let Some(due) = shard.take_due(now) {
                fire(due);
            }
        }
        most
    }

    /// Takes every timer back.
    pub fn clear(&self) {
        for shard in &self.shards {
            // What was due may set timers or take them back as it is dropped, so no lock is held then.
            while let Some(due) = shard.take_due(NEVER) {
                drop(due);
            }
        }
    }

    /// The earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        let next = self.shards.iter().map(|shard| shard.next.load(Ordering::Acquire)).min();
        next.filter(|next| *next != NEVER)
    }

    /// How many timers are set.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl<T> Shard<T> {
    fn lock(&self) -> MutexGuard<'_, Deadlines<T>> {
        // Under it only a timer is entered or taken out, which panics nowhere between.
        self.deadlines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn publish(&self, deadlines: &Deadlines<T>) {
        self.next.store(deadlines.first().unwrap_or(NEVER), Ordering::Release);
    }

    fn take_due(&self, now: u64) -> Option<T> {
        let mut deadlines = self.lock();
        let due = deadlines.take_due(now)?;
        self.publish(&deadlines);
        Some(due)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fired(timers: &Timers<u32>, now: u64) -> Vec<u32> {
        let mut fired = Vec::new();
        timers.fire(now, usize::MAX, |due| fired.push(due));
        fired.sort_unstable();
        fired
    }

    #[test]
    fn guarantee_35_cancel_or_fire_never_both() {
        let timers = Timers::new();
        let (a, b) = (timers.set(10, 1), timers.set(20, 2));
        assert_eq!(timers.cancel(a), Some((10, 1)));
        assert_eq!(timers.cancel(a), None);
        assert_eq!(fired(&timers, 20), [2]);
        assert_eq!(timers.cancel(b), None);
        assert_eq!(timers.next_deadline(), None);
        // What guests make up, and what never was.
        for id in [TimerId::NEVER, TimerId(u64::MAX), TimerId(a.0 + 8), TimerId(a.0 & u64::from(u32::MAX))] {
            assert_eq!(timers.cancel_if(id, |_| true), None);
        }
    }

    #[test]
    fn whoever_is_late_fires_in_order() {
        let timers = Timers::new();
        // More than one in each shard, and in no order.
        let deadlines: Vec<u32> = (0..100).map(|number| number * 37 % 101).collect();
        for deadline in &deadlines {
            timers.set(u64::from(*deadline), *deadline);
        }
        let mut fired = Vec::new();
        (0..10).for_each(|_| assert_eq!(timers.fire(1000, 10, |due| fired.push(due)), 10));
        assert_eq!(timers.fire(1000, 10, |_| ()), 0);
        let mut expected = deadlines;
        expected.sort_unstable();
        assert_eq!(fired, expected);
    }

    proptest! {
        #[test]
        fn guarantee_34_a_timer_is_never_early_and_none_is_lost(deadlines in prop::collection::vec(0u64..1000, 0..200)) {
            let timers = Timers::new();
            for (value, deadline) in deadlines.iter().enumerate() {
                timers.set(*deadline, value as u32);
            }
            let mut last = 0;
            for now in [0, 1, 500, 999] {
                let expected: Vec<u32> = (0..deadlines.len() as u32)
                    .filter(|value| {
                        let deadline = deadlines[*value as usize];
                        deadline <= now && (deadline > last || (now == 0 && deadline == 0))
                    })
                    .collect();
                prop_assert_eq!(fired(&timers, now), expected);
                last = now;
            }
            prop_assert_eq!(timers.len(), 0);
        }
    }
}
