//! The guest of the soak: its processes do to each other everything that is possible.
#![allow(dead_code)] // Each test file uses some of it.

use super::guest;
use super::scenarios::HELPERS;

/// The guest's text. It ends after this number of processes.
pub(crate) fn text(seed: u64, processes: u32) -> String {
    guest(&format!(
        "(global $first i64 (i64.const {seed})) (global $processes i32 (i32.const {processes})) {HELPERS} {WORKER} {FIRST}"
    ))
}

/// A worker performs a random number of random actions. Each worker first reports itself to the first process. It knows up to 16
/// other processes: its children, senders of messages, and the owners of eight names. It may learn of every worker, itself
/// included, but never of the first process.
///
/// The actions are functions of a table; an action that is listed more often happens more often. Once the name "over" has an owner,
/// workers spawn no more and new ones return at once, so that they can all be killed.
const WORKER: &str = r#"
  (data (i32.const 1024) "workeroverf")
  (data (i32.const 1040) "w0")
  ;; A module that exports an empty function "f".
  (data (i32.const 4096) "\00asm\01\00\00\00\01\04\01\60\00\00\03\02\01\00\07\05\01\01f\00\00\0a\04\01\02\00\0b")
  (global $module (mut i64) (i64.const -1))
  (global $timer (mut i64) (i64.const 0))
  (table $deeds funcref (elem
    $tell $tell $tell $tell $tell $hand_over $hear $hear $hear $hear $choose $ask $whisper
    $befriend $befriend $part $watch $watch $unwatch $glance
    $breed $breed $breed $breed $restrict $restrict $run $claim $claim $nominate $disclaim $find $find $found
    $grow $grow $arm $arm $arm $disarm $compile $compile $toil $toil $nap $rest $harden $soften $shed
    $kill_one $kill_one $signal $leave $quit $fail))
  (type $deed (func))

  (func $is_over (result i32)
    (i32.eqz (call $get (i32.const 1030) (i32.const 4) (i32.const 1100) (i32.const 1108))))
  (func $place (result i32) (i32.add (i32.const 2048) (i32.wrap_i64 (i64.mul (i64.const 8) (call $random (i64.const 16))))))
  (func $note (param $pid i64) (i64.store (call $place) (local.get $pid)))
  (func $someone (result i64) (i64.load (call $place)))
  (func $name_one (i32.store8 (i32.const 1041) (i32.wrap_i64 (i64.add (i64.const 48) (call $random (i64.const 8))))))
  (func $coin (result i32) (i32.wrap_i64 (call $random (i64.const 2))))
  (func $prepare (call $prepare_value (i64.add (i64.const 1) (call $random (i64.const 3))) (call $someone)))
  ;; The new worker, known from now on, or 0 if there is no room for it.
  (func $prepare_worker
    (i32.store8 (i32.const 1060) (i32.const 0x7e))
    (i64.store (i32.const 1061) (call $random (i64.const 0x7fffffff))))
  (func $spawn_worker (param $link i64) (param $config i64) (result i64)
    (call $prepare_worker)
    (if (call $spawn_raw (local.get $link) (local.get $config) (i64.const -1)
        (i32.const 1024) (i32.const 6) (i32.const 1060) (i32.const 17) (i32.const 16))
      (then (call $drop_error (i64.load (i32.const 16))) (return (i64.const 0))))
    (i64.load (i32.const 16)))
  (func $raise (param $config i64) (local $child i64)
    (if (call $is_over) (then (return)))
    (local.set $child (call $spawn_worker (call $random (i64.const 2)) (local.get $config)))
    (call $note (local.get $child))
    (call $prepare)
    (drop (call $send_raw (local.get $child))))
  (func $take (param $kind i32)
    (if (local.get $kind) (then (return)))
    (if (i64.eq (call $get_tag) (i64.const 4)) (then (global.set $module (call $take_module (i64.const 0)))))
    (call $note (call $value)))

  (func $tell (call $prepare) (drop (call $send_raw (call $someone))))
  (func $hand_over
    (if (i64.lt_s (global.get $module) (i64.const 0)) (then (return)))
    (call $prepare_value (i64.const 4) (call $someone))
    (drop (call $push_module (global.get $module)))
    (drop (call $send_raw (call $someone))))
  (func $hear (call $take (call $wait (i64.const 0) (call $random (i64.const 3)))))
  (func $choose
    (call $take (call $wait (i64.add (i64.const 1) (call $random (i64.const 4))) (call $random (i64.const 3)))))
  (func $ask
    (call $prepare)
    (call $take (call $request (call $someone) (i64.const 1) (call $random (i64.const 3)))))
  (func $whisper (local $alias i64)
    (local.set $alias (call $alias_create (call $coin)))
    (call $prepare)
    (call $alias_send (call $me) (local.get $alias))
    (if (call $coin) (then (drop (call $alias_drop (local.get $alias))))))
  (func $befriend (call $link (i64.add (i64.const 1) (call $random (i64.const 9))) (call $someone)))
  (func $part (call $unlink (call $someone)))
  (func $watch (call $monitor (call $someone)))
  (func $unwatch (call $stop_monitoring (call $someone)))
  (func $glance (local $pid i64)
    (local.set $pid (call $someone))
    (drop (call $monitor_stop (local.get $pid) (call $monitor_start (local.get $pid)) (call $coin))))
  (func $breed (call $raise (i64.const -1)))
  (func $restrict (local $config i64)
    (if (i64.eq (local.tee $config (call $create_config)) (i64.const -1)) (then (return)))
    (call $set_max_memory (local.get $config) (i64.mul (i64.const 65536) (i64.add (i64.const 2) (call $random (i64.const 4)))))
    (call $set_max_fuel (local.get $config) (i64.add (i64.const 1) (call $random (i64.const 3))))
    (call $set_max_messages (local.get $config) (i64.add (i64.const 4) (call $random (i64.const 60))))
    (call $set_max_resources (local.get $config) (i64.add (i64.const 2) (call $random (i64.const 8))))
    (if (call $coin) (then (call $set_max_processes (local.get $config) (i64.add (i64.const 1) (call $random (i64.const 8))))))
    (call $set_can_spawn (local.get $config) (call $coin))
    (call $set_can_create (local.get $config) (call $coin))
    (call $set_can_compile (local.get $config) (call $coin))
    (call $raise (local.get $config))
    (if (call $coin) (then (call $drop_config (local.get $config)))))
  (func $run
    (if (i64.lt_s (global.get $module) (i64.const 0)) (then (return)))
    (if (call $spawn_raw (call $random (i64.const 2)) (i64.const -1) (global.get $module)
        (i32.const 1034) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 16))
      (then (call $drop_error (i64.load (i32.const 16))))))
  (func $claim (call $name_one) (call $put (i32.const 1040) (i32.const 2) (i64.const 0) (call $me)))
  (func $nominate (call $name_one) (call $put (i32.const 1040) (i32.const 2) (i64.const 0) (call $someone)))
  (func $disclaim (call $name_one) (call $remove (i32.const 1040) (i32.const 2)))
  (func $find
    (call $name_one)
    (if (i32.eqz (call $get (i32.const 1040) (i32.const 2) (i32.const 1100) (i32.const 1108)))
      (then (call $note (i64.load (i32.const 1108))))))
  (func $found
    (if (call $is_over) (then (return)))
    (call $name_one)
    (call $prepare_worker)
    (if (i32.eq (i32.const 1) (call $get_or_spawn_raw (i32.const 1040) (i32.const 2) (call $random (i64.const 2))
        (i64.const -1) (i64.const -1) (i32.const 1024) (i32.const 6) (i32.const 1060) (i32.const 17)
        (i32.const 1100) (i32.const 1108)))
      (then (call $drop_error (i64.load (i32.const 1108))))
      (else (call $note (i64.load (i32.const 1108))))))
  (func $grow (local $pages i32)
    (local.set $pages (memory.grow (i32.add (i32.const 1) (i32.wrap_i64 (call $random (i64.const 3))))))
    (if (i32.ne (local.get $pages) (i32.const -1))
      (then (i32.store (i32.shl (local.get $pages) (i32.const 16)) (i32.const 1)))))
  (func $arm
    (call $prepare)
    (global.set $timer (call $send_after (call $someone) (call $random (i64.const 5)))))
  (func $disarm (drop (call $cancel_timer (global.get $timer))))
  (func $compile (local $result i32)
    (local.set $result (call $compile_module (i32.const 4096) (i32.const 31) (i32.const 1100)))
    (if (i32.lt_s (local.get $result) (i32.const 0)) (then (return)))
    (call $assert (i32.eqz (local.get $result)))
    (if (call $coin)
      (then (call $drop_module (i64.load (i32.const 1100))))
      (else (global.set $module (i64.load (i32.const 1100))))))
  (func $toil (call $spin (call $random (i64.const 5000))))
  (func $nap (call $sleep (call $random (i64.const 3))))
  (func $rest (call $take (call $wait (i64.const 0) (i64.const -1))))
  (func $harden (call $die_when_link_dies (i32.const 0)))
  (func $soften (call $die_when_link_dies (i32.const 1)))
  (func $shed (call $mailbox_policy (call $coin)))
  (func $kill_one (call $kill (call $someone)))
  (func $signal (call $exit_signal (call $someone) (call $random (i64.const 3))))
  (func $leave (call $exit_with (call $random (i64.const 3))))
  (func $quit (call $exit (call $coin)))
  (func $fail (unreachable))

  (func (export "worker") (param $its_seed i64) (local $left i64)
    (global.set $seed (local.get $its_seed))
    (if (call $is_over) (then (return)))
    (call $send_value (i64.const 1) (i64.const 7) (call $me))
    (local.set $left (call $random (i64.const 60)))
    (loop $more
      (call_indirect $deeds (type $deed) (i32.wrap_i64 (call $random (i64.extend_i32_u (table.size $deeds)))))
      (br_if $more (i64.gt_s (local.tee $left (i64.sub (local.get $left) (i64.const 1))) (i64.const 0)))))
"#;

/// The first process limits the workers to 48 at a time, keeps that number alive, monitors each worker that reports itself, and
/// kills one now and then. At the end it kills all workers and waits until none is left. It checks that it received exactly one
/// message per monitor, that the quota is free, that no worker exists, and that the names have no owners.
///
/// Process identifiers are listed from address 131072 on.
const FIRST: &str = r#"
  (global $told (mut i32) (i32.const 0))
  (global $dead (mut i32) (i32.const 0))
  (global $over (mut i32) (i32.const 0))
  (func $entry (param $index i32) (result i32) (i32.add (i32.const 131072) (i32.shl (local.get $index) (i32.const 3))))
  (func $attend (param $kind i32)
    (if (i32.eq (local.get $kind) (i32.const 2)) (then (global.set $dead (i32.add (global.get $dead) (i32.const 1)))))
    (if (i32.eqz (local.get $kind)) (then
      (call $assert (i64.eq (call $get_tag) (i64.const 7)))
      (i64.store (call $entry (global.get $told)) (call $value))
      (global.set $told (i32.add (global.get $told) (i32.const 1)))
      (call $monitor (i64.load (i32.const 24)))
      (if (global.get $over) (then (call $kill (i64.load (i32.const 24))))))))
  (func $kill_all (local $i i32)
    (loop $next
      (call $kill (i64.load (call $entry (local.get $i))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (global.get $told)))))
  (func $expect_no_one (local $i i32)
    (loop $next
      (call $assert (i32.eqz (call $exists (i64.load (call $entry (local.get $i))))))
      (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (global.get $told)))))
  (func $expect_no_names (local $name i32)
    (local.set $name (i32.const 48))
    (loop $next
      (i32.store8 (i32.const 1041) (local.get $name))
      (call $assert (i32.eq (i32.const 1)
        (call $get (i32.const 1040) (i32.const 2) (i32.const 1100) (i32.const 1108))))
      (br_if $next (i32.lt_u (local.tee $name (i32.add (local.get $name) (i32.const 1))) (i32.const 56)))))

  (func (export "_start") (local $config i64) (local $kind i32)
    (global.set $seed (global.get $first))
    (call $assert (i32.ne (i32.const -1)
      (memory.grow (i32.add (i32.const 4) (i32.shr_u (global.get $processes) (i32.const 13))))))
    (call $die_when_link_dies (i32.const 0))
    (local.set $config (call $create_config))
    (call $set_can_spawn (local.get $config) (i32.const 1))
    (call $set_can_create (local.get $config) (i32.const 1))
    (call $set_can_compile (local.get $config) (i32.const 1))
    (call $set_max_processes (local.get $config) (i64.const 48))
    (loop $more
      (if (i64.lt_u (call $count_processes (local.get $config)) (i64.const 24)) (then
        (drop (call $spawn_worker (call $random (i64.const 2)) (local.get $config)))))
      (call $attend (call $wait (i64.const 0) (i64.const 1)))
      (if (i32.and (i32.ne (global.get $told) (i32.const 0)) (i64.eqz (call $random (i64.const 8)))) (then
        (call $kill (i64.load (call $entry
          (i32.wrap_i64 (call $random (i64.extend_i32_u (global.get $told)))))))))
      (br_if $more (i32.lt_u (global.get $told) (global.get $processes))))

    (call $put (i32.const 1030) (i32.const 4) (i64.const 0) (call $me))
    (global.set $over (i32.const 1))
    (call $kill_all)
    (loop $more
      (local.set $kind (call $wait (i64.const 0) (i64.const 1)))
      (call $attend (local.get $kind))
      (br_if $more (i32.ne (local.get $kind) (i32.const 9027)))
      (br_if $more (i64.ne (call $count_processes (local.get $config)) (i64.const 0)))
      (br_if $more (i32.ne (global.get $dead) (global.get $told))))
    (call $expect_no_one)
    (call $expect_no_names))
"#;
