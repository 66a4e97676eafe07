//! The cost of an operation while many processes are alive, relative to its cost while a thousand are. `benches/guests/crowd.wat`
//! measures it, on one worker.
//!
//! A process that has rested for long is not in the cache when it is asked or killed, whatever the runtime does. So both are
//! measured: random processes, and always the same few.

use std::io::Write;
use std::sync::{Arc, Mutex};

use lunatic_executor::{Parts, Runtime, RuntimeConfig};

use super::{available, measured, median};

/// The number of processes in the runs that the others are compared with.
const FEW: u64 = 1_000;

/// The number of pairs of runs with few and with many processes, and of rounds and operations in each.
const RUNS: usize = 3;
const ROUNDS: usize = 21;
const OPERATIONS: u64 = 5_000;

/// The most bytes that a process may take.
const EACH: u64 = 13 << 10;

const NAMES: [&str; 5] = [
    "spawn, hello, end",
    "ask a random one",
    "ask one of sixteen",
    "kill a random one",
    "kill one of sixteen",
];

/// Prints the table.
pub(crate) fn report(many: u64) {
    if many * EACH > available() {
        return println!("{many} processes left out: {} GiB may not be enough", available() >> 30);
    }
    let mut figures = [[(); 2]; NAMES.len()].map(|kinds| kinds.map(|()| Vec::new()));
    for _ in 0..RUNS {
        for (kind, live) in [FEW, many].into_iter().enumerate() {
            let run = measured(&["crowd", &live.to_string()]);
            run.into_iter().zip(&mut figures).for_each(|(figure, figures)| figures[kind].push(figure));
        }
    }
    println!("{:<24}{:>13}{:>13}{:>13}", "nanoseconds, processes:", FEW, many, "ratio");
    for (name, [few, many]) in NAMES.into_iter().zip(figures.map(|kinds| kinds.map(median))) {
        println!("{name:<24}{few:>13.0}{many:>13.0}{:>13.2}", many / few);
    }
}

/// Prints the figures of one run: medians of its rounds, per operation.
pub(crate) fn measure(live: &str) {
    let module = wat::parse_str(include_str!("../../guests/crowd.wat")).expect("the text is valid");
    let args = ["bench", live, &ROUNDS.to_string(), &OPERATIONS.to_string()].map(String::from).to_vec();
    let config = RuntimeConfig::default().workers(1).args(args);
    let said = Said::default();
    let parts = Parts { stdout: Box::new(said.clone()), ..Parts::default() };
    let runtime = Runtime::with_parts(config, parts).expect("the runtime works on this machine");
    let program = runtime.load(&module).expect("the module is valid");
    assert_eq!(runtime.run(&program).0, 0, "the benchmark failed");
    let bytes = said.0.lock().expect("nothing panics while it is held");
    let numbers = bytes.chunks_exact(8).map(|number| u64::from_le_bytes(number.try_into().expect("eight")));
    // The first line reports that all processes are alive.
    let numbers: Vec<f64> = numbers.skip(1).map(|time| time as f64 / OPERATIONS as f64).collect();
    assert_eq!(numbers.len(), ROUNDS * NAMES.len(), "the guest says five numbers a round");
    for kind in 0..NAMES.len() {
        println!("{}", median(numbers.iter().copied().skip(kind).step_by(NAMES.len()).collect()));
    }
}

/// The output of the guest.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("nothing panics while it is held").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
