//! A redirected path is found under other names: through links, linked directories, and when names change.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::symlink;

use common::{guest, run, workers};
use lunatic_executor::PreopenedDir;

/// `$open (path, length, how) -> errno` stores the descriptor at 64; `$writes` writes a line to the opened file.
const CHILD: &str = r#"
    (func $open (param $path i32) (param $length i32) (param $how i32) (result i32)
      (call $path_open (i32.const 3) (i32.const 1) (local.get $path) (local.get $length) (local.get $how)
        (i64.const 0x46) (i64.const 0) (i32.const 0) (i32.const 64)))
    (func $writes (param $path i32) (param $length i32) (param $how i32)
      (call $assert (i32.eqz (call $open (local.get $path) (local.get $length) (local.get $how))))
      (i32.store (i32.const 0) (i32.const 1500))
      (i32.store (i32.const 4) (i32.const 5))
      (call $assert (i32.eqz (call $fd_write (i32.load (i32.const 64)) (i32.const 0) (i32.const 1) (i32.const 8)))))
    (func $is_refused (param $errno i32) (call $assert (i32.eq (local.get $errno) (i32.const 63))))
    (data (i32.const 1500) "line\n")
    (data (i32.const 1024) "child")
    (data (i32.const 1100) "w/d/log")
    (data (i32.const 1110) "w/elsewhere")
    (data (i32.const 1130) "w")
    (data (i32.const 1200) "d/log")
    (data (i32.const 1210) "hard")
    (data (i32.const 1220) "linked")
    (data (i32.const 1230) "here/d/log")
    (data (i32.const 1250) "d2/log")
    (data (i32.const 1260) "moved")
    (data (i32.const 1270) "d")
    (data (i32.const 1280) "other")
    (func (export "child")
      (call $writes (i32.const 1200) (i32.const 5) (i32.const 0))
      (call $writes (i32.const 1210) (i32.const 4) (i32.const 0))
      (call $writes (i32.const 1220) (i32.const 6) (i32.const 0))
      ;; Emptied.
      (call $writes (i32.const 1230) (i32.const 10) (i32.const 8))
      (call $writes (i32.const 1250) (i32.const 6) (i32.const 9))
      ;; No other name for the file, nor for its directory, nor its name for another file.
      (call $is_refused (call $path_rename (i32.const 3) (i32.const 1200) (i32.const 5)
        (i32.const 3) (i32.const 1260) (i32.const 5)))
      (call $is_refused (call $path_rename (i32.const 3) (i32.const 1270) (i32.const 1)
        (i32.const 3) (i32.const 1260) (i32.const 5)))
      (call $is_refused (call $path_rename (i32.const 3) (i32.const 1280) (i32.const 5)
        (i32.const 3) (i32.const 1200) (i32.const 5)))
      (call $is_refused (call $path_rename (i32.const 3) (i32.const 1280) (i32.const 5)
        (i32.const 3) (i32.const 1250) (i32.const 6)))
      (call $is_refused (call $path_link (i32.const 3) (i32.const 0) (i32.const 1200) (i32.const 5)
        (i32.const 3) (i32.const 1260) (i32.const 5)))
      ;; Others are as they were.
      (call $assert (i32.eqz (call $path_rename (i32.const 3) (i32.const 1280) (i32.const 5)
        (i32.const 3) (i32.const 1260) (i32.const 5)))))
    (func (export "_start") (local $config i64)
      (local.set $config (call $create_config))
      (call $preopen (local.get $config) (i32.const 1130) (i32.const 1))
      (call $assert (i32.eqz (call $ext::redirect::to_file (local.get $config) (i32.const 0) (i32.const 1100) (i32.const 7)
        (i32.const 1110) (i32.const 11) (i32.const 64))))
      (call $die_when_link_dies (i32.const 1))
      (call $monitor (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 5)))
      (drop (call $wait (i64.const 0) (i64.const -1))))"#;

#[test]
fn a_redirection_holds_for_every_name_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = |path: &str| directory.path().join(path);
    fs::create_dir(at("d")).unwrap();
    fs::write(at("d/log"), "original").unwrap();
    fs::write(at("other"), "other").unwrap();
    fs::hard_link(at("d/log"), at("hard")).unwrap();
    symlink("d/log", at("linked")).unwrap();
    symlink(".", at("here")).unwrap();
    symlink("d", at("d2")).unwrap();
    let mut config = workers(2);
    config.dirs.push(PreopenedDir { host: directory.path().into(), guest: "w".into(), is_read_only: false });
    let text = guest(CHILD);
    let outcome = run(config, &text);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert_eq!(fs::read_to_string(at("d/log")).unwrap(), "original");
    assert_eq!(fs::read_to_string(at("elsewhere")).unwrap(), "line\n".repeat(5));
    assert_eq!(fs::read_to_string(at("moved")).unwrap(), "other");
}
