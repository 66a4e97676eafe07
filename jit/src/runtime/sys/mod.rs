//! What differs between operating systems: mappings, resetting of pages, and synchronous faults.
//!
//! A back end provides:
//!
//! * [`Mapping`]: reserves zeroed memory that is backed lazily, gives pages back, makes code executable.
//! * [`Backing`]: the common content of many mappings. Optional.
//! * `own_pages`: the resident pages of a range. Optional.
//! * [`reset`]: zeroes a range, cheaply if little of it is resident.
//! * [`page_faults`]: the page faults of a thread.
//! * `fault`: passes a hardware fault in native code to a [`FaultHandler`](fault_handler::FaultHandler), and
//!   redirects the thread as the handler says.
//! * `private`: files that no other user can have written.

pub(crate) mod fault_handler;
#[cfg(miri)]
mod interpreted;
#[cfg(unix)]
#[cfg_attr(miri, allow(dead_code, unreachable_pub, unused_imports, reason = "`interpreted` replaces it"))]
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

/// How a range was reset.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reset {
    /// These pages, the only resident ones of its own, were zeroed and stay resident.
    Zeroed(Resident),
    /// Its pages were given back: it reads as what is mapped.
    GivenBack,
    /// The whole range was zeroed.
    ZeroedAll,
}

impl Reset {
    /// Returns the resident pages, if they are known.
    pub(crate) fn resident(self) -> Option<Resident> {
        match self {
            Reset::Zeroed(resident) => Some(resident),
            Reset::GivenBack | Reset::ZeroedAll => None,
        }
    }
}

/// The largest number of runs of resident pages. With more runs, there are more pages than are worth keeping.
pub(crate) const MAX_RUNS: usize = 12;

/// The resident pages of a range, as runs. Small, because every process has one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Resident {
    /// The first page, counted from the start of the range, and the number of pages.
    runs: [(u16, u16); MAX_RUNS],
    count: u8,
}

impl Resident {
    /// Adds a run of pages; there is room for it. Returns false if it is too far from the start.
    #[cfg_attr(miri, allow(dead_code))]
    fn add(&mut self, first: u64, pages: u64) -> bool {
        let (Ok(first), Ok(pages)) = (u16::try_from(first), u16::try_from(pages)) else { return false };
        self.runs[self.count as usize] = (first, pages);
        self.count += 1;
        true
    }

    /// Returns the runs of pages: bytes from the start of the range, and bytes.
    pub(crate) fn runs(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        let page = page_size();
        let runs = self.runs[..self.count.into()].iter();
        runs.map(move |&(first, pages)| (usize::from(first) * page, usize::from(pages) * page))
    }

    /// Zeroes these pages of the range at `address`.
    ///
    /// # Safety
    /// They are pages of this range, which belongs to the caller, and nothing else reads or writes it
    /// meanwhile.
    pub(crate) unsafe fn zero(&self, address: usize) {
        for (start, size) in self.runs() {
            let run = std::ptr::with_exposed_provenance_mut::<u64>(address + start);
            // SAFETY: by the contract. Pages are aligned for words, and a whole number of them.
            crate::runtime::perf::zeroing::zero(unsafe {
                std::slice::from_raw_parts_mut(run, size / size_of::<u64>())
            });
        }
    }
}
