//! The routines that native code calls: host functions, the yield, and what is too rare or too large to
//! inline.
//!
//! All of them run on the process's stack and obey its invariant (see `activation`): they own nothing while
//! they may suspend. What allocates, locks or calls foreign code runs on the worker's stack
//! ([`on_worker_stack`]), where panics are caught. No routine may unwind.
//!
//! **References.** What a context leads to is shared: with native code, which is stopped in the routine; with
//! the embedder, which is stopped in `Store::run` and holds only pointers; and with other contexts, because
//! an imported memory or table belongs to another instance, and two operands of a routine may be the same
//! one. So [`runtime`], [`instance`] and [`core`](fn@core) return raw pointers, whose fields are used in place, and
//! there is no reference to a whole runtime, instance or store. A reference to a memory or table ([`memory`],
//! [`table`](fn@table)) ends before the next one is created, and before [`suspend`] and [`on_worker_stack`]. Closures
//! for the worker's stack capture only the context's address and numbers.
//!
//! Bulk operations check their bounds first. They then work in chunks and charge for each, so that a large
//! operation yields on its way and leaves a consistent state whenever it does. Their result is 0, or 1 for
//! "out of bounds".

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::activation::{Exit, Leave};
use super::instance::{InstanceData, StoreCore};
use super::memory::Memory;
use super::table::{self, Prepared};
use crate::environ::value::RawValue;
use crate::environ::vm_layout::PAGE;
use crate::environ::vm_layout::{BYTES_PER_REDUCTION, Builtin, CHUNK, VmContextHead, VmRuntime};
use crate::runtime::perf::stack_switch;

/// Table entries that a bulk operation moves between two charges.
const CHUNK_ENTRIES: usize = CHUNK as usize / size_of::<u64>();

/// A memory that grows by this number of bytes ends the slice: each of its pages is expensive when it is
/// first touched, which the embedder may take into account when it grants slices.
const MUCH_MEMORY: u64 = 4 << 20;

/// Runs a host function on the worker's stack, and catches its panics.
///
/// # Safety
/// `function` is the function that the code was generated for. The context's store is one that the function
/// was made for, its guest is stopped in this call of the context's instance, and `slots` hold a value for
/// each parameter and have room for a result.
pub(crate) type HostCode =
    unsafe extern "C" fn(function: *const (), context: Context, slots: *mut RawValue) -> Dispatched;

/// How native code calls a host function. An instance has the address of the entries of its imports, in
/// order.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostEntry {
    /// The code to call.
    pub(crate) call: HostCode,
    /// Its first argument.
    pub(crate) function: *const (),
}

// SAFETY: the pointer leads to a host function, which is Send and Sync, and which is kept alive by the owner
// of the entry.
unsafe impl Send for HostEntry {}
// SAFETY: as above.
unsafe impl Sync for HostEntry {}

/// The outcome of a host function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) enum Dispatched {
    Returned,
    Suspend,
    Raised,
}

/// The addresses of all routines, in the order of [`Builtin`].
pub(crate) static BUILTINS: Builtins = Builtins([
    host_call as *const (),
    yield_now as *const (),
    memory_grow as *const (),
    memory_copy as *const (),
    memory_fill as *const (),
    memory_init as *const (),
    data_drop as *const (),
    table_set as *const (),
    table_grow as *const (),
    table_fill as *const (),
    table_copy as *const (),
    table_init as *const (),
    element_drop as *const (),
    copy_bytes as *const (),
    fill_bytes as *const (),
]);

/// An array of code addresses.
pub(crate) struct Builtins([*const (); Builtin::COUNT]);

// SAFETY: addresses of functions, never written.
unsafe impl Sync for Builtins {}

impl Builtins {
    pub(crate) fn as_ptr(&self) -> *const usize {
        self.0.as_ptr().cast()
    }
}

/// The vm context, which native code passes to every routine.
pub(crate) type Context = *mut VmContextHead;

/// Returns the runtime of the context's store.
///
/// # Safety
/// The context is the one that native code passed.
unsafe fn runtime(context: Context) -> *mut VmRuntime {
    // SAFETY: a context always points to its store's runtime.
    unsafe { (*context).runtime }
}

/// Returns the context's instance.
///
/// # Safety
/// As for [`runtime`].
unsafe fn instance(context: Context) -> *mut InstanceData {
    // SAFETY: a context always points to its instance.
    unsafe { (*context).instance.cast() }
}

/// Returns the core of the context's store.
///
/// # Safety
/// As for [`runtime`].
unsafe fn core(context: Context) -> *mut StoreCore {
    // SAFETY: an instance's store outlives it.
    unsafe { (*instance(context)).core.as_ptr() }
}

/// Returns a memory of the context's instance.
///
/// # Safety
/// As for [`runtime`]; and no other reference to a memory of the store exists until this one ends.
unsafe fn memory<'a>(context: Context, index: u32) -> &'a mut Memory {
    // SAFETY: by the contract and the rule at the head of this file.
    unsafe { &mut *InstanceData::memory_at(instance(context), index) }
}

/// Returns a table of the context's instance.
///
/// # Safety
/// As for [`runtime`]; and no other reference to a table of the store exists until this one ends.
unsafe fn table<'a>(context: Context, index: u32) -> &'a mut table::Table {
    // SAFETY: by the contract and the rule at the head of this file.
    unsafe { &mut *InstanceData::table_at(instance(context), index) }
}

/// Leaves native code. Returns when the activation is resumed, which may happen on another thread.
///
/// # Safety
/// As for [`runtime`].
unsafe fn suspend(context: Context, leave: Leave) {
    // SAFETY: the running activation has set the pointer. An `Exit` lives at the base of its stack.
    let exit = unsafe { &*((*runtime(context)).yielder as *const Exit) };
    exit.suspend(leave);
}

/// Runs `f` on the stack of the worker that resumed the activation. `None` if it panicked.
///
/// # Safety
/// As for [`runtime`].
unsafe fn on_worker_stack<R: Send>(context: Context, f: impl FnOnce() -> R + Send) -> Option<R> {
    let caught = || catch_unwind(AssertUnwindSafe(f)).ok();
    // The tests of this file call routines without an activation.
    #[cfg(test)]
    // SAFETY: by the contract of this function.
    if unsafe { (*runtime(context)).yielder } == 0 {
        return caught();
    }
    // SAFETY: as in `suspend`.
    let exit = unsafe { &*((*runtime(context)).yielder as *const Exit) };
    exit.on_parent_stack(caught)
}

/// Charges for bulk work, and yields if that uses up the slice.
///
/// # Safety
/// As for [`runtime`].
unsafe fn charge_bytes(context: Context, bytes: u64) {
    // SAFETY: by the contract of this function.
    unsafe {
        let (runtime, metered) = (runtime(context), (*instance(context)).module.is_metered());
        // Saturating: an unverified module may charge any amount.
        (*runtime).reductions = (*runtime).reductions.saturating_sub_unsigned(bytes / BYTES_PER_REDUCTION);
        if metered && (*runtime).reductions < 0 {
            yield_in_routine(context);
        }
    }
}

/// Yields in the middle of a routine that is not the yield itself.
///
/// # Safety
/// As for [`runtime`].
unsafe fn yield_in_routine(context: Context) {
    // SAFETY: by the contract of this function.
    unsafe {
        // The guest frame that called this routine has not recorded itself, so no backtrace can be made from
        // here.
        (*runtime(context)).exit_frame = 0;
        suspend(context, Leave::Yield);
    }
}

/// Calls the host function of an import; `slots` hold the arguments, then the result.
///
/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn host_call(context: Context, import: u32, slots: *mut RawValue) {
    // SAFETY: native code passes its own context, and slots for every argument and result. The store has set
    // the entries of the instance's imports, and `import` is one of them.
    unsafe {
        let entry = &*(*instance(context)).hosts.add(import as usize);
        match call_host(context, entry, slots) {
            Dispatched::Returned => {}
            wanted => leave(context, slots, wanted),
        }
    }
}

/// Calls a host function on the worker's stack.
///
/// # Safety
/// As for [`HostCode`].
#[inline]
unsafe fn call_host(context: Context, entry: &HostEntry, slots: *mut RawValue) -> Dispatched {
    // SAFETY: by the contract. The running activation has set its exit.
    unsafe {
        // As in `on_worker_stack`.
        #[cfg(test)]
        if (*runtime(context)).yielder == 0 {
            return (entry.call)(entry.function, context, slots);
        }
        stack_switch::call((*runtime(context)).yielder as *const Exit, entry, context, slots)
    }
}

/// Leaves native code as a host function has requested. A function of its own: without it, [`host_call`]
/// saves fewer registers. `host_call` ends with it, because each frame that a guest is resumed in costs a
/// mispredicted return.
///
/// # Safety
/// As for [`host_call`].
#[inline(never)]
unsafe extern "C" fn leave(context: Context, slots: *mut RawValue, wanted: Dispatched) {
    // SAFETY: by the contract of this function.
    unsafe {
        if wanted == Dispatched::Suspend {
            (*core(context)).host_result = slots;
            return suspend(context, Leave::Host);
        }
        suspend(context, Leave::Raised);
    }
    // Resuming would return to a guest whose call has no result.
    std::process::abort();
}

/// The slice is used up.
///
/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn yield_now(context: Context) {
    // SAFETY: native code passes its own context.
    unsafe { suspend(context, Leave::Yield) };
}

/// Grows a memory by `delta` pages. Returns the old size in pages, or -1.
///
/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn memory_grow(context: Context, memory: u32, delta: u64) -> u64 {
    let address = context as usize;
    let grow = move || {
        let context = address as Context;
        // SAFETY: native code passes its own context, and is stopped meanwhile. No reference to the store
        // exists while the memory's is used.
        unsafe {
            let memory = self::memory(context, memory);
            let (old, bytes) = (memory.length(), delta * PAGE);
            let possible = old.checked_add(bytes).is_some_and(|length| length <= memory.max_length());
            // Charged before the memory grows, and given back if it does not: the shared limit must never be exceeded,
            // not even for a moment.
            if !possible || (*core(context)).memory.charge(bytes).is_err() {
                return None;
            }
            let Some(copied) = memory.grow(bytes) else {
                (*core(context)).memory.give_back(bytes);
                return None;
            };
            Some((old, copied))
        }
    };
    // SAFETY: as above.
    unsafe {
        let Some((old, copied)) = on_worker_stack(context, grow).flatten() else { return u64::MAX };
        // On the process's stack again: charging may suspend.
        charge_bytes(context, copied);
        if delta * PAGE >= MUCH_MEMORY && (*instance(context)).module.is_metered() {
            yield_in_routine(context);
        }
        old / PAGE
    }
}

/// Whether `start + count` is within `length`.
fn fits(start: u64, count: u64, length: u64) -> bool {
    start.checked_add(count).is_some_and(|end| end <= length)
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn memory_fill(context: Context, memory: u32, start: u64, byte: u32, count: u64) -> u32 {
    // SAFETY: native code passes its own context. The base is read again after every suspension.
    unsafe {
        if !fits(start, count, self::memory(context, memory).length()) {
            return 1;
        }
        let mut done = 0;
        while done < count {
            let size = CHUNK.min(count - done);
            let base = self::memory(context, memory).base();
            base.add((start + done) as usize).write_bytes(byte as u8, size as usize);
            done += size;
            charge_bytes(context, size);
        }
    }
    0
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn memory_copy(
    context: Context,
    to: u32,
    from: u32,
    target: u64,
    source: u64,
    count: u64,
) -> u32 {
    // SAFETY: native code passes its own context. The bases are read again after every suspension.
    unsafe {
        let inside = fits(target, count, memory(context, to).length())
            && fits(source, count, memory(context, from).length());
        if !inside {
            return 1;
        }
        // For overlapping ranges: copy from the end if the target is behind the source, so that nothing is
        // overwritten before it is read.
        let backwards = target > source;
        let mut done = 0;
        while done < count {
            let size = CHUNK.min(count - done);
            let at = if backwards { count - done - size } else { done };
            let read = memory(context, from).base().add((source + at) as usize);
            let write = memory(context, to).base().add((target + at) as usize);
            std::ptr::copy(read, write, size as usize);
            done += size;
            charge_bytes(context, size);
        }
    }
    0
}

/// Copies bytes between memories, or within one.
///
/// # Safety
/// Only native code calls it, with ranges that it has checked.
unsafe extern "C" fn copy_bytes(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: by the contract. The ranges may overlap.
    unsafe { std::ptr::copy(from, to, count) };
}

/// Fills bytes of a memory.
///
/// # Safety
/// Only native code calls it, with a range that it has checked.
unsafe extern "C" fn fill_bytes(to: *mut u8, byte: u32, count: usize) {
    // SAFETY: by the contract.
    unsafe { to.write_bytes(byte as u8, count) };
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn memory_init(
    context: Context,
    memory: u32,
    segment: u32,
    target: u64,
    source: u64,
    count: u64,
) -> u32 {
    // SAFETY: native code passes its own context. The instance keeps the module alive, and its data never
    // changes. The memory's address is read again after every suspension.
    unsafe {
        let info = &(*std::sync::Arc::as_ptr(&(*instance(context)).module)).info;
        let data = &info.data_bytes[(*instance(context)).data_range(segment)];
        if !fits(source, count, data.len() as u64)
            || !fits(target, count, self::memory(context, memory).length())
        {
            return 1;
        }
        let data = &data[source as usize..][..count as usize];
        for (index, chunk) in data.chunks(CHUNK as usize).enumerate() {
            let at = target as usize + index * CHUNK as usize;
            self::memory(context, memory).bytes()[at..][..chunk.len()].copy_from_slice(chunk);
            charge_bytes(context, chunk.len() as u64);
        }
    }
    0
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn data_drop(context: Context, segment: u32) {
    let address = context as usize;
    // SAFETY: native code passes its own context, and is stopped meanwhile.
    unsafe {
        on_worker_stack(context, move || {
            (*instance(address as Context)).drop_data(segment);
        });
    }
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn table_set(context: Context, table: u32, index: u64, value: u64) -> u32 {
    // SAFETY: native code passes its own context, which is stopped meanwhile.
    let set = move |context, at: u64, _| unsafe {
        self::table(context, table).prepared_mut()[(index + at) as usize] = value;
    };
    // SAFETY: as above.
    unsafe { change_table(context, table, index, 1, set) }
}

/// Grows a table by `delta` entries. Returns the old size, or -1.
///
/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn table_grow(context: Context, table: u32, delta: u64, value: u64) -> u64 {
    // SAFETY: native code passes its own context, and is stopped meanwhile. No reference to the store exists
    // while the table's is used.
    unsafe {
        let Some(length) = self::table(context, table).grown(delta) else { return u64::MAX };
        if !(*core(context)).charge_table(delta) {
            return u64::MAX;
        }
        if delta > 0 && !prepare_table(context, table, length) {
            (*core(context)).table_used -= delta;
            return u64::MAX;
        }
        let old = length - delta;
        if delta > 0 {
            self::table(context, table).extend(delta);
            // The new entries are null already.
            if value != 0 {
                table_fill(context, table, old, value, delta);
            } else {
                charge_bytes(context, delta * size_of::<u64>() as u64);
            }
        }
        old
    }
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn table_fill(context: Context, table: u32, start: u64, value: u64, count: u64) -> u32 {
    let fill = move |context, at: u64, size: usize| {
        // SAFETY: native code passes its own context, which is stopped meanwhile.
        let entries = unsafe { self::table(context, table).prepared_mut() };
        entries[(start + at) as usize..][..size].fill(value);
    };
    // SAFETY: as above.
    unsafe { change_table(context, table, start, count, fill) }
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn table_copy(
    context: Context,
    to: u32,
    from: u32,
    target: u64,
    source: u64,
    count: u64,
) -> u32 {
    // SAFETY: native code passes its own context.
    unsafe {
        if !fits(source, count, table(context, from).length()) {
            return 1;
        }
        // For overlapping ranges, as in `memory_copy`.
        let backwards = target > source;
        change_table(context, to, target, count, move |context, done, size| {
            let at = if backwards { count - done - size as u64 } else { done };
            copy_entries(context, to, from, (target + at) as usize, (source + at) as usize, size);
        })
    }
}

/// Copies existing entries between tables, or within one: two indices may name the same table.
///
/// # Safety
/// As for [`runtime`].
unsafe fn copy_entries(context: Context, to: u32, from: u32, target: usize, source: usize, count: usize) {
    // SAFETY: by the contract. If the tables differ, their entries do not overlap.
    unsafe {
        let (to, from) =
            (InstanceData::table_at(instance(context), to), InstanceData::table_at(instance(context), from));
        if to == from {
            (*to).prepared_mut().copy_within(source..source + count, target);
        } else {
            (*to).prepared_mut()[target..][..count].copy_from_slice(&(&(*from).entries()[source..])[..count]);
        }
    }
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn table_init(
    context: Context,
    table: u32,
    segment: u32,
    target: u64,
    source: u64,
    count: u64,
) -> u32 {
    // SAFETY: native code passes its own context. The instance is only read, and the table's entries lie
    // elsewhere.
    unsafe {
        if !fits(source, count, (*instance(context)).element_count(segment)) {
            return 1;
        }
        change_table(context, table, target, count, move |context, at, size| {
            let entries = &mut self::table(context, table).prepared_mut()[(target + at) as usize..][..size];
            (*instance(context)).element_values(segment, source + at, entries);
        })
    }
}

/// # Safety
/// Only native code calls it, with its own context.
unsafe extern "C" fn element_drop(context: Context, segment: u32) {
    let address = context as usize;
    // SAFETY: native code passes its own context, and is stopped meanwhile.
    unsafe {
        on_worker_stack(context, move || {
            (*instance(address as Context)).drop_elements(segment);
        });
    }
}

/// What one step of a change to a table did.
enum Step {
    /// The range is out of bounds.
    OutOfBounds,
    /// This number of entries was examined to prepare entries of the table's own.
    Prepared(usize),
    /// There is no memory for the entries.
    NoMemory,
    /// This number of entries was changed.
    Changed(usize),
}

/// Changes `count` entries from `start`, in chunks on the worker's stack. `change` gets the number of entries
/// that were changed before, and the number to change. The table's entries are made its own first.
///
/// # Safety
/// As for [`runtime`].
unsafe fn change_table(
    context: Context,
    table: u32,
    start: u64,
    count: u64,
    change: impl Fn(Context, u64, usize) + Send + Sync,
) -> u32 {
    let address = context as usize;
    let change = &change;
    let mut done = 0;
    loop {
        let step = move || {
            let context = address as Context;
            // SAFETY: by the contract. The reference ends before `change` creates its own.
            let table = unsafe { self::table(context, table) };
            if !fits(start, count, table.length()) {
                return Step::OutOfBounds;
            }
            if count == 0 {
                return Step::Changed(0);
            }
            match table.prepare(0, CHUNK_ENTRIES) {
                Prepared::More(entries) => return Step::Prepared(entries),
                Prepared::NoMemory => return Step::NoMemory,
                Prepared::Done => {}
            }
            let size = (count - done).min(CHUNK_ENTRIES as u64) as usize;
            change(context, done, size);
            Step::Changed(size)
        };
        // SAFETY: by the contract of this function.
        let entries = match unsafe { on_worker_stack(context, step) } {
            Some(Step::Changed(entries)) => {
                done += entries as u64;
                entries
            }
            Some(Step::Prepared(entries)) => entries,
            Some(Step::OutOfBounds) | None => return 1,
            Some(Step::NoMemory) => no_memory(),
        };
        // SAFETY: by the contract of this function.
        unsafe { charge_bytes(context, (entries * size_of::<u64>()) as u64) };
        if done == count {
            return 0;
        }
    }
}

/// Makes a table's entries its own, with capacity for `length` of them. Returns false if there is no memory.
///
/// # Safety
/// As for [`runtime`].
unsafe fn prepare_table(context: Context, table: u32, length: u64) -> bool {
    let address = context as usize;
    loop {
        // SAFETY: by the contract of this function.
        let step = move || unsafe { self::table(address as Context, table).prepare(length, CHUNK_ENTRIES) };
        // SAFETY: by the contract of this function.
        match unsafe { on_worker_stack(context, step) } {
            Some(Prepared::Done) => return true,
            // SAFETY: by the contract of this function.
            Some(Prepared::More(entries)) => unsafe {
                charge_bytes(context, (entries * size_of::<u64>()) as u64);
            },
            Some(Prepared::NoMemory) | None => return false,
        }
    }
}

/// The host has no memory for what the guest's limits allow: ends the process, as any failed allocation does.
#[cold]
fn no_memory() -> ! {
    std::alloc::handle_alloc_error(std::alloc::Layout::new::<u64>())
}

#[cfg(test)]
mod tests {
    //! Calls the routines as native code does, but without native code, so that miri can run them.

    use super::*;
    use crate::{Caller, Engine, EngineConfig, Instance, Linker, Module, Store, StoreLimits, Value};

    const OWNER: &str = r#"(module
        (memory (export "memory") 1 4)
        (table (export "table") 4 20 funcref)
        (elem (i32.const 1) func $f)
        (elem $passive func $f $f)
        (data $bytes "hello")
        (func $f))"#;

    /// The first memory and table are the owner's, and so are the second ones: two indices for one item.
    const BORROWER: &str = r#"(module
        (import "o" "memory" (memory 1)) (import "o" "memory" (memory 1))
        (import "o" "table" (table 4 funcref)) (import "o" "table" (table 4 funcref))
        (memory (export "memory") 1)
        (table (export "table") 3 funcref))"#;

    const OUT_OF_BOUNDS: u32 = 1;

    fn module(engine: &Engine, wat: &str) -> Module {
        Module::compile(engine, &wat::parse_str(wat).expect("it is valid")).expect("it is supported")
    }

    fn context(store: &Store<()>, instance: Instance) -> Context {
        // SAFETY: nothing runs.
        unsafe { (&(*store.core().as_ptr()).instances)[instance.index() as usize].context() }
    }

    /// Creates a store with both instances.
    fn both() -> (Store<()>, Instance, Instance) {
        let engine = Engine::new(EngineConfig::default()).expect("this machine is supported");
        let mut store = Store::new(
            &engine,
            (),
            StoreLimits { max_memory: 10 << 16, max_table_elements: 100, ..StoreLimits::default() },
        );
        let owner = store.instantiate_with(&module(&engine, OWNER), &[]).expect("it imports nothing");
        let [memory, table] = ["memory", "table"].map(|name| store.export(owner, name).expect("it has one"));
        let resolved = [memory, memory, table, table];
        let borrower = store.instantiate_with(&module(&engine, BORROWER), &resolved).expect("they fit");
        (store, owner, borrower)
    }

    #[test]
    fn memory_routines_work_by_every_index_of_a_memory() {
        let (mut store, owner, borrower) = both();
        let (own, other) = (context(&store, owner), context(&store, borrower));
        // SAFETY: the contexts are the store's, in which nothing runs.
        unsafe {
            assert_eq!(memory_init(own, 0, 0, 10, 0, 5), 0);
            assert_eq!(memory_init(own, 0, 0, 10, 1, 5), OUT_OF_BOUNDS);
            data_drop(own, 0);
            assert_eq!(memory_init(own, 0, 0, 10, 0, 1), OUT_OF_BOUNDS);
            // Within one memory, by one index and by two.
            assert_eq!(memory_copy(own, 0, 0, 12, 10, 5), 0);
            assert_eq!(memory_copy(other, 1, 0, 20, 10, 7), 0);
            assert_eq!(memory_copy(other, 2, 1, 0, 20, 7), 0);
            assert_eq!(
                (memory_grow(other, 0, 1), memory_grow(own, 0, 2), memory_grow(other, 1, 1)),
                (1, 2, u64::MAX)
            );
            assert_eq!(memory_fill(other, 1, 4 * PAGE - 2, 7, 2), 0);
            assert_eq!(memory_fill(other, 1, 4 * PAGE - 2, 7, 3), OUT_OF_BOUNDS);
            assert_eq!(memory_grow(other, 2, 6), u64::MAX, "the limit of the store");
        }
        let bytes = store.memory_and_data(owner).expect("it has one").0;
        assert_eq!(
            (&bytes[10..17], &bytes[20..27], bytes[bytes.len() - 1]),
            (&b"hehello"[..], &b"hehello"[..], 7)
        );
        assert_eq!(&store.memory_and_data(borrower).expect("it has one").0[..7], b"hehello");
        assert_eq!(store.memory_size(), 5 * PAGE);
    }

    #[test]
    fn table_routines_work_by_every_index_of_a_table() {
        let (store, owner, borrower) = both();
        let (own, other) = (context(&store, owner), context(&store, borrower));
        let entries = |context, index| -> Vec<bool> {
            // SAFETY: as below.
            unsafe { table(context, index).entries().iter().map(|&entry| entry != 0).collect() }
        };
        // SAFETY: the contexts are the store's, in which nothing runs.
        unsafe {
            let function = table(own, 0).entries()[1];
            assert_eq!(table_copy(own, 0, 0, 2, 1, 2), 0);
            assert_eq!(entries(own, 0), [false, true, true, false]);
            // The same table by two indices, overlapping both ways.
            assert_eq!(table_copy(other, 1, 0, 0, 1, 3), 0);
            assert_eq!(entries(other, 0), [true, true, false, false]);
            assert_eq!(table_copy(other, 0, 1, 1, 0, 3), 0);
            assert_eq!(entries(other, 1), [true, true, true, false]);
            assert_eq!(table_copy(other, 2, 0, 0, 1, 3), 0);
            assert_eq!(entries(other, 2), [true, true, false]);
            assert_eq!(table_copy(other, 2, 0, 1, 1, 3), OUT_OF_BOUNDS);
            assert_eq!((table_grow(other, 1, 2, function), table_grow(own, 0, 100, 0)), (4, u64::MAX));
            assert_eq!(table_fill(other, 0, 0, 0, 5), 0);
            assert_eq!(table_init(own, 0, 1, 3, 0, 2), 0);
            element_drop(own, 1);
            assert_eq!(table_init(own, 0, 1, 3, 0, 2), OUT_OF_BOUNDS);
            assert_eq!(table_set(other, 1, 0, function), 0);
            assert_eq!(table_set(other, 1, 6, function), OUT_OF_BOUNDS);
            assert_eq!(entries(own, 0), [true, false, false, true, true, true]);
        }
        let table = store.export(owner, "table").expect("it has one");
        assert!(matches!(store.export_type(table), crate::ExternType::Table(ty) if ty.limits.min == 6));
        drop(store);
    }

    #[test]
    fn a_host_function_accesses_memory_and_data() {
        let engine = Engine::new(EngineConfig::default()).expect("this machine is supported");
        let wat =
            r#"(module (import "h" "f" (func (param i32) (result i32))) (memory (export "memory") 1 2))"#;
        let mut linker = Linker::<Vec<u8>>::new();
        linker.func("h", "f", |caller: &mut Caller<'_, Vec<u8>>, value: u32| {
            let (memory, data) = caller.memory_and_data().expect("it has one");
            data.push(memory[0]);
            memory[0] = value as u8;
            caller.charge(3);
            caller.data().len() as u32
        });
        let linked = linker.link(&module(&engine, wat)).expect("nothing is missing");
        let mut store = Store::new(&engine, Vec::new(), StoreLimits::default());
        let instance = store.instantiate(&linked).expect("it fits");
        // SAFETY: nothing runs.
        let context = unsafe { (&(*store.core().as_ptr()).instances)[0].context() };
        for (value, calls) in [(7, 1), (8, 2)] {
            let mut slots = [RawValue::from(value)];
            // SAFETY: the context is the store's, in which nothing runs; there is a slot for the one argument and result.
            unsafe {
                assert_eq!(memory_grow(context, 0, 1), if calls == 1 { 1 } else { u64::MAX });
                host_call(context, 0, slots.as_mut_ptr());
            }
            assert_eq!(slots[0].low, calls);
        }
        assert_eq!(store.memory_and_data(instance).expect("it has one").0[0], 8);
        assert_eq!(store.data(), &[0, 7]);
        let export = store.export(instance, "memory").expect("it has one");
        assert_eq!(store.global(export), None::<Value>);
    }
}
