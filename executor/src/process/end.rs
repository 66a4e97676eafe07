//! The end of a process, in an order that others can rely on.
//!
//! 1. Its inbox closes: from here on, sending to it is sending to no one.
//! 2. A person is told, if it trapped or exceeded a limit.
//! 3. Its names are free.
//! 4. Its store is dropped: memory, stack, descriptors, messages.
//! 5. Its identifier names no one.
//! 6. Who asked to be told is told: linked processes, then watchers. Who asked too late is told that there is
//!    no such process.
//! 7. If it was the first process, the node stops.
//!
//! So whoever hears of a death can take the name, bind the port, and sees `exists` say no.

use std::sync::atomic::Ordering;

use crate::report::Report;

use super::Process;
use super::body::Body;
use super::exit::{Ending, ExitReason};
use super::queue::Signals;
use super::signal::Signal;

impl Process {
    /// Takes the process apart.
    pub(super) fn end(&self, body: Body, reason: ExitReason) {
        let late = self.inbox.close();
        let is_first = self.node().is_first(self.id);
        if reason.is_reported() || (is_first && matches!(reason, ExitReason::LinkDied { .. })) {
            let report = Report::new(self, body.entry());
            self.node().report(report.text(&reason));
        }
        if self.named.load(Ordering::Relaxed) {
            self.node().registry.lock().remove_all(self.id);
        }
        let (relations, unhandled) = body.take_apart();
        self.node().table.remove(self.id);
        self.tell(&relations, reason.ending());
        self.answer(unhandled);
        self.answer(late);
        if is_first {
            self.node().finish(reason.status());
        }
    }

    fn tell(&self, relations: &super::Relations, ending: Ending) {
        // Whoever is gone too needs no telling.
        for peer in relations.linked() {
            let _ = self.node().send(peer, Signal::LinkDied { from: self.id, ending });
        }
        for (watcher, reference) in relations.watchers() {
            let _ = self.node().send(watcher, Signal::ProcessDied { from: self.id, reference, ending });
        }
        for (watched, reference) in relations.watched() {
            let reference = Some(reference);
            let _ = self.node().send(watched, Signal::StopMonitoring { from: self.id, reference });
        }
    }

    /// Answers those whose request came after the end had begun.
    fn answer(&self, late: Signals<Signal>) {
        for parcel in late {
            if let Some((to, answer)) = parcel.content.refusal(self.id) {
                let _ = self.node().send(to, answer);
            }
        }
    }
}
