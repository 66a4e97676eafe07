//! `lunatic-prep` as a user sees it: exit status, messages, files.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use common::{directory, error_of, feed, find, wasm, with_app};
use lunatic_instrument::{is_prepared, verify};

const SPIN: &str = "(module (func (export \"_start\") (loop (br 0))))";

fn command(directory: &Path, arguments: &[&str]) -> Command {
    common::command(env!("CARGO_BIN_EXE_lunatic-prep"), directory, arguments)
}

fn run(directory: &Path, arguments: &[&str]) -> Output {
    command(directory, arguments).output().expect("the command starts")
}

fn run_with_stdin(directory: &Path, arguments: &[&str], stdin: &[u8]) -> Output {
    feed(command(directory, arguments), stdin)
}

/// The names in a directory.
fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory is there");
    let mut names: Vec<_> =
        entries.map(|entry| entry.expect("readable").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn the_default_output_is_next_to_the_input() {
    let directory = with_app(SPIN);
    let output = run(directory.path(), &["app.wasm"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    assert_eq!(names(directory.path()), ["app.lwasm", "app.wasm"]);
    let prepared = fs::read(directory.path().join("app.lwasm")).expect("written");
    assert_eq!(verify(&prepared).expect("prepared").loops, 1);
}

#[test]
fn the_output_goes_to_the_given_file() {
    let directory = with_app(SPIN);
    assert!(run(directory.path(), &["app.wasm", "-o", "other.bin"]).status.success());
    assert_eq!(names(directory.path()), ["app.wasm", "other.bin"]);
    // An existing file is replaced.
    fs::write(directory.path().join("other.bin"), "old").expect("written");
    assert!(run(directory.path(), &["app.wasm", "--output", "other.bin"]).status.success());
    assert!(is_prepared(&fs::read(directory.path().join("other.bin")).expect("there")));
}

#[test]
fn a_dash_is_a_standard_stream() {
    let directory = with_app(SPIN);
    let piped = run_with_stdin(directory.path(), &["-"], &wasm(SPIN));
    assert!(piped.status.success() && is_prepared(&piped.stdout), "{piped:?}");
    let to_file = run_with_stdin(directory.path(), &["-", "-o", "out.lwasm"], &wasm(SPIN));
    assert!(to_file.status.success() && to_file.stdout.is_empty(), "{to_file:?}");
    assert_eq!(fs::read(directory.path().join("out.lwasm")).expect("written"), piped.stdout);
    let from_file = run(directory.path(), &["app.wasm", "-o", "-"]);
    assert_eq!(from_file.stdout, piped.stdout);
}

#[cfg(unix)]
#[test]
fn the_output_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let directory = with_app(SPIN);
    assert!(run(directory.path(), &["app.wasm"]).status.success());
    let mode = |name| fs::metadata(directory.path().join(name)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("app.lwasm"), mode("app.wasm"), "both were made under the same umask");
}

#[test]
fn preparing_twice_changes_nothing() {
    let directory = with_app(SPIN);
    assert!(run(directory.path(), &["app.wasm"]).status.success());
    let again = run(directory.path(), &["app.lwasm", "-o", "again.lwasm", "--stats"]);
    assert!(again.status.success(), "{again:?}");
    let read = |name| fs::read(directory.path().join(name)).expect("there");
    assert_eq!(read("app.lwasm"), read("again.lwasm"));
    assert!(String::from_utf8_lossy(&again.stderr).contains("already prepared"), "{again:?}");
}

#[test]
fn stats_are_a_table_on_stderr() {
    let directory = with_app(r#"(module (func (loop (br 0))) (@custom "linking" "\02"))"#);
    let output = run(directory.path(), &["app.wasm", "--stats"]);
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let table = String::from_utf8_lossy(&output.stderr);
    for row in [
        "functions         1",
        "loops             1",
        "charges           2",
        "  after calls     0",
        "removed section   linking",
    ] {
        assert!(table.contains(row), "{row} in\n{table}");
    }
}

#[test]
fn the_bound_is_printed() {
    let directory = with_app("(module (func $f (call $f) (drop (i32.const 1))))");
    let output = run(directory.path(), &["app.wasm", "--stats"]);
    let bound = "bound             2 reductions between two charges, and 1 more for each call that returns";
    assert!(String::from_utf8_lossy(&output.stderr).contains(bound), "{output:?}");
    let output = run(directory.path(), &["app.lwasm", "--check", "--stats"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains(bound), "{output:?}");
}

#[test]
fn wat_prints_the_result_as_text() {
    let directory = with_app(SPIN);
    let output = run(directory.path(), &["app.wasm", "--wat"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    assert!(text.starts_with("(module") && text.contains("\"lunatic::metering\" \"charge\""), "{text}");
    assert_eq!(names(directory.path()), ["app.wasm"]);
    assert!(is_prepared(&wasm(&text)), "it is the module itself");
    assert!(run(directory.path(), &["app.wasm", "--wat", "-o", "app.wat"]).status.success());
    assert_eq!(fs::read_to_string(directory.path().join("app.wat")).expect("written"), text);
}

#[test]
fn no_progress_bar_is_drawn_without_a_terminal() {
    // Enough code to take longer than a bar needs to appear.
    let work = "(drop (i32.div_u (i32.const 1) (i32.const 2)))".repeat(2_000);
    let functions: String = (0..100).map(|_| format!("(func {work})")).collect();
    let directory = with_app(&format!("(module {functions})"));
    let output = run(directory.path(), &["app.wasm"]);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn check_verifies_and_writes_nothing() {
    let directory = with_app(SPIN);
    assert!(run(directory.path(), &["app.wasm"]).status.success());
    let before = names(directory.path());
    let output = run(directory.path(), &["--check", "app.lwasm"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
    let error = error_of(&run(directory.path(), &["--check", "app.wasm"]), 1);
    assert!(error.starts_with("lunatic-prep: error: app.wasm: not prepared"), "{error}");
    assert_eq!(names(directory.path()), before);
}

#[test]
fn an_unusable_input_is_one_line_of_error_and_status_1() {
    let directory = directory();
    let path = directory.path();
    let component = wasm("(component)");
    let reserved = wasm("(module (import \"lunatic::metering\" \"charge\" (func)))");
    let truncated = wasm(SPIN);
    let truncated = &truncated[..truncated.len() - 3];
    for (name, bytes, expected) in [
        ("text.wasm", &b"hello"[..], "not a WebAssembly module"),
        ("empty.wasm", b"", "not a WebAssembly module"),
        ("component.wasm", &component, "this is a component, not a core module: build for wasm32-wasip1"),
        ("reserved.wasm", &reserved, "is reserved"),
        ("truncated.wasm", truncated, "invalid module: unexpected end"),
    ] {
        fs::write(path.join(name), bytes).expect("written");
        let error = error_of(&run(path, &[name]), 1);
        assert!(error.starts_with(&format!("lunatic-prep: error: {name}: ")), "{error}");
        assert!(error.contains(expected), "{error}");
        assert!(!path.join(name).with_extension("lwasm").exists(), "nothing is written");
    }
    let error = error_of(&run_with_stdin(path, &["-"], b"hello"), 1);
    assert!(error.starts_with("lunatic-prep: error: stdin: not a WebAssembly module"), "{error}");
}

#[test]
fn an_edited_module_is_refused_with_its_place() {
    let directory = with_app("(module (func $spin (loop (br 0))))");
    let path = directory.path();
    assert!(run(path, &["app.wasm"]).status.success());
    let mut bytes = fs::read(path.join("app.lwasm")).expect("written");
    // The first charge: `i32.const 1; call $charge`.
    let charge = find(&bytes, &[0x41, 0x01, 0x10, 0x00]);
    bytes[charge..charge + 4].fill(0x01);
    fs::write(path.join("app.lwasm"), &bytes).expect("written");
    let error = error_of(&run(path, &["--check", "app.lwasm"]), 1);
    assert!(
        error.contains("a function does not begin with a charge (in function 1 \"spin\", at byte 0x"),
        "{error}"
    );
}

#[test]
fn files_that_cannot_be_read_or_written_are_status_1() {
    let directory = with_app(SPIN);
    let path = directory.path();
    let error = error_of(&run(path, &["missing.wasm"]), 1);
    assert!(error.starts_with("lunatic-prep: error: missing.wasm: "), "{error}");
    error_of(&run(path, &["."]), 1);
    let error = error_of(&run(path, &["app.wasm", "-o", "missing/out.lwasm"]), 1);
    assert!(error.starts_with("lunatic-prep: error: missing/out.lwasm: "), "{error}");
    assert_eq!(names(path), ["app.wasm"], "no temporary file is left");
}

#[test]
fn names_cannot_write_to_the_terminal() {
    let directory = directory();
    let error = error_of(&run(directory.path(), &["a\nb\u{1b}[31m.wasm"]), 1);
    assert!(error.contains("a\\nb\\u{1b}[31m.wasm"), "{error}");
}

#[test]
fn wrong_usage_is_status_2() {
    let directory = directory();
    for arguments in [&[][..], &["--no-such-option"], &["a", "b"], &["--check", "a", "-o", "b"]] {
        assert_eq!(run(directory.path(), arguments).status.code(), Some(2), "{arguments:?}");
    }
    assert_eq!(run(directory.path(), &["--help"]).status.code(), Some(0));
    assert_eq!(run(directory.path(), &["--version"]).status.code(), Some(0));
}
