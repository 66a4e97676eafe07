//! Errors of building a runtime and of loading a program.

use std::path::PathBuf;

use lunatic_instrument::{PrepareError, VerifyError, VerifyErrorKind};
use lunatic_jit::{CompileError, EngineError, LinkError};

use crate::config::MAX_WORKERS;

/// Reason why a runtime could not be built.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// The machine is not supported.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The operating system refused a thread or a descriptor.
    #[error("the operating system refuses what the runtime needs: {0}")]
    System(#[from] std::io::Error),
    /// A directory for the guest could not be opened.
    #[error("the directory {} cannot be opened: {source}", path.display())]
    Dir {
        /// Path of the directory.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The slice is 0.
    #[error("the slice must be at least 1")]
    EmptySlice,
    /// A simulated program was given directories, and files are not simulated.
    #[error("a simulation has no files yet: run it without directories")]
    SimulatedFiles,
    /// A simulation was asked to run without reduction counters.
    #[error("a simulation counts reductions: it does not run unmetered")]
    SimulatedUnmetered,
    /// A simulation was asked to run tests, each of which would need a simulation of its own.
    #[error("a simulation runs one program, and this is a test binary: run it without seeds")]
    SimulatedTests,
    /// The trace of a simulation could not be written.
    #[error("the trace cannot be written: {0}")]
    Trace(std::io::Error),
    /// The output of a simulated program could not be written.
    #[error("the program's output cannot be written: {0}")]
    Output(std::io::Error),
    /// A pattern of forbidden functions matches none, or there are too many patterns.
    #[error("{0}")]
    Forbidden(String),
    /// The number of workers is 0 or too large.
    #[error("the number of workers must be from 1 to {MAX_WORKERS}")]
    Workers,
}

/// Reason why a program could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A plain module could not be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A prepared module does not verify.
    #[error("{0}{advice}", advice = advice(.0))]
    Verify(#[from] VerifyError),
    /// The module could not be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// The module imports functions that this runtime does not have; lists all of them.
    #[error("missing imports: {0}")]
    Link(#[from] LinkError),
    /// The module is valid, but has no entry.
    #[error("the module exports no function \"_start\" without parameters and results: it is not a program")]
    NoStart,
}

/// Returns advice about a module that does not verify, unless the error already contains it.
fn advice(error: &VerifyError) -> &'static str {
    match error.kind {
        VerifyErrorKind::Manifest(_) => "",
        _ => ": prepare the original module again with lunatic-prep",
    }
}
