//! One call into the guest, on a stack of its own. It can be left in the middle, continued by another thread,
//! or dropped.
//!
//! **The invariant of the process stack:** no frame on it owns a value that must be dropped, uses
//! thread-local state, or keeps an address of its thread across a suspension. So an activation can be dropped
//! without unwinding, and resumed on any thread. On the stack are the closure below, guest frames,
//! trampolines, and the routines of `libcalls`.

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::stack::CallStack;
use crate::environ::vm_layout::{VmContextHead, VmRuntime};

/// Why native code was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The slice is used up. The activation can be resumed.
    Yield,
    /// A host function suspends. The activation can be resumed once the result is in place.
    Host,
    /// A host function raised an error. The activation is never resumed.
    Raised,
    /// The guest function returned.
    Returned,
    /// A hardware fault, which the fault handler has recorded.
    Faulted,
}

/// What a running activation suspends through.
pub(crate) type Exit = Yielder<(), Leave>;

/// The type of an entry trampoline.
///
/// # Safety
/// The trampoline is the one for the code's type, and there is a slot for each argument and result.
type Entry = unsafe extern "C" fn(*mut VmContextHead, *const u8, *mut crate::environ::value::RawValue);

/// The function to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The entry trampoline of the function's type.
    pub(crate) entry: *const u8,
    pub(crate) context: *mut VmContextHead,
    pub(crate) code: *const u8,
    /// The arguments, and after the call the results.
    pub(crate) slots: *mut crate::environ::value::RawValue,
    pub(crate) runtime: *mut VmRuntime,
}

/// A call into the guest that has not ended.
pub(crate) struct Activation {
    /// `None` only during drop.
    coroutine: Option<Coroutine<(), Leave, Leave, CallStack>>,
}

impl Activation {
    /// Prepares a call. Nothing runs before [`Activation::resume`].
    ///
    /// # Safety
    /// All pointers of the target are valid until the activation is dropped, the entry trampoline is the one
    /// for the code's type, and a lent stack exists until then and is lent to no other activation.
    pub(crate) unsafe fn new(stack: CallStack, target: Target) -> Activation {
        let body = move |exit: &Exit, ()| {
            // SAFETY: an entry trampoline has this type.
            let entry: Entry = unsafe { std::mem::transmute(target.entry) };
            // SAFETY: the target is valid by the contract of `new`.
            unsafe {
                (*target.runtime).yielder = exit as *const Exit as usize;
                entry(target.context, target.code, target.slots);
            }
            Leave::Returned
        };
        Activation { coroutine: Some(Coroutine::with_stack(stack, body)) }
    }

    /// Runs until native code is left.
    #[inline]
    pub(crate) fn resume(&mut self) -> Leave {
        match self.coroutine().resume(()) {
            CoroutineResult::Yield(leave) | CoroutineResult::Return(leave) => leave,
        }
    }

    /// Returns how a fault handler gets back to the caller of `resume`.
    pub(crate) fn trap_handler(&self) -> corosensei::trap::CoroutineTrapHandler<Leave> {
        self.coroutine.as_ref().expect("the coroutine is taken only by drop").trap_handler()
    }

    #[inline]
    fn coroutine(&mut self) -> &mut Coroutine<(), Leave, Leave, CallStack> {
        self.coroutine.as_mut().expect("the coroutine is taken only by drop")
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take() {
            if coroutine.started() && !coroutine.done() {
                // SAFETY: no value on the stack needs to be dropped: see the invariant at the head of this
                // file.
                unsafe { coroutine.force_reset() };
            }
            drop(coroutine);
        }
    }
}
