//! Tables. An instance shares the initial content with all others of its module until it changes the table.

use std::sync::Arc;

use super::context::VmTable;

/// Entries that a table may have, whatever it declares.
const MAX_ENTRIES: u64 = 1 << 26;

/// A table. Entries as described at [`VmTable`].
#[derive(Debug)]
pub(crate) struct Table {
    content: Content,
    max_length: u64,
    descriptor: *mut VmTable,
}

#[derive(Debug)]
enum Content {
    Shared(Arc<[u64]>),
    Owned(Vec<u64>),
}

impl Table {
    /// A table with the given entries, described at `descriptor`.
    ///
    /// # Safety
    /// The descriptor outlives the table and is written by nobody else.
    pub(crate) unsafe fn new(entries: Arc<[u64]>, max: Option<u64>, descriptor: *mut VmTable) -> Table {
        let max_length = max.unwrap_or(MAX_ENTRIES).min(MAX_ENTRIES);
        let mut table = Table { content: Content::Shared(entries), max_length, descriptor };
        table.describe();
        table
    }

    /// Whether it is as it was made.
    pub(crate) fn is_unchanged(&self) -> bool {
        matches!(self.content, Content::Shared(_))
    }

    pub(crate) fn length(&self) -> u64 {
        self.entries().len() as u64
    }

    pub(crate) fn entries(&self) -> &[u64] {
        match &self.content {
            Content::Shared(entries) => entries,
            Content::Owned(entries) => entries,
        }
    }

    /// The entries for writing: from now on they are this table's own.
    pub(crate) fn entries_mut(&mut self) -> &mut [u64] {
        self.own().as_mut_slice()
    }

    /// Grows by `delta` entries of the given value; false beyond its maximum or without memory to be had.
    pub(crate) fn grow(&mut self, delta: u64, value: u64) -> bool {
        let Some(length) = self.length().checked_add(delta).filter(|&length| length <= self.max_length)
        else {
            return false;
        };
        if delta > 0 {
            if self.own().try_reserve(delta as usize).is_err() {
                return false;
            }
            self.own().resize(length as usize, value);
            self.describe();
        }
        true
    }

    fn own(&mut self) -> &mut Vec<u64> {
        if let Content::Shared(entries) = &self.content {
            self.content = Content::Owned(entries.to_vec());
            self.describe();
        }
        match &mut self.content {
            Content::Owned(entries) => entries,
            Content::Shared(_) => unreachable!("made its own above"),
        }
    }

    fn describe(&mut self) {
        let entries = self.entries();
        let (base, length) = (entries.as_ptr(), entries.len() as u64);
        // SAFETY: the descriptor is valid and ours by the contract of `new`.
        unsafe { self.descriptor.write(VmTable { base, length }) };
    }
}
