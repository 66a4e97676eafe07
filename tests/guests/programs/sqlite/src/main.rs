//! A small shell for SQLite, which is in this program, C as it is: reads statements from standard input, a line each, runs
//! them on a file, and prints rows and errors.

use std::io::BufRead;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Row};

fn main() {
    let path = std::env::args().nth(1).expect("usage: test-sqlite-shell FILE");
    let database = Connection::open(path).expect("the database can be opened");
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("there is standard input");
        if let Err(error) = run(&database, &line) {
            println!("error: {error}");
        }
    }
}

fn run(database: &Connection, sql: &str) -> Result<()> {
    let mut statement = database.prepare(sql)?;
    let columns = statement.column_count();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        println!("{}", text(row, columns)?);
    }
    Ok(())
}

fn text(row: &Row<'_>, columns: usize) -> Result<String> {
    let texts = (0..columns).map(|column| {
        Ok(match row.get_ref(column)? {
            ValueRef::Null => "null".to_owned(),
            ValueRef::Integer(number) => number.to_string(),
            ValueRef::Real(number) => number.to_string(),
            ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned(),
            ValueRef::Blob(bytes) => format!("{bytes:02x?}"),
        })
    });
    Ok(texts.collect::<Result<Vec<_>>>()?.join("|"))
}
