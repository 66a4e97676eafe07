//! Looking at a node from outside: a list of its processes for a person, on standard error. The node goes on.
//!
//! A process that rests is looked at where it is. One that runs is between two turns again within a slice, and is looked
//! at then; if that does not come about for long, which takes a machine with much else to do, it says no more than
//! that it runs. No process is woken, or held up for longer than a look takes. Behind them is what guests have measured.

use std::fmt::Write;
use std::sync::Arc;

use lunatic_core::Node;
use lunatic_core::process::{Process, RunState, Snapshot};

/// Processes that are listed; there may be a million.
const MAX_LISTED: usize = 1000;

/// Characters of a name that are shown.
const MAX_NAME: usize = 60;

/// How often a process that runs is tried. The thread that looks yields in between.
const ATTEMPTS: u32 = 10_000;

/// Shows the processes of a node, such as on a signal.
#[derive(Clone)]
pub struct Inspector {
    node: Arc<Node>,
}

impl Inspector {
    /// Shows the processes of this node.
    pub(crate) fn new(node: Arc<Node>) -> Inspector {
        Inspector { node }
    }

    /// Writes a line for each process to the node's standard error, in the order of identifiers: its name, what it does,
    /// what is in its mailbox, what it has used, and the function that it is in. Beyond a thousand, it says how many
    /// more there are. Names and functions are escaped and cut: they are the guest's, the terminal is not. Then a line for
    /// each number that was measured.
    pub fn report(&self) {
        self.node.report(self.text());
    }

    fn text(&self) -> String {
        let mut processes = self.node.table.all();
        processes.sort_unstable_by_key(|process| process.id());
        let mut text = format!("{} processes\n", processes.len());
        for process in processes.iter().take(MAX_LISTED) {
            self.write_line(&mut text, process);
        }
        if let Some(more) = processes.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
            // Writing to a string cannot fail, here and below.
            let _ = writeln!(text, "… and {more} more");
        }
        for line in self.node.metrics.lines().take(MAX_LISTED) {
            text.extend([&line, "\n"]);
        }
        text
    }

    fn write_line(&self, text: &mut String, process: &Process) {
        let id = process.id();
        let registered = self.node.registry.lock().name_of(id).map(ToOwned::to_owned);
        // One that is over in the meantime has nothing to show.
        if process.is_over() {
            return;
        }
        let look = process.snapshot(ATTEMPTS);
        let name = registered.or_else(|| look.as_ref()?.entry.clone());
        let name = name.map(|name| format!(" ({})", shown(&name))).unwrap_or_default();
        let _ = match look {
            Some(look) => writeln!(text, "process {id}{name} {}", details(&look)),
            None => writeln!(text, "process {id}{name} runs"),
        };
    }
}

fn details(look: &Snapshot) -> String {
    let info = &look.info;
    let state = match info.state {
        RunState::Running | RunState::Runnable => "can run".to_owned(),
        RunState::Waits(what) => format!("waits for {what}"),
    };
    let mut text = format!(
        "{state}; {} messages, {} bytes of them; {} reductions, {} bytes of memory",
        info.messages, info.message_bytes, info.usage.reductions, info.usage.memory
    );
    if let Some(frame) = look.frames.first() {
        let name = frame.name.clone().unwrap_or_else(|| format!("<function {}>", frame.function));
        text += &format!("; in {}", shown(&name));
    }
    text
}

/// A guest's name as it may be shown.
fn shown(name: &str) -> String {
    let mut shown: String = name.chars().take(MAX_NAME).collect();
    if shown.len() < name.len() {
        shown.push('…');
    }
    shown.escape_debug().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_cut() {
        assert_eq!(shown("a\nb\u{1b}[31m\u{202e}"), "a\\nb\\u{1b}[31m\\u{202e}");
        assert_eq!(shown(&"ä".repeat(MAX_NAME)), "ä".repeat(MAX_NAME));
        assert_eq!(shown(&"ä".repeat(MAX_NAME + 1)), "ä".repeat(MAX_NAME) + "…");
    }
}
