//! Standard output or error of a simulation: each write happens immediately, in order, on the writer's thread.
//!
//! The fate of the bytes outside is not an input of the simulation: a slow or closed reader has no effect on it. A
//! write therefore always succeeds, and the stream is always writable. The caller of the simulation gets the error at
//! the end, except for a closed reader, which is the reader's choice.

use std::io::{ErrorKind, Write};

use lunatic_resources::sync::Mutex;

use super::output::{Failure, write_all};

/// See the module documentation.
pub struct Immediate {
    state: Mutex<State>,
}

enum State {
    Open(Box<dyn Write + Send>),
    /// A write failed. Holds the error and the bytes lost since, or `None` if the error is not reported.
    Failed(Option<Failure>),
}

impl Immediate {
    pub(super) fn new(sink: Box<dyn Write + Send>) -> Immediate {
        Immediate { state: Mutex::new(State::Open(sink)) }
    }

    /// Writes all bytes, unless an earlier write failed.
    pub(super) fn write(&self, bytes: &[u8]) {
        // A panic of the sink is the embedder's fault; the sink stays in use.
        let mut state = self.state.lock();
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

    /// Takes the failure to report, if any.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        match &mut *self.state.lock() {
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
    fn a_write_error_is_reported_unless_the_reader_is_gone() {
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
