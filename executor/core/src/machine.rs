//! A machine that decides what the real one leaves to chance, such as a simulation.
//!
//! On a real machine a turn has the configured slice, spawns succeed and blocking work is done by threads. A node that is
//! [driven](crate::node::Backend::Driven) asks its machine about each of these instead. This trait is all that the core
//! knows about simulation.

use lunatic_scheduler::Job;

use crate::process::{ExitReason, ProcessId, Signal, Signals};

/// See the module.
pub trait Machine: Send + Sync {
    /// A process that has used `reductions` so far is about to have a turn. What to do with it.
    fn begin_turn(&self, process: ProcessId, is_first: bool, reductions: u64) -> Plan;

    /// The turn is over; the process has used `reductions` by now.
    fn end_turn(&self, process: ProcessId, end: TurnEnd<'_>, reductions: u64);

    /// A process is about to handle these signals.
    fn note_signals(&self, process: ProcessId, signals: &Signals<Signal>);

    /// Whether the next spawn fails.
    fn fails_to_spawn(&self) -> bool;

    /// How long the next piece of blocking work takes, in nanoseconds.
    fn job_delay(&self) -> u64;

    /// Blocking work whose time has come. The machine does it between two turns.
    fn add_job(&self, job: Job);
}

/// What a process does in a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plan {
    /// Run for this many reductions.
    Run {
        /// Reductions.
        slice: u64,
    },
    /// End, as if killed.
    Kill,
}

/// How a turn ended.
#[derive(Debug)]
pub enum TurnEnd<'a> {
    /// The slice was used up.
    Yielded,
    /// The process waits for something.
    Rested,
    /// The process ended.
    Over(&'a ExitReason),
}
