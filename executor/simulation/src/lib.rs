//! Whole programs on a simulated timeline: the same executable, program, inputs and seed give the same bytes.
//!
//! | file | content |
//! |---|---|
//! | `driver`, `ticking` | the one thread that is the machine: which worker has its turn, and the time |
//! | `machine` | the decisions that a node asks for |
//! | `profile` | the properties of a seed's machine |
//! | `faults` | what is done to a program besides running it |
//! | `trace` | the events of a run, as text |
//! | `outcome` | the result of a run |
//!
//! # What is simulated
//!
//! Processes, signals, workers, queues, host functions and native code are the real ones; one thread drives any
//! number of workers. The differences come from outside: a clock that advances by the reductions that are used,
//! randomness from the seed, standard streams without threads, and blocking work as timers. In two places, a node
//! asks the simulation: how long a slice is, so that one can end at any charge, and whether a fault is injected. NaNs
//! have the same bits everywhere, and compiling for guests has no deadline.
//!
//! # What is not
//!
//! A simulation has no files. Two host calls never run at the same time, so races *within* the runtime are for other
//! tests to find. If the machine runs out of memory, the run fails like any program.

#![forbid(unsafe_code)]

mod driver;
mod faults;
mod machine;
mod outcome;
mod profile;
mod ticking;
mod trace;

use std::any::Any;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use lunatic_core::Node;
use lunatic_core::node::{Backend, Parts, Terminals};
use lunatic_scheduler::{Clock, Descriptors, Rng, Scheduler, SeededEntropy, SimulatedClock, Worker};
use lunatic_stdio::{Input, Output, Script};

pub use faults::{Faults, FaultsError, Probability};
pub use lunatic_core::process::WaitsFor;
pub use outcome::{BlockedProcess, Ended, Outcome};

use driver::Driver;
use machine::SimulatedMachine;
use ticking::Ticking;
use trace::Trace;

/// The default number of virtual workers, the same on every machine.
const WORKERS: usize = 4;

/// The default limit on simulated time.
const MAX_TIME: Duration = Duration::from_secs(3600);

/// The uses of a seed. Each has a random sequence of its own.
const FOR_SCHEDULER: u64 = 1;
const FOR_DRIVER: u64 = 2;
const FOR_HOOKS: u64 = 3;
const FOR_GUESTS: u64 = 4;

/// The parameters of a simulation.
#[derive(Clone, Copy, Debug)]
pub struct Simulation {
    /// Decides everything that a real machine leaves open.
    pub seed: u64,
    /// Virtual workers, from 1 to the node's limit. Default: 4.
    pub workers: usize,
    /// The faults that are injected.
    pub faults: Faults,
    /// The limit on simulated time. Default: an hour.
    pub max_time: Duration,
}

impl Default for Simulation {
    fn default() -> Simulation {
        Simulation { seed: 0, workers: WORKERS, faults: Faults::default(), max_time: MAX_TIME }
    }
}

/// The streams of a run.
pub struct Streams {
    /// Standard input. A read returns as much as fits, up to the end of a line, independent of timing.
    pub stdin: Script,
    /// Standard output, written at once. An error of the sink does not affect the program.
    pub stdout: Box<dyn Write + Send>,
    /// Standard error and reports, written at once.
    pub stderr: Box<dyn Write + Send>,
    /// The trace, one line for each turn: the same bytes for the same seed.
    pub trace: Option<Box<dyn Write + Send>>,
}

impl Default for Streams {
    /// Empty input, and output that is discarded.
    fn default() -> Streams {
        let (stdout, stderr) = (Box::new(std::io::sink()), Box::new(std::io::sink()));
        Streams { stdin: Script::default(), stdout, stderr, trace: None }
    }
}

/// A node in a simulation, before its first process.
pub struct Simulated {
    node: Arc<Node>,
    workers: Vec<Worker>,
    clock: Arc<SimulatedClock>,
    machine: Arc<SimulatedMachine>,
    simulation: Simulation,
}

/// What a simulated node is built from.
pub struct NodeOptions {
    /// Reductions of a whole slice.
    pub slice: u64,
    /// The limit on the memory of all processes, if there is one.
    pub max_total_memory: Option<u64>,
    /// The node's state of host functions.
    pub services: Box<dyn Any + Send + Sync>,
    /// The descriptors of the reactor, of which a simulation has none.
    pub descriptors: Arc<dyn Descriptors>,
}

/// Why a run has no outcome: something outside of the simulation failed.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The trace cannot be written.
    #[error("the trace cannot be written: {0}")]
    Trace(io::Error),
    /// The output of the program cannot be written.
    #[error("the program's output cannot be written: {0}")]
    Output(io::Error),
}

impl Simulated {
    /// Builds a node on the timeline of a seed.
    ///
    /// # Errors
    /// Returns an error if the operating system refuses a descriptor.
    pub fn build(simulation: &Simulation, streams: Streams, options: NodeOptions) -> io::Result<Simulated> {
        let Simulation { seed, workers, faults, .. } = *simulation;
        let NodeOptions { slice, max_total_memory, services, descriptors } = options;
        let clock = Arc::new(SimulatedClock::default());
        let trace = streams.trace.map(Trace::new);
        let machine =
            Arc::new(SimulatedMachine::new(Rng::of(seed, FOR_HOOKS), faults, clock.clone(), slice, trace));
        let node = Arc::new(Node::new(Parts {
            services,
            backend: Backend::Driven(machine.clone()),
            clock: Box::new(Ticking(clock.clone())),
            entropy: Box::new(SeededEntropy::of(Rng::of(seed, FOR_GUESTS))),
            stdin: Input::replayed(streams.stdin),
            stdout: Output::immediate(streams.stdout),
            stderr: Output::immediate(streams.stderr),
            terminals: Terminals::default(),
            slice,
            max_total_memory,
        }));
        let stealing = Rng::of(seed, FOR_SCHEDULER).draw();
        let (_, workers) = Scheduler::new(workers, stealing, node.clone(), |scheduler| {
            node.set_scheduler(scheduler, descriptors);
            Ok(())
        })?;
        Ok(Simulated { node, workers, clock, machine, simulation: *simulation })
    }

    /// Returns the node. Its first process is to be started before the run.
    pub fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Runs until the first process ends, or nothing can continue. Guest code runs on the calling thread.
    ///
    /// # Errors
    /// Returns an error if the trace or the output of the program cannot be written.
    pub fn run(self) -> Result<Outcome, RunError> {
        let Simulated { node, workers, clock, machine, simulation } = self;
        let rng = Rng::of(simulation.seed, FOR_DRIVER);
        let max_time = u64::try_from(simulation.max_time.as_nanos()).unwrap_or(u64::MAX);
        let ended = Driver::new(&node, &machine, &clock, workers, rng, max_time).run();
        node.clear();
        machine.finish_trace().map_err(RunError::Trace)?;
        let failures = [node.stdout.flush(None), node.stderr.flush(None)];
        if let Some(failure) = failures.into_iter().flatten().next() {
            return Err(RunError::Output(failure.error));
        }
        let outcome = Outcome { ended, time: Duration::from_nanos(clock.now()), turns: machine.turns() };
        debug_assert_eq!(Arc::strong_count(&node), 1, "nothing is left that holds the node");
        Ok(outcome)
    }
}
