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
//! A producer pushes, fences, then reads `searching` and `sleepers`. A worker that gives up searching lowers
//! `searching`, registers as a sleeper, fences, then looks at every queue again. All four are sequentially
//! consistent, so in their single order either the producer sees the sleeper and wakes it, or the sleeper sees
//! the work. A thread that would sleep after it was chosen finds its token set and returns at once.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Events;
use super::reactor::{Reactor, Wakeup};

/// The longest time the driver sleeps when no timer is set; it is woken when there is reason to.
const MAX_SLEEP: Duration = Duration::from_secs(60);

/// See the module.
pub(super) struct Idle {
    /// Registered sleepers, the last one on top: the most recently busy worker has the warmest caches.
    sleepers: Mutex<Vec<usize>>,
    /// The length of `sleepers`, readable without the lock.
    count: AtomicUsize,
    searching: AtomicUsize,
    tokens: Box<[Token]>,
    /// Taken by the driver while it sleeps, by a busy worker that looks for events between slices.
    reactor: Mutex<Reactor>,
    wakeup: Wakeup,
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
        let (reactor, wakeup) = Reactor::new()?;
        Ok(Idle {
            sleepers: Mutex::new(Vec::with_capacity(workers)),
            count: AtomicUsize::new(0),
            searching: AtomicUsize::new(0),
            tokens: (0..workers).map(|_| Token::default()).collect(),
            reactor: Mutex::new(reactor),
            wakeup,
            driver: AtomicUsize::new(0),
            driver_deadline: AtomicU64::new(0),
        })
    }

    /// Called after work became stealable: wakes a sleeper unless someone is searching already.
    pub(super) fn notify(&self) {
        fence(Ordering::SeqCst);
        if self.searching.load(Ordering::SeqCst) == 0 && self.count.load(Ordering::SeqCst) > 0 {
            self.wake_one();
        }
    }

    /// Whether a worker may search: more than half of them searching only makes the queues' lines bounce.
    pub(super) fn start_searching(&self) -> bool {
        if 2 * self.searching.load(Ordering::SeqCst) >= self.tokens.len().max(2) {
            return false;
        }
        self.searching.fetch_add(1, Ordering::SeqCst);
        true
    }

    /// Ends a search. Returns whether it was the last one, whose finder then has to [`Idle::notify`].
    pub(super) fn stop_searching(&self) -> bool {
        self.searching.fetch_sub(1, Ordering::SeqCst) == 1
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
                Ok(mut reactor) => self.drive(worker, &mut reactor, events),
                Err(_) => {
                    self.hasten(events.next_deadline());
                    self.tokens[worker].wait();
                }
            }
        }
        self.unregister(worker)
    }

    /// Handles descriptor events without waiting, if no one else does.
    pub(super) fn poll_events(&self) {
        if let Ok(mut reactor) = self.reactor.try_lock() {
            reactor.poll(Some(Duration::ZERO));
        }
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
            let driver = self.driver.load(Ordering::SeqCst);
            let position = sleepers.iter().rposition(|worker| worker + 1 != driver);
            let chosen = match position {
                Some(position) => Some(sleepers.remove(position)),
                None => sleepers.pop(),
            };
            if chosen.is_some() {
                self.count.fetch_sub(1, Ordering::SeqCst);
                self.searching.fetch_add(1, Ordering::SeqCst);
            }
            chosen
        };
        if let Some(worker) = chosen {
            self.tokens[worker].set();
            if self.driver.load(Ordering::SeqCst) == worker + 1 {
                self.wakeup.wake();
            }
        }
    }

    /// Sleeps in the reactor.
    fn drive(&self, worker: usize, reactor: &mut Reactor, events: &dyn Events) {
        self.driver.store(worker + 1, Ordering::SeqCst);
        // Until the deadline is known, any timer is earlier. A worker that sets one either does so before the look
        // below, which then finds it, or finds this and wakes the reactor; what the last driver left here would
        // have it go to sleep in silence.
        self.driver_deadline.store(u64::MAX, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        let next = events.next_deadline();
        let left = next.map(|next| Duration::from_nanos(next.saturating_sub(events.now())));
        let timeout = left.map_or(MAX_SLEEP, |left| left.min(MAX_SLEEP));
        self.driver_deadline.store(next.unwrap_or(u64::MAX), Ordering::SeqCst);
        // A waker that chose this worker before it became the driver has set the token only. One that sets
        // the token after this look reads `driver` afterwards, and wakes the reactor.
        if !self.tokens[worker].is_set() {
            reactor.poll(Some(timeout));
        }
        self.driver.store(0, Ordering::SeqCst);
    }

    /// Makes the driver look at the timers again if they are due earlier than it was told. To be called after a
    /// fence that comes after setting the timer; [`Idle::sleep`] has one.
    fn hasten(&self, next: Option<u64>) {
        if next.is_some_and(|next| next < self.driver_deadline.load(Ordering::SeqCst)) {
            self.wakeup.wake();
        }
    }

    fn register(&self, worker: usize) {
        self.lock_sleepers().push(worker);
        self.count.fetch_add(1, Ordering::SeqCst);
    }

    /// Takes the worker out of the sleepers; whether a waker had done so.
    fn unregister(&self, worker: usize) -> bool {
        let mut sleepers = self.lock_sleepers();
        let woken = match sleepers.iter().position(|sleeper| *sleeper == worker) {
            Some(position) => {
                sleepers.remove(position);
                self.count.fetch_sub(1, Ordering::SeqCst);
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
        let guard = self.lock();
        drop(self.changed.wait_while(guard, |set| !*set).unwrap_or_else(PoisonError::into_inner));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    /// Events of which the first appears while the driver is about to fall asleep: another worker sets a timer just
    /// after the driver has looked, and goes to sleep itself.
    struct SetMeanwhile<'a> {
        idle: &'a Idle,
        is_set: AtomicUsize,
    }

    impl Events for SetMeanwhile<'_> {
        fn fire(&self) {}
        fn next_deadline(&self) -> Option<u64> {
            if self.is_set.fetch_add(1, Ordering::SeqCst) == 0 {
                self.idle.hasten(Some(LATER));
                return None;
            }
            Some(LATER)
        }
        fn now(&self) -> u64 {
            0
        }
    }

    /// Later than what an earlier driver has slept for.
    const LATER: u64 = 1_000_000;

    #[test]
    fn a_timer_set_while_the_driver_falls_asleep_wakes_it() {
        let idle = Idle::new(1).unwrap();
        idle.driver_deadline.store(LATER / 2, Ordering::SeqCst);
        let started = Instant::now();
        idle.sleep(0, || false, &SetMeanwhile { idle: &idle, is_set: AtomicUsize::new(0) });
        assert!(started.elapsed() < MAX_SLEEP / 2, "it slept through the timer");
    }
}
