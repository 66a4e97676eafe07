//! The inbox of one process: its queue of signals, and how many bytes of messages wait in it and behind it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::queue::{SignalQueue, Signals};
use super::signal::{Parcel, Signal};

/// Bytes of waiting messages from which on senders are asked to let the receiver run: about as many as a worker's cache
/// has room for. A few senders would otherwise fill memory with what the receiver then finds cold.
const CROWDED: u64 = 64 << 10;

/// See the module.
pub(crate) struct Inbox {
    queue: SignalQueue<Signal>,
    /// Bytes of all messages that were ever pushed, and of those that have left the mailbox. The second is written by
    /// the owner alone: two counters cost it a load and a store for each message, one would cost an exchange.
    pushed: AtomicU64,
    released: AtomicU64,
    limit: u64,
}

impl Inbox {
    /// The inbox of an idle process that may have `limit` bytes of messages waiting.
    pub(crate) fn new(limit: u64) -> Inbox {
        Inbox { queue: SignalQueue::new(), pushed: AtomicU64::new(0), released: AtomicU64::new(0), limit }
    }

    /// Appends a signal. Returns whether the caller has to put the process into a queue; gives the signal back when
    /// the process is over. Messages beyond the limit are dropped, and end their receiver.
    pub(crate) fn push(&self, mut parcel: Parcel) -> Result<bool, Parcel> {
        if let Signal::Message(message) = &parcel.content
            && !self.admit(message.size() as u64)
        {
            // One is enough: the owner ends when it handles it.
            parcel.content = Signal::MailboxFull;
        }
        self.queue.push(parcel)
    }

    /// The queue, for everything else.
    pub(super) fn queue(&self) -> &SignalQueue<Signal> {
        &self.queue
    }

    /// Refuses everything from now on, and gives back what has arrived.
    pub(super) fn close(&self) -> Signals<Signal> {
        self.queue.close()
    }

    /// A message of this size left the mailbox. For the owner alone.
    pub(crate) fn release(&self, size: u64) {
        // Release, see `released`. Only the owner writes it, so its own reading is up to date.
        self.released.store(self.released.load(Ordering::Relaxed) + size, Ordering::Release);
    }

    /// Whether so many messages wait that it is better to let their owner run than to send it more.
    pub(crate) fn is_crowded(&self) -> bool {
        let released = self.released();
        self.pushed.load(Ordering::Relaxed) - released > CROWDED
    }

    /// The limit on waiting messages, in bytes.
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    fn admit(&self, size: u64) -> bool {
        let released = self.released();
        // Relaxed: a counter; the queue orders the messages themselves.
        let pushed = self.pushed.fetch_add(size, Ordering::Relaxed) + size;
        pushed - released <= self.limit
    }

    /// To be asked before `pushed` is looked at: what was released was pushed earlier, and acquiring this makes sure
    /// that it is seen in the other counter, so the difference is never negative. What is released meanwhile still
    /// counts as waiting.
    fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::{DataMessage, Letter, MESSAGE_OVERHEAD, Message};
    use super::super::queue::Queued;
    use super::*;

    fn message(size: usize) -> Parcel {
        let mut message = DataMessage::new(0, size);
        message.write(&vec![0; size]);
        Letter::new(Message::Data(message)).into()
    }

    #[test]
    fn the_mailbox_limit_is_counted_until_messages_leave() {
        let size = 100 + MESSAGE_OVERHEAD as u64;
        let inbox = Inbox::new(3 * size);
        for _ in 0..3 {
            assert!(inbox.push(message(100)).is_ok());
        }
        assert!(inbox.queue().take().all(|parcel| matches!(parcel.content, Signal::Message(_))));
        inbox.release(size);
        assert!(inbox.push(message(100)).is_ok());
        assert!(inbox.push(message(100)).is_ok());
        let arrived: Vec<_> = inbox.queue().take().collect();
        assert!(matches!(arrived[0].content, Signal::Message(_)));
        assert!(matches!(arrived[1].content, Signal::MailboxFull));
    }

    /// What is taken and released while a sender counts must not look like more than there is.
    #[test]
    fn senders_who_race_with_the_owner_never_count_too_much() {
        const EACH: usize = 20_000;
        let inbox = Inbox::new(3 * MESSAGE_OVERHEAD as u64 * EACH as u64);
        std::thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| (0..EACH).for_each(|_| assert!(inbox.push(message(1)).is_ok())));
            }
            let mut received = 0;
            while received < 3 * EACH {
                if !inbox.queue().has_arrived() {
                    std::thread::yield_now();
                    continue;
                }
                for parcel in inbox.queue().take() {
                    assert!(matches!(parcel.content, Signal::Message(_)));
                    inbox.release(MESSAGE_OVERHEAD as u64);
                    received += 1;
                }
            }
        });
        assert!(!inbox.is_crowded());
    }

    #[test]
    fn guarantee_05_a_closed_inbox_gives_signals_back() {
        let inbox = Inbox::new(1000);
        assert!(inbox.push(Signal::Kill.into()).is_ok());
        assert_eq!(inbox.close().count(), 1);
        assert!(inbox.queue().is_closed());
        assert!(matches!(inbox.push(message(1)).map_err(|parcel| parcel.content), Err(Signal::Message(_))));
    }

    #[test]
    fn a_signal_that_arrives_meanwhile_keeps_a_process_from_resting() {
        let queue = SignalQueue::new();
        assert!(queue.push(Queued::new(1)).is_ok_and(|queue_it| queue_it));
        assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it), "it is queued once");
        let taken: Vec<i32> = queue.take().map(|queued| queued.content).collect();
        assert_eq!(taken, [1, 2]);
        assert!(!queue.has_arrived());
        assert!(
            queue.push(Queued::new(3)).is_ok_and(|queue_it| !queue_it),
            "the worker that has it will see it"
        );
        assert!(queue.has_arrived() && !queue.rest());
        assert_eq!(queue.take().count(), 1);
        assert!(queue.rest());
        assert!(queue.wake() && !queue.wake());
    }

    #[test]
    fn what_goes_back_to_a_queue_keeps_its_signals() {
        let queue = SignalQueue::new();
        assert!(queue.wake());
        drop(queue.take());
        assert!(queue.push(Queued::new(1)).is_ok());
        queue.again();
        assert!(queue.push(Queued::new(2)).is_ok_and(|queue_it| !queue_it));
        assert_eq!(queue.take().count(), 2);
    }

    #[test]
    fn nothing_leaves_the_end() {
        let queue = SignalQueue::new();
        assert!(queue.push(Queued::new("late")).is_ok());
        assert_eq!(queue.close().count(), 1);
        assert!(queue.is_closed() && !queue.wake());
        assert_eq!(queue.push(Queued::new("later")).map_err(|queued| queued.content), Err("later"));
    }
}
