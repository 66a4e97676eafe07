//! `poll_oneoff`: waiting for the first of several events.
//!
//! A subscription is 48 bytes: user data (8), tag (1, at 8), then for a clock: which (4, at 16), timeout (8, at
//! 24), precision (8), flags (2, at 40); for a descriptor: which (4, at 16). An event is 32 bytes: user data
//! (8), errno (2, at 8), type (1, at 10), then for a descriptor: bytes (8, at 16), flags (2, at 24).
//!
//! Descriptors are files and the standard streams, which WASI calls always ready.

use lunatic_jit::{HostCall, Linker};

use crate::host::Guest;
use crate::host::memory::GuestMemory;
use crate::process::{ProcessData, Reason};

use super::clock::{MONOTONIC, now};
use super::errno::Errno;
use super::{MODULE, Result, returned, suspend};

const SUBSCRIPTION: u32 = 48;
const EVENT: u32 = 32;

/// Subscriptions in one call.
const MAX_SUBSCRIPTIONS: u32 = 4096;

const TAG_CLOCK: u8 = 0;
const TAG_READ: u8 = 1;
const TAG_WRITE: u8 = 2;

/// The flag that makes a timeout a reading of its clock instead of a duration.
const ABSOLUTE: u16 = 1;

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    linker.func(
        MODULE,
        "poll_oneoff",
        |guest: &mut Guest<'_>, subscriptions: u32, events: u32, count: u32, result: u32| {
            suspend(guest, |memory, data| poll(memory, data, subscriptions, events, count, result))
        },
    );
}

/// One event, as it is written.
struct Event {
    user_data: [u8; 8],
    errno: u32,
    tag: u8,
}

/// A subscription to a clock.
struct Alarm {
    user_data: [u8; 8],
    deadline: u64,
}

fn poll(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    subscriptions: u32,
    events: u32,
    count: u32,
    result: u32,
) -> Result<HostCall<()>> {
    if count == 0 || count > MAX_SUBSCRIPTIONS {
        return Err(Errno::INVAL);
    }
    memory.array(subscriptions, count, SUBSCRIPTION)?;
    memory.array(events, count, EVENT)?;
    memory.check(result, 4)?;
    let (mut ready, mut alarms) = (Vec::new(), Vec::new());
    for index in 0..count {
        let at = subscriptions + index * SUBSCRIPTION;
        let user_data = memory.read(at)?;
        let [tag] = memory.read(at + 8)?;
        match tag {
            TAG_CLOCK => match deadline(memory, data, at) {
                Ok(deadline) => alarms.push(Alarm { user_data, deadline }),
                Err(errno) => ready.push(Event { user_data, errno: errno.number(), tag }),
            },
            TAG_READ | TAG_WRITE => {
                let fd = memory.read_u32(at + 16)?;
                let known = data.wasi.get(data.process.config(), fd).map(drop);
                ready.push(Event { user_data, errno: Errno::of(known), tag });
            }
            _ => return Err(Errno::INVAL),
        }
    }
    if !ready.is_empty() {
        write(memory, &ready, events, result)?;
        return Ok(HostCall::Return(()));
    }
    let first = alarms.iter().map(|alarm| alarm.deadline).min();
    let finish = Box::new(move |memory: &mut [u8], data: &mut ProcessData| {
        let now = data.node().clock.now();
        let due = alarms.iter().filter(|alarm| alarm.deadline <= now);
        let due: Vec<_> =
            due.map(|alarm| Event { user_data: alarm.user_data, errno: 0, tag: TAG_CLOCK }).collect();
        Ok(returned(Errno::of(write(&mut GuestMemory(memory), &due, events, result))))
    });
    data.wait_for(Reason::Time(finish), first);
    Ok(HostCall::Suspend)
}

/// When a clock's subscription is due, on the node's clock.
fn deadline(memory: &GuestMemory<'_>, data: &ProcessData, at: u32) -> Result<u64> {
    let clock = memory.read_u32(at + 16)?;
    let timeout = memory.read_u64(at + 24)?;
    let flags = u16::from_le_bytes(memory.read(at + 40)?);
    let reading = now(data, clock)?;
    let left = if flags & ABSOLUTE != 0 { timeout.saturating_sub(reading) } else { timeout };
    Ok(now(data, MONOTONIC)?.saturating_add(left))
}

fn write(memory: &mut GuestMemory<'_>, ready: &[Event], events: u32, result: u32) -> Result<()> {
    for (index, event) in ready.iter().enumerate() {
        let mut bytes = [0; EVENT as usize];
        bytes[..8].copy_from_slice(&event.user_data);
        bytes[8..10].copy_from_slice(&(event.errno as u16).to_le_bytes());
        bytes[10] = event.tag;
        memory.write(events + index as u32 * EVENT, &bytes)?;
    }
    memory.write_u32(result, ready.len() as u32)?;
    Ok(())
}
