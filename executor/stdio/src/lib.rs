//! The command's standard streams, shared by all processes and by other programs.
//!
//! The flags of the streams are never changed. Reads and writes may block, so a thread performs those that have to
//! wait, and processes wait for the thread as for any other event. A simulation must not depend on the speed of the
//! outside world: its writes happen immediately, and a read blocks the whole simulation, whose clock stands still
//! meanwhile.
//!
//! | file | contents |
//! |---|---|
//! | `output`, `target`, `pending` | standard output and error; write targets; a write that a process waits for |
//! | `input` | standard input |
//! | `waiters` | processes that wait for a stream |
//! | `immediate`, `script` | the streams of a simulation |

#![forbid(unsafe_code)]

mod immediate;
mod input;
mod output;
mod pending;
mod script;
mod target;
mod waiters;

use std::io::{self, Write};
use std::time::Duration;

pub use output::{Accepted, Failure};
pub use pending::Pending;
pub use script::Script;
pub use waiters::Owner;

use immediate::Immediate;
use input::Awaited;
use output::Queued;
use script::Replay;

/// Callback for a waiting process that should try again.
pub type Resume = Box<dyn FnOnce() + Send>;

/// Standard output or error.
pub enum Output {
    /// Written by workers or by the stream's thread, in order.
    Queued(Queued),
    /// Written on the writer's thread.
    Immediate(Immediate),
}

/// Standard input.
pub enum Input {
    /// Read by a thread of its own.
    Awaited(Awaited),
    /// Read on the reader's thread.
    Replayed(Replay),
}

impl Output {
    /// Opens the command's own standard output and standard error. They share a queue if they end in the same place.
    ///
    /// # Errors
    ///
    /// Returns an error if standard output cannot be flushed or a thread cannot be started.
    #[cfg(unix)]
    pub fn of_command() -> io::Result<(Output, Output)> {
        use std::sync::Arc;

        use target::Descriptor;

        // Earlier prints come first in the output.
        io::stdout().flush()?;
        let (stdout, stderr) = (Descriptor::new(io::stdout()), Descriptor::new(io::stderr()));
        let [stdout, stderr] = if stdout.is_same(&stderr) {
            Queued::start_for("output", [Arc::new(stdout), Arc::new(stderr)])?
        } else {
            let [stdout] = Queued::start_for("stdout", [Arc::new(stdout)])?;
            let [stderr] = Queued::start_for("stderr", [Arc::new(stderr)])?;
            [stdout, stderr]
        };
        Ok((Output::Queued(stdout), Output::Queued(stderr)))
    }

    /// Opens the command's own standard output and standard error.
    ///
    /// # Errors
    ///
    /// Returns an error if a thread cannot be started.
    #[cfg(not(unix))]
    pub fn of_command() -> io::Result<(Output, Output)> {
        Ok((Output::start("stdout", io::stdout())?, Output::start("stderr", io::stderr())?))
    }

    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    ///
    /// Returns an error if the thread cannot be started.
    pub fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<Output> {
        Ok(Output::Queued(Queued::start(name, sink)?))
    }

    /// Returns an output whose writes happen immediately.
    pub fn immediate(sink: Box<dyn Write + Send>) -> Output {
        Output::Immediate(Immediate::new(sink))
    }

    /// Writes bytes; see `output` for the guarantees. `waits` says whether the writer waits if necessary.
    pub fn write(&self, bytes: Vec<u8>, waits: bool) -> Accepted {
        match self {
            Output::Queued(output) => output.write(bytes, waits),
            Output::Immediate(output) => {
                output.write(&bytes);
                Accepted::Taken(bytes.len())
            }
        }
    }

    /// Writes or queues a report of the node, which cannot wait.
    pub fn report(&self, bytes: impl AsRef<[u8]>) {
        match self {
            Output::Queued(output) => output.report(bytes.as_ref()),
            Output::Immediate(output) => output.write(bytes.as_ref()),
        }
    }

    /// Returns like an empty write that completes once all earlier writes are with the operating system.
    pub fn drain(&self) -> Accepted {
        match self {
            Output::Queued(output) => output.drain(),
            Output::Immediate(_) => Accepted::Taken(0),
        }
    }

    /// Returns a blocking function that syncs a file to disk, with all metadata if `all`. Other targets need no sync.
    pub fn syncing(&self, all: bool) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let target = match self {
            Output::Queued(output) => Some(output.target().clone()),
            Output::Immediate(_) => None,
        };
        move || target.map_or(Ok(()), |target| target.sync(all))
    }

    /// Returns whether a write would succeed without waiting.
    pub fn has_room(&self) -> bool {
        match self {
            Output::Queued(output) => output.has_room(),
            Output::Immediate(_) => true,
        }
    }

    /// Calls `resume` when the stream is writable, immediately if it already is. May skip the call if the owner is
    /// gone by then.
    pub fn when_room(&self, owner: Owner, resume: Resume) {
        match self {
            Output::Queued(output) => output.when_room(owner, resume),
            Output::Immediate(_) => resume(),
        }
    }

    /// Waits until everything is written, for at most `patience` if given, and returns the error that has not been
    /// reported yet. Must not be called by workers.
    pub fn flush(&self, patience: Option<Duration>) -> Option<Failure> {
        match self {
            Output::Queued(output) => output.flush(patience),
            Output::Immediate(output) => output.take_failure(),
        }
    }
}

impl Input {
    /// Returns the command's own standard input, read on demand.
    pub fn awaited() -> Input {
        Input::Awaited(Awaited::new())
    }

    /// Returns a replay of the script from its beginning.
    pub fn replayed(script: Script) -> Input {
        Input::Replayed(Replay::new(script))
    }

    /// Moves available input into the buffer. Returns the number of bytes, 0 at the end of the stream, or the read
    /// error; `None` if no input is available yet.
    pub fn take(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self {
            Input::Awaited(input) => input.take(buffer),
            Input::Replayed(input) => Some(Ok(input.take(buffer))),
        }
    }

    /// Returns the known number of available bytes, 0 at the end of the stream; `None` if no input is available yet.
    pub fn available(&self) -> Option<usize> {
        match self {
            Input::Awaited(input) => input.available(),
            Input::Replayed(_) => Some(1),
        }
    }

    /// Calls `resume` once there is input or the stream ends. May skip the call if the owner is gone by then.
    pub fn when_ready(&self, owner: Owner, resume: Resume) {
        match self {
            Input::Awaited(input) => input.when_ready(owner, resume),
            Input::Replayed(_) => resume(),
        }
    }
}
