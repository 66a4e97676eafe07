//! What the command takes of the machine: spinners use as many workers as there are, and no more; a killed one uses
//! nothing.
//!
//! Measured is what the command *wants*: the time its threads ran, and the time they were runnable and had no
//! processor, as the kernel counts both. So the figures do not depend on what else the machine has to do.
#![cfg(target_os = "linux")]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Stdio};
use std::time::{Duration, Instant};

use common::{command, with_app};

/// How long a figure is measured. The kernel counts a wait when it is over: the window is long against one.
const WINDOW: Duration = Duration::from_millis(1000);

/// Two spinners, which are killed after 3 s. It says `spinning` and `killed`.
const SPINNERS: &str = r#"(module
    (import "lunatic::process" "spawn"
      (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
    (import "lunatic::process" "kill" (func $kill (param i64)))
    (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "spin" "spinning\n" "killed\n")
    (func $say (param i32 i32)
      (i32.store (i32.const 32) (local.get 0))
      (i32.store (i32.const 36) (local.get 1))
      (drop (call $fd_write (i32.const 1) (i32.const 32) (i32.const 1) (i32.const 40))))
    (func $spinner (param $id i32)
      (drop (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
        (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 0) (local.get $id))))
    (func (export "spin") (loop $forever (br $forever)))
    (func (export "_start")
      (call $spinner (i32.const 64))
      (call $spinner (i32.const 72))
      (call $say (i32.const 4) (i32.const 9))
      (call $sleep (i64.const 3000))
      (call $kill (i64.load (i32.const 64)))
      (call $kill (i64.load (i32.const 72)))
      (call $say (i32.const 13) (i32.const 7))
      (call $sleep (i64.const 1000000))))"#;

/// The command while it runs [`SPINNERS`]; it ends with the test.
struct Spinners {
    child: Child,
    said: BufReader<ChildStdout>,
}

impl Spinners {
    fn start(workers: &str) -> Spinners {
        let directory = with_app(SPINNERS);
        let exec = env!("CARGO_BIN_EXE_lunatic-exec");
        let mut command = command(exec, directory.path(), &["--workers", workers, "app.wasm"]);
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the command starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut spinners = Spinners { child, said: BufReader::new(stdout) };
        spinners.expect("spinning");
        spinners
    }

    /// Waits until it says a line.
    fn expect(&mut self, expected: &str) {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it speaks");
        assert_eq!(line.trim_end(), expected);
    }

    /// How many processors it wants, over the window from now on.
    fn demand(&self) -> f64 {
        let (before, started) = (self.wanted(), Instant::now());
        std::thread::sleep(WINDOW);
        let wanted = self.wanted().saturating_sub(before);
        wanted.as_secs_f64() / started.elapsed().as_secs_f64()
    }

    /// For how long its threads have run or wanted to.
    fn wanted(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        threads
            .map(|thread| {
                let path = thread.expect("it is readable").path().join("schedstat");
                // A thread may end meanwhile; the workers do not.
                let text = fs::read_to_string(path).unwrap_or_default();
                let times = text.split(' ').take(2).map(|time| time.parse().unwrap_or(0));
                Duration::from_nanos(times.sum())
            })
            .sum()
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        // It may have ended; then there is nothing to kill, and still something to wait for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether this kernel says how long threads run and wait.
fn is_measurable() -> bool {
    let measurable = fs::read_to_string("/proc/self/schedstat").is_ok_and(|text| !text.starts_with("0 "));
    if !measurable {
        common::skip("this kernel does not count what threads wait for a processor");
    }
    measurable
}

#[test]
fn two_spinners_use_two_workers_and_killed_ones_none() {
    if !is_measurable() {
        return;
    }
    let mut spinners = Spinners::start("2");
    let demand = spinners.demand();
    assert!((1.5..2.5).contains(&demand), "two spinners want {demand:.2} processors");
    spinners.expect("killed");
    let demand = spinners.demand();
    assert!(demand < 0.1, "killed spinners want {demand:.2} processors");
}

#[test]
fn two_spinners_share_one_worker() {
    if !is_measurable() {
        return;
    }
    let mut spinners = Spinners::start("1");
    let demand = spinners.demand();
    assert!((0.7..1.2).contains(&demand), "two spinners on one worker want {demand:.2} processors");
    spinners.expect("killed");
    let demand = spinners.demand();
    assert!(demand < 0.1, "killed spinners want {demand:.2} processors");
}
