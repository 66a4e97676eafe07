//! Reading and writing: `fd_read`, `fd_write`, `fd_pread`, `fd_pwrite`.
//!
//! Buffers are passed as an array of pointers and lengths, 8 bytes each.

use std::io::{self, Read, Write};
use std::sync::Arc;

use cap_std::fs::FileExt;
use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::process::{Finish, ProcessData, Reason, Signal};
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_host::{Guest, charge};
use lunatic_net::{Pipe, TryIo};
use lunatic_stdio::{Accepted, Output, Pending};

use super::errno::Errno;
use super::poll::{Standard, watch};
use super::rights::Rights;
use super::table::{DSYNC, Fd, FdEntry, NONBLOCK, OpenFile, RSYNC, SYNC};
use super::{Result, Version, finished, job, sock, suspend, until_ready};

/// Buffers in one call.
const MAX_BUFFERS: u32 = 1024;

/// Bytes of the pointer and length of a buffer.
const BUFFER: u64 = 8;

/// Bytes that are moved at a time: in calls that move more of a file, and in one call for a pipe or a socket.
/// Programs that ask for more of the latter get the number of bytes and call again.
const MAX_BYTES: usize = 1 << 20;

/// Bytes of a file that one call moves, as in Linux.
const MAX_FILE_BYTES: usize = 0x7fff_f000;

/// The position in a file: where the last call ended, or an explicit one that changes nothing.
#[derive(Clone, Copy)]
enum Place {
    Cursor,
    At(u64),
}

/// The buffers of a guest, checked, up to the limits of one call.
pub(super) type Ranges = Vec<(u32, u32)>;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    func!(host, module, "fd_write", LOOK, |guest: &mut Guest<'_>,
                                           fd: u32,
                                           buffers: u32,
                                           count: u32,
                                           result: u32| {
        write(guest, fd, (buffers, count), Place::Cursor, result)
    });
    func!(host, module, "fd_pwrite", LOOK, |guest: &mut Guest<'_>,
                                            fd: u32,
                                            buffers: u32,
                                            count: u32,
                                            offset: u64,
                                            result: u32| {
        write(guest, fd, (buffers, count), Place::At(offset), result)
    });
    func!(host, module, "fd_read", LOOK, |guest: &mut Guest<'_>,
                                          fd: u32,
                                          buffers: u32,
                                          count: u32,
                                          result: u32| {
        read(guest, fd, (buffers, count), Place::Cursor, result)
    });
    func!(host, module, "fd_pread", LOOK, |guest: &mut Guest<'_>,
                                           fd: u32,
                                           buffers: u32,
                                           count: u32,
                                           offset: u64,
                                           result: u32| {
        read(guest, fd, (buffers, count), Place::At(offset), result)
    });
}

impl Place {
    /// Returns the rights for a read or write at this position.
    fn check(self, entry: &FdEntry, direction: Rights) -> Result<()> {
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
                // The system's positions have a sign.
                i64::try_from(offset).map(drop).map_err(|_| Errno::INVAL)
            }
        }
    }
}

fn write(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    let mut bytes = 0;
    let called = suspend(guest, |memory, data| {
        let entry = FdTable::of(data).entry(fd)?;
        place.check(entry, Rights::FD_WRITE)?;
        let (fd, flags) = (entry.fd.clone(), entry.flags);
        memory.check(result, 4)?;
        let is_whole = matches!(fd, Fd::File(_) | Fd::Stdout | Fd::Stderr);
        let limit = if is_whole { MAX_FILE_BYTES } else { MAX_BYTES };
        let ranges = limited_ranges(memory, buffers, limit)?;
        bytes = total(&ranges) as u64;
        let whole = Whole { ranges, flags, result };
        match fd {
            Fd::File(file) => return write_file(memory, data, file, place, whole, 0),
            Fd::Stdout => return write_stream(memory, data, Standard::Output, whole, 0),
            Fd::Stderr => return write_stream(memory, data, Standard::Error, whole, 0),
            _ => {}
        }
        let content = gather(memory, &whole.ranges)?;
        match fd {
            Fd::Pipe(pipe) => write_pipe(memory, data, pipe, content, flags, result),
            Fd::Connection(stream) => sock::send(memory, data, stream, content, flags, result),
            Fd::Redirected(to) => to.write(memory, data, content, flags, result),
            _ => Err(Errno::BADF),
        }
    });
    charge(guest, bytes + listed(buffers));
    called
}

/// A read or write that moves all requested bytes, piece by piece. A process can be killed between two pieces.
struct Whole {
    ranges: Ranges,
    flags: u16,
    /// The place for the number of bytes.
    result: u32,
}

impl Whole {
    /// Ends the call with the number of bytes that were moved. An error is returned only if nothing was moved before
    /// it.
    fn finish(
        &self,
        memory: &mut GuestMemory<'_>,
        done: usize,
        error: Option<io::Error>,
    ) -> Result<HostCall<()>> {
        if let (Some(error), 0) = (error, done) {
            return Err(error.into());
        }
        memory.write_u32(self.result, done as u32)?;
        Ok(HostCall::Return(()))
    }
}

/// Writes the buffers to a standard stream, without the first `done` bytes. If that has to wait, the thread of the
/// stream writes, and the process waits for it.
fn write_stream(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    to: Standard,
    whole: Whole,
    mut done: usize,
) -> Result<HostCall<()>> {
    let all = total(&whole.ranges);
    loop {
        let content = if all <= MAX_BYTES && done == 0 {
            gather(memory, &whole.ranges)?
        } else {
            gather(memory, &next_ranges(&whole.ranges, done))?
        };
        let asked = content.len();
        match output_of(data, to).write(content, whole.flags & NONBLOCK == 0) {
            Accepted::Taken(count) => {
                done += count;
                if count < asked || done == all {
                    return whole.finish(memory, done, None);
                }
            }
            Accepted::Failed(error) => return whole.finish(memory, done, Some(error)),
            Accepted::Full => return whole.finish(memory, done, Some(io::ErrorKind::WouldBlock.into())),
            Accepted::Pending(pending) => {
                return Ok(wait_until_written(data, pending, move |memory, data, outcome| match outcome {
                    Ok(count) if count == asked && done + count < all => {
                        write_stream(memory, data, to, whole, done + count)
                    }
                    Ok(count) => whole.finish(memory, done + count, None),
                    Err(error) => whole.finish(memory, done, Some(error)),
                }));
            }
        }
    }
}

/// Returns standard output or standard error.
pub(super) fn output_of(data: &ProcessData, stream: Standard) -> &Output {
    let node = data.node();
    if stream == Standard::Error { &node.stderr } else { &node.stdout }
}

/// Continues when a standard stream has written everything that it was given before.
pub(super) fn when_drained(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    stream: Standard,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData) -> Result<HostCall<()>> + Send + 'static,
) -> Result<HostCall<()>> {
    match output_of(data, stream).drain() {
        Accepted::Taken(_) | Accepted::Full => finish(memory, data),
        Accepted::Failed(error) => Err(error.into()),
        Accepted::Pending(pending) => Ok(wait_until_written(data, pending, move |memory, data, outcome| {
            outcome?;
            finish(memory, data)
        })),
    }
}

/// Waits until the thread of the stream has written. The process owns the bytes: if it ends, the thread finds nothing
/// to write.
fn wait_until_written(
    data: &mut ProcessData,
    pending: Arc<Pending>,
    finish: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, io::Result<usize>) -> Result<HostCall<()>>
    + Send
    + 'static,
) -> HostCall<()> {
    let waited = pending.clone();
    let again: Finish = Box::new(move |memory, data| {
        finished(match pending.take() {
            Some(outcome) => finish(&mut GuestMemory(memory), data, outcome),
            None => Ok(wait_until_written(data, pending, finish)),
        })
    });
    let wait = data.wait_for(Reason::Readiness(again), None);
    let (node, id) = (data.node().clone(), data.id());
    // A process that has ended needs no notification.
    waited.when_done(Box::new(move || drop(node.send(id, Signal::Ready { wait }))));
    HostCall::Suspend
}

/// Waits until a standard stream may be ready. The process owns what `again` holds and drops it when it ends; the
/// stream keeps only the identifier of the process.
fn wait_for_stream(data: &mut ProcessData, stream: Standard, again: Finish) -> HostCall<()> {
    let wait = data.wait_for(Reason::Readiness(again), None);
    watch(data, stream, Some(wait));
    HostCall::Suspend
}

/// Writes the buffers to a file, without the first `done` bytes.
fn write_file(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    file: Arc<OpenFile>,
    place: Place,
    whole: Whole,
    done: usize,
) -> Result<HostCall<()>> {
    let content = gather(memory, &next_ranges(&whole.ranges, done))?;
    let (asked, all, flags) = (content.len(), total(&whole.ranges), whole.flags);
    let is_last = done + asked == all;
    let work = move || {
        let written = match place {
            Place::Cursor => (&**file).write(&content),
            Place::At(offset) => file.write_at(&content, offset + done as u64),
        };
        // The flags mean the same whether they were set at opening or later: the data is on disk when the guest
        // continues.
        if is_last && written.is_ok() {
            if flags & (SYNC | RSYNC) != 0 {
                file.sync_all()?;
            } else if flags & DSYNC != 0 {
                file.sync_data()?;
            }
        }
        Ok((written?, file))
    };
    job(data, work, move |memory, data, outcome| match outcome {
        Ok((count, file)) if count == asked && !is_last => {
            write_file(memory, data, file, place, whole, done + count)
        }
        Ok((count, _)) => whole.finish(memory, done + count, None),
        Err(error) => whole.finish(memory, done, Some(error)),
    })
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
        TryIo::Done(count) => {
            memory.write_u32(result, count as u32)?;
            Ok(TryIo::Done(()))
        }
        TryIo::Blocked(direction) => Ok(TryIo::Blocked(direction)),
    })
}

fn read(guest: &mut Guest<'_>, fd: u32, buffers: (u32, u32), place: Place, result: u32) -> HostCall<u32> {
    charge(guest, listed(buffers));
    suspend(guest, |memory, data| {
        let entry = FdTable::of(data).entry(fd)?;
        place.check(entry, Rights::FD_READ)?;
        let (fd, flags) = (entry.fd.clone(), entry.flags);
        memory.check(result, 4)?;
        if let Fd::File(file) = fd {
            let ranges = limited_ranges(memory, buffers, MAX_FILE_BYTES)?;
            return read_file(data, file, place, Whole { ranges, flags, result }, 0);
        }
        let ranges = ranges(memory, buffers)?;
        match fd {
            Fd::Stdin => read_stdin(memory, data, ranges, flags, result),
            Fd::Pipe(pipe) => read_pipe(memory, data, pipe, ranges, flags, result),
            Fd::Connection(stream) => {
                let how = sock::Receive { peek: false, all: false, told: None };
                sock::receive(memory, data, stream, ranges, how, flags, result)
            }
            // A redirected file is empty behind what the process has written, and seeking back finds nothing either.
            Fd::Redirected(_) => scatter(memory, &ranges, &[], result).map(HostCall::Return),
            _ => Err(Errno::BADF),
        }
    })
}

/// Reads from a file into the buffers, without the first `done` bytes.
fn read_file(
    data: &mut ProcessData,
    file: Arc<OpenFile>,
    place: Place,
    whole: Whole,
    done: usize,
) -> Result<HostCall<()>> {
    let next = next_ranges(&whole.ranges, done);
    let (asked, all) = (total(&next), total(&whole.ranges));
    let work = move || {
        let mut bytes = vec![0; asked];
        let count = match place {
            Place::Cursor => (&**file).read(&mut bytes)?,
            Place::At(offset) => file.read_at(&mut bytes, offset + done as u64)?,
        };
        bytes.truncate(count);
        Ok((bytes, file))
    };
    job(data, work, move |memory, data, outcome: io::Result<_>| match outcome {
        Ok((bytes, file)) => {
            fill(memory, &next, &bytes)?;
            let done = done + bytes.len();
            if bytes.len() == asked && done < all {
                return read_file(data, file, place, whole, done);
            }
            whole.finish(memory, done, None)
        }
        Err(error) => whole.finish(memory, done, Some(error)),
    })
}

/// Reads what is there. If nothing is, waits and tries again.
fn read_stdin(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    ranges: Ranges,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let mut bytes = vec![0; total(&ranges)];
    if let Some(taken) = data.node().stdin.take(&mut bytes) {
        scatter(memory, &ranges, &bytes[..taken?], result)?;
        return Ok(HostCall::Return(()));
    }
    if flags & NONBLOCK != 0 {
        // Standard input is not read ahead. Now a process wants something from it.
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
        TryIo::Done(count) => {
            scatter(memory, &ranges, &bytes[..count], result)?;
            Ok(TryIo::Done(()))
        }
        TryIo::Blocked(direction) => Ok(TryIo::Blocked(direction)),
    })
}

/// Returns the guest's buffers, checked, up to the limits of one call for a pipe or a socket.
pub(super) fn ranges(memory: &GuestMemory<'_>, buffers: (u32, u32)) -> Result<Ranges> {
    limited_ranges(memory, buffers, MAX_BYTES)
}

/// Returns the guest's buffers, checked, up to `limit` bytes.
fn limited_ranges(memory: &GuestMemory<'_>, (buffers, count): (u32, u32), limit: usize) -> Result<Ranges> {
    if count > MAX_BUFFERS {
        return Err(Errno::INVAL);
    }
    memory.array(buffers, count, 8)?;
    let mut left = limit as u32;
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

/// Returns the buffers without the first `done` bytes, up to the limit of one piece.
fn next_ranges(ranges: &[(u32, u32)], done: usize) -> Ranges {
    let (mut skipped, mut left) = (done as u32, MAX_BYTES as u32);
    let mut next = Ranges::new();
    for &(pointer, length) in ranges {
        let skip = skipped.min(length);
        skipped -= skip;
        let now = (length - skip).min(left);
        left -= now;
        if now > 0 {
            next.push((pointer + skip, now));
        }
    }
    next
}

/// Returns the bytes of the array of buffers, up to the limit of one call.
pub(super) fn listed((_, count): (u32, u32)) -> u64 {
    BUFFER * u64::from(count.min(MAX_BUFFERS))
}

/// Returns the number of bytes in all buffers.
pub(super) fn total(ranges: &[(u32, u32)]) -> usize {
    ranges.iter().map(|(_, length)| *length as usize).sum()
}

/// Returns the content of the buffers.
pub(super) fn gather(memory: &GuestMemory<'_>, ranges: &[(u32, u32)]) -> Result<Vec<u8>> {
    let mut content = Vec::with_capacity(total(ranges));
    for (pointer, length) in ranges {
        content.extend_from_slice(memory.bytes(*pointer, *length)?);
    }
    Ok(content)
}

/// Fills the buffers one after the other.
fn fill(memory: &mut GuestMemory<'_>, ranges: &[(u32, u32)], bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    for (pointer, length) in ranges {
        let (now, later) = rest.split_at(rest.len().min(*length as usize));
        memory.write(*pointer, now)?;
        rest = later;
    }
    Ok(())
}

/// Fills the buffers one after the other, and writes the number of bytes.
pub(super) fn scatter(
    memory: &mut GuestMemory<'_>,
    ranges: &[(u32, u32)],
    bytes: &[u8],
    result: u32,
) -> Result<()> {
    fill(memory, ranges, bytes)?;
    memory.write_u32(result, bytes.len() as u32)?;
    Ok(())
}
