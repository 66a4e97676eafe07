//! A reader for DWARF whose work is limited.
//!
//! A few bytes of DWARF can ask for a lot of work: a list of ranges or a line program that a million entries
//! refer to, a string that is in a million files, or entries nested a million deep, which the library follows
//! by recursion. All of that is repeated reading. So reads are counted: a read is a step, and so are every
//! few bytes of a string. Every allocation follows a read and, except for strings, has a constant size, so
//! steps limit memory too. And a read fails if it is too far down the stack from where the lookup began.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gimli::{EndianReader, LittleEndian, ReaderOffsetId};

/// The steps for the whole life of a module, in addition to one for each byte of its sections. A program of
/// which nearly everything is looked up takes one step for every four bytes.
const STEPS: u64 = 1_000_000;

/// The largest number of steps for any module. A step may allocate 24 bytes, so this is about 200 MB at
/// worst, which are freed when the steps are used up; and half a second.
const MAX_STEPS: u64 = 8_000_000;

/// The bytes of a string that are one step.
const BYTES_A_STEP: usize = 8;

/// How far the stack may grow during a lookup. Inlined functions nest about ten deep, with less than 1 KiB
/// each.
const MAX_STACK: usize = 256 << 10;

/// What may still be read. Relaxed: its users hold a lock.
#[derive(Debug)]
pub(super) struct ReadBudget {
    steps: AtomicU64,
    /// An address on the stack where the lookup began.
    stack: AtomicUsize,
}

impl ReadBudget {
    /// Creates a budget for sections of this number of bytes.
    pub(super) fn new(bytes: usize) -> ReadBudget {
        let steps = MAX_STEPS.min(STEPS + bytes as u64);
        ReadBudget { steps: AtomicU64::new(steps), stack: AtomicUsize::new(here()) }
    }

    /// Begins a lookup at the present depth of the stack.
    pub(super) fn begin(&self) {
        self.stack.store(here(), Ordering::Relaxed);
    }

    /// Returns the steps that are left.
    pub(super) fn left(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Takes a step, and the steps for this number of bytes of a string.
    pub(super) fn take(&self, bytes: usize) -> gimli::Result<()> {
        let is_deep = self.stack.load(Ordering::Relaxed).abs_diff(here()) > MAX_STACK;
        let steps = 1 + (bytes / BYTES_A_STEP) as u64;
        let left = self.left().checked_sub(steps);
        self.steps.store(left.unwrap_or(0), Ordering::Relaxed);
        if left.is_none() || is_deep { Err(gimli::Error::UnexpectedEof(ReaderOffsetId(0))) } else { Ok(()) }
    }
}

/// Returns an address near the top of the stack.
fn here() -> usize {
    let local = 0_u8;
    std::ptr::from_ref(&local).addr()
}

/// The bytes of a section, read within a budget.
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
        // If it is not found, all of the string was searched.
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
