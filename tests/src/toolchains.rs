//! Builds programs in other languages than Rust, by `examples/build.sh`, which has their compilers from package registries.
//!
//! A machine that cannot have a compiler skips what needs it and says so; one that has `CI` in its environment fails.

use std::path::PathBuf;
use std::process::Command;

use crate::guests::root;
use crate::skip;

/// The status by which the script says that a compiler cannot be had.
const NO_COMPILER: i32 = 3;

/// Builds the program in a directory of the repository, such as `examples/c`, for WebAssembly, and returns the module; or
/// nothing, where there is no compiler.
///
/// # Panics
/// If it cannot be built, or the compiler cannot be had in CI; what was said is in the panic's message.
pub fn build(directory: &str) -> Option<PathBuf> {
    run(directory, &[])
}

/// The same for this machine.
///
/// # Panics
/// As [`build`].
pub fn build_native(directory: &str) -> Option<PathBuf> {
    run(directory, &["--native"])
}

/// A C compiler for WebAssembly that Cargo can call, by `examples/cc.sh`, for a crate in a directory; or nothing, where there
/// is none.
///
/// # Panics
/// If it cannot be had in CI.
pub fn c_compiler(directory: &str) -> Option<PathBuf> {
    let script = root().join("examples").join("cc.sh");
    said_by(directory, Command::new(&script).arg("--version")).map(|_| script)
}

fn run(directory: &str, options: &[&str]) -> Option<PathBuf> {
    let mut script = Command::new(root().join("examples").join("build.sh"));
    let path = said_by(directory, script.args(options).arg(root().join(directory)))?;
    Some(PathBuf::from(path.trim_end()))
}

/// What a script says on standard output, unless it is that there is no compiler.
fn said_by(directory: &str, script: &mut Command) -> Option<String> {
    let output = script.output().expect("there is bash");
    let complaint = String::from_utf8_lossy(&output.stderr);
    if output.status.code() == Some(NO_COMPILER) {
        skip(&format!("{directory} needs a compiler that cannot be had: {complaint}"));
        return None;
    }
    assert!(output.status.success(), "{directory}: {complaint}");
    Some(String::from_utf8(output.stdout).expect("our paths are UTF-8"))
}
