//! One thread that is the whole machine: its workers, its clock, and the decision what happens when nothing can run.
//!
//! The workers are the real ones, with their queues, stealing and timers. In each round, the seed selects one of
//! them, which has a turn. Then the time advances by what the turn took. A worker whose process was interrupted
//! within its slice continues with it after others had their turns. So two processes can run at the same time, as on
//! two processors.
//!
//! If no worker finds anything to do, the time advances to the next deadline or to the end of a pause. If there is
//! neither, nothing will ever happen again: a deadlock. No input can come from outside.

use std::sync::Arc;

use lunatic_core::Node;
use lunatic_core::node::ExitStatus;
use lunatic_scheduler::{Clock, Rng, SimulatedClock};
use lunatic_scheduler::{Driven, Events, Task, Worker};

use super::machine::SimulatedMachine;
use super::outcome::{BlockedProcess, Ended};
use super::profile::up_to;

/// The length of a jump in time at most, in nanoseconds. Programs may rely on a machine that does not stand still for
/// longer.
const MAX_JUMP: u64 = 1_000_000_000;

/// The length of a worker's pause at most, in nanoseconds.
const MAX_PAUSE: u64 = 100_000_000;

/// Nanoseconds by which an idle machine wakes up late at most.
const MAX_LATENESS: u64 = 1_000_000;

/// The driver of a simulation. See the module documentation.
pub(super) struct Driver<'a> {
    node: &'a Node,
    machine: &'a SimulatedMachine,
    clock: &'a SimulatedClock,
    workers: Vec<Virtual>,
    rng: Rng,
    /// The time at which the simulation ends, in nanoseconds.
    max_time: u64,
}

/// A worker without a thread.
struct Virtual {
    driven: Driven,
    /// The process that it continues with.
    held: Option<Arc<dyn Task>>,
    /// The end of its pause.
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

    /// Runs the node until it ends or cannot continue.
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
            // Blocking work proceeds beside the workers, also while they are busy.
            let (turned, worked) = (self.turn(now), self.machine.run_jobs());
            if !(turned || worked || self.wait(now)) {
                return Ended::Deadlock(BlockedProcess::all(self.node));
            }
        }
    }

    /// Gives a turn to the first worker that has something to do, from a random one on. Returns whether there is one.
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

    /// Advances the time although there is work: the machine stood still. Mostly the jump ends exactly when something
    /// is due, where it makes a difference.
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

    /// Advances the time to the next event after `now`, the beginning of the round. Returns whether there is one. The
    /// clock may have passed the end of a pause during the round, because reading it advances it.
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
