//! Files through WASI: below the given directory, and nowhere else.

mod common;

use common::{run, workers};
use lunatic_executor::PreopenedDir;

/// Opens two paths and copies the first file to standard output; ends with status 40 + the errno of a step
/// that fails where it should not.
const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_prestat_dir_name" (func $name (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 100) "in.txt../secret/etc/passwdlink")
  (func $path (param i32 i32) (result i32)
    (call $open (i32.const 3) (i32.const 1) (local.get 0) (local.get 1) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 0)))
  (func $ok (param i32)
    (if (local.get 0) (then (call $exit (i32.add (i32.const 40) (local.get 0))))))
  (func $refused (param i32)
    (if (i32.eqz (local.get 0)) (then (call $exit (i32.const 1)))))
  (func (export "_start")
    (call $ok (call $name (i32.const 3) (i32.const 300) (i32.const 4)))
    (call $refused (call $path (i32.const 106) (i32.const 9)))
    (call $refused (call $path (i32.const 115) (i32.const 11)))
    (call $refused (call $path (i32.const 126) (i32.const 4)))
    (call $ok (call $path (i32.const 100) (i32.const 6)))
    (i32.store (i32.const 8) (i32.const 200))
    (i32.store (i32.const 12) (i32.const 50))
    (call $ok (call $read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
    (i32.store (i32.const 12) (i32.load (i32.const 16)))
    (call $ok (call $write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"#;

#[test]
fn a_guest_reads_below_its_directory_and_cannot_leave_it() {
    let outside = tempfile::tempdir().unwrap();
    let inside = outside.path().join("inside");
    std::fs::create_dir(&inside).unwrap();
    std::fs::write(outside.path().join("secret"), "secret").unwrap();
    std::fs::write(inside.join("in.txt"), "hello from a file").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", inside.join("link")).unwrap();
    let mut config = workers(1);
    config.dirs.push(PreopenedDir { host: inside, guest: "data".into(), is_read_only: false });
    let outcome = run(config, GUEST);
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "hello from a file"), "{}", outcome.stderr);
}

#[test]
fn without_a_directory_there_is_none() {
    let outcome = run(workers(1), GUEST);
    assert_eq!(outcome.status, 40 + 8, "{}", outcome.stderr);
}
