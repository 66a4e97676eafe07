//! Standard output or error: an ordered queue and the one thread that writes it.
//!
//! A write is whole: bytes of two processes never mix within one. It is taken while the queue is not above the bound, so
//! the queue exceeds that by at most one write. Who comes later keeps its bytes, waits, and comes again: so what a process
//! wanted to write and could not is gone with it, and as many as like may be killed meanwhile.
//!
//! What is queued is one piece of memory, and what is being written another; the thread takes all there is by
//! exchanging the two. It is woken if it sleeps, which it does not as long as there is something to write. So most
//! writes are a lock and a copy.

use std::io::{ErrorKind, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Resume;
use super::waiters::{Owner, Waiters};

/// Bytes that may wait to be written before writers have to.
const MAX_QUEUED: usize = 1 << 20;

/// Bytes of the node's own reports that may wait beyond that; what comes after them is lost, and counted.
const MAX_REPORTED: usize = 4 << 20;

/// How long the thread pauses when another program has made the stream non-blocking and it is full.
const RETRY: Duration = Duration::from_millis(1);

/// See the module.
pub(crate) struct Queued {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to write, for the thread.
    arrived: Condvar,
    /// Nothing left to write, for whoever flushes.
    written: Condvar,
}

#[derive(Default)]
struct Queue {
    /// What the thread has not taken.
    pending: Vec<u8>,
    /// Bytes of that and of what the thread writes.
    bytes: usize,
    /// The thread waits for something.
    is_idle: bool,
    // At most one for each process.
    waiters: Waiters,
    /// Reports that there was no room for.
    lost: u64,
    /// The reader is gone: everything written is lost, as it is for any program.
    broken: bool,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Accepted {
    /// It will be written.
    Taken,
    /// There was no room: wait, and write again.
    Full,
    /// No one reads.
    Broken,
}

impl Queued {
    /// Starts the thread that writes to `sink`.
    pub(crate) fn start(name: &str, sink: impl Write + Send + 'static) -> std::io::Result<Queued> {
        let shared = Arc::new(Shared::default());
        let thread = shared.clone();
        std::thread::Builder::new().name(name.into()).spawn(move || thread.work(sink))?;
        Ok(Queued { shared })
    }

    /// Queues bytes, if there is room.
    pub(crate) fn write(&self, bytes: &[u8]) -> Accepted {
        let queue = self.shared.lock();
        if queue.bytes > MAX_QUEUED && !queue.broken {
            return Accepted::Full;
        }
        self.queue(queue, bytes)
    }

    /// Queues what nobody can wait with, whether there is room or not. Whoever has not read for long is told of some of it
    /// only that it was there.
    pub(crate) fn report(&self, bytes: &[u8]) {
        let mut queue = self.shared.lock();
        if queue.bytes > MAX_QUEUED + MAX_REPORTED {
            queue.lost += 1;
            return;
        }
        let lost = match std::mem::take(&mut queue.lost) {
            0 => Vec::new(),
            lost => format!("({lost} messages of the runtime, which nobody read in time, are lost)\n")
                .into_bytes(),
        };
        // If nobody reads, there is no one to tell.
        let _ = self.queue(queue, &[&lost, bytes].concat());
    }

    fn queue(&self, mut queue: MutexGuard<'_, Queue>, bytes: &[u8]) -> Accepted {
        if queue.broken {
            return Accepted::Broken;
        }
        queue.bytes += bytes.len();
        queue.pending.extend_from_slice(bytes);
        if std::mem::take(&mut queue.is_idle) {
            self.shared.arrived.notify_one();
        }
        Accepted::Taken
    }

    /// Whether a write would not have to wait.
    pub(crate) fn has_room(&self) -> bool {
        self.shared.lock().bytes <= MAX_QUEUED
    }

    /// Calls back when there is room; at once if there is.
    pub(crate) fn when_room(&self, owner: Owner, resume: Resume) {
        let mut queue = self.shared.lock();
        if queue.bytes > MAX_QUEUED {
            let gone = queue.waiters.push(owner, resume);
            drop(queue);
            drop(gone);
        } else {
            drop(queue);
            resume();
        }
    }

    /// Waits until everything is written, at most for so long if a time is given. Not for workers.
    pub(crate) fn flush(&self, patience: Option<Duration>) {
        let queue = self.shared.lock();
        let is_written = |queue: &mut Queue| queue.bytes == 0;
        let written = &self.shared.written;
        match patience {
            Some(patience) => {
                let waited = written.wait_timeout_while(queue, patience, |queue| !is_written(queue));
                drop(waited.unwrap_or_else(PoisonError::into_inner));
            }
            None => drop(
                written.wait_while(queue, |queue| !is_written(queue)).unwrap_or_else(PoisonError::into_inner),
            ),
        }
    }
}

impl Drop for Queued {
    fn drop(&mut self) {
        // Tells the thread to end once everything is written.
        self.shared.lock().broken = true;
        self.shared.arrived.notify_one();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Writing happens outside the lock.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, mut sink: impl Write) {
        let mut bytes = Vec::new();
        loop {
            self.take(&mut bytes);
            if bytes.is_empty() {
                return;
            }
            let written = write_all(&mut sink, &bytes);
            self.wrote(written);
            bytes.clear();
            // After a long write, what was allocated for it is not kept.
            bytes.shrink_to(MAX_QUEUED);
        }
    }

    /// Waits until there is something to write and takes all of it; nothing is the end.
    fn take(&self, bytes: &mut Vec<u8>) {
        let nothing = |queue: &mut Queue| {
            queue.is_idle = queue.pending.is_empty() && !queue.broken;
            queue.is_idle
        };
        let mut queue = self.arrived.wait_while(self.lock(), nothing).unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.pending, bytes);
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
                    queue.pending.clear();
                }
            }
            if queue.bytes == 0 {
                self.written.notify_all();
            }
            if queue.bytes > MAX_QUEUED { Waiters::default() } else { queue.waiters.take() }
        };
        waiters.resume();
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
    use std::any::Any;
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
        assert_eq!(output.write(&vec![1; MAX_QUEUED]), Accepted::Taken);
        assert_eq!(output.write(&[2]), Accepted::Taken);
        assert_eq!(output.write(&[3]), Accepted::Full);
        let (resumed, resumes) = mpsc::channel();
        let owner: Arc<dyn Any + Send + Sync> = Arc::new(());
        output.when_room(Arc::downgrade(&owner), Box::new(move || resumed.send(()).unwrap()));
        assert!(resumes.try_recv().is_err());
        (0..4).for_each(|_| permit.send(()).unwrap());
        resumes.recv_timeout(Duration::from_secs(30)).unwrap();
        output.flush(None);
        let written = written.lock().unwrap();
        assert_eq!((written.len(), written.last()), (MAX_QUEUED + 1, Some(&2)));
    }

    /// Takes everything at once.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn who_writes_wakes_a_thread_that_sleeps() {
        let kept = Kept::default();
        let output = Queued::start("test", kept.clone()).unwrap();
        for round in 1..=3 {
            // Enough for the thread to fall asleep.
            std::thread::sleep(Duration::from_millis(20));
            output.write(b"a");
            output.flush(Some(Duration::from_secs(30)));
            assert_eq!(kept.0.lock().unwrap().len(), round);
        }
    }

    #[test]
    fn writes_of_many_are_whole_and_each_ones_are_in_order() {
        const WRITERS: u32 = 4;
        const WRITES: u32 = 5000;
        let kept = Kept::default();
        let output = Queued::start("test", kept.clone()).unwrap();
        std::thread::scope(|scope| {
            for writer in 0..WRITERS {
                let output = &output;
                scope.spawn(move || {
                    (0..WRITES)
                        .for_each(|number| _ = output.write(format!("{writer} {number}\n").as_bytes()));
                });
            }
        });
        output.flush(None);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        for writer in 0..WRITERS {
            let prefix = format!("{writer} ");
            let numbers = text.lines().filter_map(|line| line.strip_prefix(&prefix)?.parse::<u32>().ok());
            assert!(numbers.eq(0..WRITES), "of {writer}");
        }
        assert_eq!(text.lines().count(), (WRITERS * WRITES) as usize);
    }

    #[test]
    fn reports_are_taken_up_to_a_limit_and_those_beyond_it_are_counted() {
        let (permit, permits) = mpsc::channel();
        let written = Arc::new(Mutex::new(Vec::new()));
        let output = Queued::start("test", Slow(permits, written.clone())).unwrap();
        for _ in 0..(3 * (MAX_QUEUED + MAX_REPORTED)) >> 20 {
            output.report(&vec![b'x'; 1 << 20]);
        }
        let held = output.shared.lock().bytes;
        assert!((MAX_REPORTED..=MAX_QUEUED + MAX_REPORTED + (1 << 20)).contains(&held), "{held}");
        (0..20).for_each(|_| permit.send(()).unwrap());
        output.flush(None);
        output.report(b"the last\n");
        output.flush(None);
        let written = written.lock().unwrap();
        let text = String::from_utf8_lossy(&written[written.len().saturating_sub(100)..]);
        assert!(
            text.contains("messages of the runtime, which nobody read in time, are lost)\nthe last\n"),
            "{text}"
        );
    }

    #[test]
    fn a_flush_may_have_an_end() {
        let (_permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        output.write(&[0]);
        output.flush(Some(Duration::from_millis(1)));
    }

    #[test]
    fn a_reader_that_is_gone_is_told_and_holds_nobody_up() {
        let (permit, permits) = mpsc::channel();
        let output = Queued::start("test", Slow(permits, Arc::default())).unwrap();
        drop(permit);
        output.write(&vec![0; 2 * MAX_QUEUED]);
        output.flush(None);
        assert_eq!(output.write(&[0]), Accepted::Broken);
    }
}
