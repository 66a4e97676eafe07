//! Descriptors: closing, moving, seeking, their status and rights, and the preopened directories.
//!
//! `fd_fdstat_get` writes 24 bytes: file type (1), flags (2, at 2), base rights (8, at 8), inheriting rights (8, at 16).
//! `fd_prestat_get` writes 8: tag 0 (a directory), and the length of its name (4, at 4).

use std::io::{Seek, SeekFrom};
use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::ProcessData;
use lunatic_host::Guest;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_resources::sys::files;

use super::errno::Errno;
use super::poll::Standard;
use super::rights::{Granted, Rights};
use super::stat::file_type;
use super::stream::{output_of, when_drained};
use super::table::{APPEND, DSYNC, Fd, FdEntry, NONBLOCK, RSYNC, SYNC, UNSEEN};
use super::{Result, Version, answer, blocking, suspend};

/// The kinds of advice.
const ADVICE: u32 = 6;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    func!(host, module, "fd_close", LOOK, |guest: &mut Guest<'_>, fd: u32| {
        suspend(guest, |_, data| {
            let closed = FdTable::of(data).close(fd)?;
            give_up(data, Some(closed))
        })
    });
    func!(host, module, "fd_renumber", LOOK, |guest: &mut Guest<'_>, from: u32, to: u32| {
        suspend(guest, |_, data| {
            let closed = FdTable::of(data).renumber(from, to)?;
            give_up(data, closed)
        })
    });
    func!(host, module, "fd_fdstat_get", LOOK, |guest: &mut Guest<'_>, fd: u32, result: u32| {
        answer(guest, |memory, data| fdstat(memory, data, fd, result))
    });
    func!(host, module, "fd_fdstat_set_flags", LOOK, |guest: &mut Guest<'_>, fd: u32, flags: u32| {
        suspend(guest, |_, data| set_flags(data, fd, flags))
    });
    func!(
        host,
        module,
        "fd_fdstat_set_rights",
        LOOK,
        |guest: &mut Guest<'_>, fd: u32, base: u64, inheriting: u64| {
            answer(guest, |_, data| {
                let entry = FdTable::of(data).entry(fd)?;
                entry.rights.narrow(Granted { base: Rights(base), inheriting: Rights(inheriting) })
            })
        }
    );
    func!(host, module, "fd_prestat_get", LOOK, |guest: &mut Guest<'_>, fd: u32, result: u32| {
        answer(guest, |memory, data| {
            let name = preopen(data, fd)?;
            memory.write_u32(result, 0)?;
            Ok(memory.write_u32(result.wrapping_add(4), name.len() as u32)?)
        })
    });
    func!(
        host,
        module,
        "fd_prestat_dir_name",
        LOOK,
        |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
            answer(guest, |memory, data| {
                let name = preopen(data, fd)?;
                if name.len() > length as usize {
                    return Err(Errno::NAMETOOLONG);
                }
                Ok(memory.write(path, name.as_bytes())?)
            })
        }
    );
    func!(host, module, "fd_seek", LOOK, move |guest: &mut Guest<'_>,
                                               fd: u32,
                                               offset: i64,
                                               whence: u32,
                                               result: u32| {
        suspend(guest, |memory, data| {
            let to = version.whence(offset, whence)?;
            seek(memory, data, fd, to, result)
        })
    });
    func!(host, module, "fd_tell", LOOK, |guest: &mut Guest<'_>, fd: u32, result: u32| {
        suspend(guest, |memory, data| seek(memory, data, fd, SeekFrom::Current(0), result))
    });
    func!(host, module, "fd_sync", LOOK, |guest: &mut Guest<'_>, fd: u32| {
        suspend(guest, |memory, data| sync(memory, data, fd, Rights::FD_SYNC))
    });
    func!(host, module, "fd_datasync", LOOK, |guest: &mut Guest<'_>, fd: u32| {
        suspend(guest, |memory, data| sync(memory, data, fd, Rights::FD_DATASYNC))
    });
    func!(host, module, "fd_advise", LOOK, |guest: &mut Guest<'_>,
                                            fd: u32,
                                            offset: u64,
                                            length: u64,
                                            advice: u32| {
        suspend(guest, |_, data| {
            if FdTable::of(data).seems_a_file(fd, Rights::FD_ADVISE)?.is_some() {
                return Ok(HostCall::Return(()));
            }
            let file = FdTable::of(data).file(fd, Rights::FD_ADVISE)?;
            if advice >= ADVICE {
                return Err(Errno::INVAL);
            }
            blocking(data, move || files::advise(&file, offset, length, advice), |_, _, ()| Ok(()))
        })
    });
    func!(host, module, "fd_allocate", LOOK, |guest: &mut Guest<'_>, fd: u32, offset: u64, length: u64| {
        suspend(guest, |_, data| {
            if FdTable::of(data).seems_a_file(fd, Rights::FD_ALLOCATE)?.is_some() {
                return Ok(HostCall::Return(()));
            }
            let file = FdTable::of(data).file(fd, Rights::FD_ALLOCATE)?;
            if length == 0 {
                return Err(Errno::INVAL);
            }
            blocking(data, move || files::allocate(&file, offset, length), |_, _, ()| Ok(()))
        })
    });
}

fn fdstat(memory: &mut GuestMemory<'_>, data: &mut ProcessData, fd: u32, result: u32) -> Result<()> {
    let terminals = data.node().terminals;
    let entry = FdTable::of(data).entry(fd)?;
    entry.flags &= !UNSEEN;
    let mut bytes = [0; 24];
    bytes[0] = file_type(&entry.fd, terminals);
    bytes[2..4].copy_from_slice(&entry.flags.to_le_bytes());
    bytes[8..16].copy_from_slice(&entry.rights.base.0.to_le_bytes());
    bytes[16..].copy_from_slice(&entry.rights.inheriting.0.to_le_bytes());
    Ok(memory.write(result, &bytes)?)
}

/// Closes the object of a descriptor. Closing the last descriptor of a deleted file frees its content, which takes
/// long if the file is large, so files are closed on a thread that may block.
fn give_up(data: &mut ProcessData, closed: Option<FdEntry>) -> Result<HostCall<()>> {
    match closed.map(|entry| entry.fd) {
        Some(Fd::File(file)) => {
            let close = move || {
                drop(file);
                Ok(())
            };
            blocking(data, close, |_, _, ()| Ok(()))
        }
        _ => Ok(HostCall::Return(())),
    }
}

/// Other programs share the flags of the standard streams. So flags that a process sets are kept in its descriptor.
fn set_flags(data: &mut ProcessData, fd: u32, flags: u32) -> Result<HostCall<()>> {
    let flags = checked_flags(flags)?;
    let entry = FdTable::of(data).entry(fd)?;
    entry.rights.base.check(Rights::FD_FDSTAT_SET_FLAGS)?;
    match &entry.fd {
        Fd::File(file) if (entry.flags ^ flags) & APPEND != 0 => {
            let file = file.clone();
            blocking(
                data,
                move || files::set_append(&file, flags & APPEND != 0),
                move |_, data, ()| {
                    FdTable::of(data).entry(fd)?.flags = flags;
                    Ok(())
                },
            )
        }
        _ => {
            entry.flags = flags;
            Ok(HostCall::Return(()))
        }
    }
}

/// Converts the flags that a guest passes.
pub(super) fn checked_flags(flags: u32) -> Result<u16> {
    const ALL: u16 = APPEND | DSYNC | NONBLOCK | RSYNC | SYNC;
    let flags = u16::try_from(flags).map_err(|_| Errno::INVAL)?;
    if flags & !ALL == 0 { Ok(flags) } else { Err(Errno::INVAL) }
}

fn preopen(data: &mut ProcessData, fd: u32) -> Result<Arc<str>> {
    match &FdTable::of(data).entry(fd)?.fd {
        Fd::Dir(dir) => dir.preopen.clone().ok_or(Errno::BADF),
        _ => Err(Errno::BADF),
    }
}

fn seek(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    to: SeekFrom,
    result: u32,
) -> Result<HostCall<()>> {
    memory.check(result, 8)?;
    // The right to seek includes the right to tell.
    let needed = match to {
        SeekFrom::Current(0) => {
            let entry = FdTable::of(data).entry(fd)?;
            let tells = entry.rights.base.contains(Rights::FD_TELL);
            if tells { Rights::FD_TELL } else { Rights::FD_SEEK }
        }
        _ => Rights::FD_SEEK,
    };
    // The position in redirected output is always at its end.
    if let Some(redirected) = FdTable::of(data).seems_a_file(fd, needed)? {
        memory.write_u64(result, redirected.size())?;
        return Ok(HostCall::Return(()));
    }
    let file = FdTable::of(data).file(fd, needed)?;
    blocking(data, move || (&**file).seek(to), move |memory, _, at| Ok(memory.write_u64(result, at)?))
}

fn sync(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    needed: Rights,
) -> Result<HostCall<()>> {
    let all = needed == Rights::FD_SYNC;
    match FdTable::of(data).get(fd, needed)? {
        Fd::Stdout => sync_stream(memory, data, Standard::Output, all),
        Fd::Stderr => sync_stream(memory, data, Standard::Error, all),
        Fd::File(file) => {
            blocking(data, move || if all { file.sync_all() } else { file.sync_data() }, |_, _, ()| Ok(()))
        }
        Fd::Dir(dir) => blocking(data, move || files::sync_dir(&dir.dir), |_, _, ()| Ok(())),
        Fd::Redirected(_) => Ok(HostCall::Return(())),
        // Nothing is buffered here, and there is no system call for these objects.
        _ => Err(Errno::INVAL),
    }
}

/// Returns when everything that was written to a standard stream has reached the system, and the disk if the stream
/// is a file. An error of an earlier write is reported here.
fn sync_stream(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    stream: Standard,
    all: bool,
) -> Result<HostCall<()>> {
    when_drained(memory, data, stream, move |_, data| {
        let work = output_of(data, stream).syncing(all);
        blocking(data, work, |_, _, ()| Ok(()))
    })
}
