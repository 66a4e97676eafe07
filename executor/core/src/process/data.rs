//! What a process knows about itself: the data of its store, seen by host functions and by its worker.
//!
//! Everything a process owns besides its memory and its stack is here, so dropping it releases all of it.

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

/// What `receive` returns for each kind of message, and when time is up.
const RECEIVED_DATA: u64 = 0;
const RECEIVED_LINK_DIED: u64 = 1;
const RECEIVED_PROCESS_DIED: u64 = 2;
const TIMED_OUT: u64 = 9027;

/// Steps that a search in the mailbox takes in one turn: a fraction of a millisecond.
const STEPS_PER_TURN: u64 = 2048;

/// Reductions for a step of a search.
pub const SEARCH_STEP: u64 = 20;

/// Bytes of an error's text that are kept.
const MAX_ERROR_TEXT: usize = 4 << 10;

/// Bytes of a message from which on a thread that may be busy gives them back to the system.
const LARGE: usize = 1 << 20;

/// Entries of a list from which on such a thread takes it apart.
const MANY: usize = 4096;

/// See the module.
///
/// In the order of use: a process that has a turn after a thousand others finds none of this in the cache, and what most
/// turns need is together.
#[repr(C)]
pub struct ProcessData {
    wait: Option<Wait>,
    /// What a receive returns that has found its message meanwhile.
    received: Option<u64>,
    /// The message that is being written, or was received last.
    pub current: Option<Envelope>,
    /// The process itself.
    pub process: Arc<Process>,
    /// To whom it sent a message last, at first its spawner: mostly it sends the next one there too.
    receiver: Option<Arc<Process>>,
    /// Messages that were not received yet.
    pub mailbox: Mailbox,
    /// What it had used when it was last suspended.
    pub(super) usage: Usage,
    waits: u64,
    /// Whether the process ends when a linked one ends abnormally.
    pub die_when_link_dies: bool,
    /// Names of metrics that it was the first to use.
    pub metrics_introduced: u32,
    /// Children so far; spreads them over the process table.
    pub children: u32,
    /// Links and monitors.
    pub relations: Relations,
    /// Configurations that it has made.
    pub configs: ResourceTable<Arc<ProcessConfig>>,
    /// Modules that it has compiled.
    pub modules: ResourceTable<Code>,
    /// Errors that it may ask for.
    pub errors: ResourceTable<ErrorText>,
    /// What host functions remember for it.
    pub extensions: Extensions,
    /// By which it can be sent messages besides its identifier; most processes have none.
    pub aliases: Option<Box<Aliases>>,
    /// What the host keeps for it, if it ever kept anything.
    account: Option<Arc<Account>>,
    /// What is charged for the current message, if that is a large one.
    current_kept: Option<Charge>,
    _place: Option<Permit>,
    references: u64,
    /// What has arrived and is to be handled, a portion in each turn; what came after the signal that ended it.
    unhandled: Backlog,
    /// Reductions for work that was done for it while it waited; taken from its slice.
    pub unpaid: u64,
}

/// Signals that have been taken out of the queue, in order.
pub(super) struct Backlog {
    first: Signals<Signal>,
    /// What was taken later. Most processes handle all of their signals at once and never have it.
    #[allow(clippy::box_collection)] // One word in every process.
    more: Option<Box<VecDeque<Signals<Signal>>>>,
}

/// How the activation of a process goes on.
pub(super) enum Next {
    Resume(Resume),
    /// As this says, once it is given the memory.
    Finish(Finish),
    /// Not yet.
    Wait,
}

/// Things that a guest knows by number. A number is given once.
pub struct ResourceTable<T> {
    /// Most processes have none.
    #[allow(clippy::box_collection)] // One word instead of three in every process, and nothing to drop.
    items: Option<Box<BTreeMap<u64, T>>>,
    next: u64,
}

impl ProcessData {
    /// The data of a process before its first turn.
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

    /// This process.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// The node it runs on.
    pub fn node(&self) -> &Arc<Node> {
        self.process.node()
    }

    /// Reductions that it may still use in its life, as far as is known.
    pub fn reductions_left(&self) -> u64 {
        let limit = self.process.config().max_reductions.unwrap_or(u64::MAX);
        limit.saturating_sub(self.usage.reductions)
    }

    /// A number that this process has given to nothing else: a monitor's reference, an alias, an undone link.
    pub fn next_reference(&mut self) -> u64 {
        self.references += 1;
        self.references
    }

    // What the host keeps for it.

    /// Its account.
    pub fn account(&mut self) -> &Arc<Account> {
        let process = &self.process;
        self.account.get_or_insert_with(|| process.new_account())
    }

    /// Charges it for bytes that the host is about to keep.
    pub fn keep(&mut self, bytes: u64) -> Result<Charge, Full> {
        self.account().keep(bytes)
    }

    /// Counts a descriptor that is about to be opened for it, or to become its own.
    pub fn open(&mut self) -> Result<OpenDescriptor, Full> {
        self.account().open()
    }

    /// Charges it for one more link or monitor.
    pub fn charge_for_relation(&mut self) -> Result<(), Full> {
        // The two are different parts of it.
        let ProcessData { relations, account, process, .. } = self;
        relations.charge_for_one_more(|| account.get_or_insert_with(|| process.new_account()).clone())
    }

    /// Keeps an error's text, of which the guest is told the number.
    pub fn add_error(&mut self, error: impl Display) -> Result<u64, Fault> {
        let text = ErrorText::new(error, |bytes| self.keep(bytes))?;
        self.errors.add("errors", self.process.config(), text)
    }

    /// The bytes that changing a configuration copies first: none, unless children have it.
    pub fn bytes_to_copy(&self, id: u64) -> u64 {
        let config = self.configs.get("configuration", id).ok();
        config.filter(|config| Arc::strong_count(config) > 1).map_or(0, |config| config.bytes())
    }

    /// A configuration of its own, to be changed. One that children have is copied first, for which it pays.
    pub fn config_mut(&mut self, id: u64) -> Result<&mut ProcessConfig, Fault> {
        const KIND: &str = "configuration";
        if Arc::get_mut(self.configs.get_mut(KIND, id)?).is_none() {
            let shared = self.configs.get(KIND, id)?.clone();
            let bytes = shared.bytes();
            self.unpaid += bytes / 32;
            let copy = shared.charged_copy(self.keep(bytes)?);
            *self.configs.get_mut(KIND, id)? = Arc::new(copy);
        }
        Ok(Arc::get_mut(self.configs.get_mut(KIND, id)?)
            .expect("it was just made sure that nobody else has it"))
    }

    // What host functions use to suspend. Each returns the number of the wait.

    /// Waits for `reason`, at most until `deadline`. The host function then says [`HostCall::Suspend`].
    pub fn wait_for(&mut self, reason: Reason, deadline: Option<u64>) -> u64 {
        debug_assert!(self.wait.is_none(), "a process waits for one thing at a time");
        self.waits += 1;
        let number = self.waits;
        self.wait = Some(Wait { number, reason, deadline, timer: None, is_due: false });
        number
    }

    /// Has work on files done that may block, and waits for it. The job returns what computes the result. Until it is
    /// done the process is at rest, and can be killed; on which thread it goes on then, `scheduler/following.rs` says.
    pub fn wait_for_job(&mut self, job: impl FnOnce() -> Finish + Send + 'static) {
        let wait = self.wait_for(Reason::Completion, None);
        let process = self.process.clone();
        self.node().submit(Box::new(move || process.complete(wait, job())));
    }

    /// Waits for someone to call what is returned.
    pub fn wait_for_completion(&mut self) -> impl FnOnce(Finish) + Send + 'static {
        let wait = self.wait_for(Reason::Completion, None);
        let (node, id) = (self.node().clone(), self.id());
        move |finish| {
            // A process that is gone does not need its result.
            let _ = node.send(id, Signal::Completed { wait, finish });
        }
    }

    /// Waits until `register` has its waiter woken, at most until `deadline`, and then tries again. `register` says whether
    /// there is anything to wait for; if there is not, the process tries again at once. `needs` are addresses of what that
    /// looks at first.
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
            // It became ready while this was being said.
            self.wait.as_mut().expect("it was just made").become_ready();
        }
    }

    /// Has another waiter woken for a wait that was made for [`Reason::Readiness`] of several things.
    pub fn also_wait_for(&mut self, register: impl FnOnce(Waiter) -> bool, wait: u64) {
        let waiter = Waiter { waker: self.process.clone(), token: wait, hints: [0; 3] };
        if !register(waiter)
            && let Some(wait) = &mut self.wait
        {
            // It became ready while this was being said.
            wait.become_ready();
        }
    }

    /// Begins a message; what was current is dropped.
    pub fn create_message(&mut self, tag: i64, capacity: usize) {
        if self.current_kept.is_some() {
            let last = (self.current.take(), self.current_kept.take());
            self.node().reclaim(last);
        }
        if !self.current.as_mut().is_some_and(|envelope| envelope.write_again(tag, capacity)) {
            self.current = Some(Envelope::blank(tag, capacity));
        }
    }

    /// Receives a message that is in the mailbox already and matches, if `steps` suffice to find it; what `receive` returns
    /// for it. Signals that have arrived since are behind it.
    pub fn receive_now(&mut self, pattern: &mut Pattern, steps: &mut u64) -> Option<u64> {
        match self.mailbox.take(pattern, steps) {
            Search::Found(envelope) => Some(self.receive(envelope)),
            Search::Nothing | Search::Unfinished => None,
        }
    }

    /// Sends a message, most likely to whom the last one was sent; gives it back when there is no such process.
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

    /// Takes the current message, for sending it.
    pub fn take_message(&mut self) -> Result<Envelope, Fault> {
        self.current_kept = None;
        self.current.take().ok_or(Fault::NoMessage)
    }

    /// Charges for the current message, which is about to be `bytes` long. While a message is written it is in no
    /// mailbox, so it counts here; a small one does not.
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

    /// What it waits for, if it does.
    pub(super) fn wait_reason(&self) -> Option<&Reason> {
        self.wait.as_ref().map(|wait| &wait.reason)
    }

    // What the worker uses.

    /// Takes note of what has arrived, behind what is still to be handled.
    pub(super) fn take_in(&mut self, signals: Signals<Signal>) {
        if let Backend::Driven(machine) = &self.node().backend {
            machine.note_signals(self.id(), &signals);
        }
        self.unhandled.push(signals);
    }

    /// Whether dropping it may take long.
    pub(super) fn is_large(&self) -> bool {
        let kept = self.account.as_ref().map_or(0, |account| account.bytes());
        let bytes = self.process.inbox().held().0.max(kept);
        self.mailbox.len() > MANY || bytes > LARGE as u64 || self.extensions.is_slow_to_drop()
    }

    /// Handles what has arrived, in order, up to as many signals as `portion` says, which is then what is left of it. A
    /// reason to end ends it; what comes after is never looked at.
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

    /// Reductions for what was done for it while it waited.
    pub(super) fn take_unpaid(&mut self) -> u64 {
        std::mem::take(&mut self.unpaid)
    }

    /// Whether signals have arrived that are still to be handled.
    pub(super) fn has_unhandled(&self) -> bool {
        !self.unhandled.is_empty()
    }

    /// What arrived and was not handled, for whoever answers it after the end.
    pub(super) fn take_unhandled(&mut self) -> Backlog {
        std::mem::replace(&mut self.unhandled, Backlog { first: Signals::none(), more: None })
    }

    /// Ends the wait for such a message, or leaves it in the mailbox.
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
            // These count in the inbox, until they are handled or what becomes of them is received.
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
                // Before it is answered: the answer may be how much waits.
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

    /// What others want of this process, and what never ends it.
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

    /// Whoever has dropped an alias no longer gets what is sent to it.
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
        // Whoever is gone needs no acknowledgement.
        let _ = self.node().send(from, Signal::UnlinkAcknowledged { from: self.id(), number });
    }

    /// To a process that wants deaths as messages, so is this; of the others, 0 ends none.
    fn handle_exit(&mut self, from: ProcessId, reason: i64) -> Option<ExitReason> {
        if self.die_when_link_dies {
            self.process.inbox().handled();
            return (reason != 0).then_some(ExitReason::Reason(reason));
        }
        let termination = Termination::Own(Cause::Reason(reason));
        let death = Death { process: from, reference: 0, termination };
        self.keep_message(Message::LinkDied { tag: NO_TAG, death }, false)
    }

    /// Makes a message of a signal, which counts from here on as one that was sent. What `must_be_told` is not dropped.
    fn keep_message(&mut self, message: Message, must_be_told: bool) -> Option<ExitReason> {
        match self.process.inbox().keep(must_be_told) {
            Ok(()) => {
                self.arrived(Envelope::new(message));
                None
            }
            Err(limit) => limit.map(ExitReason::LimitExceeded),
        }
    }

    /// To a process that is asked to stop, it is as if something that it is linked to had died: the world outside.
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

    /// Whether it waits for messages and for nothing else. Whoever begins to has looked at all that are there, or waits
    /// for a signal first.
    pub(super) fn waits_for_messages(&self) -> bool {
        match &self.wait {
            Some(Wait { reason: Reason::Message { pattern, .. }, deadline: None, .. }) => {
                !pattern.is_unfinished() && !self.has_unhandled()
            }
            _ => false,
        }
    }

    /// How the activation goes on.
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
                // It goes on in the next turn, whatever the time is then.
                Search::Unfinished => return None,
                Search::Nothing => {}
            }
        }
        // What has arrived in time counts, also if it has not been handled yet.
        if *skipping || !self.unhandled.is_empty() {
            return None;
        }
        if !wait.is_due && wait.deadline.is_none_or(|deadline| self.process.node().clock.now() < deadline) {
            return None;
        }
        self.end_wait();
        Some(TIMED_OUT)
    }

    /// Makes a message from the mailbox the current one; what `receive` returns for it.
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

    /// Makes a message the current one, where it or the last one is large and so is charged for.
    #[cold]
    fn replace_large(&mut self, envelope: Envelope, size: usize) {
        // It counted in the mailbox, so it cannot be refused here.
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

    /// Whether all that it waits for is its next turn, in which it then goes on.
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

/// The text of an error that a guest can ask for.
pub struct ErrorText {
    text: Box<str>,
    _kept: Charge,
}

impl ErrorText {
    fn new(error: impl Display, keep: impl FnOnce(u64) -> Result<Charge, Full>) -> Result<ErrorText, Full> {
        /// Takes no more than there is room for: an error may quote what a guest has passed.
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

    /// What it says.
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
        // No batch behind the first is empty.
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
    /// None yet.
    pub fn new() -> ResourceTable<T> {
        ResourceTable { items: None, next: 0 }
    }

    /// Adds a thing, unless there are as many as the configuration allows; its number.
    pub fn add(&mut self, kind: &'static str, config: &ProcessConfig, item: T) -> Result<u64, Fault> {
        self.add_within(config.max_resources, item).ok_or(Fault::TooMany(kind))
    }

    /// Adds a thing, unless there are as many as this; its number.
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

    /// A number that is given to nothing else.
    pub fn take_number(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Checks that one more can be added, before that costs anything.
    pub fn check_room(&self, kind: &'static str, config: &ProcessConfig) -> Result<(), Fault> {
        let count = self.items.as_ref().map_or(0, |items| items.len() as u64);
        if count < config.max_resources { Ok(()) } else { Err(Fault::TooMany(kind)) }
    }

    /// The thing of this number.
    pub fn get(&self, kind: &'static str, id: u64) -> Result<&T, Fault> {
        self.items.as_ref().and_then(|items| items.get(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// The thing of this number.
    pub fn get_mut(&mut self, kind: &'static str, id: u64) -> Result<&mut T, Fault> {
        self.items.as_mut().and_then(|items| items.get_mut(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// Gives up the thing of this number.
    pub fn remove(&mut self, kind: &'static str, id: u64) -> Result<T, Fault> {
        self.items.as_mut().and_then(|items| items.remove(&id)).ok_or(Fault::Unknown { kind, id })
    }
}
