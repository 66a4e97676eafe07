//! Standard input, read on demand by a single thread.
//!
//! Input that arrives in large pieces, from a file or another program, is read ahead of the guest, so that neither
//! side waits for the other. Terminal input is not: it arrives in lines, and the next line may be meant for another
//! program.
//!
//! Input read for a process that has died stays for the next reader.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::sync::{Arc, Once};
use std::time::Duration;

use lunatic_resources::sync::{Condvar, Mutex, MutexGuard};

use super::Resume;
use super::waiters::{Owner, Waiters};

/// Bytes per read.
const CHUNK: usize = 64 << 10;

/// Size of a piece after which the thread reads ahead. A terminal returns at most 4 KiB.
const LARGE: usize = 16 << 10;

/// Bytes read ahead, before the last piece. The thread continues once readers have taken more than half of them.
const AHEAD: usize = 4 * CHUNK;

/// Pause before retrying an empty stream that another program has made non-blocking.
const RETRY: Duration = Duration::from_millis(1);

/// See the module documentation.
pub struct Awaited {
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
    /// Unread pieces in order, at most [`AHEAD`] bytes and a chunk. The thread hands them over without copying, so
    /// that no reader waits for the lock.
    pieces: VecDeque<Piece>,
    /// Total bytes of `pieces`.
    bytes: usize,
    /// Buffers for reuse.
    spare: Vec<Box<[u8; CHUNK]>>,
    /// Whether the thread waits until less input is buffered.
    is_ahead: bool,
    // At most one waiter per process.
    waiters: Waiters,
    at_end: bool,
    /// Error of the last read, after the buffered bytes. It is returned once; the next reader reads the stream again.
    failed: Option<io::Error>,
}

struct Piece {
    memory: Box<[u8; CHUNK]>,
    /// The part that has not been taken yet.
    left: Range<usize>,
}

impl Awaited {
    pub fn new() -> Awaited {
        Awaited { shared: Arc::default(), started: Once::new() }
    }

    /// Moves buffered input into `buffer`. Returns the number of bytes, 0 at the end of the stream, or the read
    /// error; `None` if no input is available yet.
    pub fn take(&self, buffer: &mut [u8]) -> Option<io::Result<usize>> {
        let mut state = self.shared.lock();
        if state.bytes == 0 && !buffer.is_empty() {
            if let Some(error) = state.failed.take() {
                return Some(Err(error));
            }
            if !state.at_end {
                return None;
            }
        }
        let count = state.take(buffer);
        if state.is_ahead && state.bytes < AHEAD / 2 {
            state.is_ahead = false;
            self.shared.wanted.notify_one();
        }
        Some(Ok(count))
    }

    /// Returns the available bytes, 0 at the end of the stream or before an error; `None` if no input is available
    /// yet.
    pub fn available(&self) -> Option<usize> {
        let state = self.shared.lock();
        state.is_ready().then_some(state.bytes)
    }

    /// Calls `resume` once there is input, an error or the end, and starts the thread on the first call.
    pub fn when_ready(&self, owner: Owner, resume: Resume) {
        self.started.call_once(|| {
            let shared = self.shared.clone();
            let started =
                std::thread::Builder::new().name("stdin".into()).spawn(move || shared.work(std::io::stdin()));
            if let Err(error) = started {
                // Without the thread, nothing can be read now or later.
                let mut state = self.shared.lock();
                (state.failed, state.at_end) = (Some(error), true);
            }
        });
        let mut state = self.shared.lock();
        if state.is_ready() {
            drop(state);
            resume();
        } else {
            let gone = state.waiters.push(owner, resume);
            self.shared.wanted.notify_one();
            drop(state);
            drop(gone);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The thread reads without holding the lock.
        self.state.lock()
    }

    fn work(&self, mut source: impl Read) {
        let mut last = 0;
        loop {
            let mut memory = self.wait_until_wanted(last >= LARGE);
            let read = read_some(&mut source, &mut memory[..]);
            last = *read.as_ref().unwrap_or(&0);
            let (waiters, at_end) = {
                let mut state = self.lock();
                match read {
                    Ok(0) => state.at_end = true,
                    Ok(count) => {
                        state.bytes += count;
                        state.pieces.push_back(Piece { memory, left: 0..count });
                    }
                    Err(error) => state.failed = Some(error),
                }
                (state.waiters.take(), state.at_end)
            };
            waiters.resume();
            if at_end {
                return;
            }
        }
    }

    /// Waits until a process waits for input or reading ahead is allowed. Returns the buffer to read into.
    fn wait_until_wanted(&self, may_read_ahead: bool) -> Box<[u8; CHUNK]> {
        let mut state = self.lock();
        state.is_ahead = may_read_ahead && state.bytes >= AHEAD;
        let is_unwanted = |state: &mut State| state.waiters.is_empty() && (state.is_ahead || !may_read_ahead);
        let mut state = self.wanted.wait_while(state, is_unwanted);
        state.is_ahead = false;
        state.spare.pop().unwrap_or_else(|| Box::new([0; CHUNK]))
    }
}

impl State {
    /// Returns whether there is input, the end, or an error.
    fn is_ready(&self) -> bool {
        self.bytes > 0 || self.at_end || self.failed.is_some()
    }

    /// Moves available input to the front of `to`. Returns the number of bytes.
    fn take(&mut self, to: &mut [u8]) -> usize {
        let mut count = 0;
        while count < to.len()
            && let Some(Piece { memory, left }) = self.pieces.front_mut()
        {
            let now = left.len().min(to.len() - count);
            to[count..count + now].copy_from_slice(&memory[left.start..left.start + now]);
            left.start += now;
            count += now;
            if left.start == left.end {
                self.spare.extend(self.pieces.pop_front().map(|piece| piece.memory));
            }
        }
        self.bytes -= count;
        count
    }
}

/// Reads at least one byte; returns 0 at the end.
fn read_some(source: &mut impl Read, chunk: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(chunk) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    /// Source that yields the pieces sent to it, and reports each read.
    struct Pieces(Receiver<io::Result<Vec<u8>>>, Sender<()>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            // The test may no longer receive.
            let _ = self.1.send(());
            let piece = self.0.recv().unwrap_or_else(|_| Ok(Vec::new()))?;
            buffer[..piece.len()].copy_from_slice(&piece);
            Ok(piece.len())
        }
    }

    struct Stream {
        input: Awaited,
        pieces: Sender<io::Result<Vec<u8>>>,
        asked: Receiver<()>,
    }

    const PATIENCE: Duration = Duration::from_secs(30);

    /// Long enough for a thread to perform a forbidden read.
    const MOMENT: Duration = Duration::from_millis(50);

    impl Stream {
        fn new() -> Stream {
            let (input, (pieces, receiver), (asks, asked)) = (Awaited::new(), channel(), channel());
            let shared = input.shared.clone();
            input.started.call_once(|| drop(std::thread::spawn(move || shared.work(Pieces(receiver, asks)))));
            Stream { input, pieces, asked }
        }

        /// Takes `count` bytes, or fewer at the end of the stream.
        fn take(&self, count: usize) -> Vec<u8> {
            let mut bytes = vec![0; count];
            let mut done = 0;
            while done < count {
                match self.input.take(&mut bytes[done..]) {
                    Some(Ok(0)) => break,
                    Some(Ok(more)) => done += more,
                    Some(Err(error)) => panic!("{error}"),
                    None => {
                        self.wait();
                    }
                }
            }
            bytes.truncate(done);
            bytes
        }

        fn wait(&self) {
            let (ready, is_ready) = channel();
            let owner: Arc<dyn Any + Send + Sync> = Arc::new(());
            let resume = Box::new(move || ready.send(()).unwrap());
            self.input.when_ready(Arc::downgrade(&owner), resume);
            is_ready.recv_timeout(PATIENCE).unwrap();
        }

        fn wait_for_reads(&self, count: usize) {
            (0..count).for_each(|_| self.asked.recv_timeout(PATIENCE).unwrap());
        }
    }

    #[test]
    fn lines_are_read_when_someone_wants_them() {
        let stream = Stream::new();
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "no process waits for input yet");
        stream.pieces.send(Ok(b"one\n".to_vec())).unwrap();
        stream.pieces.send(Ok(b"two\n".to_vec())).unwrap();
        assert_eq!(stream.take(2), b"on");
        assert_eq!(stream.take(2), b"e\n");
        stream.wait_for_reads(1);
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "no process waits for the second line");
        assert_eq!(stream.take(4), b"two\n");
    }

    #[test]
    fn large_pieces_are_read_ahead_up_to_a_limit_and_come_in_order() {
        let stream = Stream::new();
        let piece = |index: u8| Ok(vec![index; CHUNK]);
        (0..20).for_each(|index| stream.pieces.send(piece(index)).unwrap());
        assert_eq!(stream.take(1), [0]);
        // And one more, if the first byte was taken early.
        stream.wait_for_reads(AHEAD / CHUNK);
        let _ = stream.asked.recv_timeout(MOMENT);
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "the limit is reached");
        // Less than half is left, even with one more piece.
        let taken = AHEAD / 2 + CHUNK + 1;
        assert_eq!(stream.take(taken).len(), taken);
        stream.wait_for_reads(2);
        let left = stream.take(20 * CHUNK - taken - 1);
        assert!(left.is_sorted() && left.last() == Some(&19));
        drop(stream.pieces);
        let started = Instant::now();
        while stream.input.available() != Some(0) {
            assert!(started.elapsed() < PATIENCE, "the end was not seen");
            std::thread::yield_now();
        }
        assert_eq!(stream.input.take(&mut [0; 8]).unwrap().unwrap(), 0);
    }

    #[test]
    fn a_read_error_follows_the_data_and_is_not_the_end() {
        let stream = Stream::new();
        stream.pieces.send(Ok(b"one".to_vec())).unwrap();
        assert_eq!(stream.take(3), b"one");
        stream.pieces.send(Err(ErrorKind::IsADirectory.into())).unwrap();
        stream.wait();
        assert_eq!(stream.input.available(), Some(0), "the error makes the stream ready");
        let error = stream.input.take(&mut [0; 8]).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        assert!(stream.input.take(&mut [0; 8]).is_none(), "the error is returned once");
        stream.pieces.send(Ok(b"two".to_vec())).unwrap();
        assert_eq!(stream.take(3), b"two");
    }
}
