//! `lunatic::ext::exit`: exits with a reason.
//!
//! A reason is a number whose meaning the processes of a program define; 0 is a normal end.

use crate::Guest;
use crate::declare::{CALL, Host, func};
use crate::lunatic::process::send;
use lunatic_core::Fault;
use lunatic_core::process::{ProcessId, Signal};

pub(super) fn register(host: &mut Host) {
    const MODULE: &str = "lunatic::ext::exit";
    func!(host, MODULE, "exit", CALL, exit);
    func!(host, MODULE, "signal", CALL, signal);
}

/// Ends the caller with a reason. This does not return, and `lunatic::trap::catch` does not catch it.
fn exit(_: &mut Guest<'_>, reason: i64) -> Result<(), Fault> {
    Err(Fault::Reason(reason))
}

/// Sends an exit signal. A process that traps exits (`die_when_link_dies(0)`) gets a message without a tag, of the
/// kind "with a reason". Another process ends with the reason, or ignores the signal if the reason is 0. Unlike a
/// kill, a process can survive it. If the process has ended, this does nothing. If the signal ends the caller, this
/// does not return.
fn signal(guest: &mut Guest<'_>, process: u64, reason: i64) -> Result<(), Fault> {
    let data = guest.data_mut();
    let (me, target) = (data.id(), ProcessId::from_guest(process));
    if target == me && data.die_when_link_dies && reason != 0 {
        return Err(Fault::Reason(reason));
    }
    send(guest, target, Signal::Exit { from: me, reason });
    Ok(())
}
