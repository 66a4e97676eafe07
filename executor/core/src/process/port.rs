//! Ports: processes whose messages go to the embedder instead of a guest.
//!
//! A port has an identifier like any process: guests send to it, link to it and monitor it, with the same host functions
//! and under the same limits. It runs no code. When it has a turn, its messages are in its mailbox, and whoever waits on
//! the other side is told; they stay there, and count against the port's limits, until they are taken.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use super::data::ProcessData;
use super::mailbox::{Pattern, Tags};
use super::message::Message;
use super::signal::Signal;
use super::{Process, ProcessId};

/// A message that a port has received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortMessage {
    /// Its tag; 0 for none.
    pub tag: i64,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoMessage {
    /// None is there yet.
    Empty,
    /// The port is closed: it was killed, exceeded a limit, or its node has stopped.
    Closed,
}

/// Tells those outside that a port may have messages.
#[derive(Debug, Default)]
pub(super) struct Doorbell {
    state: Mutex<Rung>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Rung {
    /// How often it was rung: a wait that begins with an older number does not wait.
    count: u64,
    wakers: Vec<Waker>,
}

impl Doorbell {
    pub(super) fn ring(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.count += 1;
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.rung.notify_all();
        wakers.into_iter().for_each(Waker::wake);
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

    /// Its turn: whoever waits may look.
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

    /// Its identifier, by which guests send to it.
    pub fn id(&self) -> ProcessId {
        self.process.id()
    }

    /// Closes it: nothing reaches it any more, and those that watch it hear that it was killed.
    pub fn close(&self) {
        let _ = self.process.send(Signal::Kill);
    }

    /// Takes the oldest message.
    ///
    /// # Errors
    /// [`NoMessage`].
    pub fn try_receive(&self) -> Result<PortMessage, NoMessage> {
        self.process.with_port(|data| {
            loop {
                let mut pattern = Pattern::new(Tags::Any);
                data.receive_now(&mut pattern, &mut u64::MAX.clone()).ok_or(NoMessage::Empty)?;
                let envelope = data.take_message().map_err(|_| NoMessage::Empty)?;
                // Deaths are for processes: a port is told of those that it watches by other means.
                if let Message::Data(message) = envelope.message() {
                    return Ok(PortMessage { tag: message.tag, bytes: message.bytes().to_vec() });
                }
            }
        })?
    }

    /// Takes the oldest message; waits for one if there is none, at most this long.
    ///
    /// # Errors
    /// [`NoMessage`]: the time is over, or the port is closed.
    pub fn receive(&self, patience: Option<Duration>) -> Result<PortMessage, NoMessage> {
        let end = patience.and_then(|patience| std::time::Instant::now().checked_add(patience));
        loop {
            let seen = self.rung();
            match self.try_receive() {
                Err(NoMessage::Empty) => {}
                done => return done,
            }
            let mut state = self.bell.state.lock().unwrap_or_else(PoisonError::into_inner);
            while state.count == seen {
                let now = std::time::Instant::now();
                let left = match end {
                    Some(end) if end <= now => return Err(NoMessage::Empty),
                    Some(end) => end - now,
                    None => Duration::MAX,
                };
                let waited = self.bell.rung.wait_timeout(state, left);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
    }

    /// Takes the oldest message, or has the waker woken when there may be one.
    ///
    /// # Errors
    /// [`NoMessage::Empty`] if the waker is to be waited for.
    pub fn poll_receive(&self, waker: &Waker) -> Result<PortMessage, NoMessage> {
        let mut state = self.bell.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.wakers.iter().any(|known| known.will_wake(waker)) {
            state.wakers.push(waker.clone());
        }
        drop(state);
        // After the waker is known: what arrives from now on rings it.
        self.try_receive()
    }

    fn rung(&self) -> u64 {
        self.bell.state.lock().unwrap_or_else(PoisonError::into_inner).count
    }
}
