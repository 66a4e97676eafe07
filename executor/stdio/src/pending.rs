//! A write that the stream's thread performs for a waiting process.
//!
//! The process owns the bytes. If it dies, the thread skips the write.

use std::io;

use lunatic_resources::sync::{Mutex, MutexGuard};

use super::Resume;

/// See the module documentation.
pub struct Pending {
    /// The bytes to write, without those written before the write was queued.
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
    /// Creates a write of the bytes after the first `written` ones, which are already written.
    pub(super) fn new(mut bytes: Vec<u8>, written: usize) -> Pending {
        bytes.drain(..written);
        Pending { bytes, written_before: written, state: Mutex::default() }
    }

    /// Returns the number of written bytes or the error, or `None` while the write is pending.
    pub fn take(&self) -> Option<io::Result<usize>> {
        self.lock().outcome.take()
    }

    /// Calls `resume` once the write is done, immediately if it already is.
    pub fn when_done(&self, resume: Resume) {
        let mut state = self.lock();
        if state.outcome.is_none() {
            state.resume = Some(resume);
        } else {
            drop(state);
            resume();
        }
    }

    /// Sets the result and resumes the process.
    pub(super) fn finish(&self, outcome: io::Result<usize>) {
        let resume = {
            let mut state = self.lock();
            state.outcome = Some(match outcome {
                // The bytes before the error are written; the next write meets the error again.
                Err(_) if self.written_before > 0 => Ok(self.written_before),
                outcome => outcome.map(|count| self.written_before + count),
            });
            state.resume.take()
        };
        resume.into_iter().for_each(|resume| resume());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock.
        self.state.lock()
    }
}
