//! The report of a test run, in libtest's two formats.
//!
//! *Pretty* has a line per test. If tests run one at a time, the name is printed when the test begins and the result when it ends,
//! so that the user sees which test takes long. *Terse* has a character for each test that passes or is ignored, and a line for
//! each that fails. Names are escaped, because the module chose them.

use std::io::{self, Write};
use std::time::Duration;

use lunatic_executor::{Test, TestEvent, TestResult, Verdict};

use crate::report::escape;

/// One more than the number of characters in a line of the terse format.
const TERSE_COLUMNS: usize = 88;

/// How the report is shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) terse: bool,
    pub(super) color: bool,
    /// Whether tests run one at a time.
    pub(super) one_at_a_time: bool,
    /// Whether the output of passed tests is shown, too.
    pub(super) show_output: bool,
    /// The time after which a test is slow.
    pub(super) patience: Duration,
}

/// A report that is being written.
pub(super) struct Report<W> {
    out: W,
    style: Style,
    tests: usize,
    /// The number of finished tests, and the column of the terse format.
    finished: usize,
    column: usize,
    passed: Vec<Shown>,
    failed: Vec<Shown>,
    ignored: usize,
}

/// A finished test with its output.
struct Shown {
    name: String,
    output: Vec<u8>,
}

const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

impl<W: Write> Report<W> {
    /// Begins the report of `tests` tests.
    pub(super) fn begin(mut out: W, style: Style, tests: usize) -> io::Result<Report<W>> {
        write!(out, "\nrunning {}\n", plural(tests, "test"))?;
        out.flush()?;
        let (passed, failed) = (Vec::new(), Vec::new());
        Ok(Report { out, style, tests, finished: 0, column: 0, passed, failed, ignored: 0 })
    }

    /// Reports an event.
    pub(super) fn tell(&mut self, event: TestEvent<'_>) -> io::Result<()> {
        match event {
            TestEvent::Started(test) if self.style.one_at_a_time && !self.style.terse => {
                self.write_name(test)?
            }
            TestEvent::Started(_) => {}
            TestEvent::Slow(test) => {
                let seconds = self.style.patience.as_secs();
                let name = escape(&test.name);
                writeln!(self.out, "test {name} has been running for over {seconds} seconds")?;
            }
            TestEvent::Finished(test, result) => {
                if self.style.terse {
                    self.finish_terse(test, result.verdict)?;
                } else {
                    self.finish_pretty(test, result.verdict)?;
                }
                self.remember(test, result);
            }
        }
        self.out.flush()
    }

    /// Shows the outputs and the counts. Returns whether no test has failed.
    pub(super) fn end(mut self, filtered_out: usize, elapsed: Duration) -> io::Result<bool> {
        let (passed, failed) = (std::mem::take(&mut self.passed), std::mem::take(&mut self.failed));
        if self.style.show_output {
            self.write_outputs("successes", &passed)?;
        }
        if !failed.is_empty() {
            self.write_outputs("failures", &failed)?;
        }
        // Scripts search for this line: it is libtest's, to the letter.
        self.out.write_all(b"\ntest result: ")?;
        let (word, color) = if failed.is_empty() { ("ok", GREEN) } else { ("FAILED", RED) };
        self.write_colored(word, color)?;
        let (passed, failures, ignored) = (passed.len(), failed.len(), self.ignored);
        let seconds = elapsed.as_secs_f64();
        write!(
            self.out,
            ". {passed} passed; {failures} failed; {ignored} ignored; 0 measured; {filtered_out} filtered out; \
             finished in {seconds:.2}s\n\n"
        )?;
        self.out.flush()?;
        Ok(failed.is_empty())
    }

    fn remember(&mut self, test: &Test, result: &TestResult) {
        let shown = Shown { name: escape(&test.name), output: result.output.clone() };
        match result.verdict {
            Verdict::Passed => self.passed.push(shown),
            Verdict::Failed => self.failed.push(shown),
            Verdict::Ignored => self.ignored += 1,
        }
    }

    fn write_name(&mut self, test: &Test) -> io::Result<()> {
        let should_panic =
            if test.should_panic.is_some() && !test.is_ignored { " - should panic" } else { "" };
        write!(self.out, "test {}{should_panic} ... ", escape(&test.name))
    }

    fn finish_pretty(&mut self, test: &Test, verdict: Verdict) -> io::Result<()> {
        if !self.style.one_at_a_time {
            self.write_name(test)?;
        }
        let (word, color) = match verdict {
            Verdict::Passed => ("ok", GREEN),
            Verdict::Failed => ("FAILED", RED),
            Verdict::Ignored => ("ignored", YELLOW),
        };
        self.write_colored(word, color)?;
        self.out.write_all(b"\n")
    }

    fn finish_terse(&mut self, test: &Test, verdict: Verdict) -> io::Result<()> {
        let (word, color) = match verdict {
            Verdict::Passed => (".", GREEN),
            Verdict::Ignored => ("i", YELLOW),
            Verdict::Failed => {
                // A failure has a line of its own, so a begun line of characters is finished first.
                if self.column != 0 {
                    self.write_progress()?;
                }
                self.finished += 1;
                write!(self.out, "{} --- ", escape(&test.name))?;
                self.write_colored("FAILED", RED)?;
                return self.out.write_all(b"\n");
            }
        };
        self.write_colored(word, color)?;
        self.finished += 1;
        self.column += 1;
        if self.column == TERSE_COLUMNS - 1 { self.write_progress() } else { Ok(()) }
    }

    fn write_progress(&mut self) -> io::Result<()> {
        self.column = 0;
        writeln!(self.out, " {}/{}", self.finished, self.tests)
    }

    /// Shows the outputs of tests in the order in which they ended, and lists their names.
    fn write_outputs(&mut self, title: &str, tests: &[Shown]) -> io::Result<()> {
        write!(self.out, "\n{title}:\n")?;
        let with_output: Vec<&Shown> = tests.iter().filter(|test| !test.output.is_empty()).collect();
        if !with_output.is_empty() {
            self.out.write_all(b"\n")?;
        }
        for Shown { name, output } in with_output {
            writeln!(self.out, "---- {name} stdout ----")?;
            self.out.write_all(String::from_utf8_lossy(output).as_bytes())?;
            self.out.write_all(b"\n")?;
        }
        write!(self.out, "\n{title}:\n")?;
        // Outputs are in the order in which tests ended; names are sorted, as in libtest.
        let mut names: Vec<&str> = tests.iter().map(|test| test.name.as_str()).collect();
        names.sort_unstable();
        names.iter().try_for_each(|name| writeln!(self.out, "    {name}"))
    }

    fn write_colored(&mut self, word: &str, color: &str) -> io::Result<()> {
        if self.style.color {
            write!(self.out, "\x1b[{color}m{word}\x1b[0m")
        } else {
            self.out.write_all(word.as_bytes())
        }
    }
}

/// Lists tests.
pub(super) fn list(mut out: impl Write, tests: &[Test], terse: bool) -> io::Result<()> {
    tests.iter().try_for_each(|test| writeln!(out, "{}: test", escape(&test.name)))?;
    if !terse {
        let gap = if tests.is_empty() { "" } else { "\n" };
        writeln!(out, "{gap}{}, 0 benchmarks", plural(tests.len(), "test"))?;
    }
    out.flush()
}

fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
