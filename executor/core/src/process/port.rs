//! Ports: processes whose messages go to the embedder instead of a guest.
//!
//! A port has an identifier like any process: guests send to it, link to it and monitor it, with the same host
//! functions and under the same limits. It runs no code. In its turn, it wakes threads that wait for messages. The
//! messages stay in its mailbox, and count against its limits, until the embedder takes them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use lunatic_resources::sync::{Condvar, Mutex};

use super::data::ProcessData;
use super::mailbox::{Pattern, Tags};
use super::message::Message;
use super::signal::Signal;
use super::wakers::{WakerSlot, Wakers};
use super::{Process, ProcessId};

/// A message that a port has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMessage {
    /// The tag; 0 for none.
    pub tag: i64,
    /// The bytes of the message.
    pub bytes: Vec<u8>,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMessage {
    /// None has arrived yet.
    Empty,
    /// The port is closed: it was killed, exceeded a limit, or its node has stopped.
    Closed,
}

/// Wakes threads and tasks that wait for messages of a port.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    state: Mutex<Rung>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// The number of times that it was rung. A wait that starts from an older number does not block.
    count: u64,
    wakers: Wakers,
}

impl Doorbell {
    pub(super) fn ring(&self) {
        let mut state = self.state.lock();
        state.count += 1;
        let wakers = state.wakers.take();
        drop(state);
        self.rung.notify_all();
        wakers.for_each(Waker::wake);
    }
}

/// The part of a port that is in its process.
pub(super) struct Port {
    pub(super) data: ProcessData,
    bell: Arc<Doorbell>,
}

impl Port {
    pub(super) fn new(data: ProcessData, bell: Arc<Doorbell>) -> Port {
        Port { data, bell }
    }

    /// Wakes threads that wait for messages. To be called in a turn of the port.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        self.bell.ring();
    }
}

/// The embedder's side of a port.
#[derive(Clone)]
pub struct PortHandle {
    process: Arc<Process>,
    bell: Arc<Doorbell>,
}

impl PortHandle {
    pub(super) fn new(process: Arc<Process>, bell: Arc<Doorbell>) -> PortHandle {
        PortHandle { process, bell }
    }

    /// Returns the identifier that guests send to.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Closes the port. It receives nothing from now on, and processes that monitor it learn that it was killed.
    pub fn close(&self) {
        let _ = self.process.send(Signal::Kill);
    }

    /// Takes the oldest message.
    ///
    /// # Errors
    /// Returns [`NoMessage`] if there is none.
    pub fn try_receive(&self) -> Result<PortMessage, NoMessage> {
        self.process.with_port(|data| {
            loop {
                let mut pattern = Pattern::new(Tags::Any);
                data.receive_now(&mut pattern, &mut u64::MAX.clone()).ok_or(NoMessage::Empty)?;
                let envelope = data.take_message().map_err(|_| NoMessage::Empty)?;
                // Death messages are dropped: the embedder learns of exits through watches.
                if let Message::Data(message) = envelope.message() {
                    return Ok(PortMessage { tag: message.tag, bytes: message.bytes().to_vec() });
                }
            }
        })?
    }

    /// Takes the oldest message. Waits at most `patience` if there is none, or without a limit for `None`.
    ///
    /// # Errors
    /// Returns [`NoMessage`] if the time is over or the port is closed.
    pub fn receive(&self, patience: Option<Duration>) -> Result<PortMessage, NoMessage> {
        let end = patience.and_then(|patience| std::time::Instant::now().checked_add(patience));
        loop {
            let seen = self.rung();
            match self.try_receive() {
                Err(NoMessage::Empty) => {}
                done => return done,
            }
            let mut state = self.bell.state.lock();
            while state.count == seen {
                let now = std::time::Instant::now();
                let left = match end {
                    Some(end) if end <= now => return Err(NoMessage::Empty),
                    Some(end) => end - now,
                    None => Duration::MAX,
                };
                let waited = self.bell.rung.wait_timeout(state, left);
                state = waited.0;
            }
        }
    }

    /// Returns a future of the oldest message.
    pub fn next(&self) -> NextMessage<'_> {
        NextMessage { port: self, slot: WakerSlot::default() }
    }

    fn rung(&self) -> u64 {
        self.bell.state.lock().count
    }
}

/// The future of a message, for any async executor.
pub struct NextMessage<'a> {
    port: &'a PortHandle,
    slot: WakerSlot,
}

impl Future for NextMessage<'_> {
    type Output = Result<PortMessage, NoMessage>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let replaced = this.port.bell.state.lock().wakers.set(&mut this.slot, context.waker());
        drop(replaced);
        // The waker is registered first: a message that arrives from now on wakes it.
        match this.port.try_receive() {
            Err(NoMessage::Empty) => Poll::Pending,
            done => Poll::Ready(done),
        }
    }
}

impl Drop for NextMessage<'_> {
    fn drop(&mut self) {
        let waker = self.port.bell.state.lock().wakers.remove(&self.slot);
        drop(waker);
    }
}
