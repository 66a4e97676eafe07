//! Names in directories: opening, creating, removing, renaming.
//!
//! A path is resolved below a directory that the process has; cap-std refuses whatever would lead out of it,
//! by `..`, by an absolute path or through a symbolic link.

use std::sync::Arc;

use cap_std::fs::{Dir, OpenOptions};
use lunatic_jit::{HostCall, Linker};

use crate::host::Guest;
use crate::host::memory::GuestMemory;
use crate::process::ProcessData;
use crate::sys;

use super::errno::Errno;
use super::fd::APPEND;
use super::table::Fd;
use super::{MODULE, Result, blocking, suspend};

/// Bytes of a path.
const MAX_PATH: u32 = 4096;

/// How a file is opened.
const CREATE: u32 = 1;
const MUST_BE_DIRECTORY: u32 = 2;
const EXCLUSIVE: u32 = 4;
const TRUNCATE: u32 = 8;

/// The right to write. Whether a file is also read is not asked: reading is what directories were given for.
const RIGHT_READ: u64 = 1 << 1;
const RIGHT_WRITE: u64 = 1 << 6;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func(MODULE, "path_open", path_open);
    linker.func(MODULE, "path_create_directory", |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
        with_path(guest, fd, (path, length), |dir, path| dir.create_dir(path))
    });
    linker.func(MODULE, "path_remove_directory", |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
        with_path(guest, fd, (path, length), |dir, path| dir.remove_dir(path))
    });
    linker.func(MODULE, "path_unlink_file", |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
        with_path(guest, fd, (path, length), |dir, path| dir.remove_file(path))
    });
    linker.func(MODULE, "path_rename", path_rename);
}

/// A path as the guest passes it.
pub(super) fn guest_path(memory: &GuestMemory<'_>, (path, length): (u32, u32)) -> Result<String> {
    if length > MAX_PATH {
        return Err(Errno::NAMETOOLONG);
    }
    let path = memory.str(path, length)?;
    if path.is_empty() { Err(Errno::NOENT) } else { Ok(path.to_owned()) }
}

fn with_path(
    guest: &mut Guest<'_>,
    fd: u32,
    path: (u32, u32),
    act: impl FnOnce(&Dir, &str) -> std::io::Result<()> + Send + 'static,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let path = guest_path(memory, path)?;
        let dir = data.wasi.dir(data.process.config(), fd)?;
        blocking(data, move || act(&dir, &path), |_, _, ()| Ok(()))
    })
}

#[allow(clippy::too_many_arguments)] // The ABI's.
fn path_open(
    guest: &mut Guest<'_>,
    fd: u32,
    _lookup: u32,
    path: u32,
    length: u32,
    how: u32,
    rights: u64,
    _inherited: u64,
    flags: u32,
    result: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        memory.check(result, 4)?;
        let path = guest_path(memory, (path, length))?;
        let dir = data.wasi.dir(data.process.config(), fd)?;
        let job = move || open(&dir, &path, how, rights, flags);
        blocking(data, job, move |memory, data, opened| {
            let number = data.wasi.add(data.process.config(), opened)?;
            Ok(memory.write_u32(result, number)?)
        })
    })
}

/// Opens a file, or a directory if it is one or has to be.
fn open(dir: &Dir, path: &str, how: u32, rights: u64, flags: u32) -> std::io::Result<Fd> {
    sys::check_next(dir)?;
    let open_dir = || Ok(Fd::Dir { dir: Arc::new(dir.open_dir(path)?), preopen: None });
    if how & MUST_BE_DIRECTORY != 0 {
        return open_dir();
    }
    let append = flags & u32::from(APPEND) != 0;
    let write = rights & RIGHT_WRITE != 0 && !append;
    let mut options = OpenOptions::new();
    options
        .read(rights & RIGHT_READ != 0 || !(write || append))
        .write(write)
        .append(append && rights & RIGHT_WRITE != 0)
        .truncate(how & TRUNCATE != 0)
        .create(how & CREATE != 0 && how & EXCLUSIVE == 0)
        .create_new(how & CREATE != 0 && how & EXCLUSIVE != 0);
    let file = dir.open_with(path, &options)?;
    if file.metadata()?.is_dir() { open_dir() } else { Ok(Fd::File(Arc::new(file))) }
}

fn path_rename(
    guest: &mut Guest<'_>,
    from_fd: u32,
    from: u32,
    from_len: u32,
    to_fd: u32,
    to: u32,
    to_len: u32,
) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        let (from, to) = (guest_path(memory, (from, from_len))?, guest_path(memory, (to, to_len))?);
        let (from_dir, to_dir) =
            (data.wasi.dir(data.process.config(), from_fd)?, data.wasi.dir(data.process.config(), to_fd)?);
        blocking(data, move || from_dir.rename(&from, &to_dir, &to), |_, _, ()| Ok(()))
    })
}
