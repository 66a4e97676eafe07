//! `lunatic::sqlite`: databases in files and in memory.
//!
//! The functions take and return what the published guests declare. Where Lunatic's host does something else than it
//! documents, this follows its host, because its guests depend on that:
//!
//! | function | |
//! |---|---|
//! | `open(path, length, id: *mut u64) -> u64` | 0 and a connection; 1 and an error |
//! | `query_prepare(connection: u64, sql, length) -> u64` | a statement; traps if it cannot be |
//! | `execute(connection: u64, sql, length) -> u32` | SQLite's result code, 0 if all went well |
//! | `bind_value(statement: u64, list, length)` | binds a `BindList`; traps if it cannot |
//! | `sqlite3_changes(connection: u64) -> u32` | rows that the last statement changed |
//! | `statement_reset(statement: u64)` | begins anew |
//! | `last_error(connection: u64, length: *mut u32) -> *mut u8` | a `SqliteError` of the last call, an empty one if it went well |
//! | `sqlite3_finalize(statement: u64)` | gives the statement up; connections close with their process |
//! | `sqlite3_step(statement: u64) -> u32` | 100 at a row, 101 behind the last; traps if it cannot |
//! | `read_column(statement: u64, column: u32, length: *mut u32) -> *mut u8` | a `SqliteValue` |
//! | `column_names(statement: u64, length: *mut u32) -> *mut u8` | a list of strings |
//! | `read_row(statement: u64, length: *mut u32) -> *mut u8` | a `SqliteRow`, of nulls where no row is |
//! | `column_count(statement: u64) -> u32` | |
//! | `column_name(statement: u64, column: u32, length: *mut u32) -> *mut u8` | the name's bytes, not encoded |
//!
//! The module `wire` of `lunatic-sqlite` has the encoding. Functions that return a pointer let the guest's
//! `lunatic_alloc` allocate the memory (`give`). The published guest passes a null pointer for the number of the
//! connection and assumes the number 0: so the first connection has the number 0, and 8 bytes at address 0 are
//! written. Lunatic wrote lengths of 8 bytes; this writes the 4 bytes that guests declare.
//!
//! All functions trap on bad pointers, unknown numbers and malformed lists. Unlike in Lunatic, names of parameters
//! count, and no worker accesses a disk: threads open, compile, run, reset and finalize (`work`). A step also fetches
//! its row, and a query that is read row by row fetches further rows in advance (`Ahead`).
//!
//! # What a statement costs
//!
//! The process is charged for the steps of a statement in SQLite's virtual machine at its next call here. A statement
//! is interrupted when it has used the reductions that the process has left. So a process that makes no further call
//! here can compute at most twice its limit.

mod connection;
mod give;
mod statement;
mod tables;
mod work;

use crate::declare::Host;

/// The name of the module.
const MODULE: &str = "lunatic::sqlite";

pub(super) fn register(host: &mut Host) {
    connection::register(host);
    statement::register(host);
}
