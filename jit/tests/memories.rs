//! Where a memory lies cannot be observed: the same accesses work and trap in pooled and reserved memories,
//! trusted and untrusted.

use std::sync::Mutex;

use lunatic_jit::{
    CompileOptions, Engine, EngineConfig, Instance, InstantiateError, Linker, MemoryLayout, Module, Store,
    StoreLimits, TrapKind, Value,
};

const ACCESSES: &str = r#"(module
    (memory (export "memory") 1 4)
    (func (export "near") (param i32) (result i64) (i64.load (local.get 0)))
    (func (export "far") (param i32) (result i64) (i64.load offset=65528 (local.get 0)))
    (func (export "beyond") (param i32) (result i64) (i64.load offset=0x90000000 (local.get 0)))
    (func (export "last") (param i32) (result i64) (i64.load offset=0xffffffff (local.get 0)))
    (func (export "put") (param i32) (i64.store offset=4 (local.get 0) (i64.const -1)))
    (func (export "again") (param i32) (result i32)
        (drop (i32.load offset=8 (local.get 0)))
        (if (i32.load offset=4 (local.get 0)) (then (drop (i64.load offset=16 (local.get 0)))))
        (i32.load offset=12 (local.get 0)))
    (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0))))"#;

fn all_options() -> impl Iterator<Item = CompileOptions> {
    let layouts = [MemoryLayout::Pooled, MemoryLayout::Reserved];
    layouts.into_iter().flat_map(|memory| [false, true].map(|untrusted| CompileOptions { memory, untrusted }))
}

struct Guest {
    store: Store<()>,
    instance: Instance,
    module: Module,
}

impl Guest {
    fn new(engine: &Engine, text: &str, options: CompileOptions) -> Guest {
        let module = Module::compile_with(engine, &wat::parse_str(text).unwrap(), options).unwrap();
        let mut store = Store::new(engine, (), StoreLimits::default());
        let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
        Guest { store, instance, module }
    }

    /// Returns the bits of the result; `None` for an access out of bounds.
    fn call(&mut self, name: &str, argument: u32) -> Option<Vec<Value>> {
        let function = self.module.exported_function(name).unwrap();
        match self.store.call(self.instance, function, &[Value::I32(argument as i32)]) {
            Ok(values) => Some(values),
            Err(trap) => {
                assert!(matches!(trap.kind, TrapKind::MemoryOutOfBounds), "{trap}");
                assert!(trap.backtrace.len() == 1, "{trap}");
                None
            }
        }
    }
}

#[test]
fn the_same_accesses_trap_in_every_memory_layout() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    for options in all_options() {
        let mut guest = Guest::new(&engine, ACCESSES, options);
        for pages in [1u64, 2, 4] {
            let length = pages << 16;
            let edges = [0, 1, 0x1_0000, length, 0x8000_0000, 0xffff_ffff];
            let indices = edges.iter().flat_map(|edge| (0..40).map(move |i| (edge + 20).checked_sub(i)));
            for index in indices.filter_map(|index| u32::try_from(index?).ok()) {
                let fits = |bytes: u64| u64::from(index) + bytes <= length;
                assert_eq!(
                    guest.call("near", index).is_some(),
                    fits(8),
                    "{index:x} of {length:x}, {options:?}"
                );
                assert_eq!(guest.call("far", index).is_some(), fits(65536), "{index:x} of {length:x}");
                assert_eq!(guest.call("put", index).is_some(), fits(12), "{index:x} of {length:x}");
                let again = fits(16) && {
                    let Value::I64(word) = guest.call("near", index + 4).unwrap()[0] else { unreachable!() };
                    word as i32 == 0 || fits(24)
                };
                assert_eq!(guest.call("again", index).is_some(), again, "{index:x} of {length:x}");
                assert_eq!(guest.call("beyond", index), None);
                assert_eq!(guest.call("last", index), None);
            }
            guest.call("grow", pages as u32).unwrap();
        }
        assert_eq!(guest.call("grow", 1), Some(vec![Value::I32(-1)]));
    }
}

/// HOSTILE 43.
#[test]
fn a_reserved_memory_is_zeroed_and_given_back() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let options = CompileOptions { memory: MemoryLayout::Reserved, untrusted: false };
    let _alone = MAPPINGS.lock().unwrap();
    let before = mappings();
    for _ in 0..100 {
        let mut guest = Guest::new(&engine, ACCESSES, options);
        assert_eq!(guest.call("near", 65_000), Some(vec![Value::I64(0)]));
        assert_eq!(guest.call("grow", 1), Some(vec![Value::I32(1)]));
        assert_eq!(guest.call("near", 100_000), Some(vec![Value::I64(0)]), "what was denied reads as zeroes");
        guest.call("put", 65_000).unwrap();
        guest.call("put", 100_000).unwrap();
    }
    // Other tests have some at the same time, and some are kept for later.
    assert!(mappings() < before + 50, "{before} mappings before, {} after", mappings());
}

/// Held by tests that count reservations or create very many.
static MAPPINGS: Mutex<()> = Mutex::new(());

/// Returns the number of mappings as large as reservations.
fn mappings() -> usize {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let size = |line: &str| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        Some(u64::from_str_radix(end, 16).ok()? - u64::from_str_radix(start, 16).ok()?)
    };
    maps.lines().filter(|line| size(line) > Some(1 << 30)).count()
}

/// HOSTILE 20: when reservations run out, there is an error, and pooled memories still work.
#[test]
fn reservations_end_with_an_error() {
    let _alone = MAPPINGS.lock().unwrap();
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let wasm = wat::parse_str("(module (memory 1))").unwrap();
    let options = CompileOptions { memory: MemoryLayout::Reserved, ..CompileOptions::default() };
    let linked = Linker::new().link(&Module::compile_with(&engine, &wasm, options).unwrap()).unwrap();
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let error = loop {
        match store.instantiate(&linked) {
            Ok(instance) => assert!(instance.index() < 10_000, "there is a limit"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, InstantiateError::Exhausted(_)), "{error}");
    assert!(!engine.can_reserve());
    // The same store continues with a pooled memory, and the failed one is not counted.
    let pooled = Linker::new().link(&Module::compile(&engine, &wasm).unwrap()).unwrap();
    let before = store.memory_size();
    store.instantiate(&pooled).unwrap();
    assert_eq!(store.memory_size(), before + (64 << 10));
    drop(store);
    assert!(engine.can_reserve());
    Store::new(&engine, (), StoreLimits::default()).instantiate(&linked).unwrap();
}

#[test]
fn code_for_a_reserved_memory_imports_no_pooled_one() {
    let engine = Engine::new(EngineConfig::default()).unwrap();
    let exporting = wat::parse_str(r#"(module (memory (export "m") 1))"#).unwrap();
    let importing = wat::parse_str(r#"(module (import "a" "m" (memory 1)))"#).unwrap();
    for (from, to, works) in [
        (MemoryLayout::Pooled, MemoryLayout::Reserved, false),
        (MemoryLayout::Reserved, MemoryLayout::Reserved, true),
        (MemoryLayout::Reserved, MemoryLayout::Pooled, true),
    ] {
        let compile = |wasm: &[u8], memory| {
            Module::compile_with(&engine, wasm, CompileOptions { memory, untrusted: false }).unwrap()
        };
        let mut store = Store::new(&engine, (), StoreLimits::default());
        let exporter = store.instantiate_with(&compile(&exporting, from), &[]).unwrap();
        let export = store.export(exporter, "m").unwrap();
        let imported = store.instantiate_with(&compile(&importing, to), &[export]);
        assert_eq!(imported.is_ok(), works, "{imported:?}");
        assert!(works || matches!(imported, Err(InstantiateError::MemoryLayout)));
    }
}
