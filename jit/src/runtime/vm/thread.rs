//! The number of a thread: who used a memory last, and which free list the thread takes from.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

thread_local! {
    /// The number of this thread, never given twice; 0 before it has one.
    static THREAD: Cell<u64> = const { Cell::new(0) };
}

/// The number of the thread that calls.
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
    // Relaxed: it only has to be another one each time.
    THREAD.set(NEXT.fetch_add(1, Ordering::Relaxed));
    THREAD.get()
}
