//! WASI preview 1, complete: as its documents describe it, and as the official test suite interprets them.
//!
//! Every function returns an errno. A pointer outside the memory is `FAULT`, unlike in Lunatic's own functions, where
//! it is a trap: programs of the two kinds expect it so. Errors of descriptors take precedence over errors of
//! pointers.
//!
//! | file | what it holds |
//! |---|---|
//! | `table`, `rights` | the descriptors of a process, and what may be done with them |
//! | `fd` | descriptors: closing, moving, seeking, flags |
//! | `stream`, `sock`, `redirected` | reading and writing; sockets; redirected writes |
//! | `path`, `links` | names: opening; creating, removing, renaming |
//! | `listing`, `stat` | the contents of directories, and the status of files |
//! | `poll`, `clock` | waiting for the first of several events; time, randomness |
//! | `environment` | arguments, variables, exits |
//! | `errno` | error numbers |
//!
//! A process has access to files below the directories that it was given; cap-std keeps every path inside. Threads of
//! the blocking pool read, write and look up, with buffers and descriptors that their job owns. Pipes, terminals and
//! sockets, which may have nothing to read for long, are never opened in blocking mode; processes wait for them in
//! the reactor, and for the standard streams by means of their threads. So no worker ever blocks, and a killed
//! process is released at once.
//!
//! There are two versions. Old binaries import the first one, `wasi_unstable`. The versions differ in three layouts
//! and in the numbers of `fd_seek`.

#![forbid(unsafe_code)]

mod clock;
mod environment;
mod errno;
mod fd;
mod links;
mod listing;
mod path;
mod poll;
mod redirected;
mod rights;
mod sock;
mod stat;
mod stream;
mod table;

use std::io::SeekFrom;
use std::sync::Arc;

use lunatic_jit::{HostCall, RawValue};

use lunatic_core::{Fault, ProcessData};
use lunatic_host::Guest;
use lunatic_host::declare::Host;
use lunatic_host::memory::{GuestMemory, parts};
use lunatic_net::{Source, TryIo};

use errno::Errno;
use table::NONBLOCK;

/// The result of a WASI function: a value or an errno.
type Result<T> = std::result::Result<T, Errno>;

/// The version of WASI that a guest was built for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    /// `wasi_unstable`: snapshot 0.
    Unstable,
    /// `wasi_snapshot_preview1`.
    Preview1,
}

impl Version {
    /// Returns the module that guests import from.
    const fn module(self) -> &'static str {
        match self {
            Version::Unstable => "wasi_unstable",
            Version::Preview1 => "wasi_snapshot_preview1",
        }
    }

    /// Returns the position that `fd_seek` seeks to.
    fn whence(self, offset: i64, whence: u32) -> Result<SeekFrom> {
        // A position has no sign in WASI, but the system's has one.
        let start = || u64::try_from(offset).map(SeekFrom::Start).map_err(|_| Errno::INVAL);
        match (self, whence) {
            (Version::Preview1, 0) | (Version::Unstable, 2) => start(),
            (Version::Preview1, 1) | (Version::Unstable, 0) => Ok(SeekFrom::Current(offset)),
            (Version::Preview1, 2) | (Version::Unstable, 1) => Ok(SeekFrom::End(offset)),
            _ => Err(Errno::INVAL),
        }
    }
}

/// Declares the functions of both versions.
pub fn register(host: &mut Host) {
    for version in [Version::Unstable, Version::Preview1] {
        clock::register(host, version);
        environment::register(host, version);
        fd::register(host, version);
        links::register(host, version);
        listing::register(host, version);
        path::register(host, version);
        poll::register(host, version);
        sock::register(host, version);
        stat::register(host, version);
        stream::register(host, version);
    }
}

/// Runs a function that answers at once.
fn answer(
    guest: &mut Guest<'_>,
    function: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData) -> Result<()>,
) -> u32 {
    let done = parts(guest).map_err(Errno::from).and_then(|(mut memory, data)| function(&mut memory, data));
    Errno::of(done)
}

/// Runs a function that may suspend the process, by returning [`HostCall::Suspend`].
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

/// Runs `job` on the pool, then `finish` with its result on a worker. `finish` may wait again.
fn job<T: Send + 'static>(
    data: &mut ProcessData,
    job: impl FnOnce() -> T + Send + 'static,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, T) -> Result<HostCall<()>> + Send + 'static,
) -> Result<HostCall<()>> {
    data.wait_for_job(move || {
        let done = job();
        Box::new(move |memory, data| finished(finish(&mut GuestMemory(memory), data, done)))
    });
    Ok(HostCall::Suspend)
}

/// Runs a job like [`job`]. An error of the job ends the call.
fn blocking<T: Send + 'static>(
    data: &mut ProcessData,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, T) -> Result<()> + Send + 'static,
) -> Result<HostCall<()>> {
    job(data, work, |memory, data, done| finish(memory, data, done?).map(HostCall::Return))
}

/// Tries an operation until it does not block, each time that its source reports a change. With `NONBLOCK` among the
/// flags, it is tried once.
fn until_ready(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    source: Arc<Source>,
    flags: u16,
    mut attempt: impl FnMut(&mut GuestMemory<'_>, &mut ProcessData) -> Result<TryIo<()>> + Send + 'static,
) -> Result<HostCall<()>> {
    let direction = match attempt(memory, data)? {
        TryIo::Done(()) => return Ok(HostCall::Return(())),
        TryIo::Blocked(_) if flags & NONBLOCK != 0 => return Err(Errno::AGAIN),
        TryIo::Blocked(direction) => direction,
    };
    let told = source.clone();
    let again = Box::new(move |memory: &mut [u8], data: &mut ProcessData| {
        finished(until_ready(&mut GuestMemory(memory), data, source, flags, attempt))
    });
    data.wait_until_ready(|waiter| told.wait(direction, waiter), None, [0; 2], again);
    Ok(HostCall::Suspend)
}

/// Converts the result of a call that had to wait to the form that the engine takes.
fn finished(done: Result<HostCall<()>>) -> std::result::Result<HostCall<RawValue>, Fault> {
    Ok(match done {
        Ok(HostCall::Suspend) => HostCall::Suspend,
        other => returned(Errno::of(other.map(drop))),
    })
}

/// Converts an errno to the result of a host call.
fn returned(errno: u32) -> HostCall<RawValue> {
    HostCall::Return(RawValue::from(u64::from(errno)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function of WASI preview 1.
    const ALL: &str = "args_get args_sizes_get clock_res_get clock_time_get environ_get environ_sizes_get \
        fd_advise fd_allocate fd_close fd_datasync fd_fdstat_get fd_fdstat_set_flags fd_fdstat_set_rights \
        fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_pread fd_prestat_dir_name fd_prestat_get \
        fd_pwrite fd_read fd_readdir fd_renumber fd_seek fd_sync fd_tell fd_write path_create_directory \
        path_filestat_get path_filestat_set_times path_link path_open path_readlink path_remove_directory \
        path_rename path_symlink path_unlink_file poll_oneoff proc_exit proc_raise random_get sched_yield \
        sock_accept sock_recv sock_send sock_shutdown";

    #[test]
    fn all_of_preview_1_links() {
        let mut host = Host::new();
        register(&mut host);
        let linker = host.into_linker();
        let missing: Vec<_> = ALL
            .split_whitespace()
            .flat_map(|name| [(Version::Preview1, name), (Version::Unstable, name)])
            .filter(|(version, name)| !linker.contains(version.module(), name))
            .map(|(version, name)| format!("{}::{name}", version.module()))
            .collect();
        assert_eq!(missing, ["wasi_unstable::sock_accept"], "the first version had none");
    }

    #[test]
    fn each_function_costs_something() {
        let mut host = Host::new();
        register(&mut host);
        let free: Vec<_> =
            host.declared().iter().filter(|entry| !entry.declaration.costs_something()).collect();
        assert!(free.is_empty(), "{free:?}");
    }

    #[test]
    fn the_versions_count_differently_where_a_seek_goes() {
        let whence = |version: Version| [0, 1, 2, 3].map(|whence| version.whence(-1, whence).ok());
        let (current, end) = (Some(SeekFrom::Current(-1)), Some(SeekFrom::End(-1)));
        assert_eq!(whence(Version::Preview1), [None, current, end, None]);
        assert_eq!(whence(Version::Unstable), [current, end, None, None]);
        assert_eq!(Version::Unstable.whence(5, 2), Ok(SeekFrom::Start(5)));
    }
}
