//! Standard output and standard error of `lunatic-exec`: a write returns its own error, written bytes are not lost, and two
//! streams that lead to the same file keep their order.
#![cfg(unix)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::with_app;

/// A program with `$write (fd, address, length) -> errno` around a body.
fn program(body: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") 2)
            (data (i32.const 1024) "hello\n")
            (func $write (param $fd i32) (param $at i32) (param $length i32) (result i32)
                (i32.store (i32.const 0) (local.get $at))
                (i32.store (i32.const 4) (local.get $length))
                (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
            {body})"#
    )
}

/// Exits with the errno of one write.
const ONCE: &str =
    r#"(func (export "_start") (call $exit (call $write (i32.const 1) (i32.const 1024) (i32.const 6))))"#;

/// Writes 100,000 bytes, 1000 at a time. Exits with the errno of the first write that fails.
const MANY: &str = r#"
    (func (export "_start") (local $i i32) (local $errno i32)
        (loop $next
            (local.set $errno (call $write (i32.const 1) (i32.const 1024) (i32.const 1000)))
            (if (local.get $errno) (then (call $exit (local.get $errno))))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100)))))"#;

const NO_SPACE: i32 = 51;
const TOO_LARGE: i32 = 22;
const BROKEN_PIPE: i32 = 64;

fn command(directory: &Path) -> Command {
    common::command(env!("CARGO_BIN_EXE_lunatic-exec"), directory, &["app.wasm"])
}

/// Runs a program that writes to this stream. Returns its exit status.
fn status(text: &str, stdout: impl Into<Stdio>) -> Option<i32> {
    let directory = with_app(&program(text));
    command(directory.path()).stdout(stdout).status().expect("the command starts").code()
}

#[test]
fn a_write_to_a_full_device_returns_its_error() {
    let full = || File::options().write(true).open("/dev/full").expect("Linux has it");
    assert_eq!(status(ONCE, full()), Some(NO_SPACE));
    assert_eq!(status(MANY, full()), Some(NO_SPACE));
}

#[test]
fn a_write_to_a_pipe_without_reader_returns_epipe() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    assert_eq!(status(ONCE, writer), Some(BROKEN_PIPE));
}

#[test]
fn a_write_beyond_the_file_size_limit_returns_its_error_and_keeps_the_bytes_below() {
    let directory = with_app(&program(MANY));
    let script = "ulimit -f 64; exec \"$0\" app.wasm > out";
    let mut shell = Command::new("sh");
    shell.current_dir(directory.path()).args(["-c", script, env!("CARGO_BIN_EXE_lunatic-exec")]);
    shell.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    assert_eq!(shell.status().expect("a shell").code(), Some(TOO_LARGE));
    // A block is 512 bytes, or 1024 in some shells.
    let length = fs::metadata(directory.path().join("out")).expect("it is there").len();
    assert!([64 * 512, 64 * 1024].contains(&length), "{length}");
}

/// Writes the lines `0000` to `0999`, alternating between standard output and standard error, and then traps.
const BY_TURNS: &str = r#"
    (func $digit (param $at i32) (param $value i32)
        (i32.store8 (local.get $at) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10)))))
    (func (export "_start") (local $i i32)
        (i32.store8 (i32.const 1028) (i32.const 10))
        (loop $next
            (call $digit (i32.const 1024) (i32.div_u (local.get $i) (i32.const 1000)))
            (call $digit (i32.const 1025) (i32.div_u (local.get $i) (i32.const 100)))
            (call $digit (i32.const 1026) (i32.div_u (local.get $i) (i32.const 10)))
            (call $digit (i32.const 1027) (local.get $i))
            (drop (call $write (i32.add (i32.const 1) (i32.and (local.get $i) (i32.const 1)))
                (i32.const 1024) (i32.const 5)))
            (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
        (unreachable))"#;

#[track_caller]
fn are_in_order(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() > 1000, "{text}");
    let misplaced = (0..1000).find(|&number| lines[number] != format!("{number:04}"));
    assert_eq!(misplaced, None, "the first that is out of place");
    assert!(lines[1000].starts_with("process 1 (_start) trapped: "), "{}", lines[1000]);
}

#[test]
fn two_streams_in_one_file_and_the_report_of_a_trap_are_in_order() {
    let directory = with_app(&program(BY_TURNS));
    let path = directory.path().join("out");
    let file = File::create(&path).expect("created");
    let copy = file.try_clone().expect("another descriptor of it");
    let ended = command(directory.path()).stdout(file).stderr(copy).status().expect("the command starts");
    assert_eq!(ended.code(), Some(134));
    are_in_order(&fs::read_to_string(&path).expect("text"));
}

#[test]
fn two_streams_in_one_pipe_and_the_report_of_a_trap_are_in_order() {
    let directory = with_app(&program(BY_TURNS));
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let copy = writer.try_clone().expect("another descriptor of it");
    let mut command = command(directory.path());
    let mut child = command.stdout(writer).stderr(copy).spawn().expect("the command starts");
    // The child process has the other end, too.
    drop(command);
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("text");
    assert_eq!(child.wait().expect("it ends").code(), Some(134));
    are_in_order(&text);
}

#[test]
fn written_output_is_kept_when_the_command_is_killed() {
    /// Writes 512 bytes at a time to standard output, and a dot to standard error for each write. Then it waits.
    const FILL: &str = r#"
        (func (export "_start") (local $i i32)
            (loop $next
                (if (call $write (i32.const 1) (i32.const 1024) (i32.const 512)) (then unreachable))
                (drop (call $write (i32.const 2) (i32.const 1024) (i32.const 1)))
                (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1024))))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))"#;
    let directory = with_app(&program(FILL));
    let dots = directory.path().join("dots");
    let (mut reader, writer) = std::io::pipe().expect("a pipe");
    let mut command = command(directory.path());
    command.stdin(Stdio::piped()).stdout(writer).stderr(File::create(&dots).expect("created"));
    let mut child = command.spawn().expect("the command starts");
    drop(command);
    let told = || fs::metadata(&dots).expect("it is there").len();
    // Until there are no more dots: the pipe is full.
    let mut last = 0;
    while last == 0 || told() > last {
        last = told();
        std::thread::sleep(Duration::from_millis(300));
    }
    child.kill().expect("it is our child");
    child.wait().expect("it ends");
    let mut arrived = Vec::new();
    reader.read_to_end(&mut arrived).expect("readable");
    let told = told();
    assert!(told < 1024, "the pipe took all of it");
    assert!(arrived.len() as u64 >= 512 * told, "{} bytes arrived of {told} writes", arrived.len());
}

#[test]
fn standard_output_can_be_synced() {
    const SYNC: &str = r#"(func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 1024) (i32.const 6)))
        (call $exit (call $fd_sync (i32.const 1))))"#;
    assert_eq!(status(SYNC, tempfile::tempfile().expect("a file")), Some(0));
    assert_eq!(status(SYNC, Stdio::null()), Some(0));
}
