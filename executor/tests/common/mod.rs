//! Runs a guest written as text and captures what it says.
#![allow(dead_code)] // Each test file uses some of it.

pub(crate) mod abi;
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
pub(crate) use skipping::skip;

/// Longer than any test takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What a message of a few bytes counts in its receiver's mailbox.
pub(crate) const SHORT_MESSAGE: u64 = 96;

/// What became of a run.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) status: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// A sink that keeps everything.
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

/// A configuration for so many workers.
pub(crate) fn workers(workers: usize) -> RuntimeConfig {
    RuntimeConfig { workers, args: vec!["guest".into()], ..RuntimeConfig::default() }
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

/// A guest that runs.
pub(crate) struct Running {
    pub(crate) ended: Receiver<i32>,
    pub(crate) stdout: Captured,
    pub(crate) stderr: Captured,
    pub(crate) shutdown_handle: lunatic_executor::ShutdownHandle,
}

/// Starts a guest.
pub(crate) fn start(config: RuntimeConfig, wat: &str) -> Running {
    let wasm = wat::parse_str(wat).expect("the guest is valid text");
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

/// The imports that guests in these tests use, a memory, and helpers:
///
/// - `$say (text, length)` writes to standard output;
/// - `$spawn (link, name, length) -> pid` spawns an export that takes no parameters;
/// - `$send (pid, tag)` sends an empty message; `$send_value (pid, tag, value)` one of 8 bytes;
/// - `$value -> i64` reads the current message's 8 bytes;
/// - `$wait (tag, timeout) -> kind` receives; tag 0 is any;
/// - `$assert (condition)` traps when it is 0.
///
/// Bytes below 1024 are the helpers'; `body` may use those from 1024 on.
pub(crate) fn guest(body: &str) -> String {
    format!("(module {PRELUDE} {body})")
}

const PRELUDE: &str = r#"
  (import "lunatic::process" "spawn" (func $spawn_raw (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "get_or_spawn" (func $get_or_spawn_raw (param i32 i32 i64 i64 i64 i32 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $me (result i64)))
  (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
  (import "lunatic::process" "die_when_link_dies" (func $die_when_link_dies (param i32)))
  (import "lunatic::process" "link" (func $link (param i64 i64)))
  (import "lunatic::process" "unlink" (func $unlink (param i64)))
  (import "lunatic::process" "monitor" (func $monitor (param i64)))
  (import "lunatic::process" "stop_monitoring" (func $stop_monitoring (param i64)))
  (import "lunatic::process" "kill" (func $kill (param i64)))
  (import "lunatic::process" "exists" (func $exists (param i64) (result i32)))
  (import "lunatic::process" "create_config" (func $create_config (result i64)))
  (import "lunatic::process" "config_set_max_memory" (func $set_max_memory (param i64 i64)))
  (import "lunatic::process" "config_get_max_memory" (func $get_max_memory (param i64) (result i64)))
  (import "lunatic::process" "config_set_max_fuel" (func $set_max_fuel (param i64 i64)))
  (import "lunatic::process" "config_set_can_spawn_processes" (func $set_can_spawn (param i64 i32)))
  (import "lunatic::process" "config_can_spawn_processes" (func $can_spawn (param i64) (result i32)))
  (import "lunatic::process" "config_set_can_create_configs" (func $set_can_create (param i64 i32)))
  (import "lunatic::process" "config_set_can_compile_modules" (func $set_can_compile (param i64 i32)))
  (import "lunatic::process" "drop_config" (func $drop_config (param i64)))
  (import "lunatic::process" "compile_module" (func $compile_module (param i32 i32 i32) (result i32)))
  (import "lunatic::process" "drop_module" (func $drop_module (param i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "get_tag" (func $get_tag (result i64)))
  (import "lunatic::message" "get_process_id" (func $get_process_id (result i64)))
  (import "lunatic::message" "send" (func $send_raw (param i64) (result i32)))
  (import "lunatic::message" "send_receive_skip_search" (func $request (param i64 i64 i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::error" "string_size" (func $error_size (param i64) (result i32)))
  (import "lunatic::error" "to_string" (func $error_text (param i64 i32)))
  (import "lunatic::error" "drop" (func $drop_error (param i64)))
  (import "lunatic::message" "push_module" (func $push_module (param i64) (result i64)))
  (import "lunatic::message" "take_module" (func $take_module (param i64) (result i64)))
  (import "lunatic::registry" "put" (func $put (param i32 i32 i64 i64)))
  (import "lunatic::registry" "get" (func $get (param i32 i32 i32 i32) (result i32)))
  (import "lunatic::registry" "remove" (func $remove (param i32 i32)))
  (import "lunatic::timer" "send_after" (func $send_after (param i64 i64) (result i64)))
  (import "lunatic::timer" "cancel_timer" (func $cancel_timer (param i64) (result i32)))
  (import "lunatic::trap" "catch" (func $catch (param i32 i32) (result i32)))
  (import "lunatic::ext" "version" (func $ext_version (result i32)))
  (import "lunatic::ext::death" "kind" (func $death_kind (result i32)))
  (import "lunatic::ext::death" "code" (func $death_code (result i64)))
  (import "lunatic::ext::death" "cause_kind" (func $death_cause_kind (result i32)))
  (import "lunatic::ext::death" "cause_code" (func $death_cause_code (result i64)))
  (import "lunatic::ext::death" "process" (func $death_process (result i64)))
  (import "lunatic::ext::death" "reference" (func $death_reference (result i64)))
  (import "lunatic::ext::exit" "exit" (func $exit_with (param i64)))
  (import "lunatic::ext::exit" "signal" (func $exit_signal (param i64 i64)))
  (import "lunatic::ext::alias" "create" (func $alias_create (param i32) (result i64)))
  (import "lunatic::ext::alias" "drop" (func $alias_drop (param i64) (result i32)))
  (import "lunatic::ext::alias" "send" (func $alias_send (param i64 i64)))
  (import "lunatic::ext::mailbox" "set_policy" (func $mailbox_policy (param i32)))
  (import "lunatic::ext::mailbox" "dropped" (func $mailbox_dropped (result i64)))
  (import "lunatic::ext::mailbox" "length" (func $mailbox_length (result i64)))
  (import "lunatic::ext::process" "info" (func $info (param i64 i32 i32) (result i32)))
  (import "lunatic::ext::process" "set_priority" (func $set_priority (param i32) (result i32)))
  (import "lunatic::ext::process" "name" (func $name (param i64 i32 i32) (result i32)))
  (import "lunatic::ext::timer" "cancel" (func $timer_cancel (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_processes" (func $set_max_processes (param i64 i64)))
  (import "lunatic::ext::config" "get_max_processes" (func $get_max_processes (param i64) (result i64)))
  (import "lunatic::ext::config" "processes" (func $count_processes (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_mailbox" (func $set_max_mailbox (param i64 i64)))
  (import "lunatic::ext::config" "get_max_mailbox" (func $get_max_mailbox (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_messages" (func $set_max_messages (param i64 i64)))
  (import "lunatic::ext::config" "get_max_messages" (func $get_max_messages (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_reductions" (func $set_max_reductions (param i64 i64)))
  (import "lunatic::ext::config" "get_max_reductions" (func $get_max_reductions (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_priority" (func $set_max_priority (param i64 i64)))
  (import "lunatic::ext::config" "get_max_priority" (func $get_max_priority (param i64) (result i64)))
  (import "lunatic::ext::config" "set_max_resources" (func $set_max_resources (param i64 i64)))
  (import "lunatic::ext::config" "get_max_resources" (func $get_max_resources (param i64) (result i64)))
  (import "lunatic::ext::config" "set_stack_size" (func $set_stack_size (param i64 i64)))
  (import "lunatic::ext::config" "get_stack_size" (func $get_stack_size (param i64) (result i64)))
  (import "lunatic::ext::monitor" "start" (func $monitor_start (param i64) (result i64)))
  (import "lunatic::ext::monitor" "stop" (func $monitor_stop (param i64 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
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
