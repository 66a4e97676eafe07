//! What a process knows about itself: the data of its store, seen by host functions and by its worker.
//!
//! Everything a process owns besides its memory and its stack is here, so dropping it releases all of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use lunatic_jit::{RawValue, Resume};

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::error::Fault;
use crate::host::wasi::FdTable;
use crate::host::{Compiling, Databases, Sockets, Spawned};
use crate::net::{Direction, Source, Waiter};
use crate::node::{Due, Node, World};
use crate::quota::Place;

use super::alias::Aliases;
use super::body::Birth;
use super::deferred::Deferred;
use super::exit::{Cause, Ending, ExitReason};
use super::id::ProcessId;
use super::info::{Doing, Usage};
use super::link::Relations;
use super::mailbox::{Mailbox, Pattern};
use super::message::{Death, Letter, Message, NO_TAG};
use super::queue::Signals;
use super::signal::{Parcel, Signal};
use super::wait::{Finish, Reason, Wait};
use super::{Process, Sent};

/// What `receive` returns for each kind of message, and when time is up.
const RECEIVED_DATA: u64 = 0;
const RECEIVED_LINK_DIED: u64 = 1;
const RECEIVED_PROCESS_DIED: u64 = 2;
const TIMED_OUT: u64 = 9027;

/// See the module.
///
/// In the order of use: a process that has a turn after a thousand others finds none of this in the cache, and what most
/// turns need is together.
#[repr(C)]
pub(crate) struct ProcessData {
    wait: Option<Wait>,
    /// What a receive returns that has found its message meanwhile.
    received: Option<u64>,
    /// The message that is being written, or was received last.
    pub(crate) current: Option<Letter>,
    pub(crate) process: Arc<Process>,
    /// To whom it sent a message last, at first its spawner: mostly it sends the next one there too.
    receiver: Option<Arc<Process>>,
    pub(crate) mailbox: Mailbox,
    /// What it had used when it was last suspended.
    pub(super) usage: Usage,
    waits: u64,
    pub(crate) die_when_link_dies: bool,
    /// Names of metrics that it was the first to use.
    pub(crate) metrics_introduced: u32,
    /// Children so far; spreads them over the process table.
    pub(crate) children: u32,
    pub(crate) relations: Relations,
    pub(crate) configs: Resources<Arc<ProcessConfig>>,
    pub(crate) modules: Resources<Code>,
    pub(crate) errors: Resources<Box<dyn Error + Send + Sync>>,
    pub(crate) wasi: FdTable,
    /// Sockets and addresses, if it ever had any.
    pub(crate) sockets: Option<Box<Sockets>>,
    /// What it spawned last.
    pub(crate) last_spawned: Option<Box<Spawned>>,
    /// What is compiled for it at the moment.
    pub(crate) compiling: Option<Compiling>,
    /// By which it can be sent messages besides its identifier; most processes have none.
    pub(crate) aliases: Option<Box<Aliases>>,
    /// Its databases, if it ever opened one.
    pub(crate) databases: Option<Box<Databases>>,
    /// What it has in timers, if it ever set one.
    pub(crate) deferred: Option<Deferred>,
    _place: Option<Place>,
    references: u64,
    /// What came after the signal that ended it.
    unhandled: Signals<Signal>,
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
pub(crate) struct Resources<T> {
    /// Most processes have none.
    #[allow(clippy::box_collection)] // One word instead of three in every process, and nothing to drop.
    items: Option<Box<BTreeMap<u64, T>>>,
    next: u64,
}

impl ProcessData {
    pub(crate) fn new(birth: Birth) -> ProcessData {
        let Birth { process, spawner, relations, place } = birth;
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
            configs: Resources::new(),
            modules: Resources::new(),
            errors: Resources::new(),
            wasi: FdTable::default(),
            sockets: None,
            last_spawned: None,
            compiling: None,
            aliases: None,
            databases: None,
            deferred: None,
            _place: place,
            references: 0,
            unhandled: Signals::none(),
        }
    }

    /// This process.
    pub(crate) fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// The node it runs on.
    pub(crate) fn node(&self) -> &Arc<Node> {
        self.process.node()
    }

    /// Reductions that it may still use in its life, as far as is known.
    pub(crate) fn reductions_left(&self) -> u64 {
        let limit = self.process.config().max_reductions.unwrap_or(u64::MAX);
        limit.saturating_sub(self.usage.reductions)
    }

    /// A number that this process has given to nothing else: a monitor's reference, an alias, an undone link.
    pub(crate) fn next_reference(&mut self) -> u64 {
        self.references += 1;
        self.references
    }

    // What host functions use to suspend. Each returns the number of the wait.

    /// Waits for `reason`, at most until `deadline`. The host function then says [`HostCall::Suspend`].
    pub(crate) fn wait_for(&mut self, reason: Reason, deadline: Option<u64>) -> u64 {
        debug_assert!(self.wait.is_none(), "a process waits for one thing at a time");
        self.waits += 1;
        let number = self.waits;
        self.wait = Some(Wait { number, reason, deadline, timer: None, is_due: false });
        number
    }

    /// Has work on files done that may block, and waits for it. The job returns what computes the result. Until it is
    /// done the process is at rest, and can be killed; on which thread it goes on then, `scheduler/following.rs` says.
    pub(crate) fn wait_for_job(&mut self, job: impl FnOnce() -> Finish + Send + 'static) {
        let wait = self.wait_for(Reason::Completion, None);
        let process = self.process.clone();
        self.node().submit(Box::new(move || process.complete(wait, job())));
    }

    /// Waits for someone to call what is returned.
    pub(crate) fn wait_for_completion(&mut self) -> impl FnOnce(Finish) + Send + 'static {
        let wait = self.wait_for(Reason::Completion, None);
        let (node, id) = (self.node().clone(), self.id());
        move |finish| {
            // A process that is gone does not need its result.
            let _ = node.send(id, Signal::Completed { wait, finish });
        }
    }

    /// Waits until a source may be ready, at most until `deadline`, and then tries again; `needs` are addresses of what
    /// that looks at.
    pub(crate) fn wait_until_ready(
        &mut self,
        source: &Source,
        direction: Direction,
        deadline: Option<u64>,
        needs: [usize; 2],
        again: Finish,
    ) {
        let needs = [(&raw const *again).addr(), needs[0], needs[1]];
        let wait = self.wait_for(Reason::Readiness(again), deadline);
        let waiter = Waiter { process: self.process.clone(), wait, needs };
        if !source.wait(direction, waiter) {
            // It became ready while this was being said.
            self.wait.as_mut().expect("it was just made").become_ready();
        }
    }

    /// Has another source, or another direction of one, tell of readiness, for a wait that was made for
    /// [`Reason::Readiness`] of several.
    pub(crate) fn also_wait_for(&mut self, source: &Source, direction: Direction, wait: u64) {
        let waiter = Waiter { process: self.process.clone(), wait, needs: [0; 3] };
        if !source.wait(direction, waiter)
            && let Some(wait) = &mut self.wait
        {
            // It became ready while this was being said.
            wait.become_ready();
        }
    }

    /// Begins a message; what was current is dropped.
    pub(crate) fn create_message(&mut self, tag: i64, capacity: usize) {
        if !self.current.as_mut().is_some_and(|letter| letter.write_again(tag, capacity)) {
            self.current = Some(Letter::blank(tag, capacity));
        }
    }

    /// Receives what is in the mailbox already and matches; what `receive` returns for it. Signals that have arrived
    /// since are behind it.
    pub(crate) fn receive_now(&mut self, pattern: &mut Pattern) -> Option<u64> {
        let letter = self.mailbox.take(pattern)?;
        Some(self.receive(letter))
    }

    /// Sends a message, most likely to whom the last one was sent; gives it back when there is no such process.
    pub(crate) fn send(&mut self, to: ProcessId, letter: Letter) -> Result<Sent, Parcel> {
        let receiver = match &self.receiver {
            Some(known) if known.id() == to => known,
            _ => match self.process.node().table.get(to) {
                Some(found) => self.receiver.insert(found),
                None => return Err(letter.into()),
            },
        };
        receiver.send(letter)
    }

    /// Takes the current message, for sending it.
    pub(crate) fn take_message(&mut self) -> Result<Letter, Fault> {
        self.current.take().ok_or(Fault::NoMessage)
    }

    /// What it waits for, if it does.
    pub(super) fn wait_reason(&self) -> Option<&Reason> {
        self.wait.as_ref().map(|wait| &wait.reason)
    }

    // What the worker uses.

    /// Handles what has arrived, in order. A reason to end ends it; what comes after is never looked at.
    pub(super) fn handle_signals(&mut self, mut signals: Signals<Signal>) -> Option<ExitReason> {
        if let World::Simulated(hooks) = &self.node().world {
            hooks.note_signals(self.id(), &signals);
        }
        while let Some(parcel) = signals.next() {
            let ended = match Letter::of(parcel) {
                Ok(letter) => {
                    self.arrived(letter);
                    continue;
                }
                Err(parcel) => self.handle(parcel.content),
            };
            if ended.is_some() {
                self.unhandled = signals;
                return ended;
            }
        }
        None
    }

    /// What arrived and was not handled, for whoever answers it after the end.
    pub(super) fn take_unhandled(&mut self) -> Signals<Signal> {
        std::mem::replace(&mut self.unhandled, Signals::none())
    }

    /// Ends the wait for such a message, or leaves it in the mailbox.
    fn arrived(&mut self, letter: Letter) {
        let Some(Wait { reason: Reason::Message { pattern, skipping: false }, .. }) = &mut self.wait else {
            return self.mailbox.push(letter);
        };
        if let Some(letter) = self.mailbox.offer(pattern, letter) {
            self.end_wait();
            self.received = Some(self.receive(letter));
        }
    }

    fn handle(&mut self, signal: Signal) -> Option<ExitReason> {
        match signal {
            Signal::Message(message) => self.arrived(Letter::new(message)),
            Signal::MessageByAlias { alias, letter } => self.handle_alias(alias, letter),
            Signal::Inspect(answer) => answer(Some(self.info(Doing::Runnable))),
            Signal::Kill => return Some(ExitReason::Killed),
            Signal::Stop { status } => return self.handle_stop(status),
            Signal::Link { from, tag } => self.relations.linked_by(from, tag),
            Signal::Unlink { from, number } => self.handle_unlink(from, number),
            Signal::UnlinkAcknowledged { from, number } => self.relations.unlink_acknowledged(from, number),
            Signal::LinkDied { from, ending } => return self.handle_link_died(from, ending),
            Signal::Exit { from, reason } => return self.handle_exit(from, reason),
            Signal::Monitor { from, reference } => self.relations.add_watcher(from, reference),
            Signal::StopMonitoring { from, reference } => self.relations.remove_watcher(from, reference),
            Signal::ProcessDied { from, reference, ending } => {
                if self.relations.watched_died(from, reference) {
                    let death = Death { process: from, reference, ending };
                    self.arrived(Letter::new(Message::ProcessDied(death)));
                }
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

    /// Whoever has dropped an alias no longer gets what is sent to it.
    fn handle_alias(&mut self, alias: u64, letter: Letter) {
        if self.aliases.as_deref_mut().is_some_and(|aliases| aliases.accept(alias)) {
            self.arrived(letter);
        } else {
            self.process.inbox().release(letter.message().size() as u64);
        }
    }

    fn handle_link_died(&mut self, from: ProcessId, ending: Ending) -> Option<ExitReason> {
        let tag = self.relations.link_died(from)?;
        if ending.cause() == Cause::Normal {
            return None;
        }
        if self.die_when_link_dies {
            return Some(ExitReason::LinkDied { peer: from, cause: ending.cause() });
        }
        let death = Death { process: from, reference: 0, ending };
        self.arrived(Letter::new(Message::LinkDied { tag, death }));
        None
    }

    fn handle_unlink(&mut self, from: ProcessId, number: u64) {
        self.relations.unlinked_by(from);
        // Whoever is gone needs no acknowledgement.
        let _ = self.node().send(from, Signal::UnlinkAcknowledged { from: self.id(), number });
    }

    /// To a process that wants deaths as messages, so is this; of the others, 0 ends none.
    fn handle_exit(&mut self, from: ProcessId, reason: i64) -> Option<ExitReason> {
        if self.die_when_link_dies {
            return (reason != 0).then_some(ExitReason::Reason(reason));
        }
        let ending = Ending::Own(Cause::Reason(reason));
        let death = Death { process: from, reference: 0, ending };
        self.arrived(Letter::new(Message::LinkDied { tag: NO_TAG, death }));
        None
    }

    /// To a process that is asked to stop, it is as if something that it is linked to had died: the world outside.
    fn handle_stop(&mut self, status: i32) -> Option<ExitReason> {
        if self.die_when_link_dies {
            return Some(ExitReason::Stopped(status));
        }
        let ending = Ending::Own(Cause::Stopped);
        let death = Death { process: ProcessId::NONE, reference: 0, ending };
        self.arrived(Letter::new(Message::LinkDied { tag: NO_TAG, death }));
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
        matches!(self.wait, Some(Wait { reason: Reason::Message { .. }, deadline: None, .. }))
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
        let Reason::Message { pattern, skipping: false } = &mut wait.reason else { return None };
        if let Some(letter) = self.mailbox.take(pattern) {
            self.end_wait();
            return Some(self.receive(letter));
        }
        if !wait.is_due && wait.deadline.is_none_or(|deadline| self.process.node().clock.now() < deadline) {
            return None;
        }
        self.end_wait();
        Some(TIMED_OUT)
    }

    /// Makes a message from the mailbox the current one; what `receive` returns for it.
    fn receive(&mut self, letter: Letter) -> u64 {
        let message = letter.message();
        let kind = match message {
            Message::Data(_) => {
                self.process.inbox().release(message.size() as u64);
                RECEIVED_DATA
            }
            Message::LinkDied { .. } => RECEIVED_LINK_DIED,
            Message::ProcessDied(_) => RECEIVED_PROCESS_DIED,
        };
        if let Some(last) = self.current.replace(letter) {
            last.discard();
        }
        kind
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
        let Some(wait) = &mut self.wait else { return false };
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

impl<T> Default for Resources<T> {
    fn default() -> Resources<T> {
        Resources::new()
    }
}

impl<T> Resources<T> {
    /// None yet.
    pub(crate) fn new() -> Resources<T> {
        Resources { items: None, next: 0 }
    }

    /// Adds a thing, unless there are as many as the configuration allows; its number.
    pub(crate) fn add(&mut self, kind: &'static str, config: &ProcessConfig, item: T) -> Result<u64, Fault> {
        self.add_within(config.max_resources, item).ok_or(Fault::TooMany(kind))
    }

    /// Adds a thing, unless there are as many as this; its number.
    pub(crate) fn add_within(&mut self, max: u64, item: T) -> Option<u64> {
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
    pub(crate) fn take_number(&mut self) -> u64 {
        let id = self.next;
        self.next += 1;
        id
    }

    /// Checks that one more can be added, before that costs anything.
    pub(crate) fn check_room(&self, kind: &'static str, config: &ProcessConfig) -> Result<(), Fault> {
        let count = self.items.as_ref().map_or(0, |items| items.len() as u64);
        if count < config.max_resources { Ok(()) } else { Err(Fault::TooMany(kind)) }
    }

    /// The thing of this number.
    pub(crate) fn get(&self, kind: &'static str, id: u64) -> Result<&T, Fault> {
        self.items.as_ref().and_then(|items| items.get(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// The thing of this number.
    pub(crate) fn get_mut(&mut self, kind: &'static str, id: u64) -> Result<&mut T, Fault> {
        self.items.as_mut().and_then(|items| items.get_mut(&id)).ok_or(Fault::Unknown { kind, id })
    }

    /// Gives up the thing of this number.
    pub(crate) fn remove(&mut self, kind: &'static str, id: u64) -> Result<T, Fault> {
        self.items.as_mut().and_then(|items| items.remove(&id)).ok_or(Fault::Unknown { kind, id })
    }
}
