//! Which pages of a slot are resident, known without asking the system.
//!
//! Whoever gives a slot back has to zero what was written, and that is somewhere in its resident pages. Asking which
//! those are costs microseconds: the system looks at every page of the slot. But most processes touch the same few pages
//! as the one that had their slot before. What was resident then is remembered; and a page only becomes resident by a
//! fault. So if a slot was used by one thread only, and that thread has had no fault since, nothing has been added.
//! Asking how many faults there were is a short system call.
//!
//! The system's count is exact for this: every page that becomes resident by a thread's access, also by a system call that
//! it makes, is counted for that thread. What other processes write into this one (a debugger) is not.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::sys::{Resident, page_faults};

/// The page faults of a thread, watched since some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FaultWatch {
    thread: u64,
    /// The thread's faults at that moment, or at an earlier one.
    faults: u64,
}

thread_local! {
    /// The number of this thread, never given twice; 0 before it has one.
    static THREAD: Cell<u64> = const { Cell::new(0) };
    /// Its faults when they were asked for last; none at all are assumed before.
    static LAST: Cell<u64> = const { Cell::new(0) };
}

/// The number of the thread that calls.
#[inline]
pub(crate) fn thread() -> u64 {
    match THREAD.get() {
        0 => number_thread(),
        known => known,
    }
}

#[cold]
fn number_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    // Relaxed: it only has to be another one each time.
    THREAD.set(NEXT.fetch_add(1, Ordering::Relaxed));
    THREAD.get()
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

/// What is known of a slot that is in use.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Residency {
    /// Resident when it was taken.
    then: Resident,
    since: FaultWatch,
}

impl Residency {
    /// Of a slot that is being taken by the thread that calls, and used by no other, with these pages.
    pub(crate) fn of(then: Resident) -> Residency {
        Residency { then, since: FaultWatch::begin() }
    }

    /// What is resident now, if that is known.
    pub(crate) fn now(self) -> Option<Resident> {
        // Another thread need not ask.
        if self.since.thread == thread() { self.after(Faults::until_now()) } else { None }
    }

    /// What is resident after these, if that is known.
    pub(crate) fn after(self, faults: Faults) -> Option<Resident> {
        self.since.saw_none_of(faults).then_some(self.then)
    }
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
}
