//! Monitors: rows 24 to 27.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[24],
        name: "guarantee_24_a_monitor_is_one_way",
        rounds: 2_000,
        // The monitoring process traps, the monitored one continues.
        body: r#"
        (data (i32.const 1024) "echowatcher")
        (func (export "echo")
          (loop $next
            (call $park)
            (call $send (i64.const 1) (i64.const 5))
            (br $next)))
        (func (export "watcher")
          (call $park)
          (call $monitor (call $value))
          (call $exit (i32.const 1)))
        (func (export "_start") (local $i i64) (local $echo i64) (local $watcher i64)
          (local.set $echo (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
          (loop $next
            (local.set $watcher (call $spawn (i64.const 0) (i32.const 1028) (i32.const 7)))
            (call $monitor (local.get $watcher))
            (call $send_value (local.get $watcher) (i64.const 1) (local.get $echo))
            (call $expect_down (local.get $watcher))
            (call $send (local.get $echo) (i64.const 1))
            (call $expect (i64.const 5))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[25],
        name: "guarantee_25_exactly_one_death_per_monitor",
        rounds: 3_000,
        // Five monitors produce five messages, even if the process ends between them.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $park))
        (func (export "_start") (local $i i64) (local $n i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (local.set $n (i64.const 0))
            (loop $again
              (call $monitor (local.get $pid))
              (local.set $n (i64.add (local.get $n) (i64.const 1)))
              (if (i64.eq (local.get $n) (i64.rem_u (local.get $i) (i64.const 6)))
                (then (call $send (local.get $pid) (i64.const 1))))
              (br_if $again (i64.lt_u (local.get $n) (i64.const 5))))
            (call $send (local.get $pid) (i64.const 1))
            (loop $told
              (call $expect_down (local.get $pid))
              (local.set $n (i64.sub (local.get $n) (i64.const 1)))
              (br_if $told (i64.ne (local.get $n) (i64.const 0))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[26],
        name: "guarantee_26_monitoring_a_dead_process_notifies_the_caller",
        rounds: 2_000,
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child"))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $monitor (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $monitor (i64.const 123456789))
          (call $expect_down (i64.const 123456789)))
        "#,
    },
    Scenario {
        rows: &[27],
        name: "guarantee_27_after_stop_monitoring_no_death_message_arrives",
        rounds: 3_000,
        // The child ends at any moment. A message from before the stop may be there; after it is received, no other
        // arrives. A link shows that the child is gone, and a second monitor is notified once, not twice.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (call $spin (call $value))
          (call $exit (i32.const 1)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $send_value (local.get $pid) (i64.const 1) (call $random (i64.const 10000)))
            (call $jostle)
            (call $spin (call $random (i64.const 60000)))
            (call $stop_monitoring (local.get $pid))
            (drop (call $wait (i64.const 0) (i64.const 0)))
            (call $expect_nothing)
            (call $link (i64.const 7) (local.get $pid))
            (call $expect_death (i64.const 7))
            (call $monitor (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
];
