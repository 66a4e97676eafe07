//! Synchronous faults: SIGILL, SIGFPE, SIGSEGV and SIGBUS, by which native code traps.
//!
//! Handlers run on an alternate stack for each thread. A fault that is not the guest's goes to the previous
//! handler. Our handler stays installed if that one returns, because another runtime in the same process may
//! rely on such faults.

use std::cell::{Cell, RefCell};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;

use super::Mapping;
use crate::runtime::sys::fault_handler::{FaultContext, FaultHandler};

const SIGNALS: [libc::c_int; 4] = [libc::SIGILL, libc::SIGFPE, libc::SIGSEGV, libc::SIGBUS];

/// The size of a thread's alternate stack: a signal frame with all vector registers, and ample room for the
/// handler.
const ALTERNATE_STACK: usize = 64 << 10;

type Previous = [libc::sigaction; SIGNALS.len()];
static PREVIOUS: OnceLock<Previous> = OnceLock::new();

/// Decides about a fault.
static HANDLER: OnceLock<FaultHandler> = OnceLock::new();

/// Installs the signal handlers, once for all engines. `handler` decides about each fault.
pub(crate) fn install(handler: FaultHandler) {
    HANDLER.get_or_init(|| handler);
    PREVIOUS.get_or_init(|| {
        SIGNALS.map(|signal| {
            // SAFETY: the structures are plain data, for which zeroes are valid. The handler has the type
            // that SA_SIGINFO requires.
            unsafe {
                let mut action: libc::sigaction = MaybeUninit::zeroed().assume_init();
                action.sa_sigaction = on_signal as *const () as usize;
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
#[inline]
pub(crate) fn prepare_thread() {
    thread_local! {
        /// Without a destructor, so that reading it is a plain load: it is read whenever a guest is resumed.
        static IS_READY: Cell<bool> = const { Cell::new(false) };
    }
    if !IS_READY.get() {
        IS_READY.set(install_alternate_stack());
    }
}

#[cold]
fn install_alternate_stack() -> bool {
    thread_local! {
        static STACK: RefCell<Option<AlternateStack>> = const { RefCell::new(None) };
    }
    STACK.set(AlternateStack::install());
    STACK.with_borrow(Option::is_some)
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
        // SAFETY: the memory is mapped, and stays mapped until the previous stack is restored.
        let failed = unsafe { libc::sigaltstack(&stack, previous.as_mut_ptr()) } != 0;
        // SAFETY: zeroed before, and filled by the call.
        (!failed).then(|| AlternateStack { previous: unsafe { previous.assume_init() }, _memory: memory })
    }
}

impl Drop for AlternateStack {
    fn drop(&mut self) {
        // SAFETY: the previous stack is the one that the thread had before. It belongs to the standard
        // library.
        unsafe {
            libc::sigaltstack(&self.previous, ptr::null_mut());
        }
    }
}

/// # Safety
/// Only the system calls it, for a signal that it is installed for.
unsafe extern "C" fn on_signal(
    signal: libc::c_int,
    information: *mut libc::siginfo_t,
    context: *mut libc::c_void,
) {
    // SAFETY: with SA_SIGINFO, the third argument is the interrupted context. It is not borrowed beyond this
    // block.
    let redirected = unsafe {
        let context = &mut *context.cast::<libc::ucontext_t>();
        let (pc, sp, frame) = registers(context);
        let is_access = matches!(signal, libc::SIGSEGV | libc::SIGBUS);
        let access = is_access.then(|| (*information).si_addr() as usize);
        // Set before the signal handlers were installed.
        let handle = HANDLER.get();
        let to = handle.and_then(|handle| handle(FaultContext { pc, sp, frame, access }));
        to.map(|to| redirect(context, to)).is_some()
    };
    if !redirected {
        // SAFETY: the arguments are those that the system has passed.
        unsafe { pass_on(signal, information, context) };
    }
}

/// Passes the signal to the previous handler.
///
/// # Safety
/// The arguments are those of a running signal handler.
unsafe fn pass_on(signal: libc::c_int, information: *mut libc::siginfo_t, context: *mut libc::c_void) {
    // Not set while `install` runs: return, and the fault happens again.
    let Some(previous) = PREVIOUS.get() else { return };
    let previous = &previous[SIGNALS.iter().position(|&known| known == signal).unwrap_or(0)];
    match previous.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => {
            // Neither is a valid answer to a fault, so take the default action, which ends the process. The
            // signal is blocked while its handler runs: a signal that was sent, and would not happen again,
            // arrives when this handler returns. SAFETY: the default action is always valid, and both calls
            // are async-signal-safe.
            unsafe {
                let mut default: libc::sigaction = MaybeUninit::zeroed().assume_init();
                default.sa_sigaction = libc::SIG_DFL;
                libc::sigaction(signal, &default, ptr::null_mut());
                libc::raise(signal);
            }
        }
        handler if previous.sa_flags & libc::SA_SIGINFO != 0 => {
            type Informed = unsafe extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void);
            // SAFETY: with SA_SIGINFO, the address is that of a handler of this type. The arguments are our
            // own.
            unsafe { std::mem::transmute::<usize, Informed>(handler)(signal, information, context) }
        }
        handler => {
            // SAFETY: without SA_SIGINFO, the address is that of a handler of this type.
            unsafe { std::mem::transmute::<usize, unsafe extern "C" fn(libc::c_int)>(handler)(signal) }
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
