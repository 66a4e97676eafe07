//! The node: everything that processes share.
//!
//! Its parts have their own locks; there is none around it. Lock order: registry, then process table or an
//! inbox. Nothing is locked while guest code runs.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};

use lunatic_jit::{Cache, Engine, Linker};

use crate::clock::Clock;
use crate::code::{Code, Memories};
use crate::config::ProcessConfig;
use crate::entropy::Entropy;
use crate::perf_map::PerfMap;
use crate::process::{
    Entry, Letter, Parcel, Process, ProcessData, ProcessId, Relations, Sent, Share, Signal, Table, TableFull,
};
use crate::quota::Place;
use crate::registry::Registry;
use crate::scheduler::{BlockingPool, Events, Scheduler, Timers};
use crate::stdio::{Input, Output};

/// The identifier of this node. Lunatic counts nodes from 1 where there are several; alone, a node is 0.
pub(crate) const NODE_ID: u64 = 0;

/// See the module.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) linker: Linker<ProcessData>,
    pub(crate) table: Table<Process>,
    pub(crate) registry: Registry,
    pub(crate) timers: Timers<Due>,
    pub(crate) pool: BlockingPool,
    /// Where guests' modules are compiled: apart from files, which would have to wait otherwise.
    pub(crate) compilers: BlockingPool,
    pub(crate) cache: Option<Arc<Cache>>,
    pub(crate) perf_map: Option<PerfMap>,
    pub(crate) clock: Box<dyn Clock>,
    pub(crate) entropy: Box<dyn Entropy>,
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    /// Reductions of a slice.
    pub(crate) slice: u64,
    /// Whether modules are run without charges.
    pub(crate) unmetered: bool,
    pub(crate) memories: Memories,
    pub(crate) untrusted: bool,
    pub(crate) scheduler: OnceLock<Arc<Scheduler>>,
    pub(crate) first: OnceLock<ProcessId>,
    /// Whether someone outside has asked it to stop.
    pub(crate) asked: AtomicBool,
    pub(crate) status: Status,
}

/// What is due at a time.
pub(crate) enum Due {
    /// A wait of a process is up.
    Wait { process: ProcessId, wait: u64 },
    /// A message is sent; until then it counts against whoever set the timer.
    Send { process: ProcessId, letter: Letter, share: Share },
    /// The node was asked to stop and had its time.
    Stop { status: i32 },
}

/// The exit status, once there is one.
#[derive(Default)]
pub(crate) struct Status {
    value: Mutex<Option<i32>>,
    decided: Condvar,
}

/// A process to be.
pub(crate) struct Spawn {
    pub(crate) code: Code,
    pub(crate) entry: Entry,
    pub(crate) config: Arc<ProcessConfig>,
    /// Its place in the configuration's quota, if that has one.
    pub(crate) place: Option<Place>,
    /// Whom it is linked to from the beginning.
    pub(crate) link: Option<(ProcessId, i64)>,
    /// Spreads processes over the table.
    pub(crate) hint: u32,
}

impl Node {
    /// The scheduler.
    pub(crate) fn scheduler(&self) -> &Scheduler {
        self.scheduler.get().expect("it is set before the first process is spawned")
    }

    /// Enters a process. It runs once it is woken; until then its spawner may finish what has to come first.
    pub(crate) fn spawn(self: &Arc<Self>, spawn: Spawn) -> Result<Arc<Process>, TableFull> {
        let new = |id| Arc::new(Process::new(id, self.clone(), spawn.config.clone()));
        let process = self.table.insert(spawn.hint, new)?;
        let mut relations = Relations::default();
        if let Some((parent, tag)) = spawn.link {
            relations.link(parent, tag);
        }
        let data = ProcessData::new(process.clone(), spawn.code, spawn.config, relations, spawn.place);
        process.prepare(data, spawn.entry);
        Ok(process)
    }

    /// Sends a signal; gives it back when there is no such process.
    pub(crate) fn send(&self, to: ProcessId, signal: impl Into<Parcel>) -> Result<Sent, Parcel> {
        let parcel = signal.into();
        match self.table.get(to) {
            Some(process) => process.send(parcel),
            None => Err(parcel),
        }
    }

    /// Sends a request that is answered with "no such process" if there is none.
    pub(crate) fn request(&self, to: ProcessId, signal: Signal) {
        if let Err(parcel) = self.send(to, signal)
            && let Some((from, answer)) = parcel.content.refusal(to)
        {
            // The one who asks is running, and if it is killed meanwhile it needs no answer.
            let _ = self.send(from, answer);
        }
    }

    /// Whether this is the process whose end is the node's.
    pub(crate) fn is_first(&self, process: ProcessId) -> bool {
        self.first.get() == Some(&process)
    }

    /// Tells a person something, in order with what guests write to standard error.
    pub(crate) fn report(&self, text: String) {
        // If standard error is closed there is no one to tell.
        let _ = self.stderr.write(text.into_bytes());
    }

    /// The node is over; the first status counts.
    pub(crate) fn finish(&self, status: i32) {
        self.status.decide(status);
        self.scheduler().stop();
    }
}

impl Events for Node {
    fn fire(&self) {
        let Some(next) = self.timers.next_deadline() else { return };
        let now = self.clock.now();
        if next > now {
            return;
        }
        self.timers.fire(now, |due| {
            let (process, parcel): (_, Parcel) = match due {
                Due::Wait { process, wait } => (process, Signal::Due { wait }.into()),
                Due::Send { process, letter, share } => {
                    // From here on it counts against its receiver.
                    drop(share);
                    (process, letter.into())
                }
                Due::Stop { status } => return self.finish(status),
            };
            // Its process may be gone; then the timer has come to its end with it.
            let _ = self.send(process, parcel);
        });
    }

    fn next_deadline(&self) -> Option<u64> {
        self.timers.next_deadline()
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

    /// Waits for it.
    pub(crate) fn wait(&self) -> i32 {
        let value = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        let value = self.decided.wait_while(value, |value| value.is_none());
        value.unwrap_or_else(PoisonError::into_inner).expect("that is what was waited for")
    }
}
