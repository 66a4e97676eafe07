//! Limits, permissions, reports and hostile arguments: they end one process, and the others continue.

mod common;

use common::{guest, run, workers};

/// HOSTILE 17, for processes. The scenario of guarantee 39 has the rest: here, the trap is reported.
#[test]
fn a_trap_at_the_memory_limit_is_reported_and_the_next_child_runs() {
    let outcome = run(
        workers(2),
        &guest(
            r#"
            (data (i32.const 1024) "growchild")
            (func (export "grow")
              (call $assert (i32.ne (memory.grow (i32.const 2)) (i32.const -1)))
              (call $assert (i32.ne (memory.grow (i32.const 100)) (i32.const -1))))
            (func (export "child") (call $send (i64.const 1) (i64.const 6)))
            (func (export "_start") (local $config i64)
              (local.set $config (call $create_config))
              (call $set_max_memory (local.get $config) (i64.const 655360))
              (call $die_when_link_dies (i32.const 0))
              (drop (call $spawn_with (i64.const 5) (local.get $config) (i32.const 1024) (i32.const 4)))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1)))
              (drop (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1028) (i32.const 5)))
              (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1)))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(grow) trapped: unreachable"), "{}", outcome.stderr);
}

#[test]
fn a_module_larger_than_the_limit_is_reported_as_such() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (data (i32.const 1024) "child")
            (func (export "child"))
            (func (export "_start") (local $config i64)
              (local.set $config (call $create_config))
              (call $set_max_memory (local.get $config) (i64.const 65536))
              (call $monitor (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 5)))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(child) exceeded its limit:"), "{}", outcome.stderr);
}

#[test]
fn a_limit_of_reductions_ends_an_endless_loop() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (data (i32.const 1024) "spin")
            (func (export "spin") (loop $forever (br $forever)))
            (func (export "_start") (local $config i64)
              (local.set $config (call $create_config))
              (call $set_max_fuel (local.get $config) (i64.const 3))
              (call $monitor (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 4)))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("(spin) exceeded its limit: 300000 reductions"), "{}", outcome.stderr);
}

#[test]
fn a_flooded_mailbox_ends_the_receiver_and_not_the_sender() {
    let outcome = run(
        workers(2),
        &guest(
            r#"
            (data (i32.const 1024) "sleeper")
            (func (export "sleeper") (call $sleep (i64.const 1000000)))
            (func (export "_start") (local $config i64) (local $pid i64)
              (local.set $config (call $create_config))
              (call $set_max_memory (local.get $config) (i64.const 200000))
              (local.set $pid (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 7)))
              (loop $flood
                (call $send_value (local.get $pid) (i64.const 1) (i64.const 1))
                (br_if $flood (call $exists (local.get $pid)))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("bytes of messages wait in its mailbox"), "{}", outcome.stderr);
}

#[test]
fn a_childs_configuration_is_never_wider_than_its_parents() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (data (i32.const 1024) "child")
            (func (export "child") (local $config i64)
              (local.set $config (call $create_config))
              (call $set_can_spawn (local.get $config) (i32.const 1))
              (call $assert (i32.eqz (call $can_spawn (local.get $config))))
              (call $set_max_memory (local.get $config) (i64.const -1))
              (call $assert (i64.eq (call $get_max_memory (local.get $config)) (i64.const 1000000)))
              (call $send (i64.const 1) (i64.const 6))
              ;; Not allowed: this traps.
              (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5))))
            (func (export "_start") (local $config i64)
              (call $die_when_link_dies (i32.const 0))
              (local.set $config (call $create_config))
              (call $set_can_create (local.get $config) (i32.const 1))
              (call $set_max_memory (local.get $config) (i64.const 1000000))
              (drop (call $spawn_with (i64.const 5) (local.get $config) (i32.const 1024) (i32.const 5)))
              (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1))))
              (call $assert (i32.eq (call $wait (i64.const 5) (i64.const -1)) (i32.const 1))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(outcome.stderr.contains("not allowed to spawn processes"), "{}", outcome.stderr);
}

#[test]
fn a_trap_produces_one_report_with_function_names() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (func $inner (drop (i32.load (i32.const -1))))
            (func $outer (call $inner))
            (func (export "_start") (call $outer))
            "#,
        ),
    );
    assert_eq!(outcome.status, 134);
    let lines: Vec<_> = outcome.stderr.lines().collect();
    assert_eq!(lines[0], "process 1 (_start) trapped: out of bounds memory access");
    assert!(lines[1].contains("inner") && lines[2].contains("outer"), "{}", outcome.stderr);
}

#[test]
fn the_exit_status_is_the_guests() {
    for status in [0, 1, 7, 255] {
        let outcome = run(
            workers(1),
            &guest(&format!(r#"(func (export "_start") (call $exit (i32.const {status})))"#)),
        );
        assert_eq!((outcome.status, outcome.stderr.as_str()), (status, ""));
    }
}

#[test]
fn the_end_of_the_first_process_ends_the_others_and_writes_output() {
    let outcome = run(
        workers(2),
        &guest(
            r#"
            (data (i32.const 1024) "spinbye\n")
            (func (export "spin") (loop $forever (br $forever)))
            (func (export "_start")
              (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
              (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
              (call $say (i32.const 1028) (i32.const 4)))
            "#,
        ),
    );
    assert_eq!((outcome.status, outcome.stdout.as_str()), (0, "bye\n"));
}

/// Host functions that take pointers are called with one outside the memory: each call ends its process with a report that says
/// so, and has no other effect.
#[test]
fn hostile_pointers_end_the_process_that_passes_them() {
    const OUTSIDE: &str = "(i32.const -8)";
    let calls = [
        format!(
            "(drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) {OUTSIDE} (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 16)))"
        ),
        format!(
            "(drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 4) {OUTSIDE} (i32.const 17) (i32.const 16)))"
        ),
        "(drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const -4)))".to_owned(),
        format!("(drop (call $receive {OUTSIDE} (i32.const 1) (i64.const 0)))"),
        "(drop (call $receive (i32.const 0) (i32.const -1) (i64.const 0)))".to_owned(),
        "(drop (call $receive (i32.const 8) (i32.const 0x20000001) (i64.const 0)))".to_owned(),
        format!(
            "(call $create_data (i64.const 0) (i64.const -1)) (drop (call $write_data {OUTSIDE} (i32.const 9)))"
        ),
        format!(
            "(call $create_data (i64.const 0) (i64.const 0)) (drop (call $read_data {OUTSIDE} (i32.const -1)))"
        ),
        format!("(call $put {OUTSIDE} (i32.const 9) (i64.const 0) (i64.const 1))"),
        format!("(drop (call $get {OUTSIDE} (i32.const 9) (i32.const 0) (i32.const 0)))"),
    ];
    for call in calls {
        let outcome = run(workers(1), &guest(&format!("(func (export \"_start\") {call})")));
        assert_eq!(outcome.status, 134, "{call}");
        assert!(outcome.stderr.contains("outside the memory"), "{call}: {}", outcome.stderr);
    }
}

#[test]
fn wasi_answers_bad_pointers_and_descriptors_with_errnos() {
    let outcome = run(
        workers(1),
        &guest(
            r#"
            (func (export "_start")
              (call $assert (i32.eq (call $fd_write (i32.const 1) (i32.const -8) (i32.const 1) (i32.const 0)) (i32.const 21)))
              (call $assert (i32.eq (call $fd_write (i32.const 1) (i32.const 0) (i32.const 0) (i32.const -1)) (i32.const 21)))
              (call $assert (i32.eq (call $fd_write (i32.const 77) (i32.const 0) (i32.const 0) (i32.const 0)) (i32.const 8)))
              (call $assert (i32.eq (call $clock (i32.const 9) (i64.const 0) (i32.const 0)) (i32.const 28))))
            "#,
        ),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn invalid_identifiers_and_missing_messages_end_the_process() {
    for (call, says) in [
        ("(call $set_max_memory (i64.const 5) (i64.const 0))", "no configuration"),
        ("(drop (call $get_tag))", "no current message"),
        ("(drop (call $send_raw (i64.const 1)))", "no current message"),
        (
            "(drop (call $spawn_with (i64.const 0) (i64.const 9) (i32.const 0) (i32.const 0)))",
            "no configuration",
        ),
    ] {
        let outcome = run(workers(1), &guest(&format!("(func (export \"_start\") {call})")));
        assert_eq!(outcome.status, 134, "{call}");
        assert!(outcome.stderr.contains(says), "{call}: {}", outcome.stderr);
    }
}
