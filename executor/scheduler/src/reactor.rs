//! Readiness of descriptors, over mio.
//!
//! One for all workers. An idle one sleeps in it, and how the others wake that one is here too; busy ones look into it now
//! and then. What happened is [dispatched](Reactor::dispatch) by whoever polled, when it no longer counts as asleep.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use mio::event::Event;
use mio::{Poll, Token, Waker};
use smallvec::SmallVec;

use super::Events;

pub(super) use mio::Registry;

/// Events taken from the operating system at a time; what is left is seen by the next poll. Few, for what is fetched into
/// the cache when a process is told has to be there when it has its turn. With 1,000 connections that all have something, 8
/// and 32 at a time took a fifth less of the processor than 256; with 64 connections 16 and 64 took the same.
const EVENTS: usize = 16;

/// The token of the waker. Those of descriptors carry slot and generation, and are never this.
const WAKER: Token = Token(usize::MAX);

/// See the module.
pub(super) struct Reactor {
    poll: Poll,
    events: mio::Events,
}

/// Interrupts the thread that polls, or makes the next poll return at once.
#[derive(Clone)]
pub(super) struct Wakeup(Arc<Waker>);

/// What a descriptor became ready for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// There is something to read, or an end or an error to be told of.
    pub readable: bool,
    /// There is room to write, or an error to be told of.
    pub writable: bool,
    /// The other side has ended: that is behind whatever there is to read.
    pub read_closed: bool,
    /// Nothing that is written arrives any more.
    pub write_closed: bool,
}

/// What happened to a descriptor.
#[derive(Clone, Copy, Debug)]
pub struct ReadinessEvent {
    /// What it was registered with.
    pub token: u64,
    /// What it is ready for.
    pub readiness: Readiness,
}

impl Reactor {
    /// A reactor, what wakes who sleeps in it, and where descriptors are registered.
    pub(super) fn new() -> io::Result<(Reactor, Wakeup, Registry)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        let registry = poll.registry().try_clone()?;
        Ok((Reactor { poll, events: mio::Events::with_capacity(EVENTS) }, Wakeup(Arc::new(waker)), registry))
    }

    /// Waits for events. They are kept for [`Reactor::dispatch`].
    pub(super) fn poll(&mut self, timeout: Option<Duration>) {
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal handler ran; whoever polls does so in a loop.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => panic!("the reactor's descriptor is ours and valid: {error}"),
        }
    }

    /// Tells of what the last poll found, once.
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
    /// See [`Wakeup`].
    pub(super) fn wake(&self) {
        self.0.wake().expect("the waker's descriptor is ours and valid");
    }
}
