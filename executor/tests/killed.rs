//! HOSTILE 34: processes are killed at any moment while they use the registry. No lock stays locked, and no name stays registered.

mod common;

use common::{guest, run, workers};

/// The rounds for each number of workers.
const ROUNDS: u32 = 1000;

#[test]
fn a_process_killed_while_it_uses_the_registry_leaves_nothing() {
    let body = format!(
        r#"
        (data (i32.const 1024) "child" "name" "other" "idle")
        (func (export "idle") (drop (call $wait (i64.const 7) (i64.const -1))))
        ;; Puts, finds, races for and removes names until it is killed.
        (func (export "child")
          (call $send (i64.const 1) (i64.const 6))
          (loop $forever
            (call $put (i32.const 1029) (i32.const 4) (i64.const 0) (call $me))
            (drop (call $get (i32.const 1029) (i32.const 4) (i32.const 2048) (i32.const 2056)))
            (drop (call $get_or_spawn_raw (i32.const 1033) (i32.const 5) (call $me) (i64.const -1) (i64.const -1)
              (i32.const 1038) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 2048) (i32.const 2056)))
            (call $remove (i32.const 1033) (i32.const 5))
            (drop (call $name (call $me) (i32.const 3072) (i32.const 64)))
            (br $forever)))
        (func $one (result i64) (local $child i64)
          (local.set $child (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (drop (call $monitor_start (local.get $child)))
          (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1))))
          (local.get $child))
        (func (export "_start") (local $n i32) (local $one i64) (local $two i64)
          (local.set $n (i32.const {ROUNDS}))
          (loop $again
            (local.set $one (call $one))
            (local.set $two (call $one))
            (call $kill (local.get $one))
            (call $kill (local.get $two))
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            (call $assert (i32.eq (call $death_kind) (i32.const 3)))
            (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 2)))
            ;; The owner of the name is dead, so no process has it.
            (call $assert (i32.eq (call $get (i32.const 1029) (i32.const 4) (i32.const 2048) (i32.const 2056)) (i32.const 1)))
            (call $put (i32.const 1029) (i32.const 4) (i64.const 0) (call $me))
            (call $assert (i32.eqz (call $get (i32.const 1029) (i32.const 4) (i32.const 2048) (i32.const 2056))))
            (call $assert (i64.eq (i64.load (i32.const 2056)) (call $me)))
            (call $remove (i32.const 1029) (i32.const 4))
            (br_if $again (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        "#
    );
    for (count, slice) in [(1, 50), (2, 1000), (4, 50)] {
        let outcome = run(workers(count).slice(slice), &guest(&body));
        assert_eq!(outcome.status, 0, "{count} workers: {}{}", outcome.stdout, outcome.stderr);
    }
}
