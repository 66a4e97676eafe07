//! What a suspended process waits for.
//!
//! A host function that cannot answer at once leaves a [`Wait`] in the process and suspends. Its number grows
//! with each wait of a process; timers and jobs carry the number of the wait they belong to, so what arrives
//! for an earlier one is recognised and dropped.

use std::fmt;

use lunatic_jit::{HostCall, RawValue};

use crate::error::Fault;
use crate::scheduler::TimerId;

use super::data::ProcessData;
use super::mailbox::Pattern;

/// Computes the result of a suspended host call, on a worker, with the guest's memory at hand. It may leave
/// another wait and suspend again.
pub(crate) type Finish =
    Box<dyn FnOnce(&mut [u8], &mut ProcessData) -> Result<HostCall<RawValue>, Fault> + Send>;

/// See the module.
pub(crate) struct Wait {
    pub(crate) number: u64,
    pub(crate) reason: Reason,
    /// When waiting ends by itself.
    pub(crate) deadline: Option<u64>,
    /// The timer for the deadline; set when the process really goes to rest, which most waits never do.
    pub(crate) timer: Option<TimerId>,
    /// The deadline has passed.
    pub(crate) is_due: bool,
}

/// For what.
pub(crate) enum Reason {
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
    /// Nothing more: this is the result.
    Over(Finish),
}

/// What a process waits for, as a person is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitsFor {
    /// A message.
    Message {
        /// With one of these tags; with any if there are none.
        tags: Vec<i64>,
    },
    /// A moment.
    Time,
    /// The result of a host call.
    HostCall,
}

impl From<&Reason> for WaitsFor {
    fn from(reason: &Reason) -> WaitsFor {
        match reason {
            Reason::Message { pattern, .. } => WaitsFor::Message { tags: pattern.tags().to_vec() },
            Reason::Time(_) => WaitsFor::Time,
            Reason::Completion | Reason::Over(_) => WaitsFor::HostCall,
        }
    }
}

impl fmt::Display for WaitsFor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            WaitsFor::Message { tags } => match &tags[..] {
                [] => f.write_str("a message"),
                [tag] => write!(f, "a message with the tag {tag}"),
                [tag, ..] => write!(f, "a message with one of {} tags, such as {tag}", tags.len()),
            },
            WaitsFor::Time => f.write_str("time to pass"),
            WaitsFor::HostCall => f.write_str("the result of a host call"),
        }
    }
}
