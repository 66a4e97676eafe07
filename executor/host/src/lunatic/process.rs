//! `lunatic::process`: identity, time, links, monitors, kills. See `spawn`, `config` and `module` for the rest.
//!
//! A process that does not exist (any more) is no error here: linking to it and monitoring it report its death,
//! the others do nothing.

use lunatic_jit::{HostCall, RawValue};

use crate::declare::{CALL, Host, LOOK, func};
use lunatic_core::Fault;
use lunatic_core::process::{ProcessData, ProcessId, Reason, Signal};

use crate::Guest;

/// Nanoseconds in a millisecond.
pub(crate) const MILLISECOND: u64 = 1_000_000;

/// Monitors that are not dropped on a worker.
const MANY: usize = 4096;

/// The identifier of the one environment that there is.
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

/// The caller's identifier.
fn process_id(guest: &mut Guest<'_>) -> u64 {
    guest.data().id().to_guest()
}

/// Suspends the caller for at least so long.
fn sleep_ms(guest: &mut Guest<'_>, milliseconds: u64) -> HostCall<()> {
    let data = guest.data_mut();
    let deadline = deadline(data, milliseconds);
    data.wait_for(Reason::Time(Box::new(|_, _| Ok(HostCall::Return(RawValue::default())))), Some(deadline));
    HostCall::Suspend
}

/// The reading of the clock so many milliseconds from now; the end of time when that is beyond it.
pub(crate) fn deadline(data: &ProcessData, milliseconds: u64) -> u64 {
    data.node().clock.now().saturating_add(milliseconds.saturating_mul(MILLISECOND))
}

/// Whether the abnormal end of a linked process ends the caller (the default), or becomes a message.
fn die_when_link_dies(guest: &mut Guest<'_>, die: u32) {
    guest.data_mut().die_when_link_dies = die != 0;
}

/// Links the caller with a process, both ways. If there is no such process, the caller is told as if it had
/// just died. Traps when the caller has more links and monitors than its account has room for.
fn link(guest: &mut Guest<'_>, tag: i64, process: u64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let (me, peer) = (data.id(), ProcessId::from_guest(process));
    // A link with oneself could never be seen to break.
    if peer != me {
        data.charge_for_relation()?;
        data.relations.link(peer, tag);
        request(guest, peer, Signal::Link { from: me, tag });
    }
    Ok(())
}

/// Sends a signal that is answered if there is no such process. A process that has much to handle gets its turn first.
pub(crate) fn request(guest: &mut Guest<'_>, to: ProcessId, signal: Signal) {
    if guest.data().node().request(to, signal) {
        guest.end_slice();
    }
}

/// Sends a signal. If there is no such process, there is nothing to do. As [`request`] otherwise.
pub(crate) fn send(guest: &mut Guest<'_>, to: ProcessId, signal: Signal) {
    if guest.data().node().send(to, signal).is_ok_and(|sent| sent.is_congested) {
        guest.end_slice();
    }
}

/// Undoes a link. From here on the other's death means nothing to the caller.
fn unlink(guest: &mut Guest<'_>, process: u64) {
    let data = guest.data_mut();
    let (me, peer) = (data.id(), ProcessId::from_guest(process));
    let number = data.next_reference();
    if data.relations.unlink(peer, number) {
        request(guest, peer, Signal::Unlink { from: me, number });
    }
}

/// Asks for a message when a process ends, however it does; at once if there is no such process. Every call
/// asks for one message. Traps when the caller has more links and monitors than its account has room for.
fn monitor(guest: &mut Guest<'_>, process: u64) -> Result<(), Fault> {
    start_monitor(guest, process).map(drop)
}

/// Makes a monitor. Its reference; none if the process is the caller.
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

/// Takes back all requests for a process: no message about its end arrives after this.
fn stop_monitoring(guest: &mut Guest<'_>, process: u64) {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    if let Some(monitors) = data.relations.stop_watching_at_all(target) {
        data.node().reclaim_if(monitors.len() > MANY, monitors);
        send(guest, target, Signal::StopMonitoring { from: me, reference: None });
    }
}

/// Ends a process, whatever it does and wants; also the caller itself, which then does not return from here.
fn kill(guest: &mut Guest<'_>, process: u64) -> Result<HostCall<()>, Fault> {
    let data = guest.data_mut();
    let target = ProcessId::from_guest(process);
    // Killing whom no one knows is as good as having killed it before.
    let _ = data.node().send(target, Signal::Kill);
    if target == data.id() {
        data.wait_for(Reason::Completion, None);
        return Ok(HostCall::Suspend);
    }
    Ok(HostCall::Return(()))
}

/// 1 if there is such a process, else 0.
fn exists(guest: &mut Guest<'_>, process: u64) -> i32 {
    let target = ProcessId::from_guest(process);
    guest.data().node().table.get(target).is_some_and(|process| !process.is_over()).into()
}
