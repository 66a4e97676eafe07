//! What compiling a module may take.
//!
//! Guests compile modules too, so compilation is work that somebody pays for, and that somebody may want to stop. It
//! is asked between functions; what a single function may ask for is limited where it is translated.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::environ::error::CompileError;

/// See the module. The default allows what the engine is able to.
#[derive(Clone, Debug)]
pub struct Budget {
    /// Threads that compile, the calling one among them. Default: as many as there are processors.
    pub threads: usize,
    /// Bytes of native code that may come out.
    pub max_code: usize,
    /// Bytes that the module may take beside its native code, once it is linked: as much as
    /// [`Linked::host_bytes`](crate::Linked::host_bytes) says, without the code.
    pub max_data: usize,
    /// When it has to be done.
    pub deadline: Option<Deadline>,
    /// What stops it from outside.
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
    /// Whether a module may take this number of bytes beside its code.
    pub(crate) fn check_data(&self, bytes: usize) -> Result<(), CompileError> {
        if bytes > self.max_data { Err(CompileError::OverBudget("memory")) } else { Ok(()) }
    }

    /// Whether to go on, with so many bytes of native code made so far.
    pub(crate) fn check(&self, code: usize) -> Result<(), CompileError> {
        if code > self.max_code { Err(CompileError::OverBudget("native code")) } else { self.check_time() }
    }

    /// Whether there is time left for what is done before compiling.
    ///
    /// # Errors
    /// As compiling has them: it was cancelled, or the deadline has passed.
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

/// The end of a compilation's time, by whatever clock its owner has. Its clones are one deadline.
#[derive(Clone)]
pub struct Deadline(Arc<dyn Fn() -> bool + Send + Sync>);

impl Deadline {
    /// One that has passed as soon as this says so. It is asked from all threads that compile, after each function.
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

/// A flag that stops a compilation. Its clones are one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancellation(Arc<AtomicBool>);

impl Cancellation {
    /// Stops it, soon.
    pub fn cancel(&self) {
        // Relaxed: nothing else is told by it.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether it was stopped.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
