//! Entry point: builds a [`Runtime`], [loads](Runtime::load) a program and [runs](Runtime::run) it.
//!
//! # How a node stops
//!
//! 0. With [`ShutdownHandle::ask`], the first process is asked to end and has [`GRACE`] to do so.
//! 1. The first process ends, [`GRACE`] is over, or [`ShutdownHandle::stop`] is called. This decides the exit status.
//! 2. The scheduler stops: sleeping workers wake, and busy workers finish their slice.
//! 3. The worker threads end. Threads that do file work finish the job at hand. From here on no guest code runs.
//! 4. Every process is discarded: its memory, stack and descriptors are released. Suspended activations are dropped
//!    without unwinding.
//! 5. Databases are closed. This takes as long as their last statements, at most [`CLOSING`].
//! 6. Standard output and standard error are flushed. If this fails, a message and the exit status say so. After a
//!    request to stop, the node waits for a slow reader for at most [`GRACE`], so that such a reader cannot keep the
//!    node alive.

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

/// Exit status when the first process could not be started.
const STATUS_CANNOT_RUN: i32 = 1;

/// Exit status when the program succeeded but part of its output could not be written.
const STATUS_OUTPUT_LOST: i32 = 1;

/// Maximum number of threads that do file work at a time. More rarely help with the files of one machine.
const FILE_THREADS: usize = 16;

/// Maximum time for closing databases. SQLite repairs a database that was left open when it is next opened.
#[cfg(feature = "sqlite")]
const CLOSING: Duration = Duration::from_secs(2);

/// Time that a program has to end after it was [asked](ShutdownHandle::ask) to stop.
pub const GRACE: Duration = Duration::from_secs(5);

/// A node that is ready to run one program.
pub struct Runtime {
    node: Arc<Node>,
    workers: Vec<Worker>,
    template: NodeTemplate,
}

/// Template from which nodes are built. Nodes of one template share the engine, programs and native code, none of
/// which a guest can observe.
/// that a process could see.
#[derive(Clone)]
pub(crate) struct NodeTemplate {
    pub(crate) loader: Arc<Loader>,
    pub(crate) workers: usize,
    pub(crate) slice: u64,
    pub(crate) seed: u64,
    pub(crate) max_total_memory: Option<u64>,
    /// Configuration of the first process.
    pub(crate) config: Arc<ProcessConfig>,
}

/// Standard streams of a node.
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

/// Stops a node from outside, for example on a signal.
#[derive(Clone)]
pub struct ShutdownHandle {
    node: Arc<Node>,
}

/// Environment of a node, which tests can replace.
pub struct Parts {
    /// Clock of the node.
    pub clock: Box<dyn Clock>,
    /// Source of randomness.
    pub entropy: Box<dyn Entropy>,
    /// Destination of standard output. One thread writes to it after the process continues; the next write reports an
    /// error of an earlier one.
    pub stdout: Box<dyn Write + Send>,
    /// Destination of standard error and of reports, written in the same way. Its order relative to standard output
    /// is not defined.
    pub stderr: Box<dyn Write + Send>,
}

impl Default for Parts {
    /// Returns the clock, randomness and standard streams of this machine.
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
    /// Creates a node that uses the clocks, randomness and standard streams of this machine.
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

    /// Creates a node with the given clock, randomness and output.
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

    /// Loads a program from the cache, or verifies, compiles and links it. A plain module is first prepared in
    /// memory.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        self.template.loader.load(bytes)
    }

    /// Returns a handle with which another thread can list the processes of the node.
    pub fn inspector(&self) -> Inspector {
        Inspector::new(self.node.clone())
    }

    /// Serves the metrics of the node at `address`, over HTTP and in the text format of Prometheus.
    ///
    /// # Errors
    /// Fails if the address cannot be bound or the operating system refuses a thread.
    pub fn serve_metrics(&self, address: SocketAddr) -> std::io::Result<MetricsServer> {
        MetricsServer::start(&self.node, address)
    }

    /// Returns a handle with which another thread can stop the node.
    pub fn shutdown_handle(&self) -> ShutdownHandle {
        ShutdownHandle { node: self.node.clone() }
    }

    /// Returns the node and its workers, which have not started.
    pub(crate) fn into_parts(self) -> (Arc<Node>, Vec<Worker>) {
        (self.node, self.workers)
    }

    /// Returns the template from which the node was built.
    pub(crate) fn into_template(self) -> NodeTemplate {
        self.template
    }

    /// Runs the program's `_start` as the first process, and returns when that process has ended.
    ///
    /// # Panics
    /// Panics if the program has no `_start`, which only a [test binary](Program::has_tests) may lack.
    pub fn run(self, program: &Program) -> ExitStatus {
        self.run_function(&program.code, program.start.expect("a program that is run has an entry"))
    }

    /// Runs a function without parameters and results as the first process, and returns when that process has ended.
    pub(crate) fn run_function(self, code: &Code, function: FuncIndex) -> ExitStatus {
        match self.start(code, function, false) {
            Ok((status, rest)) => {
                let has_lost_output = rest.end();
                ExitStatus(if has_lost_output && status.0 == 0 { STATUS_OUTPUT_LOST } else { status.0 })
            }
            Err(status) => status,
        }
    }

    /// Runs a function like [`Runtime::run_function`], but keeps the other processes alive until the caller ends the
    /// returned rest of the node.
    pub(crate) fn run_and_leave(self, code: &Code, function: FuncIndex) -> (ExitStatus, Option<LeftBehind>) {
        match self.start(code, function, true) {
            Ok((status, rest)) => (status, Some(rest)),
            Err(status) => (status, None),
        }
    }

    /// Runs a function as the first process until it ends. Returns its status and the rest of the node.
    fn start(
        self,
        code: &Code,
        function: FuncIndex,
        outlives_first: bool,
    ) -> Result<(ExitStatus, LeftBehind), ExitStatus> {
        let Runtime { node, workers, template } = self;
        // Relaxed: the scheduler publishes the first process after this store.
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
    /// Returns whether processes are left.
    pub(crate) fn has_processes(&self) -> bool {
        !self.node.table.is_empty()
    }

    /// Stops the node and ends the remaining processes. Returns whether output was lost after its writer had been
    /// told that it was written.
    pub(crate) fn end(self) -> bool {
        self.node.scheduler().stop();
        for thread in self.threads {
            // A panic of a worker is a bug of ours, and its message has been printed.
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

    /// Creates a template that uses an existing loader. `first` is the configuration of the first process.
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

    /// Creates a node with the given clock, randomness and streams.
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
    /// Asks the program to stop, as on a termination request. A second call [stops](ShutdownHandle::stop) the node at
    /// once.
    ///
    /// The first process ends with `status`, and the node with it. A process that receives the failures of linked
    /// processes as messages (`die_when_link_dies(0)`) gets such a message, without a tag, and chooses how and with
    /// which status it ends; it is stopped when [`GRACE`] is over. Without a first process the node stops at once.
    pub fn ask(&self, status: ExitStatus) {
        let node = &self.node;
        // AcqRel: the second caller reads `first` after the first caller did.
        let asked_before = node.asked.swap(true, Ordering::AcqRel);
        let Some(first) = node.first.get().filter(|_| !asked_before) else {
            return self.stop(status);
        };
        let deadline = node.clock.now().saturating_add(GRACE.as_nanos() as u64);
        node.timers.set(deadline, Due::Stop { status: status.0 });
        // Set the timer before sending: the worker that the signal wakes reads the timers before it sleeps again. The
        // send fails only if the process has ended, and then the node is stopping anyway.
        let _ = node.send(*first, Signal::Stop { status: status.0 });
    }

    /// Stops the node with `status`, unless it already has a status. Does not ask the processes.
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

/// Releases the resources of all processes and flushes the streams. Returns whether output was lost, which it also
/// reports on standard error.
pub(crate) fn settle(node: &Node) -> bool {
    if let Backend::Threads { files, .. } = &node.backend {
        files.finish();
    }
    node.clear();
    #[cfg(feature = "sqlite")]
    Services::of(node).close_databases(CLOSING);
    // Acquire: pairs with the swap in `ShutdownHandle::ask`.
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
        // If this message cannot be written either, the exit status still tells.
        node.stderr.flush(patience);
    }
    has_lost_output
}
