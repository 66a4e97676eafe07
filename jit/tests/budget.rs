//! Compilation can be limited and stopped.

use std::time::{Duration, Instant};

use lunatic_jit::{
    Budget, Cancellation, CompileError, CompileOptions, Deadline, Engine, EngineConfig, Linker, Module,
};

fn engine() -> Engine {
    Engine::new(EngineConfig::default()).unwrap()
}

/// A module with this number of functions, large enough for several threads.
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
    // Compiling all of it takes many seconds. The limit is generous, for a busy machine.
    assert!(waited < Duration::from_secs(5), "{waited:?}");
}

/// HOSTILE 15.
#[test]
fn compilation_stops_at_its_deadline() {
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

/// What a module takes in addition to its code, as long as it is loaded: names, data, tables and their
/// contents.
#[test]
fn the_size_of_data_other_than_code_is_limited() {
    let engine = engine();
    let items = "$f ".repeat(100_000);
    let expressions = "(ref.null func) ".repeat(100_000);
    let exports: String = (0..10_000)
        .map(|n| format!("(export \"a rather long name of an export, number {n}\" (func $f))"))
        .collect();
    for (what, text) in [
        ("data", format!("(memory 32) (data \"{}\")", "x".repeat(1 << 20))),
        ("functions in segments", format!("(table 100000 funcref) (elem (i32.const 0) func {items})")),
        ("expressions in segments", format!("(elem funcref {expressions})")),
        ("exports", exports),
    ] {
        let wasm = wat::parse_str(format!("(module {text} (func $f))")).unwrap();
        let compile = |max_data| {
            let budget = Budget { max_data, ..Budget::default() };
            Module::compile_within(&engine, &wasm, CompileOptions::default(), &budget)
        };
        let error = compile(500_000).unwrap_err();
        assert_eq!(error.to_string(), "compiling it takes more memory than is allowed", "{what}");
        let module = compile(4 << 20).unwrap_or_else(|error| panic!("{what}: {error}"));
        let linked = Linker::<()>::new().link(&module).unwrap();
        assert!((500_000..5 << 20).contains(&linked.host_bytes()), "{what}: {}", linked.host_bytes());
    }
}

/// A table of ten million null entries, declared in a few bytes, takes no memory.
#[test]
#[cfg_attr(not(target_os = "linux"), ignore = "nothing tells how much is resident")]
fn tables_of_nulls_take_no_memory() {
    let engine = engine();
    let wasm = wat::parse_str("(module (table 10000000 funcref))").unwrap();
    let resident = || {
        let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
        statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
    };
    let before = resident();
    let linked: Vec<_> = (0..20)
        .map(|_| Linker::<()>::new().link(&Module::compile(&engine, &wasm).unwrap()).unwrap())
        .collect();
    // Twenty times 80 MB would be 1.6 GB. Other tests of this file take less than a quarter of that at the
    // same time.
    let took = resident().saturating_sub(before);
    assert!(took < 400 << 20, "{took} bytes");
    assert!(linked.iter().all(|linked| linked.host_bytes() < 100_000));
}

#[test]
fn the_first_error_in_the_module_is_reported() {
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
