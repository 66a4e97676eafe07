//! `lunatic-exec --seed` and `--seeds`: a program on simulated timelines, and what a person reads about them.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use lunatic_executor::{Ended, Faults, Outcome, Program, Script, Simulation, Simulator, Streams};

use crate::report::{Failure, escape};

/// Processes of a deadlock that are named.
const MAX_NAMED: usize = 32;

/// The options of a simulation.
#[derive(Clone, Debug, Args)]
pub struct SimulationOptions {
    /// Run on a simulated timeline that this number decides: the same program, inputs and number give the same bytes.
    /// There are four simulated workers, or as many as --workers says, and no files
    #[arg(long, value_name = "N", group = "timeline")]
    seed: Option<u64>,
    /// Run once for each of these seeds, until one fails, which is then shown
    #[arg(long, value_name = "A..B", group = "timeline", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// What is done to a simulated program, and how likely each time: kill (a process that is about to run), spawn (it
    /// fails), slow (blocking work takes seconds); and jump (of time) and pause (of a worker), which any machine does
    /// now and then and 0 turns off
    #[arg(long, value_name = "FAULT=PROBABILITY,...", requires = "timeline")]
    faults: Option<Faults>,
    /// Simulated seconds until the program has to have ended [default: 3600]
    #[arg(long, value_name = "SECONDS", requires = "timeline", value_parser = parse_seconds)]
    max_time: Option<Duration>,
    /// Write a line for each turn of a simulated process; with --seeds, of the seed that fails
    #[arg(long, value_name = "FILE", requires = "timeline")]
    trace: Option<PathBuf>,
}

impl SimulationOptions {
    /// Whether there is a simulation at all.
    pub fn are_given(&self) -> bool {
        self.seed.is_some() || self.seeds.is_some()
    }

    /// Runs a program on the timelines that are asked for. What the command exits with.
    ///
    /// # Errors
    ///
    /// If the system refuses what it needs, or the trace cannot be written.
    pub fn run(
        &self,
        command: &str,
        simulator: &Simulator,
        program: &Program,
        workers: Option<usize>,
    ) -> Result<ExitCode, Failure> {
        let defaults = Simulation::default();
        let simulation = Simulation {
            seed: self.seed.unwrap_or_default(),
            workers: workers.unwrap_or(defaults.workers),
            faults: self.faults.unwrap_or_default(),
            max_time: self.max_time.unwrap_or(defaults.max_time),
        };
        let stdin = Script::new(std::io::stdin());
        match self.seeds.clone() {
            None => self.show(command, simulator, program, &simulation, stdin),
            Some(seeds) => {
                let (started, threads) = (Instant::now(), threads());
                let failed = simulator.sweep(program, seeds.clone(), &simulation, &stdin, threads);
                let Some((seed, _)) = failed.map_err(failure)? else {
                    let (Range { start, end }, elapsed) = (seeds, started.elapsed().as_secs_f64());
                    eprintln!("{command}: seeds {start}..{end}: none fails ({elapsed:.1} s)");
                    return Ok(ExitCode::SUCCESS);
                };
                let status =
                    self.show(command, simulator, program, &Simulation { seed, ..simulation }, stdin);
                eprintln!("{command}: seed {seed} fails: see it again with --seed {seed}");
                status
            }
        }
    }

    /// Runs one seed, and shows what it writes and how it ends.
    fn show(
        &self,
        command: &str,
        simulator: &Simulator,
        program: &Program,
        simulation: &Simulation,
        stdin: Script,
    ) -> Result<ExitCode, Failure> {
        let create = |path: &PathBuf| match File::create(path) {
            Ok(file) => Ok(Box::new(file) as Box<dyn Write + Send>),
            Err(error) => Err(Failure::new(path, "stdout", error)),
        };
        let trace = self.trace.as_ref().map(create).transpose()?;
        let streams = Streams {
            stdin,
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            trace,
        };
        let outcome = simulator.run(program, simulation, streams).map_err(failure)?;
        report(command, simulation.seed, &outcome);
        // As in a real run: the lowest byte.
        Ok(ExitCode::from(outcome.status().0 as u8))
    }
}

/// Says what the program cannot have said itself.
fn report(command: &str, seed: u64, outcome: &Outcome) {
    let Outcome { ended, time, .. } = outcome;
    if let Ended::Exited(_) = ended {
        return;
    }
    eprintln!("{command}: seed {seed}, after {:.6} simulated seconds: {ended}", time.as_secs_f64());
    if let Ended::Deadlock(stuck) = ended {
        for process in stuck.iter().take(MAX_NAMED) {
            eprintln!("{command}:   {}", escape(&process.to_string()));
        }
        if stuck.len() > MAX_NAMED {
            eprintln!("{command}:   and {} more", stuck.len() - MAX_NAMED);
        }
    }
}

fn failure(error: impl Into<Box<dyn std::error::Error>>) -> Failure {
    Failure { place: "simulation".into(), cause: error.into() }
}

/// Seeds that are run at the same time: they do not know of each other, so this changes how long it takes and nothing
/// else.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    let range = range.filter(|range| !range.is_empty());
    range.ok_or_else(|| "expected A..B, such as 0..1000: from A to below B".into())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_a_range_with_something_in_it() {
        assert_eq!(parse_seeds("0..10"), Ok(0..10));
        assert_eq!(parse_seeds("7..18446744073709551615"), Ok(7..u64::MAX));
        for wrong in ["", "..", "5", "1..", "..5", "5..5", "6..5", "0..=5", "a..b", "-1..5"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_may_be_broken() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "-1", "NaN", "inf", "1s", "1e300"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
