//! Tests as the library runs them: what is told of them, and when.

use std::num::NonZeroUsize;
use std::time::Duration;

use lunatic_executor::{
    Runtime, RuntimeConfig, Selection, TestBinary, TestEvent, TestOptions, TestResult, Verdict,
};

/// Runs the tests of a module, so many at a time, and says what was told, a word for each event.
fn told(text: &str, threads: usize) -> Vec<String> {
    let bytes = wat::parse_str(text).expect("the test's module is well-formed");
    let config = RuntimeConfig { args: vec!["tests".into()], ..RuntimeConfig::default() };
    let runtime = Runtime::new(config).expect("a runtime");
    let program = runtime.load(&bytes).expect("it loads");
    assert!(program.has_tests());
    let binary = TestBinary::new(runtime, &program, &bytes).expect("its tests are found");
    let tests = Selection::default().choose(binary.tests());
    let options = TestOptions {
        threads: NonZeroUsize::new(threads).expect("some"),
        capture: true,
        patience: Duration::from_millis(500),
    };
    let mut told = Vec::new();
    let tell = |event: TestEvent<'_>| {
        told.push(match event {
            TestEvent::Started(test) => format!("{} starts", test.name),
            TestEvent::Slow(test) => format!("{} is slow", test.name),
            TestEvent::Finished(test, TestResult { verdict, .. }) => format!("{}: {verdict:?}", test.name),
        });
    };
    binary.run(&tests, options, tell).expect("there are threads");
    told
}

const TESTS: &str = r##"(module
    (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
    (func (export "#lunatic_test_slow") (call $sleep (i64.const 1500)))
    (func (export "#lunatic_test_fast"))
    (func (export "#lunatic_test_#ignore_no")))"##;

#[test]
fn one_at_a_time_they_come_in_order() {
    let expected = ["fast starts", "fast: Passed", "no starts", "no: Ignored", "slow starts", "slow: Passed"];
    assert_eq!(told(TESTS, 1), expected);
}

#[test]
fn several_at_a_time_are_named_once_if_they_are_slow() {
    let told = told(TESTS, 2);
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(told[5..], ["slow is slow", "slow: Passed"], "{told:?}");
    for test in ["fast", "no", "slow"] {
        let place = |what: &str| told.iter().position(|told| *told == format!("{test}{what}"));
        let verdict = if test == "no" { Verdict::Ignored } else { Verdict::Passed };
        assert!(place(" starts") < place(&format!(": {verdict:?}")), "{told:?}");
    }
}

/// Each node is given back when its test is over, with its threads and its descriptors.
#[test]
fn many_tests_leave_nothing_behind() {
    let tests: String = (0..300)
        .map(|n| format!("(func (export \"#lunatic_test_{n}\") (call $sleep (i64.const 1)))"))
        .collect();
    let text =
        format!(r#"(module (import "lunatic::process" "sleep_ms" (func $sleep (param i64))) {tests})"#);
    let count = |of: &str| std::fs::read_dir(format!("/proc/self/{of}")).map_or(0, Iterator::count);
    let before = [count("task"), count("fd")];
    let told = told(&text, 4);
    assert_eq!(told.iter().filter(|told| told.ends_with(": Passed")).count(), 300);
    // Other tests of this binary run beside it, and have a few.
    let after = [count("task"), count("fd")];
    assert!(after[0] < before[0] + 50 && after[1] < before[1] + 50, "{before:?} before, {after:?} after");
}
