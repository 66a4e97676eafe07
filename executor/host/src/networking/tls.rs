//! TLS: listening, accepting, connecting. See `stream` for what streams of both kinds share.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lunatic_jit::HostCall;
use rustls::ClientConfig;

use crate::Capable;
use crate::Guest;
use crate::declare::{Host, Permission, SYSTEM_CALL, func, limits};
use crate::memory::{GuestMemory, parts};
use crate::net;
use lunatic_core::Fault;
use lunatic_core::ProcessData;
use lunatic_net::{Action, Source, Stream, TcpStream, TlsListener, TlsStream, TryIo, client_config};

use super::address::AddrIn;
use super::dns;
use super::listener;
use super::stream::{self, Known, enter_stream};
use super::{Attempt, Kind, MODULE, Operation, TLS_LISTENER, TLS_STREAM, deadline, go_on};

/// Texts of certificates that a client may pass. A text may contain many certificates.
const MAX_CERTIFICATES: u32 = 64;

/// Bytes of a text of certificates. All certificates that browsers trust have half as many.
const MAX_PEM: usize = 512 << 10;

/// Bytes of all certificates in one call, in both orders of the arguments.
const MAX_SEARCHED: usize = 1 << 20;

/// Reductions for a byte of a certificate, which is decoded and parsed.
const REDUCTIONS_PER_BYTE: u64 = 4;

/// The beginning of a certificate.
const PEM: &[u8] = b"-----BEGIN CERTIFICATE";

pub(super) fn register(host: &mut Host) {
    stream::register::<TlsStream>(host, "tls", "tls_");
    func!(
        host,
        MODULE,
        "tls_bind",
        SYSTEM_CALL
            .place(5, 8)
            .range(6, limits::PEM, "a certificate or key")
            .range(8, limits::PEM, "a certificate or key")
            .needs(&[Permission::Bind]),
        bind
    );
    func!(
        host,
        MODULE,
        "tls_connect",
        SYSTEM_CALL
            .range(0, limits::HOST, "a name")
            .place(4, 8)
            .array(5, 8, u32::MAX, "")
            .needs(&[Permission::Connect, Permission::Resolve]),
        connect
    );
}

impl Known for TlsStream {
    const KIND: Kind<TlsStream> = TLS_STREAM;
}

/// Listens at an address with a chain of certificates and a private key, both as PEM. Writes the identifier of the
/// listener.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn bind(
    guest: &mut Guest<'_>,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
    place: u32,
    certificates: u32,
    certificates_len: u32,
    key: u32,
    key_len: u32,
) -> Result<u32, Fault> {
    let address = AddrIn { kind, bytes, port, flow_info, scope_id };
    let (certificates, key) = ((certificates, certificates_len), (key, key_len));
    // Bad pointers are reported even if the policy does not allow to bind.
    let (memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    address.read(&memory)?;
    for (text, length) in [certificates, key] {
        if memory.bytes(text, length)?.len() > MAX_PEM {
            return Err(Fault::TooMany("bytes of certificates"));
        }
    }
    // The certificates exist as text, decoded, and in the configuration made of them.
    let kept = data.keep(3 * (u64::from(certificates.1) + u64::from(key.1)))?;
    guest.charge((u64::from(certificates.1) + u64::from(key.1)) * REDUCTIONS_PER_BYTE);
    listener::bind(guest, address, place, TLS_LISTENER, |net, address, memory| {
        let certificates = memory.bytes(certificates.0, certificates.1)?;
        let key = memory.bytes(key.0, key.1)?;
        Ok(TlsListener::bind(net, address, (certificates, key), kept))
    })
}

/// Connects to a host by name, and verifies that it is that host: with the certificates that browsers trust, or with
/// certificates of the guest's own, an array of pointers and lengths of PEM texts. Writes the identifier of the
/// stream when the handshake is done.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn connect(
    guest: &mut Guest<'_>,
    host: u32,
    host_len: u32,
    port: u32,
    timeout_ms: u64,
    place: u32,
    certificates: u32,
    certificates_len: u32,
) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let host = memory.str(host, host_len)?.to_owned();
    let certificates = read_certificates(&memory, certificates, certificates_len)?;
    data.unpaid += certificates.iter().map(|pem| pem.len() as u64).sum::<u64>() * REDUCTIONS_PER_BYTE;
    let config = client_config(&certificates);
    let deadline = deadline(data, timeout_ms);
    let name = if host.contains(':') {
        format!("[{host}]:{}", port as u16)
    } else {
        format!("{host}:{}", port as u16)
    };
    dns::with_addresses(&mut memory, data, name, deadline, place, move |memory, data, addresses| {
        let connect = Connect { host, config, addresses, stage: Stage::Begin, place, timeout_ms };
        go_on(memory, data, connect, Attempt::Until(deadline))
    })
}

/// Returns the certificates in an array of pointers and lengths.
///
/// Lunatic's host expects the pointer first, and the published guest passes the length first. Only one order of the
/// two numbers leads to a certificate, so both are tried. A text that is no certificate in either order is passed to
/// the client's configuration, which refuses it.
fn read_certificates(memory: &GuestMemory<'_>, array: u32, count: u32) -> Result<Vec<Vec<u8>>, Fault> {
    memory.array(array, count, 8)?;
    if count > MAX_CERTIFICATES {
        return Err(Fault::TooMany("certificates"));
    }
    let mut searched = 0;
    let mut read = |index| {
        let at = array + 8 * index;
        let (first, second) = (memory.read_u32(at)?, memory.read_u32(at + 4)?);
        let pem = [memory.bytes(first, second), memory.bytes(second, first)]
            .into_iter()
            .flatten()
            .filter(|bytes| bytes.len() <= MAX_PEM)
            .inspect(|bytes| searched += bytes.len())
            .filter(|bytes| bytes.windows(PEM.len()).any(|part| part == PEM))
            // In the wrong order, the two numbers may describe a range of half the memory.
            .min_by_key(|bytes| bytes.len());
        if searched > MAX_SEARCHED {
            return Err(Fault::TooMany("bytes of certificates"));
        }
        match pem {
            Some(bytes) => Ok(bytes.to_vec()),
            None => memory.bytes(first, second).or(memory.bytes(second, first)).map(|_| Vec::new()),
        }
    };
    (0..count).map(&mut read).collect()
}

/// The state of a connection attempt.
enum Stage {
    /// The next address is tried.
    Begin,
    Connecting(TcpStream),
    ShakingHands(Arc<TlsStream>),
}

struct Connect {
    host: String,
    config: Arc<ClientConfig>,
    addresses: std::vec::IntoIter<SocketAddr>,
    stage: Stage,
    place: u32,
    timeout_ms: u64,
}

impl Connect {
    /// Begins to connect to the next address.
    fn connect_to_next(&mut self, data: &ProcessData) -> io::Result<TcpStream> {
        let none = || io::Error::new(io::ErrorKind::NotFound, format!("{} has no address", self.host));
        let address = self.addresses.next().ok_or_else(none)?;
        data.process.config().caps().network.check(Action::Connect(address))?;
        TcpStream::connect(net(data.node()), address)
    }

    /// Does one step of the attempt.
    fn step(&mut self, data: &mut ProcessData) -> io::Result<TryIo<Option<u64>>> {
        let (attempt, next) = match std::mem::replace(&mut self.stage, Stage::Begin) {
            Stage::Begin => (TryIo::Done(()), Stage::Connecting(self.connect_to_next(data)?)),
            Stage::Connecting(tcp) => match tcp.finish_connecting()? {
                TryIo::Done(()) => {
                    let tls = TlsStream::client(tcp, self.config.clone(), &self.host)?;
                    (TryIo::Done(()), Stage::ShakingHands(Arc::new(tls)))
                }
                blocked => (blocked, Stage::Connecting(tcp)),
            },
            Stage::ShakingHands(tls) => match tls.shake_hands()? {
                TryIo::Done(()) => return enter_stream(data, tls).map(|id| TryIo::Done(Some(id))),
                blocked => (blocked, Stage::ShakingHands(tls)),
            },
        };
        self.stage = next;
        Ok(match attempt {
            TryIo::Done(()) => TryIo::Done(None),
            TryIo::Blocked(direction) => TryIo::Blocked(direction),
        })
    }
}

impl Operation for Connect {
    const ENTERS_TIMEOUT: bool = true;

    fn attempt(
        &mut self,
        _: &mut GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault> {
        loop {
            match self.step(data) {
                Ok(TryIo::Done(None)) => {}
                Ok(TryIo::Done(Some(id))) => return Ok(Ok(TryIo::Done(id))),
                Ok(TryIo::Blocked(direction)) => return Ok(Ok(TryIo::Blocked(direction))),
                // The next address may work.
                Err(_) if self.addresses.len() > 0 => self.stage = Stage::Begin,
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    fn source(&self) -> &Arc<Source> {
        match &self.stage {
            Stage::Connecting(tcp) => tcp.source(),
            Stage::ShakingHands(tls) => tls.source(),
            Stage::Begin => unreachable!("nothing is waited for before there is a connection"),
        }
    }

    fn timeout_ms(&self) -> u64 {
        self.timeout_ms
    }

    fn place(&self) -> u32 {
        self.place
    }
}
