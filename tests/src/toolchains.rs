//! Builds programs in languages other than Rust with `examples/build.sh`, which installs their compilers from package
//! registries.
//!
//! A test that calls a function of this module needs those registries. Mark it
//! `#[ignore = "installs … (.ci/run toolchains)"]`; `tests/tests/ignored.rs` checks that CI then runs it.

use std::path::PathBuf;
use std::process::Command;

use crate::guests::root;

/// Builds the program in a directory of the repository, such as `examples/c`, for WebAssembly. Returns the module.
///
/// # Panics
/// If the compiler cannot be installed or the program cannot be built. The panic message has the script's output.
pub fn build(directory: &str) -> PathBuf {
    run(directory, &[])
}

/// Builds the program in a directory of the repository for this machine. Returns the executable.
///
/// # Panics
/// As [`build`].
pub fn build_native(directory: &str) -> PathBuf {
    run(directory, &["--native"])
}

/// Returns a C compiler for WebAssembly that Cargo can call for the crate in `directory`: `examples/cc.sh`.
///
/// # Panics
/// If the compiler cannot be installed.
pub fn c_compiler(directory: &str) -> PathBuf {
    let script = root().join("examples").join("cc.sh");
    stdout_of(directory, Command::new(&script).arg("--version"));
    script
}

fn run(directory: &str, options: &[&str]) -> PathBuf {
    let mut script = Command::new(root().join("examples").join("build.sh"));
    let path = stdout_of(directory, script.args(options).arg(root().join(directory)));
    PathBuf::from(path.trim_end())
}

/// Runs a script and returns its standard output.
fn stdout_of(directory: &str, script: &mut Command) -> String {
    let output = script.output().expect("bash is installed");
    assert!(output.status.success(), "{directory}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("paths in the repository are UTF-8")
}
