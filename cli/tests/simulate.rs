//! `lunatic-exec --seed` and `--seeds` as a user sees them.

mod common;

use std::fs;
use std::process::Command;

use common::{error_of, exec as command, feed, run_exec as run, with_app};

/// Two children print their names a few times each; the first process waits for both.
const TALKERS: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 100) "one two ")
    (func $say (param $at i32) (local $i i32)
      (i32.store (i32.const 0) (local.get $at))
      (i32.store (i32.const 4) (i32.const 4))
      (loop $again
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (br_if $again (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 8)))))
    (func (export "one") (call $say (i32.const 100)))
    (func (export "two") (call $say (i32.const 104)))
    (func $child (param $name i32)
      (drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (local.get $name) (i32.const 3)
        (i32.const 0) (i32.const 0) (i32.const 16)))
      (call $monitor (i64.load (i32.const 16))))
    (func (export "_start")
      (call $child (i32.const 100))
      (call $child (i32.const 104))
      (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
      (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))))"#;

/// Waits for ever, unless its first random byte is less than 240: about one seed in sixteen.
const RARELY_WAITS: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "\10\00\00\00\06\00\00\00\00\00\00\00\00\00\00\00hello\n")
    (func (export "_start")
      (drop (call $random_get (i32.const 100) (i32.const 1)))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.ge_u (i32.load8_u (i32.const 100)) (i32.const 240)) (then
        (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))))))"#;

/// Copies its input to its output, a line at a time.
const COPY: &str = r#"(module
    (memory (export "memory") 1)
    (func (export "_start")
      (i32.store (i32.const 0) (i32.const 1024))
      (loop $next
        (i32.store (i32.const 4) (i32.const 1000))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.store (i32.const 4) (i32.load (i32.const 8)))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12)))
        (br_if $next (i32.load (i32.const 8))))))"#;

const SPIN: &str = r#"(module (func (export "_start") (loop (br 0))))"#;

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is UTF-8")
}

#[test]
fn a_seed_repeats_its_output_and_another_seed_differs() {
    let directory = with_app(TALKERS);
    let path = directory.path();
    let mut seen = Vec::new();
    for seed in ["0", "1", "2", "3", "4", "18446744073709551615"] {
        let runs = ["first", "second"].map(|trace| {
            let output = run(path, &["--seed", seed, "--trace", trace, "app.wasm"]);
            assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{output:?}");
            (text(&output.stdout), fs::read_to_string(path.join(trace)).expect("it was written"))
        });
        assert_eq!(runs[0], runs[1], "seed {seed}");
        let [(said, trace), _] = runs;
        assert_eq!((said.matches("one ").count(), said.matches("two ").count()), (8, 8), "{said}");
        assert!(
            trace.lines().last().is_some_and(|line| line.contains(" process 1 ended normally")),
            "{trace}"
        );
        assert!(!seen.contains(&trace), "seed {seed}");
        seen.push(trace);
    }
    let outputs = (0..60).map(|seed| run(path, &["--seed", &seed.to_string(), "app.wasm"]).stdout);
    let mut outputs: Vec<_> = outputs.collect();
    outputs.sort_unstable();
    outputs.dedup();
    assert!(outputs.len() > 2, "both speak at once, in another order each time");
}

#[test]
fn the_environment_of_the_command_does_not_influence_a_simulation() {
    let directory = with_app(TALKERS);
    let path = directory.path();
    let plain = run(path, &["--seed", "5", "--trace", "plain", "app.wasm"]);
    let mut pinned = Command::new("taskset");
    let exec = command(path, &[]);
    pinned.current_dir(path).env_clear().env("LUNATIC", "1").args(["-c", "0"]).arg(exec.get_program());
    let pinned = pinned.args(["--seed", "5", "--trace", "pinned", "app.wasm"]).output();
    let Ok(pinned) = pinned else {
        return common::skip("there is no taskset");
    };
    assert_eq!((plain.status, plain.stdout), (pinned.status, pinned.stdout));
    assert_eq!(fs::read(path.join("plain")).unwrap(), fs::read(path.join("pinned")).unwrap());
}

#[test]
fn a_sweep_stops_at_the_first_seed_that_fails_and_shows_it() {
    let directory = with_app(RARELY_WAITS);
    let path = directory.path();
    let output = run(path, &["--seeds", "0..1000", "--trace", "trace", "app.wasm"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(125), &b"hello\n"[..]), "{output:?}");
    let stderr = text(&output.stderr);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    assert!(lines[0].contains(" simulated seconds: it is in a deadlock: "), "{stderr}");
    assert_eq!(lines[1], "lunatic-exec:   process 1 (_start) waits for a message");
    let seed =
        lines[2].strip_prefix("lunatic-exec: seed ").and_then(|rest| rest.split_once(' ')).expect("a seed").0;
    assert_eq!(lines[2], format!("lunatic-exec: seed {seed} fails: run it again with --seed {seed}"));
    // Running the seed again gives the same result.
    let trace = fs::read(path.join("trace")).expect("it was written");
    let again = run(path, &["--seed", seed, "--trace", "again", "app.wasm"]);
    assert_eq!((again.status, &again.stdout), (output.status, &output.stdout));
    assert_eq!(text(&again.stderr).lines().collect::<Vec<_>>(), lines[..2]);
    assert_eq!(fs::read(path.join("again")).expect("it was written"), trace);
    // No earlier seed fails.
    let before = run(path, &["--seeds", &format!("0..{seed}"), "app.wasm"]);
    assert_eq!((before.status.code(), &*before.stdout), (Some(0), &b""[..]), "{before:?}");
    assert!(
        text(&before.stderr).starts_with(&format!("lunatic-exec: seeds 0..{seed}: none fails (")),
        "{before:?}"
    );
}

#[test]
fn a_run_ends_when_the_simulated_time_is_over() {
    let directory = with_app(SPIN);
    let output = run(directory.path(), &["--seed", "1", "--max-time", "0.01", "app.wasm"]);
    let error = error_of(&output, 124);
    assert!(error.starts_with("lunatic-exec: seed 1, after 0.01"), "{error}");
    assert!(error.ends_with("it has not ended when the simulated time was over"), "{error}");
}

#[test]
fn standard_input_is_read_and_is_the_same_for_every_seed() {
    let directory = with_app(COPY);
    let path = directory.path();
    let input = "a line\nanother\n".repeat(1000) + "the end";
    let output = feed(command(path, &["--seed", "3", "app.wasm"]), input.as_bytes());
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), input.clone()));
    let output = feed(command(path, &["--seeds", "0..20", "app.wasm"]), input.as_bytes());
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

#[test]
fn a_closed_reader_does_not_influence_a_simulation() {
    let directory = with_app(TALKERS);
    let path = directory.path();
    run(path, &["--seed", "2", "--trace", "read", "app.wasm"]);
    let mut command = command(path, &["--seed", "2", "--trace", "unread", "app.wasm"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let status = command.stdout(writer).status().expect("the command starts");
    assert_eq!(status.code(), Some(0));
    assert_eq!(fs::read(path.join("read")).unwrap(), fs::read(path.join("unread")).unwrap());
}

#[test]
#[cfg(target_os = "linux")]
fn output_that_cannot_be_written_is_an_error_at_the_end() {
    let directory = with_app(TALKERS);
    let mut command = command(directory.path(), &["--seed", "2", "app.wasm"]);
    let full = fs::File::options().write(true).open("/dev/full").expect("Linux has it");
    let output = command.stdout(full).output().expect("the command starts");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && error.contains("output cannot be written"), "{output:?}");
}

#[test]
fn conflicting_options_are_refused() {
    let directory = with_app(TALKERS);
    let path = directory.path();
    let error = error_of(&run(path, &["--seed", "1", "--dir", ".", "app.wasm"]), 1);
    assert_eq!(
        error,
        "lunatic-exec: error: simulation: a simulation has no files yet: run it without directories"
    );
    let error = error_of(&run(path, &["--seed", "1", "--trace", "missing/trace", "app.wasm"]), 1);
    assert!(error.starts_with("lunatic-exec: error: missing/trace: "), "{error}");
    for arguments in [
        &["--seed", "1", "--seeds", "0..5"][..],
        &["--seed", "-1"],
        &["--seed", "x"],
        &["--seeds", "5..5"],
        &["--seeds", "5"],
        &["--trace", "file"],
        &["--faults", "kill=0.1"],
        &["--max-time", "1"],
        &["--seed", "1", "--faults", "kill"],
        &["--seed", "1", "--faults", "kill=2"],
        &["--seed", "1", "--faults", "murder=0.5"],
        &["--seed", "1", "--max-time", "-1"],
    ] {
        let output = run(path, &[arguments, &["app.wasm"]].concat());
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty() && text(&output.stderr).contains("--help"), "{output:?}");
    }
}

#[test]
fn faults_are_injected_as_asked() {
    let directory = with_app(TALKERS);
    let path = directory.path();
    let said = |faults: &str| {
        let output = run(path, &["--seed", "1", "--faults", faults, "app.wasm"]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        text(&output.stdout).len()
    };
    assert_eq!((said("kill=0"), said("kill=1")), (2 * 8 * 4, 0));
}

/// Several seeds run at a time, and each has the whole limit.
#[test]
fn a_limit_of_processes_applies_to_each_run() {
    let text = r#"(module (func (export "_start") (local $i i32) (loop $again
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 100000))))))"#;
    let directory = with_app(text);
    let output = run(directory.path(), &["--max-processes", "1", "--seeds", "0..200", "app.wasm"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
