//! Processes: identity, state, signals, mailbox, links, and their life from the first turn to the last.
//!
//! | file | what it holds |
//! |---|---|
//! | `id`, `table` | who a process is, who is alive |
//! | `template` | what it shares with others of its kind |
//! | `signal` | what reaches a process; the scheduler's `SignalQueue` orders it and says whether the process is runnable |
//! | `inbox` | the queue, and how much may wait in it |
//! | `message`, `mailbox` | what waits to be received |
//! | `free_list` | envelopes that are written again |
//! | `link`, `alias` | links and monitors; names that end before their process |
//! | `wait` | what a suspended process waits for |
//! | `data` | all that host functions see, and what signals do |
//! | `body`, `turn` | the store, and one turn on a worker |
//! | `info` | what can be said of a process from outside |
//! | `exit`, `end` | why a process ends, and in which order it is taken apart |

mod alias;
mod body;
mod data;
mod end;
mod exit;
mod exit_event;
mod fault_throttle;
mod free_list;
mod id;
mod inbox;
mod info;
mod link;
mod mailbox;
mod message;
mod port;
mod signal;
mod table;
mod template;
mod turn;
mod wait;

/// What [`queue`] is made of, which a model checker replaces by its own.
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use lunatic_jit::WorkingSet;

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::node::Node;
use crate::report::Report;
use lunatic_resources::Account;
use lunatic_scheduler::{Events, Priority, Step, Task, Wake};

pub use alias::Use as AliasUse;
pub use body::{EntryPoint, SpawnParams};
pub use data::{ProcessData, ResourceTable, SEARCH_STEP};
pub use exit::ExitReason;
pub use exit_event::{ExitFuture, ExitKind, ExitObserver, ExitWatch, Exits, ProcessExit};
pub use id::ProcessId;
pub use info::{Info, RunState, Snapshot};
pub use link::Relations;
pub use lunatic_scheduler::Signals;
pub use mailbox::{MAX_TAGS, Pattern, Tags};
pub use message::{DataMessage, Death, Envelope, Message, NO_TAG};
pub use port::{NoMessage, PortHandle, PortMessage};
pub use signal::{Signal, SignalNode};
pub use table::{ProcessTable, ProcessTableFull, SHARDS};
pub use template::ProcessTemplate;
pub use wait::WaitsFor;
pub use wait::{Finish, Reason};

use body::Body;
use inbox::Inbox;
use port::{Doorbell, Port};

/// How often a worker yields to whoever looks, who is quick unless the machine is very busy.
const MAX_YIELDS: u32 = 1000;

/// A process as others know it: they push signals and wake it. Its worker takes the body.
///
/// In this order: first what whoever sends to it looks at, then what its worker does.
#[repr(C)]
pub struct Process {
    id: ProcessId,
    template: Arc<ProcessTemplate>,
    /// A [`Priority`].
    priority: AtomicU8,
    /// Whether it may have names in the registry, so that most exits need not look.
    named: AtomicBool,
    /// Whether somebody outside of the node waits for its end.
    watched: AtomicBool,
    /// Somebody would like to look at it.
    wanted: AtomicBool,
    inbox: Inbox,
    /// Held by the worker that runs it; the queue's states keep other workers away. Who [looks](Process::look) holds it
    /// for a moment, so a worker hardly ever waits, and never for another one.
    /// `None` before the process is given its body and after its end.
    body: Mutex<Option<Body>>,
    /// What it will need when it is resumed; who makes it runnable has that fetched.
    working_set: WorkingSet,
}

/// A process that is prepared and that no run queue has yet. Signals reach it, and wait for its first turn. It is
/// started when this is dropped, so that a spawner that fails meanwhile cannot leave it behind.
#[must_use = "the process starts when this is dropped"]
pub struct Unstarted(Option<Arc<Process>>);

impl Unstarted {
    /// Of a process that has been prepared and that nothing has scheduled.
    pub fn new(process: Arc<Process>) -> Unstarted {
        Unstarted(Some(process))
    }

    /// Schedules it.
    pub fn start(self) {
        drop(self);
    }

    /// Runs it on this thread instead of scheduling it, until it ends or waits for something; then it is as if it had been
    /// scheduled from the beginning. It is not interrupted for others: the thread is not one that they share.
    pub fn run_here(mut self) -> Arc<Process> {
        let process = self.0.take().expect("only starting it takes the process out");
        // As a worker that has just taken it out of a queue: nothing else runs it, and a wake while it runs is seen
        // when it rests.
        while let Step::Again = Task::run(&*process) {}
        if !process.is_over() {
            // It may have set a timer, of which workers that sleep have not heard.
            let node = process.node();
            node.scheduler().hasten(node.next_deadline());
        }
        process
    }

    /// Ends it before its first instruction.
    pub fn abandon(self) {
        // It was not started, so nothing has ended it.
        let _ = self.send(Signal::Kill);
    }
}

impl std::ops::Deref for Unstarted {
    type Target = Arc<Process>;

    fn deref(&self) -> &Arc<Process> {
        self.0.as_ref().expect("only starting it takes the process out")
    }
}

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(process) = self.0.take() {
            let node = process.node().clone();
            node.scheduler().schedule(process);
        }
    }
}

/// A signal was sent.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Whether the receiver has so much to receive that the sender had better let it run.
    pub is_congested: bool,
}

impl Wake for Process {
    fn wake(self: Arc<Self>, token: u64) {
        // A process that is gone does not need to know.
        let _ = self.send(Signal::Ready { wait: token });
    }

    fn is_gone(&self) -> bool {
        self.is_over()
    }

    fn prefetch(&self, hints: &[usize]) {
        self.prefetch_to_send();
        hints.iter().copied().for_each(lunatic_scheduler::prefetch);
    }
}

impl Process {
    /// A process that cannot run yet.
    pub fn new(id: ProcessId, template: Arc<ProcessTemplate>) -> Process {
        Process {
            id,
            priority: AtomicU8::new(Priority::Normal as u8),
            named: AtomicBool::new(false),
            watched: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            inbox: Inbox::new(&template.config, template.node.total_memory.clone()),
            template,
            body: Mutex::new(None),
            working_set: WorkingSet::default(),
        }
    }

    /// Its identifier.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// What it is made of.
    pub fn template(&self) -> &Arc<ProcessTemplate> {
        &self.template
    }

    /// The node that it runs on.
    pub fn node(&self) -> &Arc<Node> {
        &self.template.node
    }

    /// The module that it runs.
    pub fn code(&self) -> &Code {
        &self.template.code
    }

    /// Its limits and permissions.
    pub fn config(&self) -> &Arc<ProcessConfig> {
        &self.template.config
    }

    /// Gives the process what it runs, and what it begins with. It runs once it is [started](Unstarted::start).
    pub fn prepare(&self, entry: EntryPoint, params: SpawnParams) {
        *self.lock_body() = Some(Body::starting(params, entry));
    }

    /// Sends it a signal; gives it back when the process is over.
    pub fn send(self: &Arc<Self>, signal: impl Into<SignalNode>) -> Result<Sent, SignalNode> {
        let has_to_be_queued = self.inbox.push(signal.into())?;
        let sent = Sent { is_congested: self.inbox.is_congested() };
        if has_to_be_queued {
            self.prefetch();
            self.node().scheduler().schedule(self.clone());
        }
        Ok(sent)
    }

    /// Gives it the result of what it waits for. If that makes it runnable, the caller runs it or queues it.
    fn complete(self: Arc<Self>, wait: u64, finish: Finish) -> Option<Arc<dyn Task>> {
        // A process that is over does not need its result.
        let has_to_be_queued = self.inbox.push(Signal::Completed { wait, finish }.into()).unwrap_or(false);
        has_to_be_queued.then_some(self as Arc<dyn Task>)
    }

    /// Has the processor fetch what its next turn will need, and its sender did not.
    fn prefetch(&self) {
        lunatic_scheduler::prefetch((&raw const self.body).addr());
        self.working_set.prefetch();
    }

    /// Has the processor fetch what sending to it looks at.
    pub fn prefetch_to_send(&self) {
        lunatic_scheduler::prefetch((&raw const *self).addr());
        lunatic_scheduler::prefetch((&raw const self.inbox).addr());
        lunatic_scheduler::prefetch((&raw const self.working_set).addr());
    }

    /// How urgent it is, from when it is queued next. For its own worker alone.
    pub fn set_priority(&self, priority: Priority) {
        // Relaxed: it says in which queue the process is put, and nothing about the process.
        self.priority.store(priority as u8, Ordering::Relaxed);
    }

    /// How urgent it is.
    pub fn priority(&self) -> Priority {
        Priority::from_number(self.priority.load(Ordering::Relaxed).into()).unwrap_or_default()
    }

    /// What it is called, what it waits for, and the tags of messages that would do, for a person who wants to know why
    /// nothing happens. Only while no worker runs it.
    pub fn waiting(&self) -> Option<(Option<String>, WaitsFor, Vec<i64>)> {
        let mut guard = self.lock_body();
        let body = guard.as_mut()?;
        let report = Report::new(self, body.entry());
        let reason = body.wait_reason()?;
        Some((report.into_name(), reason.waits_for()?, reason.tags().to_vec()))
    }

    /// Has somebody outside of the node wait for its end. To be called before it is started.
    pub fn watch(&self) -> Arc<ExitWatch> {
        // Relaxed: it is called before the process is started, which orders it before the end.
        self.watched.store(true, Ordering::Relaxed);
        self.node().exits.watch(self.id)
    }

    /// What its end is to be told outside of the node, if anybody there wants to know.
    fn exit_event(
        &self,
        body: Option<&Body>,
        reason: &ExitReason,
        report: Option<&String>,
    ) -> Option<ProcessExit> {
        let is_watched = self.watched.load(Ordering::Relaxed);
        if !is_watched && !self.node().exits.is_observed() {
            return None;
        }
        let results = match reason {
            ExitReason::Normal if is_watched => body.map(Body::results).unwrap_or_default(),
            _ => Vec::new(),
        };
        Some(ProcessExit {
            process: self.id.to_guest(),
            kind: ExitKind::from(reason),
            results,
            report: report.cloned(),
        })
    }

    /// Makes it a port, before it is started. See [`PortHandle`].
    pub fn prepare_port(self: &Arc<Self>, entry: EntryPoint) -> PortHandle {
        let params = SpawnParams {
            process: self.clone(),
            spawner: None,
            relations: Relations::default(),
            place: None,
            extensions: None,
        };
        let bell = Arc::<Doorbell>::default();
        let mut data = ProcessData::new(params);
        // The end of a process that it is linked to is no reason for a port to end.
        data.die_when_link_dies = false;
        *self.lock_body() = Some(Body::of_port(Port::new(data, bell.clone()), entry));
        PortHandle::new(self.clone(), bell)
    }

    /// Looks at the data of a port.
    fn with_port<R>(self: &Arc<Self>, look: impl FnOnce(&mut ProcessData) -> R) -> Result<R, NoMessage> {
        let mut body = self.lock_body();
        let data = body.as_mut().and_then(Body::port_mut).ok_or(NoMessage::Closed)?;
        // What was sent is there, though the port may not have had its turn: a process that sends and then ends is heard
        // before its end is. No worker handles signals while the body is locked.
        data.take_in(self.inbox.queue().take_early());
        if let Some(reason) = data.handle_signals(&mut u32::MAX.clone()) {
            // It ends in its turn.
            let again = match reason {
                ExitReason::LimitExceeded(limit) => Signal::MailboxFull(limit),
                _ => Signal::Kill,
            };
            let _ = self.send(again);
        }
        Ok(look(data))
    }

    /// Whether its end has begun.
    pub fn is_over(&self) -> bool {
        self.inbox.queue().is_closed()
    }

    /// Remembers that it has a name. To be asked [`Process::is_over`] after: an end that came before this does
    /// not free the name, one that comes later does.
    pub fn set_named(&self) {
        // Relaxed: asking whether the queue is closed orders this before a later close, which precedes the look at the
        // flag.
        self.named.store(true, Ordering::Relaxed);
    }

    /// Takes it apart without telling anyone: the node is over.
    pub fn discard(&self) {
        drop(self.inbox.close());
        let body = self.lock_body().take();
        drop(body);
    }

    /// What it is and does, if its worker lets go of it within so many attempts; it does after every turn.
    pub fn snapshot(&self, attempts: u32) -> Option<Snapshot> {
        // Relaxed, here and below: a wish, which orders nothing.
        self.wanted.store(true, Ordering::Relaxed);
        let look = self.try_to_snapshot(attempts);
        self.wanted.store(false, Ordering::Relaxed);
        look
    }

    fn try_to_snapshot(&self, attempts: u32) -> Option<Snapshot> {
        for _ in 0..attempts {
            match self.body.try_lock() {
                Ok(mut body) => return body.as_mut().map(|body| body.snapshot(self)),
                Err(TryLockError::Poisoned(_)) => return None,
                Err(TryLockError::WouldBlock) => std::thread::yield_now(),
            }
        }
        None
    }

    /// Waits a moment if somebody wants to look: a process that computes alone has its next turn at once, and who looks
    /// would have to be lucky. To be called between two turns.
    fn let_snapshot(&self) {
        for _ in 0..MAX_YIELDS {
            if !self.wanted.load(Ordering::Relaxed) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// An account for what the host keeps for it. It is to have one.
    fn new_account(&self) -> Arc<Account> {
        let config = self.config();
        let total = self.node().accounts_total().clone();
        Account::new(config.max_memory, config.max_resources, config.quota.clone(), total)
    }

    /// What arrives.
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn lock_body(&self) -> MutexGuard<'_, Option<Body>> {
        // A panic in a turn is ours; the body it leaves is dropped as it is, without running it again.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
