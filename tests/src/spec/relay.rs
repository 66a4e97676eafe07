//! Two threads that hand a store to each other, so that each slice of a call runs on a different thread than the one before.
//!
//! The other thread resumes each yield. A value that stayed in the registers or the thread-local state of a thread would therefore
//! be wrong at the next charge.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;

use lunatic_jit::{Progress, Resume, Store, Trap, Value};

/// A call in progress.
struct Leg {
    store: Store<()>,
    /// How often the store has changed threads in this call.
    moves: u64,
}

enum Message {
    Run(Leg),
    Stop,
}

/// The result of a call.
pub(super) struct Finish {
    pub(super) store: Store<()>,
    pub(super) result: Result<Vec<Value>, Box<Trap>>,
    /// How often the store has changed threads.
    pub(super) moves: u64,
}

/// The two threads.
pub(super) struct Relay {
    to: [Sender<Message>; 2],
    finished: Receiver<Finish>,
    threads: Vec<JoinHandle<()>>,
}

impl Relay {
    /// Starts both threads.
    pub(super) fn new() -> Relay {
        let ((to_first, first), (to_second, second)) = (channel(), channel());
        let (finish, finished) = channel();
        let start = |from: Receiver<Message>, to: Sender<Message>| {
            let finish = finish.clone();
            std::thread::spawn(move || run(&from, &to, &finish))
        };
        let threads = vec![start(first, to_second.clone()), start(second, to_first.clone())];
        Relay { to: [to_first, to_second], finished, threads }
    }

    /// Runs the call that has been begun in the store to its end, suspended at every charge.
    pub(super) fn run(&self, store: Store<()>) -> Finish {
        self.to[0].send(Message::Run(Leg { store, moves: 0 })).expect("the thread runs until it is stopped");
        self.finished.recv().expect("as above")
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for to in &self.to {
            // A thread that has panicked no longer exists.
            let _ = to.send(Message::Stop);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// The loop of each thread: one slice per turn.
fn run(from: &Receiver<Message>, to: &Sender<Message>, finish: &Sender<Finish>) {
    while let Ok(Message::Run(mut leg)) = from.recv() {
        let result = match leg.store.resume(Resume::Continue, 0) {
            Progress::Yielded => {
                leg.moves += 1;
                // This fails only if the other thread has panicked, and then the runner fails, too.
                let _ = to.send(Message::Run(leg));
                continue;
            }
            Progress::Returned => Ok(leg.store.results().to_vec()),
            Progress::Trapped(trap) => Err(trap),
            Progress::Suspended => unreachable!("no host function is linked here"),
        };
        let _ = finish.send(Finish { store: leg.store, result, moves: leg.moves });
    }
}
