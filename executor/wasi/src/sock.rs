//! Sockets: `sock_accept`, `sock_recv`, `sock_send`, `sock_shutdown`.
//!
//! Preview 1 cannot create sockets. A process has the listeners that it was given, which follow its directories, and
//! the connections that it accepts. Both can be polled and closed, and connections can be read and written like any
//! descriptor. A listener does not block if the guest has read its flags, and blocks otherwise.

use std::net::Shutdown;
use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::table::FdTable;
use lunatic_core::ProcessData;
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_host::net;
use lunatic_host::{Guest, charge};
use lunatic_net::{Stream, TcpStream, TryIo};

use super::errno::Errno;
use super::fd::checked_flags;
use super::rights::{Granted, Rights};
use super::stream::{Ranges, gather, listed, ranges, scatter, total};
use super::table::{Fd, FdEntry, NONBLOCK, UNSEEN};
use super::{Result, Version, answer, suspend, until_ready};

/// Flags for receiving.
const PEEK: u32 = 1;
const WAIT_ALL: u32 = 1 << 1;

/// What is shut down.
const RECEIVING: u32 = 1;
const SENDING: u32 = 1 << 1;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    if version == Version::Preview1 {
        func!(
            host,
            module,
            "sock_accept",
            LOOK,
            |guest: &mut Guest<'_>, fd: u32, flags: u32, result: u32| {
                suspend(guest, |memory, data| accept(memory, data, fd, flags, result))
            }
        );
    }
    func!(host, module, "sock_recv", LOOK, sock_recv);
    func!(host, module, "sock_send", LOOK, sock_send);
    func!(host, module, "sock_shutdown", LOOK, |guest: &mut Guest<'_>, fd: u32, how: u32| {
        answer(guest, |_, data| {
            let stream = connection(data, fd, Rights::SOCK_SHUTDOWN)?.0;
            let how = match how {
                RECEIVING => Shutdown::Read,
                SENDING => Shutdown::Write,
                how if how == RECEIVING | SENDING => Shutdown::Both,
                _ => return Err(Errno::INVAL),
            };
            Ok(stream.shutdown(how)?)
        })
    });
}

/// Returns a connection with its flags.
fn connection(data: &mut ProcessData, fd: u32, needed: Rights) -> Result<(Arc<TcpStream>, u16)> {
    let entry = FdTable::of(data).entry(fd)?;
    match &entry.fd {
        Fd::Connection(stream) => {
            entry.rights.base.check(needed)?;
            Ok((stream.clone(), entry.flags))
        }
        Fd::Listener(_) => Err(Errno::NOTCONN),
        _ => Err(Errno::NOTSOCK),
    }
}

/// Accepts the next connection. Waits if there is none. `NONBLOCK` sets the flag of the new descriptor.
fn accept(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    fd: u32,
    flags: u32,
    result: u32,
) -> Result<HostCall<()>> {
    let entry = FdTable::of(data).entry(fd)?;
    let listener = match &entry.fd {
        Fd::Listener(listener) => listener.clone(),
        Fd::Connection(_) => return Err(Errno::INVAL),
        _ => return Err(Errno::NOTSOCK),
    };
    entry.rights.base.check(Rights::SOCK_ACCEPT)?;
    let own = if entry.flags & UNSEEN != 0 { 0 } else { entry.flags };
    let parent = entry.rights;
    memory.check(result, 4)?;
    let listener = listener.get(net(data.node()))?.clone();
    let flags = checked_flags(flags)?;
    if flags & !NONBLOCK != 0 {
        return Err(Errno::INVAL);
    }
    let source = listener.source().clone();
    until_ready(memory, data, source, own, move |memory, data| {
        FdTable::of(data).check_room()?;
        let stream = match listener.accept()? {
            TryIo::Done((stream, _)) => stream,
            TryIo::Blocked(direction) => return Ok(TryIo::Blocked(direction)),
        };
        let all = Granted::only(Rights::CONNECTION);
        let rights = parent.below(all, Rights::CONNECTION);
        let entry = FdEntry { fd: Fd::Connection(Arc::new(stream)), rights, flags };
        memory.write_u32(result, FdTable::of(data).add(entry)?)?;
        Ok(TryIo::Done(()))
    })
}

/// How bytes are received.
pub(super) struct Receive {
    /// The bytes stay, to be received again.
    pub(super) peek: bool,
    /// Wait until the buffers are full.
    pub(super) all: bool,
    /// The place for further information, of which a stream has none.
    pub(super) told: Option<u32>,
}

#[allow(clippy::too_many_arguments)] // The ABI's.
fn sock_recv(
    guest: &mut Guest<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    how: u32,
    result: u32,
    told: u32,
) -> HostCall<u32> {
    charge(guest, listed((buffers, count)));
    suspend(guest, |memory, data| {
        let (stream, flags) = connection(data, fd, Rights::FD_READ)?;
        memory.check(result, 4)?;
        memory.check(told, 2)?;
        let ranges = ranges(memory, (buffers, count))?;
        if how & !(PEEK | WAIT_ALL) != 0 {
            return Err(Errno::INVAL);
        }
        let how = Receive { peek: how & PEEK != 0, all: how & WAIT_ALL != 0, told: Some(told) };
        receive(memory, data, stream, ranges, how, flags, result)
    })
}

/// Receives what is there. Waits if nothing is.
pub(super) fn receive(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    stream: Arc<TcpStream>,
    ranges: Ranges,
    how: Receive,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let mut bytes = vec![0; total(&ranges)];
    let mut received = 0;
    let source = stream.source().clone();
    until_ready(memory, data, source, flags, move |memory, _| {
        loop {
            // Peeked bytes stay in the socket, so either all are there, or the call peeks again.
            let attempt =
                if how.peek { stream.peek(&mut bytes) } else { stream.read(&mut bytes[received..]) };
            let count = match attempt {
                Ok(TryIo::Done(count)) => count,
                // Bytes that arrived before an error are not lost. The next call meets the error again.
                Err(_) if received > 0 => break,
                Err(error) => return Err(error.into()),
                // A guest that does not block gets the bytes that have arrived.
                Ok(TryIo::Blocked(_)) if received > 0 && flags & NONBLOCK != 0 => break,
                Ok(TryIo::Blocked(direction)) => return Ok(TryIo::Blocked(direction)),
            };
            received = if how.peek { count } else { received + count };
            if !how.all || how.peek || count == 0 || received == bytes.len() {
                break;
            }
        }
        if let Some(told) = how.told {
            memory.write(told, &[0; 2])?;
        }
        scatter(memory, &ranges, &bytes[..received], result)?;
        Ok(TryIo::Done(()))
    })
}

fn sock_send(
    guest: &mut Guest<'_>,
    fd: u32,
    buffers: u32,
    count: u32,
    how: u32,
    result: u32,
) -> HostCall<u32> {
    let mut bytes = 0;
    let called = suspend(guest, |memory, data| {
        let (stream, flags) = connection(data, fd, Rights::FD_WRITE)?;
        memory.check(result, 4)?;
        let content = gather(memory, &ranges(memory, (buffers, count))?)?;
        bytes = content.len() as u64;
        if how != 0 {
            return Err(Errno::INVAL);
        }
        send(memory, data, stream, content, flags, result)
    });
    charge(guest, bytes + listed((buffers, count)));
    called
}

/// Sends as much as possible. Waits if nothing can be sent.
pub(super) fn send(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    stream: Arc<TcpStream>,
    content: Vec<u8>,
    flags: u16,
    result: u32,
) -> Result<HostCall<()>> {
    let source = stream.source().clone();
    until_ready(memory, data, source, flags, move |memory, _| {
        match stream.write(&[std::io::IoSlice::new(&content)])? {
            TryIo::Done(count) => {
                memory.write_u32(result, count as u32)?;
                Ok(TryIo::Done(()))
            }
            TryIo::Blocked(direction) => Ok(TryIo::Blocked(direction)),
        }
    })
}
