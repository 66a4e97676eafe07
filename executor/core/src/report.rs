//! Reports of processes that crash.

use std::fmt::Write;

use lunatic_jit::{Frame, FuncIndex, Module};

use crate::process::{ExitReason, Process, ProcessId};

/// Frames of a backtrace that are shown. A stack overflow has thousands.
const MAX_FRAMES: usize = 32;

/// The process that a report is about.
pub struct Report {
    process: ProcessId,
    name: Option<String>,
}

/// Bytes of a name or a reason that are shown. Both may be the guest's, and of any length.
const MAX_TEXT: usize = 1000;

/// Bytes of a report at most. A process that traps over and over writes one each time, on its worker.
const MAX_REPORT: usize = 32 << 10;

impl Report {
    /// Names the process by its registered name, or else by the function that it was spawned with.
    pub fn new(process: &Process, entry: FuncIndex) -> Report {
        let registered = process.node().registry.lock().name_of(process.id()).map(cut);
        let name = registered.or_else(|| name_of_entry(process.code().module(), entry));
        Report { process: process.id(), name }
    }

    /// Returns the name that the report uses, if there is one.
    pub fn into_name(self) -> Option<String> {
        self.name
    }

    /// Returns the report, ending in a newline. Names are escaped and cut, because the guest chooses them.
    pub fn text(&self, reason: &ExitReason) -> String {
        let said = cut(&reason.to_string());
        let mut text = match &self.name {
            Some(name) => format!("process {} ({}) {said}\n", self.process, name.escape_debug()),
            None => format!("process {} {said}\n", self.process),
        };
        if let ExitReason::Trap(trap) = reason {
            write_backtrace(&mut text, &trap.backtrace);
        }
        text
    }
}

fn write_backtrace(text: &mut String, backtrace: &[Frame]) {
    let mut shown = 0;
    for frame in backtrace.iter().take(MAX_FRAMES) {
        if text.len() > MAX_REPORT {
            break;
        }
        // Inlined functions share the frame and its number.
        let mut number = format!("{shown:>2}:");
        for line in frame.lines() {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "  {number:3} {}", line.escape_debug());
            number.clear();
        }
        shown += 1;
    }
    if shown < backtrace.len() {
        let _ = writeln!(text, "      … {} more", backtrace.len() - shown);
    }
}

/// Returns the name by which a module exports a function.
pub fn name_of_entry(module: &Module, entry: FuncIndex) -> Option<String> {
    module.name_of_export(entry).map(cut)
}

/// Returns the part of a text that is shown.
fn cut(text: &str) -> String {
    let end = text.floor_char_boundary(MAX_TEXT);
    if end < text.len() { format!("{}…", &text[..end]) } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_between_characters() {
        assert_eq!(cut("name"), "name");
        let long = format!("x{}", "ä".repeat(MAX_TEXT));
        assert_eq!(cut(&long), format!("x{}…", "ä".repeat((MAX_TEXT - 1) / 2)));
    }
}
