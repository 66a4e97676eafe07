//! The end of a process, in an order that other processes can rely on.
//!
//! 1. The inbox closes. From here on, messages to the process are dropped.
//! 2. A report is written, if the process trapped or exceeded a limit.
//! 3. Its names are freed.
//! 4. Its store is dropped: memory, stack, descriptors, messages. A separate thread drops what takes long to free,
//!    and the end continues when that is done.
//! 5. Its identifier becomes invalid. The embedder is notified.
//! 6. Linked processes are notified, then processes that monitor it. Requests that arrived too late are answered with
//!    "no such process".
//! 7. If it was the first process, the node stops.
//!
//! So a process that receives a death message can take the name and bind the port, and `exists` returns 0.
//!
//! Steps 3 and 6 are done in portions, because a process can have any number of names and monitors. What the first
//! portion does not finish continues as a task of its own, in turn with processes.
//!
//! A panic in one of these steps is a bug of the runtime. It must not prevent the other steps: a supervisor would
//! wait for ever for a process whose end is half announced. So each step that runs code of other parts catches
//! panics.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use lunatic_resources::sync::Mutex;

use crate::node::Node;
use crate::report::Report;
use lunatic_scheduler::{Priority, Step, Task};

use super::body::Body;
use super::data::Backlog;
use super::exit::{ExitReason, Termination};
use super::link::{Announcements, Relations};
use super::signal::Signal;
use super::{Process, ProcessExit, ProcessId};
use lunatic_scheduler::Signals;

/// Names that are freed, or processes that are notified, in one portion: a fraction of a millisecond.
const PORTION: usize = 512;

/// The rest of an end.
struct End {
    node: Arc<Node>,
    process: ProcessId,
    termination: Termination,
    /// The exit status of the node, if the process was the first.
    status: Option<i32>,
    /// Event for the embedder.
    exit: Option<ProcessExit>,
    stage: Stage,
    /// Signals that arrived after the process had its reason to end.
    late: Late,
}

#[allow(clippy::large_enum_variant)] // One of them is on the stack for a moment; few ends last longer.
enum Stage {
    /// Names are to be freed; then the body is to be dropped.
    Named(Option<Body>),
    /// Other processes are to be notified.
    Telling(Announcements),
}

/// Requests that are to be answered: those that had arrived, then those that arrived while the inbox was being
/// closed.
type Late = std::iter::Chain<std::iter::Flatten<std::option::IntoIter<Backlog>>, Signals<Signal>>;

thread_local! {
    static ENDS_HERE: Cell<bool> = const { Cell::new(false) };
}

/// Lets every process that ends in `run` end completely on this thread: nothing is left to a task or another thread.
/// For a caller that waits for the end and may be the only thread that could do the rest.
pub(super) fn ending_here<R>(run: impl FnOnce() -> R) -> R {
    /// Restores the flag, also after a panic.
    struct Before(bool);
    impl Drop for Before {
        fn drop(&mut self) {
            ENDS_HERE.set(self.0);
        }
    }
    let _before = Before(ENDS_HERE.replace(true));
    run()
}

/// An end that continues as a task; `None` once it has continued.
struct Unfinished(Mutex<Option<End>>);

impl Process {
    /// Releases the parts of the process and notifies others. There is no body if a panic in its turn has lost it.
    pub(super) fn end(&self, mut body: Option<Body>, reason: &ExitReason) {
        let late = self.inbox.close();
        let is_first = self.node().is_first(self.id);
        let mut report = None;
        if let Some(body) = &body
            && (reason.is_reported() || (is_first && matches!(reason, ExitReason::LinkDied { .. })))
        {
            survive(|| {
                let text = Report::new(self, body.entry()).text(reason);
                self.node().report(text.clone());
                report = Some(text);
            });
        }
        let exit = self.exit_event(body.as_ref(), reason, report.as_ref());
        let unhandled = body.as_mut().and_then(Body::take_unhandled);
        let is_named = self.named.load(Ordering::Relaxed);
        // Most processes end unnoticed: there is nobody to notify or answer, and nothing takes long.
        let is_quiet = !is_named && !is_first && late.is_empty();
        if is_quiet
            && unhandled.as_ref().is_none_or(Backlog::is_empty)
            && body.as_mut().is_some_and(|body| body.is_alone() && !body.is_large())
        {
            // A panic in one of these steps must not prevent the others.
            survive(|| {
                let mut body = body;
                survive(|| body.iter_mut().for_each(Body::end_wait));
                drop(body);
            });
            self.node().table.remove(self.id);
            if let Some(exit) = exit {
                self.node().exits.tell(self.id, exit);
            }
            return;
        }
        let end = End {
            node: self.node().clone(),
            process: self.id,
            termination: reason.termination(),
            status: is_first.then(|| reason.status()),
            exit,
            stage: Stage::Named(body),
            late: unhandled.into_iter().flatten().chain(late),
        };
        end.go_on(is_named);
    }
}

impl End {
    /// Does one portion. A task or another thread does the rest, if there is one, unless this thread has to.
    fn go_on(self, is_named: bool) {
        let mut unfinished = self.portion(is_named);
        while let Some(end) = unfinished {
            if !ENDS_HERE.get() {
                return end.schedule();
            }
            unfinished = end.portion(is_named);
        }
    }

    fn schedule(self) {
        let node = self.node.clone();
        node.scheduler().schedule(Arc::new(Unfinished(Mutex::new(Some(self)))));
    }

    /// Does one portion. Returns the end if something is left to do.
    fn portion(mut self, is_named: bool) -> Option<End> {
        let mut left = PORTION;
        if let Stage::Named(body) = &mut self.stage {
            if is_named && !self.node.registry.lock().remove_some(self.process, &mut left) {
                return Some(self);
            }
            let Some(body) = body.take() else { return self.tell(Relations::default(), left) };
            return self.drop_body(body, left);
        }
        if self.tell_some(left) { None } else { Some(self) }
    }

    /// Drops everything but the links and monitors, and then notifies others.
    fn drop_body(self, mut body: Body, left: usize) -> Option<End> {
        let relations = body.take_relations();
        survive(|| body.end_wait());
        // Only the end of the node depends on the end of the first process, so a worker may drop it.
        if body.is_large() && self.status.is_none() && !ENDS_HERE.get() {
            let node = self.node.clone();
            node.reclaim_then(body, move || {
                let _ = self.tell(relations, PORTION).map(End::schedule);
            });
            return None;
        }
        survive(|| drop(body));
        self.tell(relations, left)
    }

    fn tell(mut self, relations: Relations, left: usize) -> Option<End> {
        self.node.table.remove(self.process);
        if let Some(exit) = self.exit.take() {
            self.node.exits.tell(self.process, exit);
        }
        self.stage = Stage::Telling(relations.announcements(self.process, self.termination));
        if self.tell_some(left) { None } else { Some(self) }
    }

    /// Notifies and answers at most `left` other processes. Returns whether nothing is left to do.
    fn tell_some(&mut self, left: usize) -> bool {
        let Stage::Telling(announcements) = &mut self.stage else { return false };
        for _ in 0..left {
            // A process that has ended meanwhile needs no notification.
            if let Some(announced) = announcements.next() {
                let _ = announced.map(|(to, signal)| self.node.send(to, signal));
            } else if let Some(signal_node) = self.late.next() {
                let _ =
                    signal_node.content.refusal(self.process).map(|(to, answer)| self.node.send(to, answer));
            } else {
                if let Some(status) = self.status {
                    self.node.finish(status);
                }
                return true;
            }
        }
        false
    }
}

impl Task for Unfinished {
    fn run(&self) -> Step {
        let end = self.0.lock().take();
        // If something is left after this portion, it becomes another task.
        if let Some(end) = end {
            end.go_on(true);
        }
        Step::Rest
    }

    fn priority(&self) -> Priority {
        Priority::Normal
    }
}

/// Runs a step and continues whether or not it panics. The panic hook has printed the panic.
fn survive(act: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(act));
}
