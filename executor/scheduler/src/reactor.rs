//! Readiness of descriptors, over mio.
//!
//! All workers share one reactor. An idle worker sleeps in it, and other threads can wake that worker; busy workers
//! poll it now and then. The thread that polled [dispatches](Reactor::dispatch) the events when it no longer counts
//! as asleep.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Poll, Token, Waker};
use smallvec::SmallVec;

use super::Events;

pub(super) use mio::Registry;

/// Events that are taken from the operating system at a time; the next poll returns the rest. The number is small,
/// because what is prefetched for a woken process must still be in the cache when it runs. With 1,000 busy
/// connections, 8 and 32 events used a fifth less processor time than 256; with 64 connections, 16 and 64 used the
/// same.
const EVENTS: usize = 16;

/// The token of the waker. Tokens of descriptors consist of slot and generation and never have this value.
const WAKER: Token = Token(usize::MAX);

/// The reactor. See the module documentation.
pub(super) struct Reactor {
    poll: Poll,
    events: mio::Events,
}

/// Interrupts the thread that polls, or makes the next poll return at once.
#[derive(Clone)]
pub(super) struct Wakeup(Arc<Waker>);

/// What a descriptor is ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There are bytes to read, or an end or an error to report.
    pub readable: bool,
    /// Bytes can be written, or there is an error to report.
    pub writable: bool,
    /// The peer has closed its side, which is visible behind the bytes that are there.
    pub read_closed: bool,
    /// The peer receives nothing any more.
    pub write_closed: bool,
}

/// An event of a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct ReadinessEvent {
    /// The token that it was registered with.
    pub token: u64,
    /// What it is ready for.
    pub readiness: Readiness,
}

impl Reactor {
    /// Creates a reactor, what interrupts it, and the registry for descriptors.
    pub(super) fn new() -> io::Result<(Reactor, Wakeup, Registry)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        Ok((Reactor { poll, events: mio::Events::with_capacity(EVENTS) }, Wakeup(Arc::new(waker)), registry))
    }

    /// Waits for events, which are kept for [`Reactor::dispatch`].
    pub(super) fn poll(&mut self, timeout: Option<Duration>) {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal handler ran. Callers poll in a loop.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the reactor's descriptor is ours and valid: {error}"),
        }
    }

    /// Dispatches the events of the last poll, once.
    pub(super) fn dispatch(&mut self, events: &dyn Events) {
        let ready: SmallVec<[ReadinessEvent; EVENTS]> =
            self.events.iter().filter(|event| event.token() != WAKER).map(ReadinessEvent::of).collect();
        self.events.clear();
        if !ready.is_empty() {
            events.ready(&ready);
        }
    }
}

impl ReadinessEvent {
    fn of(event: &Event) -> ReadinessEvent {
        let (read_closed, write_closed, is_error) =
            (event.is_read_closed(), event.is_write_closed(), event.is_error());
        let readiness = Readiness {
            readable: event.is_readable() || read_closed || is_error,
            writable: event.is_writable() || write_closed || is_error,
            read_closed,
            write_closed,
        };
        ReadinessEvent { token: event.token().0 as u64, readiness }
    }
}

impl Wakeup {
    /// Interrupts the poll. See [`Wakeup`].
    pub(super) fn wake(&self) {
        self.0.wake().expect("the waker's descriptor is ours and valid");
    }
}
