//! Where a simulated node asks what to do, and tells what it did.
//!
//! The node knows this and nothing else of a simulation. It asks once a turn, once a spawn and once for each piece of
//! blocking work; who runs when, and what time it is, is the driver's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::clock::{Clock, SimulatedClock};
use crate::entropy::Choices;
use crate::process::{ExitReason, ProcessId, Signal, Signals};
use crate::scheduler::Job;

use super::character::{Character, up_to};
use super::faults::{Faults, Probability};
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
pub(crate) struct Hooks {
    // One thread drives a node; the lock is for the type's sake and never contended.
    state: Mutex<State>,
}

struct State {
    choices: Choices,
    faults: Faults,
    character: Character,
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

/// What is to be done in a turn.
pub(crate) enum Plan {
    /// Run for so many reductions.
    Run { slice: u64 },
    /// End, as if killed.
    Kill,
}

/// How a turn ended.
pub(crate) enum TurnEnd<'a> {
    /// The slice is used up.
    Yielded,
    /// It waits for something.
    Rested,
    /// The process ended.
    Over(&'a ExitReason),
}

impl Hooks {
    pub(super) fn new(
        mut choices: Choices,
        faults: Faults,
        clock: Arc<SimulatedClock>,
        slice: u64,
        trace: Option<Trace>,
    ) -> Hooks {
        let character = Character::draw(&mut choices, &faults, slice);
        let state = State {
            choices,
            faults,
            character,
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
        Hooks { state: Mutex::new(state) }
    }

    // What the node asks and tells.

    /// A process is about to run that has used so many reductions.
    #[cold]
    pub(crate) fn begin_turn(&self, process: ProcessId, is_first: bool, reductions: u64) -> Plan {
        let state = &mut *self.lock();
        if !is_first && state.faults.kill.happens(&mut state.choices) {
            let worker = state.worker;
            state.line(format_args!("fault: worker {worker} process {process} was killed"));
            state.took(0);
            return Plan::Kill;
        }
        state.before = reductions;
        let slice = state.character.slice(&mut state.choices, state.slice);
        state.is_cut = slice < state.slice;
        Plan::Run { slice }
    }

    /// It has run, and has used so many.
    pub(crate) fn end_turn(&self, process: ProcessId, end: TurnEnd<'_>, reductions: u64) {
        let state = &mut *self.lock();
        let (worker, reductions) = (state.worker, reductions - state.before);
        let line = |state: &mut State, end: &dyn std::fmt::Display| {
            state.line(format_args!("worker {worker} process {process} {end} {reductions}"));
        };
        match end {
            TurnEnd::Yielded => {
                // Who used as much as a whole slice, such as by `sched_yield`, has come to its end.
                state.holds = state.is_cut && reductions < state.slice && HELD.happens(&mut state.choices);
                line(state, if state.holds { &"interrupted" } else { &"yielded" });
            }
            TurnEnd::Rested => line(state, &"rested"),
            TurnEnd::Over(reason) => line(state, reason),
        }
        state.took(reductions);
    }

    /// A process looks at what has arrived.
    pub(crate) fn note_signals(&self, process: ProcessId, signals: &Signals<Signal>) {
        let state = &mut *self.lock();
        if state.trace.is_some() {
            for signal in signals.iter() {
                state.line(format_args!("process {process} gets {signal}"));
            }
        }
    }

    /// Whether a spawn fails.
    pub(crate) fn fails_to_spawn(&self) -> bool {
        let state = &mut *self.lock();
        let fails = state.faults.spawn.happens(&mut state.choices);
        if fails {
            state.line(format_args!("fault: a spawn fails"));
        }
        fails
    }

    /// How long blocking work takes, in nanoseconds.
    pub(crate) fn job_delay(&self) -> u64 {
        let state = &mut *self.lock();
        let slow = state.faults.slow.happens(&mut state.choices);
        up_to(&mut state.choices, if slow { SLOW_JOB } else { JOB })
    }

    /// The time of blocking work has come. It is done between turns: no worker does such work.
    pub(crate) fn add_job(&self, job: Job) {
        self.lock().jobs.push(job);
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
        state.character.jump.happens(&mut state.choices)
    }

    /// Whether the worker pauses after its turn.
    pub(super) fn pauses(&self) -> bool {
        let state = &mut *self.lock();
        state.character.pause.happens(&mut state.choices)
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
