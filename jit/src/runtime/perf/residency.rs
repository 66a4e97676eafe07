//! Remembers which pages of a slot are resident, instead of asking the system.
//!
//! When a slot is given back, what was written has to be zeroed, which is somewhere in its resident pages.
//! Asking the system for these pages takes microseconds, because it looks at every page of the slot. But most
//! processes touch the same few pages as the previous owner of their slot. So the engine remembers the pages
//! that were resident when the slot was taken. A page becomes resident only by a page fault. If a single
//! thread has used the slot, and has had no page fault since it took the slot, no page was added. Reading the
//! number of page faults is a short system call.
//!
//! The watch names a thread, so it begins when that thread takes the slot, never earlier. An idle slot, in
//! the pool or in a pooled instance, is not watched: the thread that renewed it need not be the thread that
//! takes it. [`Pages`] distinguishes the two, and trusts a slot's pages only after [`Pages::take`] has begun
//! a watch.
//!
//! The system's count is exact for this purpose: it includes every page that becomes resident by a thread's
//! access, also in a system call of that thread. It does not include what another process, such as a
//! debugger, writes into this one.

use std::cell::Cell;

use crate::runtime::sys::{Resident, page_faults};
use crate::runtime::vm::thread::number as thread;

/// The page faults of a thread, watched from some moment on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultWatch {
    thread: u64,
    /// The thread's page faults at that moment, or at an earlier one.
    faults: u64,
}

thread_local! {
    /// The page faults of this thread when they were last read; 0 before.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// The page faults of the calling thread until now. For all slots whose use ended before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    thread: u64,
    count: Option<u64>,
}

impl Faults {
    /// Reads the count from the system.
    pub(crate) fn until_now() -> Faults {
        let count = page_faults();
        if let Some(faults) = count {
            LAST.set(faults);
        }
        Faults { thread: thread(), count }
    }
}

impl FaultWatch {
    /// Watches the calling thread.
    pub(crate) fn begin() -> FaultWatch {
        FaultWatch { thread: thread(), faults: LAST.get() }
    }

    /// Whether the watched thread has had no page fault between the two counts.
    fn saw_none_of(self, faults: Faults) -> bool {
        self.thread == faults.thread && faults.count == Some(self.faults)
    }
}

/// What is known of the pages of a memory's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pages {
    /// Nothing: ask the system.
    Unknown,
    /// These pages are resident, and the slot is idle.
    Idle(Resident),
    /// These pages were resident when a thread took the slot.
    Watched(Residency),
}

impl Pages {
    /// The pages of an idle slot.
    pub(crate) fn idle(resident: Option<Resident>) -> Pages {
        if cfg!(feature = "plain") {
            return Pages::Unknown;
        }
        resident.map_or(Pages::Unknown, Pages::Idle)
    }

    /// The calling thread takes the slot, and is watched from now on.
    pub(crate) fn take(&mut self) {
        if let Pages::Idle(resident) = *self {
            *self = Pages::Watched(Residency { then: resident, since: FaultWatch::begin() });
        }
    }

    /// As [`Pages::idle`], for a slot that the calling thread takes at once.
    pub(crate) fn taken(resident: Option<Resident>) -> Pages {
        let mut pages = Pages::idle(resident);
        pages.take();
        pages
    }

    /// Returns the resident pages, if they are known.
    pub(crate) fn now(self) -> Option<Resident> {
        let Pages::Watched(residency) = self else { return None };
        // Only the watched thread's count says anything.
        if residency.since.thread == thread() { self.after(Faults::until_now()) } else { None }
    }

    /// Returns the resident pages, if they are known and `faults` were counted after the last use.
    pub(crate) fn after(self, faults: Faults) -> Option<Resident> {
        let Pages::Watched(residency) = self else { return None };
        residency.since.saw_none_of(faults).then_some(residency.then)
    }
}

/// The pages of a slot that one thread uses.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residency {
    /// The pages that were resident when the thread took the slot.
    then: Resident,
    since: FaultWatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_faults_of_another_thread_prove_nothing() {
        let watch = FaultWatch { thread: 1, faults: 5 };
        let saw_none_of = |thread, count| watch.saw_none_of(Faults { thread, count });
        assert!(saw_none_of(1, Some(5)));
        assert!(!saw_none_of(2, Some(5)) && !saw_none_of(1, Some(6)) && !saw_none_of(1, None));
    }

    #[test]
    fn a_watch_belongs_to_the_thread_that_took_the_slot() {
        let Some(count) = Faults::until_now().count else { return };
        // Made idle by this thread, and taken by another one.
        let mut pages = Pages::idle(Some(Resident::default()));
        std::thread::scope(|scope| scope.spawn(|| pages.take()).join().expect("it only takes"));
        assert!(
            pages.now().is_none() && pages.after(Faults { thread: thread(), count: Some(count) }).is_none()
        );
    }

    #[test]
    fn pages_of_an_idle_slot_are_not_trusted() {
        let pages = Pages::idle(Some(Resident::default()));
        assert!(pages.now().is_none() && pages.after(Faults::until_now()).is_none());
    }
}
