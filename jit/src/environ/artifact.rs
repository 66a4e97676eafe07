//! The code of a module, compiled and linked within itself, but not loaded.
//!
//! An artifact is the same in every process on this machine: calls between its functions are relative, and the few
//! numbers that depend on the process are listed as [`Fixup`]s. The loader fills these in.

use super::routine::Routine;
use super::tables::TableCounts;

/// Compiled code that is not loaded.
pub(crate) struct Artifact {
    pub(crate) code: Vec<u8>,
    /// The [tables](super::tables) that describe the code.
    pub(crate) tables: Vec<u8>,
    /// The lengths of the tables.
    pub(crate) counts: TableCounts,
    pub(crate) fixups: Vec<Fixup>,
}

/// Eight bytes of code that hold a number which is known only when the code is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixup {
    /// The position of the number, from the start of the code.
    pub(crate) offset: u32,
    pub(crate) value: FixupValue,
}

/// What such a number stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FixupValue {
    /// The address of a routine that compiled code calls where the processor lacks an instruction.
    Routine(Routine),
    /// The engine's number of a type of the module, given by the type's index.
    TypeNumber(u32),
}
