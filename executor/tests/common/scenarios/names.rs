//! Names, and what is free when a death is seen: rows 29 to 31.

use super::Scenario;

pub(super) const ALL: &[Scenario] = &[
    Scenario {
        rows: &[29, 30],
        name: "guarantee_29_and_30_names_are_free_when_a_death_is_seen",
        rounds: 3_000,
        // A monitor or a link sees the death of a process that was killed or ended by itself. Dead processes get no names.
        body: r#"
        (data (i32.const 1024) "sleepername")
        (func (export "sleeper") (call $park) (call $exit (i32.const 1)))
        (func $has_name (result i32)
          (i32.eqz (call $get (i32.const 1031) (i32.const 4) (i32.const 1100) (i32.const 1108))))
        (func (export "_start") (local $i i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (loop $next
            (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 7)))
            (call $put (i32.const 1031) (i32.const 4) (i64.const 0) (local.get $pid))
            (call $assert (call $has_name))
            (call $assert (i64.eq (i64.load (i32.const 1108)) (local.get $pid)))
            (if (i64.eqz (i64.and (local.get $i) (i64.const 1)))
              (then (call $monitor (local.get $pid)))
              (else (call $link (i64.const 6) (local.get $pid))))
            (if (i64.eqz (i64.and (local.get $i) (i64.const 2)))
              (then (call $kill (local.get $pid)))
              (else (call $send (local.get $pid) (i64.const 1))))
            (drop (call $wait (i64.const 0) (i64.const -1)))
            (call $assert (i32.eqz (call $has_name)))
            (call $assert (i32.eqz (call $exists (local.get $pid))))
            (call $put (i32.const 1031) (i32.const 4) (i64.const 0) (local.get $pid))
            (call $assert (i32.eqz (call $has_name)))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
    Scenario {
        rows: &[29],
        name: "guarantee_29_a_place_is_free_when_a_death_is_seen",
        rounds: 3_000,
        // A configuration allows two processes. A process that sees the end of one can spawn the next, every time.
        body: r#"
        (data (i32.const 1024) "child")
        (func (export "child") (call $park) (call $exit (i32.const 1)))
        (func $spawn_raw_with (param $config i64) (result i32)
          (call $spawn_raw (i64.const 4) (local.get $config) (i64.const -1)
            (i32.const 1024) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 16)))
        (func (export "_start") (local $i i64) (local $config i64) (local $pid i64)
          (call $die_when_link_dies (i32.const 0))
          (local.set $config (call $create_config))
          (call $set_max_processes (local.get $config) (i64.const 2))
          (call $assert (i32.eqz (call $spawn_raw_with (local.get $config))))
          (loop $next
            (call $assert (i32.eqz (call $spawn_raw_with (local.get $config))))
            (local.set $pid (i64.load (i32.const 16)))
            (call $assert (i32.eq (call $spawn_raw_with (local.get $config)) (i32.const 1)))
            (call $drop_error (i64.load (i32.const 16)))
            (if (i64.eqz (i64.and (local.get $i) (i64.const 1)))
              (then (call $kill (local.get $pid)))
              (else (call $send (local.get $pid) (i64.const 1))))
            (call $expect_death (i64.const 4))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds))))
          (call $assert (i64.eq (call $count_processes (local.get $config)) (i64.const 1))))
        "#,
    },
    Scenario {
        rows: &[31],
        name: "guarantee_31_of_many_processes_that_race_for_a_name_one_spawns",
        rounds: 1_000,
        // A hundred processes race in the first round, ten in each later one. The owner's end frees the name for the next.
        body: r#"
        (data (i32.const 1024) "racerserver")
        (func (export "server") (loop $forever (call $park) (br $forever)))
        (func (export "racer")
          (drop (call $get_or_spawn_raw (i32.const 1024) (i32.const 3) (i64.const 0) (i64.const -1) (i64.const -1)
            (i32.const 1029) (i32.const 6) (i32.const 0) (i32.const 0) (i32.const 1100) (i32.const 1108)))
          (call $send_value (i64.const 1) (i64.const 5) (i64.load (i32.const 1108))))
        (func $race (param $racers i64) (local $left i64) (local $winner i64)
          (local.set $left (local.get $racers))
          (loop $spawn
            (drop (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
            (local.set $left (i64.sub (local.get $left) (i64.const 1)))
            (br_if $spawn (i64.ne (local.get $left) (i64.const 0))))
          (call $expect (i64.const 5))
          (local.set $winner (call $value))
          (call $assert (call $exists (local.get $winner)))
          (loop $collect
            (local.set $racers (i64.sub (local.get $racers) (i64.const 1)))
            (if (i64.ne (local.get $racers) (i64.const 0)) (then
              (call $expect (i64.const 5))
              (call $assert (i64.eq (call $value) (local.get $winner)))
              (br $collect))))
          (call $monitor (local.get $winner))
          (call $kill (local.get $winner))
          (call $expect_down (local.get $winner)))
        (func (export "_start") (local $i i64)
          (call $race (i64.const 100))
          (loop $next
            (call $race (i64.const 10))
            (local.set $i (i64.add (local.get $i) (i64.const 1)))
            (br_if $next (i64.lt_u (local.get $i) (global.get $rounds)))))
        "#,
    },
];
