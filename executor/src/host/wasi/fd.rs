//! Descriptors themselves: closing, moving, seeking, what they are, and the directories given at the start.
//!
//! `fd_fdstat_get` writes 24 bytes: file type (1), flags (2, at 2), rights (8 at 8, 8 at 16). Rights are all
//! granted: what a descriptor cannot do, it refuses when asked. `fd_prestat_get` writes 8: tag 0 (a directory),
//! and the length of its name (4, at 4).

use std::io::{Seek, SeekFrom};

use lunatic_jit::{HostCall, Linker};

use crate::host::Guest;
use crate::host::memory::GuestMemory;
use crate::process::ProcessData;

use super::errno::Errno;
use super::stat::{CHARACTER_DEVICE, DIRECTORY, REGULAR_FILE};
use super::table::Fd;
use super::{MODULE, Result, answer, blocking, suspend};

/// Descriptor flags.
pub(super) const APPEND: u16 = 1;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func(MODULE, "fd_close", |guest: &mut Guest<'_>, fd: u32| {
        answer(guest, |_, data| data.wasi.close(data.process.config(), fd))
    });
    linker.func(MODULE, "fd_renumber", |guest: &mut Guest<'_>, from: u32, to: u32| {
        answer(guest, |_, data| data.wasi.renumber(data.process.config(), from, to))
    });
    linker.func(MODULE, "fd_fdstat_get", |guest: &mut Guest<'_>, fd: u32, result: u32| {
        answer(guest, |memory, data| fdstat(memory, data, fd, result))
    });
    linker.func(MODULE, "fd_fdstat_set_flags", |guest: &mut Guest<'_>, fd: u32, flags: u32| {
        answer(guest, |_, data| set_flags(data, fd, flags))
    });
    linker.func(MODULE, "fd_prestat_get", |guest: &mut Guest<'_>, fd: u32, result: u32| {
        answer(guest, |memory, data| {
            let name = preopen(data, fd)?;
            memory.write_u32(result, 0)?;
            Ok(memory.write_u32(result.wrapping_add(4), name.len() as u32)?)
        })
    });
    linker.func(MODULE, "fd_prestat_dir_name", |guest: &mut Guest<'_>, fd: u32, path: u32, length: u32| {
        answer(guest, |memory, data| {
            let name = preopen(data, fd)?;
            if name.len() > length as usize {
                return Err(Errno::NAMETOOLONG);
            }
            Ok(memory.write(path, name.as_bytes())?)
        })
    });
    linker.func(
        MODULE,
        "fd_seek",
        |guest: &mut Guest<'_>, fd: u32, offset: i64, whence: u32, result: u32| {
            suspend(guest, |memory, data| seek(memory, data, fd, (offset, whence), result))
        },
    );
    linker.func(MODULE, "fd_tell", |guest: &mut Guest<'_>, fd: u32, result: u32| {
        suspend(guest, |memory, data| seek(memory, data, fd, (0, WHENCE_CURRENT), result))
    });
    for name in ["fd_sync", "fd_datasync"] {
        linker.func(MODULE, name, |guest: &mut Guest<'_>, fd: u32| suspend(guest, |_, data| sync(data, fd)));
    }
}

const WHENCE_START: u32 = 0;
const WHENCE_CURRENT: u32 = 1;
const WHENCE_END: u32 = 2;

fn fdstat(memory: &mut GuestMemory<'_>, data: &mut ProcessData, fd: u32, result: u32) -> Result<()> {
    let kind = match data.wasi.get(data.process.config(), fd)? {
        Fd::Stdin | Fd::Stdout | Fd::Stderr => CHARACTER_DEVICE,
        Fd::Dir { .. } => DIRECTORY,
        Fd::File(_) => REGULAR_FILE,
    };
    let mut bytes = [0; 24];
    bytes[0] = kind;
    bytes[8..].fill(0xff);
    if kind == CHARACTER_DEVICE {
        // A guest takes a stream that may seek or tell for a file.
        bytes[8] &= !(RIGHT_SEEK | RIGHT_TELL);
    }
    Ok(memory.write(result, &bytes)?)
}

/// Rights, as far as they fit the first byte.
const RIGHT_SEEK: u8 = 1 << 2;
const RIGHT_TELL: u8 = 1 << 5;

/// The standard streams' flags are shared with other programs; a file's are set when it is opened.
fn set_flags(data: &mut ProcessData, fd: u32, flags: u32) -> Result<()> {
    data.wasi.get(data.process.config(), fd)?;
    if flags == 0 { Ok(()) } else { Err(Errno::NOTSUP) }
}

fn preopen(data: &mut ProcessData, fd: u32) -> Result<String> {
    match data.wasi.get(data.process.config(), fd)? {
        Fd::Dir { preopen: Some(name), .. } => Ok(name),
        _ => Err(Errno::BADF),
    }
}

fn seek(
    memory: &GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    (offset, whence): (i64, u32),
    result: u32,
) -> Result<HostCall<()>> {
    memory.check(result, 8)?;
    let file = data.wasi.file(data.process.config(), fd)?;
    let to = match whence {
        WHENCE_START => SeekFrom::Start(offset as u64),
        WHENCE_CURRENT => SeekFrom::Current(offset),
        WHENCE_END => SeekFrom::End(offset),
        _ => return Err(Errno::INVAL),
    };
    blocking(data, move || (&*file).seek(to), move |memory, _, at| Ok(memory.write_u64(result, at)?))
}

fn sync(data: &mut ProcessData, fd: u32) -> Result<HostCall<()>> {
    let file = data.wasi.file(data.process.config(), fd)?;
    blocking(data, move || file.sync_all(), |_, _, ()| Ok(()))
}
