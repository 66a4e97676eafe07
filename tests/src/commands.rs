//! Runs the commands, as a user would.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::guests::root;

/// A command, built by whoever runs the tests or by us.
///
/// # Panics
/// If they cannot be built.
pub fn command(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // With a test of theirs, as `cargo test` builds them: then it is there already. What the package is built with
        // alone differs in features of a few small dependencies, and so would be all of Cranelift once more.
        cargo.args(["test", "--quiet", "--no-run", "--test", "exec"]).current_dir(root());
        // What cargo tells a test of its package, ring is built anew for, and what needs it: here, and then by whoever
        // tests next.
        let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
            cargo.env_remove(name);
        }
        cargo.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(cargo.status().expect("cargo runs").success(), "the commands cannot be built");
        // This test binary is in `target/<profile>/deps`; cargo tests the dev profile by default.
        let own = std::env::current_exe().expect("a test has a path");
        own.ancestors().nth(3).expect("target").join("debug")
    });
    let mut command = Command::new(directory.join(name));
    // No home, and so no cache but one that the test names.
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    command
}

/// Seconds after which a guest that should have ended is killed, so that a test fails instead of hanging.
pub const PATIENCE: &str = "60";

/// Runs a module; what it printed, and its status.
///
/// # Panics
/// If the command cannot be started.
pub fn run(options: &[&str], module: &Path, args: &[&str]) -> Output {
    let exec = command("lunatic-exec");
    let mut limited = Command::new("timeout");
    limited.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    limited.arg(PATIENCE).arg(exec.get_program()).args(options).arg(module).args(args);
    limited.output().expect("it runs")
}

/// What it printed.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What it complained of.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A directory for native code, of this name among the tests' own and empty at first, so that a guest is compiled once rather
/// than for each run.
///
/// # Panics
/// If its name is not UTF-8.
pub fn cache(tests: &str, name: &str) -> String {
    let directory = Path::new(tests).join(name);
    // It may not be there yet.
    let _ = std::fs::remove_dir_all(&directory);
    directory.into_os_string().into_string().expect("a name in UTF-8")
}
