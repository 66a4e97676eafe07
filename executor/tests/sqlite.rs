//! `lunatic::sqlite`: what its functions promise, and hostile use of them (HOSTILE 45).

mod common;

use std::path::Path;

use common::simulated::Simulated;
use common::{PATIENCE, run, start, workers};
use lunatic_executor::{PreopenedDir, RuntimeConfig};

/// The helpers of these guests:
///
/// - `$say (text, length)` writes to standard output, `$say_byte` a number below 128;
/// - `$open (path, length) -> connection` exits with 90 if it fails;
/// - `$execute (connection, sql, length) -> code`; `$all (connection, sql, length)` exits with 100 + the code if it is not 0;
/// - `$child (name, length) -> pid` spawns an export and monitors it; `$wait (tag)` receives;
/// - an allocator.
///
/// The helpers use the bytes below 1024, the allocator those from 64 KiB on.
const PRELUDE: &str = r#"
  (memory (export "memory") 3)
  (global $next (mut i32) (i32.const 65536))
  (func $say (param i32 i32)
    (i32.store (i32.const 0) (local.get 0))
    (i32.store (i32.const 4) (local.get 1))
    (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
  (func $say_byte (param i32)
    (i32.store8 (i32.const 16) (local.get 0))
    (call $say (i32.const 16) (i32.const 1)))
  (func $open (param i32 i32) (result i64)
    (if (i64.ne (call $sqlite::open (local.get 0) (local.get 1) (i32.const 24)) (i64.const 0)) (then (call $exit (i32.const 90))))
    (i64.load (i32.const 24)))
  (func $all (param i64 i32 i32) (local $code i32)
    (local.set $code (call $sqlite::execute (local.get 0) (local.get 1) (local.get 2)))
    (if (local.get $code) (then (call $exit (i32.add (i32.const 100) (local.get $code))))))
  (func $child (param i32 i32) (result i64)
    (if (call $spawn_raw (i64.const 0) (i64.const -1) (i64.const -1) (local.get 0) (local.get 1) (i32.const 0) (i32.const 0) (i32.const 32))
      (then (call $exit (i32.const 91))))
    (drop (call $monitor_start (i64.load (i32.const 32))))
    (i64.load (i32.const 32)))
  (func $send (param i64)
    (call $create_data (i64.const 0) (i64.const 0))
    (drop (call $send_raw (local.get 0))))
  (func $wait (result i32) (call $receive (i32.const 40) (i32.const 0) (i64.const -1)))
"#;

/// A bump allocator as the guest's `lunatic_alloc`.
const ALLOCATOR: &str = r#"
  (func (export "lunatic_alloc") (param $size i32) (result i32)
    (global.get $next)
    (global.set $next (i32.add (global.get $next) (local.get $size))))
"#;

fn guest(body: &str) -> String {
    format!("(module {PRELUDE} {ALLOCATOR} {body})")
}

/// Texts in a guest's memory.
struct Texts(String, usize);

impl Texts {
    fn new() -> Texts {
        Texts(String::new(), 1024)
    }

    /// A text's address and length.
    fn add(&mut self, bytes: impl AsRef<[u8]>) -> String {
        let bytes = bytes.as_ref();
        let at = self.1;
        let escaped: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
        self.0 += &format!("(data (i32.const {at}) \"{escaped}\")\n");
        self.1 += bytes.len();
        assert!(self.1 <= 65536, "texts are below the allocator's memory");
        format!("(i32.const {at}) (i32.const {})", bytes.len())
    }
}

/// A guest that opens a database and runs statements. It prints a code for each.
fn executing(path: &str, statements: &[&str]) -> String {
    let mut texts = Texts::new();
    let path = texts.add(path);
    let calls: String = statements
        .iter()
        .map(|sql| format!("(call $say_byte (call $sqlite::execute (local.get $db) {}))\n", texts.add(sql)))
        .collect();
    let data = texts.0;
    guest(&format!(
        r#"{data} (func (export "_start") (local $db i64) (local.set $db (call $open {path})) {calls})"#
    ))
}

/// The codes of statements, one after the other.
fn codes(config: RuntimeConfig, path: &str, statements: &[&str]) -> Vec<u8> {
    let outcome = run(config, &executing(path, statements));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
    outcome.stdout.into_bytes()
}

/// Runs a guest. Returns the bytes that it prints.
fn bytes_of(config: RuntimeConfig, wat: &str) -> Vec<u8> {
    let running = start(config, wat);
    let status = running.ended.recv_timeout(PATIENCE).unwrap();
    assert_eq!(status, 0, "{}", running.stderr.text());
    running.stdout.bytes()
}

fn with_dir(host: &Path) -> RuntimeConfig {
    let mut config = workers(2);
    config.dirs.push(PreopenedDir { host: host.to_owned(), guest: "data".into(), is_read_only: false });
    config
}

/// A guest with this `_start`, with a database in memory as `$db`.
fn in_memory(texts: &Texts, start: &str) -> String {
    guest(&format!(
        r#"{} (func (export "_start") (local $db i64) (local $s i64) (local $at i32)
          (local.set $db (call $open (i32.const 1000) (i32.const 0))) {start})"#,
        texts.0
    ))
}

/// Code that calls a function that returns bytes, and prints them.
fn give(call: &str) -> String {
    format!(
        "(local.set $at (call {call} (i32.const 512))) (call $say (local.get $at) (i32.load (i32.const 512)))\n"
    )
}

/// A statement that never ends.
const FOR_EVER: &str =
    "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";

const OK: u8 = 0;
const ERROR: u8 = 1;
const NOMEM: u8 = 7;
const CANTOPEN: u8 = 14;
const AUTH: u8 = 23;

/// The types of the guests' crate, for the real decoder.
mod types {
    use serde::{Deserialize, Serialize};

    #[derive(Serialize)]
    pub(crate) enum BindKey {
        None,
        Numeric(usize),
        String(String),
    }

    #[derive(Serialize)]
    #[allow(dead_code)] // Unused variants keep the numbers of the others.
    pub(crate) enum BindValue {
        Null,
        Blob(Vec<u8>),
        Text(String),
        Double(f64),
        Int(i32),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    pub(crate) enum SqliteValue {
        Null,
        Blob(Vec<u8>),
        Text(String),
        Double(f64),
        Integer(i64),
    }

    #[derive(Debug, PartialEq, Deserialize)]
    pub(crate) struct SqliteError {
        pub(crate) code: Option<u32>,
        pub(crate) message: Option<String>,
    }
}

use types::{BindKey, BindValue, SqliteError, SqliteValue};

/// Decodes a value from the beginning of the output.
fn take<T: serde::de::DeserializeOwned>(said: &mut &[u8]) -> T {
    bincode::deserialize_from(said).expect("the guest said one")
}

#[test]
fn rows_are_encoded_as_guests_expect() {
    let list = vec![
        (BindKey::None, BindValue::Int(-5)),
        (BindKey::Numeric(2), BindValue::Text("two".into())),
        (BindKey::String("three".into()), BindValue::Blob(vec![])),
        (BindKey::String("@four".into()), BindValue::Double(0.25)),
    ];
    let mut texts = Texts::new();
    let sql = texts
        .add("SELECT ? AS a, ?2 AS b, :three, @four, NULL, CAST(x'ff' AS TEXT) UNION ALL SELECT 1,2,3,4,5,6");
    let list = texts.add(bincode::serialize(&list).unwrap());
    let step = "(call $say_byte (call $sqlite::sqlite3_step (local.get $s)))";
    let start = [
        format!(
            "(local.set $s (call $sqlite::query_prepare (local.get $db) {sql})) (call $sqlite::bind_value (local.get $s) {list})"
        ),
        give("$sqlite::read_row (local.get $s)"),
        step.into(),
        give("$sqlite::read_row (local.get $s)"),
        give("$sqlite::read_column (local.get $s) (i32.const 1)"),
        give("$sqlite::column_names (local.get $s)"),
        "(call $say_byte (call $sqlite::column_count (local.get $s)))".into(),
        format!(
            "{step} {step} (call $sqlite::statement_reset (local.get $s)) {step} (call $sqlite::sqlite3_finalize (local.get $s))"
        ),
        give("$sqlite::last_error (local.get $db)"),
    ];
    let said = bytes_of(workers(1), &in_memory(&texts, &start.concat()));
    let mut said = &said[..];
    let nulls: Vec<SqliteValue> = take(&mut said);
    assert_eq!(nulls, [const { SqliteValue::Null }; 6], "there is no row yet");
    assert_eq!(take::<u8>(&mut said), 100);
    let row: Vec<SqliteValue> = take(&mut said);
    let meant = [
        SqliteValue::Integer(-5),
        SqliteValue::Text("two".into()),
        SqliteValue::Blob(vec![]),
        SqliteValue::Double(0.25),
        SqliteValue::Null,
        // This is not UTF-8, and therefore not text.
        SqliteValue::Blob(vec![255]),
    ];
    assert_eq!(row, meant);
    assert_eq!(take::<SqliteValue>(&mut said), meant[1]);
    let names: Vec<String> = take(&mut said);
    assert_eq!(names[..3], ["a", "b", ":three"]);
    assert_eq!(take::<[u8; 5]>(&mut said), [6, 100, 101, 100, 0]);
    assert_eq!(said, [0], "no error has no code and no message");
}

#[test]
fn columns_follow_changes_of_the_table() {
    let mut texts = Texts::new();
    let make = texts.add("CREATE TABLE t (a); INSERT INTO t VALUES (1), (2)");
    let select = texts.add("SELECT * FROM t");
    let change = texts.add("ALTER TABLE t ADD COLUMN b");
    let count = "(call $say_byte (call $sqlite::column_count (local.get $s)))";
    let start = [
        format!(
            "(call $all (local.get $db) {make}) (call $say_byte (call $sqlite::sqlite3_changes (local.get $db)))"
        ),
        format!("(local.set $s (call $sqlite::query_prepare (local.get $db) {select})) {count}"),
        format!(
            "(call $all (local.get $db) {change}) (drop (call $sqlite::sqlite3_step (local.get $s))) {count}"
        ),
        give("$sqlite::column_name (local.get $s) (i32.const 1)"),
    ];
    assert_eq!(bytes_of(workers(1), &in_memory(&texts, &start.concat())), [2, 1, 2, b'b']);
}

#[test]
fn errors_are_reported() {
    let mut texts = Texts::new();
    let make = texts.add("CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)");
    let again = texts.add("INSERT INTO t VALUES (1)");
    let start = [
        format!("(call $all (local.get $db) {make})"),
        format!("(call $say_byte (call $sqlite::execute (local.get $db) {again}))"),
        give("$sqlite::last_error (local.get $db)"),
    ];
    let said = bytes_of(workers(1), &in_memory(&texts, &start.concat()));
    let mut said = &said[..];
    assert_eq!(take::<u8>(&mut said), 19);
    let error: SqliteError = take(&mut said);
    let message = Some("UNIQUE constraint failed: t.a".into());
    assert_eq!(error, SqliteError { code: Some(19), message }, "the primary code: guests know no other");
}

#[test]
fn opening_an_unusable_file_returns_an_error() {
    let mut texts = Texts::new();
    let path = texts.add("absent/app.db");
    let start = format!(
        r#"(call $say_byte (i32.wrap_i64 (call $sqlite::open {path} (i32.const 24))))
          (call $error_text (i64.load (i32.const 24)) (i32.const 600))
          (call $say (i32.const 600) (call $error_size (i64.load (i32.const 24))))"#
    );
    let said = bytes_of(workers(1), &in_memory(&texts, &start));
    assert_eq!(String::from_utf8_lossy(&said), "\u{1}SQLite: unable to open database file (code 14)");
}

/// A directory, beside another one that the guest must not reach.
struct Nest {
    outside: tempfile::TempDir,
}

impl Nest {
    fn new() -> Nest {
        let outside = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(outside.path().join("inside/sub")).unwrap();
        std::fs::create_dir(outside.path().join("neighbour")).unwrap();
        Nest { outside }
    }

    fn inside(&self) -> std::path::PathBuf {
        self.outside.path().join("inside")
    }

    /// The names in a directory.
    fn names(path: &Path) -> Vec<String> {
        let entries = std::fs::read_dir(path).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

#[test]
fn files_are_below_the_directories() {
    let nest = Nest::new();
    let write = ["CREATE TABLE t (a)", "INSERT INTO t VALUES (1)"];
    for path in ["data/app.db", "/data/./app2.db", "data/sub/app.db"] {
        assert_eq!(codes(with_dir(&nest.inside()), path, &write), [OK, OK], "{path}");
    }
    assert_eq!(codes(with_dir(&nest.inside()), "./data/app.db", &["INSERT INTO t VALUES (2)"]), [OK]);
    assert_eq!(Nest::names(&nest.inside()), ["app.db", "app2.db", "sub"]);
    let absolute = nest.outside.path().join("x.db");
    let others = [
        "app.db",
        "other/app.db",
        "data",
        "data/",
        "data/../x.db",
        "../x.db",
        absolute.to_str().unwrap(),
        "data/absent/x.db",
        "data/sub",
        "file:data/x.db",
        "data\0/x.db",
    ];
    for path in others {
        let outcome = run(with_dir(&nest.inside()), &executing(path, &write));
        let refused = outcome.status == 90 || outcome.stdout.as_bytes().iter().all(|code| *code != OK);
        assert!(refused, "{path}: {outcome:?}");
    }
    assert_eq!(Nest::names(nest.outside.path()), ["inside", "neighbour"]);
    assert_eq!(Nest::names(&nest.inside()), ["app.db", "app2.db", "sub"]);
}

#[test]
fn sql_reaches_no_other_files() {
    let nest = Nest::new();
    let absolute = format!("ATTACH '{}' AS e", nest.outside.path().join("x.db").display());
    let statements = [
        ("CREATE TABLE t (a)", OK),
        ("ATTACH 'data/two.db' AS two", OK),
        ("CREATE TABLE two.t (a)", OK),
        ("BEGIN; INSERT INTO t VALUES (1); INSERT INTO two.t VALUES (1); COMMIT", OK),
        ("VACUUM INTO 'data/copy.db'", OK),
        ("ATTACH '../x.db' AS a", CANTOPEN),
        ("ATTACH 'data/../../x.db' AS b", CANTOPEN),
        ("ATTACH '..' || '/x.db' AS c", CANTOPEN),
        ("ATTACH 'file:/tmp/x.db?vfs=unix' AS d", CANTOPEN),
        (&absolute, CANTOPEN),
        ("ATTACH '/1/x.db' AS f", CANTOPEN),
        ("ATTACH '/0/x.db' AS g", CANTOPEN),
        // SQLite would map files of these names into memory.
        ("ATTACH 'data/x.db-shm' AS h", CANTOPEN),
        ("VACUUM INTO '../x.db'", CANTOPEN),
        ("VACUUM INTO '/tmp/x.db'", CANTOPEN),
        ("ATTACH '' AS temporary", OK),
        ("CREATE TABLE temporary.t AS SELECT zeroblob(10000000)", OK),
        ("CREATE TEMP TABLE big AS SELECT zeroblob(10000000)", OK),
        ("VACUUM", OK),
        ("SELECT load_extension('x')", ERROR),
        ("SELECT fts3_tokenizer('simple', x'0000000000000000')", ERROR),
        ("PRAGMA temp_store_directory = '/tmp'", AUTH),
        ("PRAGMA data_store_directory = '/tmp'", AUTH),
        ("PRAGMA temp_store = FILE", AUTH),
        ("PRAGMA mmap_size = 1000000", AUTH),
        ("PRAGMA writable_schema = ON", AUTH),
        ("PRAGMA trusted_schema = ON", AUTH),
        ("PRAGMA hard_heap_limit = 1", AUTH),
        ("PRAGMA soft_heap_limit = 1", AUTH),
        ("PRAGMA threads = 8", AUTH),
        ("PRAGMA journal_mode = WAL", OK),
        ("INSERT INTO t VALUES (2)", OK),
        ("UPDATE sqlite_schema SET sql = 'x'", ERROR),
        ("CREATE VIRTUAL TABLE f USING fts5(a)", ERROR),
        ("CREATE VIRTUAL TABLE f USING rtree(a, b, c)", OK),
        ("DELETE FROM f_node", ERROR),
        ("SELECT readfile('/etc/passwd')", ERROR),
    ];
    let said = codes(with_dir(&nest.inside()), "data/app.db", &statements.map(|(sql, _)| sql));
    for ((sql, code), said) in statements.iter().zip(&said) {
        assert_eq!(said, code, "{sql}");
    }
    assert_eq!(said.len(), statements.len());
    assert_eq!(Nest::names(nest.outside.path()), ["inside", "neighbour"]);
    let names = Nest::names(&nest.inside());
    let own = |name: &String| ["app.db", "copy.db", "two.db", "sub"].iter().any(|own| name.starts_with(own));
    assert!(names.iter().all(own), "{names:?}");
    assert!(!names.iter().any(|name| name.ends_with("-shm")), "what would be mapped: {names:?}");
}

#[cfg(unix)]
#[test]
fn links_out_of_a_directory_are_refused() {
    use std::os::unix::fs::symlink;

    let nest = Nest::new();
    let secret = nest.outside.path().join("neighbour/secret");
    std::fs::write(&secret, "secret").unwrap();
    symlink("../neighbour/secret", nest.inside().join("link.db")).unwrap();
    symlink("../neighbour", nest.inside().join("up")).unwrap();
    symlink("sub", nest.inside().join("down")).unwrap();
    let write = ["CREATE TABLE t (a)"];
    for path in ["data/link.db", "data/up/new.db"] {
        let outcome = run(with_dir(&nest.inside()), &executing(path, &write));
        assert!(outcome.status == 90 || outcome.stdout.as_bytes() == [CANTOPEN], "{path}: {outcome:?}");
    }
    symlink("other.db", nest.inside().join("same.db")).unwrap();
    assert_eq!(codes(with_dir(&nest.inside()), "data/other.db", &write), [OK]);
    let outcome = run(with_dir(&nest.inside()), &executing("data/same.db", &write));
    assert!(outcome.status == 90 || outcome.stdout.as_bytes() == [CANTOPEN], "not the last one: {outcome:?}");
    // The files that SQLite opens beside a database must not be links, either.
    let journal = nest.inside().join("app.db-journal");
    assert_eq!(codes(with_dir(&nest.inside()), "data/app.db", &write), [OK]);
    symlink("../neighbour/secret", &journal).unwrap();
    let again = ["INSERT INTO t VALUES (1)"];
    assert_eq!(codes(with_dir(&nest.inside()), "data/app.db", &again), [CANTOPEN]);
    std::fs::remove_file(&journal).unwrap();
    symlink("../neighbour/made", &journal).unwrap();
    assert_eq!(codes(with_dir(&nest.inside()), "data/app.db", &again), [CANTOPEN]);
    assert_eq!(std::fs::read(&secret).unwrap(), b"secret");
    assert_eq!(Nest::names(&nest.outside.path().join("neighbour")), ["secret"]);
    // Within the directory, links are allowed.
    assert_eq!(codes(with_dir(&nest.inside()), "data/down/new.db", &write), [OK]);
    assert_eq!(Nest::names(&nest.inside().join("sub")), ["new.db"]);
}

#[test]
fn without_directories_databases_are_in_memory_only() {
    assert_eq!(codes(workers(1), "", &["CREATE TABLE t (a)", "ATTACH ':memory:' AS m"]), [OK, OK]);
    assert_eq!(codes(workers(1), ":memory:", &["CREATE TABLE t (a)", "ATTACH 'x.db' AS x"]), [OK, CANTOPEN]);
}

#[test]
fn a_process_killed_during_a_statement_ends_at_once() {
    // More statements than threads: each thread has to become free again.
    const CHILDREN: u32 = 40;
    let mut texts = Texts::new();
    let (child, sql) = (texts.add("child"), texts.add(FOR_EVER));
    let nothing = "(i32.const 1000) (i32.const 0)";
    let body = format!(
        r#"{data}
        (func (export "child")
          (local $db i64)
          (local.set $db (call $open {nothing}))
          (call $send (i64.const 1))
          (drop (call $sqlite::execute (local.get $db) {sql})))
        (func (export "_start") (local $left i32) (local $child i64)
          (local.set $left (i32.const {CHILDREN}))
          (loop $again
            (local.set $child (call $child {child}))
            (if (call $wait) (then (call $exit (i32.const 1))))
            (call $sleep (i64.const 10))
            (call $kill (local.get $child))
            (if (i32.ne (call $wait) (i32.const 2)) (then (call $exit (i32.const 2))))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (drop (call $open {nothing})))"#,
        data = texts.0
    );
    let outcome = run(workers(2), &guest(&body));
    assert_eq!(outcome.status, 0, "{}", outcome.stderr);
}

#[test]
fn locks_are_free_when_a_death_is_seen() {
    let nest = Nest::new();
    let mut texts = Texts::new();
    let (child, path) = (texts.add("child"), texts.add("data/app.db"));
    let lock = texts.add("BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS t (a)");
    let body = format!(
        r#"{data}
        (func (export "child")
          (call $all (call $open {path}) {lock})
          (call $send (i64.const 1))
          (drop (call $wait)))
        (func (export "_start") (local $left i32) (local $child i64) (local $db i64)
          (local.set $left (i32.const 50))
          (loop $again
            (local.set $child (call $child {child}))
            (if (call $wait) (then (call $exit (i32.const 1))))
            (call $kill (local.get $child))
            (if (i32.ne (call $wait) (i32.const 2)) (then (call $exit (i32.const 2))))
            (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
          (local.set $db (call $open {path}))
          (call $say_byte (call $sqlite::execute (local.get $db) {other})))"#,
        other = texts.add("CREATE TABLE other (a)"),
        data = "DATA"
    );
    let body = body.replace("DATA", &texts.0);
    let mut config = workers(2);
    config.dirs = vec![PreopenedDir { host: nest.inside(), guest: "data".into(), is_read_only: false }];
    assert_eq!(bytes_of(config, &guest(&body)), [OK]);
}

/// A guest whose child runs this with a database in memory. Returns the end of the child's report.
fn ends_with(body: &str, texts: &Texts) -> String {
    let outcome = run(workers(1), &in_memory(texts, body));
    assert_ne!(outcome.status, 0, "the process continues: {body}");
    outcome.stderr
}

#[test]
fn invalid_arguments_end_only_the_calling_process() {
    let mut texts = Texts::new();
    let one = texts.add("SELECT ?1");
    let wrong = texts.add("SELEC 1");
    let huge = texts.add((1u64 << 60).to_le_bytes());
    let named = texts.add(bincode::serialize(&vec![(BindKey::String("x".into()), BindValue::Null)]).unwrap());
    let ninth = texts.add(bincode::serialize(&vec![(BindKey::Numeric(9), BindValue::Null)]).unwrap());
    let prepare = format!("(local.set $s (call $sqlite::query_prepare (local.get $db) {one}))");
    let cases = [
        (
            "(drop (call $sqlite::execute (i64.const 7) (i32.const 0) (i32.const 0)))".into(),
            "no connection with the identifier 7",
        ),
        ("(drop (call $sqlite::sqlite3_step (i64.const 7)))".into(), "no statement with the identifier 7"),
        ("(call $sqlite::sqlite3_finalize (i64.const -1))".into(), "no statement"),
        ("(drop (call $sqlite::last_error (i64.const 9) (i32.const 0)))".into(), "no connection"),
        ("(drop (call $sqlite::query_prepare (local.get $db) (i32.const -8) (i32.const 16)))".into(), "outside the memory"),
        ("(drop (call $sqlite::open (i32.const 0) (i32.const 0) (i32.const -4)))".into(), "outside the memory"),
        (format!("{prepare} (drop (call $sqlite::read_row (local.get $s) (i32.const -3)))"), "outside the memory"),
        (format!("{prepare} (call $sqlite::bind_value (local.get $s) (i32.const 0) (i32.const -1))"), "outside the memory"),
        (format!("{prepare} (call $sqlite::bind_value (local.get $s) {huge})"), "malformed at byte 8"),
        (format!("{prepare} (call $sqlite::bind_value (local.get $s) (i32.const 0) (i32.const 3))"), "malformed at byte 0"),
        (format!("{prepare} (call $sqlite::bind_value (local.get $s) {named})"), "no parameter is named \"x\""),
        (format!("{prepare} (call $sqlite::bind_value (local.get $s) {ninth})"), "column index out of range (code 25)"),
        (
            format!("{prepare} (drop (call $sqlite::read_column (local.get $s) (i32.const 1) (i32.const 0)))"),
            "no column",
        ),
        (
            format!("{prepare} (drop (call $sqlite::column_name (local.get $s) (i32.const -1) (i32.const 0)))"),
            "no column",
        ),
        (
            format!("{prepare} (call $sqlite::sqlite3_finalize (local.get $s)) (drop (call $sqlite::sqlite3_step (local.get $s)))"),
            "no statement",
        ),
        (format!("(drop (call $sqlite::query_prepare (local.get $db) {wrong}))"), "near \"SELEC\": syntax error (code 1)"),
        // An empty statement does nothing.
        (
            "(drop (call $sqlite::sqlite3_step (call $sqlite::query_prepare (local.get $db) (i32.const 0) (i32.const 0))))".into(),
            "(code 21)",
        ),
    ];
    for (body, said) in cases {
        let stderr = ends_with(&body, &texts);
        assert!(stderr.contains(said), "{body}: {stderr}");
    }
}

#[test]
fn the_guests_allocator_may_call_any_function() {
    let cases = [
        ("", "does not export \"lunatic_alloc\""),
        (r#"(func (export "lunatic_alloc") (param i64) (result i32) (i32.const 0))"#, "does not export"),
        (r#"(func (export "lunatic_alloc") (param i32) (result i32) (unreachable))"#, "trapped: unreachable"),
        (r#"(func (export "lunatic_alloc") (param i32) (result i32) (i32.const -1))"#, "outside the memory"),
        (
            r#"(func (export "lunatic_alloc") (param i32) (result i32) (call $exit (i32.const 66)) (i32.const 0))"#,
            "",
        ),
        // The allocator may itself call the function that it allocates for.
        (
            r#"(func (export "lunatic_alloc") (param i32) (result i32) (call $sqlite::sqlite3_finalize (i64.const 0))
              (drop (call $sqlite::execute (i64.const 0) (i32.const 0) (i32.const 0))) (call $exit (i32.const 67)) (i32.const 0))"#,
            "",
        ),
    ];
    for (index, (allocator, said)) in cases.into_iter().enumerate() {
        let body = r#"(data (i32.const 1024) "SELECT 1") (func (export "_start") (local $s i64)
              (local.set $s (call $sqlite::query_prepare (call $open (i32.const 0) (i32.const 0)) (i32.const 1024) (i32.const 8)))
              (drop (call $sqlite::read_row (local.get $s) (i32.const 512))))"#;
        let outcome = run(workers(1), &format!("(module {PRELUDE} {allocator} {body})"));
        assert_ne!(outcome.status, 0);
        assert!(outcome.stderr.contains(said), "{index}: {}", outcome.stderr);
        let exits = [(4, 66), (5, 67)];
        let meant =
            exits.iter().find(|(case, _)| *case == index).map_or(outcome.status, |(_, status)| *status);
        assert_eq!(outcome.status, meant, "{index}");
    }
}

#[test]
fn the_guests_allocator_may_be_preempted() {
    let allocator = r#"(func (export "lunatic_alloc") (param i32) (result i32) (local $left i32)
      (local.set $left (i32.const 100000))
      (loop $again (br_if $again (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (i32.const 700))"#;
    let body = r#"(data (i32.const 1024) "SELECT 1") (func (export "_start") (local $s i64)
      (local.set $s (call $sqlite::query_prepare (call $open (i32.const 0) (i32.const 0)) (i32.const 1024) (i32.const 8)))
      (drop (call $sqlite::sqlite3_step (local.get $s)))
      (if (i32.ne (call $sqlite::read_row (local.get $s) (i32.const 512)) (i32.const 700)) (then (call $exit (i32.const 1))))
      (call $say (i32.const 700) (i32.load (i32.const 512))))"#;
    let config = workers(2).slice(1000);
    let said = bytes_of(config, &format!("(module {PRELUDE} {allocator} {body})"));
    assert_eq!(bincode::deserialize::<Vec<SqliteValue>>(&said).unwrap(), [SqliteValue::Integer(1)]);
}

#[test]
fn statements_and_connections_are_limited() {
    let mut texts = Texts::new();
    let one = texts.add("SELECT 1");
    let some = workers(1).max_resources(Some(3));
    let again =
        |call: &str| format!("(loop $again (drop {call}) (call $say_byte (i32.const 0)) (br $again))");
    let connections = again("(call $open (i32.const 0) (i32.const 0))");
    let statements = again(&format!("(call $sqlite::query_prepare (local.get $db) {one})"));
    // One of the connections is already open.
    for (body, said, count) in
        [(&connections, "too many connections", 2), (&statements, "too many statements", 3)]
    {
        let outcome = run(some.clone(), &in_memory(&texts, body));
        assert!(outcome.status != 0 && outcome.stderr.contains(said), "{}", outcome.stderr);
        assert_eq!(outcome.stdout.len(), count, "{said}");
    }
    let small = workers(1).max_memory(8 << 20);
    let statements = [
        "CREATE TABLE t (a)",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) INSERT INTO t SELECT randomblob(9000) FROM n",
        "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT DISTINCT hex(randomblob(99)) FROM n",
        "SELECT 1",
    ];
    assert_eq!(codes(small, "", &statements), [OK, NOMEM, NOMEM, OK]);
}

#[test]
fn a_statement_ends_with_the_reductions_of_its_process() {
    const INTERRUPTED: u8 = 9;
    let config = || workers(1).max_reductions(Some(10_000_000));
    let outcome = run(config(), &executing("", &[FOR_EVER]));
    assert_eq!(outcome.stdout.as_bytes(), [INTERRUPTED], "{outcome:?}");
    let outcome = run(config(), &executing("", &[FOR_EVER, "SELECT 1"]));
    assert!(outcome.status != 0 && outcome.stdout.len() == 1, "what it took is charged: {outcome:?}");
}

#[test]
fn endless_statements_do_not_keep_other_processes_from_a_database() {
    let mut texts = Texts::new();
    let (child, endless, short) = (texts.add("child"), texts.add(FOR_EVER), texts.add("SELECT 1"));
    let body = format!(
        r#"{data}
        (func (export "child") (local $db i64)
          (local.set $db (call $open (i32.const 1000) (i32.const 0)))
          (call $say_byte (i32.const 7))
          (drop (call $sqlite::execute (local.get $db) {endless})))
        (func (export "_start") (local $db i64) (local $count i32)
          (loop $more
            (drop (call $child {child}))
            (br_if $more (i32.lt_u (local.tee $count (i32.add (local.get $count) (i32.const 1))) (i32.const 100))))
          ;; Each is with its statement when it has slept.
          (call $sleep (i64.const 500))
          (local.set $db (call $open (i32.const 1000) (i32.const 0)))
          (call $say_byte (call $sqlite::execute (local.get $db) {short})))"#,
        data = texts.0
    );
    let said = bytes_of(workers(2), &guest(&body));
    assert_eq!(said.last(), Some(&OK), "{said:?}");
}

#[test]
fn a_simulation_has_databases_in_memory_that_a_seed_decides() {
    let mut texts = Texts::new();
    let make = texts.add("CREATE TABLE t AS SELECT random() AS a, strftime('%Y-%m-%d %f', 'now') AS b");
    let select = texts.add("SELECT * FROM t");
    let path = texts.add("data/app.db");
    let start = [
        format!("(call $all (local.get $db) {make})"),
        format!(
            "(local.set $s (call $sqlite::query_prepare (local.get $db) {select})) (drop (call $sqlite::sqlite3_step (local.get $s)))"
        ),
        give("$sqlite::read_row (local.get $s)"),
        format!("(call $say_byte (i32.wrap_i64 (call $sqlite::open {path} (i32.const 24))))"),
    ];
    let simulated = Simulated::new(&in_memory(&texts, &start.concat()));
    let [one, again, other] = [1, 1, 2].map(|seed| simulated.seed(seed));
    assert_eq!(one, again);
    assert_ne!(one.stdout, other.stdout);
    let mut said = &one.stdout[..];
    let row: Vec<SqliteValue> = take(&mut said);
    assert!(matches!(&row[1], SqliteValue::Text(date) if date.starts_with("2026-01-01 ")), "{row:?}");
    assert_eq!(said, [1], "there are no files");
}

#[test]
fn fetching_rows_ahead_is_not_observable() {
    let mut texts = Texts::new();
    let make = texts.add(
        "CREATE TABLE t (a); WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT 100) INSERT INTO t SELECT i FROM n",
    );
    let select =
        texts.add("SELECT abs(CASE a WHEN 90 THEN -9223372036854775807 - 1 ELSE a END) FROM t WHERE a > ?");
    let two = texts.add("SELECT ? UNION ALL SELECT 2");
    let list = texts.add(bincode::serialize(&vec![(BindKey::None, BindValue::Int(0))]).unwrap());
    let step = "(call $say_byte (call $sqlite::sqlite3_step (local.get $s)))";
    let read = give("$sqlite::read_column (local.get $s) (i32.const 0)");
    let some = format!("{}{read}", step.repeat(20));
    // The rows from the sixty-fourth on are fetched together with the error at the ninetieth, which is reported only there.
    let start = [
        format!("(call $all (local.get $db) {make})"),
        format!(
            "(local.set $s (call $sqlite::query_prepare (local.get $db) {select})) (call $sqlite::bind_value (local.get $s) {list})"
        ),
        some.clone(),
        // The query begins again and drops the fetched rows.
        format!(
            "(call $sqlite::statement_reset (local.get $s)) {some} (call $sqlite::statement_reset (local.get $s))"
        ),
        step.repeat(89),
        give("$sqlite::last_error (local.get $db)"),
        read.clone(),
    ];
    let said = bytes_of(workers(2), &in_memory(&texts, &start.concat()));
    let mut said = &said[..];
    for _ in 0..2 {
        assert_eq!(said[..20], [100; 20]);
        said = &said[20..];
        assert_eq!(take::<SqliteValue>(&mut said), SqliteValue::Integer(20));
    }
    assert_eq!(said[..89], [100; 89]);
    said = &said[89..];
    assert_eq!(take::<SqliteError>(&mut said), SqliteError { code: None, message: None });
    assert_eq!(take::<SqliteValue>(&mut said), SqliteValue::Integer(89));
    assert!(said.is_empty());

    let select = |rest: &str| {
        format!(
            "(call $all (local.get $db) {make}) (local.set $s (call $sqlite::query_prepare (local.get $db) {select})) (call $sqlite::bind_value (local.get $s) {list}) {rest}"
        )
    };
    let cases = [
        (step.repeat(90), "integer overflow (code 1)", 89),
        (format!("{} (call $sqlite::bind_value (local.get $s) {list})", step.repeat(2)), "(code 21)", 2),
        // All rows of this query have been fetched ahead of the guest.
        (
            format!(
                "(local.set $s (call $sqlite::query_prepare (local.get $db) {two})) {} (call $sqlite::bind_value (local.get $s) {list})",
                step.repeat(2)
            ),
            "(code 21)",
            2,
        ),
    ];
    for (rest, fault, steps) in cases {
        let outcome = run(workers(1), &in_memory(&texts, &select(&rest)));
        assert!(outcome.status != 0 && outcome.stderr.contains(fault), "{}", outcome.stderr);
        assert_eq!(outcome.stdout.len(), steps, "it ends where it would have");
    }
}

#[test]
fn a_writing_statement_is_not_fetched_ahead() {
    let nest = Nest::new();
    let mut texts = Texts::new();
    let path = texts.add("data/app.db");
    let make = texts.add("CREATE TABLE t (a)");
    let insert = texts.add("INSERT INTO t VALUES (1), (2) RETURNING a");
    let write = texts.add("INSERT INTO t VALUES (3)");
    let step = "(call $say_byte (call $sqlite::sqlite3_step (local.get $s)))";
    let other = format!("(call $say_byte (call $sqlite::execute (local.get $other) {write}))");
    let body = format!(
        r#"{data} (func (export "_start") (local $db i64) (local $other i64) (local $s i64)
          (local.set $db (call $open {path}))
          (local.set $other (call $open {path}))
          (call $all (local.get $db) {make})
          (local.set $s (call $sqlite::query_prepare (local.get $db) {insert}))
          {step} {step} {other} {step} {other})"#,
        data = texts.0
    );
    // The write happens when the guest has stepped to the end, not before.
    assert_eq!(bytes_of(with_dir(&nest.inside()), &guest(&body)), [100, 100, 5, 101, OK]);
}

#[test]
fn databases_are_closed_when_the_node_ends() {
    let nest = Nest::new();
    // The last connection that is closed moves the log into the file and removes the log.
    let wal = ["PRAGMA journal_mode = WAL", "CREATE TABLE t (a)", "BEGIN", "INSERT INTO t VALUES (1)"];
    for _ in 0..10 {
        assert_eq!(codes(with_dir(&nest.inside()), "data/app.db", &wal), [OK; 4]);
        assert_eq!(Nest::names(&nest.inside()), ["app.db", "sub"]);
        // Uncommitted rows are absent: this fails if there is a row.
        let none = "SELECT abs(-9223372036854775807 - 1) FROM t";
        assert_eq!(codes(with_dir(&nest.inside()), "data/app.db", &[none, "DROP TABLE t"]), [OK; 2]);
    }
}
