//! A node that is asked to stop: which process is notified, what it may still do, and that the node stops.

mod common;

use std::time::Instant;

use common::{PATIENCE, Running, guest, start, workers};
use lunatic_executor::{ExitStatus, GRACE, Runtime};

const TERMINATED: ExitStatus = ExitStatus(143);

/// Starts a guest and waits for its first output.
fn start_and_listen(count: usize, body: &str) -> Running {
    let running = start(workers(count), &guest(body));
    let started = Instant::now();
    while running.stdout.text().is_empty() {
        assert!(started.elapsed() < PATIENCE, "it never said anything: {}", running.stderr.text());
        std::thread::yield_now();
    }
    running
}

#[test]
fn a_request_to_stop_before_the_start_stops_the_node() {
    let runtime = Runtime::new(workers(1)).unwrap();
    let spin = wat::parse_str(guest(r#"(func (export "_start") (loop $forever (br $forever)))"#)).unwrap();
    let program = runtime.load(&spin).unwrap();
    runtime.shutdown_handle().ask(TERMINATED);
    assert_eq!(runtime.run(&program), TERMINATED);
}

#[test]
fn output_during_the_stop_is_written() {
    for count in [1, 3] {
        let running = start_and_listen(
            count,
            r#"
            (data (i32.const 1024) "child ready bye")
            (func (export "child") (drop (call $wait (i64.const 0) (i64.const -1))))
            (func (export "_start") (local $child i64)
              (call $die_when_link_dies (i32.const 0))
              (local.set $child (call $spawn (i64.const 5) (i32.const 1024) (i32.const 5)))
              (call $say (i32.const 1030) (i32.const 5))
              (call $assert (i32.eq (call $wait (i64.const 0) (i64.const -1)) (i32.const 1)))
              ;; No link's tag, and the child is still there: it was not the child.
              (call $assert (i64.eqz (call $get_tag)))
              (call $assert (call $exists (local.get $child)))
              (call $say (i32.const 1035) (i32.const 4))
              (call $exit (i32.const 9)))
            "#,
        );
        running.shutdown_handle.ask(TERMINATED);
        assert_eq!(running.ended.recv_timeout(PATIENCE), Ok(9), "{}", running.stderr.text());
        assert_eq!(running.stdout.text(), "ready bye");
    }
}

#[test]
fn a_process_that_does_not_trap_exits_ends_without_a_report() {
    for body in ["(call $sleep (i64.const 1000000))", "(loop $forever (br $forever))"] {
        let body = format!(
            r#"(data (i32.const 1024) "ready")
               (func (export "_start") (call $say (i32.const 1024) (i32.const 5)) {body})"#
        );
        let running = start_and_listen(2, &body);
        running.shutdown_handle.ask(TERMINATED);
        assert_eq!(running.ended.recv_timeout(PATIENCE), Ok(TERMINATED.0));
        assert_eq!(running.stderr.text(), "");
    }
}

/// Catches every request to stop and continues.
const STUBBORN: &str = r#"
    (data (i32.const 1024) "ready")
    (func (export "_start")
      (call $die_when_link_dies (i32.const 0))
      (call $say (i32.const 1024) (i32.const 5))
      (loop $forever
        (drop (call $wait (i64.const 0) (i64.const -1)))
        (br $forever)))"#;

#[test]
fn the_second_request_stops_the_node() {
    let running = start_and_listen(1, STUBBORN);
    let started = Instant::now();
    running.shutdown_handle.ask(ExitStatus(130));
    running.shutdown_handle.ask(TERMINATED);
    assert_eq!(running.ended.recv_timeout(PATIENCE), Ok(TERMINATED.0));
    assert!(started.elapsed() < GRACE);
}

#[test]
fn a_process_that_continues_is_stopped_after_the_grace_period() {
    let running = start_and_listen(1, STUBBORN);
    let started = Instant::now();
    running.shutdown_handle.ask(TERMINATED);
    assert_eq!(running.ended.recv_timeout(PATIENCE), Ok(TERMINATED.0));
    assert!(started.elapsed() >= GRACE);
}

#[test]
fn metrics_are_shown_until_the_node_ends_or_they_are_stopped() {
    let is_closed = |address: std::net::SocketAddr| {
        let started = Instant::now();
        while std::net::TcpStream::connect(address).is_ok() {
            assert!(started.elapsed() < PATIENCE, "it still listens");
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    };
    let runtime = Runtime::new(workers(1)).unwrap();
    let here = "127.0.0.1:0".parse().unwrap();
    let [stopped, left] = [(); 2].map(|()| runtime.serve_metrics(here).unwrap());
    stopped.stop();
    is_closed(stopped.address());
    assert!(std::net::TcpStream::connect(left.address()).is_ok());
    let nothing = wat::parse_str(guest(r#"(func (export "_start"))"#)).unwrap();
    let program = runtime.load(&nothing).unwrap();
    assert_eq!(runtime.run(&program), ExitStatus(0));
    is_closed(left.address());
}
