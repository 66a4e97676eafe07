//! The cost of a process: spawn and exit, messages, with a hand-written module and with a Rust guest.
//!
//! Each sample is one run of a guest that repeats the operation so often that the start of the node (about a millisecond) does not
//! count. The time is scaled to the number of operations that criterion asked for.

use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lunatic_benches::{guest, run, tiny_spawner};

/// The number of operations in a run.
const REPEATS: u64 = 200_000;

/// The time of `count` operations, from one run of [`REPEATS`].
fn scaled(count: u64, run: Duration) -> Duration {
    run.mul_f64(count as f64 / REPEATS as f64)
}

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn, reply, exit");
    group.sample_size(10).throughput(Throughput::Elements(1));
    let (tiny, actors) = (tiny_spawner(REPEATS), guest("actors"));
    for workers in [1, 2] {
        group.bench_function(format!("tiny module, {workers} workers"), |bencher| {
            bencher.iter_custom(|count| scaled(count, run(&tiny, &[], workers)));
        });
        group.bench_function(format!("Rust guest, {workers} workers"), |bencher| {
            bencher
                .iter_custom(|count| scaled(count, run(&actors, &["spawn", &REPEATS.to_string()], workers)));
        });
    }
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let actors = guest("actors");
    let mut group = criterion.benchmark_group("messages");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for name in ["ping-pong", "ring", "fan-in"] {
        for workers in [1, 2] {
            group.bench_function(format!("{name}, {workers} workers"), |bencher| {
                let args = [name, &REPEATS.to_string()];
                bencher.iter_custom(|count| scaled(count, run(&actors, &args, workers)));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, spawn, messages);
criterion_main!(benches);
