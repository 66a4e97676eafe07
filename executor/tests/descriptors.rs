//! A node gives back its descriptors and threads. The system counts them for the whole process, so these tests are a program of
//! their own, and run one at a time.
#![cfg(target_os = "linux")]

mod common;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{PATIENCE, start, with_imports, workers};
use lunatic_executor::{
    PreopenedDir, Runtime, Selection, TestBinary, TestEvent, TestOptions, TestResult, Verdict,
};

const SOON: Duration = Duration::from_secs(30);

/// While this is held, no other test here runs.
fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number of threads (`task`) or descriptors (`fd`) of this process.
fn count(of: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{of}")).expect("Linux has it").count()
}

/// The node of each test gives back its threads and descriptors when the test is over.
#[test]
fn many_tests_leave_nothing_behind() {
    let _alone = alone();
    let tests: String = (0..300)
        .map(|n| format!("(func (export \"#lunatic_test_{n}\") (call $sleep (i64.const 1)))"))
        .collect();
    let text = format!("(module {tests})");
    let bytes = wat::parse_str(with_imports(&text)).expect("the module is well-formed");
    let config = workers(2).args(vec!["tests".into()]);
    let runtime = Runtime::new(config).expect("a runtime");
    let program = runtime.load(&bytes).expect("it loads");
    let binary = TestBinary::new(runtime, &program, &bytes).expect("its tests are found");
    let tests = Selection::default().choose(binary.tests());
    let options =
        TestOptions { threads: NonZeroUsize::new(4).expect("some"), capture: true, patience: PATIENCE };
    let before = [count("task"), count("fd")];
    let (mut passed, mut most) = (0, [0; 2]);
    let tell = |event: TestEvent<'_>| {
        passed +=
            usize::from(matches!(event, TestEvent::Finished(_, TestResult { verdict: Verdict::Passed, .. })));
        most = [most[0].max(count("task")), most[1].max(count("fd"))];
    };
    binary.run(&tests, options, tell).expect("there are threads");
    assert_eq!(passed, 300);
    // At most four nodes exist at a time.
    assert!(most[0] < before[0] + 60 && most[1] < before[1] + 60, "{before:?} before, {most:?} meanwhile");
    let started = Instant::now();
    // The system may list threads for a moment after they were joined.
    while count("task") > before[0] || count("fd") > before[1] {
        assert!(started.elapsed() < PATIENCE, "{before:?} before, {:?} after", [count("task"), count("fd")]);
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes wait at a shared listener and are killed. The listener keeps nothing of them: neither their configurations nor their
/// directories.
#[test]
fn a_listener_keeps_nothing_of_killed_processes_that_waited_at_it() {
    const CHILDREN: usize = 300;
    let _alone = alone();
    let before = count("fd");
    let directory = tempfile::tempdir().unwrap();
    std::fs::create_dir(directory.path().join("sub")).unwrap();
    let dir = PreopenedDir { host: directory.path().into(), guest: "data".into(), is_read_only: false };
    let listener = Arc::new(std::net::TcpListener::bind("127.0.0.1:0").unwrap());
    let config = workers(2).dirs(vec![dir]).listeners(vec![listener]);
    let guest = common::guest(&format!(
        r#"(data (i32.const 1024) "data/sub" "accept")
               (func (export "accept")
                 (call $send (i64.const 1) (i64.const 5))
                 (drop (call $sock_accept (i32.const 4) (i32.const 0) (i32.const 64))))
               (func (export "_start") (local $i i32) (local $config i64) (local $child i64)
                 (loop $more
                   (local.set $config (call $create_config))
                   (call $preopen (local.get $config) (i32.const 1024) (i32.const 8))
                   (call $give_listeners (local.get $config))
                   (local.set $child
                     (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1032) (i32.const 6)))
                   (call $drop_config (local.get $config))
                   (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
                   (call $sleep (i64.const 1))
                   (drop (call $monitor_start (local.get $child)))
                   (call $kill (local.get $child))
                   (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 10000)) (i32.const 2)))
                   (call $assert (i32.eq (call $death_kind) (i32.const 3)))
                   (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {CHILDREN}))))
                 (call $say (i32.const 1024) (i32.const 4))
                 (call $sleep (i64.const 1000)))"#
    ));
    let running = start(config, &guest);
    let started = Instant::now();
    while running.stdout.bytes().is_empty() {
        assert!(started.elapsed() < SOON, "{}", running.stderr.text());
        std::thread::sleep(Duration::from_millis(10));
    }
    let open = count("fd");
    assert_eq!(running.ended.recv_timeout(SOON), Ok(0), "{}", running.stderr.text());
    // The node itself has some descriptors.
    assert!(open < before + 50, "{open} descriptors, {before} before");
}
