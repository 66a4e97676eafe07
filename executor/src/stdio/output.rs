//! Standard output or error: an ordered queue and the one thread that writes it.
//!
//! A write is whole: bytes of two processes never mix within one. A process that writes beyond the bound has
//! its bytes taken and then waits until the queue is below it, so the queue exceeds the bound by at most one
//! write for each process.

use std::collections::VecDeque;
use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Resume;

/// Bytes that may wait to be written before writers have to.
const MAX_QUEUED: usize = 1 << 20;

/// How long the thread pauses when another program has made the stream non-blocking and it is full.
const RETRY: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Queued {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    /// Something to write, or nothing left to write.
    changed: Condvar,
}

#[derive(Default)]
struct Queue {
    chunks: VecDeque<Vec<u8>>,
    bytes: usize,
    // At most one for each process.
    waiters: Vec<Resume>,
    /// The reader is gone: everything written is lost, as it is for any program.
    broken: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// There is room for more.
    Room,
    /// Wait before you write again.
    Full,
    /// No one reads.
    Broken,
}

impl Queued {
    /// Starts the thread that writes to `sink`.
    pub(crate) fn start(name: &str, sink: impl Write + Send + 'static) -> std::io::Result<Queued> {
        let shared = Arc::new(Shared { queue: Mutex::default(), changed: Condvar::new() });
        let thread = shared.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || thread.work(sink))?;
        Ok(Queued { shared })
    }

    /// Queues bytes.
    pub(crate) fn write(&self, bytes: Vec<u8>) -> Accepted {
        let mut queue = self.shared.lock();
        if queue.broken {
            return Accepted::Broken;
        }
        queue.bytes += bytes.len();
        queue.chunks.push_back(bytes);
        self.shared.changed.notify_all();
        if queue.bytes > MAX_QUEUED { Accepted::Full } else { Accepted::Room }
    }

    /// Whether a write would not have to wait.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.lock().bytes <= MAX_QUEUED
    }

    /// Calls back when there is room; at once if there is.
    pub(crate) fn when_room(&self, resume: Resume) {
        let mut queue = self.shared.lock();
        if queue.bytes > MAX_QUEUED {
            queue.waiters.push(resume);
        } else {
            drop(queue);
            resume();
        }
    }

    /// Waits until everything is written, at most for so long if a time is given. Not for workers.
    pub(crate) fn flush(&self, patience: Option<Duration>) {
        let queue = self.shared.lock();
        let is_written = |queue: &mut Queue| queue.bytes == 0;
        let changed = &self.shared.changed;
        match patience {
            Some(patience) => {
                let waited = changed.wait_timeout_while(queue, patience, |queue| !is_written(queue));
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            None => drop(
                changed.wait_while(queue, |queue| !is_written(queue)).unwrap_or_else(PoisonError::into_inner),
            ),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // Tells the thread to end once everything is written.
        self.shared.lock().broken = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Writing happens outside the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut sink: impl Write) {
        loop {
            let chunks = {
                let queue = self.lock();
                let nothing = |queue: &mut Queue| queue.chunks.is_empty() && !queue.broken;
                let mut queue =
                    self.changed.wait_while(queue, nothing).unwrap_or_else(PoisonError::into_inner);
                std::mem::take(&mut queue.chunks)
            };
            if chunks.is_empty() {
                return;
            }
            let written = write_all(&mut sink, &Vec::from(chunks).concat());
            self.wrote(written);
        }
    }

    /// Accounts for what left the queue and wakes whom that concerns.
    fn wrote(&self, result: Result<usize, ()>) {
        let waiters = {
            let mut queue = self.lock();
            match result {
                Ok(count) => queue.bytes -= count,
                Err(()) => {
                    queue.broken = true;
                    queue.bytes = 0;
                    queue.chunks.clear();
                }
            }
            self.changed.notify_all();
            if queue.bytes > MAX_QUEUED { Vec::new() } else { std::mem::take(&mut queue.waiters) }
        };
        waiters.into_iter().for_each(|resume| resume());
    }
}

/// Writes all of it, through what the sink holds back itself; how much that was.
pub(super) fn write_all(sink: &mut impl Write, mut bytes: &[u8]) -> Result<usize, ()> {
    let count = bytes.len();
    while !bytes.is_empty() {
        match sink.write(bytes) {
            Ok(0) => return Err(()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            Err(_) => return Err(()),
        }
    }
    while let Err(error) = sink.flush() {
        match error.kind() {
            ErrorKind::Interrupted => {}
            ErrorKind::WouldBlock => std::thread::sleep(RETRY),
            _ => return Err(()),
        }
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.recv().map_err(|_| ErrorKind::BrokenPipe)?;
            self.1.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn writers_wait_when_it_is_full_and_order_is_kept() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Queued::start("test", Slow(permits, written.clone())).unwrap();
        assert_eq!(output.write(vec![1; MAX_QUEUED]), Accepted::Room);
        assert_eq!(output.write(vec![2; 1]), Accepted::Full);
        let (resumed, resumes) = mpsc::channel();
        output.when_room(Box::new(move || resumed.send(()).unwrap()));
        assert!(resumes.try_recv().is_err());
        (0..4).for_each(|_| permit.send(()).unwrap());
        resumes.recv_timeout(Duration::from_secs(30)).unwrap();
        output.flush(None);
        let written = written.lock().unwrap();
        assert_eq!((written.len(), written.last()), (MAX_QUEUED + 1, Some(&2)));
    }

    #[test]
    fn a_flush_may_have_an_end() {
        let (_permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        output.write(vec![0; 1]);
        output.flush(Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_reader_that_is_gone_is_told_and_holds_nobody_up() {
        let (permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        drop(permit);
        output.write(vec![0; 2 * MAX_QUEUED]);
        output.flush(None);
        assert_eq!(output.write(vec![0]), Accepted::Broken);
    }
}
