//! A store: the instances of one process, its data, and its one activation.
//!
//! The store's content never moves: native code, instances and the activation hold its address. While guest
//! code runs, the store is reached through raw pointers only; the public methods take `&mut self`, so they
//! cannot run meanwhile, and a [`Caller`] stands for that same exclusive access during a host call.
//!
//! `call` is how calls begin, go on and end, `caller` a host call seen from the host, `exports` what instances share,
//! `values` what crosses the border, `pooled` what becomes of a store that has ended.

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

/// What the instances of a store may use.
#[derive(Clone, Debug)]
pub struct StoreLimits {
    /// Bytes of linear memory, over all memories. A `memory.grow` beyond it returns -1.
    pub max_memory: u64,
    /// Table elements, over all tables. A `table.grow` beyond it returns -1.
    pub max_table_elements: u64,
    /// Bytes of native stack of its calls, as far as the engine has stacks so large. Default: those that the engine's
    /// stores usually have.
    pub stack_size: Option<usize>,
    /// What the memories of several stores may have together, if that is limited; beyond it as beyond `max_memory`.
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
    /// Its number in its store, from 0 in the order of creation.
    pub fn index(self) -> u32 {
        self.0
    }
}

/// The instances of one process, its data, and at most one activation: a call into the guest that may be
/// suspended at any charge or host call, moved to another thread, resumed there, or dropped.
///
/// Dropping a store drops a suspended activation without unwinding: nothing on its stack owns anything.
pub struct Store<T> {
    inner: NonNull<StoreInner<T>>,
    _owns: PhantomData<StoreInner<T>>,
}

/// In the order of use, as [`StoreCore`] is.
#[repr(C)]
struct StoreInner<T> {
    core: StoreCore,
    reductions: u64,
    /// Reductions of the running slice that [`Caller::end_slice`] gave back.
    given_back: i64,
    /// Dropped with the [`Store`]; a spare one has none.
    data: ManuallyDrop<T>,
    engine: Engine,
    /// The host functions of each instance's imports, which the instance has the address of.
    hosts: SmallVec<[Arc<Hosts<T>>; 1]>,
    /// Result types, then results, of the activation.
    result_types: Vec<ValType>,
    results: Vec<Value>,
    /// The instance whose function was begun last: its results' references are as it holds them.
    called: u32,
    /// The call that the host function which is suspending wants made.
    request: Option<Request<T>>,
    /// The calls that the innermost one is in, outermost first.
    outer: Vec<OuterCall<T>>,
    /// What its stacks come from, if they are not those that the engine's stores usually have.
    stacks: Option<Arc<StackPool>>,
    /// Where it goes when it has ended; `None` for one that is not to be used again.
    shard: Option<Arc<Shard<T>>>,
}

// SAFETY: a store owns all that its pointers lead to, but for code, tables and records that are immutable and
// shared by counted references. An activation may move: nothing on its stack is tied to a thread.
unsafe impl<T: Send> Send for Store<T> {}

impl<T: Send + 'static> Store<T> {
    /// An empty store.
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
        // SAFETY: just settled, and ours.
        unsafe { (*inner.as_ptr()).core.runtime.store = inner.as_ptr() as usize };
        Store { inner, _owns: PhantomData }
    }

    /// The embedder's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// The embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// Creates an instance: memories, tables and globals are initialised, the start function is not run.
    ///
    /// # Errors
    /// See [`InstantiateError`].
    ///
    /// # Panics
    /// When the module was compiled by another engine than the store's: types are numbered by engine.
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

    /// The reductions used since the store was created.
    pub fn reductions(&self) -> u64 {
        self.inner().reductions
    }

    /// Bytes of linear memory, over all memories.
    pub fn memory_size(&self) -> u64 {
        self.inner().core.memory.used()
    }

    /// The exported memory named `memory` of the instance together with the embedder's data, for a result that
    /// is written when a suspended call completes.
    pub fn memory_and_data(&mut self, instance: Instance) -> Option<(&mut [u8], &mut T)> {
        let inner = self.inner_mut();
        inner.core.note_thread();
        let memory = inner.core.instances[instance.0 as usize].main_memory_bytes()?;
        Some((memory, &mut inner.data))
    }

    /// Notes in `set` where this store is, after a call was left, for another thread to prefetch. It is no part of the
    /// stable interface.
    #[doc(hidden)]
    pub fn note_working_set(&self, set: &WorkingSet) {
        let core = &self.inner().core;
        let Some(instance) = core.instances.first() else { return };
        let frames = core.runtime.exit_frame;
        // One that did not record its frames is in a bulk operation, which lasts longer than a few misses. Where the store
        // is not at the top of the stack, what is fetched is something else: few stores are elsewhere, and to know which
        // would cost every other one a line.
        let store = if frames == 0 { 0 } else { self.inner.as_ptr() as usize };
        set.note(frames, store, instance.stack_top().unwrap_or(0));
    }

    fn inner(&self) -> &StoreInner<T> {
        // SAFETY: the store owns it, and no guest code runs while its methods do.
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
        assert!(same, "the module was compiled by the store's engine");
    }

    fn add(&mut self, mut data: OwnedInstance, hosts: Arc<Hosts<T>>) -> Instance {
        data.hosts = hosts.entries.as_ptr();
        let memory = data.module.info.main_memory;
        data.main_memory = memory.map_or(ptr::null(), |index| data.memory_descriptor(index).cast_const());
        let pointer = data.module.info.stack_pointer();
        data.stack_pointer = pointer.map_or(ptr::null(), |global| data.global(global).cast_const());
        let inner = self.inner_mut();
        inner.core.instances.push(data);
        inner.hosts.push(hosts);
        Instance(inner.core.instances.len() as u32 - 1)
    }
}

impl<T> StoreInner<T> {
    fn take_stack(&self) -> std::io::Result<PooledStack> {
        self.stacks.as_ref().unwrap_or_else(|| self.engine.stacks()).take()
    }

    /// Moves to where the store stays: to the home that a stack has for it, if there is one.
    fn settle(mut self) -> NonNull<StoreInner<T>> {
        let carved = self.take_stack().ok().and_then(|mut stack| {
            let address = stack.carve(Layout::new::<StoreInner<T>>())?;
            self.core.own_stack = Some(stack);
            Some(address.cast::<StoreInner<T>>())
        });
        match carved {
            Some(address) => {
                // SAFETY: it is room for one, aligned for it, and nobody else's.
                unsafe { address.write(self) };
                address
            }
            None => NonNull::from(Box::leak(Box::new(self))),
        }
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: made by `settle`, and ours alone. The activations go first: they point to all the rest.
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
