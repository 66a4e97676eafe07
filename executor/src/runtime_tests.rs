//! Processes and blocking work, with work that ends when the test says so: no real file offers that.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lunatic_jit::{HostCall, RawValue};

use crate::config::{RuntimeConfig, first_process};
use crate::program::Loader;
use crate::runtime::{NodeTemplate, Runtime, StandardStreams};
use lunatic_core::node::Terminals;
use lunatic_core::process::{Finish, Reason};
use lunatic_host::Guest;
use lunatic_scheduler::SystemClock;
use lunatic_scheduler::SystemEntropy;
use lunatic_stdio::{Input, Output};

/// Longer than any step takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// State that the test shares with the guests' host functions.
struct Work {
    /// Names of the threads on which guests requested work.
    askers: Mutex<Vec<Option<String>>>,
    /// Sends a message when endless work begins.
    begun: Sender<()>,
    /// Blocks the endless work until the test drops the other end.
    end: Mutex<Receiver<()>>,
}

/// Children do work, report it, and start work that does not end. The parent kills each of them and receives its
/// death, and there is still a thread for the work of others.
const GUEST: &str = r#"(module
  (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "kill" (func $kill (param i64)))
  (import "lunatic::process" "monitor" (func $monitor (param i64)))
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "test" "work" (func $work))
  (import "test" "wait_until_all_block" (func $wait_until_all_block))
  (import "test" "block" (func $block))
  (memory (export "memory") 1)
  (data (i32.const 16) "child")
  (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
  (func $next (result i32) (call $receive (i32.const 0) (i32.const 0) (i64.const 60000)))
  (func $work_much (local $i i32)
    (loop $more
      (call $work)
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 10)))))
  (func (export "child")
    (call $work_much)
    (call $create_data (i64.const 0) (i64.const 0))
    (drop (call $send (i64.const 1)))
    (call $block)
    (unreachable))
  (func (export "_start") (local $at i32)
    (local.set $at (i32.const 64))
    (loop $more
      (call $assert (i32.eqz (call $spawn (i64.const 0) (i64.const -1) (i64.const -1)
        (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 0) (local.get $at))))
      (call $assert (i32.eqz (call $next)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 96))))
    (call $wait_until_all_block)
    (local.set $at (i32.const 64))
    (loop $more
      (call $work_much)
      (call $monitor (i64.load (local.get $at)))
      (call $kill (i64.load (local.get $at)))
      (call $assert (i32.eq (call $next) (i32.const 2)))
      (br_if $more (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 8))) (i32.const 96))))))"#;

/// Number of children, more than one worker has seats.
const CHILDREN: usize = 4;

fn asks(guest: &mut Guest<'_>, work: impl FnOnce() + Send + 'static) -> HostCall<()> {
    guest.data_mut().wait_for_job(move || {
        work();
        let finish: Finish = Box::new(|_, _| Ok(HostCall::Return(RawValue::default())));
        finish
    });
    HostCall::Suspend
}

fn runtime(workers: usize, work: &Arc<Work>, begun: Receiver<()>) -> Runtime {
    let config = RuntimeConfig::default().workers(workers);
    let mut loader = Loader::new(&config, false).unwrap();
    let (of_work, of_block, begun) = (work.clone(), work.clone(), Mutex::new(begun));
    let linker = loader.linker_mut();
    linker.func("test", "work", move |guest: &mut Guest<'_>| {
        of_work.askers.lock().unwrap().push(std::thread::current().name().map(String::from));
        asks(guest, || ())
    });
    linker.func("test", "block", move |guest: &mut Guest<'_>| {
        let work = of_block.clone();
        asks(guest, move || {
            work.begun.send(()).unwrap();
            // One job waits for the test, and the others for the lock that it holds.
            let _ = work.end.lock().unwrap().recv();
        })
    });
    linker.func("test", "wait_until_all_block", move |_: &mut Guest<'_>| {
        let begun = begun.lock().unwrap();
        (0..CHILDREN).for_each(|_| begun.recv_timeout(PATIENCE).unwrap());
    });
    build(config, loader)
}

/// Creates a node with these host functions.
fn build(config: RuntimeConfig, loader: Loader) -> Runtime {
    let (workers, slice, seed) = (config.workers, config.slice, config.seed);
    let loader = Arc::new(loader);
    let template = NodeTemplate {
        config: Arc::new(first_process(config, &loader.functions).unwrap()),
        loader,
        workers,
        slice,
        seed,
        max_total_memory: None,
    };
    let streams = StandardStreams {
        stdin: Input::awaited(),
        stdout: Output::immediate(Box::new(std::io::sink())),
        stderr: Output::immediate(Box::new(std::io::stderr())),
        terminals: Terminals::default(),
    };
    template.build(Box::new(SystemClock::default()), Box::new(SystemEntropy), streams).unwrap()
}

#[test]
fn a_process_that_is_killed_during_endless_work_is_gone_at_once() {
    for workers in [1, 2, 4] {
        let ((begins, begun), (end, ended)) = (channel(), channel());
        let work = Arc::new(Work { askers: Mutex::default(), begun: begins, end: Mutex::new(ended) });
        let runtime = runtime(workers, &work, begun);
        let program = runtime.load(&wat::parse_str(GUEST).unwrap()).unwrap();
        let (sender, status) = channel();
        std::thread::spawn(move || sender.send(runtime.run(&program).0));
        assert_eq!(status.recv_timeout(PATIENCE), Ok(0), "with {workers} workers");
        // End the endless work only after the program has ended.
        drop(end);
        let askers = work.askers.lock().unwrap();
        let following = askers.iter().filter(|name| name.as_deref() == Some("blocking")).count();
        // The first requests came from a worker, and so may some later ones while all seats were taken.
        assert!(following > askers.len() / 2, "{following} of {}", askers.len());
    }
}

/// Panics when it is dropped, like a bug in teardown would.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        // A second panic during the first would abort the test.
        if !std::thread::panicking() {
            panic!("the bomb");
        }
    }
}

/// Spawns children whose teardown panics, one after the other, linked and monitored. Receives the end of each, and
/// still has a worker for itself and the next child.
const GUEST_WITH_BOMBS: &str = r#"(module
  (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
  (import "lunatic::process" "kill" (func $kill (param i64)))
  (import "lunatic::process" "monitor" (func $monitor (param i64)))
  (import "lunatic::process" "die_when_link_dies" (func $die_when_link_dies (param i32)))
  (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "test" "wait_with_a_bomb" (func $wait_with_a_bomb))
  (memory (export "memory") 1)
  (data (i32.const 16) "child")
  (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
  (func (export "child") (call $wait_with_a_bomb))
  (func (export "_start") (local $i i32)
    (call $die_when_link_dies (i32.const 0))
    (loop $more
      (call $assert (i32.eqz (call $spawn (i64.const 7) (i64.const -1) (i64.const -1)
        (i32.const 16) (i32.const 5) (i32.const 0) (i32.const 0) (i32.const 64))))
      (call $monitor (i64.load (i32.const 64)))
      (call $sleep (i64.const 5))
      (call $kill (i64.load (i32.const 64)))
      (call $assert (i32.eq (call $receive (i32.const 0) (i32.const 0) (i64.const 60000)) (i32.const 1)))
      (call $assert (i32.eq (call $receive (i32.const 0) (i32.const 0) (i64.const 60000)) (i32.const 2)))
      (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 5))))))"#;

#[test]
fn a_panic_in_teardown_does_not_lose_the_notifications_of_the_end() {
    for workers in [1, 2] {
        let config = RuntimeConfig::default().workers(workers);
        let mut loader = Loader::new(&config, false).unwrap();
        loader.linker_mut().func("test", "wait_with_a_bomb", |guest: &mut Guest<'_>| {
            let bomb = Bomb;
            let finish: Finish = Box::new(move |_, _| {
                std::mem::forget(bomb);
                Ok(HostCall::Return(RawValue::default()))
            });
            guest.data_mut().wait_for(Reason::Time(finish), Some(u64::MAX));
            HostCall::<()>::Suspend
        });
        let runtime = build(config, loader);
        let program = runtime.load(&wat::parse_str(GUEST_WITH_BOMBS).unwrap()).unwrap();
        let (sender, status) = channel();
        std::thread::spawn(move || sender.send(runtime.run(&program).0));
        assert_eq!(status.recv_timeout(PATIENCE), Ok(0), "with {workers} workers");
    }
}
