//! Exit reasons, exit signals, distinct monitors, and aliases, which only the extensions have: rows 3, 18, 19, 20, 22, 27, 28, 33.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[3],
        name: "guarantee_03_a_message_sent_before_an_exit_signal_arrives_before_it",
        rounds: 3_000,
        // The target receives exit signals as messages, in order with all others.
        body: r#"
        (data (i32.const 1024) "target")
        (func (export "target") (local $i i64) (local $trips i64)
          (call $die_when_link_dies (i32.const 0))
          (call $send (i64.const 1) (i64.const 5))
          (loop $next
            (call $expect (i64.const 7))
            (call $assert (i64.eq (call $value) (local.get $i)))
            (call $expect_death (i64.const 0))
            (call $assert_death (i64.const 1) (i32.const 7) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $i i64) (local $pid i64)
          (local.set $pid (call $spawn (i64.const 1) (i32.const 1024) (i32.const 6)))
          (call $expect (i64.const 5))
          (loop $next
            (call $send_value (local.get $pid) (i64.const 7) (local.get $i))
            (call $exit_signal (local.get $pid) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $expect (i64.const 5)))
        "#,
    },
    Scenario {
        rows: &[18, 20],
        name: "guarantee_18_and_20_an_exit_signal_can_be_trapped_and_a_kill_cannot",
        rounds: 2_000,
        // A process that traps exits is notified and continues until it is killed. Of the others, the reason 0 ends none,
        // and any other reason does.
        body: r#"
        (data (i32.const 1024) "trapsdoes not")
        (func $answer
          (loop $forever
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (call $send (i64.const 1) (i64.const 5))
            (br $forever)))
        (func (export "traps")
          (call $die_when_link_dies (i32.const 0))
          (call $send (i64.const 1) (i64.const 4))
          (call $answer))
        (func (export "does not") (call $answer))
        (func (export "_start") (local $i i64) (local $pid i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (call $monitor (local.get $pid))
            (call $expect (i64.const 4))
            (call $exit_signal (local.get $pid) (i64.const 0))
            (call $expect (i64.const 5))
            (call $exit_signal (local.get $pid) (i64.const -3))
            (call $expect (i64.const 5))
            (call $kill (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $assert_death (local.get $pid) (i32.const 3) (i64.const 0))
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1029) (i32.const 8)))
            (call $monitor (local.get $pid))
            (call $exit_signal (local.get $pid) (i64.const 0))
            (call $send (local.get $pid) (i64.const 1))
            (call $expect (i64.const 5))
            (call $exit_signal (local.get $pid) (i64.const -3))
            (call $expect_down (local.get $pid))
            (call $assert_death (local.get $pid) (i32.const 7) (i64.const -3))
            (call $exit_signal (local.get $pid) (i64.const 3))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[22],
        name: "guarantee_22_of_two_exit_signals_the_first_is_the_reason",
        rounds: 3_000,
        // Two signals of one sender, the first of which ends the process, and one of another sender, whose order is
        // unspecified.
        body: r#"
        (data (i32.const 1024) "targetrival")
        (func (export "target") (loop $forever (call $park) (br $forever)))
        (func (export "rival")
          (loop $forever
            (call $park)
            (call $exit_signal (call $value) (i64.const 9))
            (br $forever)))
        (func (export "_start") (local $i i64) (local $pid i64) (local $rival i64)
          (local.set $rival (call $spawn (i64.const 0) (i32.const 1030) (i32.const 5)))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $monitor (local.get $pid))
            (call $send_value (local.get $rival) (i64.const 1) (local.get $pid))
            (call $jostle)
            (call $spin (call $random (i64.const 40000)))
            (call $exit_signal (local.get $pid) (i64.const 1))
            (call $exit_signal (local.get $pid) (i64.const 2))
            (call $kill (local.get $pid))
            (call $expect_down (local.get $pid))
            (call $assert (i32.eq (call $death_kind) (i32.const 7)))
            (if (i64.ne (call $death_code) (i64.const 9))
              (then (call $assert (i64.eq (call $death_code) (i64.const 1)))))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[27],
        name: "guarantee_27_a_stopped_monitor_is_silent_and_the_others_are_not",
        rounds: 3_000,
        // One of three monitors is stopped while the process ends. The result tells what happened: either it was in time
        // and no message arrives, or the message is there, and "flush" has removed it.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (call $park)
          (call $spin (call $value))
          (call $exit (i32.const 1)))
        (func (export "_start") (local $i i64) (local $pid i64) (local $a i64) (local $b i64) (local $c i64)
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (local.set $a (call $monitor_start (local.get $pid)))
            (local.set $b (call $monitor_start (local.get $pid)))
            (local.set $c (call $monitor_start (local.get $pid)))
            (call $assert (i64.ne (local.get $a) (local.get $b)))
            (call $assert (i64.ne (local.get $b) (local.get $c)))
            (call $send_value (local.get $pid) (i64.const 1) (call $random (i64.const 10000)))
            (call $jostle)
            (call $spin (call $random (i64.const 60000)))
            (drop (call $monitor_stop (local.get $pid) (local.get $b) (i32.const 1)))
            (call $assert (i32.eqz (call $monitor_stop (local.get $pid) (local.get $b) (i32.const 1))))
            (call $expect_down (local.get $pid))
            (call $assert (i64.eq (call $death_reference) (local.get $a)))
            (call $expect_down (local.get $pid))
            (call $assert (i64.eq (call $death_reference) (local.get $c)))
            (call $expect_nothing)
            ;; Too late, and without "flush": the message stays.
            (local.set $a (call $monitor_start (local.get $pid)))
            (drop (call $wait (i64.const 9) (i64.const 0)))
            (call $assert (i32.eqz (call $monitor_stop (local.get $pid) (local.get $a) (i32.const 0))))
            (call $expect_down (local.get $pid))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $assert (i64.eqz (call $monitor_start (call $me)))))
        "#,
    },
    Scenario {
        rows: &[28],
        name: "guarantee_28_a_death_carries_its_reason",
        rounds: 200,
        // Every way to end, as a monitor and as a link see it.
        body: r#"
        (data (i32.const 1024) "child")
        (func $recurse (param i32) (result i32)
          (i32.add (call $recurse (local.get 0)) (i32.const 1)))
        (func (export "child") (local $how i64)
          (call $park)
          (local.set $how (call $value))
          (if (i64.eq (local.get $how) (i64.const 0)) (then (return)))
          (if (i64.eq (local.get $how) (i64.const 1)) (then (call $exit (i32.const 0))))
          (if (i64.eq (local.get $how) (i64.const 2)) (then (call $exit (i32.const -1))))
          (if (i64.eq (local.get $how) (i64.const 3)) (then (unreachable)))
          (if (i64.eq (local.get $how) (i64.const 4)) (then (drop (i32.load (i32.const -4)))))
          (if (i64.eq (local.get $how) (i64.const 5)) (then (drop (i32.div_u (i32.const 1) (i32.const 0)))))
          (if (i64.eq (local.get $how) (i64.const 6)) (then (drop (call $recurse (i32.const 0)))))
          (if (i64.eq (local.get $how) (i64.const 7)) (then (call $put (i32.const -4) (i32.const 8) (i64.const 0) (i64.const 0))))
          (if (i64.eq (local.get $how) (i64.const 8)) (then (call $kill (call $me))))
          (if (i64.eq (local.get $how) (i64.const 9)) (then (call $exit_with (i64.const -5))))
          (if (i64.eq (local.get $how) (i64.const 10)) (then (call $exit_with (i64.const 0))))
          (if (i64.eq (local.get $how) (i64.const 11)) (then (call $exit_signal (call $me) (i64.const 6))))
          (unreachable))
        (func $case (param $how i64) (param $kind i32) (param $code i64) (local $pid i64)
          (local.set $pid (call $spawn (i64.const 3) (i32.const 1024) (i32.const 5)))
          (call $monitor (local.get $pid))
          (call $send_value (local.get $pid) (i64.const 1) (local.get $how))
          (if (local.get $kind) (then
            (call $expect_death (i64.const 3))
            (call $assert (i64.eqz (call $death_reference)))
            (call $assert_death (local.get $pid) (local.get $kind) (local.get $code))))
          (call $expect_down (local.get $pid))
          (call $assert_death (local.get $pid) (local.get $kind) (local.get $code))
          (call $expect_nothing))
        (func (export "_start") (local $i i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (call $case (i64.const 0) (i32.const 0) (i64.const 0))
            (call $case (i64.const 1) (i32.const 0) (i64.const 0))
            (call $case (i64.const 2) (i32.const 1) (i64.const 0xffffffff))
            (call $case (i64.const 8) (i32.const 3) (i64.const 0))
            (call $case (i64.const 9) (i32.const 7) (i64.const -5))
            (call $case (i64.const 10) (i32.const 0) (i64.const 0))
            (call $case (i64.const 11) (i32.const 7) (i64.const 6))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          ;; Traps are reported, so each only once.
          (call $case (i64.const 3) (i32.const 2) (i64.const 0))
          (call $case (i64.const 4) (i32.const 2) (i64.const 1))
          (call $case (i64.const 5) (i32.const 2) (i64.const 6))
          (call $case (i64.const 6) (i32.const 2) (i64.const 9))
          (call $case (i64.const 7) (i32.const 2) (i64.const 10))
          ;; A process that never existed, as a monitor and a link see it.
          (call $monitor (i64.const 123456789))
          (call $expect_down (i64.const 123456789))
          (call $assert_death (i64.const 123456789) (i32.const 6) (i64.const 0))
          (call $link (i64.const 4) (i64.const 123456789))
          (call $expect_death (i64.const 4))
          (call $assert_death (i64.const 123456789) (i32.const 6) (i64.const 0)))
        "#,
    },
    Scenario {
        rows: &[19, 28],
        name: "guarantee_28_a_death_through_a_link_names_its_cause",
        rounds: 2_000,
        body: r#"
        (data (i32.const 1024) "parentchild")
        (func (export "child") (call $park) (call $exit_with (i64.const 8)))
        (func (export "parent")
          (call $send_value (i64.const 1) (i64.const 5) (call $spawn (i64.const 1) (i32.const 1030) (i32.const 5)))
          (loop $forever (call $park) (br $forever)))
        (func (export "_start") (local $i i64) (local $parent i64) (local $child i64)
          (loop $next
            (local.set $parent (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
            (call $expect (i64.const 5))
            (local.set $child (call $value))
            (call $monitor (local.get $parent))
            (call $send (local.get $child) (i64.const 1))
            (call $expect_down (local.get $parent))
            (call $assert_death (local.get $parent) (i32.const 4) (local.get $child))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[19, 28],
        name: "guarantee_19_and_28_the_first_cause_is_passed_on_along_a_chain",
        rounds: 200,
        // The last process of a chain of three ends in every way. Each report names the process whose end ended this one,
        // and how the first one ended. The top of the chain is checked by a link and by a monitor.
        body: r#"
        (data (i32.const 1024) "oldestmiddleyoung")
        (func (export "young") (local $how i64)
          (call $park)
          (local.set $how (call $value))
          (if (i64.eq (local.get $how) (i64.const 0)) (then (call $exit (i32.const -1))))
          (if (i64.eq (local.get $how) (i64.const 1)) (then (call $exit_with (i64.const -5))))
          (if (i64.eq (local.get $how) (i64.const 2)) (then (call $link (i64.const 1) (i64.const 123456789))))
          (if (i64.eq (local.get $how) (i64.const 3)) (then (unreachable)))
          (if (i64.eq (local.get $how) (i64.const 4)) (then (call $put (i32.const -4) (i32.const 8) (i64.const 0) (i64.const 0))))
          (if (i64.eq (local.get $how) (i64.const 5)) (then (loop $forever (br $forever))))
          (loop $forever (drop (call $wait (i64.const 9) (i64.const -1))) (br $forever)))
        (func (export "middle") (local $config i64)
          (local.set $config (call $create_config))
          (call $set_max_reductions (local.get $config) (i64.const 50000))
          (call $set_max_messages (local.get $config) (i64.const 4))
          (call $send_value (i64.const 1) (i64.const 6)
            (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1036) (i32.const 5)))
          (loop $forever (call $park) (br $forever)))
        (func (export "oldest")
          (call $send_value (i64.const 1) (i64.const 5) (call $spawn (i64.const 1) (i32.const 1030) (i32.const 6)))
          (loop $forever (call $park) (br $forever)))
        (func $assert_cause (param $kind i32) (param $code i64)
          (call $assert (i32.eq (call $death_cause_kind) (local.get $kind)))
          (call $assert (i64.eq (call $death_cause_code) (local.get $code))))
        (func $case (param $how i64) (param $kind i32) (param $code i64)
          (local $oldest i64) (local $middle i64) (local $young i64) (local $left i32) (local $kinds i32)
          (local.set $oldest (call $spawn (i64.const 3) (i32.const 1024) (i32.const 6)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (local.set $middle (call $value))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          (local.set $young (call $value))
          (call $monitor (local.get $oldest))
          (call $monitor (local.get $middle))
          (call $monitor (local.get $young))
          (call $send_value (local.get $young) (i64.const 1) (local.get $how))
          (if (i64.eq (local.get $how) (i64.const 6)) (then (call $kill (local.get $young))))
          (if (i64.eq (local.get $how) (i64.const 7)) (then (call $exit_signal (local.get $young) (i64.const 8))))
          (if (i64.eq (local.get $how) (i64.const 8)) (then
            (loop $flood
              (call $send (local.get $young) (i64.const 2))
              (br_if $flood (i32.lt_u (local.tee $left (i32.add (local.get $left) (i32.const 1))) (i32.const 9))))))
          ;; One by the link, three by monitors.
          (local.set $left (i32.const 4))
          (loop $told
            (local.set $kinds (i32.add (local.get $kinds) (call $wait (i64.const 0) (i64.const -1))))
            (call $assert_cause (local.get $kind) (local.get $code))
            (if (i64.eq (call $death_process) (local.get $young))
              (then (if (i64.eq (local.get $how) (i64.const 2))
                (then (call $assert_death (local.get $young) (i32.const 4) (i64.const 123456789)))
                (else (call $assert_death (local.get $young) (local.get $kind) (local.get $code)))))
              (else (if (i64.eq (call $death_process) (local.get $middle))
                (then (call $assert_death (local.get $middle) (i32.const 4) (local.get $young)))
                (else (call $assert_death (local.get $oldest) (i32.const 4) (local.get $middle))))))
            (br_if $told (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (call $assert (i32.eq (local.get $kinds) (i32.const 7)))
          (call $expect_nothing))
        (func (export "_start") (local $i i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (call $case (i64.const 0) (i32.const 1) (i64.const 0xffffffff))
            (call $case (i64.const 1) (i32.const 7) (i64.const -5))
            (call $case (i64.const 2) (i32.const 6) (i64.const 0))
            (call $case (i64.const 6) (i32.const 3) (i64.const 0))
            (call $case (i64.const 7) (i32.const 7) (i64.const 8))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          ;; Traps and limits are reported, so each only once.
          (call $case (i64.const 3) (i32.const 2) (i64.const 0))
          (call $case (i64.const 4) (i32.const 2) (i64.const 10))
          (call $case (i64.const 5) (i32.const 5) (i64.const 2))
          (call $case (i64.const 8) (i32.const 5) (i64.const 3)))
        "#,
    },
    Scenario {
        rows: &[33],
        name: "guarantee_33_a_late_reply_to_an_alias_is_not_delivered",
        rounds: 3_000,
        // The caller gives up at some moment. Either it has the reply, or it never gets it: a later message of the server
        // shows that the reply has been sent. An alias for one reply accepts no second one.
        body: r#"
        (data (i32.const 1024) "server")
        (func (export "server") (local $alias i64)
          (loop $next
            (call $park)
            (local.set $alias (call $value))
            (call $create_data (i64.const 5) (i64.const 0))
            (call $alias_send (i64.const 1) (local.get $alias))
            (call $create_data (i64.const 5) (i64.const 0))
            (call $alias_send (i64.const 1) (local.get $alias))
            (call $send (i64.const 1) (i64.const 6))
            (br $next)))
        (func (export "_start") (local $i i64) (local $server i64) (local $alias i64) (local $replies i64)
          (local.set $server (call $spawn (i64.const 0) (i32.const 1024) (i32.const 6)))
          (loop $next
            (local.set $alias (call $alias_create (i32.wrap_i64 (i64.rem_u (local.get $i) (i64.const 2)))))
            (call $send_value (local.get $server) (i64.const 1) (local.get $alias))
            (call $jostle)
            (call $spin (call $random (i64.const 40000)))
            (drop (call $alias_drop (local.get $alias)))
            (call $assert (i32.eqz (call $alias_drop (local.get $alias))))
            ;; A message in the mailbox now was in time; no later one arrives.
            (local.set $replies (i64.const 0))
            (loop $in_time
              (if (i32.eqz (call $wait (i64.const 5) (i64.const 0))) (then
                (local.set $replies (i64.add (local.get $replies) (i64.const 1)))
                (br $in_time))))
            (call $assert (i64.le_u (local.get $replies)
              (i64.sub (i64.const 2) (i64.rem_u (local.get $i) (i64.const 2)))))
            (call $expect (i64.const 6))
            (call $expect_nothing)
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          ;; Sending to an invalid alias, or to a process that does not exist, is not an error.
          (call $create_data (i64.const 5) (i64.const 0))
          (call $alias_send (call $me) (i64.const 0))
          (call $create_data (i64.const 5) (i64.const 0))
          (call $alias_send (i64.const 123456789) (local.get $alias))
          (call $expect_nothing))
        "#,
    },
];
