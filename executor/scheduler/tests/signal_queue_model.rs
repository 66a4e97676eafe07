//! Model checker tests of the signal queue, over every interleaving of a few steps: no signal is lost or handled
//! twice, their order is kept, a process is in at most one queue, and it never rests with an unseen signal.

use std::sync::Mutex;

use loom::cell::Cell;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;

/// Primitives of the queue; here, those of the checker.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicUsize, Ordering};

    pub(super) fn prefetch(_: usize) {}
}

#[allow(dead_code, unreachable_pub)] // The crate uses all of it, and shows some.
#[path = "../src/signal_queue.rs"]
mod queue;

use queue::{Queued, SignalQueue};

/// A signal whose content is written by the sender and read by the worker: the checker tells if nothing orders the two.
fn signal(content: u32) -> Box<Queued<Cell<u32>>> {
    let queued = Queued::new(Cell::new(0));
    queued.content.set(content);
    queued
}

/// A process that counts its entries in run queues and records the signals that it has handled.
struct Process {
    queue: SignalQueue<Cell<u32>>,
    queued: AtomicUsize,
    handled: Mutex<Vec<u32>>,
}

impl Process {
    /// Creates a resting process.
    fn new() -> Process {
        let process = Process::unstarted();
        drop(process.queue.take());
        assert!(process.queue.rest());
        process
    }

    /// Creates a process that its spawner has not yet prepared and scheduled.
    fn unstarted() -> Process {
        Process { queue: SignalQueue::new(), queued: AtomicUsize::new(0), handled: Mutex::default() }
    }

    /// Sends like a sender.
    fn send(&self, content: u32) {
        if self.queue.push(signal(content)).is_ok_and(|has_to_be_queued| has_to_be_queued) {
            self.schedule();
        }
    }

    fn schedule(&self) {
        let already = self.queued.fetch_add(1, Ordering::AcqRel);
        assert_eq!(already, 0, "it is in one queue at most");
    }

    /// Runs like a worker, if a queue has the process. Requeues the process after the first read if asked to.
    fn run(&self, goes_back: bool) {
        if self.queued.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            self.have_turns(goes_back);
        }
    }

    /// Runs like a thread that has done work for the process: continues with the process unless it would have to
    /// queue it.
    fn complete(&self, content: u32) {
        if self.queue.push(signal(content)).is_ok_and(|has_to_be_queued| has_to_be_queued) {
            // What a push has seen orders nothing; an exchange finds what is there.
            assert_eq!(self.queued.swap(0, Ordering::AcqRel), 0, "it is in a queue or here");
            self.have_turns(false);
        }
    }

    fn have_turns(&self, goes_back: bool) {
        loop {
            // A signal handled while another worker has the process would panic here.
            let mut handled = self.handled.try_lock().expect("one worker has it");
            handled.extend(self.queue.take().map(|queued| queued.content.get()));
            drop(handled);
            if goes_back {
                self.queue.again();
                return self.schedule();
            }
            if self.queue.rest() {
                return;
            }
        }
    }

    fn handled(&self) -> Vec<u32> {
        self.handled.lock().unwrap().clone()
    }
}

/// Two senders, two workers; the first worker puts the process back once.
#[test]
fn guarantee_01_signals_are_handled_once_in_order_by_one_worker_at_a_time() {
    loom::model(|| {
        let process = Arc::new(Process::new());
        let (first, second) = (process.clone(), process.clone());
        let one = thread::spawn(move || {
            first.send(1);
            first.send(2);
            first.run(true);
        });
        let other = thread::spawn(move || {
            second.send(10);
            second.run(false);
        });
        one.join().unwrap();
        other.join().unwrap();
        process.run(false);
        let handled = process.handled();
        let of_one: Vec<u32> = handled.iter().copied().filter(|signal| *signal < 10).collect();
        assert_eq!((of_one, handled.len()), (vec![1, 2], 3));
        assert!(process.queue.is_idle(), "it rests");
    });
}

/// Work for the process is completed on a thread that goes on with it, while it is sent to and a worker looks.
#[test]
fn guarantee_01_who_completes_work_and_whoever_sends_never_both_have_the_process() {
    loom::model(|| {
        let process = Arc::new(Process::new());
        let (follower, sender) = (process.clone(), process.clone());
        let completing = thread::spawn(move || {
            follower.complete(1);
            follower.complete(2);
        });
        let sending = thread::spawn(move || {
            sender.send(10);
            sender.run(false);
        });
        completing.join().unwrap();
        sending.join().unwrap();
        process.run(false);
        let handled = process.handled();
        let completed: Vec<u32> = handled.iter().copied().filter(|signal| *signal < 10).collect();
        assert_eq!((completed, handled.len()), (vec![1, 2], 3));
        assert!(process.queue.is_idle(), "it rests");
    });
}

/// A process can be sent to, by its guessed identifier, before its spawner has prepared it. No worker may meet it until
/// then, and afterwards no signal is forgotten and the process is not stuck.
#[test]
fn a_signal_before_the_process_is_prepared_neither_runs_it_nor_is_lost() {
    loom::model(|| {
        let process = Arc::new(Process::unstarted());
        let prepared = Arc::new(AtomicUsize::new(0));
        let (sender, its_body) = (process.clone(), prepared.clone());
        let sending = thread::spawn(move || {
            sender.send(10);
            // As a worker: it runs the process if a run queue has it, which must then be prepared.
            if sender.queued.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                assert_eq!(its_body.load(Ordering::Acquire), 1, "a worker met a process without a body");
                sender.have_turns(false);
            }
        });
        prepared.store(1, Ordering::Release);
        process.schedule();
        sending.join().unwrap();
        process.run(false);
        assert_eq!(process.handled(), [10]);
        assert!(process.queue.is_idle(), "it can be sent to, and killed, like any other");
    });
}

/// A process ends while it is sent to: what was accepted comes out, what was not is given back.
#[test]
fn guarantee_05_what_is_sent_to_the_dying_is_taken_or_given_back() {
    loom::model(|| {
        let queue = Arc::new(SignalQueue::new());
        let sender = queue.clone();
        let sent = thread::spawn(move || {
            let accepted = |signal| sender.push(Queued::new(signal)).is_ok();
            [accepted(1), accepted(2)]
        });
        let late: Vec<u32> = queue.close().map(|queued| queued.content).collect();
        let accepted = sent.join().unwrap();
        assert!(accepted[0] || !accepted[1], "after one is refused, none is accepted");
        assert_eq!(late.len(), accepted.iter().filter(|accepted| **accepted).count());
        assert!(queue.is_closed() && !queue.is_idle());
    });
}

/// A process is registered under a name while it ends: either the end sees the name, or the registration sees the
/// end.
#[test]
fn guarantee_30_a_name_is_noted_before_the_end_or_not_given() {
    loom::model(|| {
        let queue = Arc::new(SignalQueue::<u32>::new());
        let named = Arc::new(AtomicUsize::new(0));
        let (its_queue, its_name) = (queue.clone(), named.clone());
        let termination = thread::spawn(move || {
            drop(its_queue.close());
            its_name.load(Ordering::Relaxed) == 1
        });
        named.store(1, Ordering::Relaxed);
        let is_over = queue.is_closed();
        let was_seen = termination.join().unwrap();
        assert!(is_over || was_seen, "the name would outlive its owner");
    });
}

/// A process whose signals are also handled by a thread outside, under the lock that a turn holds.
struct Port {
    queue: SignalQueue<Cell<u32>>,
    queued: AtomicUsize,
    handled: loom::sync::Mutex<Vec<u32>>,
}

impl Port {
    fn send(&self, content: u32) {
        if self.queue.push(signal(content)).is_ok_and(|has_to_be_queued| has_to_be_queued) {
            assert_eq!(self.queued.fetch_add(1, Ordering::AcqRel), 0, "it is in one queue at most");
        }
    }

    /// As a worker does it, if the process is in its queue.
    fn run(&self) {
        if self.queued.compare_exchange(1, 0, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        loop {
            let mut handled = self.handled.lock().unwrap();
            handled.extend(self.queue.take().map(|queued| queued.content.get()));
            drop(handled);
            if self.queue.rest() {
                return;
            }
        }
    }

    /// As the thread outside does it.
    fn look(&self) {
        let mut handled = self.handled.lock().unwrap();
        handled.extend(self.queue.take_early().map(|queued| queued.content.get()));
    }
}

/// A thread outside takes what has arrived, while a sender sends and a worker has the process or is about to.
#[test]
fn signals_that_are_taken_early_are_handled_once_in_order_and_the_process_rests_afterwards() {
    loom::model(|| {
        let queue = SignalQueue::new();
        drop(queue.take());
        assert!(queue.rest());
        let (queued, handled) = (AtomicUsize::new(0), loom::sync::Mutex::default());
        let port = Arc::new(Port { queue, queued, handled });
        let (sender, outside) = (port.clone(), port.clone());
        let sending = thread::spawn(move || {
            sender.send(1);
            sender.send(2);
            sender.run();
        });
        let looking = thread::spawn(move || {
            outside.look();
            outside.look();
        });
        sending.join().unwrap();
        looking.join().unwrap();
        port.run();
        assert_eq!(*port.handled.lock().unwrap(), [1, 2]);
        assert!(port.queue.is_idle(), "it rests");
        port.look();
        assert!(port.queue.is_idle(), "looking at one that rests changes nothing");
    });
}
