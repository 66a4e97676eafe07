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

/// Sends the current message after this many milliseconds, not earlier, even if the caller has ended by then. If the
/// receiver does not exist, the call behaves as if the timer had fired. Returns the identifier of the timer.
///
/// Traps if there is no message, if the caller has more bytes of messages in timers than may wait in its mailbox, or
/// if the host keeps too much for it. Messages that are in timers when the caller ends stay there, and count in the
/// quotas of its configuration.
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

/// Cancels a timer of the caller. Returns 1 if that kept the timer from firing, and 0 if it has fired, was cancelled,
/// never existed, or belongs to another process.
fn cancel_timer(guest: &mut Guest<'_>, timer: u64) -> u32 {
    cancel(guest.data(), timer).is_some().into()
}

/// Cancels a timer that the process has set. Returns its deadline.
pub(crate) fn cancel(data: &ProcessData, timer: u64) -> Option<u64> {
    let me = data.id();
    data.node().deferred.cancel_if(TimerId(timer), |deferred| deferred.owner == me)
}
