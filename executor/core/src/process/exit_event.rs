//! Notifications about the end of a process for the embedder.
//!
//! Processes learn about each other's ends by links and monitors. The embedder can wait for one process
//! ([`ExitWatch`]) or observe every end ([`Exits::observe`]). Both cost a process that is not observed only the check
//! of a flag.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use lunatic_resources::sync::{Condvar, Mutex, MutexGuard};

use lunatic_jit::Value;

use super::ProcessId;
use super::exit::ExitReason;
use super::wakers::{WakerSlot, Wakers};

/// End of a process.
#[derive(Clone, Debug)]
pub struct ProcessExit {
    /// Identifier of the process, which guests use too.
    pub process: u64,
    /// Reason of the end.
    pub kind: ExitKind,
    /// Results of the entry function, if the process ended normally and was watched.
    pub results: Vec<Value>,
    /// Crash report that was written to the node's standard error, of several lines.
    pub report: Option<String>,
}

/// Reason why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitKind {
    /// The entry function returned, or the process exited with status 0.
    Normal,
    /// The process exited with this status.
    Status(u32),
    /// The process ended with a reason of its own.
    Reason(i64),
    /// The process trapped; contains the message of the trap.
    Trapped(String),
    /// The process exceeded a limit; contains its name.
    LimitExceeded(String),
    /// The process was killed.
    Killed,
    /// A linked process ended.
    LinkDied,
    /// The node stopped first.
    Stopped,
    /// A bug in the runtime ended the process.
    Bug,
}

impl ExitKind {
    /// Returns whether the process ended normally.
    pub fn is_normal(&self) -> bool {
        *self == ExitKind::Normal
    }
}

impl From<&ExitReason> for ExitKind {
    fn from(reason: &ExitReason) -> ExitKind {
        match reason {
            ExitReason::Normal => ExitKind::Normal,
            ExitReason::Exit(status) => ExitKind::Status(*status),
            ExitReason::Reason(reason) => ExitKind::Reason(*reason),
            ExitReason::Trap(trap) => ExitKind::Trapped(trap.to_string()),
            ExitReason::LimitExceeded(limit) => ExitKind::LimitExceeded(limit.to_string()),
            ExitReason::Killed => ExitKind::Killed,
            ExitReason::LinkDied { .. } => ExitKind::LinkDied,
            ExitReason::Stopped(_) => ExitKind::Stopped,
            ExitReason::Bug => ExitKind::Bug,
        }
    }
}

/// Watches one process from outside of the node.
#[derive(Debug, Default)]
pub struct ExitWatch {
    state: Mutex<Watched>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    exit: Option<Arc<ProcessExit>>,
    wakers: Wakers,
}

impl ExitWatch {
    /// Returns the end of the process, or `None` while it lives.
    pub fn get(&self) -> Option<Arc<ProcessExit>> {
        self.lock().exit.clone()
    }

    /// Waits until the process has ended. Blocks the thread.
    pub fn wait(&self) -> Arc<ProcessExit> {
        let state = self.ended.wait_while(self.lock(), |state| state.exit.is_none());
        state.exit.clone().expect("that is what was waited for")
    }

    /// Waits until the process has ended, at most for `patience`.
    pub fn wait_for(&self, patience: Duration) -> Option<Arc<ProcessExit>> {
        let end = Instant::now().checked_add(patience);
        let mut state = self.lock();
        while state.exit.is_none() {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            state = self.ended.wait_timeout(state, left).0;
        }
        state.exit.clone()
    }

    fn complete(&self, exit: Arc<ProcessExit>) {
        let mut state = self.lock();
        state.exit.get_or_insert(exit);
        let wakers = state.wakers.take();
        drop(state);
        self.ended.notify_all();
        wakers.for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // A poisoned lock is safe to use: every state is valid.
        self.state.lock()
    }
}

/// Future of a process's end, for any async executor.
#[derive(Debug)]
pub struct ExitFuture {
    watch: Arc<ExitWatch>,
    slot: WakerSlot,
}

impl ExitFuture {
    /// Creates the future of the process that `watch` watches.
    pub fn new(watch: Arc<ExitWatch>) -> ExitFuture {
        ExitFuture { watch, slot: WakerSlot::default() }
    }
}

impl Drop for ExitFuture {
    fn drop(&mut self) {
        let waker = self.watch.lock().wakers.remove(&self.slot);
        drop(waker);
    }
}

impl Future for ExitFuture {
    type Output = Arc<ProcessExit>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Arc<ProcessExit>> {
        let this = &mut *self;
        let mut state = this.watch.lock();
        if let Some(exit) = &state.exit {
            return Poll::Ready(exit.clone());
        }
        let replaced = state.wakers.set(&mut this.slot, context.waker());
        drop(state);
        drop(replaced);
        Poll::Pending
    }
}

/// Function that is called for each end, on the thread that ends the process. It must not block. It is not called for
/// processes that end because the node stops.
pub type ExitObserver = Box<dyn Fn(&ProcessExit) + Send + Sync>;

/// Watchers and the observer of a node.
#[derive(Default)]
pub struct Exits {
    watched: Mutex<HashMap<ProcessId, Arc<ExitWatch>>>,
    observer: OnceLock<ExitObserver>,
}

impl Exits {
    /// Sets the observer of the node. Fails if there is one already.
    pub fn observe(&self, observer: ExitObserver) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// Returns whether the node has an observer.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.get().is_some()
    }

    pub(super) fn watch(&self, process: ProcessId) -> Arc<ExitWatch> {
        let watch = Arc::<ExitWatch>::default();
        self.lock().insert(process, watch.clone());
        watch
    }

    /// Notifies the observer and the watchers of a process.
    pub(super) fn tell(&self, process: ProcessId, exit: ProcessExit) {
        if let Some(observer) = self.observer.get() {
            // A panic of the observer must not prevent the watchers from being notified.
            let call = std::panic::AssertUnwindSafe(|| observer(&exit));
            let _ = std::panic::catch_unwind(call);
        }
        let watch = self.lock().remove(&process);
        if let Some(watch) = watch {
            watch.complete(Arc::new(exit));
        }
    }

    /// Completes all watches, because the node has stopped.
    pub fn stop(&self) {
        let watched = std::mem::take(&mut *self.lock());
        for (process, watch) in watched {
            let (kind, results) = (ExitKind::Stopped, Vec::new());
            watch.complete(Arc::new(ProcessExit {
                process: process.to_guest(),
                kind,
                results,
                report: None,
            }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<ProcessId, Arc<ExitWatch>>> {
        self.watched.lock()
    }
}
