//! `lunatic::sqlite`: databases in files and in memory.
//!
//! What each function takes and returns, as the published guests declare it; where Lunatic's host did something else
//! than that, it is as its host did, for that is what its guests work with:
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
//! `crate::sqlite`'s `wire` has the encoding. What returns a pointer has had the guest's `lunatic_alloc` give it memory
//! (`give`). The published guest passes a null pointer for the connection's number, and takes it to be 0: so the first
//! is, and 8 bytes at address 0 are written. Lunatic wrote 8 bytes of lengths; here it is the 4 that guests declare.
//!
//! All trap on bad pointers, unknown numbers and malformed lists. Unlike in Lunatic names of parameters are looked at,
//! and nothing is asked of a disk on a worker: opening, compiling, running, resetting and giving up are work of a pool
//! (`work`). A step brings its row with it, and a query that is read row by row the next ones (`Ahead`).
//!
//! # What a statement costs
//!
//! Its steps in SQLite's virtual machine are charged to the process at its next call here, and it is interrupted when
//! they come to more than the process has left of its reductions. So a process that then calls nothing here again may
//! compute twice what it was allowed, and no more.

mod connection;
mod give;
mod statement;
mod tables;
mod work;

use crate::declare::Host;

/// The module name.
const MODULE: &str = "lunatic::sqlite";

pub(super) fn register(host: &mut Host) {
    connection::register(host);
    statement::register(host);
}
