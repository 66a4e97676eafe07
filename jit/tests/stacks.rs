//! Functions and their stacks: functions with large frames run, and a function that could never run is
//! refused with its name.

use lunatic_instrument::{Options, prepare};
use lunatic_jit::{CompileError, Engine, EngineConfig, Linker, Module, Store, StoreLimits, TrapKind, Value};

fn engine(max_stack_size: usize) -> Engine {
    Engine::new(EngineConfig { max_stack_size, ..EngineConfig::default() }).unwrap()
}

fn prepared(text: &str) -> Vec<u8> {
    let wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    prepare(&wasm, &Options::default()).unwrap().bytes
}

fn run(engine: &Engine, wasm: &[u8], stack_size: Option<usize>, argument: i32) -> Result<Value, TrapKind> {
    let module = Module::compile(engine, wasm).unwrap_or_else(|error| panic!("{error}"));
    let limits = StoreLimits { stack_size, ..StoreLimits::default() };
    let mut store = Store::new(engine, (), limits);
    let instance = store.instantiate(&Linker::new().link(&module).unwrap()).unwrap();
    let function = module.exported_function("run").unwrap();
    let result = store.call(instance, function, &[Value::I32(argument)]);
    result.map(|results| results[0]).map_err(|trap| trap.kind)
}

/// Locals that are changed under many conditions, as in the main function of an interpreter.
fn changes(locals: u32, conditions: u32) -> String {
    let change = |condition: u32| -> String {
        let next = |local| local % locals + 1;
        let sum = |local| {
            let addend = condition * local + 1;
            format!("(local.set {local} (i32.add (local.get {}) (i32.const {addend})))", next(local))
        };
        let sums: String = (1..=locals).map(sum).collect();
        format!("(if (i32.and (local.get 0) (i32.const {})) (then {sums}))", condition + 1)
    };
    let (changes, declared): (String, _) =
        ((0..conditions).map(change).collect(), "i32 ".repeat(locals as usize));
    let total: String = (1..=locals).map(|local| format!("(local.get {local}) i32.add ")).collect();
    format!(
        r#"(module (func (export "run") (param i32) (result i32) (local {declared}) {changes} (i32.const 0) {total}))"#
    )
}

/// Computes what [`changes`] computes.
fn changed(locals: usize, conditions: u32, argument: i32) -> i32 {
    let mut values = vec![0i32; locals + 1];
    for condition in 0..conditions {
        if argument & (condition + 1) as i32 != 0 {
            for local in 1..=locals {
                let addend = (condition as i32).wrapping_mul(local as i32).wrapping_add(1);
                values[local] = values[local % locals + 1].wrapping_add(addend);
            }
        }
    }
    values.iter().fold(0, |sum, value| sum.wrapping_add(*value))
}

#[test]
fn functions_with_large_frames_for_their_code_run() {
    let engine = engine(0);
    let body = |code: String| {
        format!(
            r#"(module (memory 1) (func $f)
            (func (export "run") (param i32) (result i32) {code} (local.get 0)))"#
        )
    };
    let cases = [
        ("changes of locals", changes(100, 200), changed(100, 200, 7)),
        ("conditional calls", body("(if (i32.eqz (local.get 0)) (then (call $f)))".repeat(7200)), 7),
        (
            "many more conditional calls",
            body("(if (i32.eqz (local.get 0)) (then (call $f)))".repeat(14_000)),
            7,
        ),
        ("bulk operations", body("(memory.fill (i32.const 0) (i32.const 0) (i32.const 0))".repeat(6600)), 7),
        ("loops", body("(loop)".repeat(10_200)), 7),
    ];
    for (what, text, expected) in cases {
        let result = run(&engine, &prepared(&text), None, 7);
        assert!(matches!(result, Ok(Value::I32(found)) if found == expected), "{what}: {result:?}");
    }
}

/// Two kilobytes of nested loops that change many locals cannot be optimised in any reasonable time, and
/// baseline code needs a slot for each of a hundred thousand values.
#[test]
fn a_function_whose_frame_fits_no_stack_is_refused_with_its_name() {
    let (locals, depth) = (300, 300);
    let change: String =
        (0..locals).map(|i| format!("(local.set {i} (i32.add (local.get {i}) (i32.const {i})))")).collect();
    let text = format!(
        r#"(module (func $f) (func $g) (func $nested (export "run") (param i32) (result i32) (local {}) {} {change} {} (local.get 0)))"#,
        "i32 ".repeat(locals),
        "loop ".repeat(depth),
        "(br_if 0 (i32.const 0)) end ".repeat(depth)
    );
    let wasm = prepared(&text);
    let error = Module::compile(&engine(0), &wasm).unwrap_err();
    let message = error.to_string();
    let CompileError::Frame { function, name, frame, most } = error else { panic!("{message}") };
    // In the prepared module, it is function 3.
    assert_eq!((function, name.as_deref()), (2, Some("nested")));
    assert!(frame > most && most < 256 << 10 && most > 200 << 10, "{frame} {most}");
    assert!(message.starts_with(&format!("function 2 (nested) needs a frame of {frame} bytes")), "{message}");
    // On a large enough stack, it runs.
    let large = engine(8 << 20);
    assert!(matches!(run(&large, &wasm, Some(8 << 20), 7), Ok(Value::I32(_))));
    assert!(matches!(run(&large, &wasm, None, 7), Err(TrapKind::StackOverflow)));
}

#[test]
fn a_store_gets_the_stack_size_that_it_asks_for() {
    const DEEP: &str = r#"(module (func $deep (export "run") (param i32) (result i32)
        (if (i32.eqz (local.get 0)) (then (return (i32.const 0))))
        (i32.add (call $deep (i32.sub (local.get 0) (i32.const 1))) (i32.const 1))))"#;
    let engine = engine(4 << 20);
    let wasm = prepared(DEEP);
    // The smallest depth that overflows.
    let depth = |stack_size| {
        let (mut works, mut fails) = (0, 2_000_000);
        while works + 1 < fails {
            let middle = (works + fails) / 2;
            match run(&engine, &wasm, stack_size, middle) {
                Ok(_) => works = middle,
                Err(_) => fails = middle,
            }
        }
        fails
    };
    let usual = depth(None);
    assert!(usual > 2000);
    assert_eq!(depth(Some(256 << 10)), usual);
    for (asked, factor) in [(1 << 20, 4), (4 << 20, 16), (usize::MAX, 16)] {
        let depth = depth(Some(asked));
        assert!(
            (usual * factor..=usual * (factor + 2)).contains(&depth),
            "{asked}: {depth}, usually {usual}"
        );
    }
    assert!(depth(Some(0)) < usual / 3);
}
