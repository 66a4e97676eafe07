//! Memory for code: first writable, then executable, never both.
//!
//! ```text
//! code, executable │ up to a page │ tables, readable
//! ```

use std::io;

use super::UnloadedCode;
use super::routine::address;
#[cfg(feature = "compiler")]
use crate::environ::artifact::Artifact;
use crate::environ::artifact::FixupValue;
use crate::environ::tables::{TableCounts, Tables};
use crate::environ::trap_code::TrapCode;
use crate::runtime::sys::{Mapping, page_size};

/// The sizes of an image's parts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ImageLayout {
    /// Bytes of code.
    pub(crate) code: usize,
    pub(crate) tables: TableCounts,
}

impl ImageLayout {
    /// Returns the offset of the tables, which begin on a page of their own that is not executable.
    pub(crate) fn tables_at(self) -> usize {
        self.code.next_multiple_of(page_size())
    }

    /// Returns the size of the image.
    pub(crate) fn size(self) -> usize {
        self.tables_at() + self.tables.size()
    }
}

/// An image that is being written.
pub(crate) struct ImageBuffer {
    mapping: Mapping,
    pub(crate) layout: ImageLayout,
    /// Additional bytes after the image, for what is read together with it.
    behind: usize,
}

impl ImageBuffer {
    /// Allocates a zeroed image, with this number of additional bytes after it. Loading the image removes
    /// them.
    pub(crate) fn new(layout: ImageLayout, behind: usize) -> io::Result<ImageBuffer> {
        let mapping = Mapping::populated((layout.size() + behind).max(1))?;
        Ok(ImageBuffer { mapping, layout, behind })
    }

    /// Copies the code and the tables of an artifact into an image.
    #[cfg(feature = "compiler")]
    pub(super) fn of(artifact: &Artifact) -> io::Result<ImageBuffer> {
        let layout = ImageLayout { code: artifact.code.len(), tables: artifact.counts };
        let mut buffer = ImageBuffer::new(layout, 0)?;
        let (code, rest) = buffer.bytes_mut().split_at_mut(layout.tables_at());
        code[..artifact.code.len()].copy_from_slice(&artifact.code);
        rest[..artifact.tables.len()].copy_from_slice(&artifact.tables);
        Ok(buffer)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        let size = self.layout.size() + self.behind;
        // SAFETY: the mapping belongs to this buffer, is readable and at least as large, and lives as long as
        // the borrow.
        unsafe { std::slice::from_raw_parts(self.mapping.address() as *const u8, size) }
    }

    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        let size = self.layout.size() + self.behind;
        // SAFETY: as above, writable, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.address() as *mut u8, size) }
    }
}

/// The executable code of a module.
#[derive(Debug)]
pub(crate) struct CodeImage {
    mapping: Mapping,
    layout: ImageLayout,
}

impl CodeImage {
    /// Returns the bytes of code and tables.
    pub(crate) fn image_size(&self) -> usize {
        self.layout.size()
    }

    /// Fills in the numbers that depend on this process, and makes the code executable.
    ///
    /// # Errors
    /// Returns an error if the system refuses, or if a fixup is outside of the code.
    pub(crate) fn load(code: UnloadedCode, type_numbers: &[u32]) -> io::Result<CodeImage> {
        let UnloadedCode { mut buffer, fixups } = code;
        let layout = buffer.layout;
        let code = &mut buffer.bytes_mut()[..layout.code];
        for fixup in fixups {
            let value = match fixup.value {
                FixupValue::Routine(routine) => Some(address(routine) as u64),
                FixupValue::TypeNumber(ty) => type_numbers.get(ty as usize).map(|&number| number.into()),
            };
            let field = code.get_mut(fixup.offset as usize..).and_then(<[u8]>::first_chunk_mut::<8>);
            let (Some(value), Some(field)) = (value, field) else {
                return Err(io::ErrorKind::InvalidData.into());
            };
            *field = value.to_le_bytes();
        }
        let mut mapping = buffer.mapping;
        // The bytes after the image were only needed for reading it.
        mapping.truncate(layout.size());
        mapping.make_executable(layout.tables_at())?;
        Ok(CodeImage { mapping, layout })
    }

    /// Returns the address of a compiled function.
    pub(crate) fn address(&self, function: u32) -> *const u8 {
        (self.mapping.address() + self.tables().function(function).0 as usize) as *const u8
    }

    /// Returns the size of a compiled function in bytes.
    pub(crate) fn size(&self, function: u32) -> usize {
        let (start, end) = self.tables().function(function);
        end.saturating_sub(start) as usize
    }

    /// Returns the number of compiled functions.
    pub(crate) fn functions(&self) -> u32 {
        self.layout.tables.functions
    }

    /// Returns the trap that the instruction at this address raises.
    pub(crate) fn trap_at(&self, pc: usize) -> Option<TrapCode> {
        self.tables().trap_at(self.offset_of(pc)?)
    }

    /// Returns the compiled function that contains an address.
    pub(crate) fn function_at(&self, pc: usize) -> Option<u32> {
        self.tables().function_at(self.offset_of(pc)?)
    }

    /// Returns the offset in the module's bytes of the operator that an address belongs to.
    pub(crate) fn source_at(&self, pc: usize) -> Option<u32> {
        self.tables().source_at(self.offset_of(pc)?)
    }

    fn tables(&self) -> Tables<'_> {
        let (at, size) = (self.mapping.address() + self.layout.tables_at(), self.layout.tables.size());
        // SAFETY: the tables are in the image's own mapping, which is readable and never written again.
        let bytes = unsafe { std::slice::from_raw_parts(at as *const u8, size) };
        Tables::new(bytes, self.layout.tables).expect("the layout has room for them")
    }

    fn offset_of(&self, pc: usize) -> Option<u32> {
        let offset = pc.checked_sub(self.mapping.address())?;
        (offset < self.layout.code).then_some(offset as u32)
    }
}
