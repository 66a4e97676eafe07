//! The gain of a second worker for independent processes: they compute, spawn children, or answer each other in pairs. Runs with one
//! worker and with two take turns; medians. The first row is measured without the runtime: it is what the machine gives to two
//! threads at that moment, and so the upper bound of the others.

use std::time::Instant;

use lunatic_benches::{guest, run};

use super::median;

const ROUNDS: usize = 7;

/// The guest's operation, and the total number of operations.
const KINDS: [(&str, &str, u64); 3] = [
    ("processes that compute", "compute", 500_000_000),
    ("processes that spawn", "spawners", 200_000),
    ("pairs of processes", "pairs", 400_000),
];

/// The same computation as the guest's.
const NATIVE_ROUNDS: u64 = 500_000_000;
const MULTIPLIER: u64 = 6_364_136_223_846_793_005;

/// Prints the table.
pub(crate) fn report() {
    let module = guest("actors");
    println!("{:<24}{:>13}{:>13}{:>13}", "two workers", "one, ms", "two, ms", "one / two");
    row("the machine's threads", native);
    for (name, kind, count) in KINDS {
        row(name, |workers| run(&module, &[kind, &count.to_string()], workers).as_secs_f64());
    }
}

/// Prints a row: the medians of the seconds with one worker and with two, and of their ratios.
fn row(name: &str, seconds: impl Fn(usize) -> f64) {
    let mut figures = [const { Vec::new() }; 3];
    for _ in 0..ROUNDS {
        let [one, two] = [1, 2].map(|workers| seconds(workers) * 1e3);
        figures.iter_mut().zip([one, two, one / two]).for_each(|(figures, figure)| figures.push(figure));
    }
    let [one, two, ratio] = figures.map(median);
    println!("{name:<24}{one:>13.1}{two:>13.1}{ratio:>13.2}");
}

/// The seconds in which `threads` threads do a fixed amount of work together.
fn native(threads: usize) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut number = 1u64;
                for round in 0..NATIVE_ROUNDS / threads as u64 {
                    number = std::hint::black_box(number.wrapping_mul(MULTIPLIER).wrapping_add(round));
                }
            });
        }
    });
    start.elapsed().as_secs_f64()
}
