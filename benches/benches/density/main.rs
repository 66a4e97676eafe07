//! Many processes: the memory of an idle one, the cost of operations beside many others, and the gain of a second worker.
//!
//! `cargo bench -p lunatic-benches --bench density [-- [PART…] [PROCESSES]]`. The parts are `idle`, `crowd` and `workers`; all by
//! default. `PROCESSES` is the largest number of hand-written processes (default 100,000; a million takes about 11 GiB), and
//! twice the number of Rust guests. Linux only: it reads `/proc`.
//!
//! Each figure of memory is measured in a program of its own, because memory that one run has freed would serve the next.

mod crowd;
mod idle;
mod workers;

use std::process::Command;

const PROCESSES: u64 = 100_000;

/// The first argument of a program that this one starts to measure something.
const MEASURE: &str = "measure";

/// Runs a measurement in a program of its own. Returns the numbers that it prints, or none if it fails.
fn measured(args: &[&str]) -> Vec<f64> {
    let program = std::env::current_exe().expect("it runs");
    let output = Command::new(program).arg(MEASURE).args(args).output().expect("it can be started");
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        print!("{text}{}", String::from_utf8_lossy(&output.stderr));
        return Vec::new();
    }
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The available memory of this machine in bytes, as the kernel estimates it.
fn available() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").expect("this is Linux");
    field(&text, "MemAvailable:")
}

/// A field of one of the kernel's lists, in bytes.
fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel says it");
    let number = line.trim().strip_suffix(" kB").expect("in kB").parse::<u64>().expect("a number");
    number << 10
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        [MEASURE, "idle", guest, count] => idle::measure(guest, count.parse().expect("a number")),
        [MEASURE, "crowd", live] => crowd::measure(live),
        _ => {
            let count = args.iter().find_map(|arg| arg.parse().ok()).unwrap_or(PROCESSES);
            let parts: Vec<&str> = args.iter().copied().filter(|arg| arg.parse::<u64>().is_err()).collect();
            let wanted = |part| parts.is_empty() || parts.contains(&part);
            if wanted("idle") {
                idle::report(count);
            }
            if wanted("crowd") {
                crowd::report(count);
            }
            if wanted("workers") {
                workers::report();
            }
        }
    }
}
