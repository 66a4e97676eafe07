//! Processes and messages compared with Erlang and Go, if these are installed. The programs take turns in rounds; the table has
//! medians.
//!
//! `cargo bench -p lunatic-benches --bench actors [ROUNDS]`. Erlang is found as `erlc` and `erl`, Go as `go`; a missing one is
//! skipped with a message. Each program measures itself, without its start. All use every processor unless noted. A second table
//! compares with Erlang how late a timer and how slow an echo is while eight processes compute.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use lunatic_benches::table::{cell, median};
use lunatic_benches::{guest, run, said, tiny_spawner};
use lunatic_tests::guests::root;

/// The benchmarks, and the number of operations in a round.
const BENCHMARKS: [(&str, u64); 4] =
    [("spawn", 200_000), ("ping-pong", 300_000), ("ring", 500_000), ("fan-in", 1_000_000)];

const ROUNDS: usize = 5;

/// The number of sleeps and echoes for the percentiles.
const BUSY: u64 = 400;

/// The measured systems.
enum Peer {
    Ours { name: &'static str, module: fn(u64) -> Vec<u8>, workers: usize },
    Other { name: &'static str, command: Vec<PathBuf> },
}

impl Peer {
    fn name(&self) -> &'static str {
        match self {
            Peer::Ours { name, .. } | Peer::Other { name, .. } => name,
        }
    }

    /// The time of `count` operations, or `None` if the system does not have the benchmark.
    fn time(&self, benchmark: &str, count: u64) -> Option<Duration> {
        match self {
            Peer::Ours { name, module, workers } => {
                // The hand-written module only has the benchmark of spawning.
                let knows = !name.contains("tiny") || benchmark == "spawn";
                knows.then(|| run(&module(count), &[benchmark, &count.to_string()], *workers))
            }
            Peer::Other { command, .. } => {
                let output = answer(command, benchmark, count)?;
                Some(Duration::from_nanos(output.trim().parse().ok()?))
            }
        }
    }

    /// The four figures beside computing processes, in microseconds, or `None` if the system does not have the benchmark.
    fn busy(&self, workers: usize) -> Option<[f64; 4]> {
        let output = match self {
            Peer::Ours { name: "Rust guest", module, .. } => {
                said(&module(BUSY), &["busy", &BUSY.to_string()], workers)
            }
            Peer::Other { name: "Erlang", command } => answer(command, "busy", BUSY)?,
            _ => return None,
        };
        let figures: Vec<f64> =
            output.split_whitespace().filter_map(|figure| figure.parse::<f64>().ok()).collect();
        let figures: [f64; 4] = figures.try_into().ok()?;
        Some(figures.map(|nanoseconds| nanoseconds / 1000.0))
    }
}

/// The output of a program.
fn answer(command: &[PathBuf], benchmark: &str, count: u64) -> Option<String> {
    let mut process = Command::new(&command[0]);
    let output = process.args(&command[1..]).args([benchmark, &count.to_string()]).output();
    String::from_utf8(output.ok()?.stdout).ok()
}

fn main() {
    let rounds = std::env::args().skip(1).find_map(|arg| arg.parse().ok()).unwrap_or(ROUNDS);
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let mut peers = vec![
        Peer::Ours { name: "Rust guest", module: |_| guest("actors"), workers },
        Peer::Ours { name: "one worker", module: |_| guest("actors"), workers: 1 },
        Peer::Ours { name: "tiny module", module: tiny_spawner, workers },
    ];
    for other in [erlang(), go()] {
        match other {
            Ok(peer) => peers.push(peer),
            Err(missing) => println!("left out: {missing}"),
        }
    }
    let names: String = peers.iter().map(|peer| format!("{:>13}", peer.name())).collect();
    println!("{:<28}{names}   Rust guest / Erlang", format!("medians of {rounds}, million/s"));
    for (benchmark, count) in BENCHMARKS {
        let mut rates = vec![Vec::new(); peers.len()];
        for _ in 0..rounds {
            for (peer, rates) in peers.iter().zip(&mut rates) {
                let time = peer.time(benchmark, count);
                rates.extend(time.map(|time| count as f64 / time.as_secs_f64() / 1e6));
            }
        }
        let medians: Vec<Option<f64>> = rates.into_iter().map(median).collect();
        let cells: String = medians.iter().map(|median| cell(*median, 13)).collect();
        let erlang = peers.iter().position(|peer| peer.name() == "Erlang").and_then(|index| medians[index]);
        let ratio = medians[0].zip(erlang).map(|(ours, erlang)| ours / erlang);
        println!("{benchmark:<28}{cells}{}", cell(ratio, 13));
    }
    println!();
    let heads = ["timer p50", "p99", "echo p50", "p99"].map(|head| format!("{head:>13}")).concat();
    println!("{:<28}{heads}", "beside 8 spinners, µs late");
    for peer in &peers {
        let runs: Vec<[f64; 4]> = (0..rounds).filter_map(|_| peer.busy(workers)).collect();
        let medians = [0, 1, 2, 3].map(|index| median(runs.iter().map(|run| run[index]).collect()));
        if medians[0].is_some() {
            println!("{:<28}{}", peer.name(), medians.map(|median| cell(median, 13)).concat());
        }
    }
}

fn erlang() -> Result<Peer, String> {
    let directory = directory()?;
    let source = root().join("benches/peers/erlang/actors.erl");
    build("Erlang", Command::new("erlc").arg("-o").arg(&directory).arg(source))?;
    let command = ["erl", "-noshell", "-pa", text(&directory), "-s", "actors", "main"];
    Ok(Peer::Other { name: "Erlang", command: command.map(PathBuf::from).to_vec() })
}

fn go() -> Result<Peer, String> {
    let program = directory()?.join("actors-go");
    let mut go = Command::new("go");
    build(
        "Go",
        go.current_dir(root().join("benches/peers/go")).arg("build").arg("-o").arg(&program).arg("."),
    )?;
    Ok(Peer::Other { name: "Go", command: vec![program] })
}

/// The directory for programs built for other systems.
fn directory() -> Result<PathBuf, String> {
    let directory = root().join("target").join("peers");
    std::fs::create_dir_all(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(directory)
}

fn build(name: &str, command: &mut Command) -> Result<(), String> {
    match command.output() {
        Ok(output) if output.status.success() => Ok(()),
        Ok(output) => Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr))),
        Err(error) => Err(format!("{name} is not installed ({error})")),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the path of the repository is UTF-8")
}
