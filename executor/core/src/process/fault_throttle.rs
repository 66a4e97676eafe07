//! Short slices for a process that touches new memory.
//!
//! The first access to a page causes a fault, which takes as long as thousands of reductions and is not charged: code
//! cannot know which access will fault. A slice could contain 20,000 faults, which take some forty milliseconds. They
//! cannot be charged when a memory grows either, because a program that grows by a gigabyte may touch one page of it,
//! or all pages, later and in one slice. So faults are counted after the slices of processes that still have much
//! untouched memory. After a slice with many faults, slices are short for a while. A slice of such a process may
//! still be long, but only one in hundreds, and each page faults only once.
//!
//! This changes when a process is interrupted, and nothing else. Simulations decide that themselves and do not use
//! it.

use std::cell::Cell;

/// Untouched pages that a process may have without being watched: their faults fit into a slice.
const LITTLE: u32 = (4 << 20) / PAGE;

/// Faults that a slice may have.
const MANY: u32 = 500;

/// The number of bits by which slices are shortened at most.
const SHORTEST: u8 = 5;

/// The number of slices with few faults after which slices become twice as long again.
const QUIET: u8 = 32;

/// The least size of the system's pages, in bytes.
const PAGE: u32 = 4 << 10;

thread_local! {
    /// The number of faults of this thread when it was read last.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// What is known about the faults of a process. It is small because every process has one.
#[derive(Debug, Default)]
pub(super) struct FaultThrottle {
    /// Pages of memory when it was checked last.
    memory: u32,
    /// Pages that the process has not touched yet, as far as is known.
    untouched: u32,
    /// The number of bits by which its slices are shortened.
    shift: u8,
    /// The number of slices since there were many faults.
    quiet: u8,
}

impl FaultThrottle {
    /// Returns the length of the next slice.
    pub(super) fn slice(&self, slice: u64) -> u64 {
        (slice >> self.shift).max(1)
    }

    /// Notes the size of the memory.
    #[inline]
    pub(super) fn note_memory(&mut self, bytes: u64) {
        let pages = u32::try_from(bytes / u64::from(PAGE)).unwrap_or(u32::MAX);
        if pages != self.memory {
            self.grow(pages);
        }
    }

    /// Counts the faults of a slice that was used up.
    #[inline]
    pub(super) fn after_slice(&mut self) {
        if self.untouched > LITTLE
            && let Some(faults) = lunatic_jit::page_faults()
        {
            // Faults of other processes that this thread has run since the last reading count as well, which is
            // harmless.
            let before = LAST.replace(faults);
            self.count(u32::try_from(faults.saturating_sub(before)).unwrap_or(u32::MAX));
        }
    }

    #[cold]
    fn grow(&mut self, memory: u32) {
        self.untouched = self.untouched.saturating_add(memory.saturating_sub(self.memory));
        self.memory = memory;
        if self.untouched > LITTLE {
            (self.shift, self.quiet) = (SHORTEST, 0);
        }
    }

    fn count(&mut self, faults: u32) {
        self.untouched = self.untouched.saturating_sub(faults);
        if faults > MANY {
            (self.shift, self.quiet) = (SHORTEST, 0);
        } else if self.shift > 0 {
            self.quiet += 1;
            if self.quiet == QUIET {
                (self.shift, self.quiet) = (self.shift - 1, 0);
            }
        }
        if self.untouched <= LITTLE {
            self.shift = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_short_while_much_is_touched_and_long_again_when_it_is_not() {
        let mut throttle = FaultThrottle::default();
        throttle.note_memory(4 << 20);
        assert_eq!(throttle.slice(100_000), 100_000, "so little is not watched");
        throttle.note_memory(1 << 30);
        assert_eq!(throttle.slice(100_000), 3125);
        for _ in 0..QUIET {
            throttle.count(10);
        }
        assert_eq!(throttle.slice(100_000), 6250);
        throttle.count(20_000);
        assert_eq!(throttle.slice(100_000), 3125);
        for _ in 0..u32::from(QUIET) * u32::from(SHORTEST) {
            throttle.count(0);
        }
        assert_eq!(throttle.slice(100_000), 100_000);
        assert_eq!(throttle.slice(0), 1, "a slice is never empty");
    }

    #[test]
    fn a_process_that_has_touched_all_of_its_memory_is_not_watched() {
        let mut throttle = FaultThrottle::default();
        throttle.note_memory(64 << 20);
        for _ in 0..40 {
            throttle.count(400);
        }
        assert!(throttle.untouched <= LITTLE);
        assert_eq!(throttle.slice(100_000), 100_000);
    }
}
