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
        let (slice, max_total_memory) = (config.slice, config.max_total_memory);
        let config = first_process(config, &loader.functions)?;
        Ok(Simulator { loader, slice, max_total_memory, config })
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
