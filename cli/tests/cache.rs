//! The cache as a user sees it: the second run compiles nothing, and behaves the same otherwise.
#![cfg(unix)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use common::{directory, error_of, exec as command, run_exec as run, wasm, with_app};
use lunatic_instrument::{Options, prepare};

/// Prints `hello`, then traps in a function with a name.
const HELLO: &str = r#"(module
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func $fails unreachable)
    (func (export "_start")
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))
        (call $fails)))"#;

/// The entries in a cache directory.
fn entries(cache: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(cache).map(|files| files.map(|file| file.expect("listed").path()));
    files.map_or_else(|_| Vec::new(), Iterator::collect)
}

#[test]
fn a_second_run_compiles_nothing_and_prints_the_same() {
    let directory = with_app(HELLO);
    let cache = directory.path().join("cache");
    let arguments = ["--cache-dir", "cache", "app.wasm"];
    let first = run(directory.path(), &arguments);
    assert_eq!((&*first.stdout, first.status.code()), (&b"hello\n"[..], Some(134)));
    let report = String::from_utf8_lossy(&first.stderr).into_owned();
    assert!(report.contains("fails"), "{report}");
    let [entry] = &*entries(&cache) else { panic!("one entry") };
    // Newly compiled code is written to a new file.
    let written = fs::metadata(entry).expect("there").ino();
    for _ in 0..3 {
        let again = run(directory.path(), &arguments);
        assert_eq!(
            (again.status, &again.stdout, &again.stderr),
            (first.status, &first.stdout, &first.stderr)
        );
        assert_eq!(fs::metadata(entry).expect("there").ino(), written);
    }

    let whole = fs::read(entry).expect("read");
    fs::write(entry, &whole[..whole.len() / 2]).expect("written");
    let repaired = run(directory.path(), &arguments);
    assert_eq!((&repaired.stdout, &repaired.stderr), (&first.stdout, &first.stderr));
    assert_eq!(fs::read(entry).expect("read"), whole, "the same code from the same input");
}

#[test]
fn two_commands_may_write_at_once() {
    let directory = with_app(HELLO);
    let start = |_| {
        let mut command = command(directory.path(), &["--cache-dir", "cache", "app.wasm"]);
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("starts")
    };
    let children: Vec<_> = (0..6).map(start).collect();
    for child in children {
        assert_eq!(child.wait_with_output().expect("it ends").stdout, b"hello\n");
    }
    assert_eq!(entries(&directory.path().join("cache")).len(), 1);
}

#[test]
fn the_default_cache_is_in_the_users_home() {
    let directory = with_app(HELLO);
    let home = directory.path().join("home");
    let at = |path: &str| entries(&home.join(path)).len();
    assert_eq!(run(directory.path(), &["app.wasm"]).stdout, b"hello\n");
    assert_eq!(entries(directory.path()).len(), 1, "no home, no cache");

    let in_home = |arguments: &[&str]| {
        let mut command = command(directory.path(), arguments);
        command.env("HOME", &home);
        command
    };
    in_home(&["--no-cache", "app.wasm"]).output().expect("starts");
    assert_eq!(at(""), 0);
    in_home(&["app.wasm"]).output().expect("starts");
    assert_eq!(at(".cache/lunatic"), 1);
    in_home(&["app.wasm"]).env("XDG_CACHE_HOME", home.join("other")).output().expect("starts");
    assert_eq!(at("other/lunatic"), 1);
}

#[test]
fn a_cache_that_others_can_write_to_is_not_used() {
    let directory = with_app(HELLO);
    let home = directory.path().join("home");
    let cache = home.join(".cache/lunatic");
    fs::create_dir_all(&cache).expect("made");
    fs::set_permissions(&cache, fs::Permissions::from_mode(0o777)).expect("set");
    let named = run(directory.path(), &["--cache-dir", "home/.cache/lunatic", "app.wasm"]);
    let error = error_of(&named, 1);
    assert!(error.contains("must belong to you"), "{error}");
    let default = command(directory.path(), &["app.wasm"]).env("HOME", &home).output().expect("starts");
    let warning = String::from_utf8_lossy(&default.stderr).into_owned();
    assert!(
        default.stdout == b"hello\n" && warning.starts_with("lunatic-exec: warning: the cache"),
        "{warning}"
    );
    assert_eq!(entries(&cache).len(), 0);

    // A home that is not a directory causes no warning.
    let mut nowhere = command(directory.path(), &["app.wasm"]);
    let output = nowhere.env("HOME", directory.path().join("app.wasm")).output().expect("starts");
    assert!(!String::from_utf8_lossy(&output.stderr).contains("cache"), "{output:?}");
}

#[test]
fn a_changed_file_is_verified_despite_the_cache() {
    let directory = directory();
    let text = "(module (func (export \"_start\") (loop (br_if 0 (i32.const 0)))))";
    let bytes = prepare(&wasm(text), &Options::default()).expect("valid").bytes;
    let file = directory.path().join("app.lwasm");
    let arguments = ["--cache-dir", "cache", "app.lwasm"];
    fs::write(&file, &bytes).expect("written");
    assert!(run(directory.path(), &arguments).status.success());
    assert!(run(directory.path(), &arguments).status.success());

    let charge = common::find(&bytes, &[0x41, 0x01, 0x10, 0x00]);
    let mut weakened = bytes;
    weakened[charge..charge + 4].fill(0x01);
    fs::write(&file, weakened).expect("written");
    error_of(&run(directory.path(), &arguments), 1);
    // An entry of an unmetered run is not used for a metered one.
    fs::write(directory.path().join("app.wasm"), wasm(text)).expect("written");
    run(directory.path(), &["--cache-dir", "cache", "--unmetered", "app.wasm"]);
    run(directory.path(), &["--cache-dir", "cache", "app.wasm"]);
    assert_eq!(entries(&directory.path().join("cache")).len(), 3);
}

/// HOSTILE 7.
#[test]
fn native_code_in_a_file_is_not_run() {
    let directory = with_app(HELLO);
    run(directory.path(), &["--cache-dir", "cache", "app.wasm"]);
    let [entry] = &*entries(&directory.path().join("cache")) else { panic!("one entry") };
    let native = fs::read(entry).expect("read");
    // A cache entry alone is not a program.
    fs::write(directory.path().join("native.lwasm"), &native).expect("written");
    let error = error_of(&run(directory.path(), &["native.lwasm"]), 1);
    assert!(error.contains("not a WebAssembly module"), "{error}");
    // Without the option, nothing is written.
    let silent = wasm("(module (func (export \"_start\")))");
    let mut module = prepare(&silent, &Options::default()).expect("valid").bytes;
    for name in ["lunatic.native", "lunatic.code", "lunatic.cache"] {
        module.push(0);
        let mut size = 1 + name.len() + native.len();
        while size >= 0x80 {
            module.push(size as u8 | 0x80);
            size >>= 7;
        }
        module.push(size as u8);
        module.push(name.len() as u8);
        module.extend(name.as_bytes());
        module.extend(&native);
    }
    fs::write(directory.path().join("silent.lwasm"), &module).expect("written");
    let output = run(directory.path(), &["silent.lwasm"]);
    assert!(output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(), "{output:?}");
}

#[test]
fn perf_map_has_the_names_of_functions() {
    let directory = with_app(HELLO);
    // The names are also written for code from the cache.
    for _ in 0..2 {
        let mut command = command(directory.path(), &["--perf-map", "--cache-dir", "cache", "app.wasm"]);
        let child = command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn();
        let child = child.expect("the command starts");
        let map = PathBuf::from(format!("/tmp/perf-{}.map", child.id()));
        child.wait_with_output().expect("it ends");
        let lines = fs::read_to_string(&map).expect("it is there");
        fs::remove_file(map).expect("removed");
        assert!(lines.lines().any(|line| line.ends_with(" fails")), "{lines}");
    }
}
