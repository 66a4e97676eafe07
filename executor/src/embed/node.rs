//! Nodes inside a Rust program.

use std::cell::Cell;
use std::io::Write;
use std::sync::Arc;
use std::thread::JoinHandle;

use lunatic_resources::sync::Mutex;

use lunatic_core::Extensions;
use lunatic_core::config::ProcessConfig;
use lunatic_core::node::{Node as CoreNode, Spawn, Terminals};
use lunatic_core::process::{
    EntryPoint, ExitObserver, Process, ProcessExit, ProcessTableFull, ProcessTemplate, Signal, Unstarted,
};
use lunatic_host::{Host, Services};
use lunatic_jit::{Cache, FuncIndex, Value};
use lunatic_resources::{Quota, QuotaExceeded, sys};
use lunatic_scheduler::{Clock, Entropy, SystemClock, SystemEntropy};
use lunatic_stdio::{Input, Output, Script};

use crate::config::RuntimeConfig;
use crate::error::{LoadError, RuntimeError};
use crate::program::Program;
use crate::runtime::{NodeTemplate, StandardStreams, settle, start_workers};

use super::handle::send;
use super::{Ended, Engine, EngineBuilder, Mailbox, ProcessHandle, Sandbox};

/// Processes, and the threads that run them. Cheap to clone. Dropping the last clone ends the processes and waits for
/// the threads.
#[derive(Clone)]
pub struct Node {
    running: Arc<Running>,
}

struct Running {
    node: Arc<CoreNode>,
    engine: Engine,
    workers: Mutex<Vec<JoinHandle<()>>>,
    /// Configuration of ports.
    ports: Arc<ProcessConfig>,
}

/// Builder of a [`Node`], created by [`Node::builder`].
#[must_use]
pub struct NodeBuilder {
    engine: Option<Engine>,
    own_engine: EngineBuilder,
    config: RuntimeConfig,
    max_mailbox: u64,
    clock: Box<dyn Clock>,
    entropy: Box<dyn Entropy>,
    stdin: Script,
    stdout: Option<Box<dyn Write + Send>>,
    stderr: Option<Box<dyn Write + Send>>,
    on_exit: Option<ExitObserver>,
}

/// An exported function of a program, with a sandbox. Cheap to clone.
#[derive(Clone)]
pub struct Function {
    running: Arc<Running>,
    template: Arc<ProcessTemplate>,
    function: FuncIndex,
    name: Arc<str>,
}

/// Current totals of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Number of processes, including mailboxes.
    pub processes: usize,
    /// Number of open sockets.
    pub sockets: usize,
    /// Bytes that count against [`NodeBuilder::max_total_memory`]; 0 if there is no such limit.
    pub total_memory: u64,
}

/// Snapshot of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProcessInfo {
    /// Identifier of the process, which guests use too.
    pub id: u64,
    /// Registered name, or otherwise the function that the process was spawned with.
    pub name: Option<String>,
    /// Bytes of linear memory when the process was last suspended.
    pub memory: u64,
    /// Reductions used until the process was last suspended.
    pub reductions: u64,
    /// Number of waiting messages.
    pub messages: u64,
    /// Name of the current function.
    pub current_function: Option<String>,
}

/// Reason why a process was not spawned.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// The program exports no function with this name.
    #[error("the program exports no function \"{0}\"")]
    NoFunction(String),
    /// The arguments do not match the function's type.
    #[error("the function \"{name}\" has the type {expected}, which the arguments do not fit")]
    WrongArguments {
        /// Name of the function.
        name: String,
        /// Type of the function.
        expected: String,
    },
    /// The sandbox could not be created: a directory cannot be opened, or a pattern matches no host function.
    #[error(transparent)]
    Sandbox(#[from] RuntimeError),
    /// Another engine than the node's loaded the program.
    #[error("the program was loaded by another engine than the node's")]
    OtherEngine,
    /// The limit on processes in the sandbox is reached.
    #[error(transparent)]
    TooMany(#[from] QuotaExceeded),
    /// The node has no identifiers left.
    #[error(transparent)]
    TableFull(#[from] ProcessTableFull),
}

/// Calls on one thread at a time, each made by a host function of the one before it. A level takes some kilobytes of the
/// thread's stack, and what the host function takes.
const MAX_NESTED: u32 = 16;

thread_local! {
    static NESTED: Cell<u32> = const { Cell::new(0) };
}

/// A call on this thread, counted until it is dropped.
struct Level;

impl Level {
    fn enter() -> Result<Level, CallError> {
        let levels = NESTED.get();
        if levels >= MAX_NESTED {
            return Err(CallError::TooDeep);
        }
        NESTED.set(levels + 1);
        Ok(Level)
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        NESTED.set(NESTED.get() - 1);
    }
}

/// Reason why a call has no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError {
    /// The process was not spawned.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// The process did not end normally.
    #[error("the process ended without a result: {:?}", .0.kind)]
    Exit(Arc<ProcessExit>),
    /// The call was made from a host function and its process had to wait, for which a worker must not block. The
    /// process was killed. Spawn the function instead, and let it send its result.
    #[error("a call that a host function makes cannot wait")]
    Waits,
    /// The call was made from a host function that a call from a host function runs, and so on, more than 16 deep. Each
    /// level uses stack of this thread, which no limit of a guest would bound.
    #[error("calls of host functions are nested more than {MAX_NESTED} deep")]
    TooDeep,
}

impl Node {
    /// Returns a builder with the defaults: a worker for each processor, no limits, empty standard input, discarded
    /// output.
    pub fn builder() -> NodeBuilder {
        NodeBuilder {
            engine: None,
            own_engine: Engine::builder(),
            config: RuntimeConfig::default(),
            max_mailbox: 64 << 20,
            clock: Box::new(SystemClock::default()),
            entropy: Box::new(SystemEntropy),
            stdin: Script::default(),
            stdout: None,
            stderr: None,
            on_exit: None,
        }
    }

    /// Returns the engine, which other nodes may share.
    pub fn engine(&self) -> &Engine {
        &self.running.engine
    }

    /// Loads a program, like [`Engine::load`].
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, wasm: &[u8]) -> Result<Program, LoadError> {
        self.running.engine.load(wasm)
    }

    /// Returns a function of a program in a sandbox, for calling or spawning it more than once.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn function(
        &self,
        program: &Program,
        export: &str,
        sandbox: &Sandbox,
    ) -> Result<Function, SpawnError> {
        let Running { node, engine, .. } = &*self.running;
        if !program.is_of(&engine.loader) {
            return Err(SpawnError::OtherEngine);
        }
        let function = program.code.module().exported_function(export);
        let function = function.ok_or_else(|| SpawnError::NoFunction(export.to_owned()))?;
        let config = sandbox.config(&engine.loader.functions, engine.loader.max_stack())?;
        let template = Arc::new(ProcessTemplate {
            node: node.clone(),
            code: config.capabilities.restrict(&program.code),
            config: Arc::new(config),
        });
        Ok(Function { running: self.running.clone(), template, function, name: export.into() })
    }

    /// Spawns a process that runs an exported function.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(
        &self,
        program: &Program,
        export: &str,
        args: &[Value],
        sandbox: &Sandbox,
    ) -> Result<ProcessHandle, SpawnError> {
        self.function(program, export, sandbox)?.spawn(args)
    }

    /// Calls an exported function in a new process, on this thread, and returns its results. See [`Function::call`].
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(
        &self,
        program: &Program,
        export: &str,
        args: &[Value],
        sandbox: &Sandbox,
    ) -> Result<Vec<Value>, CallError> {
        self.function(program, export, sandbox)?.call(args)
    }

    /// Opens a mailbox to which processes can send.
    ///
    /// # Errors
    /// Fails if the node has no identifiers left.
    pub fn mailbox(&self) -> Result<Mailbox, SpawnError> {
        let (code, entry) = self.running.engine.port();
        let (node, config) = (self.running.node.clone(), self.running.ports.clone());
        let template = Arc::new(ProcessTemplate { node, code, config });
        Ok(Mailbox::new(self.running.node.open_port(template, entry)?))
    }

    /// Sends a message to the process with this identifier.
    ///
    /// # Errors
    /// Returns [`Ended`] if there is no such process.
    pub fn send(&self, process: u64, tag: i64, bytes: &[u8]) -> Result<(), Ended> {
        send(&self.running.node, process, tag, bytes)
    }

    /// Returns the current totals of the node.
    pub fn statistics(&self) -> Statistics {
        let node = &self.running.node;
        Statistics {
            processes: node.table.len(),
            sockets: Services::of(node).net().sockets(),
            total_memory: node.total_memory.as_ref().map_or(0, |total| total.used()),
        }
    }

    /// Returns a snapshot of every process, ordered by identifier. Each snapshot is taken between two turns of its
    /// process.
    pub fn processes(&self) -> Vec<ProcessInfo> {
        let mut processes = self.running.node.table.all();
        processes.sort_unstable_by_key(|process| process.id());
        processes.iter().filter_map(|process| self.info(process)).collect()
    }

    fn info(&self, process: &Process) -> Option<ProcessInfo> {
        /// Number of attempts to take a snapshot of a running process.
        const ATTEMPTS: u32 = 10_000;
        let registered = self.running.node.registry.lock().name_of(process.id()).map(ToOwned::to_owned);
        let found = process.snapshot(ATTEMPTS)?;
        Some(ProcessInfo {
            id: process.id().to_guest(),
            name: registered.or(found.entry),
            memory: found.info.usage.memory,
            reductions: found.info.usage.reductions,
            messages: found.info.messages,
            current_function: found.frames.first().and_then(|frame| frame.name.clone()),
        })
    }
}

impl Function {
    /// Spawns a process that runs this function.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn(&self, args: &[Value]) -> Result<ProcessHandle, SpawnError> {
        self.spawn_with(args, Extensions::default())
    }

    /// Spawns like [`Function::spawn`], with initial state for host functions.
    ///
    /// # Errors
    /// See [`SpawnError`].
    pub fn spawn_with(&self, args: &[Value], state: Extensions) -> Result<ProcessHandle, SpawnError> {
        let process = self.enter(args, state)?;
        let handle = ProcessHandle::new((*process).clone(), process.watch());
        process.start();
        Ok(handle)
    }

    /// Calls this function in a new process and returns its results.
    ///
    /// The process runs on this thread until it ends or first waits; after a wait, the node's workers run it. A call
    /// that never waits therefore involves no other thread. The call blocks until the process has ended. Signals are
    /// blocked on this thread while guest code runs. A host function may also call, as long as the called process
    /// does not wait, and at most 16 levels deep.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call(&self, args: &[Value]) -> Result<Vec<Value>, CallError> {
        self.call_with(args, Extensions::default())
    }

    /// Calls like [`Function::call`], with initial state for host functions.
    ///
    /// # Errors
    /// See [`CallError`].
    pub fn call_with(&self, args: &[Value], state: Extensions) -> Result<Vec<Value>, CallError> {
        let _level = Level::enter()?;
        let process = self.enter(args, state)?;
        let watch = process.watch();
        let process = sys::with_signals_blocked(|| process.run_here());
        if lunatic_scheduler::is_worker() && watch.get().is_none() {
            // Kill the process instead of waiting: all workers that could run it may be blocked here.
            let _ = process.send(Signal::Kill);
            return Err(CallError::Waits);
        }
        let exit = watch.wait();
        if exit.kind.is_normal() {
            Ok(Arc::try_unwrap(exit).map_or_else(|exit| exit.results.clone(), |exit| exit.results))
        } else {
            Err(CallError::Exit(exit))
        }
    }

    /// Returns the parameters of a new process. A limit on processes belongs to one process, so a sandbox with such a
    /// limit gets a new configuration for each.
    fn own_template(&self) -> Arc<ProcessTemplate> {
        if self.template.config.quota.is_none() {
            return self.template.clone();
        }
        let ProcessTemplate { node, code, config } = &*self.template;
        let config = Arc::new(config.for_another_node());
        Arc::new(ProcessTemplate { node: node.clone(), code: code.clone(), config })
    }

    fn enter(&self, args: &[Value], state: Extensions) -> Result<Unstarted, SpawnError> {
        let expected = self.template.code.module().function_type(self.function);
        if !expected.params.iter().copied().eq(args.iter().map(Value::ty)) {
            let (name, expected) = (self.name.to_string(), expected.to_string());
            return Err(SpawnError::WrongArguments { name, expected });
        }
        let template = self.own_template();
        let place = template.config.quota.as_ref().map(Quota::take).transpose()?;
        let spawn = Spawn {
            template,
            entry: EntryPoint { function: self.function, args: args.into() },
            place,
            spawner: None,
            link: None,
            hint: std::process::id(),
            extensions: (!state.is_empty()).then(|| Box::new(state)),
        };
        Ok(self.running.node.spawn(spawn)?)
    }
}

impl NodeBuilder {
    /// Shares an existing engine. By default, the node creates its own.
    pub fn engine(mut self, engine: &Engine) -> NodeBuilder {
        self.engine = Some(engine.clone());
        self
    }

    /// Declares host functions in the node's own engine; see [`EngineBuilder::host`].
    pub fn host(mut self, declare: impl FnOnce(&mut Host)) -> NodeBuilder {
        self.own_engine = self.own_engine.host(declare);
        self
    }

    /// Sets the cache of the node's own engine; see [`EngineBuilder::cache`].
    pub fn cache(mut self, cache: Arc<Cache>) -> NodeBuilder {
        self.own_engine = self.own_engine.cache(cache);
        self
    }

    /// Sets the number of worker threads, from 1 to 1,024. Default: one for each processor.
    pub fn workers(mut self, workers: usize) -> NodeBuilder {
        self.config = self.config.workers(workers);
        self
    }

    /// Sets how many reductions a process may use in one turn. Default: 100,000, a fraction of a millisecond.
    pub fn slice(mut self, reductions: u64) -> NodeBuilder {
        self.config = self.config.slice(reductions);
        self
    }

    /// Limits the bytes of memory of all processes together.
    pub fn max_total_memory(mut self, bytes: u64) -> NodeBuilder {
        self.config = self.config.max_total_memory(Some(bytes));
        self
    }

    /// Limits the bytes of messages that wait in a [`Mailbox`]; a mailbox that exceeds the limit closes. Default: 64
    /// MiB.
    pub fn max_mailbox(mut self, bytes: u64) -> NodeBuilder {
        self.max_mailbox = bytes;
        self
    }

    /// Sets the clock that guests and timers use.
    pub fn clock(mut self, clock: impl Clock + 'static) -> NodeBuilder {
        self.clock = Box::new(clock);
        self
    }

    /// Sets the source of the guests' random numbers.
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> NodeBuilder {
        self.entropy = Box::new(entropy);
        self
    }

    /// Sets the standard input of all processes. Default: empty.
    pub fn stdin(mut self, script: Script) -> NodeBuilder {
        self.stdin = script;
        self
    }

    /// Sets the destination of standard output, to which a separate thread writes. Default: discarded.
    pub fn stdout(mut self, sink: impl Write + Send + 'static) -> NodeBuilder {
        self.stdout = Some(Box::new(sink));
        self
    }

    /// Sets the destination of standard error and of crash reports, to which a separate thread writes. Default:
    /// discarded.
    pub fn stderr(mut self, sink: impl Write + Send + 'static) -> NodeBuilder {
        self.stderr = Some(Box::new(sink));
        self
    }

    /// Sets an observer of every end of a process, normal or not. It runs on the thread that ends the process and
    /// must not block. Processes that end because the node is dropped are not observed.
    pub fn on_exit(mut self, observer: impl Fn(&ProcessExit) + Send + Sync + 'static) -> NodeBuilder {
        self.on_exit = Some(Box::new(observer));
        self
    }

    /// Starts the node.
    ///
    /// # Errors
    /// See [`RuntimeError`].
    pub fn build(self) -> Result<Node, RuntimeError> {
        let engine = self.engine.map_or_else(|| self.own_engine.build(), Ok)?;
        let streams = StandardStreams {
            stdin: Input::replayed(self.stdin),
            stdout: output("stdout", self.stdout)?,
            stderr: output("stderr", self.stderr)?,
            terminals: Terminals::default(),
        };
        let ports = ProcessConfig { max_mailbox: Some(self.max_mailbox), ..Sandbox::new().config(&[], 0)? };
        let ports = Arc::new(ports);
        let template = NodeTemplate::of(&self.config, engine.loader.clone(), ports.clone())?;
        let (node, workers) = template.build(self.clock, self.entropy, streams)?.into_parts();
        if let Some(observer) = self.on_exit {
            node.exits.observe(observer);
        }
        match start_workers(workers) {
            Ok(workers) => {
                let workers = Mutex::new(workers);
                Ok(Node { running: Arc::new(Running { node, engine, workers, ports }) })
            }
            Err(error) => {
                // Some workers may have started.
                node.scheduler().stop();
                settle(&node);
                Err(error.into())
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.node.scheduler().stop();
        let (node, workers) = (self.node.clone(), std::mem::take(self.workers.get_mut()));
        let end = move || {
            for worker in workers {
                // A panic of a worker is a bug of ours, and its message has been printed.
                let _ = worker.join();
            }
            settle(&node);
        };
        // A host function, an observer or a waker may hold the last clone. Its thread is one of the node's and may be in
        // a turn of a process, so another thread has to wait for it and release the process.
        if !lunatic_scheduler::is_worker() {
            end();
        } else if std::thread::Builder::new().name("node end".into()).spawn(end).is_err() {
            // Without a thread the processes are not released, but nobody waits for them in vain.
            self.node.exits.stop();
        }
    }
}

fn output(name: &str, sink: Option<Box<dyn Write + Send>>) -> std::io::Result<Output> {
    match sink {
        Some(sink) => Output::start(name, sink),
        None => Ok(Output::immediate(Box::new(std::io::sink()))),
    }
}
