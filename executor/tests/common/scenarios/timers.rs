//! Timers: rows 34 to 36.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[34],
        name: "guarantee_34_a_timer_is_never_early",
        rounds: 10_000,
        // A hundred timers at a time, of 0 to 15 ms, each with the time before which it must not fire. Other processes
        // sleep for a millisecond repeatedly, so that due timers are checked each time.
        body: r#"
        (data (i32.const 1024) "ticker")
        (func (export "ticker") (loop $forever (call $sleep (i64.const 1)) (br $forever)))
        (func $after (param $milliseconds i64)
          (call $prepare_value (i64.const 7)
            (i64.add (call $now) (i64.mul (local.get $milliseconds) (i64.const 1000000))))
          (drop (call $send_after (call $me) (local.get $milliseconds))))
        (func (export "_start") (local $i i64) (local $waiting i64) (local $started i64)
          (loop $tickers
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $spin (call $random (i64.const 100000)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $tickers (i64.lt_u (local.get $i) (i64.const 8))))
          (local.set $i (i64.const 0))
          (loop $set
            (call $after (call $random (i64.const 16)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (local.set $waiting (i64.add (local.get $waiting) (i64.const 1)))
            (br_if $set (i32.and
              (i64.lt_u (local.get $waiting) (i64.const 100))
              (i64.lt_u (local.get $i) (global.get $rounds))))
            (loop $fired
              (call $expect (i64.const 7))
              (call $assert (i64.ge_u (call $now) (call $value)))
              (local.set $waiting (i64.sub (local.get $waiting) (i64.const 1)))
              (br_if $fired (i64.ne (local.get $waiting) (i64.const 0))))
            (br_if $set (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $expect_nothing)
          (local.set $i (i64.const 0))
          ;; Sleeps and receives have the same clock.
          (loop $sleep
            (local.set $started (call $now))
            (call $sleep (local.get $i))
            (call $assert (i64.ge_u (i64.sub (call $now) (local.get $started))
              (i64.mul (local.get $i) (i64.const 1000000))))
            (local.set $started (call $now))
            (call $assert (i32.eq (call $wait (i64.const 1) (local.get $i)) (i32.const 9027)))
            (call $assert (i64.ge_u (i64.sub (call $now) (local.get $started))
              (i64.mul (local.get $i) (i64.const 1000000))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $sleep (i64.lt_u (local.get $i) (i64.const 10)))))
        "#,
    },
    Scenario {
        rows: &[35],
        name: "guarantee_35_a_timer_fires_or_is_cancelled",
        rounds: 5_000,
        // A timer is cancelled as it fires. The result of cancelling tells what happened, and it happened once.
        body: r#"
        (func (export "_start") (local $i i64) (local $timer i64) (local $fired i64)
          (loop $next
            (call $create_data (i64.const 5) (i64.const 0))
            (local.set $timer (call $send_after (call $me) (i64.rem_u (local.get $i) (i64.const 2))))
            (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 16)))
              (then (call $sleep (i64.const 1)))
              (else (call $spin (call $random (i64.const 5000)))))
            (if (i32.eqz (call $cancel_timer (local.get $timer)))
              (then (local.set $fired (i64.add (local.get $fired) (i64.const 1)))))
            (call $assert (i32.eqz (call $cancel_timer (local.get $timer))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (loop $arrived
            (if (i64.ne (local.get $fired) (i64.const 0)) (then
              (call $expect (i64.const 5))
              (local.set $fired (i64.sub (local.get $fired) (i64.const 1)))
              (br $arrived))))
          ;; Cancelled timers do not fire later: this waits longer than any of them would have taken.
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 3)) (i32.const 9027)))
          (call $assert (i32.eqz (call $cancel_timer (i64.const -1))))
          (call $assert (i32.eqz (call $cancel_timer (i64.const 0)))))
        "#,
    },
    Scenario {
        rows: &[35],
        name: "guarantee_35_cancelling_returns_the_remaining_time_or_that_it_fired",
        rounds: 3_000,
        // The remaining time is at most the requested one, and nothing after the timer has fired.
        body: r#"
        (func (export "_start") (local $i i64) (local $timer i64) (local $left i64) (local $fired i64)
          (loop $next
            (call $create_data (i64.const 5) (i64.const 0))
            (local.set $timer (call $send_after (call $me) (i64.const 100000)))
            (local.set $left (call $timer_cancel (local.get $timer)))
            (call $assert (i64.le_u (local.get $left) (i64.const 100000)))
            (call $assert (i64.eq (call $timer_cancel (local.get $timer)) (i64.const -1)))
            (call $create_data (i64.const 5) (i64.const 0))
            (local.set $timer (call $send_after (call $me) (i64.const 1)))
            (call $spin (call $random (i64.const 5000)))
            (local.set $left (call $timer_cancel (local.get $timer)))
            (if (i64.eq (local.get $left) (i64.const -1))
              (then (local.set $fired (i64.add (local.get $fired) (i64.const 1))))
              (else (call $assert (i64.le_u (local.get $left) (i64.const 1)))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (loop $arrived
            (if (i64.ne (local.get $fired) (i64.const 0)) (then
              (call $expect (i64.const 5))
              (local.set $fired (i64.sub (local.get $fired) (i64.const 1)))
              (br $arrived))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 3)) (i32.const 9027))))
        "#,
    },
    Scenario {
        rows: &[36],
        name: "guarantee_36_a_timer_to_a_dead_process_is_harmless",
        rounds: 5_000,
        // For processes that end before the timer fires or meanwhile, for one that never existed, and by a process that has
        // ended.
        body: r#"
        (data (i32.const 1024) "sets")
        (func (export "sets")
          (call $create_data (i64.const 5) (i64.const 0))
          (drop (call $send_after (call $me) (i64.const 1)))
          (call $create_data (i64.const 5) (i64.const 0))
          (drop (call $send_after (i64.const 1) (i64.const 1))))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (call $create_data (i64.const 6) (i64.const 0))
            (drop (call $send_after (local.get $pid) (call $random (i64.const 2))))
            (call $create_data (i64.const 6) (i64.const 0))
            (drop (call $send_after (i64.const 123456789) (i64.const 0)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (loop $arrived
            (call $expect (i64.const 5))
            (local.set $i (i64.sub (local.get $i) (i64.const 1)))
            (br_if $arrived (i64.ne (local.get $i) (i64.const 0))))
          (call $expect_nothing))
        "#,
    },
];
