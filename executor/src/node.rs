//! The node: everything that processes share.
//!
//! Its parts have their own locks; there is none around it. Lock order: registry, then process table.
//! Nothing is locked while guest code runs.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use lunatic_jit::{FuncIndex, TotalMemory};

use crate::account;
use crate::clock::Clock;
use crate::code::Code;
use crate::config::ProcessConfig;
use crate::entropy::Entropy;
use crate::metrics::Metrics;
use crate::net::Net;
use crate::process::{
    Birth, Entry, Letter, Origin, Parcel, Process, ProcessId, Relations, Sent, Signal, Table, TableFull,
    Unstarted,
};
use crate::program::Loader;
use crate::quota::Place;
use crate::registry::Registry;
use crate::scheduler::{BlockingPool, Events, Files, Job, News, Scheduler, Timers, Work, keep};
use crate::simulation::Hooks;
use crate::sqlite::{Surroundings, Tenant, Threads};
use crate::stdio::{Input, Output};

/// Timers that fire at one look at the clock, in a fraction of a millisecond. What else is due has its turn at the next
/// look, which comes after a slice at most.
const MAX_DUE: usize = 512;

/// The identifier of this node. Lunatic counts nodes from 1 where there are several; alone, a node is 0.
pub(crate) const NODE_ID: u64 = 0;

/// See the module.
pub(crate) struct Node {
    pub(crate) loader: Arc<Loader>,
    pub(crate) table: Table<Process>,
    pub(crate) registry: Registry,
    /// What processes wait for, one timer each at most, and what the node itself waits for.
    pub(crate) timers: Timers<Due>,
    /// Messages that are to be sent later, any number for each process.
    pub(crate) deferred: Timers<Deferred>,
    pub(crate) world: World,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) terminals: Terminals,
    pub(crate) metrics: Metrics,
    /// Reductions of a slice.
    pub(crate) slice: u64,
    /// What processes' memories may have together, if that is limited.
    pub(crate) total_memory: Option<Arc<TotalMemory>>,
    scheduler: OnceLock<Arc<Scheduler>>,
    /// Made with the scheduler, which has the reactor.
    net: OnceLock<Arc<Net>>,
    pub(crate) first: OnceLock<ProcessId>,
    /// Whether it goes on when the first process has ended.
    pub(crate) outlives_first: AtomicBool,
    /// Whether someone outside has asked it to stop.
    pub(crate) asked: AtomicBool,
    pub(crate) status: Status,
}

/// Which of the standard streams are terminals: guests write to those differently.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terminals {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

/// What a node is given.
pub(crate) struct Parts {
    pub(crate) loader: Arc<Loader>,
    pub(crate) world: World,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) terminals: Terminals,
    pub(crate) slice: u64,
    pub(crate) max_total_memory: Option<u64>,
}

/// What a node is in.
pub(crate) enum World {
    /// A machine; blocking work is done by threads, and who asked for file work goes on where it was done.
    Real {
        files: Files,
        /// Where guests' modules are compiled: apart from files, which would have to wait otherwise.
        compilers: BlockingPool,
        /// Where databases are: a statement takes as long as its guest likes, and files would have to wait.
        databases: Threads,
        /// Where what takes long to give back is given back: large memories, long lists.
        reclaimer: BlockingPool,
    },
    /// A simulation, which has a say in turns and spawns, and does blocking work itself when its time has come.
    Simulated(Hooks),
}

/// What is due at a time.
pub(crate) enum Due {
    /// A wait of a process is up.
    Wait { process: ProcessId, wait: u64 },
    /// Blocking work of a simulation.
    Job(Job),
    /// The node was asked to stop and had its time.
    Stop { status: i32 },
}

/// A message that is sent at a time.
pub(crate) struct Deferred {
    /// The process that has set the timer, which alone may cancel it.
    pub(crate) owner: ProcessId,
    pub(crate) to: ProcessId,
    pub(crate) letter: Letter,
    /// Until it is sent it counts against its owner.
    pub(crate) kept: account::Deferred,
}

/// The exit status, once there is one.
#[derive(Default)]
pub(crate) struct Status {
    value: Mutex<Option<i32>>,
    decided: Condvar,
}

/// A process to be.
pub(crate) struct Spawn {
    pub(crate) origin: Arc<Origin>,
    pub(crate) entry: Entry,
    /// Its place in the configuration's quota, if that has one.
    pub(crate) place: Option<Place>,
    pub(crate) spawner: Option<Arc<Process>>,
    /// The tag by which it is linked to its spawner from the beginning.
    pub(crate) link: Option<i64>,
    /// Spreads processes over the table.
    pub(crate) hint: u32,
}

impl Node {
    /// A node without processes, and without a scheduler yet.
    pub(crate) fn new(parts: Parts) -> Node {
        Node {
            loader: parts.loader,
            table: Table::new(),
            registry: Registry::default(),
            timers: Timers::new(),
            deferred: Timers::new(),
            world: parts.world,
            clock: parts.clock,
            entropy: parts.entropy,
            stdin: parts.stdin,
            stdout: parts.stdout,
            stderr: parts.stderr,
            terminals: parts.terminals,
            metrics: Metrics::default(),
            slice: parts.slice,
            total_memory: parts.max_total_memory.map(TotalMemory::new),
            scheduler: OnceLock::new(),
            net: OnceLock::new(),
            first: OnceLock::new(),
            outlives_first: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            status: Status::default(),
        }
    }

    /// Gives the node what drives it, once.
    pub(crate) fn set_scheduler(&self, scheduler: &Arc<Scheduler>) -> std::io::Result<()> {
        let registry = match self.world {
            World::Real { .. } => Some(scheduler.registry().try_clone()?),
            World::Simulated(_) => None,
        };
        // The node is new: nothing was set before.
        let _ = self.net.set(Arc::new(Net::new(registry)));
        let _ = self.scheduler.set(scheduler.clone());
        Ok(())
    }

    /// The network.
    pub(crate) fn net(&self) -> &Arc<Net> {
        self.net.get().expect("it is set before the first process is spawned")
    }

    /// The scheduler.
    pub(crate) fn scheduler(&self) -> &Scheduler {
        self.scheduler.get().expect("it is set before the first process is spawned")
    }

    /// Enters a process. It runs once it is started; until then its spawner may finish what has to come first.
    pub(crate) fn spawn(&self, spawn: Spawn) -> Result<Unstarted, TableFull> {
        if let World::Simulated(hooks) = &self.world
            && self.first.get().is_some()
            && hooks.fails_to_spawn()
        {
            return Err(TableFull);
        }
        let new = |id| Arc::new(Process::new(id, spawn.origin));
        let process = self.table.insert(spawn.hint, new)?;
        let mut relations = Relations::default();
        if let (Some(spawner), Some(tag)) = (&spawn.spawner, spawn.link) {
            relations.link(spawner.id(), tag);
        }
        process.prepare(
            spawn.entry,
            Birth { process: process.clone(), spawner: spawn.spawner, relations, place: spawn.place },
        );
        Ok(Unstarted::new(process))
    }

    /// Sends a signal; gives it back when there is no such process.
    pub(crate) fn send(&self, to: ProcessId, signal: impl Into<Parcel>) -> Result<Sent, Parcel> {
        let parcel = signal.into();
        match self.table.get(to) {
            Some(process) => process.send(parcel),
            None => Err(parcel),
        }
    }

    /// Sends a request that is answered with "no such process" if there is none. Whether the receiver has so much to
    /// handle that the sender had better let it run.
    pub(crate) fn request(&self, to: ProcessId, signal: Signal) -> bool {
        match self.send(to, signal) {
            Ok(sent) => sent.is_crowded,
            Err(parcel) => {
                if let Some((from, answer)) = parcel.content.refusal(to) {
                    // The process that asks runs, and if it is killed meanwhile it needs no answer.
                    let _ = self.send(from, answer);
                }
                false
            }
        }
    }

    /// Runs a function as the first process.
    pub(crate) fn start_first(self: &Arc<Self>, code: &Code, function: FuncIndex, config: ProcessConfig) {
        let place = config.quota.as_ref().map(|quota| quota.take().expect("there is room for one"));
        let spawn = Spawn {
            origin: Arc::new(Origin {
                node: self.clone(),
                code: config.code(code),
                config: Arc::new(config),
            }),
            entry: Entry { function, args: Box::new([]) },
            place,
            spawner: None,
            link: None,
            // The first slot of shard 1: process 1.
            hint: 1,
        };
        let first = self.spawn(spawn).expect("the table is empty");
        let was_unset = self.first.set(first.id()).is_ok();
        debug_assert!(was_unset, "a node runs one program");
        first.start();
    }

    /// Has work on files done elsewhere; or on this thread after the turn, if that is one that does such work.
    pub(crate) fn submit(self: &Arc<Self>, work: Work) {
        let Some(work) = keep(work) else { return };
        let node = self.clone();
        match &self.world {
            World::Real { files, .. } => files.submit(Box::new(move || node.follow(work))),
            World::Simulated(hooks) => {
                self.submit_for(
                    hooks,
                    Box::new(move || work().into_iter().for_each(|task| node.scheduler().schedule(task))),
                );
            }
        }
    }

    /// Does work on files, and what follows from it.
    fn follow(self: &Arc<Self>, work: Work) {
        if let World::Real { files, .. } = &self.world
            && let Some(left) = files.follow(work, self.scheduler(), &**self)
        {
            self.submit(left);
        }
    }

    /// Has a compilation done elsewhere.
    pub(crate) fn submit_compilation(&self, job: Job) {
        match &self.world {
            World::Real { compilers, .. } => compilers.submit(job),
            World::Simulated(hooks) => self.submit_for(hooks, job),
        }
    }

    /// Has a tenant's work on databases done elsewhere.
    pub(crate) fn submit_database(&self, tenant: &Tenant, job: Job) {
        match &self.world {
            World::Real { databases, .. } => databases.submit(tenant.clone(), job),
            World::Simulated(hooks) => self.submit_for(hooks, job),
        }
    }

    /// Has databases closed elsewhere.
    pub(crate) fn submit_closing(&self, job: Job) {
        match &self.world {
            World::Real { databases, .. } => databases.submit_closing(job),
            World::Simulated(hooks) => self.submit_for(hooks, job),
        }
    }

    /// Drops something elsewhere that takes long to drop.
    pub(crate) fn reclaim(&self, garbage: impl Send + 'static) {
        if let World::Real { reclaimer, .. } = &self.world {
            reclaimer.submit(Box::new(move || drop(garbage)));
        }
    }

    /// Drops something, elsewhere if that takes long.
    pub(crate) fn reclaim_if(&self, takes_long: bool, garbage: impl Send + 'static) {
        if takes_long {
            self.reclaim(garbage);
        }
    }

    /// Drops something elsewhere that takes long to drop, and then goes on there.
    pub(crate) fn reclaim_then(&self, garbage: impl Send + 'static, then: impl FnOnce() + Send + 'static) {
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
        match &self.world {
            World::Real { reclaimer, .. } => reclaimer.submit(Box::new(job)),
            World::Simulated(_) => job(),
        }
    }

    fn submit_for(&self, hooks: &Hooks, job: Job) {
        self.timers.set(self.clock.now().saturating_add(hooks.job_delay()), Due::Job(job));
    }

    /// Whether this is the process whose end is the node's.
    pub(crate) fn is_first(&self, process: ProcessId) -> bool {
        self.first.get() == Some(&process)
    }

    /// Tells a person something, in order with what guests write to standard error.
    pub(crate) fn report(&self, text: String) {
        self.stderr.report(text);
    }

    /// The time of a job has come; its work is not the worker's that noticed.
    fn take_job(&self, job: Job) {
        if let World::Simulated(hooks) = &self.world {
            hooks.add_job(job);
        }
    }

    /// Gives up what is left when no worker runs any more: processes, and whatever waits to be done for them.
    pub(crate) fn clear(&self) {
        for process in self.table.all() {
            process.discard();
            self.table.remove(process.id());
        }
        // Both hold what holds the node.
        self.scheduler().clear();
        self.timers.clear();
        self.deferred.clear();
    }

    /// The node is over, unless it is to outlive its first process; the first status counts.
    pub(crate) fn finish(&self, status: i32) {
        self.status.decide(status);
        // Relaxed: it was set before the first process was.
        if !self.outlives_first.load(Ordering::Relaxed) {
            self.scheduler().stop();
        }
    }
}

impl Surroundings for Node {
    fn wall(&self) -> u64 {
        self.clock.wall()
    }

    fn fill(&self, bytes: &mut [u8]) -> bool {
        self.entropy.fill(bytes)
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
        let Deferred { to, letter, kept, .. } = deferred;
        // From here on it counts against its receiver.
        drop(kept);
        let _ = self.send(to, letter);
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

    fn ready(&self, news: &[News]) {
        self.net().ready(news);
    }

    fn has_descriptors(&self) -> bool {
        self.net().sockets() > 0
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
    pub(crate) fn get(&self) -> Option<i32> {
        *self.value.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for it.
    pub(crate) fn wait(&self) -> i32 {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.decided.wait_while(value, |value| value.is_none());
        value.unwrap_or_else(PoisonError::into_inner).expect("that is what was waited for")
    }
}
