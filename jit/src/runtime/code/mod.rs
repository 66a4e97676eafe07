//! Compiled code: from an artifact to memory that runs.
//!
//! ```text
//! compiler ─▶ Artifact ─▶ UnloadedCode ──┐ load ─▶ CodeImage
//!                 │            ▲         ┘         (numbers filled in, executable)
//!           write ▼       read │
//!             file of compiled code
//! ```
//!
//! Freshly compiled code and code from a file take the same way from [`UnloadedCode`] on: there is one loader.
//!
//! A [`CodeImage`] is one mapping per module, written once, then made executable and never written again (W^X). The
//! image owns the mapping: the code is unmapped with the last reference to the module. The
//! [tables](crate::environ::tables), from a program counter to a function, a trap or a source offset, never change and
//! belong to the image. So a fault handler may read them without a lock, and nothing has to be reclaimed later: a store
//! that runs code of a module holds a reference to that module, and the handler looks only at the modules of the store
//! that runs on its thread.

#[cfg_attr(not(feature = "compiler"), allow(dead_code, reason = "what only a compiler or its cache uses"))]
pub(crate) mod artifact_file;
mod image;
mod routine;

#[cfg(feature = "compiler")]
use crate::environ::artifact::Artifact;
use crate::environ::artifact::Fixup;

pub(crate) use image::{CodeImage, ImageBuffer, ImageLayout};

/// Code in the memory where it will run, still writable, and without the numbers that depend on the process.
pub(crate) struct UnloadedCode {
    pub(crate) buffer: ImageBuffer,
    pub(crate) fixups: Vec<Fixup>,
}

#[cfg(feature = "compiler")]
impl UnloadedCode {
    /// Copies the code of an artifact.
    pub(crate) fn of(artifact: Artifact) -> std::io::Result<UnloadedCode> {
        Ok(UnloadedCode { buffer: ImageBuffer::of(&artifact)?, fixups: artifact.fixups })
    }
}
