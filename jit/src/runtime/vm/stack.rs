//! The stacks of processes: slots of a few large mappings, with no guard page between them.
//!
//! ```text
//!  low                                                                                        high
//!  ├────────── RESERVE ──────────┼───────────────── guest frames ────────────────┼── home ──┼ colour ┤
//!  bottom                        limit (checked by every guest prologue)        base               top
//! ```
//!
//! The *home* of a store is at the top of the stack that its calls run on: the store itself, its instance and the vm
//! context. A process that is resumed after a thousand others finds nothing of itself in the caches, neither its memory
//! nor its page tables; so what it needs is in one page with the frames that it returns to. And that page is resident
//! anyway: an idle process is the smaller by what would be allocated elsewhere. The *colour* is a distance that differs
//! from stack to stack: without it, the same lines of all processes would be in the same few sets of a cache.
//!
//! corosensei's `Stack` contract asks for a guard page. We depart from it, because a mapping per process would
//! stop at about 32,000 of them, and it is sound because nothing can run past the end:
//! * every guest prologue compares the stack pointer, less its frame, with the limit, and traps;
//! * all other frames on such a stack are trampolines, the yield stub and the routines of `libcalls`, which do
//!   not recurse, call host functions on the worker's stack, and together fit [`RESERVE`] (a test measures it);
//! * signal handlers run on a stack of their own.

use std::alloc::Layout;
use std::collections::BTreeMap;
use std::io;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex};

use corosensei::stack::{Stack, StackPointer};

use super::slots::{Slot, Slots};
use crate::runtime::perf::placement::{IN_STACK_STORE, LINE, MAX_COLOUR, USED_BY_STORE, colour};
use crate::runtime::sys::page_size;

/// Bytes beneath the limit for frames that do not check it.
pub(crate) const RESERVE: usize = 16 << 10;

/// Bytes at the top that stay resident in a free stack.
const KEPT: usize = 16 << 10;

/// Bytes of a mapping that stacks are cut from.
const SLAB_SIZE: usize = if cfg!(miri) { 1 << 20 } else { 64 << 20 };

/// Bytes of a stack at least.
const MIN_SIZE: usize = 4 * RESERVE;

/// Bytes for what is above the first guest frame: the coroutine's own and the entry trampoline's.
const ENTRY: usize = 1 << 10;

/// Bytes at the top that guest frames never get, used or not: a guest has the same depth on every stack.
const SPARE: usize = IN_STACK_STORE + MAX_COLOUR;

/// All stacks of an engine: a pool for the size that most have, and one for each of the others, which are powers of two.
#[derive(Debug)]
pub(crate) struct Stacks {
    usual: Arc<StackPool>,
    max_size: usize,
    others: Mutex<BTreeMap<usize, Arc<StackPool>>>,
}

impl Stacks {
    /// Stacks of this size, and others up to that one.
    pub(crate) fn new(size: usize, max_size: usize) -> Stacks {
        let size = size.max(MIN_SIZE).next_multiple_of(page_size());
        let max_size = max_size.max(size).next_multiple_of(page_size());
        Stacks { usual: Arc::new(StackPool::new(size)), max_size, others: Mutex::default() }
    }

    /// Those that most have.
    pub(crate) fn usual(&self) -> &Arc<StackPool> {
        &self.usual
    }

    /// Whether the usual ones have exactly this size.
    pub(crate) fn is_default(&self, size: usize) -> bool {
        size == self.usual.size
    }

    /// Those of at least this size, as far as there are any so large; `None` for the usual ones.
    pub(crate) fn of_size(&self, size: usize) -> Option<Arc<StackPool>> {
        if size == self.usual.size {
            return None;
        }
        let size = size.clamp(MIN_SIZE, self.max_size).next_power_of_two().min(self.max_size);
        if size == self.usual.size {
            return None;
        }
        let mut others = self.others.lock().expect("no panic while it is held");
        Some(others.entry(size).or_insert_with(|| Arc::new(StackPool::new(size))).clone())
    }

    /// Bytes that a frame may have on the largest stack.
    pub(crate) fn max_frame(&self) -> u32 {
        u32::try_from(self.max_size - RESERVE - SPARE - ENTRY).unwrap_or(u32::MAX)
    }
}

/// All stacks of one size.
#[derive(Debug)]
pub(crate) struct StackPool {
    size: usize,
    slots: Slots,
}

impl StackPool {
    /// A pool of stacks of this size, a multiple of the page size above [`RESERVE`].
    pub(crate) fn new(size: usize) -> StackPool {
        let slab = SLAB_SIZE.max(size);
        StackPool { size, slots: Slots::new(size, slab - slab % size) }
    }

    /// A stack whose content is unspecified: guest code never reads what it has not written.
    pub(crate) fn take(self: &Arc<Self>) -> io::Result<PooledStack> {
        let (slot, _) = self.slots.take()?;
        forget_frames(slot.address(), self.size);
        let base = slot.address() + self.size - colour(slot.address() / self.size);
        Ok(PooledStack { slot: Some(slot), pool: self.clone(), base, top: base })
    }
}

/// Makes a stack, which nothing runs on, fit for its next user. Under AddressSanitizer, frames mark what lies around their
/// variables and take the marks away when they return. Those of an activation that traps or is dropped do not return, and
/// the next user would stumble over their marks.
fn forget_frames(bottom: usize, size: usize) {
    #[cfg(address_sanitizer)]
    {
        // SAFETY: declared as the sanitizer defines it.
        unsafe extern "C" {
            fn __asan_unpoison_memory_region(address: *const core::ffi::c_void, size: usize);
        }
        // SAFETY: the stack is mapped, and its owner's.
        unsafe { __asan_unpoison_memory_region(bottom as *const _, size) };
    }
    #[cfg(not(address_sanitizer))]
    let _ = (bottom, size);
}

/// A stack on loan from its pool.
#[derive(Debug)]
pub(crate) struct PooledStack {
    /// Always there, but for the moment of its drop.
    slot: Option<Slot>,
    pool: Arc<StackPool>,
    /// Where frames begin, downwards; aligned to lines.
    base: usize,
    /// The highest address of the home, and of the frames as long as there is none.
    top: usize,
}

impl PooledStack {
    /// Room for something of the store's that stays as long as this stack is not dropped. `None` if the home is full.
    /// Nothing may be running on the stack.
    pub(crate) fn carve(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let address = self.base.checked_sub(layout.size())? & !(layout.align().max(LINE) - 1);
        if self.top - address > USED_BY_STORE {
            return None;
        }
        self.base = address;
        NonNull::new(address as *mut u8)
    }

    /// What a call runs on that leaves the stack to its owner.
    pub(crate) fn lend(&self) -> LentStack {
        forget_frames(self.bottom(), self.base - self.bottom());
        LentStack { base: self.base(), limit: self.limit(), guest_limit: self.guest_limit() }
    }

    /// Gives back what is not worth keeping; nothing may be running on the stack.
    pub(crate) fn trim(&self) {
        trim(self.bottom(), self.pool.size);
    }

    /// The lowest address that a guest frame may use.
    fn guest_limit(&self) -> usize {
        self.base - (self.pool.size - RESERVE - SPARE)
    }

    fn bottom(&self) -> usize {
        self.slot.as_ref().expect("it is taken only by drop").address()
    }
}

/// Gives back what is not worth keeping of a stack that nobody uses, if it has been used deeper than that. It looks at one
/// line only, which a frame may have stepped over: this decides about memory, not about safety.
fn trim(bottom: usize, size: usize) {
    let line = (bottom + size - KEPT - LINE) as *const u64;
    // SAFETY: the line is in the stack, which is mapped, and nobody runs on it.
    let was_deep = (0..8).any(|i| unsafe { line.add(i).read() } != 0);
    if was_deep {
        // SAFETY: the range is in the stack, beneath what anyone has a pointer to.
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
                // SAFETY: it is this stack, which nobody uses any more.
                let _ = unsafe { crate::runtime::sys::discard(bottom, size) };
            }
        });
    }
}

// SAFETY: the memory is mapped, aligned to pages, larger than the minimum and exclusively this value's. There is
// no guard page; the head of this file says what stands in for it.
unsafe impl Stack for PooledStack {
    fn base(&self) -> StackPointer {
        StackPointer::new(self.base).expect("a mapping is never at address 0")
    }

    fn limit(&self) -> StackPointer {
        StackPointer::new(self.bottom()).expect("a mapping is never at address 0")
    }
}

/// A stack on which one call after the other runs; its owner keeps it longer than any of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LentStack {
    base: StackPointer,
    limit: StackPointer,
    guest_limit: usize,
}

/// What an activation runs on.
#[derive(Debug)]
pub(crate) enum CallStack {
    /// Its own, which it gives back to the pool.
    Own(PooledStack),
    /// Its store's.
    Lent(LentStack),
}

impl CallStack {
    /// The lowest address that a guest frame may use.
    pub(crate) fn guest_limit(&self) -> usize {
        match self {
            CallStack::Own(stack) => stack.guest_limit(),
            CallStack::Lent(stack) => stack.guest_limit,
        }
    }
}

// SAFETY: either is a stack as `PooledStack` is, which exists for as long as this value is used, and which nothing else
// runs on.
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

    /// Recurses to the end of the stack, and on each level leaves guest code by every way there is.
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

    /// The reserve of the store's activation, which is suspended: what is beneath the limit that guest frames keep to.
    fn reserve(store: &Store<()>) -> *mut u8 {
        // SAFETY: nothing runs.
        (unsafe { store.core().as_ref() }.stack_limit - RESERVE) as *mut u8
    }

    fn painted(store: &Store<()>) -> usize {
        // SAFETY: the reserve is mapped, and its activation is suspended.
        let reserve = unsafe { std::slice::from_raw_parts(reserve(store), RESERVE) };
        reserve.iter().take_while(|&&byte| byte == PAINT).count()
    }

    /// The head of this file stands on it: half of the reserve is enough for all that runs there unchecked, in
    /// the build whose frames are the largest.
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
                Progress::Returned => unreachable!("it recurses for ever"),
            }
            left = painted(&store);
        }
        println!("{} bytes of the reserve were used", RESERVE - left);
        assert!(left < RESERVE, "the recursion ends at the reserve, so something of it is used");
        assert!(left >= RESERVE / 2, "only {left} bytes of the reserve were left");
    }
}
