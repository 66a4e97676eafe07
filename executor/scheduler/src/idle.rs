//! Workers with nothing to do: how they fall asleep and who wakes them.
//!
//! # Who sleeps how
//!
//! One sleeper, the *driver*, waits in the reactor for descriptors and for the next timer. The others wait on a
//! condition variable. A woken sleeper starts out *searching*; while anyone searches, new work wakes nobody
//! else, and the last searcher that finds something wakes the next one. So a burst of work wakes workers one
//! after the other instead of all at once.
//!
//! # Why no work is forgotten
//!
//! A producer pushes, fences, then reads `searching` and, if that is 0, `count`. A worker that goes to sleep lowers
//! `searching`, registers, fences, then looks at every queue again. So does the last searcher that has found something,
//! but for the registering. Of two fences one comes first, and what was written before it is seen after the other:
//!
//! - If the producer reads a number of searchers that someone lowers later, the one who lowers it to 0 has its fence
//!   after the producer's: it sees the work, and takes it or wakes someone for it.
//! - If it reads 0 for both, whoever registers later has its fence after the producer's, and sees the work. Who had
//!   registered before was chosen by another producer and counts as searching, which is the first case.
//! - Otherwise it takes a sleeper off the list, or finds that another producer has: again the first case.
//!
//! A thread that would sleep after it was chosen finds its token set and returns at once.
//!
//! Deadlines are the same once more. Whoever sets a timer and goes to sleep sets it, fences, then reads
//! `driver_deadline`; the driver writes that, fences, then looks at the timers.
//!
//! # Orderings
//!
//! Every access is relaxed: what has to be in an order is so by those fences, or by a lock. `count` and the `searching` of
//! the chosen change under the lock of the list. `driver` is written before the driver looks at its token, under the
//! token's lock, and read after the token was set under it: who finds it too late to stop the driver from falling asleep
//! is told that it has to wake the reactor. Whatever else is read of these is a guess that may be wrong, about whom to
//! wake best, and how many search.
//!
//! `tests/idle_model.rs` has the interleavings and reorderings of all this checked.

use std::sync::PoisonError;
use std::time::Duration;

use super::Events;
use super::reactor::{Reactor, Registry, Wakeup};
use super::sync::{AtomicU64, AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence};

/// The longest time the driver sleeps when no timer is set; it is woken when there is reason to.
pub(super) const MAX_SLEEP: Duration = Duration::from_secs(60);

/// Nanoseconds between two looks at descriptors by workers that are busy. A look is a system call, a third of a
/// microsecond or so.
const BETWEEN_LOOKS: u64 = 50_000;

/// See the module.
pub(super) struct Idle {
    /// Registered sleepers, the last one on top: the most recently busy worker has the warmest caches.
    sleepers: Mutex<Vec<usize>>,
    /// The length of `sleepers`, readable without the lock.
    count: AtomicUsize,
    searching: AtomicUsize,
    tokens: Box<[Token]>,
    /// Taken by the driver while it sleeps, and by others while they look.
    reactor: Mutex<Reactor>,
    wakeup: Wakeup,
    registry: Registry,
    /// When somebody last looked at descriptors.
    looked_at: AtomicU64,
    /// The worker that sleeps in the reactor, plus one; 0 when none does.
    driver: AtomicUsize,
    /// The deadline that the driver wakes up for by itself; for [`Idle::hasten`].
    driver_deadline: AtomicU64,
}

/// "Wake up" for one worker.
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

    /// Called after work became stealable: wakes a sleeper unless someone is searching already.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::Relaxed) == 0 && self.count.load(Ordering::Relaxed) > 0 {
            self.wake_one();
        }
    }

    /// Whether a worker may search: more than half of them searching only makes the queues' lines bounce.
    pub(super) fn start_searching(&self) -> bool {
        if 2 * self.searching.load(Ordering::Relaxed) >= self.tokens.len().max(2) {
            return false;
        }
        self.searching.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Ends a search. Returns whether it was the last one: then, if there is work, whoever has found something has to
    /// [`Idle::notify`].
    pub(super) fn stop_searching(&self) -> bool {
        let was_last = self.searching.fetch_sub(1, Ordering::Relaxed) == 1;
        if was_last {
            fence(Ordering::SeqCst);
        }
        was_last
    }

    /// Sleeps until woken, until the reactor has events, or until something is due.
    ///
    /// `has_work` is asked once the worker is registered. Returns whether the worker was woken by
    /// [`Idle::notify`] and therefore counts as searching.
    pub(super) fn sleep(&self, worker: usize, has_work: impl FnOnce() -> bool, events: &dyn Events) -> bool {
        self.register(worker);
        fence(Ordering::SeqCst);
        if !has_work() {
            match self.reactor.try_lock() {
                Ok(mut reactor) => {
                    self.drive(worker, &mut reactor, events);
                    // Not before this worker is awake: what is dispatched makes work, for which it would be woken.
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

    /// Looks at descriptors without sleeping, if nobody has for a while. For workers that are busy.
    pub(super) fn look(&self, events: &dyn Events) {
        let now = events.now();
        // Relaxed: who looks twice, or a little late, does no harm.
        if now.saturating_sub(self.looked_at.load(Ordering::Relaxed)) < BETWEEN_LOOKS {
            return;
        }
        self.looked_at.store(now, Ordering::Relaxed);
        // Whoever has it looks itself.
        if let Ok(mut reactor) = self.reactor.try_lock() {
            reactor.poll(Some(Duration::ZERO));
            reactor.dispatch(events);
        }
    }

    /// Where descriptors are registered.
    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Wakes every sleeper, for stopping.
    pub(super) fn wake_all(&self) {
        for token in &self.tokens {
            token.set();
        }
        self.wakeup.wake();
    }

    fn wake_one(&self) {
        let chosen = {
            let mut sleepers = self.lock_sleepers();
            // The driver is chosen last: as long as it sleeps, timers and descriptors are looked after.
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
        // Until the deadline is known, any timer is earlier. A worker that sets one either does so before the look
        // below, which then finds it, or finds this and wakes the reactor; what the last driver left here would
        // have it go to sleep in silence.
        self.driver_deadline.store(u64::MAX, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let next = events.next_deadline();
        let left = next.map(|next| Duration::from_nanos(next.saturating_sub(events.now())));
        let timeout = left.map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP));
        self.driver_deadline.store(next.unwrap_or(u64::MAX), Ordering::Relaxed);
        // A waker that chose this worker before it became the driver has set the token only. One that sets
        // the token after this look reads `driver` afterwards, and wakes the reactor.
        if !self.tokens[worker].is_set() {
            reactor.poll(Some(timeout));
        }
        self.driver.store(0, Ordering::Relaxed);
    }

    /// Makes the driver look at the timers again if they are due earlier than it was told. To be called after a
    /// fence that comes after setting the timer; [`Idle::sleep`] has one.
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

    /// Takes the worker out of the sleepers; whether a waker had done so.
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
        // Nothing panics while holding it, and a list of numbers has no broken state.
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
