//! Workers, their run queues, and what wakes them. Knows tasks, not processes.
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
//! The *next* slot makes a request and its reply run on one worker with warm caches and no system call. A task
//! that is displaced from it, or yields, goes to the queue, and an idle worker is woken if there is one.
//!
//! A task of another than normal priority goes to one of two queues that all workers share, and look into at every turn.
//! One whose file work was done elsewhere goes on there, if it may (`handoff`).
//!
//! # Invariants
//!
//! - A task is in at most one place: a queue, a next slot, or running. The task's own state machine ensures it.
//! - A thread that makes work stealable calls [`Idle::notify`] afterwards, unless it is a worker that takes this work next;
//!   a worker that is about to sleep looks at every queue once more after announcing it. With the fences in `idle.rs` no
//!   work is left without a worker.
//! - No worker blocks except in [`Idle::sleep`]. Tasks that run on other threads ([`Files`]) may find them blocking between
//!   two turns, and not within one.

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
mod timers;
mod wake;
mod worker;

#[cfg(test)]
mod tests;

/// What [`idle`] and [`signal_queue`] are made of, which a model checker replaces by its own.
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
    /// Runs a slice. Called by one thread at a time, which is a worker or [`Files`].
    fn run(&self) -> Step;

    /// How urgent it is; asked whenever it becomes runnable.
    fn priority(&self) -> Priority;
}

/// How urgent a task is. Whoever is less urgent waits longer, but never for ever.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// Runs where there is nothing else to do, and has an eighth of the turns of a worker that is busy with
    /// [`Priority::Normal`].
    Low,
    /// As urgent as most.
    #[default]
    Normal,
    /// Runs before all others, but for an eighth of the turns.
    High,
}

impl Priority {
    /// The one that guests know by this number: the more urgent, the larger.
    pub fn from_number(number: u64) -> Option<Priority> {
        [Priority::Low, Priority::Normal, Priority::High].into_iter().nth(usize::try_from(number).ok()?)
    }
}

/// What a task wants after a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// To run again: its slice is used up.
    Again,
    /// Nothing until it is scheduled again; or it is over.
    Rest,
}

/// What happens outside the scheduler and makes tasks runnable: the passing of time, and descriptors.
pub trait Events: Send + Sync {
    /// Makes everything that is due runnable.
    fn fire(&self);
    /// Makes runnable who waits for these descriptors.
    fn ready(&self, ready: &[ReadinessEvent]);
    /// Whether any descriptor is registered, so that it is worth looking.
    fn has_descriptors(&self) -> bool;
    /// When the next thing is due; `None` when nothing is.
    fn next_deadline(&self) -> Option<u64>;
    /// What the clock reads, in nanoseconds.
    fn now(&self) -> u64;
}

/// What is registered with the reactor.
pub trait Descriptors: Send + Sync {
    /// Wakes what waits for these descriptors.
    fn ready(&self, ready: &[ReadinessEvent]);
    /// How many are registered.
    fn len(&self) -> usize;
    /// Whether none is registered.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What all workers share.
pub struct Scheduler {
    injector: Injector<Arc<dyn Task>>,
    /// What is not of normal priority, for all workers alike: these queues have no owners, so each worker knows of what
    /// is urgent, and nobody has to be stolen from. That they are shared costs more than a queue of one's own; few
    /// processes are special.
    high: Injector<Arc<dyn Task>>,
    low: Injector<Arc<dyn Task>>,
    stealers: Box<[Stealer<Arc<dyn Task>>]>,
    idle: Idle,
    stopping: AtomicBool,
}

thread_local! {
    /// The queue of the worker that this thread drives. Host functions run on a worker's stack from beginning
    /// to end, so it is the right one for as long as they look at it; nothing keeps it across a suspension.
    static CURRENT: RefCell<Option<Rc<RunQueue>>> = const { RefCell::new(None) };
}

/// Whether the thread that calls is a worker of some scheduler, which must not block.
pub fn is_worker() -> bool {
    CURRENT.with_borrow(Option::is_some) || blocking::is_pool_thread()
}

impl Scheduler {
    /// A scheduler and its workers, which are then driven by a thread each (or all by one, in a simulation).
    ///
    /// # Errors
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

    /// Makes a task runnable: next on the worker that calls, or on any when called from elsewhere.
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

    /// Queues a task that is not of normal priority; gives back one that is.
    fn push_special(&self, task: Arc<dyn Task>) -> Option<Arc<dyn Task>> {
        match task.priority() {
            Priority::Normal => return Some(task),
            Priority::High => self.high.push(task),
            Priority::Low => self.low.push(task),
        }
        self.idle.notify();
        None
    }

    /// Where descriptors are registered.
    pub fn registry(&self) -> &mio::Registry {
        self.idle.registry()
    }

    /// Makes sure that somebody looks at timers when the next one is due, which was set on a thread that may not come to
    /// look itself.
    pub fn hasten(&self, next: Option<u64>) {
        fence(Ordering::SeqCst);
        self.idle.hasten(next);
    }

    /// Makes every worker return after the slice it is in.
    pub fn stop(&self) {
        // Release: a worker that sees the flag sees what the stopper did before, such as the exit status.
        self.stopping.store(true, Ordering::Release);
        self.idle.wake_all();
    }

    /// Whether [`Scheduler::stop`] was called.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Drops what is queued: tasks may hold what holds the scheduler. No worker runs any more.
    pub fn clear(&self) {
        for injector in [&self.injector, &self.high, &self.low] {
            while settle(|| injector.steal()).is_some() {}
        }
        for stealer in &self.stealers {
            while settle(|| stealer.steal()).is_some() {}
        }
    }

    /// Whether a worker could find something in the shared places.
    fn has_work(&self) -> bool {
        let injectors = [&self.injector, &self.high, &self.low];
        !injectors.iter().all(|injector| injector.is_empty())
            || self.stealers.iter().any(|stealer| !stealer.is_empty())
    }
}

/// Makes `queue` the one that this thread's host functions push to, until dropped.
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
