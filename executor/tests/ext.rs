//! `lunatic::ext::*`. The guarantees are in `guarantees.rs`, wrong pointers in `abi.rs`.

mod common;

use common::{SHORT_MESSAGE, guest, run, workers};

/// Runs a guest with this body and `$short_message`, the bytes that a short message counts.
fn passes(body: &str) {
    common::passes(&format!("(func $short_message (result i64) (i64.const {SHORT_MESSAGE})) {body}"));
}

/// Runs a guest that traps. Returns the report.
fn traps(body: &str, says: &str) {
    let outcome = run(workers(1), &guest(body));
    assert_eq!(outcome.status, 134, "{body}");
    assert!(outcome.stderr.contains(says), "{body}: {}", outcome.stderr);
}

#[test]
fn the_extensions_have_a_version() {
    passes(r#"(func (export "_start") (call $assert (i32.eq (call $ext_version) (i32.const 5))))"#);
}

#[test]
fn a_process_can_ask_about_itself() {
    passes(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $sleep (i64.const 1000000)))
        (func $field (param $number i32) (result i64)
          (i64.load (i32.add (i32.const 2048) (i32.mul (i32.const 8) (local.get $number)))))
        (func (export "_start") (local $child i64)
          (local.set $child (call $spawn (i64.const 1) (i32.const 1024) (i32.const 5)))
          (call $monitor (local.get $child))
          (call $monitor (local.get $child))
          (call $send_value (call $me) (i64.const 3) (i64.const 3))
          (call $send_value (call $me) (i64.const 3) (i64.const 3))
          ;; Looking for a message that is not there takes those that are in.
          (drop (call $wait (i64.const 9) (i64.const 0)))
          (call $assert (i32.eq (call $info (call $me) (i32.const 2048) (i32.const 72)) (i32.const 10)))
          (call $assert (i64.eqz (call $field (i32.const 0))))
          (call $assert (i64.eq (call $field (i32.const 1)) (i64.const 2)))
          (call $assert (i64.eq (call $mailbox_length) (i64.const 2)))
          (call $assert (i64.eq (call $field (i32.const 2)) (i64.mul (i64.const 2) (call $short_message))))
          (call $assert (i64.gt_u (call $field (i32.const 3)) (i64.const 50)))
          (call $assert (i64.eq (call $field (i32.const 4)) (i64.const 131072)))
          (call $assert (i64.eq (call $field (i32.const 5)) (i64.const 1)))
          (call $assert (i64.eq (call $field (i32.const 6)) (i64.const 2)))
          (call $assert (i64.eqz (call $field (i32.const 7))))
          (call $assert (i64.eqz (call $field (i32.const 8)))))
        "#,
    );
}

#[test]
fn a_process_can_ask_about_others_in_any_state() {
    passes(
        r#"
        (data (i32.const 1024) "sleepwaitspin")
        (func (export "sleep")
          (call $monitor (i64.const 1))
          (call $send (i64.const 1) (i64.const 5))
          (call $sleep (i64.const 1000000)))
        (func (export "wait")
          (drop (memory.grow (i32.const 3)))
          (call $send (i64.const 1) (i64.const 5))
          (drop (call $wait (i64.const 9) (i64.const -1))))
        (func (export "spin") (loop $forever (br $forever)))
        (func $field (param $number i32) (result i64)
          (i64.load (i32.add (i32.const 2048) (i32.mul (i32.const 8) (local.get $number)))))
        (func $ask (param $pid i64)
          (call $assert (i32.eq (call $info (local.get $pid) (i32.const 2048) (i32.const 80)) (i32.const 10))))
        (func (export "_start") (local $pid i64)
          (local.set $pid (call $spawn (i64.const 1) (i32.const 1024) (i32.const 5)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          ;; It may not be asleep yet: it could run, or runs, until it is.
          (loop $until
            (call $ask (local.get $pid))
            (br_if $until (i64.ne (call $field (i32.const 0)) (i64.const 3))))
          (call $assert (i64.eq (call $field (i32.const 4)) (i64.const 131072)))
          (call $assert (i64.eq (call $field (i32.const 5)) (i64.const 1)))
          (call $assert (i64.eq (call $field (i32.const 6)) (i64.const 1)))
          (call $ask (call $me))
          (call $assert (i64.eq (call $field (i32.const 7)) (i64.const 1)))
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1029) (i32.const 4)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (call $send_value (local.get $pid) (i64.const 3) (i64.const 1))
          (loop $until
            (call $ask (local.get $pid))
            (br_if $until (i64.ne (call $field (i32.const 0)) (i64.const 2))))
          (call $assert (i64.eq (call $field (i32.const 1)) (i64.const 1)))
          (call $assert (i64.eq (call $field (i32.const 2)) (call $short_message)))
          (call $assert (i64.eq (call $field (i32.const 4)) (i64.const 327680)))
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1033) (i32.const 4)))
          (loop $until
            (call $ask (local.get $pid))
            (br_if $until (i64.lt_u (call $field (i32.const 3)) (i64.const 100000))))
          (call $assert (i64.eq (call $field (i32.const 0)) (i64.const 1)))
          ;; Two processes that ask each other, a dead one, and one that never existed.
          (call $monitor (local.get $pid))
          (call $kill (local.get $pid))
          (call $assert (i32.le_u (call $info (local.get $pid) (i32.const 2048) (i32.const 80)) (i32.const 10)))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i32.eqz (call $info (local.get $pid) (i32.const 2048) (i32.const 80))))
          (call $assert (i32.eqz (call $info (i64.const 0) (i32.const 2048) (i32.const 80)))))
        "#,
    );
}

#[test]
fn two_processes_that_ask_each_other_are_both_answered() {
    passes(
        r#"
        (data (i32.const 1024) "asks")
        (func $ask (param $pid i64) (local $i i32)
          (loop $again
            (call $assert (i32.eq (call $info (local.get $pid) (i32.const 2048) (i32.const 80)) (i32.const 10)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 1000)))))
        (func (export "asks")
          (call $ask (i64.const 1))
          (call $send (i64.const 1) (i64.const 5))
          (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $pid i64)
          (local.set $pid (call $spawn (i64.const 1) (i32.const 1024) (i32.const 4)))
          (call $ask (local.get $pid))
          (drop (call $wait (i64.const 5) (i64.const -1))))
        "#,
    );
}

/// Only as much is written as the buffer holds, and a name that does not fit is cut.
#[test]
fn information_that_does_not_fit_is_cut() {
    passes(
        r#"
        (data (i32.const 1024) "name")
        (func (export "_start")
          (i64.store (i32.const 2064) (i64.const 77))
          (call $assert (i32.eq (call $info (call $me) (i32.const 2048) (i32.const 23)) (i32.const 10)))
          (call $assert (i64.eq (i64.load (i32.const 2064)) (i64.const 77)))
          (call $assert (i32.eq (call $info (call $me) (i32.const 131072) (i32.const 0)) (i32.const 10)))
          (call $assert (i32.eqz (call $name (call $me) (i32.const 2064) (i32.const 8))))
          (call $put (i32.const 1024) (i32.const 4) (i64.const 0) (call $me))
          (call $assert (i32.eq (call $name (call $me) (i32.const 2064) (i32.const 2)) (i32.const 4)))
          (call $assert (i64.eq (i64.load (i32.const 2064)) (i64.const 0x616e))))
        "#,
    );
}

#[test]
fn a_full_mailbox_can_drop_new_messages_instead_of_ending_its_process() {
    passes(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (local $i i64)
          (call $mailbox_policy (i32.const 1))
          (call $send (i64.const 1) (i64.const 5))
          ;; The death that reports that all have been sent does not count as a message, and always arrives.
          (call $die_when_link_dies (i32.const 0))
          (call $assert (i32.eq (call $wait (i64.const 100) (i64.const 0)) (i32.const 9027)))
          (loop $until
            (call $sleep (i64.const 1))
            (br_if $until (i64.ne (call $mailbox_dropped) (i64.const 7))))
          (loop $next
            (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
            (call $assert (i64.eq (call $value) (local.get $i)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 3))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 0)) (i32.const 9027)))
          (call $send (i64.const 1) (i64.const 6))
          ;; There is room again.
          (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
          (call $mailbox_policy (i32.const 0))
          (call $send (i64.const 1) (i64.const 6))
          (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $config i64) (local $pid i64) (local $i i64)
          (local.set $config (call $create_config))
          (call $set_max_messages (local.get $config) (i64.const 3))
          (local.set $pid (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 5)))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (loop $next
            (call $send_value (local.get $pid) (i64.const 1) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 10))))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          (call $send_value (local.get $pid) (i64.const 1) (i64.const 0))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          ;; And now one more than there is room for is the end again.
          (call $monitor (local.get $pid))
          (local.set $i (i64.const 0))
          (loop $next
            (call $send_value (local.get $pid) (i64.const 1) (local.get $i))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (i64.const 4))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
          (call $assert (i32.eq (call $death_kind) (i32.const 5)))
          (call $assert (i64.eq (call $death_code) (i64.const 3))))
        "#,
    );
}

#[test]
fn an_exit_reason_is_the_exit_status_and_cannot_be_caught() {
    for (call, status) in [
        ("(call $exit_with (i64.const 0))", 0),
        ("(call $exit_with (i64.const 7))", 134),
        ("(call $exit_signal (call $me) (i64.const 7)) (call $sleep (i64.const 1000000))", 134),
    ] {
        let outcome = run(
            workers(1),
            &guest(&format!(
                r#"
                (func (export "_lunatic_catch_trap") (param i32 i32) (result i32) {call} (unreachable))
                (func (export "_start") (drop (call $catch (i32.const 0) (i32.const 0))) (unreachable))
                "#
            )),
        );
        assert_eq!((outcome.status, outcome.stderr.as_str()), (status, ""), "{call}");
    }
}

#[test]
fn wrong_use_traps() {
    for call in ["$death_kind", "$death_code", "$death_process", "$death_reference"] {
        traps(&format!("(func (export \"_start\") (drop (call {call})))"), "no current message");
        let body = "(call $create_data (i64.const 0) (i64.const 0))";
        traps(
            &format!("(func (export \"_start\") {body} (drop (call {call})))"),
            "is not a death notification",
        );
    }
    traps(r#"(func (export "_start") (call $mailbox_policy (i32.const 2)))"#, "no mailbox policy");
    traps(r#"(func (export "_start") (call $alias_send (i64.const 1) (i64.const 1)))"#, "no current message");
    traps(
        r#"(func (export "_start") (loop $forever (drop (call $alias_create (i32.const 0))) (br $forever)))"#,
        "too many aliases",
    );
    for call in ["$set_max_processes", "$set_max_mailbox", "$set_max_messages", "$set_max_resources"] {
        traps(
            &format!("(func (export \"_start\") (call {call} (i64.const 9) (i64.const 9)))"),
            "no configuration",
        );
    }
}

/// Three processes that compute for ever on one worker: each gets turns, and one of higher priority gets more of them.
#[test]
fn higher_priority_gets_more_turns_and_no_process_starves() {
    let body = r#"
        (data (i32.const 1024) "lownormalhigh")
        (func $spin (loop $forever (br $forever)))
        (func (export "low")
          (call $assert (i32.eqz (call $set_priority (i32.const 0))))
          (call $spin))
        (func (export "normal") (call $spin))
        (func (export "high")
          (call $assert (i32.eq (call $set_priority (i32.const 2)) (i32.const 2)))
          (call $spin))
        (func $used (param $process i64) (param $priority i64) (result i64)
          (call $assert (i32.eq (call $info (local.get $process) (i32.const 2048) (i32.const 80)) (i32.const 10)))
          (call $assert (i64.eq (i64.load (i32.const 2120)) (local.get $priority)))
          (i64.load (i32.const 2072)))
        (func (export "_start") (local $low i64) (local $normal i64) (local $high i64)
          (local.set $low (call $spawn (i64.const 1) (i32.const 1024) (i32.const 3)))
          (local.set $normal (call $spawn (i64.const 1) (i32.const 1027) (i32.const 6)))
          (local.set $high (call $spawn (i64.const 1) (i32.const 1033) (i32.const 4)))
          (call $sleep (i64.const 300))
          (local.set $low (call $used (local.get $low) (i64.const 0)))
          (local.set $normal (call $used (local.get $normal) (i64.const 1)))
          (local.set $high (call $used (local.get $high) (i64.const 2)))
          (call $assert (i64.gt_u (local.get $low) (i64.const 0)))
          (call $assert (i64.gt_u (local.get $normal) (i64.mul (i64.const 3) (local.get $low))))
          (call $assert (i64.gt_u (local.get $high) (i64.mul (i64.const 3) (local.get $normal)))))"#;
    let outcome = run(workers(1), &guest(body));
    assert_eq!(outcome.status, 0, "{}{}", outcome.stdout, outcome.stderr);
}

#[test]
fn the_priority_of_a_process_is_limited() {
    passes(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (local $config i64)
          (call $assert (i32.eq (call $set_priority (i32.const 2)) (i32.const 1)))
          (local.set $config (call $create_config))
          (call $set_max_priority (local.get $config) (i64.const -1))
          (call $assert (i64.eq (call $get_max_priority (local.get $config)) (i64.const 1)))
          (call $assert (i32.eqz (call $set_priority (i32.const 0))))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $config i64)
          (local.set $config (call $create_config))
          (call $assert (i64.eq (call $get_max_priority (local.get $config)) (i64.const 2)))
          (call $set_max_priority (local.get $config) (i64.const 1))
          (call $set_can_create (local.get $config) (i32.const 1))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 5)))
          (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1)))))"#,
    );
    traps(r#"(func (export "_start") (drop (call $set_priority (i32.const 3))))"#, "priority");
}
