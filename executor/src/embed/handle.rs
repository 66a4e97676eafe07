//! Handles of spawned processes.

use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use lunatic_core::Node;
use lunatic_core::process::{
    DataMessage, Envelope, ExitFuture, ExitWatch, Message, Process, ProcessExit, Signal,
};

/// Handle of a spawned process. The process continues when the handle is dropped. Awaiting the handle waits for the
/// end.
#[derive(Clone)]
pub struct ProcessHandle {
    process: Arc<Process>,
    watch: Arc<ExitWatch>,
}

/// Error of sending to a process that has ended or whose end has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the process has ended")]
pub struct Ended;

impl ProcessHandle {
    pub(super) fn new(process: Arc<Process>, watch: Arc<ExitWatch>) -> ProcessHandle {
        ProcessHandle { process, watch }
    }

    /// Returns the identifier of the process, which guests use too.
    pub fn id(&self) -> u64 {
        self.process.id().to_guest()
    }

    /// Sends a message to the process. `tag` lets the receiver select it; 0 means no tag. Never blocks. If the
    /// message exceeds the mailbox limit of the process, the process ends.
    ///
    /// # Errors
    /// Returns [`Ended`] if the process has ended.
    pub fn send(&self, tag: i64, bytes: &[u8]) -> Result<(), Ended> {
        send(self.process.node(), self.process.id().to_guest(), tag, bytes)
    }

    /// Kills the process, even if it computes. Does nothing if the process has ended.
    pub fn kill(&self) {
        let _ = self.process.send(Signal::Kill);
    }

    /// Returns how the process ended, or `None` while it lives.
    pub fn exit(&self) -> Option<Arc<ProcessExit>> {
        self.watch.get()
    }

    /// Waits until the process has ended. Blocks the thread; `await` the handle to wait without blocking.
    pub fn wait(&self) -> Arc<ProcessExit> {
        self.watch.wait()
    }

    /// Waits at most `patience` until the process has ended. Returns `None` if it still lives.
    pub fn wait_for(&self, patience: Duration) -> Option<Arc<ProcessExit>> {
        self.watch.wait_for(patience)
    }
}

/// Future of a process's end, for any async executor. Dropping the future does not affect the process.
impl IntoFuture for &ProcessHandle {
    type Output = Arc<ProcessExit>;
    type IntoFuture = ExitFuture;

    fn into_future(self) -> ExitFuture {
        ExitFuture::new(self.watch.clone())
    }
}

impl IntoFuture for ProcessHandle {
    type Output = Arc<ProcessExit>;
    type IntoFuture = ExitFuture;

    fn into_future(self) -> ExitFuture {
        ExitFuture::new(self.watch)
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
