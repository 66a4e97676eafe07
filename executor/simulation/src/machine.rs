//! The machine of a simulated node: answers what the node asks, and records what the node reports.
//!
//! The node knows nothing else about a simulation. It asks once for each turn, each spawn and each piece of blocking
//! work. The driver decides which worker runs, and what time it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

use lunatic_core::machine::{Machine, Plan, TurnEnd};
use lunatic_core::process::{ProcessId, Signal, Signals};
use lunatic_scheduler::Job;
use lunatic_scheduler::{Clock, Rng, SimulatedClock};

use super::faults::{Faults, Probability};
use super::profile::{Profile, up_to};
use super::trace::Trace;

/// Nanoseconds of a reduction.
const REDUCTION: u64 = 1;

/// Nanoseconds of a turn besides its reductions.
const TURN: u64 = 100;

/// Nanoseconds of blocking work at most, normally and if it is slow.
const JOB: u64 = 10_000_000;
const SLOW_JOB: u64 = 10_000_000_000;

/// The share of processes whose slice was cut that stay on their worker, which continues with them in its next turn.
/// The others are queued, as at the end of a slice.
const HELD: Probability = Probability::ratio(1, 2);

/// The machine of a simulation. See the module documentation.
pub(crate) struct SimulatedMachine {
    // One thread drives a node, so the lock is never contended. The type needs it to be shared.
    state: Mutex<State>,
}

struct State {
    rng: Rng,
    faults: Faults,
    profile: Profile,
    clock: Arc<SimulatedClock>,
    /// Reductions of a whole slice.
    slice: u64,
    trace: Option<Trace>,
    /// The worker that has its turn.
    worker: usize,
    /// Nanoseconds of the turn so far.
    spent: u64,
    turns: u64,
    /// Reductions that the process had used before the turn.
    before: u64,
    /// Whether the slice of the last turn was cut.
    is_cut: bool,
    /// Whether the worker continues with the process that has just yielded.
    holds: bool,
    /// Blocking work whose time has come.
    jobs: Vec<Job>,
}

impl SimulatedMachine {
    pub(super) fn new(
        mut rng: Rng,
        faults: Faults,
        clock: Arc<SimulatedClock>,
        slice: u64,
        trace: Option<Trace>,
    ) -> SimulatedMachine {
        let profile = Profile::draw(&mut rng, &faults, slice);
        let state = State {
            rng,
            faults,
            profile,
            clock,
            slice,
            trace,
            worker: 0,
            spent: 0,
            turns: 0,
            before: 0,
            is_cut: false,
            holds: false,
            jobs: Vec::new(),
        };
        SimulatedMachine { state: Mutex::new(state) }
    }

    // What the driver asks and reports.

    /// Begins the turn of a worker.
    pub(super) fn begin_step(&self, worker: usize) {
        let state = &mut *self.lock();
        (state.worker, state.spent, state.holds) = (worker, 0, false);
    }

    /// Returns whether the worker continues with the process that has just yielded.
    pub(super) fn holds(&self) -> bool {
        self.lock().holds
    }

    /// Returns the nanoseconds of the turn.
    pub(super) fn spent(&self) -> u64 {
        self.lock().spent
    }

    /// Does the blocking work whose time has come. Returns whether there was any.
    pub(super) fn run_jobs(&self) -> bool {
        let jobs = std::mem::take(&mut self.lock().jobs);
        let any = !jobs.is_empty();
        for job in jobs {
            self.note(format_args!("blocking work is done"));
            // As on a thread of the pool: work that panics completes nothing, and its process waits.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
        any
    }

    /// Returns whether the time jumps before the next turn.
    pub(super) fn jumps(&self) -> bool {
        let state = &mut *self.lock();
        state.profile.jump.happens(&mut state.rng)
    }

    /// Returns whether the worker pauses after its turn.
    pub(super) fn pauses(&self) -> bool {
        let state = &mut *self.lock();
        state.profile.pause.happens(&mut state.rng)
    }

    /// Adds a line to the trace, between two turns.
    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        let state = &mut *self.lock();
        // The clock has advanced by the last turn already.
        state.spent = 0;
        state.line(what);
    }

    /// Returns the number of turns so far.
    pub(super) fn turns(&self) -> u64 {
        self.lock().turns
    }

    /// Writes the rest of the trace.
    pub(super) fn finish_trace(&self) -> std::io::Result<()> {
        let trace = self.lock().trace.take();
        trace.map_or(Ok(()), Trace::finish)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state consists of numbers and two vectors that grow by whole elements, so a panic leaves it valid.
        self.state.lock()
    }
}

impl Machine for SimulatedMachine {
    #[cold]
    fn begin_turn(&self, process: ProcessId, is_first: bool, reductions: u64) -> Plan {
        let state = &mut *self.lock();
        if !is_first && state.faults.kill.happens(&mut state.rng) {
            let worker = state.worker;
            state.line(format_args!("fault: worker {worker} process {process} was killed"));
            state.took(0);
            return Plan::Kill;
        }
        state.before = reductions;
        let slice = state.profile.slice(&mut state.rng, state.slice);
        state.is_cut = slice < state.slice;
        Plan::Run { slice }
    }

    fn end_turn(&self, process: ProcessId, end: TurnEnd<'_>, reductions: u64) {
        let state = &mut *self.lock();
        let (worker, reductions) = (state.worker, reductions - state.before);
        let line = |state: &mut State, end: &dyn std::fmt::Display| {
            state.line(format_args!("worker {worker} process {process} {end} {reductions}"));
        };
        match end {
            TurnEnd::Yielded => {
                // A process that used a whole slice, for example by `sched_yield`, goes to the end of the queue.
                state.holds = state.is_cut && reductions < state.slice && HELD.happens(&mut state.rng);
                line(state, if state.holds { &"interrupted" } else { &"yielded" });
            }
            TurnEnd::Rested => line(state, &"rested"),
            TurnEnd::Over(reason) => line(state, reason),
        }
        state.took(reductions);
    }

    fn note_signals(&self, process: ProcessId, signals: &Signals<Signal>) {
        let state = &mut *self.lock();
        if state.trace.is_some() {
            for signal in signals.iter() {
                state.line(format_args!("process {process} gets {signal}"));
            }
        }
    }

    fn fails_to_spawn(&self) -> bool {
        let state = &mut *self.lock();
        let fails = state.faults.spawn.happens(&mut state.rng);
        if fails {
            state.line(format_args!("fault: a spawn fails"));
        }
        fails
    }

    fn job_delay(&self) -> u64 {
        let state = &mut *self.lock();
        let slow = state.faults.slow.happens(&mut state.rng);
        up_to(&mut state.rng, if slow { SLOW_JOB } else { JOB })
    }

    fn add_job(&self, job: Job) {
        self.lock().jobs.push(job);
    }
}

impl State {
    /// Ends a turn.
    fn took(&mut self, reductions: u64) {
        self.turns += 1;
        self.spent = self.spent.saturating_add(reductions * REDUCTION).saturating_add(TURN);
    }

    fn line(&mut self, what: std::fmt::Arguments<'_>) {
        if let Some(trace) = &mut self.trace {
            trace.line(self.clock.now() + self.spent, what);
        }
    }
}
