//! Mailboxes: receive messages from processes.

use std::sync::Arc;
use std::time::Duration;

use lunatic_core::process::{NoMessage, PortHandle};

/// Address to which processes send messages for the embedder.
///
/// Guests use a mailbox like any other process, by its [identifier](Mailbox::id). It closes when its last clone is
/// dropped.
#[derive(Clone)]
pub struct Mailbox {
    open: Arc<Open>,
}

struct Open {
    port: PortHandle,
}

/// A received message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Tag of the message; 0 for none.
    pub tag: i64,
    /// Content of the message.
    pub bytes: Vec<u8>,
}

/// Reason why no message was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReceiveError {
    /// No message has arrived, or none in time.
    #[error("there is no message")]
    Empty,
    /// The mailbox is closed: a guest killed it, it exceeded its limit, or the node has stopped.
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

    /// Returns the identifier to which guests send.
    pub fn id(&self) -> u64 {
        self.open.port.id().to_guest()
    }

    /// Takes the oldest message. Does not wait.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn try_receive(&self) -> Result<Message, ReceiveError> {
        Ok(self.open.port.try_receive().map(from_port)?)
    }

    /// Takes the oldest message, or waits for one. Blocks the thread.
    ///
    /// # Errors
    /// Returns [`ReceiveError::Closed`] if the mailbox is closed.
    pub fn receive(&self) -> Result<Message, ReceiveError> {
        Ok(self.open.port.receive(None).map(from_port)?)
    }

    /// Receives like [`Mailbox::receive`], but waits at most `patience`.
    ///
    /// # Errors
    /// See [`ReceiveError`].
    pub fn receive_for(&self, patience: Duration) -> Result<Message, ReceiveError> {
        Ok(self.open.port.receive(Some(patience)).map(from_port)?)
    }

    /// Receives like [`Mailbox::receive`], as a future for any async executor.
    ///
    /// # Errors
    /// Returns [`ReceiveError::Closed`] if the mailbox is closed.
    pub async fn next(&self) -> Result<Message, ReceiveError> {
        Ok(self.open.port.next().await.map(from_port)?)
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
