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
            crate::runtime::perf::zeroing::zero(unsafe {
                std::slice::from_raw_parts_mut(run, size / size_of::<u64>())
            });
        }
    }
}
