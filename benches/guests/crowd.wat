;; crowd LIVE ROUNDS OPERATIONS: spawns LIVE children, which send a greeting and then answer every message, and reports that they are
;; alive. Then, in each of ROUNDS rounds, it writes the nanoseconds that OPERATIONS operations of each kind take, one after the
;; other: spawning a visitor that sends a greeting and ends; asking a random child; asking one of a few children; killing a random
;; child, and one of the few, until its death is reported (a new child then takes its place). Numbers are eight bytes, little-endian.
(module
  (import "lunatic::process" "spawn" (func $spawn_function (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "process_id" (func $process_id (result i64)))
  (import "lunatic::process" "monitor" (func $monitor (param i64)))
  (import "lunatic::process" "kill" (func $kill (param i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "wasi_snapshot_preview1" "args_get" (func $args_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock_time_get (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  ;; The children's identifiers begin in the second page, which only the first process has.
  (memory (export "memory") 1)
  (data (i32.const 16) "childvisit")
  ;; A parameter: its type, and the first process's identifier.
  (data (i32.const 32) "\7e")
  ;; The output buffer: eight bytes at 80.
  (data (i32.const 64) "\50\00\00\00\08\00\00\00")
  (global $random (mut i64) (i64.const 88172645463325252))
  (global $live (mut i64) (i64.const 0))

  (func $wait (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1))))
  (func $tell (param $process i64)
    (call $create_data (i64.const 0) (i64.const 0))
    (drop (call $send (local.get $process))))
  (func (export "child") (param $parent i64)
    (loop $again
      (call $tell (local.get $parent))
      (call $wait)
      (br $again)))
  (func (export "visit") (param $parent i64) (call $tell (local.get $parent)))

  ;; Spawns what has its name at an address, and returns its identifier.
  (func $spawn (param $name i32) (result i64)
    (drop (call $spawn_function (i64.const 0) (i64.const -1) (i64.const -1)
      (local.get $name) (i32.const 5) (i32.const 32) (i32.const 17) (i32.const 88)))
    (i64.load (i32.const 88)))
  (func $now (result i64)
    (drop (call $clock_time_get (i32.const 1) (i64.const 0) (i32.const 96)))
    (i64.load (i32.const 96)))
  (func $say (param $number i64)
    (i64.store (i32.const 80) (local.get $number))
    (drop (call $fd_write (i32.const 1) (i32.const 64) (i32.const 1) (i32.const 72))))
  (func $argument (param $index i32) (result i64) (local $at i32) (local $digit i32) (local $number i64)
    (local.set $at (i32.load (i32.add (i32.const 128) (i32.shl (local.get $index) (i32.const 2)))))
    (loop $next
      (local.set $digit (i32.sub (i32.load8_u (local.get $at)) (i32.const 48)))
      (if (i32.lt_u (local.get $digit) (i32.const 10)) (then
        (local.set $number
          (i64.add (i64.mul (local.get $number) (i64.const 10)) (i64.extend_i32_u (local.get $digit))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br $next))))
    (local.get $number))
  ;; The address of a child's identifier.
  (func $place (param $child i64) (result i32)
    (i32.add (i32.const 65536) (i32.wrap_i64 (i64.shl (local.get $child) (i64.const 3)))))
  (func $any (result i32)
    (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 13))))
    (global.set $random (i64.xor (global.get $random) (i64.shr_u (global.get $random) (i64.const 7))))
    (global.set $random (i64.xor (global.get $random) (i64.shl (global.get $random) (i64.const 17))))
    (call $place (i64.rem_u (global.get $random) (global.get $live))))
  (func $ask (param $at i32)
    (call $tell (i64.load (local.get $at)))
    (call $wait))

  (func $visits (param $left i64) (local $start i64)
    (local.set $start (call $now))
    (loop $next
      (drop (call $spawn (i32.const 21)))
      (call $wait)
      (br_if $next (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
    (call $say (i64.sub (call $now) (local.get $start))))
  (func $questions_to_all (param $left i64) (local $start i64)
    (local.set $start (call $now))
    (loop $next
      (call $ask (call $any))
      (br_if $next (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
    (call $say (i64.sub (call $now) (local.get $start))))
  (func $questions_to_few (param $left i64) (local $start i64)
    (local.set $start (call $now))
    (loop $next
      (call $ask (call $place (i64.and (local.get $left) (i64.const 15))))
      (br_if $next (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
    (call $say (i64.sub (call $now) (local.get $start))))
  (func $kills (param $left i64) (param $random i32) (local $spent i64) (local $start i64) (local $at i32)
    (loop $next
      (local.set $at (if (result i32) (local.get $random)
        (then (call $any))
        (else (call $place (i64.and (local.get $left) (i64.const 15))))))
      (local.set $start (call $now))
      (call $monitor (i64.load (local.get $at)))
      (call $kill (i64.load (local.get $at)))
      (call $wait)
      (local.set $spent (i64.add (local.get $spent) (i64.sub (call $now) (local.get $start))))
      (i64.store (local.get $at) (call $spawn (i32.const 16)))
      (call $wait)
      (br_if $next (i64.ne (i64.const 0) (local.tee $left (i64.sub (local.get $left) (i64.const 1))))))
    (call $say (local.get $spent)))

  (func (export "_start") (local $child i64) (local $rounds i64) (local $operations i64)
    (i64.store (i32.const 33) (call $process_id))
    (drop (call $args_get (i32.const 128) (i32.const 1024)))
    (global.set $live (call $argument (i32.const 1)))
    (local.set $rounds (call $argument (i32.const 2)))
    (local.set $operations (call $argument (i32.const 3)))
    (drop (memory.grow
      (i32.add (i32.const 1) (i32.wrap_i64 (i64.shr_u (global.get $live) (i64.const 13))))))
    (loop $next
      (i64.store (call $place (local.get $child)) (call $spawn (i32.const 16)))
      (local.set $child (i64.add (local.get $child) (i64.const 1)))
      (br_if $next (i64.lt_u (local.get $child) (global.get $live))))
    (loop $next
      (call $wait)
      (local.set $child (i64.sub (local.get $child) (i64.const 1)))
      (br_if $next (i64.ne (i64.const 0) (local.get $child))))
    (call $say (global.get $live))
    (loop $next
      (call $visits (local.get $operations))
      (call $questions_to_all (local.get $operations))
      (call $questions_to_few (local.get $operations))
      (call $kills (local.get $operations) (i32.const 1))
      (call $kills (local.get $operations) (i32.const 0))
      (br_if $next
        (i64.ne (i64.const 0) (local.tee $rounds (i64.sub (local.get $rounds) (i64.const 1))))))))
