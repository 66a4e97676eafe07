//! Standard output or error of a simulation: written at once, in order, by whoever writes.
//!
//! What becomes of the bytes outside is no input of the simulation: a reader that is gone, or that is slow, changes
//! nothing in it. So a write always succeeds, and there is always room.

use std::io::Write;
use std::sync::{Mutex, PoisonError};

use super::output::write_all;

/// See the module.
pub(crate) struct Immediate {
    /// `None` once it has failed.
    sink: Mutex<Option<Box<dyn Write + Send>>>,
}

impl Immediate {
    pub(super) fn new(sink: Box<dyn Write + Send>) -> Immediate {
        Immediate { sink: Mutex::new(Some(sink)) }
    }

    /// Writes all of it, as far as someone reads.
    pub(super) fn write(&self, bytes: &[u8]) {
        // A sink that has panicked is the embedder's fault; it is used as it is.
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = sink.as_mut()
            && write_all(open, bytes).is_err()
        {
            *sink = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_sink_that_fails_is_not_written_again() {
        let output = Immediate::new(Box::new(Closed));
        output.write(b"a");
        output.write(b"b");
        assert!(output.sink.lock().unwrap().is_none());
    }
}
