//! Runs the commands as a user does.
#![allow(dead_code)] // Each test file uses some of it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

#[path = "../../../executor/tests/common/abi.rs"]
pub(crate) mod abi;
#[path = "../../../executor/tests/common/imports.rs"]
mod imports;
#[path = "../../../tests/src/killed.rs"]
mod killed;
#[path = "../../../tests/src/skip.rs"]
mod skipping;

#[allow(unused_imports)] // As above.
pub(crate) use killed::Killed;
#[allow(unused_imports)] // As above.
pub(crate) use skipping::skip;

pub(crate) fn directory() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// A directory with `app.wasm` in it.
pub(crate) fn with_app(text: &str) -> TempDir {
    let directory = directory();
    fs::write(directory.path().join("app.wasm"), wasm(text)).expect("written");
    directory
}

/// A module as bytes. It may call host functions without importing them: see [`imports`].
pub(crate) fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(imports::with_imports(text)).expect("the test's module is well-formed")
}

/// A command, by the path of its program. It has no home directory, and so no cache unless the test names one.
pub(crate) fn command(program: &str, directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.current_dir(directory).args(arguments).env_remove("HOME").env_remove("XDG_CACHE_HOME");
    command
}

/// `lunatic-exec` in a directory, with these arguments.
pub(crate) fn exec(directory: &Path, arguments: &[&str]) -> Command {
    command(env!("CARGO_BIN_EXE_lunatic-exec"), directory, arguments)
}

/// Runs `lunatic-exec` to its end.
pub(crate) fn run_exec(directory: &Path, arguments: &[&str]) -> Output {
    exec(directory, arguments).output().expect("the command starts")
}

/// Runs a command to its end with these bytes as its standard input.
pub(crate) fn feed(mut command: Command, stdin: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the command starts");
    let mut pipe = child.stdin.take().expect("stdin is piped");
    pipe.write_all(stdin).expect("the command reads all of it");
    drop(pipe);
    child.wait_with_output().expect("the command ends")
}

/// The line that a failed command printed.
#[track_caller]
pub(crate) fn error_of(output: &Output, status: i32) -> String {
    assert_eq!(output.status.code(), Some(status), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stderr.clone()).expect("messages are UTF-8");
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(!text.trim_end_matches('\n').contains(char::is_control), "{text:?}");
    text.trim_end().to_owned()
}

/// The first position of a sequence of bytes in a longer one.
pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> usize {
    bytes.windows(wanted.len()).position(|window| window == wanted).expect("it is there")
}
