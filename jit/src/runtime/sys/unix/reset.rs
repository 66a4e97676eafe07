//! Making a used range of memory look new.
//!
//! Where the kernel tells which pages are resident, these are zeroed in place if they are few, which keeps them
//! for the next user: about 1 µs for a typical small process, against 10 µs for giving them back. Otherwise, and
//! where they are many, the pages are given back.

#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;

use crate::runtime::sys::Reset;

/// A free slot keeps at most this many resident pages.
const KEPT_PAGES: usize = 32;

/// Zeroes what this process has of `[address, address + size)`, which is page-aligned and private. Pages of a [`Backing`](super::Backing) that are only
/// mapped, not written to, are not this process's.
///
/// # Safety
/// The range belongs to the caller, and nothing else reads or writes it meanwhile.
pub(crate) unsafe fn reset(address: usize, size: usize) -> Reset {
    if size == 0 {
        return Reset::GivenBack;
    }
    #[cfg(target_os = "linux")]
    if let Some(resident) = super::pagemap::resident(address, size, KEPT_PAGES) {
        // SAFETY: passed on; the kernel returns parts of the range that was asked about.
        unsafe { resident.zero(address) };
        return Reset::Zeroed(resident);
    }
    // SAFETY: by the contract of this function.
    unsafe { discard(address, size) }
}

/// The page faults that the calling thread has had so far, if the system counts them for threads.
pub fn page_faults() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let mut usage = MaybeUninit::<libc::rusage>::uninit();
        // SAFETY: the structure has room for what is asked for, and is filled where the call succeeds.
        let usage = unsafe {
            if libc::getrusage(libc::RUSAGE_THREAD, usage.as_mut_ptr()) != 0 {
                return None;
            }
            usage.assume_init()
        };
        // A fault that had to be tried again counts as a major one.
        Some(usage.ru_minflt as u64 + usage.ru_majflt as u64)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// As [`reset`], and gives the pages back in any case that the system does so.
///
/// # Safety
/// As for [`reset`].
pub(crate) unsafe fn discard(address: usize, size: usize) -> Reset {
    // SAFETY: the range is the caller's; after the call it reads as zeroes, or as its backing.
    unsafe {
        let failed = libc::madvise(address as *mut _, size, libc::MADV_DONTNEED) != 0;
        if failed || !cfg!(target_os = "linux") {
            std::ptr::write_bytes(address as *mut u8, 0, size);
            return Reset::ZeroedAll;
        }
        Reset::GivenBack
    }
}
