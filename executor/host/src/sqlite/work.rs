//! Work on a connection, which a thread does while the process waits.

use lunatic_jit::{HostCall, RawValue};

use crate::memory::GuestMemory;
use crate::{Guest, Services, charge};
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_sqlite::{Connection, SqlError};

use super::tables::{Databases, Shared};

/// Charges for a call that handles this many bytes, and for what SQLite did since the last call. Sets what the next
/// statement may use.
pub(super) fn settle(guest: &mut Guest<'_>, bytes: u64) {
    let data = guest.data_mut();
    let left = data.reductions_left();
    let owed = Databases::of(data).owner.settle(left);
    guest.charge(owed);
    charge(guest, bytes);
}

/// Runs `job` for a connection on a thread, then `finish` with its result on a worker. An error stays the
/// connection's last error until the next call.
pub(super) fn work<T: Send + 'static>(
    data: &mut ProcessData,
    connection: u64,
    job: impl FnOnce(&mut Connection) -> Result<T, SqlError> + Send + 'static,
    finish: impl FnOnce(&mut ProcessData, Result<T, SqlError>) -> Result<u64, Fault> + Send + 'static,
) -> Result<(), Fault> {
    let shared = Databases::connection(data, connection)?.shared.clone();
    submit(
        data,
        move || run(shared, job),
        move |_, data, (done, changes)| {
            let opened = Databases::connection(data, connection)?;
            opened.error = done.as_ref().err().cloned();
            opened.changes = changes;
            finish(data, done)
        },
    );
    Ok(())
}

fn run<T>(
    shared: Shared,
    job: impl FnOnce(&mut Connection) -> Result<T, SqlError>,
) -> (Result<T, SqlError>, u32) {
    let mut connection = shared.lock();
    let done = job(&mut connection);
    let changes = connection.changes();
    (done, changes)
}

/// Runs `job` on a thread, then `finish` with its result on a worker, with access to the guest's memory.
pub(super) fn submit<T: Send + 'static>(
    data: &mut ProcessData,
    job: impl FnOnce() -> T + Send + 'static,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, T) -> Result<u64, Fault> + Send + 'static,
) {
    let tenant = Databases::of(data).tenant.clone();
    let complete = data.wait_for_completion();
    let job = Box::new(move || {
        let done = job();
        complete(Box::new(move |memory, data| {
            let value = finish(&mut GuestMemory(memory), data, done)?;
            Ok(HostCall::Return(RawValue::from(value)))
        }));
    });
    let node = data.node();
    node.submit_to(|job| Services::of(node).databases.submit(tenant, job), job);
}
