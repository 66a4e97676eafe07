//! The inbox of one process: its queue of signals, and how many messages wait in it and behind it.
//!
//! # What is counted
//!
//! Everything that another process can send counts in bytes from the moment that it is pushed: a message until it is
//! received, a signal until it is handled. A message is refused beyond the limit. A signal is not, since what it says may
//! matter more than the limit; where it becomes a message (a death, an exit signal), its receiver applies the limit when
//! it handles it ([`Inbox::keep`]). Only where signals come faster than they are handled, and twice the limit waits, the
//! receiver ends for that, too. If the memory of all processes is limited, what waits counts there as well.

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lunatic_jit::TotalMemory;

use crate::config::ProcessConfig;

use super::exit::Limit;
use super::message::MESSAGE_OVERHEAD;
use super::signal::{Signal, SignalNode};
use lunatic_scheduler::{SignalQueue, Signals};

/// Bytes of waiting messages from which on senders are asked to let the receiver run: about as many as a worker's cache
/// has room for. A few senders would otherwise fill memory with what the receiver then finds cold.
const CROWDED: u64 = 64 << 10;

/// Bytes that are sent between two looks of senders at what a congested mailbox has released.
const BETWEEN_LOOKS: u64 = 2 << 10;

/// Bytes that a signal counts until it is handled, and the message that it may become until that is received.
pub(super) const SIGNAL: u64 = MESSAGE_OVERHEAD as u64;

/// Bytes of signals that may wait in any case, however narrow the limit.
const MAX_SIGNALS: u64 = 1 << 20;

/// Bytes that may wait without counting in the total: most processes never have more.
const FREE: u64 = 4 << 10;

/// Bytes that are taken from the total, or given back, at a time.
const CHUNK: u64 = 4 << 10;

/// Bytes of a cache line.
const LINE: usize = 64;

/// See the module.
///
/// In this order, so that what senders write and what the owner writes are never in one line: where the two are on
/// different workers, each message would move that line to and fro. For the same reason senders go by what they know to
/// have been released until that is too little.
#[repr(C)]
pub struct Inbox {
    queue: SignalQueue<Signal>,
    /// Bytes of all messages that were ever pushed.
    pushed: AtomicU64,
    /// What `released` was when a sender looked last, and what `pushed` was then.
    known: AtomicU64,
    looked_at: AtomicU64,
    /// Messages that wait; counted only where their number is limited.
    messages: AtomicU64,
    /// Bytes and messages that may wait.
    max_bytes: u64,
    max_messages: u64,
    /// Messages beyond a limit are dropped, instead of ending the owner, and how many were.
    dropped: AtomicU64,
    drops: AtomicBool,
    /// The owner has been told that there are too many.
    is_full: AtomicBool,
    /// Whether what waits counts in a total: senders ask this instead of the owner's line.
    has_total: bool,
    /// Bytes of the messages that have left the mailbox. Written by the owner alone: two counters cost it a load and a
    /// store for each message, one would cost an exchange.
    released: AtomicU64,
    /// What processes may have together, if that is limited, and how much of it this inbox has taken.
    total: Option<Arc<TotalMemory>>,
    reserved: AtomicU64,
}

const _: () = assert!(offset_of!(Inbox, released) - offset_of!(Inbox, pushed) >= LINE);

impl Inbox {
    /// The inbox of an idle process that has this configuration.
    pub fn new(config: &ProcessConfig, total: Option<Arc<TotalMemory>>) -> Inbox {
        Inbox {
            queue: SignalQueue::new(),
            pushed: AtomicU64::new(0),
            known: AtomicU64::new(0),
            looked_at: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            max_bytes: config.mailbox_bytes(),
            max_messages: config.max_messages,
            dropped: AtomicU64::new(0),
            drops: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            has_total: total.is_some(),
            released: AtomicU64::new(0),
            total,
            reserved: AtomicU64::new(0),
        }
    }

    /// Appends a signal. Returns whether the caller has to put the process into a queue; gives the signal back when
    /// the process is over. Messages beyond a limit are dropped, and end their receiver unless it would rather not.
    pub fn push(&self, mut signal_node: SignalNode) -> Result<bool, SignalNode> {
        if let Err(limit) = self.count(&signal_node.content) {
            // Told once, the owner ends when it handles it; whatever else is sent meanwhile it will never see.
            let Some(limit) = limit else { return Ok(false) };
            // Relaxed: an answer that orders nothing else.
            if self.is_full.swap(true, Ordering::Relaxed) {
                return Ok(false);
            }
            signal_node.content = Signal::MailboxFull(limit);
        }
        self.queue.push(signal_node)
    }

    /// Counts what is about to be pushed. The limit that it exceeds, if any; `None` if it is to be dropped for that.
    fn count(&self, signal: &Signal) -> Result<(), Option<Limit>> {
        let message = match signal {
            Signal::Message(message) => message,
            Signal::MessageByAlias { envelope, .. } => envelope.message(),
            signal => return if signal.is_counted() { self.admit_signal().map_err(Some) } else { Ok(()) },
        };
        self.admit(message.size() as u64).map_err(|limit| self.refuse(limit))
    }

    /// What becomes of a message beyond a limit: it ends the owner, or is dropped.
    fn refuse(&self, limit: Limit) -> Option<Limit> {
        // Relaxed, both: numbers and answers that order nothing else.
        if self.drops.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(limit)
    }

    /// Counts a message that the process gets of the node. For the owner alone.
    pub(super) fn count_own(&self) {
        self.pushed.fetch_add(SIGNAL, Ordering::Relaxed);
        if self.counts_messages() {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A signal has been handled, and nothing of it is kept. For the owner alone.
    pub(super) fn handled(&self) {
        self.release_bytes(SIGNAL);
    }

    /// A signal that has been handled becomes a message: whether the limits permit that. The owner ends by the limit, or,
    /// if it is to be dropped (`None`), it no longer counts. What `must_be_told` is not dropped: then twice the limits
    /// hold. For the owner alone.
    pub(super) fn keep(&self, must_be_told: bool) -> Result<(), Option<Limit>> {
        // It has been counted, so this is never negative. Relaxed, all of them: the queue orders the signals.
        let bytes = self.pushed.load(Ordering::Relaxed) - self.released();
        let messages = match self.counts_messages() {
            true => self.messages.fetch_add(1, Ordering::Relaxed) + 1,
            false => 0,
        };
        let factor = if must_be_told && self.drops.load(Ordering::Relaxed) { 2 } else { 1 };
        let limit = if bytes > self.max_bytes.saturating_mul(factor) {
            Limit::Mailbox(self.max_bytes)
        } else if messages > self.max_messages.saturating_mul(factor) {
            Limit::Messages(self.max_messages)
        } else {
            return Ok(());
        };
        if must_be_told {
            return Err(Some(limit));
        }
        let refused = self.refuse(limit);
        if refused.is_none() {
            self.release(SIGNAL);
        }
        Err(refused)
    }

    /// Says whether messages beyond a limit are dropped from now on, or end the owner. For the owner alone.
    pub fn set_drops(&self, drops: bool) {
        self.drops.store(drops, Ordering::Relaxed);
    }

    /// Bytes of messages that wait, and how many messages were dropped.
    pub fn held(&self) -> (u64, u64) {
        let released = self.released();
        (self.pushed.load(Ordering::Relaxed) - released, self.dropped.load(Ordering::Relaxed))
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
    pub fn release(&self, size: u64) {
        self.release_bytes(size);
        if self.counts_messages() {
            self.messages.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn release_bytes(&self, size: u64) {
        // Release, see `released`. Only the owner writes it, so its own reading is up to date.
        let released = self.released.load(Ordering::Relaxed) + size;
        self.released.store(released, Ordering::Release);
        if self.total.is_some() {
            self.give_to_total(released);
        }
    }

    /// Takes from the total what is waiting beyond what was taken before. Whether there was as much.
    #[cold]
    fn take_from_total(&self, waiting: u64) -> bool {
        let reserved = self.reserved.load(Ordering::Relaxed);
        let missing = waiting.saturating_sub(FREE).saturating_sub(reserved);
        let (Some(total), 1..) = (&self.total, missing) else { return true };
        let chunk = missing.next_multiple_of(CHUNK);
        let is_there = total.charge(chunk);
        if is_there {
            self.reserved.fetch_add(chunk, Ordering::Relaxed);
        }
        is_there
    }

    /// Gives back to the total what is no longer waiting, but for a chunk that is soon taken again.
    #[cold]
    fn give_to_total(&self, released: u64) {
        let Some(total) = &self.total else { return };
        let reserved = self.reserved.load(Ordering::Relaxed);
        let waiting = self.pushed.load(Ordering::Relaxed).saturating_sub(released);
        let spare = reserved.saturating_sub(waiting) / CHUNK * CHUNK;
        // The owner alone takes away from it.
        if spare > CHUNK {
            self.reserved.fetch_sub(spare, Ordering::Relaxed);
            total.give_back(spare);
        }
    }

    /// Whether so many messages wait that it is better to let their owner run than to send it more. Known late: by as
    /// much as is sent between two looks.
    pub fn is_congested(&self) -> bool {
        let pushed = self.pushed.load(Ordering::Relaxed);
        if pushed.saturating_sub(self.known.load(Ordering::Relaxed)) <= CROWDED {
            return false;
        }
        if pushed.saturating_sub(self.looked_at.load(Ordering::Relaxed)) < BETWEEN_LOOKS {
            return true;
        }
        self.looked_at.store(pushed, Ordering::Relaxed);
        let released = self.released();
        self.known.store(released, Ordering::Relaxed);
        pushed.saturating_sub(released) > CROWDED
    }

    /// Counts a message, unless that exceeds a limit. What is refused counts for the moment that this takes, so close
    /// to a limit one of several senders may be refused in vain.
    fn admit(&self, size: u64) -> Result<(), Limit> {
        // Relaxed, all of them: counters; the queue orders the messages themselves.
        let known = self.known.load(Ordering::Relaxed);
        let pushed = self.pushed.fetch_add(size, Ordering::Relaxed) + size;
        let waiting_at = |released| pushed.saturating_sub(released);
        if waiting_at(known) > self.max_bytes && waiting_at(self.released()) > self.max_bytes {
            self.pushed.fetch_sub(size, Ordering::Relaxed);
            return Err(Limit::Mailbox(self.max_bytes));
        }
        if self.counts_messages() && !self.admit_one() {
            self.pushed.fetch_sub(size, Ordering::Relaxed);
            return Err(Limit::Messages(self.max_messages));
        }
        if self.has_total && !self.take_from_total(waiting_at(self.released())) {
            self.pushed.fetch_sub(size, Ordering::Relaxed);
            if self.counts_messages() {
                self.messages.fetch_sub(1, Ordering::Relaxed);
            }
            return Err(Limit::Total);
        }
        Ok(())
    }

    /// Counts a signal. It is refused only where signals come much faster than they are handled.
    fn admit_signal(&self) -> Result<(), Limit> {
        let known = self.known.load(Ordering::Relaxed);
        let pushed = self.pushed.fetch_add(SIGNAL, Ordering::Relaxed) + SIGNAL;
        let most = self.max_bytes.saturating_mul(2).saturating_add(MAX_SIGNALS);
        if pushed.saturating_sub(known) > most && pushed.saturating_sub(self.released()) > most {
            self.pushed.fetch_sub(SIGNAL, Ordering::Relaxed);
            return Err(Limit::Mailbox(self.max_bytes));
        }
        if self.has_total && !self.take_from_total(pushed.saturating_sub(self.released())) {
            self.pushed.fetch_sub(SIGNAL, Ordering::Relaxed);
            return Err(Limit::Total);
        }
        Ok(())
    }

    fn admit_one(&self) -> bool {
        let next = |messages| (messages < self.max_messages).then_some(messages + 1);
        self.messages.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    fn counts_messages(&self) -> bool {
        self.max_messages != u64::MAX
    }

    /// To be asked before `pushed` is looked at: what was released was pushed earlier, and acquiring this makes sure
    /// that it is seen in the other counter, so the difference is never negative. What is released meanwhile still
    /// counts as waiting.
    fn released(&self) -> u64 {
        self.released.load(Ordering::Acquire)
    }
}

impl Drop for Inbox {
    fn drop(&mut self) {
        if let Some(total) = &self.total {
            total.give_back(self.reserved.load(Ordering::Relaxed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::id::ProcessId;
    use super::super::message::{DataMessage, Envelope, Message};
    use super::*;
    use crate::config::tests::everything;

    fn inbox(max_mailbox: u64, max_messages: u64) -> Inbox {
        let max_mailbox = Some(max_mailbox);
        Inbox::new(&ProcessConfig { max_mailbox, max_messages, ..everything() }, None)
    }

    fn message(size: usize) -> SignalNode {
        let mut message = DataMessage::new(0, size);
        message.write(&vec![0; size], 0);
        Envelope::new(Message::Data(message)).into()
    }

    #[test]
    fn the_mailbox_limit_is_counted_until_messages_leave() {
        let size = 100 + MESSAGE_OVERHEAD as u64;
        let inbox = inbox(3 * size, u64::MAX);
        for _ in 0..3 {
            assert!(inbox.push(message(100)).is_ok());
        }
        assert!(inbox.queue().take().all(|signal_node| matches!(signal_node.content, Signal::Message(_))));
        inbox.release(size);
        assert!(inbox.push(message(100)).is_ok());
        assert!(inbox.push(message(100)).is_ok());
        assert!(inbox.push(message(100)).is_ok());
        let arrived: Vec<_> = inbox.queue().take().collect();
        assert!(matches!(arrived[0].content, Signal::Message(_)));
        assert!(matches!(arrived[1].content, Signal::MailboxFull(Limit::Mailbox(_))));
        assert_eq!(arrived.len(), 2, "one is enough");
    }

    #[test]
    fn messages_are_counted_as_well_as_their_bytes() {
        let inbox = inbox(1 << 20, 2);
        assert!((0..4).all(|_| inbox.push(message(0)).is_ok()));
        let arrived: Vec<_> = inbox.queue().take().collect();
        assert!(matches!(arrived[2].content, Signal::MailboxFull(Limit::Messages(2))));
        assert_eq!(arrived.len(), 3, "one is enough");
    }

    #[test]
    fn what_is_dropped_does_not_count() {
        const SIZE: u64 = MESSAGE_OVERHEAD as u64;
        for inbox in [inbox(1 << 20, 2), inbox(2 * SIZE, u64::MAX)] {
            inbox.set_drops(true);
            assert!((0..5).all(|_| inbox.push(message(0)).is_ok()));
            assert!(inbox.push(Signal::Kill.into()).is_ok());
            let arrived: Vec<_> = inbox.queue().take().collect();
            assert_eq!((arrived.len(), inbox.held()), (3, (2 * SIZE, 3)));
            assert!(matches!(arrived[2].content, Signal::Kill), "a full mailbox keeps out messages only");
            inbox.release(SIZE);
            assert!((0..2).all(|_| inbox.push(message(0)).is_ok()));
            assert_eq!(inbox.held(), (2 * SIZE, 4));
        }
    }

    #[test]
    fn senders_see_that_a_mailbox_is_crowded_and_then_that_it_is_not() {
        const SIZE: u64 = MESSAGE_OVERHEAD as u64;
        let inbox = inbox(1 << 20, u64::MAX);
        let send =
            |bytes: u64| (0..bytes.div_ceil(SIZE)).for_each(|_| assert!(inbox.push(message(0)).is_ok()));
        send(CROWDED - SIZE);
        assert!(!inbox.is_congested());
        send(2 * SIZE);
        assert!(inbox.is_congested());
        inbox.release(inbox.held().0 - SIZE);
        send(BETWEEN_LOOKS);
        assert!(!inbox.is_congested(), "it is looked at again when so much was sent");
        send(CROWDED + BETWEEN_LOOKS);
        assert!(inbox.is_congested());
    }

    fn exit_signal() -> SignalNode {
        Signal::Exit { from: ProcessId::NONE, reason: 1 }.into()
    }

    #[test]
    fn a_signal_that_becomes_a_message_counts_like_one() {
        for inbox in [inbox(3 * SIGNAL, u64::MAX), inbox(1 << 20, 3)] {
            assert!((0..5).all(|_| inbox.push(exit_signal()).is_ok()));
            assert_eq!(inbox.queue().take().count(), 5, "the receiver sees them all, and decides");
            // Two of them mean nothing to it.
            inbox.handled();
            inbox.handled();
            assert!((0..3).all(|_| inbox.keep(true).is_ok()));
            assert!(inbox.push(exit_signal()).is_ok());
            assert!(matches!(inbox.keep(false), Err(Some(Limit::Mailbox(_) | Limit::Messages(3)))));
        }
    }

    #[test]
    fn a_mailbox_that_drops_messages_drops_exit_signals_and_no_news_of_deaths() {
        let inbox = inbox(2 * SIGNAL, u64::MAX);
        inbox.set_drops(true);
        let keep = |must_be_told| {
            assert!(inbox.push(exit_signal()).is_ok());
            inbox.keep(must_be_told)
        };
        assert!(keep(false).is_ok() && keep(false).is_ok());
        assert!(matches!(keep(false), Err(None)));
        assert!(keep(true).is_ok() && keep(true).is_ok());
        assert!(matches!(keep(true), Err(Some(Limit::Mailbox(_)))), "but they have a limit, too");
        assert_eq!(inbox.held().1, 1);
    }

    #[test]
    fn signals_that_are_not_handled_have_a_limit() {
        let inbox = inbox(1000, 10);
        let most = (MAX_SIGNALS + 2000) / SIGNAL;
        assert!((0..most + 10).all(|_| inbox.push(exit_signal()).is_ok()));
        assert!(inbox.push(Signal::Kill.into()).is_ok());
        let arrived: Vec<_> = inbox.queue().take().collect();
        assert_eq!(arrived.len() as u64, most + 2);
        assert!(matches!(arrived[most as usize].content, Signal::MailboxFull(_)));
        assert!(matches!(arrived[most as usize + 1].content, Signal::Kill), "a kill always arrives");
    }

    #[test]
    fn what_waits_counts_in_the_total_until_it_is_received() {
        let total = TotalMemory::new(64 << 10);
        let config = ProcessConfig { max_mailbox: Some(1 << 20), ..everything() };
        let inbox = Inbox::new(&config, Some(total.clone()));
        let mut sent = 0;
        while !inbox.is_full.load(Ordering::Relaxed) {
            assert!(inbox.push(message(1000)).is_ok());
            sent += 1;
        }
        assert!((60..=68).contains(&sent), "{sent} messages of a kilobyte");
        for signal_node in inbox.queue().take() {
            if let Signal::Message(message) = &signal_node.content {
                inbox.release(message.size() as u64);
            }
        }
        assert!(total.used() <= CHUNK, "{} bytes", total.used());
        drop(inbox);
        assert_eq!(total.used(), 0);
    }

    /// What is taken and released while a sender counts must not look like more than there is.
    #[test]
    fn senders_who_race_with_the_owner_never_count_too_much() {
        const EACH: usize = if cfg!(miri) { 100 } else { 20_000 };
        let inbox = inbox(3 * MESSAGE_OVERHEAD as u64 * EACH as u64, 3 * EACH as u64);
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
                for signal_node in inbox.queue().take() {
                    assert!(matches!(signal_node.content, Signal::Message(_)));
                    inbox.release(MESSAGE_OVERHEAD as u64);
                    received += 1;
                }
            }
        });
        assert!(!inbox.is_congested());
    }

    #[test]
    fn guarantee_05_a_closed_inbox_gives_signals_back() {
        let inbox = inbox(1000, 10);
        assert!(inbox.push(Signal::Kill.into()).is_ok());
        assert_eq!(inbox.close().count(), 1);
        assert!(inbox.queue().is_closed());
        assert!(matches!(
            inbox.push(message(1)).map_err(|signal_node| signal_node.content),
            Err(Signal::Message(_))
        ));
    }
}
