//! Anonymous private mappings.

use std::io;
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
        let size = size.next_multiple_of(page_size());
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing that exists.
        let address = unsafe {
            libc::mmap(
                ptr::null_mut(),
                size,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        if address == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        Ok(Mapping { address: address as usize, size })
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
        // SAFETY: the range is this mapping, and nobody holds a reference into it: code is written through raw
        // pointers and read by the processor only.
        let failed = unsafe {
            libc::mprotect(self.address as *mut _, self.size, libc::PROT_READ | libc::PROT_EXEC) != 0
        };
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
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
