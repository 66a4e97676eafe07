//! What a suspended process waits for.
//!
//! A host function that cannot answer at once leaves a [`Wait`] in the process and suspends. Its number grows
//! with each wait of a process; timers and jobs carry the number of the wait they belong to, so what arrives
//! for an earlier one is recognised and dropped.

use std::fmt;

use lunatic_jit::{HostCall, RawValue};

use crate::fault::Fault;
use lunatic_scheduler::TimerId;

use super::data::ProcessData;
use super::mailbox::Pattern;

/// Computes the result of a suspended host call, on a worker, with the guest's memory at hand. It may leave
/// another wait and suspend again.
pub type Finish = Box<dyn FnOnce(&mut [u8], &mut ProcessData) -> Result<HostCall<RawValue>, Fault> + Send>;

/// See the module.
pub(super) struct Wait {
    pub number: u64,
    pub reason: Reason,
    /// When waiting ends by itself.
    pub deadline: Option<u64>,
    /// The timer for the deadline; set when the process really goes to rest, which most waits never do.
    pub timer: Option<TimerId>,
    /// The deadline has passed.
    pub is_due: bool,
}

/// For what.
pub enum Reason {
    /// A message. Past the deadline the result is the ABI's "timed out".
    Message {
        /// Which.
        pattern: Pattern,
        /// Messages that arrived before [`SkipUntilHere`](super::signal::Signal::SkipUntilHere) do not count.
        skipping: bool,
    },
    /// The deadline, then this.
    Time(Finish),
    /// Someone who will send [`Completed`](super::signal::Signal::Completed).
    Completion,
    /// Someone who will send [`Ready`](super::signal::Signal::Ready), or the deadline: then this, which looks for itself
    /// what there is.
    Readiness(Finish),
    /// Nothing more: this is the result.
    Over(Finish),
    /// Its next turn: it has done enough in this one.
    NextTurn(Finish),
}

/// What a process that rests waits for, as whoever asks is told: a person, a guest, a simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A message.
    Message,
    /// A moment.
    Time,
    /// Something outside of the processes: a file, a socket, input, a compilation, another's answer about itself.
    Outside,
}

impl Wait {
    /// What is waited for may be there.
    pub(super) fn become_ready(&mut self) {
        self.reason = match std::mem::replace(&mut self.reason, Reason::Completion) {
            Reason::Readiness(again) => Reason::Over(again),
            // Told twice.
            other => other,
        };
    }
}

impl Reason {
    /// What that is; `None` if nothing is missing any more.
    pub(super) fn waits_for(&self) -> Option<WaitsFor> {
        match self {
            Reason::Message { .. } => Some(WaitsFor::Message),
            Reason::Time(_) => Some(WaitsFor::Time),
            Reason::Completion | Reason::Readiness(_) => Some(WaitsFor::Outside),
            Reason::Over(_) | Reason::NextTurn(_) => None,
        }
    }

    /// The tags of the messages that would do; none if any would, or no message is waited for.
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
