//! Faults that are not the guest's are none of the engine's business. Alone in its process: signal handlers are
//! the process's.
#![cfg(unix)]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use lunatic_jit::{Caller, Engine, EngineConfig, Linker, Module, Store, StoreLimits, TrapKind};

/// Set in the processes that the tests start.
const ROLE: &str = "LUNATIC_JIT_SIGNAL_ROLE";

static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

fn raise() {
    // SAFETY: whoever handles the signal returns or ends the process.
    unsafe { libc::raise(libc::SIGILL) };
}

/// A guest that traps, before and after its host function raises the signal that traps are made of.
fn run_guest() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wat = r#"(module (import "h" "raise" (func $raise)) (func (export "trap") unreachable)
        (func (export "raise") (call $raise) unreachable))"#;
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let mut linker = Linker::<()>::new();
    linker.func("h", "raise", |_: &mut Caller<'_, ()>| raise());
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    for name in ["trap", "raise", "trap", "raise"] {
        let trap = store.call(instance, module.exported_function(name).unwrap(), &[]).unwrap_err();
        assert!(matches!(trap.kind, TrapKind::Unreachable), "{name}: {trap}");
    }
}

/// Runs the named test of this file again in a process of its own; its exit status, and what it wrote.
fn again(test: &str) -> std::process::Output {
    let this = std::env::current_exe().unwrap();
    Command::new(this).args(["--exact", test, "--nocapture"]).env(ROLE, "child").output().unwrap()
}

fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[test]
fn an_earlier_handler_gets_what_is_not_the_guests_and_guests_still_trap() {
    if is_child() {
        // SAFETY: the handler only counts.
        unsafe { libc::signal(libc::SIGILL, count as *const () as libc::sighandler_t) };
        run_guest();
        assert_eq!(SEEN.load(Ordering::Relaxed), 2);
        return;
    }
    let output = again("an_earlier_handler_gets_what_is_not_the_guests_and_guests_still_trap");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn without_one_the_process_ends_by_the_signal() {
    use std::os::unix::process::ExitStatusExt;
    if is_child() {
        return run_guest();
    }
    let output = again("without_one_the_process_ends_by_the_signal");
    assert_eq!(output.status.signal(), Some(libc::SIGILL), "{output:?}");
}
