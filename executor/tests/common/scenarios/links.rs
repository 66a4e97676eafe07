//! Links: rows 11 to 15 and 18.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[11],
        name: "guarantee_11_spawning_with_a_link_is_atomic",
        rounds: 4_000,
        // The child ends at once, with a status or (rarely) a trap. The parent is always notified, even while it is busy.
        body: r#"
        (data (i32.const 1024) "exitstraps")
        (func (export "exits") (call $exit (i32.const 1)))
        (func (export "traps") (unreachable))
        (func (export "_start") (local $i i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (drop (if (result i64) (i64.eqz (i64.rem_u (local.get $i) (i64.const 128)))
              (then (call $spawn (i64.add (local.get $i) (i64.const 1)) (i32.const 1029) (i32.const 5)))
              (else (call $spawn (i64.add (local.get $i) (i64.const 1)) (i32.const 1024) (i32.const 5)))))
            (call $jostle)
            (call $spin (call $random (i64.const 40000)))
            (call $expect_death (i64.add (local.get $i) (i64.const 1)))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[12],
        name: "guarantee_12_a_link_is_bidirectional",
        rounds: 2_000,
        // Either side is killed, whichever made the link; both end.
        body: r#"
        (data (i32.const 1024) "parentchild")
        (func (export "child") (loop $forever (call $park) (br $forever)))
        (func (export "parent") (local $pid i64)
          (call $park)
          (if (i64.eqz (call $value))
            (then (local.set $pid (call $spawn (i64.const 1) (i32.const 1030) (i32.const 5))))
            (else
              (local.set $pid (call $spawn (i64.const 0) (i32.const 1030) (i32.const 5)))
              (call $link (i64.const 1) (local.get $pid))))
          (call $send_value (i64.const 1) (i64.const 5) (local.get $pid))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $parent i64) (local $child i64)
          (loop $next
            (local.set $parent (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $send_value (local.get $parent) (i64.const 1) (i64.and (local.get $i) (i64.const 1)))
            (call $expect (i64.const 5))
            (local.set $child (call $value))
            (call $monitor (local.get $parent))
            (call $monitor (local.get $child))
            (call $kill (select (local.get $parent) (local.get $child)
              (i64.eqz (i64.and (local.get $i) (i64.const 2)))))
            ;; The killed process notifies its link first, which may notify this process earlier.
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            (if (i64.eq (call $get_process_id) (local.get $parent))
              (then (call $expect_down (local.get $child)))
              (else
                (call $assert (i64.eq (call $get_process_id) (local.get $child)))
                (call $expect_down (local.get $parent))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[13],
        name: "guarantee_13_linking_again_is_idempotent",
        rounds: 1_000,
        // Linked five times by one side and once by the other: one death, with the last tag. After one unlink: none.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $link (i64.const 9) (i64.const 1))
          (call $send (i64.const 1) (i64.const 5))
          (loop $forever (call $park) (br $forever)))
        (func $link_five_times (param $pid i64) (local $tag i64)
          (loop $again
            (local.set $tag (i64.add (local.get $tag) (i64.const 1)))
            (call $link (local.get $tag) (local.get $pid))
            (br_if $again (i64.lt_u (local.get $tag) (i64.const 5)))))
        (func $child (result i64) (local $pid i64)
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (call $expect (i64.const 5))
          (call $link_five_times (local.get $pid))
          (call $monitor (local.get $pid))
          (local.get $pid))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $child))
            (call $kill (local.get $pid))
            (call $expect_death (i64.const 5))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $pid (call $child))
            (call $unlink (local.get $pid))
            (call $kill (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[14],
        name: "guarantee_14_linking_to_a_dead_process_notifies_the_caller",
        rounds: 1_000,
        // A process that traps exits gets a message; one that does not ends.
        body: r#"
        (data (i32.const 1024) "nothinglinks")
        (func (export "nothing"))
        (func (export "links")
          (call $park)
          (call $link (i64.const 3) (call $value))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $dead i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $dead (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (call $monitor (local.get $dead))
            (call $expect_down (local.get $dead))
            (call $link (i64.const 77) (local.get $dead))
            (call $expect_death (i64.const 77))
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1031) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $send_value (local.get $pid) (i64.const 1) (local.get $dead))
            (call $expect_down (local.get $pid))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $link (i64.const 78) (i64.const 123456789))
          (call $expect_death (i64.const 78))
          (call $expect_nothing))
        "#,
    },
    Scenario {
        rows: &[15],
        name: "guarantee_15_after_unlink_a_death_sends_no_message",
        rounds: 4_000,
        // The child ends at any moment. A death that arrived before the unlink may be a message. Once that is received,
        // no other arrives, although the child ends later in any case. Links are notified before monitors, so after the
        // monitor's message, none of the link can follow.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (call $spin (call $value))
          (call $exit (i32.const 1)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 6) (i32.const 1024) (i32.const 5)))
            (call $send_value (local.get $pid) (i64.const 1) (call $random (i64.const 10000)))
            (call $jostle)
            (call $spin (call $random (i64.const 60000)))
            (call $unlink (local.get $pid))
            (drop (call $wait (i64.const 6) (i64.const 0)))
            (call $expect_nothing)
            (call $monitor (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[15],
        name: "guarantee_15_after_unlink_a_death_ends_no_process",
        rounds: 5_000,
        // As above, for a parent that a death would end: the child waits until the unlink has returned.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (call $exit (i32.const 1)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 6) (i32.const 1024) (i32.const 5)))
            (call $unlink (local.get $pid))
            (call $send (local.get $pid) (i64.const 1))
            (call $monitor (local.get $pid))
            (call $expect_down (local.get $pid))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[12, 15],
        name: "guarantee_12_and_15_concurrent_linking_and_unlinking_leaves_a_whole_link_or_none",
        rounds: 3_000,
        // Two processes link and unlink each other, independently of what the other does. At the end, one unlinks and,
        // when that must have arrived, links again. The link is complete, whatever came before: each is notified of the
        // other's end.
        body: r#"
        (data (i32.const 1024) "partner")
        (func $quarrel (param $peer i64) (local $i i64)
          (loop $again
            (call $link (i64.const 6) (local.get $peer))
            (call $spin (call $random (i64.const 2000)))
            (call $unlink (local.get $peer))
            (call $spin (call $random (i64.const 2000)))
            (if (i64.eqz (call $random (i64.const 2))) (then (call $link (i64.const 6) (local.get $peer))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $again (i64.lt_u (local.get $i) (i64.const 5)))))
        (func (export "partner")
          (call $die_when_link_dies (i32.const 0))
          (call $expect (i64.const 1))
          (global.set $seed (call $value))
          (call $quarrel (i64.const 1))
          (call $send (i64.const 1) (i64.const 5))
          ;; Whatever the quarrel has left, this undoes it, on both sides.
          (call $expect (i64.const 2))
          (call $unlink (i64.const 1))
          (call $send (i64.const 1) (i64.const 5))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (call $send_value (local.get $pid) (i64.const 1) (local.get $i))
            (call $jostle)
            (call $spin (call $random (i64.const 40000)))
            (call $quarrel (local.get $pid))
            (call $expect (i64.const 5))
            (call $send (local.get $pid) (i64.const 2))
            (call $expect (i64.const 5))
            (call $monitor (local.get $pid))
            (if (i64.eqz (i64.and (local.get $i) (i64.const 1)))
              (then (call $link (i64.const 9) (local.get $pid))))
            (call $kill (local.get $pid))
            (if (i64.eqz (i64.and (local.get $i) (i64.const 1)))
              (then (call $expect_death (i64.const 9))))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[18],
        name: "guarantee_18_a_process_that_traps_exits_gets_a_message_and_survives",
        rounds: 2_000,
        // The message carries the link's tag, however the other ends. A selective receive finds it by the tag.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (if (i64.eqz (call $value)) (then (call $exit (i32.const 1))))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 21) (i32.const 1024) (i32.const 5)))
            (call $send (call $me) (i64.const 20))
            (call $send_value (local.get $pid) (i64.const 1) (i64.and (local.get $i) (i64.const 1)))
            (if (i64.ne (i64.and (local.get $i) (i64.const 1)) (i64.const 0))
              (then (call $kill (local.get $pid))))
            (call $assert (i32.eq (call $wait (i64.const 21) (i64.const -1)) (i32.const 1)))
            (call $assert (i64.eq (call $get_tag) (i64.const 21)))
            (call $expect (i64.const 20))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
];
