//! Processes: identity, state, signals, mailbox, links, and their life from the first turn to the end.
//!
//! | file | what it holds |
//! |---|---|
//! | `id`, `table` | identifiers, and the table of live processes |
//! | `template` | the code, configuration and node that a process shares with others like it |
//! | `signal` | what reaches a process. The scheduler's `SignalQueue` orders signals and knows whether the process is
//! runnable |
//! | `inbox` | the signal queue with its limits |
//! | `message`, `mailbox` | messages, and those that wait to be received |
//! | `free_list` | envelopes that are reused |
//! | `link`, `alias` | links and monitors; addresses that expire before their process |
//! | `port`, `exit_event` | messages to the embedder, and process exits as the embedder sees them |
//! | `wait` | what a suspended process waits for |
//! | `data` | everything that host functions see, and the effects of signals |
//! | `body`, `turn` | the store, and one turn on a worker |
//! | `info` | what can be reported about a process |
//! | `exit`, `end` | why a process ends, and the order in which its parts are released |

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
mod wakers;

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
pub use data::{CONFIGURATION, FOREVER, ProcessData, ResourceTable, SEARCH_STEP, TIMED_OUT};
pub use exit::ExitReason;
pub use exit_event::{ExitFuture, ExitKind, ExitObserver, ExitWatch, Exits, ProcessExit};
pub use id::ProcessId;
pub use info::{Info, RunState, Snapshot};
pub use link::Relations;
pub use lunatic_scheduler::Signals;
pub use mailbox::{MAX_TAGS, Pattern, Tags};
pub use message::{DataMessage, Death, Envelope, Message, NO_TAG};
pub use port::{NextMessage, NoMessage, PortHandle, PortMessage};
pub use signal::{Signal, SignalNode};
pub use table::{ProcessTable, ProcessTableFull, SHARDS};
pub use template::ProcessTemplate;
pub use wait::WaitsFor;
pub use wait::{Finish, Reason};

use body::Body;
use inbox::Inbox;
use port::{Doorbell, Port};

/// How often a worker yields to a thread that takes a snapshot of its process. A snapshot is quick unless the machine
/// is very busy.
const MAX_YIELDS: u32 = 1000;

/// A process as others see it: they push signals and wake it. Its worker takes the body.
///
/// The order of the fields matters: what senders touch comes first, then what the worker touches.
#[repr(C)]
pub struct Process {
    id: ProcessId,
    template: Arc<ProcessTemplate>,
    /// A [`Priority`] as a number.
    priority: AtomicU8,
    /// Whether it may have names in the registry. Most processes have none, and their exits skip the registry.
    named: AtomicBool,
    /// Whether the embedder waits for its exit.
    watched: AtomicBool,
    /// Whether another thread wants to take a snapshot of it.
    wanted: AtomicBool,
    inbox: Inbox,
    /// The part that runs; `None` before the process is prepared and after its end. The worker that runs the process
    /// holds the lock; the states of the queue keep other workers away. A thread that takes a
    /// [snapshot](Process::snapshot) holds the lock for a moment, so a worker hardly ever waits for it, and never for
    /// another worker.
    body: Mutex<Option<Body>>,
    /// What the process will touch when it is resumed. The thread that makes it runnable prefetches this.
    working_set: WorkingSet,
}

/// A process that is prepared but in no run queue yet. Signals reach it and wait for its first turn. Dropping this
/// starts the process, so a spawner that fails in between cannot leave it behind.
#[must_use = "the process starts when this is dropped"]
pub struct Unstarted(Option<Arc<Process>>);

impl Unstarted {
    /// Wraps a process that has been prepared and that nothing has scheduled yet.
    pub fn new(process: Arc<Process>) -> Unstarted {
        Unstarted(Some(process))
    }

    /// Schedules the process.
    pub fn start(self) {
        drop(self);
    }

    /// Runs the process on this thread instead of scheduling it, until it ends or waits for something. From then on
    /// it behaves as if it had been scheduled from the beginning. It runs slice after slice, and if it ends, it ends
    /// completely: this thread has no other process to run.
    pub fn run_here(mut self) -> Arc<Process> {
        let process = self.0.take().expect("only starting it takes the process out");
        // This thread stands for a worker that has just taken the process out of a run queue. Nothing else runs it,
        // and a wake that arrives while it runs is noticed when it rests.
        end::ending_here(|| while let Step::Again = Task::run(&*process) {});
        if !process.is_over() {
            // The process may have set a timer, which sleeping workers do not know about.
            let node = process.node();
            node.scheduler().hasten(node.next_deadline());
        }
        process
    }

    /// Ends the process before its first instruction.
    pub fn abandon(self) {
        // The process has not been started, so nothing has ended it.
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

/// The result of sending a signal.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    /// Whether so much waits for the receiver that the sender should yield and let it run.
    pub is_congested: bool,
}

impl Wake for Process {
    fn wake(self: Arc<Self>, token: u64) {
        // A process that has ended needs no wake-up.
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
    /// Creates a process that cannot run yet.
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

    /// Returns its identifier.
    #[inline]
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Returns what it shares with others like it.
    #[inline]
    pub fn template(&self) -> &Arc<ProcessTemplate> {
        &self.template
    }

    /// Returns the node that it runs on.
    #[inline]
    pub fn node(&self) -> &Arc<Node> {
        &self.template.node
    }

    /// Returns the module that it runs.
    #[inline]
    pub fn code(&self) -> &Code {
        &self.template.code
    }

    /// Returns its limits and permissions.
    #[inline]
    pub fn config(&self) -> &Arc<ProcessConfig> {
        &self.template.config
    }

    /// Sets the function that it runs and the state that it begins with. It runs once it is
    /// [started](Unstarted::start).
    pub fn prepare(&self, entry: EntryPoint, params: SpawnParams) {
        *self.lock_body() = Some(Body::starting(params, entry));
    }

    /// Sends it a signal. Returns the signal if the process has ended.
    pub fn send(self: &Arc<Self>, signal: impl Into<SignalNode>) -> Result<Sent, SignalNode> {
        let has_to_be_queued = self.inbox.push(signal.into())?;
        let sent = Sent { is_congested: self.inbox.is_congested() };
        if has_to_be_queued {
            self.prefetch();
            self.node().scheduler().schedule(self.clone());
        }
        Ok(sent)
    }

    /// Completes the wait with this number. Returns the process as a task if that makes it runnable: the caller then
    /// runs or queues it.
    fn complete(self: Arc<Self>, wait: u64, finish: Finish) -> Option<Arc<dyn Task>> {
        // A process that has ended does not need the result.
        let has_to_be_queued = self.inbox.push(Signal::Completed { wait, finish }.into()).unwrap_or(false);
        has_to_be_queued.then_some(self as Arc<dyn Task>)
    }

    /// Prefetches what its next turn will touch and its sender has not touched.
    fn prefetch(&self) {
        lunatic_scheduler::prefetch((&raw const self.body).addr());
        self.working_set.prefetch();
    }

    /// Prefetches what sending to it touches.
    pub fn prefetch_to_send(&self) {
        lunatic_scheduler::prefetch((&raw const *self).addr());
        lunatic_scheduler::prefetch((&raw const self.inbox).addr());
        lunatic_scheduler::prefetch((&raw const self.working_set).addr());
    }

    /// Sets the priority, which counts from the next time that the process is queued. To be called by its own worker
    /// only.
    pub fn set_priority(&self, priority: Priority) {
        // Relaxed: the value selects the queue that the process is put into and orders nothing about the process.
        self.priority.store(priority as u8, Ordering::Relaxed);
    }

    /// Returns its priority.
    #[inline]
    pub fn priority(&self) -> Priority {
        Priority::from_number(self.priority.load(Ordering::Relaxed).into()).unwrap_or_default()
    }

    /// Returns its name, what it waits for, and the tags of messages that would end the wait, for reports of
    /// deadlocks. To be called only while no worker runs it.
    pub fn waiting(&self) -> Option<(Option<String>, WaitsFor, Vec<i64>)> {
        let mut guard = self.lock_body();
        let body = guard.as_mut()?;
        let report = Report::new(self, body.entry());
        let reason = body.wait_reason()?;
        Some((report.into_name(), reason.waits_for()?, reason.tags().to_vec()))
    }

    /// Registers the embedder's interest in its exit. To be called before the process is started.
    pub fn watch(&self) -> Arc<ExitWatch> {
        // Relaxed: the process is started afterwards, which orders the store before its end.
        self.watched.store(true, Ordering::Relaxed);
        self.node().exits.watch(self.id)
    }

    /// Describes the exit for the embedder, or returns `None` if the embedder is not interested.
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

    /// Makes this process a port. To be called before it is started. See [`PortHandle`].
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
        // The exit of a linked process does not end a port.
        data.die_when_link_dies = false;
        *self.lock_body() = Some(Body::of_port(Port::new(data, bell.clone()), entry));
        PortHandle::new(self.clone(), bell)
    }

    /// Gives access to the data of a port.
    fn with_port<R>(self: &Arc<Self>, look: impl FnOnce(&mut ProcessData) -> R) -> Result<R, NoMessage> {
        let mut body = self.lock_body();
        let data = body.as_mut().and_then(Body::port_mut).ok_or(NoMessage::Closed)?;
        // Signals that were sent are handled here, although the port may not have had its turn yet. So a message of a
        // process that has ended is visible once its exit is. No worker handles signals while the body is locked.
        data.take_in(self.inbox.queue().take_early());
        if let Some(reason) = data.handle_signals(&mut u32::MAX.clone()) {
            // The port ends in its turn, on a worker.
            let again = match reason {
                ExitReason::LimitExceeded(limit) => Signal::MailboxFull(limit),
                _ => Signal::Kill,
            };
            let _ = self.send(again);
        }
        Ok(look(data))
    }

    /// Returns whether its end has begun.
    #[inline]
    pub fn is_over(&self) -> bool {
        self.inbox.queue().is_closed()
    }

    /// Notes that it has a name. Afterwards the caller must ask [`Process::is_over`]: an end that came before this
    /// call does not free the name, and one that comes later does.
    pub fn set_named(&self) {
        // Relaxed: the question whether the queue is closed orders this store before a later close, which precedes
        // the load of the flag.
        self.named.store(true, Ordering::Relaxed);
    }

    /// Releases its parts without notifying anyone: the node is over.
    pub fn discard(&self) {
        drop(self.inbox.close());
        let body = self.lock_body().take();
        drop(body);
    }

    /// Takes a snapshot of the process, if its worker releases it within this number of attempts. A worker does so
    /// after every turn.
    pub fn snapshot(&self, attempts: u32) -> Option<Snapshot> {
        // Relaxed, here and below: the flag is a hint and orders nothing.
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

    /// Waits a moment if another thread wants to take a snapshot. A process that computes alone has its next turn at
    /// once, so that thread would rarely find it between two turns. To be called between two turns.
    fn let_snapshot(&self) {
        for _ in 0..MAX_YIELDS {
            if !self.wanted.load(Ordering::Relaxed) {
                return;
            }
            std::thread::yield_now();
        }
    }

    /// Creates the account for what the host keeps for it.
    fn new_account(&self) -> Arc<Account> {
        let config = self.config();
        let total = self.node().accounts_total().clone();
        Account::new(config.max_memory, config.max_resources, config.quota.clone(), total)
    }

    /// Returns its inbox.
    #[inline]
    pub fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn lock_body(&self) -> MutexGuard<'_, Option<Body>> {
        // A panic in a turn is a bug of the runtime. The body that it leaves is dropped and never runs again.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
