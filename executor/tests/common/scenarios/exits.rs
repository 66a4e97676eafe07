//! Exits and kills, and what comes before and after them: rows 3, 4, 16, 17, 19 to 23, 32, 39.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[3],
        name: "guarantee_03_a_message_sent_before_an_exit_arrives_before_it",
        rounds: 3_000,
        // The sender ends in each way: it returns, exits, traps (rarely, because that is reported), or kills itself.
        body: r#"
        (data (i32.const 1024) "last")
        (func (export "last") (local $how i64)
          (call $park)
          (local.set $how (call $value))
          (call $send (i64.const 1) (i64.const 9))
          (if (i64.eq (local.get $how) (i64.const 0)) (then (call $exit (i32.const 3))))
          (if (i64.eq (local.get $how) (i64.const 1)) (then (call $kill (call $me))))
          (if (i64.eq (local.get $how) (i64.const 2)) (then (return)))
          (unreachable))
        (func (export "_start") (local $i i64) (local $pid i64) (local $how i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 8) (i32.const 1024) (i32.const 4)))
            (call $monitor (local.get $pid))
            (local.set $how (i64.rem_u (local.get $i) (i64.const 3)))
            (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 64))) (then (local.set $how (i64.const 3))))
            (call $send_value (local.get $pid) (i64.const 1) (local.get $how))
            (call $expect (i64.const 9))
            (if (i64.ne (local.get $how) (i64.const 2)) (then (call $expect_death (i64.const 8))))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[4],
        name: "guarantee_04_a_message_sent_after_a_kill_is_never_processed",
        rounds: 3_000,
        // The target answers each message. The kill arrives while it sleeps, runs, or is being woken; a message that is
        // sent after the kill is never answered.
        body: r#"
        (data (i32.const 1024) "answer")
        (func (export "answer") (local $tag i64)
          (loop $next
            (call $park)
            (local.set $tag (call $get_tag))
            (call $send (i64.const 1) (local.get $tag))
            (br $next)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $monitor (local.get $pid))
            (call $send (local.get $pid) (i64.const 1))
            (call $jostle)
            (call $spin (call $random (i64.const 40000)))
            (call $kill (local.get $pid))
            (call $send (local.get $pid) (i64.const 2))
            (if (i32.eqz (call $wait (i64.const 0) (i64.const -1)))
              (then
                (call $assert (i64.eq (call $get_tag) (i64.const 1)))
                (call $expect_down (local.get $pid)))
              (else (call $assert (i64.eq (call $get_process_id) (local.get $pid)))))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[16],
        name: "guarantee_16_an_abnormal_exit_kills_the_linked",
        rounds: 2_000,
        // The child ends with a status or (rarely) a trap. Its parent, which does not trap exits, ends, too.
        body: r#"
        (data (i32.const 1024) "parentchild")
        (func (export "child") (local $how i64)
          (call $park)
          (local.set $how (call $value))
          (if (i64.eqz (local.get $how)) (then (unreachable)))
          (call $exit (i32.const 1)))
        (func (export "parent")
          (call $send_value (i64.const 1) (i64.const 5) (call $spawn (i64.const 1) (i32.const 1030) (i32.const 5)))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $parent i64)
          (loop $next
            (local.set $parent (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $expect (i64.const 5))
            (call $monitor (local.get $parent))
            (call $send_value (call $value) (i64.const 1) (i64.rem_u (local.get $i) (i64.const 64)))
            (call $expect_down (local.get $parent))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[17],
        name: "guarantee_17_a_normal_exit_kills_no_process",
        rounds: 2_000,
        // The child returns or exits with 0; neither sends a message. A monitor sees the child's death, so the
        // notification of the link would have arrived before.
        body: r#"
        (data (i32.const 1024) "returnsexits")
        (func (export "returns"))
        (func (export "exits") (call $exit (i32.const 0)))
        (func $child (param $name i32) (param $length i32) (local $pid i64)
          (local.set $pid (call $spawn (i64.const 1) (local.get $name) (local.get $length)))
          (call $monitor (local.get $pid))
          (call $expect_down (local.get $pid))
          (call $expect_nothing))
        (func (export "_start") (local $i i64)
          (loop $next
            (call $die_when_link_dies (i32.wrap_i64 (i64.rem_u (local.get $i) (i64.const 2))))
            (call $child (i32.const 1024) (i32.const 7))
            (call $child (i32.const 1031) (i32.const 5))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[19],
        name: "guarantee_19_exits_propagate_along_chains",
        rounds: 1_000,
        // A ring of as many processes as there are rounds; one is killed, all end.
        body: r#"
        (data (i32.const 1024) "member")
        (func (export "member")
          ;; Its neighbour comes first, then nothing.
          (call $park)
          (call $link (i64.const 1) (call $value))
          (call $send (i64.const 1) (i64.const 5))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $first i64) (local $last i64) (local $pid i64)
          (local.set $first (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
          (local.set $last (local.get $first))
          (call $monitor (local.get $first))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $monitor (local.get $pid))
            (call $send_value (local.get $pid) (i64.const 1) (local.get $last))
            (call $expect (i64.const 5))
            (local.set $last (local.get $pid))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $send_value (local.get $first) (i64.const 1) (local.get $last))
          (call $expect (i64.const 5))
          (call $kill (local.get $pid))
          (local.set $i (i64.const 0))
          (loop $told
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            (call $assert (i32.eqz (call $exists (call $get_process_id))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $told (i64.le_u (local.get $i) (global.get $rounds))))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[20, 21],
        name: "guarantee_20_and_21_a_kill_cannot_be_trapped_but_its_notification_can",
        rounds: 2_000,
        body: r#"
        (data (i32.const 1024) "sturdy")
        (func (export "sturdy")
          (call $die_when_link_dies (i32.const 0))
          (call $send (i64.const 1) (i64.const 6))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 5) (i32.const 1024) (i32.const 6)))
            (call $expect (i64.const 6))
            (call $kill (local.get $pid))
            (call $expect_death (i64.const 5))
            (call $assert (i32.eqz (call $exists (local.get $pid))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[22],
        name: "guarantee_22_of_two_exits_the_first_wins",
        rounds: 3_000,
        // A child that ends normally is killed twice meanwhile. It ends once, in one way: its link notifies only if it
        // was killed, and before its monitor, which notifies exactly once in any case.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (call $spin (call $value))
          (call $exit (i32.const 0)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 4) (i32.const 1024) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $send_value (local.get $pid) (i64.const 1) (call $random (i64.const 10000)))
            (call $jostle)
            (call $spin (call $random (i64.const 60000)))
            (call $kill (local.get $pid))
            (call $kill (local.get $pid))
            (if (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1))
              (then
                (call $assert (i64.eq (call $get_tag) (i64.const 4)))
                (call $expect_down (local.get $pid)))
              (else (call $assert (i64.eq (call $get_process_id) (local.get $pid)))))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[23],
        name: "guarantee_23_an_exit_racing_a_timeout_is_safe",
        rounds: 2_000,
        // A child waits for a millisecond repeatedly, and is killed while it waits, or when the timeout fires.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $send (i64.const 1) (i64.const 5))
          (loop $again
            (call $assert (i32.eq (call $wait (i64.const 3) (i64.const 1)) (i32.const 9027)))
            (br $again)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $expect (i64.const 5))
            (if (i64.eqz (i64.rem_u (local.get $i) (i64.const 2)))
              (then (call $sleep (i64.const 1)))
              (else (call $spin (call $random (i64.const 20000)))))
            (call $kill (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[32],
        name: "guarantee_32_a_pid_is_not_reused",
        rounds: 100_000,
        // A slot of the process table is reused by a later generation each time: the guest keeps the last identifier of
        // each slot. A living process keeps its identifier meanwhile.
        body: r#"
        (data (i32.const 1024) "childwitness")
        (func (export "child") (call $send (i64.const 1) (i64.const 5)))
        (func (export "witness") (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $pid i64) (local $at i32) (local $witness i64)
          (local.set $witness (call $spawn (i64.const 0) (i32.const 1029) (i32.const 7)))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $assert (i64.ne (local.get $pid) (local.get $witness)))
            (call $assert (i64.lt_u (i64.and (local.get $pid) (i64.const 0xffffffff)) (i64.const 8000)))
            (local.set $at (i32.add (i32.const 2048)
              (i32.mul (i32.const 8) (i32.wrap_i64 (local.get $pid)))))
            (call $assert (i64.gt_u (local.get $pid) (i64.load (local.get $at))))
            (i64.store (local.get $at) (local.get $pid))
            (call $expect (i64.const 5))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $assert (call $exists (local.get $witness))))
        "#,
    },
    Scenario {
        rows: &[39],
        name: "guarantee_39_a_memory_limit_ends_only_the_offender",
        rounds: 300,
        // Growing beyond the limit fails, and the process exits. A sibling with the same limit continues.
        body: r#"
        (data (i32.const 1024) "growsibling")
        (func (export "grow")
          (call $assert (i32.ne (memory.grow (i32.const 2)) (i32.const -1)))
          (call $assert (i32.eq (memory.grow (i32.const 100)) (i32.const -1)))
          (call $assert (i32.eq (memory.size) (i32.const 4)))
          (call $exit (i32.const 1)))
        (func (export "sibling")
          (loop $forever
            (call $park)
            (call $send (i64.const 1) (i64.const 6))
            (br $forever)))
        (func (export "_start") (local $i i64) (local $config i64) (local $sibling i64)
          (local.set $config (call $create_config))
          (call $set_max_memory (local.get $config) (i64.const 655360))
          (call $die_when_link_dies (i32.const 0))
          (local.set $sibling
            (call $spawn_with (i64.const 4) (local.get $config) (i32.const 1028) (i32.const 7)))
          (loop $next
            (drop (call $spawn_with (i64.const 5) (local.get $config) (i32.const 1024) (i32.const 4)))
            (call $expect_death (i64.const 5))
            (call $send (local.get $sibling) (i64.const 1))
            (call $expect (i64.const 6))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
];
