//! The node: everything that processes share.
//!
//! Its parts have their own locks; there is none around it. Lock order: registry, then process table.
//! Nothing is locked while guest code runs.

use std::any::Any;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

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

/// Timers that fire at one look at the clock, in a fraction of a millisecond. What else is due has its turn at the next
/// look, which comes after a slice at most.
const MAX_DUE: usize = 512;

/// The identifier of this node. Lunatic counts nodes from 1 where there are several; alone, a node is 0.
pub const NODE_ID: u64 = 0;

/// See the module.
pub struct Node {
    /// All processes.
    pub table: ProcessTable<Process>,
    /// Names of processes.
    pub registry: Registry,
    /// What processes wait for, one timer each at most, and what the node itself waits for.
    pub timers: Timers<Due>,
    /// Messages that are to be sent later, any number for each process.
    pub deferred: Timers<Deferred>,
    /// What decides turns and does blocking work.
    pub backend: Backend,
    /// The time.
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
    /// What guests count and measure.
    pub metrics: Metrics,
    /// Reductions of a slice.
    pub slice: u64,
    /// What processes' memories may have together, if that is limited.
    pub total_memory: Option<Arc<TotalMemory>>,
    /// The same limit, as accounts charge it.
    accounts_total: Option<Arc<dyn MemoryTotal>>,
    /// What host functions need of the node; see [`Node::services`].
    services: Box<dyn Any + Send + Sync>,
    scheduler: OnceLock<Arc<Scheduler>>,
    /// What is registered with the reactor; made with the scheduler, which has the reactor.
    descriptors: OnceLock<Arc<dyn Descriptors>>,
    /// The first process, once there is one.
    pub first: OnceLock<ProcessId>,
    /// Whether it goes on when the first process has ended.
    pub outlives_first: AtomicBool,
    /// Whether someone outside has asked it to stop.
    pub asked: AtomicBool,
    /// The exit status, once there is one.
    pub status: Status,
    /// Who outside of the node is interested in the ends of processes.
    pub exits: Exits,
}

/// Which of the standard streams are terminals: guests write to those differently.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminals {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// What a node is given.
pub struct Parts {
    /// What host functions need of the node; see [`Node::services`].
    pub services: Box<dyn Any + Send + Sync>,
    /// What decides turns and does blocking work.
    pub backend: Backend,
    /// The time.
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

/// What decides turns and does blocking work.
pub enum Backend {
    /// The machine: blocking work is done by threads, and a process that asked for file work goes on where it was done.
    Threads {
        /// Where file work is done.
        files: Files,
        /// Where what takes long to give back is given back: large memories, long lists.
        reclaimer: BlockingPool,
    },
    /// A machine that decides turns and spawns, and does blocking work itself when its time has come.
    Driven(Arc<dyn Machine>),
}

/// What is due at a time.
#[allow(missing_docs)] // Each variant says what its fields are.
pub enum Due {
    /// A wait of a process is up.
    Wait { process: ProcessId, wait: u64 },
    /// Blocking work of a simulation.
    Job(Job),
    /// The node was asked to stop and had its time.
    Stop { status: i32 },
}

/// A message that is sent at a time.
pub struct Deferred {
    /// The process that has set the timer, which alone may cancel it.
    pub owner: ProcessId,
    /// The receiver.
    pub to: ProcessId,
    /// What is sent.
    pub envelope: Envelope,
    /// Until it is sent it counts against its owner.
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

/// A process to be.
pub struct Spawn {
    /// What the process is made of.
    pub template: Arc<ProcessTemplate>,
    /// What it runs.
    pub entry: EntryPoint,
    /// Its place in the configuration's quota, if that has one.
    pub place: Option<Permit>,
    /// The process that spawns it, if one does.
    pub spawner: Option<Arc<Process>>,
    /// The tag by which it is linked to its spawner from the beginning.
    pub link: Option<i64>,
    /// Spreads processes over the table.
    pub hint: u32,
    /// What host functions are to find for it from the beginning.
    pub extensions: Option<Box<Extensions>>,
}

impl Node {
    /// A node without processes, and without a scheduler yet.
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

    /// Gives the node what drives it, and what is registered with its reactor, once.
    pub fn set_scheduler(&self, scheduler: &Arc<Scheduler>, descriptors: Arc<dyn Descriptors>) {
        // The node is new: nothing was set before.
        let _ = self.descriptors.set(descriptors);
        let _ = self.scheduler.set(scheduler.clone());
    }

    /// What host functions need of the node: networks, pools, compilers. The core does not know the type.
    ///
    /// # Panics
    /// When the node was built with services of another type.
    pub fn services<T: Any>(&self) -> &T {
        self.services.downcast_ref().expect("the node was built with these services")
    }

    /// The node's limit on memory, as accounts charge it.
    pub fn accounts_total(&self) -> &Option<Arc<dyn MemoryTotal>> {
        &self.accounts_total
    }

    fn descriptors(&self) -> &dyn Descriptors {
        &**self.descriptors.get().expect("they are set before the first process is spawned")
    }

    /// Whether a machine other than the real one decides turns and does blocking work.
    pub fn is_driven(&self) -> bool {
        matches!(self.backend, Backend::Driven(_))
    }

    /// The scheduler.
    pub fn scheduler(&self) -> &Scheduler {
        self.scheduler.get().expect("it is set before the first process is spawned")
    }

    /// Enters a process. It runs once it is started; until then its spawner may finish what has to come first.
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

    /// Opens a port: a process whose messages the embedder takes. `template` says what it may keep; its code is not run.
    ///
    /// # Errors
    /// When there are no identifiers left.
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

    /// Sends a signal; gives it back when there is no such process.
    pub fn send(&self, to: ProcessId, signal: impl Into<SignalNode>) -> Result<Sent, SignalNode> {
        let signal_node = signal.into();
        match self.table.get(to) {
            Some(process) => process.send(signal_node),
            None => Err(signal_node),
        }
    }

    /// Sends a request that is answered with "no such process" if there is none. Whether the receiver has so much to
    /// handle that the sender had better let it run.
    pub fn request(&self, to: ProcessId, signal: Signal) -> bool {
        match self.send(to, signal) {
            Ok(sent) => sent.is_congested,
            Err(signal_node) => {
                if let Some((from, answer)) = signal_node.content.refusal(to) {
                    // The process that asks runs, and if it is killed meanwhile it needs no answer.
                    let _ = self.send(from, answer);
                }
                false
            }
        }
    }

    /// Runs a function as the first process.
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
            // The first slot of shard 1: process 1.
            hint: 1,
            extensions: None,
        };
        let first = self.spawn(spawn).expect("the table is empty");
        let was_unset = self.first.set(first.id()).is_ok();
        debug_assert!(was_unset, "a node runs one program");
        first.start();
    }

    /// Has work on files done elsewhere; or on this thread after the turn, if that is one that does such work.
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

    /// Does work on files, and what follows from it.
    fn follow(self: &Arc<Self>, work: Work) {
        if let Backend::Threads { files, .. } = &self.backend
            && let Some(left) = files.follow(work, self.scheduler(), &**self)
        {
            self.submit(left);
        }
    }

    /// Has blocking work done by `threads`, or by the machine that decides instead of them.
    pub fn submit_to(&self, threads: impl FnOnce(Job), job: Job) {
        match &self.backend {
            Backend::Threads { .. } => threads(job),
            Backend::Driven(machine) => self.submit_for(&**machine, job),
        }
    }

    /// Drops something elsewhere that takes long to drop.
    pub fn reclaim(&self, garbage: impl Send + 'static) {
        if let Backend::Threads { reclaimer, .. } = &self.backend {
            reclaimer.submit(Box::new(move || drop(garbage)));
        }
    }

    /// Drops something, elsewhere if that takes long.
    pub fn reclaim_if(&self, takes_long: bool, garbage: impl Send + 'static) {
        if takes_long {
            self.reclaim(garbage);
        }
    }

    /// Drops something elsewhere that takes long to drop, and then goes on there.
    pub fn reclaim_then(&self, garbage: impl Send + 'static, then: impl FnOnce() + Send + 'static) {
        /// Goes on also if dropping panics.
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

    /// Whether this is the process whose end is the node's.
    pub fn is_first(&self, process: ProcessId) -> bool {
        self.first.get() == Some(&process)
    }

    /// Tells a person something, in order with what guests write to standard error.
    pub fn report(&self, text: String) {
        self.stderr.report(text);
    }

    /// The time of a job has come; its work is not the worker's that noticed.
    fn take_job(&self, job: Job) {
        if let Backend::Driven(machine) = &self.backend {
            machine.add_job(job);
        }
    }

    /// Gives up what is left when no worker runs any more: processes, and whatever waits to be done for them.
    pub fn clear(&self) {
        for process in self.table.all() {
            process.discard();
            self.table.remove(process.id());
        }
        // Both hold what holds the node.
        self.scheduler().clear();
        self.timers.clear();
        self.deferred.clear();
        self.exits.stop();
    }

    /// The node is over, unless it is to outlive its first process; the first status counts.
    pub fn finish(&self, status: i32) {
        self.status.decide(status);
        // Relaxed: it was set before the first process was.
        if !self.outlives_first.load(Ordering::Relaxed) {
            self.scheduler().stop();
        }
    }
}

impl Node {
    /// The time of something has come.
    fn due(&self, due: Due) {
        match due {
            // Its process may be gone; then the timer has come to its end with it.
            Due::Wait { process, wait } => drop(self.send(process, Signal::Due { wait })),
            Due::Job(job) => self.take_job(job),
            Due::Stop { status } => self.finish(status),
        }
    }

    fn send_deferred(&self, deferred: Deferred) {
        let Deferred { to, envelope, kept, .. } = deferred;
        // From here on it counts against its receiver.
        drop(kept);
        let _ = self.send(to, envelope);
    }
}

impl Events for Node {
    /// Does what is due, in order. Of what is due together there may be any number of messages: if there are too many for
    /// one look, the processes that wait for a time do not wait for the messages too.
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
    /// Sets the status if there is none.
    fn decide(&self, status: i32) {
        self.value.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(status);
        self.decided.notify_all();
    }

    /// What it is, if there is one.
    pub fn get(&self) -> Option<i32> {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for it.
    pub fn wait(&self) -> i32 {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.decided.wait_while(value, |value| value.is_none());
        value.unwrap_or_else(PoisonError::into_inner).expect("that is what was waited for")
    }
}
