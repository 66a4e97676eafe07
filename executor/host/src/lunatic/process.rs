//! `lunatic::process`: identity, time, links, monitors, kills. See `spawn`, `config` and `module` for the other
//! functions.
//!
//! A process that does not exist, or not any more, is no error here. Links and monitors report its death; the other
//! functions do nothing.

use lunatic_jit::{HostCall, RawValue};

use crate::declare::{CALL, Host, LOOK, func};
use lunatic_core::Fault;
use lunatic_core::process::{ProcessData, ProcessId, Reason, Signal};

use crate::Guest;

/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// The number of monitors from which a worker does not drop them itself.
const MANY: usize = 4096;

/// The identifier of the only environment.
const ENVIRONMENT_ID: u64 = 1;

pub(crate) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::process";
    func!(host, MODULE, "process_id", LOOK, process_id);
    func!(host, MODULE, "environment_id", LOOK, |_: &mut Guest<'_>| ENVIRONMENT_ID);
    func!(host, MODULE, "sleep_ms", LOOK, sleep_ms);
    func!(host, MODULE, "die_when_link_dies", LOOK, die_when_link_dies);
    func!(host, MODULE, "link", CALL, link);
    func!(host, MODULE, "unlink", CALL, unlink);
    func!(host, MODULE, "monitor", CALL, monitor);
    func!(host, MODULE, "stop_monitoring", CALL, stop_monitoring);
    func!(host, MODULE, "kill", CALL, kill);
    func!(host, MODULE, "exists", CALL, exists);
}

/// Returns the identifier of the caller.
fn process_id(guest: &mut Guest<'_>) -> u64 {
    guest.data().id().to_guest()
}

/// Suspends the caller for at least this many milliseconds.
fn sleep_ms(guest: &mut Guest<'_>, milliseconds: u64) -> HostCall<()> {
    let data = guest.data_mut();
    let deadline = deadline(data, milliseconds);
    data.wait_for(Reason::Time(Box::new(|_, _| Ok(HostCall::Return(RawValue::default())))), Some(deadline));
    HostCall::Suspend
}

/// Returns the time of the clock this many milliseconds from now, or the last possible time.
pub(crate) fn deadline(data: &ProcessData, milliseconds: u64) -> u64 {
    data.node().clock.now().saturating_add(milliseconds.saturating_mul(MILLISECOND))
}

/// Sets whether the abnormal end of a linked process ends the caller, which is the default, or becomes a message.
fn die_when_link_dies(guest: &mut Guest<'_>, die: u32) {
    guest.data_mut().die_when_link_dies = die != 0;
}

/// Links the caller with a process in both directions. If there is no such process, the caller is notified as if it
/// had just died. Traps if the caller's account does not permit another link.
fn link(guest: &mut Guest<'_>, tag: i64, process: u64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let (me, peer) = (data.id(), ProcessId::from_guest(process));
    // A link of a process with itself would never have an effect.
    if peer != me {
        data.charge_for_relation()?;
        data.relations.link(peer, tag);
        request(guest, peer, Signal::Link { from: me, tag });
    }
    Ok(())
}

/// Sends a signal that is answered if there is no such process. The caller yields to a congested receiver.
pub(crate) fn request(guest: &mut Guest<'_>, to: ProcessId, signal: Signal) {
    if guest.data().node().request(to, signal) {
        guest.end_slice();
    }
}

/// Sends a signal. If there is no such process, this does nothing. Otherwise like [`request`].
pub(crate) fn send(guest: &mut Guest<'_>, to: ProcessId, signal: Signal) {
    if guest.data().node().send(to, signal).is_ok_and(|sent| sent.is_congested) {
        guest.end_slice();
    }
}

/// Removes a link. From now on, the death of the other process has no effect on the caller.
fn unlink(guest: &mut Guest<'_>, process: u64) {
    let data = guest.data_mut();
    let (me, peer) = (data.id(), ProcessId::from_guest(process));
    let number = data.next_reference();
    if data.relations.unlink(peer, number) {
        request(guest, peer, Signal::Unlink { from: me, number });
    }
}

/// Requests a message when a process ends, for whatever reason; at once if there is no such process. Each call
/// requests one message. Traps if the caller's account does not permit another monitor.
fn monitor(guest: &mut Guest<'_>, process: u64) -> Result<(), Fault> {
    start_monitor(guest, process).map(drop)
}

/// Creates a monitor. Returns its reference, or `None` if the process is the caller.
pub(crate) fn start_monitor(guest: &mut Guest<'_>, process: u64) -> Result<Option<u64>, Fault> {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    if target == me {
        return Ok(None);
    }
    data.charge_for_relation()?;
    let reference = data.next_reference();
    data.relations.watch(target, reference);
    request(guest, target, Signal::Monitor { from: me, reference });
    Ok(Some(reference))
}

/// Removes all monitors of a process: no message about its end arrives from now on.
fn stop_monitoring(guest: &mut Guest<'_>, process: u64) {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    if let Some(monitors) = data.relations.stop_watching_at_all(target) {
        data.node().reclaim_if(monitors.len() > MANY, monitors);
        send(guest, target, Signal::StopMonitoring { from: me, reference: None });
    }
}

/// Kills a process. If that is the caller, this does not return.
fn kill(guest: &mut Guest<'_>, process: u64) -> Result<HostCall<()>, Fault> {
    let data = guest.data_mut();
    let target = ProcessId::from_guest(process);
    // Killing a process that does not exist has no effect.
    let _ = data.node().send(target, Signal::Kill);
    if target == data.id() {
        data.wait_for(Reason::Completion, None);
        return Ok(HostCall::Suspend);
    }
    Ok(HostCall::Return(()))
}

/// Returns 1 if the process is alive, otherwise 0.
fn exists(guest: &mut Guest<'_>, process: u64) -> i32 {
    let target = ProcessId::from_guest(process);
    guest.data().node().table.get(target).is_some_and(|process| !process.is_over()).into()
}
