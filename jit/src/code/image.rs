//! Memory for code: writable first, executable then, never both.

use std::io;

use cranelift_codegen::ir::TrapCode;

use super::{Artifact, FixupValue, Tables};
use crate::sys::Mapping;

/// Memory that code is being written to.
pub(crate) struct CodeBuffer {
    mapping: Mapping,
    size: usize,
}

impl CodeBuffer {
    /// Room for so many bytes of code, zeroed.
    pub(crate) fn new(size: usize) -> io::Result<CodeBuffer> {
        Ok(CodeBuffer { mapping: Mapping::new(size.max(1))?, size })
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: the mapping is this buffer's own and readable; it lives as long as the borrow.
        unsafe { std::slice::from_raw_parts(self.mapping.address() as *const u8, self.size) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, writable, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.address() as *mut u8, self.size) }
    }
}

/// The executable code of a module.
#[derive(Debug)]
pub(crate) struct CodeImage {
    mapping: Mapping,
    tables: Tables,
}

impl CodeImage {
    /// Fills in what only this process knows, and makes the code executable.
    ///
    /// # Errors
    /// When the system refuses, or a fixup is outside the code.
    pub(crate) fn load(artifact: Artifact, type_numbers: &[u32]) -> io::Result<CodeImage> {
        let Artifact { mut code, tables, fixups } = artifact;
        let bytes = code.bytes_mut();
        for fixup in fixups {
            let value = match fixup.value {
                FixupValue::Routine(routine) => Some(routine.address() as u64),
                FixupValue::TypeNumber(ty) => type_numbers.get(ty as usize).map(|&number| number.into()),
            };
            let field = bytes.get_mut(fixup.offset as usize..).and_then(<[u8]>::first_chunk_mut::<8>);
            let (Some(value), Some(field)) = (value, field) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            *field = value.to_le_bytes();
        }
        code.mapping.make_executable()?;
        Ok(CodeImage { mapping: code.mapping, tables })
    }

    /// The address of a piece of code.
    pub(crate) fn address(&self, piece: u32) -> *const u8 {
        (self.mapping.address() + self.tables.starts[piece as usize] as usize) as *const u8
    }

    /// The bytes of a piece of code.
    pub(crate) fn size(&self, piece: u32) -> usize {
        (self.tables.ends[piece as usize] - self.tables.starts[piece as usize]) as usize
    }

    /// How many pieces there are.
    pub(crate) fn pieces(&self) -> u32 {
        self.tables.starts.len() as u32
    }

    /// The trap that the instruction at this address raises.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<TrapCode> {
        self.tables.trap_at(self.offset_of(pc)?)
    }

    /// The piece of code that an address lies in.
    pub(crate) fn piece_at(&self, pc: usize) -> Option<u32> {
        self.tables.piece_at(self.offset_of(pc)?)
    }

    /// The offset in the module's bytes of the operator that an address belongs to.
    pub(crate) fn source_at(&self, pc: usize) -> Option<u32> {
        self.tables.source_at(self.offset_of(pc)?)
    }

    fn offset_of(&self, pc: usize) -> Option<u32> {
        let offset = pc.checked_sub(self.mapping.address())?;
        (offset < self.mapping.size()).then_some(offset as u32)
    }
}
