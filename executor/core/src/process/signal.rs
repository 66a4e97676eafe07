//! Everything that reaches a process from outside, in one queue: that is what orders messages, exits and kills.
//!
//! The sender only appends; what a signal means is decided by its receiver when it handles it. A death that
//! arrives after its link was undone means nothing, and an unlink never races with it.

use std::fmt;

use super::exit::{Cause, Limit, Termination};
use super::id::ProcessId;
use super::info::Info;
use super::message::{Envelope, Message};
use super::wait::Finish;
use lunatic_scheduler::Queued;

/// A signal with its place in a queue: what is pushed. A message is in one from its sender's first byte to its
/// receiver's last, so it is allocated once and never copied.
pub type SignalNode = Box<Queued<Signal>>;

/// See the module.
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Signal {
    /// For the mailbox.
    Message(Message),
    /// For the mailbox, if the alias is still one of the receiver's.
    MessageByAlias { alias: u64, envelope: Envelope },
    /// Someone wants to know about the receiver; told `None` when it is gone.
    Inspect(Box<dyn FnOnce(Option<Info>) + Send>),
    /// End, whatever you do.
    Kill,
    /// End, unless you see to it yourself that you do: the node is asked to stop, and this is its first process.
    Stop { status: i32 },
    /// The sender linked itself to the receiver.
    Link { from: ProcessId, tag: i64 },
    /// The sender undid the link, by an undoing of this number.
    Unlink { from: ProcessId, number: u64 },
    /// The sender knows of the receiver's undoing.
    UnlinkAcknowledged { from: ProcessId, number: u64 },
    /// A linked process ended.
    LinkDied { from: ProcessId, termination: Termination },
    /// The sender wants to know when the receiver ends.
    Monitor { from: ProcessId, reference: u64 },
    /// The sender no longer wants to, for one reference or (`None`) for all.
    StopMonitoring { from: ProcessId, reference: Option<u64> },
    /// A monitored process ended.
    ProcessDied { from: ProcessId, reference: u64, termination: Termination },
    /// The sender wants the receiver to end with a reason, or at least to know of it.
    Exit { from: ProcessId, reason: i64 },
    /// What the process waited for, if it still waits for the same, has a result.
    Completed { wait: u64, finish: Finish },
    /// What the process waits for may be there now, if it still waits for the same: it is to try again.
    Ready { wait: u64 },
    /// The time of a wait is up, if it is still the same wait.
    Due { wait: u64 },
    /// To itself: what arrived before this is older than the request it is about to make.
    SkipUntilHere { wait: u64 },
    /// Messages were sent beyond the limit.
    MailboxFull(Limit),
}

impl From<Signal> for SignalNode {
    fn from(signal: Signal) -> SignalNode {
        Queued::new(signal)
    }
}

impl Signal {
    /// Whether it counts in the receiver's inbox until it is handled: what others can send in any number. A kill and the
    /// node's end always arrive, and what the process itself waits for comes once.
    pub(super) fn is_counted(&self) -> bool {
        match self {
            Signal::Inspect(_)
            | Signal::Link { .. }
            | Signal::Unlink { .. }
            | Signal::UnlinkAcknowledged { .. }
            | Signal::LinkDied { .. }
            | Signal::Monitor { .. }
            | Signal::StopMonitoring { .. }
            | Signal::ProcessDied { .. }
            | Signal::Exit { .. } => true,
            Signal::Message(_)
            | Signal::MessageByAlias { .. }
            | Signal::Kill
            | Signal::Stop { .. }
            | Signal::Completed { .. }
            | Signal::Ready { .. }
            | Signal::Due { .. }
            | Signal::SkipUntilHere { .. }
            | Signal::MailboxFull(_) => false,
        }
    }

    /// What whoever sent this to a process that is gone is owed, and who that is.
    pub fn refusal(self, gone: ProcessId) -> Option<(ProcessId, Signal)> {
        let termination = Termination::Own(Cause::NoProcess);
        match self {
            Signal::Inspect(answer) => {
                answer(None);
                None
            }
            Signal::Link { from, .. } => Some((from, Signal::LinkDied { from: gone, termination })),
            Signal::Unlink { from, number } => {
                Some((from, Signal::UnlinkAcknowledged { from: gone, number }))
            }
            Signal::Monitor { from, reference } => {
                Some((from, Signal::ProcessDied { from: gone, reference, termination }))
            }
            _ => None,
        }
    }
}

/// For a trace: what it is and whom it is about, not what is in it.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Message(message) => message.fmt(f),
            Signal::MessageByAlias { envelope, .. } => write!(f, "{} by an alias", envelope.message()),
            Signal::Kill => f.write_str("a kill"),
            Signal::Exit { from, .. } => write!(f, "an exit signal from process {from}"),
            Signal::Stop { .. } => f.write_str("a request to stop"),
            Signal::Link { from, .. } => write!(f, "a link from process {from}"),
            Signal::Unlink { from, .. } => write!(f, "an unlink from process {from}"),
            Signal::UnlinkAcknowledged { from, .. } => {
                write!(f, "the acknowledgement of an unlink from process {from}")
            }
            Signal::LinkDied { from, .. } => write!(f, "the death of process {from} by a link"),
            Signal::Monitor { from, .. } => write!(f, "a monitor from process {from}"),
            Signal::StopMonitoring { from, .. } => write!(f, "the end of a monitor from process {from}"),
            Signal::ProcessDied { from, .. } => write!(f, "the death of process {from} by a monitor"),
            Signal::Inspect(_) => f.write_str("a question about it"),
            Signal::Completed { .. } => f.write_str("a result"),
            Signal::Ready { .. } => f.write_str("a descriptor's readiness"),
            Signal::Due { .. } => f.write_str("the end of its time"),
            Signal::SkipUntilHere { .. } => f.write_str("a mark of its own"),
            Signal::MailboxFull(_) => f.write_str("a message too many"),
        }
    }
}
