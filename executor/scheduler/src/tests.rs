//! The scheduler with simulated tasks: on one thread in a seeded order, and on real threads.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::entropy::Rng;

use super::idle::{Idle, MAX_SLEEP};
use super::worker::Driven;
use super::{Events, Priority, ReadinessEvent, Scheduler, Step, Task};

pub(super) struct NoEvents;

impl Events for NoEvents {
    fn fire(&self) {}
    fn ready(&self, _: &[ReadinessEvent]) {}
    fn has_descriptors(&self) -> bool {
        false
    }
    fn next_deadline(&self) -> Option<u64> {
        None
    }
    fn now(&self) -> u64 {
        0
    }
}

/// Runs `slices` slices, then schedules what it is told to.
struct Counter {
    left: AtomicUsize,
    done: Arc<AtomicUsize>,
    then: Mutex<Vec<Arc<Counter>>>,
    scheduler: Weak<Scheduler>,
}

impl Task for Counter {
    fn priority(&self) -> Priority {
        Priority::Normal
    }

    fn run(&self) -> Step {
        if self.left.fetch_sub(1, Ordering::SeqCst) > 1 {
            return Step::Again;
        }
        for next in self.then.lock().unwrap().drain(..) {
            self.scheduler.upgrade().unwrap().schedule(next);
        }
        self.done.fetch_add(1, Ordering::SeqCst);
        Step::Rest
    }
}

fn tree(scheduler: &Arc<Scheduler>, done: &Arc<AtomicUsize>, depth: usize) -> Arc<Counter> {
    let then =
        if depth == 0 { Vec::new() } else { (0..3).map(|_| tree(scheduler, done, depth - 1)).collect() };
    Arc::new(Counter {
        left: AtomicUsize::new(1 + depth % 3),
        done: done.clone(),
        then: Mutex::new(then),
        scheduler: Arc::downgrade(scheduler),
    })
}

/// Drives all workers on this thread in an order chosen by the seed, until none finds work.
fn simulate(workers: &mut [Driven], seed: u64) -> Vec<usize> {
    let mut rng = Rng::seeded(seed);
    let mut trace = Vec::new();
    loop {
        let chosen = rng.below(workers.len());
        if workers[chosen].step() {
            trace.push(chosen);
        } else if !(0..workers.len()).any(|index| workers[index].step()) {
            return trace;
        }
    }
}

#[test]
fn a_simulation_runs_everything_and_repeats_itself() {
    let run = |seed| {
        let (scheduler, workers) = Scheduler::new(4, seed, Arc::new(NoEvents), |_| Ok(())).unwrap();
        let done = Arc::new(AtomicUsize::new(0));
        scheduler.schedule(tree(&scheduler, &done, 6));
        let mut workers: Vec<_> = workers.into_iter().map(|worker| worker.on_this_thread()).collect();
        let trace = simulate(&mut workers, seed);
        assert_eq!(done.load(Ordering::SeqCst), (3usize.pow(7) - 1) / 2);
        trace
    };
    for seed in 0..50 {
        assert_eq!(run(seed), run(seed));
    }
}

#[test]
fn threads_run_everything_and_stop() {
    for round in 0..20 {
        let (scheduler, workers) = Scheduler::new(4, round, Arc::new(NoEvents), |_| Ok(())).unwrap();
        let threads: Vec<_> = workers.into_iter().map(|worker| std::thread::spawn(|| worker.run())).collect();
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..10 {
            scheduler.schedule(tree(&scheduler, &done, 5));
        }
        let started = Instant::now();
        while done.load(Ordering::SeqCst) < 10 * (3usize.pow(6) - 1) / 2 {
            assert!(started.elapsed() < Duration::from_secs(60), "work was left without a worker");
            std::thread::yield_now();
        }
        scheduler.stop();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

#[test]
fn two_tasks_that_wake_each_other_do_not_starve_the_queue() {
    struct Echo {
        peer: Mutex<Weak<Echo>>,
        scheduler: Weak<Scheduler>,
    }
    impl Task for Echo {
        fn priority(&self) -> Priority {
            Priority::Normal
        }

        fn run(&self) -> Step {
            let peer = self.peer.lock().unwrap().upgrade().unwrap();
            self.scheduler.upgrade().unwrap().schedule(peer);
            Step::Rest
        }
    }
    let (scheduler, workers) = Scheduler::new(1, 0, Arc::new(NoEvents), |_| Ok(())).unwrap();
    let mut worker = workers.into_iter().next().unwrap().on_this_thread();
    let echo = || Arc::new(Echo { peer: Mutex::default(), scheduler: Arc::downgrade(&scheduler) });
    let (a, b) = (echo(), echo());
    *a.peer.lock().unwrap() = Arc::downgrade(&b);
    *b.peer.lock().unwrap() = Arc::downgrade(&a);
    scheduler.schedule(a.clone());
    worker.step();
    let done = Arc::new(AtomicUsize::new(0));
    let third = tree(&scheduler, &done, 0);
    worker.push_back_for_test(third);
    let turns = (0..1000).take_while(|_| worker.step() && done.load(Ordering::SeqCst) == 0).count();
    assert!(turns < 100, "the third task waited {turns} turns");
}

/// Always runnable; counts its turns.
struct Busy {
    priority: Priority,
    turns: AtomicUsize,
}

impl Task for Busy {
    fn priority(&self) -> Priority {
        self.priority
    }

    fn run(&self) -> Step {
        self.turns.fetch_add(1, Ordering::SeqCst);
        Step::Again
    }
}

/// The turns of tasks of these priorities that all have something to do.
fn shares<const N: usize>(priorities: [Priority; N], workers: usize) -> [usize; N] {
    const TURNS: usize = 64 * 100;
    let (scheduler, workers) = Scheduler::new(workers, 0, Arc::new(NoEvents), |_| Ok(())).unwrap();
    let mut workers: Vec<_> = workers.into_iter().map(|worker| worker.on_this_thread()).collect();
    let tasks = priorities.map(|priority| Arc::new(Busy { priority, turns: AtomicUsize::new(0) }));
    tasks.iter().for_each(|task| scheduler.schedule(task.clone()));
    (0..TURNS).for_each(|turn| {
        let index = turn % workers.len();
        workers[index].step();
    });
    tasks.map(|task| (task.turns.load(Ordering::SeqCst) * 64 + TURNS / 2) / TURNS)
}

#[test]
fn a_priority_is_a_share() {
    use Priority::{High, Low, Normal};
    assert_eq!(shares([High, Normal, Low], 1), [55, 8, 1]);
    assert_eq!(shares([High, Normal], 1), [56, 8]);
    assert_eq!(shares([Normal, Low], 1), [56, 8]);
    assert_eq!(shares([High, Low], 1), [55, 9]);
    assert_eq!(shares([High, High, Normal, Normal], 1), [28, 28, 4, 4]);
    assert_eq!(shares([Low, Low], 1), [32, 32], "alone, it makes no difference");
    // Each of two workers finds what is urgent.
    assert_eq!(shares([High, High, Normal, Normal], 2), [28, 28, 4, 4]);
}

/// A deadline that is known all the time.
struct Due(u64);

impl Events for Due {
    fn fire(&self) {}
    fn ready(&self, _: &[ReadinessEvent]) {}
    fn has_descriptors(&self) -> bool {
        false
    }
    fn next_deadline(&self) -> Option<u64> {
        Some(self.0)
    }
    fn now(&self) -> u64 {
        0
    }
}

/// Events of which the first appears while the driver is about to fall asleep: another worker sets a timer just
/// after the driver has looked, and goes to sleep itself.
struct SetMeanwhile<'a> {
    idle: &'a Idle,
    is_set: AtomicUsize,
}

impl Events for SetMeanwhile<'_> {
    fn fire(&self) {}
    fn ready(&self, _: &[ReadinessEvent]) {}
    fn has_descriptors(&self) -> bool {
        false
    }
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
    idle.sleep(0, || false, &Due(LATER / 2));
    let started = Instant::now();
    idle.sleep(0, || false, &SetMeanwhile { idle: &idle, is_set: AtomicUsize::new(0) });
    assert!(started.elapsed() < MAX_SLEEP / 2, "it slept through the timer");
}
