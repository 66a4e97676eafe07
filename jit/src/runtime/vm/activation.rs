//! One call into the guest, on a stack of its own: it can be left in the middle, taken up by another thread, or
//! dropped where it stands.
//!
//! **The invariant of the process stack:** no frame on it owns anything that must be dropped, none uses
//! thread-local state, and none keeps an address of the thread it runs on across a suspension. That is why an
//! activation may be dropped without unwinding, and resumed anywhere. On it live: the closure below, guest
//! frames, trampolines, and the routines of `libcalls`.

use corosensei::{Coroutine, CoroutineResult, Yielder};

use super::stack::CallStack;
use crate::environ::vm_layout::{VmContextHead, VmRuntime};

/// Why native code was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// The slice is used up. It goes on when resumed.
    Yield,
    /// A host function suspends. It goes on when resumed, with the result in place.
    Host,
    /// A host function raised an error. It is never resumed.
    Raised,
    /// The guest function returned.
    Returned,
    /// A hardware fault, already recorded.
    Faulted,
}

/// The way out of a running activation.
pub(crate) type Exit = Yielder<(), Leave>;

/// The type of an entry trampoline.
///
/// # Safety
/// It is the trampoline for the code's type, and there is a slot for each argument and result.
type Entry = unsafe extern "C" fn(*mut VmContextHead, *const u8, *mut crate::environ::value::RawValue);

/// What to call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The entry trampoline of the function's type.
    pub(crate) entry: *const u8,
    pub(crate) context: *mut VmContextHead,
    pub(crate) code: *const u8,
    /// Arguments, then results.
    pub(crate) slots: *mut crate::environ::value::RawValue,
    pub(crate) runtime: *mut VmRuntime,
}

/// A call into the guest that has not ended.
pub(crate) struct Activation {
    /// Always there, but for the moment of its drop.
    coroutine: Option<Coroutine<(), Leave, Leave, CallStack>>,
}

impl Activation {
    /// Prepares a call; nothing runs before [`Activation::resume`].
    ///
    /// # Safety
    /// All pointers of the target are valid until the activation is dropped, the entry trampoline is the one for the
    /// code's type, and a stack that is lent exists until then and is lent to no one else.
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

    /// How a fault handler gets back to whoever resumed.
    pub(crate) fn trap_handler(&self) -> corosensei::trap::CoroutineTrapHandler<Leave> {
        self.coroutine.as_ref().expect("it is taken only by drop").trap_handler()
    }

    #[inline]
    fn coroutine(&mut self) -> &mut Coroutine<(), Leave, Leave, CallStack> {
        self.coroutine.as_mut().expect("it is taken only by drop")
    }
}

impl Drop for Activation {
    fn drop(&mut self) {
        if let Some(mut coroutine) = self.coroutine.take() {
            if coroutine.started() && !coroutine.done() {
                // SAFETY: nothing on the stack needs to be dropped: the invariant at the head of this file.
                unsafe { coroutine.force_reset() };
            }
            drop(coroutine);
        }
    }
}
