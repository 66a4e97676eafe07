//! [`Caller`]: a host call as the host sees it.

use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::NonNull;

use super::call::Request;
use super::{Instance, StoreInner};
use crate::environ::value::{RawValue, Value};
use crate::runtime::error::{HostError, Trap};
use crate::runtime::loaded_module::FuncIndex;
use crate::runtime::module::Module;
use crate::runtime::vm::instance::InstanceData;
use crate::runtime::vm::libcalls::{Context, Dispatched};

/// The outcome of a host function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostCall<R> {
    /// The function returns this result.
    Return(R),
    /// The guest waits for the result, which the embedder passes to [`Store::resume`](crate::Store::resume).
    Suspend,
}

/// The error of a host function that panicked. It ends the guest; the host continues.
#[derive(Debug, thiserror::Error)]
#[error("a host function panicked: {0}")]
pub struct HostPanic(pub(super) String);

/// The guest that called a host function, as the function sees it.
pub struct Caller<'a, T> {
    inner: NonNull<StoreInner<T>>,
    instance: NonNull<InstanceData>,
    _store: PhantomData<&'a mut T>,
}

impl<T> Caller<'_, T> {
    /// Returns the embedder's data.
    pub fn data(&self) -> &T {
        &self.inner().data
    }

    /// Returns the embedder's data.
    pub fn data_mut(&mut self) -> &mut T {
        &mut self.inner_mut().data
    }

    /// Returns the memory that the calling instance exports as `memory`, together with the embedder's data.
    /// `None` if the instance exports no such memory.
    pub fn memory_and_data(&mut self) -> Option<(&mut [u8], &mut T)> {
        // SAFETY: the guest is stopped in this call, and the caller stands for exclusive access to its store.
        // The instance's memory and the data are different parts of the store, and neither is reached through
        // the other.
        unsafe {
            let memory = (*self.instance.as_ptr()).main_memory_bytes()?;
            Some((memory, &mut (*self.inner.as_ptr()).data))
        }
    }

    /// Returns the memory that the calling instance exports as `memory`; `None` if it exports no such memory.
    pub fn memory(&mut self) -> Option<&mut [u8]> {
        self.memory_and_data().map(|(memory, _)| memory)
    }

    /// Returns the calling instance.
    pub fn instance(&self) -> Instance {
        Instance(self.instance_data().index)
    }

    /// Returns the module of the calling instance.
    pub fn module(&self) -> Module {
        Module { inner: self.instance_data().module.clone() }
    }

    /// Charges the guest for work done in the host. If this uses up the slice, the guest yields at its next
    /// charge.
    pub fn charge(&mut self, reductions: u64) {
        let counter = &mut self.inner_mut().core.runtime.reductions;
        *counter = counter.saturating_sub_unsigned(reductions);
    }

    /// Makes the guest yield at its next charge. The rest of its slice counts as unused.
    pub fn end_slice(&mut self) {
        let inner = self.inner_mut();
        let left = inner.core.runtime.reductions.max(0);
        inner.core.runtime.reductions -= left;
        inner.given_back = inner.given_back.saturating_add(left);
    }

    /// Requests a call of a function of the calling instance. Return the result of this method from the host
    /// function: `return caller.call_guest(…)`. The guest is then suspended in this host call, and the new
    /// call runs on a stack of its own, in slices and with suspensions like any other. When it ends,
    /// `completion` receives its results, or the trap that ended it, and decides the result of the host
    /// function.
    ///
    /// A trap leaves the instance as it was at that moment, except for the stack pointer that LLVM keeps in a
    /// global named `__stack_pointer`: it is reset to its value before the call.
    ///
    /// Calls can be nested 64 deep. A deeper call ends with
    /// [`StackOverflow`](crate::TrapKind::StackOverflow).
    ///
    /// # Panics
    /// Panics if the arguments do not match the function's type.
    pub fn call_guest<R>(
        &mut self,
        function: FuncIndex,
        args: &[Value],
        completion: impl FnOnce(
            &mut Caller<'_, T>,
            Result<&[Value], Box<Trap>>,
        ) -> Result<HostCall<RawValue>, HostError>
        + Send
        + 'static,
    ) -> HostCall<R> {
        let module = self.module();
        let ty = module.function_type(function);
        assert!(
            args.iter().map(Value::ty).eq(ty.params.iter().copied()),
            "the arguments must match the type {ty}"
        );
        let instance = self.instance_data().index;
        let inner = self.inner_mut();
        inner.core.runtime.has_request = true;
        inner.request =
            Some(Request { instance, function, args: args.to_vec(), completion: Box::new(completion) });
        HostCall::Suspend
    }

    /// Runs a host function for native code.
    ///
    /// # Safety
    /// The context's store is a `Store<T>`, its guest is stopped in a call of the context's instance, and
    /// nothing else refers to the store meanwhile.
    #[inline(always)] // Once for each host function.
    pub(crate) unsafe fn answer(
        context: Context,
        f: impl FnOnce(&mut Caller<'_, T>) -> Result<HostCall<()>, HostError>,
    ) -> Dispatched {
        // SAFETY: by the contract. A context leads to its instance and to its store.
        unsafe {
            let inner = NonNull::new_unchecked((*(*context).runtime).store as *mut StoreInner<T>);
            let instance = NonNull::new_unchecked((*context).instance.cast());
            match Caller::run(inner, instance, f) {
                Ok(HostCall::Return(())) => Dispatched::Returned,
                Ok(HostCall::Suspend) => Dispatched::Suspend,
                Err(error) => (*inner.as_ptr()).core.raise(error),
            }
        }
    }

    /// Runs a closure on behalf of a host function that an instance has called. A panic becomes an error.
    ///
    /// # Safety
    /// The store and the instance exist, the guest is stopped, and nothing else refers to the store
    /// meanwhile.
    #[inline(always)] // As above.
    pub(super) unsafe fn run<R>(
        inner: NonNull<StoreInner<T>>,
        instance: NonNull<InstanceData>,
        f: impl FnOnce(&mut Caller<'_, T>) -> Result<HostCall<R>, HostError>,
    ) -> Result<HostCall<R>, HostError> {
        let answer =
            catch_unwind(AssertUnwindSafe(|| f(&mut Caller { inner, instance, _store: PhantomData })));
        let answer = answer.unwrap_or_else(|panic| Err(HostPanic(panic_message(&*panic)).into()));
        // A host function that requests a call and then does not suspend has dropped the request. SAFETY: by
        // the contract.
        unsafe {
            if (*inner.as_ptr()).core.runtime.has_request && !matches!(answer, Ok(HostCall::Suspend)) {
                (*inner.as_ptr()).forget_request();
            }
        }
        answer
    }

    fn instance_data(&self) -> &InstanceData {
        // SAFETY: as in `inner`.
        unsafe { self.instance.as_ref() }
    }

    fn inner(&self) -> &StoreInner<T> {
        // SAFETY: the guest is stopped in this call, and the caller stands for exclusive access to its store.
        unsafe { self.inner.as_ref() }
    }

    fn inner_mut(&mut self) -> &mut StoreInner<T> {
        // SAFETY: as above.
        unsafe { self.inner.as_mut() }
    }
}

impl<T> fmt::Debug for Caller<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("instance", &self.instance()).finish_non_exhaustive()
    }
}

impl<T> StoreInner<T> {
    #[cold]
    fn forget_request(&mut self) {
        self.core.runtime.has_request = false;
        self.request = None;
    }
}

#[cold]
fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| text.to_string());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no message".into())
}
