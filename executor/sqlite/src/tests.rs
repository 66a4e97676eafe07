//! Tests of connections through the interface that the host uses.

use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use lunatic_resources::GuestDir;

use super::*;

/// An environment whose time stands still.
struct Still;

impl Environment for Still {
    fn wall(&self) -> u64 {
        1_767_225_600_000_000_000
    }
    fn fill(&self, bytes: &mut [u8]) -> bool {
        bytes.fill(7);
        true
    }
}

fn owner_with(limits: OwnerLimits) -> Arc<Owner> {
    Owner::new(limits, None, Arc::new(Still))
}

/// Returns an owner without directories and with `max_memory` bytes.
pub(super) fn owner(max_memory: u64) -> Arc<Owner> {
    owner_with(OwnerLimits { max_memory, dirs: Vec::new() })
}

/// Returns an owner with these directories.
fn owner_of(dirs: &[(&str, &std::path::Path)]) -> Arc<Owner> {
    let open = |(name, path): &(&str, &std::path::Path)| GuestDir {
        name: (*name).into(),
        dir: Arc::new(Dir::open_ambient_dir(path, ambient_authority()).unwrap()),
        is_read_only: false,
        opened: None,
    };
    owner_with(OwnerLimits { max_memory: 1 << 30, dirs: dirs.iter().map(open).collect() })
}

fn memory() -> Connection {
    Connection::open(&owner(64 << 20), ":memory:").unwrap()
}

/// Returns a query's rows, encoded.
fn rows(connection: &mut Connection, sql: &str) -> Result<Vec<Row>, SqlError> {
    let statement = connection.prepare(sql)?;
    let mut rows = Vec::new();
    let result = loop {
        let steps = connection.steps(statement, 3);
        rows.extend(steps.rows.into_iter().map(|held| held.row));
        match steps.end {
            None => {}
            Some(Ok(())) => break Ok(rows),
            Some(Err(error)) => break Err(error),
        }
    };
    connection.finalize(statement);
    result
}

/// Returns a query's only number.
fn number(connection: &mut Connection, sql: &str) -> i64 {
    let rows = rows(connection, sql).unwrap();
    let value = rows[0].column(0).unwrap();
    assert_eq!(value[..4], [4, 0, 0, 0], "the value is not an integer");
    i64::from_le_bytes(value[4..].try_into().unwrap())
}

#[test]
fn written_rows_are_read_back() {
    let mut connection = memory();
    connection.execute("CREATE TABLE t (a, b); INSERT INTO t VALUES (1, 'x'), (2, 'y')").unwrap();
    assert_eq!((connection.changes(), number(&mut connection, "SELECT sum(a) FROM t")), (2, 3));
    let error = connection.execute("INSERT INTO absent VALUES (1)").unwrap_err();
    assert_eq!((error.code, error.message.as_str()), (1, "no such table: absent"));
}

#[test]
fn time_is_the_nodes() {
    assert_eq!(number(&mut memory(), "SELECT unixepoch('now')"), 1_767_225_600);
}

#[test]
fn randomness_is_the_nodes() {
    let mut connection = memory();
    assert_eq!(number(&mut connection, "SELECT random()"), 0x0707_0707_0707_0707);
    assert_eq!(number(&mut connection, "SELECT randomblob(3) = x'070707'"), 1);
    assert_eq!(number(&mut connection, "SELECT length(randomblob(-1))"), 1);
    assert_eq!(connection.execute("SELECT randomblob(16777217)").unwrap_err().code, 18);
    connection.execute("CREATE TABLE t (a DEFAULT (random())); INSERT INTO t DEFAULT VALUES").unwrap();
}

#[test]
fn memory_has_a_limit_of_its_own() {
    let owner = owner(4 << 20);
    let mut connection = Connection::open(&owner, "").unwrap();
    connection.execute("CREATE TABLE t (a)").unwrap();
    let fill = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
        INSERT INTO t SELECT zeroblob(100000) FROM n";
    assert_eq!(connection.execute(fill).unwrap_err().code, 7);
    let sort = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 1000000)
        SELECT count(*) FROM (SELECT DISTINCT hex(zeroblob(50)) || i FROM n)";
    assert_eq!(rows(&mut connection, sort).unwrap_err().code, 7);
    assert!(
        number(&mut connection, "SELECT count(*) FROM t") == 0,
        "the connection works without the failed rows"
    );
    assert!(owner.account().used() <= 4 << 20);
    drop(connection);
    assert_eq!(owner.account().used(), 0, "all memory is returned");
}

#[test]
fn guest_paths_map_to_files_of_directories() {
    let dir = tempfile::tempdir().unwrap();
    let names = ["data", "./data/deep", "/", "../up"];
    let owner = owner_of(&names.map(|name| (name, dir.path())));
    let dirs = owner.dirs();
    let cases = [
        ("data/a.db", Some("/0/a.db")),
        ("/data/./x//a.db", Some("/0/x/a.db")),
        ("data/deep/a.db", Some("/1/a.db")),
        ("database", Some("/2/database")),
        ("a.db", Some("/2/a.db")),
        ("data", None),
        ("", None),
        (".", None),
        ("data/../a.db", None),
        ("../up/a.db", Some("/3/a.db")),
        ("../a.db", None),
        ("../up/../a.db", None),
    ];
    for (path, name) in cases {
        assert_eq!(files::name_of(path, dirs).as_deref(), name, "{path}");
    }
    assert_eq!(files::name_of("a.db", &dirs[..2]), None);
    assert_eq!(files::name_of(&"x".repeat(files::MAX_NAME), dirs), None);
}

#[test]
fn nothing_changes_in_a_directory_that_may_only_be_read() {
    let directory = tempfile::tempdir().unwrap();
    let host = directory.path();
    let writer = owner_of(&[("data", host)]);
    let mut connection = Connection::open(&writer, "data/a.db").unwrap();
    rows(&mut connection, "CREATE TABLE a (b)").unwrap();
    rows(&mut connection, "INSERT INTO a VALUES (1)").unwrap();
    drop(connection);
    let before = std::fs::read(host.join("a.db")).unwrap();
    let dir = GuestDir { is_read_only: true, ..writer.dirs()[0].clone() };
    let reader = owner_with(OwnerLimits { dirs: vec![dir], max_memory: 1 << 30 });
    let mut connection = Connection::open(&reader, "data/a.db").unwrap();
    assert_eq!(rows(&mut connection, "SELECT b FROM a").unwrap().len(), 1);
    for sql in
        ["INSERT INTO a VALUES (2)", "DROP TABLE a", "VACUUM INTO 'data/b.db'", "ATTACH 'data/c.db' AS c"]
    {
        assert!(rows(&mut connection, sql).is_err(), "{sql}");
    }
    assert!(Connection::open(&reader, "data/new.db").is_err());
    drop(connection);
    assert_eq!(std::fs::read(host.join("a.db")).unwrap(), before);
    assert_eq!(std::fs::read_dir(host).unwrap().count(), 1);
}

#[test]
fn connections_of_several_processes_share_a_file() {
    let dir = tempfile::tempdir().unwrap();
    // Writer and reader see the file under different names, in different directories.
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let outer = owner_of(&[(".", dir.path())]);
    let inner = owner_of(&[("elsewhere", &dir.path().join("sub"))]);
    for mode in ["DELETE", "WAL"] {
        let mut writer = Connection::open(&outer, &format!("sub/{mode}.db")).unwrap();
        let mut reader = Connection::open(&inner, &format!("elsewhere/{mode}.db")).unwrap();
        writer.execute(&format!("PRAGMA journal_mode = {mode}; CREATE TABLE t (a)")).unwrap();
        writer.execute("INSERT INTO t VALUES (1)").unwrap();
        assert_eq!(number(&mut reader, "SELECT count(*) FROM t"), 1, "{mode}");
        writer.execute("BEGIN IMMEDIATE; INSERT INTO t VALUES (2)").unwrap();
        assert_eq!(number(&mut reader, "SELECT count(*) FROM t"), 1, "{mode}");
        assert_eq!(reader.execute("INSERT INTO t VALUES (3)").unwrap_err().code, 5, "{mode}");
        writer.execute("COMMIT").unwrap();
        reader.execute("INSERT INTO t VALUES (3)").unwrap();
        assert_eq!(number(&mut writer, "SELECT count(*) FROM t"), 3, "{mode}");
        let shared = dir.path().join(format!("sub/{mode}.db-shm"));
        assert!(!shared.exists(), "the file is not mapped");
    }
    assert_eq!(std::fs::read_dir(dir.path().join("sub")).unwrap().count(), 2, "journals are removed");
}

#[test]
fn waiting_for_a_lock_ends_with_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let [holder, waiter] = [(); 2].map(|()| owner_of(&[(".", dir.path())]));
    let mut first = Connection::open(&holder, "a.db").unwrap();
    let mut second = Connection::open(&waiter, "a.db").unwrap();
    first.execute("BEGIN EXCLUSIVE").unwrap();
    second.execute("PRAGMA busy_timeout = 10000").unwrap();
    let started = std::time::Instant::now();
    let waits = std::thread::spawn(move || second.execute("CREATE TABLE t (a)").unwrap_err().code);
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(!waits.is_finished(), "the connection waits for the lock");
    waiter.leave();
    assert_eq!(waits.join().unwrap(), 5);
    assert!(started.elapsed().as_secs() < 5, "the wait ends with its process");
}

/// Statements of different kinds, nested as deeply as allowed.
fn deep() -> Vec<String> {
    let nested = |open: &str, middle: &str, close: &str| {
        let depth = 2 * 500;
        let mut all = vec![];
        for depth in [depth, 490, 240, 120, 60] {
            all.push(format!("SELECT {}{middle}{}", open.repeat(depth), close.repeat(depth)));
        }
        all
    };
    let mut all = Vec::new();
    all.extend(nested("(1 + ", "1", ")"));
    all.extend(nested("NOT ", "1", ""));
    all.extend(nested("(SELECT ", "1", ")"));
    all.extend(nested("abs(", "1", ")"));
    all.extend(nested("CASE 1 WHEN ", "1", " THEN 1 END"));
    all.extend(nested("1 IN (SELECT ", "1", ")"));
    all.extend(nested("* FROM (SELECT ", "1", ")"));
    all.extend(nested("* FROM t AS a JOIN (SELECT ", "1", ")"));
    all.extend(nested("1 UNION ALL SELECT ", "1", ""));
    all.extend(nested("1 + ", "1", ""));
    all.push(format!("SELECT json('{}1{}')", "[".repeat(999), "]".repeat(999)));
    all.push(format!("SELECT json_pretty('{}1{}')", "[".repeat(999), "]".repeat(999)));
    for depth in [490, 90] {
        let views =
            (0..depth).map(|n| format!("CREATE VIEW v{depth}_{} AS SELECT * FROM v{depth}_{n};", n + 1));
        let views: String = views.collect();
        all.push(format!("CREATE VIEW v{depth}_0 AS SELECT 1; {views} SELECT * FROM v{depth}_{depth}"));
    }
    for depth in [490, 95] {
        let ctes = (0..depth).map(|n| format!(", c{} AS (SELECT * FROM c{n})", n + 1));
        let ctes: String = ctes.collect();
        all.push(format!("WITH c0 AS (SELECT 1) {ctes} SELECT * FROM c{depth}"));
    }
    let triggers = |n| {
        format!(
            "CREATE TABLE x{n} (a); CREATE TRIGGER r{n} AFTER INSERT ON x{n} BEGIN INSERT INTO x{} SELECT {}new.a{}; END;",
            n + 1,
            "(SELECT ".repeat(50),
            ")".repeat(50)
        )
    };
    let triggers: String = (0..99).map(triggers).collect();
    all.push(format!("{triggers} CREATE TABLE x99 (a); INSERT INTO x0 VALUES (1)"));
    all
}

/// The stack size of a test's thread and of a simulation; database threads have four times as much.
#[test]
fn the_deepest_statements_fit_on_the_stack() {
    const STACK: usize = 2 << 20;
    let run = || {
        let mut connection = memory();
        connection.execute("CREATE TABLE t (a)").unwrap();
        deep().iter().filter(|sql| connection.execute(sql).is_ok()).count()
    };
    let thread = std::thread::Builder::new().stack_size(STACK).spawn(run).unwrap();
    let done = thread.join().unwrap();
    assert!(done > deep().len() / 2, "most statements succeed: {done}");
}

#[test]
fn locks_of_ended_processes_are_awaited() {
    let dir = tempfile::tempdir().unwrap();
    let [gone, alive] = [(); 2].map(|()| owner_of(&[(".", dir.path())]));
    let mut first = Connection::open(&gone, "a.db").unwrap();
    let mut second = Connection::open(&alive, "a.db").unwrap();
    first.execute("BEGIN EXCLUSIVE").unwrap();
    gone.leave();
    drop(gone);
    let waits = std::thread::spawn(move || second.execute("CREATE TABLE t (a)"));
    std::thread::sleep(std::time::Duration::from_millis(100));
    assert!(!waits.is_finished(), "the connection waits for the lock");
    drop(first);
    waits.join().unwrap().unwrap();
}

#[test]
fn functions_on_texts_are_sqlites_but_for_the_time() {
    let mut ours = memory();
    let mut theirs = Connection::open_with_its_functions(&owner(64 << 20), "").unwrap();
    let values = [
        "NULL",
        "''",
        "'a'",
        "'aa'",
        "'ab'",
        "'bab'",
        "'aabbab  '",
        "' ä aöa '",
        "'äö'",
        "'ö'",
        "12",
        "1.5",
        "x'6161'",
        "x''",
        "x'c3'",
        "x'a4'",
        "char(0)",
        "'a' || char(0) || 'b'",
    ];
    let mut calls = Vec::new();
    for first in values {
        calls.extend(["trim", "ltrim", "rtrim"].map(|function| format!("{function}({first})")));
        for second in values {
            // Invalid text is split into characters differently.
            let is_text = ![first, second].iter().any(|value| ["x'c3'", "x'a4'"].contains(value));
            let functions = if is_text { &["instr", "trim", "ltrim", "rtrim"][..] } else { &["instr"] };
            calls.extend(functions.iter().map(|function| format!("{function}({first}, {second})")));
            calls.extend(
                ["'x'", "''", "'äaa'", "NULL", "7"].map(|by| format!("replace({first}, {second}, {by})")),
            );
        }
    }
    for call in calls {
        let sql = format!("SELECT {call}, typeof({call}), length({call})");
        let [ours, theirs] = [&mut ours, &mut theirs].map(|connection| rows(connection, &sql).unwrap());
        assert_eq!(ours[0].bytes(), theirs[0].bytes(), "{call}");
    }
    assert_eq!(ours.execute("SELECT replace(zeroblob(9000000), x'00', 'xx')"), Ok(()), "nothing to replace");
    let grown = "SELECT replace(replace(hex(zeroblob(8000000)), '0', 'a'), 'a', 'xx')";
    assert_eq!(Connection::open(&owner(1 << 30), "").unwrap().execute(grown).unwrap_err().code, 18);
}

#[test]
fn long_texts_are_searched_in_no_time() {
    let mut connection = Connection::open(&owner(1 << 30), "").unwrap();
    let many = "WITH t(a) AS (SELECT replace(hex(zeroblob(3000000)), '0', 'a'))";
    let started = std::time::Instant::now();
    for call in
        ["instr(a || a, a || 'b')", "replace(a || a, a || 'b', '')", "trim(a, replace(a, 'a', 'b') || 'a')"]
    {
        connection.execute(&format!("{many} SELECT {call} FROM t")).unwrap();
    }
    assert!(started.elapsed().as_secs() < 30, "elapsed: {:?}", started.elapsed());
}

#[test]
fn uninterruptible_functions_are_refused() {
    let mut connection = memory();
    for sql in [
        "CREATE VIRTUAL TABLE f USING fts5(a)",
        "CREATE VIRTUAL TABLE f USING fts4(a)",
        "CREATE VIRTUAL TABLE f USING fts3(a)",
        "SELECT fts5(NULL)",
        "SELECT json_patch('{}', '{}')",
        "SELECT unhex('4a-4b', '-')",
        "SELECT jsonb_patch('{}', '{}')",
    ] {
        assert!(connection.execute(sql).is_err(), "{sql}");
    }
    for sql in [
        "CREATE VIRTUAL TABLE r USING rtree(id, low, high)",
        "SELECT * FROM json_each('[1, 2]')",
        "SELECT json_set('{}', '$.a', 1)",
        "PRAGMA table_info(r)",
    ] {
        connection.execute(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

#[test]
fn binding_by_name_takes_as_long_as_the_list_and_not_as_the_parameters() {
    const PARAMETERS: usize = 32_766;
    const BINDS: usize = 20_000;
    let mut connection = memory();
    let names: Vec<String> = (0..PARAMETERS).map(|number| format!(":p{number}")).collect();
    let statement = connection.prepare(&format!("SELECT 1 WHERE 1 IN ({})", names.join(","))).unwrap();
    let last = format!("p{}", PARAMETERS - 1);
    let bind = |connection: &mut Connection, name: &str, times: usize| {
        let pair = || Ok::<_, SqlError>((wire::Key::Name(name), wire::Value::Integer(1)));
        connection.bind(statement, std::iter::repeat_with(pair).take(times))
    };
    // The first bind collects the names, which takes longer.
    bind(&mut connection, &last, 1).unwrap();
    let started = std::time::Instant::now();
    bind(&mut connection, &last, BINDS).unwrap();
    let took = started.elapsed();
    assert!(took.as_secs() < 3, "{took:?}: each bind searches all parameters");
    let error = bind(&mut connection, "q", 1).unwrap_err();
    assert_eq!(error.code, 25, "{error}");
    connection.finalize(statement);
    let again = connection.prepare(&format!("SELECT 1 WHERE 1 IN ({})", names.join(","))).unwrap();
    connection.owner().leave();
    let pair = || Ok::<_, SqlError>((wire::Key::Name(&last), wire::Value::Integer(1)));
    let error = connection.bind(again, std::iter::repeat_with(pair).take(1)).unwrap_err();
    assert_eq!(error.code, 9, "collecting the names is interrupted: {error}");
}

/// Returns whether a lock succeeds. A POSIX lock conflicts with those of the open file description, as another
/// program's would.
#[cfg(target_os = "linux")]
fn can_be_locked(path: &std::path::Path) -> bool {
    use rustix::fs::{FlockOperation, fcntl_lock};

    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
}

#[test]
#[cfg(target_os = "linux")]
fn closing_a_database_by_other_means_does_not_give_up_its_locks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.db");
    let owner = owner_of(&[(".", dir.path())]);
    let mut connection = Connection::open(&owner, "a.db").unwrap();
    connection.execute("CREATE TABLE t (a); BEGIN IMMEDIATE; INSERT INTO t VALUES (1)").unwrap();
    drop(std::fs::File::open(&path).unwrap());
    assert!(!can_be_locked(&path), "another program could write in the middle of a transaction");
    // Another connection opens and closes; both share one lock.
    let mut other = Connection::open(&owner, "a.db").unwrap();
    assert_eq!(rows(&mut other, "SELECT * FROM t").unwrap().len(), 0);
    drop(other);
    assert!(!can_be_locked(&path));
    connection.execute("COMMIT").unwrap();
    drop(connection);
    assert!(can_be_locked(&path), "no connection has the database open");
}

#[test]
#[cfg(target_os = "linux")]
fn connections_that_only_read_do_not_lock_out_those_that_write() {
    let dir = tempfile::tempdir().unwrap();
    let owner = owner_of(&[(".", dir.path())]);
    Connection::open(&owner, "a.db")
        .unwrap()
        .execute("CREATE TABLE t (a); INSERT INTO t VALUES (1)")
        .unwrap();
    let mut dirs = owner.dirs().to_vec();
    dirs.iter_mut().for_each(|dir| dir.is_read_only = true);
    let reader = owner_with(OwnerLimits { dirs, max_memory: 1 << 30 });
    let mut reader = Connection::open(&reader, "a.db").unwrap();
    reader.execute("BEGIN; SELECT * FROM t").unwrap();
    let mut writer = Connection::open(&owner, "a.db").unwrap();
    assert_eq!(rows(&mut writer, "SELECT * FROM t").unwrap().len(), 1);
    reader.execute("COMMIT").unwrap();
    writer.execute("INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(rows(&mut reader, "SELECT * FROM t").unwrap().len(), 2);
}
