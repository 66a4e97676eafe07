//! Which pages of a slot are resident, known without asking the system.
//!
//! Giving a slot back means zeroing what was written, which is somewhere in its resident pages. Asking the system for
//! them costs microseconds: it looks at every page of the slot. But most processes touch the same few pages as the
//! previous owner of their slot. So the engine remembers what was resident when the slot was taken. A page becomes
//! resident only by a fault: if one thread alone has used the slot, and has had no fault since it took the slot, nothing
//! has been added. Asking for the number of faults is a short system call.
//!
//! The watch names a thread, so it begins when that thread takes the slot, never earlier. A slot that rests, in the pool
//! or in a spare store, is watched by nobody: the thread that made it new need not be the one that takes it. [`Pages`]
//! keeps the two apart, and believes a slot's pages only where [`Pages::take`] has begun a watch.
//!
//! The system's count is exact for this: it counts every page that becomes resident by a thread's access, also in a
//! system call of that thread. It does not count what other processes write into this one (a debugger).

use std::cell::Cell;

use crate::runtime::sys::{Resident, page_faults};
use crate::runtime::vm::thread::number as thread;

/// The page faults of a thread, watched since some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultWatch {
    thread: u64,
    /// The thread's faults at that moment, or at an earlier one.
    faults: u64,
}

thread_local! {
    /// Its faults when they were asked for last; none at all are assumed before.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// How many faults the thread that calls has had until now; for all slots whose use ended before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    thread: u64,
    count: Option<u64>,
}

impl Faults {
    /// Asks the system.
    pub(crate) fn until_now() -> Faults {
        let count = page_faults();
        if let Some(faults) = count {
            LAST.set(faults);
        }
        Faults { thread: thread(), count }
    }
}

impl FaultWatch {
    /// Watches the thread that calls.
    pub(crate) fn begin() -> FaultWatch {
        FaultWatch { thread: thread(), faults: LAST.get() }
    }

    /// Whether the watched thread has had none of these.
    fn saw_none_of(self, faults: Faults) -> bool {
        self.thread == faults.thread && faults.count == Some(self.faults)
    }
}

/// What is known of the pages of a memory's slot.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pages {
    /// Nothing: the system has to be asked.
    Unknown,
    /// These are resident, and nobody uses the slot.
    Resting(Resident),
    /// These were resident when a thread took the slot.
    Watched(Residency),
}

impl Pages {
    /// Those of a slot that nobody uses.
    pub(crate) fn resting(resident: Option<Resident>) -> Pages {
        if cfg!(feature = "plain") {
            return Pages::Unknown;
        }
        resident.map_or(Pages::Unknown, Pages::Resting)
    }

    /// The thread that calls takes the slot, and is watched from now on.
    pub(crate) fn take(&mut self) {
        if let Pages::Resting(resident) = *self {
            *self = Pages::Watched(Residency { then: resident, since: FaultWatch::begin() });
        }
    }

    /// As [`Pages::resting`], of a slot that the thread that calls takes at once.
    pub(crate) fn taken(resident: Option<Resident>) -> Pages {
        let mut pages = Pages::resting(resident);
        pages.take();
        pages
    }

    /// What is resident now, if that is known.
    pub(crate) fn now(self) -> Option<Resident> {
        let Pages::Watched(residency) = self else { return None };
        // Another thread need not ask.
        if residency.since.thread == thread() { self.after(Faults::until_now()) } else { None }
    }

    /// What is resident if these faults were counted after the last use, and if that is known.
    pub(crate) fn after(self, faults: Faults) -> Option<Resident> {
        let Pages::Watched(residency) = self else { return None };
        residency.since.saw_none_of(faults).then_some(residency.then)
    }
}

/// The pages of a slot in use by one thread.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residency {
    /// Resident when the thread took the slot.
    then: Resident,
    since: FaultWatch,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_threads_faults_say_nothing() {
        let watch = FaultWatch { thread: 1, faults: 5 };
        let saw_none_of = |thread, count| watch.saw_none_of(Faults { thread, count });
        assert!(saw_none_of(1, Some(5)));
        assert!(!saw_none_of(2, Some(5)) && !saw_none_of(1, Some(6)) && !saw_none_of(1, None));
    }

    #[test]
    fn a_watch_names_the_thread_that_took_the_slot() {
        let Some(count) = Faults::until_now().count else { return };
        // Made to rest by this thread, and taken by another one.
        let mut pages = Pages::resting(Some(Resident::default()));
        std::thread::scope(|scope| scope.spawn(|| pages.take()).join().expect("it only takes"));
        assert!(
            pages.now().is_none() && pages.after(Faults { thread: thread(), count: Some(count) }).is_none()
        );
    }

    #[test]
    fn the_pages_of_a_slot_that_nobody_took_are_not_believed() {
        let pages = Pages::resting(Some(Resident::default()));
        assert!(pages.now().is_none() && pages.after(Faults::until_now()).is_none());
    }
}
