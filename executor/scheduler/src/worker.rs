//! A worker: takes a task, runs a slice of it, handles timers and descriptors, and repeats.
//!
//! `Driven::step` is one turn and never blocks, so that a simulation can drive many workers on one thread.
//! [`Worker::run`] is the loop of a thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use crate::entropy::Rng;

use super::run_queue::{RunQueue, settle};
use super::{Entered, Events, Scheduler, Step, Task};

/// Turns between two checks of the timers while tasks are short. After a whole slice, the timers are checked at once.
/// Reading the clock costs about as much as a quick turn.
const TURNS_PER_LOOK: u32 = 16;

/// Turns between two checks of the injector while the worker has work of its own, so that tasks woken by other
/// threads are not starved. A prime, so that it does not resonate with the periods of programs.
const TURNS_PER_INJECTOR: u32 = 61;

/// One turn in this many is for tasks that would otherwise not run: a priority is a share.
const SHARE: u32 = 8;

/// A worker. See the module documentation. It may be moved to the thread that drives it.
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

    /// Binds the worker to the calling thread.
    pub fn on_this_thread(self) -> Driven {
        let Worker { index, queue, scheduler, events, rng } = self;
        Driven { index, queue: Rc::new(queue), scheduler, events, rng, turns: 0, searching: false }
    }

    /// Drives the worker until the scheduler stops.
    pub fn run(self) {
        let mut worker = self.on_this_thread();
        let _entered = Entered::new(&worker.queue);
        while !worker.scheduler.is_stopping() {
            // A panic is a bug of the runtime, and the panic hook has printed it. Its task is lost; the worker
            // continues with others.
            let turn = catch_unwind(AssertUnwindSafe(|| worker.turn(&mut None, || false)));
            if !turn.unwrap_or(true) {
                worker.sleep();
            }
        }
    }
}

impl Driven {
    /// Runs one turn, as one of several workers of this thread. Returns whether there was anything to do.
    #[cfg(test)]
    pub fn step(&mut self) -> bool {
        self.step_holding(&mut None, || false)
    }

    /// Runs one turn, with the held task if there is one. A task that wants to run again is held instead of queued if
    /// `holds` returns true: its slice is not over, and only the worker was interrupted.
    pub fn step_holding(&mut self, held: &mut Option<Arc<dyn Task>>, holds: impl FnOnce() -> bool) -> bool {
        let _entered = Entered::new(&self.queue);
        self.turn(held, holds)
    }

    /// Runs a turn like [`Driven::step_holding`], on a thread that drives only this worker.
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
        // The task that was just put back is the next one of this worker, if there is no other; stealing it would
        // only move it. Another worker is woken only for tasks behind it.
        if self.queue.has_several() {
            self.scheduler.idle.notify();
        }
    }

    /// Ends a search, as a worker that goes to sleep does.
    pub fn give_up(&mut self) {
        if std::mem::take(&mut self.searching) {
            self.scheduler.idle.stop_searching();
        }
    }

    /// Makes tasks runnable whose timers or descriptors are ready.
    fn look(&self) {
        self.events.fire();
        if self.events.has_descriptors() {
            self.scheduler.idle.look(&*self.events);
        }
    }

    /// Takes the next task. Of every eight turns, one takes a normal task first, whatever is urgent, and one takes a
    /// low task before normal ones; every eighth of the latter also takes it before urgent ones.
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
        // Urgent tasks come last here: this turn is reserved for others.
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
        // There is no work. Timers and descriptors come before stealing, because they need no other worker's queue.
        self.events.fire();
        self.queue
            .pop()
            .or_else(|| self.queue.pop_injected(&self.scheduler.injector))
            .or_else(|| self.steal())
    }

    /// Tries to steal from every other worker once, from a random one on.
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

    /// Ends a successful search. The last searcher wakes the next one.
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
