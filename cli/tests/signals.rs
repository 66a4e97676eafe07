//! SIGTERM and SIGINT ask the program to end; its output is kept, and nothing can keep the command from ending. SIGQUIT prints
//! what its processes do.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use common::{Killed, command, with_app};
use lunatic_executor::GRACE;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than the command takes to end on a busy machine, and shorter than its grace period.
const SOON: Duration = GRACE.saturating_sub(Duration::from_secs(1));

/// A running program, which is killed when the test fails.
struct Program {
    child: Killed,
    said: BufReader<Box<dyn Read>>,
}

impl Program {
    /// Starts a program and waits until it prints `ready` to standard error.
    fn start(options: &[&str], body: &str) -> Program {
        Program::start_text(options, &program(body))
    }

    /// Like [`Program::start`], for a complete module.
    fn start_text(options: &[&str], text: &str) -> Program {
        let directory = with_app(text);
        let arguments = [options, &["app.wasm"]].concat();
        let mut command = command(env!("CARGO_BIN_EXE_lunatic-exec"), directory.path(), &arguments);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let stderr = child.stderr.take().expect("it is piped");
        let mut program = Program { child: Killed(child), said: BufReader::new(Box::new(stderr)) };
        program.expect("ready");
        program
    }

    /// Starts a program whose standard error is not read, and waits until it prints `ready` to standard output.
    fn start_stuck() -> Program {
        let directory = with_app(&program(STUCK_REPORT));
        let mut command = command(env!("CARGO_BIN_EXE_lunatic-exec"), directory.path(), &["app.wasm"]);
        let mut child =
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the command starts");
        let stdout = child.stdout.take().expect("it is piped");
        let mut program = Program { child: Killed(child), said: BufReader::new(Box::new(stdout)) };
        program.expect("ready");
        program
    }

    /// Waits for a line, and skips others before it.
    fn expect(&mut self, expected: &str) {
        let mut lines = self.said.by_ref().lines().map(|line| line.expect("it is text"));
        assert!(lines.any(|line| line == expected), "it never said {expected:?}");
    }

    /// Reads the next lines.
    fn lines(&mut self, count: usize) -> Vec<String> {
        self.said.by_ref().lines().take(count).map(|line| line.expect("it is text")).collect()
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("it is one of the system's");
        kill(Pid::from_raw(pid), signal).expect("it is our child");
    }

    /// Reads the remaining output. Returns it with the exit status and the time that the end took.
    fn end(mut self) -> (Vec<u8>, ExitStatus, Duration) {
        let started = Instant::now();
        let mut output = Vec::new();
        if let Some(mut stdout) = self.child.stdout.take() {
            stdout.read_to_end(&mut output).expect("it is readable");
        }
        let status = self.child.wait().expect("it is our child");
        (output, status, started.elapsed())
    }
}

/// A program around a body that may use
///
/// - `$say (stream, text, length)`, with `ready\n` at 64 and `stopped\n` at 72;
/// - `$catch` to receive a message instead of being ended, and `$receive -> kind`, `$tag`;
/// - 600,000 bytes of `.` at 65,536.
fn program(body: &str) -> String {
    format!(
        r#"(module
        (memory (export "memory") 16)
        (data (i32.const 64) "ready\n")
        (data (i32.const 72) "stopped\n")
        (data (i32.const 80) "child")
        (func $say (param i32 i32 i32)
          (i32.store (i32.const 0) (local.get 1))
          (i32.store (i32.const 4) (local.get 2))
          (drop (call $fd_write (local.get 0) (i32.const 0) (i32.const 1) (i32.const 8))))
        (func $ready (call $say (i32.const 2) (i32.const 64) (i32.const 6)))
        (func $flood
          (memory.fill (i32.const 65536) (i32.const 46) (i32.const {FLOOD}))
          (call $say (i32.const 1) (i32.const 65536) (i32.const {FLOOD})))
        (func $catch (call $die_when_link_dies (i32.const 0)))
        (func $receive (result i32) (call $message::receive (i32.const 0) (i32.const 0) (i64.const -1)))
        {body})"#
    )
}

/// Writes more than a pipe holds.
const FLOOD: usize = 600_000;

/// Fills standard error, which is not read, and spawns a child that traps, whose report does not fit there. Then prints
/// `ready` to standard output, and catches requests to stop.
const STUCK_REPORT: &str = r#"
    (func (export "child") (unreachable))
    (func (export "_start")
      (call $catch)
      (drop (call $fd_fdstat_set_flags (i32.const 2) (i32.const 4)))
      (i32.store (i32.const 0) (i32.const 65536))
      (i32.store (i32.const 4) (i32.const 4096))
      (loop $fill
        (br_if $fill (i32.eqz (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))
      (drop (call $spawn_raw (i64.const 1) (i64.const -1) (i64.const -1) (i32.const 80) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 16)))
      (drop (call $receive))
      (call $say (i32.const 1) (i32.const 64) (i32.const 6))
      (drop (call $receive))
      (call $say (i32.const 1) (i32.const 72) (i32.const 8))
      (drop (call $receive)))"#;

const SLEEPS: &str = r#"(func (export "_start") (call $ready) (call $sleep (i64.const 1000000)))"#;

const SPINS: &str = r#"(func (export "_start") (call $ready) (loop $forever (br $forever)))"#;

/// Catches every request to stop, prints that, and continues.
const STUBBORN: &str = r#"(func (export "_start")
    (call $catch)
    (call $ready)
    (loop $forever
      (drop (call $receive))
      (call $say (i32.const 2) (i32.const 72) (i32.const 8))
      (br $forever)))"#;

#[test]
fn the_first_signal_ends_a_program_that_does_not_catch_it() {
    for (signal, code) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        for body in [SLEEPS, SPINS] {
            for workers in ["1", "2"] {
                let program = Program::start(&["--workers", workers], body);
                program.signal(signal);
                let (_, status, time) = program.end();
                assert_eq!(status.code(), Some(code), "{signal}: {body}");
                assert!(time < SOON, "{signal}: {body}: {time:?}");
            }
        }
    }
}

#[test]
fn output_is_kept_when_a_signal_ends_the_program() {
    const WRITTEN: usize = 60_000;
    let body = format!(
        r#"(func (export "_start")
          (call $say (i32.const 1) (i32.const 65536) (i32.const {WRITTEN}))
          (call $ready) (call $sleep (i64.const 1000000)))"#
    );
    let program = Program::start(&[], &body);
    program.signal(Signal::SIGTERM);
    let (output, status, _) = program.end();
    assert_eq!((output.len(), status.code()), (WRITTEN, Some(143)));
}

#[test]
fn a_program_may_catch_the_request_and_end_itself() {
    let program = Program::start(
        &[],
        r#"(func (export "_start")
          (call $catch)
          (call $ready)
          (if (i32.ne (call $receive) (i32.const 1)) (then (unreachable)))
          (if (i64.ne (call $get_tag) (i64.const 0)) (then (unreachable)))
          (call $say (i32.const 1) (i32.const 72) (i32.const 8))
          (call $exit (i32.const 7)))"#,
    );
    program.signal(Signal::SIGTERM);
    let (output, status, time) = program.end();
    assert_eq!((&*output, status.code()), (&b"stopped\n"[..], Some(7)));
    assert!(time < SOON, "{time:?}");
}

#[test]
fn a_program_that_continues_is_stopped_after_the_grace_period() {
    let mut program = Program::start(&[], STUBBORN);
    let asked = Instant::now();
    program.signal(Signal::SIGTERM);
    program.expect("stopped");
    let (_, status, _) = program.end();
    assert_eq!(status.code(), Some(143));
    assert!(asked.elapsed() >= GRACE, "it had only {:?}", asked.elapsed());
}

#[test]
fn the_second_signal_stops_at_once() {
    let mut program = Program::start(&[], STUBBORN);
    program.signal(Signal::SIGTERM);
    program.expect("stopped");
    program.signal(Signal::SIGINT);
    let (_, status, time) = program.end();
    assert_eq!(status.code(), Some(130), "the one that stopped it counts");
    assert!(time < SOON, "{time:?}");
}

#[test]
fn a_process_that_waits_for_a_reader_is_stopped_at_once() {
    let body = r#"(func (export "_start") (call $ready) (call $flood))"#;
    let mut program = Program::start(&[], body);
    let unread = program.child.stdout.take().expect("it is piped");
    program.signal(Signal::SIGTERM);
    let (_, status, time) = program.end();
    assert_eq!(status.code(), Some(143));
    assert!(time < SOON, "{time:?}");
    drop(unread);
}

#[test]
fn a_reader_that_does_not_read_cannot_keep_the_command_alive() {
    let program = Program::start_stuck();
    program.signal(Signal::SIGTERM);
    let (_, status, time) = program.end();
    assert_eq!(status.code(), Some(143));
    // The program has the same time to end.
    assert!(time >= 2 * GRACE - Duration::from_millis(100), "it gave the reader only {time:?}");
}

#[test]
fn the_third_signal_ends_the_command_in_any_state() {
    let mut program = Program::start_stuck();
    program.signal(Signal::SIGTERM);
    program.expect("stopped");
    program.signal(Signal::SIGTERM);
    // Two signals that arrive together count as one.
    let started = Instant::now();
    while program.child.try_wait().expect("it is our child").is_none() && started.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(100));
        program.signal(Signal::SIGTERM);
    }
    let (_, status, _) = program.end();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status:?}");
    assert!(started.elapsed() < SOON);
}

#[test]
fn a_signal_has_its_default_action_in_an_unmetered_run() {
    let program = Program::start(&["--unmetered"], SPINS);
    program.signal(Signal::SIGTERM);
    let (_, status, _) = program.end();
    assert_eq!(status.signal(), Some(Signal::SIGTERM as i32), "{status:?}");
}

#[cfg(target_os = "linux")]
#[test]
fn workers_block_signals() {
    let program = Program::start(&["--workers", "2"], SLEEPS);
    // The guest may run on the first worker before the second one has started.
    let started = Instant::now();
    while blocking_workers(program.child.id()) < 2 {
        assert!(started.elapsed() < SOON, "there are two workers");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Counts the workers of the process, and checks that each blocks all signals except faults.
#[cfg(target_os = "linux")]
fn blocking_workers(process: u32) -> usize {
    let mut workers = 0;
    for thread in std::fs::read_dir(format!("/proc/{process}/task")).expect("it runs") {
        let path = thread.expect("it is readable").path().join("status");
        // Other threads may have ended meanwhile; workers have not.
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let mask = field("SigBlk:").and_then(|mask| u64::from_str_radix(mask, 16).ok());
        // A thread that has just started has not blocked anything yet, and runs no guest.
        let Some(mask) = mask.filter(|&mask| mask != 0) else { continue };
        if field("Name:").is_some_and(|name| name.starts_with("worker ")) {
            let is_blocked = |signal: Signal| mask >> (signal as i32 - 1) & 1 == 1;
            assert!(is_blocked(Signal::SIGTERM) && is_blocked(Signal::SIGINT) && is_blocked(Signal::SIGUSR1));
            assert!(!is_blocked(Signal::SIGSEGV) && !is_blocked(Signal::SIGILL), "traps are faults");
            workers += 1;
        }
    }
    workers
}

/// Four processes: one sleeps, one has two messages and waits for another, one computes, and one has control characters in its
/// name.
#[test]
fn sigquit_prints_what_every_process_does_and_the_program_continues() {
    let body = r#"
        (data (i32.const 128) "sleeperwaiterspinner\07\1b[2Jx\n")
        (func $deep (call $sleep (i64.const 1000000)))
        (func $sleeper (export "sleeper") (call $deep))
        (func $waiter (export "waiter")
          (i64.store (i32.const 32) (i64.const 9))
          (drop (call $message::receive (i32.const 32) (i32.const 1) (i64.const -1))))
        (func $spinner (export "spinner") (loop $forever (br $forever)))
        (func $spawn (param i32 i32) (result i64)
          (if (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (local.get 0) (local.get 1)
            (i32.const 0) (i32.const 0) (i32.const 24)) (then (unreachable)))
          (i64.load (i32.const 24)))
        (func $send_to (param i64)
          (call $create_data (i64.const 1) (i64.const 0))
          (drop (call $send_raw (local.get 0))))
        (func (export "_start") (local $pid i64)
          (drop (call $spawn (i32.const 128) (i32.const 7)))
          (local.set $pid (call $spawn (i32.const 135) (i32.const 6)))
          (call $send_to (local.get $pid))
          (call $send_to (local.get $pid))
          (drop (call $spawn (i32.const 141) (i32.const 7)))
          (local.set $pid (call $spawn (i32.const 128) (i32.const 7)))
          (call $put (i32.const 148) (i32.const 7) (i64.const 0) (local.get $pid))
          (call $sleep (i64.const 100))
          (call $ready)
          (call $catch)
          (drop (call $receive))
          (call $say (i32.const 2) (i32.const 72) (i32.const 8))
          (call $exit (i32.const 7)))"#;
    // Twice, because it must not count as a request to stop.
    for workers in ["1", "3"] {
        let mut program = Program::start_text(&["--workers", workers], &program(body));
        for _ in 0..3 {
            program.signal(Signal::SIGQUIT);
            let lines = program.lines(6);
            assert_eq!(lines[0], "5 processes");
            assert!(
                lines[1].starts_with("process 1 (_start) waits for a message; 0 messages, 0 bytes"),
                "{lines:?}"
            );
            assert!(lines[1].ends_with("; in receive"), "{lines:?}");
            let number = |line: &String| line.split(' ').nth(1).and_then(|id| id.parse::<u64>().ok());
            assert!(lines[1..].is_sorted_by_key(number), "{lines:?}");
            let of = |name: &str| lines.iter().find(|line| line.contains(name)).expect(name);
            assert!(of("(sleeper)").contains("waits for a time; 0 messages"), "{lines:?}");
            assert!(of("(sleeper)").ends_with("bytes of memory; in deep"), "{lines:?}");
            assert!(
                of("(waiter)").contains("waits for a message; 2 messages, 192 bytes of them"),
                "{lines:?}"
            );
            assert!(of("(spinner)").contains("can run"), "{lines:?}");
            assert!(of("(spinner)").ends_with("1048576 bytes of memory; in spinner"), "{lines:?}");
            assert!(of(r"(\u{7}\u{1b}[2Jx\n)").contains("waits for a time"), "{lines:?}");
        }
        program.signal(Signal::SIGTERM);
        program.expect("stopped");
        let (_, status, _) = program.end();
        assert_eq!(status.code(), Some(7));
    }
}

#[test]
fn sigquit_lists_at_most_a_thousand_processes() {
    let body = r#"
        (data (i32.const 128) "sleeper")
        (func (export "sleeper") (call $sleep (i64.const 1000000)))
        (func (export "_start") (local $i i32)
          (loop $more
            (drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 128) (i32.const 7)
              (i32.const 0) (i32.const 0) (i32.const 24)))
            (br_if $more (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1500))))
          (call $ready)
          (call $sleep (i64.const 1000000)))"#;
    let mut program = Program::start_text(&["--workers", "2"], &program(body));
    program.signal(Signal::SIGQUIT);
    let lines = program.lines(1002);
    assert_eq!(lines[0], "1501 processes");
    assert_eq!(lines[1001], "… and 501 more");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.end().1.code(), Some(143));
}

#[test]
fn signals_ignored_at_the_start_stay_ignored() {
    use std::process::Command;

    // It reads a byte of standard input, and exits with the number of bytes read.
    let directory = with_app(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\06\00\00\00")
            (data (i32.const 16) "ready\n")
            (func (export "_start")
                (drop (call $fd_write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
                (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
                (call $exit (i32.load (i32.const 8)))))"#,
    );
    let script = "trap '' INT TERM QUIT; exec \"$0\" app.wasm";
    let mut shell = Command::new("sh");
    shell.current_dir(directory.path()).args(["-c", script, env!("CARGO_BIN_EXE_lunatic-exec")]);
    shell.env_remove("HOME").env_remove("XDG_CACHE_HOME").stdin(Stdio::piped()).stderr(Stdio::piped());
    let mut child = shell.spawn().expect("a shell");
    let stderr = child.stderr.take().expect("it is piped");
    let mut program = Program { child: Killed(child), said: BufReader::new(Box::new(stderr)) };
    program.expect("ready");
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGTERM] {
        program.signal(signal);
    }
    // Long enough for the signal to have been handled.
    std::thread::sleep(Duration::from_millis(200));
    let mut stdin = program.child.stdin.take().expect("it is piped");
    std::io::Write::write_all(&mut stdin, b"x").expect("it reads");
    let (_, status, _) = program.end();
    assert_eq!(status.code(), Some(1), "{status:?}");
}
