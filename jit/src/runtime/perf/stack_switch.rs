//! Calls host functions on the stack of the worker that runs an activation.
//!
//! It does what `Exit::on_parent_stack` does, for the call that is made several times for each message: no
//! closure is written to memory for the other side to read, nor a result on the way back, and the function is
//! called directly.

use crate::environ::value::RawValue;
use crate::runtime::vm::activation::Exit;
use crate::runtime::vm::libcalls::{Context, Dispatched, HostEntry};

/// Calls a host function on the worker's stack.
///
/// # Safety
/// `exit` is the running activation's. Otherwise as [`HostCode`](crate::runtime::vm::libcalls::HostCode)
/// requires.
#[cfg(all(target_arch = "x86_64", unix, not(any(miri, address_sanitizer, feature = "plain"))))]
#[inline]
pub(crate) unsafe fn call(
    exit: *const Exit,
    entry: &HostEntry,
    context: Context,
    slots: *mut RawValue,
) -> Dispatched {
    // SAFETY: an exit is one word, the worker's stack pointer at the moment of the switch (a test checks
    // this, and the version of corosensei is pinned). The memory below it is free. The function does not
    // unwind.
    unsafe {
        let stack = exit.cast::<usize>().read() & !15;
        switch_and_call(entry.function, context, slots, stack, entry.call)
    }
}

/// Switches stacks and calls. The first three arguments are the function's, and stay in their registers.
///
/// # Safety
/// As for [`call`].
#[cfg(all(target_arch = "x86_64", unix, not(any(miri, address_sanitizer, feature = "plain"))))]
#[unsafe(naked)]
unsafe extern "C" fn switch_and_call(
    function: *const (),
    context: Context,
    slots: *mut RawValue,
    stack: usize,
    call: crate::runtime::vm::libcalls::HostCode,
) -> Dispatched {
    // The directives let debuggers and backtraces find the process's frames behind this one.
    core::arch::naked_asm!(
        ".cfi_startproc",
        "push rbp",
        ".cfi_def_cfa_offset 16",
        ".cfi_offset rbp, -16",
        "mov rbp, rsp",
        ".cfi_def_cfa_register rbp",
        "mov rsp, rcx",
        "call r8",
        "mov rsp, rbp",
        "pop rbp",
        ".cfi_def_cfa rsp, 8",
        "ret",
        ".cfi_endproc",
    )
}

/// Calls a host function on the worker's stack: the plain path.
///
/// # Safety
/// As above.
#[cfg(not(all(target_arch = "x86_64", unix, not(any(miri, address_sanitizer, feature = "plain")))))]
#[inline]
pub(crate) unsafe fn call(
    exit: *const Exit,
    entry: &HostEntry,
    context: Context,
    slots: *mut RawValue,
) -> Dispatched {
    let (entry, context, slots) = (&raw const *entry as usize, context as usize, slots as usize);
    let run = move || {
        // SAFETY: by the contract. The entry is borrowed for longer than this call.
        unsafe {
            let entry = &*(entry as *const HostEntry);
            (entry.call)(entry.function, context as Context, slots as *mut RawValue)
        }
    };
    // SAFETY: by the contract.
    unsafe { &*exit }.on_parent_stack(run)
}

#[cfg(test)]
mod tests {
    use corosensei::{Coroutine, CoroutineResult};

    use super::*;
    use crate::runtime::vm::activation::Leave;

    /// Returns an address in the caller's frame, or below it.
    #[inline(never)]
    fn here() -> usize {
        let local = 0u8;
        std::hint::black_box(&raw const local).addr()
    }

    #[test]
    #[cfg_attr(miri, ignore = "it changes stacks")]
    fn a_yielder_is_the_stack_pointer_of_the_resuming_thread() {
        let mut coroutine = Coroutine::<(), Leave, Leave>::new(|exit, ()| {
            for _ in 0..2 {
                // SAFETY: an exit is at least a word in size, as the test asserts.
                let stack = unsafe { (exit as *const Exit).cast::<usize>().read() };
                let beneath = exit.on_parent_stack(here);
                assert!(beneath < stack && stack - beneath < 4096, "{beneath:x} is just beneath {stack:x}");
                exit.suspend(Leave::Yield);
            }
            Leave::Returned
        });
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(_)));
        // Resumed from deeper on the stack, the pointer is another one.
        let deeper = std::hint::black_box([0u8; 8192]);
        assert!(matches!(coroutine.resume(()), CoroutineResult::Yield(_)));
        assert!(matches!(coroutine.resume(()), CoroutineResult::Return(Leave::Returned)));
        assert_eq!((size_of::<Exit>(), deeper[0]), (size_of::<usize>(), 0));
    }
}
