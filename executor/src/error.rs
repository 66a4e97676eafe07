//! What can go wrong, and whose fault it is.
//!
//! A [`Fault`] is the guest's and ends its process. The other errors are found before anything runs.

use std::path::PathBuf;

use lunatic_instrument::{PrepareError, VerifyError, VerifyErrorKind};
use lunatic_jit::{CompileError, EngineError, LinkError};

use crate::account::Full;
use crate::config::MAX_WORKERS;
use crate::forbidden::Unusable;
use crate::sqlite::{Malformed, SqlError};

/// A guest called a host function in a way that ends the process.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Fault {
    #[error("a pointer passed to the host is outside the memory ({length} bytes at {pointer:#x})")]
    BadPointer { pointer: u32, length: u64 },
    #[error("the module exports no memory named \"memory\", which this host function needs")]
    NoMemory,
    #[error("the module does not export \"_lunatic_catch_trap\", which lunatic::trap::catch calls")]
    NoCatchTrap,
    #[error(
        "the module does not export \"lunatic_alloc\" of the type (i32) -> i32, by which this host function needs memory"
    )]
    NoAllocator,
    #[error("the guest's \"lunatic_alloc\" trapped: {0}")]
    AllocatorTrapped(String),
    #[error("the result does not fit in a guest's memory")]
    NoRoom,
    #[error("a string passed to the host is not UTF-8")]
    NotUtf8,
    #[error("there is no current message; create or receive one first")]
    NoMessage,
    #[error("the current message is a signal and carries no data")]
    NotAData,
    #[error("the current message is data and tells of no end")]
    NotADeath,
    #[error("there is no {kind} with the identifier {id} in this process")]
    Unknown { kind: &'static str, id: u64 },
    #[error("this process is not allowed to {0}")]
    NotAllowed(&'static str),
    #[error("this process must not call {0}")]
    Forbidden(std::sync::Arc<str>),
    #[error(transparent)]
    Unforbiddable(#[from] Unusable),
    #[error("the parameters of a spawn are not made of 17-byte entries of known types")]
    BadParams,
    #[error("this process has too many {0}")]
    TooMany(&'static str),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("{what} of {length} bytes is longer than {limit}")]
    TooLong { what: &'static str, length: u64, limit: u64 },
    #[error("a message of more than {0} bytes exceeds the process's memory limit")]
    MessageTooLarge(u64),
    #[error("an address has the type 4 or 6, not {0}")]
    BadAddressType(u32),
    #[error("the system refuses: {0}")]
    Refused(String),
    #[error(transparent)]
    Sqlite(#[from] SqlError),
    #[error(transparent)]
    BadBinds(#[from] Malformed),
    #[error("the guest exited with status {0}")]
    Exit(u32),
    #[error("the guest ended with the reason {0}")]
    Reason(i64),
}

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
