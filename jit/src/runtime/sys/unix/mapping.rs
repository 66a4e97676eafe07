//! Anonymous private mappings.

use std::io;
use std::ops::Range;
use std::ptr;
use std::sync::OnceLock;

/// The size of a huge page.
#[cfg(target_os = "linux")]
const HUGE_PAGE: usize = 2 << 20;

/// A mapping of zeroed pages that take memory when they are touched. Unmapped on drop.
#[derive(Debug)]
pub(crate) struct Mapping {
    address: usize,
    size: usize,
}

impl Mapping {
    /// Maps at least `size` bytes, readable and writable, without memory behind them.
    pub(crate) fn new(size: usize) -> io::Result<Mapping> {
        Mapping::map(size, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Maps at least `size` bytes of address space that is not accessible.
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

    /// Takes ownership of a mapping.
    ///
    /// # Safety
    /// It is a whole mapping, which nothing else unmaps.
    #[cfg(target_os = "linux")]
    pub(crate) unsafe fn from_raw(address: usize, size: usize) -> Mapping {
        Mapping { address, size }
    }

    /// Moves the pages of a range to a mapping of their own, without copying them. The range is then empty,
    /// as if it had never been used. Returns `None` and does nothing where the system cannot do that.
    ///
    /// # Safety
    /// The range is page-aligned, part of one anonymous mapping that is readable and writable, and belongs to
    /// the caller.
    pub(crate) unsafe fn of_pages(address: usize, size: usize) -> Option<Mapping> {
        #[cfg(target_os = "linux")]
        {
            let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_DONTUNMAP;
            let anywhere = ptr::null_mut::<libc::c_void>();
            // SAFETY: by the contract. The system chooses the new address.
            let moved = unsafe { libc::mremap(address as *mut _, size, size, flags, anywhere) };
            (moved != libc::MAP_FAILED).then_some(Mapping { address: moved as usize, size })
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = (address, size);
            None
        }
    }

    /// Enlarges the mapping, which may move it, without copying its pages. All of it must be accessible.
    pub(crate) fn grow(&mut self, size: usize) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        {
            let size = size.next_multiple_of(page_size());
            // SAFETY: the range is this mapping, which is borrowed exclusively.
            let moved =
                unsafe { libc::mremap(self.address as *mut _, self.size, size, libc::MREMAP_MAYMOVE) };
            if moved == libc::MAP_FAILED {
                return Err(io::Error::last_os_error());
            }
            (self.address, self.size) = (moved as usize, size);
            Ok(())
        }
        #[cfg(not(target_os = "linux"))]
        {
            let _ = size;
            Err(io::ErrorKind::Unsupported.into())
        }
    }

    /// Makes a page-aligned part of a reservation readable and writable.
    pub(crate) fn allow(&self, part: Range<usize>) -> io::Result<()> {
        self.protect(part, libc::PROT_READ | libc::PROT_WRITE)
    }

    /// Gives back the memory of a page-aligned part of a reservation, and makes it inaccessible. It reads as
    /// zeroes when it is allowed again.
    pub(crate) fn deny(&self, part: Range<usize>) -> io::Result<()> {
        // SAFETY: the part is in this mapping, and is not used any more.
        let _ = unsafe { super::reset::discard(self.address + part.start, part.len()) };
        self.protect(part, libc::PROT_NONE)
    }

    fn protect(&self, part: Range<usize>, protection: libc::c_int) -> io::Result<()> {
        assert!(part.end <= self.size, "the part is in the mapping");
        if part.is_empty() {
            return Ok(());
        }
        // SAFETY: the part is in this mapping, whose owner decides who may access it.
        let failed =
            unsafe { libc::mprotect((self.address + part.start) as *mut _, part.len(), protection) != 0 };
        if failed { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// As [`Mapping::new`], with memory behind all of its pages, huge ones where one is filled. Cheaper than
    /// a page fault for each page, if all of it will be written.
    pub(crate) fn populated(size: usize) -> io::Result<Mapping> {
        let mapping = Mapping::new(size)?;
        #[cfg(target_os = "linux")]
        // SAFETY: the range is this mapping, and the advice changes no content. If it fails, it costs only
        // time.
        unsafe {
            if mapping.size >= HUGE_PAGE {
                libc::madvise(mapping.address as *mut _, mapping.size, libc::MADV_HUGEPAGE);
            }
            libc::madvise(mapping.address as *mut _, mapping.size, libc::MADV_POPULATE_WRITE);
        }
        Ok(mapping)
    }

    /// Gives back the pages after the first `size` bytes.
    pub(crate) fn truncate(&mut self, size: usize) {
        let size = size.max(1).next_multiple_of(page_size());
        if size < self.size {
            // SAFETY: the range is the end of this mapping, which is borrowed exclusively, so no address in
            // it is in use.
            unsafe {
                libc::munmap((self.address + size) as *mut _, self.size - size);
            }
            self.size = size;
        }
    }

    /// Asks for small pages: a small process would waste most of a huge page.
    pub(crate) fn without_huge_pages(self) -> Mapping {
        // SAFETY: the range is this mapping, and the advice changes no content. If it fails, it costs only
        // memory.
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

    /// Ends the time in which the mapping is writable: from now on its first `code` bytes (whole pages) are
    /// executable, and the others are readable.
    pub(crate) fn make_executable(&self, code: usize) -> io::Result<()> {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: the range is this mapping.
        unsafe {
            clear_instruction_cache(self.address, self.address + code);
        }
        // No reference into the mapping exists: code is written through raw pointers, and read by the
        // processor only.
        self.protect(0..code, libc::PROT_READ | libc::PROT_EXEC)?;
        #[cfg(all(target_arch = "aarch64", target_os = "linux"))]
        flush_pipelines();
        self.protect(code..self.size, libc::PROT_READ)
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is this mapping, whose owner is gone.
        unsafe {
            libc::munmap(self.address as *mut _, self.size);
        }
    }
}

#[cfg(target_arch = "aarch64")]
// SAFETY: declared as the compiler's runtime library defines it.
unsafe extern "C" {
    #[link_name = "__clear_cache"]
    fn clear_instruction_cache(start: usize, end: usize);
}

/// Makes every processor that runs a thread of this process discard the instructions that it has fetched
/// ahead.
///
/// After the instruction cache was cleaned, another processor may still hold instructions that it has fetched
/// from this address when other code was mapped there. On aarch64 only that processor itself can discard them
/// (`isb`), which the kernel can make it do. On x86-64 the hardware keeps both coherent.
///
/// Kernels before 4.16 lack the command, and an emulator may lack the call. Then nothing is flushed. A
/// processor also synchronises when it switches threads or takes an interrupt, so what remains is a race that
/// no test has shown.
#[cfg(all(target_arch = "aarch64", target_os = "linux"))]
fn flush_pipelines() {
    /// Commands of `membarrier(2)`, for which libc has no names.
    const SYNC_CORE: libc::c_long = 1 << 5;
    const REGISTER_SYNC_CORE: libc::c_long = 1 << 6;
    static IS_REGISTERED: OnceLock<bool> = OnceLock::new();
    // SAFETY: the arguments are numbers, and the call changes no memory.
    let command = |command: libc::c_long| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 };
    if *IS_REGISTERED.get_or_init(|| command(REGISTER_SYNC_CORE)) {
        command(SYNC_CORE);
    }
}

/// Returns the size of a page in bytes.
pub(crate) fn page_size() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    // SAFETY: a query without pointers.
    *SIZE.get_or_init(|| unsafe { libc::sysconf(libc::_SC_PAGESIZE) as usize })
}
