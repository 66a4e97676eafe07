//! Real guests, run by the command: programs built with the published `lunatic` crate, and plain WASI ones.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::OnceLock;

use lunatic_tests::commands::{self, command, run, run_scenario, stderr, stdout};
use lunatic_tests::guests::build;

fn prepared(directory: &str, name: &str) -> PathBuf {
    let wasm = build(directory, name);
    let output = wasm.with_extension(format!("{}.lwasm", std::process::id()));
    let status = command("lunatic-prep").arg(&wasm).arg("-o").arg(&output).status().expect("it runs");
    assert!(status.success());
    output
}

fn actors() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| prepared("tests/guests/actors", "test-actors"))
}

fn sqlite() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| prepared("tests/guests/sqlite", "test-sqlite"))
}

fn plain() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| prepared("tests/guests/plain", "test-plain"))
}

lunatic_tests::cache!("guests");

/// Runs a scenario on one worker and on two.
fn scenario(name: &str) -> Vec<Output> {
    run_scenario(&["--cache-dir", cache()], actors(), name)
}

#[test]
fn output_of_children_can_be_redirected() {
    for workers in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        let dir = format!("{}::/", directory.path().display());
        let options = ["--cache-dir", cache(), "--workers", workers, "--dir", &dir];
        let output = run(&options, actors(), &["redirects"]);
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        assert_eq!(stdout(&output), "done: redirects\n");
    }
}

#[test]
fn the_program_in_the_readme_runs() {
    let module = build("examples/counter", "counter");
    for workers in ["1", "2"] {
        let output = run(&["--no-cache", "--workers", workers], &module, &[]);
        assert_eq!(stdout(&output), "the sum is 2\nthe sum is 5\nthe sum is 10\n", "{}", stderr(&output));
        assert!(output.status.success());
    }
}

/// HOSTILE 31 and 33: pipes without another end, endless devices, silent standard input.
#[cfg(target_os = "linux")]
#[test]
fn waiting_for_pipes_and_devices_does_not_hold_a_worker() {
    for workers in ["1", "2"] {
        let directory = tempfile::tempdir().unwrap();
        for name in ["in", "out"] {
            let made = std::process::Command::new("mkfifo").arg(directory.path().join(name)).status();
            assert!(made.unwrap().success());
        }
        let dir = format!("{}::files", directory.path().display());
        let exec = command("lunatic-exec");
        let mut limited = std::process::Command::new("timeout");
        limited.arg(commands::PATIENCE).arg(exec.get_program()).args(["--cache-dir", cache()]);
        limited.args(["--workers", workers, "--dir", &dir, "--dir", "/dev::dev:ro"]);
        limited.arg(actors()).arg("hostages");
        // Standard input that is open and silent.
        let silent = std::process::Command::new("sleep").arg("1000").stdout(Stdio::piped()).spawn();
        let mut silent = silent.unwrap();
        let output = limited.stdin(silent.stdout.take().unwrap()).output().unwrap();
        silent.kill().unwrap();
        silent.wait().unwrap();
        assert!(output.status.success(), "{workers} workers: {}{}", stdout(&output), stderr(&output));
    }
}

lunatic_tests::scenarios! { scenario:
    messages_of_any_size_arrive => "messages",
    tags_select_messages => "tags",
    receiving_and_sleeping_time_out => "timeouts",
    a_failed_link_becomes_a_message => "links",
    a_failed_link_kills => "link-kills",
    a_monitor_tells => "monitors",
    names_are_found => "registry",
    configs_limit_children => "configs",
    tasks_return_results => "tasks",
    timers_fire_in_order_or_not_at_all => "timers",
    a_killed_spinner_is_gone => "kill",
    ticks_come_among_spinners => "ticks",
    a_process_past_its_memory_dies_alone => "memory",
    panics_and_traps_are_caught => "catch",
    a_caught_panic_leaves_nothing_on_the_guests_stack => "panics",
    abstract_processes_start_answer_and_fail => "abstract-process",
    supervisors_restart_what_fails => "supervisor",
}

#[test]
fn a_childs_panic_is_reported_once_and_readably() {
    for output in scenario("panic-in-child") {
        let report = stderr(&output);
        assert!(report.contains("a child's panic"), "{report}");
        assert!(report.contains("unreachable"), "{report}");
        assert!(report.contains("_lunatic_spawn_by_index"), "a frame with a name: {report}");
    }
}

#[test]
fn the_published_sqlite_crate_works() {
    for name in ["memory", "file", "errors", "refused"] {
        let directory = tempfile::tempdir().expect("a directory");
        let dir = format!("{}::data", directory.path().to_str().expect("a name in UTF-8"));
        let output = run(&["--cache-dir", cache(), "--dir", &dir], sqlite(), &[name]);
        assert_eq!(stdout(&output), format!("done: {name}\n"), "{}", stderr(&output));
        assert!(output.status.success(), "{name}: {}", stderr(&output));
    }
    let output = run(&["--cache-dir", cache()], sqlite(), &["unknown-table"]);
    assert!(
        !output.status.success() && stderr(&output).contains("no such table: absent"),
        "{}",
        stderr(&output)
    );
}

/// Runs a scenario on a simulated timeline. Returns its output and the trace.
fn simulated(options: &[&str], seed: &str, name: &str) -> (Output, Vec<u8>) {
    let directory = tempfile::tempdir().expect("a directory");
    let trace = directory.path().join("trace");
    let given = ["--seed", seed, "--trace", trace.to_str().expect("a name in UTF-8")];
    let output = run(&[options, &given].concat(), actors(), &[name]);
    (output, std::fs::read(trace).expect("it was written"))
}

#[test]
fn a_seed_determines_the_run_of_a_real_program() {
    let cache = tempfile::tempdir().expect("a directory");
    let options = ["--cache-dir", cache.path().to_str().expect("a name in UTF-8")];
    for name in ["links", "tasks", "supervisor"] {
        // The first run compiles the program, the others take it from the cache.
        let runs = ["1", "1", "2"].map(|seed| simulated(&options, seed, name));
        for (output, _) in &runs {
            assert_eq!(
                (stdout(output), output.status.code()),
                (format!("done: {name}\n"), Some(0)),
                "{}",
                stderr(output)
            );
        }
        let [(one, trace), (again, same), (_, other)] = runs;
        assert_eq!((stderr(&one), trace.len()), (stderr(&again), same.len()));
        assert!(trace == same, "{name}: two traces of one seed");
        assert!(trace != other, "{name}: one trace for two seeds");
    }
}

/// Without `timers`, which sets two timers and expects them to be only a moment apart.
#[test]
fn a_sweep_finds_no_failure_in_correct_programs() {
    let cache = tempfile::tempdir().expect("a directory");
    let cache = cache.path().to_str().expect("a name in UTF-8");
    for (seeds, names) in [
        (
            "0..200",
            &["tags", "timeouts", "links", "link-kills", "monitors", "registry", "configs", "tasks"][..],
        ),
        ("0..20", &["kill", "ticks", "memory", "abstract-process", "supervisor"]),
    ] {
        for name in names {
            let output = run(&["--cache-dir", cache, "--seeds", seeds], actors(), &[name]);
            assert!(output.status.success(), "{name}: {}", stderr(&output));
            assert!(stderr(&output).starts_with(&format!("lunatic-exec: seeds {seeds}: none fails")));
        }
    }
}

#[test]
fn a_program_from_the_cache_behaves_the_same() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let cache = directory.path().to_str().expect("a name in UTF-8");
    let fresh = run(&["--no-cache"], plain(), &["recurse"]);
    for _ in 0..2 {
        let output = run(&["--cache-dir", cache], plain(), &[]);
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("Hello, world!\n", Some(0)));
        // The backtrace has the same frames, names and offsets.
        let output = run(&["--cache-dir", cache], plain(), &["recurse"]);
        assert_eq!((output.status, stderr(&output)), (fresh.status, stderr(&fresh)));
    }
    assert_eq!(std::fs::read_dir(cache).expect("it is there").count(), 1);
}

#[test]
fn the_example_prints_a_thousand_sums() {
    let module = prepared("examples/sums", "sums");
    for workers in ["1", "2"] {
        let output = run(&["--workers", workers], &module, &[]);
        assert!(output.status.success(), "{}", stderr(&output));
        let mut sum = 0;
        let expected: String = (0..1000u64)
            .map(|index| {
                sum += index;
                format!("Sum until {index}: {sum}\n")
            })
            .collect();
        assert_eq!(stdout(&output), expected);
    }
}

#[test]
fn a_plain_program_runs_prepared_and_unprepared() {
    let wasm = build("tests/guests/plain", "test-plain");
    for module in [plain(), &wasm] {
        let output = run(&[], module, &[]);
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("Hello, world!\n", Some(0)));
    }
}

#[test]
fn guests_of_older_versions_run() {
    for (directory, name) in [("tests/guests/v0.12", "test-v0-12"), ("tests/guests/v0.13", "test-v0-13")] {
        let module = build(directory, name);
        for workers in ["1", "2"] {
            let output = run(&["--workers", workers], &module, &[]);
            let ended = (stdout(&output), output.status.code());
            assert_eq!(ended, ("42\n6\n".into(), Some(0)), "{name}: {}", stderr(&output));
        }
    }
}

#[test]
fn arguments_after_the_module_are_passed_to_the_guest() {
    let output = run(&[], plain(), &["args", "--workers", "-x", ""]);
    assert_eq!(stdout(&output), "[\"--workers\", \"-x\", \"\"]\n");
}

#[test]
fn the_environment_has_the_requested_variables() {
    let output = command("lunatic-exec")
        .env("PASSED_ON", "yes")
        .env("NOT_PASSED_ON", "no")
        .args(["--env", "GIVEN=a=b", "--env", "PASSED_ON", "--env", "NOT_SET"])
        .arg(plain())
        .arg("env")
        .output()
        .expect("it runs");
    assert_eq!(stdout(&output), "GIVEN=a=b\nPASSED_ON=yes\n");
}

#[test]
fn the_exit_status_is_the_guests() {
    for status in [0, 1, 7, 255] {
        assert_eq!(run(&[], plain(), &["exit", &status.to_string()]).status.code(), Some(status));
    }
    let output = run(&[], plain(), &["panic"]);
    assert_eq!(output.status.code(), Some(134));
    assert!(stderr(&output).contains("a plain panic"), "{}", stderr(&output));
}

#[test]
fn a_stack_overflow_is_a_trap_with_a_report() {
    let output = run(&[], plain(), &["recurse"]);
    assert_eq!(output.status.code(), Some(134));
    let report = stderr(&output);
    assert!(report.contains("call stack exhausted") || report.contains("out of bounds"), "{report}");
    assert!(report.contains("test_plain::recurse"), "{report}");
}

#[test]
fn a_backtrace_has_the_lines_of_inlined_functions() {
    let wasm = build("tests/guests/lines", "test_lines");
    let module = prepared("tests/guests/lines", "test_lines");
    let cache = tempfile::tempdir().expect("a temporary directory");
    let cache = cache.path().to_str().expect("a name in UTF-8");
    let report = |options: &[&str], module: &Path| {
        let output = run(options, module, &[]);
        assert_eq!(output.status.code(), Some(134));
        stderr(&output)
    };
    let fresh = report(&["--no-cache"], &module);
    let shown: Vec<&str> = fresh.lines().map(str::trim_start).collect();
    let source = include_str!("../guests/lines/src/lib.rs");
    let mut place = 0;
    for function in ["innermost", "middle", "outer", "trap"] {
        let comment = if function == "innermost" { "kind 0" } else { function };
        let line =
            source.lines().position(|line| line.ends_with(&format!("// {comment}"))).expect("it has one");
        let (name, line) = (format!("{function} at "), format!("src/lib.rs:{}:", line + 1));
        let found = shown[place..].iter().position(|shown| shown.contains(&name) && shown.contains(&line));
        place += found.unwrap_or_else(|| panic!("{function}, line {line} in\n{fresh}"));
        let is_inlined = shown[place].ends_with(" (inlined)");
        assert_eq!(is_inlined, function != "outer", "{fresh}");
    }
    // The same for all ways to prepare and compile the module.
    assert_eq!(report(&["--no-cache"], &wasm), fresh);
    for _ in 0..2 {
        assert_eq!(report(&["--cache-dir", cache], &module), fresh);
    }
    // The same for an unprepared module, except for the offsets.
    let without_offsets = |report: &str| {
        let lines = report.lines().filter(|line| !line.contains("warning"));
        lines.map(|line| line.split(" (0x").next().expect("a part").to_owned()).collect::<Vec<_>>()
    };
    let plain = report(&["--no-cache", "--unmetered"], &wasm);
    assert_eq!(without_offsets(&plain), without_offsets(&fresh));
}

#[test]
fn stdin_is_read_to_its_end() {
    let mut child = command("lunatic-exec")
        .arg(plain())
        .arg("echo")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it runs");
    let text = "line\n".repeat(50_000);
    let mut stdin = child.stdin.take().expect("it is piped");
    let writer = std::thread::spawn({
        let text = text.clone();
        move || stdin.write_all(text.as_bytes()).expect("the guest reads")
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it wrote");
    assert!(stdout(&output) == text, "{} bytes", output.stdout.len());
    assert_eq!(stderr(&output), "250000 bytes\n");
}

#[test]
fn all_output_is_written_however_the_program_ends() {
    let output = run(&[], plain(), &["lines", "100000"]);
    let expected: String = (0..100_000).map(|line| format!("line {line}\n")).collect();
    assert!(stdout(&output) == expected, "{} bytes", output.stdout.len());
}

#[test]
fn files_are_accessible_below_preopened_directories_only() {
    let directory = tempfile::tempdir().expect("a directory");
    let given = format!("{}::/data", directory.path().display());
    let output = run(&["--dir", &given], plain(), &["files", "/data"]);
    assert_eq!(stdout(&output), "[\"b.txt\", \"sub\"]\n", "{}", stderr(&output));
    assert_eq!(std::fs::read_dir(directory.path()).expect("it exists").count(), 0);

    std::fs::create_dir(directory.path().join("inside")).expect("a directory");
    std::fs::write(directory.path().join("secret"), "secret").expect("a file");
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", directory.path().join("inside/link")).expect("a link");
    let inside = format!("{}::/data", directory.path().join("inside").display());
    for path in ["/data/../secret", "/data/link", "/secret", "/etc/passwd"] {
        let output = run(&["--dir", &inside], plain(), &["read", path]);
        assert!(!stdout(&output).contains("secret\n"), "{path}: {}", stdout(&output));
        assert!(!stdout(&output).contains("root:"), "{path}: {}", stdout(&output));
    }
}

#[test]
fn a_sweep_finds_the_race_that_real_runs_do_not_show() {
    let module = prepared("examples/account", "account");
    for workers in ["1", "2"] {
        let output = run(&["--workers", workers], &module, &[]);
        assert_eq!((stdout(&output).as_str(), output.status.code()), ("200 in the account\n", Some(0)));
    }
    let output = run(&["--seeds", "0..10000"], &module, &[]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("100 in the account\n", Some(134)));
    assert!(stderr(&output).contains(" fails: run it again with --seed "), "{}", stderr(&output));
}
