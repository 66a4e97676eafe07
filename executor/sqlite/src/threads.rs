//! The threads that run database jobs, and how jobs share them.
//!
//! A guest decides how long a statement runs, and some single steps of SQLite take long, too. A thread keeps its
//! statement until the statement ends, and other jobs must not wait for that:
//!
//! * *Permits.* At most [`Limits::running`] jobs compute at a time. A job that has held its permit for [`SHARE`]
//!   passes it to the job that has waited longest and queues again ([`share`], which SQLite calls between its steps).
//!   Endless statements therefore take turns with all others.
//! * *Stuck jobs.* A job that does not call [`share`] for [`STUCK`] loses its permit to a waiting job and continues
//!   without one, on its thread. No single step blocks other jobs, and no job waits for the end of a process whose
//!   statement cannot be interrupted.
//! * *Threads* start on demand, at most [`Limits::threads`], plus one for each stuck thread up to the same number
//!   again. Further jobs are queued per tenant, and tenants take turns.
//! * *Tenants* are quotas. The jobs below a quota may use half of the threads that its parent may use. A tenant that
//!   fills its share therefore does not block others, whatever quotas it creates below its own.
//! * *Closing* connections of dead processes comes first and has some extra threads: it frees locks that other jobs
//!   wait for.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lunatic_resources::sync::{Condvar, Mutex, MutexGuard};

use lunatic_resources::sys;

/// How long a job may compute while other jobs wait.
const SHARE: Duration = Duration::from_millis(10);

/// Interval at which a job checks for waiting jobs. Each check takes a lock.
const LOOK: Duration = Duration::from_millis(5);

/// Time without a check after which a job loses its permit.
const STUCK: Duration = Duration::from_millis(100);

/// Interval at which a waiting job checks for stuck jobs.
const WATCH: Duration = Duration::from_millis(20);

/// How long an idle thread stays alive.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Additional threads for closing connections.
const CLOSERS: usize = 4;

/// Minimum thread share of a tenant, regardless of the depth of its quota.
const FEWEST: usize = 4;

type Job = Box<dyn FnOnce() + Send>;

/// Limits of the thread pool.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Maximum number of jobs that compute at a time.
    pub running: usize,
    /// Maximum number of threads that are not stuck.
    pub threads: usize,
    /// Stack size of each thread, in bytes.
    pub stack: usize,
}

/// The quotas above a job, outermost first. Empty for a process without a quota.
pub type Tenant = Arc<[usize]>;

/// The database threads. See the module documentation.
pub struct Threads {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    /// Wakes an idle thread: a job was queued.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// Queued jobs of each tenant, by the tenant's innermost quota.
    queued: HashMap<usize, VecDeque<(Tenant, Job)>>,
    /// Number of queued jobs.
    jobs: usize,
    /// Tenants with queued jobs, in the order of their turns.
    turns: VecDeque<usize>,
    /// Queued closing jobs.
    closing: VecDeque<Job>,
    /// Number of threads that work below each quota.
    beneath: HashMap<usize, usize>,
    /// Number of all threads, and of the idle ones among them.
    threads: usize,
    idle: usize,
    /// Jobs on a thread, by number.
    leases: HashMap<u64, Lease>,
    next_lease: u64,
    permits: usize,
    /// Jobs that wait for a permit, in order.
    waiting: VecDeque<Arc<Waiter>>,
}

/// The state of a job on a thread, as other jobs see it.
struct Lease {
    has_permit: bool,
    /// Whether the job waits for a permit or sleeps.
    rests: bool,
    since: Instant,
    looked: Instant,
}

/// A thread that waits for a permit.
struct Waiter {
    lease: u64,
    /// Notified when the permit is granted; used with the state's lock.
    granted: Condvar,
}

/// A thread's view of its job.
struct Current {
    shared: Arc<Shared>,
    lease: u64,
    looked: Cell<Instant>,
}

thread_local! {
    static CURRENT: std::cell::RefCell<Option<Current>> = const { std::cell::RefCell::new(None) };
}

/// Yields to waiting jobs if the job on this thread has used up its share. Called often.
pub(super) fn share() {
    CURRENT.with_borrow(|current| {
        let Some(current) = current else { return };
        let now = Instant::now();
        if now.saturating_duration_since(current.looked.get()) >= LOOK {
            current.shared.look(current.lease, now);
            current.looked.set(Instant::now());
        }
    });
}

/// Sleeps and lets another job compute meanwhile.
pub(super) fn sleep(time: Duration) {
    CURRENT.with_borrow(|current| {
        let Some(current) = current else { return std::thread::sleep(time) };
        current.shared.release(current.lease);
        std::thread::sleep(time);
        current.shared.acquire(current.lease);
    });
}

impl Threads {
    /// Creates a pool without threads; they start on demand.
    pub fn new(limits: Limits) -> Threads {
        let (state, arrived) = (Mutex::default(), Condvar::new());
        Threads { shared: Arc::new(Shared { limits, state, arrived }) }
    }

    /// Queues a job of a tenant.
    pub fn submit(&self, tenant: Tenant, job: Job) {
        let mut state = self.shared.lock();
        state.jobs += 1;
        let key = tenant.last().copied().unwrap_or(0);
        let jobs = state.queued.entry(key).or_default();
        jobs.push_back((tenant, job));
        if jobs.len() == 1 {
            state.turns.push_back(key);
        }
        self.shared.provide(state);
    }

    /// Queues a job that frees resources which other jobs wait for.
    pub fn submit_closing(&self, job: Job) {
        let mut state = self.shared.lock();
        state.closing.push_back(job);
        self.shared.provide(state);
    }

    /// Returns the number of threads, and of stuck jobs.
    pub fn count(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.threads, state.stuck(Instant::now()))
    }

    /// Waits until all jobs are done, at most slightly longer than `patience`.
    pub fn finish(&self, patience: Duration) {
        const PAUSE: Duration = Duration::from_millis(1);
        let started = Instant::now();
        while self.shared.lock().is_busy() && started.elapsed() < patience {
            std::thread::sleep(PAUSE);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Jobs run without holding the lock.
        self.state.lock()
    }

    /// Ensures that a thread runs the queued jobs, within the limits.
    fn provide(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        // Threads that were notified but have not taken a job yet count as idle, too.
        if state.idle >= state.jobs + state.closing.len() {
            self.arrived.notify_one();
            return;
        }
        let closers = if state.closing.is_empty() { 0 } else { CLOSERS };
        if !state.has_work(self.limits) || state.threads >= self.limit(&state) + closers {
            return;
        }
        state.threads += 1;
        drop(state);
        let shared = self.clone();
        let thread = std::thread::Builder::new().name("database".into()).stack_size(self.limits.stack);
        let started = thread.spawn(move || {
            sys::block_signals();
            shared.work();
        });
        if started.is_err() {
            self.do_without();
        }
    }

    /// Runs the jobs on this thread if no thread can be started: slow, but otherwise they would wait forever.
    fn do_without(self: &Arc<Self>) {
        let mut state = self.lock();
        state.threads -= 1;
        while state.threads == 0
            && let Some((tenant, job)) = state.take(self.limits)
        {
            drop(state);
            job();
            state = self.lock();
            state.leave(&tenant);
        }
    }

    /// Returns the current limit of threads.
    fn limit(&self, state: &State) -> usize {
        self.limits.threads + state.stuck(Instant::now()).min(self.limits.threads)
    }

    fn work(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.closing.pop_front() {
                drop(state);
                // A job that panics does not complete; the thread survives.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
            } else if state.threads > self.limit(&state) {
                // This thread was started for closing, or to replace a stuck one.
                state.threads -= 1;
                return;
            } else if let Some((tenant, job)) = state.take(self.limits) {
                drop(state);
                self.run(job);
                state = self.lock();
                state.leave(&tenant);
            } else {
                state.idle += 1;
                let (woken, timeout) = self.arrived.wait_timeout(state, KEEP_ALIVE);
                state = woken;
                state.idle -= 1;
                if timeout.timed_out() && !state.has_work(self.limits) {
                    state.threads -= 1;
                    return;
                }
            }
        }
    }

    /// Runs a job with a permit.
    fn run(self: &Arc<Self>, job: Job) {
        let lease = {
            let mut state = self.lock();
            let number = state.next_lease;
            state.next_lease += 1;
            let now = Instant::now();
            state.leases.insert(number, Lease { has_permit: false, rests: true, since: now, looked: now });
            number
        };
        self.acquire(lease);
        let current = Current { shared: self.clone(), lease, looked: Cell::new(Instant::now()) };
        CURRENT.set(Some(current));
        let _ = catch_unwind(AssertUnwindSafe(job));
        CURRENT.set(None);
        self.release(lease);
        self.lock().leases.remove(&lease);
    }

    /// Waits for a permit.
    fn acquire(self: &Arc<Self>, lease: u64) {
        let mut state = self.lock();
        if state.permits < self.limits.running && state.waiting.is_empty() {
            state.grant(lease);
            return;
        }
        let waiter = Arc::new(Waiter { lease, granted: Condvar::new() });
        state.waiting.push_back(waiter.clone());
        loop {
            let has_none = |state: &mut State| !state.leases[&lease].has_permit;
            let waited = waiter.granted.wait_timeout_while(state, WATCH, has_none);
            state = waited.0;
            if state.leases[&lease].has_permit {
                return;
            }
            // The first waiter checks on behalf of all.
            if state.waiting.front().is_none_or(|first| first.lease != lease) {
                continue;
            }
            state.revoke_stuck_permits(Instant::now());
            state.pass_on(self.limits);
            // Stuck jobs allow further threads.
            self.provide(state);
            state = self.lock();
        }
    }

    /// Returns the permit, unless it was revoked.
    fn release(&self, lease: u64) {
        let mut state = self.lock();
        state.give_back(lease);
        state.pass_on(self.limits);
    }

    /// Records that the job is not stuck. Passes its permit on if the job has used up its share.
    fn look(self: &Arc<Self>, number: u64, now: Instant) {
        let mut state = self.lock();
        let others_wait = !state.waiting.is_empty();
        let Some(lease) = state.leases.get_mut(&number) else { return };
        lease.looked = now;
        if lease.has_permit && !(others_wait && now.saturating_duration_since(lease.since) >= SHARE) {
            return;
        }
        drop(state);
        self.release(number);
        self.acquire(number);
    }
}

impl State {
    fn is_busy(&self) -> bool {
        !self.turns.is_empty() || !self.closing.is_empty() || self.threads > self.idle
    }

    /// Returns whether a queued job may run now.
    fn has_work(&self, limits: Limits) -> bool {
        !self.closing.is_empty() || self.turns.iter().any(|key| self.is_admitted(*key, limits))
    }

    /// Returns whether the next job of a tenant may run now.
    fn is_admitted(&self, key: usize, limits: Limits) -> bool {
        let Some((tenant, _)) = self.queued.get(&key).and_then(VecDeque::front) else { return false };
        tenant.iter().enumerate().all(|(depth, quota)| {
            let share = (limits.threads.checked_shr(depth as u32).unwrap_or(0)).max(FEWEST);
            self.beneath.get(quota).is_none_or(|threads| *threads < share)
        })
    }

    /// Takes the next job that may run.
    fn take(&mut self, limits: Limits) -> Option<(Tenant, Job)> {
        let place = self.turns.iter().position(|key| self.is_admitted(*key, limits))?;
        let key = self.turns.remove(place)?;
        let jobs = self.queued.get_mut(&key)?;
        let (tenant, job) = jobs.pop_front()?;
        self.jobs -= 1;
        if jobs.is_empty() {
            self.queued.remove(&key);
        } else {
            self.turns.push_back(key);
        }
        tenant.iter().for_each(|quota| *self.beneath.entry(*quota).or_default() += 1);
        Some((tenant, job))
    }

    /// Removes one working thread from each of the tenant's quotas.
    fn leave(&mut self, tenant: &[usize]) {
        for quota in tenant {
            if let Some(threads) = self.beneath.get_mut(quota) {
                *threads -= 1;
                if *threads == 0 {
                    self.beneath.remove(quota);
                }
            }
        }
    }

    fn grant(&mut self, lease: u64) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            let now = Instant::now();
            *lease = Lease { has_permit: true, rests: false, since: now, looked: now };
            self.permits += 1;
        }
    }

    fn give_back(&mut self, lease: u64) {
        if let Some(lease) = self.leases.get_mut(&lease) {
            self.permits -= usize::from(std::mem::take(&mut lease.has_permit));
            lease.rests = true;
        }
    }

    /// Revokes the permits of stuck jobs.
    fn revoke_stuck_permits(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            if lease.is_stuck(now) && std::mem::take(&mut lease.has_permit) {
                self.permits -= 1;
            }
        }
    }

    /// Grants free permits to waiting jobs.
    fn pass_on(&mut self, limits: Limits) {
        while self.permits < limits.running
            && let Some(waiter) = self.waiting.pop_front()
        {
            self.grant(waiter.lease);
            waiter.granted.notify_one();
        }
    }

    /// Returns the number of stuck jobs, with a permit or without.
    fn stuck(&self, now: Instant) -> usize {
        self.leases.values().filter(|lease| lease.is_stuck(now)).count()
    }
}

impl Lease {
    fn is_stuck(&self, now: Instant) -> bool {
        !self.rests && now.saturating_duration_since(self.looked) >= STUCK
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::sync::mpsc::{Sender, channel};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(60);

    fn threads(running: usize, threads: usize) -> Threads {
        Threads::new(Limits { running, threads, stack: 1 << 20 })
    }

    fn no_quota() -> Tenant {
        Arc::new([])
    }

    /// Returns a job that calls `share` in a loop until the test ends it.
    fn endless(ends: &Arc<AtomicBool>) -> Job {
        let ends = ends.clone();
        Box::new(move || {
            while !ends.load(Ordering::Relaxed) {
                share();
            }
        })
    }

    fn tells(told: &Sender<()>) -> Job {
        let told = told.clone();
        Box::new(move || told.send(()).unwrap())
    }

    #[test]
    fn endless_jobs_let_others_have_their_turn() {
        let (threads, ends) = (threads(2, 16), Arc::new(AtomicBool::new(false)));
        (0..8).for_each(|_| threads.submit(no_quota(), endless(&ends)));
        let (told, tells_us) = channel();
        for _ in 0..20 {
            threads.submit(no_quota(), tells(&told));
            tells_us.recv_timeout(PATIENCE).unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        threads.finish(PATIENCE);
        assert!(!threads.shared.lock().is_busy());
    }

    #[test]
    fn a_job_that_is_stuck_keeps_neither_permit_nor_thread_from_others() {
        let (threads, ends) = (threads(2, 4), Arc::new(AtomicBool::new(false)));
        for _ in 0..4 {
            let ends = ends.clone();
            threads.submit(
                no_quota(),
                Box::new(move || {
                    while !ends.load(Ordering::Relaxed) {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                }),
            );
        }
        let (told, tells_us) = channel();
        // The first job may run before the stuck jobs are detected.
        std::thread::sleep(2 * STUCK);
        assert!(threads.count().1 >= 2, "the jobs that had a permit are stuck");
        for _ in 0..20 {
            threads.submit(no_quota(), tells(&told));
            tells_us.recv_timeout(PATIENCE).unwrap();
        }
        ends.store(true, Ordering::Relaxed);
        threads.finish(PATIENCE);
        assert_eq!(threads.shared.lock().permits, 0);
    }

    #[test]
    fn a_tenant_has_half_of_the_threads_however_many_quotas_it_makes() {
        let (threads, ends) = (threads(4, 16), Arc::new(AtomicBool::new(false)));
        let root = 1;
        for quota in 100..200 {
            threads.submit(Arc::new([root, 2, quota]), endless(&ends));
        }
        let (told, tells_us) = channel();
        threads.submit(Arc::new([root, 3]), tells(&told));
        tells_us.recv_timeout(PATIENCE).unwrap();
        assert!(threads.shared.lock().beneath[&2] <= 8);
        ends.store(true, Ordering::Relaxed);
        threads.finish(PATIENCE);
        assert!(threads.shared.lock().beneath.is_empty());
    }

    #[test]
    fn closing_comes_first_and_has_threads_of_its_own() {
        let (threads, ends) = (threads(2, 4), Arc::new(AtomicBool::new(false)));
        (0..100).for_each(|_| threads.submit(no_quota(), endless(&ends)));
        let (told, tells_us) = channel();
        threads.submit_closing(tells(&told));
        tells_us.recv_timeout(PATIENCE).unwrap();
        ends.store(true, Ordering::Relaxed);
        threads.finish(PATIENCE);
    }

    #[test]
    fn every_job_runs_also_after_one_that_panics() {
        let (threads, count) = (threads(2, 4), Arc::new(AtomicUsize::new(0)));
        threads.submit(no_quota(), Box::new(|| std::panic::resume_unwind(Box::new(()))));
        for _ in 0..1000 {
            let count = count.clone();
            threads.submit(no_quota(), Box::new(move || _ = count.fetch_add(1, Ordering::Relaxed)));
        }
        threads.finish(PATIENCE);
        assert_eq!(count.load(Ordering::Relaxed), 1000);
    }
}
