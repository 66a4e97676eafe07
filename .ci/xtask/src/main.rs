//! `cargo xtask TASK`: the tasks of a contributor, each one command.
//!
//! Every task runs from the root of the repository and prints the commands that it runs. A task stops at the first command
//! that fails. CI does not use this program: its entry point is `.ci/run`, which the task `ci` calls.
#![forbid(unsafe_code)]

mod fast;
mod instructions;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

const TASKS: &str = "\
usage: cargo xtask TASK [ARGUMENT…]

  test-fast       formatting, and the tests that need little time and no network
  test            all tests of `cargo test`: no network beyond Rust packages and targets
  ci [STEP…]      all steps of CI, or the given ones (.ci/run)
  bless           write golden files and the generated columns of executor/ABI.md anew
  layers          check that no crate or module uses one above it
  instructions    count the instructions of a spawn, a message, a request and a write (needs valgrind)
                  (OTHER…: beside those of other executables)
  publish-check   package every published crate, in dependency order, without building the packages
                  (--verify: build each package, too)";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let task = arguments.next();
    let rest: Vec<String> = arguments.collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let started = Instant::now();
    let passed = match task.as_deref() {
        Some("test-fast") => fast::run_all(),
        Some("test") => run(cargo().arg("test").args(&rest)),
        Some("ci") => run(Command::new(root().join(".ci/run")).args(&rest)),
        Some("bless") => {
            bless(&["lunatic-instrument", "--test", "golden"])
                && bless(&["lunatic-host", "--lib", "the_table"])
        }
        Some("instructions") => instructions::count(&rest),
        Some("layers") => run(cargo().args(["test", "--quiet", "--workspace", "--test", "layering"])),
        Some("publish-check") => publish_check(rest.contains(&"--verify")),
        _ => {
            eprintln!("{TASKS}");
            return ExitCode::from(2);
        }
    };
    println!("{} after {} s", if passed { "passed" } else { "failed" }, started.elapsed().as_secs());
    if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs tests, selected by a package and further arguments, which then write the files that they otherwise compare with.
fn bless(arguments: &[&str]) -> bool {
    run(cargo().args(["test", "--quiet", "--package"]).args(arguments).env("BLESS", "1"))
}

/// Packages what would be published. Cargo finds the dependency order itself, and takes crates of this workspace that are
/// not published yet from the packages made before.
fn publish_check(verify: bool) -> bool {
    let mut publish = cargo();
    publish.args(["publish", "--workspace", "--dry-run", "--allow-dirty"]);
    if !verify {
        publish.arg("--no-verify");
    }
    run(&mut publish)
}

/// Runs a command in the root of the repository. Returns whether it succeeded.
fn run(command: &mut Command) -> bool {
    let arguments: Vec<_> = command.get_args().map(|argument| argument.to_string_lossy()).collect();
    println!("$ {} {}", command.get_program().to_string_lossy(), arguments.join(" "));
    match command.current_dir(root()).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{} cannot be started: {error}", command.get_program().to_string_lossy());
            false
        }
    }
}

/// The Cargo that runs this program, without what it tells this program about its own package: build scripts that watch
/// such variables would run again.
fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            cargo.env_remove(&*name);
        }
    }
    cargo
}

/// The root of the repository.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("this package is in .ci/xtask").to_owned()
}
