//! Guests of the benchmarks, and functions to run them.

pub mod bare;
pub mod enlarge;
pub mod peer;
pub mod server;
pub mod table;

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use lunatic_executor::{Parts, Program, Runtime, RuntimeConfig};
use lunatic_tests::guests::root;

/// Builds a module of `benches/guests`.
///
/// # Panics
/// If it cannot be built.
pub fn guest(name: &str) -> Vec<u8> {
    let path = lunatic_tests::guests::build(&format!("benches/guests/{name}"), name);
    std::fs::read(path).expect("it has just been built")
}

/// Builds `lunatic-exec`.
///
/// # Panics
/// If it cannot be built.
pub fn command() -> PathBuf {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--release", "--package", "lunatic-cli"]).current_dir(root());
    assert!(cargo.status().expect("cargo runs").success(), "the command can be built");
    root().join("target/release/lunatic-exec")
}

/// Runs a program from its first instruction to the end of its first process. Returns the time that this took, without loading.
///
/// # Panics
/// If it does not run, or exits with anything but 0.
pub fn run(module: &[u8], args: &[&str], workers: usize) -> Duration {
    let args = std::iter::once("bench").chain(args.iter().copied()).map(String::from).collect();
    let runtime = Runtime::new(RuntimeConfig::default().workers(workers).args(args));
    let runtime = runtime.expect("the runtime works on this machine");
    let program: Program = runtime.load(module).expect("the module is valid");
    let start = Instant::now();
    let status = runtime.run(&program);
    let time = start.elapsed();
    assert_eq!(status.0, 0, "the benchmark failed");
    time
}

/// Runs a program to its end. Returns its standard output.
///
/// # Panics
/// If it does not run, or exits with anything but 0.
pub fn said(module: &[u8], args: &[&str], workers: usize) -> String {
    let args = std::iter::once("bench").chain(args.iter().copied()).map(String::from).collect();
    let config = RuntimeConfig::default().workers(workers).args(args);
    let output = Output::default();
    let parts = Parts { stdout: Box::new(output.clone()), ..Parts::default() };
    let runtime = Runtime::with_parts(config, parts).expect("the runtime works on this machine");
    let program = runtime.load(module).expect("the module is valid");
    assert_eq!(runtime.run(&program).0, 0, "the benchmark failed");
    let bytes = output.0.lock().expect("nothing panics while it is held").clone();
    String::from_utf8(bytes).expect("the guest writes text")
}

/// A sink that keeps the output of a guest.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics while it is held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A minimal hand-written module: its first process spawns a child and waits for the child's message, `count` times. A child sends
/// an empty message and exits.
///
/// # Panics
/// Never: the text is valid for every number.
pub fn tiny_spawner(count: u64) -> Vec<u8> {
    let text = format!(
        r#"(module
            (import "lunatic::process" "spawn"
                (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
            (import "lunatic::process" "process_id" (func $process_id (result i64)))
            (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
            (import "lunatic::message" "send" (func $send (param i64) (result i32)))
            (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
            (memory (export "memory") 1)
            (data (i32.const 16) "child")
            (data (i32.const 32) "\7e")
            (func (export "child") (param $parent i64)
                (call $create_data (i64.const 0) (i64.const 0))
                (drop (call $send (local.get $parent))))
            (func (export "_start") (local $left i64)
                (i64.store (i32.const 33) (call $process_id))
                (local.set $left (i64.const {count}))
                (loop $next
                    (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
                        (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 17) (i32.const 0)))
                    (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
                    (br_if $next (i64.ne (i64.const 0)
                        (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))))"#
    );
    wat::parse_str(text).expect("the text is valid")
}

/// A hand-written module whose first process spawns the number of children that its last argument says, waits for a message of
/// each, prints a line, and waits for ever, as the children do.
///
/// # Panics
/// Never: the text is valid.
pub fn tiny_parker() -> Vec<u8> {
    let text = r#"(module
        (import "lunatic::process" "spawn"
            (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
        (import "lunatic::process" "process_id" (func $process_id (result i64)))
        (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
        (import "lunatic::message" "send" (func $send (param i64) (result i32)))
        (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
        (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
        (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 16) "child")
        (data (i32.const 32) "\7e")
        (data (i32.const 64) "\50\00\00\00\07\00\00\00")
        (data (i32.const 80) "parked\n")
        (func $wait (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1))))
        (func (export "child") (param $parent i64)
            (call $create_data (i64.const 0) (i64.const 0))
            (drop (call $send (local.get $parent)))
            (call $wait))
        (func $count (result i64) (local $at i32) (local $digit i32) (local $count i64)
            (drop (call $args_get (i32.const 128) (i32.const 1024)))
            (local.set $at (i32.load (i32.const 136)))
            (loop $next
                (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
                (if (i32.lt_u (local.get $digit) (i32.const 10)) (then
                    (local.set $count (i64.add (i64.mul (local.get $count) (i64.const 10))
                        (i64.extend_i32_u (local.get $digit))))
                    (local.set $at (i32.add (local.get $at) (i32.const 1)))
                    (br $next))))
            (local.get $count))
        (func (export "_start") (local $left i64) (local $i i64)
            (i64.store (i32.const 33) (call $process_id))
            (local.set $left (call $count))
            (local.set $i (local.get $left))
            (loop $next
                (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
                    (i32.const 16) (i32.const 5) (i32.const 32) (i32.const 17) (i32.const 0)))
                (br_if $next (i64.ne (i64.const 0) (local.tee $i (i64.sub (local.get $i) (i64.const 1))))))
            (loop $next
                (call $wait)
                (br_if $next (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
            (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72)))
            (call $wait)))"#;
    wat::parse_str(text).expect("the text is valid")
}
