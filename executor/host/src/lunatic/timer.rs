//! `lunatic::timer`: messages that are sent later.

use crate::declare::{CALL, Host, func};
use lunatic_core::Fault;
use lunatic_core::node::Deferred;
use lunatic_core::process::{ProcessData, ProcessId};
use lunatic_scheduler::TimerId;

use super::process::deadline;
use crate::Guest;

pub(crate) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::timer";
    func!(host, MODULE, "send_after", CALL, send_after);
    func!(host, MODULE, "cancel_timer", CALL, cancel_timer);
}

/// Sends the current message in so many milliseconds, not earlier; also when the caller is gone by then. A process
/// that is gone needs no timer: then it is as if it had fired. Returns the timer's identifier. Traps when there is no
/// message, the caller has more bytes of messages in timers than may wait in its mailbox, or the host keeps too much for it. What is in a timer when the caller ends stays
/// there, and goes on to count in the quotas of its configuration.
fn send_after(guest: &mut Guest<'_>, process: u64, milliseconds: u64) -> Result<u64, Fault> {
    let data = guest.data_mut();
    let envelope = data.take_message()?;
    let process = ProcessId::from_guest(process);
    if data.node().table.get(process).is_none() {
        return Ok(TimerId::NEVER.0);
    }
    let limit = data.process.config().mailbox_bytes();
    let kept = data.account().defer(envelope.message().size() as u64, limit)?;
    let deferred = Deferred { owner: data.id(), to: process, envelope, kept };
    let deadline = deadline(data, milliseconds);
    Ok(data.node().deferred.set(deadline, deferred).0)
}

/// Cancels a timer of the caller. Returns 1 if that kept it from firing, 0 if it has fired, was cancelled, never was, or is
/// another process's.
fn cancel_timer(guest: &mut Guest<'_>, timer: u64) -> u32 {
    cancel(guest.data(), timer).is_some().into()
}

/// Cancels a timer that the process has set; when it was to fire.
pub(crate) fn cancel(data: &ProcessData, timer: u64) -> Option<u64> {
    let me = data.id();
    data.node().deferred.cancel_if(TimerId(timer), |deferred| deferred.owner == me)
}
