//! The end of a process, in an order that others can rely on.
//!
//! 1. Its inbox closes: from here on, sending to it is sending to no one.
//! 2. A person is told, if it trapped or exceeded a limit.
//! 3. Its names are free.
//! 4. Its store is dropped: memory, stack, descriptors, messages. What takes long to give back is dropped by a thread that
//!    may be busy, and the end goes on when that is done.
//! 5. Its identifier names no one.
//! 6. Those that asked to be told are told: linked processes, then watchers. Those that asked too late are told that there
//!    is no such process.
//! 7. If it was the first process, the node stops.
//!
//! So whoever hears of a death can take the name, bind the port, and sees `exists` say no.
//!
//! Steps 3 and 6 are done a portion at a time: a process may have any number of names and monitors. What the first portion
//! does not finish goes on as a task of its own, in turn with processes.
//!
//! A panic in one of these steps is a bug of ours. It must not keep the others from being done: a process whose end is
//! half told is one that its supervisor waits for. So each step that runs code of other parts catches panics.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

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

/// Names that are freed, or processes that are told, at a time: a fraction of a millisecond.
const PORTION: usize = 512;

/// What is still to be done of an end.
struct End {
    node: Arc<Node>,
    process: ProcessId,
    termination: Termination,
    /// The status of the node, if the process was the first.
    status: Option<i32>,
    /// What is told outside of the node.
    exit: Option<ProcessExit>,
    stage: Stage,
    /// What arrived after the process had its reason to end.
    late: Late,
}

#[allow(clippy::large_enum_variant)] // One of them is on the stack for a moment; few ends last longer.
enum Stage {
    /// Names are to be freed, then the body dropped.
    Named(Option<Body>),
    /// Others are to be told.
    Telling(Announcements),
}

/// Requests that are to be answered: those that had arrived, then those that came while the inbox was being closed.
type Late = std::iter::Chain<std::iter::Flatten<std::option::IntoIter<Backlog>>, Signals<Signal>>;

/// An end that goes on as a task; `None` once that has begun.
struct Unfinished(Mutex<Option<End>>);

impl Process {
    /// Takes the process apart. It has no body if its turn has lost it.
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
        // Most processes end alone: nobody is to be told or answered, and nothing takes long.
        let is_quiet = !is_named && !is_first && late.is_empty();
        if is_quiet
            && unhandled.as_ref().is_none_or(Backlog::is_empty)
            && body.as_mut().is_some_and(|body| body.is_alone() && !body.is_large())
        {
            // A panic keeps none of this from being done.
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
    /// Does a portion, and leaves the rest, if there is any, to a task or another thread.
    fn go_on(mut self, is_named: bool) {
        let mut left = PORTION;
        if let Stage::Named(body) = &mut self.stage {
            if is_named && !self.node.registry.lock().remove_some(self.process, &mut left) {
                return self.go_on_later();
            }
            let Some(body) = body.take() else { return self.tell(Relations::default(), left) };
            return self.drop_body(body, left);
        }
        if !self.tell_some(left) {
            self.go_on_later();
        }
    }

    fn go_on_later(self) {
        let node = self.node.clone();
        node.scheduler().schedule(Arc::new(Unfinished(Mutex::new(Some(self)))));
    }

    /// Drops what the process was, but for what others are to be told, and tells them.
    fn drop_body(self, mut body: Body, left: usize) {
        let relations = body.take_relations();
        survive(|| body.end_wait());
        // Of the first process nobody waits for anything but the end.
        if body.is_large() && self.status.is_none() {
            let node = self.node.clone();
            return node.reclaim_then(body, move || self.tell(relations, PORTION));
        }
        survive(|| drop(body));
        self.tell(relations, left);
    }

    fn tell(mut self, relations: Relations, left: usize) {
        self.node.table.remove(self.process);
        if let Some(exit) = self.exit.take() {
            self.node.exits.tell(self.process, exit);
        }
        self.stage = Stage::Telling(relations.announcements(self.process, self.termination));
        if !self.tell_some(left) {
            self.go_on_later();
        }
    }

    /// Tells and answers `left` others at most; returns whether those were all.
    fn tell_some(&mut self, left: usize) -> bool {
        let Stage::Telling(announcements) = &mut self.stage else { return false };
        for _ in 0..left {
            // A process that has ended meanwhile needs no telling.
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
        let end = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // What is left of it then is another task.
        if let Some(end) = end {
            end.go_on(true);
        }
        Step::Rest
    }

    fn priority(&self) -> Priority {
        Priority::Normal
    }
}

/// Does something, and goes on whether or not it panics: the panic has been printed.
fn survive(act: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(act));
}
