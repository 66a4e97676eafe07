//! Functions that TCP and TLS streams share: reading, writing, and their timeouts.

use std::io::{self, IoSlice};
use std::sync::Arc;

use lunatic_jit::HostCall;
use smallvec::SmallVec;

use crate::Guest;
use crate::HasSockets;
use crate::declare::{CALL, Host, LOOK, SYSTEM_CALL, func};
use crate::memory::GuestMemory;
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{Source, Stream, Timeouts, TryIo};

use super::{Kind, MODULE, Operation, begin, enter, too_many};

/// Buffers of one write. Of more, only the first are written, and the guest gets the number of bytes.
const MAX_BUFFERS: u32 = 1024;

/// Bytes of one read or write, likewise.
const MAX_BYTES: u32 = 1 << 20;

/// A kind of stream that processes refer to by number.
pub(super) trait Known: Stream + Sized {
    const KIND: Kind<Self>;

    /// Returns the stream with this number.
    fn get(data: &mut ProcessData, id: u64) -> Result<&Arc<Self>, Fault> {
        (Self::KIND.table)(data.sockets()).get(Self::KIND.name, id)
    }
}

/// Adds a stream. Returns its number.
pub(super) fn enter_stream<S: Known>(data: &mut ProcessData, stream: Arc<S>) -> io::Result<u64> {
    let max = data.process.config().max_resources;
    stream.source().count(data.account()).map_err(too_many)?;
    enter((S::KIND.table)(data.sockets()), max, S::KIND.name, stream)
}

/// Declares the functions of a kind of stream. `prefix` is the prefix of their names, and `of_timeouts` what Lunatic
/// put into the names about timeouts.
pub(super) fn register<S: Known>(host: &mut Host, prefix: &str, of_timeouts: &str) {
    func!(host, MODULE, &format!("drop_{prefix}_stream"), CALL, |guest: &mut Guest<'_>, id: u64| {
        (S::KIND.table)(guest.data_mut().sockets()).remove(S::KIND.name, id).map(drop)
    });
    func!(host, MODULE, &format!("clone_{prefix}_stream"), CALL, clone::<S>);
    func!(host, MODULE, &format!("{prefix}_read"), SYSTEM_CALL.bytes(1).place(3, 8), read::<S>);
    func!(
        host,
        MODULE,
        &format!("{prefix}_write_vectored"),
        SYSTEM_CALL.array(1, 8, u32::MAX, "").place(3, 8),
        write::<S>
    );
    func!(host, MODULE, &format!("{prefix}_flush"), SYSTEM_CALL.place(1, 8), flush::<S>);
    timeout::<S>(host, &format!("{of_timeouts}read_timeout"), |timeouts| &timeouts.read);
    timeout::<S>(host, &format!("{of_timeouts}write_timeout"), |timeouts| &timeouts.write);
}

/// Declares the functions that set and read a timeout. It belongs to the stream, so clones share it.
pub(super) fn timeout<S: Known>(host: &mut Host, name: &str, which: fn(&Timeouts) -> &lunatic_net::Timeout) {
    func!(
        host,
        MODULE,
        &format!("set_{name}"),
        LOOK,
        move |guest: &mut Guest<'_>, id: u64, milliseconds: u64| {
            S::get(guest.data_mut(), id).map(|stream| which(stream.timeouts()).set(milliseconds))
        }
    );
    func!(host, MODULE, &format!("get_{name}"), LOOK, move |guest: &mut Guest<'_>, id: u64| {
        S::get(guest.data_mut(), id).map(|stream| which(stream.timeouts()).get())
    });
}

/// Creates another number for a stream.
fn clone<S: Known>(guest: &mut Guest<'_>, id: u64) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let stream = S::get(data, id)?.clone();
    let max = data.process.config().max_resources;
    (S::KIND.table)(data.sockets()).add_or_trap(max, S::KIND.name, stream)
}

/// Reads what is there. If nothing is, waits as long as the stream's read timeout permits. Writes the number of
/// bytes; 0 is the end.
fn read<S: Known>(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let stream = S::get(guest.data_mut(), id)?.clone();
    begin(guest, Read { stream, buffer, length: length.min(MAX_BYTES), all: length, place })
}

struct Read<S> {
    stream: Arc<S>,
    buffer: u32,
    length: u32,
    /// The length of the guest's buffer.
    all: u32,
    place: u32,
}

impl<S: Known> Operation for Read<S> {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        _: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        memory.check(self.buffer, self.all)?;
        let buffer = memory.bytes_mut(self.buffer, self.length)?;
        if buffer.is_empty() {
            return Ok(Ok(TryIo::Done(0)));
        }
        Ok(self.stream.read(buffer).map(counted))
    }

    fn source(&self) -> &Arc<Source> {
        self.stream.source()
    }

    fn needs(&self, memory: &GuestMemory<'_>) -> [usize; 2] {
        let buffer = memory.bytes(self.buffer, 0).map_or(0, |buffer| buffer.as_ptr().addr());
        [Arc::as_ptr(&self.stream).addr(), buffer]
    }

    fn timeout_ms(&self) -> u64 {
        self.stream.timeouts().read.get().min(self.stream.limit_ms())
    }

    fn place(&self) -> u32 {
        self.place
    }
}

/// Writes as much as possible from an array of pointers and lengths, 8 bytes each. Waits if nothing can be written.
/// Writes the number of bytes.
fn write<S: Known>(
    guest: &mut Guest<'_>,
    id: u64,
    buffers: u32,
    count: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let stream = S::get(guest.data_mut(), id)?.clone();
    begin(guest, Write { stream, buffers, count, accepted: None, place })
}

struct Write<S> {
    stream: Arc<S>,
    buffers: u32,
    count: u32,
    /// Bytes that the stream has accepted and perhaps not sent yet.
    accepted: Option<u64>,
    place: u32,
}

impl<S: Known> Operation for Write<S> {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        _: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        let accepted = match self.accepted {
            Some(accepted) => accepted,
            None => {
                let slices = gather(memory, self.buffers, self.count)?;
                if slices.is_empty() {
                    return Ok(Ok(TryIo::Done(0)));
                }
                match self.stream.write(&slices).map(counted) {
                    Ok(TryIo::Done(accepted)) => *self.accepted.insert(accepted),
                    other => return Ok(other),
                }
            }
        };
        Ok(self.stream.flush().map(|attempt| match attempt {
            TryIo::Done(()) => TryIo::Done(accepted),
            TryIo::Blocked(direction) => TryIo::Blocked(direction),
        }))
    }

    fn source(&self) -> &Arc<Source> {
        self.stream.source()
    }

    fn timeout_ms(&self) -> u64 {
        self.stream.timeouts().write.get().min(self.stream.limit_ms())
    }

    fn at_timeout(&self) -> Option<u64> {
        self.accepted
    }

    fn place(&self) -> u32 {
        self.place
    }
}

/// Returns the guest's buffers that are not empty, checked, up to the limits of one write.
fn gather<'a>(
    memory: &'a GuestMemory<'_>,
    buffers: u32,
    count: u32,
) -> Result<SmallVec<[IoSlice<'a>; 8]>, Fault> {
    memory.array(buffers, count, 8)?;
    let mut left = MAX_BYTES;
    let mut slices = SmallVec::new();
    for index in 0..count.min(MAX_BUFFERS) {
        let at = buffers + 8 * index;
        let (pointer, length) = (memory.read_u32(at)?, memory.read_u32(at + 4)?);
        memory.check(pointer, length)?;
        let length = length.min(left);
        left -= length;
        if length > 0 {
            slices.push(IoSlice::new(memory.bytes(pointer, length)?));
        }
    }
    Ok(slices)
}

/// Sends bytes that were accepted and not sent yet. Writes 0.
fn flush<S: Known>(guest: &mut Guest<'_>, id: u64, place: u32) -> Result<HostCall<u32>, Fault> {
    let stream = S::get(guest.data_mut(), id)?.clone();
    begin(guest, Flush { stream, place })
}

struct Flush<S> {
    stream: Arc<S>,
    place: u32,
}

impl<S: Known> Operation for Flush<S> {
    fn attempt(
        &mut self,
        _: &mut GuestMemory<'_>,
        _: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        Ok(self.stream.flush().map(|attempt| match attempt {
            TryIo::Done(()) => TryIo::Done(0),
            TryIo::Blocked(direction) => TryIo::Blocked(direction),
        }))
    }

    fn source(&self) -> &Arc<Source> {
        self.stream.source()
    }

    fn place(&self) -> u32 {
        self.place
    }
}

/// Converts a number of bytes to the form in which it is written.
pub(super) fn counted(attempt: TryIo<usize>) -> TryIo<u64> {
    match attempt {
        TryIo::Done(count) => TryIo::Done(count as u64),
        TryIo::Blocked(direction) => TryIo::Blocked(direction),
    }
}
