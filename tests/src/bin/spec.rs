//! The specification suite as a command.
//!
//! Prints the numbers of passed and failed directives per script, and the total on the last line. The command fails if a failure is
//! not in the list of known failures, or if a listed one passes.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use lunatic_tests::spec::{Mode, Outcome, Suite, known, run_script, run_suite};

/// Runs the WebAssembly specification suite on the engine.
#[derive(Parser)]
struct Arguments {
    /// How modules are run: plain, instrumented, yield (instrumented, suspended at every charge, each time resumed on
    /// another thread), cached, reserved, or untrusted.
    #[arg(long, default_value = "plain")]
    mode: Mode,
    /// Which suites to run when no script is named; by default all.
    #[arg(long, value_enum)]
    suite: Vec<Suite>,
    /// Scripts to run instead.
    scripts: Vec<PathBuf>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcomes = match run(&arguments) {
        Ok(outcomes) => outcomes,
        Err(message) => {
            eprintln!("spec: error: {message}");
            return ExitCode::from(1);
        }
    };
    for outcome in &outcomes {
        println!("{:<50} {:>6} passed {:>4} failed", outcome.name, outcome.passed, outcome.failures.len());
    }
    let surprises = known::compare(arguments.mode, &outcomes);
    for failure in &surprises.unlisted {
        println!("unlisted failure: {failure}");
    }
    for place in &surprises.passing {
        println!("listed as failing, but passes: {place}");
    }
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    let failed: usize = outcomes.iter().map(|outcome| outcome.failures.len()).sum();
    let moves: u64 = outcomes.iter().map(|outcome| outcome.moves).sum();
    if arguments.mode == Mode::Yield {
        println!("{moves} times resumed on another thread");
    }
    println!("{passed} passed, {failed} failed");
    if surprises.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn run(arguments: &Arguments) -> Result<Vec<Outcome>, String> {
    if arguments.scripts.is_empty() {
        let suites = if arguments.suite.is_empty() { &Suite::ALL } else { &*arguments.suite };
        return Ok(suites.iter().flat_map(|&suite| run_suite(suite, arguments.mode)).collect());
    }
    let run_path = |path: &PathBuf| {
        let source = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(run_script(&path.display().to_string(), &source, arguments.mode))
    };
    arguments.scripts.iter().map(run_path).collect()
}
