//! The way in: build a [`Runtime`], [load](Runtime::load) a program, [run](Runtime::run) it.
//!
//! # How the node stops
//!
//! 0. [`ShutdownHandle::ask`], if it begins with that: the first process is told, and has [`GRACE`] to end in its own way.
//! 1. The first process ends, the time is up, or [`ShutdownHandle::stop`] is called: the exit status is decided.
//! 2. The scheduler stops: sleeping workers wake, running ones finish their slice.
//! 3. Their threads end, and those that follow file work leave what they run. From here on no guest code runs.
//! 4. Every process is discarded: memory, stacks and descriptors are released; suspended activations are
//!    dropped as they are, nothing is unwound.
//! 5. Databases are closed, which takes as long as their last statements, and at most [`CLOSING`].
//! 6. What was written to standard output and error is flushed. If that fails, a message says so, and so does the exit
//!    status. After having been asked to stop, a reader that
//!    does not read is waited for no longer than [`GRACE`]: it must not keep a node that someone wants gone.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use lunatic_jit::FuncIndex;

use lunatic_core::code::Code;
use lunatic_core::config::ProcessConfig;
use lunatic_host::Services;
use lunatic_scheduler::{Clock, SystemClock};

use crate::config::{MAX_WORKERS, RuntimeConfig, first_process};
use crate::error::{LoadError, RuntimeError};
use crate::inspect::Inspector;
use crate::metrics::MetricsServer;
use crate::program::{Loader, Program};
use lunatic_core::node::{self, Backend, Due, ExitStatus, Node, Terminals};
use lunatic_core::process::Signal;
use lunatic_resources::sys;
use lunatic_scheduler::{BlockingPool, Files, Scheduler, Worker};
use lunatic_scheduler::{Entropy, SystemEntropy};
use lunatic_stdio::{Failure, Input, Output};

/// The status of a command that could not even begin its first process.
const STATUS_CANNOT_RUN: i32 = 1;

/// The status of a program that has ended well, but not all of whose output could be written.
const STATUS_OUTPUT_LOST: i32 = 1;

/// Threads that do file work at a time. Files of one machine rarely gain from more.
const FILE_THREADS: usize = 16;

/// How long closing databases may take. One that is not closed is repaired by whoever opens it next.
#[cfg(feature = "sqlite")]
const CLOSING: Duration = Duration::from_secs(2);

/// How long a program that was [asked](ShutdownHandle::ask) to stop may take until it is stopped.
pub const GRACE: Duration = Duration::from_secs(5);

/// A node that is ready to run one program.
pub struct Runtime {
    node: Arc<Node>,
    workers: Vec<Worker>,
    template: NodeTemplate,
}

/// What a node is built from. Several may be built from one: they share engine, programs and native code, and nothing
/// that a process could see.
#[derive(Clone)]
pub(crate) struct NodeTemplate {
    pub(crate) loader: Arc<Loader>,
    pub(crate) workers: usize,
    pub(crate) slice: u64,
    pub(crate) seed: u64,
    pub(crate) max_total_memory: Option<u64>,
    /// Of the first process.
    pub(crate) config: Arc<ProcessConfig>,
}

/// What a node reads and writes.
pub(crate) struct StandardStreams {
    pub(crate) stdin: Input,
    pub(crate) stdout: Output,
    pub(crate) stderr: Output,
    pub(crate) terminals: Terminals,
}

/// A node whose first process has ended.
#[must_use]
pub(crate) struct LeftBehind {
    node: Arc<Node>,
    threads: Vec<JoinHandle<()>>,
}

/// Stops a node from outside, such as on a signal.
#[derive(Clone)]
pub struct ShutdownHandle {
    node: Arc<Node>,
}

/// What a node gets from outside, so that a test or a simulation can give something else.
pub struct Parts {
    /// Its time.
    pub clock: Box<dyn Clock>,
    /// Its randomness.
    pub entropy: Box<dyn Entropy>,
    /// Where standard output goes. One thread writes it, behind the processes: an error is told to the next write.
    pub stdout: Box<dyn Write + Send>,
    /// Where standard error and reports go, likewise. Nothing orders it with standard output.
    pub stderr: Box<dyn Write + Send>,
}

impl Default for Parts {
    /// The machine's.
    fn default() -> Parts {
        Parts {
            clock: Box::new(SystemClock::default()),
            entropy: Box::new(SystemEntropy),
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
        }
    }
}

impl Runtime {
    /// A node on this machine: its clocks, its randomness, its standard streams.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub fn new(config: RuntimeConfig) -> Result<Runtime, RuntimeError> {
        let terminals = Terminals {
            stdin: std::io::stdin().is_terminal(),
            stdout: std::io::stdout().is_terminal(),
            stderr: std::io::stderr().is_terminal(),
        };
        let template = NodeTemplate::new(config)?;
        let (stdout, stderr) = Output::of_command()?;
        let streams = StandardStreams { stdin: Input::awaited(), stdout, stderr, terminals };
        template.build(Box::new(SystemClock::default()), Box::new(SystemEntropy), streams)
    }

    /// A node with a clock, randomness and output of the caller's choice.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub fn with_parts(config: RuntimeConfig, parts: Parts) -> Result<Runtime, RuntimeError> {
        let template = NodeTemplate::new(config)?;
        let streams = StandardStreams {
            stdin: Input::awaited(),
            stdout: Output::start("stdout", parts.stdout)?,
            stderr: Output::start("stderr", parts.stderr)?,
            terminals: Terminals::default(),
        };
        template.build(parts.clock, parts.entropy, streams)
    }

    /// Loads a program: prepares a plain module in memory, verifies, compiles and links it; or finds it in the cache.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        self.template.loader.load(bytes)
    }

    /// What shows the node's processes, from another thread.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(self.node.clone())
    }

    /// Shows the node's metrics to whoever asks at an address, over HTTP in Prometheus's text format.
    ///
    /// # Errors
    /// When the address cannot be listened at, or the operating system refuses a thread.
    pub fn serve_metrics(&self, address: SocketAddr) -> std::io::Result<MetricsServer> {
        MetricsServer::start(&self.node, address)
    }

    /// What stops the node from another thread.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { node: self.node.clone() }
    }

    /// The node and its workers, which have not started.
    pub(crate) fn into_parts(self) -> (Arc<Node>, Vec<Worker>) {
        (self.node, self.workers)
    }

    /// What it was built from, in place of itself.
    pub(crate) fn into_template(self) -> NodeTemplate {
        self.template
    }

    /// Runs the program's `_start` as the first process, until that process ends.
    ///
    /// # Panics
    /// When the program has no `_start`, which only a [test binary](Program::has_tests) may lack.
    pub fn run(self, program: &Program) -> ExitStatus {
        self.run_function(&program.code, program.start.expect("a program that is run has an entry"))
    }

    /// Runs a function without parameters and results as the first process, until that process ends.
    pub(crate) fn run_function(self, code: &Code, function: FuncIndex) -> ExitStatus {
        match self.start(code, function, false) {
            Ok((status, rest)) => {
                let has_lost_output = rest.end();
                ExitStatus(if has_lost_output && status.0 == 0 { STATUS_OUTPUT_LOST } else { status.0 })
            }
            Err(status) => status,
        }
    }

    /// As [`Runtime::run_function`]; processes that this one leaves behind live on, until what is returned ends them.
    pub(crate) fn run_and_leave(self, code: &Code, function: FuncIndex) -> (ExitStatus, Option<LeftBehind>) {
        match self.start(code, function, true) {
            Ok((status, rest)) => (status, Some(rest)),
            Err(status) => (status, None),
        }
    }

    /// Runs a function as the first process, until that process ends: how, and what is left of the node.
    fn start(
        self,
        code: &Code,
        function: FuncIndex,
        outlives_first: bool,
    ) -> Result<(ExitStatus, LeftBehind), ExitStatus> {
        let Runtime { node, workers, template } = self;
        // Relaxed: the first process comes after it.
        node.outlives_first.store(outlives_first, Ordering::Relaxed);
        match start_workers(workers) {
            Ok(threads) => {
                let config =
                    Arc::try_unwrap(template.config).unwrap_or_else(|shared| shared.for_another_node());
                node.start_first(code, function, config);
                let status = node.status.wait();
                Ok((ExitStatus(status), LeftBehind { node, threads }))
            }
            Err(error) => {
                node.report(format!("the operating system refuses a thread: {error}\n"));
                node.scheduler().stop();
                settle(&node);
                Err(ExitStatus(STATUS_CANNOT_RUN))
            }
        }
    }
}

impl LeftBehind {
    /// Whether there are processes.
    pub(crate) fn has_processes(&self) -> bool {
        !self.node.table.is_empty()
    }

    /// Stops the node and ends what is left. Whether output is lost that its writers took for written.
    pub(crate) fn end(self) -> bool {
        self.node.scheduler().stop();
        for thread in self.threads {
            // A worker that panicked is our bug; the panic has been printed.
            let _ = thread.join();
        }
        settle(&self.node)
    }
}

impl NodeTemplate {
    fn new(config: RuntimeConfig) -> Result<NodeTemplate, RuntimeError> {
        let loader = Arc::new(Loader::new(&config, false)?);
        let first = Arc::new(first_process(config.clone(), &loader.functions)?);
        NodeTemplate::of(&config, loader, first)
    }

    /// A template for a node whose programs are another loader's. `first` is what its first process may do.
    pub(crate) fn of(
        config: &RuntimeConfig,
        loader: Arc<Loader>,
        first: Arc<ProcessConfig>,
    ) -> Result<NodeTemplate, RuntimeError> {
        if !(1..=MAX_WORKERS).contains(&config.workers) {
            return Err(RuntimeError::Workers);
        }
        if config.slice == 0 {
            return Err(RuntimeError::EmptySlice);
        }
        Ok(NodeTemplate {
            workers: config.workers,
            slice: config.slice,
            seed: config.seed,
            max_total_memory: config.max_total_memory,
            config: first,
            loader,
        })
    }

    /// A node with time and randomness of its own.
    pub(crate) fn build(
        self,
        clock: Box<dyn Clock>,
        entropy: Box<dyn Entropy>,
        streams: StandardStreams,
    ) -> Result<Runtime, RuntimeError> {
        let StandardStreams { stdin, stdout, stderr, terminals } = streams;
        let services = Services::new(self.loader.clone(), self.loader.functions.clone());
        let node = Arc::new(Node::new(node::Parts {
            services: Box::new(services),
            backend: Backend::Threads {
                files: Files::new(FILE_THREADS, self.workers),
                reclaimer: BlockingPool::new(1),
            },
            clock,
            entropy,
            stdin,
            stdout,
            stderr,
            terminals,
            slice: self.slice,
            max_total_memory: self.max_total_memory,
        }));
        let (_, workers) = Scheduler::new(self.workers, self.seed, node.clone(), |scheduler| {
            let net = Services::of(&node).open_network(Some(scheduler.registry().try_clone()?));
            node.set_scheduler(scheduler, net);
            Ok(())
        })?;
        Ok(Runtime { node, workers, template: self })
    }
}

impl ShutdownHandle {
    /// Asks the program to stop, as on a request to terminate; asking again [stops](ShutdownHandle::stop) it at once.
    ///
    /// The first process ends with this status, and the node with it. If it wants the failures of linked processes
    /// as messages (`die_when_link_dies(0)`), it gets such a message instead, with no tag, and ends in its own way
    /// and with its own status, or is stopped when [`GRACE`] is over. Before there is a first process there is no
    /// one to ask: the node stops.
    pub fn ask(&self, status: ExitStatus) {
        let node = &self.node;
        // AcqRel: whoever asks second has its look at `first` after the first one had.
        let asked_before = node.asked.swap(true, Ordering::AcqRel);
        let Some(first) = node.first.get().filter(|_| !asked_before) else {
            return self.stop(status);
        };
        let deadline = node.clock.now().saturating_add(GRACE.as_nanos() as u64);
        node.timers.set(deadline, Due::Stop { status: status.0 });
        // After the timer: the worker that this wakes looks at the timers before it sleeps again. If the process is
        // over, the node is about to stop.
        let _ = node.send(*first, Signal::Stop { status: status.0 });
    }

    /// Stops the node with a status, unless it has one already. Processes are not asked.
    pub fn stop(&self, status: ExitStatus) {
        self.node.finish(status.0);
    }
}

pub(crate) fn start_workers(workers: Vec<Worker>) -> std::io::Result<Vec<JoinHandle<()>>> {
    workers
        .into_iter()
        .enumerate()
        .map(|(index, worker)| {
            std::thread::Builder::new().name(format!("worker {index}")).spawn(|| {
                sys::block_signals();
                worker.run();
            })
        })
        .collect()
}

/// Releases what processes hold, and flushes. Whether output is lost that its writers took for written; a message says so.
pub(crate) fn settle(node: &Node) -> bool {
    if let Backend::Threads { files, .. } = &node.backend {
        files.finish();
    }
    node.clear();
    #[cfg(feature = "sqlite")]
    Services::of(node).close_databases(CLOSING);
    // Acquire: see `ShutdownHandle::ask`.
    let patience = node.asked.load(Ordering::Acquire).then_some(GRACE);
    let failures =
        [("standard output", node.stdout.flush(patience)), ("standard error", node.stderr.flush(patience))];
    let mut has_lost_output = false;
    for (stream, failure) in failures {
        let Some(Failure { error, lost }) = failure else { continue };
        has_lost_output = true;
        node.report(format!("{stream}: {error}: the last {lost} bytes of it are lost\n"));
    }
    if has_lost_output {
        // If this cannot be written either, the status says it.
        node.stderr.flush(patience);
    }
    has_lost_output
}
