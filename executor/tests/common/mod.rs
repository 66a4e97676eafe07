//! Runs guests written as text and captures their output.
#![allow(dead_code)] // Each test file uses some of it.

pub(crate) mod abi;
mod imports;
pub(crate) mod scenarios;
pub(crate) mod simulated;
#[path = "../../../tests/src/skip.rs"]
mod skipping;
pub(crate) mod soak;

use std::io::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lunatic_executor::{Parts, Runtime, RuntimeConfig};

#[allow(unused_imports)] // As above.
pub(crate) use imports::with_imports;
#[allow(unused_imports)] // As above.
pub(crate) use skipping::skip;

/// Longer than any test takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// The bytes that a short message counts in its receiver's mailbox.
pub(crate) const SHORT_MESSAGE: u64 = 96;

/// The result of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A sink that keeps all bytes.
#[derive(Clone, Default)]
pub(crate) struct Captured(Arc<Mutex<Vec<u8>>>);

impl Captured {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.bytes()).unwrap()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

impl Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A configuration with this number of workers.
pub(crate) fn workers(workers: usize) -> RuntimeConfig {
    RuntimeConfig::default().workers(workers).args(vec!["guest".into()])
}

/// Runs a guest to its end.
pub(crate) fn run(config: RuntimeConfig, wat: &str) -> Outcome {
    let running = start(config, wat);
    match running.ended.recv_timeout(PATIENCE) {
        Ok(status) => Outcome { status, stdout: running.stdout.text(), stderr: running.stderr.text() },
        Err(RecvTimeoutError::Timeout) => {
            panic!("it hangs; so far: {:?} {:?}", running.stdout.text(), running.stderr.text())
        }
        Err(RecvTimeoutError::Disconnected) => panic!("the runtime panicked"),
    }
}

/// Runs a guest with this body on one worker and on three. It has to succeed on each. Returns the results.
pub(crate) fn passes(body: &str) -> Vec<Outcome> {
    let run_with = |count| {
        let outcome = run(workers(count), &guest(body));
        assert_eq!(outcome.status, 0, "{count} workers: {}{}", outcome.stdout, outcome.stderr);
        outcome
    };
    [1, 3].map(run_with).into()
}

/// A running guest.
pub(crate) struct Running {
    pub(crate) ended: Receiver<i32>,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) shutdown_handle: lunatic_executor::ShutdownHandle,
}

/// Starts a guest.
pub(crate) fn start(config: RuntimeConfig, wat: &str) -> Running {
    let wasm = wat::parse_str(with_imports(wat)).expect("the guest is valid text");
    let (stdout, stderr) = (Captured::default(), Captured::default());
    let parts =
        Parts { stdout: Box::new(stdout.clone()), stderr: Box::new(stderr.clone()), ..Parts::default() };
    let runtime = Runtime::with_parts(config, parts).unwrap();
    let program = runtime.load(&wasm).unwrap_or_else(|error| panic!("{error}"));
    let shutdown_handle = runtime.shutdown_handle();
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(runtime.run(&program).0));
    Running { ended, stdout, stderr, shutdown_handle }
}

/// A guest with this body, the imports that it needs, a memory, and helpers:
///
/// - `$say (text, length)` writes to standard output;
/// - `$spawn (link, name, length) -> pid` spawns an export that takes no parameters;
/// - `$send (pid, tag)` sends an empty message; `$send_value (pid, tag, value)` one of 8 bytes;
/// - `$value -> i64` reads the current message's 8 bytes;
/// - `$wait (tag, timeout) -> kind` receives; tag 0 is any;
/// - `$assert (condition)` traps when it is 0.
///
/// The helpers use the bytes below 1024; `body` may use those from 1024 on.
pub(crate) fn guest(body: &str) -> String {
    with_imports(&format!("(module {HELPERS} {body})"))
}

const HELPERS: &str = r#"
  (memory (export "memory") 2)

  (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
  (func $say (param i32 i32)
    (i32.store (i32.const 0) (local.get 0))
    (i32.store (i32.const 4) (local.get 1))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $spawn_with (param $link i64) (param $config i64) (param $name i32) (param $len i32) (result i64)
    (call $assert (i32.eqz (call $spawn_raw (local.get $link) (local.get $config) (i64.const -1)
      (local.get $name) (local.get $len) (i32.const 0) (i32.const 0) (i32.const 16))))
    (i64.load (i32.const 16)))
  (func $spawn (param $link i64) (param $name i32) (param $len i32) (result i64)
    (call $spawn_with (local.get $link) (i64.const -1) (local.get $name) (local.get $len)))
  (func $send (param $to i64) (param $tag i64)
    (call $create_data (local.get $tag) (i64.const 0))
    (drop (call $send_raw (local.get $to))))
  (func $prepare_value (param $tag i64) (param $value i64)
    (call $create_data (local.get $tag) (i64.const 8))
    (i64.store (i32.const 24) (local.get $value))
    (drop (call $write_data (i32.const 24) (i32.const 8))))
  (func $send_value (param $to i64) (param $tag i64) (param $value i64)
    (call $prepare_value (local.get $tag) (local.get $value))
    (drop (call $send_raw (local.get $to))))
  (func $value (result i64)
    (call $assert (i32.eq (call $read_data (i32.const 24) (i32.const 8)) (i32.const 8)))
    (i64.load (i32.const 24)))
  (func $wait (param $tag i64) (param $timeout i64) (result i32)
    (i64.store (i32.const 32) (local.get $tag))
    (call $receive (i32.const 32) (i64.ne (local.get $tag) (i64.const 0)) (local.get $timeout)))
  (func $now (result i64)
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 40)))
    (i64.load (i32.const 40)))
"#;
