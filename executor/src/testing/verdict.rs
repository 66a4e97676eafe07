//! What became of a test, by how its first process ended and what it wrote.

use lunatic_core::node::ExitStatus;

use super::capture::Kept;
use super::panics;

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It did what it should.
    Passed,
    /// It did not.
    Failed,
    /// It was not run.
    Ignored,
}

/// A test that is over.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// What became of it.
    pub verdict: Verdict,
    /// What it wrote, as far as that was kept and has not been passed on, and a note on why it failed if it does not say
    /// so itself.
    pub output: Vec<u8>,
}

impl Kept {
    /// What of it is still to be shown.
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

/// The status of a process that traps, or dies by a link.
const ABNORMAL: ExitStatus = ExitStatus(134);

impl TestResult {
    pub(super) fn ignored() -> TestResult {
        TestResult { verdict: Verdict::Ignored, output: Vec::new() }
    }

    /// It could not be run, or says nothing itself.
    pub(super) fn failed(mut output: Vec<u8>, note: &str) -> TestResult {
        output.extend_from_slice(note.as_bytes());
        TestResult { verdict: Verdict::Failed, output }
    }

    /// Of a test that is a node's first process.
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

// As libtest's, these notes do not end a line.

/// Why it failed, if it did; in no words if it will have said so itself.
fn why_failed(status: ExitStatus, errors: &str) -> Option<String> {
    match status {
        ExitStatus(0) => None,
        ABNORMAL if !errors.is_empty() => Some(String::new()),
        ExitStatus(status) => Some(format!("note: the test's process ended with status {status}")),
    }
}

/// Why it did not panic as it should, if so.
fn why_not_panicked(status: ExitStatus, expected: &str, errors: &str) -> Option<String> {
    if status != ABNORMAL {
        let how = match status {
            ExitStatus(0) => String::new(),
            ExitStatus(status) => format!(": its process ended with status {status}"),
        };
        return Some(format!("note: test did not panic as expected{how}"));
    }
    // A process may end by the panic of another one that it is linked to, so any will do. What traps without a panic has
    // the trap's reason for its message.
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
    fn a_test_that_should_panic_passes_if_it_does_and_says_what_is_expected() {
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
    fn a_trap_is_a_panic_whose_message_is_its_reason() {
        let trap = "process 1 (a) trapped: integer divide by zero\n";
        assert_eq!(note(134, Some("divide by zero"), trap), None);
        assert_eq!(note(134, Some(""), ""), None);
        assert!(note(134, Some("unreachable"), trap).is_some());
        let both = format!("{PANIC}process 1 (a) trapped: unreachable\n");
        assert!(note(134, Some("unreachable"), &both).is_some(), "a panic's trap says nothing");
    }
}
