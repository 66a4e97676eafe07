//! Process identifiers.

use std::fmt;

/// A process, for ever: the low half is a slot of the process table, the upper half counts the processes that
/// had the slot before. A slot whose count would wrap is retired, so no identifier is given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId(u64);

impl ProcessId {
    /// No process: the first slot is never given.
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

    /// The identifier that a guest passed; it may name no process at all.
    pub fn from_guest(id: u64) -> ProcessId {
        ProcessId(id)
    }

    /// The identifier as guests see it.
    pub fn to_guest(self) -> u64 {
        self.0
    }
}

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
