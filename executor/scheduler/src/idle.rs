//! Workers with nothing to do: how they fall asleep, and how they are woken.
//!
//! # How workers sleep
//!
//! One sleeping worker, the *driver*, waits in the reactor for descriptors and for the next timer. The others wait on
//! a condition variable. A woken worker starts out *searching*. While any worker searches, new work wakes no other
//! worker, and the last searcher that finds something wakes the next one. So a burst of work wakes workers one after
//! the other instead of all at once.
//!
//! # Why no work is forgotten
//!
//! A producer pushes, fences, then reads `searching` and, if that is 0, `count`. A worker that goes to sleep lowers
//! `searching`, registers, fences, then checks every queue again. The last searcher that has found something does the
//! same without registering. One of two fences comes first, and what was written before it is visible after the
//! other:
//!
//! - If the producer reads a number of searchers that is lowered later, the worker that lowers it to 0 has its fence
//!   after the producer's. It sees the work, and takes it or wakes a worker for it.
//! - If the producer reads 0 for both, a worker that registers later has its fence after the producer's and sees the
//!   work. A worker that had registered before was chosen by another producer and counts as searching, which is the
//!   first case.
//! - Otherwise, the producer takes a sleeper off the list, or finds that another producer has: again the first case.
//!
//! A worker that would sleep after it was chosen finds its token set and returns at once.
//!
//! Deadlines work in the same way. A worker that sets a timer and goes to sleep sets it, fences, then reads
//! `driver_deadline`. The driver writes that, fences, then checks the timers.
//!
//! # Orderings
//!
//! Every access is relaxed: the fences or a lock provide all required orders. `count` and the `searching` of chosen
//! workers change under the lock of the list. The driver writes `driver` before it checks its token, under the
//! token's lock; a waker reads `driver` after it has set the token under that lock. So a waker that is too late to
//! keep the driver awake knows that it has to wake the reactor. All other reads are guesses that may be wrong: which
//! worker to wake, and how many search.
//!
//! `tests/idle_model.rs` checks the interleavings and reorderings of all this.

use std::sync::PoisonError;
use std::time::Duration;

use super::Events;
use super::reactor::{Reactor, Registry, Wakeup};
use super::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence};

/// The longest time that the driver sleeps without a timer. It is woken when there is a reason.
pub(super) const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Nanoseconds between two polls of busy workers. A poll is a system call, which takes about a third of a
/// microsecond.
const BETWEEN_LOOKS: u64 = 50_000;

/// The sleeping workers. See the module documentation.
pub(super) struct Idle {
    /// Registered sleepers, the last one on top: the most recently busy worker has the warmest caches.
    sleepers: Mutex<Vec<usize>>,
    /// The length of `sleepers`, readable without the lock.
    count: AtomicUsize,
    searching: AtomicUsize,
    tokens: Box<[Token]>,
    /// The reactor. The driver has it while it sleeps, and others while they poll.
    reactor: Mutex<Reactor>,
    wakeup: Wakeup,
    registry: Registry,
    /// The time of the last poll.
    looked_at: AtomicU64,
    /// The worker that sleeps in the reactor, plus one; 0 if none does.
    driver: AtomicUsize,
    /// The deadline at which the driver wakes up by itself; for [`Idle::hasten`].
    driver_deadline: AtomicU64,
}

/// The token that wakes one worker.
#[derive(Default)]
struct Token {
    set: Mutex<bool>,
    changed: Condvar,
}

impl Idle {
    pub(super) fn new(workers: usize) -> std::io::Result<Idle> {
        let (reactor, wakeup, registry) = Reactor::new()?;
        Ok(Idle {
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            count: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            tokens: (0..workers).map(|_| Token::default()).collect(),
            reactor: Mutex::new(reactor),
            wakeup,
            registry,
            looked_at: AtomicU64::new(0),
            driver: AtomicUsize::new(0),
            driver_deadline: AtomicU64::new(0),
        })
    }

    /// Wakes a sleeper, unless a worker is searching already. To be called after work became stealable.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Relaxed) == 0 && self.count.load(Ordering::Relaxed) > 0 {
            self.wake_one();
        }
    }

    /// Returns whether a worker may search. If more than half of the workers search, they only move the cache lines
    /// of the queues.
    pub(super) fn start_searching(&self) -> bool {
        if 2 * self.searching.load(Ordering::Relaxed) >= self.tokens.len().max(2) {
            return false;
        }
        self.searching.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends a search. Returns whether it was the last one: then, if there is work, the worker that has found
    /// something has to call [`Idle::notify`].
    pub(super) fn stop_searching(&self) -> bool {
        let was_last = self.searching.fetch_sub(1, Ordering::Relaxed) == 1;
        if was_last {
            fence(Ordering::SeqCst);
        }
        was_last
    }

    /// Sleeps until woken, until the reactor has events, or until a timer is due.
    ///
    /// `has_work` is called once the worker is registered. Returns whether [`Idle::notify`] woke the worker, which
    /// then counts as searching.
    pub(super) fn sleep(&self, worker: usize, has_work: impl FnOnce() -> bool, events: &dyn Events) -> bool {
        self.register(worker);
        fence(Ordering::SeqCst);
        if !has_work() {
            match self.reactor.try_lock() {
                Ok(mut reactor) => {
                    self.drive(worker, &mut reactor, events);
                    // This worker must be awake before it dispatches the events: they make work, for which it would
                    // be woken itself.
                    let woken = self.unregister(worker);
                    reactor.dispatch(events);
                    return woken;
                }
                Err(_) => {
                    self.hasten(events.next_deadline());
                    self.tokens[worker].wait();
                }
            }
        }
        self.unregister(worker)
    }

    /// Polls descriptors without sleeping, unless that was done a short time ago. For busy workers.
    pub(super) fn look(&self, events: &dyn Events) {
        let now = events.now();
        // Relaxed: polling twice or a little late is harmless.
        if now.saturating_sub(self.looked_at.load(Ordering::Relaxed)) < BETWEEN_LOOKS {
            return;
        }
        self.looked_at.store(now, Ordering::Relaxed);
        // The thread that has the reactor polls itself.
        if let Ok(mut reactor) = self.reactor.try_lock() {
            reactor.poll(Some(Duration::ZERO));
            reactor.dispatch(events);
        }
    }

    /// Returns the registry for descriptors.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Wakes every sleeper, to stop.
    pub(super) fn wake_all(&self) {
        for token in &self.tokens {
            token.set();
        }
        self.wakeup.wake();
    }

    fn wake_one(&self) {
        let chosen = {
            let mut sleepers = self.lock_sleepers();
            // The driver is chosen last: as long as it sleeps, it handles timers and descriptors.
            let driver = self.driver.load(Ordering::Relaxed);
            let position = sleepers.iter().rposition(|worker| worker + 1 != driver);
            let chosen = match position {
                Some(position) => Some(sleepers.remove(position)),
                None => sleepers.pop(),
            };
            if chosen.is_some() {
                self.count.store(sleepers.len(), Ordering::Relaxed);
                self.searching.fetch_add(1, Ordering::Relaxed);
            }
            chosen
        };
        if let Some(worker) = chosen {
            self.tokens[worker].set();
            if self.driver.load(Ordering::Relaxed) == worker + 1 {
                self.wakeup.wake();
            }
        }
    }

    /// Sleeps in the reactor.
    fn drive(&self, worker: usize, reactor: &mut Reactor, events: &dyn Events) {
        self.driver.store(worker + 1, Ordering::Relaxed);
        // Until the deadline is known, every timer counts as earlier. A worker that sets one either does so before
        // the check below, which then finds it, or reads this value and wakes the reactor. The value of the last
        // driver could let it go to sleep without waking anyone.
        self.driver_deadline.store(u64::MAX, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let next = events.next_deadline();
        let left = next.map(|next| Duration::from_nanos(next.saturating_sub(events.now())));
        let timeout = left.map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP));
        self.driver_deadline.store(next.unwrap_or(u64::MAX), Ordering::Relaxed);
        // A waker that chose this worker before it became the driver has set only the token. A waker that sets the
        // token after this check reads `driver` afterwards, and wakes the reactor.
        if !self.tokens[worker].is_set() {
            reactor.poll(Some(timeout));
        }
        self.driver.store(0, Ordering::Relaxed);
    }

    /// Makes the driver check the timers again if one is due earlier than the driver knows. To be called after a
    /// fence that follows setting the timer; [`Idle::sleep`] has one.
    pub(super) fn hasten(&self, next: Option<u64>) {
        if next.is_some_and(|next| next < self.driver_deadline.load(Ordering::Relaxed)) {
            self.wakeup.wake();
        }
    }

    fn register(&self, worker: usize) {
        let mut sleepers = self.lock_sleepers();
        sleepers.push(worker);
        self.count.store(sleepers.len(), Ordering::Relaxed);
    }

    /// Removes the worker from the sleepers. Returns whether a waker has done so already.
    fn unregister(&self, worker: usize) -> bool {
        let mut sleepers = self.lock_sleepers();
        let woken = match sleepers.iter().position(|sleeper| *sleeper == worker) {
            Some(position) => {
                sleepers.remove(position);
                self.count.store(sleepers.len(), Ordering::Relaxed);
                false
            }
            None => true,
        };
        drop(sleepers);
        self.tokens[worker].clear();
        woken
    }

    fn lock_sleepers(&self) -> MutexGuard<'_, Vec<usize>> {
        // No code panics while the lock is held, and a list of numbers is always consistent.
        self.sleepers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Token {
    fn lock(&self) -> MutexGuard<'_, bool> {
        self.set.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self) {
        *self.lock() = true;
        self.changed.notify_one();
    }

    fn is_set(&self) -> bool {
        *self.lock()
    }

    fn clear(&self) {
        *self.lock() = false;
    }

    fn wait(&self) {
        let mut set = self.lock();
        while !*set {
            set = self.changed.wait(set).unwrap_or_else(PoisonError::into_inner);
        }
    }
}
