//! UDP.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::Capable;
use crate::Guest;
use crate::HasSockets;
use crate::declare::{CALL, Host, Permission, SYSTEM_CALL, func};
use crate::memory::{GuestMemory, parts};
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{Action, Source, TryIo, UdpSocket};

use super::address::AddrIn;
use super::dns::{self, answer_address};
use super::listener;
use super::stream::counted;
use super::{FAILED, MODULE, Operation, UDP_SOCKET, answered, begin, failed};

/// The result of `udp_peer_addr` for an error other than not being connected.
const FAILED_OTHERWISE: u32 = 2;

pub(super) fn register(host: &mut Host) {
    func!(host, MODULE, "udp_bind", SYSTEM_CALL.place(5, 8).needs(&[Permission::Bind]), bind);
    func!(host, MODULE, "udp_connect", SYSTEM_CALL.place(7, 8).needs(&[Permission::Connect]), connect);
    func!(host, MODULE, "udp_send", SYSTEM_CALL.bytes(1).place(3, 8), send);
    func!(
        host,
        MODULE,
        "udp_send_to",
        SYSTEM_CALL.bytes(1).place(8, 8).needs(&[Permission::Connect]),
        send_to
    );
    func!(host, MODULE, "udp_receive", SYSTEM_CALL.bytes(1).place(3, 8), receive);
    func!(host, MODULE, "udp_receive_from", SYSTEM_CALL.bytes(1).place(3, 8).place(4, 8), receive_from);
    func!(host, MODULE, "udp_peer_addr", SYSTEM_CALL.place(1, 8), peer);
    func!(
        host,
        MODULE,
        "udp_local_addr",
        SYSTEM_CALL.place(1, 8),
        |guest: &mut Guest<'_>, id: u64, place: u32| {
            answer_address(guest, place, |data| get(data, id).map(|socket| socket.io().local_addr()))
        }
    );
    func!(host, MODULE, "clone_udp_socket", CALL, |guest: &mut Guest<'_>, id: u64| {
        let data = guest.data_mut();
        let socket = get(data, id)?.clone();
        let max = data.process.config().max_resources;
        data.sockets().udp_sockets.add_or_trap(max, "UDP sockets", socket)
    });
    func!(host, MODULE, "drop_udp_socket", CALL, |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().sockets().udp_sockets.remove(UDP_SOCKET.name, id).map(drop)
    });
    func!(
        host,
        MODULE,
        "set_udp_socket_broadcast",
        SYSTEM_CALL,
        |guest: &mut Guest<'_>, id: u64, broadcast: u32| {
            set(guest, id, |socket| socket.set_broadcast(broadcast != 0))
        }
    );
    func!(host, MODULE, "get_udp_socket_broadcast", SYSTEM_CALL, |guest: &mut Guest<'_>, id: u64| {
        set(guest, id, mio::net::UdpSocket::broadcast).map(i32::from)
    });
    func!(host, MODULE, "set_udp_socket_ttl", SYSTEM_CALL, |guest: &mut Guest<'_>, id: u64, ttl: u32| {
        set(guest, id, |socket| socket.set_ttl(ttl))
    });
    func!(host, MODULE, "get_udp_socket_ttl", SYSTEM_CALL, |guest: &mut Guest<'_>, id: u64| {
        set(guest, id, mio::net::UdpSocket::ttl)
    });
}

fn get(data: &mut ProcessData, id: u64) -> Result<&Arc<UdpSocket>, Fault> {
    data.sockets().udp_sockets.get(UDP_SOCKET.name, id)
}

/// Sets or reads a setting. A refusal of the system traps, as in Lunatic, because no result could report it.
fn set<R>(
    guest: &mut Guest<'_>,
    id: u64,
    change: impl FnOnce(&mio::net::UdpSocket) -> io::Result<R>,
) -> Result<R, Fault> {
    let socket = get(guest.data_mut(), id)?;
    change(socket.io()).map_err(|error| Fault::Refused(error.to_string()))
}

/// Creates a socket with an address. Port 0 stands for any free port. Writes its identifier.
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
    listener::bind(guest, address, place, UDP_SOCKET, |net, address, _| Ok(UdpSocket::bind(net, address)))
}

/// Connects the socket: all datagrams go to this address, and are received from it alone. Nothing is sent, so this
/// takes no time, whatever `timeout_ms` is. Writes 0.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn connect(
    guest: &mut Guest<'_>,
    id: u64,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
    _timeout_ms: u64,
    place: u32,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let address = AddrIn { kind, bytes, port, flow_info, scope_id }.read(&memory)?;
    let socket = get(data, id)?.clone();
    let connected = data.process.config().caps().network.check(Action::Connect(address));
    let connected = connected.and_then(|()| socket.connect(address)).map(|()| 0);
    answered(&mut memory, data, connected, place)
}

/// Writes an iterator over the address that the socket is connected to. Returns 1 if it is not connected, and 2 for
/// other errors.
fn peer(guest: &mut Guest<'_>, id: u64, place: u32) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    match get(data, id)?.io().peer_addr() {
        Err(error) if error.kind() != io::ErrorKind::NotConnected => {
            failed(&mut memory, data, error, place)?;
            Ok(FAILED_OTHERWISE)
        }
        Err(error) => {
            failed(&mut memory, data, error, place)?;
            Ok(FAILED)
        }
        Ok(address) => {
            let id = dns::add(data, vec![address]);
            answered(&mut memory, data, id, place)
        }
    }
}

/// Sends a datagram to the connected address. Writes the number of bytes.
fn send(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let socket = get(guest.data_mut(), id)?.clone();
    begin(guest, Send { socket, buffer, length, to: None, place })
}

/// Sends a datagram to an address. Writes the number of bytes.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn send_to(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let address = AddrIn { kind, bytes, port, flow_info, scope_id }.read(&memory)?;
    let socket = get(data, id)?.clone();
    match data.process.config().caps().network.check(Action::Connect(address)) {
        Ok(()) => begin(guest, Send { socket, buffer, length, to: Some(address), place }),
        Err(error) => answered(&mut memory, data, Err(error), place).map(HostCall::Return),
    }
}

struct Send {
    socket: Arc<UdpSocket>,
    buffer: u32,
    length: u32,
    to: Option<SocketAddr>,
    place: u32,
}

impl Operation for Send {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        _: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        let datagram = memory.bytes(self.buffer, self.length)?;
        let sent = match self.to {
            Some(address) => self.socket.send_to(datagram, address),
            None => self.socket.send(datagram),
        };
        Ok(sent.map(counted))
    }

    fn source(&self) -> &Arc<Source> {
        self.socket.source()
    }

    fn place(&self) -> u32 {
        self.place
    }
}

/// Waits for a datagram. Writes the number of bytes. Bytes beyond the buffer are lost.
fn receive(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let socket = get(guest.data_mut(), id)?.clone();
    begin(guest, Receive { socket, buffer, length, place, from: None })
}

/// Waits for a datagram like `udp_receive`. Also writes an iterator over the address of its sender.
fn receive_from(
    guest: &mut Guest<'_>,
    id: u64,
    buffer: u32,
    length: u32,
    place: u32,
    from: u32,
) -> Result<HostCall<u32>, Fault> {
    let socket = get(guest.data_mut(), id)?.clone();
    begin(guest, Receive { socket, buffer, length, place, from: Some(from) })
}

struct Receive {
    socket: Arc<UdpSocket>,
    buffer: u32,
    length: u32,
    place: u32,
    from: Option<u32>,
}

impl Operation for Receive {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        if let Some(from) = self.from {
            memory.check(from, 8)?;
        }
        let buffer = memory.bytes_mut(self.buffer, self.length)?;
        let Some(from) = self.from else { return Ok(self.socket.receive(buffer).map(counted)) };
        match self.socket.receive_from(buffer) {
            Ok(TryIo::Done((count, address))) => match dns::add(data, vec![address]) {
                Ok(addresses) => {
                    memory.write_u64(from, addresses)?;
                    Ok(Ok(TryIo::Done(count as u64)))
                }
                Err(error) => Ok(Err(error)),
            },
            Ok(TryIo::Blocked(direction)) => Ok(Ok(TryIo::Blocked(direction))),
            Err(error) => Ok(Err(error)),
        }
    }

    fn source(&self) -> &Arc<Source> {
        self.socket.source()
    }

    fn place(&self) -> u32 {
        self.place
    }
}
