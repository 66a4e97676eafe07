//! A store: the instances of one process, its data, and its one activation.
//!
//! The store's content never moves: native code, instances and the activation hold its address. While guest
//! code runs, the store is reached through raw pointers only; the public methods take `&mut self`, so they
//! cannot run meanwhile, and a [`Caller`] stands for that same exclusive access during a host call.
//!
//! `caller` is a host call seen from the host, `exports` what instances share, `values` what crosses the border.

mod caller;
mod exports;
mod values;

pub use caller::{Caller, HostPanic};
pub use exports::Export;

use std::cell::{Cell, UnsafeCell};
use std::fmt;
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::sync::Arc;

use corosensei::stack::Stack;

use crate::engine::Engine;
use crate::error::{Frame, HostError, InstantiateError, Trap, TrapKind};
use crate::instantiate;
use crate::linker::HostFunc;
use crate::module::{FuncIndex, Linked, Module};
use crate::translate::trap_kind;
use crate::value::{RawValue, ValType, Value};
use crate::vm::activation::{Activation, Leave, Target};
use crate::vm::context::VmRuntime;
use crate::vm::instance::{InstanceData, OwnedInstance, StoreCore};
use crate::vm::libcalls::{self, Dispatch};
use crate::vm::trap::{self, Pcs};

/// What the instances of a store may use.
#[derive(Clone, Copy, Debug)]
pub struct StoreLimits {
    /// Bytes of linear memory, over all memories. A `memory.grow` beyond it returns -1.
    pub max_memory: u64,
    /// Table elements, over all tables. A `table.grow` beyond it returns -1.
    pub max_table_elements: u64,
}

impl Default for StoreLimits {
    fn default() -> Self {
        StoreLimits { max_memory: 4 << 30, max_table_elements: 10_000_000 }
    }
}

/// A function of an instance in a store. It is a pair of numbers, not an address: one that is given to another
/// store, or outlives its own, names some other function or none, and that is all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Func {
    instance: u32,
    function: u32,
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

/// What the activation did until [`Store::resume`] returned.
#[derive(Debug)]
pub enum Progress {
    /// The slice is used up; resume it with [`Resume::Continue`].
    Yielded,
    /// A host function said [`HostCall::Suspend`](crate::HostCall::Suspend); resume it with the result.
    Suspended,
    /// The function returned; its results are in [`Store::results`].
    Returned,
    /// The activation is over.
    Trapped(Box<Trap>),
}

/// How an activation continues.
#[derive(Debug)]
pub enum Resume {
    /// At the start, and after [`Progress::Yielded`].
    Continue,
    /// After [`Progress::Suspended`]: the host function's result (ignored where it has none).
    Return(RawValue),
    /// After [`Progress::Suspended`]: the host function raises this error.
    Fail(HostError),
}

/// The error of [`Store::call`] when a host function suspends: there is nobody to wait for.
#[derive(Debug, thiserror::Error)]
#[error("a host function suspended a call that cannot wait")]
pub struct CannotWait;

/// The instances of one process, its data, and at most one activation: a call into the guest that may be
/// suspended at any charge or host call, moved to another thread, resumed there, or dropped.
///
/// Dropping a store drops a suspended activation without unwinding: nothing on its stack owns anything.
pub struct Store<T> {
    inner: NonNull<StoreInner<T>>,
    _owns: PhantomData<StoreInner<T>>,
}

struct StoreInner<T> {
    core: StoreCore,
    engine: Engine,
    /// The host functions of each instance's imports.
    hosts: Vec<Arc<[Option<HostFunc<T>>]>>,
    /// Result types, then results, of the activation.
    result_types: Vec<ValType>,
    results: Vec<Value>,
    /// The instance whose function was begun last: its results' references are as it holds them.
    called: u32,
    reductions: u64,
    data: T,
}

// SAFETY: a store owns all that its pointers lead to, but for code, tables and records that are immutable and
// shared by counted references. An activation may move: nothing on its stack is tied to a thread.
unsafe impl<T: Send> Send for Store<T> {}

impl<T: Send + 'static> Store<T> {
    /// An empty store.
    pub fn new(engine: &Engine, data: T, limits: StoreLimits) -> Store<T> {
        let dispatch: Dispatch = caller::dispatch::<T>;
        let runtime = VmRuntime {
            reductions: 0,
            exit_frame: 0,
            builtins: libcalls::TABLE.as_ptr(),
            yielder: 0,
            dispatch: dispatch as *const (),
            store: 0,
        };
        let core = StoreCore {
            runtime,
            limits,
            memory_used: 0,
            table_used: 0,
            instances: Vec::new(),
            activation: None,
            slots: Vec::new(),
            host_result: ptr::null_mut(),
            host_error: None,
            trap_handler: Cell::new(None),
            stack_limit: 0,
            stack_range: Cell::new((0, 0)),
            fault: UnsafeCell::new(None),
        };
        let inner = Box::new(StoreInner {
            core,
            engine: engine.clone(),
            hosts: Vec::new(),
            result_types: Vec::new(),
            results: Vec::new(),
            called: 0,
            reductions: 0,
            data,
        });
        let inner = NonNull::from(Box::leak(inner));
        // SAFETY: just allocated, and ours.
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
        let template = linked.template.as_ref().map_err(|kind| {
            let kind = match kind {
                TrapKind::TableOutOfBounds => TrapKind::TableOutOfBounds,
                _ => TrapKind::MemoryOutOfBounds,
            };
            InstantiateError::Trap(Box::new(Trap { kind, backtrace: Vec::new() }))
        })?;
        let data = instantiate::from_template(self.core(), &linked.module.inner, &linked.records, template)?;
        Ok(self.add(data, linked.hosts.clone()))
    }

    /// Begins a call of a function of the instance; nothing runs before [`Store::resume`].
    ///
    /// # Errors
    /// When no stack is to be had.
    ///
    /// # Panics
    /// When an activation exists already, or the arguments do not match the function's type, or one of them is
    /// a function that the store does not have.
    pub fn begin(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
    ) -> Result<(), InstantiateError> {
        let core = self.core();
        let inner = self.inner_mut();
        assert!(inner.core.activation.is_none(), "a store has one activation at a time");
        let module = inner.core.instances[instance.0 as usize].module.clone();
        let ty = module.shape.function_type(function.0);
        assert!(args.iter().map(Value::ty).eq(ty.params.iter().copied()), "the arguments match {ty}");
        let args: Vec<RawValue> = args.iter().map(|&arg| inner.core.raw(arg, instance.0)).collect();
        let data = &inner.core.instances[instance.0 as usize];
        let failed = |error: std::io::Error| InstantiateError::Limit(format!("no stack: {error}"));
        let stack = inner.engine.stacks().take().map_err(failed)?;

        let slots = &mut inner.core.slots;
        slots.clear();
        slots.extend(args);
        slots.resize(ty.params.len().max(ty.results.len()), RawValue::default());
        inner.result_types.clear();
        inner.result_types.extend_from_slice(&ty.results);
        inner.results.clear();
        inner.called = instance.0;
        inner.core.host_result = ptr::null_mut();

        // SAFETY: the record lives as long as its instance.
        let record = unsafe { *data.record(function.0) };
        let context = if record.context.is_null() { data.context() } else { record.context };
        let entry = module.entry(function.0);
        inner.core.set_stack_limit(stack.guest_limit());
        inner.core.runtime.exit_frame = 0;
        inner.core.stack_range.set((stack.limit().get(), stack.base().get()));
        let target = Target {
            entry,
            context,
            code: record.code,
            slots: inner.core.slots.as_mut_ptr(),
            // SAFETY: the core outlives the activation; only the field's address is taken.
            runtime: unsafe { &raw mut (*core.as_ptr()).runtime },
        };
        // SAFETY: the store drops its activation before all that the target points to; code and trampoline have
        // the type of the function.
        inner.core.activation = Some(unsafe { Activation::new(stack, target) });
        Ok(())
    }

    /// Runs the activation until it yields, suspends, returns or traps.
    ///
    /// `slice` is the number of reductions until it yields. What an earlier slice overshot is subtracted.
    ///
    /// # Panics
    /// When there is no activation, or `how` does not fit its state.
    pub fn resume(&mut self, how: Resume, slice: u64) -> Progress {
        let waiting = !self.inner().core.host_result.is_null();
        assert_eq!(waiting, !matches!(how, Resume::Continue), "a suspended host call alone takes a result");
        match how {
            Resume::Continue => {}
            Resume::Return(value) => self.complete_host_call(value),
            Resume::Fail(error) => {
                self.inner_mut().core.host_error = Some(error);
                return self.raised();
            }
        }
        let budget = self.grant(slice);
        let leave = self.run();
        let inner = self.inner_mut();
        if leave == Leave::Faulted {
            // The counter was in a register; what is stored is older. A trap never costs less than was used.
            inner.core.runtime.reductions = inner.core.runtime.reductions.min(0);
        }
        // Saturating: a module that nobody has verified may write anything into its counter.
        let used = budget.saturating_sub(inner.core.runtime.reductions).max(0) as u64;
        inner.reductions = inner.reductions.saturating_add(used);
        match leave {
            Leave::Yield => Progress::Yielded,
            Leave::Host => Progress::Suspended,
            Leave::Returned => self.returned(),
            Leave::Raised => self.raised(),
            Leave::Faulted => self.faulted(),
        }
    }

    /// The results of the activation that has [returned](Progress::Returned).
    pub fn results(&self) -> &[Value] {
        &self.inner().results
    }

    /// Calls a function and runs it to its end, whatever it costs.
    ///
    /// # Errors
    /// The trap that ended it. A host function that suspends is an error here: [`CannotWait`].
    pub fn call(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
    ) -> Result<Vec<Value>, Box<Trap>> {
        self.call_in_slices(instance, function, args, i64::MAX as u64)
    }

    /// As [`Store::call`], yielding to the caller whenever a slice is used up. Slices of 0 yield at every charge.
    ///
    /// # Errors
    /// As for [`Store::call`].
    pub fn call_in_slices(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
        slice: u64,
    ) -> Result<Vec<Value>, Box<Trap>> {
        let trap = |error| Box::new(Trap { kind: TrapKind::Host(error), backtrace: Vec::new() });
        self.begin(instance, function, args).map_err(|error| trap(error.into()))?;
        let mut how = Resume::Continue;
        loop {
            match self.resume(how, slice) {
                Progress::Yielded => how = Resume::Continue,
                Progress::Suspended => how = Resume::Fail(CannotWait.into()),
                Progress::Returned => return Ok(self.results().to_vec()),
                Progress::Trapped(trap) => return Err(trap),
            }
        }
    }

    /// The reductions used since the store was created.
    pub fn reductions(&self) -> u64 {
        self.inner().reductions
    }

    /// Bytes of linear memory, over all memories.
    pub fn memory_size(&self) -> u64 {
        self.inner().core.memory_used
    }

    /// The exported memory named `memory` of the instance together with the embedder's data, for a result that
    /// is written when a suspended call completes.
    pub fn memory_and_data(&mut self, instance: Instance) -> Option<(&mut [u8], &mut T)> {
        let inner = self.inner_mut();
        let data = &mut inner.core.instances[instance.0 as usize];
        let memory = data.module.shape.main_memory?;
        Some((data.memory(memory).bytes(), &mut inner.data))
    }

    /// The frames on the suspended activation's stack, innermost first: what the process is doing. Empty where
    /// there is none, or it is in the middle of a bulk operation.
    pub fn backtrace(&self) -> Vec<Frame> {
        let core = &self.inner().core;
        if core.activation.is_none() {
            return Vec::new();
        }
        // SAFETY: the activation is suspended, so its stack does not change; the walk stays within it.
        let pcs = unsafe { Pcs::walk(None, core.runtime.exit_frame, core.stack()) };
        core.frames(pcs.iter())
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

    fn add(&mut self, data: OwnedInstance, hosts: Arc<[Option<HostFunc<T>>]>) -> Instance {
        let inner = self.inner_mut();
        inner.core.instances.push(data);
        inner.hosts.push(hosts);
        Instance(inner.core.instances.len() as u32 - 1)
    }

    fn complete_host_call(&mut self, value: RawValue) {
        let core = &mut self.inner_mut().core;
        // SAFETY: not null, as `resume` has checked: the routine that suspended left the address of its first slot, on the activation's stack.
        unsafe { core.host_result.write(value) };
        core.host_result = ptr::null_mut();
    }

    /// Sets the counter for a slice, less what the last one overshot.
    fn grant(&mut self, slice: u64) -> i64 {
        let runtime = &mut self.inner_mut().core.runtime;
        let slice = i64::try_from(slice).unwrap_or(i64::MAX);
        runtime.reductions = runtime.reductions.min(0).saturating_add(slice);
        runtime.reductions
    }

    fn run(&mut self) -> Leave {
        crate::sys::fault::prepare_thread();
        let core = self.core();
        // SAFETY: the activation is moved out for the time it runs, so that what the guest reaches through the
        // store does not overlap it; the rest of the store is reached by raw pointers until it is back.
        let mut activation = unsafe { (*core.as_ptr()).activation.take() }.expect("there is an activation");
        // SAFETY: as above.
        unsafe { (*core.as_ptr()).trap_handler.set(Some(activation.trap_handler())) };
        let leave = trap::with_current(core.as_ptr(), || activation.resume());
        // SAFETY: as above.
        unsafe {
            (*core.as_ptr()).trap_handler.set(None);
            (*core.as_ptr()).activation = Some(activation);
        }
        leave
    }

    fn returned(&mut self) -> Progress {
        let inner = self.inner_mut();
        inner.core.activation = None;
        let (core, called) = (&inner.core, inner.called);
        let raw = inner.result_types.iter().zip(&core.slots);
        inner.results = raw.map(|(&ty, &raw)| core.value(ty, raw, called)).collect();
        Progress::Returned
    }

    fn raised(&mut self) -> Progress {
        let backtrace = self.backtrace();
        let core = &mut self.inner_mut().core;
        core.activation = None;
        core.host_result = ptr::null_mut();
        let error = core.host_error.take().unwrap_or_else(|| HostPanic("no message".into()).into());
        Progress::Trapped(Box::new(Trap { kind: TrapKind::Host(error), backtrace }))
    }

    fn faulted(&mut self) -> Progress {
        let core = &mut self.inner_mut().core;
        core.activation = None;
        let fault = core.fault.get_mut().take().expect("the fault handler has recorded it");
        let backtrace = core.frames(fault.pcs.iter());
        Progress::Trapped(Box::new(Trap { kind: trap_kind(fault.code), backtrace }))
    }
}

impl<T> Drop for Store<T> {
    fn drop(&mut self) {
        // SAFETY: allocated by `new`, and ours alone. The activation goes first: it points to all the rest.
        unsafe {
            (*self.inner.as_ptr()).core.activation = None;
            drop(Box::from_raw(self.inner.as_ptr()));
        }
    }
}

impl<T> fmt::Debug for Store<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").finish_non_exhaustive()
    }
}
