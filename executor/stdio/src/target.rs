//! Write targets of the standard streams.
//!
//! The command's own streams are descriptors that other programs share, so their flags are never changed. On Linux, a
//! call can request to write only as much as possible without waiting (`RWF_NOWAIT`). Pipes and sockets support that
//! flag; terminals and some devices do not. A regular file has no slow reader, so workers write small pieces to it
//! directly.

use std::io::{self, ErrorKind, Write};

use std::time::Duration;

use lunatic_resources::sync::Mutex;

/// Target of a stream. Several threads use a target, but never two for writing at the same time.
pub(super) trait Target: Send + Sync {
    /// Returns whether writes always go through the queue.
    fn is_always_behind(&self) -> bool;

    /// Writes as many bytes as possible without waiting.
    fn write_now(&self, bytes: &[u8]) -> Now;

    /// Writes some bytes. Blocks until the reader accepts them, or returns `WouldBlock`.
    fn write(&self, bytes: &[u8]) -> io::Result<usize>;

    /// Flushes the target's own buffer.
    fn flush(&self) -> io::Result<()>;

    /// Waits until the target is writable, for at most `patience`. Returns whether it is.
    fn wait(&self, patience: Duration) -> bool;

    /// Syncs a file to disk, with all metadata or only what reading needs. Other targets need no sync.
    fn sync(&self, all: bool) -> io::Result<()>;
}

/// Result of a write without waiting.
pub(super) enum Now {
    /// This number of bytes is written. Further bytes would have to wait, or fail.
    Written(usize),
    /// Nothing could be written without waiting.
    WouldWait,
    /// The target does not support it: only a thread that may wait can write these bytes.
    Unsupported,
    Failed(io::Error),
}

/// An arbitrary writer.
pub(super) struct Sink<W>(Mutex<W>);

impl<W: Write + Send> Sink<W> {
    pub(super) fn new(sink: W) -> Sink<W> {
        Sink(Mutex::new(sink))
    }
}

impl<W: Write + Send> Target for Sink<W> {
    fn is_always_behind(&self) -> bool {
        true
    }

    fn write_now(&self, _: &[u8]) -> Now {
        Now::Unsupported
    }

    fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        // A panic of the sink is the embedder's fault; the sink stays in use.
        self.0.lock().write(bytes)
    }

    fn flush(&self) -> io::Result<()> {
        self.0.lock().flush()
    }

    fn wait(&self, patience: Duration) -> bool {
        // A writer does not signal when it is ready.
        std::thread::sleep(patience.min(RETRY));
        true
    }

    fn sync(&self, _: bool) -> io::Result<()> {
        Ok(())
    }
}

/// Pause before a thread retries a sink that was not ready.
const RETRY: Duration = Duration::from_millis(1);

/// Returns whether the error only means that the call must be repeated.
pub(super) fn is_interruption(error: &io::Error) -> bool {
    error.kind() == ErrorKind::Interrupted
}

#[cfg(unix)]
pub(super) use descriptor::Descriptor;

#[cfg(unix)]
mod descriptor {
    use std::os::fd::{AsFd, BorrowedFd};
    use std::sync::atomic::{AtomicBool, Ordering};

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::{FileType, Stat, fdatasync, fstat, fsync};
    use rustix::io::Errno;

    use super::*;

    /// Maximum bytes that a worker writes to a regular file; the stream's thread writes larger pieces.
    const SMALL: usize = 64 << 10;

    /// One of the command's own streams.
    pub(in super::super) struct Descriptor<F> {
        stream: F,
        is_file: bool,
        /// Whether the operating system lacks support for writing to this stream without waiting.
        waits: AtomicBool,
    }

    impl<F: AsFd> Descriptor<F> {
        pub(in super::super) fn new(stream: F) -> Descriptor<F> {
            let stat = fstat(&stream);
            let is_file =
                stat.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
            Descriptor { stream, is_file, waits: AtomicBool::new(false) }
        }

        /// Returns whether two streams end in the same file, pipe or socket, or both in terminals, which are most
        /// likely the same.
        pub(in super::super) fn is_same(&self, other: &Descriptor<impl AsFd>) -> bool {
            let same = |one: Stat, other: Stat| (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino);
            let (one, two) = (fstat(&self.stream), fstat(&other.stream));
            let is_same = matches!((one, two), (Ok(one), Ok(two)) if same(one, two));
            is_same || (is_terminal(self.stream.as_fd()) && is_terminal(other.stream.as_fd()))
        }

        fn write_without_waiting(&self, bytes: &[u8]) -> Result<usize, Errno> {
            if self.is_file && bytes.len() <= SMALL {
                return rustix::io::write(&self.stream, bytes);
            }
            #[cfg(target_os = "linux")]
            if !self.is_file {
                use rustix::io::{ReadWriteFlags, pwritev2};

                /// Offset that stands for the current position.
                const HERE: u64 = u64::MAX;
                return pwritev2(&self.stream, &[io::IoSlice::new(bytes)], HERE, ReadWriteFlags::NOWAIT);
            }
            Err(Errno::OPNOTSUPP)
        }
    }

    fn is_terminal(stream: BorrowedFd<'_>) -> bool {
        std::io::IsTerminal::is_terminal(&stream)
    }

    impl<F: AsFd + Send + Sync> Target for Descriptor<F> {
        fn is_always_behind(&self) -> bool {
            false
        }

        fn write_now(&self, bytes: &[u8]) -> Now {
            // Relaxed: a thread that reads a stale value only asks the system once more.
            if self.waits.load(Ordering::Relaxed) {
                return Now::Unsupported;
            }
            loop {
                return match self.write_without_waiting(bytes) {
                    Ok(count) => Now::Written(count),
                    Err(Errno::INTR) => continue,
                    Err(Errno::AGAIN) => Now::WouldWait,
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) if self.is_file => Now::Unsupported,
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                        self.waits.store(true, Ordering::Relaxed);
                        Now::Unsupported
                    }
                    Err(error) => Now::Failed(error.into()),
                };
            }
        }

        fn write(&self, bytes: &[u8]) -> io::Result<usize> {
            Ok(rustix::io::write(&self.stream, bytes)?)
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }

        fn wait(&self, patience: Duration) -> bool {
            let patience =
                Timespec { tv_sec: patience.as_secs() as _, tv_nsec: patience.subsec_nanos() as _ };
            let mut asked = [PollFd::new(&self.stream, PollFlags::OUT)];
            // The write reports errors and a closed reader.
            poll(&mut asked, Some(&patience)).map_or(true, |ready| ready > 0)
        }

        fn sync(&self, all: bool) -> io::Result<()> {
            match self.is_file {
                true if all => Ok(fsync(&self.stream)?),
                true => Ok(fdatasync(&self.stream)?),
                false => Ok(()),
            }
        }
    }
}
