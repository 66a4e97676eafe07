//! Where the memories of processes are. The test is alone in its process, because it measures the address space of that process.
#![cfg(target_os = "linux")]

mod common;

use common::{guest, run, workers};

/// The peak size of this process's address space, in bytes.
fn peak_address_space() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmPeak:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}

/// Runs 5,500 children at once with this memory limit, or (0) with their parent's.
fn family(limit: u64) -> u64 {
    let body = format!(
        r#"
        (data (i32.const 1024) "child")
        (func (export "child")
          (i32.store (i32.const 65532) (i32.const 1))
          (call $send (i64.const 1) (i64.const 6))
          (drop (call $wait (i64.const 7) (i64.const -1))))
        (func (export "_start") (local $config i64) (local $n i32)
          (local.set $config (i64.const -1))
          (if (i64.ne (i64.const {limit}) (i64.const 0)) (then
            (local.set $config (call $create_config))
            (call $set_max_memory (local.get $config) (i64.const {limit}))))
          (loop $more
            (drop (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 5)))
            (br_if $more (i32.lt_u (local.tee $n (i32.add (local.get $n) (i32.const 1))) (i32.const 5500))))
          (loop $more
            (call $assert (i32.eqz (call $wait (i64.const 6) (i64.const -1))))
            (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1))))))
        "#
    );
    let outcome = run(workers(2), &guest(&body));
    assert_eq!((outcome.status, outcome.stderr.as_str()), (0, ""));
    peak_address_space()
}

/// HOSTILE 20: with more large memories than reservations, the remaining memories are pooled.
#[test]
fn large_memories_are_reserved_and_the_rest_pooled() {
    const GIB: u64 = 1 << 30;
    let small = family(64 << 20).max(family(0));
    assert!(small < 1000 * GIB, "small and inherited limits reserve nothing: {} GiB", small / GIB);
    let large = family(512 << 20);
    assert!(large > 4000 * 6 * GIB, "a limit that was asked for does: {} GiB", large / GIB);
}
