//! `lunatic::ext::monitor`: monitors that are told apart by a reference.
//!
//! `lunatic::process::stop_monitoring` stops them too: it stops all that the caller has of a process.

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

/// As `lunatic::process::monitor`, and returns the monitor's reference, which the message carries. It is never 0, and
/// 0 for the caller itself, which cannot be monitored.
fn start(guest: &mut Guest<'_>, process: u64) -> Result<u64, Fault> {
    Ok(start_monitor(guest, process)?.unwrap_or(0))
}

/// Stops one monitor of a process: no message about its end arrives by it after this. With `flush` other than 0, one
/// that has arrived is taken out of the mailbox. Returns 1 if that kept it from being told, 0 if it had been told
/// before, was stopped, or never was.
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
