//! `lunatic::ext::monitor`: monitors that have a reference.
//!
//! `lunatic::process::stop_monitoring` stops these too: it stops all monitors that the caller has of a process.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::lunatic::process::{send, start_monitor};
use lunatic_core::Fault;
use lunatic_core::process::{ProcessId, Signal};

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::monitor";
    func!(host, MODULE, "start", CALL, start);
    func!(host, MODULE, "stop", CALL, stop);
}

/// Like `lunatic::process::monitor`, and returns the reference of the monitor, which its message carries. It is never
/// 0; 0 is returned if the process is the caller, which cannot monitor itself.
fn start(guest: &mut Guest<'_>, process: u64) -> Result<u64, Fault> {
    Ok(start_monitor(guest, process)?.unwrap_or(0))
}

/// Stops one monitor of a process: its message does not arrive from now on. With `flush` other than 0, a message that
/// has arrived is removed from the mailbox. Returns 1 if that prevented the message, and 0 if it had been received
/// before, or the monitor was stopped or never existed.
fn stop(guest: &mut Guest<'_>, process: u64, reference: u64, flush: u32) -> u32 {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    let was_there = data.relations.stop_watching(target, reference);
    if was_there {
        send(guest, target, Signal::StopMonitoring { from: me, reference: Some(reference) });
    } else if flush != 0
        && let Some(envelope) = data.mailbox.forget_death(target, reference)
    {
        data.process.inbox().release(envelope.message().size() as u64);
    }
    was_there.into()
}
