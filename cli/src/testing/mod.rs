//! `lunatic-exec` as the runner of `cargo test`: the flags of a test binary, and the report about its tests.
//!
//! The executor finds and runs the tests ([`TestBinary`]). This module has libtest's flags and output format, which users of
//! `cargo test` know and scripts parse.

mod options;
mod report;

use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use lunatic_executor::{Program, Runtime, Selection, TestBinary, TestOptions};

use crate::report::{Failure, escape};

use options::{Color, Environment, Request, Run, parse, wants_benchmarks};
use report::{Report, Style, list};

/// The exit status if a test fails, and for invalid flags.
const FAILED: u8 = 101;

/// The time after which a running test is reported as slow.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a program that was loaded from these bytes runs its tests with these arguments: it is a test binary, and the arguments
/// do not ask for benchmarks, which only the program itself could run.
pub fn runs_tests(program: &Program, bytes: &[u8], arguments: &[String]) -> bool {
    program.is_test_binary(bytes) && !(program.has_start() && wants_benchmarks(arguments))
}

/// Runs or lists the tests of a program that this runtime has loaded from these bytes, as the arguments say. The first argument is
/// the program's name.
///
/// # Errors
///
/// If the tests cannot be found or run at all, or standard output cannot be written.
pub fn run_tests(
    runtime: Runtime,
    program: &Program,
    bytes: &[u8],
    arguments: &[String],
) -> Result<ExitCode, Failure> {
    let (name, arguments) = arguments.split_first().expect("a program has a name");
    let (request, selection) = match parse(name, arguments, &Environment::of_this_process()) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("error: {}", escape(&error));
            return Ok(ExitCode::from(FAILED));
        }
    };
    let run = match request {
        // Help and lists do not run tests, so their status does not depend on any.
        Request::Help(text) => {
            println!("{text}");
            return Ok(ExitCode::SUCCESS);
        }
        Request::List { terse } => {
            let binary = test_binary(runtime, program, bytes)?;
            list(io::stdout().lock(), &selection.choose(binary.tests()), terse).map_err(unwritten)?;
            return Ok(ExitCode::SUCCESS);
        }
        Request::Run(run) => run,
    };
    run_chosen(&test_binary(runtime, program, bytes)?, &run, &selection)
}

fn run_chosen(binary: &TestBinary, run: &Run, selection: &Selection) -> Result<ExitCode, Failure> {
    let tests = selection.choose(binary.tests());
    let filtered_out = binary.tests().len() - tests.len();
    let started = Instant::now();
    let mut report = Report::begin(io::stdout(), style(run), tests.len()).map_err(unwritten)?;
    let options = TestOptions { threads: run.threads, capture: run.capture, patience: PATIENCE };
    let mut written = Ok(());
    let ran = binary.run(&tests, options, |event| {
        // After a failed write, nothing more is written; the error is returned below.
        if written.is_ok() {
            written = report.tell(event);
        }
    });
    ran.map_err(|error| Failure { place: "tests".into(), cause: error.into() })?;
    written.map_err(unwritten)?;
    let is_success = report.end(filtered_out, started.elapsed()).map_err(unwritten)?;
    Ok(if is_success { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

fn test_binary(runtime: Runtime, program: &Program, bytes: &[u8]) -> Result<TestBinary, Failure> {
    TestBinary::new(runtime, program, bytes)
        .map_err(|error| Failure { place: "tests".into(), cause: error.into() })
}

fn style(run: &Run) -> Style {
    let color = match run.color {
        // Without capturing, the tests' own output is between the lines, and colours would run into it.
        Color::Auto => run.capture && io::stdout().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    Style {
        terse: run.terse,
        color,
        one_at_a_time: run.threads.get() == 1,
        show_output: run.show_output,
        patience: PATIENCE,
    }
}

fn unwritten(error: io::Error) -> Failure {
    Failure { place: "stdout".into(), cause: error.into() }
}
