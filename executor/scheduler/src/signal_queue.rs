//! The signals of a process that were sent and not handled yet, and the state that says whether the process is
//! runnable: one atomic word.
//!
//! The word is the address of the signal that was pushed last, with a state in the two lowest bits; each signal links
//! to the one before it. So sending is one exchange, which also tells the sender whether the process has to be
//! scheduled. Taking all signals is another exchange, which also tells senders that a worker has the process.
//!
//! ```text
//!             push                  take                   rest (only if nothing has arrived)
//!   IDLE ─────────────▶ QUEUED ────────────▶ RUNNING ───────────────▶ IDLE
//!                        ▲  ▲                   │ │ ▲
//!                   new ─┘  │      again        │ └─┘ take: what has arrived since
//!                           └───────────────────┘
//!                                           any ──── close ────▶ CLOSED
//! ```
//!
//! A new process is `QUEUED` although no run queue contains it yet: its spawner stands for the run queue. Signals
//! that arrive before the spawner has prepared the process are appended and schedule nothing, so no worker meets a
//! process that is not ready. The spawner then schedules it unconditionally.
//!
//! - `IDLE`: the process waits. It is in no run queue, no worker has it, and nothing has arrived.
//! - `QUEUED`: it is in exactly one run queue, or the thread that made the transition is about to put it there.
//! - `RUNNING`: a worker has it. It rests only if nothing has arrived since it took the signals, so no signal is
//!   missed.
//! - `CLOSED`: its end has begun. Nothing is pushed any more, and nothing leaves this state.
//!
//! # Orderings
//!
//! A push releases the signal, and a take acquires all of them. Each push is a read-modify-write of the same word, so
//! the pushes between two takes form one release sequence. `rest` and `again` release what the worker did to the
//! process, and the next worker's take acquires it, through the pushes in between. A push needs no ordering with
//! earlier signals, because it never reads them.
//!
//! An address that a push has read may be freed and allocated again before its exchange, which then still succeeds.
//! That is harmless: the signal with this address is the newest one, and the pushed signal goes in front of it. Takes
//! compare nothing.

use std::marker::PhantomData;
use std::ptr;

use super::sync::{AtomicUsize, Ordering, prefetch};

const IDLE: usize = 0;
const QUEUED: usize = 1;
const RUNNING: usize = 2;
const CLOSED: usize = 3;
const STATES: usize = 3;

/// Bytes of a cache line.
const LINE: usize = 64;

/// A value with its link in a queue.
// The alignment leaves the two lowest bits of an address for the states.
#[repr(C, align(8))]
pub struct Queued<T> {
    /// The signal before this one; null unless the signal is in a list. The owner of this signal owns it.
    next: *mut Queued<T>,
    /// The value.
    pub content: T,
}

// SAFETY: `next` leads to a value of the same type, which only the owner of this one reaches.
unsafe impl<T: Send> Send for Queued<T> {}

impl<T> Queued<T> {
    /// Creates a signal that is in no queue.
    pub fn new(content: T) -> Box<Queued<T>> {
        Box::new(Queued { next: ptr::null_mut(), content })
    }
}

/// A signal queue. See the module documentation. `T` is a signal; the tests use something smaller.
#[derive(Debug)]
pub struct SignalQueue<T> {
    // An address and a state, and not a pointer: an address that was read from it may belong to a signal that has
    // been freed since, and to another one by the time of the exchange. Pointers to signals expose their provenance
    // when they are pushed, and takes recreate the pointers from the addresses.
    word: AtomicUsize,
    owns: PhantomData<Box<Queued<T>>>,
}

// SAFETY: the queue owns its signals, which may be sent to other threads.
unsafe impl<T: Send> Send for SignalQueue<T> {}
// SAFETY: a shared queue gives out owned signals only, and no reference to a signal that is in it.
unsafe impl<T: Send> Sync for SignalQueue<T> {}

impl<T> Default for SignalQueue<T> {
    fn default() -> SignalQueue<T> {
        SignalQueue::new()
    }
}

impl<T> SignalQueue<T> {
    /// Creates the queue of a new process. Its spawner schedules the process when it is prepared.
    pub fn new() -> SignalQueue<T> {
        SignalQueue { word: AtomicUsize::new(QUEUED), owns: PhantomData }
    }

    /// Appends a signal. Returns whether the caller has to schedule the process, or the signal if the process has
    /// ended.
    pub fn push(&self, signal: Box<Queued<T>>) -> Result<bool, Box<Queued<T>>> {
        let pushed = Box::into_raw(signal);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let state = state(word);
            if state == CLOSED {
                // SAFETY: the pointer was made from a box above, and no other thread has seen it.
                return Err(unsafe { Box::from_raw(pushed) });
            }
            // SAFETY: as above.
            unsafe { (*pushed).next = signal_at(word) };
            let next = if state == IDLE { QUEUED } else { state };
            match self.word.compare_exchange_weak(
                word,
                pushed.expose_provenance() | next,
                Ordering::Release,
                Ordering::Relaxed,
            ) {
                Ok(_) => return Ok(state == IDLE),
                Err(now) => word = now,
            }
        }
    }

    /// Returns whether the process rests and nothing has arrived.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) == IDLE
    }

    /// Takes all signals, oldest first. From here on, the process counts as running. Only the worker that took it out
    /// of a run queue may call this, and only while it has the process.
    pub fn take(&self) -> Signals<T> {
        let word = self.word.swap(RUNNING, Ordering::AcqRel);
        debug_assert!(matches!(state(word), QUEUED | RUNNING), "a worker has it");
        // SAFETY: after the swap, nothing else leads to the list.
        unsafe { Signals::reversed(signal_at(word)) }
    }

    /// Takes what has arrived from outside of a turn. The state of the process does not change: it is queued, or a
    /// worker has it. The caller must prevent workers from handling signals meanwhile; the order is kept because
    /// nobody else handles any.
    pub fn take_early(&self) -> Signals<T> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // A signal that arrives at an idle process queues it, and nothing arrives at one that has ended. So there
            // is nothing to take in these states.
            if word & !STATES == 0 {
                return Signals::none();
            }
            let taken = state(word);
            match self.word.compare_exchange_weak(word, taken, Ordering::AcqRel, Ordering::Relaxed) {
                // SAFETY: as in `take`.
                Ok(word) => return unsafe { Signals::reversed(signal_at(word)) },
                Err(now) => word = now,
            }
        }
    }

    /// Returns whether signals have arrived that were not taken.
    pub fn has_arrived(&self) -> bool {
        // Relaxed: taking the signals synchronises.
        self.word.load(Ordering::Relaxed) & !STATES != 0
    }

    /// Ends the turn of a process that wants to wait. Returns false if something has arrived: take it, and try again.
    pub fn rest(&self) -> bool {
        self.word.compare_exchange(RUNNING, IDLE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Ends the turn of a process that goes back to a run queue.
    pub fn again(&self) {
        let queue = |word| (state(word) == RUNNING).then_some(word & !STATES | QUEUED);
        let queued = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, queue);
        debug_assert!(queued.is_ok(), "a running process goes back");
    }

    /// Closes the queue. Returns the signals that had arrived.
    pub fn close(&self) -> Signals<T> {
        let word = self.word.swap(CLOSED, Ordering::AcqRel);
        // SAFETY: as in `take`.
        unsafe { Signals::reversed(signal_at(word)) }
    }

    /// Returns whether the queue was closed. A flag that was set before this returned false is seen by the thread
    /// that closes the queue.
    pub fn is_closed(&self) -> bool {
        // A read-modify-write, so that it is ordered with the closing exchange whichever comes first.
        let word = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, Some);
        state(word.unwrap_or_else(|word| word)) == CLOSED
    }
}

impl<T> Drop for SignalQueue<T> {
    fn drop(&mut self) {
        drop(self.close());
    }
}

/// Signals, oldest first.
pub struct Signals<T> {
    /// Null or owned, like all signals that follow it.
    first: *mut Queued<T>,
}

// SAFETY: it owns its signals.
unsafe impl<T: Send> Send for Signals<T> {}

impl<T> Signals<T> {
    /// Returns an empty list.
    pub fn none() -> Signals<T> {
        Signals { first: ptr::null_mut() }
    }

    /// Returns whether the list is empty.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// Iterates over the values.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: null or in the list, which is borrowed with everything that it owns.
        let mut next = unsafe { self.first.as_ref() };
        std::iter::from_fn(move || {
            let queued = next?;
            // SAFETY: as above.
            next = unsafe { queued.next.as_ref() };
            Some(&queued.content)
        })
    }

    /// Creates the list from one that begins with the newest signal.
    ///
    /// # Safety
    /// The caller must own the list.
    unsafe fn reversed(mut newest: *mut Queued<T>) -> Signals<T> {
        let mut first = ptr::null_mut();
        while !newest.is_null() {
            // What another worker has written is not in this one's cache. The second line of each signal is
            // prefetched while the first one, which has the link, is loaded.
            prefetch(newest.addr() + LINE);
            // SAFETY: the signal is in the list, which the caller owns.
            let older = unsafe { std::mem::replace(&mut (*newest).next, first) };
            first = newest;
            newest = older;
        }
        Signals { first }
    }
}

impl<T> Iterator for Signals<T> {
    type Item = Box<Queued<T>>;

    fn next(&mut self) -> Option<Box<Queued<T>>> {
        if self.first.is_null() {
            return None;
        }
        // SAFETY: `push` made it from a box, and this list owns it.
        let mut first = unsafe { Box::from_raw(self.first) };
        self.first = std::mem::replace(&mut first.next, ptr::null_mut());
        Some(first)
    }
}

impl<T> Drop for Signals<T> {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

fn state(word: usize) -> usize {
    word & STATES
}

fn signal_at<T>(word: usize) -> *mut Queued<T> {
    ptr::with_exposed_provenance_mut(word & !STATES)
}
