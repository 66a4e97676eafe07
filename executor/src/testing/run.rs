//! Runs several tests at a time, each in its own node.
//!
//! Processes that a test leaves running live until the last test has ended. Lunatic behaves the same, because all its
//! tests share one node: a server that the first test starts answers the others.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use lunatic_resources::sync::{Mutex, MutexGuard};

use crate::error::RuntimeError;
use lunatic_core::node::ExitStatus;
use lunatic_host::Capable;
use lunatic_scheduler::SystemClock;
use lunatic_scheduler::SystemEntropy;

use crate::runtime::{LeftBehind, NodeTemplate};

use super::capture::{Capture, Kept};
use super::verdict::TestResult;
use super::{Test, TestBinary, TestError, TestKind, ordinary};

/// Options for running tests.
#[derive(Clone, Copy, Debug)]
pub struct TestOptions {
    /// The number of tests run at a time. They share the workers, and each has at least one.
    pub threads: NonZeroUsize,
    /// Whether output is kept instead of passed on as it is written.
    pub capture: bool,
    /// The time after which a test is reported as slow. Unused if tests run one at a time.
    pub patience: Duration,
}

/// An event during a test run.
#[derive(Clone, Copy, Debug)]
pub enum TestEvent<'a> {
    /// A test has started.
    Started(&'a Test),
    /// A test has exceeded `patience` and continues to run.
    Slow(&'a Test),
    /// A test has ended, or was not run.
    Finished(&'a Test, &'a TestResult),
}

/// A message from a test thread. Its index is the test's position in the list.
enum Message {
    Started(usize),
    Finished(usize, TestResult),
}

/// The nodes in which tests have left processes.
#[derive(Default)]
struct Rest(Mutex<Vec<LeftBehind>>);

impl Rest {
    /// Keeps the node of a test and ends all nodes without processes.
    fn keep(&self, left: LeftBehind) {
        let over: Vec<LeftBehind> = {
            let mut kept = self.lock();
            kept.push(left);
            kept.extract_if(.., |left| !left.has_processes()).collect()
        };
        over.into_iter().for_each(|left| _ = left.end());
    }

    fn lock(&self) -> MutexGuard<'_, Vec<LeftBehind>> {
        // Only whole nodes are added or removed under it.
        self.0.lock()
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let left = std::mem::take(&mut *self.lock());
        left.into_iter().for_each(|left| _ = left.end());
    }
}

impl TestBinary {
    /// Runs these tests in their order and reports events in the order in which they happen.
    ///
    /// # Errors
    /// Returns an error if the system refuses every thread. A later error fails the test in which it occurs.
    pub fn run(
        &self,
        tests: &[Test],
        options: TestOptions,
        mut tell: impl FnMut(TestEvent<'_>),
    ) -> Result<(), TestError> {
        let threads = options.threads.get().min(tests.len());
        let workers = (self.template.workers / threads.max(1)).max(1);
        let rest = Rest::default();
        let run = |test: &Test| self.run_test(test, workers, options.capture, &rest);
        if options.threads.get() == 1 {
            // Run on this thread, so that events of a test precede its own output.
            for test in tests {
                tell(TestEvent::Started(test));
                tell(TestEvent::Finished(test, &run(test)));
            }
            return Ok(());
        }
        let next = AtomicUsize::new(0);
        let (sender, messages) = channel();
        std::thread::scope(|scope| {
            for index in 0..threads {
                let (sender, next) = (sender.clone(), &next);
                let work = move || {
                    while let Some(index) = take(next, tests.len()) {
                        send(&sender, Message::Started(index));
                        send(&sender, Message::Finished(index, run(&tests[index])));
                    }
                };
                let started = std::thread::Builder::new().name("tests".into()).spawn_scoped(scope, work);
                // Fewer threads suffice.
                if let (Err(error), 0) = (started, index) {
                    return Err(RuntimeError::from(error).into());
                }
            }
            drop(sender);
            follow(tests, &messages, options.patience, tell);
            Ok(())
        })
    }

    fn run_test(&self, test: &Test, workers: usize, capture: bool, rest: &Rest) -> TestResult {
        if test.is_ignored {
            return TestResult::ignored();
        }
        let args = &self.template.config.caps().args;
        let args = match test.entry {
            TestKind::Export(_) => args.clone(),
            TestKind::Ordinary => ordinary::arguments_for(args, &test.name),
        };
        let (status, kept) = match self.run_in_node(test.entry, args, workers, capture) {
            Ok((status, kept, left)) => {
                left.into_iter().for_each(|left| rest.keep(left));
                (status, kept)
            }
            Err(error) => {
                return TestResult::failed(Vec::new(), &format!("note: the test cannot be run: {error}"));
            }
        };
        match test.entry {
            TestKind::Export(_) => TestResult::of(status, test.should_panic.as_deref(), kept),
            TestKind::Ordinary => ordinary::result(&test.name, status, kept),
        }
    }

    /// Runs a test or the harness in its own node. Returns the exit status of its first process, the output kept
    /// until then, and the node with the processes left behind.
    pub(super) fn run_in_node(
        &self,
        entry: TestKind,
        args: Vec<String>,
        workers: usize,
        capture: bool,
    ) -> Result<(ExitStatus, Kept, Option<LeftBehind>), RuntimeError> {
        let mut config = self.template.config.for_another_node();
        config.caps_mut().args = args;
        let config = Arc::new(config);
        let template = NodeTemplate { workers, config, ..self.template.clone() };
        let function = match entry {
            TestKind::Export(function) => function,
            TestKind::Ordinary => self.program.start.expect("there are ordinary tests only behind it"),
        };
        let output = Capture::default();
        let (clock, streams) = (Box::new(SystemClock::default()), output.streams(capture));
        let runtime = template.build(clock, Box::new(SystemEntropy), streams)?;
        let (status, left) = runtime.run_and_leave(&self.program.code, function);
        Ok((status, output.take(), left))
    }
}

/// Returns the index of the next test, if there is one.
fn take(next: &AtomicUsize, tests: usize) -> Option<usize> {
    // Relaxed: this number orders nothing else.
    Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&index| index < tests)
}

fn send(sender: &Sender<Message>, message: Message) {
    // The receiver outlives all senders unless it panics, and then nothing needs the message.
    let _ = sender.send(message);
}

/// Reports events from the threads, and slow tests.
fn follow(
    tests: &[Test],
    messages: &Receiver<Message>,
    patience: Duration,
    mut tell: impl FnMut(TestEvent<'_>),
) {
    // Sorted by start time, so the first test is the next to become slow.
    let mut running: Vec<(usize, Instant)> = Vec::new();
    loop {
        let next = running.first().map(|(_, started)| patience.saturating_sub(started.elapsed()));
        let message = match next {
            Some(left) => messages.recv_timeout(left),
            None => messages.recv().map_err(RecvTimeoutError::from),
        };
        match message {
            Ok(Message::Started(index)) => {
                running.push((index, Instant::now()));
                tell(TestEvent::Started(&tests[index]));
            }
            Ok(Message::Finished(index, result)) => {
                running.retain(|&(other, _)| other != index);
                tell(TestEvent::Finished(&tests[index], &result));
            }
            Err(RecvTimeoutError::Timeout) => tell(TestEvent::Slow(&tests[running.remove(0).0])),
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
