//! Reading and writing: `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`.
//!
//! Buffers come as an array of pointers and lengths, 8 bytes each.

use std::io::{Read, Write};
use std::sync::Arc;

use cap_std::fs::{File, FileExt};
use lunatic_jit::{HostCall, Linker};

use crate::host::memory::GuestMemory;
use crate::host::{Guest, charge};
use crate::process::{Finish, ProcessData};
use crate::stdio::Accepted;

use super::errno::Errno;
use super::table::Fd;
use super::{MODULE, Result, blocking, returned, suspend};

/// Buffers in one call.
const MAX_BUFFERS: u32 = 1024;

/// Bytes moved by one call; programs that ask for more are told how much it was and come again.
const MAX_BYTES: usize = 1 << 20;

/// Where a file is read or written: where the last call ended, or at a position that changes nothing.
#[derive(Clone, Copy)]
enum Place {
    Cursor,
    At(u64),
}

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func(
        MODULE,
        "fd_write",
        |guest: &mut Guest<'_>, fd: u32, buffers: u32, count: u32, result: u32| {
            write(guest, fd, (buffers, count), Place::Cursor, result)
        },
    );
    linker.func(
        MODULE,
        "fd_pwrite",
        |guest: &mut Guest<'_>, fd: u32, buffers: u32, count: u32, offset: u64, result: u32| {
            write(guest, fd, (buffers, count), Place::At(offset), result)
        },
    );
    linker.func(
        MODULE,
        "fd_read",
        |guest: &mut Guest<'_>, fd: u32, buffers: u32, count: u32, result: u32| {
            read(guest, fd, (buffers, count), Place::Cursor, result)
        },
    );
    linker.func(
        MODULE,
        "fd_pread",
        |guest: &mut Guest<'_>, fd: u32, buffers: u32, count: u32, offset: u64, result: u32| {
            read(guest, fd, (buffers, count), Place::At(offset), result)
        },
    );
}

fn write(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    let mut bytes = 0;
    let called = suspend(guest, |memory, data| {
        memory.check(result, 4)?;
        let content = gather(memory, &ranges(memory, buffers)?)?;
        bytes = content.len() as u64;
        match data.wasi.get(data.process.config(), fd)? {
            Fd::File(file) => write_file(data, file, content, place, result),
            Fd::Stdin => Err(Errno::BADF),
            Fd::Dir { .. } => Err(Errno::ISDIR),
            stream => {
                memory.write_u32(result, content.len() as u32)?;
                write_stream(data, &stream, content)
            }
        }
    });
    charge(guest, bytes);
    called
}

/// Writes to a standard stream; when that is far behind, waits until it has caught up.
fn write_stream(data: &mut ProcessData, stream: &Fd, content: Vec<u8>) -> Result<HostCall<()>> {
    let node = data.node().clone();
    let output = if matches!(stream, Fd::Stdout) { &node.stdout } else { &node.stderr };
    match output.write(content) {
        Accepted::Room => Ok(HostCall::Return(())),
        Accepted::Broken => Err(Errno::PIPE),
        Accepted::Full => {
            let complete = data.wait_for_completion();
            output.when_room(Box::new(move || complete(Box::new(|_, _| Ok(returned(0))))));
            Ok(HostCall::Suspend)
        }
    }
}

fn write_file(
    data: &mut ProcessData,
    file: Arc<File>,
    content: Vec<u8>,
    place: Place,
    result: u32,
) -> Result<HostCall<()>> {
    let job = move || match place {
        Place::Cursor => (&*file).write(&content),
        Place::At(offset) => file.write_at(&content, offset),
    };
    blocking(data, job, move |memory, _, written| Ok(memory.write_u32(result, written as u32)?))
}

fn read(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    suspend(guest, |memory, data| {
        memory.check(result, 4)?;
        let ranges = ranges(memory, buffers)?;
        match data.wasi.get(data.process.config(), fd)? {
            Fd::File(file) => read_file(data, file, ranges, place, result),
            Fd::Stdin => read_stdin(memory, data, ranges, result),
            Fd::Dir { .. } => Err(Errno::ISDIR),
            Fd::Stdout | Fd::Stderr => Err(Errno::BADF),
        }
    })
}

fn read_file(
    data: &mut ProcessData,
    file: Arc<File>,
    ranges: Vec<(u32, u32)>,
    place: Place,
    result: u32,
) -> Result<HostCall<()>> {
    let size = total(&ranges);
    let job = move || {
        let mut bytes = vec![0; size];
        let count = match place {
            Place::Cursor => (&*file).read(&mut bytes)?,
            Place::At(offset) => file.read_at(&mut bytes, offset)?,
        };
        bytes.truncate(count);
        Ok(bytes)
    };
    blocking(data, job, move |memory, _, bytes| scatter(memory, &ranges, &bytes, result))
}

/// Reads what is there; if nothing is, waits and tries again.
fn read_stdin(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    ranges: Vec<(u32, u32)>,
    result: u32,
) -> Result<HostCall<()>> {
    let mut bytes = vec![0; total(&ranges)];
    if let Some(count) = data.node().stdin.take(&mut bytes) {
        scatter(memory, &ranges, &bytes[..count], result)?;
        return Ok(HostCall::Return(()));
    }
    let node = data.node().clone();
    let complete = data.wait_for_completion();
    let again: Finish = Box::new(move |memory, data| {
        let read = read_stdin(&mut GuestMemory(memory), data, ranges, result);
        Ok(match read {
            Ok(HostCall::Suspend) => HostCall::Suspend,
            other => returned(Errno::of(other.map(drop))),
        })
    });
    node.stdin.when_ready(Box::new(move || complete(again)));
    Ok(HostCall::Suspend)
}

/// The guest's buffers, checked, as far as one call goes.
fn ranges(memory: &GuestMemory<'_>, (buffers, count): (u32, u32)) -> Result<Vec<(u32, u32)>> {
    if count > MAX_BUFFERS {
        return Err(Errno::INVAL);
    }
    memory.array(buffers, count, 8)?;
    let mut left = MAX_BYTES as u32;
    let mut ranges = Vec::with_capacity(count as usize);
    for index in 0..count {
        let at = buffers + 8 * index;
        let (pointer, length) = (memory.read_u32(at)?, memory.read_u32(at + 4)?);
        memory.check(pointer, length)?;
        let length = length.min(left);
        left -= length;
        ranges.push((pointer, length));
    }
    Ok(ranges)
}

fn total(ranges: &[(u32, u32)]) -> usize {
    ranges.iter().map(|(_, length)| *length as usize).sum()
}

fn gather(memory: &GuestMemory<'_>, ranges: &[(u32, u32)]) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(total(ranges));
    for (pointer, length) in ranges {
        content.extend_from_slice(memory.bytes(*pointer, *length)?);
    }
    Ok(content)
}

fn scatter(memory: &mut GuestMemory<'_>, ranges: &[(u32, u32)], bytes: &[u8], result: u32) -> Result<()> {
    let mut rest = bytes;
    for (pointer, length) in ranges {
        let (now, later) = rest.split_at(rest.len().min(*length as usize));
        memory.write(*pointer, now)?;
        rest = later;
    }
    memory.write_u32(result, bytes.len() as u32)?;
    Ok(())
}
