//! What differs between operating systems: mappings, page reset, and synchronous faults.
//!
//! A back end provides: [`Mapping`] (reserve zeroed memory lazily backed, give pages back, make it executable),
//! [`Backing`] (what many mappings begin with; or none), `own_pages` (which of a range are there; or not), [`reset`] (zero
//! a range, cheaply where little of it is resident), [`page_faults`] (of a thread), `fault` (hand a hardware fault in
//! native code to a [`FaultHandler`](fault_handler::FaultHandler), and redirect the faulting context where that says), and `private` (files
//! that nobody else can have written).

pub(crate) mod fault_handler;
#[cfg(miri)]
mod interpreted;
#[cfg(unix)]
#[cfg_attr(miri, allow(dead_code, unused_imports, reason = "what `interpreted` takes the place of"))]
mod unix;

#[cfg(miri)]
pub use interpreted::page_faults;
#[cfg(miri)]
pub(crate) use interpreted::{Backing, Mapping, discard, fault, own_pages, page_size, reset};
#[cfg(all(unix, not(miri)))]
pub use unix::page_faults;
#[cfg(all(unix, feature = "compiler"))]
pub(crate) use unix::private;
#[cfg(all(unix, not(miri)))]
pub(crate) use unix::{Backing, Mapping, discard, fault, own_pages, page_size, reset};

/// What was done to make a range look new.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reset {
    /// These pages, which are its own, were zeroed and stay.
    Zeroed(Resident),
    /// Its pages were given back: what was mapped is there again.
    GivenBack,
    /// All of it was zeroed.
    ZeroedAll,
}

impl Reset {
    /// Which pages are resident, if that is known.
    pub(crate) fn resident(self) -> Option<Resident> {
        match self {
            Reset::Zeroed(resident) => Some(resident),
            Reset::GivenBack | Reset::ZeroedAll => None,
        }
    }
}

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

    /// The runs of pages: how many bytes from the start of the range, and how many bytes.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let page = page_size();
        let runs = self.runs[..self.count.into()].iter();
        runs.map(move |&(first, pages)| (usize::from(first) * page, usize::from(pages) * page))
    }

    /// Zeroes these pages of the range at `address`.
    ///
    /// # Safety
    /// The range is the one that this was found for, it belongs to the caller, and nothing else reads or writes it
    /// meanwhile.
    pub(crate) unsafe fn zero(&self, address: usize) {
        for (start, size) in self.runs() {
            let run = std::ptr::with_exposed_provenance_mut::<u64>(address + start);
            // SAFETY: by the contract. Pages are aligned for words, and whole numbers of them.
            zero_written(unsafe { std::slice::from_raw_parts_mut(run, size / size_of::<u64>()) });
        }
    }
}

/// Zeroes pages of which little was written: what is zero already is only read. A page of a process that has ended is in
/// no near cache, and to write a line there costs twice, when it comes and when it goes.
fn zero_written(pages: &mut [u64]) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has what it is compiled for.
        return unsafe { zero_written_wide(pages) };
    }
    zero_parts(pages);
}

/// As [`zero_written`], with wider registers.
///
/// # Safety
/// The processor has AVX2.
#[cfg(all(target_arch = "x86_64", not(miri)))]
#[target_feature(enable = "avx2")]
unsafe fn zero_written_wide(pages: &mut [u64]) {
    zero_parts(pages);
}

#[inline(always)]
fn zero_parts(pages: &mut [u64]) {
    /// Words that are looked at together: two lines.
    const PART: usize = 16;
    let (parts, rest) = pages.as_chunks_mut::<PART>();
    for part in parts {
        if part.iter().fold(0, |all, word| all | word) != 0 {
            part.fill(0);
        }
    }
    rest.fill(0);
}

/// Asks the processor for the line of an address, whatever is there, if it can be asked.
#[inline]
pub fn prefetch(address: usize) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_was_written_is_zeroed() {
        let mut pages = vec![0u64; 2 * 512 + 5];
        let step = if cfg!(miri) { 97 } else { 1 };
        for at in (0..pages.len()).step_by(step) {
            (pages[at], pages[1024 - at / 2]) = (1 << (at % 64), u64::MAX);
            zero_written(&mut pages);
            assert!(pages.iter().all(|&word| word == 0), "word {at}");
            pages[at] = 1 << 63;
            zero_parts(&mut pages);
            assert!(pages.iter().all(|&word| word == 0), "word {at}");
        }
    }
}
