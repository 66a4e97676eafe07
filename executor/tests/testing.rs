//! Tests as the library runs them: the events, and their order.

mod common;

use std::num::NonZeroUsize;
use std::time::Duration;

use lunatic_executor::{
    Runtime, RuntimeConfig, Selection, TestBinary, TestEvent, TestOptions, TestResult, Verdict,
};

/// Runs the tests of a module, `threads` at a time. Returns a word for each event.
fn told(text: &str, threads: usize) -> Vec<String> {
    let bytes = wat::parse_str(common::with_imports(text)).expect("the test's module is well-formed");
    let config = RuntimeConfig::default().args(vec!["tests".into()]);
    let runtime = Runtime::new(config).expect("a runtime");
    let program = runtime.load(&bytes).expect("it loads");
    assert!(program.has_tests());
    let binary = TestBinary::new(runtime, &program, &bytes).expect("its tests are found");
    let tests = Selection::default().choose(binary.tests());
    let options = TestOptions {
        threads: NonZeroUsize::new(threads).expect("some"),
        capture: true,
        patience: Duration::from_millis(500),
    };
    let mut told = Vec::new();
    let tell = |event: TestEvent<'_>| {
        told.push(match event {
            TestEvent::Started(test) => format!("{} starts", test.name),
            TestEvent::Slow(test) => format!("{} is slow", test.name),
            TestEvent::Finished(test, TestResult { verdict, .. }) => format!("{}: {verdict:?}", test.name),
        });
    };
    binary.run(&tests, options, tell).expect("there are threads");
    told
}

const TESTS: &str = r##"(module
    (func (export "#lunatic_test_slow") (call $sleep (i64.const 1500)))
    (func (export "#lunatic_test_fast"))
    (func (export "#lunatic_test_#ignore_no")))"##;

#[test]
fn tests_run_one_at_a_time_in_order() {
    let expected = ["fast starts", "fast: Passed", "no starts", "no: Ignored", "slow starts", "slow: Passed"];
    assert_eq!(told(TESTS, 1), expected);
}

#[test]
fn slow_tests_are_reported_once() {
    let told = told(TESTS, 2);
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(told[5..], ["slow is slow", "slow: Passed"], "{told:?}");
    for test in ["fast", "no", "slow"] {
        let place = |what: &str| told.iter().position(|told| *told == format!("{test}{what}"));
        let verdict = if test == "no" { Verdict::Ignored } else { Verdict::Passed };
        assert!(place(" starts") < place(&format!(": {verdict:?}")), "{told:?}");
    }
}

/// The first test starts a server in its node and ends. The others connect to it.
#[test]
fn processes_of_a_test_live_until_the_last_test_has_ended() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("there is a port");
    let port = free.local_addr().expect("it is bound").port();
    drop(free);
    let text = format!(
        r##"(module
          (memory (export "memory") 1)
          (data (i32.const 120) "\78\00\00\00\01\00\00\00")
          (data (i32.const 100) "server")
          (data (i32.const 140) "\7f\00\00\01")
          (func $well (param i32) (if (local.get 0) (then unreachable)))
          (func (export "server") (param $tells i64)
            (call $well (call $tcp_bind (i32.const 4) (i32.const 140) (i32.const {port}) (i32.const 0) (i32.const 0)
              (i32.const 64)))
            (call $create_data (i64.const 1) (i64.const 0))
            (drop (call $send_raw (local.get $tells)))
            (loop $next
              (call $well (call $tcp_accept (i64.load (i32.const 64)) (i32.const 72) (i32.const 80)))
              (call $well (call $networking::tcp_write_vectored (i64.load (i32.const 72)) (i32.const 120) (i32.const 1) (i32.const 88)))
              (br $next)))
          (func $asks
            (call $well (call $tcp_connect (i32.const 4) (i32.const 140) (i32.const {port}) (i32.const 0) (i32.const 0)
              (i64.const -1) (i32.const 72)))
            ;; A connection alone could be the system's: it waits for a byte.
            (call $well (call $tcp_read (i64.load (i32.const 72)) (i32.const 200) (i32.const 1) (i32.const 88)))
            (call $well (i64.ne (i64.load (i32.const 88)) (i64.const 1))))
          (func (export "#lunatic_test_a_server_is_started")
            (i32.store8 (i32.const 80) (i32.const 0x7e))
            (i64.store (i32.const 81) (call $me))
            (call $well (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 100) (i32.const 6)
              (i32.const 80) (i32.const 17) (i32.const 64)))
            (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
            (call $asks))
          (func (export "#lunatic_test_b_is_answered") (call $asks))
          (func (export "#lunatic_test_c_is_answered_too") (call $asks)))"##
    );
    let told = told(&text, 1);
    assert_eq!(told.iter().filter(|told| told.ends_with(": Passed")).count(), 3, "{told:?}");
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    assert!(std::net::TcpStream::connect(address).is_err(), "the server has ended with the last test");
}
