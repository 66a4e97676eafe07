//! Precompiled modules do what freshly compiled modules do, and bytes that do not fit are refused.

use lunatic_jit::{
    Budget, Caller, CompileOptions, Engine, EngineConfig, Linker, MemoryLayout, Module, PrecompiledError,
    Store, StoreLimits, TrapKind, Value,
};

/// Direct and indirect calls, a type that the engine numbers, a host function, memory, data, a global, and traps.
const GUEST: &str = r#"(module $guest
    (type $short (func (param i32) (result i32)))
    (type $long (func (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
    (import "host" "twice" (func $twice (type $short)))
    (memory (export "memory") 1)
    (data (i32.const 8) "\2a\00\00\00")
    (global $count (mut i32) (i32.const 1))
    (table funcref (elem $double $last $twice))
    (func $double (type $short) (i32.mul (local.get 0) (i32.const 2)))
    (func $last (type $long) (local.get 9))
    (func (export "direct") (result i32)
        (global.set $count (i32.add (global.get $count) (i32.const 1)))
        (call $double (call $twice (i32.add (global.get $count) (i32.load (i32.const 8))))))
    (func (export "long") (param i32) (result i32)
        (call_indirect (type $long) (i32.const 0) (i32.const 1) (i32.const 2) (i32.const 3) (i32.const 4)
            (i32.const 5) (i32.const 6) (i32.const 7) (i32.const 8) (i32.const 9) (local.get 0)))
    (func $fails (export "fails") (result i32) (i32.div_u (i32.const 1) (i32.const 0))))"#;

fn engine(config: EngineConfig) -> Engine {
    Engine::new(config).expect("this machine is supported")
}

fn precompile(engine: &Engine, options: CompileOptions) -> Vec<u8> {
    let wasm = wat::parse_str(GUEST).expect("it is valid");
    engine.precompile(&wasm, options, &Budget::default()).expect("it is supported")
}

fn load(engine: &Engine, bytes: &[u8]) -> Result<Module, PrecompiledError> {
    // SAFETY: the bytes were made by `precompile`; those that a test has changed are refused before anything runs.
    unsafe { Module::from_precompiled(engine, bytes) }
}

/// Calls the exports of the guest, and returns the outcomes as text.
fn run(engine: &Engine, module: &Module) -> Vec<String> {
    let mut linker = Linker::<()>::new();
    linker.func("host", "twice", |_: &mut Caller<'_, ()>, n: i32| n * 2);
    let linked = linker.link(module).expect("nothing is missing");
    let mut store = Store::new(engine, (), StoreLimits::default());
    let instance = store.instantiate(&linked).expect("it fits");
    let calls =
        [("direct", vec![]), ("long", vec![Value::I32(1)]), ("long", vec![Value::I32(0)]), ("fails", vec![])];
    let outcomes = calls.into_iter().map(|(name, args)| {
        let function = module.exported_function(name).expect("it is exported");
        match store.call(instance, function, &args) {
            Ok(results) => format!("{results:?}"),
            Err(trap) => format!("{trap} {:?}", trap.backtrace),
        }
    });
    outcomes.collect()
}

#[test]
fn precompiled_code_does_what_compiled_code_does() {
    let compiling = engine(EngineConfig::default());
    for memory in [MemoryLayout::Pooled, MemoryLayout::Reserved] {
        for untrusted in [false, true] {
            let options = CompileOptions { memory, untrusted };
            let wasm = wat::parse_str(GUEST).expect("it is valid");
            let compiled = Module::compile_with(&compiling, &wasm, options).expect("it is supported");
            let bytes = precompile(&compiling, options);
            // Another engine, which assigns other numbers to the long types.
            let running = engine(EngineConfig::default());
            let other = "(module (type (func (param f32 f32 f32 f32 f32 f32 f32 f32 f32 f32 f32))))";
            let _other =
                Module::compile(&running, &wat::parse_str(other).expect("it is valid")).expect("it is");
            let loaded = load(&running, &bytes).expect("it fits");
            assert_eq!(loaded.options(), options);
            let expected = run(&compiling, &compiled);
            assert_eq!(run(&running, &loaded), expected);
            assert_eq!(expected[..2], ["[I32(176)]", "[I32(9)]"]);
            assert!(expected[3].contains("\"fails\""), "{expected:?}");
        }
    }
}

#[test]
fn damaged_bytes_are_refused() {
    let engine = engine(EngineConfig::default());
    let bytes = precompile(&engine, CompileOptions::default());
    for length in (0..bytes.len()).step_by(7) {
        assert!(matches!(load(&engine, &bytes[..length]), Err(PrecompiledError::Malformed)), "{length}");
    }
    for at in (0..bytes.len()).step_by(5) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        assert!(matches!(load(&engine, &damaged), Err(PrecompiledError::Malformed)), "byte {at}");
    }
}

/// Replaces text in the identity by text of the same length, with a checksum that matches.
fn changed(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let at = bytes.windows(from.len()).position(|window| window == from.as_bytes()).expect("it is there");
    let mut bytes = bytes[..bytes.len() - 4].to_vec();
    bytes[at..][..to.len()].copy_from_slice(to.as_bytes());
    let checksum = crc32(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The checksum of ISO 3309, bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(
            crc ^ u32::from(byte),
            |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 },
        )
    })
}

#[test]
fn code_for_another_engine_or_machine_is_refused() {
    let own = engine(EngineConfig::default());
    let bytes = precompile(&own, CompileOptions::default());
    assert!(load(&own, &changed(&bytes, "trusted", "trusted")).is_ok(), "the checksum is made correctly");
    let refusal = |from, to| load(&own, &changed(&bytes, from, to)).map(|_| ()).unwrap_err();
    for (from, to) in [("sources ", "sourcez "), ("system ", "sistem "), ("page size", "page sice")] {
        let refused = refusal(from, to);
        assert!(matches!(refused, PrecompiledError::Identity { .. }), "{from}: {refused}");
    }
    if cfg!(target_arch = "x86_64") {
        let refused = refusal("has_sse3", "has_ssx3");
        assert!(matches!(&refused, PrecompiledError::Processor(name) if name == "has_ssx3"), "{refused}");
        let message = refused.to_string();
        assert!(message.contains("`has_ssx3`") && message.contains("this one lacks"), "{message}");
    }
    let canonical = engine(EngineConfig { canonical_nans: true, ..EngineConfig::default() });
    let refused = load(&canonical, &bytes).unwrap_err();
    assert!(
        matches!(&refused, PrecompiledError::Identity { expected, .. } if expected == "canonical nans true")
    );
}

#[test]
fn a_stack_overflow_in_precompiled_code_is_a_trap() {
    let engine = engine(EngineConfig::default());
    let wasm = wat::parse_str("(module (func $f (export \"f\") (call $f)))").expect("it is valid");
    let bytes =
        engine.precompile(&wasm, CompileOptions::default(), &Budget::default()).expect("it is supported");
    let module = load(&engine, &bytes).expect("it fits");
    let mut store = Store::new(&engine, (), StoreLimits::default());
    let instance = store.instantiate(&Linker::new().link(&module).expect("no imports")).expect("it fits");
    let function = module.exported_function("f").expect("it is exported");
    let trap = store.call(instance, function, &[]).unwrap_err();
    assert!(matches!(trap.kind, TrapKind::StackOverflow), "{trap}");
}
