//! `lunatic-exec --jail`: programs behave in the jail as they do outside, and all threads are in it. Attempts to escape are in
//! `executor/tests/jail.rs`.
#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64")))]

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use common::{Killed, error_of, exec as command, feed, skip, with_app};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// The common part of all programs here.
const PRELUDE: &str = r#"
    (memory (export "memory") 2)
    (data (i32.const 100) "child")
    (data (i32.const 120) "file")
    (data (i32.const 140) "\7f\00\00\01")
    (data (i32.const 160) "localhost:80")
    (data (i32.const 180) "\00asm\01\00\00\00")
    (data (i32.const 200) "data/base.db")
    (data (i32.const 220) "CREATE TABLE IF NOT EXISTS t(x); INSERT INTO t VALUES (datetime(0, 'unixepoch', 'localtime'))")
    (data (i32.const 320) "ready\n")
    (func (export "lunatic_alloc") (param i32) (result i32) (i32.const 65536))
    (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
    (func $well (param i32) (call $assert (i32.eqz (local.get 0))))
    (func $tell (param i64)
      (call $create_data (i64.const 1) (i64.const 0))
      (drop (call $send_raw (local.get 0))))
    (func $hear (call $well (call $receive (i32.const 0) (i32.const 0) (i64.const -1))))
    ;; In a directory, with flags and with rights; the descriptor is at 64.
    (func $open (param $directory i32) (param $how i32) (param $rights i64) (result i32)
      (call $path_open (local.get $directory) (i32.const 0) (i32.const 120) (i32.const 4) (local.get $how)
        (local.get $rights) (i64.const 0) (i32.const 0) (i32.const 64)))
    (func $say (param $to i32) (param $text i32) (param $length i32)
      (i32.store (i32.const 0) (local.get $text))
      (i32.store (i32.const 4) (local.get $length))
      (call $well (call $fd_write (local.get $to) (i32.const 0) (i32.const 1) (i32.const 8))))
    ;; The bytes read are at 1024.
    (func $read (param $from i32) (result i32)
      (i32.store (i32.const 0) (i32.const 1024))
      (i32.store (i32.const 4) (i32.const 1024))
      (call $well (call $fd_read (local.get $from) (i32.const 0) (i32.const 1) (i32.const 8)))
      (i32.load (i32.const 8)))
    (func $connect (param $port i32) (result i32)
      (call $tcp_connect (i32.const 4) (i32.const 140) (local.get $port) (i32.const 0) (i32.const 0) (i64.const -1)
        (i32.const 72)))
    (func $bind (result i32)
      (call $tcp_bind (i32.const 4) (i32.const 140) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 72)))
"#;

fn program(body: &str) -> String {
    format!("(module {PRELUDE} {body})")
}

/// Runs `app.wasm` in a jail. Returns `None` if the kernel has none.
fn run(directory: &Path, options: &[&str]) -> Option<Output> {
    let output =
        command(directory, &[&["--jail"], options, &["app.wasm"]].concat()).output().expect("it starts");
    (!has_no_jail(&output)).then_some(output)
}

/// Whether the command reports that the kernel has no jail. The test is then skipped.
fn has_no_jail(output: &Output) -> bool {
    let has_none = output.status.code() == Some(1)
        && String::from_utf8_lossy(&output.stderr).contains("the kernel has no landlock");
    if has_none {
        skip("the kernel has no landlock");
    }
    has_none
}

/// Runs a program that has to succeed. Returns its output, or `None` if the kernel has no jail.
#[track_caller]
fn well(options: &[&str], body: &str) -> Option<Vec<u8>> {
    let directory = with_app(&program(body));
    for name in ["data", "fixed"] {
        fs::create_dir(directory.path().join(name)).expect("made");
        fs::write(directory.path().join(name).join("file"), "content\n").expect("written");
    }
    let output = run(directory.path(), options)?;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    Some(output.stdout)
}

#[test]
fn directories_work_in_a_jail() {
    let said = well(
        &["--dir", "data", "--dir", "fixed:ro"],
        r#"(func (export "_start")
          (call $well (call $open (i32.const 4) (i32.const 0) (i64.const 2)))
          (call $say (i32.const 1) (i32.const 1024) (call $read (i32.load (i32.const 64))))
          ;; Emptied, and written.
          (call $well (call $open (i32.const 3) (i32.const 8) (i64.const 66)))
          (call $say (i32.load (i32.const 64)) (i32.const 320) (i32.const 6))
          ;; Not what is for reading.
          (call $assert (call $open (i32.const 4) (i32.const 0) (i64.const 64))))"#,
    );
    assert!(said.is_none_or(|said| said == b"content\n"));
}

#[test]
fn times_can_be_set_below_writable_directories_only() {
    let said = well(
        &["--dir", "data", "--dir", "fixed:ro"],
        r#"(func $times (param $directory i32) (param $length i32) (param $follow i32) (result i32)
          (call $path_filestat_set_times (local.get $directory) (local.get $follow) (i32.const 120) (local.get $length)
            (i64.const 0) (i64.const 5000000000) (i32.const 4)))
        (func (export "_start")
          (call $well (call $times (i32.const 3) (i32.const 4) (i32.const 1)))
          (call $assert (call $times (i32.const 4) (i32.const 4) (i32.const 1)))
          (call $well (call $fd_filestat_set_times (i32.const 3) (i64.const 0) (i64.const 5000000000) (i32.const 4)))
          (call $say (i32.const 1) (i32.const 320) (i32.const 6)))"#,
    );
    assert!(said.is_none_or(|said| said == b"ready\n"));
}

#[test]
fn databases_work_in_a_jail() {
    well(
        &["--dir", "data"],
        r#"(func (export "_start")
          (call $assert (i64.eqz (call $sqlite::open (i32.const 200) (i32.const 12) (i32.const 64))))
          (call $well (call $sqlite::execute (i64.load (i32.const 64)) (i32.const 220) (i32.const 32)))
          (call $assert (i32.eqz (call $sqlite::execute (i64.load (i32.const 64)) (i32.const 253) (i32.const 60)))))"#,
    );
}

#[test]
fn streams_and_variables_work_in_a_jail() {
    let directory = with_app(&program(
        r#"(func (export "_start")
          (call $well (call $environ_get (i32.const 64) (i32.const 512)))
          (call $say (i32.const 1) (i32.const 512) (i32.const 3))
          (call $say (i32.const 2) (i32.const 512) (i32.const 3))
          (call $say (i32.const 1) (i32.const 1024) (call $read (i32.const 0)))
          (call $exit (i32.const 7)))"#,
    ));
    let output = feed(command(directory.path(), &["--jail", "--env", "A=b", "app.wasm"]), b"input");
    if has_no_jail(&output) {
        return;
    }
    assert_eq!(
        (output.status.code(), &*output.stdout, &*output.stderr),
        (Some(7), &b"A=binput"[..], &b"A=b"[..])
    );
}

#[test]
fn thousands_of_processes_run_on_two_workers() {
    well(
        &["--workers", "2"],
        r#"(func (export "child") (param $parent i64)
          (call $sleep (i64.const 1))
          (call $tell (local.get $parent)))
        (func (export "_start") (local $count i32)
          (i32.store8 (i32.const 80) (i32.const 0x7e))
          (i64.store (i32.const 81) (call $me))
          (loop $more
            (call $well (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 100) (i32.const 5)
              (i32.const 80) (i32.const 17) (i32.const 64)))
            (br_if $more (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 5000))))
          (loop $more
            (call $hear)
            (br_if $more (local.tee $count (i32.sub (local.get $count) (i32.const 1))))))"#,
    );
}

#[test]
fn guests_can_compile_modules_in_a_jail() {
    well(
        &[],
        r#"(func (export "_start") (call $well (call $compile_module (i32.const 180) (i32.const 8) (i32.const 64))))"#,
    );
}

#[test]
fn a_trap_is_reported_from_a_jail() {
    let directory = with_app(&program(r#"(func $fails (export "_start") (unreachable))"#));
    let Some(output) = run(directory.path(), &[]) else { return };
    let report = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(134) && report.contains("fails"), "{output:?}");
}

/// Connects to a listener of this test, looks `localhost` up, and listens.
#[test]
fn sockets_follow_the_network_rules() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let attempt = |options: &[&str], connects: bool, resolves: bool, binds: bool| {
        let asserted =
            |call: &str, is_well| format!("(call {} {call})", if is_well { "$well" } else { "$assert" });
        let body = [
            asserted(&format!("(call $connect (i32.const {port}))"), connects),
            asserted(
                "(call $resolve (i32.const 160) (i32.const 12) (i64.const -1) (i32.const 72))",
                resolves,
            ),
            asserted("(call $bind)", binds),
        ];
        well(options, &format!("(func (export \"_start\") {})", body.concat()));
    };
    let here = format!("127.0.0.1:{port}");
    attempt(&[], true, true, true);
    attempt(&["--no-network"], false, false, false);
    attempt(&["--no-network", "--allow-connect", &here], true, false, false);
    attempt(&["--no-network", "--allow-connect", "127.0.0.1:1"], false, false, false);
    attempt(&["--no-network", "--allow-resolve", "localhost"], false, true, false);
    attempt(&["--no-network", "--allow-bind", "127.0.0.1:0"], false, false, true);
}

/// Every thread of the command is in the jail, and the command ends on SIGTERM.
#[test]
fn all_threads_are_in_the_jail_and_signals_are_handled() {
    let directory = with_app(&program(
        r#"(func (export "_start")
          (call $say (i32.const 2) (i32.const 320) (i32.const 6))
          (call $sleep (i64.const -1)))"#,
    ));
    let options =
        ["--jail", "--workers", "2", "--prometheus", "127.0.0.1:0", "--listen", "127.0.0.1:0", "app.wasm"];
    let child = command(directory.path(), &options).stderr(Stdio::piped()).spawn().expect("it starts");
    let mut child = Killed(child);
    let said = BufReader::new(child.stderr.take().expect("it is piped"));
    let mut lines = said.lines().map(|line| line.expect("it is text"));
    let mut hears = |words: [&str; 2]| {
        lines.by_ref().find(|line| words.iter().any(|word| line.contains(word))).expect("it says so")
    };
    if hears(["metrics at", "no landlock"]).contains("no landlock") {
        return skip("the kernel has no landlock");
    }
    hears(["ready"; 2]);
    let mut threads = 0;
    for thread in fs::read_dir(format!("/proc/{}/task", child.id())).expect("it lives") {
        let status = fs::read_to_string(thread.expect("listed").path().join("status")).expect("it lives");
        assert!(status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n"), "{status}");
        // The rules allow a port below 1024 here.
        for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            let bits = capabilities(&status, set);
            assert_eq!(bits & !NET_BIND_SERVICE, 0, "{set}: {bits:x}");
        }
        threads += 1;
    }
    assert!(threads >= 4, "workers, writers, signals, metrics: {threads}");
    let pid = Pid::from_raw(i32::try_from(child.id()).expect("it is one of the system's"));
    kill(pid, Signal::SIGTERM).expect("it is our child");
    assert_eq!(child.wait().expect("it ends").code(), Some(143));
}

/// The bit of the capability for ports below 1024.
const NET_BIND_SERVICE: u64 = 1 << 10;

/// Reads a set of capabilities from a thread's status.
fn capabilities(status: &str, set: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(set)?.strip_prefix(':'));
    u64::from_str_radix(line.expect("Linux says so").trim(), 16).expect("a number")
}

#[test]
fn capabilities_are_given_up_in_a_jail_and_kept_outside() {
    let of_command = |options: &[&str]| {
        let directory = with_app(&program(
            r#"(func (export "_start")
              (call $say (i32.const 2) (i32.const 320) (i32.const 6))
              (call $sleep (i64.const -1)))"#,
        ));
        let arguments = [options, &["app.wasm"]].concat();
        let child = command(directory.path(), &arguments).stderr(Stdio::piped()).spawn().expect("it starts");
        let mut child = Killed(child);
        let mut line = String::new();
        BufReader::new(child.stderr.take().expect("it is piped")).read_line(&mut line).expect("text");
        assert_eq!(line, "ready\n");
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it lives");
        ["CapInh", "CapPrm", "CapEff", "CapAmb"].map(|set| capabilities(&status, set))
    };
    let own = fs::read_to_string("/proc/self/status").expect("Linux has it");
    assert_eq!(of_command(&[])[1], capabilities(&own, "CapPrm"), "outside");
    assert_eq!(of_command(&["--jail", "--no-network"]), [0; 4]);
}

#[test]
fn a_jailed_command_reads_the_cache_and_does_not_write_it() {
    let directory = with_app(&program("(func (export \"_start\"))"));
    let cache = directory.path().join("cache");
    let entries = || fs::read_dir(&cache).expect("it is made").count();
    let options = ["--cache-dir", "cache"];
    let Some(output) = run(directory.path(), &options) else { return };
    assert!(output.status.success() && entries() == 0, "{output:?}");
    command(directory.path(), &["--cache-dir", "cache", "app.wasm"]).output().expect("it starts");
    assert_eq!(entries(), 1);
    let output = run(directory.path(), &options).expect("there is a jail");
    assert!(output.status.success() && entries() == 1, "{output:?}");
    // The same if the program could change the cache.
    for dir in [".", "cache"] {
        let output =
            run(directory.path(), &[&options[..], &["--dir", dir]].concat()).expect("there is a jail");
        let error = error_of(&output, 1);
        assert!(error.starts_with("lunatic-exec: error: jail: the cache of native code "), "{error}");
    }
    let output =
        run(directory.path(), &[&options[..], &["--dir", ".:ro"]].concat()).expect("there is a jail");
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn tests_run_in_a_jail() {
    let directory = with_app(
        r##"(module
            (memory (export "memory") 1)
            (data (i32.const 500) "RUST_TEST_THREADS")
            (func (export "_start"))
            (func (export "#lunatic_test_k::passes"))
            (func (export "#lunatic_test_#panic_#k::panics") (unreachable)))"##,
    );
    let Some(output) = run(directory.path(), &[]) else { return };
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("2 passed"), "{output:?}");
}

#[test]
fn options_that_conflict_with_a_jail_are_refused() {
    let directory = with_app("(module (func (export \"_start\")))");
    for option in ["--perf-map", "--seed=1", "--seeds=1..2"] {
        let output = command(directory.path(), &["--jail", option, "app.wasm"]).output().expect("it starts");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && error.contains("cannot be used with"), "{output:?}");
    }
    let Some(output) = run(directory.path(), &["--dir", "missing"]) else { return };
    let error = error_of(&output, 1);
    assert!(
        error.starts_with("lunatic-exec: error: jail: missing cannot be opened: No such file"),
        "{error}"
    );
}
