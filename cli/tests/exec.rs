//! `lunatic-exec` as a user sees it, mostly when it gets something that it cannot run: one line of error, the right exit status,
//! and nothing is run.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{directory, error_of, exec as command, feed, find, run_exec as run, wasm, with_app};
use lunatic_instrument::{Options, prepare};

const SPIN: &str = r#"(module (func $spin (export "_start") (loop (br 0))))"#;

/// Prints `hello`.
const HELLO: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start") (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))"#;

/// Runs the command with a file of this name and these bytes, which it refuses. Returns the message after the name.
#[track_caller]
fn refused(name: &str, bytes: &[u8]) -> String {
    let directory = directory();
    fs::write(directory.path().join(name), bytes).expect("written");
    let error = error_of(&run(directory.path(), &[name]), 1);
    let begin = format!("lunatic-exec: error: {name}: ");
    error.strip_prefix(&begin).unwrap_or_else(|| panic!("{error}")).to_owned()
}

fn prepared(text: &str) -> Vec<u8> {
    prepare(&wasm(text), &Options::default()).expect("the module is valid").bytes
}

/// The bytes of a charge of `cost` after the counter was read: `i64.const cost`, `i64.sub`.
fn charge(cost: u8) -> [u8; 3] {
    [0x41, cost, 0x10]
}

#[test]
fn a_file_that_is_not_a_module_is_refused() {
    assert!(refused("text.wasm", b"hello").starts_with("not a WebAssembly module"));
    assert!(refused("empty.wasm", b"").starts_with("not a WebAssembly module"));
    assert!(refused("short.wasm", b"\0as").starts_with("not a WebAssembly module"));
}

#[test]
fn a_truncated_module_is_refused_with_the_place() {
    let whole = wasm(HELLO);
    for length in [8 + 1, whole.len() / 2, whole.len() - 1] {
        let error = refused("truncated.wasm", &whole[..length]);
        assert!(error.starts_with("invalid module: ") && error.contains(" (at byte 0x"), "{length}: {error}");
    }
}

#[test]
fn a_truncated_prepared_module_is_not_mistaken_for_a_plain_one() {
    let whole = prepared(HELLO);
    for length in [whole.len() / 2, whole.len() - 1] {
        let error = refused("truncated.lwasm", &whole[..length]);
        assert!(error.starts_with("invalid module: ") && error.contains(" (at byte 0x"), "{length}: {error}");
    }
}

#[test]
fn an_invalid_module_is_refused_with_the_place() {
    let bytes = wasm(r#"(module (func (export "_start") (drop (i32.add (i32.const 1) (f32.const 1)))))"#);
    let error = refused("invalid.wasm", &bytes);
    let place = find(&bytes, &[0x6a]); // i32.add
    assert_eq!(error, format!("invalid module: type mismatch: expected i32, found f32 (at byte {place:#x})"));
}

#[test]
fn a_component_is_refused_with_advice() {
    let error = refused("component.wasm", &wasm("(component)"));
    assert_eq!(error, "this is a component, not a core module: build for wasm32-wasip1");
}

#[test]
fn all_missing_imports_are_named() {
    let bytes = wasm(
        r#"(module
            (import "env" "first" (func))
            (import "lunatic::process" "process_id" (func (result i64)))
            (import "env" "second" (global i32))
            (import "lunatic::process" "sleep_ms" (func (param i32)))
            (func (export "_start")))"#,
    );
    let error = refused("imports.wasm", &bytes);
    assert!(error.starts_with("missing imports: "), "{error}");
    for name in ["env::first", "env::second", "lunatic::process::sleep_ms"] {
        assert!(error.contains(name), "{name}: {error}");
    }
    assert!(!error.contains("process_id"), "this one is there: {error}");
}

#[test]
fn a_missing_import_is_named_with_the_nearest_existing_one() {
    let refused = |import: &str| {
        refused("imports.wasm", &wasm(&format!("(module (import {import}) (func (export \"_start\")))")))
    };
    for (import, expected) in [
        (
            r#""lunatic::process" "sleep_m" (func (param i64))"#,
            "lunatic::process::sleep_m: unknown function (i64) -> () (did you mean lunatic::process::sleep_ms?)",
        ),
        (
            r#""lunatic::mesage" "get_tags" (func)"#,
            "lunatic::mesage::get_tags: unknown function () -> () (did you mean lunatic::message::get_tag?)",
        ),
        (
            r#""wasi_snapshot_preview2" "fd_write" (func)"#,
            "wasi_snapshot_preview2::fd_write: unknown function () -> () (did you mean \
             wasi_snapshot_preview1::fd_write?)",
        ),
        (r#""env" "abort" (func)"#, "env::abort: unknown function () -> ()"),
        // A function of this name exists with other types.
        (
            r#""lunatic::process" "sleep_ms" (func (param i32))"#,
            "lunatic::process::sleep_ms: expected function (i32) -> (), found function (i64) -> ()",
        ),
        (
            r#""lunatic::message" "send_receive_skip_search" (func)"#,
            "lunatic::message::send_receive_skip_search: expected function () -> (), found function (i64, i64, i64) \
             -> (i32) or function (i64, i64) -> (i32)",
        ),
    ] {
        assert_eq!(refused(import), format!("missing imports: {expected}"));
    }
}

/// The host function that version 0.12 of the `lunatic` crate uses takes no tag: it waits for the tag of the message that it sends.
#[test]
fn a_request_of_version_0_12_waits_for_the_tag_that_it_sends() {
    let text = |call: &str, ty: &str| {
        format!(
            r#"(module
        (import {ty})
        (memory (export "memory") 1)
        (data (i32.const 0) "child")
        (func (export "child") (param $parent i64)
            (drop (call $receive (i32.const 0) (i32.const 0) (i64.const -1)))
            (call $create_data (i64.const 8) (i64.const 0))
            (drop (call $send_raw (local.get $parent)))
            (call $create_data (i64.const 7) (i64.const 0))
            (drop (call $send_raw (local.get $parent))))
        (func (export "_start")
            (i32.store8 (i32.const 16) (i32.const 0x7e))
            (i64.store (i32.const 17) (call $me))
            (drop (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 5)
                (i32.const 16) (i32.const 17) (i32.const 64)))
            (call $create_data (i64.const 7) (i64.const 0))
            (drop {call})
            (call $exit (i32.wrap_i64 (call $get_tag)))))"#
        )
    };
    for (call, ty) in [
        (
            "(call $request (i64.load (i32.const 64)) (i64.const -1))",
            r#""lunatic::message" "send_receive_skip_search" (func $request (param i64 i64) (result i32))"#,
        ),
        (
            "(call $request (i64.const 0) (i64.load (i32.const 64)) (i64.const -1))",
            r#""lunatic::distributed" "send_receive_skip_search" (func $request (param i64 i64 i64) (result i32))"#,
        ),
    ] {
        let directory = with_app(&text(call, ty));
        let output = run(directory.path(), &["app.wasm"]);
        assert_eq!(output.status.code(), Some(7), "{output:?}");
    }
}

#[test]
fn names_from_the_module_cannot_write_to_the_terminal() {
    let error = refused(
        "names.wasm",
        &wasm(r#"(module (import "env" "a\nb\1b[31m" (func)) (func (export "_start")))"#),
    );
    assert!(error.contains("a\\nb\\u{1b}[31m"), "{error}");
    let error = error_of(&run(directory().path(), &["a\nb\u{1b}[31m.wasm"]), 1);
    assert!(error.contains("a\\nb\\u{1b}[31m.wasm: "), "{error}");
}

#[test]
fn reserved_names_in_a_plain_module_are_refused() {
    for import in [r#""charge" (func (param i32))"#, r#""other" (global i32)"#] {
        let text = format!(r#"(module (import "lunatic::metering" {import}) (func (export "_start")))"#);
        let error = refused("reserved.wasm", &wasm(&text));
        assert!(error.starts_with("the import \"lunatic::metering\" "), "{error}");
        assert!(error.contains("(at byte 0x") && error.contains("is reserved: rename it"), "{error}");
    }
}

#[test]
fn a_weakened_charge_is_found() {
    // The charges of an empty loop pay for the branch, and for the entries of the function and the loop.
    let whole = prepared(SPIN);
    let cost = (1..20).rev().find(|cost| whole.windows(3).any(|code| code == charge(*cost)));
    let cost = cost.expect("the module has charges");
    let place = find(&whole, &charge(cost));
    for weaker in (0..cost).chain([0x7f /* -1 */]) {
        let mut bytes = whole.clone();
        bytes[place + 1] = weaker;
        let error = refused("weak.lwasm", &bytes);
        assert!(error.contains("in function 1 \"spin\", at byte 0x"), "{error}");
        assert!(error.ends_with("prepare the original module again with lunatic-prep"), "{error}");
    }
}

#[test]
fn a_removed_charge_is_found() {
    let whole = prepared(SPIN);
    // The constant is left, without the call that consumes it.
    let mut silent = whole.clone();
    let call = find(&whole, &[0x10, 0x00]);
    silent[call..call + 2].copy_from_slice(&[0x1a, 0x01]);
    // The original function, with the imports and the marker of a prepared module.
    let bare = wasm(
        r#"(module
            (import "lunatic::metering" "charge" (func (param i32)))
            (func $spin (export "_start") (loop (br 0)))
            (@custom "lunatic.prep" "\03\01\90\4e\01\00"))"#,
    );
    for bytes in [silent, bare] {
        let error = refused("removed.lwasm", &bytes);
        assert!(
            error.contains("does not begin with a charge") && error.contains("\"spin\", at byte 0x"),
            "{error}"
        );
        assert!(error.ends_with("prepare the original module again with lunatic-prep"), "{error}");
    }
}

#[test]
fn a_file_of_another_version_has_to_be_prepared_again() {
    let whole = prepared(SPIN);
    let versions = find(&whole, b"lunatic.prep") + "lunatic.prep".len();
    for (place, what) in [(versions, "format 99"), (versions + 1, "cost model 99")] {
        let mut bytes = whole.clone();
        bytes[place] = 99;
        let error = refused("other.lwasm", &bytes);
        assert!(error.starts_with(&format!("prepared {}", if place == versions { "in" } else { "with" })));
        assert!(error.contains(what), "{error}");
        assert_eq!(error.matches("prepare it again with lunatic-prep").count(), 1, "{error}");
        assert!(!error.contains("prepare the original module"), "advice is given once: {error}");
    }
}

#[test]
fn a_module_without_an_entry_is_refused() {
    for text in ["(module)", r#"(module (func (export "_start") (param i32)))"#, "(module (func $_start))"] {
        let error = refused("library.wasm", &wasm(text));
        assert!(error.contains("exports no function \"_start\""), "{error}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_refused() {
    let directory = directory();
    let error = error_of(&run(directory.path(), &["missing.wasm"]), 1);
    assert!(error.starts_with("lunatic-exec: error: missing.wasm: "), "{error}");
    // A directory can be opened but not read.
    let error = error_of(&run(directory.path(), &["."]), 1);
    assert!(error.starts_with("lunatic-exec: error: .: "), "{error}");
}

#[cfg(unix)]
#[test]
fn a_file_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt;
    let directory = with_app(HELLO);
    let app = directory.path().join("app.wasm");
    fs::set_permissions(&app, fs::Permissions::from_mode(0o000)).expect("it is ours");
    let mut command = command(directory.path(), &["app.wasm"]);
    if fs::File::open(&app).is_ok() {
        // The user who runs this test may be root and read everything, so the command runs without that capability.
        let exec = command;
        command = Command::new("setpriv");
        command.args(["--bounding-set=-all", "--inh-caps=-all"]).arg(exec.get_program()).arg("app.wasm");
        command.current_dir(directory.path()).env_remove("HOME").env_remove("XDG_CACHE_HOME");
    }
    let error = error_of(&command.output().expect("util-linux has it"), 1);
    assert!(error.starts_with("lunatic-exec: error: app.wasm: Permission denied"), "{error}");
}

#[test]
fn unmetered_runs_refuse_the_same_modules() {
    let directory = directory();
    let path = directory.path();
    let whole = wasm(HELLO);
    let mut weak = prepared(SPIN);
    let charge = find(&weak, &[0x41, 0x01, 0x10, 0x00]);
    weak[charge..charge + 4].fill(0x01);
    for bytes in [b"hello", &b""[..], &whole[..whole.len() / 2], &wasm("(component)"), &weak] {
        fs::write(path.join("app"), bytes).expect("written");
        let output = run(path, &["--unmetered", "app"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        let lines: Vec<_> = text.lines().collect();
        assert!(lines.len() == 2 && lines[0].starts_with("lunatic-exec: warning: "), "{text}");
        assert!(lines[1].starts_with("lunatic-exec: error: app: "), "{text}");
    }
}

#[test]
fn an_unmetered_run_prints_a_warning() {
    let directory = with_app(HELLO);
    let output = run(directory.path(), &["--unmetered", "app.wasm"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]), "{output:?}");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(
        text.starts_with("lunatic-exec: warning: running unmetered") && text.lines().count() == 1,
        "{text}"
    );
}

#[test]
fn a_plain_and_a_prepared_module_run_from_stdin_and_from_a_file() {
    let directory = with_app(HELLO);
    let path = directory.path();
    fs::write(path.join("app.lwasm"), prepared(HELLO)).expect("written");
    let outputs = [
        run(path, &["app.wasm"]),
        run(path, &["app.lwasm"]),
        run(path, &["app.lwasm", "--help"]),
        feed(command(path, &["-"]), &wasm(HELLO)),
        feed(command(path, &["-"]), &prepared(HELLO)),
    ];
    for output in outputs {
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
    }
    let error = error_of(&feed(command(path, &["-"]), b"hello"), 1);
    assert!(error.starts_with("lunatic-exec: error: stdin: not a WebAssembly module"), "{error}");
}

/// A program that executes this and ends.
fn ends(how: &str) -> String {
    format!(
        r#"(module
        (memory (export "memory") 1)
        (data (i32.const 0) "child")
        (func (export "child") unreachable)
        (func (export "_start") {how}))"#
    )
}

#[test]
fn the_exit_status_is_that_of_the_first_process() {
    let linked =
        "(drop (call $spawn_raw (i64.const 1) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 8))) (call $sleep (i64.const -1))";
    for (how, status) in [
        ("", 0),
        ("(call $exit (i32.const 0))", 0),
        ("(call $exit (i32.const 7))", 7),
        ("(call $exit (i32.const 255))", 255),
        // The operating system keeps the lowest byte of a status.
        ("(call $exit (i32.const 256))", 0),
        ("(call $exit (i32.const 300))", 44),
        ("(call $exit (i32.const -1))", 255),
        ("unreachable", 134),
        ("(drop (i32.div_s (i32.const 1) (i32.const 0)))", 134),
        (linked, 134),
        ("(call $kill (call $me)) (call $sleep (i64.const -1))", 137),
    ] {
        let directory = with_app(&ends(how));
        let output = run(directory.path(), &["app.wasm"]);
        assert_eq!(output.status.code(), Some(status), "{how}: {output:?}");
    }
}

#[test]
fn a_directory_that_does_not_exist_is_named() {
    let directory = with_app(HELLO);
    for given in ["missing", "missing::/data", "app.wasm"] {
        let error = error_of(&run(directory.path(), &["--dir", given, "app.wasm"]), 1);
        let name = given.split("::").next().expect("there is always a first part");
        assert!(error.contains(&format!("the directory {name} cannot be opened: ")), "{error}");
    }
}

/// Writes its arguments, its environment and the name of its first directory, each string followed by a zero.
const SHOW: &str = r#"(module
    (memory (export "memory") 16)
    (func $write (param $length i32)
        (i32.store (i32.const 0) (i32.const 0x80000))
        (i32.store (i32.const 4) (local.get $length))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16))))
    (func (export "_start")
        (drop (call $args_sizes_get (i32.const 8) (i32.const 12)))
        (drop (call $args_get (i32.const 0x100) (i32.const 0x80000)))
        (call $write (i32.load (i32.const 12)))
        (drop (call $environ_sizes_get (i32.const 8) (i32.const 12)))
        (drop (call $environ_get (i32.const 0x100) (i32.const 0x80000)))
        (call $write (i32.load (i32.const 12)))
        (if (i32.eqz (call $fd_prestat_get (i32.const 3) (i32.const 8))) (then
            (drop (call $fd_prestat_dir_name (i32.const 3) (i32.const 0x80000) (i32.load (i32.const 12))))
            (call $write (i32.load (i32.const 12)))))))"#;

#[test]
fn the_environment_is_passed_on_only_with_an_option() {
    let directory = with_app(SHOW);
    fs::create_dir(directory.path().join("sub")).expect("a directory");
    let show = |arguments: &[&str]| {
        let mut command = command(directory.path(), arguments);
        let output = command.env_clear().envs([("ONE", "1"), ("TWO", "2")]).output().expect("it starts");
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stdout).expect("text").replace('\0', " ")
    };
    // The system decides the order of the variables.
    let both = |before: &str, first: &str, second: &str, after: &str| {
        [format!("{before}{first} {second} {after}"), format!("{before}{second} {first} {after}")]
    };
    assert_eq!(show(&["./app.wasm", "-x"]), "./app.wasm -x ");
    let inherited = show(&["--env-inherit", "./app.wasm"]);
    assert!(both("./app.wasm ", "ONE=1", "TWO=2", "").contains(&inherited), "{inherited}");
    let replaced = show(&["--env", "TWO=3", "--env-inherit", "./app.wasm"]);
    assert_eq!(replaced, "./app.wasm TWO=3 ONE=1 ");
    assert_eq!(show(&["--env-inherit=T*", "./app.wasm"]), "./app.wasm TWO=2 ");
    assert_eq!(show(&["--env", "A=1", "--env", "A=2", "./app.wasm"]), "./app.wasm A=2 ");
    // From a file; the command line takes precedence.
    let file = "dir = 'sub::given:ro'\nenv-inherit = ['O*']\nworkers = 1\n[env]\nA = 1\nTWO = '3'";
    fs::write(directory.path().join("options.toml"), file).expect("it is written");
    let from_file = show(&["--config", "options.toml", "--env", "A=2", "--workers", "2", "./app.wasm", "-x"]);
    assert_eq!(from_file, "./app.wasm -x TWO=3 A=2 ONE=1 given");
    // As in Lunatic: the current directory is preopened as ".".
    let compat = show(&["--compat", "lunatic", "./app.wasm", "-x"]);
    assert!(both("app.wasm -x ", "ONE=1", "TWO=2", ".").contains(&compat), "{compat}");
    let compat = show(&["--compat=lunatic", "--dir", "sub", "--bench", "./app.wasm"]);
    assert!(both("app.wasm --bench ", "ONE=1", "TWO=2", ".").contains(&compat), "{compat}");
    assert_eq!(show(&["--dir", "sub::given", "./app.wasm"]), "./app.wasm given");
}

#[test]
#[cfg(unix)]
fn arguments_and_variables_that_are_not_utf8_are_refused_by_name() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    let wrong = OsStr::from_bytes(b"caf\xe9.txt");
    let directory = with_app(r#"(module (func (export "_start")))"#);
    let output = command(directory.path(), &["app.wasm"]).arg(wrong).output().expect("the command starts");
    let error = error_of(&output, 1);
    assert!(error.starts_with(r#"lunatic-exec: error: argument "caf\xE9.txt": it is not UTF-8"#), "{error}");
    let with_variable = |option: &str| {
        let mut command = command(directory.path(), &[option, "app.wasm"]);
        command.env("WRONG", wrong).output().expect("the command starts")
    };
    let error = error_of(&with_variable("--env=WRONG"), 1);
    assert!(error.starts_with("lunatic-exec: error: variable WRONG: it is not UTF-8"), "{error}");
    assert_eq!(with_variable("--env-inherit").status.code(), Some(0), "it was not asked for by name");
    assert_eq!(with_variable("--env=NOT_SET").status.code(), Some(0));
}

#[test]
#[cfg(unix)]
fn an_error_of_standard_input_is_not_an_end_of_file() {
    let directory = with_app(
        r#"(module
            (memory (export "memory") 1)
            (data (i32.const 0) "\10\00\00\00\40\00\00\00")
            (func (export "_start")
                (call $exit (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let status = |path: &Path| {
        let file = fs::File::open(path).expect("it is there");
        command(directory.path(), &["app.wasm"]).stdin(file).status().expect("the command starts").code()
    };
    assert_eq!(status(directory.path()), Some(31), "a directory");
    assert_eq!(status(Path::new("/proc/self/mem")), Some(29), "nothing is mapped at its beginning");
    assert_eq!(status(Path::new("/dev/null")), Some(0));
}

#[test]
fn a_pattern_that_matches_nothing_is_refused_with_the_nearest_name() {
    let directory = with_app(r#"(module (func (export "_start")))"#);
    let error = error_of(&run(directory.path(), &["--forbid", "lunatic::netwrking::*", "app.wasm"]), 1);
    let expected = r#"no host function fits "lunatic::netwrking::*" (did you mean lunatic::networking::*?)"#;
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_forbidden_function_is_forbidden_under_its_older_name() {
    let status = |module: &str, pattern: &str| {
        let directory = with_app(&HELLO.replace("wasi_snapshot_preview1", module));
        run(directory.path(), &["--forbid", pattern, "app.wasm"]).status.code()
    };
    for module in ["wasi_snapshot_preview1", "wasi_unstable"] {
        for pattern in ["wasi_snapshot_preview1::*", "wasi_snapshot_preview1::fd_write", "*::fd_write"] {
            assert_eq!(status(module, pattern), Some(134), "{module} {pattern}");
        }
        assert_eq!(status(module, "wasi_snapshot_preview1::fd_read"), Some(0), "{module}");
    }
}

#[test]
fn errors_in_a_file_of_options_are_reported() {
    let directory = with_app(HELLO);
    let refused = |text: &str| {
        fs::write(directory.path().join("options.toml"), text).expect("it is written");
        let output = run(directory.path(), &["--config", "options.toml", "app.wasm"]);
        assert_ne!(output.status.code(), Some(0), "{output:?}");
        String::from_utf8(output.stderr).expect("text")
    };
    assert_eq!(refused("wokers = 1"), "lunatic-exec: error: options.toml: there is no option --wokers\n");
    assert!(refused("workers = ").contains("line 1"));
    assert_eq!(
        refused("workers = 0"),
        "lunatic-exec: error: options.toml: invalid value '0' for '--workers <N>': expected a number from 1 to 1024\n"
    );
    assert!(refused("workers = [[1]]").contains("expected a string, a number, or a list of these"));
    let output = run(directory.path(), &["--config", "nowhere.toml", "app.wasm"]);
    assert!(String::from_utf8_lossy(&output.stderr).contains("nowhere.toml: "), "{output:?}");
}

#[test]
fn limits_accept_the_largest_values_of_their_types() {
    let directory = with_app(HELLO);
    let max = &*u64::MAX.to_string();
    let limits = ["--slice", "--max-memory", "--max-mailbox", "--max-messages", "--max-processes"];
    let more = ["--max-reductions", "--max-resources", "--max-total-memory"];
    let limits = limits.iter().chain(&more).map(|limit| [*limit, max]);
    for arguments in limits.chain([["--slice", "1"], ["--max-processes", "1"], ["--workers", "64"]]) {
        let output = run(directory.path(), &[&arguments[..], &["app.wasm"]].concat());
        assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"hello\n"[..]), "{output:?}");
    }
}

/// A program whose first process repeats this until it exceeds a limit.
fn does(too_much: &str) -> String {
    format!(
        r#"(module
        (memory (export "memory") 1)
        (data (i32.const 0) "child")
        (func (export "child"))
        (func (export "_start") (loop $forever {too_much} (br $forever))))"#
    )
}

#[test]
fn exceeding_a_limit_is_reported() {
    let send = "(call $create_data (i64.const 0) (i64.const 0)) (drop (call $send_raw (call $me)))";
    let spawn = "(if (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (i32.const 0) (i32.const 5)
        (i32.const 0) (i32.const 0) (i32.const 8)) (then (unreachable)))";
    for (option, value, too_much, says) in [
        ("--max-mailbox", "1KiB", send, "more than 1024 bytes of messages wait"),
        ("--max-messages", "7", send, "more than 7 messages wait"),
        ("--max-reductions", "70000", "", "70000 reductions are used up"),
        ("--max-resources", "7", "(drop (call $create_config))", "too many configurations"),
        ("--max-processes", "1", spawn, "unreachable"),
        ("--max-total-memory", "65535", "", "65536 bytes of memory exceed what is left of 65535 for all"),
    ] {
        let directory = with_app(&does(too_much));
        let output = run(directory.path(), &[option, value, "app.wasm"]);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(134), "{option}: {text}");
        assert!(text.contains(says), "{option}: {text}");
    }
}

#[test]
fn wrong_usage_is_status_2() {
    let directory = with_app(HELLO);
    let option = |option, value| vec![option, value, "app.wasm"];
    for arguments in [
        vec![],
        vec!["--no-such-option", "app.wasm"],
        option("--workers", "0"),
        option("--workers", "18446744073709551615"),
        option("--workers", "many"),
        option("--slice", "0"),
        option("--slice", "-1"),
        option("--max-memory", "lots"),
        option("--max-mailbox", "lots"),
        option("--max-total-memory", "lots"),
        option("--max-messages", "-1"),
        option("--max-processes", "0"),
        option("--max-reductions", "1MiB"),
        option("--max-resources", ""),
        option("--dir", ""),
        option("--dir", "::x"),
        option("--env", "=value"),
        option("--compat", "wasmtime"),
    ] {
        let output = run(directory.path(), &arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {output:?}");
        assert!(output.stdout.is_empty(), "nothing runs: {output:?}");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(text.contains("--help") && !text.contains("panicked"), "{text}");
    }
}

#[test]
fn help_and_version_exit_with_success() {
    for (question, answer) in [("--help", "Usage: lunatic-exec"), ("--version", "lunatic-exec ")] {
        let output = run(directory().path(), &[question]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(answer), "{output:?}");
    }
}

/// Ackermann's function of 3 and 10 nests at least 8,189 calls.
#[test]
fn the_stack_of_the_first_process_allows_deep_recursion_and_can_be_set() {
    let ackermann = wasm(
        r#"(module (func $ack (param $m i32) (param $n i32) (result i32) (local i64 i64)
            (if (i32.eqz (local.get $m)) (then (return (i32.add (local.get $n) (i32.const 1)))))
            (if (i32.eqz (local.get $n))
                (then (return (call $ack (i32.sub (local.get $m) (i32.const 1)) (i32.const 1)))))
            (call $ack (i32.sub (local.get $m) (i32.const 1))
                (call $ack (local.get $m) (i32.sub (local.get $n) (i32.const 1)))))
        (func (export "_start")
            (if (i32.ne (call $ack (i32.const 3) (i32.const 10)) (i32.const 8189)) (then unreachable))))"#,
    );
    let directory = directory();
    fs::write(directory.path().join("app.wasm"), ackermann).expect("written");
    for options in [&["app.wasm"][..], &["--stack-size", "2MiB", "app.wasm"]] {
        let output = run(directory.path(), options);
        assert!(output.status.success(), "{options:?}: {output:?}");
    }
    let output = run(directory.path(), &["--stack-size", "64KiB", "app.wasm"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(134));
    assert!(error.contains("call stack exhausted"), "{error}");
    let output = run(directory.path(), &["--stack-size", "1KiB", "app.wasm"]);
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(error.contains("expected a size from 65536 to 67108864 bytes"), "{error}");
}

/// The code is invalid, which is only found when it is read. Errors in the declarations before it are reported first.
#[test]
fn declarations_are_checked_before_the_code() {
    const INVALID: &str = "(func (result i32) (i64.const 0))";
    let said = |declared: &str| {
        let text = format!("(module {declared} {INVALID})");
        refused("app.wasm", &wasm(&text))
    };
    let missing: String = (0..30).map(|n| format!(r#"(import "env" "f{n}" (func))"#)).collect();
    let error = said(&format!("{missing} (func (export \"_start\"))"));
    assert!(error.starts_with("missing imports: env::f0: unknown "), "{error}");
    assert!(error.ends_with("; and 20 more"), "{error}");
    let error = said("(func (export \"_start\") (param i32))");
    assert!(error.starts_with("the module exports no function \"_start\" without"), "{error}");
    let error = said("(memory i64 1) (func (export \"_start\"))");
    assert!(error.starts_with("the proposal memory64 ("), "{error}");
    let error = said("(func (export \"_start\"))");
    assert!(error.starts_with("invalid module: type mismatch"), "{error}");
    // Within the code, an unsupported operator is found before what follows it.
    let exception = "(func (export \"_start\") (block $out (try_table (catch_all $out))))";
    let error = said(exception);
    assert!(error.starts_with("unsupported proposal: exceptions ("), "{error}");
}

/// Without a name section, a backtrace has only numbers. They are those of the original file.
#[test]
fn a_backtrace_has_the_numbers_of_the_original_module() {
    let bytes = wasm(
        r#"(module (import "wasi_snapshot_preview1" "proc_exit" (func (param i32)))
        (func (drop (i32.div_u (i32.const 1) (i32.const 0))))
        (func (export "_start") (loop (call 1))))"#,
    );
    let (trap, call) = (find(&bytes, &[0x41, 0x00, 0x6e]) + 2, find(&bytes, &[0x10, 0x01]));
    let directory = directory();
    fs::write(directory.path().join("app.wasm"), &bytes).expect("written");
    let prepared = prepare(&bytes, &Options::default()).expect("the module is valid").bytes;
    fs::write(directory.path().join("app.lwasm"), prepared).expect("written");
    // The second run uses the cache.
    for file in ["app.wasm", "app.lwasm", "app.wasm"] {
        let output = run(directory.path(), &["--cache-dir", "cache", file]);
        let error = String::from_utf8_lossy(&output.stderr);
        let frames = format!("0: <function 1> (0x{trap:x})\n   1: <function 2> (0x{call:x})\n");
        assert!(error.contains(&frames), "{file}: {error}\n{frames}");
    }
}
