//! Statements: binding, stepping, reading rows.

use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::Guest;
use crate::declare::{CALL, Host, LOOK, func};
use crate::memory::parts;
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_sqlite::{Binds, Connection, Held, Malformed, Row, SqlError, StatementId, Steps, encode_strings};

use super::MODULE;
use super::give::give;
use super::tables::{Ahead, Columns, Databases, STATEMENT, Shared, Statement};
use super::work::{settle, submit, work};

/// Results of [`step`], which are SQLite's codes.
const ROW: u64 = 100;
const DONE: u64 = 101;

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "bind_value", CALL.bytes(1), bind);
    func!(host, MODULE, "sqlite3_step", CALL, step);
    func!(host, MODULE, "statement_reset", CALL, reset);
    func!(host, MODULE, "sqlite3_finalize", CALL, finalize);
    func!(host, MODULE, "column_count", LOOK, |guest: &mut Guest<'_>, id: u64| {
        Databases::statement(guest.data_mut(), id).map(|statement| statement.columns.names.len() as u32)
    });
    func!(host, MODULE, "column_names", CALL.place(1, 4), |guest: &mut Guest<'_>, id: u64, length: u32| {
        let names = encode_strings(&Databases::statement(guest.data_mut(), id)?.columns.names);
        give(guest, length, names)
    });
    func!(
        host,
        MODULE,
        "column_name",
        CALL.place(2, 4),
        |guest: &mut Guest<'_>, id: u64, column: u32, length: u32| {
            let names = &Databases::statement(guest.data_mut(), id)?.columns.names;
            let name = names.get(column as usize).ok_or_else(|| no_column(column))?.clone();
            give(guest, length, name)
        }
    );
    func!(
        host,
        MODULE,
        "read_column",
        CALL.place(2, 4),
        |guest: &mut Guest<'_>, id: u64, column: u32, length: u32| {
            let row = Databases::statement(guest.data_mut(), id)?.row();
            row.of().column(column as usize).ok_or_else(|| no_column(column))?;
            give(guest, length, OneColumn(row, column as usize))
        }
    );
    func!(host, MODULE, "read_row", CALL.place(1, 4), |guest: &mut Guest<'_>, id: u64, length: u32| {
        let row = Databases::statement(guest.data_mut(), id)?.row();
        give(guest, length, row)
    });
}

fn no_column(column: u32) -> Fault {
    Fault::Unknown { kind: "column", id: column.into() }
}

/// The columns of a row that can be read.
enum Readable {
    Held(Arc<Held>),
    Nulls(Row),
}

struct OneColumn(Readable, usize);

impl Statement {
    /// The current row.
    fn row(&self) -> Readable {
        match &self.row {
            Some(held) => Readable::Held(held.clone()),
            None => Readable::Nulls(Row::of_nulls(self.columns.names.len())),
        }
    }
}

impl Readable {
    fn of(&self) -> &Row {
        match self {
            Readable::Held(held) => &held.row,
            Readable::Nulls(row) => row,
        }
    }
}

impl AsRef<[u8]> for Readable {
    fn as_ref(&self) -> &[u8] {
        self.of().bytes()
    }
}

impl AsRef<[u8]> for OneColumn {
    fn as_ref(&self) -> &[u8] {
        self.0.of().column(self.1).expect("it has been looked at, and a row does not change")
    }
}

/// Binds the values of a `BindList`. SQLite copies them and accesses no file, so short lists are bound here and at
/// once. After the first step, SQLite refuses to bind until the statement is reset, no matter how many rows were
/// fetched in advance.
fn bind(guest: &mut Guest<'_>, id: u64, list: u32, length: u32) -> Result<HostCall<()>, Fault> {
    /// The length of a list, and the number of parameters, that are short.
    const LITTLE: (u32, usize) = (16 << 10, 256);
    settle(guest, length.into());
    let (memory, data) = parts(guest)?;
    let list = memory.bytes(list, length)?;
    let statement = Databases::statement(data, id)?;
    let (connection, shared, id) = (statement.connection, statement.shared.clone(), statement.id);
    if length <= LITTLE.0 && statement.parameters <= LITTLE.1 {
        return bound(data, connection, bind_list(&shared, id, list)).map(HostCall::Return);
    }
    let list = list.to_vec();
    submit(
        data,
        move || bind_list(&shared, id, &list),
        move |_, data, result| bound(data, connection, result).map(|()| 0),
    );
    Ok(HostCall::Suspend)
}

/// Why values cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum BindError {
    Sqlite(#[from] SqlError),
    Malformed(#[from] Malformed),
}

fn bind_list(shared: &Shared, id: StatementId, list: &[u8]) -> Result<(), BindError> {
    let binds = Binds::new(list)?.map(|pair| pair.map_err(BindError::from));
    shared.lock().bind(id, binds)
}

/// Records SQLite's answer to values that were to be bound.
fn bound(data: &mut ProcessData, connection: u64, result: Result<(), BindError>) -> Result<(), Fault> {
    let error = match &result {
        Err(BindError::Sqlite(error)) => Some(error.clone()),
        _ => None,
    };
    Databases::connection(data, connection)?.error = error;
    result.map_err(Fault::host)
}

/// Advances to the next row. Returns 100 if there is one and 101 if not. Traps if SQLite fails.
fn step(guest: &mut Guest<'_>, number: u64) -> Result<HostCall<u32>, Fault> {
    settle(guest, 0);
    let data = guest.data_mut();
    let statement = Databases::statement(data, number)?;
    statement.row = None;
    if statement.ahead.has_any() {
        return advance(data, number).map(|result| HostCall::Return(result as u32));
    }
    let (connection, id, compilations) = (statement.connection, statement.id, statement.columns.compilations);
    let rows = if statement.only_reads { statement.ahead.rows_to_fetch() } else { 1 };
    let job = move |connection: &mut Connection| {
        let steps = connection.steps(id, rows);
        Ok((steps, new_columns(connection, id, compilations)?))
    };
    let finish = move |data: &mut ProcessData, done: Result<(Steps, Option<Columns>), SqlError>| {
        let (steps, columns) = done.map_err(Fault::host)?;
        let statement = Databases::statement(data, number)?;
        statement.ahead.fetched(steps);
        if let Some(columns) = columns {
            statement.columns = columns;
        }
        advance(data, number)
    };
    work(data, connection, job, finish)?;
    Ok(HostCall::Suspend)
}

/// Advances a statement to the next row that was fetched.
fn advance(data: &mut ProcessData, number: u64) -> Result<u64, Fault> {
    let statement = Databases::statement(data, number)?;
    let connection = statement.connection;
    statement.row = statement.ahead.rows.pop_front().map(Arc::new);
    let result = match &statement.row {
        Some(_) => Ok(ROW),
        None => statement.ahead.end.take().map_or(Ok(DONE), |end| end.map(|()| DONE)),
    };
    Databases::connection(data, connection)?.error = result.as_ref().err().cloned();
    result.map_err(Fault::host)
}

/// Returns the columns of a statement, if it was compiled again.
fn new_columns(
    connection: &mut Connection,
    id: StatementId,
    known: u32,
) -> Result<Option<Columns>, SqlError> {
    let compilations = connection.compilations(id);
    if compilations == known {
        return Ok(None);
    }
    Ok(Some(Columns { names: connection.columns(id)?.into(), compilations }))
}

/// Resets a statement. Bound values stay bound.
fn reset(guest: &mut Guest<'_>, number: u64) -> Result<HostCall<()>, Fault> {
    settle(guest, 0);
    let data = guest.data_mut();
    let statement = Databases::statement(data, number)?;
    (statement.row, statement.ahead) = (None, Ahead::default());
    let (connection, id) = (statement.connection, statement.id);
    let job = move |connection: &mut Connection| {
        connection.reset(id);
        Ok(())
    };
    work(data, connection, job, |_, _| Ok(0))?;
    Ok(HostCall::Suspend)
}

/// Finalizes a statement.
fn finalize(guest: &mut Guest<'_>, number: u64) -> Result<HostCall<()>, Fault> {
    settle(guest, 0);
    let data = guest.data_mut();
    let Statement { connection, id, .. } = Databases::of(data).statements.remove(STATEMENT, number)?;
    let job = move |connection: &mut Connection| {
        connection.finalize(id);
        Ok(())
    };
    work(data, connection, job, |_, _| Ok(0))?;
    Ok(HostCall::Suspend)
}
