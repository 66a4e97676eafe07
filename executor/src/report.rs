//! What a person reads when a process ends badly.

use std::fmt::Write;

use lunatic_jit::{FuncIndex, Module};

use crate::process::{ExitReason, Process, ProcessId};

/// Frames shown of a backtrace; a stack overflow has thousands.
const MAX_FRAMES: usize = 32;

/// Who a report is about.
pub(crate) struct Report {
    process: ProcessId,
    name: Option<String>,
}

/// The name by which a module exports a function.
pub(crate) fn name_of_entry(module: &Module, entry: FuncIndex) -> Option<String> {
    let is_entry = |name: &&str| module.exported_function(name) == Some(entry);
    module.exports().map(|(name, _)| name).find(is_entry).map(ToOwned::to_owned)
}

impl Report {
    /// Names the process by its registered name, else by the function it was spawned with.
    pub(crate) fn new(process: &Process, entry: FuncIndex) -> Report {
        let registered = process.node().registry.lock().name_of(process.id()).map(ToOwned::to_owned);
        let name = registered.or_else(|| name_of_entry(process.code().module(), entry));
        Report { process: process.id(), name }
    }

    /// The name that it uses, if there is one.
    pub(crate) fn into_name(self) -> Option<String> {
        self.name
    }

    /// The report, ending in a newline. Names are escaped: they are the guest's, the terminal is not.
    pub(crate) fn text(&self, reason: &ExitReason) -> String {
        let mut text = match &self.name {
            Some(name) => format!("process {} ({}) {reason}\n", self.process, name.escape_debug()),
            None => format!("process {} {reason}\n", self.process),
        };
        if let ExitReason::Trap(trap) = reason {
            for (index, frame) in trap.backtrace.iter().take(MAX_FRAMES).enumerate() {
                // The functions that were inlined share the frame, and its number.
                let mut number = format!("{index:>2}:");
                for line in frame.lines() {
                    // Writing to a string cannot fail.
                    let _ = writeln!(text, "  {number:3} {}", line.escape_debug());
                    number.clear();
                }
            }
            if trap.backtrace.len() > MAX_FRAMES {
                let _ = writeln!(text, "      … {} more", trap.backtrace.len() - MAX_FRAMES);
            }
        }
        text
    }
}
