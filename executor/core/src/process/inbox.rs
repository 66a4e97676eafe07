//! The inbox of one process: its signal queue, and the number and bytes of messages that wait in the queue and in the
//! mailbox.
//!
//! # What is counted
//!
//! Everything that another process can send counts in bytes from the moment that it is pushed: a message until it is
//! received, a signal until it is handled. A message beyond the limit is refused. A signal is not refused, because it
//! may matter more than the limit. If it becomes a message (a death, an exit signal), the receiver applies the limit
//! when it handles the signal ([`Inbox::keep`]). Only if signals arrive faster than they are handled, and twice the
//! limit waits, the receiver ends because of them. If the memory of all processes is limited, waiting messages and
//! signals count there as well.

use std::mem::offset_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use lunatic_jit::TotalMemory;

use crate::config::ProcessConfig;

use super::exit::Limit;
use super::message::MESSAGE_OVERHEAD;
use super::signal::{Signal, SignalNode};
use lunatic_scheduler::{SignalQueue, Signals};

/// Bytes of waiting messages from which senders are asked to yield to the receiver: about the size of a worker's
/// cache. Otherwise a few senders fill memory with messages that are no longer in the cache when the receiver reads
/// them.
const CROWDED: u64 = 64 << 10;

/// Bytes that senders send to a congested mailbox between two reads of the receiver's counter.
const BETWEEN_LOOKS: u64 = 2 << 10;

/// Bytes that a signal counts until it is handled. The message that it may become counts as many until it is
/// received.
pub(super) const SIGNAL: u64 = MESSAGE_OVERHEAD as u64;

/// Bytes of signals that may wait in any case, however low the limit.
const MAX_SIGNALS: u64 = 1 << 20;

/// Bytes that may wait without counting in the node's total. Most processes never have more.
const FREE: u64 = 4 << 10;

/// Bytes that are taken from the total, or returned to it, at a time.
const CHUNK: u64 = 4 << 10;

/// Bytes of a cache line.
const LINE: usize = 64;

/// An inbox. See the module documentation.
///
/// The order of the fields keeps what senders write and what the owner writes in different cache lines. On different
/// workers, each message would otherwise move a line back and forth. For the same reason, senders use the value of
/// `released` that they read last until it no longer suffices.
/// have been released until that is too little.
#[repr(C)]
pub struct Inbox {
    queue: SignalQueue<Signal>,
    /// Bytes of all messages that were ever pushed.
    pushed: AtomicU64,
    /// The value of `released` when a sender read it last, and that of `pushed` at that time.
    known: AtomicU64,
    looked_at: AtomicU64,
    /// The number of waiting messages. It is counted only if there is a limit on it.
    messages: AtomicU64,
    /// Limits on the bytes and the number of waiting messages.
    max_bytes: u64,
    max_messages: u64,
    /// Whether messages beyond a limit are dropped instead of ending the owner, and how many were dropped.
    dropped: AtomicU64,
    drops: AtomicBool,
    /// Whether the owner has been told that a limit was exceeded.
    is_full: AtomicBool,
    /// Whether waiting messages count in the node's total. Senders read this instead of the owner's cache line.
    has_total: bool,
    /// Bytes of the messages that have left the mailbox. Only the owner writes this: two counters cost the owner a
    /// load and a store for each message, where one counter would cost an atomic exchange.
    released: AtomicU64,
    /// The node's limit on memory, if there is one, and how much of it this inbox has taken.
    total: Option<Arc<TotalMemory>>,
    reserved: AtomicU64,
}

const _: () = assert!(offset_of!(Inbox, released) - offset_of!(Inbox, pushed) >= LINE);

impl Inbox {
    /// Creates the inbox of an idle process with this configuration.
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

    /// Appends a signal. Returns whether the caller has to schedule the process, or the signal if the process has
    /// ended. A message beyond a limit is dropped, and the receiver ends unless it chose to drop such messages.
    pub fn push(&self, mut signal_node: SignalNode) -> Result<bool, SignalNode> {
        if let Err(limit) = self.count(&signal_node.content) {
            // The owner is told once and ends when it handles the signal. It will never see what is sent meanwhile.
            let Some(limit) = limit else { return Ok(false) };
            // Relaxed: the flag orders nothing else.
            if self.is_full.swap(true, Ordering::Relaxed) {
                return Ok(false);
            }
            signal_node.content = Signal::MailboxFull(limit);
        }
        self.queue.push(signal_node)
    }

    /// Counts a signal that is about to be pushed. Returns the limit that it exceeds, or `None` if the signal is to
    /// be dropped.
    fn count(&self, signal: &Signal) -> Result<(), Option<Limit>> {
        let message = match signal {
            Signal::Message(message) => message,
            Signal::MessageByAlias { envelope, .. } => envelope.message(),
            signal => return if signal.is_counted() { self.admit_signal().map_err(Some) } else { Ok(()) },
        };
        self.admit(message.size() as u64).map_err(|limit| self.refuse(limit))
    }

    /// Decides about a message beyond a limit: it ends the owner, or is dropped.
    fn refuse(&self, limit: Limit) -> Option<Limit> {
        // Relaxed, both: these order nothing else.
        if self.drops.load(Ordering::Relaxed) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            return None;
        }
        Some(limit)
    }

    /// Counts a message that the node itself sends. Only the owner may call this.
    pub(super) fn count_own(&self) {
        self.pushed.fetch_add(SIGNAL, Ordering::Relaxed);
        if self.counts_messages() {
            self.messages.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Releases the count of a signal of which nothing is kept. Only the owner may call this.
    pub(super) fn handled(&self) {
        self.release_bytes(SIGNAL);
    }

    /// Applies the limits to a signal that becomes a message. On error, the owner ends because of the limit, or drops
    /// the message (`None`), which then no longer counts. A message that `must_be_told` is not dropped; twice the
    /// limits apply to it. Only the owner may call this.
    pub(super) fn keep(&self, must_be_told: bool) -> Result<(), Option<Limit>> {
        // The signal has been counted, so this is never negative. Relaxed, all of them: the queue orders the signals.
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

    /// Sets whether messages beyond a limit are dropped or end the owner. Only the owner may call this.
    pub fn set_drops(&self, drops: bool) {
        self.drops.store(drops, Ordering::Relaxed);
    }

    /// Returns the bytes of waiting messages, and the number of dropped messages.
    pub fn held(&self) -> (u64, u64) {
        let released = self.released();
        (self.pushed.load(Ordering::Relaxed) - released, self.dropped.load(Ordering::Relaxed))
    }

    /// Returns the signal queue.
    pub(super) fn queue(&self) -> &SignalQueue<Signal> {
        &self.queue
    }

    /// Closes the queue. Returns the signals that had arrived.
    pub(super) fn close(&self) -> Signals<Signal> {
        self.queue.close()
    }

    /// Releases the count of a message of this size that left the mailbox. Only the owner may call this.
    pub fn release(&self, size: u64) {
        self.release_bytes(size);
        if self.counts_messages() {
            self.messages.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn release_bytes(&self, size: u64) {
        // Release: see `released`. Only the owner writes the counter, so its own load is up to date.
        let released = self.released.load(Ordering::Relaxed) + size;
        self.released.store(released, Ordering::Release);
        if self.total.is_some() {
            self.give_to_total(released);
        }
    }

    /// Takes from the total what waits beyond what was taken before. Returns whether the limit allowed that.
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

    /// Returns to the total what no longer waits, but for a chunk that would soon be taken again.
    #[cold]
    fn give_to_total(&self, released: u64) {
        let Some(total) = &self.total else { return };
        let reserved = self.reserved.load(Ordering::Relaxed);
        let waiting = self.pushed.load(Ordering::Relaxed).saturating_sub(released);
        let spare = reserved.saturating_sub(waiting) / CHUNK * CHUNK;
        // Only the owner subtracts from it.
        if spare > CHUNK {
            self.reserved.fetch_sub(spare, Ordering::Relaxed);
            total.give_back(spare);
        }
    }

    /// Returns whether enough messages wait that senders should yield to the owner. The answer may be late by what
    /// is sent between two reads of the owner's counter.
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

    /// Counts a message, unless that exceeds a limit. A message that is refused counts for a moment, so close to a
    /// limit one of several senders may be refused although there is space.
    fn admit(&self, size: u64) -> Result<(), Limit> {
        // Relaxed, all of them: these are counters; the queue orders the messages themselves.
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

    /// Counts a signal. A signal is refused only if signals arrive much faster than they are handled.
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

    /// Returns the released bytes. This must be read before `pushed`: released bytes were pushed earlier, and the
    /// acquire makes sure that the other counter contains them, so the difference is never negative. Bytes that are
    /// released meanwhile still count as waiting.
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
    fn dropped_messages_do_not_count() {
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
    fn waiting_messages_count_in_the_total_until_received() {
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

    /// Bytes that are taken and released while a sender counts must not look like more than there are.
    #[test]
    fn racing_senders_never_count_too_much() {
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
