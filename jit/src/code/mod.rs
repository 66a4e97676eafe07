//! Native code: from what the compiler gives back to memory that runs.
//!
//! ```text
//! Cranelift ─▶ CompiledCode ─┐ link ─▶ Artifact ─────────────┐ load ─▶ CodeImage
//!              (one piece)   ┘         (placed, not loaded)  ┘         (relocated, executable)
//!                                          ▲ │
//!                                     read │ ▼ write: crate::cache
//! ```
//!
//! An [`Artifact`] is the same in every process on this machine: calls between its pieces are relative, and what
//! depends on the process is listed in its [`Fixup`]s. So freshly compiled code and code from the cache go the same
//! way from there on: there is one loader.
//!
//! A [`CodeImage`] is one mapping per module, written once, then made executable and never written again (W^X). It
//! owns the mapping: with the last reference to the module the code is gone. The [`Tables`], from a pc to a function,
//! a trap or a source offset, never change and belong to the image, so a fault handler may read them without a lock
//! and nothing has to be reclaimed later: whoever runs code of a module holds a reference to it, and the handler looks
//! only at the modules of the store that runs on its thread.

mod image;
mod library;
mod link;
mod piece;
mod tables;

pub(crate) use image::{CodeImage, ImageBuffer, ImageLayout};
pub(crate) use library::Routine;
pub(crate) use link::link;
pub(crate) use piece::{CompiledCode, TYPE_SYMBOLS};
pub(crate) use tables::{TableCounts, Tables};

/// The code of a module, placed and linked within itself.
pub(crate) struct Artifact {
    pub(crate) buffer: ImageBuffer,
    pub(crate) fixups: Vec<Fixup>,
}

/// Eight bytes of code that hold a number which is known only when the code is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fixup {
    /// Where, from the start of the code.
    pub(crate) offset: u32,
    pub(crate) value: FixupValue,
}

/// What such a number is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FixupValue {
    /// The address of a routine that the compiler calls where the processor lacks an instruction.
    Routine(Routine),
    /// The engine's number of one of the module's types, by its index.
    TypeNumber(u32),
}
