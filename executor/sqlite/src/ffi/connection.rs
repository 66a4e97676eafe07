//! A database connection with its prepared statements.
//!
//! Invariants: `db` stays open until the connection is dropped. `statements` holds exactly the connection's
//! statements that are not finalized, and no statement outlives the connection. `&mut Connection` is exclusive access
//! to all of them, on any thread: SQLite keeps no per-thread state.

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

/// Identifies a statement of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatementId(u64);

/// Result of one step of a statement.
enum Step {
    Row(Held),
    /// The statement has no more rows.
    Done,
}

/// A row with its memory charge.
#[derive(Debug)]
pub struct Held {
    /// The encoded row.
    pub row: Row,
    _taken: Taken,
}

/// Result of several steps of a statement: rows, the statement's end, or both.
#[derive(Debug)]
pub struct Steps {
    /// The rows, in order.
    pub rows: Vec<Held>,
    /// The statement's result, if it ended after these rows.
    pub end: Option<Result<(), SqlError>>,
}

/// Bytes of rows and steps of SQLite's virtual machine after which [`Connection::steps`] fetches no further row.
const MAX_BYTES_AHEAD: usize = 64 << 10;
const MAX_STEPS_AHEAD: u32 = 10_000;

/// The indexes of a statement's parameters by name, including the prefix. SQLite searches linearly on each bind.
struct Names {
    indexes: HashMap<Box<str>, c_int>,
    _taken: Taken,
}

/// A database connection. See the module documentation.
pub struct Connection {
    db: *mut c::sqlite3,
    statements: BTreeMap<StatementId, *mut c::sqlite3_stmt>,
    /// The names of statements bound by name.
    names: BTreeMap<StatementId, Names>,
    prepared: u64,
    handlers: Arc<Handlers>,
}

// SAFETY: by the module's invariants, one thread at a time uses the objects behind the pointers, and SQLite, which
// keeps no per-thread state, allows any thread.
unsafe impl Send for Connection {}

/// Settings besides the limits. They run before the authorizer is installed.
const SETTINGS: &CStr = c"PRAGMA temp_store = MEMORY; PRAGMA cell_size_check = ON;";

/// Configuration options of each connection.
const SWITCHES: [(c_int, c_int); 6] = [
    (c::SQLITE_DBCONFIG_DEFENSIVE, 1),
    (c::SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0),
    (c::SQLITE_DBCONFIG_ENABLE_LOAD_EXTENSION, 0),
    (c::SQLITE_DBCONFIG_ENABLE_FTS3_TOKENIZER, 0),
    (c::SQLITE_DBCONFIG_WRITABLE_SCHEMA, 0),
    // The default of SQLite and Lunatic; the bundled library was compiled with a different one.
    (c::SQLITE_DBCONFIG_ENABLE_FKEY, 0),
];

impl Connection {
    /// Opens the database at a guest's path, or creates it. An empty path opens an in-memory database.
    pub fn open(owner: &Arc<Owner>, path: &str) -> Result<Connection, SqlError> {
        let _entered = owner.enter();
        let connection = Connection::open_with_its_functions(owner, path)?;
        // SAFETY: `connection.db` is open, and is closed before `handlers` drops its reference to the owner.
        connection.check(unsafe { functions::define(connection.db, owner) })?;
        Ok(connection)
    }

    /// Opens a database with SQLite's own functions only.
    pub(crate) fn open_with_its_functions(owner: &Arc<Owner>, path: &str) -> Result<Connection, SqlError> {
        let _entered = owner.enter();
        if !library::is_ready() {
            return Err(SqlError::new(
                c::SQLITE_MISUSE,
                "SQLite was already initialized by other code in this program",
            ));
        }
        let path = if path.is_empty() { ":memory:" } else { path };
        let path = CString::new(path)
            .map_err(|_| SqlError::new(c::SQLITE_CANTOPEN, "the database name contains a NUL byte"))?;
        let flags = c::SQLITE_OPEN_READWRITE | c::SQLITE_OPEN_CREATE | c::SQLITE_OPEN_NOMUTEX;
        let mut db = null_mut();
        // SAFETY: both strings are NUL-terminated. The connection owns `db` from here on, even after a failure.
        let result = unsafe { c::sqlite3_open_v2(path.as_ptr(), &mut db, flags, vfs::NAME.as_ptr()) };
        let handlers = Handlers::new(owner.clone());
        let connection =
            Connection { db, statements: BTreeMap::new(), names: BTreeMap::new(), prepared: 0, handlers };
        connection.check(result)?;
        connection.configure()?;
        Ok(connection)
    }

    fn configure(&self) -> Result<(), SqlError> {
        // SAFETY: `db` is open. These options take an integer and a pointer that may be null. The connection
        // closes `db` before it drops the handlers.
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

    /// Runs statements in order, up to the first failure.
    pub fn execute(&mut self, sql: &str) -> Result<(), SqlError> {
        let _entered = self.enter();
        let sql = CString::new(sql)
            .map_err(|_| SqlError::new(c::SQLITE_ERROR, "the SQL text contains a NUL byte"))?;
        // SAFETY: `db` is open, the statements are NUL-terminated, and there is no row callback.
        let result = unsafe { c::sqlite3_exec(self.db, sql.as_ptr(), None, null_mut(), null_mut()) };
        self.check(result)
    }

    /// Prepares the first statement of `sql` and ignores the rest. Empty SQL yields a statement without effect.
    pub fn prepare(&mut self, sql: &str) -> Result<StatementId, SqlError> {
        let _entered = self.enter();
        let length = c_int::try_from(sql.len())
            .map_err(|_| SqlError::new(c::SQLITE_TOOBIG, "the SQL text is too long"))?;
        let mut statement = null_mut();
        let start = sql.as_ptr().cast::<c_char>();
        let flags = c::SQLITE_PREPARE_PERSISTENT;
        // SAFETY: `start` points to `length` bytes, and `db` is open.
        let result =
            unsafe { c::sqlite3_prepare_v3(self.db, start, length, flags, &mut statement, &mut null()) };
        self.check(result)?;
        self.prepared += 1;
        let id = StatementId(self.prepared);
        self.statements.insert(id, statement);
        Ok(id)
    }

    /// Returns the names of a statement's columns.
    pub fn columns(&self, id: StatementId) -> Result<Vec<String>, SqlError> {
        let _entered = self.enter();
        let statement = self.statement(id);
        // SAFETY: the statement is this connection's or null. The name is NUL-terminated and valid until the
        // statement's next use; it is null if memory is exhausted.
        let name = |index| unsafe {
            let name = c::sqlite3_column_name(statement, index);
            if name.is_null() {
                return Err(SqlError::no_memory());
            }
            Ok(CStr::from_ptr(name).to_string_lossy().into_owned())
        };
        (0..self.column_count(statement)).map(name).collect()
    }

    /// Returns how often SQLite has recompiled the statement after schema changes, which may change its columns.
    pub fn compilations(&self, id: StatementId) -> u32 {
        // SAFETY: the statement is this connection's, or null.
        unsafe { self.status(self.statement(id), c::SQLITE_STMTSTATUS_REPREPARE) }
    }

    /// Binds a value to a parameter. A name may omit its prefix.
    pub(super) fn bind_one(
        &mut self,
        id: StatementId,
        key: Key<'_>,
        value: Value<'_>,
    ) -> Result<(), SqlError> {
        let statement = self.statement(id);
        let index = self.parameter(id, key)?;
        // SAFETY: the statement is this connection's, or null. The pointers are valid for `length` bytes, which
        // SQLite copies. An empty slice's pointer is not null, so SQLite binds an empty blob and not NULL.
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

    /// Binds values in order.
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

    /// Returns the number of a statement's parameters.
    pub fn parameters(&self, id: StatementId) -> usize {
        // SAFETY: the statement is this connection's, or null.
        unsafe { c::sqlite3_bind_parameter_count(self.statement(id)) as usize }
    }

    /// Returns the parameter names, collected once. SQLite finds each name by a linear search, which takes seconds
    /// for the most parameters. The loop can therefore be interrupted and yields its thread, like a statement.
    fn names(&mut self, id: StatementId) -> Result<&Names, SqlError> {
        /// Overhead of a name, in bytes.
        const HEAD: u64 = 48;
        /// Names that SQLite compares in the time of a step.
        const LOOKS: u64 = 4;
        if !self.names.contains_key(&id) {
            let mut taken = Taken::nothing(self.handlers.owner().account().clone());
            let (statement, mut indexes) = (self.statement(id), HashMap::new());
            for index in 1..=self.parameters(id) as c_int {
                // SAFETY: the statement is this connection's, or null. The name is null or NUL-terminated, and valid
                // as long as the statement.
                let name = unsafe {
                    let name = c::sqlite3_bind_parameter_name(statement, index);
                    if name.is_null() { continue } else { CStr::from_ptr(name) }
                };
                if !self.handlers.owner().goes_on_after(index as u64 / LOOKS) {
                    return Err(SqlError::new(c::SQLITE_INTERRUPT, "interrupted"));
                }
                threads::share();
                // SQL is UTF-8, so names are, too.
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

    /// Returns whether a statement is read-only, so that its timing is unobservable.
    pub fn only_reads(&self, id: StatementId) -> bool {
        // SAFETY: the statement is one of this connection's, or null.
        unsafe { c::sqlite3_stmt_readonly(self.statement(id)) != 0 }
    }

    /// Advances to the next row, and up to `limit` rows in total while that is cheap.
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

    /// Returns the steps of SQLite's virtual machine that a statement has taken.
    fn machine_steps(&self, id: StatementId) -> u32 {
        // SAFETY: the statement is this connection's, or null.
        unsafe { self.status(self.statement(id), c::SQLITE_STMTSTATUS_VM_STEP) }
    }

    /// Advances to the next row.
    fn step(&mut self, id: StatementId) -> Result<Step, SqlError> {
        let _entered = self.enter();
        let statement = self.statement(id);
        // SAFETY: the statement is this connection's, or null.
        match unsafe { c::sqlite3_step(statement) } {
            c::SQLITE_ROW => self.row(statement),
            c::SQLITE_DONE => Ok(Step::Done),
            error => Err(self.error(error)),
        }
    }

    /// Returns the current row of a statement.
    fn row(&self, statement: *mut c::sqlite3_stmt) -> Result<Step, SqlError> {
        /// Overhead of a value, in bytes.
        const HEAD: u64 = 16;
        let count = self.column_count(statement);
        let mut taken = Taken::nothing(self.handlers.owner().account().clone());
        let mut row = Row::with_columns(count as usize);
        for index in 0..count {
            // SAFETY: the statement is at a row with at least `index + 1` columns.
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

    /// Resets a statement to its start.
    pub fn reset(&mut self, id: StatementId) {
        let _entered = self.enter();
        // SAFETY: the statement is this connection's, or null. The result repeats the last step's, already returned.
        unsafe { c::sqlite3_reset(self.statement(id)) };
    }

    /// Finalizes a statement.
    pub fn finalize(&mut self, id: StatementId) {
        let _entered = self.enter();
        self.names.remove(&id);
        if let Some(statement) = self.statements.remove(&id) {
            // SAFETY: the statement was this connection's and is no longer in the map. The result repeats the last
            // step's.
            unsafe { c::sqlite3_finalize(statement) };
        }
    }

    /// Returns the number of rows changed by the last statement.
    pub fn changes(&self) -> u32 {
        // SAFETY: `db` is open.
        unsafe { c::sqlite3_changes(self.db) as u32 }
    }

    #[cfg(test)]
    pub(crate) fn owner(&self) -> &Arc<Owner> {
        self.handlers.owner()
    }

    fn enter(&self) -> Entered {
        self.handlers.owner().enter()
    }

    /// Returns a statement, or null for an unknown id, which SQLite's functions accept.
    fn statement(&self, id: StatementId) -> *mut c::sqlite3_stmt {
        self.statements.get(&id).copied().unwrap_or(null_mut())
    }

    fn column_count(&self, statement: *mut c::sqlite3_stmt) -> c_int {
        // SAFETY: the statement is this connection's, or null.
        unsafe { c::sqlite3_column_count(statement) }
    }

    /// # Safety
    /// `statement` is this connection's, or null.
    unsafe fn status(&self, statement: *mut c::sqlite3_stmt, what: c_int) -> u32 {
        if statement.is_null() {
            return 0;
        }
        // SAFETY: the statement is this connection's by the contract, and not null.
        unsafe { c::sqlite3_stmt_status(statement, what, 0) as u32 }
    }

    fn check(&self, result: c_int) -> Result<(), SqlError> {
        if result == c::SQLITE_OK { Ok(()) } else { Err(self.error(result)) }
    }

    /// Returns SQLite's error for the result of the last call.
    fn error(&self, result: c_int) -> SqlError {
        // SAFETY: `db` is open, or null if memory was exhausted; the messages are NUL-terminated. `sqlite3_errmsg`
        // describes the last call only if the codes match.
        let words = unsafe {
            let is_current = c::sqlite3_errcode(self.db) & 0xff == result & 0xff;
            CStr::from_ptr(if is_current { c::sqlite3_errmsg(self.db) } else { c::sqlite3_errstr(result) })
        };
        SqlError::new(result, &words.to_string_lossy())
    }
}

/// Returns a column's value in the current row.
///
/// SQLite permits text that is not UTF-8. It becomes a blob, because guests cannot read it as text.
///
/// # Safety
/// The statement is at a row with this column, and stays there while the value is in use.
unsafe fn value<'a>(statement: *mut c::sqlite3_stmt, index: c_int) -> Result<Value<'a>, SqlError> {
    // SAFETY: by the contract. The length is requested after the pointer, as it depends on the conversion. A null
    // pointer with a nonzero length means exhausted memory.
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
        // SAFETY: the statements and `db` are this connection's and not used afterwards. The handlers are dropped
        // after this.
        unsafe {
            for statement in std::mem::take(&mut self.statements).into_values() {
                c::sqlite3_finalize(statement);
            }
            let closed = c::sqlite3_close(self.db);
            debug_assert_eq!(closed, c::SQLITE_OK, "a statement was not finalized");
        }
    }
}
