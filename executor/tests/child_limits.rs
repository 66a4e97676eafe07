//! Limits that a process sets for its children, and those of the first process: each has its own effect, ends no other process,
//! and can only be narrowed.

mod common;

use std::num::NonZeroU64;

use common::{guest, passes, run, workers};

/// Runs a child with a configuration in which the code `limit` sets a limit. The child has to exceed the limit of this number.
fn exceeds(limit: &str, child: &str, number: u32, says: &str) {
    let body = format!(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") {child})
        (func (export "_start") (local $config i64) (local $pid i64) (local $i i32)
          (local.set $config (call $create_config))
          {limit}
          (local.set $pid (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 5)))
          (call $monitor (local.get $pid))
          (loop $flood
            (call $send_value (local.get $pid) (i64.const 1) (i64.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $flood (i32.lt_u (local.get $i) (i32.const 20))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
          (call $assert (i32.eq (call $death_kind) (i32.const 5)))
          (call $assert (i64.eq (call $death_code) (i64.const {number}))))"#
    );
    for outcome in passes(&body) {
        assert!(outcome.stderr.contains(says), "{}", outcome.stderr);
    }
}

/// HOSTILE 21: queued messages count against the receiver's limits of messages and of bytes, separately from memory.
#[test]
fn messages_and_their_bytes_are_limited_apart_from_memory() {
    let sleeps = "(call $sleep (i64.const 1000000))";
    exceeds(
        "(call $set_max_messages (local.get $config) (i64.const 19))",
        sleeps,
        3,
        "(child) exceeded its limit: more than 19 messages wait in its mailbox",
    );
    exceeds(
        "(call $set_max_mailbox (local.get $config) (i64.const 1919))",
        sleeps,
        1,
        "(child) exceeded its limit: more than 1919 bytes of messages wait in its mailbox",
    );
}

#[test]
fn a_mailbox_may_be_filled_up_to_its_limit() {
    passes(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (local $i i32)
          (call $assert (i32.eqz (call $wait (i64.const 100) (i64.const -1))))
          (loop $drain
            (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const 0))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $drain (i32.lt_u (local.get $i) (i32.const 19))))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $config i64) (local $pid i64) (local $i i32)
          (local.set $config (call $create_config))
          (call $set_max_messages (local.get $config) (i64.const 20))
          (call $set_max_mailbox (local.get $config) (i64.const 1920))
          (local.set $pid (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 5)))
          (loop $fill
            (call $send_value (local.get $pid) (i64.const 1) (i64.const 1))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $fill (i32.lt_u (local.get $i) (i32.const 19))))
          (call $send_value (local.get $pid) (i64.const 100) (i64.const 1))
          (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1)))))"#,
    );
}

/// HOSTILE 8, with a limit: exact to the reduction, not to the unit of fuel.
#[test]
fn reductions_are_limited_exactly() {
    exceeds(
        "(call $set_max_reductions (local.get $config) (i64.const 12345))",
        "(loop $forever (br $forever))",
        2,
        "(child) exceeded its limit: 12345 reductions are used up",
    );
}

/// HOSTILE 19: all descendants share the limit, the guest gets an error, and no other process is affected.
#[test]
fn a_spawn_bomb_ends_at_the_limit_of_its_configuration() {
    passes(
        r#"
        (data (i32.const 1024) "bombsibling")
        ;; Spawns until it cannot, and so do its children; each says that it was there.
        (func (export "bomb")
          (call $send (i64.const 1) (i64.const 5))
          (loop $more
            (br_if $more (i32.eqz (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 1024)
              (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 16)))))
          (call $assert (i32.eq (call $error_size (i64.load (i32.const 16))) (i32.const 60)))
          (call $sleep (i64.const 1000000)))
        (func (export "sibling") (call $send (i64.const 1) (i64.const 6)))
        (func (export "_start") (local $config i64) (local $i i32)
          (local.set $config (call $create_config))
          (call $set_can_spawn (local.get $config) (i32.const 1))
          (call $set_max_processes (local.get $config) (i64.const 50))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 4)))
          (loop $count
            (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $count (i32.lt_u (local.get $i) (i32.const 50))))
          (call $assert (i64.eq (call $count_processes (local.get $config)) (i64.const 50)))
          ;; The limit is that configuration's, not the node's.
          (drop (call $spawn (i64.const 0) (i32.const 1028) (i32.const 7)))
          (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1))))
          (call $assert (i32.eq (call $wait (i64.const 5) (i64.const 0)) (i32.const 9027))))"#,
    );
}

/// HOSTILE 22: a process that keeps too many resources of a kind traps. Each kind is counted separately.
#[test]
fn resources_of_each_kind_are_limited() {
    let outcomes = passes(
        r#"
        (data (i32.const 1024) "configserrors")
        (func (export "configs") (local $i i32)
          (loop $more
            (drop (call $create_config))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 7))))
          (call $send (i64.const 1) (i64.const 5))
          (drop (call $create_config)))
        (func (export "errors")
          (loop $forever
            (drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 1024) (i32.const 1)
              (i32.const 0) (i32.const 0) (i32.const 16)))
            (br $forever)))
        (func (export "_start") (local $config i64)
          (call $die_when_link_dies (i32.const 0))
          (local.set $config (call $create_config))
          (call $set_can_spawn (local.get $config) (i32.const 1))
          (call $set_can_create (local.get $config) (i32.const 1))
          (call $set_max_resources (local.get $config) (i64.const 7))
          (drop (call $spawn_with (i64.const 9) (local.get $config) (i32.const 1024) (i32.const 7)))
          (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
          (call $assert (i32.eq (call $wait (i64.const 9) (i64.const -1)) (i32.const 1)))
          (drop (call $spawn_with (i64.const 9) (local.get $config) (i32.const 1031) (i32.const 6)))
          (call $assert (i32.eq (call $wait (i64.const 9) (i64.const -1)) (i32.const 1)))
          (call $assert (i32.eq (call $death_kind) (i32.const 2))))"#,
    );
    for outcome in outcomes {
        for what in ["too many configurations", "too many errors"] {
            assert!(outcome.stderr.contains(what), "{what}: {}", outcome.stderr);
        }
    }
}

/// HOSTILE 18: tables count against the memory limit.
#[test]
fn tables_are_limited_with_memory() {
    passes(
        r#"
        (data (i32.const 1024) "child")
        (table $t 1 funcref)
        (func (export "child")
          (call $assert (i32.eq (table.grow $t (ref.null func) (i32.const 40000)) (i32.const 1)))
          (call $assert (i32.eq (table.grow $t (ref.null func) (i32.const 30000)) (i32.const -1)))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $config i64)
          (local.set $config (call $create_config))
          (call $set_max_memory (local.get $config) (i64.const 1048576))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 5)))
          (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1)))))"#,
    );
}

/// HOSTILE 22: messages in timers are in no mailbox, but count as well.
#[test]
fn messages_in_timers_are_limited() {
    let outcomes = passes(
        r#"
        (data (i32.const 1024) "child")
        (func $set (result i64)
          (call $create_data (i64.const 5) (i64.const 0))
          (drop (call $write_data (i32.const 4096) (i32.const 1000)))
          (call $send_after (i64.const 1) (i64.const 1000000)))
        (func (export "child") (local $i i32)
          ;; A cancelled timer no longer counts.
          (loop $more
            (call $assert (call $cancel_timer (call $set)))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 1000))))
          (call $send (i64.const 1) (i64.const 5))
          (loop $forever (drop (call $set)) (br $forever)))
        (func (export "_start") (local $config i64)
          (call $die_when_link_dies (i32.const 0))
          (local.set $config (call $create_config))
          (call $set_max_mailbox (local.get $config) (i64.const 100000))
          (drop (call $spawn_with (i64.const 9) (local.get $config) (i32.const 1024) (i32.const 5)))
          (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1))))
          (call $assert (i32.eq (call $wait (i64.const 9) (i64.const -1)) (i32.const 1))))"#,
    );
    for outcome in outcomes {
        assert!(outcome.stderr.contains("too many bytes of messages in timers"), "{}", outcome.stderr);
    }
}

/// HOSTILE 32, for every limit: a child that asks for the largest value gets its parent's limit, and its own child no more.
#[test]
fn a_childs_limits_are_never_wider_than_its_parents() {
    passes(
        r#"
        (data (i32.const 1024) "childgrandchild")
        (func $is (param $config i64) (param $factor i64)
          (call $assert (i64.eq (call $get_max_reductions (local.get $config)) (i64.mul (i64.const 1000000) (local.get $factor))))
          (call $assert (i64.eq (call $get_max_mailbox (local.get $config)) (i64.mul (i64.const 10000) (local.get $factor))))
          (call $assert (i64.eq (call $get_max_messages (local.get $config)) (i64.mul (i64.const 10) (local.get $factor))))
          (call $assert (i64.eq (call $get_max_processes (local.get $config)) (i64.mul (i64.const 5) (local.get $factor))))
          (call $assert (i64.eq (call $get_max_resources (local.get $config)) (i64.mul (i64.const 8) (local.get $factor)))))
        (func $ask (param $config i64) (param $factor i64)
          (call $set_max_reductions (local.get $config) (i64.mul (i64.const 1000000) (local.get $factor)))
          (call $set_max_mailbox (local.get $config) (i64.mul (i64.const 10000) (local.get $factor)))
          (call $set_max_messages (local.get $config) (i64.mul (i64.const 10) (local.get $factor)))
          (call $set_max_processes (local.get $config) (i64.mul (i64.const 5) (local.get $factor)))
          (call $set_max_resources (local.get $config) (i64.mul (i64.const 8) (local.get $factor))))
        (func (export "child") (local $config i64)
          (local.set $config (call $create_config))
          (call $is (local.get $config) (i64.const 1))
          (call $ask (local.get $config) (i64.const 1000))
          (call $is (local.get $config) (i64.const 1))
          (call $set_can_create (local.get $config) (i32.const 1))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1029) (i32.const 10)))
          (call $sleep (i64.const 1000000)))
        (func (export "grandchild")
          (call $is (call $create_config) (i64.const 1))
          (call $send (i64.const 1) (i64.const 5)))
        (func (export "_start") (local $config i64)
          (local.set $config (call $create_config))
          (call $assert (i64.eq (call $get_max_reductions (local.get $config)) (i64.const -1)))
          (call $assert (i64.eq (call $get_max_messages (local.get $config)) (i64.const -1)))
          (call $assert (i64.eq (call $get_max_processes (local.get $config)) (i64.const -1)))
          (call $assert (i64.eqz (call $count_processes (local.get $config))))
          (call $assert (i64.eq (call $get_max_resources (local.get $config)) (i64.const 65536)))
          (call $assert (i64.eq (call $get_max_mailbox (local.get $config)) (call $get_max_memory (local.get $config))))
          (call $ask (local.get $config) (i64.const 2))
          (call $is (local.get $config) (i64.const 2))
          (call $ask (local.get $config) (i64.const 1))
          (call $is (local.get $config) (i64.const 1))
          (call $set_can_create (local.get $config) (i32.const 1))
          (call $set_can_spawn (local.get $config) (i32.const 1))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1024) (i32.const 5)))
          (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1)))))"#,
    );
}

/// The node's configuration limits the first process, and none of its descendants may use more.
#[test]
fn the_first_process_and_its_descendants_have_the_nodes_limits() {
    let spawns = guest(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $sleep (i64.const 1000000)))
        (func (export "_start")
          (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (call $assert (i32.eq (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 1024)
            (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 16)) (i32.const 1)))
          (call $assert (i32.eq (call $spawn_raw (i64.const 0) (call $create_config) (i64.const -1) (i32.const 1024)
            (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 16)) (i32.const 1))))"#,
    );
    let outcome = run(workers(2).max_processes(NonZeroU64::new(3)), &spawns);
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);

    let spin = guest(r#"(func (export "_start") (loop $forever (br $forever)))"#);
    let flood = guest(
        r#"(func (export "_start") (loop $forever (call $send (call $me) (i64.const 1)) (br $forever)))"#,
    );
    let configs =
        guest(r#"(func (export "_start") (loop $forever (drop (call $create_config)) (br $forever)))"#);
    // Texts of a configuration are in the host's memory.
    let texts = r#"(module
        (memory (export "memory") 2)
        (func (export "_start") (local $config i64)
            (local.set $config (call $create_config))
            (loop $forever (call $add_argument (local.get $config) (i32.const 0) (i32.const 131072)) (br $forever))))"#
        .to_owned();
    let limits = [
        (workers(1), &texts, "too many bytes of text in a configuration"),
        (workers(1).max_reductions(Some(5000)), &spin, "5000 reductions"),
        (workers(1).max_messages(Some(9)), &flood, "more than 9 messages"),
        (workers(1).max_mailbox(Some(900)), &flood, "more than 900 bytes of messages"),
        (workers(1).max_resources(Some(9)), &configs, "too many configurations"),
        (workers(1).max_resources(Some(u64::MAX)), &configs, "too many configurations"),
    ];
    for (config, text, says) in limits {
        let outcome = run(config, text);
        assert_eq!(outcome.status, 134, "{says}");
        assert!(outcome.stderr.contains(says), "{says}: {}", outcome.stderr);
    }
}

/// The first process has a large stack and can give its children up to as much. A child can give its own children up to what it
/// was given.
#[test]
fn a_child_has_the_native_stack_that_its_configuration_gives_it() {
    passes(
        r#"
        (data (i32.const 1024) "deepchildgrandchild")
        ;; Calls itself this number of times, with some 50 bytes of stack each.
        (func $deep (export "deep") (param $calls i64) (result i64)
          (if (i64.eqz (local.get $calls)) (then (return (i64.const 0))))
          (i64.add (call $deep (i64.sub (local.get $calls) (i64.const 1))) (i64.const 1)))
        (func (export "child") (local $config i64)
          (drop (call $deep (i64.const 8000)))
          (local.set $config (call $create_config))
          (call $assert (i64.eq (call $get_stack_size (local.get $config)) (i64.const 262144)))
          (call $set_stack_size (local.get $config) (i64.const 1048576))
          (call $assert (i64.eq (call $get_stack_size (local.get $config)) (i64.const 524288)))
          (call $set_stack_size (local.get $config) (i64.const 65536))
          (call $set_can_create (local.get $config) (i32.const 1))
          (drop (call $spawn_with (i64.const 3) (local.get $config) (i32.const 1033) (i32.const 10)))
          (call $assert (i32.eqz (call $wait (i64.const 0) (i64.const -1)))))
        (func (export "grandchild") (local $config i64)
          (local.set $config (call $create_config))
          (call $assert (i64.eq (call $get_stack_size (local.get $config)) (i64.const 65536)))
          (drop (call $deep (i64.const 500)))
          (call $send (i64.const 1) (i64.const 5))
          (drop (call $deep (i64.const 3000)))
          (call $send (i64.const 1) (i64.const 6)))
        (func (export "_start") (local $config i64)
          (call $die_when_link_dies (i32.const 0))
          (drop (call $deep (i64.const 15000)))
          (local.set $config (call $create_config))
          (call $assert (i64.eq (call $get_stack_size (local.get $config)) (i64.const 262144)))
          (call $set_stack_size (local.get $config) (i64.const 524288))
          (call $set_can_create (local.get $config) (i32.const 1))
          (call $set_can_spawn (local.get $config) (i32.const 1))
          (drop (call $spawn_with (i64.const 1) (local.get $config) (i32.const 1028) (i32.const 5)))
          ;; The grandchild, which has less than it needs, and then the child, which is linked to it.
          (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
          (call $assert (i32.eq (call $wait (i64.const 1) (i64.const -1)) (i32.const 1))))"#,
    );
}
