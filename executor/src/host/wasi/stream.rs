//! Reading and writing: `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`.
//!
//! Buffers come as an array of pointers and lengths, 8 bytes each.

use std::io::{Read, Write};
use std::sync::Arc;

use cap_std::fs::{File, FileExt};
use lunatic_jit::HostCall;

use crate::host::declare::{Host, LOOK, func};
use crate::host::memory::GuestMemory;
use crate::host::{Guest, charge};
use crate::net::{Attempt, Pipe};
use crate::process::{Finish, ProcessData, Reason};
use crate::stdio::Accepted;

use super::errno::Errno;
use super::poll::{Standard, watch};
use super::rights::Rights;
use super::table::{DSYNC, Entry, Fd, NONBLOCK, RSYNC, SYNC};
use super::{Result, Version, blocking, finished, sock, suspend, until_ready};

/// Buffers in one call.
const MAX_BUFFERS: u32 = 1024;

/// Bytes of a buffer's pointer and length.
const BUFFER: u64 = 8;

/// Bytes moved by one call; programs that ask for more are told how much it was and come again.
const MAX_BYTES: usize = 1 << 20;

/// Where a file is read or written: where the last call ended, or at a position that changes nothing.
#[derive(Clone, Copy)]
enum Place {
    Cursor,
    At(u64),
}

/// A guest's buffers, checked, as far as one call goes.
pub(super) type Ranges = Vec<(u32, u32)>;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    func!(host, module, "fd_write", LOOK, |guest: &mut Guest<'_>,
                                           fd: u32,
                                           buffers: u32,
                                           count: u32,
                                           result: u32| {
        write(guest, fd, (buffers, count), Place::Cursor, result)
    },);
    func!(host, module, "fd_pwrite", LOOK, |guest: &mut Guest<'_>,
                                            fd: u32,
                                            buffers: u32,
                                            count: u32,
                                            offset: u64,
                                            result: u32| {
        write(guest, fd, (buffers, count), Place::At(offset), result)
    },);
    func!(host, module, "fd_read", LOOK, |guest: &mut Guest<'_>,
                                          fd: u32,
                                          buffers: u32,
                                          count: u32,
                                          result: u32| {
        read(guest, fd, (buffers, count), Place::Cursor, result)
    },);
    func!(host, module, "fd_pread", LOOK, |guest: &mut Guest<'_>,
                                           fd: u32,
                                           buffers: u32,
                                           count: u32,
                                           offset: u64,
                                           result: u32| {
        read(guest, fd, (buffers, count), Place::At(offset), result)
    },);
}

impl Place {
    /// The rights that it takes to read or write there.
    fn check(self, entry: &Entry, direction: Rights) -> Result<()> {
        match (&entry.fd, self) {
            (Fd::Dir(_), _) => return Err(Errno::ISDIR),
            (Fd::File(_), _) | (_, Place::Cursor) => {}
            (Fd::Redirected(to), _) if to.stream.is_none() => {}
            (_, Place::At(_)) => return Err(Errno::SPIPE),
        }
        entry.rights.base.check(direction)?;
        match self {
            Place::Cursor => Ok(()),
            Place::At(offset) => {
                entry.rights.base.check(Rights::FD_SEEK)?;
                // The machine's positions have a sign.
                i64::try_from(offset).map(drop).map_err(|_| Errno::INVAL)
            }
        }
    }
}

fn write(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    let mut bytes = 0;
    let called = suspend(guest, |memory, data| {
        let entry = data.wasi.entry(data.process.config(), fd)?;
        place.check(entry, Rights::FD_WRITE)?;
        let (fd, flags) = (entry.fd.clone(), entry.flags);
        memory.check(result, 4)?;
        let content = gather(memory, &ranges(memory, buffers)?)?;
        bytes = content.len() as u64;
        match fd {
            Fd::File(file) => write_file(data, file, content, (place, flags), result),
            Fd::Stdout => write_stream(memory, data, Standard::Output, content, flags, result),
            Fd::Stderr => write_stream(memory, data, Standard::Error, content, flags, result),
            Fd::Pipe(pipe) => write_pipe(memory, data, pipe, content, flags, result),
            Fd::Connection(stream) => sock::send(memory, data, stream, content, flags, result),
            Fd::Redirected(to) => to.write(memory, data, content, flags, result),
            Fd::Stdin | Fd::Dir(_) | Fd::Listener(_) => Err(Errno::BADF),
        }
    });
    charge(guest, bytes + listed(buffers));
    called
}

/// Writes to a standard stream; when that is far behind, waits until it has caught up and tries again.
fn write_stream(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    to: Standard,
    content: Vec<u8>,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let node = data.node();
    let output = if to == Standard::Output { &node.stdout } else { &node.stderr };
    match output.write(&content) {
        Accepted::Taken => {
            memory.write_u32(result, content.len() as u32)?;
            Ok(HostCall::Return(()))
        }
        Accepted::Broken => Err(Errno::PIPE),
        Accepted::Full if flags & NONBLOCK != 0 => Err(Errno::AGAIN),
        Accepted::Full => {
            let again: Finish = Box::new(move |memory, data| {
                finished(write_stream(&mut GuestMemory(memory), data, to, content, flags, result))
            });
            Ok(wait_for_stream(data, to, again))
        }
    }
}

/// Waits until a standard stream may be ready. What `again` holds is the process's, and gone with it: the stream knows only
/// whom to tell.
fn wait_for_stream(data: &mut ProcessData, stream: Standard, again: Finish) -> HostCall<()> {
    let wait = data.wait_for(Reason::Readiness(again), None);
    watch(data, stream, Some(wait));
    HostCall::Suspend
}

fn write_file(
    data: &mut ProcessData,
    file: Arc<File>,
    content: Vec<u8>,
    (place, flags): (Place, u16),
    result: u32,
) -> Result<HostCall<()>> {
    let job = move || {
        let written = match place {
            Place::Cursor => (&*file).write(&content),
            Place::At(offset) => file.write_at(&content, offset),
        }?;
        // Set when it was opened or later, they mean the same: it is on the disk when the guest goes on.
        if flags & (SYNC | RSYNC) != 0 {
            file.sync_all()?;
        } else if flags & DSYNC != 0 {
            file.sync_data()?;
        }
        Ok(written)
    };
    blocking(data, job, move |memory, _, written| Ok(memory.write_u32(result, written as u32)?))
}

fn write_pipe(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    pipe: Arc<Pipe>,
    content: Vec<u8>,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let source = pipe.source().clone();
    until_ready(memory, data, source, flags, move |memory, _| match pipe.write(&content)? {
        Attempt::Done(count) => {
            memory.write_u32(result, count as u32)?;
            Ok(Attempt::Done(()))
        }
        Attempt::Blocked(direction) => Ok(Attempt::Blocked(direction)),
    })
}

fn read(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    charge(guest, listed(buffers));
    suspend(guest, |memory, data| {
        let entry = data.wasi.entry(data.process.config(), fd)?;
        place.check(entry, Rights::FD_READ)?;
        let (fd, flags) = (entry.fd.clone(), entry.flags);
        memory.check(result, 4)?;
        let ranges = ranges(memory, buffers)?;
        match fd {
            Fd::File(file) => read_file(data, file, ranges, place, result),
            Fd::Stdin => read_stdin(memory, data, ranges, flags, result),
            Fd::Pipe(pipe) => read_pipe(memory, data, pipe, ranges, flags, result),
            Fd::Connection(stream) => {
                let how = sock::Receive { peek: false, all: false, told: None };
                sock::receive(memory, data, stream, ranges, how, flags, result)
            }
            // It has nothing behind what the process has written, and who goes back to that finds nothing either.
            Fd::Redirected(_) => scatter(memory, &ranges, &[], result).map(HostCall::Return),
            Fd::Stdout | Fd::Stderr | Fd::Dir(_) | Fd::Listener(_) => Err(Errno::BADF),
        }
    })
}

fn read_file(
    data: &mut ProcessData,
    file: Arc<File>,
    ranges: Ranges,
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
    ranges: Ranges,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let mut bytes = vec![0; total(&ranges)];
    if let Some(count) = data.node().stdin.take(&mut bytes) {
        scatter(memory, &ranges, &bytes[..count], result)?;
        return Ok(HostCall::Return(()));
    }
    if flags & NONBLOCK != 0 {
        // Nobody reads ahead of who wants something: now someone does.
        watch(data, Standard::Input, None);
        return Err(Errno::AGAIN);
    }
    let again: Finish = Box::new(move |memory, data| {
        finished(read_stdin(&mut GuestMemory(memory), data, ranges, flags, result))
    });
    Ok(wait_for_stream(data, Standard::Input, again))
}

fn read_pipe(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    pipe: Arc<Pipe>,
    ranges: Ranges,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let source = pipe.source().clone();
    let mut bytes = vec![0; total(&ranges)];
    until_ready(memory, data, source, flags, move |memory, _| match pipe.read(&mut bytes)? {
        Attempt::Done(count) => {
            scatter(memory, &ranges, &bytes[..count], result)?;
            Ok(Attempt::Done(()))
        }
        Attempt::Blocked(direction) => Ok(Attempt::Blocked(direction)),
    })
}

/// The guest's buffers, checked, as far as one call goes.
pub(super) fn ranges(memory: &GuestMemory<'_>, (buffers, count): (u32, u32)) -> Result<Ranges> {
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

/// Bytes of the buffers' array, as far as one call goes.
pub(super) fn listed((_, count): (u32, u32)) -> u64 {
    BUFFER * u64::from(count.min(MAX_BUFFERS))
}

/// Bytes of all the buffers.
pub(super) fn total(ranges: &[(u32, u32)]) -> usize {
    ranges.iter().map(|(_, length)| *length as usize).sum()
}

/// What is in the buffers.
pub(super) fn gather(memory: &GuestMemory<'_>, ranges: &[(u32, u32)]) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(total(ranges));
    for (pointer, length) in ranges {
        content.extend_from_slice(memory.bytes(*pointer, *length)?);
    }
    Ok(content)
}

/// Fills the buffers, one after the other, and writes how many bytes it was.
pub(super) fn scatter(
    memory: &mut GuestMemory<'_>,
    ranges: &[(u32, u32)],
    bytes: &[u8],
    result: u32,
) -> Result<()> {
    let mut rest = bytes;
    for (pointer, length) in ranges {
        let (now, later) = rest.split_at(rest.len().min(*length as usize));
        memory.write(*pointer, now)?;
        rest = later;
    }
    memory.write_u32(result, bytes.len() as u32)?;
    Ok(())
}
