//! What a process knows about itself: the data of its store, seen by host functions and by its worker.
//!
//! Everything a process owns besides its memory and its stack is here, so dropping it releases all of it.

use std::collections::{BTreeMap, VecDeque};
use std::error::Error;
use std::sync::Arc;

use lunatic_jit::{HostCall, RawValue, Resume};

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::error::Fault;
use crate::host::Compiling;
use crate::host::wasi::FdTable;
use crate::node::{Due, Node, World};

use super::Process;
use super::exit::{Ending, ExitReason, Limit};
use super::id::ProcessId;
use super::link::Relations;
use super::mailbox::{Mailbox, Pattern};
use super::message::{Message, NO_TAG};
use super::signal::Signal;
use super::wait::{Finish, Reason, Wait, WaitsFor};

/// Configurations, modules or errors that a process may hold of each.
const MAX_RESOURCES: usize = 65_536;

/// What `receive` returns for each kind of message, and when time is up.
const RECEIVED_DATA: u64 = 0;
const RECEIVED_LINK_DIED: u64 = 1;
const RECEIVED_PROCESS_DIED: u64 = 2;
const TIMED_OUT: u64 = 9027;

/// See the module.
pub(crate) struct ProcessData {
    pub(crate) process: Arc<Process>,
    pub(crate) code: Code,
    pub(crate) config: Arc<ProcessConfig>,
    pub(crate) relations: Relations,
    pub(crate) die_when_link_dies: bool,
    pub(crate) mailbox: Mailbox,
    /// The message that is being written, or was received last.
    pub(crate) current: Option<Message>,
    pub(crate) configs: Resources<Arc<ProcessConfig>>,
    pub(crate) modules: Resources<Code>,
    pub(crate) errors: Resources<Box<dyn Error + Send + Sync>>,
    pub(crate) wasi: FdTable,
    /// What is compiled for it at the moment.
    pub(crate) compiling: Option<Compiling>,
    /// Children so far; spreads them over the process table.
    pub(crate) children: u32,
    wait: Option<Wait>,
    waits: u64,
    arrived: VecDeque<Signal>,
}

/// Things that a guest knows by number. A number is given once.
pub(crate) struct Resources<T> {
    items: BTreeMap<u64, T>,
    next: u64,
}

impl ProcessData {
    pub(crate) fn new(
        process: Arc<Process>,
        code: Code,
        config: Arc<ProcessConfig>,
        relations: Relations,
    ) -> ProcessData {
        ProcessData {
            process,
            code,
            config,
            relations,
            die_when_link_dies: true,
            mailbox: Mailbox::default(),
            current: None,
            configs: Resources::default(),
            modules: Resources::default(),
            errors: Resources::default(),
            wasi: FdTable::default(),
            compiling: None,
            children: 0,
            wait: None,
            waits: 0,
            arrived: VecDeque::new(),
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

    // What host functions use to suspend. Each returns the number of the wait.

    /// Waits for `reason`, at most until `deadline`. The host function then says [`HostCall::Suspend`].
    pub(crate) fn wait_for(&mut self, reason: Reason, deadline: Option<u64>) -> u64 {
        debug_assert!(self.wait.is_none(), "a process waits for one thing at a time");
        self.waits += 1;
        let number = self.waits;
        self.wait = Some(Wait { number, reason, deadline, timer: None, is_due: false });
        number
    }

    /// Runs blocking work on the pool and waits for it. The job returns what computes the result.
    pub(crate) fn wait_for_job(&mut self, job: impl FnOnce() -> Finish + Send + 'static) {
        let complete = self.wait_for_completion();
        self.node().submit(Box::new(move || complete(job())));
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

    /// Receives what is in the mailbox already and matches; what `receive` returns for it. Signals that have arrived
    /// since are behind it.
    pub(crate) fn receive_now(&mut self, pattern: &mut Pattern) -> Option<u64> {
        let message = self.mailbox.take(pattern)?;
        Some(self.receive(message))
    }

    /// Takes the current message, for sending it.
    pub(crate) fn take_message(&mut self) -> Result<Message, Fault> {
        self.current.take().ok_or(Fault::NoMessage)
    }

    // What the worker uses.

    /// Handles what has arrived, in order. A reason to end ends it; what comes after is never looked at.
    pub(super) fn handle_signals(&mut self) -> Option<ExitReason> {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.process.inbox().drain(&mut arrived);
        if let World::Simulated(hooks) = &self.node().world {
            hooks.note_signals(self.id(), &arrived);
        }
        let end = loop {
            match arrived.pop_front() {
                Some(signal) => {
                    if let Some(reason) = self.handle(signal) {
                        break Some(reason);
                    }
                }
                None => break None,
            }
        };
        self.arrived = arrived;
        end
    }

    /// What was drained and not handled, for whoever answers it after the end.
    pub(super) fn take_unhandled(&mut self) -> VecDeque<Signal> {
        std::mem::take(&mut self.arrived)
    }

    fn handle(&mut self, signal: Signal) -> Option<ExitReason> {
        match signal {
            Signal::Message(message) => self.mailbox.push(message),
            Signal::Kill => return Some(ExitReason::Killed),
            Signal::Stop { status } => return self.handle_stop(status),
            Signal::Link { from, tag } => self.relations.link(from, tag),
            Signal::Unlink { from } => drop(self.relations.unlink(from)),
            Signal::LinkDied { from, ending } => return self.handle_link_died(from, ending),
            Signal::Monitor { from } => self.relations.add_watcher(from),
            Signal::StopMonitoring { from } => self.relations.remove_watcher(from),
            Signal::ProcessDied { from } => {
                if self.relations.watched_died(from) {
                    self.mailbox.push(Message::ProcessDied { process: from.to_guest() });
                }
            }
            Signal::Completed { wait: number, finish } => {
                if let Some(wait) = self.wait.as_mut().filter(|wait| wait.number == number) {
                    wait.reason = Reason::Over(finish);
                }
            }
            Signal::Due { wait: number } => {
                if let Some(wait) = self.wait.as_mut().filter(|wait| wait.number == number) {
                    (wait.timer, wait.is_due) = (None, true);
                }
            }
            Signal::SkipUntilHere { wait: number } => self.skip_until_here(number),
            Signal::MailboxFull => {
                return Some(ExitReason::LimitExceeded(Limit::Mailbox(self.process.inbox().limit())));
            }
        }
        None
    }

    fn handle_link_died(&mut self, from: ProcessId, ending: Ending) -> Option<ExitReason> {
        let tag = self.relations.unlink(from)?;
        if ending == Ending::Normal {
            return None;
        }
        if self.die_when_link_dies {
            return Some(ExitReason::LinkDied(from));
        }
        self.mailbox.push(Message::LinkDied { tag });
        None
    }

    /// To a process that is asked to stop, it is as if something that it is linked to had died: the world outside.
    fn handle_stop(&mut self, status: i32) -> Option<ExitReason> {
        if self.die_when_link_dies {
            return Some(ExitReason::Stopped(status));
        }
        self.mailbox.push(Message::LinkDied { tag: NO_TAG });
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

    /// How the activation goes on, or `None` when it has to wait.
    pub(super) fn resolve(&mut self, memory: &mut [u8]) -> Option<Resume> {
        loop {
            if self.wait.is_none() {
                return Some(Resume::Continue);
            }
            if let Some(result) = self.resolve_message() {
                return Some(Resume::Return(RawValue::from(result)));
            }
            let Some(finish) = self.resolve_finish() else {
                self.set_timer();
                return None;
            };
            match finish(memory, self) {
                Ok(HostCall::Return(value)) => return Some(Resume::Return(value)),
                Ok(HostCall::Suspend) => {}
                Err(fault) => return Some(Resume::Fail(Box::new(fault))),
            }
        }
    }

    fn resolve_message(&mut self) -> Option<u64> {
        let wait = self.wait.as_mut()?;
        let Reason::Message { pattern, skipping: false } = &mut wait.reason else { return None };
        if let Some(message) = self.mailbox.take(pattern) {
            self.end_wait();
            return Some(self.receive(message));
        }
        if !wait.is_due && wait.deadline.is_none_or(|deadline| self.process.node().clock.now() < deadline) {
            return None;
        }
        self.end_wait();
        Some(TIMED_OUT)
    }

    /// Makes a message from the mailbox the current one; what `receive` returns for it.
    fn receive(&mut self, message: Message) -> u64 {
        let kind = match &message {
            Message::Data(_) => {
                self.process.inbox().release(message.size() as u64);
                RECEIVED_DATA
            }
            Message::LinkDied { .. } => RECEIVED_LINK_DIED,
            Message::ProcessDied { .. } => RECEIVED_PROCESS_DIED,
        };
        self.current = Some(message);
        kind
    }

    fn resolve_finish(&mut self) -> Option<Finish> {
        let wait = self.wait.as_mut()?;
        let now = || self.process.node().clock.now();
        let is_over = match &wait.reason {
            Reason::Over(_) => true,
            Reason::Time(_) => wait.is_due || wait.deadline.is_some_and(|deadline| deadline <= now()),
            Reason::Message { .. } | Reason::Completion => false,
        };
        if !is_over {
            return None;
        }
        match self.end_wait()?.reason {
            Reason::Over(finish) | Reason::Time(finish) => Some(finish),
            Reason::Message { .. } | Reason::Completion => None,
        }
    }

    /// Forgets the wait and its timer.
    pub(super) fn end_wait(&mut self) -> Option<Wait> {
        let wait = self.wait.take()?;
        if let Some(timer) = wait.timer {
            self.node().timers.cancel(timer);
        }
        Some(wait)
    }

    /// What it waits for, for a person.
    pub(super) fn waits_for(&self) -> Option<WaitsFor> {
        self.wait.as_ref().map(|wait| WaitsFor::from(&wait.reason))
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
        Resources { items: BTreeMap::new(), next: 0 }
    }
}

impl<T> Resources<T> {
    /// Adds a thing; its number.
    pub(crate) fn add(&mut self, kind: &'static str, item: T) -> Result<u64, Fault> {
        if self.items.len() >= MAX_RESOURCES {
            return Err(Fault::TooMany(kind));
        }
        let id = self.next;
        self.next += 1;
        self.items.insert(id, item);
        Ok(id)
    }

    /// The thing of this number.
    pub(crate) fn get(&self, kind: &'static str, id: u64) -> Result<&T, Fault> {
        self.items.get(&id).ok_or(Fault::Unknown { kind, id })
    }

    /// The thing of this number.
    pub(crate) fn get_mut(&mut self, kind: &'static str, id: u64) -> Result<&mut T, Fault> {
        self.items.get_mut(&id).ok_or(Fault::Unknown { kind, id })
    }

    /// Gives up the thing of this number.
    pub(crate) fn remove(&mut self, kind: &'static str, id: u64) -> Result<T, Fault> {
        self.items.remove(&id).ok_or(Fault::Unknown { kind, id })
    }
}
