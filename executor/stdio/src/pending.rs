//! A write that the stream's thread makes for a process that waits for its result.
//!
//! The bytes are the process's: if it ends, the queue finds nothing to write in this place.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Resume;

/// See the module.
pub struct Pending {
    /// What the thread writes. Bytes that were written before it was queued are not among them.
    pub(super) bytes: Vec<u8>,
    pub(super) written_before: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    outcome: Option<io::Result<usize>>,
    resume: Option<Resume>,
}

impl Pending {
    /// The rest of a write, behind the bytes that are written.
    pub(super) fn new(mut bytes: Vec<u8>, written: usize) -> Pending {
        bytes.drain(..written);
        Pending { bytes, written_before: written, state: Mutex::default() }
    }

    /// How many bytes are written, or why it failed; `None` while it is neither.
    pub fn take(&self) -> Option<io::Result<usize>> {
        self.lock().outcome.take()
    }

    /// Calls back once there is an outcome; at once if there is one.
    pub fn when_done(&self, resume: Resume) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.resume = Some(resume);
        } else {
            drop(state);
            resume();
        }
    }

    /// Says what became of it.
    pub(super) fn finish(&self, outcome: io::Result<usize>) {
        let resume = {
            let mut state = self.lock();
            state.outcome = Some(match outcome {
                // The bytes before the error are written; the next write finds the error again.
                Err(_) if self.written_before > 0 => Ok(self.written_before),
                outcome => outcome.map(|count| self.written_before + count),
            });
            state.resume.take()
        };
        resume.into_iter().for_each(|resume| resume());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics under it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
