//! Functions that TCP and TLS listeners share: binding, accepting, and the local address. Binding sockets of all
//! kinds is here, too.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lunatic_jit::HostCall;

use crate::Capable;
use crate::Guest;
use crate::HasSockets;
use crate::declare::{CALL, Host, SYSTEM_CALL, func};
use crate::memory::{GuestMemory, parts};
use crate::net;
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{Action, Net, Source, TcpListener, TcpStream, TryIo};
#[cfg(feature = "tls")]
use lunatic_net::{TlsListener, TlsStream};

#[cfg(feature = "tls")]
use super::TLS_LISTENER;
use super::address::AddrIn;
use super::dns::{self, answer_address};
use super::stream::{Known, enter_stream};
use super::{Kind, MODULE, Operation, TCP_LISTENER, answered, begin, enter, too_many};

/// A kind of listener that processes refer to by number.
trait Listens: Send + Sync + Sized + 'static {
    const KIND: Kind<Self>;
    type Stream: Known;
    fn accept(&self) -> io::Result<TryIo<(Self::Stream, SocketAddr)>>;
    fn local(&self) -> io::Result<SocketAddr>;
    fn source(&self) -> &Arc<Source>;

    /// Returns the listener with this number.
    fn get(data: &mut ProcessData, id: u64) -> Result<&Arc<Self>, Fault> {
        (Self::KIND.table)(data.sockets()).get(Self::KIND.name, id)
    }
}

macro_rules! listens {
    ($listener:ident, $stream:ident, $kind:ident) => {
        impl Listens for $listener {
            const KIND: Kind<$listener> = $kind;
            type Stream = $stream;

            fn accept(&self) -> io::Result<TryIo<($stream, SocketAddr)>> {
                $listener::accept(self)
            }

            fn local(&self) -> io::Result<SocketAddr> {
                $listener::local(self)
            }

            fn source(&self) -> &Arc<Source> {
                $listener::source(self)
            }
        }
    };
}

listens!(TcpListener, TcpStream, TCP_LISTENER);
#[cfg(feature = "tls")]
listens!(TlsListener, TlsStream, TLS_LISTENER);

/// Declares the functions of both kinds.
pub(super) fn register(host: &mut Host) {
    register_kind::<TcpListener>(host, "tcp");
    #[cfg(feature = "tls")]
    register_kind::<TlsListener>(host, "tls");
}

fn register_kind<L: Listens>(host: &mut Host, prefix: &str) {
    func!(host, MODULE, &format!("{prefix}_accept"), SYSTEM_CALL.place(1, 8).place(2, 8), accept::<L>);
    func!(host, MODULE, &format!("drop_{prefix}_listener"), CALL, |guest: &mut Guest<'_>, id: u64| {
        (L::KIND.table)(guest.data_mut().sockets()).remove(L::KIND.name, id).map(drop)
    });
    func!(
        host,
        MODULE,
        &format!("{prefix}_local_addr"),
        SYSTEM_CALL.place(1, 8),
        |guest: &mut Guest<'_>, id: u64, place: u32| {
            answer_address(guest, place, |data| L::get(data, id).map(|listener| listener.local()))
        }
    );
}

/// Binds a socket to an address, if the policy allows it. Port 0 stands for any free port. Writes the identifier of
/// the socket.
pub(super) fn bind<T>(
    guest: &mut Guest<'_>,
    address: AddrIn,
    place: u32,
    kind: Kind<T>,
    open: impl FnOnce(&Arc<Net>, SocketAddr, &GuestMemory<'_>) -> Result<io::Result<T>, Fault>,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let address = address.read(&memory)?;
    let config = data.process.config().clone();
    let socket = match config.caps().network.check(Action::Bind(address)) {
        Ok(()) => open(net(data.node()), address, &memory)?,
        Err(error) => Err(error),
    };
    let id = socket.and_then(|socket| {
        (kind.source)(&socket).count(data.account()).map_err(too_many)?;
        enter((kind.table)(data.sockets()), config.max_resources, kind.name, Arc::new(socket))
    });
    answered(&mut memory, data, id, place)
}

/// Waits for a connection. Writes the identifier of the stream, and that of an iterator over the address of the peer.
/// The TLS handshake happens at the first read or write, by whichever process makes it.
fn accept<L: Listens>(guest: &mut Guest<'_>, id: u64, place: u32, peer: u32) -> Result<HostCall<u32>, Fault> {
    let listener = L::get(guest.data_mut(), id)?.clone();
    begin(guest, Accept { listener, place, peer })
}

struct Accept<L> {
    listener: Arc<L>,
    place: u32,
    peer: u32,
}

impl<L: Listens> Operation for Accept<L> {
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        memory.check(self.peer, 8)?;
        let (stream, peer) = match self.listener.accept() {
            Ok(TryIo::Done(accepted)) => accepted,
            Ok(TryIo::Blocked(direction)) => return Ok(Ok(TryIo::Blocked(direction))),
            Err(error) => return Ok(Err(error)),
        };
        let entered = enter_stream(data, Arc::new(stream));
        match entered.and_then(|id| Ok((id, dns::add(data, vec![peer])?))) {
            Ok((id, addresses)) => {
                memory.write_u64(self.peer, addresses)?;
                Ok(Ok(TryIo::Done(id)))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn source(&self) -> &Arc<Source> {
        self.listener.source()
    }

    fn place(&self) -> u32 {
        self.place
    }
}
