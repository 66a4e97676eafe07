//! `lunatic::networking`: names, TCP, TLS, UDP.
//!
//! A function that has to wait suspends only its process. It tries the operation; if that would block, it tries again
//! when the reactor reports that it may succeed. Reads and writes use the guest's memory directly, whose address is
//! looked up again for each attempt.
//!
//! # Results
//!
//! 0, with the results written to the last pointers; 1, with the identifier of an error in place of the result; 9027
//! if the time is over. Times are in milliseconds, and `u64::MAX` stands for no limit. Addresses have the type 4 or
//! 6, and 4 or 16 bytes.
//!
//! All functions trap on bad pointers and unknown identifiers. Functions with an address trap on a type that is
//! neither 4 nor 6.

mod address;
mod dns;
mod listener;
mod stream;
mod table;
mod tcp;
#[cfg(feature = "tls")]
mod tls;
mod udp;

use std::error::Error;
use std::io;
use std::sync::Arc;

use lunatic_jit::{HostCall, RawValue};

use crate::declare::Host;
use lunatic_core::ProcessData;
use lunatic_core::process::{self, FOREVER};
use lunatic_core::{Fault, HostState};
use lunatic_net::{Source, Stream, TcpListener, TcpStream, TryIo, UdpSocket};
#[cfg(feature = "tls")]
use lunatic_net::{TlsListener, TlsStream};

use crate::Guest;
use crate::memory::{GuestMemory, parts};

pub(crate) use table::Table;

use dns::Addresses;

const MODULE: &str = "lunatic::networking";

/// The result of a function that succeeded.
const DONE: u32 = 0;
/// The result of a function that failed. The identifier of the error is in place of its result.
const FAILED: u32 = 1;
/// The result when the time is over.
const TIMED_OUT: u32 = process::TIMED_OUT as u32;

/// The sockets of a process, and the iterators over addresses.
#[derive(Default)]
pub struct Sockets {
    pub(super) tcp_streams: Table<Arc<TcpStream>>,
    pub(super) addresses: Table<Addresses>,
    pub(super) tcp_listeners: Table<Arc<TcpListener>>,
    #[cfg(feature = "tls")]
    pub(super) tls_listeners: Table<Arc<TlsListener>>,
    #[cfg(feature = "tls")]
    pub(super) tls_streams: Table<Arc<TlsStream>>,
    pub(super) udp_sockets: Table<Arc<UdpSocket>>,
}

/// A kind of socket: its name, and the table of a process for it.
pub(crate) struct Kind<T> {
    pub name: &'static str,
    pub table: fn(&mut Sockets) -> &mut Table<Arc<T>>,
    /// The readiness of a socket, which also counts its descriptor.
    pub source: fn(&T) -> &Arc<Source>,
}

pub(super) const TCP_STREAM: Kind<TcpStream> =
    Kind { name: "TCP stream", table: |sockets| &mut sockets.tcp_streams, source: TcpStream::source };
#[cfg(feature = "tls")]
pub(super) const TLS_STREAM: Kind<TlsStream> =
    Kind { name: "TLS stream", table: |sockets| &mut sockets.tls_streams, source: TlsStream::source };
pub(super) const UDP_SOCKET: Kind<UdpSocket> =
    Kind { name: "UDP socket", table: |sockets| &mut sockets.udp_sockets, source: UdpSocket::source };
const TCP_LISTENER: Kind<TcpListener> =
    Kind { name: "TCP listener", table: |sockets| &mut sockets.tcp_listeners, source: TcpListener::source };
#[cfg(feature = "tls")]
const TLS_LISTENER: Kind<TlsListener> =
    Kind { name: "TLS listener", table: |sockets| &mut sockets.tls_listeners, source: TlsListener::source };

pub(super) fn register(host: &mut Host) {
    dns::register(host);
    listener::register(host);
    tcp::register(host);
    #[cfg(feature = "tls")]
    tls::register(host);
    udp::register(host);
}

/// Access to the sockets of a process.
pub trait HasSockets {
    /// Returns the sockets.
    fn sockets(&mut self) -> &mut Sockets;
}

impl HasSockets for ProcessData {
    fn sockets(&mut self) -> &mut Sockets {
        self.extensions.get_or_default()
    }
}

impl HostState for Sockets {}

/// Writes the identifier of an error in place of a result.
pub(super) fn failed(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    error: impl Error + Send + Sync + 'static,
    place: u32,
) -> Result<u32, Fault> {
    let id = data.add_error(error)?;
    memory.write_u64(place, id)?;
    Ok(FAILED)
}

/// Writes a number, or the identifier of an error.
fn answered(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    result: io::Result<u64>,
    place: u32,
) -> Result<u32, Fault> {
    match result {
        Ok(value) => {
            memory.write_u64(place, value)?;
            Ok(DONE)
        }
        Err(error) => failed(memory, data, error, place),
    }
}

/// Returns the timeout result, with the identifier of an error. The published guests take every result but 0 of
/// functions that connect or look up for an error, and would free an error that does not exist.
fn timed_out(memory: &mut GuestMemory<'_>, data: &mut ProcessData, place: u32) -> Result<u32, Fault> {
    failed(memory, data, io::Error::from(io::ErrorKind::TimedOut), place)?;
    Ok(TIMED_OUT)
}

/// Returns the deadline of a wait that begins now.
fn deadline(data: &ProcessData, timeout_ms: u64) -> Option<u64> {
    (timeout_ms != FOREVER)
        .then(|| data.node().clock.now().saturating_add(timeout_ms.saturating_mul(1_000_000)))
}

/// An operation that may have to be tried again.
trait Operation: Sized + Send + 'static {
    /// Whether a timeout adds an error; see [`timed_out`].
    const ENTERS_TIMEOUT: bool = false;

    /// Tries the operation. Each attempt reads its arguments from the guest's memory again.
    fn attempt(
        &mut self,
        memory: &mut GuestMemory<'_>,
        data: &mut ProcessData,
    ) -> Result<io::Result<TryIo<u64>>, Fault>;

    /// Returns the source that reports when another attempt may succeed.
    fn source(&self) -> &Arc<Source>;

    /// Returns the addresses that an attempt uses.
    fn needs(&self, _: &GuestMemory<'_>) -> [usize; 2] {
        [0; 2]
    }

    /// Returns the timeout in milliseconds. It is read when the operation has to wait.
    fn timeout_ms(&self) -> u64 {
        FOREVER
    }

    /// Returns the result of an operation that was partly done when its time was over, if that is a result.
    fn at_timeout(&self) -> Option<u64> {
        None
    }

    /// Returns the place of the result.
    fn place(&self) -> u32;
}

/// Begins an operation.
fn begin(guest: &mut Guest<'_>, operation: impl Operation) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(operation.place(), 8)?;
    go_on(&mut memory, data, operation, Attempt::First)
}

/// An attempt of an operation.
enum Attempt {
    First,
    /// A later attempt, with the deadline of the first one. `None` is no deadline.
    Until(Option<u64>),
}

/// Tries an operation. If it would block, tries again when it may not.
fn go_on<O: Operation>(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    mut operation: O,
    attempt: Attempt,
) -> Result<HostCall<u32>, Fault> {
    let direction = match operation.attempt(memory, data)? {
        Ok(TryIo::Blocked(direction)) => direction,
        Ok(TryIo::Done(value)) => {
            return answered(memory, data, Ok(value), operation.place()).map(HostCall::Return);
        }
        Err(error) => return failed(memory, data, error, operation.place()).map(HostCall::Return),
    };
    // The deadline is computed once the operation has to wait, which most do not.
    let deadline = match attempt {
        Attempt::First => deadline(data, operation.timeout_ms()),
        Attempt::Until(deadline) => deadline,
    };
    if deadline.is_some_and(|deadline| deadline <= data.node().clock.now()) {
        return match operation.at_timeout() {
            Some(value) => answered(memory, data, Ok(value), operation.place()).map(HostCall::Return),
            None if O::ENTERS_TIMEOUT => timed_out(memory, data, operation.place()).map(HostCall::Return),
            None => Ok(HostCall::Return(TIMED_OUT)),
        };
    }
    let (source, needs) = (operation.source().clone(), operation.needs(memory));
    let again = Box::new(move |memory: &mut [u8], data: &mut ProcessData| {
        go_on(&mut GuestMemory(memory), data, operation, Attempt::Until(deadline)).map(returned)
    });
    data.wait_until_ready(|waiter| source.wait(direction, waiter), deadline, needs, again);
    Ok(HostCall::Suspend)
}

/// Converts a result to the form that the engine takes.
fn returned(called: HostCall<u32>) -> HostCall<RawValue> {
    match called {
        HostCall::Return(result) => HostCall::Return(RawValue::from(u64::from(result))),
        HostCall::Suspend => HostCall::Suspend,
    }
}

/// Adds a socket, unless the process has as many as it may.
fn enter<T>(table: &mut Table<T>, max: u64, kind: &'static str, socket: T) -> io::Result<u64> {
    table.add(max, socket).ok_or_else(|| too_many(Fault::TooMany(kind)))
}

/// Returns the error for a process that has reached a limit.
fn too_many(limit: impl Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::QuotaExceeded, limit)
}
