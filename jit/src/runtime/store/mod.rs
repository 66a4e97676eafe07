//! Stores: the instances of one process, its data, and its one activation.
//!
//! The content of a store never moves: native code, instances and the activation hold its address. While
//! guest code runs, the store is reached through raw pointers only. The public methods take `&mut self`, so
//! they cannot run at that time. A [`Caller`] stands for the same exclusive access during a host call.
//!
//! * `call`: how calls begin, continue and end.
//! * `caller`: a host call as the host sees it.
//! * `host_func`, `linked`: host functions, and modules whose imports are resolved to them.
//! * `exports`: what the instances of a store share.
//! * `values`: conversion of values between the host and native code.
//! * `pool`: recycling of stores that have ended.

mod call;
mod caller;
mod exports;
mod host_func;
mod linked;
mod pool;
mod values;

pub use call::{CannotWait, Progress, Resume};
pub use caller::{Caller, HostCall, HostPanic};
pub use exports::Export;
pub use host_func::{Check, HostFunc, HostResult, IntoHostFunc, Refusal, Unchecked, WasmValue};
pub use linked::Linked;
pub(crate) use linked::{Hosts, unresolved};
pub(crate) use pool::FreeList;

use std::alloc::Layout;
use std::cell::Cell;
use std::fmt;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::environ::value::{ValType, Value};
use crate::environ::vm_layout::VmRuntime;
use crate::runtime::engine::Engine;
use crate::runtime::error::{InstantiateError, Trap, TrapKind};
use crate::runtime::instantiate;
use crate::runtime::module::Module;
use crate::runtime::perf::working_set::WorkingSet;
use crate::runtime::vm::instance::{InstanceData, OwnedInstance, StoreCore};
use crate::runtime::vm::libcalls;
use crate::runtime::vm::memory_budget::{MemoryBudget, TotalMemory};
use crate::runtime::vm::stack::{PooledStack, StackPool};
use crate::runtime::vm::thread;

use call::{OuterCall, Request};
use pool::Shard;

/// The limits of a store's instances.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Bytes of linear memory, over all memories. A `memory.grow` beyond it returns -1.
    pub max_memory: u64,
    /// Table elements, over all tables. A `table.grow` beyond it returns -1.
    pub max_table_elements: u64,
    /// Bytes of native stack for the store's calls, up to the engine's largest stack size. Default: the
    /// engine's usual stack size.
    pub stack_size: Option<usize>,
    /// A limit that the memories of several stores share. A `memory.grow` beyond it returns -1, as beyond
    /// `max_memory`.
    pub total: Option<Arc<TotalMemory>>,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits { max_memory: 4 << 30, max_table_elements: 10_000_000, stack_size: None, total: None }
    }
}

/// An instance in a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instance(u32);

impl Instance {
    /// The number of the instance in its store, from 0 in the order of creation.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The instances of one process, its data, and at most one activation: a call into the guest that may be
/// suspended at any charge or host call, moved to another thread, resumed there, or dropped.
///
/// Dropping a store drops a suspended activation without unwinding: no value on its stack needs to be
/// dropped.
pub struct Store<T> {
    inner: NonNull<StoreInner<T>>,
    _owns: PhantomData<StoreInner<T>>,
}

/// The content of a store. The fields are in the order of use, as those of [`StoreCore`] are.
#[repr(C)]
struct StoreInner<T> {
    core: StoreCore,
    reductions: u64,
    /// Reductions of the running slice that [`Caller::end_slice`] has returned.
    given_back: i64,
    /// Dropped with the [`Store`]; a pooled instance has no data.
    data: ManuallyDrop<T>,
    engine: Engine,
    /// The host functions of each instance's imports. The instance holds the address of their entries.
    hosts: SmallVec<[Arc<Hosts<T>>; 1]>,
    /// The result types of the activation, and its results once it has returned.
    result_types: Vec<ValType>,
    results: Vec<Value>,
    /// The instance whose function was called last. References among the results are as this instance holds
    /// them.
    called: u32,
    /// The call that the suspending host function has requested.
    request: Option<Request<T>>,
    /// The calls around the innermost one, outermost first.
    outer: Vec<OuterCall<T>>,
    /// The pool of the store's stacks, if they do not have the engine's usual size.
    stacks: Option<Arc<StackPool>>,
    /// The free list that the store is added to when it ends; `None` if the store is not recycled.
    shard: Option<Arc<Shard<T>>>,
}

// SAFETY: a store owns everything that its pointers lead to, except code, tables and records, which are
// immutable and shared by counted references. An activation may move to another thread: nothing on its stack
// is tied to a thread.
unsafe impl<T: Send> Send for Store<T> {}

impl<T: Send + 'static> Store<T> {
    /// Creates an empty store.
    pub fn new(engine: &Engine, data: T, limits: StoreLimits) -> Store<T> {
        let runtime = VmRuntime {
            reductions: 0,
            exit_frame: 0,
            builtins: libcalls::BUILTINS.as_ptr(),
            yielder: 0,
            store: 0,
            has_request: false,
        };
        let core = StoreCore {
            runtime,
            thread: thread::number(),
            memory: MemoryBudget::new(limits.max_memory, limits.total),
            table_used: 0,
            max_table_elements: limits.max_table_elements,
            instances: SmallVec::new(),
            activation: None,
            slots: Vec::new(),
            host_result: ptr::null_mut(),
            host_error: None,
            trap_handler: Cell::new(None),
            stack_limit: 0,
            stack_range: Cell::new((0, 0)),
            own_stack: None,
            is_own_stack_lent: false,
            _apart: [0; 2],
        };
        let inner = StoreInner {
            core,
            engine: engine.clone(),
            hosts: SmallVec::new(),
            result_types: Vec::new(),
            results: Vec::new(),
            called: 0,
            request: None,
            outer: Vec::new(),
            reductions: 0,
            given_back: 0,
            data: ManuallyDrop::new(data),
            stacks: engine.stacks_of_size(limits.stack_size),
            shard: None,
        };
        let inner = inner.settle();
        // SAFETY: the store was just settled, and belongs to this function.
        unsafe { (*inner.as_ptr()).core.runtime.store = inner.as_ptr() as usize };
        Store { inner, _owns: PhantomData }
    }

    /// Returns the embedder's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// Returns the embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// Creates an instance: initialises memories, tables and globals. The start function is not run.
    ///
    /// # Errors
    /// See [`InstantiateError`].
    ///
    /// # Panics
    /// Panics if the module was compiled by another engine than the store's: types are numbered by engine.
    pub fn instantiate(&mut self, linked: &Linked<T>) -> Result<Instance, InstantiateError> {
        let linked = &*linked.inner;
        self.assert_same_engine(&linked.module);
        let template = Result::as_ref(&linked.template).map_err(|kind| {
            let kind = match kind {
                TrapKind::TableOutOfBounds => TrapKind::TableOutOfBounds,
                _ => TrapKind::MemoryOutOfBounds,
            };
            InstantiateError::Trap(Box::new(Trap { kind, backtrace: Vec::new() }))
        })?;
        let data = instantiate::from_template(self.core(), &linked.module.inner, &linked.records, template)?;
        Ok(self.add(data, linked.hosts.clone()))
    }

    /// Returns the reductions used since the store was created.
    pub fn reductions(&self) -> u64 {
        self.inner().reductions
    }

    /// Returns the bytes of linear memory, over all memories.
    pub fn memory_size(&self) -> u64 {
        self.inner().core.memory.used()
    }

    /// Returns the instance's exported memory named `memory`, together with the embedder's data. For a result
    /// that the host writes when a suspended call completes.
    pub fn memory_and_data(&mut self, instance: Instance) -> Option<(&mut [u8], &mut T)> {
        let inner = self.inner_mut();
        inner.core.note_thread();
        let memory = inner.core.instances[instance.0 as usize].main_memory_bytes()?;
        Some((memory, &mut inner.data))
    }

    /// Notes in `set` where this store is, after native code was left, for another thread to prefetch. Not
    /// part of the stable interface.
    #[doc(hidden)]
    pub fn note_working_set(&self, set: &WorkingSet) {
        let core = &self.inner().core;
        let Some(instance) = core.instances.first() else { return };
        let frames = core.runtime.exit_frame;
        // Without a recorded frame, the guest is in a bulk operation, which takes longer than a few cache
        // misses. If the store is not at the top of its stack, the lines fetched are useless: few stores are
        // elsewhere, and checking would cost every store a line.
        let store = if frames == 0 { 0 } else { self.inner.as_ptr() as usize };
        set.note(frames, store, instance.stack_top().unwrap_or(0));
    }

    fn inner(&self) -> &StoreInner<T> {
        // SAFETY: the store owns its content, and no guest code runs while one of its methods does.
        unsafe { self.inner.as_ref() }
    }

    fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { self.inner.as_mut() }
    }

    pub(crate) fn core(&self) -> NonNull<StoreCore> {
        // SAFETY: only the field's address is taken.
        unsafe { NonNull::new_unchecked(&raw mut (*self.inner.as_ptr()).core) }
    }

    fn instance_data(&self, instance: Instance) -> &InstanceData {
        &self.inner().core.instances[instance.0 as usize]
    }

    fn assert_same_engine(&self, module: &Module) {
        let same = module.inner.engine.is(&self.inner().engine);
        assert!(same, "the module must be compiled by the store's engine");
    }

    fn add(&mut self, mut data: OwnedInstance, hosts: Arc<Hosts<T>>) -> Instance {
        data.hosts = hosts.entries.as_ptr();
        let memory = data.module.info.main_memory;
        data.main_memory = memory.map_or(ptr::null(), |index| data.memory_descriptor(index).cast_const());
        let pointer = data.module.info.stack_pointer();
        data.stack_pointer = pointer.map_or(ptr::null(), |global| data.global(global).cast_const());
        let inner = self.inner_mut();
        // Both lists have one entry for each instance, in the same order.
        inner.core.instances.push(data);
        inner.hosts.push(hosts);
        Instance(inner.core.instances.len() as u32 - 1)
    }
}

impl<T> StoreInner<T> {
    fn take_stack(&self) -> std::io::Result<PooledStack> {
        self.stacks.as_ref().unwrap_or_else(|| self.engine.stacks()).take()
    }

    /// Moves the content to its final address: the room for it in its stack, or an allocation.
    fn settle(mut self) -> NonNull<StoreInner<T>> {
        let carved = self.take_stack().ok().and_then(|mut stack| {
            let address = stack.carve(Layout::new::<StoreInner<T>>())?;
            self.core.own_stack = Some(stack);
            Some(address.cast::<StoreInner<T>>())
        });
        match carved {
            Some(address) => {
                // SAFETY: `carve` has returned exclusive room for the content, aligned for it.
                unsafe { address.write(self) };
                address
            }
            None => NonNull::from(Box::leak(Box::new(self))),
        }
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: the content was created by `settle` and belongs to this store. Activations are dropped
        // first, because they point to everything else.
        unsafe {
            (*self.inner.as_ptr()).drop_activations();
            ManuallyDrop::drop(&mut (*self.inner.as_ptr()).data);
            StoreInner::retire(self.inner);
        }
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
