//! What TCP and TLS streams have in common.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Source, TryIo};

/// A connection that bytes are read from and written to. Shared by its clones, also in several processes.
pub trait Stream: Send + Sync + 'static {
    /// Reads what there is; 0 is the end, or an empty buffer.
    fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>>;
    /// Writes what there is room for.
    fn write(&self, buffers: &[IoSlice<'_>]) -> io::Result<TryIo<usize>>;
    /// Sends what was written and is still here.
    fn flush(&self) -> io::Result<TryIo<()>>;
    /// Who is told when it is worth another attempt.
    fn source(&self) -> &Arc<Source>;
    /// How long its users wait.
    fn timeouts(&self) -> &Timeouts;
    /// Milliseconds that an attempt may take whatever the timeouts say.
    fn limit_ms(&self) -> u64 {
        u64::MAX
    }
    /// The other side.
    fn peer(&self) -> io::Result<SocketAddr>;
}

/// Milliseconds for which a stream's users wait; `u64::MAX` for ever. They belong to the stream, not to who has it.
#[derive(Debug)]
pub struct Timeouts {
    /// For reading.
    pub read: Timeout,
    /// For writing.
    pub write: Timeout,
    /// For looking at what is there without taking it.
    pub peek: Timeout,
}

/// One of them.
#[derive(Debug)]
pub struct Timeout(AtomicU64);

impl Default for Timeouts {
    fn default() -> Timeouts {
        let never = || Timeout(AtomicU64::new(u64::MAX));
        Timeouts { read: never(), write: never(), peek: never() }
    }
}

impl Timeout {
    // Relaxed: a setting, which orders nothing.

    /// Milliseconds.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// Sets it, in milliseconds.
    pub fn set(&self, milliseconds: u64) {
        self.0.store(milliseconds, Ordering::Relaxed);
    }
}
