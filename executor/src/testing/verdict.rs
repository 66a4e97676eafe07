//! Determines a test's result from the exit status of its first process and its output.

use lunatic_core::node::ExitStatus;

use super::capture::Kept;
use super::panics;

/// The verdict on a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The test passed.
    Passed,
    /// The test failed.
    Failed,
    /// The test was not run.
    Ignored,
}

/// The result of a test that has ended.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// The verdict.
    pub verdict: Verdict,
    /// The output that was kept and not passed on. A note follows if the test failed and does not itself say why.
    pub output: Vec<u8>,
}

impl Kept {
    /// Returns the output that is still to be shown.
    pub(super) fn into_output(self) -> Vec<u8> {
        let mut output = self.all;
        if self.is_passed_on {
            output.clear();
        } else if self.is_cut {
            output.extend_from_slice(b"\nnote: what it wrote beyond this was not kept\n");
        }
        output
    }
}

/// The status of a process that traps, or that a link kills.
const ABNORMAL: ExitStatus = ExitStatus(134);

impl TestResult {
    pub(super) fn ignored() -> TestResult {
        TestResult { verdict: Verdict::Ignored, output: Vec::new() }
    }

    /// Returns a failure. The note gives a reason that the test did not print.
    pub(super) fn failed(mut output: Vec<u8>, note: &str) -> TestResult {
        output.extend_from_slice(note.as_bytes());
        TestResult { verdict: Verdict::Failed, output }
    }

    /// Returns the result of a test that is the first process of a node.
    pub(super) fn of(status: ExitStatus, should_panic: Option<&str>, kept: Kept) -> TestResult {
        let errors = String::from_utf8_lossy(&kept.errors);
        let failure = match should_panic {
            None => why_failed(status, &errors),
            Some(expected) => why_not_panicked(status, expected, &errors),
        };
        let output = kept.into_output();
        match failure {
            None => TestResult { verdict: Verdict::Passed, output },
            Some(note) => TestResult::failed(output, &note),
        }
    }
}

// These notes do not end with a newline, as in libtest.

/// Returns why the test failed, if it did. The text is empty if the test has printed the reason itself.
fn why_failed(status: ExitStatus, errors: &str) -> Option<String> {
    match status {
        ExitStatus(0) => None,
        ABNORMAL if !errors.is_empty() => Some(String::new()),
        ExitStatus(status) => Some(format!("note: the test's process ended with status {status}")),
    }
}

/// Returns why the test did not panic as expected, if so.
fn why_not_panicked(status: ExitStatus, expected: &str, errors: &str) -> Option<String> {
    if status != ABNORMAL {
        let how = match status {
            ExitStatus(0) => String::new(),
            ExitStatus(status) => format!(": its process ended with status {status}"),
        };
        return Some(format!("note: test did not panic as expected{how}"));
    }
    // A linked process may have panicked and ended this one, so any message may match. Without a panic, the reason of
    // a trap is the message.
    let mut messages = panics::messages(errors);
    if messages.is_empty() {
        messages = panics::traps(errors);
    }
    if expected.is_empty() || messages.iter().any(|message| message.contains(expected)) {
        return None;
    }
    let message = messages.last().map_or("", String::as_str);
    Some(format!(
        "note: panic did not contain expected string\n      panic message: {message:?}\n expected substring: \
         {expected:?}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(status: i32, should_panic: Option<&str>, errors: &str) -> Option<String> {
        let kept = Kept { errors: errors.into(), ..Kept::default() };
        let result = TestResult::of(ExitStatus(status), should_panic, kept);
        let note = String::from_utf8(result.output).expect("text");
        (result.verdict == Verdict::Failed).then_some(note)
    }

    const PANIC: &str = "\nthread 'main' (1) panicked at a.rs:1:2:\nthis \"one\"\n";

    #[test]
    fn a_test_passes_if_it_ends_normally() {
        assert_eq!(note(0, None, PANIC), None, "another process may panic");
        assert_eq!(note(134, None, PANIC).as_deref(), Some(""));
        assert_eq!(note(3, None, PANIC).as_deref(), Some("note: the test's process ended with status 3"));
        assert_eq!(note(134, None, "").as_deref(), Some("note: the test's process ended with status 134"));
    }

    #[test]
    fn a_should_panic_test_passes_with_the_expected_message() {
        for expected in ["", "one", "this \"one\""] {
            assert_eq!(note(134, Some(expected), PANIC), None);
            let not = "note: test did not panic as expected";
            assert_eq!(note(0, Some(expected), PANIC).as_deref(), Some(not));
            let not = "note: test did not panic as expected: its process ended with status 1";
            assert_eq!(note(1, Some(expected), PANIC).as_deref(), Some(not));
        }
        let not = "note: panic did not contain expected string\n      panic message: \"this \\\"one\\\"\"\n expected \
                   substring: \"other\"";
        assert_eq!(note(134, Some("other"), PANIC).as_deref(), Some(not));
        assert!(note(134, Some("a.rs"), PANIC).is_some(), "the place is not the message");
    }

    #[test]
    fn a_trap_counts_as_a_panic_with_its_reason_as_message() {
        let trap = "process 1 (a) trapped: integer divide by zero\n";
        assert_eq!(note(134, Some("divide by zero"), trap), None);
        assert_eq!(note(134, Some(""), ""), None);
        assert!(note(134, Some("unreachable"), trap).is_some());
        let both = format!("{PANIC}process 1 (a) trapped: unreachable\n");
        assert!(note(134, Some("unreachable"), &both).is_some(), "a panic's trap says nothing");
    }
}
