//! From a file to the first guest instruction: the time of compiling, compared with Wasmtime, and the time of the command when the
//! code is in its cache.
//!
//! `cargo bench --bench loading [ROUNDS]`. Each round measures everything once. Prints medians and minima.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lunatic_benches::command;
use lunatic_benches::enlarge::enlarge;
use lunatic_benches::peer::Peer;
use lunatic_instrument::{Options, prepare};
use lunatic_jit::{CompileOptions, Engine, EngineConfig, MemoryLayout, Module};
use lunatic_tests::guests::build;

const ROUNDS: usize = 5;

/// The sizes in bytes of the module to compile, and of the one to start.
const COMPILED: usize = 20 << 20;
const STARTED: usize = 2 << 20;

/// The number of starts of the command in each round.
const STARTS: usize = 10;

/// The measured seconds.
#[derive(Default)]
struct Times(Vec<f64>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted[sorted.len() / 2]
    }

    fn print(&self, name: &str, unit: &str, factor: f64) {
        let least = self.0.iter().copied().fold(f64::INFINITY, f64::min);
        println!("{name:<52}{:>10.2}{:>10.2} {unit}", self.median() * factor, least * factor);
    }
}

fn compile(wasm: &[u8], memory: MemoryLayout) -> Duration {
    let engine = Engine::new(EngineConfig::default()).expect("the engine works on this machine");
    let start = Instant::now();
    Module::compile_with(&engine, wasm, CompileOptions { memory, untrusted: false }).expect("it is valid");
    start.elapsed()
}

fn compiling(plain: &[u8], directory: &Path, rounds: usize) {
    let large = enlarge(plain, COMPILED);
    let path = directory.join("large.wasm");
    std::fs::write(&path, &large).expect("it can be written");
    let start = Instant::now();
    let prepared = prepare(&large, &Options::default()).expect("the module is valid").bytes;
    let preparing = start.elapsed();

    let [mut reserved, mut pooled, mut metered, mut wasmtime] = std::array::from_fn(|_| Times::default());
    let mut skipped = None;
    for _ in 0..rounds {
        reserved.add(compile(&large, MemoryLayout::Reserved));
        pooled.add(compile(&large, MemoryLayout::Pooled));
        metered.add(compile(&prepared, MemoryLayout::Pooled));
        match Peer::wasmtime_module(&path, "guarded") {
            Ok(peer) => wasmtime.add(Duration::from_nanos(peer.compile_ns)),
            Err(reason) => skipped = Some(reason),
        }
    }
    println!("compiling {:.1} MB on all processors{:>26}{:>10}", large.len() as f64 / 1e6, "median", "least");
    reserved.print("reserved memory", "s", 1.0);
    pooled.print("pooled memory", "s", 1.0);
    metered.print("pooled memory, metered", "s", 1.0);
    if let Some(reason) = skipped {
        println!("wasmtime is skipped: {reason}");
    } else {
        wasmtime.print("wasmtime, reserved memory", "s", 1.0);
        println!("reserved over wasmtime: {:.2}", reserved.median() / wasmtime.median());
    }
    println!("(preparing it took {:.1} s)\n", preparing.as_secs_f64());
}

/// The time of a command from its start to its end.
fn time(command: &mut Command) -> Duration {
    command.stdout(Stdio::null());
    let start = Instant::now();
    let status = command.status().expect("it can be started");
    let time = start.elapsed();
    assert!(status.success());
    time
}

fn starting(plain: &[u8], directory: &Path, rounds: usize) {
    let (module, cache) = (directory.join("started.wasm"), directory.join("cache"));
    let wasm = enlarge(plain, STARTED);
    std::fs::write(&module, &wasm).expect("it can be written");
    let exec = command();
    let run = || {
        let mut command = Command::new(&exec);
        command.arg("--cache-dir").arg(&cache).arg(&module);
        command
    };
    let cold = time(&mut run());
    let [mut warm, mut nothing] = std::array::from_fn(|_| Times::default());
    for _ in 0..rounds * STARTS {
        nothing.add(time(Command::new(&exec).arg("--version")));
        warm.add(time(&mut run()));
    }
    println!(
        "a program of {:.1} MB that says hello, whole command{:>11}{:>10}",
        wasm.len() as f64 / 1e6,
        "median",
        "least"
    );
    warm.print("from the cache", "ms", 1e3);
    nothing.print("(the command with --version)", "ms", 1e3);
    println!("(the first time, which fills the cache: {:.2} s)", cold.as_secs_f64());
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let plain = std::fs::read(build("tests/guests/plain", "test-plain")).expect("it has just been built");
    let directory = tempfile::tempdir().expect("there is a place for temporary files");
    compiling(&plain, directory.path(), rounds);
    starting(&plain, directory.path(), rounds);
}
