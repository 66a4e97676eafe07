//! Why processes end.

use std::fmt;

use lunatic_jit::Trap;

use super::id::ProcessId;

/// Why a process ended, with all there is to say about it; stays with the process that reports it.
#[derive(Debug)]
pub(crate) enum ExitReason {
    /// Its function returned, or it called `proc_exit(0)`.
    Normal,
    /// It called `proc_exit` with another status.
    Exit(u32),
    /// It trapped.
    Trap(Box<Trap>),
    /// Someone killed it.
    Killed,
    /// The node was asked to stop; the status to stop with.
    Stopped(i32),
    /// A process that it was linked to ended abnormally.
    LinkDied(ProcessId),
    /// A turn of it panicked: our bug, but only this process ends.
    Bug,
    /// It used more than it may.
    LimitExceeded(Limit),
}

/// What there was too much of.
#[derive(Clone, Debug)]
pub(crate) enum Limit {
    /// Linear memory or tables, before the first instruction ran; later, `memory.grow` fails instead.
    Memory(String),
    /// Messages waiting in the mailbox, in bytes.
    Mailbox(u64),
    /// Reductions.
    Compute(u64),
}

/// What the others are told about it: small, and says nothing about the inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// As it was meant to.
    Normal,
    /// By a trap, an exit status, a kill, a link or a limit.
    Abnormal,
    /// There was no such process (any more).
    NoProcess,
}

impl ExitReason {
    /// What the others are told.
    pub(crate) fn ending(&self) -> Ending {
        match self {
            ExitReason::Normal => Ending::Normal,
            _ => Ending::Abnormal,
        }
    }

    /// The status of the command when this was the first process.
    pub(crate) fn status(&self) -> i32 {
        match self {
            ExitReason::Normal => 0,
            ExitReason::Exit(status) => *status as i32,
            ExitReason::Killed => STATUS_KILLED,
            ExitReason::Stopped(status) => *status,
            _ => STATUS_ABNORMAL,
        }
    }

    /// Whether a person should hear of it: what others do to a process is no surprise to them.
    pub(crate) fn is_reported(&self) -> bool {
        matches!(self, ExitReason::Trap(_) | ExitReason::LimitExceeded(_) | ExitReason::Bug)
    }
}

/// As a shell reports a process that was aborted.
const STATUS_ABNORMAL: i32 = 134;

/// As a shell reports a process that was killed.
const STATUS_KILLED: i32 = 137;

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("ended normally"),
            ExitReason::Exit(status) => write!(f, "exited with status {status}"),
            ExitReason::Trap(trap) => write!(f, "trapped: {trap}"),
            ExitReason::Killed => f.write_str("was killed"),
            ExitReason::Stopped(_) => f.write_str("was asked to stop"),
            ExitReason::LinkDied(peer) => write!(f, "ended because the linked process {peer} did"),
            ExitReason::Bug => f.write_str("was ended by a bug in the runtime; the message above says where"),
            ExitReason::LimitExceeded(limit) => write!(f, "exceeded its limit: {limit}"),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Memory(what) => f.write_str(what),
            Limit::Mailbox(bytes) => write!(f, "more than {bytes} bytes of messages wait in its mailbox"),
            Limit::Compute(reductions) => write!(f, "{reductions} reductions are used up"),
        }
    }
}
