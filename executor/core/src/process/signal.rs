//! Signals: everything that reaches a process from outside. One queue orders messages, exits and kills.
//!
//! The sender only appends. The receiver decides what a signal means when it handles it. A death that arrives after
//! its link was removed is ignored, so an unlink never races with a death.

use std::fmt;

use super::exit::{Cause, Limit, Termination};
use super::id::ProcessId;
use super::info::Info;
use super::message::{Envelope, Message};
use super::wait::Finish;
use lunatic_scheduler::Queued;

/// A signal with its link in a queue, as it is pushed. A message is in one from the sender's first write to the
/// receiver's last read, so it is allocated once and never copied.
pub type SignalNode = Box<Queued<Signal>>;

/// A signal. See the module documentation.
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Signal {
    /// A message for the mailbox.
    Message(Message),
    /// A message for the mailbox, if the receiver still has the alias.
    MessageByAlias { alias: u64, envelope: Envelope },
    /// A request for information about the receiver. The answer is `None` if the receiver has ended.
    Inspect(Box<dyn FnOnce(Option<Info>) + Send>),
    /// End unconditionally.
    Kill,
    /// The node is asked to stop, and this is its first process. The process ends, unless it traps exits.
    Stop { status: i32 },
    /// The sender has linked itself to the receiver.
    Link { from: ProcessId, tag: i64 },
    /// The sender has removed the link; the removal has this number.
    Unlink { from: ProcessId, number: u64 },
    /// The sender acknowledges the receiver's removal of a link.
    UnlinkAcknowledged { from: ProcessId, number: u64 },
    /// A linked process has ended.
    LinkDied { from: ProcessId, termination: Termination },
    /// The sender monitors the receiver.
    Monitor { from: ProcessId, reference: u64 },
    /// The sender stops monitoring, with one reference or, for `None`, with all.
    StopMonitoring { from: ProcessId, reference: Option<u64> },
    /// A monitored process has ended.
    ProcessDied { from: ProcessId, reference: u64, termination: Termination },
    /// An exit signal: the receiver ends with this reason, unless it traps exits.
    Exit { from: ProcessId, reason: i64 },
    /// The result of the wait with this number, if the process still waits for it.
    Completed { wait: u64, finish: Finish },
    /// The process should try again, if it still has the wait with this number.
    Ready { wait: u64 },
    /// The deadline of the wait with this number has passed.
    Due { wait: u64 },
    /// A marker that the process sends to itself: messages before it are older than a request that the process is
    /// about to make.
    SkipUntilHere { wait: u64 },
    /// Messages beyond a limit were sent.
    MailboxFull(Limit),
}

impl From<Signal> for SignalNode {
    fn from(signal: Signal) -> SignalNode {
        Queued::new(signal)
    }
}

impl Signal {
    /// Returns whether the signal counts in the receiver's inbox until it is handled. Signals that others can send in
    /// any number count. A kill and the end of the node always arrive, and results of the process's own waits arrive
    /// once.
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

    /// Returns the answer to a signal that was sent to a process that has ended, and the receiver of the answer.
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

/// For a trace: names the signal and its sender, without its content.
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
