//! Files through WASI: below the preopened directory, and nowhere else.

mod common;

use common::{run, workers};
use lunatic_executor::PreopenedDir;

/// Opens two paths and copies the first file to standard output. Exits with 40 + the errno of a step that fails unexpectedly.
const GUEST: &str = r#"(module
  (memory (export "memory") 1)
  (data (i32.const 100) "in.txt../secret/etc/passwdlink")
  (func $path (param i32 i32) (result i32)
    (call $path_open (i32.const 3) (i32.const 1) (local.get 0) (local.get 1) (i32.const 0) (i64.const 2) (i64.const 0)
      (i32.const 0) (i32.const 0)))
  (func $ok (param i32)
    (if (local.get 0) (then (call $exit (i32.add (i32.const 40) (local.get 0))))))
  (func $refused (param i32)
    (if (i32.eqz (local.get 0)) (then (call $exit (i32.const 1)))))
  (func (export "_start")
    (call $ok (call $fd_prestat_dir_name (i32.const 3) (i32.const 300) (i32.const 4)))
    (call $refused (call $path (i32.const 106) (i32.const 9)))
    (call $refused (call $path (i32.const 115) (i32.const 11)))
    (call $refused (call $path (i32.const 126) (i32.const 4)))
    (call $ok (call $path (i32.const 100) (i32.const 6)))
    (i32.store (i32.const 8) (i32.const 200))
    (i32.store (i32.const 12) (i32.const 50))
    (call $ok (call $fd_read (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
    (i32.store (i32.const 12) (i32.load (i32.const 16)))
    (call $ok (call $fd_write (i32.const 1) (i32.const 8) (i32.const 1) (i32.const 16)))))"#;

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
fn without_a_preopened_directory_no_file_can_be_opened() {
    let outcome = run(workers(1), GUEST);
    assert_eq!(outcome.status, 40 + 8, "{}", outcome.stderr);
}

/// Opens `f` in its directory for reading and writing, and calls `$main (descriptor)`. `$call` exits with 40 + an errno that is
/// not 0.
fn with_open_file(body: &str) -> String {
    format!(
        r#"(module
          (memory (export "memory") 64)
          (data (i32.const 0) "f")
          (func $call (param i32) (if (local.get 0) (then (call $exit (i32.add (i32.const 40) (local.get 0))))))
          (func $assert (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
          (func $open_f (result i32)
            (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0)
              (i64.const 0x46) (i64.const 0) (i32.const 0) (i32.const 32)))
          {body}
          (func (export "_start") (call $call (call $open_f)) (call $main (i32.load (i32.const 32)))))"#
    )
}

/// Runs a guest with this directory preopened.
fn run_in(host: &std::path::Path, body: &str) -> common::Outcome {
    let mut config = workers(1);
    config.dirs.push(PreopenedDir { host: host.into(), guest: "data".into(), is_read_only: false });
    run(config, &with_open_file(body))
}

#[test]
fn one_call_moves_all_of_a_regular_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("f");
    let content: Vec<u8> = (0..3_000_000u32).map(|index| (index / 7) as u8 & 0x7f).collect();
    std::fs::write(&path, &content).unwrap();
    // Into two buffers, the second of which begins in the middle of a piece; then everything at explicit positions.
    let outcome = run_in(
        directory.path(),
        r#"
        (func $buffers (param $first i32) (param $second i32)
          (i32.store (i32.const 64) (i32.const 1024)) (i32.store (i32.const 68) (local.get $first))
          (i32.store (i32.const 72) (i32.add (i32.const 1024) (local.get $first)))
          (i32.store (i32.const 76) (local.get $second)))
        (func $moved (param i32) (call $assert (i32.eq (i32.load (i32.const 96)) (local.get 0))))
        (func $main (param $fd i32)
          (call $buffers (i32.const 1500000) (i32.const 2000000))
          (call $call (call $fd_read (local.get $fd) (i32.const 64) (i32.const 2) (i32.const 96)))
          (call $moved (i32.const 3000000))
          (call $call (call $fd_read (local.get $fd) (i32.const 64) (i32.const 2) (i32.const 96)))
          (call $moved (i32.const 0))
          (call $buffers (i32.const 100) (i32.const 2999900))
          (call $call (call $fd_write (local.get $fd) (i32.const 64) (i32.const 2) (i32.const 96)))
          (call $moved (i32.const 3000000))
          (call $call (call $fd_pread (local.get $fd) (i32.const 64) (i32.const 2) (i64.const 3000000) (i32.const 96)))
          (call $moved (i32.const 3000000))
          (call $call (call $fd_pwrite (local.get $fd) (i32.const 64) (i32.const 2) (i64.const 6000000) (i32.const 96)))
          (call $moved (i32.const 3000000))
          (call $call (call $fd_write (i32.const 1) (i32.const 64) (i32.const 2) (i32.const 96)))
          (call $moved (i32.const 3000000)))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    let written = std::fs::read(&path).unwrap();
    assert_eq!(written.len(), 9_000_000);
    assert!(written.chunks(3_000_000).all(|chunk| chunk == content));
    assert_eq!(outcome.stdout.len(), 3_000_000);
}

#[test]
#[cfg(target_os = "linux")]
fn a_device_is_not_a_regular_file() {
    const KIND: &str = r#"(func $main (param $fd i32)
        (call $call (call $fd_fdstat_get (local.get $fd) (i32.const 64)))
        (call $exit (i32.load8_u (i32.const 64))))"#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f"), "").unwrap();
    assert_eq!(run_in(directory.path(), KIND).status, 4, "a regular file");
    let null = with_open_file(KIND).replace(r#""f""#, r#""null""#).replace(
        "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1)",
        "(call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 4)",
    );
    let mut config = workers(1);
    config.dirs.push(PreopenedDir { host: "/dev".into(), guest: "dev".into(), is_read_only: false });
    assert_eq!(run(config, &null).status, 2, "a character device");
}

#[test]
fn the_number_of_files_can_be_raised_and_lowered() {
    /// Opens files until that fails, at most 6,000. Exits with the number of hundreds that were opened.
    const MANY: &str = r#"(func $main (param $fd i32) (local $count i32)
        (local.set $count (i32.const 1))
        (block $end (loop $next
          (br_if $end (call $open_f))
          (br_if $next (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 6000)))))
        (call $exit (i32.div_u (local.get $count) (i32.const 100))))"#;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("f"), "").unwrap();
    let (soft, _) = nix::sys::resource::getrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE).unwrap();
    let opened = |max_resources| {
        let mut config = workers(1);
        config.max_resources = max_resources;
        let host = directory.path().into();
        config.dirs.push(PreopenedDir { host, guest: "data".into(), is_read_only: false });
        run(config, &with_open_file(MANY)).status
    };
    assert_eq!(opened(Some(305)), 3);
    assert!(soft > 6000, "the test needs more descriptors: ulimit -n 8192");
    assert_eq!(opened(None), 40);
    assert_eq!(opened(Some(5105)), 51);
}
