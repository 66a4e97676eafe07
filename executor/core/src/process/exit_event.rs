//! The end of a process, as an embedder sees it.
//!
//! Processes hear of each other's ends by links and monitors. Outside of the node there are two ways: waiting for one
//! process ([`ExitWatch`]), and hearing of each end ([`Exits::observe`]). Both cost processes that nobody outside is
//! interested in nothing but a look at a flag.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use lunatic_jit::Value;

use super::ProcessId;
use super::exit::ExitReason;

/// How a process ended.
#[derive(Clone, Debug)]
pub struct ProcessExit {
    /// The process, as guests know it.
    pub process: u64,
    /// Why it ended.
    pub kind: ExitKind,
    /// What its entry returned, if it ended normally and somebody waited for it.
    pub results: Vec<Value>,
    /// The report that was written to the node's standard error, for a crash: a text of several lines.
    pub report: Option<String>,
}

/// Why a process ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExitKind {
    /// Its entry returned, or it exited with status 0.
    Normal,
    /// It exited with this status.
    Status(u32),
    /// It ended with a reason of its own.
    Reason(i64),
    /// It trapped: what the trap says.
    Trapped(String),
    /// It exceeded a limit: which one.
    LimitExceeded(String),
    /// It was killed.
    Killed,
    /// A process that it was linked to ended.
    LinkDied,
    /// The node stopped before it had ended.
    Stopped,
    /// A bug in the runtime ended it.
    Bug,
}

impl ExitKind {
    /// Whether it ended normally.
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

/// A process that somebody outside of the node waits for.
#[derive(Debug, Default)]
pub struct ExitWatch {
    state: Mutex<Watched>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct Watched {
    exit: Option<Arc<ProcessExit>>,
    wakers: Vec<Waker>,
}

impl ExitWatch {
    /// How the process ended, if it has.
    pub fn get(&self) -> Option<Arc<ProcessExit>> {
        self.lock().exit.clone()
    }

    /// Waits until it has ended. Blocks the thread.
    pub fn wait(&self) -> Arc<ProcessExit> {
        let state = self.ended.wait_while(self.lock(), |state| state.exit.is_none());
        state.unwrap_or_else(PoisonError::into_inner).exit.clone().expect("that is what was waited for")
    }

    /// Waits until it has ended, at most this long.
    pub fn wait_for(&self, patience: Duration) -> Option<Arc<ProcessExit>> {
        let end = Instant::now().checked_add(patience);
        let mut state = self.lock();
        while state.exit.is_none() {
            let left = end.map_or(Duration::MAX, |end| end.saturating_duration_since(Instant::now()));
            if left.is_zero() {
                return None;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        state.exit.clone()
    }

    fn complete(&self, exit: Arc<ProcessExit>) {
        let mut state = self.lock();
        state.exit.get_or_insert(exit);
        let wakers = std::mem::take(&mut state.wakers);
        drop(state);
        self.ended.notify_all();
        wakers.into_iter().for_each(Waker::wake);
    }

    fn lock(&self) -> MutexGuard<'_, Watched> {
        // Nothing panics under it, and every state of it is a valid one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end of a process as a future, for any executor.
#[derive(Clone, Debug)]
pub struct ExitFuture(pub Arc<ExitWatch>);

impl Future for ExitFuture {
    type Output = Arc<ProcessExit>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Arc<ProcessExit>> {
        let mut state = self.0.lock();
        match &state.exit {
            Some(exit) => Poll::Ready(exit.clone()),
            None => {
                if !state.wakers.iter().any(|waker| waker.will_wake(context.waker())) {
                    state.wakers.push(context.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// What is called at the end of each process, on the thread that ends it. It must not block.
pub type ExitObserver = Box<dyn Fn(&ProcessExit) + Send + Sync>;

/// Who outside of the node is interested in ends.
#[derive(Default)]
pub struct Exits {
    watched: Mutex<HashMap<ProcessId, Arc<ExitWatch>>>,
    observer: OnceLock<ExitObserver>,
}

impl Exits {
    /// Has an observer called at each end. There is one for each node; a second one is refused.
    pub fn observe(&self, observer: ExitObserver) -> bool {
        self.observer.set(observer).is_ok()
    }

    /// Whether each end is observed.
    pub(super) fn is_observed(&self) -> bool {
        self.observer.get().is_some()
    }

    pub(super) fn watch(&self, process: ProcessId) -> Arc<ExitWatch> {
        let watch = Arc::<ExitWatch>::default();
        self.lock().insert(process, watch.clone());
        watch
    }

    /// Tells everybody that a process has ended.
    pub(super) fn tell(&self, process: ProcessId, exit: ProcessExit) {
        if let Some(observer) = self.observer.get() {
            // A panic of the embedder's must not keep others from being told.
            let call = std::panic::AssertUnwindSafe(|| observer(&exit));
            let _ = std::panic::catch_unwind(call);
        }
        let watch = self.lock().remove(&process);
        if let Some(watch) = watch {
            watch.complete(Arc::new(exit));
        }
    }

    /// The node has stopped: nobody waits any longer for a process of it.
    pub(crate) fn stop(&self) {
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
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
