//! Short slices for a process that touches new memory.
//!
//! A page that is touched for the first time is a fault, which takes as long as thousands of reductions and is not charged:
//! code cannot know which access it will be. A slice could contain 20,000 of them, some forty milliseconds. They cannot
//! be charged when a memory grows either: a program that grows by a gigabyte may touch a page of it, or all of it, later
//! and in one slice. So faults are counted behind the slices of processes that still have much memory to touch, and
//! where there were many, slices are short for a while. A slice of such a process may still be a long one, but only one
//! in hundreds; and what has been touched is touched, so that there is an end of it with the process's memory.
//!
//! This changes when a process is interrupted, and nothing else: a simulation, which decides that itself, does without.

use std::cell::Cell;

/// Pages that a process may have yet to touch without being watched: their faults fit a slice.
const LITTLE: u32 = (4 << 20) / PAGE;

/// Faults that a slice may have.
const MANY: u32 = 500;

/// By how many bits slices are shortened at most.
const SHORTEST: u8 = 5;

/// Slices with few faults after which slices are twice as long again.
const QUIET: u8 = 32;

/// Bytes of a page of the system's, at least.
const PAGE: u32 = 4 << 10;

thread_local! {
    /// The faults of this thread when it was asked last.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// What is known of the faults of a process. Small, as every process has one.
#[derive(Debug, Default)]
pub(super) struct FaultThrottle {
    /// Pages of memory that it had when it was looked at last.
    memory: u32,
    /// Those that it has not touched yet, as far as is known.
    untouched: u32,
    /// By how many bits its slices are shortened.
    shift: u8,
    /// Slices since there were many faults.
    quiet: u8,
}

impl FaultThrottle {
    /// How much of a slice it gets.
    pub(super) fn slice(&self, slice: u64) -> u64 {
        (slice >> self.shift).max(1)
    }

    /// Takes note of the bytes of memory that it has.
    #[inline]
    pub(super) fn note_memory(&mut self, bytes: u64) {
        let pages = u32::try_from(bytes / u64::from(PAGE)).unwrap_or(u32::MAX);
        if pages != self.memory {
            self.grow(pages);
        }
    }

    /// It has used up a slice.
    #[inline]
    pub(super) fn after_slice(&mut self) {
        if self.untouched > LITTLE
            && let Some(faults) = lunatic_jit::page_faults()
        {
            // Those of others that this thread has run since it was asked count as well. It is no harm.
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
