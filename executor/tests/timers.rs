//! Memory of timers. The test is alone in its process, because it measures the memory of that process.
#![cfg(target_os = "linux")]

mod common;

use common::{guest, run, workers};

/// The peak resident memory of this process, in bytes: memory that is given back only at the end counts.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Sets `count` timers of `milliseconds` for a dead process, each with a message of a kilobyte.
fn timers_to_the_dead(count: u32, milliseconds: u64) {
    let body = format!(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child"))
        (func (export "_start") (local $i i32) (local $pid i64)
          (local.set $pid (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
          (call $monitor (local.get $pid))
          (drop (call $wait (i64.const 0) (i64.const -1)))
          (loop $next
            (call $create_data (i64.const 6) (i64.const 1024))
            (drop (call $write_data (i32.const 4096) (i32.const 1024)))
            (drop (call $send_after (local.get $pid) (i64.const {milliseconds})))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {count})))))
        "#
    );
    let outcome = run(workers(1), &guest(&body));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

/// A million messages of a kilobyte are a gigabyte; at most a thousandth of it may stay.
#[test]
fn guarantee_36_a_million_timers_to_the_dead_leave_memory_as_it_was() {
    for milliseconds in [0, 3_600_000] {
        timers_to_the_dead(50_000, milliseconds);
        let before = peak();
        timers_to_the_dead(1_000_000, milliseconds);
        let grown = peak().saturating_sub(before);
        println!("{grown} bytes more after a million timers of {milliseconds} ms");
        assert!(grown < 16 << 20, "{grown} bytes more after a million timers of {milliseconds} ms");
    }
}
