//! Everything that a guest makes the host keep is bounded. Each test uses one way to fill the host's memory or descriptors until a
//! limit ends it, and checks which limit that is.

mod common;

use std::net::UdpSocket;

use common::{Outcome, guest, run, workers};
use lunatic_executor::{PreopenedDir, RuntimeConfig};

/// The bytes of memory that a process here may have, and that the host may keep for it.
const MAX_MEMORY: u64 = 4 << 20;

/// The limits that bound what a guest takes.
fn limited() -> RuntimeConfig {
    workers(2).max_memory(MAX_MEMORY).max_processes(4.try_into().ok())
}

fn with(config: RuntimeConfig, body: &str) -> Outcome {
    run(config, &guest(body))
}

/// Runs a guest whose first process continues until it traps at a limit, with a message that contains `says`.
fn ends_by(config: RuntimeConfig, says: &str, body: &str) {
    let outcome = with(config, body);
    assert!(outcome.stderr.contains(says), "{says}: {}{}", outcome.stdout, outcome.stderr);
    assert_eq!(outcome.status, 134);
}

const OF_THIS_PROCESS: &str = "what the host keeps for this process would exceed its limit of 4194304 bytes";

#[test]
fn names_are_charged_to_the_process_that_registers_them() {
    ends_by(
        limited(),
        OF_THIS_PROCESS,
        r#"
        ;; Each name is another one, by its first bytes.
        (func (export "_start") (local $i i32)
          (memory.fill (i32.const 1024) (i32.const 97) (i32.const 60000))
          (loop $more
            (i32.store (i32.const 1024) (i32.or (i32.const 0x30303030) (i32.and (local.get $i) (i32.const 0x0f0f0f0f))))
            (i32.store (i32.const 1028) (i32.or (i32.const 0x30303030) (i32.and (i32.shr_u (local.get $i) (i32.const 4)) (i32.const 0x0f0f0f0f))))
            (call $put (i32.const 1024) (i32.const 60000) (i64.const 0) (call $me))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br $more)))"#,
    );
}

#[test]
fn a_name_of_another_node_is_refused() {
    let outcome = with(
        limited(),
        r#"
        (data (i32.const 1024) "name")
        (func (export "_start")
          (call $put (i32.const 1024) (i32.const 4) (i64.const 7) (i64.const 1))
          (call $assert (call $get (i32.const 1024) (i32.const 4) (i32.const 2048) (i32.const 2056))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn messages_in_timers_count_in_the_quota_when_their_process_has_ended() {
    let outcome = with(
        limited(),
        r#"
        (data (i32.const 1024) "child")
        ;; Leaves three megabytes in a timer, and ends.
        (func (export "child") (local $i i32)
          (call $create_data (i64.const 5) (i64.const 0))
          (loop $more
            (drop (call $write_data (i32.const 0) (i32.const 65536)))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 48))))
          (drop (call $send_after (i64.const 1) (i64.const 1000000))))
        (func (export "_start") (local $ended i32) (local $refused i32)
          (call $die_when_link_dies (i32.const 0))
          (loop $more
            (drop (call $monitor_start (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5))))
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            ;; 2: by a trap.
            (if (i32.eq (call $death_kind) (i32.const 2)) (then
              (local.set $refused (i32.add (local.get $refused) (i32.const 1)))))
            (br_if $more (i32.lt_u (local.tee $ended (i32.add (local.get $ended) (i32.const 1))) (i32.const 20))))
          ;; Four processes may have 16 megabytes together, which is room for five.
          (call $assert (i32.ge_u (local.get $refused) (i32.const 14))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    assert!(
        outcome.stderr.contains("keeps for the processes of this configuration would exceed 16777216 bytes"),
        "{}",
        outcome.stderr
    );
}

#[test]
fn exit_signals_count_like_messages() {
    for (config, says) in [
        (limited().max_messages(Some(1000)), "more than 1000 messages"),
        (limited().max_mailbox(Some(100_000)), "more than 100000 bytes of messages"),
    ] {
        ends_by(
            config,
            says,
            r#"
            (func (export "_start")
              (call $die_when_link_dies (i32.const 0))
              (loop $forever (call $exit_signal (call $me) (i64.const 1)) (br $forever)))"#,
        );
    }
}

#[test]
fn deaths_of_monitored_processes_count_like_messages() {
    ends_by(
        limited().max_messages(Some(1000)),
        "more than 1000 messages",
        r#"(func (export "_start") (loop $forever (call $monitor (i64.const 123456789)) (br $forever)))"#,
    );
}

#[test]
fn a_supervisor_that_drops_messages_outlives_a_flood_of_exit_signals() {
    let outcome = with(
        limited().max_messages(Some(100)),
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (local $i i32)
          (loop $more
            (call $exit_signal (i64.const 1) (i64.const 1))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000)))))
        (func (export "_start") (local $child i64)
          (call $die_when_link_dies (i32.const 0))
          (call $mailbox_policy (i32.const 1))
          (local.set $child (call $spawn (i64.const 9) (i32.const 1024) (i32.const 5)))
          (drop (call $monitor_start (local.get $child)))
          ;; The news of its end is not dropped, whatever is.
          (loop $until
            (call $assert (i32.ne (call $wait (i64.const 0) (i64.const 30000)) (i32.const 9027)))
            (br_if $until (i64.eqz (call $death_reference))))
          (call $assert (i64.gt_u (call $mailbox_dropped) (i64.const 1000))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn monitors_are_charged_to_the_process_that_makes_them() {
    ends_by(
        limited(),
        OF_THIS_PROCESS,
        r#"
        (data (i32.const 1024) "idle")
        (func (export "idle") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $sibling i64)
          (local.set $sibling (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
          (loop $forever (call $monitor (local.get $sibling)) (br $forever)))"#,
    );
}

#[test]
fn stopped_monitors_are_not_charged() {
    let outcome = with(
        limited(),
        r#"
        (data (i32.const 1024) "idle")
        (func (export "idle") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $sibling i64) (local $i i32)
          (local.set $sibling (call $spawn (i64.const 0) (i32.const 1024) (i32.const 4)))
          (loop $more
            (call $monitor (local.get $sibling))
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (if (i32.eqz (i32.rem_u (local.get $i) (i32.const 5000))) (then
              (call $stop_monitoring (local.get $sibling))))
            (br_if $more (i32.lt_u (local.get $i) (i32.const 100000)))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn the_text_of_an_error_is_cut() {
    let outcome = with(
        limited(),
        r#"
        (func (export "_start") (local $i i32)
          (memory.fill (i32.const 1024) (i32.const 97) (i32.const 90000))
          (call $assert (i32.eq (i32.const 1) (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1)
            (i32.const 1024) (i32.const 90000) (i32.const 0) (i32.const 0) (i32.const 16))))
          (call $assert (i32.lt_u (call $error_size (i64.load (i32.const 16))) (i32.const 300))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn texts_of_configurations_are_charged() {
    ends_by(
        limited(),
        OF_THIS_PROCESS,
        r#"
        (func (export "_start")
          (loop $forever
            (call $add_argument (call $create_config) (i32.const 1024) (i32.const 100000))
            (br $forever)))"#,
    );
}

#[test]
fn changing_a_shared_configuration_charges_a_copy() {
    ends_by(
        limited().max_processes(100.try_into().ok()),
        OF_THIS_PROCESS,
        r#"
        (data (i32.const 1024) "idle")
        (func (export "idle") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $config i64)
          (local.set $config (call $create_config))
          (call $add_argument (local.get $config) (i32.const 1024) (i32.const 100000))
          (loop $forever
            (drop (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 4)))
            (call $add_argument (local.get $config) (i32.const 1024) (i32.const 1))
            (br $forever)))"#,
    );
}

#[test]
fn patterns_of_forbidden_functions_are_limited() {
    ends_by(
        limited(),
        "a pattern of 100000 bytes is longer than 256",
        r#"
        (func (export "_start")
          (memory.fill (i32.const 1024) (i32.const 42) (i32.const 100000))
          (call $forbid (call $create_config) (i32.const 1024) (i32.const 100000)))"#,
    );
}

#[test]
fn sockets_in_messages_count_for_the_process_that_opened_them() {
    let port = UdpSocket::bind("127.0.0.1:0").unwrap();
    drop(port);
    let outcome = with(
        limited().max_resources(Some(20)),
        r#"
        (data (i32.const 1024) "\7f\00\00\01")
        (data (i32.const 1032) "other")
        ;; Takes all that it is sent, which then is its own.
        (func (export "other") (local $taken i32)
          (loop $more
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (drop (call $take_udp_socket (i64.const 0)))
            (local.set $taken (i32.add (local.get $taken) (i32.const 1)))
            (if (i32.eq (local.get $taken) (i32.const 20)) (then (call $send (i64.const 1) (i64.const 5))))
            (br $more)))
        (func $open (result i32)
          (call $udp_bind (i32.const 4) (i32.const 1024) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048)))
        (func $open_and_send (param $to i64) (result i32)
          (if (call $open) (then (return (i32.const 0))))
          (call $create_data (i64.const 3) (i64.const 0))
          (drop (call $push_udp_socket (i64.load (i32.const 2048))))
          (drop (call $send_raw (local.get $to)))
          (i32.const 1))
        (func (export "_start") (local $opened i32) (local $other i64)
          (local.set $other (call $spawn (i64.const 0) (i32.const 1032) (i32.const 5)))
          ;; In messages to another process they are its own when they are taken.
          (loop $more
            (call $assert (call $open_and_send (local.get $other)))
            (br_if $more (i32.lt_u (local.tee $opened (i32.add (local.get $opened) (i32.const 1))) (i32.const 20))))
          (drop (call $wait (i64.const 5) (i64.const -1)))
          ;; In messages to itself they are its own from the beginning.
          (local.set $opened (i32.const 0))
          (loop $more
            (if (call $open_and_send (call $me)) (then
              (local.set $opened (i32.add (local.get $opened) (i32.const 1)))
              (br $more))))
          (call $assert (i32.eq (local.get $opened) (i32.const 20)))
          ;; A socket that it takes from its own message was counted before.
          (drop (call $wait (i64.const 3) (i64.const 0)))
          (call $drop_udp_socket (call $take_udp_socket (i64.const 0)))
          (call $assert (i32.eqz (call $open)))
          ;; A message that is dropped closes what it carries.
          (drop (call $wait (i64.const 3) (i64.const 0)))
          (call $create_data (i64.const 4) (i64.const 0))
          (call $assert (i32.eqz (call $open))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn directories_of_configurations_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("below")).unwrap();
    let dir = PreopenedDir { host: directory.path().into(), guest: "/data".into(), is_read_only: false };
    ends_by(
        limited().dirs(vec![dir]).max_resources(Some(8)),
        "this process has 8 descriptors open, as many as it may",
        r#"
        (data (i32.const 1024) "/data/below")
        (func (export "_start") (local $config i64)
          (local.set $config (call $create_config))
          (loop $forever
            (call $preopen (local.get $config) (i32.const 1024) (i32.const 11))
            (br $forever)))"#,
    );
}

#[test]
fn a_module_is_charged_to_the_process_that_compiled_it() {
    // A module of many functions that do nothing.
    let module = wat::parse_str(format!(
        "(module (memory 1) {})",
        "(func (param i64) (result i64) (i64.mul (local.get 0) (i64.const 7)))".repeat(3_000)
    ))
    .unwrap();
    let bytes: String = module.iter().map(|byte| format!("\\{byte:02x}")).collect();
    let pages = (module.len() >> 16) + 3;
    let outcome = with(
        limited(),
        &format!(
            r#"
            (data (i32.const 131072) "{bytes}")
            (func (export "_start") (local $compiled i32)
              (drop (memory.grow (i32.const {pages})))
              (memory.init 0 (i32.const 131072) (i32.const 0) (i32.const {length}))
              (loop $more
                (if (i32.eqz (call $compile_module (i32.const 131072) (i32.const {length}) (i32.const 2048))) (then
                  ;; It is in a message then, and not the process's.
                  (call $create_data (i64.const 3) (i64.const 0))
                  (drop (call $push_module (i64.load (i32.const 2048))))
                  (call $drop_module (i64.load (i32.const 2048)))
                  (drop (call $send_raw (call $me)))
                  (call $assert (i32.lt_u (local.tee $compiled (i32.add (local.get $compiled) (i32.const 1))) (i32.const 100)))
                  (br $more))))
              (call $assert (i32.ge_u (local.get $compiled) (i32.const 1)))
              ;; After dropping one, the process can have another.
              (loop $all
                (br_if $all (i32.eqz (call $wait (i64.const 3) (i64.const 0)))))
              (call $create_data (i64.const 3) (i64.const 0))
              (call $assert (i32.eqz (call $compile_module (i32.const 131072) (i32.const {length}) (i32.const 2048)))))"#,
            length = module.len()
        )
        .replace("(data (i32.const 131072)", "(data"),
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn mailboxes_count_against_the_total_memory() {
    let outcome = with(
        limited().max_total_memory(Some(2 << 20)).max_memory(64 << 20),
        r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $child i64) (local $i i32)
          (local.set $child (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (drop (call $monitor_start (local.get $child)))
          (loop $more
            (call $create_data (i64.const 5) (i64.const 0))
            (drop (call $write_data (i32.const 0) (i32.const 65536)))
            (drop (call $send_raw (local.get $child)))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
          (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
          ;; By a limit: that of all processes.
          (call $assert (i32.eq (call $death_kind) (i32.const 5)))
          (call $assert (i64.eq (call $death_code) (i64.const 4))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn only_the_process_that_set_a_timer_can_cancel_it() {
    let outcome = with(
        limited(),
        r#"
        (data (i32.const 1024) "other")
        (func (export "other")
          (drop (call $wait (i64.const 5) (i64.const -1)))
          (call $assert (i32.eqz (call $cancel_timer (i64.load (i32.const 24)))))
          (drop (call $value))
          (call $assert (i32.eqz (call $cancel_timer (i64.load (i32.const 24)))))
          (call $assert (i64.eq (call $timer_cancel (i64.load (i32.const 24))) (i64.const -1)))
          (call $send (i64.const 1) (i64.const 6)))
        (func (export "_start") (local $other i64) (local $timer i64)
          (local.set $other (call $spawn (i64.const 1) (i32.const 1024) (i32.const 5)))
          (call $create_data (i64.const 7) (i64.const 0))
          (local.set $timer (call $send_after (call $me) (i64.const 1000000)))
          (call $send_value (local.get $other) (i64.const 5) (local.get $timer))
          (drop (call $wait (i64.const 6) (i64.const -1)))
          (call $assert (call $cancel_timer (local.get $timer))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn a_large_message_copied_in_pieces_arrives_whole() {
    let outcome = with(
        workers(1).max_memory(256 << 20),
        r#"
        (data (i32.const 1024) "ticks")
        ;; Something else to do meanwhile.
        (func (export "ticks") (loop $forever (call $sleep (i64.const 0)) (br $forever)))
        (func (export "_start") (local $i i32)
          (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (drop (memory.grow (i32.const 320)))
          (loop $more
            (i32.store (i32.add (i32.const 65536) (i32.shl (local.get $i) (i32.const 2))) (i32.mul (local.get $i) (i32.const 2654435761)))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2500000))))
          (call $create_data (i64.const 5) (i64.const 0))
          (call $assert (i32.eq (call $write_data (i32.const 65536) (i32.const 10000000)) (i32.const 10000000)))
          (call $assert (i32.eq (call $write_data (i32.const 65536) (i32.const 3)) (i32.const 3)))
          (drop (call $send_raw (call $me)))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (call $assert (i32.eq (call $read_data (i32.const 10100000) (i32.const 10500000)) (i32.const 10000003)))
          (local.set $i (i32.const 0))
          (loop $more
            (call $assert (i32.eq
              (i32.load (i32.add (i32.const 10100000) (i32.shl (local.get $i) (i32.const 2))))
              (i32.mul (local.get $i) (i32.const 2654435761))))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2500000)))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn redirected_paths_are_charged_and_limited() {
    ends_by(
        limited(),
        "this process has too many redirected paths",
        r#"
        ;; Of 2,000 names.
        (func (export "_start") (local $i i32)
          (loop $more
            (i32.store16 (i32.add (i32.const 1024) (i32.shl (local.get $i) (i32.const 1))) (i32.const 0x2f61))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
          (call $ext::redirect::to_process (call $create_config) (i32.const 0) (i32.const 1024) (i32.const 4000) (i64.const 1) (i64.const 0)))"#,
    );
    ends_by(
        limited(),
        OF_THIS_PROCESS,
        r#"
        (func (export "_start") (local $config i64) (local $i i32)
          (memory.fill (i32.const 1024) (i32.const 97) (i32.const 4000))
          (loop $forever
            (local.set $config (call $create_config))
            (local.set $i (i32.const 0))
            (loop $more
              (i32.store8 (i32.const 1024) (i32.add (i32.const 48) (local.get $i)))
              (call $ext::redirect::to_process (local.get $config) (i32.const 0) (i32.const 1024) (i32.const 4000) (i64.const 1) (i64.const 0))
              (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 40))))
            (br $forever)))"#,
    );
}

#[test]
fn relinking_for_forbidden_functions_is_charged() {
    ends_by(
        workers(2).max_processes(2000.try_into().ok()).max_memory(1 << 20),
        "what the host keeps for this process would exceed its limit of 1048576 bytes",
        r#"
        (data (i32.const 1024) "idle" "lunatic::networking::*")
        (func (export "idle") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $config i64)
          (loop $forever
            (local.set $config (call $create_config))
            (call $forbid (local.get $config) (i32.const 1028) (i32.const 22))
            (drop (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 4)))
            (call $drop_config (local.get $config))
            (br $forever)))"#,
    );
}

#[test]
fn descriptors_in_messages_of_ended_processes_count_against_the_quota() {
    let outcome = with(
        limited().max_resources(Some(10)),
        r#"
        (data (i32.const 1024) "\7f\00\00\01")
        (data (i32.const 1032) "child")
        ;; Leaves as many sockets as it may in its parent's mailbox, and ends.
        (func (export "child")
          (loop $more
            (if (i32.eqz (call $udp_bind (i32.const 4) (i32.const 1024) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 2048))) (then
              (call $create_data (i64.const 3) (i64.const 0))
              (drop (call $push_udp_socket (i64.load (i32.const 2048))))
              (drop (call $send_raw (i64.const 1)))
              (br $more)))))
        (func (export "_start") (local $i i32) (local $sockets i32)
          (loop $more
            (drop (call $monitor_start (call $spawn (i64.const 0) (i32.const 1032) (i32.const 5))))
            (loop $until
              (br_if $until (i32.eqz (call $wait (i64.const 4) (i64.const 50)))))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8))))
          (loop $count
            (if (i32.eqz (call $wait (i64.const 3) (i64.const 0))) (then
              (local.set $sockets (i32.add (local.get $sockets) (i32.const 1)))
              (br $count))))
          ;; Four processes may have ten each.
          (call $assert (i32.eq (local.get $sockets) (i32.const 40))))"#,
    );
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}
