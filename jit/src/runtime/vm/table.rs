//! Tables. An instance shares the initial content with all instances of its module until it changes the
//! table.
//!
//! A table may have many megabytes, so nothing here copies one as a whole. [`Table::prepare`] makes the
//! entries the table's own in steps, between which the guest's slice may end. Null entries take no memory
//! until they are written: they lie in zeroed memory that is never touched.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::ops::Range;
use std::sync::Arc;

use crate::environ::vm_layout::VmTable;

/// The entries that a table may have, whatever maximum it declares.
const MAX_ENTRIES: u64 = 1 << 26;

/// The initial content of a table, for all instances of a module.
#[derive(Debug, Default)]
pub(crate) struct TableImage {
    entries: Vec<u64>,
    /// The range of entries that may not be null. The others were never touched.
    used: Range<usize>,
}

impl TableImage {
    /// Creates an image with entries of one value.
    pub(crate) fn new(length: usize, value: u64) -> TableImage {
        // For null entries, this allocates zeroed memory and does not touch it.
        TableImage { entries: vec![value; length], used: if value == 0 { 0..0 } else { 0..length } }
    }

    /// Returns some of the entries, for writing.
    pub(crate) fn part_mut(&mut self, start: usize, count: usize) -> Option<&mut [u64]> {
        let part = start..start.checked_add(count)?;
        let entries = self.entries.get_mut(part.clone())?;
        if self.used.is_empty() {
            self.used = part;
        } else if !part.is_empty() {
            self.used = self.used.start.min(part.start)..self.used.end.max(part.end);
        }
        Some(entries)
    }

    pub(crate) fn length(&self) -> usize {
        self.entries.len()
    }

    /// Returns the bytes of host memory that it takes.
    pub(crate) fn host_bytes(&self) -> usize {
        size_of_val(&self.entries[self.used.clone()])
    }
}

/// A table. [`VmTable`] describes its entries.
#[derive(Debug)]
pub(crate) struct Table {
    content: Content,
    /// The copy of the entries that is being made.
    copy: Option<Copy>,
    max_length: u64,
    descriptor: *mut VmTable,
}

#[derive(Debug)]
enum Content {
    Shared(Arc<TableImage>),
    Owned(Owned),
}

/// Entries of the table's own, and null entries behind them to grow into.
#[derive(Debug)]
struct Owned {
    /// The entries from `length` on are null.
    entries: Vec<u64>,
    length: usize,
}

/// A copy of the entries to a larger vector, in progress.
#[derive(Debug)]
struct Copy {
    to: Vec<u64>,
    /// The number of entries that were examined.
    done: usize,
}

/// The outcome of a step of [`Table::prepare`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Prepared {
    /// There is more to do; this number of entries was examined.
    More(usize),
    /// The entries are the table's own.
    Done,
    /// There is not enough memory.
    NoMemory,
}

impl Table {
    /// Creates a table with this content, and describes it at `descriptor`.
    ///
    /// # Safety
    /// The descriptor outlives the table, and is written only by it.
    pub(crate) unsafe fn new(image: Arc<TableImage>, max: Option<u64>, descriptor: *mut VmTable) -> Table {
        let max_length = max.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let mut table = Table { content: Content::Shared(image), copy: None, max_length, descriptor };
        table.describe();
        table
    }

    /// Whether it is as it was created.
    pub(crate) fn is_unchanged(&self) -> bool {
        matches!(self.content, Content::Shared(_)) && self.copy.is_none()
    }

    pub(crate) fn length(&self) -> u64 {
        self.entries().len() as u64
    }

    pub(crate) fn entries(&self) -> &[u64] {
        match &self.content {
            Content::Shared(image) => &image.entries,
            Content::Owned(owned) => &owned.entries[..owned.length],
        }
    }

    /// Returns the length after growing by `delta`; `None` beyond its maximum.
    pub(crate) fn grown(&self, delta: u64) -> Option<u64> {
        self.length().checked_add(delta).filter(|&length| length <= self.max_length)
    }

    /// Takes a step towards entries of its own, with capacity for `length` of them. Examines `most` entries
    /// at most.
    pub(crate) fn prepare(&mut self, length: u64, most: usize) -> Prepared {
        let length = (length as usize).max(self.entries().len());
        if let Content::Owned(owned) = &self.content
            && owned.entries.len() >= length
        {
            return Prepared::Done;
        }
        let begun = self.copy.take().filter(|copy| copy.to.len() >= length);
        let Some(mut copy) = begun.or_else(|| Copy::new(self.capacity(length))) else {
            return Prepared::NoMemory;
        };
        let used = self.used();
        let from = copy.done.max(used.start);
        let to = used.end.min(from.saturating_add(most));
        if from < to {
            copy_written(&self.entries()[from..to], &mut copy.to[from..to]);
            copy.done = to;
            if to < used.end {
                self.copy = Some(copy);
                return Prepared::More(to - from);
            }
        }
        let length = self.entries().len();
        self.content = Content::Owned(Owned { entries: copy.to, length });
        self.describe();
        Prepared::Done
    }

    /// Returns the entries for writing. The table [is prepared](Table::prepare).
    pub(crate) fn prepared_mut(&mut self) -> &mut [u64] {
        match &mut self.content {
            Content::Owned(owned) => &mut owned.entries[..owned.length],
            Content::Shared(_) => panic!("the table must be prepared first"),
        }
    }

    /// Returns the entries for writing, and makes them its own at once.
    pub(crate) fn entries_mut(&mut self) -> &mut [u64] {
        match self.prepare(0, usize::MAX) {
            Prepared::NoMemory => handle_alloc_error(Layout::new::<u64>()),
            Prepared::More(_) => unreachable!("a step without a limit is the last one"),
            Prepared::Done => self.prepared_mut(),
        }
    }

    /// Appends null entries, for which the table [is prepared](Table::prepare).
    pub(crate) fn extend(&mut self, delta: u64) {
        let Content::Owned(owned) = &mut self.content else { panic!("the table must be prepared first") };
        owned.length += delta as usize;
        assert!(owned.length <= owned.entries.len(), "the table must be prepared first");
        self.describe();
    }

    /// Returns the capacity for `length` entries: at least twice the present one, so that a table that grows
    /// step by step is not copied each time.
    fn capacity(&self, length: usize) -> usize {
        match &self.content {
            Content::Owned(owned) => length.max((2 * owned.entries.len()).min(self.max_length as usize)),
            Content::Shared(_) => length,
        }
    }

    /// Returns the range of entries that may not be null.
    fn used(&self) -> Range<usize> {
        match &self.content {
            Content::Shared(image) => image.used.clone(),
            Content::Owned(owned) => 0..owned.length,
        }
    }

    fn describe(&mut self) {
        let entries = self.entries();
        let (base, length) = (entries.as_ptr(), entries.len() as u64);
        // SAFETY: by the contract of `new`, the descriptor is valid and written only here.
        unsafe { self.descriptor.write(VmTable { base, length }) };
    }
}

impl Copy {
    /// Begins a copy to a vector with this capacity; `None` without memory.
    fn new(capacity: usize) -> Option<Copy> {
        Some(Copy { to: zeroed(capacity)?, done: 0 })
    }
}

/// Returns null entries. If there are many, their memory is not touched.
fn zeroed(length: usize) -> Option<Vec<u64>> {
    if length == 0 {
        return Some(Vec::new());
    }
    let layout = Layout::array::<u64>(length).ok()?;
    // SAFETY: the layout is not empty. A vector of this length and capacity has this layout, and all bits
    // zero is a valid number.
    unsafe {
        let address = alloc_zeroed(layout).cast::<u64>();
        (!address.is_null()).then(|| Vec::from_raw_parts(address, length, length))
    }
}

/// Copies the entries that are not null over null entries. The others are not touched.
fn copy_written(from: &[u64], to: &mut [u64]) {
    /// The entries in a page of memory.
    const PART: usize = 512;
    for (from, to) in from.chunks(PART).zip(to.chunks_mut(PART)) {
        if from.iter().any(|&entry| entry != 0) {
            to.copy_from_slice(from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(image: TableImage, max: Option<u64>) -> (Table, Box<VmTable>) {
        let mut descriptor = Box::new(VmTable { base: std::ptr::null(), length: 0 });
        // SAFETY: the test keeps the descriptor as long as the table.
        let table = unsafe { Table::new(Arc::new(image), max, &raw mut *descriptor) };
        (table, descriptor)
    }

    fn prepare(table: &mut Table, length: u64, most: usize) -> usize {
        let mut steps = 0;
        loop {
            steps += 1;
            match table.prepare(length, most) {
                Prepared::More(looked_at) => assert!(looked_at <= most),
                Prepared::Done => return steps,
                Prepared::NoMemory => panic!("there is memory"),
            }
        }
    }

    #[test]
    fn a_table_is_copied_in_steps_and_only_where_it_is_used() {
        let mut image = TableImage::new(10_000, 0);
        for (start, value) in [(100, 1), (1500, 2)] {
            image.part_mut(start, 5).expect("it is there").fill(value);
        }
        assert!(image.part_mut(9_999, 2).is_none() && image.part_mut(usize::MAX, 2).is_none());
        let expected = image.entries.clone();
        let (mut table, descriptor) = table(image, Some(20_000));
        assert_eq!(table.prepare(0, 1000), Prepared::More(1000));
        assert!(!table.is_unchanged() && table.length() == 10_000);
        assert_eq!(prepare(&mut table, 0, 1000), 1, "the entries from 100 to 1505 are two steps");
        assert!(table.entries() == expected);
        assert_eq!(descriptor.base, table.entries().as_ptr());
        // After growing by one, it has capacity for twice as many.
        assert_eq!(table.grown(10_001), None);
        assert_eq!(table.grown(1), Some(10_001));
        assert_eq!(prepare(&mut table, 10_001, 1000), 10);
        table.extend(1);
        assert_eq!((table.length(), table.entries()[10_000], descriptor.length), (10_001, 0, 10_001));
        assert_eq!(prepare(&mut table, 20_000, 1000), 1);
    }

    #[test]
    fn a_table_of_nulls_is_not_copied() {
        let image = TableImage::new(1 << 20, 0);
        assert_eq!(image.host_bytes(), 0);
        let (mut table, _descriptor) = table(image, None);
        assert_eq!(prepare(&mut table, 0, 1), 1);
        table.prepared_mut()[7] = 9;
        assert_eq!((table.entries()[7], table.entries()[8]), (9, 0));
        assert_eq!(TableImage::new(3, 7).host_bytes(), 24);
    }
}
