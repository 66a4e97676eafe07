//! Captures the output of a test and optionally passes it on as it is written.
//!
//! Standard output and error are kept together, in the order of the writes. Standard error is also kept separately,
//! to search for panics. Writes that are only kept never block. The worker that runs the test writes the output that
//! is passed on, and waits for its reader, so both streams stay in order.

use std::io::{self, Write};
use std::sync::Arc;

use lunatic_resources::sync::{Mutex, MutexGuard};

use crate::runtime::StandardStreams;
use lunatic_core::node::Terminals;
use lunatic_stdio::{Input, Output, Script};

/// The maximum number of bytes kept per buffer. Output beyond this is lost.
const MAX_KEPT: usize = 16 << 20;

/// The output of a test.
#[derive(Clone, Default)]
pub(super) struct Capture {
    kept: Arc<Mutex<Kept>>,
}

/// The output kept so far.
#[derive(Default)]
pub(super) struct Kept {
    /// The output of both streams.
    pub(super) all: Vec<u8>,
    pub(super) errors: Vec<u8>,
    pub(super) is_cut: bool,
    /// Whether the output has already been passed on.
    pub(super) is_passed_on: bool,
}

/// One of the streams.
struct Sink {
    capture: Capture,
    is_error: bool,
    pass_on: Option<Box<dyn Write + Send>>,
}

impl Capture {
    /// Returns the streams of a node. If `keep` is true, the output is kept and not passed on.
    pub(super) fn streams(&self, keep: bool) -> StandardStreams {
        let sink = |is_error, stream: Box<dyn Write + Send>| {
            let pass_on = if keep { None } else { Some(stream) };
            Output::immediate(Box::new(Sink { capture: self.clone(), is_error, pass_on }))
        };
        StandardStreams {
            stdin: Input::replayed(Script::default()),
            terminals: Terminals::default(),
            stdout: sink(false, Box::new(io::stdout())),
            stderr: sink(true, Box::new(io::stderr())),
        }
    }

    /// Takes the output kept so far.
    pub(super) fn take(&self) -> Kept {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        // Nothing panics under this lock.
        self.kept.lock()
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = match &mut self.pass_on {
            Some(stream) => stream.write(bytes)?,
            None => bytes.len(),
        };
        let (kept, bytes) = (&mut *self.capture.lock(), &bytes[..written]);
        kept.is_passed_on = self.pass_on.is_some();
        kept.is_cut |= !keep(&mut kept.all, bytes);
        if self.is_error {
            kept.is_cut |= !keep(&mut kept.errors, bytes);
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.pass_on.as_mut().map_or(Ok(()), Write::flush)
    }
}

/// Appends as many bytes as fit and returns whether all did.
fn keep(to: &mut Vec<u8>, bytes: &[u8]) -> bool {
    let room = MAX_KEPT.saturating_sub(to.len()).min(bytes.len());
    to.extend_from_slice(&bytes[..room]);
    room == bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_streams_are_kept_in_order_and_errors_apart() {
        let capture = Capture::default();
        let streams = capture.streams(true);
        for (stream, text) in [(&streams.stdout, "a"), (&streams.stderr, "b"), (&streams.stdout, "c")] {
            stream.write(text.into(), true);
        }
        let Kept { all, errors, is_cut, .. } = capture.take();
        assert_eq!((&all[..], &errors[..], is_cut), (&b"abc"[..], &b"b"[..], false));
    }

    #[test]
    fn captured_output_is_bounded() {
        let capture = Capture::default();
        let streams = capture.streams(true);
        streams.stdout.write(vec![b'x'; MAX_KEPT - 1], true);
        streams.stderr.write(b"yz".to_vec(), true);
        let Kept { all, errors, is_cut, .. } = capture.take();
        assert_eq!((all.len(), all.last(), &errors[..], is_cut), (MAX_KEPT, Some(&b'y'), &b"yz"[..], true));
    }
}
