//! Runs programs in [simulations](lunatic_simulation), one seed or many.

mod sweep;

use std::sync::Arc;

use lunatic_core::config::ProcessConfig;
use lunatic_host::Services;
use lunatic_resources::sys;
use lunatic_simulation::{NodeOptions, Outcome, RunError, Simulated, Simulation, Streams};

use crate::config::{MAX_WORKERS, RuntimeConfig, first_process};
use crate::error::{LoadError, RuntimeError};
use crate::program::{Loader, Program};

/// Runs programs in simulations. All simulations share an engine, so each program is compiled once.
pub struct Simulator {
    loader: Arc<Loader>,
    config: ProcessConfig,
    slice: u64,
    max_total_memory: Option<u64>,
}

impl Simulator {
    /// Creates a simulator for programs with this configuration. Its workers and seed are not used.
    ///
    /// # Errors
    /// See [`RuntimeError`]. In particular, a simulation has no files and no unmetered programs.
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
        let (slice, max_total_memory) = (config.slice, config.max_total_memory);
        let config = first_process(config, &loader.functions)?;
        Ok(Simulator { loader, slice, max_total_memory, config })
    }

    /// Loads a program, as [`Runtime::load`](crate::Runtime::load) does. Its code differs from a runtime's.
    ///
    /// # Errors
    /// See [`LoadError`].
    pub fn load(&self, bytes: &[u8]) -> Result<Program, LoadError> {
        self.loader.load(bytes)
    }

    /// Runs the program's `_start` as the first process, until that process ends or no process can continue.
    ///
    /// # Errors
    /// Returns an error if the system refuses a thread or a descriptor, or the trace cannot be written.
    ///
    /// # Panics
    /// Panics if another simulator loaded the program, or the program has no `_start`.
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

/// Starts a thread on which guest code may run.
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
    // A bug in the host or in a sink, not the program's outcome.
    std::panic::resume_unwind(panic)
}

/// Runs a program on the current thread.
fn run_here(
    simulator: &Simulator,
    program: &Program,
    simulation: &Simulation,
    streams: Streams,
) -> Result<Outcome, RuntimeError> {
    if !(1..=MAX_WORKERS).contains(&simulation.workers) {
        return Err(RuntimeError::Workers);
    }
    let services = Services::new(simulator.loader.clone(), simulator.loader.functions.clone());
    let descriptors = services.open_network(None);
    let options = NodeOptions {
        slice: simulator.slice,
        max_total_memory: simulator.max_total_memory,
        services: Box::new(services),
        descriptors,
    };
    let simulated = Simulated::build(simulation, streams, options)?;
    let start = program.start.expect("a program that is simulated has an entry");
    simulated.node().start_first(&program.code, start, simulator.config.for_another_node());
    simulated.run().map_err(|error| match error {
        RunError::Trace(error) => RuntimeError::Trace(error),
        RunError::Output(error) => RuntimeError::Output(error),
    })
}
