//! Everything that reaches a process from outside, in one queue: that is what orders messages, exits and kills.
//!
//! The sender only appends; what a signal means is decided by its receiver when it handles it. A death that
//! arrives after its link was undone means nothing, and an unlink never races with it.

use super::exit::Ending;
use super::id::ProcessId;
use super::message::Message;
use super::queue::Queued;
use super::wait::Finish;

/// A signal with its place in a queue: what is pushed. A message is in one from its sender's first byte to its
/// receiver's last, so it is allocated once and never copied.
pub(crate) type Parcel = Box<Queued<Signal>>;

/// See the module.
pub(crate) enum Signal {
    /// For the mailbox.
    Message(Message),
    /// End, whatever you do.
    Kill,
    /// End, unless you see to it yourself that you do: the node is asked to stop, and this is its first process.
    Stop { status: i32 },
    /// The sender linked itself to the receiver.
    Link { from: ProcessId, tag: i64 },
    /// The sender undid the link.
    Unlink { from: ProcessId },
    /// A linked process ended.
    LinkDied { from: ProcessId, ending: Ending },
    /// The sender wants to know when the receiver ends.
    Monitor { from: ProcessId },
    /// The sender no longer wants to.
    StopMonitoring { from: ProcessId },
    /// A monitored process ended.
    ProcessDied { from: ProcessId },
    /// What the process waited for, if it still waits for the same, has a result.
    Completed { wait: u64, finish: Finish },
    /// The time of a wait is up, if it is still the same wait.
    Due { wait: u64 },
    /// To itself: what arrived before this is older than the request it is about to make.
    SkipUntilHere { wait: u64 },
    /// Messages were sent beyond the limit.
    MailboxFull,
}

impl From<Signal> for Parcel {
    fn from(signal: Signal) -> Parcel {
        Queued::new(signal)
    }
}
