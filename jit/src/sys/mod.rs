//! What differs between operating systems: mappings, page reset, and synchronous faults.
//!
//! A back end provides: [`Mapping`] (reserve zeroed memory lazily backed, give pages back, make it executable),
//! [`reset`] (zero a range, cheaply where little of it is resident), [`page_faults`] (of a thread), `fault` (hand a hardware fault in native code to
//! [`crate::vm::trap::handle`], and redirect the faulting context where that says), and `private` (files that nobody
//! else can have written).

#[cfg(miri)]
mod interpreted;
#[cfg(unix)]
#[cfg_attr(miri, allow(dead_code, unused_imports, reason = "what `interpreted` takes the place of"))]
mod unix;

#[cfg(miri)]
pub(crate) use interpreted::{Mapping, discard, fault, page_faults, page_size, reset};
#[cfg(unix)]
pub(crate) use unix::private;
#[cfg(all(unix, not(miri)))]
pub(crate) use unix::{Mapping, discard, fault, page_faults, page_size, reset};

/// Runs of resident pages that are worth remembering; more mean more pages than are worth keeping.
pub(crate) const MAX_RUNS: usize = 12;

/// Resident pages of a range: runs of them. Small, as every process has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resident {
    /// The first page, counted from the start of the range, and how many there are.
    runs: [(u16, u16); MAX_RUNS],
    count: u8,
}

impl Resident {
    /// Adds a run of so many pages; there is room for it. False if it is too far from the start.
    #[cfg_attr(miri, allow(dead_code))]
    fn add(&mut self, first: u64, pages: u64) -> bool {
        let (Ok(first), Ok(pages)) = (u16::try_from(first), u16::try_from(pages)) else { return false };
        self.runs[self.count as usize] = (first, pages);
        self.count += 1;
        true
    }

    /// Zeroes these pages of the range at `address`.
    ///
    /// # Safety
    /// The range is the one that this was found for, it belongs to the caller, and nothing else reads or writes it
    /// meanwhile.
    pub(crate) unsafe fn zero(&self, address: usize) {
        let page = page_size();
        for &(first, pages) in &self.runs[..self.count.into()] {
            let run = std::ptr::with_exposed_provenance_mut::<u8>(address + usize::from(first) * page);
            // SAFETY: by the contract.
            unsafe { run.write_bytes(0, usize::from(pages) * page) };
        }
    }
}

/// Asks the processor for the line of an address, whatever is there, if it can be asked.
#[inline]
pub(crate) fn prefetch(address: usize) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: every processor of this kind has the instruction. It reads nothing, and an address that is not mapped is
    // passed over.
    unsafe {
        use core::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(std::ptr::without_provenance(address));
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    let _ = address;
}
