//! Messages, links, monitors, names and exits, seen from inside guests, at one worker and at several.

mod common;

use common::{Outcome, guest, run, workers};

/// Runs a guest at one worker and at three; it has to end well at each.
fn passes(body: &str) {
    for count in [1, 3] {
        let outcome = run(workers(count), &guest(body));
        assert_eq!(outcome.status, 0, "{count} workers: {}{}", outcome.stdout, outcome.stderr);
    }
}

/// Runs a guest that does not end well.
fn fails(body: &str) -> Outcome {
    run(workers(2), &guest(body))
}

#[test]
fn guarantee_01_signals_between_two_processes_keep_their_order() {
    // Two children send numbers; the parent checks that each child's come in order.
    passes(
        r#"
        (data (i32.const 1024) "counter")
        (func (export "counter") (local $i i64) (local $tag i64)
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (local.set $tag (call $get_tag))
          (loop $next
            (call $send_value (i64.const 1) (local.get $tag) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 20000)))))
        (func $child (param $tag i64)
          (call $send (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)) (local.get $tag)))
        (func (export "_start") (local $n i32) (local $at i32)
          (call $child (i64.const 1))
          (call $child (i64.const 2))
          (loop $next
            (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
            (local.set $at (i32.add (i32.const 2048) (i32.mul (i32.const 8) (i32.wrap_i64 (call $get_tag)))))
            (call $assert (i64.eq (call $value) (i64.load (local.get $at))))
            (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1)))
            (local.set $n (i32.add (local.get $n) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $n) (i32.const 40000)))))
        "#,
    );
}

#[test]
fn guarantee_03_a_message_sent_before_an_exit_arrives_before_it() {
    passes(
        r#"
        (data (i32.const 1024) "last")
        (func (export "last")
          (call $send (i64.const 1) (i64.const 9))
          (unreachable))
        (func (export "_start") (local $i i32)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (drop (call $spawn (i64.const 8) (i32.const 1024) (i32.const 4)))
            (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
            (call $assert (i64.eq (call $get_tag) (i64.const 9)))
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1)))
            (call $assert (i64.eq (call $get_tag) (i64.const 8)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 200)))))
        "#,
    );
}

#[test]
fn guarantee_05_sending_to_a_dead_process_is_no_error() {
    passes(
        r#"
        (data (i32.const 1024) "nothing")
        (func (export "nothing"))
        (func (export "_start") (local $pid i64)
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
          (call $monitor (local.get $pid))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $send (local.get $pid) (i64.const 1))
          (call $send (i64.const 0) (i64.const 1))
          (call $send (i64.const -1) (i64.const 1))
          (call $kill (local.get $pid)))
        "#,
    );
}

#[test]
fn guarantee_07_selective_receive_leaves_the_others_in_place() {
    passes(
        r#"
        (func (export "_start")
          (call $send (call $me) (i64.const 1))
          (call $send (call $me) (i64.const 2))
          (call $send (call $me) (i64.const 3))
          (call $send (call $me) (i64.const 4))
          (drop (call $wait (i64.const 3) (i64.const -1)))
          (call $assert (i64.eq (call $get_tag) (i64.const 3)))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i64.eq (call $get_tag) (i64.const 1)))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i64.eq (call $get_tag) (i64.const 2)))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i64.eq (call $get_tag) (i64.const 4))))
        "#,
    );
}

#[test]
fn guarantee_08_and_09_a_timeout_of_0_polls_and_a_timeout_consumes_nothing() {
    passes(
        r#"
        (func (export "_start")
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 0)) (i32.const 9027)))
          (call $send (call $me) (i64.const 1))
          (call $assert (i32.eq (call $wait (i64.const 2) (i64.const 5)) (i32.const 9027)))
          (call $assert (i32.eqz (call $wait (i64.const 1) (i64.const 0)))))
        "#,
    );
}

#[test]
fn guarantee_10_a_request_is_answered_by_what_arrives_later() {
    passes(
        r#"
        (data (i32.const 1024) "echo")
        (func (export "echo") (local $value i64)
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (local.set $value (call $value))
          (call $send_value (i64.const 1) (i64.const 5) (local.get $value)))
        (func (export "_start")
          (call $send_value (call $me) (i64.const 5) (i64.const 1))
          (call $prepare_value (i64.const 3) (i64.const 2))
          (call $assert (i32.eqz (call $request (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4))
            (i64.const 5) (i64.const -1))))
          (call $assert (i64.eq (call $value) (i64.const 2)))
          (drop (call $wait (i64.const 5) (i64.const 0)))
          (call $assert (i64.eq (call $value) (i64.const 1)))
          (call $prepare_value (i64.const 3) (i64.const 2))
          (call $assert (i32.eq (call $request (i64.const 0) (i64.const 5) (i64.const 3)) (i32.const 9027))))
        "#,
    );
}

#[test]
fn guarantee_12_and_16_an_abnormal_exit_kills_the_linked() {
    let outcome = fails(
        r#"
        (data (i32.const 1024) "trap")
        (func (export "trap") (unreachable))
        (func (export "_start")
          (drop (call $spawn (i64.const 1) (i32.const 1024) (i32.const 4)))
          (call $sleep (i64.const 100000)))
        "#,
    );
    assert_eq!(outcome.status, 134);
    assert!(outcome.stderr.contains("(trap) trapped: unreachable"), "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("process 1 (_start) ended because the linked process"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn guarantee_14_linking_to_a_dead_process_is_its_death() {
    passes(
        r#"
        (func (export "_start")
          (call $die_when_link_dies (i32.const 0))
          (call $link (i64.const 77) (i64.const 123456789))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1)))
          (call $assert (i64.eq (call $get_tag) (i64.const 77))))
        "#,
    );
    let outcome = fails(
        r#"(func (export "_start") (call $link (i64.const 1) (i64.const 123456789)) (call $sleep (i64.const 100000)))"#,
    );
    assert_eq!(outcome.status, 134);
}

#[test]
fn guarantee_15_after_unlink_a_death_means_nothing() {
    // The child dies as soon as it hears, which is after the link is undone; its parent does not wait for it.
    passes(
        r#"
        (data (i32.const 1024) "exit")
        (func (export "exit")
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $exit (i32.const 1)))
        (func (export "_start") (local $pid i64) (local $i i32)
          (loop $next
            (local.set $pid (call $spawn (i64.const 1) (i32.const 1024) (i32.const 4)))
            (call $unlink (local.get $pid))
            (call $send (local.get $pid) (i64.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 10000))))
          (call $monitor (local.get $pid))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027))))
        "#,
    );
}

#[test]
fn guarantee_17_a_normal_exit_kills_no_one() {
    passes(
        r#"
        (data (i32.const 1024) "nothing")
        (func (export "nothing") (call $exit (i32.const 0)))
        (func (export "_start")
          (call $monitor (call $spawn (i64.const 1) (i32.const 1024) (i32.const 7)))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027))))
        "#,
    );
}

#[test]
fn guarantee_19_exits_propagate_along_chains() {
    // Each link of the chain spawns the next; the last one traps; the first watches and traps exits.
    passes(
        r#"
        (data (i32.const 1024) "chain")
        (func (export "chain") (local $left i64)
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (local.set $left (call $value))
          (if (i64.eqz (local.get $left)) (then (call $exit (i32.const 3))))
          (call $send_value (call $spawn (i64.const 1) (i32.const 1024) (i32.const 5)) (i64.const 1)
            (i64.sub (local.get $left) (i64.const 1)))
          (call $sleep (i64.const 1000000)))
        (func (export "_start")
          (call $die_when_link_dies (i32.const 0))
          (call $send_value (call $spawn (i64.const 44) (i32.const 1024) (i32.const 5)) (i64.const 1) (i64.const 1000))
          (call $assert (i32.eq (call $wait (i64.const 44) (i64.const -1)) (i32.const 1))))
        "#,
    );
}

#[test]
fn guarantee_20_and_21_a_kill_cannot_be_trapped_but_its_echo_can() {
    passes(
        r#"
        (data (i32.const 1024) "sturdy")
        (func (export "sturdy")
          (call $die_when_link_dies (i32.const 0))
          (call $send (i64.const 1) (i64.const 6))
          (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (local.set $pid (call $spawn (i64.const 5) (i32.const 1024) (i32.const 6)))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          (call $kill (local.get $pid))
          (call $assert (i32.eq (call $wait (i64.const 5) (i64.const -1)) (i32.const 1)))
          (call $assert (i32.eqz (call $exists (local.get $pid)))))
        "#,
    );
}

#[test]
fn guarantee_24_to_27_monitors() {
    passes(
        r#"
        (data (i32.const 1024) "sleeper")
        (func (export "sleeper") (call $sleep (i64.const 1000000)))
        (func $sleeper (result i64) (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
        (func (export "_start") (local $pid i64) (local $i i32)
          ;; Five monitors, five messages, no more.
          (local.set $pid (call $sleeper))
          (loop $again
            (call $monitor (local.get $pid))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 5))))
          (call $kill (local.get $pid))
          (local.set $i (i32.const 0))
          (loop $told
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            (call $assert (i64.eq (call $get_process_id) (local.get $pid)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $told (i32.lt_u (local.get $i) (i32.const 5))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027)))
          ;; A dead process is reported at once.
          (call $monitor (local.get $pid))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
          ;; After stop_monitoring, nothing.
          (local.set $pid (call $sleeper))
          (call $monitor (local.get $pid))
          (call $kill (local.get $pid))
          (call $stop_monitoring (local.get $pid))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 5)) (i32.const 9027))))
        "#,
    );
}

#[test]
fn guarantee_29_and_30_names_are_free_when_a_death_is_seen() {
    passes(
        r#"
        (data (i32.const 1024) "sleeper")
        (func (export "sleeper") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $pid i64) (local $i i32)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (call $put (i32.const 1024) (i32.const 4) (i64.const 0) (local.get $pid))
            (call $assert (i32.eqz (call $get (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 1108))))
            (call $assert (i64.eq (i64.load (i32.const 1108)) (local.get $pid)))
            (call $monitor (local.get $pid))
            (call $kill (local.get $pid))
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (call $assert (call $get (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 1108)))
            ;; The dead get no names.
            (call $put (i32.const 1024) (i32.const 4) (i64.const 0) (local.get $pid))
            (call $assert (call $get (i32.const 1024) (i32.const 4) (i32.const 1100) (i32.const 1108)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 200)))))
        "#,
    );
}

#[test]
fn guarantee_31_of_a_hundred_racing_get_or_spawn_one_spawns() {
    passes(
        r#"
        (data (i32.const 1024) "racerserver")
        (func (export "server") (call $sleep (i64.const 1000000)))
        (func (export "racer")
          (drop (call $get_or_spawn_raw (i32.const 1024) (i32.const 3) (i64.const 0) (i64.const -1) (i64.const -1)
            (i32.const 1029) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 1100) (i32.const 1108)))
          (call $send_value (i64.const 1) (i64.const 5) (i64.load (i32.const 1108))))
        (func (export "_start") (local $i i32) (local $winner i64)
          (loop $spawn
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $spawn (i32.lt_u (local.get $i) (i32.const 100))))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (local.set $winner (call $value))
          (call $assert (call $exists (local.get $winner)))
          (loop $collect
            (local.set $i (i32.sub (local.get $i) (i32.const 1)))
            (if (i32.gt_u (local.get $i) (i32.const 0)) (then
              (drop (call $wait (i64.const 5) (i64.const -1)))
              (call $assert (i64.eq (call $value) (local.get $winner)))
              (br $collect)))))
        "#,
    );
}

#[test]
fn guarantee_35_and_36_timers_fire_once_or_are_cancelled_and_the_dead_do_not_mind() {
    passes(
        r#"
        (func (export "_start") (local $timer i64)
          (call $create_data (i64.const 5) (i64.const 0))
          (local.set $timer (call $send_after (call $me) (i64.const 100000)))
          (call $assert (call $cancel_timer (local.get $timer)))
          (call $assert (i32.eqz (call $cancel_timer (local.get $timer))))
          (call $assert (i32.eqz (call $cancel_timer (i64.const -1))))
          (call $create_data (i64.const 5) (i64.const 0))
          (local.set $timer (call $send_after (call $me) (i64.const 1)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (call $assert (i32.eqz (call $cancel_timer (local.get $timer))))
          (call $create_data (i64.const 5) (i64.const 0))
          (drop (call $send_after (i64.const 4242) (i64.const 0)))
          (call $sleep (i64.const 2)))
        "#,
    );
}

#[test]
fn guarantee_38_no_shared_state() {
    passes(
        r#"
        (data (i32.const 1024) "writer")
        (global $g (mut i32) (i32.const 1))
        (func (export "writer")
          (i32.store (i32.const 5000) (i32.const 7))
          (global.set $g (i32.const 7))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start")
          (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (call $assert (i32.eqz (i32.load (i32.const 5000))))
          (call $assert (i32.eq (global.get $g) (i32.const 1))))
        "#,
    );
}

#[test]
fn a_million_spawns_one_after_the_other_leave_nothing_behind() {
    // Fewer than a million in a test; each child is answered before the next one is spawned.
    passes(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $i i32) (local $last i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $assert (i64.ne (local.get $pid) (local.get $last)))
            (local.set $last (local.get $pid))
            (drop (call $wait (i64.const 5) (i64.const -1)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $i) (i32.const 20000)))))
        "#,
    );
}
