//! Processes continue on the threads that do their file work, which are not workers. They can do there what they can do on
//! workers, and do not delay other processes.

mod common;

use std::path::Path;

use common::{Outcome, guest, run, workers};
use lunatic_executor::{PreopenedDir, RuntimeConfig};

/// Numbers of workers.
const COUNTS: [usize; 3] = [1, 2, 4];

/// Helpers of the guests here. A process that does file work begins with `$open`, which creates a file named by a letter of the
/// process's identifier; each `$work` is a write to it.
const FILES: &str = r#"
    (data (i32.const 1024) "fileworkspinblockmorefifo")
    (func $path (param $path i32) (param $length i32) (param $how i32) (param $rights i64) (result i32)
      (call $assert (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (local.get $path) (local.get $length)
        (local.get $how) (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 64))))
      (i32.load (i32.const 64)))
    (func $open (result i32)
      (i32.store8 (i32.const 1027) (i32.add (i32.const 65) (i32.and (i32.wrap_i64 (call $me)) (i32.const 15))))
      (call $path (i32.const 1024) (i32.const 4) (i32.const 1) (i64.const 64)))
    (func $work (param $fd i32)
      (i32.store (i32.const 72) (i32.const 1024))
      (i32.store (i32.const 76) (i32.const 16))
      (call $assert (i32.eqz (call $fd_write (local.get $fd) (i32.const 72) (i32.const 1) (i32.const 80))))
      (call $assert (i32.eq (i32.load (i32.const 80)) (i32.const 16))))
    (func $work_much (param $fd i32) (local $i i32)
      (loop $more
        (call $work (local.get $fd))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50)))))
    (func (export "work") (local $fd i32)
      (local.set $fd (call $open))
      (loop $forever (call $work (local.get $fd)) (br $forever)))
    (func (export "spin") (loop $forever (br $forever)))
    (func (export "more")
      (call $work_much (call $open))
      (call $send (i64.const 1) (i64.const 5)))
    (func $spawn_some (param $name i32) (param $count i32)
      (loop $more
        (drop (call $spawn (i64.const 0) (local.get $name) (i32.const 4)))
        (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))
"#;

const FILE: &str = "fil";

fn with_files(body: &str) -> String {
    guest(&format!("{FILES} {body}"))
}

fn below(directory: &Path, count: usize) -> RuntimeConfig {
    let mut config = workers(count);
    config.dirs.push(PreopenedDir { host: directory.into(), guest: "data".into(), is_read_only: false });
    config
}

fn run_below(directory: &Path, count: usize, body: &str) -> Outcome {
    run(below(directory, count), &with_files(body))
}

#[test]
fn the_first_process_can_end_on_a_thread_for_files() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        for _ in 0..20 {
            let outcome = run_below(
                directory.path(),
                count,
                r#"(func (export "_start")
                     (call $spawn_some (i32.const 1028) (i32.const 8))
                     (call $work_much (call $open))
                     (call $say (i32.const 1036) (i32.const 5))
                     (call $exit (i32.const 7)))"#,
            );
            assert_eq!((outcome.status, outcome.stdout.as_str()), (7, "block"), "{}", outcome.stderr);
        }
    }
}

#[test]
fn traps_work_on_threads_for_files() {
    let directory = tempfile::tempdir().unwrap();
    let overflow = "(func $deep (result i32) (i32.add (i32.const 1) (call $deep)))";
    for (fault, says) in [
        ("(unreachable)", "unreachable"),
        ("(drop (i32.load (i32.const 0x7fffffff)))", "out of bounds"),
        ("(drop (i32.div_u (i32.const 1) (i32.load (i32.const 900))))", "divide by zero"),
        ("(drop (call $deep))", "stack"),
    ] {
        let outcome = run_below(
            directory.path(),
            1,
            &format!(r#"{overflow} (func (export "_start") (call $work_much (call $open)) {fault})"#),
        );
        assert_eq!(outcome.status, 134, "{}", outcome.stderr);
        assert!(outcome.stderr.contains(says), "{fault}: {}", outcome.stderr);
    }
}

#[test]
fn all_writes_of_many_processes_arrive() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        // More processes than threads for files, and than letters: several write to the same file.
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "_start") (local $i i32)
                 (call $spawn_some (i32.const 1041) (i32.const 200))
                 (loop $more
                   (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 200)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
        for letter in 'A'..='P' {
            let written = std::fs::read(directory.path().join(format!("{FILE}{letter}"))).unwrap();
            assert!(written.starts_with(FILE.as_bytes()) && written.len() == 50 * 16, "{}", written.len());
        }
    }
}

/// Ticks of 10 ms. None may be late by more than a second, which allows for a busy machine.
#[test]
fn guarantee_37_ticks_come_beside_computing_processes_and_file_work() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "_start") (local $i i32) (local $before i64)
                 (call $spawn_some (i32.const 1032) (i32.const 4))
                 (call $spawn_some (i32.const 1028) (i32.const 40))
                 (loop $tick
                   (local.set $before (call $now))
                   (call $sleep (i64.const 10))
                   (call $assert (i64.lt_u (i64.sub (call $now) (local.get $before)) (i64.const 1010000000)))
                   (br_if $tick (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 30)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
        for letter in 'B'..='P' {
            let written = std::fs::metadata(directory.path().join(format!("{FILE}{letter}"))).unwrap().len();
            assert!(written > 16, "{count} workers: {letter} never worked");
        }
    }
}

/// Only this process runs, so all workers sleep while it does file work. A timer that it sets must wake them.
#[test]
fn a_timer_set_on_a_thread_for_files_wakes_sleeping_workers() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "_start") (local $i i32) (local $fd i32) (local $before i64)
                 (local.set $fd (call $open))
                 (loop $more
                   (local.set $before (call $now))
                   (call $work_much (local.get $fd))
                   (call $sleep (i64.const 2))
                   (call $assert (i64.lt_u (i64.sub (call $now) (local.get $before)) (i64.const 2000000000)))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
    }
}

/// A job that never ends keeps its thread and nothing else. Its process ends at once when it is killed, and more such processes
/// than may run on these threads do not keep others from their file work.
#[cfg(unix)]
#[test]
fn a_process_killed_during_file_work_ends_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = std::process::Command::new("mkfifo").arg(directory.path().join("fifo")).status();
    assert!(fifo.unwrap().success());
    for count in COUNTS {
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "block") (local $fd i32)
                 (call $work_much (call $open))
                 (call $send (i64.const 1) (i64.const 5))
                 ;; No process ever writes to it.
                 (local.set $fd (call $path (i32.const 1045) (i32.const 4) (i32.const 0) (i64.const 2)))
                 (i32.store (i32.const 72) (i32.const 2048))
                 (i32.store (i32.const 76) (i32.const 16))
                 (drop (call $fd_read (local.get $fd) (i32.const 72) (i32.const 1) (i32.const 80)))
                 (unreachable))
               (func (export "_start") (local $i i32) (local $fd i32)
                 (loop $more
                   (i64.store (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 8)))
                     (call $spawn (i64.const 0) (i32.const 1036) (i32.const 5)))
                   (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
                 (call $work_much (call $open))
                 ;; Most of them are blocked by now; the others are killed before that.
                 (call $sleep (i64.const 20))
                 (local.set $i (i32.const 0))
                 (loop $more
                   (local.set $fd (i32.add (i32.const 4096) (i32.mul (local.get $i) (i32.const 8))))
                   (call $assert (call $exists (i64.load (local.get $fd))))
                   (drop (call $monitor_start (i64.load (local.get $fd))))
                   (call $kill (i64.load (local.get $fd)))
                   (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 10000)) (i32.const 2)))
                   (call $assert (i32.eq (call $death_kind) (i32.const 3)))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
    }
}

/// A process that does file work is killed at any moment: in a turn, in its work, or in between.
#[test]
fn a_process_with_file_work_can_be_killed_at_any_moment() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "_start") (local $i i32) (local $j i32) (local $child i64)
                 (loop $more
                   (local.set $child (call $spawn (i64.const 0) (i32.const 1028) (i32.const 4)))
                   (drop (call $monitor_start (local.get $child)))
                   (local.set $j (i32.mul (i32.const 300) (i32.and (local.get $i) (i32.const 255))))
                   (loop $wait (br_if $wait (i32.gt_s (local.tee $j (i32.sub (local.get $j) (i32.const 1))) (i32.const 0))))
                   (if (i32.and (local.get $i) (i32.const 1)) (then (call $sleep (i64.const 0))))
                   (call $kill (local.get $child))
                   (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 10000)) (i32.const 2)))
                   (call $assert (i32.eq (call $death_kind) (i32.const 3)))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
    }
}

/// A process that does file work is inspected, and answers requests about itself, between two of its turns.
#[test]
fn a_process_with_file_work_can_be_inspected_and_sends_and_receives() {
    let directory = tempfile::tempdir().unwrap();
    for count in COUNTS {
        let outcome = run_below(
            directory.path(),
            count,
            r#"(func (export "block") (local $fd i32)
                 (local.set $fd (call $open))
                 (loop $forever
                   (call $work (local.get $fd))
                   (if (i32.eqz (call $wait (i64.const 6) (i64.const 0))) (then (call $send (i64.const 1) (i64.const 7))))
                   (br $forever)))
               (func (export "_start") (local $i i32) (local $child i64)
                 (local.set $child (call $spawn (i64.const 0) (i32.const 1036) (i32.const 5)))
                 (loop $more
                   (call $send (local.get $child) (i64.const 6))
                   (call $assert (i32.eqz (call $wait (i64.const 7) (i64.const 10000))))
                   (call $assert (call $exists (local.get $child)))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500)))))"#,
        );
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
    }
}
