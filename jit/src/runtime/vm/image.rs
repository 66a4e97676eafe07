//! Initial images: what the memories of a module's instances begin with, in memory once for all of them.
//!
//! Most of a program's data is never written: names, method tables, messages. Copied into each instance, it
//! would be most of what a small process takes (four of the six pages of an idle Rust guest). So the slots of
//! a module are cut from private mappings of a file that contains the data at every slot. A page that is only
//! read is the file's; a page that is written becomes the instance's own. A mapping has hundreds of slots, as
//! those of [`Slots`] do, so processes do not need a mapping each.
//!
//! The file is filled as slots are used for the first time. A page that a guest reads beyond its data takes a
//! page of the file too, but in one slab at most, however many instances there are.
//!
//! A free slot reads as the image: its own pages are restored when it is given back.

use std::io;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::slots::{Slot, Slots};
use crate::environ::vm_layout::PAGE;
use crate::runtime::sys::{Backing, Reset, Resident, page_size};

/// The largest span of data, in bytes from the first to the last. Larger data is copied: it would be written
/// to every slot of the file, which would then have fewer than eight. A web server with its dictionaries has
/// more than a megabyte, and copying that for each request costs ten times what the request does. Writing
/// eight megabytes takes a worker a few milliseconds.
const MAX_CONTENT: usize = 8 << 20;

/// The largest amount of data in a file, in bytes.
const MAX_FILE: usize = 64 << 20;

/// The largest slot, in bytes. A larger memory that outgrows its slot would have to be copied, because pages
/// of a file cannot be [moved](super::memory).
const MAX_SLOT: usize = 16 << 20;

/// The images that an engine has at a time. Each takes a file descriptor. Further modules copy their data.
const MAX_IMAGES: usize = 256;

/// The images of an engine, and the number of their free slots that may be resident.
#[derive(Debug, Default)]
pub(crate) struct Images {
    count: AtomicUsize,
    warm: Arc<AtomicUsize>,
}

/// An initial image and its slots.
#[derive(Debug)]
pub(crate) struct MemoryImage {
    slots: Slots<Option<Resident>>,
    slot_size: usize,
    /// Whole pages of data, and their offset in a memory.
    content: Box<[u8]>,
    start: usize,
    backing: Backing,
    /// The bytes of the file whose slots have the content. A slab is only added when all slots before it are
    /// in use, so slots are used in order.
    filled: AtomicUsize,
    /// Held while the file is filled.
    filling: Mutex<()>,
    images: Arc<Images>,
}

impl Images {
    /// Creates an image for memories with this data, in slots of `slot_size` bytes of slabs of `slab_size`.
    /// `None` if an image is not worth while, or cannot be created.
    pub(crate) fn add<'a>(
        self: &Arc<Self>,
        slot_size: usize,
        slab_size: usize,
        data: impl Iterator<Item = (usize, &'a [u8])> + Clone,
    ) -> Option<MemoryImage> {
        let pages = span(data.clone().map(|(start, bytes)| start..start + bytes.len()))?;
        // A single page is most likely written.
        if pages.len() <= page_size() || pages.len() > MAX_CONTENT || slot_size > slab_size.min(MAX_SLOT) {
            return None;
        }
        let mut content = vec![0; pages.len()].into_boxed_slice();
        for (start, bytes) in data {
            content[start - pages.start..][..bytes.len()].copy_from_slice(bytes);
        }
        let slots = (slab_size / slot_size).min(MAX_FILE / pages.len());
        // Relaxed: the counter orders no other memory accesses.
        if self.count.fetch_add(1, Ordering::Relaxed) >= MAX_IMAGES {
            self.count.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        let image = Backing::new(slots * slot_size).map(|backing| MemoryImage {
            slots: Slots::sharing(slot_size, slots * slot_size, self.warm.clone()),
            slot_size,
            content,
            start: pages.start,
            backing,
            filled: AtomicUsize::new(0),
            filling: Mutex::new(()),
            images: self.clone(),
        });
        if image.is_err() {
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
        image.ok()
    }
}

impl Drop for MemoryImage {
    fn drop(&mut self) {
        self.images.count.fetch_sub(1, Ordering::Relaxed);
    }
}

impl MemoryImage {
    /// Takes a slot that reads as the image, with its own resident pages if they are known.
    pub(crate) fn take(&self) -> io::Result<(Slot, Option<Resident>)> {
        let (slot, known) = self.slots.take_from(|size| self.backing.map(size))?;
        if let Err(error) = self.fill(slot.offset()) {
            // The slot was never used: the next caller tries again.
            self.slots.give(slot, |_| None);
            return Err(error);
        }
        Ok((slot, known.flatten()))
    }

    /// Takes a slot back. `clean` resets it, and is told whether the slot may stay resident.
    pub(crate) fn give(&self, slot: Slot, clean: impl FnOnce(bool) -> Reset) {
        let address = slot.address();
        self.slots.give(slot, |keep| self.complete(address, clean(keep)));
    }

    /// Makes a slot that was reset read as the image. Returns its own resident pages if they are known.
    pub(super) fn complete(&self, address: usize, reset: Reset) -> Option<Resident> {
        match reset {
            Reset::Zeroed(resident) => {
                resident.runs().for_each(|run| self.restore(address, run));
                Some(resident)
            }
            Reset::GivenBack => None,
            Reset::ZeroedAll => {
                self.restore(address, (0, self.slot_size));
                None
            }
        }
    }

    pub(crate) fn slot_size(&self) -> usize {
        self.slot_size
    }

    /// Fills the file up to the slot at this offset.
    fn fill(&self, offset: usize) -> io::Result<()> {
        // Acquire, with the release below: a thread that sees the number sees the content that was written
        // before.
        if offset < self.filled.load(Ordering::Acquire) {
            return Ok(());
        }
        // The mutex guards no data, so a panic leaves nothing inconsistent.
        let _filling = self.filling.lock().unwrap_or_else(PoisonError::into_inner);
        let mut filled = self.filled.load(Ordering::Acquire);
        while filled <= offset {
            self.backing.write(filled + self.start, &self.content)?;
            filled += self.slot_size;
            self.filled.store(filled, Ordering::Release);
        }
        Ok(())
    }

    /// Writes the image's content to a zeroed part of a slot, given by its offset and its size. The slot
    /// belongs to the caller, and may be any slot that is large enough.
    pub(super) fn restore(&self, address: usize, (start, size): (usize, usize)) {
        let from = start.max(self.start);
        let to = (start + size).min(self.start + self.content.len());
        if let Some(content) = self.content.get(from.wrapping_sub(self.start)..to.wrapping_sub(self.start)) {
            let target = std::ptr::with_exposed_provenance_mut::<u8>(address + from);
            // SAFETY: the part is in the slot, which belongs to the caller and is not used by anything else.
            unsafe { target.copy_from_nonoverlapping(content.as_ptr(), content.len()) };
        }
    }
}

/// Returns the whole pages from the first to the last byte of these ranges.
fn span(ranges: impl Iterator<Item = Range<usize>>) -> Option<Range<usize>> {
    let whole = ranges.filter(|range| !range.is_empty());
    let whole = whole.reduce(|all, range| all.start.min(range.start)..all.end.max(range.end))?;
    let page = page_size();
    let end = whole.end.next_multiple_of(page);
    // A memory is a whole number of WebAssembly pages, and each of those a whole number of the system's.
    debug_assert!((PAGE as usize).is_multiple_of(page));
    Some(whole.start / page * page..end)
}

#[cfg(test)]
#[cfg_attr(miri, allow(unreachable_code, unused_variables, reason = "there are no images"))]
mod tests {
    use super::*;

    const SLOT: usize = 1 << 16;

    fn bytes(slot: &mut Slot) -> &mut [u8] {
        // SAFETY: the slot is on loan to the test, and borrowed.
        unsafe { std::slice::from_raw_parts_mut(slot.address() as *mut u8, SLOT) }
    }

    fn image(images: &Arc<Images>) -> MemoryImage {
        let data = [(SLOT / 2 + 5, &[7; 5000][..]), (SLOT / 2 + 100, &[8; 10])];
        images.add(SLOT, 4 * SLOT, data.into_iter()).unwrap()
    }

    fn expected() -> Vec<u8> {
        let mut expected = vec![0; SLOT];
        expected[SLOT / 2 + 5..][..5000].fill(7);
        expected[SLOT / 2 + 100..][..10].fill(8);
        expected
    }

    /// Resets a slot as a memory does that is given back.
    fn clean(slot: &Slot) -> impl FnOnce(bool) -> Reset + use<> {
        let address = slot.address();
        move |keep| {
            // SAFETY: the slot belongs to the test.
            unsafe {
                if keep {
                    crate::runtime::sys::reset(address, SLOT)
                } else {
                    crate::runtime::sys::discard(address, SLOT)
                }
            }
        }
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "there are no images")]
    #[cfg_attr(miri, ignore = "there are no images")]
    fn every_slot_reads_as_the_image_after_any_writes() {
        let images = Arc::default();
        let image = image(&images);
        for round in 0..5 {
            // More slots than a slab has.
            let mut taken: Vec<Slot> = (0..10).map(|_| image.take().unwrap().0).collect();
            for (number, slot) in taken.iter_mut().enumerate() {
                assert!(*bytes(slot) == *expected(), "slot {number} of round {round}");
                match number % 4 {
                    0 => bytes(slot).fill(1),
                    1 => bytes(slot)[SLOT / 2] = 1,
                    2 => bytes(slot)[3 * SLOT / 4] = 1,
                    _ => {}
                }
            }
            taken.into_iter().for_each(|slot| {
                let clean = clean(&slot);
                image.give(slot, clean);
            });
        }
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "there are no images")]
    #[cfg_attr(miri, ignore = "there are no images")]
    fn a_slot_that_was_zeroed_as_a_whole_is_restored() {
        let images = Arc::default();
        let image = image(&images);
        let (mut slot, _) = image.take().unwrap();
        bytes(&mut slot).fill(0);
        image.give(slot, |_| Reset::ZeroedAll);
        assert!(*bytes(&mut image.take().unwrap().0) == *expected());
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "there are no images")]
    #[cfg_attr(miri, ignore = "there are no images")]
    fn megabytes_of_data_are_shared() {
        let images: Arc<Images> = Arc::default();
        let data = vec![7; 3 << 20];
        let image = images.add(4 << 20, 256 << 20, [(1 << 20, &data[..])].into_iter()).unwrap();
        // More slots than the file has.
        let taken: Vec<Slot> = (0..25).map(|_| image.take().unwrap().0).collect();
        for slot in &taken {
            let ends = [(1 << 20) - 1, 1 << 20, (4 << 20) - 1];
            // SAFETY: the slot is on loan to the test, and nothing writes to it.
            let read = ends.map(|at| unsafe { *((slot.address() + at) as *const u8) });
            assert_eq!(read, [0, 7, 7]);
        }
        taken.into_iter().for_each(|slot| {
            let clean = clean(&slot);
            image.give(slot, clean);
        });
    }

    #[test]
    #[cfg_attr(not(target_os = "linux"), ignore = "there are no images")]
    #[cfg_attr(miri, ignore = "there are no images")]
    fn images_are_limited_and_not_made_for_small_or_scattered_data() {
        let images: Arc<Images> = Arc::default();
        let all: Vec<MemoryImage> = (0..MAX_IMAGES).map(|_| image(&images)).collect();
        let data = [(0, &[1; 8192][..])];
        assert!(images.add(SLOT, 4 * SLOT, data.into_iter()).is_none());
        drop(all);
        assert!(images.add(SLOT, 4 * SLOT, data.into_iter()).is_some());
        assert!(images.add(SLOT, 4 * SLOT, [(100, &[1; 3000][..])].into_iter()).is_none());
        let apart = [(0, &[1][..]), (2 * MAX_CONTENT, &[1])];
        assert!(images.add(4 * MAX_CONTENT, 8 * MAX_CONTENT, apart.into_iter()).is_none());
        assert_eq!(images.count.load(Ordering::Relaxed), 0);
    }
}
