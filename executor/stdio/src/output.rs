//! Standard output and standard error of a node: the queue, the thread that writes it, and error reporting.
//!
//! # Guarantees of a write
//!
//! When a write returns, its bytes are with the operating system, or the write returns the error, as for any program.
//! The worker that runs the process writes the bytes itself if it can do so without waiting. Otherwise the stream's
//! thread writes them, and the process waits for the thread. A worker never waits for a reader.
//!
//! Bursts are the exception: a program that only writes lines spends most of its time in one system call per line.
//! After [`BURST`] small writes without a pause of [`PAUSE`] between them, writes go to a queue of at most
//! [`MAX_BEHIND`] bytes, which the thread writes [`GATHER`] later (write-behind). A node that is killed during a
//! burst loses at most these bytes. The next write to the stream or the next `fd_sync` returns the thread's error. If
//! there is none, the node reports the error when it ends, and its exit status reflects it. Bytes queued behind the
//! failed ones are not written.
//!
//! The node's own messages (trap reports) are queued as well, since no process waits for them.
//!
//! Sinks provided by an embedder always use write-behind, with a bound of [`MAX_SINK`] bytes.
//!
//! # Order
//!
//! Two streams that end in the same file, pipe or terminal share one queue, in which each piece names its stream.
//! While the queue is not empty, no process writes past it. Writes therefore appear in the order of the calls, across
//! both streams. A write is atomic: bytes of two processes never mix within one write.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lunatic_resources::sync::{Condvar, Mutex, MutexGuard};

use super::Resume;
use super::pending::Pending;
use super::target::{Now, Sink, Target, is_interruption};
use super::waiters::{Owner, Waiters};

/// Number of consecutive small writes after which write-behind starts.
const BURST: u32 = 256;

/// Pause between two writes that ends a burst. Longer than a write takes, shorter than most programs wait.
const PAUSE: Duration = Duration::from_micros(100);

/// Maximum size of a small write, in bytes.
const SMALL: usize = 4 << 10;

/// Bytes that may be queued in a burst before writers have to wait.
const MAX_BEHIND: usize = 64 << 10;

/// How long the thread gathers a burst before it writes, if no process waits: one system call then writes many lines.
const GATHER: Duration = Duration::from_micros(200);

/// Bytes of a burst at which the thread stops gathering.
const GATHERED: usize = MAX_BEHIND / 2;

/// Bytes that may be queued for an embedder's sink before writers have to wait.
const MAX_SINK: usize = 1 << 20;

/// Bytes of the node's own reports that may be queued beyond that. Further reports are dropped and counted.
const MAX_REPORTED: usize = 4 << 20;

/// How long the thread waits for a reader before it checks whether the writer still lives.
const LOOK: Duration = Duration::from_millis(100);

/// Maximum number of streams per queue.
const STREAMS: usize = 2;

/// One stream of a queue that two streams may share.
pub struct Queued {
    shared: Arc<Shared>,
    stream: usize,
}

struct Shared {
    /// The target of each stream of the queue.
    targets: Vec<Arc<dyn Target>>,
    queue: Mutex<Queue>,
    /// Wakes the thread: there is something to do.
    arrived: Condvar,
    /// Wakes flushing threads: the queue is empty.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    pieces: VecDeque<Piece>,
    /// Bytes of the pieces that no process waits for, including the piece being written.
    behind: usize,
    /// Whether the thread is writing a piece.
    is_writing: bool,
    /// Whether the thread waits for something to do.
    is_idle: bool,
    /// Whether the thread waits for more of a burst.
    is_gathering: bool,
    /// Number of pieces at which those of dead writers are removed.
    sweep_at: usize,
    burst: Burst,
    // At most one waiter per process and stream.
    waiters: [Waiters; STREAMS],
    /// Each stream's error that has not been reported yet.
    failed: [Option<Failure>; STREAMS],
    /// Number of reports dropped since the last one that was queued.
    dropped: u64,
    /// Number of `Queued` handles in use. The thread ends at zero.
    users: usize,
}

/// One unit of the thread's work on a stream.
struct Piece {
    stream: usize,
    content: Content,
}

enum Content {
    /// Bytes of a process that does not wait for them.
    Behind(Vec<u8>),
    /// Bytes of a node's report.
    Report(Vec<u8>),
    /// A write that a process waits for. Dangling once the process has died.
    Waited(Weak<Pending>),
}

/// A failed write-behind.
#[derive(Debug)]
pub struct Failure {
    /// The operating system's error.
    pub error: io::Error,
    /// Number of bytes lost.
    pub lost: usize,
}

/// Detects sequences of small writes with short pauses between them.
#[derive(Default)]
struct Burst {
    last: Option<Instant>,
    count: u32,
}

/// Result of a write.
pub enum Accepted {
    /// This number of bytes is written or queued.
    Taken(usize),
    /// The stream is not ready, and the writer did not want to wait.
    Full,
    /// The stream's thread writes the bytes; the writer waits.
    Pending(Arc<Pending>),
    /// Nothing was written.
    Failed(io::Error),
}

impl Queued {
    /// Starts the thread that writes to `sink`.
    ///
    /// # Errors
    ///
    /// Returns the operating system's error if the thread cannot be started.
    pub fn start(name: &str, sink: impl Write + Send + 'static) -> io::Result<Queued> {
        let [queued] = Queued::start_for(name, [Arc::new(Sink::new(sink))])?;
        Ok(queued)
    }

    /// Starts one thread that writes to all targets, in the order of the writes.
    pub(super) fn start_for<const N: usize>(
        name: &str,
        targets: [Arc<dyn Target>; N],
    ) -> io::Result<[Queued; N]> {
        const { assert!(N <= STREAMS) };
        let queue = Mutex::new(Queue { users: N, ..Queue::default() });
        let (targets, arrived, written) = (targets.to_vec(), Condvar::new(), Condvar::new());
        let shared = Arc::new(Shared { targets, queue, arrived, written });
        let thread = shared.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || {
            // With the signals blocked, a write beyond the file size limit fails instead of ending the command.
            lunatic_resources::sys::block_signals();
            thread.work();
        })?;
        Ok(std::array::from_fn(|stream| Queued { shared: shared.clone(), stream }))
    }

    /// Writes bytes as the module documentation describes. `waits` says whether the writer waits if necessary.
    pub fn write(&self, bytes: Vec<u8>, waits: bool) -> Accepted {
        let mut queue = self.shared.lock();
        if let Some(failure) = queue.failed[self.stream].take() {
            return Accepted::Failed(failure.error);
        }
        let (target, count) = (self.target(), bytes.len());
        if self.is_written_behind(&mut queue, count) {
            if queue.behind <= self.max_behind() {
                self.shared.push(&mut queue, self.stream, Content::Behind(bytes));
                return Accepted::Taken(count);
            }
            return if waits { self.wait_for(&mut queue, bytes, 0) } else { Accepted::Full };
        }
        if queue.is_busy() {
            return if waits { self.wait_for(&mut queue, bytes, 0) } else { Accepted::Full };
        }
        match target.write_now(&bytes) {
            Now::Failed(error) => Accepted::Failed(error),
            Now::Written(written) if written == count || !waits => Accepted::Taken(written),
            Now::Written(written) => self.wait_for(&mut queue, bytes, written),
            Now::WouldWait if !waits => Accepted::Full,
            Now::Unsupported if !waits => {
                self.shared.push(&mut queue, self.stream, Content::Behind(bytes));
                Accepted::Taken(count)
            }
            Now::WouldWait | Now::Unsupported => self.wait_for(&mut queue, bytes, 0),
        }
    }

    /// Queues a report even if writers would have to wait. Drops reports beyond a limit; the next report that is
    /// queued gives their number.
    pub fn report(&self, bytes: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.behind > MAX_SINK + MAX_REPORTED {
            queue.dropped += 1;
            return;
        }
        let mut text = match std::mem::take(&mut queue.dropped) {
            0 => Vec::new(),
            dropped => {
                format!("(lost {dropped} messages of the runtime: the output was not read in time)\n").into()
            }
        };
        text.extend_from_slice(bytes);
        self.shared.push(&mut queue, self.stream, Content::Report(text));
    }

    /// Waits until all earlier writes are with the operating system, like an empty write. Returns their error.
    pub fn drain(&self) -> Accepted {
        let mut queue = self.shared.lock();
        match queue.failed[self.stream].take() {
            Some(failure) => Accepted::Failed(failure.error),
            None if queue.is_busy() => self.wait_for(&mut queue, Vec::new(), 0),
            None => Accepted::Taken(0),
        }
    }

    /// Returns the stream's target.
    pub(super) fn target(&self) -> &Arc<dyn Target> {
        &self.shared.targets[self.stream]
    }

    /// Returns whether a write would succeed without waiting.
    pub fn has_room(&self) -> bool {
        let queue = self.shared.lock();
        self.is_writable(&queue)
    }

    /// Calls `resume` when the stream is writable, immediately if it already is.
    pub fn when_room(&self, owner: Owner, resume: Resume) {
        let mut queue = self.shared.lock();
        if self.is_writable(&queue) {
            drop(queue);
            resume();
        } else {
            let gone = queue.waiters[self.stream].push(owner, resume);
            self.shared.wake(&mut queue);
            drop(queue);
            drop(gone);
        }
    }

    /// Waits until everything is written, for at most `patience` if given, and returns the error that has not been
    /// reported yet. Must not be called by workers.
    pub fn flush(&self, patience: Option<Duration>) -> Option<Failure> {
        let queue = self.shared.lock();
        let is_busy = |queue: &mut Queue| queue.is_busy();
        let written = &self.shared.written;
        let mut queue = match patience {
            Some(patience) => {
                let waited = written.wait_timeout_while(queue, patience, is_busy);
                waited.0
            }
            None => written.wait_while(queue, is_busy),
        };
        queue.failed[self.stream].take()
    }

    /// Records a write of this size and returns whether to write it behind.
    fn is_written_behind(&self, queue: &mut Queue, count: usize) -> bool {
        self.target().is_always_behind() || (count <= SMALL && queue.burst.goes_on())
    }

    fn max_behind(&self) -> usize {
        if self.target().is_always_behind() { MAX_SINK } else { MAX_BEHIND }
    }

    fn is_writable(&self, queue: &Queue) -> bool {
        if self.target().is_always_behind() {
            return queue.behind <= MAX_SINK;
        }
        !queue.is_busy() && self.target().wait(Duration::ZERO)
    }

    fn wait_for(&self, queue: &mut Queue, bytes: Vec<u8>, written: usize) -> Accepted {
        let pending = Arc::new(Pending::new(bytes, written));
        queue.forget_the_gone();
        self.shared.push(queue, self.stream, Content::Waited(Arc::downgrade(&pending)));
        Accepted::Pending(pending)
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // Let the thread end once everything is written.
        let mut queue = self.shared.lock();
        queue.users -= 1;
        self.shared.wake(&mut queue);
    }
}

impl Burst {
    /// Records a small write and returns whether it belongs to a long burst.
    fn goes_on(&mut self) -> bool {
        let now = Instant::now();
        let is_close = self.last.is_some_and(|last| now.saturating_duration_since(last) < PAUSE);
        self.count = if is_close { self.count.saturating_add(1) } else { 0 };
        self.last = Some(now);
        self.count >= BURST
    }
}

impl Queue {
    fn is_busy(&self) -> bool {
        self.is_writing || !self.pieces.is_empty()
    }

    /// Returns whether the thread should stop gathering: a process waits, or the burst is large enough.
    fn has_gathered(&self) -> bool {
        let is_burst = |piece: &Piece| matches!(piece.content, Content::Behind(_));
        self.behind >= GATHERED
            || self.users == 0
            || self.pieces.len() > 1
            || !self.pieces.iter().all(is_burst)
    }

    /// Occasionally removes pieces of dead processes, so that the queue does not grow while a reader is stuck.
    fn forget_the_gone(&mut self) {
        const FEW: usize = 64;
        if self.pieces.len() < self.sweep_at.max(FEW) {
            return;
        }
        self.pieces.retain(|piece| match &piece.content {
            Content::Waited(pending) => pending.strong_count() > 0,
            Content::Behind(_) | Content::Report(_) => true,
        });
        self.pieces.shrink_to(2 * self.pieces.len());
        self.sweep_at = 2 * self.pieces.len();
    }

    /// Records the error of a stream and drops the write-behind bytes queued after it.
    fn fail(&mut self, stream: usize, error: io::Error, mut lost: usize) {
        self.pieces.retain(|piece| match &piece.content {
            Content::Behind(bytes) if piece.stream == stream => {
                lost += bytes.len();
                self.behind -= bytes.len();
                false
            }
            _ => true,
        });
        let earlier = self.failed[stream].take();
        lost += earlier.as_ref().map_or(0, |failure| failure.lost);
        self.failed[stream] = Some(Failure { error: earlier.map_or(error, |failure| failure.error), lost });
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Code under this lock does not panic.
        self.queue.lock()
    }

    fn wake(&self, queue: &mut Queue) {
        if queue.is_gathering && queue.has_gathered() {
            queue.is_gathering = false;
            self.arrived.notify_one();
        }
        if std::mem::take(&mut queue.is_idle) {
            self.arrived.notify_one();
        }
    }

    fn push(&self, queue: &mut Queue, stream: usize, content: Content) {
        match (content, queue.pieces.back_mut()) {
            // Most writes are appended to the previous piece.
            (Content::Behind(bytes), Some(Piece { stream: last, content: Content::Behind(piece) }))
                if *last == stream =>
            {
                queue.behind += bytes.len();
                piece.extend_from_slice(&bytes);
            }
            (content, _) => {
                queue.behind += content.bytes_behind();
                queue.pieces.push_back(Piece { stream, content });
            }
        }
        self.wake(queue);
    }

    fn work(&self) {
        while let Some(piece) = self.take() {
            let Piece { stream, content } = piece;
            match content {
                Content::Behind(bytes) => {
                    let (written, error) = self.write_all(stream, &bytes);
                    self.wrote(stream, &bytes, error.map(|error| (error, bytes.len() - written)));
                }
                // No process waits for a report, so its error is dropped.
                Content::Report(bytes) => {
                    let _ = self.write_all(stream, &bytes);
                    self.wrote(stream, &bytes, None);
                }
                Content::Waited(pending) => {
                    self.write_for(stream, &pending);
                    self.wrote(stream, &[], None);
                }
            }
        }
    }

    /// Waits for a piece and takes it; returns `None` at the end. Meanwhile resumes the waiters of writable streams.
    fn take(&self) -> Option<Piece> {
        let mut queue = self.lock();
        loop {
            if !queue.pieces.is_empty() && !queue.has_gathered() {
                queue.is_gathering = true;
                let gathers = |queue: &mut Queue| queue.is_gathering;
                let waited = self.arrived.wait_timeout_while(queue, GATHER, gathers);
                queue = waited.0;
                queue.is_gathering = false;
            }
            if let Some(piece) = queue.pieces.pop_front() {
                queue.is_writing = true;
                return Some(piece);
            }
            if queue.users == 0 {
                return None;
            }
            let waited = (0..self.targets.len()).find(|&stream| !queue.waiters[stream].is_empty());
            queue = match waited {
                Some(stream) => {
                    drop(queue);
                    let is_ready = self.targets[stream].wait(LOOK);
                    let mut queue = self.lock();
                    let waiters = if is_ready { queue.waiters[stream].take() } else { Waiters::default() };
                    drop(queue);
                    waiters.resume();
                    self.lock()
                }
                None => {
                    queue.is_idle = true;
                    let is_idle = |queue: &mut Queue| queue.is_idle;
                    self.arrived.wait_while(queue, is_idle)
                }
            };
        }
    }

    /// Updates the queue after a piece was written, and wakes the waiting threads and processes.
    fn wrote(&self, stream: usize, bytes: &[u8], failed: Option<(io::Error, usize)>) {
        let waiters = {
            let mut queue = self.lock();
            queue.is_writing = false;
            queue.behind -= bytes.len();
            if let Some((error, lost)) = failed {
                queue.fail(stream, error, lost);
            }
            if !queue.is_busy() {
                self.written.notify_all();
            }
            // Waiters of descriptors are resumed when the operating system reports them writable.
            let has_room = self.targets[stream].is_always_behind() && queue.behind <= MAX_SINK;
            if has_room { queue.waiters[stream].take() } else { Waiters::default() }
        };
        waiters.resume();
    }

    /// Writes all bytes and flushes the target. Returns the number of written bytes and the error, if any.
    fn write_all(&self, stream: usize, mut bytes: &[u8]) -> (usize, Option<io::Error>) {
        let (target, count) = (&self.targets[stream], bytes.len());
        while !bytes.is_empty() {
            match target.write(bytes) {
                Ok(0) => return (count - bytes.len(), Some(ErrorKind::WriteZero.into())),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_interruption(&error) => {}
                // Another program has made the stream non-blocking, and the stream is full.
                Err(error) if error.kind() == ErrorKind::WouldBlock => drop(target.wait(LOOK)),
                Err(error) => return (count - bytes.len(), Some(error)),
            }
        }
        while let Err(error) = target.flush() {
            match error.kind() {
                ErrorKind::Interrupted => {}
                ErrorKind::WouldBlock => drop(target.wait(LOOK)),
                // The sink accepted the bytes, but how many of them arrived is unknown.
                _ => return (0, Some(error)),
            }
        }
        (count, None)
    }

    /// Writes the bytes of a waiting process while the process lives, and passes it the result.
    fn write_for(&self, stream: usize, pending: &Weak<Pending>) {
        let mut done = 0;
        loop {
            let Some(pending) = pending.upgrade() else { return };
            // An earlier write-behind failed: report that error first.
            if let Some(failure) = self.lock().failed[stream].take() {
                return pending.finish(Err(failure.error));
            }
            let target = &self.targets[stream];
            let bytes = &pending.bytes[done..];
            if bytes.is_empty() {
                return pending.finish(Ok(done));
            }
            let result = match target.write_now(bytes) {
                Now::Written(count) => Ok(count),
                Now::Failed(error) => Err(error),
                Now::WouldWait => Err(ErrorKind::WouldBlock.into()),
                // In pieces, because a thread blocked in the system call does not notice that the process has died.
                Now::Unsupported => target.write(&bytes[..bytes.len().min(MAX_BEHIND)]),
            };
            match result {
                Ok(0) => return pending.finish(Err(ErrorKind::WriteZero.into())),
                Ok(count) => done += count,
                Err(error) if is_interruption(&error) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    drop(pending);
                    target.wait(LOOK);
                }
                Err(_) if done > 0 => return pending.finish(Ok(done)),
                Err(error) => return pending.finish(Err(error)),
            }
        }
    }
}

impl Content {
    fn bytes_behind(&self) -> usize {
        match self {
            Content::Behind(bytes) | Content::Report(bytes) => bytes.len(),
            Content::Waited(_) => 0,
        }
    }
}

/// Writes all bytes to the sink and flushes it.
pub(super) fn write_all(sink: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    /// Pause before retrying a sink that returned `WouldBlock`.
    const RETRY: Duration = Duration::from_millis(1);

    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if is_interruption(&error) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(error) => return Err(error),
        }
    }
    while let Err(error) = sink.flush() {
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            _ => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::any::Any;
    use std::sync::mpsc;

    use super::*;

    impl Accepted {
        fn is_taken(&self) -> bool {
            matches!(self, Accepted::Taken(_))
        }
    }

    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
            self.1.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writers_wait_when_a_sink_is_full_and_order_is_kept() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Queued::start("test", Slow(permits, written.clone())).unwrap();
        assert!(output.write(vec![1; MAX_SINK], true).is_taken());
        assert!(output.write(vec![2], true).is_taken());
        assert!(matches!(output.write(vec![3], false), Accepted::Full));
        let Accepted::Pending(pending) = output.write(vec![3], true) else {
            panic!("the queue should be full")
        };
        let (resumed, resumes) = mpsc::channel();
        let resume = |resumed: mpsc::Sender<()>| Box::new(move || resumed.send(()).unwrap());
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(());
        output.when_room(Arc::downgrade(&owner), resume(resumed.clone()));
        pending.when_done(resume(resumed));
        assert!(resumes.try_recv().is_err());
        (0..4).for_each(|_| permit.send(()).unwrap());
        (0..2).for_each(|_| resumes.recv_timeout(Duration::from_secs(30)).unwrap());
        assert_eq!(pending.take().unwrap().unwrap(), 1);
        assert!(output.flush(None).is_none());
        let written = written.lock();
        assert_eq!((written.len(), &written[MAX_SINK..]), (MAX_SINK + 2, &[2, 3][..]));
    }

    /// A sink that accepts every write in full.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_write_wakes_a_thread_that_sleeps() {
        let kept = Kept::default();
        let output = Queued::start("test", kept.clone()).unwrap();
        for round in 1..=3 {
            // Long enough for the thread to become idle.
            std::thread::sleep(Duration::from_millis(20));
            output.write(vec![b'a'], true);
            output.flush(Some(Duration::from_secs(30)));
            assert_eq!(kept.0.lock().len(), round);
        }
    }

    #[test]
    fn concurrent_writes_are_atomic_and_ordered_per_writer() {
        const WRITERS: u32 = 4;
        const WRITES: u32 = 5000;
        let kept = Kept::default();
        let output = Queued::start("test", kept.clone()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let output = &output;
                scope.spawn(move || {
                    (0..WRITES).for_each(|number| {
                        assert!(output.write(format!("{writer} {number}\n").into_bytes(), true).is_taken());
                    });
                });
            }
        });
        output.flush(None);
        let text = String::from_utf8(kept.0.lock().clone()).unwrap();
        for writer in 0..WRITERS {
            let prefix = format!("{writer} ");
            let numbers = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse::<u32>().ok());
            assert!(numbers.eq(0..WRITES), "writer {writer}");
        }
        assert_eq!(text.lines().count(), (WRITERS * WRITES) as usize);
    }

    #[test]
    fn reports_are_taken_up_to_a_limit_and_those_beyond_it_are_counted() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Queued::start("test", Slow(permits, written.clone())).unwrap();
        for _ in 0..(3 * (MAX_SINK + MAX_REPORTED)) >> 20 {
            output.report(&vec![b'x'; 1 << 20]);
        }
        let held = output.shared.lock().behind;
        assert!((MAX_REPORTED..=MAX_SINK + MAX_REPORTED + (1 << 20)).contains(&held), "{held}");
        (0..20).for_each(|_| permit.send(()).unwrap());
        output.flush(None);
        output.report(b"the last\n");
        output.flush(None);
        let written = written.lock();
        let text = String::from_utf8_lossy(&written[written.len().saturating_sub(100)..]);
        assert!(
            text.contains("messages of the runtime: the output was not read in time)\nthe last\n"),
            "{text}"
        );
    }

    #[test]
    fn a_flush_may_have_an_end() {
        let (_permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        output.write(vec![0], true);
        output.flush(Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_deferred_error_is_reported_once_by_the_next_write_or_flush() {
        let (permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        drop(permit);
        output.write(vec![0; 2 * MAX_SINK], true);
        let failure = output.flush(None).expect("the error was not reported before");
        assert_eq!((failure.error.kind(), failure.lost), (ErrorKind::BrokenPipe, 2 * MAX_SINK));
        output.write(vec![0; 5], true);
        output.shared.wait_until_idle();
        assert!(matches!(output.write(vec![0], true), Accepted::Failed(_)));
        assert!(output.flush(None).is_none(), "the error was already reported");
    }

    impl Shared {
        fn wait_until_idle(&self) {
            drop(self.written.wait_while(self.lock(), |queue| queue.is_busy()));
        }
    }

    #[test]
    fn a_pending_write_is_dropped_with_its_process() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Queued::start("test", Slow(permits, written.clone())).unwrap();
        output.write(vec![0; 2 * MAX_SINK], true);
        for _ in 0..10_000 {
            let Accepted::Pending(_) = output.write(vec![1], true) else {
                panic!("the queue should be full")
            };
        }
        let held = output.shared.lock().pieces.len();
        assert!(held < 1000, "{held} pieces of dead processes");
        permit.send(()).unwrap();
        output.flush(None);
        assert_eq!(written.lock().len(), 2 * MAX_SINK);
    }

    #[cfg(unix)]
    mod of_descriptors {
        use std::fs::File;
        use std::io::Read;

        use super::super::super::target::Descriptor;
        use super::*;

        fn to(file: impl Into<std::os::fd::OwnedFd>) -> Arc<dyn Target> {
            Arc::new(Descriptor::new(file.into()))
        }

        #[test]
        fn a_write_is_in_the_file_when_it_returns() {
            let mut file = tempfile::tempfile().unwrap();
            let [output] = Queued::start_for("test", [to(file.try_clone().unwrap())]).unwrap();
            for count in 1..=100 {
                assert!(output.write(vec![b'a'; 10], true).is_taken());
                assert_eq!(file.metadata().unwrap().len(), 10 * count);
            }
            let mut text = String::new();
            std::io::Seek::rewind(&mut file).unwrap();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "a".repeat(1000));
        }

        #[test]
        fn a_write_larger_than_a_pipe_waits_and_arrives_whole() {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let [output] = Queued::start_for("test", [to(writer)]).unwrap();
            let content: Vec<u8> = (0..300_000u32).map(|index| index as u8).collect();
            let Accepted::Pending(pending) = output.write(content.clone(), true) else {
                panic!("the write exceeds the capacity of a pipe")
            };
            assert!(!output.has_room());
            assert!(matches!(output.write(vec![0], false), Accepted::Full));
            let mut read = vec![0; content.len()];
            reader.read_exact(&mut read).unwrap();
            assert!(read == content);
            assert!(output.flush(None).is_none());
            assert_eq!(pending.take().unwrap().unwrap(), content.len());
            assert!(output.has_room());
        }

        #[test]
        fn a_writer_is_notified_when_a_pipe_is_read() {
            let (mut reader, writer) = std::io::pipe().unwrap();
            let [output] = Queued::start_for("test", [to(writer)]).unwrap();
            while output.write(vec![0; 4096], false).is_taken() {}
            let (told, tells) = mpsc::channel();
            let owner: Arc<dyn Any + Send + Sync> = Arc::new(());
            output.when_room(Arc::downgrade(&owner), Box::new(move || told.send(()).unwrap()));
            assert!(tells.recv_timeout(2 * LOOK).is_err(), "the reader has not read yet");
            reader.read_exact(&mut [0; 8192]).unwrap();
            tells.recv_timeout(Duration::from_secs(30)).unwrap();
        }

        #[test]
        fn errors_are_those_of_the_write() {
            let (reader, writer) = std::io::pipe().unwrap();
            let [output] = Queued::start_for("test", [to(writer)]).unwrap();
            drop(reader);
            for _ in 0..2 {
                let Accepted::Failed(error) = output.write(vec![0], true) else {
                    panic!("the reader is closed")
                };
                assert_eq!(error.kind(), ErrorKind::BrokenPipe);
            }
            let [output] =
                Queued::start_for("test", [to(File::options().write(true).open("/dev/full").unwrap())])
                    .unwrap();
            let error = match output.write(vec![0], true) {
                Accepted::Failed(error) => error,
                Accepted::Pending(pending) => {
                    output.flush(None);
                    pending.take().unwrap().unwrap_err()
                }
                Accepted::Taken(_) | Accepted::Full => panic!("the device is full"),
            };
            assert_eq!(error.kind(), ErrorKind::StorageFull);
        }

        #[test]
        fn two_streams_of_one_file_keep_their_order_also_in_a_burst() {
            let file = tempfile::NamedTempFile::new().unwrap();
            let open = || File::options().append(true).open(file.path()).unwrap();
            let (one, two) = (Descriptor::new(open()), Descriptor::new(open()));
            assert!(one.is_same(&two));
            let [one, two] =
                Queued::start_for("test", [Arc::new(one) as Arc<dyn Target>, Arc::new(two)]).unwrap();
            let expected: String = (0..20_000).map(|number| format!("{number}\n")).collect();
            for (number, line) in expected.split_inclusive('\n').enumerate() {
                let stream = if number % 3 == 0 { &one } else { &two };
                if number % 500 == 0 {
                    stream.report(line.as_bytes());
                } else if let Accepted::Pending(pending) = stream.write(line.into(), true) {
                    stream.flush(None);
                    assert_eq!(pending.take().unwrap().unwrap(), line.len());
                }
            }
            assert!(one.flush(None).is_none() && two.flush(None).is_none());
            assert!(std::fs::read_to_string(file.path()).unwrap() == expected);
        }

        #[test]
        fn two_files_are_not_one() {
            let one = Descriptor::new(tempfile::tempfile().unwrap());
            let two = Descriptor::new(tempfile::tempfile().unwrap());
            assert!(!one.is_same(&two));
        }
    }
}
