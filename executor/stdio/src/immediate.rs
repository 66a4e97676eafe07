//! Standard output or error of a simulation: written at once, in order, by whoever writes.
//!
//! What becomes of the bytes outside is no input of the simulation: a reader that is gone, or that is slow, changes
//! nothing in it. So a write always succeeds, and there is always room. Whoever has the simulation run is told of an error
//! at its end, unless it is that nobody reads: that was the reader's choice.

use std::io::{ErrorKind, Write};
use std::sync::{Mutex, PoisonError};

use super::output::{Failure, write_all};

/// See the module.
pub struct Immediate {
    state: Mutex<State>,
}

enum State {
    Open(Box<dyn Write + Send>),
    /// It has failed: why, and how many bytes are lost with that and since.
    Failed(Option<Failure>),
}

impl Immediate {
    pub(super) fn new(sink: Box<dyn Write + Send>) -> Immediate {
        Immediate { state: Mutex::new(State::Open(sink)) }
    }

    /// Writes all of it, as far as someone reads.
    pub(super) fn write(&self, bytes: &[u8]) {
        // A sink that has panicked is the embedder's fault; it is used as it is.
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *state {
            State::Open(sink) => {
                if let Err(error) = write_all(sink, bytes) {
                    let is_told = error.kind() != ErrorKind::BrokenPipe;
                    *state = State::Failed(is_told.then_some(Failure { error, lost: bytes.len() }));
                }
            }
            State::Failed(Some(failure)) => failure.lost += bytes.len(),
            State::Failed(None) => {}
        }
    }

    /// What could not be written, to be told once.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        match &mut *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Open(_) => None,
            State::Failed(failure) => failure.take(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_could_not_be_written_is_told_unless_nobody_reads() {
        let output = Immediate::new(Box::new(Fails(ErrorKind::StorageFull)));
        output.write(b"ab");
        output.write(b"c");
        let Failure { error, lost } = output.take_failure().unwrap();
        assert_eq!((error.kind(), lost), (ErrorKind::StorageFull, 3));
        assert!(output.take_failure().is_none());
        let output = Immediate::new(Box::new(Fails(ErrorKind::BrokenPipe)));
        output.write(b"a");
        assert!(output.take_failure().is_none());
    }
}
