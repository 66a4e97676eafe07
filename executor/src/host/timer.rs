//! `lunatic::timer`: messages that are sent later.

use lunatic_jit::Linker;

use crate::error::Fault;
use crate::node::Due;
use crate::process::{ProcessData, ProcessId};
use crate::scheduler::TimerId;

use super::process::deadline;
use super::{Guest, charge};

pub(super) fn register(linker: &mut Linker<ProcessData>) {
    const MODULE: &str = "lunatic::timer";
    linker.func(MODULE, "send_after", send_after);
    linker.func(MODULE, "cancel_timer", cancel_timer);
}

/// Sends the current message in so many milliseconds, not earlier; also when the caller is gone by then. A process
/// that is gone needs no timer: then it is as if it had fired. Returns the timer's identifier. Traps when there is no
/// message, or the caller has more bytes of messages in timers than may wait in its mailbox.
fn send_after(guest: &mut Guest<'_>, process: u64, milliseconds: u64) -> Result<u64, Fault> {
    charge(guest, 0);
    let data = guest.data_mut();
    let letter = data.take_message()?;
    let process = ProcessId::from_guest(process);
    if data.node().table.get(process).is_none() {
        return Ok(TimerId::NEVER.0);
    }
    let limit = data.process.config().mailbox_bytes();
    let share = data.deferred.get_or_insert_default().take(letter.message().size() as u64, limit);
    let share = share.ok_or(Fault::TooMany("bytes of messages in timers"))?;
    let due = Due::Send { process, letter, share };
    let deadline = deadline(data, milliseconds);
    Ok(data.node().timers.set(deadline, due).0)
}

/// Cancels a timer. Returns 1 if that kept it from firing, 0 if it has fired, was cancelled or never was.
fn cancel_timer(guest: &mut Guest<'_>, timer: u64) -> u32 {
    charge(guest, 0);
    let is_ours = |due: &Due| matches!(due, Due::Send { .. });
    guest.data().node().timers.cancel_if(TimerId(timer), is_ours).is_some().into()
}
