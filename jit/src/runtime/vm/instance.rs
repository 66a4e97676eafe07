//! Instances, and the part of a store that does not depend on the type of its data.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::ops::{Deref, DerefMut};
use std::ptr::{self, NonNull};
use std::sync::Arc;

use corosensei::trap::CoroutineTrapHandler;
use smallvec::SmallVec;

use super::activation::{Activation, Leave};
use super::libcalls::{Dispatched, HostEntry};
use super::memory::Memory;
use super::memory_budget::MemoryBudget;
use super::stack::{LentStack, PooledStack};
use super::table::Table;
use super::thread;
use crate::environ::const_expr::ConstScope;
use crate::environ::module_info::SegmentMode;
use crate::environ::value::{RawValue, ValType};
use crate::environ::vm_layout::PAGE;
use crate::environ::vm_layout::{ItemLocation, VmContextHead, VmFuncRef, VmMemory, VmRuntime, VmTable};
use crate::runtime::error::{Frame, HostError};
use crate::runtime::loaded_module::LoadedModule;
use crate::runtime::perf::residency::Faults;

/// The content of a store without the embedder's data. It never moves: native code and instances point into
/// it.
///
/// The fields that each turn of a process needs are in the first two cache lines, and at the end, where the
/// embedder's data follows: a process that runs after a thousand others finds none of its lines in the cache.
#[repr(C)]
pub(crate) struct StoreCore {
    pub(crate) runtime: VmRuntime,
    pub(crate) activation: Option<Activation>,
    /// How a fault handler gets back to the caller of `resume`.
    pub(crate) trap_handler: Cell<Option<CoroutineTrapHandler<Leave>>>,
    /// The lowest and the highest address of the activation's stack.
    pub(crate) stack_range: Cell<(usize, usize)>,
    /// The lowest address that a guest frame of the activation may reach. Every context has a copy.
    pub(crate) stack_limit: usize,
    /// The arguments of the activation, then its results.
    pub(crate) slots: Vec<RawValue>,
    /// The error that a host function has raised.
    pub(crate) host_error: Option<HostError>,
    /// The table entries in use, and their limit.
    pub(crate) table_used: u64,
    pub(crate) max_table_elements: u64,
    /// The stack that calls run on and that this store lies in. `None` if no stack was available, or if the
    /// store does not fit.
    pub(crate) own_stack: Option<PooledStack>,
    /// Whether a call runs on the store's own stack. Calls nested in that call have stacks of their own.
    pub(crate) is_own_stack_lent: bool,
    /// Padding, so that the fields after the next two, which a turn does not need, begin a cache line.
    pub(crate) _apart: [u64; 2],
    pub(crate) memory: MemoryBudget,
    /// Where the result of a suspended host call is written, on the activation's stack.
    pub(crate) host_result: *mut RawValue,
    /// The thread that used the store last; see [`residency`](crate::runtime::perf::residency).
    pub(crate) thread: u64,
    /// Changes only while nothing runs. The store of a process has one instance.
    pub(crate) instances: SmallVec<[OwnedInstance; 1]>,
}

// On other targets, the offsets matter for speed only.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const _: () = assert!(
    std::mem::offset_of!(StoreCore, trap_handler) == 128
        && std::mem::offset_of!(StoreCore, host_result) == 328
);

impl StoreCore {
    /// Must be called before a thread uses the store's memories. Tells the memories if it is another thread
    /// than before.
    #[inline]
    pub(crate) fn note_thread(&mut self) {
        let thread = thread::number();
        if std::mem::replace(&mut self.thread, thread) != thread {
            self.change_thread();
        }
    }

    /// The calling thread takes a store that was pooled.
    pub(crate) fn take(&mut self) {
        self.thread = thread::number();
        self.memories().for_each(Memory::take);
    }

    #[cold]
    fn change_thread(&mut self) {
        self.memories().for_each(Memory::change_thread);
    }

    fn memories(&mut self) -> impl Iterator<Item = &mut Memory> {
        self.instances.iter_mut().flat_map(|instance| &mut instance.memories)
    }

    /// Keeps the error that a host function has raised until native code is left.
    #[cold]
    pub(crate) fn raise(&mut self, error: HostError) -> Dispatched {
        self.host_error = Some(error);
        Dispatched::Raised
    }

    /// Makes this the activation that runs next.
    pub(crate) fn set_activation(&mut self, activation: Activation) {
        self.trap_handler.set(Some(activation.trap_handler()));
        self.activation = Some(activation);
    }

    /// Lends the store's own stack to a call, unless a call has it already.
    pub(crate) fn lend_own_stack(&mut self) -> Option<LentStack> {
        if self.is_own_stack_lent {
            return None;
        }
        let lent = self.own_stack.as_ref()?.lend();
        self.is_own_stack_lent = true;
        Some(lent)
    }

    /// Returns room in the store's own stack, if there is some left and nothing runs on it.
    fn carve(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if self.is_own_stack_lent { None } else { self.own_stack.as_mut()?.carve(layout) }
    }

    /// Sets the limit of the activation's stack in all contexts.
    pub(crate) fn set_stack_limit(&mut self, limit: usize) {
        self.stack_limit = limit;
        for instance in &self.instances {
            // SAFETY: a context begins with a head, and nothing runs in it.
            unsafe { (*instance.context()).stack_limit = limit };
        }
    }

    /// Reserves `entries` of the table limit.
    pub(crate) fn charge_table(&mut self, entries: u64) -> bool {
        match self.table_used.checked_add(entries) {
            Some(total) if total <= self.max_table_elements => {
                self.table_used = total;
                true
            }
            _ => false,
        }
    }

    /// Returns the frames that code addresses belong to, without those outside of guest code.
    pub(crate) fn frames(&self, pcs: impl Iterator<Item = usize>) -> Vec<Frame> {
        pcs.filter_map(|pc| self.instances.iter().find_map(|instance| instance.module.frame_at(pc))).collect()
    }

    /// Returns the addresses of the activation's stack.
    pub(crate) fn stack(&self) -> std::ops::Range<usize> {
        let (low, high) = self.stack_range.get();
        low..high
    }
}

// SAFETY: a record is immutable once its array is built. Its code belongs to a module, and its context to the
// only store that follows the pointer.
unsafe impl Send for VmFuncRef {}
// SAFETY: as above.
unsafe impl Sync for VmFuncRef {}

/// The function records of an instance.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    /// The records of all instances of a linked module. Their contexts are null.
    Shared(Arc<[VmFuncRef]>),
    /// The instance's own records, which other instances may call.
    Own(Box<[VmFuncRef]>),
}

impl Records {
    pub(crate) fn as_slice(&self) -> &[VmFuncRef] {
        match self {
            Records::Shared(records) => records,
            Records::Own(records) => records,
        }
    }
}

/// The definition of an imported memory or table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Imported {
    pub(crate) instance: NonNull<InstanceData>,
    pub(crate) index: u32,
}

/// An instance. The fields that host calls need come first, as in [`StoreCore`].
#[repr(C)]
pub(crate) struct InstanceData {
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) core: NonNull<StoreCore>,
    /// The host functions of its imports, in order. The store keeps them alive. Dangling if there are none.
    pub(crate) hosts: *const HostEntry,
    /// The memory that the instance exports as `memory`; null if it exports none.
    pub(crate) main_memory: *const VmMemory,
    /// The cell of the global that holds the guest's own stack pointer; null if it is not known.
    pub(crate) stack_pointer: *const RawValue,
    /// The vm context, in the same allocation as the instance.
    context: NonNull<u8>,
    /// The number of the instance in its store.
    pub(crate) index: u32,
    pub(crate) memories: Vec<Memory>,
    pub(crate) tables: Vec<Table>,
    pub(crate) imported_memories: Vec<Imported>,
    pub(crate) imported_tables: Vec<Imported>,
    pub(crate) records: Records,
    dropped_data: Dropped,
    dropped_elements: Dropped,
}

impl InstanceData {
    /// Creates an instance with zeroed globals, and no memories and tables yet. It must not move afterwards.
    pub(crate) fn create(
        module: Arc<LoadedModule>,
        core: NonNull<StoreCore>,
        index: u32,
        records: Records,
    ) -> OwnedInstance {
        // SAFETY: the core outlives its instances, and no reference to it exists here.
        let carve = |layout| unsafe { (*core.as_ptr()).carve(layout) };
        let instance = OwnedInstance::new(module.offsets.size(), carve, |context| InstanceData {
            core,
            index,
            hosts: ptr::dangling(),
            main_memory: ptr::null(),
            stack_pointer: ptr::null(),
            memories: Vec::new(),
            tables: Vec::new(),
            imported_memories: Vec::new(),
            imported_tables: Vec::new(),
            records,
            dropped_data: Dropped::default(),
            dropped_elements: Dropped::default(),
            context,
            module,
        });
        let head = VmContextHead {
            // SAFETY: the core outlives its instances; only the field's address is taken.
            runtime: unsafe { &raw mut (*core.as_ptr()).runtime },
            functions: instance.records.as_slice().as_ptr(),
            // SAFETY: as above.
            stack_limit: unsafe { (*core.as_ptr()).stack_limit },
            instance: instance.address().as_ptr().cast(),
        };
        // SAFETY: the context begins with a head.
        unsafe { instance.context().write(head) };
        instance
    }

    /// Returns the vm context.
    pub(crate) fn context(&self) -> *mut VmContextHead {
        self.context.as_ptr().cast()
    }

    /// Returns the address at a byte offset of the context.
    fn at(&self, offset: i32) -> *mut u8 {
        debug_assert!((offset as usize) < self.module.offsets.size());
        // SAFETY: offsets come from this module's layout, which the context was allocated with.
        unsafe { self.context.as_ptr().add(offset as usize) }
    }

    fn locate(&self, location: ItemLocation) -> *mut u8 {
        match location {
            ItemLocation::Inline(offset) => self.at(offset),
            // SAFETY: the pointers of imported items are written when the instance is created.
            ItemLocation::Pointer(offset) => unsafe { self.at(offset).cast::<*mut u8>().read() },
        }
    }

    /// Sets the pointer of an imported item.
    pub(crate) fn import(&mut self, location: ItemLocation, address: *mut u8) {
        let ItemLocation::Pointer(offset) = location else {
            unreachable!("an imported item is behind a pointer")
        };
        // SAFETY: the slot is part of the context.
        unsafe { self.at(offset).cast::<*mut u8>().write(address) };
    }

    pub(crate) fn memory_descriptor(&self, index: u32) -> *mut VmMemory {
        self.locate(self.module.offsets.memory(index)).cast()
    }

    pub(crate) fn table_descriptor(&self, index: u32) -> *mut VmTable {
        self.locate(self.module.offsets.table(index)).cast()
    }

    /// Returns the cell of a global.
    pub(crate) fn global(&self, index: u32) -> *mut RawValue {
        self.locate(self.module.offsets.global(index)).cast()
    }

    /// Returns the bytes of the memory exported as `memory`. Found as native code finds them, through the
    /// descriptor in the context, which is in the cache while native code runs.
    pub(crate) fn main_memory_bytes(&mut self) -> Option<&mut [u8]> {
        // SAFETY: the pointer is null, or leads to a descriptor in the context of an instance of the store.
        // The memory is mapped over the length in the descriptor. It is borrowed together with the instance,
        // and so is the store, which is the only way to another instance that imports the memory.
        unsafe {
            let VmMemory { base, length } = *self.main_memory.as_ref()?;
            Some(std::slice::from_raw_parts_mut(base, length as usize))
        }
    }

    /// Returns the address of the end of the guest's own stack in its memory, if the stack pointer is known.
    #[inline]
    pub(crate) fn stack_top(&self) -> Option<usize> {
        // SAFETY: nothing runs, and the pointers are null or lead into the context of an instance of the
        // store.
        unsafe {
            let (memory, pointer) = (self.main_memory.as_ref()?, self.stack_pointer.as_ref()?);
            Some(memory.base.addr() + pointer.low as u32 as usize)
        }
    }

    /// Returns the memory with this index, which may be defined by another instance.
    pub(crate) fn memory(&mut self, index: u32) -> &mut Memory {
        // SAFETY: this instance is borrowed, and so is its store, which is the only way to other instances.
        unsafe { &mut *InstanceData::memory_at(self, index) }
    }

    /// Returns the table with this index, which may be defined by another instance.
    pub(crate) fn table(&mut self, index: u32) -> &mut Table {
        // SAFETY: as for memories.
        unsafe { &mut *InstanceData::table_at(self, index) }
    }

    /// Returns the address of the memory with this index, which may be defined by another instance. No
    /// reference to an instance is held on the way: imports may lead back to the instance that they started
    /// from.
    ///
    /// # Safety
    /// The instance exists, and there is no mutable reference to it or to another instance of its store.
    pub(crate) unsafe fn memory_at(this: *mut InstanceData, index: u32) -> *mut Memory {
        // SAFETY: by the contract. Exporting instances live as long as the store.
        unsafe {
            let module = Arc::as_ptr(&(*this).module);
            match index.checked_sub((*module).info.imported_memories) {
                Some(defined) => item_at(&mut (*this).memories, defined),
                None => {
                    let imported = (&(*this).imported_memories)[index as usize];
                    InstanceData::memory_at(imported.instance.as_ptr(), imported.index)
                }
            }
        }
    }

    /// Returns the address of the table with this index, as for memories.
    ///
    /// # Safety
    /// As for [`InstanceData::memory_at`].
    pub(crate) unsafe fn table_at(this: *mut InstanceData, index: u32) -> *mut Table {
        // SAFETY: by the contract. Exporting instances live as long as the store.
        unsafe {
            let module = Arc::as_ptr(&(*this).module);
            match index.checked_sub((*module).info.imported_tables) {
                Some(defined) => item_at(&mut (*this).tables, defined),
                None => {
                    let imported = (&(*this).imported_tables)[index as usize];
                    InstanceData::table_at(imported.instance.as_ptr(), imported.index)
                }
            }
        }
    }

    /// Returns the bytes of a data segment; none once it is dropped.
    pub(crate) fn data_range(&self, segment: u32) -> std::ops::Range<usize> {
        let data = &self.module.info.data[segment as usize];
        if self.dropped_data.contains(segment, &data.mode) { 0..0 } else { data.bytes.clone() }
    }

    /// Returns the number of entries of an element segment; 0 once it is dropped.
    pub(crate) fn element_count(&self, segment: u32) -> u64 {
        let element = &self.module.info.elements[segment as usize];
        if self.dropped_elements.contains(segment, &element.mode) { 0 } else { element.items.len() as u64 }
    }

    pub(crate) fn drop_data(&mut self, segment: u32) {
        self.dropped_data.0.insert(segment);
    }

    pub(crate) fn drop_elements(&mut self, segment: u32) {
        self.dropped_elements.0.insert(segment);
    }

    /// Evaluates the entries of an element segment from `start` into `entries`. The range is in bounds.
    pub(crate) fn element_values(&self, segment: u32, start: u64, entries: &mut [u64]) {
        let items = &self.module.info.elements[segment as usize].items[start as usize..];
        for (entry, item) in entries.iter_mut().zip(items) {
            *entry = item.evaluate(self);
        }
    }

    /// Returns the bytes of its memories' slots if it can be [renewed](InstanceData::renew): its slots are
    /// those that it was created with, its tables are unchanged, and no other instance refers to it.
    pub(crate) fn slots(&self) -> Option<usize> {
        if !matches!(self.records, Records::Shared(_)) || !self.tables.iter().all(Table::is_unchanged) {
            return None;
        }
        let declared = &self.module.info.memories;
        self.memories.iter().zip(declared).map(|(memory, limits)| memory.first_slot(limits.min * PAGE)).sum()
    }

    /// Makes the instance as it was when it was created, except for what
    /// [`fill`](crate::runtime::instantiate::fill) writes. It still has its [slots](InstanceData::slots), and
    /// nothing of its store runs, or has run since `faults` were counted.
    pub(crate) fn renew(&mut self, faults: Faults) {
        self.dropped_data.0.clear();
        self.dropped_elements.0.clear();
        let declared = &self.module.info.memories;
        for (memory, limits) in self.memories.iter_mut().zip(declared) {
            memory.renew(limits.min * PAGE, faults);
        }
    }

    /// Returns the record of a function.
    pub(crate) fn record(&self, function: u32) -> *const VmFuncRef {
        &raw const self.records.as_slice()[function as usize]
    }

    /// Returns the function whose record has this address; `None` if it is not a record of this instance.
    pub(crate) fn function_of(&self, reference: u64) -> Option<u32> {
        let records = self.records.as_slice();
        let index = reference.checked_sub(records.as_ptr() as u64)? / VmFuncRef::SIZE as u64;
        (index < records.len() as u64).then_some(index as u32)
    }

    /// Gives the instance records of its own, before another instance can get a reference to one of them. In
    /// a shared record, a null context means "the caller's own", which would then be the wrong instance.
    ///
    /// No activation of the store may exist: native frames would keep references to the shared records.
    pub(crate) fn own_records(&mut self) {
        let Records::Shared(shared) = self.records.clone() else { return };
        let context = self.context();
        let own: Box<[VmFuncRef]> = shared.iter().map(|&record| VmFuncRef { context, ..record }).collect();
        let moved = |reference: u64| match reference {
            0 => 0,
            // Only references to its own functions: an instance with shared records imports nothing that
            // could hold others.
            _ => own.as_ptr() as u64 + (reference - shared.as_ptr() as u64),
        };
        let module = self.module.clone();
        for (table, declared) in self.tables.iter_mut().zip(&module.info.tables) {
            if declared.ty.element == ValType::FuncRef {
                table.entries_mut().iter_mut().for_each(|entry| *entry = moved(*entry));
            }
        }
        for (index, global) in module.info.globals.iter().enumerate() {
            if global.ty.content == ValType::FuncRef {
                // SAFETY: a linked module imports no global but the counter, so the cell lies in the context.
                unsafe { (*self.global(index as u32)).low = moved((*self.global(index as u32)).low) };
            }
        }
        // SAFETY: the context begins with a head, and nothing runs in it.
        unsafe { (*self.context()).functions = own.as_ptr() };
        self.records = Records::Own(own);
    }
}

/// Constant expressions of the instance's module, evaluated over the instance's own globals and records.
impl ConstScope for InstanceData {
    fn global(&self, index: u32) -> RawValue {
        // SAFETY: the cell lives as long as its instance, and globals are set in order.
        unsafe { *InstanceData::global(self, index) }
    }

    fn function(&self, index: u32) -> u64 {
        self.record(index) as u64
    }
}

/// Returns the address of an item. All pointers to one item are valid at the same time, which they would not
/// be if they were made from references.
fn item_at<T>(items: &mut Vec<T>, index: u32) -> *mut T {
    assert!((index as usize) < items.len(), "validation has checked the index");
    // SAFETY: the item exists. The vector's pointer is not derived from a reference to its content.
    unsafe { items.as_mut_ptr().add(index as usize) }
}

/// An instance, owned by its store. It is not a `Box`, which would claim to be the only pointer to its
/// content: native code and other instances hold the address, which must stay valid when the owner moves.
pub(crate) struct OwnedInstance {
    address: NonNull<InstanceData>,
    /// Whether the instance lies in its store's own stack, which is given back as a whole.
    is_in_stack: bool,
}

impl OwnedInstance {
    /// Creates an instance next to a zeroed context of this size, in the room that `carve` returns or in an
    /// allocation.
    fn new(
        context_size: usize,
        carve: impl FnOnce(Layout) -> Option<NonNull<u8>>,
        make: impl FnOnce(NonNull<u8>) -> InstanceData,
    ) -> OwnedInstance {
        let (layout, offset) = OwnedInstance::layout(context_size);
        let carved = carve(layout);
        let address = carved.unwrap_or_else(|| {
            // SAFETY: the layout is not empty.
            let address = unsafe { alloc(layout) };
            NonNull::new(address).unwrap_or_else(|| handle_alloc_error(layout))
        });
        // SAFETY: the layout has room for both.
        unsafe {
            let (instance, context) = (address.cast::<InstanceData>(), address.add(offset));
            context.write_bytes(0, context_size);
            instance.write(make(context));
            OwnedInstance { address: instance, is_in_stack: carved.is_some() }
        }
    }

    /// Returns the layout of an instance with its context, and the offset of the context.
    fn layout(context_size: usize) -> (Layout, usize) {
        let context = Layout::from_size_align(context_size, 16);
        let both = context.and_then(|context| Layout::new::<InstanceData>().extend(context));
        both.expect("a context is far smaller than the address space")
    }

    /// Returns the address, which is valid as long as the owner lives. No reference to the instance may exist
    /// where it is used.
    pub(crate) fn address(&self) -> NonNull<InstanceData> {
        self.address
    }
}

impl Deref for OwnedInstance {
    type Target = InstanceData;

    fn deref(&self) -> &InstanceData {
        // SAFETY: the instance exists as long as its owner, which is borrowed. Native code and its routines
        // have the address too, but run only while the store that owns the instance is not borrowed.
        unsafe { self.address.as_ref() }
    }
}

impl DerefMut for OwnedInstance {
    fn deref_mut(&mut self) -> &mut InstanceData {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { self.address.as_mut() }
    }
}

impl Drop for OwnedInstance {
    fn drop(&mut self) {
        let (layout, _) = OwnedInstance::layout(self.module.offsets.size());
        // SAFETY: allocated by `new` with this layout, and dropped once. The context outlives the memories
        // and tables, which describe themselves in it.
        unsafe {
            self.address.drop_in_place();
            if !self.is_in_stack {
                dealloc(self.address.as_ptr().cast(), layout);
            }
        }
    }
}

/// The segments that were dropped. Segments that are not passive count as dropped from the start.
#[derive(Debug, Default)]
struct Dropped(BTreeSet<u32>);

impl Dropped {
    fn contains(&self, segment: u32, mode: &SegmentMode) -> bool {
        !matches!(mode, SegmentMode::Passive) || self.0.contains(&segment)
    }
}
