//! What has been sent to a process and not been handled, and whether the process is runnable: one atomic word.
//!
//! The word is the address of the signal that was pushed last, each of which leads to the one before it, and a state in
//! the two lowest bits. So sending is one exchange, and it also tells the sender whether the process has to be put
//! into a queue; taking everything out is another, and it also tells the senders that a worker looks.
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
//! A new process is `QUEUED` although no run queue has it yet: its spawner stands for the run queue. Signals that arrive
//! before the spawner has finished preparing the process are appended and schedule nothing, so no worker can meet a
//! process that is not ready; the spawner then schedules it unconditionally.
//!
//! - `IDLE`: the process waits; it is in no queue, no worker has it, and nothing has arrived.
//! - `QUEUED`: it is in exactly one run queue, or its spawner is about to put it there. The thread that made the
//!   transition puts it there.
//! - `RUNNING`: a worker has it. It rests only if nothing has arrived since it looked, so no signal is slept over.
//! - `CLOSED`: its end has begun. Nothing is pushed any more, and nothing leaves this state.
//!
//! # Orderings
//!
//! A push releases the signal, a take acquires all of them: each push is a read-modify-write of the same word, so the
//! pushes between two takes are one release sequence. `rest` and `again` release what the worker did to the process;
//! the next worker's take acquires it, through the pushes in between. What a pusher does to a word that it does not
//! follow needs no order: it never looks at earlier signals.
//!
//! An address that a pusher has read may be freed and given out again before its exchange, which then succeeds all the
//! same. That does no harm: whatever signal is there now is the newest, and the pushed one goes in front of it. Takes
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

/// Something to be queued, and its place in a list.
// The alignment leaves room for the states.
#[repr(C, align(8))]
pub struct Queued<T> {
    /// The one before it; null, or owned by whoever owns this one. Null unless it is in a list.
    next: *mut Queued<T>,
    /// What is queued.
    pub content: T,
}

// SAFETY: what `next` leads to is of the same type, and reached by this one's owner only.
unsafe impl<T: Send> Send for Queued<T> {}

impl<T> Queued<T> {
    /// A signal that is in no queue.
    pub fn new(content: T) -> Box<Queued<T>> {
        Box::new(Queued { next: ptr::null_mut(), content })
    }
}

/// See the module. `T` is a signal; the tests use something smaller.
#[derive(Debug)]
pub struct SignalQueue<T> {
    // An address with a state, and not a pointer: an address that was read from it may belong to a signal that has been
    // freed since, and to another one by the time of the exchange. Pointers to signals expose their provenance when they
    // are pushed and take it up again when they are taken.
    word: AtomicUsize,
    owns: PhantomData<Box<Queued<T>>>,
}

// SAFETY: it owns signals that may be sent to other threads, and of a shared queue only owned signals come out.
unsafe impl<T: Send> Send for SignalQueue<T> {}
// SAFETY: as above: no reference to a signal that is in the queue is given out.
unsafe impl<T: Send> Sync for SignalQueue<T> {}

impl<T> Default for SignalQueue<T> {
    fn default() -> SignalQueue<T> {
        SignalQueue::new()
    }
}

impl<T> SignalQueue<T> {
    /// The queue of a process that its spawner prepares, and schedules when it is ready.
    pub fn new() -> SignalQueue<T> {
        SignalQueue { word: AtomicUsize::new(QUEUED), owns: PhantomData }
    }

    /// Appends a signal. Returns whether the caller has to put the process into a queue; gives the signal back when
    /// the process is over.
    pub fn push(&self, signal: Box<Queued<T>>) -> Result<bool, Box<Queued<T>>> {
        let pushed = Box::into_raw(signal);
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            let state = state(word);
            if state == CLOSED {
                // SAFETY: made from a box above, and nobody has seen it.
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

    /// Whether the process rests and nothing has arrived.
    #[cfg(test)]
    pub fn is_idle(&self) -> bool {
        self.word.load(Ordering::Acquire) == IDLE
    }

    /// Takes all signals, oldest first; from here on the process counts as running. For the worker that took it out of
    /// a queue, and for as long as it has it.
    pub fn take(&self) -> Signals<T> {
        let word = self.word.swap(RUNNING, Ordering::AcqRel);
        debug_assert!(matches!(state(word), QUEUED | RUNNING), "a worker has it");
        // SAFETY: the swap has made this the only way to the list.
        unsafe { Signals::reversed(signal_at(word)) }
    }

    /// Takes what has arrived without having the process, which stays where it is: queued, or with a worker. For who keeps
    /// workers from handling signals meanwhile; order is kept because nobody else handles any.
    pub fn take_early(&self) -> Signals<T> {
        let mut word = self.word.load(Ordering::Relaxed);
        loop {
            // Nothing arrives at a process that rests without queueing it, and nothing at one that is over.
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

    /// Whether something has arrived that was not taken.
    pub fn has_arrived(&self) -> bool {
        // Relaxed: taking it is what synchronises.
        self.word.load(Ordering::Relaxed) & !STATES != 0
    }

    /// The process wants to wait. Returns false when something has arrived: take it, and try again.
    pub fn rest(&self) -> bool {
        self.word.compare_exchange(RUNNING, IDLE, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// The slice is over and the process goes back to a queue.
    pub fn again(&self) {
        let queue = |word| (state(word) == RUNNING).then_some(word & !STATES | QUEUED);
        let queued = self.word.fetch_update(Ordering::Release, Ordering::Relaxed, queue);
        debug_assert!(queued.is_ok(), "a running process goes back");
    }

    /// Refuses everything from now on, and gives back what has arrived.
    pub fn close(&self) -> Signals<T> {
        let word = self.word.swap(CLOSED, Ordering::AcqRel);
        // SAFETY: as in `take`.
        unsafe { Signals::reversed(signal_at(word)) }
    }

    /// Whether it was closed. A name that was noted before this says no is seen by whoever closes it.
    pub fn is_closed(&self) -> bool {
        // A read-modify-write, so that it is ordered with the closing one whichever is first.
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
    /// Null or owned, like all that follow it.
    first: *mut Queued<T>,
}

// SAFETY: it owns its signals.
unsafe impl<T: Send> Send for Signals<T> {}

impl<T> Signals<T> {
    /// None.
    pub fn none() -> Signals<T> {
        Signals { first: ptr::null_mut() }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.first.is_null()
    }

    /// What they are.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        // SAFETY: null or in the list, which is borrowed with what it owns.
        let mut next = unsafe { self.first.as_ref() };
        std::iter::from_fn(move || {
            let queued = next?;
            // SAFETY: as above.
            next = unsafe { queued.next.as_ref() };
            Some(&queued.content)
        })
    }

    /// Of a list that begins with the newest.
    ///
    /// # Safety
    /// The list is the caller's alone.
    unsafe fn reversed(mut newest: *mut Queued<T>) -> Signals<T> {
        let mut first = ptr::null_mut();
        while !newest.is_null() {
            // What another worker has written is not in this one's cache. Of each signal the next line is on its way while
            // its first one, which leads to the one before it, is waited for.
            prefetch(newest.addr() + LINE);
            // SAFETY: it is in the list, which is ours.
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
        // SAFETY: it was made from a box by `push`, and this list owns it.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_that_arrives_meanwhile_keeps_a_process_from_resting() {
        let queue = SignalQueue::new();
        assert!(queue.push(Queued::new(1)).is_ok_and(|queue_it| !queue_it), "its spawner queues it");
        assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it));
        let taken: Vec<i32> = queue.take().map(|queued| queued.content).collect();
        assert_eq!(taken, [1, 2]);
        assert!(!queue.has_arrived());
        assert!(
            queue.push(Queued::new(3)).is_ok_and(|queue_it| !queue_it),
            "the worker that has it will see it"
        );
        assert!(queue.has_arrived() && !queue.rest());
        assert_eq!(queue.take().count(), 1);
        assert!(queue.rest() && queue.is_idle());
        assert!(queue.push(Queued::new(4)).is_ok_and(|queue_it| queue_it));
        assert!(queue.push(Queued::new(5)).is_ok_and(|queue_it| !queue_it), "it is queued once");
    }

    #[test]
    fn what_goes_back_to_a_queue_keeps_its_signals() {
        let queue = SignalQueue::new();
        drop(queue.take());
        assert!(queue.push(Queued::new(1)).is_ok());
        queue.again();
        assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it));
        assert_eq!(queue.take().count(), 2);
    }

    #[test]
    fn nothing_leaves_the_end() {
        let queue = SignalQueue::new();
        assert!(queue.push(Queued::new("late")).is_ok());
        assert_eq!(queue.close().count(), 1);
        assert!(queue.is_closed() && !queue.is_idle());
        assert_eq!(queue.push(Queued::new("later")).map_err(|queued| queued.content), Err("later"));
    }
}
