//! Named pipes and terminals, which processes wait for.
//!
//! The descriptor belongs to this process alone, so it is non-blocking and the reactor watches it, like a socket. A
//! named pipe reports an end to its reader both when all writers have closed it and when none has opened it yet. In
//! the second case, guests wait, as does a program that opens a pipe in blocking mode.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};

use super::socket::Socket;
use super::{Direction, Net, Source, TryIo};

/// A named pipe or a terminal.
pub struct Pipe {
    socket: Socket<Watched>,
    is_terminal: bool,
}

/// A descriptor in the form that the reactor takes.
struct Watched(OwnedFd);

impl AsFd for Watched {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl mio::event::Source for Watched {
    fn register(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        use std::os::fd::AsRawFd;

        mio::unix::SourceFd(&self.0.as_raw_fd()).register(registry, token, interests)
    }

    fn reregister(
        &mut self,
        registry: &mio::Registry,
        token: mio::Token,
        interests: mio::Interest,
    ) -> io::Result<()> {
        use std::os::fd::AsRawFd;

        mio::unix::SourceFd(&self.0.as_raw_fd()).reregister(registry, token, interests)
    }

    fn deregister(&mut self, registry: &mio::Registry) -> io::Result<()> {
        use std::os::fd::AsRawFd;

        mio::unix::SourceFd(&self.0.as_raw_fd()).deregister(registry)
    }
}

impl Pipe {
    /// Registers a non-blocking descriptor with the reactor.
    pub fn new(net: &Arc<Net>, opened: OwnedFd) -> io::Result<Pipe> {
        net.check()?;
        let is_terminal = std::io::IsTerminal::is_terminal(&opened);
        Ok(Pipe { socket: Socket::new(net, Watched(opened))?, is_terminal })
    }

    /// Returns whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Reads what is there. 0 is the end, or an empty buffer.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Read, buffer.len(), |pipe| {
            let count = rustix::io::read(pipe, &mut *buffer)?;
            if count == 0 && !buffer.is_empty() && !has_ended(pipe)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        })
    }

    /// Writes as much as possible.
    pub fn write(&self, bytes: &[u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Write, bytes.len(), |pipe| Ok(rustix::io::write(pipe, bytes)?))
    }

    /// Returns the source that reports when another attempt may succeed.
    pub fn source(&self) -> &Arc<Source> {
        self.socket.source()
    }

    /// Returns whether an attempt would not block, as the system says now. If it would, waiters are woken by the
    /// change.
    pub fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        self.socket.is_ready(direction)
    }
}

/// Returns whether there was a writer and the last one is gone.
fn has_ended(pipe: &Watched) -> io::Result<bool> {
    let mut polled = [PollFd::new(pipe, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default()))?;
    // If there are bytes to read, a writer has opened the pipe meanwhile, so this is not the end either.
    Ok(polled[0].revents().contains(PollFlags::HUP))
}
