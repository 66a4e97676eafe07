//! The specification suite: versions 1 and 2 and the proposals that the engine supports, every assertion in every mode.

use lunatic_tests::spec::{Mode, Outcome, Suite, known, run_suite};

/// Runs every suite; a failure that is not listed, or a listed one that passes, is an error.
fn passes(mode: Mode) -> Vec<Outcome> {
    let mut all = Vec::new();
    for suite in Suite::ALL {
        let outcomes = run_suite(suite, mode);
        let surprises = known::compare(mode, &outcomes);
        assert!(surprises.is_empty(), "{suite}: {surprises:#?}");
        let passed: usize = outcomes.iter().map(|outcome| outcome.passed).sum();
        assert!(passed >= expected(suite), "{suite}: the suite has shrunk to {passed} directives");
        all.extend(outcomes);
    }
    all
}

/// The least number of directives of a suite that pass.
fn expected(suite: Suite) -> usize {
    match suite {
        Suite::V1 => 19_000,
        Suite::V2 => 27_900,
        Suite::Simd => 25_900,
        Suite::RelaxedSimd => 70,
        Suite::TailCall => 110,
        Suite::ExtendedConst => 280,
        Suite::MultiMemory => 900,
    }
}

#[test]
fn plain() {
    passes(Mode::Plain);
}

#[test]
fn with_reserved_memories() {
    passes(Mode::Reserved);
}

#[test]
fn with_masked_addresses() {
    passes(Mode::Untrusted);
}

#[test]
fn instrumented() {
    passes(Mode::Instrumented);
}

#[test]
fn suspended_at_every_charge_and_resumed_on_another_thread() {
    let outcomes = passes(Mode::Yield);
    let moves: u64 = outcomes.iter().map(|outcome| outcome.moves).sum();
    assert!(moves > 1_000_000, "only {moves} times on another thread");
}

#[test]
fn from_the_cache() {
    passes(Mode::Cached);
}
