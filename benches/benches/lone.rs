//! One process that computes, with one worker and with one per processor: idle workers must not slow it. Also, as many computing
//! processes as workers, which must use all workers.
//!
//! `cargo bench -p lunatic-benches --bench lone [ROUNDS]`. The runs take turns. Prints medians and minima in milliseconds.

use std::time::Duration;

use lunatic_benches::run;
use lunatic_benches::table::Table;

const ROUNDS: usize = 9;

/// The rounds of the guest's loop: at least a second, in thousands of slices.
const LOOPS: u32 = 1_200_000_000;

/// Computes in `processes` processes at the same time, including the first one.
fn module(processes: u32) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
          (import "lunatic::message" "create_data" (func $create (param i64 i64)))
          (import "lunatic::message" "send" (func $send (param i64) (result i32)))
          (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 16) "child")
          (global $sum (mut i32) (i32.const 0))
          (func $compute (local $n i32) (local $sum i32)
            (local.set $n (i32.const {each}))
            (loop $more
              (local.set $sum (i32.add (i32.mul (local.get $sum) (i32.const 1664525)) (local.get $n)))
              (br_if $more (local.tee $n (i32.sub (local.get $n) (i32.const 1)))))
            (global.set $sum (local.get $sum)))
          (func (export "child")
            (call $compute)
            (call $create (i64.const 0) (i64.const 0))
            (drop (call $send (i64.const 1))))
          (func (export "_start") (local $i i32)
            (block $spawned
              (loop $more
                (local.set $i (i32.add (local.get $i) (i32.const 1)))
                (br_if $spawned (i32.ge_u (local.get $i) (i32.const {processes})))
                (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
                  (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 0)))
                (br $more)))
            (call $compute)
            (loop $more
              (local.set $i (i32.sub (local.get $i) (i32.const 1)))
              (if (local.get $i) (then
                (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
                (br $more))))))"#,
        each = LOOPS / processes,
    );
    wat::parse_str(text).expect("the text is valid")
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(ROUNDS);
    let workers = std::thread::available_parallelism().map_or(2, usize::from).max(2);
    let modules = [1, workers as u32].map(module);
    let mut times: [[Vec<Duration>; 2]; 2] = Default::default();
    for _ in 0..rounds {
        for (module, times) in modules.iter().zip(&mut times) {
            for (workers, times) in [1, workers].into_iter().zip(times) {
                times.push(run(module, &[], workers));
            }
        }
    }
    let several = format!("{workers} workers");
    let columns = ["1 worker", &several];
    let mut table = Table::new("computing, ms", columns.into_iter());
    for (name, times) in ["one process", "a process for each worker"].iter().zip(&mut times) {
        let mut figures = |pick: fn(&[Duration]) -> Duration| {
            times.each_mut().map(|times| {
                times.sort_unstable();
                pick(times).as_secs_f64() * 1e3
            })
        };
        table.row(&format!("{name}, median"), figures(|times| times[times.len() / 2]).into_iter());
        table.row(&format!("{name}, minimum"), figures(|times| times[0]).into_iter());
    }
    table.print(&[(&several, "1 worker")]);
}
