//! Compiling is work that can be limited and stopped.

use std::time::{Duration, Instant};

use lunatic_jit::{
    Budget, Cancellation, CompileError, CompileOptions, Deadline, Engine, EngineConfig, Module,
};

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

/// A module of so many functions, large enough for several threads.
fn functions(count: usize) -> Vec<u8> {
    let body = "(local.set 0 (i32.div_u (i32.const 77777) (local.get 0)))".repeat(20);
    let function = format!("(func (param i32) (result i32) {body} (local.get 0))");
    wat::parse_str(format!("(module {})", function.repeat(count))).unwrap()
}

/// HOSTILE 15.
#[test]
fn a_cancelled_compilation_stops() {
    let cancellation = Cancellation::default();
    let budget = Budget { cancellation: cancellation.clone(), ..Budget::default() };
    let engine = engine();
    let wasm = functions(20_000);
    let (result, waited) = std::thread::scope(|scope| {
        let compiling = scope
            .spawn(|| Module::compile_within(&engine, &wasm, CompileOptions::default(), &budget).map(drop));
        std::thread::sleep(Duration::from_millis(50));
        cancellation.cancel();
        let cancelled = Instant::now();
        (compiling.join().unwrap(), cancelled.elapsed())
    });
    assert!(matches!(result, Err(CompileError::Cancelled)), "{result:?}");
    // All of it takes many seconds; this is generous for a machine that is busy with something else.
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

/// HOSTILE 15.
#[test]
fn a_deadline_is_kept() {
    let budget = Budget { deadline: Some(Deadline::new(|| true)), ..Budget::default() };
    let error =
        Module::compile_within(&engine(), &functions(1), CompileOptions::default(), &budget).unwrap_err();
    assert_eq!(error.to_string(), "compiling it takes more time than is allowed");
}

/// HOSTILE 15.
#[test]
fn the_size_of_the_code_is_limited() {
    let engine = engine();
    for threads in [1, 4] {
        let budget = Budget { max_code: 10_000, threads, ..Budget::default() };
        Module::compile_within(&engine, &functions(1), CompileOptions::default(), &budget).unwrap();
        let error =
            Module::compile_within(&engine, &functions(500), CompileOptions::default(), &budget).unwrap_err();
        assert_eq!(error.to_string(), "compiling it takes more native code than is allowed");
    }
}

#[test]
fn the_first_error_in_the_file_is_the_one_reported() {
    let bad = "(func (result i32) (i64.const 0))";
    let good = "(func (param i32) (local.set 0 (i32.add (local.get 0) (i32.const 77777))))".repeat(2_000);
    let text = format!("(module {good} {bad} {good} {bad} {good})");
    let wasm = wat::parse_str(&text).unwrap();
    let error = |threads| {
        let budget = Budget { threads, ..Budget::default() };
        Module::compile_within(&engine(), &wasm, CompileOptions::default(), &budget).unwrap_err().to_string()
    };
    let expected = error(1);
    for _ in 0..10 {
        assert_eq!(error(4), expected);
    }
}
