//! A host function calls the guest back. Traps of the nested call are reported to the host function, and
//! everything else that a call can do (yield, suspend, move, be dropped, call back again) works in the nested
//! call too.

mod metered;

use lunatic_jit::{
    Caller, CannotWait, Engine, EngineConfig, HostCall, HostError, Instance, Linker, Module, Progress,
    RawValue, Resume, Store, StoreLimits, TrapKind, Value,
};
use metered::{CHARGE, METERING};

/// The result of `catch` for a call that trapped.
const CAUGHT: u64 = 1000;

/// The kinds of trap that were caught, in order.
type Caught = Vec<String>;

/// The error that `h.raise` raises, and that `catch` does not catch.
#[derive(Debug, thiserror::Error)]
#[error("raised")]
struct Raised;

/// Calls an export named by a number, and returns its result, or [`CAUGHT`].
fn catch(caller: &mut Caller<'_, Caught>, export: u64) -> HostCall<u64> {
    let function = caller.module().exported_function(&format!("f{export}")).unwrap();
    caller.call_guest(function, &[], |caller, ended| {
        let value = match ended {
            Ok(values) => match values[0] {
                Value::I64(value) => value as u64,
                ref other => panic!("{other:?}"),
            },
            Err(trap) => {
                caller.data_mut().push(trap.kind.to_string());
                match trap.kind {
                    TrapKind::Host(error) if error.is::<Raised>() => return Err(error),
                    _ => CAUGHT,
                }
            }
        };
        Ok(HostCall::Return(RawValue::from(value)))
    })
}

fn linker() -> Linker<Caught> {
    let mut linker = Linker::new();
    linker.func("h", "catch", catch);
    linker.func("h", "wait", |_: &mut Caller<'_, Caught>| HostCall::<u64>::Suspend);
    linker.func("h", "raise", |_: &mut Caller<'_, Caught>| Err::<(), HostError>(Raised.into()));
    linker.func("h", "panic", |_: &mut Caller<'_, Caught>| -> () { panic!("in the host") });
    linker.func("h", "panic_later", |caller: &mut Caller<'_, Caught>| -> HostCall<()> {
        let function = caller.module().exported_function("f0").unwrap();
        caller.call_guest(function, &[], |_, _| panic!("in the completion"))
    });
    linker.func("h", "twice", |caller: &mut Caller<'_, Caught>| -> HostCall<u64> {
        let function = caller.module().exported_function("f0").unwrap();
        caller.call_guest(function, &[], |caller, first| {
            let Ok(&[Value::I64(first)]) = first else { panic!("{first:?}") };
            let function = caller.module().exported_function("f0").unwrap();
            Ok(caller.call_guest(function, &[], move |_, second| {
                let Ok(&[Value::I64(second)]) = second else { panic!("{second:?}") };
                Ok(HostCall::Return(RawValue::from((first * 10 + second) as u64)))
            }))
        })
    });
    // A call that is requested but not waited for must not run at the next suspension.
    linker.func("h", "forget", |caller: &mut Caller<'_, Caught>| {
        let function = caller.module().exported_function("f0").unwrap();
        let _: HostCall<()> = caller.call_guest(function, &[], |_, _| panic!("it is not made"));
        7u64
    });
    linker
}

const IMPORTS: &str = r#"
    (import "h" "catch" (func $catch (param i64) (result i64)))
    (import "h" "wait" (func $wait (result i64)))
    (import "h" "raise" (func $raise))
    (import "h" "panic" (func $panic))
    (import "h" "panic_later" (func $panic_later))
    (import "h" "twice" (func $twice (result i64)))
    (import "h" "forget" (func $forget (result i64)))"#;

fn start(body: &str) -> (Module, Store<Caught>, Instance) {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wat = format!("(module {METERING} {IMPORTS} {body})").replace("CHARGE", CHARGE);
    let module = Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap();
    let mut store = Store::new(&engine, Caught::new(), StoreLimits::default());
    let instance = store.instantiate(&linker().link(&module).unwrap()).unwrap();
    (module, store, instance)
}

fn call(body: &str) -> (Result<Vec<Value>, TrapKind>, Caught) {
    let (module, mut store, instance) = start(body);
    let run = module.exported_function("run").unwrap();
    let result = store.call(instance, run, &[]).map_err(|trap| trap.kind);
    let caught = store.data().clone();
    // The store is usable after every outcome.
    if let Some(after) = module.exported_function("after") {
        assert_eq!(store.call(instance, after, &[]).unwrap(), [Value::I64(42)]);
    }
    (result, caught)
}

fn returns(body: &str) -> i64 {
    match call(body).0.unwrap()[..] {
        [Value::I64(value)] => value,
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn every_kind_of_trap_is_reported_to_the_completion() {
    let kinds = [
        ("unreachable", "unreachable"),
        ("(i64.load (i32.const -1))", "out of bounds memory access"),
        ("(i64.div_s (i64.const 1) (i64.const 0))", "integer divide by zero"),
        ("(call $deep)", "call stack exhausted"),
        ("(call_indirect (result i64) (i32.const 9))", "undefined element"),
        (
            "(memory.fill (i32.const -1) (i32.const 0) (i32.const 9)) (i64.const 0)",
            "out of bounds memory access",
        ),
        ("(call $panic) (i64.const 0)", "a host function panicked: in the host"),
    ];
    for (body, kind) in kinds {
        let body = format!(
            r#"(memory 1) (table 1 funcref)
            (func $deep (result i64) CHARGE (i64.add (call $deep) (i64.const 1)))
            (func (export "f0") (result i64) CHARGE {body})
            (func (export "after") (result i64) CHARGE (i64.const 42))
            (func (export "run") (result i64) (local $i i64) CHARGE
                (local.set $i (i64.const 5))
                (i64.add (call $catch (i64.const 0)) (local.get $i)))"#
        );
        let (result, caught) = call(&body);
        assert_eq!(result.unwrap(), [Value::I64(CAUGHT as i64 + 5)], "{kind}");
        assert_eq!(caught, [kind]);
    }
}

#[test]
fn a_host_function_makes_several_calls_and_gets_their_results() {
    let body = r#"(global $n (mut i64) (i64.const 0))
        (func (export "f0") (result i64) CHARGE
            (global.set $n (i64.add (global.get $n) (i64.const 1))) (global.get $n))
        (func (export "run") (result i64) CHARGE (call $twice))"#;
    assert_eq!(returns(body), 12);
    let body = r#"(func (export "f0") (result i64) CHARGE (i64.const 3))
        (func (export "run") (result i64) CHARGE (i64.add (call $forget) (call $catch (i64.const 0))))"#;
    assert_eq!(returns(body), 10);
}

#[test]
fn an_uncaught_error_ends_every_nested_call() {
    let body = r#"(func (export "f1") (result i64) CHARGE (call $raise) (i64.const 0))
        (func (export "f0") (result i64) CHARGE (call $catch (i64.const 1)))
        (func (export "after") (result i64) CHARGE (i64.const 42))
        (func (export "run") (result i64) CHARGE (call $catch (i64.const 0)))"#;
    let (result, caught) = call(body);
    assert!(matches!(result, Err(TrapKind::Host(error)) if error.is::<Raised>()));
    assert_eq!(caught, ["raised", "raised"]);
}

#[test]
fn a_panic_of_a_completion_ends_only_the_guest() {
    let body = r#"(func (export "f0") (result i64) CHARGE (i64.const 42))
        (func (export "after") (result i64) CHARGE (i64.const 42))
        (func (export "run") (result i64) CHARGE (call $panic_later) (i64.const 0))"#;
    let (result, _) = call(body);
    assert!(matches!(result, Err(TrapKind::Host(error)) if error.to_string().contains("in the completion")));
}

/// Each call catches one nested in it, until the limit: the innermost request is a stack overflow, which its
/// own `catch` reports.
#[test]
fn nested_calls_are_limited_in_depth() {
    let body = r#"(global $depth (mut i64) (i64.const 0))
        (func (export "f0") (result i64) CHARGE
            (global.set $depth (i64.add (global.get $depth) (i64.const 1)))
            (drop (call $catch (i64.const 0))) (global.get $depth))
        (func (export "after") (result i64) CHARGE (i64.const 42))
        (func (export "run") (result i64) CHARGE (call $catch (i64.const 0)))"#;
    let (result, caught) = call(body);
    assert_eq!(result.unwrap(), [Value::I64(64)]);
    assert_eq!(caught, ["call stack exhausted"]);
}

#[test]
fn a_nested_call_yields_suspends_moves_and_continues() {
    let body = r#"
        (func $count (export "f1") (result i64) (local $n i64) CHARGE
            (loop $again CHARGE
                (local.set $n (i64.add (local.get $n) (i64.const 1)))
                (br_if $again (i64.lt_u (local.get $n) (i64.const 1000))))
            (i64.add (local.get $n) (call $wait)))
        (func (export "f0") (result i64) (local $x i64) CHARGE
            (local.set $x (call $wait))
            (i64.add (local.get $x) (call $catch (i64.const 1))))
        (func (export "run") (result i64) CHARGE
            (i64.add (call $catch (i64.const 0)) (call $wait)))"#;
    let (module, mut store, instance) = start(body);
    store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
    let (mut yields, mut waits) = (0, 0u64);
    let mut how = Resume::Continue;
    let mut deepest = 0;
    loop {
        // Each time on another thread.
        let (next, progress) = std::thread::spawn(move || {
            let progress = store.resume(how, 0);
            (store, progress)
        })
        .join()
        .unwrap();
        store = next;
        deepest = deepest.max(store.backtrace().len());
        how = match progress {
            Progress::Yielded => {
                yields += 1;
                Resume::Continue
            }
            Progress::Suspended => {
                waits += 1;
                Resume::Return(RawValue::from(10 * waits))
            }
            Progress::Returned => break,
            Progress::Trapped(trap) => panic!("{trap}"),
        };
    }
    assert_eq!(store.results(), [Value::I64(1000 + 10 + 20 + 30)]);
    assert!(yields > 1000, "{yields}");
    assert_eq!(waits, 3);
    assert_eq!(deepest, 3, "a backtrace goes through all calls");
}

#[test]
fn a_store_with_nested_calls_can_be_dropped_at_any_point() {
    let body = r#"(func (export "f1") (result i64) CHARGE (loop $again CHARGE (br $again)) (i64.const 0))
        (func (export "f0") (result i64) CHARGE (call $catch (i64.const 1)))
        (func (export "run") (result i64) CHARGE (call $catch (i64.const 0)))"#;
    for slices in 0..20 {
        let (module, mut store, instance) = start(body);
        store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
        for _ in 0..slices {
            assert!(matches!(store.resume(Resume::Continue, 0), Progress::Yielded));
        }
    }
}

#[test]
fn a_failed_suspension_in_a_nested_call_is_caught_by_the_outer_one() {
    let body = r#"(func (export "f0") (result i64) CHARGE (call $wait))
        (func (export "run") (result i64) CHARGE (call $catch (i64.const 0)))"#;
    // `Store::call` fails every suspension.
    let (result, caught) = call(body);
    assert_eq!(result.unwrap(), [Value::I64(CAUGHT as i64)]);
    assert_eq!(caught, [CannotWait.to_string()]);
}

#[test]
fn a_caught_trap_costs_only_the_rest_of_the_slice() {
    let body = r#"(func (export "f0") (result i64) CHARGE unreachable)
        (func (export "run") (result i64) CHARGE (drop (call $catch (i64.const 0)))
            (loop $again CHARGE (br $again)) (i64.const 0))"#;
    let (module, mut store, instance) = start(body);
    store.begin(instance, module.exported_function("run").unwrap(), &[]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 1000), Progress::Yielded));
    assert_eq!(store.data().len(), 1, "the trap was caught, and the loop yielded in the same slice");
    let used = store.reductions();
    assert!((1000..1020).contains(&used), "{used}");
    assert!(matches!(store.resume(Resume::Continue, 1000), Progress::Yielded));
    assert!((2000..2020).contains(&store.reductions()));
}

/// A guest with a stack in its memory, as LLVM's have, does not lose what a trapped call had taken of it.
#[test]
fn a_caught_trap_restores_the_guests_stack_pointer() {
    let run = |name: &str| {
        let body = format!(
            r#"(global ${name} (mut i32) (i32.const 4096))
            (func (export "f0") (result i64) CHARGE
                (global.set ${name} (i32.sub (global.get ${name}) (i32.const 64))) unreachable)
            (func (export "f1") (result i64) CHARGE
                (global.set ${name} (i32.sub (global.get ${name}) (i32.const 16))) (i64.const 0))
            (func (export "run") (result i64) CHARGE
                (drop (call $catch (i64.const 0))) (drop (call $catch (i64.const 1)))
                (i64.extend_i32_u (global.get ${name})))"#
        );
        returns(&body)
    };
    assert_eq!(run("__stack_pointer"), 4096 - 16, "a call that returns has put it where it belongs");
    assert_eq!(run("other"), 4096 - 64 - 16, "other globals stay as the trap left them");
}

/// HOSTILE 27: while a call waits, the guest grows the memory in a nested call, which waits too and ends on
/// another thread. The memory has moved. The first call finds it at its new address, with its new length.
#[test]
fn a_memory_that_grew_during_a_suspension_is_reloaded() {
    let body = r#"(memory (export "memory") 1 100)
        (func (export "f0") (result i64) CHARGE
            (drop (memory.grow (i32.const 40)))
            (i64.store (i32.const 2000000) (i64.const 7))
            (call $wait))
        (func (export "run") (param $beyond i32) (result i64) CHARGE
            (i64.store (i32.const 65528) (i64.const 5))
            (if (i64.ne (call $catch (i64.const 0)) (i64.const 30)) (then (unreachable)))
            (if (i64.ne (i64.load (i32.const 65528)) (i64.const 5)) (then (unreachable)))
            (if (i32.ne (memory.size) (i32.const 41)) (then (unreachable)))
            (i64.store (i32.const 65528) (i64.const 6))
            (i64.add (i64.load (i32.const 2000000)) (i64.load (local.get $beyond))))"#;
    for (at, expected) in [(65528, Some(13)), (41 * 65536 - 8, Some(7)), (41 * 65536 - 7, None)] {
        let (module, mut store, instance) = start(body);
        let function = module.exported_function("run").unwrap();
        store.begin(instance, function, &[Value::I32(at)]).unwrap();
        let mut how = Resume::Continue;
        let ended = loop {
            // Each time on a new thread.
            let progress;
            (store, progress) = std::thread::spawn(move || {
                let progress = store.resume(how, 10);
                (store, progress)
            })
            .join()
            .unwrap();
            match progress {
                Progress::Yielded => how = Resume::Continue,
                // The innermost call is the one that waits.
                Progress::Suspended => how = Resume::Return(RawValue::from(30u64)),
                ended => break ended,
            }
        };
        match (ended, expected) {
            (Progress::Returned, Some(expected)) => assert_eq!(store.results(), [Value::I64(expected)]),
            (Progress::Trapped(trap), None) => assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds)),
            (ended, _) => panic!("{at}: {ended:?}"),
        }
    }
}
