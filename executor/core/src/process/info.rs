//! What can be said of a process from outside.

use lunatic_jit::Frame;

use lunatic_scheduler::Priority;

use super::data::ProcessData;
use super::wait::Reason;
use super::{Process, Relations, WaitsFor};

/// What a process is state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunState {
    /// It runs.
    Running,
    /// It could run.
    Runnable,
    /// It rests.
    Waits(WaitsFor),
}

impl RunState {
    /// The number that guests know it by. Append only.
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

/// What can be counted of a process.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// What it is state.
    pub state: RunState,
    /// Messages that have arrived and are in the mailbox.
    pub messages: u64,
    /// Bytes of messages that count against its limit: in the mailbox and on their way to it.
    pub message_bytes: u64,
    /// Reductions of its life, and bytes of linear memory, when it was last suspended.
    pub usage: Usage,
    /// Links that it has.
    pub links: u64,
    /// Monitors that it has.
    pub watched: u64,
    /// Monitors that others have of it.
    pub watchers: u64,
    /// Messages that were dropped because its mailbox was full.
    pub dropped: u64,
    /// How urgent it is.
    pub priority: Priority,
}

/// What a process has used until it was last suspended.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    pub reductions: u64,
    pub memory: u64,
}

impl Info {
    /// The numbers in the order in which guests see them. Append only.
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
    /// What can be counted.
    pub info: Info,
    /// The function that it was spawned with.
    pub entry: Option<String>,
    /// Where it is in its code; empty before its first turn, and within some routines of the engine.
    pub frames: Vec<Frame>,
}

impl Info {
    /// What can be said of a process that has not run yet.
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
