//! What a suspended process waits for.
//!
//! A host function that cannot answer at once leaves a [`Wait`] in the process and suspends. The number of the wait
//! grows with each wait of a process. Timers and jobs carry the number of their wait, so the results of earlier waits
//! are recognised and dropped.

use std::fmt;

use lunatic_jit::{HostCall, RawValue};

use crate::fault::Fault;
use lunatic_scheduler::TimerId;

use super::data::ProcessData;
use super::mailbox::Pattern;

/// Computes the result of a suspended host call, on a worker, with access to the guest's memory. It may start another
/// wait and suspend again.
pub type Finish = Box<dyn FnOnce(&mut [u8], &mut ProcessData) -> Result<HostCall<RawValue>, Fault> + Send>;

/// A wait. See the module documentation.
pub(super) struct Wait {
    pub number: u64,
    pub reason: Reason,
    /// The time at which the wait ends by itself.
    pub deadline: Option<u64>,
    /// The timer for the deadline. It is set when the process goes to rest, which most waits never do.
    pub timer: Option<TimerId>,
    /// Whether the deadline has passed.
    pub is_due: bool,
}

/// What a wait waits for.
pub enum Reason {
    /// A message. After the deadline, the result is the ABI's "timed out".
    Message {
        /// The messages that match.
        pattern: Pattern,
        /// Messages that arrived before [`SkipUntilHere`](super::signal::Signal::SkipUntilHere) do not match.
        skipping: bool,
    },
    /// The deadline. Then this computes the result.
    Time(Finish),
    /// A [`Completed`](super::signal::Signal::Completed) signal.
    Completion,
    /// A [`Ready`](super::signal::Signal::Ready) signal or the deadline. Then this tries again.
    Readiness(Finish),
    /// Nothing: this computes the result.
    Over(Finish),
    /// The next turn: the process has done enough in this one.
    NextTurn(Finish),
}

/// What a process waits for, as reports and guests see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A message.
    Message,
    /// A point in time.
    Time,
    /// Something outside of the processes: a file, a socket, input, a compilation, or information about another
    /// process.
    Outside,
}

impl Wait {
    /// Notes that what the process waits for may be there.
    pub(super) fn become_ready(&mut self) {
        self.reason = match std::mem::replace(&mut self.reason, Reason::Completion) {
            Reason::Readiness(again) => Reason::Over(again),
            // It was notified twice.
            other => other,
        };
    }
}

impl Reason {
    /// Returns what the process waits for; `None` if it is runnable.
    pub(super) fn waits_for(&self) -> Option<WaitsFor> {
        match self {
            Reason::Message { .. } => Some(WaitsFor::Message),
            Reason::Time(_) => Some(WaitsFor::Time),
            Reason::Completion | Reason::Readiness(_) => Some(WaitsFor::Outside),
            Reason::Over(_) | Reason::NextTurn(_) => None,
        }
    }

    /// Returns the tags of the messages that match; an empty slice if any tag matches, or the process does not wait
    /// for a message.
    pub(super) fn tags(&self) -> &[i64] {
        match self {
            Reason::Message { pattern, .. } => pattern.tags(),
            _ => &[],
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            WaitsFor::Message => "a message",
            WaitsFor::Time => "a time",
            WaitsFor::Outside => "the outside",
        })
    }
}
