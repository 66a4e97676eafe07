//! Modules that guests compile: what a compilation may take, and what happens to it when the guest ends. Also, the cache that an
//! embedder gives to a runtime.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use common::{Captured, guest, run, workers};
use lunatic_executor::{Cache, Clock, Parts, Runtime};

/// A string of WebAssembly text with these bytes.
fn quoted(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("\\{byte:02x}")).collect()
}

/// A module of about `size` bytes, all of it code.
fn module(size: usize) -> Vec<u8> {
    let body = "(local.set 0 (i32.div_u (i32.const 77777) (local.get 0)))".repeat(20);
    let function = format!("(func (param i32) (result i32) {body} (local.get 0))");
    let one = wat::parse_str(format!("(module {function})")).unwrap().len();
    wat::parse_str(format!("(module {})", function.repeat(size / one))).unwrap()
}

#[test]
fn a_guest_compiles_a_module() {
    let wasm = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    let outcome = run(
        workers(1),
        &guest(&format!(
            r#"
            (data (i32.const 4096) "{}")
            (func (export "_start")
              (call $assert (i32.eqz (call $compile_module (i32.const 4096) (i32.const {}) (i32.const 64))))
              (call $assert (i32.eq (call $compile_module (i32.const 4096) (i32.const 7) (i32.const 64)) (i32.const 1))))
            "#,
            quoted(&wasm),
            wasm.len()
        )),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

/// HOSTILE 22 to 24: a resource in a message can be taken once, by its own index, and their number is limited.
#[test]
fn a_module_in_a_message_is_taken_once() {
    let wasm = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    for (then, says) in [
        ("(drop (call $take_module (i64.const 0)))", None),
        ("(drop (call $take_module (i64.const 1)))", Some("no module in the message with the identifier 1")),
        ("(drop (call $take_module (i64.const -1)))", Some("no module in the message")),
        (
            "(drop (call $take_module (i64.const 0))) (drop (call $take_module (i64.const 0)))",
            Some("no module in the message with the identifier 0"),
        ),
        (
            "(loop $more (drop (call $push_module (local.get $module))) (br $more))",
            Some("too many things in a message"),
        ),
        ("(drop (call $push_module (i64.const 77)))", Some("no module with the identifier 77")),
    ] {
        let config = workers(1).max_resources(Some(100));
        let outcome = run(
            config,
            &guest(&format!(
                r#"
                (data (i32.const 4096) "{}")
                (func (export "_start") (local $module i64)
                  (call $assert (i32.eqz (call $compile_module (i32.const 4096) (i32.const {}) (i32.const 64))))
                  (local.set $module (i64.load (i32.const 64)))
                  (call $create_data (i64.const 3) (i64.const 0))
                  (call $assert (i64.eqz (call $push_module (local.get $module))))
                  (drop (call $send_raw (call $me)))
                  (drop (call $wait (i64.const 3) (i64.const -1)))
                  {then})
                "#,
                quoted(&wasm),
                wasm.len()
            )),
        );
        assert_eq!(outcome.status, if says.is_some() { 134 } else { 0 }, "{then}: {}", outcome.stderr);
        assert!(outcome.stderr.contains(says.unwrap_or("")), "{then}: {}", outcome.stderr);
    }
}

/// HOSTILE 15 and 16, for a guest that compiles.
#[test]
fn compiling_a_module_that_is_too_large_returns_an_error() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (func (export "_start")
              (drop (memory.grow (i32.const 200)))
              (call $assert (i32.eq (call $compile_module (i32.const 0) (i32.const 9000000) (i32.const 64)) (i32.const 1))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

/// A clock that advances by twenty seconds with each reading.
#[derive(Default)]
struct Racing(AtomicU64);

impl Clock for Racing {
    fn now(&self) -> u64 {
        self.0.fetch_add(20_000_000_000, Ordering::Relaxed)
    }

    fn wall(&self) -> u64 {
        self.now()
    }
}

/// HOSTILE 15: the compilation of a guest's module has a deadline, by the node's clock.
#[test]
fn a_compilation_that_takes_too_long_returns_an_error() {
    let wasm = module(100_000);
    let text = guest(&format!(
        r#"
        (data (i32.const 4096) "{}")
        (func (export "_start")
          (call $assert (i32.eq (call $compile_module (i32.const 4096) (i32.const {}) (i32.const 64)) (i32.const 1)))
          (call $error_text (i64.load (i32.const 64)) (i32.const 1024))
          (call $say (i32.const 1024) (call $error_size (i64.load (i32.const 64)))))
        "#,
        quoted(&wasm),
        wasm.len()
    ));
    let stdout = Captured::default();
    let parts =
        Parts { clock: Box::new(Racing::default()), stdout: Box::new(stdout.clone()), ..Parts::default() };
    let runtime = Runtime::with_parts(workers(1), parts).unwrap();
    let program = runtime.load(&wat::parse_str(text).unwrap()).unwrap();
    assert_eq!(runtime.run(&program).0, 0);
    assert_eq!(stdout.text(), "compiling it takes more time than is allowed");
}

/// Three hundred processes begin compilations of about a second each, and are killed. If the compilations continued, the last
/// process would wait longer than the test does.
#[test]
fn the_compilations_of_killed_processes_are_cancelled() {
    let wasm = module(100_000);
    let outcome = run(
        workers(2),
        &guest(&format!(
            r#"
            (data (i32.const 4096) "{}")
            (data (i32.const 1024) "child")
            (func (export "child")
              (drop (call $compile_module (i32.const 4096) (i32.const {}) (i32.const 64))))
            (func (export "_start") (local $left i32) (local $child i64)
              (local.set $left (i32.const 300))
              (loop $again
                (local.set $child (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
                (call $sleep (i64.const 3))
                (call $kill (local.get $child))
                (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
              (call $assert (i32.eq (call $compile_module (i32.const 4096) (i32.const 7) (i32.const 64)) (i32.const 1))))
            "#,
            quoted(&wasm),
            wasm.len()
        )),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn programs_are_cached_and_modules_of_guests_are_not() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Arc::new(Cache::open(directory.path(), Cache::DEFAULT_LIMIT).unwrap());
    let wasm = wat::parse_str(r#"(module (func (export "f")))"#).unwrap();
    let text = guest(&format!(
        r#"
        (data (i32.const 4096) "{}")
        (func (export "_start")
          (call $assert (i32.eqz (call $compile_module (i32.const 4096) (i32.const {}) (i32.const 64)))))
        (func $limits (call $set_max_memory (call $create_config) (i64.const 65536)))
        "#,
        quoted(&wasm),
        wasm.len()
    ));
    for _ in 0..2 {
        let config = workers(1).cache(Some(cache.clone()));
        assert_eq!(run(config, &text).status, 0);
        // The guest imports functions that spawn and set limits, so its code is compiled for both layouts of memories.
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 2);
    }
}
