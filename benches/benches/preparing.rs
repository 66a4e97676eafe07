//! The cost of preparing: time, memory, and growth of the program; and the speed of verification, which every load does.
//!
//! `cargo bench --bench preparing [ROUNDS]`. On one thread, as in the command. Prints minima, which a busy machine affects least.

use std::time::Instant;

use lunatic_benches::enlarge::enlarge;
use lunatic_benches::guest;
use lunatic_instrument::{Options, prepare, verify};
use lunatic_tests::guests::build;

const ROUNDS: usize = 5;

/// The size of the large module in bytes.
const LARGE: usize = 20 << 20;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let actors = std::fs::read(build("benches/guests/actors", "actors")).expect("it has just been built");
    let large = enlarge(&actors, LARGE);
    println!(
        "{:<12}{:>10}{:>9}{:>9}{:>9}{:>11}{:>11}{:>14}",
        "module", "bytes", "larger", "charges", "returns", "prepare", "verify", "memory/input"
    );
    for (name, wasm) in [("compute", guest("compute")), ("actors", actors), ("large", large)] {
        let options = Options::default();
        let peak = peak_of(|| drop(prepare(&wasm, &options)));
        let (mut preparing, mut verifying) = (f64::INFINITY, f64::INFINITY);
        let mut prepared = prepare(&wasm, &options).expect("the module is valid");
        for _ in 0..rounds {
            let start = Instant::now();
            prepared = prepare(&wasm, &options).expect("the module is valid");
            preparing = preparing.min(start.elapsed().as_secs_f64());
            let start = Instant::now();
            verify(&prepared.bytes).expect("it was prepared");
            verifying = verifying.min(start.elapsed().as_secs_f64());
        }
        let (before, after) = (wasm.len() as f64, prepared.bytes.len() as f64);
        println!(
            "{name:<12}{:>10}{:>8.1}%{:>9}{:>9}{:>6.0} MB/s{:>6.0} MB/s{:>14}",
            wasm.len(),
            100.0 * (after / before - 1.0),
            prepared.stats.charges,
            prepared.stats.returns,
            before / 1e6 / preparing,
            after / 1e6 / verifying,
            peak.map_or_else(|| "unknown".to_owned(), |peak| format!("{:.1}", 1.0 + peak as f64 / before)),
        );
    }
}

/// The peak growth of this process in bytes while `work` runs, where Linux reports it.
fn peak_of(run: impl FnOnce()) -> Option<u64> {
    let status = |key: &str| {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
    };
    std::fs::write("/proc/self/clear_refs", "5").ok()?;
    let before = status("VmRSS:")?;
    run();
    Some(status("VmHWM:")?.saturating_sub(before))
}
