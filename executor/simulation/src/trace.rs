//! The trace of a simulation: a line for each signal and each turn, the same bytes for the same seed.
//!
//! ```text
//! 2048 process 65 gets a message with the tag 5 and 8 bytes
//! 2100 worker 3 process 65 yielded 52
//! ```
//!
//! A line has the simulated nanoseconds and a signal that has arrived at the beginning of a turn; or the virtual
//! worker, the process, how its turn ended, and the reductions that it took. The simulation itself has lines for
//! jumps of time, paused workers, blocking work and faults.

use std::fmt::Arguments;
use std::io::{self, Write};

/// Bytes that are collected before they are written.
const CHUNK: usize = 64 << 10;

/// A trace. See the module documentation.
pub(super) struct Trace {
    text: Vec<u8>,
    /// The sink, or the error that ended the trace.
    sink: Result<Box<dyn Write + Send>, io::Error>,
}

impl Trace {
    pub(super) fn new(sink: Box<dyn Write + Send>) -> Trace {
        Trace { text: Vec::with_capacity(CHUNK + 256), sink: Ok(sink) }
    }

    /// Adds a line.
    pub(super) fn line(&mut self, time: u64, what: Arguments<'_>) {
        // Writing to memory does not fail.
        let _ = writeln!(self.text, "{time} {what}");
        if self.text.len() >= CHUNK {
            self.write();
        }
    }

    /// Writes the rest.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.write();
        self.sink?.flush()
    }

    fn write(&mut self) {
        if let Ok(sink) = &mut self.sink
            && let Err(error) = sink.write_all(&self.text)
        {
            self.sink = Err(error);
        }
        self.text.clear();
    }
}
