//! The fast tests: all unit tests, and every integration test that is not known to be slow.
//!
//! A new test is a fast one until it is listed here, so that none is left out by accident. The time limit is one minute on
//! a warm build.

use std::collections::BTreeSet;
use std::fs;

use crate::{cargo, root, run};

/// Where integration tests are. Those of `tests/` run the commands with guests that are built first, and are all slow.
const DIRECTORIES: &[&str] = &["instrument", "jit", "executor", "cli"];

/// Test programs that take more than about two seconds, by the name of their file.
const SLOW: &[&str] = &[
    "abi",
    "accounting",
    "bad_input",
    "differential",
    "erlang",
    "following",
    "guarantees",
    "host_memory",
    "hostile",
    "idle_model",
    "lifetime",
    "load",
    "loading",
    "metrics",
    "mutation",
    "renaming",
    "signal_queue_model",
    "signals",
    "simulation",
    "soak",
    "sqlite",
    "stacks",
    "stopping",
    "timers",
];

/// Checks the formatting and runs the fast tests.
pub(crate) fn run_all() -> bool {
    let mut test = cargo();
    test.args([
        "test",
        "--quiet",
        "--workspace",
        "--exclude",
        "lunatic-tests",
        "--exclude",
        "lunatic-benches",
    ]);
    test.args(["--lib", "--bins"]);
    for name in integration_tests().difference(&SLOW.iter().map(|name| (*name).to_owned()).collect()) {
        test.args(["--test", name]);
    }
    run(cargo().args(["fmt", "--all", "--check"])) && run(&mut test)
}

/// The names of all integration tests of the crates, those of the crates below `executor` included.
fn integration_tests() -> BTreeSet<String> {
    let mut packages: Vec<_> = DIRECTORIES.iter().map(|directory| root().join(directory)).collect();
    packages.extend(
        fs::read_dir(root().join("executor")).into_iter().flatten().flatten().map(|entry| entry.path()),
    );
    let files = packages
        .iter()
        .flat_map(|package| fs::read_dir(package.join("tests")).into_iter().flatten().flatten());
    let names = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".rs")?.to_owned()));
    names.collect()
}
