//! What was opened by a name and is waited for: named pipes, terminals.
//!
//! Such a descriptor is this process's own, so it is non-blocking and the reactor watches it, like a socket. A named pipe
//! tells its reader of an end both when its writers are gone and when none has come yet; for guests the second is to wait,
//! as it is for whoever opens one the ordinary way.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{PollFd, PollFlags};

use super::socket::Socket;
use super::{Direction, Net, Source, TryIo};

/// See the module.
pub struct Pipe {
    socket: Socket<Watched>,
    is_terminal: bool,
}

/// A descriptor as the reactor takes it.
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
    /// Has the reactor watch a descriptor that does not block.
    pub fn new(net: &Arc<Net>, opened: OwnedFd) -> io::Result<Pipe> {
        net.check()?;
        let is_terminal = std::io::IsTerminal::is_terminal(&opened);
        Ok(Pipe { socket: Socket::new(net, Watched(opened))?, is_terminal })
    }

    /// Whether it is a terminal.
    pub fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Reads what there is; 0 is the end, or an empty buffer.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Read, buffer.len(), |pipe| {
            let count = rustix::io::read(pipe, &mut *buffer)?;
            if count == 0 && !buffer.is_empty() && !has_ended(pipe)? {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            Ok(count)
        })
    }

    /// Writes what there is room for.
    pub fn write(&self, bytes: &[u8]) -> io::Result<TryIo<usize>> {
        self.socket.attempt_bytes(Direction::Write, bytes.len(), |pipe| Ok(rustix::io::write(pipe, bytes)?))
    }

    /// Who is told when it is worth another attempt.
    pub fn source(&self) -> &Arc<Source> {
        self.socket.source()
    }

    /// Whether an attempt would not block, as the system says now; if it would, who waits is told of the change.
    pub fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        self.socket.is_ready(direction)
    }
}

/// Whether there was a writer and is none any more.
fn has_ended(pipe: &Watched) -> io::Result<bool> {
    let mut polled = [PollFd::new(pipe, PollFlags::IN)];
    rustix::event::poll(&mut polled, Some(&rustix::event::Timespec::default()))?;
    // Where something is to be read, a writer came meanwhile: it is not the end either.
    Ok(polled[0].revents().contains(PollFlags::HUP))
}
