//! Which pages of a range are resident, asked of Linux (6.7 and later) with the `PAGEMAP_SCAN` ioctl.
//!
//! The structures are those of the kernel's `Documentation/admin-guide/mm/pagemap.rst`.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::OnceLock;

const PAGEMAP_SCAN: u64 = 0xc060_6610;
const PAGE_IS_PRESENT: u64 = 1 << 3;
const PAGE_IS_SWAPPED: u64 = 1 << 4;
/// More separate regions than this mean more pages than are worth zeroing.
const MAX_REGIONS: usize = 16;

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

/// Zeroes the resident pages of a range if there are at most `limit` of them; says whether it did.
///
/// # Safety
/// As for [`reset`](super::reset).
pub(super) unsafe fn zero_resident(address: usize, size: usize, limit: usize) -> bool {
    let Some(pagemap) = pagemap() else { return false };
    let mut regions = [Region::default(); MAX_REGIONS];
    let anyof = PAGE_IS_PRESENT | PAGE_IS_SWAPPED;
    let end = (address + size) as u64;
    let mut argument = ScanArgument {
        size: size_of::<ScanArgument>() as u64,
        flags: 0,
        start: address as u64,
        end,
        walk_end: 0,
        regions: regions.as_mut_ptr() as u64,
        regions_length: MAX_REGIONS as u64,
        max_pages: limit as u64 + 1,
        category_inverted: 0,
        category_mask: 0,
        category_anyof_mask: anyof,
        return_mask: anyof,
    };
    // SAFETY: the argument and the regions outlive the call, and their sizes are passed.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN as _, &mut argument) };
    if found < 0 || argument.walk_end < end {
        return false;
    }
    let regions = &regions[..found as usize];
    let bytes: u64 = regions.iter().map(|region| region.end - region.start).sum();
    if bytes > (limit * super::mapping::page_size()) as u64 {
        return false;
    }
    for region in regions {
        // SAFETY: the kernel returns parts of the range that was asked about, which is the caller's.
        unsafe {
            std::ptr::write_bytes(region.start as *mut u8, 0, (region.end - region.start) as usize);
        }
    }
    true
}

fn pagemap() -> Option<&'static File> {
    static PAGEMAP: OnceLock<Option<File>> = OnceLock::new();
    PAGEMAP.get_or_init(|| File::open("/proc/self/pagemap").ok()).as_ref()
}
