//! `lunatic-exec` with a test binary: which tests it finds, its report, and its exit status. The modules are written by hand, to
//! cover cases that a compiler would not produce. Real projects are in `tests/tests/cargo.rs`.

mod common;

use std::path::Path;
use std::process::{Command, Output};

use common::{error_of, with_app};

/// Tests that pass, fail, panic in the old and in the new way, divide by zero, and exit.
const TESTS: &str = r##"(module
    (memory (export "memory") 1)
    (data (i32.const 100) "out\n")
    (data (i32.const 200) "thread 'main' panicked at 'old # way', src/lib.rs:1:2\n")
    ;; As the language's harness leaves it in a test binary. This one has no tests of its own.
    (data (i32.const 500) "RUST_TEST_THREADS")
    (data (i32.const 300) "\nthread '<unnamed>' (1) panicked at src/lib.rs:1:2:\nnew\nway\n")
    (func $write (param $to i32) (param $text i32) (param $length i32)
        (i32.store (i32.const 0) (local.get $text))
        (i32.store (i32.const 4) (local.get $length))
        (drop (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 16))))
    (func $old (call $write (i32.const 2) (i32.const 200) (i32.const 54)) (unreachable))
    (func $new (call $write (i32.const 2) (i32.const 300) (i32.const 60)) (unreachable))
    (func $named
        (if (i32.eqz (call $get (i32.const 100) (i32.const 3) (i32.const 400) (i32.const 408))) (then (unreachable)))
        (call $put (i32.const 100) (i32.const 3) (i64.const 0) (call $me))
        (call $sleep (i64.const 100)))
    (func (export "_start") (call $write (i32.const 1) (i32.const 100) (i32.const 4)))
    (func (export "#lunatic_test_k::passes"))
    (func (export "#lunatic_test_k::prints") (call $write (i32.const 1) (i32.const 100) (i32.const 4)))
    (func (export "#lunatic_test_k::named") (call $named))
    (func (export "#lunatic_test_k::named_too") (call $named))
    (func (export "#lunatic_test_#ignore_k::ignored"))
    (func (export "#lunatic_test_#panic_#k::panics") (unreachable))
    (func (export "#lunatic_test_#panic_old \\# w#k::panics_old") (call $old))
    (func (export "#lunatic_test_#panic_new\nway#k::panics_new") (call $new))
    (func (export "#lunatic_test_#panic_divide by zero#k::panics_trap")
        (drop (i32.div_s (i32.const 1) (i32.const 0))))
    (func (export "#lunatic_test_#ignore_k::fails_trap") (unreachable))
    (func (export "#lunatic_test_#ignore_k::fails_exit") (call $exit (i32.const 3)))
    (func (export "#lunatic_test_#ignore_#panic_#k::fails_no_panic"))
    (func (export "#lunatic_test_#ignore_#panic_#k::fails_exit_is_no_panic") (call $exit (i32.const 1)))
    (func (export "#lunatic_test_#ignore_#panic_other#k::fails_other") (call $new))
    (func (export "#lunatic_test_k::no_test_for_it_takes_something") (param i32))
    (func (export "lunatic_test_k::no_test")))"##;

fn command(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = common::command(env!("CARGO_BIN_EXE_lunatic-exec"), directory, arguments);
    command.env_remove("RUST_TEST_THREADS").env_remove("RUST_TEST_NOCAPTURE");
    command
}

/// Runs the tests with these flags. Returns the status and the report without its time.
fn run(flags: &[&str]) -> (i32, String) {
    let directory = with_app(TESTS);
    let output = command(directory.path(), &[&["app.wasm"], flags].concat()).output().expect("it starts");
    (output.status.code().expect("no signal"), words(&output))
}

fn words(output: &Output) -> String {
    let text = String::from_utf8(output.stdout.clone()).expect("UTF-8");
    let lines = text.split_inclusive('\n').map(|line| match line.split_once("; finished in ") {
        Some((rest, time)) => {
            assert!(time.ends_with("s\n") && time.len() < 10, "{time}");
            format!("{rest}\n")
        }
        None => line.to_owned(),
    });
    lines.collect()
}

#[track_caller]
fn assert_runs(flags: &[&str], status: i32, expected: &str) {
    let (ended, said) = run(flags);
    assert_eq!(said, expected, "{flags:?}");
    assert_eq!(ended, status, "{flags:?}");
}

#[test]
fn tests_run_in_the_order_of_their_names() {
    let expected = "
running 14 tests
test k::fails_exit ... ignored
test k::fails_exit_is_no_panic ... ignored
test k::fails_no_panic ... ignored
test k::fails_other ... ignored
test k::fails_trap ... ignored
test k::ignored ... ignored
test k::named ... ok
test k::named_too ... ok
test k::panics - should panic ... ok
test k::panics_new - should panic ... ok
test k::panics_old - should panic ... ok
test k::panics_trap - should panic ... ok
test k::passes ... ok
test k::prints ... ok

test result: ok. 8 passed; 0 failed; 6 ignored; 0 measured; 0 filtered out

";
    assert_runs(&["--test-threads", "1"], 0, expected);
}

#[test]
fn concurrent_tests_share_no_state() {
    // Each of the two registers the same name, and keeps it for a while.
    let (status, said) = run(&["--test-threads=2", "named"]);
    assert_eq!(status, 0, "{said}");
    assert!(said.contains("test k::named ... ok\n") && said.contains("test k::named_too ... ok\n"), "{said}");
    assert!(said.contains("test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 12 filtered out\n"));
}

#[test]
fn failures_are_shown_with_output_and_reason() {
    let (status, said) = run(&["--ignored", "--test-threads", "1", "--skip", "ignored"]);
    assert_eq!(status, 101);
    let (outputs, names) = said.split_once("\n\nfailures:\n    ").expect("the names at the end");
    assert_eq!(
        names,
        "k::fails_exit
    k::fails_exit_is_no_panic
    k::fails_no_panic
    k::fails_other
    k::fails_trap

test result: FAILED. 0 passed; 5 failed; 0 ignored; 0 measured; 9 filtered out

"
    );
    for expected in [
        "\nfailures:\n\n---- k::fails_exit stdout ----\nnote: the test's process ended with status 3\n",
        "---- k::fails_exit_is_no_panic stdout ----\nnote: test did not panic as expected: its process ended with \
         status 1\n",
        "---- k::fails_no_panic stdout ----\nnote: test did not panic as expected\n----",
        "new\nway\nprocess 1 ",
        "note: panic did not contain expected string\n      panic message: \"new\\nway\"\n expected substring: \
         \"other\"\n",
        "---- k::fails_trap stdout ----\nprocess 1 (#lunatic_test_#ignore_k::fails_trap) trapped: unreachable\n",
    ] {
        assert!(outputs.contains(expected), "{expected}\n----\n{outputs}");
    }
}

#[test]
fn output_is_shown_with_the_flags_for_it() {
    let passed = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 13 filtered out\n\n";
    let line = "\nrunning 1 test\ntest k::prints ... ok\n\n";
    assert_runs(&["prints"], 0, &format!("{line}{passed}"));
    let shown = "successes:\n\n---- k::prints stdout ----\nout\n\n\nsuccesses:\n    k::prints\n\n";
    assert_runs(&["prints", "--show-output"], 0, &format!("{line}{shown}{passed}"));
    let alone = "\nrunning 1 test\ntest k::prints ... out\nok\n\n";
    assert_runs(&["prints", "--nocapture", "--test-threads=1"], 0, &format!("{alone}{passed}"));
    let before = "\nrunning 1 test\nout\ntest k::prints ... ok\n\n";
    assert_runs(&["prints", "--no-capture", "--test-threads=2"], 0, &format!("{before}{passed}"));
    // A panic is detected nevertheless.
    let (status, said) = run(&["panics_", "--nocapture"]);
    assert!(status == 0 && said.contains("3 passed"), "{said}");
}

#[test]
fn the_environment_selects_output_and_threads() {
    let directory = with_app(TESTS);
    let with = |name: &str, value: &str| {
        let mut command = command(directory.path(), &["app.wasm", "prints"]);
        let output = command.env(name, value).output().expect("it starts");
        (output.status.code(), words(&output), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(with("RUST_TEST_NOCAPTURE", "1").1.contains("\nout\n"));
    assert!(!with("RUST_TEST_NOCAPTURE", "0").1.contains("\nout\n"));
    assert_eq!(with("RUST_TEST_THREADS", "1").0, Some(0));
    let (status, said, error) = with("RUST_TEST_THREADS", "none");
    assert_eq!((status, said.as_str()), (Some(101), ""));
    assert_eq!(error, "error: RUST_TEST_THREADS is `none`, should be a positive integer.\n");
}

#[test]
fn filters_match_names_with_and_without_the_crate() {
    for flags in [&["--exact", "k::passes"], &["--exact", "passes"], &["k::passes", "--test"]] {
        let (status, said) = run(flags);
        assert!(
            status == 0 && said.contains("1 passed; 0 failed; 0 ignored; 0 measured; 13 filtered"),
            "{said}"
        );
    }
    let (status, said) = run(&["nothing of this name"]);
    let nothing =
        "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 14 filtered out";
    assert_eq!((status, said), (0, format!("{nothing}\n\n")));
}

#[test]
fn the_terse_format_has_a_character_per_test() {
    let flags = ["-q", "--include-ignored", "--test-threads=1", "--skip", "named", "--skip", "exit"];
    let (status, said) = run(&flags);
    assert_eq!(status, 101);
    let (progress, _) = said.split_once("\nfailures:\n").expect("there are some");
    let failed = "k::fails_no_panic --- FAILED\nk::fails_other --- FAILED\nk::fails_trap --- FAILED\n";
    assert_eq!(progress, format!("\nrunning 10 tests\n{failed}......."));
    assert_eq!(run(&[&flags[1..], &["--format", "terse"]].concat()).1, said);
}

#[test]
fn lines_of_the_terse_format_are_wrapped() {
    let tests: String = (0..90).map(|n| format!("(func (export \"#lunatic_test_t{n:02}\"))\n")).collect();
    let directory = with_app(&format!("(module {tests})"));
    let output = command(directory.path(), &["app.wasm", "-q"]).output().expect("it starts");
    let end = "\ntest result: ok. 90 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out\n\n";
    assert_eq!(words(&output), format!("\nrunning 90 tests\n{} 87/90\n...{end}", ".".repeat(87)));
}

#[test]
fn tests_are_listed() {
    let passing = "k::named: test\nk::named_too: test\n";
    assert_runs(&["--list", "named"], 0, &format!("{passing}\n2 tests, 0 benchmarks\n"));
    for terse in [&["--list", "named", "--format", "terse"][..], &["--list", "-q", "named"]] {
        assert_runs(terse, 0, passing);
    }
    assert_runs(&["--list", "--ignored", "ignored"], 0, "k::ignored: test\n\n1 test, 0 benchmarks\n");
    assert_runs(&["--list", "nothing"], 0, "0 tests, 0 benchmarks\n");
}

#[test]
fn names_of_tests_cannot_write_to_the_terminal() {
    let directory = with_app("(module (func (export \"#lunatic_test_k::a\\nb\\1b[31m\") unreachable))");
    for flags in [&["--list"][..], &[], &["-q"]] {
        let output = command(directory.path(), &[&["app.wasm"], flags].concat()).output().expect("it starts");
        let said = words(&output);
        assert!(said.contains("k::a\\nb\\u{1b}[31m") && !said.contains('\x1b'), "{said:?}");
    }
}

#[test]
fn colours_are_used_on_terminals_only() {
    let (_, said) = run(&["passes"]);
    assert!(!said.contains('\x1b'), "{said:?}");
    let (_, said) = run(&["passes", "--color=always"]);
    assert!(said.contains("... \x1b[32mok\x1b[0m\n"), "{said:?}");
    assert!(said.contains("test result: \x1b[32mok\x1b[0m. 1 passed"), "{said:?}");
    let (_, said) = run(&["fails_trap", "--ignored", "--color", "always"]);
    assert!(said.contains("... \x1b[31mFAILED\x1b[0m\n"), "{said:?}");
    let (_, said) = run(&["ignored", "--color", "always"]);
    assert!(said.contains("... \x1b[33mignored\x1b[0m\n"), "{said:?}");
}

#[test]
fn unknown_flags_are_errors() {
    let directory = with_app(TESTS);
    for (flag, error) in
        [("--foo", "Unrecognized option: 'foo'"), ("--workers", "Unrecognized option: 'workers'")]
    {
        let output = command(directory.path(), &["app.wasm", flag]).output().expect("it starts");
        assert_eq!(error_of(&output, 101), format!("error: {error}"));
    }
    let (status, said) = run(&["--help"]);
    assert!(status == 0 && said.starts_with("Usage: app.wasm [OPTIONS] [FILTERS...]\n"), "{said}");
}

/// A program may contain the tests of a library: published libraries leave theirs in all programs that use them.
#[test]
fn a_program_with_the_tests_of_a_library_runs_as_a_program() {
    let directory = with_app(&TESTS.replace("RUST_TEST_THREADS", "there is no harness"));
    let output = command(directory.path(), &["app.wasm", "passes"]).output().expect("it starts");
    assert_eq!((words(&output).as_str(), output.status.code()), ("out\n", Some(0)));
}

#[test]
fn bench_runs_the_program() {
    assert_runs(&["--bench"], 0, "out\n");
    let (_, said) = run(&["--bench", "--test", "passes"]);
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn limits_apply_to_each_test() {
    let directory = with_app(TESTS);
    let arguments = ["--max-processes", "1", "--max-reductions", "100000", "app.wasm", "--test-threads=4"];
    let output = command(directory.path(), &arguments).output().expect("it starts");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Without libtest, which would be asked for its tests first, and would not have enough memory for that.
    let directory = with_app(&TESTS.replace("_start", "no_start"));
    let arguments = ["--max-total-memory", "1KiB", "app.wasm", "passes"];
    let output = command(directory.path(), &arguments).output().expect("it starts");
    assert!(output.status.code() == Some(101) && words(&output).contains("exceeded its limit"), "{output:?}");
}

#[test]
fn a_module_without_tests_runs_as_a_program() {
    let directory = with_app(&TESTS.replace("#lunatic_test_", "#lunatic_tost_"));
    let output = command(directory.path(), &["app.wasm", "--list"]).output().expect("it starts");
    assert_eq!((output.status.code(), words(&output).as_str()), (Some(0), "out\n"));
}

#[test]
fn a_simulation_refuses_a_test_binary() {
    let directory = with_app(TESTS);
    let output = command(directory.path(), &["--seed", "1", "app.wasm"]).output().expect("it starts");
    assert!(error_of(&output, 1).ends_with("this is a test binary: run it without seeds"));
}
