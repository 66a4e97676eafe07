//! Preemption: no process starves, whatever the others do.

mod common;

use common::{guest, run, start, workers};

/// Four processes that compute for ever, and one that ticks every 10 ms.
fn spinners_and_ticker() -> String {
    guest(
        r#"
        (data (i32.const 1024) "spintick\n")
        (func (export "spin") (loop $forever (br $forever)))
        (func (export "_start") (local $i i32)
          (loop $spawn
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $spawn (i32.lt_u (local.get $i) (i32.const 4))))
          (local.set $i (i32.const 0))
          (loop $tick
            (call $sleep (i64.const 10))
            (call $say (i32.const 1028) (i32.const 5))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $tick (i32.lt_u (local.get $i) (i32.const 20)))))
        "#,
    )
}

#[test]
fn guarantee_37_a_ticker_keeps_ticking_among_spinners() {
    for count in [1, 2] {
        let started = std::time::Instant::now();
        let outcome = run(workers(count), &spinners_and_ticker());
        assert_eq!((outcome.status, outcome.stdout), (0, "tick\n".repeat(20)), "{}", outcome.stderr);
        let elapsed = started.elapsed();
        assert!(elapsed.as_millis() >= 200, "a timer was early: {elapsed:?}");
        println!("{count} workers: 20 ticks of 10 ms in {elapsed:?}");
    }
}

/// Round trips of an echo beside one computing process per worker, and how many of them may take longer than [`LONG`].
const TRIPS: usize = 400;
const SLOW: usize = TRIPS / 100;

/// A slice is a fraction of a millisecond; this allows for a busy machine.
const LONG: &str = "1000000000";

#[test]
fn guarantee_37_an_echo_among_spinners_answers_soon() {
    for count in [1, 2, 4] {
        let body = format!(
            r#"
            (data (i32.const 1024) "spinecho")
            (func (export "spin") (loop $forever (br $forever)))
            (func (export "echo")
              (loop $next
                (drop (call $wait (i64.const 0) (i64.const -1)))
                (call $send (i64.const 1) (i64.const 5))
                (br $next)))
            (func (export "_start") (local $i i32) (local $echo i64) (local $started i64) (local $slow i32)
              (loop $spawn
                (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $spawn (i32.lt_u (local.get $i) (i32.const {count}))))
              (local.set $echo (call $spawn (i64.const 0) (i32.const 1028) (i32.const 4)))
              (local.set $i (i32.const 0))
              (loop $next
                (local.set $started (call $now))
                (call $send (local.get $echo) (i64.const 1))
                (drop (call $wait (i64.const 5) (i64.const -1)))
                (if (i64.gt_u (i64.sub (call $now) (local.get $started)) (i64.const {LONG}))
                  (then (local.set $slow (i32.add (local.get $slow) (i32.const 1)))))
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $next (i32.lt_u (local.get $i) (i32.const {TRIPS}))))
              (call $assert (i32.le_u (local.get $slow) (i32.const {SLOW}))))
            "#
        );
        let outcome = run(workers(count), &guest(&body));
        assert_eq!(outcome.status, 0, "{count} workers: {}", outcome.stderr);
    }
}

#[test]
fn two_computing_processes_both_finish() {
    // This checks that both finish. `cli/tests/load.rs` measures the processors that they use.
    let outcome = run(
        workers(2),
        &guest(
            r#"
            (data (i32.const 1024) "worker")
            (func (export "worker") (local $i i32)
              (loop $spin
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $spin (i32.lt_u (local.get $i) (i32.const 300000000))))
              (call $send (i64.const 1) (i64.const 5)))
            (func (export "_start")
              (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
              (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
              (drop (call $wait (i64.const 5) (i64.const -1)))
              (drop (call $wait (i64.const 5) (i64.const -1))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn a_killed_endless_loop_stops() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (data (i32.const 1024) "spin")
            (func (export "spin") (loop $forever (br $forever)))
            (func (export "_start") (local $pid i64)
              (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
              (call $sleep (i64.const 5))
              (call $assert (call $exists (local.get $pid)))
              (call $monitor (local.get $pid))
              (call $kill (local.get $pid))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (i64.eq (call $get_process_id) (local.get $pid)))
              (call $assert (i32.eqz (call $exists (local.get $pid)))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

/// A receive whose message is already there does not suspend, but the slice ends nevertheless.
#[test]
fn reading_a_full_mailbox_starves_no_process_and_can_be_killed() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (data (i32.const 1024) "read")
            (func (export "read") (local $i i64)
              (loop $more
                (call $send (call $me) (i64.const 1))
                (br_if $more (i64.lt_u (local.tee $i (i64.add (local.get $i) (i64.const 1))) (i64.const 50000))))
              (drop (call $wait (i64.const 1) (i64.const -1)))
              (call $send (i64.const 1) (i64.const 5))
              (loop $more
                (drop (call $wait (i64.const 1) (i64.const -1)))
                (br_if $more (i64.gt_u (local.tee $i (i64.sub (local.get $i) (i64.const 1))) (i64.const 1))))
              (call $send (i64.const 1) (i64.const 6)))
            (func (export "_start") (local $pid i64)
              (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
              (call $monitor (local.get $pid))
              (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
              (call $kill (local.get $pid))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
              (call $assert (i32.eq (call $wait (i64.const 6) (i64.const 0)) (i32.const 9027))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn an_endless_loop_in_the_first_process_can_be_stopped() {
    let running = start(workers(2), &guest(r#"(func (export "_start") (loop $forever (br $forever)))"#));
    running.shutdown_handle.stop(lunatic_executor::ExitStatus(143));
    assert_eq!(running.ended.recv_timeout(common::PATIENCE), Ok(143));
}
