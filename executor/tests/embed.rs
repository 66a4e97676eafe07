//! The embedding API: guarantees for programs that run a node of their own.

use std::future::{Future, IntoFuture};
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use lunatic_executor::embed::host::{CALL, Extensions, Fault, Guest, GuestState, Host, State, parts};
use lunatic_executor::embed::{
    CallError, Ended, Engine, ExitKind, Function, Node, ReceiveError, Sandbox, SpawnError, Value,
};
use lunatic_executor::{Program, func};

/// Longer than any operation takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

const PLUGIN: &str = r#"(module
  (import "lunatic::message" "create_data" (func $create_data (param i64 i64)))
  (import "lunatic::message" "write_data" (func $write_data (param i32 i32) (result i32)))
  (import "lunatic::message" "data_size" (func $data_size (result i64)))
  (import "lunatic::message" "read_data" (func $read_data (param i32 i32) (result i32)))
  (import "lunatic::message" "send" (func $send (param i64) (result i32)))
  (import "lunatic::message" "receive" (func $receive (param i32 i32 i64) (result i32)))
  (import "lunatic::process" "sleep_ms" (func $sleep (param i64)))
  (memory (export "memory") 1)
  (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
  (func (export "several") (param f64) (result f64 i64) (local.get 0) (i64.const 7))
  (func (export "endless") (loop $more (br $more)))
  (func (export "trap") (unreachable))
  (func (export "sleeper") (param i64) (result i32) (call $sleep (local.get 0)) (i32.const 1))
  (func (export "grow") (param i32) (result i32) (memory.grow (local.get 0)))
  ;; Answers each message with the same bytes, to the process that it was started with.
  (func (export "echo") (param $to i64) (local $size i32)
    (loop $more
      (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
      (local.set $size (i32.wrap_i64 (call $data_size)))
      (drop (call $read_data (i32.const 64) (local.get $size)))
      (call $create_data (i64.const 5) (i64.const 0))
      (drop (call $write_data (i32.const 64) (local.get $size)))
      (drop (call $send (local.get $to)))
      (br $more)))
  (func (export "answer") (param $to i64) (param $tag i64)
    (call $create_data (local.get $tag) (i64.const 0))
    (drop (call $send (local.get $to))))
  (func (export "flood") (param $to i64)
    (loop $more
      (call $create_data (i64.const 0) (i64.const 0))
      (drop (call $write_data (i32.const 0) (i32.const 65536)))
      (drop (call $send (local.get $to)))
      (br $more))))"#;

fn wasm(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

fn node_and_plugin() -> (Node, Program) {
    let node = Node::builder().workers(2).build().unwrap();
    let program = node.load(&wasm(PLUGIN)).unwrap();
    (node, program)
}

#[test]
fn a_call_returns_the_results_of_a_fresh_process() {
    let (node, program) = node_and_plugin();
    let sandbox = Sandbox::new();
    let add = node.function(&program, "add", &sandbox).unwrap();
    for number in 0..100 {
        assert_eq!(add.call(&[Value::I32(number), Value::I32(1)]).unwrap(), [Value::I32(number + 1)]);
    }
    let results = node.call(&program, "several", &[Value::F64(1.5f64.to_bits())], &sandbox).unwrap();
    assert_eq!(results, [Value::F64(1.5f64.to_bits()), Value::I64(7)]);
    assert_eq!(node.statistics().processes, 0);
}

#[test]
fn a_call_that_waits_goes_on_beside_the_caller() {
    let (node, program) = node_and_plugin();
    let results = node.call(&program, "sleeper", &[Value::I64(20)], &Sandbox::new()).unwrap();
    assert_eq!(results, [Value::I32(1)]);
}

#[test]
fn a_call_that_never_ends_ends_by_its_limit() {
    let (node, program) = node_and_plugin();
    let sandbox = Sandbox::new().reductions(1_000_000);
    let error = node.call(&program, "endless", &[], &sandbox).unwrap_err();
    let CallError::Exit(exit) = error else { panic!("{error}") };
    assert!(matches!(exit.kind, ExitKind::LimitExceeded(_)), "{exit:?}");
    assert!(exit.report.as_ref().is_some_and(|report| report.contains("endless")), "{exit:?}");
}

#[test]
fn an_endless_process_is_killed_and_others_run_beside_it() {
    let (node, program) = node_and_plugin();
    let sandbox = Sandbox::new();
    let endless: Vec<_> = (0..4).map(|_| node.spawn(&program, "endless", &[], &sandbox).unwrap()).collect();
    let sleeper = node.spawn(&program, "sleeper", &[Value::I64(1)], &sandbox).unwrap();
    assert_eq!(sleeper.wait_for(PATIENCE).unwrap().results, [Value::I32(1)]);
    assert_eq!(endless[0].exit().map(|exit| exit.kind.clone()), None);
    for process in &endless {
        process.kill();
        assert_eq!(process.wait_for(PATIENCE).unwrap().kind, ExitKind::Killed);
        assert_eq!(process.send(0, b""), Err(Ended));
    }
}

#[test]
fn memory_is_limited() {
    let (node, program) = node_and_plugin();
    let grow = |sandbox| node.call(&program, "grow", &[Value::I32(10)], &sandbox).unwrap();
    assert_eq!(grow(Sandbox::new()), [Value::I32(1)]);
    assert_eq!(grow(Sandbox::new().memory(5 << 16)), [Value::I32(-1)]);
}

#[test]
fn messages_go_both_ways() {
    let (node, program) = node_and_plugin();
    let mailbox = node.mailbox().unwrap();
    assert_eq!(mailbox.try_receive(), Err(ReceiveError::Empty));
    let echo = node.spawn(&program, "echo", &[Value::I64(mailbox.id() as i64)], &Sandbox::new()).unwrap();
    for number in 0..1000u32 {
        echo.send(0, &number.to_le_bytes()).unwrap();
    }
    for number in 0..1000u32 {
        let message = mailbox.receive_for(PATIENCE).unwrap();
        assert_eq!((message.tag, &message.bytes[..]), (5, &number.to_le_bytes()[..]));
    }
    assert_eq!(mailbox.receive_for(Duration::from_millis(5)), Err(ReceiveError::Empty));
    assert_eq!(echo.exit().map(|exit| exit.kind.clone()), None);
}

#[test]
fn messages_sent_before_the_end_arrive_before_it() {
    let (node, program) = node_and_plugin();
    let mailbox = node.mailbox().unwrap();
    let answer = node.function(&program, "answer", &Sandbox::new()).unwrap();
    for number in 0..500 {
        let process = answer.spawn(&[Value::I64(mailbox.id() as i64), Value::I64(number)]).unwrap();
        process.wait();
        assert_eq!(mailbox.try_receive().map(|message| message.tag), Ok(number));
    }
}

#[test]
fn a_flooded_mailbox_is_closed_and_its_node_continues() {
    let node = Node::builder().workers(2).max_mailbox(1 << 20).build().unwrap();
    let program = node.load(&wasm(PLUGIN)).unwrap();
    let mailbox = node.mailbox().unwrap();
    let flood = node.spawn(&program, "flood", &[Value::I64(mailbox.id() as i64)], &Sandbox::new()).unwrap();
    loop {
        match mailbox.try_receive() {
            Err(ReceiveError::Closed) => break,
            // The receiver takes fewer messages than arrive.
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    flood.kill();
    flood.wait_for(PATIENCE).unwrap();
    let results = node.call(&program, "add", &[Value::I32(1), Value::I32(1)], &Sandbox::new()).unwrap();
    assert_eq!(results, [Value::I32(2)]);
}

#[test]
fn a_dropped_mailbox_is_a_dead_process() {
    let (node, _) = node_and_plugin();
    let mailbox = node.mailbox().unwrap();
    let (id, other) = (mailbox.id(), mailbox.clone());
    node.send(id, 1, b"x").unwrap();
    drop(mailbox);
    assert_eq!(other.receive().unwrap().bytes, b"x");
    drop(other);
    let patience = std::time::Instant::now() + PATIENCE;
    while node.send(id, 1, b"x").is_ok() {
        assert!(std::time::Instant::now() < patience);
        std::thread::yield_now();
    }
}

#[test]
fn dropping_a_node_ends_its_processes_and_wakes_waiters() {
    let (node, program) = node_and_plugin();
    let mailbox = node.mailbox().unwrap();
    let endless = node.spawn(&program, "endless", &[], &Sandbox::new()).unwrap();
    let sleeper = node.spawn(&program, "sleeper", &[Value::I64(1 << 40)], &Sandbox::new()).unwrap();
    let receiving = std::thread::spawn(move || mailbox.receive());
    drop((node, program));
    assert_eq!(endless.wait_for(PATIENCE).unwrap().kind, ExitKind::Stopped);
    assert_eq!(sleeper.wait_for(PATIENCE).unwrap().kind, ExitKind::Stopped);
    assert_eq!(receiving.join().unwrap(), Err(ReceiveError::Closed));
    assert_eq!(endless.send(0, b"late"), Err(Ended));
}

#[test]
fn exits_are_observed() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let node = Node::builder()
        .workers(1)
        .on_exit(move |exit| {
            log.lock().unwrap().push((exit.process, exit.kind.clone(), exit.report.is_some()));
            assert!(exit.kind != ExitKind::Status(9), "a panic of the observer ends nothing");
        })
        .build()
        .unwrap();
    let program = node.load(&wasm(PLUGIN)).unwrap();
    let trap = node.spawn(&program, "trap", &[], &Sandbox::new()).unwrap();
    let exit = trap.wait_for(PATIENCE).unwrap();
    assert!(matches!(&exit.kind, ExitKind::Trapped(text) if text.contains("unreachable")), "{exit:?}");
    assert!(exit.report.as_ref().unwrap().contains("trap"), "{exit:?}");
    node.call(&program, "add", &[Value::I32(1), Value::I32(1)], &Sandbox::new()).unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!((seen[0].0, seen[0].2), (trap.id(), true));
    assert_eq!((&seen[1].1, seen[1].2), (&ExitKind::Normal, false));
}

#[derive(Default)]
struct Counter(u32);

impl State for Counter {}

/// An engine with `app.count`, which counts how often a process has called it, and `app.length`.
fn engine_with_functions() -> Engine {
    Engine::builder()
        .host(|host| {
            func!(host, "app", "count", CALL, |guest: &mut Guest<'_>| {
                let counter = guest.state::<Counter>();
                counter.0 += 1;
                Ok::<_, Fault>(counter.0)
            });
            func!(
                host,
                "app",
                "length",
                CALL.range(0, 16, "a name"),
                |guest: &mut Guest<'_>, at: u32, length: u32| {
                    let (memory, _) = parts(guest)?;
                    Ok::<_, Fault>(memory.str(at, length)?.len() as u32)
                }
            );
        })
        .build()
        .unwrap()
}

const COUNTING: &str = r#"(module
  (import "app" "count" (func $count (result i32)))
  (import "app" "length" (func $length (param i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "twice") (result i32) (drop (call $count)) (call $count))
  (func (export "length") (param i32 i32) (result i32) (call $length (local.get 0) (local.get 1))))"#;

#[test]
fn host_functions_have_state_of_their_own_for_each_process() {
    let engine = engine_with_functions();
    let node = Node::builder().engine(&engine).workers(2).build().unwrap();
    let program = node.load(&wasm(COUNTING)).unwrap();
    let twice = node.function(&program, "twice", &Sandbox::new()).unwrap();
    for _ in 0..3 {
        assert_eq!(twice.call(&[]).unwrap(), [Value::I32(2)]);
    }
    let mut state = Extensions::default();
    state.insert(Counter(10));
    assert_eq!(twice.call_with(&[], state).unwrap(), [Value::I32(12)]);
    let length =
        |at, length| node.call(&program, "length", &[Value::I32(at), Value::I32(length)], &Sandbox::new());
    assert_eq!(length(0, 16).unwrap(), [Value::I32(16)]);
    for (at, count) in [(0, 17), (65536, 1), (-1, 16)] {
        let error = length(at, count).unwrap_err();
        let CallError::Exit(exit) = error else { panic!("{error}") };
        assert!(matches!(exit.kind, ExitKind::Trapped(_)), "{exit:?}");
    }
}

#[test]
fn nodes_that_share_an_engine_share_programs_and_nothing_else() {
    let engine = engine_with_functions();
    let program = engine.load(&wasm(COUNTING)).unwrap();
    let other = engine.load(&wasm(PLUGIN)).unwrap();
    let nodes = [(); 2].map(|()| Node::builder().engine(&engine).workers(1).build().unwrap());
    let sleepers = nodes.each_ref().map(|node| {
        assert_eq!(node.call(&program, "twice", &[], &Sandbox::new()).unwrap(), [Value::I32(2)]);
        node.spawn(&other, "sleeper", &[Value::I64(1 << 40)], &Sandbox::new()).unwrap().id()
    });
    assert_eq!(nodes.each_ref().map(|node| node.processes().len()), [1, 1]);
    let info = &nodes[0].processes()[0];
    assert_eq!((info.id, info.name.as_deref()), (sleepers[0], Some("sleeper")));
    let stranger = Node::builder().workers(1).build().unwrap();
    let refused = stranger.spawn(&program, "twice", &[], &Sandbox::new());
    assert!(matches!(refused, Err(SpawnError::OtherEngine)));
}

#[test]
fn failed_spawns_are_reported() {
    let (node, program) = node_and_plugin();
    let spawn = |export: &str, args: &[Value], sandbox: &Sandbox| {
        node.spawn(&program, export, args, sandbox).map(|process| process.id()).unwrap_err().to_string()
    };
    let sandbox = Sandbox::new();
    assert_eq!(spawn("absent", &[], &sandbox), "the program exports no function \"absent\"");
    assert!(spawn("add", &[Value::I32(1)], &sandbox).contains("add"));
    assert!(
        spawn("trap", &[], &Sandbox::new().dir("/no/such/directory", "/")).contains("/no/such/directory")
    );
    assert!(spawn("trap", &[], &Sandbox::new().forbid("lunatic::netwrk::*")).contains("netwrk"));
}

#[test]
fn by_default_a_process_has_no_resources() {
    let node = Node::builder().workers(1).build().unwrap();
    let program = node
        .load(&wasm(
            r#"(module
              (import "lunatic::process" "spawn" (func $spawn (param i64 i64 i64 i32 i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "fd_prestat_get" (func $prestat (param i32 i32) (result i32)))
              (import "lunatic::networking" "tcp_bind"
                (func $bind (param i32 i32 i32 i32 i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 16) "child")
              (data (i32.const 32) "\7f\00\00\01")
              (func (export "child"))
              (func (export "spawn") (result i32)
                (call $spawn (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 16) (i32.const 5)
                  (i32.const 0) (i32.const 0) (i32.const 64)))
              (func (export "prestat") (result i32) (call $prestat (i32.const 3) (i32.const 64)))
              (func (export "bind") (result i32)
                (call $bind (i32.const 4) (i32.const 32) (i32.const 0) (i32.const 0) (i32.const 0)
                  (i32.const 64))))"#,
        ))
        .unwrap();
    let call = |export, sandbox: &Sandbox| node.call(&program, export, &[], sandbox);
    let sandbox = Sandbox::new();
    assert!(matches!(call("spawn", &sandbox), Err(CallError::Exit(_))));
    assert_eq!(call("prestat", &sandbox).unwrap(), [Value::I32(8)], "EBADF");
    assert_eq!(call("bind", &sandbox).unwrap(), [Value::I32(1)], "an error");
    assert_eq!(call("spawn", &Sandbox::new().spawn(1)).unwrap(), [Value::I32(0)]);
    assert_eq!(call("spawn", &Sandbox::new().spawn(0)).unwrap(), [Value::I32(1)], "an error");
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(call("prestat", &Sandbox::new().dir(dir.path(), "/")).unwrap(), [Value::I32(0)]);
}

#[test]
fn a_limit_on_processes_is_each_process_and_its_childrens_own() {
    let (node, program) = node_and_plugin();
    let sleeper = node.function(&program, "sleeper", &Sandbox::new().spawn(0)).unwrap();
    let all: Vec<_> = (0..10).map(|_| sleeper.spawn(&[Value::I64(1 << 40)]).unwrap()).collect();
    assert_eq!(node.statistics().processes, 10);
    all.iter().for_each(|process| process.kill());
}

#[test]
fn a_host_function_may_call_other_programs_of_its_node() {
    // Set after the node exists: a function that returns, one that traps, and one that waits.
    static OTHERS: std::sync::OnceLock<[lunatic_executor::embed::Function; 3]> = std::sync::OnceLock::new();
    let node = Node::builder()
        .workers(1)
        .host(|host| {
            func!(host, "app", "other", CALL, |_: &mut Guest<'_>, number: i32| {
                let [add, trap, wait] = OTHERS.get().expect("they were set");
                let added = add.call(&[Value::I32(number), Value::I32(1)]);
                let is_right = added.is_ok_and(|results| results == [Value::I32(number + 1)])
                    && matches!(trap.call(&[]), Err(CallError::Exit(_)))
                    && matches!(wait.call(&[Value::I64(1)]), Err(CallError::Waits));
                u32::from(is_right)
            });
        })
        .build()
        .unwrap();
    let caller = node
        .load(&wasm(
            r#"(module
              (import "app" "other" (func $other (param i32) (result i32)))
              (memory (export "memory") 1)
              (func (export "run") (result i32) (local $i i32) (local $sum i32)
                (loop $more
                  (local.set $sum (i32.add (local.get $sum) (call $other (local.get $i))))
                  (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100))))
                ;; A trap after nested calls is still this process's own.
                (if (i32.ne (local.get $sum) (i32.const 100)) (then (unreachable)))
                (i32.load (i32.const 65532)))
              (func (export "trap") (drop (call $other (i32.const 1))) (unreachable)))"#,
        ))
        .unwrap();
    let plugin = node.load(&wasm(PLUGIN)).unwrap();
    let functions =
        ["add", "trap", "sleeper"].map(|name| node.function(&plugin, name, &Sandbox::new()).unwrap());
    assert!(OTHERS.set(functions).is_ok());
    let sandbox = Sandbox::new();
    let process = node.spawn(&caller, "run", &[], &sandbox).unwrap();
    assert_eq!(process.wait_for(PATIENCE).map(|exit| exit.results.clone()), Some(vec![Value::I32(0)]));
    let trap = node.spawn(&caller, "trap", &[], &sandbox).unwrap();
    let exit = trap.wait_for(PATIENCE).unwrap();
    assert!(exit.report.as_ref().is_some_and(|report| report.contains("unreachable")), "{exit:?}");
}

/// Polls a future on this thread, which sleeps in between.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park_timeout(PATIENCE);
    }
}

#[test]
fn ends_and_messages_are_futures_of_any_executor() {
    let (node, program) = node_and_plugin();
    let mailbox = node.mailbox().unwrap();
    block_on(async {
        let sleeper = node.spawn(&program, "sleeper", &[Value::I64(5)], &Sandbox::new()).unwrap();
        assert_eq!((&sleeper).await.results, [Value::I32(1)]);
        assert_eq!(sleeper.await.kind, ExitKind::Normal, "again, at once");
        let echo = node.spawn(&program, "echo", &[Value::I64(mailbox.id() as i64)], &Sandbox::new()).unwrap();
        echo.send(0, b"hello").unwrap();
        assert_eq!(mailbox.next().await.unwrap().bytes, b"hello");
        echo.kill();
        assert_eq!(echo.await.kind, ExitKind::Killed);
    });
}

#[test]
fn concurrent_calls_are_independent() {
    let (node, program) = node_and_plugin();
    let add = node.function(&program, "add", &Sandbox::new()).unwrap();
    let calls = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let (add, calls) = (add.clone(), &calls);
            scope.spawn(move || {
                for number in 0..500 {
                    let results = add.call(&[Value::I32(number), Value::I32(thread)]).unwrap();
                    assert_eq!(results, [Value::I32(number + thread)]);
                    calls.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!((calls.into_inner(), node.statistics().processes), (2000, 0));
}

#[test]
fn output_and_arguments_are_the_embedders() {
    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);
    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let sink = Sink::default();
    let node = Node::builder().workers(1).stdout(sink.clone()).build().unwrap();
    let program = node
        .load(&wasm(
            r#"(module
              (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
              (import "wasi_snapshot_preview1" "args_get" (func $args (param i32 i32) (result i32)))
              (memory (export "memory") 1)
              (data (i32.const 0) "\40\00\00\00\05\00\00\00")
              (func (export "say") (result i32)
                (drop (call $args (i32.const 32) (i32.const 64)))
                (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))"#,
        ))
        .unwrap();
    let sandbox = Sandbox::new().arg("hello");
    assert_eq!(node.call(&program, "say", &[], &sandbox).unwrap(), [Value::I32(0)]);
    drop((node, program));
    assert_eq!(*sink.0.lock().unwrap(), b"hello");
}

/// Declares `app.go`, which runs `go`.
fn node_that_runs(workers: usize, go: impl Fn() -> i32 + Send + Sync + 'static) -> Node {
    let declare = |host: &mut Host| func!(host, "app", "go", CALL, move |_: &mut Guest<'_>| go());
    Node::builder().workers(workers).host(declare).build().unwrap()
}

/// Calls `app.go`.
const GO: &str = r#"(module
  (import "app" "go" (func $go (result i32)))
  (memory (export "memory") 1)
  (func (export "go") (result i32) (call $go)))"#;

#[test]
fn calls_nested_without_end_are_refused() {
    static FUNCTION: OnceLock<Function> = OnceLock::new();
    static REFUSED: AtomicUsize = AtomicUsize::new(0);
    let node = node_that_runs(1, || {
        let result = FUNCTION.get().unwrap().call(&[]);
        if matches!(result, Err(CallError::TooDeep)) {
            REFUSED.fetch_add(1, Ordering::Relaxed);
        }
        1
    });
    let program = node.load(&wasm(GO)).unwrap();
    assert!(FUNCTION.set(node.function(&program, "go", &Sandbox::new()).unwrap()).is_ok());
    let function = FUNCTION.get().unwrap();
    assert_eq!(function.call(&[]).unwrap(), [Value::I32(1)]);
    assert!(function.spawn(&[]).unwrap().wait_for(PATIENCE).unwrap().kind.is_normal());
    assert_eq!(REFUSED.load(Ordering::Relaxed), 2, "once on this thread and once on a worker");
}

#[test]
fn a_node_can_be_dropped_by_a_host_function() {
    for workers in [1, 2] {
        static NODE: Mutex<Option<Node>> = Mutex::new(None);
        let node = node_that_runs(workers, || {
            drop(NODE.lock().unwrap().take());
            1
        });
        let program = node.load(&wasm(GO)).unwrap();
        let waiting = node.load(&wasm(PLUGIN)).unwrap();
        let sandbox = Sandbox::new();
        let other = node.spawn(&waiting, "sleeper", &[Value::I64(600_000)], &sandbox).unwrap();
        let function = node.function(&program, "go", &sandbox).unwrap();
        *NODE.lock().unwrap() = Some(node);
        let process = function.spawn(&[]).unwrap();
        drop(function);
        assert!(process.wait_for(PATIENCE).is_some(), "with {workers} workers");
        assert_eq!(other.wait_for(PATIENCE).unwrap().kind, ExitKind::Stopped);
    }
}

#[test]
fn a_nested_call_returns_the_result_of_a_process_that_is_slow_to_end() {
    static FUNCTION: OnceLock<Function> = OnceLock::new();
    let node = node_that_runs(1, || match FUNCTION.get().unwrap().call(&[]).as_deref() {
        Ok([Value::I32(number)]) => *number,
        other => panic!("{other:?}"),
    });
    // 64 MiB of written memory, and more names than an end frees in one portion.
    let slow = r#"(module
      (import "lunatic::process" "process_id" (func $process_id (result i64)))
      (import "lunatic::registry" "put" (func $put (param i32 i32 i64 i64)))
      (memory (export "memory") 1)
      (func (export "run") (result i32) (local $i i32)
        (loop $more
          (i32.store8 (i32.const 0) (i32.add (i32.and (local.get $i) (i32.const 63)) (i32.const 32)))
          (i32.store8 (i32.const 1) (i32.add (i32.shr_u (local.get $i) (i32.const 6)) (i32.const 32)))
          (call $put (i32.const 0) (i32.const 2) (i64.const 0) (call $process_id))
          (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2000))))
        (drop (memory.grow (i32.const 1024)))
        (memory.fill (i32.const 0) (i32.const 7) (i32.const 67108864))
        (i32.const 3)))"#;
    let slow = node.load(&wasm(slow)).unwrap();
    assert!(FUNCTION.set(node.function(&slow, "run", &Sandbox::new()).unwrap()).is_ok());
    let program = node.load(&wasm(GO)).unwrap();
    let process = node.spawn(&program, "go", &[], &Sandbox::new()).unwrap();
    let exit = process.wait_for(PATIENCE).unwrap();
    assert_eq!((&exit.kind, &*exit.results), (&ExitKind::Normal, &[Value::I32(3)][..]), "{exit:?}");
}

#[test]
fn a_dropped_future_leaves_no_waker() {
    struct Flag;
    impl Wake for Flag {
        fn wake(self: Arc<Flag>) {}
    }
    let node = Node::builder().workers(1).build().unwrap();
    let plugin = node.load(&wasm(PLUGIN)).unwrap();
    let process = node.spawn(&plugin, "sleeper", &[Value::I64(600_000)], &Sandbox::new()).unwrap();
    let mailbox = node.mailbox().unwrap();
    let flag = Arc::new(Flag);
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    for _ in 0..10 {
        assert!(pin!(mailbox.next()).poll(&mut context).is_pending());
        assert!(pin!((&process).into_future()).poll(&mut context).is_pending());
    }
    drop(waker);
    assert_eq!(Arc::strong_count(&flag), 1);
    // A second future of the same task does not take the place of the first one.
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    let mut first = pin!(mailbox.next());
    assert!(first.as_mut().poll(&mut context).is_pending());
    assert!(pin!(mailbox.next()).poll(&mut context).is_pending());
    drop(waker);
    assert_eq!(Arc::strong_count(&flag), 2);
}

#[test]
fn a_declaration_that_does_not_fit_its_function_is_refused() {
    let refused = |declare: fn(&mut Host)| {
        let build = || Engine::builder().host(declare).build().map(drop);
        let panic = std::panic::catch_unwind(build).expect_err("it is refused");
        panic.downcast_ref::<String>().cloned().unwrap()
    };
    let text = refused(|host| func!(host, "app", "f", CALL.range(0, 9, "x"), |_: &mut Guest<'_>, _: u32| ()));
    assert!(text.contains("app::f"), "{text}");
    let text = refused(|host| func!(host, "app", "f", CALL.place(0, 8), |_: &mut Guest<'_>, _: u64| ()));
    assert!(text.contains("app::f"), "{text}");
    let text = refused(|host| {
        func!(host, "app", "f", CALL, |_: &mut Guest<'_>| ());
        func!(host, "app", "f", CALL, |_: &mut Guest<'_>| ());
    });
    assert!(text.contains("app::f"), "{text}");
    let text = refused(|host| func!(host, "lunatic::process", "kill", CALL, |_: &mut Guest<'_>, _: u64| ()));
    assert!(text.contains("lunatic::process::kill"), "{text}");
}
