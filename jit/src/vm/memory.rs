//! Linear memories: slots of a few large mappings, by size class, or a reservation each.
//!
//! ```text
//! pooled    ├─ slot ─┼─ slot ─┼─ slot ─┤ …                 all accessible, nothing between them
//! reserved  ├ accessible ┼──── not ────┼──── guard ────┤   4 GiB and 2 GiB of address space
//! ```
//!
//! A pooled memory starts in the smallest class it fits and moves to a larger one when it grows beyond its slot. Its
//! base may therefore change at every `memory.grow`, and native code loads it again after every call. Every access
//! is checked against the length (`translate::bounds`). A reserved memory stays where it is, and grows by making more
//! of its reservation accessible.
//!
//! A free slot or reservation reads as zeroes: it is reset when it is given back, over the length that was in use.

use std::io;
use std::sync::{Arc, Mutex};

use super::context::VmMemory;
use crate::sys::{Mapping, reset};

/// Bytes of a WebAssembly page.
pub(crate) const PAGE: u64 = 64 << 10;

/// Pages that a 32-bit memory may have.
const MAX_PAGES: u64 = 1 << 16;

/// Size classes: 64 KiB, 128 KiB, … 4 GiB.
const CLASSES: usize = 17;

/// Bytes of a mapping that slots are cut from. A larger class has one mapping per slot, unmapped when it is free.
const SLAB_SIZE: usize = if cfg!(miri) { 1 << 20 } else { 256 << 20 };

/// Bytes behind the 4 GiB that an index reaches, for the constant offset and the size of an access.
pub(crate) const GUARD: u64 = 2 << 30;

/// Bytes of address space that a reserved memory takes.
pub(crate) const RESERVATION: u64 = (4 << 30) + GUARD;

/// Reservations that an engine has at a time: a quarter of what fits the 47 bits of an address space, since a host
/// has others to feed. Whoever gets none takes a pooled memory.
const MAX_RESERVATIONS: usize = 5_000;

/// Free reservations that are kept for the next.
const KEPT_RESERVATIONS: usize = 16;

/// All memories of an engine.
#[derive(Debug, Default)]
pub(crate) struct MemoryPool {
    classes: [Mutex<Class>; CLASSES],
    reservations: Mutex<Reservations>,
}

#[derive(Debug, Default)]
struct Reservations {
    free: Vec<Mapping>,
    used: usize,
}

#[derive(Debug, Default)]
struct Class {
    free: Vec<usize>,
    slabs: Vec<Mapping>,
}

impl MemoryPool {
    fn take(&self, size: u64) -> io::Result<Slot> {
        let class = class_of(size);
        let slot_size = slot_size(class);
        if slot_size > SLAB_SIZE {
            let mapping = Mapping::new(slot_size)?.without_huge_pages();
            return Ok(Slot::Own(mapping));
        }
        let mut state = self.classes[class].lock().expect("no panic while it is held");
        if state.free.is_empty() {
            let slab = Mapping::new(SLAB_SIZE)?.without_huge_pages();
            // Highest first, so that the lowest is taken first.
            state.free.extend((0..SLAB_SIZE / slot_size).rev().map(|i| slab.address() + i * slot_size));
            state.slabs.push(slab);
        }
        Ok(Slot::Pooled { address: state.free.pop().expect("just filled"), class })
    }

    /// A reservation of which the first `size` bytes are accessible.
    fn reserve(&self, size: u64) -> io::Result<Slot> {
        let free = {
            let mut state = self.reservations.lock().expect("no panic while it is held");
            if state.used == MAX_RESERVATIONS {
                return Err(io::Error::new(io::ErrorKind::OutOfMemory, "too many reserved memories"));
            }
            state.used += 1;
            state.free.pop()
        };
        let mapping = free.map_or_else(|| Mapping::reserve(RESERVATION as usize), Ok);
        let ready = mapping.and_then(|mapping| mapping.allow(0..size as usize).map(|()| mapping));
        ready.map(Slot::Reserved).inspect_err(|_| self.count_reservation_out())
    }

    /// Whether there is a reservation to be had; it is kept for the next memory.
    pub(crate) fn can_reserve(&self) -> bool {
        self.reserve(0).map(|slot| self.give(slot, 0)).is_ok()
    }

    fn count_reservation_out(&self) {
        self.reservations.lock().expect("no panic while it is held").used -= 1;
    }

    /// Takes a slot back, of which at most `used` bytes have been written.
    fn give(&self, slot: Slot, used: u64) {
        match slot {
            Slot::Pooled { address, class } => {
                // SAFETY: the slot is exclusively the caller's, who gives it up.
                unsafe { reset(address, used as usize) };
                self.classes[class].lock().expect("no panic while it is held").free.push(address);
            }
            Slot::Own(mapping) => drop(mapping),
            Slot::Reserved(mapping) => {
                let clean = mapping.deny(0..used as usize).is_ok();
                let mut state = self.reservations.lock().expect("no panic while it is held");
                state.used -= 1;
                if clean && state.free.len() < KEPT_RESERVATIONS {
                    state.free.push(mapping);
                }
            }
        }
    }
}

fn class_of(size: u64) -> usize {
    (size.max(PAGE).next_power_of_two().trailing_zeros() - PAGE.trailing_zeros()) as usize
}

fn slot_size(class: usize) -> usize {
    (PAGE as usize) << class
}

#[derive(Debug)]
enum Slot {
    /// One of many in a mapping.
    Pooled { address: usize, class: usize },
    /// A mapping of its own, accessible as a whole: a pooled memory of the largest classes.
    Own(Mapping),
    /// A mapping of its own, accessible as far as the memory goes.
    Reserved(Mapping),
}

impl Slot {
    fn address(&self) -> usize {
        match self {
            Slot::Pooled { address, .. } => *address,
            Slot::Own(mapping) | Slot::Reserved(mapping) => mapping.address(),
        }
    }
}

/// A linear memory.
#[derive(Debug)]
pub(crate) struct Memory {
    pool: Arc<MemoryPool>,
    /// Always there, but for a moment in `grow` and at the end.
    slot: Option<Slot>,
    length: u64,
    max_length: u64,
    /// What native code sees of it.
    descriptor: *mut VmMemory,
}

impl Memory {
    /// A zeroed memory of `min` pages, pooled or reserved, described at `descriptor`.
    ///
    /// # Safety
    /// The descriptor outlives the memory and is written by nobody else.
    pub(crate) unsafe fn new(
        pool: &Arc<MemoryPool>,
        limits: crate::value::Limits,
        reserved: bool,
        descriptor: *mut VmMemory,
    ) -> io::Result<Memory> {
        let max_length = limits.max.unwrap_or(MAX_PAGES).min(MAX_PAGES) * PAGE;
        let length = limits.min * PAGE;
        let slot = Some(if reserved { pool.reserve(length)? } else { pool.take(length)? });
        let mut memory = Memory { pool: pool.clone(), slot, length, max_length, descriptor };
        memory.describe();
        Ok(memory)
    }

    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The largest length it may grow to.
    pub(crate) fn max_length(&self) -> u64 {
        self.max_length
    }

    /// Grows by `delta` bytes; false, and nothing happens, beyond its maximum or without memory to be had.
    pub(crate) fn grow(&mut self, delta: u64) -> bool {
        let Some(length) = self.length.checked_add(delta).filter(|&length| length <= self.max_length) else {
            return false;
        };
        let room = match self.slot.as_ref().expect("it has a slot") {
            Slot::Reserved(mapping) => {
                if mapping.allow(self.length as usize..length as usize).is_err() {
                    return false;
                }
                RESERVATION - GUARD
            }
            Slot::Own(mapping) => mapping.size() as u64,
            Slot::Pooled { class, .. } => slot_size(*class) as u64,
        };
        if length > room && !self.move_to_larger(length) {
            return false;
        }
        self.length = length;
        self.describe();
        true
    }

    fn move_to_larger(&mut self, length: u64) -> bool {
        let Ok(larger) = self.pool.take(length) else { return false };
        // SAFETY: both ranges are mapped, disjoint and exclusively ours; the new one is the larger.
        unsafe {
            let (from, to) = (self.base(), larger.address() as *mut u8);
            std::ptr::copy_nonoverlapping(from, to, self.length as usize);
        }
        let old = self.slot.replace(larger).expect("it has a slot");
        self.pool.give(old, self.length);
        true
    }

    /// Whether native code may rely on its being guarded.
    pub(crate) fn is_reserved(&self) -> bool {
        matches!(self.slot, Some(Slot::Reserved(_)))
    }

    /// Whether an access to this address, which has faulted, was one to this memory and beyond its length.
    pub(crate) fn guards(&self, address: usize) -> bool {
        match &self.slot {
            Some(Slot::Reserved(mapping)) => {
                address.checked_sub(mapping.address()).is_some_and(|at| at < mapping.size())
            }
            _ => false,
        }
    }

    /// Where it begins, until it grows.
    pub(crate) fn base(&self) -> *mut u8 {
        self.slot.as_ref().expect("it has a slot").address() as *mut u8
    }

    /// Its bytes.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: the slot is mapped over the length, exclusively ours, and borrowed with us.
        unsafe { std::slice::from_raw_parts_mut(self.base(), self.length as usize) }
    }

    fn describe(&mut self) {
        let seen = VmMemory { base: self.base(), length: self.length };
        // SAFETY: the descriptor is valid and ours by the contract of `new`.
        unsafe { self.descriptor.write(seen) };
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.pool.give(slot, self.length);
        }
    }
}
