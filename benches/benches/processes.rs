//! What a process costs: spawn and exit, messages, with a hand-written module and with a Rust guest.
//!
//! Each sample is one run of a guest that repeats the operation as often as criterion asks.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use lunatic_benches::{guest, run, tiny_spawner};

fn spawn(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("spawn, reply, exit");
    group.sample_size(10).throughput(Throughput::Elements(1));
    group.bench_function("tiny module, 1 worker", |bencher| {
        bencher.iter_custom(|count| run(&tiny_spawner(count), &[], 1));
    });
    group.bench_function("tiny module, 2 workers", |bencher| {
        bencher.iter_custom(|count| run(&tiny_spawner(count), &[], 2));
    });
    let actors = guest("actors");
    group.bench_function("Rust guest, 1 worker", |bencher| {
        bencher.iter_custom(|count| run(&actors, &["spawn", &count.to_string()], 1));
    });
    group.finish();
}

fn messages(criterion: &mut Criterion) {
    let actors = guest("actors");
    let mut group = criterion.benchmark_group("messages");
    group.sample_size(10).throughput(Throughput::Elements(1));
    for name in ["ping-pong", "ring", "fan-in"] {
        for workers in [1, 2] {
            group.bench_function(format!("{name}, {workers} workers"), |bencher| {
                bencher.iter_custom(|count| run(&actors, &[name, &count.to_string()], workers));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, spawn, messages);
criterion_main!(benches);
