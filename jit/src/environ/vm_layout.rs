//! The memory that native code reads: a [`VmRuntime`] for each store, and a vm context for each instance.
//!
//! Compiled code and Rust agree on these layouts, so they are defined only here. All offsets are computed
//! from the `repr(C)` structs below or by [`VmOffsets`].
//!
//! ```text
//! vm context of an instance                       VmRuntime of its store
//! +0   runtime ───────────────────────────────▶   +0   reductions left of the slice
//! +8   function records ──▶ [VmFuncRef; n]        +8   frame pointer where native code was left
//! +16  stack limit                                +16  builtins ──▶ [code; Builtin::COUNT]
//! +24  instance (Rust side)                       ...  what Rust needs to suspend
//! +32  defined memories:  [VmMemory]
//!      imported memories: [*VmMemory]
//!      defined tables:    [VmTable]
//!      imported tables:   [*VmTable]
//!      defined globals:   [16 bytes]
//!      imported globals:  [*16 bytes]
//! ```
//!
//! A function record whose context is null belongs to the instance that calls it. So all instances of a
//! module share one array of records, and one table image that points to them. Such records never leave their
//! instance: an instance that uses them imports only host functions, and before it exports anything, or one
//! of its functions is given to another instance, it gets records of its own (`own_records`).

use std::mem::offset_of;

use crate::environ::module_info::ModuleInfo;

/// Bytes of a WebAssembly page.
pub(crate) const PAGE: u64 = 64 << 10;

/// The bytes behind the 4 GiB that an index reaches, for the constant offset and the size of an access.
pub(crate) const GUARD: u64 = 2 << 30;

/// The address space that a reserved memory takes, in bytes.
pub(crate) const RESERVATION: u64 = (4 << 30) + GUARD;

/// The bytes that a bulk operation moves between two charges.
pub(crate) const CHUNK: u64 = 64 << 10;

/// The bytes of bulk work that cost one reduction.
pub(crate) const BYTES_PER_REDUCTION: u64 = 64;

/// What a store shares with the native code of all its instances.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct VmRuntime {
    /// The reductions left of the running slice. Guest functions pass the counter on in registers, as an
    /// argument and a result, so this field is up to date only while code outside of guest functions runs:
    /// host functions, routines, the scheduler. After a fault it is not.
    pub(crate) reductions: i64,
    /// The frame pointer of the trampoline or stub through which native code was left. The backtrace of a
    /// suspended activation begins there.
    pub(crate) exit_frame: usize,
    /// The routines that native code calls, in the order of [`Builtin`].
    pub(crate) builtins: *const usize,
    /// What the running activation suspends through; see `runtime::vm::activation`.
    pub(crate) yielder: usize,
    /// The address of the whole store, for code that knows its type.
    pub(crate) store: usize,
    /// Whether the running host function has requested a call of the guest. Apart from the request itself,
    /// because it is read after every host call.
    pub(crate) has_request: bool,
}

impl VmRuntime {
    pub(crate) const REDUCTIONS: i32 = offset_of!(VmRuntime, reductions) as i32;
    pub(crate) const EXIT_FRAME: i32 = offset_of!(VmRuntime, exit_frame) as i32;
    pub(crate) const BUILTINS: i32 = offset_of!(VmRuntime, builtins) as i32;
}

/// A type of the runtime's that compiled code does not know.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Opaque {
    _private: [u8; 0],
}

/// The fixed head of a vm context.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct VmContextHead {
    pub(crate) runtime: *mut VmRuntime,
    pub(crate) functions: *const VmFuncRef,
    /// The lowest address that a guest frame of the store's activation may reach. Every prologue reads it, so
    /// there is no pointer in between. `Store::begin` writes it to all contexts of the store.
    pub(crate) stack_limit: usize,
    /// The runtime's record of the instance, which compiled code does not access.
    pub(crate) instance: *mut Opaque,
}

// Cells of 16 bytes follow the head, and vector globals need them aligned.
const _: () = assert!(size_of::<VmContextHead>().is_multiple_of(16));

impl VmContextHead {
    pub(crate) const RUNTIME: i32 = offset_of!(VmContextHead, runtime) as i32;
    pub(crate) const FUNCTIONS: i32 = offset_of!(VmContextHead, functions) as i32;
    pub(crate) const STACK_LIMIT: i32 = offset_of!(VmContextHead, stack_limit) as i32;
}

/// A linear memory as native code sees it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmMemory {
    pub(crate) base: *mut u8,
    /// Its length in bytes.
    pub(crate) length: u64,
}

impl VmMemory {
    pub(crate) const BASE: i32 = offset_of!(VmMemory, base) as i32;
    pub(crate) const LENGTH: i32 = offset_of!(VmMemory, length) as i32;
}

/// A table as native code sees it. Entries have 8 bytes, and 0 is null. A function entry is the address of
/// its [`VmFuncRef`]; a host reference is its number plus one.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmTable {
    pub(crate) base: *const u64,
    /// Its length in entries.
    pub(crate) length: u64,
}

impl VmTable {
    pub(crate) const BASE: i32 = offset_of!(VmTable, base) as i32;
    pub(crate) const LENGTH: i32 = offset_of!(VmTable, length) as i32;
}

/// A function that may be called by other means than its index.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct VmFuncRef {
    /// Native code in the engine's internal calling convention.
    pub(crate) code: *const u8,
    /// The context that it runs in; null for the caller's own.
    pub(crate) context: *mut VmContextHead,
    /// The engine's number of its type.
    pub(crate) type_id: u32,
}

impl VmFuncRef {
    pub(crate) const SIZE: i32 = size_of::<VmFuncRef>() as i32;
    pub(crate) const CODE: i32 = offset_of!(VmFuncRef, code) as i32;
    pub(crate) const CONTEXT: i32 = offset_of!(VmFuncRef, context) as i32;
    pub(crate) const TYPE_ID: i32 = offset_of!(VmFuncRef, type_id) as i32;
}

/// The routines that native code calls, by their index in [`VmRuntime::builtins`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Builtin {
    HostCall,
    Yield,
    MemoryGrow,
    MemoryCopy,
    MemoryFill,
    MemoryInit,
    DataDrop,
    TableSet,
    TableGrow,
    TableFill,
    TableCopy,
    TableInit,
    ElementDrop,
    CopyBytes,
    FillBytes,
}

impl Builtin {
    pub(crate) const COUNT: usize = Builtin::FillBytes as usize + 1;

    pub(crate) fn offset(self) -> i32 {
        (self as usize * size_of::<usize>()) as i32
    }
}

/// The byte offsets of the variable part of a module's vm contexts.
#[derive(Clone, Debug)]
pub(crate) struct VmOffsets {
    imported_memories: u32,
    imported_tables: u32,
    imported_globals: u32,
    memory_start: u32,
    memory_pointers: u32,
    table_start: u32,
    table_pointers: u32,
    global_start: u32,
    global_pointers: u32,
    size: u32,
}

/// Where an item of a context is: in the context, or behind a pointer in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ItemLocation {
    Inline(i32),
    Pointer(i32),
}

impl VmOffsets {
    pub(crate) fn new(info: &ModuleInfo) -> VmOffsets {
        let defined = |all: usize, imported: u32| all as u32 - imported;
        let memory_start = size_of::<VmContextHead>() as u32;
        let memory_pointers = memory_start + 16 * defined(info.memories.len(), info.imported_memories);
        let table_start = memory_pointers + 16 * info.imported_memories.div_ceil(2);
        let table_pointers = table_start + 16 * defined(info.tables.len(), info.imported_tables);
        let global_start = table_pointers + 16 * info.imported_tables.div_ceil(2);
        let global_pointers = global_start + 16 * defined(info.globals.len(), info.imported_globals);
        VmOffsets {
            imported_memories: info.imported_memories,
            imported_tables: info.imported_tables,
            imported_globals: info.imported_globals,
            memory_start,
            memory_pointers,
            table_start,
            table_pointers,
            global_start,
            global_pointers,
            size: global_pointers + 16 * info.imported_globals.div_ceil(2),
        }
    }

    /// Returns the size of a context, a multiple of 16.
    pub(crate) fn size(&self) -> usize {
        self.size as usize
    }

    pub(crate) fn memory(&self, index: u32) -> ItemLocation {
        location(index, self.imported_memories, self.memory_start, self.memory_pointers)
    }

    pub(crate) fn table(&self, index: u32) -> ItemLocation {
        location(index, self.imported_tables, self.table_start, self.table_pointers)
    }

    pub(crate) fn global(&self, index: u32) -> ItemLocation {
        location(index, self.imported_globals, self.global_start, self.global_pointers)
    }
}

fn location(index: u32, imported: u32, start: u32, pointers: u32) -> ItemLocation {
    match index.checked_sub(imported) {
        Some(defined) => ItemLocation::Inline((start + 16 * defined) as i32),
        None => ItemLocation::Pointer((pointers + 8 * index) as i32),
    }
}
