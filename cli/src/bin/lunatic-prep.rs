//! `lunatic-prep`: makes a WebAssembly module preemptible.
//!
//! The command parses its arguments, calls [`lunatic_instrument`] once and writes the result to a file. Exit statuses: 0 for
//! success, 1 if a file cannot be used or written, 2 for wrong usage.
#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use lunatic_cli::{Failure, Progress, escape, fail, read_input, write_output};
use lunatic_instrument::{Options, Report, Stats, prepare_with_progress, verify};

/// Make a WebAssembly module preemptible, so that lunatic-exec can run many of its processes side by side.
///
/// Inserts a charge at each function entry and loop, and verifies that every path is paid for.
#[derive(Debug, Parser)]
#[command(name = COMMAND, version)]
struct Arguments {
    /// The module to prepare, - for stdin
    #[arg(value_name = "APP.wasm")]
    input: PathBuf,
    /// Where to write the result, - for stdout
    ///
    /// By default, a file next to the input with the extension .lwasm; stdout if the input is stdin.
    #[arg(short, long, value_name = "APP.lwasm", conflicts_with = "check")]
    output: Option<PathBuf>,
    /// Print statistics to stderr
    #[arg(long)]
    stats: bool,
    /// Write the result as text, by default to stdout
    #[arg(long, conflicts_with = "check")]
    wat: bool,
    /// Verify a prepared module and write nothing
    ///
    /// If the module is not prepared correctly, the error names the place.
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
    let mut progress = Progress::new("preparing");
    let prepared = prepare_with_progress(&wasm, &Options::default(), &mut |done, all| {
        progress.update(done, all);
        true
    });
    drop(progress);
    let prepared = prepared.map_err(|error| Failure::new(input, "stdin", error))?;
    let time = start.elapsed();
    if arguments.wat {
        let output = arguments.output.as_deref().unwrap_or(Path::new("-"));
        let text = wasmprinter::print_bytes(&prepared.bytes);
        let text = text.map_err(|error| Failure::new(input, "stdin", format!("{error:#}")))?;
        write_output(output, text.as_bytes())?;
    } else {
        let output = arguments.output.clone().unwrap_or_else(|| beside(input));
        write_output(&output, &prepared.bytes)?;
    }
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

/// The default output: `app.lwasm` for `app.wasm`, stdout for stdin.
fn beside(input: &Path) -> PathBuf {
    if input == Path::new("-") { input.to_path_buf() } else { input.with_extension("lwasm") }
}

fn stats_table(stats: &Stats, time: Duration) -> String {
    let growth = 100.0 * (stats.size_after as f64 / stats.size_before.max(1) as f64 - 1.0);
    let added = stats.long_paths + stats.returns + stats.handlers;
    let mut rows = vec![
        ("functions", stats.functions.to_string()),
        ("loops", stats.loops.to_string()),
        ("unrolled", format!("{} loops, so that one charge pays for several rounds", stats.unrolled)),
        ("charges", stats.charges.to_string()),
        ("  at entries", (stats.charges - added).to_string()),
        ("  on long paths", stats.long_paths.to_string()),
        ("  after calls", stats.returns.to_string()),
        ("  in handlers", stats.handlers.to_string()),
        ("bound", bound(stats.bound, stats.return_bound)),
        ("size before", format!("{} bytes", stats.size_before)),
        ("size after", format!("{} bytes ({growth:+.1} %)", stats.size_after)),
        ("time", format!("{:.1} ms", time.as_secs_f64() * 1e3)),
    ];
    rows.extend(stats.dropped_sections.iter().map(|name| ("removed section", escape(name))));
    if stats.already_prepared {
        // The original module is not known, so these numbers are not, either.
        rows.retain(|(name, _)| {
            !["unrolled", "  at entries", "  on long paths", "  after calls", "  in handlers"].contains(name)
        });
        rows.push(("note", "was already prepared: verified and left unchanged".to_owned()));
    }
    table(&rows)
}

fn report_table(report: &Report) -> String {
    table(&[
        ("functions", report.functions.to_string()),
        ("loops", report.loops.to_string()),
        ("charges", report.charges.to_string()),
        ("bound", bound(report.bound, report.return_bound)),
        ("declared", bound(report.manifest.bound, report.manifest.return_bound)),
    ])
}

/// Formats the most work between two charges.
fn bound(bound: u32, return_bound: u32) -> String {
    format!("{bound} reductions between two charges, and {return_bound} more for each call that returns")
}

fn table(rows: &[(&str, String)]) -> String {
    rows.iter().map(|(name, value)| format!("{name:<17} {value}\n")).collect()
}
