//! Connections: `open`, `execute`, `query_prepare`, `sqlite3_changes`, `last_error`.

use lunatic_jit::HostCall;

use crate::Guest;
use crate::declare::{CALL, HEAVY, Host, LOOK, func, limits};
use crate::memory::{GuestMemory, parts};
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_sqlite::{Connection, SqlError, encode_error};

use super::MODULE;
use super::give::give;
use super::tables::{Ahead, CONNECTIONS, Columns, Databases, Opened, STATEMENTS, Shared, Statement};
use super::work::{settle, submit, work};

/// Results of [`open`].
const OPENED: u64 = 0;
const FAILED: u64 = 1;

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "open", HEAVY.range(0, limits::PATH, "a path").place(2, 8), open);
    func!(host, MODULE, "execute", HEAVY.range(1, limits::SQL, "a statement"), execute);
    func!(host, MODULE, "query_prepare", HEAVY.range(1, limits::SQL, "a statement"), prepare);
    func!(host, MODULE, "sqlite3_changes", LOOK, |guest: &mut Guest<'_>, connection: u64| {
        Databases::connection(guest.data_mut(), connection).map(|opened| opened.changes)
    });
    func!(
        host,
        MODULE,
        "last_error",
        CALL.place(1, 4),
        |guest: &mut Guest<'_>, connection: u64, length: u32| {
            let opened = Databases::connection(guest.data_mut(), connection)?;
            let error = encode_error(opened.error.as_ref());
            give(guest, length, error)
        }
    );
}

/// Opens the database at a path below one of the process's directories, or in memory for `:memory:` or an empty name.
///
/// Returns 0 and writes the number of the connection, or returns 1 and writes the identifier of an error. Traps if
/// there are too many connections.
fn open(guest: &mut Guest<'_>, path: u32, path_length: u32, id: u32) -> Result<HostCall<u64>, Fault> {
    settle(guest, path_length.into());
    let (memory, data) = parts(guest)?;
    memory.check(id, 8)?;
    let path = memory.str(path, path_length)?.to_owned();
    let config = data.process.config().clone();
    let databases = Databases::of(data);
    databases.connections.check_room(CONNECTIONS, &config)?;
    let owner = databases.owner.clone();
    let finish = move |memory: &mut GuestMemory<'_>, data: &mut ProcessData, opened| {
        let (result, value) = match opened {
            Ok(shared) => (OPENED, add(data, shared)?),
            Err(error) => {
                let error: SqlError = error;
                (FAILED, data.add_error(error)?)
            }
        };
        memory.write_u64(id, value)?;
        Ok(result)
    };
    submit(data, move || Connection::open(&owner, &path).map(Shared::new), finish);
    Ok(HostCall::Suspend)
}

/// Adds a connection. The caller has checked the limit.
fn add(data: &mut ProcessData, shared: Shared) -> Result<u64, Fault> {
    let config = data.process.config().clone();
    let opened = Opened { shared, changes: 0, error: None };
    Databases::of(data).connections.add(CONNECTIONS, &config, opened)
}

/// Runs statements and drops their rows. Returns SQLite's result code.
fn execute(guest: &mut Guest<'_>, connection: u64, sql: u32, length: u32) -> Result<HostCall<u32>, Fault> {
    settle(guest, length.into());
    let (memory, data) = parts(guest)?;
    let sql = memory.str(sql, length)?.to_owned();
    let finish = |_: &mut ProcessData, done: Result<(), SqlError>| {
        Ok(done.map_or_else(|error| error.code.into(), |()| 0))
    };
    work(data, connection, move |connection| connection.execute(&sql), finish)?;
    Ok(HostCall::Suspend)
}

/// Compiles the first statement of a text. Returns its number. Traps if that fails, because no result could report
/// it.
fn prepare(guest: &mut Guest<'_>, connection: u64, sql: u32, length: u32) -> Result<HostCall<u64>, Fault> {
    settle(guest, length.into());
    let (memory, data) = parts(guest)?;
    let sql = memory.str(sql, length)?.to_owned();
    let config = data.process.config().clone();
    Databases::of(data).statements.check_room(STATEMENTS, &config)?;
    let job = move |connection: &mut Connection| {
        let id = connection.prepare(&sql)?;
        let names = connection.columns(id)?.into();
        let columns = Columns { names, compilations: connection.compilations(id) };
        Ok((id, columns, connection.only_reads(id), connection.parameters(id)))
    };
    let finish = move |data: &mut ProcessData, done: Result<_, SqlError>| {
        let (id, columns, only_reads, parameters) = done.map_err(Fault::host)?;
        let shared = Databases::connection(data, connection)?.shared.clone();
        let ahead = Ahead::default();
        let statement =
            Statement { connection, shared, id, only_reads, parameters, columns, row: None, ahead };
        let config = data.process.config().clone();
        Databases::of(data).statements.add(STATEMENTS, &config, statement)
    };
    work(data, connection, job, finish)?;
    Ok(HostCall::Suspend)
}
