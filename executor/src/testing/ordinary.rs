//! Tests of Rust's own harness, libtest, which the compiler puts behind `_start`.
//!
//! The executor asks the harness for its tests and lets it run one at a time. Its output is the guest's and is parsed
//! with care. On WebAssembly the harness does not run tests that should panic and reports them as ignored; so does
//! the executor.

use lunatic_core::node::ExitStatus;
use lunatic_host::Capable;

use super::capture::Kept;
use super::verdict::{TestResult, Verdict};
use super::{Test, TestBinary, TestError, TestKind};

/// An environment variable that libtest reads; its name is in the data of every module with libtest. A program
/// without libtest must not be started only to find this out.
const MARK: &[u8] = b"RUST_TEST_THREADS";

/// The output of the quiet harness before and after a test.
const BEFORE: &[u8] = b"\nrunning 1 test\n";
const AFTER: &[u8] = b"\ntest result: ";

/// Returns whether a module contains the harness.
pub(super) fn has_harness(bytes: &[u8]) -> bool {
    bytes.windows(MARK.len()).any(|window| window == MARK)
}

/// Lists the tests of the harness.
pub(super) fn list(binary: &TestBinary) -> Result<Vec<Test>, TestError> {
    let ask = |more: &[&str]| {
        let args = arguments(&binary.template.config.caps().args, &["--list", "--format", "terse"], more);
        let (status, kept, left) = binary.run_in_node(TestKind::Ordinary, args, 1, true)?;
        left.into_iter().for_each(|left| _ = left.end());
        let output = String::from_utf8_lossy(&kept.all).into_owned();
        if status == ExitStatus(0) { Ok(output) } else { Err(TestError::Listing { status, output }) }
    };
    let all = ask(&[])?;
    if names(&all).next().is_none() {
        return Ok(Vec::new());
    }
    let ignored = ask(&["--ignored"])?;
    let test = |name: &str| Test {
        name: name.to_owned(),
        is_ignored: names(&ignored).any(|other| other == name),
        should_panic: None,
        entry: TestKind::Ordinary,
    };
    Ok(names(&all).map(test).collect())
}

/// Returns the names in lines `NAME: test` and `NAME: benchmark`. Both kinds are run.
fn names(list: &str) -> impl Iterator<Item = &str> {
    list.lines().filter_map(|line| line.strip_suffix(": test").or(line.strip_suffix(": benchmark")))
}

/// Returns the arguments that make the harness run this test.
pub(super) fn arguments_for(args: &[String], name: &str) -> Vec<String> {
    arguments(args, &["--exact", "--include-ignored", "--nocapture", "--quiet"], &[name])
}

/// Appends arguments to the program's name.
fn arguments(args: &[String], options: &[&str], more: &[&str]) -> Vec<String> {
    let own = options.iter().chain(more).map(|&text| text.to_owned());
    args.iter().take(1).cloned().chain(own).collect()
}

/// Returns the result of a test that the harness ran.
pub(super) fn result(name: &str, status: ExitStatus, kept: Kept) -> TestResult {
    let (is_passed_on, output) = (kept.is_passed_on, kept.all);
    let output = output.strip_prefix(BEFORE).unwrap_or(&output);
    let end = output.windows(AFTER.len()).rposition(|window| window == AFTER);
    // After the test's output, the harness prints `.` for passed, `i` for ignored, and a line for failed.
    let failed = format!("{name} --- FAILED\n");
    let (verdict, own) = match end.map(|end| output[..end].trim_ascii_end()) {
        Some([own @ .., b'.']) if status == ExitStatus(0) => (Verdict::Passed, own),
        Some([own @ .., b'i']) if status == ExitStatus(0) => (Verdict::Ignored, own),
        _ => (Verdict::Failed, output),
    };
    let cut = own.windows(failed.len()).rposition(|window| window == failed.as_bytes());
    let own = if is_passed_on { &[] } else { &own[..cut.unwrap_or(own.len())] };
    TestResult { verdict, output: own.to_vec() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: i32, output: &str) -> (Verdict, String) {
        let kept = Kept { all: output.into(), ..Kept::default() };
        let TestResult { verdict, output } = result("a::b", ExitStatus(status), kept);
        (verdict, String::from_utf8(output).expect("text"))
    }

    #[test]
    fn verdicts_are_read_from_the_output_of_the_harness() {
        let end = "\n\ntest result: ok. 1 passed; …\n\n";
        assert_eq!(of(0, &format!("\nrunning 1 test\nout\n.{end}")), (Verdict::Passed, "out\n".into()));
        assert_eq!(of(0, &format!("\nrunning 1 test\ni{end}")), (Verdict::Ignored, "".into()));
        let failed = "\nrunning 1 test\nError: \"oh\"\na::b --- FAILED\n\nfailures:\n\nfailures:\n    a::b";
        assert_eq!(of(101, &format!("{failed}{end}")), (Verdict::Failed, "Error: \"oh\"\n".into()));
        let panicked = "\nrunning 1 test\n\nthread 'main' panicked at a.rs:1:2:\nx\n";
        let own = panicked.trim_start_matches("\nrunning 1 test\n");
        assert_eq!(of(134, panicked), (Verdict::Failed, own.into()));
    }

    #[test]
    fn a_harness_that_has_ended_early_has_not_passed_its_test() {
        assert_eq!(of(0, "\nrunning 1 test\nout\n").0, Verdict::Failed);
        assert_eq!(of(1, "\nrunning 1 test\n.\n\ntest result: ok.\n").0, Verdict::Failed);
    }
}
