//! The flags of a test binary: libtest's, with the same names, defaults and messages.
//!
//! Cargo and editors write the arguments after a test binary for libtest. Its stable flags are accepted. Unstable and unknown flags
//! are errors with libtest's message.

use std::num::NonZeroUsize;

use getopts::{Fail, Matches, Options};
use lunatic_executor::{Ignored, Selection};

/// What the arguments ask a test binary to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request {
    /// Show the usage.
    Help(String),
    /// List the tests.
    List { terse: bool },
    /// Run the tests.
    Run(Run),
}

/// How tests are run and shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) threads: NonZeroUsize,
    pub(super) capture: bool,
    pub(super) show_output: bool,
    pub(super) terse: bool,
    pub(super) color: Color,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Color {
    Auto,
    Always,
    Never,
}

/// The environment variables that libtest reads.
#[derive(Clone, Debug, Default)]
pub(super) struct Environment {
    /// `RUST_TEST_THREADS`.
    pub(super) threads: Option<String>,
    /// `RUST_TEST_NOCAPTURE`.
    pub(super) no_capture: Option<String>,
}

impl Environment {
    pub(super) fn of_this_process() -> Environment {
        let value = |name| std::env::var_os(name).map(|value| value.to_string_lossy().into_owned());
        Environment { threads: value("RUST_TEST_THREADS"), no_capture: value("RUST_TEST_NOCAPTURE") }
    }
}

/// Whether the arguments ask for benchmarks instead of tests. Only the program itself may have some.
pub(super) fn wants_benchmarks(arguments: &[String]) -> bool {
    let is_given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    is_given("--bench") && !is_given("--test")
}

/// Parses the arguments of the test binary `program`. An error is libtest's message.
pub(super) fn parse(
    program: &str,
    arguments: &[String],
    environment: &Environment,
) -> Result<(Request, Selection), String> {
    let options = options();
    let matches = options.parse(arguments).map_err(explain)?;
    // Help is answered even if other flags conflict, as in libtest.
    let is_given = |flag: &str| matches.opt_present(flag);
    if is_given("help") {
        let usage = options.usage(&format!("Usage: {program} [OPTIONS] [FILTERS...]"));
        return Ok((Request::Help(usage + HELP), Selection::default()));
    }
    let ignored = match (is_given("include-ignored"), is_given("ignored")) {
        (true, true) => {
            return Err("the options --include-ignored and --ignored are mutually exclusive".into());
        }
        (true, false) => Ignored::Too,
        (false, true) => Ignored::Only,
        (false, false) => Ignored::No,
    };
    let selection = Selection {
        filters: matches.free.clone(),
        skip: matches.opt_strs("skip"),
        exact: is_given("exact"),
        ignored,
    };
    let terse = format(&matches)?;
    let run = Run {
        threads: threads(&matches, environment)?,
        capture: capture(&matches, environment),
        show_output: is_given("show-output"),
        terse,
        color: color(&matches)?,
    };
    let request = if is_given("list") { Request::List { terse } } else { Request::Run(run) };
    Ok((request, selection))
}

fn options() -> Options {
    let mut options = Options::new();
    options
        .optflag("", "include-ignored", "Run ignored and not ignored tests")
        .optflag("", "ignored", "Run only ignored tests")
        .optflag("", "test", "Run tests and not benchmarks")
        .optflag("", "bench", "Run the program's benchmarks instead of tests")
        .optflag("", "list", "List all tests and benchmarks")
        .optflag("h", "help", "Display this message")
        .optflag("", "no-capture", "don't capture stdout/stderr of each task, allow printing directly")
        .optflag("", "nocapture", "the same")
        .optopt("", "test-threads", "Number of threads used for running tests in parallel", "n_threads")
        .optmulti(
            "",
            "skip",
            "Skip tests whose names contain FILTER (this flag can be used multiple times)",
            "FILTER",
        )
        .optflag("q", "quiet", "Display one character per test instead of one line. Alias to --format=terse")
        .optflag("", "exact", "Exactly match filters rather than by substring")
        .optopt(
            "",
            "color",
            "Configure coloring of output: auto if stdout is a terminal",
            "auto|always|never",
        )
        .optopt("", "format", "Configure formatting of output", "pretty|terse")
        .optflag("", "show-output", "Show captured stdout of successful tests");
    options
}

/// Unstable flags of libtest.
const UNSTABLE: [&str; 8] = [
    "force-run-in-process",
    "exclude-should-panic",
    "fail-fast",
    "report-time",
    "ensure-time",
    "shuffle",
    "shuffle-seed",
    "Z",
];

fn explain(failure: Fail) -> String {
    match &failure {
        Fail::UnrecognizedOption(flag) if UNSTABLE.contains(&flag.as_str()) => {
            format!("The \"{flag}\" flag is only accepted on the nightly compiler with -Z unstable-options")
        }
        _ => failure.to_string(),
    }
}

/// The text after the flags in the usage.
const HELP: &str = "
The FILTER string is tested against the name of all tests, and only those
tests whose names contain the filter are run. Multiple filter strings may
be passed, which will run all tests matching any of the filters.
";

fn format(matches: &Matches) -> Result<bool, String> {
    match matches.opt_str("format").as_deref() {
        None => Ok(matches.opt_present("quiet")),
        Some("pretty") => Ok(false),
        Some("terse") => Ok(true),
        Some(format @ ("json" | "junit")) => Err(format!(
            "The \"{format}\" format is only accepted on the nightly compiler with -Z unstable-options"
        )),
        Some(other) => {
            Err(format!("argument for --format must be pretty, terse, json or junit (was {other})"))
        }
    }
}

fn color(matches: &Matches) -> Result<Color, String> {
    match matches.opt_str("color").as_deref() {
        None | Some("auto") => Ok(Color::Auto),
        Some("always") => Ok(Color::Always),
        Some("never") => Ok(Color::Never),
        Some(other) => Err(format!("argument for --color must be auto, always, or never (was {other})")),
    }
}

fn threads(matches: &Matches, environment: &Environment) -> Result<NonZeroUsize, String> {
    // The flag is checked first: with it, an invalid variable is not an error.
    if let Some(given) = matches.opt_str("test-threads") {
        return match given.parse::<usize>().map(NonZeroUsize::new) {
            Ok(Some(threads)) => Ok(threads),
            Ok(None) => Err("argument for --test-threads must not be 0".into()),
            Err(error) => Err(format!("argument for --test-threads must be a number > 0 (error: {error})")),
        };
    }
    match &environment.threads {
        Some(given) => given
            .parse()
            .map_err(|_| format!("RUST_TEST_THREADS is `{given}`, should be a positive integer.")),
        None => Ok(std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)),
    }
}

fn capture(matches: &Matches, environment: &Environment) -> bool {
    let is_off = matches.opt_present("no-capture") || matches.opt_present("nocapture");
    let is_off_by_environment = environment.no_capture.as_ref().is_some_and(|value| value != "0");
    !(is_off || is_off_by_environment)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_line(line: &str) -> Result<(Request, Selection), String> {
        parse_in(line, &Environment::default())
    }

    fn parse_in(line: &str, environment: &Environment) -> Result<(Request, Selection), String> {
        let arguments: Vec<String> = line.split_whitespace().map(ToOwned::to_owned).collect();
        parse("app", &arguments, environment)
    }

    #[track_caller]
    fn run_of(line: &str) -> Run {
        match parse_line(line) {
            Ok((Request::Run(run), _)) => run,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn filters_and_flags_come_in_any_order() {
        let (_, selection) =
            parse_line("a --skip x --exact b --skip=y --ignored -- --list").expect("all of it is known");
        assert_eq!(selection.filters, ["a", "b", "--list"]);
        assert_eq!(selection.skip, ["x", "y"]);
        assert!(selection.exact);
        assert_eq!(selection.ignored, Ignored::Only);
        assert_eq!(parse_line("--include-ignored").unwrap().1.ignored, Ignored::Too);
    }

    #[test]
    fn flags_select_threads_capture_and_format() {
        let run = run_of("--test-threads 3 --nocapture --show-output -q --color always");
        let expected = Run {
            threads: NonZeroUsize::new(3).unwrap(),
            capture: false,
            show_output: true,
            terse: true,
            color: Color::Always,
        };
        assert_eq!(run, expected);
        assert!(!run_of("--no-capture").capture && run_of("").capture);
        assert!(run_of("--format terse").terse && !run_of("-q --format pretty").terse);
        assert_eq!(parse_line("--list").unwrap().0, Request::List { terse: false });
        assert_eq!(parse_line("--list --format=terse").unwrap().0, Request::List { terse: true });
        assert!(matches!(parse_line("-h"), Ok((Request::Help(_), _))));
    }

    #[test]
    fn errors_are_libtests_messages() {
        for (line, error) in [
            ("--foo", "Unrecognized option: 'foo'"),
            ("-x", "Unrecognized option: 'x'"),
            (
                "--fail-fast",
                "The \"fail-fast\" flag is only accepted on the nightly compiler with -Z unstable-options",
            ),
            ("--exact=3", "Option 'exact' does not take an argument"),
            ("-q -q", "Option 'quiet' given more than once"),
            ("--test-threads", "Argument to option 'test-threads' missing"),
            ("--test-threads 0", "argument for --test-threads must not be 0"),
            (
                "--test-threads x",
                "argument for --test-threads must be a number > 0 (error: invalid digit found in string)",
            ),
            ("--format x", "argument for --format must be pretty, terse, json or junit (was x)"),
            (
                "--format json",
                "The \"json\" format is only accepted on the nightly compiler with -Z unstable-options",
            ),
            ("--color x", "argument for --color must be auto, always, or never (was x)"),
            (
                "--ignored --include-ignored",
                "the options --include-ignored and --ignored are mutually exclusive",
            ),
        ] {
            assert_eq!(parse_line(line), Err(error.into()), "{line}");
        }
    }

    #[test]
    fn flags_override_the_environment() {
        let of = |threads: &str, no_capture: &str, line: &str| {
            let environment =
                Environment { threads: Some(threads.into()), no_capture: Some(no_capture.into()) };
            match parse_in(line, &environment) {
                Ok((Request::Run(run), _)) => Ok((run.threads.get(), run.capture)),
                Ok(other) => panic!("{other:?}"),
                Err(error) => Err(error),
            }
        };
        assert_eq!(of("5", "1", ""), Ok((5, false)));
        assert_eq!(of("5", "0", "--test-threads 2"), Ok((2, true)));
        let wrong = Err("RUST_TEST_THREADS is `0`, should be a positive integer.".into());
        assert_eq!(of("0", "0", ""), wrong);
    }

    #[test]
    fn bench_without_test_asks_for_benchmarks() {
        let of = |line: &str| wants_benchmarks(&line.split(' ').map(ToOwned::to_owned).collect::<Vec<_>>());
        assert!(of("--bench") && of("a --bench"));
        assert!(!of("a") && !of("--bench --test"));
    }
}
