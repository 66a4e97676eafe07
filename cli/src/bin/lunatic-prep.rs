//! `lunatic-prep`: makes a WebAssembly module preemptible.
//!
//! Arguments in, one call of [`lunatic_instrument`], the result to a file. Exit status: 0 if it was done, 1 if the
//! file cannot be used or written, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lunatic_cli::{Failure, escape, fail, read_input, write_output};
use lunatic_instrument::{Options, Report, Stats, prepare, verify};

/// Make a WebAssembly module preemptible, so that lunatic-exec can run many of it side by side.
#[derive(Debug, Parser)]
#[command(name = COMMAND, version)]
struct Arguments {
    /// The module to prepare, `-` for stdin
    #[arg(value_name = "APP.wasm")]
    input: PathBuf,
    /// Where to write it, `-` for stdout [default: beside the input, as .lwasm; stdout for stdin]
    #[arg(short, long, value_name = "APP.lwasm", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Print to stderr what was done
    #[arg(long)]
    stats: bool,
    /// Write nothing: check that the file is a prepared module, and say where it is not
    #[arg(long)]
    check: bool,
}

const COMMAND: &str = "lunatic-prep";

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = if arguments.check { check(&arguments) } else { prepare_file(&arguments) };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => fail(COMMAND, &failure),
    }
}

fn prepare_file(arguments: &Arguments) -> Result<(), Failure> {
    let input = &arguments.input;
    let wasm = read_input(input)?;
    let start = Instant::now();
    let prepared =
        prepare(&wasm, &Options::default()).map_err(|error| Failure::new(input, "stdin", error))?;
    let time = start.elapsed();
    let output = arguments.output.clone().unwrap_or_else(|| beside(input));
    write_output(&output, &prepared.bytes)?;
    if arguments.stats {
        eprint!("{}", stats_table(&prepared.stats, time));
    }
    Ok(())
}

fn check(arguments: &Arguments) -> Result<(), Failure> {
    let input = &arguments.input;
    let wasm = read_input(input)?;
    let report = verify(&wasm).map_err(|error| Failure::new(input, "stdin", error))?;
    if arguments.stats {
        eprint!("{}", report_table(&report));
    }
    Ok(())
}

/// Where the output goes if nothing is said: `app.wasm` becomes `app.lwasm`, stdin becomes stdout.
fn beside(input: &Path) -> PathBuf {
    if input == Path::new("-") { input.to_path_buf() } else { input.with_extension("lwasm") }
}

fn stats_table(stats: &Stats, time: Duration) -> String {
    let growth = 100.0 * (stats.size_after as f64 / stats.size_before.max(1) as f64 - 1.0);
    let mut rows = vec![
        ("functions", stats.functions.to_string()),
        ("loops", stats.loops.to_string()),
        ("charges", stats.charges.to_string()),
        ("largest charge", format!("{} reductions", stats.bound)),
        ("size before", format!("{} bytes", stats.size_before)),
        ("size after", format!("{} bytes ({growth:+.1} %)", stats.size_after)),
        ("time", format!("{:.1} ms", time.as_secs_f64() * 1e3)),
    ];
    rows.extend(stats.dropped_sections.iter().map(|name| ("section left out", escape(name))));
    if stats.already_prepared {
        rows.push(("note", "was prepared already: verified and left as it is".to_owned()));
    }
    table(&rows)
}

fn report_table(report: &Report) -> String {
    table(&[
        ("functions", report.functions.to_string()),
        ("loops", report.loops.to_string()),
        ("charges", report.charges.to_string()),
        ("largest charge", format!("{} reductions", report.bound)),
        ("declared", format!("{} reductions", report.manifest.bound)),
    ])
}

fn table(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name:<17} {value}\n")).collect()
}
