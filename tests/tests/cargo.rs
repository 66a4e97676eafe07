//! `lunatic-exec` as Cargo's runner: `cargo run`, `cargo test` and `cargo bench` in a guest's project. Its test report is compared
//! with libtest's own for the same tests on the host.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use lunatic_tests::commands::{command, stderr, stdout};
use lunatic_tests::guests::{TARGET, cargo, install_target, test_binary};

const PROJECT: &str = "tests/guests/tested";

/// After this number of seconds, builds included, a command is killed, so that a test fails instead of hanging.
const PATIENCE: &str = "600";

/// Runs Cargo in the project, with the runner that a user sets in `.cargo/config.toml`.
fn cargo_with_runner(arguments: &[&str], more: &[&str]) -> Output {
    install_target();
    let cargo = cargo(PROJECT, &[arguments, &["--target", TARGET]].concat());
    let mut limited = Command::new("timeout");
    limited.arg(PATIENCE).arg(cargo.get_program()).args(cargo.get_args()).args(more);
    limited.env("CARGO_TARGET_WASM32_WASIP1_RUNNER", command("lunatic-exec").get_program());
    limited.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS").env_remove("RUST_TEST_THREADS");
    limited.output().expect("it runs")
}

#[test]
fn cargo_test_runs_all_of_a_projects_tests() {
    let output = cargo_with_runner(&["test"], &[]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(0), "{said}{}", stderr(&output));
    for line in [
        "test test_tested::cases::passes ... ok",
        "test test_tested::cases::panics_as_expected - should panic ... ok",
        "test test_tested::processes::takes_the_name ... ok",
        "test test_tested::processes::takes_the_same_name ... ok",
        "test test_tested::processes::dies_by_a_link - should panic ... ok",
        "test test_tested::processes::fails_by_a_result ... ignored",
        "test mixed::of_lunatic ... ok",
        "test ordinary ... ok",
        "test adds ... ok",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}\n----\n{said}");
    }
    assert!(
        said.contains("test result: ok. 10 passed; 0 failed; 7 ignored; 0 measured; 0 filtered out"),
        "{said}"
    );
}

#[test]
fn cargo_test_fails_if_a_test_does() {
    let output = cargo_with_runner(&["test", "--lib"], &["--", "fails", "--ignored"]);
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(101), "{said}{}", stderr(&output));
    assert!(said.contains("test result: FAILED. 0 passed; 6 failed; 0 ignored"), "{said}");
    assert!(
        said.contains("the test returned a value indicating failure (Err(\"what the test returns\"))"),
        "{said}"
    );
    assert!(said.contains("note: the test's process ended with status 3"), "{said}");
    let again = cargo_with_runner(&["test", "--lib", "cases::passes"], &["--", "--exact"]);
    assert!(again.status.success() && stdout(&again).contains("\nrunning 1 test\n"), "{}", stdout(&again));
}

#[test]
fn cargo_run_runs_the_program_with_its_arguments() {
    let output = cargo_with_runner(&["run", "--quiet"], &["--", "--list", "--workers", "x"]);
    assert_eq!(stdout(&output), "[\"--list\", \"--workers\", \"x\"]\n", "{}", stderr(&output));
}

#[test]
fn cargo_bench_runs_the_benchmarks() {
    let output = cargo_with_runner(&["bench", "--quiet", "--bench", "bench"], &["--", "one"]);
    assert_eq!(stdout(&output), "measured: [\"one\", \"--bench\"]\n", "{}", stderr(&output));
}

/// The project's unit tests, for the guest and for the host.
fn unit_tests() -> &'static (PathBuf, PathBuf) {
    static BINARIES: OnceLock<(PathBuf, PathBuf)> = OnceLock::new();
    BINARIES.get_or_init(|| {
        let on_host = test_binary(PROJECT, &["--lib"], "test_tested");
        (test_binary(PROJECT, &["--lib", "--target", TARGET], "test_tested"), on_host)
    })
}

/// The part of a report that does not depend on the runner: without thread names, times, the number of other tests, and what the
/// runtime and the host's harness add to a panic.
fn comparable(said: &str) -> String {
    let mut lines = Vec::new();
    for line in said.lines() {
        let is_added =
            line.starts_with("process 1 (") || line.starts_with("note: run with `RUST_BACKTRACE=1`");
        let is_frame =
            line.trim_start().split(':').next().is_some_and(|number| number.parse::<u32>().is_ok());
        if is_added || is_frame {
            continue;
        }
        let line = line.replace("test_tested::", "");
        let line = line.split(" measured; ").next().expect("a part").to_owned();
        let line = line.split(" as expected at ").next().expect("a part").replace(" as expected", "");
        lines.push(match line.split_once(" panicked at ") {
            Some((thread, place)) if thread.starts_with("thread '") => format!("panicked at {place}"),
            _ => line,
        });
    }
    lines.join("\n")
}

#[test]
fn the_report_of_tests_is_libtests() {
    let (guest, host) = unit_tests();
    // Compiled once instead of for each set of flags.
    let cache = tempfile::tempdir().expect("a temporary directory");
    let run = |program: &Path, before: &[&Path], flags: &str| {
        let mut command = Command::new("timeout");
        command.arg("60").arg(program).args(before).args(flags.split_whitespace());
        command.env("RUST_BACKTRACE", "0").env_remove("RUST_TEST_THREADS").env_remove("HOME");
        let output = command.output().expect("it runs");
        let said = format!("{}----\n{}", comparable(&stdout(&output)), comparable(&stderr(&output)));
        (output.status.code(), said)
    };
    let exec = command("lunatic-exec");
    let before = [Path::new("--cache-dir"), cache.path(), guest];
    for flags in [
        "cases --test-threads 1",
        "cases --test-threads 1 --include-ignored",
        "cases --test-threads 1 --include-ignored -q",
        "cases --test-threads 1 --show-output",
        "cases::f --test-threads 1 --ignored --show-output",
        "cases::prints --test-threads 1 --nocapture",
        "cases::fails_with --test-threads 1 --nocapture --ignored",
        "cases::fails_by_no --test-threads 1 --nocapture --ignored",
        "cases::passes cases::prints --skip prints",
        "cases::passes --exact",
        "cases::pass --exact",
        "nothing",
        "nothing -q",
        "--list cases",
        "--list cases --format terse",
        "--list cases --ignored -q",
        "--list nothing",
        "--unknown",
        "-x",
        "--test-threads 0",
        "--test-threads many",
        "--test-threads",
        "--format nice",
        "--format json",
        "--color pink",
        "--ignored --include-ignored",
        "--shuffle",
        "--quiet -q",
        "cases::passes -- --not-an-option",
    ] {
        let (expected, said) = (run(host, &[], flags), run(Path::new(exec.get_program()), &before, flags));
        assert_eq!(said, expected, "{flags}");
    }
}

#[test]
fn ordinary_tests_run_beside_lunatic_tests() {
    let binary = test_binary(PROJECT, &["--test", "mixed", "--target", TARGET], "mixed");
    let output =
        command("lunatic-exec").arg(binary).args(["--include-ignored", "--test-threads", "1"]).output();
    let output = output.expect("it runs");
    let said = stdout(&output);
    assert_eq!(output.status.code(), Some(101), "{said}");
    let begin = "
running 6 tests
test mixed::of_lunatic ... ok
test ordinary ... ok
test ordinary_and_fails ... FAILED
test ordinary_and_ignored ... ok
test ordinary_and_returns_an_error ... FAILED
test ordinary_and_should_panic ... ignored

failures:

---- ordinary_and_fails stdout ----
before
";
    assert!(said.starts_with(begin), "{said}");
    assert!(
        said.contains("---- ordinary_and_returns_an_error stdout ----\nError: \"what it returns\"\n\n"),
        "{said}"
    );
    assert!(
        said.contains("test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out"),
        "{said}"
    );
}
