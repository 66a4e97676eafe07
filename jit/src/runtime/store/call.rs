//! Calls into the guest: how they begin, continue and end.
//!
//! A store runs one call at a time. A host function may request another call before it returns
//! ([`Caller::call_guest`]). The call that the host function was called from then waits, as it does for
//! anything that a host function suspends for, and the new call runs on a stack of its own. So a trap in the
//! inner call ends only its own activation, no frame has to be unwound or jumped over, and a nested call can
//! be left, moved and dropped like any other.

use std::ptr;
use std::sync::Arc;

use corosensei::stack::Stack;

use super::{Caller, HostCall, HostPanic, Instance, Store, StoreInner};
use crate::environ::value::{RawValue, ValType, Value};
use crate::runtime::error::{Frame, HostError, InstantiateError, Trap, TrapKind};
use crate::runtime::loaded_module::FuncIndex;
use crate::runtime::vm::activation::{Activation, Leave, Target};
use crate::runtime::vm::stack::CallStack;
use crate::runtime::vm::trap::{self, Pcs};

/// The maximum depth of nested calls. Each call has a stack.
pub(super) const MAX_DEPTH: usize = 64;

/// Why [`Store::resume`] returned.
#[derive(Debug)]
pub enum Progress {
    /// The slice is used up. Resume with [`Resume::Continue`].
    Yielded,
    /// A host function returned [`HostCall::Suspend`]. Resume with its result.
    Suspended,
    /// The function returned. Its results are in [`Store::results`].
    Returned,
    /// The activation has ended with a trap.
    Trapped(Box<Trap>),
}

/// How an activation continues.
#[derive(Debug)]
pub enum Resume {
    /// At the start, and after [`Progress::Yielded`].
    Continue,
    /// After [`Progress::Suspended`]: the host function returns this result (ignored if the function has
    /// none).
    Return(RawValue),
    /// After [`Progress::Suspended`]: the host function raises this error.
    Fail(HostError),
}

/// The error of [`Store::call`] when a host function suspends: nothing would resume the call.
#[derive(Debug, thiserror::Error)]
#[error("a host function suspended a call that nothing would resume: use `Store::begin` and `Store::resume`")]
pub struct CannotWait;

/// Turns the outcome of a call that a host function has requested (results, or the trap that ended the call)
/// into the outcome of the host function: a result, an error, or another suspension.
pub(super) type Completion<T> = Box<
    dyn FnOnce(&mut Caller<'_, T>, Result<&[Value], Box<Trap>>) -> Result<HostCall<RawValue>, HostError>
        + Send,
>;

/// A call that a host function has requested.
pub(super) struct Request<T> {
    pub(super) instance: u32,
    pub(super) function: FuncIndex,
    pub(super) args: Vec<Value>,
    pub(super) completion: Completion<T>,
}

/// A call that waits for an inner call: its state while it is not the innermost one.
pub(super) struct OuterCall<T> {
    activation: Activation,
    slots: Vec<RawValue>,
    result_types: Vec<ValType>,
    called: u32,
    host_result: *mut RawValue,
    exit_frame: usize,
    yielder: usize,
    stack_limit: usize,
    stack_range: (usize, usize),
    /// What to do when the inner call ends, and the instance whose host call requested it.
    completion: Completion<T>,
    caller: u32,
    /// The guest's own stack pointer, if it is known. It is restored after a trap.
    stack_pointer: Option<(u32, RawValue)>,
}

impl<T: Send + 'static> Store<T> {
    /// Begins a call of a function of the instance. Nothing runs before [`Store::resume`].
    ///
    /// # Errors
    /// Returns an error if no stack is available.
    ///
    /// # Panics
    /// Panics if the store has an activation already, if the arguments do not match the function's type, or
    /// if one of them is a function that the store does not have.
    pub fn begin(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
    ) -> Result<(), InstantiateError> {
        assert!(
            self.inner().core.activation.is_none(),
            "the store must have no activation: end or drop the current call first"
        );
        self.enter(instance.0, function, args)
    }

    /// Runs the activation until it yields, suspends, returns or traps.
    ///
    /// `slice` is the number of reductions after which it yields. The overshoot of the previous slice is
    /// subtracted.
    ///
    /// # Panics
    /// Panics if there is no activation, or if `how` does not fit its state.
    // Inlined, as is everything between the embedder and the stack switch: when a guest is left, the
    // return-address predictor holds the guest's frames, so each host frame that is still to be returned from
    // costs a mispredicted return.
    #[inline(always)]
    pub fn resume(&mut self, how: Resume, slice: u64) -> Progress {
        let waiting = !self.inner().core.host_result.is_null();
        assert_eq!(
            waiting,
            !matches!(how, Resume::Continue),
            "only a suspended host call takes a result, and it must get one"
        );
        let budget = self.grant(slice);
        let failed = match how {
            Resume::Continue => None,
            Resume::Return(value) => {
                self.complete_host_call(value);
                None
            }
            Resume::Fail(error) => self.left_by(error),
        };
        let progress = match failed {
            Some(progress) => progress,
            None => self.run_on(),
        };
        let inner = self.inner_mut();
        // Saturating: an unverified module may charge any amount.
        let granted = budget.saturating_sub(std::mem::take(&mut inner.given_back));
        let used = granted.saturating_sub(inner.core.runtime.reductions).max(0) as u64;
        inner.reductions = inner.reductions.saturating_add(used);
        progress
    }

    /// Returns the results of the activation that has [returned](Progress::Returned).
    pub fn results(&self) -> &[Value] {
        &self.inner().results
    }

    /// Calls a function and runs it to its end, whatever it costs.
    ///
    /// # Errors
    /// Returns the trap that ended the call. If a host function suspends, the error is [`CannotWait`].
    pub fn call(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
    ) -> Result<Vec<Value>, Box<Trap>> {
        self.call_in_slices(instance, function, args, i64::MAX as u64)
    }

    /// Calls a function as [`Store::call`] does, in slices. With slices of 0, the guest yields at every
    /// charge.
    ///
    /// # Errors
    /// As [`Store::call`].
    pub fn call_in_slices(
        &mut self,
        instance: Instance,
        function: FuncIndex,
        args: &[Value],
        slice: u64,
    ) -> Result<Vec<Value>, Box<Trap>> {
        self.begin(instance, function, args).map_err(|error| Box::new(Trap::host(error.into())))?;
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

    /// Returns the frames on the suspended activation's stack, innermost first. Empty if there is no
    /// activation, or if it is in a bulk operation.
    pub fn backtrace(&self) -> Vec<Frame> {
        let core = &self.inner().core;
        if core.activation.is_none() {
            return Vec::new();
        }
        // SAFETY: the activation is suspended, so its stack does not change, and the walk stays within it.
        let pcs = unsafe { Pcs::walk(None, core.runtime.exit_frame, core.stack()) };
        self.with_outer_frames(core.frames(pcs.iter()))
    }

    /// Appends the frames of the outer calls to those of the innermost one.
    fn with_outer_frames(&self, mut frames: Vec<Frame>) -> Vec<Frame> {
        let core = &self.inner().core;
        for outer in self.inner().outer.iter().rev() {
            let (low, high) = outer.stack_range;
            // SAFETY: as in `backtrace`. An outer call is always suspended.
            let pcs = unsafe { Pcs::walk(None, outer.exit_frame, low..high) };
            frames.extend(core.frames(pcs.iter()));
        }
        frames
    }

    /// Prepares an activation and makes it the innermost one.
    fn enter(&mut self, instance: u32, function: FuncIndex, args: &[Value]) -> Result<(), InstantiateError> {
        let core = self.core();
        let inner = self.inner_mut();
        let module = Arc::as_ptr(&inner.core.instances[instance as usize].module);
        // SAFETY: the instance keeps the module alive, and no instance is dropped here. Cloning the `Arc`
        // would write to a cache line that all workers read.
        let module = unsafe { &*module };
        let ty = module.info.function_type(function.0);
        assert!(
            args.iter().map(Value::ty).eq(ty.params.iter().copied()),
            "the arguments must match the type {ty}"
        );
        let failed =
            |error: std::io::Error| InstantiateError::Exhausted(format!("no stack is available: {error}"));
        let stack = match inner.core.lend_own_stack() {
            Some(stack) => CallStack::Lent(stack),
            None => CallStack::Own(inner.take_stack().map_err(failed)?),
        };

        // References among the arguments may give the instance records of its own, so they are converted
        // before the record is read.
        let mut slots = std::mem::take(&mut inner.core.slots);
        slots.clear();
        slots.reserve_exact(ty.params.len().max(ty.results.len()));
        slots.extend(args.iter().map(|&arg| inner.core.raw(arg, instance)));
        slots.resize(ty.params.len().max(ty.results.len()), RawValue::default());
        inner.core.slots = slots;
        inner.result_types.clear();
        inner.result_types.extend_from_slice(&ty.results);
        inner.results.clear();
        inner.called = instance;
        inner.core.host_result = ptr::null_mut();

        let data = &inner.core.instances[instance as usize];
        // SAFETY: the record lives as long as its instance.
        let record = unsafe { *data.record(function.0) };
        let context = if record.context.is_null() { data.context() } else { record.context };
        let entry = module.entry(function.0);
        // Nothing can fail any more: from here on, the store's state is that of the new call.
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
        // SAFETY: the store drops its activations before everything that the target points to, and before its
        // own stack, which is lent to the outermost activation only. Code and trampoline have the function's
        // type. The slots are not touched before the activation ends: if it becomes an outer call, the vector
        // moves, but its content stays where it is.
        let activation = unsafe { Activation::new(stack, target) };
        inner.core.set_activation(activation);
        Ok(())
    }

    /// Decides what follows after native code was left: a result for the caller of `resume`, or `None` to run
    /// on.
    fn left(&mut self, leave: Leave) -> Option<Progress> {
        let ended = match leave {
            Leave::Yield => return Some(Progress::Yielded),
            Leave::Host => return self.host_waits(),
            Leave::Returned => self.returned(),
            Leave::Raised => Err(self.raised()),
            Leave::Faulted => Err(self.faulted()),
        };
        self.ended(ended)
    }

    /// A host function has suspended: for a call that it has requested, or for something outside of the
    /// store.
    fn host_waits(&mut self) -> Option<Progress> {
        let inner = self.inner_mut();
        if !std::mem::take(&mut inner.core.runtime.has_request) {
            return Some(Progress::Suspended);
        }
        let request = inner.request.take().expect("`has_request` says that there is one");
        let Request { instance, function, args, completion } = request;
        if inner.outer.len() >= MAX_DEPTH {
            let trap = Trap { kind: TrapKind::StackOverflow, backtrace: self.backtrace() };
            // The depth is exceeded: report it as a trap of the nested call, which the host function may catch.
            return self.complete(instance, completion, Err(Box::new(trap)));
        }
        let data = &inner.core.instances[instance as usize];
        let pointer = data.module.info.stack_pointer();
        let outer = OuterCall {
            activation: inner.core.activation.take().expect("a host function runs in an activation"),
            slots: std::mem::take(&mut inner.core.slots),
            result_types: std::mem::take(&mut inner.result_types),
            called: inner.called,
            host_result: inner.core.host_result,
            exit_frame: inner.core.runtime.exit_frame,
            yielder: inner.core.runtime.yielder,
            stack_limit: inner.core.stack_limit,
            stack_range: inner.core.stack_range.get(),
            completion,
            caller: instance,
            // SAFETY: nothing runs, and the cell lives as long as its instance.
            stack_pointer: pointer.map(|global| (global, unsafe { *data.global(global) })),
        };
        inner.outer.push(outer);
        match self.enter(instance, function, &args) {
            Ok(()) => None,
            Err(error) => self.ended(Err(Box::new(Trap::host(error.into())))),
        }
    }

    /// The innermost call has ended.
    fn ended(&mut self, ended: Result<(), Box<Trap>>) -> Option<Progress> {
        let inner = self.inner_mut();
        let Some(outer) = inner.outer.pop() else {
            // The outermost call has ended, so the store's own stack is free.
            inner.core.is_own_stack_lent = false;
            return Some(ended.map_or_else(Progress::Trapped, |()| Progress::Returned));
        };
        inner.core.set_activation(outer.activation);
        inner.core.slots = outer.slots;
        inner.result_types = outer.result_types;
        inner.called = outer.called;
        inner.core.host_result = outer.host_result;
        inner.core.runtime.exit_frame = outer.exit_frame;
        inner.core.runtime.yielder = outer.yielder;
        inner.core.set_stack_limit(outer.stack_limit);
        inner.core.stack_range.set(outer.stack_range);
        // A call that returned has restored its stack pointer itself.
        if let (Err(_), Some((global, value))) = (&ended, outer.stack_pointer) {
            let data = &inner.core.instances[outer.caller as usize];
            // SAFETY: nothing runs, and the cell lives as long as its instance.
            unsafe { data.global(global).write(value) };
        }
        self.complete(outer.caller, outer.completion, ended)
    }

    /// Completes the host function that requested a call, now that the call has ended.
    fn complete(
        &mut self,
        caller: u32,
        completion: Completion<T>,
        ended: Result<(), Box<Trap>>,
    ) -> Option<Progress> {
        let results = std::mem::take(&mut self.inner_mut().results);
        let instance = self.inner().core.instances[caller as usize].address();
        // SAFETY: nothing runs, and the caller is dropped before the store is used again.
        let answer = unsafe {
            Caller::run(self.inner, instance, |caller| completion(caller, ended.map(|()| results.as_slice())))
        };
        match answer {
            Ok(HostCall::Return(value)) => {
                self.complete_host_call(value);
                None
            }
            Ok(HostCall::Suspend) => self.host_waits(),
            Err(error) => self.left_by(error),
        }
    }

    fn complete_host_call(&mut self, value: RawValue) {
        let core = &mut self.inner_mut().core;
        // SAFETY: not null, because a host call of the activation is suspended: the routine has left the
        // address of its first slot, which is on the activation's stack.
        unsafe { core.host_result.write(value) };
        core.host_result = ptr::null_mut();
    }

    /// Decides what follows after a suspended host call failed, as [`Store::left`] does.
    #[cold]
    fn left_by(&mut self, error: HostError) -> Option<Progress> {
        self.inner_mut().core.host_error = Some(error);
        self.left(Leave::Raised)
    }

    /// Sets the counter to a slice, less the overshoot of the previous one.
    fn grant(&mut self, slice: u64) -> i64 {
        let runtime = &mut self.inner_mut().core.runtime;
        let slice = i64::try_from(slice).unwrap_or(i64::MAX);
        runtime.reductions = runtime.reductions.min(0).saturating_add(slice);
        runtime.reductions
    }

    /// Runs until there is something to report to the caller of `resume`.
    #[inline(always)] // See `resume`.
    fn run_on(&mut self) -> Progress {
        loop {
            let leave = self.run();
            // The most frequent outcome first, without the calls that follow.
            let waits = leave == Leave::Host && !self.inner().core.runtime.has_request;
            if waits {
                return Progress::Suspended;
            }
            if let Some(progress) = self.left(leave) {
                return progress;
            }
        }
    }

    #[inline(always)] // See `resume`.
    fn run(&mut self) -> Leave {
        crate::runtime::sys::fault::prepare_thread();
        self.inner_mut().core.note_thread();
        let core = self.core();
        // SAFETY: the activation is moved out while it runs, so that what the guest reaches through the store
        // does not overlap it. Until it is moved back, the rest of the store is reached by raw pointers.
        let mut activation = unsafe { (*core.as_ptr()).activation.take() }
            .expect("`resume` needs an activation: call `begin` first");
        let leave = trap::with_current(core.as_ptr(), || activation.resume());
        // SAFETY: as above. The field holds no value that needs to be dropped.
        unsafe { (&raw mut (*core.as_ptr()).activation).write(Some(activation)) };
        leave
    }

    fn returned(&mut self) -> Result<(), Box<Trap>> {
        let inner = self.inner_mut();
        inner.core.activation = None;
        let (core, called) = (&inner.core, inner.called);
        let raw = inner.result_types.iter().zip(&core.slots);
        inner.results = raw.map(|(&ty, &raw)| core.value(ty, raw, called)).collect();
        Ok(())
    }

    fn raised(&mut self) -> Box<Trap> {
        let backtrace = self.backtrace();
        let core = &mut self.inner_mut().core;
        core.activation = None;
        core.host_result = ptr::null_mut();
        let error = core.host_error.take().unwrap_or_else(|| HostPanic("no message".into()).into());
        Box::new(Trap { kind: TrapKind::Host(error), backtrace })
    }

    fn faulted(&mut self) -> Box<Trap> {
        let core = &mut self.inner_mut().core;
        core.activation = None;
        // The counter was in a register, and the stored value is older: count the slice as used up. A trap
        // never costs less than what was used.
        core.runtime.reductions = core.runtime.reductions.min(0);
        let fault = trap::take_fault().expect("the fault handler has recorded the fault");
        let backtrace = core.frames(fault.pcs.iter());
        Box::new(Trap { kind: TrapKind::from(fault.code), backtrace: self.with_outer_frames(backtrace) })
    }
}

impl<T> StoreInner<T> {
    /// Drops the activations, innermost first. Nothing on their stacks needs to be dropped, but native frames
    /// must not outlive what they point to.
    pub(super) fn drop_activations(&mut self) {
        self.core.activation = None;
        while self.outer.pop().is_some() {}
    }
}
