//! Model checker tests of sleeping and waking. They explore every interleaving of a few steps, and every reordering
//! that the memory model allows: no work is left to sleeping workers, a woken worker learns about it, deadlines are
//! kept, and the counts of searching workers are right.
//!
//! Lost work shows as a deadlock, which the checker reports: no sleep in this model ends by itself except one with a
//! deadline.
//!
//! The following mistakes were introduced one by one, and each was found:
//!
//! - `notify` without its fence, without its check of `searching`, or with an error in either count;
//! - a sleeper that omits the fence, fences or checks before it registers, omits the check, or is not counted;
//! - the last searching worker omits the fence, does not wake the next one, or goes to sleep as a searching worker;
//! - a woken worker is not counted as searching, gets no token, is left in the reactor, or is looked for there before
//!   it gets its token; it is notified wrongly, or stays in the list;
//! - a driver does not check its token, announces itself too late, omits the fence, or leaves the last deadline in
//!   place; a timer does not wake the driver early.
//!
//! Mistakes that are not found cost only time: too many searching workers, a driver that is woken for nothing, too
//! high a count of sleepers.

use std::io;
use std::time::Duration;

use loom::model::Builder;
use loom::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

/// What it is made of; here, the checker's.
mod sync {
    use std::ops::{Deref, DerefMut};
    use std::sync::LockResult;

    use loom::sync::atomic::AtomicBool;
    pub(super) use loom::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
    pub(super) use loom::sync::{Condvar, MutexGuard};

    /// The checker's, but for attempts: it takes a thread that is about to attempt for one that waits, so they have a
    /// flag of their own. What is attempted is never waited for.
    pub(super) struct Mutex<T> {
        attempted: AtomicBool,
        inner: loom::sync::Mutex<T>,
    }

    /// What an attempt has locked.
    pub(super) struct Attempted<'a, T> {
        attempted: &'a AtomicBool,
        guard: MutexGuard<'a, T>,
    }

    impl<T> Mutex<T> {
        pub(super) fn new(content: T) -> Mutex<T> {
            Mutex { attempted: AtomicBool::new(false), inner: loom::sync::Mutex::new(content) }
        }

        pub(super) fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
            self.inner.lock()
        }

        pub(super) fn try_lock(&self) -> Result<Attempted<'_, T>, bool> {
            self.attempted.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed)?;
            Ok(Attempted { attempted: &self.attempted, guard: self.inner.lock().unwrap() })
        }
    }

    impl<T: Default> Default for Mutex<T> {
        fn default() -> Mutex<T> {
            Mutex::new(T::default())
        }
    }

    impl<T> Deref for Attempted<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            &self.guard
        }
    }

    impl<T> DerefMut for Attempted<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            &mut self.guard
        }
    }

    impl<T> Drop for Attempted<'_, T> {
        fn drop(&mut self) {
            self.attempted.store(false, Ordering::Release);
        }
    }
}

/// A reactor without descriptors.
mod reactor {
    use super::*;

    pub(super) struct Reactor(Wakeup);

    pub(super) struct Registry;

    #[derive(Clone)]
    pub(super) struct Wakeup(Arc<(Mutex<bool>, Condvar)>);

    impl Reactor {
        pub(super) fn new() -> io::Result<(Reactor, Wakeup, Registry)> {
            let wakeup = Wakeup(Arc::new((Mutex::new(false), Condvar::new())));
            Ok((Reactor(wakeup.clone()), wakeup, Registry))
        }

        /// Returns when it is woken. A deadline is reached at once; without one, nothing else ends it.
        pub(super) fn poll(&mut self, timeout: Option<Duration>) {
            let (woken, changed) = &*(self.0).0;
            let mut woken = woken.lock().unwrap();
            while !*woken && timeout.is_some_and(|timeout| timeout >= idle::MAX_SLEEP) {
                woken = changed.wait(woken).unwrap();
            }
            *woken = false;
        }

        pub(super) fn dispatch(&mut self, _: &dyn Events) {}
    }

    impl Wakeup {
        pub(super) fn wake(&self) {
            *self.0.0.lock().unwrap() = true;
            self.0.1.notify_one();
        }
    }
}

/// As the crate's.
#[allow(dead_code)] // Only the crate fires.
trait Events: Send + Sync {
    fn fire(&self);
    fn next_deadline(&self) -> Option<u64>;
    fn now(&self) -> u64;
}

#[allow(dead_code)] // The crate uses all of it.
#[path = "../src/idle.rs"]
mod idle;

use idle::Idle;

/// No timer is set.
const NEVER: u64 = u64::MAX;

/// Workers, the work for them, and a timer.
struct Node {
    idle: Idle,
    /// Tasks that can be taken by anyone.
    work: AtomicUsize,
    /// Tasks that have begun; each goes on until all have.
    begun: Mutex<usize>,
    all_began: Condvar,
    tasks: usize,
    timer: AtomicU64,
    fired: AtomicBool,
    stopping: AtomicBool,
}

impl Events for Node {
    fn fire(&self) {}

    fn next_deadline(&self) -> Option<u64> {
        let next = self.timer.load(Ordering::Relaxed);
        (next != NEVER).then_some(next)
    }

    fn now(&self) -> u64 {
        0
    }
}

impl Node {
    fn new(workers: usize, tasks: usize) -> Arc<Node> {
        Arc::new(Node {
            idle: Idle::new(workers).unwrap(),
            work: AtomicUsize::new(0),
            begun: Mutex::new(0),
            all_began: Condvar::new(),
            tasks,
            timer: AtomicU64::new(NEVER),
            fired: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
        })
    }

    /// Makes a task that can be stolen. Relaxed: nothing of the queue's own orderings helps.
    fn push(&self) {
        self.work.fetch_add(1, Ordering::Relaxed);
        self.idle.notify();
    }

    fn has_work(&self) -> bool {
        self.work.load(Ordering::Relaxed) > 0
    }

    fn take(&self) -> bool {
        let next = |work: usize| work.checked_sub(1);
        self.work.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).is_ok()
    }

    /// Runs a task: it needs all the others to be run at the same time, so it hangs if one of them is left to a sleeper.
    fn run_task(&self) {
        let mut begun = self.begun.lock().unwrap();
        *begun += 1;
        if *begun == self.tasks {
            self.all_began.notify_all();
            drop(begun);
            return self.stop();
        }
        while *begun < self.tasks {
            begun = self.all_began.wait(begun).unwrap();
        }
    }

    /// As the scheduler does it.
    fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.idle.wake_all();
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// As `Worker::run`, with one place where there can be work.
    fn work(&self, index: usize) {
        let mut searching = false;
        while !self.is_stopping() {
            // The fewer steps, the fewer orders of them.
            if self.tasks == 0 {
                self.fire();
            }
            searching = searching || self.idle.start_searching();
            if searching && self.take() {
                searching = false;
                if self.idle.stop_searching() && self.has_work() {
                    self.idle.notify();
                }
                self.run_task();
            } else {
                if std::mem::take(&mut searching) {
                    self.idle.stop_searching();
                }
                searching = self.idle.sleep(index, || self.has_work() || self.is_stopping(), self);
                // A worker that may not search lets the others continue.
                thread::yield_now();
            }
        }
        if searching {
            self.idle.stop_searching();
        }
    }

    /// Sets the timer, or takes it back; what it was. In the crate a lock puts its changes in order. Here they are that
    /// without one, as a lock would also do what is for the fences to do.
    fn set_timer(&self, deadline: u64) -> u64 {
        self.timer.swap(deadline, Ordering::Relaxed)
    }

    /// Sees to a timer, which is due as soon as it is set; that is the end.
    fn fire(&self) {
        if self.set_timer(NEVER) != NEVER {
            self.fired.store(true, Ordering::Relaxed);
            self.stop();
        }
    }

    /// After everything: nobody searches any more.
    fn assert_at_rest(&self) {
        assert!(self.idle.start_searching() && self.idle.stop_searching(), "the count of searchers is right");
    }
}

/// Explores all executions with a bounded number of preemptions. Each further preemption makes the search many times
/// as long, and two are enough for the known mistakes.
fn check(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(preemptions));
    builder.check(model);
}

fn start(node: &Arc<Node>, workers: usize) -> Vec<thread::JoinHandle<()>> {
    (0..workers)
        .map(|index| {
            let node = node.clone();
            thread::spawn(move || node.work(index))
        })
        .collect()
}

fn finish(node: &Node, workers: Vec<thread::JoinHandle<()>>) {
    workers.into_iter().for_each(|worker| worker.join().unwrap());
    node.assert_at_rest();
}

/// A thread that is no worker makes one task while the worker falls asleep.
#[test]
fn work_from_outside_finds_a_worker() {
    check(5, || {
        let node = Node::new(1, 1);
        let workers = start(&node, 1);
        node.push();
        finish(&node, workers);
    });
}

/// Two tasks need two workers: who finds the first while searching for both passes the torch on.
#[test]
fn two_tasks_find_two_workers() {
    check(2, || {
        let node = Node::new(2, 2);
        let workers = start(&node, 2);
        node.push();
        node.push();
        finish(&node, workers);
    });
}

/// While one searches, it is that one's work: nobody else is woken.
#[test]
fn no_worker_is_woken_while_another_searches() {
    check(5, || {
        let node = Node::new(2, 0);
        let sleeping = node.clone();
        assert!(node.idle.start_searching());
        let sleeper = thread::spawn(move || sleeping.idle.sleep(1, || sleeping.is_stopping(), &*sleeping));
        node.push();
        node.stop();
        assert!(!sleeper.join().unwrap(), "it was woken to search");
        assert!(node.idle.stop_searching());
        node.assert_at_rest();
    });
}

/// A worker that makes work and then is busy itself does not have to come back for it.
#[test]
fn work_that_a_busy_worker_makes_finds_another() {
    check(3, || {
        let node = Node::new(2, 2);
        let busy = node.clone();
        let busy = thread::spawn(move || {
            busy.push();
            busy.run_task();
            busy.work(0);
        });
        node.work(1);
        finish(&node, vec![busy]);
    });
}

/// A timer that is set by a worker which then goes to sleep is slept for, or found by the driver, whatever an earlier
/// driver has left behind.
#[test]
fn a_timer_is_slept_for() {
    check(3, || {
        let node = Node::new(2, 0);
        // Somebody slept for an earlier one before.
        node.set_timer(1);
        node.idle.sleep(0, || false, &*node);
        node.set_timer(NEVER);
        let setter = node.clone();
        let setter = thread::spawn(move || {
            setter.set_timer(2);
            if !setter.idle.sleep(1, || setter.is_stopping(), &*setter) {
                setter.work(1);
            }
        });
        node.work(0);
        setter.join().unwrap();
        assert!(node.fired.load(Ordering::Relaxed));
        node.assert_at_rest();
    });
}
