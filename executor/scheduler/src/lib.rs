//! Workers, their run queues, timers, and the reactor. This crate knows tasks, not processes.
//!
//! # How work moves
//!
//! ```text
//!            schedule() on a worker            schedule() elsewhere (pool, stdin, signals)
//!                     │                                        │
//!          ┌──────────▼─────────┐                      ┌───────▼──────┐
//!          │ next: the last woken│ ──displaced──┐       │   injector   │
//!          └──────────┬─────────┘              ▼       └───────┬──────┘
//!                     │                 ┌────────────┐         │
//!                     ├────────────────▶│ run queue  │◀────────┘  a batch at a time
//!                     ▼                 └─────┬──────┘
//!                  Task::run ◀────────────────┘──────▶ stolen by a worker that has nothing
//! ```
//!
//! Because of the *next* slot, a request and its reply run on one worker, with warm caches and without a system call.
//! A task that is displaced from the slot, or yields, goes to the queue, and an idle worker is woken if there is one.
//!
//! Tasks of low and high priority go to two queues that all workers share and check in every turn. A task whose file
//! work was done on another thread may continue on that thread (`handoff`).
//!
//! # Invariants
//!
//! - A task is in at most one place: a queue, a next slot, or running. The task's own state machine ensures this.
//! - A thread that makes work stealable calls `Idle::notify` afterwards, unless it is a worker that takes this work
//!   next. A worker that is about to sleep announces it and then checks every queue once more. With the fences in
//!   `idle.rs`, no work is left without a worker.
//! - A worker blocks only in `Idle::sleep`. Threads that run tasks for [`Files`] may block between two turns, and
//!   not within one.

#![deny(unsafe_code)]

mod blocking;
mod clock;
mod deadlines;
mod entropy;
mod handoff;
mod idle;
#[allow(unsafe_code)] // One instruction.
mod prefetch;
mod reactor;
mod run_queue;
#[allow(unsafe_code)] // A list of senders without a lock; its header says why it is sound.
mod signal_queue;
#[cfg(test)]
mod signal_queue_tests;
mod timers;
mod wake;
mod worker;

#[cfg(test)]
mod tests;

/// The primitives of [`idle`] and [`signal_queue`], which a model checker replaces with its own.
mod sync {
    pub(super) use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
    pub(super) use std::sync::{Condvar, Mutex, MutexGuard};

    pub(super) use crate::prefetch::prefetch;
}

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam_deque::{Injector, Stealer};

pub use blocking::{BlockingPool, Job};
pub use clock::{Clock, SimulatedClock, SystemClock};
pub use entropy::{Entropy, Rng, SeededEntropy, SystemEntropy};
pub use handoff::{Files, Work, keep};
pub use prefetch::prefetch;
pub use reactor::{Readiness, ReadinessEvent};
pub use signal_queue::{Queued, SignalQueue, Signals};
pub use timers::{TimerId, Timers};
pub use wake::{Waiter, Wake};
pub use worker::{Driven, Worker};

use idle::Idle;
use run_queue::{RunQueue, settle};

/// Something that runs in slices.
pub trait Task: Send + Sync {
    /// Runs a slice. One thread at a time calls this: a worker, or a thread of [`Files`].
    fn run(&self) -> Step;

    /// Returns its priority. This is called whenever the task becomes runnable.
    fn priority(&self) -> Priority;
}

/// The priority of a task. Tasks of lower priority wait longer, but never for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Runs when nothing else is runnable, and in an eighth of the turns of a worker that is busy with
    /// [`Priority::Normal`].
    Low,
    /// The priority of most tasks.
    #[default]
    Normal,
    /// Runs before all others, but for an eighth of the turns.
    High,
}

impl Priority {
    /// Returns the priority with this number, as guests know it. Larger numbers are more urgent.
    pub fn from_number(number: u64) -> Option<Priority> {
        [Priority::Low, Priority::Normal, Priority::High].into_iter().nth(usize::try_from(number).ok()?)
    }
}

/// What a task wants after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To run again: its slice is used up.
    Again,
    /// Nothing, until it is scheduled again or because it has ended.
    Rest,
}

/// Events outside the scheduler that make tasks runnable: timers and descriptors.
pub trait Events: Send + Sync {
    /// Fires the timers that are due.
    fn fire(&self);
    /// Wakes what waits for these descriptors.
    fn ready(&self, ready: &[ReadinessEvent]);
    /// Returns whether any descriptor is registered, so that polling makes sense.
    fn has_descriptors(&self) -> bool;
    /// Returns the next deadline; `None` if there is none.
    fn next_deadline(&self) -> Option<u64>;
    /// Returns the time of the clock, in nanoseconds.
    fn now(&self) -> u64;
}

/// The descriptors that are registered with the reactor.
pub trait Descriptors: Send + Sync {
    /// Wakes what waits for these descriptors.
    fn ready(&self, ready: &[ReadinessEvent]);
    /// Returns how many are registered.
    fn len(&self) -> usize;
    /// Returns whether none is registered.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What all workers share.
pub struct Scheduler {
    injector: Injector<Arc<dyn Task>>,
    /// Tasks of low and high priority, for all workers together. These queues have no owners, so every worker sees
    /// urgent tasks, and stealing is unnecessary. A shared queue costs more than a worker's own; few processes have
    /// such a priority.
    high: Injector<Arc<dyn Task>>,
    low: Injector<Arc<dyn Task>>,
    stealers: Box<[Stealer<Arc<dyn Task>>]>,
    idle: Idle,
    stopping: AtomicBool,
}

thread_local! {
    /// The queue of the worker that this thread drives. A host function runs on the worker's stack from beginning to
    /// end, so this is the right queue while it runs. Nothing keeps the reference across a suspension.
    static CURRENT: RefCell<Option<Rc<RunQueue>>> = const { RefCell::new(None) };
}

/// Returns whether the calling thread is a worker of some scheduler. Such a thread must not block.
pub fn is_worker() -> bool {
    CURRENT.with_borrow(Option::is_some) || blocking::is_pool_thread()
}

impl Scheduler {
    /// Creates a scheduler and its workers. A thread drives each of them, or one thread all of them in a simulation.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses a descriptor for the reactor.
    /// When the operating system gives no descriptor for the reactor.
    pub fn new(
        workers: usize,
        seed: u64,
        events: Arc<dyn Events>,
        link: impl FnOnce(&Arc<Scheduler>) -> std::io::Result<()>,
    ) -> std::io::Result<(Arc<Scheduler>, Vec<Worker>)> {
        let queues: Vec<_> = (0..workers).map(|_| RunQueue::new()).collect();
        let scheduler = Arc::new(Scheduler {
            injector: Injector::new(),
            high: Injector::new(),
            low: Injector::new(),
            stealers: queues.iter().map(RunQueue::stealer).collect(),
            idle: Idle::new(workers)?,
            stopping: AtomicBool::new(false),
        });
        link(&scheduler)?;
        let workers = queues
            .into_iter()
            .enumerate()
            .map(|(index, queue)| Worker::new(index, queue, scheduler.clone(), events.clone(), seed))
            .collect();
        Ok((scheduler, workers))
    }

    /// Makes a task runnable: next on the calling worker, or on any worker if the caller is not a worker.
    pub fn schedule(&self, task: Arc<dyn Task>) {
        let Some(task) = self.push_special(task) else { return };
        let elsewhere = CURRENT.with_borrow(|current| match current {
            Some(queue) if queue.belongs_to(&self.stealers) => {
                if queue.push_next(task) {
                    self.idle.notify();
                }
                None
            }
            _ => Some(task),
        });
        if let Some(task) = elsewhere {
            self.injector.push(task);
            self.idle.notify();
        }
    }

    /// Queues a task of low or high priority. Returns a task of normal priority.
    fn push_special(&self, task: Arc<dyn Task>) -> Option<Arc<dyn Task>> {
        match task.priority() {
            Priority::Normal => return Some(task),
            Priority::High => self.high.push(task),
            Priority::Low => self.low.push(task),
        }
        self.idle.notify();
        None
    }

    /// Returns the registry of the reactor.
    pub fn registry(&self) -> &mio::Registry {
        self.idle.registry()
    }

    /// Makes sure that a worker checks the timers when the next one is due. To be called after setting a timer on a
    /// thread that may not check them itself.
    pub fn hasten(&self, next: Option<u64>) {
        fence(Ordering::SeqCst);
        self.idle.hasten(next);
    }

    /// Makes every worker return after its current slice.
    pub fn stop(&self) {
        // Release: a worker that sees the flag also sees what the caller did before, such as setting the exit status.
        self.stopping.store(true, Ordering::Release);
        self.idle.wake_all();
    }

    /// Returns whether [`Scheduler::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Drops all queued tasks, which may hold references to the scheduler. To be called when no worker runs any more.
    pub fn clear(&self) {
        for injector in [&self.injector, &self.high, &self.low] {
            while settle(|| injector.steal()).is_some() {}
        }
        for stealer in &self.stealers {
            while settle(|| stealer.steal()).is_some() {}
        }
    }

    /// Returns whether there is work in the shared queues.
    fn has_work(&self) -> bool {
        let injectors = [&self.injector, &self.high, &self.low];
        !injectors.iter().all(|injector| injector.is_empty())
            || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }
}

/// Makes `queue` the one that host functions on this thread push to, until this is dropped.
struct Entered;

impl Entered {
    fn new(queue: &Rc<RunQueue>) -> Entered {
        CURRENT.set(Some(queue.clone()));
        Entered
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.set(None);
    }
}
