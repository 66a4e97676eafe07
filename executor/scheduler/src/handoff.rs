//! A task continues where its file work was done. The thread that has done a piece of work runs the task that waited
//! for it, does what the task asks for next, and so on. So a program that mostly reads and writes files changes
//! threads once, and not twice for each call.
//!
//! ```text
//!   a worker                          a thread of the pool
//!   ────────                          ────────────────────
//!   turn: asks for work ─────pool───▶ work ─▶ completion ─▶ turn ─▶ work ─▶ completion ─▶ turn ─▶ …
//!   goes on with others                                       └─▶ waits for anything else, or ends: the thread is free
//! ```
//!
//! While the work is done, the task is at rest, as if another thread did it: a signal, above all a kill, puts the
//! task into a run queue, and a worker runs it at once. The work owns what it touches. When the work is done, its
//! completion is a signal like any other, and tells its sender whether the task has to be put into a queue. Then, and
//! only then, the thread owns the task, and runs it instead of queueing it. So a task is never in two places, and the
//! states of the queue do not change.
//!
//! # Which tasks may continue
//!
//! - At most as many threads at a time as there are [permits], which is the number of workers. A thread holds a
//!   permit for a turn and never for a piece of work, so work that never ends blocks only its own thread. If there is
//!   no permit, the task is queued for the workers.
//! - Tasks of normal priority. The queues of other priorities give their tasks the right share.
//! - Only while no work waits for the thread. If there is more work than threads, the next piece of work of a task is
//!   queued behind that of others, and the thread takes the first one, so that all of them have their turns. Other
//!   work waits for at most one turn, and for that the pool has as many additional threads as there are permits.
//! - Only while there was work in each slice. A task that has computed for a whole slice goes to the workers.
//!
//! What a turn here makes runnable goes to the injector, as from any thread without a run queue. Sleeping workers are
//! told about new timers.
//!
//! # How it stops
//!
//! A thread that takes a permit checks afterwards whether the scheduler stops. The thread that stops the scheduler
//! checks the permits afterwards and waits until all are free. One of the two fences comes first, so at least one
//! thread observes the other's store. So after [`Files::finish`], no guest code runs here and none starts. Work in
//! progress ends in its own time, and its completion finds no process.
//!
//! [permits]: Files::new

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::time::Duration;

use super::blocking::{BlockingPool, Job, is_pool_thread};
use super::{Events, Priority, Scheduler, Step, Task};

/// A piece of blocking work. It returns the task that it has made runnable, which the thread runs or queues.
pub type Work = Box<dyn FnOnce() -> Option<Arc<dyn Task>> + Send>;

/// Threads for file work. See the module documentation.
pub struct Files {
    pool: BlockingPool,
    permits: Box<[Permit]>,
}

/// Whether the permit is taken. It has a cache line of its own, because it changes in every turn.
#[derive(Default)]
#[repr(align(64))]
struct Permit(AtomicBool);

/// A permit that is held until this is dropped.
struct Taken<'a> {
    permit: &'a Permit,
    index: usize,
}

/// The work that the task running on this thread has asked for.
#[derive(Default)]
enum Slot {
    #[default]
    Closed,
    Open(Option<Work>),
}

thread_local! {
    static SLOT: RefCell<Slot> = const { RefCell::new(Slot::Closed) };
}

/// Keeps submitted work on this thread, until this is dropped.
struct Keeping;

/// Keeps work for the calling thread if it does such work, and returns the work otherwise.
pub fn keep(work: Work) -> Option<Work> {
    SLOT.with_borrow_mut(|slot| match slot {
        Slot::Open(kept @ None) => {
            *kept = Some(work);
            None
        }
        // A task waits for one piece of work at a time, so an open slot is empty. If it were not, the pool does the
        // work.
        Slot::Open(Some(_)) | Slot::Closed => Some(work),
    })
}

impl Files {
    /// Creates threads: `threads` do work at a time, and `workers` more may run tasks.
    pub fn new(threads: usize, permits: usize) -> Files {
        let permits: Box<[Permit]> = (0..permits).map(|_| Permit::default()).collect();
        Files { pool: BlockingPool::new(threads + permits.len()), permits }
    }

    /// Has a thread call this job, which is to call [`Files::follow`].
    pub fn submit(&self, job: Job) {
        self.pool.submit(job);
    }

    /// Does a piece of work, and runs what it makes runnable. Returns work that has to be queued behind that of
    /// others.
    pub fn follow(&self, work: Work, scheduler: &Scheduler, events: &dyn Events) -> Option<Work> {
        let mut task = work()?;
        if !is_pool_thread() {
            // No thread could be started, so a worker does the work between two turns.
            scheduler.schedule(task);
            return None;
        }
        let keeping = Keeping::begin();
        let (mut place, mut has_worked) = (0, true);
        loop {
            let step = self.run(&task, &mut place, scheduler, events);
            match (step, keeping.take()) {
                (Some(Step::Rest), None) => return None,
                (Some(Step::Rest), Some(work)) if self.pool.is_pressed() => return Some(work),
                (Some(Step::Rest), Some(work)) => (task, has_worked) = (work()?, true),
                (Some(Step::Again), None) if has_worked && !self.pool.is_pressed() => has_worked = false,
                (_, left) => {
                    // When the scheduler stops, the task is found in the process table.
                    if !scheduler.is_stopping() {
                        scheduler.schedule(task);
                    }
                    return left;
                }
            }
        }
    }

    /// Runs a slice of a task; `None` if it may not run here.
    fn run(
        &self,
        task: &Arc<dyn Task>,
        place: &mut usize,
        scheduler: &Scheduler,
        events: &dyn Events,
    ) -> Option<Step> {
        if task.priority() != Priority::Normal {
            return None;
        }
        let taken = self.sit(*place)?;
        *place = taken.index;
        if scheduler.is_stopping() {
            return None;
        }
        let before = events.next_deadline();
        let step = task.run();
        drop(taken);
        let next = events.next_deadline();
        if next != before {
            scheduler.hasten(next);
        }
        Some(step)
    }

    /// Takes a permit, preferably the one at `place`.
    fn sit(&self, place: usize) -> Option<Taken<'_>> {
        let permits = self.permits.len();
        let taken = (0..permits).map(|offset| (place + offset) % permits).find_map(|index| {
            let permit = &self.permits[index];
            // Acquire here and release when the permit is freed: the thread that stops the node sees what was done
            // with the permit.
            let is_taken = permit.0.load(Ordering::Relaxed) || permit.0.swap(true, Ordering::Acquire);
            (!is_taken).then(|| Taken { permit, index })
        });
        // See the module documentation.
        fence(Ordering::SeqCst);
        taken
    }

    /// Waits until no task runs here any more. To be called when the scheduler stops.
    pub fn finish(&self) {
        const LOOK: Duration = Duration::from_micros(50);
        fence(Ordering::SeqCst);
        for permit in &self.permits {
            // This takes at most as long as a slice, as with workers.
            while permit.0.load(Ordering::Acquire) {
                std::thread::sleep(LOOK);
            }
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.permit.0.store(false, Ordering::Release);
    }
}

impl Keeping {
    fn begin() -> Keeping {
        SLOT.set(Slot::Open(None));
        Keeping
    }

    /// Returns the work that the task has asked for.
    fn take(&self) -> Option<Work> {
        SLOT.with_borrow_mut(|slot| match slot {
            Slot::Open(kept) => kept.take(),
            Slot::Closed => None,
        })
    }
}

impl Drop for Keeping {
    fn drop(&mut self) {
        SLOT.set(Slot::Closed);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::AtomicUsize;
    use std::thread::ThreadId;
    use std::time::Instant;

    use super::super::tests::NoEvents;
    use super::super::worker::Driven;
    use super::*;

    /// Longer than anything takes on a busy machine.
    const PATIENCE: Duration = Duration::from_secs(60);

    struct Machine {
        files: Files,
        scheduler: Arc<Scheduler>,
        /// Tasks in a turn.
        running: AtomicUsize,
    }

    /// Asks for work so many times, computing for so many slices in between.
    struct Reader {
        machine: Arc<Machine>,
        pieces: AtomicUsize,
        slices: usize,
        slice: Duration,
        priority: Priority,
        /// Slices since the last piece.
        computed: AtomicUsize,
        turns: Mutex<Vec<ThreadId>>,
    }

    impl Machine {
        fn new(threads: usize, permits: usize) -> (Arc<Machine>, Driven) {
            let (scheduler, mut workers) = Scheduler::new(1, 0, Arc::new(NoEvents), |_| Ok(())).unwrap();
            let files = Files::new(threads, permits);
            let worker = workers.pop().unwrap().on_this_thread();
            (Arc::new(Machine { files, scheduler, running: AtomicUsize::new(0) }), worker)
        }

        /// As a node does it.
        fn submit(self: &Arc<Self>, work: Work) {
            let Some(work) = keep(work) else { return };
            let machine = self.clone();
            self.files.submit(Box::new(move || {
                if let Some(left) = machine.files.follow(work, &machine.scheduler, &NoEvents) {
                    machine.submit(left);
                }
            }));
        }

        fn reader(self: &Arc<Self>, pieces: usize) -> Reader {
            Reader {
                machine: self.clone(),
                pieces: AtomicUsize::new(pieces),
                slices: 0,
                slice: Duration::ZERO,
                priority: Priority::Normal,
                computed: AtomicUsize::new(0),
                turns: Mutex::default(),
            }
        }
    }

    /// A reader needs itself to ask for work.
    struct Reading(Arc<Reader>);

    impl Task for Reading {
        fn priority(&self) -> Priority {
            self.0.priority
        }

        fn run(&self) -> Step {
            let Reading(reader) = self;
            reader.turns.lock().unwrap().push(std::thread::current().id());
            reader.machine.running.fetch_add(1, Ordering::SeqCst);
            std::thread::sleep(reader.slice);
            let step = reader.step();
            reader.machine.running.fetch_sub(1, Ordering::SeqCst);
            step
        }
    }

    impl Reader {
        fn step(self: &Arc<Self>) -> Step {
            if self.computed.fetch_add(1, Ordering::SeqCst) < self.slices {
                return Step::Again;
            }
            self.computed.store(0, Ordering::SeqCst);
            let left = self.pieces.load(Ordering::SeqCst);
            if left > 0 {
                self.pieces.store(left - 1, Ordering::SeqCst);
                let task = Arc::new(Reading(self.clone()));
                self.machine.submit(Box::new(move || Some(task)));
            }
            Step::Rest
        }

        fn turns(&self) -> Vec<ThreadId> {
            self.turns.lock().unwrap().clone()
        }

        /// Has its first turn here; then waits until it has had so many.
        fn run_until(self: &Arc<Self>, turns: usize, mut meanwhile: impl FnMut()) {
            Reading(self.clone()).run();
            let started = Instant::now();
            while self.turns.lock().unwrap().len() < turns {
                assert!(started.elapsed() < PATIENCE, "it does not go on");
                meanwhile();
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_task_follows_its_work() {
        let (machine, _worker) = Machine::new(4, 2);
        let reader = Arc::new(machine.reader(100));
        reader.run_until(101, || ());
        let turns = reader.turns();
        assert!(turns[1..].iter().all(|thread| *thread == turns[1] && *thread != turns[0]), "{turns:?}");
    }

    #[test]
    fn tasks_that_may_not_continue_go_to_the_workers() {
        let here = std::thread::current().id();
        for (permits, priority) in [(0, Priority::Normal), (1, Priority::High), (1, Priority::Low)] {
            let (machine, mut worker) = Machine::new(2, permits);
            let reader = Arc::new(Reader { priority, ..machine.reader(10) });
            reader.run_until(11, || _ = worker.step());
            assert_eq!(reader.turns(), [here; 11], "{permits} permits, {priority:?}");
        }
    }

    #[test]
    fn tasks_that_only_compute_go_to_the_workers() {
        let here = std::thread::current().id();
        let (machine, mut worker) = Machine::new(2, 1);
        let reader = Arc::new(Reader { slices: 3, ..machine.reader(1) });
        // Three slices and the turn that asks, then the same after the work.
        (0..3).for_each(|_| assert_eq!(Reading(reader.clone()).run(), Step::Again));
        reader.run_until(8, || _ = worker.step());
        let here: Vec<bool> = reader.turns().iter().map(|thread| *thread == here).collect();
        assert_eq!(here, [true, true, true, true, false, false, true, true]);
    }

    #[test]
    fn more_tasks_than_threads_take_turns() {
        let (machine, mut worker) = Machine::new(0, 1);
        let readers: Vec<_> = (0..8).map(|_| Arc::new(machine.reader(usize::MAX))).collect();
        readers.iter().for_each(|reader| _ = Reading(reader.clone()).run());
        for reader in &readers {
            reader.run_until(100, || _ = worker.step());
        }
        machine.scheduler.stop();
        machine.files.finish();
    }

    #[test]
    fn no_task_runs_after_the_end() {
        for _ in 0..20 {
            let (machine, _worker) = Machine::new(4, 4);
            let slice = Duration::from_millis(1);
            let readers: Vec<_> =
                (0..4).map(|_| Arc::new(Reader { slice, ..machine.reader(usize::MAX) })).collect();
            readers.iter().for_each(|reader| reader.run_until(3, || ()));
            machine.scheduler.stop();
            machine.files.finish();
            let turns = || readers.iter().map(|reader| reader.turns().len()).sum::<usize>();
            assert_eq!(machine.running.load(Ordering::SeqCst), 0, "one is in a turn");
            let before = turns();
            std::thread::sleep(4 * slice);
            assert_eq!(turns(), before, "one had another turn");
        }
    }
}
