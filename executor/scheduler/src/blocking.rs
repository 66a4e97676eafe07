//! A bounded pool of threads for work that a reactor cannot wait for: regular files, compilation.
//!
//! A job owns everything that it touches: a counted descriptor and a buffer, never guest memory. So a process that is
//! killed meanwhile is released at once; the completion of its job finds no process and is dropped.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lunatic_resources::sync::{Condvar, Mutex, MutexGuard};

use lunatic_resources::sys;

/// How long an idle thread stays.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

thread_local! {
    static IS_POOL_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Returns whether the calling thread belongs to a pool, as opposed to a thread that does a job in its place.
pub(super) fn is_pool_thread() -> bool {
    IS_POOL_THREAD.get()
}

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// A pool of threads. See the module documentation. Threads start when there is work and end when there is none.
pub struct BlockingPool {
    shared: Arc<Shared>,
    /// The number of threads at most.
    limit: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Whether there are more jobs than idle threads.
    is_pressed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    // Unbounded here, bounded by the callers: a process waits for its job, so it has at most one.
    jobs: VecDeque<Job>,
    threads: usize,
    waiting: usize,
}

impl BlockingPool {
    /// Creates a pool of at most `limit` threads.
    pub fn new(limit: usize) -> BlockingPool {
        let (queue, arrived, is_pressed) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { queue, arrived, is_pressed });
        BlockingPool { shared, limit }
    }

    /// Submits a job. Jobs start in order.
    pub fn submit(&self, job: Job) {
        let mut queue = self.shared.lock();
        queue.jobs.push_back(job);
        self.shared.note_pressure(&queue);
        if queue.waiting >= queue.jobs.len() {
            self.shared.arrived.notify_one();
        } else if queue.threads < self.limit {
            queue.threads += 1;
            drop(queue);
            self.start_thread();
        }
    }

    /// Returns whether a job waits for a thread, so that tasks should release theirs.
    pub(super) fn is_pressed(&self) -> bool {
        // Relaxed: a hint.
        self.shared.is_pressed.load(Ordering::Relaxed)
    }

    fn start_thread(&self) {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("blocking".into());
        let started = thread.spawn(move || {
            IS_POOL_THREAD.set(true);
            // Some threads run processes, whose stacks are too small for signal handlers. No thread of the pool needs
            // signals.
            sys::block_signals();
            shared.work();
        });
        if started.is_err() {
            let mut queue = self.shared.lock();
            queue.threads -= 1;
            // Without any thread, the job would wait for ever. This thread does it instead.
            if queue.threads == 0 {
                while let Some(job) = queue.jobs.pop_front() {
                    self.shared.note_pressure(&queue);
                    drop(queue);
                    job();
                    queue = self.shared.lock();
                }
            }
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Jobs run outside the lock, and the queue is always consistent.
        self.queue.lock()
    }

    /// Updates the hint. To be called whenever the number of jobs or of idle threads changes.
    fn note_pressure(&self, queue: &Queue) {
        self.is_pressed.store(queue.jobs.len() > queue.waiting, Ordering::Relaxed);
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                self.note_pressure(&queue);
                drop(queue);
                // A job that panics completes nothing, and its process waits until it is killed. The thread survives.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.lock();
                continue;
            }
            queue.waiting += 1;
            self.note_pressure(&queue);
            let (woken, timeout) = self.arrived.wait_timeout(queue, KEEP_ALIVE);
            queue = woken;
            queue.waiting -= 1;
            self.note_pressure(&queue);
            if timeout.timed_out() && queue.jobs.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn every_job_runs_also_after_one_that_panics() {
        let pool = BlockingPool::new(4);
        let (sender, receiver) = mpsc::channel();
        pool.submit(Box::new(|| std::panic::resume_unwind(Box::new(()))));
        for number in 0..100 {
            let sender = sender.clone();
            pool.submit(Box::new(move || sender.send(number).expect("the receiver waits")));
        }
        drop(sender);
        let mut done: Vec<i32> = receiver.iter().collect();
        done.sort_unstable();
        assert_eq!(done, (0..100).collect::<Vec<_>>());
    }
}
