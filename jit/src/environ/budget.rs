//! Limits on compiling a module.
//!
//! Guests compile modules too, so compilation is work that has an owner, who may want to stop it. A budget is
//! checked between functions. The work for a single function is limited where it is translated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::environ::error::CompileError;

/// Limits on a compilation. The default allows everything that the engine is able to do.
#[derive(Clone, Debug)]
pub struct Budget {
    /// The number of threads that compile, including the calling one. Default: the number of processors.
    pub threads: usize,
    /// The largest amount of native code, in bytes.
    pub max_code: usize,
    /// The largest amount of other data that the linked module takes, in bytes:
    /// [`Linked::host_bytes`](crate::Linked::host_bytes) without the code.
    pub max_data: usize,
    /// When the compilation has to be done.
    pub deadline: Option<Deadline>,
    /// Stops the compilation from outside.
    pub cancellation: Cancellation,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            max_code: usize::MAX,
            max_data: usize::MAX,
            deadline: None,
            cancellation: Cancellation::default(),
        }
    }
}

impl Budget {
    /// Checks the number of bytes that a module takes in addition to its code.
    pub(crate) fn check_data(&self, bytes: usize) -> Result<(), CompileError> {
        if bytes > self.max_data { Err(CompileError::OverBudget("memory")) } else { Ok(()) }
    }

    /// Checks the bytes of native code that were generated so far, and the time.
    pub(crate) fn check(&self, code: usize) -> Result<(), CompileError> {
        if code > self.max_code { Err(CompileError::OverBudget("native code")) } else { self.check_time() }
    }

    /// Checks the time. For work that is done before compiling.
    ///
    /// # Errors
    /// Returns the error with which compiling would end: it was cancelled, or the deadline has passed.
    pub fn check_time(&self) -> Result<(), CompileError> {
        if self.cancellation.is_cancelled() {
            Err(CompileError::Cancelled)
        } else if self.deadline.as_ref().is_some_and(Deadline::has_passed) {
            Err(CompileError::OverBudget("time"))
        } else {
            Ok(())
        }
    }
}

/// The end of a compilation's time, by any clock. Clones are the same deadline.
#[derive(Clone)]
pub struct Deadline(Arc<dyn Fn() -> bool + Send + Sync>);

impl Deadline {
    /// Creates a deadline that has passed once `has_passed` returns true. It is called from all compiling
    /// threads, after each function.
    pub fn new(has_passed: impl Fn() -> bool + Send + Sync + 'static) -> Deadline {
        Deadline(Arc::new(has_passed))
    }

    fn has_passed(&self) -> bool {
        (self.0)()
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Deadline").finish_non_exhaustive()
    }
}

/// A flag that stops a compilation. Clones are the same flag.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Stops the compilation soon.
    pub fn cancel(&self) {
        // Relaxed: the flag publishes no other data.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the compilation was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
