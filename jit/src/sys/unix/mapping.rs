//! Anonymous private mappings.

use std::io;
use std::ops::Range;
use std::ptr;

/// A mapping of zeroed pages that take memory when touched. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    size: usize,
}

impl Mapping {
    /// Maps at least `size` bytes, readable and writable, with no memory behind them yet.
    pub(crate) fn new(size: usize) -> io::Result<Mapping> {
        Mapping::map(size, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Maps at least `size` bytes of address space, of which nothing is accessible.
    pub(crate) fn reserve(size: usize) -> io::Result<Mapping> {
        Mapping::map(size, libc::PROT_NONE)
    }

    fn map(size: usize, protection: libc::c_int) -> io::Result<Mapping> {
        let size = size.next_multiple_of(page_size());
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe { libc::mmap(ptr::null_mut(), size, protection, flags, -1, 0) };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address: address as usize, size })
    }

    /// Makes a page-aligned part of a reservation readable and writable.
    pub(crate) fn allow(&self, part: Range<usize>) -> io::Result<()> {
        self.protect(part, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Gives back the memory of a page-aligned part of a reservation and makes it inaccessible; it reads as zeroes
    /// when it is allowed again.
    pub(crate) fn deny(&self, part: Range<usize>) -> io::Result<()> {
        // SAFETY: the part is in this mapping, which nobody uses any more.
        unsafe { super::reset::discard(self.address + part.start, part.len()) };
        self.protect(part, libc::PROT_NONE)
    }

    fn protect(&self, part: Range<usize>, protection: libc::c_int) -> io::Result<()> {
        assert!(part.end <= self.size, "the part is in the mapping");
        if part.is_empty() {
            return Ok(());
        }
        // SAFETY: the part is in this mapping; whoever holds it decides who may access it.
        let failed =
            unsafe { libc::mprotect((self.address + part.start) as *mut _, part.len(), protection) != 0 };
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// Asks for small pages: a huge page under a small process would waste most of it.
    pub(crate) fn without_huge_pages(self) -> Mapping {
        // SAFETY: the range is this mapping; the advice changes no content. Its failure costs memory only.
        #[cfg(target_os = "linux")]
        unsafe {
            libc::madvise(self.address as *mut _, self.size, libc::MADV_NOHUGEPAGE);
        }
        self
    }

    pub(crate) fn address(&self) -> usize {
        self.address
    }

    pub(crate) fn size(&self) -> usize {
        self.size
    }

    /// Ends the writable life of the mapping and begins its executable one.
    pub(crate) fn make_executable(&self) -> io::Result<()> {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the range is this mapping.
        unsafe {
            clear_instruction_cache(self.address, self.address + self.size);
        }
        // Nobody holds a reference into it: code is written through raw pointers and read by the processor only.
        self.protect(0..self.size, libc::PROT_READ | libc::PROT_EXEC)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, and its owner is gone.
        unsafe {
            libc::munmap(self.address as *mut _, self.size);
        }
    }
}

#[cfg(target_arch = "aarch64")]
// SAFETY: the compiler's own routine, declared as its runtime library defines it.
unsafe extern "C" {
    #[link_name = "__clear_cache"]
    fn clear_instruction_cache(start: usize, end: usize);
}

/// The size of a page in bytes.
pub(crate) fn page_size() -> usize {
    // SAFETY: a query without arguments that could be wrong.
    unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize }
}
