//! Standard input: the one thread that reads it, when someone wants something.
//!
//! Input that comes in large pieces, from a file or another program, is read ahead of who wants it, so that neither waits
//! for the other. What a person types is not: it comes in lines, and the next one may be meant for another program.
//!
//! What was read for a process that died meanwhile stays for the next one that asks.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, Once, PoisonError};
use std::time::Duration;

use super::Resume;
use super::waiters::{Owner, Waiters};

/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Bytes of a piece after which the next one is read before anyone wants it. A terminal gives 4 KiB at most.
const LARGE: usize = 16 << 10;

/// Bytes that are read ahead, before the last piece. Whoever takes more than half of it has the thread go on.
const AHEAD: usize = 4 * CHUNK;

/// How long the thread pauses when another program has made the stream non-blocking and it is empty.
const RETRY: Duration = Duration::from_millis(1);

/// See the module.
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
    /// Read and not yet taken: pieces as they came, at most [`AHEAD`] bytes and a chunk. They are handed over and not
    /// copied, so that nobody waits for the lock.
    pieces: VecDeque<Piece>,
    /// Bytes of them.
    bytes: usize,
    /// What pieces were in, to be used again.
    spare: Vec<Box<[u8; CHUNK]>>,
    /// The thread waits until there is less.
    is_ahead: bool,
    // At most one for each process.
    waiters: Waiters,
    at_end: bool,
    /// Why the last read failed, behind what was read before. It is told once; the next reader has the stream read again.
    failed: Option<io::Error>,
}

struct Piece {
    memory: Box<[u8; CHUNK]>,
    /// The part that has been read and not yet taken.
    left: Range<usize>,
}

impl Awaited {
    pub fn new() -> Awaited {
        Awaited { shared: Arc::default(), started: Once::new() }
    }

    /// Takes what has been read into the buffer: how much, 0 at the end of the stream, or why nothing could be read;
    /// `None` when nothing is there yet.
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

    /// How much there is to be taken, 0 at the end of the stream or before an error; `None` when nothing is there yet.
    pub fn available(&self) -> Option<usize> {
        let state = self.shared.lock();
        state.is_ready().then_some(state.bytes)
    }

    /// Calls back once there is something, or the end.
    pub fn when_ready(&self, owner: Owner, resume: Resume) {
        self.started.call_once(|| {
            let shared = self.shared.clone();
            let started =
                std::thread::Builder::new().name("stdin".into()).spawn(move || shared.work(std::io::stdin()));
            if let Err(error) = started {
                // Without a thread there is nothing to read, now or later.
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
        // Reading happens outside the lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// Waits until someone does, or there is room to read ahead; what to read into.
    fn wait_until_wanted(&self, may_read_ahead: bool) -> Box<[u8; CHUNK]> {
        let mut state = self.lock();
        state.is_ahead = may_read_ahead && state.bytes >= AHEAD;
        let is_unwanted = |state: &mut State| state.waiters.is_empty() && (state.is_ahead || !may_read_ahead);
        let mut state = self.wanted.wait_while(state, is_unwanted).unwrap_or_else(PoisonError::into_inner);
        state.is_ahead = false;
        state.spare.pop().unwrap_or_else(|| Box::new([0; CHUNK]))
    }
}

impl State {
    /// Whether there is something, the end, or an error.
    fn is_ready(&self) -> bool {
        self.bytes > 0 || self.at_end || self.failed.is_some()
    }

    /// Moves what there is to the front of a buffer; how much.
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

/// Reads at least a byte; 0 at the end.
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

    /// Gives what it is sent, piece by piece, and says how often it was asked.
    struct Pieces(Receiver<io::Result<Vec<u8>>>, Sender<()>);

    impl Read for Pieces {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            // Whoever has seen enough does not listen.
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

    /// Long enough for a thread to do what it must not.
    const MOMENT: Duration = Duration::from_millis(50);

    impl Stream {
        fn new() -> Stream {
            let (input, (pieces, receiver), (asks, asked)) = (Awaited::new(), channel(), channel());
            let shared = input.shared.clone();
            input.started.call_once(|| drop(std::thread::spawn(move || shared.work(Pieces(receiver, asks)))));
            Stream { input, pieces, asked }
        }

        /// Takes this many bytes, or what there is before the end.
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
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "nobody wants anything yet");
        stream.pieces.send(Ok(b"one\n".to_vec())).unwrap();
        stream.pieces.send(Ok(b"two\n".to_vec())).unwrap();
        assert_eq!(stream.take(2), b"on");
        assert_eq!(stream.take(2), b"e\n");
        stream.wait_for_reads(1);
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "nobody wants the second");
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
        assert!(stream.asked.recv_timeout(MOMENT).is_err(), "that is enough");
        // Less than half is left, also of one more.
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
    fn an_error_comes_behind_what_was_read_and_is_no_end() {
        let stream = Stream::new();
        stream.pieces.send(Ok(b"one".to_vec())).unwrap();
        assert_eq!(stream.take(3), b"one");
        stream.pieces.send(Err(ErrorKind::IsADirectory.into())).unwrap();
        stream.wait();
        assert_eq!(stream.input.available(), Some(0), "there is something to be told");
        let error = stream.input.take(&mut [0; 8]).unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::IsADirectory);
        assert!(stream.input.take(&mut [0; 8]).is_none(), "it is told once");
        stream.pieces.send(Ok(b"two".to_vec())).unwrap();
        assert_eq!(stream.take(3), b"two");
    }
}
