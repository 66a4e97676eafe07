//! A connection to a database, with the statements that were made with it.
//!
//! The invariants: `db` is open until the connection is dropped; the statements are its own, each is in the map until it
//! is finalised, and none outlives it. Whoever has `&mut Connection` is the only one who uses either, on whichever
//! thread: SQLite keeps nothing by thread.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{CStr, CString, c_char, c_int};
use std::ptr::{null, null_mut};
use std::sync::Arc;

use libsqlite3_sys as c;

use crate::account::Taken;
use crate::error::SqlError;
use crate::owner::{Entered, Owner};
use crate::rules::{LIMITS, MODULES};
use crate::threads;
use crate::wire::{Key, Row, Value};

use super::handlers::Handlers;
use super::{functions, library, vfs};

/// Which statement of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementId(u64);

/// What a step of a statement came to.
enum Step {
    Row(Held),
    /// There are no more.
    Done,
}

/// A row, and the memory that it counts.
#[derive(Debug)]
pub struct Held {
    /// The row.
    pub row: Row,
    _taken: Taken,
}

/// What several steps of a statement came to: rows, and how it ended if it did. One of them there is.
#[derive(Debug)]
pub struct Steps {
    /// Rows, in order.
    pub rows: Vec<Held>,
    /// How the statement ended behind them, if it did.
    pub end: Option<Result<(), SqlError>>,
}

/// Bytes of rows, and steps of SQLite's virtual machine, beyond which no further row is fetched at a time.
const MAX_BYTES_AHEAD: usize = 64 << 10;
const MAX_STEPS_AHEAD: u32 = 10_000;

/// The names of a statement's parameters, with what they begin with. SQLite would look at all of them for each that is
/// bound.
struct Names {
    indexes: HashMap<Box<str>, c_int>,
    _taken: Taken,
}

/// See the module.
pub struct Connection {
    db: *mut c::sqlite3,
    statements: BTreeMap<StatementId, *mut c::sqlite3_stmt>,
    /// Of the statements that were bound by name.
    names: BTreeMap<StatementId, Names>,
    prepared: u64,
    handlers: Box<Handlers>,
}

// SAFETY: by the invariants, what is behind the pointers is used by one thread at a time, and not bound to any.
unsafe impl Send for Connection {}

/// What a connection is set to, beside the limits. Statements come before the guest's, and so before the rules.
const SETTINGS: &CStr = c"PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;";

/// Switches of a connection.
const SWITCHES: [(c_int, c_int); 6] = [
    (c::SQLITE_DBCONFIG_DEFENSIVE, 1),
    (c::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (c::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (c::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    (c::SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0),
    // SQLite's default, and Lunatic's; the library that is built in was compiled with another.
    (c::SQLITE_DBCONFIG_ENABLE_FKEY, 0),
];

impl Connection {
    /// Opens the database that a guest names, and makes it if there is none. One without a name is in memory.
    pub fn open(owner: &Arc<Owner>, path: &str) -> Result<Connection, SqlError> {
        let _entered = owner.enter();
        let connection = Connection::open_with_its_functions(owner, path)?;
        // SAFETY: it is open, and closed before its handlers give up the owner.
        connection.check(unsafe { functions::define(connection.db, owner) })?;
        Ok(connection)
    }

    /// Opens a database to which only SQLite's own functions are known.
    pub(crate) fn open_with_its_functions(owner: &Arc<Owner>, path: &str) -> Result<Connection, SqlError> {
        let _entered = owner.enter();
        if !library::is_ready() {
            return Err(SqlError::new(c::SQLITE_MISUSE, "something else in this program has set SQLite up"));
        }
        let path = if path.is_empty() { ":memory:" } else { path };
        let path = CString::new(path).map_err(|_| SqlError::new(c::SQLITE_CANTOPEN, "a name with a zero"))?;
        let flags = c::SQLITE_OPEN_READWRITE | c::SQLITE_OPEN_CREATE | c::SQLITE_OPEN_NOMUTEX;
        let mut db = null_mut();
        // SAFETY: the strings end with zeros. What is opened is the connection's from here on, also after a failure.
        let result = unsafe { c::sqlite3_open_v2(path.as_ptr(), &mut db, flags, vfs::NAME.as_ptr()) };
        let handlers = Handlers::new(owner.clone());
        let connection =
            Connection { db, statements: BTreeMap::new(), names: BTreeMap::new(), prepared: 0, handlers };
        connection.check(result)?;
        connection.configure()?;
        Ok(connection)
    }

    fn configure(&self) -> Result<(), SqlError> {
        // SAFETY: the connection is open. The switches take a number and a place for an answer that nobody wants. The
        // handlers are in a box of the connection's, which closes before it drops them.
        unsafe {
            for (limit, value) in LIMITS {
                c::sqlite3_limit(self.db, limit, value);
            }
            let mut kept = MODULES.map(CStr::as_ptr).to_vec();
            kept.push(null());
            self.check(c::sqlite3_drop_modules(self.db, kept.as_mut_ptr()))?;
            for (switch, value) in SWITCHES {
                self.check(c::sqlite3_db_config(self.db, switch, value, null_mut::<c_int>()))?;
            }
            self.check(c::sqlite3_exec(self.db, SETTINGS.as_ptr(), None, null_mut(), null_mut()))?;
            self.handlers.install(self.db);
        }
        Ok(())
    }

    /// Runs statements, one after the other, up to the first that fails.
    pub fn execute(&mut self, sql: &str) -> Result<(), SqlError> {
        let _entered = self.enter();
        let sql = CString::new(sql).map_err(|_| SqlError::new(c::SQLITE_ERROR, "a statement with a zero"))?;
        // SAFETY: the connection is open, the statements end with a zero, and no rows are asked for.
        let result = unsafe { c::sqlite3_exec(self.db, sql.as_ptr(), None, null_mut(), null_mut()) };
        self.check(result)
    }

    /// Makes a statement. What comes behind its end is not looked at; of nothing, it is one that does nothing.
    pub fn prepare(&mut self, sql: &str) -> Result<StatementId, SqlError> {
        let _entered = self.enter();
        let length = c_int::try_from(sql.len()).map_err(|_| SqlError::new(c::SQLITE_TOOBIG, "too long"))?;
        let mut statement = null_mut();
        let start = sql.as_ptr().cast::<c_char>();
        let flags = c::SQLITE_PREPARE_PERSISTENT;
        // SAFETY: there are so many bytes; the connection is open.
        let result =
            unsafe { c::sqlite3_prepare_v3(self.db, start, length, flags, &mut statement, &mut null()) };
        self.check(result)?;
        self.prepared += 1;
        let id = StatementId(self.prepared);
        self.statements.insert(id, statement);
        Ok(id)
    }

    /// The names of a statement's columns.
    pub fn columns(&self, id: StatementId) -> Result<Vec<String>, SqlError> {
        let _entered = self.enter();
        let statement = self.statement(id);
        // SAFETY: the statement is one of this connection's. A name ends with a zero and stays until the statement is
        // used again; where there is no memory for it there is none.
        let name = |index| unsafe {
            let name = c::sqlite3_column_name(statement, index);
            if name.is_null() {
                return Err(SqlError::no_memory());
            }
            Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
        };
        (0..self.column_count(statement)).map(name).collect()
    }

    /// How often SQLite has compiled it anew, because tables have changed: its columns may have, too.
    pub fn compilations(&self, id: StatementId) -> u32 {
        // SAFETY: as above.
        unsafe { self.status(self.statement(id), c::SQLITE_STMTSTATUS_REPREPARE) }
    }

    /// Binds a value to a parameter. A name may be without the character that it begins with.
    pub(super) fn bind_one(
        &mut self,
        id: StatementId,
        key: Key<'_>,
        value: Value<'_>,
    ) -> Result<(), SqlError> {
        let statement = self.statement(id);
        let index = self.parameter(id, key)?;
        // SAFETY: the statement is this connection's. There are so many bytes, of which SQLite makes copies. A pointer
        // to no bytes is not null, so an empty blob is not taken for a null.
        let result = unsafe {
            match value {
                Value::Null => c::sqlite3_bind_null(statement, index),
                Value::Integer(number) => c::sqlite3_bind_int64(statement, index, number),
                Value::Double(number) => c::sqlite3_bind_double(statement, index, number),
                Value::Blob(bytes) => {
                    let (start, length) = (bytes.as_ptr().cast(), bytes.len() as u64);
                    c::sqlite3_bind_blob64(statement, index, start, length, c::SQLITE_TRANSIENT())
                }
                Value::Text(text) => {
                    let (start, length) = (text.as_ptr().cast(), text.len() as u64);
                    let utf8 = c::SQLITE_UTF8 as u8;
                    c::sqlite3_bind_text64(statement, index, start, length, c::SQLITE_TRANSIENT(), utf8)
                }
            }
        };
        self.check(result)
    }

    /// Binds values, one after the other.
    pub fn bind<'a, E: From<SqlError>>(
        &mut self,
        id: StatementId,
        binds: impl Iterator<Item = Result<(Key<'a>, Value<'a>), E>>,
    ) -> Result<(), E> {
        let _entered = self.enter();
        for pair in binds {
            let (key, value) = pair?;
            self.bind_one(id, key, value)?;
        }
        Ok(())
    }

    fn parameter(&mut self, id: StatementId, key: Key<'_>) -> Result<c_int, SqlError> {
        match key {
            Key::None => Ok(1),
            Key::Number(number) => {
                c_int::try_from(number).map_err(|_| SqlError::new(c::SQLITE_RANGE, "no such parameter"))
            }
            Key::Name(name) => {
                let names = self.names(id)?;
                let exact = names.indexes.get(name).copied();
                let found = exact.or_else(|| {
                    [":", "@", "$"]
                        .iter()
                        .find_map(|prefix| names.indexes.get(&*[*prefix, name].concat()).copied())
                });
                found
                    .ok_or_else(|| SqlError::new(c::SQLITE_RANGE, &format!("no parameter is named {name:?}")))
            }
        }
    }

    /// How many parameters a statement has.
    pub fn parameters(&self, id: StatementId) -> usize {
        // SAFETY: the statement is one of this connection's, or null.
        unsafe { c::sqlite3_bind_parameter_count(self.statement(id)) as usize }
    }

    /// The names of a statement's parameters, found once. SQLite looks at all before one to find it, which for the most that
    /// there may be takes seconds: so this is interrupted, and shares its thread, as a statement is.
    fn names(&mut self, id: StatementId) -> Result<&Names, SqlError> {
        /// Bytes that a name takes besides itself.
        const HEAD: u64 = 48;
        /// Names that SQLite looks at in the time of a step.
        const LOOKS: u64 = 4;
        if !self.names.contains_key(&id) {
            let mut taken = Taken::nothing(self.handlers.owner().account().clone());
            let (statement, mut indexes) = (self.statement(id), HashMap::new());
            for index in 1..=self.parameters(id) as c_int {
                // SAFETY: the statement is one of this connection's, or null. A name ends with a zero, and stays as long
                // as the statement; a parameter without one has none.
                let name = unsafe {
                    let name = c::sqlite3_bind_parameter_name(statement, index);
                    if name.is_null() { continue } else { CStr::from_ptr(name) }
                };
                if !self.handlers.owner().goes_on_after(index as u64 / LOOKS) {
                    return Err(SqlError::new(c::SQLITE_INTERRUPT, "interrupted"));
                }
                threads::share();
                // Statements are text.
                let Ok(name) = name.to_str() else { continue };
                if !taken.more(HEAD + name.len() as u64) {
                    return Err(SqlError::no_memory());
                }
                indexes.insert(name.into(), index);
            }
            self.names.insert(id, Names { indexes, _taken: taken });
        }
        self.names.get(&id).ok_or_else(SqlError::no_memory)
    }

    /// Whether a statement only reads, so that nobody can tell when it does.
    pub fn only_reads(&self, id: StatementId) -> bool {
        // SAFETY: the statement is one of this connection's, or null.
        unsafe { c::sqlite3_stmt_readonly(self.statement(id)) != 0 }
    }

    /// Goes on to the next row, and further, to at most so many rows, if that costs little.
    pub fn steps(&mut self, id: StatementId, limit: usize) -> Steps {
        let mut steps = Steps { rows: Vec::new(), end: None };
        let before = self.machine_steps(id);
        let mut bytes = 0;
        loop {
            match self.step(id) {
                Ok(Step::Row(held)) => {
                    bytes += held.row.bytes().len();
                    steps.rows.push(held);
                }
                Ok(Step::Done) => steps.end = Some(Ok(())),
                Err(error) => steps.end = Some(Err(error)),
            }
            let taken = self.machine_steps(id).wrapping_sub(before);
            let is_enough = steps.rows.len() >= limit || bytes > MAX_BYTES_AHEAD || taken > MAX_STEPS_AHEAD;
            if is_enough || steps.end.is_some() {
                return steps;
            }
        }
    }

    /// Steps of SQLite's virtual machine that a statement has taken so far.
    fn machine_steps(&self, id: StatementId) -> u32 {
        // SAFETY: as above.
        unsafe { self.status(self.statement(id), c::SQLITE_STMTSTATUS_VM_STEP) }
    }

    /// Goes on to the next row.
    fn step(&mut self, id: StatementId) -> Result<Step, SqlError> {
        let _entered = self.enter();
        let statement = self.statement(id);
        // SAFETY: the statement is this connection's.
        match unsafe { c::sqlite3_step(statement) } {
            c::SQLITE_ROW => self.row(statement),
            c::SQLITE_DONE => Ok(Step::Done),
            error => Err(self.error(error)),
        }
    }

    /// The row that a statement is at.
    fn row(&self, statement: *mut c::sqlite3_stmt) -> Result<Step, SqlError> {
        /// Bytes that a value takes besides its content.
        const HEAD: u64 = 16;
        let count = self.column_count(statement);
        let mut taken = Taken::nothing(self.handlers.owner().account().clone());
        let mut row = Row::with_columns(count as usize);
        for index in 0..count {
            // SAFETY: the statement is at a row, and has such a column.
            let value = unsafe { value(statement, index)? };
            let length = match value {
                Value::Blob(bytes) => bytes.len() as u64,
                Value::Text(text) => text.len() as u64,
                Value::Null | Value::Double(_) | Value::Integer(_) => 0,
            };
            if !taken.more(HEAD + length) {
                return Err(SqlError::no_memory());
            }
            row.push(value);
        }
        Ok(Step::Row(Held { row, _taken: taken }))
    }

    /// Has a statement begin anew.
    pub fn reset(&mut self, id: StatementId) {
        let _entered = self.enter();
        // SAFETY: the statement is this connection's. The result is that of its last step, which has been told.
        unsafe { c::sqlite3_reset(self.statement(id)) };
    }

    /// Gives a statement up.
    pub fn finalize(&mut self, id: StatementId) {
        let _entered = self.enter();
        self.names.remove(&id);
        if let Some(statement) = self.statements.remove(&id) {
            // SAFETY: it was this connection's, and is in the map no longer. The result is that of its last step.
            unsafe { c::sqlite3_finalize(statement) };
        }
    }

    /// Rows that the last statement has changed.
    pub fn changes(&self) -> u32 {
        // SAFETY: the connection is open.
        unsafe { c::sqlite3_changes(self.db) as u32 }
    }

    #[cfg(test)]
    pub(crate) fn owner(&self) -> &Arc<Owner> {
        self.handlers.owner()
    }

    fn enter(&self) -> Entered {
        self.handlers.owner().enter()
    }

    /// A null pointer for one that is not there, which SQLite answers with an error.
    fn statement(&self, id: StatementId) -> *mut c::sqlite3_stmt {
        self.statements.get(&id).copied().unwrap_or(null_mut())
    }

    fn column_count(&self, statement: *mut c::sqlite3_stmt) -> c_int {
        // SAFETY: the statement is this connection's, or null.
        unsafe { c::sqlite3_column_count(statement) }
    }

    /// # Safety
    /// The statement is this connection's, or null.
    unsafe fn status(&self, statement: *mut c::sqlite3_stmt, what: c_int) -> u32 {
        if statement.is_null() {
            return 0;
        }
        // SAFETY: by the contract.
        unsafe { c::sqlite3_stmt_status(statement, what, 0) as u32 }
    }

    fn check(&self, result: c_int) -> Result<(), SqlError> {
        if result == c::SQLITE_OK { Ok(()) } else { Err(self.error(result)) }
    }

    /// What SQLite says about a result of the last call.
    fn error(&self, result: c_int) -> SqlError {
        // SAFETY: the connection is open, or null where there was no memory for one; the words end with a zero. They are
        // about the last call if that is what they say.
        let words = unsafe {
            let is_it = c::sqlite3_errcode(self.db) & 0xff == result & 0xff;
            CStr::from_ptr(if is_it { c::sqlite3_errmsg(self.db) } else { c::sqlite3_errstr(result) })
        };
        SqlError::new(result, &words.to_string_lossy())
    }
}

/// A value of a row.
///
/// Text that is not UTF-8, which SQLite does not mind, is a blob: guests cannot read it as text.
///
/// # Safety
/// The statement is at a row, which has such a column, and stays there as long as the value is used.
unsafe fn value<'a>(statement: *mut c::sqlite3_stmt, index: c_int) -> Result<Value<'a>, SqlError> {
    // SAFETY: by the contract. The pointer is asked for before the length, which belongs to it. What has a length has a
    // pointer, unless there was no memory for it.
    unsafe {
        let bytes = |start: *const u8| {
            let length = c::sqlite3_column_bytes(statement, index) as usize;
            match (start.is_null(), length) {
                (_, 0) => Ok(&[][..]),
                (true, _) => Err(SqlError::no_memory()),
                (false, _) => Ok(std::slice::from_raw_parts(start, length)),
            }
        };
        Ok(match c::sqlite3_column_type(statement, index) {
            c::SQLITE_INTEGER => Value::Integer(c::sqlite3_column_int64(statement, index)),
            c::SQLITE_FLOAT => Value::Double(c::sqlite3_column_double(statement, index)),
            c::SQLITE_TEXT => {
                let start = c::sqlite3_column_text(statement, index);
                if start.is_null() {
                    return Err(SqlError::no_memory());
                }
                let bytes = bytes(start)?;
                std::str::from_utf8(bytes).map_or(Value::Blob(bytes), Value::Text)
            }
            c::SQLITE_BLOB => Value::Blob(bytes(c::sqlite3_column_blob(statement, index).cast())?),
            _ => Value::Null,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let _entered = self.enter();
        // SAFETY: the statements are this connection's and nobody uses them or it any more. The handlers are dropped
        // after this.
        unsafe {
            for statement in std::mem::take(&mut self.statements).into_values() {
                c::sqlite3_finalize(statement);
            }
            let closed = c::sqlite3_close(self.db);
            debug_assert_eq!(closed, c::SQLITE_OK, "nothing of it is left");
        }
    }
}
