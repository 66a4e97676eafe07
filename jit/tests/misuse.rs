//! Whatever the safe code of an embedder does with a store, the worst outcome is a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use lunatic_jit::{
    Caller, CompileError, Engine, EngineConfig, HostCall, Instance, InstantiateError, Linker, Module,
    Progress, RawValue, Resume, Store, StoreLimits, TrapKind, ValType, Value, WasmValue,
};

const METERING: &str = r#"
    (import "lunatic::metering" "charge" (func $charge (param i32)))
"#;

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

fn compile(engine: &Engine, wat: &str) -> Module {
    Module::compile(engine, &wat::parse_str(wat).unwrap()).unwrap()
}

fn store(engine: &Engine) -> Store<()> {
    Store::new(engine, (), StoreLimits::default())
}

fn add(store: &mut Store<()>, module: &Module) -> Instance {
    store.instantiate(&Linker::new().link(module).unwrap()).unwrap()
}

fn panics(f: impl FnOnce()) -> bool {
    catch_unwind(AssertUnwindSafe(f)).is_err()
}

/// Two of its instances share their function records. `own` tells them apart.
const GIVER: &str = r#"(module
    (global $own (mut i32) (i32.const 0))
    (global (export "held") funcref (ref.func $read))
    (table (export "table") 2 funcref) (elem (i32.const 0) $read)
    (func $read (result i32) (global.get $own))
    (elem declare func $read)
    (func (export "set") (param i32) (global.set $own (local.get 0)))
    (func (export "give") (result funcref) (ref.func $read)))"#;

const TAKER: &str = r#"(module
    (type $read (func (result i32)))
    (global $padding i64 (i64.const 0x5555555555555555)) (global $own i32 (i32.const -1))
    (table $t 1 funcref)
    (func (export "take") (param funcref) (result i32)
        (table.set $t (i32.const 0) (local.get 0))
        (call_indirect $t (type $read) (i32.const 0))))"#;

#[test]
fn a_reference_passed_to_another_instance_runs_in_its_own() {
    let engine = engine();
    let (giver, taker) = (compile(&engine, GIVER), compile(&engine, TAKER));
    let mut store = store(&engine);
    let givers = [add(&mut store, &giver), add(&mut store, &giver)];
    let taker_instance = add(&mut store, &taker);
    for (i, &instance) in givers.iter().enumerate() {
        let number = Value::I32(100 + i as i32);
        store.call(instance, giver.exported_function("set").unwrap(), &[number]).unwrap();
    }
    for (i, &instance) in givers.iter().enumerate() {
        let given = store.call(instance, giver.exported_function("give").unwrap(), &[]).unwrap();
        let held = store.global(store.export(instance, "held").unwrap()).unwrap();
        assert_eq!(given, [held]);
        for _ in 0..2 {
            let taken = store.call(taker_instance, taker.exported_function("take").unwrap(), &given).unwrap();
            assert_eq!(taken, [Value::I32(100 + i as i32)]);
        }
    }
}

#[test]
fn a_table_of_shared_records_may_be_imported() {
    let engine = engine();
    let giver = compile(&engine, GIVER);
    let importer = compile(
        &engine,
        r#"(module (import "g" "table" (table 2 funcref)) (import "g" "held" (global $held funcref))
            (type $read (func (result i32)))
            (func (export "call") (param i32) (result i32) (call_indirect (type $read) (local.get 0)))
            (func (export "copy") (table.set (i32.const 1) (global.get $held))))"#,
    );
    let mut store = store(&engine);
    let instance = add(&mut store, &giver);
    store.call(instance, giver.exported_function("set").unwrap(), &[Value::I32(7)]).unwrap();
    let exports = [store.export(instance, "table").unwrap(), store.export(instance, "held").unwrap()];
    let user = store.instantiate_with(&importer, &exports).unwrap();
    store.call(user, importer.exported_function("copy").unwrap(), &[]).unwrap();
    for index in [0, 1] {
        let call = importer.exported_function("call").unwrap();
        assert_eq!(store.call(user, call, &[Value::I32(index)]).unwrap(), [Value::I32(7)]);
    }
}

#[test]
fn a_function_of_another_store_is_only_a_number() {
    let engine = engine();
    let (giver, taker) = (compile(&engine, GIVER), compile(&engine, TAKER));
    let given = {
        let mut store = store(&engine);
        add(&mut store, &giver);
        let instance = add(&mut store, &giver);
        store.call(instance, giver.exported_function("give").unwrap(), &[]).unwrap()
    };
    // The store that it came from is gone.
    let mut store = store(&engine);
    let instance = add(&mut store, &taker);
    let take = taker.exported_function("take").unwrap();
    assert!(panics(|| drop(store.call(instance, take, &given))));
}

#[test]
fn a_module_of_another_engine_is_refused() {
    let module = compile(&engine(), "(module)");
    let linked = Linker::new().link(&module).unwrap();
    let mut store = store(&engine());
    assert!(panics(|| drop(store.instantiate(&linked))));
    assert!(panics(|| drop(store.instantiate_with(&module, &[]))));
}

#[test]
fn resuming_with_the_wrong_kind_panics_and_changes_nothing() {
    let engine = engine();
    let module = compile(
        &engine,
        &format!(
            r#"(module {METERING} (import "h" "wait" (func $wait (result i32)))
            (func (export "run") (result i32)
                (call $charge (i32.const 2))
                (call $wait)))"#
        ),
    );
    let mut linker = Linker::<()>::new();
    linker.func("h", "wait", |_: &mut Caller<'_, ()>| HostCall::<i32>::Suspend);
    let mut store = store(&engine);
    let instance = store.instantiate(&linker.link(&module).unwrap()).unwrap();
    let run = module.exported_function("run").unwrap();
    let value = || Resume::Return(RawValue::from(5));
    let error = || Resume::Fail("no".into());

    assert!(panics(|| drop(store.resume(Resume::Continue, 1))), "nothing was begun");
    store.begin(instance, run, &[]).unwrap();
    assert!(panics(|| store.begin(instance, run, &[]).unwrap()), "begun twice");
    assert!(panics(|| drop(store.resume(value(), 1))), "not started");
    assert!(matches!(store.resume(Resume::Continue, 1), Progress::Yielded));
    assert!(panics(|| drop(store.resume(value(), 1))), "it yielded");
    assert!(panics(|| drop(store.resume(error(), 1))), "it yielded");
    assert!(matches!(store.resume(Resume::Continue, 1), Progress::Suspended));
    assert!(panics(|| drop(store.resume(Resume::Continue, 1))), "it waits for a result");
    assert!(matches!(store.resume(value(), 1), Progress::Returned));
    assert_eq!(store.results(), [Value::I32(5)]);
    assert!(panics(|| drop(store.resume(value(), 1))), "it is over");
    assert!(panics(|| drop(store.resume(error(), 1))), "it is over");

    // A trap while suspended, then a new call: nothing of the old call remains.
    store.begin(instance, run, &[]).unwrap();
    assert!(matches!(store.resume(Resume::Continue, 1), Progress::Yielded));
    assert!(matches!(store.resume(Resume::Continue, 1), Progress::Suspended));
    assert!(matches!(store.resume(error(), 1), Progress::Trapped(_)));
    assert!(panics(|| drop(store.resume(Resume::Continue, 1))), "it is over");
    store.begin(instance, run, &[]).unwrap();
    assert!(panics(|| drop(store.resume(value(), 1))), "not started");
}

#[test]
fn a_host_function_cannot_make_up_references() {
    struct Address;
    impl WasmValue for Address {
        const TYPE: ValType = ValType::FuncRef;
        fn from_raw(_: RawValue) -> Self {
            Address
        }
        fn into_raw(self) -> RawValue {
            RawValue::from(0xdead_beef)
        }
    }
    assert!(panics(|| {
        Linker::<()>::new().func("h", "make", |_: &mut Caller<'_, ()>| Address);
    }));
}

#[test]
fn the_reserved_namespace_has_one_import() {
    let engine = engine();
    let link = |import: &str| {
        let module = compile(&engine, &format!("(module {METERING} {import})"));
        Linker::<()>::new().link(&module).map(drop)
    };
    link("").unwrap();
    for import in [
        r#"(import "lunatic::metering" "memory" (memory 1))"#,
        r#"(import "lunatic::metering" "other" (global i32))"#,
        r#"(import "lunatic::metering" "reductions" (global (mut i64)))"#,
        r#"(import "lunatic::metering" "other" (table 1 funcref))"#,
        r#"(import "lunatic::metering" "charge" (func))"#,
        r#"(import "lunatic::metering" "charge" (func (param i32)))"#,
    ] {
        assert_eq!(link(import).unwrap_err().missing.len(), 1, "{import}");
    }
    let wasm = wat::parse_str(format!(r#"(module {METERING} (export "c" (func $charge)))"#)).unwrap();
    let error = Module::compile(&engine, &wasm).unwrap_err();
    assert!(matches!(error, CompileError::Unsupported { offset: 1.., .. }), "{error}");
}

#[test]
fn a_module_that_abuses_its_counter_affects_only_itself() {
    let engine = engine();
    let module = compile(
        &engine,
        &format!(
            r#"(module {METERING} (memory 1) (table 1 funcref) (elem (i32.const 0) $charge)
            (func (export "run") (result i32)
                (call $charge (i32.const -1)) (call $charge (i32.const 0))
                (memory.fill (i32.const 0) (i32.const 1) (i32.const 65536))
                (call_indirect (param i32) (i32.const 0xf0000000) (i32.const 0))
                (call $charge (memory.size)) (call $tail)
                (i32.load (i32.const 0)))
            (func $tail (return_call $charge (i32.const 77))))"#
        ),
    );
    let mut store = store(&engine);
    let instance = add(&mut store, &module);
    for _ in 0..3 {
        let run = module.exported_function("run").unwrap();
        let results = store.call_in_slices(instance, run, &[], 100_000_000).unwrap();
        assert_eq!(results, [Value::I32(0x0101_0101)]);
    }
    assert_eq!(store.reductions(), 3 * (0xffff_ffff + 1024 + 0xf000_0000 + 1 + 77));
}

#[test]
fn a_host_function_may_run_another_store_and_both_trap_properly() {
    let engine = engine();
    let inner = compile(&engine, r#"(module (func (export "trap") unreachable) (func (export "fine")))"#);
    let inner_linked = Linker::<()>::new().link(&inner).unwrap();
    let outer = compile(
        &engine,
        r#"(module (import "h" "nest" (func $nest)) (memory 1)
            (func (export "run") (call $nest) (drop (i32.load (i32.const -1)))))"#,
    );
    let mut linker = Linker::<()>::new();
    let inner_engine = engine.clone();
    linker.func("h", "nest", move |_: &mut Caller<'_, ()>| {
        let mut store = Store::new(&inner_engine, (), StoreLimits::default());
        let instance = store.instantiate(&inner_linked).unwrap();
        let trap = store.call(instance, inner.exported_function("trap").unwrap(), &[]).unwrap_err();
        assert!(matches!(trap.kind, TrapKind::Unreachable));
        store.call(instance, inner.exported_function("fine").unwrap(), &[]).unwrap();
    });
    let mut store = store(&engine);
    let instance = store.instantiate(&linker.link(&outer).unwrap()).unwrap();
    let trap = store.call(instance, outer.exported_function("run").unwrap(), &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{trap}");
}

/// Metered functions take and return the counter in registers, and unmetered ones do not: a call between them
/// would mix up their arguments.
#[test]
fn metered_and_unmetered_functions_cannot_call_each_other() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let module = |text: &str| Module::compile(&engine, &wat::parse_str(text).unwrap()).unwrap();
    let metered = module(&format!(
        r#"(module {METERING} (table (export "t") 1 funcref) (elem (i32.const 0) $f)
            (func $f (export "f") (param i32) (result i32) (local.get 0)))"#
    ));
    let importing = module(r#"(module (import "m" "f" (func (param i32) (result i32))))"#);
    let calling = module(
        r#"(module (import "m" "t" (table 1 funcref)) (func (export "call") (result i32)
            (call_indirect (param i32) (result i32) (i32.const 7) (i32.const 0))))"#,
    );
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let first = store.instantiate_with(&metered, &[]).unwrap();
    let (function, table) = (store.export(first, "f").unwrap(), store.export(first, "t").unwrap());
    let refused = store.instantiate_with(&importing, &[function]);
    assert!(matches!(refused, Err(InstantiateError::Metering)), "{refused:?}");

    let second = store.instantiate_with(&calling, &[table]).unwrap();
    let trap = store.call(second, calling.exported_function("call").unwrap(), &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::IndirectCallTypeMismatch), "{trap}");
}
