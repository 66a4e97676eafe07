//! Published programs that were written for other systems, built for WASI without changes and run by `lunatic-exec`: ripgrep,
//! an interpreter of Lua, and SQLite with its C sources.
//!
//! Two of them install a program or a C compiler. They are ignored by default; the CI step `toolchains` runs them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use lunatic_tests::commands::{PATIENCE, command, run, stderr, stdout};
use lunatic_tests::guests::{build, build_with_c, install, root};

lunatic_tests::cache!("programs");

/// Searches the sources of the engine, which are preopened as `jit`, with ripgrep.
fn search(words: &[&str]) -> Output {
    static RIPGREP: OnceLock<PathBuf> = OnceLock::new();
    let ripgrep = RIPGREP.get_or_init(|| install("ripgrep", "15.2.0", "rg"));
    let sources = format!("{}::jit", root().join("jit").join("src").display());
    run(&["--cache-dir", cache(), "--dir", &sources], ripgrep, words)
}

/// The files below a directory with their contents, ordered by their relative paths.
fn files(directory: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut entries: Vec<_> =
        fs::read_dir(directory).expect("it is there").map(|entry| entry.expect("an entry")).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name().into_string().expect("our names are UTF-8");
        if entry.file_type().expect("it has one").is_dir() {
            found.extend(
                files(&entry.path()).into_iter().map(|(below, text)| (format!("{name}/{below}"), text)),
            );
        } else {
            found.push((name, fs::read_to_string(entry.path()).expect("a text")));
        }
    }
    found
}

#[test]
#[ignore = "installs ripgrep (.ci/run toolchains)"]
fn ripgrep_finds_all_matches_in_a_tree() {
    let sources = files(&root().join("jit").join("src"));
    let lines = sources.iter().flat_map(|(name, text)| {
        let lines = text.lines().enumerate().filter(|(_, line)| line.contains("unsafe {"));
        lines.map(move |(number, line)| format!("jit/{name}:{}:{line}\n", number + 1))
    });
    let expected: String = lines.collect();
    assert!(expected.lines().count() > 100, "there is something to find: {expected}");
    let output = search(&["--line-number", "--sort", "path", r"unsafe \{", "jit"]);
    assert_eq!((stdout(&output), stderr(&output)), (expected, String::new()));
    assert_eq!(output.status.code(), Some(0));

    let names: String = sources.iter().map(|(name, _)| format!("jit/{name}\n")).collect();
    assert_eq!(stdout(&search(&["--files", "--sort", "path", "jit"])), names);

    // Words that no source contains together.
    let absent = ["no", "such", "words"].join(" ");
    let output = search(&[&absent, "jit"]);
    assert_eq!((stdout(&output).as_str(), output.status.code()), ("", Some(1)));
    let output = search(&["(", "jit"]);
    assert!(stderr(&output).contains("unclosed group"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn an_interpreter_of_lua_runs_a_script() {
    let module = build("tests/guests/programs/lua", "test-lua");
    let scripts = format!("{}::scripts", root().join("tests/guests/programs/lua").display());
    let output = run(&["--cache-dir", cache(), "--dir", &scripts], &module, &["scripts/script.lua"]);
    let expected = "fib\t17711\n\
        closures\t3\t1\n\
        primes\t1229\t2\t9973\n\
        metatables\t5\n\
        coroutines\ttrue\t4\ntrue\t9\ntrue\tdone\ndead\n\
        errors\tfalse\ton purpose\n\
        numbers\t2.5\t3\t-2\t9007199254740992\t0.1\tinf\ttrue\n\
        strings\ta12.5\t5\tfalse\n";
    assert_eq!(stdout(&output), expected, "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(1), "the script ends by an error: {}", stderr(&output));
}

/// Runs SQLite's shell with these statements, one per line.
fn shell(module: &Path, directory: &Path, statements: &str) -> String {
    let input = tempfile::NamedTempFile::new().expect("a file");
    fs::write(&input, statements).expect("written");
    let mut exec = Command::new("timeout");
    exec.env_remove("HOME").env_remove("XDG_CACHE_HOME");
    exec.arg(PATIENCE).arg(command("lunatic-exec").get_program()).args(["--cache-dir", cache()]);
    exec.args(["--dir", &format!("{}::data", directory.display())]).arg(module).arg("data/test.sqlite");
    let output =
        exec.stdin(Stdio::from(File::open(&input).expect("it was written"))).output().expect("it runs");
    assert_eq!((stderr(&output).as_str(), output.status.code()), ("", Some(0)));
    stdout(&output)
}

#[test]
#[ignore = "installs a C compiler (.ci/run toolchains)"]
fn sqlite_keeps_a_database_in_a_file() {
    let module = build_with_c("tests/guests/programs/sqlite", "test-sqlite-shell");
    let directory = tempfile::tempdir().expect("a directory");
    let said = shell(
        &module,
        directory.path(),
        "create table numbers (n integer primary key, square integer, text text)\n\
        with recursive up (n) as (select 1 union all select n + 1 from up where n < 5000) \
        insert into numbers select n, n * n, 'number ' || n from up\n\
        select count(*), sum(square), max(text) from numbers\n\
        begin\n\
        delete from numbers\n\
        select count(*) from numbers\n\
        rollback\n\
        select count(*) from numbers\n\
        create index by_text on numbers (text)\n\
        select n, square, text from numbers where text = 'number 4321'\n\
        insert into numbers values (1, 1, 'there is one')\n\
        select 1.5, null, x'00ff', 'gr\u{fc}n', round(7.25, 1), abs(-7), random() <> random(), date(0, 'unixepoch')\n\
        insert into absent values (1)\n\
        pragma integrity_check\n",
    );
    let expected = "5000|41679167500|number 999\n0\n5000\n4321|18671041|number 4321\n\
        error: UNIQUE constraint failed: numbers.n\n\
        1.5|null|[00, ff]|gr\u{fc}n|7.3|7|1|1970-01-01\nerror: no such table: absent\nok\n";
    assert_eq!(said, expected);
    // The next run finds the data, and another SQLite can read the database.
    assert_eq!(shell(&module, directory.path(), "select text from numbers where n = 17\n"), "number 17\n");
    let script = "import sqlite3, sys\n\
        database = sqlite3.connect(sys.argv[1])\n\
        print(database.execute('select count(*), sum(square) from numbers').fetchall())\n\
        print(database.execute('pragma integrity_check').fetchall())\n";
    let mut python = Command::new("python3");
    let output = python
        .args(["-c", script])
        .arg(directory.path().join("test.sqlite"))
        .output()
        .expect("there is Python");
    assert_eq!(stdout(&output), "[(5000, 41679167500)]\n[('ok',)]\n", "{}", stderr(&output));
}
