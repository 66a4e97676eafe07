//! Whole programs on a simulated timeline: the same executable, program, inputs and seed give the same bytes.
//!
//! | file | what it holds |
//! |---|---|
//! | `driver`, `ticking` | the one thread that is the machine: which worker has its turn, what time it is |
//! | `hooks` | what the node asks it and tells it |
//! | `character` | how a seed's machine is like |
//! | `faults` | what is done to a program besides |
//! | `trace` | what happened, as text |
//! | `outcome`, `sweep` | what became of a run, and of many |
//!
//! # What is simulated
//!
//! Processes, signals, workers, queues and host functions are the real ones, and so is the code; one thread drives as
//! many workers as asked for. What is different is given from outside, as it always is: a clock that moves by the
//! reductions that are used, randomness from the seed, standard streams without threads, blocking work as an entry of
//! the timers. In two places a node asks: how long a slice is, so that one can end at any charge; and whether a fault
//! is injected. NaNs have the same bits everywhere, and compiling for guests has no deadline.
//!
//! # What is not
//!
//! Files: a simulation has none. Two host calls never run at the same moment, so what races *within* the runtime is for
//! other tests to find. Memory that the machine does not have fails as ever.

mod character;
mod driver;
mod faults;
mod hooks;
mod outcome;
mod sweep;
mod ticking;
mod trace;

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, SimulatedClock};
use crate::config::{MAX_WORKERS, ProcessConfig, RuntimeConfig};
use crate::entropy::{Choices, SeededEntropy};
use crate::error::{LoadError, RuntimeError};
use crate::node::{Node, Parts, Terminals, World};
use crate::program::{Loader, Program};
use crate::scheduler::{Scheduler, Worker};
use crate::stdio::{Input, Output, Script};
use crate::sys;

pub use crate::process::WaitsFor;
pub use faults::{Faults, FaultsError, Probability};
pub(crate) use hooks::{Hooks, Plan, TurnEnd};
pub use outcome::{Ended, Outcome, Stuck};

use driver::Driver;
use ticking::Ticking;
use trace::Trace;

/// Virtual workers, unless someone says otherwise: the same on every machine.
const WORKERS: usize = 4;

/// Simulated time until a program has to have ended, unless someone says otherwise.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// What one seed is for: each has a sequence of its own.
const FOR_SCHEDULER: u64 = 1;
const FOR_DRIVER: u64 = 2;
const FOR_HOOKS: u64 = 3;
const FOR_GUESTS: u64 = 4;

/// Which timeline a program is run on.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// What decides all that a machine leaves open.
    pub seed: u64,
    /// Virtual workers, from 1 to [`MAX_WORKERS`]. Default: 4.
    pub workers: usize,
    /// What is done to the program besides running it.
    pub faults: Faults,
    /// Simulated time until it has to have ended. Default: an hour.
    pub max_time: Duration,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation { seed: 0, workers: WORKERS, faults: Faults::default(), max_time: MAX_TIME }
    }
}

/// What a run reads and writes.
pub struct Streams {
    /// Standard input. Reads return as much as fits, up to the end of a line: that does not depend on when it comes.
    pub stdin: Script,
    /// Standard output; written at once. What becomes of it outside changes nothing for the program.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error and reports; written at once.
    pub stderr: Box<dyn Write + Send>,
    /// What happens, a line for each turn: the same bytes for the same seed.
    pub trace: Option<Box<dyn Write + Send>>,
}

impl Default for Streams {
    /// Nothing to read, and no one who listens.
    fn default() -> Streams {
        let (stdout, stderr) = (Box::new(std::io::sink()), Box::new(std::io::sink()));
        Streams { stdin: Script::default(), stdout, stderr, trace: None }
    }
}

/// Runs programs in simulations. They share an engine, so a program is compiled once for all of them.
pub struct Simulator {
    loader: Arc<Loader>,
    config: ProcessConfig,
    slice: u64,
    max_total_memory: Option<u64>,
}

impl Simulator {
    /// For programs with this configuration, of which workers and seed do not matter here.
    ///
    /// # Errors
    /// See [`RuntimeError`]: above all, there are no files in a simulation, and no unmetered programs.
    pub fn new(config: RuntimeConfig) -> Result<Simulator, RuntimeError> {
        if config.slice == 0 {
            return Err(RuntimeError::EmptySlice);
        }
        if !config.dirs.is_empty() {
            return Err(RuntimeError::SimulatedFiles);
        }
        if config.unmetered {
            return Err(RuntimeError::SimulatedUnmetered);
        }
        let loader = Arc::new(Loader::new(&config, true)?);
        let max_total_memory = config.max_total_memory;
        Ok(Simulator {
            loader,
            slice: config.slice,
            max_total_memory,
            config: ProcessConfig::of_first(config)?,
        })
    }

    /// Loads a program, as [`Runtime::load`](crate::Runtime::load) does. Its code is another one than a runtime's.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        self.loader.load(bytes)
    }

    /// Runs the program's `_start` as the first process, until that process ends, or nothing goes on.
    ///
    /// # Errors
    /// When the machine refuses a thread or a descriptor, or the trace cannot be written.
    ///
    /// # Panics
    /// When the program was loaded by another, or has no `_start`.
    pub fn run(
        &self,
        program: &Program,
        simulation: &Simulation,
        streams: Streams,
    ) -> Result<Outcome, RuntimeError> {
        let run = || run_here(self, program, simulation, streams);
        std::thread::scope(|scope| on_a_worker(scope, run)?.join().unwrap_or_else(resume))
    }
}

/// Starts a thread that guest code may run on.
fn on_a_worker<'scope, T: Send + 'scope>(
    scope: &'scope std::thread::Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> std::io::Result<std::thread::ScopedJoinHandle<'scope, T>> {
    std::thread::Builder::new().name("simulation".into()).spawn_scoped(scope, || {
        sys::block_signals();
        work()
    })
}

fn resume<T>(panic: Box<dyn std::any::Any + Send>) -> T {
    // Our bug, or a sink's: not the program's outcome.
    std::panic::resume_unwind(panic)
}

/// Runs a program on this thread.
fn run_here(
    simulator: &Simulator,
    program: &Program,
    simulation: &Simulation,
    streams: Streams,
) -> Result<Outcome, RuntimeError> {
    let clock = Arc::new(SimulatedClock::default());
    let (node, workers) = build(simulator, simulation, streams, clock.clone())?;
    let start = program.start.expect("a program that is simulated has an entry");
    node.start_first(&program.code, start, simulator.config.for_another_node());
    let choices = Choices::of(simulation.seed, FOR_DRIVER);
    let max_time = u64::try_from(simulation.max_time.as_nanos()).unwrap_or(u64::MAX);
    let ended = Driver::new(&node, &clock, workers, choices, max_time).run();
    node.clear();
    let World::Simulated(hooks) = &node.world else { unreachable!("it was built as one") };
    hooks.finish_trace().map_err(RuntimeError::Trace)?;
    let failures = [node.stdout.flush(None), node.stderr.flush(None)];
    if let Some(failure) = failures.into_iter().flatten().next() {
        return Err(RuntimeError::Output(failure.error));
    }
    let outcome = Outcome { ended, time: Duration::from_nanos(clock.now()), turns: hooks.turns() };
    debug_assert_eq!(Arc::strong_count(&node), 1, "nothing is left that holds the node");
    Ok(outcome)
}

fn build(
    simulator: &Simulator,
    simulation: &Simulation,
    streams: Streams,
    clock: Arc<SimulatedClock>,
) -> Result<(Arc<Node>, Vec<Worker>), RuntimeError> {
    let Simulation { seed, workers, faults, .. } = *simulation;
    if !(1..=MAX_WORKERS).contains(&workers) {
        return Err(RuntimeError::Workers);
    }
    let (slice, trace) = (simulator.slice, streams.trace.map(Trace::new));
    let hooks = Hooks::new(Choices::of(seed, FOR_HOOKS), faults, clock.clone(), slice, trace);
    let node = Arc::new(Node::new(Parts {
        loader: simulator.loader.clone(),
        world: World::Simulated(hooks),
        clock: Box::new(Ticking(clock)),
        entropy: Box::new(SeededEntropy::of(Choices::of(seed, FOR_GUESTS))),
        stdin: Input::replayed(streams.stdin),
        stdout: Output::immediate(streams.stdout),
        stderr: Output::immediate(streams.stderr),
        terminals: Terminals::default(),
        slice,
        max_total_memory: simulator.max_total_memory,
    }));
    let stealing = Choices::of(seed, FOR_SCHEDULER).next();
    let (_, workers) =
        Scheduler::new(workers, stealing, node.clone(), |scheduler| node.set_scheduler(scheduler))?;
    Ok((node, workers))
}
