//! TCP: listening, accepting, connecting, peeking. See `stream` for what streams of both kinds share.

use std::io;
use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::Capable;
use crate::Guest;
use crate::declare::{Host, Permission, SYSTEM_CALL, func};
use crate::memory::{GuestMemory, parts};
use crate::net;
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{Action, Source, Stream, TcpListener, TcpStream, TryIo};

use super::address::AddrIn;
use super::dns::answer_address;
use super::listener;
use super::stream::{self, Known, counted, enter_stream};
use super::{Kind, MODULE, Operation, TCP_LISTENER, TCP_STREAM, answered, begin};

pub(super) fn register(host: &mut Host) {
    stream::register::<TcpStream>(host, "tcp", "");
    stream::timeout::<TcpStream>(host, "peek_timeout", |timeouts| &timeouts.peek);
    func!(host, MODULE, "tcp_bind", SYSTEM_CALL.place(5, 8).needs(&[Permission::Bind]), bind);
    func!(host, MODULE, "tcp_connect", SYSTEM_CALL.place(6, 8).needs(&[Permission::Connect]), connect);
    func!(host, MODULE, "tcp_peek", SYSTEM_CALL.bytes(1).place(3, 8), peek);
    func!(
        host,
        MODULE,
        "tcp_peer_addr",
        SYSTEM_CALL.place(1, 8),
        |guest: &mut Guest<'_>, id: u64, place: u32| {
            answer_address(guest, place, |data| TcpStream::get(data, id).map(|stream| stream.peer()))
        }
    );
}

impl Known for TcpStream {
    const KIND: Kind<TcpStream> = TCP_STREAM;
}

/// Listens at an address. Port 0 stands for any free port. Writes the identifier of the listener.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn bind(
    guest: &mut Guest<'_>,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
    place: u32,
) -> Result<u32, Fault> {
    let address = AddrIn { kind, bytes, port, flow_info, scope_id };
    listener::bind(guest, address, place, TCP_LISTENER, |net, address, _| Ok(TcpListener::bind(net, address)))
}

/// Connects to an address. Writes the identifier of the stream.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn connect(
    guest: &mut Guest<'_>,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
    timeout_ms: u64,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let address = AddrIn { kind, bytes, port, flow_info, scope_id }.read(&memory)?;
    let stream = data.process.config().caps().network.check(Action::Connect(address));
    match stream.and_then(|()| TcpStream::connect(net(data.node()), address)) {
        Ok(stream) => begin(guest, Connect { stream: Arc::new(stream), timeout_ms, place }),
        Err(error) => answered(&mut memory, data, Err(error), place).map(HostCall::Return),
    }
}

struct Connect {
    stream: Arc<TcpStream>,
    timeout_ms: u64,
    place: u32,
}

impl Operation for Connect {
    const ENTERS_TIMEOUT: bool = true;

    fn attempt(
        &mut self,
        _: &mut GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        Ok(self.stream.finish_connecting().and_then(|attempt| match attempt {
            TryIo::Done(()) => enter_stream(data, self.stream.clone()).map(TryIo::Done),
            TryIo::Blocked(direction) => Ok(TryIo::Blocked(direction)),
        }))
    }

    fn source(&self) -> &Arc<Source> {
        self.stream.source()
    }

    fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    fn place(&self) -> u32 {
        self.place
    }
}

/// Reads like `tcp_read`, but leaves the bytes to be read again, and has a timeout of its own.
fn peek(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let stream = TcpStream::get(guest.data_mut(), id)?.clone();
    begin(guest, Peek { stream, buffer, length, place })
}

struct Peek {
    stream: Arc<TcpStream>,
    buffer: u32,
    length: u32,
    place: u32,
}

impl Operation for Peek {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        _: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        let buffer = memory.bytes_mut(self.buffer, self.length)?;
        if buffer.is_empty() {
            return Ok(Ok(TryIo::Done(0)));
        }
        Ok(self.stream.peek(buffer).map(counted))
    }

    fn source(&self) -> &Arc<Source> {
        self.stream.source()
    }

    fn timeout_ms(&self) -> u64 {
        self.stream.timeouts().peek.get()
    }

    fn place(&self) -> u32 {
        self.place
    }
}
