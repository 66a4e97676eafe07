//! Resets a used range of memory, so that it reads as if it were new.
//!
//! If the kernel reports which pages are resident, and they are few, they are zeroed in place, which keeps
//! them for the next user: about 1 µs for a typical small process, against 10 µs for giving them back.
//! Otherwise the pages are given back.

#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;

use crate::runtime::sys::Reset;

/// The resident pages that a free slot keeps at most.
const KEPT_PAGES: usize = 32;

/// Zeroes the pages of `[address, address + size)` that belong to this process. The range is page-aligned and
/// private. Pages of a [`Backing`](super::Backing) that are mapped but were not written do not belong to it.
///
/// # Safety
/// The range belongs to the caller, and nothing else reads or writes it meanwhile.
pub(crate) unsafe fn reset(address: usize, size: usize) -> Reset {
    if size == 0 {
        return Reset::GivenBack;
    }
    #[cfg(target_os = "linux")]
    if let Some(resident) = super::pagemap::resident(address, size, KEPT_PAGES) {
        // SAFETY: by the contract. The kernel returns parts of the range that it was asked about.
        unsafe { resident.zero(address) };
        return Reset::Zeroed(resident);
    }
    // SAFETY: by the contract of this function.
    unsafe { discard(address, size) }
}

/// Returns the page faults that the calling thread has had, if the system counts them for each thread.
pub fn page_faults() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the structure is the one that the call fills, if it succeeds.
        let usage = unsafe {
            if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
                return None;
            }
            usage.assume_init()
        };
        // A page fault that had to be retried counts as a major one.
        Some(usage.ru_minflt as u64 + usage.ru_majflt as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// Resets a range as [`reset`] does, and gives its pages back where the system does that.
///
/// # Safety
/// As for [`reset`].
pub(crate) unsafe fn discard(address: usize, size: usize) -> Reset {
    // SAFETY: the range belongs to the caller. After the call, it reads as zeroes or as its backing.
    unsafe {
        let failed = libc::madvise(address as *mut _, size, libc::MADV_DONTNEED) != 0;
        if failed || !cfg!(target_os = "linux") {
            std::ptr::write_bytes(address as *mut u8, 0, size);
            return Reset::ZeroedAll;
        }
        Reset::GivenBack
    }
}
