//! Replaces the system under miri, which has no page tables and no faults. Mappings are allocations, always
//! accessible, and nothing in them can be executed. That is enough to compile a module, to create instances,
//! and to call the routines that native code calls.

use super::Reset;

#[path = "no_backing.rs"]
mod backing;

pub(crate) use backing::{Backing, own_pages};

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::io;
use std::ops::Range;

/// An allocation of zeroed pages.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    size: usize,
    allocated: Layout,
}

impl Mapping {
    pub(crate) fn new(size: usize) -> io::Result<Mapping> {
        let size = size.next_multiple_of(page_size());
        let allocated = Layout::from_size_align(size, page_size()).map_err(io::Error::other)?;
        // SAFETY: a mapping has at least one page.
        let memory = unsafe { alloc_zeroed(allocated) };
        Ok(Mapping { address: memory.expose_provenance(), size, allocated })
    }

    pub(crate) fn populated(size: usize) -> io::Result<Mapping> {
        Mapping::new(size)
    }

    pub(crate) fn reserve(_: usize) -> io::Result<Mapping> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// # Safety
    /// None: it does nothing.
    pub(crate) unsafe fn of_pages(_: usize, _: usize) -> Option<Mapping> {
        None
    }

    pub(crate) fn grow(&mut self, _: usize) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn allow(&self, _: Range<usize>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn deny(&self, _: Range<usize>) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn truncate(&mut self, size: usize) {
        self.size = size.max(1).next_multiple_of(page_size()).min(self.size);
    }

    pub(crate) fn without_huge_pages(self) -> Mapping {
        self
    }

    pub(crate) fn make_executable(&self, _: usize) -> io::Result<()> {
        Ok(())
    }

    pub(crate) fn address(&self) -> usize {
        self.address
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout, and dropped once.
        unsafe { dealloc(std::ptr::with_exposed_provenance_mut(self.address), self.allocated) };
    }
}

pub(crate) fn page_size() -> usize {
    4 << 10
}

/// # Safety
/// The range belongs to the caller, and nothing else reads or writes it meanwhile.
pub(crate) unsafe fn reset(address: usize, size: usize) -> Reset {
    // SAFETY: by the contract.
    unsafe { std::ptr::write_bytes(std::ptr::with_exposed_provenance_mut::<u8>(address), 0, size) };
    Reset::ZeroedAll
}

/// Page faults are not counted.
pub fn page_faults() -> Option<u64> {
    None
}

/// There are no faults.
pub(crate) mod fault {
    pub(crate) fn install(_: crate::runtime::sys::fault_handler::FaultHandler) {}

    pub(crate) fn prepare_thread() {}
}

/// As [`reset`]: there are no pages to give back.
///
/// # Safety
/// As for [`reset`].
pub(crate) unsafe fn discard(address: usize, size: usize) -> Reset {
    // SAFETY: by the contract of this function.
    unsafe { reset(address, size) }
}
