//! What a store will need of memory when it goes on, for the processor to fetch in time.
//!
//! A process that is resumed after a thousand others finds nothing of itself in the caches, and would wait for one line
//! after the other: each is only known from the one before. Whoever makes it runnable can have them fetched all at once,
//! while something else still runs. It is a hint: it may be long out of date, nothing is read through it, and an address
//! that is no longer mapped is not fetched.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Bytes of a cache line.
const LINE: usize = 64;

/// Bytes beneath the last frame that the way back into the guest, and its next host call, will use.
const BENEATH: usize = 256;

/// Bytes of a store, from its beginning, that most turns look at.
const STORE: usize = 9 * LINE;

/// Bytes at the end of the guest's own stack: its innermost frame, and what it calls next.
const GUEST: usize = 2 * LINE;

/// Lines that are fetched at most: a processor has so many requests under way, and some more that wait.
const MAX_LINES: usize = 32;

/// After so few others it is still in a cache.
const RECENT: u32 = 16;

/// See the module. Anybody may read it while its store's owner writes it.
#[derive(Debug, Default)]
pub struct WorkingSet {
    frames: AtomicUsize,
    store: AtomicUsize,
    guest: AtomicUsize,
    /// The thread's number of the call that was left.
    left: AtomicU32,
}

thread_local! {
    /// Calls that this thread has left.
    static LEFT: Cell<u32> = const { Cell::new(0) };
}

impl WorkingSet {
    /// Has the processor fetch it.
    pub fn prefetch(&self) {
        if LEFT.get().wrapping_sub(self.left.load(Ordering::Relaxed)) < RECENT {
            return;
        }
        // Relaxed, here and below: what is fetched for nothing costs little.
        let [frames, store, guest] =
            [&self.frames, &self.store, &self.guest].map(|at| at.load(Ordering::Relaxed));
        if store != 0 {
            prefetch(frames.saturating_sub(BENEATH), store + STORE);
        }
        if guest != 0 {
            prefetch(guest - GUEST, guest + GUEST);
        }
    }

    /// Notes the innermost frame, the store and the end of the guest's own stack, after a call was left; 0 for what is
    /// not known.
    #[inline]
    pub(crate) fn note(&self, frames: usize, store: usize, guest: usize) {
        self.left.store(count_left(), Ordering::Relaxed);
        self.frames.store(frames, Ordering::Relaxed);
        self.store.store(store, Ordering::Relaxed);
        self.guest.store(guest, Ordering::Relaxed);
    }
}

/// One more call was left by this thread; its number.
#[inline]
fn count_left() -> u32 {
    let left = LEFT.get().wrapping_add(1);
    LEFT.set(left);
    left
}

/// Has the processor fetch the lines from one address to another.
fn prefetch(from: usize, to: usize) {
    // Where the hint was written in the middle of two looks, its parts may not belong together.
    let to = to.min(from.saturating_add(MAX_LINES * LINE));
    let mut at = from;
    while at <= to {
        super::prefetch::prefetch(at);
        at += LINE;
    }
}
