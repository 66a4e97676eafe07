//! The result of a simulated run.

use std::fmt;
use std::time::Duration;

use lunatic_core::Node;
use lunatic_core::node::ExitStatus;
use lunatic_core::process::WaitsFor;

/// The exit status of a program in a deadlock.
const STATUS_DEADLOCK: i32 = 125;

/// The exit status of a program that has not ended in time, as of `timeout`.
const STATUS_OUT_OF_TIME: i32 = 124;

/// The result of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub ended: Ended,
    /// The simulated time from the beginning to the end.
    pub time: Duration,
    /// The number of turns of its processes.
    pub turns: u64,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// The first process ended with this status.
    Exited(ExitStatus),
    /// All processes wait, and no signal, timer or job is pending that could wake one.
    Deadlock(Vec<BlockedProcess>),
    /// The limit on simulated time has passed.
    OutOfTime,
}

/// A process that waits for ever.
#[derive(Debug, PartialEq, Eq)]
pub struct BlockedProcess {
    /// Its identifier, as guests see it.
    pub process: u64,
    /// Its registered name, or the function that it was spawned with.
    pub name: Option<String>,
    /// What it waits for.
    pub waits_for: WaitsFor,
    /// The tags of messages that would wake it; empty if any message would.
    pub tags: Vec<i64>,
}

impl Outcome {
    /// Returns the exit status of the command: that of the program, 125 for a deadlock, 124 if the time is over.
    pub fn status(&self) -> ExitStatus {
        match self.ended {
            Ended::Exited(status) => status,
            Ended::Deadlock(_) => ExitStatus(STATUS_DEADLOCK),
            Ended::OutOfTime => ExitStatus(STATUS_OUT_OF_TIME),
        }
    }

    /// Returns whether the program ended with status 0.
    pub fn is_success(&self) -> bool {
        self.ended == Ended::Exited(ExitStatus(0))
    }
}

impl BlockedProcess {
    /// Returns all waiting processes, ordered by identifier.
    pub(super) fn all(node: &Node) -> Vec<BlockedProcess> {
        let processes = node.table.all();
        let mut all: Vec<BlockedProcess> = processes
            .iter()
            .filter_map(|process| {
                let (name, waits_for, tags) = process.waiting()?;
                Some(BlockedProcess { process: process.id().to_guest(), name, waits_for, tags })
            })
            .collect();
        all.sort_unstable_by_key(|stuck| stuck.process);
        all
    }
}

/// In one line. Names are escaped, because the guest chooses them.
impl fmt::Display for BlockedProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {}", self.process)?;
        if let Some(name) = &self.name {
            write!(f, " ({})", name.escape_debug())?;
        }
        write!(f, " waits for {}", self.waits_for)?;
        match &self.tags[..] {
            [] => Ok(()),
            [tag] => write!(f, " with the tag {tag}"),
            [tag, ..] => write!(f, " with one of {} tags, such as {tag}", self.tags.len()),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exited(status) => write!(f, "it ended with status {}", status.0),
            Ended::Deadlock(_) => {
                f.write_str("it is in a deadlock: every process waits, and nothing is on its way")
            }
            Ended::OutOfTime => f.write_str("it has not ended when the simulated time was over"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_process_is_described_in_one_line() {
        let says = |name: Option<&str>, waits_for, tags: &[i64]| {
            BlockedProcess { process: 7, name: name.map(ToOwned::to_owned), waits_for, tags: tags.to_vec() }
                .to_string()
        };
        assert_eq!(says(Some("a\nb"), WaitsFor::Message, &[]), "process 7 (a\\nb) waits for a message");
        assert_eq!(says(None, WaitsFor::Message, &[3]), "process 7 waits for a message with the tag 3");
        assert_eq!(
            says(None, WaitsFor::Message, &[3, 4]),
            "process 7 waits for a message with one of 2 tags, such as 3"
        );
        assert_eq!(says(None, WaitsFor::Time, &[]), "process 7 waits for a time");
        assert_eq!(says(None, WaitsFor::Outside, &[]), "process 7 waits for the outside");
    }
}
