//! The runnable tasks of one worker: a queue that others steal from, and a slot for the task that was woken last.
//!
//! The slot is last in, first out, and cannot be stolen. The common case is a request whose sender waits for the
//! reply; moving the receiver to another worker would cost two cache misses and a system call. Two processes that
//! answer each other could starve the queue, so after [`MAX_NEXT`] turns in a row the task in the slot goes to the
//! back of the queue.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use crossbeam_deque::{Injector, Steal, Stealer, Worker as Deque};

use super::Task;

/// Turns in a row that the slot may take before the queue gets one.
const MAX_NEXT: u32 = 64;

/// A run queue. See the module documentation.
pub(super) struct RunQueue {
    // Unbounded: it contains every live process at most once, and memory bounds those.
    deque: Deque<Arc<dyn Task>>,
    stealer: Stealer<Arc<dyn Task>>,
    next: RefCell<Option<Arc<dyn Task>>>,
    turns: Cell<u32>,
    /// The scheduler that it belongs to, identified by the address of the shared stealers.
    home: Cell<usize>,
}

impl RunQueue {
    pub(super) fn new() -> RunQueue {
        let deque = Deque::new_fifo();
        let stealer = deque.stealer();
        RunQueue { deque, stealer, next: RefCell::new(None), turns: Cell::new(0), home: Cell::new(0) }
    }

    pub(super) fn stealer(&self) -> Stealer<Arc<dyn Task>> {
        self.stealer.clone()
    }

    /// Sets the scheduler that it belongs to, once that exists.
    pub(super) fn settle_in(&self, stealers: &[Stealer<Arc<dyn Task>>]) {
        self.home.set(stealers.as_ptr() as usize);
    }

    /// Returns whether this queue belongs to the scheduler with these stealers. A thread that tests two schedulers
    /// must not mix them up.
    pub(super) fn belongs_to(&self, stealers: &[Stealer<Arc<dyn Task>>]) -> bool {
        self.home.get() == stealers.as_ptr() as usize
    }

    /// Puts a woken task into the slot. Returns whether that made another task stealable.
    pub(super) fn push_next(&self, task: Arc<dyn Task>) -> bool {
        match self.next.replace(Some(task)) {
            Some(displaced) => {
                self.deque.push(displaced);
                true
            }
            None => false,
        }
    }

    /// Puts a task at the back of the queue.
    pub(super) fn push_back(&self, task: Arc<dyn Task>) {
        self.deque.push(task);
    }

    /// Takes the next task.
    pub(super) fn pop(&self) -> Option<Arc<dyn Task>> {
        if self.turns.get() < MAX_NEXT
            && let Some(task) = self.next.take()
        {
            self.turns.set(self.turns.get() + 1);
            return Some(task);
        }
        self.turns.set(0);
        let task = self.deque.pop();
        if task.is_none() { self.next.take() } else { task }
    }

    /// Moves a batch from the injector here. Returns its first task.
    pub(super) fn pop_injected(&self, injector: &Injector<Arc<dyn Task>>) -> Option<Arc<dyn Task>> {
        settle(|| injector.steal_batch_and_pop(&self.deque))
    }

    /// Moves about half of another worker's queue here. Returns its first task.
    pub(super) fn steal_from(&self, victim: &Stealer<Arc<dyn Task>>) -> Option<Arc<dyn Task>> {
        settle(|| victim.steal_batch_and_pop(&self.deque))
    }

    /// Returns whether more than one task is queued, so that others could steal one.
    pub(super) fn has_several(&self) -> bool {
        self.deque.len() + usize::from(self.has_next()) > 1
    }

    fn has_next(&self) -> bool {
        // Nothing in the slot is borrowed across calls.
        self.next.try_borrow().is_ok_and(|next| next.is_some())
    }
}

/// Repeats an attempt that lost a race until it has a result.
pub(super) fn settle<T>(mut attempt: impl FnMut() -> Steal<T>) -> Option<T> {
    loop {
        match attempt() {
            Steal::Success(found) => return Some(found),
            Steal::Empty => return None,
            Steal::Retry => std::hint::spin_loop(),
        }
    }
}
