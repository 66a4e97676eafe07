//! Tail calls take no stack, whatever they call, and reductions stay counted.

mod metered;

use lunatic_jit::{
    Caller, Engine, EngineConfig, HostCall, Instance, Linker, Module, Progress, RawValue, Resume, Store,
    StoreLimits, TrapKind, Value,
};
use metered::{CHARGE, METERING};

/// Even with a frame of one word for each, the frames would be far larger than a stack.
const DEPTH: i64 = 1_000_000;

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn start<T: Send + 'static>(
    engine: &Engine,
    body: &str,
    linker: &Linker<T>,
    data: T,
) -> (Module, Store<T>, Instance) {
    let wat = format!("(module {METERING} {body})").replace("CHARGE", CHARGE);
    let module = Module::compile(engine, &wat::parse_str(wat).unwrap()).unwrap();
    let mut store = Store::new(engine, data, StoreLimits::default());
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    (module, store, instance)
}

/// Functions that call each other with few and many parameters, so that some are passed on the stack and the
/// room for them changes with every call; with vectors, which need it aligned.
const DEEP: &str = r#"
    (type $many (func (param i64 i64 i64 i64 i64 i64 i64 i64 i64 v128 f64 i64) (result i64)))
    (table funcref (elem $few $many))
    (func $few (export "few") (param $n i64) (param $sum i64) (result i64)
        CHARGE
        (if (i64.eqz (local.get $n)) (then (return (local.get $sum))))
        (return_call_indirect (type $many)
            (i64.sub (local.get $n) (i64.const 1)) (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)
            (i64.const 5) (i64.const 6) (i64.const 7) (i64.const 8) (v128.const i64x2 9 10) (f64.const 11)
            (local.get $sum) (i32.const 1)))
    (func $many (type $many)
        CHARGE
        (return_call $few (local.get 0)
            (i64.add (local.get 11) (i64.add (local.get 8)
                (i64.add (i64x2.extract_lane 1 (local.get 9)) (i64.trunc_f64_s (local.get 10)))))))"#;

#[test]
fn a_million_tail_calls_take_no_stack() {
    let engine = engine();
    let (module, mut store, instance) = start(&engine, DEEP, &Linker::new(), ());
    let few = module.exported_function("few").unwrap();
    let args = [Value::I64(DEPTH), Value::I64(0)];
    let expected = [Value::I64(DEPTH * (8 + 10 + 11))];
    assert_eq!(store.call(instance, few, &args).unwrap(), expected);
    // A charge in each of two functions, and in the one that stops.
    assert_eq!(store.reductions(), 10 * (2 * DEPTH as u64 + 1));
    assert_eq!(store.call_in_slices(instance, few, &args, 0).unwrap(), expected);
    assert_eq!(store.reductions(), 2 * 10 * (2 * DEPTH as u64 + 1));
}

#[test]
fn the_backtrace_of_a_tail_call_continues_with_its_callers_caller() {
    let engine = engine();
    let body = r#"
        (func $outer (export "outer") (drop (call $middle)))
        (func $middle (result i32) (return_call $inner (i32.const 5)))
        (func $inner (param i32) (result i32) CHARGE (local.get 0))"#;
    let (module, mut store, instance) = start(&engine, body, &Linker::new(), ());
    store.begin(instance, module.exported_function("outer").unwrap(), &[]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 0), Progress::Yielded));
    let frames = store.backtrace();
    let names: Vec<_> = frames.iter().map(|frame| frame.name.as_deref().unwrap_or("?")).collect();
    assert_eq!(names, ["inner", "outer"]);
    let store = std::thread::spawn(move || {
        assert!(matches!(store.resume(Resume::Continue, 100), Progress::Returned));
        store
    });
    assert_eq!(store.join().unwrap().reductions(), 10);
}

#[test]
fn a_tail_call_of_a_host_function_replaces_its_caller() {
    let engine = engine();
    let mut linker = Linker::<u32>::new();
    linker.func("h", "add", |caller: &mut Caller<'_, u32>, a: u64, b: u64| -> u64 {
        *caller.data_mut() += 1;
        a + b
    });
    linker.func("h", "wait", |_: &mut Caller<'_, u32>| -> HostCall<u64> { HostCall::Suspend });
    linker.func("h", "fail", |_: &mut Caller<'_, u32>| -> Result<u64, std::fmt::Error> {
        Err(std::fmt::Error)
    });
    let body = r#"
        (import "h" "add" (func $add (param i64 i64) (result i64)))
        (import "h" "wait" (func $wait (result i64)))
        (import "h" "fail" (func $fail (result i64)))
        (type $add (func (param i64 i64) (result i64)))
        (table funcref (elem $add))
        (func $sum (export "sum") (param i64) (result i64)
            CHARGE (return_call $add (local.get 0) (i64.const 2)))
        (func (export "often") (param $n i64) (result i64)
            CHARGE
            (loop $again CHARGE
                (drop (call $sum (local.get $n)))
                (br_if $again (i64.ne (local.tee $n (i64.sub (local.get $n) (i64.const 1))) (i64.const 0))))
            (return_call_indirect (type $add) (i64.const 40) (i64.const 2) (i32.const 0)))
        (func (export "wait") (result i64) CHARGE (return_call $wait))
        (func (export "fail") (result i64) CHARGE (return_call $fail))"#;
    let (module, mut store, instance) = start(&engine, body, &linker, 0);
    let often = module.exported_function("often").unwrap();
    for slice in [i64::MAX as u64, 0] {
        let results = store.call_in_slices(instance, often, &[Value::I64(1000)], slice).unwrap();
        assert_eq!(results, [Value::I64(42)]);
    }
    assert_eq!(*store.data(), 2 * 1001);
    assert_eq!(store.reductions(), 2 * 10 * (1 + 2 * 1000));

    store.begin(instance, module.exported_function("wait").unwrap(), &[]).unwrap();
    // The slices of 0 have left a debt.
    assert!(matches!(store.resume(Resume::Continue, 1_000_000), Progress::Suspended));
    assert!(matches!(store.resume(Resume::Return(RawValue::from(77)), 100), Progress::Returned));
    assert_eq!(store.results(), [Value::I64(77)]);
    let trap = store.call(instance, module.exported_function("fail").unwrap(), &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::Host(_)), "{trap}");
}

#[test]
fn the_charge_itself_may_be_a_tail_call() {
    let engine = engine();
    let body = r#"
        (table funcref (elem $charge))
        (func $direct (return_call $charge (i32.const 1)))
        (func $indirect (return_call_indirect (param i32) (i32.const 1) (i32.const 0)))
        (func (export "run") (result i32) (call $direct) (call $indirect) (i32.const 3))"#;
    let (module, mut store, instance) = start(&engine, body, &Linker::new(), ());
    let run = module.exported_function("run").unwrap();
    assert_eq!(store.call_in_slices(instance, run, &[], 1000).unwrap(), [Value::I32(3)]);
}

#[test]
fn a_tail_call_of_another_instance_replaces_its_caller() {
    let engine = engine();
    let compile = |body: &str| {
        let wat = format!("(module {METERING} {body})").replace("CHARGE", CHARGE);
        Module::compile(&engine, &wat::parse_str(wat).unwrap()).unwrap()
    };
    let library = compile(
        r#"(memory 1) (data (i32.const 0) "\2a")
        (func (export "load") (param i32) (result i32) CHARGE (i32.load (local.get 0)))"#,
    );
    let program = compile(
        r#"(import "l" "load" (func $load (param i32) (result i32)))
        (memory 1) (data (i32.const 0) "\07")
        (func $tail (result i32) CHARGE (return_call $load (i32.const 0)))
        (func (export "run") (param $n i32) (result i32)
            CHARGE
            (loop $again CHARGE
                (drop (call $tail))
                (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            ;; The other instance's memory, then this one's.
            (i32.add (i32.mul (call $tail) (i32.const 100)) (i32.load (i32.const 0))))"#,
    );
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let other = store.instantiate_with(&library, &[]).unwrap();
    let load = store.export(other, "load").unwrap();
    let instance = store.instantiate_with(&program, &[load]).unwrap();
    let run = program.exported_function("run").unwrap();
    for slice in [i64::MAX as u64, 0, 25] {
        let results = store.call_in_slices(instance, run, &[Value::I32(100_000)], slice).unwrap();
        assert_eq!(results, [Value::I32(4207)]);
    }
    assert_eq!(store.reductions(), 3 * 10 * (1 + 3 * 100_000 + 2));
}
