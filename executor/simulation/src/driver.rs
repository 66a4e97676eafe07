//! One thread that is the whole machine: its workers, its clock, and what happens when nothing can run.
//!
//! The workers are the real ones, with their queues, their stealing and their looks at the timers. In each round the
//! seed chooses one, which has a turn; then time moves by what the turn took. A worker whose process was interrupted
//! within its slice goes on with it, after others had their turns: so two processes run at once as on two processors.
//!
//! When no worker finds anything, time moves to the next deadline, or to the end of a pause. If there is neither, then
//! nothing will ever happen again: a deadlock. There is no one outside who could send something.

use std::sync::Arc;

use lunatic_core::Node;
use lunatic_core::node::ExitStatus;
use lunatic_scheduler::{Clock, Rng, SimulatedClock};
use lunatic_scheduler::{Driven, Events, Task, Worker};

use super::machine::SimulatedMachine;
use super::outcome::{BlockedProcess, Ended};
use super::profile::up_to;

/// Nanoseconds that a jump is long at most. Programs may rely on a machine that does not stand still for longer.
const MAX_JUMP: u64 = 1_000_000_000;

/// Nanoseconds that a worker pauses at most.
const MAX_PAUSE: u64 = 100_000_000;

/// Nanoseconds by which an idle machine wakes up late at most.
const MAX_LATENESS: u64 = 1_000_000;

/// See the module.
pub(super) struct Driver<'a> {
    node: &'a Node,
    machine: &'a SimulatedMachine,
    clock: &'a SimulatedClock,
    workers: Vec<Virtual>,
    rng: Rng,
    /// When the simulation ends, in nanoseconds.
    max_time: u64,
}

/// A worker that is no thread.
struct Virtual {
    driven: Driven,
    /// The process that it goes on with.
    held: Option<Arc<dyn Task>>,
    /// Until when it stands still.
    paused_until: u64,
}

impl<'a> Driver<'a> {
    pub(super) fn new(
        node: &'a Node,
        machine: &'a SimulatedMachine,
        clock: &'a SimulatedClock,
        workers: Vec<Worker>,
        rng: Rng,
        max_time: u64,
    ) -> Driver<'a> {
        let workers = workers.into_iter().map(Virtual::new).collect();
        Driver { node, machine, clock, workers, rng, max_time }
    }

    /// Runs the node to its end, or to where it does not go on.
    pub(super) fn run(mut self) -> Ended {
        loop {
            if let Some(status) = self.node.status.get() {
                return Ended::Exited(ExitStatus(status));
            }
            if self.machine.jumps() {
                self.jump();
            }
            let now = self.clock.now();
            if now > self.max_time {
                return Ended::OutOfTime;
            }
            // Blocking work gets on beside the workers, also while they are busy.
            let (turned, worked) = (self.turn(now), self.machine.run_jobs());
            if !(turned || worked || self.wait(now)) {
                return Ended::Deadlock(BlockedProcess::all(self.node));
            }
        }
    }

    /// Gives a worker its turn, from one chosen at random the first that has something to do. Whether there is one.
    fn turn(&mut self, now: u64) -> bool {
        let count = self.workers.len();
        let first = self.rng.below(count);
        (first..first + count).any(|index| self.step(index % count, now))
    }

    fn step(&mut self, index: usize, now: u64) -> bool {
        let machine = self.machine;
        let worker = &mut self.workers[index];
        if worker.paused_until > now {
            return false;
        }
        machine.begin_step(index);
        if !worker.driven.step_holding(&mut worker.held, || machine.holds()) {
            worker.driven.give_up();
            return false;
        }
        self.clock.advance_to(now.saturating_add(machine.spent()));
        if machine.pauses() {
            let pause = up_to(&mut self.rng, MAX_PAUSE);
            machine.note(format_args!("worker {index} pauses for {pause}"));
            worker.paused_until = self.clock.now().saturating_add(pause);
        }
        true
    }

    /// Lets time pass though there is work: the machine stood still. Mostly exactly until something is due, which is
    /// where it makes a difference.
    fn jump(&mut self) {
        let now = self.clock.now();
        let next = self.node.next_deadline().filter(|next| (now..now + MAX_JUMP).contains(next));
        let to = match next {
            Some(next) if self.rng.below(4) > 0 => next,
            _ => now.saturating_add(up_to(&mut self.rng, MAX_JUMP)),
        };
        self.machine.note(format_args!("time jumps to {to}"));
        self.clock.advance_to(to);
    }

    /// Lets time pass until something happens that is not over at this moment. Whether anything will. The moment is
    /// that of the round's beginning: the workers' looks at the clock may have brought it past the end of a pause.
    fn wait(&mut self, now: u64) -> bool {
        let pauses = self.workers.iter().map(|worker| worker.paused_until);
        let next = pauses.chain(self.node.next_deadline()).filter(|moment| *moment > now).min();
        let Some(next) = next else { return false };
        // A machine wakes up in time, or a little late.
        let lateness = if self.rng.below(4) == 0 { up_to(&mut self.rng, MAX_LATENESS) } else { 0 };
        self.clock.advance_to(next.saturating_add(lateness));
        true
    }
}

impl Virtual {
    fn new(worker: Worker) -> Virtual {
        Virtual { driven: worker.on_this_thread(), held: None, paused_until: 0 }
    }
}
