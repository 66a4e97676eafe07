//! A program's metrics are served to Prometheus, and printed on SIGQUIT.
#![cfg(unix)]

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{ChildStderr, Stdio};
use std::time::Duration;

use common::{Killed, command, with_app};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Reports metrics of each kind, prints a line, and waits for ever.
const APP: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "http.requests\n\1b[31mevil")
    (data (i32.const 64) "load")
    (data (i32.const 80) "seconds")
    (data (i32.const 96) "\80\00\00\00\05\00\00\00")
    (data (i32.const 128) "done\n")
    (func (export "_start")
        (call $metrics::counter (i32.const 0) (i32.const 23) (i64.const 41))
        (call $metrics::counter (i32.const 0) (i32.const 23) (i64.const 1))
        (call $metrics::gauge (i32.const 64) (i32.const 4) (f64.const 2.5))
        (call $metrics::decrement_gauge (i32.const 64) (i32.const 4) (f64.const 1))
        (call $metrics::histogram (i32.const 80) (i32.const 7) (f64.const 0.3))
        (drop (call $fd_write (i32.const 1) (i32.const 96) (i32.const 1) (i32.const 112)))
        (call $sleep (i64.const -1))))"#;

struct Exec {
    child: Killed,
    stderr: BufReader<ChildStderr>,
    address: String,
}

impl Exec {
    /// Waits until the program has reported its metrics.
    fn start() -> (tempfile::TempDir, Exec) {
        let directory = with_app(APP);
        let mut exec = command(
            env!("CARGO_BIN_EXE_lunatic-exec"),
            directory.path(),
            &["--prometheus", "127.0.0.1:0", "app.wasm"],
        );
        let mut child = exec.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut line = String::new();
        stderr.read_line(&mut line).expect("it says where");
        let address = line.trim().strip_prefix("lunatic-exec: metrics at http://").expect("an address");
        let address = address.strip_suffix("/metrics").expect("a path").to_owned();
        let mut said = [0; 5];
        child.stdout.as_mut().expect("it is piped").read_exact(&mut said).expect("it says that it is done");
        (directory, Exec { child: Killed(child), stderr, address })
    }

    fn ask(&self, question: &[u8]) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("it listens");
        stream.write_all(question).expect("there is room");
        let mut answer = String::new();
        // The server closes the connection of a malformed request.
        let _ = stream.read_to_string(&mut answer);
        answer
    }
}

const EXPECTED: [&str; 4] = ["http_requests___31mevil 42", "load 1.5", "seconds_sum 0.3", "seconds_count 1"];

#[test]
fn a_valid_request_is_answered_beside_invalid_and_silent_ones() {
    let (_directory, exec) = Exec::start();
    // Silent connections do not delay others, however many there are.
    let silent: Vec<_> = (0..100).map(|_| TcpStream::connect(&exec.address).expect("it listens")).collect();
    assert_eq!(exec.ask(&[b'x'; 20_000]), "");
    assert!(exec.ask(b"GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 404 "));
    assert!(exec.ask(b"nonsense\r\n\r\n").starts_with("HTTP/1.0 400 "));
    assert!(exec.ask(b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 405 "));
    let head = exec.ask(b"HEAD /metrics HTTP/1.1\r\n\r\n");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let query = exec.ask(b"GET /metrics?collect[]=all HTTP/1.1\r\n\r\n");
    assert!(query.starts_with("HTTP/1.0 200 OK\r\n") && query.contains("\nload 1.5\n"), "{query}");
    let answer = exec.ask(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n");
    let (head, body) = answer.split_once("\r\n\r\n").expect("an answer has a head");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"), "{head}");
    for line in EXPECTED.iter().chain(&[
        "lunatic_metrics_dropped_total 0",
        "lunatic_processes 1",
        "lunatic_sockets 0",
        "lunatic_database_threads 0",
        "lunatic_database_threads_stuck 0",
        "seconds_bucket{le=\"0.5\"} 1",
    ]) {
        assert!(body.lines().any(|other| other == *line), "{line} is not in {body}");
    }
    for line in body.lines() {
        let is_one = line.starts_with("# TYPE ")
            || line.split_once(' ').is_some_and(|(name, value)| {
                name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
                    && value.parse::<f64>().is_ok()
            });
        assert!(is_one, "{line:?}");
    }
    drop(silent);
}

/// Processor time that a process has used so far.
fn used(pid: u32) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("the name is in brackets");
    // The text after the name begins with the third field; these are fields fourteen and fifteen.
    let ticks: u64 =
        fields.split(' ').skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    // Linux counts a hundred ticks per second on all common systems.
    Duration::from_millis(10 * ticks)
}

#[test]
#[cfg(target_os = "linux")]
fn the_metrics_server_pauses_without_descriptors_and_recovers() {
    /// Long enough to distinguish a thread that retries at once from one that pauses.
    const WATCHED: Duration = Duration::from_secs(2);
    let (_directory, exec) = Exec::start();
    let pid = exec.child.id();
    // As many as are open: the next one would get the lowest free number.
    let entries = std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it runs");
    let numbers: Vec<String> =
        entries.map(|entry| entry.expect("listed").file_name().into_string().expect("a number")).collect();
    let open = (0..).find(|number: &u64| !numbers.contains(&number.to_string())).expect("there is an end");
    limit_descriptors(pid, open);
    let clients: Vec<_> = (0..10).map(|_| TcpStream::connect(&exec.address).expect("it listens")).collect();
    let before = used(pid);
    std::thread::sleep(WATCHED);
    let spent = used(pid) - before;
    assert!(spent < WATCHED / 10, "it spins: {spent:?}");
    limit_descriptors(pid, open + 100);
    drop(clients);
    assert!(exec.ask(b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.0 200 OK\r\n"));
}

/// Limits the number of descriptors of a process.
#[cfg(target_os = "linux")]
fn limit_descriptors(pid: u32, limit: u64) {
    let status = std::process::Command::new("prlimit")
        .args([format!("--pid={pid}"), format!("--nofile={limit}:")])
        .status()
        .expect("util-linux has it");
    assert!(status.success());
}

/// HOSTILE 37: names are escaped before they are printed.
#[test]
fn sigquit_prints_metrics() {
    let (_directory, mut exec) = Exec::start();
    kill(Pid::from_raw(exec.child.id() as i32), Signal::SIGQUIT).expect("it runs");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line: &String| !line.starts_with("seconds_count")) {
        let mut line = String::new();
        assert_ne!(exec.stderr.read_line(&mut line).expect("it is text"), 0, "it ended: {lines:?}");
        lines.push(line.trim_end().to_owned());
    }
    for expected in EXPECTED {
        assert!(lines.iter().any(|line| line == expected), "{expected} is not in {lines:?}");
    }
}
