//! Readiness of descriptors, over mio.
//!
//! Today nothing but its own waker is registered: sockets come with the networking functions. It is here
//! already because it is where an idle worker sleeps, and how the others wake it. So a busy worker has nothing to look for
//! here; when there are sockets it will have to look now and then, which is a system call each time.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

/// Events taken from the operating system at a time; what is left is seen by the next poll.
const EVENTS: usize = 256;

/// The token of the waker. Descriptors will carry slot and generation in theirs (never this value).
const WAKER: Token = Token(usize::MAX);

/// See the module.
pub(super) struct Reactor {
    poll: Poll,
    events: Events,
}

/// Interrupts the thread that polls, or makes the next poll return at once.
#[derive(Clone)]
pub(super) struct Wakeup(Arc<Waker>);

impl Reactor {
    pub(super) fn new() -> io::Result<(Reactor, Wakeup)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        Ok((Reactor { poll, events: Events::with_capacity(EVENTS) }, Wakeup(Arc::new(waker))))
    }

    /// Waits for events.
    pub(super) fn poll(&mut self, timeout: Option<Duration>) {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal handler ran; whoever polls does so in a loop.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the reactor's descriptor is ours and valid: {error}"),
        }
    }
}

impl Wakeup {
    /// See [`Wakeup`].
    pub(super) fn wake(&self) {
        self.0.wake().expect("the waker's descriptor is ours and valid");
    }
}
