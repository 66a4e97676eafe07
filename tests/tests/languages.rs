//! Programs in languages other than Rust, run by `lunatic-exec`: what their libraries do with WASI, compared with the same
//! source built for this machine, and processes and messages.
//!
//! The compilers come from PyPI and npm. The tests are therefore ignored by default; the CI step `toolchains` runs them.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use lunatic_tests::commands::{PATIENCE, command, run, stderr, stdout};
use lunatic_tests::talking::Talking;
use lunatic_tests::toolchains::{build, build_native};

/// The standard input of the compared programs. The last line has no line end.
const INPUT: &str = "first\n\nthe third line: gr\u{fc}n";

/// Their arguments after the directory.
const WORDS: [&str; 3] = ["two words", "", "--option"];
const VARIABLES: [(&str, &str); 2] = [("GREETING", "hello"), ("EMPTY", "")];

/// Their exit status.
const STATUS: i32 = 7;

lunatic_tests::cache!("languages");

/// Runs a program with its arguments and input.
fn feed(mut program: Command, directory: &Path) -> Output {
    let input = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&input, INPUT).expect("written");
    program.stdin(Stdio::from(File::open(&input).expect("it was written")));
    let output = program.arg(directory).args(WORDS).output().expect("it runs");
    let left = fs::read_dir(directory).expect("it is there").count();
    assert_eq!(left, 0, "it removes what it makes: {}{}", stdout(&output), stderr(&output));
    output
}

/// The output of a native program, which has to succeed.
fn native(program: &Path) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    // The language of error messages depends on the environment.
    let mut native = Command::new("timeout");
    native.env_clear().envs(VARIABLES).arg(PATIENCE).arg(program);
    expected(feed(native, directory.path()), directory.path())
}

/// The output of a guest, which has to succeed.
fn guest(module: &Path) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let mut exec = Command::new("timeout");
    exec.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    exec.arg(PATIENCE).arg(command("lunatic-exec").get_program()).arg("--no-cache");
    let path = directory.path().to_str().expect("a name in UTF-8");
    exec.args(["--dir", path]);
    for (name, value) in VARIABLES {
        exec.args(["--env", &format!("{name}={value}")]);
    }
    exec.arg(module);
    expected(feed(exec, directory.path()), directory.path())
}

/// Checks the result of a program. Returns its output with the directory's name replaced.
fn expected(output: Output, directory: &Path) -> String {
    assert_eq!(output.status.code(), Some(STATUS), "{}{}", stdout(&output), stderr(&output));
    assert_eq!(stderr(&output), "");
    stdout(&output).replace(directory.to_str().expect("a name in UTF-8"), "DIRECTORY")
}

/// A program prints the same as a guest and as a native program.
fn is_the_same_as_native(directory: &str) {
    let (module, program) = (build(directory), build_native(directory));
    let (native, guest) = (native(&program), guest(&module));
    assert!(native.lines().count() > 20, "the program prints too little: {native}");
    assert_eq!(guest, native);
}

/// A hundred processes add up the numbers that they receive.
fn sums(directory: &str) {
    let module = build(directory);
    let expected: String = (0..100).map(|n| format!("Sum until {n}: {}\n", n * (n + 1) / 2)).collect();
    for workers in ["1", "2"] {
        let output = run(&["--cache-dir", cache(), "--workers", workers], &module, &[]);
        assert_eq!((stdout(&output), stderr(&output)), (expected.clone(), String::new()));
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_c_does_what_it_does_natively() {
    is_the_same_as_native("tests/guests/languages/c");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn processes_in_c_send_each_other_messages() {
    sums("examples/c");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_cpp_does_what_it_does_natively() {
    is_the_same_as_native("tests/guests/languages/c++");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn global_variables_in_cpp_are_constructed_once_per_process() {
    let module = build("tests/guests/languages/constructors");
    let output = run(&["--no-cache"], &module, &[]);
    let expected = "the first: made before 1\na child: made before 1\n\
        no child: the module exports no function \"nobody\"\n";
    assert_eq!((stdout(&output).as_str(), output.status.code()), (expected, Some(0)), "{}", stderr(&output));
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_go_does_what_it_does_natively() {
    is_the_same_as_native("tests/guests/languages/go");
}

/// Two connections, one of which is silent while the other is served, and a timer beside both.
#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_server_in_go_waits_for_several_events_at_once() {
    let module = build("tests/guests/languages/go-server");
    let mut server = Talking::start(&["--cache-dir", cache(), "--listen", "127.0.0.1:0"], &module, &[]);
    let address = server.address();
    server.expect("listening");
    let connect = || BufReader::new(TcpStream::connect(&address).expect("it listens"));
    let ask = |connection: &mut BufReader<TcpStream>, line: &str| {
        writeln!(connection.get_mut(), "{line}").expect("it is read");
        let mut answer = String::new();
        connection.read_line(&mut answer).expect("there is an answer");
        answer
    };
    let (mut silent, mut second) = (connect(), connect());
    assert_eq!(ask(&mut second, "first"), "FIRST\n");
    assert_eq!(ask(&mut second, "ticks"), "ticked\n");
    assert_eq!(ask(&mut silent, "second"), "SECOND\n");
    assert_eq!(ask(&mut second, "quit"), "");
    assert_eq!(server.end(), Some(7));
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn processes_in_go_send_each_other_messages() {
    sums("examples/go");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_zig_does_what_it_does_natively() {
    is_the_same_as_native("tests/guests/languages/zig");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_zig_writes_below_a_directory_that_it_opened() {
    let module = build("tests/guests/languages/below");
    let directory = tempfile::tempdir().expect("a directory");
    let given = format!("{}::data", directory.path().display());
    let output = run(&["--no-cache", "--dir", &given], &module, &["data"]);
    assert_eq!((stdout(&output), stderr(&output)), ("below".into(), String::new()));
    assert_eq!(output.status.code(), Some(0));
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn processes_in_zig_send_each_other_messages() {
    sums("examples/zig");
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn a_program_in_assemblyscript_prints_the_expected_output() {
    let module = build("tests/guests/languages/assemblyscript");
    let expected = include_str!("../guests/languages/assemblyscript/expected.txt");
    assert_eq!(guest(&module), expected);
}

#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn processes_in_assemblyscript_send_each_other_messages() {
    sums("examples/assemblyscript");
}

/// A parent in C spawns processes in all these languages, which sum up square numbers.
#[test]
#[ignore = "installs compilers (.ci/run toolchains)"]
fn processes_of_several_languages_send_each_other_messages() {
    let directory = tempfile::tempdir().expect("a directory");
    let mut expected = String::new();
    for language in ["assemblyscript", "c", "go", "zig"] {
        let module = build(&format!("examples/{language}"));
        let name = format!("{language}.wasm");
        fs::copy(module, directory.path().join(&name)).expect("copied");
        expected += &format!("{name}: 0 1 5 14 30 55 91 140 204 285\n");
    }
    let module = build("examples/several-languages");
    let modules = format!("{}::modules", directory.path().display());
    let output = run(&["--no-cache", "--dir", &modules], &module, &[]);
    assert_eq!((stdout(&output), stderr(&output)), (expected, String::new()));
    assert_eq!(output.status.code(), Some(0));
}
