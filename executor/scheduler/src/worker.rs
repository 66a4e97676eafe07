//! A worker: takes a task, runs a slice of it, looks after timers and descriptors, and again.
//!
//! `Driven::step` is one turn and never waits, so that a simulation can drive many workers on one thread;
//! [`Worker::run`] is a thread's loop around it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::entropy::Rng;

use super::run_queue::{RunQueue, settle};
use super::{Entered, Events, Scheduler, Step, Task};

/// Turns between two looks at timers while tasks are short; after a whole slice it looks
/// at once. Reading the clock costs about as much as a quick turn.
const TURNS_PER_LOOK: u32 = 16;

/// Turns between two looks at the injector while the worker has work of its own, so that what the pool and the
/// other threads wake is not starved. A prime, so that it does not beat with the programs' own periods.
const TURNS_PER_INJECTOR: u32 = 61;

/// One in so many turns is for who would have none otherwise: a priority is a share, not a right to all.
const SHARE: u32 = 8;

/// See the module. Made anywhere, then moved to the thread that drives it.
pub struct Worker {
    index: usize,
    queue: RunQueue,
    scheduler: Arc<Scheduler>,
    events: Arc<dyn Events>,
    rng: Rng,
}

/// A worker on its thread.
pub struct Driven {
    index: usize,
    queue: Rc<RunQueue>,
    scheduler: Arc<Scheduler>,
    events: Arc<dyn Events>,
    rng: Rng,
    turns: u32,
    searching: bool,
}

impl Worker {
    pub(super) fn new(
        index: usize,
        queue: RunQueue,
        scheduler: Arc<Scheduler>,
        events: Arc<dyn Events>,
        seed: u64,
    ) -> Worker {
        queue.settle_in(&scheduler.stealers);
        Worker { index, queue, scheduler, events, rng: Rng::seeded(seed ^ (index as u64 + 1)) }
    }

    /// Ties the worker to the thread that calls.
    pub fn on_this_thread(self) -> Driven {
        let Worker { index, queue, scheduler, events, rng } = self;
        Driven { index, queue: Rc::new(queue), scheduler, events, rng, turns: 0, searching: false }
    }

    /// Drives the worker until the scheduler stops.
    pub fn run(self) {
        let mut worker = self.on_this_thread();
        let _entered = Entered::new(&worker.queue);
        while !worker.scheduler.is_stopping() {
            // A panic is a bug of ours, and printed. The task that it came from is lost; the worker has others.
            let turn = catch_unwind(AssertUnwindSafe(|| worker.turn(&mut None, || false)));
            if !turn.unwrap_or(true) {
                worker.sleep();
            }
        }
    }
}

impl Driven {
    /// One turn, as one of several workers of this thread. Returns whether there was anything to do.
    #[cfg(test)]
    pub fn step(&mut self) -> bool {
        self.step_holding(&mut None, || false)
    }

    /// One turn, with the task that is held if there is one. One that wants to run again is held instead of queued if
    /// `holds` says so: then it has not come to the end of its slice, the worker was only interrupted.
    pub fn step_holding(&mut self, held: &mut Option<Arc<dyn Task>>, holds: impl FnOnce() -> bool) -> bool {
        let _entered = Entered::new(&self.queue);
        self.turn(held, holds)
    }

    /// As [`Driven::step_holding`], on a thread that is this worker's.
    fn turn(&mut self, held: &mut Option<Arc<dyn Task>>, holds: impl FnOnce() -> bool) -> bool {
        if let Some(task) = held.take() {
            self.run(task, held, holds);
            return true;
        }
        self.turns = self.turns.wrapping_add(1);
        if self.turns.is_multiple_of(TURNS_PER_LOOK) {
            self.look();
        }
        let Some(task) = self.find() else { return false };
        self.found();
        self.run(task, held, holds);
        true
    }

    fn run(&self, task: Arc<dyn Task>, held: &mut Option<Arc<dyn Task>>, holds: impl FnOnce() -> bool) {
        if task.run() == Step::Rest {
            return;
        }
        if holds() {
            *held = Some(task);
            return;
        }
        if let Some(task) = self.scheduler.push_special(task) {
            self.queue.push_back(task);
        }
        self.look();
        // The task that was just put back is this worker's next one if there is no other: stealing it would only
        // move it. A worker is woken for what waits behind it.
        if self.queue.has_several() {
            self.scheduler.idle.notify();
        }
    }

    /// Ends a search, as a worker does that goes to sleep.
    pub fn give_up(&mut self) {
        if std::mem::take(&mut self.searching) {
            self.scheduler.idle.stop_searching();
        }
    }

    /// Makes runnable what time and descriptors have made ready.
    fn look(&self) {
        self.events.fire();
        if self.events.has_descriptors() {
            self.scheduler.idle.look(&*self.events);
        }
    }

    /// The next task. Of every eight turns one is of what is normal first, whatever is urgent; and one is of what is low
    /// before what is normal, which once in eight times is also before what is urgent.
    fn find(&mut self) -> Option<Arc<dyn Task>> {
        let Scheduler { high, low, .. } = &*self.scheduler;
        let (turn, round) = (self.turns % SHARE, self.turns / SHARE % SHARE);
        let low_first = turn == SHARE / 2 && !low.is_empty();
        if low_first
            && round == 0
            && let Some(task) = settle(|| low.steal())
        {
            return Some(task);
        }
        if turn != 0
            && !high.is_empty()
            && let Some(task) = settle(|| high.steal())
        {
            return Some(task);
        }
        if low_first && let Some(task) = settle(|| low.steal()) {
            return Some(task);
        }
        // What is urgent comes last here: if there is any, this turn is not its own.
        self.find_normal().or_else(|| {
            let Scheduler { high, low, .. } = &*self.scheduler;
            settle(|| low.steal()).or_else(|| settle(|| high.steal()))
        })
    }

    fn find_normal(&mut self) -> Option<Arc<dyn Task>> {
        if self.turns.is_multiple_of(TURNS_PER_INJECTOR)
            && let Some(task) = self.queue.pop_injected(&self.scheduler.injector)
        {
            return Some(task);
        }
        if let Some(task) = self.queue.pop() {
            return Some(task);
        }
        // Out of work: what is due comes first, it needs no one else's queue.
        self.events.fire();
        self.queue
            .pop()
            .or_else(|| self.queue.pop_injected(&self.scheduler.injector))
            .or_else(|| self.steal())
    }

    /// Tries every other worker once, from one chosen at random.
    fn steal(&mut self) -> Option<Arc<dyn Task>> {
        if !self.searching {
            self.searching = self.scheduler.idle.start_searching();
        }
        if !self.searching {
            return None;
        }
        let workers = self.scheduler.stealers.len();
        let first = self.rng.below(workers);
        (0..workers)
            .map(|offset| (first + offset) % workers)
            .filter(|victim| *victim != self.index)
            .find_map(|victim| self.queue.steal_from(&self.scheduler.stealers[victim]))
    }

    /// Ends a search that was successful; the last searcher passes the torch on.
    fn found(&mut self) {
        if std::mem::take(&mut self.searching)
            && self.scheduler.idle.stop_searching()
            && self.scheduler.has_work()
        {
            self.scheduler.idle.notify();
        }
    }

    fn sleep(&mut self) {
        self.give_up();
        let scheduler = &self.scheduler;
        self.searching = scheduler.idle.sleep(
            self.index,
            || scheduler.has_work() || scheduler.is_stopping(),
            &*self.events,
        );
    }

    /// Puts a task behind the others.
    #[cfg(test)]
    pub fn push_back_for_test(&self, task: Arc<dyn Task>) {
        self.queue.push_back(task);
    }
}
