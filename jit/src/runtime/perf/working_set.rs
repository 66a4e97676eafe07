//! The memory that a store needs when it is resumed, for the processor to prefetch.
//!
//! A process that is resumed after a thousand others finds none of its lines in the caches, and would wait
//! for one line after the other: the address of each is read from the one before. The thread that makes a
//! process runnable can have all of them fetched at once, while something else still runs. It is only a hint:
//! it may be out of date, nothing is read through it, and an address that is no longer mapped is not fetched.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes below the last frame that returning to the guest, and its next host call, will use.
const BENEATH: usize = 256;

/// Bytes of a store, from its beginning, that most turns use.
const STORE: usize = 9 * LINE;

/// Bytes on each side of the end of the guest's own stack: its innermost frame, and what it calls next.
const GUEST: usize = 2 * LINE;

/// The lines that are fetched at most: a processor limits the number of outstanding requests.
const MAX_LINES: usize = 32;

/// After fewer than this number of other calls, the lines are still in a cache.
const RECENT: u32 = 16;

/// See the module. Other threads may read it while the owner of the store writes it.
#[derive(Debug, Default)]
pub struct WorkingSet {
    frames: AtomicUsize,
    store: AtomicUsize,
    guest: AtomicUsize,
    /// The thread's count of calls when this call was left.
    left: AtomicU32,
}

thread_local! {
    /// The number of calls that this thread has left.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

impl WorkingSet {
    /// Asks the processor to fetch the lines.
    pub fn prefetch(&self) {
        if LEFT.get().wrapping_sub(self.left.load(Ordering::Relaxed)) < RECENT {
            return;
        }
        // Relaxed, here and below: a useless fetch costs little.
        let [frames, store, guest] =
            [&self.frames, &self.store, &self.guest].map(|at| at.load(Ordering::Relaxed));
        if store != 0 {
            prefetch(frames.saturating_sub(BENEATH), store + STORE);
        }
        if guest != 0 {
            prefetch(guest - GUEST, guest + GUEST);
        }
    }

    /// Notes the innermost frame, the store and the end of the guest's own stack after native code was left;
    /// 0 for what is not known.
    #[inline]
    pub(crate) fn note(&self, frames: usize, store: usize, guest: usize) {
        self.left.store(count_left(), Ordering::Relaxed);
        self.frames.store(frames, Ordering::Relaxed);
        self.store.store(store, Ordering::Relaxed);
        self.guest.store(guest, Ordering::Relaxed);
    }
}

/// Counts a call that this thread has left, and returns the count.
fn count_left() -> u32 {
    let left = LEFT.get().wrapping_add(1);
    LEFT.set(left);
    left
}

/// Asks the processor to fetch the lines from one address to another.
fn prefetch(from: usize, to: usize) {
    // If the hint was written between the two reads, the addresses may not belong together.
    let to = to.min(from.saturating_add(MAX_LINES * LINE));
    let mut at = from;
    while at <= to {
        super::prefetch::prefetch(at);
        at += LINE;
    }
}
