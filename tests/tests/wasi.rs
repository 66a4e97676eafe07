//! WASI preview 1, function by function and error code by error code, with a guest that calls the raw functions.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use lunatic_tests::commands::{PATIENCE, command, run, stderr, stdout};
use lunatic_tests::guests::build;
use lunatic_tests::talking::Talking;

fn guest() -> &'static Path {
    static MODULE: OnceLock<PathBuf> = OnceLock::new();
    MODULE.get_or_init(|| build("tests/guests/wasi", "test-wasi"))
}

lunatic_tests::cache!("wasi");

/// The directories of a run: an empty one, and one with files.
struct Dirs {
    _all: tempfile::TempDir,
    scratch: PathBuf,
    other: PathBuf,
}

impl Dirs {
    fn new() -> Dirs {
        let all = tempfile::tempdir().unwrap();
        let (scratch, other) = (all.path().join("scratch"), all.path().join("other"));
        std::fs::create_dir(&scratch).unwrap();
        std::fs::create_dir_all(other.join("dir")).unwrap();
        std::fs::write(other.join("file"), "content").unwrap();
        std::fs::write(other.join("dir/inner"), "inner").unwrap();
        std::fs::write(all.path().join("secret"), "secret").unwrap();
        Dirs { scratch, other, _all: all }
    }

    fn scratch(&self) -> String {
        format!("{}::/", self.scratch.display())
    }

    fn other(&self) -> String {
        format!("{}::read-only:ro", self.other.display())
    }
}

/// Runs a scenario with further options.
fn scenario_with(name: &str, options: &[&str]) {
    let output = run(&[&["--cache-dir", cache()], options].concat(), guest(), &[name]);
    assert!(output.status.success(), "{name}: {}{}", stdout(&output), stderr(&output));
    assert!(name == "renumber" || stdout(&output) == format!("done: {name}\n"), "{}", stdout(&output));
}

fn scenario(name: &str) {
    let dirs = Dirs::new();
    scenario_with(name, &["--dir", &dirs.scratch(), "--dir", &dirs.other(), "--env", "NAME=value"]);
    // Whatever the guest did was within its directory.
    assert_eq!(std::fs::read_to_string(dirs.other.join("file")).unwrap(), "content", "{name}");
    assert_eq!(std::fs::read_dir(&dirs.other).unwrap().count(), 2, "{name}");
    assert_eq!(std::fs::read_dir(dirs.scratch.parent().unwrap()).unwrap().count(), 3, "{name}");
}

lunatic_tests::scenarios! { scenario:
    every_function_knows_that_a_descriptor_is_not_there => "descriptors",
    descriptors_move_onto_others => "renumber",
    directories_are_there_from_the_beginning => "preopens",
    descriptors_have_an_end => "exhausted",
    listings_are_whole_whatever_the_buffer => "listing",
    directories_are_made_and_removed => "directories",
    a_directory_is_no_file => "directory-calls",
    paths_stay_inside => "paths",
    files_are_read_and_written => "files",
    appending_is_a_flag => "append",
    seeking_stops_at_the_beginning => "seek",
    positions_leave_the_cursor_alone => "positions",
    files_are_cut_and_emptied => "truncate",
    space_is_set_aside => "allocate",
    buffers_come_in_any_number_up_to_a_limit => "buffers",
    symbolic_links_are_followed_by_who_says_so => "symlinks",
    hard_links_are_the_same_file => "links",
    names_change => "rename",
    events_of_any_mix_are_polled => "polling",
    clocks_are_polled => "sleep",
    each_right_is_needed_for_what_it_is_for => "rights",
    rights_are_inherited => "inheriting",
    nothing_in_a_read_only_directory_changes => "read-only",
    what_is_no_socket_says_so => "not-sockets",
    pointers_outside_are_faults => "strangers",
    the_standard_streams_are_no_files => "streams",
    times_are_set => "times",
    clocks_and_randomness => "clocks",
}

/// HOSTILE 29.
#[cfg(unix)]
#[test]
fn links_out_of_a_preopened_directory_are_refused() {
    use std::os::unix::fs::symlink;

    let dirs = Dirs::new();
    let other = &dirs.other;
    std::fs::write(other.join("file"), "inside").unwrap();
    symlink("..", other.join("up")).unwrap();
    symlink("../secret", other.join("out")).unwrap();
    symlink(dirs.scratch.parent().unwrap().join("secret"), other.join("absolute")).unwrap();
    symlink("dir/../file", other.join("in")).unwrap();
    symlink("..", other.join("dir/up")).unwrap();
    scenario_with("escapes", &["--dir", &dirs.scratch(), "--dir", &dirs.other()]);
    let secret = dirs.scratch.parent().unwrap().join("secret");
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "secret");
}

/// HOSTILE 30. For a few seconds; `LUNATIC_RACE=SECONDS` makes it run for longer.
#[cfg(target_os = "linux")]
#[test]
fn a_link_exchanged_during_resolution_does_not_escape() {
    use std::os::unix::fs::{MetadataExt, symlink};
    use std::sync::atomic::{AtomicBool, Ordering};

    let seconds = std::env::var("LUNATIC_RACE").unwrap_or("3".into());
    let dirs = Dirs::new();
    let outside = dirs.scratch.parent().unwrap().join("outside");
    let inside = dirs.scratch.join("x");
    for (place, secret) in [(&outside, "outside, and longer"), (&inside, "inside")] {
        std::fs::create_dir_all(place.join("empty")).unwrap();
        std::fs::write(place.join("secret"), secret).unwrap();
        std::fs::write(place.join("victim"), "victim").unwrap();
    }
    std::fs::write(outside.join("outside.only"), "").unwrap();
    symlink("../outside", dirs.scratch.join("leads.out")).unwrap();
    let names = |place: &Path| {
        let entries = std::fs::read_dir(place).unwrap().map(|entry| entry.unwrap());
        let mut all: Vec<_> = entries
            .map(|entry| {
                let found = entry.metadata().unwrap();
                // Another name of a file outside would count as an escape, too.
                (entry.file_name(), found.mtime_nsec(), found.mtime(), found.nlink(), found.len())
            })
            .collect();
        all.sort();
        all
    };
    let before = (names(&outside), std::fs::metadata(&outside).unwrap().mtime());
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let (link, kept) = (dirs.scratch.join("leads.out"), dirs.scratch.join("kept"));
            while !is_over.load(Ordering::Relaxed) {
                std::fs::rename(&inside, &kept).unwrap();
                std::fs::rename(&link, &inside).unwrap();
                std::fs::rename(&inside, &link).unwrap();
                std::fs::rename(&kept, &inside).unwrap();
            }
        });
        let patience = (seconds.parse::<u64>().unwrap() + 60).to_string();
        let exec = command("lunatic-exec");
        let mut limited = Command::new("timeout");
        limited.arg(patience).arg(exec.get_program()).args([
            "--cache-dir",
            cache(),
            "--dir",
            &dirs.scratch(),
        ]);
        let output = limited.arg(guest()).args(["race", &seconds]).output();
        is_over.store(true, Ordering::Relaxed);
        let output = output.unwrap();
        assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
        println!("{}", stdout(&output));
    });
    assert_eq!((names(&outside), std::fs::metadata(&outside).unwrap().mtime()), before);
    assert_eq!(std::fs::read_to_string(outside.join("secret")).unwrap(), "outside, and longer");
}

/// HOSTILE 31.
#[cfg(target_os = "linux")]
#[test]
fn devices_have_their_own_file_type() {
    let dirs = Dirs::new();
    scenario_with("devices", &["--dir", &dirs.scratch(), "--dir", "/dev::dev:ro"]);
}

/// A scenario with which the test exchanges lines.
fn talk(name: &str, options: &[&str]) -> Talking {
    Talking::start(&[&["--cache-dir", cache()], options].concat(), guest(), &[name])
}

/// With a terminal that Python creates. The input is echoed.
#[cfg(target_os = "linux")]
#[test]
fn terminals_are_distinguished_from_other_streams() {
    let script = "import os, pty, sys\n\
        pid, terminal = pty.fork()\n\
        if pid == 0: os.execvp(sys.argv[1], sys.argv[1:])\n\
        os.write(terminal, b'typed\\n')\n\
        said = b''\n\
        try:\n\
        \x20   while True: said += os.read(terminal, 1000)\n\
        except OSError: pass\n\
        sys.stdout.buffer.write(said)\n\
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))";
    let exec = command("lunatic-exec");
    let mut python = Command::new("timeout");
    python.env_remove("HOME").env_remove("XDG_CACHE_HOME").args([PATIENCE, "python3", "-c", script]);
    python.arg(exec.get_program()).args(["--cache-dir", cache()]).arg(guest()).arg("terminals");
    let output = python.output().unwrap();
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).ends_with("done: terminals\r\n"), "{}", stdout(&output));
}

#[test]
fn standard_input_is_polled() {
    let mut guest = talk("poll-stdin", &[]);
    guest.expect("ready");
    let mut stdin = guest.input();
    stdin.write_all(b"hello\n").unwrap();
    guest.expect("line");
    drop(stdin);
    guest.expect("done: poll-stdin");
    assert_eq!(guest.end(), Some(0));
}

#[test]
fn a_guest_accepts_from_a_preopened_listener() {
    let dirs = Dirs::new();
    let mut guest = talk("server", &["--dir", &dirs.scratch(), "--listen", "127.0.0.1:0"]);
    guest.expect("listening");
    let mut stream = guest.connect();
    stream.write_all(b"hello").unwrap();
    let mut bytes = [0; 7];
    stream.read_exact(&mut bytes).unwrap();
    assert_eq!(&bytes, b"welcome");
    stream.write_all(b"one").unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    stream.write_all(b"two").unwrap();
    let mut rest = String::new();
    stream.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "goodbye");
    stream.write_all(b"last").unwrap();
    drop(stream);
    guest.expect("done: server");
    assert_eq!(guest.end(), Some(0));
}

#[test]
fn accept_blocks_for_guests_that_do_not_check_the_flags() {
    let dirs = Dirs::new();
    let mut guest = talk("plain-server", &["--dir", &dirs.scratch(), "--listen", "127.0.0.1:0"]);
    guest.expect("listening");
    // If the guest begins to wait only after this pause, the test still passes.
    std::thread::sleep(std::time::Duration::from_millis(50));
    let mut stream = guest.connect();
    stream.write_all(b"question").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "QUESTION");
    guest.expect("done: plain-server");
    assert_eq!(guest.end(), Some(0));
}

/// HOSTILE 31.
#[cfg(target_os = "linux")]
#[test]
fn named_pipes_can_be_waited_for() {
    let dirs = Dirs::new();
    for name in ["in", "out"] {
        assert!(Command::new("mkfifo").arg(dirs.scratch.join(name)).status().unwrap().success());
    }
    let mut guest = talk("fifo", &["--workers", "1", "--dir", &dirs.scratch()]);
    guest.expect("reading");
    let mut pipe = std::fs::OpenOptions::new().write(true).open(dirs.scratch.join("in")).unwrap();
    pipe.write_all(b"hello").unwrap();
    guest.expect("again");
    pipe.write_all(b"more").unwrap();
    drop(pipe);
    guest.expect("writing");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert_eq!(std::fs::read(dirs.scratch.join("out")).unwrap().len(), 300_000);
    guest.expect("done: fifo");
    assert_eq!(guest.end(), Some(0));
}

/// The status for the signal of an abort, as a shell reports it.
#[test]
fn raising_a_signal_ends_the_program() {
    let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join("raises.wat");
    let text = r#"(module (import "wasi_snapshot_preview1" "proc_raise" (func $raise (param i32) (result i32)))
        (memory (export "memory") 1) (func (export "_start") (drop (call $raise (i32.const 6)))))"#;
    std::fs::write(&module, wat::parse_str(text).unwrap()).unwrap();
    assert_eq!(run(&["--no-cache"], &module, &[]).status.code(), Some(134));
}

/// Differences of the first version of WASI: how `fd_seek` counts, and the layouts of a file status and a subscription.
#[test]
fn old_binaries_use_the_first_version_of_wasi() {
    let module = Path::new(env!("CARGO_TARGET_TMPDIR")).join("unstable.wat");
    let text = r#"(module
        (import "wasi_unstable" "path_open"
            (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_seek" (func $seek (param i32 i64 i32 i32) (result i32)))
        (import "wasi_unstable" "fd_filestat_get" (func $status (param i32 i32) (result i32)))
        (import "wasi_unstable" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        (data (i32.const 100) "file")
        (func $assert (param i32) (if (i32.eqz (local.get 0)) (then (unreachable))))
        (func $well (param i32) (call $assert (i32.eqz (local.get 0))))
        (func $at (param $offset i64) (param $whence i32) (result i64)
            (call $well (call $seek (i32.load (i32.const 0)) (local.get $offset) (local.get $whence) (i32.const 32)))
            (i64.load (i32.const 32)))
        (func (export "_start")
            (call $well (call $open (i32.const 3) (i32.const 0) (i32.const 100) (i32.const 4) (i32.const 1)
                (i64.const 0x3fffffff) (i64.const 0) (i32.const 0) (i32.const 0)))
            (i32.store (i32.const 8) (i32.const 100))
            (i32.store (i32.const 12) (i32.const 4))
            (call $well (call $write (i32.load (i32.const 0)) (i32.const 8) (i32.const 1) (i32.const 16)))
            ;; From where it is, from the end, from the beginning.
            (call $assert (i64.eq (call $at (i64.const -1) (i32.const 0)) (i64.const 3)))
            (call $assert (i64.eq (call $at (i64.const -4) (i32.const 1)) (i64.const 0)))
            (call $assert (i64.eq (call $at (i64.const 2) (i32.const 2)) (i64.const 2)))
            (call $well (call $status (i32.load (i32.const 0)) (i32.const 200)))
            (call $assert (i32.eq (i32.load8_u (i32.const 216)) (i32.const 4)))
            (call $assert (i32.eq (i32.load (i32.const 220)) (i32.const 1)))
            (call $assert (i64.eq (i64.load (i32.const 224)) (i64.const 4)))
            ;; Two clocks, the second due at once.
            (i64.store (i32.const 300) (i64.const 1))
            (i32.store (i32.const 324) (i32.const 1))
            (i64.store (i32.const 332) (i64.const 100000000000))
            (i64.store (i32.const 356) (i64.const 2))
            (i32.store (i32.const 380) (i32.const 1))
            (i64.store (i32.const 388) (i64.const 1000))
            (call $well (call $poll (i32.const 300) (i32.const 500) (i32.const 2) (i32.const 16)))
            (call $assert (i32.eq (i32.load (i32.const 16)) (i32.const 1)))
            (call $assert (i64.eq (i64.load (i32.const 500)) (i64.const 2)))))"#;
    std::fs::write(&module, wat::parse_str(text).unwrap()).unwrap();
    let dirs = Dirs::new();
    let output = run(&["--no-cache", "--dir", &dirs.scratch()], &module, &[]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(std::fs::read_to_string(dirs.scratch.join("file")).unwrap(), "file");
}
