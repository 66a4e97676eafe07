//! The command's standard streams, shared by all processes and by other programs.
//!
//! Their flags are never changed. Reading and writing may block, so what has to wait for a reader or a writer is done by a
//! thread, for which processes wait like for anything else. In a simulation nothing may depend on how fast the world
//! outside is: what is written goes out at once, and a read blocks the whole simulation, for which no time passes.
//!
//! | file | what it holds |
//! |---|---|
//! | `output`, `target`, `pending` | standard output and error: order, errors, who writes; where to; a write that is waited for |
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

/// Called when there is reason to try again.
pub type Resume = Box<dyn FnOnce() + Send>;

/// Standard output or error.
pub enum Output {
    /// Written by workers or by a thread, in order.
    Queued(Queued),
    /// Written by whoever writes.
    Immediate(Immediate),
}

/// Standard input.
pub enum Input {
    /// Read by a thread of its own.
    Awaited(Awaited),
    /// Read by whoever reads.
    Replayed(Replay),
}

impl Output {
    /// The command's own standard output and standard error, which share a queue if they end in the same place.
    #[cfg(unix)]
    pub fn of_command() -> io::Result<(Output, Output)> {
        use std::sync::Arc;

        use target::Descriptor;

        // What was printed before comes before.
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

    /// The command's own standard output and standard error.
    #[cfg(not(unix))]
    pub fn of_command() -> io::Result<(Output, Output)> {
        Ok((Output::start("stdout", io::stdout())?, Output::start("stderr", io::stderr())?))
    }

    /// Starts the thread that writes to `sink`.
    pub fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<Output> {
        Ok(Output::Queued(Queued::start(name, sink)?))
    }

    /// Written at once.
    pub fn immediate(sink: Box<dyn Write + Send>) -> Output {
        Output::Immediate(Immediate::new(sink))
    }

    /// Writes bytes; what that means is said in `output`. `waits`: whether the writer waits if it has to.
    pub fn write(&self, bytes: Vec<u8>, waits: bool) -> Accepted {
        match self {
            Output::Queued(output) => output.write(bytes, waits),
            Output::Immediate(output) => {
                output.write(&bytes);
                Accepted::Taken(bytes.len())
            }
        }
    }

    /// Writes or queues bytes of the node's own, which cannot wait for room.
    pub fn report(&self, bytes: impl AsRef<[u8]>) {
        match self {
            Output::Queued(output) => output.report(bytes.as_ref()),
            Output::Immediate(output) => output.write(bytes.as_ref()),
        }
    }

    /// As a write of nothing that is taken when all that was written before is with the system.
    pub fn drain(&self) -> Accepted {
        match self {
            Output::Queued(output) => output.drain(),
            Output::Immediate(_) => Accepted::Taken(0),
        }
    }

    /// What puts on the disk what was written, if it goes to one: all of the file's metadata too, or not. It waits.
    pub fn syncing(&self, all: bool) -> impl FnOnce() -> io::Result<()> + Send + 'static {
        let target = match self {
            Output::Queued(output) => Some(output.target().clone()),
            Output::Immediate(_) => None,
        };
        move || target.map_or(Ok(()), |target| target.sync(all))
    }

    /// Whether a write would not have to wait.
    pub fn has_room(&self) -> bool {
        match self {
            Output::Queued(output) => output.has_room(),
            Output::Immediate(_) => true,
        }
    }

    /// Calls back when there is room; at once if there is, maybe not if the owner is gone by then.
    pub fn when_room(&self, owner: Owner, resume: Resume) {
        match self {
            Output::Queued(output) => output.when_room(owner, resume),
            Output::Immediate(_) => resume(),
        }
    }

    /// Waits until everything is written, at most for so long if a time is given, and returns what could not be written
    /// and nobody was told of. Not for workers.
    pub fn flush(&self, patience: Option<Duration>) -> Option<Failure> {
        match self {
            Output::Queued(output) => output.flush(patience),
            Output::Immediate(output) => output.take_failure(),
        }
    }
}

impl Input {
    /// The command's own, read when someone wants something.
    pub fn awaited() -> Input {
        Input::Awaited(Awaited::new())
    }

    /// A script, from its beginning.
    pub fn replayed(script: Script) -> Input {
        Input::Replayed(Replay::new(script))
    }

    /// Takes what there is into the buffer: how much, 0 at the end of the stream, or why it cannot be read; `None` when
    /// nothing is there yet.
    pub fn take(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        match self {
            Input::Awaited(input) => input.take(buffer),
            Input::Replayed(input) => Some(Ok(input.take(buffer))),
        }
    }

    /// How much there is to be taken, as far as it is known, 0 at the end of the stream; `None` when nothing is there yet.
    pub fn available(&self) -> Option<usize> {
        match self {
            Input::Awaited(input) => input.available(),
            Input::Replayed(_) => Some(1),
        }
    }

    /// Calls back once there is something, or the end; maybe not if the owner is gone by then.
    pub fn when_ready(&self, owner: Owner, resume: Resume) {
        match self {
            Input::Awaited(input) => input.when_ready(owner, resume),
            Input::Replayed(_) => resume(),
        }
    }
}
