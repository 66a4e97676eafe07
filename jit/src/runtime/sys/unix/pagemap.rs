//! Asks Linux (6.7 and later) which pages of a range are resident, with the `PAGEMAP_SCAN` ioctl.
//!
//! The structures are those of the kernel's `Documentation/admin-guide/mm/pagemap.rst`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

use crate::runtime::sys::{MAX_RUNS, Resident};

const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_FILE: u64 = 1 << 2;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
#[repr(C)]
struct ScanArgument {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    regions: u64,
    regions_length: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Region {
    start: u64,
    end: u64,
    categories: u64,
}

/// Returns the resident pages of a range that are this process's own, if there are at most `limit` of them,
/// in at most as many runs as fit.
pub(super) fn resident(address: usize, size: usize, limit: usize) -> Option<Resident> {
    let mut regions = [Region::default(); MAX_RUNS];
    let (found, walked) = scan(address, size, limit as u64 + 1, &mut regions)?;
    if walked < address + size {
        return None;
    }
    let page = super::mapping::page_size() as u64;
    let (mut resident, mut count) = (Resident::default(), 0);
    for region in &regions[..found] {
        let pages = (region.end - region.start) / page;
        count += pages;
        if !resident.add((region.start - address as u64) / page, pages) {
            return None;
        }
    }
    (count <= limit as u64).then_some(resident)
}

/// Calls `visit` with the address and size of every run of pages of a range that are this process's own.
/// Returns false if they are not known; `visit` may have been called for some.
pub(crate) fn own_pages(address: usize, size: usize, mut visit: impl FnMut(usize, usize)) -> bool {
    let (mut at, end) = (address, address + size);
    let mut regions = [Region::default(); 64];
    while at < end {
        let Some((found, walked)) = scan(at, end - at, 0, &mut regions) else { return false };
        for region in &regions[..found] {
            visit(region.start as usize, (region.end - region.start) as usize);
        }
        at = walked;
    }
    true
}

/// Finds the pages of a range that are this process's own: at most `max_pages` if that is not 0, and at most
/// as many runs as there are regions. Returns the number of runs, and the address up to which it has looked.
fn scan(address: usize, size: usize, max_pages: u64, regions: &mut [Region]) -> Option<(usize, usize)> {
    let pagemap = pagemap()?;
    let anyof = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    let mut argument = ScanArgument {
        size: size_of::<ScanArgument>() as u64,
        flags: 0,
        start: address as u64,
        end: (address + size) as u64,
        walk_end: 0,
        regions: regions.as_mut_ptr() as u64,
        regions_length: regions.len() as u64,
        max_pages,
        // Without pages that belong to a file and were only read.
        category_inverted: PAGE_IS_FILE,
        category_mask: PAGE_IS_FILE,
        category_anyof_mask: anyof,
        return_mask: anyof,
    };
    // SAFETY: the argument and the regions outlive the call, and their sizes are passed.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &mut argument) };
    // Without progress, the caller would ask forever, although there is no error.
    let is_known = found >= 0 && argument.walk_end > address as u64;
    is_known.then_some((found as usize, argument.walk_end as usize))
}

fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()
}
