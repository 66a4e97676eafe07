//! Numbers of threads: which thread used a memory last, and which shard of a free list a thread takes from.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// The number of this thread, which no other thread has or will have; 0 before it has one.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of the calling thread.
#[inline]
pub(crate) fn number() -> u64 {
    match THREAD.get() {
        0 => number_thread(),
        known => known,
    }
}

#[cold]
fn number_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: only uniqueness matters.
    THREAD.set(NEXT.fetch_add(1, Ordering::Relaxed));
    THREAD.get()
}
