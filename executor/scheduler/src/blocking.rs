//! A bounded pool of threads for work that cannot be waited for in a reactor: regular files, compilation.
//!
//! A job owns everything it touches (DESIGN: a counted descriptor and a bounce buffer, never guest memory), so
//! a process that is killed meanwhile is gone at once; its job's completion then finds no one and is dropped.

use std::cell::Cell;
use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lunatic_resources::sys;

/// How long a thread without work stays.
const KEEP_ALIVE: Duration = Duration::from_secs(10);

thread_local! {
    static IS_POOL_THREAD: Cell<bool> = const { Cell::new(false) };
}

/// Whether the thread that calls is one of a pool, and not one that does a job in its place.
pub(super) fn is_pool_thread() -> bool {
    IS_POOL_THREAD.get()
}

/// A piece of blocking work.
pub type Job = Box<dyn FnOnce() + Send>;

/// See the module. Threads start when there is work and end when there is none.
pub struct BlockingPool {
    shared: Arc<Shared>,
    /// Threads at most.
    limit: usize,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    /// Whether there are more jobs than threads that wait for some.
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
    /// A pool of at most so many threads.
    pub fn new(limit: usize) -> BlockingPool {
        let (queue, arrived, is_pressed) = (Mutex::default(), Condvar::new(), AtomicBool::new(false));
        let shared = Arc::new(Shared { queue, arrived, is_pressed });
        BlockingPool { shared, limit }
    }

    /// Hands over a job. Jobs begin in order.
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

    /// Whether a job waits and no thread for one: who has a thread had better let go of it.
    pub(super) fn is_pressed(&self) -> bool {
        // Relaxed: a hint.
        self.shared.is_pressed.load(Ordering::Relaxed)
    }

    fn start_thread(&self) {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name("blocking".into());
        let started = thread.spawn(move || {
            IS_POOL_THREAD.set(true);
            // Some run processes, whose stacks are not for anybody's handlers; none has a use for signals.
            sys::block_signals();
            shared.work();
        });
        if started.is_err() {
            let mut queue = self.shared.lock();
            queue.threads -= 1;
            // With no thread at all the job would wait for ever: do it here, slowly, rather than never.
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
        // Jobs run outside the lock; the queue itself is always whole.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// To be called whenever there are more jobs, or others wait.
    fn note_pressure(&self, queue: &Queue) {
        self.is_pressed.store(queue.jobs.len() > queue.waiting, Ordering::Relaxed);
    }

    fn work(&self) {
        let mut queue = self.lock();
        loop {
            if let Some(job) = queue.jobs.pop_front() {
                self.note_pressure(&queue);
                drop(queue);
                // A job that panics completes nothing; its process waits until it is killed. The thread lives.
                let _ = catch_unwind(AssertUnwindSafe(job));
                queue = self.lock();
                continue;
            }
            queue.waiting += 1;
            self.note_pressure(&queue);
            let (woken, timeout) =
                self.arrived.wait_timeout(queue, KEEP_ALIVE).unwrap_or_else(PoisonError::into_inner);
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
