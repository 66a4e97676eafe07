//! Hostile guests: nothing that the node keeps for them grows without limit, and none of its threads waits for them for ever.

mod common;

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use common::{start, workers};
use lunatic_executor::{Parts, PreopenedDir, Runtime};

/// Longer than these tests take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// Opening a named pipe for writing would wait for a reader. Setting its times does not need to open it.
#[cfg(unix)]
#[test]
fn setting_the_times_of_a_named_pipe_does_not_wait_for_a_reader() {
    let directory = tempfile::tempdir().unwrap();
    let fifo = directory.path().join("fifo");
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let dir = PreopenedDir { host: directory.path().into(), guest: "data".into(), is_read_only: false };
    let config = workers(1).dirs(vec![dir]);
    let running = start(
        config,
        &common::guest(
            r#"(data (i32.const 1024) "fifo")
               (func (export "_start")
                 (call $exit (call $path_filestat_set_times (i32.const 3) (i32.const 1) (i32.const 1024)
                   (i32.const 4) (i64.const 0) (i64.const 5000000000) (i32.const 4))))"#,
        ),
    );
    assert_eq!(running.ended.recv_timeout(SOON), Ok(0));
    let modified = std::fs::metadata(&fifo).unwrap().modified().unwrap();
    assert_eq!(modified.duration_since(std::time::UNIX_EPOCH).unwrap(), Duration::from_secs(5));
}

/// A sink that blocks until the other end of the channel is dropped, then counts the bytes it gets.
struct StuckSink(Receiver<()>, Arc<AtomicUsize>);

impl Write for StuckSink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        assert!(self.0.recv().is_err(), "nothing is ever sent");
        self.1.fetch_add(bytes.len(), Ordering::SeqCst);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// A sink that releases another one as soon as something is written to it.
struct Release(Option<Sender<()>>);

impl Write for Release {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = None;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Runs a guest whose standard output is stuck until it writes to standard error. Returns its status and the bytes written.
fn run_stuck(wat: &str) -> (i32, usize) {
    let (release, stuck) = channel();
    let written = Arc::new(AtomicUsize::new(0));
    let parts = Parts {
        stdout: Box::new(StuckSink(stuck, written.clone())),
        stderr: Box::new(Release(Some(release))),
        ..Parts::default()
    };
    let runtime = Runtime::with_parts(workers(2), parts).unwrap();
    let program = runtime.load(&wat::parse_str(wat).unwrap()).unwrap();
    let (sender, ended) = channel();
    std::thread::spawn(move || sender.send(runtime.run(&program).0));
    (ended.recv_timeout(SOON).expect("it ends"), written.load(Ordering::SeqCst))
}

/// `$much` writes 1 MiB to standard output, `$release` releases the stuck sink.
const STUCK: &str = r#"
    (data (i32.const 1024) "write")
    (func $much (result i32) (local $i i32)
      (loop $more
        (i32.store (i32.add (i32.const 2048) (i32.mul (local.get $i) (i32.const 8))) (i32.const 0))
        (i32.store (i32.add (i32.const 2052) (i32.mul (local.get $i) (i32.const 8))) (i32.const 65536))
        (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 16))))
      (call $fd_write (i32.const 1) (i32.const 2048) (i32.const 16) (i32.const 64)))
    (func $release
      (i32.store (i32.const 72) (i32.const 1024))
      (i32.store (i32.const 76) (i32.const 1))
      (call $assert (i32.eqz (call $fd_write (i32.const 2) (i32.const 72) (i32.const 1) (i32.const 80)))))
"#;

/// The most that is queued: the limit, one write, and as much again that is being written.
const MOST: usize = 3 << 20;

#[test]
fn nonblocking_write_to_a_stuck_stream_returns_eagain() {
    let (status, written) = run_stuck(&common::guest(&format!(
        r#"{STUCK}
            (func (export "_start") (local $i i32) (local $errno i32)
              (call $assert (i32.eqz (call $fd_fdstat_set_flags (i32.const 1) (i32.const 4))))
              (loop $more
                (local.set $errno (call $much))
                (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
              (call $release)
              (call $exit (local.get $errno)))"#
    )));
    assert_eq!(status, 6, "the last of 64 writes");
    assert!(written <= MOST, "{written} bytes");
}

#[test]
fn pending_writes_of_killed_processes_are_dropped() {
    let (status, written) = run_stuck(&common::guest(&format!(
        r#"{STUCK}
            (func (export "write")
              (call $send (i64.const 1) (i64.const 5))
              (loop $more (drop (call $much)) (br $more)))
            (func (export "_start") (local $i i32) (local $child i64)
              (loop $more
                (local.set $child (call $spawn (i64.const 0) (i32.const 1024) (i32.const 5)))
                (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
                (call $sleep (i64.const 5))
                (drop (call $monitor_start (local.get $child)))
                (call $kill (local.get $child))
                (call $assert (i32.eq (call $wait (i64.const 0) (i64.const 10000)) (i32.const 2)))
                (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 32))))
              (call $release))"#
    )));
    assert_eq!(status, 0);
    assert!(written <= MOST, "{written} bytes");
}

#[test]
fn nonblocking_write_to_a_stuck_connection_returns_eagain() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let guest = common::guest(&format!(
        r#"{STUCK}
            (data (i32.const 1032) "\7f\00\00\01")
            (func (export "write") (local $i i32) (local $errno i32)
              (call $assert (i32.eqz (call $fd_fdstat_set_flags (i32.const 1) (i32.const 4))))
              (loop $more
                (local.set $errno (call $much))
                (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 64))))
              (call $send_value (i64.const 1) (i64.const 5) (i64.extend_i32_u (local.get $errno))))
            (func (export "_start") (local $config i64)
              (call $assert (i32.eqz (call $tcp_connect (i32.const 4) (i32.const 1032) (i32.const {port}) (i32.const 0)
                (i32.const 0) (i64.const -1) (i32.const 96))))
              (local.set $config (call $create_config))
              (call $ext::redirect::to_tcp_stream (local.get $config) (i32.const 1) (i32.const 0) (i32.const 0) (i64.load (i32.const 96)))
              (drop (call $spawn_with (i64.const 0) (local.get $config) (i32.const 1024) (i32.const 5)))
              (call $assert (i32.eqz (call $wait (i64.const 5) (i64.const -1))))
              (call $exit (i32.wrap_i64 (call $value))))"#
    ));
    let running = start(workers(1), &guest);
    assert_eq!(running.ended.recv_timeout(SOON), Ok(6), "the last of 64 writes");
}

/// HOSTILE 28 and 42: a call is charged for what it reads, so that a guest cannot repeat it in one turn without end. The given
/// number of calls costs more reductions than these processes may use.
#[test]
fn long_lists_are_charged() {
    const CALLS: u32 = 100;
    let poll =
        "(drop (call $poll_oneoff (i32.const 0) (i32.const 65536) (i32.const 1024) (i32.const 60000)))";
    let arguments = "(drop (call $args_sizes_get (i32.const 0) (i32.const 4)))";
    let read = "(drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1024) (i32.const 60000)))";
    let write = "(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1024) (i32.const 60000)))";
    for (call, limit) in [(poll, 1_000_000), (arguments, 1_000_000), (read, 20_000), (write, 20_000)] {
        let config =
            workers(1).max_reductions(Some(limit)).args((0..2000).map(|number| number.to_string()).collect());
        let guest = common::guest(&format!(
            r#"(func (export "_start") (local $i i32)
                     (loop $more {call}
                       (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const {CALLS})))))"#
        ));
        let running = start(config, &guest);
        let status = running.ended.recv_timeout(SOON).expect("it ends");
        assert_ne!(status, 0, "{call} costs less than {} reductions", limit / u64::from(CALLS));
        assert!(running.stderr.text().contains("reductions"), "{call}: {}", running.stderr.text());
    }
}
