//! Linear memories: slots of a few large mappings, by size class.
//!
//! A memory starts in the smallest class it fits and moves to a larger one when it grows beyond its slot. Its
//! base may therefore change at every `memory.grow`, and native code loads it again after every call. Slots have
//! no guards between them: every access is checked against the length (`translate::bounds`).
//!
//! A free slot reads as zeroes: it is reset when it is given back, over the length that was in use.

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
const SLAB_SIZE: usize = 256 << 20;

/// All memories of an engine.
#[derive(Debug, Default)]
pub(crate) struct MemoryPool {
    classes: [Mutex<Class>; CLASSES],
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
            return Ok(Slot { address: mapping.address(), class, own: Some(mapping) });
        }
        let mut state = self.classes[class].lock().expect("no panic while it is held");
        if state.free.is_empty() {
            let slab = Mapping::new(SLAB_SIZE)?.without_huge_pages();
            // Highest first, so that the lowest is taken first.
            state.free.extend((0..SLAB_SIZE / slot_size).rev().map(|i| slab.address() + i * slot_size));
            state.slabs.push(slab);
        }
        Ok(Slot { address: state.free.pop().expect("just filled"), class, own: None })
    }

    /// Takes a slot back, of which at most `used` bytes have been written.
    fn give(&self, slot: Slot, used: u64) {
        if slot.own.is_none() {
            // SAFETY: the slot is exclusively the caller's, who gives it up.
            unsafe { reset(slot.address, used as usize) };
            self.classes[slot.class].lock().expect("no panic while it is held").free.push(slot.address);
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
struct Slot {
    address: usize,
    class: usize,
    /// The mapping of a slot that is one of its own.
    own: Option<Mapping>,
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
    /// A zeroed memory of `min` pages, described at `descriptor`.
    ///
    /// # Safety
    /// The descriptor outlives the memory and is written by nobody else.
    pub(crate) unsafe fn new(
        pool: &Arc<MemoryPool>,
        limits: crate::value::Limits,
        descriptor: *mut VmMemory,
    ) -> io::Result<Memory> {
        let max_length = limits.max.unwrap_or(MAX_PAGES).min(MAX_PAGES) * PAGE;
        let length = limits.min * PAGE;
        let slot = Some(pool.take(length)?);
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
        let slot = self.slot.as_ref().expect("it has a slot");
        if length > slot_size(slot.class) as u64 {
            let Ok(larger) = self.pool.take(length) else { return false };
            // SAFETY: both ranges are mapped, disjoint and exclusively ours; the new one is the larger.
            unsafe {
                let (from, to) = (slot.address as *const u8, larger.address as *mut u8);
                std::ptr::copy_nonoverlapping(from, to, self.length as usize);
            }
            let old = self.slot.replace(larger).expect("it has a slot");
            self.pool.give(old, self.length);
        }
        self.length = length;
        self.describe();
        true
    }

    /// Where it begins, until it grows.
    pub(crate) fn base(&self) -> *mut u8 {
        self.slot.as_ref().expect("it has a slot").address as *mut u8
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
