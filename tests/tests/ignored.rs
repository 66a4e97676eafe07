//! A test that is ignored by default runs in a step of CI, or the list below says why it does not.

use std::fs;

use lunatic_tests::guests::root;
use lunatic_tests::sources::rust_files;

/// The reasons that name a step of CI end like this.
const STEP: &str = "(.ci/run toolchains)";

/// Ignored tests that CI does not run: the file, and the reason given there.
const BY_HAND: &[(&str, &str)] = &[("jit/tests/lifetime.rs", "takes minutes")];

#[test]
fn every_ignored_test_runs_in_a_step_of_ci() {
    let ci = fs::read_to_string(root().join(".ci/run")).expect("CI has a script");
    let step =
        ci.split_once("\ntoolchains() {").expect("CI has the step").1.split("\n}").next().expect("its body");
    let mut seen = 0;
    for file in rust_files(root()) {
        let name = file.strip_prefix(root()).expect("it is below the root").display().to_string();
        // Guests have tests of their own, and this file names the attribute.
        if name.contains("/guests/") || name.ends_with("ignored.rs") {
            continue;
        }
        let text = fs::read_to_string(&file).expect("sources are UTF-8");
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("#[ignore")) {
            let reason = line.trim_start_matches("#[ignore = \"").trim_end_matches("\"]");
            if BY_HAND.contains(&(name.as_str(), reason)) {
                continue;
            }
            assert!(reason.ends_with(STEP), "{name}: no step of CI runs this ignored test: {line}");
            let target = file.file_stem().and_then(|stem| stem.to_str()).expect("a name in UTF-8");
            assert!(
                step.contains(&format!("--test {target} ")),
                "{name}: the step does not run --test {target}"
            );
            seen += 1;
        }
    }
    assert!(seen > 10, "the ignored tests were not found");
}
