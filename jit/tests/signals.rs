//! Faults that are not the guest's are passed on. In a test binary of its own, because signal handlers belong
//! to the process.
#![cfg(unix)]

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use lunatic_jit::{
    Caller, CompileOptions, Engine, EngineConfig, Linker, MemoryLayout, Module, Store, StoreLimits, TrapKind,
};

/// Set in the child processes of the tests.
const ROLE: &str = "LUNATIC_JIT_SIGNAL_ROLE";

/// The program that runs executables, if the system cannot.
const RUNNER: &str = "LUNATIC_TEST_RUNNER";

static SEEN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn count(_: libc::c_int) {
    SEEN.fetch_add(1, Ordering::Relaxed);
}

fn raise() {
    // SAFETY: the handler of the signal returns, or ends the process.
    unsafe { libc::raise(libc::SIGILL) };
}

/// A guest that traps, before and after its host function raises the signal that traps use.
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

/// Runs a test of this file in a child process, and returns its output.
fn again(test: &str) -> std::process::Output {
    again_as(test, "child")
}

fn again_as(test: &str, role: &str) -> std::process::Output {
    let this = std::env::current_exe().unwrap().into_os_string();
    // The arguments of an emulator, if the system cannot run the executable.
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut command = runner.split_whitespace().map(Into::into).chain([this]);
    Command::new(command.next().unwrap())
        .args(command)
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .output()
        .unwrap()
}

fn is_child() -> bool {
    std::env::var_os(ROLE).is_some()
}

#[test]
fn a_previous_handler_gets_other_faults_and_guests_still_trap() {
    if is_child() {
        // SAFETY: the handler only counts.
        unsafe { libc::signal(libc::SIGILL, count as *const () as libc::sighandler_t) };
        run_guest();
        assert_eq!(SEEN.load(Ordering::Relaxed), 2);
        return;
    }
    let output = again("a_previous_handler_gets_other_faults_and_guests_still_trap");
    assert!(output.status.success(), "{output:?}");
}

/// HOSTILE 36.
#[test]
fn without_a_previous_handler_the_signal_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    if is_child() {
        return run_guest();
    }
    let output = again("without_a_previous_handler_the_signal_ends_the_process");
    assert_eq!(output.status.signal(), Some(libc::SIGILL), "{output:?}");
}

/// A guest whose host function reads an unmapped address, or one in the guest's own guarded memory. A guest's
/// fault may have either address, but here the code is not a guest's.
fn run_wild(guarded: bool) {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let options = CompileOptions { memory: MemoryLayout::Reserved, untrusted: true };
    let wat = r#"(module (import "h" "wild" (func $wild (result i32))) (memory (export "memory") 1)
        (func (export "fault") (drop (i32.load (i32.const 65536))))
        (func (export "wild") (drop (call $wild))))"#;
    let module = Module::compile_with(&engine, &wat::parse_str(wat).unwrap(), options).unwrap();
    let mut linker = Linker::<bool>::new();
    linker.func("h", "wild", |caller: &mut Caller<'_, bool>| -> u32 {
        let guarded = *caller.data();
        let memory = caller.memory().unwrap();
        let behind = if guarded { memory.as_ptr_range().end } else { std::ptr::without_provenance(8) };
        // SAFETY: none. This is the bug of a host that must not be taken for the guest's.
        let byte = unsafe { behind.read_volatile() };
        byte.into()
    });
    let mut store = Store::new(&engine, guarded, StoreLimits::default());
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    let mut call = |name| store.call(instance, module.exported_function(name).unwrap(), &[]);
    let trap = call("fault").unwrap_err();
    assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{trap}");
    println!("{REACHED}");
    let _ = call("wild");
}

/// Written by the child just before the bad access.
const REACHED: &str = "the guest's own fault was a trap";

/// HOSTILE 36: the process aborts; the fault is never turned into a trap.
#[test]
fn a_host_functions_wild_access_ends_the_process() {
    use std::os::unix::process::ExitStatusExt;
    const TEST: &str = "a_host_functions_wild_access_ends_the_process";
    if let Some(role) = std::env::var_os(ROLE) {
        return run_wild(role == "guarded");
    }
    for role in ["unmapped", "guarded"] {
        let output = again_as(TEST, role);
        assert_eq!(output.status.signal(), Some(libc::SIGSEGV), "{role}: {output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(REACHED), "{role}: {output:?}");
    }
}
