//! What can be reported about a process.

use lunatic_jit::Frame;

use lunatic_scheduler::Priority;

use super::data::ProcessData;
use super::wait::Reason;
use super::{Process, Relations, WaitsFor};

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running,
    /// It is runnable.
    Runnable,
    /// It waits.
    Waits(WaitsFor),
}

impl RunState {
    /// Returns the number for guests. Append only.
    fn to_guest(self) -> u64 {
        match self {
            RunState::Running => 0,
            RunState::Runnable => 1,
            RunState::Waits(WaitsFor::Message) => 2,
            RunState::Waits(WaitsFor::Time) => 3,
            RunState::Waits(WaitsFor::Outside) => 4,
        }
    }
}

/// Figures about a process.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The state.
    pub state: RunState,
    /// Messages in the mailbox.
    pub messages: u64,
    /// Bytes of messages that count against the limit: in the mailbox and on their way to it.
    pub message_bytes: u64,
    /// Reductions of its life, and bytes of linear memory, when it was last suspended.
    pub usage: Usage,
    /// Links.
    pub links: u64,
    /// Monitors that it has.
    pub watched: u64,
    /// Monitors that others have of it.
    pub watchers: u64,
    /// Messages that were dropped because the mailbox was full.
    pub dropped: u64,
    /// The priority.
    pub priority: Priority,
}

/// What a process had used when it was last suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub reductions: u64,
    pub memory: u64,
}

impl Info {
    /// Returns the figures in the order in which guests see them. Append only.
    pub fn fields(&self) -> [u64; 10] {
        [
            self.state.to_guest(),
            self.messages,
            self.message_bytes,
            self.usage.reductions,
            self.usage.memory,
            self.links,
            self.watched,
            self.watchers,
            self.dropped,
            self.priority as u64,
        ]
    }
}

/// A process between two turns.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Figures.
    pub info: Info,
    /// The name of the function that it was spawned with.
    pub entry: Option<String>,
    /// The frames of its stack; empty before its first turn, and within some routines of the engine.
    pub frames: Vec<Frame>,
}

impl Info {
    /// Returns the figures of a process that has not run yet.
    pub(super) fn at_first(process: &Process, relations: &Relations) -> Info {
        let (message_bytes, dropped) = process.inbox().held();
        let (links, watched, watchers) = relations.counts();
        Info {
            state: RunState::Runnable,
            messages: 0,
            message_bytes,
            usage: Usage::default(),
            links,
            watched,
            watchers,
            dropped,
            priority: process.priority(),
        }
    }
}

impl ProcessData {
    /// What can be said of this process, which does `otherwise` unless it waits.
    pub fn info(&self, otherwise: RunState) -> Info {
        Info {
            state: self.wait_reason().and_then(Reason::waits_for).map_or(otherwise, RunState::Waits),
            messages: self.mailbox.len() as u64,
            usage: self.usage,
            ..Info::at_first(&self.process, &self.relations)
        }
    }
}
