//! Where messages from processes arrive.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use lunatic_core::process::{NoMessage, PortHandle};

/// An address for processes to send to, and what they have sent.
///
/// To guests it is a process like any other: its [identifier](Mailbox::id) is what they send to. It is closed when the
/// last clone is dropped.
#[derive(Clone)]
pub struct Mailbox {
    open: Arc<Open>,
}

struct Open {
    port: PortHandle,
}

/// A message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its tag; 0 for none.
    pub tag: i64,
    /// What it says.
    pub bytes: Vec<u8>,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// None has arrived, or not in time.
    #[error("there is no message")]
    Empty,
    /// None will arrive: a guest has killed the mailbox, more messages waited than may, or the node has stopped.
    #[error("the mailbox is closed")]
    Closed,
}

impl From<NoMessage> for ReceiveError {
    fn from(reason: NoMessage) -> ReceiveError {
        match reason {
            NoMessage::Empty => ReceiveError::Empty,
            NoMessage::Closed => ReceiveError::Closed,
        }
    }
}

impl Mailbox {
    pub(super) fn new(port: PortHandle) -> Mailbox {
        Mailbox { open: Arc::new(Open { port }) }
    }

    /// The identifier by which guests send to it.
    pub fn id(&self) -> u64 {
        self.open.port.id().to_guest()
    }

    /// Takes the oldest message, if there is one.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn try_receive(&self) -> Result<Message, ReceiveError> {
        Ok(self.open.port.try_receive().map(from_port)?)
    }

    /// Takes the oldest message; waits for one if there is none. Blocks the thread.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`].
    pub fn receive(&self) -> Result<Message, ReceiveError> {
        Ok(self.open.port.receive(None).map(from_port)?)
    }

    /// As [`Mailbox::receive`], for at most this long.
    ///
    /// # Errors
    /// [`ReceiveError`].
    pub fn receive_for(&self, patience: Duration) -> Result<Message, ReceiveError> {
        Ok(self.open.port.receive(Some(patience)).map(from_port)?)
    }

    /// As [`Mailbox::receive`], as a future for any executor.
    ///
    /// # Errors
    /// [`ReceiveError::Closed`].
    pub async fn next(&self) -> Result<Message, ReceiveError> {
        poll_fn(|context| match self.open.port.poll_receive(context.waker()) {
            Err(NoMessage::Empty) => Poll::Pending,
            done => Poll::Ready(done.map(from_port).map_err(ReceiveError::from)),
        })
        .await
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.port.close();
    }
}

fn from_port(message: lunatic_core::process::PortMessage) -> Message {
    Message { tag: message.tag, bytes: message.bytes }
}
