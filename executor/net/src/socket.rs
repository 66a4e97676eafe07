//! A descriptor with its source. Dropping it closes the descriptor and unregisters the source.

use std::io;
use std::sync::Arc;

use mio::{Interest, Token};

use lunatic_resources::sys::Descriptor;

use super::Net;
use super::source::{Direction, Source};

/// The result of an attempt.
#[derive(Debug, PartialEq, Eq)]
pub enum TryIo<R> {
    /// The attempt succeeded.
    Done(R),
    /// The attempt would block until this direction is ready.
    Blocked(Direction),
}

/// Whether a transfer of fewer bytes than requested means that there are no more. epoll and kqueue report everything
/// that arrives later; Windows does so only after an attempt that would have blocked.
const LESS_IS_ALL: bool = cfg!(unix);

/// A descriptor with its source.
pub(super) struct Socket<S> {
    io: S,
    source: Arc<Source>,
    token: u64,
    net: Arc<Net>,
}

impl<S: mio::event::Source + Descriptor> Socket<S> {
    /// Registers a new descriptor with the reactor, unless too few descriptors are left.
    pub(super) fn new(net: &Arc<Net>, mut io: S) -> io::Result<Socket<S>> {
        net.admit(&io)?;
        let source = Arc::new(Source::default());
        let token = net.sources.add(source.clone());
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = net.registry()?.register(&mut io, Token(token as usize), interest) {
            net.sources.remove(token);
            return Err(error);
        }
        Ok(Socket { io, source, token, net: net.clone() })
    }
}

impl<S> Socket<S> {
    pub(super) fn io(&self) -> &S {
        &self.io
    }

    pub(super) fn source(&self) -> &Arc<Source> {
        &self.source
    }

    pub(super) fn net(&self) -> &Arc<Net> {
        &self.net
    }

    /// Tries an operation, unless it is known to block.
    pub(super) fn attempt<R>(
        &self,
        direction: Direction,
        mut operation: impl FnMut(&S) -> io::Result<R>,
    ) -> io::Result<TryIo<R>> {
        while let Some(began) = self.source.begin(direction) {
            match operation(&self.io) {
                Ok(result) => return Ok(TryIo::Done(result)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.source.exhausted(direction, began);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(TryIo::Blocked(direction))
    }

    /// Returns whether an attempt would not block, as the system says now. If it would, waiters are woken by the
    /// change.
    #[cfg(unix)]
    pub(super) fn is_ready(&self, direction: Direction) -> io::Result<bool>
    where
        S: Descriptor,
    {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};

        let Some(began) = self.source.begin(direction) else { return Ok(false) };
        let wanted = match direction {
            Direction::Read => PollFlags::IN,
            Direction::Write => PollFlags::OUT,
        };
        let mut polled = [PollFd::new(&self.io, wanted)];
        poll(&mut polled, Some(&Timespec::default()))?;
        let is_ready = !polled[0].revents().is_empty();
        if !is_ready {
            self.source.exhausted(direction, began);
        }
        Ok(is_ready)
    }

    /// Systems without such a question: an attempt answers it.
    #[cfg(not(unix))]
    pub(super) fn is_ready(&self, direction: Direction) -> io::Result<bool> {
        Ok(self.source.begin(direction).is_some())
    }

    /// Tries to transfer at most `wanted` bytes of a stream. If fewer are transferred, but some, there are no more
    /// for now.
    pub(super) fn attempt_bytes(
        &self,
        direction: Direction,
        wanted: usize,
        mut operation: impl FnMut(&S) -> io::Result<usize>,
    ) -> io::Result<TryIo<usize>> {
        let began = self.source.begin(direction);
        let attempt = self.attempt(direction, &mut operation)?;
        if let (TryIo::Done(moved), Some(began)) = (&attempt, began)
            && LESS_IS_ALL
            && (1..wanted).contains(moved)
        {
            self.source.drained(direction, began);
        }
        Ok(attempt)
    }
}

impl<S> Drop for Socket<S> {
    fn drop(&mut self) {
        // Closing the descriptor, which comes next, removes it from the set of the reactor: no other descriptor
        // refers to it.
        self.net.sources.remove(self.token);
    }
}
