//! WASI preview 1, as far as programs compiled for it need it.
//!
//! Every function returns an errno. A pointer outside the memory is `FAULT`, unlike in Lunatic's own functions,
//! where it is a trap: programs of the two kinds expect it so.
//!
//! Files are those below the directories that a process was given; cap-std keeps every path inside. Reading,
//! writing and looking up happens on the blocking pool, with buffers and descriptors that the job owns.
//!
//! # Declared and refused
//!
//! The functions in [`REFUSED`] are imported by common guests that rarely call them; without a declaration
//! these would not link.

mod clock;
mod environment;
mod errno;
mod fd;
mod path;
mod poll;
mod stat;
mod stream;
mod table;

use lunatic_jit::{HostCall, Linker, RawValue};

use crate::process::ProcessData;

use super::Guest;
use super::memory::{GuestMemory, parts};

pub(crate) use table::FdTable;

use errno::Errno;

/// The module name of WASI preview 1.
const MODULE: &str = "wasi_snapshot_preview1";

/// The result of a WASI function: 0 or an errno.
type Result<T> = std::result::Result<T, Errno>;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    clock::register(linker);
    environment::register(linker);
    fd::register(linker);
    path::register(linker);
    poll::register(linker);
    stat::register(linker);
    stream::register(linker);
    refused(linker);
}

/// Runs a function that answers at once.
fn answer(
    guest: &mut Guest<'_>,
    function: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData) -> Result<()>,
) -> u32 {
    let done = parts(guest).map_err(Errno::from).and_then(|(mut memory, data)| function(&mut memory, data));
    Errno::of(done)
}

/// Runs a function that may suspend: it says so by returning [`HostCall::Suspend`].
fn suspend(
    guest: &mut Guest<'_>,
    function: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData) -> Result<HostCall<()>>,
) -> HostCall<u32> {
    let done = parts(guest).map_err(Errno::from).and_then(|(mut memory, data)| function(&mut memory, data));
    match done {
        Ok(HostCall::Suspend) => HostCall::Suspend,
        other => HostCall::Return(Errno::of(other.map(drop))),
    }
}

/// Runs `job` on the pool, then `finish` with its result on a worker.
fn blocking<T: Send + 'static>(
    data: &mut ProcessData,
    job: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, T) -> Result<()> + Send + 'static,
) -> Result<HostCall<()>> {
    data.wait_for_job(move || {
        let done = job();
        Box::new(move |memory, data| {
            let done = done.map_err(Errno::from);
            let done = done.and_then(|value| finish(&mut GuestMemory(memory), data, value));
            Ok(returned(Errno::of(done)))
        })
    });
    Ok(HostCall::Suspend)
}

/// An errno as the result of a host call.
fn returned(errno: u32) -> HostCall<RawValue> {
    HostCall::Return(RawValue::from(u64::from(errno)))
}

/// Functions without an implementation, by the number and kind of their parameters.
///
/// - Advice and allocation: no effect that a program could rely on.
/// - Rights: preview 1's successor dropped them; ours are never narrowed.
/// - Times, links: few programs; they come with the rest of the file functions.
/// - Sockets that are inherited: there are none.
#[cfg(test)]
pub(crate) const REFUSED: [&str; 12] = [
    "fd_advise",
    "fd_allocate",
    "fd_fdstat_set_rights",
    "fd_filestat_set_times",
    "path_filestat_set_times",
    "path_link",
    "path_readlink",
    "path_symlink",
    "sock_accept",
    "sock_recv",
    "sock_send",
    "sock_shutdown",
];

fn refused(linker: &mut Linker<ProcessData>) {
    const NO: u32 = Errno::NOSYS.number();
    linker.func(MODULE, "fd_advise", |_: &mut Guest<'_>, _: u32, _: u64, _: u64, _: u32| NO);
    linker.func(MODULE, "fd_allocate", |_: &mut Guest<'_>, _: u32, _: u64, _: u64| NO);
    linker.func(MODULE, "fd_fdstat_set_rights", |_: &mut Guest<'_>, _: u32, _: u64, _: u64| NO);
    linker.func(MODULE, "fd_filestat_set_times", |_: &mut Guest<'_>, _: u32, _: u64, _: u64, _: u32| NO);
    linker.func(
        MODULE,
        "path_filestat_set_times",
        |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u64, _: u64, _: u32| NO,
    );
    linker.func(
        MODULE,
        "path_link",
        |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NO,
    );
    linker.func(
        MODULE,
        "path_readlink",
        |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NO,
    );
    linker.func(MODULE, "path_symlink", |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| NO);
    linker.func(MODULE, "sock_accept", |_: &mut Guest<'_>, _: u32, _: u32, _: u32| NO);
    linker.func(MODULE, "sock_recv", |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32, _: u32| NO);
    linker.func(MODULE, "sock_send", |_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32| NO);
    linker.func(MODULE, "sock_shutdown", |_: &mut Guest<'_>, _: u32, _: u32| NO);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_refused_are_declared() {
        let linker = crate::host::linker();
        assert!(REFUSED.iter().all(|name| linker.contains(MODULE, name)));
    }
}
