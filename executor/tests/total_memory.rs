//! HOSTILE 17 and 19: at the limit of all memories together, no memory grows, no process begins, and running processes continue.

mod common;

use common::{guest, run, workers};

/// The size of a page in bytes.
const PAGE: u64 = 64 << 10;

/// Runs a guest whose processes begin with two pages each, and may have `pages` together.
fn with_pages(pages: u64, count: usize, body: &str) {
    let config = workers(count).max_total_memory(Some(pages * PAGE));
    let outcome = run(config, &guest(body));
    assert_eq!(outcome.status, 0, "{count} workers: {}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn at_the_total_limit_no_memory_grows_and_no_process_begins() {
    for count in [1, 4] {
        with_pages(
            7,
            count,
            r#"
            (data (i32.const 1024) "child")
            (func (export "child")
              (call $send (i64.const 1) (i64.const 6))
              (call $sleep (i64.const 1000000)))
            (func (export "_start") (local $first i64) (local $second i64)
              (local.set $first (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
              (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1))))
              ;; Five pages for the caller, two for the child.
              (call $assert (i32.eq (memory.grow (i32.const 4)) (i32.const -1)))
              (call $assert (i32.eq (memory.grow (i32.const 3)) (i32.const 2)))
              (call $assert (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))
              (local.set $second (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
              (drop (call $monitor_start (local.get $second)))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (i64.eq (call $death_process) (local.get $second)))
              ;; It ended by a limit, of memory; or before there was a monitor.
              (if (i32.ne (call $death_kind) (i32.const 6)) (then
                (call $assert (i32.eq (call $death_kind) (i32.const 5)))
                (call $assert (i64.eqz (call $death_code)))))
              ;; A process that sees a death can use the memory.
              (drop (call $monitor_start (local.get $first)))
              (call $kill (local.get $first))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (i32.eq (memory.grow (i32.const 2)) (i32.const 5)))
              (call $assert (i32.eq (memory.grow (i32.const 1)) (i32.const -1))))
            "#,
        );
    }
}

/// A thousand processes come and go within a limit of four and their parent: no memory is counted twice, or after its process.
#[test]
fn memory_of_ended_processes_is_not_counted() {
    with_pages(
        10,
        2,
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (drop (memory.grow (i32.const 1))))
        (func (export "_start") (local $n i32) (local $m i32)
          (loop $again
            (local.set $m (i32.const 4))
            (loop $more
              (call $monitor (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
              (br_if $more (local.tee $m (i32.sub (local.get $m) (i32.const 1)))))
            (local.set $m (i32.const 4))
            (loop $more
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (br_if $more (local.tee $m (i32.sub (local.get $m) (i32.const 1)))))
            (br_if $again (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 250))))
          (call $assert (i32.eq (memory.grow (i32.const 8)) (i32.const 2)))
          (call $assert (i32.eq (memory.grow (i32.const 1)) (i32.const -1))))
        "#,
    );
}
