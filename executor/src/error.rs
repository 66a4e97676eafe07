//! What can go wrong before anything runs.

use std::path::PathBuf;

use lunatic_instrument::{PrepareError, VerifyError, VerifyErrorKind};
use lunatic_jit::{CompileError, EngineError, LinkError};

use crate::config::MAX_WORKERS;

/// Why a runtime cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum RuntimeError {
    /// This machine is not supported.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The operating system refuses threads or descriptors.
    #[error("the operating system refuses what the runtime needs: {0}")]
    System(#[from] std::io::Error),
    /// A directory for the guest cannot be opened.
    #[error("the directory {} cannot be opened: {source}", path.display())]
    Dir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An empty slice.
    #[error("the slice must be at least 1")]
    EmptySlice,
    /// Files for a simulated program: they are not simulated yet.
    #[error("a simulation has no files yet: run it without directories")]
    SimulatedFiles,
    /// A simulation of a program that nothing interrupts.
    #[error("a simulation counts reductions: it does not run unmetered")]
    SimulatedUnmetered,
    /// A simulation of tests: each would have to be a program of its own.
    #[error("a simulation runs one program, and this is a test binary: run it without seeds")]
    SimulatedTests,
    /// The trace of a simulation cannot be written.
    #[error("the trace cannot be written: {0}")]
    Trace(std::io::Error),
    /// What a simulated program has written cannot be, outside.
    #[error("the program's output cannot be written: {0}")]
    Output(std::io::Error),
    /// Functions cannot be forbidden as it is said: a pattern fits none, or there are too many patterns.
    #[error("{0}")]
    Forbidden(String),
    /// No workers, or too many.
    #[error("the number of workers must be from 1 to {MAX_WORKERS}")]
    Workers,
}

/// Why a program cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A plain module could not be prepared.
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    /// A prepared module does not keep its promise.
    #[error("{0}{advice}", advice = advice(.0))]
    Verify(#[from] VerifyError),
    /// The module cannot be compiled.
    #[error(transparent)]
    Compile(#[from] CompileError),
    /// Imports that this runtime does not have: all of them.
    #[error("missing imports: {0}")]
    Link(#[from] LinkError),
    /// The module is valid but is no program.
    #[error("the module exports no function \"_start\" without parameters and results: it is not a program")]
    NoStart,
}

/// What to do about a module that does not verify, where the error does not say so itself.
fn advice(error: &VerifyError) -> &'static str {
    match error.kind {
        VerifyErrorKind::Manifest(_) => "",
        _ => ": prepare the original module again with lunatic-prep",
    }
}
