//! The command's demand for processors: processes that compute use as many workers as there are, and killed ones use none.
//!
//! The test measures what the command *wants*: the time for which its threads ran, and the time for which they were runnable
//! without a processor. The kernel counts both. The unit is what a thread of this test wants meanwhile, which computes all the
//! time. So the result depends neither on what else the machine does, nor on a clock.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdin, ChildStdout, Stdio};
use std::time::Duration;

use common::{Killed, command, with_app};

/// For how long the computing thread of this test wants a processor. The kernel counts a wait when it is over, so this is long
/// compared with one wait.
const WINDOW: Duration = Duration::from_millis(1000);

/// Prints `spinning` and runs two processes that compute. After a byte of standard input, it kills them and prints `killed`.
const SPINNERS: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "spin" "spinning\n" "killed\n")
    (func $say (param i32 i32)
      (i32.store (i32.const 32) (local.get 0))
      (i32.store (i32.const 36) (local.get 1))
      (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40))))
    (func $spinner (param $id i32)
      (drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1)
        (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0) (local.get $id))))
    (func (export "spin") (loop $forever (br $forever)))
    (func (export "_start")
      (call $spinner (i32.const 64))
      (call $spinner (i32.const 72))
      (call $say (i32.const 4) (i32.const 9))
      (i32.store (i32.const 32) (i32.const 48))
      (i32.store (i32.const 36) (i32.const 1))
      (drop (call $fd_read (i32.const 0) (i32.const 32) (i32.const 1) (i32.const 40)))
      (call $kill (i64.load (i32.const 64)))
      (call $kill (i64.load (i32.const 72)))
      (call $say (i32.const 13) (i32.const 7))
      (call $sleep (i64.const 1000000))))"#;

/// The command while it runs [`SPINNERS`]. It is killed when the test ends.
struct Spinners {
    child: Killed,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Spinners {
    fn start(workers: &str) -> Spinners {
        let directory = with_app(SPINNERS);
        let exec = env!("CARGO_BIN_EXE_lunatic-exec");
        let mut command = command(exec, directory.path(), &["--workers", workers, "app.wasm"]);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("the command starts");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is piped"));
        let mut spinners = Spinners { child: Killed(child), stdin, stdout };
        spinners.expect("spinning");
        spinners
    }

    /// Kills the computing processes.
    fn kill(&mut self) {
        self.stdin.write_all(b"k").expect("the program reads");
        self.expect("killed");
    }

    /// Waits for a line of output.
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("the output is text");
        assert_eq!(line.trim_end(), expected);
    }

    /// The number of processors that the command wants, from now on for one window.
    fn demand(&self) -> f64 {
        let before = self.wanted();
        let window = std::thread::spawn(compute_for_a_window).join().expect("the thread ends");
        self.wanted().saturating_sub(before).as_secs_f64() / window.as_secs_f64()
    }

    /// The time for which the command's threads have run, or have been runnable.
    fn wanted(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("the command runs");
        threads.map(|thread| wanted_by(&thread.expect("it is readable").path())).sum()
    }
}

/// The time for which a thread has run, or has been runnable, by its directory. Zero if the thread has ended.
fn wanted_by(thread: &Path) -> Duration {
    let text = fs::read_to_string(thread.join("schedstat")).unwrap_or_default();
    let times = text.split(' ').take(2).map(|time| time.parse().unwrap_or(0));
    Duration::from_nanos(times.sum())
}

/// Computes until the kernel says that this thread has wanted a processor for [`WINDOW`]. Returns for how long exactly.
fn compute_for_a_window() -> Duration {
    let this = Path::new("/proc/thread-self");
    let before = wanted_by(this);
    loop {
        (0..1_000_000u32).for_each(|number| {
            std::hint::black_box(number);
        });
        let window = wanted_by(this) - before;
        if window >= WINDOW {
            return window;
        }
    }
}

/// Whether this kernel counts how long threads run and wait.
fn is_measurable() -> bool {
    let measurable = fs::read_to_string("/proc/self/schedstat").is_ok_and(|text| !text.starts_with("0 "));
    if !measurable {
        common::skip("this kernel does not count how long threads wait for a processor");
    }
    measurable
}

#[test]
fn two_computing_processes_use_two_workers_and_killed_ones_none() {
    if !is_measurable() {
        return;
    }
    let mut spinners = Spinners::start("2");
    let demand = spinners.demand();
    assert!((1.5..2.5).contains(&demand), "two spinners want {demand:.2} processors");
    spinners.kill();
    let demand = spinners.demand();
    assert!(demand < 0.1, "killed spinners want {demand:.2} processors");
}

#[test]
fn two_computing_processes_share_one_worker() {
    if !is_measurable() {
        return;
    }
    let mut spinners = Spinners::start("1");
    let demand = spinners.demand();
    assert!((0.7..1.2).contains(&demand), "two spinners on one worker want {demand:.2} processors");
    spinners.kill();
    let demand = spinners.demand();
    assert!(demand < 0.1, "killed spinners want {demand:.2} processors");
}
