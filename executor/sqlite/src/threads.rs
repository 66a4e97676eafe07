//! The threads that work on databases, and how they are shared.
//!
//! A statement takes as long as its guest likes, and some single steps of SQLite take long, too. So a thread that has one
//! is not given back until the statement ends, and others must not wait for that:
//!
//! * *Permits.* At most [`Limits::running`] jobs compute at a time. A job that has had its permit for [`SHARE`] gives it to
//!   the job that has waited longest, and goes on behind the others ([`share`], which SQLite calls between its steps). So endless
//!   statements take turns with all others.
//! * *A job that does not come to that* for [`STUCK`] loses its permit to a job that waits, and goes on without one, on the
//!   thread that it has. So no single step keeps other jobs from running, and none has to wait for the end of a process whose
//!   statement cannot be interrupted.
//! * *Threads* are started as jobs come, [`Limits::threads`] at most; for each that is stuck another one, up to as many
//!   again. Jobs beyond wait, apart for each tenant, and tenants take turns.
//! * *Tenants* are quotas: what runs beneath one may have half of the threads that its parent may have. So a tenant that
//!   fills its share does not keep others out, whatever quotas it makes beneath its own.
//! * *What is to be closed* for processes that have ended comes first, and has some threads of its own: it frees locks
//!   that others wait for.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lunatic_resources::sys;

/// How long a job may compute while others wait.
const SHARE: Duration = Duration::from_millis(10);

/// How often a job looks at the others; each look takes a lock.
const LOOK: Duration = Duration::from_millis(5);

/// How long a job may be without a look until its permit is taken from it.
const STUCK: Duration = Duration::from_millis(100);

/// How often a job that waits looks for jobs that are stuck.
const WATCH: Duration = Duration::from_millis(20);

/// How long a thread without work stays.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

/// Threads for closing, beyond the others.
const CLOSERS: usize = 4;

/// Threads that any tenant may have, however deep its quota lies.
const FEWEST: usize = 4;

/// A piece of work.
type Job = Box<dyn FnOnce() + Send>;

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that compute at a time.
    pub running: usize,
    /// Threads that are not stuck.
    pub threads: usize,
    /// Bytes of stack for each.
    pub stack: usize,
}

/// The quotas that a job lies beneath, the outermost first. A process without a quota has none.
pub type Tenant = Arc<[usize]>;

/// See the module.
pub struct Threads {
    shared: Arc<Shared>,
}

struct Shared {
    limits: Limits,
    state: Mutex<State>,
    /// A job for a thread that waits for one.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    /// Jobs of each tenant that no thread has, by its innermost quota.
    queued: HashMap<usize, VecDeque<(Tenant, Job)>>,
    /// How many that are.
    jobs: usize,
    /// The tenants that have some, in the order of their turns.
    turns: VecDeque<usize>,
    /// What is to be closed.
    closing: VecDeque<Job>,
    /// Threads that work beneath each quota.
    beneath: HashMap<usize, usize>,
    /// Threads, and those of them that wait for jobs.
    threads: usize,
    idle: usize,
    /// Jobs that compute, by number.
    leases: HashMap<u64, Lease>,
    next_lease: u64,
    permits: usize,
    /// Jobs that wait for a permit, in order.
    waiting: VecDeque<Arc<Waiter>>,
}

/// A job that computes, as the others see it.
struct Lease {
    has_permit: bool,
    /// It waits for one, or sleeps.
    rests: bool,
    since: Instant,
    looked: Instant,
}

/// A thread that waits for a permit.
struct Waiter {
    lease: u64,
    /// Whether it has one; used under the lock of the state.
    granted: Condvar,
}

/// What a thread knows of its job.
struct Current {
    shared: Arc<Shared>,
    lease: u64,
    looked: Cell<Instant>,
}

thread_local! {
    static CURRENT: std::cell::RefCell<Option<Current>> = const { std::cell::RefCell::new(None) };
}

/// Lets others have their turn, if the job that runs on this thread has had its own. Called often.
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

/// Sleeps; meanwhile another job may compute.
pub(super) fn sleep(time: Duration) {
    CURRENT.with_borrow(|current| {
        let Some(current) = current else { return std::thread::sleep(time) };
        current.shared.release(current.lease);
        std::thread::sleep(time);
        current.shared.acquire(current.lease);
    });
}

impl Threads {
    /// No threads yet; they start when there is work.
    pub fn new(limits: Limits) -> Threads {
        let (state, arrived) = (Mutex::default(), Condvar::new());
        Threads { shared: Arc::new(Shared { limits, state, arrived }) }
    }

    /// Hands over a job of a tenant.
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

    /// Hands over something that frees what others wait for.
    pub fn submit_closing(&self, job: Job) {
        let mut state = self.shared.lock();
        state.closing.push_back(job);
        self.shared.provide(state);
    }

    /// How many threads there are, and how many of them are stuck.
    pub fn count(&self) -> (usize, usize) {
        let state = self.shared.lock();
        (state.threads, state.stuck(Instant::now()))
    }

    /// Waits until there is nothing left to do, but not much longer than that.
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
        // Jobs run outside of it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sees to it that there is a thread for what is queued, if there may be.
    fn provide(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        // Those that have been told of a job and have not taken it yet count as idle, too.
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

    /// With no thread at all a job would wait for ever: it is done here, slowly, rather than never.
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

    /// Threads that there may be now.
    fn limit(&self, state: &State) -> usize {
        self.limits.threads + state.stuck(Instant::now()).min(self.limits.threads)
    }

    fn work(self: Arc<Self>) {
        let mut state = self.lock();
        loop {
            if let Some(job) = state.closing.pop_front() {
                drop(state);
                // A job that panics completes nothing; the thread lives.
                let _ = catch_unwind(AssertUnwindSafe(job));
                state = self.lock();
            } else if state.threads > self.limit(&state) {
                // It was for closing, or in place of one that was stuck.
                state.threads -= 1;
                return;
            } else if let Some((tenant, job)) = state.take(self.limits) {
                drop(state);
                self.run(job);
                state = self.lock();
                state.leave(&tenant);
            } else {
                state.idle += 1;
                let (woken, timeout) =
                    self.arrived.wait_timeout(state, KEEP_ALIVE).unwrap_or_else(PoisonError::into_inner);
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
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            if state.leases[&lease].has_permit {
                return;
            }
            // One of them does it for all.
            if state.waiting.front().is_none_or(|first| first.lease != lease) {
                continue;
            }
            state.take_from_the_stuck(Instant::now());
            state.pass_on(self.limits);
            // Where jobs are stuck there may be threads in place of theirs.
            self.provide(state);
            state = self.lock();
        }
    }

    /// Gives a permit back, if it has not been taken.
    fn release(&self, lease: u64) {
        let mut state = self.lock();
        state.give_back(lease);
        state.pass_on(self.limits);
    }

    /// A job looks at the others.
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

    /// Whether there is a job that may have a thread.
    fn has_work(&self, limits: Limits) -> bool {
        !self.closing.is_empty() || self.turns.iter().any(|key| self.is_admitted(*key, limits))
    }

    /// Whether the next job of a tenant may have a thread.
    fn is_admitted(&self, key: usize, limits: Limits) -> bool {
        let Some((tenant, _)) = self.queued.get(&key).and_then(VecDeque::front) else { return false };
        tenant.iter().enumerate().all(|(depth, quota)| {
            let share = (limits.threads.checked_shr(depth as u32).unwrap_or(0)).max(FEWEST);
            self.beneath.get(quota).is_none_or(|threads| *threads < share)
        })
    }

    /// Takes the next job that may have a thread.
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

    /// A thread of a tenant's is free.
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

    /// Takes the permits of those that have not looked for long.
    fn take_from_the_stuck(&mut self, now: Instant) {
        for lease in self.leases.values_mut() {
            if lease.is_stuck(now) && std::mem::take(&mut lease.has_permit) {
                self.permits -= 1;
            }
        }
    }

    /// Gives permits to jobs that wait, as far as there are some.
    fn pass_on(&mut self, limits: Limits) {
        while self.permits < limits.running
            && let Some(waiter) = self.waiting.pop_front()
        {
            self.grant(waiter.lease);
            waiter.granted.notify_one();
        }
    }

    /// Jobs that compute and have not looked for long, with a permit or without.
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

    /// A job that goes on until it is told to end, looking at others all the time.
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
        // The first may have come before the others were seen to be stuck.
        std::thread::sleep(2 * STUCK);
        assert!(threads.count().1 >= 2, "those that had a permit");
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
