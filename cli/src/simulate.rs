//! `lunatic-exec --seed` and `--seeds`: runs a program on simulated timelines and reports how the runs end.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Args;
use lunatic_executor::{Ended, Faults, Outcome, Program, Script, Simulation, Simulator, Streams};

use crate::report::{Failure, escape};

/// The most processes of a deadlock that are listed.
const MAX_NAMED: usize = 32;

/// The options of a simulation.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Simulation")]
pub struct SimulationOptions {
    /// Run on the simulated timeline of this seed
    ///
    /// The same program, inputs and seed produce the same bytes. There are four simulated workers, or as many as --workers
    /// says, and no files.
    #[arg(long, value_name = "N", group = "timeline")]
    seed: Option<u64>,
    /// Run one seed after the other until one fails, and show its run
    ///
    /// From A to below B.
    #[arg(long, value_name = "A..B", group = "timeline", value_parser = parse_seeds)]
    seeds: Option<Range<u64>>,
    /// Faults to inject, each with a probability
    ///
    /// kill: kill a process that is about to run; spawn: let a spawn fail; slow: let blocking work take seconds. These are
    /// off by default. jump: stop the whole machine for up to a second; pause: let a worker stand still. These happen on any
    /// machine and are on by default; a probability of 0 turns them off.
    #[arg(long, value_name = "FAULT=PROBABILITY,...", requires = "timeline")]
    faults: Option<Faults>,
    /// Simulated seconds after which a run fails [default: 3600]
    #[arg(long, value_name = "SECONDS", requires = "timeline", value_parser = parse_seconds)]
    max_time: Option<Duration>,
    /// Write what happens in a run, one event per line
    ///
    /// With --seeds, the run of the seed that fails.
    #[arg(long, value_name = "FILE", requires = "timeline")]
    trace: Option<PathBuf>,
}

impl SimulationOptions {
    /// Whether a simulation was asked for.
    pub fn are_given(&self) -> bool {
        self.seed.is_some() || self.seeds.is_some()
    }

    /// Runs a program on the timelines that the options select. Returns the exit status of the command.
    ///
    /// # Errors
    ///
    /// If the system refuses a resource, or the trace cannot be written.
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
        // Read once and replayed for each seed, which would otherwise get different inputs.
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
                // The sweep keeps no output. The seed repeats its run, so running it again shows the same.
                let status =
                    self.show(command, simulator, program, &Simulation { seed, ..simulation }, stdin);
                eprintln!("{command}: seed {seed} fails: run it again with --seed {seed}");
                status
            }
        }
    }

    /// Runs one seed, shows its output and reports how it ended.
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
        // As in a real run, the lowest byte counts.
        Ok(ExitCode::from(outcome.status().0 as u8))
    }
}

/// Reports an end that the program itself cannot have reported: a deadlock, or the end of the simulated time.
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

/// The number of seeds that run at the same time. Their runs are independent, so this changes only how long a sweep takes.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn parse_seeds(text: &str) -> Result<Range<u64>, String> {
    let range = text.split_once("..").and_then(|(start, end)| Some(start.parse().ok()?..end.parse().ok()?));
    let range = range.filter(|range| !range.is_empty());
    range.ok_or_else(|| "expected A..B with A less than B, such as 0..1000".into())
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| "expected a number of seconds, such as 60 or 1.5".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_range_of_seeds_is_refused() {
        assert_eq!(parse_seeds("0..10"), Ok(0..10));
        assert_eq!(parse_seeds("7..18446744073709551615"), Ok(7..u64::MAX));
        for wrong in ["", "..", "5", "1..", "..5", "5..5", "6..5", "0..=5", "a..b", "-1..5"] {
            assert!(parse_seeds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn seconds_may_have_a_fraction() {
        assert_eq!(parse_seconds("1.5"), Ok(Duration::from_millis(1500)));
        for wrong in ["", "-1", "NaN", "inf", "1s", "1e300"] {
            assert!(parse_seconds(wrong).is_err(), "{wrong}");
        }
    }
}
