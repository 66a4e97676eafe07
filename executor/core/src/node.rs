//! The node: everything that processes share.
//!
//! Each part has its own lock; no lock covers the whole node. The lock order is registry, then process table. While guest
//! code runs, only the body of its own process is locked.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lunatic_resources::sync::{Condvar, Mutex};

use lunatic_jit::{FuncIndex, TotalMemory};

use crate::code::Code;
use crate::config::ProcessConfig;
use crate::extensions::Extensions;
use crate::machine::Machine;
use crate::process::{
    EntryPoint, Envelope, Exits, PortHandle, Process, ProcessId, ProcessTable, ProcessTableFull,
    ProcessTemplate, Relations, Sent, Signal, SignalNode, SpawnParams, Unstarted,
};
use crate::registry::Registry;
use crate::total::Total;
use lunatic_metrics::Metrics;
use lunatic_resources::Permit;
use lunatic_resources::{MemoryTotal, TimerCharge};
use lunatic_scheduler::Clock;
use lunatic_scheduler::Entropy;
use lunatic_scheduler::{
    BlockingPool, Descriptors, Events, Files, Job, ReadinessEvent, Scheduler, Timers, Work, keep,
};
use lunatic_stdio::{Input, Output};

/// The number of timers that fire each time the clock is read. Firing them takes a fraction of a millisecond. Further
/// timers that are due fire at the next reading, which follows after a slice at most.
const MAX_DUE: usize = 512;

/// The identifier of this node. Lunatic counts the nodes of a cluster from 1; a node that is alone is 0.
pub const NODE_ID: u64 = 0;

/// A node. See the module documentation.
pub struct Node {
    /// All processes.
    pub table: ProcessTable<Process>,
    /// Names of processes.
    pub registry: Registry,
    /// Timers of waiting processes, at most one for each, and of the node itself.
    pub timers: Timers<Due>,
    /// Messages that are sent at a later time. A process can have any number of them.
    pub deferred: Timers<Deferred>,
    /// Decides about turns and does blocking work.
    pub backend: Backend,
    /// The source of the time.
    pub clock: Box<dyn Clock>,
    /// Randomness for guests.
    pub entropy: Box<dyn Entropy>,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error, and reports.
    pub stderr: Output,
    /// Which of the streams are terminals.
    pub terminals: Terminals,
    /// Metrics that guests record.
    pub metrics: Metrics,
    /// Reductions of a slice.
    pub slice: u64,
    /// The limit on the memory of all processes, if there is one.
    pub total_memory: Option<Arc<TotalMemory>>,
    /// The same limit, in the form that accounts charge.
    accounts_total: Option<Arc<dyn MemoryTotal>>,
    /// State of host functions that belongs to the node; see [`Node::services`].
    services: Box<dyn Any + Send + Sync>,
    scheduler: OnceLock<Arc<Scheduler>>,
    /// The descriptors that are registered with the reactor. The scheduler owns the reactor, so both are set together.
    descriptors: OnceLock<Arc<dyn Descriptors>>,
    /// The first process, once there is one.
    pub first: OnceLock<ProcessId>,
    /// Whether the node continues after the first process has ended.
    pub outlives_first: AtomicBool,
    /// Whether the embedder has asked the node to stop.
    pub asked: AtomicBool,
    /// The exit status, once there is one.
    pub status: Status,
    /// Observers of process exits outside of the node.
    pub exits: Exits,
}

/// Which of the standard streams are terminals. Guests buffer output to a terminal by lines.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// The parts that a node is built from.
pub struct Parts {
    /// State of host functions that belongs to the node; see [`Node::services`].
    pub services: Box<dyn Any + Send + Sync>,
    /// Decides about turns and does blocking work.
    pub backend: Backend,
    /// The source of the time.
    pub clock: Box<dyn Clock>,
    /// Randomness for guests.
    pub entropy: Box<dyn Entropy>,
    /// Standard input.
    pub stdin: Input,
    /// Standard output.
    pub stdout: Output,
    /// Standard error, and reports.
    pub stderr: Output,
    /// Which of the streams are terminals.
    pub terminals: Terminals,
    /// Reductions of a slice.
    pub slice: u64,
    /// Bytes that all processes may have together, if that is limited.
    pub max_total_memory: Option<u64>,
}

/// Decides about turns and does blocking work.
pub enum Backend {
    /// The real machine. Threads do blocking work, and a process that waited for file work continues on the thread that did
    /// it.
    Threads {
        /// Threads for file work.
        files: Files,
        /// A thread that frees what takes long to free: large memories, long lists.
        reclaimer: BlockingPool,
    },
    /// A simulated machine. It decides about turns and spawns, and does blocking work itself at a time that it chooses.
    Driven(Arc<dyn Machine>),
}

/// An event that happens when a timer fires.
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Due {
    /// The deadline of wait number `wait` of a process.
    Wait { process: ProcessId, wait: u64 },
    /// A simulated machine is to do this blocking work.
    Job(Job),
    /// The grace period after a request to stop is over; the node stops with this status.
    Stop { status: i32 },
}

/// A message that is sent when a timer fires.
pub struct Deferred {
    /// The process that set the timer. Only this process may cancel it.
    pub owner: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    /// The message.
    pub envelope: Envelope,
    /// The charge to the owner, until the message is sent.
    pub kept: TimerCharge,
}

/// How a program ended: the status that the command exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExitStatus(pub i32);

/// The exit status, once there is one.
#[derive(Default)]
pub struct Status {
    value: Mutex<Option<i32>>,
    decided: Condvar,
}

/// The description of a process to spawn.
pub struct Spawn {
    /// The code, configuration and node of the process.
    pub template: Arc<ProcessTemplate>,
    /// The function that it runs.
    pub entry: EntryPoint,
    /// The permit from the configuration's quota, if it has one.
    pub place: Option<Permit>,
    /// The spawning process, if the embedder is not the spawner.
    pub spawner: Option<Arc<Process>>,
    /// The tag of the link to the spawner, if the child is linked from the beginning.
    pub link: Option<i64>,
    /// Selects the shard of the process table, so that processes spread over the shards.
    pub hint: u32,
    /// State that host functions find for the process from the beginning.
    pub extensions: Option<Box<Extensions>>,
}

impl Node {
    /// Creates a node without processes. It has no scheduler yet; see [`Node::set_scheduler`].
    pub fn new(parts: Parts) -> Node {
        let total_memory = parts.max_total_memory.map(TotalMemory::new);
        Node {
            table: ProcessTable::new(),
            registry: Registry::default(),
            timers: Timers::new(),
            deferred: Timers::new(),
            backend: parts.backend,
            clock: parts.clock,
            entropy: parts.entropy,
            stdin: parts.stdin,
            stdout: parts.stdout,
            stderr: parts.stderr,
            terminals: parts.terminals,
            metrics: Metrics::default(),
            slice: parts.slice,
            accounts_total: total_memory.clone().map(|total| Arc::new(Total(total)) as Arc<dyn MemoryTotal>),
            total_memory,
            services: parts.services,
            scheduler: OnceLock::new(),
            descriptors: OnceLock::new(),
            first: OnceLock::new(),
            outlives_first: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            status: Status::default(),
            exits: Exits::default(),
        }
    }

    /// Sets the scheduler and the descriptors of its reactor. To be called once, before the first process is spawned.
    pub fn set_scheduler(&self, scheduler: &Arc<Scheduler>, descriptors: Arc<dyn Descriptors>) {
        // The node is new: nothing was set before.
        let _ = self.descriptors.set(descriptors);
        let _ = self.scheduler.set(scheduler.clone());
    }

    /// Returns the state of host functions that belongs to the node, such as networks, pools and compilers. The core does not
    /// know the type.
    ///
    /// # Panics
    /// Panics if the node was built with services of another type.
    #[inline]
    pub fn services<T: Any>(&self) -> &T {
        self.services.downcast_ref().expect("the node was built with these services")
    }

    /// Returns the node's limit on memory, in the form that accounts charge.
    #[inline]
    pub fn accounts_total(&self) -> &Option<Arc<dyn MemoryTotal>> {
        &self.accounts_total
    }

    fn descriptors(&self) -> &dyn Descriptors {
        &**self.descriptors.get().expect("they are set before the first process is spawned")
    }

    /// Returns whether a simulated machine decides about turns and does blocking work.
    #[inline]
    pub fn is_driven(&self) -> bool {
        matches!(self.backend, Backend::Driven(_))
    }

    /// Returns the scheduler.
    #[inline]
    pub fn scheduler(&self) -> &Scheduler {
        self.scheduler.get().expect("it is set before the first process is spawned")
    }

    /// Adds a process to the process table. The process runs once it is started. Until then the spawner can finish what must
    /// happen before the first instruction, such as registering a name.
    ///
    /// # Errors
    /// Returns [`ProcessTableFull`] if there are no identifiers left.
    pub fn spawn(&self, spawn: Spawn) -> Result<Unstarted, ProcessTableFull> {
        if let Backend::Driven(machine) = &self.backend
            && self.first.get().is_some()
            && machine.fails_to_spawn()
        {
            return Err(ProcessTableFull);
        }
        let new = |id| Arc::new(Process::new(id, spawn.template));
        let process = self.table.insert(spawn.hint, new)?;
        let mut relations = Relations::default();
        if let (Some(spawner), Some(tag)) = (&spawn.spawner, spawn.link) {
            relations.link(spawner.id(), tag);
        }
        process.prepare(
            spawn.entry,
            SpawnParams {
                process: process.clone(),
                spawner: spawn.spawner,
                relations,
                place: spawn.place,
                extensions: spawn.extensions,
            },
        );
        Ok(Unstarted::new(process))
    }

    /// Opens a port: a process whose messages the embedder receives. The template sets its limits; its code does not run.
    ///
    /// # Errors
    /// Returns [`ProcessTableFull`] if there are no identifiers left.
    pub fn open_port(
        &self,
        template: Arc<ProcessTemplate>,
        entry: EntryPoint,
    ) -> Result<PortHandle, ProcessTableFull> {
        let process = self.table.insert(0, |id| Arc::new(Process::new(id, template)))?;
        let port = process.prepare_port(entry);
        Unstarted::new(process).start();
        Ok(port)
    }

    /// Sends a signal to a process. Returns the signal if there is no such process.
    pub fn send(&self, to: ProcessId, signal: impl Into<SignalNode>) -> Result<Sent, SignalNode> {
        let signal_node = signal.into();
        match self.table.get(to) {
            Some(process) => process.send(signal_node),
            None => Err(signal_node),
        }
    }

    /// Sends a request. If the receiver does not exist, the sender gets the answer "no such process". Returns whether the
    /// receiver is congested, so that the sender should yield.
    pub fn request(&self, to: ProcessId, signal: Signal) -> bool {
        match self.send(to, signal) {
            Ok(sent) => sent.is_congested,
            Err(signal_node) => {
                if let Some((from, answer)) = signal_node.content.refusal(to) {
                    // The sender is running. If it is killed meanwhile, it needs no answer.
                    let _ = self.send(from, answer);
                }
                false
            }
        }
    }

    /// Spawns the first process, which runs `function`.
    pub fn start_first(self: &Arc<Self>, code: &Code, function: FuncIndex, config: ProcessConfig) {
        let place = config.quota.as_ref().map(|quota| quota.take().expect("there is room for one"));
        let spawn = Spawn {
            template: Arc::new(ProcessTemplate {
                node: self.clone(),
                code: config.capabilities.restrict(code),
                config: Arc::new(config),
            }),
            entry: EntryPoint { function, args: Box::new([]) },
            place,
            spawner: None,
            link: None,
            // The first free slot of shard 1 is process 1.
            hint: 1,
            extensions: None,
        };
        let first = self.spawn(spawn).expect("the table is empty");
        let was_unset = self.first.set(first.id()).is_ok();
        debug_assert!(was_unset, "a node runs one program");
        first.start();
    }

    /// Submits file work to the threads for it. If this thread is one of them, it does the work after the current turn.
    pub fn submit(self: &Arc<Self>, work: Work) {
        let Some(work) = keep(work) else { return };
        let node = self.clone();
        match &self.backend {
            Backend::Threads { files, .. } => files.submit(Box::new(move || node.follow(work))),
            Backend::Driven(machine) => {
                self.submit_for(
                    &**machine,
                    Box::new(move || work().into_iter().for_each(|task| node.scheduler().schedule(task))),
                );
            }
        }
    }

    /// Does file work on this thread and then continues the process that waited for it.
    fn follow(self: &Arc<Self>, work: Work) {
        if let Backend::Threads { files, .. } = &self.backend
            && let Some(left) = files.follow(work, self.scheduler(), &**self)
        {
            self.submit(left);
        }
    }

    /// Submits blocking work by calling `threads`, or to the simulated machine if there is one.
    pub fn submit_to(&self, threads: impl FnOnce(Job), job: Job) {
        match &self.backend {
            Backend::Threads { .. } => threads(job),
            Backend::Driven(machine) => self.submit_for(&**machine, job),
        }
    }

    /// Drops a value that takes long to drop on the reclaiming thread.
    pub fn reclaim(&self, garbage: impl Send + 'static) {
        if let Backend::Threads { reclaimer, .. } = &self.backend {
            reclaimer.submit(Box::new(move || drop(garbage)));
        }
    }

    /// Drops a value, on the reclaiming thread if that takes long.
    pub fn reclaim_if(&self, takes_long: bool, garbage: impl Send + 'static) {
        if takes_long {
            self.reclaim(garbage);
        }
    }

    /// Drops a value on the reclaiming thread and then calls `then` there.
    pub fn reclaim_then(&self, garbage: impl Send + 'static, then: impl FnOnce() + Send + 'static) {
        /// Calls the closure when it is dropped, so that a panic in a destructor cannot prevent the call.
        struct Then<F: FnOnce()>(Option<F>);
        impl<F: FnOnce()> Drop for Then<F> {
            fn drop(&mut self) {
                let _ = self.0.take().map(|then| then());
            }
        }
        let then = Then(Some(then));
        let job = move || {
            let _then = then;
            drop(garbage);
        };
        match &self.backend {
            Backend::Threads { reclaimer, .. } => reclaimer.submit(Box::new(job)),
            Backend::Driven(_) => job(),
        }
    }

    fn submit_for(&self, machine: &dyn Machine, job: Job) {
        self.timers.set(self.clock.now().saturating_add(machine.job_delay()), Due::Job(job));
    }

    /// Returns whether the node ends when this process ends.
    #[inline]
    pub fn is_first(&self, process: ProcessId) -> bool {
        self.first.get() == Some(&process)
    }

    /// Writes a report for the operator to standard error, in order with what guests write there.
    pub fn report(&self, text: String) {
        self.stderr.report(text);
    }

    /// Hands a job whose time has come to the simulated machine. The worker that read the clock does not do the work.
    fn take_job(&self, job: Job) {
        if let Backend::Driven(machine) = &self.backend {
            machine.add_job(job);
        }
    }

    /// Discards all processes and all work that waits for them. To be called when no worker runs any more.
    pub fn clear(&self) {
        for process in self.table.all() {
            process.discard();
            self.table.remove(process.id());
        }
        // Both hold references to the node, which would never be freed otherwise.
        self.scheduler().clear();
        self.timers.clear();
        self.deferred.clear();
        self.exits.stop();
    }

    /// Decides the exit status, if none is decided yet, and stops the node unless it outlives its first process.
    pub fn finish(&self, status: i32) {
        self.status.decide(status);
        // Relaxed: the flag was set before the first process was spawned.
        if !self.outlives_first.load(Ordering::Relaxed) {
            self.scheduler().stop();
        }
    }
}

impl Node {
    /// Handles a timer that has fired.
    fn due(&self, due: Due) {
        match due {
            // The process may have ended; then the deadline means nothing.
            Due::Wait { process, wait } => drop(self.send(process, Signal::Due { wait })),
            Due::Job(job) => self.take_job(job),
            Due::Stop { status } => self.finish(status),
        }
    }

    fn send_deferred(&self, deferred: Deferred) {
        let Deferred { to, envelope, kept, .. } = deferred;
        // From here on the message counts against its receiver.
        drop(kept);
        let _ = self.send(to, envelope);
    }
}

impl Events for Node {
    /// Fires the timers that are due, in order. Any number of messages can be due at the same time. If there are too many for
    /// one call, waiting processes are still woken: their deadlines do not queue behind the messages.
    fn fire(&self) {
        let Some(next) = self.next_deadline() else { return };
        let now = self.clock.now();
        if next > now {
            return;
        }
        for _ in 0..MAX_DUE {
            let earliest = |timers: Option<u64>| timers.unwrap_or(u64::MAX);
            let fired = if earliest(self.deferred.next_deadline()) <= earliest(self.timers.next_deadline()) {
                self.deferred.fire(now, 1, |deferred| self.send_deferred(deferred))
            } else {
                self.timers.fire(now, 1, |due| self.due(due))
            };
            if fired == 0 {
                return;
            }
        }
        self.timers.fire(now, MAX_DUE, |due| self.due(due));
    }

    fn ready(&self, ready: &[ReadinessEvent]) {
        self.descriptors().ready(ready);
    }

    fn has_descriptors(&self) -> bool {
        !self.descriptors().is_empty()
    }

    fn next_deadline(&self) -> Option<u64> {
        [self.timers.next_deadline(), self.deferred.next_deadline()].into_iter().flatten().min()
    }

    fn now(&self) -> u64 {
        self.clock.now()
    }
}

impl Status {
    /// Sets the status, unless it is set already.
    fn decide(&self, status: i32) {
        self.value.lock().get_or_insert(status);
        self.decided.notify_all();
    }

    /// Returns the status, if it is set.
    pub fn get(&self) -> Option<i32> {
        *self.value.lock()
    }

    /// Blocks until the status is set, and returns it.
    pub fn wait(&self) -> i32 {
        let value = self.value.lock();
        let value = self.decided.wait_while(value, |value| value.is_none());
        value.expect("the condition was waited for")
    }
}
