//! The order of messages, what a receive takes and leaves, and that nothing is shared: rows 1, 2, 5 to 10, 37, 38.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[1],
        name: "guarantee_01_signals_between_two_processes_keep_their_order",
        rounds: 20_000,
        // Two children send numbers. Those of each child arrive in order, whatever the other does.
        body: r#"
        (data (i32.const 1024) "counter")
        (func (export "counter") (local $i i64) (local $tag i64)
          (call $park)
          (local.set $tag (call $get_tag))
          (loop $next
            (call $send_value (i64.const 1) (local.get $tag) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        (func $child (param $tag i64)
          (call $send (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)) (local.get $tag)))
        (func (export "_start") (local $left i64) (local $at i32)
          (call $child (i64.const 1))
          (call $child (i64.const 2))
          (local.set $left (i64.mul (global.get $rounds) (i64.const 2)))
          (loop $next
            (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
            (local.set $at (i32.add (i32.const 2048) (i32.mul (i32.const 8) (i32.wrap_i64 (call $get_tag)))))
            (call $assert (i64.eq (call $value) (i64.load (local.get $at))))
            (i64.store (local.get $at) (i64.add (i64.load (local.get $at)) (i64.const 1)))
            (local.set $left (i64.sub (local.get $left) (i64.const 1)))
            (br_if $next (i64.ne (local.get $left) (i64.const 0)))))
        "#,
    },
    Scenario {
        rows: &[2],
        name: "guarantee_02_no_order_is_promised_across_senders",
        rounds: 3_000,
        // Both messages arrive, once each, in either order: a relayed message may overtake a direct one.
        body: r#"
        (data (i32.const 1024) "relaydirect")
        (func (export "relay")
          (call $park)
          (call $send (i64.const 1) (i64.const 2)))
        (func (export "direct") (local $relay i64)
          (call $park)
          (local.set $relay (call $value))
          (call $send (i64.const 1) (i64.const 1))
          (call $send (local.get $relay) (i64.const 1)))
        (func (export "_start") (local $i i64) (local $relay i64) (local $direct i64)
          (loop $next
            (local.set $relay (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (local.set $direct (call $spawn (i64.const 0) (i32.const 1029) (i32.const 6)))
            (if (call $random_bit) (then (call $send (local.get $relay) (i64.const 1))))
            (call $send_value (local.get $direct) (i64.const 1) (local.get $relay))
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (if (i64.eq (call $get_tag) (i64.const 1))
              (then (call $expect (i64.const 2)))
              (else (call $assert (i64.eq (call $get_tag) (i64.const 2))) (call $expect (i64.const 1))))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        (func $random_bit (result i32) (i32.wrap_i64 (call $random (i64.const 2))))
        "#,
    },
    Scenario {
        rows: &[5],
        name: "guarantee_05_sending_to_a_dead_process_is_no_error",
        rounds: 1_000,
        // To a dying process, to a dead one, and to identifiers that never were a process.
        body: r#"
        (data (i32.const 1024) "nothing")
        (func (export "nothing"))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (call $monitor (local.get $pid))
            (call $send (local.get $pid) (i64.const 1))
            (call $expect_down (local.get $pid))
            (call $send (local.get $pid) (i64.const 1))
            (call $kill (local.get $pid))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $send (i64.const 0) (i64.const 1))
          (call $send (i64.const -1) (i64.const 1))
          (call $send (i64.const 0x100000001) (i64.const 1))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[6],
        name: "guarantee_06_receive_order_is_arrival_order",
        rounds: 20_000,
        // The mailbox is filled with a sequence of tags, drained, and compared with the sequence.
        body: r#"
        (func (export "_start") (local $i i64)
          (loop $fill
            (call $send_value (call $me) (i64.add (call $random (i64.const 5)) (i64.const 1)) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $fill (i64.lt_u (local.get $i) (global.get $rounds))))
          (global.set $seed (i64.const 7))
          (local.set $i (i64.const 0))
          (loop $drain
            (call $expect (i64.add (call $random (i64.const 5)) (i64.const 1)))
            (call $assert (i64.eq (call $value) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $drain (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[7],
        name: "guarantee_07_selective_receive_leaves_the_others_in_place",
        rounds: 1_000,
        body: r#"
        (data (i32.const 1024) "\02\00\00\00\00\00\00\00\04\00\00\00\00\00\00\00")
        (func (export "_start") (local $i i64)
          (loop $next
            (call $send (call $me) (i64.const 1))
            (call $send (call $me) (i64.const 2))
            (call $send (call $me) (i64.const 3))
            (call $send (call $me) (i64.const 4))
            (drop (call $wait (i64.const 3) (i64.const -1)))
            (call $assert (i64.eq (call $get_tag) (i64.const 3)))
            ;; Of several tags, the first that arrived.
            (call $assert (i32.eqz (call $receive (i32.const 1024) (i32.const 2) (i64.const -1))))
            (call $assert (i64.eq (call $get_tag) (i64.const 2)))
            (call $expect (i64.const 1))
            (call $expect (i64.const 4))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[8],
        name: "guarantee_08_a_timeout_of_0_polls",
        rounds: 1_000,
        // Polling an empty mailbox returns at once; polling after a message was sent returns the message.
        body: r#"
        (func (export "_start") (local $i i64)
          (loop $next
            (call $expect_nothing)
            (call $send (call $me) (i64.const 1))
            (call $assert (i32.eqz (call $wait (i64.const 1) (i64.const 0))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[9],
        name: "guarantee_09_a_timeout_consumes_nothing",
        rounds: 300,
        // Messages that do not match stay, and late ones are delivered. A reply may also race with the timeout.
        body: r#"
        (data (i32.const 1024) "late")
        (func (export "late")
          (call $park)
          (call $send (i64.const 1) (i64.const 2)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (call $send (call $me) (i64.const 1))
            (call $assert (i32.eq (call $wait (i64.const 2) (i64.const 0)) (i32.const 9027)))
            (call $send (local.get $pid) (i64.const 1))
            (if (call $wait (i64.const 2) (i64.const 1))
              (then (call $assert (i32.eqz (call $wait (i64.const 2) (i64.const -1))))))
            (call $expect (i64.const 1))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[10],
        name: "guarantee_10_a_request_considers_only_later_messages",
        rounds: 2_000,
        body: r#"
        (data (i32.const 1024) "echo")
        (func (export "echo") (local $value i64)
          (loop $next
            (call $park)
            (local.set $value (call $value))
            (call $send_value (i64.const 1) (i64.const 5) (local.get $value))
            (br $next)))
        (func (export "_start") (local $i i64) (local $echo i64)
          (local.set $echo (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
          (loop $next
            ;; The same tag is there already: that is an older answer.
            (call $send_value (call $me) (i64.const 5) (i64.const -1))
            (call $prepare_value (i64.const 3) (local.get $i))
            (call $assert (i32.eqz (call $request (local.get $echo) (i64.const 5) (i64.const -1))))
            (call $assert (i64.eq (call $value) (local.get $i)))
            (call $expect (i64.const 5))
            (call $assert (i64.eq (call $value) (i64.const -1)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          ;; An older match does not count, also when nothing later comes.
          (call $send_value (call $me) (i64.const 5) (i64.const -1))
          (call $prepare_value (i64.const 3) (i64.const 2))
          (call $assert (i32.eq (call $request (i64.const 0) (i64.const 5) (i64.const 3)) (i32.const 9027)))
          (call $expect (i64.const 5)))
        "#,
    },
    Scenario {
        rows: &[37],
        name: "guarantee_37_spinners_do_not_starve_an_echo",
        rounds: 20,
        // This ends only if processes that never wait are preempted, whichever runs first.
        body: r#"
        (data (i32.const 1024) "spinecho")
        (func (export "spin") (loop $forever (br $forever)))
        (func (export "echo")
          (loop $next
            (call $park)
            (call $send (i64.const 1) (i64.const 5))
            (br $next)))
        (func (export "_start") (local $i i64) (local $echo i64)
          (loop $spawn
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $spawn (i64.lt_u (local.get $i) (i64.const 4))))
          (local.set $echo (call $spawn (i64.const 0) (i32.const 1028) (i32.const 4)))
          (local.set $i (i64.const 0))
          (loop $next
            (call $send (local.get $echo) (i64.const 1))
            (call $expect (i64.const 5))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[38],
        name: "guarantee_38_no_shared_state",
        rounds: 500,
        // Memory, globals and tables belong to one child, also where a recycled store is used.
        body: r#"
        (data (i32.const 1024) "writer")
        (global $g (mut i32) (i32.const 1))
        (table $t 2 2 funcref)
        (elem declare func $nothing)
        (func $nothing)
        (func $is_fresh
          (call $assert (i32.eqz (i32.load (i32.const 5000))))
          (call $assert (i32.eqz (i32.load (i32.const 131068))))
          (call $assert (i32.eq (memory.size) (i32.const 2)))
          (call $assert (ref.is_null (table.get $t (i32.const 1))))
          (call $assert (i32.eq (global.get $g) (i32.const 1))))
        (func (export "writer")
          (call $is_fresh)
          (i32.store (i32.const 5000) (i32.const 7))
          (i32.store (i32.const 131068) (i32.const 7))
          (table.set $t (i32.const 1) (ref.func $nothing))
          (global.set $g (i32.const 7))
          (i32.store (i32.mul (i32.const 65536) (memory.grow (i32.const 1))) (i32.const 7))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $i i64)
          (loop $next
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $expect (i64.const 5))
            (call $expect (i64.const 5))
            (call $is_fresh)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
];
