//! Timers: events at a time.
//!
//! There is a heap for each shard ([`Deadlines`]), in which a timer can be cancelled at once: nearly every receive
//! timeout is cancelled, and a heap with lazy deletion would keep a million dead ones. The order of timers that are
//! due at the same time is defined, which the simulation needs. An ordered map takes nine times as long with a
//! thousand timers. A wheel is not faster, because the earliest deadline must be known exactly after each change, and
//! the timers in a slot of the wheel must be sorted (docs/performance.md has the figures).
//!
//! # Invariants
//!
//! - A timer is never early: it fires when the clock reads its deadline or later.
//! - A timer fires or is cancelled, never both: either removes it from the heap under the lock of the shard.
//! - `next` is never later than the shard's earliest deadline while the lock is free.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use lunatic_resources::sync::{Mutex, MutexGuard};

use super::deadlines::{Deadlines, MAX_SLOTS, Ticket};

/// The number of shards, which keep workers from contending for one lock. A power of two: the low bits of a timer's
/// identifier select the shard.
const SHARDS: usize = 8;

const _: () = assert!(MAX_SLOTS * SHARDS <= 1 << 32, "the lower half of an id has room for both");

/// Stands for no timer.
const NEVER: u64 = u64::MAX;

/// The identifier of a timer, unique for the life of the node. The upper half is the generation of its slot; the
/// lower half is the slot and the shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TimerId(pub u64);

impl TimerId {
    /// The identifier of no timer. All timers have larger numbers.
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

/// Timers. See the module documentation. `T` is the event of a timer.
pub struct Timers<T> {
    shards: Box<[Shard<T>]>,
    turn: AtomicUsize,
}

struct Shard<T> {
    /// The earliest deadline, readable without the lock.
    next: AtomicU64,
    // Unbounded here: a process has one timer while it waits, and timers of `send_after` hold a message that counts
    // against the process that set them.
    deadlines: Mutex<Deadlines<T>>,
}

impl<T> Default for Timers<T> {
    fn default() -> Timers<T> {
        Timers::new()
    }
}

impl<T> Timers<T> {
    /// Creates a set without timers.
    pub fn new() -> Timers<T> {
        let shard = || Shard { next: AtomicU64::new(NEVER), deadlines: Mutex::new(Deadlines::new()) };
        Timers { shards: (0..SHARDS).map(|_| shard()).collect(), turn: AtomicUsize::new(0) }
    }

    /// Sets a timer.
    pub fn set(&self, deadline: u64, due: T) -> TimerId {
        // Relaxed: the number only spreads the load.
        let index = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS;
        let shard = &self.shards[index];
        let mut deadlines = shard.lock();
        let ticket = deadlines.set(deadline, due);
        shard.publish(&deadlines);
        TimerId::new(ticket, index)
    }

    /// Cancels a timer. Returns its event and deadline, or `None` if it has fired, was cancelled, or never existed.
    pub fn cancel(&self, id: TimerId) -> Option<(u64, T)> {
        let shard = &self.shards[id.shard()];
        let mut deadlines = shard.lock();
        let cancelled = deadlines.cancel(id.ticket())?;
        shard.publish(&deadlines);
        Some(cancelled)
    }

    /// Cancels a timer if `may` returns true for its event. Returns its deadline in that case.
    pub fn cancel_if(&self, id: TimerId, may: impl FnOnce(&T) -> bool) -> Option<u64> {
        let allowed = self.shards[id.shard()].lock().get(id.ticket()).is_some_and(may);
        if !allowed {
            return None;
        }
        self.cancel(id).map(|(deadline, _)| deadline)
    }

    /// Calls `fire` for the events that are due, at most `most` of them, the earliest first. A process that sets two
    /// timers and is late for both sees them in order, unless two workers fire timers at once. No lock is held during
    /// the calls. Returns the number of events.
    pub fn fire(&self, now: u64, most: usize, mut fire: impl FnMut(T)) -> usize {
        // Acquire pairs with the release in `publish`: a thread that reads the deadline finds the timer.
        let next = |shard: &&Shard<T>| shard.next.load(Ordering::Acquire);
        for fired in 0..most {
            let earliest = self.shards.iter().min_by_key(next).filter(|shard| next(shard) <= now);
            let Some(shard) = earliest else { return fired };
            // If another thread has taken the timer, the shard has another next deadline now.
            if let Some(due) = shard.take_due(now) {
                fire(due);
            }
        }
        most
    }

    /// Cancels all timers.
    pub fn clear(&self) {
        for shard in &self.shards {
            // Destructors of events may set or cancel timers, so no lock is held while they run.
            while let Some(due) = shard.take_due(NEVER) {
                drop(due);
            }
        }
    }

    /// Returns the earliest deadline.
    pub fn next_deadline(&self) -> Option<u64> {
        let next = self.shards.iter().map(|shard| shard.next.load(Ordering::Acquire)).min();
        next.filter(|next| *next != NEVER)
    }

    /// Returns the number of timers.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().len()).sum()
    }
}

impl<T> Shard<T> {
    fn lock(&self) -> MutexGuard<'_, Deadlines<T>> {
        // Only additions and removals of timers happen under the lock, and they do not panic half-way.
        self.deadlines.lock()
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
        // Numbers that guests make up, and timers that never existed.
        for id in [TimerId::NEVER, TimerId(u64::MAX), TimerId(a.0 + 8), TimerId(a.0 & u64::from(u32::MAX))] {
            assert_eq!(timers.cancel_if(id, |_| true), None);
        }
    }

    #[test]
    fn late_timers_fire_in_order() {
        let timers = Timers::new();
        // More than one timer in each shard, in no order.
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
