//! Names and addresses: `resolve`, `resolve_next`, `drop_dns_iterator`.
//!
//! The resolver of the system blocks, so it has threads of its own: a server that does not answer must not delay file
//! work. A process whose timeout has passed does not wait for it; the late result is dropped.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use lunatic_resources::sync::Mutex;

use lunatic_jit::HostCall;

use crate::Capable;
use crate::Guest;
use crate::HasSockets;
use crate::declare::{CALL, Host, Permission, SYSTEM_CALL, func, limits};
use crate::memory::{GuestMemory, parts};
use crate::net;
use lunatic_core::Fault;
use lunatic_core::process::{ProcessData, Reason, Signal};
use lunatic_net::{self, Action, Net};
use lunatic_resources::Charge;

use super::address::AddrOut;
use super::{DONE, FAILED, MODULE, answered, deadline, failed, returned, timed_out};

/// Addresses that the guest has not asked for yet.
pub(super) type Addresses = std::vec::IntoIter<SocketAddr>;

/// Bytes of a name with its port. DNS limits names to 253 bytes.
const MAX_NAME: u32 = 1024;

/// Bytes that the host keeps for a lookup, which continues when its process ends.
const LOOK_UP: u64 = 2 << 10;

/// The result of a lookup, once there is one.
type Found = Arc<Mutex<Option<io::Result<Vec<SocketAddr>>>>>;

pub(super) fn register(host: &mut Host) {
    func!(
        host,
        MODULE,
        "resolve",
        SYSTEM_CALL.range(0, limits::HOST, "a name").place(3, 8).needs(&[Permission::Resolve]),
        resolve
    );
    func!(
        host,
        MODULE,
        "resolve_next",
        CALL.place(1, 4).place(2, 16).place(3, 2).place(4, 4).place(5, 4),
        resolve_next
    );
    func!(host, MODULE, "drop_dns_iterator", CALL, |guest: &mut Guest<'_>, id: u64| {
        guest.data_mut().sockets().addresses.remove("address iterator", id).map(drop)
    });
}

/// Looks up a name with a port, such as `example.com:80`. Writes the identifier of an iterator over its addresses.
fn resolve(
    guest: &mut Guest<'_>,
    name: u32,
    name_len: u32,
    timeout_ms: u64,
    place: u32,
) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let name = memory.str(name, name_len)?.to_owned();
    let deadline = deadline(data, timeout_ms);
    with_addresses(&mut memory, data, name, deadline, place, move |memory, data, addresses| {
        let id = add(data, addresses.collect());
        answered(memory, data, id, place).map(HostCall::Return)
    })
}

/// Continues with the addresses of a name, or returns an error or the timeout result.
pub(super) fn with_addresses(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    name: String,
    deadline: Option<u64>,
    place: u32,
    then: impl FnOnce(&mut GuestMemory<'_>, &mut ProcessData, Addresses) -> Result<HostCall<u32>, Fault>
    + Send
    + 'static,
) -> Result<HostCall<u32>, Fault> {
    if let Err(error) = check(data, &name) {
        return answered(memory, data, Err(error), place).map(HostCall::Return);
    }
    // A numeric address needs no lookup.
    if let Ok(address) = name.parse::<SocketAddr>() {
        return then(memory, data, vec![address].into_iter());
    }
    let kept = data.keep(LOOK_UP)?;
    let found = Found::default();
    let finish = {
        let found = found.clone();
        Box::new(move |memory: &mut [u8], data: &mut ProcessData| {
            let memory = &mut GuestMemory(memory);
            let result = found.lock().take();
            let called = match result {
                Some(Ok(addresses)) => then(memory, data, addresses.into_iter())?,
                Some(Err(error)) => HostCall::Return(failed(memory, data, error, place)?),
                None => HostCall::Return(timed_out(memory, data, place)?),
            };
            Ok(returned(called))
        })
    };
    let wait = data.wait_for(Reason::Readiness(finish), deadline);
    look_up(data, name, found, wait, kept);
    Ok(HostCall::Suspend)
}

/// Checks whether the name may be looked up, and whether there is a network.
fn check(data: &ProcessData, name: &str) -> io::Result<()> {
    net(data.node()).check()?;
    if name.len() > MAX_NAME as usize {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the name is too long"));
    }
    if name.parse::<SocketAddr>().is_ok() {
        return Ok(());
    }
    let host = name.rsplit_once(':').map_or(name, |(host, _)| host);
    data.process.config().caps().network.check(Action::Resolve(host))
}

/// Starts a lookup, which notifies the process.
fn look_up(data: &ProcessData, name: String, found: Found, wait: u64, kept: Charge) {
    let process = data.process.clone();
    let net: Arc<Net> = net(data.node()).clone();
    net.resolvers.submit(Box::new(move || {
        let result = lunatic_net::resolve(&name);
        *found.lock() = Some(result);
        drop(kept);
        // A process that has ended does not need the result.
        let _ = process.send(Signal::Ready { wait });
    }));
}

/// Adds an iterator over addresses. Returns its identifier.
pub(super) fn add(data: &mut ProcessData, addresses: Vec<SocketAddr>) -> io::Result<u64> {
    let max = data.process.config().max_resources;
    super::enter(&mut data.sockets().addresses, max, "address iterators", addresses.into_iter())
}

/// Writes the next address. Returns 0, or 1 if there is none left.
#[allow(clippy::too_many_arguments)] // The ABI's.
fn resolve_next(
    guest: &mut Guest<'_>,
    id: u64,
    kind: u32,
    bytes: u32,
    port: u32,
    flow_info: u32,
    scope_id: u32,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    // An address that was taken from an iterator is not returned again.
    for (place, length) in [(kind, 4), (bytes, 16), (port, 2), (flow_info, 4), (scope_id, 4)] {
        memory.check(place, length)?;
    }
    let addresses = data.sockets().addresses.get_mut("address iterator", id)?;
    let Some(address) = addresses.next() else { return Ok(FAILED) };
    AddrOut { kind, bytes, port, flow_info, scope_id }.write(&mut memory, address)?;
    Ok(DONE)
}

/// Writes an iterator over one address, or an error, for functions that return an address.
pub(super) fn answer_address(
    guest: &mut Guest<'_>,
    place: u32,
    ask: impl FnOnce(&mut ProcessData) -> Result<io::Result<SocketAddr>, Fault>,
) -> Result<u32, Fault> {
    let (mut memory, data) = parts(guest)?;
    memory.check(place, 8)?;
    let id = ask(data)?.and_then(|address| add(data, vec![address]));
    answered(&mut memory, data, id, place)
}
