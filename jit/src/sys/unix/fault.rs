//! Synchronous faults: SIGILL and SIGFPE, which is how native code traps.
//!
//! Handlers run on an alternate stack per thread. A fault that is not the guest's goes to the previous handler.

use std::cell::RefCell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::Mapping;
use crate::vm::trap;

const SIGNALS: [libc::c_int; 2] = [libc::SIGILL, libc::SIGFPE];

/// Bytes of a thread's alternate stack: a signal frame with all vector registers, and ample room for ours.
const ALTERNATE_STACK: usize = 64 << 10;

type Previous = [libc::sigaction; SIGNALS.len()];
static PREVIOUS: OnceLock<Previous> = OnceLock::new();

/// Installs the handlers, once for all engines.
pub(crate) fn install() {
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: the structures are plain data, valid when zeroed; the handler has the type that
            // SA_SIGINFO asks for.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = handler as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
                let mut previous = MaybeUninit::zeroed();
                let failed = libc::sigaction(signal, &action, previous.as_mut_ptr());
                assert_eq!(failed, 0, "the signal exists and the action is valid");
                previous.assume_init()
            }
        })
    });
}

/// Gives this thread an alternate signal stack, once.
pub(crate) fn prepare_thread() {
    thread_local! {
        static STACK: RefCell<Option<AlternateStack>> = const { RefCell::new(None) };
    }
    STACK.with_borrow_mut(|stack| {
        if stack.is_none() {
            *stack = AlternateStack::install();
        }
    });
}

struct AlternateStack {
    previous: libc::stack_t,
    _memory: Mapping,
}

impl AlternateStack {
    fn install() -> Option<AlternateStack> {
        let memory = Mapping::new(ALTERNATE_STACK).ok()?;
        let stack = libc::stack_t { ss_sp: memory.address() as *mut _, ss_flags: 0, ss_size: memory.size() };
        let mut previous = MaybeUninit::zeroed();
        // SAFETY: the memory is mapped and stays so until the previous stack is back in place.
        let failed = unsafe { libc::sigaltstack(&stack, previous.as_mut_ptr()) } != 0;
        // SAFETY: zeroed or filled by the call.
        (!failed).then(|| AlternateStack { previous: unsafe { previous.assume_init() }, _memory: memory })
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: the previous stack is the one that the thread had before; it belongs to the standard library.
        unsafe {
            libc::sigaltstack(&self.previous, ptr::null_mut());
        }
    }
}

unsafe extern "C" fn handler(signal: libc::c_int, _: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO the third argument is the interrupted context.
    let context = unsafe { &mut *context.cast::<libc::ucontext_t>() };
    let (pc, sp, frame) = registers(context);
    match trap::handle(pc, sp, frame) {
        Some(registers) => redirect(context, registers),
        None => pass_on(signal),
    }
}

/// Restores the previous action: the fault happens again, and that takes it.
fn pass_on(signal: libc::c_int) {
    if let Some(previous) = PREVIOUS.get() {
        let index = SIGNALS.iter().position(|&s| s == signal).unwrap_or(0);
        // SAFETY: the action is the one that was installed before ours.
        unsafe {
            libc::sigaction(signal, &previous[index], ptr::null_mut());
        }
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn registers(context: &libc::ucontext_t) -> (usize, usize, usize) {
    let registers = &context.uc_mcontext.gregs;
    let get = |index: libc::c_int| registers[index as usize] as usize;
    (get(libc::REG_RIP), get(libc::REG_RSP), get(libc::REG_RBP))
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
fn redirect(context: &mut libc::ucontext_t, to: corosensei::trap::TrapHandlerRegs) {
    let registers = &mut context.uc_mcontext.gregs;
    let mut set = |index: libc::c_int, value: u64| registers[index as usize] = value as i64;
    set(libc::REG_RIP, to.rip);
    set(libc::REG_RSP, to.rsp);
    set(libc::REG_RBP, to.rbp);
    set(libc::REG_RDI, to.rdi);
    set(libc::REG_RSI, to.rsi);
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn registers(context: &libc::ucontext_t) -> (usize, usize, usize) {
    let machine = &context.uc_mcontext;
    (machine.pc as usize, machine.sp as usize, machine.regs[29] as usize)
}

#[cfg(all(target_os = "linux", target_arch = "aarch64"))]
fn redirect(context: &mut libc::ucontext_t, to: corosensei::trap::TrapHandlerRegs) {
    let machine = &mut context.uc_mcontext;
    machine.pc = to.pc;
    machine.sp = to.sp;
    machine.regs[0] = to.x0;
    machine.regs[1] = to.x1;
    machine.regs[29] = to.x29;
    machine.regs[30] = to.lr;
}
