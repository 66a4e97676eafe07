//! A process, as the embedder that has spawned it sees it.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use lunatic_core::Node;
use lunatic_core::process::{
    DataMessage, Envelope, ExitFuture, ExitWatch, Message, Process, ProcessExit, Signal,
};

/// A process that was spawned. It goes on when the handle is dropped.
#[derive(Clone)]
pub struct ProcessHandle {
    process: Arc<Process>,
    watch: Arc<ExitWatch>,
}

/// The process has ended, or its end has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process has ended")]
pub struct Ended;

impl ProcessHandle {
    pub(super) fn new(process: Arc<Process>, watch: Arc<ExitWatch>) -> ProcessHandle {
        ProcessHandle { process, watch }
    }

    /// Its identifier, as guests know it.
    pub fn id(&self) -> u64 {
        self.process.id().to_guest()
    }

    /// Sends it a message, with a tag that it may ask for; 0 is no tag. Never blocks. If the message exceeds what may wait
    /// for the process, the process ends.
    ///
    /// # Errors
    /// [`Ended`] if it has ended.
    pub fn send(&self, tag: i64, bytes: &[u8]) -> Result<(), Ended> {
        send(self.process.node(), self.process.id().to_guest(), tag, bytes)
    }

    /// Ends it, whatever it does. Does nothing if it has ended.
    pub fn kill(&self) {
        let _ = self.process.send(Signal::Kill);
    }

    /// How it ended, if it has.
    pub fn exit(&self) -> Option<Arc<ProcessExit>> {
        self.watch.get()
    }

    /// Waits until it has ended. Blocks the thread; to wait without blocking, `await` the handle.
    pub fn wait(&self) -> Arc<ProcessExit> {
        self.watch.wait()
    }

    /// Waits until it has ended, at most this long.
    pub fn wait_for(&self, patience: Duration) -> Option<Arc<ProcessExit>> {
        self.watch.wait_for(patience)
    }
}

/// The end of the process, on any executor. Dropping the future leaves the process as it is.
impl IntoFuture for &ProcessHandle {
    type Output = Arc<ProcessExit>;
    type IntoFuture = ExitFuture;

    fn into_future(self) -> ExitFuture {
        ExitFuture(self.watch.clone())
    }
}

impl IntoFuture for ProcessHandle {
    type Output = Arc<ProcessExit>;
    type IntoFuture = ExitFuture;

    fn into_future(self) -> ExitFuture {
        ExitFuture(self.watch)
    }
}

/// Sends a message to a process of a node.
pub(super) fn send(node: &Node, to: u64, tag: i64, bytes: &[u8]) -> Result<(), Ended> {
    let mut message = DataMessage::new(tag, bytes.len());
    message.write(bytes, 0);
    let envelope = Envelope::new(Message::Data(message));
    match node.send(lunatic_core::ProcessId::from_guest(to), envelope) {
        Ok(_) => Ok(()),
        Err(_) => Err(Ended),
    }
}
