//! The stacks of processes: slots of a few large mappings, with no guard page between them.
//!
//! ```text
//!  low                                                                        high
//!  ├────────── RESERVE ──────────┼───────────────── guest frames ────────────────┤
//!  bottom                        limit (checked by every guest prologue)         top
//! ```
//!
//! corosensei's `Stack` contract asks for a guard page. We depart from it, because a mapping per process would
//! stop at about 32,000 of them, and it is sound because nothing can run past the end:
//! * every guest prologue compares the stack pointer, less its frame, with the limit, and traps;
//! * all other frames on such a stack are trampolines, the yield stub and the routines of `libcalls`, which do
//!   not recurse, call host functions on the worker's stack, and together fit [`RESERVE`] (a test measures it);
//! * signal handlers run on a stack of their own.

use std::io;
use std::sync::{Arc, Mutex};

use corosensei::stack::{Stack, StackPointer};

use crate::sys::Mapping;

/// Bytes beneath the limit for frames that do not check it.
pub(crate) const RESERVE: usize = 16 << 10;

/// Bytes at the top that stay resident in a free stack.
const KEPT: usize = 16 << 10;

/// Bytes of a mapping that stacks are cut from.
const SLAB_SIZE: usize = 64 << 20;

/// All stacks of an engine.
#[derive(Debug)]
pub(crate) struct StackPool {
    size: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    free: Vec<usize>,
    slabs: Vec<Mapping>,
}

impl StackPool {
    /// A pool of stacks of this size, a multiple of the page size above [`RESERVE`].
    pub(crate) fn new(size: usize) -> StackPool {
        StackPool { size, state: Mutex::default() }
    }

    /// A stack whose content is unspecified: guest code never reads what it has not written.
    pub(crate) fn take(self: &Arc<Self>) -> io::Result<PooledStack> {
        let mut state = self.state.lock().expect("no panic while it is held");
        if state.free.is_empty() {
            let slab = Mapping::new(SLAB_SIZE.max(self.size))?.without_huge_pages();
            // Highest first, so that the lowest is taken first.
            state.free.extend((0..slab.size() / self.size).rev().map(|i| slab.address() + i * self.size));
            state.slabs.push(slab);
        }
        let bottom = state.free.pop().expect("just filled");
        Ok(PooledStack { bottom, pool: self.clone() })
    }
}

/// A stack on loan from its pool.
#[derive(Debug)]
pub(crate) struct PooledStack {
    bottom: usize,
    pool: Arc<StackPool>,
}

impl PooledStack {
    /// The lowest address that a guest frame may use.
    pub(crate) fn guest_limit(&self) -> usize {
        self.bottom + RESERVE
    }

    fn top(&self) -> usize {
        self.bottom + self.pool.size
    }

    /// Whether the stack has been used deeper than what stays resident. It looks at one cache line only, which a
    /// frame may have stepped over: this decides about memory, not about safety.
    fn was_deep(&self) -> bool {
        let line = (self.top() - KEPT - 64) as *const u64;
        // SAFETY: the line is in this stack, which is mapped, and nobody runs on it.
        (0..8).any(|i| unsafe { line.add(i).read() } != 0)
    }
}

impl Drop for PooledStack {
    fn drop(&mut self) {
        if self.was_deep() {
            // SAFETY: the range is in this stack, which nobody uses any more.
            unsafe { crate::sys::reset(self.bottom, self.pool.size - KEPT) };
        }
        self.pool.state.lock().expect("no panic while it is held").free.push(self.bottom);
    }
}

// SAFETY: the memory is mapped, aligned to pages, larger than the minimum and exclusively this value's. There is
// no guard page; the head of this file says what stands in for it.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.top()).expect("a mapping is never at address 0")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.bottom).expect("a mapping is never at address 0")
    }
}
