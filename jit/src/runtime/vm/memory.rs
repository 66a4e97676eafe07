//! Linear memories: slots of a few large mappings, by size class, or a reservation each.
//!
//! ```text
//! pooled    ├─ slot ─┼─ slot ─┼─ slot ─┤ …                 all accessible, nothing between them
//! reserved  ├ accessible ┼──── not ────┼──── guard ────┤   4 GiB and 2 GiB of address space
//! ```
//!
//! A pooled memory starts in the smallest size class it fits, and moves to a larger one when it outgrows its
//! slot. So its base may change at every `memory.grow`, and native code reloads it after every call. Every
//! access is checked against the length (`compiler::translate::bounds`). A reserved memory never moves, and
//! grows by making more of its reservation accessible.
//!
//! The slots of a module with much data are cut from mappings that begin with the data (`image`).
//!
//! A free slot or reservation reads as zeroes, or as its image: it is reset when it is given back.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use super::image::{Images, MemoryImage};
use super::slots::{Slot, Slots};
use crate::environ::vm_layout::{GUARD, PAGE, RESERVATION, VmMemory};
use crate::runtime::perf::residency::{Faults, Pages};
use crate::runtime::sys::{Mapping, Reset, Resident, discard, own_pages, reset};

/// The pages that a 32-bit memory may have.
const MAX_PAGES: u64 = 1 << 16;

/// Size classes: 1, 2, 3 and 4 pages, and from there four for each doubling (5, 6, 7, 8, 10, 12 …) up to 4
/// GiB. A Rust guest has 17 pages; the page tables of a slot of 32 pages would be a seventh of what it takes.
const CLASSES: usize = 4 + 4 * 14;

/// Bytes of a mapping that slots are cut from. A larger class has a mapping for each slot, which is unmapped
/// when it is free.
const SLAB_SIZE: usize = if cfg!(miri) { 16 << 20 } else { 256 << 20 };

/// A memory that outgrows a slot of at least this size is moved to a mapping of its own by its page tables,
/// and not copied. Copying less takes a millisecond or two.
const MOVED_FROM: usize = 4 << 20;

/// The mappings that single memories may have: a quarter of what the system allows a process. Further
/// memories are copied.
const MAX_OWN: usize = 16_000;

/// The reservations that an engine has at a time: a quarter of what fits an address space of 47 bits, because
/// the host needs address space for other things. Further memories are pooled.
const MAX_RESERVATIONS: usize = 5_000;

/// The free reservations that are kept for later memories.
const KEPT_RESERVATIONS: usize = 16;

/// The memories of an engine.
#[derive(Debug)]
pub(crate) struct MemoryPool {
    classes: [Slots<Option<Resident>>; CLASSES],
    reservations: Mutex<Reservations>,
    /// The memories with a mapping of their own.
    own: AtomicUsize,
    images: Arc<Images>,
    /// Plants a fault for the tests to find: the thread that renews a memory is watched, not the thread that
    /// takes it.
    #[cfg(test)]
    pub(crate) watches_too_early: std::sync::atomic::AtomicBool,
}

impl Default for MemoryPool {
    fn default() -> MemoryPool {
        let classes = std::array::from_fn(|class| {
            Slots::new(slot_size(class), SLAB_SIZE - SLAB_SIZE % slot_size(class).min(SLAB_SIZE))
        });
        MemoryPool {
            classes,
            reservations: Mutex::default(),
            own: AtomicUsize::new(0),
            images: Arc::default(),
            #[cfg(test)]
            watches_too_early: Default::default(),
        }
    }
}

#[derive(Debug, Default)]
struct Reservations {
    free: Vec<Mapping>,
    used: usize,
}

impl MemoryPool {
    fn take(&self, size: u64) -> io::Result<Allocation> {
        let class = class_of(size);
        let slot_size = slot_size(class);
        if slot_size > SLAB_SIZE {
            let mapping = Mapping::new(slot_size)?.without_huge_pages();
            // Relaxed, here and below: the counter orders no other memory accesses.
            self.own.fetch_add(1, Ordering::Relaxed);
            return Ok(Allocation::Own(mapping));
        }
        let (slot, resident) = self.classes[class].take()?;
        Ok(Allocation::Pooled { slot, class, pages: Pages::taken(resident.flatten()) })
    }

    /// Returns an image for pooled memories of this number of pages with this data, if an image is better
    /// than a copy.
    pub(crate) fn image<'a>(
        &self,
        pages: u64,
        data: impl Iterator<Item = (usize, &'a [u8])> + Clone,
    ) -> Option<Arc<MemoryImage>> {
        self.images.add(slot_size(class_of(pages * PAGE)), SLAB_SIZE, data).map(Arc::new)
    }

    /// Takes a reservation whose first `size` bytes are accessible.
    fn reserve(&self, size: u64) -> io::Result<Allocation> {
        let free = {
            let mut state = self.reservations.lock().expect("nothing panics while the lock is held");
            if state.used == MAX_RESERVATIONS {
                return Err(io::Error::new(
                    io::ErrorKind::OutOfMemory,
                    "the engine has no more reservations for memories",
                ));
            }
            state.used += 1;
            state.free.pop()
        };
        // Mapped without the lock: it is a system call.
        let mapping = free.map_or_else(|| Mapping::reserve(RESERVATION as usize), Ok);
        let ready = mapping.and_then(|mapping| mapping.allow(0..size as usize).map(|()| mapping));
        ready.map(Allocation::Reserved).inspect_err(|_| self.count_reservation_out())
    }

    /// Whether a reservation is available. It is kept for the next memory.
    pub(crate) fn can_reserve(&self) -> bool {
        self.reserve(0).map(|allocation| self.give(allocation, 0)).is_ok()
    }

    fn count_reservation_out(&self) {
        self.reservations.lock().expect("nothing panics while the lock is held").used -= 1;
    }

    /// Takes back a slot or reservation, of which at most `used` bytes were written.
    fn give(&self, allocation: Allocation, used: u64) {
        // The resident pages matter only for a slot that stays resident.
        let known = |pages: Pages, keep| if keep { pages.now() } else { None };
        match allocation {
            Allocation::Pooled { slot, class, pages } => {
                let address = slot.address();
                // Reset the whole slot, not only what was used: a larger memory may have left pages resident
                // in it.
                let size = slot_size(class);
                self.classes[class].give(slot, |keep| {
                    // SAFETY: the slot belongs to the caller, which gives it up, and `pages` are the pages of
                    // this slot.
                    unsafe { clean(address, size, keep, known(pages, keep)) }.resident()
                });
            }
            Allocation::Imaged { slot, image, pages } => {
                let (address, size) = (slot.address(), image.slot_size());
                // SAFETY: as above.
                image.give(slot, |keep| unsafe { clean(address, size, keep, known(pages, keep)) });
            }
            Allocation::Own(mapping) => {
                self.own.fetch_sub(1, Ordering::Relaxed);
                drop(mapping);
            }
            Allocation::Reserved(mapping) => {
                let clean = mapping.deny(0..used as usize).is_ok();
                let mut state = self.reservations.lock().expect("nothing panics while the lock is held");
                state.used -= 1;
                // A reservation that could not be reset must not be reused.
                if clean && state.free.len() < KEPT_RESERVATIONS {
                    state.free.push(mapping);
                }
            }
        }
    }
}

/// Resets a slot: it reads as if it were new.
///
/// # Safety
/// The slot belongs to the caller, and `known` are pages of this slot.
unsafe fn clean(address: usize, size: usize, keep: bool, known: Option<Resident>) -> Reset {
    // SAFETY: by the contract of this function.
    unsafe {
        if !keep {
            return discard(address, size);
        }
        let Some(known) = known else { return reset(address, size) };
        known.zero(address);
        Reset::Zeroed(known)
    }
}

/// Returns the smallest class for this number of bytes.
fn class_of(size: u64) -> usize {
    let pages = size.div_ceil(PAGE).max(1) as usize;
    if pages <= 4 {
        return pages - 1;
    }
    // From 2^n, exclusively, to 2^(n + 1) there are four steps.
    let n = (pages - 1).ilog2() as usize;
    let step = (pages - 1 - (1 << n)) >> (n - 2);
    4 + 4 * (n - 2) + step
}

/// Returns the bytes of a class's slots.
fn slot_size(class: usize) -> usize {
    let pages = match class.checked_sub(4) {
        None => class + 1,
        Some(above) => (5 + above % 4) << (above / 4),
    };
    pages * PAGE as usize
}

#[derive(Debug)]
enum Allocation {
    /// One of many slots in a mapping, and what is known of its pages.
    Pooled { slot: Slot, class: usize, pages: Pages },
    /// The same, in a mapping of an image.
    Imaged { slot: Slot, image: Arc<MemoryImage>, pages: Pages },
    /// A mapping of its own, accessible as a whole: a pooled memory of the largest classes.
    Own(Mapping),
    /// A mapping of its own, accessible up to the memory's length.
    Reserved(Mapping),
}

impl Allocation {
    fn imaged(image: &Arc<MemoryImage>) -> io::Result<Allocation> {
        let (slot, resident) = image.take()?;
        Ok(Allocation::Imaged { slot, image: image.clone(), pages: Pages::taken(resident) })
    }

    fn address(&self) -> usize {
        match self {
            Allocation::Pooled { slot, .. } | Allocation::Imaged { slot, .. } => slot.address(),
            Allocation::Own(mapping) | Allocation::Reserved(mapping) => mapping.address(),
        }
    }
}

/// A linear memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pool: Arc<MemoryPool>,
    /// `None` only for a moment in `grow`, and during drop.
    allocation: Option<Allocation>,
    length: u64,
    max_length: u64,
    /// The description that native code reads.
    descriptor: *mut VmMemory,
}

impl Memory {
    /// Creates a memory, pooled or reserved, and describes it at `descriptor`. Its content is zeroes, or the
    /// image. An image must be for memories of this size, and a reserved memory has none.
    ///
    /// # Safety
    /// The descriptor outlives the memory, and is written only by it.
    pub(crate) unsafe fn new(
        pool: &Arc<MemoryPool>,
        limits: crate::environ::value::Limits,
        reserved: bool,
        image: Option<&Arc<MemoryImage>>,
        descriptor: *mut VmMemory,
    ) -> io::Result<Memory> {
        let max_length = limits.max.unwrap_or(MAX_PAGES).min(MAX_PAGES) * PAGE;
        let length = limits.min * PAGE;
        let allocation = match image {
            Some(image) => Allocation::imaged(image)?,
            None if reserved => pool.reserve(length)?,
            None => pool.take(length)?,
        };
        let mut memory =
            Memory { pool: pool.clone(), allocation: Some(allocation), length, max_length, descriptor };
        memory.describe();
        Ok(memory)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// Returns the largest length that it may grow to.
    pub(crate) fn max_length(&self) -> u64 {
        self.max_length
    }

    /// Grows by `delta` bytes, and returns the number of bytes that were copied. Returns `None` and does
    /// nothing if the memory would exceed its maximum, or if no memory is available.
    pub(crate) fn grow(&mut self, delta: u64) -> Option<u64> {
        let length = self.length.checked_add(delta).filter(|&length| length <= self.max_length)?;
        let room = match self.allocation.as_ref().expect("a memory has an allocation") {
            Allocation::Reserved(mapping) => {
                mapping.allow(self.length as usize..length as usize).ok()?;
                RESERVATION - GUARD
            }
            Allocation::Own(mapping) => mapping.size() as u64,
            Allocation::Pooled { class, .. } => slot_size(*class) as u64,
            Allocation::Imaged { image, .. } => image.slot_size() as u64,
        };
        // Double the size, so that in total no more is copied than the memory has in the end.
        let size = length.next_power_of_two();
        let copied = if length <= room || self.move_pages(size as usize) {
            0
        } else {
            self.copy_to_larger(size)?;
            self.length
        };
        // Only after everything that can fail.
        self.length = length;
        self.describe();
        Some(copied)
    }

    /// Enlarges the allocation to `size` bytes by moving its page tables. Returns false if it was not moved.
    fn move_pages(&mut self, size: usize) -> bool {
        match self.allocation.as_mut().expect("a memory has an allocation") {
            Allocation::Own(mapping) => mapping.grow(size).is_ok(),
            Allocation::Pooled { slot, class, .. } => {
                let before = slot_size(*class);
                if before < MOVED_FROM || self.pool.own.load(Ordering::Relaxed) >= MAX_OWN {
                    return false;
                }
                // SAFETY: the slot belongs to this memory, which is borrowed exclusively. Slots are parts of
                // mappings that are accessible as a whole.
                let Some(mut mapping) = (unsafe { Mapping::of_pages(slot.address(), before) }) else {
                    return false;
                };
                let is_larger = mapping.grow(size).is_ok();
                self.pool.own.fetch_add(1, Ordering::Relaxed);
                let old =
                    self.allocation.replace(Allocation::Own(mapping)).expect("a memory has an allocation");
                self.pool.give(old, 0);
                self.describe();
                is_larger
            }
            Allocation::Imaged { .. } | Allocation::Reserved(_) => false,
        }
    }

    fn copy_to_larger(&mut self, size: u64) -> Option<()> {
        let larger = self.pool.take(size).ok()?;
        self.copy_to(larger.address());
        let old = self.allocation.replace(larger).expect("a memory has an allocation");
        self.pool.give(old, self.length);
        Some(())
    }

    /// Copies the content to a larger, zeroed slot. Pages that were never written are not copied: a small
    /// process that grows by a page would otherwise have all of its address space resident.
    fn copy_to(&self, larger: usize) {
        let (base, length) = (self.base() as usize, self.length as usize);
        let copy = |start: usize, size: usize| {
            let size = size.min(base + length - start);
            let from = std::ptr::with_exposed_provenance::<u8>(start);
            let to = std::ptr::with_exposed_provenance_mut::<u8>(larger + (start - base));
            // SAFETY: both ranges are mapped and disjoint, and belong to this memory. The new one is larger.
            unsafe { to.copy_from_nonoverlapping(from, size) };
        };
        if let Some(Allocation::Imaged { image, .. }) = &self.allocation {
            image.restore(larger, (0, length));
        }
        if !own_pages(base, length, copy) {
            copy(base, length);
        }
    }

    /// Returns the size of the slot if a new memory of `length` bytes would have a slot of the same class.
    /// `None` for memories that are not pooled.
    pub(crate) fn first_slot(&self, length: u64) -> Option<usize> {
        match &self.allocation {
            Some(Allocation::Pooled { class, .. }) if *class == class_of(length) => Some(slot_size(*class)),
            Some(Allocation::Imaged { image, .. }) => Some(image.slot_size()),
            _ => None,
        }
    }

    /// Makes the memory as it was when it was new, with `length` bytes and in this slot. The slot has not
    /// been used since `faults` were counted. The memory is idle until it is [taken](Memory::take).
    pub(crate) fn renew(&mut self, length: u64, faults: Faults) {
        // SAFETY: the slot belongs to this memory, which is borrowed exclusively, and so do the known pages.
        let clean = |address, size, known| unsafe { clean(address, size, true, known) };
        let (resident, pages) = match &mut self.allocation {
            Some(Allocation::Pooled { slot, class, pages }) => {
                (clean(slot.address(), slot_size(*class), pages.after(faults)).resident(), pages)
            }
            Some(Allocation::Imaged { slot, image, pages }) => {
                let reset = clean(slot.address(), image.slot_size(), pages.after(faults));
                (image.complete(slot.address(), reset), pages)
            }
            _ => unreachable!("it has a slot"),
        };
        *pages = Pages::idle(resident);
        #[cfg(test)]
        if self.pool.watches_too_early.load(Ordering::Relaxed) {
            pages.take();
        }
        self.length = length;
        self.describe();
    }

    /// Whether its data comes from an image and was not copied.
    pub(crate) fn is_imaged(&self) -> bool {
        matches!(self.allocation, Some(Allocation::Imaged { .. }))
    }

    /// The calling thread takes an idle memory, and is the only one to use it until
    /// [`Memory::change_thread`].
    pub(crate) fn take(&mut self) {
        if let Some(pages) = self.pages() {
            pages.take();
        }
    }

    /// Another thread than the one that created or took the memory is about to use it.
    pub(crate) fn change_thread(&mut self) {
        if let Some(pages) = self.pages() {
            *pages = Pages::Unknown;
        }
    }

    fn pages(&mut self) -> Option<&mut Pages> {
        match &mut self.allocation {
            Some(Allocation::Pooled { pages, .. } | Allocation::Imaged { pages, .. }) => Some(pages),
            _ => None,
        }
    }

    /// Whether native code may rely on the guard behind it.
    pub(crate) fn is_reserved(&self) -> bool {
        matches!(self.allocation, Some(Allocation::Reserved(_)))
    }

    /// Whether a faulting access to this address was an access to this memory beyond its length.
    pub(crate) fn guards(&self, address: usize) -> bool {
        match &self.allocation {
            Some(Allocation::Reserved(mapping)) => {
                address.checked_sub(mapping.address()).is_some_and(|at| at < mapping.size())
            }
            _ => false,
        }
    }

    /// Returns its first address, until it grows.
    pub(crate) fn base(&self) -> *mut u8 {
        self.allocation.as_ref().expect("a memory has an allocation").address() as *mut u8
    }

    /// Its bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the slot is mapped over the length, belongs to this memory, and is borrowed with it.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.length as usize) }
    }

    fn describe(&mut self) {
        let seen = VmMemory { base: self.base(), length: self.length };
        // SAFETY: by the contract of `new`, the descriptor is valid and written only here.
        unsafe { self.descriptor.write(seen) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(allocation) = self.allocation.take() {
            self.pool.give(allocation, self.length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "safe arithmetic, for every size")]
    fn a_class_is_the_smallest_that_fits() {
        let sizes: Vec<u64> = (0..CLASSES).map(|class| slot_size(class) as u64 / PAGE).collect();
        assert_eq!(sizes[..14], [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24]);
        assert!(sizes.is_sorted() && sizes[CLASSES - 1] == MAX_PAGES);
        for pages in 0..=MAX_PAGES {
            let class = class_of(pages * PAGE);
            assert!(sizes[class] >= pages, "{pages}");
            assert!(class == 0 || sizes[class - 1] < pages, "{pages}");
        }
    }

    #[test]
    fn a_moved_memory_keeps_its_content_and_copies_only_written_pages() {
        let pool = Arc::new(MemoryPool::default());
        let start = (16 << 16) + 10;
        let image = pool.image(17, [(start, &[7; 10_000][..])].into_iter());
        // In the second round, its slot and the larger one have been used before.
        for _ in 0..2 {
            let mut seen = VmMemory { base: std::ptr::null_mut(), length: 0 };
            let limits = crate::environ::value::Limits { min: 17, max: None };
            // SAFETY: the descriptor outlives the memory.
            let mut memory =
                unsafe { Memory::new(&pool, limits, false, image.as_ref(), &raw mut seen) }.unwrap();
            let mut expected = vec![0; 64 << 16];
            if image.is_some() {
                expected[start..][..10_000].fill(7);
            }
            for at in [100, 4096 * 3 + 5, start + 5000, (17 << 16) - 1] {
                memory.bytes()[at] = 9;
                expected[at] = 9;
            }
            // A page that is only read is not copied.
            assert_eq!(memory.bytes()[9 << 16], 0);
            assert_eq!(memory.grow(47 * PAGE), Some(17 * PAGE));
            let mut own = 0;
            if own_pages(memory.base() as usize, memory.length as usize, |_, size| own += size) {
                assert!(own <= 8 * crate::runtime::sys::page_size(), "{own} bytes are resident");
            }
            assert!(*memory.bytes() == *expected);
        }
    }

    /// Copying a gigabyte would keep a worker busy for most of a second.
    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "pages are copied")]
    #[cfg_attr(miri, ignore = "pages are copied")]
    fn a_large_memory_is_moved_without_being_copied() {
        let pool = Arc::new(MemoryPool::default());
        let mut seen = VmMemory { base: std::ptr::null_mut(), length: 0 };
        let limits = crate::environ::value::Limits { min: 100, max: None };
        let new = |seen: &mut VmMemory| {
            // SAFETY: the descriptor outlives the memory.
            unsafe { Memory::new(&pool, limits, false, None, seen) }.unwrap()
        };
        let mut memory = new(&mut seen);
        let slot = memory.base();
        let mut expected = vec![0; 100 << 16];
        for page in (0..1600).filter(|page| page % 3 > 0) {
            expected[page << 12] = page as u8;
            memory.bytes()[page << 12] = page as u8;
        }
        for grown in [200, 300, 1000, 8000] {
            let delta = grown * PAGE - memory.length();
            assert_eq!(memory.grow(delta), Some(0), "nothing is copied to reach {grown} pages");
            expected.resize((grown * PAGE) as usize, 0);
            assert!(*memory.bytes() == *expected, "{grown} pages");
            let last = expected.len() - 1;
            expected[last] = 1;
            memory.bytes()[last] = 1;
        }
        assert_eq!(memory.grow(MAX_PAGES * PAGE), None);
        // The slot is free, and contains nothing of the memory that was moved.
        let mut other_seen = VmMemory { base: std::ptr::null_mut(), length: 0 };
        let mut other = new(&mut other_seen);
        assert_eq!(other.base(), slot);
        assert!(other.bytes().iter().all(|&byte| byte == 0));
        drop((memory, other));
        assert_eq!(pool.own.load(Ordering::Relaxed), 0);
    }
}
