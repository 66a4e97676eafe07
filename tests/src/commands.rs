//! Runs the commands as a user does.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use crate::guests::root;

/// A command of this repository. It is built if necessary.
///
/// # Panics
/// If the commands cannot be built.
pub fn command(name: &str) -> Command {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let directory = BUILT.get_or_init(|| {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        // Build them together with one of their tests, as `cargo test` has done: then nothing is to be built. A build of the
        // package alone selects other features of a few small dependencies, and would build all of Cranelift again.
        cargo.args(["test", "--quiet", "--no-run", "--test", "exec"]).current_dir(root());
        // The build script of ring depends on the variables that Cargo sets for a test. With them, ring and its dependents
        // would be built again, here and in the next run without them.
        let of_package = |name: &str| name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_str().is_some_and(of_package)) {
            cargo.env_remove(name);
        }
        cargo.stdout(Stdio::null()).stderr(Stdio::null());
        assert!(cargo.status().expect("cargo runs").success(), "the commands cannot be built");
        // This test binary is in `target/<profile>/deps`; Cargo tests the dev profile by default.
        let own = std::env::current_exe().expect("a test has a path");
        own.ancestors().nth(3).expect("target").join("debug")
    });
    let mut command = Command::new(directory.join(name));
    // Without a home directory, there is no cache unless the test names one.
    command.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    command
}

/// After this number of seconds a guest is killed, so that a test fails instead of hanging.
pub const PATIENCE: &str = "60";

/// Runs a module. Returns its output and status.
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

/// Runs a scenario of a guest, named by its first argument, on one worker and on two. Returns the outputs.
///
/// # Panics
/// If a run fails, or prints something other than `done: NAME`.
pub fn run_scenario(options: &[&str], module: &Path, name: &str) -> Vec<Output> {
    let run_with = |workers: &str| {
        let output = run(&[&["--workers", workers], options].concat(), module, &[name]);
        let said = || format!("{name} on {workers} workers: {}{}", stdout(&output), stderr(&output));
        assert!(output.status.success(), "{}", said());
        assert_eq!(stdout(&output), format!("done: {name}\n"), "{}", said());
        output
    };
    ["1", "2"].map(run_with).into()
}

/// The standard output of a command.
pub fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The standard error of a command.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// An empty directory of this name below `tests`, as a cache of native code: a guest is then compiled once instead of in each run.
///
/// # Panics
/// If its path is not UTF-8.
pub fn cache(tests: &str, name: &str) -> String {
    let directory = Path::new(tests).join(name);
    // The directory may not exist yet.
    let _ = std::fs::remove_dir_all(&directory);
    directory.into_os_string().into_string().expect("a name in UTF-8")
}
