//! The command's standard streams, shared by all processes and by other programs.
//!
//! Their flags are never changed. Reading and writing may block, so each stream has a thread of its own and
//! processes wait for it like for anything else. In a simulation nothing may depend on how fast the world outside is:
//! what is written goes out at once, and a read blocks the whole simulation, for which no time passes.

mod immediate;
mod input;
mod output;
mod script;
mod waiters;

use std::io::Write;
use std::time::Duration;

pub(crate) use output::Accepted;
pub use script::Script;
pub(crate) use waiters::Owner;

use immediate::Immediate;
use input::Awaited;
use output::Queued;
use script::Replay;

/// Called when there is reason to try again.
pub(crate) type Resume = Box<dyn FnOnce() + Send>;

/// Standard output or error.
pub(crate) enum Output {
    /// Written by a thread of its own.
    Queued(Queued),
    /// Written by whoever writes.
    Immediate(Immediate),
}

/// Standard input.
pub(crate) enum Input {
    /// Read by a thread of its own.
    Awaited(Awaited),
    /// Read by whoever reads.
    Replayed(Replay),
}

impl Output {
    /// Starts the thread that writes to `sink`.
    pub(crate) fn start(name: &str, sink: impl Write + Send + 'static) -> std::io::Result<Output> {
        Ok(Output::Queued(Queued::start(name, sink)?))
    }

    /// Written at once.
    pub(crate) fn immediate(sink: Box<dyn Write + Send>) -> Output {
        Output::Immediate(Immediate::new(sink))
    }

    /// Writes bytes, or queues them if there is room.
    pub(crate) fn write(&self, bytes: impl AsRef<[u8]>) -> Accepted {
        match self {
            Output::Queued(output) => output.write(bytes.as_ref()),
            Output::Immediate(output) => output.write(bytes.as_ref()),
        }
    }

    /// Writes or queues bytes of the node's own, which cannot wait for room.
    pub(crate) fn report(&self, bytes: impl AsRef<[u8]>) {
        match self {
            Output::Queued(output) => output.report(bytes.as_ref()),
            Output::Immediate(output) => drop(output.write(bytes.as_ref())),
        }
    }

    /// Whether a write would not have to wait.
    pub(crate) fn has_room(&self) -> bool {
        match self {
            Output::Queued(output) => output.has_room(),
            Output::Immediate(_) => true,
        }
    }

    /// Calls back when there is room; at once if there is, maybe not if the owner is gone by then.
    pub(crate) fn when_room(&self, owner: Owner, resume: Resume) {
        match self {
            Output::Queued(output) => output.when_room(owner, resume),
            Output::Immediate(_) => resume(),
        }
    }

    /// Waits until everything is written, at most for so long if a time is given. Not for workers.
    pub(crate) fn flush(&self, patience: Option<Duration>) {
        match self {
            Output::Queued(output) => output.flush(patience),
            Output::Immediate(_) => {}
        }
    }
}

impl Input {
    /// The command's own, read when someone wants something.
    pub(crate) fn awaited() -> Input {
        Input::Awaited(Awaited::new())
    }

    /// A script, from its beginning.
    pub(crate) fn replayed(script: Script) -> Input {
        Input::Replayed(Replay::new(script))
    }

    /// Takes what there is into the buffer: how much, 0 at the end of the stream, `None` when nothing is there yet.
    pub(crate) fn take(&self, buffer: &mut [u8]) -> Option<usize> {
        match self {
            Input::Awaited(input) => input.take(buffer),
            Input::Replayed(input) => Some(input.take(buffer)),
        }
    }

    /// How much there is to be taken, as far as it is known, 0 at the end of the stream; `None` when nothing is there yet.
    pub(crate) fn available(&self) -> Option<usize> {
        match self {
            Input::Awaited(input) => input.available(),
            Input::Replayed(_) => Some(1),
        }
    }

    /// Calls back once there is something, or the end; maybe not if the owner is gone by then.
    pub(crate) fn when_ready(&self, owner: Owner, resume: Resume) {
        match self {
            Input::Awaited(input) => input.when_ready(owner, resume),
            Input::Replayed(_) => resume(),
        }
    }
}
