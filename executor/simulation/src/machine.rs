//! Where a simulated node asks what to do, and tells what it did.
//!
//! The node knows this and nothing else of a simulation. It asks once a turn, once a spawn and once for each piece of
//! blocking work; who runs when, and what time it is, is the driver's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lunatic_core::machine::{Machine, Plan, TurnEnd};
use lunatic_core::process::{ProcessId, Signal, Signals};
use lunatic_scheduler::Job;
use lunatic_scheduler::{Clock, Rng, SimulatedClock};

use super::faults::{Faults, Probability};
use super::profile::{Profile, up_to};
use super::trace::Trace;

/// Nanoseconds that a reduction takes.
const REDUCTION: u64 = 1;

/// Nanoseconds that a turn takes besides.
const TURN: u64 = 100;

/// Nanoseconds that blocking work takes at most, and at most if it is slow.
const JOB: u64 = 10_000_000;
const SLOW_JOB: u64 = 10_000_000_000;

/// How many of the processes whose slice was cut stay on their worker, which goes on with them when it is its turn
/// again. The others are queued, as at the end of a slice.
const HELD: Probability = Probability::ratio(1, 2);

/// See the module.
pub(crate) struct SimulatedMachine {
    // One thread drives a node; the lock is for the type's sake and never contended.
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
    /// Whose turn it is.
    worker: usize,
    /// Nanoseconds that its turn has taken so far.
    spent: u64,
    turns: u64,
    /// The reductions that the process of this turn had used before.
    before: u64,
    /// Whether the slice of the last turn was cut.
    is_cut: bool,
    /// Whether the worker goes on with the process that has just yielded.
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

    // What the driver asks and tells.

    /// A worker has its turn.
    pub(super) fn begin_step(&self, worker: usize) {
        let state = &mut *self.lock();
        (state.worker, state.spent, state.holds) = (worker, 0, false);
    }

    /// Whether the worker goes on with the process that has just yielded.
    pub(super) fn holds(&self) -> bool {
        self.lock().holds
    }

    /// Nanoseconds that the turn took.
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

    /// Whether time jumps before the next turn.
    pub(super) fn jumps(&self) -> bool {
        let state = &mut *self.lock();
        state.profile.jump.happens(&mut state.rng)
    }

    /// Whether the worker pauses after its turn.
    pub(super) fn pauses(&self) -> bool {
        let state = &mut *self.lock();
        state.profile.pause.happens(&mut state.rng)
    }

    /// Adds a line to the trace, between turns.
    pub(super) fn note(&self, what: std::fmt::Arguments<'_>) {
        let state = &mut *self.lock();
        // The clock shows the end of the last one.
        state.spent = 0;
        state.line(what);
    }

    /// Turns so far.
    pub(super) fn turns(&self) -> u64 {
        self.lock().turns
    }

    /// Writes what is left of the trace.
    pub(super) fn finish_trace(&self) -> std::io::Result<()> {
        let trace = self.lock().trace.take();
        trace.map_or(Ok(()), Trace::finish)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Numbers, and two vectors that are changed a piece at a time.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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
                // Who used as much as a whole slice, such as by `sched_yield`, has come to its end.
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
    /// A turn is over.
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
