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

/// What a store is, but for its data. It never moves: native code and its instances point into it.
///
/// What each turn of a process needs is in the first two lines, and at the end, where the embedder's data follows: a
/// process that has a turn after a thousand others finds none of this in the cache.
#[repr(C)]
pub(crate) struct StoreCore {
    pub(crate) runtime: VmRuntime,
    pub(crate) activation: Option<Activation>,
    /// How a fault handler gets back to whoever resumed the activation.
    pub(crate) trap_handler: Cell<Option<CoroutineTrapHandler<Leave>>>,
    /// Lowest and highest address of the activation's stack.
    pub(crate) stack_range: Cell<(usize, usize)>,
    /// The lowest address that a guest frame of the activation may reach, as every context has it.
    pub(crate) stack_limit: usize,
    /// Arguments, then results, of the activation.
    pub(crate) slots: Vec<RawValue>,
    /// The error that a host function has raised.
    pub(crate) host_error: Option<HostError>,
    /// Table entries in use, and how many there may be.
    pub(crate) table_used: u64,
    pub(crate) max_table_elements: u64,
    /// The stack that calls run on, with this store in its [home](super::stack). None if there was none to be had, or
    /// the store does not fit.
    pub(crate) own_stack: Option<PooledStack>,
    /// Whether a call has it. Those that are made from that one have stacks of their own.
    pub(crate) is_own_stack_lent: bool,
    /// Has what follows begin with a line, but for the two words that a turn does not need.
    pub(crate) _apart: [u64; 2],
    pub(crate) memory: MemoryBudget,
    /// Where the result of a suspended host call goes; on the activation's stack.
    pub(crate) host_result: *mut RawValue,
    /// The thread that used it last; see [`residency`](crate::runtime::perf::residency).
    pub(crate) thread: u64,
    /// Changes only while nothing runs. A process has one.
    pub(crate) instances: SmallVec<[OwnedInstance; 1]>,
}

// Elsewhere it is a matter of speed only.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const _: () = assert!(
    std::mem::offset_of!(StoreCore, trap_handler) == 128
        && std::mem::offset_of!(StoreCore, host_result) == 328
);

impl StoreCore {
    /// To be called before a thread uses the store's memories: they are told when it is another one than before.
    #[inline]
    pub(crate) fn note_thread(&mut self) {
        let thread = thread::number();
        if std::mem::replace(&mut self.thread, thread) != thread {
            self.change_thread();
        }
    }

    /// The thread that calls takes a store that has rested.
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

    /// Keeps the error that a host function has raised until the guest is left.
    #[cold]
    pub(crate) fn raise(&mut self, error: HostError) -> Dispatched {
        self.host_error = Some(error);
        Dispatched::Raised
    }

    /// Makes this the activation that is to run.
    pub(crate) fn set_activation(&mut self, activation: Activation) {
        self.trap_handler.set(Some(activation.trap_handler()));
        self.activation = Some(activation);
    }

    /// The home's stack for a call, unless another one has it.
    pub(crate) fn lend_own_stack(&mut self) -> Option<LentStack> {
        if self.is_own_stack_lent {
            return None;
        }
        let lent = self.own_stack.as_ref()?.lend();
        self.is_own_stack_lent = true;
        Some(lent)
    }

    /// Room in the home, if there is some left and nothing runs there.
    fn carve(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        if self.is_own_stack_lent { None } else { self.own_stack.as_mut()?.carve(layout) }
    }

    /// Tells all contexts how deep the stack of the activation that is to run may get.
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

    /// The frames that code addresses belong to; those outside of guest code are left out.
    pub(crate) fn frames(&self, pcs: impl Iterator<Item = usize>) -> Vec<Frame> {
        pcs.filter_map(|pc| self.instances.iter().find_map(|instance| instance.module.frame_at(pc))).collect()
    }

    /// Bytes from the bottom to the top of the activation's stack.
    pub(crate) fn stack(&self) -> std::ops::Range<usize> {
        let (low, high) = self.stack_range.get();
        low..high
    }
}

// SAFETY: a record is immutable once its array is built; what its pointers lead to is owned by a module (code)
// or by the store that alone may follow them (context).
unsafe impl Send for VmFuncRef {}
// SAFETY: as above.
unsafe impl Sync for VmFuncRef {}

/// The function records of an instance.
#[derive(Clone, Debug)]
pub(crate) enum Records {
    /// Those of all instances of a linked module; their contexts are null.
    Shared(Arc<[VmFuncRef]>),
    /// This instance's own, which may be called from other instances.
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

/// An imported memory or table: where it is defined.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Imported {
    pub(crate) instance: NonNull<InstanceData>,
    pub(crate) index: u32,
}

/// An instance. What host calls need comes first, as in [`StoreCore`].
#[repr(C)]
pub(crate) struct InstanceData {
    pub(crate) module: Arc<LoadedModule>,
    pub(crate) core: NonNull<StoreCore>,
    /// The host functions of its imports, in order; the store keeps them. Dangling where it has none.
    pub(crate) hosts: *const HostEntry,
    /// The memory that it exports as `memory`; null if it exports none.
    pub(crate) main_memory: *const VmMemory,
    /// The cell of the global in which the guest keeps its own stack's pointer; null if none is known.
    pub(crate) stack_pointer: *const RawValue,
    /// The vm context, in the same allocation as this.
    context: NonNull<u8>,
    /// Its place in the store.
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
    /// An instance with zeroed globals and no memories and tables yet. It must not move afterwards.
    pub(crate) fn create(
        module: Arc<LoadedModule>,
        core: NonNull<StoreCore>,
        index: u32,
        records: Records,
    ) -> OwnedInstance {
        // SAFETY: the core outlives its instances, and nobody holds a reference to it meanwhile.
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

    /// The vm context.
    pub(crate) fn context(&self) -> *mut VmContextHead {
        self.context.as_ptr().cast()
    }

    /// The address of something at a byte offset of the context.
    fn at(&self, offset: i32) -> *mut u8 {
        debug_assert!((offset as usize) < self.module.offsets.size());
        // SAFETY: offsets come from this module's layout, which the context was allocated with.
        unsafe { self.context.as_ptr().add(offset as usize) }
    }

    fn locate(&self, location: ItemLocation) -> *mut u8 {
        match location {
            ItemLocation::Inline(offset) => self.at(offset),
            // SAFETY: imported items' pointers are written when the instance is made.
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

    /// The cell of a global.
    pub(crate) fn global(&self, index: u32) -> *mut RawValue {
        self.locate(self.module.offsets.global(index)).cast()
    }

    /// The bytes of the exported memory, found as native code finds them: what describes the memory is in the context,
    /// which is in the cache when native code runs.
    pub(crate) fn main_memory_bytes(&mut self) -> Option<&mut [u8]> {
        // SAFETY: null, or in the context of an instance of the store. It says where the memory is, mapped over its
        // length; that is borrowed with the instance, and so is its store, through which alone another instance that
        // has it can be reached.
        unsafe {
            let VmMemory { base, length } = *self.main_memory.as_ref()?;
            Some(std::slice::from_raw_parts_mut(base, length as usize))
        }
    }

    /// Where the guest's own stack ends in its memory, if it has one that is known.
    #[inline]
    pub(crate) fn stack_top(&self) -> Option<usize> {
        // SAFETY: nothing runs; null, or in the context of an instance of the store.
        unsafe {
            let (memory, pointer) = (self.main_memory.as_ref()?, self.stack_pointer.as_ref()?);
            Some(memory.base.addr() + pointer.low as u32 as usize)
        }
    }

    /// The memory of this index, wherever it is defined.
    pub(crate) fn memory(&mut self, index: u32) -> &mut Memory {
        // SAFETY: this instance is borrowed, and so is its store, through which alone another can be reached.
        unsafe { &mut *InstanceData::memory_at(self, index) }
    }

    /// The table of this index, wherever it is defined.
    pub(crate) fn table(&mut self, index: u32) -> &mut Table {
        // SAFETY: as for memories.
        unsafe { &mut *InstanceData::table_at(self, index) }
    }

    /// The address of the memory of this index, wherever it is defined. No reference to an instance is held on the
    /// way: imports may lead back to where they came from.
    ///
    /// # Safety
    /// The instance exists, and nobody holds a mutable reference to it or to its store's instances.
    pub(crate) unsafe fn memory_at(this: *mut InstanceData, index: u32) -> *mut Memory {
        // SAFETY: by the contract; exporting instances live as long as the store.
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

    /// The address of the table of this index, as for memories.
    ///
    /// # Safety
    /// As for [`InstanceData::memory_at`].
    pub(crate) unsafe fn table_at(this: *mut InstanceData, index: u32) -> *mut Table {
        // SAFETY: by the contract; exporting instances live as long as the store.
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

    /// The bytes of a data segment, none once it is dropped.
    pub(crate) fn data_range(&self, segment: u32) -> std::ops::Range<usize> {
        let data = &self.module.info.data[segment as usize];
        if self.dropped_data.contains(segment, &data.mode) { 0..0 } else { data.bytes.clone() }
    }

    /// The number of entries of an element segment, none once it is dropped.
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

    /// Evaluates the entries of an element segment from `start` into `entries`; the range is in bounds.
    pub(crate) fn element_values(&self, segment: u32, start: u64, entries: &mut [u64]) {
        let items = &self.module.info.elements[segment as usize].items[start as usize..];
        for (entry, item) in entries.iter_mut().zip(items) {
            *entry = item.evaluate(self);
        }
    }

    /// Bytes of its memories' slots, if it is worth while to [renew](InstanceData::renew) it: what it was made of is still
    /// there, and no other instance leads to it.
    pub(crate) fn slots(&self) -> Option<usize> {
        if !matches!(self.records, Records::Shared(_)) || !self.tables.iter().all(Table::is_unchanged) {
            return None;
        }
        let declared = &self.module.info.memories;
        self.memories.iter().zip(declared).map(|(memory, limits)| memory.first_slot(limits.min * PAGE)).sum()
    }

    /// Makes it as it was when it was new, but for what [`fill`](crate::runtime::instantiate::fill) writes. It has its
    /// [slots](InstanceData::slots) still, nothing of its store runs, or has since these faults were counted.
    pub(crate) fn renew(&mut self, faults: Faults) {
        self.dropped_data.0.clear();
        self.dropped_elements.0.clear();
        let declared = &self.module.info.memories;
        for (memory, limits) in self.memories.iter_mut().zip(declared) {
            memory.renew(limits.min * PAGE, faults);
        }
    }

    /// The record of a function.
    pub(crate) fn record(&self, function: u32) -> *const VmFuncRef {
        &raw const self.records.as_slice()[function as usize]
    }

    /// The function whose record this is the address of; `None` if it is not one of this instance's.
    pub(crate) fn function_of(&self, reference: u64) -> Option<u32> {
        let records = self.records.as_slice();
        let index = reference.checked_sub(records.as_ptr() as u64)? / VmFuncRef::SIZE as u64;
        (index < records.len() as u64).then_some(index as u32)
    }

    /// Gives the instance records of its own, before a reference to one of them can get to another instance: in
    /// a shared record, "the caller's own context" would then be the wrong one.
    ///
    /// Nothing of the store may be active: native frames would keep references to the shared records.
    pub(crate) fn own_records(&mut self) {
        let Records::Shared(shared) = self.records.clone() else { return };
        let context = self.context();
        let own: Box<[VmFuncRef]> = shared.iter().map(|&record| VmFuncRef { context, ..record }).collect();
        let moved = |reference: u64| match reference {
            0 => 0,
            // Only its own functions: an instance with shared records imports nothing that could hold others.
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

/// The address of an item. The pointers that this gives for one item are all good at the same time, as those made from
/// references would not be.
fn item_at<T>(items: &mut Vec<T>, index: u32) -> *mut T {
    assert!((index as usize) < items.len(), "the module was validated");
    // SAFETY: the item is there. A vector's own pointer is not made from a reference to the content.
    unsafe { items.as_mut_ptr().add(index as usize) }
}

/// An instance that its store owns. No `Box`, which would claim that nobody else leads there: native code and other
/// instances hold the address, and it is to stay good for them however often the owner moves.
pub(crate) struct OwnedInstance {
    address: NonNull<InstanceData>,
    /// It is in its store's home, which goes as a whole.
    is_at_home: bool,
}

impl OwnedInstance {
    /// Makes an instance beside a zeroed context of so many bytes, in the room that `carve` finds or in its own.
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
        // SAFETY: both lie in the room, by its layout.
        unsafe {
            let (instance, context) = (address.cast::<InstanceData>(), address.add(offset));
            context.write_bytes(0, context_size);
            instance.write(make(context));
            OwnedInstance { address: instance, is_at_home: carved.is_some() }
        }
    }

    /// The layout of both, and where the context lies in it.
    fn layout(context_size: usize) -> (Layout, usize) {
        let context = Layout::from_size_align(context_size, 16);
        let both = context.and_then(|context| Layout::new::<InstanceData>().extend(context));
        both.expect("a context is far smaller than the address space")
    }

    /// Where it is, for as long as its owner lives. Whoever uses it must see to it that nobody holds a reference.
    pub(crate) fn address(&self) -> NonNull<InstanceData> {
        self.address
    }
}

impl Deref for OwnedInstance {
    type Target = InstanceData;

    fn deref(&self) -> &InstanceData {
        // SAFETY: it exists as long as its owner, who is borrowed. What runs meanwhile and has the address, native
        // code and its routines, runs only while the store that owns it all is not borrowed.
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
        // SAFETY: made by `new` with this layout, and dropped once. The context outlives what describes itself in it.
        unsafe {
            self.address.drop_in_place();
            if !self.is_at_home {
                dealloc(self.address.as_ptr().cast(), layout);
            }
        }
    }
}

/// Which segments are dropped. As long as none is dropped explicitly, those that are not passive count as such.
#[derive(Debug, Default)]
struct Dropped(BTreeSet<u32>);

impl Dropped {
    fn contains(&self, segment: u32, mode: &SegmentMode) -> bool {
        !matches!(mode, SegmentMode::Passive) || self.0.contains(&segment)
    }
}
