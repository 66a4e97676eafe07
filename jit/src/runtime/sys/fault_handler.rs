//! The interface between the operating system's faults and the runtime that decides about them.
//!
//! The system layer knows nothing of stores and modules: it calls the function that it was given.

/// Decides about a fault. Returns `None` if the fault is not the guest's, and otherwise the registers with
/// which the interrupted thread continues. Runs in a signal handler, so it allocates nothing and takes no
/// lock.
pub(crate) type FaultHandler = fn(FaultContext) -> Option<corosensei::trap::TrapHandlerRegs>;

/// A fault as the system reports it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultContext {
    pub(crate) pc: usize,
    pub(crate) sp: usize,
    /// The frame pointer.
    pub(crate) frame: usize,
    /// The address that could not be accessed, if the fault was an access.
    pub(crate) access: Option<usize>,
}
