//! Processes: identity, state, signals, mailbox, links, and their life from the first turn to the last.
//!
//! | file | what it holds |
//! |---|---|
//! | `id`, `table` | who a process is, who is alive |
//! | `state` | runnable or not: one atomic word |
//! | `signal` | the inbound queue that orders everything |
//! | `message`, `mailbox` | what waits to be received |
//! | `link` | links and monitors |
//! | `wait` | what a suspended process waits for |
//! | `data` | all that host functions see, and what signals do |
//! | `body`, `turn` | the store, and one turn on a worker |
//! | `exit`, `end` | why a process ends, and in which order it is taken apart |

mod body;
mod data;
mod end;
mod exit;
mod id;
mod link;
mod mailbox;
mod message;
mod signal;
mod state;
mod table;
mod turn;
mod wait;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::node::Node;
use crate::report::Report;

pub(crate) use body::Entry;
pub(crate) use data::ProcessData;
pub(crate) use exit::{Ending, ExitReason};
pub(crate) use id::ProcessId;
pub(crate) use link::Relations;
pub(crate) use mailbox::{MAX_TAGS, Pattern, Tags};
pub(crate) use message::{DataMessage, Message, NO_TAG};
pub(crate) use signal::Signal;
pub(crate) use table::{Table, TableFull};
pub use wait::WaitsFor;
pub(crate) use wait::{Finish, Reason};

use body::Body;
use signal::Inbox;
use state::State;

/// A process as others know it: they push signals and wake it. Its worker takes the body.
pub(crate) struct Process {
    id: ProcessId,
    node: Arc<Node>,
    state: State,
    inbox: Inbox,
    /// Whether it may have names in the registry, so that most exits need not look.
    named: AtomicBool,
    /// Held by the worker that runs it; the state machine keeps others away, so it is never contended.
    /// `None` before the process is given its body and after its end.
    body: Mutex<Option<Body>>,
}

impl Process {
    /// A process that cannot run yet.
    pub(crate) fn new(id: ProcessId, node: Arc<Node>, mailbox_limit: u64) -> Process {
        Process {
            id,
            node,
            state: State::new(),
            inbox: Inbox::new(mailbox_limit),
            named: AtomicBool::new(false),
            body: Mutex::new(None),
        }
    }

    pub(crate) fn id(&self) -> ProcessId {
        self.id
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    /// Gives the process what it runs. It runs once it is [woken](Process::wake).
    pub(crate) fn prepare(&self, data: ProcessData, entry: Entry) {
        *self.lock_body() = Some(Body::starting(data, entry));
    }

    /// Sends it a signal; gives it back when the process is over.
    pub(crate) fn send(self: &Arc<Self>, signal: Signal) -> Result<(), Signal> {
        self.inbox.push(signal)?;
        self.wake();
        Ok(())
    }

    /// Makes sure that it has a turn.
    pub(crate) fn wake(self: &Arc<Self>) {
        if self.state.wake() {
            self.node.scheduler().schedule(self.clone());
        }
    }

    /// What it waits for and what it is called, for a person who wants to know why nothing happens. Only while no
    /// worker runs it.
    pub(crate) fn waiting(&self) -> Option<(Option<String>, WaitsFor)> {
        let mut guard = self.lock_body();
        let body = guard.as_mut()?;
        let entry = body.entry();
        let data = body.data_mut();
        let report = Report::new(&self.node, self.id, data.code.module(), entry);
        Some((report.into_name(), data.waits_for()?))
    }

    /// Whether its end has begun.
    pub(crate) fn is_over(&self) -> bool {
        self.inbox.is_closed()
    }

    /// Remembers that it has a name. To be asked [`Process::is_over`] after: an end that came before this does
    /// not free the name, one that comes later does.
    pub(crate) fn set_named(&self) {
        // SeqCst is more than needed: the inbox's lock orders this before a later close, which precedes the
        // look at the flag.
        self.named.store(true, Ordering::SeqCst);
    }

    /// Takes it apart without telling anyone: the node is over.
    pub(crate) fn discard(&self) {
        self.inbox.close();
        let body = self.lock_body().take();
        self.state.end();
        drop(body);
    }

    fn inbox(&self) -> &Inbox {
        &self.inbox
    }

    fn lock_body(&self) -> MutexGuard<'_, Option<Body>> {
        // A panic in a turn is ours; the body it leaves is dropped as it is, without running it again.
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
