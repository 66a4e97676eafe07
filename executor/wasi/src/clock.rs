//! Time, randomness and yielding: `clock_*`, `random_get`, `sched_yield`.

use lunatic_jit::{HostCall, RawValue};

use lunatic_core::process::{ProcessData, Reason};
use lunatic_host::declare::{Host, LOOK, func};
use lunatic_host::memory::GuestMemory;
use lunatic_host::{Guest, charge};

use super::errno::Errno;
use super::{Result, Version, answer, finished, suspend};

/// The clocks of WASI.
pub(super) const REALTIME: u32 = 0;
pub(super) const MONOTONIC: u32 = 1;

/// The reported resolution in nanoseconds.
const RESOLUTION: u64 = 1;

/// Random bytes that are created before other processes have their turn.
const RANDOM_CHUNK: u32 = 64 << 10;

pub(super) fn register(host: &mut Host, version: Version) {
    let module = version.module();
    func!(host, module, "clock_res_get", LOOK, |guest: &mut Guest<'_>, clock: u32, result: u32| {
        answer(guest, |memory, data| {
            now(data, clock)?;
            Ok(memory.write_u64(result, RESOLUTION)?)
        })
    });
    func!(
        host,
        module,
        "clock_time_get",
        LOOK,
        |guest: &mut Guest<'_>, clock: u32, _precision: u64, result: u32| {
            answer(guest, |memory, data| {
                let now = now(data, clock)?;
                Ok(memory.write_u64(result, now)?)
            })
        }
    );
    func!(host, module, "random_get", LOOK, |guest: &mut Guest<'_>, buffer: u32, length: u32| {
        charge(guest, length.into());
        suspend(guest, |memory, data| {
            memory.check(buffer, length)?;
            fill(memory, data, buffer, length)
        })
    });
    func!(host, module, "sched_yield", LOOK, sched_yield);
}

/// Returns the time of a clock. The clocks of processor time are not supported; a process has reductions instead.
pub(super) fn now(data: &ProcessData, clock: u32) -> Result<u64> {
    match clock {
        REALTIME => Ok(data.node().clock.wall()),
        MONOTONIC => Ok(data.node().clock.now()),
        _ => Err(Errno::INVAL),
    }
}

/// Fills a buffer, one piece in each turn.
fn fill(
    memory: &mut GuestMemory<'_>,
    data: &mut ProcessData,
    buffer: u32,
    length: u32,
) -> Result<HostCall<()>> {
    let now = length.min(RANDOM_CHUNK);
    if !data.node().entropy.fill(memory.bytes_mut(buffer, now)?) {
        return Err(Errno::IO);
    }
    if now == length {
        return Ok(HostCall::Return(()));
    }
    let (buffer, length) = (buffer + now, length - now);
    let again = Box::new(move |memory: &mut [u8], data: &mut ProcessData| {
        finished(fill(&mut GuestMemory(memory), data, buffer, length))
    });
    data.wait_for(Reason::NextTurn(again), None);
    Ok(HostCall::Suspend)
}

/// Lets other processes run: a wait that is over at once uses the rest of the slice.
fn sched_yield(guest: &mut Guest<'_>) -> HostCall<u32> {
    let slice = guest.data().node().slice;
    guest.charge(slice);
    let done = Box::new(|_: &mut [u8], _: &mut ProcessData| Ok(HostCall::Return(RawValue::default())));
    guest.data_mut().wait_for(Reason::Over(done), None);
    HostCall::Suspend
}
