//! The stacks of processes: slots of a few large mappings, with no guard page between them.
//!
//! ```text
//!  low                                                                                         high
//!  ├────────── RESERVE ──────────┼──────────────── guest frames ────────────────┼── store ──┼ colour ┤
//!  bottom                        limit (checked by every guest prologue)       base                top
//! ```
//!
//! At the top of the stack that a store's calls run on is the store itself, with its instance and the vm
//! context. A process that is resumed after a thousand others finds none of its lines in the caches, nor its
//! page tables, so what it needs shares a page with the frames that it returns to. That page is resident
//! anyway, which makes an idle process smaller by what would be allocated elsewhere. The *colour* is a
//! distance that differs from stack to stack: without it, the same lines of all processes would compete for
//! the same few sets of a cache.
//!
//! corosensei's `Stack` contract asks for a guard page. There is none, because a mapping per process would
//! limit a host to about 32,000 processes. It is sound because nothing can run past the end:
//!
//! * Every guest prologue compares the stack pointer, less its frame, with the limit, and traps.
//! * All other frames on such a stack are trampolines, the yield stub and the routines of `libcalls`. These
//!   do not recurse, call host functions on the worker's stack, and together fit [`RESERVE`] (a test measures
//!   it).
//! * Signal handlers run on a stack of their own.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use corosensei::stack::{Stack, StackPointer};

use super::slots::{Slot, Slots};
use crate::runtime::perf::placement::{IN_STACK_STORE, LINE, MAX_COLOUR, USED_BY_STORE, colour};
use crate::runtime::sys::page_size;

/// Bytes below the limit, for frames that do not check it.
pub(crate) const RESERVE: usize = 16 << 10;

/// Bytes at the top that stay resident in a free stack.
const KEPT: usize = 16 << 10;

/// Bytes of a mapping that stacks are cut from.
const SLAB_SIZE: usize = if cfg!(miri) { 1 << 20 } else { 64 << 20 };

/// The smallest size of a stack.
const MIN_SIZE: usize = 4 * RESERVE;

/// Bytes above the first guest frame: the coroutine's own frame and the entry trampoline's.
const ENTRY: usize = 1 << 10;

/// Bytes at the top that guest frames never use, whether the store does or not: a guest has the same depth on
/// every stack.
const TOP: usize = IN_STACK_STORE + MAX_COLOUR;

/// The stacks of an engine: a pool of the default size, and one for each other size that was asked for, which
/// are powers of two.
#[derive(Debug)]
pub(crate) struct Stacks {
    default: Arc<StackPool>,
    max_size: usize,
    others: Mutex<BTreeMap<usize, Arc<StackPool>>>,
}

impl Stacks {
    /// Creates stacks of the default size `size`, and of other sizes up to `max_size`.
    pub(crate) fn new(size: usize, max_size: usize) -> Stacks {
        let size = size.max(MIN_SIZE).next_multiple_of(page_size());
        let max_size = max_size.max(size).next_multiple_of(page_size());
        Stacks { default: Arc::new(StackPool::new(size)), max_size, others: Mutex::default() }
    }

    /// Returns the pool of the default size.
    pub(crate) fn default_pool(&self) -> &Arc<StackPool> {
        &self.default
    }

    /// Whether the default size is exactly this one.
    pub(crate) fn is_default(&self, size: usize) -> bool {
        size == self.default.size
    }

    /// Returns the pool of stacks of at least this size, or of the largest; `None` for the default pool.
    pub(crate) fn of_size(&self, size: usize) -> Option<Arc<StackPool>> {
        if size == self.default.size {
            return None;
        }
        let size = size.clamp(MIN_SIZE, self.max_size).next_power_of_two().min(self.max_size);
        if size == self.default.size {
            return None;
        }
        let mut others = self.others.lock().expect("nothing panics while the lock is held");
        Some(others.entry(size).or_insert_with(|| Arc::new(StackPool::new(size))).clone())
    }

    /// Returns the size that a frame may have on the largest stack.
    pub(crate) fn max_frame(&self) -> u32 {
        u32::try_from(self.max_size - RESERVE - TOP - ENTRY).unwrap_or(u32::MAX)
    }
}

/// The stacks of one size.
#[derive(Debug)]
pub(crate) struct StackPool {
    size: usize,
    slots: Slots,
}

impl StackPool {
    /// Creates a pool of stacks of this size, a multiple of the page size larger than [`RESERVE`].
    pub(crate) fn new(size: usize) -> StackPool {
        let slab = SLAB_SIZE.max(size);
        StackPool { size, slots: Slots::new(size, slab - slab % size) }
    }

    /// Takes a stack with unspecified content: guest code never reads what it has not written.
    pub(crate) fn take(self: &Arc<Self>) -> io::Result<PooledStack> {
        let (slot, _) = self.slots.take()?;
        forget_frames(slot.address(), self.size);
        let base = slot.address() + self.size - colour(slot.address() / self.size);
        Ok(PooledStack { slot: Some(slot), pool: self.clone(), base, top: base })
    }
}

/// Prepares a stack, on which nothing runs, for its next user. Under AddressSanitizer, a frame poisons the
/// memory around its variables, and unpoisons it when it returns. Frames of an activation that traps or is
/// dropped do not return, so the next user would be reported for their poison.
fn forget_frames(bottom: usize, size: usize) {
    #[cfg(address_sanitizer)]
    {
        // SAFETY: declared as the sanitizer defines it.
        unsafe extern "C" {
            fn __asan_unpoison_memory_region(address: *const core::ffi::c_void, size: usize);
        }
        // SAFETY: the stack is mapped, and belongs to the caller.
        unsafe { __asan_unpoison_memory_region(bottom as *const _, size) };
    }
    #[cfg(not(address_sanitizer))]
    let _ = (bottom, size);
}

/// A stack on loan from its pool.
#[derive(Debug)]
pub(crate) struct PooledStack {
    /// `None` only during drop.
    slot: Option<Slot>,
    pool: Arc<StackPool>,
    /// The address from which frames grow downwards, aligned to cache lines.
    base: usize,
    /// The highest address of the store, and of the frames while there is no store.
    top: usize,
}

impl PooledStack {
    /// Returns room for a part of the store, which is valid until the stack is dropped; `None` if there is no
    /// room left. Nothing may run on the stack.
    pub(crate) fn carve(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let address = self.base.checked_sub(layout.size())? & !(layout.align().max(LINE) - 1);
        if self.top - address > USED_BY_STORE {
            return None;
        }
        self.base = address;
        NonNull::new(address as *mut u8)
    }

    /// Lends the stack to a call. The stack stays with its owner.
    pub(crate) fn lend(&self) -> LentStack {
        forget_frames(self.bottom(), self.base - self.bottom());
        LentStack { base: self.base(), limit: self.limit(), guest_limit: self.guest_limit() }
    }

    /// Discards deep pages that were used. Nothing may run on the stack.
    pub(crate) fn trim(&self) {
        trim(self.bottom(), self.pool.size);
    }

    /// Returns the lowest address that a guest frame may use.
    fn guest_limit(&self) -> usize {
        self.base - (self.pool.size - RESERVE - TOP)
    }

    fn bottom(&self) -> usize {
        self.slot.as_ref().expect("the slot is taken only by drop").address()
    }
}

/// Discards the deep pages of an idle stack, if they were used. Only one cache line is checked, which a frame
/// may have skipped: this decides about memory, not about safety.
fn trim(bottom: usize, size: usize) {
    let line = (bottom + size - KEPT - LINE) as *const u64;
    // SAFETY: the line is in the stack, which is mapped, and nothing runs on it.
    let was_deep = (0..8).any(|i| unsafe { line.add(i).read() } != 0);
    if was_deep {
        // SAFETY: the range is in the stack, below everything that a pointer leads to.
        let _ = unsafe { crate::runtime::sys::reset(bottom, size - KEPT) };
    }
}

impl Drop for PooledStack {
    fn drop(&mut self) {
        let slot = self.slot.take().expect("it is dropped once");
        let (bottom, size) = (slot.address(), self.pool.size);
        self.pool.slots.give(slot, |keep| {
            if keep {
                trim(bottom, size);
            } else {
                // SAFETY: the range is this stack, which is not used any more.
                let _ = unsafe { crate::runtime::sys::discard(bottom, size) };
            }
        });
    }
}

// SAFETY: the memory is mapped, aligned to pages, larger than the minimum, and belongs to this value. There
// is no guard page: the head of this file says what replaces it.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.base).expect("a mapping is never at address 0")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.bottom()).expect("a mapping is never at address 0")
    }
}

/// A stack on which calls run one after the other. Its owner outlives all of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LentStack {
    base: StackPointer,
    limit: StackPointer,
    guest_limit: usize,
}

/// The stack of an activation.
#[derive(Debug)]
pub(crate) enum CallStack {
    /// The activation's own, which it gives back to the pool.
    Own(PooledStack),
    /// The store's, which lies in it.
    Lent(LentStack),
}

impl CallStack {
    /// Returns the lowest address that a guest frame may use.
    pub(crate) fn guest_limit(&self) -> usize {
        match self {
            CallStack::Own(stack) => stack.guest_limit(),
            CallStack::Lent(stack) => stack.guest_limit,
        }
    }
}

// SAFETY: both kinds are stacks as `PooledStack` is, exist as long as this value is used, and are used by
// nothing else.
unsafe impl Stack for CallStack {
    fn base(&self) -> StackPointer {
        match self {
            CallStack::Own(stack) => stack.base(),
            CallStack::Lent(stack) => stack.base,
        }
    }

    fn limit(&self) -> StackPointer {
        match self {
            CallStack::Own(stack) => stack.limit(),
            CallStack::Lent(stack) => stack.limit,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RESERVE;
    use crate::{Caller, Engine, EngineConfig, HostCall, Linker, Module, Progress, RawValue, Resume, Store};

    /// Recurses to the end of the stack, and on each level leaves guest code in every way there is.
    const DOWN: &str = r#"(module
        (import "lunatic::metering" "charge" (func $charge (param i32)))
        (import "h" "many" (func $many
            (param i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64 i64) (result i64)))
        (import "h" "wait" (func $wait (result i64)))
        (memory 1) (data $d "x") (table $t 10 1000 funcref) (elem $e func $down)
        (func $down (export "down")
            (drop (call $many (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4) (i64.const 5) (i64.const 6)
                (i64.const 7) (i64.const 8) (i64.const 9) (i64.const 10) (i64.const 11) (i64.const 12)))
            (drop (call $wait))
            (drop (memory.grow (i32.const 0)))
            (memory.fill (i32.const 0) (i32.const 1) (i32.const 4096))
            (memory.copy (i32.const 1) (i32.const 0) (i32.const 4096))
            (memory.init $d (i32.const 0) (i32.const 0) (i32.const 0))
            (data.drop $d)
            (table.set (i32.const 0) (ref.func $down))
            (drop (table.grow (ref.null func) (i32.const 1)))
            (table.fill (i32.const 0) (ref.null func) (i32.const 10))
            (table.copy (i32.const 1) (i32.const 0) (i32.const 9))
            (table.init $e (i32.const 0) (i32.const 0) (i32.const 0))
            (elem.drop $e)
            (call $charge (i32.const 1))
            (call $down)))"#;

    const PAINT: u8 = 0xa5;

    /// Returns the reserve of the store's suspended activation: the memory below the limit of guest frames.
    fn reserve(store: &Store<()>) -> *mut u8 {
        // SAFETY: nothing runs.
        (unsafe { store.core().as_ref() }.stack_limit - RESERVE) as *mut u8
    }

    fn painted(store: &Store<()>) -> usize {
        // SAFETY: the reserve is mapped, and the activation is suspended.
        let reserve = unsafe { std::slice::from_raw_parts(reserve(store), RESERVE) };
        reserve.iter().take_while(|&&byte| byte == PAINT).count()
    }

    /// The soundness of this file depends on this: half of the reserve is enough for everything that runs
    /// there unchecked, in the build with the largest frames.
    #[test]
    #[cfg_attr(miri, ignore = "it runs native code")]
    fn what_runs_unchecked_fits_the_reserve() {
        let engine = Engine::new(EngineConfig { stack_size: 64 << 10, ..EngineConfig::default() }).unwrap();
        let module = Module::compile(&engine, &wat::parse_str(DOWN).unwrap()).unwrap();
        let mut linker = Linker::<()>::new();
        type C<'a, 'b> = &'a mut Caller<'b, ()>;
        #[rustfmt::skip]
        linker.func("h", "many", |_: C<'_, '_>, a: u64, b: u64, _: u64, _: u64, _: u64, _: u64, _: u64, _: u64,
            _: u64, _: u64, _: u64, _: u64| a + b);
        linker.func("h", "wait", |_: C<'_, '_>| HostCall::<u64>::Suspend);
        let mut store = Store::new(&engine, (), crate::StoreLimits::default());
        let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
        store.begin(instance, module.exported_function("down").unwrap(), &[]).unwrap();
        // SAFETY: the reserve is mapped, and nothing runs on the stack yet.
        unsafe { reserve(&store).write_bytes(PAINT, RESERVE) };

        let (mut how, mut left) = (Resume::Continue, RESERVE);
        loop {
            match store.resume(how, 0) {
                Progress::Yielded => how = Resume::Continue,
                Progress::Suspended => how = Resume::Return(RawValue::from(0)),
                Progress::Trapped(trap) => {
                    assert!(matches!(trap.kind, crate::TrapKind::StackOverflow), "{trap}");
                    break;
                }
                Progress::Returned => unreachable!("the function recurses without end"),
            }
            left = painted(&store);
        }
        println!("{} bytes of the reserve were used", RESERVE - left);
        assert!(left < RESERVE, "the recursion ends at the reserve, so something of it is used");
        assert!(left >= RESERVE / 2, "only {left} bytes of the reserve were left");
    }
}
