//! The data of a process, as its host functions and its worker see it.
//!
//! Everything that a process owns besides its memory and its stack is here, so dropping the data releases all of it.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::{self, Display, Write};
use std::sync::Arc;

use lunatic_jit::{RawValue, Resume};
use lunatic_scheduler::Waiter;

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::extensions::Extensions;
use crate::fault::Fault;
use crate::node::{Backend, Due, Node};
use lunatic_resources::Permit;
use lunatic_resources::{Account, Charge, Full, OpenDescriptor};

use super::alias::Aliases;
use super::body::SpawnParams;
use super::exit::{Cause, ExitReason, Termination};
use super::id::ProcessId;
use super::info::{RunState, Usage};
use super::link::Relations;
use super::mailbox::{Mailbox, Pattern, Search};
use super::message::{Death, Envelope, Message, NO_TAG};
use super::signal::{Signal, SignalNode};
use super::wait::{Finish, Reason, Wait};
use super::{Process, Sent};
use lunatic_scheduler::Signals;

/// Results of `receive`, by the kind of message, and when time is up.
const RECEIVED_DATA: u64 = 0;
const RECEIVED_LINK_DIED: u64 = 1;
const RECEIVED_PROCESS_DIED: u64 = 2;
/// The result of a function that waits when its time is over.
pub const TIMED_OUT: u64 = 9027;

/// The timeout that never passes.
pub const FOREVER: u64 = u64::MAX;

/// What error messages call an entry of the table of configurations.
pub const CONFIGURATION: &str = "configuration";

/// Steps that a search in the mailbox takes in one turn: a fraction of a millisecond.
const STEPS_PER_TURN: u64 = 2048;

/// What a step of a search costs, in reductions.
pub const SEARCH_STEP: u64 = 20;

/// Bytes of an error's text that are kept at most.
const MAX_ERROR_TEXT: usize = 4 << 10;

/// The size of a message, in bytes, from which a separate thread frees it.
const LARGE: usize = 1 << 20;

/// The length of a list from which a separate thread drops it.
const MANY: usize = 4096;

/// The data of a process. See the module documentation.
///
/// The fields are in the order of use. A process that runs after a thousand others finds none of this in the cache,
/// so the fields that most turns need are together.
#[repr(C)]
pub struct ProcessData {
    wait: Option<Wait>,
    /// The result of a `receive` that found its message while the process was suspended.
    received: Option<u64>,
    /// The message that is being written, or was received last.
    pub current: Option<Envelope>,
    /// The process itself.
    pub process: Arc<Process>,
    /// The receiver of the last message, at first the spawner. The next message mostly has the same receiver.
    receiver: Option<Arc<Process>>,
    /// Messages that have not been received yet.
    pub mailbox: Mailbox,
    /// The usage when the process was last suspended.
    pub(super) usage: Usage,
    waits: u64,
    /// Whether the process ends when a linked process ends abnormally.
    pub die_when_link_dies: bool,
    /// The number of metrics that this process was the first to use.
    pub metrics_introduced: u32,
    /// The number of children so far, which spreads them over the process table.
    pub children: u32,
    /// Links and monitors.
    pub relations: Relations,
    /// Configurations that it has made.
    pub configs: ResourceTable<Arc<ProcessConfig>>,
    /// Modules that it has compiled.
    pub modules: ResourceTable<Code>,
    /// Errors whose text it may ask for.
    pub errors: ResourceTable<ErrorText>,
    /// State of host functions for this process.
    pub extensions: Extensions,
    /// Addresses of the process besides its identifier. Most processes have none.
    pub aliases: Option<Box<Aliases>>,
    /// The account for what the host keeps for it, once the host has kept something.
    account: Option<Arc<Account>>,
    /// The charge for the current message, if that is a large one.
    current_kept: Option<Charge>,
    _place: Option<Permit>,
    references: u64,
    /// Signals that were taken out of the queue and are to be handled, a portion in each turn. At the end, the
    /// signals after the one that ended the process.
    unhandled: Backlog,
    /// Reductions for work that was done for the process while it waited. They are taken from its slice.
    pub unpaid: u64,
}

/// Signals that have been taken out of the queue, in order.
pub(super) struct Backlog {
    first: Signals<Signal>,
    /// Later batches. Most processes handle all of their signals at once and never need this.
    #[allow(clippy::box_collection)] // One word in every process.
    more: Option<Box<VecDeque<Signals<Signal>>>>,
}

/// How the activation of a process continues.
pub(super) enum Next {
    Resume(Resume),
    /// By calling this with the memory of the guest.
    Finish(Finish),
    /// Not yet: the process has to wait.
    Wait,
}

/// Resources that a guest refers to by number. No number is used twice.
pub struct ResourceTable<T> {
    /// Most processes have no resources of a kind.
    #[allow(clippy::box_collection)] // One word instead of three in every process, and nothing to drop.
    items: Option<Box<BTreeMap<u64, T>>>,
    next: u64,
}

impl ProcessData {
    /// Creates the data of a process before its first turn.
    pub fn new(params: SpawnParams) -> ProcessData {
        let SpawnParams { process, spawner, relations, place, extensions } = params;
        ProcessData {
            wait: None,
            received: None,
            current: None,
            process,
            receiver: spawner,
            mailbox: Mailbox::default(),
            usage: Usage::default(),
            waits: 0,
            die_when_link_dies: true,
            metrics_introduced: 0,
            children: 0,
            relations,
            configs: ResourceTable::new(),
            modules: ResourceTable::new(),
            errors: ResourceTable::new(),
            extensions: extensions.map(|extensions| *extensions).unwrap_or_default(),
            aliases: None,
            account: None,
            current_kept: None,
            _place: place,
            references: 0,
            unhandled: Backlog { first: Signals::none(), more: None },
            unpaid: 0,
        }
    }

    /// Returns the identifier of the process.
    #[inline]
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Returns the node that the process runs on.
    #[inline]
    pub fn node(&self) -> &Arc<Node> {
        self.process.node()
    }

    /// Returns the reductions that the process may still use in its life, as of its last suspension.
    pub fn reductions_left(&self) -> u64 {
        let limit = self.process.config().max_reductions.unwrap_or(u64::MAX);
        limit.saturating_sub(self.usage.reductions)
    }

    /// Returns a number that this process has not used before: for the reference of a monitor, an alias, or an
    /// unlink.
    pub fn next_reference(&mut self) -> u64 {
        self.references += 1;
        self.references
    }

    // What the host keeps for the process.

    /// Returns the account of the process.
    #[inline]
    pub fn account(&mut self) -> &Arc<Account> {
        let process = &self.process;
        self.account.get_or_insert_with(|| process.new_account())
    }

    /// Charges the process for bytes that the host is about to keep.
    #[inline]
    pub fn keep(&mut self, bytes: u64) -> Result<Charge, Full> {
        self.account().keep(bytes)
    }

    /// Counts a descriptor that is about to be opened for the process or moved to it.
    pub fn open(&mut self) -> Result<OpenDescriptor, Full> {
        self.account().open()
    }

    /// Charges the process for one more link or monitor.
    pub fn charge_for_relation(&mut self) -> Result<(), Full> {
        // The closure borrows the account while the relations are borrowed.
        let ProcessData { relations, account, process, .. } = self;
        relations.charge_for_one_more(|| account.get_or_insert_with(|| process.new_account()).clone())
    }

    /// Keeps the text of an error. Returns its number for the guest.
    pub fn add_error(&mut self, error: impl Display) -> Result<u64, Fault> {
        let text = ErrorText::new(error, |bytes| self.keep(bytes))?;
        self.errors.add("errors", self.process.config(), text)
    }

    /// Returns the bytes that changing a configuration copies first: 0, unless a child shares the configuration.
    pub fn bytes_to_copy(&self, id: u64) -> u64 {
        let config = self.configs.get(CONFIGURATION, id).ok();
        config.filter(|config| Arc::strong_count(config) > 1).map_or(0, |config| config.bytes())
    }

    /// Returns a configuration of the process for changes. If a child shares it, the process gets a copy first and is
    /// charged for it.
    pub fn config_mut(&mut self, id: u64) -> Result<&mut ProcessConfig, Fault> {
        if Arc::get_mut(self.configs.get_mut(CONFIGURATION, id)?).is_none() {
            let shared = self.configs.get(CONFIGURATION, id)?.clone();
            let bytes = shared.bytes();
            self.unpaid += bytes / 32;
            let copy = shared.charged_copy(self.keep(bytes)?);
            *self.configs.get_mut(CONFIGURATION, id)? = Arc::new(copy);
        }
        Ok(Arc::get_mut(self.configs.get_mut(CONFIGURATION, id)?)
            .expect("it was just made sure that nobody else has it"))
    }

    // What host functions use to suspend the process.

    /// Waits for `reason`, at most until `deadline`. Returns the number of the wait. The host function then returns
    /// [`HostCall::Suspend`](lunatic_jit::HostCall::Suspend).
    #[inline]
    pub fn wait_for(&mut self, reason: Reason, deadline: Option<u64>) -> u64 {
        debug_assert!(self.wait.is_none(), "a process waits for one thing at a time");
        self.waits += 1;
        let number = self.waits;
        self.wait = Some(Wait { number, reason, deadline, timer: None, is_due: false });
        number
    }

    /// Submits file work that may block, and waits for it. The job returns the function that computes the result.
    /// Until the job is done, the process is at rest and can be killed. The scheduler's handoff module says on which
    /// thread it continues.
    pub fn wait_for_job(&mut self, job: impl FnOnce() -> Finish + Send + 'static) {
        let wait = self.wait_for(Reason::Completion, None);
        let process = self.process.clone();
        self.node().submit(Box::new(move || process.complete(wait, job())));
    }

    /// Waits until the returned function is called.
    pub fn wait_for_completion(&mut self) -> impl FnOnce(Finish) + Send + 'static {
        let wait = self.wait_for(Reason::Completion, None);
        let (node, id) = (self.node().clone(), self.id());
        move |finish| {
            // A process that has ended does not need the result.
            let _ = node.send(id, Signal::Completed { wait, finish });
        }
    }

    /// Waits until the waiter that is passed to `register` is woken, at most until `deadline`, and then calls
    /// `again`. If `register` returns false, there is nothing to wait for and the process tries again at once.
    /// `needs` are addresses that `again` touches first.
    pub fn wait_until_ready(
        &mut self,
        register: impl FnOnce(Waiter) -> bool,
        deadline: Option<u64>,
        needs: [usize; 2],
        again: Finish,
    ) {
        let hints = [(&raw const *again).addr(), needs[0], needs[1]];
        let token = self.wait_for(Reason::Readiness(again), deadline);
        let waiter = Waiter { waker: self.process.clone(), token, hints };
        if !register(waiter) {
            // It became ready between the attempt and the registration.
            self.wait.as_mut().expect("it was just made").become_ready();
        }
    }

    /// Registers another waiter for a wait for [`Reason::Readiness`] of several things.
    pub fn also_wait_for(&mut self, register: impl FnOnce(Waiter) -> bool, wait: u64) {
        let waiter = Waiter { waker: self.process.clone(), token: wait, hints: [0; 3] };
        if !register(waiter)
            && let Some(wait) = &mut self.wait
        {
            // It became ready before the registration.
            wait.become_ready();
        }
    }

    /// Begins a message and drops the current one.
    pub fn create_message(&mut self, tag: i64, capacity: usize) {
        if self.current_kept.is_some() {
            let last = (self.current.take(), self.current_kept.take());
            self.node().reclaim(last);
        }
        if !self.current.as_mut().is_some_and(|envelope| envelope.write_again(tag, capacity)) {
            self.current = Some(Envelope::blank(tag, capacity));
        }
    }

    /// Receives a message that is in the mailbox and matches, if `steps` suffice to find it. Returns the result of
    /// `receive`. Signals that have arrived since the last turn come after what is in the mailbox.
    pub fn receive_now(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Option<u64> {
        match self.mailbox.take(pattern, steps) {
            Search::Found(envelope) => Some(self.receive(envelope)),
            Search::Nothing | Search::Unfinished => None,
        }
    }

    /// Sends a message. Returns it if there is no such process.
    pub fn send(&mut self, to: ProcessId, envelope: Envelope) -> Result<Sent, SignalNode> {
        let receiver = match &self.receiver {
            Some(known) if known.id() == to => known,
            _ => match self.process.node().table.get(to) {
                Some(found) => self.receiver.insert(found),
                None => return Err(envelope.into()),
            },
        };
        receiver.send(envelope)
    }

    /// Takes the current message, to send it.
    pub fn take_message(&mut self) -> Result<Envelope, Fault> {
        self.current_kept = None;
        self.current.take().ok_or(Fault::NoMessage)
    }

    /// Charges for the current message, which is about to have `bytes` bytes. While a message is written, no mailbox
    /// counts it, so it counts here; small messages do not.
    pub fn charge_for_message(&mut self, bytes: u64) -> Result<(), Full> {
        if bytes <= LARGE as u64 {
            return Ok(());
        }
        match &mut self.current_kept {
            Some(kept) => kept.resize(bytes),
            None => {
                self.current_kept = Some(self.keep(bytes)?);
                Ok(())
            }
        }
    }

    /// Returns the reason of the current wait.
    pub(super) fn wait_reason(&self) -> Option<&Reason> {
        self.wait.as_ref().map(|wait| &wait.reason)
    }

    // What the worker uses.

    /// Adds signals behind those that are still to be handled.
    pub(super) fn take_in(&mut self, signals: Signals<Signal>) {
        if let Backend::Driven(machine) = &self.node().backend {
            machine.note_signals(self.id(), &signals);
        }
        self.unhandled.push(signals);
    }

    /// Returns whether dropping the data may take long.
    pub(super) fn is_large(&self) -> bool {
        let kept = self.account.as_ref().map_or(0, |account| account.bytes());
        let bytes = self.process.inbox().held().0.max(kept);
        self.mailbox.len() > MANY || bytes > LARGE as u64 || self.extensions.is_slow_to_drop()
    }

    /// Handles signals in order, at most `portion` of them, and reduces `portion` by their number. Returns a reason
    /// to end, if a signal is one; the signals after it are never handled.
    pub(super) fn handle_signals(&mut self, portion: &mut u32) -> Option<ExitReason> {
        while *portion > 0
            && let Some(signal_node) = self.unhandled.next()
        {
            *portion -= 1;
            let ended = match Envelope::of(signal_node) {
                Ok(envelope) => {
                    self.arrived(envelope);
                    continue;
                }
                Err(signal_node) => self.handle(signal_node.content),
            };
            if ended.is_some() {
                return ended;
            }
        }
        None
    }

    /// Takes the reductions for work that was done while the process waited.
    pub(super) fn take_unpaid(&mut self) -> u64 {
        std::mem::take(&mut self.unpaid)
    }

    /// Returns whether there are signals that are still to be handled.
    pub(super) fn has_unhandled(&self) -> bool {
        !self.unhandled.is_empty()
    }

    /// Takes the signals that were not handled, to answer them after the end.
    pub(super) fn take_unhandled(&mut self) -> Backlog {
        std::mem::replace(&mut self.unhandled, Backlog { first: Signals::none(), more: None })
    }

    /// Ends the wait for this message, or puts the message into the mailbox.
    fn arrived(&mut self, envelope: Envelope) {
        let Some(Wait { reason: Reason::Message { pattern, skipping: false }, .. }) = &mut self.wait else {
            return self.mailbox.push(envelope);
        };
        if let Some(envelope) = self.mailbox.offer(pattern, envelope) {
            self.end_wait();
            self.received = Some(self.receive(envelope));
        }
    }

    fn handle(&mut self, signal: Signal) -> Option<ExitReason> {
        match signal {
            Signal::Message(message) => self.arrived(Envelope::new(message)),
            Signal::MessageByAlias { alias, envelope } => self.handle_alias(alias, envelope),
            Signal::Kill => return Some(ExitReason::Killed),
            Signal::Stop { status } => return self.handle_stop(status),
            // The inbox counts these until the process has handled them, or received the messages that they become.
            Signal::LinkDied { from, termination } => return self.handle_link_died(from, termination),
            Signal::Exit { from, reason } => return self.handle_exit(from, reason),
            Signal::ProcessDied { from, reference, termination } => {
                if !self.relations.watched_died(from, reference) {
                    self.process.inbox().handled();
                    return None;
                }
                let death = Death { process: from, reference, termination };
                return self.keep_message(Message::ProcessDied(death), true);
            }
            counted @ (Signal::Inspect(_)
            | Signal::Link { .. }
            | Signal::Unlink { .. }
            | Signal::UnlinkAcknowledged { .. }
            | Signal::Monitor { .. }
            | Signal::StopMonitoring { .. }) => {
                // The signal no longer counts when it is answered: the answer may be the number of waiting messages.
                self.process.inbox().handled();
                self.handle_request(counted);
            }
            Signal::Completed { wait: number, finish } => {
                if let Some(wait) = self.wait.as_mut().filter(|wait| wait.number == number) {
                    wait.reason = Reason::Over(finish);
                }
            }
            Signal::Ready { wait: number } => {
                if let Some(wait) = self.wait.as_mut().filter(|wait| wait.number == number) {
                    wait.become_ready();
                }
            }
            Signal::Due { wait: number } => {
                if let Some(wait) = self.wait.as_mut().filter(|wait| wait.number == number) {
                    (wait.timer, wait.is_due) = (None, true);
                }
            }
            Signal::SkipUntilHere { wait: number } => self.skip_until_here(number),
            Signal::MailboxFull(limit) => return Some(ExitReason::LimitExceeded(limit)),
        }
        None
    }

    /// Handles requests of other processes, which never end this process.
    fn handle_request(&mut self, signal: Signal) {
        match signal {
            Signal::Inspect(answer) => answer(Some(self.info(RunState::Runnable))),
            Signal::Link { from, tag } => self.relations.linked_by(from, tag),
            Signal::Unlink { from, number } => self.handle_unlink(from, number),
            Signal::UnlinkAcknowledged { from, number } => self.relations.unlink_acknowledged(from, number),
            Signal::Monitor { from, reference } => self.relations.add_watcher(from, reference),
            Signal::StopMonitoring { from, reference } => {
                if let Some(monitors) = self.relations.remove_watcher(from, reference) {
                    self.node().reclaim_if(monitors.len() > MANY, monitors);
                }
            }
            _ => debug_assert!(false, "`handle` has all others"),
        }
    }

    /// Receives a message by an alias. If the alias was dropped, the message is dropped too.
    fn handle_alias(&mut self, alias: u64, envelope: Envelope) {
        if self.aliases.as_deref_mut().is_some_and(|aliases| aliases.accept(alias)) {
            self.arrived(envelope);
        } else {
            self.process.inbox().release(envelope.message().size() as u64);
        }
    }

    fn handle_link_died(&mut self, from: ProcessId, termination: Termination) -> Option<ExitReason> {
        let tag = self.relations.link_died(from);
        let (Some(tag), false) = (tag, termination.cause() == Cause::Normal) else {
            self.process.inbox().handled();
            return None;
        };
        if self.die_when_link_dies {
            return Some(ExitReason::LinkDied { peer: from, cause: termination.cause() });
        }
        self.keep_message(
            Message::LinkDied { tag, death: Death { process: from, reference: 0, termination } },
            true,
        )
    }

    fn handle_unlink(&mut self, from: ProcessId, number: u64) {
        self.relations.unlinked_by(from);
        // A process that has ended needs no acknowledgement.
        let _ = self.node().send(from, Signal::UnlinkAcknowledged { from: self.id(), number });
    }

    /// Handles an exit signal. A process that traps exits receives it as a message. Otherwise a reason other than 0
    /// ends the process.
    fn handle_exit(&mut self, from: ProcessId, reason: i64) -> Option<ExitReason> {
        if self.die_when_link_dies {
            self.process.inbox().handled();
            return (reason != 0).then_some(ExitReason::Reason(reason));
        }
        let termination = Termination::Own(Cause::Reason(reason));
        let death = Death { process: from, reference: 0, termination };
        self.keep_message(Message::LinkDied { tag: NO_TAG, death }, false)
    }

    /// Turns a signal into a message, which counts from here on like one that was sent. Messages that `must_be_told`
    /// are not dropped when the mailbox is full.
    fn keep_message(&mut self, message: Message, must_be_told: bool) -> Option<ExitReason> {
        match self.process.inbox().keep(must_be_told) {
            Ok(()) => {
                self.arrived(Envelope::new(message));
                None
            }
            Err(limit) => limit.map(ExitReason::LimitExceeded),
        }
    }

    /// Handles a request to stop. A process that traps exits receives a message, as if a linked process with no
    /// identifier had died.
    fn handle_stop(&mut self, status: i32) -> Option<ExitReason> {
        if self.die_when_link_dies {
            return Some(ExitReason::Stopped(status));
        }
        let termination = Termination::Own(Cause::Stopped);
        let death = Death { process: ProcessId::NONE, reference: 0, termination };
        self.process.inbox().count_own();
        self.arrived(Envelope::new(Message::LinkDied { tag: NO_TAG, death }));
        None
    }

    fn skip_until_here(&mut self, number: u64) {
        if let Some(Wait { number: waiting, reason: Reason::Message { pattern, skipping }, .. }) =
            &mut self.wait
            && *waiting == number
        {
            self.mailbox.skip(pattern);
            *skipping = false;
        }
    }

    /// Returns whether it waits for messages and nothing else. A process that begins to wait has searched all
    /// messages that are there, or waits for a signal first.
    pub(super) fn waits_for_messages(&self) -> bool {
        match &self.wait {
            Some(Wait { reason: Reason::Message { pattern, .. }, deadline: None, .. }) => {
                !pattern.is_unfinished() && !self.has_unhandled()
            }
            _ => false,
        }
    }

    /// Returns how the activation continues.
    pub(super) fn next(&mut self) -> Next {
        if let Some(result) = self.received.take() {
            return Next::Resume(Resume::Return(RawValue::from(result)));
        }
        if self.wait.is_none() {
            return Next::Resume(Resume::Continue);
        }
        if let Some(result) = self.resolve_message() {
            return Next::Resume(Resume::Return(RawValue::from(result)));
        }
        match self.resolve_finish() {
            Some(finish) => Next::Finish(finish),
            None => {
                self.set_timer();
                Next::Wait
            }
        }
    }

    fn resolve_message(&mut self) -> Option<u64> {
        let wait = self.wait.as_mut()?;
        let Reason::Message { pattern, skipping } = &mut wait.reason else { return None };
        if !*skipping {
            let mut steps = STEPS_PER_TURN;
            let found = self.mailbox.take(pattern, &mut steps);
            self.unpaid += (STEPS_PER_TURN - steps) * SEARCH_STEP;
            match found {
                Search::Found(envelope) => {
                    self.end_wait();
                    return Some(self.receive(envelope));
                }
                // The search continues in the next turn, even if the deadline passes before.
                Search::Unfinished => return None,
                Search::Nothing => {}
            }
        }
        // A message that arrived in time counts, even if its signal has not been handled yet.
        if *skipping || !self.unhandled.is_empty() {
            return None;
        }
        if !wait.is_due && wait.deadline.is_none_or(|deadline| self.process.node().clock.now() < deadline) {
            return None;
        }
        self.end_wait();
        Some(TIMED_OUT)
    }

    /// Makes a message from the mailbox the current one. Returns the result of `receive`.
    fn receive(&mut self, envelope: Envelope) -> u64 {
        let message = envelope.message();
        let kind = match message {
            Message::Data(_) => RECEIVED_DATA,
            Message::LinkDied { .. } => RECEIVED_LINK_DIED,
            Message::ProcessDied(_) => RECEIVED_PROCESS_DIED,
        };
        let size = message.size();
        self.process.inbox().release(size as u64);
        if size > LARGE || self.current_kept.is_some() {
            self.replace_large(envelope, size);
        } else if let Some(last) = self.current.replace(envelope) {
            last.discard();
        }
        kind
    }

    /// Makes a message the current one if it or the previous one is large, and so is charged for.
    #[cold]
    fn replace_large(&mut self, envelope: Envelope, size: usize) {
        // The message counted in the mailbox, so it cannot be refused here.
        let kept = (size > LARGE).then(|| self.account().keep_beyond_limits(size as u64));
        let last = (self.current.replace(envelope), std::mem::replace(&mut self.current_kept, kept));
        self.node().reclaim(last);
    }

    fn resolve_finish(&mut self) -> Option<Finish> {
        let wait = self.wait.as_mut()?;
        let now = || self.process.node().clock.now();
        let is_over = match &wait.reason {
            Reason::Over(_) => true,
            Reason::Time(_) | Reason::Readiness(_) => {
                wait.is_due || wait.deadline.is_some_and(|deadline| deadline <= now())
            }
            Reason::Message { .. } | Reason::Completion | Reason::NextTurn(_) => false,
        };
        if !is_over {
            return None;
        }
        self.cancel_timer();
        match self.wait.take()?.reason {
            Reason::Over(finish) | Reason::Time(finish) | Reason::Readiness(finish) => Some(finish),
            Reason::Message { .. } | Reason::Completion | Reason::NextTurn(_) => None,
        }
    }

    /// Returns whether it waits only for its next turn, in which it then continues.
    pub(super) fn wants_next_turn(&mut self) -> bool {
        if self.has_unhandled() {
            return true;
        }
        let Some(wait) = &mut self.wait else { return false };
        if let Reason::Message { pattern, skipping: false } = &wait.reason {
            return pattern.is_unfinished();
        }
        match std::mem::replace(&mut wait.reason, Reason::Completion) {
            Reason::NextTurn(finish) => {
                wait.reason = Reason::Over(finish);
                true
            }
            other => {
                wait.reason = other;
                false
            }
        }
    }

    /// Forgets the wait and its timer.
    pub(super) fn end_wait(&mut self) {
        self.cancel_timer();
        self.wait = None;
    }

    fn cancel_timer(&self) {
        if let Some(Wait { timer: Some(timer), .. }) = self.wait {
            self.node().timers.cancel(timer);
        }
    }

    fn set_timer(&mut self) {
        let id = self.id();
        let Some(wait) = &mut self.wait else { return };
        let Some(deadline) = wait.deadline.filter(|_| wait.timer.is_none()) else { return };
        let due = Due::Wait { process: id, wait: wait.number };
        wait.timer = Some(self.process.node().timers.set(deadline, due));
    }
}

/// The text of an error, which the guest can ask for.
pub struct ErrorText {
    text: Box<str>,
    _kept: Charge,
}

impl ErrorText {
    fn new(error: impl Display, keep: impl FnOnce(u64) -> Result<Charge, Full>) -> Result<ErrorText, Full> {
        /// Takes no more bytes than the limit: an error may quote what a guest has passed.
        struct Bounded(String);
        impl Write for Bounded {
            fn write_str(&mut self, text: &str) -> fmt::Result {
                let room = MAX_ERROR_TEXT.saturating_sub(self.0.len());
                let fits = text.floor_char_boundary(room);
                self.0.push_str(&text[..fits]);
                if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
            }
        }
        let mut text = Bounded(String::new());
        if write!(text, "{error}").is_err() {
            text.0.push('…');
        }
        let kept = keep(text.0.len() as u64 + size_of::<ErrorText>() as u64)?;
        Ok(ErrorText { text: text.0.into(), _kept: kept })
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Backlog {
    fn push(&mut self, signals: Signals<Signal>) {
        if signals.is_empty() {
            return;
        }
        if self.first.is_empty() && self.more.as_ref().is_none_or(|more| more.is_empty()) {
            self.first = signals;
        } else {
            self.more.get_or_insert_default().push_back(signals);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        // No batch after the first is empty.
        self.first.is_empty() && self.more.as_ref().is_none_or(|more| more.is_empty())
    }
}

impl Iterator for Backlog {
    type Item = SignalNode;

    fn next(&mut self) -> Option<SignalNode> {
        if self.first.is_empty() {
            self.first = self.more.as_mut()?.pop_front()?;
        }
        self.first.next()
    }
}

impl<T> Default for ResourceTable<T> {
    fn default() -> ResourceTable<T> {
        ResourceTable::new()
    }
}

impl<T> ResourceTable<T> {
    /// Creates an empty table.
    pub fn new() -> ResourceTable<T> {
        ResourceTable { items: None, next: 0 }
    }

    /// Adds an item, unless there are as many as the configuration allows. Returns its number.
    pub fn add(&mut self, kind: &'static str, config: &ProcessConfig, item: T) -> Result<u64, Fault> {
        self.add_within(config.max_resources, item).ok_or(Fault::TooMany(kind))
    }

    /// Adds an item, unless there are `max` items. Returns its number.
    pub fn add_within(&mut self, max: u64, item: T) -> Option<u64> {
        let items = self.items.get_or_insert_default();
        if items.len() as u64 >= max {
            return None;
        }
        let id = self.next;
        self.next += 1;
        items.insert(id, item);
        Some(id)
    }

    /// Returns a number that no other item gets.
    pub fn take_number(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Checks that one more item can be added, before adding it has any effect.
    pub fn check_room(&self, kind: &'static str, config: &ProcessConfig) -> Result<(), Fault> {
        let count = self.items.as_ref().map_or(0, |items| items.len() as u64);
        if count < config.max_resources { Ok(()) } else { Err(Fault::TooMany(kind)) }
    }

    /// Returns the item with this number.
    pub fn get(&self, kind: &'static str, id: u64) -> Result<&T, Fault> {
        self.items.as_ref().and_then(|items| items.get(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// Returns the item with this number, to be changed.
    pub fn get_mut(&mut self, kind: &'static str, id: u64) -> Result<&mut T, Fault> {
        self.items.as_mut().and_then(|items| items.get_mut(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// Removes the item with this number.
    pub fn remove(&mut self, kind: &'static str, id: u64) -> Result<T, Fault> {
        self.items.as_mut().and_then(|items| items.remove(&id)).ok_or(Fault::Unknown { kind, id })
    }
}
