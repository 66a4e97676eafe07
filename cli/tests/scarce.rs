//! A machine with few descriptors or little address space: a process that asks for more gets an error, and the others continue.
#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{command, with_app};

/// The common part of all programs here.
const PRELUDE: &str = r#"
    (memory (export "memory") 1)
    (data (i32.const 0) "child" "file")
    (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
    ;; With a configuration; the child's identifier.
    (func $child (param $config i64) (result i64)
      (call $assert (i32.eqz (call $spawn_raw (i64.const 0) (local.get $config) (i64.const -1)
        (i32.const 0) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 64))))
      (i64.load (i32.const 64)))
    (func $tell (param i64)
      (call $create_data (i64.const 1) (i64.const 0))
      (drop (call $send_raw (local.get 0))))
    (func $hear (result i32) (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
    (func $open (param $how i32) (result i32)
      (call $path_open (i32.const 3) (i32.const 0) (i32.const 5) (i32.const 4) (local.get $how) (i64.const 2)
        (i64.const 0) (i32.const 0) (i32.const 72)))
"#;

/// Runs a program with `ulimit` set to this option and value.
fn run_with(option: &str, limit: u64, options: &[&str], body: &str) -> Output {
    let directory = with_app(&format!("(module {PRELUDE} {body})"));
    std::fs::write(directory.path().join("file"), "content").expect("written");
    let exec =
        command(env!("CARGO_BIN_EXE_lunatic-exec"), directory.path(), &[options, &["app.wasm"]].concat());
    let limited = limited(&exec, directory.path(), &format!("ulimit {option} {limit} && exec \"$0\" \"$@\""));
    let kept = std::fs::read(directory.path().join("file")).expect("it is there");
    assert_eq!(kept, b"content", "a refused open has not changed the file");
    limited
}

fn limited(exec: &Command, directory: &Path, script: &str) -> Output {
    let mut shell = Command::new("sh");
    shell.current_dir(directory).env_remove("HOME").env_remove("XDG_CACHE_HOME");
    shell.args(["-c", script]).arg(exec.get_program()).args(exec.get_args());
    shell.output().expect("the shell starts")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// HOSTILE 25: a process that opens too much gets EMFILE (33), and so do others until a descriptor is closed. Nothing else is
/// affected: processes begin, send and end, and a trap is reported.
#[test]
fn descriptors_end_with_an_error_and_the_rest_goes_on() {
    let output = run_with(
        "-n",
        100,
        &["--dir", ".", "--workers", "2"],
        r#"
        (func (export "child")
          ;; No process can open one now, and the file that would have been emptied is unchanged.
          (call $assert (i32.eq (call $open (i32.const 0)) (i32.const 33)))
          (call $assert (i32.eq (call $open (i32.const 8)) (i32.const 33)))
          (call $tell (i64.const 1)))
        (func (export "_start") (local $opened i32) (local $round i32) (local $result i32)
          (loop $more
            (local.set $result (call $open (i32.const 0)))
            (if (i32.eqz (local.get $result)) (then
              (local.set $opened (i32.add (local.get $opened) (i32.const 1)))
              (br $more))))
          (call $assert (i32.eq (local.get $result) (i32.const 33)))
          ;; Some are the command's own and some are kept, most are the guest's.
          (call $assert (i32.gt_u (local.get $opened) (i32.const 40)))
          (call $assert (i32.le_u (local.get $opened) (i32.const 84)))
          (loop $again
            (drop (call $child (i64.const -1)))
            (call $assert (i32.eqz (call $hear)))
            (br_if $again (i32.lt_u (local.tee $round (i32.add (local.get $round) (i32.const 1))) (i32.const 50))))
          ;; After a close, another open succeeds.
          (call $assert (i32.eqz (call $fd_close (i32.load (i32.const 72)))))
          (call $assert (i32.eqz (call $open (i32.const 0))))
          (call $assert (i32.eq (call $open (i32.const 0)) (i32.const 33)))
          (unreachable))
        "#,
    );
    assert_eq!(output.status.code(), Some(134), "{}", said(&output));
    let reports = said(&output).matches("trapped: unreachable").count();
    assert_eq!(reports, 1, "the last instruction, and nothing before it: {}", said(&output));
    assert!(!said(&output).contains("$assert") && !said(&output).contains("assert ("), "{}", said(&output));
}

/// HOSTILE 20: processes with large memories, until there is no address space left. A process that gets none ends by a limit, or
/// cannot grow. Processes that have their memory continue, and so does their parent.
#[test]
fn address_space_ends_with_a_limit_and_the_rest_goes_on() {
    let output = run_with(
        "-v",
        // 6 GiB, in KiB: not enough for a single reservation.
        6 << 20,
        &["--workers", "2", "--max-memory", "1GiB"],
        r#"
        (func (export "child")
          ;; Half a gigabyte each, for a dozen.
          (if (i32.eq (memory.grow (i32.const 8191)) (i32.const -1)) (then (unreachable)))
          (i32.store (i32.const 536870900) (i32.const 1))
          (call $tell (i64.const 1))
          (drop (call $hear)))
        (func (export "_start") (local $config i64) (local $n i32) (local $well i32) (local $ill i32)
          ;; Asked for by name, so that each is to have a reservation.
          (local.set $config (call $create_config))
          (call $set_max_memory (local.get $config) (i64.const 1073741824))
          (local.set $n (i32.const 24))
          (loop $more
            (drop (call $monitor_start (call $child (local.get $config))))
            ;; Each says that it has its memory, or has ended.
            (if (call $hear)
              (then
                (call $assert (i32.ne (call $death_kind) (i32.const 0)))
                (local.set $ill (i32.add (local.get $ill) (i32.const 1))))
              (else (local.set $well (i32.add (local.get $well) (i32.const 1)))))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
          ;; There was room for several, and not for all.
          (call $assert (i32.ge_u (local.get $well) (i32.const 4)))
          (call $assert (i32.ge_u (local.get $ill) (i32.const 8))))
        "#,
    );
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
}
