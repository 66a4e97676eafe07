//! Standard input: the one thread that reads it, when someone wants something.
//!
//! What was read for a process that died meanwhile stays for the next one that asks.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::Resume;

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// How long the thread pauses when another program has made the stream non-blocking and it is empty.
const RETRY: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Awaited {
    shared: Arc<Shared>,
    started: Once,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    wanted: Condvar,
}

#[derive(Default)]
struct State {
    /// Read and not yet taken; at most one chunk.
    buffer: VecDeque<u8>,
    // At most one for each process.
    waiters: Vec<Resume>,
    at_end: bool,
}

impl Awaited {
    pub(crate) fn new() -> Awaited {
        Awaited { shared: Arc::default(), started: Once::new() }
    }

    /// Takes what has been read into the buffer: how much, 0 at the end of the stream, `None` when nothing is
    /// there yet.
    pub(crate) fn take(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut state = self.shared.lock();
        if state.buffer.is_empty() && !state.at_end && !buffer.is_empty() {
            return None;
        }
        let count = state.buffer.len().min(buffer.len());
        for (slot, byte) in buffer.iter_mut().zip(state.buffer.drain(..count)) {
            *slot = byte;
        }
        Some(count)
    }

    /// How much there is to be taken, 0 at the end of the stream; `None` when nothing is there yet.
    pub(crate) fn available(&self) -> Option<usize> {
        let state = self.shared.lock();
        (state.at_end || !state.buffer.is_empty()).then_some(state.buffer.len())
    }

    /// Calls back once there is something, or the end.
    pub(crate) fn when_ready(&self, resume: Resume) {
        self.started.call_once(|| {
            let shared = self.shared.clone();
            let started =
                std::thread::Builder::new().name("stdin".into()).spawn(move || shared.work(std::io::stdin()));
            // Without a thread there is nothing to read.
            self.shared.lock().at_end |= started.is_err();
        });
        let mut state = self.shared.lock();
        if state.at_end || !state.buffer.is_empty() {
            drop(state);
            resume();
        } else {
            state.waiters.push(resume);
            self.shared.wanted.notify_one();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Reading happens outside the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut source: impl Read) {
        let mut chunk = vec![0; CHUNK];
        loop {
            let state = self.lock();
            drop(
                self.wanted
                    .wait_while(state, |state| state.waiters.is_empty())
                    .unwrap_or_else(PoisonError::into_inner),
            );
            let count = read_some(&mut source, &mut chunk);
            let waiters = {
                let mut state = self.lock();
                state.buffer.extend(&chunk[..count]);
                state.at_end = count == 0;
                std::mem::take(&mut state.waiters)
            };
            waiters.into_iter().for_each(|resume| resume());
            if count == 0 {
                return;
            }
        }
    }
}

/// Reads at least a byte; 0 at the end or when the stream cannot be read.
fn read_some(source: &mut impl Read, chunk: &mut [u8]) -> usize {
    loop {
        match source.read(chunk) {
            Ok(count) => return count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return 0,
        }
    }
}
