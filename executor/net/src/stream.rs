//! What TCP and TLS streams share.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Source, TryIo};

/// A connection. Its clones share it, also in several processes.
pub trait Stream: Send + Sync + 'static {
    /// Reads what is there. 0 is the end, or an empty buffer.
    fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>>;
    /// Writes as much as possible.
    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<TryIo<usize>>;
    /// Sends bytes that were accepted and not sent yet.
    fn flush(&self) -> io::Result<TryIo<()>>;
    /// Returns the source that reports when another attempt may succeed.
    fn source(&self) -> &Arc<Source>;
    /// Returns how long users of the stream wait.
    fn timeouts(&self) -> &Timeouts;
    /// Returns the milliseconds that an attempt may take whatever the timeouts are.
    fn limit_ms(&self) -> u64 {
        u64::MAX
    }
    /// Returns the address of the peer.
    fn peer(&self) -> io::Result<SocketAddr>;
}

/// The timeouts of a stream in milliseconds; `u64::MAX` for none. They belong to the stream and not to the processes
/// that have it.
#[derive(Debug)]
pub struct Timeouts {
    /// For reading.
    pub read: Timeout,
    /// For writing.
    pub write: Timeout,
    /// For looking at what is there without taking it.
    pub peek: Timeout,
}

/// A timeout.
#[derive(Debug)]
pub struct Timeout(AtomicU64);

impl Default for Timeouts {
    fn default() -> Timeouts {
        let never = || Timeout(AtomicU64::new(u64::MAX));
        Timeouts { read: never(), write: never(), peek: never() }
    }
}

impl Timeout {
    // Relaxed: a setting that orders nothing.

    /// Returns the milliseconds.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets the milliseconds.
    pub fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }
}
