//! `lunatic::message`: writing, sending, receiving and reading messages.
//!
//! A process has one current message: the one that it is writing, or received last. All functions use it and trap if
//! there is none. Timeouts are in milliseconds; `u64::MAX` waits for ever, and 0 only polls.

use std::any::Any;
use std::sync::Arc;

use lunatic_jit::{HostCall, RawValue};

use crate::HasSockets;
use crate::declare::{CALL, Host, LOOK, func, overload};
use lunatic_core::Fault;
use lunatic_core::code::Code;
use lunatic_core::process::{
    DataMessage, Envelope, FOREVER, MAX_TAGS, Message, NO_TAG, Pattern, ProcessData, ProcessId, Reason,
    SEARCH_STEP, Signal, Tags,
};

use super::process::deadline;
use crate::Guest;
use crate::memory::{GuestMemory, parts};
#[cfg(feature = "tls")]
use crate::networking::TLS_STREAM;
use crate::networking::{Kind, TCP_STREAM, UDP_SOCKET};

/// Bytes that a guest may have reserved for a message before it writes. More is allocated as the guest writes.
const MAX_RESERVED: u64 = 64 << 10;

/// Steps that a search in the mailbox takes before the process waits for its next turn.
const STEPS_AT_ONCE: u64 = 256;

/// Reductions for each tag that a receive waits for. Tags are copied and sorted.
const TAG: u64 = 16;

/// The only result of a send.
const SENT: u32 = 0;

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::message";
    func!(host, MODULE, "create_data", LOOK, create_data);
    func!(host, MODULE, "write_data", CALL.bytes(0), write_data);
    func!(host, MODULE, "read_data", CALL.bytes(0), read_data);
    func!(host, MODULE, "seek_data", LOOK, seek_data);
    func!(host, MODULE, "get_tag", LOOK, get_tag);
    func!(host, MODULE, "get_process_id", LOOK, get_process_id);
    func!(host, MODULE, "data_size", LOOK, data_size);
    func!(host, MODULE, "push_module", CALL, push_module);
    func!(host, MODULE, "take_module", CALL, take_module);
    func!(host, MODULE, "push_tcp_stream", CALL, |guest: &mut Guest<'_>, id| push(guest, id, TCP_STREAM));
    func!(host, MODULE, "take_tcp_stream", CALL, |guest: &mut Guest<'_>, index| take(
        guest, index, TCP_STREAM
    ));
    #[cfg(feature = "tls")]
    {
        func!(host, MODULE, "push_tls_stream", CALL, |guest: &mut Guest<'_>, id| push(guest, id, TLS_STREAM));
        func!(host, MODULE, "take_tls_stream", CALL, |guest: &mut Guest<'_>, index| take(
            guest, index, TLS_STREAM
        ));
    }
    func!(host, MODULE, "push_udp_socket", CALL, |guest: &mut Guest<'_>, id| push(guest, id, UDP_SOCKET));
    func!(host, MODULE, "take_udp_socket", CALL, |guest: &mut Guest<'_>, index| take(
        guest, index, UDP_SOCKET
    ));
    func!(host, MODULE, "send", CALL, send);
    func!(host, MODULE, "send_receive_skip_search", CALL, send_receive_skip_search);
    overload!(host, MODULE, "send_receive_skip_search", CALL, send_receive_same_tag);
    func!(host, MODULE, "receive", CALL.array(0, 8, u32::MAX, ""), receive);
}

/// Begins a message and drops the current one. `capacity` is a hint.
fn create_data(guest: &mut Guest<'_>, tag: i64, capacity: u64) {
    guest.data_mut().create_message(tag, capacity.min(MAX_RESERVED) as usize);
}

/// Appends bytes to the message. Returns their number; all bytes are appended.
fn write_data(guest: &mut Guest<'_>, pointer: u32, length: u32) -> Result<HostCall<u32>, Fault> {
    let (memory, data) = parts(guest)?;
    let limit = data.process.config().max_memory;
    let size = data_message(&mut data.current)?.len() as u64 + u64::from(length);
    if size > limit {
        return Err(Fault::MessageTooLarge(limit));
    }
    data.charge_for_message(size)?;
    if length > COPIED_AT_ONCE {
        return copy(memory, data, Copy { pointer, left: length, done: 0, way: Way::Write });
    }
    data_message(&mut data.current)?.write(memory.bytes(pointer, length)?, length);
    Ok(HostCall::Return(length))
}

/// Copies the next bytes of the message to the guest. Returns their number.
fn read_data(guest: &mut Guest<'_>, pointer: u32, length: u32) -> Result<HostCall<u32>, Fault> {
    let (mut memory, data) = parts(guest)?;
    if length > COPIED_AT_ONCE {
        data_message(&mut data.current)?;
        return copy(memory, data, Copy { pointer, left: length, done: 0, way: Way::Read });
    }
    let read = data_message(&mut data.current)?.read(memory.bytes_mut(pointer, length)?);
    Ok(HostCall::Return(read as u32))
}

/// Bytes that are copied in one turn: a fraction of a millisecond, even if memory has to be allocated for them.
const COPIED_AT_ONCE: u32 = 256 << 10;

/// A copy between the guest's memory and the current message, part of which is done.
struct Copy {
    pointer: u32,
    left: u32,
    done: u32,
    way: Way,
}

enum Way {
    Write,
    Read,
}

/// Copies one piece, and the rest in the next turns of the process. Nothing else changes its memory or its message in
/// between.
#[cold]
fn copy(mut memory: GuestMemory<'_>, data: &mut ProcessData, mut copy: Copy) -> Result<HostCall<u32>, Fault> {
    let piece = copy.left.min(COPIED_AT_ONCE);
    let message = data_message(&mut data.current)?;
    let copied = match copy.way {
        Way::Write => {
            message.write(memory.bytes(copy.pointer, piece)?, copy.left);
            piece
        }
        Way::Read => message.read(memory.bytes_mut(copy.pointer, piece)?) as u32,
    };
    copy.done += copied;
    copy.left -= piece;
    copy.pointer = copy.pointer.wrapping_add(piece);
    if copied < piece || copy.left == 0 {
        return Ok(HostCall::Return(copy.done));
    }
    let again = move |memory: &mut [u8], data: &mut ProcessData| {
        Ok(match self::copy(GuestMemory(memory), data, copy)? {
            HostCall::Return(count) => HostCall::Return(RawValue::from(u64::from(count))),
            HostCall::Suspend => HostCall::Suspend,
        })
    };
    data.wait_for(Reason::NextTurn(Box::new(again)), None);
    Ok(HostCall::Suspend)
}

/// Sets where the next read begins.
fn seek_data(guest: &mut Guest<'_>, position: u64) -> Result<(), Fault> {
    data_message(&mut guest.data_mut().current)?.seek(position);
    Ok(())
}

/// Returns the tag of the message, 0 for none.
pub(super) fn get_tag(guest: &mut Guest<'_>) -> Result<i64, Fault> {
    guest.data().current.as_ref().map(|envelope| envelope.message().tag()).ok_or(Fault::NoMessage)
}

/// Returns the process whose death the message reports, if it is a monitored process; otherwise 0.
fn get_process_id(guest: &mut Guest<'_>) -> Result<u64, Fault> {
    match guest.data().current.as_ref().map(Envelope::message) {
        Some(Message::ProcessDied(death)) => Ok(death.process.to_guest()),
        Some(_) => Ok(0),
        None => Err(Fault::NoMessage),
    }
}

/// Returns the size of the message in bytes.
fn data_size(guest: &mut Guest<'_>) -> Result<u64, Fault> {
    Ok(data_message(&mut guest.data_mut().current)?.len() as u64)
}

/// Adds a module to the message. Returns its index in the message. Traps on an unknown module.
fn push_module(guest: &mut Guest<'_>, module: u64) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let module = data.modules.get("module", module)?.clone();
    let message = data_message(&mut data.current)?;
    if message.resources() as u64 >= data.process.config().max_resources {
        return Err(Fault::TooMany("things in a message"));
    }
    Ok(message.push_resource(Arc::new(module)) as u64)
}

/// Takes a module out of the message. Returns its identifier. Traps if there is none at this index.
fn take_module(guest: &mut Guest<'_>, index: u64) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let module = data_message(&mut data.current)?.take_resource::<Code>(index);
    let module = module.ok_or(Fault::Unknown { kind: "module in the message", id: index })?;
    // The module stays charged to the process that had it compiled, which may be this one.
    data.modules.add("modules", data.process.config(), (*module).clone())
}

/// Moves a resource into the message, so that the caller no longer has it. Returns its index in the message. Traps if
/// there is none with this identifier.
fn push<T: Any + Send + Sync>(guest: &mut Guest<'_>, id: u64, kind: Kind<T>) -> Result<u64, Fault> {
    let data = guest.data_mut();
    if data_message(&mut data.current)?.resources() as u64 >= data.process.config().max_resources {
        return Err(Fault::TooMany("things in a message"));
    }
    let thing = (kind.table)(data.sockets()).remove(kind.name, id)?;
    Ok(data_message(&mut data.current)?.push_resource(thing) as u64)
}

/// Moves a resource out of the message. Returns its identifier. Traps if there is none at this index, or one of
/// another kind, which stays in the message.
fn take<T: Any + Send + Sync>(guest: &mut Guest<'_>, index: u64, kind: Kind<T>) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let thing = data_message(&mut data.current)?.take_resource::<T>(index);
    let thing = thing.ok_or(Fault::Unknown { kind: kind.name, id: index })?;
    let max = data.process.config().max_resources;
    // The descriptor counts for the caller from now on, and no longer for the previous process.
    (kind.source)(&thing).count(data.account())?;
    (kind.table)(data.sockets()).add_or_trap(max, kind.name, thing)
}

/// Sends the message. Sending to a process that has ended is no error.
fn send(guest: &mut Guest<'_>, process: u64) -> Result<u32, Fault> {
    send_current(guest, process)
}

/// Implements [`send`].
pub(super) fn send_current(guest: &mut Guest<'_>, process: u64) -> Result<u32, Fault> {
    let data = guest.data_mut();
    let envelope = data.take_message()?;
    let to = ProcessId::from_guest(process);
    // If there is no receiver, the message is dropped with its resources.
    let is_congested = data.send(to, envelope).is_ok_and(|sent| sent.is_congested);
    // A process that sends to itself must reach its receive first, so it does not yield.
    if is_congested && to != data.id() {
        guest.end_slice();
    }
    Ok(SENT)
}

/// Sends the message and waits for one with this tag (0: any tag) that arrives from now on. Returns the same as
/// [`receive`].
fn send_receive_skip_search(
    guest: &mut Guest<'_>,
    process: u64,
    tag: i64,
    timeout: u64,
) -> Result<HostCall<u32>, Fault> {
    request(guest.data_mut(), process, tag, timeout)
}

/// The same for guests built with version 0.12 of the `lunatic` crate: the reply has the tag of the message that is
/// sent.
fn send_receive_same_tag(guest: &mut Guest<'_>, process: u64, timeout: u64) -> Result<HostCall<u32>, Fault> {
    let tag = get_tag(guest)?;
    send_receive_skip_search(guest, process, tag, timeout)
}

/// Implements [`send_receive_skip_search`].
pub(super) fn request(
    data: &mut ProcessData,
    process: u64,
    tag: i64,
    timeout: u64,
) -> Result<HostCall<u32>, Fault> {
    let envelope = data.take_message()?;
    let tags = if tag == NO_TAG { Tags::Any } else { Tags::One(tag) };
    let wait = wait_for_message(data, Pattern::new(tags), true, timeout);
    // The marker separates earlier messages from possible replies, so it must be in the queue before the request is
    // sent.
    let marked = data.process.send(Signal::SkipUntilHere { wait });
    debug_assert!(marked.is_ok(), "a process that runs is not over");
    let _ = data.send(ProcessId::from_guest(process), envelope);
    Ok(HostCall::Suspend)
}

/// Waits for a message: any, or the first one whose tag is in the array.
///
/// Returns 0 for data, 1 if a linked process died, 2 if a monitored process died, and 9027 if the time is over. Traps
/// on a bad pointer or more than 65,536 tags.
fn receive(guest: &mut Guest<'_>, tags: u32, tags_len: u32, timeout: u64) -> Result<HostCall<u32>, Fault> {
    // The tags are copied and sorted.
    guest.charge(u64::from(tags_len) * TAG);
    let (memory, data) = parts(guest)?;
    let bytes = memory.array(tags, tags_len, 8)?;
    if tags_len as usize > MAX_TAGS {
        return Err(Fault::TooMany("tags to wait for"));
    }
    let decode = |tag: &[u8]| i64::from_le_bytes(tag.try_into().expect("chunks of 8"));
    let tags = match tags_len {
        0 => Tags::Any,
        1 => Tags::One(decode(bytes)),
        _ => Tags::of(bytes.chunks_exact(8).map(decode).collect()),
    };
    let mut pattern = Pattern::new(tags);
    // A message that is in the mailbox is returned at once: suspending costs several times as much as everything
    // else. A process that always finds one still reaches the end of its slice. A long search continues in later
    // turns.
    let mut steps = STEPS_AT_ONCE;
    let found = data.receive_now(&mut pattern, &mut steps);
    if found.is_none() {
        wait_for_message(data, pattern, false, timeout);
    }
    // The first step is part of the cost of any receive.
    let steps = (STEPS_AT_ONCE - steps).saturating_sub(1);
    if steps > 0 {
        guest.charge(steps * SEARCH_STEP);
    }
    Ok(found.map_or(HostCall::Suspend, |kind| HostCall::Return(kind as u32)))
}

fn wait_for_message(data: &mut ProcessData, pattern: Pattern, skipping: bool, timeout: u64) -> u64 {
    let deadline = (timeout != FOREVER).then(|| deadline(data, timeout));
    data.wait_for(Reason::Message { pattern, skipping }, deadline)
}

fn data_message(current: &mut Option<Envelope>) -> Result<&mut DataMessage, Fault> {
    match current.as_mut().map(Envelope::message_mut) {
        Some(Message::Data(message)) => Ok(message),
        Some(_) => Err(Fault::NotAData),
        None => Err(Fault::NoMessage),
    }
}
