//! Everything that reaches a process from outside, in one queue: that is what orders messages, exits and kills.
//!
//! The sender only appends; what a signal means is decided by its receiver when it handles it. A death that
//! arrives after its link was undone means nothing, and an unlink never races with it.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::exit::Ending;
use super::id::ProcessId;
use super::message::Message;
use super::wait::Finish;

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

/// For a trace: what it is and whom it is about, not what is in it.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Signal::Message(Message::Data(message)) => {
                write!(f, "a message with the tag {} and {} bytes", message.tag, message.len())
            }
            Signal::Message(_) => f.write_str("a message"),
            Signal::Kill => f.write_str("a kill"),
            Signal::Stop { .. } => f.write_str("a request to stop"),
            Signal::Link { from, .. } => write!(f, "a link from process {from}"),
            Signal::Unlink { from } => write!(f, "an unlink from process {from}"),
            Signal::LinkDied { from, .. } => write!(f, "the death of process {from} by a link"),
            Signal::Monitor { from } => write!(f, "a monitor from process {from}"),
            Signal::StopMonitoring { from } => write!(f, "the end of a monitor from process {from}"),
            Signal::ProcessDied { from } => write!(f, "the death of process {from} by a monitor"),
            Signal::Completed { .. } => f.write_str("a result"),
            Signal::Due { .. } => f.write_str("the end of its time"),
            Signal::SkipUntilHere { .. } => f.write_str("a mark of its own"),
            Signal::MailboxFull => f.write_str("a message too many"),
        }
    }
}

/// The queue of one process.
pub(crate) struct Inbox {
    queue: Mutex<Queue>,
    /// Bytes of messages in the queue and in the mailbox behind it.
    bytes: AtomicU64,
    limit: u64,
}

#[derive(Default)]
struct Queue {
    // Its messages are bounded by `limit`; of the others a living process sends at most a few for each
    // process that it knows.
    signals: VecDeque<Signal>,
    closed: bool,
}

impl Inbox {
    /// A queue whose owner may have `limit` bytes of messages waiting.
    pub(crate) fn new(limit: u64) -> Inbox {
        Inbox { queue: Mutex::default(), bytes: AtomicU64::new(0), limit }
    }

    /// Appends a signal; gives it back when the owner is gone.
    pub(crate) fn push(&self, signal: Signal) -> Result<(), Signal> {
        let mut queue = self.lock();
        if queue.closed {
            return Err(signal);
        }
        match &signal {
            Signal::Message(message) if !self.admit(message.size() as u64) => {
                // One is enough: the owner ends when it handles it.
                queue.signals.push_back(Signal::MailboxFull);
            }
            _ => queue.signals.push_back(signal),
        }
        Ok(())
    }

    /// Moves what has arrived into `into`, which is empty; the two buffers take turns.
    pub(crate) fn drain(&self, into: &mut VecDeque<Signal>) {
        debug_assert!(into.is_empty());
        std::mem::swap(&mut self.lock().signals, into);
    }

    /// Refuses everything from now on, and gives back what has arrived.
    pub(crate) fn close(&self) -> VecDeque<Signal> {
        let mut queue = self.lock();
        queue.closed = true;
        std::mem::take(&mut queue.signals)
    }

    /// Whether the owner is gone.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// A message left the mailbox.
    pub(crate) fn release(&self, size: u64) {
        // Relaxed: a counter; the queue's lock orders the messages themselves.
        self.bytes.fetch_sub(size, Ordering::Relaxed);
    }

    /// The limit on waiting messages, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    fn admit(&self, size: u64) -> bool {
        self.bytes.fetch_add(size, Ordering::Relaxed).saturating_add(size) <= self.limit
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Under it a signal is moved in or all are moved out; nothing in between can panic.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{DataMessage, MESSAGE_OVERHEAD};
    use super::*;

    fn message(size: usize) -> Signal {
        let mut message = DataMessage::new(0, size);
        message.write(&vec![0; size]);
        Signal::Message(Message::Data(message))
    }

    #[test]
    fn the_mailbox_limit_is_counted_until_messages_leave() {
        let inbox = Inbox::new(3 * (100 + MESSAGE_OVERHEAD as u64));
        let mut arrived = VecDeque::new();
        let size = 100 + MESSAGE_OVERHEAD as u64;
        for _ in 0..3 {
            assert!(inbox.push(message(100)).is_ok());
        }
        inbox.drain(&mut arrived);
        assert!(arrived.drain(..).all(|signal| matches!(signal, Signal::Message(_))));
        inbox.release(size);
        assert!(inbox.push(message(100)).is_ok());
        assert!(inbox.push(message(100)).is_ok());
        inbox.drain(&mut arrived);
        assert!(matches!(arrived[0], Signal::Message(_)));
        assert!(matches!(arrived[1], Signal::MailboxFull));
    }

    #[test]
    fn guarantee_05_a_closed_inbox_gives_signals_back() {
        let inbox = Inbox::new(1000);
        assert!(inbox.push(Signal::Kill).is_ok());
        assert_eq!(inbox.close().len(), 1);
        assert!(inbox.is_closed());
        assert!(matches!(inbox.push(message(1)), Err(Signal::Message(_))));
    }
}
