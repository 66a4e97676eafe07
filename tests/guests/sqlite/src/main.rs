//! SQLite through the published `lunatic` crate, one scenario per invocation. A failing scenario panics.

use std::fmt::Debug;

use lunatic::sqlite::{Query, SqliteClient, SqliteCode, SqliteError, Value};
use lunatic::{Mailbox, Process};

#[lunatic::main]
fn main(mailbox: Mailbox<u64>) {
    let scenario = std::env::args().nth(1).unwrap_or_default();
    match scenario.as_str() {
        "memory" => memory(),
        "file" => file(mailbox),
        "errors" => errors(),
        "refused" => refused(),
        "unknown-table" => drop(open("").query("SELECT * FROM absent")),
        other => panic!("unknown scenario {other:?}"),
    }
    println!("done: {scenario}");
}

fn open(path: &str) -> SqliteClient {
    SqliteClient::connect(path).expect("it can be opened")
}

fn is<T: PartialEq + Debug>(value: T, meant: T) {
    assert_eq!(value, meant);
}

/// Values of all types are written and read; parameters by number and by name.
fn memory() {
    let client = open(":memory:");
    client.execute("CREATE TABLE t (a INTEGER PRIMARY KEY, b)").unwrap();
    let values = [
        Value::Null,
        Value::Blob(vec![0, 1, 255]),
        Value::Text("fünf".into()),
        Value::Double(-0.5),
        Value::Int64(i64::MIN),
    ];
    for value in values.clone() {
        is(client.prepare_query("INSERT INTO t (b) VALUES (?)").bind(value).execute(), vec![]);
    }
    let rows = client.query("SELECT b FROM t ORDER BY a");
    is(rows, values.into_iter().map(|value| vec![value]).collect());
    let named = client
        .prepare_query("SELECT :one, @two, $three")
        .bind_named("three", 3)
        .bind_named(":one", "1")
        .bind_named("two", 2i64)
        .execute();
    is(named, vec![vec![Value::Text("1".into()), Value::Int64(2), Value::Int64(3)]]);
    let mut many = client
        .prepare_query(
            "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n",
        )
        .bind(1000)
        .execute_iter();
    is((&mut many).take(3).map(|row| row[0].as_int_any().unwrap()).sum::<i64>(), 6);
    is(many.count(), 997);
    let large = client.prepare_query("SELECT zeroblob(?)").bind(3_000_000).execute();
    is(large[0][0].as_blob().unwrap().len(), 3_000_000);
}

/// Another process reads what one has written, also after that has ended.
fn file(mailbox: Mailbox<u64>) {
    let client = open("data/app.db");
    client.execute("PRAGMA journal_mode = WAL; CREATE TABLE t (a)").unwrap();
    for number in 0..10u64 {
        Process::spawn_link((number, mailbox.this()), |(number, parent), _: Mailbox<()>| {
            let client = open("data/app.db");
            client.execute("PRAGMA busy_timeout = 5000").unwrap();
            client.execute(&format!("BEGIN IMMEDIATE; INSERT INTO t VALUES ({number}); COMMIT")).unwrap();
            parent.send(number);
        });
    }
    let sum: u64 = (0..10).map(|_| mailbox.receive()).sum();
    is(client.query("SELECT sum(a) FROM t"), vec![vec![Value::Int64(sum as i64)]]);
}

fn errors() {
    let client = open("");
    client.execute("CREATE TABLE t (a UNIQUE); INSERT INTO t VALUES (1)").unwrap();
    let error = client.execute("INSERT INTO t VALUES (1)").unwrap_err();
    is(error.code, SqliteCode::Constraint);
    let last = SqliteError::last(client);
    is((last.code, last.message.as_deref()), (SqliteCode::Constraint, Some("UNIQUE constraint failed: t.a")));
    client.execute("SELECT 1").unwrap();
    is(SqliteError::last(client), SqliteError::default());
}

fn refused() {
    for path in ["app.db", "/etc/app.db", "data/../app.db"] {
        assert!(SqliteClient::connect(path).is_err(), "{path}");
    }
    // The crate assumes that a process has one connection.
    is(open("").query("SELECT 1"), vec![vec![Value::Int64(1)]]);
}
