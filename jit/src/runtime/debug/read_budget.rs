//! The reader that DWARF is read with: one that can be used up.
//!
//! A few bytes of DWARF can ask for a lot of work: a list of ranges or a line program that a million entries refer
//! to, a string that a million files are in, entries nested a million deep, which the library follows by recursion.
//! All of that is reading, over and over. So reading is counted: a read is a step, and so are every few bytes of a
//! string. Every allocation follows a read and is of constant size, but for strings, so steps bound memory too.
//! And a read fails that is too far down the stack from where the lookup began.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gimli::{EndianReader, LittleEndian, ReaderOffsetId};

/// Steps for all of a module's life: so many, and one for each byte of its sections. A program of whose sections nearly
/// everything is looked at takes one for every four bytes.
const STEPS: u64 = 1_000_000;

/// Steps that no module gets more than. A step may allocate 24 bytes, so this is some 200 MB at worst, and given back
/// when the steps are used up; half a second.
const MAX_STEPS: u64 = 8_000_000;

/// Bytes of a string that are one step.
const BYTES_A_STEP: usize = 8;

/// How far the stack may grow while something is looked up. Inlined functions nest some ten deep, at less than 1 KiB.
const MAX_STACK: usize = 256 << 10;

/// What may still be read. Relaxed: its users hold a lock.
#[derive(Debug)]
pub(super) struct ReadBudget {
    steps: AtomicU64,
    /// An address on the stack, where the lookup began.
    stack: AtomicUsize,
}

impl ReadBudget {
    /// For sections of so many bytes.
    pub(super) fn new(bytes: usize) -> ReadBudget {
        let steps = MAX_STEPS.min(STEPS + bytes as u64);
        ReadBudget { steps: AtomicU64::new(steps), stack: AtomicUsize::new(here()) }
    }

    /// Begins a lookup at this depth of the stack.
    pub(super) fn begin(&self) {
        self.stack.store(here(), Ordering::Relaxed);
    }

    /// The steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Pays for a step and so many bytes of a string.
    pub(super) fn take(&self, bytes: usize) -> gimli::Result<()> {
        let is_deep = self.stack.load(Ordering::Relaxed).abs_diff(here()) > MAX_STACK;
        let steps = 1 + (bytes / BYTES_A_STEP) as u64;
        let left = self.left().checked_sub(steps);
        self.steps.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() || is_deep { Err(gimli::Error::UnexpectedEof(ReaderOffsetId(0))) } else { Ok(()) }
    }
}

/// About where the stack is.
fn here() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(&local).addr()
}

/// Bytes of a section that are read within an allowance.
#[derive(Clone)]
pub(super) struct Reader {
    bytes: EndianReader<LittleEndian, Arc<[u8]>>,
    budget: Arc<ReadBudget>,
}

impl Reader {
    pub(super) fn new(bytes: &Arc<[u8]>, range: Range<usize>, budget: &Arc<ReadBudget>) -> Reader {
        let bytes = EndianReader::new(bytes.clone(), LittleEndian).range(range);
        Reader { bytes, budget: budget.clone() }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.bytes.fmt(f)
    }
}

impl gimli::Reader for Reader {
    type Endian = LittleEndian;
    type Offset = usize;

    fn endian(&self) -> LittleEndian {
        self.bytes.endian()
    }

    fn len(&self) -> usize {
        self.bytes.len()
    }

    fn empty(&mut self) {
        self.bytes.empty();
    }

    fn truncate(&mut self, len: usize) -> gimli::Result<()> {
        self.budget.take(0)?;
        self.bytes.truncate(len)
    }

    fn offset_from(&self, base: &Reader) -> usize {
        self.bytes.offset_from(&base.bytes)
    }

    fn offset_id(&self) -> ReaderOffsetId {
        self.bytes.offset_id()
    }

    fn lookup_offset_id(&self, id: ReaderOffsetId) -> Option<usize> {
        self.bytes.lookup_offset_id(id)
    }

    fn find(&self, byte: u8) -> gimli::Result<usize> {
        let found = self.bytes.find(byte);
        // What is not found was looked for in all of it.
        self.budget.take(*found.as_ref().unwrap_or(&self.bytes.len()))?;
        found
    }

    fn skip(&mut self, len: usize) -> gimli::Result<()> {
        self.budget.take(0)?;
        self.bytes.skip(len)
    }

    fn split(&mut self, len: usize) -> gimli::Result<Reader> {
        self.budget.take(0)?;
        Ok(Reader { bytes: self.bytes.split(len)?, budget: self.budget.clone() })
    }

    fn to_slice(&self) -> gimli::Result<Cow<'_, [u8]>> {
        self.budget.take(self.bytes.len())?;
        self.bytes.to_slice()
    }

    fn to_string(&self) -> gimli::Result<Cow<'_, str>> {
        self.budget.take(self.bytes.len())?;
        self.bytes.to_string()
    }

    fn to_string_lossy(&self) -> gimli::Result<Cow<'_, str>> {
        self.budget.take(self.bytes.len())?;
        self.bytes.to_string_lossy()
    }

    fn read_slice(&mut self, buf: &mut [u8]) -> gimli::Result<()> {
        self.budget.take(buf.len())?;
        self.bytes.read_slice(buf)
    }
}
