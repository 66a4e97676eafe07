//! Why processes end.

use std::fmt;

use lunatic_jit::{Trap, TrapKind};

use super::id::ProcessId;

/// Why a process ended, with all details. This stays with the process and its report.
#[derive(Debug)]
pub enum ExitReason {
    /// Its function returned, or it called `proc_exit(0)`.
    Normal,
    /// It called `proc_exit` with another status.
    Exit(u32),
    /// It trapped.
    Trap(Box<Trap>),
    /// It ended itself with a reason other than 0, or did not trap an exit signal with such a reason.
    Reason(i64),
    /// It was killed.
    Killed,
    /// The node was asked to stop, with this exit status.
    Stopped(i32),
    /// A linked process ended abnormally.
    LinkDied {
        /// The linked process.
        peer: ProcessId,
        /// Why the first process in the chain of links ended.
        cause: Cause,
    },
    /// A turn panicked. That is a bug of the runtime, but only this process ends.
    Bug,
    /// It exceeded a limit.
    LimitExceeded(Limit),
}

/// The limit that was exceeded.
#[derive(Clone, Debug)]
pub enum Limit {
    /// Linear memory or tables, before the first instruction ran. Later, `memory.grow` fails instead.
    Memory(String),
    /// Bytes of waiting messages.
    Mailbox(u64),
    /// Reductions.
    Compute(u64),
    /// The number of waiting messages.
    Messages(u64),
    /// Waiting messages, if the memory of all processes has a limit.
    Total,
}

/// How a process ended, as other processes learn it: small, and without details about the inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// Because of something that happened to it alone.
    Own(Cause),
    /// A linked process ended abnormally.
    LinkDied {
        /// The linked process.
        peer: ProcessId,
        /// Why the first process in the chain of links ended.
        cause: Cause,
    },
}

// It is part of two signals. Nothing is allocated for it, however long a chain of links is.
const _: () = assert!(size_of::<Termination>() <= 24);

/// How a process ended that did not end because of a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Normally.
    Normal,
    /// By `proc_exit` with a status other than 0.
    Exit(u32),
    /// By a trap with this [number](trap_number).
    Trap(u32),
    /// By a kill.
    Killed,
    /// By exceeding the limit with this number.
    LimitExceeded(u32),
    /// There was no such process, or not any more.
    NoProcess,
    /// With a reason whose meaning the processes know.
    Reason(i64),
    /// The node was asked to stop.
    Stopped,
    /// By a bug of the runtime.
    Bug,
}

impl Termination {
    /// Returns the first cause, which is passed on to processes that end because of this end.
    pub fn cause(self) -> Cause {
        match self {
            Termination::Own(cause) | Termination::LinkDied { cause, .. } => cause,
        }
    }

    /// Returns the kind and the number for guests: those of the cause, or 4, which is no kind of a cause.
    pub fn to_guest(self) -> (u32, u64) {
        match self {
            Termination::Own(cause) => cause.to_guest(),
            Termination::LinkDied { peer, .. } => (4, peer.to_guest()),
        }
    }
}

impl Cause {
    /// Returns the kind and the number for guests. Append only; 4 is the end by a link.
    pub fn to_guest(self) -> (u32, u64) {
        match self {
            Cause::Normal => (0, 0),
            Cause::Exit(status) => (1, status.into()),
            Cause::Trap(number) => (2, number.into()),
            Cause::Killed => (3, 0),
            Cause::LimitExceeded(number) => (5, number.into()),
            Cause::NoProcess => (6, 0),
            Cause::Reason(reason) => (7, reason as u64),
            Cause::Stopped => (8, 0),
            Cause::Bug => (9, 0),
        }
    }
}

/// A few words. Reports have the details.
impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Normal => f.write_str("a normal end"),
            Cause::Exit(status) => write!(f, "the status {status}"),
            Cause::Trap(_) => f.write_str("a trap"),
            Cause::Killed => f.write_str("a kill"),
            Cause::LimitExceeded(_) => f.write_str("a limit"),
            Cause::NoProcess => f.write_str("a link to no process"),
            Cause::Reason(reason) => write!(f, "the reason {reason}"),
            Cause::Stopped => f.write_str("a request to stop"),
            Cause::Bug => f.write_str("a bug in the runtime"),
        }
    }
}

/// Returns the number of a trap for guests. Append only.
fn trap_number(kind: &TrapKind) -> u32 {
    match kind {
        TrapKind::Unreachable => 0,
        TrapKind::MemoryOutOfBounds => 1,
        TrapKind::TableOutOfBounds => 2,
        TrapKind::UndefinedElement => 3,
        TrapKind::UninitializedElement => 4,
        TrapKind::IndirectCallTypeMismatch => 5,
        TrapKind::IntegerDivisionByZero => 6,
        TrapKind::IntegerOverflow => 7,
        TrapKind::InvalidConversionToInteger => 8,
        TrapKind::StackOverflow => 9,
        TrapKind::Host(_) => 10,
    }
}

impl ExitReason {
    /// Returns what other processes learn.
    pub fn termination(&self) -> Termination {
        let cause = match self {
            ExitReason::LinkDied { peer, cause } => {
                return Termination::LinkDied { peer: *peer, cause: *cause };
            }
            ExitReason::Normal => Cause::Normal,
            ExitReason::Exit(status) => Cause::Exit(*status),
            ExitReason::Trap(trap) => Cause::Trap(trap_number(&trap.kind)),
            ExitReason::Reason(reason) => Cause::Reason(*reason),
            ExitReason::Killed => Cause::Killed,
            ExitReason::Stopped(_) => Cause::Stopped,
            ExitReason::Bug => Cause::Bug,
            ExitReason::LimitExceeded(limit) => Cause::LimitExceeded(limit.number()),
        };
        Termination::Own(cause)
    }

    /// Returns the exit status of the command, if this was the first process.
    pub fn status(&self) -> i32 {
        match self {
            ExitReason::Normal => 0,
            ExitReason::Exit(status) => *status as i32,
            ExitReason::Killed => STATUS_KILLED,
            ExitReason::Stopped(status) => *status,
            _ => STATUS_ABNORMAL,
        }
    }

    /// Returns whether a report is written. Kills and exit signals are no surprise to the processes that sent them.
    pub fn is_reported(&self) -> bool {
        matches!(self, ExitReason::Trap(_) | ExitReason::LimitExceeded(_) | ExitReason::Bug)
    }
}

/// The status that a shell reports for an aborted process.
const STATUS_ABNORMAL: i32 = 134;

/// The status that a shell reports for a killed process.
const STATUS_KILLED: i32 = 137;

impl fmt::Display for ExitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ExitReason::Normal => f.write_str("ended normally"),
            ExitReason::Exit(status) => write!(f, "exited with status {status}"),
            ExitReason::Trap(trap) => write!(f, "trapped: {trap}"),
            ExitReason::Reason(reason) => write!(f, "ended with the reason {reason}"),
            ExitReason::Killed => f.write_str("was killed"),
            ExitReason::Stopped(_) => f.write_str("was asked to stop"),
            ExitReason::LinkDied { peer, cause } => {
                write!(f, "ended because the linked process {peer} did (first cause: {cause})")
            }
            ExitReason::Bug => f.write_str("was ended by a bug in the runtime; the message above says where"),
            ExitReason::LimitExceeded(limit) => write!(f, "exceeded its limit: {limit}"),
        }
    }
}

impl Limit {
    /// Returns the number of the limit for guests. Append only.
    fn number(&self) -> u32 {
        match self {
            Limit::Memory(_) => 0,
            Limit::Mailbox(_) => 1,
            Limit::Compute(_) => 2,
            Limit::Messages(_) => 3,
            Limit::Total => 4,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Memory(what) => f.write_str(what),
            Limit::Mailbox(bytes) => write!(f, "more than {bytes} bytes of messages wait in its mailbox"),
            Limit::Messages(messages) => write!(f, "more than {messages} messages wait in its mailbox"),
            Limit::Total => {
                f.write_str("messages that wait for it exceed what is left of the memory of all processes")
            }
            Limit::Compute(reductions) => write!(f, "{reductions} reductions are used up"),
        }
    }
}
