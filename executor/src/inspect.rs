//! Lists the processes of a running node on standard error, for an operator.
//!
//! A waiting process is inspected in place. A running one is inspected between two slices. If this does not happen
//! soon, as on an overloaded machine, the list only says that the process runs. Inspection wakes no process. The list
//! ends with the metrics that guests have recorded.

use std::fmt::Write;
use std::sync::Arc;

use lunatic_core::Node;
use lunatic_core::process::{Process, RunState, Snapshot};

/// Maximum number of processes in the list; a node may have a million.
const MAX_LISTED: usize = 1000;

/// Maximum number of characters of a name in the list.
const MAX_NAME: usize = 60;

/// Number of attempts to inspect a running process. The thread yields between attempts.
const ATTEMPTS: u32 = 10_000;

/// Lists the processes of a node, for example on a signal.
#[derive(Clone)]
pub struct Inspector {
    node: Arc<Node>,
}

impl Inspector {
    /// Creates an inspector of a node.
    pub(crate) fn new(node: Arc<Node>) -> Inspector {
        Inspector { node }
    }

    /// Writes the list to the node's standard error.
    ///
    /// There is one line for each process, in the order of identifiers: name, state, mailbox, resources used, and
    /// current function. After a thousand processes the list only says how many more there are. One line for each
    /// metric of the guests follows. Names of processes and functions come from guests, so they are escaped and
    /// shortened to protect the terminal.
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
        // A process that has ended meanwhile is left out.
        if process.is_over() {
            return;
        }
        let snapshot = process.snapshot(ATTEMPTS);
        let name = registered.or_else(|| snapshot.as_ref()?.entry.clone());
        let name = name.map(|name| format!(" ({})", shown(&name))).unwrap_or_default();
        let _ = match snapshot {
            Some(snapshot) => writeln!(text, "process {id}{name} {}", details(&snapshot)),
            None => writeln!(text, "process {id}{name} runs"),
        };
    }
}

fn details(snapshot: &Snapshot) -> String {
    let info = &snapshot.info;
    let state = match info.state {
        RunState::Running | RunState::Runnable => "can run".to_owned(),
        RunState::Waits(what) => format!("waits for {what}"),
    };
    let mut text = format!(
        "{state}; {} messages, {} bytes of them; {} reductions, {} bytes of memory",
        info.messages, info.message_bytes, info.usage.reductions, info.usage.memory
    );
    if let Some(frame) = snapshot.frames.first() {
        let name = frame.name.clone().unwrap_or_else(|| format!("<function {}>", frame.function));
        text += &format!("; in {}", shown(&name));
    }
    text
}

/// Escapes and shortens a name that a guest has chosen.
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
