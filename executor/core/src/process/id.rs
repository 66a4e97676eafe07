//! Process identifiers.

use std::fmt;

/// A process identifier. The low half is a slot of the process table; the upper half is the number of processes that
/// had the slot before. A slot whose number would wrap is retired, so no identifier is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(u64);

impl ProcessId {
    /// No process: the first slot is never used.
    pub const NONE: ProcessId = ProcessId(0);

    pub(super) fn new(slot: u32, generation: u32) -> ProcessId {
        ProcessId(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(super) fn slot(self) -> u32 {
        self.0 as u32
    }

    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// Converts an identifier that a guest has passed. There may be no such process.
    pub fn from_guest(id: u64) -> ProcessId {
        ProcessId(id)
    }

    /// Returns the identifier for guests.
    pub fn to_guest(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
